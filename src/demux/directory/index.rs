//! The index: from the hash of a flow key to the slot of its TCB.
//!
//! Open addressing with linear probing, at most half full. One slot is one atomic word: a tag of the hash, the generation and the
//! TCB's slot, so that there is nothing to tear. Keys stand on the cards: a lookup compares tags here and asks its caller to confirm the
//! key. A removal moves later entries of the probe sequence back instead of leaving a tombstone, so that lookups stay as short after a
//! day of churn as they were at the start.
//!
//! The directory's owner is the only writer, and needs no order for its own lookups. Readers of other threads may come at any time. What
//! could mislead one of them is a move: it passes the gap, the entry it is after moves into the gap behind its back, and it comes to an
//! empty slot. So entries move only while the version is odd, and a reader believes an empty slot only when the version was even
//! before it looked at the first slot and is the same after the last. Each entry is stored with Release and loaded with Acquire: who sees
//! an entry, or a slot emptied, sees everything the owner did before, the odd version among it. Nothing here panics.

use crossbeam::utils::CachePadded;

use super::atomics::{Place, Word, zeroed};
use crate::arch;
use crate::demux::SlotId;

/// The index. Values are slots of a [`super::super::Slab`].
#[derive(Debug)]
pub(super) struct Index {
    slots: Box<[Word]>,
    /// Even, and odd while entries move. In a cache line of its own, so that readers who wait here are not in the owner's way.
    version: CachePadded<Word>,
}

/// What a slot holds: bit 63 says that it is in use, bits 62..44 are the tag (upper bits of the hash), bits 43..32 the lower bits of
/// the generation, bits 31..0 the TCB's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u64);

/// What a reader learns of one look at the entries of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look<T> {
    /// The caller took an entry.
    Taken(T),
    /// None was it, and none was hidden.
    Missing,
    /// Entries moved, or the caller could not tell.
    Disturbed,
}

/// What a caller says to an entry whose tag is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirm<T> {
    /// It is the one.
    Yes(T),
    /// It is another's.
    No,
    /// It cannot be told now.
    Unclear,
}

/// What a slot takes.
pub(super) const SLOT_BYTES: usize = size_of::<Word>();

const IN_USE: u64 = 1 << 63;
const TAG: u64 = 0x7_ffff << 44;
const GENERATION: u64 = 0xfff << 32;
const EMPTY: u64 = 0;

impl Entry {
    const fn new(hash: u64, id: SlotId) -> Self {
        Self(Self::tagged(hash) | (id.generation as u64) << 32 & GENERATION | id.slot as u64)
    }

    /// The part of an entry that follows from the hash alone.
    const fn tagged(hash: u64) -> u64 {
        IN_USE | (hash & TAG)
    }

    /// The TCB's slot.
    pub(super) const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// True when the entry can be one of this generation.
    pub(super) const fn is_of(self, generation: u32) -> bool {
        (self.0 ^ (generation as u64) << 32) & GENERATION == 0
    }
}

impl Index {
    /// An index of `slots` slots, a power of two of at least 2. One must always be empty: the caller sees to that.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: zeroed(slots.max(2).next_power_of_two()), version: CachePadded::new(Word::new(0)) }
    }

    /// For the owner: the TCB slot under `hash` for which `is_it` confirms the key.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize;
        loop {
            let entry = self.own(at);
            if entry == EMPTY {
                return None;
            }
            if entry & (IN_USE | TAG) == Entry::tagged(hash) && is_it(entry as u32) {
                return Some(entry as u32);
            }
            // At least one slot is empty, so this ends.
            at = at.wrapping_add(1);
        }
    }

    /// For the owner: has the first slot of `hash` fetched, and does not wait for it.
    #[inline]
    pub(super) fn fetch(&self, hash: u64) {
        arch::prefetch(&self.slots[hash as usize & self.mask()], size_of::<Word>());
    }

    /// For the owner: moves the `nth` part of the table into a huge page, if the kernel can. False when there is no such part.
    pub(super) fn gather(&self, nth: usize) -> bool {
        arch::gather(&self.slots, nth)
    }

    /// Pages of the ordinary size that the table lies in.
    pub(super) const fn pages(&self) -> usize {
        size_of::<Word>() * self.slots.len() / 4096
    }

    /// For the owner: stores an id under `hash`. There must be room.
    pub(super) fn insert(&self, hash: u64, id: SlotId) {
        let mut at = hash as usize;
        while self.own(at) != EMPTY {
            at = at.wrapping_add(1);
        }
        self.store(Place::EntryInserted, at, Entry::new(hash, id).0);
    }

    /// For the owner: takes an id out. `hash_of` gives the hash of any TCB slot in the index, so that entries behind the gap can move
    /// back into it. False when it was not there.
    pub(super) fn remove(&self, hash: u64, id: SlotId, mut hash_of: impl FnMut(u32) -> u64) -> bool {
        let wanted = Entry::new(hash, id).0;
        let mut gap = hash as usize;
        loop {
            match self.own(gap) {
                EMPTY => return false,
                entry if entry == wanted => break,
                _ => gap = gap.wrapping_add(1),
            }
        }
        let version = self.version.own();
        let (mut at, mut moved) = (gap, false);
        loop {
            at = at.wrapping_add(1);
            let entry = self.own(at);
            if entry == EMPTY {
                break;
            }
            let distance = at.wrapping_sub(hash_of(entry as u32) as usize) & self.mask();
            // The entry may move when the gap lies on its probe path: between its home and where it stands now.
            if distance >= at.wrapping_sub(gap) {
                if !moved {
                    // Whoever sees one of the stores below sees this one.
                    self.version.store(version | 1);
                    moved = true;
                }
                self.store(Place::EntryMoved, gap, entry);
                gap = at;
            }
        }
        self.store(Place::EntryGone, gap, EMPTY);
        if moved {
            // Whoever sees this sees all of the stores above.
            self.version.store_release(Place::MoveEnds, version.wrapping_add(2));
        }
        true
    }

    /// For anybody: one look at the entries with the tag of `hash`, in the order of their probe sequence.
    pub(super) fn look<T>(&self, hash: u64, mut confirm: impl FnMut(Entry) -> Confirm<T>) -> Look<T> {
        let version = self.version.load_acquire(Place::LookBegins);
        if version & 1 == 1 {
            return Look::Disturbed;
        }
        // A reader may see a mixture of times in which no slot is empty.
        for distance in 0..self.slots.len() {
            let at = (hash as usize).wrapping_add(distance) & self.mask();
            let entry = self.slots[at].load_acquire(Place::EntryRead);
            if entry == EMPTY {
                let same = self.version.load() == version;
                return if same { Look::Missing } else { Look::Disturbed };
            }
            if entry & (IN_USE | TAG) == Entry::tagged(hash) {
                match confirm(Entry(entry)) {
                    Confirm::Yes(found) => return Look::Taken(found),
                    Confirm::No => {}
                    Confirm::Unclear => return Look::Disturbed,
                }
            }
        }
        Look::Disturbed
    }

    /// The longest distance of an entry from its home: how far a lookup may have to walk.
    pub(super) fn longest_probe(&self, mut hash_of: impl FnMut(u32) -> u64) -> usize {
        let distance = |at: usize| match self.own(at) {
            EMPTY => None,
            entry => Some(at.wrapping_sub(hash_of(entry as u32) as usize) & self.mask()),
        };
        (0..self.slots.len()).filter_map(distance).max().unwrap_or(0)
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// A slot as its only writer sees it.
    #[inline]
    fn own(&self, at: usize) -> u64 {
        self.slots[at & self.mask()].own()
    }

    fn store(&self, place: Place, at: usize, entry: u64) {
        self.slots[at & self.mask()].store_release(place, entry);
    }
}
