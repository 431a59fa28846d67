//! The peer: frames prepared once, of which only addresses, ports, numbers and checksums are written anew.
//!
//! It keeps three numbers of a connection. A stack's answers are counted, and read where the next frame depends on them; all of them are checked in a
//! run that is not timed.

use std::net::Ipv4Addr;

use ringway::device::Frame as _;
use ringway::tcp::seq::SeqNum;
use ringway::wire::arp::{self, Arp};
use ringway::wire::checksum::PseudoHeader;
use ringway::wire::ethernet::{self, ETHERTYPE_ARP, Ethernet, Mac};
use ringway::wire::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use ringway::wire::tcp::{self, Flags, Header, Options};
use ringway::wire::udp;
use ringway::wire::vlan::Vlan;

use crate::common::{IP_AT, IP_PAYLOAD_AT, OUR_MAC, OURS, PEER_MAC, SERVICE, headers};
use crate::wire::Buffer;

pub(crate) const FIRST_PEER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Source ports of one address of the peer.
const PORTS: u32 = 60_000;
const FIRST_PORT: u32 = 1024;

/// Where the fields lie that differ from frame to frame.
const IP_CHECKSUM: usize = IP_AT + 10;
const SOURCE: usize = IP_AT + 12;
const UDP_CHECKSUM: usize = IP_PAYLOAD_AT + 6;
const TCP_SEQ: usize = IP_PAYLOAD_AT + 4;
const TCP_ACK: usize = IP_PAYLOAD_AT + 8;
const TCP_CHECKSUM: usize = IP_PAYLOAD_AT + 16;
/// Kind and length of the timestamps option (RFC 7323 3.2).
const STAMPS_BEGIN: [u8; 2] = [8, 10];

/// What the peer keeps of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// What it sends next.
    pub(crate) seq: u32,
    /// What it expects next.
    pub(crate) ack: u32,
    /// What the stack's timestamps are ahead of the clock, in ms.
    pub(crate) ahead: u32,
}

/// A frame of UDP.
pub(crate) struct Datagram {
    bytes: Vec<u8>,
    sum: u32,
}

impl Datagram {
    pub(crate) fn new(payload: &[u8]) -> Self {
        let mut bytes = vec![0; IP_PAYLOAD_AT + udp::HEADER_LEN + payload.len()];
        bytes[IP_PAYLOAD_AT + udp::HEADER_LEN..].copy_from_slice(payload);
        let pseudo = headers(&mut bytes, FIRST_PEER, PROTOCOL_UDP);
        udp::emit(&mut bytes[IP_PAYLOAD_AT..], 0, 0, &pseudo);
        let sum = u32::from(!word(&bytes, UDP_CHECKSUM));
        Self { bytes, sum }
    }

    /// Writes the one to the `number`th socket, from a port of its own.
    #[inline]
    pub(crate) fn write(&self, frame: &mut Buffer, number: u32) {
        let (source, target) = (port_of(number), SERVICE + number as u16);
        let bytes = copied(frame, &self.bytes);
        put(bytes, IP_PAYLOAD_AT, source);
        put(bytes, IP_PAYLOAD_AT + 2, target);
        let sum = !folded(self.sum + u32::from(source) + u32::from(target));
        put(bytes, UDP_CHECKSUM, if sum == 0 { 0xffff } else { sum });
    }
}

/// A frame of TCP.
pub(crate) struct Segment {
    bytes: Vec<u8>,
    ip_sum: u32,
    sum: u32,
    /// Where its timestamps lie, if it has such.
    stamps: Option<usize>,
    /// How much of the sequence space it takes.
    taken: u32,
}

impl Segment {
    /// `stamped` ones carry timestamps.
    pub(crate) fn new(flags: Flags, stamped: bool, payload: &[u8]) -> Self {
        let opens = flags.contains(Flags::SYN);
        let plain = Options { timestamps: stamped.then_some((0, 0)), ..Options::default() };
        let options =
            if opens { Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..plain } } else { plain };
        let header = Header {
            source_port: 0,
            target_port: SERVICE,
            seq: SeqNum(0),
            ack: SeqNum(0),
            flags,
            window: if opens { 64_240 } else { 8192 },
            urgent: 0,
            options,
        };
        let at = IP_PAYLOAD_AT + tcp::header_len(&options);
        let mut bytes = vec![0; at + payload.len()];
        bytes[at..].copy_from_slice(payload);
        let unspecified = Ipv4Addr::UNSPECIFIED;
        let pseudo = headers(&mut bytes, unspecified, PROTOCOL_TCP);
        tcp::emit(&mut bytes[IP_PAYLOAD_AT..], &header, payload.len(), &pseudo);
        let ip_sum = u32::from(!word(&bytes, IP_CHECKSUM));
        let sum = u32::from(!word(&bytes, TCP_CHECKSUM));
        let first = IP_PAYLOAD_AT + tcp::HEADER_LEN;
        let stamps = bytes[first..at].windows(2).position(|pair| pair == STAMPS_BEGIN).map(|nth| first + nth + 2);
        let taken = payload.len() as u32 + u32::from(opens) + u32::from(flags.contains(Flags::FIN));
        Self { bytes, ip_sum, sum, stamps, taken }
    }

    /// Writes the next one of connection `number`, and counts what it takes.
    #[inline]
    pub(crate) fn write(&self, frame: &mut Buffer, number: u32, line: &mut Line, now_ms: u32) {
        let source = FIRST_PEER.to_bits() + number / PORTS;
        let port = port_of(number);
        let bytes = copied(frame, &self.bytes);
        put_long(bytes, SOURCE, source);
        put(bytes, IP_CHECKSUM, !folded(self.ip_sum + halves(source)));
        put(bytes, IP_PAYLOAD_AT, port);
        put_long(bytes, TCP_SEQ, line.seq);
        put_long(bytes, TCP_ACK, line.ack);
        let mut sum = self.sum + halves(source) + u32::from(port) + halves(line.seq) + halves(line.ack);
        if let Some(at) = self.stamps {
            let echo = now_ms.wrapping_add(line.ahead);
            put_long(bytes, at, now_ms);
            put_long(bytes, at + 4, echo);
            sum += halves(now_ms) + halves(echo);
        }
        put(bytes, TCP_CHECKSUM, !folded(sum));
        line.seq = line.seq.wrapping_add(self.taken);
    }
}

/// What is read of a segment that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    /// Which connection.
    pub(crate) number: u32,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// Bytes of payload.
    pub(crate) len: u32,
}

impl Read {
    #[inline]
    pub(crate) fn of(frame: &[u8]) -> Self {
        let address = long(frame, IP_AT + 16);
        let head = IP_PAYLOAD_AT + usize::from(frame[IP_PAYLOAD_AT + 12] >> 4) * 4;
        Self {
            number: (address.wrapping_sub(FIRST_PEER.to_bits()))
                .wrapping_mul(PORTS)
                .wrapping_add(u32::from(word(frame, IP_PAYLOAD_AT + 2)).wrapping_sub(FIRST_PORT)),
            seq: long(frame, TCP_SEQ),
            ack: long(frame, TCP_ACK),
            flags: frame[IP_PAYLOAD_AT + 13],
            len: u32::from(word(frame, IP_AT + 2)) - (head - IP_AT) as u32,
        }
    }

    pub(crate) fn has(&self, flags: Flags) -> bool {
        Flags(self.flags).contains(flags)
    }

    /// What acknowledges it.
    pub(crate) fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len + u32::from(self.has(Flags::SYN)) + u32::from(self.has(Flags::FIN)))
    }
}

/// A segment to the peer, parsed whole; its checksums must be right.
pub(crate) fn checked(frame: &[u8]) -> (u16, tcp::Segment<'_>) {
    let pseudo = checked_head(frame, PROTOCOL_TCP);
    let (ports, segment) = tcp::parse(&frame[IP_PAYLOAD_AT..], &pseudo).expect("a segment");
    assert_eq!(ports.source, SERVICE);
    (ports.target, segment)
}

/// Asserts that this is the answer of the `number`th socket, with this payload.
pub(crate) fn check_datagram(frame: &[u8], payload: &[u8]) -> u32 {
    let pseudo = checked_head(frame, PROTOCOL_UDP);
    let bytes = &frame[IP_PAYLOAD_AT..];
    let datagram = udp::parse(bytes, &pseudo).expect("a datagram");
    let number = u32::from(datagram.source_port - SERVICE);
    assert_eq!(datagram.target_port, port_of(number), "to the port that it came from");
    assert_eq!(datagram.payload(bytes), payload);
    number
}

fn checked_head(frame: &[u8], protocol: u8) -> PseudoHeader {
    let link = ethernet::parse(frame).expect("an Ethernet header");
    assert_eq!((link.source, link.target), (OUR_MAC, PEER_MAC));
    let ip = ringway::wire::ipv4::parse(&frame[IP_AT..]).expect("an IPv4 header");
    assert_eq!((ip.source, ip.protocol, ip.total_len), (OURS, protocol, frame.len() - IP_AT));
    PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol }
}

/// Asks for the stack's address, so that it knows the peer's.
pub(crate) fn arp_request(frame: &mut Buffer) {
    frame.set_len(IP_AT + arp::LEN);
    let bytes = frame.bytes_mut();
    ethernet::emit(bytes, &Ethernet { target: Mac::BROADCAST, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ETHERTYPE_ARP });
    let request =
        Arp { operation: arp::REQUEST, sender_mac: PEER_MAC, sender: FIRST_PEER, target_mac: Mac::default(), target: OURS };
    arp::emit(&mut bytes[IP_AT..], &request);
}

fn port_of(number: u32) -> u16 {
    (number % PORTS + FIRST_PORT) as u16
}

#[inline]
fn copied<'a>(frame: &'a mut Buffer, from: &[u8]) -> &'a mut [u8] {
    frame.set_len(from.len());
    let bytes = frame.bytes_mut();
    bytes.copy_from_slice(from);
    bytes
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn put_long(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

const fn halves(value: u32) -> u32 {
    (value >> 16) + (value & 0xffff)
}

const fn folded(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}
