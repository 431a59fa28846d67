//! The retransmission timeout (RFC 6298): clamped where it is made, so that every [`Rto`] is a legal one.

use super::config::Config;
use super::folded::Form;
use super::rtt::Rtt;
use crate::time::span_ns;

/// A retransmission timeout between `rto_min` and `rto_max`, not backed off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rto(u64);

impl Rto {
    /// The timeout before the first sample.
    pub(super) fn initial(config: &Config) -> Self {
        //= rfc6298#2.1
        //# Until a round-trip time (RTT) measurement has been made for a segment sent between the sender and receiver, the sender
        //# SHOULD set RTO <- 1 second
        Self::clamped(span_ns(config.rto_initial), config)
    }

    /// The timeout that follows from the samples so far.
    pub(super) fn from_rtt(rtt: &Rtt, config: &Config) -> Self {
        match rtt.srtt_ns() {
            //= rfc6298#2.3
            //# RTO <- SRTT + max (G, K*RTTVAR)
            Some(srtt_ns) => Self::clamped(srtt_ns.saturating_add(rtt.rttvar_ns().saturating_mul(4).max(GRANULARITY_NS)), config),
            None => Self::initial(config),
        }
    }

    /// The timeout for a connection whose SYN had to be sent again and that has no sample.
    pub(super) fn after_lost_syn(config: &Config) -> Self {
        //= rfc6298#5.7
        //# If the timer expires awaiting the ACK of a SYN segment and the TCP implementation is using an RTO less than 3 seconds,
        //# the RTO MUST be re-initialized to 3 seconds when data transmission begins
        Self::clamped(3_000_000_000, config)
    }

    /// The timeout in nanoseconds, doubled `backoff` times, at most `rto_max`.
    pub(super) fn backed_off_ns(self, backoff: u8, config: &Config) -> u64 {
        //= rfc9293#3.8.2
        //# A TCP endpoint MUST implement the basic congestion control algorithms slow start, congestion avoidance, and exponential
        //# backoff of RTO to avoid creating congestion collapse conditions (MUST-19).
        //= rfc6298#5.5
        //# The host MUST set RTO <- RTO * 2 ("back off the timer").
        let factor = 1u64 << backoff.min(32);
        self.0.saturating_mul(factor).min(span_ns(config.rto_max))
    }

    fn clamped(ns: u64, config: &Config) -> Self {
        // RFC 6298 2.4 asks for one second at least; the setting is 200 ms by default, which is still five times the longest
        // delayed ACK of the usual peers, and what they use themselves.
        //= rfc6298#2.5
        //# A maximum value MAY be placed on RTO provided it is at least 60 seconds.
        let max = span_ns(config.rto_max);
        Self(ns.max(span_ns(config.rto_min)).min(max))
    }

    /// Without any backoff.
    pub(super) const fn ns(self) -> u64 {
        self.0
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, rtt: &Rtt, config: &Config) {
        form.near(&mut self.0, Self::from_rtt(rtt, config).0);
    }
}

/// The clock granularity G: the tick of the engine's timer wheel at the worst.
const GRANULARITY_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Rto {
        fn backed_off(self, backoff: u8, config: &Config) -> Duration {
            Duration::from_nanos(self.backed_off_ns(backoff, config))
        }
    }

    #[test]
    fn it_is_clamped_at_both_ends() {
        let config = Config::default();
        let mut rtt = Rtt::default();
        assert_eq!(Rto::from_rtt(&rtt, &config).backed_off(0, &config), config.rto_initial);
        rtt.sample(5_000, 1);
        assert_eq!(Rto::from_rtt(&rtt, &config).backed_off(0, &config), config.rto_min);
        rtt.sample(u64::MAX, 1);
        assert_eq!(Rto::from_rtt(&rtt, &config).backed_off(0, &config), config.rto_max);
    }

    #[test]
    fn it_doubles_up_to_its_maximum() {
        let config = Config::default();
        let rto = Rto::initial(&config);
        let seconds: Vec<_> = (0..9).map(|n| rto.backed_off(n, &config).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(rto.backed_off(255, &config), config.rto_max);
    }

    #[test]
    fn the_variation_counts_four_times() {
        let config = Config::default();
        let mut rtt = Rtt::default();
        rtt.sample(300_000_000, 1);
        assert_eq!(Rto::from_rtt(&rtt, &config).backed_off(0, &config), Duration::from_millis(900));
    }
}
