//! What flows carry: the differences of what a process tells of them, sample after sample.
//!
//! A process tells of each connection how far it has come (SND.UNA, RCV.NXT), and how old it is; two such rows of the same connection make a rate. It may tell
//! of a part of them each time: then the next part follows in the next sample, and a sweep takes several. Called by [`super::sample`]. Pure; nothing here panics
//! on what a process tells, and it is bounded.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A connection, as a process tells of it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    /// Its slot, and how often that was used.
    id: [u32; 2],
    worker: usize,
    state: String,
    local: SocketAddr,
    remote: SocketAddr,
    age_ns: u64,
    receive_queue: u64,
    send_queue: u64,
    congestion: String,
    cwnd: u64,
    srtt_ns: Option<u64>,
    retransmitted: u64,
    snd_una: u32,
    rcv_nxt: u32,
}

/// Which connection: no other has these, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    worker: usize,
    slot: u32,
    generation: u32,
}

#[cfg(test)]
impl Id {
    /// The first connection in a slot.
    pub(super) const fn of_slot(slot: u32) -> Self {
        Self { worker: 0, slot, generation: 0 }
    }
}

/// A connection, and what it has carried since it was told of before. Its fields are the contract of `ringway top --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Flow {
    #[serde(skip)]
    pub(super) id: Id,
    pub(super) state: String,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) worker: usize,
    pub(super) age_ns: u64,
    /// Bytes that came in order; `None` of one that was told of for the first time.
    pub(super) received_bytes_per_second: Option<f64>,
    /// Bytes that the peer acknowledged.
    pub(super) acknowledged_bytes_per_second: Option<f64>,
    pub(super) retransmitted_per_second: Option<f64>,
    pub(super) receive_queue: u64,
    pub(super) send_queue: u64,
    pub(super) srtt_ns: Option<u64>,
    pub(super) congestion: String,
    pub(super) cwnd: u64,
}

impl Flow {
    /// Both ways together.
    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        Some(self.received_bytes_per_second? + self.acknowledged_bytes_per_second?)
    }
}

/// All that is known of flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    known: HashMap<Id, Known>,
    workers: Vec<Worker>,
}

/// Where the sweep through the connections of a worker is.
#[derive(Clone, Copy, Debug, Default)]
struct Worker {
    /// The place from which the next sample goes on.
    place: u64,
    /// Sweeps that are over.
    sweeps: u64,
}

#[derive(Debug)]
struct Known {
    flow: Flow,
    retransmitted: u64,
    snd_una: u32,
    rcv_nxt: u32,
    /// The sweep in which it was last told of.
    sweep: u64,
}

impl Flows {
    /// Where the next question begins, at each worker.
    pub(super) fn places(&self) -> Vec<u64> {
        self.workers.iter().map(|worker| worker.place).collect()
    }

    /// Takes the rows of an answer, and where it ended at each worker: 0 behind the last connection.
    pub(super) fn take(&mut self, rows: Vec<Row>, next: &[u64]) {
        self.workers.resize(next.len(), Worker::default());
        if self.known.len() + rows.len() > KNOWN_MAX {
            // Room is made of those that are not shown any more.
            let workers = &self.workers;
            self.known.retain(|id, known| workers.get(id.worker).is_some_and(|worker| known.sweep + 1 >= worker.sweeps));
        }
        for row in rows {
            self.take_row(row);
        }
        for (worker, &place) in self.workers.iter_mut().zip(next) {
            worker.place = place;
            worker.sweeps += u64::from(place == 0);
        }
        let workers = &self.workers;
        // One that rests for a while is told of again, and is then known from before.
        self.known.retain(|id, known| workers.get(id.worker).is_some_and(|worker| known.sweep + SWEEPS_KEPT >= worker.sweeps));
    }

    fn take_row(&mut self, row: Row) {
        let Some(&Worker { sweeps: sweep, .. }) = self.workers.get(row.worker) else { return };
        let id = Id { worker: row.worker, slot: row.id[0], generation: row.id[1] };
        if !self.known.contains_key(&id) && self.known.len() >= KNOWN_MAX {
            return;
        }
        // In SYN-SENT nothing is known of the peer's numbers yet.
        let before = self.known.get(&id).filter(|known| known.flow.state != "SYN-SENT");
        let seconds = before.map_or(0.0, |before| row.age_ns.saturating_sub(before.flow.age_ns) as f64 / 1e9);
        let rate =
            |count: fn(&Row, &Known) -> u64| before.filter(|_| seconds > 0.0).map(|known| count(&row, known) as f64 / seconds);
        let bytes = |count: fn(&Row, &Known) -> u64| rate(count).filter(|_| seconds <= SPAN_MAX_S);
        let flow = Flow {
            id,
            received_bytes_per_second: bytes(|row, known| row.rcv_nxt.wrapping_sub(known.rcv_nxt).into()),
            acknowledged_bytes_per_second: bytes(|row, known| row.snd_una.wrapping_sub(known.snd_una).into()),
            retransmitted_per_second: rate(|row, known| row.retransmitted.saturating_sub(known.retransmitted)),
            state: row.state,
            local: row.local,
            remote: row.remote,
            worker: row.worker,
            age_ns: row.age_ns,
            receive_queue: row.receive_queue,
            send_queue: row.send_queue,
            srtt_ns: row.srtt_ns,
            congestion: row.congestion,
            cwnd: row.cwnd,
        };
        let (retransmitted, snd_una, rcv_nxt) = (row.retransmitted, row.snd_una, row.rcv_nxt);
        self.known.insert(id, Known { flow, retransmitted, snd_una, rcv_nxt, sweep });
    }

    /// Those that were told of in the last sweep that is over, or in the present one.
    pub(super) fn shown(&self) -> Vec<Flow> {
        let is_shown =
            |known: &&Known| self.workers.get(known.flow.id.worker).is_some_and(|worker| known.sweep + 1 >= worker.sweeps);
        self.known.values().filter(is_shown).map(|known| known.flow.clone()).collect()
    }
}

/// Sweeps after which a connection that was not told of is forgotten.
const SWEEPS_KEPT: u64 = 8;
/// Over a longer time the numbers, which are of 32 bits, have come round who knows how often.
const SPAN_MAX_S: f64 = 61.0;
/// Connections that are known at most.
const KNOWN_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(slot: u32, generation: u32, age_ms: u64, rcv_nxt: u32, snd_una: u32) -> Row {
        Row {
            id: [slot, generation],
            worker: 0,
            state: "ESTABLISHED".to_owned(),
            local: "10.0.0.2:7".parse().unwrap(),
            remote: SocketAddr::new([10, 0, 0, 1].into(), 4000 + slot as u16),
            age_ns: age_ms * 1_000_000,
            receive_queue: 0,
            send_queue: 0,
            congestion: "cubic".to_owned(),
            cwnd: 14_480,
            srtt_ns: None,
            retransmitted: age_ms / 1000,
            snd_una,
            rcv_nxt,
        }
    }

    fn shown(flows: &Flows) -> Vec<(u16, Option<f64>, Option<f64>)> {
        let all = flows.shown();
        let mut all: Vec<_> = all
            .iter()
            .map(|flow| (flow.remote.port() - 4000, flow.received_bytes_per_second, flow.acknowledged_bytes_per_second))
            .collect();
        all.sort_by_key(|flow| flow.0);
        all
    }

    #[test]
    fn a_rate_that_could_be_wrong_by_4_gib_is_none() {
        let mut flows = Flows::default();
        flows.take(vec![row(1, 0, 0, 0, 0), row(2, 0, 0, 0, 0)], &[0]);
        let mut answered = row(2, 0, 1_000, 0, 0);
        answered.rcv_nxt = 3_000_000_000;
        flows.known.values_mut().filter(|known| known.flow.id.slot == 2).for_each(|known| known.flow.state = "SYN-SENT".into());
        flows.take(vec![row(1, 0, 62_000, 9, 9), answered], &[0]);
        let rates: Vec<_> =
            flows.shown().iter().map(|flow| (flow.received_bytes_per_second, flow.acknowledged_bytes_per_second)).collect();
        assert_eq!(rates, [(None, None); 2], "one was told of too long ago, of the other the peer's numbers were not known");
    }

    #[test]
    fn a_flow_told_twice_has_rates_over_its_own_time_and_across_the_end_of_numbers() {
        let mut flows = Flows::default();
        flows.take(vec![row(1, 0, 1_000, u32::MAX, 100)], &[0]);
        assert_eq!(shown(&flows), [(1, None, None)]);
        flows.take(vec![row(1, 0, 3_000, 999, 100)], &[0]);
        assert_eq!(shown(&flows), [(1, Some(500.0), Some(0.0))]);
        assert_eq!(flows.shown()[0].retransmitted_per_second, Some(1.0));
        assert_eq!(flows.shown()[0].bytes_per_second(), Some(500.0));
    }

    #[test]
    fn another_connection_in_the_same_slot_is_another() {
        let mut flows = Flows::default();
        flows.take(vec![row(1, 0, 1_000, 5, 5)], &[0]);
        flows.take(vec![row(1, 1, 1_500, 900_000, 5)], &[0]);
        assert_eq!(shown(&flows), [(1, None, None)], "and the one before is not told of any more");
    }

    #[test]
    fn one_that_rests_is_not_shown_and_known_when_it_is_back() {
        let mut flows = Flows::default();
        flows.take(vec![row(1, 0, 1_000, 0, 0), row(2, 0, 1_000, 0, 0)], &[0]);
        flows.take(vec![row(2, 0, 2_000, 0, 0)], &[0]);
        assert_eq!(shown(&flows), [(2, Some(0.0), Some(0.0))]);
        flows.take(vec![row(1, 0, 3_000, 400, 0)], &[0]);
        assert_eq!(shown(&flows), [(1, Some(200.0), Some(0.0))]);
        (0..=SWEEPS_KEPT).for_each(|_| flows.take(vec![], &[0]));
        assert!(flows.known.is_empty());
    }

    #[test]
    fn a_sweep_in_parts_shows_what_was_told_since_the_one_before() {
        let mut flows = Flows::default();
        flows.take(vec![row(1, 0, 0, 0, 0)], &[64]);
        assert_eq!(flows.places(), [64]);
        flows.take(vec![row(2, 0, 0, 0, 0)], &[0]);
        assert_eq!(shown(&flows).len(), 2);
        flows.take(vec![row(1, 0, 2_000, 10, 0)], &[64]);
        assert_eq!(shown(&flows), [(1, Some(5.0), Some(0.0)), (2, None, None)], "one of this sweep, one of the last");
        flows.take(vec![], &[0]);
        assert_eq!(shown(&flows).len(), 1, "the other was not told of again");
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_memory_is_bounded() {
        let mut flows = Flows::default();
        let stray = Row { worker: 7, ..row(1, 0, 0, 0, 0) };
        flows.take(vec![stray, row(1, 0, 9, 0, 0), row(1, 0, 3, 1, 1)], &[5]);
        assert_eq!(shown(&flows), [(1, None, None)], "no time has passed between the two");
        flows.take((0..KNOWN_MAX as u32 + 10).map(|slot| row(slot % 60_000, slot / 60_000, 1, 0, 0)).collect(), &[5]);
        assert_eq!(flows.known.len(), KNOWN_MAX);
        flows.take(vec![], &[]);
        assert!(flows.known.is_empty());
    }
}
