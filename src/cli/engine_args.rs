//! The ENGINE options, the same for every command that runs one, and what they come to.
//!
//! Read by `serve` and `load`. Checks what can be seen in the arguments alone; what needs the machine is checked by `launch`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use ringway::engine::Idle;
use ringway::error::SetupError;
use ringway::launch::{Confined, Dump, Launch};
use ringway::link::groups::is_group;
use ringway::link::interface::{AddressClaim, Cidr, PortClaim, Transport};
use ringway::link::routes::Route;
use ringway::recorder::Reason;
use ringway::service::Local;
use ringway::settings::{Settings, number};
use ringway::steer::Mode;
use ringway::wire::vlan::Vlan;
use ringway::xsk::ZeroCopy;

/// Options of the engine.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Engine options")]
pub(crate) struct EngineArgs {
    /// Interface to run on (may be repeated)
    #[arg(short, long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,

    /// An address that becomes Ringway's, in a VLAN if it names one; the kernel must not own it (may be repeated)
    #[arg(short, long = "address", value_name = "[IF=]ADDR/PREFIX[@VLAN]")]
    pub(crate) addresses: Vec<AddressSpec>,

    /// Without -a: ports to take on the kernel's own addresses, as in tcp:80,udp:53
    #[arg(long = "claim", value_name = "tcp:PORT|udp:PORT", value_delimiter = ',')]
    pub(crate) claims: Vec<PortClaim>,

    /// Next hop for what is not on the network of an address; one for each family
    #[arg(long = "gateway", value_name = "ADDR", value_parser = gateway)]
    pub(crate) gateways: Vec<IpAddr>,

    /// A network and its next hop; without =ADDR it is on the link (may be repeated)
    #[arg(long = "route", value_name = "NET/PREFIX[=ADDR]")]
    pub(crate) routes: Vec<Route>,

    /// Follow router advertisements: routes, MTU, and IPv6 addresses beside those of -a
    #[arg(long)]
    pub(crate) accept_ra: bool,

    /// How the XDP program is attached; auto tries native and warns when it takes skb
    #[arg(short, long, value_name = "MODE", value_enum, default_value_t = ModeWord::Auto, hide_possible_values = true, help = "XDP mode: auto|native|skb; auto warns when it takes skb")]
    pub(crate) mode: ModeWord,

    /// Zero-copy sockets: auto|on|off; auto says which it got
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ZeroCopyWord::Auto, hide_possible_values = true)]
    pub(crate) zerocopy: ZeroCopyWord,

    /// Receive queues to serve, as in 0-3 [default: all]
    #[arg(long, value_name = "LIST")]
    pub(crate) queues: Option<List>,

    /// Serve fewer queues than the NIC delivers to; every report says so
    #[arg(long)]
    pub(crate) partial: bool,

    /// Cores to run on, paired with the queues by position: a worker each [default: not pinned]
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: Option<List>,

    /// What an idle core does: spin|adaptive|park
    #[arg(long, value_name = "HOW", value_enum, default_value_t = IdleWord::Adaptive, hide_possible_values = true)]
    pub(crate) idle: IdleWord,

    /// Write what the flight recorder holds into this folder when something goes wrong
    #[arg(long, value_name = "DIR")]
    pub(crate) dump: Option<PathBuf>,

    /// What that is, a list of rto, reset and panic [default: all of them]
    #[arg(long, value_name = "LIST", value_parser = reason, value_delimiter = ',')]
    pub(crate) dump_on: Vec<Reason>,

    /// Answer scrapes of Prometheus there, as in 127.0.0.1:9464 (/metrics) [default: off]
    #[arg(long, value_name = "ADDR:PORT", value_parser = metrics)]
    pub(crate) metrics: Option<SocketAddr>,

    /// Lets the workers make only the system calls they need: on|off
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = SeccompWord::On, hide_possible_values = true)]
    pub(crate) seccomp: SeccompWord,

    /// Any other setting, by its key (may be repeated); the keys stand below
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// `--mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeWord {
    #[default]
    Auto,
    Native,
    Skb,
}

/// `--zerocopy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ZeroCopyWord {
    #[default]
    Auto,
    On,
    Off,
}

/// `--seccomp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeccompWord {
    #[default]
    On,
    Off,
}

/// `--idle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdleWord {
    Spin,
    #[default]
    Adaptive,
    Park,
}

/// `[IF=]ADDR/PREFIX[@VLAN]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressSpec {
    /// The interface it belongs to; may be left out where there is one only.
    pub(crate) interface: Option<String>,
    /// The address.
    pub(crate) cidr: Cidr,
    /// The VLAN it is in.
    pub(crate) vlan: Vlan,
}

impl FromStr for AddressSpec {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        match text.split_once('=') {
            None => {
                let AddressClaim { cidr, vlan } = text.parse()?;
                Ok(Self { interface: None, cidr, vlan })
            }
            Some((interface, claim)) => {
                let AddressClaim { cidr, vlan } = claim.parse().map_err(|error: SetupError| match error.remedy() {
                    Some(word) => {
                        let word = word.trim_start_matches("-a ");
                        SetupError::usage(error.what(), error.why()).mend(format!("-a {interface}={word}"))
                    }
                    None => error,
                })?;
                Ok(Self { interface: Some(interface.to_owned()), cidr, vlan })
            }
        }
    }
}

/// A list of numbers: `0-3,5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List(pub(crate) Vec<u32>);

impl FromStr for List {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        number::list(text).map(Self)
    }
}

impl EngineArgs {
    /// The settings of `--set`, checked.
    ///
    /// # Errors
    /// A key or a value is wrong, or two contradict each other.
    pub(crate) fn settings(&self) -> Result<Settings, SetupError> {
        let mut settings = Settings::default();
        for assignment in &self.settings {
            settings.set(assignment)?;
        }
        settings.check()?;
        Ok(settings)
    }

    /// The launch that the options describe.
    ///
    /// # Errors
    /// An option is missing, or two do not fit together.
    pub(crate) fn launch(&self) -> Result<Launch, SetupError> {
        self.check_interfaces()?;
        let settings = self.settings()?;
        let records = settings.recorder.records;
        let mut launch = Launch::new().settings(settings).mode(self.mode.into()).zero_copy(self.zerocopy.into());
        launch = launch.idle(self.idle.into()).partial(self.partial).claims(&self.claims);
        launch = launch.router_advertisements(self.accept_ra);
        launch = launch.confined(match self.seccomp {
            SeccompWord::On => Confined::Packets,
            SeccompWord::Off => Confined::Not,
        });
        for interface in &self.interfaces {
            launch = launch.interface(interface);
            for address in self.addresses.iter().filter(|address| address.interface.as_ref().is_none_or(|name| name == interface))
            {
                launch = launch.address(AddressClaim { cidr: address.cidr, vlan: address.vlan });
            }
        }
        for (at, gateway) in self.gateways.iter().enumerate() {
            if self.gateways[..at].iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
                return Err(SetupError::usage(
                    format!("cannot use the gateway {gateway}"),
                    "another of its family is given, and each family has one",
                )
                .mend(format!("--route NET/PREFIX={gateway}")));
            }
            launch = launch.gateway(*gateway);
        }
        for route in &self.routes {
            launch = launch.route(*route);
        }
        match &self.dump {
            Some(folder) => {
                if records == 0 {
                    let why = "nothing is recorded that could be written (recorder.records = 0)";
                    return Err(SetupError::usage("cannot use --dump", why).mend("--set recorder.records=8192"));
                }
                let on = if self.dump_on.is_empty() { Reason::ALL.to_vec() } else { self.dump_on.clone() };
                launch = launch.dump(Dump { folder: folder.clone(), on });
            }
            None if !self.dump_on.is_empty() => {
                return Err(SetupError::usage("cannot use --dump-on", "nothing is dumped without a folder").mend("--dump DIR"));
            }
            None => {}
        }
        if let Some(address) = self.metrics {
            launch = launch.metrics(address);
        }
        if let Some(List(queues)) = &self.queues {
            launch = launch.queues(queues);
        }
        if let Some(List(cores)) = &self.cores {
            launch = launch.cores(cores);
        }
        Ok(launch)
    }

    /// Checks how interfaces, addresses and claims fit together.
    fn check_interfaces(&self) -> Result<(), SetupError> {
        let Some(first) = self.interfaces.first() else {
            return Err(
                SetupError::usage("cannot run the engine", "no interface is given").mend("-i eth0 (ip -br link lists them)")
            );
        };
        for (n, interface) in self.interfaces.iter().enumerate() {
            if self.interfaces.iter().take(n).any(|other| other == interface) {
                return Err(SetupError::usage(format!("cannot use -i {interface} twice"), "an interface is named once"));
            }
        }
        for address in &self.addresses {
            match &address.interface {
                None if self.interfaces.len() > 1 => {
                    return Err(SetupError::usage(
                        format!("cannot place the address {}", address.cidr),
                        "there are several interfaces",
                    )
                    .mend(format!("-a {first}={}", address.cidr)));
                }
                Some(name) if !self.interfaces.contains(name) => {
                    return Err(SetupError::usage(
                        format!("cannot place the address {}", address.cidr),
                        format!("the interface {name} is not among those of -i"),
                    )
                    .mend(format!("-i {name}")));
                }
                _ => {}
            }
        }
        let without =
            |interface: &&String| !self.addresses.iter().any(|a| a.interface.as_ref().is_none_or(|name| name == *interface));
        match self.interfaces.iter().find(without) {
            Some(interface) if self.claims.is_empty() => Err(SetupError::usage(
                format!("cannot run on {interface}"),
                "nothing of it is claimed: give it an address the kernel does not own, or ports of the kernel's addresses",
            )
            .mend("-a 10.0.0.2/24, or --claim tcp:80,udp:53")),
            Some(_) if self.addresses.is_empty() && self.accept_ra => Err(SetupError::usage(
                "cannot use --accept-ra with --claim",
                "ports are taken on the kernel's own addresses, and the kernel's routes are used: whether it follows routers is its setting",
            )
            .mend("sudo sysctl -w net.ipv6.conf.IF.accept_ra=1")),
            None if !self.claims.is_empty() => Err(SetupError::usage(
                "cannot use --claim with -a",
                "an address given with -a is claimed whole, with all its ports; --claim takes ports on the kernel's own addresses",
            )),
            _ => Ok(()),
        }
    }

    /// Checks that something takes what is sent to a port: at an address or port that nothing claims nobody would ever see a packet. `refuse`
    /// makes the error of a reason.
    ///
    /// # Errors
    /// Nothing takes it.
    pub(crate) fn check_claimed(
        &self,
        transport: Transport,
        at: Local,
        refuse: impl Fn(String) -> SetupError,
    ) -> Result<(), SetupError> {
        if !self.claims.is_empty() {
            let wanted = PortClaim { transport, port: at.port };
            if !self.claims.contains(&wanted) {
                let all: Vec<_> = self.claims.iter().chain([&wanted]).map(ToString::to_string).collect();
                let error = refuse(format!("{wanted} is not among the claimed ports"));
                return Err(error.mend(format!("--claim {}", all.join(","))));
            }
        } else if let Some(address) = at.address
            && !self.addresses.iter().any(|own| own.cidr.address == address)
            && !is_group(address)
            && !self.is_broadcast(address)
        {
            let prefix = if address.is_ipv4() { 24 } else { 64 };
            return Err(refuse(format!("{address} is not among the addresses of -a")).mend(format!("-a {address}/{prefix}")));
        }
        Ok(())
    }

    /// True for the broadcast address of a network of -a.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.cidr.broadcast() == Some(address))
    }

    /// The one core of `--cores`, for stacks that run in one thread.
    ///
    /// # Errors
    /// There are several.
    pub(crate) fn single_core(&self, stack: &str) -> Result<Option<u32>, SetupError> {
        match self.cores.as_ref().map(|list| list.0.as_slice()) {
            None | Some([]) => Ok(None),
            Some([core]) => Ok(Some(*core)),
            Some([first, ..]) => Err(SetupError::usage("cannot use several cores", format!("{stack} runs in one thread"))
                .mend(format!("--cores {first}"))),
        }
    }

    /// The first option that has a meaning for the engine alone, for commands that run without it.
    pub(crate) fn first_engine_only(&self) -> Option<&'static str> {
        let given = [
            (!self.claims.is_empty(), "--claim"),
            (!self.gateways.is_empty(), "--gateway"),
            (!self.routes.is_empty(), "--route"),
            (self.accept_ra, "--accept-ra"),
            (self.mode != ModeWord::Auto, "--mode"),
            (self.zerocopy != ZeroCopyWord::Auto, "--zerocopy"),
            (self.queues.is_some(), "--queues"),
            (self.partial, "--partial"),
            (self.idle != IdleWord::Adaptive, "--idle"),
            (self.metrics.is_some(), "--metrics"),
            (self.dump.is_some(), "--dump"),
            (self.seccomp != SeccompWord::On, "--seccomp"),
            (!self.settings.is_empty(), "--set"),
        ];
        given.into_iter().find_map(|(given, option)| given.then_some(option))
    }
}

fn reason(text: &str) -> Result<Reason, SetupError> {
    Reason::ALL.into_iter().find(|reason| reason.name() == text).ok_or_else(|| {
        let names = Reason::ALL.map(Reason::name).join(", ");
        SetupError::usage(format!("cannot dump on '{text}'"), format!("what can be dumped on is {names}")).mend("--dump-on reset")
    })
}

fn metrics(text: &str) -> Result<SocketAddr, SetupError> {
    let bad = |why: &str| SetupError::usage(format!("cannot answer scrapes at '{text}'"), why);
    text.parse().map_err(|_| match (text.parse::<IpAddr>(), text.trim_start_matches(':').parse::<u16>()) {
        (Ok(address), _) => bad("the port is missing").mend(format!("--metrics {}", SocketAddr::new(address, 9464))),
        (_, Ok(port)) => bad("the address is missing").mend(format!("--metrics 127.0.0.1:{port}")),
        _ => bad("it is not ADDR:PORT (IPv6 addresses stand in brackets)").mend("--metrics 127.0.0.1:9464"),
    })
}

fn gateway(text: &str) -> Result<IpAddr, SetupError> {
    text.parse().map_err(|_| {
        SetupError::usage(format!("cannot read the gateway '{text}'"), "it is not an IP address").mend("--gateway 10.0.0.1")
    })
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::Auto => Self::Auto,
            ModeWord::Native => Self::Native,
            ModeWord::Skb => Self::Skb,
        }
    }
}

impl From<ZeroCopyWord> for ZeroCopy {
    fn from(word: ZeroCopyWord) -> Self {
        match word {
            ZeroCopyWord::Auto => Self::Auto,
            ZeroCopyWord::On => Self::On,
            ZeroCopyWord::Off => Self::Off,
        }
    }
}

impl From<IdleWord> for Idle {
    fn from(word: IdleWord) -> Self {
        match word {
            IdleWord::Spin => Self::Spin,
            IdleWord::Adaptive => Self::Adaptive,
            IdleWord::Park => Self::Park,
        }
    }
}
