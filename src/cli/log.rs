//! The log of the control plane, on stderr: never a line per packet.
//!
//! Started by [`super::main`]; what is logged is changed by a server that reads its configuration again. `--log`, or RINGWAY_LOG, chooses what is logged,
//! `--log-format` how lines look. With `--json` stdout carries results only, so the log stays where it is.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;
use ringway::error::SetupError;
use ringway::words::nearest;
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
///
/// # Errors
/// The variable says what is no level and no list of parts.
pub(crate) fn start(wanted: Option<&str>, format: Format, talk: Talk) -> Result<(), SetupError> {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let filter = EnvFilter::new(filter(wanted, variable().as_deref(), talk)?);
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
    Ok(())
}

/// Changes what is logged while the command runs.
///
/// # Errors
/// There is no log, or the variable is wrong.
pub(crate) fn change(wanted: Option<&str>, talk: Talk) -> Result<(), SetupError> {
    let refused = |why: String| SetupError::failed("cannot change what is logged", why);
    let change = REFILTER.get().ok_or_else(|| refused("there is no log".to_owned()))?;
    change(EnvFilter::new(filter(wanted, variable().as_deref(), talk)?)).map_err(refused)
}

/// What is logged: what is wanted, which has been read, or what the variable says, or what is usual.
fn filter(wanted: Option<&str>, variable: Option<&str>, talk: Talk) -> Result<String, SetupError> {
    match (wanted, variable.filter(|text| !text.is_empty())) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some(text)) => read_filter(text).map_err(|error| {
            let level = error.remedy().and_then(|remedy| remedy.strip_prefix("--log ")).unwrap_or("info").to_owned();
            SetupError::usage(format!("cannot log RINGWAY_LOG={text}"), error.why()).mend(format!("RINGWAY_LOG={level}"))
        }),
        (None, None) => Ok(talk.filter().to_owned()),
    }
}

fn variable() -> Option<String> {
    std::env::var_os("RINGWAY_LOG").map(|text| text.to_string_lossy().into_owned())
}

/// Reads `--log`.
///
/// # Errors
/// It is no level and no list of parts with levels.
pub(crate) fn read_filter(text: &str) -> Result<String, SetupError> {
    let words = ["off", "error", "warn", "info", "debug", "trace"];
    let refused = |why: &str| {
        let mend = nearest(text, words).unwrap_or("info");
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

    /// `debgu` would be taken for a part of that name, and every warning would disappear.
    #[test]
    fn the_variable_is_checked_as_the_option_is() {
        let of = |wanted, variable| filter(wanted, variable, Talk::Tool);
        assert_eq!(of(None, Some("ringway=debug")).unwrap(), "ringway=debug");
        assert_eq!(of(Some("info"), Some("debgu")).unwrap(), "info");
        assert_eq!([of(None, None), of(None, Some(""))].map(Result::unwrap), [Talk::Tool.filter(); 2]);
        let error = of(None, Some("debgu")).unwrap_err();
        assert_eq!(
            (error.what(), error.remedy(), error.exit_code()),
            ("cannot log RINGWAY_LOG=debgu", Some("RINGWAY_LOG=debug"), 2)
        );
    }

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
