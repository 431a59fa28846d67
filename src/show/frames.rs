//! Frames of all workers for one client, as they come and go.
//!
//! The taps are set when the client asks, and taken back when it goes, however it goes; one that only closes its sending side is told the rest. What it does not take in time is lost for it, and counted: no
//! worker waits for it. Called by `walk`; nothing here panics.

use super::request::Request;
use super::rows::{Event, Refused};
use super::walk::{Step, name_of};
use crate::capture::{Filter, Tap, file};
use crate::engine::Inquirer;
use crate::engine::inquiry::Silent;
use crate::limits;
use crate::time::span_ns;

/// The captures of one client: one for each worker.
#[derive(Debug, Default)]
pub(super) struct Taps {
    taps: Vec<Tapped>,
    /// Nothing is copied any more; what was is told, and that is all.
    ended: bool,
}

/// The capture of one worker.
#[derive(Debug)]
struct Tapped {
    core: Inquirer,
    tap: Tap,
    /// The beginning of its time, in nanoseconds since 1970: one for the whole capture, so that no time lies before that of an earlier frame.
    epoch_ns: u64,
}

impl Taps {
    /// Adds what has been copied since.
    pub(super) fn step(
        &mut self,
        request: &Request,
        cores: &[Inquirer],
        interfaces: &[String],
        rows: &mut u64,
        out: &mut Vec<u8>,
    ) -> Step {
        if self.taps.is_empty() && !self.ended {
            return if self.set(request, cores, out) { Step::More } else { Step::Done };
        }
        let mut step = Step::Later;
        for (worker, Tapped { tap, epoch_ns, .. }) in self.taps.iter().enumerate() {
            for _ in 0..FRAMES_PER_STEP {
                let Some(captured) = tap.take() else { break };
                let unix_ns = epoch_ns.saturating_add(captured.at.as_ns());
                let frame = file::Frame::of(&captured, worker, name_of(interfaces, captured.interface), unix_ns, tap.lost());
                Event::write("frame", frame, out);
                tap.give_back(captured);
                *rows += 1;
                step = Step::More;
            }
        }
        if self.ended && step == Step::Later {
            let lost = self.taps.iter().map(|tapped| tapped.tap.lost()).sum();
            Event::write("summary", Summary { rows: *rows, lost }, out);
            step = Step::Done;
        }
        step
    }

    /// Has nothing copied any more.
    pub(super) fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            for tapped in &self.taps {
                // One that has ended copies nothing any more; one that does not hear it sees that nobody takes its copies.
                let _ = tapped.core.tap(None);
            }
        }
    }

    /// Has all workers copy frames, or none.
    fn set(&mut self, request: &Request, cores: &[Inquirer], out: &mut Vec<u8>) -> bool {
        let filter = Filter { address: request.address.map(Into::into), port: request.port };
        for core in cores {
            let tap = Tap::new(filter, request.snap_len.unwrap_or(limits::SNAP_LEN));
            let why = match core.tap(Some(tap.clone())) {
                Ok(true) => {
                    let epoch_ns = span_ns(core.epoch());
                    self.taps.push(Tapped { core: core.clone(), tap, epoch_ns });
                    continue;
                }
                Ok(false) => "another capture of this process runs".to_owned(),
                Err(Silent) => Silent.to_string(),
            };
            Event::write("error", Refused { what: "cannot capture", why }, out);
            return false;
        }
        Event::write("capturing", Capturing { workers: cores.len() }, out);
        true
    }
}

impl Drop for Taps {
    fn drop(&mut self) {
        self.end();
    }
}

/// The first row: from now on frames are copied.
#[derive(serde::Serialize)]
struct Capturing {
    workers: usize,
}

/// The last row.
#[derive(serde::Serialize)]
struct Summary {
    rows: u64,
    /// Frames that nobody took in time.
    lost: u64,
}

/// Frames of a worker in one piece of an answer.
const FRAMES_PER_STEP: usize = 256;
