//! Receiving: order, windows, acknowledgments (RFC 9293 3.8.6, 3.10.7.4).

use std::time::Duration;

use super::script::*;
use crate::device::Drop;
use crate::limits::{DUPLICATE_ACKS_PER_SECOND, REASSEMBLY_BLOCKS};
use crate::tcp::tally::Happening;
use crate::tcp::{BufferPool, Config, Events};
use crate::wire::tcp::Flags;

//= type=test
//= rfc9293#3.8.6.3
//# the delay MUST be less than 0.5 seconds (MUST-40).
//= type=test
//= rfc9293#3.8.6.3
//# A TCP endpoint SHOULD implement a delayed ACK (SHLD-18), but an ACK should not be excessively delayed
#[test]
fn one_segment_is_acknowledged_after_the_delay() {
    let mut peer = Script::established();
    peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"abc");
    peer.expect_events(Events::NONE);
    peer.expect_nothing();
    assert_eq!(peer.next_timer(), Duration::from_millis(40));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 4));
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.8.6.3 SHLD-19
//# An ACK SHOULD be generated for at least every second full-sized segment or 2*RMSS bytes of new data
//= type=test
//= rfc9293#3.8.6.3
//# An ACK SHOULD be generated for at least every second full-sized segment
#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let mut peer = Script::established();
    for pair in 0..3 {
        let seq = IRS + 1 + 2000 * pair;
        peer.inject(more(&[1; 1000]).seq(seq).ack(ISS + 1));
        peer.expect_nothing();
        peer.inject(more(&[1; 1000]).seq(seq + 1000).ack(ISS + 1));
        peer.expect(ack().seq(ISS + 1).ack(seq + 2000));
        peer.expect_nothing();
    }
}

#[test]
fn the_acknowledgment_rides_on_the_answer() {
    let mut peer = Script::established();
    peer.inject(data(b"ping").seq(IRS + 1).ack(ISS + 1));
    peer.send(b"pong");
    peer.expect(data(b"pong").seq(ISS + 1).ack(IRS + 5));
    peer.expect_nothing();
    peer.inject(ack().seq(IRS + 5).ack(ISS + 5));
    peer.expect_nothing();
    assert_eq!(peer.tcb.poll_timeout(), crate::time::Instant::NEVER);
}

//= type=test
//= rfc9293#3.10.7.4
//# Segments with higher beginning sequence numbers SHOULD be held for later processing (SHLD-31).
#[test]
fn what_is_out_of_order_is_put_in_order() {
    let mut peer = Script::established();
    for (offset, text) in [(6, b"ghi"), (3, b"def"), (12, b"mno")] {
        peer.inject(more(text).seq(IRS + 1 + offset).ack(ISS + 1));
        peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
    }
    peer.expect_data(b"");
    peer.inject(more(b"abc").seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"abcdefghi");
    peer.expect_events(Events::READABLE);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 10));
    peer.inject(data(b"jkl").seq(IRS + 10).ack(ISS + 1));
    peer.expect_data(b"abcdefghijklmno");
    peer.expect(ack().seq(ISS + 1).ack(IRS + 16));
}

//= type=test
//= rfc9293#3.10.7.4
//# If a segment's contents straddle the boundary between old and new, only the new parts are processed.
#[test]
fn overlaps_are_taken_once() {
    let mut peer = Script::established();
    peer.inject(data(b"abcd").seq(IRS + 1).ack(ISS + 1));
    peer.inject(data(b"cdef").seq(IRS + 3).ack(ISS + 1));
    peer.expect_data(b"abcdef");
    peer.inject(data(b"ij").seq(IRS + 9).ack(ISS + 1));
    peer.inject(data(b"fghijk").seq(IRS + 6).ack(ISS + 1));
    peer.expect_data(b"abcdefghijk");
}

#[test]
fn an_old_segment_is_acknowledged_at_once() {
    let mut peer = Script::established();
    peer.inject(data(b"abcd").seq(IRS + 1).ack(ISS + 1));
    peer.inject(data(b"abcd").seq(IRS + 1).ack(ISS + 1));
    peer.expect_drop(Drop::TcpOutOfWindow);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 5));
    peer.expect_data(b"abcd");
}

#[test]
fn the_reassembly_list_is_bounded() {
    let mut peer = Script::established();
    for n in 0..REASSEMBLY_BLOCKS as u32 {
        peer.inject(data(b"x").seq(IRS + 3 + 2 * n).ack(ISS + 1));
        peer.expect_no_drop();
        peer.sent();
    }
    peer.inject(data(b"x").seq(IRS + 5000).ack(ISS + 1));
    peer.expect_drop(Drop::TcpReassemblyFull);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
}

#[test]
fn a_service_that_leaves_bytes_finds_them_later() {
    let mut peer = Script::established();
    peer.appetite = 2;
    peer.inject(data(b"abcd").seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"ab");
    assert_eq!(peer.tcb.unread_len(), 2);
    peer.inject(data(b"ef").seq(IRS + 5).ack(ISS + 1));
    peer.expect_events(Events::READABLE);
    assert_eq!(peer.tcb.unread(), b"cdef");
    peer.resume(usize::MAX);
    peer.expect_data(b"abcdef");
    assert_eq!(peer.pool.in_use(), 0);
}

/// The service pauses; the peer fills the window with 20 segments.
fn full_window() -> Script {
    let mut peer = Script::established();
    peer.appetite = 0;
    for n in 0..20 {
        peer.inject(more(&[n as u8; 1000]).seq(IRS + 1 + 1000 * n).ack(ISS + 1));
        peer.expect_no_drop();
    }
    peer.expect(ack().seq(ISS + 1).ack(IRS + 20_001).win(0));
    peer
}

//= type=test
//= rfc9293#3.8.6.1
//# When the receiving TCP peer has a zero window and a segment arrives, it must still send an acknowledgment showing its next expected
//# sequence number and current window (zero).
#[test]
fn a_probe_of_a_closed_window_is_answered() {
    let mut peer = full_window();
    peer.inject(more(b"p").seq(IRS + 20_001).ack(ISS + 1));
    peer.expect_drop(Drop::TcpOutOfWindow);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 20_001).win(0));
    // The other kind of probe: an old byte, or none.
    peer.inject(ack().seq(IRS + 20_000).ack(ISS + 1));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 20_001).win(0));
}

//= type=test
//= rfc9293#3.10.7.4
//# If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid ACKs, URGs, and RSTs.
#[test]
fn a_closed_window_still_takes_acks() {
    let mut peer = full_window();
    peer.send(b"out");
    peer.expect(data(b"out").seq(ISS + 1));
    peer.inject(more(b"p").seq(IRS + 20_001).ack(ISS + 4));
    assert_eq!(peer.tcb.unacknowledged(), 0);
    assert_eq!(peer.tcb.unread_len(), 20_000);
}

//= type=test
//= rfc9293#3.8.6.2.2
//# A TCP implementation MUST include a SWS avoidance algorithm in the receiver (MUST-39).
//= type=test
//= rfc9293#3.8.6.2.2
//# When the inequality is satisfied, RCV.WND is set to RCV.BUFF-RCV.USER.
//= type=test
//= rfc9293#3.8.6.2.2
//# A TCP implementation MUST include a SWS avoidance algorithm in the receiver (MUST-39).
#[test]
fn the_window_opens_in_steps_worth_telling() {
    let mut peer = full_window();
    peer.resume(999);
    peer.expect_nothing();
    peer.resume(1);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 20_001).win(1000));
    peer.resume(usize::MAX);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 20_001).win(20_000));
    peer.expect_nothing();
}

#[test]
fn nobody_is_told_of_room_after_his_fin() {
    let mut peer = full_window();
    peer.resume(2000);
    peer.sent();
    peer.inject(fin().seq(IRS + 20_001).ack(ISS + 1));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 20_002));
    peer.resume(usize::MAX);
    peer.expect_nothing();
}

#[test]
fn reading_does_not_send_an_update_while_the_window_is_wide() {
    let mut peer = Script::established();
    peer.inject(more(&[1; 1000]).seq(IRS + 1).ack(ISS + 1));
    peer.expect_nothing();
}

//= type=test
//= rfc9293#3.8.6
//# A TCP receiver SHOULD NOT shrink the window, i.e., move the right window edge to the left (SHLD-14).
#[test]
fn the_right_edge_stands_while_the_service_sleeps() {
    let mut peer = Script::established();
    peer.appetite = 0;
    for n in 0..10 {
        peer.inject(more(&[0; 1500]).seq(IRS + 1 + 1500 * n).ack(ISS + 1));
        peer.tcb.ack_now = true;
        peer.expect(ack().ack(IRS + 1501 + 1500 * n).win(20_000 - 1500 * (n as u16 + 1)).seq(ISS + 1));
    }
}

#[test]
fn what_lies_beyond_the_window_is_cut_off() {
    let mut peer = full_window();
    peer.resume(1000);
    peer.sent();
    peer.inject(more(&[9; 1400]).seq(IRS + 20_001).ack(ISS + 1));
    assert_eq!(peer.tcb.unread_len(), 20_000);
    peer.next_timer();
    peer.expect(ack().seq(ISS + 1).ack(IRS + 21_001).win(0));
}

#[test]
fn a_fin_beyond_the_window_waits() {
    let mut peer = full_window();
    peer.inject(fin().seq(IRS + 20_001).ack(ISS + 1));
    peer.expect_events(Events::READABLE);
    peer.expect(ack().ack(IRS + 20_001).seq(ISS + 1).win(0));
    peer.resume(usize::MAX);
    peer.sent();
    peer.inject(fin().seq(IRS + 20_001).ack(ISS + 1));
    peer.expect_events(Events::PEER_CLOSED);
}

#[test]
fn without_memory_data_is_not_acknowledged() {
    let mut peer = Script::established();
    peer.pool = BufferPool::new(0);
    peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
    peer.expect_drop(Drop::TcpNoBuffer);
    peer.expect_data(b"");
    // The peer hears that it is still to come, and need not wait for its timer.
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
    peer.inject(data(b"def").with(Flags::FIN).seq(IRS + 1).ack(ISS + 1));
    peer.expect_drop(Drop::TcpNoBuffer);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
    peer.expect_nothing();
    // Within the limit.
    let mut answers = 2;
    for _ in 0..1000 {
        peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
        answers += usize::from(peer.sent().is_some());
    }
    assert_eq!(answers, usize::from(DUPLICATE_ACKS_PER_SECOND));
    peer.pool = BufferPool::new(1 << 20);
    peer.inject(data(b"abc").seq(IRS + 1).ack(ISS + 1));
    peer.expect_data(b"abc");
}

#[test]
fn without_memory_what_is_beyond_a_hole_is_dropped() {
    let mut peer = Script::established();
    peer.pool = BufferPool::new(0);
    peer.inject(data(b"def").seq(IRS + 4).ack(ISS + 1));
    peer.expect_drop(Drop::TcpNoBuffer);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
}

#[test]
fn an_idle_connection_holds_no_memory() {
    let mut peer = Script::established();
    peer.inject(data(b"ping").seq(IRS + 1).ack(ISS + 1));
    peer.send(b"pong");
    peer.sent();
    peer.inject(ack().seq(IRS + 5).ack(ISS + 5));
    assert_eq!(peer.pool.in_use(), 0);
}

#[test]
fn urgent_data_are_data_in_line() {
    let mut peer = Script::established();
    for (n, urgent) in [(0, 0), (1, 1), (2, 5), (3, u16::MAX)] {
        peer.inject(data(b"u").urgent(urgent).seq(IRS + 1 + n).ack(ISS + 1));
        peer.expect_no_drop();
    }
    peer.expect_data(b"uuuu");
}

#[test]
fn a_small_receive_buffer_works() {
    let mut peer = Script::established_with(Config { receive_buffer: 10, ..plain() });
    peer.appetite = 0;
    peer.inject(data(b"0123456789ab").seq(IRS + 1).ack(ISS + 1));
    peer.next_timer();
    peer.expect(ack().seq(ISS + 1).ack(IRS + 11).win(0));
    peer.resume(5);
    peer.expect(ack().seq(ISS + 1).ack(IRS + 11).win(5));
}

fn quick() -> Config {
    Config { quick_acks: 3, ..plain() }
}

/// One segment of `data` at an offset of the peer's stream; true when it is acknowledged without delay.
fn is_acknowledged(peer: &mut Script, offset: u32) -> bool {
    peer.inject(data(b"quick").seq(IRS + 1 + offset).ack(ISS + 1));
    peer.sent().is_some()
}

//= type=test
//= rfc9293#3.8.6.3
//# A host that is receiving a stream of TCP data segments can increase efficiency in both the network and the hosts by sending fewer than
//# one ACK (acknowledgment) segment per data segment received; this is known as a "delayed ACK".
#[test]
fn the_first_segments_are_acknowledged_at_once() {
    let mut peer = Script::established_with(quick());
    for n in 0..3 {
        assert!(is_acknowledged(&mut peer, 5 * n), "segment {n}");
        assert!(peer.tcb.take_noted().contains(Happening::QuickAck));
    }
    assert!(!is_acknowledged(&mut peer, 15));
    assert!(!peer.tcb.take_noted().contains(Happening::QuickAck));
    assert_eq!(peer.next_timer(), Duration::from_millis(40));
}

#[test]
fn after_a_pause_segments_are_acknowledged_at_once_again() {
    let mut peer = Script::established_with(quick());
    for n in 0..4 {
        is_acknowledged(&mut peer, 5 * n);
    }
    peer.advance(Duration::from_millis(200));
    peer.sent();
    assert!(!is_acknowledged(&mut peer, 20), "no longer than the shortest retransmission timeout");
    peer.advance(Duration::from_millis(201));
    peer.sent();
    for n in 0..3 {
        assert!(is_acknowledged(&mut peer, 25 + 5 * n));
    }
    assert!(!is_acknowledged(&mut peer, 40));
}

//= type=test
//= rfc5681#4.2
//# To provide feedback to senders recovering from losses, the receiver SHOULD send an immediate ACK when it receives a data segment that
//# fills in all or part of a gap in the sequence space.
#[test]
fn after_reordering_segments_are_acknowledged_at_once_again() {
    let mut peer = Script::established_with(quick());
    for n in 0..4 {
        is_acknowledged(&mut peer, 5 * n);
    }
    assert!(is_acknowledged(&mut peer, 25));
    assert!(is_acknowledged(&mut peer, 20), "it fills the hole");
    // Filling the hole was the first of the three.
    assert!(is_acknowledged(&mut peer, 30) && is_acknowledged(&mut peer, 35));
    assert!(!is_acknowledged(&mut peer, 40));
}

/// An answer that is given at once carries the acknowledgment, quick or not: no segment more.
#[test]
fn a_quick_acknowledgment_rides_on_the_answer_too() {
    let mut peer = Script::established_with(quick());
    peer.inject(data(b"ping").seq(IRS + 1).ack(ISS + 1));
    peer.send(b"pong");
    peer.expect(data(b"pong").seq(ISS + 1).ack(IRS + 5));
    peer.expect_nothing();
}

/// The peer's path carries less than ours: what is full for it counts.
#[test]
fn every_second_segment_is_acknowledged_when_the_peers_are_smaller_than_ours() {
    let mut peer = Script::established();
    for n in 0..3 {
        peer.inject(more(&[1; 700]).seq(IRS + 1 + 1400 * n).ack(ISS + 1));
        peer.expect_nothing();
        peer.inject(more(&[1; 700]).seq(IRS + 701 + 1400 * n).ack(ISS + 1));
        peer.expect(ack().seq(ISS + 1).ack(IRS + 1401 + 1400 * n));
    }
}

#[test]
fn a_window_of_zero_is_counted() {
    let mut peer = full_window();
    assert!(peer.tcb.take_noted().contains(Happening::ZeroWindowOffered));
    peer.resume(usize::MAX);
    peer.expect(ack().seq(ISS + 1).win(20_000));
    assert!(!peer.tcb.take_noted().contains(Happening::ZeroWindowOffered));
}
