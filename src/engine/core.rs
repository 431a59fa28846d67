//! The state of one core: everything but its service.
//!
//! Seen from inside a callback this is the [`crate::service::Context`] (`engine/calls.rs`).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::addresses::Duplicate;
use super::admission::Admission;
use super::buckets::Histograms;
use super::chain_path::{Chains, IP_HEADER_MAX, LINK_HEADER_MAX};
use super::clock::MonotonicClock;
use super::config::Config;
use super::counters::Counters;
use super::flow::{Counted, Flow, Listener};
use super::flows::{Flows, Glance};
use super::inquiry::Inquiries;
use super::looks::Looks;
use super::news::Follow;
use super::routers::Advertised;
use super::siblings::{Provenance, Siblings};
use super::spent_cookies::SpentCookies;
use super::tap::Tapped;
use super::wheel::{Handle, Wheel};
use crate::demux::{Address, Directory, FlowKey, KeyedHash, PortTable, Slab, SlotId};
use crate::device::drop::DropCounters;
use crate::device::{Device, Drop};
use crate::limits;
use crate::link::arp::Defense;
use crate::link::dad::Candidate;
use crate::link::icmp::TokenBucket;
use crate::link::identification::Identifications;
use crate::link::interface::{Claim, Interface};
use crate::link::neighbor::{Hop, NeighborCache, REACHABLE_TIME};
use crate::link::pmtu::PathMtus;
use crate::link::reassembly::Reassembly;
use crate::link::redirects::Redirects;
use crate::recorder::{Effect, Recorder};
use crate::rss::Predictor;
use crate::service::{Connection, Meta};
use crate::tcp::State;
use crate::tcp::pool::BufferPool;
use crate::tcp::tally::{Happening, Noted, Tally};
use crate::time::Instant;
use crate::udp::{Endpoints, KeptDatagrams};
use crate::wire::{ethernet, ipv6, tcp};

/// One queue of one interface.
#[derive(Debug)]
pub struct Port<D> {
    pub(super) device: D,
    pub(super) interface: u16,
    pub(super) queue: u32,
    /// The longest payload of a segment that one frame takes, whatever its headers.
    pub(super) one_segment: usize,
}

impl<D: Device> Port<D> {
    /// `interface` is the position of the interface in the list given to [`super::Engine::new`], `queue` the number it is reported under. Interfaces of
    /// the same name are VLANs of one NIC: the queue serves them all.
    pub fn new(device: D, interface: u16, queue: u32) -> Self {
        let one_segment = device.frame_bytes().saturating_sub(LINK_HEADER_MAX + IP_HEADER_MAX + tcp::HEADER_MAX);
        Self { device, interface, queue, one_segment }
    }

    /// The device again.
    pub fn into_device(self) -> D {
        self.device
    }
}

/// A port as one of the interfaces behind it sees it: the way of a frame in or out. Each VLAN of a NIC is an interface of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// Position of the port.
    pub(super) port: u16,
    /// Position of the interface.
    pub(super) interface: u16,
}

impl Lane {
    #[inline]
    pub(super) const fn port(self) -> usize {
        self.port as usize
    }

    /// Position of the interface's link.
    #[inline]
    pub(super) const fn link(self) -> usize {
        self.interface as usize
    }
}

/// What a timer of the wheel is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// The earliest deadline of the TCB in a slot, or a look whether it is at rest. It is cancelled when the TCB goes.
    Flow {
        /// The slot.
        slot: u32,
    },
    /// A claimed address is to be probed for, used or announced.
    Address {
        /// The interface.
        interface: u16,
        /// Position of the address in the claim.
        position: u16,
    },
    /// Routers are to be asked for again.
    Routers {
        /// The interface.
        interface: u16,
    },
    /// A service asked for it.
    Service {
        /// Where the service's own number is kept ([`Core::tokens`]).
        at: u32,
    },
}

// What each connection costs, beside its card and its two slots of the index.
const _: () = assert!(Wheel::<Timer>::TIMER_BYTES == 32 && Flows::SLOT_BYTES == 144);

/// An interface and what the core knows of its neighbours.
#[derive(Debug)]
pub(super) struct Link<F> {
    pub(super) interface: Interface,
    /// The longest IP packet for which there is room in one frame.
    frame_room: usize,
    /// The longest IPv6 packet that routers allow.
    pub(super) mtu_v6: usize,
    /// The first interface of the same NIC, whose VLAN is another unless it is this one.
    pub(super) nic: u16,
    /// The claimed addresses on their way to be ours: none in a port claim, where they are the kernel's.
    pub(super) candidates: Vec<Candidate>,
    /// The timer of each of them.
    pub(super) address_timers: Vec<Option<Handle>>,
    /// Those that are ours, for which ARP and neighbour discovery answer.
    pub(super) claimed: Vec<Ipv4Addr>,
    pub(super) claimed_v6: Vec<Ipv6Addr>,
    /// Those of IPv6 that are not ours yet.
    pub(super) tentative_v6: Vec<Ipv6Addr>,
    pub(super) neighbors: NeighborCache<F>,
    pub(super) defense: Defense,
    /// Routes, neighbours and addresses are the kernel's, and followed.
    pub(super) mirrored: bool,
    /// Better first hops than the routes say.
    pub(super) redirects: Redirects,
    /// What routers advertise is followed, if it is.
    pub(super) advertised: Option<Advertised>,
    /// On which queues replies will arrive, if the NIC tells; of the VLANs of a NIC the first one has it.
    pub(super) predictor: Option<Predictor>,
}

impl<F> Link<F> {
    fn new(interface: Interface, nic: u16, frame_bytes: usize, frames: usize, config: &Config) -> Self {
        let neighbors = NeighborCache::new(config.secrets.neighbors).with_lifetime(config.neighbor_expiry).with_frames(frames);
        let follows = config.router_advertisements && matches!(interface.claim, Claim::Addresses(_)) && interface.vlan.is_none();
        let frame_room = frame_bytes.saturating_sub(ethernet::HEADER_LEN + interface.vlan.tag_bytes());
        let mut link = Self {
            interface,
            frame_room,
            mtu_v6: usize::MAX,
            nic,
            candidates: Vec::new(),
            address_timers: Vec::new(),
            claimed: Vec::new(),
            claimed_v6: Vec::new(),
            tentative_v6: Vec::new(),
            neighbors,
            defense: Defense::default(),
            mirrored: false,
            redirects: Redirects::default(),
            advertised: follows.then(Advertised::default),
            predictor: None,
        };
        link.set_reachable_time(config, REACHABLE_TIME);
        link
    }

    /// How long an answer of a neighbour over IPv6 holds: about so long.
    pub(super) fn set_reachable_time(&mut self, config: &Config, base: Duration) {
        //= rfc4861#6.3.4
        //# Using a random
        //# component eliminates the possibility that Neighbor Unreachability
        //# Detection messages will synchronize with each other.
        let dice = ipv6::flow_label(&config.secrets.flow_labels, self.interface.name.as_bytes()) % 1000;
        self.neighbors.set_reachable_time(base / 2 + base * dice / 1000);
    }

    /// The longest IP packet of ours to an address, whatever its path carries.
    pub(super) fn mtu_to(&self, target: Address) -> usize {
        let mtu = self.interface.mtu;
        if target.v4().is_some() { mtu } else { mtu.min(self.mtu_v6) }
    }

    /// The longest IP packet of ours that leaves in one frame; over IPv6 routers may allow less.
    #[inline]
    pub(super) fn one_frame(&self) -> usize {
        self.interface.mtu.min(self.frame_room)
    }

    /// An address is ours from now on.
    pub(super) fn assign(&mut self, address: IpAddr) {
        self.interface.withheld.retain(|&withheld| withheld != address);
        match address {
            IpAddr::V4(address) => self.claimed.push(address),
            IpAddr::V6(address) => {
                self.tentative_v6.retain(|&tentative| tentative != address);
                self.claimed_v6.push(address);
            }
        }
    }

    /// A neighbour's place on this link.
    pub(super) const fn hop(&self, ip: IpAddr) -> Hop {
        Hop { vlan: self.interface.vlan, ip }
    }
}

/// The protocol state of one core. Its owner is one thread; nothing here is shared.
#[derive(Debug)]
pub(super) struct Core<D: Device> {
    /// The time of this turn.
    pub(super) now: Instant,
    /// The machine's clock, while the engine runs by itself; who turns it by hand has a clock of his own.
    pub(super) clock: Option<MonotonicClock>,
    pub(super) config: Config,
    pub(super) ports: Vec<Port<D>>,
    pub(super) links: Vec<Link<D::Frame>>,
    pub(super) hash: KeyedHash,
    pub(super) directory: Directory,
    pub(super) flows: Flows,
    /// The flow whose segment came last, or is thought to come next; stale when that has ended.
    pub(super) recent: SlotId,
    pub(super) listeners: PortTable<Listener>,
    pub(super) endpoints: Endpoints,
    pub(super) pool: BufferPool,
    /// The slot that is looked at next for memory to take back.
    pub(super) prune_at: u32,
    pub(super) wheel: Wheel<Timer>,
    /// Flows that are looked at again.
    pub(super) looks: Looks,
    /// How many connections count as few ([`limits::FLOWS_IN_CACHE`]): none in unit tests, so that they take the way of many; runs of the simulator take either.
    pub(super) flows_in_cache: usize,
    /// The numbers that services have given their timers.
    pub(super) tokens: Slab<u64>,
    /// Flows that may have something to send, a timer to arm, or an end to meet: each once (`Flow::queued`).
    pub(super) ready: VecDeque<SlotId>,
    /// Flows whose unread bytes are to be offered again (`Flow::offered_again`).
    pub(super) offers: VecDeque<SlotId>,
    /// Frames that waited for a neighbour, while they are sent; empty between calls.
    pub(super) waiting: Vec<D::Frame>,
    pub(super) kept: KeptDatagrams<D::Frame>,
    /// Copies of what was sent to groups of this core's own, until they are handed over.
    pub(super) looped: VecDeque<(Meta, Box<[u8]>)>,
    /// Datagrams that have come in part.
    pub(super) reassembly: Reassembly,
    /// Where they are put together: room for the longest one, once the first fragment has come.
    pub(super) whole: Box<[u8]>,
    pub(super) identifications: Identifications,
    /// The frames of a packet that leaves in fragments; empty between calls.
    pub(super) fragments: Vec<D::Frame>,
    pub(super) chains: Chains<D::Frame>,
    pub(super) icmp_bucket: TokenBucket,
    /// Of errors about the size of datagrams that may be made up.
    pub(super) path_mtu_bucket: TokenBucket,
    /// The paths that are narrower than their link.
    pub(super) path_mtus: PathMtus,
    /// Counters of TCP source ports, shared by destinations (RFC 6056 3.3.4).
    pub(super) next_ports: [u32; limits::PORT_COUNTERS],
    pub(super) next_udp_port: u32,
    pub(super) counters: Counters,
    pub(super) drops: DropCounters,
    pub(super) histograms: Histograms,
    /// What happened to connections.
    pub(super) tally: Tally,
    /// Flows in TIME-WAIT, the oldest first; some of them have gone since.
    pub(super) time_waits: VecDeque<SlotId>,
    /// Cookies that have made a connection.
    pub(super) spent_cookies: SpentCookies,
    /// The last segments and changes of state.
    pub(super) recorder: Recorder,
    /// Somebody captures frames.
    pub(super) tapped: Option<Box<Tapped>>,
    /// Who may begin with us, and how often.
    pub(super) admission: Admission,
    /// The service has been started: what finds no port open before that is not told so.
    pub(super) serving: bool,
    /// Set once a stop began: no new connections.
    pub(super) stopping: bool,
    /// The first slot whose connection has not been told of the stop yet.
    pub(super) drain_told: u32,
    /// The claimed addresses are on their way.
    pub(super) addresses_begun: bool,
    /// Claimed addresses that turned out to be others', and nobody was told yet.
    pub(super) duplicates: Vec<Duplicate>,
    /// A service asked for the stop.
    pub(super) stop_asked: bool,
    pub(super) unfilled_reported: bool,
    /// What comes from the control thread, if there is one.
    pub(super) follow: Option<Follow>,
    /// Questions of those who inspect this core.
    pub(super) inquiries: Inquiries,
    /// The other cores of the process, if there are any.
    pub(super) siblings: Option<Box<Siblings<D::Frame>>>,
    /// How the frame in work has come here.
    pub(super) provenance: Provenance,
    /// The queue it arrived on, if another core has handed it over.
    pub(super) handed_queue: u32,
    /// What is in work was told by another core, which has answered it.
    pub(super) second_hand: bool,
}

impl<D: Device> Core<D> {
    pub(super) fn new(config: Config, interfaces: Vec<Interface>, ports: Vec<Port<D>>) -> Self {
        let connections = config.tcp.connections;
        let addresses: usize = interfaces.iter().map(|interface| interface.addresses().len()).sum();
        let advertised = if config.router_advertisements { interfaces.len() * (limits::LINK_PREFIXES + 1) } else { 0 };
        let core = ports.first().map_or(0, |port| u64::from(port.queue) << 16 | u64::from(port.interface));
        let owner = ports.first().map_or(0, |port| port.queue as u16);
        let nic = |of: &Interface| interfaces.iter().position(|other| other.name == of.name).unwrap_or_default() as u16;
        let chained_mtu = ports
            .iter()
            .map(|port| &port.device)
            .filter(|device| device.mtu() + LINK_HEADER_MAX > device.frame_bytes())
            .map(|device| device.mtu())
            .max();
        let nics: Vec<u16> = interfaces.iter().map(nic).collect();
        let frame_bytes = ports.iter().map(|port| port.device.frame_bytes()).min().unwrap_or(usize::MAX);
        let frames: usize = ports.iter().map(|port| port.device.frames().total).sum();
        let frames_each = frames / interfaces.len().max(1);
        let directory = Directory::new(owner, connections);
        let flows = Flows::with_capacity(connections, directory.keys(), config.tcp);
        Self {
            now: Instant::ZERO,
            clock: None,
            config,
            ports,
            links: interfaces
                .into_iter()
                .zip(nics)
                .map(|(interface, nic)| Link::new(interface, nic, frame_bytes, frames_each, &config))
                .collect(),
            hash: KeyedHash::new(&config.secrets.directory),
            directory,
            flows,
            recent: SlotId { slot: u32::MAX, generation: 0 },
            listeners: PortTable::with_capacity(limits::LISTENERS),
            endpoints: PortTable::with_capacity(limits::ENDPOINTS),
            pool: BufferPool::new(config.tcp.memory),
            prune_at: 0,
            // One timer a connection, those of services, one an address, and one a link to ask for routers.
            wheel: Wheel::with_capacity(connections + limits::SERVICE_TIMERS + addresses + advertised),
            looks: Looks::with_capacity(connections),
            flows_in_cache: if cfg!(test) { 0 } else { limits::FLOWS_IN_CACHE },
            tokens: Slab::with_capacity(limits::SERVICE_TIMERS),
            ready: VecDeque::with_capacity(connections),
            offers: VecDeque::with_capacity(connections),
            waiting: Vec::with_capacity(limits::NEIGHBOR_QUEUE),
            kept: KeptDatagrams::new(frames / limits::KEPT_SHARE),
            looped: VecDeque::with_capacity(limits::LOOPED),
            reassembly: Reassembly::default(),
            whole: Box::default(),
            identifications: Identifications::new(&config.secrets.fragments, core),
            fragments: Vec::new(),
            chains: Chains::new(chained_mtu),
            icmp_bucket: TokenBucket::for_icmp(),
            path_mtu_bucket: TokenBucket::new(limits::UNSURE_PATH_MTUS, limits::UNSURE_PATH_MTUS),
            path_mtus: PathMtus::new(&config.secrets.paths),
            next_ports: [0; limits::PORT_COUNTERS],
            next_udp_port: 0,
            counters: Counters::default(),
            drops: DropCounters::default(),
            histograms: Histograms::default(),
            tally: Tally::default(),
            time_waits: VecDeque::with_capacity(2 * connections),
            recorder: Recorder::new(config.recorder),
            tapped: None,
            spent_cookies: SpentCookies::new(),
            admission: Admission::new(&config),
            serving: false,
            stopping: false,
            drain_told: 0,
            addresses_begun: false,
            duplicates: Vec::new(),
            stop_asked: false,
            unfilled_reported: false,
            follow: None,
            inquiries: Inquiries::default(),
            siblings: None,
            provenance: Provenance::Arrived,
            handed_queue: 0,
            second_hand: false,
        }
    }

    /// The flow of a received segment. Segments of one flow come in rows: the one found last, or guessed, is compared before anything is hashed.
    ///
    /// # Errors
    /// Without a flow the hash of the key.
    #[inline(always)]
    pub(super) fn find_flow_again(&mut self, key: &FlowKey) -> Result<SlotId, u64> {
        if self.flows.has_key(self.recent, key) {
            return Ok(self.recent);
        }
        let hash = self.hash.of(key);
        let Self { directory, flows, recent, .. } = self;
        // Kept by the closure, so that the slot is not looked up again.
        let mut found = None;
        directory.find(hash, |slot| {
            found = flows.recall(slot, key);
            found.is_some()
        });
        *recent = found.ok_or(hash)?;
        Ok(*recent)
    }

    /// The flow of a key, if there is one.
    pub(super) fn find_flow(&self, key: &FlowKey) -> Option<SlotId> {
        let slot = self.directory.find(self.hash.of(key), |slot| self.flows.is_key(slot, key))?;
        self.flows.id_at(slot)
    }

    /// Puts a new flow into the slab and the directory. `None` when the table is full.
    #[inline]
    pub(super) fn insert_flow(&mut self, mut flow: Flow) -> Option<SlotId> {
        (flow.queued, flow.stirred) = (true, true);
        let (hash, key, state) = (flow.hash, flow.key, flow.shown);
        if self.flows.is_full() {
            flow.tcb.release(&mut self.pool);
            return None;
        }
        let id = self.flows.insert(flow)?;
        // The directory has room for as many entries as the slab has slots.
        let inserted = self.directory.insert(hash, id, &key, state, self.now);
        debug_assert!(inserted, "directory and slab have the same capacity");
        self.tell_path_mtu(id);
        self.ready.push_back(id);
        Some(id)
    }

    /// Takes a flow out of every table and gives back what it held.
    pub(super) fn remove_flow(&mut self, id: SlotId) {
        let Some(flow) = self.flows.find_mut(id) else { return };
        let (hash, timer, half_open, counted) = (flow.hash, flow.timer.take(), flow.half_open(), flow.counted);
        if let Some((handle, _)) = timer {
            self.wheel.cancel(handle);
        }
        if let Some(listener) = half_open {
            self.leave_backlog(listener);
        }
        if counted != Counted::Not {
            self.leave_source(id);
        }
        self.directory.remove(hash, id);
        if let Some(flow) = self.flows.find_mut(id) {
            let noted = flow.tcb.take_noted();
            self.tally.count_all(noted);
            self.recorder.changed(self.now, &flow.key, Effect { before: flow.shown, after: State::Closed, cwnd: 0, noted });
            flow.tcb.release(&mut self.pool);
            self.flows.discard(id);
            self.counters.tcp_removed += 1;
        }
    }

    /// After a flow has come to another state: tells it on its card. A flow that is over is removed; true then.
    #[cold]
    #[inline(never)]
    pub(super) fn show_state(&mut self, id: SlotId) -> bool {
        let Some(flow) = self.flows.find_mut(id) else { return true };
        let state = flow.tcb.state();
        self.directory.set_state(id, state);
        let cwnd = flow.tcb.congestion_window();
        self.recorder.changed(self.now, &flow.key, Effect { before: flow.shown, after: state, cwnd, noted: Noted::NONE });
        // What a paused service has not read yet outlives the TCB's end; it is offered when the service resumes.
        if flow.tcb.finished() && (flow.told.ended || (flow.tcb.unread_len() == 0 && !flow.told.given_up)) {
            self.remove_flow(id);
            return true;
        }
        // CLOSED is not remembered, so that this looks again until the flow is removed.
        if state != State::Closed {
            flow.shown = state;
        }
        false
    }

    /// Counts how long a handshake took that is just complete. One that a cookie stood in for was forgotten meanwhile: its TCB has only just been made, and
    /// nobody knows.
    pub(super) fn time_handshake(&mut self, id: SlotId) {
        let Some(flow) = self.flows.find(id) else { return };
        let histograms = &mut self.histograms;
        let times = if flow.listener.is_some() { &mut histograms.accepted_ns } else { &mut histograms.opened_ns };
        let born = self.directory.born(id);
        if born < self.now {
            times.count_span(self.now.since(born));
        }
    }

    /// Remembers a flow that has ended in order, if it waits for 2 MSL.
    pub(super) fn note_time_wait(&mut self, id: SlotId) {
        self.leave_source(id);
        self.forget_time_waits();
        if self.time_waits.len() == self.time_waits.capacity() {
            // Only those left behind one that its peer keeps alive can be that many; at least half of them have gone.
            let flows = &self.flows;
            self.time_waits.retain(|&id| flows.glance(id).is_some_and(|flow| flow.time_wait()));
        }
        if self.flows.glance(id).is_some_and(|flow| flow.time_wait()) {
            self.time_waits.push_back(id);
        }
    }

    /// Drops entries at the front whose flows have gone.
    fn forget_time_waits(&mut self) {
        while let Some(&id) = self.time_waits.front()
            && !self.flows.glance(id).is_some_and(|flow| flow.time_wait())
        {
            self.time_waits.pop_front();
        }
    }

    /// Makes sure that a connection fits into the table: when it is full, the one longest in TIME-WAIT gives way. False when there is none.
    ///
    /// RFC 9293 MUST-13 asks for 2 MSL. The wait protects the next connection of the same 4-tuple from segments of this one, and lets a
    /// lost ACK of the peer's FIN be repeated. The first is done by other means as well: the peer's initial sequence numbers and timestamps
    /// and ours go forward for a 4-tuple (RFC 6528 3, RFC 7323 5.4), so that old segments fall out of the window or fail PAWS. Without the second
    /// a peer in LAST-ACK gets a RST after all its data has been acknowledged. Refusing every new connection would be worse than either.
    pub(super) fn make_room(&mut self) -> bool {
        self.forget_time_waits();
        if !self.flows.is_full() {
            return true;
        }
        let Some(id) = self.who_gives_way() else { return false };
        self.time_waits.pop_front();
        self.remove_flow(id);
        self.tally.count(Happening::TimeWaitCutShort);
        true
    }

    /// The connection longest in TIME-WAIT that can give way to a new one; it is the first in the list then. Only some are looked at.
    pub(super) fn who_gives_way(&mut self) -> Option<SlotId> {
        self.forget_time_waits();
        for _ in 0..limits::TIME_WAITS_LOOKED_AT {
            let &id = self.time_waits.front()?;
            match self.flows.glance(id).filter(Glance::time_wait) {
                Some(flow) if !flow.alive => return Some(id),
                // Its service has not read everything yet.
                Some(_) => self.time_waits.rotate_left(1),
                None => {
                    self.time_waits.pop_front();
                }
            }
        }
        None
    }

    /// One connection fewer in SYN-RECEIVED.
    pub(super) fn leave_backlog(&mut self, listener: u16) {
        if let Some(listener) = self.listeners.at_mut(listener) {
            listener.half_open = listener.half_open.saturating_sub(1);
        }
    }

    /// Has the output step look at a flow: after every event that may have changed what it sends or when it wakes.
    #[inline]
    pub(super) fn touch(&mut self, id: SlotId) {
        if let Some(flow) = self.flows.find_mut(id) {
            flow.touch(id, &mut self.ready);
        }
    }

    /// Has the unread bytes of a flow offered to the service again in this turn.
    pub(super) fn offer_again(&mut self, id: SlotId) {
        if let Some(flow) = self.flows.find_mut(id)
            && !flow.offered_again
        {
            flow.offered_again = true;
            self.offers.push_back(id);
        }
    }

    /// The number of a service's timer that is no longer armed.
    pub(super) fn take_token(&mut self, at: u32) -> Option<u64> {
        let (id, _) = self.tokens.at(at)?;
        self.tokens.remove(id)
    }

    /// Counts a drop.
    pub(super) fn drop(&mut self, why: Drop) {
        self.drops.count(why);
    }

    /// The interface that owns an address, if one does.
    pub(super) fn owner_of(&self, address: IpAddr) -> Option<u16> {
        self.links.iter().position(|link| link.interface.owns(address)).map(|at| at as u16)
    }

    /// How many connections are in each state; TIME-WAIT apart.
    pub(super) fn count_states(&self) -> (usize, usize) {
        let waiting = self.flows.glances().filter(Glance::time_wait).count();
        (self.flows.len() - waiting, waiting)
    }
}

impl From<SlotId> for Connection {
    fn from(id: SlotId) -> Self {
        Self { slot: id.slot, generation: id.generation }
    }
}

impl From<Connection> for SlotId {
    fn from(connection: Connection) -> Self {
        Self { slot: connection.slot, generation: connection.generation }
    }
}
