//! How fast data is delivered: the samples that congestion control which models the path needs.
//!
//! Every transmission is stamped with what had been delivered when it left ([`Rate::stamp`]); when it is acknowledged, by SEG.ACK or by SACK,
//! the difference over the time between is a rate. The longer of the sending and the acknowledging interval counts, so that neither a burst of
//! ACKs nor one of segments looks faster than the path is (Cardwell, Cheng, Yeganeh, Jacobson: BBR Congestion Control, "Delivery Rate
//! Samples"). A sample over a time in which the application had nothing to send says so. Called by the scoreboard; nothing panics.

use super::folded::Form;
use crate::time::Instant;

/// What a connection has delivered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes acknowledged, by SEG.ACK or SACK; wraps.
    delivered: u32,
    /// When the last of them were.
    delivered_at: Instant,
    /// When the newest transmission among them was sent: the begin of the sending interval of the next sample.
    first_sent: Instant,
    /// Not zero while what is in flight was held back by the application: up to this count of delivered bytes samples are marked.
    limited_until: Option<u32>,
    /// The best choice among what the current ACK delivers: the transmission sent last.
    chosen: Option<(Stamp, Instant)>,
    /// Bytes the current ACK has delivered.
    newly: u32,
}

/// What stands beside each transmission until it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    delivered: u32,
    delivered_at: Instant,
    first_sent: Instant,
    limited: bool,
}

/// The rate that one ACK shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Bytes delivered over the interval.
    pub bytes: u32,
    /// The interval.
    pub interval_ns: u64,
    /// Bytes that had been delivered, modulo 2^32, when the newest transmission acknowledged now was sent: a round trip is over when this
    /// passes the count at its begin.
    pub prior_delivered: u32,
    /// Bytes delivered so far, modulo 2^32.
    pub delivered: u32,
    /// The application had too little to send: the path may be faster.
    pub limited: bool,
}

impl Sample {
    /// Bytes a second.
    pub fn bytes_per_second(&self) -> u64 {
        u64::try_from(u128::from(self.bytes) * 1_000_000_000 / u128::from(self.interval_ns.max(1))).unwrap_or(u64::MAX)
    }
}

impl Rate {
    /// For a connection that has sent nothing.
    pub const NONE: Self = Self {
        delivered: 0,
        delivered_at: Instant::ZERO,
        first_sent: Instant::ZERO,
        limited_until: None,
        chosen: None,
        newly: 0,
    };

    /// Stamps a transmission that leaves now, with `idle` when nothing else is in flight.
    pub fn stamp(&mut self, now: Instant, idle: bool) -> Stamp {
        if idle {
            self.first_sent = now;
            self.delivered_at = now;
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            limited: self.limited_until.is_some(),
        }
    }

    /// The application has nothing more to send although windows would allow it; `in_flight` bytes are under way.
    pub fn limited_by_application(&mut self, in_flight: u32) {
        self.limited_until = Some(self.delivered.wrapping_add(in_flight.max(1)));
    }

    /// A transmission of `bytes`, stamped `stamp` and sent at `sent`, is acknowledged for the first time.
    pub fn deliver(&mut self, bytes: u32, stamp: &Stamp, sent: Instant, now: Instant) {
        self.delivered = self.delivered.wrapping_add(bytes);
        self.delivered_at = now;
        self.newly = self.newly.saturating_add(bytes);
        if self.chosen.is_none_or(|(_, chosen)| sent >= chosen) {
            self.chosen = Some((*stamp, sent));
        }
    }

    /// Ends the processing of an ACK: the bytes it delivered, and its sample if it delivered any. One over less than the least round-trip
    /// time `min_rtt_ns` measures something that was sent once more for nothing (the same draft, GenerateRateSample).
    pub fn finish(&mut self, min_rtt_ns: u64) -> (u32, Option<Sample>) {
        let newly = std::mem::take(&mut self.newly);
        let Some((stamp, sent)) = self.chosen.take() else { return (newly, None) };
        self.first_sent = sent;
        if self.limited_until.is_some_and(|until| self.delivered.wrapping_sub(until) as i32 > 0) {
            self.limited_until = None;
        }
        let sending = sent.ns_since(stamp.first_sent);
        let acknowledging = self.delivered_at.ns_since(stamp.delivered_at);
        let sample = Sample {
            bytes: self.delivered.wrapping_sub(stamp.delivered),
            interval_ns: sending.max(acknowledging),
            prior_delivered: stamp.delivered,
            delivered: self.delivered,
            limited: stamp.limited,
        };
        (newly, (sample.interval_ns >= min_rtt_ns.max(1)).then_some(sample))
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, heard: Instant, sent: Instant) {
        if form.same(self, Self::NONE) {
            return;
        }
        let Self { delivered, delivered_at, first_sent, limited_until, chosen, newly } = self;
        form.near(delivered, 0);
        form.near(delivered_at, heard);
        form.near(first_sent, sent);
        form.optional(limited_until, *delivered, |form, until| form.near(until, delivered.wrapping_add(1)));
        let blank = Stamp { delivered: 0, delivered_at: Instant::ZERO, first_sent: Instant::ZERO, limited: false };
        form.optional(chosen, (blank, Instant::ZERO), |form, (stamp, at)| {
            form.near(&mut stamp.delivered, *delivered);
            form.near(&mut stamp.delivered_at, *delivered_at);
            form.near(&mut stamp.first_sent, *first_sent);
            form.flag(&mut stamp.limited);
            form.near(at, *first_sent);
        });
        form.near(newly, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Instant = Instant::from_ns(1_000_000_000);

    fn at_ms(ms: u64) -> Instant {
        START + Duration::from_millis(ms)
    }

    #[test]
    fn a_flight_acknowledged_evenly_shows_the_rate_of_the_path() {
        let mut rate = Rate::NONE;
        let stamps: Vec<_> = (0..10).map(|n| rate.stamp(START, n == 0)).collect();
        // 10 ms round trip, then a segment of 1000 bytes each millisecond: a million bytes a second.
        let mut last = None;
        for (n, stamp) in stamps.iter().enumerate() {
            rate.deliver(1000, stamp, START, at_ms(10 + n as u64));
            last = rate.finish(0).1;
        }
        let sample = last.unwrap();
        assert_eq!((sample.bytes, sample.interval_ns, sample.limited), (10_000, 19_000_000, false));
        assert_eq!(sample.bytes_per_second(), 526_315);
    }

    #[test]
    fn compressed_acks_do_not_look_faster_than_the_sending() {
        let mut rate = Rate::NONE;
        let first = rate.stamp(START, true);
        let second = rate.stamp(at_ms(10), false);
        rate.deliver(1000, &first, START, at_ms(20));
        rate.deliver(1000, &second, at_ms(10), at_ms(20));
        let (newly, sample) = rate.finish(0);
        assert_eq!((newly, sample.unwrap().interval_ns), (2000, 20_000_000));
    }

    #[test]
    fn a_sample_over_a_lull_of_the_application_says_so() {
        let mut rate = Rate::NONE;
        rate.limited_by_application(500);
        let marked = rate.stamp(START, true);
        rate.deliver(1000, &marked, START, at_ms(5));
        assert!(rate.finish(0).1.unwrap().limited);
        let free = rate.stamp(at_ms(5), true);
        rate.deliver(1000, &free, at_ms(5), at_ms(10));
        assert!(!rate.finish(0).1.unwrap().limited);
    }

    #[test]
    fn a_sample_over_less_than_a_round_trip_is_none() {
        let mut rate = Rate::NONE;
        let stamp = rate.stamp(at_ms(10), true);
        rate.deliver(10_000, &stamp, at_ms(10), at_ms(11));
        assert_eq!(rate.finish(2_000_000), (10_000, None));
        let stamp = rate.stamp(at_ms(20), true);
        rate.deliver(10_000, &stamp, at_ms(20), at_ms(22));
        assert!(rate.finish(2_000_000).1.is_some());
    }

    #[test]
    fn an_ack_that_delivers_nothing_has_no_sample() {
        assert_eq!(Rate::NONE.clone().finish(0), (0, None));
    }
}
