//! A cache whose entries are the kernel's: in a port claim it asks, and what it finds is told here.
//!
//! Called by the engine with what the control thread has heard. The kernel's states are the truth, so a REACHABLE neighbour stays so until the
//! kernel says otherwise. A STALE one is used, and the kernel is told that it is ([`NeighborCache::expire`] names it among those to be asked for),
//! upon which it makes sure of the neighbour itself. A neighbour that is not known waits for the kernel as for an answer. Nothing here panics.

use std::time::Duration;

use super::{ASK_INTERVAL, Hop, NeighborCache, State, is_station};
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// What the kernel knows of a neighbour (`NUD_*` of linux/neighbour.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// NUD_REACHABLE, NUD_PERMANENT, NUD_NOARP: it has this Ethernet address.
    Fresh(Mac),
    /// NUD_STALE, NUD_DELAY, NUD_PROBE: it had this one, and the kernel makes sure of it when it is used.
    Stale(Mac),
    /// NUD_FAILED: it does not answer.
    Failed,
    /// The kernel has forgotten it.
    Gone,
}

/// How often the kernel is told, at most, that a neighbour in use can be reached. It believes that for 15 seconds at least (RFC 4861 6.3.2), but one
/// that was STALE has to be confirmed in the last of the five seconds of its DELAY.
pub const CONFIRM_EVERY: Duration = Duration::from_secs(1);
/// How long a STALE neighbour may be used before the kernel is told so again.
const USE_AGAIN: Duration = Duration::from_secs(4);

impl<F> NeighborCache<F> {
    /// Has the kernel keep the entries from now on.
    pub const fn keep_by_kernel(&mut self) {
        self.by_kernel = true;
    }

    /// Takes in what the kernel knows of a neighbour. Frames that waited for it are put at the end of `waiting`, to be sent to it, or, if it has
    /// failed, at the end of `dropped` ([`crate::device::Drop::NeighborUnreachable`]).
    pub fn told(&mut self, now: Instant, hop: Hop, known: Known, waiting: &mut Vec<F>, dropped: &mut Vec<F>) {
        match known {
            Known::Fresh(mac) | Known::Stale(mac) if !is_station(mac) => {}
            Known::Fresh(mac) => self.told_mac(now, hop, mac, Instant::NEVER, waiting),
            Known::Stale(mac) => self.told_mac(now, hop, mac, now, waiting),
            Known::Failed => self.told_failed(now, hop, dropped),
            Known::Gone => {
                // Who waits for it still waits: the kernel has been asked to find it.
                let known = |slot: &usize| {
                    let state = self.entries.get(*slot).map(|entry| entry.state);
                    matches!(state, Some(State::Reachable { .. } | State::Probe { .. } | State::Delay { .. }))
                };
                if let Some(slot) = self.index.get(&hop).copied().filter(known) {
                    self.remove(slot);
                }
            }
        }
    }

    fn told_mac(&mut self, now: Instant, hop: Hop, mac: Mac, until: Instant, waiting: &mut Vec<F>) {
        if let Some(slot) = self.find(hop).or_else(|| self.insert(hop, State::Free)) {
            self.resolve(slot, mac, now, until, waiting);
        }
    }

    fn told_failed(&mut self, now: Instant, hop: Hop, dropped: &mut Vec<F>) {
        let Some(slot) = self.find(hop) else { return };
        let Some(entry) = self.entries.get_mut(slot) else { return };
        match std::mem::replace(&mut entry.state, State::Failed { due: now + ASK_INTERVAL }) {
            State::Incomplete { .. } => {
                dropped.extend(self.waiting.extract_if(.., |(other, _)| *other == slot).map(|(_, frame)| frame));
            }
            State::Failed { .. } => {}
            State::Reachable { .. } | State::Probe { .. } | State::Delay { .. } | State::Free => self.unresolved += 1,
        }
        self.used.remove(slot);
        self.unused.remove(slot);
        self.due.push_last(slot);
    }

    /// A connection hears that the neighbour carries its packets. True when the kernel is to be told so.
    pub fn confirmed(&mut self, now: Instant, hop: Hop) -> bool {
        let Some(slot) = self.find(hop) else { return false };
        let Some(entry) = self.entries.get_mut(slot) else { return false };
        if entry.confirmed.is_some_and(|at| now.since(at) < CONFIRM_EVERY) {
            return false;
        }
        entry.confirmed = Some(now);
        true
    }

    /// The kernel was told that the neighbour is used: for a while it need not be told again.
    pub(super) fn used_for_a_while(&mut self, now: Instant, slot: usize, mac: Mac) {
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.state = State::Reachable { mac, until: now + USE_AGAIN };
            self.due.remove(slot);
            self.used.push_last(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lookup;
    use super::*;
    use crate::wire::vlan::Vlan;

    const NEAR: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const MOVED: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn hop(ip: &str) -> Hop {
        Hop { vlan: Vlan::NONE, ip: ip.parse().unwrap() }
    }

    struct Table {
        cache: NeighborCache<&'static str>,
        now: Instant,
        sent: Vec<&'static str>,
        dropped: Vec<&'static str>,
    }

    impl Table {
        fn new() -> Self {
            let mut cache = NeighborCache::new([1, 2]);
            cache.keep_by_kernel();
            Self { cache, now: Instant::from_ns(1_000_000_000), sent: Vec::new(), dropped: Vec::new() }
        }

        fn told(&mut self, ip: &str, known: Known) {
            self.cache.told(self.now, hop(ip), known, &mut self.sent, &mut self.dropped);
        }

        fn lookup(&mut self, ip: &str) -> Lookup {
            self.cache.lookup(self.now, hop(ip))
        }

        /// Whom the kernel is told about within some time.
        fn asks_within(&mut self, seconds: u64) -> usize {
            let (mut asks, mut dropped) = (Vec::new(), Vec::new());
            for _ in 0..seconds * 10 {
                self.now += Duration::from_millis(100);
                self.cache.expire(self.now, &mut asks, &mut dropped, |_| ());
            }
            self.dropped.extend(dropped.into_iter().map(|(_, frame)| frame));
            asks.len()
        }
    }

    #[test]
    fn what_the_kernel_finds_is_sent_to_and_holds_until_it_says_otherwise() {
        for ip in ["10.0.0.1", "fd00::1"] {
            let mut table = Table::new();
            assert_eq!(table.lookup(ip), Lookup::Ask);
            assert!(table.cache.hold(hop(ip), "held").is_none());
            table.told(ip, Known::Fresh(NEAR));
            assert_eq!(table.sent, ["held"]);
            table.now += Duration::from_secs(3600);
            assert_eq!((table.lookup(ip), table.asks_within(10)), (Lookup::Mac(NEAR), 0));
            table.told(ip, Known::Fresh(MOVED));
            assert_eq!(table.lookup(ip), Lookup::Mac(MOVED));
            table.told(ip, Known::Gone);
            assert_eq!((table.lookup(ip), table.cache.len()), (Lookup::Ask, 1));
        }
    }

    #[test]
    fn a_stale_neighbour_is_used_and_the_kernel_told_so_now_and_then() {
        for ip in ["10.0.0.1", "fd00::1"] {
            let mut table = Table::new();
            table.told(ip, Known::Stale(NEAR));
            assert_eq!(table.asks_within(10), 0, "not while nobody uses it");
            for _ in 0..3 {
                assert_eq!(table.lookup(ip), Lookup::Mac(NEAR));
                assert_eq!((table.lookup(ip), table.asks_within(6)), (Lookup::Mac(NEAR), 1), "{ip}");
            }
            table.told(ip, Known::Fresh(NEAR));
            assert_eq!((table.lookup(ip), table.asks_within(6)), (Lookup::Mac(NEAR), 0));
        }
    }

    #[test]
    fn one_that_fails_takes_its_frames_along() {
        let mut table = Table::new();
        assert_eq!(table.lookup("10.0.0.1"), Lookup::Ask);
        assert!(table.cache.hold(hop("10.0.0.1"), "held").is_none());
        table.told("10.0.0.1", Known::Failed);
        assert_eq!(table.dropped, ["held"]);
        assert_eq!(table.lookup("10.0.0.1"), Lookup::Unreachable);
        table.told("10.0.0.1", Known::Failed);
        table.now += ASK_INTERVAL;
        assert_eq!(table.lookup("10.0.0.1"), Lookup::Ask, "asked for anew");
        table.told("fd00::1", Known::Failed);
        assert_eq!(table.cache.len(), 1, "nobody is added for a failure");
        table.told("10.0.0.1", Known::Fresh(NEAR));
        table.told("10.0.0.1", Known::Failed);
        assert_eq!(table.lookup("10.0.0.1"), Lookup::Unreachable, "also one that could be reached");
    }

    #[test]
    fn one_that_waits_is_not_forgotten_and_a_group_is_no_address() {
        let mut table = Table::new();
        assert_eq!(table.lookup("10.0.0.1"), Lookup::Ask);
        assert!(table.cache.hold(hop("10.0.0.1"), "held").is_none());
        table.told("10.0.0.1", Known::Gone);
        table.told("10.0.0.1", Known::Fresh(Mac::BROADCAST));
        table.told("10.0.0.1", Known::Stale(Mac::default()));
        assert_eq!((table.lookup("10.0.0.1"), table.cache.held()), (Lookup::Wait, 1));
        assert_eq!((table.asks_within(2), table.asks_within(2)), (2, 0), "three questions in all");
        assert_eq!(table.dropped, ["held"]);
    }

    #[test]
    fn progress_is_told_at_most_once_a_second() {
        let mut table = Table::new();
        assert!(!table.cache.confirmed(table.now, hop("10.0.0.1")), "who is not known cannot be confirmed");
        table.told("10.0.0.1", Known::Stale(NEAR));
        let mut told = 0;
        for _ in 0..100 {
            told += usize::from(table.cache.confirmed(table.now, hop("10.0.0.1")));
            table.now += Duration::from_millis(100);
        }
        assert_eq!(told, 10);
    }
}
