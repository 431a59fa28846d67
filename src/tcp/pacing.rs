//! Pacing: segments leave at a rate instead of in bursts.
//!
//! Asked by `output` before each segment that takes sequence space, told after it; the deadline joins the timers of the TCB. The rate is the
//! congestion control's; without one nothing is held back. Segments leave in small bursts, one timer each, so that a rate far above one
//! segment per turn costs no timer per segment; and a wake-up that comes late is made good by the next burst. Nothing here panics.

use std::time::Duration;

use super::folded::Form;
use crate::time::Instant;

/// A rate, and how much of it may leave at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    bytes_per_second: u64,
    /// Nanoseconds for a byte, in 2^-20.
    byte_span: u64,
    burst_ns: u64,
}

impl Pace {
    /// `bytes_per_second`, in bursts of `burst` bytes.
    pub fn new(bytes_per_second: u64, burst: u32) -> Self {
        let bytes_per_second = bytes_per_second.max(SLOWEST);
        let byte_span = (1_000_000_000 << FRACTION) / bytes_per_second;
        let burst_ns = (u128::from(burst) * u128::from(byte_span)) >> FRACTION;
        Self { bytes_per_second, byte_span, burst_ns: u64::try_from(burst_ns).unwrap_or(u64::MAX).min(LONGEST_NS) }
    }

    /// The same with bursts of a fitting size for a rate that may be anything: what leaves in a millisecond, at least two segments of
    /// `mss` and at most 64 KiB, but never less than what leaves in 20 us.
    ///
    /// A burst costs one timer and one turn. A millisecond bounds the queue that bursts build at the bottleneck (Linux takes the
    /// same); at 100 Mbit/s these are 12,500 bytes, at 1 Mbit/s two segments. At 100 Gbit/s 64 KiB would ask for a timer every 5 us, which is
    /// about what a turn takes; 20 us are 250 KB there.
    pub fn with_fitting_bursts(bytes_per_second: u64, mss: u32) -> Self {
        let of_millisecond = bytes_per_second / 1_000;
        let of_turn = bytes_per_second / 50_000;
        let burst = of_millisecond.min(BURST_MAX).max(of_turn).max(2 * u64::from(mss));
        Self::new(bytes_per_second, u32::try_from(burst).unwrap_or(u32::MAX))
    }

    /// The rate.
    pub const fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Bytes that may leave at once.
    pub fn burst(&self) -> u32 {
        u32::try_from(u128::from(self.burst_ns) * u128::from(self.bytes_per_second) / 1_000_000_000).unwrap_or(u32::MAX)
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        let Self { bytes_per_second, byte_span, burst_ns } = self;
        form.near(bytes_per_second, 0);
        form.near(byte_span, (1_000_000_000 << FRACTION) / (*bytes_per_second).max(1));
        form.near(burst_ns, 0);
    }

    /// Before [`Pace::pass`] reads one.
    pub(super) const BLANK: Self = Self { bytes_per_second: 0, byte_span: 0, burst_ns: 0 };
}

/// When the next segment may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pacer {
    /// When all that has left would have, one byte after the other.
    next: Instant,
    /// What may leave ahead of its time.
    burst_ns: u64,
}

impl Pacer {
    /// Nothing held back.
    pub(super) const NONE: Self = Self { next: Instant::ZERO, burst_ns: 0 };

    /// True when a segment may leave now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.next <= now.after_ns(self.burst_ns)
    }

    /// When a segment may leave that may not now; then a whole burst may.
    pub(super) const fn deadline(&self) -> Instant {
        self.next
    }

    /// `bytes` leave at a pace.
    pub(super) fn sent(&mut self, bytes: u32, pace: Pace, now: Instant) {
        let span_ns = (u64::from(bytes).saturating_mul(pace.byte_span) >> FRACTION).min(LONGEST_NS);
        // A little unused time is a late wake-up, made good now; a pause earns no more than that.
        let late = Duration::from_nanos(pace.burst_ns.min(LATE_NS));
        self.next = self.next.max(now - late) + Duration::from_nanos(span_ns);
        self.burst_ns = pace.burst_ns.saturating_sub(span_ns);
    }

    /// A timer has said what must leave now: whatever the pace held back no longer is.
    pub(super) const fn release(&mut self) {
        *self = Self::NONE;
    }

    /// What is long past holds nothing back.
    pub(super) fn rest(&mut self, now: Instant) {
        if self.next.after_ns(LATE_NS) <= now {
            *self = Self::NONE;
        }
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, sent: Instant) {
        if !form.same(self, Self::NONE) {
            let Self { next, burst_ns } = self;
            form.near(next, sent);
            form.near(burst_ns, 0);
        }
    }
}

/// Bits behind the point of a byte's time.
const FRACTION: u32 = 20;
/// Bytes a second, at least.
const SLOWEST: u64 = 1_000;
/// Bytes of a burst, unless a turn takes longer.
const BURST_MAX: u64 = 64 * 1024;
/// However slow the pace, the next segment leaves within a second.
const LONGEST_NS: u64 = 1_000_000_000;
/// How late a wake-up may come without costing rate: an engine that sleeps is woken within some 100 us, on a busy machine within a millisecond.
const LATE_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_ns(1_000_000_000);

    /// Sends segments of 1000 bytes for a second, woken `late_us` after each deadline: bytes a second, and the number of wake-ups.
    fn drive(pace: Pace, late_us: u64) -> (u64, u32) {
        let (mut pacer, mut now, mut wakeups, mut bytes) = (Pacer::NONE, START, 0, 0);
        while now.since(START) < Duration::from_secs(1) {
            if !pacer.allows(now) {
                now = pacer.deadline() + Duration::from_micros(late_us);
                wakeups += 1;
            }
            pacer.sent(1000, pace, now);
            bytes += 1000;
        }
        (bytes, wakeups)
    }

    #[test]
    fn the_pace_is_kept_whatever_it_is() {
        for rate in [100_000, 1_250_000, 12_500_000, 125_000_000, 12_500_000_000] {
            let (bytes, wakeups) = drive(Pace::with_fitting_bursts(rate, 1000), 0);
            let share = bytes as f64 / rate as f64;
            assert!((0.98..1.05).contains(&share), "{rate} B/s: {share}");
            assert!(u64::from(wakeups) <= (rate / 2000 + 1).min(51_000), "{rate} B/s: {wakeups} wake-ups");
        }
    }

    #[test]
    fn late_wakeups_lose_no_rate() {
        for (rate, late_us) in [(1_250_000, 100), (12_500_000, 100), (12_500_000, 900), (125_000_000, 300)] {
            let share = drive(Pace::with_fitting_bursts(rate, 1000), late_us).0 as f64 / rate as f64;
            assert!((0.97..1.03).contains(&share), "{rate} B/s, {late_us} us late: {share}");
        }
    }

    #[test]
    fn bursts_fit_the_rate() {
        // 1 Mbit/s, 100 Mbit/s, 1 Gbit/s, 100 Gbit/s.
        for (rate, burst) in [(125_000, 2_920), (12_500_000, 12_500), (125_000_000, 65_536), (12_500_000_000, 250_000)] {
            let pace = Pace::with_fitting_bursts(rate, 1460);
            assert!(pace.burst().abs_diff(burst) <= burst / 500 + 20, "{rate} B/s: {}", pace.burst());
        }
    }

    #[test]
    fn a_pause_earns_no_more_than_two_bursts() {
        let mut pacer = Pacer::NONE;
        let pace = Pace::with_fitting_bursts(1_000_000, 1000);
        let mut burst = |now: Instant| {
            (0..100)
                .take_while(|_| {
                    pacer.allows(now) && {
                        pacer.sent(1000, pace, now);
                        true
                    }
                })
                .count()
        };
        assert!(burst(START) <= 4);
        assert!(burst(START + Duration::from_secs(60)) <= 4);
    }

    #[test]
    fn a_slow_pace_holds_nothing_for_more_than_a_second() {
        let mut pacer = Pacer::NONE;
        pacer.sent(60_000, Pace::new(0, 1), START);
        assert!(!pacer.allows(START) && pacer.allows(START + Duration::from_millis(1001)));
        pacer.sent(60_000, Pace::new(0, 1), START);
        pacer.release();
        assert!(pacer.allows(START));
    }
}
