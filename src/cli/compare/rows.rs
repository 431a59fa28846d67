//! Which rows are compared, and the two command lines of each.
//!
//! Pure: from the arguments of `compare` to words. `--dry-run` prints exactly what a run starts.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringway::link::interface::Cidr;
use ringway::settings::number;

use crate::cli::args::CompareArgs;

/// A stack at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// Ringway's engine.
    Ringway,
    /// Kernel sockets that block.
    Kernel,
    /// Kernel sockets that are polled without a pause.
    KernelSpin,
    /// Bare AF_XDP.
    Raw,
    /// An XDP program that sends each frame back: servers only.
    XdpTx,
}

impl Stack {
    /// Its name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::Kernel => "kernel",
            Self::KernelSpin => "kernel-spin",
            Self::Raw => "raw",
            Self::XdpTx => "xdp-tx",
        }
    }

    /// True when it polls without a pause, so that its CPU time says little without the share of turns that found work.
    pub(super) const fn spins(self) -> bool {
        matches!(self, Self::Ringway | Self::KernelSpin | Self::Raw)
    }

    /// True when the kernel must own the addresses.
    pub(super) const fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::KernelSpin)
    }
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// So many unanswered messages on one connection or socket.
    InFlight(u32),
    /// One unanswered message on each of so many connections or sockets.
    Connections(u32),
    /// So many messages a second.
    PerSecond(u32),
}

/// One row: what carries the messages, what runs at the two ends, and the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `tcp`, `udp` or `raw`.
    pub(super) carrier: &'static str,
    /// Stack of the server.
    pub(super) server: Stack,
    /// The load.
    pub(super) pace: Pace,
}

impl Row {
    /// Stack of the client: the server's, but bare AF_XDP before an XDP program.
    pub(super) const fn client(self) -> Stack {
        match self.server {
            Stack::XdpTx => Stack::Raw,
            same => same,
        }
    }

    /// A name for files and for people: `udp-ringway-1`, `tcp-ringway-64c`, `tcp-kernel-20000ps`.
    pub(super) fn name(self) -> String {
        let pace = match self.pace {
            Pace::InFlight(n) => n.to_string(),
            Pace::Connections(n) => format!("{n}c"),
            Pace::PerSecond(n) => format!("{n}ps"),
        };
        match self.server {
            Stack::Raw => format!("raw-{pace}"),
            Stack::XdpTx => format!("raw-xdp-tx-{pace}"),
            other => format!("{}-{}-{pace}", self.carrier, other.name()),
        }
    }
}

/// How long each run of a row takes, and how often it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    pub(super) rounds: u32,
    pub(super) duration: Duration,
    pub(super) warmup: Duration,
}

impl Effort {
    /// Of the arguments: `--quick` ends within 60 s.
    pub(super) fn of(args: &CompareArgs) -> Self {
        let (rounds, duration_ms, warmup_ms) = if args.quick { (3, 800, 150) } else { (5, 3000, 500) };
        Self {
            rounds: args.rounds.unwrap_or(rounds),
            duration: Duration::from_millis(duration_ms),
            warmup: Duration::from_millis(warmup_ms),
        }
    }
}

/// The rows in the order in which each round runs them. Neighbours differ in one thing, so that a slow drift of the machine meets both.
pub(super) fn rows(quick: bool) -> Vec<Row> {
    let raw = |server, pace| Row { carrier: "raw", server, pace };
    let pair = |server, pace| ["udp", "tcp"].map(|carrier| Row { carrier, server, pace });
    let mut rows = vec![raw(Stack::XdpTx, Pace::InFlight(1)), raw(Stack::Raw, Pace::InFlight(1))];
    for stack in [Stack::Ringway, Stack::Kernel, Stack::KernelSpin] {
        rows.extend(pair(stack, Pace::InFlight(1)));
    }
    let open = Pace::PerSecond(OPEN_PER_S);
    rows.extend(pair(Stack::Ringway, open));
    if !quick {
        rows.extend(pair(Stack::Kernel, open));
    }
    // Many connections also give many connects and closes to take percentiles of.
    let connections = Pace::Connections(MANY);
    rows.extend(pair(Stack::Ringway, connections));
    rows.extend(pair(Stack::Kernel, connections));
    if !quick {
        rows.extend(pair(Stack::KernelSpin, connections));
        let in_flight = Pace::InFlight(MANY);
        rows.push(raw(Stack::Raw, in_flight));
        for stack in [Stack::Ringway, Stack::Kernel, Stack::KernelSpin] {
            rows.extend(pair(stack, in_flight));
        }
    }
    rows
}

/// The two command lines of a row, without the namespace in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) server: Vec<String>,
    pub(super) client: Vec<String>,
}

/// The command lines of `row`. `histograms` is where the client writes its `.hlog`.
pub(super) fn lines(args: &CompareArgs, program: &Path, row: Row, effort: Effort, histograms: Option<&Path>) -> Lines {
    let core = |end| args.ends.core(end).to_string();
    let program = program.display().to_string();
    let mut server = words(&[&program, "serve", "--json", "--cores", &core(0)]);
    // Two intervals and more lie in the measured time: the busy share is taken between them.
    let interval = format!("--interval={}", number::show_duration((effort.duration / 4).max(Duration::from_millis(100))));
    let target = SocketAddr::new(args.ends.server_address.address, PORT);
    match row.server {
        Stack::Ringway => {
            server.extend(engine(&args.ends.server_if, args.ends.server_address));
            server.push(interval.clone());
            server.push(format!("echo/{}:{PORT}", row.carrier));
        }
        Stack::Kernel | Stack::KernelSpin => {
            server.push(interval.clone());
            server.extend(words(&["--stack", row.server.name(), &format!("echo/{}@{target}", row.carrier)]));
        }
        Stack::Raw | Stack::XdpTx => {
            let address = args.ends.server_address.to_string();
            server.extend(words(&["--stack", "raw", "-i", &args.ends.server_if, "-a", &address]));
            server.push(if row.server == Stack::Raw { "reflect" } else { "xdp-tx" }.to_owned());
        }
    }
    let mut client = words(&[&program, "load", row.carrier, "--to", &target.to_string(), "--json", "--cores", &core(1)]);
    match row.client() {
        Stack::Ringway => client.extend(engine(&args.ends.client_if, args.ends.client_address)),
        Stack::Kernel | Stack::KernelSpin => {
            client.extend(words(&["--stack", row.client().name(), "-i", &args.ends.client_if]));
        }
        Stack::Raw | Stack::XdpTx => {
            client.extend(words(&["-i", &args.ends.client_if, "-a", &args.ends.client_address.to_string()]))
        }
    }
    client.extend(match row.pace {
        Pace::InFlight(n) => words(&["--in-flight", &n.to_string()]),
        Pace::Connections(n) => words(&["--connections", &n.to_string()]),
        Pace::PerSecond(n) => words(&["--rate", &n.to_string()]),
    });
    client.extend(words(&["-l", &SIZE.to_string(), "-t", &number::show_duration(effort.duration)]));
    client.extend(words(&["-O", &number::show_duration(effort.warmup)]));
    if let Some(folder) = histograms {
        client.extend(words(&["--out", &folder.display().to_string()]));
    }
    Lines { server, client }
}

/// The options of the engine at one end; spinning, because the row is a benchmark.
fn engine(interface: &str, address: Cidr) -> Vec<String> {
    // The namespaces were looked at before: nobody else has the addresses.
    words(&["-i", interface, "-a", &address.to_string(), "--idle", "spin", "--set", "address.probes=0"])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Port of the echo service (RFC 862), at every stack.
const PORT: u16 = 7;
/// Payload bytes of every message.
const SIZE: usize = 64;
/// Rate of the open-loop rows: modest, so that no stack is near its limit.
const OPEN_PER_S: u32 = 20_000;
/// Unanswered messages of the throughput rows, on as many connections or on one.
const MANY: u32 = 64;
