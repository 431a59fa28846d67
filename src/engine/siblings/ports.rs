//! On which cores a port is open.
//!
//! Written when a service opens a port, read by a core where a packet finds none. One word a port, a bit for each core; ports that were opened stay so.
//! Also known to all: that SYNs were answered with cookies, wherever the acknowledgments arrive, what is said once, and which cores a stop waits for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::link::interface::Transport;
use crate::time::Instant;

/// The open ports of all cores.
#[derive(Debug)]
pub(super) struct OpenPorts {
    tcp: Box<[AtomicU64]>,
    udp: Box<[AtomicU64]>,
    /// When a SYN was last answered with a cookie, in nanoseconds, plus one; 0 for never.
    cookies: AtomicU64,
    /// It was said that a peer leaves checksums to others.
    said_unfilled: AtomicBool,
    /// The cores that a stop does not wait for any more: a bit each.
    ended: AtomicU64,
}

impl OpenPorts {
    pub(super) fn new() -> Self {
        let ports = || (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect();
        Self {
            tcp: ports(),
            udp: ports(),
            cookies: AtomicU64::new(0),
            said_unfilled: AtomicBool::new(false),
            ended: AtomicU64::new(0),
        }
    }

    /// A core has opened a port.
    pub(super) fn opened(&self, core: u16, transport: Transport, port: u16) {
        if let Some(cores) = self.of(transport).get(usize::from(port)) {
            cores.fetch_or(1 << core, Ordering::Relaxed);
        }
    }

    /// The cores other than this one that have opened a port: a bit each.
    pub(super) fn others(&self, core: u16, transport: Transport, port: u16) -> u64 {
        let cores = self.of(transport).get(usize::from(port)).map_or(0, |cores| cores.load(Ordering::Relaxed));
        cores & !(1 << core)
    }

    /// A SYN was answered with a cookie.
    pub(super) fn sent_cookie(&self, now: Instant) {
        self.cookies.store(now.as_ns().saturating_add(1), Ordering::Relaxed);
    }

    /// When that was last.
    pub(super) fn last_cookie(&self) -> Option<Instant> {
        self.cookies.load(Ordering::Relaxed).checked_sub(1).map(Instant::from_ns)
    }

    /// True for the first core that is to say that a peer leaves checksums to others.
    pub(super) fn may_say_unfilled(&self) -> bool {
        !self.said_unfilled.swap(true, Ordering::Relaxed)
    }

    /// A stop does not wait for a core any more. True when it did so far.
    pub(super) fn ends(&self, core: u16) -> bool {
        self.ended.fetch_or(1 << core, Ordering::Relaxed) >> core & 1 == 0
    }

    /// How many cores a stop does not wait for.
    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed).count_ones() as usize
    }

    const fn of(&self, transport: Transport) -> &[AtomicU64] {
        match transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_known_by_the_cores_that_opened_it() {
        let ports = OpenPorts::new();
        ports.opened(0, Transport::Tcp, 80);
        ports.opened(63, Transport::Tcp, 80);
        ports.opened(1, Transport::Udp, u16::MAX);
        assert_eq!(ports.others(1, Transport::Tcp, 80), 1 << 63 | 1);
        assert_eq!(ports.others(63, Transport::Tcp, 80), 1);
        assert_eq!(ports.others(0, Transport::Udp, 80), 0);
        assert_eq!((ports.others(0, Transport::Udp, u16::MAX), ports.others(1, Transport::Udp, u16::MAX)), (2, 0));
    }

    #[test]
    fn the_last_cookie_is_known_to_all() {
        let ports = OpenPorts::new();
        assert_eq!(ports.last_cookie(), None);
        ports.sent_cookie(Instant::ZERO);
        assert_eq!(ports.last_cookie(), Some(Instant::ZERO));
        ports.sent_cookie(Instant::from_ns(7));
        assert_eq!(ports.last_cookie(), Some(Instant::from_ns(7)));
    }
}
