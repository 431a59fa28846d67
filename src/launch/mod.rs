//! Running a service on real interfaces: the way from the names a user gives to an engine that carries traffic.
//!
//! [`Launch`] is filled in like a form, by a program of the user's own or by the command line, and then run:
//!
//! ```no_run
//! use ringway::launch::Launch;
//! # use ringway::service::{Answer, Context, Datagram, Service};
//! # struct Echo;
//! # impl Service for Echo { type Message = (); }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let finished = Launch::new().interface("veth0").address("10.0.0.2/24".parse()?).run(Echo)?;
//! println!("{} datagrams", finished.report.counters.udp_received);
//! # Ok(())
//! # }
//! ```
//!
//! Everything is taken in one order (rights, interface, addresses, ports, groups, sockets, program, and only then traffic) and given back in the
//! reverse one, on success and on failure alike: nothing is left behind. Errors are the operator's ([`SetupError`]). Nothing here runs
//! per packet. Every thread that is started gives up the rights it does not use ([`crate::rights`]); the calling thread's are its own business. Needs the
//! feature `afxdp`.

mod advertised;
mod change;
mod confined;
mod dump;
mod interfaces;
mod journal;
mod open;
mod ports;
mod ready;
mod signals;
mod whole;
mod workers;

pub use change::Changer;
pub use confined::Confined;
pub use dump::Dump;
pub use open::{Bare, Finished, Running};
pub use ready::Ready;
pub use signals::Signals;
pub use whole::{Pair, Whole};

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::Idle;
use crate::error::SetupError;
use crate::link::groups::Group;
use crate::link::interface::{AddressClaim, Cidr, PortClaim};
use crate::link::routes::Route;
use crate::service::Service;
use crate::settings::Settings;
use crate::show::Reload;
use crate::steer::Mode;
use crate::xsk::ZeroCopy;

/// What to run on.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    interfaces: Vec<Wanted>,
    claims: Vec<PortClaim>,
    routes: Vec<Route>,
    mode: Mode,
    zero_copy: ZeroCopy,
    queues: Option<Vec<u32>>,
    partial: bool,
    cores: Vec<u32>,
    groups: Vec<(Option<String>, Group)>,
    idle: Idle,
    router_advertisements: bool,
    control: Option<PathBuf>,
    reload: Option<Reload>,
    metrics: Option<SocketAddr>,
    dump: Option<Dump>,
    drain: Option<Duration>,
    allowed: Vec<Cidr>,
    denied: Vec<Cidr>,
    confined: Confined,
    settings: Settings,
}

/// An interface, and the addresses to claim on it; without any, ports of the kernel's addresses are claimed.
#[derive(Clone, Debug)]
struct Wanted {
    name: String,
    addresses: Vec<AddressClaim>,
}

impl Launch {
    /// Nothing claimed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an interface; the calls of [`Launch::address`] that follow belong to it.
    #[must_use]
    pub fn interface(mut self, name: &str) -> Self {
        self.interfaces.push(Wanted { name: name.to_owned(), addresses: Vec::new() });
        self
    }

    /// Claims an address on the interface named last, in the VLAN it names; the kernel must not own it. Before the first interface it does nothing.
    #[must_use]
    pub fn address(mut self, address: AddressClaim) -> Self {
        if let Some(interface) = self.interfaces.last_mut() {
            interface.addresses.push(address);
        }
        self
    }

    /// Claims ports on the kernel's own addresses, on every interface that was given no address.
    #[must_use]
    pub fn claims(mut self, ports: &[PortClaim]) -> Self {
        self.claims.extend_from_slice(ports);
        self
    }

    /// Takes a UDP port of a multicast group or of a broadcast address, on every interface; the broadcast address of a network, on those that are
    /// on it. The kernel joins the group there for as long as the engine is open, and does not see what is sent to the port of
    /// the group; fragments, of which most show no port, stay with it.
    #[must_use]
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push((None, group));
        self
    }

    /// The same on one interface.
    #[must_use]
    pub fn group_on(mut self, interface: &str, group: Group) -> Self {
        self.groups.push((Some(interface.to_owned()), group));
        self
    }

    /// The next hop for what no network of an address and no [`Launch::route`] leads to; one for each family.
    #[must_use]
    pub fn gateway(self, gateway: IpAddr) -> Self {
        self.route(Route::default_via(gateway))
    }

    /// Adds a route, on every interface on whose networks its gateway lies.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// How the XDP program is attached.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Whether the sockets share memory with the NIC.
    #[must_use]
    pub fn zero_copy(mut self, zero_copy: ZeroCopy) -> Self {
        self.zero_copy = zero_copy;
        self
    }

    /// The receive queues to serve; all without this call.
    #[must_use]
    pub fn queues(mut self, queues: &[u32]) -> Self {
        self.queues = Some(queues.to_vec());
        self
    }

    /// Allows fewer queues than the NIC delivers to.
    #[must_use]
    pub fn partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// The cores to run on: a worker each, which serves the queues at its position and at every so many behind it. Without this call workers are
    /// not pinned, and there are as many as queues, or as cores when those are fewer. [`Launch::open`] runs one worker alone, on the first of them.
    #[must_use]
    pub fn cores(mut self, cores: &[u32]) -> Self {
        self.cores = cores.to_vec();
        self
    }

    /// What an idle core does.
    #[must_use]
    pub fn idle(mut self, idle: Idle) -> Self {
        self.idle = idle;
        self
    }

    /// Follows router advertisements where addresses are claimed: default route, networks on the link, its MTU, and addresses made of the
    /// prefixes ([`crate::link::routers`]). What is given by other calls goes before. Anybody on the link can send them: off without this call.
    #[must_use]
    pub fn router_advertisements(mut self, follow: bool) -> Self {
        self.router_advertisements = follow;
        self
    }

    /// Opens a control socket there, by which the engines can be inspected while they run ([`crate::show`]). None without this call.
    #[must_use]
    pub fn control_socket(mut self, path: &Path) -> Self {
        self.control = Some(path.to_owned());
        self
    }

    /// What is called when somebody asks at the control socket that the configuration be read again ([`Running::changer`]).
    #[must_use]
    pub fn on_reload(mut self, reload: Reload) -> Self {
        self.reload = Some(reload);
        self
    }

    /// Writes what the recorders hold into a folder when something goes wrong ([`crate::recorder`]). Nothing is written without this call.
    #[must_use]
    pub fn dump(mut self, dump: Dump) -> Self {
        self.dump = Some(dump);
        self
    }

    /// Answers scrapes of Prometheus at an address of the kernel's, `/metrics` of it, while the engines run ([`crate::metrics::prometheus`]); with port 0 at one
    /// that is free, which [`Ready::metrics`] tells. Nobody is asked who he is: an address that others reach shows them everything. None without this call.
    #[must_use]
    pub fn metrics(mut self, address: SocketAddr) -> Self {
        self.metrics = Some(address);
        self
    }

    /// How long a stop waits for connections to end in order ([`crate::engine::Config::drain`]); zero ends them at once.
    #[must_use]
    pub fn drain(mut self, most: Duration) -> Self {
        self.drain = Some(most);
        self
    }

    /// Lets a network begin with us, given by any address in it. Once one is allowed, all that are not are kept out. The longest prefix of
    /// [`Launch::allow`] and [`Launch::deny`] around an address decides, and of two equal ones the one that denies.
    #[must_use]
    pub fn allow(mut self, network: Cidr) -> Self {
        self.allowed.push(network);
        self
    }

    /// Keeps a network out: what it sends is dropped and counted, and answered by nothing but the echo of a ping.
    #[must_use]
    pub fn deny(mut self, network: Cidr) -> Self {
        self.denied.push(network);
        self
    }

    /// Which system calls the workers may make; all without this call. Another one ends the process. For services whose calls are known: those that
    /// ship need nothing that is not there.
    #[must_use]
    pub fn confined(mut self, to: Confined) -> Self {
        self.confined = to;
        self
    }

    /// All other settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Takes everything that is needed and starts to receive, with one worker for all queues; [`Running::run`] then serves.
    ///
    /// # Errors
    /// Rights, interface, addresses, ports, queues or the XDP program: each with what mends it. What was taken is given back.
    pub fn open<S: Service + Send>(self, service: S) -> Result<Running<S>, SetupError> {
        open::open(&self, open::Crew::One, |_| Ok(vec![service]))
    }

    /// The same with a worker for each queue ([`Launch::cores`]). `services` is told how many there are, and makes one service for each: they share nothing that
    /// they do not share by themselves. What arrives at one worker and belongs to a connection or a port of another is handed over.
    ///
    /// # Errors
    /// As [`Launch::open`]; what `services` returns; a core that is not there, or more cores than queues.
    pub fn open_workers<S: Service + Send>(
        self,
        services: impl FnOnce(usize) -> Result<Vec<S>, SetupError>,
    ) -> Result<Running<S>, SetupError> {
        open::open(&self, open::Crew::Many, services)
    }

    /// Serves until SIGINT or SIGTERM (a second one ends the process at once), or until the service asks for the end.
    ///
    /// # Errors
    /// As [`Launch::open`]; also when the engine's sleeping in the kernel fails.
    pub fn run<S: Service + Send>(self, service: S) -> Result<Finished<S>, SetupError> {
        let signals = Signals::take(true)?;
        let running = self.open(service)?;
        signals.stop_engine(running.stop())?;
        running.run()
    }

    /// Opens the queues for a caller that drives them by itself, without an engine.
    ///
    /// # Errors
    /// As [`Launch::open`].
    pub fn open_bare(self) -> Result<Bare, SetupError> {
        open::open_bare(&self)
    }

    /// Has an XDP program send every datagram for the claimed addresses back, in the kernel: the fastest answer there can be.
    ///
    /// # Errors
    /// As [`Launch::open`]; also for port claims.
    pub fn open_reflector(self) -> Result<Bare, SetupError> {
        open::open_reflector(&self)
    }
}
