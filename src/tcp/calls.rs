//! What the service asks of a connection: SEND, RECEIVE, CLOSE, ABORT (RFC 9293 3.10.2 to 3.10.5).
//!
//! Called by the engine on behalf of the service. A call that the state does not allow does nothing and says so by its result
//! (0 bytes taken); it is never an error of the engine and never panics.

use std::time::Duration;

use super::config::Config;
use super::congestion::Congestion;
use super::pool::{BufferPool, LARGEST};
use super::state::{Cause, State};
use super::tally::Happening;
use super::tcb::Tcb;
use crate::time::Instant;

impl Tcb {
    /// SEND: queues bytes and returns how many were taken. When fewer than given, [`super::Events::WRITABLE`] follows once it
    /// is worth trying again.
    pub fn send(&mut self, config: &Config, bytes: &[u8], pool: &mut BufferPool) -> usize {
        if !self.may_send() || bytes.is_empty() {
            return 0;
        }
        // While buffers run short, no connection queues more than its due: its setting, or an even share if that is less.
        let limit = if pool.is_pressed() { config.send_buffer.min(pool.share()) } else { self.send_limit(config) };
        let taken = self.queue.push(bytes, limit, pool);
        if taken < bytes.len() {
            self.send_was_short = true;
            if self.queue.len() == 0 {
                // Nothing is outstanding whose acknowledgment would wake the service: look again a little later.
                self.timers.room = self.last_sent.max(self.timers.woken) + ROOM_RETRY;
            }
        }
        taken
    }

    /// Bytes that [`Tcb::send`] would take now if the pool has them.
    pub fn send_room(&self, config: &Config) -> usize {
        if self.may_send() { self.send_limit(config).saturating_sub(self.queue.len() as usize) } else { 0 }
    }

    /// Twice the congestion window, so that there is always something to send while the service refills; within the settings.
    fn send_limit(&self, config: &Config) -> usize {
        let twice = 2 * self.congestion.window() as usize;
        twice.min(config.send_buffer_max).max(config.send_buffer).min(LARGEST)
    }

    /// Bytes queued and not yet acknowledged.
    pub const fn unacknowledged(&self) -> usize {
        self.queue.len() as usize
    }

    fn may_send(&self) -> bool {
        //= rfc9293#3.10.2
        //# Queue the data for transmission after entering ESTABLISHED state.
        let open = matches!(self.state(), State::SynSent | State::SynReceived | State::Established | State::CloseWait);
        open && !self.fin_queued
    }

    /// Keeps what the service left of [`super::Arrival::payload`]; the storage was reserved when the payload was accepted.
    pub fn keep_unread(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        self.received.keep(bytes, pool);
    }

    /// Everything that arrived has been offered to the service: gives an unused block back, and decides whether the peer must
    /// be told of new room at once.
    pub fn delivered(&mut self, pool: &mut BufferPool) {
        self.received.tidy(pool);
        self.forget_read_mark();
        let receiving = matches!(self.state(), State::Established | State::FinWait1 | State::FinWait2);
        if receiving && self.rcv.update_due(self.received.unread()) {
            self.ack_now = true;
        }
    }

    /// The core's buffers run short: gives up what lies beyond a hole if it ties up much more memory than it fills. It was not
    /// acknowledged, so the peer sends it again. True when it did.
    pub fn prune(&mut self, pool: &mut BufferPool) -> bool {
        //= rfc2018#8
        //# the data receiver is permitted to discard data in its queue that has not been acknowledged to the data sender, even if the
        //# data has already been reported in a SACK option.  Such discarding of SACKed packets is discouraged, but may be used if the
        //# receiver runs out of buffer space.
        //= type=exception
        //= rfc2018#8
        //# Even if the newest segment is going to be discarded and the receiver has already discarded adjacent segments, the first
        //# SACK block MUST report, at a minimum, the left and right edges of the newest segment.
        // What is thrown away is not reported, neither here nor when a segment is refused for want of memory: a peer that hears of it
        // would not send it again before its retransmission timer expires, and what it does not hear of it repairs at once.
        let pruned = self.received.prune(pool);
        if pruned {
            self.noted.note(Happening::ReassemblyPruned);
        }
        pruned
    }

    /// RECEIVE: the front of the bytes that wait for the service; what lies behind a wrap of the buffer follows once this is
    /// consumed.
    pub fn unread(&self) -> &[u8] {
        self.received.front()
    }

    /// Bytes that wait for the service.
    pub const fn unread_len(&self) -> usize {
        self.received.unread() as usize
    }

    /// The service has taken the first `n` bytes of [`Tcb::unread`]. [`Tcb::delivered`] follows when it has had its fill.
    pub fn consume(&mut self, n: usize, pool: &mut BufferPool) {
        self.received.consume(n, pool);
    }

    /// False once [`Tcb::close_both`] was called: nothing is offered or kept any more.
    pub const fn readable(&self) -> bool {
        !self.unreadable
    }

    /// True when the peer's FIN is in order: nothing follows what is unread.
    pub const fn peer_closed(&self) -> bool {
        self.fin_received
    }

    /// CLOSE: our direction ends once everything queued is sent; what the peer still sends is received (RFC 9293 3.6). With a linger
    /// time ([`super::Tuning::Linger`]) the peer has that long to take it.
    pub fn close(&mut self, now: Instant) {
        if self.fin_queued {
            //= rfc9293#3.10.4
            //# An "ok" response would be acceptable, too, as long as a second FIN is not emitted
            return;
        }
        let over = matches!(self.state(), State::TimeWait | State::Closed);
        if self.linger_ms == Some(0) && !over {
            self.abort();
            return;
        }
        self.start_linger(now);
        match self.state() {
            State::SynSent => {
                //= rfc9293#3.10.4
                //# Delete the TCB and return "error: closing" responses to any queued SENDs, or RECEIVEs.
                self.timers.stop();
                self.enter(Cause::Close, State::Closed);
            }
            // Sent after ESTABLISHED is entered, whether there is data to send or not: a FIN before the peer has our SYN would
            // have to be sent again.
            State::SynReceived => self.fin_queued = true,
            State::Established => {
                //= rfc9293#3.10.4
                //# Queue this until all preceding SENDs have been segmentized, then form a FIN segment and send it.  In any case,
                //# enter FIN-WAIT-1 state.
                self.fin_queued = true;
                self.enter(Cause::Close, State::FinWait1);
            }
            //= rfc9293#3.10.4
            //# Queue this request until all preceding SENDs have been segmentized; then send a FIN segment, enter LAST-ACK state.
            State::CloseWait => self.fin_queued = true,
            _ => {}
        }
    }

    /// CLOSE of both directions: as [`Tcb::close`], and nobody will read what is unread or still comes. Data lost that way is
    /// answered with a RST, and FIN-WAIT-2 ends by itself. While bytes are on offer to the service they do not count as unread:
    /// [`Tcb::lose_unreadable`] follows.
    pub fn close_both(&mut self, config: &Config, now: Instant, pool: &mut BufferPool) {
        //= rfc9293#3.6.1
        //# If such a host issues a CLOSE call while received data is still pending in the TCP connection, or if new data is received
        //# after CLOSE is called, its TCP implementation SHOULD send a RST to show that data was lost (SHLD-3).
        if self.unread_len() > 0 {
            self.abort();
        } else {
            self.close(now);
        }
        self.unreadable = true;
        self.received.release(pool);
        if self.state() == State::FinWait2 {
            self.timers.time_wait = now + config.fin_wait_2;
        }
    }

    /// Bytes were on offer to the service, and it left `left` of those that lie in a frame; what lies in the buffer has been consumed as far as
    /// it was taken. If it has called [`Tcb::close_both`] meanwhile, nothing of the rest is kept, and when there is a rest, the connection is
    /// aborted as it would have been had the bytes waited. True when it was.
    pub fn lose_unreadable(&mut self, left: usize, pool: &mut BufferPool) -> bool {
        if !self.unreadable {
            return false;
        }
        let lost = left > 0 || self.unread_len() > 0;
        self.received.release(pool);
        if lost {
            self.abort();
        }
        lost
    }

    /// ABORT: the connection ends at once; a RST is still to be sent if the state calls for one.
    pub fn abort(&mut self) {
        if self.state() == State::Closed {
            return;
        }
        self.reset_pending = match self.state() {
            //= rfc9293#3.10.5
            //# <SEQ=SND.NXT><CTL=RST>
            State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait => Some(self.snd.nxt),
            //= rfc9293#3.10.5
            //# Respond with "ok" and delete the TCB, enter CLOSED state, and return.
            _ => None,
        };
        self.timers.stop();
        self.ack_now = false;
        self.enter(Cause::Abort, State::Closed);
    }
}

/// How long after a refusal for want of memory a service with nothing outstanding is asked again.
const ROOM_RETRY: Duration = Duration::from_millis(10);
