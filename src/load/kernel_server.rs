//! The peer Ringway is compared with: echo, discard, chargen, daytime and files of a folder over kernel sockets.
//!
//! `ringway serve --stack kernel` blocks in the kernel (epoll, through mio); `--stack kernel-spin` polls its sockets without
//! blocking. One thread serves all sockets. The rules are those of Ringway's own services: over UDP a source port below 1024, a
//! port of our own and a broadcast or multicast source are never answered; a stream is read only as fast as its answers are
//! taken; the end of a stream is answered with the end of ours after all data. Everything a peer can make grow is bounded.

mod content;
mod pages;
mod tcp;
mod udp;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

pub use self::pages::Pages;

use self::content::Content;
use self::tcp::Peers;
use super::outcome::RunError;
use super::turns::Turns;
use super::{clock, kernel_client};
use crate::cpu;
use crate::error::SetupError;
use crate::link::interface::Transport;
use crate::tcp::congestion::Algorithm;
use crate::time::Instant;

/// A service over kernel sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything comes back (RFC 862).
    Echo,
    /// Nothing comes back (RFC 863).
    Discard,
    /// Characters without end (RFC 864).
    Chargen,
    /// One line with the time; over TCP the server closes first (RFC 867).
    Daytime,
    /// Files out of memory (HTTP/1.1), over TCP alone.
    Http,
}

impl Kind {
    /// The service of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "echo" => Self::Echo,
            "discard" => Self::Discard,
            "chargen" => Self::Chargen,
            "daytime" => Self::Daytime,
            "http" => Self::Http,
            _ => return None,
        })
    }
}

/// A service at an address; port 0 asks for a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What is served.
    pub kind: Kind,
    /// TCP or UDP.
    pub transport: Transport,
    /// Where.
    pub at: SocketAddr,
    /// Congestion control of its connections; `None` leaves it to the kernel.
    pub congestion: Option<Algorithm>,
}

/// What a server has done: written by its thread every few milliseconds, read by whoever reports.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams answered or taken, and pieces of streams read.
    pub messages: AtomicU64,
    /// Payload bytes received.
    pub bytes: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Datagrams not answered because an answer could loop or amplify.
    pub unsafe_to_answer: AtomicU64,
    /// Answers and connections for which there was no room.
    pub refused: AtomicU64,
    /// CPU time of the thread in nanoseconds.
    pub cpu_ns: AtomicU64,
    /// Turns of the loop.
    pub turns: AtomicU64,
    /// Turns that found work.
    pub busy_turns: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Datagrams answered or taken, and pieces of streams read. (Over TCP a message may come in several pieces: divide by what
    /// the client counted.)
    pub messages: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open at that moment.
    pub open: u64,
    /// Datagrams not answered because an answer could loop or amplify.
    pub unsafe_to_answer: u64,
    /// Answers and connections for which there was no room.
    pub refused: u64,
    /// CPU time of the thread in nanoseconds.
    pub cpu_ns: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that found work.
    pub busy_turns: u64,
}

impl Counters {
    /// The counters now. They are published every 10 ms while there is work, every 50 ms otherwise.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            messages: read(&self.messages),
            bytes: read(&self.bytes),
            accepted: read(&self.accepted),
            open: read(&self.open),
            unsafe_to_answer: read(&self.unsafe_to_answer),
            refused: read(&self.refused),
            cpu_ns: read(&self.cpu_ns),
            turns: read(&self.turns),
            busy_turns: read(&self.busy_turns),
        }
    }
}

impl Snapshot {
    /// What happened since an earlier snapshot; `open` stays that of this one.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(earlier.messages),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            accepted: self.accepted.saturating_sub(earlier.accepted),
            open: self.open,
            unsafe_to_answer: self.unsafe_to_answer.saturating_sub(earlier.unsafe_to_answer),
            refused: self.refused.saturating_sub(earlier.refused),
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            turns: self.turns.saturating_sub(earlier.turns),
            busy_turns: self.busy_turns.saturating_sub(earlier.busy_turns),
        }
    }

    /// Share of the turns that found work; `None` before the first turn.
    pub fn busy_share(&self) -> Option<f64> {
        Turns { all: self.turns, busy: self.busy_turns }.share()
    }
}

/// Counts of the server's thread, published now and then.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    messages: u64,
    bytes: u64,
    accepted: u64,
    unsafe_to_answer: u64,
    refused: u64,
    turns: Turns,
}

/// A bound server.
#[derive(Debug)]
pub struct KernelServer {
    listeners: Vec<(Kind, TcpListener)>,
    endpoints: Vec<(Kind, UdpSocket)>,
    addresses: Vec<SocketAddr>,
    pages: Pages,
    spin: bool,
    counters: Arc<Counters>,
}

/// How long a blocking server sleeps before it looks at its stop flag.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// How often counters are published.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);
/// Turns of a spinning server between two looks for new connections, when none came lately.
const ACCEPT_EVERY: u64 = 16;

impl KernelServer {
    /// Binds all services.
    ///
    /// # Errors
    /// An address is not ours, a port is in use or reserved.
    pub fn bind(bindings: &[Binding], spin: bool) -> Result<Self, SetupError> {
        kernel_client::raise_descriptor_limit();
        let mut server = Self {
            listeners: Vec::new(),
            endpoints: Vec::new(),
            addresses: Vec::new(),
            pages: Pages::default(),
            spin,
            counters: Arc::default(),
        };
        for binding in bindings {
            let address = match binding.transport {
                Transport::Tcp => listen(binding).map(|listener| {
                    let address = listener.local_addr();
                    server.listeners.push((binding.kind, listener));
                    address
                }),
                Transport::Udp => endpoint(binding.at).map(|socket| {
                    let address = socket.local_addr();
                    server.endpoints.push((binding.kind, socket));
                    address
                }),
            };
            server.addresses.push(address.and_then(|address| address).map_err(|error| cannot_bind(binding, &error))?);
        }
        Ok(server)
    }

    /// The same, with files to be served over HTTP; without them there are none.
    #[must_use]
    pub fn with_pages(mut self, pages: Pages) -> Self {
        self.pages = pages;
        self
    }

    /// The bound addresses, in the order of the bindings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters, for the thread that reports.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Serves until `stop` is set; the sockets are closed at the end. A core binds the calling thread to it: give the server a thread
    /// of its own.
    ///
    /// # Errors
    /// The core cannot be used, or the kernel refuses to poll.
    pub fn run(self, core: Option<usize>, stop: &AtomicBool) -> Result<(), RunError> {
        if let Some(core) = core {
            cpu::pin(core)?;
        }
        let mut serving = Serving::new(self).map_err(failed)?;
        let result = if serving.server.spin { serving.spin(stop) } else { serving.block(stop) };
        serving.publish(clock::now());
        result.map_err(failed)
    }
}

/// A server at work: sockets, connections, buffers.
struct Serving {
    server: KernelServer,
    own_ports: Vec<u16>,
    peers: Peers,
    content: Content,
    scratch: Box<[u8]>,
    tally: Tally,
    poll: Option<Poll>,
    published: Instant,
}

impl Serving {
    fn new(mut server: KernelServer) -> io::Result<Self> {
        let poll = if server.spin { None } else { Some(Poll::new()?) };
        if let Some(poll) = &poll {
            let sockets = server.listeners.iter().map(|(_, socket)| socket.as_raw_fd());
            let sockets = sockets.chain(server.endpoints.iter().map(|(_, socket)| socket.as_raw_fd()));
            for (token, descriptor) in sockets.enumerate() {
                poll.registry().register(&mut SourceFd(&descriptor), Token(token), Interest::READABLE)?;
            }
        }
        let own_ports = server.endpoints.iter().filter_map(|(_, socket)| Some(socket.local_addr().ok()?.port())).collect();
        let content = Content::new(std::mem::take(&mut server.pages));
        Ok(Self {
            server,
            own_ports,
            peers: Peers::new(),
            content,
            scratch: vec![0; 65_536].into_boxed_slice(),
            tally: Tally::default(),
            poll,
            published: Instant::ZERO,
        })
    }

    fn spin(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut quiet = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let mut worked = false;
            for endpoint in 0..self.server.endpoints.len() {
                worked |= self.datagrams(endpoint) > 0;
            }
            if quiet < 1024 || quiet.is_multiple_of(ACCEPT_EVERY) {
                for listener in 0..self.server.listeners.len() {
                    if self.accept(listener) {
                        worked = true;
                        quiet = 0;
                    }
                }
            }
            worked |= self.peers.turn_all(&mut self.scratch, &self.content, &mut self.tally);
            quiet += 1;
            self.tally.turns.count(worked);
            if self.tally.turns.all.is_multiple_of(64) {
                self.tick(clock::now());
            }
        }
        Ok(())
    }

    fn block(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let sockets = self.server.listeners.len() + self.server.endpoints.len();
        // Sockets that may hold more than one turn took: edge-triggered, so nobody will say it again.
        let mut unfinished = vec![false; sockets];
        while !stop.load(Ordering::Relaxed) {
            let more = self.peers.has_ready() || unfinished.iter().any(|&more| more);
            let timeout = if more { Duration::ZERO } else { STOP_CHECK };
            let Some(poll) = self.poll.as_mut() else { return Ok(()) };
            match poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                let Token(token) = event.token();
                match unfinished.get_mut(token) {
                    Some(more) => *more = true,
                    None => self.peers.wake(token - sockets, event.is_read_closed() || event.is_error()),
                }
            }
            // A listener that ran out of descriptors is looked at again now and then.
            let idle = events.is_empty() && !more;
            for (socket, more) in unfinished.iter_mut().enumerate() {
                let is_listener = socket < self.server.listeners.len();
                if *more || (idle && is_listener) {
                    *more = if is_listener {
                        self.accept(socket)
                    } else {
                        self.datagrams(socket - self.server.listeners.len()) == udp::BURST
                    };
                }
            }
            let worked = self.peers.turn_ready(&mut self.scratch, &self.content, &mut self.tally);
            self.tally.turns.count(worked || !events.is_empty());
            self.tick(clock::now());
        }
        Ok(())
    }

    /// Serves datagrams that wait at one socket; returns how many there were.
    fn datagrams(&mut self, endpoint: usize) -> usize {
        let Some((kind, socket)) = self.server.endpoints.get(endpoint) else { return 0 };
        udp::serve(*kind, socket, &self.own_ports, &mut self.scratch, &self.content, &mut self.tally)
    }

    /// Accepts some of what waits at a listener; true when something did, so that there may be more.
    fn accept(&mut self, listener: usize) -> bool {
        let Some((kind, socket)) = self.server.listeners.get(listener) else { return false };
        let sockets = self.server.listeners.len() + self.server.endpoints.len();
        let registry = self.poll.as_ref().map(Poll::registry);
        self.peers.accept(*kind, socket, registry.map(|registry| (registry, sockets)), &mut self.tally)
    }

    fn tick(&mut self, now: Instant) {
        if now.since(self.published) >= PUBLISH_EVERY {
            self.published = now;
            self.peers.expire(now);
            self.publish(now);
        }
    }

    fn publish(&mut self, now: Instant) {
        self.published = now;
        let (counters, tally) = (&self.server.counters, &self.tally);
        for (counter, value) in [
            (&counters.messages, tally.messages),
            (&counters.bytes, tally.bytes),
            (&counters.accepted, tally.accepted),
            (&counters.open, self.peers.open() as u64),
            (&counters.unsafe_to_answer, tally.unsafe_to_answer),
            (&counters.refused, tally.refused),
            (&counters.cpu_ns, cpu::thread_ns()),
            (&counters.turns, tally.turns.all),
            (&counters.busy_turns, tally.turns.busy),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

fn listen(binding: &Binding) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(binding.at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if let Some(congestion) = binding.congestion {
        // Accepted sockets have it from their listener.
        socket.set_tcp_congestion(congestion.name().as_bytes())?;
    }
    socket.bind(&binding.at.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn endpoint(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn cannot_bind(binding: &Binding, error: &io::Error) -> SetupError {
    let transport = if binding.transport == Transport::Tcp { "tcp" } else { "udp" };
    let refused = SetupError::environment(format!("cannot serve {transport} at {}", binding.at), error.to_string());
    match (error.kind(), binding.congestion) {
        (io::ErrorKind::NotFound, Some(congestion)) => kernel_client::no_such_congestion(congestion),
        (io::ErrorKind::AddrInUse, _) => refused.mend(format!("ss -ln{} 'sport = :{}'", &transport[..1], binding.at.port())),
        (io::ErrorKind::AddrNotAvailable, _) => refused.mend(format!("ip address add {}/24 dev IF", binding.at.ip())),
        (io::ErrorKind::PermissionDenied, _) => {
            refused.mend("sudo setcap cap_net_bind_service+ep ./ringway, or a port above 1023")
        }
        _ => refused,
    }
}

fn failed(error: io::Error) -> RunError {
    RunError::Failed(format!("serving over kernel sockets: {error}"))
}

#[cfg(test)]
pub(crate) mod tests;
