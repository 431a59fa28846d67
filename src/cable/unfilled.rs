//! Frames whose checksum nobody has filled in: what a veth peer sends unless its offload is off.
//!
//! The kernel keeps the note that the sum is still to be computed beside the packet, where a frame that went through XDP has lost it: the receiver drops
//! it, and a user sees a cable over which ping works and TCP does not. So the first packets of each way are looked at. Pure; cannot panic.

use crate::wire::checksum::{PseudoHeader, Verified, verify};
use crate::wire::ethernet::{self, ETHERTYPE_IPV4};
use crate::wire::ipv4;

/// True when the frame carries a segment or datagram over IPv4 with the sum of its pseudo-header in place of the checksum.
pub(super) fn is_unfilled(frame: &[u8]) -> bool {
    carried(frame).unwrap_or(false)
}

fn carried(frame: &[u8]) -> Option<bool> {
    let header = ethernet::parse(frame).ok()?;
    let packet = frame.get(header.header_len()..).filter(|_| header.ethertype == ETHERTYPE_IPV4)?;
    let ip = ipv4::parse(packet).ok().filter(|ip| !ip.is_fragment())?;
    let field_at = match ip.protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    let segment = ip.payload(packet);
    let field = segment.get(field_at..)?.first_chunk::<2>()?;
    let pseudo = PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol: ip.protocol };
    Some(verify(segment, pseudo.sum(segment.len()), u16::from_be_bytes(*field)) == Verified::Unfilled)
}

const TCP: u8 = 6;
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::checksum::{checksum, fold};
    use crate::wire::ipv4::Ipv4;

    /// A datagram of 8 bytes behind its header, with this checksum.
    fn datagram(protocol: u8, sum: u16) -> (Vec<u8>, PseudoHeader) {
        let mut frame = vec![0; 14 + 20 + 16 + 8];
        frame[12] = 8;
        let header = Ipv4::outgoing(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), protocol, 24);
        ipv4::emit(&mut frame[14..], &header);
        frame[34..].fill(0x5a);
        let at = 34 + if protocol == TCP { 16 } else { 6 };
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        (frame, PseudoHeader { source: header.source.into(), target: header.target.into(), protocol })
    }

    #[test]
    fn only_the_pseudo_headers_own_sum_is_unfilled() {
        for protocol in [TCP, UDP] {
            let (_, pseudo) = datagram(protocol, 0);
            let unfilled = fold(pseudo.sum(24));
            assert!(is_unfilled(&datagram(protocol, unfilled).0));
            assert!(!is_unfilled(&datagram(protocol, unfilled ^ 1).0), "wrong is not unfilled");
        }
        assert!(!is_unfilled(&datagram(1, 0).0), "ICMP has no pseudo-header");
    }

    #[test]
    fn anything_else_is_not() {
        let (whole, _) = datagram(UDP, 0);
        (0..whole.len()).for_each(|len| assert!(!is_unfilled(&whole[..len])));
        let mut fragment = whole;
        fragment[20] = 0x20;
        fragment[24..26].fill(0);
        let sum = checksum(&fragment[14..34]);
        fragment[24..26].copy_from_slice(&sum.to_be_bytes());
        assert!(!is_unfilled(&fragment));
    }
}
