//! The words that owner and readers share, and the places where the order of their accesses matters.
//!
//! Each such place has a name, so that a model can weaken one of them at a time and must then fail (`models`); everywhere else the
//! names are nothing. Used by `index` and `card` alone.

#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(all(test, loom)))]
use zerocopy::FromZeros;

#[cfg(all(test, loom))]
pub(super) use super::watched::{Word, fence, zeroed};

/// Where an order is needed. What for is said at the place itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Release: an entry that is new in the index.
    EntryInserted,
    /// Release: an entry that moves back into a gap.
    EntryMoved,
    /// Release: a slot of the index that is empty from now on.
    EntryGone,
    /// Acquire: an entry, by a reader.
    EntryRead,
    /// Release: the version, after entries have moved.
    MoveEnds,
    /// Acquire: the version, before a reader looks at entries.
    LookBegins,
    /// Release fence: after the sequence of a card was made odd.
    WriteBegins,
    /// Release: the sequence of a card, even again.
    WriteEnds,
    /// Release: the state of a card that is otherwise left as it is.
    StateChanges,
    /// Acquire: the sequence of a card, before a reader looks at its fields.
    ReadBegins,
    /// Acquire fence: before a reader looks at the sequence again.
    ReadEnds,
    /// SeqCst fence: after an owner has inserted, before it looks whether another has inserted the same.
    AsksOthers,
}

#[cfg(all(test, loom))]
impl Place {
    /// All of them.
    pub(super) const ALL: &'static [Self] = &[
        Self::EntryInserted,
        Self::EntryMoved,
        Self::EntryGone,
        Self::EntryRead,
        Self::MoveEnds,
        Self::LookBegins,
        Self::WriteBegins,
        Self::WriteEnds,
        Self::StateChanges,
        Self::ReadBegins,
        Self::ReadEnds,
        Self::AsksOthers,
    ];
}

/// A word that one thread writes and others read.
#[cfg(not(all(test, loom)))]
#[derive(Debug, FromZeros)]
#[repr(transparent)]
pub(super) struct Word(AtomicU64);

#[cfg(not(all(test, loom)))]
impl Word {
    pub(super) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// For the writer: what it stored last.
    #[inline(always)]
    pub(super) fn own(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For the writer: stores without an order.
    #[inline(always)]
    pub(super) fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// For the writer: whoever loads this value, or a later one, with Acquire sees everything that was done before.
    #[inline(always)]
    pub(super) fn store_release(&self, _: Place, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// For readers: a value without an order.
    #[inline(always)]
    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For readers: what comes after is loaded later than this.
    #[inline(always)]
    pub(super) fn load_acquire(&self, _: Place) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The fence at a place.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) fn fence(_: Place, order: Ordering) {
    std::sync::atomic::fence(order);
}

/// Words of zero. The kernel's own: pages that are never written are never there.
#[cfg(not(all(test, loom)))]
pub(super) fn zeroed(words: usize) -> Box<[Word]> {
    use std::alloc::{Layout, handle_alloc_error};

    <[Word]>::new_box_zeroed_with_elems(words).unwrap_or_else(|_| handle_alloc_error(Layout::new::<Word>()))
}
