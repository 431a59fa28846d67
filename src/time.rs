//! A point in time, as the protocol code sees it.
//!
//! [`Instant`] is a count of nanoseconds since an arbitrary start. The engine reads the real clock once per
//! burst ([`crate::engine`]) and hands the value down; nothing below the engine reads a clock, which is what
//! makes the protocol code repeatable. Arithmetic saturates: it cannot panic.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use rustix::time::Timespec;

/// A point in time: nanoseconds since an arbitrary start, the same for all cores of one process.
///
/// ```
/// use ringway::time::Instant;
/// use std::time::Duration;
/// let due = Instant::ZERO + Duration::from_millis(200);
/// assert_eq!(due.as_ns(), 200_000_000);
/// assert_eq!(due.since(Instant::ZERO), Duration::from_millis(200));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of time.
    pub const ZERO: Self = Self(0);
    /// Later than every deadline: a timer that is not armed.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `ns` nanoseconds after the start.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the start.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start, modulo 2^32: the tick of the timestamp option (RFC 7323 5.4).
    pub const fn as_ms_wrapping(self) -> u32 {
        (self.0 / 1_000_000) as u32
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `ns` nanoseconds later.
    pub const fn after_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Nanoseconds from `earlier` to this instant; zero when it lies ahead.
    pub const fn ns_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span_ns(span)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span_ns(span)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Nanoseconds of a span, at most `u64::MAX` (584 years).
pub const fn span_ns(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000_000_000).saturating_add(span.subsec_nanos() as u64)
}

/// Milliseconds of a span, rounded up; at most 49 days.
pub const fn span_ms(span: Duration) -> u32 {
    let ms = span_ns(span).div_ceil(1_000_000);
    if ms < u32::MAX as u64 { ms as u32 } else { u32::MAX }
}

/// Nanoseconds of a time of the kernel; a negative one is 0.
pub(crate) fn kernel_ns(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::NEVER + Duration::from_secs(1), Instant::NEVER);
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(Instant::ZERO.since(Instant::NEVER), Duration::ZERO);
    }

    #[test]
    fn milliseconds_of_a_span_are_rounded_up_and_bounded() {
        let ms = [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_millis(7),
            Duration::from_millis(7) + Duration::from_nanos(1),
        ]
        .map(span_ms);
        assert_eq!(ms, [0, 1, 7, 8]);
        assert_eq!([Duration::from_secs(50 * 86_400), Duration::MAX].map(span_ms), [u32::MAX; 2]);
    }

    #[test]
    fn a_time_of_the_kernel_before_its_start_counts_no_seconds() {
        assert_eq!(kernel_ns(Timespec { tv_sec: 2, tv_nsec: 5 }), 2_000_000_005);
        assert_eq!(kernel_ns(Timespec { tv_sec: -1, tv_nsec: 5 }), 5);
    }

    #[test]
    fn the_timestamp_tick_wraps_at_32_bits() {
        let wrap = Instant::from_ns((1 << 32) * 1_000_000);
        assert_eq!(wrap.as_ms_wrapping(), 0);
        assert_eq!((wrap - Duration::from_millis(1)).as_ms_wrapping(), u32::MAX);
    }
}
