//! One flipped bit in the packet of a frame.
//!
//! Only IP packets, and of these only what stands behind the Ethernet header: there a checksum finds it. On a real cable the Ethernet check
//! sequence would have found it before; what reaches a host broken was broken in a router, behind that check. A broken ARP packet nobody could
//! recognise, it would poison neighbours for minutes, so ARP passes whole. netem flips bits of anything. Pure; cannot panic.

use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// Flips the bit that `chance` chooses; false when the frame carries no IP packet.
pub(super) fn flip(frame: &mut [u8], chance: u64) -> bool {
    let Ok(header) = ethernet::parse(frame) else { return false };
    if header.ethertype != ETHERTYPE_IPV4 && header.ethertype != ETHERTYPE_IPV6 {
        return false;
    }
    let Some(packet) = frame.get_mut(header.header_len()..) else { return false };
    let bits = packet.len() as u128 * 8;
    // The upper bits of a product, as in `Rng::below`.
    let bit = ((u128::from(chance) * bits) >> 64) as usize;
    match packet.get_mut(bit / 8) {
        Some(byte) => *byte ^= 1 << (bit % 8),
        None => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn frame(ethertype: u16, vlan: bool) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        if vlan {
            frame.extend([0x81, 0x00, 0x00, 0x05]);
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend([0; 40]);
        frame
    }

    #[test]
    fn exactly_one_bit_of_the_packet_is_flipped_anywhere_in_it() {
        for (vlan, header) in [(false, 14), (true, 18)] {
            let whole = frame(ETHERTYPE_IPV4, vlan);
            let mut chance = Rng::seeded(1);
            let mut hit = vec![0u32; whole.len()];
            for _ in 0..4000 {
                let mut broken = whole.clone();
                assert!(flip(&mut broken, chance.next_u64()));
                let bits: u32 = whole.iter().zip(&broken).map(|(a, b)| (a ^ b).count_ones()).sum();
                assert_eq!(bits, 1);
                let at = whole.iter().zip(&broken).position(|(a, b)| a != b).unwrap();
                hit[at] += 1;
            }
            assert!(hit[..header].iter().all(|&n| n == 0), "the Ethernet header stays");
            assert!(hit[header..].iter().all(|&n| n > 50), "{hit:?}");
        }
    }

    #[test]
    fn what_no_checksum_covers_stays_whole() {
        for mut whole in [frame(0x0806, false), frame(0x88cc, true), vec![0; 13], Vec::new()] {
            let before = whole.clone();
            assert!(!flip(&mut whole, u64::MAX));
            assert_eq!(whole, before);
        }
        let mut empty = frame(ETHERTYPE_IPV6, false);
        empty.truncate(14);
        assert!(!flip(&mut empty, u64::MAX));
        let mut short = frame(ETHERTYPE_IPV6, false);
        short.truncate(15);
        assert!(flip(&mut short, u64::MAX));
    }
}
