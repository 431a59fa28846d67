//! Closing in every order, and what comes late.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Abort, Close, End, Receive, Send, Shutdown};
use crate::script::{Script, scripts};
use crate::segment::{ack, data, fin, rst, rst_ack};

scripts![
    the_host_closes_first,
    the_peer_closes_first,
    both_close_at_once,
    a_fin_that_acknowledges_our_fin,
    the_peer_goes_on_sending_when_the_host_has_closed,
    the_host_goes_on_sending_when_the_peer_has_closed,
    a_fin_brings_the_last_text,
    a_fin_before_the_text_that_precedes_it,
    a_lost_fin_is_sent_again,
    text_before_our_fin_is_sent_again_with_it,
    a_fin_that_comes_again_in_close_wait,
    text_behind_the_fin_is_ignored,
    an_abort_resets_the_peer,
    an_abort_in_close_wait,
    a_close_of_both_directions,
];

/// FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT.
//= type=test
//= rfc9293#3.10.7.4
//# if the FIN segment is now acknowledged, then enter FIN-WAIT-2 and continue processing in that state
fn the_host_closes_first(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.state(State::FinWait1);
    s.inject(ack().seq(1).ack(2));
    s.state(State::FinWait2);
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.call(End);
    s.state(State::TimeWait);
}

/// CLOSE-WAIT, LAST-ACK, CLOSED.
//= type=test
//= rfc9293#3.10.7.4
//# If our FIN is now acknowledged, delete the TCB, enter the CLOSED state, and return.
fn the_peer_closes_first(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.call(End);
    s.state(State::CloseWait);
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(2));
    s.state(State::LastAck);
    s.inject(ack().seq(2).ack(2));
    s.state(State::Closed);
    s.silence(50);
}

/// CLOSING: both FINs are on the way at once.
//= type=test
//= rfc9293#3.10.7.4
//# if the ACK acknowledges our FIN, then enter the TIME-WAIT state; otherwise, ignore the segment.
fn both_close_at_once(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(2).ack(2));
    s.state(State::Closing);
    s.inject(ack().seq(2).ack(2));
    s.state(State::TimeWait);
    s.happens(Happening::SimultaneousClose);
}

/// From FIN-WAIT-1 to TIME-WAIT in one step.
//= type=test
//= rfc9293#3.10.7.4
//# If our FIN has been ACKed (perhaps in this segment), then enter TIME-WAIT, start the time-wait timer, turn off the other
//# timers
fn a_fin_that_acknowledges_our_fin(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.state(State::TimeWait);
    s.silence(300);
}

/// Half-close: our direction has ended, the other one is read to its end.
//= type=test
//= rfc9293#3.6
//# A TCP implementation will reliably deliver all buffers SENT before the connection was CLOSED
fn the_peer_goes_on_sending_when_the_host_has_closed(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(ack().seq(1).ack(2));
    s.inject(data(100).seq(1).ack(2));
    s.expect(ack().seq(2).ack(101).delayed());
    s.call(Receive(100));
    s.state(State::FinWait2);
    s.inject(fin().seq(101).ack(2));
    s.expect(ack().seq(2).ack(102));
    s.call(End);
}

/// Half-close the other way round.
fn the_host_goes_on_sending_when_the_peer_has_closed(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(2));
    s.inject(ack().seq(2).ack(101));
    s.call(Shutdown);
    s.expect(fin().seq(101).ack(2));
}

/// The end of the stream is told after all of its text.
//= type=test
//= rfc9293#3.10.7.4
//# If the FIN bit is set, signal the user "connection closing" and return any pending RECEIVEs with same message, advance RCV.NXT
//# over the FIN, and send an acknowledgment for the FIN.
fn a_fin_brings_the_last_text(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1).len(10));
    s.expect(ack().seq(1).ack(12).delayed());
    s.call(Receive(10));
    s.call(End);
}

/// A FIN that overtook text waits for it.
fn a_fin_before_the_text_that_precedes_it(s: &mut Script) {
    s.established();
    s.inject(fin().seq(11).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.state(State::Established);
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(12));
    s.call(Receive(10));
    s.call(End);
}

/// A FIN takes a sequence number, so it is sent again like text.
fn a_lost_fin_is_sent_again(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.expect(fin().seq(1).ack(1).after(200));
    s.expect(fin().seq(1).ack(1).after(400));
    s.inject(ack().seq(1).ack(2));
    s.state(State::FinWait2);
    s.silence(900);
}

/// Text and FIN both lost: one segment repeats both.
fn text_before_our_fin_is_sent_again_with_it(s: &mut Script) {
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(Shutdown);
    s.expect(fin().seq(11).ack(1));
    s.expect(fin().seq(1).ack(1).len(10).after(200));
    s.inject(ack().seq(1).ack(12));
    s.state(State::FinWait2);
}

/// Our acknowledgment of the peer's FIN was lost.
//= type=test
//= rfc9293#3.10.7.4
//# If an incoming segment is not acceptable, an acknowledgment should be sent in reply
fn a_fin_that_comes_again_in_close_wait(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2));
    s.state(State::CloseWait);
    s.shows(Drop::TcpOutOfWindow);
}

/// Nothing can follow the end of a stream.
//= type=test
//= rfc9293#3.10.7.4
//# This should not occur since a FIN has been received from the remote side.  Ignore the segment text.
fn text_behind_the_fin_is_ignored(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.inject(data(10).seq(2).ack(1));
    s.silence(100);
    s.call(End);
    s.shows(Drop::TcpAfterFin);
}

/// ABORT tells the peer.
//= type=test
//= rfc9293#3.10.5
//# <SEQ=SND.NXT><CTL=RST>
fn an_abort_resets_the_peer(s: &mut Script) {
    s.established();
    s.call(Abort);
    s.differs("Linux acknowledges in the reset of an abort", |s| s.expect(rst().seq(1)), |s| s.expect(rst_ack().seq(1).ack(1)));
    s.state(State::Closed);
}

/// The same when the peer has closed.
fn an_abort_in_close_wait(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.call(Abort);
    s.differs("Linux acknowledges in the reset of an abort", |s| s.expect(rst().seq(1)), |s| s.expect(rst_ack().seq(1).ack(2)));
}

/// The application wants to hear no more; an orderly end is an orderly end.
fn a_close_of_both_directions(s: &mut Script) {
    s.established();
    s.call(Close);
    s.expect(fin().seq(1).ack(1));
    s.inject(ack().seq(1).ack(2));
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.state(State::TimeWait);
}
