//! The control thread: it follows the kernel for an engine, so that the engine never has to ask.
//!
//! Started by `launch` for all workers together, ended before anything is given back. It hears by netlink what changes on the interfaces: the state of the links always, in
//! a port claim neighbours, routes and addresses too. It reads copies of frames that both need, and hands all of it to the engine over a bounded
//! queue ([`crate::engine::Feed`]). The other way come the engine's wishes: to find a neighbour, to know that one carries packets, to follow a
//! router. What an address that comes or goes means for held ports and the XDP program is done by who started the thread
//! ([`Watched::on_addresses`]). It may wait, allocate and call the system. The engine's thread does none of that for its sake but to wake it (a write
//! to an eventfd) for a wish that cannot wait, and to box what a router says. Nothing here panics on what the kernel or the wire says.
//!
//! `netlink` hears and asks, `decode` reads messages, `mirror` knows what is still to be told, `filter` chooses the copies, `confirm` tells
//! of neighbours in use, `routers` makes routes and addresses of what routers advertise.

mod confirm;
mod decode;
mod filter;
mod mirror;
mod netlink;
mod routers;

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use self::confirm::Confirmer;
use self::decode::{LinkState, Said};
use self::mirror::{LinkNews, Mirror};
use self::netlink::{Asker, Changes, Heard};
pub use self::routers::Following;
use self::routers::Routing;
use crate::beside::{self, Place};
use crate::engine::{Clock as _, Feed, MonotonicClock, News, Wish};
use crate::error::SetupError;
use crate::link::interface::{Cidr, Claim};
use crate::rights::CapabilitySet;
use crate::steer::addresses::{self, AddressState, KernelAddress};
use crate::xsk::Copies;
use crate::xsk::nic::Nic;

/// Steers these addresses and no others: in a port claim, where they are the kernel's, their ports, which are held too; in an address claim, where
/// routers advertise them, beside those of the operator.
pub type OnAddresses = Box<dyn FnMut(&[Cidr]) -> Settled + Send>;

/// What became of addresses.
#[derive(Debug, Default)]
pub struct Settled {
    /// Those that are steered now.
    pub addresses: Vec<Cidr>,
    /// Why others are not.
    pub left_out: Vec<SetupError>,
    /// It was not done whole, and may be later.
    pub again: Option<SetupError>,
}

/// An interface to be followed.
pub struct Watched<'a> {
    /// The interface.
    pub nic: &'a Nic,
    /// Its position among the engine's interfaces, or that of the first one when it has several VLANs.
    pub position: u16,
    /// What is claimed on it.
    pub claim: &'a Claim,
    /// The MTU that the engine reckons with.
    pub mtu: usize,
    /// In a port claim: what is done when the kernel's addresses change.
    pub on_addresses: Option<OnAddresses>,
    /// In an address claim: how router advertisements are followed, if they are.
    pub routers: Option<Following>,
}

/// The engines that are told, one for each worker, and that wish. The thread is the only one that tells them.
struct Feeds(Vec<Feed>);

impl Feeds {
    /// Tells all, or none when one has no room.
    fn tell(&self, news: &News) -> bool {
        self.0.iter().all(Feed::has_room) && self.0.iter().all(|feed| feed.tell(news.clone()).is_ok())
    }

    /// Tells the first, which passes on what concerns all. What finds no room is counted there.
    fn tell_first(&self, news: News) {
        if let Some(first) = self.0.first() {
            let _ = first.tell(news);
        }
    }

    /// What one of them wishes next.
    fn wish(&self) -> Option<Wish> {
        self.0.iter().find_map(Feed::wish)
    }
}

/// The running thread; dropped, it ends.
pub struct Control {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// What is opened before the engine is told of it.
pub struct Prepared {
    poll: Poll,
    waker: Arc<Waker>,
    changes: Changes,
    asker: Asker,
    interfaces: Vec<Followed>,
    keeps: CapabilitySet,
}

/// An interface of the thread's.
struct Followed {
    name: String,
    ifindex: u32,
    mirror: Mirror,
    copies: Vec<Copies>,
    confirmer: Option<Confirmer>,
    claim: Option<OnAddresses>,
    /// The largest MTU that the engine was started for.
    largest_mtu: usize,
    routing: Option<Routing>,
    /// Something could not be followed whole, and that was said.
    said_full: bool,
}

impl Prepared {
    /// Subscribes and opens what is needed, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Netlink or the sockets for copies are refused.
    pub fn open(watched: Vec<Watched<'_>>) -> Result<Self, SetupError> {
        let failed = |error: io::Error| SetupError::environment("cannot follow the kernel by netlink", error.to_string());
        let everything = watched.iter().any(|one| one.on_addresses.is_some());
        let poll = Poll::new().map_err(failed)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(failed)?);
        let changes = Changes::subscribe(everything).map_err(failed)?;
        let listen = |fd, token| poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE);
        listen(changes.as_raw_fd(), CHANGES).map_err(failed)?;
        let keeps = watched.iter().map(needed_for).collect();
        let mut interfaces = Vec::new();
        for Watched { nic, position, claim, mtu, on_addresses, routers } in watched {
            let filters = filter::filters(nic.index(), claim, routers.is_some());
            let copies =
                filters.iter().map(|(ethertype, filter)| Copies::open(nic, *ethertype, filter)).collect::<Result<Vec<_>, _>>()?;
            copies.iter().try_for_each(|copies| listen(copies.as_raw_fd(), COPIES)).map_err(failed)?;
            interfaces.push(Followed {
                name: nic.name().to_owned(),
                ifindex: nic.index(),
                mirror: Mirror::new(position, claim.addresses().to_vec(), LinkState { up: true, mtu }),
                routing: routers.map(|following| Routing::new(nic.name(), claim.addresses(), following)),
                copies,
                confirmer: on_addresses.is_some().then(|| Confirmer::on(nic.name(), nic.index())),
                claim: on_addresses,
                largest_mtu: mtu,
                said_full: false,
            });
        }
        let asker = Asker::new().map_err(failed)?;
        Ok(Self { poll, waker, changes, asker, interfaces, keeps })
    }

    /// What wakes the thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Tells the engine all there is, and goes on doing so on a thread.
    ///
    /// # Errors
    /// The kernel cannot be read, or there is no thread.
    pub fn start(self, feeds: Vec<Feed>, place: Option<Place>) -> Result<Control, SetupError> {
        let Self { poll, waker, changes, asker, interfaces, keeps } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let clock = MonotonicClock::start();
        let mut follower = Follower {
            poll,
            changes,
            asker,
            interfaces,
            feeds: Feeds(feeds),
            clock,
            stop: Arc::clone(&stop),
            routes_due: None,
            all_due: None,
            left: false,
        };
        follower
            .read_all()
            .map_err(|error| SetupError::environment("cannot read what the kernel knows of the network", error.to_string()))?;
        follower.tell();
        let thread = beside::spawn("ringway-control", place, keeps, move || follower.run());
        let thread = thread.map_err(|error| SetupError::environment("cannot start the control thread", error.to_string()))?;
        Ok(Control { stop, waker, thread: Some(thread) })
    }
}

impl Drop for Control {
    /// Ends the thread, so that nothing changes any more while things are given back.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Control")
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

impl fmt::Debug for Watched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("nic", &self.nic.name()).finish_non_exhaustive()
    }
}

/// The thread's state.
struct Follower {
    poll: Poll,
    changes: Changes,
    asker: Asker,
    interfaces: Vec<Followed>,
    feeds: Feeds,
    /// Of what routers say.
    clock: MonotonicClock,
    stop: Arc<AtomicBool>,
    /// When the routes are to be read anew.
    routes_due: Option<Instant>,
    /// When everything is to be read anew, because that failed.
    all_due: Option<Instant>,
    /// The engine had no room for everything, or more copies may wait than were read.
    left: bool,
}

impl Follower {
    fn run(&mut self) {
        let mut events = Events::with_capacity(64);
        while !self.stop.load(Ordering::Relaxed) {
            let _ = self.poll.poll(&mut events, Some(self.patience()));
            self.follow_kernel();
            let more = self.read_copies();
            self.do_wishes();
            self.follow_routers();
            self.tell();
            self.left |= more;
        }
    }

    /// Takes in what has changed. What could not be read may be anything that was changing: everything is read again, until that succeeds.
    fn follow_kernel(&mut self) {
        let again = self.all_due.is_some();
        let result = match self.all_due {
            Some(due) if Instant::now() < due => return,
            Some(_) => {
                self.changes.discard();
                self.read_all()
            }
            None => self.hear().and_then(|()| self.read_due_routes()),
        };
        self.all_due = result.is_err().then(|| Instant::now() + RETRY);
        match result {
            Err(error) if !again => {
                tracing::warn!("cannot follow what the kernel knows of the network: {error}; it is tried again")
            }
            Ok(()) if again => tracing::warn!("what the kernel knows of the network is followed again"),
            Ok(()) | Err(_) => {}
        }
    }

    /// How long nothing needs to be done unless something happens.
    fn patience(&self) -> Duration {
        match self.all_due.or(self.routes_due) {
            _ if self.left => ROOM_LOOK,
            Some(due) => due.saturating_duration_since(Instant::now()).clamp(ROOM_LOOK, WISHES_LOOK),
            // Lifetimes of routers are whole seconds: what ends is seen with the next look for wishes.
            None => WISHES_LOOK,
        }
    }

    /// What has changed.
    fn hear(&mut self) -> io::Result<()> {
        let mut said = Vec::new();
        if self.changes.read(|one| said.push(one)) == Heard::Overrun {
            tracing::info!("more has changed in the kernel than could be heard: reading everything anew");
            // What was heard before is older than what is read now, and what comes after is newer.
            return self.read_all();
        }
        let (mut addresses, mut routes) = (false, false);
        for one in said {
            match one {
                Said::Routes => routes = true,
                Said::Addresses(ifindex) => addresses |= self.interfaces.iter().any(|one| one.ifindex == ifindex),
                Said::Neighbor(ifindex, ip, known) => {
                    if let Some(followed) = self.interfaces.iter_mut().find(|one| one.ifindex == ifindex) {
                        let room = followed.claim.is_none() || followed.mirror.neighbor(ip, known);
                        followed.say_full(!room, "neighbours");
                    }
                }
                Said::Link(ifindex, state) => {
                    if let Some(followed) = self.interfaces.iter_mut().find(|one| one.ifindex == ifindex) {
                        followed.link(state);
                    }
                }
            }
        }
        if addresses {
            self.read_addresses()?;
        }
        if routes && self.routes_due.is_none() {
            // Routes come in rows: the first waits for the others.
            self.routes_due = Some(Instant::now() + ROUTES_WAIT);
        }
        Ok(())
    }

    /// Everything, from the begin.
    fn read_all(&mut self) -> io::Result<()> {
        for followed in &mut self.interfaces {
            // One that is gone is down.
            followed.link(netlink::link(followed.ifindex)?.unwrap_or_default());
        }
        if !self.follows_ports() {
            return Ok(());
        }
        self.read_addresses()?;
        let all = netlink::neighbors()?;
        for followed in self.interfaces.iter_mut().filter(|one| one.claim.is_some()) {
            let own = all.iter().filter(|(ifindex, ..)| *ifindex == followed.ifindex);
            let room = followed.mirror.all_neighbors(own.map(|&(_, ip, known)| (ip, known)));
            followed.say_full(!room, "neighbours");
        }
        self.routes_due = Some(Instant::now());
        self.read_due_routes()
    }

    fn follows_ports(&self) -> bool {
        self.interfaces.iter().any(|one| one.claim.is_some())
    }

    fn read_due_routes(&mut self) -> io::Result<()> {
        if self.routes_due.is_none_or(|due| Instant::now() < due) {
            return Ok(());
        }
        let all = netlink::routes()?;
        self.routes_due = None;
        for followed in self.interfaces.iter_mut().filter(|one| one.claim.is_some()) {
            let (routes, left_out) = decode::routes_of(&all, followed.ifindex);
            followed.mirror.all_routes(routes);
            followed.say_full(left_out > 0, "routes");
        }
        Ok(())
    }

    /// The kernel's addresses of port claims.
    fn read_addresses(&mut self) -> io::Result<()> {
        if !self.follows_ports() {
            return Ok(());
        }
        let all = addresses::kernel_addresses().map_err(io::Error::other)?;
        let mut again = None;
        for followed in &mut self.interfaces {
            // One that is asked for again because the link was away is held all the while: else the kernel would reset what comes before it is held again.
            let before = followed.mirror.addresses();
            let own = |known: &&KernelAddress| match known.state {
                AddressState::Usable => true,
                AddressState::Tentative => before.contains(&known.cidr),
                AddressState::Duplicate => false,
            };
            let of_link = all.iter().filter(|known| known.ifindex == followed.ifindex);
            let now = of_link.filter(own).map(|known| known.cidr).collect();
            if let Some(error) = followed.addresses(now) {
                again = Some(error);
            }
        }
        again.map_or(Ok(()), |error| Err(io::Error::other(error.to_string())))
    }

    /// Reads copies; true when there may be more, of which the poll tells no more.
    fn read_copies(&mut self) -> bool {
        let mut more = false;
        let mut room = [0; filter::SNAP_LEN as usize];
        for followed in &self.interfaces {
            let interface = followed.mirror.position;
            for copies in &followed.copies {
                for nth in 1..=COPIES_AT_ONCE {
                    let Some(len) = copies.next(&mut room) else { break };
                    more |= nth == COPIES_AT_ONCE;
                    let frame = room.get(..len).unwrap_or_default().into();
                    // One that finds no room is counted there.
                    self.feeds.tell_first(News::Copy { interface, frame });
                }
            }
        }
        more
    }

    fn do_wishes(&mut self) {
        while let Some(wish) = self.feeds.wish() {
            let (interface, ip) = match wish {
                Wish::Use { interface, ip } | Wish::Confirm { interface, ip } => (interface, ip),
                Wish::Router { interface, said } => {
                    self.routing(interface, |routing, now| routing.advertised(now, &said));
                    continue;
                }
                Wish::Duplicate { interface, address } => {
                    self.routing(interface, |routing, _| routing.duplicate(address));
                    continue;
                }
                Wish::Silent { interface, router } => {
                    self.routing(interface, |routing, _| routing.silent(router));
                    continue;
                }
                Wish::Free(_) => continue,
            };
            let Some(followed) = followed_at(&mut self.interfaces, interface) else { continue };
            let mut done = Ok(());
            let confirmed = matches!(wish, Wish::Confirm { .. });
            if !confirmed {
                followed.mirror.asked(ip);
            }
            // One that is sure already need only hear of it; for one that is not, being used is what begins it.
            if !confirmed || !followed.mirror.is_fresh(ip) {
                done = self.asker.ask(followed.ifindex, ip);
            }
            if confirmed && let Some(confirmer) = &followed.confirmer {
                done = done.and_then(|()| confirmer.confirm(ip));
            }
            if let Err(error) = done {
                tracing::debug!("{}: the kernel was not told that {ip} is in use: {error}", followed.name);
            }
        }
    }

    fn routing(&mut self, interface: u16, change: impl FnOnce(&mut Routing, crate::time::Instant)) {
        let now = self.clock.now();
        if let Some(routing) = followed_at(&mut self.interfaces, interface).and_then(|followed| followed.routing.as_mut()) {
            change(routing, now);
        }
    }

    /// What follows from what routers have said, and from the time that has passed since.
    fn follow_routers(&mut self) {
        let now = self.clock.now();
        self.interfaces.iter_mut().for_each(|followed| followed.follow_routers(now));
    }

    /// Tells the engine what is new.
    fn tell(&mut self) {
        self.left = false;
        for followed in &mut self.interfaces {
            self.left |= !followed.mirror.tell(|news| self.feeds.tell(&news));
        }
    }
}

/// The rights without which an interface cannot be followed. In a port claim the kernel is told of neighbours in use, and the ports of an address that comes
/// are held; there, and where routers give addresses, the program is put in the place of another when the first address of a family comes. Elsewhere
/// nothing is asked of the kernel but what it tells everybody.
fn needed_for(watched: &Watched<'_>) -> CapabilitySet {
    let changes_claims = CapabilitySet::NET_ADMIN | CapabilitySet::BPF;
    match watched.claim {
        Claim::Ports { ports, .. } if ports.iter().any(|claim| claim.port < PRIVILEGED) => {
            changes_claims | CapabilitySet::NET_BIND_SERVICE
        }
        Claim::Ports { .. } => changes_claims,
        Claim::Addresses(_) if watched.routers.is_some() => changes_claims,
        Claim::Addresses(_) => CapabilitySet::empty(),
    }
}

/// The interface that the engine knows by this position.
fn followed_at(interfaces: &mut [Followed], position: u16) -> Option<&mut Followed> {
    interfaces.iter_mut().find(|followed| followed.mirror.position == position)
}

impl Followed {
    fn link(&mut self, state: LinkState) {
        let largest = state.mtu.min(self.largest_mtu);
        let name = &self.name;
        for news in self.mirror.link(LinkState { mtu: largest, ..state }) {
            match news {
                LinkNews::Down => tracing::warn!("{name}: the link is down: nothing is sent or received until it is up again"),
                LinkNews::Up => tracing::warn!("{name}: the link is up again"),
                LinkNews::Mtu(before) => tracing::warn!("{name}: the MTU is {largest} now, and was {before}"),
            }
        }
    }

    /// The kernel's usable addresses, of a port claim. What failed, if that is to be tried again.
    fn addresses(&mut self, now: Vec<Cidr>) -> Option<SetupError> {
        let claim = self.claim.as_mut()?;
        let before = self.mirror.addresses();
        let same = now.len() == before.len() && now.iter().all(|cidr| before.contains(cidr));
        if same {
            return None;
        }
        let (name, Settled { addresses: held, left_out, again }) = (&self.name, claim(&now));
        left_out.iter().for_each(|error| tracing::warn!("{error}"));
        for gone in before.iter().filter(|cidr| !held.contains(cidr)) {
            tracing::warn!("{name}: the kernel's address {gone} is gone: its ports are not served any more");
        }
        for come in held.iter().filter(|cidr| !before.contains(cidr)) {
            tracing::warn!("{name}: the kernel has the address {come}: its ports are served, too");
        }
        self.mirror.all_addresses(held);
        again
    }

    fn follow_routers(&mut self, now: crate::time::Instant) {
        let Some(routing) = &mut self.routing else { return };
        let Some(changed) = routing.changed(now) else { return };
        if let Some(addresses) = changed.addresses {
            self.mirror.all_addresses(addresses);
        }
        self.mirror.all_routes(changed.routes);
        if let Some(time) = changed.reachable {
            self.mirror.reachable(time);
        }
        self.mirror.mtu_v6(changed.mtu);
    }

    /// Says once that there is more of something than can be followed.
    fn say_full(&mut self, full: bool, what: &str) {
        if full && !std::mem::replace(&mut self.said_full, true) {
            tracing::warn!("{}: the kernel has more {what} than can be followed; some are left out", self.name);
        }
    }
}

const WAKER: Token = Token(0);
const CHANGES: Token = Token(1);
const COPIES: Token = Token(2);
/// How soon a wish is seen that does not wake: that a neighbour carries packets.
const WISHES_LOOK: Duration = Duration::from_millis(500);
/// How soon the engine is told what it had no room for.
const ROOM_LOOK: Duration = Duration::from_millis(1);
/// How long a change of the routes waits for others, and so how often they are read at most.
const ROUTES_WAIT: Duration = Duration::from_millis(20);
/// Ports below it may be bound with CAP_NET_BIND_SERVICE alone, unless a sysctl says otherwise (ip(7)).
const PRIVILEGED: u16 = 1024;
const RETRY: Duration = Duration::from_secs(1);
/// Copies of one kind read before everything else has its turn again.
const COPIES_AT_ONCE: usize = 64;
