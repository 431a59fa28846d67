//! The messages of neighbour discovery, for Ethernet (RFC 4861).
//!
//! Called by the engine for ICMPv6 of these types; what follows from a message is decided in [`crate::link::nd`]. A message that fails one of
//! the RFC's validity checks is dropped here. Options that a message may not have, and unknown ones, are skipped. No function here panics.

use std::net::Ipv6Addr;

use super::checksum::PseudoHeader;
use super::ethernet::Mac;
use super::icmpv6::{
    self, HEADER_LEN, Icmp, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, REDIRECT, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
};
use super::ipv6::{Ipv6, ON_LINK_HOP_LIMIT, solicited_node};
use crate::device::Drop;
use crate::limits::ROUTER_PREFIXES;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nd<'a> {
    /// Who has this address?
    NeighborSolicitation(NeighborSolicitation),
    /// This station has it.
    NeighborAdvertisement(NeighborAdvertisement),
    /// Which routers are there?
    RouterSolicitation {
        /// Ethernet address of the asker, if it says so.
        source_mac: Option<Mac>,
    },
    /// A router tells of itself and the link.
    RouterAdvertisement(RouterAdvertisement),
    /// A router knows a better first hop.
    Redirect(Redirect<'a>),
}

/// A question for the Ethernet address of an IPv6 address (RFC 4861 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborSolicitation {
    /// The address that is asked for; never multicast.
    pub target: Ipv6Addr,
    /// Ethernet address of the asker. It must be there when the question is multicast, and is never there in duplicate address detection.
    pub source_mac: Option<Mac>,
}

/// What a station says of one of its addresses (RFC 4861 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// The address; never multicast.
    pub target: Ipv6Addr,
    /// The station is a router.
    pub router: bool,
    /// It is the answer to a question; never set when sent to a multicast address.
    pub solicited: bool,
    /// It replaces what is known.
    pub replace: bool,
    /// Ethernet address of the station; may be absent in the answer to a unicast question.
    pub target_mac: Option<Mac>,
}

/// What a router says (RFC 4861 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The hop limit to send with; 0 says nothing of it.
    pub hop_limit: u8,
    /// Addresses are to be had from DHCPv6.
    pub managed: bool,
    /// Other settings are.
    pub other: bool,
    /// How many seconds the router is a default router; 0 when it is none.
    pub lifetime_s: u16,
    /// How many milliseconds a neighbour counts as reachable; 0 says nothing of it.
    pub reachable_ms: u32,
    /// Milliseconds between two solicitations; 0 says nothing of it.
    pub retransmit_ms: u32,
    /// Ethernet address of the router.
    pub source_mac: Option<Mac>,
    /// MTU of the link.
    pub mtu: Option<u32>,
    /// Prefixes of the link, the first [`ROUTER_PREFIXES`] of them, from the begin.
    pub prefixes: [Option<Prefix>; ROUTER_PREFIXES],
}

/// A prefix of the link (RFC 4861 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The prefix; bits behind its length mean nothing.
    pub address: Ipv6Addr,
    /// Its length in bits, at most 128.
    pub len: u8,
    /// Its addresses are on the link.
    pub on_link: bool,
    /// Addresses may be made of it (RFC 4862 5.5.3).
    pub autonomous: bool,
    /// Seconds it is valid for; [`u32::MAX`] is forever.
    pub valid_s: u32,
    /// Seconds that addresses made of it are preferred for; [`u32::MAX`] is forever.
    pub preferred_s: u32,
}

/// A better first hop (RFC 4861 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// The better hop: a router's link-local address, or the destination itself.
    pub target: Ipv6Addr,
    /// What is to be sent there; never multicast.
    pub destination: Ipv6Addr,
    /// Ethernet address of the target.
    pub target_mac: Option<Mac>,
    /// As much of the packet that caused it as fits, from its IPv6 header on; empty when it is not told.
    pub packet: &'a [u8],
}

/// True for the types that are read here.
pub const fn is_nd(icmp_type: u8) -> bool {
    matches!(icmp_type, ROUTER_SOLICITATION..=REDIRECT)
}

/// Reads the message `bytes`, whose header [`icmpv6::parse`] has read and verified, in a packet with the header `ip`. `fragment` says that the
/// packet had a fragment header ([`super::extension::Walked::fragment_header`]).
///
/// # Errors
/// In this order: [`Drop::IcmpIgnored`] for another type, [`Drop::NdFragment`], [`Drop::NdForwarded`], [`Drop::NdMalformed`].
pub fn parse<'a>(icmp: &Icmp, bytes: &'a [u8], ip: &Ipv6, fragment: bool) -> Result<Nd<'a>, Drop> {
    if !is_nd(icmp.icmp_type) {
        return Err(Drop::IcmpIgnored);
    }
    //= rfc6980#5
    //# Nodes MUST silently ignore the following Neighbor Discovery and
    //# SEcure Neighbor Discovery messages if the packets carrying them
    //# include an IPv6 Fragmentation Header:
    if fragment {
        return Err(Drop::NdFragment);
    }
    //= rfc4861#7.1.1
    //# The IP Hop Limit field has a value of 255, i.e., the packet
    //# could not possibly have been forwarded by a router.
    if ip.hop_limit != ON_LINK_HOP_LIMIT {
        return Err(Drop::NdForwarded);
    }
    let valid = (icmp.code == 0).then_some(()).and_then(|()| {
        let body = bytes.get(HEADER_LEN..)?;
        match icmp.icmp_type {
            NEIGHBOR_SOLICITATION => neighbor_solicitation(body, ip),
            NEIGHBOR_ADVERTISEMENT => neighbor_advertisement(icmp, body, ip),
            ROUTER_SOLICITATION => router_solicitation(body, ip),
            ROUTER_ADVERTISEMENT => router_advertisement(icmp, body, ip),
            _ => redirect(body, ip),
        }
    });
    valid.ok_or(Drop::NdMalformed)
}

fn neighbor_solicitation<'a>(body: &'a [u8], ip: &Ipv6) -> Option<Nd<'a>> {
    let (target, rest) = address(body)?;
    let options = Options::read(rest)?;
    //= rfc4861#7.1.1
    //# If the IP source address is the unspecified address, the IP
    //# destination address is a solicited-node multicast address.
    //= rfc4861#7.1.1
    //# If the IP source address is the unspecified address, there is no
    //# source link-layer address option in the message.
    let probe = ip.source.is_unspecified();
    if target.is_multicast() || probe && (ip.target != solicited_node(ip.target) || options.source_mac.is_some()) {
        return None;
    }
    Some(Nd::NeighborSolicitation(NeighborSolicitation { target, source_mac: options.source_mac }))
}

fn neighbor_advertisement<'a>(icmp: &Icmp, body: &'a [u8], ip: &Ipv6) -> Option<Nd<'a>> {
    let (target, rest) = address(body)?;
    let options = Options::read(rest)?;
    let flag = |bit| icmp.rest[0] & bit != 0;
    //= rfc4861#7.1.2
    //# If the IP Destination Address is a multicast address the
    //# Solicited flag is zero.
    if target.is_multicast() || ip.target.is_multicast() && flag(SOLICITED) {
        return None;
    }
    Some(Nd::NeighborAdvertisement(NeighborAdvertisement {
        target,
        router: flag(ROUTER),
        solicited: flag(SOLICITED),
        replace: flag(OVERRIDE),
        target_mac: options.target_mac,
    }))
}

fn router_solicitation<'a>(body: &'a [u8], ip: &Ipv6) -> Option<Nd<'a>> {
    let Options { source_mac, .. } = Options::read(body)?;
    //= rfc4861#6.1.1
    //# If the IP source address is the unspecified address, there is no
    //# source link-layer address option in the message.
    (!(ip.source.is_unspecified() && source_mac.is_some())).then_some(Nd::RouterSolicitation { source_mac })
}

fn router_advertisement<'a>(icmp: &Icmp, body: &'a [u8], ip: &Ipv6) -> Option<Nd<'a>> {
    let (&[a0, a1, a2, a3, b0, b1, b2, b3], rest) = body.split_first_chunk::<8>()?;
    let options = Options::read(rest)?;
    //= rfc4861#6.1.2
    //# IP Source Address is a link-local address.
    if !ip.source.is_unicast_link_local() {
        return None;
    }
    let [hop_limit, flags, l0, l1] = icmp.rest;
    Some(Nd::RouterAdvertisement(RouterAdvertisement {
        hop_limit,
        managed: flags & MANAGED != 0,
        other: flags & OTHER != 0,
        lifetime_s: u16::from_be_bytes([l0, l1]),
        reachable_ms: u32::from_be_bytes([a0, a1, a2, a3]),
        retransmit_ms: u32::from_be_bytes([b0, b1, b2, b3]),
        source_mac: options.source_mac,
        mtu: options.mtu,
        prefixes: options.prefixes,
    }))
}

/// All checks but that the source is the first hop in use, which the caller knows.
fn redirect<'a>(body: &'a [u8], ip: &Ipv6) -> Option<Nd<'a>> {
    let (target, rest) = address(body)?;
    let (destination, rest) = address(rest)?;
    let options = Options::read(rest)?;
    //= rfc4861#8.1
    //# The ICMP Target Address is either a link-local address (when
    //# redirected to a router) or the same as the ICMP Destination
    //# Address (when redirected to the on-link destination).
    let sensible = target.is_unicast_link_local() || target == destination;
    if !ip.source.is_unicast_link_local() || destination.is_multicast() || !sensible {
        return None;
    }
    Some(Nd::Redirect(Redirect { target, destination, target_mac: options.target_mac, packet: options.packet }))
}

fn address(bytes: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    bytes.split_first_chunk::<16>().map(|(&octets, rest)| (octets.into(), rest))
}

/// The options of a message, of each kind that stands alone the first.
#[derive(Default)]
struct Options<'a> {
    source_mac: Option<Mac>,
    target_mac: Option<Mac>,
    mtu: Option<u32>,
    prefixes: [Option<Prefix>; ROUTER_PREFIXES],
    packet: &'a [u8],
}

impl<'a> Options<'a> {
    /// `None` when an option has no length, does not end within the message, or a known one has another length than it has on Ethernet.
    fn read(mut rest: &'a [u8]) -> Option<Self> {
        let mut options = Self::default();
        let mut prefixes = 0;
        while let Some(&kind) = rest.first() {
            //= rfc4861#4.6
            //# Nodes MUST silently discard an ND packet that contains
            //# an option with length zero.
            let len = rest.get(1).map(|&words| usize::from(words) * 8).filter(|&len| len > 0)?;
            let (option, behind) = rest.split_at_checked(len)?;
            rest = behind;
            match kind {
                SOURCE_MAC => options.source_mac = options.source_mac.or(Some(mac(option)?)),
                TARGET_MAC => options.target_mac = options.target_mac.or(Some(mac(option)?)),
                MTU => {
                    let &[_, _, _, _, m0, m1, m2, m3] = <&[u8; 8]>::try_from(option).ok()?;
                    options.mtu = options.mtu.or(Some(u32::from_be_bytes([m0, m1, m2, m3])));
                }
                PREFIX => {
                    let prefix = prefix(option)?;
                    if let Some(place) = options.prefixes.get_mut(prefixes) {
                        *place = Some(prefix);
                        prefixes += 1;
                    }
                }
                REDIRECTED => options.packet = option.get(8..)?,
                _ => {}
            }
        }
        Some(options)
    }
}

fn mac(option: &[u8]) -> Option<Mac> {
    let &[_, _, a, b, c, d, e, f] = <&[u8; 8]>::try_from(option).ok()?;
    Some(Mac([a, b, c, d, e, f]))
}

fn prefix(option: &[u8]) -> Option<Prefix> {
    let &[_, _, len, flags, v0, v1, v2, v3, p0, p1, p2, p3, _, _, _, _] = option.first_chunk::<16>()?;
    let octets = <[u8; 16]>::try_from(option.get(16..)?).ok()?;
    (len <= 128).then_some(Prefix {
        address: octets.into(),
        len,
        on_link: flags & ON_LINK != 0,
        autonomous: flags & AUTONOMOUS != 0,
        valid_s: u32::from_be_bytes([v0, v1, v2, v3]),
        preferred_s: u32::from_be_bytes([p0, p1, p2, p3]),
    })
}

/// Writes the message to the begin of `bytes`, builds its checksum, and returns its length; 0 when it does not fit, and then what was in
/// `bytes` is lost. Of the packet of a redirect whole words of 8 bytes are written.
pub fn emit(bytes: &mut [u8], message: &Nd<'_>, pseudo: &PseudoHeader) -> usize {
    let mut out = Writer { bytes, len: HEADER_LEN, fits: true };
    let (icmp_type, rest) = match message {
        Nd::NeighborSolicitation(message) => {
            out.put(&message.target.octets());
            out.mac(SOURCE_MAC, message.source_mac);
            (NEIGHBOR_SOLICITATION, [0; 4])
        }
        Nd::NeighborAdvertisement(message) => {
            out.put(&message.target.octets());
            out.mac(TARGET_MAC, message.target_mac);
            let flags = [(message.router, ROUTER), (message.solicited, SOLICITED), (message.replace, OVERRIDE)];
            (NEIGHBOR_ADVERTISEMENT, [bits(&flags), 0, 0, 0])
        }
        Nd::RouterSolicitation { source_mac } => {
            out.mac(SOURCE_MAC, *source_mac);
            (ROUTER_SOLICITATION, [0; 4])
        }
        Nd::RouterAdvertisement(message) => {
            out.put(&message.reachable_ms.to_be_bytes());
            out.put(&message.retransmit_ms.to_be_bytes());
            out.mac(SOURCE_MAC, message.source_mac);
            if let Some(mtu) = message.mtu {
                out.put(&[MTU, 1, 0, 0]);
                out.put(&mtu.to_be_bytes());
            }
            message.prefixes.iter().flatten().for_each(|prefix| out.prefix(prefix));
            let [l0, l1] = message.lifetime_s.to_be_bytes();
            (ROUTER_ADVERTISEMENT, [message.hop_limit, bits(&[(message.managed, MANAGED), (message.other, OTHER)]), l0, l1])
        }
        Nd::Redirect(message) => {
            out.put(&message.target.octets());
            out.put(&message.destination.octets());
            out.mac(TARGET_MAC, message.target_mac);
            let words = (message.packet.len() / 8).min(usize::from(u8::MAX) - 1);
            if words > 0 {
                out.put(&[REDIRECTED, words as u8 + 1, 0, 0, 0, 0, 0, 0]);
                out.put(message.packet.get(..words * 8).unwrap_or_default());
            }
            (REDIRECT, [0; 4])
        }
    };
    match out {
        Writer { bytes, len, fits: true } => {
            bytes.get_mut(..len).map_or(0, |message| icmpv6::emit(message, icmp_type, 0, rest, pseudo))
        }
        Writer { .. } => 0,
    }
}

/// What has been written of a message.
struct Writer<'a> {
    bytes: &'a mut [u8],
    len: usize,
    fits: bool,
}

impl Writer<'_> {
    fn put(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        match self.bytes.get_mut(self.len..end) {
            Some(place) => {
                place.copy_from_slice(part);
                self.len = end;
            }
            None => self.fits = false,
        }
    }

    fn mac(&mut self, kind: u8, mac: Option<Mac>) {
        if let Some(Mac(octets)) = mac {
            self.put(&[kind, 1]);
            self.put(&octets);
        }
    }

    fn prefix(&mut self, prefix: &Prefix) {
        self.put(&[PREFIX, 4, prefix.len, bits(&[(prefix.on_link, ON_LINK), (prefix.autonomous, AUTONOMOUS)])]);
        self.put(&prefix.valid_s.to_be_bytes());
        self.put(&prefix.preferred_s.to_be_bytes());
        self.put(&[0; 4]);
        self.put(&prefix.address.octets());
    }
}

/// The bits of the flags that are set.
fn bits(flags: &[(bool, u8)]) -> u8 {
    flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit)
}

/// Flags of a neighbour advertisement (RFC 4861 4.4).
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// Flags of a router advertisement (RFC 4861 4.2).
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
/// Flags of a prefix (RFC 4861 4.6.2).
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// Options (RFC 4861 4.6).
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
const PREFIX: u8 = 3;
const REDIRECTED: u8 = 4;
const MTU: u8 = 5;

#[cfg(test)]
mod tests;
