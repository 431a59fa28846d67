//! Ethernet frames of the simulated network: reading what the ends send, building what nobody sent.
//!
//! Called by the run, the network and the attack; with the parsers of the engine, so that both see the same segment. It keeps nothing. Reading
//! panics only on less than an Ethernet header, which no device hands over.

use std::net::Ipv4Addr;

use crate::device::Drop;
use crate::tcp::seq::SeqNum;
use crate::wire::checksum::{PseudoHeader, checksum};
use crate::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, Ethernet, Mac};
use crate::wire::icmpv4;
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_ICMP, PROTOCOL_TCP};
use crate::wire::tcp::{self, Header, Ports, Segment};
use crate::wire::vlan::Vlan;

/// Length of the Ethernet header: there are no VLANs here.
pub(super) const ETHERNET: usize = 14;

/// The address of an end.
pub(super) const fn address(end: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + end as u8)
}

/// The Ethernet address of an end, as [`crate::device::memory::cable`] gives it.
pub(super) const fn mac(end: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, 1 + end as u8])
}

/// Who speaks for the network, and for strangers.
const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

/// A TCP segment on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) ports: Ports,
    pub(super) segment: Segment<'a>,
}

/// Reads a frame; `None` when it carries no TCP.
pub(super) fn read(frame: &[u8]) -> Option<Result<Seen<'_>, Drop>> {
    let packet = frame.get(ETHERNET..).filter(|_| frame[12..14] == ETHERTYPE_IPV4.to_be_bytes())?;
    let ip = match ipv4::parse(packet) {
        Ok(ip) if ip.protocol == PROTOCOL_TCP => ip,
        Ok(_) => return None,
        Err(why) => return Some(Err(why)),
    };
    let pseudo = PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol: PROTOCOL_TCP };
    let seen = |(ports, segment)| Seen { ports, segment };
    Some(tcp::parse(ip.payload(packet), &pseudo).map(seen))
}

pub(super) fn is_arp(frame: &[u8]) -> bool {
    frame.get(12..14).is_some_and(|ethertype| ethertype == ETHERTYPE_ARP.to_be_bytes())
}

/// True when a station takes the frame as its own.
pub(super) fn is_for(frame: &[u8], end: usize) -> bool {
    frame.first_chunk::<6>().is_some_and(|target| *target == mac(end).0 || Mac(*target).is_group())
}

/// Total length of the IP packet in a frame, in bytes.
pub(super) fn ip_len(frame: &[u8]) -> usize {
    match frame.get(ETHERNET + 2..ETHERNET + 4) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    }
}

/// Sets "congestion experienced" if the sender said it would understand (RFC 3168 5).
pub(super) fn mark_congestion(frame: &mut [u8]) -> bool {
    let header = &mut frame[ETHERNET..ETHERNET + ipv4::HEADER_LEN];
    if header[1] & 3 == 0 {
        return false;
    }
    header[1] |= 3;
    header[10..12].fill(0);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    true
}

/// The network's answer to a packet of `from` that was too large (RFC 1191 4).
pub(super) fn fragmentation_needed(frame: &[u8], from: usize, mtu: u16) -> Option<Vec<u8>> {
    let quoted = frame.get(ETHERNET..)?;
    let mut message = [0; icmpv4::MAX_LEN];
    let len = icmpv4::emit_unreachable(&mut message, icmpv4::CODE_FRAGMENTATION_NEEDED, quoted);
    set_next_hop_mtu(&mut message[..len], mtu);
    Some(around(ROUTER, from, PROTOCOL_ICMP, &message[..len]))
}

/// An ICMP error that a stranger sends to an end about a segment that the end may have sent.
pub(super) fn forged_unreachable(to: usize, code: u8, ports: Ports, seq: SeqNum, mtu: u16) -> Vec<u8> {
    let mut quoted = vec![0; ipv4::HEADER_LEN + 8];
    ipv4::emit(&mut quoted, &Ipv4::outgoing(address(to), address(1 - to), PROTOCOL_TCP, 20));
    quoted[20..22].copy_from_slice(&ports.source.to_be_bytes());
    quoted[22..24].copy_from_slice(&ports.target.to_be_bytes());
    quoted[24..28].copy_from_slice(&seq.0.to_be_bytes());
    let mut message = [0; icmpv4::MAX_LEN];
    let len = icmpv4::emit_unreachable(&mut message, code, &quoted);
    set_next_hop_mtu(&mut message[..len], mtu);
    around(ROUTER, to, PROTOCOL_ICMP, &message[..len])
}

fn set_next_hop_mtu(message: &mut [u8], mtu: u16) {
    message[6..8].copy_from_slice(&mtu.to_be_bytes());
    message[2..4].fill(0);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// A segment to an end, in the name of `source`.
pub(super) fn forged(source: Ipv4Addr, to: usize, header: &Header, payload: &[u8]) -> Vec<u8> {
    let at = tcp::header_len(&header.options);
    let mut segment = vec![0; at + payload.len()];
    segment[at..].copy_from_slice(payload);
    let pseudo = PseudoHeader { source: source.into(), target: address(to).into(), protocol: PROTOCOL_TCP };
    tcp::emit(&mut segment, header, payload.len(), &pseudo);
    around(source, to, PROTOCOL_TCP, &segment)
}

fn around(source: Ipv4Addr, to: usize, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET + ipv4::HEADER_LEN];
    // What comes from the other end's address comes from its station too, so that answers go there.
    let station = if source == address(1 - to) { mac(1 - to) } else { ROUTER_MAC };
    ethernet::emit(&mut bytes, &Ethernet { target: mac(to), source: station, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 });
    ipv4::emit(&mut bytes[ETHERNET..], &Ipv4::outgoing(source, address(to), protocol, payload.len()));
    bytes.extend_from_slice(payload);
    bytes
}
