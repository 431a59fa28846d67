//! Reno: slow start and congestion avoidance (RFC 5681), ten segments at the start (RFC 6928).

use super::{Acked, Congestion, Signal};
use crate::time::Instant;

/// The state of the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reno {
    cwnd: u32,
    ssthresh: u32,
    /// Bytes acknowledged since cwnd last grew in congestion avoidance.
    counted: u32,
    smss: u32,
    /// cwnd and ssthresh before the last reduction, to be restored if that was a mistake.
    before: Option<(u32, u32)>,
}

impl Reno {
    /// Before the segment size is known.
    pub const fn new() -> Self {
        //= rfc5681#3.1
        //# The initial value of ssthresh SHOULD be set arbitrarily high
        Self { cwnd: 536, ssthresh: u32::MAX, counted: 0, smss: 536, before: None }
    }

    fn initial_window(&self) -> u32 {
        //= rfc6928#2
        //# min (10*MSS, max (2*MSS, 14600))
        (10 * self.smss).min((2 * self.smss).max(14_600))
    }

    fn halve(&mut self, in_flight: u32) {
        self.before = Some((self.cwnd, self.ssthresh));
        //= rfc5681#3.1
        //# ssthresh = max (FlightSize / 2, 2*SMSS)            (4)
        self.ssthresh = (in_flight / 2).max(2 * self.smss);
        self.counted = 0;
    }
}

impl Congestion for Reno {
    fn window(&self) -> u32 {
        self.cwnd
    }

    fn threshold(&self) -> u32 {
        self.ssthresh
    }

    fn set_mss(&mut self, mss: u32) {
        self.smss = mss.max(1);
        self.cwnd = self.initial_window();
    }

    fn on_lost_syn(&mut self) {
        self.cwnd = self.smss;
    }

    fn on_ack(&mut self, acked: &Acked) {
        if acked.recovering {
            return;
        }
        // A window that is not used says nothing about the path, so it does not grow (RFC 7661's reason, in its simplest form).
        if acked.in_flight < self.cwnd / 2 {
            return;
        }
        if self.cwnd < self.ssthresh {
            //= rfc5681#3.1
            //# cwnd += min (N, SMSS)                      (2)
            self.cwnd = self.cwnd.saturating_add(acked.bytes.min(self.smss));
            return;
        }
        //= rfc5681#3.1
        //# When the number of bytes acknowledged reaches cwnd, then cwnd can be incremented by up to SMSS bytes.
        self.counted = self.counted.saturating_add(acked.bytes);
        if self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(self.smss);
        }
    }

    fn on_congestion(&mut self, _: Signal, in_flight: u32, _: Instant) {
        self.halve(in_flight);
        self.cwnd = self.ssthresh;
    }

    fn on_recovered(&mut self, burst: u32) {
        //= rfc6582#3.2
        //# Set cwnd to either (1) min (ssthresh, max(FlightSize, SMSS) + SMSS) or (2) ssthresh
        self.cwnd = self.ssthresh.min(burst.max(self.smss) + self.smss);
    }

    fn on_timeout(&mut self, in_flight: u32, first: bool, _: Instant) {
        //= rfc5681#3.1
        //# On the other hand, when a TCP sender detects segment loss using the retransmission timer and the given segment has
        //# already been retransmitted by way of the retransmission timer at least once, the value of ssthresh is held constant.
        if first {
            self.halve(in_flight);
        }
        //= rfc5681#3.1
        //# Furthermore, upon a timeout (as specified in [RFC2988]) cwnd MUST be set to no more than the loss window, LW, which
        //# equals 1 full-sized segment (regardless of the value of IW).
        self.cwnd = self.smss;
        self.counted = 0;
    }

    fn on_spurious(&mut self, _: Instant) {
        if let Some((cwnd, ssthresh)) = self.before.take() {
            self.cwnd = self.cwnd.max(cwnd);
            self.ssthresh = self.ssthresh.max(ssthresh);
        }
    }

    fn on_idle(&mut self, _: Instant) {
        //= rfc5681#4.1
        //# For the purposes of this standard, we define RW = min(IW,cwnd).
        self.cwnd = self.cwnd.min(self.initial_window());
    }
}

impl Default for Reno {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn reno(mss: u32) -> Reno {
        let mut reno = Reno::new();
        reno.set_mss(mss);
        reno
    }

    fn acked(bytes: u32, in_flight: u32) -> Acked {
        let (srtt_ns, rtt_ns, rate) = (None, None, None);
        Acked { bytes, delivered: bytes, in_flight, now: NOW, srtt_ns, rtt_ns, rate, recovering: false, lost: 0 }
    }

    fn ack(reno: &mut Reno, bytes: u32) {
        reno.on_ack(&acked(bytes, reno.window()));
    }

    #[test]
    fn it_begins_with_ten_segments_or_14600_bytes() {
        for (mss, window) in [(536, 5_360), (1460, 14_600), (1448, 14_480), (4000, 14_600), (8948, 17_896)] {
            assert_eq!(reno(mss).window(), window, "MSS {mss}");
        }
    }

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
        reno.on_timeout(10_000, true, NOW);
        reno.on_spurious(NOW);
        assert_eq!((reno.window(), reno.threshold()), (10_000, u32::MAX));
        reno.on_congestion(Signal::Loss, 8_000, NOW);
        reno.on_spurious(NOW);
        reno.on_spurious(NOW);
        assert_eq!((reno.window(), reno.threshold()), (10_000, u32::MAX));
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut reno = reno(1000);
        reno.on_ack(&acked(1000, 4_999));
        assert_eq!(reno.window(), 10_000);
    }

    #[test]
    fn idleness_takes_a_grown_window_back() {
        let mut reno = reno(1000);
        (0..50).for_each(|_| ack(&mut reno, 1000));
        assert_eq!(reno.window(), 60_000);
        reno.on_idle(NOW);
        assert_eq!(reno.window(), 10_000);
    }
}
