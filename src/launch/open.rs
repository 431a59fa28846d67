//! Taking what a launch needs, in order, and giving it back.
//!
//! Called by [`Launch`] alone. Runs once, at start and at the end; every error is the operator's, and what was taken before it is given back
//! by the fields that hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::control::{Control, Place, Prepared, Watched};
use crate::device::Device as _;
use crate::engine::{Config, Duplicate, Engine, Port, Report, Secrets, Stop};
use crate::error::SetupError;
use crate::launch::advertised;
use crate::launch::interfaces::{self, Checked};
use crate::launch::ports::{self, Ports};
use crate::launch::{Launch, Ready};
use crate::link::interface::{AddressClaim, Claim, Interface};
use crate::rss::{Spread, Summary, Told};
use crate::service::Service;
use crate::settings::{HugePages, Settings, number};
use crate::steer::{Attached, Cause, Mode, Steering, XdpMode};
use crate::xsk::capability::{self, Right};
use crate::xsk::nic::Nic;
use crate::xsk::{self, BusyPoll, JUMBO_MTU, LARGEST_MTU, Membership, Pages, XskQueue};

/// What an open launch holds of the machine. Given back in the order of the fields: first nothing changes any more, then no more packets come, then the
/// programs go, and at last the ports are free again and the groups are left. Queues are given back by whoever drives them, before the ports.
#[derive(Debug, Default)]
struct Held {
    control: Option<Control>,
    attached: Vec<Attached>,
    /// Those of port claims are changed by the control thread when the kernel's addresses change.
    steerings: Vec<Arc<Mutex<Steering>>>,
    ports: Vec<Arc<Mutex<Ports>>>,
    memberships: Vec<Membership>,
}

/// Interfaces that were opened, before anything drives their queues.
struct Opened {
    held: Held,
    ready: Vec<Ready>,
    nics: Vec<(Nic, u16)>,
    interfaces: Vec<Interface>,
    ports: Vec<Port<XskQueue>>,
    /// How the NIC of an interface spreads packets, where that is known.
    spreads: Vec<(u16, Spread)>,
}

/// An engine on real interfaces: packets arrive, and are served while [`Running::run`] runs.
pub struct Running<S: Service> {
    // Before the engine, so that on a failure no packets come any more when the queues close.
    held: Held,
    engine: Engine<XskQueue, S>,
    ready: Vec<Ready>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Finished<S> {
    /// The engine's figures.
    pub report: Report,
    /// What the XDP programs did with frames, by outcome: only outcomes that occurred, and `claimed_unserved`.
    pub steering: BTreeMap<&'static str, u64>,
    /// The interfaces.
    pub ready: Vec<Ready>,
    /// The service as it ended.
    pub service: S,
}

pub(super) fn open<S: Service>(launch: &Launch, service: S) -> Result<Running<S>, SetupError> {
    let allowed = crate::cpu::allowed();
    let Opened { mut held, ready, nics, interfaces, ports, spreads } = take(launch, Driver::Engine)?;
    let prepared = Prepared::open(watched(&held, &nics, &interfaces, launch.router_advertisements))?;
    let place = allowed.zip(launch.cores.first()).map(|(allowed, &busy)| Place { allowed, busy: busy as usize });
    let mut engine = Engine::new(config(launch)?, interfaces, ports, service)
        .map_err(|error| SetupError::environment("cannot start the engine", error.to_string()))?;
    spreads.into_iter().for_each(|(interface, spread)| engine.predict_replies(interface, spread));
    let feed = engine.follow(prepared.waker());
    held.control = Some(prepared.start(feed, place)?);
    let clock = engine.clock();
    let duplicates = engine.claim_addresses(&clock, || std::thread::sleep(BETWEEN_LOOKS));
    match duplicates.into_iter().find(|duplicate| !is_our_own_choice(duplicate.address)) {
        Some(duplicate) => Err(in_use(&duplicate)),
        None => Ok(Running { held, engine, ready }),
    }
}

/// What the control thread follows.
fn watched<'a>(held: &Held, nics: &'a [(Nic, u16)], interfaces: &'a [Interface], routers: bool) -> Vec<Watched<'a>> {
    let held = held.ports.iter().zip(&held.steerings);
    let each = nics.iter().zip(held);
    each.filter_map(|(&(ref nic, position), (ports, steering))| {
        let interface = interfaces.get(usize::from(position))?;
        let of_nic = interfaces.get(usize::from(position)..)?;
        let of_nic = of_nic.split(|other| other.name != interface.name).next().unwrap_or_default();
        Some(Watched {
            nic,
            position,
            claim: &interface.claim,
            mtu: interface.mtu,
            on_addresses: ports::on_addresses(interface, ports, steering),
            routers: if routers { advertised::following(nic, of_nic, steering) } else { None },
        })
    })
    .collect()
}

/// A link-local address is made, not asked for: without it the engine runs on.
fn is_our_own_choice(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn in_use(duplicate: &Duplicate) -> SetupError {
    let Duplicate { interface, address, rival } = duplicate;
    let what = format!("cannot claim the address {address} on {interface}");
    SetupError::environment(what, format!("the station {rival} on that link has it"))
        .mend("-a with an address that nobody has (or --set address.probes=0, and both are hard to reach)")
}

/// Time between two looks for answers to probes.
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

/// Who drives the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// The engine, which knows VLANs and packets of several frames.
    Engine,
    /// The caller, or nobody: neither.
    Caller,
}

/// Takes everything but the engine, in order.
fn take(launch: &Launch, driver: Driver) -> Result<Opened, SetupError> {
    let (checked, core) = prepare(launch, driver)?;
    if driver == Driver::Caller {
        checked.iter().try_for_each(|one| one.refuse_vlans("raw frames"))?;
    }
    let claims = checked.iter().map(Checked::claims).collect::<Result<Vec<_>, _>>()?;
    let mut opened = Opened {
        held: Held::default(),
        ready: Vec::new(),
        nics: Vec::new(),
        interfaces: Vec::new(),
        ports: Vec::new(),
        spreads: Vec::new(),
    };
    for one in &checked {
        opened.held.ports.push(Arc::new(Mutex::new(Ports::take(one.nic.index(), &one.interface.claim)?)));
        opened.held.memberships.extend(join_for_solicitations(one));
        // A broadcast is for every host: there is nothing to join.
        for group in one.groups().into_iter().filter(|group| group.address().is_multicast()) {
            opened.held.memberships.push(Membership::join(&one.nic, group.address(), group.sources())?);
        }
    }
    for (mut one, claims) in checked.into_iter().zip(claims) {
        let queues = xsk::open(&one.nic, &one.queues, &sockets(launch, one.mode, driver))?;
        // A kernel without packets of several frames leaves those of one.
        queues.iter().for_each(|queue| one.limit_mtu(queue.mtu()));
        let steering = Steering::load(&claims, one.nic.receive_queues())?;
        for queue in &queues {
            steering.set_socket(queue.queue(), queue.as_fd())?;
        }
        let attached = steering.attach(one.nic.name(), one.nic.index(), one.mode)?;
        warn_of_hazards(&one, attached.mode);
        say_ordinary_pages(launch, &one, &queues);
        let told = one.nic.rss();
        opened.ready.push(describe(&one, &queues, attached.mode, core, told.as_ref()));
        let position = u16::try_from(opened.interfaces.len())
            .map_err(|_| SetupError::usage("cannot run on so many interfaces", "65536 is the most"))?;
        opened.spreads.extend(told.and_then(|told| Some((position, Spread::new(&told).ok()?))));
        opened.ports.extend(queues.into_iter().map(|queue| {
            let number = queue.queue();
            Port::new(queue, position, number)
        }));
        opened.nics.push((one.nic, position));
        opened.interfaces.push(one.interface);
        opened.interfaces.extend(one.tagged);
        opened.held.steerings.push(Arc::new(Mutex::new(steering)));
        opened.held.attached.push(attached);
    }
    Ok(opened)
}

/// Joins the groups at which neighbours ask for our addresses.
fn join_for_solicitations(one: &Checked) -> Vec<Membership> {
    let Claim::Addresses(addresses) = &one.interface.claim else { return Vec::new() };
    addresses.iter().filter_map(|cidr| advertised::join_for_solicitations(&one.nic, cidr.address)).collect()
}

/// Checks rights and interfaces, and moves the calling thread to its core.
pub(super) fn prepare(launch: &Launch, driver: Driver) -> Result<(Vec<Checked>, Option<u32>), SetupError> {
    launch.settings.check()?;
    // CAP_IPC_LOCK is not among them: the limit of locked memory may be large enough. Where it is not, opening the queues says so.
    capability::require(&[Right::NetRaw, Right::NetAdmin, Right::Bpf])?;
    let largest_mtu = if driver == Driver::Engine { JUMBO_MTU } else { LARGEST_MTU };
    let checked = interfaces::check(launch, largest_mtu)?;
    let core = worker_core(launch, &checked)?;
    if let Some(core) = core {
        // Before the frames are made, so that their pages lie near the core.
        crate::cpu::pin(core as usize)?;
    }
    Ok((checked, core))
}

impl Held {
    /// Detaches, and only then looks at the counters, so that no frame is missing in them.
    fn detach(&mut self) -> BTreeMap<&'static str, u64> {
        self.control = None;
        self.attached.clear();
        let outcomes = count(&self.steerings);
        self.steerings.clear();
        outcomes
    }
}

impl<S: Service> fmt::Debug for Running<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl<S: Service> Running<S> {
    /// The interfaces that carry traffic.
    pub fn ready(&self) -> &[Ready] {
        &self.ready
    }

    /// The switch that ends [`Running::run`]; any thread may have one.
    pub fn stop(&self) -> Stop {
        self.engine.stop()
    }

    /// The engine, for its mailbox and its service.
    pub const fn engine(&self) -> &Engine<XskQueue, S> {
        &self.engine
    }

    /// Serves on the calling thread until asked to stop; then ends the connections, detaches, and reports.
    ///
    /// # Errors
    /// The system call that sleeps failed.
    pub fn run(self) -> Result<Finished<S>, SetupError> {
        self.run_watched(Duration::MAX, |_| {})
    }

    /// The same; every so often `watch` sees the report so far, on the thread that serves ([`Engine::run_watched`]).
    ///
    /// # Errors
    /// As [`Running::run`].
    pub fn run_watched(mut self, every: Duration, watch: impl FnMut(&Report)) -> Result<Finished<S>, SetupError> {
        let result = self.engine.run_watched(every, watch);
        let steering = self.held.detach();
        let report = result.map_err(|error| SetupError::environment("the engine cannot go on", error.to_string()))?;
        let service = self.engine.into_service();
        Ok(Finished { report, steering, ready: self.ready, service })
    }
}

/// Interfaces whose queues the caller drives by itself, without an engine: the raw loop that everything is compared with.
#[derive(Debug)]
pub struct Bare {
    held: Held,
    /// The queues of all interfaces.
    pub queues: Vec<XskQueue>,
    /// The interfaces.
    pub ready: Vec<Ready>,
}

pub(super) fn open_bare(launch: &Launch) -> Result<Bare, SetupError> {
    let Opened { held, ready, ports, .. } = take(launch, Driver::Caller)?;
    Ok(Bare { held, queues: ports.into_iter().map(Port::into_device).collect(), ready })
}

/// An XDP program that sends every datagram for a claimed address back by itself: no socket, no process on the path.
pub(super) fn open_reflector(launch: &Launch) -> Result<Bare, SetupError> {
    let (checked, core) = prepare(launch, Driver::Caller)?;
    let mut bare = Bare { held: Held::default(), queues: Vec::new(), ready: Vec::new() };
    for one in &checked {
        if matches!(one.interface.claim, Claim::Ports { .. }) {
            return Err(SetupError::usage("cannot reflect the kernel's own ports", "the reflector takes whole addresses")
                .mend("-a 10.0.0.2/24"));
        }
        one.refuse_vlans("the reflector")?;
        let steering = Steering::load_reflector(&one.claims()?, one.interface.mac)?;
        let attached = steering.attach(one.nic.name(), one.nic.index(), one.mode)?;
        bare.ready.push(describe(one, &[], attached.mode, core, one.nic.rss().as_ref()));
        bare.held.steerings.push(Arc::new(Mutex::new(steering)));
        bare.held.attached.push(attached);
    }
    Ok(bare)
}

impl Bare {
    /// Detaches and closes the queues; what the XDP programs did with frames, by outcome.
    pub fn finish(mut self) -> BTreeMap<&'static str, u64> {
        self.held.detach()
    }
}

/// Outcomes of all interfaces together. A program whose counters cannot be read is said in the log and counts nothing.
fn count(steerings: &[Arc<Mutex<Steering>>]) -> BTreeMap<&'static str, u64> {
    let mut outcomes = BTreeMap::new();
    for steering in steerings {
        let steering = steering.lock().unwrap_or_else(PoisonError::into_inner);
        match steering.counters() {
            Ok(counters) => {
                for (cause, frames) in counters.nonzero() {
                    *outcomes.entry(cause.name()).or_default() += frames;
                }
            }
            Err(error) => tracing::warn!("cannot read the counters of the XDP program: {error}"),
        }
    }
    // The one that means loss is always there, also as 0.
    outcomes.entry(Cause::ClaimedUnserved.name()).or_default();
    outcomes
}

/// The core of the one worker: the first of the list. Cores and queues pair by position, so there cannot be more cores.
fn worker_core(launch: &Launch, checked: &[Checked]) -> Result<Option<u32>, SetupError> {
    let queues: usize = checked.iter().map(|one| one.queues.len()).sum();
    let Some(&core) = launch.cores.first() else { return Ok(None) };
    if launch.cores.len() > queues {
        return Err(SetupError::usage(
            format!("cannot use the cores {}", number::show_list(&launch.cores)),
            format!("cores and queues pair by position; cores: {}, queues: {queues}", launch.cores.len()),
        )
        .mend(format!("--cores {}", number::show_list(launch.cores.get(..queues).unwrap_or_default()))));
    }
    if launch.cores.len() > 1 {
        tracing::warn!("one worker serves all queues in this version: it runs on core {core}, the other cores stay idle");
    }
    Ok(Some(core))
}

/// The engine's configuration, with fresh secrets.
fn config(launch: &Launch) -> Result<Config, SetupError> {
    let secrets = Secrets::from_system()
        .map_err(|error| SetupError::environment("cannot draw the secrets of the engine", error.to_string()))?;
    let mut config = Config::new(secrets);
    config.tcp = launch.settings.tcp;
    config.idle = launch.idle;
    config.neighbor_expiry = launch.settings.arp.expiry;
    config.address_probes = u8::try_from(launch.settings.address.probes).unwrap_or(u8::MAX);
    config.address_probe_wait = launch.settings.address.probe_wait;
    config.redirects = launch.settings.address.redirects;
    config.router_advertisements = launch.router_advertisements;
    Ok(config)
}

/// The sockets' configuration.
fn sockets(launch: &Launch, mode: Mode, driver: Driver) -> xsk::Config {
    let Settings { xsk: settings, .. } = &launch.settings;
    // Bounds are the settings' own: all sizes fit.
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let ring = size(settings.ring_size);
    xsk::Config {
        zero_copy: launch.zero_copy,
        frame_size: settings.frame_size,
        clamp_mtu: mode != Mode::Native,
        chains: driver == Driver::Engine,
        huge_pages: settings.huge_pages == HugePages::Auto,
        frames_per_queue: size(settings.frames),
        receive_ring: ring,
        transmit_ring: ring,
        fill_ring: ring,
        completion_ring: ring,
        busy_poll: settings.busy_poll.then_some(BUSY_POLL),
        ..xsk::Config::default()
    }
}

pub(super) fn describe(one: &Checked, queues: &[XskQueue], mode: XdpMode, core: Option<u32>, rss: Option<&Told>) -> Ready {
    let claim = match &one.interface.claim {
        Claim::Addresses(_) => Vec::new(),
        Claim::Ports { ports, .. } => ports.clone(),
    };
    let in_vlan = |of: &Interface| of.addresses().iter().map(|&cidr| AddressClaim { cidr, vlan: of.vlan }).collect::<Vec<_>>();
    let all = |test: fn(&XskQueue) -> bool| queues.iter().all(test);
    Ready {
        interface: one.interface.name.clone(),
        mac: one.interface.mac,
        address: one.interfaces().flat_map(in_vlan).collect(),
        claim,
        group: one.groups(),
        route: one.routes(),
        xdp: match mode {
            XdpMode::Native => "native",
            XdpMode::Skb => "skb",
        },
        copy: match queues {
            [] => "none",
            _ if all(XskQueue::is_zero_copy) => "zero-copy",
            _ => "copy",
        },
        queues: one.queues.clone(),
        rss: rss.map_or_else(Summary::unknown, Summary::from),
        partial: one.partial,
        core,
        driver: one.nic.driver().to_owned(),
        mtu: one.interface.mtu,
        pages: match queues {
            [] => "none",
            _ if all(|queue| queue.pages() == Pages::Huge) => "huge",
            _ => "ordinary",
        },
        offloads: OFFLOADS.into_iter().filter_map(|name| Some((name, one.nic.feature(name)?))).collect(),
    }
}

/// The offloads that a report names, where the driver has them: those that merge, cut or finish packets.
const OFFLOADS: [&str; 6] =
    ["rx-gro", "rx-lro", "tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-generic-segmentation", "tx-tcp-segmentation"];

/// Offloads that break packets before XDP sees them.
pub(super) fn warn_of_hazards(one: &Checked, mode: XdpMode) {
    for hazard in one.nic.hazards(mode == XdpMode::Skb) {
        tracing::warn!("{}: {} is on: {}; try: {}", one.interface.name, hazard.feature, hazard.why, hazard.mend);
    }
}

/// Huge pages are taken when there are any. That there were none is said here; the reports say what it came to.
fn say_ordinary_pages(launch: &Launch, one: &Checked, queues: &[XskQueue]) {
    const HUGE_PAGE: usize = 2 << 20;
    if launch.settings.xsk.huge_pages == HugePages::Auto && queues.iter().any(|queue| queue.pages() == Pages::Ordinary) {
        let needed = queues.first().map_or(0, |queue| queue.umem_bytes().div_ceil(HUGE_PAGE));
        let name = &one.interface.name;
        tracing::info!(
            "{name}: the frames lie on ordinary pages: {needed} free huge pages of 2 MiB are needed (vm.nr_hugepages)"
        );
    }
}

/// Busy polling as it was measured to pay on veth: 20 us, one NAPI budget.
const BUSY_POLL: BusyPoll = BusyPoll { timeout_us: 20, budget: 64 };
