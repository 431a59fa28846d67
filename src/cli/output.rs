//! What is printed: text for people or one JSON object a line, on stdout; errors for people on stderr, where the log is.
//!
//! A reader that closes the pipe ends no run: writing to it fails in silence. Colour is used for the word `error`, for verdicts and in
//! ladders, on a terminal, and not where NO_COLOR is set.

use std::io::{IsTerminal, Write};

use ringway::error::Place;
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

    /// True when results are objects.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// True when results may be coloured: text, on a terminal, and NO_COLOR is not set.
    pub(crate) fn colours(self) -> bool {
        !self.json && colour(std::io::stdout().is_terminal())
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

/// True where colour is wanted, on a terminal or not.
pub(crate) fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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
