//! A segment in SYN-RECEIVED and the synchronized states (RFC 9293 3.10.7.4): eight checks, one function each, in order.

use std::ops::{ControlFlow, Range};

use super::text;
use super::time_wait::{is_late_fin, may_reopen};
use crate::device::Drop;
#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::tcp::config::Config;
use crate::tcp::event::{Arrival, Disposition, Events};
use crate::tcp::pool::BufferPool;
use crate::tcp::seq::SeqNum;
use crate::tcp::state::{Cause, State};
use crate::tcp::tally::Happening;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Segment};

/// All checks, until one ends the processing.
pub(super) fn arrives(tcb: &mut Tcb, config: &Config, now: Instant, segment: &Segment<'_>, pool: &mut BufferPool) -> Arrival {
    let mut arriving = Arriving::new(tcb, config, now, segment, pool);
    let _ = arriving.checks();
    arriving.arrival
}

/// A segment on its way through the checks.
pub(super) struct Arriving<'t, 's> {
    tcb: &'t mut Tcb,
    config: &'t Config,
    now: Instant,
    segment: &'t Segment<'s>,
    pool: &'t mut BufferPool,
    /// Where the part inside the window begins.
    seq: SeqNum,
    /// The part of the payload inside the window.
    new: Range<usize>,
    /// A SYN, or FIN, inside the window.
    syn: bool,
    fin: bool,
    pub(super) arrival: Arrival,
}

/// `Break` ends the processing of the segment.
type Check = ControlFlow<()>;

impl<'t, 's> Arriving<'t, 's> {
    fn new(tcb: &'t mut Tcb, config: &'t Config, now: Instant, segment: &'t Segment<'s>, pool: &'t mut BufferPool) -> Self {
        let arrival = Arrival { payload: 0..0, events: Events::NONE, drop: None, then: Disposition::Stay };
        let syn = segment.flags.contains(Flags::SYN);
        let fin = segment.flags.contains(Flags::FIN);
        let new = 0..segment.payload.len();
        Self { tcb, config, now, segment, pool, seq: segment.seq, new, syn, fin, arrival }
    }

    /// A SYN-ACK whose SYN and ACK have been dealt with in SYN-SENT.
    pub(super) fn after_syn(
        tcb: &'t mut Tcb,
        config: &'t Config,
        now: Instant,
        segment: &'t Segment<'s>,
        pool: &'t mut BufferPool,
    ) -> Self {
        let mut arriving = Self::new(tcb, config, now, segment, pool);
        arriving.trim();
        arriving.syn = false;
        arriving
    }

    /// The checks from the sixth on.
    pub(super) fn checks_from_sixth(mut self) -> Arrival {
        let _ = self.last_checks();
        self.arrival
    }

    fn checks(&mut self) -> Check {
        self.before_first_reopen()?;
        self.before_first_check_timestamps()?;
        self.first_check_sequence_number()?;
        self.second_check_rst()?;
        // Third, check security: there is none.
        self.fourth_check_syn()?;
        self.fifth_check_ack()?;
        self.last_checks()
    }

    fn last_checks(&mut self) -> Check {
        self.sixth_check_urg();
        if self.tcb.state() == State::FinWait2 && (!self.tcb.unreadable || self.tcb.timers.time_wait == Instant::NEVER) {
            // The RFC sets no limit here, but a peer that vanished after it acknowledged our FIN would hold the TCB for ever. When nobody
            // reads any more, only its FIN is waited for, and no ACK makes that longer.
            self.tcb.timers.time_wait = self.now + self.config.fin_wait_2;
        }
        self.seventh_process_text()?;
        self.eighth_check_fin()
    }

    fn drop(&mut self, why: Drop) -> Check {
        self.arrival.drop = Some(why);
        Check::Break(())
    }

    fn has(&self, flag: Flags) -> bool {
        self.segment.flags.contains(flag)
    }

    /// A SYN in TIME-WAIT is judged before everything else (RFC 6191).
    fn before_first_reopen(&mut self) -> Check {
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
    fn before_first_check_timestamps(&mut self) -> Check {
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

    fn first_check_sequence_number(&mut self) -> Check {
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

    fn second_check_rst(&mut self) -> Check {
        if !self.has(Flags::RST) {
            return Check::Continue(());
        }
        //= rfc1337#3
        //# Ignore RST segments in TIME-WAIT state.
        if self.tcb.state() == State::TimeWait {
            return self.drop(Drop::TcpRstIgnored);
        }
        if self.segment.seq != self.tcb.rcv.nxt {
            //= rfc9293#3.10.7.4
            //# If the RST bit is set and the sequence number does not exactly match the next expected sequence value, yet is within
            //# the current receive window, TCP endpoints MUST send an acknowledgment (challenge ACK)
            self.challenge(Happening::ChallengeRst);
            return self.drop(Drop::TcpRstIgnored);
        }
        //= rfc9293#3.10.7.4
        //# If the RST bit is set and the sequence number exactly matches the next expected sequence number (RCV.NXT), then TCP
        //# endpoints MUST reset the connection in the manner prescribed below according to the connection state.
        self.arrival.events |= match self.tcb.state() {
            //= rfc9293#3.10.7.4
            //# If this connection was initiated with a passive OPEN (i.e., came from the LISTEN state), then return this connection
            //# to LISTEN state and return.  The user need not be informed.
            State::SynReceived if self.tcb.passive => Events::NONE,
            //= rfc9293#3.10.7.4
            //# If this connection was initiated with an active OPEN (i.e., came from SYN-SENT state), then the connection was
            //# refused; signal the user "connection refused".
            State::SynReceived => Events::REFUSED,
            _ => Events::RESET,
        };
        self.tcb.end(Cause::Rst, self.pool);
        Check::Break(())
    }

    fn fourth_check_syn(&mut self) -> Check {
        if !self.syn {
            return Check::Continue(());
        }
        if self.tcb.state() == State::SynReceived && self.tcb.passive {
            //= rfc9293#3.10.7.4
            //# If the connection was initiated with a passive OPEN, then return this connection to the LISTEN state and return.
            self.tcb.end(Cause::NewSyn, self.pool);
            return Check::Break(());
        }
        //= rfc9293#3.10.7.4
        //# RFC 5961 recommends that in these synchronized states, if the SYN bit is set, irrespective of the sequence number, TCP
        //# endpoints MUST send a "challenge ACK" to the remote peer:
        //# <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>
        self.challenge(Happening::ChallengeSyn);
        self.drop(Drop::TcpSynChallenged)
    }

    fn fifth_check_ack(&mut self) -> Check {
        //= rfc9293#3.10.7.4
        //# if the ACK bit is off, drop the segment and return
        if !self.has(Flags::ACK) {
            return self.drop(Drop::TcpNoAck);
        }
        if self.tcb.state() == State::SynReceived {
            self.ack_of_syn()?;
        } else {
            self.ack_of_data()?;
        }
        self.tcb.keepalive.heard = self.now;
        self.tcb.hear_user_timeout(self.segment.options.user_timeout);
        if let (true, Some((value, _))) = (self.tcb.timestamps.ok, self.segment.options.timestamps) {
            self.tcb.timestamps.update(value, self.segment.seq, self.tcb.rcv.acked, self.now);
        }
        self.ack_of_fin()
    }

    fn ack_of_syn(&mut self) -> Check {
        let ack = self.segment.ack;
        if !self.tcb.is_new_ack(ack) {
            //= rfc9293#3.10.7.4
            //# If the segment acknowledgment is not acceptable, form a reset segment
            //# -   <SEQ=SEG.ACK><CTL=RST>
            //# -   and send it.
            self.tcb.reset_pending = Some(ack);
            return self.drop(Drop::TcpAckInvalid);
        }
        //= rfc9293#3.10.7.4
        //# If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED state and continue processing with the variables below set to:
        //# -   SND.WND <- SEG.WND
        //# -   SND.WL1 <- SEG.SEQ
        //# -   SND.WL2 <- SEG.ACK
        self.tcb.syn_acknowledged(self.config, self.now, self.segment);
        let shift = if self.has(Flags::SYN) { 0 } else { self.tcb.snd.shift.shift() };
        self.tcb.snd.set_window(u32::from(self.segment.window) << shift, self.segment.seq, ack);
        self.tcb.enter(Cause::AckOfSyn, State::Established);
        self.tcb.begin_window(self.pool);
        self.arrival.events |= Events::CONNECTED;
        if self.tcb.fin_queued {
            self.tcb.enter(Cause::Close, State::FinWait1);
        }
        Check::Continue(())
    }

    fn ack_of_data(&mut self) -> Check {
        let ack = self.segment.ack;
        let on_syn = self.has(Flags::SYN);
        let tcb = &mut *self.tcb;
        //= rfc9293#3.10.7.4
        //# TCP stacks that implement RFC 5961 MUST add an input check that the ACK value is acceptable only if it is in the range of
        //# ((SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT).  All incoming segments whose ACK value doesn't satisfy the above
        //# condition MUST be discarded and an ACK sent back.
        if ack.after(tcb.snd.nxt) || ack.before(tcb.snd.una - tcb.snd.max_wnd) {
            self.challenge(Happening::ChallengeAck);
            return self.drop(Drop::TcpAckInvalid);
        }
        let (window_before, outstanding) = (tcb.snd.wnd, tcb.snd.outstanding());
        let is_new = tcb.is_new_ack(ack);
        if is_new {
            tcb.ecn_before_ack(self.segment);
            self.arrival.events |= tcb.acknowledged(self.config, self.now, self.segment, self.pool);
        }
        if ack.at_or_after(tcb.snd.una) && !on_syn {
            tcb.snd.update_window(self.segment.window, self.segment.seq, ack, is_new);
        }
        if !is_new {
            tcb.not_acknowledged(self.config, self.now, self.segment, window_before, self.pool);
        }
        if ack.at_or_after(tcb.snd.una) && !on_syn {
            tcb.ecn_after_ack(self.config, self.now, self.segment, outstanding);
        }
        tcb.window_heard(self.config, self.now, window_before);
        Check::Continue(())
    }

    fn ack_of_fin(&mut self) -> Check {
        let acknowledged = self.tcb.fin_acknowledged();
        match self.tcb.state() {
            //= rfc9293#3.10.7.4
            //# In addition to the processing for the ESTABLISHED state, if the FIN segment is now acknowledged, then enter FIN-WAIT-2
            //# and continue processing in that state.
            State::FinWait1 if acknowledged => {
                self.tcb.enter(Cause::AckOfFin, State::FinWait2);
                Check::Continue(())
            }
            //= rfc9293#3.10.7.4
            //# In addition to the processing for the ESTABLISHED state, if the ACK acknowledges our FIN, then enter the TIME-WAIT
            //# state; otherwise, ignore the segment.
            State::Closing => {
                if acknowledged {
                    self.tcb.enter_time_wait(Cause::AckOfFin, self.config, self.now);
                    self.arrival.events |= Events::CLOSED;
                }
                Check::Break(())
            }
            //= rfc9293#3.10.7.4
            //# If our FIN is now acknowledged, delete the TCB, enter the CLOSED state, and return.
            State::LastAck if acknowledged => {
                self.tcb.timers.stop();
                self.tcb.ack_now = false;
                self.tcb.enter(Cause::AckOfFin, State::Closed);
                self.arrival.events |= Events::CLOSED;
                Check::Break(())
            }
            // An ACK of an ACK; a FIN that came again has been seen to in the first check.
            State::TimeWait => Check::Break(()),
            _ => Check::Continue(()),
        }
    }

    fn sixth_check_urg(&mut self) {
        //= rfc9293#3.8.5
        //# TCP implementations MUST still include support for the urgent mechanism (MUST-30).
        //= rfc9293#3.4
        //# A TCP receiver MUST process the RST and URG fields of all incoming segments, even when the receive window is zero (MUST-66).
        //= rfc9293#3.10.7.4
        //# If the URG bit is set, RCV.UP <- max(RCV.UP,SEG.UP), and signal the user that the remote side has urgent data if the urgent
        //# pointer (RCV.UP) is in advance of the data consumed.
        let receiving = matches!(self.tcb.state(), State::Established | State::FinWait1 | State::FinWait2);
        if self.has(Flags::URG) && receiving && self.tcb.hear_urgent(self.segment) {
            self.arrival.events |= Events::URGENT;
        }
    }

    fn seventh_process_text(&mut self) -> Check {
        // Its sender took for lost what is here: it is told at once.
        if self.note_duplicate() {
            self.tcb.ack_now = true;
        }
        let Some(bytes) = self.segment.payload.get(self.new.clone()).filter(|bytes| !bytes.is_empty()) else {
            return Check::Continue(());
        };
        self.tcb.ecn_on_data(self.segment);
        let receiving = matches!(self.tcb.state(), State::Established | State::FinWait1 | State::FinWait2);
        let end = self.seq + bytes.len() as u32;
        //= rfc9293#3.10.7.4
        //# This should not occur since a FIN has been received from the remote side.  Ignore the segment text.
        if !receiving || self.tcb.fin_beyond.is_some_and(|fin| end.after(fin)) {
            return self.drop(Drop::TcpAfterFin);
        }
        if self.tcb.unreadable {
            self.tcb.reset_pending = Some(self.tcb.snd.nxt);
            self.tcb.end(Cause::DataAfterClose, self.pool);
            self.arrival.events |= Events::RESET;
            return self.drop(Drop::TcpDataAfterClose);
        }
        if self.seq != self.tcb.rcv.nxt {
            return match text::beyond_a_hole(self.tcb, self.config, self.seq, bytes, self.pool) {
                Ok(()) => Check::Continue(()),
                Err(why) => self.drop(why),
            };
        }
        match text::in_order(self.tcb, self.config, self.now, self.segment.payload, self.new.clone(), self.pool) {
            Ok((payload, events)) => {
                self.arrival.payload = payload;
                self.arrival.events |= events;
                Check::Continue(())
            }
            Err(why) => self.drop(why),
        }
    }

    fn eighth_check_fin(&mut self) -> Check {
        let tcb = &mut *self.tcb;
        if !matches!(tcb.state(), State::Established | State::FinWait1 | State::FinWait2) {
            return Check::Continue(());
        }
        let fin_seq = self.seq + self.new.len() as u32;
        if self.fin && fin_seq.after(tcb.rcv.nxt) {
            // Beyond a hole. One that lies before data already received contradicts itself and is not believed.
            if tcb.fin_beyond.is_none() && tcb.received.farthest().is_none_or(|end| end.at_or_before(fin_seq)) {
                tcb.fin_beyond = Some(fin_seq);
            }
            tcb.ack_now = true;
        }
        let here = (self.fin && fin_seq == tcb.rcv.nxt && !tcb.received.has_hole()) || tcb.fin_beyond == Some(tcb.rcv.nxt);
        #[cfg(test)]
        let here = here || (planted::is(Bug::FinTooEarly) && self.fin);
        if !here {
            return Check::Continue(());
        }
        //= rfc9293#3.10.7.4
        //# If the FIN bit is set, signal the user "connection closing" and return any pending RECEIVEs with same message, advance
        //# RCV.NXT over the FIN, and send an acknowledgment for the FIN.
        tcb.rcv.advance(1);
        tcb.fin_beyond = None;
        tcb.fin_received = true;
        tcb.ack_now = true;
        self.arrival.events |= Events::PEER_CLOSED;
        match tcb.state() {
            //= rfc9293#3.10.7.4
            //# Enter the CLOSE-WAIT state.
            State::Established => tcb.enter(Cause::Fin, State::CloseWait),
            //= rfc9293#3.10.7.4
            //# If our FIN has been ACKed (perhaps in this segment), then enter TIME-WAIT, start the time-wait timer, turn off the
            //# other timers; otherwise, enter the CLOSING state.
            State::FinWait1 => {
                tcb.noted.note(Happening::SimultaneousClose);
                tcb.enter(Cause::Fin, State::Closing);
            }
            //= rfc9293#3.10.7.4
            //# Enter the TIME-WAIT state.  Start the time-wait timer, turn off the other timers.
            _ => {
                tcb.enter_time_wait(Cause::Fin, self.config, self.now);
                self.arrival.events |= Events::CLOSED;
            }
        }
        Check::Continue(())
    }

    /// Cuts off what lies outside the window, SYN and FIN included.
    fn trim(&mut self) {
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

    /// An ACK in answer to an unacceptable segment. Their number is limited: two ends that disagree would answer each other for ever, and a
    /// stranger could have us send as many as he does. Data that has arrived before has a larger share, for honest peers send it again.
    fn answer_unacceptable(&mut self, why: Happening) {
        // It is reported with the next ACK, whether this segment calls for one or not: the limit alone says.
        let _ = self.note_duplicate();
        let again = !self.segment.is_empty() && (self.segment.seq + self.segment.len()).at_or_before(self.tcb.rcv.nxt);
        if !again {
            self.challenge(why);
        } else if self.tcb.challenges.allows_duplicate(self.now) {
            self.tcb.noted.note(why);
            self.tcb.ack_now = true;
        } else {
            self.tcb.noted.note(Happening::ChallengeLimited);
        }
    }

    /// Looks for text that came before: RFC 2883 4.3 lets PAWS have no say in it.
    fn note_duplicate(&mut self) -> bool {
        let seq = self.segment.seq + u32::from(self.has(Flags::SYN));
        text::note_duplicate(self.tcb, seq, self.segment.payload.len())
    }

    fn challenge(&mut self, why: Happening) {
        if self.tcb.challenges.allows(self.now) {
            self.tcb.noted.note(why);
            self.tcb.ack_now = true;
        } else {
            self.tcb.noted.note(Happening::ChallengeLimited);
        }
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
