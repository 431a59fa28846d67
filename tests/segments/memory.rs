//! Ringway in memory: the whole engine over a cable in memory, with a clock turned by hand.
//!
//! Called by the tests of each script. Time is virtual and exact to a millisecond, or to a ten-thousandth of a long wait; nothing here sleeps.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringway::demux::admission::Prefixes;
use ringway::device::memory::{self, MemoryDevice};
use ringway::device::{Device, Drop, Frame};
use ringway::engine::{Clock, Config, Engine, Port, Secrets};
use ringway::link::groups::Groups;
use ringway::link::interface::{Claim, Interface};
use ringway::link::routes::Routes;
use ringway::service::{Connect, Connection, Context, Info, Listen, Notice, ResetReason, Service};
use ringway::tcp::{Keepalive, State, Tuning};
use ringway::time::Instant;
use ringway::wire::arp::{self, Arp};
use ringway::wire::ethernet::{self, ETHERTYPE_ARP, Ethernet, Mac};
use ringway::wire::vlan::Vlan;

use crate::frame::{HOST, PEER, Wire};
use crate::player::{Host, Patience, Player};
use crate::script::{Call, Failure, News, Script, Setting, Stack, Step, Write};
use crate::segment::stream;

/// Plays a script and fails the test that called if it does not go as written.
pub(crate) fn play(name: &str, write: Write) {
    if let Err(why) = attempt(write) {
        panic!("{name}\n{why}");
    }
}

/// Plays a script.
///
/// # Errors
/// The first thing that does not go as written.
pub(crate) fn attempt(write: Write) -> Result<(), String> {
    let script = Script::of(write, Stack::Ringway);
    let host = Memory::new(&script);
    let wire = Wire::new(host.peer.mac(), host.mac, PEER_PORT, HOST_PORT);
    let mut player = Player::new(&script, host, wire);
    player.play().and_then(|()| player.host.accounts(&script))
}

/// The engine, the peer's end of the cable, and the clock.
struct Memory {
    engine: Engine<MemoryDevice, Application>,
    mac: Mac,
    peer: MemoryDevice,
    clock: ManualClock,
    arrived: VecDeque<Vec<u8>>,
}

impl Memory {
    fn new(script: &Script) -> Self {
        let (peer, device) = memory::cable(256);
        let mac = device.mac();
        let interface = Interface {
            name: "cable".into(),
            mac,
            mtu: 1500,
            vlan: Vlan::NONE,
            claim: Claim::Addresses(vec![format!("{HOST}/24").parse().expect("an address")]),
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        };
        let config = Config { tcp: script.settings, ..Config::new(Secrets::fixed()) };
        let ports = vec![Port::new(device, 0, 0)];
        let mut engine = Engine::new(config, vec![interface], ports, Application::default()).expect("descriptors for sleeping");
        if !script.denied.is_empty() {
            let denied: Vec<_> = script.denied.iter().map(|network| network.parse().expect("a network")).collect();
            engine.admit(Arc::new(Prefixes::new(&[], &denied).expect("few enough")));
        }
        let clock = ManualClock(Cell::new(START.as_nanos() as u64));
        engine.start(&clock);
        let mut memory = Self { engine, mac, peer, clock, arrived: VecDeque::new() };
        memory.turn();
        memory
    }

    /// One turn of the engine; what it sent is taken in, and questions for the peer's Ethernet address are answered.
    fn turn(&mut self) {
        for _ in 0..TURNS_AT_ONCE {
            self.engine.turn(&self.clock);
            let mut burst = Vec::new();
            if self.peer.receive(&mut burst, 64) == 0 {
                break;
            }
            for frame in burst {
                let bytes = frame.bytes().to_vec();
                self.peer.recycle(frame);
                match self.arp_reply(&bytes) {
                    Some(reply) => self.put(&reply),
                    None => self.arrived.push_back(bytes),
                }
            }
            self.peer.flush();
        }
    }

    fn arp_reply(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let header = ethernet::parse(frame).ok().filter(|header| header.ethertype == ETHERTYPE_ARP)?;
        let asked = arp::parse(&frame[header.header_len()..]).ok()?;
        if asked.operation != arp::REQUEST || asked.target != PEER {
            return None;
        }
        let mut reply = vec![0; 14 + arp::LEN];
        let header = Ethernet { target: asked.sender_mac, source: self.peer.mac(), vlan: Vlan::NONE, ethertype: ETHERTYPE_ARP };
        ethernet::emit(&mut reply, &header);
        let answer = Arp {
            operation: arp::REPLY,
            sender_mac: self.peer.mac(),
            sender: PEER,
            target_mac: asked.sender_mac,
            target: asked.sender,
        };
        arp::emit(&mut reply[14..], &answer);
        Some(reply)
    }

    fn put(&mut self, bytes: &[u8]) {
        let mut frame = self.peer.allocate().expect("a free frame");
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        self.peer.transmit(frame).expect("room");
        self.peer.flush();
    }

    /// Has the application do something.
    fn ask(&mut self, call: Call) -> &mut Application {
        assert!(self.engine.mailbox().send(call).is_ok(), "the mailbox has room");
        self.turn();
        self.engine.service_mut()
    }

    /// What must hold at the end: exactly the drops that the script names, everything it says that happens, no frame lost.
    fn accounts(&mut self, script: &Script) -> Result<(), String> {
        let report = self.engine.report();
        let named: Vec<_> = script.drops.iter().map(|why| why.name()).collect();
        for &why in Drop::ALL {
            let (name, happened) = (why.name(), report.drops.contains_key(why.name()));
            if happened != named.contains(&name) {
                return Err(format!("{name}: {}", if happened { "counted, but not named" } else { "named, but not counted" }));
            }
        }
        if let Some(what) = script.happenings.iter().find(|what| !report.tcp_events.contains_key(what.name())) {
            return Err(format!("{}: named, but not counted; {:?} were", what.name(), report.tcp_events));
        }
        let hears = script.steps.iter().any(|step| matches!(step, Step::Call(Call::Told(_))));
        if let Some(news) = self.engine.service().news.front().filter(|_| hears) {
            return Err(format!("the application was told {news:?} as well"));
        }
        let missing = report.queues[0].frames.outside();
        if missing > 0 { Err(format!("{missing} frames are lost")) } else { Ok(()) }
    }
}

impl Host for Memory {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.0.get()) - START
    }

    fn send(&mut self, frame: &[u8]) {
        self.put(frame);
        self.turn();
    }

    fn receive(&mut self, until: Duration) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.arrived.pop_front() {
                return Some(frame);
            }
            let left = until.saturating_sub(self.now());
            if left.is_zero() {
                return None;
            }
            self.clock.advance(left.min(STEP.max(left / STEPS_OF_A_WAIT)));
            self.turn();
        }
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        let application = self.ask(call);
        application.judge(call)
    }

    fn state(&mut self) -> State {
        // Asked for by a message that does nothing else.
        let info = self.ask(Call::Receive(0)).info;
        match info {
            Some(info) => info.state,
            None if self.engine.report().tcp.time_wait > 0 => State::TimeWait,
            None => State::Closed,
        }
    }

    fn patience(&self) -> Patience {
        Patience { at_once: Duration::from_millis(2), early: 0.01, late: 0.01, slack: Duration::from_millis(4) }
    }
}

/// Does what the script calls for, and keeps what it hears.
#[derive(Debug, Default)]
struct Application {
    accepted: VecDeque<Connection>,
    connection: Option<Connection>,
    /// Bytes it will take now.
    appetite: usize,
    received: Vec<u8>,
    sent: usize,
    end: bool,
    failed: Option<ResetReason>,
    news: VecDeque<Notice>,
    info: Option<Info>,
    /// Why the last call could not be made.
    refused: Option<String>,
}

impl Application {
    fn act(&mut self, cx: &mut impl Context, call: Call) {
        self.refused = None;
        let connection = self.connection;
        match (call, connection) {
            (Call::Listen { backlog }, _) => {
                let options = Listen { backlog: Some(backlog), ..Listen::default() };
                self.refused = cx.listen(HOST_PORT.into(), options).err().map(|why| why.to_string());
            }
            (Call::Connect, _) => {
                let options = Connect { source_port: Some(HOST_PORT), ..Connect::default() };
                match cx.connect(SocketAddr::new(IpAddr::V4(PEER), PEER_PORT), options) {
                    Ok(connection) => self.connection = Some(connection),
                    Err(why) => self.refused = Some(why.to_string()),
                }
            }
            (Call::Accept, _) => match self.accepted.pop_front() {
                Some(connection) => (self.connection, self.sent, self.received) = (Some(connection), 0, Vec::new()),
                None => self.refused = Some("no connection is there".into()),
            },
            (Call::Send(len) | Call::SendUrgent(len), Some(connection)) => {
                let bytes = stream(self.sent as i64 + 1, len);
                let urgent = matches!(call, Call::SendUrgent(_));
                let taken = if urgent { cx.send_urgent(connection, &bytes) } else { cx.send(connection, &bytes) };
                self.sent += taken;
                if taken < len {
                    self.refused = Some(format!("{taken} of {len} bytes were taken"));
                }
            }
            (Call::Receive(len), Some(connection)) => {
                self.appetite = len;
                cx.resume(connection);
            }
            (Call::Shutdown, Some(connection)) => cx.close(connection),
            (Call::Close, Some(connection)) => cx.close_both(connection),
            (Call::Abort, Some(connection)) => cx.abort(connection),
            (Call::Set(setting), Some(connection)) => cx.tune(connection, tuning(setting)),
            (Call::End | Call::Failed(_) | Call::Told(_) | Call::UrgentAhead(_), _) => {}
            (_, None) => self.refused = Some("there is no connection".into()),
        }
        self.info = connection.and_then(|connection| cx.info(connection));
    }

    /// Whether the call had the result it must have; time has passed as far as one turn goes.
    fn judge(&mut self, call: Call) -> Result<(), String> {
        if let Some(why) = self.refused.take() {
            return Err(why);
        }
        match call {
            Call::Receive(len) => {
                let place = self.received.len() as i64 - (len - self.appetite) as i64 + 1;
                let got = self.received.split_off(place as usize - 1);
                let expected = stream(place, len);
                let same = got == expected;
                self.received.extend(&got);
                if same { Ok(()) } else { Err(format!("{} bytes were received, or others than were sent", got.len())) }
            }
            Call::End if !self.end => Err("the stream has not ended".into()),
            Call::Failed(failure) => {
                let reason = match failure {
                    Failure::Refused => ResetReason::Refused,
                    Failure::Reset => ResetReason::Reset,
                    Failure::TimedOut => ResetReason::TimedOut,
                    Failure::Unreachable => ResetReason::Unreachable,
                };
                if self.failed == Some(reason) { Ok(()) } else { Err(format!("the application heard {:?}", self.failed)) }
            }
            Call::Told(news) => {
                let told = self.news.pop_front();
                let right = match news {
                    News::Stalled => told == Some(Notice::Stalled),
                    News::Urgent => told == Some(Notice::Urgent),
                    News::SoftError => matches!(told, Some(Notice::Icmp { .. })),
                };
                if right { Ok(()) } else { Err(format!("the application was told {told:?}")) }
            }
            Call::UrgentAhead(len) => match self.info {
                Some(info) if info.urgent == len => Ok(()),
                info => Err(format!("there are {:?}", info.map(|info| info.urgent))),
            },
            _ => Ok(()),
        }
    }
}

impl Service for Application {
    type Message = Call;

    fn connected(&mut self, _: &mut impl Context, connection: Connection) {
        if self.connection != Some(connection) {
            self.accepted.push_back(connection);
        }
    }

    fn data(&mut self, _: &mut impl Context, _: Connection, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.appetite);
        self.appetite -= taken;
        self.received.extend(&bytes[..taken]);
        taken
    }

    fn peer_closed(&mut self, _: &mut impl Context, _: Connection) {
        self.end = true;
    }

    fn reset(&mut self, _: &mut impl Context, _: Connection, why: ResetReason) {
        self.failed = Some(why);
    }

    fn notice(&mut self, _: &mut impl Context, _: Connection, notice: Notice) {
        self.news.push_back(notice);
    }

    fn message(&mut self, cx: &mut impl Context, call: Call) {
        self.act(cx, call);
    }
}

/// What the script calls a setting, as the engine takes it.
fn tuning(setting: Setting) -> Tuning {
    match setting {
        Setting::NoDelay(on) => Tuning::NoDelay(on),
        Setting::Cork(on) => Tuning::Cork(on),
        Setting::CodePoint(code) => Tuning::Dscp(code),
        Setting::Keepalive { idle_s, interval_s, probes } => {
            let (idle, interval) = (Duration::from_secs(idle_s), Duration::from_secs(interval_s));
            Tuning::Keepalive(Some(Keepalive { idle, interval, probes }))
        }
        Setting::UserTimeout { ms } => Tuning::UserTimeout(Some(Duration::from_millis(ms))),
        Setting::Linger { s } => Tuning::Linger(Some(Duration::from_secs(s))),
    }
}

/// A clock that stands still until it is told to go on.
struct ManualClock(Cell<u64>);

impl ManualClock {
    fn advance(&self, span: Duration) {
        self.0.set(self.0.get() + span.as_nanos() as u64);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_ns(self.0.get())
    }
}

/// Not zero, so that a time that was never set shows.
const START: Duration = Duration::from_secs(1000);
/// How finely time passes, ...
const STEP: Duration = Duration::from_millis(1);
/// ... unless it is long: then in so many steps, which become finer towards its end.
const STEPS_OF_A_WAIT: u32 = 10_000;
/// Turns in which everything that follows from one event without a timer has happened.
const TURNS_AT_ONCE: usize = 8;
const PEER_PORT: u16 = 40_000;
const HOST_PORT: u16 = 5_000;
