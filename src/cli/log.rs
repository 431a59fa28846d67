//! The log of the control plane, on stderr: never a line per packet.
//!
//! Started by [`super::main`]; what is logged is changed by a server that reads its configuration again. `--log`, or RINGWAY_LOG, chooses what is logged,
//! `--log-format` how lines look. With `--json` stdout carries results only, so the log stays where it is.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;
use ringway::error::SetupError;
use tracing_subscriber::EnvFilter;

use super::output::colour;

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: level and text, without a time.
    #[default]
    Human,
    /// An object a line, with a time.
    Json,
}

/// What is logged where nobody says: warnings, and what Ringway says of itself. What of the set-up goes as it should is said by a server alone, whose log
/// is kept; beside a measurement it would be noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    Server,
    Tool,
}

impl Talk {
    const fn filter(self) -> &'static str {
        match self {
            Self::Server => "warn,ringway=info",
            Self::Tool => "warn,ringway=info,ringway::setup=warn",
        }
    }
}

/// Changes what is logged.
type Refilter = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;
static REFILTER: OnceLock<Refilter> = OnceLock::new();

/// Sends logs to stderr. `wanted` chooses what is logged, or without it the variable RINGWAY_LOG, as in `RINGWAY_LOG=debug`. With `--json` they are on stderr as
/// well, so that stdout stays one object a line.
pub(crate) fn start(wanted: Option<&str>, format: Format, talk: Talk) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let filter = filter(wanted, talk);
    // A second call in one process (a test) keeps the first logger.
    match format {
        Format::Human => {
            let log = log.with_ansi(colour(std::io::stderr().is_terminal())).with_target(false).without_time();
            let log = log.with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())));
            let _ = log.try_init();
        }
        Format::Json => {
            let log = log.json().flatten_event(true).with_current_span(false).with_span_list(false);
            let log = log.with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())));
            let _ = log.try_init();
        }
    }
}

/// Changes what is logged while the command runs.
///
/// # Errors
/// There is no log.
pub(crate) fn change(wanted: Option<&str>, talk: Talk) -> Result<(), SetupError> {
    let refused = |why: String| SetupError::failed("cannot change what is logged", why);
    let change = REFILTER.get().ok_or_else(|| refused("there is no log".to_owned()))?;
    change(filter(wanted, talk)).map_err(refused)
}

fn filter(wanted: Option<&str>, talk: Talk) -> EnvFilter {
    let named = wanted.and_then(|text| EnvFilter::try_new(text).ok());
    named.or_else(|| EnvFilter::try_from_env("RINGWAY_LOG").ok()).unwrap_or_else(|| EnvFilter::new(talk.filter()))
}

/// Reads `--log`.
///
/// # Errors
/// It is no level and no list of parts with levels.
pub(crate) fn read_filter(text: &str) -> Result<String, SetupError> {
    let words = ["off", "error", "warn", "info", "debug", "trace"];
    let refused = |why: &str| {
        let near = words.into_iter().map(|word| (strsim::jaro_winkler(word, text), word)).max_by(|a, b| a.0.total_cmp(&b.0));
        let mend = near.filter(|(like, _)| *like > 0.7).map_or("info", |(_, word)| word);
        SetupError::usage(format!("cannot log '{text}'"), why).mend(format!("--log {mend}"))
    };
    let is_level = |text: &str| words.contains(&text.to_ascii_lowercase().as_str());
    // A bare word that is no level would be taken as the name of a part: of one that nobody has.
    let understood =
        |part: &str| part.split_once('=').map_or(is_level(part), |(name, level)| !name.is_empty() && is_level(level));
    match text.split(',').all(understood) && EnvFilter::try_new(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err(refused("it takes one of off, error, warn, info, debug, trace, or parts as in warn,ringway=debug")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_parts_with_levels() {
        for text in ["info", "OFF", "warn,ringway=debug", "ringway::setup=trace"] {
            assert_eq!(read_filter(text).unwrap(), text);
        }
        for (text, remedy) in [
            ("loud", "--log info"),
            ("debgu", "--log debug"),
            ("warn,", "--log warn"),
            ("ringway=", "--log info"),
            ("=info", "--log info"),
        ] {
            assert_eq!(read_filter(text).unwrap_err().remedy(), Some(remedy), "{text}");
        }
    }
}
