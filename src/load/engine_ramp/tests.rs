//! The ramping load service on a simulated engine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::fake::{Fake, Server};
use super::super::meter::Live;
use super::super::plan::{Carrier, Pace, tests::plan};
use super::*;
use crate::metrics::histogram::Reading;
use crate::settings::number::WHOLE;

const ONE: Pace = Pace::Closed { in_flight: 1 };

/// 1000 connections a second, held for 110 ms.
fn client(pace: Pace, connections: u32, active: u32) -> EngineClient {
    let ramp = Some(Ramp { per_s: 1000.0, active });
    let (duration, warmup) = (Duration::from_millis(100), Duration::from_millis(10));
    let target = Fake::new(Server::Echo).target;
    EngineClient::new(Plan { carrier: Carrier::Tcp, target, pace, connections, duration, warmup, ramp, ..plan() })
}

fn run(client: EngineClient, fake: &mut Fake) -> Report {
    let ramp = client.plan.ramp.expect("a ramp");
    let (mut service, report) = RampLoad::new(client, ramp);
    fake.run(&mut service, 60);
    assert!(fake.stopped, "the service stops the engine");
    report.try_recv().expect("a report")
}

#[test]
fn connections_open_at_the_rate_are_held_and_closed_in_order() {
    let mut fake = Fake::new(Server::Echo);
    let began = fake.now;
    let outcome = run(client(ONE, 200, WHOLE), &mut fake).expect("a run");
    let ramp = outcome.ramp.as_ref().expect("a ramp");
    assert_eq!((ramp.opened, ramp.open, ramp.active, ramp.refused + ramp.reset + ramp.timed_out), (200, 200, 200, 0));
    assert!((ramp.seconds - 0.199).abs() < 0.001 && ramp.opened_per_s.len() == 20, "{ramp:?}");
    assert!(ramp.opened_per_s[1..19].iter().all(|&rate| (900.0..=1100.0).contains(&rate)), "{ramp:?}");
    assert_eq!((outcome.connect.count(), outcome.close.count()), (200, 200));
    assert!(matches!(outcome.connect.quantile(1.0), Reading::Exact(ns) if ns.abs_diff(10_000) < 100));
    // Each connection has one message in flight, 10 us on its way, for 100 ms.
    assert!(outcome.received.abs_diff(200 * 10_000) < 1000 && outcome.lost == 0, "{}", outcome.received);
    assert_eq!((outcome.failure(), fake.open_connections(), fake.aborted), (None, 0, 0));
    let held = fake.now.since(began);
    assert!(held >= Duration::from_millis(309) && held < Duration::from_millis(340), "{held:?}");
}

#[test]
fn only_the_active_share_talks_and_it_lies_all_over_the_connections() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(Pace::Open { per_s: 10_000.0 }, 100, WHOLE / 10), &mut fake).expect("a run");
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (1000, 1000, 0));
    assert_eq!(outcome.ramp.map(|ramp| (ramp.active, ramp.open)), Some((10, 100)));
    let open: Vec<u32> = (0..100).filter(|number| number % 7 != 0).collect();
    let talk = Talk::new(&client(ONE, 100, WHOLE / 10).plan, &open, fake.now, 1).expect("some talk");
    assert!(talk.numbers.iter().all(|number| number % 7 != 0) && talk.numbers[0] < 10 && talk.numbers[9] > 85);
    assert_eq!(talk.stream_of(talk.numbers[3]), Some(3));
    assert_eq!(talk.streams_of.iter().filter(|&&stream| stream != SILENT).count(), 10);
}

#[test]
fn without_a_share_that_talks_they_are_only_held() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(ONE, 50, 0), &mut fake).expect("a run");
    assert_eq!((outcome.sent, outcome.received, outcome.failure()), (0, 0, None));
    assert_eq!(outcome.measured, Duration::from_millis(100));
    assert_eq!(outcome.ramp.map(|ramp| (ramp.opened, ramp.open, ramp.active)), Some((50, 50, 0)));
}

#[test]
fn refusals_are_counted_and_the_run_ends_with_them() {
    let mut fake = Fake::new(Server::Refuses);
    let outcome = run(client(ONE, 30, WHOLE), &mut fake).expect("a run");
    let ramp = outcome.ramp.as_ref().expect("a ramp");
    assert_eq!((ramp.opened, ramp.refused, ramp.open), (0, 30, 0));
    assert!(outcome.failure().is_some_and(|why| why.contains("refused 30")));
}

#[test]
fn a_silent_server_is_given_up_and_nothing_stays_behind() {
    let mut fake = Fake::new(Server::Silent);
    let outcome = run(client(ONE, 30, WHOLE), &mut fake).expect("a run");
    assert_eq!(outcome.ramp.map(|ramp| (ramp.opened, ramp.timed_out)), Some((0, 30)));
    assert_eq!((fake.aborted, outcome.connect.unanswered()), (30, 30));
}

#[test]
fn what_the_server_ends_or_changes_is_counted_and_its_messages_are_lost() {
    let mut fake = Fake::new(Server::ClosesAfter(64 * 5000));
    let outcome = run(client(ONE, 2, WHOLE), &mut fake).expect("a run");
    assert_eq!(outcome.ramp.as_ref().map(|ramp| (ramp.opened, ramp.closed_early, ramp.open)), Some((2, 2, 0)));
    assert_eq!((outcome.lost, outcome.close.count()), (2, 0));
    let mut fake = Fake::new(Server::Changes(64 * 2000 + 5));
    let outcome = run(client(ONE, 1, WHOLE), &mut fake).expect("a run");
    assert_eq!((outcome.corrupt, outcome.ramp.map(|ramp| ramp.other), fake.aborted), (1, Some(1), 1));
}

#[test]
fn a_stop_in_the_middle_reports_what_there_is() {
    let mut fake = Fake::new(Server::Echo);
    let client = client(ONE, 300, WHOLE);
    let (mut service, report) = RampLoad::new(client.clone(), client.plan.ramp.expect("a ramp"));
    service.start(&mut fake);
    service.message(&mut fake, Command::Stop);
    assert!(fake.stopped);
    let outcome = report.try_recv().expect("a report").expect("a run");
    assert_eq!(outcome.ramp.map(|ramp| (ramp.opened, ramp.open)), Some((0, 0)));
}

#[test]
fn sources_are_taken_in_turn_and_the_count_of_open_ones_is_shown() {
    let sources: Vec<IpAddr> = (1..=3).map(|last| [10, 0, 0, last].into()).collect();
    let live = Arc::new(Live::default());
    let client = EngineClient { sources: sources.clone(), live: Some(Arc::clone(&live)), ..client(ONE, 6, 0) };
    let mut fake = Fake::new(Server::Echo);
    run(client, &mut fake).expect("a run");
    let turns: Vec<_> = (0..6).map(|at| Some(sources[at % 3])).collect();
    assert_eq!(fake.sources, turns);
    assert!(live.open.load(Ordering::Relaxed) <= 6);
}

#[test]
fn an_engine_without_room_fails_the_run_with_what_would_help() {
    let mut fake = Fake { ports_left: 3, ..Fake::new(Server::Echo) };
    let error = run(client(ONE, 10, WHOLE), &mut fake).expect_err("no ports");
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.contains("connection 4") && text.contains("--sources"), "{text}");
}
