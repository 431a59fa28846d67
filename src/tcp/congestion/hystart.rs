//! Leaving slow start before the queue at the bottleneck overflows: HyStart++ (RFC 9406).
//!
//! Round-trip times that rise from one round to the next show that a queue builds up. Growth then becomes conservative (a quarter) for five
//! rounds, in which the rise may turn out to be noise: when round-trip times fall again, slow start goes on. That needs a queue of three
//! bandwidth-delay products to be in time; a shorter one is foreseen by the train of ACKs (Ha and Rhee, "Hybrid Slow Start"; Linux does
//! the same): when ACKs come close together for half a round-trip time, the next doubling fills the path. Called by CUBIC in the first slow
//! start of a connection, with each ACK. Sequence numbers are the rounds' business ([`super::round`]); nothing panics.

use crate::tcp::folded::Form;
use crate::time::Instant;

/// What the last rounds have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HyStart {
    last_round_min_ns: u64,
    this_round_min_ns: u64,
    /// Samples of this round.
    samples: u8,
    /// Conservative slow start: the round-trip time at its begin, and the rounds left of it.
    conservative: Option<(u64, u8)>,
    /// The shortest round-trip time of all.
    min_ns: u64,
    /// When this round began, and the last ACK of the train that began with it came.
    round_begin: Instant,
    train_end: Instant,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Slow start as usual.
    Full,
    /// A quarter of it.
    Quarter,
    /// Slow start is over.
    Exit,
}

impl HyStart {
    /// Before the first round.
    pub(super) const NEW: Self = Self {
        last_round_min_ns: NONE,
        this_round_min_ns: NONE,
        samples: 0,
        conservative: None,
        min_ns: NONE,
        round_begin: Instant::ZERO,
        train_end: Instant::ZERO,
    };

    /// An ACK that arrives now; `round` when it begins a new round, and the round-trip time that it shows.
    pub(super) fn on_ack(&mut self, round: bool, rtt_ns: Option<u64>, now: Instant) -> Growth {
        if round {
            self.round_begin = now;
            self.train_end = now;
            self.last_round_min_ns = self.this_round_min_ns;
            self.this_round_min_ns = NONE;
            self.samples = 0;
            if let Some((_, left)) = &mut self.conservative {
                *left -= 1;
                if *left == 0 {
                    return Growth::Exit;
                }
            }
        }
        if let Some(rtt_ns) = rtt_ns {
            self.min_ns = self.min_ns.min(rtt_ns);
            self.this_round_min_ns = self.this_round_min_ns.min(rtt_ns);
            self.samples = self.samples.saturating_add(1);
        }
        if self.train_is_long(now) {
            return Growth::Exit;
        }
        if self.samples >= SAMPLES {
            self.judge();
        }
        if self.conservative.is_some() { Growth::Quarter } else { Growth::Full }
    }

    /// True when ACKs have come without a gap for half of the shortest round-trip time.
    fn train_is_long(&mut self, now: Instant) -> bool {
        if self.min_ns == NONE || now.ns_since(self.train_end) > TRAIN_GAP_NS.min(self.min_ns / TRAIN_GAPS) {
            return false;
        }
        self.train_end = now;
        now.ns_since(self.round_begin) > self.min_ns / 2
    }

    fn judge(&mut self) {
        match self.conservative {
            None if self.last_round_min_ns != NONE => {
                let threshold_ns = (self.last_round_min_ns / DIVISOR).clamp(THRESHOLD_MIN_NS, THRESHOLD_MAX_NS);
                if self.this_round_min_ns >= self.last_round_min_ns + threshold_ns {
                    self.conservative = Some((self.this_round_min_ns, ROUNDS));
                }
            }
            // The rise was a mistake.
            Some((baseline_ns, _)) if self.this_round_min_ns < baseline_ns => self.conservative = None,
            _ => {}
        }
    }

    /// What a rest leaves: rounds are compared with those that follow it, and not with those before.
    pub(super) fn rest(&mut self) {
        *self = Self { conservative: self.conservative, min_ns: self.min_ns, ..Self::NEW };
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, least_ns: u64) {
        form.near(&mut self.min_ns, least_ns);
        if form.same(self, Self { min_ns: self.min_ns, ..Self::NEW }) {
            return;
        }
        let Self { last_round_min_ns, this_round_min_ns, samples, conservative, min_ns, round_begin, train_end } = self;
        form.near(this_round_min_ns, NONE);
        form.near(last_round_min_ns, NONE);
        form.near(samples, 0);
        form.optional(conservative, (0, 0), |form, (baseline_ns, left)| {
            form.near(baseline_ns, *min_ns);
            form.near(left, 0);
        });
        form.near(round_begin, Instant::ZERO);
        form.near(train_end, *round_begin);
    }
}

const NONE: u64 = u64::MAX;
/// N_RTT_SAMPLE
const SAMPLES: u8 = 8;
/// MIN_RTT_DIVISOR
const DIVISOR: u64 = 8;
/// MIN_RTT_THRESH: 4 ms. On paths of microseconds nothing is told by delay, which the noise of the machines hides.
const THRESHOLD_MIN_NS: u64 = 4_000_000;
/// MAX_RTT_THRESH: 16 ms.
const THRESHOLD_MAX_NS: u64 = 16_000_000;
/// CSS_ROUNDS
const ROUNDS: u8 = 5;
/// ACKs of a train are at most so far apart (Linux: hystart_ack_delta, 2 ms), and no further than this part of a round-trip time.
const TRAIN_GAP_NS: u64 = 2_000_000;
const TRAIN_GAPS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    const NOW: Instant = Instant::from_ns(1_000_000_000);

    /// A round of ten samples at once; the last answer.
    fn round(hystart: &mut HyStart, rtt_ns: u64) -> Growth {
        (0..10).map(|n| hystart.on_ack(n == 0, Some(rtt_ns), NOW)).last().unwrap()
    }

    #[test]
    fn a_rise_by_the_threshold_makes_growth_conservative() {
        // Round-trip time before, the rise that is still noise, the rise that counts.
        for (base, noise, rise) in [(10 * MS, 3 * MS, 4 * MS), (100 * MS, 12 * MS, 13 * MS), (400 * MS, 15 * MS, 16 * MS)] {
            let mut hystart = HyStart::NEW;
            assert_eq!(round(&mut hystart, base), Growth::Full);
            assert_eq!(round(&mut hystart.clone(), base + noise), Growth::Full);
            assert_eq!(round(&mut hystart, base + rise), Growth::Quarter);
        }
    }

    #[test]
    fn five_conservative_rounds_end_slow_start() {
        let mut hystart = HyStart::NEW;
        round(&mut hystart, 10 * MS);
        let growth: Vec<_> = (0..5).map(|_| round(&mut hystart, 20 * MS)).collect();
        assert_eq!(growth, [Growth::Quarter; 5]);
        assert_eq!(hystart.on_ack(true, Some(20 * MS), NOW), Growth::Exit);
    }

    #[test]
    fn a_fall_resumes_slow_start() {
        let mut hystart = HyStart::NEW;
        round(&mut hystart, 10 * MS);
        assert_eq!(round(&mut hystart, 20 * MS), Growth::Quarter);
        assert_eq!(round(&mut hystart, 11 * MS), Growth::Full);
        assert_eq!(round(&mut hystart, 12 * MS), Growth::Full);
    }

    #[test]
    fn too_few_samples_tell_nothing() {
        let mut hystart = HyStart::NEW;
        round(&mut hystart, 10 * MS);
        for _ in 0..20 {
            (0..7).for_each(|n| assert_eq!(hystart.on_ack(n == 0, Some(90 * MS), NOW), Growth::Full));
        }
        assert_eq!(HyStart::NEW.clone().on_ack(true, None, NOW), Growth::Full);
    }

    #[test]
    fn a_train_of_half_a_round_trip_ends_slow_start() {
        // ACKs 0.2 ms apart, and 3 ms apart, with a round-trip time of 10 ms.
        for (gap_ns, answer) in [(200_000, Some(26)), (3 * MS, None)] {
            let mut hystart = HyStart::NEW;
            let at = |n: u64| NOW + std::time::Duration::from_nanos(n * gap_ns);
            let exit = (0..40).find(|&n| hystart.on_ack(n == 0, Some(10 * MS), at(n)) == Growth::Exit);
            assert_eq!(exit, answer);
        }
    }
}
