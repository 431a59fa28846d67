//! Resets and what else an attacker might send (RFC 9293 3.5.2, 3.5.3, 3.10.5; RFC 5961).

use std::time::Duration;

use super::script::*;
use crate::device::Drop;
use crate::limits::{CHALLENGE_ACKS_PER_SECOND, DUPLICATE_ACKS_PER_SECOND};
use crate::tcp::arrives::{closed, listen};
use crate::tcp::seq::SeqNum;
use crate::tcp::{Events, Reset, State};
use crate::wire::tcp::Flags;

//= type=test
//= rfc9293#3.10.7.1
//# An incoming segment not containing a RST causes a RST to be sent in response.
#[test]
fn closed_answers_everything_but_a_reset() {
    let of = |seg: Seg| closed::reset_for(&segment(&seg));
    assert_eq!(of(rst().seq(IRS)), None);
    assert_eq!(of(ack().seq(IRS).ack(ISS)), Some(Reset { seq: ISS, ack: None }));
    assert_eq!(of(syn().seq(IRS)), Some(Reset { seq: SeqNum(0), ack: Some(IRS + 1) }));
    let both = Script::without_ack(data(b"abc").with(Flags::SYN).with(Flags::FIN).seq(SeqNum(u32::MAX)));
    assert_eq!(of(both), Some(Reset { seq: SeqNum(0), ack: Some(SeqNum(4)) }));
}

#[test]
fn a_listener_takes_only_a_syn() {
    let of = |seg: Seg| listen::on_segment(&segment(&seg));
    assert_eq!(of(syn()), listen::Listen::Syn);
    assert_eq!(of(rst().with(Flags::SYN)), listen::Listen::Ignore(Drop::TcpListenIgnored));
    assert_eq!(of(syn_ack().ack(ISS)), listen::Listen::Reset(Reset { seq: ISS, ack: None }));
    assert_eq!(of(Script::without_ack(data(b"x"))), listen::Listen::Ignore(Drop::TcpListenIgnored));
}

//= type=test
//= rfc9293#3.6
//# If the local TCP connection is closed by the remote side due to a FIN or RST received from the remote side, then the local
//# application MUST be informed whether it closed normally or was aborted (MUST-12).
//= type=test
//= rfc9293#3.10.7.4
//# If the RST bit is set and the sequence number exactly matches the next expected sequence number (RCV.NXT), then TCP endpoints
//# MUST reset the connection in the manner prescribed below according to the connection state.
#[test]
fn a_rst_at_the_left_edge_resets() {
    for (mut peer, _, rcv_nxt) in Script::in_every_state() {
        let state = peer.tcb.state();
        peer.inject(rst().seq(rcv_nxt));
        match state {
            // Only one that acknowledges our SYN counts in SYN-SENT; in TIME-WAIT none does (RFC 1337).
            State::SynSent | State::TimeWait => {
                peer.expect_drop(Drop::TcpRstIgnored);
                peer.expect_state(state);
                peer.expect_nothing();
            }
            State::SynReceived => {
                peer.expect_events(Events::NONE);
                peer.expect_finished();
            }
            _ => {
                peer.expect_events(Events::RESET);
                peer.expect_finished();
            }
        }
    }
}

//= type=test
//= rfc9293#3.10.7.4
//# If the RST bit is set and the sequence number does not exactly match the next expected sequence value, yet is within the current
//# receive window, TCP endpoints MUST send an acknowledgment (challenge ACK)
#[test]
fn a_rst_elsewhere_in_the_window_is_challenged() {
    for (mut peer, snd_nxt, rcv_nxt) in Script::in_every_state() {
        let state = peer.tcb.state();
        peer.inject(rst().seq(rcv_nxt + 5));
        peer.expect_drop(Drop::TcpRstIgnored);
        peer.expect_state(state);
        if !matches!(state, State::SynSent | State::TimeWait) {
            peer.expect(ack().seq(snd_nxt).ack(rcv_nxt));
        }
        peer.expect_nothing();
    }
}

//= type=test
//= rfc9293#3.10.7.4
//# If the RST bit is set and the sequence number is outside the current receive window, silently drop the segment.
#[test]
fn a_rst_outside_the_window_is_dropped_in_silence() {
    for (mut peer, _, rcv_nxt) in Script::in_every_state() {
        let state = peer.tcb.state();
        for seq in [rcv_nxt - 1, rcv_nxt + 70_000, rcv_nxt + (1 << 31)] {
            peer.inject(rst().seq(seq));
            peer.expect_drop(Drop::TcpRstIgnored);
        }
        peer.expect_state(state);
        peer.expect_nothing();
    }
}

//= type=test
//= rfc9293#3.5.3
//# TCP implementations SHOULD allow a received RST segment to include data (SHLD-2).
//= type=test
//= rfc9293#3.4
//# A TCP receiver MUST process the RST and URG fields of all incoming segments, even when the receive window is zero (MUST-66).
#[test]
fn a_rst_with_text_at_a_closed_window_resets() {
    let mut peer = Script::established();
    peer.appetite = 0;
    for n in 0..20 {
        peer.inject(more(&[0; 1000]).seq(IRS + 1 + 1000 * n).ack(ISS + 1));
    }
    peer.inject(data(b"reason").with(Flags::RST).seq(IRS + 20_001).ack(ISS + 1));
    peer.expect_events(Events::READABLE | Events::RESET);
    peer.expect_state(State::Closed);
}

//= type=test
//= rfc9293#3.10.7.3
//# If the ACK was acceptable, then signal to the user "error: connection reset", drop the segment, enter CLOSED state, delete TCB,
//# and return.  Otherwise (no ACK), drop the segment and return.
#[test]
fn a_refused_connection() {
    let mut peer = Script::syn_sent();
    peer.inject(rst().with(Flags::ACK).seq(IRS).ack(ISS + 1));
    peer.expect_events(Events::REFUSED);
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.10.7.4
//# If this connection was initiated with an active OPEN (i.e., came from SYN-SENT state), then the connection was refused; signal the
//# user "connection refused".
#[test]
fn refused_after_a_simultaneous_open() {
    let mut peer = Script::syn_sent();
    peer.inject(syn().seq(IRS).mss(MSS));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.inject(rst().seq(IRS + 1));
    peer.expect_events(Events::REFUSED);
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.10.7.4
//# RFC 5961 recommends that in these synchronized states, if the SYN bit is set, irrespective of the sequence number, TCP endpoints
//# MUST send a "challenge ACK" to the remote peer
#[test]
fn a_syn_in_a_synchronized_state_is_challenged() {
    for (mut peer, snd_nxt, rcv_nxt) in Script::in_every_state() {
        let state = peer.tcb.state();
        if matches!(state, State::SynSent | State::SynReceived | State::TimeWait) {
            continue;
        }
        for seq in [rcv_nxt, rcv_nxt + 1, rcv_nxt - 10, rcv_nxt + 100_000] {
            peer.inject(syn().seq(seq));
            peer.expect_drop(Drop::TcpSynChallenged);
            peer.expect(ack().seq(snd_nxt).ack(rcv_nxt));
        }
        peer.expect_state(state);
        peer.expect_nothing();
    }
}

//= type=test
//= rfc9293#3.10.7.4
//# if the ACK bit is off, drop the segment and return
#[test]
fn a_segment_without_ack_is_dropped() {
    for (mut peer, _, rcv_nxt) in Script::in_every_state() {
        let state = peer.tcb.state();
        if state == State::SynSent {
            continue;
        }
        peer.inject(Script::without_ack(data(b"x").seq(rcv_nxt)));
        peer.expect_drop(Drop::TcpNoAck);
        peer.expect_state(state);
        peer.expect_data(b"");
        peer.expect_nothing();
    }
}

//= type=test
//= rfc9293#3.10.7.4
//# All incoming segments whose ACK value doesn't satisfy the above condition MUST be discarded and an ACK sent back.
#[test]
fn an_ack_of_the_future_or_the_far_past_is_answered() {
    for offset in [1, 100_000, 1 << 31, u32::MAX - u32::from(WINDOW)] {
        let mut peer = Script::established();
        peer.inject(data(b"x").seq(IRS + 1).ack(ISS + 1 + offset));
        peer.expect_drop(Drop::TcpAckInvalid);
        peer.expect_data(b"");
        peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
    }
    let mut peer = Script::established();
    peer.inject(data(b"x").seq(IRS + 1).ack(ISS + 1 - u32::from(WINDOW)));
    peer.expect_no_drop();
    peer.expect_data(b"x");
}

//= type=test
//= rfc5961#7
//# An implementation SHOULD include an ACK throttling mechanism to be conservative.
#[test]
fn challenges_are_limited() {
    let mut peer = Script::established();
    let mut answered = 0;
    for _ in 0..100 {
        peer.inject(rst().seq(IRS + 3));
        answered += usize::from(peer.sent().is_some());
    }
    assert_eq!(answered, usize::from(CHALLENGE_ACKS_PER_SECOND));
    peer.advance(std::time::Duration::from_secs(1));
    peer.inject(rst().seq(IRS + 3));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
}

#[test]
fn two_ends_that_disagree_do_not_answer_each_other_for_ever() {
    let mut peer = Script::established();
    let mut answered = 0;
    for _ in 0..1000 {
        peer.inject(ack().seq(IRS - 5000).ack(ISS + 1));
        answered += usize::from(peer.sent().is_some());
    }
    assert_eq!(answered, usize::from(CHALLENGE_ACKS_PER_SECOND));
}

//= type=test
//= rfc9293#3.10.5
//# Send a reset segment:
//# <SEQ=SND.NXT><CTL=RST>
#[test]
fn abort_resets_where_the_state_calls_for_it() {
    for (mut peer, snd_nxt, _) in Script::in_every_state() {
        let state = peer.tcb.state();
        peer.abort();
        peer.expect_state(State::Closed);
        if matches!(state, State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait) {
            assert!(!peer.tcb.finished(), "{state}: the RST has not left yet");
            peer.expect(rst().seq(snd_nxt));
        }
        peer.expect_finished();
        peer.abort();
        peer.expect_finished();
    }
}

#[test]
fn a_closed_tcb_takes_nothing() {
    let mut peer = Script::established();
    peer.abort();
    peer.inject(data(b"x").seq(IRS + 1).ack(ISS + 1));
    peer.expect_drop(Drop::TcpPortClosed);
    peer.expect(rst().seq(ISS + 1));
    peer.expect_finished();
    assert_eq!(peer.send(b"x"), 0);
}

//= type=test
//= rfc5961#7
//# An implementation SHOULD include an ACK throttling mechanism to be conservative.
#[test]
fn answers_to_data_outside_the_window_are_limited() {
    let answers = |seq: SeqNum| {
        let mut peer = Script::established();
        (0..1000)
            .filter(|_| {
                peer.inject(more(b"forged").seq(seq).ack(ISS + 1));
                peer.expect_drop(Drop::TcpOutOfWindow);
                peer.sent().is_some()
            })
            .count()
    };
    assert_eq!(answers(IRS + 1 + 20_000), usize::from(CHALLENGE_ACKS_PER_SECOND), "beyond the window");
    assert_eq!(answers(IRS - 100), usize::from(DUPLICATE_ACKS_PER_SECOND), "what has arrived before");
}

/// What a report of duplicates notes must not go past the limit.
#[test]
fn answers_to_data_that_has_arrived_before_are_limited_with_sack_too() {
    let mut peer = Script::with_sack(plain(), Duration::from_millis(10));
    peer.inject(data(b"here").seq(IRS + 1).ack(ISS + 1));
    peer.next_timer();
    peer.expect(ack().seq(ISS + 1).ack(IRS + 5));
    let answers = (0..1000)
        .filter(|_| {
            peer.inject(data(b"here").seq(IRS + 1).ack(ISS + 1));
            peer.expect_drop(Drop::TcpOutOfWindow);
            peer.sent().is_some()
        })
        .count();
    assert_eq!(answers, usize::from(DUPLICATE_ACKS_PER_SECOND));
}
