//! Whether a frame is for us, and what it carries: the checks between the ring and the transports.
//!
//! Called by the engine for every received frame. Pure: a frame that is not for us, or lies, is a [`Drop`] reason.

use std::net::IpAddr;
use std::ops::Range;

use super::interface::Interface;
use super::route;
use crate::demux::Address;
use crate::device::Drop;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet};
use crate::wire::extension::{self, Refused};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6, NEXT_HEADER_ICMPV6, NEXT_HEADER_TCP, NEXT_HEADER_UDP};

/// What a frame of IP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// An IP packet to an address of ours, or to many.
    Ip(Packet),
    /// A part of such a packet; its payload is that of IP, for IPv6 with the extension headers.
    Fragment(Packet),
    /// An IPv6 packet to us whose extension headers are refused; its payload begins with them.
    Refused(Packet, Refused),
}

/// An IP packet in its frame, its headers checked: what the transports need of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The Ethernet header.
    pub ethernet: Ethernet,
    /// Offset of the IP header in the frame, in bytes.
    pub ip_at: usize,
    /// Source address.
    pub source: Address,
    /// Destination address; of the family of the source.
    pub target: Address,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// DSCP in the upper six bits, ECN in the lower two.
    pub dscp_ecn: u8,
    /// TTL, or hop limit.
    pub hop_limit: u8,
    /// Offset of the payload in the frame, in bytes.
    pub payload_at: usize,
    /// Where the packet ends in the frame; the link may have padded it.
    pub end: usize,
    /// The IP header has no options, and no extension headers follow: an answer can go back under it, turned around.
    pub plain: bool,
    /// It came whole, and yet with an IPv6 fragment header (RFC 6946).
    pub atomic: bool,
    /// Sent to a broadcast or multicast address, of the link or of IP.
    pub to_many: bool,
}

impl Packet {
    /// A packet with an IPv4 header directly behind that of the link.
    #[inline]
    pub(super) fn ipv4(ethernet: Ethernet, ip: &Ipv4, to_many: bool) -> Self {
        let ip_at = ethernet.header_len();
        Self {
            ethernet,
            ip_at,
            source: ip.source.into(),
            target: ip.target.into(),
            protocol: ip.protocol,
            dscp_ecn: ip.dscp_ecn,
            hop_limit: ip.ttl,
            payload_at: ip_at + ip.header_len,
            end: ip_at + ip.total_len,
            plain: !ip.has_options(),
            atomic: false,
            to_many,
        }
    }

    /// A packet with an IPv6 header directly behind that of the link, and what that announces directly behind it.
    #[inline]
    pub(super) fn ipv6(ethernet: Ethernet, ip: &Ipv6, to_many: bool) -> Self {
        let ip_at = ethernet.header_len();
        let payload_at = ip_at + ipv6::HEADER_LEN;
        Self {
            ethernet,
            ip_at,
            source: ip.source.into(),
            target: ip.target.into(),
            protocol: ip.next_header,
            dscp_ecn: ip.dscp_ecn,
            hop_limit: ip.hop_limit,
            payload_at,
            end: payload_at + ip.payload_len,
            plain: true,
            atomic: false,
            to_many,
        }
    }

    /// True over IPv4.
    pub const fn is_ipv4(&self) -> bool {
        self.target.v4().is_some()
    }

    /// Where the IP payload lies in the frame.
    pub const fn payload(&self) -> Range<usize> {
        self.payload_at..self.end
    }

    /// Where the whole packet lies in the frame.
    pub const fn whole(&self) -> Range<usize> {
        self.ip_at..self.end
    }
}

/// Checks the Ethernet header of a frame received on an interface; its EtherType says what comes next.
///
/// # Errors
/// The first check that failed.
#[inline]
pub fn accept_ethernet(interface: &Interface, bytes: &[u8]) -> Result<Ethernet, Drop> {
    let header = ethernet::parse(bytes)?;
    check_ethernet(interface, &header)?;
    Ok(header)
}

/// Checks an Ethernet header for an interface; the tags last.
///
/// # Errors
/// The first check that failed.
#[inline(always)]
pub fn check_ethernet(interface: &Interface, header: &Ethernet) -> Result<(), Drop> {
    if header.target != interface.mac && !header.target.is_group() {
        return Err(Drop::EthernetNotOurs);
    }
    if header.source.is_group() {
        return Err(Drop::EthernetSourceGroup);
    }
    if header.vlan != interface.vlan {
        return Err(Drop::VlanUnclaimed);
    }
    Ok(())
}

/// Checks a frame of IP of either family, off the path of those that a ring has brought.
///
/// # Errors
/// The first check that failed.
#[cold]
#[inline(never)]
pub fn accept_ip(interface: &Interface, ethernet: Ethernet, bytes: &[u8]) -> Result<Accepted, Drop> {
    match ethernet.ethertype {
        ETHERTYPE_IPV4 => accept_ipv4(interface, ethernet, bytes),
        ETHERTYPE_IPV6 => accept_ipv6(interface, ethernet, bytes),
        _ => Err(Drop::EtherTypeUnknown),
    }
}

/// Checks a frame of [`ethernet::ETHERTYPE_IPV4`].
///
/// # Errors
/// The first check that failed.
#[inline(always)]
pub fn accept_ipv4(interface: &Interface, ethernet: Ethernet, bytes: &[u8]) -> Result<Accepted, Drop> {
    let ip_at = ethernet.header_len();
    let ip = ipv4::parse(bytes.get(ip_at..).ok_or(Drop::Ipv4Truncated)?)?;
    let target = IpAddr::V4(ip.target);
    let ours = interface.owns(target);
    let to_many = ethernet.target.is_group() || (!ours && route::is_many(interface, target));
    if !ours && !to_many {
        return Err(Drop::Ipv4NotOurs);
    }
    //= rfc9293#3.9.2.3
    //# An incoming SYN with an invalid source address MUST be ignored either by TCP or by the IP layer [(MUST-63)]
    route::check_source(interface, IpAddr::V4(ip.source))?;
    let packet = Packet::ipv4(ethernet, &ip, to_many);
    Ok(if ip.is_fragment() { Accepted::Fragment(packet) } else { Accepted::Ip(packet) })
}

/// Checks a frame of [`ethernet::ETHERTYPE_IPV6`].
///
/// # Errors
/// The first check that failed.
#[inline]
pub fn accept_ipv6(interface: &Interface, ethernet: Ethernet, bytes: &[u8]) -> Result<Accepted, Drop> {
    let bytes = bytes.get(ethernet.header_len()..).ok_or(Drop::Ipv6Truncated)?;
    let ip = ipv6::parse(bytes)?;
    let group = ip.target.is_multicast();
    let heard = match group {
        true => route::listens(interface, ip.target) || interface.groups.hears(IpAddr::V6(ip.target)),
        false => interface.owns(IpAddr::V6(ip.target)),
    };
    if !heard {
        return Err(Drop::Ipv6NotOurs);
    }
    let packet = Packet::ipv6(ethernet, &ip, group || ethernet.target.is_group());
    // Who looks for an address has none yet, and who has one of ours says so from it (RFC 4862 5.4): neighbour discovery tells what either means,
    // and nothing else takes such a source.
    let discovery = ip.next_header == NEXT_HEADER_ICMPV6 && ip.hop_limit == ipv6::ON_LINK_HOP_LIMIT;
    if !(discovery && (ip.source.is_unspecified() || interface.owns(IpAddr::V6(ip.source)))) {
        route::check_source(interface, IpAddr::V6(ip.source))?;
    }
    if matches!(ip.next_header, NEXT_HEADER_TCP | NEXT_HEADER_UDP | NEXT_HEADER_ICMPV6) {
        return Ok(Accepted::Ip(packet));
    }
    let walked = match extension::walk(ip.next_header, ip.payload(bytes)) {
        Ok(walked) => walked,
        Err(refused) => return Ok(Accepted::Refused(packet, refused)),
    };
    if walked.fragment.is_some() {
        return Ok(Accepted::Fragment(packet));
    }
    let payload_at = packet.payload_at + walked.at;
    let (plain, atomic) = (!walked.extended, walked.fragment_header);
    Ok(Accepted::Ip(Packet { protocol: walked.protocol, payload_at, plain, atomic, ..packet }))
}

/// What a packet put together from fragments carries; it begins with its IP header.
///
/// # Errors
/// An IPv6 packet in which there is a further fragment header, or that cannot be read.
#[cold]
pub fn accept_whole(packet: Packet, bytes: &[u8]) -> Result<Accepted, Drop> {
    if packet.is_ipv4() {
        return Ok(Accepted::Ip(packet));
    }
    let ip = ipv6::parse(bytes)?;
    let walked = match extension::walk(ip.next_header, ip.payload(bytes)) {
        Ok(walked) if walked.fragment_header => return Err(Drop::Ipv6ExtensionMisplaced),
        Ok(walked) => walked,
        Err(refused) => return Ok(Accepted::Refused(packet, refused)),
    };
    Ok(Accepted::Ip(Packet { protocol: walked.protocol, payload_at: ipv6::HEADER_LEN + walked.at, ..packet }))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::link::groups::Groups;
    use crate::link::interface::Claim;
    use crate::link::routes::Routes;
    use crate::wire::ethernet::{ETHERTYPE_IPV4, Mac};
    use crate::wire::vlan::Vlan;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn interface() -> Interface {
        let claim = Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap()]);
        Interface {
            name: "test".into(),
            mac: OURS,
            mtu: 1500,
            vlan: Vlan::NONE,
            claim,
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        }
    }

    fn accept(interface: &Interface, bytes: &[u8]) -> Result<Accepted, Drop> {
        accept_ipv4(interface, accept_ethernet(interface, bytes)?, bytes)
    }

    /// A frame with a UDP packet of 8 bytes, changed by `change`.
    fn frame(change: impl FnOnce(&mut Ethernet, &mut Ipv4)) -> Vec<u8> {
        let mut ethernet = Ethernet { target: OURS, source: PEER, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
        let mut ip = Ipv4::outgoing(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), ipv4::PROTOCOL_UDP, 8);
        change(&mut ethernet, &mut ip);
        let mut bytes = vec![0; ethernet.header_len() + ip.total_len];
        let at = ethernet::emit(&mut bytes, &ethernet);
        ipv4::emit(&mut bytes[at..], &ip);
        bytes
    }

    #[test]
    fn a_packet_to_us_is_accepted_with_its_place() {
        let bytes = frame(|_, _| {});
        let Ok(Accepted::Ip(packet)) = accept(&interface(), &bytes) else { panic!("refused") };
        assert_eq!((packet.ip_at, packet.payload(), packet.to_many), (14, 34..42, false));
    }

    #[test]
    fn broadcasts_of_link_and_network_are_to_many() {
        for bytes in [
            frame(|ethernet, _| ethernet.target = Mac::BROADCAST),
            frame(|ethernet, ip| {
                ethernet.target = Mac::BROADCAST;
                ip.target = Ipv4Addr::new(10, 0, 0, 255);
            }),
            frame(|_, ip| ip.target = Ipv4Addr::new(224, 0, 0, 1)),
        ] {
            assert!(matches!(accept(&interface(), &bytes), Ok(Accepted::Ip(Packet { to_many: true, .. }))));
        }
    }

    #[test]
    fn first_middle_and_last_fragments_are_told_from_whole_packets() {
        let cases: [fn(&mut Ipv4); 3] = [
            |ip| ip.more_fragments = true,
            |ip| (ip.more_fragments, ip.fragment_offset) = (true, 8),
            |ip| ip.fragment_offset = 8,
        ];
        for change in cases {
            assert!(matches!(accept(&interface(), &frame(|_, ip| change(ip))), Ok(Accepted::Fragment(_))));
        }
    }

    //= type=test
    //= rfc9293#3.9.2.3
    //# An incoming SYN with an invalid source address MUST be ignored either by TCP or by the IP layer [(MUST-63)]
    #[test]
    fn each_check_has_its_own_reason() {
        let cases = [
            (frame(|ethernet, _| ethernet.target = Mac([2, 9, 9, 9, 9, 9])), Drop::EthernetNotOurs),
            (frame(|ethernet, _| ethernet.source = Mac([3, 0, 0, 0, 0, 1])), Drop::EthernetSourceGroup),
            (frame(|ethernet, _| ethernet.vlan = Vlan::tagged(crate::wire::vlan::Tag::c(7))), Drop::VlanUnclaimed),
            (frame(|_, ip| ip.target = Ipv4Addr::new(10, 0, 0, 3)), Drop::Ipv4NotOurs),
            (frame(|_, ip| ip.source = Ipv4Addr::new(10, 0, 0, 255)), Drop::Ipv4SourceInvalid),
            (frame(|_, ip| ip.source = Ipv4Addr::new(10, 0, 0, 2)), Drop::Ipv4SourceInvalid),
            (frame(|_, _| {})[..20].to_vec(), Drop::Ipv4Truncated),
            (frame(|_, _| {})[..10].to_vec(), Drop::EthernetTruncated),
        ];
        for (bytes, why) in cases {
            assert_eq!(accept(&interface(), &bytes), Err(why));
        }
    }
}
