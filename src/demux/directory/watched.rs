//! The words of the directory as loom watches them, with each order as weak as a model wants it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::atomics::Place;

thread_local! {
    /// The place that is weak in the models of this thread.
    static WEAK: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Weakens a place, or none, in the models to come.
pub(super) fn weaken(place: Option<Place>) {
    WEAK.set(place);
}

/// A word whose readers loom watches. The writer reads what it wrote from a copy: loom remembers one access of each kind to a word, and
/// would forget a reader's for the writer's own.
#[derive(Debug)]
pub(super) struct Word {
    shared: loom::sync::atomic::AtomicU64,
    own: AtomicU64,
}

impl Word {
    pub(super) fn new(value: u64) -> Self {
        Self { shared: loom::sync::atomic::AtomicU64::new(value), own: AtomicU64::new(value) }
    }

    pub(super) fn own(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// A value that stands there already is not stored again: nobody can rely on that, and there are fewer orders to try.
    pub(super) fn store(&self, value: u64) {
        if self.own.swap(value, Ordering::Relaxed) != value {
            self.shared.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn store_release(&self, place: Place, value: u64) {
        self.own.store(value, Ordering::Relaxed);
        self.shared.store(value, if is_weak(place) { Ordering::Relaxed } else { Ordering::Release });
    }

    pub(super) fn load(&self) -> u64 {
        self.shared.load(Ordering::Relaxed)
    }

    pub(super) fn load_acquire(&self, place: Place) -> u64 {
        self.shared.load(if is_weak(place) { Ordering::Relaxed } else { Ordering::Acquire })
    }
}

/// The fence at a place, unless it is weak.
pub(super) fn fence(place: Place, order: Ordering) {
    if !is_weak(place) {
        loom::sync::atomic::fence(order);
    }
}

pub(super) fn zeroed(words: usize) -> Box<[Word]> {
    (0..words).map(|_| Word::new(0)).collect()
}

fn is_weak(place: Place) -> bool {
    WEAK.get() == Some(place)
}
