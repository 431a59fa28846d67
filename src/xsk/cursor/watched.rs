//! The cursors under loom: a producer and a consumer thread, every order of their memory accesses.
//!
//! Run by `scripts/test.sh`, or with `RUSTFLAGS="--cfg loom" cargo test --lib xsk::cursor`, which builds every dependency anew. The slots are loom's cells: reading one that the other side
//! may still write, or that is not yet visible, fails the model.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};

use super::*;

impl SharedIndex for AtomicU32 {
    fn load_acquire(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    fn store_release(&self, value: u32) {
        self.store(value, Ordering::Release);
    }
}

struct Ring {
    producer: AtomicU32,
    consumer: AtomicU32,
    slots: [UnsafeCell<u32>; 2],
}

// SAFETY: the slots are reached through the cursors only, whose protocol is what the model checks.
unsafe impl Sync for Ring {}

#[test]
fn entries_arrive_whole_and_in_order_across_the_wrap() {
    const START: u32 = u32::MAX - 1;
    const ENTRIES: u32 = 3;
    loom::model(|| {
        let ring = Arc::new(Ring {
            producer: AtomicU32::new(START),
            consumer: AtomicU32::new(START),
            slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
        });
        let shared = ring.clone();
        let producer = loom::thread::spawn(move || {
            let mut cursor = ProducerCursor::new(START, 2);
            let mut next = 1;
            while next <= ENTRIES {
                if cursor.room(1, &shared.consumer) == 0 {
                    loom::thread::yield_now();
                    continue;
                }
                let slot = cursor.claim().unwrap();
                // SAFETY: a claimed slot is the producer's alone; loom fails the test if it is not.
                shared.slots[slot].with_mut(|value| unsafe { *value = next });
                next += 1;
                cursor.publish(&shared.producer);
            }
            assert_eq!(cursor.lies(), 0);
        });
        let mut cursor = ConsumerCursor::new(START, 2);
        let mut expected = 1;
        while expected <= ENTRIES {
            if cursor.available(1, &ring.producer) == 0 {
                loom::thread::yield_now();
                continue;
            }
            let slot = cursor.take().unwrap();
            // SAFETY: a taken slot is the consumer's alone; loom fails the test if it is not.
            assert_eq!(ring.slots[slot].with(|value| unsafe { *value }), expected);
            expected += 1;
            cursor.release(&ring.consumer);
        }
        assert_eq!(cursor.lies(), 0);
        producer.join().unwrap();
    });
}
