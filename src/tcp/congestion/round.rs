//! Round trips, counted by what is delivered.
//!
//! A round ends when something is acknowledged that was sent after the round began (draft-cardwell-iccrg-bbr-congestion-control-00 4.1.1.3;
//! RFC 9406 4.2 says the same with SND.NXT). Asked by the algorithms with each ACK; nothing panics.

use super::Acked;
use crate::tcp::folded::Form;

/// Where the present round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rounds {
    /// The count of delivered bytes at the begin of the round, when transmissions are stamped with it.
    begin: Option<u32>,
    /// Bytes delivered up to the last stamped ACK.
    delivered: Option<u32>,
    /// Without stamps: bytes in flight at the begin that are not yet acknowledged.
    left: u32,
    /// Rounds so far; wraps.
    count: u32,
}

impl Rounds {
    /// Before the first.
    pub(super) const NEW: Self = Self { begin: None, delivered: None, left: 0, count: 0 };

    /// True when this ACK begins a new round.
    pub(super) fn passed(&mut self, acked: &Acked) -> bool {
        let over = match (acked.rate, self.begin) {
            (Some(sample), Some(begin)) => sample.prior_delivered.wrapping_sub(begin) as i32 >= 0,
            _ => acked.delivered >= self.left,
        };
        self.left = self.left.saturating_sub(acked.delivered);
        self.delivered = acked.rate.map(|sample| sample.delivered).or(self.delivered);
        if over {
            self.left = acked.in_flight.saturating_sub(acked.delivered);
            self.begin = self.delivered;
            self.count = self.count.wrapping_add(1);
        }
        over
    }

    /// A new round begins now, with this much in flight.
    pub(super) const fn begin_anew(&mut self, in_flight: u32) {
        if let Some(delivered) = self.delivered {
            self.begin = Some(delivered);
        }
        self.left = in_flight;
    }

    /// Rounds so far; wraps.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        if form.same(self, Self::NEW) {
            return;
        }
        let Self { begin, delivered, left, count } = self;
        for count in [begin, delivered] {
            form.optional(count, 0, |form, count| form.near(count, 0));
        }
        form.near(left, 0);
        form.near(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::acked;
    use super::*;
    use crate::tcp::rate::Sample;

    #[test]
    fn a_round_is_what_was_in_flight_at_its_begin() {
        let mut rounds = Rounds::NEW;
        assert!(rounds.passed(&acked(1000, 5000)));
        let passed: Vec<_> = (0..8).map(|_| rounds.passed(&acked(1000, 5000))).collect();
        assert_eq!(passed, [false, false, false, true, false, false, false, true]);
        assert_eq!(rounds.count(), 3);
    }

    #[test]
    fn stamps_tell_rounds_across_the_wrap() {
        let mut rounds = Rounds::NEW;
        let begin = u32::MAX - 500;
        let mut pass = |delivered: u32, prior_delivered: u32| {
            let sample = Sample { bytes: 1, interval_ns: 1, prior_delivered, delivered, limited: false };
            rounds.passed(&Acked { rate: Some(sample), ..acked(1000, 3000) })
        };
        assert!(pass(begin, begin.wrapping_sub(3000)));
        assert!(!pass(begin.wrapping_add(1000), begin.wrapping_sub(2000)));
        assert!(!pass(begin.wrapping_add(2000), begin.wrapping_sub(1000)));
        assert!(pass(begin.wrapping_add(3000), begin));
    }
}
