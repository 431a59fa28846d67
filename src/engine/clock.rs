//! Where the engine's time comes from.
//!
//! Read by the loop after each burst and before it sends, by nobody else: everything below takes the time as an argument. Tests and benches
//! bring clocks of their own. Cannot panic.

use crate::time::Instant;

/// A source of time. The engine reads it after each burst, before it builds segments, and nowhere else.
pub trait Clock {
    /// Now; never before an earlier answer.
    fn now(&self) -> Instant;
}

/// The machine's monotonic clock (`CLOCK_MONOTONIC`), counted from when this value was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    start_ns: u64,
}

impl MonotonicClock {
    /// A clock that starts at zero.
    pub fn start() -> Self {
        Self { start_ns: monotonic_ns() }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        Instant::from_ns(monotonic_ns().saturating_sub(self.start_ns))
    }
}

/// Nanoseconds since boot. Read directly: the standard library's instants are normalised with each subtraction, which the loop would pay
/// for in every turn.
fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
