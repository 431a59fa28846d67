//! A path for tests: one bottleneck with a drop-tail queue, a delay, and flows that send all they may. A pure function of its arguments.
//!
//! Every segment is acknowledged by itself; a segment is lost when three later ones of its flow have been acknowledged, or at a timeout.
//! What is sent again is not told from new data: bytes delivered are the goodput.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Acked, Algorithm, Congestion, Control, Signal};
use crate::tcp::pacing::Pacer;
use crate::tcp::rate::{Rate, Stamp};
use crate::tcp::tally::Happening;
use crate::time::Instant;

pub(super) const MSS: u32 = 1448;

/// The bottleneck.
#[derive(Clone, Copy)]
pub(super) struct Path {
    /// Bytes a second.
    pub(super) rate: u64,
    /// The round-trip time without a queue.
    pub(super) rtt: Duration,
    /// Bytes that may wait.
    pub(super) queue: u64,
    /// Segments of 10,000 that are lost by chance.
    pub(super) lost_of_10_000: u64,
}

impl Path {
    /// Bytes under way when the path is just full.
    pub(super) fn bdp(&self) -> u64 {
        self.rate * self.rtt.as_nanos() as u64 / 1_000_000_000
    }
}

/// 100 Mbit/s, 10 ms, a queue of one bandwidth-delay product.
pub(super) fn broadband() -> Path {
    Path { rate: 12_500_000, rtt: Duration::from_millis(10), queue: 125_000, lost_of_10_000: 0 }
}

/// What a flow came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Result {
    /// Bytes delivered in each second.
    pub(super) seconds: Vec<u64>,
    /// The most bytes in flight in each second.
    pub(super) most_in_flight: Vec<u32>,
    /// Segments lost before slow start ended by delay; `None` when it did not.
    pub(super) lost_before_exit: Option<u32>,
    pub(super) timeouts: u32,
    pub(super) noted: Vec<Happening>,
}

impl Result {
    /// Bytes a second from second `from` on.
    pub(super) fn rate_from(&self, from: usize) -> f64 {
        let seconds = &self.seconds[from..];
        seconds.iter().sum::<u64>() as f64 / seconds.len() as f64
    }
}

struct Sent {
    seq: u64,
    at: Instant,
    stamp: Stamp,
}

struct Flow {
    control: Control,
    pacer: Pacer,
    rate: Rate,
    begin: Instant,
    outstanding: VecDeque<Sent>,
    next_seq: u64,
    /// Recovery ends with the acknowledgment of this.
    recover: Option<u64>,
    srtt_ns: Option<u64>,
    progress: Instant,
    lost: u32,
    result: Result,
}

impl Flow {
    fn in_flight(&self) -> u32 {
        self.outstanding.len() as u32 * MSS
    }

    /// When it may send next.
    fn due(&self, now: Instant) -> Instant {
        if self.in_flight() + MSS > self.control.window() {
            Instant::NEVER
        } else if self.pacer.allows(now) {
            now.max(self.begin)
        } else {
            self.pacer.deadline().max(self.begin)
        }
    }

    fn timeout_at(&self) -> Instant {
        if self.outstanding.is_empty() { Instant::NEVER } else { self.progress + Duration::from_millis(400) }
    }

    fn send(&mut self, now: Instant) -> u64 {
        let idle = self.outstanding.is_empty();
        if idle {
            self.progress = now;
        }
        let stamp = self.rate.stamp(now, idle);
        self.outstanding.push_back(Sent { seq: self.next_seq, at: now, stamp });
        match self.control.pace() {
            Some(pace) => self.pacer.sent(MSS, pace, now),
            None => self.pacer.release(),
        }
        self.next_seq += 1;
        self.next_seq - 1
    }

    fn acknowledged(&mut self, seq: u64, now: Instant) {
        let in_flight = self.in_flight();
        let mut lost = 0;
        while self.outstanding.front().is_some_and(|sent| sent.seq + 2 < seq) {
            self.outstanding.pop_front();
            lost += 1;
        }
        let Some(at) = self.outstanding.iter().position(|sent| sent.seq == seq) else { return };
        let Some(sent) = self.outstanding.remove(at) else { return };
        self.progress = now;
        self.lost += lost;
        if lost > 0 && self.recover.is_none() {
            self.recover = Some(self.next_seq);
            self.control.on_congestion(Signal::Loss, in_flight, now);
        }
        if self.recover.is_some_and(|recover| seq >= recover) {
            self.recover = None;
            self.control.on_recovered(u32::MAX);
        }
        let rtt_ns = now.ns_since(sent.at);
        self.srtt_ns = Some(self.srtt_ns.map_or(rtt_ns, |srtt_ns| srtt_ns - srtt_ns / 8 + rtt_ns / 8));
        self.rate.deliver(MSS, &sent.stamp, sent.at, now);
        let (delivered, rate) = self.rate.finish(0);
        self.control.on_ack(&Acked {
            bytes: delivered,
            delivered,
            in_flight,
            pipe: self.in_flight(),
            now,
            srtt_ns: self.srtt_ns,
            rtt_ns: Some(rtt_ns),
            rate,
            recovering: self.recover.is_some(),
            lost: lost * MSS,
        });
        let second = now.as_ns() as usize / 1_000_000_000;
        if let (Some(bytes), Some(most)) = (self.result.seconds.get_mut(second), self.result.most_in_flight.get_mut(second)) {
            *bytes += u64::from(MSS);
            *most = (*most).max(in_flight);
        }
        let noted = self.control.take_noted();
        for &what in Happening::ALL.iter().filter(|&&what| noted.contains(what)) {
            if what == Happening::SlowStartExit {
                self.result.lost_before_exit = Some(self.lost);
            }
            self.result.noted.push(what);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        self.result.timeouts += 1;
        self.control.on_timeout(self.in_flight(), true, now);
        self.outstanding.clear();
        self.pacer.release();
        self.recover = None;
    }
}

/// Runs flows, each with its algorithm from its second on, for `seconds`.
pub(super) fn run(path: Path, flows: &[(Algorithm, u64)], seconds: usize) -> Vec<Result> {
    let of = |&(algorithm, begin_s): &(Algorithm, u64)| {
        let mut control = Control::new(algorithm);
        control.set_mss(MSS);
        Flow {
            control,
            pacer: Pacer::NONE,
            rate: Rate::NONE,
            begin: Instant::from_ns(begin_s * 1_000_000_000),
            outstanding: VecDeque::new(),
            next_seq: 0,
            recover: None,
            srtt_ns: None,
            progress: Instant::ZERO,
            lost: 0,
            result: Result { seconds: vec![0; seconds], most_in_flight: vec![0; seconds], ..Result::default() },
        }
    };
    let mut flows: Vec<_> = flows.iter().map(of).collect();
    let end = Instant::from_ns(seconds as u64 * 1_000_000_000);
    let mut acks: VecDeque<(Instant, usize, u64)> = VecDeque::new();
    let serialization = Duration::from_nanos(u64::from(MSS) * 1_000_000_000 / path.rate);
    let (mut now, mut free, mut chance) = (Instant::ZERO, Instant::ZERO, 88_172_645_463_325_252u64);
    while now < end {
        if let Some(&(at, index, seq)) = acks.front()
            && at <= now
        {
            acks.pop_front();
            flows[index].acknowledged(seq, now);
            continue;
        }
        if let Some(flow) = flows.iter_mut().find(|flow| flow.timeout_at() <= now) {
            flow.on_timeout(now);
            continue;
        }
        if let Some(index) = (0..flows.len()).find(|&index| flows[index].due(now) <= now) {
            let seq = flows[index].send(now);
            let waiting = free.ns_since(now) * path.rate / 1_000_000_000;
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            if waiting + u64::from(MSS) <= path.queue {
                free = free.max(now) + serialization;
                if chance % 10_000 >= path.lost_of_10_000 {
                    acks.push_back((free + path.rtt, index, seq));
                }
            }
            continue;
        }
        let next = flows.iter().map(|flow| flow.due(now).min(flow.timeout_at())).min().unwrap_or(Instant::NEVER);
        now = next.min(acks.front().map_or(Instant::NEVER, |ack| ack.0));
    }
    flows.into_iter().map(|flow| flow.result).collect()
}
