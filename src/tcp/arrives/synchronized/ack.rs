//! The fifth check, the ACK field (RFC 9293 3.10.7.4, RFC 5961 5).
//!
//! Called by the checks in their order. What an acceptable acknowledgment does to what was sent is in `tcp/acknowledge.rs`; here it is judged, and the
//! state changes. Nothing panics.

use super::{Arriving, Check};
use crate::device::Drop;
use crate::tcp::event::Events;
use crate::tcp::state::{Cause, State};
use crate::tcp::tally::Happening;
use crate::wire::tcp::Flags;

impl Arriving<'_, '_> {
    pub(super) fn fifth_check_ack(&mut self) -> Check {
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
}
