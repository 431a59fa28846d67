//! Segments in the states that pass quickly: what is rare there, and what an application calls too early.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Close, Connect, Failed, Receive, Send, Shutdown};
use crate::script::{Failure, Script, scripts};
use crate::segment::{ack, data, fin, rst, syn, syn_ack};

scripts![
    a_close_in_syn_sent_forgets_the_open,
    a_reset_refuses_a_simultaneous_open,
    a_lost_syn_ack_of_a_simultaneous_open,
    text_in_fin_wait_1,
    a_lost_fin_answered_by_an_older_ack,
    a_reset_in_closing,
    a_reset_in_last_ack,
    a_syn_in_close_wait_is_challenged,
    a_syn_in_fin_wait_2_is_challenged,
    a_lost_fin_in_last_ack_is_sent_again,
    a_fin_beyond_the_window_is_answered,
    text_queued_before_a_close_comes_first,
];

/// There is nothing to close yet; what the peer answers meets nobody.
//= type=test
//= rfc9293#3.10.4
//# Delete the TCB and return "error: closing" responses to any queued SENDs, or RECEIVEs.
fn a_close_in_syn_sent_forgets_the_open(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.call(Close);
    s.silence(1200);
    s.inject(syn_ack().seq(0).ack(1).mss(1000));
    s.expect(rst().seq(1));
    s.shows(Drop::TcpPortClosed);
}

/// The peer has changed its mind.
//= type=test
//= rfc9293#3.10.7.4
//# If this connection was initiated with an active OPEN (i.e., came from SYN-SENT state), then the connection was refused; signal
//# the user "connection refused".
fn a_reset_refuses_a_simultaneous_open(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(rst().seq(1));
    s.differs(
        "Linux tells of a reset, the RFC of a refusal",
        |s| s.call(Failed(Failure::Refused)),
        |s| s.call(Failed(Failure::Reset)),
    );
    s.state(State::Closed);
}

/// Our half of the handshake is sent again until the peer has it.
fn a_lost_syn_ack_of_a_simultaneous_open(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.expect(syn_ack().seq(0).ack(1).within(900, 2100));
    s.inject(ack().seq(1).ack(1));
    s.state(State::Established);
    s.happens(Happening::SimultaneousOpen);
}

/// Our FIN is on the way and the peer still sends.
//= type=test
//= rfc9293#3.10.7.4
//# In addition to the processing for the ESTABLISHED state, if the FIN segment is now acknowledged, then enter FIN-WAIT-2 and
//# continue processing in that state.
fn text_in_fin_wait_1(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(data(100).seq(1).ack(1));
    s.expect(ack().seq(2).ack(101).delayed());
    s.call(Receive(100));
    s.inject(ack().seq(101).ack(2));
    s.state(State::FinWait2);
}

/// An acknowledgment that does not cover our FIN leaves us where we are.
fn a_lost_fin_answered_by_an_older_ack(s: &mut Script) {
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(Shutdown);
    s.expect(fin().seq(11).ack(1));
    s.inject(ack().seq(1).ack(11));
    s.silence(50);
    s.state(State::FinWait1);
    s.inject(ack().seq(1).ack(12));
    s.state(State::FinWait2);
}

/// CLOSING ends at once.
//= type=test
//= rfc9293#3.10.7.4
//# If the RST bit is set, then enter the CLOSED state, delete the TCB, and return.
fn a_reset_in_closing(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(2).ack(2));
    s.inject(rst().seq(2));
    s.state(State::Closed);
    s.silence(300);
    s.happens(Happening::SimultaneousClose);
}

/// So does LAST-ACK.
fn a_reset_in_last_ack(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(2));
    s.inject(rst().seq(2));
    s.state(State::Closed);
    s.silence(300);
}

/// The peer may have restarted since its FIN.
fn a_syn_in_close_wait_is_challenged(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.inject(syn().seq(500));
    s.expect(ack().seq(1).ack(2));
    s.state(State::CloseWait);
    s.shows(Drop::TcpSynChallenged);
    s.happens(Happening::ChallengeSyn);
}

/// Or since ours.
fn a_syn_in_fin_wait_2_is_challenged(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(ack().seq(1).ack(2));
    s.inject(syn().seq(500));
    s.expect(ack().seq(2).ack(1));
    s.state(State::FinWait2);
    s.shows(Drop::TcpSynChallenged);
    s.happens(Happening::ChallengeSyn);
}

/// The last segment of a connection is as safe as any.
fn a_lost_fin_in_last_ack_is_sent_again(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(2));
    s.expect(fin().seq(1).ack(2).after(200));
    s.inject(ack().seq(2).ack(2));
    s.state(State::Closed);
}

/// It ends nothing.
fn a_fin_beyond_the_window_is_answered(s: &mut Script) {
    s.established();
    s.inject(fin().seq(200_000).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.state(State::Established);
    s.shows(Drop::TcpOutOfWindow);
}

/// A small window holds the FIN back with the text before it.
//= type=test
//= rfc9293#3.10.4
//# Queue this until all preceding SENDs have been segmentized, then form a FIN segment and send it.
fn text_queued_before_a_close_comes_first(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).win(2000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(2000));
    s.call(Accept);
    s.call(Send(2500));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.call(Shutdown);
    s.silence(50);
    s.inject(ack().seq(1).ack(2001).win(2000));
    s.expect(fin().seq(2001).ack(1).len(500));
}
