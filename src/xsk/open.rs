//! Opening the queues of an interface, in the order that works.
//!
//! UMEM; for each queue a socket, its rings, a filled fill ring, and only then the bind: the first queue's socket registers the UMEM and
//! fixes copy or zero-copy for all, the others share it. A bind that fails leaves the UMEM registered, so every attempt starts
//! with a new one. Called at start by the control thread; every error is the operator's, with what mends it.

use std::io;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::capability::{Right, setcap};
use super::config::{Config, LARGEST_MTU, ZeroCopy, check_queues, chunk_for};
use super::mapping::Pages;
use super::nic::Nic;
use super::pool::Pool;
use super::queue::{Identity, Rings, XskQueue};
use super::ring::{Consumer, Producer};
use super::socket::{Ring, Socket};
use super::umem::Umem;
use crate::error::SetupError;

/// After a process has ended the kernel holds its queue, and counts its memory as locked, for some milliseconds more: so long both are tried again.
const BUSY_FOR: Duration = Duration::from_secs(1);
const BUSY_RETRY: Duration = Duration::from_millis(5);

/// Opens these queues of an interface over one UMEM, in the order given. Packets arrive once an XDP program redirects them to the
/// sockets ([`XskQueue::as_fd`]).
///
/// # Errors
/// The link is down, a queue does not exist or is in use, the MTU is too large, a capability is missing, the memory may not be locked,
/// or the driver has no zero-copy and must.
pub fn open(nic: &Nic, queues: &[u32], config: &Config) -> Result<Vec<XskQueue>, SetupError> {
    config.check()?;
    nic.require_link()?;
    check_queues(nic, queues)?;
    let (chunk, mtu) = chunk_for(nic, config)?;
    let opening = Opening { nic, queues, config, chunk, mtu };
    match opening.open() {
        // The flag is unknown before Linux 6.6, and a driver may have no zero-copy of several frames.
        Err(failed) if config.clamp_mtu && opening.chains() && failed.refuses_flags() => {
            tracing::warn!(
                target: "ringway::setup",
                interface = nic.name(),
                "{}: {}: packets above {LARGEST_MTU} bytes are lost; try: {}",
                nic.name(),
                NO_CHAINS,
                opening.smaller_mtu()
            );
            let single = Config { chains: false, ..*config };
            let (chunk, mtu) = chunk_for(nic, &single)?;
            let opening = Opening { config: &single, chunk, mtu, ..opening };
            opening.open().map_err(|failed| opening.explain(&failed))
        }
        opened => opened.map_err(|failed| opening.explain(&failed)),
    }
}

/// Makes an AF_XDP socket and lets go of it.
///
/// # Errors
/// This kernel has none, or a capability is missing.
pub fn try_socket() -> Result<(), SetupError> {
    Socket::new().map(drop).map_err(|error| no_socket(&error))
}

/// Registers as much packet memory as one queue with these settings has, at least, and gives it back: the pages it came to lie on.
///
/// # Errors
/// As [`try_socket`]; there is no memory, or so much may not be locked.
pub fn try_memory(config: &Config) -> Result<Pages, SetupError> {
    const CHUNK: usize = 2048;
    config.check()?;
    let mib = mib(1, config, CHUNK);
    let what = format!("cannot lock {mib} MiB of frames");
    let pages = if config.huge_pages { Pages::Huge } else { Pages::Ordinary };
    let no_memory = |error: io::Error| SetupError::environment(format!("cannot make {mib} MiB of frames"), error.to_string());
    let umem = Umem::with_pages(1, config.frames_per_queue, CHUNK, pages).map_err(no_memory)?;
    let socket = Socket::new().map_err(|error| no_socket(&error))?;
    match register(&socket, &umem) {
        Ok(()) => Ok(umem.pages()),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => Err(memlock(what, mib)),
        Err(error) => Err(SetupError::environment(what, error.to_string())),
    }
}

/// Why packets of several frames cannot be had.
const NO_CHAINS: &str = "this kernel, or the driver, has no AF_XDP packets of several frames (Linux 6.6 has)";

struct Opening<'a> {
    nic: &'a Nic,
    queues: &'a [u32],
    config: &'a Config,
    chunk: usize,
    mtu: usize,
}

/// What was being done when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Memory,
    Socket,
    Register,
    Rings,
    BusyPoll,
    Bind(u32),
}

#[derive(Debug)]
struct Failed {
    step: Step,
    errno: Option<Errno>,
    error: io::Error,
}

fn failed(step: Step) -> impl Fn(io::Error) -> Failed {
    move |error| Failed { step, errno: Errno::from_io_error(&error), error }
}

impl Failed {
    /// True when the kernel knows a flag of the bind not, or the driver cannot do what it asks for.
    fn refuses_flags(&self) -> bool {
        matches!((self.step, self.errno), (Step::Bind(_), Some(Errno::INVAL | Errno::OPNOTSUPP)))
    }
}

impl Opening<'_> {
    fn open(&self) -> Result<Vec<XskQueue>, Failed> {
        match self.config.zero_copy {
            ZeroCopy::On => self.attempt(libc::XDP_ZEROCOPY),
            ZeroCopy::Off => self.attempt(libc::XDP_COPY),
            // Without a flag the kernel itself tries zero-copy first. A driver whose attempt fails in another way than "not supported"
            // fails the bind: then it is copy mode with everything made anew.
            ZeroCopy::Auto => self.attempt(0).or_else(|failed| match failed.step {
                Step::Bind(_) if failed.errno != Some(Errno::BUSY) => self.attempt(libc::XDP_COPY),
                _ => Err(failed),
            }),
        }
    }

    /// True when packets come and go in several frames.
    fn chains(&self) -> bool {
        self.config.takes_chains(self.mtu)
    }

    fn smaller_mtu(&self) -> String {
        format!("sudo ip link set {} mtu {LARGEST_MTU}", self.nic.name())
    }

    fn attempt(&self, mode: u16) -> Result<Vec<XskQueue>, Failed> {
        let pages = if self.config.huge_pages { Pages::Huge } else { Pages::Ordinary };
        let umem =
            Umem::with_pages(self.queues.len(), self.config.frames_per_queue, self.chunk, pages).map_err(failed(Step::Memory))?;
        let mut open: Vec<XskQueue> = Vec::with_capacity(self.queues.len());
        for (pool, &queue) in Pool::all(umem).into_iter().zip(self.queues) {
            let next = self.open_one(pool, queue, mode, open.first())?;
            open.push(next);
        }
        Ok(open)
    }

    fn open_one(&self, pool: Pool, queue: u32, mode: u16, first: Option<&XskQueue>) -> Result<XskQueue, Failed> {
        let socket = Socket::new().map_err(failed(Step::Socket))?;
        if first.is_none() {
            register(&socket, pool.umem()).map_err(failed(Step::Register))?;
        }
        let rings = self.rings(&socket).map_err(failed(Step::Rings))?;
        // Kernels before 6.17 do not know it, and a ring below 32 entries is refused: then a kick sends 32 at most.
        let _ = socket.set_transmit_budget(self.config.transmit_ring);
        if let Some(busy_poll) = self.config.busy_poll {
            socket.set_busy_poll(busy_poll).map_err(failed(Step::BusyPoll))?;
        }
        let identity = Identity::new(self.nic, self.mtu, queue, self.config.need_wakeup, self.config.busy_poll);
        let identity = Identity { chains: self.chains(), ..identity };
        let mut opened = XskQueue::new(socket, rings, pool, identity, self.config.fill_target());
        self.bind(&opened, mode, first).map_err(failed(Step::Bind(queue)))?;
        opened.set_zero_copy(opened.socket().is_zero_copy().map_err(failed(Step::Bind(queue)))?);
        Ok(opened)
    }

    fn rings(&self, socket: &Socket) -> io::Result<Rings> {
        let config = self.config;
        socket.make_ring(Ring::Fill, config.fill_ring)?;
        socket.make_ring(Ring::Completion, config.completion_ring)?;
        socket.make_ring(Ring::Receive, config.receive_ring)?;
        socket.make_ring(Ring::Transmit, config.transmit_ring)?;
        let offsets = socket.offsets()?;
        let fd = socket.as_fd();
        Ok(Rings {
            receive: Consumer::map(fd, Ring::Receive.page_offset(), &offsets.rx, config.receive_ring)?,
            transmit: Producer::map(fd, Ring::Transmit.page_offset(), &offsets.tx, config.transmit_ring)?,
            fill: Producer::map(fd, Ring::Fill.page_offset(), &offsets.fr, config.fill_ring)?,
            completion: Consumer::map(fd, Ring::Completion.page_offset(), &offsets.cr, config.completion_ring)?,
        })
    }

    fn bind(&self, opened: &XskQueue, mode: u16, first: Option<&XskQueue>) -> io::Result<()> {
        let wakeup = if self.config.need_wakeup { libc::XDP_USE_NEED_WAKEUP } else { 0 };
        let chains = if self.chains() { libc::XDP_USE_SG } else { 0 };
        let since = Instant::now();
        loop {
            let shared = first.map(AsFd::as_fd);
            match opened.socket().bind(self.nic.index(), opened.queue(), mode | wakeup | chains, shared) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) && since.elapsed() < BUSY_FOR => {
                    sleep(BUSY_RETRY)
                }
                result => return result,
            }
        }
    }

    /// The error in the operator's words.
    fn explain(&self, failed: &Failed) -> SetupError {
        let name = self.nic.name();
        let errno = failed.errno;
        match failed.step {
            Step::Memory => self.no_memory(&failed.error),
            Step::Socket => no_socket(&failed.error),
            Step::Register if errno == Some(Errno::NOBUFS) => {
                memlock(format!("cannot lock {} MiB of frames for {name}", self.needed_mib()), self.needed_mib())
            }
            Step::Register => self.no_memory(&failed.error),
            Step::Rings => SetupError::environment(format!("cannot make the AF_XDP rings of {name}"), failed.error.to_string()),
            Step::BusyPoll if errno == Some(Errno::PERM) => {
                let error = Right::NetAdmin.missing_for("prefer busy polling");
                error.mend(format!("{}, or --set xsk.busy_poll=off", setcap()))
            }
            Step::BusyPoll => SetupError::environment("cannot prefer busy polling", failed.error.to_string())
                .mend("--set xsk.busy_poll=off; busy polling needs Linux 5.11"),
            Step::Bind(queue) => self.no_bind(queue, failed),
        }
    }

    fn no_bind(&self, queue: u32, failed: &Failed) -> SetupError {
        let name = self.nic.name();
        let what = format!("cannot bind an AF_XDP socket to queue {queue} of {name}");
        match failed.errno {
            Some(Errno::BUSY) => SetupError::environment(what, "another AF_XDP socket has the queue").mend(format!(
                "end the program that holds it (sudo ss --xdp -p names it where the kernel can), or name other queues of the {}: --queues",
                self.nic.receive_queues()
            )),
            // The count of queues may have changed since it was read.
            Some(Errno::INVAL) => match Nic::find(name).and_then(|now| now.require_queues(&[queue])) {
                Err(error) => error,
                Ok(()) if self.chains() => SetupError::environment(what, NO_CHAINS).mend(self.smaller_mtu()),
                Ok(()) => self.or_without_zero_copy(SetupError::environment(what, format!("the kernel says: {}", failed.error))),
            },
            Some(Errno::OPNOTSUPP) => {
                let driver = self.nic.driver();
                SetupError::environment(what, format!("the driver ({driver}) has no zero-copy")).mend("--zerocopy off")
            }
            Some(Errno::PERM) => Right::NetRaw.missing_for(what.trim_start_matches("cannot ")),
            Some(Errno::NODEV) => SetupError::environment(what, "the interface is gone").mend("ip -brief link"),
            _ => self.or_without_zero_copy(SetupError::environment(what, failed.error.to_string())),
        }
    }

    /// Only who insists on zero-copy has something to give up: `Auto` has tried without it already.
    fn or_without_zero_copy(&self, error: SetupError) -> SetupError {
        let doctor = format!("sudo ringway doctor -i {} --try", self.nic.name());
        error.mend(if self.config.zero_copy == ZeroCopy::On { "--zerocopy off" } else { &doctor })
    }

    fn no_memory(&self, error: &io::Error) -> SetupError {
        let what = format!("cannot make {} MiB of frames for {}", self.needed_mib(), self.nic.name());
        SetupError::environment(what, error.to_string()).mend("--set xsk.frames=1024")
    }

    const fn needed_mib(&self) -> usize {
        mib(self.queues.len(), self.config, self.chunk)
    }
}

/// What the frames of so many queues take.
const fn mib(queues: usize, config: &Config, chunk: usize) -> usize {
    (queues * config.frames_per_queue as usize * chunk).div_ceil(1 << 20)
}

fn no_socket(error: &io::Error) -> SetupError {
    const WHAT: &str = "create an AF_XDP socket";
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => Right::NetRaw.missing_for(WHAT),
        Some(Errno::AFNOSUPPORT) => {
            SetupError::environment(format!("cannot {WHAT}"), "this kernel is built without CONFIG_XDP_SOCKETS")
                .mend("grep CONFIG_XDP_SOCKETS /boot/config-$(uname -r)")
        }
        _ => SetupError::environment(format!("cannot {WHAT}"), error.to_string()),
    }
}

fn memlock(what: String, needed_mib: usize) -> SetupError {
    let limit = match getrlimit(Resource::Memlock).current {
        Some(bytes) => format!("{} MiB", bytes.div_ceil(1 << 20)),
        None => "not set".to_owned(),
    };
    let why = format!("the limit of locked memory is {limit} and the capability CAP_IPC_LOCK is missing");
    SetupError::environment(what, why).mend(format!("{}, or: ulimit -l {}", setcap(), needed_mib << 10))
}

/// Registers the UMEM; when the limit of locked memory forbids it, raises the limit as far as we may and tries once more. Where the limit suffices, what
/// was locked by somebody who has just ended is waited for.
fn register(socket: &Socket, umem: &Umem) -> io::Result<()> {
    let refused =
        |result: &io::Result<()>| result.as_ref().is_err_and(|error| Errno::from_io_error(error) == Some(Errno::NOBUFS));
    let mut result = socket.register(umem);
    if refused(&result) {
        let limit = getrlimit(Resource::Memlock);
        // Without CAP_SYS_RESOURCE the first is refused and the second is as far as we get. What remains refused, the next
        // registration says.
        if setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_err() {
            let _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
        result = socket.register(umem);
    }
    let suffices = || getrlimit(Resource::Memlock).current.is_none_or(|limit| umem.bytes() as u64 <= limit);
    let since = Instant::now();
    while refused(&result) && suffices() && since.elapsed() < BUSY_FOR {
        sleep(BUSY_RETRY);
        result = socket.register(umem);
    }
    result
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_packets_of_several_frames_is_said_with_the_mtu_that_mends_it() {
        let nic = Nic::find("lo").unwrap();
        let config = Config { chains: true, ..Config::default() };
        let refused = |mtu, errno: Errno| {
            let opening = Opening { nic: &nic, queues: &[0], config: &config, chunk: 4096, mtu };
            let failed = failed(Step::Bind(0))(errno.into());
            (failed.refuses_flags(), opening.explain(&failed))
        };
        let (falls_back, error) = refused(9000, Errno::INVAL);
        assert!(falls_back && error.why().contains("packets of several frames"), "{error}");
        assert_eq!((error.remedy(), error.exit_code()), (Some("sudo ip link set lo mtu 3822"), 3));
        let (_, error) = refused(1500, Errno::INVAL);
        assert!(!error.why().contains("several frames"), "nothing of the kind was asked for: {error}");
        assert!(!refused(9000, Errno::BUSY).0 && !refused(9000, Errno::PERM).0);
    }
}
