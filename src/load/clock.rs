//! The monotonic clock of the kernel-socket peers. (The engine has its own reading of the same clock, once per burst.)

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::{Instant, kernel_ns};

/// The monotonic clock, in nanoseconds since its own start.
pub fn now() -> Instant {
    Instant::from_ns(kernel_ns(clock_gettime(ClockId::Monotonic)))
}

/// The same time for the kernel.
pub(crate) fn timespec(at: Instant) -> Timespec {
    Timespec { tv_sec: (at.as_ns() / 1_000_000_000) as i64, tv_nsec: (at.as_ns() % 1_000_000_000) as _ }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward_and_converts_both_ways() {
        let first = now();
        let second = now();
        assert!(second >= first && first > Instant::ZERO);
        assert_eq!(kernel_ns(timespec(second)), second.as_ns());
    }
}
