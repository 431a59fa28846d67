//! What a run gives: counts and distributions while it runs, a row of the report at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::pattern::Corrupt;
use super::plan::Plan;
use super::schedule;
use crate::cpu;
use crate::error::SetupError;
use crate::metrics::histogram::Recorder;
use crate::metrics::report::Entry;
use crate::metrics::row::{self, Row, Sides};

/// Counts and distributions of one run, without its warm-up.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the moment a message was due (open loop) to its answer, late answers included; empty in a closed loop.
    pub rtt: Recorder,
    /// From the moment a message was sent to its answer.
    pub rtt_uncorrected: Recorder,
    /// From the planned SYN to ESTABLISHED.
    pub connect: Recorder,
    /// From the client's half-close to the end of the peer's stream.
    pub close: Recorder,
    /// Messages sent.
    pub sent: u64,
    /// Answers within one second of the due time.
    pub received: u64,
    /// Messages due without an answer in that second, sent or not.
    pub lost: u64,
    /// Answers to lost messages that came after all.
    pub late: u64,
    /// Answers that came more than once.
    pub duplicated: u64,
    /// Answers with wrong bytes, or to nothing that was asked.
    pub corrupt: u64,
    /// The first of them.
    pub first_corrupt: Option<Corrupt>,
    /// The time in which `sent` counts: the plan's duration, or less when the run was stopped.
    pub measured: Duration,
    /// CPU time of the client's thread in that time; `None` where it was not measured.
    pub cpu_ns: Option<u64>,
    /// Share of the loop's turns that found work, for spinning threads.
    pub busy_share: Option<f64>,
    /// Packets of the client's interface in that time, both ways.
    pub packets: Option<u64>,
    /// Failures and drops by cause.
    pub drops: BTreeMap<String, u64>,
    /// What became of the connections of a ramp.
    pub ramp: Option<row::Ramp>,
}

impl Outcome {
    /// Counts failures of a cause.
    pub fn count_drops(&mut self, cause: &str, n: u64) {
        if n > 0 {
            *self.drops.entry(cause.to_owned()).or_default() += n;
        }
    }

    /// Counts an answer with wrong bytes.
    pub const fn count_corrupt(&mut self, what: Corrupt) {
        self.corrupt += 1;
        if self.first_corrupt.is_none() {
            self.first_corrupt = Some(what);
        }
    }

    /// Adds the outcome of another round of the same plan: times and counts add up.
    pub fn merge(&mut self, other: &Self) {
        self.rtt.merge(&other.rtt);
        self.rtt_uncorrected.merge(&other.rtt_uncorrected);
        self.connect.merge(&other.connect);
        self.close.merge(&other.close);
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.late += other.late;
        self.duplicated += other.duplicated;
        self.corrupt += other.corrupt;
        self.first_corrupt = self.first_corrupt.or(other.first_corrupt);
        self.measured += other.measured;
        self.cpu_ns = both(self.cpu_ns, other.cpu_ns);
        self.packets = both(self.packets, other.packets);
        self.busy_share = self.busy_share.zip(other.busy_share).map(|(a, b)| (a + b) / 2.0);
        for (cause, n) in &other.drops {
            self.count_drops(cause, *n);
        }
    }

    /// The reason why the run counts as failed: wrong bytes, or no answer at all. `None` when it is sound.
    pub fn failure(&self) -> Option<String> {
        if let Some(corrupt) = self.first_corrupt {
            return Some(format!("{} answer(s) with wrong bytes; the first: {corrupt}", self.corrupt));
        }
        match &self.ramp {
            Some(ramp) if ramp.opened == 0 => {
                let (refused, timed_out) = (ramp.refused, ramp.timed_out);
                return Some(format!("no connection was opened: refused {refused}, timed out {timed_out}, other {}", ramp.other));
            }
            // Nothing was to be said.
            Some(ramp) if ramp.active == 0 => return None,
            _ => {}
        }
        let causes = self.drops.iter().map(|(cause, n)| format!(", {cause} {n}")).collect::<String>();
        (self.received == 0).then(|| format!("no message was answered in time (sent {}, lost {}{causes})", self.sent, self.lost))
    }

    /// The row with its distributions, for a report.
    pub fn into_entry(self, plan: &Plan, client_stack: &str, server_stack: &str) -> Entry {
        let [rtt, uncorrected, connect, close] =
            [&self.rtt, &self.rtt_uncorrected, &self.connect, &self.close].map(Recorder::clone);
        Entry::new(self.into_row(plan, client_stack, server_stack), rtt, uncorrected, connect, close)
    }

    /// The row of the report. What only the server knows (its CPU time, its drops) is left open.
    pub fn into_row(self, plan: &Plan, client_stack: &str, server_stack: &str) -> Row {
        let seconds = self.measured.as_secs_f64();
        let mut drops = self.drops;
        if self.corrupt > 0 {
            drops.insert("corrupt_answer".into(), self.corrupt);
        }
        Row {
            transport: plan.carrier.name().into(),
            client_stack: client_stack.into(),
            server_stack: server_stack.into(),
            mode: plan.mode(),
            connections: plan.connections.into(),
            size: plan.size as u64,
            offered_per_s: plan.offered_per_s(),
            sent: self.sent,
            received: self.received,
            lost: self.lost,
            late: self.late,
            duplicated: self.duplicated,
            rate_per_s: if seconds > 0.0 { self.received as f64 / seconds } else { 0.0 },
            rtt_ns: plan.offered_per_s().and_then(|_| self.rtt.percentiles()),
            rtt_uncorrected_ns: self.rtt_uncorrected.percentiles(),
            connect_ns: self.connect.percentiles(),
            close_ns: self.close.percentiles(),
            cpu_ns_per_message: Sides { client: self.cpu_ns.and_then(|ns| cpu::per_message(ns, self.received)), server: None },
            busy_share: Sides { client: self.busy_share, server: None },
            packets_per_message: self.packets.filter(|_| self.received > 0).map(|n| n as f64 / self.received as f64),
            drops,
            ramp: self.ramp,
        }
    }
}

/// Why a run could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The command line or the machine does not allow it: exit code 2 or 3.
    Setup(SetupError),
    /// It was begun and failed: exit code 1.
    Failed(String),
}

impl RunError {
    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Setup(error) => error.exit_code(),
            Self::Failed(_) => 1,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Failed(why) => write!(f, "the run failed: {why}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<SetupError> for RunError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

/// The measured part of a run: what is due in it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first message is due.
    pub start: crate::time::Instant,
    /// The warm-up is over.
    pub from: crate::time::Instant,
    /// Nothing more is due.
    pub until: crate::time::Instant,
}

impl Window {
    /// The window of a plan that starts at `start`.
    pub fn new(plan: &Plan, start: crate::time::Instant) -> Self {
        let from = start + plan.warmup;
        Self { start, from, until: from + plan.duration }
    }

    /// True when what is due then counts.
    pub fn counts(&self, due: crate::time::Instant) -> bool {
        self.from <= due && due < self.until
    }

    /// The latest time at which a message can still be answered in time.
    pub fn drained(&self) -> crate::time::Instant {
        self.until + schedule::LOST_AFTER
    }

    /// How much of the measured time has passed.
    pub fn measured(&self, now: crate::time::Instant) -> Duration {
        now.min(self.until).since(self.from)
    }
}

fn both(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.zip(b).map(|(a, b)| a + b)
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;
    use crate::load::plan::Pace;

    fn outcome() -> Outcome {
        let mut outcome = Outcome {
            sent: 10,
            received: 8,
            lost: 2,
            late: 1,
            measured: Duration::from_secs(2),
            cpu_ns: Some(8_000),
            packets: Some(16),
            ..Outcome::default()
        };
        (0..8).for_each(|_| outcome.rtt_uncorrected.record(5_000));
        outcome.count_drops("reset", 3);
        outcome
    }

    #[test]
    fn a_row_divides_by_what_was_answered() {
        let row = outcome().into_row(&plan(), "kernel", "ringway");
        assert_eq!((row.transport.as_str(), row.mode.as_str(), row.size), ("udp", "closed", 64));
        assert_eq!((row.rate_per_s, row.packets_per_message), (4.0, Some(2.0)));
        assert_eq!(row.cpu_ns_per_message.client, Some(1000.0));
        assert_eq!((row.rtt_ns, row.rtt_uncorrected_ns.map(|p| p.count)), (None, Some(8)));
        assert_eq!(row.drops.get("reset"), Some(&3));
        let nothing = Outcome::default().into_row(&plan(), "kernel", "");
        assert_eq!((nothing.rate_per_s, nothing.packets_per_message, nothing.connect_ns), (0.0, None, None));
    }

    #[test]
    fn an_entry_is_the_row_and_its_distributions() {
        let entry = outcome().into_entry(&plan(), "kernel", "ringway");
        assert_eq!(entry.row, outcome().into_row(&plan(), "kernel", "ringway"));
        assert_eq!((entry.latency().count(), entry.round_medians_ns.len()), (8, 1));
    }

    #[test]
    fn only_an_open_loop_has_a_corrected_distribution() {
        let mut outcome = outcome();
        outcome.rtt.record(6_000);
        let open = Plan { pace: Pace::Open { per_s: 5.0 }, ..plan() };
        let row = outcome.clone().into_row(&open, "kernel", "");
        assert_eq!((row.rtt_ns.map(|p| p.count), row.offered_per_s), (Some(1), Some(5.0)));
        assert_eq!(outcome.into_row(&plan(), "kernel", "").rtt_ns, None);
    }

    #[test]
    fn rounds_add_up() {
        let mut sum = outcome();
        sum.merge(&outcome());
        let row = sum.into_row(&plan(), "kernel", "");
        assert_eq!((row.sent, row.received, row.rate_per_s, row.packets_per_message), (20, 16, 4.0, Some(2.0)));
        assert_eq!(row.drops.get("reset"), Some(&6));
        let mut half = outcome();
        half.merge(&Outcome { cpu_ns: None, ..outcome() });
        assert_eq!(half.cpu_ns, None, "half a measurement is none");
    }

    #[test]
    fn a_ramp_fails_without_connections_and_not_for_lack_of_messages() {
        let of = |opened, active, refused| {
            let ramp = row::Ramp { opened, active, refused, ..row::Ramp::default() };
            Outcome { ramp: Some(ramp), received: 0, ..Outcome::default() }.failure()
        };
        assert!(of(0, 0, 7).is_some_and(|why| why.contains("refused 7")));
        assert_eq!(of(5, 0, 0), None, "all of them are idle");
        assert!(of(5, 5, 0).is_some_and(|why| why.contains("no message")));
    }

    #[test]
    fn wrong_bytes_and_silence_are_failures() {
        assert_eq!(outcome().failure(), None);
        let mut corrupt = outcome();
        corrupt.count_corrupt(Corrupt::NotALine { connection: 4 });
        corrupt.count_corrupt(Corrupt::NotALine { connection: 5 });
        assert!(corrupt.failure().is_some_and(|why| why.starts_with("2 answer(s)") && why.contains("connection 4")));
        assert_eq!(corrupt.into_row(&plan(), "", "").drops.get("corrupt_answer"), Some(&2));
        let silent = Outcome { received: 0, ..outcome() };
        assert!(silent.failure().is_some_and(|why| why.contains("sent 10, lost 2, reset 3")));
    }
}
