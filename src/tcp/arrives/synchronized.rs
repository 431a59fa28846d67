//! A segment in SYN-RECEIVED and the synchronized states (RFC 9293 3.10.7.4): eight checks, one function each, in order.
//!
//! Called for each segment that no other state and no fast path takes. Those that are longest have a file of their own: the first, `sequence`, and
//! the fifth, `ack`. It sends nothing: an answer is marked, for output to find. Nothing panics.

mod ack;
mod sequence;

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
