//! The monotonic clock of the kernel-socket peers. (The engine has its own reading of the same clock, once per burst.)

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::Instant;

/// The monotonic clock, in nanoseconds since its own start.
pub fn now() -> Instant {
    Instant::from_ns(ns(clock_gettime(ClockId::Monotonic)))
}

/// Nanoseconds of a time of the kernel; a negative one is 0.
pub(crate) fn ns(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
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
        assert_eq!(ns(timespec(second)), second.as_ns());
        assert_eq!(ns(Timespec { tv_sec: -1, tv_nsec: 5 }), 5);
    }
}
