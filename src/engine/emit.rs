//! Builds packets in frames: headers in front, payload already behind or copied once.
//!
//! Called by all paths that send something of their own. A frame that is too small is said, not overrun; nothing here panics.

use std::net::SocketAddr;
use std::ops::Range;

use crate::demux::{Address, FlowKey};
use crate::device::Frame;
use crate::tcp::Transmit;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Mac};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::vlan::Vlan;
use crate::wire::{arp, extension, icmpv6, tcp, udp};

/// Ethernet addresses and VLAN of a packet to be built.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkHeader {
    pub(super) source: Mac,
    pub(super) target: Mac,
    pub(super) vlan: Vlan,
}

impl LinkHeader {
    const fn ethernet(self, ethertype: u16) -> Ethernet {
        Ethernet { target: self.target, source: self.source, vlan: self.vlan, ethertype }
    }

    const fn len(self) -> usize {
        self.ethernet(0).header_len()
    }
}

/// What a packet asks of the IP layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// The DiffServ code point.
    pub(super) dscp: u8,
    /// The ECN codepoint.
    pub(super) ecn: u8,
    /// TTL, or hop limit.
    pub(super) ttl: u8,
    /// Flow label, of IPv6 only: 20 bits.
    pub(super) flow_label: u32,
}

impl Default for Delivery {
    /// As a packet travels that asks for nothing.
    fn default() -> Self {
        Self { dscp: 0, ecn: 0, ttl: ipv4::DEFAULT_TTL, flow_label: 0 }
    }
}

/// Length of the IP header in front of what goes to an address.
pub(super) const fn ip_header_len(target: Address) -> usize {
    if target.v4().is_some() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
}

/// Makes the frame long enough for a packet with `len` bytes behind its IP header, and writes the headers up to there. Returns where that is; `None` when
/// it does not fit, or when the addresses are not of one family.
#[inline(always)]
fn ip_around<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    (source, target): (Address, Address),
    protocol: u8,
    delivery: Delivery,
    len: usize,
) -> Option<usize> {
    let header_len = ip_header_len(target);
    let whole = link.len() + header_len + len;
    if frame.set_len(whole) != whole {
        return None;
    }
    let bytes = frame.bytes_mut();
    let dscp_ecn = (delivery.dscp << 2) | (delivery.ecn & ipv4::ECN_MASK);
    let at = link.len();
    let written = match (source.v4(), target.v4()) {
        (Some(source), Some(target)) => {
            ethernet::emit(bytes, &link.ethernet(ETHERTYPE_IPV4));
            let header = Ipv4 { dscp_ecn, ttl: delivery.ttl, ..Ipv4::outgoing(source, target, protocol, len) };
            ipv4::emit(bytes.get_mut(at..)?, &header)
        }
        (None, None) => {
            ethernet::emit(bytes, &link.ethernet(ETHERTYPE_IPV6));
            let Delivery { ttl: hop_limit, flow_label, .. } = delivery;
            let header = Ipv6::outgoing((*source.octets()).into(), (*target.octets()).into(), protocol, len);
            ipv6::emit(bytes.get_mut(at..)?, &Ipv6 { dscp_ecn, hop_limit, flow_label, ..header })
        }
        _ => 0,
    };
    (written == header_len).then_some(at + header_len)
}

/// Bytes of the headers in front of a UDP payload to an address.
pub(super) const fn udp_headroom(link: LinkHeader, target: Address) -> usize {
    link.len() + ip_header_len(target) + udp::HEADER_LEN
}

/// Writes Ethernet, IP and UDP headers around a payload of `len` bytes that already lies at [`udp_headroom`]. False when it does not fit.
pub(super) fn udp_around<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    delivery: Delivery,
    source: SocketAddr,
    target: SocketAddr,
    len: usize,
) -> bool {
    let (from, to) = (Address::from(source.ip()), Address::from(target.ip()));
    let Some(at) = ip_around(frame, link, (from, to), ipv4::PROTOCOL_UDP, delivery, udp::HEADER_LEN + len) else { return false };
    let pseudo = PseudoHeader { source: from, target: to, protocol: ipv4::PROTOCOL_UDP };
    udp::emit(&mut frame.bytes_mut()[at..], source.port(), target.port(), &pseudo) != 0
}

/// Builds a TCP segment. False when it does not fit.
#[inline(always)]
pub(super) fn tcp_segment<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    key: &FlowKey,
    header: &tcp::Header,
    delivery: Delivery,
    payload: [&[u8]; 2],
) -> bool {
    let header_len = tcp::header_len(&header.options);
    let payload_len = payload[0].len() + payload[1].len();
    let ends = (key.local, key.remote);
    let Some(at) = ip_around(frame, link, ends, ipv4::PROTOCOL_TCP, delivery, header_len + payload_len) else { return false };
    let segment = &mut frame.bytes_mut()[at..];
    let (first, second) = segment[header_len..].split_at_mut(payload[0].len());
    first.copy_from_slice(payload[0]);
    // Most payloads are in one part, and a copy of nothing is a call all the same.
    if !second.is_empty() {
        second.copy_from_slice(payload[1]);
    }
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

/// Makes a received ICMPv6 echo request, which lies somewhere in its frame, the reply behind headers of its own.
pub(super) fn echo_moved<F: Frame>(frame: &mut F, link: LinkHeader, ends: (Address, Address), message: Range<usize>) -> bool {
    let to = link.len() + ip_header_len(ends.1);
    let len = message.len();
    if message.start < to || message.end > frame.bytes().len() {
        return false;
    }
    frame.bytes_mut().copy_within(message, to);
    let Some(at) = ip_around(frame, link, ends, ipv6::NEXT_HEADER_ICMPV6, Delivery::default(), len) else { return false };
    icmpv6::echo_reply_in_place(&mut frame.bytes_mut()[at..]);
    true
}

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) identification: u32,
    /// Where it begins in the payload; a multiple of 8.
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) more: bool,
}

/// Bytes in front of a fragment's data.
pub(super) const fn fragment_header_len(target: Address) -> usize {
    if target.v4().is_some() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN + extension::FRAGMENT_HEADER_LEN }
}

/// Builds one fragment of a packet whose payload is `data`, one part behind the other. False when it does not fit.
pub(super) fn fragment<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    ends: (Address, Address),
    protocol: u8,
    delivery: Delivery,
    fragment: Fragment,
    data: [&[u8]; 2],
) -> bool {
    let Fragment { identification, offset, len, more } = fragment;
    let Ok(offset_field) = u16::try_from(offset) else { return false };
    let ipv4 = ends.1.v4().is_some();
    let extra = if ipv4 { 0 } else { extension::FRAGMENT_HEADER_LEN };
    let carried = if ipv4 { protocol } else { ipv6::NEXT_HEADER_FRAGMENT };
    let Some(at) = ip_around(frame, link, ends, carried, delivery, extra + len) else { return false };
    let ip_at = link.len();
    if ipv4 {
        let Some(header) = frame.bytes_mut().get_mut(ip_at..) else { return false };
        let Ok(whole) = ipv4::parse(header) else { return false };
        let part = Ipv4 {
            // 16 bits were drawn.
            identification: identification as u16,
            dont_fragment: false,
            more_fragments: more,
            fragment_offset: offset_field,
            ..whole
        };
        ipv4::emit(header, &part);
    } else {
        let Some(header) = frame.bytes_mut().get_mut(at..at + extra) else { return false };
        extension::emit_fragment_header(header, protocol, offset_field, more, identification);
    }
    let Some(room) = frame.bytes_mut().get_mut(at + extra..) else { return false };
    let split = data[0].len();
    let first = data[0].get(offset.min(split)..(offset + len).min(split)).unwrap_or_default();
    let second = data[1].get(offset.saturating_sub(split)..(offset + len).saturating_sub(split)).unwrap_or_default();
    if first.len() + second.len() != room.len() {
        return false;
    }
    let (to_first, to_second) = room.split_at_mut(first.len());
    to_first.copy_from_slice(first);
    to_second.copy_from_slice(second);
    true
}

/// Builds Ethernet and IP headers in front of `data`, one part behind the other. False when it does not fit.
pub(super) fn packet_of<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    ends: (Address, Address),
    protocol: u8,
    delivery: Delivery,
    data: [&[u8]; 2],
) -> bool {
    let len = data[0].len() + data[1].len();
    let Some(at) = ip_around(frame, link, ends, protocol, delivery, len) else { return false };
    let (first, second) = frame.bytes_mut()[at..].split_at_mut(data[0].len());
    first.copy_from_slice(data[0]);
    second.copy_from_slice(data[1]);
    true
}

/// Builds Ethernet and IP headers in front of an ICMP message, of the family of the addresses, and copies that behind them.
pub(super) fn icmp_packet<F: Frame>(
    frame: &mut F,
    link: LinkHeader,
    ends: (Address, Address),
    delivery: Delivery,
    message: &[u8],
) -> bool {
    let protocol = if ends.1.v4().is_some() { ipv4::PROTOCOL_ICMP } else { ipv6::NEXT_HEADER_ICMPV6 };
    let Some(at) = ip_around(frame, link, ends, protocol, delivery, message.len()) else { return false };
    frame.bytes_mut()[at..].copy_from_slice(message);
    true
}
