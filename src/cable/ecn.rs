//! The ECN field of the packet in a frame (RFC 3168): may it be marked, and the mark.
//!
//! Called for every frame of a cable that marks. Pure; frames of any content; cannot panic.

use crate::wire::checksum::patch;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// Where the packet lies in its frame, by the version of IP.
enum Packet {
    V4(usize),
    V6(usize),
}

/// True when both ends of the transport said that they understand the mark, or when it is there already.
pub(super) fn is_capable(frame: &[u8]) -> bool {
    //= rfc3168#5
    //# The not-ECT codepoint '00' indicates a packet that is not using ECN.
    match packet(frame) {
        Some(Packet::V4(at)) => frame.get(at + 1).is_some_and(|tos| tos & FIELD != 0),
        Some(Packet::V6(at)) => frame.get(at + 1).is_some_and(|byte| byte >> 4 & FIELD != 0),
        None => false,
    }
}

/// Marks the packet: congestion experienced. One that may not be marked stays as it is.
pub(super) fn mark(frame: &mut [u8]) {
    if !is_capable(frame) {
        return;
    }
    match packet(frame) {
        Some(Packet::V4(at)) => {
            let Some([version, tos, .., high, low]) = frame.get_mut(at..at + 12) else { return };
            let old = u16::from_be_bytes([*version, *tos]);
            *tos |= FIELD;
            let sum = patch(u16::from_be_bytes([*high, *low]), old, u16::from_be_bytes([*version, *tos]));
            [*high, *low] = sum.to_be_bytes();
        }
        // The traffic class begins in the lower half of the first byte; no checksum covers it.
        Some(Packet::V6(at)) => {
            if let Some(byte) = frame.get_mut(at + 1) {
                *byte |= FIELD << 4;
            }
        }
        None => {}
    }
}

/// The packet, when the frame is long enough for its fixed header.
fn packet(frame: &[u8]) -> Option<Packet> {
    let header = ethernet::parse(frame).ok()?;
    let at = header.header_len();
    let room = frame.len().saturating_sub(at);
    match header.ethertype {
        ETHERTYPE_IPV4 if room >= 20 => Some(Packet::V4(at)),
        ETHERTYPE_IPV6 if room >= 40 => Some(Packet::V6(at)),
        _ => None,
    }
}

/// The two bits, in the traffic class or the former type of service; both set mean congestion experienced.
const FIELD: u8 = 0b11;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::checksum::checksum;
    use crate::wire::ipv4::{self, Ipv4};

    fn ipv4(tos: u8) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20];
        frame[12] = 8;
        let header = Ipv4::outgoing(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), 6, 0);
        ipv4::emit(&mut frame[14..], &header);
        frame[15] = tos;
        frame[24..26].fill(0);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn a_marked_ipv4_packet_keeps_its_other_bits_and_a_right_checksum() {
        //= type=test
        //= rfc3168#5
        //# The not-ECT codepoint '00' indicates a packet that is not using ECN.
        for tos in 0..=255 {
            let before = ipv4(tos);
            let mut frame = before.clone();
            assert_eq!(is_capable(&frame), tos & 3 != 0, "{tos:#x}");
            mark(&mut frame);
            assert_eq!(checksum(&frame[14..34]), 0, "{tos:#x}");
            assert_eq!(frame[15], if tos & 3 == 0 { tos } else { tos | 3 });
            let changed: Vec<_> = (0..frame.len()).filter(|&n| frame[n] != before[n]).collect();
            assert!(changed.iter().all(|n| [15, 24, 25].contains(n)), "{changed:?}");
        }
    }

    #[test]
    fn a_marked_ipv6_packet_keeps_its_flow_label() {
        let mut frame = vec![0; 18 + 40];
        frame[12..18].copy_from_slice(&[0x81, 0, 0, 5, 0x86, 0xdd]);
        frame[18..22].copy_from_slice(&[0x6a, 0x2c, 0xde, 0xf0]);
        assert!(is_capable(&frame));
        mark(&mut frame);
        assert_eq!(frame[18..22], [0x6a, 0x3c, 0xde, 0xf0]);
        frame[19] = 0x0c;
        assert!(!is_capable(&frame));
    }

    #[test]
    fn frames_without_an_ip_header_are_left_alone() {
        for len in 0..60 {
            for ethertype in [[8, 0], [0x86, 0xdd], [8, 6]] {
                let mut frame = vec![0xff; len];
                if len >= 14 {
                    frame[12..14].copy_from_slice(&ethertype);
                }
                let before = frame.clone();
                mark(&mut frame);
                assert!(frame == before || is_capable(&before), "{len}");
                assert!(frame.len() == len);
            }
        }
    }
}
