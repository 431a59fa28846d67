//! The round-trip time of a connection (RFC 6298 2 and 3).
//!
//! Samples come from our own send times, in nanoseconds; over retransmissions, where those are ambiguous, from the echoed
//! timestamp, in milliseconds.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_counts_whole_and_later_ones_an_eighth() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.srtt_ns(), None);
        rtt.sample(8_000);
        assert_eq!((rtt.srtt_ns(), rtt.rttvar_ns()), (Some(8_000), 4_000));
        rtt.sample(16_000);
        assert_eq!((rtt.srtt_ns(), rtt.rttvar_ns()), (Some(9_000), 5_000));
    }
}
