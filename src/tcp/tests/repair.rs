//! What a repair may not do: hang, be taken back although it was needed, cost nothing or too much (RFC 5681, RFC 5682, RFC 6298, RFC 8985).

use std::time::Duration;

use super::script::*;
use crate::tcp::congestion::{Algorithm, Congestion};
use crate::tcp::tally::Happening;
use crate::tcp::{Config, Events, Opening};
use crate::time::Instant;

const RTT: Duration = Duration::from_millis(10);

/// No tail loss probe comes before the timeout.
fn unprobed() -> Config {
    Config { probe_min: Duration::from_secs(5), ..plain() }
}

fn dup() -> Seg {
    ack().seq(IRS + 1).ack(ISS + 1)
}

/// Sends all that may leave; returns how many segments.
fn drain(peer: &mut Script) -> usize {
    std::iter::from_fn(|| peer.sent()).count()
}

//= type=test
//= rfc5682#2.1
//# If the TCP sender does not have any new data to send, or the advertised window prohibits new transmissions, the recommended action is to
//# skip step 3 of this algorithm and continue with slow-start retransmissions
#[test]
fn new_data_that_nagle_holds_back_takes_no_timeout_back() {
    for sack in [true, false] {
        let config = Config { no_delay: false, ..unprobed() };
        let mut peer = if sack { Script::with_sack(config, RTT) } else { Script::established_with(config) };
        peer.flight(6, 1);
        while !peer.noted().contains(Happening::RetransmissionTimeout) {
            peer.next_timer();
        }
        peer.send(&[2; 500]);
        peer.expect(more(&[1; 1000]).seq(ISS + 1));
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
        peer.expect(more(&[1; 1000]).seq(ISS + 1001));
        drain(&mut peer);
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
        assert!(!peer.noted().contains(Happening::SpuriousTimeout), "SACK: {sack}");
        assert!(peer.tcb.congestion.window() <= 3000);
        peer.expect(more(&[1; 1000]).seq(ISS + 3001));
    }
}

/// The window that the deciding acknowledgment brings has no room for new data.
#[test]
fn new_data_that_the_window_holds_back_takes_no_timeout_back() {
    let mut peer = Script::with_sack(unprobed(), RTT);
    peer.flight(6, 1);
    while !peer.noted().contains(Happening::RetransmissionTimeout) {
        peer.next_timer();
    }
    peer.send(&[2; 5000]);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    for n in 1..3 {
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 1000 * n).win(3000));
        peer.expect(more(&[1; 1000]).seq(ISS + 1 + 1000 * (2 * n - 1)));
        drain(&mut peer);
        assert!(!peer.noted().contains(Happening::SpuriousTimeout));
    }
}

//= type=test
//= rfc6298#5.4
//# Retransmit the earliest segment that has not been acknowledged by the TCP receiver.
#[test]
fn a_retransmission_that_is_lost_while_others_fill_the_window_is_sent_again_and_given_up_in_the_end() {
    let mut peer = Script::with_sack(unprobed(), RTT);
    peer.flight(1, 1);
    peer.next_timer();
    drain(&mut peer);
    // The others leave in the very turn in which the timer expires.
    peer.now = peer.tcb.poll_timeout();
    peer.flight(9, 2);
    peer.advance(Duration::ZERO);
    assert!(peer.noted().contains(Happening::RetransmissionTimeout));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect_nothing();
    peer.advance(RTT);
    // Of all of them only the second arrives: the first is given up again, and eight are in flight where one may be.
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 2001)]));
    peer.expect_nothing();
    assert!(peer.next_timer() <= Duration::from_millis(400));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    for _ in 0..20 {
        if peer.tcb.poll_timeout() < Instant::NEVER {
            peer.next_timer();
            drain(&mut peer);
        }
    }
    peer.expect_events(Events::STALLED | Events::TIMED_OUT);
    peer.expect_finished();
}

/// What arrived long ago is acknowledged a moment after the first segment was sent once more.
#[test]
fn a_needless_retransmission_is_no_measure_of_bandwidth() {
    let mut peer = Script::open_as(Config { sack: true, ..unprobed() }, Opening { congestion: Algorithm::Bbr, ..OPENING });
    peer.sent();
    peer.advance(RTT);
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS).sack_permitted());
    drain(&mut peer);
    peer.send(&[1; 10_000]);
    while drain(&mut peer) > 0 {
        peer.advance(Duration::from_millis(1));
    }
    while !peer.noted().contains(Happening::RetransmissionTimeout) {
        peer.next_timer();
    }
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.advance(Duration::from_micros(100));
    let before = peer.tcb.congestion.pace().unwrap().bytes_per_second();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    let after = peer.tcb.congestion.pace().unwrap().bytes_per_second();
    assert!(after <= 2 * before, "{before} bytes a second before, {after} after");
}

//= type=test
//= rfc2883#4
//# (1) A D-SACK block is only used to report a duplicate contiguous sequence of data received by the receiver in the most recent packet.
#[test]
fn a_probe_that_came_twice_does_not_take_a_real_loss_back() {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.flight(3, 1);
    peer.next_timer();
    peer.expect(data(&[1; 1000]).seq(ISS + 2001));
    // The first is lost; the other two come late, and then the copy of the last.
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 3001)]));
    peer.advance(RTT);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    let window = peer.tcb.congestion.window();
    peer.inject(dup().sack(&[(ISS + 2001, ISS + 3001), (ISS + 1001, ISS + 3001)]));
    let noted = peer.noted();
    assert!(noted.contains(Happening::DsackReceived) && !noted.contains(Happening::SpuriousByDsack));
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    assert!(peer.tcb.congestion.window() <= window);
    assert!(!peer.noted().contains(Happening::SpuriousByDsack));
}

//= type=test
//= rfc6582#3.2
//# When the third duplicate ACK is received, the TCP sender first checks the value of recover to see if the Cumulative
//# Acknowledgment field covers more than recover.
#[test]
fn a_recovery_two_gibibytes_ago_does_not_keep_the_next_from_beginning() {
    let mut peer = Script::established();
    peer.tcb.age_recovery_point((1 << 31) - 1500);
    for n in 0..2 {
        peer.flight(1, 1);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 1000 * (n + 1)));
    }
    peer.flight(6, 1);
    for _ in 0..3 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
    }
    peer.expect(more(&[1; 1000]).seq(ISS + 2001));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 8001));
}

//= type=test
//= rfc5681#4.3
//# Loss in two successive windows of data, or the loss of a retransmission, should be taken as two indications of congestion and, therefore,
//# cwnd (and ssthresh) MUST be lowered twice in this case.
#[test]
fn a_loss_of_what_was_sent_during_recovery_is_a_second_one() {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.flight(10, 1);
    peer.advance(RTT);
    peer.send(&[2; 6000]);
    // The first is lost.
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 5001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect_nothing();
    peer.advance(RTT / 10);
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 9001)]));
    peer.expect(more(&[2; 1000]).seq(ISS + 10_001));
    peer.expect(more(&[2; 1000]).seq(ISS + 11_001));
    drain(&mut peer);
    peer.advance(RTT * 9 / 10);
    // The repair has arrived, the tenth has not.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 9001));
    peer.advance(RTT / 10);
    // Nor has the eleventh, which was sent in recovery.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 9001).sack(&[(ISS + 11_001, ISS + 13_001)]));
    drain(&mut peer);
    let window = peer.tcb.congestion.threshold();
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001).sack(&[(ISS + 11_001, ISS + 13_001)]));
    assert!(peer.tcb.congestion.threshold() < window, "{} of {window}", peer.tcb.congestion.threshold());
    drain(&mut peer);
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(peer.tcb.snd.nxt));
    assert!(peer.tcb.congestion.threshold() < window);
    assert!(!peer.noted().contains(Happening::RetransmissionTimeout));
}

//= type=test
//= rfc8985#6.2
//# For timely loss detection, it is RECOMMENDED that the sender install a reordering timer.
#[test]
fn the_reordering_timer_waits_for_nothing_that_has_arrived_or_is_given_up() {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.flight(8, 1);
    peer.advance(RTT);
    // Three holes; then the second of them turns out to have been late, so that a reordering window opens.
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 2001), (ISS + 3001, ISS + 4001), (ISS + 5001, ISS + 7001)]));
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 4001), (ISS + 5001, ISS + 7001)]));
    assert!(peer.noted().contains(Happening::ReorderingSeen));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect(more(&[1; 1000]).seq(ISS + 4001));
    assert!(peer.next_timer() >= Duration::from_millis(100));
    assert!(peer.noted().contains(Happening::RetransmissionTimeout));
}

//= type=test
//= rfc5681#3.1
//# ssthresh = max (FlightSize / 2, 2*SMSS)            (4)
//= type=test
//= rfc5681#2
//# FLIGHT SIZE: The amount of data that has been sent but not yet cumulatively acknowledged.
#[test]
fn a_timeout_counts_all_that_is_outstanding() {
    let mut peer = Script::established();
    peer.flight(6, 1);
    peer.inject(dup());
    peer.inject(dup());
    peer.next_timer();
    assert!(peer.noted().contains(Happening::RetransmissionTimeout));
    assert_eq!(peer.tcb.congestion.threshold(), 3000);
}

//= type=test
//= rfc7661#4.4.1
//# cwnd = (Max(pipeACK,LossFlightSize) - R)/2.
#[test]
fn what_duplicates_find_lost_counts_although_they_deliver_nothing() {
    let mut peer = Script::established();
    for n in 0..5 {
        peer.flight(2, 1);
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 2000 * (n + 1)));
    }
    peer.flight(8, 1);
    peer.advance(RTT);
    for _ in 0..3 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    }
    peer.expect(more(&[1; 1000]).seq(ISS + 10_001));
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 18_001));
    assert_eq!(peer.tcb.congestion.threshold(), 3500);
}
