//! The end in order: what becomes of each connection once a stop has begun.
//!
//! Called by [`Engine::drain`]. From the stop on a SYN is answered with a RST, as by a server that has closed its port, so that whoever spreads connections
//! over several servers goes to the next at once; so are acknowledgments of cookies. Each service is told of each of its connections
//! ([`crate::service::Service::drain`]) and closes it, now or when the answer in work is sent. A handshake under way
//! may come to its end for a second, since its peer may believe in it already. Datagrams are served until the end: they
//! promise nothing. Nothing here panics.

use std::time::Duration;

use super::core::Core;
use super::run::Engine;
use crate::demux::SlotId;
use crate::device::Device;
use crate::service::Service;
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
    /// Tells the services that the end has come.
    pub(super) fn begin_drain(&mut self) -> Remaining {
        for slot in 0..self.core.flows.slots() as u32 {
            let Some((id, flow)) = self.core.flows.at(slot) else { continue };
            if flow.told.connected {
                self.tell_drain(id);
            } else if flow.listener.is_none() {
                self.core.close_flow(id);
            }
        }
        Remaining { handshakes_until: self.core.now + HANDSHAKES, at: 0 }
    }

    /// A connection is to end once what is in work is done.
    pub(super) fn tell_drain(&mut self, id: SlotId) {
        if self.core.flows.find(id).is_some_and(|flow| flow.alive() && flow.told.connected) {
            self.service.drain(&mut self.core, id.into());
        }
    }
}

impl<D: Device> Core<D> {
    /// True while a stop has to wait for a connection. Looks on from the one it waited for last, so that a stop with a million connections looks at each
    /// about once.
    pub(super) fn holds_up_stop(&self, remaining: &mut Remaining) -> bool {
        let slots = self.flows.slots() as u32;
        for _ in 0..slots {
            let waits = |at| {
                self.flows.at(at).is_some_and(|(_, flow)| {
                    let under_way = flow.half_open().is_some();
                    !flow.time_wait() && (!under_way || self.now < remaining.handshakes_until)
                })
            };
            if waits(remaining.at) {
                return true;
            }
            remaining.at = (remaining.at + 1) % slots;
        }
        false
    }
}
