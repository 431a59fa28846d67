//! Both ways of a cable between two ends, and the loop that carries frames until it is told to stop.
//!
//! An end is one interface with all its queues. A frame lies where it was received until it is due; then its bytes are copied into a frame of
//! the other end, on the queue of the same number. One that is due and finds no room waits: only what the profile says is lost, and what is
//! counted as `overflow`. The loop sleeps in the kernel whenever nothing is due for a while; a frame that leaves late because of that has
//! still been sent at its rate, since times come from `line` and not from the loop. Nothing is allocated per frame; nothing here panics.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::line::{Counts, Delivery, LOOKED_AT, Line};
use super::profile::{OneWay, Profile};
use super::transit::Transit;
use super::{ecn, flip, unfilled};
use crate::device::{Device, Frame};
use crate::engine::clock::{Clock, MonotonicClock};
use crate::engine::idle::Parker;
use crate::limits::BURST;
use crate::time::Instant;

/// A cable between two ends of one or more queues each.
#[derive(Debug)]
pub struct Cable<D: Device> {
    ends: [Vec<D>; 2],
    ways: [Way<D::Frame>; 2],
    burst: Vec<D::Frame>,
    lateness: Lateness,
}

/// How far behind their time frames left, because the loop slept or had no core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// The latest frame, in nanoseconds.
    pub max_ns: u64,
    /// All frames together, in nanoseconds.
    pub sum_ns: u64,
}

/// One way, and the frames on it.
#[derive(Debug)]
struct Way<F> {
    line: Line,
    transit: Transit<Carried<F>>,
}

/// A frame on its way, and the queue it came from.
#[derive(Debug)]
struct Carried<F> {
    frame: F,
    queue: usize,
}

impl<D: Device> Cable<D> {
    /// A cable between the queues of interface A and those of interface B, at least one each, with a checked profile.
    pub fn new(profile: &Profile, a: Vec<D>, b: Vec<D>) -> Self {
        let way = |way| Way { line: Line::new(profile, way), transit: Transit::new(profile.in_transit()) };
        Self { ends: [a, b], ways: OneWay::BOTH.map(way), burst: Vec::with_capacity(BURST), lateness: Lateness::default() }
    }

    /// Takes in what has come, delivers what is due, and flushes. True when there was anything to do.
    pub fn turn(&mut self, now: Instant) -> bool {
        let mut worked = false;
        for way in OneWay::BOTH {
            worked |= self.take_in(way, now);
            worked |= self.deliver(way, now);
        }
        for device in self.ends.iter_mut().flatten() {
            device.flush();
        }
        worked
    }

    /// Takes one burst from each queue of the end where `way` begins.
    fn take_in(&mut self, way: OneWay, now: Instant) -> bool {
        let Self { ends, ways, burst, .. } = self;
        let Way { line, transit } = &mut ways[way as usize];
        let mut received = 0;
        for (queue, device) in ends[way as usize].iter_mut().enumerate() {
            received += device.receive(burst, BURST);
            for frame in burst.drain(..) {
                if line.counts().received < LOOKED_AT && unfilled::is_unfilled(frame.bytes()) {
                    line.counts_mut().unfilled += 1;
                }
                let ect = line.marks() && ecn::is_capable(frame.bytes());
                let (first, second) = match line.enter(now, frame.bytes().len(), ect) {
                    [Some(first), second] => (first, second),
                    [None, Some(second)] => (second, None),
                    [None, None] => {
                        device.recycle(frame);
                        continue;
                    }
                };
                // Copied before anything is done to the first.
                let copy = second.map(|second| (second, copied(device, &frame)));
                send_off(device, line, transit, (first, Some(frame)), queue);
                if let Some(copy) = copy {
                    send_off(device, line, transit, copy, queue);
                }
            }
        }
        received > 0
    }

    /// Hands what is due on `way` to the queues of the end where it ends.
    fn deliver(&mut self, way: OneWay, now: Instant) -> bool {
        let Self { ends: [a, b], ways, lateness, .. } = self;
        let Way { line, transit } = &mut ways[way as usize];
        let (near, far) = match way {
            OneWay::AToB => (a, b),
            OneWay::BToA => (b, a),
        };
        let mut worked = false;
        while let Some(carried) = transit.peek_due(now) {
            let queue = carried.queue;
            let lane = queue % far.len().max(1);
            let (Some(device), Some(home)) = (far.get_mut(lane), near.get_mut(queue)) else { break };
            // Without room the frame stays where it is, for a later turn.
            let Some(mut out) = (if device.room() > 0 { device.allocate() } else { None }) else { break };
            let Some((at, Carried { frame, .. })) = transit.pop_due(now) else { break };
            worked = true;
            let len = frame.bytes().len();
            let sendable = (ETHERNET..=device.mtu() + ETHERNET + VLAN_TAG).contains(&len) && out.set_len(len) == len;
            if sendable {
                out.bytes_mut().copy_from_slice(frame.bytes());
            }
            home.recycle(frame);
            if !sendable {
                line.counts_mut().unsendable += 1;
                device.recycle(out);
                continue;
            }
            match device.transmit(out) {
                Ok(()) => {
                    line.counts_mut().sent += 1;
                    line.counts_mut().sent_bytes += len as u64;
                    lateness.add(now.ns_since(at));
                }
                // Room was asked for.
                Err(out) => {
                    line.counts_mut().overflow += 1;
                    device.recycle(out);
                }
            }
        }
        worked
    }

    /// When the next frame is due; [`Instant::NEVER`] when none is on its way.
    pub fn next_due(&self) -> Instant {
        let [there, back] = &self.ways;
        there.transit.next_due().min(back.transit.next_due())
    }

    /// Carries frames until `stop` is set or `length` has passed; every so often `watch` sees the cable and the time since the start.
    ///
    /// # Errors
    /// The system call that sleeps failed.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        length: Duration,
        every: Duration,
        mut watch: impl FnMut(&Self, Duration),
    ) -> io::Result<()> {
        let mut parker = Parker::without_bell(self.ends.iter().flatten().filter_map(Device::descriptor))?;
        let clock = MonotonicClock::start();
        let end = Instant::ZERO + length;
        let mut report = Instant::ZERO + every;
        while !stop.load(Ordering::Relaxed) {
            let now = clock.now();
            if now >= end {
                break;
            }
            if now >= report {
                watch(self, now.since(Instant::ZERO));
                report += every;
            }
            if self.turn(now) {
                continue;
            }
            let span = self.quiet(clock.now()).min(end.min(report).since(now));
            if span > SPIN && !self.readable() {
                parker.sleep(span)?;
            }
        }
        Ok(())
    }

    /// How long nothing is to be done after a turn that found nothing.
    fn quiet(&self, now: Instant) -> Duration {
        let due = self.next_due();
        // What is due and still here waits for room, what is pending for the kernel: both are tried again soon, but not at once, since a
        // link that is down takes nothing for a long time.
        let waits = due <= now || self.ends.iter().flatten().any(Device::pending);
        if waits { RETRY } else { due.since(now) }
    }

    fn readable(&mut self) -> bool {
        self.ends.iter_mut().flatten().any(Device::readable)
    }

    /// What became of the frames of each way.
    pub fn counts(&self) -> [Counts; 2] {
        [self.ways[0].line.counts(), self.ways[1].line.counts()]
    }

    /// Frames on each way now.
    pub fn in_transit(&self) -> [usize; 2] {
        [self.ways[0].transit.len(), self.ways[1].transit.len()]
    }

    /// How late frames left.
    pub const fn lateness(&self) -> Lateness {
        self.lateness
    }

    /// The devices of one end: 0 for A, 1 for B.
    pub fn devices(&mut self) -> impl Iterator<Item = (usize, &mut D)> {
        self.ends.iter_mut().enumerate().flat_map(|(end, devices)| devices.iter_mut().map(move |device| (end, device)))
    }

    /// Takes what is still on its way off, counted as `undelivered`, so that every frame is at home again.
    pub fn clear(&mut self) {
        for (devices, Way { line, transit }) in self.ends.iter_mut().zip(&mut self.ways) {
            for Carried { frame, queue } in transit.drain() {
                line.counts_mut().undelivered += 1;
                if let Some(device) = devices.get_mut(queue) {
                    device.recycle(frame);
                }
            }
        }
        for device in self.ends.iter_mut().flatten() {
            device.flush();
        }
    }
}

impl Lateness {
    const fn add(&mut self, ns: u64) {
        self.sum_ns = self.sum_ns.saturating_add(ns);
        if ns > self.max_ns {
            self.max_ns = ns;
        }
    }
}

/// Does to a frame what was decided and puts it on its way; without a frame, or without room on the way, it is an overflow.
fn send_off<D: Device>(
    device: &mut D,
    line: &mut Line,
    transit: &mut Transit<Carried<D::Frame>>,
    (delivery, frame): (Delivery, Option<D::Frame>),
    queue: usize,
) {
    let Some(mut frame) = frame else {
        line.counts_mut().overflow += 1;
        return;
    };
    if delivery.mark {
        ecn::mark(frame.bytes_mut());
    }
    let flipped = delivery.flip.is_some_and(|chance| flip::flip(frame.bytes_mut(), chance));
    match transit.push(delivery.at, Carried { frame, queue }) {
        Ok(()) => line.counts_mut().corrupted += u64::from(flipped),
        Err(Carried { frame, .. }) => {
            line.counts_mut().overflow += 1;
            device.recycle(frame);
        }
    }
}

/// A second frame with the same bytes; `None` when no frame is free.
fn copied<D: Device>(device: &mut D, frame: &D::Frame) -> Option<D::Frame> {
    let mut copy = device.allocate()?;
    if copy.set_len(frame.bytes().len()) < frame.bytes().len() {
        device.recycle(copy);
        return None;
    }
    copy.bytes_mut().copy_from_slice(frame.bytes());
    Some(copy)
}

/// A sleep costs some microseconds and ends some late: below this the loop looks again at once.
const SPIN: Duration = Duration::from_micros(50);
/// When to try again what found no room.
const RETRY: Duration = Duration::from_micros(200);
const ETHERNET: usize = 14;
const VLAN_TAG: usize = 4;
