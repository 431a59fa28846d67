//! Where algorithms stop: the least threshold, and how long a filter remembers which value.

use std::time::Duration;

use super::hystart::{Growth, HyStart};
use super::max_filter::MaxFilter;
use super::tests::acked;
use super::{Acked, Algorithm, Congestion, Control, Signal};
use crate::tcp::rate::Sample;
use crate::time::Instant;

const START: Instant = Instant::from_ns(1_000_000_000_000);
const MS: u64 = 1_000_000;

fn control(algorithm: Algorithm) -> Control {
    let mut control = Control::new(algorithm);
    control.set_mss(1000);
    control
}

/// An ACK in a full window; returns by how much that grows.
fn growth(control: &mut Control, bytes: u32, rtt_ns: u64) -> u32 {
    let before = control.window();
    control.on_ack(&Acked { now: START, srtt_ns: Some(rtt_ns), rtt_ns: Some(rtt_ns), ..acked(bytes, before) });
    control.window() - before
}

/// A loss of nearly all that was in flight, in a window of which little was used.
#[test]
fn the_threshold_is_two_segments_at_least_however_little_was_used() {
    for algorithm in [Algorithm::Reno, Algorithm::Cubic] {
        let mut control = control(algorithm);
        let mut now = START;
        for _ in 0..10 {
            control.on_ack(&Acked { now, srtt_ns: Some(10_000_000), ..acked(500, 500) });
            now += Duration::from_millis(10);
        }
        control.on_congestion(Signal::Loss, 3_000, now);
        control.on_ack(&Acked { now, recovering: true, lost: 2_500, ..acked(500, 3_000) });
        control.on_recovered(u32::MAX);
        assert_eq!(control.threshold(), 2_000, "{}", algorithm.name());
    }
}

/// A second candidate is taken once a quarter of the window has passed, a third once half of it has.
#[test]
fn a_filter_takes_its_candidates_from_the_quarters_of_its_window() {
    let mut filter = MaxFilter::default();
    let values = [100, 70, 60, 50, 40, 30, 10, 10, 10];
    for (round, value) in values.into_iter().enumerate() {
        filter.update(8, round as u32, value);
        assert_eq!(filter.value(), 100);
    }
    let later: Vec<_> = (9..15)
        .map(|round| {
            filter.update(8, round, 10);
            filter.value()
        })
        .collect();
    assert_eq!(later, [50, 50, 50, 30, 30, 10]);
}

#[test]
fn conservative_slow_start_grows_by_a_quarter() {
    let mut control = control(Algorithm::Cubic);
    (0..9).for_each(|_| assert_eq!(growth(&mut control, 1_000, 10 * MS), 1_000));
    let risen: Vec<_> = (0..12).map(|_| growth(&mut control, 1_000, 20 * MS)).collect();
    assert_eq!((risen[0], risen[11]), (1_000, 250), "{risen:?}");
}

/// 30 segments below the plateau the curve rises by some 20 segments a second, however much one ACK acknowledges.
#[test]
fn the_window_approaches_the_curve_and_does_not_jump() {
    let mut control = control(Algorithm::Cubic);
    while control.window() < 100_000 {
        growth(&mut control, 8_000, 100 * MS);
    }
    control.on_congestion(Signal::Loss, control.window(), START);
    control.on_recovered(u32::MAX);
    growth(&mut control, 1_000, 100 * MS);
    let grown = growth(&mut control, 1_000, 100 * MS);
    assert!((1..100).contains(&grown), "{grown}");
}

/// However far ahead the curve is, a window of acknowledgments lets the window grow by half of it.
#[test]
fn the_target_is_half_a_window_away_at_most() {
    let mut control = control(Algorithm::Cubic);
    while control.window() < 100_000 {
        growth(&mut control, 8_000, 100 * MS);
    }
    control.on_congestion(Signal::Loss, control.window(), START);
    control.on_recovered(u32::MAX);
    growth(&mut control, 1_000, 100 * MS);
    let window = control.window();
    let later = START + Duration::from_secs(30);
    control.on_ack(&Acked { now: later, srtt_ns: Some(100 * MS), ..acked(window, window) });
    assert!(control.window().abs_diff(window + window / 2) <= 1, "{window} became {}", control.window());
}

/// On a short path what is a gap is told by its round-trip time.
#[test]
fn a_train_of_acks_has_no_gap_of_a_quarter_of_a_round_trip() {
    for (gap_us, ends) in [(900, true), (1_100, false), (1_900, false)] {
        let mut hystart = HyStart::NEW;
        let at = |n: u64| START + Duration::from_micros(n * gap_us);
        let ended = (0..40).any(|n| hystart.on_ack(n == 0, Some(4 * MS), at(n)) == Growth::Exit);
        assert_eq!(ended, ends, "{gap_us} us");
    }
}

#[test]
fn while_bbr_starts_up_its_window_grows_by_what_is_delivered() {
    let mut control = control(Algorithm::Bbr);
    for n in 1..=4 {
        // 10 MB/s over 10 ms: far more than is in flight yet.
        let sample = Sample {
            bytes: 100_000,
            interval_ns: 10 * MS,
            prior_delivered: 5_000 * (n - 1),
            delivered: 5_000 * n,
            limited: false,
        };
        let rtt_ns = Some(10 * MS);
        control.on_ack(&Acked { now: START, srtt_ns: rtt_ns, rtt_ns, rate: Some(sample), ..acked(5_000, 10_000) });
        assert_eq!(control.window(), 10_000 + 5_000 * n);
    }
    assert_eq!(control.threshold(), u32::MAX, "it knows no threshold");
    control.set_mss(500);
    assert_eq!(control.window(), 30_000, "once data flows another segment size changes nothing");
}
