//! Waiting for sockets: in the kernel, or not at all.
//!
//! mio rounds its own timeout up to milliseconds, which would ruin the pace of an open loop: a timerfd with nanoseconds wakes
//! the poll instead.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

use crate::load::clock;
use crate::time::Instant;

/// Waits for sockets by their numbers.
pub(super) enum Waiter {
    /// Never blocks: every socket is looked at each turn.
    Spin,
    /// Blocks in epoll until a socket or the timer is ready.
    Block(Box<Block>),
}

pub(super) struct Block {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    armed: Instant,
}

/// What the kernel said of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The socket's number.
    pub(super) socket: u32,
    /// The peer's stream ended, or the socket failed: read to the end.
    pub(super) end_seen: bool,
}

const TIMER: Token = Token(usize::MAX - 1);

impl Waiter {
    pub(super) fn new(spin: bool) -> io::Result<Self> {
        if spin {
            return Ok(Self::Spin);
        }
        let poll = Poll::new()?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self::Block(Box::new(Block { poll, events: Events::with_capacity(1024), timer, armed: Instant::ZERO })))
    }

    /// Reports of this socket are wanted from now on, until it is closed.
    pub(super) fn watch(&self, socket: u32, descriptor: RawFd, writable: bool) -> io::Result<()> {
        let Self::Block(block) = self else { return Ok(()) };
        let interest = if writable { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        block.poll.registry().register(&mut SourceFd(&descriptor), Token(socket as usize), interest)
    }

    /// Waits until a watched socket is ready, or until `deadline`; puts what the kernel said into `reports`. Spinning, it does
    /// nothing.
    pub(super) fn wait(&mut self, deadline: Instant, now: Instant, reports: &mut Vec<Report>) -> io::Result<()> {
        reports.clear();
        let Self::Block(block) = self else { return Ok(()) };
        let timeout = (deadline <= now).then_some(std::time::Duration::ZERO);
        if timeout.is_none() && (block.armed <= now || deadline < block.armed) {
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            let at = Itimerspec { it_interval: never, it_value: clock::timespec(deadline) };
            timerfd_settime(&block.timer, TimerfdTimerFlags::ABSTIME, &at)?;
            block.armed = deadline;
        }
        match block.poll.poll(&mut block.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        reports.extend(
            block
                .events
                .iter()
                .filter(|event| event.token() != TIMER)
                .map(|event| Report { socket: event.token().0 as u32, end_seen: event.is_read_closed() || event.is_error() }),
        );
        Ok(())
    }

    pub(super) const fn is_spinning(&self) -> bool {
        matches!(self, Self::Spin)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_timer_wakes_to_the_microsecond_not_to_the_millisecond() {
        let mut waiter = Waiter::new(false).expect("an epoll descriptor");
        let mut reports = Vec::new();
        let mut soonest = u64::MAX;
        for _ in 0..50 {
            let now = clock::now();
            let deadline = now + Duration::from_micros(300);
            waiter.wait(deadline, now, &mut reports).expect("a wait");
            let woken = clock::now();
            assert!(woken >= deadline && reports.is_empty());
            soonest = soonest.min(woken.ns_since(deadline));
        }
        assert!(soonest < 500_000, "woken {soonest} ns late at best");
    }

    #[test]
    fn a_socket_wakes_before_the_deadline() {
        let mut waiter = Waiter::new(false).expect("an epoll descriptor");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        waiter.watch(7, socket.as_raw_fd(), false).expect("a registration");
        socket.send_to(b"x", socket.local_addr().expect("an address")).expect("a datagram");
        let mut reports = Vec::new();
        let now = clock::now();
        waiter.wait(now + Duration::from_secs(10), now, &mut reports).expect("a wait");
        assert_eq!(reports, [Report { socket: 7, end_seen: false }]);
        assert!(clock::now().since(now) < Duration::from_secs(5));
    }

    #[test]
    fn spinning_never_waits() {
        let mut waiter = Waiter::new(true).expect("nothing can fail");
        assert!(waiter.is_spinning());
        let now = clock::now();
        waiter.wait(now + Duration::from_secs(10), now, &mut Vec::new()).expect("nothing can fail");
        assert!(clock::now().since(now) < Duration::from_secs(1));
    }
}
