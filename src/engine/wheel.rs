//! The timer wheel: arm, move, cancel and expire in constant time.
//!
//! Seven levels of 64 slots; the lowest has a tick of 1,024 ns, each level above is 64 times as coarse, so the wheel
//! covers 51 days. A timer waits in the level where its deadline first differs from the present, and moves down as time comes near: at
//! most six moves in its life. A timer never fires before its deadline; it fires at most one tick (1 us) after the turn that passes it.
//!
//! A slot of an upper level may hold a million timers when its time begins, so they move down a bounded number at a time. Meanwhile the
//! present goes on within the time of that slot, and other timers fire as ever; it does not leave it before the slot is empty. What is due
//! in the rest of it fires as soon as it is reached.
//!
//! Called by the engine only. Time is an argument, and nothing here panics: a handle that is stale does nothing.

use crate::demux::{Slab, SlotId};
use crate::limits;
use crate::time::Instant;

const TICK_BITS: u32 = 10;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 7;
/// Lists of a slot.
const LISTS: usize = 4;
const NONE: u32 = u32::MAX;
/// The furthest a timer can lie ahead, in ticks; what lies beyond waits there and is placed anew. Less than a round of the highest level, so
/// that a timer never waits for the next round in the slot of the present.
const HORIZON: u64 = (SLOTS as u64 - 1) * level_span(LEVELS - 1);

/// Names an armed timer.
pub type Handle = SlotId;

/// Timers that carry a `T`.
#[derive(Debug)]
pub struct Wheel<T> {
    /// Ticks up to, not including, this one have expired.
    now: u64,
    /// Nothing happens before this tick.
    soonest: u64,
    /// Bit `n` is set when the slot of level `n` that the present lies in has timers left to move down.
    unspread: u8,
    /// Timers that may still move down before [`Wheel::expire`] says `None`.
    moves: usize,
    timers: Slab<Timer<T>>,
    levels: [Level; LEVELS],
}

#[derive(Debug)]
struct Level {
    /// Several lists a slot, by the index of a timer: a list is walked from one to the next, each of which may lie beyond the caches, so that those of several
    /// are fetched at the same time.
    heads: [[u32; LISTS]; SLOTS],
    /// Bit `n` is set while slot `n` holds timers.
    occupied: u64,
}

#[derive(Debug)]
struct Timer<T> {
    /// In ticks: two halves, so that a timer needs no more than the alignment of one.
    deadline: [u32; 2],
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
            unspread: 0,
            moves: limits::TIMER_MOVES_PER_TURN,
            timers: Slab::with_capacity(capacity),
            levels: std::array::from_fn(|_| Level { heads: [[NONE; LISTS]; SLOTS], occupied: 0 }),
        }
    }

    /// What an armed timer takes.
    pub const TIMER_BYTES: usize = Slab::<Timer<T>>::SLOT_BYTES;

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
        let timer = Timer { deadline: halves(tick_after(at)), level: 0, slot: 0, previous: NONE, next: NONE, what };
        let handle = self.timers.insert(timer).ok()?;
        self.place(handle.slot);
        Some(handle)
    }

    /// Has an armed timer fetched, and does not wait for it.
    #[inline]
    pub(super) fn fetch(&self, handle: Handle) {
        self.timers.fetch(handle.slot, Self::TIMER_BYTES);
    }

    /// The same for those beside it, which are told when it is cancelled.
    #[inline]
    pub(super) fn fetch_beside(&self, handle: Handle) {
        if let Some(timer) = self.timers.find(handle) {
            self.timers.fetch(timer.previous, Self::TIMER_BYTES);
            self.timers.fetch(timer.next, Self::TIMER_BYTES);
        }
    }

    /// Timers that [`Wheel::expire`] is about to give: the next of them, in their order.
    pub(super) fn about_to_expire(&self, now: Instant) -> impl Iterator<Item = T> {
        let target = now.as_ns() >> TICK_BITS;
        // As far as the lowest level reaches.
        let end = if target < self.soonest { self.now } else { (target + 1).min((self.now | (SLOTS as u64 - 1)) + 1) };
        let Level { heads, occupied } = &self.levels[0];
        let ticks = (self.now..end).filter(move |&tick| occupied >> slot_of(tick, 0) & 1 == 1);
        let lists = ticks.flat_map(move |tick| heads[slot_of(tick, 0)]);
        let in_list = |head| std::iter::successors(self.timers.at(head), |(_, timer)| self.timers.at(timer.next));
        lists.flat_map(in_list).map(|(_, timer)| timer.what)
    }

    /// Takes a timer back and returns what it carried; `None` when it has expired or was cancelled already.
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        self.timers.find(handle)?;
        self.unlink(handle.slot);
        self.timers.remove(handle).map(|timer| timer.what)
    }

    /// Takes the next timer whose deadline is not after `now`; `None` when there is no more, or when enough was moved for now, and then
    /// [`Wheel::next_deadline`] is not after `now` either. From one `None` to the next at most [`limits::TIMER_MOVES_PER_TURN`] timers move.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        if !self.is_due(now) {
            return None;
        }
        let target = now.as_ns() >> TICK_BITS;
        loop {
            let due = (self.now & (SLOTS as u64 - 1)) as usize;
            let first = self.levels[0].heads[due].into_iter().find(|&head| head != NONE);
            if let Some(head) = first.filter(|_| self.now <= target) {
                self.unlink(head);
                let (id, _) = self.timers.at(head)?;
                return self.timers.remove(id).map(|timer| timer.what);
            }
            if self.advance(target) {
                continue;
            }
            // What was left when its slot began comes last, so that it holds nobody up who is in time.
            if self.unspread == 0 || self.moves == 0 {
                break;
            }
            self.spread(self.unspread & self.unspread.wrapping_neg());
        }
        self.moves = limits::TIMER_MOVES_PER_TURN;
        self.soonest = if self.unspread == 0 { self.next_event() } else { self.now };
        None
    }

    /// False when [`Wheel::expire`] has nothing to do: what most turns look at alone.
    #[inline]
    pub const fn is_due(&self, now: Instant) -> bool {
        now.as_ns() >> TICK_BITS >= self.soonest
    }

    /// When [`Wheel::expire`] must be called next: no timer is due before it. In the past while timers are left to be moved;
    /// [`Instant::NEVER`] when none is armed.
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

    /// Moves the present forward, to the next tick at which something happens, at most to `target`, and not out of a slot that is not
    /// spread yet. False when it stays where it is.
    fn advance(&mut self, target: u64) -> bool {
        let last = match self.unspread {
            0 => target,
            levels => target.min(self.now | (level_span(levels.trailing_zeros() as usize) - 1)),
        };
        if self.now >= last {
            return false;
        }
        self.now = self.next_event().clamp(self.now + 1, last);
        // Slots of upper levels that begin now are spread over the levels below.
        let mut begun = 0;
        let mut level = 1;
        while level < LEVELS && self.now & (level_span(level) - 1) == 0 {
            begun |= u8::from(self.levels[level].occupied & 1 << slot_of(self.now, level) != 0) << level;
            level += 1;
        }
        self.unspread |= begun;
        self.spread(begun);
        true
    }

    /// The first tick of the next occupied slot of a level, seen from the present.
    fn next_slot_start(&self, level: usize) -> Option<u64> {
        let occupied = self.levels[level].occupied;
        if occupied == 0 {
            return None;
        }
        let current = slot_of(self.now, level) as u32;
        // Slot numbers wrap: rotate so that the present slot is bit 0. On upper levels what is left in it is moved in the present.
        let ahead = occupied.rotate_right(current) & if level == 0 { u64::MAX } else { !1 };
        let span = level_span(level);
        (ahead != 0).then(|| (self.now / span + u64::from(ahead.trailing_zeros())) * span)
    }

    /// Moves timers down from the slots that the present lies in on these levels, as many as may move.
    fn spread(&mut self, mut levels: u8) {
        while levels != 0 {
            let level = levels.trailing_zeros() as usize;
            levels &= levels - 1;
            let slot = slot_of(self.now, level);
            let mut heads = self.levels[level].heads[slot];
            while self.moves > 0 && heads != [NONE; LISTS] {
                for head in heads.iter_mut().filter(|head| **head != NONE).take(self.moves) {
                    let next = self.timers.at(*head).map_or(NONE, |(_, timer)| timer.next);
                    self.timers.fetch(next, Self::TIMER_BYTES);
                    // Into another slot always: nothing waits in the present one of an upper level but what waits to be moved.
                    self.place(std::mem::replace(head, next));
                    self.moves -= 1;
                }
            }
            self.levels[level].heads[slot] = heads;
            for head in heads {
                if let Some((_, first)) = self.timers.at_mut(head) {
                    first.previous = NONE;
                }
            }
            if heads != [NONE; LISTS] {
                return;
            }
            self.levels[level].occupied &= !(1 << slot);
            self.unspread &= !(1 << level);
        }
    }

    /// Links a timer into the slot where its deadline lies, seen from the present.
    fn place(&mut self, index: u32) {
        let now = self.now;
        let Some((_, timer)) = self.timers.at_mut(index) else { return };
        let deadline = whole(timer.deadline).clamp(now, now.saturating_add(HORIZON));
        let differing = deadline ^ now;
        let level = if differing == 0 { 0 } else { ((63 - differing.leading_zeros()) / SLOT_BITS) as usize };
        let level = level.min(LEVELS - 1);
        let slot = slot_of(deadline, level);
        self.soonest = self.soonest.min(deadline & !(level_span(level) - 1));
        timer.level = level as u8;
        timer.slot = slot as u8;
        timer.previous = NONE;
        let head = std::mem::replace(&mut self.levels[level].heads[slot][list_of(index)], index);
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
            None => self.levels[level].heads[slot][list_of(index)] = next,
        }
        if let Some((_, after)) = self.timers.at_mut(next) {
            after.previous = previous;
        }
        // What comes next first: it answers for most, and all lists can be read at once only when what was just written to one is in the cache.
        if next == NONE && self.levels[level].heads[slot] == [NONE; LISTS] {
            self.levels[level].occupied &= !(1 << slot);
        }
    }
}

/// The first tick that begins at or after an instant: a timer must not fire early.
const fn tick_after(at: Instant) -> u64 {
    at.as_ns().div_ceil(1 << TICK_BITS)
}

const fn halves(ticks: u64) -> [u32; 2] {
    [(ticks >> 32) as u32, ticks as u32]
}

const fn whole([high, low]: [u32; 2]) -> u64 {
    (high as u64) << 32 | low as u64
}

/// The list of its slot that a timer is in.
const fn list_of(index: u32) -> usize {
    index as usize % LISTS
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
    use std::collections::BTreeMap;
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
    fn what_is_about_to_expire_is_told_in_order_and_stays() {
        let mut wheel = Wheel::with_capacity(8);
        for (nth, ns) in [9_000, 2_000, 2_001, 50_000, 5_000_000].into_iter().enumerate() {
            wheel.arm(at(ns), nth as u32).unwrap();
        }
        assert_eq!(wheel.about_to_expire(at(1_000)).count(), 0);
        let soon: Vec<_> = wheel.about_to_expire(at(20_000)).collect();
        assert_eq!((soon.len(), wheel.len()), (3, 5));
        assert_eq!(drain(&mut wheel, at(20_000)), soon);
        assert!(wheel.about_to_expire(at(20_000)).next().is_none());
        // Not beyond what the lowest level holds.
        assert!(wheel.about_to_expire(at(10_000_000)).all(|what| what == 3));
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

    /// Where each timer waits, by what it carries.
    fn places(wheel: &Wheel<u32>, count: usize) -> Vec<Option<(u8, u8)>> {
        let mut places = vec![None; count];
        wheel.timers.iter().for_each(|(_, timer)| places[timer.what as usize] = Some((timer.level, timer.slot)));
        places
    }

    /// A deadline in the slot of level 4 that begins after 17 s.
    const CROWDED: u64 = 20_000_000_000;

    #[test]
    fn a_crowded_slot_moves_a_bounded_number_at_a_time() {
        let count = 10 * limits::TIMER_MOVES_PER_TURN + 5;
        let mut wheel = Wheel::with_capacity(count);
        (0..count as u32).for_each(|n| assert!(wheel.arm(at(CROWDED + u64::from(n) * 99_991), n).is_some()));
        let now = wheel.next_deadline();
        let mut before = places(&wheel, count);
        assert!(before.iter().all(|place| *place == before[0]), "one slot");
        for turn in 0..=10 {
            assert!(wheel.next_deadline() <= now, "turn {turn}: not put off");
            assert_eq!(wheel.expire(now), None, "turn {turn}");
            let after = places(&wheel, count);
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert_eq!(moved, if turn < 10 { limits::TIMER_MOVES_PER_TURN } else { 5 }, "turn {turn}");
            before = after;
        }
        assert!(wheel.next_deadline() > now, "nothing is left to move");
    }

    #[test]
    fn while_a_crowded_slot_is_spread_other_timers_fire_in_time() {
        let crowd = 10 * limits::TIMER_MOVES_PER_TURN;
        let mut wheel = Wheel::with_capacity(crowd + 100);
        let handles: Vec<_> = (0..crowd).map(|_| wheel.arm(at(CROWDED), 0).unwrap()).collect();
        let mut now = wheel.next_deadline();
        assert!(drain(&mut wheel, now).is_empty());
        for turn in 1..9 {
            wheel.arm(now + Duration::from_micros(100), turn).unwrap();
            now += Duration::from_micros(200);
            assert_eq!(drain(&mut wheel, now), [turn]);
            assert!(wheel.next_deadline() <= now, "turn {turn}: the crowd still waits");
        }
        // Moved or not, each can be cancelled, and the wheel knows when the last is gone.
        assert!(handles.into_iter().all(|handle| wheel.cancel(handle) == Some(0)));
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, Instant::NEVER));
        wheel.arm(at(CROWDED), 7).unwrap();
        assert!(drain(&mut wheel, at(CROWDED - 1)).is_empty());
        assert_eq!(drain(&mut wheel, at(CROWDED + 1024)), [7]);
    }

    #[test]
    fn what_was_due_in_a_crowded_slot_fires_as_soon_as_it_is_reached() {
        let count = 3 * limits::TIMER_MOVES_PER_TURN;
        let mut wheel = Wheel::with_capacity(count);
        (0..count as u32).for_each(|n| assert!(wheel.arm(at(CROWDED), n).is_some()));
        // The slot begins and passes before anybody looks.
        let now = at(2 * CROWDED);
        let mut fired = 0;
        for look in 0..3 + LEVELS {
            let more = drain(&mut wheel, now).len();
            assert!(more <= limits::TIMER_MOVES_PER_TURN, "look {look}");
            fired += more;
        }
        assert_eq!(fired, count);
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

        /// Crowds that lie close together, some of which go again, and looks at any time, now and then several at once.
        #[test]
        fn crowds_fire_as_a_sorted_list_would(
            steps in prop::collection::vec((0u32..4000, 0u32..54, 0u32..54, 1usize..50, 0u32..53, 1usize..4), 1..12)
        ) {
            let mut wheel = Wheel::with_capacity(48_000);
            // By deadline and name.
            let mut model: BTreeMap<(u64, u32), Handle> = BTreeMap::new();
            let mut deadlines = Vec::new();
            let mut now = 0;
            for (crowd, ahead, spread, leave, step, looks) in steps {
                for n in 0..u64::from(crowd) {
                    let deadline = now + (1 << ahead) + (n * 2_654_435_761) % (1 << spread);
                    let name = deadlines.len() as u32;
                    model.insert((deadline, name), wheel.arm(at(deadline), name).unwrap());
                    deadlines.push(deadline);
                }
                let gone: Vec<_> = model.iter().skip(leave).step_by(leave).map(|(key, handle)| (*key, *handle)).collect();
                for ((deadline, name), handle) in gone {
                    prop_assert_eq!(wheel.cancel(handle), Some(name));
                    model.remove(&(deadline, name));
                }
                now += 1 << step;
                for _ in 0..looks {
                    for name in drain(&mut wheel, at(now)) {
                        let deadline = deadlines[name as usize];
                        prop_assert!(deadline <= now, "{name} is early");
                        prop_assert!(model.remove(&(deadline, name)).is_some(), "{name} fires although it is gone");
                    }
                    let promised = wheel.next_deadline();
                    match model.first_key_value() {
                        None => prop_assert_eq!(promised, Instant::NEVER),
                        Some(((first, _), _)) => {
                            prop_assert!(promised <= at(now.max(first.next_multiple_of(1024))), "{promised:?} after {first}");
                            // Unless it says that there is more to do, nothing is late.
                            prop_assert!(promised <= at(now) || first.next_multiple_of(1024) > now & !1023, "{first} at {now}");
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
            }
            // Each look moves so many, and each timer moves down six levels at most.
            let looks = 1 + (model.len() * (LEVELS + 8)).div_ceil(limits::TIMER_MOVES_PER_TURN);
            let fired: usize = (0..looks).map(|_| drain(&mut wheel, at(now + (1 << 56)))).map(|fired| fired.len()).sum();
            prop_assert_eq!((fired, wheel.next_deadline()), (model.len(), Instant::NEVER));
        }
    }
}
