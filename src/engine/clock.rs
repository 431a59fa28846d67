//! Where the engine's time comes from.

use crate::time::Instant;

/// A source of time. The engine reads it after each burst, before it builds segments, and nowhere else.
pub trait Clock {
    /// Now; never before an earlier answer.
    fn now(&self) -> Instant;
}

/// The machine's monotonic clock, counted from when this value was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(std::time::Instant);

impl MonotonicClock {
    /// A clock that starts at zero.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        Instant::from_ns(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
