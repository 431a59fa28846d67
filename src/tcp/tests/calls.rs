//! What the engine asks of a connection besides segments.

use super::script::*;
use crate::tcp::{State, Tuning};

#[test]
fn unread_bytes_are_lent_and_taken_back() {
    let mut peer = Script::established();
    peer.appetite = 0;
    peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
    let lent = peer.tcb.lend_unread();
    assert_eq!((lent.unread(), peer.tcb.unread_len()), (&b"abc"[..], 0));
    peer.tcb.take_back(lent);
    assert_eq!(peer.tcb.unread(), b"abc");
    // The connection goes while they are lent: their memory comes back all the same.
    peer.tcb.lend_unread().release(&mut peer.pool);
    assert_eq!(peer.pool.in_use(), 0);
}

#[test]
fn what_is_in_flight_is_known_by_its_numbers() {
    let mut peer = Script::established();
    peer.send(b"abc");
    peer.expect(data(b"abc").seq(ISS + 1));
    for (offset, in_flight) in [(0, false), (1, true), (3, true), (4, false)] {
        assert_eq!(peer.tcb.is_in_flight(ISS + offset), in_flight, "{offset}");
    }
}

#[test]
fn the_code_point_has_six_bits() {
    let mut peer = Script::established();
    assert_eq!(peer.tcb.dscp(), 0);
    for (set, code) in [(46, 46), (63, 63), (64 + 10, 10)] {
        peer.tune(Tuning::Dscp(set));
        assert_eq!(peer.tcb.dscp(), code);
    }
}

#[test]
fn what_is_sent_again_is_counted() {
    let mut peer = Script::syn_sent();
    assert_eq!(peer.tcb.retransmitted(), 0);
    for again in 1..3 {
        peer.next_timer();
        peer.expect(syn().seq(ISS));
        assert_eq!(peer.tcb.retransmitted(), again);
    }
}

#[test]
fn the_service_can_ask_whether_the_peer_is_done() {
    for (script, _, _) in Script::in_every_state() {
        let done = matches!(script.tcb.state(), State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
        assert_eq!(script.tcb.peer_closed(), done, "{:?}", script.tcb.state());
    }
}

/// Bytes that nobody will read end a connection that was closed both ways, and no other.
#[test]
fn what_a_service_leaves_is_lost_only_when_it_has_closed_both_ways() {
    let mut peer = Script::established();
    assert!(peer.tcb.readable() && !peer.tcb.lose_unreadable(5, &mut peer.pool));
    peer.expect_state(State::Established);
    for (left, lost) in [(0, false), (1, true)] {
        let mut peer = Script::established();
        peer.tcb.close_both(&peer.config, peer.now, &mut peer.pool);
        assert!(!peer.tcb.readable());
        assert_eq!(peer.tcb.lose_unreadable(left, &mut peer.pool), lost);
        peer.expect_state(if lost { State::Closed } else { State::FinWait1 });
    }
}

#[test]
fn what_was_lent_while_a_service_closed_both_ways_is_lost() {
    let mut peer = Script::established();
    peer.appetite = 0;
    peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
    let lent = peer.tcb.lend_unread();
    peer.tcb.close_both(&peer.config, peer.now, &mut peer.pool);
    peer.expect_state(State::FinWait1);
    peer.tcb.take_back(lent);
    assert!(peer.tcb.lose_unreadable(0, &mut peer.pool));
    peer.expect(rst().seq(ISS + 1));
    peer.expect_state(State::Closed);
}
