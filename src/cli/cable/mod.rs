//! `ringway cable`: a cable with faults between two interfaces.
//!
//! Carries nothing itself: it turns arguments into a profile, has the interfaces taken, and turns counts into lines. Errors are the operator's.

pub(super) mod args;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway::cable::{Cable, Counts, OneWay, Profile};
use ringway::cpu;
use ringway::device::Device;
use ringway::engine::report::QueueReport;
use ringway::error::SetupError;
use ringway::launch::{Pair, Ready, Signals, Whole};
use ringway::xsk::XskQueue;
use serde_json::{Map, Value, json};

use args::CableArgs;

use super::conditions;
use super::failure::Failure;
use super::output::Output;
use super::rights::{self, Afterwards};

/// Carries until a signal comes or the time is over.
pub(crate) fn run(args: &CableArgs, output: Output) -> Result<(), Failure> {
    let names = args.pair()?;
    let profile = args.profile(seed())?;
    let pair =
        Pair { names, mode: args.mode.into(), zero_copy: args.zerocopy.into(), core: args.core()?, held: profile.in_transit() };
    let signals = Signals::take(true)?;
    let mut opened = pair.open()?;
    rights::give_up(Afterwards::Nothing)?;
    let [a, b] = std::mem::take(&mut opened.queues);
    let mut cable = Cable::new(&profile, a, b);
    // Declared after the cable, and so dropped before it when something fails: the programs go before the queues do, as in `end`.
    let whole = opened;
    say_ready(&whole.ready, &profile, output);
    let (start, cpu_start) = (Instant::now(), cpu::thread_ns());
    let mut before = [Counts::default(); 2];
    let every = args.interval.unwrap_or(Duration::MAX);
    let carried = cable.run(&signals.flag(), args.duration.unwrap_or(Duration::MAX), every, |cable, since| {
        let now = cable.counts();
        output.event("interval", &json!({ "seconds": since.as_secs_f64(), "directions": directions(now, &whole.ready) }));
        output.text(interval_line(before, now, cable.in_transit(), since, every));
        before = now;
    });
    let cpu_ns = cpu::thread_ns().saturating_sub(cpu_start);
    carried.map_err(|error| SetupError::environment("the cable cannot go on", error.to_string()))?;
    cable.clear();
    end(cable, whole, &profile, start.elapsed(), cpu_ns, output);
    Ok(())
}

/// One line for the whole cable, when frames pass.
fn say_ready(ready: &[Ready], profile: &Profile, output: Output) {
    output.event("ready", &json!({ "stack": "cable", "interfaces": ready, "profile": faults(profile) }));
    let names: Vec<_> = ready.iter().map(|ready| ready.interface.as_str()).collect();
    let Some(first) = ready.first() else { return };
    output.text(format!("ready cable={} xdp={} copy={} {profile}", names.join(","), first.xdp, first.copy));
}

/// The summary: each way's counts, the queues, and the conditions.
fn end(mut cable: Cable<XskQueue>, whole: Whole, profile: &Profile, wall: Duration, cpu_ns: u64, output: Output) {
    let counts = cable.counts();
    let sent = counts.iter().map(|counts| counts.sent).sum::<u64>();
    let lateness = cable.lateness();
    let queues: Vec<_> = cable
        .devices()
        .map(|(end, queue)| QueueReport {
            interface: end as u16,
            queue: queue.queue(),
            frames: queue.frames(),
            stats: queue.stats(),
        })
        .collect();
    let ready = whole.ready.clone();
    // The programs go before the queues do, so that no frame is handed to a queue that is closing.
    drop(whole);
    drop(cable);
    let summary = json!({
        "stack": "cable",
        "profile": faults(profile),
        "directions": directions(counts, &ready),
        "late": { "mean_ns": lateness.sum_ns.checked_div(sent).unwrap_or(0), "max_ns": lateness.max_ns },
        "queues": queues,
        "wall_ns": u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        "cpu_ns": cpu_ns,
    });
    let side = conditions::side("cable", &ready, None);
    let mut notes = conditions::notes(&ready);
    notes.extend(unfilled(counts, &ready));
    let conditions = conditions::of_side(side, notes);
    super::serve::say_summary(summary, &conditions, &["received", "sent"], output);
}

/// The profile with units in the names; what is not set is null.
fn faults(profile: &Profile) -> Value {
    let ns = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "delay_ns": ns(profile.delay),
        "jitter_ns": ns(profile.jitter),
        "rate_bits_per_s": profile.rate,
        "queue": profile.rate.map(|_| profile.queue),
        "ecn_threshold": profile.ecn_threshold,
        "loss_percent": profile.loss.percent(),
        "burst": profile.burst,
        "reorder_percent": profile.reorder.percent(),
        "dup_percent": profile.duplicate.percent(),
        "corrupt_percent": profile.corrupt.percent(),
        "only": profile.only.map(OneWay::name),
        "seed": profile.seed,
    })
}

/// The counts of both ways, each with its name and its interfaces.
fn directions(counts: [Counts; 2], ready: &[Ready]) -> Vec<Value> {
    let name = |end: usize| ready.get(end).map_or("", |ready| ready.interface.as_str());
    let ways = OneWay::BOTH.iter().zip([(0, 1), (1, 0)]).zip(counts);
    ways.map(|((way, (from, to)), counts)| {
        let mut direction = Map::new();
        direction.insert("direction".to_owned(), way.name().into());
        direction.insert("from".to_owned(), name(from).into());
        direction.insert("to".to_owned(), name(to).into());
        if let Value::Object(counts) = json!(counts) {
            direction.extend(counts);
        }
        Value::Object(direction)
    })
    .collect()
}

/// A note for each interface whose peer leaves checksums to an offload, with what mends it.
fn unfilled(counts: [Counts; 2], ready: &[Ready]) -> Vec<String> {
    let ends = counts.iter().zip(ready).filter(|(counts, _)| counts.unfilled > 0);
    ends.map(|(_, ready)| {
        let name = &ready.interface;
        format!(
            "{name}: frames came without a checksum, which receivers drop; at the other end of {name}: sudo ethtool -K IF tx off"
        )
    })
    .collect()
}

/// What passed since the line before.
fn interval_line(before: [Counts; 2], now: [Counts; 2], on_way: [usize; 2], since: Duration, every: Duration) -> String {
    let seconds = every.as_secs_f64().max(1e-9);
    let way = |n: usize| {
        let mbit = (now[n].sent_bytes - before[n].sent_bytes) as f64 * 8e-6 / seconds;
        let gone = |counts: Counts| counts.lost + counts.queue_drops + counts.overflow + counts.unsendable;
        let name = OneWay::BOTH[n].name();
        format!("{name} {mbit:8.1} Mbit/s  gone {:6}  on way {:5}", gone(now[n]) - gone(before[n]), on_way[n])
    };
    format!("{:7.1}s  {}  {}", since.as_secs_f64(), way(0), way(1))
}

/// Another one each time; it is said, so that a run can be repeated.
fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()))
}
