//! Histograms for scrapers: counts by fixed bounds, small enough to be kept on a core and to be told whole.
//!
//! The engine counts what it times into them, at most one a sampled turn and one a connection; a [`Report`](super::Report) carries them, and
//! [`crate::metrics::prometheus`] prints them. Latency that is measured for itself goes into [`crate::metrics::histogram`], at three digits and
//! a hundred times the size. Counting neither allocates nor fails; nothing here panics.

use std::time::Duration;

use crate::time::span_ns;

/// How many values lay at or below each of the bounds, and their sum.
///
/// ```
/// use std::time::Duration;
/// use ringway::engine::buckets::Buckets;
/// let mut times = Buckets::times();
/// times.count_span(Duration::from_micros(3));
/// times.count_span(Duration::from_secs(60));
/// let at_most = |ns| times.cumulative().find(|&(bound, _)| bound == ns).map(|(_, count)| count);
/// assert_eq!((at_most(2_000), at_most(5_000), times.len()), (Some(0), Some(1), 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets<const BOUNDS: usize> {
    bounds: &'static [u64; BOUNDS],
    counts: [u64; BOUNDS],
    /// Above the last bound.
    beyond: u64,
    sum: u64,
}

/// Of times, in nanoseconds.
pub type Times = Buckets<22>;
/// Of frames.
pub type Frames = Buckets<9>;

impl Times {
    /// From 1 us, which is about what a frame takes, to 10 s, after which nobody waits; steps of 1, 2 and 5, so that a quantile that is reckoned
    /// from them is off by less than the half of itself.
    pub const fn times() -> Self {
        Self::new(&TIMES_NS)
    }

    /// Counts a span.
    #[inline]
    pub fn count_span(&mut self, span: Duration) {
        self.count(span_ns(span));
    }
}

impl Frames {
    /// From one frame to four bursts.
    pub const fn frames() -> Self {
        Self::new(&FRAMES)
    }
}

impl<const BOUNDS: usize> Buckets<BOUNDS> {
    const fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Self { bounds, counts: [0; BOUNDS], beyond: 0, sum: 0 }
    }

    /// Counts a value.
    #[inline]
    pub fn count(&mut self, value: u64) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        *self.counts.get_mut(at).unwrap_or(&mut self.beyond) += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, others)| *own += others);
        self.beyond += other.beyond;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Each bound, with how many values were not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bounds.iter().zip(&self.counts).scan(0, |seen, (&bound, count)| {
            *seen += count;
            Some((bound, *seen))
        })
    }

    /// All values.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }

    /// True when nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of all values.
    pub const fn sum(&self) -> u64 {
        self.sum
    }
}

/// What an engine times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histograms {
    /// How long turns took that received frames, of those that were timed (`stopwatch.rs`).
    pub turn_ns: Times,
    /// Frames that those turns received.
    pub turn_frames: Frames,
    /// How long handshakes took that a peer began: from its SYN to what acknowledged ours.
    pub accepted_ns: Times,
    /// How long handshakes took that a service began: from the call to the peer's SYN.
    pub opened_ns: Times,
}

impl Histograms {
    /// Adds what another core has timed.
    pub fn add(&mut self, other: &Self) {
        self.turn_ns.add(&other.turn_ns);
        self.turn_frames.add(&other.turn_frames);
        self.accepted_ns.add(&other.accepted_ns);
        self.opened_ns.add(&other.opened_ns);
    }
}

impl Default for Histograms {
    fn default() -> Self {
        let times = Times::times();
        Self { turn_ns: times, turn_frames: Frames::frames(), accepted_ns: times, opened_ns: times }
    }
}

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;
#[rustfmt::skip]
const TIMES_NS: [u64; 22] = [
    US, 2 * US, 5 * US, 10 * US, 20 * US, 50 * US, 100 * US, 200 * US, 500 * US,
    MS, 2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS,
    S, 2 * S, 5 * S, 10 * S,
];
const FRAMES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_at_the_first_bound_that_is_not_below_it() {
        for (ns, first) in
            [(0, 1_000), (1_000, 1_000), (1_001, 2_000), (9_999_999_999, 10_000_000_000), (10_000_000_000, 10_000_000_000)]
        {
            let mut times = Buckets::times();
            times.count(ns);
            let found = times.cumulative().find(|&(_, count)| count == 1).map(|(bound, _)| bound);
            assert_eq!((found, times.len(), times.sum()), (Some(first), 1, ns), "{ns} ns");
        }
        let mut late = Buckets::times();
        late.count(u64::MAX);
        late.count(u64::MAX);
        assert!(late.cumulative().all(|(_, count)| count == 0));
        assert_eq!((late.len(), late.sum()), (2, u64::MAX), "above all bounds, and a sum that stays at the end of its range");
    }

    #[test]
    fn two_added_are_one_that_saw_everything() {
        let [mut all, mut left, mut right] = [Buckets::frames(); 3];
        for frames in 0..300 {
            all.count(frames);
            if frames % 3 == 0 { &mut left } else { &mut right }.count(frames);
        }
        left.add(&right);
        assert_eq!(left, all);
        let counts: Vec<_> = all.cumulative().collect();
        assert_eq!(counts[..3], [(1, 2), (2, 3), (4, 5)]);
        assert_eq!((all.len(), all.sum()), (300, 299 * 300 / 2));
    }

    #[test]
    fn bounds_rise() {
        assert!(TIMES_NS.is_sorted_by(|a, b| a < b) && FRAMES.is_sorted_by(|a, b| a < b));
    }
}
