//! Connections that come home: source ports chosen so that replies arrive on a queue of this core.
//!
//! Called by connect, and when a connection of ours is established. Without knowledge of how the NIC spreads packets, or where every queue it uses is ours,
//! ports are chosen as if there was none of this.

use super::core::Core;
use super::run::Engine;
use super::siblings::Provenance;
use crate::demux::{FlowKey, SlotId};
use crate::device::Device;
use crate::link::interface::Transport;
use crate::rss::{Outcome, Predictor, Spread, Tuple};
use crate::service::Service;

impl<D: Device, S: Service> Engine<D, S> {
    /// Tells how the NIC of an interface (by position) spreads packets over its queues, of which the ports of this engine are some; its VLANs
    /// share it.
    pub fn predict_replies(&mut self, interface: u16, spread: Spread) {
        let nic = self.core.links.get(usize::from(interface)).map(|link| usize::from(link.nic));
        if let Some(link) = nic.and_then(|nic| self.core.links.get_mut(nic)) {
            link.predictor = Some(Predictor::new(spread));
        }
    }
}

impl<D: Device> Core<D> {
    /// How many ports are worth trying for the replies to come home.
    pub(super) fn tries_home(&self, key: &FlowKey) -> usize {
        self.predictor(key).map_or(0, |predictor| predictor.tries(&reply_to(key), |queue| self.serves(key, queue)))
    }

    /// True when the replies are foretold to arrive on a queue of ours.
    pub(super) fn comes_home(&self, key: &FlowKey) -> bool {
        let queue = self.predictor(key).and_then(|predictor| predictor.queue_of(&reply_to(key)));
        queue.is_some_and(|queue| self.serves(key, queue))
    }

    /// Compares what was foretold of a connection that is just established with where its first reply came in.
    pub(super) fn check_first_reply(&mut self, id: SlotId) {
        // What others opened was not sent here by a port of our choice.
        let Some(flow) = self.flows.find(id).filter(|flow| flow.listener.is_none()) else { return };
        let came_in = match self.provenance {
            Provenance::Arrived => self.ports[flow.lane.port()].queue,
            Provenance::HandedOver | Provenance::Withdrawn(_) => self.handed_queue,
        };
        let reply = reply_to(&flow.key);
        let nic = usize::from(self.nic(&flow.key));
        let Some(predictor) = &mut self.links[nic].predictor else { return };
        match predictor.check(&reply, came_in) {
            Outcome::None => {}
            Outcome::Hit => self.counters.rss_hits += 1,
            Outcome::Miss => self.counters.rss_misses += 1,
            Outcome::LastMiss => {
                self.counters.rss_misses += 1;
                tracing::info!(
                    "{}: replies come in on other queues than its hash says: source ports are no longer chosen by it",
                    self.links[nic].interface.name
                );
            }
        }
    }

    fn predictor(&self, key: &FlowKey) -> Option<&Predictor> {
        self.links[usize::from(self.nic(key))].predictor.as_ref()
    }

    /// The first interface of the NIC that a flow goes by.
    fn nic(&self, key: &FlowKey) -> u16 {
        self.links[usize::from(key.link.interface)].nic
    }

    /// True for a queue of that NIC that is this core's.
    fn serves(&self, key: &FlowKey, queue: u32) -> bool {
        let nic = self.nic(key);
        self.ports.iter().any(|port| port.queue == queue && self.links[usize::from(port.interface)].nic == nic)
    }
}

/// What the peer of a flow sends, as the NIC sees it.
fn reply_to(key: &FlowKey) -> Tuple {
    Tuple { transport: Transport::Tcp, source: key.remote_socket(), target: key.local_socket() }
}
