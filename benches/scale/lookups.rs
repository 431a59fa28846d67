//! The directory by itself: what a lookup costs among so many, one after the other, and a memory miss beside it.

use std::hint::black_box;
use std::net::Ipv4Addr;

use ringway::cpu;
use ringway::demux::directory::{Lookup, Reader};
use ringway::demux::{Directory, FlowKey, KeyedHash, Link, Slab};
use ringway::tcp::State;

use crate::world::{CAPACITY, shuffled};

const LOOKUPS: usize = 1 << 18;
/// A number and what fills a cache line, together with what a table keeps of each.
type Line = [u32; 14];

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

/// A walk from cache line to cache line, at random, through as many as the lookups touch: one of the index and one of the keys for each flow.
/// They lie in a table as the keys do, in the same kind of pages.
pub(crate) struct Chase {
    lines: Slab<Line>,
    at: u32,
}

impl Chase {
    pub(crate) fn new(flows: usize) -> Self {
        let order = shuffled(0, flows * 2);
        let mut next = vec![0; order.len()];
        for (nth, &line) in order.iter().enumerate() {
            next[line as usize] = order[(nth + 1) % order.len()];
        }
        let mut lines = Slab::with_capacity(next.len());
        for next in next {
            lines.insert([next; 14]).expect("there is room");
        }
        Self { lines, at: 0 }
    }

    pub(crate) fn measure(&mut self) -> f64 {
        each(|| self.at = self.lines.at(self.at).map_or(0, |(_, line)| line[0]))
    }
}

fn each(mut one: impl FnMut()) -> f64 {
    let start = cpu::thread_ns();
    for _ in 0..LOOKUPS {
        one();
    }
    (cpu::thread_ns() - start) as f64 / LOOKUPS as f64
}

fn key(number: u32) -> FlowKey {
    FlowKey {
        local: Ipv4Addr::new(10, 0, 0, 2).into(),
        remote: Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 1).to_bits() + (number >> 15)).into(),
        local_port: 7,
        remote_port: (number & 0x7fff) as u16 + 1024,
        link: Link { interface: 0 },
    }
}
