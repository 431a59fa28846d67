//! RACK: losses found by time (RFC 8985 6).

use std::time::Duration;

use super::script::*;
use crate::tcp::congestion::Congestion;
use crate::tcp::tally::Happening;

const RTT: Duration = Duration::from_millis(10);

/// SACK, a round trip of 10 ms, and `segments` full segments that left a round trip ago.
fn in_flight(segments: u32) -> Script {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.flight(segments, 1);
    peer.advance(RTT);
    peer
}

fn dup() -> Seg {
    ack().seq(IRS + 1).ack(ISS + 1)
}

//= type=test
//= rfc8985#6.2
//# If no reordering has been observed based on the previous step, then one way the sender can enter fast recovery is when the number of SACKed
//# segments matches or exceeds DupThresh (similar to [RFC6675]).
#[test]
fn three_segments_reported_send_the_missing_one_at_once() {
    let mut peer = in_flight(6);
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 3001)]));
    peer.expect_nothing();
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 4001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect_nothing();
    assert!(peer.noted().contains(Happening::FastRetransmit));
    assert_eq!(peer.tcb.congestion.window(), 3000);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 6001));
    peer.expect_nothing();
    assert_eq!((peer.tcb.retransmitted(), peer.pool.in_use()), (1, 0));
}

//= type=test
//= rfc8985#6.2
//# For timely loss detection, it is RECOMMENDED that the sender install a reordering timer.
//= type=test
//= rfc8985#6.2
//# When the reordering window is not set to 0, it starts with a conservative RACK.reo_wnd of RACK.min_RTT/4.
#[test]
fn one_segment_reported_gives_the_others_a_quarter_of_a_round_trip() {
    let mut peer = in_flight(3);
    peer.inject(dup().sack(&[(ISS + 2001, ISS + 3001)]));
    peer.expect_nothing();
    assert_eq!(peer.next_timer(), RTT / 4);
    assert!(peer.noted().contains(Happening::ReorderingTimeout));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001).sack(&[(ISS + 2001, ISS + 3001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.expect_nothing();
}

#[test]
fn a_late_segment_that_comes_within_the_window_is_not_sent_again() {
    let mut peer = in_flight(3);
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 2001)]));
    peer.advance(RTT / 8);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
    assert!(peer.noted().contains(Happening::ReorderingSeen));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    assert_eq!(peer.tcb.retransmitted(), 0);
    assert_eq!(peer.tcb.poll_timeout(), crate::time::Instant::NEVER);
}

/// The timer never runs for less than the setting, however short the round trip.
#[test]
fn the_reordering_timer_has_a_least_time() {
    for (rtt_us, waits_us) in [(5, 1000), (100, 1000), (40_000, 10_000)] {
        let rtt = Duration::from_micros(rtt_us);
        let mut peer = Script::with_sack(plain(), rtt);
        peer.flight(3, 1);
        peer.advance(rtt);
        peer.inject(dup().sack(&[(ISS + 2001, ISS + 3001)]));
        assert_eq!(peer.next_timer(), Duration::from_micros(waits_us), "round trip of {rtt:?}");
    }
}

//= type=test
//= rfc8985#6.2
//# Otherwise, if some reordering has been observed, then RACK does not trigger fast recovery based on DupThresh.
#[test]
fn once_segments_overtook_each_other_three_reports_are_not_enough() {
    let mut peer = in_flight(2);
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 2001)]));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
    peer.flight(5, 2);
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001).sack(&[(ISS + 3001, ISS + 7001)]));
    peer.expect_nothing();
    peer.advance(RTT / 4);
    peer.expect(more(&[2; 1000]).seq(ISS + 2001));
}

//= type=test
//= rfc8985#3.1
//# If a segment has been retransmitted but its most recent (re)transmission timestamp has expired, then, after a reordering window, it's
//# marked as lost.
//= type=test
//= rfc5681#4.3
//# Loss in two successive windows of data, or the loss of a retransmission, should be taken as two indications of congestion and, therefore,
//# cwnd (and ssthresh) MUST be lowered twice in this case.
#[test]
fn a_lost_retransmission_is_found_without_a_timeout_and_counts_twice() {
    let mut peer = in_flight(10);
    // The first and the third segment are lost.
    peer.inject(dup().sack(&[(ISS + 3001, ISS + 10_001), (ISS + 1001, ISS + 2001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect(more(&[1; 1000]).seq(ISS + 2001));
    let window = peer.tcb.congestion.window();
    peer.advance(RTT);
    // Only the second retransmission arrives.
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 10_001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    assert!(peer.tcb.congestion.window() < window);
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    assert_eq!((peer.tcb.retransmitted(), peer.tcb.unacknowledged()), (3, 0));
    assert!(!peer.noted().contains(Happening::RetransmissionTimeout));
}

//= type=test
//= rfc8985#6.3
//# Upon RTO timer expiration, RACK marks the first outstanding segment as lost (since it was sent an RTO ago); for all the other segments, RACK
//# only marks the segment as lost if the time elapsed since the segment was transmitted is at least the sum of the recent RTT and the
//# reordering window.
#[test]
fn a_timeout_does_not_give_up_what_was_sent_a_moment_ago() {
    let mut peer = Script::accept(plain(), syn().seq(IRS).mss(MSS));
    peer.sent();
    peer.advance(Duration::from_millis(50));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.flight(1, 1);
    peer.advance(Duration::from_millis(190));
    peer.flight(2, 2);
    peer.advance(Duration::from_millis(10));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    // Its acknowledgment lets the window grow, but nothing else is taken for lost.
    peer.advance(Duration::from_millis(1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    assert_eq!(peer.tcb.retransmitted(), 1);
}
