//! The TCP load service on a simulated engine.

use super::super::fake::{Fake, Server};
use super::super::plan::{Carrier, Pace, Plan, tests::plan};
use super::*;
use crate::metrics::histogram::Reading;

fn client(pace: Pace, connections: u32) -> EngineClient {
    let target = Fake::new(Server::Echo).target;
    let duration = Duration::from_millis(100);
    EngineClient::new(Plan {
        carrier: Carrier::Tcp,
        target,
        pace,
        connections,
        duration,
        warmup: Duration::from_millis(10),
        ..plan()
    })
}

const ONE: Pace = Pace::Closed { in_flight: 1 };

fn run(client: EngineClient, fake: &mut Fake) -> Report {
    let (mut service, report) = TcpLoad::new(client);
    fake.run(&mut service, 60);
    assert!(fake.stopped, "the service stops the engine");
    report.try_recv().expect("a report")
}

fn is_near(reading: Reading, wanted: u64) -> bool {
    matches!(reading, Reading::Exact(ns) if ns.abs_diff(wanted) * 500 <= wanted)
}

#[test]
fn every_connection_is_measured_from_syn_to_end_of_stream() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(ONE, 200), &mut fake).expect("a run");
    assert_eq!((outcome.connect.count(), outcome.close.count()), (200, 200));
    assert!(is_near(outcome.connect.quantile(1.0), 10_000) && is_near(outcome.close.quantile(1.0), 10_000));
    assert!(outcome.received.abs_diff(200 * 10_000) < 1000 && outcome.lost == 0, "{}", outcome.received);
    assert_eq!((outcome.failure(), fake.open_connections(), fake.aborted), (None, 0, 0));
}

#[test]
fn an_open_loop_sends_at_the_times_due() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(Pace::Open { per_s: 50_000.0 }, 7), &mut fake).expect("a run");
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (5000, 5000, 0));
    assert!(is_near(outcome.rtt.quantile(1.0), 10_000));
}

#[test]
fn a_full_send_buffer_delays_messages_and_the_delay_shows_in_the_corrected_latency() {
    // 40 bytes fit at once and 64 are due each round trip: the rest waits, longer and longer.
    let mut fake = Fake { room: 40, ..Fake::new(Server::Echo) };
    let outcome = run(client(Pace::Open { per_s: 100_000.0 }, 1), &mut fake).expect("a run");
    assert_eq!((outcome.corrupt, outcome.failure()), (0, None));
    assert!(is_near(outcome.rtt_uncorrected.quantile(0.5), 20_000), "{:?}", outcome.rtt_uncorrected.quantile(0.5));
    assert!(matches!(outcome.rtt.quantile(0.99), Reading::Exact(ns) if ns > 60_000_000), "{:?}", outcome.rtt.quantile(0.99));
    assert_eq!(outcome.sent, 10_000);
}

#[test]
fn a_changed_byte_ends_the_connection_and_fails_the_run() {
    let mut fake = Fake::new(Server::Changes(64 * 2000 + 5));
    let outcome = run(client(ONE, 1), &mut fake).expect("a run");
    assert_eq!((outcome.corrupt, fake.aborted), (1, 1));
    assert!(outcome.failure().is_some_and(|why| why.contains("byte 128005 of connection 0")));
}

#[test]
fn a_server_that_closes_early_costs_its_connections() {
    let mut fake = Fake::new(Server::ClosesAfter(64 * 5000));
    let outcome = run(client(ONE, 2), &mut fake).expect("a run");
    assert_eq!(outcome.drops.get("closed_early"), Some(&2));
    assert_eq!((outcome.lost, outcome.close.count()), (2, 0), "one message of each was on its way");
}

#[test]
fn refusals_silence_and_full_tables_fail_the_run() {
    let error = run(client(ONE, 2), &mut Fake::new(Server::Refuses)).expect_err("nobody listens");
    assert_eq!(error.to_string(), "the run failed: cannot connect to 10.0.0.2:7 (connection 1): refused");
    let error = run(client(ONE, 2), &mut Fake::new(Server::Silent)).expect_err("nobody is there");
    assert_eq!(error.to_string(), "the run failed: cannot connect to 10.0.0.2:7 (connection 1): no answer");
    let error = run(client(ONE, 2), &mut Fake { ports_left: 1, ..Fake::new(Server::Echo) }).expect_err("one port");
    assert!(error.exit_code() == 2 && error.to_string().contains("--sources"), "{error}");
}

#[test]
fn connections_use_the_given_sources_in_turn() {
    let sources = vec![[10, 0, 0, 1].into(), [10, 0, 0, 3].into()];
    let mut fake = Fake::new(Server::Echo);
    run(EngineClient { sources: sources.clone(), ..client(ONE, 3) }, &mut fake).expect("a run");
    assert_eq!(fake.sources, [Some(sources[0]), Some(sources[1]), Some(sources[0])]);
}

#[test]
fn a_run_that_is_dropped_or_told_to_stop_reports_what_it_has() {
    for tell in [false, true] {
        let mut fake = Fake::new(Server::Echo);
        let mut plan = client(Pace::Open { per_s: 1000.0 }, 2).plan;
        plan.duration = Duration::from_secs(60);
        let (mut service, report) = TcpLoad::new(EngineClient::new(plan));
        fake.run(&mut service, 2);
        if tell {
            service.message(&mut fake, Command::Stop);
            assert!(fake.stopped);
        }
        drop(service);
        let outcome = report.try_recv().expect("a report").expect("an outcome");
        assert!(outcome.received > 1900 && outcome.lost == 0 && outcome.connect.count() == 2, "{outcome:?}");
    }
}
