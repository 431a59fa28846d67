//! What the cores of one process have of each other: a way to find the owner of a flow, to hand its packets over, and to tell what concerns all.
//!
//! Each core runs its own engine, and nearly everything belongs to one core alone. NICs spread packets by rules of their own, so a packet may arrive
//! where its flow is not; and some things concern every core: what neighbours say of themselves, errors about packets that any of them may have
//! sent, that an address is ours. So each core keeps a [`Shared`] that the others may reach: its directory, to be read; a ring from each of them,
//! for frames; a box for news; a bell. Nothing of it locks, nothing waits, everything is bounded, and an engine that runs alone has none of it.
//!
//! `hand_off` carries frames to their owner and takes them in, `owner` finds out who that is and settles who keeps a flow that two have made,
//! `ports` knows on which cores a port is open, `tell` spreads what all must know. Called by the turn and by the paths, only where a core finds
//! nothing of its own; nothing here panics on what a peer sends.
//!
//! **Who does what.** Flows live where their first segment arrived, or where the service connected. Listeners and endpoints that every core opens
//! serve what arrives at each core. ARP, neighbour discovery and pings are answered where they arrive. The first core, the leader, finds out
//! whether addresses are free, announces and defends them, asks for routers, and hears copies of what the kernel needs too. Fragments meet at
//! one core, chosen by what all of them carry.

mod hand_off;
mod owner;
mod ports;
mod tell;

use std::io;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

pub(super) use self::hand_off::{Handed, Provenance};
pub(super) use self::owner::Whose;
use self::ports::OpenPorts;
use super::mailbox::{Bell, Stop};
use super::news::News;
use super::run::Engine;
use crate::demux::Directory;
use crate::demux::directory::Reader;
use crate::device::{Device, Frame};
use crate::limits;
use crate::link::icmp::TokenBucket;
use crate::service::Service;

/// One core's view of all of them.
#[derive(Debug)]
pub(super) struct Siblings<F> {
    /// The number of this core.
    me: u16,
    /// What each core lets the others reach, by its number.
    all: Arc<[Shared<F>]>,
    ports: Arc<OpenPorts>,
    /// The cores that something was left for since their bells were last rung: a bit each.
    left_for: u64,
    /// Lookups that may still find nothing in this turn.
    misses_left: u32,
    /// Frames whose contents may still be told in this turn.
    told_left: u32,
}

/// What a core lets the others reach.
#[derive(Debug)]
struct Shared<F> {
    directory: Reader,
    /// From each core, by its number; the one from itself stays empty.
    rings: Box<[ArrayQueue<Handed<F>>]>,
    news: ArrayQueue<News>,
    bell: Arc<Bell>,
    /// The NICs it has a queue of, by their first interface.
    nics: Box<[u16]>,
}

impl<D: Device, S: Service> Engine<D, S> {
    /// Makes siblings of engines, each of which is to run on a thread of its own: a packet that arrives at one and belongs to another finds its way.
    /// Their numbers are their positions. To be called once, before any of them starts. They must have been made with the same interfaces in the
    /// same order and the same secrets, for queues of one NIC whose frames may be sent and recycled by any of them.
    /// [`Engine::stop`] stops all of them from now on.
    ///
    /// # Errors
    /// There are more than [`limits::WORKERS`], or their interfaces differ.
    pub fn join(engines: &mut [Self]) -> io::Result<()> {
        let count = engines.len();
        let Some((first, others)) = engines.split_first_mut() else { return Ok(()) };
        let clock = first.clock();
        let names = |engine: &Self| engine.core.links.iter().map(|link| link.interface.name.clone()).collect::<Vec<_>>();
        if count > limits::WORKERS || others.iter().any(|other| names(other) != names(first)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "these engines cannot be siblings"));
        }
        if count < 2 {
            return Ok(());
        }
        for (number, engine) in engines.iter_mut().enumerate() {
            let core = &mut engine.core;
            core.directory = Directory::new(number as u16, core.config.tcp.connections);
            core.flows.use_keys(core.directory.keys());
            // Numbers and cookies follow from the time, wherever they are made and checked.
            core.clock = Some(clock);
            core.icmp_bucket = TokenBucket::for_icmp_of(count as u32);
            // So that they do not try the same ports.
            core.next_ports = [(number * limits::SOURCE_PORTS.len() / count) as u32; limits::PORT_COUNTERS];
            core.next_udp_port = (number as u32) << 24;
        }
        let all: Arc<[_]> = engines.iter().map(|engine| engine.shared(count)).collect();
        let ports = Arc::new(OpenPorts::new());
        let stop = Stop::new(engines.iter().map(Self::bell));
        for (number, engine) in engines.iter_mut().enumerate() {
            let siblings = Siblings {
                me: number as u16,
                all: Arc::clone(&all),
                ports: Arc::clone(&ports),
                left_for: 0,
                misses_left: 0,
                told_left: 0,
            };
            engine.core.siblings = Some(Box::new(siblings));
            engine.stop = stop.clone();
            if number > 0 {
                // So that what the first finds out about them is not missed.
                engine.core.begin_addresses();
            }
        }
        Ok(())
    }

    fn shared(&self, count: usize) -> Shared<D::Frame> {
        let nic = |interface: u16| self.core.links.get(usize::from(interface)).map(|link| link.nic);
        Shared {
            directory: self.core.directory.reader(),
            rings: (0..count).map(|_| ArrayQueue::new(limits::HAND_OFF)).collect(),
            news: ArrayQueue::new(limits::NEWS),
            bell: self.bell(),
            nics: self.core.ports.iter().filter_map(|port| nic(port.interface)).collect(),
        }
    }
}

impl<F: Frame> Siblings<F> {
    /// How many cores there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// A turn begins.
    #[inline]
    pub(super) const fn begin_turn(&mut self) {
        self.misses_left = limits::FOREIGN_MISSES_PER_TURN;
        self.told_left = limits::TOLD_PER_TURN;
    }

    /// True when another core has left something for this one.
    #[inline]
    pub(super) fn wait(&self) -> bool {
        self.own().is_some_and(|own| !own.news.is_empty() || own.rings.iter().any(|ring| !ring.is_empty()))
    }

    /// Wakes those that something was left for, if they sleep.
    #[inline]
    pub(super) fn ring(&mut self) {
        if self.left_for != 0 {
            self.ring_all();
        }
    }

    #[cold]
    fn ring_all(&mut self) {
        let left_for = std::mem::take(&mut self.left_for);
        for (number, core) in self.all.iter().enumerate() {
            if left_for >> number & 1 == 1 {
                core.bell.ring();
            }
        }
    }

    /// A stop does not wait for this core any more; the others are woken to hear of it. True once it waits for none: until then their packets may
    /// arrive here.
    pub(super) fn all_have_ended(&mut self) -> bool {
        if self.ports.ends(self.me) {
            self.others().for_each(|(_, core)| core.bell.ring());
        }
        self.ports.ended() == self.all.len()
    }

    const fn note(&mut self, core: u16) {
        self.left_for |= 1 << core;
    }

    fn own(&self) -> Option<&Shared<F>> {
        self.all.get(usize::from(self.me))
    }

    /// The number of this core.
    pub(super) const fn number(&self) -> u16 {
        self.me
    }

    /// The others, from the one with the lowest number.
    fn others(&self) -> impl Iterator<Item = (u16, &Shared<F>)> {
        let me = self.me;
        self.all.iter().enumerate().map(|(number, core)| (number as u16, core)).filter(move |(number, _)| *number != me)
    }
}
