//! Runs in simulated time: a server that answers, stalls, loses and repeats.

use proptest::prelude::*;

use super::super::plan::tests::plan;
use super::*;
use crate::metrics::histogram::Reading;

fn ms(ms: u64) -> Instant {
    Instant::from_ns(ms * 1_000_000)
}

fn us(us: u64) -> Instant {
    Instant::from_ns(us * 1000)
}

fn open(per_s: f64, connections: u32, duration_ms: u64) -> Plan {
    Plan { pace: Pace::Open { per_s }, connections, duration: Duration::from_millis(duration_ms), ..plan() }
}

fn closed(in_flight: u32, connections: u32) -> Plan {
    Plan { pace: Pace::Closed { in_flight }, connections, ..plan() }
}

/// Sends everything that may be sent now and returns it.
fn pump(schedule: &mut Schedule, now: Instant) -> Vec<(u32, Message)> {
    let mut sent = Vec::new();
    schedule.turn();
    while let Some(connection) = schedule.ready(now) {
        while let Some(message) = schedule.due(connection, now) {
            schedule.sent(connection, now);
            sent.push((connection, message));
        }
    }
    sent
}

#[test]
fn open_loop_messages_are_due_at_fixed_times_spread_over_the_connections() {
    let mut schedule = Schedule::new(&open(1000.0, 2, 1000), ms(5));
    assert_eq!(pump(&mut schedule, ms(4)), []);
    let mut sent = pump(&mut schedule, ms(7));
    sent.sort_by_key(|(_, message)| message.due);
    let message = |sequence, at| Message { sequence, due: ms(at) };
    assert_eq!(sent, [(0, message(0, 5)), (1, message(0, 6)), (0, message(1, 7))]);
    assert_eq!(schedule.next_due(), ms(8));
}

#[test]
fn a_closed_loop_sends_the_next_when_an_answer_came() {
    let mut schedule = Schedule::new(&closed(2, 2), ms(0));
    assert_eq!(pump(&mut schedule, ms(0)).len(), 4);
    assert_eq!(pump(&mut schedule, ms(1)), []);
    assert_eq!(schedule.answered(1, 0, ms(1)), Answered::InTime);
    assert_eq!(schedule.due(1, ms(1)), Some(Message { sequence: 2, due: ms(1) }));
    assert_eq!(schedule.due(0, ms(1)), None);
    assert_eq!(schedule.next_due(), Instant::NEVER);
}

/// The server stalls for 100 ms; the connection takes nothing meanwhile. 1,000 messages a second were due.
#[test]
fn a_stall_shows_in_the_corrected_latency_and_hides_in_the_uncorrected() {
    let mut schedule = Schedule::new(&Plan { carrier: Carrier::Tcp, ..open(1000.0, 1, 1000) }, ms(0));
    for step in 0..1000 {
        let now = ms(step);
        if (500..600).contains(&step) {
            schedule.turn();
            while let Some(connection) = schedule.ready(now) {
                schedule.defer(connection);
            }
            continue;
        }
        for (connection, message) in pump(&mut schedule, now) {
            assert_eq!(schedule.answered(connection, message.sequence, now + Duration::from_micros(10)), Answered::InTime);
        }
    }
    let outcome = schedule.finish(ms(2000));
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (1000, 1000, 0));
    let at = |recorder: &crate::metrics::histogram::Recorder, q| match recorder.quantile(q) {
        Reading::Exact(ns) => ns,
        other => panic!("{other:?}"),
    };
    assert!(at(&outcome.rtt_uncorrected, 1.0) < 11_000, "nothing was sent during the stall");
    assert!(at(&outcome.rtt, 0.5) < 11_000);
    assert!(at(&outcome.rtt, 0.95) > 40_000_000, "100 of 1,000 messages waited up to 100 ms");
    assert!(at(&outcome.rtt, 1.0) > 99_000_000);
}

#[test]
fn a_message_without_an_answer_for_a_second_is_lost_and_its_answer_late() {
    let mut schedule = Schedule::new(&open(10.0, 1, 100), ms(0));
    assert_eq!(pump(&mut schedule, ms(0)).len(), 1);
    schedule.expire(ms(1000));
    assert_eq!((schedule.outcome().lost, schedule.in_flight(0)), (0, 1), "a second is not over a second");
    schedule.expire(ms(1001));
    assert_eq!((schedule.outcome().lost, schedule.in_flight(0)), (1, 0));
    assert_eq!(schedule.answered(0, 0, ms(1500)), Answered::Late);
    assert_eq!(schedule.answered(0, 0, ms(1501)), Answered::Duplicate);
    let outcome = schedule.finish(ms(2000));
    assert_eq!((outcome.received, outcome.lost, outcome.late, outcome.duplicated), (0, 1, 1, 1));
    assert_eq!((outcome.rtt.count(), outcome.rtt.unanswered()), (1, 0), "its latency is known after all");
}

#[test]
fn an_answer_after_a_second_is_late_even_when_nobody_looked_before() {
    let mut schedule = Schedule::new(&open(10.0, 1, 100), ms(0));
    pump(&mut schedule, ms(0));
    assert_eq!(schedule.answered(0, 0, ms(1200)), Answered::Late);
    let outcome = schedule.finish(ms(2000));
    assert_eq!((outcome.received, outcome.lost, outcome.late), (0, 1, 1));
}

#[test]
fn unanswered_messages_turn_percentiles_into_lower_bounds() {
    let mut schedule = Schedule::new(&open(1000.0, 1, 100), ms(0));
    for (connection, message) in pump(&mut schedule, ms(99)) {
        if message.sequence % 10 != 0 {
            schedule.answered(connection, message.sequence, ms(100));
        }
    }
    let outcome = schedule.finish(ms(1200));
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (100, 90, 10));
    assert!(matches!(outcome.rtt.quantile(0.9), Reading::Exact(_)));
    assert_eq!(outcome.rtt.quantile(0.99), Reading::AtLeast(LOST_AFTER_NS));
}

#[test]
fn a_closed_loop_over_datagrams_goes_on_after_a_loss() {
    let mut schedule = Schedule::new(&Plan { duration: Duration::from_secs(10), ..closed(1, 1) }, ms(0));
    pump(&mut schedule, ms(0));
    schedule.expire(ms(1001));
    assert_eq!(pump(&mut schedule, ms(1001)), [(0, Message { sequence: 1, due: ms(1001) })]);
}

#[test]
fn a_late_answer_is_told_from_a_duplicate_even_when_its_place_was_needed_again() {
    let mut schedule = Schedule::new(&Plan { duration: Duration::from_secs(10), ..closed(1, 1) }, ms(0));
    pump(&mut schedule, ms(0));
    schedule.expire(ms(1001));
    for step in 0..1000 {
        let sent = pump(&mut schedule, ms(1001 + step));
        assert_eq!(sent.len(), 1);
        schedule.answered(0, sent[0].1.sequence, ms(1001 + step));
        schedule.defer(0);
    }
    assert_eq!(schedule.answered(0, 0, ms(2100)), Answered::Late);
    assert_eq!(schedule.answered(0, 0, ms(2100)), Answered::Duplicate);
    assert_eq!(schedule.answered(0, 1, ms(2100)), Answered::Duplicate);
    assert_eq!((schedule.outcome().late, schedule.outcome().duplicated), (1, 2));
}

#[test]
fn a_reliable_connection_waits_for_its_answer() {
    let plan = Plan { carrier: Carrier::Tcp, duration: Duration::from_secs(10), ..closed(1, 1) };
    let mut schedule = Schedule::new(&plan, ms(0));
    pump(&mut schedule, ms(0));
    schedule.expire(ms(1500));
    assert_eq!(pump(&mut schedule, ms(1500)), [], "the answer will come before anything else can");
    assert_eq!(schedule.oldest(0), Some(0));
    assert_eq!(schedule.answered(0, 0, ms(1600)), Answered::Late);
    assert_eq!(schedule.oldest(0), None);
}

#[test]
fn the_warm_up_and_what_is_due_after_the_end_do_not_count() {
    let plan = Plan { warmup: Duration::from_millis(10), ..open(1000.0, 1, 10) };
    let mut schedule = Schedule::new(&plan, ms(0));
    for step in 0..30 {
        for (connection, message) in pump(&mut schedule, ms(step)) {
            schedule.answered(connection, message.sequence, ms(step));
        }
    }
    assert_eq!(schedule.next_sequence(0), 20, "nothing is due after 20 ms");
    assert!(schedule.is_done(ms(20)));
    let outcome = schedule.finish(ms(30));
    assert_eq!((outcome.sent, outcome.received, outcome.rtt.count()), (10, 10, 10));
    assert_eq!(outcome.measured, Duration::from_millis(10));
}

#[test]
fn the_run_waits_a_second_for_the_last_answers_and_no_longer() {
    let mut schedule = Schedule::new(&open(1000.0, 1, 10), ms(0));
    pump(&mut schedule, ms(9));
    assert!(!schedule.is_done(ms(500)));
    assert!(schedule.is_done(ms(1010)));
}

#[test]
fn what_was_due_and_never_sent_is_lost() {
    let plan = Plan { carrier: Carrier::Tcp, ..open(1000.0, 2, 10) };
    let mut schedule = Schedule::new(&plan, ms(0));
    schedule.turn();
    while let Some(connection) = schedule.ready(ms(9)) {
        schedule.defer(connection);
    }
    schedule.ended(1);
    assert!(!schedule.is_done(ms(11)), "connection 0 may still send");
    let outcome = schedule.finish(ms(1010));
    assert_eq!((outcome.sent, outcome.lost), (0, 10));
    assert_eq!((outcome.rtt.unanswered(), outcome.rtt_uncorrected.unanswered()), (10, 0));
}

#[test]
fn a_stopped_run_forgets_what_could_still_have_been_answered() {
    let mut schedule = Schedule::new(&open(1000.0, 1, 10_000), ms(0));
    pump(&mut schedule, ms(99));
    let outcome = schedule.finish(ms(100));
    assert_eq!((outcome.sent, outcome.lost, outcome.measured), (0, 0, Duration::from_millis(100)));
}

#[test]
fn an_ended_connection_loses_what_it_had_in_flight_and_the_others_go_on() {
    let mut schedule = Schedule::new(&Plan { carrier: Carrier::Tcp, ..closed(3, 2) }, ms(0));
    pump(&mut schedule, ms(0));
    schedule.ended(0);
    assert_eq!((schedule.outcome().lost, schedule.in_flight(0), schedule.due(0, ms(1))), (3, 0, None));
    schedule.defer(0);
    schedule.answered(1, 0, ms(1));
    assert_eq!(pump(&mut schedule, ms(1)), [], "a deferred connection that ended is not offered, 1 was not asked");
    assert!(schedule.due(1, ms(1)).is_some());
    schedule.ended(1);
    assert!(schedule.is_done(ms(1)), "nobody is left");
}

#[test]
fn answers_to_nothing_are_named_so() {
    let mut schedule = Schedule::new(&closed(1, 1), ms(0));
    pump(&mut schedule, ms(0));
    assert_eq!(schedule.answered(0, 1, ms(1)), Answered::Unasked);
    assert_eq!(schedule.answered(7, 0, ms(1)), Answered::Unasked);
    assert_eq!(schedule.outcome().received, 0);
}

#[test]
fn a_full_table_holds_messages_back_and_they_stay_due() {
    // One byte tells 128 messages apart.
    let mut schedule = Schedule::new(&Plan { size: 1, ..open(1000.0, 1, 1000) }, ms(0));
    assert_eq!(pump(&mut schedule, ms(999)).len(), 128);
    assert_eq!(schedule.due(0, ms(999)), None);
    assert_eq!(schedule.answered(0, 0, ms(999)), Answered::InTime);
    assert_eq!(schedule.due(0, ms(999)), Some(Message { sequence: 128, due: ms(128) }));
}

proptest! {
    /// Whatever a server does, each message that counts ends as exactly one of received and lost.
    #[test]
    fn every_message_is_received_or_lost(
        connections in 1_u32..5,
        rate in 200_u64..5000,
        is_closed: bool,
        tcp: bool,
        fates in prop::collection::vec((0_u8..5, 0_u64..1_500_000), 300),
    ) {
        let pace = if is_closed { Pace::Closed { in_flight: 3 } } else { Pace::Open { per_s: rate as f64 } };
        let carrier = if tcp { Carrier::Tcp } else { Carrier::Udp };
        let plan = Plan { carrier, pace, connections, duration: Duration::from_millis(50), ..plan() };
        let mut schedule = Schedule::new(&plan, ms(0));
        let mut answers: Vec<(Instant, u32, u64)> = Vec::new();
        let mut fate = fates.iter().cycle();
        for step in 0..1200 {
            let now = us(step * 1000);
            for (connection, message) in pump(&mut schedule, now) {
                let &(kind, delay) = fate.next().expect("a cycle has no end");
                let at = now + Duration::from_micros(delay);
                match kind {
                    0 if !tcp => {}
                    1 if !tcp => answers.extend([(at, connection, message.sequence), (at, connection, message.sequence)]),
                    _ => answers.push((at, connection, message.sequence)),
                }
            }
            answers.sort();
            let ready = answers.partition_point(|answer| answer.0 <= now);
            for (_, connection, sequence) in answers.drain(..ready) {
                prop_assert_ne!(schedule.answered(connection, sequence, now), Answered::Unasked);
                schedule.defer(connection);
            }
            schedule.expire(now);
        }
        let outcome = schedule.finish(ms(1200));
        prop_assert_eq!(outcome.sent, outcome.received + outcome.lost);
        prop_assert!(outcome.late <= outcome.lost);
        let seen = &outcome.rtt_uncorrected;
        prop_assert_eq!(seen.count() + seen.unanswered(), outcome.sent);
        prop_assert_eq!(seen.count(), outcome.received + outcome.late);
        if !is_closed {
            prop_assert_eq!(outcome.sent, (rate * 50).div_ceil(1000));
        }
    }
}
