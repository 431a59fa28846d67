//! BBR, version 1 (draft-cardwell-iccrg-bbr-congestion-control-00).
//!
//! Models the path by two numbers, the bandwidth of its bottleneck (the largest delivery rate of ten rounds) and its round-trip time (the
//! smallest of ten seconds), and sends at the first with about their product in flight; losses change the model only by what they
//! deliver less. Version 1 because it is what Linux has, so that both can be compared, and because its draft is complete; version 3 is
//! still moving. Names in capitals in the draft are functions here. It does not answer marks ([`super::Congestion::answers_marks`]), so its
//! segments do not ask for them.
//!
//! The margin of 1 % below the estimate is Linux's: without it a queue that once stood would never drain. Chance, which the draft wants for the
//! phase that probing begins with, comes from the time of the ACK. Lives in a box, made with the connection; nothing allocates after
//! that, nothing panics.

use std::time::Duration;

use super::max_filter::MaxFilter;
use super::round::Rounds;
use super::{Acked, Congestion, Pace, Signal, WINDOW_MAX, initial_window};
use crate::tcp::tally::{Happening, Noted};
use crate::time::Instant;

/// The state of the algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bbr {
    mode: Mode,
    smss: u32,
    cwnd: u32,
    /// cwnd before recovery, a timeout or PROBE_RTT.
    prior_cwnd: u32,
    /// BtlBw, in bytes a second.
    bandwidth: MaxFilter,
    /// RTprop, and when it was seen.
    min_rtt_ns: u64,
    min_rtt_at: Instant,
    rounds: Rounds,
    /// Bytes delivered so far.
    delivered: u64,
    /// The bandwidth that was the last to count as growth, and rounds without growth.
    full_bandwidth: u64,
    flat_rounds: u8,
    /// The pipe was once full.
    filled: bool,
    pace: Pace,
    /// The first round-trip time has set the pace.
    paced_by_rtt: bool,
    /// Rate samples of what was sent before this many bytes were delivered (modulo 2^32) were held back by PROBE_RTT.
    held_until: Option<u32>,
    /// Sending begins after a pause: no time for PROBE_RTT.
    restarting: bool,
    /// Packet conservation: the first round of recovery.
    conserving: bool,
    noted: Noted,
}

/// The states of the draft (4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Startup,
    Drain,
    ProbeBandwidth {
        /// Index into [`CYCLE`].
        phase: u8,
        begin: Instant,
    },
    ProbeRtt {
        /// When it may end; not known before what is in flight has fallen.
        until: Option<Instant>,
        /// A round has passed since then.
        round_done: bool,
    },
}

impl Bbr {
    /// Before the segment size is known.
    pub fn new() -> Self {
        Self {
            mode: Mode::Startup,
            smss: 536,
            cwnd: initial_window(536),
            prior_cwnd: 0,
            bandwidth: MaxFilter::default(),
            min_rtt_ns: u64::MAX,
            min_rtt_at: Instant::ZERO,
            rounds: Rounds::NEW,
            delivered: 0,
            full_bandwidth: 0,
            flat_rounds: 0,
            filled: false,
            pace: Pace::new(0, 0),
            paced_by_rtt: false,
            held_until: None,
            restarting: false,
            conserving: false,
            noted: Noted::NONE,
        }
    }

    /// The gains of pace and window, in 1/256.
    const fn gains(&self) -> (u32, u32) {
        match self.mode {
            Mode::Startup => (HIGH_GAIN, HIGH_GAIN),
            Mode::Drain => (DRAIN_GAIN, HIGH_GAIN),
            Mode::ProbeBandwidth { phase, .. } => (CYCLE[phase as usize % CYCLE.len()], 2 * UNIT),
            Mode::ProbeRtt { .. } => (UNIT, UNIT),
        }
    }

    /// BBRInflight: the bandwidth-delay product times a gain. What the draft adds for the bursts, three of them, is room in the window
    /// ([`Bbr::set_window`]) and not in the network: phases that aimed at it would keep a queue.
    fn target(&self, gain: u32) -> u32 {
        if self.min_rtt_ns == u64::MAX || self.bandwidth.value() == 0 {
            return initial_window(self.smss);
        }
        let product = u128::from(self.bandwidth.value()) * u128::from(self.min_rtt_ns) / 1_000_000_000;
        u32::try_from(product * u128::from(gain) / u128::from(UNIT)).unwrap_or(u32::MAX).min(WINDOW_MAX)
    }

    /// BBRUpdateBtlBw.
    fn update_bandwidth(&mut self, acked: &Acked) {
        let Some(sample) = acked.rate else { return };
        let held = self.held_until.is_some_and(|until| (sample.prior_delivered.wrapping_sub(until) as i32) < 0);
        if !held {
            self.held_until = None;
        }
        let rate = sample.bytes_per_second();
        // What the application held back shows how slow the application is, unless it is faster than all before.
        if rate >= self.bandwidth.value() || !(sample.limited || held) {
            self.bandwidth.update(BANDWIDTH_ROUNDS, self.rounds.count(), rate);
        }
    }

    /// BBRCheckCyclePhase.
    fn check_cycle(&mut self, acked: &Acked) {
        let Mode::ProbeBandwidth { phase, begin } = self.mode else { return };
        let full_length = acked.now.ns_since(begin) > self.min_rtt_ns;
        let next = match CYCLE[usize::from(phase) % CYCLE.len()] {
            gain if gain > UNIT => full_length && (acked.lost > 0 || acked.in_flight >= self.target(gain)),
            gain if gain < UNIT => full_length || acked.in_flight <= self.target(UNIT),
            _ => full_length,
        };
        if next {
            self.mode = Mode::ProbeBandwidth { phase: (phase + 1) % CYCLE.len() as u8, begin: acked.now };
        }
    }

    /// BBRCheckFullPipe.
    fn check_full_pipe(&mut self, acked: &Acked, round: bool) {
        if self.filled || !round || acked.rate.is_none_or(|sample| sample.limited) {
            return;
        }
        let bandwidth = self.bandwidth.value();
        if bandwidth >= self.full_bandwidth.saturating_add(self.full_bandwidth / 4) {
            self.full_bandwidth = bandwidth;
            self.flat_rounds = 0;
            return;
        }
        self.flat_rounds += 1;
        self.filled = self.flat_rounds >= FLAT_ROUNDS;
    }

    /// BBRCheckDrain.
    fn check_drain(&mut self, in_flight: u32, now: Instant) {
        if self.mode == Mode::Startup && self.filled {
            self.noted.note(Happening::SlowStartExit);
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && in_flight <= self.target(UNIT) {
            self.probe_bandwidth(now);
        }
    }

    /// BBREnterProbeBW: any phase but the one that drains.
    fn probe_bandwidth(&mut self, now: Instant) {
        let chance = (now.as_ns() >> 10) % (CYCLE.len() as u64 - 1);
        let phase = if chance == 0 { 0 } else { chance as u8 + 1 };
        self.mode = Mode::ProbeBandwidth { phase, begin: now };
    }

    /// BBRUpdateRTprop and BBRCheckProbeRTT.
    fn update_min_rtt(&mut self, acked: &Acked, in_flight: u32, round: bool) {
        let now = acked.now;
        let expired = self.min_rtt_ns != u64::MAX && now.since(self.min_rtt_at) > MIN_RTT_WINDOW;
        if let Some(rtt_ns) = acked.rtt_ns
            && (rtt_ns <= self.min_rtt_ns || expired)
        {
            self.min_rtt_ns = rtt_ns.max(1);
            self.min_rtt_at = now;
        }
        if expired && !self.restarting && !matches!(self.mode, Mode::ProbeRtt { .. }) {
            self.save_window();
            self.mode = Mode::ProbeRtt { until: None, round_done: false };
            self.noted.note(Happening::RttProbed);
        }
        if let Mode::ProbeRtt { until, round_done } = &mut self.mode {
            self.held_until = acked.rate.map(|sample| sample.delivered.wrapping_add(in_flight.max(1))).or(self.held_until);
            match *until {
                None if in_flight <= PIPE_MIN * self.smss => {
                    *until = Some(now + PROBE_RTT);
                    // The round that counts is one of what is sent from now on.
                    self.rounds.begin_anew(in_flight);
                }
                None => {}
                Some(end) => {
                    *round_done |= round;
                    if *round_done && now > end {
                        self.min_rtt_at = now;
                        self.restore_window();
                        if self.filled { self.probe_bandwidth(now) } else { self.mode = Mode::Startup }
                    }
                }
            }
        }
        self.restarting = false;
    }

    /// BBRSetPacingRate, with the initial pace as soon as a round-trip time is known.
    fn set_pace(&mut self, srtt_ns: Option<u64>) {
        if let (false, Some(srtt_ns)) = (self.paced_by_rtt, srtt_ns) {
            self.paced_by_rtt = true;
            self.pace = self.initial_pace(srtt_ns);
        }
        let (gain, _) = self.gains();
        let rate = scaled(self.bandwidth.value(), gain) / 100 * 99;
        if rate > 0 && (self.filled || rate > self.pace.bytes_per_second()) && rate != self.pace.bytes_per_second() {
            self.pace = Pace::with_fitting_bursts(rate, self.smss);
        }
    }

    fn initial_pace(&self, srtt_ns: u64) -> Pace {
        let nominal = u64::from(initial_window(self.smss)) * 1_000_000_000 / srtt_ns.max(1);
        Pace::with_fitting_bursts(scaled(nominal, HIGH_GAIN), self.smss)
    }

    /// BBRSetCwnd.
    fn set_window(&mut self, acked: &Acked, in_flight: u32) {
        let target = self.target(self.gains().1).saturating_add(self.pace.burst().saturating_mul(3));
        if acked.lost > 0 {
            self.cwnd = self.cwnd.saturating_sub(acked.lost).max(self.smss);
        }
        if self.conserving {
            self.cwnd = self.cwnd.max(in_flight.saturating_add(acked.delivered));
        } else {
            let grown = self.cwnd.saturating_add(acked.delivered);
            if self.filled {
                self.cwnd = grown.min(target);
            } else if self.cwnd < target || self.delivered < u64::from(initial_window(self.smss)) {
                self.cwnd = grown;
            }
            self.cwnd = self.cwnd.max(PIPE_MIN * self.smss);
        }
        if matches!(self.mode, Mode::ProbeRtt { .. }) {
            self.cwnd = self.cwnd.min(PIPE_MIN * self.smss);
        }
        self.cwnd = self.cwnd.min(WINDOW_MAX);
    }

    fn save_window(&mut self) {
        let reduced = self.conserving || matches!(self.mode, Mode::ProbeRtt { .. });
        self.prior_cwnd = if reduced { self.prior_cwnd.max(self.cwnd) } else { self.cwnd };
    }

    fn restore_window(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }
}

impl Congestion for Bbr {
    fn window(&self) -> u32 {
        self.cwnd
    }

    fn threshold(&self) -> u32 {
        u32::MAX
    }

    fn pace(&self) -> Option<Pace> {
        Some(self.pace)
    }

    fn set_mss(&mut self, mss: u32) {
        self.smss = mss.max(1);
        if self.delivered == 0 {
            self.cwnd = initial_window(self.smss);
            self.pace = self.initial_pace(NOMINAL_RTT_NS);
        }
    }

    fn on_lost_syn(&mut self) {
        self.cwnd = self.smss;
    }

    fn on_ack(&mut self, acked: &Acked) {
        let in_flight = acked.pipe;
        self.delivered += u64::from(acked.delivered);
        let round = self.rounds.passed(acked);
        if round {
            self.conserving = false;
        }
        self.update_bandwidth(acked);
        self.check_cycle(acked);
        self.check_full_pipe(acked, round);
        self.check_drain(in_flight, acked.now);
        self.update_min_rtt(acked, in_flight, round);
        self.set_pace(acked.srtt_ns);
        self.set_window(acked, in_flight);
    }

    fn on_congestion(&mut self, why: Signal, in_flight: u32, _: Instant) {
        if why == Signal::Mark {
            return;
        }
        self.save_window();
        self.cwnd = in_flight.saturating_add(self.smss).min(self.cwnd).max(self.smss);
        self.conserving = true;
        self.rounds.begin_anew(in_flight);
    }

    fn on_recovered(&mut self, _: u32) {
        self.conserving = false;
        if !matches!(self.mode, Mode::ProbeRtt { .. }) {
            self.restore_window();
        }
    }

    fn on_repaired(&mut self) {
        self.on_recovered(0);
    }

    fn on_timeout(&mut self, _: u32, first: bool, _: Instant) {
        if first {
            self.save_window();
        }
        self.cwnd = self.smss;
        self.conserving = false;
        // The pipe is looked for again from what it was, if it was still growing.
        self.full_bandwidth = 0;
    }

    fn on_spurious(&mut self, _: u32, _: u32, _: Instant) {
        // What the window allows leaves at the pace of the path: there is no burst for RFC 4015 to limit.
        self.conserving = false;
        self.full_bandwidth = 0;
        self.flat_rounds = 0;
        if !matches!(self.mode, Mode::ProbeRtt { .. }) {
            self.restore_window();
        }
    }

    fn on_idle(&mut self, _: Instant) {
        // BBRHandleRestartFromIdle: as fast as the path is, without a burst.
        self.restarting = true;
        if matches!(self.mode, Mode::ProbeBandwidth { .. }) && self.bandwidth.value() > 0 {
            self.pace = Pace::with_fitting_bursts(self.bandwidth.value(), self.smss);
        }
    }

    fn governs_recovery(&self) -> bool {
        true
    }

    fn answers_marks(&self) -> bool {
        false
    }

    fn take_noted(&mut self) -> Noted {
        std::mem::replace(&mut self.noted, Noted::NONE)
    }
}

impl Default for Bbr {
    fn default() -> Self {
        Self::new()
    }
}

fn scaled(rate: u64, gain: u32) -> u64 {
    rate.saturating_mul(u64::from(gain)) / u64::from(UNIT)
}

/// A gain of one.
const UNIT: u32 = 256;
/// BBRHighGain: 2 / ln 2, which doubles the rate each round.
const HIGH_GAIN: u32 = 739;
/// Its inverse.
const DRAIN_GAIN: u32 = 88;
/// The gains of the phases of PROBE_BW: one that probes, one that drains, six that cruise.
const CYCLE: [u32; 8] = [UNIT * 5 / 4, UNIT * 3 / 4, UNIT, UNIT, UNIT, UNIT, UNIT, UNIT];
/// BtlBwFilterLen
const BANDWIDTH_ROUNDS: u32 = 10;
/// Rounds without a quarter more bandwidth that mean a full pipe.
const FLAT_ROUNDS: u8 = 3;
/// RTpropFilterLen
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// ProbeRTTDuration
const PROBE_RTT: Duration = Duration::from_millis(200);
/// BBRMinPipeCwnd, in segments.
const PIPE_MIN: u32 = 4;
/// The round-trip time the first pace is reckoned with.
const NOMINAL_RTT_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::path::{Path, broadband, run};
    use super::super::tests::acked;
    use super::super::{Algorithm, Signal};
    use super::*;
    use crate::tcp::rate::Sample;

    fn bbr() -> Bbr {
        let mut bbr = Bbr::new();
        bbr.set_mss(1000);
        bbr
    }

    /// Drives rounds of 10 ms, each one ACK with a rate; returns the modes in between.
    struct Rounds {
        bbr: Bbr,
        now: Instant,
        delivered: u32,
    }

    impl Rounds {
        fn new() -> Self {
            Self { bbr: bbr(), now: Instant::from_ns(1_000_000_000), delivered: 0 }
        }

        fn round(&mut self, rate: u64, in_flight: u32, limited: bool) -> Mode {
            self.now += Duration::from_millis(10);
            let bytes = (rate / 100) as u32;
            let prior_delivered = self.delivered;
            self.delivered = self.delivered.wrapping_add(bytes);
            let sample = Sample { bytes, interval_ns: 10_000_000, prior_delivered, delivered: self.delivered, limited };
            let (rtt, in_flight) = (Some(10_000_000), in_flight.saturating_add(bytes));
            self.bbr.on_ack(&Acked { now: self.now, srtt_ns: rtt, rtt_ns: rtt, rate: Some(sample), ..acked(bytes, in_flight) });
            self.bbr.mode
        }
    }

    #[test]
    fn it_begins_with_an_initial_window_paced_over_a_millisecond() {
        let bbr = bbr();
        assert_eq!((bbr.window(), bbr.pace().unwrap().bytes_per_second()), (10_000, 10_000_000 * 739 / 256));
        assert!(bbr.governs_recovery() && !bbr.answers_marks());
    }

    #[test]
    fn startup_ends_after_three_rounds_without_a_quarter_more() {
        let mut path = Rounds::new();
        for rate in [1_000_000, 2_000_000, 4_000_000, 8_000_000, 10_000_000, 10_100_000, 10_200_000] {
            assert_eq!(path.round(rate, 400_000, false), Mode::Startup, "{rate}");
        }
        assert_eq!(path.round(10_200_000, 400_000, false), Mode::Drain);
        assert!(path.bbr.take_noted().contains(Happening::SlowStartExit));
        assert_eq!(path.bbr.pace().unwrap().bytes_per_second(), 10_200_000 * 88 / 256 / 100 * 99);
        assert!(matches!(path.round(10_200_000, 90_000, false), Mode::ProbeBandwidth { phase, .. } if phase != 1));
    }

    #[test]
    fn what_the_application_holds_back_neither_ends_startup_nor_lowers_the_estimate() {
        let mut path = Rounds::new();
        path.round(10_000_000, 400_000, false);
        for _ in 0..30 {
            assert_eq!(path.round(500_000, 1_000, true), Mode::Startup);
        }
        assert_eq!(path.bbr.bandwidth.value(), 10_000_000);
        path.round(12_000_000, 1_000, true);
        assert_eq!(path.bbr.bandwidth.value(), 12_000_000, "a faster sample always counts");
    }

    /// A path in PROBE_BW at 10 MB/s and 10 ms.
    fn probing() -> Rounds {
        let mut path = Rounds::new();
        while !matches!(path.bbr.mode, Mode::ProbeBandwidth { .. }) {
            path.round(10_000_000, 50_000, false);
        }
        path
    }

    #[test]
    fn probing_cycles_through_its_gains() {
        let mut path = probing();
        let mut rates = Vec::new();
        for _ in 0..400 {
            path.round(10_000_000, 200_000, false);
            rates.push(path.bbr.pace().unwrap().bytes_per_second());
        }
        rates.sort_unstable();
        rates.dedup();
        assert_eq!(rates, [7_425_000, 9_900_000, 12_375_000]);
        assert!(path.bbr.window() >= 200_000 && path.bbr.window() <= 200_000 + 3 * 13_000, "{}", path.bbr.window());
    }

    /// Rounds of 10 ms are as long as the shortest round trip, and no longer.
    #[test]
    fn draining_ends_when_the_queue_is_gone_and_cruising_with_its_length() {
        let mut path = probing();
        let phase = |mode| if let Mode::ProbeBandwidth { phase, .. } = mode { phase } else { u8::MAX };
        let begin = |path: &mut Rounds, phase| path.bbr.mode = Mode::ProbeBandwidth { phase, begin: path.now };
        begin(&mut path, 1);
        assert_eq!(phase(path.round(10_000_000, 150_000, false)), 1, "a queue stands");
        begin(&mut path, 1);
        assert_eq!(phase(path.round(10_000_000, 0, false)), 2);
        begin(&mut path, 3);
        assert_eq!(phase(path.round(10_000_000, 50_000, false)), 3);
        assert_eq!(phase(path.round(10_000_000, 50_000, false)), 4);
    }

    #[test]
    fn a_path_of_unknown_rate_keeps_its_pace() {
        let mut bbr = bbr();
        bbr.filled = true;
        let pace = bbr.pace().unwrap().bytes_per_second();
        bbr.set_pace(None);
        assert_eq!(bbr.pace().unwrap().bytes_per_second(), pace);
    }

    #[test]
    fn the_round_trip_time_is_probed_after_ten_seconds_and_costs_no_bandwidth() {
        let mut path = probing();
        let mut rounds = 0;
        // The first round-trip time came 10 s ago; all later ones are longer.
        path.bbr.min_rtt_ns = 9_000_000;
        while !matches!(path.round(10_000_000, 100_000, false), Mode::ProbeRtt { .. }) {
            rounds += 1;
            assert!(rounds < 1001);
        }
        assert!(path.bbr.take_noted().contains(Happening::RttProbed));
        assert_eq!(path.bbr.window(), 4_000);
        let begin = path.now;
        while matches!(path.round(400_000, 3_000, false), Mode::ProbeRtt { .. }) {}
        let lasted = path.now.since(begin);
        assert!(lasted >= PROBE_RTT && lasted <= PROBE_RTT + Duration::from_millis(40), "{lasted:?}");
        assert_eq!(path.bbr.bandwidth.value(), 10_000_000);
        assert!(path.bbr.window() > 100_000, "{}", path.bbr.window());
    }

    #[test]
    fn a_pause_is_no_reason_to_probe_the_round_trip_time() {
        let mut path = probing();
        path.now += Duration::from_secs(30);
        path.bbr.on_idle(path.now);
        assert!(matches!(path.round(10_000_000, 50_000, true), Mode::ProbeBandwidth { .. }));
    }

    #[test]
    fn the_first_round_of_recovery_conserves_packets() {
        let mut path = probing();
        (0..20).for_each(|_| _ = path.round(10_000_000, 100_000, false));
        let before = path.bbr.window();
        path.bbr.on_congestion(Signal::Loss, 60_000, path.now);
        assert_eq!(path.bbr.window(), 61_000);
        let ack = Acked { now: path.now, lost: 2_000, pipe: 57_000, recovering: true, ..acked(1_000, 60_000) };
        path.bbr.on_ack(&ack);
        assert_eq!(path.bbr.window(), 59_000, "what was lost is not replaced");
        path.bbr.on_recovered(0);
        assert_eq!(path.bbr.window(), before);
        path.bbr.on_timeout(50_000, true, path.now);
        assert_eq!(path.bbr.window(), 1_000);
        path.bbr.on_spurious(0, 0, path.now);
        assert_eq!(path.bbr.window(), before);
    }

    #[test]
    fn what_a_timer_found_lost_is_not_taken_off_twice() {
        let mut path = probing();
        path.bbr.on_congestion(Signal::Loss, 10_000, path.now);
        path.bbr.on_ack(&Acked { now: path.now, lost: 5_000, pipe: 9_000, recovering: true, ..acked(1_000, 10_000) });
        assert_eq!(path.bbr.window(), 10_000, "for what was delivered as much may leave");
    }

    #[test]
    fn the_window_comes_back_when_a_timeout_is_repaired() {
        let mut path = probing();
        (0..20).for_each(|_| _ = path.round(10_000_000, 100_000, false));
        let before = path.bbr.window();
        path.bbr.on_timeout(50_000, true, path.now);
        path.bbr.on_repaired();
        assert_eq!(path.bbr.window(), before);
    }

    #[test]
    fn probing_the_round_trip_time_lasts_for_a_whole_round() {
        let mut path = probing();
        path.bbr.mode = Mode::ProbeRtt { until: None, round_done: false };
        let begin = path.delivered;
        let mut ack = |ms: u64, delivered: u32, prior_delivered: u32| {
            let rate = Sample { bytes: 1, interval_ns: 1_000_000, prior_delivered, delivered, limited: true };
            let now = path.now + Duration::from_millis(ms);
            path.bbr.on_ack(&Acked { now, rate: Some(rate), ..acked(1_000, 4_000) });
            matches!(path.bbr.mode, Mode::ProbeRtt { .. })
        };
        // A round begins, what is in flight falls in the midst of it, and an ACK ends it after the 200 ms.
        assert!(ack(1, begin + 1_000, begin));
        assert!(ack(250, begin + 2_000, begin), "sent before it fell");
        assert!(!ack(500, begin + 3_000, begin + 1_000));
    }

    #[test]
    fn one_flow_fills_the_path_and_hardly_its_queue() {
        let result = &run(broadband(), &[(Algorithm::Bbr, 0)], 20)[0];
        let share = result.rate_from(2) / broadband().rate as f64;
        assert!(share > 0.9, "{share}: {result:?}");
        let most = result.most_in_flight[2..].iter().max().copied().unwrap();
        assert!(u64::from(most) < broadband().bdp() * 3 / 2, "{most}: {result:?}");
    }

    #[test]
    fn one_loss_in_a_hundred_costs_little() {
        let path = Path { lost_of_10_000: 100, ..broadband() };
        let of = |algorithm| run(path, &[(algorithm, 0)], 20)[0].rate_from(2) / path.rate as f64;
        let (bbr, cubic) = (of(Algorithm::Bbr), of(Algorithm::Cubic));
        assert!(bbr > 0.8 && cubic < 0.5, "{bbr} {cubic}");
    }

    #[test]
    fn paths_of_other_sizes_are_filled_too() {
        for (rate, rtt_us, queue) in [(125_000, 50_000, 20_000), (1_250_000_000, 100, 1_000_000), (125_000_000, 5_000, 625_000)] {
            let path = Path { rate, rtt: Duration::from_micros(rtt_us), queue, lost_of_10_000: 0 };
            let seconds = if rate > 1_000_000_000 { 1 } else { 6 };
            let result = &run(path, &[(Algorithm::Bbr, 0)], seconds)[0];
            let share = result.rate_from(seconds / 2) / rate as f64;
            assert!(share > 0.85, "{rate} B/s, {rtt_us} us: {share}");
        }
    }

    proptest! {
        #[test]
        fn the_window_stays_in_bounds(
            mss in 64u32..9_000,
            steps in proptest::collection::vec((0u8..8, 0u32..u32::MAX, 0u32..u32::MAX, 0u64..10_000_000_000), 1..200),
        ) {
            let mut bbr = Bbr::new();
            bbr.set_mss(mss);
            let mut now = Instant::from_ns(1_000_000_000_000);
            let mut delivered = 0u32;
            for (kind, a, b, span) in steps {
                now += Duration::from_nanos(span);
                match kind {
                    0 => bbr.on_congestion(Signal::Loss, a, now),
                    1 => bbr.on_congestion(Signal::Mark, a, now),
                    2 => bbr.on_timeout(a, b % 2 == 0, now),
                    3 => bbr.on_recovered(a),
                    4 => bbr.on_spurious(a, b, now),
                    5 => bbr.on_idle(now),
                    _ => {
                        let prior_delivered = delivered.wrapping_sub(b);
                        delivered = delivered.wrapping_add(a);
                        let rate = Sample { bytes: a, interval_ns: span, prior_delivered, delivered, limited: b % 3 == 0 };
                        let rtt = Some(span % 1_000_000_000);
                        bbr.on_ack(&Acked { now, srtt_ns: rtt, rtt_ns: rtt, rate: Some(rate), lost: b % 5000, ..acked(a, b) });
                    }
                }
                prop_assert!(bbr.window() >= mss && bbr.window() <= WINDOW_MAX, "{bbr:?}");
                prop_assert!(bbr.pace().unwrap().bytes_per_second() > 0);
            }
        }
    }
}
