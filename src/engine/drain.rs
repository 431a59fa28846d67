//! The end in order: what becomes of each connection once a stop has begun.
//!
//! Called by [`Engine::drain`]. From the stop on a SYN is answered with a RST, as by a server that has closed its port, so that whoever spreads connections
//! over several servers goes to the next at once; so are acknowledgments of cookies. Each service is told of each of its connections
//! ([`crate::service::Service::drain`]) and closes it, now or when the answer in work is sent. A handshake under way
//! may come to its end for a second, since its peer may believe in it already. Datagrams are served until the end: they
//! promise nothing. Nothing here panics.

use std::time::Duration;

use super::clock::Clock;
use super::core::Core;
use super::deliver::over;
use super::run::Engine;
use crate::demux::SlotId;
use crate::device::Device;
use crate::service::{ResetReason, Service};
use crate::time::Instant;

/// How long a handshake that was under way may take to end.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// What a stop still waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remaining {
    /// Half-open connections are waited for until then.
    handshakes_until: Instant,
    /// The slot of a connection that is waited for: those before it are not.
    at: u32,
}

impl<D: Device, S: Service> Engine<D, S> {
    /// The end has come.
    pub(super) fn begin_drain(&mut self) -> Remaining {
        self.core.drain_told = 0;
        self.service.stopping(&mut self.core);
        Remaining { handshakes_until: self.core.now + HANDSHAKES, at: 0 }
    }

    /// Tells the services of the next connections that the end has come: of so many between two turns, so that those at rest do not all get
    /// up at once. True while there are more.
    pub(super) fn go_on_draining(&mut self) -> bool {
        let slots = self.core.flows.slots() as u32;
        let from = self.core.drain_told;
        let until = slots.min(from.saturating_add(AT_ONCE));
        // Those that come before it from now on are told as they are connected.
        self.core.drain_told = until;
        for slot in from..until {
            let glance = self.core.flows.id_at(slot).and_then(|id| self.core.flows.glance(id));
            match glance {
                Some(flow) if flow.connected => self.tell_drain(flow.id),
                Some(flow) if !flow.connected && !flow.accepted => self.core.close_flow(flow.id),
                _ => {}
            }
        }
        until < slots
    }

    /// Aborts what has not ended, and tells the services; the resets leave.
    pub(super) fn abort_for_stop(&mut self, clock: &impl Clock) {
        self.core.recorder.expect_resets();
        for from in (0..self.core.flows.slots() as u32).step_by(AT_ONCE as usize) {
            for slot in from..from.saturating_add(AT_ONCE) {
                let glance = self.core.flows.id_at(slot).and_then(|id| self.core.flows.glance(id));
                if let Some(flow) = glance.filter(|flow| flow.alive || !flow.time_wait()) {
                    self.core.abort_unless_over(flow.id);
                    // Also where nothing is left to abort but the service has not read, and so not been told, everything.
                    self.tell_reset(flow.id, ResetReason::Aborted);
                }
            }
            self.turn(clock);
        }
    }

    /// A connection has come through its handshake while the end is told of: it is told now, unless its slot is still to come.
    pub(super) fn drain_late(&mut self, id: SlotId) {
        if self.core.stopping && id.slot < self.core.drain_told {
            self.tell_drain(id);
        }
    }

    /// A connection is to end once what is in work is done.
    fn tell_drain(&mut self, id: SlotId) {
        if self.core.flows.glance(id).is_some_and(|flow| flow.alive && flow.connected) {
            self.service.drain(&mut self.core, id.into());
        }
    }
}

/// Connections that are told between two turns.
const AT_ONCE: u32 = 4096;

impl<D: Device> Core<D> {
    fn abort_unless_over(&mut self, id: SlotId) {
        if let Some(flow) = self.flows.find_mut(id)
            && !over(flow.tcb.state())
        {
            flow.tcb.abort();
            self.touch(id);
        }
    }

    /// True while a stop has to wait for a connection. Looks on from the one it waited for last, so that a stop with a million connections looks at each
    /// about once.
    pub(super) fn holds_up_stop(&self, remaining: &mut Remaining) -> bool {
        let slots = self.flows.slots() as u32;
        for _ in 0..slots {
            let waits = |at| {
                let glance = self.flows.id_at(at).and_then(|id| self.flows.glance(id));
                glance.is_some_and(|flow| !flow.time_wait() && (!flow.half_open || self.now < remaining.handshakes_until))
            };
            if waits(remaining.at) {
                return true;
            }
            remaining.at = (remaining.at + 1) % slots;
        }
        false
    }
}
