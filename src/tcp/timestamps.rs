//! The timestamps of a connection and PAWS (RFC 7323 3 to 5).
//!
//! Output stamps with it, arrivals are held against it, and recovery reads the echo. It has no clock: the time is an argument. Nothing panics.

use super::folded::Form;
use super::seq::SeqNum;
#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::time::Instant;

/// Both directions' timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamps {
    /// Snd.TS.OK: both SYNs carried the option.
    pub(super) ok: bool,
    /// Added to the millisecond clock.
    offset: u32,
    /// TS.Recent.
    recent: u32,
    /// When TS.Recent was set, in seconds.
    recent_at_s: u32,
}

impl Timestamps {
    /// Not negotiated (yet).
    pub(super) const fn new(offset: u32) -> Self {
        Self { ok: false, offset, recent: 0, recent_at_s: 0 }
    }

    /// The peer's SYN says whether it wants them; `TSval` of the SYN is the first TS.Recent.
    pub(super) const fn negotiate(&mut self, offered: Option<(u32, u32)>, now: Instant) {
        if let Some((value, _)) = offered {
            self.ok = true;
            self.record(value, now);
        }
    }

    /// TSval now.
    pub(super) const fn value(&self, now: Instant) -> u32 {
        now.as_ms_wrapping().wrapping_add(self.offset)
    }

    /// What goes into the option of a segment sent now.
    pub(super) const fn option(&self, now: Instant) -> (u32, u32) {
        (self.value(now), self.recent)
    }

    /// TS.Recent.
    pub(super) const fn recent(&self) -> u32 {
        self.recent
    }

    /// True when a segment with this TSval is older than what was seen (R1), TS.Recent being valid.
    pub(super) fn is_old(&self, value: u32, now: Instant) -> bool {
        //= rfc7323#5.5
        //# If TS.Recent is found to be invalid, then the segment is accepted, regardless of the failure of the timestamp check,
        //# and rule R3 updates TS.Recent with the TSval from the new segment.
        #[cfg(test)]
        if planted::is(Bug::PawsForgotten) {
            return false;
        }
        SeqNum(value).before(SeqNum(self.recent)) && seconds(now).wrapping_sub(self.recent_at_s) <= OUTDATED_S
    }

    /// R3, for a segment that passed the other checks.
    pub(super) fn update(&mut self, value: u32, seq: SeqNum, last_ack_sent: SeqNum, now: Instant) {
        //= rfc7323#5.3
        //# If an arriving segment satisfies SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent (see Section 4.3), then record its
        //# timestamp in TS.Recent.
        if seq.at_or_before(last_ack_sent) && !self.is_old(value, now) {
            self.record(value, now);
        }
    }

    /// The age of an echoed timestamp in nanoseconds; at least one tick, since less cannot be told. `None` for what we never sent.
    pub(super) const fn echoed_ns(&self, echo: u32, now: Instant) -> Option<u64> {
        let ms = self.value(now).wrapping_sub(echo);
        // A value from the future, or absurdly old, is a peer's mistake.
        if ms > OLDEST_ECHO_MS {
            return None;
        }
        Some((if ms == 0 { 1 } else { ms }) as u64 * 1_000_000)
    }

    const fn record(&mut self, value: u32, now: Instant) {
        self.recent = value;
        self.recent_at_s = seconds(now);
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, heard: Instant) {
        let Self { ok, offset, recent, recent_at_s } = self;
        form.flag(ok);
        form.word(offset);
        if !form.same(recent, 0) {
            form.word(recent);
        }
        form.near(recent_at_s, seconds(heard));
    }
}

const fn seconds(now: Instant) -> u32 {
    (now.as_ns() / 1_000_000_000) as u32
}

/// 24 days (RFC 7323 5.5).
const OUTDATED_S: u32 = 24 * 24 * 3600;
/// An echo older than this is not a round-trip time: ten minutes.
const OLDEST_ECHO_MS: u32 = 600_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Instant = Instant::from_ns(5_000_000_000);

    fn recent(value: u32) -> Timestamps {
        let mut timestamps = Timestamps::new(u32::MAX - 100);
        timestamps.negotiate(Some((value, 0)), NOW);
        timestamps
    }

    #[test]
    fn old_is_told_across_the_wrap() {
        let timestamps = recent(u32::MAX);
        assert!(timestamps.is_old(u32::MAX - 1, NOW));
        assert!(!timestamps.is_old(u32::MAX, NOW));
        assert!(!timestamps.is_old(3, NOW));
    }

    //= type=test
    //= rfc7323#5.5
    //# We therefore require that an implementation of PAWS include a mechanism to "invalidate" the TS.Recent value when a connection
    //# is idle for more than 24 days.
    #[test]
    fn after_24_days_nothing_is_old() {
        let timestamps = recent(1000);
        assert!(timestamps.is_old(1, NOW + Duration::from_secs(24 * 24 * 3600)));
        assert!(!timestamps.is_old(1, NOW + Duration::from_secs(24 * 24 * 3600 + 1)));
    }

    #[test]
    fn only_a_segment_at_the_left_edge_is_echoed() {
        let mut timestamps = recent(1000);
        timestamps.update(1005, SeqNum(11), SeqNum(10), NOW);
        assert_eq!(timestamps.recent(), 1000);
        timestamps.update(1005, SeqNum(10), SeqNum(10), NOW);
        assert_eq!(timestamps.recent(), 1005);
        timestamps.update(1004, SeqNum(10), SeqNum(10), NOW);
        assert_eq!(timestamps.recent(), 1005);
    }

    #[test]
    fn an_echo_tells_its_age() {
        let timestamps = recent(0);
        let sent = timestamps.value(NOW);
        assert_eq!(timestamps.echoed_ns(sent, NOW + Duration::from_millis(30)), Some(30_000_000));
        assert_eq!(timestamps.echoed_ns(sent, NOW), Some(1_000_000));
        assert_eq!(timestamps.echoed_ns(sent.wrapping_add(1), NOW), None);
    }
}
