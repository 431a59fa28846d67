//! Expired timers: of TCBs, of services, of neighbours, of unfinished datagrams.
//!
//! Called once a turn, which serves a bounded number; the others in the turns to come. Nothing here panics.

use super::ahead::TIMERS_AHEAD;
use super::core::Timer;
use super::run::Engine;
use crate::demux::SlotId;
use crate::device::Device;
use crate::limits;
use crate::recorder::Effect;
use crate::service::{ResetReason, Service};
use crate::tcp::State;
use crate::tcp::tally::Happening;
use crate::time::Instant;

impl<D: Device, S: Service> Engine<D, S> {
    /// Serves timers that are due. True when there was one, or when there may be more.
    pub(super) fn expire_timers(&mut self) -> bool {
        let now = self.core.now;
        let mut worked = self.core.wheel.is_due(now) && self.expire_wheel(now);
        worked |= self.core.looks.deadline() <= now && self.look_again(now);
        self.core.flows.settle_spare(now, self.core.looks.is_empty());
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

    /// Serves timers of the wheel.
    fn expire_wheel(&mut self, now: Instant) -> bool {
        let mut worked = false;
        // No more than there are: a service that asks for a timer that is due already, over and over, gets it in the turns to come.
        for nth in 0..self.core.wheel.len().min(limits::TIMERS_PER_TURN) {
            if nth % TIMERS_AHEAD == 0 {
                self.core.look_ahead_at_timers();
            }
            let Some(timer) = self.core.wheel.expire(now) else { break };
            worked = true;
            match timer {
                Timer::Flow { slot } => self.flow_timer(slot, now),
                Timer::Address { interface, position } => self.core.address_timer(interface, position),
                Timer::Routers { interface } => self.core.ask_for_routers(interface),
                Timer::Service { at } => {
                    if let Some(token) = self.core.take_token(at) {
                        self.service.timer(&mut self.core, token);
                    }
                }
            }
        }
        // What is left to do is work: a core does not sleep over it.
        worked || self.core.wheel.next_deadline() <= now
    }

    fn flow_timer(&mut self, slot: u32, now: Instant) {
        let Some(id) = self.core.flows.id_at(slot) else { return };
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        flow.timer = None;
        if flow.tcb.poll_timeout() <= now {
            self.deadline_has_come(id, now);
        } else if flow.watched {
            self.core.arm(id);
        } else {
            self.look(id, now);
        }
    }

    /// Looks at the connections to which something has happened some time ago. True when there was one, or when there may be more.
    fn look_again(&mut self, now: Instant) -> bool {
        for nth in 0..limits::TIMERS_PER_TURN {
            if nth % TIMERS_AHEAD == 0 {
                self.core.look_ahead_at_looks();
            }
            let Some(id) = self.core.looks.take(now) else { break };
            // Only those that are whole wait for a look.
            if self.core.flows.find(id).is_some() {
                self.look(id, now);
            }
        }
        true
    }

    /// Lays a flow down that has come to rest, and lets the next look come to one that is busy.
    fn look(&mut self, id: SlotId, now: Instant) {
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        flow.watched = false;
        if flow.tcb.poll_timeout() <= now {
            self.deadline_has_come(id, now);
        } else if flow.queued {
            // The output step, at the end of the turn, asks for the next look.
        } else if flow.is_quiet(now) {
            self.core.lay_down(id);
        } else {
            self.core.arm(id);
        }
    }

    fn deadline_has_come(&mut self, id: SlotId, now: Instant) {
        let Some(flow) = self.core.flows.find_mut(id) else { return };
        let events = flow.tcb.on_timeout(&self.core.config.tcp, now);
        let noted = flow.tcb.take_noted();
        if !noted.is_empty() {
            self.core.tally.count_all(noted);
            let (state, cwnd) = (flow.tcb.state(), flow.tcb.congestion_window());
            self.core.recorder.changed(now, &flow.key, Effect { before: flow.shown, after: state, cwnd, noted });
        }
        if noted.contains(Happening::PathMtuReduced) {
            self.core.learn_from_flow(id);
        }
        self.deliver(id, events, &[]);
        self.core.touch(id);
    }

    /// Asks again for silent neighbours; connections that wait for one that stays silent end.
    fn neighbor_timer(&mut self, interface: usize) {
        for silent in self.core.expire_neighbors(interface) {
            let waiting: Vec<SlotId> = self
                .core
                .flows
                .glances()
                .filter(|flow| flow.state == State::SynSent && flow.lane.link() == interface)
                .filter(|flow| self.core.next_hop(flow.lane, flow.key.remote.ip()) == Some(silent))
                .map(|flow| flow.id)
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
