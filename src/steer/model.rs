//! What the `steer` program decides, in plain Rust, for the tests and for whoever wants to know.
//!
//! It is written from the rules, not from the program: it asks [`Claims`] what is claimed and never sees the map. It must agree with
//! the program on every frame, which the tests show over generated packets. Pure; it does not panic on any input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cause::{Action, Cause};
use super::claims::{Claims, Shown};
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::vlan::{Tag, TagKind, Vlan};

/// What becomes of `frame`, and under which cause it is counted, when its queue has a socket or has none.
pub fn decide(frame: &[u8], claims: &Claims, has_socket: bool) -> (Action, Cause) {
    let cause = classify(frame, claims).unwrap_or(Cause::Passed);
    match (cause.is_steered(), has_socket) {
        (true, true) => (Action::Redirect, cause),
        (true, false) => (Action::Pass, Cause::ClaimedUnserved),
        (false, _) => (Action::Pass, cause),
    }
}

/// The cause with a socket at every queue; `None` when too little of the frame is there to say anything.
fn classify(frame: &[u8], claims: &Claims) -> Option<Cause> {
    let group = frame.first()? & 1 == 1;
    let (vlan, ethertype, start) = tags(frame)?;
    let packet = frame.get(start..)?;
    match ethertype {
        ETHERTYPE_ARP => arp(packet, vlan, claims),
        ETHERTYPE_IPV4 => ipv4(packet, group, vlan, claims),
        ETHERTYPE_IPV6 => ipv6(packet, group, vlan, claims),
        _ => None,
    }
}

/// Up to two tags, then the EtherType and where its packet begins.
fn tags(frame: &[u8]) -> Option<(Vlan, u16, usize)> {
    let tag = |at: usize| {
        let kind = TagKind::of_ethertype(half(frame, at)?)?;
        Some((kind, at + 2))
    };
    let read = |(kind, at): (TagKind, usize)| Some(Tag { kind, id: half(frame, at)? & 0x0fff });
    let Some(first) = tag(12) else { return Some((Vlan::NONE, half(frame, 12)?, 14)) };
    let Some(second) = tag(16) else { return Some((Vlan::tagged(read(first)?), half(frame, 16)?, 18)) };
    Some((Vlan::stacked(read(first)?, read(second)?), half(frame, 20)?, 22))
}

fn arp(packet: &[u8], vlan: Vlan, claims: &Claims) -> Option<Cause> {
    let packet = packet.get(..28)?;
    if packet.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let target = ipv4_address(packet, 24)?;
    let about = if target.is_unspecified() { ipv4_address(packet, 14)? } else { target };
    claimed(claims.vlans_of_address(about), vlan, Cause::SteeredArp)
}

fn ipv4(packet: &[u8], group: bool, vlan: Vlan, claims: &Claims) -> Option<Cause> {
    let target = ipv4_address(packet, 16)?;
    if !group && let Some(cause) = claimed(claims.vlans_of_address(target), vlan, Cause::SteeredAddress) {
        return Some(cause);
    }
    let [first, protocol] = [*packet.first()?, *packet.get(9)?];
    let (more, offset) = (half(packet, 6)? & 0x2000 != 0, half(packet, 6)? & 0x1fff);
    // Ports are looked at only where they must stand: behind a header of 20 bytes, in the first part of the datagram.
    let port = if first == 0x45 && offset == 0 { half(packet, 22) } else { None };
    if port == Some(0) {
        return None;
    }
    let against = if first >> 4 != 4 || first & 0x0f < 5 {
        Some(Cause::ClaimedHeader)
    } else if more || offset > 0 {
        Some(Cause::ClaimedFragment)
    } else if first != 0x45 {
        Some(Cause::ClaimedOptions)
    } else if port.is_none() {
        Some(Cause::ClaimedTruncated)
    } else {
        None
    };
    by_port(target, group, port.map_or(Shown::Protocol(protocol), |port| Shown::Port(protocol, port)), against, vlan, claims)
}

fn ipv6(packet: &[u8], group_frame: bool, vlan: Vlan, claims: &Claims) -> Option<Cause> {
    let (header, rest) = packet.split_at_checked(40)?;
    let target = ipv6_address(header, 24)?;
    if !group_frame && let Some(cause) = claimed(claims.vlans_of_address(target), vlan, Cause::SteeredAddress) {
        return Some(cause);
    }
    let [first, next, hop_limit] = [*header.first()?, *header.get(6)?, *header.get(7)?];
    if first >> 4 == 6
        && target.is_multicast()
        && next == ICMPV6
        && hop_limit == 255
        && matches!(rest.first(), Some(135 | 136))
        && let Some(asked) = ipv6_address(rest, 8)
    {
        return claimed(claims.vlans_of_address(asked), vlan, Cause::SteeredNd);
    }
    let (shown, against) = if first >> 4 != 6 {
        (Shown::Nothing, Some(Cause::ClaimedHeader))
    } else if next == FRAGMENT {
        // Cut off before its next header, it may be anything.
        let shown = rest.first().map_or(Some(Shown::Nothing), |&protocol| protocol_shown(protocol))?;
        (shown, Some(Cause::ClaimedFragment))
    } else {
        match (protocol_shown(next)?, half(rest, 2)) {
            (Shown::Protocol(_), Some(0)) => return None,
            (Shown::Protocol(protocol), Some(port)) => (Shown::Port(protocol, port), None),
            (Shown::Protocol(protocol), None) => (Shown::Protocol(protocol), Some(Cause::ClaimedTruncated)),
            (shown, _) => (shown, Some(Cause::ClaimedOptions)),
        }
    };
    by_port(target, group_frame || target.is_multicast(), shown, against, vlan, claims)
}

/// What a next header says of the protocol with ports: which it is, nothing yet, or that there is none.
fn protocol_shown(next: u8) -> Option<Shown> {
    match next {
        6 | 17 => Some(Shown::Protocol(next)),
        // Hop-by-hop options, routing, authentication, destination options, mobility, HIP, Shim6.
        0 | 43 | 51 | 60 | 135 | 139 | 140 => Some(Shown::Nothing),
        _ => None,
    }
}

const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;

/// A port claim, of a host or a group, met by what the packet shows; `against` is why it could not be steered.
fn by_port(target: IpAddr, group: bool, shown: Shown, against: Option<Cause>, vlan: Vlan, claims: &Claims) -> Option<Cause> {
    if group {
        claimed(claims.vlans_of_group(target, shown), vlan, against.unwrap_or(Cause::SteeredGroup))
    } else {
        claimed(claims.vlans_of_port(target, shown), vlan, against.unwrap_or(Cause::SteeredPort))
    }
}

/// `cause` if something is claimed in the frame's VLAN, another if it is claimed in others, `None` if it is not claimed.
fn claimed(mut vlans: impl Iterator<Item = Vlan>, frame: Vlan, cause: Cause) -> Option<Cause> {
    let first = vlans.next()?;
    Some(if first == frame || vlans.any(|vlan| vlan == frame) { cause } else { Cause::ClaimedVlan })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn ipv4_address(packet: &[u8], at: usize) -> Option<IpAddr> {
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes).into())
}

fn ipv6_address(packet: &[u8], at: usize) -> Option<IpAddr> {
    let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::{Cidr, Claim, PortClaim, Transport};

    /// 10.0.0.2 and fd00::2 are claimed, untagged and in the 802.1ad VLAN 9; tcp:80 of the kernel's 10.0.0.1 and fd00::1 is claimed, untagged, in VLAN 5, and in VLAN 5
    /// within the 802.1ad VLAN 9; udp:80 is claimed of the groups 239.0.0.1, 10.0.0.255 and ff05::1.
    fn claims() -> Claims {
        let cidrs = |last| {
            let six = Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(last));
            vec![Cidr { address: [10, 0, 0, last].into(), prefix: 24 }, Cidr { address: six.into(), prefix: 64 }]
        };
        let ports = vec![PortClaim { transport: Transport::Tcp, port: 80 }];
        let mut claims = Claims::new();
        for vlan in [Vlan::NONE, Vlan::tagged(Tag::s(9))] {
            claims.add(&Claim::Addresses(cidrs(2)), vlan).unwrap();
        }
        for vlan in [Vlan::NONE, Vlan::tagged(Tag::c(5)), Vlan::stacked(Tag::s(9), Tag::c(5))] {
            claims.add(&Claim::Ports { addresses: cidrs(1), ports: ports.clone() }, vlan).unwrap();
        }
        for group in ["239.0.0.1", "10.0.0.255", "ff05::1"] {
            claims.add_group(group.parse().unwrap(), 80, None).unwrap();
        }
        claims
    }

    fn ethernet(target: [u8; 6], rest: &[&[u8]]) -> Vec<u8> {
        [&target, &[2, 0, 0, 0, 0, 2][..]].into_iter().chain(rest.iter().copied()).collect::<Vec<_>>().concat()
    }

    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// An IPv4 packet to 10.0.0.`last`: first byte, flags and offset, protocol, then the ports.
    fn ipv4(last: u8, first: u8, fragment: u16, protocol: u8, port: u16) -> Vec<u8> {
        let [high, low] = fragment.to_be_bytes();
        let mut packet = vec![first, 0, 0, 40, 0, 0, high, low, 64, protocol, 0, 0, 10, 0, 0, 7, 10, 0, 0, last, 9, 9];
        packet.extend(port.to_be_bytes());
        packet
    }

    fn of(frame: &[u8]) -> Cause {
        decide(frame, &claims(), true).1
    }

    #[test]
    fn decides_by_address_port_and_header() {
        for (last, first, fragment, protocol, port, cause) in [
            (2, 0x45, 0, 6, 80, Cause::SteeredAddress),
            (2, 0x46, 0x2000, 1, 0, Cause::SteeredAddress),
            (2, 0x35, 0x00ff, 99, 0, Cause::SteeredAddress),
            (3, 0x45, 0, 6, 80, Cause::Passed),
            (1, 0x45, 0, 6, 80, Cause::SteeredPort),
            (1, 0x45, 0x4000, 6, 80, Cause::SteeredPort),
            (1, 0x45, 0, 17, 80, Cause::Passed),
            (1, 0x45, 0, 6, 81, Cause::Passed),
            (1, 0x45, 0, 6, 0, Cause::Passed),
            (1, 0x45, 0x2000, 6, 80, Cause::ClaimedFragment),
            (1, 0x45, 0x2000, 6, 81, Cause::Passed),
            (1, 0x45, 0x0001, 6, 81, Cause::ClaimedFragment),
            (1, 0x45, 0x0001, 17, 80, Cause::Passed),
            (1, 0x46, 0, 6, 81, Cause::ClaimedOptions),
            (1, 0x44, 0, 6, 80, Cause::ClaimedHeader),
            (1, 0x65, 0, 6, 80, Cause::ClaimedHeader),
        ] {
            let packet = ipv4(last, first, fragment, protocol, port);
            assert_eq!(of(&ethernet(US, &[&[8, 0], &packet])), cause, "10.0.0.{last} {first:#x} {fragment:#x} {protocol}:{port}");
        }
    }

    #[test]
    fn a_tag_must_be_the_claims() {
        let (address, port) = (ipv4(2, 0x45, 0, 6, 80), ipv4(1, 0x45, 0, 6, 80));
        let tagged = |vlan: u8, packet: &[u8]| of(&ethernet(US, &[&[0x81, 0, 0xe0, vlan, 8, 0], packet]));
        assert_eq!(tagged(5, &address), Cause::ClaimedVlan);
        assert_eq!(tagged(5, &port), Cause::SteeredPort);
        assert_eq!(tagged(6, &port), Cause::ClaimedVlan);
        // A second tag, and the tag of 802.1ad, are VLANs of their own; with a third the frame is the kernel's.
        let stacked = |outer: [u8; 4], inner: [u8; 4], packet: &[u8]| of(&ethernet(US, &[&outer, &inner, &[8, 0], packet]));
        let (c5, s5, s9) = ([0x81, 0, 0, 5], [0x88, 0xa8, 0x70, 5], [0x88, 0xa8, 0, 9]);
        assert_eq!(of(&ethernet(US, &[&s5, &[8, 0], &port])), Cause::ClaimedVlan);
        assert_eq!(of(&ethernet(US, &[&s9, &[8, 0], &address])), Cause::SteeredAddress);
        assert_eq!(stacked(c5, c5, &port), Cause::ClaimedVlan);
        assert_eq!(stacked(s9, c5, &port), Cause::SteeredPort);
        assert_eq!(stacked(c5, s9, &port), Cause::ClaimedVlan);
        assert_eq!(of(&ethernet(US, &[&s9, &c5, &c5, &[8, 0], &port])), Cause::Passed);
        assert_eq!(of(&ethernet(US, &[&s9, &[0x81, 0, 0]])), Cause::Passed);
    }

    #[test]
    fn group_frames_pass_except_arp_for_a_claimed_address() {
        let packet = ipv4(2, 0x45, 0, 17, 53);
        assert_eq!(of(&ethernet([0xff; 6], &[&[8, 0], &packet])), Cause::Passed);
        assert_eq!(of(&ethernet([1, 0, 0x5e, 0, 0, 1], &[&[8, 0], &packet])), Cause::Passed);
        let arp = |operation: u8, last: u8| {
            let mut packet = vec![8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 2, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0];
            packet.extend([10, 0, 0, last]);
            packet
        };
        assert_eq!(of(&ethernet([0xff; 6], &[&arp(1, 2)])), Cause::SteeredArp);
        assert_eq!(of(&ethernet(US, &[&arp(2, 2)])), Cause::SteeredArp);
        assert_eq!(of(&ethernet([0xff; 6], &[&arp(1, 1)])), Cause::Passed);
        assert_eq!(of(&ethernet([0xff; 6], &[&arp(1, 2)[..29]])), Cause::Passed);
        // The answer to a probe: its target has no address yet.
        let answer = |sender: u8| {
            let mut packet = arp(2, 0);
            packet[16..20].copy_from_slice(&[10, 0, 0, sender]);
            packet[26..].fill(0);
            packet
        };
        assert_eq!(of(&ethernet(US, &[&answer(2)])), Cause::SteeredArp);
        assert_eq!(of(&ethernet(US, &[&answer(1)])), Cause::Passed);
    }

    #[test]
    fn a_port_of_a_group_is_steered_in_group_frames_alone() {
        let to = |target: [u8; 6], address: [u8; 4], fragment: u16, protocol: u8, port: u16| {
            let mut packet = ipv4(0, 0x45, fragment, protocol, port);
            packet[16..20].copy_from_slice(&address);
            of(&ethernet(target, &[&[8, 0], &packet]))
        };
        let group = [1, 0, 0x5e, 0, 0, 1];
        for (target, address, fragment, protocol, port, cause) in [
            (group, [239, 0, 0, 1], 0, 17, 80, Cause::SteeredGroup),
            ([0xff; 6], [10, 0, 0, 255], 0, 17, 80, Cause::SteeredGroup),
            (US, [10, 0, 0, 255], 0, 17, 80, Cause::Passed),
            (group, [239, 0, 0, 1], 0, 17, 81, Cause::Passed),
            (group, [239, 0, 0, 2], 0, 17, 80, Cause::Passed),
            (group, [239, 0, 0, 1], 0, 6, 80, Cause::Passed),
            (group, [239, 0, 0, 1], 0x2000, 17, 80, Cause::ClaimedFragment),
            // A claimed port of a host is none of a group.
            ([0xff; 6], [10, 0, 0, 1], 0, 6, 80, Cause::Passed),
        ] {
            assert_eq!(
                to(target, address, fragment, protocol, port),
                cause,
                "{target:x?} {address:?} {fragment:#x} {protocol}:{port}"
            );
        }
    }

    /// An IPv6 packet: version, next header and hop limit, destination, and what is behind the header.
    fn ipv6(version: u8, next: u8, hop_limit: u8, target: &str, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![version << 4 | 0xf, 0xff, 0, 0, 0, 40, next, hop_limit];
        packet.extend([0xfe; 16]);
        packet.extend(target.parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(rest);
        packet
    }

    #[test]
    fn ipv6_is_decided_by_address_port_and_headers() {
        let ports = [9, 9, 0, 80, 0, 0, 0, 0];
        for (version, next, target, rest, cause) in [
            (6, 6, "fd00::2", &ports[..], Cause::SteeredAddress),
            (6, 0, "fd00::2", &[], Cause::SteeredAddress),
            (5, 58, "fd00::2", &[], Cause::SteeredAddress),
            (6, 6, "fd00::3", &ports, Cause::Passed),
            (6, 6, "fd00::1", &ports, Cause::SteeredPort),
            (6, 6, "fd00::1", &[9, 9, 0, 81], Cause::Passed),
            (6, 6, "fd00::1", &[9, 9, 0, 0], Cause::Passed),
            (6, 6, "fd00::1", &[9, 9, 0], Cause::ClaimedTruncated),
            (6, 17, "fd00::1", &ports, Cause::Passed),
            (6, 17, "fd00::1", &[9, 9, 0], Cause::Passed),
            (6, 58, "fd00::1", &ports, Cause::Passed),
            (6, 59, "fd00::1", &ports, Cause::Passed),
            (6, 44, "fd00::1", &[6, 0, 0, 1], Cause::ClaimedFragment),
            (6, 44, "fd00::1", &[60, 0, 0, 1], Cause::ClaimedFragment),
            (6, 44, "fd00::1", &[], Cause::ClaimedFragment),
            (6, 44, "fd00::1", &[17, 0, 0, 1], Cause::Passed),
            (6, 44, "fd00::1", &[58, 0, 0, 1], Cause::Passed),
            (6, 44, "fd00::3", &[6, 0, 0, 1], Cause::Passed),
            (6, 0, "fd00::1", &[6, 0, 1, 4], Cause::ClaimedOptions),
            (6, 60, "fd00::1", &[], Cause::ClaimedOptions),
            (6, 0, "fd00::3", &[6, 0, 1, 4], Cause::Passed),
            (4, 6, "fd00::1", &ports, Cause::ClaimedHeader),
            (4, 99, "fd00::1", &ports, Cause::ClaimedHeader),
            // RFC 6085: a group in a frame for one station.
            (6, 17, "ff05::1", &ports, Cause::SteeredGroup),
        ] {
            let frame = ethernet(US, &[&[0x86, 0xdd], &ipv6(version, next, 64, target, rest)]);
            assert_eq!(of(&frame), cause, "version {version}, next header {next}, to {target}: {rest:?}");
        }
    }

    #[test]
    fn of_ipv6_group_frames_only_neighbour_discovery_and_claimed_ports_are_steered() {
        let claimed = "fd00::2".parse::<Ipv6Addr>().unwrap().octets();
        let asking = |kind: u8, target: [u8; 16]| [&[kind, 0, 1, 2, 0, 0, 0, 0][..], &target].concat();
        let group = [0x33, 0x33, 0xff, 0, 0, 2];
        let ports = [9, 9, 0, 80, 0, 0, 0, 0];
        for (target, next, hop_limit, address, rest, cause) in [
            (group, 58, 255, "ff02::1:ff00:2", asking(135, claimed), Cause::SteeredNd),
            // RFC 6085 again.
            (US, 58, 255, "ff02::1:ff00:2", asking(135, claimed), Cause::SteeredNd),
            (group, 58, 255, "ff02::1", asking(135, claimed), Cause::SteeredNd),
            (group, 58, 255, "ff02::1", asking(136, claimed), Cause::SteeredNd),
            (group, 58, 255, "ff02::1", asking(136, [0; 16]), Cause::Passed),
            (group, 58, 254, "ff02::1:ff00:2", asking(135, claimed), Cause::Passed),
            (group, 58, 255, "ff02::1:ff00:2", asking(137, claimed), Cause::Passed),
            (group, 58, 255, "ff02::1:ff00:2", asking(135, [0; 16]), Cause::Passed),
            (group, 58, 255, "ff02::1:ff00:2", asking(135, claimed)[..23].to_vec(), Cause::Passed),
            (group, 0, 255, "ff02::1:ff00:2", asking(135, claimed), Cause::Passed),
            (group, 58, 255, "fd00::2", asking(135, claimed), Cause::Passed),
            (US, 58, 255, "fd00::2", asking(135, claimed), Cause::SteeredAddress),
            (US, 58, 255, "fd00::1", asking(135, claimed), Cause::Passed),
            (group, 17, 1, "ff05::1", ports.to_vec(), Cause::SteeredGroup),
            (group, 17, 1, "ff05::2", ports.to_vec(), Cause::Passed),
            (group, 6, 1, "ff05::1", ports.to_vec(), Cause::Passed),
            (group, 44, 1, "ff05::1", vec![17, 0, 0, 1], Cause::ClaimedFragment),
            (group, 0, 1, "ff05::1", vec![], Cause::ClaimedOptions),
            (group, 6, 1, "fd00::1", ports.to_vec(), Cause::Passed),
        ] {
            let frame = ethernet(target, &[&[0x86, 0xdd], &ipv6(6, next, hop_limit, address, &rest)]);
            assert_eq!(of(&frame), cause, "{target:x?}, next header {next}, hop limit {hop_limit}, to {address}: {rest:?}");
        }
        let other_vlan = ethernet(group, &[&[0x81, 0, 0, 5, 0x86, 0xdd], &ipv6(6, 58, 255, "ff02::1", &asking(135, claimed))]);
        assert_eq!(of(&other_vlan), Cause::ClaimedVlan);
    }

    #[test]
    fn too_short_to_tell_passes_and_short_of_its_port_is_counted() {
        let frame = ethernet(US, &[&[8, 0], &ipv4(1, 0x45, 0, 6, 80)]);
        for length in 0..=frame.len() {
            let cause = match length {
                38.. => Cause::SteeredPort,
                34.. => Cause::ClaimedTruncated,
                _ => Cause::Passed,
            };
            assert_eq!(of(&frame[..length]), cause, "{length} bytes");
        }
    }

    #[test]
    fn without_a_socket_claimed_frames_pass_and_are_counted() {
        let frame = ethernet(US, &[&[8, 0], &ipv4(2, 0x45, 0, 6, 80)]);
        assert_eq!(decide(&frame, &claims(), true), (Action::Redirect, Cause::SteeredAddress));
        assert_eq!(decide(&frame, &claims(), false), (Action::Pass, Cause::ClaimedUnserved));
    }
}
