//! The directory under loom: an owner and readers in every order of their memory accesses, and with every order weakened in turn.
//!
//! Run by `scripts/test.sh`, or with `RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/loom-rustc.sh" cargo test --lib demux::directory`. Each model is
//! a story of what the owner does while a reader looks at most three times. `a_weak_order_is_noticed` weakens one place at a time and wants the story
//! that needs it to fail: an order that no model misses is either not needed or not tested.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use loom::model::Builder;
use loom::thread;

use super::atomics::Place;
use super::watched::weaken;
use super::*;
use crate::demux::Link;

/// Looks of a lookup: the first, and two more.
const LOOKS: u32 = 3;

/// A connection of the models: its number gives the key, `home` the hash.
#[derive(Clone, Copy, Debug)]
struct Flow {
    number: u16,
    home: u64,
    id: SlotId,
}

const fn flow(number: u16, home: u64, slot: u32) -> Flow {
    Flow { number, home, id: SlotId { slot, generation: 0 } }
}

impl Flow {
    /// The same key at another id.
    const fn again(self, slot: u32, generation: u32) -> Self {
        Self { id: SlotId { slot, generation }, ..self }
    }

    fn key(self) -> FlowKey {
        // The same addresses for all: words of a card that never change add no orders.
        FlowKey {
            local: std::net::Ipv4Addr::new(10, 0, 0, 1).into(),
            remote: std::net::Ipv4Addr::new(10, 0, 0, 2).into(),
            local_port: self.number,
            remote_port: self.number,
            link: Link { interface: self.number },
        }
    }

    /// The tag is the number, so that most lookups read one card.
    fn hash(self) -> u64 {
        self.home | u64::from(self.number) << 44
    }

    /// Different for each key and generation.
    fn born(self) -> Instant {
        Instant::from_ns(u64::from(self.number) << 8 | u64::from(self.id.generation))
    }

    fn insert(self, directory: &mut Directory) {
        assert!(directory.insert(self.hash(), self.id, &self.key(), State::SynSent, self.born()));
    }

    fn remove(self, directory: &mut Directory) {
        assert!(directory.remove(self.hash(), self.id));
    }

    fn look(self, reader: &Reader) -> Lookup {
        self.look_within(LOOKS, reader)
    }

    fn look_within(self, looks: u32, reader: &Reader) -> Lookup {
        let found = reader.find_within(looks, self.hash(), &self.key());
        if let Lookup::Found(card) = found {
            self.assert_whole(&card);
        }
        found
    }

    /// Asserts that a card of this key is that of one incarnation.
    fn assert_whole(self, card: &Card) {
        assert_eq!(card.key, self.key(), "another's card");
        assert_eq!(card.born, self.again(card.id.slot, card.id.generation).born(), "a torn card");
    }
}

/// A directory of four slots with these flows.
fn directory(flows: &[Flow]) -> Directory {
    let mut directory = Directory::with_slots(0, 3, 4);
    flows.iter().for_each(|flow| flow.insert(&mut directory));
    directory
}

/// What the owner does in one thread, while another looks.
fn story(flows: &[Flow], owner: impl FnOnce(&mut Directory) + 'static, read: impl FnOnce(&Reader)) -> Reader {
    let mut directory = directory(flows);
    let reader = directory.reader();
    let owner = thread::spawn(move || owner(&mut directory));
    read(&reader);
    owner.join().unwrap();
    reader
}

/// Asserts that a key which stays is not missed.
fn assert_stays(flow: Flow, reader: &Reader) {
    assert_ne!(flow.look(reader), Lookup::Missing, "{flow:?} is there all the time");
}

/// One after another, all at home in the same slot.
const A: Flow = flow(1, 1, 0);
const B: Flow = flow(2, 1, 1);
const C: Flow = flow(3, 1, 2);

/// Insertion: whole or not at all, and there at the end. Whoever sees the entry sees the card, so nobody is unsure.
fn insertion() {
    let read = |reader: &Reader| assert_ne!(A.look(reader), Lookup::Unsure, "nothing moves");
    let reader = story(&[], |directory| A.insert(directory), read);
    assert!(matches!(A.look(&reader), Lookup::Found(_)));
}

/// Removal of an entry that nothing stands behind.
fn removal() {
    let reader = story(&[A], |directory| A.remove(directory), |reader| _ = A.look(reader));
    assert_eq!(A.look(&reader), Lookup::Missing);
}

/// What stands behind a removed entry moves into its slot.
fn one_move() {
    let reader = story(&[A, B], |directory| A.remove(directory), |reader| assert_stays(B, reader));
    assert!(matches!(B.look(&reader), Lookup::Found(_)));
}

/// Two entries move; one of them may be taken for the end of the other's way.
fn two_moves() {
    story(&[A, B, C], |directory| A.remove(directory), |reader| assert_stays(B, reader));
}

/// The last of two that move.
fn two_moves_of_the_last() {
    story(&[A, B, C], |directory| A.remove(directory), |reader| assert_stays(C, reader));
}

/// Something is inserted where the entry that moved has stood.
fn move_and_insertion() {
    let owner = |directory: &mut Directory| {
        A.remove(directory);
        flow(4, 2, 2).insert(directory);
    };
    story(&[A, B], owner, |reader| assert_stays(B, reader));
}

/// Two moves, one after the other.
fn move_and_move() {
    let owner = |directory: &mut Directory| {
        A.remove(directory);
        B.remove(directory);
    };
    story(&[A, B, C], owner, |reader| assert_stays(C, reader));
}

/// The probe sequence goes round the end of the index.
fn move_round_the_end() {
    let [a, b] = [flow(1, 3, 0), flow(2, 3, 1)];
    story(&[a, b], move |directory| a.remove(directory), |reader| assert_stays(b, reader));
}

/// Another key in the same slots of index and cards.
fn another_in_the_same_slot() {
    let next = flow(2, 1, 0).again(0, 1);
    let owner = move |directory: &mut Directory| {
        A.remove(directory);
        next.insert(directory);
    };
    let reader = story(&[A], owner, |reader| _ = A.look(reader));
    assert_eq!(A.look(&reader), Lookup::Missing);
    assert!(matches!(next.look(&reader), Lookup::Found(_)));
}

/// The same key again in the same slots: either incarnation, not a mixture.
fn the_same_key_again() {
    let next = A.again(0, 1);
    let owner = move |directory: &mut Directory| {
        A.remove(directory);
        next.insert(directory);
    };
    let reader = story(&[A], owner, |reader| _ = A.look(reader));
    assert!(matches!(A.look(&reader), Lookup::Found(card) if card.id.generation == 1));
}

/// The cards are walked while one is written anew.
fn a_walk() {
    let next = flow(2, 1, 0).again(0, 1);
    let owner = move |directory: &mut Directory| {
        A.remove(directory);
        next.insert(directory);
    };
    story(&[A], owner, |reader| {
        for card in reader.cards() {
            if card.key.local_port == A.number { A } else { next }.assert_whole(&card);
        }
    });
}

/// Who misses what was removed finds what had been inserted before.
fn removal_seen_after_insertion() {
    let other = flow(2, 3, 1);
    let owner = move |directory: &mut Directory| {
        other.insert(directory);
        A.remove(directory);
    };
    story(&[A], owner, |reader| {
        if A.look(reader) == Lookup::Missing {
            assert_stays(other, reader);
        }
    });
}

/// Who finds what was inserted finds what had been inserted before.
fn insertion_seen_after_insertion() {
    let other = flow(2, 3, 1);
    let owner = move |directory: &mut Directory| {
        other.insert(directory);
        A.insert(directory);
    };
    story(&[], owner, |reader| {
        if A.look(reader) != Lookup::Missing {
            assert_stays(other, reader);
        }
    });
}

/// Who sees a new state finds what had been inserted before.
fn state_seen_after_insertion() {
    let other = flow(2, 3, 1);
    let owner = move |directory: &mut Directory| {
        other.insert(directory);
        directory.set_state(A.id, State::Established);
    };
    let reader = story(&[A], owner, |reader| match A.look(reader) {
        Lookup::Found(card) if card.state == State::Established => assert_stays(other, reader),
        Lookup::Found(card) => assert_eq!(card.state, State::SynSent),
        Lookup::Missing | Lookup::Unsure => panic!("the card of a key that stays is not written"),
    });
    assert!(matches!(A.look(&reader), Lookup::Found(card) if card.state == State::Established));
}

/// Two owners insert the same key, and each looks whether the other has: at least one finds it.
fn two_owners_of_one_key() {
    let owner = |mine: &mut Directory, theirs: &Reader| {
        A.insert(mine);
        mine.before_others_are_asked();
        A.look_within(1, theirs) != Lookup::Missing
    };
    let (mut first, mut second) = (directory(&[]), directory(&[]));
    let (of_first, of_second) = (first.reader(), second.reader());
    let other = thread::spawn(move || owner(&mut second, &of_first));
    let found = owner(&mut first, &of_second);
    assert!(other.join().unwrap() || found, "both keep theirs");
}

/// Two readers at once.
fn two_readers(flows: &[Flow], owner: impl FnOnce(&mut Directory) + 'static, read: impl FnOnce(&Reader) + Copy + 'static) {
    story(flows, owner, |reader| {
        let second = reader.clone();
        let second = thread::spawn(move || read(&second));
        read(reader);
        second.join().unwrap();
    });
}

fn one_move_and_two_readers() {
    two_readers(&[A, B], |directory| A.remove(directory), |reader| assert_stays(B, reader));
}

fn two_moves_and_two_readers() {
    two_readers(&[A, B, C], |directory| A.remove(directory), |reader| assert_stays(C, reader));
}

fn the_same_key_again_and_two_readers() {
    let owner = |directory: &mut Directory| {
        A.remove(directory);
        A.again(0, 1).insert(directory);
    };
    two_readers(&[A], owner, |reader| _ = A.look_within(1, reader));
}

/// Tries every order of a story, or those with at most so many preemptions.
fn check(name: &str, preemptions: Option<usize>, story: fn()) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    let orders = std::sync::Arc::new(AtomicU64::new(0));
    let counted = orders.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        story();
    });
    println!("{name}: {} orders", orders.load(Ordering::Relaxed));
}

#[test]
fn every_order_of_one_owner_and_one_reader() {
    let stories: [(&str, fn()); 13] = [
        ("insertion", insertion),
        ("removal", removal),
        ("one move", one_move),
        ("two moves", two_moves),
        ("two moves of the last", two_moves_of_the_last),
        ("move and insertion", move_and_insertion),
        ("move round the end", move_round_the_end),
        ("another in the same slot", another_in_the_same_slot),
        ("the same key again", the_same_key_again),
        ("removal seen after insertion", removal_seen_after_insertion),
        ("insertion seen after insertion", insertion_seen_after_insertion),
        ("state seen after insertion", state_seen_after_insertion),
        ("two owners of one key", two_owners_of_one_key),
    ];
    stories.into_iter().for_each(|(name, story)| check(name, None, story));
}

#[test]
fn many_orders_of_longer_stories() {
    let stories: [(&str, fn()); 5] = [
        ("move and move", move_and_move),
        ("a walk", a_walk),
        ("one move, two readers", one_move_and_two_readers),
        ("two moves, two readers", two_moves_and_two_readers),
        ("the same key again, two readers", the_same_key_again_and_two_readers),
    ];
    stories.into_iter().for_each(|(name, story)| check(name, Some(PREEMPTIONS), story));
}

#[test]
fn a_weak_order_is_noticed() {
    for &place in Place::ALL {
        let (name, story): (&str, fn()) = match place {
            Place::EntryInserted => ("insertion", insertion),
            Place::EntryMoved => ("two moves", two_moves),
            Place::EntryGone | Place::EntryRead | Place::MoveEnds | Place::LookBegins => ("one move", one_move),
            Place::WriteBegins | Place::ReadEnds => ("the same key again", the_same_key_again),
            Place::WriteEnds | Place::ReadBegins => ("a walk", a_walk),
            Place::AsksOthers => ("two owners of one key", two_owners_of_one_key),
            Place::StateChanges => ("state seen after insertion", state_seen_after_insertion),
        };
        assert!(fails(place, story), "{name} does not notice that {place:?} is weak");
    }
}

/// True when a story fails once a place is weak.
fn fails(place: Place, story: fn()) -> bool {
    weaken(Some(place));
    let result = catch_unwind(AssertUnwindSafe(|| check("weakened", Some(PREEMPTIONS), story)));
    weaken(None);
    result.is_err()
}

/// Preemptions in models that have too many orders to try all.
const PREEMPTIONS: usize = 3;
