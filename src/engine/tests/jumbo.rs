//! Packets of several frames, both ways, over a cable of a large MTU.

use super::wire::{OUR_MAC, OURS, PEER, PEER_MAC};
use super::*;
use crate::device::{Chain, Drop, memory};
use crate::service::{CallError, EndpointId};
use crate::wire::checksum::{PseudoHeader, checksum};
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet};
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_ICMP, PROTOCOL_UDP};
use crate::wire::udp;
use crate::wire::vlan::Vlan;

const MTU: usize = 9000;

/// A peer that puts packets on the cable in as many frames as they take.
struct Peer {
    device: MemoryDevice,
    engine: Engine<MemoryDevice, Echo>,
    clock: ManualClock,
}

impl Peer {
    fn new(frames: usize) -> Self {
        let (near, far) = memory::cable_of_mtu(frames, MTU);
        let clock = ManualClock::default();
        let mut engine = engine(far, 2, Echo::default());
        engine.start(&clock);
        engine.turn(&clock);
        let mut peer = Self { device: near, engine, clock };
        peer.packets();
        peer
    }

    fn send(&mut self, packet: &[u8]) {
        let mut pieces: Vec<_> = packet.chunks(2048).map(|bytes| (self.device.allocate().unwrap(), bytes)).map(filled).collect();
        match pieces.len() {
            1 => assert!(self.device.transmit(pieces.remove(0)).is_ok()),
            _ => assert!(self.device.transmit_chain(&mut pieces)),
        }
    }

    /// What comes back: the bytes of each packet, and in how many frames it came.
    fn packets(&mut self) -> Vec<(Vec<u8>, usize)> {
        let mut packets = Vec::new();
        loop {
            let mut burst = Vec::new();
            if self.device.receive(&mut burst, 64) == 0 && !self.device.chained() {
                self.device.flush();
                return packets;
            }
            packets.extend(burst.iter().map(|frame| (frame.bytes().to_vec(), 1)));
            burst.drain(..).for_each(|frame| self.device.recycle(frame));
            if self.device.chained() {
                assert_eq!(self.device.receive_chain(&mut burst), Chain::Whole);
                let whole: Vec<u8> = burst.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
                packets.push((whole, burst.len()));
                burst.drain(..).for_each(|frame| self.device.recycle(frame));
            }
        }
    }

    fn ask(&mut self, packet: &[u8]) -> Vec<(Vec<u8>, usize)> {
        self.send(packet);
        self.device.flush();
        self.engine.turn(&self.clock);
        self.packets()
    }

    fn dropped(&self) -> Vec<(Drop, u64)> {
        self.engine.core.drops.nonzero().collect()
    }
}

fn filled((mut frame, bytes): (memory::MemoryFrame, &[u8])) -> memory::MemoryFrame {
    frame.set_len(bytes.len());
    frame.bytes_mut().copy_from_slice(bytes);
    frame
}

fn packet(protocol: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 34];
    let link = Ethernet { target: OUR_MAC, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
    ethernet::emit(&mut bytes, &link);
    ipv4::emit(&mut bytes[14..], &Ipv4::outgoing(PEER, OURS, protocol, data.len()));
    bytes.extend(data);
    bytes
}

fn ping(len: usize) -> Vec<u8> {
    let mut bytes = vec![8, 0, 0, 0, 0, 1, 0, 1];
    bytes.extend((0..len).map(|n| (n * 7) as u8));
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn datagram(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; 8 + len];
    bytes[8..].iter_mut().enumerate().for_each(|(n, byte)| *byte = (n * 13) as u8);
    let pseudo = PseudoHeader { source: PEER.into(), target: OURS.into(), protocol: PROTOCOL_UDP };
    udp::emit(&mut bytes, 5000, 7, &pseudo);
    bytes
}

#[test]
fn a_ping_of_several_frames_is_answered_whole() {
    let mut peer = Peer::new(128);
    for len in [1980, 2006, 2007, 4000, 8000, 8972] {
        let request = ping(len);
        let [(answer, frames)] = &peer.ask(&packet(PROTOCOL_ICMP, &request))[..] else { panic!("{len}: no answer") };
        assert_eq!(*frames, (len + 42).div_ceil(2048), "{len}");
        let ip = ipv4::parse(&answer[14..]).unwrap();
        assert!(!ip.is_fragment());
        let reply = ip.payload(&answer[14..]);
        assert_eq!((reply[0], checksum(reply)), (0, 0));
        assert!(reply[4..] == request[4..], "{len}");
    }
    assert_eq!(peer.engine.core.counters.icmp_echo_replies, 6);
    assert_no_frame_missing(&peer.engine);
}

#[test]
fn a_datagram_of_several_frames_is_echoed_and_order_is_kept() {
    let mut peer = Peer::new(128);
    for len in [8900, 100, 8972, 2100, 40] {
        peer.send(&packet(PROTOCOL_UDP, &datagram(len)));
    }
    peer.device.flush();
    peer.engine.turn(&peer.clock);
    let answers = peer.packets();
    let lens: Vec<_> = answers.iter().map(|(bytes, _)| bytes.len() - 42).collect();
    assert_eq!(lens, [8900, 100, 8972, 2100, 40]);
    for ((bytes, frames), len) in answers.iter().zip(lens) {
        assert_eq!(*frames, bytes.len().div_ceil(2048));
        assert!(bytes[42..] == datagram(len)[8..]);
    }
    assert_eq!((peer.engine.core.counters.udp_received, peer.dropped()), (5, Vec::new()));
    assert_no_frame_missing(&peer.engine);
}

#[test]
fn a_packet_longer_than_the_link_carries_is_dropped_and_counted() {
    let mut peer = Peer::new(128);
    let mut long = packet(PROTOCOL_UDP, &datagram(8972));
    long.resize(MTU + 23, 0);
    assert_eq!(peer.ask(&long), []);
    assert_eq!(peer.dropped(), [(Drop::ChainTooLong, 1)]);
    // Padding up to there is the link's business.
    long.truncate(MTU + 22);
    assert_eq!(peer.ask(&long).len(), 1);
    assert_no_frame_missing(&peer.engine);
}

#[test]
fn lies_in_a_packet_of_several_frames_are_told_as_in_one() {
    let mut peer = Peer::new(128);
    let mut lying = packet(PROTOCOL_UDP, &datagram(5000));
    lying[4000] ^= 1;
    assert_eq!(peer.ask(&lying), []);
    let mut short = packet(PROTOCOL_UDP, &datagram(5000));
    short.truncate(4900);
    assert_eq!(peer.ask(&short), []);
    let mut arp = packet(PROTOCOL_UDP, &datagram(5000));
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(peer.ask(&arp), []);
    assert_eq!(peer.dropped(), [(Drop::ArpMalformed, 1), (Drop::Ipv4LengthLies, 1), (Drop::UdpChecksum, 1)]);
    assert_no_frame_missing(&peer.engine);
}

#[test]
fn fragments_that_take_several_frames_are_put_together() {
    let mut peer = Peer::new(256);
    let request = ping(20_000);
    for (nth, data) in request.chunks(8976).enumerate() {
        let mut part = packet(PROTOCOL_ICMP, data);
        let ip = Ipv4 {
            dont_fragment: false,
            identification: 7,
            more_fragments: nth < 2,
            fragment_offset: (nth * 8976) as u16,
            ..Ipv4::outgoing(PEER, OURS, PROTOCOL_ICMP, data.len())
        };
        ipv4::emit(&mut part[14..], &ip);
        peer.send(&part);
    }
    peer.device.flush();
    peer.engine.turn(&peer.clock);
    let mut whole: Vec<u8> = Vec::new();
    for (bytes, frames) in peer.packets() {
        assert_eq!(frames, 1, "the fragments of an answer take a frame each");
        let ip = ipv4::parse(&bytes[14..]).unwrap();
        assert_eq!(usize::from(ip.fragment_offset), whole.len());
        whole.extend(ip.payload(&bytes[14..]));
    }
    assert!(whole[4..] == request[4..]);
    assert_no_frame_missing(&peer.engine);
}

#[test]
fn segments_of_several_frames_carry_a_stream_both_ways() {
    let (near, far) = memory::cable_of_mtu(1024, MTU);
    let clock = ManualClock::default();
    let data: Vec<u8> = (0..400_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
    let mut client = engine(near, 1, Talker::new("10.0.0.2:7", data.clone()));
    let mut server = engine(far, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    for _ in 0..4000 {
        let worked = client.turn(&clock) | server.turn(&clock);
        if !worked {
            clock.advance(Duration::from_millis(1));
        }
        if client.service().events.contains(&"closed") {
            break;
        }
    }
    let talker = client.service();
    assert_eq!(talker.events, ["connected", "peer_closed", "closed"]);
    assert!(talker.got == data);
    let sent = client.core.counters.tcp_sent;
    assert!(sent < 400, "{sent} segments: they were small");
    assert_eq!((client.core.counters.tcp_retransmitted, server.core.counters.tcp_retransmitted), (0, 0));
    assert_no_frame_missing(&client);
    assert_no_frame_missing(&server);
}

/// Sends one datagram when it is told its length.
#[derive(Debug, Default)]
struct Sender {
    endpoint: Option<EndpointId>,
    results: Vec<Result<(), CallError>>,
    heard: Vec<usize>,
}

impl Service for Sender {
    type Message = usize;

    fn start(&mut self, cx: &mut impl Context) {
        self.endpoint = cx.open_udp(5000.into()).ok();
    }

    fn message(&mut self, cx: &mut impl Context, len: usize) {
        let from = self.endpoint.unwrap();
        self.results.push(cx.send_to(from, "10.0.0.2:7".parse().unwrap(), &vec![1; len]));
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.heard.push(datagram.payload().len());
        Answer::Ignore
    }
}

#[test]
fn a_datagram_up_to_the_mtu_needs_no_fragments_and_a_full_ring_takes_all_of_it_or_nothing() {
    let (near, far) = memory::cable_of_mtu(32, MTU);
    let clock = ManualClock::default();
    let mut sender = engine(near, 1, Sender::default());
    let mut server = engine(far, 2, Echo::default());
    server.start(&clock);
    sender.start(&clock);
    for len in [100, 8972, 8973] {
        sender.mailbox().send(len).unwrap();
        for _ in 0..4 {
            sender.turn(&clock);
            server.turn(&clock);
        }
    }
    assert_eq!(sender.service().results, [Ok(()), Ok(()), Err(CallError::TooLarge)]);
    assert_eq!(server.core.counters.udp_received, 2);
    // Nobody takes what is sent: 16 frames, five for each datagram.
    for _ in 0..5 {
        sender.mailbox().send(8972).unwrap();
    }
    let before = sender.core.ports[0].device.stats().transmitted;
    sender.service_mut().results.clear();
    sender.turn(&clock);
    let results = &sender.service().results;
    let sent = results.iter().filter(|result| result.is_ok()).count() as u64;
    assert!(sent > 0 && results.iter().all(|result| matches!(result, Ok(()) | Err(CallError::WouldBlock))), "{results:?}");
    assert_eq!(sender.core.ports[0].device.stats().transmitted - before, sent);
    assert_no_frame_missing(&sender);
}

/// Answers with as much as there is room for.
struct Filler;

impl Service for Filler {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(7.into()).unwrap();
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let room = datagram.room();
        room.fill(9);
        Answer::Reply { len: room.len().min(MTU - 28) }
    }
}

#[test]
fn an_answer_may_be_longer_than_a_question_of_several_frames() {
    let (near, far) = memory::cable_of_mtu(64, MTU);
    let clock = ManualClock::default();
    let mut sender = engine(near, 1, Sender::default());
    let mut server = engine(far, 2, Filler);
    server.start(&clock);
    sender.start(&clock);
    // The first one finds the neighbour.
    for len in [100, 5000] {
        sender.mailbox().send(len).unwrap();
        for _ in 0..4 {
            sender.turn(&clock);
            server.turn(&clock);
        }
    }
    assert_eq!(server.core.drops.of(Drop::UdpSendFull), 0);
    assert_eq!((sender.service().results.len(), sender.service().heard.last()), (2, Some(&(MTU - 28))));
    assert_no_frame_missing(&server);
}
