//! The public card of each TCB: what any core may know of it without asking its owner.
//!
//! A card is eight words, one cache line, under a sequence lock. Its owner writes it when the TCB is made (sequence odd, fence, fields,
//! sequence even), and when only the state changes it stores the one word that holds the state; a TCB that is gone has none. A reader
//! takes the sequence, the fields and the sequence again: the same even one twice means that the fields are of one time. So the card of a
//! connection that stays open is never torn: only its state is written. Nothing here panics.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::atomic::Ordering;

use super::atomics::{Place, Word, fence, zeroed};
use crate::arch;
use crate::demux::{Address, FlowKey, Link, SlotId};
use crate::tcp::State;
use crate::time::Instant;

/// What the card of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Of its TCB, at its owner.
    pub id: SlotId,
    /// Both ends.
    pub key: FlowKey,
    /// The state, as of the end of the owner's last turn.
    pub state: State,
    /// The core that owns it.
    pub owner: u16,
    /// When its TCB was made.
    pub born: Instant,
}

/// The cards of one directory, by the slot of the TCB.
pub(super) struct Cards {
    words: Box<[Word]>,
    /// The first word that begins a cache line.
    first: usize,
    /// Cards that were ever written: all of them lie below. Written by the owner.
    used: Word,
    owner: u16,
}

/// The card was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

/// Words of a card: the sequence (upper half) with the generation (lower half), the octets of the key with the state, the birth, and the
/// hash of the key, which is for the owner.
type Words = [Word; 8];

/// What a card takes.
pub(super) const CARD_BYTES: usize = size_of::<Words>();

const SEQUENCE: usize = 0;
const KEY: usize = 1;
/// The last word of the key, whose last two bytes are free: the first of them is the state.
const STATE: usize = KEY + 4;
const BORN: usize = 6;
const HASH: usize = 7;

/// Where the state is among the octets of the key, and in its word.
const STATE_OCTET: usize = 38;
const STATE_SHIFT: u32 = 48;
const STATE_MASK: u64 = 0xff << STATE_SHIFT;
/// No state: there is no TCB. The others are one more than their number.
const NONE: u8 = 0;

/// One write of a card, in units of the sequence.
const ODD: u64 = 1 << 32;

impl Cards {
    /// Cards for slots below `capacity`.
    pub(super) fn new(owner: u16, capacity: usize) -> Self {
        // An aligned allocation would be written over with zeros; one that is nearly a line too long is aligned by leaving some out.
        let words = zeroed(capacity.saturating_mul(8).saturating_add(7));
        let first = words.as_ptr().align_offset(64).min(7);
        arch::huge_pages_behind(&words);
        Self { words, first, used: Word::new(0), owner }
    }

    /// The core that writes them.
    pub(super) const fn owner(&self) -> u16 {
        self.owner
    }

    /// Cards that were ever written: every TCB has one below this.
    pub(super) fn used(&self) -> u32 {
        self.used.load() as u32
    }

    /// For the owner: the card of a new TCB. False when there is none for its slot.
    #[inline]
    pub(super) fn publish(&self, hash: u64, id: SlotId, key: &FlowKey, state: State, born: Instant) -> bool {
        let Some(card) = self.card(id.slot) else { return false };
        if u64::from(id.slot) >= self.used.own() {
            self.used.store(u64::from(id.slot) + 1);
        }
        let sequence = card[SEQUENCE].own() >> 32 << 32;
        card[SEQUENCE].store(sequence.wrapping_add(ODD));
        // Whoever sees one of the fields below sees the odd sequence.
        fence(Place::WriteBegins, Ordering::Release);
        let mut octets = key.octets();
        octets[STATE_OCTET] = code(state);
        for (word, octets) in card[KEY..].iter().zip(octets.as_chunks().0) {
            word.store(u64::from_le_bytes(*octets));
        }
        card[BORN].store(born.as_ns());
        card[HASH].store(hash);
        // Whoever sees the even sequence sees the fields.
        let even = sequence.wrapping_add(2 * ODD) | u64::from(id.generation);
        card[SEQUENCE].store_release(Place::WriteEnds, even);
        true
    }

    /// For the owner: the TCB is in another state. One word, so there is nothing to tear.
    pub(super) fn set_state(&self, slot: u32, state: State) {
        self.set_code(slot, code(state));
    }

    /// For the owner: the TCB is gone.
    pub(super) fn withdraw(&self, slot: u32) {
        self.set_code(slot, NONE);
    }

    /// For the owner: the hash of a TCB's key.
    #[inline]
    pub(super) fn hash_of(&self, slot: u32) -> u64 {
        self.card(slot).map_or(0, |card| card[HASH].own())
    }

    /// For the owner: when a TCB came in.
    pub(super) fn born(&self, slot: u32) -> Instant {
        Instant::from_ns(self.card(slot).map_or(0, |card| card[BORN].own()))
    }

    /// For the owner: has a card fetched, and does not wait for it.
    #[inline]
    pub(super) fn fetch(&self, slot: u32) {
        if let Some(card) = self.card(slot) {
            arch::prefetch(card, size_of::<Words>());
        }
    }

    /// For the owner: the key of a TCB.
    pub(super) fn key_of(&self, slot: u32) -> FlowKey {
        let card = self.card(slot);
        key_of([KEY, KEY + 1, KEY + 2, KEY + 3, STATE].map(|at| card.map_or(0, |card| card[at].own())))
    }

    /// For the owner: true when it is this one.
    #[inline]
    pub(super) fn is_key(&self, slot: u32, key: &FlowKey) -> bool {
        let Some(card) = self.card(slot) else { return false };
        let octets = key.octets();
        let mut words =
            card[KEY..].iter().zip(octets.as_chunks().0).map(|(word, octets)| word.own() ^ u64::from_le_bytes(*octets));
        words.by_ref().take(STATE - KEY).all(|differs| differs == 0) && words.all(|differs| differs & !STATE_MASK == 0)
    }

    /// For anybody: what a card says; nothing when its slot has no TCB.
    pub(super) fn read(&self, slot: u32) -> Result<Option<Card>, Torn> {
        let Some(card) = self.card(slot) else { return Ok(None) };
        let sequence = card[SEQUENCE].load_acquire(Place::ReadBegins);
        if sequence & ODD != 0 {
            return Err(Torn);
        }
        let (key, born) = ([KEY, KEY + 1, KEY + 2, KEY + 3, STATE].map(|at| card[at].load()), card[BORN].load());
        // Also what a state follows from is seen with it.
        fence(Place::ReadEnds, Ordering::Acquire);
        if card[SEQUENCE].load() != sequence {
            return Err(Torn);
        }
        let state = state_of((key[4] >> STATE_SHIFT) as u8);
        Ok(state.map(|state| Card {
            id: SlotId { slot, generation: sequence as u32 },
            key: key_of(key),
            state,
            owner: self.owner,
            born: Instant::from_ns(born),
        }))
    }

    fn set_code(&self, slot: u32, code: u8) {
        if let Some(card) = self.card(slot) {
            let ports = card[STATE].own() & !STATE_MASK;
            card[STATE].store_release(Place::StateChanges, ports | u64::from(code) << STATE_SHIFT);
        }
    }

    #[inline]
    fn card(&self, slot: u32) -> Option<&Words> {
        self.words.get(self.first + slot as usize * 8..)?.first_chunk()
    }
}

impl fmt::Debug for Cards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cards").field("used", &self.used.own()).field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// The key whose octets these are.
fn key_of(words: [u64; 5]) -> FlowKey {
    let [local, remote] = [[words[0], words[1]], [words[2], words[3]]].map(|[first, second]| {
        let bits = u128::from(first.swap_bytes()) << 64 | u128::from(second.swap_bytes());
        Address::from(Ipv6Addr::from_bits(bits))
    });
    let [p0, p1, p2, p3, i0, i1, ..] = words[4].to_le_bytes();
    FlowKey {
        local,
        remote,
        local_port: u16::from_ne_bytes([p0, p1]),
        remote_port: u16::from_ne_bytes([p2, p3]),
        link: Link { interface: u16::from_ne_bytes([i0, i1]) },
    }
}

const fn code(state: State) -> u8 {
    state as u8 + 1
}

fn state_of(number: u8) -> Option<State> {
    State::ALL.into_iter().find(|&state| code(state) == number)
}
