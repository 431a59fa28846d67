//! The arguments of every sub-command.
//!
//! Parsed by clap in [`super::main`]. Holds words, bounds and help; decides nothing else.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ringway::error::SetupError;
use ringway::link::interface::{AddressClaim, PortClaim};
use ringway::load::plan::{Bulk, Carrier, Churn};
use ringway::settings::{self, number};
use ringway::tcp::congestion::Algorithm;

use super::admission_args::AdmissionArgs;
use super::bench::args::{self as bench, BenchArgs};
use super::cable::args::{self as cable, CableArgs};
use super::capture::args::{self as capture, CaptureArgs};
use super::doctor::args::{self as doctor, DoctorArgs};
use super::ends::Ends;
use super::engine_args::EngineArgs;
use super::ladder::args::{self as ladder, LadderArgs};
use super::listen::args::{self as listen, ListenArgs};
use super::log;
use super::reload::{self, ReloadArgs};
use super::service_spec::ServiceSpec;
use super::show::args::{self as show, ShowArgs};
#[cfg(feature = "top")]
use super::top::args::{self as top, TopArgs};

/// A user-space TCP and UDP engine for Linux on AF_XDP.
#[derive(Parser, Debug)]
#[command(name = "ringway", version, max_term_width = 80, styles = STYLES, )]
#[command(after_help = AFTER_ALL, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Print one JSON object a line on stdout, errors included
    #[arg(short = 'J', long, global = true, display_order = 1000)]
    pub(crate) json: bool,

    /// What is logged to stderr: off|error|warn|info|debug|trace, or parts [default: RINGWAY_LOG]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = log::read_filter, display_order = 1001)]
    pub(crate) log: Option<String>,

    /// Lines of the log: human|json
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = log::Format::Human, hide_possible_values = true, display_order = 1002)]
    pub(crate) log_format: log::Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The sub-commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serve TCP and UDP services on an interface
    #[command(after_help = after_serve())]
    Serve(ServeArgs),
    /// Send messages to a server, check every byte that comes back, measure latency
    #[command(after_help = AFTER_LOAD)]
    Load(LoadArgs),
    /// Compare raw frames, UDP, TCP and the kernel's sockets between two namespaces
    #[command(after_help = AFTER_COMPARE, override_usage = USAGE_COMPARE)]
    Compare(CompareArgs),
    /// Measure everything against everything between two namespaces: rates, latency, CPU
    #[command(after_help = bench::AFTER, override_usage = bench::USAGE)]
    Bench(BenchArgs),
    /// Join two interfaces by a cable with delay, rate, loss and other faults
    #[command(after_help = cable::AFTER)]
    Cable(CableArgs),
    /// Listen to a stream of RTP: loss, reordering, duplicates, jitter
    #[command(after_help = listen::AFTER)]
    Listen(ListenArgs),
    /// Show what a running process is doing: connections, listeners, counters and more
    #[command(after_help = show::AFTER)]
    Show(ShowArgs),
    /// Watch what a running process is doing: rates, drops, times, states, flows
    #[cfg(feature = "top")]
    #[command(after_help = top::AFTER)]
    Top(TopArgs),
    /// Capture the frames of a running process, or what its recorder holds, as pcapng
    #[command(after_help = capture::AFTER)]
    Capture(CaptureArgs),
    /// Say what of this machine and its interfaces stands in the way, and what mends it
    #[command(after_help = doctor::AFTER)]
    Doctor(DoctorArgs),
    /// Have a running server read its configuration file again
    #[command(after_help = reload::AFTER)]
    Reload(ReloadArgs),
    /// Draw a connection as a sequence diagram, with the states of both ends
    #[command(after_help = ladder::AFTER)]
    Ladder(LadderArgs),
    /// Show the XDP program that claims would load
    #[command(after_help = AFTER_STEER)]
    Steer(SteerArgs),
    /// Print the completion script of a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, of the whole or of one command
    #[command(hide = true)]
    Man {
        /// One of the commands
        command: Option<String>,
    },
}

/// `ringway serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// What carries the services: ringway|kernel|kernel-spin|raw
    #[arg(long, value_name = "STACK", value_enum, default_value_t = ServeStack::Ringway, hide_possible_values = true)]
    pub(crate) stack: ServeStack,

    /// Print a line of counters at intervals [default of DURATION: 1s]
    #[arg(long, value_name = "DURATION", value_parser = interval, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub(crate) interval: Option<Duration>,

    /// Control socket of ringway show; off for none [default: /run/ringway/PID.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// Read options from a file (TOML) too; what is given here goes before
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print what the options come to, as such a file, and end
    #[arg(long)]
    pub(crate) print_config: bool,

    /// The command line, for reading the file again.
    #[arg(skip)]
    pub(crate) arguments: Vec<OsString>,

    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    #[command(flatten)]
    pub(crate) admission: AdmissionArgs,

    /// NAME[/tcp|/udp][@ADDR]:PORT[,congestion=NAME][=DIR], as in echo:7; see below
    #[arg(required_unless_present_any = ["config", "print_config"], value_name = "SERVICE", help_heading = "Arguments")]
    pub(crate) services: Vec<ServiceSpec>,
}

/// `ringway load`.
#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// What carries the messages: tcp|udp|raw
    #[arg(value_enum, value_name = "tcp|udp|raw", hide_possible_values = true)]
    pub(crate) carrier: CarrierWord,

    /// The server
    #[arg(long = "to", value_name = "ADDR:PORT", value_parser = target)]
    pub(crate) target: SocketAddr,

    /// The client's stack: ringway|kernel|kernel-spin
    #[arg(long, value_name = "STACK", value_enum, default_value_t = LoadStack::Ringway, hide_possible_values = true)]
    pub(crate) stack: LoadStack,

    /// Connections (TCP) or sockets (UDP) at once
    #[arg(short = 'P', long, value_name = "N", value_parser = connections, default_value = "1")]
    pub(crate) connections: u32,

    /// Closed loop: unanswered messages per connection [default: 1]
    #[arg(long, value_name = "K", value_parser = in_flight, conflicts_with = "rate")]
    pub(crate) in_flight: Option<u32>,

    /// Open loop: messages per second, all connections together
    #[arg(long, value_name = "R", value_parser = number::rate)]
    pub(crate) rate: Option<f64>,

    /// Payload bytes of a message
    #[arg(short = 'l', long, value_name = "B", value_parser = size, default_value = "64")]
    pub(crate) size: usize,

    /// Measured time
    #[arg(short = 't', long, value_name = "DURATION", value_parser = run_time, default_value = "5s")]
    pub(crate) duration: Duration,

    /// Time before the measurement, not counted
    #[arg(short = 'O', long, value_name = "DURATION", value_parser = number::duration, default_value = "1s")]
    pub(crate) warmup: Duration,

    /// Source addresses to use, counted up from the first [default: those of -a]
    #[arg(long, value_name = "N", value_parser = sources)]
    pub(crate) sources: Option<u32>,

    /// Open the connections at a rate per second and hold them all (TCP); without it one after the other
    #[arg(long, value_name = "R", value_parser = ramp, conflicts_with = "churn")]
    pub(crate) ramp: Option<f64>,

    /// With --ramp: how long they stay open after it, warm-up and measured time together
    #[arg(long, value_name = "DURATION", value_parser = run_time, requires = "ramp", conflicts_with = "duration")]
    pub(crate) hold: Option<Duration>,

    /// With --ramp: the share of the connections that carries messages [default: 100%]
    #[arg(long, value_name = "PERCENT", value_parser = number::percent, requires = "ramp")]
    pub(crate) active: Option<u32>,

    /// Connect, one exchange, close, again; WHO closes first: client|server|rst [default of WHO: client]
    #[arg(long, value_name = "WHO", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", hide_possible_values = true)]
    pub(crate) churn: Option<ChurnWord>,

    /// Bytes one way as fast as they are taken: send (to discard) or receive (from chargen); -l bytes count as a message (TCP)
    #[arg(long, value_name = "WAY", value_enum, hide_possible_values = true, conflicts_with_all = ["churn", "ramp", "rate", "in_flight"])]
    pub(crate) bulk: Option<BulkWord>,

    /// Congestion control of the client: cubic|bbr|reno [default: the stack's]
    #[arg(long, value_name = "NAME", value_parser = congestion)]
    pub(crate) congestion: Option<Algorithm>,

    /// Write result.json, *.hlog and report.html there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print a line of counts at intervals [default of DURATION: 1s]
    #[arg(long, value_name = "DURATION", value_parser = interval, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub(crate) interval: Option<Duration>,

    /// End with 4 when it holds: 'p99>50us', 'lost>0', 'rate<100K' (may be repeated)
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<String>,

    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `ringway compare`.
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) ends: Ends,

    /// How often each row is measured, interleaved [default: 5, with --quick 3]
    #[arg(long, value_name = "N", value_parser = rounds)]
    pub(crate) rounds: Option<u32>,

    /// Fewer rows and shorter runs: done within 60 s
    #[arg(long)]
    pub(crate) quick: bool,

    /// Print the two command lines of every row and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write result.json, *.hlog and report.html there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `ringway steer`.
#[derive(Args, Debug)]
pub(crate) struct SteerArgs {
    /// List the program, one instruction a line; nothing is loaded
    #[arg(long, required = true)]
    pub(crate) dump: bool,

    /// Interface whose addresses --claim takes ports of (may be repeated)
    #[arg(short, long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,

    /// A claimed address (may be repeated)
    #[arg(short, long = "address", value_name = "ADDR/PREFIX[@VLAN]")]
    pub(crate) addresses: Vec<AddressClaim>,

    /// Ports claimed on the kernel's own addresses, as in tcp:80,udp:53
    #[arg(long = "claim", value_name = "tcp:PORT|udp:PORT", value_delimiter = ',')]
    pub(crate) claims: Vec<PortClaim>,
}

/// `serve --stack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServeStack {
    Ringway,
    Kernel,
    KernelSpin,
    Raw,
}

/// `load --stack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadStack {
    Ringway,
    Kernel,
    KernelSpin,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CarrierWord {
    Tcp,
    Udp,
    Raw,
}

impl From<CarrierWord> for Carrier {
    fn from(word: CarrierWord) -> Self {
        match word {
            CarrierWord::Tcp => Self::Tcp,
            CarrierWord::Udp => Self::Udp,
            CarrierWord::Raw => Self::Raw,
        }
    }
}

/// `--bulk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BulkWord {
    Send,
    Receive,
}

impl From<BulkWord> for Bulk {
    fn from(word: BulkWord) -> Self {
        match word {
            BulkWord::Send => Self::Send,
            BulkWord::Receive => Self::Receive,
        }
    }
}

/// `--churn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChurnWord {
    Client,
    Server,
    Rst,
}

impl From<ChurnWord> for Churn {
    fn from(word: ChurnWord) -> Self {
        match word {
            ChurnWord::Client => Self::Client,
            ChurnWord::Server => Self::Server,
            ChurnWord::Rst => Self::Rst,
        }
    }
}

fn target(text: &str) -> Result<SocketAddr, SetupError> {
    let bad = |why: &str| SetupError::usage(format!("cannot read the server '{text}'"), why);
    match text.parse::<SocketAddr>() {
        Ok(target) if target.port() == 0 => {
            Err(bad("port 0 names no server").mend(format!("--to {}", SocketAddr::new(target.ip(), 7))))
        }
        Ok(target) => Ok(target),
        Err(_) => Err(match text.parse() {
            Ok(address) => bad("the port is missing").mend(format!("--to {}", SocketAddr::new(address, 7))),
            Err(_) => bad("it is not ADDR:PORT (IPv6 addresses stand in brackets)").mend("--to 10.0.0.2:7"),
        }),
    }
}

fn whole(text: &str, what: &str, least: u32, most: u32) -> Result<u32, SetupError> {
    match number::count(text)?.try_into() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        other => {
            let why = format!("it must lie between {least} and {most}");
            let nearest = if other.is_ok_and(|count| count < least) { least } else { most };
            Err(SetupError::usage(format!("cannot take {text} as {what}"), why).mend(nearest.to_string()))
        }
    }
}

fn connections(text: &str) -> Result<u32, SetupError> {
    whole(text, "the number of connections", 1, ringway::load::plan::CONNECTIONS)
}

fn in_flight(text: &str) -> Result<u32, SetupError> {
    whole(text, "the messages in flight", 1, 65_536)
}

fn sources(text: &str) -> Result<u32, SetupError> {
    whole(text, "the number of source addresses", 1, 65_536)
}

fn ramp(text: &str) -> Result<f64, SetupError> {
    number::rate(text).map_err(|_| {
        let why = "a ramp is a number of connections per second above 0, with K, M or G for thousands, millions and billions";
        SetupError::usage(format!("cannot read the ramp '{text}'"), why).mend("--ramp 50K")
    })
}

fn rounds(text: &str) -> Result<u32, SetupError> {
    whole(text, "the number of rounds", 1, 1000)
}

fn size(text: &str) -> Result<usize, SetupError> {
    match number::bytes(text)?.try_into() {
        Ok(size) if size <= SIZE_MAX => Ok(size),
        _ => Err(SetupError::usage(
            format!("cannot take {text} as the size of a message"),
            format!("it is {} at most", number::show_bytes(SIZE_MAX as u64)),
        )),
    }
}

fn congestion(text: &str) -> Result<Algorithm, SetupError> {
    Algorithm::named(text).ok_or_else(|| {
        SetupError::usage(
            format!("there is no congestion control '{text}'"),
            format!("there are {}", Algorithm::NAMES.join(", ")),
        )
        .mend(format!("--congestion {}", Algorithm::nearest(text).name()))
    })
}

fn run_time(text: &str) -> Result<Duration, SetupError> {
    let span = number::duration(text)?;
    if span.is_zero() {
        return Err(SetupError::usage(format!("cannot measure for {text}"), "the measured time is above 0").mend("5s"));
    }
    Ok(span)
}

pub(crate) fn interval(text: &str) -> Result<Duration, SetupError> {
    let span = number::duration(text)?;
    let least = Duration::from_millis(10);
    if span < least {
        return Err(
            SetupError::usage(format!("cannot report every {text}"), "the shortest interval is 10ms").mend("--interval=1s")
        );
    }
    Ok(span)
}

/// The largest message of `load`: what a stream may carry; a datagram carries less, which the plan checks.
const SIZE_MAX: usize = ringway::load::plan::STREAM_MESSAGE_BYTES;

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(Style::new());

const AFTER_ALL: &str = "\
Examples:
  sudo ringway serve -i veth0 -a 10.0.0.2/24 echo:7
  sudo ringway load udp --to 10.0.0.2:7 -i veth1 -a 10.0.0.1/24
  ringway load tcp --to 10.0.0.2:7 --stack kernel

Exit codes: 0 ok, 1 the run failed, 2 usage, 3 environment (rights, device),
4 a threshold of --fail-if was missed.
--log debug (or RINGWAY_LOG=debug) shows what is done; NO_COLOR=1 takes the
colours away.";

fn after_serve() -> String {
    format!(
        "\
Services: NAME[/tcp|/udp][@ADDR]:PORT[,congestion=NAME][=PATH], IPv6 addresses
in brackets; without a transport all it runs over. The congestion control is
cubic, bbr or reno, and that of tcp.congestion unless it is said:
echo:7,congestion=bbr. ADDR may be a multicast group, which is joined, or a
broadcast address; ,source=ADDR names the only senders (may be repeated):
discard/udp@232.1.2.3:5000,source=10.0.0.1.
  echo:PORT          sends back what it receives (RFC 862)
  discard:PORT       receives and sends nothing (RFC 863)
  chargen:PORT       sends characters without end (RFC 864)
  daytime:PORT       sends the time (RFC 867)
  http:PORT=DIR      serves the files of a folder (HTTP/1.1, TCP alone)
  dns:PORT=ZONEFILE  answers for the zone of a master file (RFC 1035)
  stream:PORT=GROUP  sends RTP to a group, a broadcast address or a host, at
                     GROUP:PORT to another port (RFC 3550, UDP alone). Options:
                     ,rate=N packets a second [50], ,size=BYTES of payload in
                     each [160], ,clock=HZ of the timestamps [90000], ,ttl=N,
                     ,loop=on to own endpoints too, ,count=N packets in all,
                     ,file=PATH instead of characters
With --stack raw there is no transport, and SERVICE is one of:
  reflect            every frame goes back, through an AF_XDP socket
  xdp-tx             every frame goes back, by an XDP program in the kernel

Examples:
  An address of its own; SSH and everything else stay with the kernel:
    sudo ringway serve -i eth0 -a 10.0.0.2/24 echo:7 discard/tcp:9
  The files of a folder:
    sudo ringway serve -i eth0 -a 10.0.0.2/24 http:80=/srv/www
  A zone, over UDP and TCP:
    sudo ringway serve -i eth0 -a 10.0.0.2/24 dns:53=example.zone
  A stream to a group, which ringway listen hears:
    sudo ringway serve -i eth0 -a 10.0.0.2/24 stream/udp:5004,rate=100=239.1.2.3
  Two ports of the kernel's address:
    sudo ringway serve -i eth0 --claim tcp:7,udp:7 echo:7
  Options from a file (examples/ringway.toml has all), and one of them over it:
    sudo ringway serve --config /etc/ringway.toml --drain 30s
  What the options come to, as such a file:
    ringway serve -i eth0 -a 10.0.0.2/24 echo:7 --print-config
  The same services on kernel sockets, to compare with:
    ringway serve --stack kernel echo@127.0.0.1:7007

Settings (--set KEY=VALUE), with their defaults:
{}
Ctrl-C ends the run with a summary, a second one at once. With --config, SIGHUP
and ringway reload read the file again.
The rights needed: sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep
./ringway lets an ordinary user run it.",
        settings::listing()
    )
}

const AFTER_LOAD: &str = "\
Latency is the round trip. With --rate it counts from the moment a message was
due, with the uncorrected figure beside it; a closed loop has no due time.
A message is lost when no answer came within 1 s of that moment.
--churn=server needs a service that closes first, such as daytime.
--fail-if takes p50 p90 p99 p999 p9999 max mean (durations, of the corrected
round trip where there is one), lost, late (counts), rate, and after a ramp
open (connections at its end), with > < >= <=.
The keys of --set are listed by: ringway serve --help

Examples:
  UDP, one message at a time, over Ringway at both ends:
    sudo ringway load udp --to 10.0.0.2:7 -i veth1 -a 10.0.0.1/24
  TCP, 100K messages a second over 10 connections, for CI:
    sudo ringway load tcp --to 10.0.0.2:7 -i veth1 -a 10.0.0.1/24 -P 10 \\
      --rate 100K --fail-if 'p99>50us' --fail-if 'lost>0'
  The same over the kernel's sockets:
    ringway load tcp --to 10.0.0.2:7 --stack kernel -P 10 --rate 100K
  A million connections, one in a hundred of which talks, for a minute:
    sudo ringway load tcp --to 10.0.0.2:7 -i veth1 -a 10.0.0.16/24 \\
      --sources 32 -P 1048576 --ramp 50K --hold 60s --active 1% \\
      --set tcp.connections=1048576";

const USAGE_COMPARE: &str = "\
ringway compare [OPTIONS]
         --server-netns NS --server-if IF --server-address ADDR/PREFIX
         --client-netns NS --client-if IF --client-address ADDR/PREFIX";

const AFTER_COMPARE: &str = "\
The namespaces, the veth pair between them and its offloads are made by
scripts/compare.sh, which is the usual way to run this. For the rows of the
kernel's sockets the addresses are given to the interfaces and taken away again.

Example:
  sudo ringway compare --server-netns a --server-if veth0 \\
    --server-address 10.0.0.2/24 --client-netns b --client-if veth1 \\
    --client-address 10.0.0.1/24 --quick --out result";

const AFTER_STEER: &str = "\
Example:
  ringway steer --dump -a 10.0.0.2/24
  ringway steer --dump -i eth0 --claim tcp:80,udp:53";
