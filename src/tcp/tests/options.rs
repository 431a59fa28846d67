//! MSS, window scale, timestamps (RFC 9293 3.7.1, RFC 7323).

use std::time::Duration;

use super::script::*;
use crate::device::Drop;
use crate::limits::SEND_MSS_MIN;
use crate::tcp::tally::Happening;
use crate::tcp::{Config, Events, State};

fn scaled(receive_buffer: usize) -> Config {
    Config { window_scaling: true, receive_buffer, ..plain() }
}

fn stamped() -> Config {
    Config { timestamps: true, ..plain() }
}

/// TSval of what we send at the start: the clock in ms plus the offset.
const VALUE: u32 = 1_000_000 + 500;

//= type=test
//= rfc9293#3.7.1
//# If an MSS Option is not received at connection setup, TCP implementations MUST assume a default send MSS of 536 (576 - 40)
//# for IPv4 or 1220 (1280 - 60) for IPv6 (MUST-15).
//= type=test
//= rfc9293#3.7.1 MUST-16
//# TCP endpoints MUST implement both sending and receiving the MSS Option (MUST-14).
//= type=test
//= rfc9293#3.7.1
//# If an MSS Option is not received at connection setup, TCP implementations MUST assume a default send MSS of 536
#[test]
fn the_mss_is_the_smaller_of_both() {
    for (option, payload) in [(None, 536), (Some(700), 700), (Some(9000), 1000), (Some(0), 64), (Some(u16::MAX), 1000)] {
        let syn = syn().seq(IRS);
        let mut peer = Script::accept(
            plain(),
            match option {
                Some(mss) => syn.mss(mss),
                None => syn,
            },
        );
        peer.expect(syn_ack().seq(ISS).ack(IRS + 1).mss(MSS));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.send(&[5; 5000]);
        peer.expect(more(&vec![5; payload]).seq(ISS + 1));
        assert!(payload >= usize::from(SEND_MSS_MIN));
    }
}

//= type=test
//= rfc9293#3.7.1
//# the sender must reduce the amount of TCP data in any given packet by the number of octets used by the IP and TCP options.
#[test]
fn timestamps_take_twelve_bytes_of_a_segment() {
    let mut peer = Script::accept(stamped(), syn().seq(IRS).mss(MSS).ts(7, 0));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).ts(8, VALUE));
    peer.send(&[5; 5000]);
    peer.expect(more(&[5; 988]).seq(ISS + 1));
}

//= type=test
//= rfc7323#2.3
//# Upon receiving a <SYN> segment with a Window Scale option containing shift.cnt = S, a TCP MUST set Snd.Wind.Shift to S and MUST set
//# Rcv.Wind.Shift to R
#[test]
fn windows_are_scaled_both_ways() {
    let mut peer = Script::accept(scaled(1 << 20), syn().seq(IRS).mss(MSS).scale(7).win(50_000));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1).win(65_535).mss(MSS).scale(5));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(500));
    assert_eq!(peer.tcb.snd.wnd, 500 << 7);
    peer.send(b"x");
    // The whole buffer is on offer: 2^20 >> 5.
    peer.expect(data(b"x").seq(ISS + 1).win(32_768));
}

//= type=test
//= rfc7323#2.2
//# The window field in a segment where the SYN bit is set (i.e., a <SYN> or <SYN,ACK>) MUST NOT be scaled.
#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let mut peer = Script::open(scaled(1 << 20));
    peer.expect(syn().seq(ISS).win(65_535).mss(MSS).scale(5));
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS).scale(14).win(1000));
    assert_eq!(peer.tcb.snd.wnd, 1000);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1).win(32_768));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(1000));
    assert_eq!(peer.tcb.snd.wnd, 1000 << 14);
}

//= type=test
//= rfc7323#2.3
//# otherwise, it MUST set both Snd.Wind.Shift and Rcv.Wind.Shift to zero.
#[test]
fn without_the_peers_option_nothing_is_scaled() {
    let mut peer = Script::open(scaled(1 << 20));
    peer.expect(syn().seq(ISS).mss(MSS).scale(5));
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1).win(65_535));
    let mut peer = Script::accept(scaled(1 << 20), syn().seq(IRS).mss(MSS));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1).mss(MSS));
}

//= type=test
//= rfc7323#2.3
//# If a Window Scale option is received with a shift.cnt value larger than 14, the TCP SHOULD log the error but MUST use 14 instead of the
//# specified value.
#[test]
fn a_shift_above_14_is_14() {
    let mut peer = Script::accept(scaled(100_000), syn().seq(IRS).mss(MSS).scale(255));
    assert!(peer.tcb.take_noted().contains(Happening::WindowScaleClamped));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(2));
    assert_eq!(peer.tcb.snd.wnd, 2 << 14);
}

//= type=test
//= rfc7323#3.2
//# A TCP MAY send the TSopt in an initial <SYN> segment (i.e., segment containing a SYN bit and no ACK bit), and MAY send a TSopt in
//# <SYN,ACK> only if it received a TSopt in the initial <SYN> segment for the connection.
#[test]
fn timestamps_are_agreed_on_in_the_syns() {
    let mut peer = Script::open(stamped());
    peer.expect(syn().seq(ISS).mss(MSS).ts(VALUE, 0));
    peer.inject(syn_ack().seq(IRS).ack(ISS + 1).mss(MSS).ts(77, VALUE));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1).ts(VALUE, 77));

    let mut peer = Script::accept(stamped(), syn().seq(IRS).mss(MSS).ts(77, 0));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1).mss(MSS).ts(VALUE, 77));

    let mut peer = Script::accept(stamped(), syn().seq(IRS).mss(MSS));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1).mss(MSS));

    let mut peer = Script::accept(plain(), syn().seq(IRS).mss(MSS).ts(77, 0));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1).mss(MSS));
}

//= type=test
//= rfc7323#3.2
//# If a TSopt is received on a connection where TSopt was not negotiated in the initial three-way handshake, the TSopt MUST be ignored and
//# the packet processed normally.
#[test]
fn timestamps_nobody_agreed_on_are_ignored() {
    let mut peer = Script::established();
    peer.inject(data(b"a").seq(IRS + 1).ack(ISS + 1).ts(1000, 0));
    peer.inject(data(b"b").seq(IRS + 2).ack(ISS + 1).ts(5, 0));
    peer.expect_data(b"ab");
}

/// Established with timestamps; TS.Recent is 101.
fn established_stamped() -> Script {
    let mut peer = Script::accept(stamped(), syn().seq(IRS).mss(MSS).ts(100, 0));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).ts(101, VALUE));
    peer.expect_events(Events::CONNECTED);
    peer
}

//= type=test
//= rfc7323#5.3
//# If there is a Timestamps option in the arriving segment, SEG.TSval < TS.Recent, TS.Recent is valid (see later discussion), and if the
//# RST bit is not set, then treat the arriving segment as not acceptable
#[test]
fn paws_drops_and_answers_the_past() {
    let mut peer = established_stamped();
    peer.inject(data(b"old").seq(IRS + 1).ack(ISS + 1).ts(100, VALUE));
    peer.expect_drop(Drop::TcpPaws);
    peer.expect_data(b"");
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1).ts(VALUE, 101));
    peer.inject(data(b"new").seq(IRS + 1).ack(ISS + 1).ts(101, VALUE));
    peer.expect_data(b"new");
}

//= type=test
//= rfc7323#5.2
//# When an <RST> segment is received, it MUST NOT be subjected to the PAWS check
#[test]
fn paws_does_not_protect_from_resets() {
    let mut peer = established_stamped();
    peer.inject(rst().seq(IRS + 1).ts(1, 0));
    peer.expect_events(Events::RESET);
    peer.expect_finished();
    let mut peer = established_stamped();
    peer.inject(rst().seq(IRS + 1));
    peer.expect_state(State::Closed);
}

//= type=test
//= rfc7323#3.2
//# A TCP MUST NOT abort a TCP connection because any segment lacks an expected TSopt.
#[test]
fn a_segment_without_its_timestamp_is_dropped_in_silence() {
    let mut peer = established_stamped();
    peer.inject(data(b"x").seq(IRS + 1).ack(ISS + 1));
    peer.expect_drop(Drop::TcpTimestampMissing);
    peer.expect_nothing();
    peer.expect_state(State::Established);
}

#[test]
fn after_24_idle_days_the_past_is_forgotten() {
    let mut peer = established_stamped();
    peer.advance(Duration::from_secs(25 * 24 * 3600));
    peer.inject(data(b"back").seq(IRS + 1).ack(ISS + 1).ts(50, VALUE));
    peer.expect_no_drop();
    peer.expect_data(b"back");
    peer.inject(data(b"x").seq(IRS + 5).ack(ISS + 1).ts(49, VALUE));
    peer.expect_drop(Drop::TcpPaws);
}

//= type=test
//= rfc7323#4.3
//# Thus, when delayed ACKs are in use, the receiver SHOULD reply with the TSval field from the earliest unacknowledged segment.
#[test]
fn the_earliest_unacknowledged_timestamp_is_echoed() {
    let mut peer = established_stamped();
    peer.inject(data(b"a").seq(IRS + 1).ack(ISS + 1).ts(110, VALUE));
    peer.inject(data(b"b").seq(IRS + 2).ack(ISS + 1).ts(120, VALUE));
    peer.next_timer();
    peer.expect(ack().seq(ISS + 1).ack(IRS + 3).ts(VALUE + 40, 110));
}

//= type=test
//= rfc7323#4.3
//# An <ACK> for an out-of-order segment SHOULD, therefore, contain the timestamp from the most recent segment that advanced RCV.NXT.
#[test]
fn a_segment_beyond_a_hole_is_not_echoed() {
    let mut peer = established_stamped();
    peer.inject(data(b"b").seq(IRS + 2).ack(ISS + 1).ts(120, VALUE));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1).ts(VALUE, 101));
    peer.inject(data(b"a").seq(IRS + 1).ack(ISS + 1).ts(130, VALUE));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 3).ts(VALUE, 130));
}

#[test]
fn a_reset_on_abort_carries_the_timestamp() {
    let mut peer = established_stamped();
    peer.abort();
    peer.expect(rst().seq(ISS + 1).ts(VALUE, 101));
}

//= type=test
//= rfc6298#3
//# The only case when TCP can safely take RTT samples from retransmitted segments is when the TCP timestamp option [JBB92] is employed
#[test]
fn an_echo_measures_what_was_sent_twice() {
    let mut peer = established_stamped();
    peer.send(b"x");
    peer.sent();
    peer.next_timer();
    peer.expect(data(b"x").seq(ISS + 1));
    let resent_at = VALUE + peer.now.since(START).as_millis() as u32;
    peer.advance(Duration::from_millis(80));
    let before = peer.tcb.srtt_ns().unwrap();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2).ts(200, resent_at));
    assert_eq!(peer.tcb.srtt_ns(), Some(before - before / 8 + 80_000_000 / 8));
}
