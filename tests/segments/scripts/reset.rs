//! Resets and blind attacks (RFC 5961): what ends a connection, what is challenged, what is ignored.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Failed, Receive, Send, Shutdown};
use crate::script::{Failure, Script, scripts};
use crate::segment::{ack, bare, data, fin, rst, syn, syn_ack};

scripts![
    a_reset_at_the_left_edge_ends_the_connection,
    a_reset_with_text_ends_the_connection,
    a_reset_ends_a_connection_that_the_peer_has_closed,
    a_reset_ends_fin_wait_1,
    a_reset_inside_the_window_is_challenged,
    a_reset_outside_the_window_is_ignored,
    a_syn_inside_the_window_is_challenged,
    a_syn_outside_the_window_is_challenged,
    an_ack_of_what_was_never_sent_is_answered,
    an_ack_of_long_ago_is_challenged,
    a_segment_without_ack_is_dropped,
    text_outside_the_window_is_answered,
    text_that_comes_again_is_answered,
    challenges_are_limited,
    all_challenges_of_a_connection_share_a_limit,
    challenges_of_one_connection_say_nothing_of_another,
];

/// The one number that resets.
//= type=test
//= rfc9293#3.10.7.4
//# If the RST bit is set and the sequence number exactly matches the next expected sequence number (RCV.NXT), then TCP endpoints
//# MUST reset the connection
fn a_reset_at_the_left_edge_ends_the_connection(s: &mut Script) {
    s.established();
    s.inject(rst().seq(1));
    s.silence(50);
    s.call(Failed(Failure::Reset));
    s.state(State::Closed);
}

/// Text in a reset says why, for people.
//= type=test
//= rfc9293#3.5.2
//# TCP implementations SHOULD allow a received RST segment to include data (SHLD-2).
fn a_reset_with_text_ends_the_connection(s: &mut Script) {
    s.established();
    s.inject(rst().seq(1).len(20));
    s.call(Failed(Failure::Reset));
    s.state(State::Closed);
}

/// Also behind the peer's FIN.
fn a_reset_ends_a_connection_that_the_peer_has_closed(s: &mut Script) {
    s.established();
    s.inject(fin().seq(1).ack(1));
    s.expect(ack().seq(1).ack(2).delayed());
    s.inject(rst().seq(2));
    s.call(Failed(Failure::Reset));
}

/// Also when our own FIN is on the way.
fn a_reset_ends_fin_wait_1(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(rst().seq(1));
    s.silence(300);
    s.state(State::Closed);
}

/// A guess inside the window: the true peer would answer the challenge with the right number.
//= type=test
//= rfc9293#3.10.7.4
//# If the RST bit is set and the sequence number does not exactly match the next expected sequence value, yet is within the
//# current receive window, TCP endpoints MUST send an acknowledgment (challenge ACK)
fn a_reset_inside_the_window_is_challenged(s: &mut Script) {
    s.established();
    s.inject(rst().seq(100));
    s.expect(ack().seq(1).ack(1));
    s.state(State::Established);
    s.inject(rst().seq(1));
    s.call(Failed(Failure::Reset));
    s.shows(Drop::TcpRstIgnored);
    s.happens(Happening::ChallengeRst);
}

/// A guess outside it.
//= type=test
//= rfc9293#3.10.7.4
//# If the RST bit is set and the sequence number is outside the current receive window, silently drop the segment.
fn a_reset_outside_the_window_is_ignored(s: &mut Script) {
    s.established();
    s.inject(rst().seq(200_000));
    s.inject(rst().seq(-5));
    s.silence(50);
    s.state(State::Established);
    s.shows(Drop::TcpRstIgnored);
}

/// A SYN does not reset, whatever its number.
//= type=test
//= rfc9293#3.10.7.4
//# RFC 5961 recommends that in these synchronized states, if the SYN bit is set, irrespective of the sequence number, TCP
//# endpoints MUST send a "challenge ACK" to the remote peer
fn a_syn_inside_the_window_is_challenged(s: &mut Script) {
    s.established();
    s.inject(syn().seq(100));
    s.expect(ack().seq(1).ack(1));
    s.state(State::Established);
    s.shows(Drop::TcpSynChallenged);
    s.happens(Happening::ChallengeSyn);
}

/// The same outside the window: a peer that has restarted learns that we still are in the old connection.
fn a_syn_outside_the_window_is_challenged(s: &mut Script) {
    s.established();
    s.inject(syn().seq(200_000));
    s.expect(ack().seq(1).ack(1));
    s.state(State::Established);
    s.shows(Drop::TcpSynChallenged);
    s.happens(Happening::ChallengeSyn);
}

/// An ACK beyond SND.NXT.
//= type=test
//= rfc9293#3.10.7.4
//# If the ACK acks something not yet sent (SEG.ACK > SND.NXT), then send an ACK, drop the segment, and return.
fn an_ack_of_what_was_never_sent_is_answered(s: &mut Script) {
    s.established();
    s.inject(ack().seq(1).ack(500));
    s.expect(ack().seq(1).ack(1));
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Receive(10));
    s.shows(Drop::TcpAckInvalid);
    s.happens(Happening::ChallengeAck);
}

/// An ACK older than the largest window that ever was: text beside it is forged.
//= type=test
//= rfc9293#3.10.7.4
//# TCP stacks that implement RFC 5961 MUST add an input check that the ACK value is acceptable only if it is in the range of
//# ((SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT).
fn an_ack_of_long_ago_is_challenged(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(1).ack(-70_000));
    s.expect(ack().seq(1).ack(1));
    s.call(Send(5));
    s.expect(data(5).seq(1).ack(1));
    s.shows(Drop::TcpAckInvalid);
    s.happens(Happening::ChallengeAck);
}

/// Every segment of an open connection acknowledges.
//= type=test
//= rfc9293#3.10.7.4
//# if the ACK bit is off, drop the segment and return
fn a_segment_without_ack_is_dropped(s: &mut Script) {
    s.established();
    s.inject(bare().seq(1).len(10));
    s.silence(100);
    s.call(Send(5));
    s.expect(data(5).seq(1).ack(1));
    s.shows(Drop::TcpNoAck);
}

/// An answer that says where we are.
//= type=test
//= rfc9293#3.10.7.4
//# If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the RST bit is set, if so drop the
//# segment and return)
fn text_outside_the_window_is_answered(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(200_000).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.shows(Drop::TcpOutOfWindow);
}

/// Our acknowledgment was lost; the peer must get another one.
fn text_that_comes_again_is_answered(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11).delayed());
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(11));
    s.call(Receive(10));
    s.shows(Drop::TcpOutOfWindow);
}

/// Ten in a second, for each connection by itself.
//= type=test
//= rfc5961#7
//# An implementation SHOULD include an ACK throttling mechanism to be conservative.
fn challenges_are_limited(s: &mut Script) {
    s.not_on_kernel("it answers the same connection twice a second at most (tcp_invalid_ratelimit)");
    s.established();
    for _ in 0..10 {
        s.inject(rst().seq(100));
        s.expect(ack().seq(1).ack(1));
    }
    s.inject(rst().seq(100));
    s.silence(1000);
    s.inject(rst().seq(100));
    s.expect(ack().seq(1).ack(1));
    s.shows(Drop::TcpRstIgnored);
    s.happens(Happening::ChallengeLimited);
}

/// Whatever the guess is made with.
fn all_challenges_of_a_connection_share_a_limit(s: &mut Script) {
    s.not_on_kernel("it answers the same connection twice a second at most (tcp_invalid_ratelimit)");
    s.established();
    for part in 0..10 {
        s.inject(match part % 3 {
            0 => rst().seq(100),
            1 => syn().seq(100),
            _ => data(10).seq(200_000).ack(1),
        });
        s.expect(ack().seq(1).ack(1));
    }
    s.inject(rst().seq(100));
    s.inject(syn().seq(100));
    s.inject(data(10).seq(200_000).ack(1));
    s.silence(100);
    s.shows(Drop::TcpRstIgnored);
    s.shows(Drop::TcpSynChallenged);
    s.shows(Drop::TcpOutOfWindow);
    s.happens(Happening::ChallengeLimited);
}

/// A limit that all share would tell a stranger, by what he gets on his own connection, whether he has guessed right on another's.
//= type=test
//= rfc5961#7
//# An implementation SHOULD include an ACK throttling mechanism to be conservative.
fn challenges_of_one_connection_say_nothing_of_another(s: &mut Script) {
    s.not_on_kernel("it answers the same connection twice a second at most (tcp_invalid_ratelimit)");
    s.established();
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
    s.inject(ack().seq(1).ack(1).port(1));
    s.call(Accept);
    for _ in 0..10 {
        s.inject(rst().seq(100));
        s.expect(ack().seq(1).ack(1));
    }
    s.inject(rst().seq(100));
    s.silence(10);
    for _ in 0..10 {
        s.inject(rst().seq(100).port(1));
        s.expect(ack().seq(1).ack(1).port(1));
    }
    s.shows(Drop::TcpRstIgnored);
    s.happens(Happening::ChallengeLimited);
}
