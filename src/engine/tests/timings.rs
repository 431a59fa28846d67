//! What an engine times for scrapers, and the page that comes of it.

use super::*;
use crate::device::memory;
use crate::engine::buckets::Times;
use crate::engine::stopwatch::TURNS_PER_TIMED;
use crate::metrics::conditions::Conditions;
use crate::metrics::prometheus::{By, Core, Snapshot, render};
use crate::tcp::State;

/// A clock that goes on by a microsecond with each look.
struct Steps(Cell<u64>);

impl Clock for Steps {
    fn now(&self) -> Instant {
        self.0.set(self.0.get() + 1_000);
        Instant::from_ns(self.0.get())
    }
}

#[test]
fn one_turn_in_64_that_receives_frames_is_timed_and_no_quiet_one() {
    let (left, right) = memory::cable(64);
    let clock = Steps(Cell::new(1_000_000_000));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    let mut peer = left;
    let mut timed = Vec::new();
    for turn in 0..3 * TURNS_PER_TIMED {
        let mut frame = peer.allocate().expect("a frame");
        frame.set_len(60);
        assert!(peer.transmit(frame).is_ok());
        peer.flush();
        // Quiet turns between count for nothing.
        for _ in 0..5 {
            server.turn(&clock);
        }
        timed.push(server.core.histograms.turn_ns.len());
        assert_eq!(timed.last(), Some(&u64::from(1 + turn / TURNS_PER_TIMED)), "turn {turn}");
    }
    let histograms = server.report().histograms;
    assert_eq!((histograms.turn_frames.len(), histograms.turn_frames.sum()), (3, 3), "a frame each");
    // One look after the burst, one at the end.
    assert_eq!(histograms.turn_ns.sum(), 3 * 1_000);
}

#[test]
fn handshakes_are_timed_at_both_ends() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    clock.advance(Duration::from_secs(5));
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", vec![7; 1000]));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    for _ in 0..1000 {
        client.turn(&clock);
        clock.advance(Duration::from_micros(30));
        server.turn(&clock);
        clock.advance(Duration::from_micros(30));
    }
    assert_eq!((client.core.counters.tcp_established, server.core.counters.tcp_established), (1, 1));
    let [client, server] = [client.report().histograms, server.report().histograms];
    assert_eq!([client.opened_ns, client.accepted_ns].map(|times| times.len()), [1, 0]);
    assert_eq!([server.opened_ns, server.accepted_ns].map(|times| times.len()), [0, 1]);
    // ARP, there and back, and a SYN, there and back; at the server the answer alone has to come.
    assert_eq!((client.opened_ns.sum(), server.accepted_ns.sum()), (120_000, 60_000));
}

#[test]
fn the_page_of_a_small_engine() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    clock.advance(Duration::from_secs(5));
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", vec![7; 100_000]));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    for _ in 0..2000 {
        client.turn(&clock);
        clock.advance(Duration::from_micros(5));
        server.turn(&clock);
        clock.advance(Duration::from_micros(5));
    }
    let cards: Vec<_> = client.core.directory.reader().cards().collect();
    let states = State::ALL.map(|state| cards.iter().filter(|card| card.state == state).count() as u64);
    let core = Core { report: Some(client.report()), states, smoothed_rtt: Times::times() };
    let snapshot = Snapshot {
        cores: vec![core],
        interfaces: vec!["cable1".to_owned()],
        conditions: Conditions { kernel: "6.18".to_owned(), cpu: "of a test".to_owned(), cpus: 2, ..Conditions::default() },
        ..Snapshot::default()
    };
    let page = render(&snapshot, By::Core);
    insta::assert_snapshot!(page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}
