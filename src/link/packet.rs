//! Whether a frame is for us, and what it carries: the checks between the ring and the transports.
//!
//! Called by the engine for every received frame. Pure: a frame that is not for us, or lies, is a [`Drop`] reason.

use std::net::IpAddr;
use std::ops::Range;

use super::interface::Interface;
use super::route;
use crate::device::Drop;
use crate::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, Ethernet};
use crate::wire::ipv4::{self, Ipv4};

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// An ARP packet behind this header.
    Arp(Ethernet),
    /// An IPv4 packet to an address of ours, or to many.
    Ipv4(Packet),
}

/// An IPv4 packet in its frame, its headers checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The Ethernet header.
    pub ethernet: Ethernet,
    /// The IP header.
    pub ip: Ipv4,
    /// Offset of the IP header in the frame, in bytes.
    pub ip_at: usize,
    /// Sent to a broadcast or multicast address, of the link or of IP.
    pub to_many: bool,
}

impl Packet {
    /// Where the IP payload lies in the frame.
    pub const fn payload(&self) -> Range<usize> {
        self.ip_at + self.ip.header_len..self.ip_at + self.ip.total_len
    }
}

/// Checks a frame received on an interface.
///
/// # Errors
/// The first check that failed.
#[inline]
pub fn accept(interface: &Interface, bytes: &[u8]) -> Result<Accepted, Drop> {
    let header = ethernet::parse(bytes)?;
    if header.target != interface.mac && !header.target.is_group() {
        return Err(Drop::EthernetNotOurs);
    }
    if header.source.is_group() {
        return Err(Drop::EthernetSourceGroup);
    }
    if header.vlan != interface.vlan {
        return Err(Drop::VlanUnclaimed);
    }
    match header.ethertype {
        ETHERTYPE_IPV4 => accept_ipv4(interface, header, bytes).map(Accepted::Ipv4),
        ETHERTYPE_ARP => Ok(Accepted::Arp(header)),
        _ => Err(Drop::EtherTypeUnknown),
    }
}

#[inline]
fn accept_ipv4(interface: &Interface, ethernet: Ethernet, bytes: &[u8]) -> Result<Packet, Drop> {
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
    if ip.is_fragment() {
        return Err(Drop::Ipv4Fragment);
    }
    Ok(Packet { ethernet, ip, ip_at, to_many })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::link::interface::Claim;
    use crate::wire::ethernet::Mac;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn interface() -> Interface {
        let claim = Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap()]);
        Interface { name: "test".into(), mac: OURS, mtu: 1500, vlan: None, claim, gateway: None }
    }

    /// A frame with a UDP packet of 8 bytes, changed by `change`.
    fn frame(change: impl FnOnce(&mut Ethernet, &mut Ipv4)) -> Vec<u8> {
        let mut ethernet = Ethernet { target: OURS, source: PEER, vlan: None, ethertype: ETHERTYPE_IPV4 };
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
        let Ok(Accepted::Ipv4(packet)) = accept(&interface(), &bytes) else { panic!("refused") };
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
            assert!(matches!(accept(&interface(), &bytes), Ok(Accepted::Ipv4(Packet { to_many: true, .. }))));
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
            (frame(|ethernet, _| ethernet.vlan = Some(7)), Drop::VlanUnclaimed),
            (frame(|ethernet, _| ethernet.ethertype = 0x86dd), Drop::EtherTypeUnknown),
            (frame(|_, ip| ip.target = Ipv4Addr::new(10, 0, 0, 3)), Drop::Ipv4NotOurs),
            (frame(|_, ip| ip.source = Ipv4Addr::new(10, 0, 0, 255)), Drop::Ipv4SourceInvalid),
            (frame(|_, ip| ip.source = Ipv4Addr::new(10, 0, 0, 2)), Drop::Ipv4SourceInvalid),
            (frame(|_, ip| ip.more_fragments = true), Drop::Ipv4Fragment),
            (frame(|_, _| {})[..20].to_vec(), Drop::Ipv4Truncated),
            (frame(|_, _| {})[..10].to_vec(), Drop::EthernetTruncated),
        ];
        for (bytes, why) in cases {
            assert_eq!(accept(&interface(), &bytes), Err(why));
        }
    }
}
