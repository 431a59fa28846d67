//! SIGINT and SIGTERM: the first asks for an orderly end, a second one ends the process at once.
//!
//! Taken by the commands and by [`super::Launch::run`] before an engine is opened, so that no signal finds an engine half open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::engine::Stop;
use crate::error::SetupError;

/// Whether an end was asked for.
#[derive(Clone, Debug)]
pub struct Signals {
    asked: Arc<AtomicBool>,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over. With `second_ends`, a second one ends the process where it stands, with 130 or 143 (the XDP program goes
    /// with the process); without, a caller that has more to clean up is only asked again.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn take(second_ends: bool) -> Result<Self, SetupError> {
        let asked = Arc::new(AtomicBool::new(false));
        let refused = |error: std::io::Error| SetupError::environment("cannot take signals over", error.to_string());
        for signal in [SIGINT, SIGTERM] {
            if second_ends {
                // Registered first, so that it sees the flag as the signals before this one left it.
                signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked)).map_err(refused)?;
            }
            signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(refused)?;
        }
        Ok(Self { asked })
    }

    /// The flag that a signal sets.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Has a signal ask this engine to stop, which also wakes it. The thread that waits for the signal ends with the engine's process.
    ///
    /// # Errors
    /// The kernel refuses the pipe the signal is told through.
    pub fn stop_engine(&self, stop: Stop) -> Result<(), SetupError> {
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
            .map_err(|error| SetupError::environment("cannot take signals over", error.to_string()))?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if signals.forever().next().is_some() {
                    stop.ask();
                }
            })
            .map_err(|error| SetupError::environment("cannot start a thread", error.to_string()))?;
        Ok(())
    }

    /// True once a signal came.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
