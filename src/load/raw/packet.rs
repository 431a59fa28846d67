//! The few header bytes that raw frames need: UDP over IPv4 over Ethernet without options or tags, and ARP.
//!
//! Fixed offsets, because a frame of any other shape is not raw's and stays unanswered. Pure; no function here panics on any bytes.

use std::net::Ipv4Addr;

use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Mac};

/// Ethernet, IPv4 and UDP header, in bytes.
pub(super) const HEADERS: usize = ETHERNET + IPV4 + UDP;
/// IPv4 and UDP header, in bytes: what the payload leaves of the MTU.
pub(super) const IPV4_UDP: usize = IPV4 + UDP;
/// An ARP packet behind its Ethernet header, in bytes.
pub(super) const ARP_FRAME: usize = ETHERNET + ARP;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const ARP: usize = 28;

const PROTOCOL_UDP: u8 = 17;
const TTL: u8 = 64;
/// Hardware Ethernet, protocol IPv4, their address lengths (RFC 826).
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) mac: Mac,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
}

/// Writes the headers around the payload that stands behind them already: `frame` is the whole frame, of at least [`HEADERS`] bytes;
/// false when it is shorter or longer than its length fields can say.
pub(super) fn write_headers(frame: &mut [u8], source: End, target: End) -> bool {
    let Some(udp_len) = frame.len().checked_sub(ETHERNET + IPV4) else { return false };
    let Ok(ip_len) = u16::try_from(udp_len + IPV4) else { return false };
    let Some((header, payload)) = frame.split_first_chunk_mut::<HEADERS>() else { return false };
    header[0..6].copy_from_slice(&target.mac.0);
    header[6..12].copy_from_slice(&source.mac.0);
    header[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
    // Version 4, five words, no DSCP; don't fragment, so the identification may be zero (RFC 6864 4.1).
    header[14..16].copy_from_slice(&[0x45, 0]);
    header[16..18].copy_from_slice(&ip_len.to_be_bytes());
    header[18..26].copy_from_slice(&[0, 0, 0x40, 0, TTL, PROTOCOL_UDP, 0, 0]);
    header[26..30].copy_from_slice(&source.address.octets());
    header[30..34].copy_from_slice(&target.address.octets());
    header[34..36].copy_from_slice(&source.port.to_be_bytes());
    header[36..38].copy_from_slice(&target.port.to_be_bytes());
    header[38..40].copy_from_slice(&(udp_len as u16).to_be_bytes());
    header[40..42].copy_from_slice(&[0, 0]);
    let ip = !fold(sum(&header[14..34]));
    header[24..26].copy_from_slice(&ip.to_be_bytes());
    // A computed zero is sent as all ones (RFC 768).
    let udp = match !fold(pseudo(header, udp_len) + sum(&header[34..42]) + sum(payload)) {
        0 => 0xffff,
        sum => sum,
    };
    header[40..42].copy_from_slice(&udp.to_be_bytes());
    true
}

/// What a client makes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received<'a> {
    /// A datagram from `source` to `target`, whose checksums are right, and its payload.
    Datagram { source: End, target: End, payload: &'a [u8] },
    /// UDP over IPv4 whose lengths or checksums are wrong.
    Broken,
    /// Something else.
    Other,
}

/// Reads a frame, every header byte that has but one right value included.
pub(super) fn read(frame: &[u8]) -> Received<'_> {
    let Some((header, rest)) = frame.split_first_chunk::<HEADERS>() else { return Received::Other };
    if header[12..14] != ETHERTYPE_IPV4.to_be_bytes() || header[14] != 0x45 || header[23] != PROTOCOL_UDP {
        return Received::Other;
    }
    let ip_len = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let udp_len = usize::from(u16::from_be_bytes([header[38], header[39]]));
    // The link may have padded the frame; the lengths must agree with each other.
    let Some(payload) = udp_len.checked_sub(UDP).and_then(|len| rest.get(..len)) else { return Received::Broken };
    let whole = ip_len == udp_len + IPV4 && header[20] & 0x3f == 0 && header[21] == 0;
    let ip_right = fold(sum(&header[14..34])) == 0xffff;
    let udp_right = header[40..42] == [0, 0] || fold(pseudo(header, udp_len) + sum(&header[34..42]) + sum(payload)) == 0xffff;
    if !(whole && ip_right && udp_right) {
        return Received::Broken;
    }
    let end = |mac: usize, address: usize, port: usize| End {
        mac: mac_at(header, mac),
        address: address_at(header, address),
        port: u16::from_be_bytes([header[port], header[port + 1]]),
    };
    Received::Datagram { source: end(6, 26, 34), target: end(0, 30, 36), payload }
}

/// Turns a UDP datagram to `address` round where it lies: addresses and ports swapped, which leaves all checksums as they are. False,
/// and nothing changed, when the frame is not one: another address, a fragment, header options, a group's Ethernet address.
pub(super) fn turn_round(frame: &mut [u8], address: Ipv4Addr) -> bool {
    let Some(header) = frame.first_chunk_mut::<HEADERS>() else { return false };
    let ours = header[0] & 1 == 0
        && header[12..15] == [0x08, 0x00, 0x45]
        && header[20] & 0x3f == 0
        && header[21] == 0
        && header[23] == PROTOCOL_UDP
        && header[30..34] == address.octets();
    if ours {
        swap::<6>(header, 0);
        swap::<4>(header, 26);
        swap::<2>(header, 34);
    }
    ours
}

/// Exchanges the `N` bytes at `at` with the `N` behind them.
fn swap<const N: usize>(header: &mut [u8; HEADERS], at: usize) {
    let mut first = [0; N];
    first.copy_from_slice(&header[at..at + N]);
    header.copy_within(at + N..at + 2 * N, at);
    header[at + N..at + 2 * N].copy_from_slice(&first);
}

/// Makes an ARP request for `address` into the reply, where it lies; false, and nothing changed, when it is not one (RFC 826).
pub(super) fn answer_arp(frame: &mut [u8], mac: Mac, address: Ipv4Addr) -> bool {
    let Some(frame) = frame.first_chunk_mut::<ARP_FRAME>() else { return false };
    if !is_arp(frame, ARP_REQUEST) || address_at(frame, 38) != address {
        return false;
    }
    let (asker_mac, asker) = (mac_at(frame, 22), address_at(frame, 28));
    write_arp(frame, ARP_REPLY, (mac, address), (asker_mac, asker));
    true
}

/// Writes an ARP request for `target` from `source`.
pub(super) fn write_arp_request(frame: &mut [u8; ARP_FRAME], mac: Mac, source: Ipv4Addr, target: Ipv4Addr) {
    write_arp(frame, ARP_REQUEST, (mac, source), (Mac::default(), target));
    frame[0..6].copy_from_slice(&Mac::BROADCAST.0);
}

/// The Ethernet address that an ARP reply gives for `address`.
pub(super) fn arp_reply_of(frame: &[u8], address: Ipv4Addr) -> Option<Mac> {
    let frame = frame.first_chunk::<ARP_FRAME>()?;
    let sender = mac_at(frame, 22);
    (is_arp(frame, ARP_REPLY) && address_at(frame, 28) == address && !sender.is_group()).then_some(sender)
}

fn write_arp(frame: &mut [u8; ARP_FRAME], operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) {
    frame[0..6].copy_from_slice(&target.0.0);
    frame[6..12].copy_from_slice(&sender.0.0);
    frame[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
    frame[14..20].copy_from_slice(&ARP_ETHERNET_IPV4);
    frame[20..22].copy_from_slice(&operation.to_be_bytes());
    frame[22..28].copy_from_slice(&sender.0.0);
    frame[28..32].copy_from_slice(&sender.1.octets());
    frame[32..38].copy_from_slice(&target.0.0);
    frame[38..42].copy_from_slice(&target.1.octets());
}

fn is_arp(frame: &[u8; ARP_FRAME], operation: u16) -> bool {
    frame[12..14] == ETHERTYPE_ARP.to_be_bytes() && frame[14..20] == ARP_ETHERNET_IPV4 && frame[20..22] == operation.to_be_bytes()
}

const fn mac_at(bytes: &[u8; HEADERS], at: usize) -> Mac {
    Mac([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4], bytes[at + 5]])
}

const fn address_at(bytes: &[u8; HEADERS], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

// Both shapes of frame are read at fixed offsets of an array of the same length.
const _: () = assert!(ARP_FRAME == HEADERS);

/// The pseudo-header's part of the UDP sum: both addresses, the protocol, the length.
fn pseudo(header: &[u8; HEADERS], udp_len: usize) -> u64 {
    sum(&header[26..34]) + u64::from(PROTOCOL_UDP) + udp_len as u64
}

/// The sum of the 16-bit words, not folded; an odd byte at the end counts as the upper half of a word (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let tail = words.remainder();
    let whole: u64 = words.map(|word| u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))).sum();
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    whole + u64::from(u32::from_be_bytes(last))
}

const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
