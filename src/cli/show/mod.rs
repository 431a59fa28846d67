//! `ringway show`: asks a running process over its control socket, and prints the rows as they come.

pub(crate) mod args;
mod text;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway::error::SetupError;
use ringway::show::{FOLDER, Request, path_of};
use serde::Serialize;
use serde_json::Value;

use self::args::ShowArgs;
use self::text::Text;
use super::failure::Failure;
use super::output::Output;

/// Asks, and prints the answer.
pub(crate) fn run(args: &ShowArgs, output: Output) -> Result<(), Failure> {
    let request = args.request()?;
    let mut text = Text::new(args.brief);
    let summary = ask(args.socket.as_deref(), args.pid, &request, |line| {
        output.line(line);
        if let Ok(row) = serde_json::from_str(line) {
            output.text(text.row(&row).trim_end());
        }
    })?;
    output.line(&summary.to_string());
    if summary["more"] == true {
        output.text(format!("({} shown, there are more: --limit)", summary["rows"]));
    }
    Ok(())
}

/// Asks a process, hands each row over as the line it came in, and gives the summary.
pub(crate) fn ask(
    socket: Option<&Path>,
    pid: Option<u32>,
    request: &Request,
    mut take: impl FnMut(&str),
) -> Result<Value, Failure> {
    let summary = ask_for(connect(socket, pid)?, request, PATIENCE, |line, _| take(line))?;
    summary.map_err(|row| {
        let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
        Failure::run(word("what"), word("why"))
    })
}

/// Asks for anything, hands each row over as the line it came in and as what it says, and gives the summary, or the row of the error that the
/// process met.
pub(crate) fn ask_for(
    (path, stream): (PathBuf, UnixStream),
    request: &impl Serialize,
    patience: Duration,
    mut take: impl FnMut(&str, &Value),
) -> Result<Result<Value, Value>, Failure> {
    let lost = |error: &dyn std::fmt::Display| Failure::run(format!("cannot ask {}", path.display()), error);
    stream.set_read_timeout(Some(patience)).map_err(|error| lost(&error))?;
    let mut request = serde_json::to_string(request).map_err(|error| lost(&error))?;
    request.push('\n');
    (&stream).write_all(request.as_bytes()).map_err(|error| lost(&error))?;
    for line in BufReader::new(&stream).lines() {
        let line = line.map_err(|error| lost(&error))?;
        let row: Value = serde_json::from_str(&line).map_err(|error| lost(&error))?;
        match row["event"].as_str() {
            Some("error") => return Ok(Err(row)),
            Some("summary") => return Ok(Ok(row)),
            _ => take(&line, &row),
        }
    }
    Err(lost(&"it ended before the answer did"))
}

/// The socket that is named, or that of the only process that answers.
pub(crate) fn connect(socket: Option<&Path>, pid: Option<u32>) -> Result<(PathBuf, UnixStream), SetupError> {
    let named = socket.map(Path::to_owned).or_else(|| pid.map(path_of));
    if let Some(path) = named {
        let stream = UnixStream::connect(&path).map_err(|error| refused(&path, &error))?;
        return Ok((path, stream));
    }
    let folder = Path::new(FOLDER);
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(nobody()),
        Err(error) => return Err(refused(folder, &error)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut answering: Vec<_> = paths.filter_map(|path| Some((UnixStream::connect(&path).ok()?, path))).collect();
    match answering.len() {
        0 => Err(nobody()),
        1 => answering.pop().map(|(stream, path)| (path, stream)).ok_or_else(nobody),
        count => {
            let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let mut names: Vec<_> = answering.iter().map(|(_, path)| name(path)).collect();
            names.sort();
            let why = format!("{count} processes run: {}", names.join(", "));
            let first = names.first().cloned().unwrap_or_default();
            Err(SetupError::usage("cannot tell which process to ask", why).mend(format!("--pid {first}")))
        }
    }
}

fn nobody() -> SetupError {
    SetupError::environment("cannot ask a running process", format!("none has a control socket in {FOLDER}"))
        .mend("ringway serve (without --control off), or --socket PATH")
}

fn refused(path: &Path, error: &io::Error) -> SetupError {
    let what = format!("cannot open {}", path.display());
    let other = fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket());
    if other && error.kind() == io::ErrorKind::ConnectionRefused {
        return SetupError::environment(what, "what is there is no socket").mend(format!("ls {FOLDER}"));
    }
    let refused = SetupError::environment(what, error.to_string());
    match error.kind() {
        io::ErrorKind::PermissionDenied => refused.mend("sudo ringway show ... (the socket is its owner's alone)"),
        io::ErrorKind::ConnectionRefused => {
            refused.mend("the process has ended: ringway show without --pid asks the one that runs")
        }
        _ => refused.mend(format!("ls {FOLDER}")),
    }
}

/// How long a row is waited for: longer than the process itself waits for a worker.
const PATIENCE: Duration = Duration::from_secs(10);
