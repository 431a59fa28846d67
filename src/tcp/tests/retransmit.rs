//! Retransmission: timeout, backoff, giving up, fast retransmit (RFC 6298, RFC 5681, RFC 6582).

use std::time::Duration;

use super::script::*;
use crate::tcp::congestion::Congestion;
use crate::tcp::{Config, Events};

/// Established, with `segments` full segments on the way.
fn in_flight(segments: u32) -> Script {
    let mut peer = Script::established();
    peer.send(&vec![1; 1000 * segments as usize]);
    for n in 0..segments {
        let text = if n + 1 < segments { more(&[1; 1000]) } else { data(&[1; 1000]) };
        peer.expect(text.seq(ISS + 1 + 1000 * n));
    }
    peer.expect_nothing();
    peer
}

//= type=test
//= rfc9293#3.8.3
//# The following procedure MUST be used to handle excessive retransmissions of data segments (MUST-20)
//= type=test
//= rfc9293#3.8.3
//# The value of R2 SHOULD correspond to at least 100 seconds (SHLD-11).
//= type=test
//= rfc6298#5.5
//# The host MUST set RTO <- RTO * 2 ("back off the timer").
//= type=test
//= rfc9293#3.8.3
//# When the number of transmissions of the same segment reaches a threshold R2 greater than R1, close the connection.
//= type=test
//= rfc9293#3.8.3
//# The value of R2 SHOULD correspond to at least 100 seconds (SHLD-11).
#[test]
fn a_silent_peer_is_tried_ever_more_slowly_and_given_up() {
    let mut peer = in_flight(1);
    let mut intervals = Vec::new();
    for _ in 0..peer.config.retries {
        intervals.push(peer.next_timer().as_millis());
        peer.expect(data(&[1; 1000]).seq(ISS + 1).ack(IRS + 1));
        peer.expect_nothing();
    }
    assert_eq!(intervals[..11], [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 102_400, 120_000]);
    assert!(peer.now.since(START) > Duration::from_secs(100));
    peer.next_timer();
    peer.expect_events(Events::STALLED | Events::TIMED_OUT);
    peer.expect_finished();
    assert_eq!(peer.tcb.retransmitted(), 15);
}

//= type=test
//= rfc6298#5.3
//# When an ACK is received that acknowledges new data, restart the retransmission timer
#[test]
fn an_ack_restarts_the_timer() {
    let mut peer = in_flight(2);
    peer.advance(Duration::from_millis(150));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    assert!(peer.next_timer() >= Duration::from_millis(200));
}

//= type=test
//= rfc9293#3.8.2
//# A TCP endpoint MUST implement the basic congestion control algorithms slow start, congestion avoidance, and exponential
//# backoff of RTO to avoid creating congestion collapse conditions (MUST-19).
#[test]
fn a_timeout_sends_everything_again_in_slow_start() {
    let mut peer = in_flight(6);
    peer.next_timer();
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect_nothing();
    assert_eq!(peer.tcb.congestion.window(), 1000);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.expect(more(&[1; 1000]).seq(ISS + 2001));
    peer.expect_nothing();
    // The peer had the rest after all.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 6001));
    peer.expect_nothing();
    assert_eq!(peer.tcb.unacknowledged(), 0);
}

/// What they stand for is given up, and was not in flight any more.
#[test]
fn duplicates_after_a_timeout_let_nothing_more_go() {
    let mut peer = in_flight(8);
    peer.next_timer();
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.expect(more(&[1; 1000]).seq(ISS + 2001));
    peer.expect_nothing();
    for _ in 0..5 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
        peer.expect_nothing();
    }
    assert_eq!(peer.tcb.in_flight(), 2000);
}

//= type=test
//= rfc9293#3.8.1
//# The RTO MUST be computed according to the algorithm in [10], including Karn's algorithm for taking RTT samples
//# (MUST-18).
//= type=test
//= rfc6298#3
//# That is, RTT samples MUST NOT be made using segments that were retransmitted
#[test]
fn what_was_sent_twice_gives_a_sample_only_by_its_timestamp() {
    for stamped in [false, true] {
        let config = Config { timestamps: stamped, ..plain() };
        let mut peer = Script::with_sack(Config { probe_min: Duration::from_secs(9), ..config }, Duration::from_millis(10));
        let srtt_ns = peer.tcb.srtt_ns();
        peer.flight(1, 1);
        while peer.tcb.retransmitted() == 0 {
            peer.next_timer();
            peer.sent();
        }
        let echo = peer.clock();
        peer.advance(Duration::from_millis(90));
        let acked = ack().seq(IRS + 1).ack(peer.tcb.snd.nxt);
        peer.inject(if stamped { acked.ts(PEER_TIME + 1, echo) } else { acked });
        let sampled = srtt_ns.map(|ns| if stamped { ns - ns / 8 + 90_000_000 / 8 } else { ns });
        assert_eq!(peer.tcb.srtt_ns(), sampled, "timestamps: {stamped}");
    }
}

#[test]
fn the_backoff_stays_until_something_new_is_timed() {
    let mut peer = in_flight(1);
    for _ in 0..3 {
        peer.next_timer();
        peer.sent();
    }
    // Without timestamps this ACK times nothing (Karn).
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.send(b"x");
    peer.expect(data(b"x").seq(ISS + 1001));
    assert_eq!(peer.next_timer(), Duration::from_millis(1600));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1002));
    peer.send(b"y");
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1003));
    peer.send(b"z");
    peer.sent();
    assert_eq!(peer.next_timer(), Duration::from_millis(200));
}

#[test]
fn a_segment_that_could_not_leave_does_not_count_as_sent() {
    let mut peer = in_flight(1);
    peer.next_timer();
    // No frame is free: nobody polls, and the timer expires again and again.
    for _ in 0..100 {
        peer.next_timer();
    }
    peer.expect_events(Events::NONE);
    peer.expect(data(&[1; 1000]).seq(ISS + 1));
    assert_eq!(peer.tcb.retransmitted(), 1);
}

//= type=test
//= rfc5681#3.2
//# After receiving 3 duplicate ACKs, TCP performs a retransmission of what appears to be the missing segment, without waiting for the
//# retransmission timer to expire.
#[test]
fn three_duplicates_send_the_missing_segment() {
    let mut peer = in_flight(6);
    for _ in 0..2 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.expect_nothing();
    }
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 6001));
    assert_eq!(peer.tcb.congestion.window(), 2000);
    assert_eq!(peer.tcb.retransmitted(), 1);
}

//= type=test
//= rfc6582#3.2
//# In this case, retransmit the first unacknowledged segment.
#[test]
fn a_partial_ack_sends_the_next_missing_segment() {
    let mut peer = in_flight(8);
    for _ in 0..3 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    }
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.expect(more(&[1; 1000]).seq(ISS + 3001));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 8001));
    peer.expect_nothing();
    assert_eq!(peer.tcb.unacknowledged(), 0);
}

#[test]
fn what_is_not_a_duplicate_is_not_counted() {
    let mut peer = in_flight(6);
    for window in [50_000, 40_000, 30_000, 20_000] {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(window));
    }
    peer.inject(data(b"x").seq(IRS + 1).ack(ISS + 1).win(20_000));
    peer.inject(data(b"y").seq(IRS + 2).ack(ISS + 1).win(20_000));
    peer.inject(data(b"z").seq(IRS + 3).ack(ISS + 1).win(20_000));
    peer.expect_nothing();
    assert_eq!(peer.tcb.retransmitted(), 0);
}

#[test]
fn duplicates_after_a_timeout_start_no_fast_retransmit() {
    let mut peer = in_flight(6);
    peer.next_timer();
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    for _ in 0..5 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.expect_nothing();
    }
}

#[test]
fn duplicates_let_new_data_go() {
    let mut peer = in_flight(10);
    peer.send(&[2; 10_000]);
    peer.expect_nothing();
    for _ in 0..3 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    }
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    // ssthresh 5000, inflated by 3000: three more duplicates until there is room.
    for _ in 0..2 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.expect_nothing();
    }
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect(more(&[2; 1000]).seq(ISS + 10_001));
    peer.expect_nothing();
}

#[test]
fn data_and_fin_lost_together_come_again_together() {
    let mut peer = Script::established();
    peer.send(b"bye");
    peer.close();
    let last = data(b"bye").with(crate::wire::tcp::Flags::FIN).seq(ISS + 1);
    peer.expect(last.clone());
    peer.next_timer();
    peer.expect(last);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 4));
    peer.expect_nothing();
    peer.next_timer();
    peer.expect(fin().seq(ISS + 4));
}
