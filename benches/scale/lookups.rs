//! The directory by itself: what a lookup costs among so many, one after the other, and a memory miss beside it.

use std::hint::black_box;

use ringway::cpu;
use ringway::demux::directory::{Lookup, Reader};
use ringway::demux::{Directory, FlowKey, KeyedHash, Slab};
use ringway::tcp::State;

use crate::memory::{CAPACITY, Chase, key};
use crate::order::shuffled;

const LOOKUPS: usize = 1 << 18;

/// A directory with so many flows, and the table of their keys that confirms what it finds.
pub(crate) struct Flows {
    directory: Directory,
    reader: Reader,
    keys: Slab<FlowKey>,
    /// Hashes and keys in the order in which they are looked up.
    wanted: Vec<(u64, FlowKey)>,
    next: usize,
}

/// Nanoseconds of one lookup.
pub(crate) struct Costs {
    /// By the owner, when the next waits for it.
    pub(crate) serial: f64,
    /// By the owner, when the next does not depend on it.
    pub(crate) apart: f64,
    /// By another core, when the next waits for it.
    pub(crate) foreign: f64,
}

impl Flows {
    pub(crate) fn new(count: usize) -> Self {
        let hash = KeyedHash::new(&[9; 16]);
        let mut directory = Directory::new(0, CAPACITY);
        let mut keys = Slab::with_capacity(CAPACITY);
        let wanted = shuffled(0, count).into_iter().map(|number| (hash.of(&key(number)), key(number))).collect();
        for number in 0..count as u32 {
            let id = keys.insert(key(number)).expect("there is room");
            assert!(directory.insert(hash.of(&key(number)), id, &key(number), State::Established, ringway::time::Instant::ZERO));
        }
        Self { reader: directory.reader(), directory, keys, wanted, next: 0 }
    }

    pub(crate) fn measure(&mut self) -> Costs {
        let find =
            |hash: u64, key: &FlowKey| self.directory.find(hash, |slot| self.keys.at(slot).is_some_and(|(_, at)| at == key));
        let count = self.wanted.len();
        let mut at = self.next;
        let serial = each(|| {
            // No slot is so large, so this adds nothing; but it has to be known before the next lookup begins.
            at = (at + 1 + (find(self.wanted[at].0, &self.wanted[at].1).expect("it is there") >> 31) as usize) % count;
        });
        let apart = each(|| {
            at = (at + 1) % count;
            black_box(find(self.wanted[at].0, &self.wanted[at].1));
        });
        let foreign = each(|| {
            let Lookup::Found(card) = self.reader.find(self.wanted[at].0, &self.wanted[at].1) else { panic!("it is there") };
            at = (at + 1 + (card.id.slot >> 31) as usize) % count;
        });
        self.next = at;
        Costs { serial, apart, foreign }
    }
}

/// Nanoseconds of a step of the walk.
pub(crate) fn miss(chase: &mut Chase) -> f64 {
    each(|| chase.step())
}

fn each(mut one: impl FnMut()) -> f64 {
    let start = cpu::thread_ns();
    for _ in 0..LOOKUPS {
        one();
    }
    (cpu::thread_ns() - start) as f64 / LOOKUPS as f64
}
