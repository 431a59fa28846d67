//! Opening: passive, active, simultaneous, refused; and what becomes of segments that do not fit.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Connect, Failed, Receive, Send};
use crate::script::{Failure, Script, scripts};
use crate::segment::{ack, data, rst, rst_ack, syn, syn_ack};

scripts![
    a_passive_open,
    an_active_open,
    a_simultaneous_open,
    text_completes_the_handshake,
    text_in_a_syn_is_left_to_be_sent_again,
    an_open_is_refused,
    an_open_ignores_a_reset_that_does_not_know_its_syn,
    an_open_resets_an_ack_of_something_else,
    an_open_drops_what_is_neither_syn_nor_reset,
    a_lost_syn_is_sent_again,
    an_open_that_nobody_answers_gives_up,
    a_lost_syn_ack_is_sent_again,
    a_syn_that_comes_again_is_answered_again,
    a_reset_in_syn_received_returns_to_listen,
    a_wrong_ack_in_syn_received_is_reset,
    text_beyond_the_window_in_syn_received,
    another_syn_in_syn_received,
    syns_beyond_the_table,
    the_next_connection_of_the_same_ports_begins_beyond_the_last,
];

/// A listener answers a SYN, and the acknowledgment of its own SYN completes the connection.
//= type=test
//= rfc9293#3.10.7.2
//# SND.NXT is set to ISS+1 and SND.UNA to ISS.
fn a_passive_open(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1).mss(1460));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.state(State::Established);
    s.silence(50);
}

/// An active open sends a SYN, and acknowledges the peer's.
//= type=test
//= rfc9293#3.10.7.3
//# If SND.UNA > ISS (our SYN has been ACKed), change the connection state to ESTABLISHED
fn an_active_open(s: &mut Script) {
    s.call(Connect);
    s.expect(syn().mss(1460));
    s.state(State::SynSent);
    s.inject(syn_ack().seq(0).ack(1).mss(1000));
    s.expect(ack().seq(1).ack(1));
    s.state(State::Established);
}

/// Both open at once: each answers the other's SYN with a SYN-ACK.
//= type=test
//= rfc9293#3.10.7.3
//# Otherwise, enter SYN-RECEIVED, form a SYN,ACK segment
fn a_simultaneous_open(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(syn_ack().seq(0).ack(1));
    s.differs("Linux acknowledges the SYN in the peer's SYN-ACK once more", |_| {}, |s| s.expect(ack().seq(1).ack(1)));
    s.state(State::Established);
    s.happens(Happening::SimultaneousOpen);
}

/// The segment that acknowledges our SYN may bring text.
//= type=test
//= rfc9293#3.10.7.4
//# If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED state and continue processing
fn text_completes_the_handshake(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Accept);
    s.call(Receive(10));
}

/// Text beside a SYN is not taken before the handshake is complete; the peer sends it again.
fn text_in_a_syn_is_left_to_be_sent_again(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).len(10));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Accept);
    s.call(Receive(10));
}

/// A reset that acknowledges our SYN: nobody listens there.
//= type=test
//= rfc9293#3.10.7.3
//# If the ACK was acceptable, then signal to the user "error: connection reset", drop the segment, enter CLOSED state
fn an_open_is_refused(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(rst_ack().seq(0).ack(1));
    s.call(Failed(Failure::Refused));
    s.state(State::Closed);
}

/// A reset without ACK, or with one of something else, was sent blindly.
//= type=test
//= rfc9293#3.10.7.3
//# Otherwise (no ACK), drop the segment and return.
fn an_open_ignores_a_reset_that_does_not_know_its_syn(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(rst().seq(0));
    s.inject(rst_ack().seq(0).ack(77));
    s.differs("Linux sends its SYN again at once when something else is acknowledged", |s| s.silence(50), |s| s.expect(syn()));
    s.state(State::SynSent);
    s.shows(Drop::TcpRstIgnored);
}

/// A SYN-ACK left over from an earlier connection is reset, and the open goes on.
//= type=test
//= rfc9293#3.10.7.3
//# If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset
fn an_open_resets_an_ack_of_something_else(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(syn_ack().seq(500).ack(77));
    s.expect(rst().seq(77));
    s.differs("Linux sends its SYN again at once when something else is acknowledged", |_| {}, |s| s.expect(syn()));
    s.state(State::SynSent);
    s.inject(syn_ack().seq(0).ack(1).mss(1000));
    s.expect(ack().seq(1).ack(1));
    s.shows(Drop::TcpAckInvalid);
}

/// An ACK alone does not open a connection.
//= type=test
//= rfc9293#3.10.7.3
//# Fifth, if neither of the SYN or RST bits is set, then drop the segment and return.
fn an_open_drops_what_is_neither_syn_nor_reset(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(ack().seq(1).ack(1));
    s.silence(50);
    s.state(State::SynSent);
    s.shows(Drop::TcpOutOfWindow);
}

/// A SYN is sent again after a second, and then after two.
//= type=test
//= rfc6298#2
//# Until a round-trip time (RTT) measurement has been made for a segment sent between the sender and receiver, the sender SHOULD
//# set RTO <- 1 second
fn a_lost_syn_is_sent_again(s: &mut Script) {
    s.settings(|_| {}, &[("tcp_syn_linear_timeouts", "0")]);
    s.call(Connect);
    s.expect(syn());
    s.expect(syn().after(1000));
    s.expect(syn().after(2000));
    s.inject(syn_ack().seq(0).ack(1).mss(1000));
    s.expect(ack().seq(1).ack(1));
}

/// The application hears when the peer never answers.
//= type=test
//= rfc9293#3.8.3
//# When the number of transmissions of the same segment reaches a threshold R2 greater than R1, close the connection.
fn an_open_that_nobody_answers_gives_up(s: &mut Script) {
    s.settings(|tcp| tcp.syn_retries = 1, &[("tcp_syn_retries", "1"), ("tcp_syn_linear_timeouts", "0")]);
    s.call(Connect);
    s.expect(syn());
    s.expect(syn().after(1000));
    s.silence(2050);
    s.call(Failed(Failure::TimedOut));
}

/// A SYN-ACK is sent again until the peer answers.
fn a_lost_syn_ack_is_sent_again(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.expect(syn_ack().seq(0).ack(1).after(1000));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.silence(100);
}

/// Our SYN-ACK was lost and the peer asks again.
fn a_syn_that_comes_again_is_answered_again(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.shows(Drop::TcpOutOfWindow);
}

/// The peer gives up: the listener takes its next SYN as if nothing had been.
//= type=test
//= rfc9293#3.10.7.4
//# If this connection was initiated with a passive OPEN (i.e., came from the LISTEN state), then return this connection to LISTEN
//# state and return.
fn a_reset_in_syn_received_returns_to_listen(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(rst().seq(1));
    s.silence(1200);
    s.forget();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
}

/// An acknowledgment of what was never sent.
//= type=test
//= rfc9293#3.10.7.4
//# If the segment acknowledgment is not acceptable, form a reset segment
fn a_wrong_ack_in_syn_received_is_reset(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(999));
    s.expect(rst().seq(999));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.shows(Drop::TcpAckInvalid);
}

/// Text far outside the window is answered with what is expected.
//= type=test
//= rfc9293#3.10.7.4
//# If an incoming segment is not acceptable, an acknowledgment should be sent in reply
fn text_beyond_the_window_in_syn_received(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(data(10).seq(100_000).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.shows(Drop::TcpOutOfWindow);
}

/// A SYN of another number inside the window: the peer has begun anew.
//= type=test
//= rfc9293#3.10.7.4
//# If the connection was initiated with a passive OPEN, then return this connection to the LISTEN state and return.
fn another_syn_in_syn_received(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(syn().seq(100).mss(1000));
    s.differs(
        "Linux resets the peer as well; the RFC returns to LISTEN without a word",
        |s| s.silence(100),
        |s| s.expect(rst_ack().number_zero().ack(101)),
    );
    s.forget();
    s.inject(syn().seq(100).mss(1000));
    s.expect(syn_ack().seq(0).ack(101));
}

/// No TCB is left: the SYN is dropped, and the peer will try again.
fn syns_beyond_the_table(s: &mut Script) {
    s.not_on_kernel("it has no table of a fixed size");
    s.settings.connections = 1;
    s.established();
    s.inject(syn().mss(1000).port(1));
    s.silence(100);
    s.shows(Drop::TcpTableFull);
}

/// What is left of the old one on the way cannot be taken for the new one's.
//= type=test
//= rfc6528#3
//# ISN = M + F(localip, localport, remoteip, remoteport, secretkey)
fn the_next_connection_of_the_same_ports_begins_beyond_the_last(s: &mut Script) {
    s.established();
    s.call(Send(1000));
    s.expect(data(1000).seq(1).ack(1));
    s.inject(rst().seq(1));
    s.call(Failed(Failure::Reset));
    s.silence(10);
    s.inject(syn().seq(5000).mss(1000));
    s.expect(syn_ack().beyond(1001).ack(5001));
}
