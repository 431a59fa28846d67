//! The keys of a directory's TCBs, for the core that writes it: they stand on the cards, and need not stand anywhere else.
//!
//! A hold on the directory like a [`super::Reader`], but for its owner's own thread: nothing changes while it looks. Nothing here panics.

use std::sync::Arc;

use super::Shared;
use crate::demux::FlowKey;

/// The keys and their hashes, by the slot of the TCB.
#[derive(Debug)]
pub struct Keys(Arc<Shared>);

impl Keys {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The key of a TCB in the directory.
    pub fn key_of(&self, slot: u32) -> FlowKey {
        self.0.cards.key_of(slot)
    }

    /// The hash of it.
    pub fn hash_of(&self, slot: u32) -> u64 {
        self.0.cards.hash_of(slot)
    }

    /// Has the key fetched, and does not wait for it.
    #[inline]
    pub fn fetch(&self, slot: u32) {
        self.0.cards.fetch(slot);
    }

    /// True when it is this one.
    #[inline]
    pub fn is_key(&self, slot: u32, key: &FlowKey) -> bool {
        self.0.cards.is_key(slot, key)
    }
}
