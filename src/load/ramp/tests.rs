//! The books of a ramp.

use super::super::plan::tests::plan;
use super::*;
use crate::load::plan::Carrier;
use crate::metrics::histogram::Reading;
use crate::settings::number::WHOLE;

fn books(connections: u32, per_s: f64) -> Books {
    let ramp = Ramp { per_s, active: WHOLE };
    Books::new(&Plan { carrier: Carrier::Tcp, connections, ramp: Some(ramp), ..plan() }, ramp)
}

fn ms(ms: u64) -> Instant {
    Instant::from_ns(ms * 1_000_000)
}

/// Begins the first connection at 0 and has it established at 10 ms: the rate begins then.
fn begun(connections: u32, per_s: f64) -> Books {
    let mut books = books(connections, per_s);
    assert_eq!(books.begin(ms(0)), Some(0));
    assert_eq!((books.begin(ms(9)), books.next_due()), (None, Instant::NEVER), "the first one goes alone");
    books.connected(0, ms(10));
    books
}

#[test]
fn connections_are_due_at_the_rate_whatever_became_of_the_earlier_ones() {
    let mut books = begun(4, 1000.0);
    assert_eq!((books.next_due(), books.begin(ms(10))), (ms(11), None));
    assert_eq!([books.begin(ms(12)), books.begin(ms(12)), books.begin(ms(12))], [Some(1), Some(2), None]);
    assert_eq!((books.begin(ms(13)), books.begin(ms(99))), (Some(3), None));
    assert!(books.next_due() == Instant::NEVER && !books.is_settled());
    books.lose(1, Lost::Refused, ms(14));
    books.lose(2, Lost::TimedOut, ms(15));
    books.connected(3, ms(16));
    assert!(books.is_settled() && books.is_open(3) && !books.is_open(1));
    assert_eq!((books.open(), books.open_numbers().collect::<Vec<_>>()), (2, vec![0, 3]));
    let summary = books.summary();
    assert_eq!((summary.opened, summary.open, summary.refused, summary.timed_out), (2, 2, 1, 1));
}

#[test]
fn what_was_late_counts_from_when_it_was_due() {
    let mut books = begun(2, 1000.0);
    // Due at 11 ms, begun at 50 ms.
    assert_eq!(books.begin(ms(50)), Some(1));
    books.connected(1, ms(51));
    assert!(matches!(books.recorders().0.quantile(1.0), Reading::Exact(ns) if ns.abs_diff(40_000_000) < 100_000));
    assert!((books.summary().seconds - 0.041).abs() < 1e-9);
}

#[test]
fn a_handshake_without_an_answer_is_given_up_after_ten_seconds() {
    let mut books = begun(3, 1000.0);
    assert_eq!([books.begin(ms(11)), books.begin(ms(500))], [Some(1), Some(2)]);
    books.connected(2, ms(501));
    assert_eq!(books.overdue(ms(10_011)), None);
    assert_eq!(books.overdue(ms(10_012)), Some(1));
    books.lose(1, Lost::TimedOut, ms(10_012));
    assert_eq!((books.overdue(ms(20_000)), books.is_settled(), books.summary().timed_out), (None, true, 1));
    assert_eq!(books.recorders().0.unanswered(), 1, "it belongs to the distribution");
}

#[test]
fn a_first_connection_that_fails_does_not_hold_up_the_others() {
    let mut books = books(2, 1000.0);
    books.begin(ms(0));
    books.lose(0, Lost::Refused, ms(5));
    assert_eq!((books.next_due(), books.begin(ms(6))), (ms(6), Some(1)));
}

#[test]
fn what_ends_while_it_is_held_is_counted_once() {
    let mut books = begun(1, 1000.0);
    books.lose(0, Lost::Reset, ms(20));
    books.lose(0, Lost::Reset, ms(21));
    books.lose(7, Lost::Reset, ms(21));
    let summary = books.summary();
    assert_eq!((summary.opened, summary.open, summary.reset), (1, 0, 1));
    assert!(books.all_closed() && books.close_next(ms(22)).is_none());
}

#[test]
fn closes_are_out_so_many_at_once_and_end_within_their_time() {
    let many = CLOSES_AT_ONCE + 1;
    let mut books = books(many, 1e9);
    for number in 0..many {
        let now = ms(1 + u64::from(number > 0));
        assert_eq!(books.begin(now), Some(number));
        books.connected(number, now);
        books.overdue(now);
    }
    let closing: Vec<_> = std::iter::from_fn(|| books.close_next(ms(2))).collect();
    assert_eq!(closing.len(), CLOSES_AT_ONCE as usize);
    assert!(books.closed(3, ms(4)) && !books.closed(3, ms(4)));
    assert_eq!((books.close_next(ms(4)), books.close_next(ms(4))), (Some(many - 1), None));
    assert_eq!(books.overdue(ms(3002)), None);
    while let Some(number) = books.overdue(ms(3003)) {
        books.lose(number, Lost::TimedOut, ms(3003));
    }
    assert!(!books.all_closed() && books.overdue(ms(3004)).is_none());
    assert_eq!(books.overdue(ms(3005)), Some(many - 1), "it was asked last, and not forgotten");
    books.lose(many - 1, Lost::TimedOut, ms(3005));
    assert!(books.all_closed());
    assert_eq!(books.recorders().1.unanswered(), u64::from(CLOSES_AT_ONCE));
    assert_eq!(books.summary().timed_out, 0, "the ramp was over");
}

#[test]
fn windows_fit_the_length_of_the_ramp_and_are_never_too_many() {
    for (connections, per_s, window) in [(100, 1000.0, 0.01), (3000, 1000.0, 0.1), (20_000, 1000.0, 1.0), (2, 1e-6, 600.0)] {
        assert_eq!(books(connections, per_s).summary().window_s, window, "{connections} at {per_s}");
    }
    let mut books = begun(8, 10.0);
    assert_eq!(books.begin(ms(110)), Some(1));
    books.connected(1, ms(111));
    assert_eq!(books.begin(ms(210)), Some(2));
    books.connected(2, ms(215));
    assert_eq!(books.begin(ms(310)), Some(3));
    books.connected(3, ms(1_000_000));
    let summary = books.summary();
    assert_eq!((summary.window_s, summary.opened_per_s.len()), (0.1, WINDOWS));
    assert_eq!(summary.opened_per_s[..3], [10.0, 10.0, 10.0]);
    assert_eq!(summary.opened_per_s.last(), Some(&10.0));
}
