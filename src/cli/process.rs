//! Which running process a command asks, and the asking over its control socket.
//!
//! Parsed by clap for [`super::show`] and whoever asks as well. Errors are the operator's.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ringway::error::SetupError;
use ringway::show::{FOLDER, Request, path_of};
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// The process that is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct Process {
    /// The process [default: the only one that runs]
    #[arg(long, value_name = "PID", value_parser = pid, conflicts_with = "socket")]
    pub(crate) pid: Option<u32>,

    /// Its control socket
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

impl Process {
    /// Asks it, hands each row over as the line it came in, and gives the summary.
    pub(crate) fn ask(&self, request: &Request, mut take: impl FnMut(&str)) -> Result<Value, Failure> {
        self.ask_for(request, PATIENCE, |line, _| take(line))?.map_err(|row| {
            let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
            Failure::run(word("what"), word("why"))
        })
    }

    /// Asks for anything, hands each row over as the line it came in and as what it says, and gives the summary, or the row of the error that the
    /// process met. No row is waited for longer than `patience`.
    pub(crate) fn ask_for(
        &self,
        request: &impl Serialize,
        patience: Duration,
        mut take: impl FnMut(&str, &Value),
    ) -> Result<Result<Value, Value>, Failure> {
        let (path, stream) = self.connect()?;
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
    pub(crate) fn connect(&self) -> Result<(PathBuf, UnixStream), SetupError> {
        let named = self.socket.clone().or_else(|| self.pid.map(path_of));
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
        io::ErrorKind::PermissionDenied => refused.mend("sudo ringway ... (the socket is its owner's alone)"),
        io::ErrorKind::ConnectionRefused => {
            refused.mend("the process has ended: without --pid and --socket the one that runs is asked")
        }
        _ => refused.mend(format!("ls {FOLDER}")),
    }
}

/// Reads the number of a process.
fn pid(text: &str) -> Result<u32, SetupError> {
    let why = "a process is named by its number";
    let refused =
        || SetupError::usage(format!("cannot read the process '{text}'"), why).mend("--pid 4711, as pidof ringway says");
    text.parse().ok().filter(|&pid| pid > 0).ok_or_else(refused)
}

/// How long a row is waited for: longer than the process itself waits for a worker.
const PATIENCE: Duration = Duration::from_secs(10);
