//! The chance of a simulation: everything that may differ between two seeds is drawn here, and from the seed alone.
//!
//! Each part of a run has dice of its own, so that one more throw of one part changes no other. Panics on an empty choice.

use crate::rng::Rng;

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(Rng);

impl Dice {
    /// The dice of one purpose: a second die of the same seed that is thrown more or less often does not change the first.
    pub(super) const fn of(seed: u64, purpose: u64) -> Self {
        let mut rng = Rng::seeded(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        rng.next_u64();
        Self(rng)
    }

    /// True `n` times out of 10,000.
    pub(super) const fn chance(&mut self, n: u64) -> bool {
        self.0.below(10_000) < n
    }

    /// A number from `low` to `high`, both included.
    pub(super) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high - low + 1)
    }

    /// The same, each order of magnitude as likely as the others.
    pub(super) const fn scaled(&mut self, low: u64, high: u64) -> u64 {
        let bits = self.between((low + 1).ilog2() as u64, (high + 1).ilog2() as u64);
        let drawn = self.between((1 << bits) - 1, (2 << bits) - 2);
        if drawn < low {
            low
        } else if drawn > high {
            high
        } else {
            drawn
        }
    }

    /// One of some.
    pub(super) const fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.below(of.len() as u64) as usize]
    }

    /// 64 bits.
    pub(super) const fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
}
