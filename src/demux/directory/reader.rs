//! What any core may hold of another core's directory: lookups and walks that never stop the owner.
//!
//! Made by [`super::Directory::reader`], cloned and sent at will; the memory lives as long as anybody holds it. A reader only loads, so it
//! costs the owner no more than the cache lines it takes away. What it is told is true of some moment of the call, and of one owner it sees
//! the changes in the order in which they were made. Nothing here panics.

use std::hint;
use std::sync::Arc;

use super::Shared;
use super::card::Card;
use super::index::{Confirm, Look};
use crate::demux::{FlowKey, SlotId};
use crate::limits;

/// Another core's view of a directory.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The key was there, and this was its card.
    Found(Card),
    /// The key was not there at some moment of the lookup.
    Missing,
    /// The owner moved entries faster than they could be looked at. Nothing may follow from this: no RST, no ICMP, no new TCB.
    Unsure,
}

impl Reader {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The core whose directory this is.
    pub fn owner(&self) -> u16 {
        self.shared.cards.owner()
    }

    /// Looks a key up; `hash` is the hash of the key under the secret of the directory's owner.
    pub fn find(&self, hash: u64, key: &FlowKey) -> Lookup {
        self.find_within(limits::DIRECTORY_LOOKS, hash, key)
    }

    /// The same with at most so many looks.
    pub(super) fn find_within(&self, looks: u32, hash: u64, key: &FlowKey) -> Lookup {
        for look in 0..looks {
            if look > 0 {
                hint::spin_loop();
            }
            let found = self.shared.index.look(hash, |entry| match self.shared.cards.read(entry.slot()) {
                // The generation tells the card of an entry from that of a later TCB in the same slot; then the entry is gone by now.
                Ok(Some(card)) if entry.is_of(card.id.generation) && card.key == *key => Confirm::Yes(card),
                // A key that stays has its card all the time, so another's card, or none, says that it has not stayed.
                Ok(_) => Confirm::No,
                Err(_) => Confirm::Unclear,
            });
            match found {
                Look::Taken(card) => return Lookup::Found(card),
                Look::Missing => return Lookup::Missing,
                Look::Disturbed => {}
            }
        }
        Lookup::Unsure
    }

    /// The cards, in the order of their slots. Each is of one moment, all of them together are not: a connection that is there
    /// during the whole walk comes exactly once, one that is made or ends meanwhile may come.
    pub fn cards(&self) -> impl Iterator<Item = Card> {
        self.cards_from(0)
    }

    /// The same from a slot on: so that a walk can rest and go on.
    pub fn cards_from(&self, slot: u32) -> impl Iterator<Item = Card> {
        (slot..self.shared.cards.used()).filter_map(|slot| self.card(slot))
    }

    /// The card of a TCB; `None` when it has gone.
    pub fn card_of(&self, id: SlotId) -> Option<Card> {
        self.card(id.slot).filter(|card| card.id == id)
    }

    /// The card in a slot, if there is a TCB. One that is being written again and again belongs to none that stays.
    fn card(&self, slot: u32) -> Option<Card> {
        (0..limits::DIRECTORY_LOOKS).find_map(|_| self.shared.cards.read(slot).ok()).flatten()
    }
}
