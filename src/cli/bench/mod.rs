//! `ringway bench`: every cell of every row in turn, again for each round, as `serve` and `load` in two namespaces.
//!
//! The rounds are interleaved over all cells, so that what the machine does meanwhile meets all alike. [`rows`] says what is measured and with which
//! command lines, [`cell`] runs one of them, [`record`] keeps what it came to, and [`report`] is made of that file alone. Before the rows
//! the machine itself is measured ([`gate`]). Namespaces and the veth pair are the caller's (`scripts/bench.sh veth`); what is changed about them is put
//! back, on success, failure and signals.

pub(crate) mod args;
mod cell;
mod counts;
mod gate;
mod link;
mod page;
mod record;
mod report;
mod rows;
mod summary;
mod targets;
mod wrk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway::error::SetupError;
use ringway::launch::Signals;
use ringway::metrics::conditions::Conditions;
use ringway::metrics::units;
use serde_json::json;

use self::args::BenchArgs;
use self::cell::{Files, Stand};
use self::link::Links;
use self::record::{Book, Header, Line};
use self::report::Report;
use self::rows::{Cell, Effort, Pace, Programs, Row, Work};
use super::child::shell;
use super::exchange;
use super::failure::Failure;
use super::output::Output;

/// Runs the benchmarks.
pub(crate) fn run(args: &BenchArgs, output: Output) -> Result<(), Failure> {
    args.ends.check("bench")?;
    let cells = rows::chosen(&args.only)?;
    let program = std::env::current_exe().map_err(|error| Failure::run("cannot find the program to start as a child", error))?;
    if args.dry_run {
        dry_run(args, &program, &cells, output);
        return Ok(());
    }
    args.ends.check_namespaces("scripts/bench.sh veth")?;
    check_smoltcp(args)?;
    // A second signal must not end the process: what was changed about the interfaces has to be put back first, which takes milliseconds.
    let signals = Signals::take(false)?;
    let effort = Effort::of(args);
    let header = header(args, effort);
    let book = if args.resume { Book::resume(&args.out, header)? } else { Book::begin(&args.out, header)? };
    let files = Files::new()?;
    let stand = Stand { ends: &args.ends, links: Links::new(&args.ends), signals: &signals };
    let mut bench = Bench { args, program, files, output, book, stand };
    output.text(format!("{} cells, {} rounds: about {}", cells.len(), effort.rounds, minutes(bench.length(&cells))));
    let result = bench.measure(&cells);
    output.progress("");
    // What is there is reported, whatever ended the run.
    bench.finish()?;
    result
}

/// A run of the benchmarks.
struct Bench<'a> {
    args: &'a BenchArgs,
    program: PathBuf,
    files: Files,
    output: Output,
    book: Book,
    stand: Stand<'a>,
}

impl Bench<'_> {
    /// About how long what is not measured yet will take.
    fn length(&self, cells: &[Cell]) -> Duration {
        let record = &self.book.record;
        let of = |cells: &[Cell], effort: Effort| -> Duration {
            let open = |cell: &&Cell| cell.server != rows::Stack::Smoltcp || self.args.smoltcp.is_some();
            let left = |cell: &Cell| (1..=effort.rounds).filter(|&round| !record.has(&cell.id(), round)).count() as u32;
            cells.iter().filter(open).map(|cell| cell.length(effort) * left(cell)).sum()
        };
        let searched = searches(cells).into_iter().filter(|stack| !record.limits.contains_key(stack.name())).count() as u32;
        let search = Effort::of_search(self.args);
        let tries = (search.duration + search.warmup + Duration::from_millis(400)) * TRIES * searched;
        of(&rows::gate(), Effort::of_gate(self.args)) + tries + of(cells, Effort::of(self.args))
    }

    /// The gate, the search, the rounds.
    fn measure(&mut self, cells: &[Cell]) -> Result<(), Failure> {
        let gate = rows::gate();
        let effort = Effort::of_gate(self.args);
        for round in 1..=effort.rounds {
            for cell in &gate {
                // Where not even bare frames go over the pair, there is nothing to go on with.
                self.once(cell, round, effort, true)?;
            }
        }
        if let Some(verdict) = gate::judge(&self.book.record) {
            self.output.event("gate", &verdict);
            self.output.text(format!("gate: {}", verdict.text()));
            if let Some(why) = verdict.noisy.filter(|_| self.args.strict) {
                return Err(Failure::Threshold { why: format!("the machine is too noisy: {why}") });
            }
        }
        for stack in searches(cells) {
            self.search(stack)?;
        }
        let effort = Effort::of(self.args);
        for round in 1..=effort.rounds {
            for (number, cell) in (1..).zip(cells) {
                let place = format!("round {round} of {}, cell {number} of {}: {}", effort.rounds, cells.len(), cell.id());
                self.output.progress(&place);
                self.once(cell, round, effort, false)?;
            }
        }
        self.exchange()
    }

    /// The exchange that the page draws, unless it is there; a failure of it is written down as that of a cell is.
    fn exchange(&mut self) -> Result<(), Failure> {
        if self.book.record.exchange.is_some() {
            return Ok(());
        }
        self.output.progress("one exchange over TCP and one over UDP, to be drawn");
        match self.stand.exchange(&self.program, &self.files.0) {
            Ok(records) => self.book.write(Line::Exchange { records })?,
            Err(failure) if self.stand.signals.asked() => return Err(failure),
            Err(failure) => {
                let why = format!("{}: {}", failure.what(), failure.why());
                tracing::warn!("no exchange is drawn: {why}");
                self.book.write(Line::Failed { id: record::EXCHANGE.to_owned(), round: 1, why })?;
            }
        }
        Ok(())
    }

    /// One run of one cell, unless it is there; a failure of the cell is written down like a figure, but where the run depends on it.
    fn once(&mut self, cell: &Cell, round: u32, effort: Effort, needed: bool) -> Result<(), Failure> {
        let (id, effort) = (cell.id(), cell.effort(effort));
        if self.book.record.has(&id, round) {
            return Ok(());
        }
        let programs =
            Programs { args: self.args, ringway: &self.program, files: &self.files.0, limits: &self.book.record.limits };
        let Some(lines) = rows::lines(programs, cell, effort) else { return Ok(()) };
        match self.stand.measure(cell, &lines, effort) {
            Ok(figures) => {
                self.output.event("interval", &json!({ "round": round, "id": id, "figures": figures }));
                self.book.write(Line::Cell { id, round, figures })?;
                Ok(())
            }
            Err(failure) if needed || self.stand.signals.asked() => Err(failure),
            Err(failure) => {
                let why = format!("{}: {}", failure.what(), failure.why());
                tracing::warn!("{id}: {why}");
                self.book.write(Line::Failed { id, round, why })?;
                Ok(())
            }
        }
    }

    /// Finds the highest rate that a pair carries without loss, and writes it down.
    fn search(&mut self, stack: rows::Stack) -> Result<(), Failure> {
        if self.book.record.limits.contains_key(stack.name()) {
            return Ok(());
        }
        let effort = Effort::of_search(self.args);
        let mut search = Search::new();
        while let Some(rate) = search.next() {
            let cell = search_cell(stack, rate);
            self.output.progress(&format!("searching the highest rate of {} without loss: {rate}/s", stack.name()));
            let programs =
                Programs { args: self.args, ringway: &self.program, files: &self.files.0, limits: &self.book.record.limits };
            let Some(lines) = rows::lines(programs, &cell, effort) else { return Ok(()) };
            let carried = match self.stand.measure(&cell, &lines, effort) {
                Ok(figures) => {
                    let due = figures.received + figures.lost;
                    // What waits longer and longer is answered in the end, too: that is not carried.
                    let prompt = figures.p50_ns.is_some_and(|ns| ns < PROMPT_NS);
                    prompt && figures.lost * LOST_OF <= due && figures.rate_per_s >= f64::from(rate) * KEPT_UP
                }
                Err(failure) if self.stand.signals.asked() => return Err(failure),
                Err(_) => false,
            };
            search.was(rate, carried);
        }
        let rate_per_s = f64::from(search.carried);
        if search.carried > 0 {
            self.output.event("limit", &json!({ "stack": stack.name(), "rate_per_s": rate_per_s }));
            self.book.write(Line::Limit { stack: stack.name().to_owned(), rate_per_s })?;
        }
        Ok(())
    }

    /// Prints and writes the report.
    fn finish(&mut self) -> Result<(), Failure> {
        let report = Report::of(&self.book.record);
        for (id, summary) in &report.cells {
            let mut event = json!({ "id": id });
            if let (Some(event), Ok(serde_json::Value::Object(fields))) = (event.as_object_mut(), serde_json::to_value(summary)) {
                event.extend(fields);
            }
            self.output.event("row", &event);
        }
        report::write(&report, &self.args.out, self.args.markdown.as_deref()).map_err(|error| {
            SetupError::environment(format!("cannot write the report to {}", self.args.out.display()), error.to_string())
        })?;
        let (conditions, targets) = (&report.record.header.conditions, &report.targets);
        self.output.event(
            "summary",
            &json!({
                "conditions": conditions,
                "commit": report.record.header.commit,
                "targets": targets,
                "exchange": exchange::costs(&report.pair),
                "out": self.args.out,
            }),
        );
        self.output.text(report.text().trim_end());
        self.output.text(format!("\nwritten to {}: {}, bench.json, bench.html, bench.md", self.args.out.display(), record::FILE));
        Ok(())
    }
}

/// A search for the highest rate that is carried: doubled until it is not, then halved in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Search {
    carried: u32,
    /// The lowest rate that was not carried; `None` so far.
    beyond: Option<u32>,
    tries: u32,
}

impl Search {
    const fn new() -> Self {
        Self { carried: 0, beyond: None, tries: 0 }
    }

    /// The rate to try; `None` when it is known well enough.
    fn next(&self) -> Option<u32> {
        if self.tries >= TRIES {
            return None;
        }
        match (self.carried, self.beyond) {
            (0, None) => Some(FIRST_RATE),
            (carried, None) => Some(carried.saturating_mul(2)),
            (0, Some(beyond)) => (beyond > LEAST_RATE).then_some(LEAST_RATE.max(beyond / 2)),
            (carried, Some(beyond)) => Some(carried + (beyond - carried) / 2).filter(|_| beyond - carried > carried / 16),
        }
    }

    fn was(&mut self, rate: u32, carried: bool) {
        self.tries += 1;
        if carried {
            self.carried = self.carried.max(rate);
        } else {
            self.beyond = Some(self.beyond.map_or(rate, |beyond| beyond.min(rate)));
        }
    }
}

/// The stacks whose highest rate the cells ask for.
fn searches(cells: &[Cell]) -> Vec<rows::Stack> {
    let asked = |stack: &rows::Stack| cells.iter().any(|cell| cell.row == Row::UdpOpen && cell.server == *stack);
    rows::OPEN.into_iter().filter(asked).collect()
}

/// What is run to try a rate.
fn search_cell(stack: rows::Stack, rate: u32) -> Cell {
    let link = rows::Link { mtu: 1500, offloads: stack.is_kernel() };
    Cell { row: Row::UdpOpen, server: stack, client: stack, work: Work::Udp(64, Pace::PerSecond(rate)), link, twin: None }
}

fn header(args: &BenchArgs, effort: Effort) -> Header {
    let ns = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Header {
        commit: args.commit.clone(),
        conditions: Conditions::of_this_machine(),
        duration_ns: ns(effort.duration),
        warmup_ns: ns(effort.warmup),
        cores: args.ends.cores.0.clone(),
        quick: args.quick,
    }
}

/// A program that is named and not there would fail cell after cell.
fn check_smoltcp(args: &BenchArgs) -> Result<(), SetupError> {
    let Some(path) = args.smoltcp.as_ref().filter(|path| !path.is_file()) else { return Ok(()) };
    Err(SetupError::environment(format!("cannot run {}", path.display()), "there is no such program")
        .mend("leave --smoltcp out, or: cargo build --release --example smoltcp_echo"))
}

fn dry_run(args: &BenchArgs, program: &Path, cells: &[Cell], output: Output) {
    let files = PathBuf::from("FOLDER");
    // Nobody has searched: the rates of the open loops stand for others.
    let limits = rows::OPEN.map(|stack| (stack.name().to_owned(), 100_000.0)).into();
    let programs = Programs { args, ringway: program, files: &files, limits: &limits };
    for cell in cells {
        let Some(lines) = rows::lines(programs, cell, cell.effort(Effort::of(args))) else {
            output.text(format!("# {}: not measured without --smoltcp", cell.id()));
            continue;
        };
        let inside = |netns: &str, line: &[String]| format!("ip netns exec {netns} {}", shell(line));
        let before = link::before(&args.ends, cell);
        let server = inside(&args.ends.server_netns, &lines.server);
        let clients: Vec<String> = lines.clients.iter().map(|line| inside(&args.ends.client_netns, line)).collect();
        output.event("plan", &json!({ "id": cell.id(), "before": before, "server": server, "clients": clients }));
        output.text(format!("# {}", cell.id()));
        before.iter().chain([&server]).chain(&clients).for_each(|line| output.text(line));
    }
    exchange::dry_run(&args.ends, program, output);
}

fn minutes(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds < 120 => format!("{} s", units::count(seconds as f64)),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// Tries of a search, the first rate of it, and the least that is worth a try.
const TRIES: u32 = 9;
const FIRST_RATE: u32 = 50_000;
const LEAST_RATE: u32 = 1_000;
/// One of so many may be lost: the machine pauses for milliseconds now and then, and the pair holds 256 packets.
const LOST_OF: u64 = 1000;
/// Half of the answers come sooner than this, unless messages queue up behind each other.
const PROMPT_NS: f64 = 1e6;
/// The share of the offered rate that has to be answered in time.
const KEPT_UP: f64 = 0.98;

#[cfg(test)]
mod tests;
