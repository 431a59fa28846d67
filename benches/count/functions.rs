//! Functions that every packet meets, one by one: hash, lookup, checksum, headers of a segment in and out, a recorded latency.
//!
//! Each is repeated as often as is asked, over inputs that are made beforehand; two runs with different repetitions give the cost of one.

use std::hint::black_box;
use std::net::Ipv6Addr;

use ringway::demux::{Directory, FlowKey, KeyedHash, SlotId};
use ringway::metrics::histogram::Recorder;
use ringway::tcp::State;
use ringway::tcp::seq::SeqNum;
use ringway::time::Instant;
use ringway::wire::checksum::{self, PseudoHeader};
use ringway::wire::ipv4::{self, PROTOCOL_TCP};
use ringway::wire::tcp::{self, Flags, Header, Options};
use ringway::wire::{ethernet, udp};

use crate::common::{IP_AT, IP_PAYLOAD_AT, OURS, PAYLOAD, SERVICE, headers};
use crate::memory::key;
use crate::{PEER, UDP_AT};

/// Inputs that are used by turns.
const INPUTS: u32 = 1024;

/// Repeats a function, with numbers of turns that begin again after [`INPUTS`].
fn repeated<T>(repetitions: u32, mut what: impl FnMut(u32) -> T) -> u32 {
    (0..repetitions).for_each(|turn| _ = black_box(what(turn % INPUTS)));
    repetitions
}

pub(crate) fn hash_ipv4(repetitions: u32) -> u32 {
    hash(repetitions, key)
}

pub(crate) fn hash_ipv6(repetitions: u32) -> u32 {
    hash(repetitions, |number| {
        let address = |host: u128| Ipv6Addr::from_bits(0xfd00 << 112 | host).into();
        FlowKey { local: address(2), remote: address(u128::from(number) + 16), ..key(number) }
    })
}

fn hash(repetitions: u32, key: impl Fn(u32) -> FlowKey) -> u32 {
    let (hash, keys) = (KeyedHash::new(&[9; 16]), (0..INPUTS).map(key).collect::<Vec<_>>());
    repeated(repetitions, |turn| hash.of(&keys[turn as usize]))
}

pub(crate) fn directory_hit(repetitions: u32) -> u32 {
    let hash = KeyedHash::new(&[9; 16]);
    let mut directory = Directory::new(0, INPUTS as usize);
    let wanted: Vec<_> = (0..INPUTS).map(|number| (hash.of(&key(number)), key(number))).collect();
    for (slot, (hash, key)) in (0..).zip(&wanted) {
        assert!(directory.insert(*hash, SlotId { slot, generation: 0 }, key, State::Established, Instant::ZERO));
    }
    let keys = directory.keys();
    repeated(repetitions, |turn| {
        let (hash, key) = &wanted[turn as usize];
        directory.find(*hash, |slot| keys.is_key(slot, key))
    })
}

pub(crate) fn checksum_1460(repetitions: u32) -> u32 {
    let bytes = [0x5a; 1460];
    repeated(repetitions, |_| checksum::checksum(black_box(&bytes)))
}

pub(crate) fn parse_udp(repetitions: u32) -> u32 {
    let mut frame = [0; UDP_AT + PAYLOAD.len()];
    let pseudo = headers(&mut frame, PEER, ipv4::PROTOCOL_UDP);
    udp::emit(&mut frame[IP_PAYLOAD_AT..], 5000, SERVICE, &pseudo);
    repeated(repetitions, |_| {
        let (ip, pseudo) = ip_headers(black_box(&frame));
        udp::parse(ip.payload(&frame[IP_AT..]), &pseudo).expect("a datagram").target_port
    })
}

pub(crate) fn parse_tcp(repetitions: u32) -> u32 {
    let (header, len) = stamped();
    let mut frame = vec![0; IP_PAYLOAD_AT + len + PAYLOAD.len()];
    let pseudo = headers(&mut frame, PEER, PROTOCOL_TCP);
    tcp::emit(&mut frame[IP_PAYLOAD_AT..], &header, PAYLOAD.len(), &pseudo);
    repeated(repetitions, |_| {
        let (ip, pseudo) = ip_headers(black_box(&frame));
        let (ports, segment) = tcp::parse(ip.payload(&frame[IP_AT..]), &pseudo).expect("a segment");
        (ports, segment.seq, segment.options.timestamps, segment.payload.len())
    })
}

pub(crate) fn emit_tcp(repetitions: u32) -> u32 {
    let (header, len) = stamped();
    let pseudo = PseudoHeader { source: OURS.into(), target: PEER.into(), protocol: PROTOCOL_TCP };
    let mut segment = vec![0x5a; len + PAYLOAD.len()];
    repeated(repetitions, |_| tcp::emit(black_box(&mut segment), black_box(&header), PAYLOAD.len(), &pseudo))
}

pub(crate) fn histogram_record(repetitions: u32) -> u32 {
    let mut recorder = Recorder::new();
    repeated(repetitions, |turn| recorder.record(black_box(5_000 + u64::from(turn) * 15)))
}

/// The headers of a frame. Part of its caller, as it is in the engine.
#[inline(always)]
fn ip_headers(frame: &[u8]) -> (ipv4::Ipv4, PseudoHeader) {
    let link = ethernet::parse(frame).expect("an Ethernet header");
    let ip = ipv4::parse(&frame[link.header_len()..]).expect("an IPv4 header");
    (ip, PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol: ip.protocol })
}

/// The header of a segment with timestamps, and its length.
fn stamped() -> (Header, usize) {
    let options = Options { timestamps: Some((1, 2)), ..Options::default() };
    let (seq, ack) = (SeqNum(u32::MAX), SeqNum(1));
    let header = Header { source_port: 4000, target_port: SERVICE, seq, ack, flags: Flags::ACK, window: 512, urgent: 0, options };
    (header, tcp::header_len(&options))
}
