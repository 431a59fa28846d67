//! CUBIC (RFC 8312, with what RFC 9438 changed), with HyStart++ (RFC 9406) and window validation (RFC 7661).
//!
//! What RFC 9438 changed and is followed here: K is reckoned from the window at which congestion avoidance really begins; the estimate of
//! Reno's window (W_est) grows by bytes acknowledged, with alpha until it reaches the window before the reduction and by a segment per round
//! trip from there on; the target is at most half a window away; a spurious reduction is taken back with the whole curve; time without use of
//! the window does not count; after a timeout and after slow start without a loss the curve begins at its plateau. All in integers: bytes,
//! nanoseconds. Called through [`super::Congestion`]; nothing panics, and nothing allocates but what remembers the window
//! before a loss.

use std::time::Duration;

use super::curve::Curve;
use super::hystart::{Growth, HyStart};
use super::round::Rounds;
use super::validation::Validation;
use super::{Acked, Congestion, Known, Pace, Signal, WINDOW_MAX, initial_window, pipe_before, reduced_unused, regained};
use crate::tcp::folded::Form;
use crate::tcp::tally::{Happening, Noted};
use crate::time::Instant;

/// The state of the algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cubic {
    window: Window,
    smss: u32,
    rounds: Rounds,
    hystart: HyStart,
    validation: Validation,
    /// The pace of an unvalidated window.
    pace: Option<Pace>,
    /// The last ACK in congestion avoidance.
    last_ack: Instant,
    /// The window before the last reduction, to be restored if that was a mistake, and after a timeout "pipe_prev" (RFC 4015). Apart, as most connections
    /// have never had one, and none asks for it but when there was one.
    before: Option<Box<(Window, Option<u32>)>>,
    noted: Noted,
}

/// What a reduction changes, and a spurious one gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    cwnd: u32,
    ssthresh: u32,
    /// W_max
    w_max: u32,
    /// cwnd_prior: the window before the last reduction.
    cwnd_prior: u32,
    /// The present stage of congestion avoidance.
    epoch: Option<Epoch>,
    /// What of the next byte of growth is there already: in units of cwnd.
    credit: u64,
    /// The last reduction was a timeout's.
    timed_out: bool,
}

/// A stage of congestion avoidance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    begin: Instant,
    curve: Curve,
    /// W_est: what Reno's window would be.
    w_est: u32,
    /// What of its next byte is there already: in units of cwnd.
    credit: u64,
}

impl Cubic {
    /// Before the segment size is known.
    pub const fn new() -> Self {
        Self {
            window: Window { cwnd: 536, ssthresh: u32::MAX, w_max: 0, cwnd_prior: 0, epoch: None, credit: 0, timed_out: false },
            smss: 536,
            rounds: Rounds::NEW,
            hystart: HyStart::NEW,
            validation: Validation::NEW,
            pace: None,
            last_ack: Instant::ZERO,
            before: None,
            noted: Noted::NONE,
        }
    }

    fn slow_start(&mut self, acked: &Acked, round: bool) {
        let window = &mut self.window;
        //= rfc8312#4.8
        //# CUBIC MUST employ a slow-start algorithm, when the cwnd is no more than ssthresh.
        // Eight segments an ACK at most (L of RFC 9406 4.2), after a timeout one (RFC 3465 2.3).
        let most = if window.timed_out { self.smss } else { 8 * self.smss };
        let mut growth = acked.bytes.min(most);
        if window.ssthresh == u32::MAX {
            match self.hystart.on_ack(round, acked.rtt_ns, acked.now) {
                Growth::Full => {}
                Growth::Quarter => growth /= 4,
                Growth::Exit => {
                    window.ssthresh = window.cwnd;
                    self.noted.note(Happening::SlowStartExit);
                    return;
                }
            }
        }
        window.cwnd = window.cwnd.saturating_add(growth).min(window.ssthresh.max(window.cwnd)).min(WINDOW_MAX);
    }

    fn avoid_congestion(&mut self, acked: &Acked) {
        let smss = self.smss;
        let window = &mut self.window;
        let cwnd = window.cwnd;
        let epoch = window.epoch.get_or_insert_with(|| Epoch {
            begin: acked.now,
            // After a timeout, and after a slow start that met no loss, the window is taken for the plateau (RFC 9438 4.8, 4.10).
            curve: Curve::new(cwnd, if window.timed_out { cwnd } else { window.w_max }, smss),
            w_est: cwnd,
            credit: 0,
        });
        window.timed_out = false;
        let t_ns = acked.now.ns_since(epoch.begin);
        //= rfc8312#4.2
        //# alpha_aimd=3*(1-beta_aimd)/(1+beta_aimd) achieves the same average window size as Standard TCP that uses AIMD(1, 0.5).
        let (numerator, denominator) = if epoch.w_est < window.cwnd_prior { ALPHA } else { (1, 1) };
        epoch.credit += u64::from(acked.bytes) * u64::from(smss) * numerator / denominator;
        let steps = epoch.credit / u64::from(cwnd.max(1));
        epoch.credit -= steps * u64::from(cwnd);
        epoch.w_est = epoch.w_est.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX)).min(WINDOW_MAX);
        //= rfc8312#4.2
        //# CUBIC checks whether W_cubic(t) is less than W_est(t).  If so, CUBIC is in the TCP-friendly region and cwnd SHOULD
        //# be set to W_est(t) at each reception of an ACK.
        if epoch.curve.window(t_ns) < epoch.w_est {
            window.cwnd = cwnd.max(epoch.w_est);
            return;
        }
        //= rfc8312#4.3
        //# In this region, cwnd MUST be incremented by (W_cubic(t+RTT) - cwnd)/cwnd for each received ACK, where W_cubic(t+RTT) is
        //# calculated using Eq. 1.
        let ahead = epoch.curve.window(t_ns.saturating_add(acked.srtt_ns.unwrap_or(0)));
        let target = ahead.clamp(cwnd, cwnd.saturating_add(cwnd / 2));
        window.credit += u64::from(acked.bytes) * u64::from(target - cwnd);
        let steps = window.credit / u64::from(cwnd.max(1));
        window.credit -= steps * u64::from(cwnd);
        window.cwnd = cwnd.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX)).min(target).min(WINDOW_MAX);
    }

    /// The window is about to be reduced, perhaps by mistake.
    fn remember(&mut self, pipe: Option<u32>) {
        let window = (self.window, pipe);
        match &mut self.before {
            Some(before) => **before = window,
            None => self.before = Some(Box::new(window)),
        }
    }

    /// W_max, ssthresh and cwnd after a congestion event of a window of which `used` was used.
    fn reduce(&mut self, used: u32, (numerator, denominator): (u64, u64)) {
        let window = &mut self.window;
        window.cwnd_prior = used;
        //= rfc8312#4.6
        //# To speed up this bandwidth release by existing flows, the following mechanism called "fast convergence" SHOULD be
        //# implemented.
        window.w_max = if used < window.w_max { scaled(used, (17, 20)) } else { used };
        //= rfc8312#4.5
        //# ssthresh = cwnd * beta_cubic; // new slow-start threshold
        //# ssthresh = max(ssthresh, 2);  // threshold is at least 2 MSS
        window.ssthresh = scaled(used, (numerator, denominator)).max(2 * self.smss);
        window.epoch = None;
        window.credit = 0;
    }

    /// Time in which the window was not used does not count.
    fn stand_still(&mut self, now: Instant) {
        if let Some(epoch) = &mut self.window.epoch {
            //= rfc8312#5.8
            //# t in Eq. 1 MUST NOT include these periods
            epoch.begin = now.min(epoch.begin + Duration::from_nanos(now.ns_since(self.last_ack)));
        }
    }

    /// The window is not validated, or may not be any more: it shrinks when that has lasted too long, and is paced.
    fn settle_unused(&mut self, now: Instant) {
        let overdue = self.validation.overdue(self.window.cwnd, now);
        self.reduce_unused(overdue);
    }

    /// The same, when it is known how often the window has to shrink.
    fn reduce_unused(&mut self, overdue: u32) {
        let initial = initial_window(self.smss);
        if overdue > 0 {
            self.noted.note(Happening::WindowReducedUnused);
            let Window { cwnd, ssthresh, .. } = self.window;
            (self.window.cwnd, self.window.ssthresh) = reduced_unused(cwnd, ssthresh, overdue, initial);
            self.window.epoch = None;
        }
        self.pace = self.validation.pace(self.window.cwnd, initial);
    }

    /// What a rest leaves, before whose end [`Congestion::on_idle`] is called. The time of it does not count for the curve, so that it may as
    /// well begin anew: below its plateau at the very window it has come to, and beyond that at a plateau there, which is the more careful.
    pub(super) fn rest(&mut self, heard: Instant, now: Instant) {
        self.window.epoch = None;
        self.window.credit = 0;
        self.rounds = Rounds::NEW;
        self.hystart.rest();
        self.validation.rest(heard, now);
        self.pace = None;
        self.last_ack = Instant::ZERO;
        self.before = None;
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, known: &Known) {
        let Self { window, smss, rounds, hystart, validation, pace, last_ack, before, noted } = self;
        form.near(smss, known.mss);
        window.pass(form, *smss, known.heard);
        rounds.pass(form);
        validation.pass(form, known.srtt_ns, known.heard);
        hystart.pass(form, known.least_rtt_ns);
        form.optional(pace, Pace::BLANK, |form, pace| pace.pass(form));
        form.near(last_ack, Instant::ZERO);
        if form.bit(before.is_some()) {
            let (before, pipe) = &mut **before.get_or_insert_with(|| Box::new((*window, None)));
            before.pass(form, *smss, known.heard);
            form.optional(pipe, 0, |form, pipe| form.near(pipe, 0));
        } else {
            *before = None;
        }
        noted.pass(form);
    }
}

impl Window {
    /// One pass over its fields ([`crate::tcp::folded`]).
    fn pass(&mut self, form: &mut impl Form, smss: u32, heard: Instant) {
        let Self { cwnd, ssthresh, w_max, cwnd_prior, epoch, credit, timed_out } = self;
        form.near(cwnd, initial_window(smss));
        form.near(ssthresh, u32::MAX);
        form.near(w_max, 0);
        form.near(cwnd_prior, *w_max);
        let blank = Epoch { begin: heard, curve: Curve::BLANK, w_est: 0, credit: 0 };
        form.optional(epoch, blank, |form, Epoch { begin, curve, w_est, credit }| {
            form.near(begin, heard);
            curve.pass(form, *cwnd, *w_max, smss);
            form.near(w_est, *cwnd);
            form.near(credit, 0);
        });
        form.near(credit, 0);
        form.flag(timed_out);
    }
}

impl Congestion for Cubic {
    fn window(&self) -> u32 {
        self.window.cwnd
    }

    fn threshold(&self) -> u32 {
        self.window.ssthresh
    }

    fn pace(&self) -> Option<Pace> {
        self.pace
    }

    fn set_mss(&mut self, mss: u32) {
        self.smss = mss.max(1);
        // Later a smaller segment size leaves the bytes of the window as they are.
        if !self.validation.begun() {
            self.window.cwnd = initial_window(self.smss);
        }
    }

    fn on_lost_syn(&mut self) {
        self.window.cwnd = self.smss;
    }

    fn on_ack(&mut self, acked: &Acked) {
        let validated = self.validation.is_validated(self.window.cwnd);
        let may_grow = self.validation.on_ack(acked, self.window.cwnd, self.smss);
        if acked.recovering {
            return;
        }
        let round = self.rounds.passed(acked);
        if !may_grow {
            self.stand_still(acked.now);
        } else if self.window.cwnd < self.window.ssthresh {
            self.slow_start(acked, round);
        } else {
            self.avoid_congestion(acked);
        }
        self.last_ack = acked.now;
        if !self.validation.is_validated(self.window.cwnd) {
            if validated {
                self.noted.note(Happening::WindowNotValidated);
            }
            let overdue = self.validation.overdue_unvalidated(acked.now);
            self.reduce_unused(overdue);
        } else {
            self.pace = None;
        }
    }

    fn on_congestion(&mut self, why: Signal, in_flight: u32, now: Instant) {
        if why == Signal::Loss {
            self.remember(None);
        } else {
            self.before = None;
        }
        let used = self.validation.on_congestion(self.window.cwnd, in_flight);
        // The whole window counts, not what happens to be in flight: validation has seen to it that it was used (RFC 9438 4.6).
        let used = used.unwrap_or(self.window.cwnd);
        self.pace = None;
        if why == Signal::Loss {
            self.reduce(used, BETA);
            self.window.cwnd = self.window.ssthresh.min(self.window.cwnd.max(2 * self.smss));
            return;
        }
        //= rfc8511#3.1
        //# ssthresh = max (FlightSize * beta_{ecn}, 2 * SMSS)
        self.reduce(used, BETA_MARK);
        self.window.cwnd = self.window.ssthresh.min(self.window.cwnd);
        // No recovery follows, whose end would do this.
        self.validation.forget(now);
    }

    fn on_recovered(&mut self, burst: u32) {
        if let Some(used) = self.validation.on_recovered() {
            self.window.ssthresh = scaled(used, BETA).max(2 * self.smss);
        }
        //= rfc6582#3.2
        //# Set cwnd to either (1) min (ssthresh, max(FlightSize, SMSS) + SMSS) or (2) ssthresh
        self.window.cwnd = self.window.ssthresh.min(burst.max(self.smss).saturating_add(self.smss)).min(WINDOW_MAX);
    }

    fn on_timeout(&mut self, in_flight: u32, first: bool, now: Instant) {
        //= rfc5681#3.1
        //# the value of ssthresh is held constant
        if first {
            self.remember(Some(pipe_before(in_flight, self.window.ssthresh)));
            let used = self.validation.on_congestion(self.window.cwnd, in_flight);
            //= rfc8312#4.7
            //# In case of timeout, CUBIC follows Standard TCP to reduce cwnd [RFC5681], but sets ssthresh using beta_cubic (same as in
            //# Section 4.5)
            self.reduce(used.unwrap_or(self.window.cwnd), BETA);
        }
        self.window.cwnd = self.smss;
        self.window.epoch = None;
        self.window.timed_out = true;
        self.validation.forget(now);
        self.pace = None;
    }

    fn on_spurious(&mut self, in_flight: u32, acked: u32, now: Instant) {
        let Some((before, pipe)) = self.before.take().map(|before| *before) else { return };
        let cwnd = self.window.cwnd;
        let (cwnd, ssthresh) = match pipe {
            None => (before.cwnd.max(cwnd), before.ssthresh),
            //= rfc4015#3.1
            //# ssthresh <- pipe_prev
            Some(pipe) => (regained(cwnd, in_flight, acked, self.smss), pipe),
        };
        // The curve goes on where it was; below the threshold slow start leads back to it.
        self.window = Window { cwnd, ssthresh, ..before };
        self.validation.forget(now);
        self.last_ack = now;
    }

    fn on_idle(&mut self, now: Instant) {
        self.stand_still(now);
        self.last_ack = now;
        self.settle_unused(now);
    }

    fn take_noted(&mut self) -> Noted {
        std::mem::replace(&mut self.noted, Noted::NONE)
    }
}

impl Default for Cubic {
    fn default() -> Self {
        Self::new()
    }
}

fn scaled(bytes: u32, (numerator, denominator): (u64, u64)) -> u32 {
    u32::try_from(u64::from(bytes) * numerator / denominator).unwrap_or(u32::MAX)
}

//= rfc8312#4.5
//# Parameter beta_cubic SHOULD be set to 0.7.
const BETA: (u64, u64) = (7, 10);
/// beta_ecn of RFC 8511 for CUBIC.
const BETA_MARK: (u64, u64) = (17, 20);
/// 3 (1 - beta) / (1 + beta)
const ALPHA: (u64, u64) = (9, 17);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::path::{broadband, run};
    use super::super::tests::acked;
    use super::super::{Algorithm, path::Path};
    use super::*;

    const START: Instant = Instant::from_ns(1_000_000_000_000);
    const RTT: Duration = Duration::from_millis(100);

    fn cubic(mss: u32) -> Cubic {
        let mut cubic = Cubic::new();
        cubic.set_mss(mss);
        cubic
    }

    /// An ACK in a full window.
    fn ack(cubic: &mut Cubic, bytes: u32, now: Instant) {
        let srtt_ns = Some(RTT.as_nanos() as u64);
        cubic.on_ack(&Acked { now, srtt_ns, rtt_ns: srtt_ns, ..acked(bytes, cubic.window()) });
    }

    /// A window of `segments`, reduced by a loss, at the begin of congestion avoidance.
    fn reduced(segments: u32) -> Cubic {
        let mut cubic = cubic(1000);
        cubic.window.cwnd = segments * 1000;
        cubic.on_congestion(Signal::Loss, segments * 1000, START);
        cubic.on_recovered(u32::MAX);
        cubic
    }

    /// Acknowledges whole windows, spread over round trips, up to `until` after the start; the window then.
    fn drive(cubic: &mut Cubic, from: Instant, until: Duration) -> u32 {
        let mut now = from;
        while now < START + until {
            let window = cubic.window();
            for n in 0..10 {
                ack(cubic, window / 10, now + RTT * n / 10);
            }
            now += RTT;
        }
        cubic.window()
    }

    //= type=test
    //= rfc8312#4.5
    //# Parameter beta_cubic SHOULD be set to 0.7.
    #[test]
    fn a_loss_takes_three_tenths() {
        let cubic = reduced(100);
        assert_eq!((cubic.window(), cubic.threshold(), cubic.window.w_max), (70_000, 70_000, 100_000));
        let mut small = self::cubic(1000);
        small.window.cwnd = 2_000;
        small.on_congestion(Signal::Loss, 2_000, START);
        assert_eq!((small.window(), small.threshold()), (2_000, 2_000));
    }

    //= type=test
    //= rfc8511#3.1
    //# ssthresh = max (FlightSize * beta_{ecn}, 2 * SMSS)
    #[test]
    fn a_mark_takes_fifteen_hundredths_and_is_never_a_mistake() {
        let mut cubic = cubic(1000);
        cubic.window.cwnd = 100_000;
        cubic.on_congestion(Signal::Mark, 100_000, START);
        assert_eq!((cubic.window(), cubic.threshold()), (85_000, 85_000));
        cubic.on_spurious(99_000, 1_000, START);
        assert_eq!(cubic.window(), 85_000);
    }

    //= type=test
    //= rfc8312#4.1
    //# K = cubic_root(W_max*(1-beta_cubic)/C) (Eq. 2)
    #[test]
    fn the_window_is_back_after_k_and_goes_on_behind_it() {
        // 1000 segments: K = cbrt(300 / 0.4) = 9.086 s.
        let mut cubic = reduced(1000);
        let at_half = drive(&mut cubic, START, Duration::from_millis(4543));
        let at_k = drive(&mut cubic, START + Duration::from_millis(4600), Duration::from_millis(9086));
        let later = drive(&mut cubic, START + Duration::from_millis(9100), Duration::from_millis(13_086));
        // W_cubic(K/2) = 1000 - 300/8, W_cubic(K + 4 s) = 1000 + 0.4 * 64.
        for (window, expected) in [(at_half, 962_500), (at_k, 1_000_000), (later, 1_025_600)] {
            assert!(window.abs_diff(expected) < 5_000, "{window}, not {expected}");
        }
    }

    //= type=test
    //= rfc8312#4.2
    //# CUBIC checks whether W_cubic(t) is less than W_est(t).  If so, CUBIC is in the TCP-friendly region and cwnd SHOULD
    //# be set to W_est(t) at each reception of an ACK.
    #[test]
    fn a_small_window_grows_as_renos_would() {
        // 20 segments: the curve alone would need 2.5 s to come back; Reno's estimate gains 9/17 of a segment a round trip.
        let mut cubic = reduced(20);
        let window = drive(&mut cubic, START, RTT * 10);
        assert!(window.abs_diff(14_000 + 10 * 529) < 600, "{window}");
        // From the window before the loss on it gains a segment.
        let window = drive(&mut cubic, START + RTT * 10, RTT * 22);
        assert!(window.abs_diff(20_000 + 10_600) < 1_500, "{window}");
    }

    #[test]
    fn round_trips_of_microseconds_count_too() {
        // RFC 8312 figures in segments hold for any clock: 5 us, a window of 100 segments, Reno-friendly: a segment each 17/9 round trips.
        let mut cubic = reduced(100);
        let rtt = Duration::from_micros(5);
        let mut now = START;
        for _ in 0..17 {
            let window = cubic.window();
            let srtt_ns = Some(5_000);
            (0..10).for_each(|_| cubic.on_ack(&Acked { now, srtt_ns, rtt_ns: srtt_ns, ..acked(window / 10, window) }));
            now += rtt;
        }
        assert!(cubic.window().abs_diff(79_000) < 300, "{}", cubic.window());
    }

    //= type=test
    //= rfc8312#4.6
    //# With fast convergence, when a congestion event occurs, before the window reduction of the congestion window, a flow remembers the
    //# last value of W_max before it updates W_max for the current congestion event.
    #[test]
    fn a_lower_peak_gives_way() {
        let mut cubic = reduced(100);
        cubic.window.cwnd = 90_000;
        cubic.on_congestion(Signal::Loss, 90_000, START);
        assert_eq!((cubic.window.w_max, cubic.window()), (76_500, 63_000));
    }

    #[test]
    fn a_peak_that_is_reached_again_stays() {
        let mut cubic = reduced(100);
        cubic.window.cwnd = 100_000;
        cubic.on_congestion(Signal::Loss, 100_000, START);
        assert_eq!((cubic.window.w_max, cubic.window()), (100_000, 70_000));
    }

    //= type=test
    //= rfc8312#4.7
    //# K is set to 0, and W_max is set to the congestion window size at the beginning of the current congestion avoidance.
    #[test]
    fn after_a_timeout_the_curve_begins_at_its_plateau() {
        let mut cubic = cubic(1000);
        cubic.window.cwnd = 100_000;
        cubic.on_timeout(100_000, true, START);
        assert_eq!((cubic.window(), cubic.threshold()), (1_000, 70_000));
        cubic.on_timeout(1_000, false, START);
        assert_eq!((cubic.window(), cubic.threshold()), (1_000, 70_000));
        (0..69).for_each(|_| ack(&mut cubic, 1_000, START));
        assert_eq!(cubic.window(), 70_000);
        ack(&mut cubic, 1_000, START);
        assert_eq!(cubic.window.epoch.unwrap().curve, Curve::new(70_000, 70_000, 1_000));
    }

    #[test]
    fn a_spurious_reduction_is_taken_back_with_its_curve() {
        let mut cubic = reduced(100);
        drive(&mut cubic, START, RTT * 10);
        let before = cubic.window;
        cubic.on_congestion(Signal::Loss, 90_000, START + RTT * 11);
        assert!(cubic.window() < before.cwnd);
        cubic.on_spurious(80_000, 1_000, START + RTT * 12);
        assert_eq!(cubic.window, before);
        cubic.on_spurious(200_000, 1_000, START + RTT * 13);
        assert_eq!(cubic.window, before);
    }

    //= type=test
    //= rfc4015#3.1
    //# cwnd <- FlightSize + min (bytes_acked, IW)
    //# ssthresh <- pipe_prev
    #[test]
    fn a_spurious_timeout_gives_back_its_curve_and_what_has_left_the_network() {
        let mut cubic = reduced(100);
        drive(&mut cubic, START, RTT * 10);
        let before = cubic.window;
        cubic.on_timeout(90_000, true, START + RTT * 11);
        assert_eq!(cubic.window(), 1_000);
        cubic.on_spurious(50_000, 40_000, START + RTT * 12);
        assert_eq!(cubic.window, Window { cwnd: 60_000, ssthresh: 90_000, ..before }, "the burst is an initial window");
        // Back in slow start, and on with the old curve from there.
        let mut now = START + RTT * 12;
        while cubic.window() < 90_000 {
            now += RTT / 10;
            ack(&mut cubic, 5_000, now);
        }
        assert!(now < START + RTT * 13);
        assert_eq!(cubic.window.epoch, before.epoch);
        let mut fresh = self::cubic(1000);
        fresh.on_timeout(10_000, true, START);
        fresh.on_spurious(9_000, 1_000, START);
        assert_eq!((fresh.window(), fresh.threshold()), (10_000, u32::MAX), "HyStart goes on as well");
    }

    //= type=test
    //= rfc8312#5.8
    //# t in Eq. 1 MUST NOT include these periods
    #[test]
    fn time_without_use_does_not_count() {
        let mut cubic = reduced(1000);
        drive(&mut cubic, START, RTT * 10);
        let t = |cubic: &Cubic, now: Instant| now.since(cubic.window.epoch.unwrap().begin);
        assert_eq!(t(&cubic, cubic.last_ack), RTT * 99 / 10);
        cubic.on_idle(START + Duration::from_secs(60));
        assert_eq!(t(&cubic, START + Duration::from_secs(60)), RTT * 99 / 10);
    }

    #[test]
    fn a_smaller_segment_size_leaves_the_window() {
        let mut cubic = reduced(100);
        ack(&mut cubic, 1_000, START);
        let before = cubic.window();
        cubic.set_mss(500);
        assert_eq!(cubic.window(), before);
        let mut fresh = self::cubic(1000);
        fresh.set_mss(500);
        assert_eq!(fresh.window(), 5_000);
    }

    #[test]
    fn one_flow_fills_the_path() {
        let result = &run(broadband(), &[(Algorithm::Cubic, 0)], 20)[0];
        let share = result.rate_from(2) / broadband().rate as f64;
        assert!(share > 0.95, "{share}: {result:?}");
    }

    #[test]
    fn slow_start_ends_before_the_queue_overflows() {
        let result = &run(broadband(), &[(Algorithm::Cubic, 0)], 2)[0];
        assert_eq!(result.lost_before_exit, Some(0), "{result:?}");
    }

    #[test]
    fn two_flows_share_the_path() {
        let results = run(broadband(), &[(Algorithm::Cubic, 0), (Algorithm::Cubic, 3)], 40);
        let [first, second] = [results[0].rate_from(8), results[1].rate_from(8)];
        let share = first / (first + second);
        assert!((0.35..0.65).contains(&share), "{share}");
        assert!(first + second > 0.95 * broadband().rate as f64);
    }

    #[test]
    fn a_long_fat_path_is_filled_faster_than_by_reno() {
        let path = Path { rate: 125_000_000, rtt: Duration::from_millis(100), queue: 12_500_000, lost_of_10_000: 0 };
        let of = |algorithm| run(Path { lost_of_10_000: 1, ..path }, &[(algorithm, 0)], 30)[0].rate_from(10);
        let (cubic, reno) = (of(Algorithm::Cubic), of(Algorithm::Reno));
        assert!(cubic > 1.5 * reno, "{cubic} {reno}");
    }

    proptest! {
        #[test]
        fn the_window_stays_in_bounds(
            mss in 64u32..9_000,
            steps in proptest::collection::vec((0u8..8, 0u32..u32::MAX, 0u32..u32::MAX, 0u64..10_000_000_000), 1..200),
        ) {
            let mut cubic = cubic(mss);
            let mut now = START;
            for (kind, a, b, span) in steps {
                now += Duration::from_nanos(span);
                let least = match kind {
                    0 => { cubic.on_congestion(Signal::Loss, a, now); 2 * mss }
                    1 => { cubic.on_congestion(Signal::Mark, a, now); mss }
                    2 => { cubic.on_timeout(a, b % 2 == 0, now); mss }
                    3 => { cubic.on_recovered(a); mss }
                    4 => { cubic.on_spurious(a, b, now); mss }
                    5 => { cubic.on_idle(now); mss }
                    _ => {
                        let rtt = Some(span % 1_000_000_000);
                        cubic.on_ack(&Acked { now, srtt_ns: rtt, rtt_ns: rtt, recovering: a % 7 == 0, ..acked(a, b) });
                        mss
                    }
                };
                prop_assert!(cubic.window() >= least && cubic.window() <= WINDOW_MAX, "{cubic:?}");
                prop_assert!(cubic.threshold() >= 2 * mss);
            }
        }

        #[test]
        fn what_was_spurious_leaves_no_trace(segments in 2u32..10_000, flight: u32, ms in 0u64..100_000) {
            let mut cubic = reduced(segments);
            drive(&mut cubic, START, RTT * 3);
            let before = cubic.window;
            let now = START + Duration::from_millis(ms);
            cubic.on_congestion(Signal::Loss, before.cwnd, now);
            cubic.on_spurious(flight, 1_000, now);
            prop_assert_eq!(cubic.window, before);
        }
    }
}
