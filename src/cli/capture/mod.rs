//! `ringway capture`: frames of a running process, or what its recorder holds, as a pcapng file.
//!
//! Asks over the control socket and writes what comes; ends at Ctrl-C, after a time, or after so many frames. Errors are the operator's.

pub(crate) mod args;
mod files;

use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringway::capture::Event;
use ringway::error::SetupError;
use ringway::launch::Signals;
use serde_json::{Value, json};

use self::args::CaptureArgs;
use self::files::Files;
use super::failure::Failure;
use super::output::Output;
use super::show;

/// Captures.
pub(crate) fn run(args: &CaptureArgs, output: Output) -> Result<(), Failure> {
    let request = args.request()?;
    let signals = Signals::take(true)?;
    let asked = signals.flag();
    let (path, stream) = show::connect(args.socket.as_deref(), args.pid)?;
    let lost = |error: &dyn std::fmt::Display| Failure::run(format!("cannot capture from {}", path.display()), error);
    let mut request = serde_json::to_string(&request).map_err(|error| lost(&error))?;
    request.push('\n');
    let mut files = match &args.out {
        Some(out) => Some(Files::new(out, args.rotate, args.files).map_err(|error| unwritable(out, &error))?),
        None => None,
    };
    (&stream).write_all(request.as_bytes()).map_err(|error| lost(&error))?;
    stream.set_read_timeout(Some(LOOK_EVERY)).map_err(|error| lost(&error))?;
    let until = args.duration.and_then(|span| Instant::now().checked_add(span));
    let mut reader = BufReader::new(&stream);
    let mut line = Vec::new();
    let mut captured = Captured::default();
    while !asked.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Err(lost(&"the process has ended")),
            Ok(_) if !line.ends_with(b"\n") => continue,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) =>
            {
                // A quiet moment: what has come can be looked at already.
                if let (Some(files), Some(out)) = (&mut files, &args.out) {
                    files.flush().map_err(|error| unwritable(out, &error))?;
                }
                continue;
            }
            Err(error) => return Err(lost(&error)),
        }
        let more = captured.take(&line, args, files.as_mut(), output).map_err(|error| match error {
            Refused::ByProcess(what, why) => Failure::run(what, why),
            Refused::Unreadable(why) => lost(&why),
            Refused::Unwritable(error) => match &args.out {
                Some(out) => unwritable(out, &error).into(),
                None => lost(&error),
            },
        })?;
        line.clear();
        if !more {
            break;
        }
    }
    if let (Some(files), Some(out)) = (&mut files, &args.out) {
        files.flush().map_err(|error| unwritable(out, &error))?;
    }
    captured.say(files.as_ref(), args, output);
    Ok(())
}

/// What has come so far.
#[derive(Default)]
struct Captured {
    frames: u64,
    /// Frames lost, of each worker.
    lost: Vec<u64>,
}

/// Why a line was not taken.
enum Refused {
    ByProcess(String, String),
    Unreadable(String),
    Unwritable(io::Error),
}

impl Captured {
    /// Takes a line of the answer. False when it was the last that is wanted.
    fn take(&mut self, line: &[u8], args: &CaptureArgs, files: Option<&mut Files>, output: Output) -> Result<bool, Refused> {
        let text = std::str::from_utf8(line).map_err(|error| Refused::Unreadable(error.to_string()))?.trim_end();
        let row: Value = serde_json::from_str(text).map_err(|error| Refused::Unreadable(error.to_string()))?;
        match row["event"].as_str().unwrap_or_default() {
            "frame" | "record" => {}
            "summary" => return Ok(false),
            "error" => {
                let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
                return Err(Refused::ByProcess(word("what"), word("why")));
            }
            _ => {
                output.line(text);
                return Ok(true);
            }
        }
        let event: Event<'_> = serde_json::from_str(text).map_err(|error| Refused::Unreadable(error.to_string()))?;
        if let Event::Frame(frame) = &event {
            if self.lost.len() <= frame.worker {
                self.lost.resize(frame.worker.min(u16::MAX.into()) + 1, 0);
            }
            if let Some(lost) = self.lost.get_mut(frame.worker) {
                *lost = frame.lost;
            }
        }
        if let Some(files) = files {
            files.write(&event).map_err(Refused::Unwritable)?;
        } else {
            output.line(text);
        }
        self.frames += 1;
        Ok(args.count.is_none_or(|count| self.frames < count))
    }

    /// The summary.
    fn say(&self, files: Option<&Files>, args: &CaptureArgs, output: Output) {
        let lost: u64 = self.lost.iter().sum();
        let names: Vec<String> = files.into_iter().flat_map(Files::names).collect();
        let bytes = files.map(Files::bytes);
        let packets = files.map(|files| files.events);
        let what = if args.last.is_some() { "records" } else { "frames" };
        output.event("summary", &json!({ what: self.frames, "packets": packets, "lost": lost, "bytes": bytes, "files": names }));
        if let Some(packets) = packets
            && args.out.as_ref().is_some_and(|out| out.as_os_str() != "-")
        {
            let lost = if lost > 0 { format!(", {lost} more were lost: nobody took them in time") } else { String::new() };
            output.text(format!("{packets} packets in {}{lost}", names.join(", ")));
        }
    }
}

fn unwritable(out: &Path, error: &io::Error) -> SetupError {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
    SetupError::environment(format!("cannot write {}", out.display()), error.to_string())
        .mend(format!("ls -ld {}", folder.display()))
}

/// How often it is looked whether the time is up.
const LOOK_EVERY: Duration = Duration::from_millis(100);
