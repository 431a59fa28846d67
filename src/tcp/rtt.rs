//! The round-trip time of a connection (RFC 6298 2 and 3).
//!
//! Samples come from our own send times, in nanoseconds; over retransmissions, where those are ambiguous, from the echoed
//! timestamp, in milliseconds.

use super::seq::SeqNum;
use crate::time::Instant;

/// SRTT and RTTVAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rtt {
    srtt_ns: u64,
    rttvar_ns: u64,
    /// Distinguishes "no sample yet" from a time of zero.
    sampled: bool,
}

impl Rtt {
    /// The smoothed time; `None` before the first sample.
    pub(super) const fn srtt_ns(&self) -> Option<u64> {
        if self.sampled { Some(self.srtt_ns) } else { None }
    }

    /// The variation.
    pub(super) const fn rttvar_ns(&self) -> u64 {
        self.rttvar_ns
    }

    /// Takes a sample in.
    pub(super) const fn sample(&mut self, ns: u64) {
        if self.sampled {
            //= rfc6298#2.3
            //# RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|
            //# SRTT <- (1 - alpha) * SRTT + alpha * R'
            self.rttvar_ns = self.rttvar_ns - self.rttvar_ns / 4 + self.srtt_ns.abs_diff(ns) / 4;
            self.srtt_ns = self.srtt_ns - self.srtt_ns / 8 + ns / 8;
        } else {
            //= rfc6298#2.2
            //# SRTT <- R
            //# RTTVAR <- R/2
            self.srtt_ns = ns;
            self.rttvar_ns = ns / 2;
            self.sampled = true;
        }
    }
}

/// One segment is timed at a time, and the ambiguity that retransmissions bring (Karn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    /// The sequence number after the timed segment, and when it was sent.
    timed: Option<(SeqNum, Instant)>,
    /// Up to here something was sent more than once.
    resent: Option<SeqNum>,
}

impl Timing {
    pub(super) const NONE: Self = Self { timed: None, resent: None };

    /// A segment that ends before `end` was sent for the first time.
    ///
    /// It is not timed while an earlier one is being repaired: its acknowledgment would wait for the repair, and measure that.
    pub(super) const fn sent(&mut self, end: SeqNum, now: Instant) {
        if self.timed.is_none() && self.resent.is_none() {
            self.timed = Some((end, now));
        }
    }

    /// A segment that ends before `end` was sent again.
    pub(super) fn resent(&mut self, end: SeqNum) {
        //= rfc6298#3
        //# TCP MUST use Karn's algorithm [KP87] for taking RTT samples.
        self.timed = None;
        self.resent = Some(self.resent.map_or(end, |before| before.latest(end)));
    }

    /// Everything up to `ack` is acknowledged, `echoed_ns` being the time that the echoed timestamp tells: the sample, if there is one.
    pub(super) fn acknowledged(&mut self, ack: SeqNum, now: Instant, echoed_ns: Option<u64>) -> Option<u64> {
        let ambiguous = self.resent.is_some();
        if self.resent.is_some_and(|end| ack.at_or_after(end)) {
            self.resent = None;
        }
        if let Some((end, sent)) = self.timed
            && ack.at_or_after(end)
        {
            self.timed = None;
            return Some(now.ns_since(sent));
        }
        //= rfc6298#3
        //# The only case when TCP can safely take RTT samples from retransmitted segments is when the TCP timestamp option [JBB92]
        //# is employed, since the timestamp option removes the ambiguity regarding which instance of the data segment triggered
        //# the acknowledgment.
        if ambiguous { echoed_ns } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: SeqNum = SeqNum(5);
    const SENT: Instant = Instant::from_ns(1_000);

    #[test]
    fn the_first_sample_counts_whole_and_later_ones_an_eighth() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.srtt_ns(), None);
        rtt.sample(8_000);
        assert_eq!((rtt.srtt_ns(), rtt.rttvar_ns()), (Some(8_000), 4_000));
        rtt.sample(16_000);
        assert_eq!((rtt.srtt_ns(), rtt.rttvar_ns()), (Some(9_000), 5_000));
    }

    #[test]
    fn only_the_first_segment_of_a_flight_is_timed() {
        let mut timing = Timing::NONE;
        timing.sent(END, SENT);
        timing.sent(END + 10, Instant::from_ns(1_500));
        assert_eq!(timing.acknowledged(END - 1, Instant::from_ns(3_000), None), None);
        assert_eq!(timing.acknowledged(END, Instant::from_ns(3_000), None), Some(2_000));
        assert_eq!(timing.acknowledged(END + 10, Instant::from_ns(3_000), Some(9)), None);
    }

    //= type=test
    //= rfc9293#3.8.1
    //# The RTO MUST be computed according to the algorithm in [10], including Karn's algorithm for taking RTT samples
    //# (MUST-18).
    //= type=test
    //= rfc6298#3
    //# That is, RTT samples MUST NOT be made using segments that were retransmitted
    #[test]
    fn what_was_sent_twice_gives_a_sample_only_by_its_timestamp() {
        let mut timing = Timing::NONE;
        timing.sent(END, SENT);
        timing.resent(END);
        assert_eq!(timing.acknowledged(END, Instant::from_ns(3_000), None), None);
        timing.resent(END + 10);
        assert_eq!(timing.acknowledged(END + 10, Instant::from_ns(3_000), Some(7_000_000)), Some(7_000_000));
        timing.resent(END + 15);
        timing.sent(END + 20, SENT);
        assert_eq!(timing.acknowledged(END + 20, Instant::from_ns(4_000), None), None, "it waited for the repair");
        timing.sent(END + 20, SENT);
        assert_eq!(timing.acknowledged(END + 20, Instant::from_ns(4_000), Some(7_000_000)), Some(3_000));
    }
}
