//! Questions of other threads about what only an engine knows, answered between two packets.
//!
//! An [`Inquirer`] reads the engine's cards without it, and asks for the rest: it leaves a question, rings, and waits for the answer, which comes over
//! a channel of its own. The engine answers one question a turn, about at most [`limits::INQUIRED_PER_TURN`] connections, and never waits. A full
//! queue of questions, or an engine that has ended, is an answer too. Nothing here panics.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::queue::ArrayQueue;

use super::change::Change;
use super::clock::{Clock as _, MonotonicClock};
use super::core::Core;
use super::mailbox::Bell;
use super::report::{Report, TcpReport};
use super::run::{Engine, Watch};
use crate::capture::Tap;
use crate::cpu;
use crate::demux::directory::{Card, Reader};
use crate::demux::{Address, SlotId};
use crate::device::Device;
use crate::limits;
use crate::link::routes::Route;
use crate::recorder::{Alarm, Record};
use crate::service::Service;
use crate::tcp::figures::Figures;
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// Asks one engine; any thread may have one.
#[derive(Clone, Debug)]
pub struct Inquirer {
    questions: Arc<Questions>,
    bell: Arc<Bell>,
    cards: Reader,
    clock: MonotonicClock,
}

/// A question, with the way of its answer. The channels have room for it, so that the engine never waits.
#[derive(Debug)]
enum Question {
    Figures { of: Vec<SlotId>, answer: SyncSender<Vec<(SlotId, Figures)>> },
    Awake { from: u32, most: usize, answer: SyncSender<Awake> },
    Report(SyncSender<Report>),
    Listeners(SyncSender<Vec<ListenerFigures>>),
    Neighbors(SyncSender<Vec<NeighborFigures>>),
    Routes(SyncSender<Vec<(u16, Route)>>),
    Records { from: u64, answer: SyncSender<Records> },
    Tap { tap: Option<Tap>, answer: SyncSender<bool> },
    Change { to: Box<Change>, answer: SyncSender<()> },
    Watch { every: Duration, answer: SyncSender<()> },
}

/// A piece of what the recorder holds.
#[derive(Clone, Debug)]
pub struct Records {
    /// The records, each with its number, the oldest first; what belongs to a segment is not parted from it.
    pub records: Vec<(u64, Record)>,
    /// The number that the next record of the engine will get.
    pub written: u64,
}

/// Some of the connections that are not at rest.
#[derive(Clone, Debug)]
pub struct Awake {
    /// Each with its figures.
    pub connections: Vec<(SlotId, Figures)>,
    /// Where to go on; `None` behind the last one.
    pub next: Option<u32>,
}

/// The engine did not answer: it has ended, or is busy with something for longer than anybody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine does not answer")]
pub struct Silent;

/// A listener or a UDP endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerFigures {
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// `None` is every address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Connections in SYN-RECEIVED, of a listener.
    pub half_open: Option<usize>,
    /// The most of them.
    pub backlog: Option<usize>,
    /// The only one an endpoint talks to, if it is connected.
    pub peer: Option<(IpAddr, u16)>,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborFigures {
    /// Position of the interface.
    pub interface: u16,
    /// Its address.
    pub ip: IpAddr,
    /// Its Ethernet address, once known.
    pub mac: Option<Mac>,
    /// The state, as RFC 4861 7.3.2 names it.
    pub state: &'static str,
}

impl Inquirer {
    /// Cards from a slot on, without asking the engine.
    pub fn cards_from(&self, slot: u32) -> impl Iterator<Item = Card> {
        self.cards.cards_from(slot)
    }

    /// How old a connection is.
    pub fn age(&self, card: &Card) -> Duration {
        self.clock.now().since(card.born)
    }

    /// The figures of connections; what has ended is left out. Of more than [`limits::INQUIRED_PER_TURN`] the first are told.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn figures(&self, of: Vec<SlotId>) -> Result<Vec<(SlotId, Figures)>, Silent> {
        self.ask(|answer| Question::Figures { of, answer })
    }

    /// The next ones of the connections that are not at rest, from a place on, 0 at first: at most `most`, and [`limits::INQUIRED_PER_TURN`]. Those at rest, which
    /// carry nothing, cost nothing here, however many there are. A walk tells each one that stays awake once; one that gets up meanwhile may come.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn awake(&self, from: u32, most: usize) -> Result<Awake, Silent> {
        self.ask(|answer| Question::Awake { from, most, answer })
    }

    /// The card of a connection, without asking the engine; `None` when it has ended.
    pub fn card(&self, id: SlotId) -> Option<Card> {
        self.cards.card_of(id)
    }

    /// What the engine has counted so far. How many connections are in TIME-WAIT it does not count for this: all count as open. The CPU time is that of its
    /// thread since that began.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn report(&self) -> Result<Report, Silent> {
        self.ask(Question::Report)
    }

    /// Listeners and endpoints.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn listeners(&self) -> Result<Vec<ListenerFigures>, Silent> {
        self.ask(Question::Listeners)
    }

    /// Neighbours of all interfaces.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn neighbors(&self) -> Result<Vec<NeighborFigures>, Silent> {
        self.ask(Question::Neighbors)
    }

    /// Routes beyond the networks of the addresses, each with its interface.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn routes(&self) -> Result<Vec<(u16, Route)>, Silent> {
        self.ask(Question::Routes)
    }

    /// Some of the recorder's records, from a number on: at most [`limits::RECORDS_PER_TURN`] of them and what belongs to the last. None when it
    /// has no more, or records nothing.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn records(&self, from: u64) -> Result<Records, Silent> {
        self.ask(|answer| Question::Records { from, answer })
    }

    /// Has the engine copy frames into a tap, or stop that. False when another capture runs.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn tap(&self, tap: Option<Tap>) -> Result<bool, Silent> {
        self.ask(|answer| Question::Tap { tap, answer })
    }

    /// The time of day at which the engine's time began, as far as the clocks agree now: since 1970, UTC. To be asked once for times that are compared with each
    /// other: it reads two clocks one after the other, and is each time another by as long as lies between the two.
    pub fn epoch(&self) -> Duration {
        let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        today.saturating_sub(self.clock.now().since(Instant::ZERO))
    }

    /// Has the engine go on with another configuration, between two packets. When this returns it does.
    ///
    /// # Errors
    /// The engine does not answer. It may still do so.
    pub fn change(&self, to: Change) -> Result<(), Silent> {
        self.ask(|answer| Question::Change { to: Box::new(to), answer })
    }

    /// Has [`Engine::run_watched`] show its report so often from now on; [`Duration::MAX`] never.
    ///
    /// # Errors
    /// The engine does not answer. It may still do so.
    pub fn watch_every(&self, every: Duration) -> Result<(), Silent> {
        self.ask(|answer| Question::Watch { every, answer })
    }

    fn ask<T>(&self, question: impl FnOnce(SyncSender<T>) -> Question) -> Result<T, Silent> {
        let (answer, answers): (_, Receiver<T>) = sync_channel(1);
        self.questions.queue.push(question(answer)).map_err(|_| Silent)?;
        if self.questions.ended.load(Ordering::SeqCst) {
            return Err(Silent);
        }
        self.bell.ring();
        answers.recv_timeout(limits::INQUIRY_PATIENCE).map_err(|_| Silent)
    }
}

/// Those that wait.
#[derive(Debug)]
struct Questions {
    queue: ArrayQueue<Question>,
    /// Nobody answers any more.
    ended: AtomicBool,
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct Inquiries(Arc<Questions>);

impl Default for Inquiries {
    fn default() -> Self {
        Self(Arc::new(Questions { queue: ArrayQueue::new(limits::INQUIRIES), ended: AtomicBool::new(false) }))
    }
}

impl Inquiries {
    /// True when somebody asks.
    #[inline]
    pub(super) fn wait(&self) -> bool {
        !self.0.queue.is_empty()
    }

    /// The engine ends: whoever waits hears it at once, and so does whoever asks later.
    pub(super) fn end(&self) {
        self.0.ended.store(true, Ordering::SeqCst);
        while self.0.queue.pop().is_some() {}
    }
}

impl Drop for Inquiries {
    /// Also when the engine's thread has panicked, or never began.
    fn drop(&mut self) {
        self.end();
    }
}

impl<D: Device, S: Service> Engine<D, S> {
    /// For other threads: who asks this engine, also while it runs. To be made once it has been joined to its siblings.
    pub fn inquirer(&mut self) -> Inquirer {
        Inquirer {
            clock: self.clock(),
            questions: Arc::clone(&self.core.inquiries.0),
            bell: self.bell(),
            cards: self.core.directory.reader(),
        }
    }

    /// Has somebody told of timeouts and resets, and of a panic.
    pub fn set_alarm(&mut self, alarm: Alarm) {
        self.core.recorder.set_alarm(alarm);
    }

    /// Answers the next question.
    #[cold]
    #[inline(never)]
    pub(super) fn answer_question(&mut self) -> bool {
        let Some(question) = self.core.inquiries.0.queue.pop() else { return false };
        // Nobody may be waiting any more.
        let _ = match question {
            Question::Figures { of, answer } => answer.try_send(self.core.figures(&of)).is_ok(),
            Question::Awake { from, most, answer } => answer.try_send(self.core.awake(from, most)).is_ok(),
            Question::Report(answer) => answer.try_send(self.light_report()).is_ok(),
            Question::Listeners(answer) => answer.try_send(self.core.listener_figures()).is_ok(),
            Question::Neighbors(answer) => answer.try_send(self.core.neighbor_figures()).is_ok(),
            Question::Routes(answer) => answer.try_send(self.core.all_routes()).is_ok(),
            Question::Tap { tap, answer } => answer.try_send(self.core.set_tap(tap)).is_ok(),
            Question::Records { from, answer } => answer.try_send(self.core.records(from)).is_ok(),
            Question::Change { to, answer } => {
                self.core.change(*to);
                answer.try_send(()).is_ok()
            }
            Question::Watch { every, answer } => {
                self.watch = Watch { every, next: self.core.now + every };
                answer.try_send(()).is_ok()
            }
        };
        true
    }

    /// A report that looks at no connection.
    fn light_report(&mut self) -> Report {
        let tcp = TcpReport {
            open: self.core.flows.len(),
            time_wait: 0,
            resting: self.core.flows.len() - self.core.flows.whole(),
            buffered_bytes: self.core.pool.in_use(),
            buffer_bytes: self.core.pool.allocated(),
        };
        // Before the service begins, the thread that sets up turns all engines: its time is nobody's.
        let cpu_ns = if self.core.serving { cpu::thread_ns() } else { 0 };
        Report { cpu_ns, ..self.report_with(tcp) }
    }
}

impl<D: Device> Core<D> {
    fn figures(&self, of: &[SlotId]) -> Vec<(SlotId, Figures)> {
        let some = of.iter().take(limits::INQUIRED_PER_TURN);
        some.filter_map(|&id| Some((id, self.flows.with(id, |flow| flow.tcb.figures(&self.config.tcp))?))).collect()
    }

    pub(super) fn awake(&self, from: u32, most: usize) -> Awake {
        let most = most.min(limits::INQUIRED_PER_TURN);
        let mut connections = Vec::new();
        let mut places = self.flows.whole_from(from, |key| self.find_flow(key));
        for (looked_at, (place, flow)) in places.by_ref().enumerate() {
            if connections.len() == most || looked_at == limits::PLACES_PER_TURN {
                return Awake { connections, next: Some(place) };
            }
            connections.extend(flow.map(|(id, flow)| (id, flow.tcb.figures(&self.config.tcp))));
        }
        Awake { connections, next: None }
    }

    fn records(&self, from: u64) -> Records {
        let mut records = Vec::new();
        for (number, record) in self.recorder.since(from) {
            if records.len() >= limits::RECORDS_PER_TURN && !record.is_of_the_one_before() {
                break;
            }
            records.push((number, *record));
        }
        Records { records, written: self.recorder.written() }
    }

    fn listener_figures(&self) -> Vec<ListenerFigures> {
        let tcp = self.listeners.iter().map(|(address, port, listener)| ListenerFigures {
            transport: "tcp",
            address: address.map(Address::ip),
            port,
            half_open: Some(listener.half_open),
            backlog: Some(listener.backlog(&self.config.tcp)),
            peer: None,
        });
        let udp = self.endpoints.iter().map(|(address, port, endpoint)| ListenerFigures {
            transport: "udp",
            address: address.map(Address::ip),
            port,
            half_open: None,
            backlog: None,
            peer: endpoint.peer.map(|(address, port)| (address.ip(), port)),
        });
        tcp.chain(udp).collect()
    }

    fn neighbor_figures(&self) -> Vec<NeighborFigures> {
        let of_link = |(interface, link): (usize, &super::core::Link<D::Frame>)| {
            let known: Vec<_> = link
                .neighbors
                .iter()
                .map(|(hop, mac, state)| NeighborFigures { interface: interface as u16, ip: hop.ip, mac, state })
                .collect();
            known
        };
        self.links.iter().enumerate().flat_map(of_link).collect()
    }

    fn all_routes(&self) -> Vec<(u16, Route)> {
        let of_link = |(interface, link): (usize, &super::core::Link<D::Frame>)| {
            link.interface.routes.iter().map(move |&route| (interface as u16, route)).collect::<Vec<_>>()
        };
        self.links.iter().enumerate().flat_map(of_link).collect()
    }
}
