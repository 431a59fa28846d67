//! Which segment leaves next (RFC 9293 3.7, 3.8, 3.10.7.4).
//!
//! The engine asks [`Tcb::next_transmit`], finds a frame and a ring slot, and calls [`Tcb::transmit`]: what is returned counts as sent.
//! [`Tcb::poll_transmit`] does both at once. One decision function serves all, so that they cannot disagree. Deciding changes nothing; it copies
//! no payload, and never sends beyond the offered window but for a probe. Nothing panics.

use super::config::Config;
use super::congestion::Congestion;
use super::event::Transmit;
use super::path_search::Wish;
use super::pool::BufferPool;
use super::recovery::{Forward, Syn};
use super::seq::SeqNum;
use super::state::{Cause, State};
use super::tally::Happening;
use super::tcb::Tcb;
#[cfg(test)]
use crate::sim::planted;
use crate::time::Instant;
use crate::wire::tcp::Flags;

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Something waits that cannot be sent now, and no timer runs for it yet.
    Timer,
    /// A segment leaves.
    Segment(Kind),
}

/// A segment that is due, as [`Tcb::next_transmit`] found it.
#[derive(Clone, Copy, Debug)]
pub struct Next(Kind);

impl Next {
    /// Bytes of data it carries.
    #[inline]
    pub const fn payload_len(self) -> usize {
        match self.0 {
            Kind::Text(text) => text.len as usize,
            Kind::Reset(_) | Kind::Syn | Kind::Keepalive => 0,
        }
    }
}

/// The kinds of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A reset with this sequence number.
    Reset(SeqNum),
    /// Our SYN or SYN-ACK.
    Syn,
    /// A keep-alive.
    Keepalive,
    /// Data and FIN, or an empty ACK.
    Text(Text),
}

/// A segment that is neither SYN nor RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text {
    seq: SeqNum,
    len: u32,
    fin: bool,
}

impl Tcb {
    /// True when [`Tcb::poll_transmit`] has something to do. Cheap.
    pub fn wants_transmit(&self, now: Instant) -> bool {
        self.due(now) != Due::Nothing
    }

    /// The next segment; it counts as sent. `None` when there is none: then a timer may have been armed, so ask
    /// [`Tcb::poll_timeout`] afterwards.
    pub fn poll_transmit(&mut self, config: &Config, now: Instant, pool: &mut BufferPool) -> Option<Transmit<'_>> {
        let next = self.next_transmit(config, now)?;
        Some(self.transmit(next, config, now, pool))
    }

    /// What the next segment is, for [`Tcb::transmit`]: in between, room for it can be found. `None` as in [`Tcb::poll_transmit`].
    #[inline]
    pub fn next_transmit(&mut self, config: &Config, now: Instant) -> Option<Next> {
        if self.has_nothing_due() {
            debug_assert_eq!(self.due(now), Due::Nothing);
            return None;
        }
        self.find_next(config, now)
    }

    /// [`Tcb::next_transmit`] where something may be due.
    fn find_next(&mut self, config: &Config, now: Instant) -> Option<Next> {
        let mut due = self.due(now);
        if due != Due::Nothing && now >= self.path_mtu.raise_at {
            due = self.due_with_larger(now, due);
        }
        match due {
            Due::Nothing => None,
            Due::Segment(kind) => Some(Next(kind)),
            Due::Timer => {
                if self.pacer.allows(now) {
                    self.arm_send(config, now);
                } else {
                    self.timers.pace = self.pacer.deadline();
                }
                None
            }
        }
    }

    /// The segment that [`Tcb::next_transmit`] has just found; it counts as sent. Nothing may have happened to the connection in between.
    pub fn transmit(&mut self, next: Next, config: &Config, now: Instant, pool: &mut BufferPool) -> Transmit<'_> {
        match next.0 {
            Kind::Text(text) => self.transmit_text(text, config, now, pool),
            Kind::Reset(seq) => self.transmit_reset(seq, now),
            Kind::Syn => self.transmit_syn(config, now),
            Kind::Keepalive => self.transmit_keepalive(now),
        }
    }

    /// True when [`Tcb::due`] is certain to be [`Due::Nothing`], as nearly always after an answer has left: all that was given has been sent, nothing of
    /// it is lost, we owe no acknowledgment, and the timer runs if anything is in flight. When false, [`Tcb::due`] has to be asked.
    #[inline]
    fn has_nothing_due(&self) -> bool {
        // One branch for all of them.
        let asked = self.ack_now | self.probe | self.keepalive.probe | self.fin_queued | self.recovery.tail.due;
        !asked
            && self.state() == State::Established
            // One that answers an acknowledgment of the handshake that was none.
            && self.reset_pending.is_none()
            && self.snd.outstanding() == self.queue.len()
            && self.flight.lost() == 0
            && (self.timers.send != Instant::NEVER || self.queue.len() == 0)
    }

    #[inline]
    fn due(&self, now: Instant) -> Due {
        if let Some(seq) = self.reset_pending {
            return Due::Segment(Kind::Reset(seq));
        }
        match self.state() {
            State::Closed | State::Listen => Due::Nothing,
            State::SynSent | State::SynReceived if self.snd.nxt == self.iss || self.recovery.syn.due => Due::Segment(Kind::Syn),
            State::SynSent => Due::Nothing,
            State::SynReceived | State::TimeWait => self.due_ack(),
            _ => self.due_text(now),
        }
    }

    /// The same when the time has come to try larger packets: all at once, or by a probe.
    #[cold]
    #[inline(never)]
    fn due_with_larger(&mut self, now: Instant, due: Due) -> Due {
        if self.path_mtu.search.is_none() {
            self.raise_path_mtu();
            return self.due(now);
        }
        let Due::Segment(Kind::Text(text)) = due else { return due };
        let is_full = text.seq == self.snd.nxt && text.len == self.payload_max() && !text.fin;
        if !is_full || self.recovery.tail.due || self.probe {
            return due;
        }
        match self.path_search(now) {
            Wish::None => due,
            Wish::Probe(len) => Due::Segment(Kind::Text(Text { len, ..text })),
            Wish::Wait => self.due_ack(),
        }
    }

    fn due_ack(&self) -> Due {
        if self.ack_now { Due::Segment(Kind::Text(Text { seq: self.snd.nxt, len: 0, fin: false })) } else { Due::Nothing }
    }

    #[inline]
    fn due_text(&self, now: Instant) -> Due {
        if self.keepalive.probe {
            return Due::Segment(Kind::Keepalive);
        }
        if self.probe {
            //= rfc9293#3.8.6.1
            //# The sending TCP peer must regularly transmit at least one octet of new data (if available), or retransmit to the
            //# receiving TCP peer even if the send window is zero, in order to "probe" the window.
            let len = self.queue.len().min(1);
            return Due::Segment(Kind::Text(Text { seq: self.snd.una, len, fin: len == 0 && self.fin_queued }));
        }
        let next = self.due_data();
        if let Some(text) = next {
            if self.pacer.allows(now) {
                return Due::Segment(Kind::Text(text));
            }
            if !self.ack_now && self.timers.pace == Instant::NEVER {
                return Due::Timer;
            }
        }
        if self.ack_now {
            return self.due_ack();
        }
        if next.is_some() {
            return Due::Nothing;
        }
        let waiting = self.snd.outstanding() > 0 || self.queue.len() > 0 || (self.fin_queued && !self.fin_sent);
        if waiting && self.timers.send == Instant::NEVER { Due::Timer } else { Due::Nothing }
    }

    /// What carries sequence numbers: what was lost before what is new, but for the exceptions that recovery makes.
    fn due_data(&self) -> Option<Text> {
        if self.recovery.tail.due
            && let Some(probe) = self.due_probe()
        {
            return Some(probe);
        }
        if let Forward::New { left } = self.recovery.forward {
            //= rfc5682#2.1
            //# transmit up to two new (previously unsent) segments and enter step 3 of this algorithm
            let new = if left > 0 { self.due_new() } else { None };
            // If none could leave (Nagle, the window), the old goes on, and the question is not answered.
            if new.is_some() || (left < Forward::NEW_SEGMENTS && self.in_flight() > 0) {
                return new;
            }
        }
        if self.flight.lost() > 0 { self.due_again() } else { self.due_new() }
    }

    /// A tail loss probe.
    fn due_probe(&self) -> Option<Text> {
        //= rfc8985#7.3
        //# If both conditions are met, then the sender SHOULD transmit a previously unsent data segment, if one exists and the receive window
        //# allows
        let seq = self.snd.nxt;
        let unsent = if self.fin_sent { 0 } else { self.fin_seq() - seq };
        let len = unsent.min(self.payload_max()).min(self.snd.room_from(seq));
        if len > 0 {
            let fin = self.fin_queued && len == unsent && self.snd.room_from(seq) > len;
            return Some(Text { seq, len, fin });
        }
        //= rfc8985#7.3
        //# If such an unsent segment is not available, then the sender SHOULD retransmit the highest-sequence segment sent so far and set
        //# TLP.is_retrans to true.
        let (seq, bytes) = self.flight.last_segment(self.payload_max() + u32::from(self.fin_sent))?;
        self.old_text(seq, bytes)
    }

    /// `bytes` from `seq` on, sent before, as far as the window reaches.
    fn old_text(&self, seq: SeqNum, bytes: u32) -> Option<Text> {
        //= rfc9293#3.8.6
        //# If this happens, the sender SHOULD NOT send new data (SHLD-15), but SHOULD retransmit normally the old unacknowledged
        //# data between SND.UNA and SND.UNA+SND.WND (SHLD-16).
        let window = self.snd.room_from(seq);
        let fin_seq = self.fin_seq();
        let data = if self.fin_sent && (seq + bytes).after(fin_seq) { fin_seq - seq } else { bytes };
        let len = data.min(window).min(self.payload_max());
        let fin = self.fin_sent && seq + len == fin_seq && data < bytes && window > len;
        (len > 0 || fin).then_some(Text { seq, len, fin })
    }

    /// What was lost, as windows and recovery allow.
    fn due_again(&self) -> Option<Text> {
        let (seq, bytes) = self.flight.first_lost(self.payload_max() + u32::from(self.fin_sent))?;
        let text = self.old_text(seq, bytes)?;
        (text.len <= self.allowance()).then_some(text)
    }

    /// What has not been sent yet, as windows, Nagle and silly-window avoidance allow.
    fn due_new(&self) -> Option<Text> {
        if self.fin_sent {
            return None;
        }
        let seq = self.snd.nxt;
        let unsent = self.fin_seq() - seq;
        if unsent == 0 && !self.fin_queued {
            return None;
        }
        //= rfc9293#3.9.1.2
        //# The transmitter SHOULD collapse successive bits when it packetizes data, to send the largest possible segment
        //# (SHLD-27).
        let usable = self.snd.room_from(seq);
        let congestion = self.allowance();
        let segment = self.payload_max();
        let len = unsent.min(segment).min(usable);
        let fin = self.fin_queued && len == unsent && usable > len;
        if len > congestion || (len == 0 && !fin) {
            return None;
        }
        let idle = self.snd.outstanding() == 0;
        //= rfc9293#3.8.6.2.1
        //# A TCP implementation MUST include a SWS avoidance algorithm in the sender (MUST-38).
        //= rfc9293#3.9.1.2
        //# However, a TCP implementation SHOULD send a maximum-sized segment whenever possible (SHLD-28)
        //= rfc9293#3.8.6.2.1
        //# if a maximum-sized segment can be sent, i.e., if:
        //# min(D,U) >= Eff.snd.MSS;
        let full = len == segment;
        //= rfc9293#3.8.6.2.1
        //# or if the data is pushed and all queued data can be sent now, i.e., if:
        //# [SND.NXT = SND.UNA and] PUSHed and D <= U
        //= rfc9293#3.7.4
        //# If there is unacknowledged data (i.e., SND.NXT > SND.UNA), then the sending TCP endpoint buffers all user data
        //# (regardless of the PSH bit) until the outstanding data has been acknowledged or until the TCP endpoint can send a
        //# full-sized segment (Eff.snd.MSS bytes).
        //= rfc9293#3.7.4
        //# A TCP implementation SHOULD implement the Nagle algorithm to coalesce short segments (SHLD-7).  However, there MUST be a way
        //# for an application to disable the Nagle algorithm on an individual connection (MUST-17).
        let all = len == unsent && (idle || self.no_delay || fin) && (!self.cork || fin);
        //= rfc9293#3.8.6.2.1
        //# or if at least a fraction Fs of the maximum window can be sent, i.e., if:
        //# [SND.NXT = SND.UNA and] min(D,U) >= Fs * Max(SND.WND);
        let fraction = !self.cork && (idle || self.no_delay) && len >= (self.snd.max_wnd / 2).max(1);
        (full || all || fraction || (self.override_avoidance && idle)).then_some(Text { seq, len, fin })
    }

    fn transmit_reset(&mut self, seq: SeqNum, now: Instant) -> Transmit<'_> {
        self.reset_pending = None;
        //= rfc7323#5.2
        //# If an <RST> is being generated because of a user abort, and Snd.TS.OK is set, then a Timestamps option SHOULD be included
        //# in the <RST>.
        let options = self.reset_options(now);
        Transmit { seq, ack: SeqNum(0), flags: Flags::RST, window: 0, urgent: 0, options, ect: false, payload: [&[], &[]] }
    }

    fn transmit_syn(&mut self, config: &Config, now: Instant) -> Transmit<'_> {
        let flags = if self.syn_seen { Flags::SYN | Flags::ACK } else { Flags::SYN };
        let again = self.snd.nxt != self.iss;
        if !again {
            //= rfc9293#3.10.1
            //# A SYN segment of the form <SEQ=ISS><CTL=SYN> is sent.  Set SND.UNA to ISS, SND.NXT to ISS+1, enter SYN-SENT state,
            //# and return.
            self.snd.nxt = self.iss + 1;
            self.recovery.syn = Syn { sent: now, again: false, due: false };
        } else {
            self.resent += 1;
            self.recovery.syn.again = true;
            self.recovery.syn.due = false;
        }
        if self.timers.send == Instant::NEVER {
            self.arm_send(config, now);
        }
        let options = self.syn_options(now);
        let window = self.rcv.offer_in_syn();
        self.acknowledged_all();
        let ack = if self.syn_seen { self.rcv.nxt } else { SeqNum(0) };
        let flags = flags | self.ecn.syn_flags(self.syn_seen, again);
        //= rfc3168#6.1.1
        //# A host MUST NOT set ECT on SYN or SYN-ACK packets.
        Transmit { seq: self.iss, ack, flags, window, urgent: 0, options, ect: false, payload: [&[], &[]] }
    }

    fn transmit_text(&mut self, text: Text, config: &Config, now: Instant, pool: &mut BufferPool) -> Transmit<'_> {
        let Text { seq, len, fin } = text;
        let end = seq + len + u32::from(fin);
        let (ecn, ect) = self.ecn_marks(seq, len > 0 && seq == self.snd.nxt && !self.probe);
        let mut flags = Flags::ACK | ecn;
        if end.after(seq) {
            if fin {
                flags = flags | Flags::FIN;
            }
            if len > 0 && seq + len == self.fin_seq() {
                //= rfc9293#3.9.1.2
                //# MUST set the PSH bit in the last buffered segment (i.e., when there is no more queued data to be sent) (MUST-61).
                flags = flags | Flags::PSH;
            }
            self.note_sent(seq, end, fin, config, now, pool);
        }
        let (urg, urgent) = self.urgent_field(seq);
        flags = flags | urg;
        let options = self.options(now);
        self.sack_reported();
        self.user_timeout.announced();
        let window = self.rcv.offer(self.received.unread());
        if window == 0 {
            self.noted.note(Happening::ZeroWindowOffered);
        }
        self.acknowledged_all();
        let (ack, offset) = (self.rcv.nxt, seq - self.snd.una);
        #[cfg(test)]
        let (ack, offset) = (planted::ack(ack), planted::resent_offset(offset, self.timers.unanswered, len, self.queue.len()));
        let payload = self.queue.slices(offset, len);
        //= rfc9293#3.10.7.4
        //# <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>
        Transmit { seq, ack, flags, window, urgent, options, ect, payload }
    }

    /// Books a segment that takes sequence space.
    fn note_sent(&mut self, seq: SeqNum, end: SeqNum, fin: bool, config: &Config, now: Instant, pool: &mut BufferPool) {
        self.note_size(end - seq, end);
        let is_new = !seq.before(self.snd.nxt);
        if is_new {
            self.stop_override();
            self.delivery_begins(now);
            self.note_idleness(config, now);
            self.sent_new(end, now, pool);
        } else {
            self.resent += 1;
            self.probe_sent_again(seq, end, now);
            self.recovery.forward.old_leaves();
            if self.probe {
                self.flight.first_is_ambiguous();
            } else {
                self.sent_again(seq, end, now, pool);
            }
        }
        self.snd.nxt = self.snd.nxt.latest(end);
        let is_probe = std::mem::take(&mut self.recovery.tail.due);
        if is_probe {
            self.recovery.tail.sent(self.snd.nxt, !is_new);
        }
        if let Some(pace) = self.congestion.pace() {
            self.pacer.sent(end - seq, pace, now);
        }
        self.probe = false;
        self.override_avoidance = false;
        self.last_sent = now;
        if fin {
            self.fin_sent = true;
            if self.state() == State::CloseWait {
                self.enter(Cause::FinSent, State::LastAck);
            }
        }
        //= rfc6298#5.1
        //# Every time a packet containing data is sent (including a retransmission), if the timer is not running, start it running
        //# so that it will expire after RTO seconds (for the current value of RTO).
        if self.timers.send == Instant::NEVER {
            self.arm_send(config, now);
        }
        if is_new && !is_probe {
            self.arm_probe(config, now);
            self.note_application_limit();
        }
    }

    /// Data after a pause. The restart window of RFC 5681 4.1 has given way to validation: the window is kept and paced out, and shrinks
    /// when it was not validated for long.
    fn note_idleness(&mut self, config: &Config, now: Instant) {
        //= rfc7661#4.4
        //# A TCP sender that enters the non-validated phase preserves the cwnd
        if self.snd.outstanding() == 0 && now.ns_since(self.last_sent) > self.rto.backed_off_ns(0, config) {
            self.congestion.on_idle(now);
        }
    }

    /// A segment with the current RCV.NXT leaves.
    pub(super) const fn acknowledged_all(&mut self) {
        self.rcv.acked = self.rcv.nxt;
        self.ack_now = false;
        self.timers.ack = Instant::NEVER;
    }
}
