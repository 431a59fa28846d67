//! `ringway load`: a load run over Ringway's engine, over kernel sockets, or raw, and its report.
//!
//! Carries nothing itself: a file of this folder runs the stack, this one checks before, reports after, and judges `--fail-if`.

mod engine;
mod kernel;
mod raw;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use ringway::error::SetupError;
use ringway::link::interface::Cidr;
use ringway::load::meter::Live;
use ringway::load::outcome::{Outcome, RunError};
use ringway::load::plan::{Bulk, Carrier, Churn, Pace, Plan, Ramp};
use ringway::metrics::conditions::{Conditions, Side};
use ringway::metrics::page::Inset;
use ringway::metrics::report::Report;
use ringway::metrics::threshold::{Threshold, Verdict};
use ringway::settings::number;
use serde_json::{Value, json};

use super::args::{LoadArgs, LoadStack};
use super::failure::Failure;
use super::output::Output;
use super::rights;

/// Runs the load and reports.
pub(crate) fn run(args: &LoadArgs, output: Output) -> Result<(), Failure> {
    let plan = plan(args)?;
    plan.check()?;
    let thresholds = args.fail_if.iter().map(|text| text.parse()).collect::<Result<Vec<Threshold>, _>>()?;
    if let Some(folder) = &args.out {
        check_out(folder)?;
    }
    let job = Job { args, plan, seed: seed(), output };
    let start = SystemTime::now();
    let done = match (job.plan.carrier, args.stack) {
        (Carrier::Raw, _) => raw::run(&job)?,
        (_, LoadStack::Ringway) => engine::run(&job)?,
        (_, LoadStack::Kernel) => kernel::run(&job, false)?,
        (_, LoadStack::KernelSpin) => kernel::run(&job, true)?,
    };
    let failure = done.outcome.failure();
    let queues = done.queues.clone();
    let report = report(&job, done);
    show(&report, &queues, args, output, start)?;
    if let Some(why) = failure {
        return Err(Failure::run("the run failed", why));
    }
    judge(&report, &thresholds)
}

/// A run to be carried out by one of the stacks.
struct Job<'a> {
    args: &'a LoadArgs,
    plan: Plan,
    seed: u64,
    output: Output,
}

/// What a stack made of a job.
struct Done {
    outcome: Outcome,
    /// Name of the client's stack.
    stack: &'static str,
    /// The client's side of the conditions.
    side: Side,
    /// Length of TIME-WAIT at the client.
    time_wait: Duration,
    notes: Vec<String>,
    /// What the sockets counted over the whole run; none of kernel sockets.
    queues: Value,
}

fn plan(args: &LoadArgs) -> Result<Plan, SetupError> {
    let ramp = args.ramp.map(|per_s| Ramp { per_s, active: args.active.unwrap_or(number::WHOLE) });
    // Without messages there is nothing to warm up for.
    let warmup = if ramp.is_some_and(|ramp| ramp.active == 0) { Duration::ZERO } else { args.warmup };
    let duration = match args.hold {
        Some(hold) if hold <= warmup => {
            let (hold, warmup) = (number::show_duration(hold), number::show_duration(warmup));
            let why = format!("the warm-up alone takes {warmup}");
            return Err(SetupError::usage(format!("cannot measure while connections are held for {hold}"), why).mend("-O 0s"));
        }
        Some(hold) => hold - warmup,
        None => args.duration,
    };
    Ok(Plan {
        carrier: args.carrier.into(),
        target: args.target,
        connections: args.connections,
        pace: match args.rate {
            Some(per_s) => Pace::Open { per_s },
            None => Pace::Closed { in_flight: args.in_flight.unwrap_or(1) },
        },
        size: args.size,
        duration,
        warmup,
        sources: args.sources.unwrap_or_else(|| own_addresses(args).count().max(1) as u32),
        churn: args.churn.map(Churn::from),
        ramp,
        bulk: args.bulk.map(Bulk::from),
        congestion: args.congestion,
    })
}

fn report(job: &Job<'_>, done: Done) -> Report {
    let mut conditions = Conditions::of_this_machine();
    conditions.sides.push(done.side);
    conditions.time_wait_s = job.plan.churn.map(|_| done.time_wait.as_secs_f64());
    conditions.notes = done.notes;
    Report { conditions, entries: vec![done.outcome.into_entry(&job.plan, done.stack, "")] }
}

/// Events, files, text.
fn show(report: &Report, queues: &Value, args: &LoadArgs, output: Output, start: SystemTime) -> Result<(), Failure> {
    for entry in &report.entries {
        output.event("row", &entry.row);
    }
    if let Some(folder) = &args.out {
        report
            .write(folder, start, &Inset::default())
            .map_err(|error| SetupError::environment(format!("cannot write to {}", folder.display()), error.to_string()))?;
    }
    output.event("summary", &json!({ "conditions": report.conditions, "queues": queues, "out": args.out }));
    output.text(report.text().trim_end());
    Ok(())
}

fn judge(report: &Report, thresholds: &[Threshold]) -> Result<(), Failure> {
    let rows = report.entries.iter().map(|entry| &entry.row);
    let missed: Vec<String> = rows
        .flat_map(|row| thresholds.iter().map(|threshold| threshold.judge(row)))
        .filter_map(|verdict| match verdict {
            Verdict::Missed(why) => Some(why),
            Verdict::Met => None,
        })
        .collect();
    if missed.is_empty() { Ok(()) } else { Err(Failure::Threshold { why: missed.join("; ") }) }
}

/// A folder that cannot be written is better known before the run than after it.
fn check_out(folder: &Path) -> Result<(), SetupError> {
    std::fs::create_dir_all(folder)
        .map_err(|error| SetupError::environment(format!("cannot write to {}", folder.display()), error.to_string()))
}

/// The addresses of `-a` that are of the server's family.
fn own_addresses(args: &LoadArgs) -> impl Iterator<Item = Cidr> {
    let ipv4 = args.target.is_ipv4();
    args.engine.addresses.iter().map(|own| own.cidr).filter(move |cidr| cidr.address.is_ipv4() == ipv4)
}

/// The addresses to send from: all that were given, or so many counted up from the first. Empty when none was, and one is enough.
///
/// # Errors
/// Several are wanted and none is given, they leave the network of the first, or the server's address is among them.
fn sources(args: &LoadArgs) -> Result<Vec<Cidr>, SetupError> {
    let Some(wanted) = args.sources else { return Ok(own_addresses(args).collect()) };
    let Some(first) = own_addresses(args).next() else {
        if wanted > 1 {
            return Err(SetupError::usage(format!("cannot use {wanted} sources"), "the first source address is not given")
                .mend("-a 10.0.0.1/24"));
        }
        return Ok(Vec::new());
    };
    (0..wanted)
        .map(|n| {
            let address = match first.address {
                IpAddr::V4(address) => address.to_bits().checked_add(n).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
                IpAddr::V6(address) => address.to_bits().checked_add(n.into()).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
            };
            match address.filter(|&address| first.contains(address)) {
                Some(address) if address == args.target.ip() => {
                    let why = format!("counted up from {}, they reach {address}, the server's own address", first.address);
                    Err(SetupError::usage(format!("cannot use {wanted} sources"), why)
                        .mend("a first address behind the server's: -a 10.0.0.100/24"))
                }
                Some(address) => Ok(Cidr { address, prefix: first.prefix }),
                None => {
                    let why = format!("counted up from {}, they leave the network of {first}", first.address);
                    Err(SetupError::usage(format!("cannot use {wanted} sources"), why)
                        .mend("a lower first address, or a shorter prefix"))
                }
            }
        })
        .collect()
}

/// Payloads need not be secret; they only have to differ from run to run.
fn seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| u64::try_from(since.as_nanos()).unwrap_or(1))
}

/// Prints counts at intervals while a run goes on.
struct Reporter {
    live: Arc<Live>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    /// Starts it when intervals were asked for.
    fn start(args: &LoadArgs, output: Output) -> Self {
        let (live, done) = (Arc::new(Live::default()), Arc::new(AtomicBool::new(false)));
        let thread = args.interval.map(|every| {
            let (live, done) = (Arc::clone(&live), Arc::clone(&done));
            let ramps = args.ramp.is_some();
            std::thread::spawn(move || {
                rights::give_up_on_helper();
                report_intervals(every, &live, &done, output, ramps);
            })
        });
        Self { live, done, thread }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn report_intervals(every: Duration, live: &Live, done: &AtomicBool, output: Output, ramps: bool) {
    let start = Instant::now();
    let (mut next, mut before) = (start + every, 0);
    while !done.load(Ordering::Relaxed) {
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        if Instant::now() < next {
            continue;
        }
        next += every;
        let counts = [&live.sent, &live.received, &live.lost, &live.open];
        let [sent, received, lost, open] = counts.map(|count| count.load(Ordering::Relaxed));
        let seconds = start.elapsed().as_secs_f64();
        let mut event = json!({ "seconds": seconds, "sent": sent, "received": received, "lost": lost });
        let rate = received.saturating_sub(before) as f64 / every.as_secs_f64();
        let mut line = format!("{seconds:7.1}s  answered {rate:9.0}/s  sent {sent:10}  lost {lost:6}");
        if ramps {
            event["open"] = open.into();
            line.push_str(&format!("  open {open:8}"));
        }
        output.event("interval", &event);
        output.text(line);
        before = received;
    }
}

/// The error of a run whose stack ended without a report.
fn no_report() -> Failure {
    RunError::Failed("the client ended without a report".to_owned()).into()
}

/// What `ready` says of kernel sockets.
fn ready_event(stack: &str) -> Value {
    json!({ "stack": stack, "interface": null })
}

#[cfg(test)]
mod tests;
