//! A row of a report: what was measured, under which load, with which losses.
//!
//! The field names and units are a contract with the programs that read `--json` and `result.json`; a change of
//! meaning raises [`SCHEMA`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the JSON that Ringway prints and writes.
pub const SCHEMA: u32 = 1;

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `tcp`, `udp` or `raw`.
    pub transport: String,
    /// `ringway`, `kernel`, `kernel-spin` or `raw`.
    pub client_stack: String,
    /// The same of the server; empty when the client cannot know.
    pub server_stack: String,
    /// `closed` (`closed in-flight=8` with more than one unanswered message per connection) or `open`, with
    /// `churn=client|server|rst` behind it where connections come and go, and `ramp` where they are opened at a rate and held.
    pub mode: String,
    /// Connections (TCP) or sockets (UDP) at once.
    pub connections: u64,
    /// Payload bytes of a message.
    pub size: u64,
    /// Messages that were due per second; `None` in a closed loop.
    pub offered_per_s: Option<f64>,
    /// Messages sent after the warm-up.
    pub sent: u64,
    /// Answers received in time.
    pub received: u64,
    /// Messages due without an answer within one second of their due time: received + lost are all that were due.
    pub lost: u64,
    /// Of the lost ones, those whose answer came after that second.
    pub late: u64,
    /// Answers that came more than once.
    pub duplicated: u64,
    /// Answers per second.
    pub rate_per_s: f64,
    /// Round-trip time from the moment a message was due (open loop); `None` in a closed loop, which has no due time.
    pub rtt_ns: Option<Percentiles>,
    /// Round-trip time from the moment a message was sent.
    pub rtt_uncorrected_ns: Option<Percentiles>,
    /// From the planned SYN to ESTABLISHED at the client.
    pub connect_ns: Option<Percentiles>,
    /// From the client's half-close until it reads the end of the stream.
    pub close_ns: Option<Percentiles>,
    /// CPU time of the thread per message, softirq charged to it included.
    pub cpu_ns_per_message: Sides,
    /// Share of the loop's turns that found work, for spinning threads.
    pub busy_share: Sides,
    /// Packets of the client's interface, both ways, per message.
    pub packets_per_message: Option<f64>,
    /// Drops by cause.
    pub drops: BTreeMap<String, u64>,
    /// What became of connections that were opened at a set rate and held; `None` where they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
}

/// Connections opened at a set rate and held. Those that were tried are opened + refused + timed out, and some of the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// Connections due per second.
    pub offered_per_s: f64,
    /// Handshakes that were completed.
    pub opened: u64,
    /// SYNs that a RST answered.
    pub refused: u64,
    /// Connections that a RST ended later.
    pub reset: u64,
    /// Handshakes that took too long, and connections whose peer fell silent.
    pub timed_out: u64,
    /// Connections that the server closed before it was asked to.
    pub closed_early: u64,
    /// Connections that failed for another reason.
    pub other: u64,
    /// Connections that were open at the end of the run, before they were closed.
    pub open: u64,
    /// How many of them were to carry messages.
    pub active: u64,
    /// From the start of the ramp until the last handshake was over.
    pub seconds: f64,
    /// Length of a window.
    pub window_s: f64,
    /// Connections opened per second in each window; in the last of very many, all that came after.
    pub opened_per_s: Vec<f64>,
}

/// A figure of the client and of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sides {
    /// The client's; `None` where unknown.
    pub client: Option<f64>,
    /// The server's; `None` where unknown.
    pub server: Option<f64>,
}

/// A latency distribution in nanoseconds. `None` where the count does not support the percentile, or unanswered messages
/// could change it (text output then prints the known lower bound with `>=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Values recorded.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p999: Option<u64>,
    /// 99.99th percentile.
    pub p9999: Option<u64>,
    /// Largest value.
    pub max: Option<u64>,
}
