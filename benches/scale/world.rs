//! An engine with an echo service and its peer, turned by hand: connections are opened, used and closed in bursts of 32.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ringway::cpu;
use ringway::engine::{Clock, Config, Engine, Port, Secrets};
use ringway::time::Instant;

use crate::common::{Echo, interface};
use crate::memory::CAPACITY;
use crate::order::shuffled;
use crate::peer::{Back, Line, Peer, lines};

/// Segments handed to the engine at once.
pub(crate) const BURST: usize = 32;
/// Connections that come and go beside those that stay.
pub(crate) const PASSING: usize = 1 << 14;

/// A clock that goes on by 10 us a turn: about what a core that is busy with such bursts takes.
pub(crate) struct Steps(Cell<u64>);

impl Steps {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(1_000_000_000))
    }

    pub(crate) fn step(&self) {
        self.0.set(self.0.get() + 10_000);
    }
}

impl Clock for Steps {
    fn now(&self) -> Instant {
        Instant::from_ns(self.0.get())
    }
}

/// An engine over such a queue. `patient` ones repeat nothing that is not acknowledged for a minute.
pub(crate) fn engine(peer: Peer, patient: bool) -> Engine<Peer, Echo> {
    let mut config = Config::new(Secrets::fixed());
    // Some more than are open, as the README advises: the last places are for acknowledged cookies.
    config.tcp.connections = CAPACITY + CAPACITY / 8;
    if patient {
        config.tcp.rto_min = Duration::from_secs(60);
        config.tcp.rto_initial = Duration::from_secs(60);
        config.tcp.probe_min = Duration::from_secs(60);
    }
    Engine::new(config, vec![interface()], vec![Port::new(peer, 0, 0)], Echo).expect("an engine")
}

/// One engine, and connections `0..held` open.
pub(crate) struct World {
    pub(crate) engine: Engine<Peer, Echo>,
    pub(crate) clock: Steps,
    pub(crate) held: usize,
    /// The order in which connections are used: all of them, at random.
    order: Vec<u32>,
    next: usize,
    next_passing: usize,
}

impl World {
    pub(crate) fn new(held: usize) -> Self {
        let lines: Arc<[Line]> = lines(held + PASSING);
        let clock = Steps::new();
        let mut engine = engine(Peer::queues(1, &lines).remove(0), false);
        engine.start(&clock);
        let mut world = Self { engine, clock, held, order: shuffled(0, held), next: 0, next_passing: 0 };
        world.open();
        world
    }

    fn open(&mut self) {
        let all: Vec<u32> = (0..self.held as u32).collect();
        for burst in all.chunks(BURST) {
            self.handshakes(burst);
            self.turn(burst, Peer::acknowledge);
        }
        assert_eq!(self.engine.report().tcp.open, self.held, "every connection is open");
    }

    /// Hands the engine a segment on each of these connections, and returns what came back, and how long the turn took.
    fn turn(&mut self, burst: &[u32], segment: fn(&mut Peer, u32, Instant)) -> (Back, Duration) {
        let now = self.clock.now();
        let peer = self.engine.device_mut(0);
        burst.iter().for_each(|&number| segment(peer, number, now));
        let start = cpu::thread_ns();
        self.engine.turn(&self.clock);
        let took = Duration::from_nanos(cpu::thread_ns() - start);
        self.clock.step();
        (self.engine.device_mut(0).collect(), took)
    }

    /// Opens, and sends the first request along with the acknowledgment.
    fn handshakes(&mut self, burst: &[u32]) -> Duration {
        let count = burst.len() as u32;
        let (back, one) = self.turn(burst, Peer::connect);
        assert_eq!(back.opened, count, "each SYN is answered");
        let (back, two) = self.turn(burst, Peer::request);
        assert_eq!(back.answered, count, "each request is answered");
        one + two
    }

    /// So many requests, on connections in random order, each answered and the answer acknowledged. Nanoseconds of a request and its answer, and of the
    /// acknowledgment.
    pub(crate) fn exchanges(&mut self, count: usize) -> (f64, f64) {
        let (mut requests, mut acknowledgments) = (Duration::ZERO, Duration::ZERO);
        let bursts = count / BURST;
        for _ in 0..bursts {
            let at = self.next;
            self.next = (self.next + BURST) % (self.held - self.held % BURST);
            let burst: [u32; BURST] = std::array::from_fn(|nth| self.order[at + nth]);
            let (back, took) = self.turn(&burst, Peer::request);
            assert_eq!(back, Back { answered: BURST as u32, ..Back::default() }, "each request is answered once");
            requests += took;
            acknowledgments += self.turn(&burst, Peer::acknowledge).1;
        }
        let each = |total: Duration| total.as_nanos() as f64 / (bursts * BURST) as f64;
        (each(requests), each(acknowledgments))
    }

    /// So many connections beside those that stay: opened, one request answered, closed by the peer. Nanoseconds of each.
    pub(crate) fn connects(&mut self, count: usize) -> f64 {
        let mut total = Duration::ZERO;
        let bursts = count / BURST;
        for _ in 0..bursts {
            let at = self.held + self.next_passing;
            self.next_passing = (self.next_passing + BURST) % PASSING;
            let burst: [u32; BURST] = std::array::from_fn(|nth| (at + nth) as u32);
            total += self.handshakes(&burst);
            let (back, took) = self.turn(&burst, Peer::close);
            assert_eq!(back.closed, BURST as u32, "each FIN is answered by one");
            total += took + self.turn(&burst, Peer::acknowledge).1;
        }
        total.as_nanos() as f64 / (bursts * BURST) as f64
    }

    /// Closes those that stay.
    pub(crate) fn close(&mut self) {
        let all: Vec<u32> = (0..self.held as u32).collect();
        for burst in all.chunks(BURST) {
            let back = self.turn(burst, Peer::close).0;
            assert_eq!(back.closed as usize, burst.len(), "each FIN is answered by one");
            self.turn(burst, Peer::acknowledge);
        }
    }
}
