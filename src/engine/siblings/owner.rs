//! Whose a flow is: the other cores' directories asked, and two cores that make the same flow at once settled.
//!
//! Called where a core does not find a flow itself, and after it has put one into its directory. A core answers for closed ports, and makes flows, only
//! when all others said for certain that they have none.
//!
//! **Two at once.** Copies of one SYN may arrive at two cores. Each looks at the others' directories, inserts, and looks once more, with a full fence
//! between the two. With it, of two that insert at the same time at least one finds the other's. Whoever finds one takes its own back, before anything has left for it, and
//! hands the SYN over. If only one of the two found the other's, the SYN meets the flow that stayed. If both did, both SYNs meet nothing: the core
//! with the lower number takes the one it is given, the other lets it go. So one flow is left in either case. Cores that connect try another port instead.

use super::{Provenance, Siblings};
use crate::demux::FlowKey;
use crate::demux::directory::Lookup;
use crate::device::{Device, Drop, Frame};
use crate::engine::core::Core;
use crate::engine::flow::Listener;
use crate::limits;
use crate::link::interface::Transport;

/// Who has a flow that this core has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Whose {
    /// No core.
    Nobodys,
    /// This one.
    Theirs(u16),
    /// Nothing may be concluded, and this is why.
    Unknown(Drop),
}

impl<F: Frame> Siblings<F> {
    /// Asks the other cores for a flow.
    fn ask(&self, hash: u64, key: &FlowKey) -> Whose {
        let mut unsure = false;
        for (number, core) in self.others() {
            match core.directory.find(hash, key) {
                Lookup::Found(_) => return Whose::Theirs(number),
                Lookup::Missing => {}
                Lookup::Unsure => unsure = true,
            }
        }
        if unsure { Whose::Unknown(Drop::ForeignLookupUnsure) } else { Whose::Nobodys }
    }

    /// The first other core that has opened a port.
    fn with_port(&self, transport: Transport, port: u16) -> Option<u16> {
        let cores = self.ports.others(self.me, transport, port);
        (cores != 0).then(|| cores.trailing_zeros() as u16)
    }
}

impl<D: Device> Core<D> {
    /// The core that finds out about addresses and speaks for all; an engine that runs alone is its own.
    #[inline]
    pub(in crate::engine) fn is_leader(&self) -> bool {
        self.siblings.as_ref().is_none_or(|siblings| siblings.me == 0)
    }

    /// Who has the flow of a segment that found none here; `opens` when it asks for a new one.
    #[inline]
    pub(in crate::engine) fn whose(&mut self, hash: u64, key: &FlowKey, opens: bool) -> Whose {
        if self.siblings.is_none() { Whose::Nobodys } else { self.ask_siblings(hash, key, opens) }
    }

    #[cold]
    fn ask_siblings(&mut self, hash: u64, key: &FlowKey, opens: bool) -> Whose {
        let Some(siblings) = &mut self.siblings else { return Whose::Nobodys };
        if !opens && siblings.misses_left == 0 {
            // Who sends segments of no connection could make every core look into the memory of all others.
            return Whose::Unknown(Drop::ForeignLookupLimited);
        }
        self.counters.foreign_lookups += 1;
        let whose = siblings.ask(hash, key);
        match (whose, self.provenance) {
            (Whose::Nobodys, Provenance::Withdrawn(from)) if from < siblings.me => Whose::Unknown(Drop::HandOffAstray),
            (Whose::Nobodys, _) => {
                siblings.misses_left = siblings.misses_left.saturating_sub(u32::from(!opens));
                Whose::Nobodys
            }
            // What was handed over once is not handed on: it could go round for ever.
            (Whose::Theirs(_), Provenance::HandedOver | Provenance::Withdrawn(_)) => Whose::Unknown(Drop::HandOffAstray),
            _ => whose,
        }
    }

    /// Who else has a flow that this core has just inserted.
    #[inline]
    pub(in crate::engine) fn who_else_has(&mut self, hash: u64, key: &FlowKey) -> Whose {
        let Some(siblings) = &self.siblings else { return Whose::Nobodys };
        self.directory.before_others_are_asked();
        siblings.ask(hash, key)
    }

    /// True when another core has a flow of this key, or might have one.
    pub(in crate::engine) fn is_taken_elsewhere(&self, key: &FlowKey) -> bool {
        let Some(siblings) = &self.siblings else { return false };
        siblings.ask(self.hash.of(key), key) != Whose::Nobodys
    }

    /// A service of this core has opened a port.
    pub(in crate::engine) fn port_opened(&self, transport: Transport, port: u16) {
        if let Some(siblings) = &self.siblings {
            siblings.ports.opened(siblings.me, transport, port);
        }
    }

    /// True when no other core has opened a port.
    pub(in crate::engine) fn is_free_elsewhere(&self, transport: Transport, port: u16) -> bool {
        self.siblings.as_ref().is_none_or(|siblings| siblings.with_port(transport, port).is_none())
    }

    /// The core to which a packet for a port is to be handed over that is not open here.
    #[cold]
    pub(in crate::engine) fn port_elsewhere(&self, transport: Transport, port: u16) -> Option<u16> {
        let siblings = self.siblings.as_ref().filter(|_| self.provenance == Provenance::Arrived)?;
        siblings.with_port(transport, port)
    }

    /// A SYN was answered with a cookie.
    pub(in crate::engine) fn sent_cookie(&self) {
        if let Some(siblings) = &self.siblings {
            siblings.ports.sent_cookie(self.now);
        }
    }

    /// True for the first core that is to say that a peer leaves checksums to others.
    pub(in crate::engine) fn may_say_unfilled(&self) -> bool {
        self.siblings.as_ref().is_none_or(|siblings| siblings.ports.may_say_unfilled())
    }

    /// True while acknowledgments of cookies are looked for at a listener.
    pub(in crate::engine) fn takes_cookies(&self, listener: &Listener) -> bool {
        let elsewhere = || self.siblings.as_ref().and_then(|siblings| siblings.ports.last_cookie());
        listener.takes_cookies(self.now) || elsewhere().is_some_and(|at| Listener::is_recent(at, self.now))
    }

    /// The core at which the fragments of one packet meet, if that is another.
    pub(in crate::engine) fn where_fragments_meet(&self, hash: u64) -> Option<u16> {
        let siblings = self.siblings.as_ref().filter(|_| self.provenance == Provenance::Arrived)?;
        let core = (hash % siblings.count() as u64) as u16;
        (core != siblings.me).then_some(core)
    }
}

const _: () = assert!(limits::WORKERS <= 64, "a bit of a word each");
