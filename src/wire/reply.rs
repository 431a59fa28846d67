//! Replies made of the very frame that asked: the way of UDP's fast path and of ping.
//!
//! Called by the engine when a service left the payload as it came. Swapping addresses and ports leaves every sum as it was, so that a
//! reply costs a few words and no pass over the payload. The frames must have been parsed and verified before; if one was not, an error
//! comes back and the frame is unchanged, never a panic.

use zerocopy::FromBytes;

use super::checksum::patch;
use super::ipv4::{DEFAULT_TTL, PROTOCOL_ICMP, PROTOCOL_UDP, Raw};
use super::ipv6::{self, DEFAULT_HOP_LIMIT, NEXT_HEADER_ICMPV6, NEXT_HEADER_UDP};
use super::{icmpv4, icmpv6, udp};
use crate::device::Drop;

/// Makes a received Ethernet, IPv4 and UDP frame its own answer; `ip_offset` is the length of the Ethernet header. The payload and its
/// length stay as they came, and so does the UDP checksum, 0 included. The time to live is set anew, DSCP is kept, ECN is cleared: what a
/// router marked on the way here says nothing of the way back (RFC 3168 6.1).
///
/// # Errors
/// [`Drop::Ipv4Truncated`] or [`Drop::UdpTruncated`] when the headers are not there, [`Drop::Ipv4HeaderMalformed`] when the header has
/// options (build the answer anew), [`Drop::Ipv4Fragment`] for a fragment, [`Drop::ProtocolUnknown`] when it is not UDP. The frame is
/// unchanged then.
#[inline]
pub fn swap_udp_ipv4(frame: &mut [u8], ip_offset: usize) -> Result<(), Drop> {
    let (macs, ip, payload) = split(frame, ip_offset, PROTOCOL_UDP)?;
    let (udp, _) = udp::Raw::mut_from_prefix(payload).map_err(|_| Drop::UdpTruncated)?;
    std::mem::swap(&mut udp.source_port, &mut udp.target_port);
    turn_around(macs, ip);
    Ok(())
}

/// Makes a received ICMP echo request its own reply (RFC 792; RFC 1122 3.2.2.6), with the same care and errors as [`swap_udp_ipv4`].
///
/// # Errors
/// As there, with [`Drop::IcmpTruncated`] for a message without a header and [`Drop::IcmpIgnored`] for one that is not an echo request.
pub fn swap_echo_ipv4(frame: &mut [u8], ip_offset: usize) -> Result<(), Drop> {
    let (macs, ip, payload) = split(frame, ip_offset, PROTOCOL_ICMP)?;
    if payload.len() < icmpv4::HEADER_LEN {
        return Err(Drop::IcmpTruncated);
    }
    if payload.first() != Some(&icmpv4::ECHO_REQUEST) {
        return Err(Drop::IcmpIgnored);
    }
    icmpv4::echo_reply_in_place(payload);
    turn_around(macs, ip);
    Ok(())
}

/// Makes a received Ethernet, IPv6 and UDP frame its own answer, as [`swap_udp_ipv4`] does. The hop limit is set anew, DSCP is kept, ECN is
/// cleared. The flow label is kept: the asker chose it for this flow and keeps to it, so it is as good a label for the way back, at no cost,
/// while one of our own would take a keyed hash for every packet.
///
/// # Errors
/// [`Drop::Ipv6Truncated`] or [`Drop::UdpTruncated`] when the headers are not there, [`Drop::Ipv6HeaderMalformed`] when the version is not 6,
/// [`Drop::ProtocolUnknown`] when UDP is not what the IPv6 header names: behind extension headers the answer is to be built anew. The frame
/// is unchanged then.
#[inline]
pub fn swap_udp_ipv6(frame: &mut [u8], ip_offset: usize) -> Result<(), Drop> {
    let (macs, ip, payload) = split_ipv6(frame, ip_offset, NEXT_HEADER_UDP)?;
    let (udp, _) = udp::Raw::mut_from_prefix(payload).map_err(|_| Drop::UdpTruncated)?;
    std::mem::swap(&mut udp.source_port, &mut udp.target_port);
    turn_around_ipv6(macs, ip);
    Ok(())
}

/// Makes a received ICMPv6 echo request its own reply (RFC 4443 4.2), with the same care and errors as [`swap_udp_ipv6`]. One that went to a
/// multicast address has to be answered from another, and anew.
///
/// # Errors
/// As there, with [`Drop::IcmpTruncated`] for a message without a header and [`Drop::IcmpIgnored`] for one that is not an echo request, or
/// went to a multicast address.
pub fn swap_echo_ipv6(frame: &mut [u8], ip_offset: usize) -> Result<(), Drop> {
    let (macs, ip, payload) = split_ipv6(frame, ip_offset, NEXT_HEADER_ICMPV6)?;
    if payload.len() < icmpv6::HEADER_LEN {
        return Err(Drop::IcmpTruncated);
    }
    if payload.first() != Some(&icmpv6::ECHO_REQUEST) || ip.target[0] == 0xff {
        return Err(Drop::IcmpIgnored);
    }
    icmpv6::echo_reply_in_place(payload);
    turn_around_ipv6(macs, ip);
    Ok(())
}

/// The two Ethernet addresses, the IPv4 header without options, and what lies behind it.
type Parts<'a> = (&'a mut [u8; 12], &'a mut Raw, &'a mut [u8]);

#[inline]
fn split(frame: &mut [u8], ip_offset: usize, protocol: u8) -> Result<Parts<'_>, Drop> {
    let (ethernet, packet) = frame.split_at_mut_checked(ip_offset).ok_or(Drop::Ipv4Truncated)?;
    let macs = ethernet.first_chunk_mut::<12>().ok_or(Drop::EthernetTruncated)?;
    let (ip, payload) = Raw::mut_from_prefix(packet).map_err(|_| Drop::Ipv4Truncated)?;
    if ip.version_ihl != 0x45 {
        return Err(Drop::Ipv4HeaderMalformed);
    }
    if ip.fragment.get() & Raw::FRAGMENT != 0 {
        return Err(Drop::Ipv4Fragment);
    }
    if ip.protocol != protocol {
        return Err(Drop::ProtocolUnknown);
    }
    Ok((macs, ip, payload))
}

/// Sends the frame back where it came from.
#[inline]
fn turn_around(macs: &mut [u8; 12], ip: &mut Raw) {
    let (target, source) = macs.split_at_mut(6);
    target.swap_with_slice(source);
    std::mem::swap(&mut ip.source, &mut ip.target);

    // The three words that change: version and DSCP, the fragment word (its reserved bit is not echoed; the identification is: the
    // sender of the request keeps its own apart, so they stay apart on the way back, RFC 6864 4.3), and the time to live.
    let mut checksum = ip.checksum.get();
    let mut change = |old: [u8; 2], new: [u8; 2]| checksum = patch(checksum, u16::from_be_bytes(old), u16::from_be_bytes(new));
    let dscp = ip.dscp_ecn & !0b11;
    change([ip.version_ihl, ip.dscp_ecn], [ip.version_ihl, dscp]);
    ip.dscp_ecn = dscp;
    let fragment = ip.fragment.get() & Raw::DONT_FRAGMENT;
    change(ip.fragment.get().to_be_bytes(), fragment.to_be_bytes());
    ip.fragment = fragment.into();
    change([ip.ttl, ip.protocol], [DEFAULT_TTL, ip.protocol]);
    ip.ttl = DEFAULT_TTL;
    ip.checksum = checksum.into();
}

/// The two Ethernet addresses, the IPv6 header, and what lies behind it.
type PartsIpv6<'a> = (&'a mut [u8; 12], &'a mut ipv6::Raw, &'a mut [u8]);

#[inline]
fn split_ipv6(frame: &mut [u8], ip_offset: usize, protocol: u8) -> Result<PartsIpv6<'_>, Drop> {
    let (ethernet, packet) = frame.split_at_mut_checked(ip_offset).ok_or(Drop::Ipv6Truncated)?;
    let macs = ethernet.first_chunk_mut::<12>().ok_or(Drop::EthernetTruncated)?;
    let (ip, payload) = ipv6::Raw::mut_from_prefix(packet).map_err(|_| Drop::Ipv6Truncated)?;
    if ipv6::Raw::version(ip.version_class_label.get()) != 6 {
        return Err(Drop::Ipv6HeaderMalformed);
    }
    if ip.next_header != protocol {
        return Err(Drop::ProtocolUnknown);
    }
    Ok((macs, ip, payload))
}

/// Sends the frame back where it came from; there is no checksum in this header.
#[inline]
fn turn_around_ipv6(macs: &mut [u8; 12], ip: &mut ipv6::Raw) {
    let (target, source) = macs.split_at_mut(6);
    target.swap_with_slice(source);
    std::mem::swap(&mut ip.source, &mut ip.target);
    ip.version_class_label = (ip.version_class_label.get() & !ipv6::Raw::ECN).into();
    ip.hop_limit = DEFAULT_HOP_LIMIT;
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::wire::checksum::PseudoHeader;
    use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Mac};
    use crate::wire::ipv4::{self, Ipv4};
    use crate::wire::ipv6::Ipv6;
    use crate::wire::vlan::{Tag, Vlan};

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OURS_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    const PEER_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

    /// Any stack of tags.
    fn vlans() -> impl Strategy<Value = Vlan> {
        let tag = || (any::<bool>(), 0u16..4096).prop_map(|(service, id)| if service { Tag::s(id) } else { Tag::c(id) });
        prop_oneof![
            Just(Vlan::NONE),
            tag().prop_map(Vlan::tagged),
            (tag(), tag()).prop_map(|(outer, inner)| Vlan::stacked(outer, inner))
        ]
    }

    fn request(vlan: Vlan, ip: Ipv4, payload: &[u8]) -> (Vec<u8>, usize) {
        let link = Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan, ethertype: ETHERTYPE_IPV4 };
        let mut frame = vec![0; 42];
        let at = ethernet::emit(&mut frame, &link);
        frame.truncate(at + ipv4::HEADER_LEN);
        ipv4::emit(&mut frame[at..], &ip);
        frame.extend(payload);
        (frame, at)
    }

    fn request_ipv6(vlan: Vlan, ip: Ipv6, payload: &[u8]) -> (Vec<u8>, usize) {
        let link = Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan, ethertype: ETHERTYPE_IPV6 };
        let mut frame = vec![0; 62];
        let at = ethernet::emit(&mut frame, &link);
        frame.truncate(at + ipv6::HEADER_LEN);
        ipv6::emit(&mut frame[at..], &ip);
        frame.extend(payload);
        (frame, at)
    }

    fn ping_ipv6(payload: &[u8]) -> Vec<u8> {
        let mut message = [&[0; 8], payload].concat();
        let pseudo = PseudoHeader { source: PEER_6.into(), target: OURS_6.into(), protocol: NEXT_HEADER_ICMPV6 };
        icmpv6::emit(&mut message, icmpv6::ECHO_REQUEST, 0, [1, 2, 0, 3], &pseudo);
        message
    }

    fn ping(payload: &[u8]) -> Vec<u8> {
        let mut message = [&[icmpv4::ECHO_REQUEST, 0, 0, 0, 1, 2, 0, 3][..], payload].concat();
        let sum = crate::wire::checksum::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let mut bytes = [&[0; 8][..], payload].concat();
        let pseudo = PseudoHeader { source: PEER.into(), target: OURS.into(), protocol: PROTOCOL_UDP };
        udp::emit(&mut bytes, 4000, 7, &pseudo);
        bytes
    }

    proptest! {
        #[test]
        fn a_datagram_comes_back_as_if_built_anew(
            payload in proptest::collection::vec(any::<u8>(), 0..60), vlan in vlans(), ttl in any::<u8>(),
            dscp_ecn in any::<u8>(), identification in any::<u16>(), dont_fragment in any::<bool>(), summed in any::<bool>(),
        ) {
            let mut udp = datagram(&payload);
            if !summed {
                udp[6..8].fill(0);
            }
            let ip = Ipv4 { ttl, dscp_ecn, identification, dont_fragment, ..Ipv4::outgoing(PEER, OURS, PROTOCOL_UDP, udp.len()) };
            let (mut frame, at) = request(vlan, ip, &udp);
            prop_assert_eq!(swap_udp_ipv4(&mut frame, at), Ok(()));

            let link = ethernet::parse(&frame).unwrap();
            prop_assert_eq!((link.target, link.source, link.vlan), (Mac([4; 6]), Mac([2; 6]), vlan));
            let answer = Ipv4 { source: OURS, target: PEER, ttl: 64, dscp_ecn: dscp_ecn & 0xfc, ..ip };
            prop_assert_eq!(ipv4::parse(&frame[at..]), Ok(answer));
            let mut anew = [0; 20];
            ipv4::emit(&mut anew, &answer);
            prop_assert_eq!(&frame[at..at + 20], anew, "the patched checksum is the one computed anew");
            let pseudo = PseudoHeader { source: OURS.into(), target: PEER.into(), protocol: PROTOCOL_UDP };
            let back = udp::parse(&frame[at + 20..], &pseudo).unwrap();
            prop_assert_eq!((back.source_port, back.target_port, back.checksum == 0), (7, 4000, !summed));
            prop_assert_eq!(back.payload(&frame[at + 20..]), payload);
        }

        #[test]
        fn a_ping_comes_back_with_its_data(payload in proptest::collection::vec(any::<u8>(), 0..60), ttl in any::<u8>(), tos in any::<u8>()) {
            let message = ping(&payload);
            let ip = Ipv4 { ttl, dscp_ecn: tos, ..Ipv4::outgoing(PEER, OURS, PROTOCOL_ICMP, message.len()) };
            let (mut frame, at) = request(Vlan::NONE, ip, &message);
            prop_assert_eq!(swap_echo_ipv4(&mut frame, at), Ok(()));
            let back = ipv4::parse(&frame[at..]).unwrap();
            prop_assert_eq!((back.source, back.target, back.ttl, back.dscp_ecn), (OURS, PEER, 64, tos & 0xfc));
            let icmp = icmpv4::parse(back.payload(&frame[at..])).unwrap();
            prop_assert_eq!((icmp.icmp_type, icmp.rest, icmp.payload_len), (icmpv4::ECHO_REPLY, [1, 2, 0, 3], payload.len()));
            prop_assert!(frame.ends_with(&payload));
        }

        #[test]
        fn over_ipv6_both_come_back_with_what_they_brought(
            payload in proptest::collection::vec(any::<u8>(), 0..60), vlan in vlans(), hop_limit in any::<u8>(),
            dscp_ecn in any::<u8>(), flow_label in 0u32..0x10_0000, padding in 0usize..8, is_ping in any::<bool>(),
        ) {
            let pseudo = |protocol| PseudoHeader { source: PEER_6.into(), target: OURS_6.into(), protocol };
            let (next_header, message) = if is_ping {
                (NEXT_HEADER_ICMPV6, ping_ipv6(&payload))
            } else {
                let mut datagram = [&[0; 8], &payload[..]].concat();
                udp::emit(&mut datagram, 4000, 7, &pseudo(NEXT_HEADER_UDP));
                (NEXT_HEADER_UDP, datagram)
            };
            let ip = Ipv6 { hop_limit, dscp_ecn, flow_label, ..Ipv6::outgoing(PEER_6, OURS_6, next_header, message.len()) };
            let (mut frame, at) = request_ipv6(vlan, ip, &message);
            frame.resize(frame.len() + padding, 0);
            prop_assert_eq!(if is_ping { swap_echo_ipv6 } else { swap_udp_ipv6 }(&mut frame, at), Ok(()));

            let link = ethernet::parse(&frame).unwrap();
            prop_assert_eq!((link.target, link.source, link.vlan), (Mac([4; 6]), Mac([2; 6]), vlan));
            let answer = Ipv6 { source: OURS_6, target: PEER_6, hop_limit: 64, dscp_ecn: dscp_ecn & 0xfc, ..ip };
            prop_assert_eq!(ipv6::parse(&frame[at..]), Ok(answer));
            let pseudo = PseudoHeader { source: OURS_6.into(), target: PEER_6.into(), protocol: next_header };
            let message = answer.payload(&frame[at..]);
            if is_ping {
                let icmp = icmpv6::parse(message, &pseudo).unwrap();
                prop_assert_eq!((icmp.icmp_type, icmp.code, icmp.rest), (icmpv6::ECHO_REPLY, 0, [1, 2, 0, 3]));
            } else {
                let back = udp::parse(message, &pseudo).unwrap();
                prop_assert_eq!((back.source_port, back.target_port), (7, 4000));
            }
            prop_assert_eq!(&message[8..], payload);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0usize..80) {
            for swap in [swap_udp_ipv4, swap_echo_ipv4, swap_udp_ipv6, swap_echo_ipv6] {
                let mut frame = bytes.clone();
                if swap(&mut frame, at).is_err() {
                    prop_assert_eq!(&frame, &bytes, "a frame that is refused is unchanged");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_answered_in_place_is_refused_unchanged() {
        let (good, at) = request(Vlan::NONE, Ipv4::outgoing(PEER, OURS, PROTOCOL_UDP, 12), &datagram(b"ping"));
        let refused = |change: &dyn Fn(&mut Vec<u8>), at: usize| {
            let mut frame = good.clone();
            change(&mut frame);
            let before = frame.clone();
            let why = swap_udp_ipv4(&mut frame, at).unwrap_err();
            assert_eq!(frame, before);
            why
        };
        assert_eq!(refused(&|frame| frame[at] = 0x46, at), Drop::Ipv4HeaderMalformed);
        assert_eq!(refused(&|frame| frame[at + 6] = 0x20, at), Drop::Ipv4Fragment);
        assert_eq!(refused(&|frame| frame[at + 7] = 1, at), Drop::Ipv4Fragment);
        assert_eq!(refused(&|frame| frame[at + 9] = 6, at), Drop::ProtocolUnknown);
        assert_eq!(refused(&|frame| frame.truncate(at + 27), at), Drop::UdpTruncated);
        assert_eq!(refused(&|frame| frame.truncate(at + 19), at), Drop::Ipv4Truncated);
        assert_eq!(refused(&|_| {}, 11), Drop::EthernetTruncated);
        assert_eq!(refused(&|_| {}, 1000), Drop::Ipv4Truncated);
    }

    #[test]
    fn what_cannot_be_answered_in_place_over_ipv6_is_refused_unchanged() {
        let (good, at) = request_ipv6(Vlan::NONE, Ipv6::outgoing(PEER_6, OURS_6, NEXT_HEADER_ICMPV6, 12), &ping_ipv6(b"ping"));
        let refused = |change: &dyn Fn(&mut Vec<u8>), at: usize, udp: bool| {
            let mut frame = good.clone();
            change(&mut frame);
            let before = frame.clone();
            let why = if udp { swap_udp_ipv6 } else { swap_echo_ipv6 }(&mut frame, at).unwrap_err();
            assert_eq!(frame, before);
            why
        };
        assert_eq!(refused(&|frame| frame[at] = 0x40, at, false), Drop::Ipv6HeaderMalformed);
        assert_eq!(refused(&|frame| frame[at + 6] = 60, at, false), Drop::ProtocolUnknown, "behind options");
        assert_eq!(refused(&|_| {}, at, true), Drop::ProtocolUnknown);
        assert_eq!(refused(&|frame| frame[at + 40] = icmpv6::ECHO_REPLY, at, false), Drop::IcmpIgnored);
        assert_eq!(refused(&|frame| frame[at + 24] = 0xff, at, false), Drop::IcmpIgnored, "to many");
        assert_eq!(refused(&|frame| frame.truncate(at + 47), at, false), Drop::IcmpTruncated);
        let short_udp = |frame: &mut Vec<u8>| {
            frame[at + 6] = NEXT_HEADER_UDP;
            frame.truncate(at + 47);
        };
        assert_eq!(refused(&short_udp, at, true), Drop::UdpTruncated);
        assert_eq!(refused(&|frame| frame.truncate(at + 39), at, false), Drop::Ipv6Truncated);
        assert_eq!(refused(&|_| {}, 11, false), Drop::EthernetTruncated);
        assert_eq!(refused(&|_| {}, 1000, false), Drop::Ipv6Truncated);
    }

    #[test]
    fn only_an_echo_request_is_answered_as_one() {
        let answer = |message: &[u8]| {
            let (mut frame, at) = request(Vlan::NONE, Ipv4::outgoing(PEER, OURS, PROTOCOL_ICMP, message.len()), message);
            swap_echo_ipv4(&mut frame, at)
        };
        assert_eq!(answer(&ping(b"")), Ok(()));
        assert_eq!(answer(&ping(b"")[..7]), Err(Drop::IcmpTruncated));
        assert_eq!(answer(&[icmpv4::ECHO_REPLY, 0, 0, 0, 0, 0, 0, 0]), Err(Drop::IcmpIgnored));
    }
}
