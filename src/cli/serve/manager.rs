//! What a service manager is told: that traffic is carried, that the workers make progress, that the end has begun (sd_notify(3)).
//!
//! Started by [`super::ringway`] where NOTIFY_SOCKET is set, as systemd does for `Type=notify`; without it nothing here runs. The watchdog is fed only when
//! every worker has answered a question, which it does between two packets: one that hangs is not covered up, and the manager ends the
//! process when its time is over. Nothing here panics; a manager that does not hear is no error of the service's.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringway::engine::Inquirer;
use ringway::error::SetupError;
use ringway::time::span_ns;
use sd_notify::NotifyState;

use crate::cli::rights;

/// Tells the manager for as long as it lives.
#[derive(Debug)]
pub(super) struct Manager {
    said: Option<Sender<Said>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread hears of the run.
#[derive(Debug)]
enum Said {
    /// The end has begun.
    Ending,
    /// It is over.
    Over,
}

/// Says that the end has begun; any thread may have it.
#[derive(Debug)]
pub(super) struct Ending(Option<Sender<Said>>);

impl Ending {
    pub(super) fn has_begun(self) {
        // Nobody listens where there is no manager, or the end is over already.
        let _ = self.0.map(|said| said.send(Said::Ending));
    }
}

/// How long the end may take. Written at the start and by whoever reads the configuration again, read when the end begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain(Arc<AtomicU64>);

impl Drain {
    pub(super) fn set(&self, longest: Duration) {
        self.0.store(span_ns(longest), Ordering::Relaxed);
    }

    fn longest(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Manager {
    /// Says that everything is ready, and goes on asking the workers as often as the manager wants to hear of them.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) fn start(workers: Vec<Inquirer>, services: String, drain: Drain) -> Result<Self, SetupError> {
        if notify_socket().is_none() {
            return Ok(Self { said: None, thread: None });
        }
        let (said, hears) = channel();
        let told = Told { workers, services, drain, hears };
        // Twice in the manager's time, as sd_watchdog_enabled(3) recommends; 0 is no time.
        let every = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()).map(|limit| (limit / 2).max(OFTEN));
        tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving {}", told.services))]);
        let thread = thread::Builder::new().name("ringway-manager".to_owned()).spawn(move || {
            rights::give_up_on_helper();
            told.go_on(every);
        });
        let thread = thread.map_err(|error| {
            SetupError::environment("cannot start the thread that tells the service manager", error.to_string())
        })?;
        Ok(Self { said: Some(said), thread: Some(thread) })
    }

    /// What says that the end has begun.
    pub(super) fn ending(&self) -> Ending {
        Ending(self.said.clone())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(said) = self.said.take() {
            // Also an end that no signal asked for is one.
            let _ = said.send(Said::Ending).and_then(|()| said.send(Said::Over));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Told {
    workers: Vec<Inquirer>,
    services: String,
    drain: Drain,
    hears: Receiver<Said>,
}

impl Told {
    /// Until the end is over: the workers answer while they drain, too, and the manager is asked to wait as long as that may take.
    fn go_on(self, every: Option<Duration>) {
        let mut ending = false;
        let mut next = every.and_then(|every| Instant::now().checked_add(every));
        loop {
            let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            match self.hears.recv_timeout(wait) {
                Ok(Said::Ending) if !ending => {
                    ending = true;
                    let longest = u32::try_from((self.drain.longest() + SLACK).as_micros()).unwrap_or(u32::MAX);
                    let status = NotifyState::Status("finishing what is open");
                    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(longest), status]);
                }
                Ok(Said::Ending) => {}
                Ok(Said::Over) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    next = every.and_then(|every| Instant::now().checked_add(every));
                    self.look(ending);
                }
            }
        }
    }

    /// Asks every worker, and feeds the watchdog when all have answered.
    fn look(&self, ending: bool) {
        let reports: Result<Vec<_>, _> = self.workers.iter().map(Inquirer::report).collect();
        let Ok(reports) = reports else {
            if !ending {
                tracing::warn!("a worker does not answer: the watchdog is not told that all is well");
            }
            return;
        };
        let open: usize = reports.iter().map(|report| report.tcp.open).sum();
        let doing = if ending { "finishing" } else { "serving" };
        tell(&[NotifyState::Watchdog, NotifyState::Status(&format!("{doing} {}; open connections: {open}", self.services))]);
    }
}

/// What an end takes beside the drain: resets that leave, memory given back, a summary.
const SLACK: Duration = Duration::from_secs(10);
/// The workers are asked no more often than this.
const OFTEN: Duration = Duration::from_millis(10);

/// Where the manager listens, if there is one: sd_notify(3) takes an empty name for none.
fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())
}

fn tell(states: &[NotifyState<'_>]) {
    let Some(name) = notify_socket() else { return };
    if let Err(error) = send(&name, states) {
        tracing::warn!("cannot tell the service manager: {error}");
    }
}

/// Sends a message to a socket that has a path, or with `@` a name in the abstract namespace (sd_notify(3)), which the crate takes for a path.
fn send(name: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_has_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@ringway-{}", std::process::id());
        let named = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap();
        for (socket, address) in [(UnixDatagram::bind(&path).unwrap(), path.as_os_str()), (named, OsStr::new(&name))] {
            send(address, &[NotifyState::Ready, NotifyState::Status("serving")]).unwrap();
            let mut room = [0; 100];
            let len = socket.recv(&mut room).unwrap();
            assert_eq!(str::from_utf8(&room[..len]).unwrap(), "READY=1\nSTATUS=serving\n");
        }
        assert!(send(OsStr::new("/nonesuch/notify"), &[NotifyState::Ready]).is_err());
    }
}
