//! IP fragments, in and out: pings, datagrams and segments larger than the link carries.

use super::wire::{OUR_MAC, OURS, PEER, PEER_MAC, Peer};
use super::*;
use crate::device::{Drop, memory};
use crate::link::reassembly::TIMEOUT;
use crate::service::{CallError, EndpointId};
use crate::tcp::seq::SeqNum;
use crate::wire::checksum::{PseudoHeader, checksum};
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet};
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::tcp::{Flags, Header, Options};
use crate::wire::vlan::Vlan;
use crate::wire::{tcp, udp};

fn serve(service: Echo) -> (Engine<MemoryDevice, Echo>, Peer, ManualClock) {
    let (near, far) = memory::cable(512);
    let clock = ManualClock::default();
    let mut engine = engine(far, 2, service);
    engine.start(&clock);
    engine.turn(&clock);
    (engine, Peer::new(near), clock)
}

/// One fragment from the peer.
fn fragment(protocol: u8, id: u16, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 34];
    let link = Ethernet { target: OUR_MAC, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
    ethernet::emit(&mut bytes, &link);
    let ip = Ipv4 {
        identification: id,
        dont_fragment: false,
        more_fragments: more,
        fragment_offset: offset as u16,
        ..Ipv4::outgoing(PEER, OURS, protocol, data.len())
    };
    ipv4::emit(&mut bytes[14..], &ip);
    bytes.extend(data);
    bytes
}

fn cut(protocol: u8, payload: &[u8], each: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(each);
    let part = |(nth, data)| fragment(protocol, 99, nth * each, nth + 1 < count, data);
    payload.chunks(each).enumerate().map(part).collect()
}

/// The payload of the one packet whose fragments came back, and how many there were.
fn joined(frames: &[Vec<u8>]) -> (Vec<u8>, usize) {
    let mut parts: Vec<_> = frames
        .iter()
        .map(|frame| {
            let ip = ipv4::parse(&frame[14..]).unwrap();
            assert!(frame.len() <= 1514 && !ip.dont_fragment);
            (ip.fragment_offset, ip.identification, ip.more_fragments, ip.payload(&frame[14..]).to_vec())
        })
        .collect();
    parts.sort();
    let mut whole = Vec::new();
    for (nth, (offset, id, more, data)) in parts.iter().enumerate() {
        assert_eq!((usize::from(*offset), *id, *more), (whole.len(), parts[0].1, nth + 1 < parts.len()));
        whole.extend(data);
    }
    (whole, frames.len())
}

fn ping(len: usize) -> Vec<u8> {
    let mut bytes = vec![8, 0, 0, 0, 0, 1, 0, 1];
    bytes.extend((0..len).map(|n| (n * 7) as u8));
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn datagram(port: u16, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; 8 + len];
    bytes[8..].iter_mut().enumerate().for_each(|(n, byte)| *byte = (n * 13) as u8);
    let pseudo = PseudoHeader { source: PEER.into(), target: OURS.into(), protocol: PROTOCOL_UDP };
    udp::emit(&mut bytes, 5000, port, &pseudo);
    bytes
}

#[test]
fn a_ping_in_fragments_is_answered_in_fragments() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    for len in [1473, 8000, 65_507] {
        let request = ping(len);
        cut(PROTOCOL_ICMP, &request, 1480).iter().rev().for_each(|frame| peer.send(frame));
        engine.turn(&clock);
        let (reply, count) = joined(&peer.answers());
        assert_eq!(count, (len + 8).div_ceil(1480));
        assert_eq!((reply[0], checksum(&reply)), (0, 0));
        assert!(reply[4..] == request[4..], "{len}");
    }
    assert_eq!(engine.core.counters.icmp_echo_replies, 3);
    assert_eq!((engine.core.counters.ip_reassembled, engine.core.counters.ip_fragmented), (3, 3));
    assert_no_frame_missing(&engine);
}

#[test]
fn an_answer_that_fits_leaves_whole() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    cut(PROTOCOL_ICMP, &ping(600), 304).iter().for_each(|frame| peer.send(frame));
    engine.turn(&clock);
    let answers = peer.answers();
    assert_eq!((answers.len(), answers[0].len()), (1, 14 + 20 + 608));
}

#[test]
fn a_datagram_in_fragments_is_echoed() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    for len in [8000, 65_507] {
        let request = datagram(7, len);
        cut(PROTOCOL_UDP, &request, 1480).iter().for_each(|frame| peer.send(frame));
        engine.turn(&clock);
        let (reply, _) = joined(&peer.answers());
        let pseudo = PseudoHeader { source: OURS.into(), target: PEER.into(), protocol: PROTOCOL_UDP };
        let header = udp::parse(&reply, &pseudo).unwrap();
        assert_eq!((header.source_port, header.target_port), (7, 5000));
        assert!(reply[8..] == request[8..], "{len}");
    }
    assert_no_frame_missing(&engine);
}

#[test]
fn a_datagram_in_fragments_to_nobody_is_answered_as_any_other() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    cut(PROTOCOL_UDP, &datagram(4242, 3000), 1480).iter().for_each(|frame| peer.send(frame));
    cut(99, &[0; 3000], 1480).iter().for_each(|frame| peer.send(frame));
    engine.turn(&clock);
    let codes: Vec<_> = peer.answers().iter().map(|frame| (frame[34], frame[35])).collect();
    assert_eq!(codes, [(3, 3), (3, 2)]);
}

#[test]
fn an_answer_for_which_there_are_not_enough_frames_is_not_begun() {
    let (near, far) = memory::cable(64);
    let clock = ManualClock::default();
    let mut engine = engine(far, 2, Echo::default());
    engine.start(&clock);
    engine.turn(&clock);
    let mut peer = Peer::new(near);
    for half in cut(PROTOCOL_ICMP, &ping(65_507), 1480).chunks(23) {
        half.iter().for_each(|frame| peer.send(frame));
        engine.turn(&clock);
    }
    assert_eq!((peer.answers(), engine.core.drops.of(Drop::NoFrame)), (vec![], 1));
    assert_no_frame_missing(&engine);
}

#[test]
fn a_segment_in_fragments_opens_a_connection() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let header = Header {
        source_port: 5000,
        target_port: 7,
        seq: SeqNum(9),
        ack: SeqNum(0),
        flags: Flags::SYN,
        window: 1000,
        urgent: 0,
        options: Options::default(),
    };
    let mut syn = vec![0; 20];
    let pseudo = PseudoHeader { source: PEER.into(), target: OURS.into(), protocol: PROTOCOL_TCP };
    tcp::emit(&mut syn, &header, 0, &pseudo);
    cut(PROTOCOL_TCP, &syn, 8).iter().rev().for_each(|frame| peer.send(frame));
    engine.turn(&clock);
    let answers = peer.segments();
    assert_eq!((answers[0].0, answers[0].2), (Flags::SYN | Flags::ACK, SeqNum(10)));
    assert_eq!(engine.core.count_states(), (1, 0));
}

#[test]
fn overlapping_fragments_get_no_answer_of_any_kind() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let request = ping(2000);
    peer.send(&fragment(PROTOCOL_ICMP, 5, 0, true, &request[..1480]));
    peer.send(&fragment(PROTOCOL_ICMP, 5, 1472, false, &request[1472..]));
    engine.turn(&clock);
    clock.advance(TIMEOUT);
    engine.turn(&clock);
    assert_eq!((peer.answers(), engine.core.drops.of(Drop::FragmentOverlap)), (vec![], 1));
}

#[test]
fn a_datagram_that_stays_unfinished_is_answered_with_time_exceeded() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let request = datagram(7, 2000);
    let first = fragment(PROTOCOL_UDP, 5, 0, true, &request[..1480]);
    peer.send(&first);
    peer.send(&fragment(PROTOCOL_UDP, 6, 1480, false, &request[1480..]));
    engine.turn(&clock);
    assert_eq!(engine.core.reassembly.deadline(), clock.now() + TIMEOUT);
    assert!(engine.core.next_deadline() <= clock.now() + TIMEOUT);
    clock.advance(TIMEOUT);
    engine.turn(&clock);
    let answers = peer.answers();
    assert_eq!(answers.len(), 1, "of the other the first fragment has not come");
    assert_eq!((answers[0][34], answers[0][35]), (11, 1));
    assert_eq!(answers[0][42..], first[14..14 + answers[0].len() - 42]);
    assert_eq!(engine.core.drops.of(Drop::FragmentTimeout), 2);
    assert_no_frame_missing(&engine);
}

/// Sends what it is told to, in fragments if it may; keeps what comes back.
#[derive(Default)]
struct Large {
    target: String,
    allowed: bool,
    sent: Vec<Result<(), CallError>>,
    got: Vec<Vec<u8>>,
}

impl Service for Large {
    type Message = usize;

    fn start(&mut self, cx: &mut impl Context) {
        let endpoint = cx.open_udp(5000.into()).unwrap();
        cx.allow_fragments(endpoint, self.allowed);
    }

    fn message(&mut self, cx: &mut impl Context, len: usize) {
        let payload: Vec<u8> = (0..len).map(|n| (n * 3) as u8).collect();
        self.sent.push(cx.send_to(EndpointId(0), self.target.parse().unwrap(), &payload));
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.got.push(datagram.payload().to_vec());
        Answer::Ignore
    }
}

fn exchange<S: Service>(client: Large, server: S, lengths: &[usize]) -> (Large, u64) {
    let (left, right) = memory::cable(512);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, client);
    let mut server = engine(right, 2, server);
    client.start(&clock);
    server.start(&clock);
    for &len in lengths {
        client.mailbox().send(len).unwrap();
        for _ in 0..4 {
            client.turn(&clock);
            server.turn(&clock);
            clock.advance(Duration::from_millis(1));
        }
    }
    assert_no_frame_missing(&client);
    assert_no_frame_missing(&server);
    let fragmented = client.core.counters.ip_fragmented;
    (client.into_service(), fragmented)
}

#[test]
fn an_endpoint_that_allows_it_sends_more_than_the_link_carries() {
    for target in ["10.0.0.2:7", "[fd00::2]:7"] {
        let longest = if target.starts_with('[') { 65_527 } else { 65_507 };
        let client = Large { target: target.into(), allowed: true, ..Large::default() };
        // The first is held while the neighbour is asked for; of several frames only few could be.
        let (client, fragmented) = exchange(client, Echo::default(), &[1, 1473, 8000, 60_000, longest, longest + 1]);
        let lengths: Vec<_> = client.got.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 1473, 8000, 60_000, longest]);
        assert!(client.got.iter().all(|got| got.iter().enumerate().all(|(n, &byte)| byte == (n * 3) as u8)));
        assert_eq!((client.sent.last(), fragmented), (Some(&Err(CallError::TooLarge)), 4));
    }
}

#[test]
fn without_leave_nothing_is_fragmented_and_an_unknown_neighbour_is_asked_for_first() {
    let client = Large { target: "10.0.0.2:7".into(), ..Large::default() };
    let (client, _) = exchange(client, Echo::default(), &[1, 1472, 1473]);
    assert_eq!(client.sent, [Ok(()), Ok(()), Err(CallError::TooLarge)]);
    let client = Large { target: "10.0.0.2:7".into(), allowed: true, ..Large::default() };
    let (client, _) = exchange(client, Echo::default(), &[8000, 8000]);
    assert_eq!(client.sent, [Err(CallError::WouldBlock), Ok(())]);
    assert_eq!(client.got.len(), 1);
}

/// Keeps every datagram and gives it back when it is told to.
struct Keeper;

impl Service for Keeper {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(7.into()).unwrap();
    }

    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let token = datagram.payload().len() as u64;
        cx.set_timer(cx.now() + Duration::from_millis(1), token).unwrap();
        Answer::Keep { token }
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        assert_eq!(cx.kept(token).unwrap().len() as u64, token);
        cx.reply_kept(token, |_| token as usize).unwrap();
    }
}

#[test]
fn a_datagram_that_came_in_fragments_can_be_kept() {
    let client = Large { target: "10.0.0.2:7".into(), allowed: true, ..Large::default() };
    let (client, _) = exchange(client, Keeper, &[1, 8000]);
    assert_eq!(client.got.iter().map(Vec::len).collect::<Vec<_>>(), [1, 8000]);
    assert!(client.got[1].iter().enumerate().all(|(n, &byte)| byte == (n * 3) as u8));
}
