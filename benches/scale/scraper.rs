//! A scraper on another core, over HTTP and the loopback interface as Prometheus does it: what it costs the core whose figures it asks for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringway::beside::Place;
use ringway::cpu;
use ringway::engine::Inquirer;
use ringway::metrics::conditions::Conditions;
use ringway::show::{Figures, Scrape};
use rustix::thread::CpuSet;

/// How often is scraped.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Pace {
    Not,
    TenASecond,
    AsFastAsItCan,
    /// Not at all, but its core is as busy: what that alone takes where two cores share what computes.
    Spins,
}

/// A thread that scrapes, and the server that answers it, both on one core.
pub(crate) struct Scraper {
    pace: Arc<AtomicU8>,
    ends: Arc<AtomicBool>,
    scrapes: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
    _server: Scrape,
}

impl Scraper {
    pub(crate) fn new(inquirer: Inquirer, core: usize) -> Self {
        let mut allowed = CpuSet::new();
        allowed.set(core);
        let place = Place { allowed, busy: Vec::new() };
        let figures = Figures::new(vec![inquirer], vec!["cable".to_owned()], Conditions::of_this_machine());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Scrape::start(any, figures, Some(place)).expect("a free port");
        let (pace, ends, scrapes) = (Arc::new(AtomicU8::new(Pace::Not as u8)), Arc::default(), Arc::default());
        let shared: (_, Arc<AtomicBool>, Arc<AtomicU64>) = (Arc::clone(&pace), Arc::clone(&ends), Arc::clone(&scrapes));
        let address = server.address();
        let thread = thread::spawn(move || {
            let (pace, ends, scrapes) = shared;
            cpu::pin(core).expect("two cores");
            while !ends.load(Ordering::Relaxed) {
                let began = Instant::now();
                let pace = pace.load(Ordering::Relaxed);
                if pace == Pace::Not as u8 {
                    thread::park_timeout(Duration::from_secs(1));
                    continue;
                }
                if pace == Pace::Spins as u8 {
                    (0..100_000).for_each(|_| std::hint::spin_loop());
                    continue;
                }
                scrape(address);
                scrapes.fetch_add(1, Ordering::Relaxed);
                if pace == Pace::TenASecond as u8 {
                    thread::park_timeout(Duration::from_millis(100).saturating_sub(began.elapsed()));
                }
            }
        });
        Self { pace, ends, scrapes, thread: Some(thread), _server: server }
    }

    pub(crate) fn scrape(&self, pace: Pace) {
        self.pace.store(pace as u8, Ordering::Relaxed);
        self.thread.iter().for_each(|thread| thread.thread().unpark());
        // The last one ends, or the first one begins.
        thread::sleep(Duration::from_millis(2));
    }

    /// Pages read so far.
    pub(crate) fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::Relaxed)
    }
}

fn scrape(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("write");
    let mut page = Vec::new();
    stream.read_to_end(&mut page).expect("read");
    assert!(page.starts_with(b"HTTP/1.1 200 OK\r\n") && page.ends_with(b"\n"), "a whole page");
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
