//! The directory of TCBs: written by the core that owns them, read by any.
//!
//! Three parts: the `index` leads from the hash of a flow key to the slot of its TCB, the `card` of a TCB says in public what it is, and a
//! [`Reader`] is what other threads hold. There is one [`Directory`] per core, and it is the only writer: its type sees to that. Owner
//! and readers never wait for each other. A key that is in the directory all the time is always found or the reader says that it is
//! unsure; no reader sees half of a card. `models` tries every order of memory accesses. All of it is safe Rust, and nothing panics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

mod atomics;
mod card;
mod index;
mod keys;
mod reader;

pub use card::Card;
pub use keys::Keys;
pub use reader::{Lookup, Reader};

use super::{FlowKey, SlotId};
use crate::tcp::State;
use crate::time::Instant;
use atomics::{Place, fence};
use card::Cards;
use index::Index;

/// The owner's directory. Values are ids of a [`super::Slab`] of the same capacity.
#[derive(Debug)]
pub struct Directory {
    shared: Arc<Shared>,
    len: usize,
    limit: usize,
    /// How many flows there are when the next part of the index is moved into a huge page. Hashes touch all of its pages before long, but few
    /// connections few of them: so this begins when there is about one for each page.
    gather_at: usize,
    gathered: usize,
}

/// What owner and readers have in common.
#[derive(Debug)]
struct Shared {
    index: Index,
    cards: Cards,
}

impl Directory {
    /// What a flow takes here: its slots of the index, and its card.
    pub const FLOW_BYTES: usize = SLOTS_A_FLOW * index::SLOT_BYTES + card::CARD_BYTES;

    /// A directory of the core `owner` for at most `entries` flows; the index has at least twice as many slots. Memory is taken as flows come.
    pub fn new(owner: u16, entries: usize) -> Self {
        Self::with_slots(owner, entries, entries.saturating_mul(SLOTS_A_FLOW))
    }

    fn with_slots(owner: u16, entries: usize, slots: usize) -> Self {
        let shared = Shared { index: Index::new(slots.max(entries + 1)), cards: Cards::new(owner, entries) };
        let gather_at = shared.index.pages().max(FLOWS_BETWEEN_MOVES);
        Self { shared: Arc::new(shared), len: 0, limit: entries, gather_at, gathered: 0 }
    }

    /// Flows in the directory.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For another thread: the same directory, to be read.
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.clone())
    }

    /// For the owner's tables: the keys of what is in it.
    pub fn keys(&self) -> Keys {
        Keys::new(self.shared.clone())
    }

    /// The TCB slot stored under `hash` for which `is_it` confirms the key.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shared.index.find(hash, is_it)
    }

    /// Has what a lookup of `hash` reads first fetched, and does not wait for it.
    #[inline]
    pub fn fetch(&self, hash: u64) {
        self.shared.index.fetch(hash);
    }

    /// The TCB slot that a lookup of `hash` would ask about first: likely the one.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<u32> {
        self.shared.index.find(hash, |_| true)
    }

    /// Stores a TCB under the hash of its key, and writes its card. The key must not be in the directory yet. False when there is no room.
    #[inline]
    pub fn insert(&mut self, hash: u64, id: SlotId, key: &FlowKey, state: State, now: Instant) -> bool {
        // The card first: whoever finds the entry finds it written.
        if self.len >= self.limit || !self.shared.cards.publish(hash, id, key, state, now) {
            return false;
        }
        self.shared.index.insert(hash, id);
        self.len += 1;
        if self.len >= self.gather_at {
            self.gather();
        }
        true
    }

    /// Moves one more part of the index into a huge page: one at a time, as that takes about as long as a hundred connections.
    #[cold]
    #[inline(never)]
    fn gather(&mut self) {
        let more = self.shared.index.gather(self.gathered);
        self.gathered += usize::from(more);
        self.gather_at = if more { self.len + FLOWS_BETWEEN_MOVES } else { usize::MAX };
    }

    /// To be called between an insertion and the question whether another owner has inserted the same key: of two that insert at the same time, and both ask
    /// afterwards, at least one finds the other's.
    pub fn before_others_are_asked(&self) {
        fence(Place::AsksOthers, Ordering::SeqCst);
    }

    /// Writes a TCB's new state on its card. The TCB must be in the directory.
    pub fn set_state(&mut self, id: SlotId, state: State) {
        self.shared.cards.set_state(id.slot, state);
    }

    /// Takes a TCB out. False when it was not there.
    pub fn remove(&mut self, hash: u64, id: SlotId) -> bool {
        let Shared { index, cards } = &*self.shared;
        if !index.remove(hash, id, |slot| cards.hash_of(slot)) {
            return false;
        }
        cards.withdraw(id.slot);
        self.len -= 1;
        true
    }

    /// When a TCB came in. It must be in the directory.
    pub fn born(&self, id: SlotId) -> Instant {
        self.shared.cards.born(id.slot)
    }

    /// The longest distance of an entry from its home: how far a lookup may have to walk.
    pub fn longest_probe(&self) -> usize {
        self.shared.index.longest_probe(|slot| self.shared.cards.hash_of(slot))
    }
}

/// Slots of the index for each flow there may be: half of them stay empty, so that walks are short.
const SLOTS_A_FLOW: usize = 2;
/// Flows that come between two moves of parts of the index.
const FLOWS_BETWEEN_MOVES: usize = 64;

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, loom))]
mod watched;

#[cfg(all(test, not(loom)))]
mod tests;
