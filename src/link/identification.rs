//! The identification of packets that leave in fragments (RFC 6864, RFC 8200 4.5, RFC 7739).
//!
//! Drawn by the engine once for each packet that it fragments; whole packets have none (RFC 6864 4.1). A counter behind a keyed permutation: no number comes
//! twice before all have come, and who has seen some cannot tell the next one, with which he could slip in a fragment of his own. Pure; cannot panic.

use siphasher::sip::SipHasher13;

/// The numbers of one core.
#[derive(Clone, Debug)]
pub struct Identifications {
    secret: SipHasher13,
    next_v4: u16,
    next_v6: u32,
}

impl Identifications {
    /// The numbers that follow from a secret; `core` tells those of cores with the same secret apart.
    pub fn new(secret: &[u8; 16], core: u64) -> Self {
        let mixed = SipHasher13::new_with_key(secret).hash(&core.to_ne_bytes());
        let key = u128::from_ne_bytes(*secret) ^ (u128::from(mixed) | u128::from(core) << 64);
        Self { secret: SipHasher13::new_with_key(&key.to_ne_bytes()), next_v4: 0, next_v6: 0 }
    }

    //= type=exception
    //= rfc6864#4.3
    //# Sources emitting non-atomic datagrams MUST NOT repeat IPv4 ID
    //# values within one MDL for a given source address/destination
    //# address/protocol tuple.
    // True of one core for as long as it fragments no more than 546 packets a second (65,536 in an MDL of two minutes). Beyond that, and between cores that
    // send from one address, numbers come again sooner, as those of other hosts do (RFC 6864 5.1): what reassembly then mixes up fails its checksum.
    /// For the next packet of IPv4. All 65,536 come before one comes again, whatever the destinations.
    pub fn v4(&mut self) -> u16 {
        let number = self.permuted(u32::from(self.next_v4), 8);
        self.next_v4 = self.next_v4.wrapping_add(1);
        number as u16
    }

    /// For the next packet of IPv6.
    pub fn v6(&mut self) -> u32 {
        let number = self.permuted(self.next_v6, 16);
        self.next_v6 = self.next_v6.wrapping_add(1);
        number
    }

    /// A Feistel network over two halves of `half` bits, at most 16.
    fn permuted(&self, number: u32, half: u32) -> u32 {
        let mask = (1 << half) - 1;
        let (mut left, mut right) = (number >> half & mask, number & mask);
        for round in 0..ROUNDS {
            let [a, b, c, d] = right.to_ne_bytes();
            let mixed = self.secret.hash(&[half as u8, round, a, b, c, d]) as u32 & mask;
            (left, right) = (right, left ^ mixed);
        }
        left << half | right
    }
}

/// Four make a permutation that cannot be told from chance (Luby and Rackoff); some more for halves as short as these.
const ROUNDS: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice_before_all_have_come() {
        let mut numbers = Identifications::new(&[7; 16], 0);
        let mut seen = vec![false; 1 << 16];
        for _ in 0..1 << 16 {
            assert!(!std::mem::replace(&mut seen[usize::from(numbers.v4())], true));
        }
        let mut of_v6: Vec<_> = (0..100_000).map(|_| numbers.v6()).collect();
        of_v6.sort_unstable();
        of_v6.dedup();
        assert_eq!(of_v6.len(), 100_000);
    }

    #[test]
    fn the_next_does_not_follow_from_the_last_and_cores_differ() {
        let mut numbers = Identifications::new(&[7; 16], 0);
        let of_v4: Vec<_> = (0..1000).map(|_| numbers.v4()).collect();
        let steps = of_v4.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect::<std::collections::HashSet<_>>();
        assert!(steps.len() > 900, "{} different steps", steps.len());
        let mut others = Identifications::new(&[7; 16], 1);
        assert!((0..1000).filter(|&n| others.v4() == of_v4[n]).count() < 10);
    }
}
