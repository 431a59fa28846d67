//! What the `steer` program decides, in plain Rust, for the tests and for whoever wants to know.
//!
//! It is written from the rules, not from the program: it asks [`Claims`] what is claimed and never sees the map. It must agree with
//! the program on every frame, which the tests show over generated packets. Pure; it does not panic on any input.

use std::net::Ipv4Addr;

use super::cause::{Action, Cause};
use super::claims::{Claims, Vlan};
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_VLAN};

/// What becomes of `frame`, and under which cause it is counted, when its queue has a socket or has none.
pub fn decide(frame: &[u8], claims: &Claims, has_socket: bool) -> (Action, Cause) {
    let cause = classify(frame, claims).unwrap_or(Cause::Passed);
    match cause {
        Cause::SteeredAddress | Cause::SteeredPort | Cause::SteeredArp if has_socket => (Action::Redirect, cause),
        Cause::SteeredAddress | Cause::SteeredPort | Cause::SteeredArp => (Action::Pass, Cause::ClaimedUnserved),
        _ => (Action::Pass, cause),
    }
}

/// The cause with a socket at every queue; `None` when too little of the frame is there to say anything.
fn classify(frame: &[u8], claims: &Claims) -> Option<Cause> {
    let group = frame.first()? & 1 == 1;
    let outer = half(frame, 12)?;
    let (vlan, ethertype, start) = if outer == ETHERTYPE_VLAN {
        (Vlan::of_frame(Some(half(frame, 14)?)), half(frame, 16)?, 18)
    } else {
        (Vlan::NONE, outer, 14)
    };
    let packet = frame.get(start..)?;
    match ethertype {
        ETHERTYPE_ARP => arp(packet, vlan, claims),
        ETHERTYPE_IPV4 if !group => ipv4(packet, vlan, claims),
        _ => None,
    }
}

fn arp(packet: &[u8], vlan: Vlan, claims: &Claims) -> Option<Cause> {
    let packet = packet.get(..28)?;
    if packet.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    claimed(claims.vlans_of_address(address(packet, 24)?), vlan)
        .map(|same| if same { Cause::SteeredArp } else { Cause::ClaimedVlan })
}

fn ipv4(packet: &[u8], vlan: Vlan, claims: &Claims) -> Option<Cause> {
    let target = address(packet, 16)?;
    if let Some(same) = claimed(claims.vlans_of_address(target), vlan) {
        return Some(if same { Cause::SteeredAddress } else { Cause::ClaimedVlan });
    }
    let [first, protocol] = [*packet.first()?, *packet.get(9)?];
    let (more, offset) = (half(packet, 6)? & 0x2000 != 0, half(packet, 6)? & 0x1fff);
    // Ports are looked at only where they must stand: behind a header of 20 bytes, in the first part of the datagram.
    let port = if first == 0x45 && offset == 0 { half(packet, 22) } else { None };
    if port == Some(0) {
        return None;
    }
    let same = claimed(claims.vlans_of_port(target, protocol, port), vlan)?;
    Some(if !same {
        Cause::ClaimedVlan
    } else if first >> 4 != 4 || first & 0x0f < 5 {
        Cause::ClaimedHeader
    } else if more || offset > 0 {
        Cause::ClaimedFragment
    } else if first != 0x45 {
        Cause::ClaimedOptions
    } else if port.is_none() {
        Cause::ClaimedTruncated
    } else {
        Cause::SteeredPort
    })
}

/// Whether something is claimed at all, and if so whether in the frame's VLAN.
fn claimed(vlans: impl Iterator<Item = Vlan>, frame: Vlan) -> Option<bool> {
    let mut any = false;
    for vlan in vlans {
        if vlan == frame {
            return Some(true);
        }
        any = true;
    }
    any.then_some(false)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn address(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::{Cidr, Claim, PortClaim, Transport};

    /// 10.0.0.2 is claimed, untagged; tcp:80 of the kernel's 10.0.0.1 is claimed, untagged and in VLAN 5.
    fn claims() -> Claims {
        let cidr = |last| Cidr { address: [10, 0, 0, last].into(), prefix: 24 };
        let ports = vec![PortClaim { transport: Transport::Tcp, port: 80 }];
        let mut claims = Claims::new();
        claims.add(&Claim::Addresses(vec![cidr(2)]), None).unwrap();
        for vlan in [None, Some(5)] {
            claims.add(&Claim::Ports { addresses: vec![cidr(1)], ports: ports.clone() }, vlan).unwrap();
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
        // A second tag, and the tag of 802.1ad, are the kernel's.
        assert_eq!(of(&ethernet(US, &[&[0x81, 0, 0, 5, 0x81, 0, 0, 5, 8, 0], &port])), Cause::Passed);
        assert_eq!(of(&ethernet(US, &[&[0x88, 0xa8, 0, 5, 8, 0], &port])), Cause::Passed);
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
