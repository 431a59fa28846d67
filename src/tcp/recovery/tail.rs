//! Tail loss probes (RFC 8985 7): when acknowledgments stay away, one segment asks for them before the retransmission timer has to.
//!
//! Called by the timers, by output when the probe leaves, and with each acknowledgment. Nothing panics.

use super::Phase;
use crate::tcp::config::Config;
use crate::tcp::congestion::{Congestion, Signal};
use crate::tcp::folded::Form;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::tcb::Tcb;
use crate::time::{Instant, span_ns};

/// The variables of RFC 8985 5.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct Tail {
    /// TLP.end_seq: SND.NXT when the probe was sent that is not acknowledged yet.
    end: Option<SeqNum>,
    /// TLP.is_retrans
    again: bool,
    /// No round-trip time was measured since the last probe.
    unsampled: bool,
    /// A probe is to be sent.
    pub(in crate::tcp) due: bool,
}

impl Tail {
    /// True when no probe is due or under way.
    #[inline]
    pub(super) const fn is_quiet(&self) -> bool {
        self.end.is_none() && !self.due
    }

    /// A round-trip time was measured.
    pub(super) const fn sampled(&mut self) {
        self.unsampled = false;
    }

    /// Forgets the probe.
    pub(super) const fn forget(&mut self) {
        //= rfc8985#7.1
        //# Reset TLP.is_retrans and TLP.end_seq when initiating a connection, fast recovery, or RTO recovery.
        self.end = None;
        self.again = false;
        self.due = false;
    }

    /// The probe has left, `again` when it carries what was sent before; SND.NXT is now `nxt`.
    pub(in crate::tcp) const fn sent(&mut self, nxt: SeqNum, again: bool) {
        *self = Self { end: Some(nxt), again, unsampled: true, due: false };
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, una: SeqNum) {
        if !form.same(self, Self::default()) {
            let Self { end, again, unsampled, due } = self;
            form.optional(end, una, |form, seq| form.near(seq, una));
            for flag in [again, unsampled, due] {
                form.flag(flag);
            }
        }
    }
}

impl Tcb {
    /// The time in nanoseconds after which a probe is to be sent; `None` when another mechanism watches over what is in flight.
    pub(in crate::tcp) fn probe_timeout_ns(&self, config: &Config) -> Option<u64> {
        //= rfc8985#7.2
        //# unless it is already in fast recovery, RTO recovery, or segments have been SACKed (i.e., RACK.segs_sacked is not zero).
        let watched = self.recovery.phase != Phase::Open || self.flight.sacked() > 0 || self.flight.lost() > 0;
        // Were the timer started although it may not send (see `on_probe_timer`), new data could put the RTO off for ever.
        let spent = self.recovery.tail.end.is_some() || self.recovery.tail.unsampled;
        if !self.offers.sack || watched || spent || self.flight.is_empty() || self.snd.wnd == 0 {
            return None;
        }
        let Some(srtt_ns) = self.rtt.srtt_ns() else {
            //= rfc8985#7.2
            //# Second, when there is no SRTT estimate available, the PTO SHOULD be 1 second.
            return Some(1_000_000_000);
        };
        //= rfc8985#7.2
        //# First, the default PTO interval is 2*SRTT.
        let mut ns = srtt_ns.saturating_mul(2);
        if self.flight.is_one_segment() {
            //= rfc8985#7.2
            //# Third, when the FlightSize is one segment, the sender MAY inflate the PTO by TLP.max_ack_delay to accommodate a potentially
            //# delayed acknowledgment and reduce the risk of spurious retransmissions.
            ns = ns.saturating_add(MAX_ACK_DELAY_NS);
        }
        // The RFC knows no least PTO. But where round trips take microseconds, twice one of them is less than what a scheduler, a garbage
        // collector or an interrupt takes from either end as a matter of course, and each time a probe would be sent for nothing.
        Some(ns.max(span_ns(config.probe_min)))
    }

    /// The probe timer expired.
    pub(in crate::tcp) fn on_probe_timer(&mut self, config: &Config, now: Instant) {
        //= rfc8985#7.3
        //# If either one of these two conditions is not met, then the sender MUST skip sending a loss probe and MUST proceed to re-arm the RTO
        //# timer, as specified at the end of this section.
        if self.probe_timeout_ns(config).is_some() {
            self.recovery.tail.due = true;
            self.noted.note(Happening::TailLossProbe);
        }
        //= rfc8985#7.3
        //# After attempting to send a loss probe, regardless of whether a loss probe was sent, the sender MUST re-arm the RTO timer, not the
        //# PTO timer, if the FlightSize is not zero.
        self.arm_send(config, now);
    }

    /// What an acknowledgment says of the probe: TLP_process_ack. `dsack_end` is the end of its DSACK block, `bare` says that it is a duplicate
    /// without any SACK option.
    pub(super) fn probe_acknowledged(&mut self, now: Instant, ack: SeqNum, dsack_end: Option<SeqNum>, bare: bool) {
        let tail = &mut self.recovery.tail;
        let Some(end) = tail.end.filter(|&end| ack.at_or_after(end)) else { return };
        if !tail.again || dsack_end == Some(end) || (ack == end && bare) {
            tail.end = None;
            return;
        }
        if ack.after(end) {
            //= rfc8985#7.4.2
            //# At that time, if the TLP.end_seq is still set and thus indicates that the TLP probe retransmission remains unacknowledged, then
            //# the sender should presume that at least one of its data segments was lost.  The sender then SHOULD invoke a congestion
            //# control response equivalent to a fast recovery.
            tail.end = None;
            if self.recovery.phase == Phase::Open {
                self.noted.note(Happening::TailLossRepaired);
                self.congestion.on_congestion(Signal::Loss, self.snd.outstanding().max(self.payload_max()), now);
                self.congestion.on_recovered(self.congestion.threshold().min(i32::MAX as u32));
            }
        }
    }
}

/// TLP.max_ack_delay: a little more than the 40 ms by which the usual peers delay an ACK at most.
const MAX_ACK_DELAY_NS: u64 = 50_000_000;
