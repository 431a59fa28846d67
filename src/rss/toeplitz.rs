//! The Toeplitz hash, the one function that nearly every NIC spreads packets by.
//!
//! Published by Microsoft with vectors ("RSS hashing functions", "Verifying the RSS hash calculation"): for each bit of the input that is set, the 32
//! bits of the key that begin at the same place go into the hash by exclusive or. Called for each port that is tried; costs about a nanosecond a bit.

use std::fmt;

/// The hash under a key.
///
/// ```
/// use ringway::rss::Toeplitz;
/// let mut key = vec![0; 8];
/// key[..4].copy_from_slice(&[0x80, 0, 0, 1]);
/// assert_eq!(Toeplitz::new(key).hash(&[0x80, 0, 0, 0]), Some(0x8000_0001));
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Toeplitz {
    key: Box<[u8]>,
    initial: u32,
}

impl Toeplitz {
    /// The hash under `key`, in the order in which the NIC was given it.
    pub fn new(key: impl Into<Box<[u8]>>) -> Self {
        Self { key: key.into(), initial: 0 }
    }

    /// The same with another value than 0 to begin from.
    #[must_use]
    pub fn starting_from(self, initial: u32) -> Self {
        Self { initial, ..self }
    }

    /// The same with the key's bytes in the opposite order.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.key.reverse();
        self
    }

    /// The hash of `input`; `None` when the key is too short for it.
    pub fn hash(&self, input: &[u8]) -> Option<u32> {
        let (first, rest) = self.key.split_first_chunk::<4>()?;
        if rest.len() < input.len() {
            return None;
        }
        let mut window = u32::from_be_bytes(*first);
        let mut hash = self.initial;
        for (byte, next) in input.iter().zip(rest) {
            let wide = u64::from(window) << 8 | u64::from(*next);
            for bit in 0..8 {
                // No branch: the bits of an address are as good as random.
                let taken = 0_u32.wrapping_sub(u32::from(byte >> (7 - bit) & 1));
                hash ^= (wide >> (8 - bit)) as u32 & taken;
            }
            window = wide as u32;
        }
        Some(hash)
    }

    /// True when the key cannot be the NIC's: there is none, or it is all zeros, which some drivers tell instead of it.
    pub fn is_blank(&self) -> bool {
        self.key.iter().all(|&byte| byte == 0)
    }
}

impl fmt::Debug for Toeplitz {
    /// Whoever knows the key can aim at one queue: it is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Toeplitz({} bytes)", self.key.len())
    }
}

/// The key of the published vectors.
#[cfg(test)]
pub(super) const PUBLISHED_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae,
    0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_must_reach_32_bits_beyond_the_input() {
        let published = Toeplitz::new(PUBLISHED_KEY);
        assert!(published.hash(&[0xff; 36]).is_some());
        assert_eq!(published.hash(&[0xff; 37]), None);
        for short in 0..4 {
            assert_eq!(Toeplitz::new(&PUBLISHED_KEY[..short]).hash(&[]), None);
        }
        assert_eq!(Toeplitz::new(&PUBLISHED_KEY[..4]).hash(&[]), Some(0));
    }

    #[test]
    fn each_bit_takes_the_key_from_its_place_on() {
        let published = Toeplitz::new(PUBLISHED_KEY);
        let bit = |at: usize| {
            let mut input = [0; 36];
            input[at / 8] = 0x80 >> (at % 8);
            published.hash(&input).unwrap()
        };
        let key = |at: usize| {
            (0..32).fold(0, |sum: u32, n| sum << 1 | u32::from(PUBLISHED_KEY[(at + n) / 8] >> (7 - (at + n) % 8) & 1))
        };
        (0..288).for_each(|at| assert_eq!(bit(at), key(at), "bit {at}"));
    }

    #[test]
    fn a_hash_may_begin_elsewhere_and_a_key_may_be_read_backwards() {
        let input = [0x5a; 12];
        let published = Toeplitz::new(PUBLISHED_KEY);
        let hash = published.hash(&input).unwrap();
        assert_eq!(published.clone().starting_from(u32::MAX).hash(&input), Some(!hash));
        let mut backwards = PUBLISHED_KEY;
        backwards.reverse();
        assert_ne!(Toeplitz::new(backwards).hash(&input), Some(hash));
        assert_eq!(Toeplitz::new(backwards).reversed(), published);
    }

    #[test]
    fn a_key_of_zeros_is_none() {
        assert!(Toeplitz::new([0; 40]).is_blank() && Toeplitz::new([]).is_blank());
        assert!(!Toeplitz::new(PUBLISHED_KEY).is_blank());
        assert_eq!(format!("{:?}", Toeplitz::new(PUBLISHED_KEY)), "Toeplitz(40 bytes)");
    }
}
