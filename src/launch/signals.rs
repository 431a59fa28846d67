//! SIGINT and SIGTERM: the first asks for an orderly end, a second one ends the process at once.
//!
//! Taken by the commands and by [`super::Launch::run`] before an engine is opened, so that no signal finds an engine half open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::beside;
use crate::engine::Stop;
use crate::error::SetupError;
use crate::rights::CapabilitySet;

/// Signals that come closer together than this are one: `timeout` signals its child and then the group that the child is in, and a terminal
/// signals a command as well as the one that runs it and passes signals on.
const ONE_SIGNAL: Duration = Duration::from_millis(100);

/// Whether an end was asked for.
#[derive(Clone, Debug)]
pub struct Signals {
    asked: Arc<AtomicBool>,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over. With `second_ends`, a second one, 100 ms or more after the first, ends the process where it stands, with
    /// 130 or 143 (the XDP program goes with the process); without, a caller that has more to clean up than the process takes with it is only asked again, and a terminal that
    /// goes away (SIGHUP, unless it is ignored, as under nohup) asks too.
    ///
    /// # Errors
    /// The kernel refuses a handler or a thread.
    pub fn take(second_ends: bool) -> Result<Self, SetupError> {
        let asked = Arc::new(AtomicBool::new(false));
        let signals = Self { asked: Arc::clone(&asked) };
        let first_is_past = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            if second_ends {
                signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&first_is_past))
                    .map_err(refused)?;
            }
            signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(refused)?;
        }
        if second_ends {
            signals.once_asked("second-signal", move || {
                std::thread::sleep(ONE_SIGNAL);
                first_is_past.store(true, Ordering::Relaxed);
            })?;
        } else if !is_ignored(SIGHUP) {
            signal_hook::flag::register(SIGHUP, Arc::clone(&asked)).map_err(refused)?;
        }
        Ok(signals)
    }

    /// The flag that a signal sets.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Has a signal ask this engine to stop, which also wakes it; one that came while the engine was set up counts. The thread that waits for
    /// the signal ends with the engine's process.
    ///
    /// # Errors
    /// The kernel refuses the pipe the signal is told through.
    pub fn stop_engine(&self, stop: Stop) -> Result<(), SetupError> {
        self.stop_engine_and(stop, || {})
    }

    /// The same, and has something else done right after.
    ///
    /// # Errors
    /// As [`Signals::stop_engine`].
    pub fn stop_engine_and(&self, stop: Stop, also: impl FnOnce() + Send + 'static) -> Result<(), SetupError> {
        self.once_asked("signals", move || {
            stop.ask();
            also();
        })
    }

    /// Does something each time a terminal or an operator says SIGHUP, which then ends the process no longer. What comes while it is done is done once more.
    ///
    /// # Errors
    /// The kernel refuses the handler or the thread.
    pub fn on_hangup(&self, act: impl Fn() + Send + 'static) -> Result<(), SetupError> {
        let mut signals = signal_hook::iterator::Signals::new([SIGHUP]).map_err(refused)?;
        begin("hangup", move || signals.forever().for_each(|_| act()))
    }

    /// Does something on a thread of its own once the first signal came, which may have been before this call.
    fn once_asked(&self, thread: &str, act: impl FnOnce() + Send + 'static) -> Result<(), SetupError> {
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(refused)?;
        let asked = self.flag();
        begin(thread, move || {
            // A signal that came before the first line set the flag and is not told again; one that came after it is told here.
            if asked.load(Ordering::Relaxed) || signals.forever().next().is_some() {
                act();
            }
        })
    }

    /// True once a signal came.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

fn refused(error: std::io::Error) -> SetupError {
    SetupError::environment("cannot take signals over", error.to_string())
}

/// Starts a thread that waits for signals.
fn begin(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), SetupError> {
    let thread = beside::spawn(name, None, CapabilitySet::empty(), work);
    thread.map(drop).map_err(|error| SetupError::environment("cannot start a thread", error.to_string()))
}

/// Whether the process was started with this signal ignored; what cannot be read counts as not.
fn is_ignored(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// Reads the mask `SigIgn` of /proc/PID/status, whose lowest bit is signal 1.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask.checked_shr(signal.unsigned_abs().wrapping_sub(1)).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::tests::{Silent, parked};

    #[test]
    fn a_signal_that_came_during_the_set_up_stops_the_engine_too() {
        let engine = parked(Silent);
        // As if its handler had run: a real one would reach every test of this process.
        let signals = Signals { asked: Arc::new(AtomicBool::new(true)) };
        signals.stop_engine(engine.stop()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while engine.stop().asked() == 0 {
            assert!(Instant::now() < deadline, "the engine was not asked");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(engine.stop().asked(), 1, "in order, not at once");
    }

    #[test]
    fn ignored_signals_are_read_from_their_mask() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert_eq!(
            [1, 2, 13, 14, 64, 65, 0].map(|signal| ignores(status, signal)),
            [true, false, true, false, false, false, false]
        );
        assert!(!ignores("", SIGHUP) && !ignores("SigIgn:\tx", SIGHUP));
    }
}
