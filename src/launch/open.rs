//! Taking what a launch needs, in order, and giving it back.
//!
//! Called by [`Launch`] alone. Runs once, at start and at the end; every error is the operator's, and what was taken before it is given back
//! by the fields that hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::beside::Place;
use crate::control::{Control, Prepared, Watched};
use crate::demux::admission::Prefixes;
use crate::device::Device as _;
use crate::engine::{Config, Duplicate, Engine, Idle, Inquirer, Port, Report, Secrets, Stop};
use crate::error::SetupError;
use crate::launch::advertised;
use crate::launch::change::Changer;
use crate::launch::confined::Filters;
use crate::launch::dump::Dumper;
use crate::launch::interfaces::{self, Checked};
use crate::launch::journal;
use crate::launch::ports::{self, Ports};
use crate::launch::workers::{self, Ended, Wake, Worker};
use crate::launch::{Launch, Ready};
use crate::limits;
use crate::link::interface::{AddressClaim, Claim, Interface};
use crate::metrics::conditions::{Conditions, Side};
use crate::recorder::Alarm;
use crate::rss::{Spread, Summary, Told};
use crate::service::Service;
use crate::settings::{HugePages, Settings, number};
use crate::show::{Figures, Scrape, Show};
use crate::steer::{Attached, Cause, Counters, Mode, Steering, XdpMode};
use crate::xsk::capability::{self, Right};
use crate::xsk::nic::Nic;
use crate::xsk::{self, BusyPoll, JUMBO_MTU, LARGEST_MTU, Membership, Pages, XskQueue};

/// What an open launch holds of the machine. Given back in the order of the fields: first nothing changes any more, then no more packets come, then the
/// programs go, and at last the ports are free again and the groups are left. Queues are given back by whoever drives them, before the ports.
#[derive(Debug, Default)]
struct Held {
    show: Option<Show>,
    scrape: Option<Scrape>,
    dumper: Option<Dumper>,
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
    /// The queues, each with the worker that is to have it.
    ports: Vec<(usize, Port<XskQueue>)>,
    /// The core of each worker; without any, the kernel's choice.
    cores: Vec<u32>,
    /// How the NIC of an interface spreads packets, where that is known.
    spreads: Vec<(u16, Spread)>,
}

/// Engines on real interfaces: packets arrive, and are served while [`Running::run`] runs.
pub struct Running<S: Service> {
    // Before the engines, so that on a failure no packets come any more when the queues close.
    held: Held,
    /// One at least.
    workers: Vec<Worker<S>>,
    /// Where the calling thread waits for them, if they have cores of their own.
    place: Option<Place>,
    ready: Vec<Ready>,
    changer: Changer,
    /// What the changer says to the thread that waits for several workers.
    wakes: Receiver<Wake>,
}

/// How many workers serve the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crew {
    /// One.
    One,
    /// One for each queue, if there are cores for them.
    Many,
}

/// What a run came to.
#[derive(Debug)]
pub struct Finished<S> {
    /// The engine's figures, of all workers together.
    pub report: Report,
    /// Those of each worker.
    pub workers: Vec<Report>,
    /// What the XDP programs did with frames, by outcome: only outcomes that occurred, and `claimed_unserved`.
    pub steering: BTreeMap<&'static str, u64>,
    /// The interfaces.
    pub ready: Vec<Ready>,
    /// The services of the workers as they ended: one, unless it was opened with several ([`Launch::open_workers`]).
    pub services: Vec<S>,
}

impl<S> Finished<S> {
    /// The service of the first worker; the only one, when it was opened with one.
    ///
    /// # Panics
    /// The caller has taken it out.
    pub fn service(&self) -> &S {
        self.services.first().expect("there is a worker at least")
    }

    /// The same, to be kept.
    ///
    /// # Panics
    /// As [`Finished::service`].
    pub fn into_service(self) -> S {
        self.services.into_iter().next().expect("there is a worker at least")
    }
}

pub(super) fn open<S: Service + Send>(
    launch: &Launch,
    crew: Crew,
    services: impl FnOnce(usize) -> Result<Vec<S>, SetupError>,
) -> Result<Running<S>, SetupError> {
    let allowed = crate::cpu::allowed();
    let lists = lists(launch)?;
    let filters = Filters::new(launch.confined)?.map(Arc::new);
    let Opened { mut held, mut ready, nics, interfaces, ports, cores, spreads } = take(launch, Driver::Engine, crew)?;
    let count = ports.iter().map(|(worker, _)| worker + 1).max().unwrap_or(1);
    let services = services(count)?;
    debug_assert_eq!(services.len(), count, "a service for each worker");
    let prepared = Prepared::open(watched(&held, &nics, &interfaces, launch.router_advertisements))?;
    let place = allowed.filter(|_| !cores.is_empty()).map(|allowed| Place { allowed, busy: cores.clone() });
    let config = config(launch, count)?;
    let refused = |error: std::io::Error| SetupError::environment("cannot start the engine", error.to_string());
    let mut dealt: Vec<Vec<Port<XskQueue>>> = services.iter().map(|_| Vec::new()).collect();
    for (worker, port) in ports {
        if let Some(own) = dealt.get_mut(worker) {
            own.push(port);
        }
    }
    let mut engines = Vec::with_capacity(count);
    for (service, ports) in services.into_iter().zip(dealt) {
        let mut engine = Engine::new(config, interfaces.clone(), ports, service).map_err(refused)?;
        spreads.iter().for_each(|(interface, spread)| engine.predict_replies(*interface, spread.clone()));
        if let Some(lists) = &lists {
            engine.admit(Arc::clone(lists));
        }
        engines.push(engine);
    }
    Engine::join(&mut engines).map_err(refused)?;
    let inquirers: Vec<_> = engines.iter_mut().map(Engine::inquirer).collect();
    let names: Vec<String> =
        interfaces.iter().map(|interface| format!("{}{}", interface.name, interface.vlan.suffix())).collect();
    if let Some(path) = &launch.control {
        held.show = Some(Show::start(path, inquirers.clone(), names.clone(), place.clone(), launch.reload.clone())?);
    }
    if let Some(dump) = &launch.dump {
        let alarms = engines.iter_mut().map(|engine| {
            let alarm = Alarm::default();
            engine.set_alarm(alarm.clone());
            alarm
        });
        let alarms = inquirers.iter().cloned().zip(alarms).collect();
        held.dumper = Some(Dumper::start(dump.clone(), alarms, names.clone(), place.clone())?);
    }
    if let Some(address) = launch.metrics {
        let of_nics = nics.iter().map(|(nic, _)| nic.name().to_owned()).zip(held.steerings.iter().cloned()).collect();
        let figures = Figures::new(inquirers.clone(), names, conditions(launch, &ready)).with_steering(steering_of(of_nics));
        let scrape = Scrape::start(address, figures, place.clone())?;
        ready.iter_mut().for_each(|ready| ready.metrics = Some(scrape.address()));
        held.scrape = Some(scrape);
    }
    let feeds = engines.iter_mut().map(|engine| engine.follow(prepared.waker())).collect();
    held.control = Some(prepared.start(feeds, place.clone())?);
    let duplicates = claim_addresses(&mut engines);
    if let Some(duplicate) = duplicates.into_iter().find(|duplicate| !is_our_own_choice(duplicate.address)) {
        return Err(in_use(&duplicate));
    }
    ready.iter().for_each(journal::ready);
    let cores = cores.into_iter().map(Some).chain(std::iter::repeat(None));
    let worker = |(engine, core)| Worker { engine, core, filters: filters.clone() };
    let workers = engines.into_iter().zip(cores).map(worker).collect();
    let (waking, wakes) = mpsc::channel();
    if let Some(place) = &place {
        // The set-up of one worker ran on its core, for the sake of its memory; what is started from now on is not to inherit that.
        place.take();
    }
    Ok(Running { held, workers, place, ready, changer: Changer { workers: inquirers, config, waking }, wakes })
}

/// What scrapers are told beside figures.
fn conditions(launch: &Launch, ready: &[Ready]) -> Conditions {
    let idle = match launch.idle {
        Idle::Spin => "spin",
        Idle::Adaptive => "adaptive",
        Idle::Park => "park",
    };
    let side = Side {
        role: "server".to_owned(),
        cores: ready.first().map(|ready| ready.cores.clone()).unwrap_or_default(),
        idle: Some(idle.to_owned()),
        interfaces: ready.iter().map(Ready::conditions).collect(),
    };
    Conditions { sides: vec![side], ..Conditions::of_this_machine() }
}

/// Reads the counters of the XDP programs; those that cannot be read are left out.
fn steering_of(nics: Vec<(String, Arc<Mutex<Steering>>)>) -> impl Fn() -> Vec<(String, Counters)> + Send {
    move || {
        let read = |(name, steering): &(String, Arc<Mutex<Steering>>)| {
            let counters = steering.lock().unwrap_or_else(PoisonError::into_inner).counters();
            Some((name.clone(), counters.ok()?))
        };
        nics.iter().filter_map(read).collect()
    }
}

/// Makes sure that the claimed addresses are free; the first engine does, and hears what arrives at the others.
fn claim_addresses<S: Service>(engines: &mut [Engine<XskQueue, S>]) -> Vec<Duplicate> {
    let Some((first, others)) = engines.split_first_mut() else { return Vec::new() };
    let clock = first.clock();
    let duplicates = first.claim_addresses(&clock, || {
        for other in &mut *others {
            other.turn(&clock);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    });
    for other in others {
        // What it came to is waiting there.
        other.turn(&clock);
    }
    duplicates
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
fn take(launch: &Launch, driver: Driver, crew: Crew) -> Result<Opened, SetupError> {
    let (checked, workers) = prepare(launch, driver, crew)?;
    if driver == Driver::Caller {
        checked.iter().try_for_each(|one| one.refuse_vlans("raw frames"))?;
    }
    checked.iter().for_each(journal::opening);
    let claims = checked.iter().map(Checked::claims).collect::<Result<Vec<_>, _>>()?;
    let mut opened = Opened {
        held: Held::default(),
        ready: Vec::new(),
        nics: Vec::new(),
        interfaces: Vec::new(),
        ports: Vec::new(),
        cores: workers.cores.clone(),
        spreads: Vec::new(),
    };
    for one in &checked {
        opened.held.ports.push(Arc::new(Mutex::new(Ports::take(one.nic.index(), &one.interface.claim)?)));
        opened.held.memberships.extend(join_for_solicitations(one));
        // A broadcast is for every host: there is nothing to join.
        for group in one.groups().into_iter().filter(|group| group.address().is_multicast()) {
            opened.held.memberships.push(Membership::join(&one.nic, group.address(), group.sources())?);
        }
        journal::claimed(one);
    }
    for (mut one, claims) in checked.into_iter().zip(claims) {
        let queues = xsk::open(&one.nic, &one.queues, &sockets(launch, one.mode, driver))?;
        // A kernel without packets of several frames leaves those of one.
        queues.iter().for_each(|queue| one.limit_mtu(queue.mtu()));
        journal::rings(&one, &launch.settings.xsk, &queues);
        let steering = Steering::load(&claims, one.nic.receive_queues())?;
        for queue in &queues {
            steering.set_socket(queue.queue(), queue.as_fd())?;
        }
        let attached = steering.attach(one.nic.name(), one.nic.index(), one.mode)?;
        journal::attached(one.nic.name(), attached.mode);
        warn_of_hazards(&one, attached.mode);
        say_ordinary_pages(launch, &one, &queues);
        let told = one.nic.rss();
        opened.ready.push(describe(&one, &queues, attached.mode, &workers, told.as_ref()));
        let position = u16::try_from(opened.interfaces.len())
            .map_err(|_| SetupError::usage("cannot run on so many interfaces", "65536 is the most"))?;
        opened.spreads.extend(told.and_then(|told| Some((position, Spread::new(&told).ok()?))));
        opened.ports.extend(queues.into_iter().enumerate().map(|(place, queue)| {
            let number = queue.queue();
            (place % workers.count, Port::new(queue, position, number))
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

/// Checks rights, interfaces and cores; one worker alone is moved to its core.
pub(super) fn prepare(launch: &Launch, driver: Driver, crew: Crew) -> Result<(Vec<Checked>, Workers), SetupError> {
    launch.settings.check()?;
    // CAP_IPC_LOCK is not among them: the limit of locked memory may be large enough. Where it is not, opening the queues says so.
    capability::require(&[Right::NetRaw, Right::NetAdmin, Right::Bpf])?;
    let largest_mtu = if driver == Driver::Engine { JUMBO_MTU } else { LARGEST_MTU };
    let checked = interfaces::check(launch, largest_mtu)?;
    let workers = plan_workers(launch, &checked, crew)?;
    let allowed = crate::cpu::allowed();
    for &core in &workers.cores {
        // Whether it can be run on is found out before anything is taken. One worker stays there: then the pages of its frames lie near it.
        crate::cpu::pin(core as usize)?;
    }
    if let (Some(allowed), true) = (allowed, workers.count > 1) {
        crate::cpu::keep_off(&allowed, &[]);
    }
    Ok((checked, workers))
}

impl Held {
    /// Detaches, and only then looks at the counters, so that no frame is missing in them.
    fn detach(&mut self) -> BTreeMap<&'static str, u64> {
        self.show = None;
        self.scrape = None;
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

    /// The switch that ends [`Running::run`], of all workers; any thread may have one.
    ///
    /// # Panics
    /// Never: there is a worker at least.
    pub fn stop(&self) -> Stop {
        self.engine().stop()
    }

    /// By which the engines can be changed while they run.
    pub fn changer(&self) -> Changer {
        self.changer.clone()
    }

    /// The engine of the first worker, for its mailbox and its service.
    ///
    /// # Panics
    /// Never: there is a worker at least.
    pub fn engine(&self) -> &Engine<XskQueue, S> {
        &self.workers.first().expect("there is a worker at least").engine
    }

    /// Whoever is to ask the workers while they run, in their order.
    pub fn inquirers(&mut self) -> Vec<Inquirer> {
        self.workers.iter_mut().map(|worker| worker.engine.inquirer()).collect()
    }

    /// The engines of all workers.
    pub fn engines(&self) -> impl Iterator<Item = &Engine<XskQueue, S>> {
        self.workers.iter().map(|worker| &worker.engine)
    }
}

impl<S: Service + Send> Running<S> {
    /// Serves until asked to stop; then ends the connections, detaches, and reports. Each worker runs on a thread of its own, without any rights; the
    /// calling thread waits for them, on other cores than theirs if there are others. When one ends, all do; one that panics ends the others at once.
    ///
    /// # Errors
    /// The system call that sleeps failed, or a worker panicked.
    pub fn run(self) -> Result<Finished<S>, SetupError> {
        self.run_watched(Duration::MAX, |_| {})
    }

    /// The same; every so often `watch` sees the report so far, of all workers together, on the calling thread.
    ///
    /// # Errors
    /// As [`Running::run`].
    pub fn run_watched(mut self, every: Duration, watch: impl FnMut(&Report)) -> Result<Finished<S>, SetupError> {
        let wakes = (self.changer.waking, self.wakes);
        let ended = workers::run(std::mem::take(&mut self.workers), self.place.take(), wakes, every, watch);
        journal::stopped(ended.is_ok());
        let steering = self.held.detach();
        self.ready.iter().for_each(journal::detached);
        let (workers, services): (Vec<_>, Vec<_>) = ended?.into_iter().map(|Ended { report, service }| (report, service)).unzip();
        let none = || SetupError::failed("the engine has no figures", "there was no worker");
        let report = Report::of_all(&workers).ok_or_else(none)?;
        Ok(Finished { report, workers, steering, ready: self.ready, services })
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
    refuse_metrics(launch)?;
    let Opened { held, ready, ports, .. } = take(launch, Driver::Caller, Crew::One)?;
    Ok(Bare { held, queues: ports.into_iter().map(|(_, port)| port.into_device()).collect(), ready })
}

fn refuse_metrics(launch: &Launch) -> Result<(), SetupError> {
    match launch.metrics {
        None => Ok(()),
        Some(address) => {
            let why = "raw frames have no engine, whose figures could be told";
            Err(SetupError::usage(format!("cannot answer scrapes at {address}"), why).mend("leave --metrics out"))
        }
    }
}

/// An XDP program that sends every datagram for a claimed address back by itself: no socket, no process on the path.
pub(super) fn open_reflector(launch: &Launch) -> Result<Bare, SetupError> {
    refuse_metrics(launch)?;
    let (checked, workers) = prepare(launch, Driver::Caller, Crew::One)?;
    let mut bare = Bare { held: Held::default(), queues: Vec::new(), ready: Vec::new() };
    for one in &checked {
        if matches!(one.interface.claim, Claim::Ports { .. }) {
            return Err(SetupError::usage("cannot reflect the kernel's own ports", "the reflector takes whole addresses")
                .mend("-a 10.0.0.2/24"));
        }
        one.refuse_vlans("the reflector")?;
        let steering = Steering::load_reflector(&one.claims()?, one.interface.mac)?;
        let attached = steering.attach(one.nic.name(), one.nic.index(), one.mode)?;
        bare.ready.push(describe(one, &[], attached.mode, &workers, one.nic.rss().as_ref()));
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

/// How many workers there are, and where.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    count: usize,
    /// A core for each, or none at all.
    cores: Vec<u32>,
}

impl Workers {
    /// One, on a core or on none in particular.
    pub(super) fn one(core: Option<u32>) -> Self {
        Self { count: 1, cores: core.into_iter().collect() }
    }
}

/// Workers and queues pair by position, on each interface, and begin again at the first worker where queues are left. So there cannot be more cores than the
/// interface with most queues has.
fn plan_workers(launch: &Launch, checked: &[Checked], crew: Crew) -> Result<Workers, SetupError> {
    let queues = checked.iter().map(|one| one.queues.len()).max().unwrap_or_default();
    if launch.cores.len() > queues {
        return Err(SetupError::usage(
            format!("cannot use the cores {}", number::show_list(&launch.cores)),
            format!("cores and queues pair by position; cores: {}, queues: {queues}", launch.cores.len()),
        )
        .mend(format!("--cores {}", number::show_list(launch.cores.get(..queues).unwrap_or_default()))));
    }
    if crew == Crew::One {
        if let [core, _, ..] = launch.cores[..] {
            tracing::warn!("one worker serves all queues here: it runs on core {core}, the other cores stay idle");
        }
        return Ok(Workers::one(launch.cores.first().copied()));
    }
    if let Some((nth, core)) = launch.cores.iter().enumerate().find(|(nth, core)| launch.cores[..*nth].contains(core)) {
        let mut once = launch.cores.clone();
        once.remove(nth);
        let what = format!("cannot use the core {core} twice");
        return Err(SetupError::usage(what, "each core runs one worker").mend(format!("--cores {}", number::show_list(&once))));
    }
    let count = match launch.cores.len() {
        0 => queues.min(crate::cpu::allowed().map_or(1, |allowed| allowed.count() as usize)),
        cores => cores,
    };
    Ok(Workers { count: count.clamp(1, limits::WORKERS), cores: launch.cores.clone() })
}

/// Who may begin with us, if not everybody.
pub(super) fn lists(launch: &Launch) -> Result<Option<Arc<Prefixes>>, SetupError> {
    if launch.allowed.is_empty() && launch.denied.is_empty() {
        return Ok(None);
    }
    let lists = Prefixes::new(&launch.allowed, &launch.denied).ok_or_else(|| {
        let most = limits::ADMISSION_PREFIXES;
        SetupError::usage("cannot use so many prefixes", format!("{most} is the most of --allow and --deny together"))
    })?;
    Ok(Some(Arc::new(lists)))
}

/// The configuration of one of so many engines, with fresh secrets, which all share.
fn config(launch: &Launch, workers: usize) -> Result<Config, SetupError> {
    let secrets = Secrets::from_system()
        .map_err(|error| SetupError::environment("cannot draw the secrets of the engine", error.to_string()))?;
    Ok(configured(Config::new(secrets), launch, workers))
}

/// The same with the secrets of another one.
pub(super) fn configured(mut config: Config, launch: &Launch, workers: usize) -> Config {
    config.tcp = launch.settings.tcp;
    // Connections and memory are one worker's. What limits a source, or all, each worker has its share of: packets are spread over them.
    let share = |limit: u32| limit.div_ceil(u32::try_from(workers).unwrap_or(u32::MAX).max(1));
    for limit in [&mut config.tcp.connections_per_source, &mut config.tcp.syn_rate, &mut config.tcp.syn_rate_per_source] {
        *limit = share(*limit);
    }
    if let Some(most) = launch.drain {
        config.drain = most;
    }
    config.idle = launch.idle;
    config.neighbor_expiry = launch.settings.arp.expiry;
    config.address_probes = u8::try_from(launch.settings.address.probes).unwrap_or(u8::MAX);
    config.address_probe_wait = launch.settings.address.probe_wait;
    config.redirects = launch.settings.address.redirects;
    config.router_advertisements = launch.router_advertisements;
    config.recorder = launch.settings.recorder;
    config
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

pub(super) fn describe(one: &Checked, queues: &[XskQueue], mode: XdpMode, workers: &Workers, rss: Option<&Told>) -> Ready {
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
        workers: workers.count.min(one.queues.len().max(1)),
        core: workers.cores.first().copied(),
        cores: workers.cores.clone(),
        driver: one.nic.driver().to_owned(),
        mtu: one.interface.mtu,
        pages: match queues {
            [] => "none",
            _ if all(|queue| queue.pages() == Pages::Huge) => "huge",
            _ => "ordinary",
        },
        offloads: OFFLOADS.into_iter().filter_map(|name| Some((name, one.nic.feature(name)?))).collect(),
        metrics: None,
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
            interface = name,
            pages = "ordinary",
            "{name}: the frames lie on ordinary pages: {needed} free huge pages of 2 MiB are needed (vm.nr_hugepages)"
        );
    }
}

/// Busy polling as it was measured to pay on veth: 20 us, one NAPI budget.
const BUSY_POLL: BusyPoll = BusyPoll { timeout_us: 20, budget: 64 };
