//! What the loop does when there is nothing to do: spin, or sleep in the kernel until a frame, a timer or a message wakes it.
//!
//! Sleeping is a `timerfd` (nanoseconds; a poll's own time-out is rounded up to milliseconds), the queues' descriptors and a waker, all in one mio poll.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::str::FromStr;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::mailbox::Bell;
use crate::time::span_ns;

/// What the loop does when a turn found no work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// The next turn, at once: the lowest latency, a whole core.
    Spin,
    /// Spin for [`SPIN_FOR`], then have the driver polled for [`BUSY_POLL_FOR`], then sleep.
    #[default]
    Adaptive,
    /// Sleep as soon as a turn found nothing.
    Park,
}

/// How long the adaptive mode spins after the last work: some round trips on a local link.
pub const SPIN_FOR: Duration = Duration::from_micros(50);
/// How long it has the driver polled after that.
pub const BUSY_POLL_FOR: Duration = Duration::from_micros(200);
/// The longest sleep, so that a stop request by a signal handler that cannot ring is seen.
const LONGEST: Duration = Duration::from_millis(100);

impl FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "spin" => Ok(Self::Spin),
            "adaptive" => Ok(Self::Adaptive),
            "park" => Ok(Self::Park),
            _ => Err(format!("{text:?} is no idle mode; there are spin, adaptive and park")),
        }
    }
}

/// The means to sleep.
#[derive(Debug)]
pub(crate) struct Parker {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
}

const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

impl Parker {
    /// A parker that wakes for these descriptors, and the bell that wakes it from other threads.
    pub(super) fn new(descriptors: impl Iterator<Item = RawFd>) -> io::Result<(Self, Bell)> {
        let poll = Poll::new()?;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        for (at, descriptor) in descriptors.enumerate() {
            poll.registry().register(&mut SourceFd(&descriptor), Token(at), Interest::READABLE)?;
        }
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok((Self { poll, events: Events::with_capacity(64), timer }, Bell::new(waker)))
    }

    /// A parker that wakes for these descriptors alone: for a loop without a mailbox.
    pub(crate) fn without_bell(descriptors: impl Iterator<Item = RawFd>) -> io::Result<Self> {
        Self::new(descriptors).map(|(parker, _)| parker)
    }

    /// Sleeps until something happens, at most for `span`. An interrupted sleep is a short one.
    pub(crate) fn sleep(&mut self, span: Duration) -> io::Result<()> {
        // Zero would disarm the timer.
        let ns = span_ns(span.min(LONGEST)).max(1);
        let value = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::mailbox::{Mailbox, Stop};
    use super::*;

    #[test]
    fn a_sleep_ends_with_its_time() {
        let (mut parker, _bell) = Parker::new(std::iter::empty()).unwrap();
        let start = Instant::now();
        parker.sleep(Duration::from_micros(300)).unwrap();
        parker.sleep(Duration::ZERO).unwrap();
        assert!(start.elapsed() >= Duration::from_micros(300));
    }

    #[test]
    fn a_message_left_by_another_thread_wakes() {
        let (mut parker, bell) = Parker::new(std::iter::empty()).unwrap();
        let bell = Arc::new(bell);
        let mailbox = Mailbox::new(Arc::clone(&bell));
        for round in 0..2000u32 {
            let other = mailbox.clone();
            let thread = (round % 100 == 0).then(|| std::thread::spawn(move || other.send(round)));
            if thread.is_none() {
                mailbox.send(round).unwrap();
            }
            let mut turns = 0;
            let got = loop {
                if let Some(got) = mailbox.take() {
                    break got;
                }
                bell.announce();
                if mailbox.is_empty() {
                    parker.sleep(LONGEST).unwrap();
                }
                bell.awake();
                turns += 1;
                assert!(turns < 100, "slept through the message");
            };
            assert_eq!(got, round);
            if let Some(thread) = thread {
                thread.join().unwrap().unwrap();
            }
        }
    }

    /// Two threads that hand one thing to each other, over and over, and sleep until it comes. A wake-up is lost when a sleep ends by its time alone, the
    /// thing is there, and no bell comes after it. `RINGWAY_PARKED` says how often the receiver has to have slept.
    #[test]
    fn no_hand_off_to_a_sleeper_is_slept_through() {
        let wanted = std::env::var("RINGWAY_PARKED").map_or(2000, |text| text.parse().expect("a number"));
        let [(mut near, near_bell, near_box), (mut far, far_bell, far_box)] = [(); 2].map(|()| {
            let (parker, bell) = Parker::new(std::iter::empty()).unwrap();
            let bell = Arc::new(bell);
            (parker, Arc::clone(&bell), Mailbox::<bool>::new(bell))
        });
        let start = Instant::now();
        let (slept, handed) = std::thread::scope(|scope| {
            let (to_near, to_far) = (near_box.clone(), far_box.clone());
            scope.spawn(move || {
                while receive(&mut far, &far_bell, &far_box).0 {
                    to_near.send(true).unwrap();
                }
            });
            let (mut slept, mut handed) = (0_u64, 0_u64);
            while slept < wanted {
                to_far.send(true).unwrap();
                slept += u64::from(receive(&mut near, &near_bell, &near_box).1);
                handed += 2;
            }
            to_far.send(false).unwrap();
            (slept, handed)
        });
        println!("{handed} handed over, {slept} of them to a near end that slept, in {:?}", start.elapsed());
    }

    /// Waits for the next thing; says whether it slept.
    fn receive(parker: &mut Parker, bell: &Bell, mailbox: &Mailbox<bool>) -> (bool, bool) {
        let mut slept = false;
        loop {
            if let Some(got) = mailbox.take() {
                return (got, slept);
            }
            bell.announce();
            if mailbox.is_empty() {
                slept = true;
                parker.sleep(LONGEST).unwrap();
                let by_bell = |parker: &Parker| parker.events.iter().any(|event| event.token() == WAKER);
                if !by_bell(parker) && !mailbox.is_empty() {
                    // Left since the time was over, or slept through: then this takes its time too.
                    let rung = (0..20).any(|_| {
                        parker.sleep(LONGEST).unwrap();
                        by_bell(parker)
                    });
                    assert!(rung, "slept through what was left");
                }
            }
            bell.awake();
        }
    }

    #[test]
    fn the_second_request_is_urgent() {
        let (_parker, bell) = Parker::new(std::iter::empty()).unwrap();
        let stop = Stop::new([Arc::new(bell)]);
        assert_eq!(stop.asked(), 0);
        (0..3).for_each(|_| stop.ask());
        assert_eq!(stop.asked(), 2);
    }
}
