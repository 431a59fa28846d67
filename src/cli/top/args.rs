//! The arguments of `ringway top`. Parsed by clap. Holds words, bounds and help.

use std::time::Duration;

use clap::Args;
use ringway::error::SetupError;
use ringway::settings::number;
use ringway::words;

use super::filter::Filter;
use super::order::Key;
use crate::cli::process::Process;

/// `ringway top`.
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Time between two samples
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1s")]
    pub(super) interval: Duration,

    /// End after so many samples [default: at q or Ctrl-C]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) count: Option<u64>,

    /// Sort flows by bytes|in|out|rtt|again|queue|age|state|local|remote
    #[arg(long, value_name = "COLUMN", value_parser = key, default_value = "bytes")]
    pub(super) sort: Key,

    /// Only flows with these words: addresses, ports, states
    #[arg(long, value_name = "WORDS", value_parser = filter, default_value = "", hide_default_value = true)]
    pub(super) filter: Filter,

    /// Connections that each worker is asked about in a sample
    #[arg(long, value_name = "N", value_parser = flows, default_value = "1024")]
    pub(super) flows: u64,

    /// Flows of a sample that are printed
    #[arg(long, value_name = "N", value_parser = heaviest, default_value = "10")]
    pub(super) heaviest: usize,

    #[command(flatten)]
    pub(super) process: Process,
}

fn interval(text: &str) -> Result<Duration, SetupError> {
    let span = number::duration(text)?;
    let refused = |nearest: &str| {
        let why = format!(
            "an interval lies between {} and {}",
            number::show_duration(INTERVAL_MIN),
            number::show_duration(INTERVAL_MAX)
        );
        SetupError::usage(format!("cannot look every {text}"), why).mend(format!("--interval {nearest}"))
    };
    match span {
        _ if span < INTERVAL_MIN => Err(refused(&number::show_duration(INTERVAL_MIN))),
        _ if span > INTERVAL_MAX => Err(refused(&number::show_duration(INTERVAL_MAX))),
        _ => Ok(span),
    }
}

fn at_least_one(text: &str) -> Result<u64, SetupError> {
    match number::count(text)? {
        0 => Err(SetupError::usage("cannot end after no sample", "there is nothing to see before the first").mend("--count 1")),
        count => Ok(count),
    }
}

fn key(text: &str) -> Result<Key, SetupError> {
    Key::named(text).ok_or_else(|| {
        let names = Key::ALL.map(Key::name);
        let error = SetupError::usage(format!("cannot sort by '{text}'"), format!("the columns are {}", names.join(", ")));
        error.mend(format!("--sort {}", words::nearest(text, names).unwrap_or("bytes")))
    })
}

/// Never fails: any words are words.
fn filter(text: &str) -> Result<Filter, SetupError> {
    Ok(Filter::new(text))
}

fn flows(text: &str) -> Result<u64, SetupError> {
    within(text, "--flows", 1, FLOWS_MAX)
}

fn heaviest(text: &str) -> Result<usize, SetupError> {
    within(text, "--heaviest", 0, FLOWS_MAX).map(|count| count as usize)
}

fn within(text: &str, option: &str, least: u64, most: u64) -> Result<u64, SetupError> {
    match number::count(text)? {
        count if (least..=most).contains(&count) => Ok(count),
        count => {
            let nearest = if count < least { least } else { most };
            Err(SetupError::usage(format!("cannot take {text} for {option}"), format!("it lies between {least} and {most}"))
                .mend(format!("{option} {nearest}")))
        }
    }
}

/// The shortest interval: whoever looks more often sees the looking.
pub(super) const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest: beyond it the counts of bytes of a connection, which are of 32 bits, say little.
pub(super) const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// The most connections of a sample. More cannot be shown either.
const FLOWS_MAX: u64 = 65_536;

/// Behind the options of `--help`.
pub(crate) const AFTER: &str = "\
On a terminal it is a screen; elsewhere, and with --json, samples are printed.
Rates, shares and percentiles are of the time since the sample before. busy is
the share of the loop's turns that found work, cpu that of a core's time.
Percentiles come from the engine's histograms, so they are bounds (<=50us);
those of srtt are exact, of the flows that are listed. Bytes of a flow are those
that came in order (in) and that the peer has acknowledged (out), since it was
last told of and modulo 4 GiB: up to 34 Gbit/s at --interval 1s. Connections at
rest, over which nothing goes, are counted and not listed. Of more than --flows
others at a worker some are asked about each time, in turns.

Keys: q quit, ? help, Tab or 1-4 views, up and down choose a flow, s or < > the
column to sort by, r reverse, / filter, Enter the flow's ladder, p pause, and
+ and - a longer and a shorter interval.

Examples:
  sudo ringway top
  sudo ringway top --sort rtt --filter '443 ESTABLISHED' --pid 4711
  sudo ringway top --json --interval 2s >>top.jsonl
  sudo ringway top --count 2 --heaviest 3 | cat";
