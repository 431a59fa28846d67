//! The UDP load service on a simulated engine.

use super::super::fake::{Fake, Server};
use super::super::plan::{Pace, Plan, tests::plan};
use super::*;
use crate::metrics::histogram::Reading;

fn client(pace: Pace, connections: u32) -> EngineClient {
    let target = Fake::new(Server::Echo).target;
    let duration = Duration::from_millis(100);
    EngineClient::new(Plan { target, pace, connections, duration, warmup: Duration::from_millis(10), ..plan() })
}

fn run(client: EngineClient, fake: &mut Fake) -> Report {
    let (mut service, report) = UdpLoad::new(client);
    fake.run(&mut service, 30);
    assert!(fake.stopped, "the service stops the engine");
    report.try_recv().expect("a report")
}

#[test]
fn a_closed_loop_answers_in_the_frame_that_came() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(Pace::Closed { in_flight: 2 }, 3), &mut fake).expect("a run");
    // 100 ms of 10 us round trips, six at once.
    assert!(outcome.received.abs_diff(60_000) < 100 && outcome.lost == 0, "{}", outcome.received);
    assert!(matches!(outcome.rtt_uncorrected.quantile(0.99), Reading::Exact(ns) if ns.abs_diff(10_000) < 20));
    assert!(fake.replies * 10 > fake.datagrams * 9, "{} of {}", fake.replies, fake.datagrams);
    assert_eq!((outcome.corrupt, outcome.duplicated, outcome.failure()), (0, 0, None));
}

#[test]
fn an_open_loop_sends_at_the_times_due() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(Pace::Open { per_s: 50_000.0 }, 4), &mut fake).expect("a run");
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (5000, 5000, 0));
    assert!(matches!(outcome.rtt.quantile(1.0), Reading::Exact(ns) if ns < 10_100), "timers were asked for exactly");
    assert!(outcome.cpu_ns.is_some());
}

#[test]
fn what_cannot_be_sent_stays_due_and_goes_a_turn_later() {
    let mut fake = Fake { congested: true, ..Fake::new(Server::Echo) };
    // One each 19 us: every second one is due at an odd microsecond.
    let outcome = run(client(Pace::Open { per_s: 1e6 / 19.0 }, 1), &mut fake).expect("a run");
    assert_eq!((outcome.sent, outcome.lost), (outcome.received, 0));
    let max = |reading| matches!(reading, Reading::Exact(ns) if ns > 10_900 && ns < 11_100);
    assert!(max(outcome.rtt.quantile(1.0)), "{:?}", outcome.rtt.quantile(1.0));
}

#[test]
fn losses_changes_and_repeats_are_told_apart() {
    let mut fake = Fake { lose: vec![500], change: vec![600], repeat: vec![700], ..Fake::new(Server::Echo) };
    let outcome = run(client(Pace::Open { per_s: 20_000.0 }, 2), &mut fake).expect("a run");
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (2000, 1998, 2));
    assert_eq!((outcome.corrupt, outcome.duplicated), (1, 1));
    assert_eq!(outcome.rtt.unanswered(), 2);
}

#[test]
fn a_lost_probe_is_repeated_and_its_late_answers_are_no_corruption() {
    let mut fake = Fake { lose: vec![0, 1], repeat: vec![2, 3], ..Fake::new(Server::Echo) };
    let outcome = run(client(Pace::Closed { in_flight: 1 }, 1), &mut fake).expect("a run");
    assert_eq!((outcome.corrupt, outcome.lost, outcome.failure()), (0, 0, None));
}

#[test]
fn a_target_that_never_answers_fails_the_run() {
    let mut fake = Fake::new(Server::Silent);
    let error = run(client(Pace::Closed { in_flight: 1 }, 1), &mut fake).expect_err("nobody is there");
    assert_eq!(error.to_string(), "the run failed: 10.0.0.2:7 does not answer");
}

#[test]
fn sockets_use_the_given_sources_in_turn() {
    let sources: Vec<IpAddr> = vec![[10, 0, 0, 1].into(), [10, 0, 0, 3].into()];
    let mut fake = Fake::new(Server::Echo);
    let client = EngineClient { sources: sources.clone(), ..client(Pace::Closed { in_flight: 1 }, 3) };
    run(client, &mut fake).expect("a run");
    assert_eq!(fake.sources[..3], [Some(sources[0]), Some(sources[1]), Some(sources[0])]);
    assert!(fake.sources.iter().all(|source| source.is_some_and(|source| sources.contains(&source))));
}

#[test]
fn full_tables_end_the_run_with_a_reason() {
    let mut fake = Fake { ports_left: 2, ..Fake::new(Server::Echo) };
    let error = run(client(Pace::Closed { in_flight: 1 }, 3), &mut fake).expect_err("two of three");
    assert!(error.exit_code() == 2 && error.to_string().contains("3 UDP endpoints"), "{error}");
    let mut fake = Fake { timers_left: 0, ..Fake::new(Server::Echo) };
    assert!(run(client(Pace::Closed { in_flight: 1 }, 1), &mut fake).is_err());
}

#[test]
fn a_run_that_is_dropped_or_told_to_stop_reports_what_it_has() {
    for tell in [false, true] {
        let mut fake = Fake::new(Server::Echo);
        let mut plan = client(Pace::Open { per_s: 1000.0 }, 1).plan;
        plan.duration = Duration::from_secs(60);
        let (mut service, report) = UdpLoad::new(EngineClient::new(plan));
        fake.run(&mut service, 2);
        assert!(report.try_recv().is_err(), "it goes on");
        if tell {
            service.message(&mut fake, Command::Stop);
            assert!(fake.stopped);
        }
        drop(service);
        let outcome = report.try_recv().expect("a report").expect("an outcome");
        assert!(outcome.received > 1900 && outcome.lost == 0 && outcome.measured > Duration::from_millis(1900), "{outcome:?}");
    }
}
