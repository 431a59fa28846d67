//! Answers scrapes of Prometheus: a small HTTP server on kernel sockets, beside the engines.
//!
//! Started by `launch` where `--metrics` asks for it; a thread of its own, off the engines' cores, since an engine that does not answer is waited for. Whoever
//! connects sends one request, gets one answer and is closed (`visitor`); [`Figures`] asks the engines, and [`crate::metrics::prometheus`] makes the page.
//!
//! Everything is bounded: visitors ([`limits::SCRAPERS`]; the longest there goes when one more comes), the bytes and the time of each, and how often engines are
//! asked. Who asks again within [`limits::SCRAPE_APART`] gets the same figures: so however fast anybody scrapes, a core is asked fifty times a second at
//! most, some microseconds each time. Nothing here panics on what a visitor sends.

mod figures;
mod request;
#[cfg(test)]
mod tests;
mod visitor;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

pub use figures::Figures;
use visitor::{Then, Visitor};

use crate::beside::{self, Place};
use crate::error::SetupError;
use crate::limits;
use crate::link::interface::{PortClaim, Transport};
use crate::metrics::prometheus::{By, Snapshot, glossary, render};
use crate::rights;
use crate::steer::holders;

/// The thread that answers. Dropped, it ends and its port is free.
#[derive(Debug)]
pub struct Scrape {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Scrape {
    /// Listens at `address` (with port 0, at one that is free) and answers with these figures.
    ///
    /// # Errors
    /// The address is in use, or none of this machine's kernel.
    pub fn start(address: SocketAddr, figures: Figures, place: Option<Place>) -> Result<Self, SetupError> {
        let refused = |error: io::Error| refused(address, &error);
        let mut listener = TcpListener::bind(address).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let poll = Poll::new().map_err(refused)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(refused)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(refused)?;
        let stop = Arc::new(AtomicBool::new(false));
        let pages = Pages { figures, asked: None, snapshot: Snapshot::default(), rendered: [None, None] };
        let mut server = Server { poll, listener, visitors: Vec::new(), pages, stop: Arc::clone(&stop) };
        // It reads the counters of the XDP programs, as whoever ends the run does.
        let thread = beside::spawn("ringway-metrics", place, rights::for_the_end(), move || server.run());
        Ok(Self { address, stop, waker, thread: Some(thread.map_err(refused)?) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What went wrong, and what mends it.
fn refused(address: SocketAddr, error: &io::Error) -> SetupError {
    let environment = |why: String| SetupError::environment(format!("cannot answer scrapes at {address}"), why);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let claim = PortClaim { transport: Transport::Tcp, port: address.port() };
            let who = match holders::of_port(address.ip(), claim).join(", ") {
                nobody if nobody.is_empty() => "another socket of this machine".to_owned(),
                named => named,
            };
            let other = SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(DEFAULT_PORT));
            environment(format!("{who} has the port")).mend(format!("--metrics {other}, or end what has it"))
        }
        io::ErrorKind::AddrNotAvailable => {
            environment("the kernel of this machine has no such address".to_owned()).mend(format!(
                "--metrics 127.0.0.1:{} (ip -br address lists the kernel's addresses; claimed ones are not among them)",
                address.port()
            ))
        }
        io::ErrorKind::PermissionDenied => environment("a port below 1024 needs CAP_NET_BIND_SERVICE".to_owned())
            .mend(format!("--metrics {}", SocketAddr::new(address.ip(), DEFAULT_PORT))),
        _ => environment(error.to_string()),
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    /// In the order they came.
    visitors: Vec<Visitor>,
    pages: Pages,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn run(&mut self) {
        let mut events = Events::with_capacity(limits::SCRAPERS + 2);
        let mut next = FIRST_VISITOR;
        let mut busy = false;
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let until = self.visitors.iter().map(Visitor::deadline).min();
            let wait = if busy { Some(Duration::ZERO) } else { until.map(|until| until.saturating_duration_since(now)) };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    tracing::warn!("scrapes are not answered any more: {error}");
                    return;
                }
                _ => {}
            }
            busy = self.accept(&mut next);
            let (pages, stop, now) = (&mut self.pages, &self.stop, Instant::now());
            self.visitors.retain_mut(|visitor| {
                // With many who ask, a stop need not wait for all of them.
                if stop.load(Ordering::Relaxed) || visitor.deadline() <= now {
                    return false;
                }
                let then = visitor.go_on(pages);
                busy |= then == Then::Again;
                then != Then::End
            });
        }
    }

    /// Takes some of those who connect; those who have been there longest make room. True when there may be more.
    fn accept(&mut self, next: &mut usize) -> bool {
        for _ in 0..limits::SCRAPERS / 2 {
            let Ok((mut stream, _)) = self.listener.accept() else { return false };
            let token = Token(*next);
            *next = next.wrapping_add(1).max(FIRST_VISITOR);
            if self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_ok() {
                if self.visitors.len() >= limits::SCRAPERS {
                    self.visitors.remove(0);
                }
                self.visitors.push(Visitor::new(stream, Instant::now()));
            }
        }
        true
    }
}

/// The pages, and the figures they were made of.
struct Pages {
    figures: Figures,
    /// When the engines had answered last.
    asked: Option<Instant>,
    snapshot: Snapshot,
    /// By core, and as sums, as far as they have been asked for.
    rendered: [Option<String>; 2],
}

impl Pages {
    /// The figures, no older than [`limits::SCRAPE_APART`].
    fn figures(&mut self, by: By) -> &str {
        if self.asked.is_none_or(|at| at.elapsed() >= limits::SCRAPE_APART) {
            self.snapshot = self.figures.ask();
            self.asked = Some(Instant::now());
            self.rendered = [None, None];
        }
        let at = usize::from(by == By::Sum);
        self.rendered[at].get_or_insert_with(|| render(&self.snapshot, by))
    }

    /// What the figures mean.
    fn glossary() -> String {
        glossary()
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("asked", &self.asked).finish_non_exhaustive()
    }
}

/// The port that exporters of OpenTelemetry and many others use.
const DEFAULT_PORT: u16 = 9464;
const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_VISITOR: usize = 2;
