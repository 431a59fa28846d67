//! Opening a connection (RFC 9293 3.5).

use std::time::Duration;

use super::script::*;
use crate::device::Drop;
use crate::tcp::{Events, State};
use crate::wire::tcp::Flags;

//= type=test
//= rfc9293#3.2 MUST-65
//# in segments with the SYN control bit set) and MUST NOT be sent in other segments (MUST-65).
//= type=test
//= rfc9293#3.7.1
//# TCP implementations SHOULD send an MSS Option in every SYN segment when its receive MSS differs from the default 536 for
//# IPv4 or 1220 for IPv6 (SHLD-5)
//= type=test
//= rfc9293#3.10.7.3
//# If SND.UNA > ISS (our SYN has been ACKed), change the connection state to ESTABLISHED, form an ACK segment
#[test]
fn active_open() {
    let mut peer = Script::open(plain());
    peer.expect(syn().seq(ISS).mss(MSS));
    peer.expect_nothing();
    peer.expect_state(State::SynSent);
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.expect_state(State::Established);
    peer.expect_events(Events::CONNECTED);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1).win(20_000).no_options());
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.10.7.2
//# <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>
#[test]
fn passive_open() {
    let mut peer = Script::accept(plain(), syn().seq(IRS).mss(MSS));
    peer.expect_state(State::SynReceived);
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1).win(20_000).mss(MSS));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::Established);
    peer.expect_events(Events::CONNECTED);
    peer.expect_nothing();
}

#[test]
fn the_ack_of_the_handshake_rides_on_the_first_data() {
    let mut peer = Script::syn_sent();
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.send(b"GET /");
    peer.expect(data(b"GET /").seq(ISS + 1).ack(IRS + 1));
    peer.expect_nothing();
}

#[test]
fn data_given_before_the_handshake_goes_out_after_it() {
    let mut peer = Script::syn_sent();
    assert_eq!(peer.send(b"early"), 5);
    peer.expect_nothing();
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.expect(data(b"early").seq(ISS + 1).ack(IRS + 1));
}

#[test]
fn data_with_the_ack_of_the_handshake_is_delivered() {
    let mut peer = Script::syn_received();
    peer.inject(data(b"hello").seq(IRS + 1).ack(ISS + 1));
    peer.expect_events(Events::CONNECTED);
    peer.expect_data(b"hello");
}

#[test]
fn data_and_fin_on_a_syn_ack_are_processed() {
    let mut peer = Script::syn_sent();
    let segment = data(b"220 ready").with(Flags::SYN).with(Flags::FIN);
    peer.inject(segment.seq(IRS).ack(ISS + 1).mss(MSS));
    peer.expect_state(State::CloseWait);
    peer.expect_events(Events::CONNECTED | Events::PEER_CLOSED);
    peer.expect_data(b"220 ready");
    peer.expect(ack().seq(ISS + 1).ack(IRS + 11));
}

#[test]
fn data_on_a_syn_is_left_to_be_sent_again() {
    let mut first = data(b"too soon").seq(IRS).mss(MSS);
    first = first.with(Flags::SYN);
    let mut peer = Script::syn_sent();
    // Simultaneous open, with text.
    peer.inject(Script::without_ack(first));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.inject(data(b"too soon").seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"too soon");
}

//= type=test
//= rfc9293#3.5
//# A TCP implementation MUST support simultaneous open attempts (MUST-10).
#[test]
fn simultaneous_open() {
    let mut peer = Script::syn_sent();
    peer.inject(syn().seq(IRS).mss(MSS));
    peer.expect_state(State::SynReceived);
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.expect_nothing();
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.expect_state(State::Established);
    peer.expect_events(Events::CONNECTED);
    peer.send(b"x");
    peer.expect(data(b"x").seq(ISS + 1).ack(IRS + 1));
}

#[test]
fn simultaneous_open_before_our_syn_has_left() {
    let mut peer = Script::open(plain());
    peer.inject(syn().seq(IRS).mss(MSS));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::Established);
}

#[test]
fn a_repeated_syn_gets_the_syn_ack_again() {
    let mut peer = Script::syn_received();
    peer.inject(syn().seq(IRS).mss(MSS));
    peer.expect_drop(Drop::TcpOutOfWindow);
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.expect_nothing();
    peer.expect_state(State::SynReceived);
}

//= type=test
//= rfc9293#3.5
//# Note that a TCP implementation MUST keep track of whether a connection has reached SYN-RECEIVED state as the result of a
//# passive OPEN or an active OPEN (MUST-11).
#[test]
fn a_new_syn_in_syn_received_gives_the_place_back() {
    let mut peer = Script::syn_received();
    peer.inject(syn().seq(IRS + 100).mss(MSS));
    peer.expect_events(Events::NONE);
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.10.7.4
//# If the segment acknowledgment is not acceptable, form a reset segment
#[test]
fn syn_received_resets_a_wrong_ack() {
    for wrong in [ISS, ISS + 2, ISS + 70_000] {
        let mut peer = Script::syn_received();
        peer.inject(ack().seq(IRS + 1).ack(wrong));
        peer.expect_drop(Drop::TcpAckInvalid);
        peer.expect(rst().seq(wrong));
        peer.expect_nothing();
        peer.expect_state(State::SynReceived);
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.expect_state(State::Established);
    }
}

//= type=test
//= rfc9293#3.10.7.3
//# If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set, if so drop the segment and return)
#[test]
fn syn_sent_resets_a_wrong_ack_and_goes_on() {
    for wrong in [ISS, ISS + 2, ISS - 1000] {
        let mut peer = Script::syn_sent();
        peer.inject(syn_ack().seq(IRS + 7).ack(wrong));
        peer.expect_drop(Drop::TcpAckInvalid);
        peer.expect(rst().seq(wrong));
        peer.expect_state(State::SynSent);
        peer.inject(rst().with(Flags::ACK).seq(IRS).ack(wrong));
        peer.expect_drop(Drop::TcpRstIgnored);
        peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
        peer.expect_state(State::Established);
    }
}

#[test]
fn syn_sent_drops_what_is_neither_syn_nor_rst() {
    let mut peer = Script::syn_sent();
    peer.inject(ack().seq(IRS).ack(ISS + 1));
    peer.expect_drop(Drop::TcpOutOfWindow);
    peer.inject(Script::without_ack(data(b"?").seq(IRS)));
    peer.expect_drop(Drop::TcpOutOfWindow);
    peer.expect_nothing();
    peer.expect_state(State::SynSent);
}

//= type=test
//= rfc9293#3.8.3 MUST-22
//# In particular, R2 for a SYN segment MUST be set large enough to provide retransmission of the segment for at least 3 minutes
//# (MUST-23).
//= type=test
//= rfc9293#3.8.3
//# In particular, R2 for a SYN segment MUST be set large enough to provide retransmission of the segment for at least 3 minutes
//= type=test
//= rfc9293#3.8.3 MUST-22
//# SYN retransmissions MUST be handled in the general way just described for data retransmissions, including notification of the
//# application layer.
//= type=test
//= rfc9293#3.8.3
//# In particular, R2 for a SYN segment MUST be set large enough to provide retransmission of the segment for at least 3 minutes
//# (MUST-23).
#[test]
fn a_syn_without_answer_is_given_up_after_three_minutes() {
    let mut peer = Script::syn_sent();
    let mut tries = Vec::new();
    while peer.tcb.state() == State::SynSent {
        tries.push(peer.next_timer().as_secs());
        if peer.tcb.state() == State::SynSent {
            peer.expect(syn().seq(ISS));
        }
    }
    assert_eq!(tries, [1, 2, 4, 8, 16, 32, 64, 120]);
    assert!(peer.now.since(START) >= Duration::from_secs(180));
    peer.expect_events(Events::STALLED | Events::TIMED_OUT);
    peer.expect_finished();
}

#[test]
fn a_syn_ack_without_answer_is_given_up_in_silence() {
    let mut peer = Script::syn_received();
    for _ in 0..peer.config.syn_ack_retries {
        peer.next_timer();
        peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    }
    peer.next_timer();
    peer.expect_events(Events::NONE);
    peer.expect_finished();
}

//= type=test
//= rfc6298#5.7
//# the RTO MUST be re-initialized to 3 seconds when data transmission begins (i.e., after the three-way handshake completes).
#[test]
fn after_a_lost_syn_data_waits_three_seconds() {
    let mut peer = Script::syn_sent();
    peer.next_timer();
    peer.expect(syn().seq(ISS));
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.send(b"x");
    peer.expect(data(b"x").seq(ISS + 1));
    assert_eq!(peer.next_timer(), Duration::from_secs(3));
}

#[test]
fn after_two_lost_syns_the_first_flight_is_one_segment() {
    let mut peer = Script::syn_sent();
    for _ in 0..2 {
        peer.next_timer();
        peer.expect(syn().seq(ISS));
    }
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.send(&[7; 5000]);
    peer.expect(more(&[7; 1000]).seq(ISS + 1));
    peer.expect_nothing();
}

#[test]
fn close_before_the_handshake_is_done() {
    let mut peer = Script::syn_sent();
    peer.close();
    peer.expect_finished();

    let mut peer = Script::syn_sent();
    peer.inject(syn().seq(IRS).mss(MSS));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.send(b"bye");
    peer.close();
    peer.expect_state(State::SynReceived);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::FinWait1);
    peer.expect(data(b"bye").with(Flags::FIN).seq(ISS + 1).ack(IRS + 1));
}

//= type=test
//= rfc9293#3.9.2.2
//# Since these Unreachable messages indicate soft error conditions, a TCP implementation MUST NOT abort the connection
//# (MUST-56)
//= type=test
//= rfc9293#3.9.2.2
//# These are hard error conditions, so TCP implementations SHOULD abort the connection (SHLD-26).
#[test]
fn unreachable_ends_only_an_attempt() {
    let mut peer = Script::syn_sent();
    assert_eq!(peer.tcb.on_unreachable(), Events::RESET);
    peer.expect_finished();
    let mut peer = Script::established();
    assert_eq!(peer.tcb.on_unreachable(), Events::NONE);
    peer.expect_state(State::Established);
}

#[test]
fn the_rtt_of_the_handshake_is_the_first_sample() {
    let mut peer = Script::syn_sent();
    assert_eq!(peer.tcb.srtt_ns(), None);
    peer.advance(Duration::from_micros(30));
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    assert_eq!(peer.tcb.srtt_ns(), Some(30_000));
}

//= type=test
//= rfc9293#3.10.7.4
//# If the segment acknowledgment is not acceptable, form a reset segment
#[test]
fn a_reset_leaves_although_the_right_acknowledgment_follows_before_it_has() {
    let mut peer = Script::syn_received();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 100));
    peer.expect_drop(Drop::TcpAckInvalid);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::Established);
    peer.expect(rst().seq(ISS + 100));
    peer.expect_nothing();
}
