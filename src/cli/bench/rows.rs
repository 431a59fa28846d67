//! Which cells are measured, and the command lines of each.
//!
//! A cell is a row, a load, and the stacks of its two ends. Pure: from the arguments of `bench` to words; `--dry-run` prints exactly what a run
//! starts. Names are short and stable: what was measured is found again by them ([`super::record`]), and targets name them
//! ([`super::targets`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringway::error::SetupError;
use ringway::link::interface::Cidr;
use ringway::settings::number;
use ringway::words;

use super::args::BenchArgs;

/// What a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// Whether the machine is quiet enough: no row of the report.
    Gate,
    UdpRate,
    UdpLatency,
    UdpOpen,
    TcpRr,
    Crr,
    Bulk,
    KernelClient,
    Mixed,
}

impl Row {
    /// Those of the report, in its order.
    pub(super) const ALL: [Self; 8] =
        [Self::UdpRate, Self::UdpLatency, Self::UdpOpen, Self::TcpRr, Self::Crr, Self::Bulk, Self::KernelClient, Self::Mixed];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::UdpRate => "udp-rate",
            Self::UdpLatency => "udp-latency",
            Self::UdpOpen => "udp-open",
            Self::TcpRr => "tcp-rr",
            Self::Crr => "crr",
            Self::Bulk => "bulk",
            Self::KernelClient => "kernel-client",
            Self::Mixed => "mixed",
        }
    }

    /// What stands above its table.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Gate => "the same twice, and a modest rate without loss",
            Self::UdpRate => "UDP echo, 64 in flight on one socket; pairs",
            Self::UdpLatency => "UDP echo, one in flight; pairs",
            Self::UdpOpen => "UDP echo of 64 bytes, open loop, at shares of the highest rate that each pair carries without loss",
            Self::TcpRr => {
                "TCP request and reply of 64 bytes, one in flight on each connection; pairs. For 10,000 of them the rings of Ringway hold 16,384 frames"
            }
            Self::Crr => {
                "connect, exchange, close, 16 at once; p50 and p99 are of the handshake. In the pair the server closes first and both ends have a TIME-WAIT of 60 s; under the kernel client a reset ends each connection"
            }
            Self::Bulk => "bulk TCP one way; pairs; a message is 1 KiB",
            Self::KernelClient => {
                "servers under a spinning kernel client, 64 bytes; HTTP under wrk, where Ringway serves a file and the others what they hold in memory"
            }
            Self::Mixed => "TCP and UDP request and reply at once on one server core, under two blocking kernel clients",
        }
    }
}

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
    /// smoltcp over AF_XDP, in a program of its own: servers only.
    Smoltcp,
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
            Self::Smoltcp => "smoltcp",
        }
    }

    /// True when the kernel must own the address of that end.
    pub(super) const fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::KernelSpin)
    }

    /// Whom a server of this stack meets in a pair: itself, or the nearest that can be a client.
    const fn partner(self) -> Self {
        match self {
            Self::XdpTx => Self::Raw,
            Self::Smoltcp => Self::Ringway,
            same => same,
        }
    }
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// So many unanswered messages on one socket.
    InFlight(u32),
    /// One unanswered message on each of so many connections.
    Connections(u32),
    /// Per cent of the highest rate that the pair carries without loss; with a rate in its place for the search of it.
    Share(u32),
    /// So many a second.
    PerSecond(u32),
}

/// What goes over the pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    /// Datagrams of so many bytes that come back.
    Udp(usize, Pace),
    /// Requests of 64 bytes that come back on connections that stay.
    Tcp(Pace),
    /// Connections that come and go; the server closes first (daytime), or the client resets (echo).
    Churn(Closer),
    /// Bytes one way on so many connections.
    Bulk(Way, u32),
    /// Requests of HTTP on so many connections.
    Http(u32),
    /// TCP and UDP at once.
    Both,
}

/// Who ends a connection of a churn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closer {
    Server,
    Reset,
}

/// The direction of bulk, from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Send,
    Receive,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

/// How the interfaces of both ends are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) mtu: u32,
    /// Checksums and segmentation are left to the pair, as veth is by default. AF_XDP needs them off.
    pub(super) offloads: bool,
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) row: Row,
    pub(super) server: Stack,
    pub(super) client: Stack,
    pub(super) work: Work,
    pub(super) link: Link,
    /// Tells two cells apart that are the same: those of the gate.
    pub(super) twin: Option<&'static str>,
}

impl Cell {
    /// The name: `udp-rate/64B/ringway`, `bulk/1500-send-4/kernel-no-offloads`.
    pub(super) fn id(&self) -> String {
        format!("{}/{}/{}", self.row.name(), self.load(), self.stack())
    }

    /// The load, as the name has it.
    pub(super) fn load(&self) -> String {
        let kernel_client = self.row == Row::KernelClient;
        match self.work {
            _ if self.row == Row::Gate && self.twin.is_none() => "low".to_owned(),
            _ if self.row == Row::Gate => "twice".to_owned(),
            Work::Udp(_, Pace::InFlight(n)) if kernel_client => format!("udp-{n}"),
            Work::Udp(_, Pace::Share(percent)) => format!("{percent}%"),
            Work::Udp(size, _) => format!("{size}B"),
            Work::Tcp(Pace::Connections(n)) if kernel_client => format!("tcp-{n}"),
            Work::Tcp(Pace::Connections(n)) => format!("{n}c"),
            Work::Tcp(_) => "tcp".to_owned(),
            Work::Churn(Closer::Reset) => "kernel-client".to_owned(),
            Work::Churn(Closer::Server) => "pair".to_owned(),
            Work::Bulk(way, streams) => format!("{}-{}-{streams}", self.link.mtu, way.name()),
            Work::Http(n) => format!("http-{n}"),
            Work::Both => "kernel-clients".to_owned(),
        }
    }

    /// The stack that is measured, as the name has it.
    pub(super) fn stack(&self) -> String {
        if let Some(twin) = self.twin {
            return twin.to_owned();
        }
        let name = self.server.name();
        if self.server.is_kernel() && !self.link.offloads { format!("{name}-no-offloads") } else { name.to_owned() }
    }

    /// Connections or sockets that are opened before the first message is due.
    pub(super) const fn connections(&self) -> u32 {
        match self.work {
            Work::Tcp(Pace::Connections(n)) | Work::Bulk(_, n) | Work::Http(n) => n,
            Work::Churn(_) => CHURNING,
            Work::Udp(..) | Work::Tcp(_) | Work::Both => 1,
        }
    }

    /// The effort of one run of it.
    pub(super) fn effort(&self, effort: Effort) -> Effort {
        // Connects that found no neighbour yet are tried again a second later: that is not the rate that is meant.
        let least = if matches!(self.work, Work::Churn(_)) { COLD } else { Duration::ZERO };
        Effort { warmup: effort.warmup.max(least), ..effort }
    }

    /// About how long one run of it takes.
    pub(super) fn length(&self, effort: Effort) -> Duration {
        // Two children that start and end; connections that are opened and closed one after the other.
        let opened = Duration::from_micros(u64::from(self.connections()) * if self.client == Stack::Kernel { 150 } else { 40 });
        let effort = self.effort(effort);
        effort.warmup + effort.duration + Duration::from_millis(400) + opened
    }
}

/// How long each run takes, and how often it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    pub(super) rounds: u32,
    pub(super) duration: Duration,
    pub(super) warmup: Duration,
}

impl Effort {
    /// Of the cells of the report.
    pub(super) fn of(args: &BenchArgs) -> Self {
        let (rounds, duration_ms, warmup_ms) = if args.quick { (2, 500, 150) } else { (5, 2000, 300) };
        let ms = Duration::from_millis;
        Self { rounds: args.rounds.unwrap_or(rounds), duration: ms(duration_ms), warmup: ms(warmup_ms) }
    }

    /// Of the gate.
    pub(super) fn of_gate(args: &BenchArgs) -> Self {
        let of = Self::of(args);
        let (duration, warmup) = if args.quick { (of.duration / 2, of.warmup / 3) } else { (of.duration, of.warmup) };
        Self { rounds: 3.max(if args.quick { 0 } else { of.rounds }), duration, warmup }
    }

    /// Of one try of the search for the highest rate without loss.
    pub(super) fn of_search(args: &BenchArgs) -> Self {
        Self {
            rounds: 1,
            duration: Duration::from_millis(if args.quick { 150 } else { 500 }),
            warmup: Duration::from_millis(100),
        }
    }
}

/// The cells of the gate.
pub(super) fn gate() -> Vec<Cell> {
    let raw = |work, twin| Cell { row: Row::Gate, server: Stack::Raw, client: Stack::Raw, work, link: BARE, twin };
    let busy = Work::Udp(SIZE, Pace::InFlight(MANY));
    vec![raw(busy, Some("A")), raw(busy, Some("B")), raw(Work::Udp(SIZE, Pace::PerSecond(LOW_PER_S)), None)]
}

/// All cells in the order in which each round runs them: those that are compared are neighbours.
pub(super) fn cells() -> Vec<Cell> {
    use Stack::{Kernel, KernelSpin, Raw, Ringway, Smoltcp, XdpTx};
    let mut cells = Vec::new();
    let mut add = |row, server: Stack, client: Stack, work, offloads: bool, mtu| {
        cells.push(Cell { row, server, client, work, link: Link { mtu, offloads }, twin: None });
    };
    let udp_pairs =
        [(XdpTx, false), (Raw, false), (Ringway, false), (Smoltcp, false), (Kernel, true), (KernelSpin, true), (Kernel, false)];
    for (row, pace) in [(Row::UdpRate, Pace::InFlight(MANY)), (Row::UdpLatency, Pace::InFlight(1))] {
        for size in [SIZE, LARGE] {
            for (server, offloads) in udp_pairs {
                add(row, server, server.partner(), Work::Udp(size, pace), offloads, MTU);
            }
        }
    }
    for percent in SHARES {
        for server in OPEN {
            add(Row::UdpOpen, server, server, Work::Udp(SIZE, Pace::Share(percent)), server.is_kernel(), MTU);
        }
    }
    for connections in [1, 64, 1000, 10_000] {
        let work = Work::Tcp(Pace::Connections(connections));
        add(Row::TcpRr, Ringway, Ringway, work, false, MTU);
        if connections <= 1000 {
            add(Row::TcpRr, Smoltcp, Ringway, work, false, MTU);
        }
        add(Row::TcpRr, Kernel, Kernel, work, true, MTU);
        if connections <= 64 {
            add(Row::TcpRr, KernelSpin, KernelSpin, work, true, MTU);
        }
    }
    for server in [Ringway, Kernel] {
        add(Row::Crr, server, server, Work::Churn(Closer::Server), server.is_kernel(), MTU);
    }
    for server in [Ringway, Smoltcp, Kernel] {
        add(Row::Crr, server, Kernel, Work::Churn(Closer::Reset), server.is_kernel(), MTU);
    }
    for mtu in [MTU, LARGE_MTU] {
        for way in [Way::Send, Way::Receive] {
            for streams in [1, 4, 64] {
                let work = Work::Bulk(way, streams);
                add(Row::Bulk, Ringway, Ringway, work, false, mtu);
                if mtu == MTU {
                    add(Row::Bulk, Smoltcp, Ringway, work, false, mtu);
                }
                add(Row::Bulk, Kernel, Kernel, work, false, mtu);
                add(Row::Bulk, Kernel, Kernel, work, true, mtu);
            }
        }
    }
    let in_flight = |n| Work::Udp(SIZE, Pace::InFlight(n));
    for work in [in_flight(1), in_flight(MANY)] {
        for server in [Raw, Ringway, Smoltcp, Kernel, KernelSpin] {
            add(Row::KernelClient, server, KernelSpin, work, server.is_kernel(), MTU);
        }
    }
    let connections = |n| Work::Tcp(Pace::Connections(n));
    for work in [connections(1), connections(MANY), Work::Http(1), Work::Http(MANY)] {
        for server in [Ringway, Smoltcp, Kernel, KernelSpin] {
            add(Row::KernelClient, server, KernelSpin, work, server.is_kernel(), MTU);
        }
    }
    for server in [Ringway, Kernel] {
        add(Row::Mixed, server, Kernel, Work::Both, server.is_kernel(), MTU);
    }
    cells
}

/// Those of the cells that `--only` names; all without it.
///
/// # Errors
/// A word names none.
pub(super) fn chosen(only: &[String]) -> Result<Vec<Cell>, SetupError> {
    let all = cells();
    let is_meant = |cell: &Cell, word: &str| {
        let id = cell.id();
        id.strip_prefix(word.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for word in only {
        if !all.iter().any(|cell| is_meant(cell, word)) {
            let names = Row::ALL.map(Row::name);
            let nearest = nearest(word, &all);
            let why = format!("the rows are {}, and behind a slash a load and a stack may follow", names.join(", "));
            return Err(SetupError::usage(format!("there is no row '{word}'"), why).mend(format!("--only {nearest}")));
        }
    }
    Ok(all.into_iter().filter(|cell| only.is_empty() || only.iter().any(|word| is_meant(cell, word))).collect())
}

/// The name of a row, a load or a cell that was meant; the first one where none could be.
fn nearest(word: &str, all: &[Cell]) -> String {
    let depth = word.split('/').count().min(3);
    let names = all.iter().map(|cell| cell.id().split('/').take(depth).collect::<Vec<_>>().join("/"));
    let mut names = names.peekable();
    let first = names.peek().cloned().unwrap_or_default();
    words::nearest(word, names).unwrap_or(first)
}

/// The command lines of a cell, without the namespaces in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) server: Vec<String>,
    /// One, or two that run at once.
    pub(super) clients: Vec<Vec<String>>,
}

/// What the lines need to know beside the cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Programs<'a> {
    pub(super) args: &'a BenchArgs,
    /// This program.
    pub(super) ringway: &'a Path,
    /// The folder that the servers of HTTP serve.
    pub(super) files: &'a Path,
    /// The highest rates without loss, by stack, as far as they are known.
    pub(super) limits: &'a BTreeMap<String, f64>,
}

/// The command lines of `cell`; `None` when it needs a program that was not given, or a share of a rate that was not found.
pub(super) fn lines(programs: Programs<'_>, cell: &Cell, effort: Effort) -> Option<Lines> {
    if matches!(cell.work, Work::Udp(_, Pace::Share(_))) && !programs.limits.contains_key(cell.server.name()) {
        return None;
    }
    let server = server_line(programs, cell)?;
    let clients = match cell.work {
        Work::Both => {
            let of = |work| client_line(programs, &Cell { work, ..*cell }, effort);
            vec![of(Work::Udp(SIZE, Pace::InFlight(1))), of(Work::Tcp(Pace::Connections(1)))]
        }
        _ => vec![client_line(programs, cell, effort)],
    };
    Some(Lines { server, clients })
}

fn server_line(programs: Programs<'_>, cell: &Cell) -> Option<Vec<String>> {
    let Programs { args, ringway, files, .. } = programs;
    let core = args.ends.core(0).to_string();
    let (interface, address) = (&args.ends.server_if, args.ends.server_address);
    let ringway = ringway.display().to_string();
    let mut line = words(&[&ringway, "serve", "--json", "--cores", &core]);
    let spoken = services(cell, files);
    // Of bulk the receiver counts.
    let interval = matches!(cell.work, Work::Bulk(..)).then(|| format!("--interval={}", number::show_duration(EVERY)));
    match cell.server {
        Stack::Ringway => {
            line.extend(engine(interface, address, cell));
            // What its client left behind in the end is not waited for.
            line.extend(words(&["--control", "off", "--drain", "0s"]));
            line.extend(interval);
            line.extend(spoken.iter().map(|(service, port)| service.replace(PORT_HERE, &format!(":{port}"))));
        }
        Stack::Kernel | Stack::KernelSpin => {
            line.extend(words(&["--stack", cell.server.name()]));
            line.extend(interval);
            let at = |port: &u16| format!("@{}", SocketAddr::new(address.address, *port));
            line.extend(spoken.iter().map(|(service, port)| service.replace(PORT_HERE, &at(port))));
        }
        Stack::Raw | Stack::XdpTx => {
            line.extend(words(&["--stack", "raw", "-i", interface, "-a", &address.to_string()]));
            line.push(if cell.server == Stack::Raw { "reflect" } else { "xdp-tx" }.to_owned());
        }
        Stack::Smoltcp => {
            line = words(&[&args.smoltcp.as_ref()?.display().to_string(), "--json", "--cores", &core]);
            line.extend(engine(interface, address, cell));
            line.extend(interval);
            // It looks for the socket of a segment one by one, so it gets no more than it needs; those that close need a moment.
            let sockets = match cell.work {
                Work::Tcp(Pace::Connections(n)) | Work::Bulk(_, n) => n,
                Work::Churn(_) | Work::Http(_) => cell.connections() * 2,
                Work::Udp(..) | Work::Tcp(_) | Work::Both => 1,
            };
            line.extend(words(&["--sockets", &sockets.to_string()]));
            line.extend(spoken.iter().map(|(service, port)| service.replace(PORT_HERE, &format!(":{port}"))));
        }
    }
    Some(line)
}

/// What the server of a cell serves, with [`PORT_HERE`] where address and port belong.
fn services(cell: &Cell, files: &Path) -> Vec<(String, u16)> {
    match cell.work {
        Work::Udp(..) => vec![(format!("echo/udp{PORT_HERE}"), ECHO)],
        Work::Tcp(_) | Work::Churn(Closer::Reset) => vec![(format!("echo/tcp{PORT_HERE}"), ECHO)],
        Work::Churn(Closer::Server) => vec![(format!("daytime/tcp{PORT_HERE}"), DAYTIME)],
        Work::Bulk(Way::Send, _) => vec![(format!("discard/tcp{PORT_HERE}"), DISCARD)],
        Work::Bulk(Way::Receive, _) => vec![(format!("chargen/tcp{PORT_HERE}"), CHARGEN)],
        Work::Http(_) => vec![(format!("http/tcp{PORT_HERE}={}", files.display()), HTTP)],
        Work::Both => vec![(format!("echo/tcp{PORT_HERE}"), ECHO), (format!("echo/udp{PORT_HERE}"), ECHO)],
    }
}

fn client_line(programs: Programs<'_>, cell: &Cell, effort: Effort) -> Vec<String> {
    let Programs { args, ringway, limits, .. } = programs;
    let core = args.ends.core(1).to_string();
    let port = match cell.work {
        Work::Churn(Closer::Server) => DAYTIME,
        Work::Bulk(Way::Send, _) => DISCARD,
        Work::Bulk(Way::Receive, _) => CHARGEN,
        Work::Http(_) => HTTP,
        Work::Udp(..) | Work::Tcp(_) | Work::Churn(_) | Work::Both => ECHO,
    };
    let target = SocketAddr::new(args.ends.server_address.address, port).to_string();
    if let Work::Http(connections) = cell.work {
        // wrk knows whole seconds alone, and no warm-up.
        let seconds = effort.duration.as_secs_f64().ceil().max(1.0).to_string();
        let (connections, page) = (connections.to_string(), format!("http://{target}/{PAGE}"));
        return words(&["taskset", "-c", &core, "wrk", "-t1", "-c", &connections, "-d", &seconds, "--latency", &page]);
    }
    let carrier = match (cell.client, cell.work) {
        (Stack::Raw, _) => "raw",
        (_, Work::Udp(..)) => "udp",
        _ => "tcp",
    };
    let mut line = words(&[&ringway.display().to_string(), "load", carrier, "--to", &target, "--json", "--cores", &core]);
    match cell.client {
        Stack::Kernel | Stack::KernelSpin => line.extend(words(&["--stack", cell.client.name(), "-i", &args.ends.client_if])),
        Stack::Raw | Stack::XdpTx => {
            line.extend(words(&["-i", &args.ends.client_if, "-a", &args.ends.client_address.to_string()]));
        }
        Stack::Ringway | Stack::Smoltcp => line.extend(engine(&args.ends.client_if, args.ends.client_address, cell)),
    }
    if cell.connections() > FEW {
        // Who opens so many is late with its first message: what it says meanwhile tells when that was.
        line.push(format!("--interval={}", number::show_duration(EVERY / 2)));
    }
    let option = |name: &str, value: String| words(&[name, &value]);
    line.extend(match cell.work {
        Work::Udp(_, pace) | Work::Tcp(pace) => match pace {
            Pace::InFlight(n) => option("--in-flight", n.to_string()),
            Pace::Connections(n) => option("--connections", n.to_string()),
            Pace::PerSecond(n) => option("--rate", n.to_string()),
            Pace::Share(percent) => {
                let limit = limits.get(cell.server.name()).copied().unwrap_or(f64::from(LOW_PER_S));
                option("--rate", format!("{:.0}", (limit * f64::from(percent) / 100.0).max(1.0)))
            }
        },
        Work::Churn(closer) => {
            let closer = if closer == Closer::Server { "server" } else { "rst" };
            [option("--connections", CHURNING.to_string()), vec![format!("--churn={closer}")]].concat()
        }
        Work::Bulk(way, streams) => {
            [option("--connections", streams.to_string()), option("--bulk", way.name().to_owned())].concat()
        }
        Work::Http(_) | Work::Both => Vec::new(),
    });
    let size = match cell.work {
        Work::Udp(size, _) => size,
        Work::Bulk(..) => 1024,
        _ => SIZE,
    };
    line.extend(option("-l", size.to_string()));
    line.extend(option("-t", number::show_duration(effort.duration)));
    line.extend(option("-O", number::show_duration(effort.warmup)));
    line
}

/// The options of the engine at one end; spinning, because the row is a benchmark, and with rings that hold what can be in flight.
fn engine(interface: &str, address: Cidr, cell: &Cell) -> Vec<String> {
    let mut line = words(&["-i", interface, "-a", &address.to_string(), "--idle", "spin", "--set", "address.probes=0"]);
    if cell.connections() > RING {
        line.extend(words(&["--set", "xsk.ring_size=16384", "--set", "xsk.frames=32768"]));
    }
    line
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// As AF_XDP has them, and as the caller has made them.
pub(super) const BARE: Link = Link { mtu: MTU, offloads: false };
const MTU: u32 = 1500;
/// The largest of which every stack here still has a packet in one frame of 4096 bytes, headroom and all.
const LARGE_MTU: u32 = 3400;
/// Payload bytes of small and of large messages.
const SIZE: usize = 64;
const LARGE: usize = 1200;
/// Unanswered messages, or connections, where the rate is measured.
const MANY: u32 = 64;
/// Connections of a churn at once.
const CHURNING: u32 = 16;
/// Connections that are open at once, as far as anybody can see.
pub(super) const FEW: u32 = 64;
/// Entries of a ring unless it is told otherwise.
const RING: u32 = 2048;
/// Messages a second that no stack has to lose any of.
const LOW_PER_S: u32 = 10_000;
/// The open loops: per cent of the highest rate without loss, and who runs them.
const SHARES: [u32; 4] = [1, 10, 50, 90];
pub(super) const OPEN: [Stack; 4] = [Stack::Raw, Stack::Ringway, Stack::Kernel, Stack::KernelSpin];
/// What the servers of HTTP are asked for.
pub(super) const PAGE: &str = "page.txt";
/// How long it takes until every connection of a churn has found the way.
const COLD: Duration = Duration::from_millis(1300);
/// How often a server of bulk says how much came.
const EVERY: Duration = Duration::from_millis(100);
const ECHO: u16 = 7;
const DISCARD: u16 = 9;
const DAYTIME: u16 = 13;
const CHARGEN: u16 = 19;
const HTTP: u16 = 80;
const PORT_HERE: &str = "{at}";
