//! The bounded list of out-of-order ranges of one connection.
//!
//! Called by the receive queue. Sorted, disjoint, not touching; at most [`REASSEMBLY_BLOCKS`] of them, so that neither memory
//! nor the work per segment can be driven up by a peer. All numbers lie within one receive window, so that the wrapping order
//! of [`SeqNum`] is a true order here. The list also remembers where data arrived last, which is the order in which selective
//! acknowledgments report it. Nothing panics.

use super::seq::SeqNum;
use crate::limits::REASSEMBLY_BLOCKS;
#[cfg(test)]
use crate::sim::planted::{self, Bug};

/// A range of sequence numbers: `left` up to, not including, `right`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) left: SeqNum,
    pub(super) right: SeqNum,
}

impl Range {
    /// True when there is no number in it.
    pub(super) const fn is_empty(self) -> bool {
        self.left.at_or_after(self.right)
    }

    /// The numbers in both.
    pub(super) fn overlap(self, other: Self) -> Self {
        Self { left: self.left.latest(other.left), right: self.right.earliest(other.right) }
    }

    /// All numbers of both, if they overlap or touch.
    pub(super) fn union(self, other: Self) -> Option<Self> {
        let joined = Self { left: self.left.earliest(other.left), right: self.right.latest(other.right) };
        touches(self, other).then_some(joined)
    }

    /// True when `seq` is one of its numbers.
    pub(super) const fn contains(self, seq: SeqNum) -> bool {
        seq.at_or_after(self.left) && seq.before(self.right)
    }
}

/// The ranges received beyond a hole, nearest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges {
    list: [Range; REASSEMBLY_BLOCKS],
    count: usize,
    /// A number in each of the ranges that were touched last, the latest first. A range only grows until it is taken out, so that the
    /// number finds it whatever it has been joined with.
    recent: [SeqNum; SACK_BLOCKS],
    recent_count: usize,
}

impl Ranges {
    /// The ranges, nearest first.
    pub(super) fn as_slice(&self) -> &[Range] {
        &self.list[..self.count]
    }

    /// True when there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many numbers all of them hold.
    pub(super) fn bytes(&self) -> u32 {
        self.as_slice().iter().map(|range| range.right - range.left).sum()
    }

    /// Forgets all.
    pub(super) const fn clear(&mut self) {
        self.count = 0;
        self.recent_count = 0;
    }

    /// The range that holds a number.
    pub(super) fn around(&self, seq: SeqNum) -> Option<Range> {
        self.as_slice().iter().copied().find(|range| range.contains(seq))
    }

    /// The first part of `new` that is already here; empty when there is none.
    pub(super) fn duplicate(&self, new: Range) -> Range {
        self.as_slice().iter().map(|range| range.overlap(new)).find(|both| !both.is_empty()).unwrap_or_default()
    }

    /// A segment that lies in the range around `seq` has just arrived.
    pub(super) fn touch(&mut self, seq: SeqNum) {
        let Some(range) = self.around(seq) else { return };
        let mut kept = 0;
        let old = self.recent;
        let mut recent = [seq; SACK_BLOCKS];
        for &other in &old[..self.recent_count] {
            // One number for each range, and none for ranges that are gone.
            if kept + 1 < SACK_BLOCKS && !range.contains(other) && self.around(other).is_some() {
                kept += 1;
                recent[kept] = other;
            }
        }
        self.recent = recent;
        self.recent_count = kept + 1;
    }

    /// The ranges in the order in which they are to be reported, each once: the latest touched first, then the nearest.
    pub(super) fn report(&self) -> impl Iterator<Item = Range> {
        //= rfc2018#4
        //# The SACK option SHOULD be filled out by repeating the most recently reported SACK blocks (based on first SACK blocks in
        //# previous SACK options) that are not subsets of a SACK block already included in the SACK option being constructed.
        let recent = &self.recent[..self.recent_count];
        let latest = recent
            .iter()
            .enumerate()
            .filter_map(|(n, &seq)| self.around(seq).filter(|range| !recent[..n].iter().any(|&other| range.contains(other))));
        let nearest = self.as_slice().iter().copied().filter(|range| !recent.iter().any(|&seq| range.contains(seq)));
        latest.chain(nearest)
    }

    /// True when [`Ranges::insert`] of this range would succeed.
    pub(super) fn has_room_for(&self, new: Range) -> bool {
        self.count < self.list.len() || self.as_slice().iter().any(|range| touches(*range, new))
    }

    /// Adds a range, joined with those it overlaps or touches. `false`, and nothing changed, when it would be one too many.
    pub(super) fn insert(&mut self, new: Range) -> bool {
        let ranges = self.as_slice();
        let first = ranges.iter().position(|range| range.right.at_or_after(new.left)).unwrap_or(self.count);
        let joined = ranges[first..].iter().take_while(|range| range.left.at_or_before(new.right)).count();
        if joined == 0 {
            if self.count == self.list.len() {
                return false;
            }
            self.list.copy_within(first..self.count, first + 1);
            self.list[first] = new;
            self.count += 1;
            return true;
        }
        let last = self.list[first + joined - 1];
        self.list[first] = Range { left: self.list[first].left.earliest(new.left), right: last.right.latest(new.right) };
        self.list.copy_within(first + joined..self.count, first + 1);
        self.count -= joined - 1;
        true
    }

    /// Takes out every range that begins at or before `next` and returns how far the stream is now contiguous.
    pub(super) fn reach(&mut self, next: SeqNum) -> SeqNum {
        let mut reached = next;
        let mut taken = 0;
        for range in self.as_slice() {
            let hole = range.left.after(reached);
            #[cfg(test)]
            let hole = hole && !(planted::is(Bug::HoleJoined) && taken == 0);
            if hole {
                break;
            }
            reached = reached.latest(range.right);
            taken += 1;
        }
        self.list.copy_within(taken..self.count, 0);
        self.count -= taken;
        reached
    }

    /// The sequence number after the farthest byte.
    pub(super) fn end(&self) -> Option<SeqNum> {
        self.as_slice().last().map(|range| range.right)
    }
}

impl Default for Ranges {
    fn default() -> Self {
        Self { list: [Range::default(); REASSEMBLY_BLOCKS], count: 0, recent: [SeqNum(0); SACK_BLOCKS], recent_count: 0 }
    }
}

const fn touches(a: Range, b: Range) -> bool {
    a.left.at_or_before(b.right) && b.left.at_or_before(a.right)
}

/// The most blocks a SACK option has room for (RFC 2018 3).
pub(super) const SACK_BLOCKS: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Near the wrap, so that every comparison crosses it.
    const BASE: SeqNum = SeqNum(u32::MAX - 100);

    fn range(left: u32, right: u32) -> Range {
        Range { left: BASE + left, right: BASE + right }
    }

    #[test]
    fn ranges_join_when_they_touch_or_overlap() {
        let mut ranges = Ranges::default();
        for new in [range(10, 20), range(30, 40), range(50, 60)] {
            assert!(ranges.insert(new));
        }
        assert!(ranges.insert(range(20, 30)));
        assert_eq!(ranges.as_slice(), [range(10, 40), range(50, 60)]);
        assert!(ranges.insert(range(5, 200)));
        assert_eq!(ranges.as_slice(), [range(5, 200)]);
        assert_eq!(ranges.reach(BASE + 5), BASE + 200);
        assert!(ranges.is_empty());
    }

    #[test]
    fn a_full_list_takes_only_what_joins() {
        let mut ranges = Ranges::default();
        for n in 0..REASSEMBLY_BLOCKS as u32 {
            assert!(ranges.insert(range(10 * n, 10 * n + 5)));
        }
        assert!(!ranges.has_room_for(range(1000, 1001)) && !ranges.insert(range(1000, 1001)));
        assert!(ranges.has_room_for(range(5, 6)) && ranges.insert(range(5, 6)));
        assert_eq!(ranges.as_slice()[0], range(0, 6));
    }

    #[test]
    fn what_was_touched_last_is_reported_first() {
        let mut ranges = Ranges::default();
        let report = |ranges: &Ranges| ranges.report().collect::<Vec<_>>();
        for n in [4, 0, 3, 1, 2] {
            assert!(ranges.insert(range(20 * n, 20 * n + 10)));
            ranges.touch(BASE + 20 * n);
        }
        assert_eq!(report(&ranges), [range(40, 50), range(20, 30), range(60, 70), range(0, 10), range(80, 90)]);
        // Joined, two are one; the numbers that found them still do.
        assert!(ranges.insert(range(50, 60)));
        ranges.touch(BASE + 50);
        assert_eq!(report(&ranges), [range(40, 70), range(20, 30), range(0, 10), range(80, 90)]);
        ranges.touch(BASE + 85);
        assert_eq!(ranges.reach(BASE), BASE + 10);
        assert_eq!(report(&ranges), [range(80, 90), range(40, 70), range(20, 30)]);
        ranges.clear();
        assert_eq!(report(&ranges), []);
    }

    proptest! {
        /// The report is the list in another order.
        #[test]
        fn the_report_leaves_out_nothing_and_adds_nothing(steps in prop::collection::vec((0u32..300, 1u32..20, any::<bool>()), 0..40)) {
            let mut ranges = Ranges::default();
            let mut next = 0;
            for (left, len, reach) in steps {
                if reach {
                    next = next.max(left / 4);
                    next = next.max(ranges.reach(BASE + next) - BASE);
                } else if left > next && ranges.insert(range(left, left + len)) {
                    ranges.touch(BASE + left);
                    prop_assert_eq!(ranges.report().next(), ranges.around(BASE + left));
                }
                let mut report: Vec<_> = ranges.report().collect();
                report.sort_by_key(|range| range.left - BASE);
                prop_assert_eq!(&report, ranges.as_slice());
            }
        }

        /// The list holds exactly the numbers that a plain set of the same insertions holds.
        #[test]
        fn it_is_a_set(inserts in prop::collection::vec((0u32..300, 1u32..40), 0..24), next in 0u32..300) {
            let mut ranges = Ranges::default();
            let mut model = [false; 400];
            for (left, len) in inserts {
                prop_assert!(ranges.insert(range(left, left + len)));
                model[left as usize..(left + len) as usize].fill(true);
            }
            let in_list = |ranges: &Ranges, n: u32| ranges.as_slice().iter().any(|r| (BASE + n).within(r.left, r.right - r.left));
            for n in 0..400 {
                prop_assert_eq!(in_list(&ranges, n), model[n as usize]);
            }
            for pair in ranges.as_slice().windows(2) {
                prop_assert!(pair[0].right.before(pair[1].left));
            }
            let reached = ranges.reach(BASE + next) - BASE;
            let expected = (next..400).find(|&n| !model[n as usize]).unwrap_or(400);
            let expected = if next < 400 && model[next as usize] { expected } else { next };
            prop_assert_eq!(reached, expected);
        }
    }
}
