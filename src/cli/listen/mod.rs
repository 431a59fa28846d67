//! `ringway listen`: the loss, order and jitter of a stream, over Ringway's engine or over a kernel socket.
//!
//! Carries nothing itself: it turns arguments into a launch or a socket, and the book into lines. Errors are the operator's.

pub(super) mod args;
mod kernel;

use std::time::Duration;

use ringway::error::SetupError;
use ringway::launch::{Launch, Signals};
use ringway::link::interface::Transport;
use ringway::rtp::{Book, SourceReport};
use ringway::service::listen::{Listener, Wanted};
use serde_json::{Value, json};

use args::{ListenArgs, ListenStack};

use super::conditions;
use super::failure::Failure;
use super::output::Output;
use super::rights::{self, Afterwards};
use super::serve::say_summary;

/// Listens until a signal comes, the time is over, or enough packets came.
pub(crate) fn run(args: &ListenArgs, output: Output) -> Result<(), Failure> {
    match args.stack {
        ListenStack::Ringway => ringway(args, output),
        ListenStack::Kernel => kernel::run(args, output),
    }
}

fn ringway(args: &ListenArgs, output: Output) -> Result<(), Failure> {
    let engine = &args.engine;
    let refuse = |why| SetupError::usage(format!("cannot listen at {}", args.place), why);
    let launch = engine.launch()?;
    engine.check_claimed(Transport::Udp, args.place.at, refuse)?;
    let taken = args.place.is_at_group() || args.place.at.address.is_some_and(|address| engine.is_broadcast(address));
    let launch = args.place.group().filter(|_| taken).into_iter().fold(launch, Launch::group);
    let signals = Signals::take(true)?;
    let running = launch.open(Listener::new(wanted(args), |book: &mut Book, since| show(book, since, output)))?;
    signals.stop_engine(running.stop())?;
    rights::give_up(Afterwards::Nothing)?;
    for ready in running.ready() {
        let mut event = serde_json::to_value(ready).unwrap_or_default();
        event["listening"] = args.place.to_string().into();
        event["stack"] = "ringway".into();
        output.event("ready", &event);
        output.text(format!("ready {ready} listening={}", args.place));
    }
    let finished = running.run()?;
    if let Some(why) = finished.service().failure() {
        return Err(SetupError::environment(format!("cannot listen at {}", args.place), why.to_string()).into());
    }
    let mut summary = books(finished.service().book(), "ringway");
    if let (Some(summary), Ok(Value::Object(report))) = (summary.as_object_mut(), serde_json::to_value(&finished.report)) {
        summary.extend(report);
        summary.insert("steering".to_owned(), json!(finished.steering));
    }
    let side = conditions::side("listener", &finished.ready, Some(engine.idle));
    say_summary(summary, &conditions::of_side(side, conditions::notes(&finished.ready)), ALWAYS, output);
    judge(args, finished.service().book(), signals.asked())
}

fn wanted(args: &ListenArgs) -> Wanted {
    let ListenArgs { duration, count, clock, interval, place, .. } = args;
    Wanted { at: place.at, clock: *clock, duration: *duration, packets: *count, every: *interval }
}

/// What a summary begins with: what came, and every sender.
fn books(book: &Book, stack: &str) -> Value {
    json!({ "stack": stack, "heard": book.counts(), "sources": book.reports() })
}

/// Who gave it a time and did not end it before wanted to hear something.
fn judge(args: &ListenArgs, book: &Book, asked: bool) -> Result<(), Failure> {
    match args.duration {
        Some(_) if book.counts().rtp == 0 && !asked => {
            Err(Failure::run(format!("cannot report on {}", args.place), "no packet of RTP came"))
        }
        _ => Ok(()),
    }
}

/// A line for each sender, or one event for all.
fn show(book: &mut Book, since: Duration, output: Output) {
    let sources = book.interval_reports();
    output.event("interval", &json!({ "seconds": since.as_secs_f64(), "heard": book.counts(), "sources": sources }));
    let seconds = since.as_secs_f64();
    if sources.is_empty() {
        output.text(format!("{seconds:7.1}s  nothing heard"));
    }
    for source in &sources {
        output.text(line(seconds, source));
    }
}

fn line(seconds: f64, of: &SourceReport) -> String {
    let share = f64::from(of.fraction_lost) / 2.56;
    let SourceReport { source, packets, lost, reordered, duplicates, jitter_ms, .. } = of;
    format!(
        "{seconds:7.1}s  {source} {packets:8} heard  lost {lost:5} {share:4.1} %  late {reordered:4}  twice {duplicates:4}  jitter {jitter_ms:.2} ms"
    )
}

/// Counts that say something when they are zero.
const ALWAYS: &[&str] =
    &["datagrams", "rtp", "expected", "received", "lost", "missing", "reordered", "duplicates", "jitter_ms", "outside"];
