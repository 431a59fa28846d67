//! The churning load service on a simulated engine.

use std::time::Duration;

use super::super::fake::{Fake, Server};
use super::super::plan::{Carrier, Pace, Plan, tests::plan};
use super::*;
use crate::metrics::histogram::Reading;

fn client(churn: Churn, pace: Pace, connections: u32) -> EngineClient {
    let target = Fake::new(Server::Echo).target;
    let (duration, churn) = (Duration::from_millis(100), Some(churn));
    EngineClient::new(Plan { carrier: Carrier::Tcp, target, pace, connections, duration, churn, ..plan() })
}

const CLOSED: Pace = Pace::Closed { in_flight: 1 };

fn run(client: EngineClient, fake: &mut Fake) -> Report {
    let kind = client.plan.churn.expect("churn");
    let (mut service, report) = ChurnLoad::new(client, kind);
    fake.run(&mut service, 30);
    assert!(fake.stopped, "the service stops the engine");
    report.try_recv().expect("a report")
}

fn is_near(reading: Reading, wanted: u64) -> bool {
    matches!(reading, Reading::Exact(ns) if ns.abs_diff(wanted) * 500 <= wanted)
}

#[test]
fn the_client_closes_first() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(Churn::Client, CLOSED, 4), &mut fake).expect("a run");
    // Handshake, exchange and close take 10 us each: 4 x 100 ms / 30 us.
    assert!(outcome.received.abs_diff(13_333) < 20, "{}", outcome.received);
    assert_eq!((outcome.sent, outcome.lost, outcome.connect.count()), (outcome.received, 0, outcome.sent));
    assert!(is_near(outcome.connect.quantile(1.0), 10_000) && is_near(outcome.close.quantile(1.0), 10_000));
    assert!(is_near(outcome.rtt_uncorrected.quantile(1.0), 10_000));
    assert_eq!((fake.open_connections(), fake.aborted), (0, 0));
}

#[test]
fn the_server_closes_first() {
    let mut fake = Fake::new(Server::Daytime);
    let outcome = run(client(Churn::Server, CLOSED, 1), &mut fake).expect("a run");
    assert!(outcome.received.abs_diff(5000) < 5 && outcome.close.count() == 0, "{}", outcome.received);
    assert_eq!((fake.open_connections(), fake.aborted, outcome.failure()), (0, 0, None), "our side was closed, too");
}

#[test]
fn a_reset_ends_each_exchange() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(Churn::Rst, CLOSED, 1), &mut fake).expect("a run");
    assert!(outcome.received.abs_diff(5000) < 5, "{}", outcome.received);
    assert!(fake.aborted.abs_diff(outcome.received) <= 1);
}

#[test]
fn an_open_loop_begins_exchanges_at_the_times_due() {
    let mut fake = Fake::new(Server::Echo);
    let outcome = run(client(Churn::Client, Pace::Open { per_s: 5000.0 }, 3), &mut fake).expect("a run");
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (500, 500, 0));
    assert!(is_near(outcome.connect.quantile(1.0), 10_000) && is_near(outcome.rtt.quantile(1.0), 20_000));
}

#[test]
fn messages_larger_than_the_send_buffer_get_through() {
    let mut fake = Fake { room: 40, ..Fake::new(Server::Echo) };
    let outcome = run(client(Churn::Rst, CLOSED, 1), &mut fake).expect("a run");
    assert!(outcome.received > 3000 && outcome.corrupt == 0, "{}", outcome.received);
}

#[test]
fn refusals_are_counted_and_the_run_goes_on() {
    let mut fake = Fake::new(Server::Refuses);
    let outcome = run(client(Churn::Client, CLOSED, 1), &mut fake).expect("a run");
    assert!(outcome.drops.get("refused").is_some_and(|&n| n > 9000), "{:?}", outcome.drops);
    assert_eq!((outcome.received, outcome.lost), (0, outcome.sent));
}

#[test]
fn silence_is_given_up_and_lost() {
    let mut fake = Fake::new(Server::Silent);
    let plan = Plan { duration: Duration::from_secs(5), ..client(Churn::Client, CLOSED, 2).plan };
    let outcome = run(EngineClient::new(plan), &mut fake).expect("a run");
    assert_eq!((outcome.drops.get("timed_out"), fake.aborted, outcome.lost), (Some(&2), 2, 4));
    assert!(outcome.failure().is_some());
}

#[test]
fn wrong_bytes_abort_the_connection() {
    let mut fake = Fake::new(Server::Changes(9));
    let outcome = run(client(Churn::Client, CLOSED, 1), &mut fake).expect("a run");
    assert!(outcome.corrupt > 4000 && outcome.received == 0 && fake.aborted == outcome.corrupt, "{}", outcome.corrupt);
}

#[test]
fn running_out_of_ports_ends_the_run_and_says_how_to_go_on() {
    let mut fake = Fake { ports_left: 100, ..Fake::new(Server::Echo) };
    let error = run(client(Churn::Client, CLOSED, 1), &mut fake).expect_err("100 ports");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("no free source port") && error.to_string().contains("--sources"), "{error}");
}
