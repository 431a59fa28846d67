//! The families of metrics: name, kind and help of each.
//!
//! Those of structs of counts come from where the counts stand ([`crate::counted`]); the others are here. Values only.

use crate::counted::Count;
use crate::device::DeviceStats;
use crate::engine::counters::Counters;

/// One metric with all its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, with the unit at the end (`_seconds`, `_bytes`; without one it is a number of what it names), then `_total` of a counter.
    pub name: &'static str,
    /// What Prometheus may do with it.
    pub kind: Kind,
    /// What it is.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of values by bounds, cumulative, with their sum.
    Histogram,
}

impl Kind {
    /// As the format has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Family {
    /// That of a count.
    pub(super) const fn of<T>(count: &Count<T>) -> Self {
        counter(count.metric, count.help)
    }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, help }
}

/// All of them, in the order of the page.
pub fn families() -> Vec<Family> {
    let first = [BUILD, CONDITIONS, INTERFACE, CORE, ASKED, CORE_UP, CPU];
    let middle = [DROPS, EVENTS, CONNECTIONS, RESTING, BUFFERED, BUFFERS, NEIGHBORS, KEPT, TIMERS];
    let histograms = [TURN_DURATION, TURN_FRAMES, HANDSHAKES, SMOOTHED_RTT];
    first
        .into_iter()
        .chain(Counters::ALL.iter().map(Family::of))
        .chain(middle)
        .chain(histograms)
        .chain(DeviceStats::ALL.iter().map(Family::of))
        .chain([FRAMES, STEERING])
        .collect()
}

pub(super) const BUILD: Family = gauge("ringway_build_info", "The version of Ringway; always 1.");
pub(super) const CONDITIONS: Family = gauge(
    "ringway_conditions_info",
    "What figures depend on beside the load: kernel, CPU, how many are online, what an idle core does; always 1.",
);
pub(super) const INTERFACE: Family = gauge(
    "ringway_interface_info",
    "An interface and how it is used: driver, native or skb, copy or zero-copy, queues served, largest IP packet in bytes; always 1.",
);
pub(super) const CORE: Family =
    gauge("ringway_core_info", "A core of the engine, and the CPU its thread is kept on, if it is kept on one; always 1.");
pub(super) const ASKED: Family =
    gauge("ringway_scrape_duration_seconds", "How long it took to ask the engines for these figures.");
pub(super) const CORE_UP: Family =
    gauge("ringway_core_up", "1 when the engine of the core answered, 0 when it did not, and its figures are missing.");
pub(super) const CPU: Family =
    counter("ringway_cpu_seconds_total", "CPU time of the core's thread since that began, softirq work charged to it included.");
pub(super) const DROPS: Family =
    counter("ringway_drops_total", "Frames, packets and datagrams dropped, by cause; the causes are explained at /.");
pub(super) const EVENTS: Family =
    counter("ringway_tcp_events_total", "What happened to connections, by event; the events are explained at /.");
pub(super) const CONNECTIONS: Family = gauge("ringway_tcp_connections", "Connections by state (RFC 9293 3.3.2).");
pub(super) const RESTING: Family =
    gauge("ringway_tcp_connections_resting", "Connections at rest, whose TCBs are folded; they are among those by state.");
pub(super) const BUFFERED: Family = gauge("ringway_tcp_buffer_used_bytes", "Bytes of stream buffers in use.");
pub(super) const BUFFERS: Family =
    gauge("ringway_tcp_buffer_allocated_bytes", "Bytes of stream buffers that were made, as many as were in use at most.");
pub(super) const NEIGHBORS: Family = gauge(
    "ringway_neighbors",
    "Neighbours remembered, on all interfaces. Each core knows them for itself: of several the most count.",
);
pub(super) const KEPT: Family = gauge("ringway_udp_datagrams_held", "Datagrams that services hold at the moment.");
pub(super) const TIMERS: Family = gauge("ringway_timers", "Timers that are armed.");
pub(super) const TURN_DURATION: Family = histogram(
    "ringway_turn_duration_seconds",
    "How long turns that received frames took, from the first burst to the end of the kick: of every 64th of them.",
);
pub(super) const TURN_FRAMES: Family =
    histogram("ringway_turn_frames", "Frames that a turn received: of the turns that were timed.");
pub(super) const HANDSHAKES: Family = histogram(
    "ringway_tcp_handshake_duration_seconds",
    "Time from the first SYN to the end of a handshake, by who opened; those that a cookie stood in for are not among them.",
);
pub(super) const SMOOTHED_RTT: Family = histogram(
    "ringway_tcp_smoothed_rtt_seconds",
    "Smoothed round-trip times (RFC 6298) of up to 64 connections of a core at each look, all of them in turn.",
);
pub(super) const FRAMES: Family = gauge(
    "ringway_queue_frames",
    "Frames of the queue's packet memory by where they are: free, with the receive side, with the transmit side, outside (in the engine's or a service's hands).",
);
pub(super) const STEERING: Family = counter(
    "ringway_steering_frames_total",
    "What the XDP program of an interface did with frames, by cause; the causes are explained at /.",
);
