//! What other threads may do to an engine: leave a message, ask it to stop, wake it.
//!
//! Used by any thread on one side and by the loop on the other. Bounded: a full mailbox gives the message back. The bell and the flags are
//! the only memory that an engine shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam::queue::ArrayQueue;

use super::parked::Parked;
use crate::limits;

/// Wakes a parked engine ([`Parked`]).
#[derive(Debug)]
pub(super) struct Bell {
    parked: Parked,
    waker: mio::Waker,
}

impl Bell {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { parked: Parked::new(), waker }
    }

    /// The engine is about to sleep: everything must be looked at once more after this.
    pub(super) fn announce(&self) {
        self.parked.announce();
    }

    /// The engine is awake.
    pub(super) fn awake(&self) {
        self.parked.awake();
    }

    /// Something was left for the engine: wakes it if it sleeps or is about to.
    pub(super) fn ring(&self) {
        if self.parked.must_be_woken() {
            // It can fail only when the descriptor is gone, and then nobody sleeps there.
            let _ = self.waker.wake();
        }
    }
}

/// The sending end of an engine's mailbox; any thread may have one.
#[derive(Debug)]
pub struct Mailbox<M> {
    queue: Arc<ArrayQueue<M>>,
    bell: Arc<Bell>,
}

impl<M> Mailbox<M> {
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Self { queue: Arc::new(ArrayQueue::new(limits::MAILBOX)), bell }
    }

    /// Leaves a message; [`crate::service::Service::message`] is called with it in one of the next turns.
    ///
    /// # Errors
    /// The message itself, when [`limits::MAILBOX`] others wait.
    pub fn send(&self, message: M) -> Result<(), M> {
        self.queue.push(message)?;
        self.bell.ring();
        Ok(())
    }

    pub(super) fn take(&self) -> Option<M> {
        self.queue.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), bell: Arc::clone(&self.bell) }
    }
}

/// The stop switch of an engine, or of all that are siblings; any thread may have one.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicU8>,
    bells: Arc<[Arc<Bell>]>,
}

impl Stop {
    pub(super) fn new(bells: impl IntoIterator<Item = Arc<Bell>>) -> Self {
        Self { asked: Arc::new(AtomicU8::new(0)), bells: bells.into_iter().collect() }
    }

    /// Asks the engine to stop. The first time it ends connections in order, for as long as its configuration allows; the second time at once.
    pub fn ask(&self) {
        // Two is as urgent as it gets.
        let _ = self.asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |times| Some(times.saturating_add(1).min(2)));
        self.bells.iter().for_each(|bell| bell.ring());
    }

    /// Asks for an end in order, unless somebody has asked already.
    pub fn ask_once(&self) {
        if self.asked.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.bells.iter().for_each(|bell| bell.ring());
        }
    }

    /// How often it was asked: 0, 1, or 2 for "at once".
    pub fn asked(&self) -> u8 {
        self.asked.load(Ordering::Relaxed)
    }
}
