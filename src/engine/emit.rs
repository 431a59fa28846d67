//! Builds packets in frames: headers in front, payload already behind or copied once.
//!
//! Called by all paths that send something of their own. A frame that is too small is said, not overrun; nothing here panics.

use std::net::{IpAddr, SocketAddr};

use crate::demux::{Address, FlowKey};
use crate::device::Frame;
use crate::tcp::Transmit;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet, Mac};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{arp, tcp, udp};

/// Ethernet addresses and VLAN of a packet to be built.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkHeader {
    pub(super) source: Mac,
    pub(super) target: Mac,
    pub(super) vlan: Option<u16>,
}

impl LinkHeader {
    const fn ethernet(self, ethertype: u16) -> Ethernet {
        Ethernet { target: self.target, source: self.source, vlan: self.vlan, ethertype }
    }

    const fn len(self) -> usize {
        self.ethernet(0).header_len()
    }
}

/// Bytes of the headers in front of a UDP payload over IPv4.
pub(super) const fn udp_headroom(link: LinkHeader) -> usize {
    link.len() + ipv4::HEADER_LEN + udp::HEADER_LEN
}

/// Writes Ethernet, IPv4 and UDP headers around a payload of `len` bytes that already lies at [`udp_headroom`]. False when it does not fit, or is not IPv4.
pub(super) fn udp_around<F: Frame>(frame: &mut F, link: LinkHeader, source: SocketAddr, target: SocketAddr, len: usize) -> bool {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (source.ip(), target.ip()) else { return false };
    let total = ipv4::HEADER_LEN + udp::HEADER_LEN + len;
    let whole = link.len() + total;
    if frame.set_len(whole) != whole || total > usize::from(u16::MAX) {
        return false;
    }
    let pseudo = PseudoHeader { source: from.into(), target: to.into(), protocol: ipv4::PROTOCOL_UDP };
    let bytes = frame.bytes_mut();
    let at = ethernet::emit(bytes, &link.ethernet(ETHERTYPE_IPV4));
    ipv4::emit(&mut bytes[at..], &ipv4_header(from, to, ipv4::PROTOCOL_UDP, total));
    udp::emit(&mut bytes[at + ipv4::HEADER_LEN..], source.port(), target.port(), &pseudo);
    true
}

/// What a TCP segment asks of the IP layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// The DiffServ code point.
    pub(super) dscp: u8,
    /// Marks may take the place of losses: ECT(0).
    pub(super) ect: bool,
    pub(super) ttl: u8,
}

/// Builds a TCP segment. False when it does not fit, or is not IPv4.
pub(super) fn tcp_segment<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    key: &FlowKey,
    header: &tcp::Header,
    delivery: Delivery,
    payload: [&[u8]; 2],
) -> bool {
    let (Some(from), Some(to)) = (key.local.v4(), key.remote.v4()) else { return false };
    let header_len = tcp::header_len(&header.options);
    let payload_len = payload[0].len() + payload[1].len();
    let total = ipv4::HEADER_LEN + header_len + payload_len;
    let whole = link.len() + total;
    if frame.set_len(whole) != whole || total > usize::from(u16::MAX) {
        return false;
    }
    let bytes = frame.bytes_mut();
    let at = ethernet::emit(bytes, &link.ethernet(ETHERTYPE_IPV4));
    let dscp_ecn = (delivery.dscp << 2) | if delivery.ect { ipv4::ECN_ECT_0 } else { 0 };
    let service = Ipv4 { dscp_ecn, ttl: delivery.ttl, ..ipv4_header(from, to, ipv4::PROTOCOL_TCP, total) };
    ipv4::emit(&mut bytes[at..], &service);
    let segment = &mut bytes[at + ipv4::HEADER_LEN..];
    let (first, second) = segment[header_len..].split_at_mut(payload[0].len());
    first.copy_from_slice(payload[0]);
    second.copy_from_slice(payload[1]);
    let pseudo = PseudoHeader { source: key.local, target: key.remote, protocol: ipv4::PROTOCOL_TCP };
    tcp::emit(segment, header, payload_len, &pseudo) == header_len
}

/// The header of a segment that a TCB wants sent.
pub(super) const fn tcp_header(key: &FlowKey, segment: &Transmit<'_>) -> tcp::Header {
    tcp::Header {
        source_port: key.local_port,
        target_port: key.remote_port,
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        urgent: segment.urgent,
        options: segment.options,
    }
}

/// Builds an ARP packet.
pub(super) fn arp_packet<F: Frame>(frame: &mut F, link: LinkHeader, packet: &arp::Arp) -> bool {
    let whole = link.len() + arp::LEN;
    if frame.set_len(whole) != whole {
        return false;
    }
    let bytes = frame.bytes_mut();
    let at = ethernet::emit(bytes, &link.ethernet(ethernet::ETHERTYPE_ARP));
    arp::emit(&mut bytes[at..], packet) == arp::LEN
}

/// Builds Ethernet and IPv4 headers in front of an ICMP message of `len` bytes; the caller writes the message at the returned offset.
pub(super) fn icmp_around<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    source: Address,
    target: Address,
    len: usize,
) -> Option<usize> {
    let (from, to) = (source.v4()?, target.v4()?);
    let total = ipv4::HEADER_LEN + len;
    let whole = link.len() + total;
    if frame.set_len(whole) != whole {
        return None;
    }
    let bytes = frame.bytes_mut();
    let at = ethernet::emit(bytes, &link.ethernet(ETHERTYPE_IPV4));
    ipv4::emit(&mut bytes[at..], &ipv4_header(from, to, ipv4::PROTOCOL_ICMP, total));
    Some(at + ipv4::HEADER_LEN)
}

/// The header of a packet that is never fragmented, whose identification therefore means nothing (RFC 6864 4.1).
const fn ipv4_header(source: std::net::Ipv4Addr, target: std::net::Ipv4Addr, protocol: u8, total_len: usize) -> Ipv4 {
    Ipv4 {
        source,
        target,
        protocol,
        ttl: ipv4::DEFAULT_TTL,
        dscp_ecn: 0,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        header_len: ipv4::HEADER_LEN,
        total_len,
    }
}
