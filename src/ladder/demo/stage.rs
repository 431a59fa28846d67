//! Two engines, a cable, and somebody who writes down what happens.
//!
//! One frame is delivered at a time and its receiver turned until it rests, so that each change of state belongs to one frame. What is written down is a
//! list of what was sent, what arrived and what else changed, with the state right after it; [`Log::exchange`] makes steps of it by the rule
//! that [`super::super::infer`] goes by as well: an arrival is part of the step in which its frame was sent, unless the receiver has sent something in
//! between. ARP takes no time: how neighbours find each other is another story. Called by [`super::play`]. The time a scenario may take is
//! bounded, and so is the number of turns.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::host::{Host, SPEAKS};
use super::scenario::{ECHO, Scenario};
use crate::device::memory::{self, MemoryDevice};
use crate::device::{Device, Frame};
use crate::engine::{Clock, Config, Engine, Port, Secrets};
use crate::ladder::capture::{Link, Packet};
use crate::ladder::exchange::{Exchange, Transport};
use crate::ladder::step::{End, Fate, Step, What};
use crate::link::groups::Groups;
use crate::link::interface::{Claim, Interface};
use crate::link::routes::Routes;
use crate::tcp::State;
use crate::time::Instant;
use crate::wire::vlan::Vlan;

/// Plays a scenario and gives what happened, with the true states.
pub(super) fn play(scenario: &Scenario) -> io::Result<Exchange> {
    let mut stage = Stage::new(scenario)?;
    stage.run();
    Ok(stage.log.exchange(scenario))
}

/// How long the cable takes one way.
const DELAY: Duration = Duration::from_millis(10);
/// How long a connection that stays open is looked at after the last thing that happened.
const QUIET: Duration = Duration::from_secs(1);
/// The most turns of a scenario. The longest takes a few hundred.
const TURNS: usize = 100_000;

/// A clock that stands still until it is told to go on.
#[derive(Debug, Default)]
struct Turned(Cell<Instant>);

impl Clock for Turned {
    fn now(&self) -> Instant {
        self.0.get()
    }
}

/// A frame on its way.
struct OnWay {
    to: End,
    /// Its place in the log.
    sent: Option<usize>,
    bytes: Vec<u8>,
}

struct Stage<'a> {
    scenario: &'a Scenario,
    clock: Turned,
    engines: [Engine<MemoryDevice, Host>; 2],
    /// The other ends of the engines' devices.
    sockets: [MemoryDevice; 2],
    /// Frames on their way, in the order of arrival.
    on_way: BTreeMap<(Instant, usize), OnWay>,
    entered: usize,
    /// Segments with data that the left end has sent.
    with_data: usize,
    turns: usize,
    log: Log,
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario) -> io::Result<Self> {
        let pairs = End::BOTH.map(|_| memory::cable(256));
        let [(left, left_socket), (right, right_socket)] = pairs;
        let engine = |end: End, device| {
            let number = end.index() as u8 + 1;
            let host = Host {
                peer: address(end.other()),
                serves: end == End::Right,
                echo: scenario.echo && end == End::Right,
                connection: None,
                endpoint: None,
            };
            let interface = Interface {
                name: format!("cable{number}"),
                mac: crate::wire::ethernet::Mac([2, 0, 0, 0, 0, number]),
                mtu: 1500,
                vlan: Vlan::NONE,
                claim: Claim::Addresses(format!("{}/24", address(end).ip()).parse().into_iter().collect()),
                routes: Routes::default(),
                withheld: Vec::new(),
                groups: Groups::new(),
            };
            let mut config = Config::new(Secrets::fixed());
            config.tcp.connections = 16;
            if let Some(bytes) = scenario.receive_buffer.filter(|_| end == End::Right) {
                config.tcp.receive_buffer = bytes;
                config.tcp.receive_buffer_max = bytes;
            }
            Engine::new(config, vec![interface], vec![Port::new(device, 0, 0)], host)
        };
        let begin = [State::Closed, if scenario.port() == ECHO { State::Listen } else { State::Closed }];
        Ok(Self {
            scenario,
            clock: Turned::default(),
            engines: [engine(End::Left, left)?, engine(End::Right, right)?],
            sockets: [left_socket, right_socket],
            on_way: BTreeMap::new(),
            entered: 0,
            with_data: 0,
            turns: 0,
            log: Log { events: Vec::new(), begin, last: begin },
        })
    }

    fn run(&mut self) {
        for end in End::BOTH {
            self.engines[end.index()].start(&self.clock);
        }
        End::BOTH.into_iter().for_each(|end| self.turn(end, None));
        // What both say at the start, about their addresses, is no part of it.
        self.log.events.clear();
        let mut script = self.scenario.script.iter().peekable();
        let mut last_word = Instant::ZERO;
        while self.turns < TURNS {
            let cue = script.peek().map(|cue| Instant::ZERO + cue.at());
            let frame = self.on_way.keys().next().map(|(at, _)| *at);
            let timer = End::BOTH.map(|end| self.engines[end.index()].next_deadline());
            if cue.is_none() && frame.is_none() && self.is_over(last_word) {
                break;
            }
            let next = [cue, frame, Some(timer[0]), Some(timer[1])].into_iter().flatten().min().unwrap_or(Instant::NEVER);
            if next == Instant::NEVER {
                break;
            }
            self.clock.0.set(self.clock.now().max(next));
            let now = self.clock.now();
            if let Some(due) = self.on_way.first_entry().filter(|due| due.key().0 <= now) {
                let OnWay { to, sent, bytes } = due.remove();
                last_word = now;
                self.give(to, &bytes);
                self.turn(to, sent);
            } else if let Some(cue) = script.next_if(|cue| Instant::ZERO + cue.at() <= now) {
                last_word = now;
                let _ = self.engines[cue.1.index()].mailbox().send(cue.2);
                self.turn(cue.1, None);
            } else {
                End::BOTH.into_iter().for_each(|end| self.turn(end, None));
            }
        }
    }

    /// True when nothing more will happen: no connection is left, or those that are have been quiet for long.
    fn is_over(&self, last_word: Instant) -> bool {
        let rests = |end: End| self.engines[end.index()].states().all(|state| state == State::Established);
        let gone = |end: End| self.engines[end.index()].states().next().is_none();
        End::BOTH.into_iter().all(gone) || End::BOTH.into_iter().all(rests) && self.clock.now().since(last_word) >= QUIET
    }

    fn give(&mut self, to: End, bytes: &[u8]) {
        let socket = &mut self.sockets[to.index()];
        if let Some(mut frame) = socket.allocate() {
            frame.set_len(bytes.len());
            frame.bytes_mut().copy_from_slice(bytes);
            let _ = socket.transmit(frame);
        }
        socket.flush();
    }

    /// Turns an engine until it rests, carries away what it sends, and writes down what has happened; `arrived` is the place in the log of the frame that it
    /// has just been given.
    fn turn(&mut self, end: End, arrived: Option<usize>) {
        self.turns += 1;
        for _ in 0..64 {
            if !self.engines[end.index()].turn(&self.clock) {
                break;
            }
        }
        let at = self.clock.now();
        let state = self.engines[end.index()].states().next();
        if let Some(of) = arrived {
            self.log.note(at, end, state, Happened::Arrived { of });
        }
        let mut burst = Vec::new();
        self.sockets[end.index()].receive(&mut burst, 256);
        for frame in burst {
            self.carry(at, end, state, frame.bytes());
            self.sockets[end.index()].recycle(frame);
        }
        self.sockets[end.index()].flush();
        self.log.note(at, end, state, Happened::Nothing);
    }

    fn carry(&mut self, at: Instant, from: End, state: Option<State>, bytes: &[u8]) {
        let to = from.other();
        let Some(packet) = Packet::read(Link::Ethernet, bytes, bytes.len()) else {
            self.enter(at, to, None, bytes);
            return;
        };
        let has_data = from == End::Left && matches!(packet.what, What::Segment(segment) if segment.len > 0);
        let lost = has_data && self.scenario.loses.contains(&self.with_data);
        self.with_data += usize::from(has_data);
        let sent = self.log.note(at, from, state, Happened::Sent { what: packet.what, lost });
        if !lost {
            self.enter(at + DELAY, to, sent, bytes);
        }
    }

    fn enter(&mut self, at: Instant, to: End, sent: Option<usize>, bytes: &[u8]) {
        self.entered += 1;
        self.on_way.insert((at, self.entered), OnWay { to, sent, bytes: bytes.to_vec() });
    }
}

/// What was written down.
#[derive(Debug)]
struct Log {
    events: Vec<Event>,
    /// The states before the first of them, and now.
    begin: [State; 2],
    last: [State; 2],
}

#[derive(Debug)]
struct Event {
    at: Instant,
    end: End,
    /// The state of the end after it.
    state: State,
    happened: Happened,
}

#[derive(Debug)]
enum Happened {
    Sent {
        what: What,
        lost: bool,
    },
    Arrived {
        of: usize,
    },
    /// A timer, or a call.
    Nothing,
}

impl Log {
    /// Writes down what has happened, and gives its place. Nothing is only worth a word when the state has changed.
    fn note(&mut self, at: Instant, end: End, state: Option<State>, happened: Happened) -> Option<usize> {
        let before = self.last[end.index()];
        // Without a TCB it listens, or has nothing; a passive handshake that came to nothing leaves the listener as it was (RFC 9293 3.10.7.4).
        let now = state.unwrap_or(match before {
            State::SynReceived | State::Listen => State::Listen,
            _ => State::Closed,
        });
        self.last[end.index()] = now;
        if matches!(happened, Happened::Nothing) && now == before {
            return None;
        }
        // An end that changes its state and sends at the same instant does both at once: a SYN may wait for ARP, which takes no time here.
        let is_sent = matches!(happened, Happened::Sent { .. });
        self.events.pop_if(|last| is_sent && matches!(last.happened, Happened::Nothing) && (last.end, last.at) == (end, at));
        self.events.push(Event { at, end, state: now, happened });
        Some(self.events.len() - 1)
    }

    /// The exchange.
    fn exchange(&self, scenario: &Scenario) -> Exchange {
        let transport = if scenario.is_udp() { Transport::Udp } else { Transport::Tcp };
        let right = SocketAddr::new(address(End::Right).ip(), scenario.port());
        let mut exchange = Exchange::new(transport, address(End::Left), right);
        exchange.fates_known = true;
        exchange.known = [true; 2];
        // What each step changes, and where the step of each event is.
        let mut changes: Vec<[Option<State>; 2]> = Vec::new();
        let mut places = vec![0; self.events.len()];
        let mut latest = self.begin;
        for (nth, event) in self.events.iter().enumerate() {
            let own = event.end.index();
            let place = match &event.happened {
                Happened::Sent { what, lost } => {
                    let fate = if *lost { Fate::Lost } else { Fate::Arrives };
                    exchange.steps.push(Step { fate, ..Step::new(event.at, event.end, what.clone()) });
                    exchange.steps.len() - 1
                }
                Happened::Arrived { of } => {
                    let of = places[*of];
                    let mut behind = exchange.steps.iter().zip(&changes).skip(of + 1);
                    let is_late = behind.any(|(step, change)| step.is_sent() && step.from == event.end || change[own].is_some());
                    if is_late && latest[own] != event.state {
                        exchange.steps[of].fate = Fate::Late;
                        exchange.steps.push(Step::new(event.at, event.end.other(), What::Arrival { of }));
                        exchange.steps.len() - 1
                    } else {
                        of
                    }
                }
                Happened::Nothing => {
                    let what = if latest[own] == State::TimeWait { What::TwoMsl } else { What::Note("a call or a timer".into()) };
                    exchange.steps.push(Step::new(event.at, event.end, what));
                    exchange.steps.len() - 1
                }
            };
            changes.resize(exchange.steps.len(), [None; 2]);
            if latest[own] != event.state {
                latest[own] = event.state;
                changes[place][own] = Some(event.state);
            }
            places[nth] = place;
        }
        self.write_states(&mut exchange, &changes);
        exchange
    }

    /// Goes through the steps once and writes the states that they leave.
    fn write_states(&self, exchange: &mut Exchange, changes: &[[Option<State>; 2]]) {
        if exchange.transport == Transport::Udp {
            return;
        }
        let mut now = self.begin.map(Some);
        exchange.begin = now;
        for (step, change) in exchange.steps.iter_mut().zip(changes) {
            for end in End::BOTH.map(End::index) {
                now[end] = change[end].or(now[end]);
            }
            step.states = now;
        }
    }
}

/// Where each end is.
fn address(end: End) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, end.index() as u8 + 1], SPEAKS))
}
