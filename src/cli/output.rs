//! What is printed: text for people or one JSON object a line, on stdout; logs and errors for people on stderr.
//!
//! A reader that closes the pipe ends no run: writing to it fails in silence. Colour is used for the word `error` alone, on a
//! terminal, and not where NO_COLOR is set.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;
use ringway::error::{Place, SetupError};
use ringway::metrics::row::SCHEMA;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing_subscriber::EnvFilter;

use super::failure::Failure;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// One line of text; nothing with `--json`.
    pub(crate) fn text(self, line: impl AsRef<str>) {
        if !self.json {
            self.raw(format!("{}\n", line.as_ref()).as_bytes());
        }
    }

    /// One event; nothing without `--json`. The fields of `body` (a map or a structure) follow `schema` and `event`.
    pub(crate) fn event(self, event: &str, body: &impl Serialize) {
        if self.json {
            self.raw(format!("{}\n", event_line(event, body)).as_bytes());
        }
    }

    /// A line that is an event already; nothing without `--json`.
    pub(crate) fn line(self, event: &str) {
        if self.json {
            self.raw(format!("{event}\n").as_bytes());
        }
    }

    /// What is being done, on stderr and over itself; only on a terminal, and not beside JSON. An empty text takes it away.
    pub(crate) fn progress(self, text: &str) {
        let stderr = std::io::stderr();
        if !self.json && stderr.is_terminal() {
            let _ = write!(stderr.lock(), "\r\x1b[K{text}");
        }
    }

    /// Bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// The error that ends the command.
    pub(crate) fn failure(self, failure: &Failure) {
        self.event("error", &error_fields(failure));
        if !self.json {
            let stderr = std::io::stderr();
            let (on, off) = if colour(stderr.is_terminal()) { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
            let mend = failure.remedy().map_or(String::new(), |command| format!("\n  try: {command}"));
            let place = failure.place().map_or(String::new(), |place| format!("{place}: "));
            let _ = writeln!(stderr.lock(), "{on}error{off}: {place}{}: {}{mend}", failure.what(), failure.why());
        }
    }
}

/// What an error says, with its place if it has one.
fn error_fields(failure: &Failure) -> Value {
    let mut fields = json!({
        "what": failure.what(), "why": failure.why(), "mend": failure.remedy(), "exit_code": failure.exit_code(),
    });
    if let Some(Place { file, line, column }) = failure.place() {
        fields["file"] = file.display().to_string().into();
        fields["line"] = (*line).into();
        fields["column"] = (*column).into();
    }
    fields
}

/// One object: `schema`, `event`, and the fields of `body`.
fn event_line(event: &str, body: &impl Serialize) -> Value {
    let mut object = Map::new();
    object.insert("schema".to_owned(), SCHEMA.into());
    object.insert("event".to_owned(), event.into());
    match serde_json::to_value(body) {
        Ok(Value::Object(fields)) => object.extend(fields),
        Ok(other) => drop(object.insert("value".to_owned(), other)),
        Err(error) => drop(object.insert("unprintable".to_owned(), error.to_string().into())),
    }
    Value::Object(object)
}

fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
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
pub(crate) fn start_log(wanted: Option<&str>, format: LogFormat, talk: Talk) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let filter = filter(wanted, talk);
    // A second call in one process (a test) keeps the first logger.
    match format {
        LogFormat::Human => {
            let log = log.with_ansi(colour(std::io::stderr().is_terminal())).with_target(false).without_time();
            let log = log.with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())));
            let _ = log.try_init();
        }
        LogFormat::Json => {
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
pub(crate) fn change_log(wanted: Option<&str>, talk: Talk) -> Result<(), SetupError> {
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
pub(crate) fn log_filter(text: &str) -> Result<String, SetupError> {
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
    fn events_begin_with_schema_and_event() {
        let line = event_line("error", &json!({ "what": "a \"quoted\"\nthing", "mend": null })).to_string();
        assert_eq!(line, r#"{"schema":1,"event":"error","what":"a \"quoted\"\nthing","mend":null}"#);
    }
}
