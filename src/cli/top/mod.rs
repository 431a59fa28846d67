//! `ringway top`: what a running process does, sample after sample: on a terminal as a screen, elsewhere as lines or objects.
//!
//! `ask` gets readings over the control socket, `sample` and `flows` make rates of them, `state` knows what is shown and what keys do, `view` and `plain` make
//! pictures and lines of it with the tables of `table`, `screen` has the terminal. All but `ask` and `screen` are pure. Errors are the operator's.

pub(crate) mod args;
mod ask;
mod filter;
mod flows;
mod ladder;
mod order;
mod plain;
mod sample;
mod screen;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use ringway::launch::Signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use self::args::TopArgs;
use self::ask::Asker;
use self::plain::Chosen;
use super::failure::Failure;
use super::output::Output;

/// Looks until it is asked to end.
pub(crate) fn run(args: &TopArgs, output: Output) -> Result<(), Failure> {
    // Until it has answered for the first time a signal ends the process as usual.
    let (asker, first) = Asker::begin(args)?;
    let on_screen = !output.is_json() && io::stdout().is_terminal() && io::stdin().is_terminal();
    // On a screen a second one only asks again: the terminal has to be given back.
    let signals = Signals::take(!on_screen)?;
    if on_screen { screen::run(args, asker, first, &signals) } else { print(args, asker, &signals, output) }
}

/// Prints each sample.
fn print(args: &TopArgs, mut asker: Asker, signals: &Signals, output: Output) -> Result<(), Failure> {
    let chosen = Chosen { sort: args.sort, filter: args.filter.clone(), heaviest: args.heaviest };
    let mut next = Instant::now();
    let mut samples = 0;
    while args.count.is_none_or(|count| samples < count) {
        next = (next + args.interval).max(Instant::now());
        while !signals.asked() && is_read() && Instant::now() < next {
            thread::sleep(next.saturating_duration_since(Instant::now()).min(LOOK_EVERY));
        }
        if signals.asked() || !is_read() {
            break;
        }
        let sample = asker.sample()?;
        samples += 1;
        output.event("sample", &plain::object(&sample, &chosen));
        output.text(plain::text(&sample, &chosen));
    }
    output.event("summary", &json!({ "samples": samples }));
    Ok(())
}

/// False when stdout is a pipe whose reader has gone: nothing else ends what has no end of its own.
fn is_read() -> bool {
    let stdout = io::stdout();
    let mut descriptors = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let polled = poll(&mut descriptors, Some(&at_once));
    let [descriptor] = &descriptors;
    polled.is_err() || !descriptor.revents().contains(PollFlags::ERR)
}

/// How often it is looked whether the end was asked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
