//! The program of `scripts/bench.sh memory`: what whole paths cost over a device in memory, for Ringway and for smoltcp by turns.
//!
//!     memory [--quick] [--json FILE] [ROW...]
//!
//! Without rows it measures all of them. A unit is a datagram or request and its answer, a whole connection, or a full segment. Of both stacks the same
//! end is counted, the peer that builds the segments and counts the answers included; what that takes alone stands beside it, and nothing is
//! subtracted. Where an answer is due, so does what nobody can do without ("no stack"): sums, a lookup, and an answer in the frame that came.
//! Answers are checked byte for byte before they are timed. Figures are CPU time of the thread, medians of interleaved rounds.

#[path = "memory/bare.rs"]
mod bare;
mod common;
#[path = "common/figures.rs"]
#[expect(dead_code, reason = "differences are of other programs")]
mod figures;
#[path = "memory/generator.rs"]
mod generator;
#[path = "common/order.rs"]
mod order;
#[path = "memory/stacks.rs"]
mod stacks;
#[path = "memory/traffic.rs"]
mod traffic;
#[path = "memory/wire.rs"]
mod wire;

use std::process::ExitCode;

use bare::Bare;
use figures::{Rounds, Verdict, grouped};
use ringway::cpu;
use serde_json::json;
use stacks::{Application, Discard, EchoPorts, Null, Ringway, Smoltcp, Source, Stack, ringway_echo, ringway_without_records};
use traffic::{BURST, Connects, Datagrams, Download, Requests, Traffic, Upload};

/// A row: its name, what is repeated, and what it has to come to.
struct Row {
    name: &'static str,
    what: &'static str,
    kind: Kind,
    /// At most so many nanoseconds.
    most_ns: Option<f64>,
    /// At least so many times as fast as smoltcp.
    least_ratio: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Datagrams(usize),
    Requests { connections: usize, stamped: bool },
    Connects,
    Upload(usize),
    Download(usize),
}

impl Kind {
    /// Connections, or sockets, that are used by turns.
    const fn connections(self) -> usize {
        match self {
            Self::Datagrams(count) | Self::Upload(count) | Self::Download(count) | Self::Requests { connections: count, .. } => {
                count
            }
            Self::Connects => 0,
        }
    }
}

/// Units on each connection before the first that is timed: round-trip times are known by then.
const EACH_BEFORE: usize = 12;

const fn row(name: &'static str, what: &'static str, kind: Kind, most_ns: Option<f64>, least_ratio: Option<f64>) -> Row {
    Row { name, what, kind, most_ns, least_ratio }
}

const fn requests(connections: usize) -> Kind {
    Kind::Requests { connections, stamped: true }
}

const PLAIN: Kind = Kind::Requests { connections: 64, stamped: false };

#[rustfmt::skip]
const ROWS: [Row; 15] = [
    row("udp-1", "UDP echo, 1 socket", Kind::Datagrams(1), Some(58.0), Some(3.0)),
    row("udp-64", "UDP echo, 64 sockets", Kind::Datagrams(64), Some(58.0), Some(4.0)),
    row("udp-1024", "UDP echo, 1,024 sockets", Kind::Datagrams(1024), Some(58.0), Some(15.0)),
    row("tcp-1", "TCP request and reply, 1 connection", requests(1), None, None),
    row("tcp-64", "the same, 64", requests(64), Some(115.0), Some(3.0)),
    row("tcp-64-plain", "the same, 64, without timestamps", PLAIN, None, None),
    row("tcp-1024", "the same, 1,024", requests(1024), None, Some(12.0)),
    row("tcp-10k", "the same, 10,240", requests(10_240), None, None),
    row("tcp-100k", "the same, 102,400", requests(102_400), Some(150.0), None),
    row("tcp-1m", "the same, 1,048,576, each answer acknowledged apart", requests(1 << 20), None, None),
    row("connects", "TCP connect, request, close by the peer", Kind::Connects, Some(1000.0), None),
    row("upload-1", "full segment received, 1 stream", Kind::Upload(1), None, None),
    row("upload-64", "full segment received, 64 streams", Kind::Upload(64), None, None),
    row("download-1", "full segment sent, 1 stream", Kind::Download(1), None, None),
    row("download-64", "full segment sent, 64 streams", Kind::Download(64), None, None),
];

/// Above this smoltcp, which looks at all its sockets for each packet, is left out.
const MOST_SOCKETS: usize = 1024;
/// Sockets that wait for connections where those come and go.
const LISTENING: usize = 64;

/// One stack and one traffic: a round of so many units, in nanoseconds of each.
type Cell = Box<dyn FnMut(usize) -> f64>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut quick, mut json, mut names) = (false, None, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => quick = true,
            "--json" => match words.next() {
                Some(file) => json = Some(file),
                None => return usage(),
            },
            name if ROWS.iter().any(|row| row.name == name) => names.push(word),
            _ => return usage(),
        }
    }
    cpu::pin(0).expect("there is a first core");
    let (rounds, units) = if quick { (3, 20_000) } else { (9, 200_000) };
    println!("Nanoseconds of CPU time a unit, the peer in them: median (least to most of {rounds} rounds by turns,");
    println!("{} units each)", grouped(units));
    let (mut verdict, mut rows) = (Verdict::default(), Vec::new());
    for row in ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)) {
        rows.push(measure(row, rounds, units, &mut verdict));
    }
    if let Some(file) = json {
        let report = json!({ "schema": 1, "rounds": rounds, "units": units, "rows": rows });
        if let Err(error) = std::fs::write(&file, format!("{report:#}\n")) {
            eprintln!("memory: cannot write {file}: {error}");
            return ExitCode::from(3);
        }
    }
    if verdict.missed() > 0 {
        println!("\n{} targets missed", verdict.missed());
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: memory [--quick] [--json FILE] [ROW...]");
    eprintln!("rows: {}", ROWS.map(|row| row.name).join(" "));
    ExitCode::from(2)
}

/// Measures a row, prints it, and returns it for the report.
fn measure(row: &Row, rounds: usize, units: usize, verdict: &mut Verdict) -> serde_json::Value {
    let mut cells = cells(row.kind);
    let mut figures: Vec<Rounds> = vec![Rounds::default(); cells.len()];
    // What comes first and once is not of any round: tables grow, connections leave their first windows and guesses behind.
    cells.iter_mut().for_each(|(_, cell)| {
        cell((units / 2).max(EACH_BEFORE * row.kind.connections()));
    });
    for _ in 0..rounds {
        for ((_, cell), figures) in cells.iter_mut().zip(&mut figures) {
            figures.push(cell(units));
        }
    }
    println!("\n{}: {}", row.name, row.what);
    for ((name, _), figures) in cells.iter().zip(&figures) {
        println!("  {name:<10} {figures}");
    }
    let of = |name: &str| cells.iter().position(|cell| cell.0 == name).map(|at| &figures[at]);
    let ours = of(RINGWAY).expect("each row has Ringway");
    if let Some(most) = row.most_ns {
        verdict.hold("ns", ours.median(), ours.median() <= most, &format!("at most {most}"));
    }
    let ratio = of(SMOLTCP).map(|theirs| theirs.by(ours).median());
    let limit = of(LIMIT);
    if let Some(limit) = limit {
        let (beside, most) = (ours.by(limit), row.most_ns.unwrap_or(f64::INFINITY));
        let word = if limit.median() > most { ", which the limit misses, too" } else { "" };
        println!("  Ringway by no stack: {beside}{word}");
        if let Some(theirs) = of(SMOLTCP) {
            println!("  smoltcp by no stack: {}", theirs.by(limit));
        }
    }
    match (ratio, row.least_ratio) {
        (Some(ratio), Some(least)) => verdict.hold("smoltcp by Ringway", ratio, ratio >= least, &format!("at least {least}")),
        (Some(ratio), None) => println!("  smoltcp by Ringway: {ratio:.3}"),
        (None, _) => {}
    }
    let without = of(SILENT).zip(of(SILENT_AGAIN)).map(|(silent, again)| {
        // A request is two segments.
        let each = (ours.median() - silent.median()) / 2.0;
        println!("  with records by without: {:.3}; without twice (A/A): {}", ours.by(silent).median(), silent.by(again));
        verdict.hold("ns a segment recorded", each, each <= RECORD_MOST_NS, &format!("at most {RECORD_MOST_NS}"));
        each
    });
    let spread = |figures: &Rounds| json!({ "median": figures.median(), "least": figures.least(), "most": figures.most() });
    json!({
        "name": row.name,
        "what": row.what,
        "ringway_ns": spread(ours),
        "smoltcp_ns": of(SMOLTCP).map(spread),
        "peer_alone_ns": of(PEER).map(spread),
        "no_stack_ns": limit.map(spread),
        "smoltcp_by_ringway": ratio,
        "most_ns": row.most_ns,
        "least_ratio": row.least_ratio,
        "recorded_segment_ns": without,
    })
}

const RINGWAY: &str = "Ringway";
const SMOLTCP: &str = "smoltcp";
const PEER: &str = "peer alone";
/// What nobody can do without.
const LIMIT: &str = "no stack";
/// Ringway without its flight recorder, twice: what that costs, and what the same comes to by chance.
const SILENT: &str = "no records";
const SILENT_AGAIN: &str = "the same";
/// The row that is measured with and without.
const RECORDED: Kind = requests(64);
/// What a recorded segment may cost.
const RECORD_MOST_NS: f64 = 8.0;

/// The cells of a row, in the order of a round.
fn cells(kind: Kind) -> Vec<(&'static str, Cell)> {
    let mut cells = Vec::new();
    let mut add = |name, cell| cells.push((name, cell));
    match kind {
        Kind::Datagrams(sockets) => {
            add(RINGWAY, cell(Ringway::new(EchoPorts(sockets as u16), 1), Datagrams::new(sockets)));
            let passes = Some(BURST.div_ceil(sockets));
            add(SMOLTCP, cell(Smoltcp::new(Application::EchoDatagrams, sockets, 0, passes), Datagrams::new(sockets)));
            add(LIMIT, cell(Bare::new(sockets, 0), Datagrams::new(sockets)));
            add(PEER, cell(Null::new(), Datagrams::new(sockets)));
        }
        Kind::Requests { connections, stamped } => {
            let traffic = || Requests::new(connections, stamped);
            add(RINGWAY, cell(ringway_echo(connections), traffic()));
            if kind == RECORDED {
                for name in [SILENT, SILENT_AGAIN] {
                    add(name, cell(ringway_without_records(connections), traffic()));
                }
            }
            if connections <= MOST_SOCKETS {
                add(SMOLTCP, cell(Smoltcp::new(Application::EchoStreams, connections, 4096, Some(1)), traffic()));
            }
            add(LIMIT, cell(Bare::new(0, connections), traffic()));
            add(PEER, cell(Null::new(), traffic()));
        }
        Kind::Connects => {
            add(RINGWAY, cell(ringway_echo(1024), Connects::new()));
            add(SMOLTCP, cell(Smoltcp::new(Application::EchoStreams, LISTENING, 4096, None), Connects::new()));
            add(LIMIT, cell(Bare::new(0, 1024), Connects::new()));
            add(PEER, cell(Null::new(), Connects::new()));
        }
        Kind::Upload(streams) => {
            add(RINGWAY, cell(Ringway::new(Discard, streams), Upload::new(streams)));
            add(SMOLTCP, cell(Smoltcp::new(Application::Discard, streams, 65_535, Some(1)), Upload::new(streams)));
            add(PEER, cell(Null::new(), Upload::new(streams)));
        }
        Kind::Download(streams) => {
            add(RINGWAY, cell(Ringway::new(Source, streams), Download::new(streams)));
            add(SMOLTCP, cell(Smoltcp::new(Application::Source, streams, 65_535, Some(BURST)), Download::new(streams)));
        }
    }
    cells
}

/// A stack with its traffic, its connections open and its answers checked.
fn cell<S: Stack + 'static, T: Traffic + 'static>(mut stack: S, mut traffic: T) -> Cell {
    traffic.begin(&mut stack);
    for _ in 0..CHECKED {
        let mut sent = Vec::new();
        let done = traffic.burst(&mut stack, &mut |frame: &[u8]| sent.push(frame.to_vec()));
        if S::ANSWERS {
            assert!(done > 0, "a burst brings something");
            sent.iter().for_each(|frame| traffic.check(frame));
        }
    }
    Box::new(move |units| {
        let (start, mut done) = (cpu::thread_ns(), 0);
        while done < units {
            let more = traffic.burst(&mut stack, &mut |_| ());
            assert!(more > 0, "a burst brings something: {}", stack.report());
            done += more;
        }
        (cpu::thread_ns() - start) as f64 / done as f64
    })
}

/// Bursts whose answers are checked.
const CHECKED: usize = 64;
