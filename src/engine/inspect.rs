//! What the simulator looks at between turns, and what must be gone when everything is over. In tests only.

use super::counters::Counters;
use super::run::Engine;
use crate::demux::FlowKey;
use crate::demux::directory::Lookup;
use crate::device::Device;
use crate::device::drop::DropCounters;
use crate::service::Service;
use crate::tcp::inspect::View;
use crate::tcp::tally::Tally;

impl<D: Device, S: Service> Engine<D, S> {
    /// True when a turn would find work whatever the time is.
    pub(crate) fn work_waits(&mut self) -> bool {
        self.core.frames_wait()
    }

    /// The connections there are.
    pub(crate) fn connections(&self) -> impl Iterator<Item = (FlowKey, View)> {
        let flows = &self.core.flows;
        flows.glances().filter_map(|flow| Some((flow.key, flows.with(flow.id, |flow| flow.tcb.view())?)))
    }

    /// What was counted.
    pub(crate) const fn accounts(&self) -> (&Counters, &DropCounters, &Tally) {
        (&self.core.counters, &self.core.drops, &self.core.tally)
    }

    /// A connection whose public card tells something else than its TCB, or one too many. A flow that is yet to be looked at may be ahead of its card.
    pub(crate) fn lying_card(&self) -> Option<String> {
        let core = &self.core;
        let reader = core.directory.reader();
        for flow in core.flows.glances() {
            let found = reader.find(core.hash.of(&flow.key), &flow.key);
            let queued = core.flows.find(flow.id).is_some_and(|flow| flow.queued);
            match found {
                Lookup::Found(card) if card.id == flow.id && (queued || card.state == flow.state) => {}
                _ => return Some(format!("the card of {:?} in {}: {found:?}", flow.key, flow.state)),
            }
        }
        let (cards, flows) = (reader.cards().count(), core.flows.len());
        (cards != flows).then(|| format!("{cards} cards of {flows} connections"))
    }

    /// What is left over, by name: nothing, once all connections are over and their 2 MSL have passed.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let core = &self.core;
        let half_open: usize = (0..).map_while(|at| core.listeners.at(at)).map(|listener| listener.half_open).sum();
        let outside: usize = core.ports.iter().map(|port| port.device.frames()).map(|at| at.outside() + at.sending).sum();
        let counts = [
            ("TCBs", core.flows.len()),
            ("entries of the directory", usize::from(!core.directory.is_empty())),
            ("timers", core.wheel.len()),
            ("timers of services", core.tokens.len()),
            ("bytes of stream buffers", core.pool.in_use()),
            ("flows that want to send", core.ready.len()),
            ("flows with unread bytes", core.offers.len()),
            ("frames in nobody's hands", outside),
            ("frames that wait for a neighbour", core.waiting.len()),
            ("kept datagrams", core.kept.len()),
            ("half-open connections in a backlog", half_open),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect()
    }
}
