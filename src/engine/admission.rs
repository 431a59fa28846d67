//! Who may begin with us, asked where a packet finds no connection; and the books of each source's connections.
//!
//! Called by the TCP and the UDP path, by the path of fragments, and where a flow is made, comes through its handshake, and ends. The rules, and what a flood
//! of forged sources comes to, are [`crate::demux::admission`]'s. With nothing switched on it costs one branch a datagram, and a few a
//! SYN. Nothing here panics.

use std::sync::Arc;

use super::config::Config;
use super::core::Core;
use super::flow::Counted;
use super::run::Engine;
use crate::demux::admission::{Limits, Most, Prefixes, Source, Syn};
use crate::demux::{Address, FlowKey, SlotId};
use crate::device::{Device, Drop};
use crate::service::Service;

/// What is asked of who begins.
#[derive(Debug)]
pub(super) struct Admission {
    /// Whose packets are heard; `None` when everybody's are.
    lists: Option<Arc<Prefixes>>,
    limits: Option<Box<Limits>>,
}

impl Admission {
    pub(super) fn new(config: &Config) -> Self {
        Self { lists: None, limits: Self::limits_of(config) }
    }

    /// The limits that a configuration sets.
    pub(super) fn limits_of(config: &Config) -> Option<Box<Limits>> {
        let tcp = &config.tcp;
        let most = Most {
            connections_per_source: tcp.connections_per_source,
            syn_rate: tcp.syn_rate,
            syn_rate_per_source: tcp.syn_rate_per_source,
        };
        Limits::new(&config.secrets.sources, most, tcp.connections).map(Box::new)
    }

    /// Goes on with other lists and limits. Who has a connection keeps it.
    pub(super) fn change(&mut self, lists: Option<Arc<Prefixes>>, limits: Option<Box<Limits>>) {
        self.lists = lists;
        match (&mut self.limits, limits) {
            (Some(old), Some(new)) => old.replace(*new),
            (Some(old), None) => old.lift(),
            (none @ None, new) => *none = new,
        }
    }

    /// True when somebody is kept out.
    #[inline(always)]
    pub(super) const fn has_lists(&self) -> bool {
        self.lists.is_some()
    }

    /// True when a list lets an address begin with us.
    #[cold]
    #[inline(never)]
    pub(super) fn admits(&self, address: Address) -> bool {
        self.lists.as_ref().is_none_or(|lists| lists.admits(address))
    }

    #[cfg(test)]
    pub(super) fn limits(&self) -> Option<&Limits> {
        self.limits.as_deref()
    }
}

impl<D: Device, S: Service> Engine<D, S> {
    /// From now on only addresses that `lists` admit may begin with us: what others send is dropped and counted, segments of no connection, datagrams and
    /// fragments alike, and answered by nothing. Connections that a service opens from here, and its UDP endpoints of one peer, hear
    /// that peer all the same; pings are answered to all, since they make no state. Before the first turn.
    pub fn admit(&mut self, lists: Arc<Prefixes>) {
        self.core.admission.lists = Some(lists);
    }
}

impl<D: Device> Core<D> {
    /// True when a datagram comes from somebody who is kept out, and not to an endpoint that asked him. It has not been checked yet.
    #[cold]
    #[inline(never)]
    pub(super) fn denies_datagram(&self, source: Address, target: Address, datagram: Option<&[u8]>) -> bool {
        if self.admission.admits(source) {
            return false;
        }
        let Some(&[a, b, c, d, ..]) = datagram else { return true };
        let (source_port, target_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let endpoint = self.endpoints.find(target, target_port).and_then(|endpoint| self.endpoints.at(endpoint));
        endpoint.is_none_or(|endpoint| endpoint.peer != Some((source, source_port)))
    }

    /// What becomes of a SYN for a listener. One that `follows` a connection in TIME-WAIT would take its place.
    #[inline]
    pub(super) fn admit_syn(&mut self, key: &FlowKey, follows: bool) -> Syn {
        match &mut self.admission.limits {
            None => Syn::Admitted,
            Some(limits) => limits.syn(self.now, Source::from(key.remote), follows),
        }
    }

    /// True when the limits let a source have a connection for the acknowledgment of a cookie.
    #[inline]
    pub(super) fn may_open(&self, key: &FlowKey) -> bool {
        self.admission.limits.as_ref().is_none_or(|limits| limits.may_open(Source::from(key.remote)))
    }

    /// Counts a new connection of a listener among those of its source.
    #[inline]
    pub(super) fn count_in_source(&mut self, id: SlotId, counted: Counted) {
        if self.admission.limits.is_some() {
            self.enter_source(id, counted);
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_source(&mut self, id: SlotId, counted: Counted) {
        let (Some(flow), Some(limits)) = (self.flows.find_mut(id), &mut self.admission.limits) else { return };
        let source = Source::from(flow.key.remote);
        let entered = match counted {
            Counted::Not => false,
            Counted::HalfOpen => limits.begin(source),
            Counted::Open => limits.open(source),
        };
        flow.counted = if entered { counted } else { Counted::Not };
    }

    /// The handshake of a flow is complete. False when its source has got all the connections it may have meanwhile: this one is aborted, and
    /// its service never hears of it.
    pub(super) fn complete_in_source(&mut self, id: SlotId) -> bool {
        let Some(flow) = self.flows.find_mut(id) else { return true };
        if flow.counted != Counted::HalfOpen {
            return true;
        }
        let key = flow.key;
        if !self.may_open(&key) {
            if let Some(flow) = self.flows.find_mut(id) {
                flow.told.ended = true;
                flow.tcb.abort();
            }
            self.drop(Drop::TcpSourceFull);
            self.touch(id);
            return false;
        }
        self.leave_source(id);
        self.enter_source(id, Counted::Open);
        true
    }

    /// A flow is over, or about to be counted anew.
    pub(super) fn leave_source(&mut self, id: SlotId) {
        let (Some(flow), Some(limits)) = (self.flows.find_mut(id), &mut self.admission.limits) else { return };
        let source = Source::from(flow.key.remote);
        match std::mem::replace(&mut flow.counted, Counted::Not) {
            Counted::Not => {}
            Counted::HalfOpen => limits.leave_half_open(source),
            Counted::Open => limits.close(source),
        }
    }
}
