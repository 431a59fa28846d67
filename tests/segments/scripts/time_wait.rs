//! TIME-WAIT: late segments, resets, and a connection that begins anew.

use std::time::Duration;

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Shutdown};
use crate::script::{Script, scripts};
use crate::segment::{ack, data, fin, rst, syn, syn_ack};

scripts![
    a_late_fin_is_acknowledged,
    a_reset_does_not_end_time_wait,
    late_text_is_answered,
    a_newer_syn_reopens,
    an_older_syn_does_not_reopen,
    a_newer_timestamp_reopens,
    an_older_timestamp_does_not_reopen,
    time_wait_ends,
    a_late_fin_begins_time_wait_anew,
    fin_wait_2_does_not_last_for_ever,
    time_wait_gives_way_in_a_full_table,
];

/// To TIME-WAIT, the host having closed first.
fn waiting(s: &mut Script) {
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.state(State::TimeWait);
}

/// The same with timestamps; the peer's last is 1003.
fn waiting_with_timestamps(s: &mut Script) {
    s.established_with(syn().mss(1000).ts(1000));
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1).echo(1001));
    s.inject(fin().seq(1).ack(2).ts(1003));
    s.expect(ack().seq(2).ack(2).echo(1003));
    s.state(State::TimeWait);
}

/// Our last acknowledgment was lost.
//= type=test
//= rfc9293#3.10.7.4
//# The only thing that can arrive in this state is a retransmission of the remote FIN.  Acknowledge it, and restart the 2 MSL
//# timeout.
fn a_late_fin_is_acknowledged(s: &mut Script) {
    waiting(s);
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.shows(Drop::TcpOutOfWindow);
}

/// An old duplicate must not cut TIME-WAIT short.
//= type=test
//= rfc1337#3
//# Ignore RST segments in TIME-WAIT state.
fn a_reset_does_not_end_time_wait(s: &mut Script) {
    s.settings(|_| {}, &[("tcp_rfc1337", "1")]);
    waiting(s);
    s.inject(rst().seq(2));
    s.silence(50);
    s.state(State::TimeWait);
    s.shows(Drop::TcpRstIgnored);
}

/// Text of the past gets the number that is expected.
fn late_text_is_answered(s: &mut Script) {
    waiting(s);
    s.inject(data(1).seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.state(State::TimeWait);
    s.shows(Drop::TcpOutOfWindow);
}

/// A SYN beyond all that was received is no old duplicate.
//= type=test
//= rfc6191#2
//# If TCP Timestamps would not be enabled for the new incarnation of the connection, but the Sequence Number of the incoming SYN
//# segment is greater than the last sequence number seen on the previous incarnation of the connection
fn a_newer_syn_reopens(s: &mut Script) {
    waiting(s);
    s.forget();
    s.inject(syn().seq(5000).mss(1000));
    s.expect(syn_ack().seq(0).ack(5001));
    s.inject(ack().seq(5001).ack(1));
    s.call(Accept);
    s.state(State::Established);
}

/// A SYN before that could be one.
//= type=test
//= rfc6191#2
//# Otherwise, silently drop the incoming SYN segment, thus leaving the previous incarnation of the connection in the TIME-WAIT
//# state.
fn an_older_syn_does_not_reopen(s: &mut Script) {
    waiting(s);
    s.inject(syn().seq(-5000).mss(1000));
    s.differs("Linux answers with its last ACK, RFC 6191 drops silently", |s| s.silence(50), |s| s.expect(ack().seq(2).ack(2)));
    s.state(State::TimeWait);
    s.shows(Drop::TcpSynInTimeWait);
}

/// With timestamps the sequence number may be older.
//= type=test
//= rfc6191#2
//# the timestamp contained in the incoming SYN segment is greater than the last timestamp seen on the previous incarnation of the
//# connection (for that direction of the data transfer), honor the connection request
fn a_newer_timestamp_reopens(s: &mut Script) {
    waiting_with_timestamps(s);
    s.forget();
    s.inject(syn().seq(-5000).mss(1000).ts(2000));
    s.expect(syn_ack().seq(0).ack(-4999).echo(2000));
}

/// A timestamp of the past marks a duplicate.
fn an_older_timestamp_does_not_reopen(s: &mut Script) {
    waiting_with_timestamps(s);
    s.inject(syn().seq(5000).mss(1000).ts(900));
    s.differs(
        "Linux answers with its last ACK, RFC 6191 drops silently",
        |s| s.silence(50),
        |s| s.expect(ack().seq(2).ack(2).echo(1003)),
    );
    s.state(State::TimeWait);
    s.shows(Drop::TcpSynInTimeWait);
}

/// After 2 MSL nothing is left.
//= type=test
//= rfc9293#3.6.1
//# When a connection is closed actively, it MUST linger in the TIME-WAIT state for a time 2xMSL (Maximum Segment Lifetime)
//# (MUST-13).
fn time_wait_ends(s: &mut Script) {
    s.not_on_kernel("its TIME-WAIT lasts for a minute, which no setting shortens");
    s.settings.msl = Duration::from_secs(30);
    waiting(s);
    s.silence(59_900);
    s.state(State::TimeWait);
    s.silence(200);
    s.state(State::Closed);
}

/// Each late FIN starts 2 MSL anew.
//= type=test
//= rfc9293#3.10.7.4
//# Acknowledge it, and restart the 2 MSL timeout.
fn a_late_fin_begins_time_wait_anew(s: &mut Script) {
    s.not_on_kernel("its TIME-WAIT lasts for a minute, which no setting shortens");
    s.settings.msl = Duration::from_secs(30);
    waiting(s);
    s.silence(59_000);
    s.inject(fin().seq(1).ack(2));
    s.expect(ack().seq(2).ack(2));
    s.silence(59_000);
    s.state(State::TimeWait);
    s.silence(2_000);
    s.state(State::Closed);
    s.shows(Drop::TcpOutOfWindow);
}

/// A peer that vanished does not hold a TCB for ever.
fn fin_wait_2_does_not_last_for_ever(s: &mut Script) {
    s.not_on_kernel("it limits FIN-WAIT-2 only once no process holds the socket");
    s.settings.fin_wait_2 = Duration::from_secs(60);
    s.established();
    s.call(Shutdown);
    s.expect(fin().seq(1).ack(1));
    s.inject(ack().seq(1).ack(2));
    s.silence(59_000);
    s.state(State::FinWait2);
    s.silence(2_000);
    s.state(State::Closed);
}

/// The table is full: the oldest in TIME-WAIT gives way. (With cookies it would to the acknowledgment, not to the SYN.)
fn time_wait_gives_way_in_a_full_table(s: &mut Script) {
    s.not_on_kernel("it has no table of a fixed size");
    s.settings.connections = 1;
    s.settings.syn_cookies = false;
    waiting(s);
    s.inject(syn().mss(1000).port(1));
    s.expect(syn_ack().seq(0).ack(1).port(1));
    s.happens(Happening::TimeWaitCutShort);
}
