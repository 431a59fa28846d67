//! The timer wheel: arm, move, cancel and expire in constant time.
//!
//! Seven levels of 64 slots; the lowest has a tick of 1,024 ns, each level above is 64 times as coarse, so the wheel
//! covers 52 days. A timer waits in the level where its deadline first differs from the present, and moves down as time comes near: at
//! most six moves in its life. A timer never fires before its deadline; it fires at most one tick (1 us) after the turn that passes it.
//!
//! Called by the engine only. Time is an argument, and nothing here panics: a handle that is stale does nothing.

use crate::demux::{Slab, SlotId};
use crate::time::Instant;

const TICK_BITS: u32 = 10;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 7;
const NONE: u32 = u32::MAX;
/// The furthest a timer can lie ahead, in ticks; what lies beyond waits there and is placed anew.
const HORIZON: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;

/// Names an armed timer.
pub type Handle = SlotId;

/// Timers that carry a `T`.
#[derive(Debug)]
pub struct Wheel<T> {
    /// Ticks up to, not including, this one have expired.
    now: u64,
    /// Nothing happens before this tick: what most turns look at alone.
    soonest: u64,
    timers: Slab<Timer<T>>,
    levels: [Level; LEVELS],
}

#[derive(Debug)]
struct Level {
    heads: [u32; SLOTS],
    /// Bit `n` is set while slot `n` holds timers.
    occupied: u64,
}

#[derive(Debug)]
struct Timer<T> {
    deadline: u64,
    level: u8,
    slot: u8,
    previous: u32,
    next: u32,
    what: T,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel for at most `capacity` timers.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            now: 0,
            soonest: u64::MAX,
            timers: Slab::with_capacity(capacity),
            levels: std::array::from_fn(|_| Level { heads: [NONE; SLOTS], occupied: 0 }),
        }
    }

    /// Timers that are armed.
    pub const fn len(&self) -> usize {
        self.timers.len()
    }

    /// True when none is armed.
    pub const fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Arms a timer. `None` when all are in use.
    pub fn arm(&mut self, at: Instant, what: T) -> Option<Handle> {
        let timer = Timer { deadline: tick_after(at), level: 0, slot: 0, previous: NONE, next: NONE, what };
        let handle = self.timers.insert(timer).ok()?;
        self.place(handle.slot);
        Some(handle)
    }

    /// Takes a timer back and returns what it carried; `None` when it has expired or was cancelled already.
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        self.timers.find(handle)?;
        self.unlink(handle.slot);
        self.timers.remove(handle).map(|timer| timer.what)
    }

    /// Takes the next timer whose deadline is not after `now`; `None` when there is no more. To be called until it says `None`.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        let target = now.as_ns() >> TICK_BITS;
        if target < self.soonest {
            return None;
        }
        loop {
            let due = (self.now & (SLOTS as u64 - 1)) as usize;
            let head = self.levels[0].heads[due];
            if head != NONE && self.now <= target {
                self.unlink(head);
                let (id, _) = self.timers.at(head)?;
                return self.timers.remove(id).map(|timer| timer.what);
            }
            if self.now >= target {
                self.soonest = self.next_event();
                return None;
            }
            self.advance(target);
        }
    }

    /// When [`Wheel::expire`] must be called next: no timer is due before it. [`Instant::NEVER`] when none is armed.
    pub fn next_deadline(&self) -> Instant {
        match self.soonest {
            // The last timer may have gone without a look at what comes next: an empty wheel would keep its owner awake.
            _ if self.is_empty() => Instant::NEVER,
            u64::MAX => Instant::NEVER,
            tick => Instant::from_ns(tick.saturating_mul(1 << TICK_BITS)),
        }
    }

    /// The first tick, seen from the present, at which a slot begins that holds timers.
    fn next_event(&self) -> u64 {
        (0..LEVELS).filter_map(|level| self.next_slot_start(level)).min().unwrap_or(u64::MAX)
    }

    /// Moves the present forward, to the next tick at which something happens, at most to `target`.
    fn advance(&mut self, target: u64) {
        let next = self.next_event().clamp(self.now + 1, target);
        self.now = next;
        // Slots of upper levels that begin now are spread over the levels below, from the top down.
        for level in (1..LEVELS).rev() {
            if next & (level_span(level) - 1) == 0 {
                self.cascade(level, slot_of(next, level));
            }
        }
    }

    /// The first tick of the next occupied slot of a level, seen from the present.
    fn next_slot_start(&self, level: usize) -> Option<u64> {
        let occupied = self.levels[level].occupied;
        if occupied == 0 {
            return None;
        }
        let current = slot_of(self.now, level) as u32;
        // Slot numbers wrap: rotate so that the present slot is bit 0. On upper levels the present slot has been spread already,
        // so a timer in it belongs to the next round.
        let ahead = occupied.rotate_right(current);
        let distance = if level > 0 && ahead & 1 == 1 && ahead == 1 {
            SLOTS as u64
        } else if level > 0 {
            u64::from((ahead & !1).trailing_zeros())
        } else {
            u64::from(ahead.trailing_zeros())
        };
        let span = level_span(level);
        Some(((self.now / span) + distance) * span)
    }

    fn cascade(&mut self, level: usize, slot: usize) {
        let mut head = std::mem::replace(&mut self.levels[level].heads[slot], NONE);
        self.levels[level].occupied &= !(1 << slot);
        while head != NONE {
            let Some((_, timer)) = self.timers.at_mut(head) else { return };
            let next = timer.next;
            self.place(head);
            head = next;
        }
    }

    /// Links a timer into the slot where its deadline lies, seen from the present.
    fn place(&mut self, index: u32) {
        let now = self.now;
        let Some((_, timer)) = self.timers.at_mut(index) else { return };
        let deadline = timer.deadline.clamp(now, now.saturating_add(HORIZON));
        let differing = deadline ^ now;
        let level = if differing == 0 { 0 } else { ((63 - differing.leading_zeros()) / SLOT_BITS) as usize };
        let level = level.min(LEVELS - 1);
        let slot = slot_of(deadline, level);
        self.soonest = self.soonest.min(deadline & !(level_span(level) - 1));
        timer.level = level as u8;
        timer.slot = slot as u8;
        timer.previous = NONE;
        let head = std::mem::replace(&mut self.levels[level].heads[slot], index);
        self.levels[level].occupied |= 1 << slot;
        if let Some((_, timer)) = self.timers.at_mut(index) {
            timer.next = head;
        }
        if let Some((_, after)) = self.timers.at_mut(head) {
            after.previous = index;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some((_, timer)) = self.timers.at_mut(index) else { return };
        let (level, slot) = (usize::from(timer.level), usize::from(timer.slot));
        let (previous, next) = (timer.previous, timer.next);
        match self.timers.at_mut(previous) {
            Some((_, before)) => before.next = next,
            None => self.levels[level].heads[slot] = next,
        }
        if let Some((_, after)) = self.timers.at_mut(next) {
            after.previous = previous;
        }
        if self.levels[level].heads[slot] == NONE {
            self.levels[level].occupied &= !(1 << slot);
        }
    }
}

/// The first tick that begins at or after an instant: a timer must not fire early.
const fn tick_after(at: Instant) -> u64 {
    at.as_ns().div_ceil(1 << TICK_BITS)
}

/// Ticks in one slot of a level.
const fn level_span(level: usize) -> u64 {
    1 << (SLOT_BITS * level as u32)
}

const fn slot_of(tick: u64, level: usize) -> usize {
    ((tick >> (SLOT_BITS * level as u32)) as usize) & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(ns: u64) -> Instant {
        Instant::from_ns(ns)
    }

    fn drain(wheel: &mut Wheel<u32>, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| wheel.expire(now)).collect()
    }

    #[test]
    fn a_timer_never_fires_early_and_at_most_a_tick_late() {
        for ns in [0, 1, 1023, 1024, 1025, 65_536, 1_000_000, 30_000_000_000, 3_600_000_000_000] {
            let mut wheel = Wheel::with_capacity(4);
            wheel.arm(at(ns), 7).unwrap();
            if ns > 0 {
                assert!(drain(&mut wheel, at(ns - 1)).is_empty(), "early at {ns}");
            }
            assert_eq!(drain(&mut wheel, at(ns + 1024)), [7], "late at {ns}");
            assert!(wheel.is_empty());
        }
    }

    #[test]
    fn an_empty_wheel_has_no_deadline_however_it_became_empty() {
        let mut wheel = Wheel::with_capacity(4);
        let handle = wheel.arm(at(5_000_000), 7).unwrap();
        wheel.cancel(handle);
        assert_eq!(wheel.next_deadline(), Instant::NEVER);
        wheel.arm(at(5_000_000), 7).unwrap();
        assert_eq!(wheel.expire(at(6_000_000)), Some(7));
        assert_eq!(wheel.next_deadline(), Instant::NEVER);
    }

    #[test]
    fn beyond_the_horizon_it_waits_and_is_placed_anew() {
        let year = Duration::from_secs(366 * 86_400);
        let mut wheel = Wheel::with_capacity(1);
        wheel.arm(Instant::ZERO + year, 1).unwrap();
        let mut now = Instant::ZERO;
        while now < Instant::ZERO + year {
            assert!(drain(&mut wheel, now).is_empty());
            now += Duration::from_secs(86_400);
        }
        assert_eq!(drain(&mut wheel, Instant::ZERO + year + Duration::from_millis(1)), [1]);
    }

    #[test]
    fn a_cancelled_timer_is_gone_and_its_handle_is_stale() {
        let mut wheel = Wheel::with_capacity(1);
        let handle = wheel.arm(at(5_000), 1).unwrap();
        assert!(wheel.arm(at(1), 2).is_none(), "full");
        assert_eq!(wheel.cancel(handle), Some(1));
        wheel.arm(at(9_000), 3).unwrap();
        assert_eq!(wheel.cancel(handle), None);
        assert_eq!(drain(&mut wheel, at(1 << 20)), [3]);
    }

    proptest! {
        #[test]
        fn fires_as_a_sorted_list_would(
            steps in prop::collection::vec((0u64..200_000_000, prop::option::of(0usize..40), 0u64..50_000_000), 1..120)
        ) {
            let mut wheel = Wheel::with_capacity(256);
            let mut model: Vec<(u64, u32, Handle)> = Vec::new();
            let mut now = 0;
            for (id, (ahead, cancel, step)) in steps.into_iter().enumerate() {
                let deadline = now + ahead;
                let handle = wheel.arm(at(deadline), id as u32).unwrap();
                model.push((deadline, id as u32, handle));
                if let Some(nth) = cancel.filter(|&nth| nth < model.len()) {
                    let (_, what, handle) = model.remove(nth);
                    prop_assert_eq!(wheel.cancel(handle), Some(what));
                }
                let promised = wheel.next_deadline();
                if let Some(first) = model.iter().map(|timer| timer.0).min() {
                    prop_assert!(promised.as_ns() <= first.next_multiple_of(1024), "{promised:?} after {first}");
                }
                now += step;
                let fired = drain(&mut wheel, at(now));
                for what in &fired {
                    let deadline = model.iter().find(|timer| timer.1 == *what).unwrap().0;
                    prop_assert!(deadline <= now);
                }
                model.retain(|timer| !fired.contains(&timer.1));
                prop_assert!(model.iter().all(|timer| timer.0.next_multiple_of(1024) > now & !1023));
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
