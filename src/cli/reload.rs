//! `ringway reload`: asks a running server to read its configuration again, and prints what that came to.

use std::time::Duration;

use clap::Args;
use ringway::error::SetupError;
use ringway::show::ReloadRequest;
use serde_json::Value;

use super::failure::Failure;
use super::output::Output;
use super::process::Process;

/// `ringway reload`.
#[derive(Args, Debug)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    process: Process,
}

/// Asks, and prints the answer.
pub(crate) fn run(args: &ReloadArgs, output: Output) -> Result<(), Failure> {
    let answer = args.process.ask_for(&ReloadRequest { reload: true }, PATIENCE, |line, row| {
        output.line(line);
        output.text(text(row));
    })?;
    let last = answer.map_err(|row| refusal(&row))?;
    output.line(&last.to_string());
    output.text(summary(&last));
    Ok(())
}

/// The error that the server met, as its own.
fn refusal(row: &Value) -> SetupError {
    let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
    let error = match row["exit_code"].as_u64() {
        Some(2) => SetupError::usage(word("what"), word("why")),
        Some(3) => SetupError::environment(word("what"), word("why")),
        _ => SetupError::failed(word("what"), word("why")),
    };
    let error = match row["mend"].as_str() {
        Some(mend) => error.mend(mend),
        None => error,
    };
    let number = |name: &str| row[name].as_u64().and_then(|number| usize::try_from(number).ok());
    match (row["file"].as_str(), number("line"), number("column")) {
        (Some(file), Some(line), Some(column)) => error.at(file.as_ref(), line, column),
        _ => error,
    }
}

/// One line for one key.
fn text(row: &Value) -> String {
    let values = |name: &str| {
        let values: Vec<_> = row[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if values.is_empty() { "none".to_owned() } else { values.join(",") }
    };
    let key = row["key"].as_str().unwrap_or("?");
    let change = format!("{key}: {} -> {}", values("old"), values("new"));
    match row["outcome"].as_str() {
        Some("applied") => format!("applied        {change} (to {})", row["to"].as_str().unwrap_or("?")),
        _ => format!("needs restart  {change} ({})", row["why"].as_str().unwrap_or("?")),
    }
}

fn summary(row: &Value) -> String {
    let file = row["file"].as_str().unwrap_or("?");
    match (row["applied"].as_u64(), row["needs_restart"].as_u64()) {
        (Some(0), Some(0)) => format!("{file}: nothing has changed"),
        (Some(applied), Some(0)) => format!("{file}: {applied} applied"),
        (applied, Some(1)) => format!("{file}: {} applied, 1 needs a restart", applied.unwrap_or(0)),
        (applied, waiting) => format!("{file}: {} applied, {} need a restart", applied.unwrap_or(0), waiting.unwrap_or(0)),
    }
}

/// Behind the options of `--help`.
pub(crate) const AFTER: &str = "\
The server must have been started with --config. What can change changes, for
new connections or for all; of the rest it is said that it needs a restart. A
file with an error changes nothing. SIGHUP does the same, and says so in the
log. With --json each key is an object, and the last one is the event summary.

Examples:
  sudo ringway reload
  sudo ringway reload --pid 4711 --json
  sudo kill -HUP 4711";

/// How long an answer is waited for: each worker has two seconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_was_what_is_and_what_becomes_of_it() {
        let applied =
            json!({ "key": "deny", "old": [], "new": ["10.0.0.0/8", "fd00::/8"], "outcome": "applied", "to": "new connections" });
        let waits = json!({ "key": "claim", "old": ["tcp:7"], "new": [], "outcome": "needs_restart", "why": "so it is" });
        assert_eq!(text(&applied), "applied        deny: none -> 10.0.0.0/8,fd00::/8 (to new connections)");
        assert_eq!(text(&waits), "needs restart  claim: tcp:7 -> none (so it is)");
        for (applied, waiting, said) in [
            (0, 0, "x: nothing has changed"),
            (2, 0, "x: 2 applied"),
            (1, 3, "x: 1 applied, 3 need a restart"),
            (0, 1, "x: 0 applied, 1 needs a restart"),
        ] {
            assert_eq!(summary(&json!({ "file": "x", "applied": applied, "needs_restart": waiting })), said);
        }
    }

    #[test]
    fn an_error_of_the_server_is_told_as_it_is() {
        let row = json!({ "what": "a", "why": "b", "mend": "c", "exit_code": 2, "file": "/x", "line": 3, "column": 4 });
        let error = refusal(&row);
        assert_eq!((error.to_string().as_str(), error.exit_code()), ("/x:3:4: a: b\n  try: c", 2));
        assert_eq!(refusal(&json!({ "what": "a", "why": "b" })).exit_code(), 1);
    }
}
