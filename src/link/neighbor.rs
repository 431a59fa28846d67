//! The neighbours of an interface: which Ethernet address an IP address has, and what waits to learn it (RFC 826; RFC 1122 2.3.2; RFC 4861 7).
//!
//! Called by the engine: [`NeighborCache::lookup`] for every packet it sends, the rest when an ARP or ND packet comes in, a timer is due, or a
//! connection makes progress. The cache builds no packet and reads no clock: it says who is to be asked, and takes the frames that wait
//! as values of any type. It is bounded in entries, in frames and in neighbours nobody has answered for; a peer can make it neither grow
//! nor forget the neighbours in use. Nothing here panics, and after [`NeighborCache::new`] nothing allocates except the caller's vectors.
//!
//! An address that is looked up first is INCOMPLETE: asked for at most three times, a second apart, then FAILED for a second, then
//! forgotten. An answer makes it REACHABLE for a minute; looked up later than that it is asked for again (PROBE) but still used until
//! three questions remained unanswered.
//!
//! For IPv6 this is neighbour unreachability detection (RFC 4861 7.3). Only the answer to a question of ours makes a neighbour REACHABLE, for
//! half a minute; what it says unasked makes it STALE, which is to be REACHABLE with no time left. A STALE neighbour that is looked up gets
//! five seconds to be confirmed by a connection's progress (DELAY) before it is asked, itself and not all (PROBE).

mod kernel;
mod queue;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use siphasher::sip::SipHasher13;

pub use self::kernel::{CONFIRM_EVERY, Known};
use self::queue::Queue;
use crate::device::Drop;
use crate::limits::{NEIGHBOR_QUEUE, NEIGHBOR_QUEUE_TOTAL, NEIGHBORS};
use crate::time::Instant;
use crate::wire::ethernet::Mac;
use crate::wire::nd::NeighborAdvertisement;
use crate::wire::vlan::Vlan;

/// A neighbour's place: its address, and the VLAN it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The tags of its frames.
    pub vlan: Vlan,
    /// Address of the neighbour.
    pub ip: IpAddr,
}

impl Hash for Hop {
    /// As few words as hold it: the derived hash of an IPv4 neighbour takes twice as long.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let vlan = u64::from(self.vlan.number());
        match self.ip {
            IpAddr::V4(ip) => state.write_u64(vlan << 32 | u64::from(ip.to_bits())),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                state.write_u64(1 << 63 | vlan);
                state.write_u64((bits >> 64) as u64);
                state.write_u64(bits as u64);
            }
        }
    }
}

/// What [`NeighborCache::lookup`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The neighbour's Ethernet address: send.
    Mac(Mac),
    /// Nobody has asked yet: send a request now, and give the frame to [`NeighborCache::hold`].
    Ask,
    /// It has been asked for: give the frame to [`NeighborCache::hold`].
    Wait,
    /// It does not answer, or too many others do not: drop the frame ([`Drop::NeighborUnreachable`]).
    Unreachable,
}

/// What became of an advertisement, by [`NeighborCache::advertised`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// Nobody asked for this neighbour, or what is known goes before ([`Drop::NdNotOurs`]).
    Ignored,
    /// It was taken in.
    Taken,
    /// It was taken in, and the neighbour was a router and is none any more: find another (RFC 4861 7.3.3).
    NoLongerRouter,
}

/// How long an answer over IPv4 holds, in use or not, before the neighbour is asked again (RFC 1122 2.3.2.1: on the order of a minute).
pub const LIFETIME: Duration = Duration::from_secs(60);
/// How long an answer over IPv6 holds unless a router says otherwise (RFC 4861 10, REACHABLE_TIME). Whoever sets it takes a random value
/// around it (RFC 4861 6.3.2).
pub const REACHABLE_TIME: Duration = Duration::from_secs(30);
/// Time between two requests for one neighbour (RFC 1122 2.3.2.1: at most one per second; RFC 4861 10, RETRANS_TIMER), and how long a failure
/// is remembered.
pub const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Requests after which a neighbour counts as failed (RFC 4861 10, MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT).
pub const TRIES: u8 = 3;
/// Frames that may wait for a neighbour where there are few.
const QUEUE_MIN: usize = 3;
/// Neighbours that may be without an answer at once, so that a scan of the network cannot push out those that answer (RFC 6583).
pub const UNRESOLVED: usize = NEIGHBORS / 4;

/// The cache of one interface, with frames of type `F` waiting in it.
#[derive(Debug)]
pub struct NeighborCache<F> {
    index: HashMap<Hop, usize, HashKey>,
    /// One slot a neighbour; grows up to [`NEIGHBORS`], within the capacity it began with.
    entries: Vec<Entry>,
    /// Slots of `entries` that hold no neighbour.
    free: Vec<usize>,
    /// The slots that wait for an answer or for a failure to be forgotten, soonest due first. All wait equally long, so entering
    /// last keeps the order.
    due: Queue,
    /// REACHABLE slots that were looked up, least recently used first; to [`USE_GRAIN`], so that a lookup seldom writes.
    used: Queue,
    /// REACHABLE slots that never were, oldest first: they are given up before any other, so that nobody who only speaks to us can push
    /// out those we speak to.
    unused: Queue,
    /// Frames and the slots they wait for, oldest first; every such slot is INCOMPLETE.
    waiting: Vec<(usize, F)>,
    /// How many entries are INCOMPLETE or FAILED.
    unresolved: usize,
    /// How long an answer holds, over IPv4 and over IPv6.
    lifetime: Duration,
    reachable_time: Duration,
    /// The slot found last: most packets go where the one before went.
    recent: usize,
    /// The entries are the kernel's.
    by_kernel: bool,
    /// How many frames may wait for one neighbour, and for all.
    queue: usize,
    queue_total: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hop: Hop,
    state: State,
    /// When it was looked up, to [`USE_GRAIN`].
    used: Option<Instant>,
    /// It has said that it is a router (RFC 4861 5.1, IsRouter).
    router: bool,
    /// When the kernel was last told that it carries our packets.
    confirmed: Option<Instant>,
}

/// Names as in RFC 4861 7.3.2, which ARP shares. A time is when the state ends by itself. A slot is in one queue: REACHABLE in `used` or
/// `unused`, the others but the free ones in `due`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The slot holds no neighbour.
    Free,
    /// Asked `tries` times, never answered; asked again or given up when due.
    Incomplete { tries: u8, due: Instant },
    /// Given up; forgotten when due.
    Failed { due: Instant },
    /// Answered; asked again when looked up after `until`, and STALE from then on.
    Reachable { mac: Mac, until: Instant },
    /// Asked again `tries` times since the answer grew old, and still used.
    Probe { mac: Mac, tries: u8, due: Instant },
    /// IPv6 only: used since the answer grew old, and asked unless it is confirmed in time. The time passes in `rounds` as long as the wait
    /// for an answer, so that one queue keeps everything in the order in which it is due.
    Delay { mac: Mac, rounds: u8, due: Instant },
}

impl<F> NeighborCache<F> {
    /// An empty cache. `key` is secret, so that nobody can choose addresses that fall on one place of the table.
    pub fn new(key: [u64; 2]) -> Self {
        Self {
            // Twice the entries: the map then never grows when it clears up after removals.
            index: HashMap::with_capacity_and_hasher(2 * NEIGHBORS, HashKey(key)),
            entries: Vec::with_capacity(NEIGHBORS),
            free: Vec::with_capacity(NEIGHBORS),
            due: Queue::new(NEIGHBORS),
            used: Queue::new(NEIGHBORS),
            unused: Queue::new(NEIGHBORS),
            waiting: Vec::with_capacity(NEIGHBOR_QUEUE_TOTAL),
            unresolved: 0,
            lifetime: LIFETIME,
            reachable_time: REACHABLE_TIME,
            recent: 0,
            by_kernel: false,
            queue: NEIGHBOR_QUEUE,
            queue_total: NEIGHBOR_QUEUE_TOTAL,
        }
    }

    /// For an interface whose share of the frames is `frames`: a sixteenth of them may wait, and half of that for one neighbour, so that silent ones do not
    /// take what questions and answers leave in. At least three; at most [`NEIGHBOR_QUEUE`] and [`NEIGHBOR_QUEUE_TOTAL`].
    #[must_use]
    pub fn with_frames(mut self, frames: usize) -> Self {
        self.queue = (frames / 32).clamp(QUEUE_MIN, NEIGHBOR_QUEUE);
        self.queue_total = (frames / 16).clamp(QUEUE_MIN, NEIGHBOR_QUEUE_TOTAL);
        self
    }

    /// Sets how long an answer over IPv4 holds (RFC 1122 2.3.2.1: it should be possible to configure); [`LIFETIME`] by default.
    #[must_use]
    pub const fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets how long answers over IPv6 that come from now on hold; [`REACHABLE_TIME`] by default. To be chosen anew every few hours, and when
    /// a router tells another time, at random from half to one and a half of it (RFC 4861 6.3.2).
    pub const fn set_reachable_time(&mut self, time: Duration) {
        self.reachable_time = time;
    }

    /// How long they hold.
    pub const fn reachable_time(&self) -> Duration {
        self.reachable_time
    }

    /// Where to send a packet for this neighbour. After [`Lookup::Ask`] the caller sends a request at once; later ones come from
    /// [`NeighborCache::expire`], and so do those for an answer that has grown old (then [`NeighborCache::deadline`] is now).
    #[inline]
    pub fn lookup(&mut self, now: Instant, hop: Hop) -> Lookup {
        let Some(slot) = self.find(hop) else { return self.ask_first(now, hop) };
        let Some(entry) = self.entries.get_mut(slot) else { return Lookup::Unreachable };
        match entry.state {
            State::Reachable { mac, until } => {
                if now >= until {
                    self.grow_old(now, slot, mac);
                } else if entry.used.is_none_or(|used| now.since(used) >= USE_GRAIN) {
                    entry.used = Some(now);
                    self.unused.remove(slot);
                    self.used.push_last(slot);
                }
                Lookup::Mac(mac)
            }
            State::Probe { mac, .. } | State::Delay { mac, .. } => Lookup::Mac(mac),
            State::Incomplete { .. } => Lookup::Wait,
            State::Failed { due } if now < due => Lookup::Unreachable,
            State::Free => Lookup::Unreachable,
            State::Failed { .. } => {
                entry.state = State::Incomplete { tries: 1, due: now + ASK_INTERVAL };
                self.due.push_last(slot);
                Lookup::Ask
            }
        }
    }

    /// Keeps a frame until its neighbour answers ([`NeighborCache::learn`] gives it back) or fails ([`NeighborCache::expire`] does). To
    /// be called after [`Lookup::Ask`] or [`Lookup::Wait`]. Returns what is to be dropped, and why: the oldest frame of the same
    /// neighbour, or of all, when too many wait; the frame itself when the neighbour is not being asked for.
    pub fn hold(&mut self, hop: Hop, frame: F) -> Option<(F, Drop)> {
        let slot = self.find(hop);
        let incomplete = |slot: &usize| matches!(self.entries.get(*slot), Some(Entry { state: State::Incomplete { .. }, .. }));
        let Some(slot) = slot.filter(incomplete) else { return Some((frame, Drop::NeighborUnreachable)) };
        //= rfc1122#2.3.2.2
        //# The link layer SHOULD save (rather than discard) at least
        //# one (the latest) packet of each set of packets destined to
        //# the same unresolved IP address, and transmit the saved
        //# packet when the address has been resolved.
        let same = self.waiting.iter().filter(|(other, _)| *other == slot).count();
        let displaced = if same >= self.queue {
            self.waiting.iter().position(|(other, _)| *other == slot)
        } else {
            (self.waiting.len() >= self.queue_total).then_some(0)
        };
        let displaced = displaced.map(|oldest| (self.waiting.remove(oldest).1, Drop::NeighborQueueFull));
        self.waiting.push((slot, frame));
        displaced
    }

    /// Takes in an answer, or a question for one of our addresses: the neighbour is added if it is not known. The frames that waited for
    /// it are put at the end of `waiting`, oldest first, to be sent now. An address that no station can have is ignored.
    ///
    /// Over IPv6 this is for everything that tells a neighbour's address but is no advertisement of it ([`NeighborCache::advertised`]): it
    /// does not confirm that the neighbour can be reached, so it makes it STALE if the address is news, and changes nothing if not.
    ///
    /// Returns false when the mapping was not taken: no such address, or no entry may be given up for it now.
    pub fn learn(&mut self, now: Instant, hop: Hop, mac: Mac, waiting: &mut Vec<F>) -> bool {
        if !is_station(mac) {
            return false;
        }
        let slot = match self.find(hop) {
            Some(slot) => slot,
            None => match self.insert(hop, State::Free) {
                Some(slot) => slot,
                None => return false,
            },
        };
        self.heard(now, slot, mac, waiting);
        true
    }

    /// Takes in a neighbour advertisement for `hop` (RFC 4861 7.2.5), an IPv6 neighbour; for others it is ignored. Nobody is added for it;
    /// frames that waited go as with [`NeighborCache::learn`].
    pub fn advertised(&mut self, now: Instant, hop: Hop, said: &NeighborAdvertisement, waiting: &mut Vec<F>) -> Advertised {
        //= rfc4861#7.2.5
        //# If no entry exists, the advertisement SHOULD be silently discarded.
        let Some(slot) = self.find(hop) else { return Advertised::Ignored };
        let Some(entry) = self.entries.get_mut(slot) else { return Advertised::Ignored };
        if hop.ip.is_ipv4() || said.target_mac.is_some_and(|mac| !is_station(mac)) {
            return Advertised::Ignored;
        }
        let known = match entry.state {
            State::Reachable { mac, .. } | State::Delay { mac, .. } | State::Probe { mac, .. } => Some(mac),
            State::Incomplete { .. } | State::Failed { .. } => None,
            State::Free => return Advertised::Ignored,
        };
        // Without an address in either there is nothing to go by.
        let Some(mac) = said.target_mac.or(known) else { return Advertised::Ignored };
        let news = known != Some(mac);
        if known.is_some() && news && !said.replace {
            //= rfc4861#7.2.5
            //# If the state of the entry is REACHABLE, set it to STALE, but
            //# do not update the entry in any other way.
            if let State::Reachable { until, .. } = &mut entry.state {
                *until = (*until).min(now);
            }
            return Advertised::Ignored;
        }
        let was_router = std::mem::replace(&mut entry.router, said.router);
        //= rfc4861#7.2.5
        //# If the Solicited flag is set, the state of the entry MUST be
        //# set to REACHABLE.  If the Solicited flag is zero and the link-
        //# layer address was updated with a different address, the state
        //# MUST be set to STALE.  Otherwise, the entry's state remains
        //# unchanged.
        if said.solicited {
            self.resolve(slot, mac, now, now + self.reachable_time, waiting);
        } else if news {
            self.resolve(slot, mac, now, now, waiting);
        }
        if was_router && !said.router { Advertised::NoLongerRouter } else { Advertised::Taken }
    }

    /// Notes that a known neighbour is a router, as its advertisement says, or a redirect to it (RFC 4861 6.3.4, 8.3).
    pub fn note_router(&mut self, hop: Hop) {
        if let Some(slot) = self.find(hop)
            && let Some(entry) = self.entries.get_mut(slot)
        {
            entry.router = true;
        }
    }

    /// Where a question for a neighbour goes, the first ([`Lookup::Ask`]) or one that [`NeighborCache::expire`] asks for: to the one Ethernet
    /// address that may still be right, or, if `None`, to all. Over IPv4 it always goes to all.
    pub fn ask_at(&self, hop: Hop) -> Option<Mac> {
        match self.entries.get(*self.index.get(&hop)?)?.state {
            State::Probe { mac, .. } if hop.ip.is_ipv6() => Some(mac),
            _ => None,
        }
    }

    /// As [`NeighborCache::learn`], for a packet that was not for us: only a neighbour that is known already is updated (RFC 826), so that
    /// nobody can fill the cache by broadcasting.
    pub fn update(&mut self, now: Instant, hop: Hop, mac: Mac, waiting: &mut Vec<F>) -> bool {
        match self.find(hop) {
            Some(slot) if is_station(mac) => {
                self.heard(now, slot, mac, waiting);
                true
            }
            _ => false,
        }
    }

    /// The neighbour's Ethernet address, if it is known; changes nothing and asks nobody.
    pub fn known(&self, hop: Hop) -> Option<Mac> {
        match self.entries.get(*self.index.get(&hop)?)?.state {
            State::Reachable { mac, .. } | State::Probe { mac, .. } | State::Delay { mac, .. } => Some(mac),
            State::Incomplete { .. } | State::Failed { .. } | State::Free => None,
        }
    }

    /// Says that the neighbour was just heard of by other means, an acknowledgement of what was sent to it: its answer holds on.
    #[inline]
    pub fn confirm(&mut self, now: Instant, hop: Hop) {
        let Some(slot) = self.find(hop) else { return };
        if let Some(entry) = self.entries.get_mut(slot)
            && let State::Reachable { mac, .. } | State::Probe { mac, .. } | State::Delay { mac, .. } = entry.state
        {
            if !matches!(entry.state, State::Reachable { .. }) {
                self.due.remove(slot);
                self.used.push_last(slot);
            }
            let lifetime = if hop.ip.is_ipv6() { self.reachable_time } else { self.lifetime };
            entry.state = State::Reachable { mac, until: now + lifetime };
        }
    }

    /// Says that what was sent to the neighbour is not answered: the next one who looks it up has it asked again, while its address is still
    /// used (RFC 1122 3.3.1.4).
    pub fn doubt(&mut self, now: Instant, hop: Hop) {
        if let Some(slot) = self.find(hop)
            && let Some(entry) = self.entries.get_mut(slot)
            && let State::Reachable { until, .. } = &mut entry.state
        {
            *until = (*until).min(now);
        }
    }

    /// When [`NeighborCache::expire`] has something to do; [`Instant::NEVER`] if nothing.
    #[inline]
    pub fn deadline(&self) -> Instant {
        self.due.first().map_or(Instant::NEVER, |slot| self.due_of(slot))
    }

    /// Does what is due: puts the neighbours to be asked now at the end of `asks` ([`NeighborCache::ask_at`] tells where), and the frames whose neighbour did not answer, with
    /// its address, at the end of `dropped` ([`Drop::NeighborUnreachable`]). `silent` hears of every neighbour that did not answer, whatever becomes of it.
    pub fn expire(&mut self, now: Instant, asks: &mut Vec<Hop>, dropped: &mut Vec<(Hop, F)>, mut silent: impl FnMut(Hop)) {
        // Everything that stays due is due later than now, except at the end of time: hence the bound.
        for _ in 0..self.entries.len() {
            let Some(slot) = self.due.first().filter(|&slot| self.due_of(slot) <= now) else { return };
            let Some(entry) = self.entries.get_mut(slot) else { return };
            let (hop, due) = (entry.hop, now + ASK_INTERVAL);
            match entry.state {
                State::Incomplete { tries, .. } if tries < TRIES => {
                    entry.state = State::Incomplete { tries: tries + 1, due };
                    asks.push(hop);
                }
                State::Probe { mac, tries, .. } if self.by_kernel && tries > 0 => {
                    self.used_for_a_while(now, slot, mac);
                    continue;
                }
                State::Probe { mac, tries, .. } if tries < TRIES => {
                    entry.state = State::Probe { mac, tries: tries + 1, due };
                    asks.push(hop);
                }
                State::Delay { mac, rounds, .. } if rounds < DELAY_ROUNDS => {
                    entry.state = State::Delay { mac, rounds: rounds + 1, due };
                }
                //= rfc4861#7.3.3
                //# Upon entering the PROBE state, a node sends a unicast Neighbor
                //# Solicitation message to the neighbor using the cached link-layer
                //# address.
                State::Delay { mac, .. } => {
                    entry.state = State::Probe { mac, tries: 1, due };
                    asks.push(hop);
                }
                State::Incomplete { .. } => {
                    silent(hop);
                    entry.state = State::Failed { due };
                    dropped.extend(self.waiting.extract_if(.., |(other, _)| *other == slot).map(|(_, frame)| (hop, frame)));
                }
                State::Probe { .. } if hop.ip.is_ipv4() => {
                    silent(hop);
                    entry.state = State::Failed { due };
                    self.unresolved += 1;
                }
                //= rfc4861#7.3.3
                //# If no response is
                //# received after waiting RetransTimer milliseconds after sending the
                //# MAX_UNICAST_SOLICIT solicitations, retransmissions cease and the
                //# entry SHOULD be deleted.
                State::Probe { .. } => {
                    silent(hop);
                    self.remove(slot);
                    continue;
                }
                State::Failed { .. } | State::Reachable { .. } | State::Free => {
                    self.remove(slot);
                    continue;
                }
            }
            self.due.push_last(slot);
        }
    }

    /// Gives back every frame that waits, for the end of a run.
    pub fn drain(&mut self, frames: &mut Vec<F>) {
        frames.extend(self.waiting.drain(..).map(|(_, frame)| frame));
    }

    /// How many frames wait.
    pub fn held(&self) -> usize {
        self.waiting.len()
    }

    /// All of them: place, Ethernet address if known, and the name of the state.
    pub fn iter(&self) -> impl Iterator<Item = (Hop, Option<Mac>, &'static str)> {
        self.entries.iter().filter_map(|entry| {
            let (mac, state) = match entry.state {
                State::Free => return None,
                State::Incomplete { .. } => (None, "INCOMPLETE"),
                State::Failed { .. } => (None, "FAILED"),
                State::Reachable { mac, .. } => (Some(mac), "REACHABLE"),
                State::Probe { mac, .. } => (Some(mac), "PROBE"),
                State::Delay { mac, .. } => (Some(mac), "DELAY"),
            };
            Some((entry.hop, mac, state))
        })
    }

    /// How many neighbours are known, failed or asked for.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    #[inline]
    fn find(&mut self, hop: Hop) -> Option<usize> {
        let same = |entry: &Entry| entry.hop == hop && entry.state != State::Free;
        if self.entries.get(self.recent).is_some_and(same) {
            return Some(self.recent);
        }
        let slot = *self.index.get(&hop)?;
        self.recent = slot;
        Some(slot)
    }

    #[cold]
    fn ask_first(&mut self, now: Instant, hop: Hop) -> Lookup {
        if self.unresolved >= UNRESOLVED {
            return Lookup::Unreachable;
        }
        let Some(slot) = self.insert(hop, State::Incomplete { tries: 1, due: now + ASK_INTERVAL }) else {
            return Lookup::Unreachable;
        };
        self.unresolved += 1;
        self.due.push_last(slot);
        Lookup::Ask
    }

    /// The answer of a neighbour that is looked up has grown old.
    #[cold]
    fn grow_old(&mut self, now: Instant, slot: usize, mac: Mac) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        self.used.remove(slot);
        self.unused.remove(slot);
        if entry.hop.ip.is_ipv4() || self.by_kernel {
            entry.state = State::Probe { mac, tries: 0, due: now };
            self.due.push_first(slot);
        } else {
            //= rfc4861#7.3.3
            //# The first time a node sends a packet to a neighbor whose entry is
            //# STALE, the sender changes the state to DELAY and sets a timer to
            //# expire in DELAY_FIRST_PROBE_TIME seconds.
            entry.state = State::Delay { mac, rounds: 1, due: now + ASK_INTERVAL };
            self.due.push_last(slot);
        }
    }

    /// Something has told a neighbour's address.
    fn heard(&mut self, now: Instant, slot: usize, mac: Mac, waiting: &mut Vec<F>) {
        let Some(&Entry { hop, state, .. }) = self.entries.get(slot) else { return };
        match state {
            _ if hop.ip.is_ipv4() => self.resolve(slot, mac, now, now + self.lifetime, waiting),
            //= rfc4861#7.2.3
            //# If an entry already exists, and the
            //# cached link-layer address differs from the one in the received Source
            //# Link-Layer option, the cached address should be replaced by the
            //# received address, and the entry's reachability state MUST be set to
            //# STALE.
            State::Reachable { mac: known, .. } | State::Delay { mac: known, .. } | State::Probe { mac: known, .. }
                if known == mac => {}
            _ => self.resolve(slot, mac, now, now, waiting),
        }
    }

    /// Sets a neighbour's address, which holds until `until`: with no time left it is STALE.
    fn resolve(&mut self, slot: usize, mac: Mac, now: Instant, until: Instant, waiting: &mut Vec<F>) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let ipv6 = entry.hop.ip.is_ipv6();
        match std::mem::replace(&mut entry.state, State::Reachable { mac, until }) {
            State::Reachable { .. } => {}
            State::Free => self.unused.push_last(slot),
            before => {
                entry.used = Some(now);
                self.due.remove(slot);
                self.used.push_last(slot);
                if matches!(before, State::Incomplete { .. } | State::Failed { .. }) {
                    self.unresolved -= 1;
                    let sent = waiting.len();
                    waiting.extend(self.waiting.extract_if(.., |(other, _)| *other == slot).map(|(_, frame)| frame));
                    // Sending them is use, of which a STALE neighbour takes notice.
                    if waiting.len() > sent && ipv6 && now >= until {
                        self.grow_old(now, slot, mac);
                    }
                }
            }
        }
    }

    /// Finds a slot for a new neighbour: a free one, a new one, or that of a neighbour that is not used, or not lately.
    fn insert(&mut self, hop: Hop, state: State) -> Option<usize> {
        let entry = Entry { hop, state, used: None, router: false, confirmed: None };
        let slot = if self.free.is_empty() && self.entries.len() < NEIGHBORS {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            if self.free.is_empty() {
                self.remove(self.unused.first().or(self.used.first())?);
            }
            let slot = self.free.pop()?;
            *self.entries.get_mut(slot)? = entry;
            slot
        };
        self.index.insert(hop, slot);
        Some(slot)
    }

    /// Forgets the neighbour of a slot for which no frame waits.
    fn remove(&mut self, slot: usize) {
        for queue in [&mut self.due, &mut self.used, &mut self.unused] {
            queue.remove(slot);
        }
        let Some(entry) = self.entries.get_mut(slot) else { return };
        match std::mem::replace(&mut entry.state, State::Free) {
            State::Free => return,
            State::Incomplete { .. } | State::Failed { .. } => self.unresolved -= 1,
            State::Reachable { .. } | State::Probe { .. } | State::Delay { .. } => {}
        }
        self.index.remove(&entry.hop);
        self.free.push(slot);
    }

    fn due_of(&self, slot: usize) -> Instant {
        match self.entries.get(slot).map(|entry| entry.state) {
            Some(State::Incomplete { due, .. } | State::Failed { due } | State::Probe { due, .. } | State::Delay { due, .. }) => {
                due
            }
            Some(State::Reachable { .. } | State::Free) | None => Instant::ZERO,
        }
    }
}

/// How many times [`ASK_INTERVAL`] DELAY lasts (RFC 4861 10, DELAY_FIRST_PROBE_TIME: 5 seconds).
const DELAY_ROUNDS: u8 = 5;
/// How exactly the order of use is known.
const USE_GRAIN: Duration = Duration::from_secs(1);

/// True for an address that one station can have.
fn is_station(mac: Mac) -> bool {
    !mac.is_group() && mac != Mac::default()
}

/// Makes the keyed hasher of the index.
#[derive(Clone, Copy)]
struct HashKey([u64; 2]);

impl BuildHasher for HashKey {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

impl std::fmt::Debug for HashKey {
    /// The key is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey")
    }
}

#[cfg(test)]
mod tests;
