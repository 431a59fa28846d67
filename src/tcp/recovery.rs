//! Loss recovery: fast retransmit and NewReno (RFC 5681 3.2, RFC 6582), go-back after a timeout.
//!
//! Called with each acknowledgment and each retransmission timeout; decides what is to be sent again and how far the window is
//! inflated meanwhile. What is to be sent again is one range of sequence numbers, from SND.UNA on, that `output` works off;
//! SND.NXT never goes back.

use super::congestion::{Acked, Congestion, Signal};
use super::seq::SeqNum;
use super::tally::Happening;
use super::tcb::Tcb;
use crate::time::Instant;

/// The state of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovery {
    /// To be sent again: from here ...
    pub(super) resend: SeqNum,
    /// ... up to here; nothing when equal.
    pub(super) resend_end: SeqNum,
    /// The highest sequence number sent when the last loss was found (RFC 6582 "recover").
    recover: SeqNum,
    /// In fast recovery.
    pub(super) fast: bool,
    duplicates: u8,
    /// Segments that have left the network although SND.UNA did not move, in bytes.
    pub(super) inflation: u32,
}

impl Recovery {
    /// For a connection that has sent nothing.
    pub(super) fn new(iss: SeqNum) -> Self {
        // RFC 6582 begins with the ISS, which keeps fast retransmit from repairing a loss of the very first segment; there is
        // nothing before it that could be confused with it.
        Self { resend: iss, resend_end: iss, recover: iss - 1, fast: false, duplicates: 0, inflation: 0 }
    }

    /// True when something is to be sent again.
    pub(super) const fn pending(&self) -> bool {
        self.resend.before(self.resend_end)
    }

    /// Everything from `from` up to `to` is to be sent again.
    pub(super) const fn send_again(&mut self, from: SeqNum, to: SeqNum) {
        self.resend = from;
        self.resend_end = to;
    }

    /// A resent segment that ends before `end` has left.
    pub(super) const fn sent_again(&mut self, end: SeqNum) {
        self.resend = self.resend.latest(end);
    }
}

impl Tcb {
    /// Bytes believed to be in the network.
    pub(super) fn in_flight(&self) -> u32 {
        let waiting = if self.recovery.pending() { self.recovery.resend_end - self.recovery.resend } else { 0 };
        self.snd.outstanding().saturating_sub(waiting)
    }

    /// SND.UNA has moved over `bytes` of data; `in_flight` was there before.
    pub(super) fn recover_on_ack(&mut self, now: Instant, bytes: u32, in_flight: u32) {
        let una = self.snd.una;
        let recovery = &mut self.recovery;
        recovery.duplicates = 0;
        recovery.resend = recovery.resend.latest(una);
        if !recovery.fast {
            let srtt_ns = self.rtt.srtt_ns();
            let (rtt_ns, rate) = (None, None);
            self.congestion.on_ack(&Acked {
                bytes,
                delivered: bytes,
                in_flight,
                now,
                srtt_ns,
                rtt_ns,
                rate,
                recovering: false,
                lost: 0,
            });
            return;
        }
        if una.after(recovery.recover) {
            //= rfc6582#3.2
            //# If this ACK acknowledges all of the data up to and including recover, then the ACK acknowledges all the
            //# intermediate segments sent between the original transmission of the lost segment and the receipt of the third
            //# duplicate ACK.
            recovery.fast = false;
            recovery.inflation = 0;
            recovery.send_again(una, una);
            self.congestion.on_recovered(self.snd.outstanding());
            return;
        }
        //= rfc6582#3.2
        //# In this case, retransmit the first unacknowledged segment.  Deflate the congestion window by the amount of new data
        //# acknowledged by the Cumulative Acknowledgment field.  If the partial ACK acknowledges at least one SMSS of new data,
        //# then add back SMSS bytes to the congestion window.
        self.noted.note(Happening::PartialAck);
        let segment = self.payload_max();
        let recovery = &mut self.recovery;
        recovery.inflation = recovery.inflation.saturating_sub(bytes);
        if bytes >= segment {
            recovery.inflation += segment;
        }
        recovery.send_again(una, self.snd.nxt.earliest(una + segment));
    }

    /// A duplicate acknowledgment arrived.
    pub(super) fn recover_on_duplicate(&mut self, now: Instant) {
        let segment = self.payload_max();
        let recovery = &mut self.recovery;
        recovery.duplicates = recovery.duplicates.saturating_add(1);
        if recovery.fast {
            //= rfc5681#3.2
            //# For each additional duplicate ACK received (after the third), cwnd MUST be incremented by SMSS.
            // Never by more than is outstanding: duplicates can be forged (RFC 5681 3.2, note).
            recovery.inflation = (recovery.inflation + segment).min(self.snd.outstanding());
            return;
        }
        //= rfc6582#3.2
        //# When the third duplicate ACK is received, the TCP sender first checks the value of recover to see if the Cumulative
        //# Acknowledgment field covers more than recover.
        if recovery.duplicates != DUPLICATES || !(self.snd.una - 1).after(recovery.recover) {
            return;
        }
        let in_flight = self.snd.outstanding();
        recovery.recover = self.snd.nxt - 1;
        recovery.fast = true;
        //= rfc5681#3.2
        //# The lost segment starting at SND.UNA MUST be retransmitted and cwnd set to ssthresh plus 3*SMSS.
        recovery.send_again(self.snd.una, self.snd.nxt.earliest(self.snd.una + segment));
        recovery.inflation = u32::from(DUPLICATES) * segment;
        self.noted.note(Happening::FastRetransmit);
        self.congestion.on_congestion(Signal::Loss, in_flight, now);
    }

    /// The retransmission timer expired: everything outstanding is to be sent again, as the window allows.
    pub(super) fn recover_on_timeout(&mut self, now: Instant, first: bool) {
        self.congestion.on_timeout(self.in_flight(), first, now);
        let recovery = &mut self.recovery;
        //= rfc6582#3.2
        //# After a retransmit timeout, record the highest sequence number transmitted in the variable recover, and exit the fast
        //# recovery procedure if applicable.
        recovery.recover = self.snd.nxt - 1;
        recovery.fast = false;
        recovery.duplicates = 0;
        recovery.inflation = 0;
        recovery.send_again(self.snd.una, self.snd.nxt);
    }
}

/// Duplicate acknowledgments that mean a loss (RFC 5681 3.2).
const DUPLICATES: u8 = 3;
