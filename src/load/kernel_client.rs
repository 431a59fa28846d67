//! Load over kernel sockets: `ringway load --stack kernel` blocks in the kernel (epoll, through mio), `--stack kernel-spin`
//! polls its sockets without blocking. One thread drives all connections.
//!
//! Books, payloads and definitions are those of every other stack ([`super::schedule`], [`super::exchanges`]); here are only the
//! system calls. A message's send time is read before the call that sends it, its answer's after the call that brought it.

mod bulk;
mod churn;
mod tcp;
mod udp;
mod wait;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use super::meter::{Live, Meter};
use super::outcome::{Outcome, RunError, Window};
use super::plan::{Carrier, Plan};
use super::turns::Turns;
use crate::cpu;
use crate::error::SetupError;
use crate::tcp::congestion::Algorithm;
use crate::time::Instant;

/// A load run over kernel sockets.
#[derive(Clone, Debug)]
pub struct KernelClient {
    /// What to do.
    pub plan: Plan,
    /// Addresses to send from, taken in turn; empty lets the kernel choose.
    pub sources: Vec<IpAddr>,
    /// Poll without blocking.
    pub spin: bool,
    /// The core to run on.
    pub core: Option<usize>,
    /// The interface whose packets are counted.
    pub interface: Option<String>,
    /// Seed of the payloads.
    pub seed: u64,
    /// Where counts are shown while the run goes on.
    pub live: Option<Arc<Live>>,
}

/// How long a blocking loop sleeps at most: then it looks at its stop flag and for lost messages.
const TICK: Duration = Duration::from_millis(10);
/// Bytes read with one call.
const SCRATCH: usize = 65_536;

impl KernelClient {
    /// A run of `plan` from addresses of the kernel's choice, blocking, on any core.
    pub const fn new(plan: Plan) -> Self {
        Self { plan, sources: Vec::new(), spin: false, core: None, interface: None, seed: 1, live: None }
    }

    /// Runs to the end of the plan, or until `stop` is set. A core binds the calling thread to it: give the run a thread of its own.
    ///
    /// # Errors
    /// The plan is refused, the machine does not allow it, or no connection could be made. A run with losses or wrong bytes is
    /// no error here: see [`Outcome::failure`].
    pub fn run(&self, stop: &AtomicBool) -> Result<Outcome, RunError> {
        self.plan.check()?;
        if let Some(core) = self.core {
            cpu::pin(core)?;
        }
        raise_descriptor_limit();
        if let Some(congestion) = self.plan.congestion {
            check_congestion(congestion)?;
        }
        if let Some(direction) = self.plan.bulk {
            return bulk::run(self, direction, stop);
        }
        match (self.plan.carrier, self.plan.churn) {
            (Carrier::Udp, _) => udp::run(self, stop),
            (Carrier::Tcp, None) => tcp::run(self, stop),
            (Carrier::Tcp, Some(kind)) => churn::run(self, kind, stop),
            (Carrier::Raw, _) => {
                Err(SetupError::usage("raw is not carried by kernel sockets", "it is Ethernet reflection over AF_XDP").into())
            }
        }
    }

    fn source(&self, connection: u32) -> Option<IpAddr> {
        let count = self.sources.len();
        if count == 0 { None } else { self.sources.get(connection as usize % count).copied() }
    }

    /// A non-blocking socket, bound to the connection's source address if there is one.
    fn socket(&self, connection: u32, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.plan.target), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if let Some(congestion) = self.plan.congestion {
            socket.set_tcp_congestion(congestion.name().as_bytes())?;
        }
        if let Some(source) = self.source(connection) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    }

    fn meter(&self, window: Window) -> Meter {
        Meter::new(window, self.interface.clone(), self.live.clone())
    }
}

/// The kernel has most algorithms as modules, which it may not load by itself.
fn check_congestion(congestion: Algorithm) -> Result<(), SetupError> {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        .and_then(|socket| socket.set_tcp_congestion(congestion.name().as_bytes()))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => no_such_congestion(congestion),
            _ => SetupError::environment(format!("cannot use the kernel's {}", congestion.name()), error.to_string()),
        })
}

pub(super) fn no_such_congestion(congestion: Algorithm) -> SetupError {
    let name = congestion.name();
    SetupError::environment(format!("cannot use the kernel's {name}"), "the kernel has no congestion control of that name loaded")
        .mend(format!("sudo modprobe tcp_{name}"))
}

/// The bookkeeping that every loop needs: the stop flag, the costs, the turns.
struct Round<'a> {
    stop: &'a AtomicBool,
    meter: Meter,
    turns: Turns,
    spin: bool,
    published: Instant,
}

impl<'a> Round<'a> {
    fn new(client: &KernelClient, window: Window, stop: &'a AtomicBool) -> Self {
        Self { stop, meter: client.meter(window), turns: Turns::default(), spin: client.spin, published: Instant::ZERO }
    }

    /// Begins a turn; false when the run was stopped.
    fn begin(&mut self, now: Instant, outcome: &Outcome) -> bool {
        self.meter.turn(now, self.turns);
        if now.since(self.published) >= TICK {
            self.published = now;
            self.meter.publish(outcome);
        }
        !self.stop.load(Ordering::Relaxed)
    }

    fn finish(self, outcome: &mut Outcome) {
        self.meter.finish(outcome, self.turns, self.spin);
    }
}

/// Raises the limit of open descriptors as far as this process may.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // A refusal shows later, as "too many open files" with its own message.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// An error of a system call as the error of the run, with the command that mends it where one is known.
fn cannot(what: impl Into<String>, error: &io::Error) -> RunError {
    let what = what.into();
    let plain = |mend: &str| RunError::Setup(SetupError::environment(what.clone(), error.to_string()).mend(mend));
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => RunError::Setup(
            SetupError::usage(what.clone(), "no free port is left, or the source address is not one of this machine")
                .mend("--sources with more addresses, a lower --rate, or --churn=rst"),
        ),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => plain("ip route show"),
        io::ErrorKind::PermissionDenied => plain("ip route show"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => plain("ulimit -n 100000"),
        _ => RunError::Failed(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests;
