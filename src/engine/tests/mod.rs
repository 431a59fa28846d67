//! Whole engines in memory: against each other, and against smoltcp as an independent peer.

mod admission;
mod ahead;
mod cards;
mod change;
mod close_both;
mod congestion;
mod cookies;
mod drain;
mod ends;
mod follow;
mod fragments;
mod homing;
mod interface;
mod jumbo;
mod many;
mod notices;
mod pair;
mod path_mtu;
mod ramp;
mod records;
mod rest;
mod routers;
mod siblings;
mod smoltcp_peer;
mod timers;
mod timings;
mod vlan;
mod wire;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Clock, Config, Engine, Idle, Port, Secrets};
use crate::device::memory::{self, MemoryDevice};
use crate::device::{Device, Frame as _};
use crate::link::groups::Groups;
use crate::link::interface::{Claim, Interface};
use crate::link::routes::Routes;
use crate::recorder::{Recorder, Settings};
use crate::service::{Answer, Connect, Connection, Context, Datagram, Listen, ResetReason, Service};
use crate::time::Instant;
use crate::wire::vlan::Vlan;

/// A clock that stands still until it is told to go on.
#[derive(Debug, Default)]
pub(super) struct ManualClock(Cell<u64>);

impl ManualClock {
    pub(super) fn advance(&self, span: Duration) {
        self.0.set(self.0.get() + crate::time::span_ns(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_ns(self.0.get())
    }
}

/// An engine at one end of a cable, at 10.0.0.`last` and fd00::`last`.
pub(super) fn engine<S: Service>(device: MemoryDevice, last: u8, service: S) -> Engine<MemoryDevice, S> {
    engine_with(device, last, service, |_| {})
}

/// The same with settings of the test's own.
pub(super) fn engine_with<S: Service>(
    device: MemoryDevice,
    last: u8,
    service: S,
    set: impl FnOnce(&mut crate::tcp::Config),
) -> Engine<MemoryDevice, S> {
    let interface = Interface {
        name: format!("cable{last}"),
        mac: device.mac(),
        mtu: device.mtu(),
        vlan: Vlan::NONE,
        claim: Claim::Addresses(vec![format!("10.0.0.{last}/24").parse().unwrap(), format!("fd00::{last}/64").parse().unwrap()]),
        routes: Routes::default(),
        withheld: Vec::new(),
        groups: Groups::new(),
    };
    let mut config = Config::new(Secrets::fixed());
    config.tcp.connections = 4096;
    set(&mut config.tcp);
    Engine::new(config, vec![interface], vec![Port::new(device, 0, 0)], service).unwrap()
}

/// One that runs in a thread of its own for tests of what asks engines: it parks when nothing is to do. What it sends nobody reads.
pub(crate) fn parked<S: Service>(service: S) -> Engine<MemoryDevice, S> {
    let mut engine = engine(memory::cable(64).0, 1, service);
    engine.core.config.idle = Idle::Park;
    engine
}

/// The same with room for so many records, datagrams among them.
pub(crate) fn parked_recording<S: Service>(service: S, records: usize) -> Engine<MemoryDevice, S> {
    let mut engine = parked(service);
    engine.core.recorder = Recorder::new(Settings { records, udp: true });
    engine
}

/// Records so many datagrams, as if they had been sent.
pub(crate) fn record_datagrams<S: Service>(engine: &mut Engine<MemoryDevice, S>, count: usize) {
    let key = crate::demux::FlowKey {
        local: IpAddr::from([10, 0, 0, 1]).into(),
        remote: IpAddr::from([10, 0, 0, 2]).into(),
        local_port: 7,
        remote_port: 40_000,
        link: crate::demux::Link { interface: 0 },
    };
    (0..count).for_each(|len| engine.core.recorder.datagram(Instant::ZERO, &key, true, len));
}

/// A service that does nothing.
#[derive(Debug)]
pub(crate) struct Silent;

impl Service for Silent {
    type Message = ();
}

/// Frames in == frames out.
pub(super) fn assert_no_frame_missing<S: Service>(engine: &Engine<MemoryDevice, S>) {
    let census = engine.core.ports[0].device.frames();
    assert_eq!(census.outside(), 0, "{census:?}");
    assert_eq!(census.sending, 0, "{census:?}");
}

/// Answers every byte and datagram at port 7.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// Only takes bytes.
    pub(super) mute: bool,
    pub(super) ended: usize,
}

impl Service for Echo {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
        cx.open_udp(7.into()).unwrap();
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        Answer::Reply { len: datagram.payload().len() }
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        if self.mute { bytes.len() } else { cx.send(connection, bytes) }
    }

    fn closed(&mut self, _: &mut impl Context, _: Connection) {
        self.ended += 1;
    }

    fn reset(&mut self, _: &mut impl Context, _: Connection, _: ResetReason) {
        self.ended += 1;
    }
}

/// Connects, sends a stream, reads its echo, closes; keeps what happened.
#[derive(Debug)]
pub(super) struct Talker {
    pub(super) target: SocketAddr,
    pub(super) to_send: Vec<u8>,
    pub(super) sent: usize,
    pub(super) got: Vec<u8>,
    pub(super) events: Vec<&'static str>,
}

impl Talker {
    pub(super) fn new(target: &str, to_send: Vec<u8>) -> Self {
        Self { target: target.parse().unwrap(), to_send, sent: 0, got: Vec::new(), events: Vec::new() }
    }

    fn push(&mut self, cx: &mut impl Context, connection: Connection) {
        self.sent += cx.send(connection, &self.to_send[self.sent..]);
        if self.sent == self.to_send.len() {
            cx.close(connection);
        }
    }
}

impl Service for Talker {
    type Message = &'static str;

    fn start(&mut self, cx: &mut impl Context) {
        cx.connect(self.target, Connect::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.events.push("connected");
        self.push(cx, connection);
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        self.push(cx, connection);
    }

    fn data(&mut self, _: &mut impl Context, _: Connection, bytes: &[u8]) -> usize {
        self.got.extend_from_slice(bytes);
        bytes.len()
    }

    fn peer_closed(&mut self, _: &mut impl Context, _: Connection) {
        self.events.push("peer_closed");
    }

    fn closed(&mut self, _: &mut impl Context, _: Connection) {
        self.events.push("closed");
    }

    fn reset(&mut self, _: &mut impl Context, _: Connection, why: ResetReason) {
        self.events.push(why.name());
    }

    fn message(&mut self, _: &mut impl Context, message: &'static str) {
        self.events.push(message);
    }
}
