//! The round-trip time of a connection (RFC 6298 2 and 3).
//!
//! Samples come from our own send times, in nanoseconds; over retransmissions, where those are ambiguous, from the echoed
//! timestamp, in milliseconds.

use super::folded::Form;

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

    /// Takes a sample in, one of `expected` in a round trip.
    pub(super) fn sample(&mut self, ns: u64, expected: u32) {
        if self.sampled {
            //= rfc7323#G
            //# alpha' = alpha / ExpectedSamples
            //= rfc7323#G
            //# beta' = beta / ExpectedSamples
            let share = u64::from(expected.max(1));
            //= rfc6298#2.3
            //# RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|
            //# SRTT <- (1 - alpha) * SRTT + alpha * R'
            let difference_ns = self.srtt_ns.abs_diff(ns);
            if share == 1 {
                // As where little is in flight; without a division.
                self.rttvar_ns = self.rttvar_ns - self.rttvar_ns / 4 + difference_ns / 4;
                self.srtt_ns = self.srtt_ns - self.srtt_ns / 8 + ns / 8;
                return;
            }
            self.rttvar_ns = self.rttvar_ns - self.rttvar_ns / (4 * share) + difference_ns / (4 * share);
            self.srtt_ns = self.srtt_ns - self.srtt_ns / (8 * share) + ns / (8 * share);
        } else {
            //= rfc6298#2.2
            //# SRTT <- R
            //# RTTVAR <- R/2
            self.srtt_ns = ns;
            self.rttvar_ns = ns / 2;
            self.sampled = true;
        }
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        let Self { srtt_ns, rttvar_ns, sampled } = self;
        form.flag(sampled);
        form.near(srtt_ns, 0);
        form.near(rttvar_ns, *srtt_ns / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_counts_whole_and_later_ones_an_eighth() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.srtt_ns(), None);
        rtt.sample(8_000, 1);
        assert_eq!((rtt.srtt_ns(), rtt.rttvar_ns()), (Some(8_000), 4_000));
        rtt.sample(16_000, 1);
        assert_eq!((rtt.srtt_ns(), rtt.rttvar_ns()), (Some(9_000), 5_000));
    }

    //= type=test
    //= rfc7323#G
    //# ExpectedSamples = ceiling(FlightSize / (SMSS * 2))
    #[test]
    fn many_samples_in_a_round_trip_weigh_as_much_as_one() {
        let (mut one, mut many) = (Rtt::default(), Rtt::default());
        one.sample(80_000, 1);
        many.sample(80_000, 1);
        one.sample(160_000, 1);
        (0..10).for_each(|_| many.sample(160_000, 10));
        let (one, many) = (one.srtt_ns().unwrap(), many.srtt_ns().unwrap());
        assert!(many > one * 19 / 20 && many <= one, "{one} and {many}");
    }
}
