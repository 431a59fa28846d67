//! SACK blocks at the sender (RFC 2018, RFC 6675), limited transmit (RFC 3042), PRR (RFC 6937).

use std::time::Duration;

use super::script::*;
use crate::tcp::congestion::Congestion;
use crate::tcp::tally::Happening;

const RTT: Duration = Duration::from_millis(10);

fn in_flight(segments: u32) -> Script {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.flight(segments, 1);
    peer.advance(RTT);
    peer
}

fn dup() -> Seg {
    ack().seq(IRS + 1).ack(ISS + 1)
}

#[test]
fn only_the_holes_are_sent_again() {
    let mut peer = in_flight(10);
    peer.inject(dup().sack(&[(ISS + 8001, ISS + 10_001), (ISS + 5001, ISS + 7001), (ISS + 1001, ISS + 3001)]));
    for n in [0, 3000, 4000, 7000] {
        peer.expect(more(&[1; 1000]).seq(ISS + 1 + n));
    }
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    assert_eq!(peer.tcb.retransmitted(), 4);
}

//= type=test
//= rfc3042#2
//# When a TCP sender has previously unsent data queued for transmission it SHOULD use the Limited Transmit algorithm
#[test]
fn new_data_leaves_on_the_first_sign_of_a_loss() {
    for sack in [true, false] {
        let mut peer = if sack { in_flight(10) } else { Script::established() };
        if !sack {
            peer.flight(10, 1);
        }
        peer.send(&[2; 5000]);
        peer.expect_nothing();
        for n in 0..2 {
            let dup = if sack { dup().sack(&[(ISS + 1001, ISS + 2001 + 1000 * n)]) } else { dup() };
            peer.inject(dup);
            peer.expect(more(&[2; 1000]).seq(ISS + 10_001 + 1000 * n));
            peer.expect_nothing();
            assert!(peer.noted().contains(Happening::LimitedTransmit));
        }
        //= type=test
        //= rfc5681#3.2
        //# When [RFC3042] is in use, additional data sent in limited transmit MUST NOT be included in this calculation.
        peer.inject(if sack { dup().sack(&[(ISS + 1001, ISS + 4001)]) } else { dup() });
        assert_eq!(peer.tcb.congestion.threshold(), 5000, "SACK: {sack}");
        peer.expect(more(&[1; 1000]).seq(ISS + 1));
        peer.expect_nothing();
    }
}

/// An ACK may move SND.UNA and report something beyond a gap in one: what it makes room for belongs to the flight.
#[test]
fn what_progress_makes_room_for_is_no_limited_transmit() {
    let mut peer = in_flight(10);
    peer.send(&[2; 9000]);
    let mut sent = Vec::new();
    for right in [5001, 6001, 7001] {
        peer.inject(dup().ack(ISS + 3001).sack(&[(ISS + 4001, ISS + right)]));
        sent.push(std::iter::from_fn(|| peer.sent()).count());
    }
    // Eleven segments fill the window; two more left by limited transmit.
    assert_eq!(sent[..2], [5, 1]);
    assert_eq!(peer.tcb.congestion.threshold(), 5500);
}

//= type=test
//= rfc6937#3
//# sndcnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out
#[test]
fn recovery_sends_one_segment_for_two_that_arrive() {
    let mut peer = in_flight(10);
    peer.send(&[2; 9000]);
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 4001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    let mut sent = Vec::new();
    for n in 5..11 {
        peer.inject(dup().sack(&[(ISS + 1001, ISS + 1 + 1000 * n)]));
        sent.push(std::iter::from_fn(|| peer.sent()).count());
    }
    // Three arrived with the ACK that began it, which let two go; from then on every second lets one go. ssthresh is 5 segments.
    assert_eq!(sent.iter().sum::<usize>(), 4, "{sent:?}");
    assert!(sent.iter().all(|&n| n <= 1), "{sent:?}");
    assert_eq!(peer.tcb.in_flight(), 5000);
    // RFC 9937: the window is ssthresh when recovery is over.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    assert_eq!(peer.tcb.congestion.window(), 5000);
}

//= type=test
//= rfc6937#3
//# sndcnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out
#[test]
fn what_an_ack_acknowledges_and_what_it_reports_are_both_part_of_what_recovery_counts_down() {
    let mut peer = in_flight(10);
    for n in 1..11 {
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1 + 1000 * n));
    }
    peer.flight(11, 1);
    peer.advance(RTT);
    let una = peer.tcb.snd.una;
    peer.send(&[2; 9000]);
    // Of eleven that were outstanding this delivers four: 4 * 5 / 11 is less than two.
    peer.inject(ack().seq(IRS + 1).ack(una + 1000).sack(&[(una + 2000, una + 5000)]));
    assert_eq!((peer.tcb.congestion.threshold(), peer.tcb.in_flight()), (5000, 6000));
    peer.expect(more(&[1; 1000]).seq(una + 1000));
    peer.expect_nothing();
    // And 5 * 5 / 11 is more.
    peer.inject(ack().seq(IRS + 1).ack(una + 1000).sack(&[(una + 2000, una + 6000)]));
    peer.expect(more(&[2; 1000]).seq(una + 11_000));
    peer.expect_nothing();
}

/// A late segment arrives before its copy has left: what was to leave unconditionally has lost its reason, and new data keeps to PRR.
#[test]
fn a_retransmission_that_is_no_longer_needed_lets_no_burst_go() {
    let mut peer = in_flight(10);
    peer.send(&[2; 9000]);
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 4001)]));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 4001));
    let sent = std::iter::from_fn(|| peer.sent()).count();
    assert!(sent <= 3, "{sent} segments left");
    assert_eq!(peer.tcb.retransmitted(), 0);
}

//= type=test
//= rfc2018#5.1
//# After a retransmit timeout the data sender SHOULD turn off all of the SACKed bits, since the timeout might indicate that the data receiver
//# has reneged.
#[test]
fn a_peer_that_threw_away_what_it_reported_gets_it_again() {
    let mut peer = in_flight(4);
    peer.inject(dup().sack(&[(ISS + 1001, ISS + 4001)]));
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    // It acknowledges the repair, but nothing of what it had reported.
    peer.advance(RTT);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    peer.expect_nothing();
    peer.advance(Duration::from_millis(200));
    let noted = peer.noted();
    assert!(noted.contains(Happening::SackReneged) && noted.contains(Happening::RetransmissionTimeout));
    for n in 1..4 {
        peer.expect(if n < 3 { more(&[1; 1000]) } else { data(&[1; 1000]) }.seq(ISS + 1 + 1000 * n));
        peer.expect_nothing();
        peer.advance(RTT);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1001 + 1000 * n));
        if n == 1 {
            // Slow start lets two go.
            peer.expect(more(&[1; 1000]).seq(ISS + 2001));
            peer.expect(data(&[1; 1000]).seq(ISS + 3001));
            peer.inject(ack().seq(IRS + 1).ack(ISS + 4001));
            break;
        }
    }
    peer.expect_nothing();
    assert_eq!(peer.tcb.unacknowledged(), 0);
}

#[test]
fn blocks_outside_of_what_was_sent_are_not_believed() {
    let wrong =
        [(1, 10_002), (20_000, 30_000), (5001, 5001), (7001, 3001), (0x8000_0000, 0x8000_1000), (-80_000i64 as u32, 1001)];
    for (left, right) in wrong {
        let mut peer = in_flight(10);
        peer.inject(dup().sack(&[(ISS + left, ISS + right)]));
        assert!(peer.noted().contains(Happening::SackIgnored), "{left}..{right}");
        assert_eq!(peer.tcb.in_flight(), 10_000);
        peer.expect_nothing();
    }
}

/// A block that covers a part of a segment says nothing of that segment: nobody receives half of one.
#[test]
fn a_block_counts_from_segment_to_segment() {
    let mut peer = in_flight(10);
    peer.inject(dup().sack(&[(ISS + 1002, ISS + 3000)]));
    assert_eq!(peer.tcb.in_flight(), 10_000);
    peer.inject(dup().sack(&[(ISS + 1000, ISS + 3002)]));
    assert_eq!(peer.tcb.in_flight(), 8000);
}

#[test]
fn without_sack_permitted_blocks_say_nothing() {
    let mut peer = Script::established();
    peer.flight(6, 1);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).sack(&[(ISS + 1001, ISS + 6001)]));
    peer.expect_nothing();
    assert_eq!(peer.tcb.in_flight(), 5000, "a duplicate all the same");
}

/// What SACK costs goes back to the pool when everything is acknowledged, and lists that are there are used again.
#[test]
fn the_scoreboard_comes_from_the_pool_and_goes_back() {
    let mut peer = in_flight(10);
    let held = peer.pool.in_use();
    assert!(held > 0);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    assert_eq!(peer.pool.in_use(), 0);
    let mut allocated = 0;
    for round in 0..10 {
        if round == 1 {
            allocated = peer.pool.allocated();
        }
        let una = peer.tcb.snd.nxt;
        peer.send(&[2; 8000]);
        while peer.sent().is_some() {}
        peer.inject(ack().seq(IRS + 1).ack(una).sack(&[(una + 1000, una + 2000)]));
        peer.advance(RTT);
        while peer.tcb.snd.nxt.before(una + 8000) {
            while peer.sent().is_some() {}
            peer.inject(ack().seq(IRS + 1).ack(peer.tcb.snd.nxt));
        }
        peer.inject(ack().seq(IRS + 1).ack(una + 8000));
    }
    assert_eq!((peer.pool.in_use(), peer.pool.allocated()), (0, allocated));
}

/// With no memory left for a longer list, what is in flight is told less apart, and still arrives.
#[test]
fn without_memory_the_scoreboard_grows_coarse_and_nothing_is_lost() {
    let mut peer = Script::with_sack(plain(), RTT);
    peer.send(&[1; 10_000]);
    // Each segment at its own time: a record each.
    for n in 0..10u32 {
        peer.sent();
        peer.advance(Duration::from_micros(100));
        if n == 2 {
            peer.pool = peer.pool.without_room();
        }
    }
    peer.tcb.check_flight();
    peer.inject(dup().sack(&[(ISS + 9001, ISS + 10_001), (ISS + 6001, ISS + 7001), (ISS + 3001, ISS + 4001)]));
    peer.tcb.check_flight();
    assert!(peer.noted().contains(Happening::FlightJoined));
    peer.advance(RTT);
    for _ in 0..40 {
        while peer.sent().is_some() {}
        peer.next_timer();
        if peer.noted().contains(Happening::RetransmissionTimeout) {
            break;
        }
    }
    peer.inject(ack().seq(IRS + 1).ack(ISS + 10_001));
    assert_eq!(peer.tcb.unacknowledged(), 0);
}
