//! How often what happened over all seeds: a simulation that never sees a timeout shows nothing about timeouts.

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
    /// Happenings of these names; pending as long as TCP knows none of them.
    Named(&'static [&'static str]),
    Dropped(Drop),
    Changed(State, State),
    Reopened,
    ZeroWindow,
}

/// The events that must occur.
const EVENTS: [(&str, Source); 14] = [
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
    ("SYN cookie", Source::Named(&["syn_cookie_accepted"])),
    ("challenge ACK", Source::Happened(&[Happening::ChallengeRst, Happening::ChallengeSyn, Happening::ChallengeAck])),
    ("PMTU drop", Source::Named(&["path_mtu_reduced"])),
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

    fn of(&self, source: Source) -> Option<u64> {
        match source {
            Source::Happened(what) => Some(what.iter().map(|&what| self.happened(what)).sum()),
            Source::Named(names) => {
                let known = Happening::ALL.iter().filter(|what| names.contains(&what.name()));
                known.map(|&what| self.happened(what)).reduce(|a, b| a + b)
            }
            Source::Dropped(why) => Some(self.drops.of(why)),
            Source::Changed(from, to) => Some(self.changes.get(&(from.name(), to.name())).copied().unwrap_or(0)),
            Source::Reopened => Some(self.reopened),
            Source::ZeroWindow => Some(self.zero_windows),
        }
    }

    /// The table, for people.
    pub(super) fn table(&self) -> String {
        let mut table = format!("{} runs, {} packets, {} retransmitted\n", self.runs, self.packets, self.retransmitted);
        for (name, source) in EVENTS {
            let count = self.of(source).map_or_else(|| "pending".to_owned(), |count| count.to_string());
            let _ = writeln!(table, "{count:>10}  {name}");
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
        EVENTS.into_iter().filter(|(_, source)| self.of(*source).is_some_and(|n| n < LEAST)).map(|(name, _)| name).collect()
    }
}
