//! Whether a loop sleeps, or is about to: the protocol by which no wake-up is lost.
//!
//! A loop announces that it is about to sleep, looks once more at everything that could have come, and only then sleeps. Whoever leaves something
//! leaves it first and looks at the announcement after. With a full fence on both sides one of the two sees the other: either the loop
//! finds what was left, or whoever left it wakes the loop. Used by the bell ([`super::mailbox`]) alone. Cannot panic.

#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

/// The announcement.
#[derive(Debug)]
pub(super) struct Parked(AtomicBool);

impl Parked {
    /// Of a loop that is awake.
    #[cfg(not(all(test, loom)))]
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    #[cfg(all(test, loom))]
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The loop is about to sleep: everything must be looked at once more after this.
    pub(super) fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        full_fence();
    }

    /// The loop is awake.
    pub(super) fn awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Something was left for the loop: true when it has to be woken.
    pub(super) fn must_be_woken(&self) -> bool {
        full_fence();
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(not(all(test, loom)))]
fn full_fence() {
    fence(Ordering::SeqCst);
}

#[cfg(all(test, loom))]
fn full_fence() {
    if !models::is_weak() {
        fence(Ordering::SeqCst);
    }
}

/// The protocol under loom: in every order of the memory accesses whatever is left is found. A loop that sleeps for ever is a deadlock, which loom finds.
#[cfg(all(test, loom))]
mod models {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use loom::sync::atomic::AtomicU64;
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::*;

    thread_local! {
        static WEAK: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn is_weak() -> bool {
        WEAK.get()
    }

    /// A loop with a place where each of its producers leaves one thing, and what it sleeps on.
    struct Loop {
        parked: Parked,
        left: [AtomicU64; 2],
        waker: Notify,
    }

    impl Loop {
        fn leave(&self, place: usize) {
            self.left[place].store(1, Ordering::Release);
            if self.parked.must_be_woken() {
                self.waker.notify();
            }
        }

        fn has_come(&self, wanted: usize) -> bool {
            (0..wanted).all(|place| self.left[place].load(Ordering::Acquire) == 1)
        }
    }

    /// The loop waits for so many things, from a producer each.
    fn nothing_left_is_slept_through(producers: usize) {
        let core = Arc::new(Loop { parked: Parked::new(), left: [AtomicU64::new(0), AtomicU64::new(0)], waker: Notify::new() });
        let threads: Vec<_> = (0..producers)
            .map(|place| {
                let core = core.clone();
                thread::spawn(move || core.leave(place))
            })
            .collect();
        while !core.has_come(producers) {
            core.parked.announce();
            if !core.has_come(producers) {
                core.waker.wait();
            }
            core.parked.awake();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn what_one_producer_leaves_is_found_in_every_order_and_what_two_leave_in_many() {
        loom::model(|| nothing_left_is_slept_through(1));
        // All orders of two take most of a minute; they were tried.
        let mut some = loom::model::Builder::new();
        some.preemption_bound = Some(3);
        some.check(|| nothing_left_is_slept_through(2));
    }

    #[test]
    fn without_the_fences_a_wake_up_is_lost() {
        WEAK.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| loom::model(|| nothing_left_is_slept_through(1))));
        WEAK.set(false);
        assert!(result.is_err(), "nothing was slept through");
    }
}
