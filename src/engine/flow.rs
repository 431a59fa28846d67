//! A connection as the engine keeps it: its TCB, and how its packets travel.
//!
//! Made by the TCP path and by connect, kept in the core's table. Values only.

use std::collections::VecDeque;
use std::mem::offset_of;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::core::Lane;
use super::looks::QUIET_NS;
use super::wheel;
use crate::demux::{Address, FlowKey, Link, SlotId};
use crate::service::ListenerId;
use crate::tcp::congestion::Algorithm;
use crate::tcp::{Config, State, Tcb};
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// A TCP connection of this core.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Flow {
    // What a timer or a look asks for, before the TCB, whose first lines hold its deadlines.
    pub(super) key: FlowKey,
    /// Hash of the key.
    pub(super) hash: u64,
    /// The armed timer and its deadline, which may lie before the TCB's (it is armed anew when it fires early).
    pub(super) timer: Option<(wheel::Handle, Instant)>,
    /// In the ready list.
    pub(super) queued: bool,
    /// It is to be looked at again.
    pub(super) watched: bool,
    /// Something has happened to it since the look was asked for.
    pub(super) stirred: bool,
    /// In the list of offers.
    pub(super) offered_again: bool,
    /// The service has paused reading.
    pub(super) paused: bool,
    /// Counted in its listener's backlog.
    pub(super) in_backlog: bool,
    /// The peer has acknowledged something since the hop was looked up: the neighbour carries our packets.
    pub(super) progress: bool,
    /// The state that its card tells; of a TCB that has come to CLOSED, the one before.
    pub(super) shown: State,
    pub(super) tcb: Tcb,
    /// The lane that the peer's segments last came in by; ours leave there.
    pub(super) lane: Lane,
    pub(super) hop: Hop,
    /// Of its packets, over IPv6 (RFC 6437): the same for all.
    pub(super) flow_label: u32,
    pub(super) told: Told,
    /// How it is counted among the connections of its source.
    pub(super) counted: Counted,
    /// The listener that accepted it.
    pub(super) listener: Option<ListenerId>,
    /// The tag of the listener or the connect call.
    pub(super) tag: u64,
}

/// How a connection is counted among those of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Not at all: there is no limit, it was opened from here, or it is over.
    Not,
    /// As one whose handshake is not complete.
    HalfOpen,
    /// As one whose peer has shown that he is there.
    Open,
}

/// What the service has been told of a connection, so that it hears each thing once and in order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// `connected` was called (or the service made the connection itself and was told of its end).
    pub(super) connected: bool,
    /// `peer_closed` was called.
    pub(super) peer_closed: bool,
    /// The TCB has ended in order; `closed` follows once everything is read.
    pub(super) closing: bool,
    /// The service closed while it was still connecting; `reset` follows.
    pub(super) given_up: bool,
    /// `closed`, `reset` or an abort: the id is stale for the service.
    pub(super) ended: bool,
}

/// Where packets of a flow go on the link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hop {
    /// Back to where the flow's first frame came from, until nothing is heard and the neighbour of the route is known.
    Fixed(Mac),
    /// To the neighbour of the route, looked up again after `until`.
    Routed {
        /// Its Ethernet address, once known.
        mac: Option<Mac>,
        /// How long that is believed without asking the cache.
        until: Instant,
    },
}

impl Hop {
    /// The Ethernet address, if it is known without asking anybody.
    #[inline]
    pub(super) fn known(self, now: Instant) -> Option<Mac> {
        match self {
            Self::Fixed(mac) => Some(mac),
            Self::Routed { mac, until } => mac.filter(|_| now < until),
        }
    }
}

/// How long a flow believes its neighbour's address without asking the cache.
pub(super) const HOP_BELIEVED: Duration = Duration::from_secs(1);

/// A listener of this core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    /// Its own, if it is not the setting's, which may change.
    pub(super) backlog: Option<usize>,
    /// Connections in SYN-RECEIVED.
    pub(super) half_open: usize,
    pub(super) tag: u64,
    /// Of the connections it accepts, if it is not the setting's.
    pub(super) congestion: Option<Algorithm>,
    /// When a SYN was last answered with a cookie.
    pub(super) overflowed: Option<Instant>,
}

impl Listener {
    /// The most connections in SYN-RECEIVED.
    #[inline]
    pub(super) fn backlog(&self, tcp: &Config) -> usize {
        self.backlog.unwrap_or(tcp.backlog).max(1)
    }

    /// True while acknowledgments of cookies are looked for: within two minutes of an overflow.
    pub(super) fn takes_cookies(&self, now: Instant) -> bool {
        //= rfc4987#a
        //# If the "last overflow time" is earlier than a few minutes
        //# ago, give up.
        self.overflowed.is_some_and(|at| Self::is_recent(at, now))
    }

    /// True when an overflow was so short a time ago that acknowledgments of its cookies may still come.
    pub(super) fn is_recent(overflow: Instant, now: Instant) -> bool {
        now.since(overflow) <= COOKIES_TAKEN
    }
}

/// The longest a cookie can live.
const COOKIES_TAKEN: Duration = Duration::from_secs(128);

impl Flow {
    /// Octets from the beginning that say which deadline is next.
    pub(super) const HEAD_BYTES: usize = offset_of!(Self, tcb) + Tcb::HEAD_BYTES;

    /// One that says nothing yet, for a connection that gets up.
    #[cold]
    pub(super) fn blank(config: &Config) -> Self {
        let nowhere = Address::from(Ipv4Addr::UNSPECIFIED);
        let key = FlowKey { local: nowhere, remote: nowhere, local_port: 0, remote_port: 0, link: Link { interface: 0 } };
        let lane = Lane { port: 0, interface: 0 };
        Self::new(key, 0, 0, Tcb::blank(config), lane, Hop::Routed { mac: None, until: Instant::ZERO })
    }

    /// True when no text was sent for a while: whether it rests is worth a question. Asks for no more than the head.
    pub(super) fn may_rest(&self, now: Instant) -> bool {
        self.tcb.may_rest(now, QUIET_NS)
    }

    /// True when nothing has happened since the look was asked for, or when no text has gone for a while and none is under way.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        !self.stirred || self.tcb.is_quiet(now, QUIET_NS)
    }

    /// A connection as it begins: nobody's, and with nothing told.
    pub(super) fn new(key: FlowKey, hash: u64, flow_label: u32, tcb: Tcb, lane: Lane, hop: Hop) -> Self {
        Self {
            key,
            hash,
            flow_label,
            shown: tcb.state(),
            tcb,
            lane,
            hop,
            progress: false,
            listener: None,
            tag: 0,
            timer: None,
            queued: false,
            watched: false,
            stirred: false,
            offered_again: false,
            paused: false,
            in_backlog: false,
            counted: Counted::Not,
            told: Told::default(),
        }
    }

    /// The listener whose backlog this connection is counted in.
    pub(super) fn half_open(&self) -> Option<u16> {
        self.listener.filter(|_| self.in_backlog).map(|listener| listener.0)
    }

    /// True while the service may still use the connection.
    pub(super) fn alive(&self) -> bool {
        !self.told.ended
    }

    /// True when the service has read everything, and may have to hear that the peer sends no more, or that the connection is over.
    #[inline]
    pub(super) fn has_end_to_tell(&self) -> bool {
        (self.tcb.peer_closed() || self.told.closing) && self.alive() && self.tcb.unread_len() == 0
    }

    /// Has the output step look at it, by its id: after every event that may have changed what it sends or when it wakes.
    #[inline]
    pub(super) fn touch(&mut self, id: SlotId, ready: &mut VecDeque<SlotId>) {
        self.stirred = true;
        if !self.queued {
            self.queued = true;
            ready.push_back(id);
        }
    }
}
