//! Costs of finding the flow of a segment, one key: `cargo bench --bench demux`.
//!
//! Table and index have the size of a core's, however many flows are in them. A lookup is given the hash, and confirms the key on its card. `serial` ones
//! wait for each other as far as their answers can make them; `burst` ones come in 32, fetched ahead as the engine does it. Beside them stands
//! one load that waits for the one before, among as many cache lines as a million lookups touch.

#[path = "common/memory.rs"]
mod memory;
#[path = "common/order.rs"]
mod order;
#[path = "common/steady.rs"]
mod steady;

use std::hint::black_box;
use std::net::Ipv6Addr;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use memory::{CAPACITY, Chase, key};
use order::shuffled;
use ringway::demux::directory::Keys;
use ringway::demux::{Directory, FlowKey, KeyedHash, SlotId};
use ringway::tcp::State;
use steady::steady;

const BURST: usize = 32;
const SIZES: [(&str, usize); 3] = [("64", 64), ("10k", 10_240), ("1M", 1 << 20)];

fn hashing(c: &mut Criterion) {
    let hash = KeyedHash::new(&[9; 16]);
    // Of IPv6 all 40 bytes are hashed, of IPv4 the 16 in which keys differ.
    let address = |host: u32| Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(host)).into();
    let ipv6 = |number| FlowKey { local: address(2), remote: address(number + 16), ..key(number) };
    for (name, keys) in [("ipv4", (0..1024).map(key).collect::<Vec<_>>()), ("ipv6", (0..1024).map(ipv6).collect())] {
        let mut at = 0;
        c.bench_function(&format!("demux/hash/{name}"), |b| {
            b.iter(|| {
                at = (at + 1) % keys.len();
                hash.of(black_box(&keys[at]))
            });
        });
    }
}

/// A directory with so many flows, and what is looked up in it.
struct Flows {
    directory: Directory,
    keys: Keys,
    /// Hashes and keys in random order: as many as are there, rounded up to a power of two. And of as many that are not there.
    there: Vec<(u64, FlowKey)>,
    missing: Vec<(u64, FlowKey)>,
}

impl Flows {
    fn new(count: usize) -> Self {
        let hash = KeyedHash::new(&[9; 16]);
        let mut directory = Directory::new(0, CAPACITY);
        for number in 0..count as u32 {
            let (id, key) = (SlotId { slot: number, generation: 0 }, key(number));
            assert!(directory.insert(hash.of(&key), id, &key, State::Established, ringway::time::Instant::ZERO));
        }
        let wanted = |first| {
            let numbers = shuffled(first, count).into_iter().cycle().take(count.next_power_of_two());
            numbers.map(|number| (hash.of(&key(number)), key(number))).collect()
        };
        Self { keys: directory.keys(), directory, there: wanted(0), missing: wanted(CAPACITY) }
    }

    #[inline(always)]
    fn find(&self, (hash, key): &(u64, FlowKey)) -> Option<u32> {
        self.directory.find(*hash, |slot| self.keys.is_key(slot, key))
    }

    /// Looks 32 up, and returns how many were there.
    #[inline(always)]
    fn find_burst(&self, wanted: &[(u64, FlowKey)]) -> usize {
        wanted.iter().for_each(|(hash, _)| self.directory.fetch(*hash));
        wanted.iter().filter_map(|(hash, _)| self.directory.guess(*hash)).for_each(|slot| self.keys.fetch(slot));
        wanted.iter().filter(|wanted| black_box(self.find(wanted)).is_some()).count()
    }
}

fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("demux/directory");
    for (name, count) in SIZES {
        let mut made = None;
        for is_there in [true, false] {
            let what = if is_there { "hit" } else { "miss" };
            let mut at = 0;
            group.bench_function(format!("{what}_serial_{name}"), |b| {
                let flows = made.get_or_insert_with(|| Flows::new(count));
                let wanted = if is_there { &flows.there } else { &flows.missing };
                b.iter(|| {
                    let found = flows.find(&wanted[at & (wanted.len() - 1)]);
                    debug_assert_eq!(found.is_some(), is_there);
                    // No slot is so large, so this adds nothing; but it has to be known before the next lookup begins.
                    at += 1 + (found.unwrap_or_default() >> 31) as usize;
                });
            });
            group.bench_function(format!("{what}_burst_{name}"), |b| {
                let flows = made.get_or_insert_with(|| Flows::new(count));
                let wanted = if is_there { &flows.there } else { &flows.missing };
                b.iter_custom(|iterations| {
                    let bursts = iterations.div_ceil(BURST as u64);
                    let start = Instant::now();
                    for _ in 0..bursts {
                        let begins = at & (wanted.len() - 1) & !(BURST - 1);
                        let found = flows.find_burst(&wanted[begins..begins + BURST]);
                        assert_eq!(found, if is_there { BURST } else { 0 });
                        at = begins + BURST;
                    }
                    start.elapsed().mul_f64(iterations as f64 / (bursts * BURST as u64) as f64)
                });
            });
            if is_there {
                group.bench_function(format!("{what}_{name}"), |b| {
                    let flows = made.get_or_insert_with(|| Flows::new(count));
                    b.iter(|| {
                        at += 1;
                        flows.find(&flows.there[at & (flows.there.len() - 1)])
                    });
                });
            }
        }
    }
    group.finish();
}

fn misses(c: &mut Criterion) {
    let mut chase = None;
    c.bench_function("demux/memory/dependent_load_1M", |b| {
        let chase = chase.get_or_insert_with(|| Chase::new(1 << 20));
        b.iter(|| chase.step());
    });
}

criterion_group! { name = benches; config = steady(); targets = hashing, lookups, misses }
criterion_main!(benches);
