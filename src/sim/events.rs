//! How often what happened over all seeds: a simulation that never sees a timeout shows nothing about timeouts.
//!
//! Filled by the runs, printed and held against a least count by the test that runs them. It only counts; it judges no run, and never panics.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::device::Drop;
use crate::device::drop::DropCounters;
use crate::engine::counters::Counters;
use crate::tcp::State;
use crate::tcp::state::watch::Changes;
use crate::tcp::tally::{Happening, Tally};

/// How often each event must occur over [`GATED_SEEDS`] seeds.
pub(super) const LEAST: u64 = 50;
/// The seeds that test.sh runs, and below which the table is printed but not judged.
pub(super) const GATED_SEEDS: u64 = 2_000;

/// What an event is counted by.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Any of these.
    Happened(&'static [Happening]),
    Dropped(Drop),
    Changed(State, State),
    Reopened,
    ZeroWindow,
}

/// The events that must occur.
const EVENTS: [(&str, Source); 15] = [
    ("RTO", Source::Happened(&[Happening::RetransmissionTimeout])),
    ("fast retransmit", Source::Happened(&[Happening::FastRetransmit])),
    ("TLP", Source::Happened(&[Happening::TailLossProbe])),
    ("RACK reordering", Source::Happened(&[Happening::ReorderingSeen, Happening::ReorderingTimeout])),
    ("spurious undo", Source::Happened(&[Happening::SpuriousByDsack, Happening::SpuriousByEifel, Happening::SpuriousTimeout])),
    ("PAWS drop", Source::Dropped(Drop::TcpPaws)),
    ("zero window", Source::ZeroWindow),
    ("reassembly at its limit", Source::Dropped(Drop::TcpReassemblyFull)),
    ("simultaneous open", Source::Changed(State::SynSent, State::SynReceived)),
    ("simultaneous close", Source::Changed(State::FinWait1, State::Closing)),
    ("TIME-WAIT reuse", Source::Reopened),
    ("TIME-WAIT cut short", Source::Happened(&[Happening::TimeWaitCutShort])),
    ("SYN cookie", Source::Happened(&[Happening::SynCookieAccepted])),
    ("challenge ACK", Source::Happened(&[Happening::ChallengeRst, Happening::ChallengeSyn, Happening::ChallengeAck])),
    ("PMTU drop", Source::Happened(&[Happening::PathMtuReduced])),
];

/// The counts of some runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    pub(super) runs: u64,
    pub(super) packets: u64,
    pub(super) zero_windows: u64,
    reopened: u64,
    retransmitted: u64,
    drops: DropCounters,
    /// Happenings by name.
    tally: BTreeMap<&'static str, u64>,
    changes: Changes,
}

impl Events {
    /// Adds what an engine has counted.
    pub(super) fn add(&mut self, counters: &Counters, drops: &DropCounters, tally: &Tally) {
        self.reopened += counters.tcp_reopened;
        self.retransmitted += counters.tcp_retransmitted;
        for (why, count) in drops.nonzero() {
            (0..count).for_each(|_| self.drops.count(why));
        }
        for (what, count) in tally.nonzero() {
            *self.tally.entry(what.name()).or_default() += count;
        }
    }

    /// Adds changes of state.
    pub(super) fn add_changes(&mut self, changes: &Changes) {
        for (change, count) in changes {
            *self.changes.entry(*change).or_default() += count;
        }
    }

    /// Adds another run.
    pub(super) fn add_run(&mut self, other: &Self) {
        self.runs += other.runs;
        self.packets += other.packets;
        self.zero_windows += other.zero_windows;
        self.reopened += other.reopened;
        self.retransmitted += other.retransmitted;
        for (why, count) in other.drops.nonzero() {
            (0..count).for_each(|_| self.drops.count(why));
        }
        for (&name, count) in &other.tally {
            *self.tally.entry(name).or_default() += count;
        }
        self.add_changes(&other.changes);
    }

    fn happened(&self, what: Happening) -> u64 {
        self.tally.get(what.name()).copied().unwrap_or(0)
    }

    fn of(&self, source: Source) -> u64 {
        match source {
            Source::Happened(what) => what.iter().map(|&what| self.happened(what)).sum(),
            Source::Dropped(why) => self.drops.of(why),
            Source::Changed(from, to) => self.changes.get(&(from.name(), to.name())).copied().unwrap_or(0),
            Source::Reopened => self.reopened,
            Source::ZeroWindow => self.zero_windows,
        }
    }

    /// The table, for people.
    pub(super) fn table(&self) -> String {
        let mut table = format!("{} runs, {} packets, {} retransmitted\n", self.runs, self.packets, self.retransmitted);
        for (name, source) in EVENTS {
            let _ = writeln!(table, "{:>10}  {name}", self.of(source));
        }
        table += "drops by cause:\n";
        for (why, count) in self.drops.nonzero() {
            let _ = writeln!(table, "{count:>10}  {}", why.name());
        }
        table += "all happenings:\n";
        for &what in Happening::ALL {
            let _ = writeln!(table, "{:>10}  {}", self.happened(what), what.name());
        }
        table
    }

    /// The events that occurred too seldom.
    pub(super) fn rare(&self) -> Vec<&'static str> {
        EVENTS.into_iter().filter(|(_, source)| self.of(*source) < LEAST).map(|(name, _)| name).collect()
    }
}
