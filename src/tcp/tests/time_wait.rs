//! TIME-WAIT (RFC 9293 3.6.1, RFC 6191, RFC 1337).

use std::time::Duration;

use super::script::*;
use crate::device::Drop;
use crate::tcp::{Config, Disposition, Events, State};
use crate::time::Instant;

/// A connection with timestamps in TIME-WAIT; the last timestamp seen is 1003.
fn with_timestamps() -> Script {
    let config = Config { timestamps: true, ..plain() };
    let mut peer = Script::accept(config, syn().seq(IRS).mss(MSS).ts(1000, 0));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).ts(1001, 0));
    peer.close();
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2).ts(1002, 0));
    peer.inject(fin().seq(IRS + 1).ack(ISS + 2).ts(1003, 0));
    peer.expect_state(State::TimeWait);
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
    peer
}

//= type=test
//= rfc9293#3.6.1
//# When a connection is closed actively, it MUST linger in the TIME-WAIT state for a time 2xMSL (Maximum Segment Lifetime) (MUST-13).
#[test]
fn it_lasts_two_msl() {
    let mut peer = Script::time_wait();
    peer.advance(Duration::from_secs(59));
    peer.expect_state(State::TimeWait);
    peer.advance(Duration::from_secs(1));
    peer.expect_finished();
}

//= type=test
//= rfc9293#3.10.7.4
//# Remain in the TIME-WAIT state.  Restart the 2 MSL time-wait timeout.
#[test]
fn a_late_fin_is_acknowledged_and_starts_it_anew() {
    let mut peer = Script::time_wait();
    peer.advance(Duration::from_secs(50));
    peer.inject(fin().seq(IRS + 1).ack(ISS + 2));
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
    peer.expect_events(Events::NONE);
    peer.advance(Duration::from_secs(59));
    peer.expect_state(State::TimeWait);
    peer.advance(Duration::from_secs(1));
    peer.expect_finished();
}

/// TS.Recent and its age live on: what PAWS refuses while the connection is open it refuses now.
#[test]
fn paws_still_knows_the_past() {
    let mut peer = with_timestamps();
    peer.advance(Duration::from_secs(30));
    peer.inject(data(b"old").seq(IRS + 2).ack(ISS + 2).ts(1002, 0));
    peer.expect_drop(Drop::TcpPaws);
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
    peer.inject(syn().seq(IRS + 100).ts(1002, 0));
    peer.expect_drop(Drop::TcpSynInTimeWait);
    // A reset is not subject to it, and ignored for another reason.
    peer.inject(rst().seq(IRS + 2).ts(1002, 0));
    peer.expect_drop(Drop::TcpRstIgnored);
    peer.expect_state(State::TimeWait);
}

#[test]
fn an_old_segment_is_acknowledged_and_starts_nothing_anew() {
    let mut peer = Script::time_wait();
    peer.advance(Duration::from_secs(50));
    peer.inject(data(b"old").seq(IRS - 2).ack(ISS + 1));
    peer.expect_drop(Drop::TcpOutOfWindow);
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
    peer.inject(ack().seq(IRS + 2).ack(ISS + 2));
    peer.expect_nothing();
    peer.advance(Duration::from_secs(10));
    peer.expect_finished();
}

//= type=test
//= rfc1337#3
//# Ignore RST segments in TIME-WAIT state.
#[test]
fn a_rst_does_not_end_it() {
    let mut peer = Script::time_wait();
    for seq in [IRS + 2, IRS + 3, IRS] {
        peer.inject(rst().seq(seq));
        peer.expect_drop(Drop::TcpRstIgnored);
    }
    peer.expect_nothing();
    peer.expect_state(State::TimeWait);
}

//= type=test
//= rfc6191#2
//# If TCP Timestamps would not be enabled for the new incarnation of the connection, but the Sequence Number of the incoming SYN segment
//# is greater than the last sequence number seen on the previous incarnation of the connection
#[test]
fn without_timestamps_the_sequence_number_decides() {
    let mut peer = Script::time_wait();
    // The peer's FIN was at IRS + 1.
    peer.inject(syn().seq(IRS + 1).mss(MSS));
    peer.expect_drop(Drop::TcpSynInTimeWait);
    peer.expect_nothing();
    assert_eq!(peer.then, Disposition::Stay);
    peer.inject(syn().seq(IRS + 2).mss(MSS));
    peer.expect_no_drop();
    // Our FIN was at ISS + 1.
    assert_eq!(peer.then, Disposition::Reopen { iss_after: ISS + 1 });
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.6.1
//# This algorithm for reducing TIME-WAIT is a Best Current Practice that SHOULD be implemented since Timestamp Options are
//# commonly used, and using them to reduce TIME-WAIT provides benefits for busy Internet servers (SHLD-4).
//= type=test
//= rfc6191#2
//# If TCP Timestamps would be enabled for the new incarnation of the connection, and the timestamp contained in the incoming SYN segment is
//# greater than the last timestamp seen on the previous incarnation of the connection
#[test]
fn with_timestamps_they_decide() {
    let cases = [
        // Sequence number, TSval, reopened.
        (IRS - 100_000, Some(1004), true),
        (IRS + 2, Some(1003), true),
        (IRS + 1, Some(1003), false),
        (IRS + 100_000, Some(1002), false),
        (IRS + 2, None, true),
        (IRS + 1, None, false),
    ];
    for (seq, value, reopened) in cases {
        let mut peer = with_timestamps();
        let syn = syn().seq(seq).mss(MSS);
        peer.inject(match value {
            Some(value) => syn.ts(value, 0),
            None => syn,
        });
        let expected = if reopened { Disposition::Reopen { iss_after: ISS + 1 } } else { Disposition::Stay };
        assert_eq!(peer.then, expected, "SYN at {seq} with {value:?}");
        if !reopened {
            peer.expect_drop(Drop::TcpSynInTimeWait);
        }
        peer.expect_nothing();
    }
}

#[test]
fn new_timestamps_reopen_a_connection_that_had_none() {
    let mut peer = Script::time_wait();
    peer.config.timestamps = true;
    peer.inject(syn().seq(IRS - 5).mss(MSS).ts(1, 0));
    assert_eq!(peer.then, Disposition::Reopen { iss_after: ISS + 1 });
    peer.config.timestamps = false;
    peer.inject(syn().seq(IRS - 5).mss(MSS).ts(1, 0));
    peer.expect_drop(Drop::TcpSynInTimeWait);
}

#[test]
fn timestamps_stay_in_force() {
    let mut peer = with_timestamps();
    peer.inject(ack().seq(IRS + 2).ack(ISS + 2).ts(999, 0));
    peer.expect_drop(Drop::TcpPaws);
    peer.inject(fin().seq(IRS + 1).ack(ISS + 2).ts(1010, 0));
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
}

#[test]
fn a_syn_ack_in_time_wait_is_challenged() {
    let mut peer = Script::time_wait();
    peer.inject(syn_ack().seq(IRS + 2).ack(ISS + 2));
    peer.expect_drop(Drop::TcpSynChallenged);
    peer.expect(ack().seq(ISS + 2).ack(IRS + 2));
}

#[test]
fn unread_data_can_still_be_read() {
    let mut peer = Script::fin_wait_2();
    peer.appetite = 0;
    peer.inject(data(b"rest").seq(IRS + 1).ack(ISS + 2));
    peer.inject(fin().seq(IRS + 5).ack(ISS + 2));
    peer.expect_state(State::TimeWait);
    peer.resume(10);
    peer.expect_data(b"rest");
    assert_ne!(peer.tcb.poll_timeout(), Instant::NEVER);
}
