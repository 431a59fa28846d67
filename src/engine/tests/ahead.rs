//! What is fetched before a burst is worked on: whose its segments are thought to be, and that nothing depends on it.

use std::net::IpAddr;

use super::wire::{OUR_MAC, OURS, PEER, PEER_MAC, Peer, packet, serve};
use super::*;
use crate::demux::{FlowKey, key};
use crate::engine::core::Lane;
use crate::engine::emit::{self, Delivery, LinkHeader};
use crate::tcp::seq::SeqNum;
use crate::wire::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::tcp::{Flags, Header, Options};

const AT: Lane = Lane { port: 0, interface: 0 };
const IRS: SeqNum = SeqNum(77);
const ACK: Flags = Flags::ACK;

/// The key as the engine has it, of a connection from the peer's port.
fn key(port: u16) -> FlowKey {
    FlowKey { local: OURS.into(), remote: PEER.into(), local_port: 7, remote_port: port, link: key::Link { interface: 0 } }
}

/// Opens a connection from the peer's port; what the next segments carry.
fn open(engine: &mut Engine<MemoryDevice, Echo>, peer: &mut Peer, clock: &ManualClock, port: u16) -> (SeqNum, SeqNum) {
    peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(clock);
    let iss = peer.segments()[0].1;
    peer.segment_from(port, ACK, IRS + 1, iss + 1, Options::default(), &[]);
    engine.turn(clock);
    (IRS + 1, iss + 1)
}

#[test]
fn each_segment_of_a_burst_is_guessed_and_nothing_else() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let opened = [5000, 5001].map(|port| (port, open(&mut engine, &mut peer, &clock, port)));
    for (port, (seq, ack)) in opened {
        peer.segment_from(port, ACK, seq, ack, Options::default(), b"data");
    }
    peer.segment_from(5002, ACK, IRS, IRS, Options::default(), b"no connection");
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &[0x13, 0x88, 0, 7, 0, 8, 0, 0]));
    let mut fragment = packet(OUR_MAC, PEER_MAC, PROTOCOL_TCP, &[0x13, 0x88, 0, 7]);
    fragment[21] = 1;
    peer.send(&fragment);
    let mut options = packet(OUR_MAC, PEER_MAC, PROTOCOL_TCP, &[0x13, 0x88, 0, 7]);
    options[14] = 0x46;
    peer.send(&options);
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_TCP, &[0x13, 0x88, 0]));
    peer.segment_from(5001, ACK, IRS, IRS, Options::default(), b"again");

    let mut burst = Vec::new();
    engine.core.ports[0].device.receive(&mut burst, 64);
    assert!(engine.look_ahead(AT, &burst));
    let guesses: Vec<_> = (0..=burst.len()).map(|nth| engine.guesses.flow(nth)).collect();
    let [first, second] = [5000, 5001].map(|port| engine.core.find_flow(&key(port)));
    assert!(first.is_some() && second.is_some());
    assert_eq!(guesses, [first, second, None, None, None, None, None, second, None]);
    assert!(!engine.look_ahead(AT, &burst[..2]), "two are worked on before anything could come");
    burst.into_iter().for_each(|frame| engine.core.ports[0].device.recycle(frame));
}

#[test]
fn both_families_are_peeked_at_and_no_tag_that_is_not_ours() {
    let (engine, ..) = serve(Echo::default());
    let mut device = crate::device::memory::cable(4).0;
    let header = |key: &FlowKey| Header {
        source_port: key.remote_port,
        target_port: key.local_port,
        seq: IRS,
        ack: IRS,
        flags: ACK,
        window: 1,
        urgent: 0,
        options: Options::default(),
    };
    let mut peek = |key: &FlowKey, vlan| {
        let mut frame = device.allocate().unwrap();
        let link = LinkHeader { source: PEER_MAC, target: OUR_MAC, vlan };
        let theirs = FlowKey {
            local: key.remote,
            remote: key.local,
            local_port: key.remote_port,
            remote_port: key.local_port,
            link: key.link,
        };
        assert!(emit::tcp_segment(&mut frame, link, &theirs, &header(key), Delivery::default(), [&[], &[]]));
        let peeked = engine.core.peek(AT, frame.bytes());
        device.recycle(frame);
        peeked
    };
    let v6 = FlowKey {
        local: "fd00::2".parse::<IpAddr>().unwrap().into(),
        remote: "fd00::1".parse::<IpAddr>().unwrap().into(),
        ..key(5000)
    };
    for key in [key(5000), v6] {
        assert_eq!(peek(&key, Vlan::NONE), Some(key));
        assert_eq!(peek(&key, "5".parse().unwrap()), None);
    }
}

#[test]
fn a_guess_that_is_out_of_date_is_nobody() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let (seq, ack) = open(&mut engine, &mut peer, &clock, 5000);
    let before = engine.core.find_flow(&key(5000)).unwrap();
    peer.segment_from(5000, Flags::RST, seq, ack, Options::default(), &[]);
    engine.turn(&clock);
    open(&mut engine, &mut peer, &clock, 5000);
    let after = engine.core.find_flow(&key(5000)).unwrap();
    assert_eq!((before.slot, before != after), (after.slot, true));
    assert!(!engine.core.flows.has_key(before, &key(5000)) && engine.core.flows.has_key(after, &key(5000)));
    engine.core.recent = before;
    assert_eq!(engine.core.find_flow_again(&key(5000)), Ok(after));
    engine.core.recent = after;
    assert!(engine.core.find_flow_again(&key(5001)).is_err());
}

#[test]
fn a_guess_is_compared_whether_its_flow_rests_or_not() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let (seq, ack) = open(&mut engine, &mut peer, &clock, 5000);
    let id = engine.core.find_flow(&key(5000)).unwrap();
    for whole in [1, 0] {
        assert_eq!(engine.core.flows.whole(), whole);
        assert!(engine.core.flows.has_key(id, &key(5000)) && !engine.core.flows.has_key(id, &key(5001)));
        for _ in 0..100 {
            clock.advance(Duration::from_millis(10));
            engine.turn(&clock);
        }
    }
    // Segments of one that rests, in a burst.
    for (at, payload) in [b"a", b"b", b"c"].into_iter().enumerate() {
        peer.segment_from(5000, ACK, seq + at as u32, ack, Options::default(), payload);
    }
    engine.turn(&clock);
    let echoed: Vec<u8> = peer.segments_whole().into_iter().flat_map(|(_, _, payload)| payload).collect();
    assert_eq!((echoed.first(), engine.core.flows.whole(), engine.core.counters.tcp_in_frame_bytes), (Some(&b'a'), 1, 3));
}
