//! `ringway compare`: every row in turn, again for each round, as `serve` and `load` in two namespaces.
//!
//! The rounds are interleaved, so that what the machine does meanwhile meets all rows alike, and the table has them merged. Behind the last one an exchange
//! over TCP and one over UDP take place that the page draws ([`super::exchange`]). Namespaces,
//! the veth pair and its offloads are the caller's (`scripts/compare.sh`). Nothing is left behind: children are killed and reaped,
//! addresses taken away, on success, failure and signals.

mod report;
mod rows;

use std::path::Path;
use std::time::Instant;

use ringway::error::SetupError;
use ringway::launch::Signals;
use ringway::metrics::row;
use serde_json::{Value, json};

use self::report::Growing;
use self::rows::{Effort, Lines, Row};
use super::args::CompareArgs;
use super::child::{ANSWER_LIMIT, END_LIMIT, Running, START_LIMIT, cpu_ns, pause, shell};
use super::exchange;
use super::failure::Failure;
use super::kernel_address::KernelAddress;
use super::output::Output;

/// Runs the comparison.
pub(crate) fn run(args: &CompareArgs, output: Output) -> Result<(), Failure> {
    args.ends.check("compare")?;
    let program = std::env::current_exe().map_err(|error| Failure::run("cannot find the program to start as a child", error))?;
    let effort = Effort::of(args);
    if args.dry_run {
        dry_run(args, &program, effort, output);
        return Ok(());
    }
    args.ends.check_namespaces("scripts/compare.sh")?;
    // A second signal must not end the process: the addresses that were added have to go first, which takes milliseconds.
    let signals = Signals::take(false)?;
    let scratch = Scratch::new()?;
    if let Some(folder) = &args.out {
        // Better known before the runs than after them.
        std::fs::create_dir_all(folder)
            .map_err(|error| SetupError::environment(format!("cannot write to {}", folder.display()), error.to_string()))?;
    }
    let mut report = Growing::new();
    for round in 1..=effort.rounds {
        for row in rows::rows(args.quick) {
            let name = row.name();
            output.progress(&format!("round {round} of {}: {name}", effort.rounds));
            let folder = scratch.0.join(format!("{name}-{round}"));
            let lines = rows::lines(args, &program, row, effort, Some(&folder));
            let result = measure(args, row, &lines, effort, &signals, &mut report)?;
            output.event("interval", &json!({ "round": round, "rounds": effort.rounds, "name": name, "row": &result }));
            report.add(&name, result, &folder)?;
        }
    }
    output.progress("one exchange over TCP and one over UDP, to be drawn");
    let records = match exchange::take(&args.ends, &program, &scratch.0, &signals) {
        Err(failure) if signals.asked() => return Err(failure),
        taken => taken.map_err(|failure| format!("{}: {}", failure.what(), failure.why())),
    };
    output.progress("");
    let pair = records.and_then(|records| exchange::pair(&records));
    // What was measured is worth reporting without it.
    if let Err(why) = &pair {
        tracing::warn!("no exchange is drawn: {why}");
    }
    report.finish(args, effort.rounds, &pair, output)
}

/// One run of one row.
fn measure(
    args: &CompareArgs,
    row: Row,
    lines: &Lines,
    effort: Effort,
    signals: &Signals,
    report: &mut Growing,
) -> Result<row::Row, Failure> {
    // In this order, so that the addresses go after the sockets that are bound to them.
    let _addresses = kernel_addresses(args, row)?;
    let name = row.name();
    let mut server = Running::start(&format!("the server of {name}"), &args.ends.server_netns, &lines.server)?;
    report.side("server", &server.wait_for("ready", START_LIMIT, signals)?);
    let mut client = Running::start(&format!("the client of {name}"), &args.ends.client_netns, &lines.client)?;
    report.side("client", &client.wait_for("ready", START_LIMIT, signals)?);
    // The server's costs are taken from outside and over the client's measured time, in the same way for every stack.
    pause(effort.warmup, signals)?;
    let (from, before) = (Instant::now(), cpu_ns(server.id()));
    pause(effort.duration, signals)?;
    let (until, after) = (Instant::now(), cpu_ns(server.id()));
    let event = client.wait_for("row", ANSWER_LIMIT, signals)?;
    let mut result: row::Row = serde_json::from_value(event)
        .map_err(|error| Failure::run(format!("the client of {name} reports a row that cannot be read"), error))?;
    let status = client.wait(END_LIMIT, signals)?;
    if !status.success() {
        return Err(Failure::run(format!("the client of {name} failed"), status));
    }
    server.interrupt();
    let summary = server.wait_for("summary", END_LIMIT, signals)?;
    let busy_share = server.busy_share(from, until).filter(|_| row.server.spins());
    let status = server.wait(END_LIMIT, signals)?;
    if !status.success() {
        return Err(Failure::run(format!("the server of {name} failed"), status));
    }
    let cpu_ns = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    add_server(&mut result, row, cpu_ns, busy_share, &summary);
    Ok(result)
}

/// Adds what only the server knows.
fn add_server(result: &mut row::Row, row: Row, cpu_ns: Option<u64>, busy_share: Option<f64>, summary: &Value) {
    row.server.name().clone_into(&mut result.server_stack);
    // The work of the XDP program is done by whoever sends: it is in the client's figure.
    if row.server != rows::Stack::XdpTx && result.received > 0 {
        result.cpu_ns_per_message.server = cpu_ns.map(|ns| ns as f64 / result.received as f64);
        result.busy_share.server = busy_share;
    }
    for (cause, count) in summary["drops"].as_object().into_iter().flatten() {
        if let Some(count) = count.as_u64().filter(|&count| count > 0) {
            *result.drops.entry(format!("server.{cause}")).or_default() += count;
        }
    }
}

fn kernel_addresses(args: &CompareArgs, row: Row) -> Result<Vec<KernelAddress>, SetupError> {
    if !row.server.is_kernel() {
        return Ok(Vec::new());
    }
    Ok(vec![
        KernelAddress::add(&args.ends.server_netns, &args.ends.server_if, args.ends.server_address)?,
        KernelAddress::add(&args.ends.client_netns, &args.ends.client_if, args.ends.client_address)?,
    ])
}

fn dry_run(args: &CompareArgs, program: &Path, effort: Effort, output: Output) {
    for row in rows::rows(args.quick) {
        let lines = rows::lines(args, program, row, effort, None);
        let inside = |netns: &str, line: &[String]| format!("ip netns exec {netns} {}", shell(line));
        let (server, client) = (inside(&args.ends.server_netns, &lines.server), inside(&args.ends.client_netns, &lines.client));
        let mut before = Vec::new();
        if row.server.is_kernel() {
            before.push(KernelAddress::line(&args.ends.server_netns, &args.ends.server_if, args.ends.server_address));
            before.push(KernelAddress::line(&args.ends.client_netns, &args.ends.client_if, args.ends.client_address));
        }
        output.event("plan", &json!({ "name": row.name(), "before": before, "server": server, "client": client }));
        output.text(format!("# {}", row.name()));
        before.iter().for_each(|line| output.text(line));
        output.text(server);
        output.text(client);
    }
    exchange::dry_run(&args.ends, program, output);
}

/// A folder for the files of the children, removed at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("ringway-compare-{}", std::process::id()));
        // What bears our own number is of a process that is gone: one that was killed could not remove it.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).map_err(|error| {
            SetupError::environment(format!("cannot make the folder {}", folder.display()), error.to_string())
        })?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
