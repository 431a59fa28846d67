//! Configurations that change while an engine runs: what takes the new one, and what keeps the old.

use std::sync::Arc;

use super::wire::{Peer, serve_with};
use super::*;
use crate::demux::admission::Prefixes;
use crate::device::Drop;
use crate::engine::change::Change;
use crate::tcp::congestion::Algorithm;
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::{Flags, Options};

const IRS: SeqNum = SeqNum(u32::MAX - 1);
const ACK: Flags = Flags::ACK;

/// Listens at one port by the setting, at another by its own choice.
#[derive(Default)]
struct Listener {
    seen: Vec<(u16, Algorithm)>,
}

impl Service for Listener {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
        cx.listen(8.into(), Listen { congestion: Some(Algorithm::Bbr), backlog: Some(9), ..Listen::default() }).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.seen.extend(cx.info(connection).map(|info| (info.local.port(), info.congestion)));
    }
}

type Server = Engine<MemoryDevice, Listener>;

/// The engine's configuration with something of it changed.
fn change(engine: &mut Server, denied: &[&str], set: impl FnOnce(&mut Config)) {
    let mut config = engine.core.config;
    set(&mut config);
    let denied: Vec<_> = denied.iter().map(|text| text.parse().unwrap()).collect();
    let lists = (!denied.is_empty()).then(|| Arc::new(Prefixes::new(&[], &denied).unwrap()));
    engine.core.change(Change::new(config, lists));
}

/// A connection from a port; false when the SYN is not answered.
fn connect(engine: &mut Server, peer: &mut Peer, clock: &ManualClock, port: u16) -> bool {
    peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(clock);
    let Some(iss) = peer.segments_whole().iter().find(|(to, ..)| *to == port).map(|(_, header, _)| header.seq) else {
        return false;
    };
    peer.segment_from(port, ACK, IRS + 1, iss + 1, Options::default(), &[]);
    engine.turn(clock);
    true
}

#[test]
fn a_listener_without_a_choice_of_its_own_follows_the_setting() {
    let (mut engine, mut peer, clock) = serve_with(Listener::default(), |tcp| tcp.syn_cookies = false);
    assert!(connect(&mut engine, &mut peer, &clock, 1001));
    change(&mut engine, &[], |config| (config.tcp.congestion, config.tcp.backlog) = (Algorithm::Reno, 1));
    assert!(connect(&mut engine, &mut peer, &clock, 1002));
    assert_eq!(engine.service().seen, [(7, Algorithm::Cubic), (7, Algorithm::Reno)]);
    // The new backlog is full with one.
    for port in [1003, 1004] {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    }
    engine.turn(&clock);
    assert_eq!((peer.segments().len(), engine.core.drops.of(Drop::TcpBacklogFull)), (1, 1));
    let backlogs: Vec<_> =
        engine.core.listeners.iter().map(|(_, port, listener)| (port, listener.backlog(&engine.core.config.tcp))).collect();
    assert!(backlogs.contains(&(7, 1)) && backlogs.contains(&(8, 9)), "{backlogs:?}");
}

#[test]
fn lists_and_limits_change_for_who_begins_and_nobody_loses_a_connection() {
    let (mut engine, mut peer, clock) = serve_with(Listener::default(), |_| {});
    assert!(connect(&mut engine, &mut peer, &clock, 1001));
    change(&mut engine, &["10.0.0.0/24"], |_| {});
    assert!(!connect(&mut engine, &mut peer, &clock, 1002));
    assert_eq!((engine.core.drops.of(Drop::TcpDenied), engine.core.flows.len()), (1, 1));
    change(&mut engine, &[], |config| config.tcp.connections_per_source = 1);
    assert!(connect(&mut engine, &mut peer, &clock, 1003), "the one from before is not counted");
    assert!(!connect(&mut engine, &mut peer, &clock, 1004));
    change(&mut engine, &[], |_| {});
    assert!(!connect(&mut engine, &mut peer, &clock, 1005), "the limit is part of the configuration");
    change(&mut engine, &[], |config| config.tcp.connections_per_source = 0);
    assert!(connect(&mut engine, &mut peer, &clock, 1006));
    assert_eq!(engine.core.flows.len(), 3);
}

#[test]
fn tables_memory_and_secrets_stay_what_they_are() {
    let (mut engine, ..) = serve_with(Listener::default(), |_| {});
    let before = engine.core.config;
    change(&mut engine, &[], |config| {
        (config.tcp.connections, config.tcp.memory) = (1, 1);
        (config.drain, config.redirects, config.address_probes) = (Duration::from_secs(9), true, 9);
    });
    let after = engine.core.config;
    assert_eq!(after.tcp, before.tcp);
    assert_eq!((after.drain, after.redirects, after.address_probes), (Duration::from_secs(9), true, before.address_probes));
}
