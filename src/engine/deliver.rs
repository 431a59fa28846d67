//! Tells the service what became of a connection: each thing once, and in order.
//!
//! Called by the TCP path, the timers and the drain with the events of a TCB; the only place that calls a service about a connection. A
//! connection may be gone after any callback, so it is looked up anew each time. Nothing here panics.

use super::run::Engine;
use crate::demux::SlotId;
use crate::device::Device;
use crate::service::{Connection, Notice, ResetReason, Service};
use crate::tcp::{Events, State};

impl<D: Device, S: Service> Engine<D, S> {
    /// Hands the events of a TCB, and in-order payload in its frame, to the service.
    pub(super) fn deliver(&mut self, id: SlotId, events: Events, payload: &[u8]) {
        if events.is_empty() {
            // As nearly always.
            if !payload.is_empty() {
                self.offer_payload(id, payload);
            }
            if let Some(flow) = self.core.flows.find_mut(id)
                && !flow.has_end_to_tell()
            {
                flow.tcb.delivered(&mut self.core.pool);
                return;
            }
            self.tell_ends(id);
        } else {
            self.deliver_events(id, events, payload);
        }
        if let Some(flow) = self.core.flows.find_mut(id) {
            flow.tcb.delivered(&mut self.core.pool);
        }
    }

    fn deliver_events(&mut self, id: SlotId, events: Events, payload: &[u8]) {
        if let Some(flow) = self.core.flows.find_mut(id) {
            flow.tcb.set_unoffered(payload.len());
        }
        if events.contains(Events::CONNECTED) {
            self.tell_connected(id);
        }
        if events.contains(Events::URGENT) {
            self.tell_notice(id, Notice::Urgent);
        }
        if !payload.is_empty() {
            self.offer_payload(id, payload);
        }
        if events.contains(Events::WRITABLE) && self.alive(id) {
            self.service.writable(&mut self.core, id.into());
        }
        if events.contains(Events::READABLE) || events.contains(Events::WRITABLE) {
            self.offer_buffered(id);
        }
        if events.contains(Events::CLOSED)
            && let Some(flow) = self.core.flows.find_mut(id)
        {
            flow.told.closing = true;
        }
        self.tell_ends(id);
        if events.contains(Events::STALLED) {
            self.core.doubt_hop(id);
            self.tell_notice(id, Notice::Stalled);
        }
        if let Some(why) = reset_reason(events) {
            self.tell_reset(id, why);
        }
    }

    /// Offers unread bytes of the flows on the list: those resumed, and those whose service made room. Those given up before they were
    /// connected hear of their end.
    pub(super) fn offer_unread(&mut self) {
        // A callback may put a flow on the list again; that one waits for the next turn.
        for _ in 0..self.core.offers.len() {
            let Some(id) = self.core.offers.pop_front() else { return };
            if let Some(flow) = self.core.flows.find_mut(id) {
                flow.offered_again = false;
                let given_up = flow.told.given_up;
                self.offer_buffered(id);
                self.tell_ends(id);
                if given_up {
                    self.tell_reset(id, ResetReason::Aborted);
                }
                if let Some(flow) = self.core.flows.find_mut(id) {
                    flow.tcb.delivered(&mut self.core.pool);
                }
                self.core.touch(id);
            }
        }
    }

    fn alive(&self, id: SlotId) -> bool {
        self.core.flows.find(id).is_some_and(|flow| flow.alive())
    }

    fn tell_connected(&mut self, id: SlotId) {
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        if let Some(listener) = flow.half_open() {
            flow.in_backlog = false;
            self.core.leave_backlog(listener);
            if !self.core.complete_in_source(id) {
                return;
            }
        }
        self.core.counters.tcp_established += 1;
        self.core.time_handshake(id);
        self.core.check_first_reply(id);
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        if flow.alive() && !flow.told.connected {
            flow.told.connected = true;
            self.service.connected(&mut self.core, id.into());
            self.drain_late(id);
        }
    }

    /// Offers payload that lies in its frame; what the service leaves is copied into the receive buffer.
    fn offer_payload(&mut self, id: SlotId, payload: &[u8]) {
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        flow.tcb.set_unoffered(0);
        let taken = if !flow.alive() {
            payload.len()
        } else if flow.paused || !flow.tcb.readable() {
            0
        } else {
            self.service.data(&mut self.core, id.into(), payload).min(payload.len())
        };
        self.core.counters.tcp_in_frame_bytes += taken as u64;
        let rest = &payload[taken..];
        let Some(flow) = self.core.flows.find_mut(id).filter(|_| !rest.is_empty()) else { return };
        if flow.tcb.readable() {
            flow.tcb.keep_unread(rest, &mut self.core.pool);
        } else {
            self.lose_unreadable(id, rest.len());
        }
    }

    /// After an offer to a service that has closed both directions: a rest of `left` bytes in a frame, or what is left in the buffer, is lost.
    /// The peer gets a RST and the service hears nothing more.
    fn lose_unreadable(&mut self, id: SlotId, left: usize) {
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        let over = flow.tcb.state() == State::Closed;
        if flow.tcb.lose_unreadable(left, &mut self.core.pool) && flow.alive() {
            flow.told.ended = true;
            self.core.counters.tcp_reset += u64::from(!over);
        }
    }

    /// Offers what lies in the receive buffer until the service takes no more.
    fn offer_buffered(&mut self, id: SlotId) {
        loop {
            let Some(flow) = self.core.flows.find_mut(id) else { return };
            if flow.paused || flow.tcb.unread_len() == 0 {
                return;
            }
            // The buffer is lent out, so that the service can send on the same connection while it reads.
            let alive = flow.alive();
            let lent = flow.tcb.lend_unread();
            let front = lent.unread();
            let taken = if alive { self.service.data(&mut self.core, id.into(), front).min(front.len()) } else { front.len() };
            let pool = &mut self.core.pool;
            match self.core.flows.find_mut(id) {
                Some(flow) => {
                    flow.tcb.take_back(lent);
                    flow.tcb.consume(taken, pool);
                    self.lose_unreadable(id, 0);
                }
                None => lent.release(pool),
            }
            if taken == 0 {
                return;
            }
            self.core.counters.tcp_buffered_bytes += taken as u64;
        }
    }

    //= rfc9293#3.6
    //# If the local TCP connection is closed by the remote side due to a FIN or RST received from the remote side, then the
    //# local application MUST be informed whether it closed normally or was aborted (MUST-12).
    /// The end of the peer's stream once all was read, and the end of the connection after that.
    fn tell_ends(&mut self, id: SlotId) {
        let Some(flow) = self.core.flows.find_mut(id).filter(|flow| flow.has_end_to_tell()) else { return };
        if flow.tcb.peer_closed() && !flow.told.peer_closed {
            flow.told.peer_closed = true;
            self.service.peer_closed(&mut self.core, id.into());
        }
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        if flow.alive() && flow.told.closing {
            flow.told.ended = true;
            self.core.counters.tcp_closed += 1;
            self.service.closed(&mut self.core, id.into());
        }
    }

    /// Something that does not end the connection; nobody is told of one that no service knows.
    pub(super) fn tell_notice(&mut self, id: SlotId, notice: Notice) {
        let Some(flow) = self.core.flows.find(id) else { return };
        if flow.alive() && (flow.told.connected || flow.listener.is_none()) {
            self.service.notice(&mut self.core, id.into(), notice);
        }
    }

    /// An abnormal end. A half-open passive connection ends unseen: the service never knew it.
    pub(super) fn tell_reset(&mut self, id: SlotId, why: ResetReason) {
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        if !flow.alive() {
            return;
        }
        flow.told.ended = true;
        let known = flow.told.connected || flow.listener.is_none();
        if known {
            self.core.counters.tcp_reset += 1;
            self.service.reset(&mut self.core, Connection::from(id), why);
        }
    }
}

fn reset_reason(events: Events) -> Option<ResetReason> {
    if events.contains(Events::REFUSED) {
        Some(ResetReason::Refused)
    } else if events.contains(Events::TIMED_OUT) {
        Some(ResetReason::TimedOut)
    } else if events.contains(Events::ABORTED) {
        Some(ResetReason::Aborted)
    } else if events.contains(Events::RESET) {
        Some(ResetReason::Reset)
    } else {
        None
    }
}

/// True when a connection has nothing left to do but to be removed or to wait out 2 MSL.
pub(super) const fn over(state: State) -> bool {
    matches!(state, State::Closed | State::TimeWait)
}
