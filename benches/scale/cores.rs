//! Two cores: what two do together, what a frame costs that arrives at the wrong one, and what those cost who read another's cards.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use ringway::cpu;
use ringway::engine::{Clock as _, Engine, Inquirer, MonotonicClock};

use crate::common::Echo;
use crate::order::shuffled;
use crate::peer::{Peer, lines};
use crate::world::{BURST, World, engine};

/// Connections of each core.
const EACH: usize = 4096;
/// Requests of a core that wait for their answers: fewer than frames fit into the ring from one core to another.
const IN_FLIGHT: u64 = 512;

/// Where a request arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// At the core that has its connection.
    Owner,
    /// At the other one.
    Other,
}

/// Engines with connections of their own: siblings, or strangers that have nothing in common but the machine.
pub(crate) struct Team {
    engines: Vec<Engine<Peer, Echo>>,
    /// The machine's, as siblings have it: the peers' timestamps must not go back when another thread makes them.
    clock: MonotonicClock,
    orders: Vec<Vec<u32>>,
}

impl Team {
    pub(crate) fn siblings(count: usize) -> Self {
        let lines = lines(EACH * count);
        let mut engines: Vec<_> = Peer::queues(count, &lines).into_iter().map(|peer| engine(peer, true)).collect();
        Engine::join(&mut engines).expect("they are alike");
        Self::started(engines)
    }

    pub(crate) fn strangers(count: usize) -> Self {
        let peer = || Peer::queues(1, &lines(EACH * count)).pop().expect("one queue");
        Self::started((0..count).map(|_| engine(peer(), true)).collect())
    }

    fn started(mut engines: Vec<Engine<Peer, Echo>>) -> Self {
        let count = engines.len();
        let clock = engines[0].clock();
        for engine in &mut engines {
            engine.turn(&clock);
            engine.start(&clock);
        }
        let orders = (0..count).map(|core| shuffled(core * EACH, EACH)).collect();
        let mut team = Self { engines, clock, orders };
        team.open();
        team
    }

    fn open(&mut self) {
        for (core, engine) in self.engines.iter_mut().enumerate() {
            let clock = &self.clock;
            let all: Vec<u32> = (core * EACH..(core + 1) * EACH).map(|number| number as u32).collect();
            for burst in all.chunks(BURST) {
                for segment in [Peer::connect, Peer::request, Peer::acknowledge] {
                    burst.iter().for_each(|&number| segment(engine.device_mut(0), number, clock.now()));
                    engine.turn(clock);
                    engine.device_mut(0).collect();
                }
            }
            assert_eq!(engine.report().tcp.open, EACH, "every connection is open");
        }
    }

    /// One thread turns both engines by turns: nanoseconds of a frame that arrives, requests and acknowledgments alike.
    pub(crate) fn by_turns(&mut self, arrival: Arrival, bursts: usize) -> f64 {
        let count = self.engines.len();
        let mut total = Duration::ZERO;
        for burst in 0..bursts {
            let from = burst * BURST % EACH;
            for (segment, answers) in [(Peer::request as fn(&mut Peer, u32, _), BURST as u32), (Peer::acknowledge, 0)] {
                for core in 0..count {
                    let now = self.clock.now();
                    let order = &self.orders[source(core, arrival, count)];
                    let peer = self.engines[core].device_mut(0);
                    order[from..from + BURST].iter().for_each(|&number| segment(peer, number, now));
                }
                let start = cpu::thread_ns();
                // The first once more: the last has handed over to it.
                for core in (0..count).chain([0]) {
                    self.engines[core].turn(&self.clock);
                }
                total += Duration::from_nanos(cpu::thread_ns() - start);
                for core in 0..count {
                    assert_eq!(self.engines[core].device_mut(0).collect().answered, answers, "each request is answered");
                }
            }
        }
        total.as_nanos() as f64 / (bursts * 2 * BURST * count) as f64
    }

    /// A thread for each engine, which makes requests and takes answers too: nanoseconds of one core for one request, by the clock and
    /// of CPU time. Requests acknowledge the answers before them.
    pub(crate) fn at_once(&mut self, arrival: Arrival, requests: usize) -> [f64; 2] {
        let count = self.engines.len();
        let answered: Vec<CachePadded<AtomicU64>> = (0..count).map(|_| CachePadded::default()).collect();
        let (begin, finished) = (Barrier::new(count), AtomicU64::new(0));
        let (orders, clock) = (&self.orders, &self.clock);
        let (mut took, mut cpu_ns) = (Duration::ZERO, 0);
        thread::scope(|scope| {
            let threads: Vec<_> = (self.engines.iter_mut().enumerate())
                .map(|(core, engine)| {
                    let (answered, begin, finished) = (&answered, &begin, &finished);
                    let order = &orders[source(core, arrival, count)];
                    // Those whose answers come out here.
                    let asked_by = source(core, arrival, count);
                    scope.spawn(move || {
                        cpu::pin(core).expect("two cores");
                        begin.wait();
                        let (start, cpu_at_start) = (Instant::now(), cpu::thread_ns());
                        let mut sent = 0_u64;
                        let mut done = false;
                        while finished.load(Ordering::Relaxed) < count as u64 {
                            if sent < requests as u64 && sent - answered[core].load(Ordering::Relaxed) + BURST as u64 <= IN_FLIGHT
                            {
                                let from = sent as usize % EACH;
                                let now = clock.now();
                                order[from..from + BURST].iter().for_each(|&number| engine.device_mut(0).request(number, now));
                                sent += BURST as u64;
                            }
                            engine.turn(clock);
                            let back = engine.device_mut(0).collect();
                            if back.answered > 0 {
                                answered[asked_by].fetch_add(back.answered.into(), Ordering::Relaxed);
                            }
                            if !done && answered[core].load(Ordering::Relaxed) >= requests as u64 {
                                done = true;
                                finished.fetch_add(1, Ordering::Relaxed);
                            }
                            assert!(start.elapsed() < Duration::from_secs(60), "every request is answered");
                        }
                        (start.elapsed(), cpu::thread_ns() - cpu_at_start)
                    })
                })
                .collect();
            for thread in threads {
                let (wall, cpu) = thread.join().expect("no panic");
                took = took.max(wall);
                cpu_ns += cpu;
            }
        });
        [took.as_nanos() as f64 / requests as f64, cpu_ns as f64 / (requests * count) as f64]
    }

    /// Frames that were handed over so far.
    pub(crate) fn handed_over(&mut self) -> u64 {
        self.engines.iter_mut().map(|engine| engine.report().counters.handed_over).sum()
    }
}

/// Whose connections the requests are for that arrive at a core.
const fn source(core: usize, arrival: Arrival, count: usize) -> usize {
    match arrival {
        Arrival::Owner => core,
        Arrival::Other => (core + 1) % count,
    }
}

/// What a thread on another core does meanwhile.
pub(crate) struct Walker {
    walks: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    cards: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Walker {
    pub(crate) fn new(inquirer: Inquirer, core: usize) -> Self {
        let (walks, ends, cards) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let shared = (Arc::clone(&walks), Arc::clone(&ends), Arc::clone(&cards));
        let thread = thread::spawn(move || {
            let (walks, ends, cards) = shared;
            cpu::pin(core).expect("two cores");
            let mut slot = 0;
            while !ends.load(Ordering::Relaxed) {
                if !walks.load(Ordering::Relaxed) {
                    thread::park_timeout(Duration::from_secs(1));
                    continue;
                }
                // A rest is looked for after each thousand.
                let (mut last, mut seen) = (None, 0);
                for card in inquirer.cards_from(slot).take(1000) {
                    last = Some(black_box(card).id.slot);
                    seen += 1;
                }
                slot = last.map_or(0, |last| last + 1);
                cards.fetch_add(seen, Ordering::Relaxed);
            }
        });
        Self { walks, ends, cards, thread: Some(thread) }
    }

    pub(crate) fn walk(&self, walks: bool) {
        self.walks.store(walks, Ordering::Relaxed);
        self.thread.iter().for_each(|thread| thread.thread().unpark());
        // The last walk ends, or the first one begins.
        thread::sleep(Duration::from_millis(2));
    }

    /// Cards read so far.
    pub(crate) fn cards(&self) -> u64 {
        self.cards.load(Ordering::Relaxed)
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// One round of the owner's work: requests, and connections that come and go, which write cards. CPU time of each, nanoseconds.
pub(crate) fn work(world: &mut World, requests: usize) -> [f64; 2] {
    let start = cpu::thread_ns();
    world.exchanges(requests);
    let middle = cpu::thread_ns();
    world.connects(requests / 8);
    [(middle - start) as f64, (cpu::thread_ns() - middle) as f64]
}
