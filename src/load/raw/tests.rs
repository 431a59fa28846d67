//! Raw client and reflector over a cable in memory, with frames that are right, cut, and wrong.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::prelude::*;

use super::packet::{End, HEADERS, Received, answer_arp, read, turn_round, write_headers};
use super::*;
use crate::device::{Device, DeviceStats, Frame, FrameCensus};
use crate::wire::ethernet::Mac;

const CLIENT: End = End { mac: Mac([2, 0, 0, 0, 0, 1]), address: Ipv4Addr::new(10, 0, 0, 1), port: 40_000 };
const SERVER: End = End { mac: Mac([2, 0, 0, 0, 0, 2]), address: Ipv4Addr::new(10, 0, 0, 2), port: 7 };

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Frame for Bytes {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn set_len(&mut self, len: usize) -> usize {
        self.0.resize(len.min(self.capacity()), 0xaa);
        self.0.len()
    }

    fn capacity(&self) -> usize {
        1514
    }
}

type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of a cable; the other end is the test or another device.
struct CableEnd {
    mac: Mac,
    incoming: Queue,
    outgoing: Queue,
    queued: Vec<Vec<u8>>,
    outside: usize,
    ring: usize,
    flushes: usize,
}

fn cable() -> (CableEnd, CableEnd) {
    let queues: [Queue; 2] = Default::default();
    let end = |mac, incoming: &Queue, outgoing: &Queue| CableEnd {
        mac,
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
        queued: Vec::new(),
        outside: 0,
        ring: 4,
        flushes: 0,
    };
    (end(CLIENT.mac, &queues[0], &queues[1]), end(SERVER.mac, &queues[1], &queues[0]))
}

impl Device for CableEnd {
    type Frame = Bytes;

    fn receive(&mut self, burst: &mut Vec<Bytes>, limit: usize) -> usize {
        let before = burst.len();
        burst.extend(std::iter::from_fn(|| self.incoming.borrow_mut().pop_front()).take(limit).map(Bytes));
        self.outside += burst.len() - before;
        burst.len() - before
    }

    fn readable(&mut self) -> bool {
        !self.incoming.borrow().is_empty()
    }

    fn room(&mut self) -> usize {
        self.ring - self.queued.len()
    }

    fn allocate(&mut self) -> Option<Bytes> {
        self.outside += 1;
        Some(Bytes(Vec::new()))
    }

    fn transmit(&mut self, frame: Bytes) -> Result<(), Bytes> {
        if self.queued.len() == self.ring {
            return Err(frame);
        }
        self.outside -= 1;
        self.queued.push(frame.0);
        Ok(())
    }

    fn recycle(&mut self, _: Bytes) {
        self.outside -= 1;
    }

    fn flush(&mut self) {
        self.flushes += 1;
        self.outgoing.borrow_mut().extend(self.queued.drain(..));
    }

    fn pending(&self) -> bool {
        false
    }

    fn stats(&mut self) -> DeviceStats {
        DeviceStats::default()
    }

    fn mac(&self) -> Mac {
        self.mac
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn frames(&self) -> FrameCensus {
        FrameCensus { total: self.outside, ..FrameCensus::default() }
    }
}

/// So many messages on two flows, a burst each turn; what came back is kept.
#[derive(Default)]
struct Few {
    left: u32,
    unsent: u32,
    sent: Vec<u32>,
    answers: Vec<(u32, Vec<u8>)>,
}

impl Messages for Few {
    fn turn(&mut self, _: Instant) {}

    fn due(&mut self, _: Instant, payload: &mut [u8]) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        payload.fill(self.left as u8);
        Some(self.left % 2)
    }

    fn sent(&mut self, flow: u32, _: Instant) {
        self.sent.push(flow);
    }

    fn unsent(&mut self, _: u32) {
        self.left += 1;
        self.unsent += 1;
    }

    fn answered(&mut self, flow: u32, payload: &[u8], _: Instant) {
        self.answers.push((flow, payload.to_vec()));
    }

    fn is_done(&self, _: Instant) -> bool {
        self.left == 0 && self.answers.len() == self.sent.len()
    }
}

fn path() -> Path {
    Path {
        source: SocketAddrV4::new(CLIENT.address, CLIENT.port),
        target: SocketAddrV4::new(SERVER.address, SERVER.port),
        next_hop: SERVER.address,
        flows: 2,
    }
}

fn arp_reply() -> Vec<u8> {
    let mut reply = vec![0; 42];
    packet::write_arp_request(reply.as_mut_slice().try_into().unwrap(), CLIENT.mac, CLIENT.address, SERVER.address);
    assert!(answer_arp(&mut reply, SERVER.mac, SERVER.address));
    reply
}

fn connected(size: usize) -> (RawClient<Bytes>, CableEnd, CableEnd) {
    let (mut device, server) = cable();
    device.incoming.borrow_mut().push_back(arp_reply());
    let client = RawClient::connect(&mut device, path(), size).unwrap();
    (client, device, server)
}

fn datagram(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADERS];
    frame.extend(payload);
    assert!(write_headers(&mut frame, CLIENT, SERVER));
    frame
}

#[test]
fn messages_go_round_and_come_back_whole_through_a_short_ring() {
    for size in [0, 1, 64, 1472] {
        let (mut client, mut device, mut server_device) = connected(size);
        let mut server = Reflector::new(SERVER.address);
        let mut messages = Few { left: 11, ..Few::default() };
        server_device.ring = 64;
        for _ in 0..20 {
            client.turn(&mut device, &mut messages);
            server.turn(&mut server_device);
        }
        assert!(messages.unsent > 0, "eleven do not fit a ring of four at once");
        assert_eq!((messages.sent.len(), messages.answers.len()), (11, 11));
        for (number, (flow, payload)) in (0..11).rev().zip(messages.answers) {
            assert_eq!((flow, payload), (number % 2, vec![number as u8; size]));
        }
        let counts = server.counts();
        assert_eq!((counts.datagrams, counts.arp, counts.dropped), (11, 1, 0), "the request of `connect` too");
        assert_eq!((client.counters().broken, client.counters().ignored), (0, 1), "the second ARP reply");
        assert!(client.counters().busy_turns <= client.counters().turns);
        assert_eq!((device.outside, server_device.outside), (0, 0), "frames in == frames out");
    }
}

#[test]
fn run_ends_when_told_to_stop() {
    let (mut client, mut device, mut server_device) = connected(8);
    let stop = AtomicBool::new(true);
    let mut messages = Few { left: 1, ..Few::default() };
    client.run(&mut device, &mut messages, &stop);
    Reflector::new(SERVER.address).run(&mut server_device, &stop);
    assert_eq!(messages.left, 1);
}

#[test]
fn idle_ends_look_after_their_frames_now_and_then() {
    let (mut client, mut device, mut server_device) = connected(8);
    server_device.incoming.borrow_mut().clear();
    let mut server = Reflector::new(SERVER.address);
    (device.flushes, server_device.flushes) = (0, 0);
    for _ in 0..2 * IDLE_FLUSH {
        client.turn(&mut device, &mut Few::default());
        server.turn(&mut server_device);
    }
    assert_eq!((device.flushes, server_device.flushes), (2, 2));
    assert_eq!((client.counters().busy_turns, server.counts().busy_turns), (0, 0));
}

#[test]
fn a_next_hop_that_does_not_answer_is_an_error() {
    let (mut device, server) = cable();
    let error = RawClient::connect_within(&mut device, path(), 8, Duration::from_millis(250)).unwrap_err();
    assert_eq!((error.exit_code(), error.what()), (3, "cannot reach 10.0.0.2:7"));
    assert!(error.why().starts_with("10.0.0.2 did not answer 10.0.0.1's ARP requests"), "{error}");
    let asked = server.incoming.borrow().len();
    assert!((1..=3).contains(&asked), "every 100 ms: {asked}");
    assert_eq!(device.outside, 0);
}

#[test]
fn a_message_that_fits_no_packet_is_a_usage_error() {
    let (mut device, _server) = cable();
    let error = RawClient::connect(&mut device, path(), 1473).unwrap_err();
    assert_eq!((error.exit_code(), error.remedy()), (2, Some("--size 1472")));
    let crowded = Path { source: SocketAddrV4::new(CLIENT.address, 65_535), ..path() };
    assert_eq!(RawClient::connect(&mut device, crowded, 8).unwrap_err().exit_code(), 2);
}

#[test]
fn an_answer_with_one_wrong_bit_anywhere_is_no_answer() {
    let mut right = datagram(b"payload");
    assert!(turn_round(&mut right, SERVER.address));
    for bit in 0..right.len() * 8 {
        let (mut client, mut device, _server) = connected(7);
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        device.incoming.borrow_mut().push_back(wrong);
        let mut messages = Few::default();
        client.turn(&mut device, &mut messages);
        assert_eq!(messages.answers, [], "bit {bit}");
        assert_eq!(client.counters().broken + client.counters().ignored, 1, "bit {bit}");
    }
    let (mut client, mut device, _server) = connected(7);
    device.incoming.borrow_mut().push_back(right);
    let mut messages = Few::default();
    client.turn(&mut device, &mut messages);
    assert_eq!(messages.answers, [(0, b"payload".to_vec())], "and without one it is");
}

#[test]
fn the_reflector_leaves_alone_what_is_not_a_whole_datagram_to_it() {
    let right = datagram(b"payload");
    let change = |at: usize, value: u8| {
        let mut frame = right.clone();
        frame[at] = value;
        frame
    };
    let cases = [
        ("cut", right[..41].to_vec()),
        ("broadcast", change(0, 0xff)),
        ("not IPv4", change(13, 0xdd)),
        ("options", change(14, 0x46)),
        ("first fragment", change(20, 0x20)),
        ("later fragment", change(21, 1)),
        ("TCP", change(23, 6)),
        ("another address", change(33, 3)),
    ];
    for (name, frame) in cases {
        let (_client, mut device) = cable();
        device.incoming.borrow_mut().push_back(frame.clone());
        let mut reflector = Reflector::new(SERVER.address);
        reflector.turn(&mut device);
        assert_eq!(reflector.counts().ignored, 1, "{name}");
        assert!(device.outgoing.borrow().is_empty() && device.outside == 0, "{name}");
        let mut same = frame.clone();
        turn_round(&mut same, SERVER.address);
        assert_eq!(same, frame, "{name}");
    }
}

#[test]
fn a_datagram_without_a_checksum_is_right_too() {
    let mut frame = datagram(b"payload");
    frame[40..42].fill(0);
    assert!(matches!(read(&frame), Received::Datagram { payload: b"payload", .. }));
}

#[test]
fn both_ends_answer_arp_for_their_address_only() {
    let mut request = [0; 42];
    packet::write_arp_request(&mut request, SERVER.mac, SERVER.address, CLIENT.address);
    let (mut client, mut device, server) = connected(8);
    server.incoming.borrow_mut().clear();
    device.incoming.borrow_mut().push_back(request.to_vec());
    client.turn(&mut device, &mut Few::default());
    let reply = server.incoming.borrow_mut().pop_front().unwrap();
    assert_eq!(packet::arp_reply_of(&reply, CLIENT.address), Some(CLIENT.mac));
    assert_eq!(reply[0..6], SERVER.mac.0);
    let mut same = request;
    assert!(!answer_arp(&mut same, SERVER.mac, SERVER.address));
    assert_eq!(same, request);
}

proptest! {
    #[test]
    fn no_frame_makes_either_end_panic_or_keep_it(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..128), 0..4)) {
        let (mut client, mut device, mut server) = connected(8);
        device.incoming.borrow_mut().extend(frames.clone());
        client.turn(&mut device, &mut Few::default());
        server.incoming.borrow_mut().extend(frames);
        Reflector::new(SERVER.address).turn(&mut server);
        prop_assert_eq!((device.outside, server.outside), (0, 0));
    }

    #[test]
    fn what_is_written_is_read(payload in prop::collection::vec(any::<u8>(), 0..1473), port in any::<u16>()) {
        let mut frame = vec![0; HEADERS];
        frame.extend(&payload);
        let source = End { port, ..CLIENT };
        prop_assert!(write_headers(&mut frame, source, SERVER));
        prop_assert_eq!(read(&frame), Received::Datagram { source, target: SERVER, payload: &payload });
        let wire = frame.clone();
        let parsed = etherparse::SlicedPacket::from_ethernet(&wire).unwrap();
        let etherparse::NetSlice::Ipv4(ip) = parsed.net.unwrap() else { panic!("not IPv4") };
        let Some(etherparse::TransportSlice::Udp(udp)) = parsed.transport else { panic!("not UDP") };
        prop_assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        let sum = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), udp.payload()).unwrap();
        prop_assert_eq!(udp.checksum(), sum);
        prop_assert!(turn_round(&mut frame, SERVER.address));
        prop_assert_eq!(read(&frame), Received::Datagram { source: SERVER, target: source, payload: &payload });
    }
}
