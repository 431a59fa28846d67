//! Sending: segments, Nagle, windows, room (RFC 9293 3.7, 3.8.6).

use std::time::Duration;

use super::script::*;
use crate::tcp::{BufferPool, Config, Events, State};
use crate::wire::tcp::Flags;

//= type=test
//= rfc9293#3.9.1.2
//# a TCP implementation SHOULD send a maximum-sized segment whenever possible (SHLD-28) to improve performance
//= type=test
//= rfc9293#3.9.1.2
//# MUST set the PSH bit in the last buffered segment (i.e., when there is no more queued data to be sent) (MUST-61).
#[test]
fn a_stream_is_cut_into_full_segments_and_pushed_at_its_end() {
    let mut peer = Script::established();
    peer.send(&[1; 2500]);
    peer.expect(more(&[1; 1000]).seq(ISS + 1).ack(IRS + 1));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.expect(data(&[1; 500]).seq(ISS + 2001));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1501));
    assert_eq!(peer.tcb.unacknowledged(), 1000);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2501));
    assert_eq!(peer.tcb.unacknowledged(), 0);
    assert_eq!(peer.tcb.poll_timeout(), crate::time::Instant::NEVER);
}

//= type=test
//= rfc9293#3.9.1.2
//# The transmitter SHOULD collapse successive bits when it packetizes data, to send the largest possible segment (SHLD-27).
//= type=test
//= rfc9293#3.7.4
//# A TCP implementation SHOULD implement the Nagle algorithm to coalesce short segments (SHLD-7).
//= type=test
//= rfc9293#3.7.4
//# If there is unacknowledged data (i.e., SND.NXT > SND.UNA), then the sending TCP endpoint buffers all user data (regardless of the PSH
//# bit) until the outstanding data has been acknowledged or until the TCP endpoint can send a full-sized segment (Eff.snd.MSS bytes).
#[test]
fn nagle_gathers_small_writes() {
    let mut peer = Script::established_with(Config { no_delay: false, ..plain() });
    peer.send(b"a");
    peer.expect(data(b"a").seq(ISS + 1));
    peer.send(b"b");
    peer.send(b"c");
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2));
    peer.expect(data(b"bc").seq(ISS + 2));
    peer.send(&[7; 1100]);
    peer.expect(more(&[7; 1000]).seq(ISS + 4));
    peer.expect_nothing();
    peer.close();
    peer.expect(data(&[7; 100]).with(Flags::FIN).seq(ISS + 1004));
}

//= type=test
//= rfc9293#3.7.4
//# However, there MUST be a way for an application to disable the Nagle algorithm on an individual connection (MUST-17).
#[test]
fn no_delay_sends_small_writes_at_once() {
    let mut peer = Script::established();
    for n in 0..5 {
        peer.send(b"x");
        peer.expect(data(b"x").seq(ISS + 1 + n));
    }
}

#[test]
fn nothing_leaves_beyond_the_window() {
    let mut peer = Script::established();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(2000));
    peer.send(&[1; 5000]);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001).win(1000));
    peer.expect(more(&[1; 1000]).seq(ISS + 2001));
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.1
//# The window size MUST be treated as an unsigned number, or else large window sizes will appear like negative windows and TCP
//# will not work (MUST-1).
#[test]
fn a_window_beyond_32_kib_is_large_and_not_negative() {
    for window in [0x7fff, 0x8000, 0xffff] {
        let mut peer = Script::established();
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(window));
        peer.send(&[1; 10_000]);
        let segments = std::iter::from_fn(|| peer.sent()).count();
        assert_eq!(segments, 10, "window {window}");
    }
}

//= type=test
//= rfc9293#3.8.6
//# A refinement to avoid this problem is to act on the window information from segments that carry the highest acknowledgment number
#[test]
fn the_window_of_a_segment_that_fills_a_hole_counts() {
    let mut peer = Script::established();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(2000));
    peer.send(&[1; 5000]);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.inject(data(b"later").seq(IRS + 6).ack(ISS + 1).win(2000));
    peer.expect(ack().seq(ISS + 2001).ack(IRS + 1));
    // Sent again, after the first segment of ours had arrived: the right edge is where it was.
    peer.inject(data(b"first").seq(IRS + 1).ack(ISS + 1001).win(1000));
    peer.expect(ack().seq(ISS + 2001).ack(IRS + 11));
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.9.1.2
//# (1) MUST NOT buffer data indefinitely (MUST-60)
//= type=test
//= rfc9293#3.8.6.2.1
//# A TCP implementation MUST include a SWS avoidance algorithm in the sender (MUST-38).
#[test]
fn a_window_of_crumbs_is_not_used_until_the_override() {
    let mut peer = Script::established();
    peer.send(&[1; 60_000]);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(100));
    peer.expect_nothing();
    let waited = peer.next_timer();
    assert!(waited >= Duration::from_millis(100) && waited <= Duration::from_secs(1));
    peer.expect(more(&[1; 100]).seq(ISS + 1));
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.8.6.2.1
//# The override timeout should be in the range 0.1 - 1.0 seconds.
#[test]
fn the_override_does_not_wait_for_a_long_rto() {
    for (rto_min, waited) in [(3000, 1000), (500, 500), (10, 100)] {
        let rto_min = Duration::from_millis(rto_min);
        let mut peer = Script::established_with(Config { rto_min, ..plain() });
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(100));
        peer.send(&[1; 5000]);
        peer.expect_nothing();
        assert_eq!(peer.next_timer(), Duration::from_millis(waited));
        peer.expect(more(&[1; 100]).seq(ISS + 1));
    }
}

#[test]
fn half_of_a_small_window_is_used() {
    let mut peer = Script::accept(plain(), syn().seq(IRS).mss(MSS).win(600));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(600));
    peer.send(&[1; 5000]);
    peer.expect(more(&[1; 600]).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 601).win(299));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 601).win(300));
    peer.expect(more(&[1; 300]).seq(ISS + 601));
}

#[test]
fn nagle_holds_a_fraction_of_the_window_back_too() {
    let mut peer = Script::accept(Config { no_delay: false, ..plain() }, syn().seq(IRS).mss(MSS).win(600));
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(600));
    peer.send(b"x");
    peer.expect(data(b"x").seq(ISS + 1));
    peer.send(&[1; 900]);
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2).win(600));
    peer.expect(more(&[1; 600]).seq(ISS + 2));
}

#[test]
fn a_fin_beyond_a_shrunken_window_is_not_sent_again_with_its_data() {
    let mut peer = Script::established();
    peer.send(b"abc");
    peer.close();
    peer.expect(data(b"abc").with(Flags::FIN).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(3));
    peer.next_timer();
    peer.expect(data(b"abc").seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 4).win(1));
    peer.expect(fin().seq(ISS + 4));
}

/// A peer that closes its window with nothing of ours outstanding, and 10 bytes to send.
fn closed_window() -> Script {
    let mut peer = Script::established();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(0));
    peer.send(b"0123456789");
    peer.expect_nothing();
    peer
}

//= type=test
//= rfc9293#3.8.6.1
//# Probing of zero (offered) windows MUST be supported (MUST-36).
//= type=test
//= rfc9293#3.8.6.1
//# The transmitting host SHOULD send the first zero-window probe when a zero window has existed for the retransmission timeout period
//# (SHLD-29) (Section 3.8.1), and SHOULD increase exponentially the interval between successive probes (SHLD-30).
#[test]
fn a_closed_window_is_probed_ever_more_slowly() {
    let mut peer = closed_window();
    let mut intervals = Vec::new();
    for _ in 0..6 {
        intervals.push(peer.next_timer().as_millis());
        peer.expect(more(b"0").seq(ISS + 1));
        peer.expect_nothing();
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(0));
    }
    assert_eq!(intervals, [200, 400, 800, 1600, 3200, 6400]);
}

//= type=test
//= rfc9293#3.8.6.1
//# As long as the receiving TCP peer continues to send acknowledgments in response to the probe segments, the sending TCP peer MUST allow
//# the connection to stay open (MUST-37).
#[test]
fn a_peer_that_answers_probes_is_never_given_up() {
    let mut peer = closed_window();
    for _ in 0..200 {
        peer.next_timer();
        peer.expect(more(b"0").seq(ISS + 1));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(0));
    }
    peer.expect_state(State::Established);
    // The byte of the probes lay outside the window all the time: it goes again at once, not after a timeout.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(5000));
    peer.expect(more(b"0").seq(ISS + 1));
    peer.expect(data(b"123456789").seq(ISS + 2));
    peer.expect_nothing();
}

#[test]
fn a_peer_that_does_not_answer_probes_is_given_up() {
    let mut peer = closed_window();
    for _ in 0..peer.config.retries {
        peer.next_timer();
        peer.expect(more(b"0").seq(ISS + 1));
    }
    peer.next_timer();
    peer.expect_events(Events::TIMED_OUT);
    peer.expect_finished();
}

/// Probing goes on although something is still to be sent again from an earlier timeout: a lost probe must not be the last.
#[test]
fn a_lost_probe_is_followed_by_another_in_the_middle_of_a_repair() {
    let mut peer = Script::established();
    peer.send(&[1; 2000]);
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.expect(data(&[1; 1000]).seq(ISS + 1001));
    peer.next_timer();
    peer.expect(more(&[1; 1000]).seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001).win(0));
    peer.expect_nothing();
    for _ in 0..peer.config.retries {
        peer.next_timer();
        peer.expect(more(&[1; 1]).seq(ISS + 1001));
        peer.expect_nothing();
    }
    peer.next_timer();
    peer.expect_events(Events::TIMED_OUT);
    peer.expect_finished();
}

/// A probe that found no frame is forgotten when the peer acknowledges everything meanwhile: there is nothing to probe with.
#[test]
fn a_probe_that_had_to_wait_is_not_sent_for_nothing() {
    for close in [false, true] {
        let mut peer = Script::established();
        peer.send(b"0123456789");
        if close {
            peer.close();
        }
        let segment = data(b"0123456789").seq(ISS + 1);
        peer.expect(if close { segment.with(Flags::FIN) } else { segment });
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(0));
        peer.next_timer();
        peer.inject(ack().seq(IRS + 1).ack(ISS + 11 + u32::from(close)).win(0));
        peer.expect_nothing();
        assert_eq!(peer.tcb.retransmitted(), 0);
        peer.expect_state(if close { State::FinWait2 } else { State::Established });
    }
}

#[test]
fn a_window_that_opens_before_the_probe_leaves_needs_none() {
    let mut peer = closed_window();
    peer.next_timer();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(5000));
    peer.expect(data(b"0123456789").seq(ISS + 1));
    assert_eq!(peer.tcb.retransmitted(), 0);
}

#[test]
fn a_probe_that_is_taken_moves_on() {
    let mut peer = closed_window();
    peer.next_timer();
    peer.expect(more(b"0").seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2).win(0));
    peer.expect_nothing();
    peer.next_timer();
    peer.expect(more(b"1").seq(ISS + 2));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 3).win(100));
    peer.expect(data(b"23456789").seq(ISS + 3));
}

#[test]
fn a_fin_probes_too() {
    let mut peer = Script::established();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).win(0));
    peer.close();
    peer.expect_nothing();
    peer.next_timer();
    peer.expect(fin().seq(ISS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2).win(0));
    peer.expect_state(State::FinWait2);
}

//= type=test
//= rfc9293#3.8.6 MUST-35 SHLD-16 SHLD-17
//# If this happens, the sender SHOULD NOT send new data (SHLD-15)
//= type=test
//= rfc9293#3.8.6
//# However, a sending TCP peer MUST be robust against window shrinking, which may cause the "usable window" (see Section 3.8.6.2.1) to
//# become negative (MUST-34).
#[test]
fn a_shrunken_window_is_obeyed_and_probed() {
    let mut peer = Script::established();
    peer.send(&[1; 4000]);
    (0..4).for_each(|n| peer.expect(if n < 3 { more(&[1; 1000]) } else { data(&[1; 1000]) }.seq(ISS + 1 + 1000 * n)));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001).win(1500));
    peer.send(&[2; 1000]);
    peer.expect_nothing();
    // Retransmission stays inside what is left of the window.
    peer.next_timer();
    peer.expect(more(&[1; 1000]).seq(ISS + 1001));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001).win(0));
    peer.expect_nothing();
    for _ in 0..50 {
        peer.next_timer();
        peer.expect(more(&[1; 1]).seq(ISS + 2001));
        peer.inject(ack().seq(IRS + 1).ack(ISS + 2001).win(0));
    }
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001).win(5000));
    peer.expect(more(&[1; 1000]).seq(ISS + 2001));
    peer.expect_state(State::Established);
}

#[test]
fn a_full_send_buffer_calls_back_when_there_is_room() {
    let mut peer = Script::established();
    assert_eq!(peer.send(&[1; 30_000]), 20_000);
    assert_eq!(peer.tcb.send_room(&peer.config), 0);
    while peer.sent().is_some() {}
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    // One segment's worth is not worth a call.
    peer.expect_events(Events::NONE);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2001));
    peer.expect_events(Events::WRITABLE);
    assert_eq!(peer.send(&[2; 2000]), 2000);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 5001));
    peer.expect_events(Events::NONE);
}

#[test]
fn a_service_refused_memory_is_called_again_although_nothing_is_outstanding() {
    let mut peer = Script::established();
    peer.pool = BufferPool::new(0);
    assert_eq!(peer.send(b"x"), 0);
    assert_eq!(peer.next_timer(), Duration::from_millis(10));
    peer.expect_events(Events::WRITABLE);
    assert_eq!(peer.send(b"x"), 0);
    assert_eq!(peer.next_timer(), Duration::from_millis(10));
    peer.pool = BufferPool::new(1 << 20);
    assert_eq!(peer.send(b"x"), 1);
}

//= type=test
//= rfc6928#2
//# min (10*MSS, max (2*MSS, 14600))                            (1)
#[test]
fn the_first_flight_is_ten_segments() {
    let mut peer = Script::established();
    peer.send(&[1; 20_000]);
    let sent = std::iter::from_fn(|| peer.sent()).count();
    assert_eq!(sent, 10);
    // Slow start: each ACK lets two more go.
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1001));
    assert_eq!(std::iter::from_fn(|| peer.sent()).count(), 2);
}

//= type=test
//= rfc7661#4.4
//# A TCP sender that enters the non-validated phase preserves the cwnd
//= type=test
//= rfc7661#4.4.2
//# A TCP sender in the non-validated phase SHOULD control the maximum burst size
#[test]
fn idleness_keeps_the_window_and_what_follows_is_paced() {
    let rtt = Duration::from_millis(100);
    let mut peer = Script::with_sack(plain(), rtt);
    // Two round trips: ten segments, then twenty.
    for flight in [10, 20] {
        let first = peer.tcb.snd.nxt;
        peer.flight(flight, 1);
        peer.advance(rtt);
        for n in 1..=flight {
            peer.inject(ack().seq(IRS + 1).ack(first + n * 1000));
        }
    }
    let window = peer.tcb.congestion_window();
    assert!(window > 20_000, "{window}");
    peer.advance(Duration::from_secs(10));
    assert_eq!(peer.send(&[1; 20_000]), 20_000);
    let burst = std::iter::from_fn(|| peer.sent()).count();
    assert_eq!((burst, peer.tcb.congestion_window()), (10, window), "as much as a path that nobody knows gets");
    let begin = peer.now;
    let mut later = 0;
    while burst + later < 20 {
        peer.next_timer();
        later += std::iter::from_fn(|| peer.sent()).count();
    }
    let took = peer.now.since(begin);
    assert!(took > rtt / 10 && took < rtt, "without an acknowledgment, within a round trip: {took:?}");
}
