//! Tells another thread that something has happened for which the records are worth keeping.
//!
//! Rung by the recorder of a core, off the usual path; heard by whoever writes dumps. A core that ends, in order or by a panic, leaves its records here on its way out,
//! since nobody can ask it any more. Nothing here panics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::record::Record;

/// Why records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A retransmission timer expired (RFC 6298).
    Timeout,
    /// A reset was received or sent.
    Reset,
    /// The core has panicked.
    Panic,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Timeout, Self::Reset, Self::Panic];

    /// Its name in options and files: `rto`, `reset`, `panic`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "rto",
            Self::Reset => "reset",
            Self::Panic => "panic",
        }
    }
}

/// How often each of them happened, on one core. Clones are the same.
///
/// ```
/// use ringway::recorder::{Alarm, Reason};
/// let alarm = Alarm::default();
/// assert_eq!(alarm.count(Reason::Reset), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Written by the core, read by anybody; in the order of [`Reason::ALL`].
    counts: [AtomicU64; Reason::ALL.len()],
    /// What a core had recorded when it ended.
    left: Mutex<Vec<(u64, Record)>>,
}

impl Alarm {
    /// How often it happened.
    pub fn count(&self, reason: Reason) -> u64 {
        self.0.counts[reason as usize].load(Ordering::Acquire)
    }

    /// What a core that has ended had recorded, the first time it is asked for; else nothing.
    pub fn take_left(&self) -> Vec<(u64, Record)> {
        std::mem::take(&mut self.0.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn ring(&self, reason: Reason) {
        // Who sees the count sees what was left before it.
        self.0.counts[reason as usize].fetch_add(1, Ordering::Release);
    }

    /// The last words of a core.
    pub(super) fn leave(&self, records: Vec<(u64, Record)>) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) = records;
    }
}
