//! What is printed: text for people or one JSON object a line, on stdout; logs and errors for people on stderr.
//!
//! A reader that closes the pipe ends no run: writing to it fails in silence. Colour is used for the word `error` and in ladders alone,
//! on a terminal, and not where NO_COLOR is set.

use std::io::{IsTerminal, Write};

use ringway::metrics::row::SCHEMA;
use serde::Serialize;
use serde_json::{Map, Value, json};

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
        self.event(
            "error",
            &json!({
                "what": failure.what(), "why": failure.why(), "mend": failure.remedy(), "exit_code": failure.exit_code(),
            }),
        );
        if !self.json {
            let stderr = std::io::stderr();
            let (on, off) = if colour(stderr.is_terminal()) { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
            let mend = failure.remedy().map_or(String::new(), |command| format!("\n  try: {command}"));
            let _ = writeln!(stderr.lock(), "{on}error{off}: {}: {}{mend}", failure.what(), failure.why());
        }
    }
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

pub(super) fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Sends logs to stderr. `RINGWAY_LOG` chooses what is logged, as in `RINGWAY_LOG=debug`; by default warnings, and what Ringway says
/// of its set-up. With `--json` they are on stderr as well, so that stdout stays one object a line.
pub(crate) fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RINGWAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,ringway=info"));
    let ansi = colour(std::io::stderr().is_terminal());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).with_target(false);
    // A second call in one process (a test) keeps the first logger.
    let _ = log.without_time().try_init();
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
