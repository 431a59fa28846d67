//! The directory against a plain map, over much churn, and read by another thread while it is written.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::demux::{KeyedHash, Link, Slab};

/// A key of its own for each number: IPv4 and IPv6 in turn.
fn key(number: u32) -> FlowKey {
    let address = |side: u32| match number % 2 {
        0 => IpAddr::from(Ipv4Addr::from_bits(side << 24 | number)),
        _ => IpAddr::from(Ipv6Addr::from_bits(u128::from(side) << 120 | u128::from(number) << 64 | 1)),
    };
    FlowKey {
        local: address(10).into(),
        remote: address(172).into(),
        local_port: number as u16,
        remote_port: (number >> 16) as u16,
        link: Link { interface: 7 },
    }
}

/// Hashes that collide often: only four homes, and few tags.
fn poor_hash(number: u32) -> u64 {
    u64::from(number % 4) | u64::from(number % 3) << 50
}

/// A directory and the slab that names its TCBs, each of them a number.
struct Table {
    directory: Directory,
    slab: Slab<u32>,
    ids: BTreeMap<u32, SlotId>,
    hash: fn(u32) -> u64,
}

impl Table {
    fn new(capacity: usize, hash: fn(u32) -> u64) -> Self {
        let (directory, slab) = (Directory::new(3, capacity), Slab::with_capacity(capacity));
        Self { directory, slab, ids: BTreeMap::new(), hash }
    }

    /// False when it is full.
    fn insert(&mut self, number: u32) -> bool {
        let Ok(id) = self.slab.insert(number) else { return false };
        self.ids.insert(number, id);
        let born = Instant::from_ns(u64::from(number) << 32 | u64::from(id.generation));
        self.directory.insert((self.hash)(number), id, &key(number), State::SynReceived, born)
    }

    /// False when it is not there.
    fn remove(&mut self, number: u32) -> bool {
        let Some(id) = self.ids.remove(&number) else { return false };
        self.slab.remove(id);
        self.directory.remove((self.hash)(number), id)
    }

    fn set_state(&mut self, number: u32, state: State) {
        if let Some(&id) = self.ids.get(&number) {
            self.directory.set_state(id, state);
        }
    }

    fn find(&self, number: u32) -> Option<SlotId> {
        let slot = self.directory.find((self.hash)(number), |slot| self.slab.at(slot).is_some_and(|(_, &at)| at == number))?;
        self.slab.at(slot).map(|(id, _)| id)
    }
}

/// Asserts that a card says of its number what `Table::insert` wrote.
fn assert_whole(card: &Card) {
    let number = (card.born.as_ns() >> 32) as u32;
    assert_eq!((card.key, card.id.generation), (key(number), card.born.as_ns() as u32), "a torn card");
    assert_eq!(card.owner, 3);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u32),
    Remove(u32),
    Change(u32, State),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..24_u32).prop_map(Step::Insert),
        (0..24_u32).prop_map(Step::Remove),
        (0..24_u32, prop::sample::select(State::ALL.to_vec())).prop_map(|(number, state)| Step::Change(number, state)),
    ]
}

#[test]
fn the_owner_finds_each_key_on_its_card_whatever_the_state() {
    let mut table = Table::new(64, poor_hash);
    let keys = table.directory.keys();
    (0..64).for_each(|number| assert!(table.insert(number)));
    (0..64).for_each(|number| table.set_state(number, State::TimeWait));
    for (&number, id) in &table.ids {
        assert_eq!((keys.key_of(id.slot), keys.hash_of(id.slot)), (key(number), poor_hash(number)));
        let others = [number + 1, number + 2, number + (1 << 16)];
        assert!(keys.is_key(id.slot, &key(number)) && !others.iter().any(|&other| keys.is_key(id.slot, &key(other))));
        let elsewhere = FlowKey { link: Link { interface: 8 }, ..key(number) };
        assert!(!keys.is_key(id.slot, &elsewhere) && !keys.is_key(64, &key(number)));
    }
}

proptest! {
    #[test]
    fn owner_and_reader_agree_with_a_plain_map(steps in prop::collection::vec(step(), 1..300)) {
        let mut table = Table::new(16, poor_hash);
        let reader = table.directory.reader();
        let mut plain: BTreeMap<u32, State> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(number) if !plain.contains_key(&number) => {
                    let fits = plain.len() < 16;
                    prop_assert_eq!(table.insert(number), fits);
                    if fits {
                        plain.insert(number, State::SynReceived);
                    }
                }
                Step::Insert(_) => {}
                Step::Remove(number) => prop_assert_eq!(table.remove(number), plain.remove(&number).is_some()),
                Step::Change(number, state) => {
                    table.set_state(number, state);
                    plain.entry(number).and_modify(|was| *was = state);
                }
            }
            prop_assert_eq!(table.directory.len(), plain.len());
            for number in 0..24 {
                prop_assert_eq!(table.find(number), table.ids.get(&number).copied());
                match reader.find(poor_hash(number), &key(number)) {
                    Lookup::Found(card) => {
                        assert_whole(&card);
                        prop_assert_eq!((card.key, card.id), (key(number), table.ids[&number]));
                        prop_assert_eq!(Some(&card.state), plain.get(&number));
                    }
                    Lookup::Missing => prop_assert!(!plain.contains_key(&number)),
                    Lookup::Unsure => prop_assert!(false, "nobody writes"),
                }
            }
            let mut walked: Vec<_> = reader.cards().map(|card| (card.key.local_port.into(), card.state)).collect();
            walked.sort_unstable_by_key(|&(number, _)| number);
            prop_assert_eq!(walked, plain.clone().into_iter().collect::<Vec<(u32, State)>>());
        }
    }
}

#[test]
fn churn_does_not_lengthen_the_probes() {
    let hash = |number: u32| u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    let mut table = Table::new(1024, hash);
    (0..1024).for_each(|number| assert!(table.insert(number)));
    let at_start = table.directory.longest_probe();
    for number in 1024..200_000 {
        assert!(table.remove(number - 1024));
        assert!(table.insert(number));
    }
    assert!(table.directory.longest_probe() <= at_start + 16);
    (0..200_000).for_each(|number| _ = table.remove(number));
    assert_eq!((table.directory.len(), table.directory.longest_probe()), (0, 0));
}

#[test]
fn a_full_directory_refuses() {
    let mut directory = Directory::new(0, 2);
    let mut insert = |slot| {
        let id = SlotId { slot, generation: 0 };
        directory.insert(slot.into(), id, &key(slot), State::SynSent, Instant::ZERO)
    };
    assert!(!insert(2), "a slot beyond the cards");
    assert!(insert(0) && insert(1) && !insert(1));
}

#[test]
fn a_card_says_what_it_was_given_in_both_families() {
    let mut directory = Directory::new(9, 4);
    let reader = directory.reader();
    let hash = KeyedHash::new(&[5; 16]);
    for number in [0xa_bcde, 0xc_0ffb] {
        let (key, id) = (key(number), SlotId { slot: number % 4, generation: u32::MAX - 1 });
        assert_eq!(reader.find(hash.of(&key), &key), Lookup::Missing);
        assert!(directory.insert(hash.of(&key), id, &key, State::SynSent, Instant::from_ns(1 << 60)));
        for state in State::ALL {
            directory.set_state(id, state);
            let card = Card { id, key, state, owner: 9, born: Instant::from_ns(1 << 60) };
            assert_eq!(reader.find(hash.of(&key), &key), Lookup::Found(card));
        }
    }
    assert_eq!((reader.owner(), reader.cards().count()), (9, 2));
}

#[test]
fn a_card_of_a_later_tcb_in_the_same_slot_is_another() {
    let mut directory = Directory::new(0, 1);
    let reader = directory.reader();
    let ids = [0, 1].map(|generation| SlotId { slot: 0, generation });
    assert!(directory.insert(5, ids[0], &key(1), State::SynSent, Instant::ZERO));
    assert!(!directory.remove(5, ids[1]), "an id that is not there");
    assert!(directory.remove(5, ids[0]));
    assert!(directory.insert(5, ids[1], &key(2), State::SynSent, Instant::ZERO));
    assert_eq!(reader.find(5, &key(1)), Lookup::Missing);
    assert_eq!(reader.cards().map(|card| (card.id, card.key)).collect::<Vec<_>>(), [(ids[1], key(2))]);
}

#[test]
fn an_index_in_use_all_over_is_moved_into_huge_pages_part_by_part() {
    let hash = KeyedHash::new(&[3; 16]);
    let mut directory = Directory::new(0, 1 << 19);
    let mut insert = |number: u32| {
        let id = SlotId { slot: number, generation: 0 };
        assert!(directory.insert(hash.of(&key(number)), id, &key(number), State::Established, Instant::ZERO));
        directory.gathered
    };
    // 8 MiB in 2,048 pages; not all of it begins with a huge page.
    assert_eq!((0..2047).map(&mut insert).max(), Some(0), "few connections touch few pages");
    assert_eq!((2047..2047 + 64).map(&mut insert).max(), Some(1));
    let parts = (2111..4000).map(&mut insert).max();
    assert!(matches!(parts, Some(3 | 4)), "{parts:?}");
    assert!((0..4000).all(|number| directory.find(hash.of(&key(number)), |slot| slot == number) == Some(number)));
}

#[test]
fn a_reader_outlives_the_owner() {
    let mut directory = Directory::new(0, 1);
    let reader = directory.reader();
    directory.insert(5, SlotId { slot: 0, generation: 0 }, &key(1), State::SynSent, Instant::ZERO);
    drop(directory);
    assert!(matches!(reader.clone().find(5, &key(1)), Lookup::Found(_)));
}

/// Keys that stay, keys that come and go around them, and a thread that looks for both all the time.
#[test]
fn a_reader_misses_nothing_while_the_owner_writes() {
    const STAY: u32 = 32;
    const COME_AND_GO: u32 = 32;
    // Four clusters in which everything moves whenever something goes.
    let hash = |number: u32| (u64::from(number % 4) * 16) | (u64::from(number % 3) << 50);
    let mut table = Table::new((STAY + COME_AND_GO) as usize, hash);
    // The odd ones stay; they move as the even ones between them come and go.
    for number in 0..STAY + COME_AND_GO {
        assert!(table.insert(number));
    }
    let reader = table.directory.reader();
    let (mut found, mut missing, mut unsure, mut walks) = (0_u64, 0_u64, 0_u64, 0_u64);
    std::thread::scope(|scope| {
        let owner = scope.spawn(move || {
            for round in 0..ROUNDS {
                let number = round % COME_AND_GO * 2;
                if !table.remove(number) {
                    assert!(table.insert(number));
                }
                table.set_state(round % STAY * 2 + 1, State::ALL[round as usize % State::ALL.len()]);
            }
        });
        while !owner.is_finished() || walks == 0 {
            for number in 0..STAY + COME_AND_GO {
                match reader.find(hash(number), &key(number)) {
                    Lookup::Found(card) => {
                        assert_whole(&card);
                        assert_eq!(card.key, key(number));
                        found += 1;
                    }
                    Lookup::Missing => {
                        assert_eq!(number % 2, 0, "{number} is there all the time");
                        missing += 1;
                    }
                    Lookup::Unsure => unsure += 1,
                }
            }
            let seen: Vec<_> = reader.cards().inspect(assert_whole).map(|card| u32::from(card.key.local_port)).collect();
            let once = |number: u32| seen.iter().filter(|&&at| at == number).count() == 1;
            assert!((0..STAY).all(|at| once(at * 2 + 1)), "each that stays comes once in a walk");
            walks += 1;
        }
    });
    println!("{found} found, {missing} missing, {unsure} unsure, {walks} walks");
    assert!(unsure < found, "a reader gets through");
}

/// Takes about a second in the profile of tests.
const ROUNDS: u32 = 4_000_000;
