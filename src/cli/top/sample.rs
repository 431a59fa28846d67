//! What an interval of a running process comes to: the differences of two readings.
//!
//! A [`Reading`] is what one worker tells, all of it counted since its start; two of them make [`Rates`], by the engine's own clock, and histograms of the time
//! between. [`Sampler`] puts the readings of all workers together. Called by `ask`; values in, values out. Nothing here panics on what a process tells.

use std::collections::BTreeMap;
use std::time::Duration;

use ringway::metrics::histogram::supported;
use ringway::tcp::State;
use serde::{Deserialize, Serialize, Serializer};

use super::flows::{Flow, Flows, Row};

/// Counts by name.
type Counts = BTreeMap<String, u64>;

/// What one worker has counted since its start, as a process tells it. A field that is missing counts as nothing: a process may be of another version.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reading {
    worker: usize,
    answers: bool,
    states: Option<Counts>,
    counted_ns: u64,
    counters: Counts,
    drops: Counts,
    device: Counts,
    tcp: Tables,
    turn_ns: Cumulative,
    turn_frames: Cumulative,
    accepted_ns: Cumulative,
    opened_ns: Cumulative,
    wall_ns: u64,
    cpu_ns: u64,
}

/// The tables of connections.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Tables {
    /// Those in TIME-WAIT among them.
    open: u64,
    resting: u64,
}

/// A histogram: each bound, with how many values were not above it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Cumulative {
    at_most: Vec<(u64, u64)>,
    count: u64,
}

impl Cumulative {
    /// What was counted since.
    fn since(&self, before: &Self) -> Self {
        let earlier = |bound| before.at_most.iter().find(|(other, _)| *other == bound).map_or(0, |&(_, count)| count);
        let at_most = self.at_most.iter().map(|&(bound, count)| (bound, count.saturating_sub(earlier(bound)))).collect();
        Self { at_most, count: self.count.saturating_sub(before.count) }
    }

    fn add(&mut self, other: Self) {
        if self.at_most.is_empty() {
            *self = other;
            return;
        }
        self.at_most.iter_mut().zip(other.at_most).for_each(|((_, own), (_, others))| *own = own.saturating_add(others));
        self.count = self.count.saturating_add(other.count);
    }

    /// In which bucket the quantile lies.
    fn quantile(&self, q: f64) -> Quantile {
        if !supported(self.count, q) {
            return Quantile::Unknown;
        }
        let rank = ((q * self.count as f64).ceil() as u64).max(1);
        match self.at_most.iter().find(|(_, count)| *count >= rank) {
            Some(&(bound, _)) => Quantile::AtMost(bound),
            None => self.at_most.last().map_or(Quantile::Unknown, |&(bound, _)| Quantile::Above(bound)),
        }
    }
}

/// What is known of a quantile: `null`, or an object with one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantile {
    /// Too few values.
    Unknown,
    Is(u64),
    /// The bound of its bucket.
    AtMost(u64),
    /// Above all buckets.
    Above(u64),
}

impl Serialize for Quantile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => serializer.serialize_none(),
            Self::Is(value) => serializer.collect_map([("is", value)]),
            Self::AtMost(value) => serializer.collect_map([("at_most", value)]),
            Self::Above(value) => serializer.collect_map([("above", value)]),
        }
    }
}

/// What one worker did in an interval, or all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    /// Of its turns, those that found work.
    pub(super) busy_share: f64,
    /// Of a core's time, what its thread used; of all together the sum.
    pub(super) cpu_share: f64,
    pub(super) received_frames_per_second: f64,
    pub(super) received_bytes_per_second: f64,
    pub(super) sent_frames_per_second: f64,
    pub(super) sent_bytes_per_second: f64,
    pub(super) tcp_segments_per_second: f64,
    pub(super) udp_datagrams_per_second: f64,
    pub(super) drops_per_second: f64,
    /// Connections begun, by peers and by services.
    pub(super) begun_per_second: f64,
    /// Connections that were removed.
    pub(super) ended_per_second: f64,
    pub(super) retransmitted_per_second: f64,
}

impl Rates {
    fn between(before: &Reading, now: &Reading, seconds: f64) -> Self {
        let since = |of: fn(&Reading) -> &Counts, names: &[&str]| -> f64 {
            let count = |counts: &Counts, name: &str| counts.get(name).copied().unwrap_or(0);
            names.iter().map(|name| count(of(now), name).saturating_sub(count(of(before), name)) as f64).sum()
        };
        let counters = |names| since(|reading| &reading.counters, names) / seconds;
        let device = |names| since(|reading| &reading.device, names) / seconds;
        let turns = counters(&["turns"]);
        Self {
            busy_share: if turns > 0.0 { counters(&["busy_turns"]) / turns } else { 0.0 },
            cpu_share: now.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9 / seconds,
            received_frames_per_second: device(&["received"]),
            received_bytes_per_second: device(&["received_bytes"]),
            sent_frames_per_second: device(&["transmitted"]),
            sent_bytes_per_second: device(&["transmitted_bytes"]),
            tcp_segments_per_second: counters(&["tcp_received", "tcp_sent"]),
            udp_datagrams_per_second: counters(&["udp_received", "udp_in_frame", "udp_sent"]),
            drops_per_second: lost(before, now).values().map(|(since, _)| *since as f64).sum::<f64>() / seconds,
            begun_per_second: counters(&["tcp_accepted", "tcp_opened"]),
            ended_per_second: counters(&["tcp_removed"]),
            retransmitted_per_second: counters(&["tcp_retransmitted"]),
        }
    }

    fn add(&mut self, other: &Self) {
        let Self {
            busy_share: _,
            cpu_share,
            received_frames_per_second,
            received_bytes_per_second,
            sent_frames_per_second,
            sent_bytes_per_second,
            tcp_segments_per_second,
            udp_datagrams_per_second,
            drops_per_second,
            begun_per_second,
            ended_per_second,
            retransmitted_per_second,
        } = self;
        *cpu_share += other.cpu_share;
        *received_frames_per_second += other.received_frames_per_second;
        *received_bytes_per_second += other.received_bytes_per_second;
        *sent_frames_per_second += other.sent_frames_per_second;
        *sent_bytes_per_second += other.sent_bytes_per_second;
        *tcp_segments_per_second += other.tcp_segments_per_second;
        *udp_datagrams_per_second += other.udp_datagrams_per_second;
        *drops_per_second += other.drops_per_second;
        *begun_per_second += other.begun_per_second;
        *ended_per_second += other.ended_per_second;
        *retransmitted_per_second += other.retransmitted_per_second;
    }
}

/// What was dropped, by cause: since the reading before, and in all. What the rings lost counts as well.
fn lost(before: &Reading, now: &Reading) -> BTreeMap<String, (u64, u64)> {
    let of = |counts: &Counts, name: &str| counts.get(name).copied().unwrap_or(0);
    let rings = LOST_BY_RINGS.iter().map(|&name| (name, of(&before.device, name), of(&now.device, name)));
    let drops = now.drops.iter().map(|(name, &count)| (name.as_str(), of(&before.drops, name), count));
    drops
        .chain(rings)
        .filter(|&(.., now)| now > 0)
        .map(|(name, before, now)| (name.to_owned(), (now.saturating_sub(before), now)))
        .collect()
}

/// One worker in a sample.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Core {
    pub(super) worker: usize,
    /// False when it did not answer.
    pub(super) answers: bool,
    /// Connections, those at rest and in TIME-WAIT among them.
    pub(super) connections: u64,
    pub(super) resting: u64,
    /// `None` in the first sample, and of one that has not answered twice.
    pub(super) rates: Option<Rates>,
}

/// Frames that were dropped for a cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Lost {
    pub(super) cause: String,
    pub(super) per_second: f64,
    /// Since the start.
    pub(super) total: u64,
}

/// A distribution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Timing {
    /// What of, with the unit of time as its end where it is one.
    pub(super) name: &'static str,
    pub(super) count: u64,
    pub(super) p50: Quantile,
    pub(super) p99: Quantile,
    pub(super) p999: Quantile,
}

/// Connections in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct InState {
    pub(super) state: &'static str,
    pub(super) connections: u64,
}

/// Everything of one interval. Its fields are the contract of `ringway top --json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    /// From 0, which is before the first interval is over: rates are missing.
    pub(super) number: u64,
    /// Since the first sample.
    pub(super) at_seconds: f64,
    pub(super) cores: Vec<Core>,
    /// All that answered, together.
    pub(super) total: Option<Rates>,
    pub(super) drops: Vec<Lost>,
    pub(super) timings: Vec<Timing>,
    pub(super) states: Vec<InState>,
    /// How long ago connections were last counted by state.
    pub(super) states_age_seconds: f64,
    /// Connections, those at rest among them.
    pub(super) connections: u64,
    pub(super) resting: u64,
    /// In no order.
    pub(super) flows: Vec<Flow>,
}

/// Makes samples of readings, one after the other.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    before: Vec<Reading>,
    flows: Flows,
    states: Counts,
    /// When they were counted, and how long that took; `None` before the first time.
    counted: Option<(Duration, Duration)>,
    number: u64,
}

impl Sampler {
    /// Whether connections are to be counted by state again: that takes no more than a twentieth of the time.
    pub(super) fn wants_states(&self, at: Duration) -> bool {
        self.counted.is_none_or(|(before, took)| at.saturating_sub(before) >= took.saturating_mul(STATES_SHARE))
    }

    /// Where the next question about flows begins, at each worker.
    pub(super) fn places(&self) -> Vec<u64> {
        self.flows.places()
    }

    /// Takes the rows of flows, and where the answer ended.
    pub(super) fn take_flows(&mut self, rows: Vec<Row>, next: &[u64]) {
        self.flows.take(rows, next);
    }

    /// The sample that these readings end; `at` is the time since the first one.
    pub(super) fn next(&mut self, readings: Vec<Reading>, at: Duration) -> Sample {
        if readings.iter().any(|reading| reading.states.is_some()) {
            self.states.clear();
            for (name, count) in readings.iter().filter_map(|reading| reading.states.as_ref()).flatten() {
                let all = self.states.entry(name.clone()).or_default();
                *all = all.saturating_add(*count);
            }
            let took = readings.iter().map(|reading| reading.counted_ns).fold(0, u64::saturating_add);
            self.counted = Some((at, Duration::from_nanos(took)));
        }
        let pairs: Vec<_> = readings.iter().map(|now| (self.before_of(now), now)).collect();
        let cores: Vec<_> = pairs
            .iter()
            .map(|&(before, now)| Core {
                worker: now.worker,
                answers: now.answers,
                connections: now.tcp.open,
                resting: now.tcp.resting,
                rates: before.map(|(before, seconds)| Rates::between(before, now, seconds)),
            })
            .collect();
        let flows = self.flows.shown();
        let sample = Sample {
            number: self.number,
            at_seconds: at.as_secs_f64(),
            total: together(&pairs),
            drops: drops(&pairs),
            timings: timings(&pairs, &flows),
            states: State::ALL
                .iter()
                .filter_map(|state| Some(InState { state: state.name(), connections: *self.states.get(state.name())? }))
                .collect(),
            states_age_seconds: self.counted.map_or(0.0, |(counted, _)| at.saturating_sub(counted).as_secs_f64()),
            connections: cores.iter().map(|core| core.connections).fold(0, u64::saturating_add),
            resting: cores.iter().map(|core| core.resting).fold(0, u64::saturating_add),
            cores,
            flows,
        };
        self.number += 1;
        self.before = readings;
        sample
    }

    /// The reading of the same worker before, and the seconds between, if both are there. A process that was started anew begins anew.
    fn before_of(&self, now: &Reading) -> Option<(&Reading, f64)> {
        let before = self.before.iter().find(|before| before.worker == now.worker)?;
        let passed = now.wall_ns.checked_sub(before.wall_ns).filter(|&ns| ns > 0 && now.answers && before.answers)?;
        Some((before, passed as f64 / 1e9))
    }
}

/// A reading with the one before, if there is one, and the seconds between.
type Pair<'a> = (Option<(&'a Reading, f64)>, &'a Reading);

fn together(pairs: &[Pair<'_>]) -> Option<Rates> {
    let answered = pairs.iter().filter_map(|&(before, now)| before.map(|(before, seconds)| (before, now, seconds)));
    let mut total: Option<Rates> = None;
    let (mut turns, mut busy) = (0_u64, 0_u64);
    for (before, now, seconds) in answered {
        total.get_or_insert_default().add(&Rates::between(before, now, seconds));
        let since = |name: &str| {
            let count = |reading: &Reading| reading.counters.get(name).copied().unwrap_or(0);
            count(now).saturating_sub(count(before))
        };
        turns = turns.saturating_add(since("turns"));
        busy = busy.saturating_add(since("busy_turns"));
    }
    if let Some(total) = &mut total {
        total.busy_share = busy as f64 / turns.max(1) as f64;
    }
    total
}

/// The most in the interval first, then the most in all.
fn drops(pairs: &[Pair<'_>]) -> Vec<Lost> {
    let mut causes: BTreeMap<String, Lost> = BTreeMap::new();
    for &(before, now) in pairs {
        for (cause, (since, total)) in lost(before.map_or(now, |(before, _)| before), now) {
            let per_second = before.map_or(0.0, |(_, seconds)| since as f64 / seconds);
            let entry = causes.entry(cause.clone()).or_insert(Lost { cause, per_second: 0.0, total: 0 });
            entry.per_second += per_second;
            entry.total = entry.total.saturating_add(total);
        }
    }
    let mut causes: Vec<_> = causes.into_values().collect();
    causes.sort_by(|a, b| b.per_second.total_cmp(&a.per_second).then(b.total.cmp(&a.total)));
    causes
}

fn timings(pairs: &[Pair<'_>], flows: &[Flow]) -> Vec<Timing> {
    let of = |name, part: fn(&Reading) -> &Cumulative| {
        let mut sum = Cumulative::default();
        for (before, now) in pairs.iter().filter_map(|&(before, now)| Some((before?.0, now))) {
            sum.add(part(now).since(part(before)));
        }
        let [p50, p99, p999] = QUANTILES.map(|q| sum.quantile(q));
        Timing { name, count: sum.count, p50, p99, p999 }
    };
    let mut srtt: Vec<_> = flows.iter().filter_map(|flow| flow.srtt_ns).collect();
    srtt.sort_unstable();
    let [p50, p99, p999] = QUANTILES.map(|q| {
        let count = srtt.len();
        let rank = ((q * count as f64).ceil() as usize).max(1);
        let value = srtt.get(rank - 1).filter(|_| supported(count as u64, q));
        value.map_or(Quantile::Unknown, |&ns| Quantile::Is(ns))
    });
    vec![
        of("turn_ns", |reading| &reading.turn_ns),
        of("turn_frames", |reading| &reading.turn_frames),
        of("accepted_ns", |reading| &reading.accepted_ns),
        of("opened_ns", |reading| &reading.opened_ns),
        Timing { name: "srtt_ns", count: srtt.len() as u64, p50, p99, p999 },
    ]
}

const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
/// Counts of queues that are frames lost before anybody saw them.
const LOST_BY_RINGS: [&str; 4] = ["fill_ring_empty", "receive_ring_full", "receive_dropped", "invalid_descriptors"];
/// Of so many parts of the time, one is for counting connections.
const STATES_SHARE: u32 = 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reading(worker: usize, wall_ms: u64, turns: u64, bounds: [u64; 3]) -> Reading {
        serde_json::from_value(json!({
            "worker": worker, "answers": true, "states": { "ESTABLISHED": turns, "TIME-WAIT": 1 }, "counted_ns": 1_000_000,
            "counters": { "turns": turns, "busy_turns": turns / 4, "tcp_received": turns, "tcp_sent": turns, "unheard_of": 5 },
            "drops": { "tcp_port_closed": turns / 10 }, "device": { "received": turns, "received_bytes": turns * 100, "fill_ring_empty": 7 },
            "tcp": { "open": 9, "time_wait": 0, "resting": 4 },
            "turn_ns": { "at_most": [[1000, bounds[0]], [2000, bounds[1]]], "count": bounds[2] },
            "wall_ns": wall_ms * 1_000_000, "cpu_ns": wall_ms * 500_000,
        }))
        .unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_sample_is_of_the_time_between_two_readings() {
        let mut sampler = Sampler::default();
        let first = sampler.next(vec![reading(0, 1_000, 100, [5, 5, 5]), reading(1, 1_000, 0, [0, 0, 0])], seconds(0));
        assert_eq!((first.number, first.total, first.cores[0].rates), (0, None, None));
        assert_eq!((first.connections, first.resting), (18, 8));
        let second = sampler.next(vec![reading(0, 3_000, 500, [5, 205, 205]), reading(1, 2_000, 1000, [0, 0, 100])], seconds(2));
        let [one, other] = [0, 1].map(|core| second.cores[core].rates.unwrap());
        assert_eq!((one.busy_share, one.cpu_share, one.received_frames_per_second), (0.25, 0.5, 200.0));
        assert_eq!((other.received_bytes_per_second, other.tcp_segments_per_second), (100_000.0, 2000.0));
        let total = second.total.unwrap();
        assert_eq!((total.busy_share, total.cpu_share, total.received_frames_per_second), (0.25, 1.0, 1200.0));
        assert_eq!(total.drops_per_second, 20.0 + 100.0);
        assert_eq!(
            second.drops,
            [("tcp_port_closed", 120.0, 150), ("fill_ring_empty", 0.0, 14)].map(|(cause, per_second, total)| Lost {
                cause: cause.to_owned(),
                per_second,
                total
            })
        );
        assert_eq!(
            second.states,
            [("ESTABLISHED", 1500), ("TIME-WAIT", 2)].map(|(state, connections)| InState { state, connections })
        );
        // 200 between 1 and 2 us, 100 above.
        let turns = &second.timings[0];
        assert_eq!((turns.count, turns.p50, turns.p99), (300, Quantile::AtMost(2000), Quantile::Above(2000)));
        assert_eq!((turns.p999, second.timings[2].p50), (Quantile::Unknown, Quantile::Unknown));
    }

    #[test]
    fn who_does_not_answer_or_was_started_anew_has_no_rates() {
        let mut sampler = Sampler::default();
        let silent = Reading { worker: 1, ..Reading::default() };
        sampler.next(vec![reading(0, 5_000, 100, [0, 0, 0]), silent.clone()], seconds(0));
        let sample = sampler.next(vec![reading(0, 1_000, 10, [0, 0, 0]), reading(1, 1_000, 10, [0, 0, 0])], seconds(1));
        assert!(sample.total.is_none() && sample.cores.iter().all(|core| core.rates.is_none()));
        let sample = sampler.next(vec![reading(0, 2_000, 20, [0, 0, 0]), silent], seconds(2));
        assert_eq!(
            sample.cores.iter().map(|core| (core.answers, core.rates.is_some())).collect::<Vec<_>>(),
            [(true, true), (false, false)]
        );
        assert!(sample.total.is_some_and(|total| total.received_frames_per_second == 10.0));
    }

    #[test]
    fn counting_by_state_takes_a_twentieth_of_the_time() {
        let mut sampler = Sampler::default();
        assert!(sampler.wants_states(seconds(0)));
        let long = Reading { counted_ns: 300_000_000, ..reading(0, 1_000, 3, [0, 0, 0]) };
        sampler.next(vec![long], seconds(1));
        assert!(!sampler.wants_states(seconds(6)) && sampler.wants_states(seconds(7)));
        let brief = Reading { states: None, ..reading(0, 2_000, 9, [0, 0, 0]) };
        let sample = sampler.next(vec![brief], seconds(4));
        assert_eq!((sample.states[0].connections, sample.states_age_seconds), (3, 3.0), "as they were");
    }

    #[test]
    fn a_quantile_says_what_it_is() {
        let shown = [Quantile::Unknown, Quantile::Is(5), Quantile::AtMost(6), Quantile::Above(7)];
        assert_eq!(serde_json::to_value(shown).unwrap(), json!([null, { "is": 5 }, { "at_most": 6 }, { "above": 7 }]));
    }
}
