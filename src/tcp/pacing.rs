//! Pacing: segments leave at a rate instead of in bursts.
//!
//! Asked by `output` before each segment that takes sequence space, told after it; the deadline joins the timers of the TCB. The rate is the
//! congestion control's; without one nothing is held back. A short burst may leave at once, so that a rate far above one segment per turn
//! costs no timer per segment. Nothing here panics.

use std::time::Duration;

use crate::time::Instant;

/// When the next segment may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pacer {
    next: Instant,
}

impl Pacer {
    /// Nothing held back.
    pub(super) const NONE: Self = Self { next: Instant::ZERO };

    /// True when a segment may leave now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.next <= now + BURST
    }

    /// When a segment may leave that may not now.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// `bytes` leave at a pace of `bytes_per_second`.
    pub(super) fn sent(&mut self, bytes: u32, bytes_per_second: u64, now: Instant) {
        let span_ns = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
        // Time that was not used is lost: a pause does not earn a burst.
        self.next = self.next.max(now) + Duration::from_nanos(u64::try_from(span_ns).unwrap_or(u64::MAX).min(LONGEST_NS));
    }
}

/// What may leave ahead of its time: less than half of this is lost to a wake-up that comes late.
const BURST: Duration = Duration::from_micros(500);
/// However slow the pace, the next segment leaves within a second.
const LONGEST_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_over_bursts() {
        let mut pacer = Pacer::NONE;
        let mut now = Instant::from_ns(1_000_000_000);
        let begin = now;
        for _ in 0..1000 {
            if !pacer.allows(now) {
                now = pacer.deadline();
            }
            // 1 MB/s: a millisecond each.
            pacer.sent(1000, 1_000_000, now);
        }
        let took = now.since(begin);
        assert!(took >= Duration::from_millis(997) && took <= Duration::from_millis(1000), "{took:?}");
    }

    #[test]
    fn a_pause_earns_no_burst() {
        let mut pacer = Pacer::NONE;
        let now = Instant::from_ns(5_000_000_000);
        pacer.sent(1000, 1_000_000, now);
        assert!(!pacer.allows(now) && pacer.allows(now + Duration::from_micros(600)));
        pacer.sent(1000, 1, now);
        assert!(pacer.allows(now + Duration::from_millis(1001)));
    }
}
