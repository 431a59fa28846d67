//! Changing engines while they run.
//!
//! Made by [`super::Running`], held by whoever reads a configuration again. Asks one worker after the other, so for some milliseconds they may differ. Never
//! on the packet's path; errors are the operator's.

use std::sync::mpsc::Sender;
use std::time::Duration;

use super::Launch;
use super::open::{configured, lists};
use super::workers::Wake;
use crate::engine::change::Change;
use crate::engine::inquiry::Silent;
use crate::engine::{Config, Inquirer};
use crate::error::SetupError;

/// Changes the engines of a launch; any thread may have one.
///
/// ```no_run
/// use ringway::launch::Launch;
/// # struct Echo;
/// # impl ringway::service::Service for Echo {
/// #     type Message = ();
/// # }
/// let running = Launch::new().interface("veth0").address("10.0.0.2/24".parse()?).open(Echo)?;
/// let changer = running.changer();
/// let without_him = Launch::new().deny("10.6.6.6/32".parse()?);
/// std::thread::spawn(move || changer.change(&without_him));
/// running.run()?;
/// # Ok::<(), ringway::error::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Changer {
    pub(super) workers: Vec<Inquirer>,
    pub(super) config: Config,
    pub(super) waking: Sender<Wake>,
}

impl Changer {
    /// Has the engines go on with what `launch` says of these: settings of which [`crate::settings::Key::when`] says that they can change, who may begin
    /// with us, and how long a stop waits. The rest of it is not looked at.
    ///
    /// # Errors
    /// There are too many prefixes: then nothing has changed. Or a worker does not answer: it has ended, or hangs.
    pub fn change(&self, launch: &Launch) -> Result<(), SetupError> {
        let lists = lists(launch)?;
        let config = configured(self.config, launch, self.workers.len());
        for (number, worker) in self.workers.iter().enumerate() {
            worker.change(Change::new(config, lists.clone())).map_err(|silent| refused(number, silent))?;
        }
        Ok(())
    }

    /// Has [`super::Running::run_watched`] show a report so often from now on; [`Duration::MAX`] never.
    ///
    /// # Errors
    /// A worker does not answer.
    pub fn watch_every(&self, every: Duration) -> Result<(), SetupError> {
        for (number, worker) in self.workers.iter().enumerate() {
            worker.watch_every(every).map_err(|silent| refused(number, silent))?;
        }
        // Nobody hears it where one worker runs on the thread that would.
        let _ = self.waking.send(Wake::Every(every));
        Ok(())
    }
}

fn refused(number: usize, silent: Silent) -> SetupError {
    SetupError::failed(format!("cannot change worker {number}"), silent.to_string()).mend("restart the process")
}
