//! Tests of the neighbour cache: its states in time, its bounds, and a model that no frame is lost in it.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::wire::vlan::Vlan;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const NEW_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// A cache and its clock; frames are numbers.
struct Script {
    cache: NeighborCache<u32>,
    now: Instant,
    /// Who has not answered.
    silent: Vec<Hop>,
}

impl Script {
    fn new() -> Self {
        Self { cache: NeighborCache::new([1, 2]), now: Instant::from_ns(1 << 40), silent: Vec::new() }
    }

    fn pass(&mut self, span: Duration) -> &mut Self {
        self.now += span;
        self
    }

    fn lookup(&mut self, hop: Hop) -> Lookup {
        self.cache.lookup(self.now, hop)
    }

    fn learn(&mut self, hop: Hop, mac: Mac) -> Vec<u32> {
        let mut frames = Vec::new();
        assert!(self.cache.learn(self.now, hop, mac, &mut frames));
        frames
    }

    /// Who is to be asked now, and the frames that are given up.
    fn expire(&mut self) -> (Vec<Hop>, Vec<(Hop, u32)>) {
        let (mut asks, mut dropped) = (Vec::new(), Vec::new());
        self.cache.expire(self.now, &mut asks, &mut dropped, |hop| self.silent.push(hop));
        assert!(self.cache.deadline() > self.now, "nothing due is left");
        (asks, dropped)
    }
}

fn hop(n: u32) -> Hop {
    Hop { vlan: Vlan::NONE, ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)) }
}

fn hop6(n: u32) -> Hop {
    Hop { vlan: Vlan::NONE, ip: IpAddr::V6(Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(n))) }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_neighbor_is_asked_for_once_and_the_frames_wait_for_its_answer() {
    let mut script = Script::new();
    assert_eq!(script.lookup(hop(1)), Lookup::Ask);
    assert_eq!(script.cache.hold(hop(1), 10), None);
    assert_eq!(script.lookup(hop(1)), Lookup::Wait);
    assert_eq!(script.cache.hold(hop(1), 11), None);
    assert_eq!(script.learn(hop(1), MAC), [10, 11], "oldest first");
    assert_eq!(script.lookup(hop(1)), Lookup::Mac(MAC));
    assert_eq!((script.cache.held(), script.cache.deadline()), (0, Instant::NEVER));
}

//= type=test
//= rfc1122#2.3.2.1
//# A mechanism to prevent ARP flooding (repeatedly sending an
//# ARP Request for the same IP address, at a high rate) MUST be
//# included.  The recommended maximum rate is 1 per second per
#[test]
fn an_unanswered_neighbor_is_asked_three_times_a_second_apart_then_given_up() {
    let mut script = Script::new();
    assert_eq!(script.lookup(hop(1)), Lookup::Ask);
    script.cache.hold(hop(1), 10);
    for _ in 0..2 {
        assert_eq!(script.pass(Duration::from_millis(999)).expire(), (vec![], vec![]));
        assert_eq!(script.pass(Duration::from_millis(1)).expire(), (vec![hop(1)], vec![]));
        assert_eq!(script.lookup(hop(1)), Lookup::Wait);
    }
    assert_eq!(script.pass(seconds(1)).expire(), (vec![], vec![(hop(1), 10)]));
    assert_eq!(script.lookup(hop(1)), Lookup::Unreachable);
    assert_eq!(script.cache.hold(hop(1), 11), Some((11, Drop::NeighborUnreachable)));

    // A second later it is forgotten and asked for anew.
    assert_eq!(script.pass(seconds(1)).expire(), (vec![], vec![]));
    assert!(script.cache.is_empty());
    assert_eq!(script.lookup(hop(1)), Lookup::Ask);
}

#[test]
fn a_failure_that_is_over_is_asked_again_even_before_it_was_cleared_up() {
    let mut script = Script::new();
    script.lookup(hop(1));
    for _ in 0..3 {
        script.pass(seconds(1)).expire();
    }
    assert_eq!(script.lookup(hop(1)), Lookup::Unreachable);
    assert_eq!(script.pass(seconds(1)).lookup(hop(1)), Lookup::Ask);
    assert_eq!(script.lookup(hop(1)), Lookup::Wait);
    assert_eq!(script.cache.deadline(), script.now + ASK_INTERVAL);
}

#[test]
fn a_failed_neighbor_that_speaks_is_reachable() {
    let mut script = Script::new();
    script.lookup(hop(1));
    for _ in 0..3 {
        script.pass(seconds(1)).expire();
    }
    assert!(script.learn(hop(1), MAC).is_empty());
    assert_eq!(script.lookup(hop(1)), Lookup::Mac(MAC));
    assert_eq!(script.cache.deadline(), Instant::NEVER);
}

#[test]
fn an_old_answer_is_used_while_it_is_asked_for_again() {
    let mut script = Script::new();
    script.learn(hop(1), MAC);
    assert_eq!(script.pass(LIFETIME - Duration::from_nanos(1)).lookup(hop(1)), Lookup::Mac(MAC));
    assert_eq!(script.cache.deadline(), Instant::NEVER);
    assert_eq!(script.pass(Duration::from_nanos(1)).lookup(hop(1)), Lookup::Mac(MAC));
    assert_eq!(script.cache.deadline(), script.now, "asked now");
    for _ in 0..3 {
        assert_eq!(script.expire(), (vec![hop(1)], vec![]));
        assert_eq!(script.lookup(hop(1)), Lookup::Mac(MAC));
        assert_eq!(script.expire(), (vec![], vec![]), "once a second");
        script.pass(seconds(1));
    }
    assert_eq!(script.expire(), (vec![], vec![]));
    assert_eq!(script.lookup(hop(1)), Lookup::Unreachable);
}

#[test]
fn an_answer_makes_an_old_one_new() {
    let mut script = Script::new();
    script.learn(hop(1), MAC);
    script.pass(LIFETIME).lookup(hop(1));
    script.expire();
    assert!(script.learn(hop(1), NEW_MAC).is_empty());
    assert_eq!(script.cache.deadline(), Instant::NEVER);
    assert_eq!(script.pass(LIFETIME / 2).lookup(hop(1)), Lookup::Mac(NEW_MAC));
    assert_eq!(script.cache.deadline(), Instant::NEVER);
}

#[test]
fn progress_of_a_connection_keeps_an_answer_young() {
    let mut script = Script::new();
    script.learn(hop(1), MAC);
    script.pass(LIFETIME).lookup(hop(1));
    script.cache.confirm(script.now, hop(1));
    assert_eq!(script.cache.deadline(), Instant::NEVER, "no longer asked");
    script.pass(LIFETIME / 2);
    script.cache.confirm(script.now, hop(1));
    assert_eq!(script.pass(LIFETIME / 2).lookup(hop(1)), Lookup::Mac(MAC));
    assert_eq!(script.cache.deadline(), Instant::NEVER);
}

#[test]
fn what_is_not_resolved_is_not_confirmed() {
    let mut script = Script::new();
    script.cache.confirm(script.now, hop(1));
    assert!(script.cache.is_empty());
    script.lookup(hop(1));
    script.cache.confirm(script.now, hop(1));
    assert_eq!(script.lookup(hop(1)), Lookup::Wait);
}

#[test]
fn the_lifetime_is_a_setting() {
    let mut script = Script::new();
    script.cache = NeighborCache::new([3, 4]).with_lifetime(seconds(5));
    script.learn(hop(1), MAC);
    script.pass(seconds(5)).lookup(hop(1));
    assert_eq!(script.expire().0, [hop(1)]);
}

#[test]
fn packets_for_others_update_the_known_and_add_nobody() {
    let mut script = Script::new();
    let mut frames = Vec::new();
    for n in 0..10_000 {
        assert!(!script.cache.update(script.now, hop(n), MAC, &mut frames));
    }
    assert!(script.cache.is_empty());
    script.learn(hop(1), MAC);
    assert!(script.cache.update(script.now, hop(1), NEW_MAC, &mut frames));
    assert_eq!(script.lookup(hop(1)), Lookup::Mac(NEW_MAC));

    script.lookup(hop(2));
    script.cache.hold(hop(2), 20);
    assert!(script.cache.update(script.now, hop(2), MAC, &mut frames), "one that is asked for is known");
    assert_eq!(frames, [20]);
}

#[test]
fn an_address_of_many_is_never_learned() {
    let mut script = Script::new();
    script.learn(hop(1), MAC);
    for mac in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac::default()] {
        assert!(!script.cache.learn(script.now, hop(1), mac, &mut Vec::new()));
        assert!(!script.cache.learn(script.now, hop(2), mac, &mut Vec::new()));
        assert!(!script.cache.update(script.now, hop(1), mac, &mut Vec::new()));
    }
    assert_eq!(script.lookup(hop(1)), Lookup::Mac(MAC));
    assert_eq!(script.cache.len(), 1);
}

#[test]
fn vlans_are_places_of_their_own() {
    let mut script = Script::new();
    let tagged = Hop { vlan: Vlan::tagged(crate::wire::vlan::Tag::c(7)), ..hop(1) };
    script.learn(hop(1), MAC);
    assert_eq!(script.lookup(tagged), Lookup::Ask);
    script.learn(tagged, NEW_MAC);
    assert_eq!((script.lookup(hop(1)), script.lookup(tagged)), (Lookup::Mac(MAC), Lookup::Mac(NEW_MAC)));
}

#[test]
fn the_oldest_frame_of_a_neighbor_makes_room_for_its_latest() {
    let mut script = Script::new();
    script.lookup(hop(1));
    script.lookup(hop(2));
    script.cache.hold(hop(2), 99);
    let most = NEIGHBOR_QUEUE as u32;
    let displaced: Vec<_> = (0..most + 2).filter_map(|frame| script.cache.hold(hop(1), frame)).collect();
    assert_eq!(displaced, [(0, Drop::NeighborQueueFull), (1, Drop::NeighborQueueFull)]);
    assert_eq!(script.learn(hop(1), MAC), (2..most + 2).collect::<Vec<_>>());
    assert_eq!(script.learn(hop(2), MAC), [99]);
}

#[test]
fn the_oldest_of_all_frames_makes_room_when_too_many_wait() {
    let mut script = Script::new();
    for n in 0..NEIGHBOR_QUEUE_TOTAL as u32 {
        script.lookup(hop(n));
        assert_eq!(script.cache.hold(hop(n), n), None);
    }
    script.lookup(hop(1000));
    assert_eq!(script.cache.hold(hop(1000), 1000), Some((0, Drop::NeighborQueueFull)));
    assert_eq!(script.cache.held(), NEIGHBOR_QUEUE_TOTAL);
    let mut left = Vec::new();
    script.cache.drain(&mut left);
    assert_eq!(left, (1..NEIGHBOR_QUEUE_TOTAL as u32).chain([1000]).collect::<Vec<_>>());
    assert_eq!(script.cache.held(), 0);
}

#[test]
fn a_frame_for_a_neighbor_that_is_not_asked_for_comes_back() {
    let mut script = Script::new();
    assert_eq!(script.cache.hold(hop(1), 1), Some((1, Drop::NeighborUnreachable)));
    script.learn(hop(1), MAC);
    assert_eq!(script.cache.hold(hop(1), 1), Some((1, Drop::NeighborUnreachable)));
}

#[test]
fn a_scan_of_the_network_neither_floods_it_nor_pushes_out_who_answers() {
    let mut script = Script::new();
    for n in 0..NEIGHBORS as u32 {
        script.learn(hop(n), MAC);
    }
    let asked = (0..60_000).filter(|n| script.lookup(hop(100_000 + n)) == Lookup::Ask).count();
    assert_eq!(asked, UNRESOLVED);
    assert_eq!(script.cache.len(), NEIGHBORS);
    let known = (0..NEIGHBORS as u32).filter(|&n| script.lookup(hop(n)) == Lookup::Mac(MAC)).count();
    assert!(known >= NEIGHBORS - UNRESOLVED, "{known}");
    let asks: usize = (0..4).map(|_| script.pass(seconds(1)).expire().0.len()).sum();
    assert_eq!(asks, 2 * UNRESOLVED);
    assert_eq!(script.lookup(hop(200_000)), Lookup::Ask, "then others have their turn");
}

#[test]
fn neighbors_in_use_survive_a_flood_of_others() {
    let mut script = Script::new();
    let used = || (0..100).map(hop);
    for hop in used() {
        script.learn(hop, MAC);
    }
    for n in 0..20_000 {
        script.learn(hop(10_000 + n), MAC);
        if n % 100 == 0 {
            assert!(used().all(|hop| script.lookup(hop) == Lookup::Mac(MAC)), "after {n}");
        }
    }
    assert_eq!(script.cache.len(), NEIGHBORS);
}

#[test]
fn when_all_are_in_use_the_least_recently_used_gives_way() {
    let mut script = Script::new();
    for n in 0..NEIGHBORS as u32 {
        script.learn(hop(n), MAC);
        script.lookup(hop(n));
    }
    script.pass(seconds(1));
    for n in (0..NEIGHBORS as u32).filter(|&n| n != 500) {
        script.lookup(hop(n));
    }
    script.learn(hop(9999), NEW_MAC);
    assert_eq!(script.lookup(hop(9999)), Lookup::Mac(NEW_MAC));
    assert_eq!(script.cache.len(), NEIGHBORS);
    assert_eq!(script.lookup(hop(500)), Lookup::Ask);
}

#[test]
fn a_newcomer_outlives_as_many_others_as_there_is_room_for() {
    let mut script = Script::new();
    for n in 0..5000 {
        script.learn(hop(n), MAC);
    }
    assert_eq!(script.lookup(hop(5000 - NEIGHBORS as u32)), Lookup::Mac(MAC));
    assert_eq!(script.lookup(hop(4999)), Lookup::Mac(MAC));
    assert_eq!(script.lookup(hop(4998 - NEIGHBORS as u32)), Lookup::Ask);
}

#[test]
fn when_none_can_give_way_nothing_is_learned() {
    let mut script = Script::new();
    for n in 0..NEIGHBORS as u32 {
        script.learn(hop(n), MAC);
    }
    script.pass(LIFETIME);
    for n in 0..NEIGHBORS as u32 {
        script.lookup(hop(n)); // old: all are asked again
    }
    assert_eq!(script.lookup(hop(9999)), Lookup::Unreachable);
    assert!(!script.cache.learn(script.now, hop(9999), MAC, &mut Vec::new()));
    assert_eq!(script.expire().0.len(), NEIGHBORS);
}

#[test]
fn the_end_of_time_ends() {
    let mut script = Script::new();
    script.lookup(hop(1));
    let (mut asks, mut dropped) = (Vec::new(), Vec::new());
    script.cache.expire(Instant::NEVER, &mut asks, &mut dropped, |_| ());
    assert_eq!(asks, [hop(1)]);
}

#[test]
fn nothing_grows_after_the_start() {
    let mut script = Script::new();
    let capacity = |cache: &NeighborCache<u32>| {
        (cache.index.capacity(), cache.entries.capacity(), cache.free.capacity(), cache.waiting.capacity())
    };
    let before = capacity(&script.cache);
    for n in 0..50_000 {
        match n % 3 {
            0 => drop(script.learn(hop(n), MAC)),
            _ => drop((script.lookup(hop(n)), script.cache.hold(hop(n), n))),
        }
        if n % 500 == 0 {
            script.pass(Duration::from_millis(700)).expire();
        }
    }
    assert_eq!(capacity(&script.cache), before);
}

impl Script {
    /// Takes in an advertisement of [`hop6`] 1 with the flags that its letters name: router, solicited, override.
    fn advertise(&mut self, flags: &str, target_mac: Option<Mac>) -> (Advertised, Vec<u32>) {
        let [router, solicited, replace] = ['r', 's', 'o'].map(|flag| flags.contains(flag));
        let said = NeighborAdvertisement { target: Ipv6Addr::UNSPECIFIED, router, solicited, replace, target_mac };
        let mut frames = Vec::new();
        (self.cache.advertised(self.now, hop6(1), &said, &mut frames), frames)
    }

    /// The state of [`hop6`] 1 as RFC 4861 calls it, with its address.
    fn state(&self) -> (&'static str, Option<Mac>) {
        let known = self.cache.known(hop6(1));
        let Some(&slot) = self.cache.index.get(&hop6(1)) else { return ("none", None) };
        let name = match self.cache.entries[slot].state {
            State::Reachable { until, .. } if self.now < until => "REACHABLE",
            State::Reachable { .. } => "STALE",
            State::Incomplete { .. } => "INCOMPLETE",
            State::Delay { .. } => "DELAY",
            State::Probe { .. } => "PROBE",
            State::Failed { .. } | State::Free => "failed",
        };
        (name, known)
    }

    /// A script in which [`hop6`] 1 is in this state, with [`MAC`] if it has one.
    fn ipv6(state: &str) -> Self {
        let mut script = Self::new();
        match state {
            "none" => {}
            "INCOMPLETE" => drop(script.lookup(hop6(1))),
            _ => drop(script.learn(hop6(1), MAC)),
        }
        match state {
            "REACHABLE" => drop(script.advertise("s", None)),
            "DELAY" => drop(script.lookup(hop6(1))),
            "PROBE" => {
                script.lookup(hop6(1));
                (0..5).for_each(|_| drop(script.pass(seconds(1)).expire()));
            }
            _ => {}
        }
        assert_eq!(script.state().0, state);
        script
    }
}

const KNOWN: [&str; 4] = ["REACHABLE", "STALE", "DELAY", "PROBE"];

#[test]
fn an_ipv6_neighbor_is_asked_for_at_all_and_its_answer_makes_it_reachable() {
    let mut script = Script::ipv6("INCOMPLETE");
    script.cache.hold(hop6(1), 10);
    assert_eq!(script.cache.ask_at(hop6(1)), None);
    assert_eq!(script.pass(seconds(1)).expire().0, [hop6(1)]);
    assert_eq!(script.cache.ask_at(hop6(1)), None);
    assert_eq!(script.advertise("so", Some(MAC)), (Advertised::Taken, vec![10]));
    assert_eq!(script.state(), ("REACHABLE", Some(MAC)));
    script.pass(REACHABLE_TIME - Duration::from_nanos(1));
    assert_eq!((script.lookup(hop6(1)), script.state().0), (Lookup::Mac(MAC), "REACHABLE"));
    script.pass(Duration::from_nanos(1));
    assert_eq!((script.state().0, script.cache.deadline()), ("STALE", Instant::NEVER), "nobody looks it up");
}

//= type=test
//= rfc4861#7.3.3
//# The first time a node sends a packet to a neighbor whose entry is
//# STALE, the sender changes the state to DELAY and sets a timer to
//# expire in DELAY_FIRST_PROBE_TIME seconds.
//= type=test
//= rfc4861#7.3.3
//# Upon entering the PROBE state, a node sends a unicast Neighbor
//# Solicitation message to the neighbor using the cached link-layer
//# address.
//= type=test
//= rfc4861#7.3.3
//# If no response is
//# received after waiting RetransTimer milliseconds after sending the
//# MAX_UNICAST_SOLICIT solicitations, retransmissions cease and the
//# entry SHOULD be deleted.
#[test]
fn a_stale_neighbor_in_use_is_probed_itself_after_five_seconds_and_then_deleted() {
    let mut script = Script::ipv6("STALE");
    assert_eq!((script.lookup(hop6(1)), script.state().0), (Lookup::Mac(MAC), "DELAY"));
    for _ in 0..4 {
        assert_eq!(script.pass(seconds(1)).expire(), (vec![], vec![]));
    }
    assert_eq!(script.pass(Duration::from_millis(999)).expire().0, []);
    assert_eq!(script.state().0, "DELAY");
    script.pass(Duration::from_millis(1));
    for _ in 0..3 {
        assert_eq!(script.expire().0, [hop6(1)]);
        assert_eq!((script.state(), script.cache.ask_at(hop6(1))), (("PROBE", Some(MAC)), Some(MAC)));
        assert_eq!(script.lookup(hop6(1)), Lookup::Mac(MAC), "used meanwhile");
        script.pass(seconds(1));
    }
    assert_eq!(script.expire(), (vec![], vec![]));
    assert_eq!((script.state().0, script.cache.len()), ("none", 0));
    assert_eq!(script.silent, [hop6(1)]);
    assert_eq!(script.lookup(hop6(1)), Lookup::Ask);
}

#[test]
fn an_old_ipv4_answer_is_asked_for_at_all() {
    let mut script = Script::new();
    script.learn(hop(1), MAC);
    script.pass(LIFETIME).lookup(hop(1));
    assert_eq!(script.expire().0, [hop(1)]);
    assert_eq!(script.cache.ask_at(hop(1)), None);
}

#[test]
fn progress_of_a_connection_makes_any_known_ipv6_neighbor_reachable() {
    for state in KNOWN {
        let mut script = Script::ipv6(state);
        script.cache.confirm(script.now, hop6(1));
        assert_eq!((script.state(), script.cache.deadline()), (("REACHABLE", Some(MAC)), Instant::NEVER), "{state}");
        script.pass(REACHABLE_TIME);
        assert_eq!(script.state().0, "STALE");
    }
    let mut script = Script::ipv6("INCOMPLETE");
    script.cache.confirm(script.now, hop6(1));
    assert_eq!(script.state().0, "INCOMPLETE");
}

//= type=test
//= rfc4861#7.2.3
//# If an entry already exists, and the
//# cached link-layer address differs from the one in the received Source
//# Link-Layer option, the cached address should be replaced by the
//# received address, and the entry's reachability state MUST be set to
//# STALE.
#[test]
fn a_question_makes_its_sender_stale_if_its_address_is_news() {
    for state in KNOWN {
        let mut script = Script::ipv6(state);
        let before = script.cache.deadline();
        script.learn(hop6(1), MAC);
        assert_eq!((script.state().0, script.cache.deadline()), (state, before), "nothing new");
        script.learn(hop6(1), NEW_MAC);
        assert_eq!((script.state(), script.cache.deadline()), (("STALE", Some(NEW_MAC)), Instant::NEVER), "{state}");
    }
    let mut script = Script::ipv6("none");
    script.learn(hop6(1), MAC);
    assert_eq!(script.state(), ("STALE", Some(MAC)));
}

#[test]
fn a_question_that_answers_ours_frees_the_frames_and_they_count_as_use() {
    let mut script = Script::ipv6("INCOMPLETE");
    script.cache.hold(hop6(1), 10);
    assert_eq!(script.learn(hop6(1), MAC), [10]);
    assert_eq!(script.state(), ("DELAY", Some(MAC)));
    let mut script = Script::ipv6("INCOMPLETE");
    assert_eq!((script.learn(hop6(1), MAC), script.state().0), (vec![], "STALE"));
}

//= type=test
//= rfc4861#7.2.5
//# If no entry exists, the advertisement SHOULD be silently discarded.
#[test]
fn an_advertisement_adds_nobody() {
    let mut script = Script::ipv6("none");
    assert_eq!(script.advertise("so", Some(MAC)), (Advertised::Ignored, vec![]));
    assert!(script.cache.is_empty());
}

#[test]
fn nobody_advertises_an_ipv4_neighbor() {
    let mut script = Script::new();
    script.learn(hop(1), MAC);
    let said = NeighborAdvertisement {
        target: Ipv6Addr::UNSPECIFIED,
        router: false,
        solicited: false,
        replace: true,
        target_mac: Some(NEW_MAC),
    };
    assert_eq!(script.cache.advertised(script.now, hop(1), &said, &mut Vec::new()), Advertised::Ignored);
    assert_eq!(script.cache.known(hop(1)), Some(MAC));
}

#[test]
fn an_incomplete_neighbor_needs_an_address_and_heeds_no_override() {
    for (flags, state) in [("s", "REACHABLE"), ("so", "REACHABLE"), ("", "STALE"), ("o", "STALE")] {
        let mut script = Script::ipv6("INCOMPLETE");
        assert_eq!(script.advertise(flags, None).0, Advertised::Ignored);
        assert_eq!(script.advertise(flags, Some(Mac::BROADCAST)).0, Advertised::Ignored);
        assert_eq!(script.advertise(flags, Some(MAC)).0, Advertised::Taken);
        assert_eq!(script.state(), (state, Some(MAC)));
    }
}

//= type=test
//= rfc4861#7.2.5
//# If the state of the entry is REACHABLE, set it to STALE, but
//# do not update the entry in any other way.
//= type=test
//= rfc4861#7.2.5
//# If the Solicited flag is set, the state of the entry MUST be
//# set to REACHABLE.  If the Solicited flag is zero and the link-
//# layer address was updated with a different address, the state
//# MUST be set to STALE.  Otherwise, the entry's state remains
//# unchanged.
#[test]
fn the_flags_of_an_advertisement_decide_what_it_changes() {
    use Advertised::{Ignored, Taken};
    for before in KNOWN {
        let doubted = if before == "REACHABLE" { "STALE" } else { before };
        for (flags, mac, outcome, after, known) in [
            ("", Some(NEW_MAC), Ignored, doubted, MAC),
            ("s", Some(NEW_MAC), Ignored, doubted, MAC),
            ("o", Some(NEW_MAC), Taken, "STALE", NEW_MAC),
            ("so", Some(NEW_MAC), Taken, "REACHABLE", NEW_MAC),
            ("", Some(MAC), Taken, before, MAC),
            ("o", Some(MAC), Taken, before, MAC),
            ("s", Some(MAC), Taken, "REACHABLE", MAC),
            ("", None, Taken, before, MAC),
            ("s", None, Taken, "REACHABLE", MAC),
            ("so", Some(Mac::BROADCAST), Ignored, before, MAC),
        ] {
            let mut script = Script::ipv6(before);
            assert_eq!(script.advertise(flags, mac), (outcome, vec![]), "{before} {flags} {mac:?}");
            assert_eq!(script.state(), (after, Some(known)), "{before} {flags} {mac:?}");
        }
    }
}

#[test]
fn a_router_that_is_none_any_more_is_told_once() {
    let mut script = Script::ipv6("STALE");
    assert_eq!(script.advertise("", None).0, Advertised::Taken);
    assert_eq!(script.advertise("r", None).0, Advertised::Taken);
    assert_eq!(script.advertise("", Some(NEW_MAC)).0, Advertised::Ignored, "what is ignored says nothing of it");
    assert_eq!(script.advertise("", None).0, Advertised::NoLongerRouter);
    assert_eq!(script.advertise("", None).0, Advertised::Taken);
    script.cache.note_router(hop6(1));
    script.learn(hop6(1), NEW_MAC);
    assert_eq!(script.advertise("s", None).0, Advertised::NoLongerRouter, "a question does not tell");
}

#[test]
fn the_reachable_time_is_the_routers_choice() {
    let mut script = Script::new();
    script.cache.set_reachable_time(seconds(7));
    script.learn(hop6(1), MAC);
    script.advertise("s", None);
    script.pass(seconds(6));
    assert_eq!(script.state().0, "REACHABLE");
    script.pass(seconds(1));
    assert_eq!(script.state().0, "STALE");
}

/// What may happen to a cache, for the model test.
#[derive(Clone, Debug)]
enum Step {
    Send(u32),
    Learn(u32),
    Update(u32),
    Advertise(u32, [bool; 3]),
    Confirm(u32),
    Pass(u64),
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let neighbor = 0u32..40;
    let step = prop_oneof![
        6 => neighbor.clone().prop_map(Step::Send),
        2 => neighbor.clone().prop_map(Step::Learn),
        1 => neighbor.clone().prop_map(Step::Update),
        2 => (neighbor.clone(), any::<[bool; 3]>()).prop_map(|(n, flags)| Step::Advertise(n, flags)),
        1 => neighbor.prop_map(Step::Confirm),
        2 => (0u64..3000).prop_map(Step::Pass),
        1 => Just(Step::Pass(70_000)),
        3 => Just(Step::Expire),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    /// Frames in are frames out, each once; never two requests for one neighbour within a second; the bounds hold.
    #[test]
    fn no_frame_is_lost_and_nobody_is_flooded(steps in steps()) {
        // Neighbours of both families.
        let hop = |n| if n < 20 { hop(n) } else { hop6(n) };
        let mut script = Script::new();
        let mut asked = HashMap::new();
        let (mut sent, mut returned) = (0, HashSet::new());
        let mut out = |frame| assert!(returned.insert(frame), "frame {frame} came back twice");
        for step in steps {
            let mut asks = Vec::new();
            match step {
                Step::Send(n) => {
                    let frame = sent;
                    sent += 1;
                    match script.lookup(hop(n)) {
                        Lookup::Mac(_) | Lookup::Unreachable => out(frame),
                        found => {
                            if found == Lookup::Ask {
                                asks.push(hop(n));
                            }
                            if let Some((displaced, _)) = script.cache.hold(hop(n), frame) {
                                out(displaced);
                            }
                        }
                    }
                }
                Step::Learn(n) => script.learn(hop(n), MAC).into_iter().for_each(&mut out),
                Step::Update(n) => {
                    let mut frames = Vec::new();
                    script.cache.update(script.now, hop(n), NEW_MAC, &mut frames);
                    frames.into_iter().for_each(&mut out);
                }
                Step::Advertise(n, [router, solicited, replace]) => {
                    let said = NeighborAdvertisement { target: Ipv6Addr::UNSPECIFIED, router, solicited, replace, target_mac: Some(NEW_MAC) };
                    let mut frames = Vec::new();
                    script.cache.advertised(script.now, hop(n), &said, &mut frames);
                    frames.into_iter().for_each(&mut out);
                }
                Step::Confirm(n) => script.cache.confirm(script.now, hop(n)),
                Step::Pass(ms) => drop(script.pass(Duration::from_millis(ms))),
                Step::Expire => {
                    let (now_asked, dropped) = script.expire();
                    asks.extend(now_asked);
                    dropped.into_iter().for_each(|(_, frame)| out(frame));
                }
            }
            for hop in asks {
                if let Some(before) = asked.insert(hop, script.now) {
                    prop_assert!(script.now.since(before) >= ASK_INTERVAL, "{hop:?} asked twice");
                }
            }
            prop_assert!(script.cache.held() <= NEIGHBOR_QUEUE_TOTAL);
            for (slot, entry) in script.cache.entries.iter().enumerate() {
                let cache = &script.cache;
                let queues = [&cache.due, &cache.used, &cache.unused].map(|queue| queue.contains(slot));
                prop_assert_eq!(queues.iter().filter(|&&queued| queued).count(), usize::from(entry.state != State::Free));
                let resting = matches!(entry.state, State::Reachable { .. } | State::Free);
                prop_assert_eq!(queues[0], !resting);
            }
            let unresolved = script.cache.entries.iter()
                .filter(|entry| matches!(entry.state, State::Incomplete { .. } | State::Failed { .. })).count();
            prop_assert_eq!(script.cache.unresolved, unresolved);
            for (slot, _) in &script.cache.waiting {
                let incomplete = matches!(script.cache.entries[*slot].state, State::Incomplete { .. });
                prop_assert!(incomplete, "a frame waits for an entry that is not asked for");
            }
        }
        let mut rest = Vec::new();
        script.cache.drain(&mut rest);
        rest.into_iter().for_each(&mut out);
        prop_assert_eq!(returned.len(), sent as usize);
    }
}
