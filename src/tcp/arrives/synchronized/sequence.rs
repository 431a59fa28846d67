//! The first check, the sequence number, and what comes before it: TIME-WAIT and PAWS (RFC 9293 3.10.7.4, RFC 6191, RFC 7323 5.3).
//!
//! Called by the checks in their order. It takes nothing in: what lies outside the window is cut off, or the segment refused. Nothing panics.

use super::{Arriving, Check, is_late_fin, may_reopen};
use crate::device::Drop;
#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::tcp::event::Disposition;
use crate::tcp::seq::SeqNum;
use crate::tcp::state::State;
use crate::tcp::tally::Happening;
use crate::wire::tcp::Flags;

impl Arriving<'_, '_> {
    /// A SYN in TIME-WAIT is judged before everything else (RFC 6191).
    pub(super) fn before_first_reopen(&mut self) -> Check {
        let only_syn = self.syn && !self.has(Flags::ACK) && !self.has(Flags::RST);
        if self.tcb.state() != State::TimeWait || !only_syn {
            return Check::Continue(());
        }
        //= rfc9293#3.6.1
        //# However, it MAY accept a new SYN from the remote TCP endpoint to reopen the connection directly from TIME-WAIT state (MAY-2)
        if may_reopen(self.tcb, self.config, self.segment) {
            self.arrival.then = Disposition::Reopen { iss_after: self.tcb.last_sequence_used() };
            return Check::Break(());
        }
        //= rfc6191#2
        //# Otherwise, silently drop the incoming SYN segment, thus leaving the previous incarnation of the connection in the
        //# TIME-WAIT state.
        self.drop(Drop::TcpSynInTimeWait)
    }

    /// PAWS (RFC 7323 5.3), before the sequence number.
    pub(super) fn before_first_check_timestamps(&mut self) -> Check {
        //= rfc7323#5.2
        //# When an <RST> segment is received, it MUST NOT be subjected to the PAWS check by verifying an acceptable value in
        //# SEG.TSval, and information from the Timestamps option MUST NOT be used to update connection state information.
        if !self.tcb.timestamps.ok || self.has(Flags::RST) {
            return Check::Continue(());
        }
        match self.segment.options.timestamps {
            //= rfc7323#3.2
            //# If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop the segment.
            None => self.drop(Drop::TcpTimestampMissing),
            //= rfc7323#5.3
            //# If there is a Timestamps option in the arriving segment, SEG.TSval < TS.Recent, TS.Recent is valid (see later
            //# discussion), and if the RST bit is not set, then treat the arriving segment as not acceptable
            Some((value, _)) if self.tcb.timestamps.is_old(value, self.now) => {
                self.answer_unacceptable(Happening::PawsRefused);
                self.drop(Drop::TcpPaws)
            }
            Some(_) => Check::Continue(()),
        }
    }

    pub(super) fn first_check_sequence_number(&mut self) -> Check {
        if self.tcb.state() == State::SynReceived && self.segment.seq == self.tcb.irs && self.syn {
            return self.own_syn_again();
        }
        let (nxt, wnd) = (self.tcb.rcv.nxt, self.tcb.rcv.wnd);
        //= rfc9293#3.5.3
        //# TCP implementations SHOULD allow a received RST segment to include data (SHLD-2).
        // A RST is acceptable by where it begins; what it carries is text for people (RFC 9293 SHLD-2).
        let len = if self.has(Flags::RST) { 0 } else { self.segment.len() };
        if is_acceptable(self.segment.seq, len, nxt, wnd) {
            self.trim();
            return Check::Continue(());
        }
        //= rfc9293#3.10.7.4
        //# If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the RST bit is set, if so drop
        //# the segment and return)
        if self.has(Flags::RST) {
            return self.drop(Drop::TcpRstIgnored);
        }
        //= rfc9293#3.10.7.4
        //# If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid ACKs, URGs,
        //# and RSTs.
        //= rfc9293#3.4
        //# A TCP receiver MUST process the RST and URG fields of all incoming segments, even when the receive window is zero
        //# (MUST-66).
        let reaches_nxt = self.segment.seq.at_or_before(nxt) && (self.segment.seq + len).after(nxt);
        if wnd == 0 && reaches_nxt && !self.syn {
            self.tcb.ack_now = true;
            self.arrival.drop = Some(Drop::TcpOutOfWindow);
            self.trim();
            return Check::Continue(());
        }
        //= rfc9293#3.10.7.4
        //# The only thing that can arrive in this state is a retransmission of the remote FIN.  Acknowledge it, and restart the 2 MSL
        //# timeout.
        if self.tcb.state() == State::TimeWait && is_late_fin(self.tcb, self.segment) {
            self.tcb.restart_time_wait(self.config, self.now);
        }
        self.answer_unacceptable(if self.syn { Happening::ChallengeSyn } else { Happening::ChallengeAck });
        self.drop(if self.syn { Drop::TcpSynChallenged } else { Drop::TcpOutOfWindow })
    }

    /// The SYN that brought us to SYN-RECEIVED, once more: alone, it asks for our SYN-ACK again; with an ACK of ours, it is the
    /// other half of a simultaneous open, and the SYN in it is old.
    fn own_syn_again(&mut self) -> Check {
        if !self.has(Flags::RST) {
            self.tcb.ecn.on_syn(self.segment.flags);
        }
        if self.has(Flags::ACK) || self.has(Flags::RST) {
            self.trim();
            self.syn = false;
            return Check::Continue(());
        }
        if self.tcb.snd.outstanding() > 0 && self.tcb.challenges.allows(self.now) {
            self.tcb.recovery.syn.due = true;
        }
        self.drop(Drop::TcpOutOfWindow)
    }

    /// Cuts off what lies outside the window, SYN and FIN included.
    pub(super) fn trim(&mut self) {
        //= rfc9293#3.10.7.4
        //# One could tailor actual segments to fit this assumption by trimming off any portions that lie outside the window
        //# (including SYN and FIN) and only processing further if the segment then begins at RCV.NXT.
        let (nxt, edge) = (self.tcb.rcv.nxt, self.tcb.rcv.nxt + self.tcb.rcv.wnd);
        let len = self.segment.payload.len();
        let begin = self.segment.seq + u32::from(self.syn);
        let end = begin + len as u32;
        let front = if begin.before(nxt) { ((nxt - begin) as usize).min(len) } else { 0 };
        let back = if end.after(edge) { ((end - edge) as usize).min(len - front) } else { 0 };
        self.new = front..len - back;
        #[cfg(test)]
        if planted::is(Bug::DeliveredTwice) && front < len - back {
            self.new = 0..len - back;
        }
        self.seq = begin + front as u32;
        self.fin &= back == 0 && end.at_or_after(nxt) && end.before(edge);
    }
}

/// The four cases of RFC 9293 table 6; and a segment that covers the whole window and more, which the table forgets.
///
/// One step wider than the RFC's table for segments without text: SEG.SEQ may also be the window's right edge itself, as it may when the
/// window is zero. That is where the pure ACKs of a peer stand that has filled our window. When both sides have, and both lost an ACK, each
/// would refuse the other's for ever.
fn is_acceptable(seq: SeqNum, len: u32, nxt: SeqNum, wnd: u32) -> bool {
    match (len, wnd) {
        (0, _) => seq.within(nxt, wnd) || seq == nxt + wnd,
        (_, 0) => false,
        _ => {
            let last = seq + (len - 1);
            seq.within(nxt, wnd) || last.within(nxt, wnd) || (seq.before(nxt) && last.after(nxt))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= type=test
    //= rfc9293#3.10.7.4
    //# There are four cases for the acceptability test for an incoming segment
    #[test]
    fn the_acceptability_table() {
        let nxt = SeqNum(u32::MAX - 1);
        // Offset of SEG.SEQ from RCV.NXT, SEG.LEN, RCV.WND, acceptable.
        let cases = [
            (0, 0, 0, true),
            (1, 0, 0, false),
            (-1, 0, 0, false),
            (0, 0, 10, true),
            (9, 0, 10, true),
            (10, 0, 10, true),
            (11, 0, 10, false),
            (-1, 0, 10, false),
            (0, 1, 0, false),
            (0, 1, 10, true),
            (9, 5, 10, true),
            (10, 5, 10, false),
            (-5, 5, 10, false),
            (-5, 6, 10, true),
            (-5, 30, 10, true),
        ];
        for (offset, len, wnd, acceptable) in cases {
            let seq = SeqNum(nxt.0.wrapping_add_signed(offset));
            assert_eq!(is_acceptable(seq, len, nxt, wnd), acceptable, "offset {offset}, length {len}, window {wnd}");
        }
    }
}
