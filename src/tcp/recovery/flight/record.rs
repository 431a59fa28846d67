//! One record of what is in flight, and what may become of it.
//!
//! The scoreboard makes and changes it; recovery reads it while it judges. It does not know where it begins: its neighbour does. Values; nothing
//! panics.

use crate::tcp::rate::Stamp;
use crate::tcp::seq::SeqNum;
use crate::time::Instant;

/// A stretch of the sequence space. It begins where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) struct Record {
    /// When it was last sent.
    pub(in crate::tcp::recovery) sent: Instant,
    /// What the delivery rate needs to know of that.
    pub(in crate::tcp::recovery) stamp: Stamp,
    /// The sequence number after it.
    pub(in crate::tcp::recovery) end: SeqNum,
    /// Each segment in it is that long, but for the last, which may be shorter; 0: not known.
    pub(super) unit: u16,
    pub(super) marks: Marks,
}

const _: () = assert!(size_of::<Record>() == 40);

/// The fate of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(pub(super) u8);

impl Marks {
    pub(super) const NONE: Self = Self(0);
    /// Reported received by SACK.
    pub(super) const SACKED: Self = Self(1);
    /// Given up, and not sent again since.
    pub(super) const LOST: Self = Self(2);
    /// Sent more than once.
    pub(super) const AGAIN: Self = Self(4);
    /// Counted as delivered; outlives a SACK mark that was taken back.
    pub(super) const COUNTED: Self = Self(8);

    pub(super) const fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) const fn with(self, mark: Self) -> Self {
        Self(self.0 | mark.0)
    }

    pub(super) const fn without(self, mark: Self) -> Self {
        Self(self.0 & !mark.0)
    }
}

impl Record {
    /// A segment of `len` bytes up to `end` that leaves now.
    #[inline]
    pub(super) fn new(len: u32, end: SeqNum, stamp: Stamp, now: Instant) -> Self {
        Self { sent: now, stamp, end, unit: u16::try_from(len).unwrap_or(0), marks: Marks::NONE }
    }

    /// Sent more than once.
    pub(in crate::tcp::recovery) const fn is_again(&self) -> bool {
        self.marks.has(Marks::AGAIN)
    }

    /// Neither reported received nor given up: believed to be in the network.
    pub(in crate::tcp::recovery) const fn is_under_way(&self) -> bool {
        !self.marks.has(Marks::SACKED) && !self.marks.has(Marks::LOST)
    }

    /// What joins this record and its right neighbour, `left` and `right` being their lengths: the worse of everything.
    pub(super) fn joined(&self, left: u32, next: &Self) -> Self {
        let later = if next.sent >= self.sent { next } else { self };
        let aligned = self.unit > 0 && self.unit == next.unit && left.is_multiple_of(u32::from(self.unit));
        let both = self.marks.0 & next.marks.0;
        let either = self.marks.0 | next.marks.0;
        // No byte is told of as delivered twice: rather is one never told of.
        let mut marks = Marks(both & Marks::SACKED.0 | either & (Marks::LOST.0 | Marks::AGAIN.0 | Marks::COUNTED.0));
        if marks.has(Marks::SACKED) {
            marks = marks.without(Marks::LOST);
        }
        Self { sent: later.sent, stamp: later.stamp, end: next.end, unit: if aligned { self.unit } else { 0 }, marks }
    }
}
