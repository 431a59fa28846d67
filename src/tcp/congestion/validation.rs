//! Congestion-window validation: how much of the window has really been used (RFC 7661).
//!
//! A window that was never filled says nothing about the path. What was acknowledged in a round-trip time (pipeACK) tells whether the
//! window is validated; while it is not, it keeps its size, grows only when it is full, is not burst out at once, shrinks after five minutes,
//! and a loss counts against what was used. Part of Reno and CUBIC; takes the place of the restart after idleness (RFC 5681 4.1) and of RFC 2861. Told
//! of each ACK; keeps no timer; nothing panics.

use std::time::Duration;

use super::{Acked, Pace};
use crate::tcp::folded::Form;
use crate::time::Instant;

/// What was used of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validation {
    /// The largest samples of pipeACK, by quarters of the sampling period.
    quarters: [u32; QUARTERS],
    /// The present quarter, and when it began.
    at: u8,
    quarter_begin: Instant,
    /// Bytes acknowledged since the present sample began.
    counted: u32,
    sample_begin: Instant,
    /// pipeACK has a value.
    defined: bool,
    /// Acknowledgments of this many bytes more are for data that filled the window.
    filled: u32,
    /// Bytes found lost in the present recovery.
    lost: u32,
    /// What had been used when the last loss was found: max(pipeACK, LossFlightSize); 0 in the validated phase.
    used_at_loss: u32,
    /// When the window was last known to be validated.
    validated_at: Instant,
    srtt_ns: u64,
    /// The last ACK.
    heard: Instant,
}

impl Validation {
    /// At the start.
    //= rfc7661#4.1
    //# A sender starts a TCP connection in the validated phase and initialises the pipeACK variable to the "undefined" value.
    pub(super) const NEW: Self = Self {
        quarters: [0; QUARTERS],
        at: 0,
        quarter_begin: Instant::ZERO,
        counted: 0,
        sample_begin: Instant::ZERO,
        defined: false,
        filled: 0,
        lost: 0,
        used_at_loss: 0,
        validated_at: Instant::ZERO,
        srtt_ns: 0,
        heard: Instant::ZERO,
    };

    /// Takes an ACK in; true when a window of `cwnd` bytes may grow by it.
    pub(super) fn on_ack(&mut self, acked: &Acked, cwnd: u32, smss: u32) -> bool {
        self.heard = acked.now;
        if acked.recovering {
            self.lost = self.lost.saturating_add(acked.lost);
            //= rfc7661#4.2
            //# The pipeACK variable MUST NOT be updated during TCP Fast Recovery.
            return false;
        }
        self.measure(acked);
        if acked.in_flight.saturating_add(smss) > cwnd {
            self.filled = acked.in_flight;
        }
        let filled = self.filled > 0;
        self.filled = self.filled.saturating_sub(acked.delivered);
        if self.is_validated(cwnd) {
            self.validated_at = acked.now;
            // Before the first sample the RFC lets the window grow whatever is used of it; a small request is no reason to.
            return self.defined || filled || acked.in_flight >= cwnd / 2;
        }
        //= rfc7661#4.4
        //# A sender that is not cwnd-limited MUST NOT increase the cwnd when ACK packets are received in this phase
        filled
    }

    /// True once something was acknowledged.
    pub(super) fn begun(&self) -> bool {
        self.heard != Instant::ZERO
    }

    /// True in the validated phase.
    pub(super) fn is_validated(&self, cwnd: u32) -> bool {
        //= rfc7661#4.3
        //# Validated phase: pipeACK >=(1/2)*cwnd, or pipeACK is undefined (i.e., at the start or directly after loss recovery).
        !self.defined || self.pipe_ack() >= cwnd / 2
    }

    /// The pace while the window is not validated; a burst of `initial` bytes, which is safe on a path of which nothing is known, may leave
    /// at once.
    pub(super) fn pace(&self, cwnd: u32, initial: u32) -> Option<Pace> {
        //= rfc7661#4.4.2
        //# A TCP sender in the non-validated phase SHOULD control the maximum burst size, e.g., using a rate-based pacing algorithm
        //# in which a sender paces out the cwnd over its estimate of the RTT
        if self.srtt_ns == 0 || cwnd <= initial || self.is_validated(cwnd) {
            return None;
        }
        Some(Pace::new(u64::from(cwnd) * 1_000_000_000 / self.srtt_ns, initial))
    }

    /// A loss or a mark: what had been used, when the window of `cwnd` bytes is not validated.
    pub(super) fn on_congestion(&mut self, cwnd: u32, in_flight: u32) -> Option<u32> {
        //= rfc7661#4.4.1
        //# A sender that detects a packet drop MUST record the current FlightSize in the variable LossFlightSize and MUST calculate a safe
        //# cwnd for loss recovery using the method below:
        //# cwnd = (Max(pipeACK,LossFlightSize))/2.
        let used = (!self.is_validated(cwnd)).then(|| self.pipe_ack().max(in_flight));
        self.used_at_loss = used.unwrap_or(0);
        used
    }

    /// Recovery is over: what may count as used, when the loss was found in the non-validated phase.
    pub(super) fn on_recovered(&mut self) -> Option<u32> {
        //= rfc7661#4.4.1
        //# cwnd = (Max(pipeACK,LossFlightSize) - R)/2.
        let used = (self.used_at_loss > 0).then(|| self.used_at_loss.saturating_sub(self.lost));
        self.forget(self.heard);
        used
    }

    /// pipeACK has no value any more: after recovery, a timeout, a mark.
    pub(super) fn forget(&mut self, now: Instant) {
        //= rfc7661#4.4.1
        //# After completing the loss recovery phase, the sender MUST re-initialise the pipeACK variable to the "undefined" value.
        let now = now.max(self.sample_begin);
        *self = Self {
            srtt_ns: self.srtt_ns,
            heard: self.heard,
            sample_begin: now,
            quarter_begin: now,
            validated_at: now,
            ..Self::NEW
        };
    }

    /// How often the window has to shrink now, because it was not validated for so long.
    pub(super) fn overdue(&mut self, cwnd: u32, now: Instant) -> u32 {
        self.turn(now);
        if self.is_validated(cwnd) {
            self.validated_at = now;
            return 0;
        }
        self.overdue_unvalidated(now)
    }

    /// The same for a window that is not validated, right after [`Validation::on_ack`].
    pub(super) fn overdue_unvalidated(&mut self, now: Instant) -> u32 {
        //= rfc7661#4.4
        //# The NVP SHOULD NOT exceed five minutes.
        let periods = now.ns_since(self.validated_at) / PERIOD_NS;
        if periods > 0 {
            self.validated_at = now;
        }
        u32::try_from(periods).unwrap_or(u32::MAX)
    }

    /// The largest sample of the sampling period, the unfinished one included.
    fn pipe_ack(&self) -> u32 {
        //= rfc7661#4.2
        //# The value of the pipeACK variable MUST NOT exceed the maximum (highest value) within the pipeACK Sampling Period.
        self.quarters.iter().fold(self.counted, |most, &sample| most.max(sample))
    }

    fn measure(&mut self, acked: &Acked) {
        self.turn(acked.now);
        if let Some(srtt_ns) = acked.srtt_ns {
            self.srtt_ns = srtt_ns;
        }
        //= rfc7661#4.2
        //# A sender determines a pipeACK sample by measuring the volume of data that was acknowledged by the network over the period of
        //# a measured Round-Trip Time (RTT).
        if self.srtt_ns > 0 && acked.now.ns_since(self.sample_begin) >= self.srtt_ns {
            // The first sample begins with the first ACK.
            self.defined |= self.counted > 0;
            let quarter = &mut self.quarters[usize::from(self.at)];
            *quarter = (*quarter).max(self.counted);
            self.counted = 0;
            self.sample_begin = acked.now;
        }
        self.counted = self.counted.saturating_add(acked.delivered);
    }

    const fn quarter_ns(&self) -> u64 {
        //= rfc7661#4.2
        //# This specification defines the pipeACK Sampling Period as Max(3*RTT, 1 second).
        let period_ns = self.srtt_ns.saturating_mul(3);
        (if period_ns > SAMPLING_MIN_NS { period_ns } else { SAMPLING_MIN_NS }) / QUARTERS as u64
    }

    /// Lets old samples go.
    fn turn(&mut self, now: Instant) {
        let past_ns = now.ns_since(self.quarter_begin);
        if past_ns < SAMPLING_MIN_NS / QUARTERS as u64 {
            return;
        }
        let quarter_ns = self.quarter_ns();
        let passed = past_ns / quarter_ns;
        if passed == 0 {
            return;
        }
        if now.ns_since(self.sample_begin) > quarter_ns * QUARTERS as u64 {
            // Nothing was acknowledged for the whole period.
            self.defined |= self.counted > 0;
            self.counted = 0;
        }
        for _ in 0..passed.min(QUARTERS as u64) {
            self.at = (self.at + 1) % QUARTERS as u8;
            self.quarters[usize::from(self.at)] = 0;
        }
        let aligned = self.quarter_begin + Duration::from_nanos(passed.saturating_mul(quarter_ns));
        self.quarter_begin = if passed < QUARTERS as u64 { aligned } else { now };
    }

    /// What a rest leaves: of the samples the largest, which counts as long as it would have; when it was taken, when the unfinished one began and
    /// when the window was last validated on a coarse grid, none later than it was.
    pub(super) fn rest(&mut self, heard: Instant, now: Instant) {
        if !self.begun() {
            return;
        }
        self.turn(now);
        let (age, most) = self.newest_largest();
        let quarter_begin = self.quarter_begin - Duration::from_nanos(self.quarter_ns().saturating_mul(age));
        *self = Self {
            quarters: [most, 0, 0, 0],
            quarter_begin: floor(if most > 0 { quarter_begin } else { heard }, SAMPLE_BITS),
            counted: self.counted,
            sample_begin: floor(if self.counted > 0 { self.sample_begin } else { heard }, SAMPLE_BITS),
            defined: self.defined,
            validated_at: floor(self.validated_at, VALIDATED_BITS),
            srtt_ns: self.srtt_ns,
            heard,
            ..Self::NEW
        };
    }

    /// The largest of the finished samples, and how many quarters ago it was last reached.
    fn newest_largest(&self) -> (u64, u32) {
        let ago = |age: usize| self.quarters[(usize::from(self.at) + QUARTERS - age) % QUARTERS];
        (0..QUARTERS).fold((0, 0), |(then, most), age| if ago(age) > most { (age as u64, ago(age)) } else { (then, most) })
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, rtt_ns: u64, last_ack: Instant) {
        if form.same(self, Self::NEW) {
            return;
        }
        form.near(&mut self.quarters[0], 0);
        form.near(&mut self.counted, 0);
        form.flag(&mut self.defined);
        form.coarse(&mut self.quarter_begin, last_ack, SAMPLE_BITS);
        form.coarse(&mut self.sample_begin, last_ack, SAMPLE_BITS);
        form.coarse(&mut self.validated_at, last_ack, VALIDATED_BITS);
        let rested = Self {
            quarters: [self.quarters[0], 0, 0, 0],
            counted: self.counted,
            defined: self.defined,
            validated_at: self.validated_at,
            quarter_begin: self.quarter_begin,
            sample_begin: self.sample_begin,
            srtt_ns: rtt_ns,
            heard: last_ack,
            ..Self::NEW
        };
        if form.same(self, rested) {
            return;
        }
        let Self {
            quarters: [_, quarters @ ..],
            at,
            quarter_begin: _,
            counted: _,
            sample_begin: _,
            defined: _,
            filled,
            lost,
            used_at_loss,
            validated_at: _,
            srtt_ns,
            heard,
        } = self;
        form.near(heard, last_ack);
        form.near(srtt_ns, rtt_ns);
        form.near(at, 0);
        for count in quarters.iter_mut().chain([filled, lost, used_at_loss]) {
            form.near(count, 0);
        }
    }
}

/// The last multiple of `2^bits` nanoseconds that is not after it.
const fn floor(at: Instant, bits: u32) -> Instant {
    Instant::from_ns(at.as_ns() >> bits << bits)
}

const QUARTERS: usize = 4;
const SAMPLING_MIN_NS: u64 = 1_000_000_000;
/// Of a rest: when samples were taken is kept to 67 ms.
const SAMPLE_BITS: u32 = 26;
/// And when the window was last validated to 1.07 s.
const VALIDATED_BITS: u32 = 30;
/// The NVP.
const PERIOD_NS: u64 = 300_000_000_000;

#[cfg(test)]
mod tests {
    use super::super::tests::acked;
    use super::*;

    const SMSS: u32 = 1000;
    const CWND: u32 = 20_000;
    const RTT: Duration = Duration::from_millis(10);

    fn at_ms(ms: u64) -> Instant {
        Instant::from_ns(1_000_000_000_000) + Duration::from_millis(ms)
    }

    fn ack(bytes: u32, in_flight: u32, ms: u64) -> Acked {
        Acked { now: at_ms(ms), srtt_ns: Some(RTT.as_nanos() as u64), ..acked(bytes, in_flight) }
    }

    /// A connection that has had `bytes` acknowledged in each of ten round trips.
    fn used(bytes: u32) -> Validation {
        let mut validation = Validation::NEW;
        (0..10).for_each(|trip| _ = validation.on_ack(&ack(bytes, bytes, 10 * trip), CWND, SMSS));
        validation
    }

    //= type=test
    //= rfc7661#4.3
    //# Non-validated phase: pipeACK <(1/2)*cwnd.
    #[test]
    fn half_the_window_validates_it() {
        assert!(Validation::NEW.is_validated(CWND));
        assert!(used(10_000).is_validated(CWND));
        assert!(!used(9_999).is_validated(CWND));
    }

    //= type=test
    //= rfc7661#4.4
    //# A sender that is not cwnd-limited MUST NOT increase the cwnd when ACK packets are received in this phase
    #[test]
    fn outside_the_validated_phase_only_a_full_window_grows() {
        let mut validation = used(5_000);
        assert!(!validation.on_ack(&ack(1000, 19_000, 100), CWND, SMSS));
        // All that filled the window counts, although less and less is in flight.
        let grows: Vec<_> = (0..20).map(|n| validation.on_ack(&ack(1000, 19_500 - 1000 * n, 100), CWND, SMSS)).collect();
        assert!(grows.iter().all(|&grows| grows), "{grows:?}");
    }

    //= type=test
    //= rfc7661#4.2
    //# This specification defines the pipeACK Sampling Period as Max(3*RTT, 1 second).
    #[test]
    fn a_sample_counts_for_a_second() {
        let mut validation = used(15_000);
        (10..100).for_each(|trip| _ = validation.on_ack(&ack(2_000, 2_000, 10 * trip), CWND, SMSS));
        assert!(validation.is_validated(CWND), "within the second");
        (100..150).for_each(|trip| _ = validation.on_ack(&ack(2_000, 2_000, 10 * trip), CWND, SMSS));
        assert!(!validation.is_validated(CWND), "a second and a quarter later");
    }

    //= type=test
    //= rfc7661#4.2
    //# The pipeACK variable MUST NOT be updated during TCP Fast Recovery.
    #[test]
    fn recovery_validates_nothing_and_ends_undefined() {
        let mut validation = used(5_000);
        assert_eq!(validation.on_congestion(CWND, 6_000), Some(6_000));
        let recovering = Acked { recovering: true, lost: 1500, ..ack(20_000, 20_000, 110) };
        assert!(!validation.on_ack(&recovering, CWND, SMSS));
        assert!(!validation.is_validated(CWND));
        assert_eq!(validation.on_recovered(), Some(4_500));
        assert!(validation.is_validated(CWND));
    }

    //= type=test
    //= rfc7661#4.4.1
    //# cwnd = (Max(pipeACK,LossFlightSize) - R)/2.
    #[test]
    fn what_a_timeout_found_lost_is_no_part_of_a_later_recovery() {
        let mut validation = used(5_000);
        validation.on_ack(&Acked { lost: 3_000, ..ack(1_000, 5_000, 100) }, CWND, SMSS);
        assert_eq!(validation.on_congestion(CWND, 6_000), Some(6_000));
        validation.on_ack(&Acked { recovering: true, lost: 1_500, ..ack(1_000, 6_000, 110) }, CWND, SMSS);
        assert_eq!(validation.on_recovered(), Some(4_500));
    }

    #[test]
    fn a_loss_in_the_validated_phase_is_counted_as_ever() {
        let mut validation = used(12_000);
        assert_eq!(validation.on_congestion(CWND, 20_000), None);
        assert_eq!(validation.on_recovered(), None);
    }

    //= type=test
    //= rfc7661#4.4
    //# The NVP SHOULD NOT exceed five minutes.
    #[test]
    fn every_five_minutes_without_validation_call_for_a_reduction() {
        let mut validation = used(15_000);
        assert_eq!(validation.overdue(CWND, at_ms(299_000)), 0);
        assert_eq!(validation.overdue(CWND, at_ms(301_000)), 1);
        assert_eq!(validation.overdue(CWND, at_ms(302_000)), 0);
        assert_eq!(validation.overdue(CWND, at_ms(302_000 + 900_000)), 3);
    }

    //= type=test
    //= rfc7661#4.4.2
    //# A TCP sender in the non-validated phase SHOULD control the maximum burst size
    #[test]
    fn an_unvalidated_window_is_paced_over_a_round_trip() {
        let pace = used(5_000).pace(CWND, 10_000).unwrap();
        assert_eq!(pace.bytes_per_second(), 2_000_000);
        assert_eq!(used(15_000).pace(CWND, 10_000), None);
        assert_eq!(used(1_000).pace(10_000, 10_000), None, "an initial window may leave at once");
    }
}
