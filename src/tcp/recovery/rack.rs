//! RACK: what was sent well before something that has arrived is lost (RFC 8985 6).
//!
//! Told of each delivery while an acknowledgment is taken in; afterwards, and when its timer expires, it judges what is still under way. Values
//! and arithmetic; nothing panics.

use std::time::Duration;

use super::flight::{Judgement, Record};
use crate::tcp::folded::Form;
use crate::tcp::seq::SeqNum;
use crate::time::Instant;

/// The variables of RFC 8985 5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) struct Rack {
    /// RACK.xmit_ts
    sent: Instant,
    /// RACK.end_seq
    end: SeqNum,
    /// RACK.rtt
    rtt_ns: u64,
    /// RACK.min_RTT
    least: LeastRtt,
    /// RACK.fack
    fack: SeqNum,
    /// RACK.reordering_seen
    pub(super) reordering: bool,
    /// RACK.dsack_round
    dsack_round: Option<SeqNum>,
    /// RACK.reo_wnd_mult
    factor: u8,
    /// RACK.reo_wnd_persist
    persist: u8,
}

/// What one acknowledgment says to RACK.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Newest(Option<(Instant, SeqNum)>);

impl Rack {
    /// For a connection whose first byte of data is `start`.
    pub(super) const fn new(start: SeqNum) -> Self {
        Self {
            sent: Instant::ZERO,
            end: start,
            rtt_ns: 0,
            least: LeastRtt::NONE,
            fack: start,
            reordering: false,
            dsack_round: None,
            factor: 1,
            persist: PERSIST,
        }
    }

    /// A round-trip time was measured.
    pub(super) fn sample(&mut self, ns: u64, now: Instant) {
        //= rfc8985#6.2
        //# The sender SHOULD track a windowed min-filtered estimate of recent RTT measurements that can adapt when migrating to
        //# significantly longer paths rather than tracking a simple global minimum of all RTT measurements.
        self.least.sample(ns, now);
        if self.rtt_ns == 0 {
            self.rtt_ns = ns;
        }
    }

    /// RACK.min_RTT in nanoseconds; 0: none was measured.
    pub(super) fn least_rtt_ns(&self) -> u64 {
        self.least.ns().unwrap_or(0)
    }

    /// A stretch was delivered; `is_old` when the echoed timestamp shows that it was not the last transmission that arrived. Called in ascending
    /// order of sequence numbers.
    pub(super) fn delivered(&mut self, record: &Record, is_old: bool, now: Instant, newest: &mut Newest) {
        //= rfc8985#6.2
        //# If a never-retransmitted segment that's below RACK.fack is (selectively or cumulatively) acknowledged, it has been delivered out of
        //# order.
        if record.end.after(self.fack) {
            self.fack = record.end;
        } else if record.end.before(self.fack) && !record.is_again() {
            self.reordering = true;
        }
        //= rfc8985#6.2
        //# To avoid spurious inferences, ignore a segment as invalid if any of its sequence range has been retransmitted before and if either
        //# of two conditions is true:
        if record.is_again() && (is_old || now.ns_since(record.sent) < self.least.ns().unwrap_or(0)) {
            return;
        }
        if newest.0.is_none_or(|(sent, end)| sent_after(record.sent, record.end, sent, end)) {
            newest.0 = Some((record.sent, record.end));
        }
    }

    /// All deliveries of an acknowledgment are told.
    pub(super) fn delivered_all(&mut self, newest: Newest, now: Instant) {
        let Some((sent, end)) = newest.0 else { return };
        self.rtt_ns = now.ns_since(sent);
        if sent_after(sent, end, self.sent, self.end) {
            (self.sent, self.end) = (sent, end);
        }
    }

    /// A DSACK came, with SND.NXT where it is.
    pub(super) const fn dsack(&mut self, nxt: SeqNum) {
        //= rfc8985#6.2
        //# The RACK.reo_wnd increases linearly for every round trip in which the sender receives some DSACK option
        if self.dsack_round.is_none() {
            self.dsack_round = Some(nxt);
            self.factor = self.factor.saturating_add(1);
            self.persist = PERSIST;
        }
    }

    /// SND.UNA is at `una`.
    pub(super) fn acknowledged(&mut self, una: SeqNum) {
        if self.dsack_round.is_some_and(|round| una.at_or_after(round)) {
            self.dsack_round = None;
        }
    }

    /// A fast or timeout recovery is over.
    pub(super) const fn recovered(&mut self) {
        //= rfc8985#6.2
        //# Therefore, RACK persists using the inflated RACK.reo_wnd for up to 16 loss recoveries, after which it resets RACK.reo_wnd to its
        //# starting value, min_RTT / 4.
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.factor = 1;
        }
    }

    /// What was believed lost was only late: whatever was concluded from the newest delivery is not to be concluded again.
    pub(super) const fn mistaken(&mut self) {
        self.sent = Instant::ZERO;
    }

    /// RACK.reo_wnd in nanoseconds. `hasty` when recovery goes on or three segments are reported received.
    pub(super) fn window_ns(&self, hasty: bool, srtt_ns: u64) -> u64 {
        //= rfc8985#3.3.2
        //# The reordering window SHOULD be set to zero if no reordering has been observed on the connection so far, and either (a) three
        //# segments have been SACKed since the last recovery or (b) the sender is already in fast or RTO recovery.
        if hasty && !self.reordering {
            return 0;
        }
        //= rfc8985#3.3.2
        //# The RACK reordering window MUST be bounded, and this bound SHOULD be SRTT.
        (u64::from(self.factor) * (self.least.ns().unwrap_or(0) / 4)).min(srtt_ns)
    }

    /// What is to be thought of a record, with a reordering window of `window_ns`. `wait` grows to the time after which all that are not lost yet
    /// will be.
    pub(super) fn judge(&self, record: &Record, window_ns: u64, now: Instant, wait: &mut Duration) -> Judgement {
        if !sent_after(self.sent, self.end, record.sent, record.end) {
            // Whatever follows one that was sent once only was sent after it.
            return if record.is_again() { Judgement::Open } else { Judgement::Stop };
        }
        if !record.is_under_way() {
            return Judgement::Open;
        }
        //= rfc8985#6.2
        //# Segment.xmit_ts + RACK.rtt + RACK.reo_wnd - now <= 0
        let due = self.due(record, window_ns);
        if due <= now {
            return Judgement::Lost;
        }
        *wait = (*wait).max(due.since(now));
        Judgement::Open
    }

    /// When a record is lost unless it is reported.
    pub(super) fn due(&self, record: &Record, window_ns: u64) -> Instant {
        record.sent.after_ns(self.rtt_ns.saturating_add(window_ns))
    }

    /// What a rest leaves when everything up to `una` is acknowledged: the next delivery says what was sent last and how long its round trip
    /// took. Until then a round trip is the smoothed one.
    pub(super) fn rest(&mut self, una: SeqNum, srtt_ns: u64) {
        self.least.rest();
        *self = Self {
            dsack_round: self.dsack_round,
            reordering: self.reordering,
            factor: self.factor,
            persist: self.persist,
            ..self.at_rest(una, srtt_ns)
        };
    }

    /// That of a connection that has never seen anything out of order, after a rest, with the least round-trip time of this one.
    pub(super) fn at_rest(&self, una: SeqNum, srtt_ns: u64) -> Self {
        Self { sent: Instant::ZERO, end: una, fack: una, rtt_ns: srtt_ns, least: self.least, ..Self::new(una) }
    }

    /// The pass over the least round-trip time.
    pub(super) fn pass_least(&mut self, form: &mut impl Form, srtt_ns: u64, heard: Instant) {
        if form.same(&mut self.least, LeastRtt::NONE) {
            return;
        }
        let LeastRtt { now_ns, before_ns, since } = &mut self.least;
        form.near(now_ns, srtt_ns);
        form.near(before_ns, u64::MAX);
        form.coarse(since, heard, SINCE_BITS);
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, una: SeqNum, srtt_ns: u64) {
        // The least has been seen by `pass_least`.
        let Self { sent, end, rtt_ns, least: _, fack, reordering, dsack_round, factor, persist } = self;
        form.near(sent, Instant::ZERO);
        form.near(end, una);
        form.near(rtt_ns, srtt_ns);
        form.near(fack, *end);
        form.flag(reordering);
        form.optional(dsack_round, una, |form, seq| form.near(seq, una));
        form.near(factor, 1);
        form.near(persist, PERSIST);
    }
}

/// RACK_sent_after (RFC 8985 6.2).
fn sent_after(a: Instant, a_end: SeqNum, b: Instant, b_end: SeqNum) -> bool {
    a > b || (a == b && a_end.after(b_end))
}

/// The least round-trip time of the last five to ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LeastRtt {
    /// Of the span that runs, and of the one before; `u64::MAX`: none.
    now_ns: u64,
    before_ns: u64,
    since: Instant,
}

impl LeastRtt {
    const NONE: Self = Self { now_ns: u64::MAX, before_ns: u64::MAX, since: Instant::ZERO };

    fn sample(&mut self, ns: u64, now: Instant) {
        if now.ns_since(self.since) >= SPAN_NS {
            self.before_ns = self.now_ns;
            self.now_ns = u64::MAX;
            self.since = now;
        }
        self.now_ns = self.now_ns.min(ns);
    }

    /// What a rest leaves: the least time of the span that runs, if it has any, for as long as ever, less half a second.
    fn rest(&mut self) {
        *self = Self { now_ns: self.ns_of_late(), before_ns: u64::MAX, since: self.since };
        self.since = Instant::from_ns(self.since.as_ns() >> SINCE_BITS << SINCE_BITS);
    }

    const fn ns_of_late(&self) -> u64 {
        if self.now_ns < u64::MAX { self.now_ns } else { self.before_ns }
    }

    fn ns(&self) -> Option<u64> {
        let least = self.now_ns.min(self.before_ns);
        (least < u64::MAX).then_some(least)
    }
}

/// RACK.reo_wnd_persist after a DSACK.
const PERSIST: u8 = 16;
const SPAN_NS: u64 = 5_000_000_000;
/// Of a rest: when the span began is kept to 0.54 s.
const SINCE_BITS: u32 = 29;

#[cfg(test)]
mod tests {
    use super::*;

    fn at_s(seconds: u64) -> Instant {
        Instant::from_ns(seconds * 1_000_000_000)
    }

    #[test]
    fn the_least_time_is_forgotten_after_ten_seconds() {
        let mut least = LeastRtt::NONE;
        assert_eq!(least.ns(), None);
        least.sample(5_000, at_s(10));
        least.sample(9_000, at_s(14));
        assert_eq!(least.ns(), Some(5_000));
        least.sample(9_000, at_s(16));
        assert_eq!(least.ns(), Some(5_000));
        least.sample(9_000, at_s(22));
        assert_eq!(least.ns(), Some(9_000));
    }

    //= type=test
    //= rfc8985#6.2
    //# after N round trips in which a DSACK is received, the RACK.reo_wnd becomes (N+1) * min_RTT / 4, with an upper-bound of SRTT.
    #[test]
    fn the_window_grows_with_each_round_that_sees_a_dsack_and_shrinks_after_16_recoveries() {
        let mut rack = Rack::new(SeqNum(0));
        rack.sample(4_000, at_s(1));
        rack.reordering = true;
        assert_eq!(rack.window_ns(true, 5_000), 1_000);
        for round in 1..6u32 {
            rack.dsack(SeqNum(round * 100));
            rack.dsack(SeqNum(round * 100));
            rack.acknowledged(SeqNum(round * 100));
            assert_eq!(rack.window_ns(true, 5_000), (1_000 * u64::from(round + 1)).min(5_000), "round {round}");
        }
        (0..15).for_each(|_| rack.recovered());
        assert_eq!(rack.window_ns(true, 5_000), 5_000);
        rack.recovered();
        assert_eq!(rack.window_ns(true, 5_000), 1_000);
    }

    #[test]
    fn without_reordering_there_is_no_window_once_three_segments_are_reported() {
        let mut rack = Rack::new(SeqNum(0));
        rack.sample(4_000, at_s(1));
        assert_eq!((rack.window_ns(false, 5_000), rack.window_ns(true, 5_000)), (1_000, 0));
    }
}
