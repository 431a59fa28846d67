//! Which connections are looked at again, whether they have come to rest: those to which something has happened, in the order in which it did.
//!
//! The time from an event to the look is the same for all, so their order is that of time, and a queue does what would cost a timer each. A deadline that is no
//! earlier than the look needs no timer either: the look arms it. Nothing here panics.

use std::collections::VecDeque;

use crate::demux::SlotId;
use crate::time::Instant;

/// Connections that wait for a look, the first one first.
#[derive(Debug)]
pub(super) struct Looks {
    /// Some of them have gone meanwhile.
    queue: VecDeque<(SlotId, Instant)>,
    capacity: usize,
}

impl Looks {
    /// For at most so many. Memory is taken as they become more.
    pub(super) const fn with_capacity(capacity: usize) -> Self {
        Self { queue: VecDeque::new(), capacity }
    }

    /// Has a connection looked at when more than [`LOOK_NS`] have gone by since `now`. False when too many wait.
    #[inline]
    pub(super) fn add(&mut self, id: SlotId, now: Instant) -> bool {
        let fits = self.queue.len() < self.capacity;
        if fits {
            self.queue.push_back((id, now.after_ns(LOOK_NS + 1)));
        }
        fits
    }

    /// The next one whose time has come.
    #[inline]
    pub(super) fn take(&mut self, now: Instant) -> Option<SlotId> {
        let &(id, at) = self.queue.front()?;
        if at > now {
            return None;
        }
        self.queue.pop_front();
        if self.queue.is_empty() {
            self.queue.shrink_to(KEPT);
        }
        Some(id)
    }

    /// The next ones, in their order, whose time has come or not.
    pub(super) fn next(&self) -> impl Iterator<Item = SlotId> {
        self.queue.iter().map(|&(id, _)| id)
    }

    /// True when none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the next look is due; [`Instant::NEVER`] for none.
    #[inline]
    pub(super) fn deadline(&self) -> Instant {
        self.queue.front().map_or(Instant::NEVER, |&(_, at)| at)
    }
}

/// How long after something happened to a connection it is looked at: the least retransmission timeout. Where that is longer, the look says when
/// the next is due.
pub(super) const LOOK_NS: u64 = 200_000_000;
/// How long no text may have gone over a connection, to which something has happened since the look was asked for, for it not to wait for another look. If it is
/// not at rest by then, it is soon: a timer tells.
pub(super) const QUIET_NS: u64 = LOOK_NS - LOOK_NS / 4;
/// Places that stay when a peak is over.
const KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> SlotId {
        SlotId { slot, generation: 0 }
    }

    #[test]
    fn looks_come_in_the_order_of_events_each_in_its_time() {
        let mut looks = Looks::with_capacity(3);
        assert_eq!((looks.deadline(), looks.take(Instant::NEVER)), (Instant::NEVER, None));
        for ns in 0..3 {
            assert!(looks.add(id(ns as u32), Instant::from_ns(ns)));
        }
        assert!(!looks.add(id(9), Instant::from_ns(9)), "it is full");
        assert_eq!(looks.deadline(), Instant::from_ns(LOOK_NS + 1));
        assert_eq!(looks.take(Instant::from_ns(LOOK_NS)), None);
        assert_eq!(looks.take(Instant::from_ns(LOOK_NS + 2)), Some(id(0)));
        assert_eq!(looks.take(Instant::from_ns(LOOK_NS + 2)), Some(id(1)));
        assert_eq!(looks.take(Instant::from_ns(LOOK_NS + 2)), None);
        assert_eq!(looks.next().collect::<Vec<_>>(), [id(2)]);
    }

    #[test]
    fn a_peak_leaves_little_memory() {
        let mut looks = Looks::with_capacity(100_000);
        (0..100_000).for_each(|slot| assert!(looks.add(id(slot), Instant::ZERO)));
        while looks.take(Instant::NEVER).is_some() {}
        assert!(looks.queue.capacity() <= 2 * KEPT, "{}", looks.queue.capacity());
    }
}
