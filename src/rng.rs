//! Seeded randomness.
//!
//! A small generator (SplitMix64) for everything that must vary but need not be secret: jitter, payload patterns,
//! test schedules. Secrets (hash keys, the key of initial sequence numbers) come from the operating system in
//! the engine's set-up and are passed in. Nothing here reads a clock or the system: the same seed gives the same
//! numbers.

/// A seeded pseudo-random generator; not for secrets.
///
/// ```
/// let mut a = ringway::rng::Rng::seeded(7);
/// let mut b = ringway::rng::Rng::seeded(7);
/// assert_eq!(a.next_u64(), b.next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose numbers follow from `seed` alone.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next 32 bits.
    pub const fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::seeded(1);
        assert_eq!(rng.below(0), 0);
        for bound in 1..1000 {
            assert!(rng.below(bound) < bound);
        }
    }
}
