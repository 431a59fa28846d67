//! Closing a connection (RFC 9293 3.6).

use std::time::Duration;

use super::script::*;
use crate::device::Drop;
use crate::tcp::{Events, State};
use crate::wire::tcp::Flags;

//= type=test
//= rfc9293#3.6
//# Local user initiates the close
#[test]
fn we_close_first() {
    let mut peer = Script::established();
    peer.close();
    peer.expect(fin().seq(ISS + 1).ack(IRS + 1));
    peer.expect_state(State::FinWait1);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2));
    peer.expect_state(State::FinWait2);
    peer.expect_events(Events::NONE);
    peer.inject(fin().seq(IRS + 1).ack(ISS + 2));
    peer.expect_state(State::TimeWait);
    peer.expect_events(Events::PEER_CLOSED | Events::CLOSED);
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
    peer.expect_nothing();
    assert_eq!(peer.next_timer(), Duration::from_secs(60));
    peer.expect_events(Events::NONE);
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.6
//# TCP endpoint receives a FIN from the network
#[test]
fn the_peer_closes_first() {
    let mut peer = Script::established();
    peer.inject(fin().seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::CloseWait);
    peer.expect_events(Events::PEER_CLOSED);
    assert!(peer.tcb.peer_closed());
    peer.expect(ack().seq(ISS + 1).ack(IRS + 2));
    peer.close();
    peer.expect(fin().seq(ISS + 1).ack(IRS + 2));
    peer.expect_state(State::LastAck);
    peer.inject(ack().seq(IRS + 2).ack(ISS + 2));
    peer.expect_events(Events::CLOSED);
    peer.expect_finished();
}

#[test]
fn a_service_that_closes_at_once_sends_one_segment() {
    let mut peer = Script::established();
    peer.inject(fin().seq(IRS + 1).ack(ISS + 1));
    peer.close();
    peer.expect(fin().seq(ISS + 1).ack(IRS + 2));
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.6
//# A simultaneous CLOSE by users at both ends of a connection causes FIN segments to be exchanged
#[test]
fn both_close_at_once() {
    let mut peer = Script::closing();
    peer.inject(ack().seq(IRS + 2).ack(ISS + 2));
    peer.expect_state(State::TimeWait);
    peer.expect_events(Events::CLOSED);
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.10.7.4
//# If our FIN has been ACKed (perhaps in this segment), then enter TIME-WAIT, start the time-wait timer, turn off the other timers
#[test]
fn a_fin_that_acknowledges_ours_skips_closing() {
    let mut peer = Script::fin_wait_1();
    peer.inject(fin().seq(IRS + 1).ack(ISS + 2));
    peer.expect_state(State::TimeWait);
    peer.expect_events(Events::PEER_CLOSED | Events::CLOSED);
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
}

//= type=test
//= rfc9293#3.6
//# The user who CLOSEs may continue to RECEIVE until the TCP receiver is told that the remote peer has CLOSED also.
#[test]
fn after_our_close_data_still_arrives() {
    let mut peer = Script::fin_wait_2();
    peer.inject(data(b"the answer").seq(IRS + 1).ack(ISS + 2));
    peer.expect_no_drop();
    peer.expect_data(b"the answer");
    peer.next_timer();
    peer.expect(ack().seq(ISS + 2).ack(IRS + 11));
    peer.inject(fin().seq(IRS + 11).ack(ISS + 2));
    peer.expect_state(State::TimeWait);
}

//= type=test
//= rfc9293#3.6
//# The user will respond with a CLOSE, upon which the TCP endpoint can send a FIN to the other TCP peer after sending any
//# remaining data.
#[test]
fn after_the_peers_close_data_still_leaves() {
    let mut peer = Script::close_wait();
    peer.send(b"still here");
    peer.expect(data(b"still here").seq(ISS + 1).ack(IRS + 2));
    peer.inject(ack().seq(IRS + 2).ack(ISS + 11));
    peer.expect_state(State::CloseWait);
    peer.send(b"bye");
    peer.close();
    peer.expect(data(b"bye").with(Flags::FIN).seq(ISS + 11).ack(IRS + 2));
    peer.expect_state(State::LastAck);
    peer.inject(ack().seq(IRS + 2).ack(ISS + 14));
    peer.expect_state(State::LastAck);
    peer.inject(ack().seq(IRS + 2).ack(ISS + 15));
    peer.expect_events(Events::CLOSED);
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.10.4
//# Queue this request until all preceding SENDs have been segmentized; then send a FIN segment, enter LAST-ACK state.
#[test]
fn the_fin_waits_for_the_data_before_it() {
    let mut peer = Script::close_wait();
    peer.inject(ack().seq(IRS + 2).ack(ISS + 1).win(500));
    peer.send(&[1; 1200]);
    peer.close();
    peer.expect_nothing();
    peer.next_timer();
    peer.expect(more(&[1; 500]).seq(ISS + 1));
    peer.expect_nothing();
    peer.expect_state(State::CloseWait);
    peer.inject(ack().seq(IRS + 2).ack(ISS + 501).win(5000));
    peer.expect(data(&[1; 700]).with(Flags::FIN).seq(ISS + 501));
    peer.expect_state(State::LastAck);
}

#[test]
fn nothing_is_taken_after_close() {
    let mut peer = Script::fin_wait_1();
    assert_eq!(peer.send(b"x"), 0);
    assert_eq!(peer.tcb.send_room(&peer.config), 0);
    peer.close();
    peer.expect_nothing();
}

#[test]
fn a_fin_beyond_a_hole_waits_for_the_hole_to_fill() {
    let mut peer = Script::established();
    peer.inject(fin().with(Flags::PSH).seq(IRS + 4).ack(ISS + 1));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
    peer.expect_state(State::Established);
    peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::CloseWait);
    peer.expect_events(Events::PEER_CLOSED);
    peer.expect_data(b"abc");
    peer.expect(ack().seq(ISS + 1).ack(IRS + 5));
}

#[test]
fn data_and_fin_beyond_a_hole_are_both_kept() {
    let mut peer = Script::established();
    peer.inject(data(b"def").with(Flags::FIN).seq(IRS + 4).ack(ISS + 1));
    peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"abcdef");
    peer.expect_events(Events::READABLE | Events::PEER_CLOSED);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 8));
}

#[test]
fn what_contradicts_the_fin_is_not_believed() {
    let mut peer = Script::established();
    peer.inject(fin().seq(IRS + 4).ack(ISS + 1));
    peer.inject(data(b"later").seq(IRS + 3).ack(ISS + 1));
    peer.expect_drop(Drop::TcpAfterFin);
    peer.inject(fin().seq(IRS + 2).ack(ISS + 1));
    peer.inject(data(b"a").seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::Established);
    peer.inject(data(b"bc").seq(IRS + 2).ack(ISS + 1));
    peer.expect_state(State::CloseWait);
    peer.expect_data(b"abc");
}

#[test]
fn a_fin_before_data_already_here_is_not_believed() {
    let mut peer = Script::established();
    peer.inject(data(b"there").seq(IRS + 5).ack(ISS + 1));
    peer.inject(fin().seq(IRS + 1).ack(ISS + 1));
    peer.inject(fin().seq(IRS + 3).ack(ISS + 1));
    peer.inject(data(b"here").seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"herethere");
    peer.expect_events(Events::READABLE);
    peer.expect_state(State::Established);
}

#[test]
fn text_after_the_fin_is_ignored() {
    let mut peer = Script::close_wait();
    peer.inject(data(b"more").seq(IRS + 2).ack(ISS + 1));
    peer.expect_drop(Drop::TcpAfterFin);
    peer.expect_data(b"");
}

#[test]
fn our_fin_is_sent_again() {
    for mut peer in [Script::fin_wait_1(), Script::last_ack(), Script::closing()] {
        peer.next_timer();
        peer.expect(fin().seq(ISS + 1));
        peer.expect_nothing();
    }
}

#[test]
fn a_fin_nobody_acknowledges_is_given_up() {
    let mut peer = Script::fin_wait_1();
    for _ in 0..peer.config.retries {
        peer.next_timer();
        peer.expect(fin().seq(ISS + 1));
    }
    peer.next_timer();
    peer.expect_events(Events::STALLED | Events::TIMED_OUT);
    peer.expect_finished();
}

#[test]
fn a_fin_that_comes_again_is_acknowledged_again() {
    let mut peer = Script::close_wait();
    peer.inject(fin().seq(IRS + 1).ack(ISS + 1));
    peer.expect_drop(Drop::TcpOutOfWindow);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 2));
    peer.expect_events(Events::NONE);
}

#[test]
fn fin_wait_2_lasts_as_long_as_the_peer_is_heard_and_no_longer() {
    let mut peer = Script::fin_wait_2();
    let silence = peer.config.fin_wait_2;
    for n in 0..5 {
        peer.advance(silence - Duration::from_secs(1));
        peer.inject(data(b"x").seq(IRS + 1 + n).ack(ISS + 2));
        peer.expect_state(State::FinWait2);
    }
    peer.advance(silence);
    peer.expect_events(Events::TIMED_OUT);
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.6.1
//# if new data is received after CLOSE is called, its TCP implementation SHOULD send a RST to show that data was lost (SHLD-3).
#[test]
fn data_nobody_will_read_is_answered_with_rst() {
    let mut peer = Script::established();
    peer.tcb.close_both(&peer.config, peer.now, &mut peer.pool);
    peer.expect(fin().seq(ISS + 1).ack(IRS + 1));
    peer.inject(data(b"lost").seq(IRS + 1).ack(ISS + 2));
    peer.expect_drop(Drop::TcpDataAfterClose);
    peer.expect(rst().seq(ISS + 2));
    peer.expect_events(Events::RESET);
    peer.expect_finished();
}

#[test]
fn closing_both_ways_with_unread_data_resets() {
    let mut peer = Script::established();
    peer.appetite = 0;
    peer.inject(data(b"unread").seq(IRS + 1).ack(ISS + 1));
    peer.tcb.close_both(&peer.config, peer.now, &mut peer.pool);
    peer.expect(rst().seq(ISS + 1));
    peer.expect_finished();
}

#[test]
fn closed_both_ways_fin_wait_2_ends_by_itself() {
    let mut peer = Script::established();
    peer.tcb.close_both(&peer.config, peer.now, &mut peer.pool);
    peer.expect(fin().seq(ISS + 1).ack(IRS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2));
    peer.expect_state(State::FinWait2);
    assert_eq!(peer.next_timer(), peer.config.fin_wait_2);
    peer.expect_events(Events::TIMED_OUT);
    peer.expect_finished();

    let mut peer = Script::fin_wait_2();
    peer.tcb.close_both(&peer.config, peer.now, &mut peer.pool);
    peer.inject(fin().seq(IRS + 1).ack(ISS + 2));
    peer.expect_state(State::TimeWait);
}

#[test]
fn no_acknowledgment_keeps_a_connection_that_was_closed_both_ways() {
    let mut peer = Script::established();
    peer.tcb.close_both(&peer.config, peer.now, &mut peer.pool);
    peer.expect(fin().seq(ISS + 1).ack(IRS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2));
    peer.expect_state(State::FinWait2);
    peer.advance(peer.config.fin_wait_2 - Duration::from_secs(1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2));
    assert_eq!(peer.next_timer(), Duration::from_secs(1));
    peer.expect_events(Events::TIMED_OUT);
    peer.expect_finished();
}
