//! A rate and the queue before it: when a frame that arrives now has been sent, or that there is no room for it.
//!
//! One for each way of a cable that has a rate. A frame is on the wire for its length divided by the rate, to the nanosecond and without losing
//! the fractions; the others wait behind it, and one that finds the queue full is dropped (drop-tail). The rate comes before the delay, as on
//! a real line; netem has it behind. Pure; bounded by the queue; cannot panic.

use std::collections::VecDeque;

use crate::time::Instant;

/// The sending side of one way.
#[derive(Clone, Debug)]
pub(super) struct Bottleneck {
    bits_per_s: u64,
    queue: usize,
    /// When the last byte of each frame that is still here leaves, oldest first: one on the wire, the others wait.
    departures: VecDeque<Instant>,
    /// When the last frame has left.
    free_at: Instant,
    /// What the last frame lacked to a whole nanosecond, in parts of `bits_per_s`; used up while the line is busy.
    fraction: u64,
}

/// A frame that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// When its last byte leaves.
    pub(super) departs: Instant,
    /// How many frames waited when it came, the one on the wire not counted.
    pub(super) waiting: usize,
}

impl Bottleneck {
    /// Sends `bits_per_s` (above 0), and lets `queue` frames wait.
    pub(super) fn new(bits_per_s: u64, queue: usize) -> Self {
        let departures = VecDeque::with_capacity(queue.saturating_add(1));
        Self { bits_per_s: bits_per_s.max(1), queue, departures, free_at: Instant::ZERO, fraction: 0 }
    }

    /// A frame of `len` bytes arrives; `None` when the queue is full.
    pub(super) fn take(&mut self, now: Instant, len: usize) -> Option<Taken> {
        while self.departures.front().is_some_and(|&departed| departed <= now) {
            self.departures.pop_front();
        }
        let here = self.departures.len();
        if here > self.queue {
            //= rfc3168#5
            //# Routers that have a packet arriving at a full queue
            //# drop the packet, just as they do in the absence of ECN.
            return None;
        }
        if now > self.free_at {
            self.free_at = now;
            self.fraction = 0;
        }
        let needed = len as u128 * 8 * 1_000_000_000 + u128::from(self.fraction);
        let rate = u128::from(self.bits_per_s);
        self.fraction = (needed % rate) as u64;
        let ns = u64::try_from(needed / rate).unwrap_or(u64::MAX);
        self.free_at = Instant::from_ns(self.free_at.as_ns().saturating_add(ns));
        self.departures.push_back(self.free_at);
        Some(Taken { departs: self.free_at, waiting: here.saturating_sub(1) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_queue_drops_and_a_departure_makes_room() {
        // 1000 bits a second: 125 bytes take a second.
        let mut line = Bottleneck::new(1000, 2);
        let at = |s: u64| Instant::from_ns(s * 1_000_000_000);
        let taken = |s: u64, waiting| Some(Taken { departs: at(s), waiting });
        assert_eq!(line.take(at(0), 125), taken(1, 0), "on the wire at once");
        assert_eq!(line.take(at(0), 125), taken(2, 0), "the first that waits");
        assert_eq!(line.take(at(0), 125), taken(3, 1));
        assert_eq!(line.take(at(0), 125), None, "two wait");
        assert_eq!(line.take(at(1), 125), taken(4, 1), "one has left");
        assert_eq!(line.take(at(10), 125), taken(11, 0), "an idle line starts anew");
        let mut none = Bottleneck::new(1000, 0);
        assert_eq!(none.take(at(0), 125), taken(1, 0));
        assert_eq!(none.take(at(0), 125), None, "nothing may wait");
    }

    proptest! {
        #[test]
        fn the_rate_is_exact_and_the_order_kept(
            rate in 1_000u64..200_000_000_000, lengths in prop::collection::vec(14usize..4000, 1..200), pauses in any::<u64>(),
        ) {
            // All at once: the last leaves after exactly the time that all bits together take.
            let mut line = Bottleneck::new(rate, lengths.len());
            let mut last = Instant::ZERO;
            let mut bits = 0u128;
            for &len in &lengths {
                let taken = line.take(Instant::ZERO, len).unwrap();
                bits += len as u128 * 8;
                prop_assert!(taken.departs >= last);
                last = taken.departs;
                prop_assert_eq!(u128::from(last.as_ns()), bits * 1_000_000_000 / u128::from(rate));
            }
            // With pauses: never faster than the rate over any busy time, and never more waiting than there is room for.
            let mut line = Bottleneck::new(rate, 10);
            let (mut now, mut chance, mut last) = (0u64, crate::rng::Rng::seeded(pauses), Instant::ZERO);
            for &len in &lengths {
                now += chance.below(len as u64 * 8 * 1_500_000_000 / rate + 2);
                if let Some(taken) = line.take(Instant::from_ns(now), len) {
                    let least = len as u64 * 8 * 1_000_000_000 / rate;
                    prop_assert!(taken.departs.as_ns() >= now.max(last.as_ns()) + least);
                    prop_assert!(taken.waiting <= 10);
                    last = taken.departs;
                }
            }
        }
    }
}
