//! `ringway capture`: frames of a running process, or what its recorder holds, as a pcapng file.
//!
//! Asks over the control socket and writes what comes; ends at Ctrl-C, after a time, or after so many frames. Errors are the operator's.

pub(crate) mod args;
mod files;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::Shutdown;
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

/// Captures.
pub(crate) fn run(args: &CaptureArgs, output: Output) -> Result<(), Failure> {
    let request = args.request(output)?;
    let signals = Signals::take(true)?;
    let asked = signals.flag();
    let (path, stream) = args.process.connect()?;
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
    // When the rest was asked for.
    let mut ended: Option<Instant> = None;
    loop {
        let is_over = asked.load(Ordering::Relaxed) || until.is_some_and(|until| Instant::now() >= until);
        if is_over && ended.is_none() {
            ended = Some(Instant::now());
            stream.shutdown(Shutdown::Write).map_err(|error| lost(&error))?;
        }
        if ended.is_some_and(|ended| ended.elapsed() > PATIENCE) {
            return Err(lost(&"the process does not tell the rest"));
        }
        match reader.read_until(b'\n', &mut line) {
            // It has told all that it had, unless it was asked for the past.
            Ok(0) if args.last.is_none() => break,
            Ok(0) => return Err(lost(&"the process has ended")),
            Ok(_) if !line.ends_with(b"\n") => continue,
            Ok(_) => {}
            Err(error) if is_for_later(&error) => {
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
    /// Frames, or records.
    events: u64,
    /// Of these, packets: those that are counted.
    packets: u64,
    /// Frames that each worker has lost for the capture, as it said last.
    lost: BTreeMap<usize, u64>,
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
        // Nearly all are events; whatever else there is has another name.
        let Ok(event) = serde_json::from_str::<Event<'_>>(text) else { return self.take_other(text, output) };
        if let Event::Frame(frame) = &event {
            self.lost.insert(frame.worker, frame.lost);
        }
        let is_packet = match files {
            Some(files) => files.write(&event).map_err(Refused::Unwritable)?,
            None => {
                output.line(text);
                true
            }
        };
        self.events += 1;
        self.packets += u64::from(is_packet);
        Ok(args.count.is_none_or(|count| self.packets < count))
    }

    /// A line that is no frame and no record. False when it is the last.
    fn take_other(&mut self, text: &str, output: Output) -> Result<bool, Refused> {
        let row: Value = serde_json::from_str(text).map_err(|error| Refused::Unreadable(error.to_string()))?;
        match row["event"].as_str().unwrap_or_default() {
            "summary" => {
                // Of all workers, also of what was lost behind their last frames.
                self.lost = row["lost"].as_u64().map(|lost| (0, lost)).into_iter().collect();
                Ok(false)
            }
            "error" => {
                let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
                Err(Refused::ByProcess(word("what"), word("why")))
            }
            "capturing" => {
                output.line(text);
                Ok(true)
            }
            other => Err(Refused::Unreadable(format!("it answers with '{other}'"))),
        }
    }

    /// The summary.
    fn say(&self, files: Option<&Files>, args: &CaptureArgs, output: Output) {
        let lost: u64 = self.lost.values().sum();
        let names: Vec<String> = files.into_iter().flat_map(Files::names).collect();
        let bytes = files.map(Files::bytes);
        let packets = files.map(|files| files.events);
        let what = if args.last.is_some() { "records" } else { "frames" };
        output.event("summary", &json!({ what: self.events, "packets": packets, "lost": lost, "bytes": bytes, "files": names }));
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

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// How long the rest is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether the time is up.
const LOOK_EVERY: Duration = Duration::from_millis(100);
