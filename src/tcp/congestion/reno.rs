//! Reno: slow start and congestion avoidance (RFC 5681), ten segments at the start (RFC 6928), window validation (RFC 7661).
//!
//! Called through [`super::Congestion`]; nothing panics, nothing allocates.

use super::validation::Validation;
use super::{Acked, Congestion, Known, Pace, Signal, WINDOW_MAX, initial_window, pipe_before, reduced_unused, regained};
use crate::tcp::folded::Form;
use crate::tcp::tally::{Happening, Noted};
use crate::time::Instant;

/// The state of the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reno {
    cwnd: u32,
    ssthresh: u32,
    /// Bytes acknowledged since cwnd last grew in congestion avoidance.
    counted: u32,
    smss: u32,
    validation: Validation,
    /// The pace of an unvalidated window.
    pace: Option<Pace>,
    /// What the last reduction took, to be restored if that was a mistake.
    before: Option<Before>,
    noted: Noted,
}

/// Before a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// After a loss: cwnd and ssthresh.
    Loss(u32, u32),
    /// After a timeout: "pipe_prev" (RFC 4015).
    Timeout(u32),
}

impl Reno {
    /// Before the segment size is known.
    pub const fn new() -> Self {
        Self {
            cwnd: 536,
            //= rfc5681#3.1
            //# The initial value of ssthresh SHOULD be set arbitrarily high
            ssthresh: u32::MAX,
            counted: 0,
            smss: 536,
            validation: Validation::NEW,
            pace: None,
            before: None,
            noted: Noted::NONE,
        }
    }

    //= rfc9293#3.8.2
    //# A TCP endpoint MUST implement the basic congestion control algorithms slow start, congestion avoidance, and exponential
    //# backoff of RTO to avoid creating congestion collapse conditions (MUST-19).
    fn grow(&mut self, acked: &Acked) {
        if self.cwnd < self.ssthresh {
            //= rfc5681#3.1
            //# cwnd += min (N, SMSS)                      (2)
            self.cwnd = (self.cwnd + acked.bytes.min(self.smss)).min(WINDOW_MAX);
            return;
        }
        //= rfc5681#3.1
        //# When the number of bytes acknowledged reaches cwnd, then cwnd can be incremented by up to SMSS bytes.
        self.counted = self.counted.saturating_add(acked.bytes);
        if self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd = (self.cwnd + self.smss).min(WINDOW_MAX);
        }
    }

    /// ssthresh after a congestion event.
    fn reduce(&mut self, in_flight: u32, (numerator, denominator): (u32, u32)) {
        let used = self.validation.on_congestion(self.cwnd, in_flight).unwrap_or(in_flight);
        //= rfc5681#3.1
        //# ssthresh = max (FlightSize / 2, 2*SMSS)            (4)
        self.ssthresh = (used / denominator * numerator).max(2 * self.smss);
        self.counted = 0;
    }

    /// The window is not validated, or may not be any more: it shrinks when that has lasted too long, and is paced.
    fn settle_unused(&mut self, now: Instant) {
        let initial = initial_window(self.smss);
        let overdue = self.validation.overdue(self.cwnd, now);
        if overdue > 0 {
            self.noted.note(Happening::WindowReducedUnused);
            (self.cwnd, self.ssthresh) = reduced_unused(self.cwnd, self.ssthresh, overdue, initial);
        }
        self.pace = self.validation.pace(self.cwnd, initial);
    }

    /// What a rest leaves, before whose end [`Congestion::on_idle`] is called.
    pub(super) fn rest(&mut self, heard: Instant, now: Instant) {
        self.counted = 0;
        self.validation.rest(heard, now);
        self.pace = None;
        self.before = None;
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, known: &Known) {
        let Self { cwnd, ssthresh, counted, smss, validation, pace, before, noted } = self;
        form.near(smss, known.mss);
        form.near(cwnd, initial_window(*smss));
        form.near(ssthresh, u32::MAX);
        form.near(counted, 0);
        validation.pass(form, known.srtt_ns, known.heard);
        form.optional(pace, Pace::BLANK, |form, pace| pace.pass(form));
        form.optional(before, Before::Timeout(0), |form, before| before.pass(form));
        noted.pass(form);
    }
}

impl Before {
    /// One pass over its fields ([`crate::tcp::folded`]).
    fn pass(&mut self, form: &mut impl Form) {
        let (mut loss, mut pipe) = match *self {
            Self::Loss(cwnd, ssthresh) => (Some((cwnd, ssthresh)), 0),
            Self::Timeout(pipe) => (None, pipe),
        };
        form.optional(&mut loss, (0, 0), |form, (cwnd, ssthresh)| {
            form.near(cwnd, 0);
            form.near(ssthresh, 0);
        });
        form.near(&mut pipe, 0);
        *self = loss.map_or(Self::Timeout(pipe), |(cwnd, ssthresh)| Self::Loss(cwnd, ssthresh));
    }
}

impl Congestion for Reno {
    fn window(&self) -> u32 {
        self.cwnd
    }

    fn threshold(&self) -> u32 {
        self.ssthresh
    }

    fn pace(&self) -> Option<Pace> {
        self.pace
    }

    fn set_mss(&mut self, mss: u32) {
        self.smss = mss.max(1);
        // Later a smaller segment size leaves the bytes of the window as they are.
        if !self.validation.begun() {
            self.cwnd = initial_window(self.smss);
        }
    }

    fn on_lost_syn(&mut self) {
        self.cwnd = self.smss;
    }

    fn on_ack(&mut self, acked: &Acked) {
        let validated = self.validation.is_validated(self.cwnd);
        let may_grow = self.validation.on_ack(acked, self.cwnd, self.smss);
        if acked.recovering {
            return;
        }
        if may_grow {
            self.grow(acked);
        }
        if self.validation.is_validated(self.cwnd) {
            self.pace = None;
            return;
        }
        if validated {
            self.noted.note(Happening::WindowNotValidated);
        }
        self.settle_unused(acked.now);
    }

    fn on_congestion(&mut self, why: Signal, in_flight: u32, now: Instant) {
        self.before = (why == Signal::Loss).then_some(Before::Loss(self.cwnd, self.ssthresh));
        self.pace = None;
        if why == Signal::Loss {
            self.reduce(in_flight, BETA);
            self.cwnd = self.ssthresh;
            return;
        }
        //= rfc8511#3.1
        //# ssthresh = max (FlightSize * beta_{ecn}, 2 * SMSS)
        self.reduce(in_flight, BETA_MARK);
        self.cwnd = self.ssthresh.min(self.cwnd);
        // No recovery follows, whose end would do this.
        self.validation.forget(now);
    }

    fn on_recovered(&mut self, burst: u32) {
        if let Some(used) = self.validation.on_recovered() {
            self.ssthresh = (used / 2).max(2 * self.smss);
        }
        //= rfc6582#3.2
        //# Set cwnd to either (1) min (ssthresh, max(FlightSize, SMSS) + SMSS) or (2) ssthresh
        self.cwnd = self.ssthresh.min(burst.max(self.smss).saturating_add(self.smss)).min(WINDOW_MAX);
    }

    fn on_timeout(&mut self, in_flight: u32, first: bool, now: Instant) {
        //= rfc5681#3.1
        //# On the other hand, when a TCP sender detects segment loss using the retransmission timer and the given segment has
        //# already been retransmitted by way of the retransmission timer at least once, the value of ssthresh is held constant.
        if first {
            self.before = Some(Before::Timeout(pipe_before(in_flight, self.ssthresh)));
            self.reduce(in_flight, BETA);
        }
        //= rfc5681#3.1
        //# Furthermore, upon a timeout (as specified in [RFC2988]) cwnd MUST be set to no more than the loss window, LW, which
        //# equals 1 full-sized segment (regardless of the value of IW).
        self.cwnd = self.smss;
        self.counted = 0;
        //= rfc7661#4.4
        //# If the Retransmission Timeout (RTO) expires while in the non-validated phase, the sender MUST exit the non-validated phase.
        self.validation.forget(now);
        self.pace = None;
    }

    fn on_spurious(&mut self, in_flight: u32, acked: u32, now: Instant) {
        match self.before.take() {
            None => return,
            Some(Before::Loss(cwnd, ssthresh)) => {
                self.cwnd = self.cwnd.max(cwnd);
                self.ssthresh = self.ssthresh.max(ssthresh);
            }
            Some(Before::Timeout(pipe)) => {
                self.cwnd = regained(self.cwnd, in_flight, acked, self.smss);
                //= rfc4015#3.1
                //# ssthresh <- pipe_prev
                self.ssthresh = pipe;
            }
        }
        self.validation.forget(now);
    }

    fn on_idle(&mut self, now: Instant) {
        self.settle_unused(now);
    }

    fn take_noted(&mut self) -> Noted {
        std::mem::replace(&mut self.noted, Noted::NONE)
    }
}

impl Default for Reno {
    fn default() -> Self {
        Self::new()
    }
}

const BETA: (u32, u32) = (1, 2);
//= rfc8511#3.1
//# beta_{ecn}=0.8.
const BETA_MARK: (u32, u32) = (4, 5);

#[cfg(test)]
mod tests {
    use super::super::tests::acked;
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn reno(mss: u32) -> Reno {
        let mut reno = Reno::new();
        reno.set_mss(mss);
        reno
    }

    fn ack(reno: &mut Reno, bytes: u32) {
        reno.on_ack(&acked(bytes, reno.window()));
    }

    //= type=test
    //= rfc9293#3.8.2
    //# A TCP endpoint MUST implement the basic congestion control algorithms slow start, congestion avoidance, and exponential
    //# backoff of RTO to avoid creating congestion collapse conditions (MUST-19).
    #[test]
    fn slow_start_counts_bytes_and_at_most_a_segment_per_ack() {
        let mut reno = reno(1000);
        ack(&mut reno, 100);
        assert_eq!(reno.window(), 10_100);
        ack(&mut reno, 5000);
        assert_eq!(reno.window(), 11_100);
    }

    #[test]
    fn avoidance_adds_a_segment_per_window() {
        let mut reno = reno(1000);
        reno.on_congestion(Signal::Loss, 20_000, NOW);
        assert_eq!((reno.window(), reno.threshold()), (10_000, 10_000));
        for _ in 0..9 {
            ack(&mut reno, 1000);
        }
        assert_eq!(reno.window(), 10_000);
        ack(&mut reno, 1000);
        assert_eq!(reno.window(), 11_000);
    }

    #[test]
    fn a_timeout_leaves_one_segment_and_halves_once() {
        let mut reno = reno(1000);
        reno.on_timeout(10_000, true, NOW);
        assert_eq!((reno.window(), reno.threshold()), (1000, 5000));
        reno.on_timeout(1000, false, NOW);
        assert_eq!((reno.window(), reno.threshold()), (1000, 5000));
    }

    #[test]
    fn a_mistaken_reduction_is_taken_back_once() {
        let mut reno = reno(1000);
        reno.on_congestion(Signal::Loss, 8_000, NOW);
        reno.on_spurious(7_000, 1_000, NOW);
        assert_eq!((reno.window(), reno.threshold()), (10_000, u32::MAX));
        reno.on_spurious(20_000, 1_000, NOW);
        assert_eq!((reno.window(), reno.threshold()), (10_000, u32::MAX));
    }

    //= type=test
    //= rfc4015#3.1
    //# cwnd <- FlightSize + min (bytes_acked, IW)
    //# ssthresh <- pipe_prev
    #[test]
    fn a_mistaken_timeout_gives_back_what_has_left_the_network() {
        // The threshold before, bytes in flight at the timeout and when the mistake shows, bytes acknowledged; the window, the threshold.
        for (ssthresh, flight, in_flight, acked, window, threshold) in [
            (u32::MAX, 40_000, 38_000, 2_000, 40_000, u32::MAX),
            (20_000, 40_000, 38_000, 2_000, 40_000, 40_000),
            (50_000, 40_000, 5_000, 35_000, 15_000, 50_000),
            (20_000, 40_000, 0, 0, 1_000, 40_000),
        ] {
            let mut reno = reno(1000);
            (reno.cwnd, reno.ssthresh) = (40_000, ssthresh);
            reno.on_timeout(flight, true, NOW);
            reno.on_spurious(in_flight, acked, NOW);
            assert_eq!((reno.window(), reno.threshold()), (window, threshold), "{ssthresh} {in_flight}");
        }
    }

    #[test]
    fn a_smaller_segment_size_leaves_the_window() {
        let mut reno = reno(1000);
        reno.on_ack(&Acked { now: Instant::from_ns(1), ..acked(5_000, 10_000) });
        reno.set_mss(500);
        assert_eq!(reno.window(), 11_000);
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut reno = reno(1000);
        reno.on_ack(&acked(1000, 4_999));
        assert_eq!(reno.window(), 10_000);
    }

    //= type=test
    //= rfc7661#4.4.1
    //# cwnd = (Max(pipeACK,LossFlightSize) - R)/2.
    #[test]
    fn a_loss_in_an_unvalidated_window_counts_what_was_used() {
        let mut reno = reno(1000);
        (0..50).for_each(|_| ack(&mut reno, 1000));
        let second = |n: u64| Instant::from_ns(n * 1_000_000_000);
        for n in 0..9 {
            reno.on_ack(&Acked { now: second(n), srtt_ns: Some(10_000_000), ..acked(20_000, 20_000) });
        }
        assert_eq!(reno.window(), 63_000, "what filled the window still counted");
        assert!(reno.take_noted().contains(Happening::WindowNotValidated));
        reno.on_congestion(Signal::Loss, 12_000, second(9));
        assert_eq!(reno.window(), 10_000);
        reno.on_ack(&Acked { recovering: true, lost: 4_000, ..acked(12_000, 12_000) });
        reno.on_recovered(50_000);
        assert_eq!((reno.window(), reno.threshold()), (8_000, 8_000));
    }

    //= type=test
    //= rfc7661#4.4
    //# A TCP sender that enters the non-validated phase preserves the cwnd
    #[test]
    fn idleness_keeps_the_window_for_five_minutes() {
        let mut reno = reno(1000);
        (0..50).for_each(|_| ack(&mut reno, 1000));
        let begin = Instant::from_ns(1_000_000_000);
        for n in 0..3 {
            let now = begin + std::time::Duration::from_millis(10 * n);
            reno.on_ack(&Acked { now, srtt_ns: Some(10_000_000), ..acked(1_000, 20_000) });
        }
        reno.on_idle(begin + std::time::Duration::from_secs(299));
        assert_eq!(reno.window(), 63_000);
        let pace = reno.pace().unwrap();
        assert_eq!(pace.bytes_per_second(), 6_300_000);
        reno.on_idle(begin + std::time::Duration::from_secs(301));
        assert_eq!((reno.window(), reno.threshold()), (31_500, u32::MAX));
    }

    //= type=test
    //= rfc8511#3.1
    //# ssthresh = max (FlightSize * beta_{ecn}, 2 * SMSS)
    #[test]
    fn a_mark_takes_a_fifth() {
        let mut reno = reno(1000);
        reno.on_congestion(Signal::Mark, 10_000, NOW);
        assert_eq!((reno.window(), reno.threshold()), (8_000, 8_000));
        reno.on_spurious(9_000, 1_000, NOW);
        assert_eq!(reno.window(), 8_000, "a mark is never a mistake");
    }
}
