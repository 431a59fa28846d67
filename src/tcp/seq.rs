//! Sequence numbers: arithmetic modulo 2^32 (RFC 9293 3.4).
//!
//! [`SeqNum`] has no `Ord` on purpose: "less than" has a meaning only within half the space, so the comparisons are
//! named [`SeqNum::before`] and [`SeqNum::after`].

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A sequence number.
///
/// ```
/// use ringway::tcp::seq::SeqNum;
/// let last = SeqNum(u32::MAX);
/// assert!(last.before(last + 1));
/// assert_eq!((last + 1) - last, 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// True when this number comes before `other`: the difference, taken modulo 2^32, is in the upper half.
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// True when this number comes after `other`.
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Not after `other`.
    pub const fn at_or_before(self, other: Self) -> bool {
        !self.after(other)
    }

    /// Not before `other`.
    pub const fn at_or_after(self, other: Self) -> bool {
        !self.before(other)
    }

    /// True when the number lies in `start..start + len`, modulo 2^32.
    pub const fn within(self, start: Self, len: u32) -> bool {
        self.0.wrapping_sub(start.0) < len
    }

    /// The later of the two.
    #[must_use]
    pub const fn latest(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[must_use]
    pub const fn earliest(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;

    fn add(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

impl AddAssign<u32> for SeqNum {
    fn add_assign(&mut self, n: u32) {
        *self = *self + n;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;

    fn sub(self, n: u32) -> Self {
        Self(self.0.wrapping_sub(n))
    }
}

impl Sub for SeqNum {
    type Output = u32;

    /// The distance from `earlier` to this number, modulo 2^32.
    fn sub(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        let before = SeqNum(u32::MAX - 5);
        let after = SeqNum(10);
        assert!(before.before(after) && after.after(before));
        assert_eq!(after - before, 16);
        assert!(SeqNum(2).within(before, 16) && !SeqNum(10).within(before, 16));
        assert_eq!(before.latest(after), after);
        assert_eq!(before.earliest(after), before);
    }

    #[test]
    fn equal_numbers_are_neither_before_nor_after() {
        let n = SeqNum(0x8000_0000);
        assert!(!n.before(n) && !n.after(n) && n.at_or_before(n) && n.at_or_after(n));
        assert!(!n.within(n, 0));
    }
}
