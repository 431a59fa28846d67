//! What an engine says at its end.
//!
//! Filled in by the engine, at intervals and at its end; its fields are the contract of `--json`. Values only.

use std::collections::BTreeMap;

use serde::Serialize;

use super::buckets::Histograms;
use super::counters::Counters;
use crate::device::{DeviceStats, FrameCensus};

/// The figures of one core after its run, or of several together.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Counts.
    pub counters: Counters,
    /// What was timed: for scrapers, no part of a summary.
    #[serde(skip)]
    pub histograms: Histograms,
    /// Drops by cause.
    pub drops: BTreeMap<&'static str, u64>,
    /// What happened to connections ([`crate::tcp::tally`]).
    pub tcp_events: BTreeMap<&'static str, u64>,
    /// Connections that were left.
    pub tcp: TcpReport,
    /// Each queue.
    pub queues: Vec<QueueReport>,
    /// Neighbours remembered, on all interfaces.
    pub neighbors: usize,
    /// Datagrams that services still hold.
    pub kept: usize,
    /// Timers that are still armed.
    pub timers: usize,
    /// Wall time of the run, nanoseconds.
    pub wall_ns: u64,
    /// CPU time of the thread, nanoseconds, softirq charged to it included.
    pub cpu_ns: u64,
    /// Share of the turns that found work.
    pub busy_share: f64,
}

impl Report {
    /// Adds the figures of another core that ran beside this one. Of neighbours, which every core knows for itself, the most count; of time, the longest.
    pub fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        self.histograms.add(&other.histograms);
        for (own, others) in [(&mut self.drops, &other.drops), (&mut self.tcp_events, &other.tcp_events)] {
            for (name, count) in others {
                *own.entry(name).or_default() += count;
            }
        }
        self.tcp.open += other.tcp.open;
        self.tcp.time_wait += other.tcp.time_wait;
        self.tcp.resting += other.tcp.resting;
        self.tcp.buffered_bytes += other.tcp.buffered_bytes;
        self.tcp.buffer_bytes += other.tcp.buffer_bytes;
        self.queues.extend_from_slice(&other.queues);
        self.neighbors = self.neighbors.max(other.neighbors);
        self.kept += other.kept;
        self.timers += other.timers;
        self.wall_ns = self.wall_ns.max(other.wall_ns);
        self.cpu_ns += other.cpu_ns;
        self.busy_share = self.counters.busy_turns as f64 / self.counters.turns.max(1) as f64;
    }

    /// Several cores together; `None` of none.
    pub fn of_all<'a>(reports: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut reports = reports.into_iter();
        let first = reports.next()?.clone();
        Some(reports.fold(first, |mut all, report| {
            all.add(report);
            all
        }))
    }
}

/// What is left of TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpReport {
    /// TCBs, TIME-WAIT not among them.
    pub open: usize,
    /// TCBs in TIME-WAIT.
    pub time_wait: usize,
    /// Those of both that are at rest: their TCBs are folded.
    pub resting: usize,
    /// Bytes of stream buffers in use.
    pub buffered_bytes: usize,
    /// Bytes of stream buffers that were made, as many as were in use at most.
    pub buffer_bytes: usize,
}

/// One queue.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueueReport {
    /// Position of the interface.
    pub interface: u16,
    /// Queue number.
    pub queue: u32,
    /// Where the frames are.
    #[serde(serialize_with = "census")]
    pub frames: FrameCensus,
    /// Counts of the device.
    #[serde(flatten)]
    pub stats: DeviceStats,
}

fn census<S: serde::Serializer>(frames: &FrameCensus, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct as _;
    let mut fields = serializer.serialize_struct("frames", 5)?;
    fields.serialize_field("total", &frames.total)?;
    fields.serialize_field("free", &frames.free)?;
    fields.serialize_field("receiving", &frames.receiving)?;
    fields.serialize_field("sending", &frames.sending)?;
    fields.serialize_field("outside", &frames.outside())?;
    fields.end()
}
