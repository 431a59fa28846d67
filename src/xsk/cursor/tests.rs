//! The cursors near the wrap of their indices, against a lying kernel, and against a queue as the model.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

const NEAR_WRAP: u32 = u32::MAX - 2;

#[test]
fn a_ring_is_full_after_size_entries_even_across_the_wrap() {
    let consumer = AtomicU32::new(NEAR_WRAP);
    let producer = AtomicU32::new(NEAR_WRAP);
    let mut cursor = ProducerCursor::new(NEAR_WRAP, 8);
    assert_eq!(cursor.room(8, &consumer), 8);
    let slots: Vec<_> = std::iter::from_fn(|| cursor.claim()).collect();
    assert_eq!(slots, [5, 6, 7, 0, 1, 2, 3, 4]);
    assert_eq!(cursor.publish(&producer), 8);
    assert_eq!(producer.load(Ordering::Relaxed), 5, "eight past the start, modulo 2^32");
    assert_eq!(cursor.room(1, &consumer), 0);
    assert_eq!(cursor.outstanding(&consumer), 8);
}

#[test]
fn nothing_is_visible_before_it_is_published() {
    let index = AtomicU32::new(NEAR_WRAP);
    let mut cursor = ProducerCursor::new(NEAR_WRAP, 4);
    cursor.claim();
    assert_eq!(index.load(Ordering::Relaxed), NEAR_WRAP);
    cursor.publish(&index);
    assert_eq!(index.load(Ordering::Relaxed), NEAR_WRAP.wrapping_add(1));
    assert_eq!(cursor.publish(&index), 0, "nothing new to publish");
}

#[test]
fn a_consumer_takes_what_was_produced_and_releases_it() {
    let producer = AtomicU32::new(NEAR_WRAP.wrapping_add(4));
    let consumer = AtomicU32::new(NEAR_WRAP);
    let mut cursor = ConsumerCursor::new(NEAR_WRAP, 4);
    assert_eq!(cursor.take(), None, "nothing is known before it is looked for");
    assert_eq!(cursor.available(4, &producer), 4);
    let slots: Vec<_> = std::iter::from_fn(|| cursor.take()).collect();
    assert_eq!(slots, [1, 2, 3, 0]);
    assert_eq!(consumer.load(Ordering::Relaxed), NEAR_WRAP);
    cursor.release(&consumer);
    assert_eq!(consumer.load(Ordering::Relaxed), NEAR_WRAP.wrapping_add(4));
}

#[test]
fn a_producer_index_beyond_the_ring_is_a_lie_and_changes_nothing() {
    let mut cursor = ConsumerCursor::new(NEAR_WRAP, 4);
    for lie in [5, 6, 0x8000_0000, u32::MAX] {
        assert_eq!(cursor.available(1, &AtomicU32::new(NEAR_WRAP.wrapping_add(lie))), 0, "{lie} ahead");
    }
    assert_eq!(cursor.lies(), 4);
    assert_eq!(cursor.available(1, &AtomicU32::new(NEAR_WRAP.wrapping_add(4))), 4, "the truth is still believed");
}

#[test]
fn a_slot_that_was_not_released_cannot_be_filled_again() {
    let mut cursor = ConsumerCursor::new(NEAR_WRAP, 4);
    assert_eq!(cursor.available(4, &AtomicU32::new(NEAR_WRAP.wrapping_add(4))), 4);
    cursor.take();
    assert_eq!(cursor.available(4, &AtomicU32::new(NEAR_WRAP.wrapping_add(5))), 3, "taken, but not released");
    assert_eq!(cursor.lies(), 1);
    cursor.release(&AtomicU32::new(0));
    assert_eq!(cursor.available(4, &AtomicU32::new(NEAR_WRAP.wrapping_add(5))), 4);
}

#[test]
fn a_consumer_index_that_passes_ours_is_a_lie_and_frees_nothing() {
    let index = AtomicU32::new(NEAR_WRAP);
    let mut cursor = ProducerCursor::new(NEAR_WRAP, 4);
    while cursor.claim().is_some() {}
    cursor.publish(&index);
    assert_eq!(cursor.room(1, &AtomicU32::new(NEAR_WRAP.wrapping_add(5))), 0);
    assert_eq!(cursor.room(1, &AtomicU32::new(NEAR_WRAP.wrapping_sub(1))), 0, "backwards");
    assert_eq!(cursor.lies(), 2);
    assert_eq!(cursor.room(1, &AtomicU32::new(NEAR_WRAP.wrapping_add(1))), 1);
}

#[test]
fn entries_claimed_and_not_published_cannot_be_consumed() {
    let mut cursor = ProducerCursor::new(NEAR_WRAP, 4);
    cursor.claim();
    assert_eq!(cursor.room(4, &AtomicU32::new(NEAR_WRAP.wrapping_add(1))), 3);
    assert_eq!(cursor.lies(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Produce(u32),
    Publish,
    Consume(u32),
    Release,
    Lie(bool, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..20_u32).prop_map(Step::Produce),
        Just(Step::Publish),
        (1..20_u32).prop_map(Step::Consume),
        Just(Step::Release),
        (any::<bool>(), any::<u32>()).prop_map(|(side, value)| Step::Lie(side, value)),
    ]
}

/// Both sides of one ring, and the queue it must behave like. The cursors meet in the two indices and the slots.
struct Model {
    producer: ProducerCursor,
    consumer: ConsumerCursor,
    indices: [AtomicU32; 2],
    slots: Vec<u64>,
    claimed: VecDeque<u64>,
    published: VecDeque<u64>,
    unreleased: usize,
    next: u64,
}

impl Model {
    fn new(start: u32, size: u32) -> Self {
        Self {
            producer: ProducerCursor::new(start, size),
            consumer: ConsumerCursor::new(start, size),
            indices: [AtomicU32::new(start), AtomicU32::new(start)],
            slots: vec![0; size as usize],
            claimed: VecDeque::new(),
            published: VecDeque::new(),
            unreleased: 0,
            next: 1,
        }
    }

    fn run(&mut self, step: Step) {
        let size = self.slots.len();
        match step {
            Step::Produce(count) => {
                let room = self.producer.room(count, &self.indices[1]) as usize;
                assert!(room <= size - self.claimed.len() - self.published.len() - self.unreleased);
                for _ in 0..count {
                    let Some(slot) = self.producer.claim() else { break };
                    self.slots[slot] = self.next;
                    self.claimed.push_back(self.next);
                    self.next += 1;
                }
            }
            Step::Publish => {
                assert_eq!(self.producer.publish(&self.indices[0]) as usize, self.claimed.len());
                self.published.append(&mut self.claimed);
            }
            Step::Consume(count) => {
                let available = self.consumer.available(count, &self.indices[0]) as usize;
                assert!(available <= self.published.len());
                assert!(available >= self.published.len().min(count as usize));
                for _ in 0..available.min(count as usize) {
                    let slot = self.consumer.take().unwrap();
                    assert_eq!(Some(self.slots[slot]), self.published.pop_front());
                    self.unreleased += 1;
                }
            }
            Step::Release => {
                self.consumer.release(&self.indices[1]);
                self.unreleased = 0;
            }
            Step::Lie(side, value) => self.lie(usize::from(side), value),
        }
    }

    /// Shows one side a value of the other's index that cannot be true, and takes it away again.
    fn lie(&mut self, side: usize, value: u32) {
        let truth = self.indices[side].load(Ordering::Relaxed);
        let (bound, lies) = match side {
            0 => (self.slots.len() as u32 + 1, self.consumer.lies()),
            _ => (self.claimed.len() as u32 + self.slots.len() as u32 + 1, self.producer.lies()),
        };
        let ahead = bound + value % (u32::MAX - 3 * bound);
        let lie = AtomicU32::new(truth.wrapping_add(ahead));
        if side == 0 {
            let known = self.consumer.known();
            assert_eq!(self.consumer.available(u32::MAX, &lie), known);
            assert_eq!(self.consumer.lies(), lies + 1);
        } else {
            let known = self.producer.known_room();
            assert_eq!(self.producer.room(u32::MAX, &lie), known);
            assert_eq!(self.producer.lies(), lies + 1);
        }
    }
}

proptest! {
    #[test]
    fn a_ring_behaves_like_a_queue(
        start in prop_oneof![Just(u32::MAX), Just(NEAR_WRAP), Just(0), any::<u32>()],
        size in 0..6_u32,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut model = Model::new(start, 1 << size);
        for step in steps {
            model.run(step);
        }
    }
}
