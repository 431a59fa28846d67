//! The public card of each TCB: what any core may know of it without asking its owner.
//!
//! A card is eight words, one cache line, under a sequence lock. Its owner writes it when the TCB is made (sequence odd, fence, fields,
//! sequence even), and when only the state changes it stores the one word that holds the state; a TCB that is gone has none. A reader
//! takes the sequence, the fields and the sequence again: the same even one twice means that the fields are of one time. So the card of a
//! connection that stays open is never torn: only its state is written. Nothing here panics.

use std::fmt;
use std::sync::atomic::Ordering;

use super::atomics::{Place, Word, fence, zeroed};
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
    capacity: usize,
    /// Cards that were ever written: all of them lie below. Written by the owner.
    used: Word,
    owner: u16,
}

/// The card was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

/// Words of a card: the sequence (upper half) with the generation (lower half), both addresses, ports with interface and state, the
/// birth, and the hash of the key, which is for the owner.
type Words = [Word; 8];

const SEQUENCE: usize = 0;
const LOCAL: usize = 1;
const REMOTE: usize = 3;
const PORTS: usize = 5;
const BORN: usize = 6;
const HASH: usize = 7;

/// Bits of the word of the ports: local port 63..48, remote port 47..32, interface 31..16, state 7..0.
const STATE: u64 = 0xff;
/// No state: there is no TCB. The others are one more than their number.
const NONE: u64 = 0;

/// One write of a card, in units of the sequence.
const ODD: u64 = 1 << 32;

impl Cards {
    /// Cards for slots below `capacity`.
    pub(super) fn new(owner: u16, capacity: usize) -> Self {
        // An aligned allocation would be written over with zeros; one that is a line too long is aligned by leaving some out.
        let words = zeroed((capacity + 1) * size_of::<[u64; 8]>() / size_of::<u64>());
        let first = words.as_ptr().align_offset(64).min(7);
        Self { words, first, capacity, used: Word::new(0), owner }
    }

    /// The core that writes them.
    pub(super) const fn owner(&self) -> u16 {
        self.owner
    }

    /// How many cards there is room for.
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Cards that were ever written: every TCB has one below this.
    pub(super) fn used(&self) -> u32 {
        self.used.load() as u32
    }

    /// For the owner: the card of a new TCB.
    pub(super) fn publish(&self, hash: u64, id: SlotId, key: &FlowKey, state: State, born: Instant) {
        let Some(card) = self.card(id.slot) else { return };
        if u64::from(id.slot) >= self.used.own() {
            self.used.store(u64::from(id.slot) + 1);
        }
        let sequence = card[SEQUENCE].own() >> 32 << 32;
        card[SEQUENCE].store(sequence.wrapping_add(ODD));
        // Whoever sees one of the fields below sees the odd sequence.
        fence(Place::WriteBegins, Ordering::Release);
        let [local, remote] = [key.local, key.remote].map(|address| u128::from_be_bytes(*address.octets()));
        let ports = u64::from(key.local_port) << 48 | u64::from(key.remote_port) << 32 | u64::from(key.link.interface) << 16;
        card[LOCAL].store((local >> 64) as u64);
        card[LOCAL + 1].store(local as u64);
        card[REMOTE].store((remote >> 64) as u64);
        card[REMOTE + 1].store(remote as u64);
        card[PORTS].store(ports | code(state));
        card[BORN].store(born.as_ns());
        card[HASH].store(hash);
        // Whoever sees the even sequence sees the fields.
        let even = sequence.wrapping_add(2 * ODD) | u64::from(id.generation);
        card[SEQUENCE].store_release(Place::WriteEnds, even);
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

    /// For anybody: what a card says; nothing when its slot has no TCB.
    pub(super) fn read(&self, slot: u32) -> Result<Option<Card>, Torn> {
        let Some(card) = self.card(slot) else { return Ok(None) };
        let sequence = card[SEQUENCE].load_acquire(Place::ReadBegins);
        if sequence & ODD != 0 {
            return Err(Torn);
        }
        let field = |at: usize| card[at].load();
        let address = |at: usize| u128::from(field(at)) << 64 | u128::from(field(at + 1));
        let (local, remote, ports, born) = (address(LOCAL), address(REMOTE), field(PORTS), field(BORN));
        // Also what a state follows from is seen with it.
        fence(Place::ReadEnds, Ordering::Acquire);
        if card[SEQUENCE].load() != sequence {
            return Err(Torn);
        }
        Ok(state_of(ports & STATE).map(|state| Card {
            id: SlotId { slot, generation: sequence as u32 },
            key: FlowKey {
                local: address_of(local),
                remote: address_of(remote),
                local_port: (ports >> 48) as u16,
                remote_port: (ports >> 32) as u16,
                link: Link { interface: (ports >> 16) as u16 },
            },
            state,
            owner: self.owner,
            born: Instant::from_ns(born),
        }))
    }

    fn set_code(&self, slot: u32, code: u64) {
        if let Some(card) = self.card(slot) {
            let ports = card[PORTS].own() & !STATE;
            card[PORTS].store_release(Place::StateChanges, ports | code);
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

fn address_of(bits: u128) -> Address {
    std::net::Ipv6Addr::from_bits(bits).into()
}

const fn code(state: State) -> u64 {
    state as u64 + 1
}

fn state_of(number: u64) -> Option<State> {
    State::ALL.into_iter().find(|&state| code(state) == number)
}
