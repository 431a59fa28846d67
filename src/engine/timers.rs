//! Expired timers: of TCBs, of services, of neighbours, of unfinished datagrams.
//!
//! Called once a turn. Nothing here panics.

use super::core::Timer;
use super::run::Engine;
use crate::demux::SlotId;
use crate::device::Device;
use crate::service::{ResetReason, Service};
use crate::tcp::State;
use crate::tcp::tally::Happening;
use crate::time::Instant;

impl<D: Device, S: Service> Engine<D, S> {
    /// Serves every timer that is due. True when there was one.
    pub(super) fn expire_timers(&mut self) -> bool {
        let mut worked = false;
        let now = self.core.now;
        // No more than there are: a service that asks for a timer that is due already, over and over, gets it in the turns to come.
        for _ in 0..self.core.wheel.len() {
            let Some(timer) = self.core.wheel.expire(now) else { break };
            worked = true;
            match timer {
                Timer::Flow(id) => self.flow_timer(id, now),
                Timer::Address { interface, position } => self.core.address_timer(interface, position),
                Timer::Routers { interface } => self.core.ask_for_routers(interface),
                Timer::Service { token } => {
                    self.core.service_timers -= 1;
                    self.service.timer(&mut self.core, token);
                }
            }
        }
        for interface in 0..self.core.links.len() {
            if self.core.links[interface].neighbors.deadline() <= now {
                worked = true;
                self.neighbor_timer(interface);
            }
        }
        if self.core.reassembly.deadline() <= now {
            worked = true;
            self.core.expire_fragments();
        }
        worked
    }

    fn flow_timer(&mut self, id: SlotId, now: Instant) {
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        flow.timer = None;
        if flow.tcb.poll_timeout() <= now {
            let events = flow.tcb.on_timeout(&self.core.config.tcp, now);
            let noted = flow.tcb.take_noted();
            self.core.tally.count_all(noted);
            if noted.contains(Happening::PathMtuReduced) {
                self.core.learn_from_flow(id);
            }
            self.deliver(id, events, &[]);
        }
        self.core.touch(id);
    }

    /// Asks again for silent neighbours; connections that wait for one that stays silent end.
    fn neighbor_timer(&mut self, interface: usize) {
        for silent in self.core.expire_neighbors(interface) {
            let waiting: Vec<SlotId> = self
                .core
                .flows
                .iter()
                .filter(|(_, flow)| flow.tcb.state() == State::SynSent && flow.lane.link() == interface)
                .filter(|(_, flow)| self.core.next_hop(flow.lane, flow.key.remote.ip()) == Some(silent))
                .map(|(id, _)| id)
                .collect();
            for id in waiting {
                let Some(flow) = self.core.flows.find_mut(id) else { continue };
                if !flow.tcb.on_unreachable().is_empty() {
                    self.tell_reset(id, ResetReason::Unreachable);
                }
                self.core.touch(id);
            }
        }
    }
}
