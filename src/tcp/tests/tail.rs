//! Tail loss probes (RFC 8985 7).

use std::time::Duration;

use super::script::*;
use crate::tcp::Config;
use crate::tcp::congestion::Congestion;
use crate::tcp::tally::Happening;

const RTT: Duration = Duration::from_millis(10);

fn in_flight(segments: u32) -> Script {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.flight(segments, 1);
    peer
}

/// After the probe of a flight of three segments, which has left again.
fn probed() -> Script {
    let mut peer = in_flight(3);
    assert_eq!(peer.next_timer(), 2 * RTT);
    assert!(peer.noted().contains(Happening::TailLossProbe));
    peer.expect(data(&[1; 1000]).seq(ISS + 2001));
    peer.expect_nothing();
    peer
}

//= type=test
//= rfc8985#7.3
//# If such an unsent segment is not available, then the sender SHOULD retransmit the highest-sequence segment sent so far and set
//# TLP.is_retrans to true.
//= type=test
//= rfc8985#7.3
//# After attempting to send a loss probe, regardless of whether a loss probe was sent, the sender MUST re-arm the RTO timer, not the PTO
//# timer, if the FlightSize is not zero.
#[test]
fn a_lost_tail_is_found_by_a_probe_and_repaired_without_a_timeout() {
    let mut peer = probed();
    peer.advance(RTT);
    // The two before it were lost as well.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).sack(&[(ISS + 2001, ISS + 3001)]));
    peer.advance(RTT);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001).sack(&[(ISS + 2001, ISS + 3001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    assert_eq!(peer.tcb.unacknowledged(), 0);
    assert!(!peer.noted().contains(Happening::RetransmissionTimeout));
}

#[test]
fn after_the_probe_the_retransmission_timer_runs_anew() {
    let mut peer = probed();
    assert_eq!(peer.next_timer(), Duration::from_millis(200));
    assert!(peer.noted().contains(Happening::RetransmissionTimeout));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
}

//= type=test
//= rfc8985#7.3
//# If both conditions are met, then the sender SHOULD transmit a previously unsent data segment, if one exists and the receive window
//# allows, and increment the FlightSize accordingly.
#[test]
fn a_probe_is_new_data_where_there_is_some() {
    let mut peer = in_flight(10);
    peer.send(&[2; 5000]);
    peer.expect_nothing();
    peer.next_timer();
    peer.expect(more(&[2; 1000]).seq(ISS + 10_001));
    peer.expect_nothing();
    assert_eq!(peer.tcb.retransmitted(), 0);
}

//= type=test
//= rfc8985#7.2
//# Third, when the FlightSize is one segment, the sender MAY inflate the PTO by TLP.max_ack_delay to accommodate a potentially delayed
//# acknowledgment and reduce the risk of spurious retransmissions.
#[test]
fn a_single_segment_gets_the_time_of_a_delayed_ack_too() {
    let mut peer = in_flight(1);
    assert_eq!(peer.next_timer(), 2 * RTT + Duration::from_millis(50));
    peer.expect(data(&[1; 1000]).seq(ISS + 1));
}

/// Twice a round trip of 5 us is less than any machine pauses now and then.
#[test]
fn the_probe_has_a_least_time() {
    for probe_min in [2, 7] {
        let config = Config { probe_min: Duration::from_millis(probe_min), ..plain() };
        let mut peer = Script::with_sack(config, Duration::from_micros(5));
        peer.flight(2, 1);
        assert_eq!(peer.next_timer(), Duration::from_millis(probe_min));
    }
}

//= type=test
//= rfc8985#7.2
//# Finally, if the time at which an RTO would fire (here denoted as "TCP_RTO_expiration()") is sooner than the computed time for the PTO, then
//# the sender schedules a TLP to be sent at that RTO time.
#[test]
fn a_probe_takes_the_place_of_an_earlier_timeout() {
    let mut peer = Script::with_sack(plain(), Duration::from_millis(10));
    peer.flight(1, 1);
    peer.advance(Duration::from_millis(65));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.flight(2, 2);
    assert!(peer.next_timer() < Duration::from_millis(200));
    assert!(peer.noted().contains(Happening::TailLossProbe));
}

//= type=test
//= rfc8985#7.3
//# First, there is no other previous loss probe still in flight.
#[test]
fn there_is_one_probe_at_a_time() {
    let mut peer = probed();
    // The first two arrive; the probe does not.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
    assert!(peer.next_timer() >= Duration::from_millis(200));
    assert!(peer.noted().contains(Happening::RetransmissionTimeout));
}

//= type=test
//= rfc8985#7.4.2
//# If the TLP retransmission is spurious, a receiver that uses DSACK would return an ACK that covers TLP.end_seq with a DSACK option (Case 1).
#[test]
fn a_probe_that_was_not_needed_costs_nothing() {
    let mut peer = probed();
    let window = peer.tcb.congestion.window();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001).sack(&[(ISS + 2001, ISS + 3001)]));
    assert!(peer.noted().contains(Happening::DsackReceived));
    peer.flight(2, 2);
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 5001));
    assert!(!peer.noted().contains(Happening::TailLossRepaired));
    assert!(peer.tcb.congestion.window() >= window);
}

/// The answer tells that the probe was not needed, and times nothing: until something is timed there is no other.
#[test]
fn after_a_probe_that_timed_nothing_the_next_flight_has_none() {
    let mut peer = probed();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001).sack(&[(ISS + 2001, ISS + 3001)]));
    peer.flight(2, 2);
    assert!(peer.next_timer() >= Duration::from_millis(200));
    assert!(peer.noted().contains(Happening::RetransmissionTimeout));
}

//= type=test
//= rfc8985#7.4.2
//# If the receiver does not support DSACK, it would return a DupAck without any SACK option (Case 2).
#[test]
fn a_bare_duplicate_says_that_too() {
    let mut peer = probed();
    peer.send(&[2; 500]);
    peer.expect(data(&[2; 500]).seq(ISS + 3001));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3501));
    assert!(!peer.noted().contains(Happening::TailLossRepaired));
}

//= type=test
//= rfc8985#7.4.2
//# The sender then SHOULD invoke a congestion control response equivalent to a fast recovery.
#[test]
fn a_loss_that_the_probe_repaired_counts_as_one() {
    let mut peer = probed();
    let window = peer.tcb.congestion.window();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3001));
    peer.flight(2, 2);
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 5001));
    assert!(peer.noted().contains(Happening::TailLossRepaired));
    assert!(peer.tcb.congestion.window() < window);
}

#[test]
fn at_a_closed_window_there_is_no_probe_of_the_tail() {
    let mut peer = in_flight(3);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001).win(0));
    peer.next_timer();
    peer.expect_nothing();
    assert!(!peer.noted().contains(Happening::TailLossProbe));
}

#[test]
fn without_sack_there_are_no_probes() {
    let mut peer = Script::established();
    peer.flight(3, 1);
    assert_eq!(peer.next_timer(), Duration::from_millis(200));
    assert!(!peer.noted().contains(Happening::TailLossProbe));
}

#[test]
fn a_fin_at_the_tail_is_probed_with_its_data() {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.send(b"bye");
    peer.close();
    let last = data(b"bye").with(crate::wire::tcp::Flags::FIN).seq(ISS + 1);
    peer.expect(last.clone());
    peer.next_timer();
    peer.expect(last);
}
