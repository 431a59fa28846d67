//! The frames on one way of a cable, by the time they are due.
//!
//! Filled and emptied by `run`. Frames due at the same time leave in the order they came. Bounded; nothing is allocated after the start; cannot panic.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::time::Instant;

/// Frames and when they are due.
#[derive(Debug)]
pub(super) struct Transit<F> {
    due: BinaryHeap<Reverse<Due<F>>>,
    limit: usize,
    entered: u64,
}

/// A frame on its way.
#[derive(Debug)]
struct Due<F> {
    at: Instant,
    entered: u64,
    frame: F,
}

impl<F> Transit<F> {
    /// Room for `limit` frames.
    pub(super) fn new(limit: usize) -> Self {
        Self { due: BinaryHeap::with_capacity(limit), limit, entered: 0 }
    }

    /// Puts a frame on its way.
    ///
    /// # Errors
    /// The frame itself, when there is no room.
    pub(super) fn push(&mut self, at: Instant, frame: F) -> Result<(), F> {
        if self.due.len() >= self.limit {
            return Err(frame);
        }
        self.due.push(Reverse(Due { at, entered: self.entered, frame }));
        self.entered += 1;
        Ok(())
    }

    /// When the next frame is due; [`Instant::NEVER`] when none is on its way.
    pub(super) fn next_due(&self) -> Instant {
        self.due.peek().map_or(Instant::NEVER, |Reverse(due)| due.at)
    }

    /// The next frame, still on its way; `None` when none is due at `now`.
    pub(super) fn peek_due(&self, now: Instant) -> Option<&F> {
        self.due.peek().filter(|Reverse(due)| due.at <= now).map(|Reverse(due)| &due.frame)
    }

    /// The next frame, and when it was due; `None` when none is due at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, F)> {
        if self.next_due() > now {
            return None;
        }
        self.due.pop().map(|Reverse(due)| (due.at, due.frame))
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// Takes all off the way, whenever they are due.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = F> + '_ {
        self.due.drain().map(|Reverse(due)| due.frame)
    }
}

impl<F> Due<F> {
    const fn key(&self) -> (u64, u64) {
        (self.at.as_ns(), self.entered)
    }
}

impl<F> PartialEq for Due<F> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<F> Eq for Due<F> {}

impl<F> PartialOrd for Due<F> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<F> Ord for Due<F> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_leave_by_time_and_then_by_arrival(times in prop::collection::vec(0u64..50, 0..200)) {
            let mut transit = Transit::new(150);
            for (n, &at) in times.iter().enumerate() {
                prop_assert_eq!(transit.push(Instant::from_ns(at), n).is_ok(), n < 150);
            }
            let mut expected: Vec<_> = times.iter().take(150).copied().enumerate().map(|(n, at)| (at, n)).collect();
            expected.sort_unstable();
            let mut left = Vec::new();
            for now in 0..50 {
                while let Some((at, n)) = transit.pop_due(Instant::from_ns(now)) {
                    prop_assert_eq!(at.as_ns(), now, "neither early nor late");
                    left.push((at.as_ns(), n));
                }
            }
            prop_assert_eq!(left, expected);
            prop_assert_eq!((transit.len(), transit.next_due()), (0, Instant::NEVER));
        }
    }
}
