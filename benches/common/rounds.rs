//! Rounds of many operations of which only these are timed: what they need is made before, and what they leave is put away after.

use std::time::{Duration, Instant};

/// The time of `iterations` operations by that of rounds of `each`: a round prepares, and has what it gives to the second argument timed.
pub(crate) fn in_rounds(iterations: u64, each: usize, mut round: impl FnMut(&mut Stopwatch)) -> Duration {
    let rounds = iterations.div_ceil(each as u64).max(1);
    let mut watch = Stopwatch(Duration::ZERO);
    (0..rounds).for_each(|_| round(&mut watch));
    watch.0.mul_f64(iterations as f64 / (rounds * each as u64) as f64)
}

/// What was timed so far.
pub(crate) struct Stopwatch(Duration);

impl Stopwatch {
    /// Reads the clock twice, which takes some 25 ns: little where operations are many.
    #[inline(always)]
    pub(crate) fn time<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = what();
        self.0 += start.elapsed();
        result
    }
}
