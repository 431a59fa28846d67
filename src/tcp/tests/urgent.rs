//! The urgent pointer (RFC 9293 3.8.5).

use super::script::*;
use crate::tcp::seq::SeqNum;
use crate::tcp::{Events, State};
use crate::wire::tcp::Flags;

//= type=test
//= rfc9293#3.8.5
//# TCP implementations MUST still include support for the urgent mechanism (MUST-30).
//= type=test
//= rfc9293#3.8.5
//# A TCP implementation MUST (MUST-32) inform the application layer asynchronously whenever it receives an urgent pointer and there was
//# previously no pending urgent data, or whenever the urgent pointer advances in the data stream.
//= type=test
//= rfc9293#3.8.5
//# The TCP implementation MUST (MUST-33) provide a way for the application to learn how much urgent data remains to be read from the
//# connection, or at least to determine whether more urgent data remains to be read
#[test]
fn the_service_is_told_of_urgent_data_once_and_when_the_mark_advances() {
    let mut peer = Script::established();
    peer.inject(data(b"abc").urgent(10).seq(IRS + 1).ack(ISS + 1));
    peer.expect_events(Events::URGENT);
    assert_eq!(peer.tcb.urgent_ahead(), 7);
    peer.inject(data(b"def").urgent(7).seq(IRS + 4).ack(ISS + 1));
    peer.expect_events(Events::NONE);
    assert_eq!(peer.tcb.urgent_ahead(), 4);
    peer.inject(data(b"g").urgent(9).seq(IRS + 7).ack(ISS + 1));
    peer.expect_events(Events::URGENT);
    peer.inject(data(b"hijklmno").urgent(8).seq(IRS + 8).ack(ISS + 1));
    assert_eq!(peer.tcb.urgent_ahead(), 0);
    peer.expect_data(b"abcdefghijklmno");
    // What was urgent is over: the next mark is news again.
    peer.inject(data(b"p").urgent(1).seq(IRS + 16).ack(ISS + 1));
    peer.expect_events(Events::URGENT);
    assert_eq!(peer.tcb.urgent_ahead(), 0);
}

//= type=test
//= rfc9293#3.4
//# A TCP receiver MUST process the RST and URG fields of all incoming segments, even when the receive window is zero (MUST-66).
#[test]
fn the_mark_counts_at_a_closed_window_too() {
    let mut peer = Script::established();
    peer.appetite = 0;
    for n in 0..20 {
        peer.inject(more(&[0; 1000]).seq(IRS + 1 + 1000 * n).ack(ISS + 1));
    }
    while peer.sent().is_some() {}
    peer.expect_events(Events::READABLE);
    peer.inject(ack().urgent(500).seq(IRS + 20_001).ack(ISS + 1));
    peer.expect_events(Events::URGENT);
    assert_eq!(peer.tcb.urgent_ahead(), 20_500, "everything unread lies before it");
    peer.resume(20_000);
}

#[test]
fn a_mark_that_was_read_does_not_come_back_half_a_sequence_space_later() {
    let mut peer = Script::established();
    peer.inject(data(b"abc").urgent(3).seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"abc");
    peer.tcb.rcv.nxt += (1 << 31) + 5;
    assert_eq!(peer.tcb.urgent_ahead(), 0);
}

#[test]
fn the_peers_fin_is_not_taken_for_an_urgent_byte_that_was_read() {
    let mut peer = Script::established();
    peer.appetite = 0;
    peer.inject(data(b"abc").with(Flags::FIN).urgent(3).seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::CloseWait);
    assert_eq!(peer.tcb.urgent_ahead(), 3);
    peer.resume(2);
    assert_eq!(peer.tcb.urgent_ahead(), 1);
    peer.resume(1);
    assert_eq!(peer.tcb.urgent_ahead(), 0);
}

#[test]
fn after_the_peers_fin_the_mark_is_ignored() {
    let mut peer = Script::close_wait();
    peer.inject(ack().urgent(9).seq(IRS + 2).ack(ISS + 1));
    peer.expect_events(Events::NONE);
    assert_eq!(peer.tcb.urgent_ahead(), 0);
}

//= type=test
//= rfc9293#3.8.5
//# The urgent pointer MUST point to the sequence number of the octet following the urgent data (MUST-62).
#[test]
fn a_service_marks_what_it_sends() {
    let mut peer = Script::established();
    peer.send(b"plain ");
    peer.send_urgent(b"stop");
    peer.send(b" and more");
    peer.expect(data(b"plain stop and more").urgent(10).seq(ISS + 1));
    // Until it is acknowledged every segment before the mark carries it.
    peer.next_timer();
    peer.expect(data(b"plain stop and more").urgent(10).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 20));
    peer.send(b"calm");
    peer.expect(data(b"calm").seq(ISS + 20));
}

//= type=test
//= rfc9293#3.8.5
//# A TCP implementation MUST support a sequence of urgent data of any length (MUST-31)
#[test]
fn a_mark_farther_away_than_the_field_can_tell_is_approached() {
    let mut peer = Script::established_with(crate::tcp::Config { send_buffer: 200_000, ..plain() });
    assert_eq!(peer.send_urgent(&[5; 100_000]), 100_000);
    peer.expect(more(&[5; 1000]).urgent(u16::MAX).seq(ISS + 1));
    let mut acked: SeqNum = ISS + 1;
    while peer.tcb.unacknowledged() > 0 {
        while let Some(sent) = peer.sent() {
            assert!(format!("{sent:?}").contains("urgent"), "{sent:?}");
        }
        acked += 1000;
        peer.inject(ack().seq(IRS + 1).ack(acked));
    }
    assert_eq!(acked, ISS + 100_001);
    peer.expect_state(State::Established);
}

#[test]
fn data_that_is_urgent_before_the_handshake_is_marked_after_it() {
    let mut peer = Script::syn_sent();
    peer.send_urgent(b"hello");
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.expect(data(b"hello").urgent(5).with(Flags::URG).seq(ISS + 1));
}
