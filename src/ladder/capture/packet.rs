//! What a captured packet says: who sent it to whom, and what it was.
//!
//! Called for each packet of a file, and for each frame of the demo. Reads headers with [`crate::wire`]; of link layers it knows those that tcpdump
//! writes for Ethernet, `-i any` and tunnels. Pure; cannot panic.

use std::net::{IpAddr, SocketAddr};

use crate::ladder::exchange::Transport;
use crate::ladder::step::{Segment, What};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN};
use crate::wire::icmpv4::Quoted;
use crate::wire::vlan::{ETHERTYPE_SERVICE_VLAN, TAG_LEN};
use crate::wire::{ethernet, extension, icmpv4, icmpv6, ipv4, ipv6, tcp, udp};

/// What stands in front of the IP header: the link type of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet, with any VLAN tags (1).
    Ethernet,
    /// Nothing (101; 12 and 14 in some old files; 228 and 229).
    Raw,
    /// The protocol family in four bytes (0 and 108), of loopback interfaces of BSD.
    Null,
    /// Linux cooked, version 1 (113).
    Cooked,
    /// Linux cooked, version 2 (276).
    Cooked2,
}

impl Link {
    /// The link type of this number, if it is one that is read.
    pub const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            0 | 108 => Some(Self::Null),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }
}

/// A packet of TCP or UDP, or an ICMP error about one.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// What the exchange is carried by that it belongs to.
    pub transport: Transport,
    /// Who sent it; of an ICMP error the end that the packet it quotes was sent to, whoever has really noticed.
    pub source: SocketAddr,
    /// To whom.
    pub target: SocketAddr,
    /// What it is.
    pub what: What,
}

impl Packet {
    /// Reads a packet of which `bytes` were captured, and which had `len` on the wire. What was cut off at the end counts, as bytes that nobody
    /// looks at. `None` for everything else than TCP, UDP and errors about them, for what is malformed, and for fragments.
    pub fn read(link: Link, bytes: &[u8], len: usize) -> Option<Self> {
        let packet = network(link, bytes)?;
        let missing = len.min(LEN_MAX).saturating_sub(bytes.len());
        if missing == 0 {
            return of_ip(packet);
        }
        // The parsers want the whole packet; what is not there is zeros.
        let mut whole = Vec::with_capacity(packet.len() + missing);
        whole.extend_from_slice(packet);
        whole.resize(packet.len() + missing, 0);
        of_ip(&whole)
    }
}

/// The IP packet in a frame.
fn network(link: Link, bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (ethertype, rest) = match link {
        Link::Raw => return Some(bytes),
        // The family is in the order of the machine that wrote it, and its numbers are its own: the version says it as well.
        Link::Null => return bytes.get(4..),
        Link::Ethernet => {
            let header = ethernet::parse(bytes).ok()?;
            (header.ethertype, bytes.get(header.header_len()..)?)
        }
        Link::Cooked => (word(14)?, bytes.get(16..)?),
        Link::Cooked2 => (word(0)?, bytes.get(20..)?),
    };
    untagged(ethertype, rest)
}

/// Goes over the tags that may be left: behind a cooked header, and the third and further ones of Ethernet.
fn untagged(mut ethertype: u16, mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..TAGS {
        match ethertype {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return Some(rest),
            ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN => {
                ethertype = u16::from_be_bytes(*rest.get(2..)?.first_chunk()?);
                rest = rest.get(TAG_LEN..)?;
            }
            _ => return None,
        }
    }
    None
}

fn of_ip(packet: &[u8]) -> Option<Packet> {
    match packet.first()? >> 4 {
        4 => {
            let header = ipv4::parse_unverified(packet).ok()?;
            let payload = header.payload(packet);
            if header.is_fragment() {
                None
            } else {
                of_transport(header.source.into(), header.target.into(), header.protocol, payload)
            }
        }
        6 => {
            let header = ipv6::parse(packet).ok()?;
            let payload = header.payload(packet);
            let walked = extension::walk(header.next_header, payload).ok()?;
            let behind = payload.get(walked.at..).filter(|_| walked.fragment.is_none())?;
            of_transport(header.source.into(), header.target.into(), walked.protocol, behind)
        }
        _ => None,
    }
}

fn of_transport(source: IpAddr, target: IpAddr, protocol: u8, payload: &[u8]) -> Option<Packet> {
    match protocol {
        ipv4::PROTOCOL_TCP => {
            let (ports, segment) = tcp::parse_unverified(payload).ok()?;
            Some(Packet {
                transport: Transport::Tcp,
                source: SocketAddr::new(source, ports.source),
                target: SocketAddr::new(target, ports.target),
                what: What::Segment(Segment::from(&segment)),
            })
        }
        ipv4::PROTOCOL_UDP => {
            let header = udp::parse_unverified(payload).ok()?;
            Some(Packet {
                transport: Transport::Udp,
                source: SocketAddr::new(source, header.source_port),
                target: SocketAddr::new(target, header.target_port),
                what: What::Datagram { len: u32::try_from(header.len - udp::HEADER_LEN).ok()? },
            })
        }
        ipv4::PROTOCOL_ICMP => {
            let (icmp_type, code) = (*payload.first()?, *payload.get(1)?);
            let what = match (icmp_type, code) {
                (icmpv4::UNREACHABLE, 0) => "net unreachable",
                (icmpv4::UNREACHABLE, icmpv4::CODE_HOST) => "host unreachable",
                (icmpv4::UNREACHABLE, icmpv4::CODE_PROTOCOL) => "protocol unreachable",
                (icmpv4::UNREACHABLE, icmpv4::CODE_PORT) => "port unreachable",
                (icmpv4::UNREACHABLE, icmpv4::CODE_FRAGMENTATION_NEEDED) => "fragmentation needed",
                (icmpv4::UNREACHABLE, _) => "unreachable",
                (icmpv4::TIME_EXCEEDED, _) => "time exceeded",
                (icmpv4::PARAMETER_PROBLEM, _) => "parameter problem",
                _ => return None,
            };
            error(what, icmpv4::quoted(payload.get(icmpv4::HEADER_LEN..)?)?)
        }
        ipv6::NEXT_HEADER_ICMPV6 => {
            let (icmp_type, code) = (*payload.first()?, *payload.get(1)?);
            let what = match (icmp_type, code) {
                (icmpv6::UNREACHABLE, icmpv6::CODE_NO_ROUTE) => "no route",
                (icmpv6::UNREACHABLE, icmpv6::CODE_ADDRESS) => "address unreachable",
                (icmpv6::UNREACHABLE, icmpv6::CODE_PORT) => "port unreachable",
                (icmpv6::UNREACHABLE, _) => "unreachable",
                (icmpv6::PACKET_TOO_BIG, _) => "packet too big",
                (icmpv6::TIME_EXCEEDED, _) => "time exceeded",
                (icmpv6::PARAMETER_PROBLEM, _) => "parameter problem",
                _ => return None,
            };
            error(what, icmpv6::quoted(payload.get(icmpv6::HEADER_LEN..)?)?)
        }
        _ => None,
    }
}

/// An error about a packet that it quotes.
fn error(what: &'static str, quoted: Quoted) -> Option<Packet> {
    let transport = match quoted.protocol {
        ipv4::PROTOCOL_TCP => Transport::Tcp,
        ipv4::PROTOCOL_UDP => Transport::Udp,
        _ => return None,
    };
    Some(Packet {
        transport,
        source: SocketAddr::new(quoted.target.ip(), quoted.target_port),
        target: SocketAddr::new(quoted.source.ip(), quoted.source_port),
        what: What::Icmp { what },
    })
}

/// Tags that are gone over.
const TAGS: usize = 4;
/// The longest packet that is made whole: what segmentation offloads leave to a capture is shorter.
const LEN_MAX: usize = 1 << 17;
