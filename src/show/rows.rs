//! The objects of an answer. Their fields are the contract of `ringway show --json`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::demux::directory::Card;
use crate::device::DeviceStats;
use crate::engine::buckets::{Buckets, Histograms};
use crate::engine::counters::Counters;
use crate::engine::inquiry::{ListenerFigures, NeighborFigures};
use crate::engine::report::{QueueReport, Report, TcpReport};
use crate::link::routes::Route;
use crate::metrics::row::SCHEMA;
use crate::tcp::State;
use crate::tcp::figures::Figures;

/// A row, with what every event begins with.
#[derive(Serialize)]
pub(super) struct Event<T> {
    schema: u32,
    event: &'static str,
    #[serde(flatten)]
    row: T,
}

impl<T: Serialize> Event<T> {
    /// Adds the line of a row.
    pub(super) fn write(event: &'static str, row: T, out: &mut Vec<u8>) {
        let before = out.len();
        if serde_json::to_writer(&mut *out, &Self { schema: SCHEMA, event, row }).is_err() {
            // Not even half a line is left.
            out.truncate(before);
            return;
        }
        out.push(b'\n');
    }
}

/// A connection.
#[derive(Serialize)]
pub(super) struct Connection<'a> {
    state: &'static str,
    local: SocketAddr,
    remote: SocketAddr,
    interface: &'a str,
    worker: u16,
    age_ns: u64,
    #[serde(flatten)]
    figures: Option<Inside>,
}

/// What its owner tells of it.
#[derive(Serialize)]
struct Inside {
    receive_queue: usize,
    send_queue: usize,
    congestion: &'static str,
    cwnd: u32,
    ssthresh: Option<u32>,
    srtt_ns: Option<u64>,
    rto_ns: u64,
    mss: u16,
    retransmitted: u64,
    snd_una: u32,
    rcv_nxt: u32,
}

impl<'a> Connection<'a> {
    pub(super) fn new(card: &Card, age_ns: u64, interface: &'a str, figures: Option<&Figures>) -> Self {
        Self {
            state: figures.map_or(card.state, |figures| figures.state).name(),
            local: card.key.local_socket(),
            remote: card.key.remote_socket(),
            interface,
            worker: card.owner,
            age_ns,
            figures: figures.map(|figures| Inside {
                receive_queue: figures.unread,
                send_queue: figures.unacknowledged,
                congestion: figures.congestion.name(),
                cwnd: figures.cwnd,
                ssthresh: figures.ssthresh,
                srtt_ns: figures.srtt_ns,
                rto_ns: figures.rto_ns,
                mss: figures.mss,
                retransmitted: figures.retransmitted,
                snd_una: figures.snd_una.0,
                rcv_nxt: figures.rcv_nxt.0,
            }),
        }
    }
}

/// A connection that is not at rest.
#[derive(Serialize)]
pub(super) struct Awake<'a> {
    /// Its slot and how often that was used: no other connection of the worker has both.
    id: [u32; 2],
    #[serde(flatten)]
    connection: Connection<'a>,
}

impl<'a> Awake<'a> {
    pub(super) fn new(card: &Card, age_ns: u64, interface: &'a str, figures: &Figures) -> Self {
        let id = [card.id.slot, card.id.generation];
        Self { id, connection: Connection::new(card, age_ns, interface, Some(figures)) }
    }
}

/// A listener or an endpoint.
#[derive(Serialize)]
pub(super) struct Listener {
    transport: &'static str,
    local: String,
    worker: usize,
    half_open: Option<usize>,
    backlog: Option<usize>,
    peer: Option<SocketAddr>,
}

impl Listener {
    pub(super) fn new(worker: usize, of: &ListenerFigures) -> Self {
        let local = of.address.map_or_else(|| format!("*:{}", of.port), |address| SocketAddr::new(address, of.port).to_string());
        Self {
            transport: of.transport,
            local,
            worker,
            half_open: of.half_open,
            backlog: of.backlog,
            peer: of.peer.map(|(address, port)| SocketAddr::new(address, port)),
        }
    }
}

/// What one worker has counted.
#[derive(Serialize)]
pub(super) struct Counted {
    worker: usize,
    counters: Counters,
    drops: BTreeMap<&'static str, u64>,
    tcp_events: BTreeMap<&'static str, u64>,
    tcp: TcpReport,
    neighbors: usize,
    kept: usize,
    timers: usize,
    busy_share: f64,
}

impl Counted {
    /// `waiting` of its connections are in TIME-WAIT.
    pub(super) fn new(worker: usize, waiting: usize, report: Report) -> Self {
        let Report { counters, drops, tcp_events, tcp, neighbors, kept, timers, busy_share, .. } = report;
        let tcp = TcpReport { open: tcp.open.saturating_sub(waiting), time_wait: waiting, ..tcp };
        Self { worker, counters, drops, tcp_events, tcp, neighbors, kept, timers, busy_share }
    }
}

/// Everything that one worker has counted and timed since its start.
#[derive(Serialize)]
pub(super) struct Figured {
    worker: usize,
    /// False when it did not answer: then the rest is missing.
    answers: bool,
    /// Connections by state, those that there are.
    states: Option<BTreeMap<&'static str, u64>>,
    /// How long it took to count these.
    counted_ns: u64,
    #[serde(flatten)]
    report: Option<Told>,
}

/// What the worker itself tells.
#[derive(Serialize)]
struct Told {
    counters: Counters,
    drops: BTreeMap<&'static str, u64>,
    /// Of all its queues.
    device: DeviceStats,
    tcp: TcpReport,
    turn_ns: Cumulative,
    turn_frames: Cumulative,
    accepted_ns: Cumulative,
    opened_ns: Cumulative,
    wall_ns: u64,
    cpu_ns: u64,
}

/// A histogram: each bound, with how many values were not above it.
#[derive(Serialize)]
struct Cumulative {
    at_most: Vec<(u64, u64)>,
    count: u64,
}

impl<const BOUNDS: usize> From<&Buckets<BOUNDS>> for Cumulative {
    fn from(of: &Buckets<BOUNDS>) -> Self {
        Self { at_most: of.cumulative().collect(), count: of.len() }
    }
}

impl Figured {
    pub(super) fn new(worker: usize, states: Option<[u64; State::ALL.len()]>, counted_ns: u64, report: Option<Report>) -> Self {
        let named = |states| State::ALL.iter().map(|state| state.name()).zip(states).filter(|&(_, count)| count > 0).collect();
        let report = report.map(|report| {
            let Report { counters, histograms, drops, tcp, queues, wall_ns, cpu_ns, .. } = report;
            let mut device = DeviceStats::default();
            queues.iter().for_each(|queue| device.add(&queue.stats));
            let Histograms { turn_ns, turn_frames, accepted_ns, opened_ns } = &histograms;
            let [turn_ns, accepted_ns, opened_ns] = [turn_ns, accepted_ns, opened_ns].map(Cumulative::from);
            Told {
                counters,
                drops,
                device,
                tcp,
                turn_ns,
                turn_frames: turn_frames.into(),
                accepted_ns,
                opened_ns,
                wall_ns,
                cpu_ns,
            }
        });
        Self { worker, answers: report.is_some(), states: states.map(named), counted_ns, report }
    }
}

/// A queue.
#[derive(Serialize)]
pub(super) struct Queue<'a> {
    name: &'a str,
    worker: usize,
    #[serde(flatten)]
    queue: QueueReport,
}

impl<'a> Queue<'a> {
    pub(super) const fn new(worker: usize, name: &'a str, queue: QueueReport) -> Self {
        Self { name, worker, queue }
    }
}

/// A neighbour, as one worker knows it.
#[derive(Serialize)]
pub(super) struct Neighbor<'a> {
    interface: &'a str,
    worker: usize,
    address: IpAddr,
    mac: Option<String>,
    state: &'static str,
}

impl<'a> Neighbor<'a> {
    pub(super) fn new(worker: usize, interface: &'a str, of: &NeighborFigures) -> Self {
        Self { interface, worker, address: of.ip, mac: of.mac.map(|mac| mac.to_string()), state: of.state }
    }
}

/// A route, the same at all workers.
#[derive(Serialize)]
pub(super) struct Hop<'a> {
    interface: &'a str,
    to: String,
    via: Option<IpAddr>,
    source: Option<IpAddr>,
}

impl<'a> Hop<'a> {
    pub(super) fn new(interface: &'a str, route: &Route) -> Self {
        Self { interface, to: route.to.to_string(), via: route.via, source: route.source }
    }
}

/// The last line of an answer.
#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) rows: u64,
    /// There are more than were asked for.
    pub(super) more: bool,
    /// Where to go on, of each worker: the numbers from which on nothing of the recorders has been told; of those awake the next place, 0 behind the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) next: Vec<u64>,
}

/// Why there is no answer, or no more of it.
#[derive(Serialize)]
pub(super) struct Refused<'a> {
    pub(super) what: &'a str,
    pub(super) why: String,
}
