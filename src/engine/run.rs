//! An engine's life: start, turns, rest, drain, end.
//!
//! Called by `launch`, by tests and by benches. Owns the loop around [`super::turn`] and decides when it sleeps; it knows no packet.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::ahead::Guesses;
use super::clock::{Clock, MonotonicClock};
use super::config::Config;
use super::core::{Core, Port};
use super::drain::Remaining;
use super::idle::{BUSY_POLL_FOR, Idle, Parker, SPIN_FOR};
use super::mailbox::{Bell, Mailbox, Stop};
use super::news::Follow;
use super::report::{QueueReport, Report, TcpReport};
use super::stopwatch::Stopwatch;
use crate::cpu;
use crate::demux::SlotId;
use crate::device::Device;
use crate::limits;
use crate::link::interface::Interface;
use crate::service::Service;
use crate::settings::number::show_duration;
use crate::tcp::State;
use crate::time::Instant;

/// One core: its queues, its protocol state, its service.
///
/// ```
/// use ringway::device::memory;
/// use ringway::engine::{Config, Engine, MonotonicClock, Port, Secrets};
/// use ringway::link::groups::Groups;
/// use ringway::link::interface::{Claim, Interface};
/// use ringway::link::routes::Routes;
/// use ringway::service::Service;
/// use ringway::wire::ethernet::Mac;
/// use ringway::wire::vlan::Vlan;
///
/// struct Silent;
/// impl Service for Silent {
///     type Message = ();
/// }
///
/// let (device, _peer) = memory::cable(16);
/// let interface = Interface {
///     name: "cable".into(),
///     mac: Mac([2, 0, 0, 0, 0, 1]),
///     mtu: 1500,
///     vlan: Vlan::NONE,
///     claim: Claim::Addresses(vec!["10.0.0.1/24".parse().unwrap()]),
///     routes: Routes::default(),
///     withheld: Vec::new(),
///     groups: Groups::new(),
/// };
/// let mut engine = Engine::new(Config::new(Secrets::fixed()), vec![interface], vec![Port::new(device, 0, 0)], Silent)?;
/// engine.start(&MonotonicClock::start());
/// engine.turn(&MonotonicClock::start());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine<D: Device, S: Service> {
    pub(super) core: Core<D>,
    pub(super) service: S,
    /// The frames of the burst in work; empty between bursts.
    pub(super) burst: Vec<D::Frame>,
    pub(super) guesses: Guesses,
    /// Frames received in this turn.
    pub(super) frames_in_turn: usize,
    /// How often, and when next, [`Engine::run_watched`] shows the report.
    pub(super) watch: Watch,
    pub(super) stopwatch: Stopwatch,
    mailbox: Mailbox<S::Message>,
    bell: Arc<Bell>,
    pub(super) stop: Stop,
    parker: Parker,
}

/// When somebody wants to see a report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub(super) every: Duration,
    pub(super) next: Instant,
}

impl<D: Device, S: Service> Engine<D, S> {
    /// An engine that has done nothing yet. Each port names its interface by the position in `interfaces`.
    ///
    /// # Errors
    /// The system refuses the descriptors for sleeping (epoll, timerfd, eventfd), or a port names an interface that is not there.
    pub fn new(config: Config, interfaces: Vec<Interface>, ports: Vec<Port<D>>, service: S) -> io::Result<Self> {
        if ports.iter().any(|port| usize::from(port.interface) >= interfaces.len()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a port names an interface that is not there"));
        }
        let (parker, bell) = Parker::new(ports.iter().filter_map(|port| port.device.descriptor()))?;
        let bell = Arc::new(bell);
        Ok(Self {
            core: Core::new(config, interfaces, ports),
            service,
            burst: Vec::with_capacity(limits::BURST),
            guesses: Guesses::new(),
            frames_in_turn: 0,
            watch: Watch { every: Duration::MAX, next: Instant::NEVER },
            stopwatch: Stopwatch::new(),
            mailbox: Mailbox::new(Arc::clone(&bell)),
            stop: Stop::new([Arc::clone(&bell)]),
            bell,
            parker,
        })
    }

    /// So many connections count as few.
    #[cfg(test)]
    pub(crate) const fn think_cached(&mut self, flows: usize) {
        self.core.flows_in_cache = flows;
    }

    /// The sending end of the service's mailbox.
    pub fn mailbox(&self) -> Mailbox<S::Message> {
        self.mailbox.clone()
    }

    /// The switch that ends [`Engine::run`].
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// The service.
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// The service, to be changed between turns.
    pub const fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// The device of a port, in the order they were given: for a driver of an engine in memory, between turns.
    ///
    /// # Panics
    /// There is no such port.
    pub fn device_mut(&mut self, port: usize) -> &mut D {
        &mut self.core.ports[port].device
    }

    /// When a timer expires next: for a driver of an engine in memory that turns the time by hand.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.core.next_deadline()
    }

    /// The states of the connections there are, between turns.
    pub(crate) fn states(&self) -> impl Iterator<Item = State> {
        self.core.flows.glances().map(|flow| flow.state)
    }

    /// The machine's clock, the same for everything that this engine does by itself.
    pub fn clock(&mut self) -> MonotonicClock {
        *self.core.clock.get_or_insert_with(MonotonicClock::start)
    }

    /// Starts the service, and begins with the claimed addresses unless [`Engine::claim_addresses`] has. Once, before the first turn.
    pub fn start(&mut self, clock: &impl Clock) {
        self.core.now = clock.now();
        self.core.begin_addresses();
        self.core.serving = true;
        self.service.start(&mut self.core);
    }

    /// Starts, turns until asked to stop, ends the connections, and reports.
    ///
    /// # Errors
    /// The system call that sleeps failed.
    pub fn run(&mut self) -> io::Result<Report> {
        self.run_watched(Duration::MAX, |_| {})
    }

    /// As [`Engine::run`]; every so often `watch` sees the report so far. It is called from the loop, so the core receives nothing
    /// meanwhile, and up to a tenth of a second late when the core sleeps.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_watched(&mut self, every: Duration, mut watch: impl FnMut(&Report)) -> io::Result<Report> {
        let clock = self.clock();
        let cpu_at_start = cpu::thread_ns();
        self.start(&clock);
        let mut last_work = clock.now();
        self.watch = Watch { every, next: last_work + every };
        let mut quiet_turns = 0;
        while self.stop.asked() == 0 && !self.core.stop_asked {
            // Reading the clock is the dearest part of a turn that finds nothing, and such turns are what a frame waits for.
            quiet_turns = (quiet_turns + 1) % TURNS_PER_CLOCK_READ;
            if self.turn_after(&clock, quiet_turns == 0) {
                last_work = self.core.now;
            } else if self.rest(last_work)? {
                quiet_turns = TURNS_PER_CLOCK_READ - 1;
            }
            if self.core.now >= self.watch.next {
                self.watch.next += self.watch.every;
                watch(&self.report_at(&clock, cpu_at_start));
            }
        }
        self.drain(&clock)?;
        Ok(self.report_at(&clock, cpu_at_start))
    }

    /// The longest way of a lookup in the directory of connections; walks all of it.
    pub fn longest_probe(&self) -> usize {
        self.core.directory.longest_probe()
    }

    /// The service, when the engine is no longer needed.
    pub fn into_service(self) -> S {
        self.service
    }

    fn report_at(&mut self, clock: &impl Clock, cpu_at_start: u64) -> Report {
        let mut report = self.report();
        report.wall_ns = clock.now().as_ns();
        report.cpu_ns = cpu::thread_ns().saturating_sub(cpu_at_start);
        report
    }

    /// Ends all connections: in order as long as time allows, as their services have it ([`Service::drain`]), then with a reset. Takes no new
    /// ones: SYNs are refused. Frames that services keep come back.
    ///
    /// # Errors
    /// The system call that sleeps failed.
    pub fn drain(&mut self, clock: &impl Clock) -> io::Result<()> {
        self.core.stopping = true;
        self.say_drain();
        if self.core.siblings.is_some() {
            // They end together.
            self.stop.ask_once();
        }
        self.core.now = clock.now();
        let deadline = self.core.now + self.core.config.drain;
        let mut remaining = self.begin_drain();
        loop {
            let more = self.go_on_draining();
            let is_late = self.core.now >= deadline || self.stop.asked() >= 2;
            if !more && (is_late || !self.waits_for_end(&mut remaining)) {
                break;
            }
            if !self.turn(clock) && !more {
                self.rest(self.core.now)?;
            }
        }
        self.abort_for_stop(clock);
        // What is queued leaves; a ring that stays full, or a silent neighbour, must not hold up the end.
        for _ in 0..LAST_TURNS {
            self.turn(clock);
            if self.core.count_states().0 == 0 && !self.core.ports.iter().any(|port| port.device.pending()) {
                break;
            }
        }
        self.core.let_go();
        Ok(())
    }

    /// Says, of all siblings once, that connections are being ended.
    fn say_drain(&self) {
        if self.core.siblings.as_ref().is_none_or(|siblings| siblings.number() == 0) {
            let most = show_duration(self.core.config.drain);
            tracing::info!(target: "ringway::setup", most, "draining");
        }
    }

    /// True while a stop has to wait for a connection, of this core or of another, whose packets may arrive here.
    fn waits_for_end(&mut self, remaining: &mut Remaining) -> bool {
        self.core.holds_up_stop(remaining) || self.core.siblings.as_mut().is_some_and(|siblings| !siblings.all_have_ended())
    }

    /// What has been done so far.
    pub fn report(&mut self) -> Report {
        let (open, time_wait) = self.core.count_states();
        // What a TCB notes while it sends is otherwise counted with its next event.
        for slot in 0..self.core.flows.slots() as u32 {
            if let Some(flow) = self.core.flows.whole_at_mut(slot) {
                self.core.tally.count_all(flow.tcb.take_noted());
            }
        }
        let tcp = TcpReport {
            open,
            time_wait,
            resting: self.core.flows.len() - self.core.flows.whole(),
            buffered_bytes: self.core.pool.in_use(),
            buffer_bytes: self.core.pool.allocated(),
        };
        self.report_with(tcp)
    }

    /// The same, of connections that were counted elsewhere.
    pub(super) fn report_with(&mut self, tcp: TcpReport) -> Report {
        let queues = self
            .core
            .ports
            .iter_mut()
            .map(|port| QueueReport {
                interface: port.interface,
                queue: port.queue,
                frames: port.device.frames(),
                stats: port.device.stats(),
            })
            .collect();
        self.core.counters.copies_lost = self.core.follow.as_ref().map_or(0, Follow::copies_lost);
        let counters = self.core.counters;
        Report {
            counters,
            histograms: self.core.histograms,
            drops: self.core.drops.nonzero().map(|(why, count)| (why.name(), count)).collect(),
            tcp_events: self.core.tally.nonzero().map(|(what, count)| (what.name(), count)).collect(),
            tcp,
            queues,
            neighbors: self.core.links.iter().map(|link| link.neighbors.len()).sum(),
            kept: self.core.kept.len(),
            timers: self.core.wheel.len(),
            wall_ns: self.core.now.as_ns(),
            cpu_ns: 0,
            busy_share: counters.busy_turns as f64 / counters.turns.max(1) as f64,
        }
    }

    /// Messages of other threads. True when there was one.
    pub(super) fn read_mailbox(&mut self) -> bool {
        // Taking from an empty queue costs a full fence, looking at it does not.
        if self.mailbox.is_empty() {
            return false;
        }
        let mut worked = false;
        // No more than fit in at once, so that a busy writer cannot hold up the queues.
        for _ in 0..limits::BURST {
            let Some(message) = self.mailbox.take() else { break };
            worked = true;
            self.service.message(&mut self.core, message);
        }
        worked
    }

    /// After a turn without work. True when the core slept. A spinning core goes straight on: the pause instruction would add up to
    /// 140 cycles to the time until the next frame is seen, and nobody else is meant to run on this core.
    fn rest(&mut self, last_work: Instant) -> io::Result<bool> {
        let idle_for = self.core.now.since(last_work);
        match self.core.config.idle {
            Idle::Spin => Ok(false),
            Idle::Adaptive if idle_for < SPIN_FOR => Ok(false),
            Idle::Adaptive if idle_for < SPIN_FOR + BUSY_POLL_FOR => {
                self.core.ports.iter_mut().for_each(|port| port.device.busy_poll());
                Ok(false)
            }
            Idle::Adaptive | Idle::Park => self.park().map(|()| true),
        }
    }

    fn park(&mut self) -> io::Result<()> {
        self.bell.announce();
        // One more look at everything that could have come since the turn: whoever comes later sees the announcement.
        let come = !self.mailbox.is_empty()
            || self.core.inquiries.wait()
            || self.core.news_wait()
            || self.stop.asked() > 0
            || self.core.frames_wait();
        let result = if come {
            Ok(())
        } else {
            self.core.counters.parks += 1;
            let until = self.core.next_deadline();
            self.parker.sleep(until.since(self.core.now))
        };
        self.bell.awake();
        result
    }
}

/// Turns without work between two looks at the clock: a timer is seen late by about this many times 50 ns.
const TURNS_PER_CLOCK_READ: u32 = 8;
/// Turns in which the resets of a stop may leave.
const LAST_TURNS: usize = 64;

impl<D: Device> Core<D> {
    /// Removes what is left, TIME-WAIT included, and takes kept and waiting frames back.
    fn let_go(&mut self) {
        let ids: Vec<SlotId> = self.flows.glances().filter(|flow| !flow.time_wait()).map(|flow| flow.id).collect();
        ids.into_iter().for_each(|id| self.remove_flow(id));
        while let Some(kept) = self.kept.remove_any() {
            self.release(Some(kept));
        }
        self.inquiries.end();
        self.drop_handed();
        self.forget_neighbors();
        self.ports.iter_mut().for_each(|port| port.device.flush());
    }

    /// True when something is already there to be worked on.
    pub(super) fn frames_wait(&mut self) -> bool {
        !self.ready.is_empty()
            || !self.offers.is_empty()
            || !self.looped.is_empty()
            || self.siblings.as_ref().is_some_and(|siblings| siblings.wait())
            || self.ports.iter_mut().any(|port| port.device.readable() || port.device.pending())
    }

    pub(super) fn next_deadline(&self) -> Instant {
        let neighbors = self.links.iter().map(|link| link.neighbors.deadline()).min().unwrap_or(Instant::NEVER);
        self.wheel.next_deadline().min(self.looks.deadline()).min(neighbors).min(self.reassembly.deadline())
    }
}
