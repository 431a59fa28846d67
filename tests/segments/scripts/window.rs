//! Both windows: what is sent, what is accepted, when it is acknowledged.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;
use ringway::wire::tcp::Flags;

use crate::script::Call::{Abort, Accept, Failed, Receive, Send};
use crate::script::{Failure, Script, scripts};
use crate::segment::{ack, data, rst, rst_ack, syn, syn_ack};

scripts![
    text_goes_both_ways,
    text_out_of_order_waits,
    text_that_overlaps_is_taken_once,
    holes_are_filled_in_any_order,
    text_in_more_pieces_than_are_kept,
    text_without_a_buffer_is_not_acknowledged,
    text_beyond_the_right_edge,
    every_second_full_segment_is_acknowledged_at_once,
    the_first_segments_are_acknowledged_at_once,
    an_acknowledgment_rides_on_text,
    the_window_grows_with_what_is_read,
    bytes_far_beyond_a_hole_are_given_up_when_memory_is_short,
    a_pushed_segment,
    a_small_window_is_filled,
    a_closed_window_is_probed,
    a_probe_that_is_taken_is_not_repeated,
    a_closed_window_does_not_end_a_live_connection,
    a_closed_window_does_not_keep_a_connection_from_being_aborted,
    a_peer_that_does_not_answer_probes_is_given_up,
    a_window_that_shrinks,
    a_probe_of_our_closed_window_is_answered,
    a_small_opening_of_our_window_is_not_told,
    nagle_holds_back_a_second_small_segment,
    nagle_lets_full_segments_go,
    without_nagle_small_segments_leave_at_once,
];

/// Text is sent, acknowledged and delivered.
fn text_goes_both_ways(s: &mut Script) {
    s.established();
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1));
    s.inject(ack().seq(1).ack(101));
    s.inject(data(50).seq(1).ack(101));
    s.expect(ack().seq(101).ack(51).delayed());
    s.call(Receive(50));
    s.silence(300);
}

/// Text beyond a hole is kept, and said so at once.
//= type=test
//= rfc5681#4.2
//# Out-of-order data segments SHOULD be acknowledged immediately, in order to accelerate loss recovery.
fn text_out_of_order_waits(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(11).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(21));
    s.call(Receive(20));
}

/// Segments that were cut anew when they were sent again.
fn text_that_overlaps_is_taken_once(s: &mut Script) {
    s.established();
    s.inject(data(20).seq(1).ack(1));
    s.expect(ack().seq(1).ack(21).delayed());
    s.inject(data(20).seq(11).ack(1));
    s.expect(ack().seq(1).ack(31).delayed());
    s.call(Receive(30));
}

/// Two holes, the second filled first.
//= type=test
//= rfc9293#3.10.7.4
//# Segments with higher beginning sequence numbers SHOULD be held for later processing (SHLD-31).
fn holes_are_filled_in_any_order(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(11).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.inject(data(10).seq(31).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.inject(data(10).seq(21).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.inject(data(10).seq(1).ack(1));
    s.expect(ack().seq(1).ack(41));
    s.call(Receive(40));
}

/// A peer that sends every second byte does not make us keep more than a few pieces.
fn text_in_more_pieces_than_are_kept(s: &mut Script) {
    s.not_on_kernel("it keeps as many pieces as its buffer holds");
    s.established();
    for piece in 0..33 {
        s.inject(data(1).seq(3 + 2 * piece).ack(1));
        s.expect(ack().seq(1).ack(1));
    }
    s.inject(data(2).seq(1).ack(1));
    s.expect(ack().seq(1).ack(4));
    s.shows(Drop::TcpReassemblyFull);
}

/// What could not be kept is not acknowledged.
//= type=test
//= rfc9293#3.10.7.4
//# When the TCP endpoint takes responsibility for delivering the data to the user, it must also acknowledge the receipt of the
//# data.
fn text_without_a_buffer_is_not_acknowledged(s: &mut Script) {
    s.not_on_kernel("its memory is shared by the whole machine");
    s.settings.memory = 0;
    s.established();
    s.inject(data(10).seq(1).ack(1));
    // What is said instead is where the stream stands.
    s.expect(ack().seq(1).ack(1));
    s.silence(1000);
    s.shows(Drop::TcpNoBuffer);
}

/// Of a segment across the right edge what lies inside is taken.
//= type=test
//= rfc9293#3.10.7.4
//# One could tailor actual segments to fit this assumption by trimming off any portions that lie outside the window (including SYN
//# and FIN) and only processing further if the segment then begins at RCV.NXT.
fn text_beyond_the_right_edge(s: &mut Script) {
    s.not_on_kernel("it counts the overhead of its own buffers, so the edge is another one");
    s.settings.receive_buffer = 1000;
    s.settings.receive_buffer_max = 1000;
    s.established();
    s.inject(data(1400).seq(1).ack(1));
    s.expect(ack().seq(1).ack(1001).win(0).delayed());
    s.call(Receive(1000));
    s.expect(ack().seq(1).ack(1001).win(1000));
}

/// The second of two full segments is acknowledged without delay.
//= type=test
//= rfc9293#3.8.6.3
//# An ACK SHOULD be generated for at least every second full-sized segment or 2*RMSS bytes of new data
fn every_second_full_segment_is_acknowledged_at_once(s: &mut Script) {
    s.settings.quick_acks = 0;
    s.established();
    s.inject(data(1460).seq(1).ack(1));
    s.differs("Linux acknowledges each of the first segments at once", |_| {}, |s| s.expect(ack().seq(1).ack(1461)));
    s.inject(data(1460).seq(1461).ack(1));
    s.expect(ack().seq(1).ack(2921));
    s.call(Receive(2920));
}

/// A peer that begins with a small window is not kept waiting; later the acknowledgment may wait.
//= type=test
//= rfc9293#3.8.6.3
//# in particular, the delay MUST be less than 0.5 seconds (MUST-40).
fn the_first_segments_are_acknowledged_at_once(s: &mut Script) {
    s.settings.quick_acks = 3;
    s.established();
    for part in 0..3 {
        s.inject(data(100).seq(1 + 100 * part).ack(1));
        s.expect(ack().seq(1).ack(101 + 100 * part));
    }
    s.differs(
        "Linux counts its quick acknowledgments by the window, Ringway was told how many",
        |s| {
            s.inject(data(100).seq(301).ack(1));
            s.expect(ack().seq(1).ack(401).after(40));
        },
        |s| {
            s.inject(data(100).seq(301).ack(1));
            s.expect(ack().seq(1).ack(401));
        },
    );
    s.happens(Happening::QuickAck);
}

/// What the application sends within the delay takes the acknowledgment with it.
//= type=test
//= rfc9293#3.8.6.3
//# A TCP endpoint SHOULD implement a delayed ACK (SHLD-18)
fn an_acknowledgment_rides_on_text(s: &mut Script) {
    s.settings.quick_acks = 0;
    s.established();
    s.inject(data(100).seq(1).ack(1));
    s.differs(
        "Linux acknowledges the first segments at once",
        |s| {
            s.silence(20);
            s.call(Send(50));
        },
        |s| {
            s.expect(ack().seq(1).ack(101));
            s.call(Send(50));
        },
    );
    s.expect(data(50).seq(1).ack(101));
    s.inject(ack().seq(101).ack(51));
    s.silence(300);
}

/// A peer that fills the window within a round trip, and an application that reads it all.
fn the_window_grows_with_what_is_read(s: &mut Script) {
    s.not_on_kernel("its window grows by the memory that segments take");
    s.settings.receive_buffer = 8000;
    s.settings.receive_buffer_max = 60_000;
    s.settings.quick_acks = 0;
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1).win(8000));
    s.silence(20);
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    for part in 0..4 {
        s.inject(data(1000).seq(1 + 2000 * part).ack(1));
        s.inject(data(1000).seq(1001 + 2000 * part).ack(1));
        s.expect(ack().seq(1).ack(2001 + 2000 * part).win(6000));
        s.call(Receive(2000));
    }
    s.silence(20);
    s.inject(data(1000).seq(8001).ack(1));
    s.expect(ack().seq(1).ack(9001).win_within(20_000..=60_000));
    s.happens(Happening::WindowGrown);
}

/// A byte at the far edge ties up a block as large as the window.
//= type=test
//= rfc2018#8
//# the data receiver is permitted to discard data in its queue
fn bytes_far_beyond_a_hole_are_given_up_when_memory_is_short(s: &mut Script) {
    s.not_on_kernel("its memory is shared by the whole machine");
    s.settings.memory = 128 * 1024;
    s.established();
    s.inject(data(1).seq(60_001).ack(1));
    s.expect(ack().seq(1).ack(1));
    s.silence(10);
    s.inject(data(100).seq(1).ack(1));
    s.expect(ack().seq(1).ack(101).delayed());
    s.call(Receive(100));
    s.happens(Happening::ReassemblyPruned);
}

/// The last segment of what was queued is pushed.
fn a_pushed_segment(s: &mut Script) {
    s.established();
    s.inject(data(10).seq(1).ack(1).with(Flags::PSH));
    s.expect(ack().seq(1).ack(11).delayed());
    s.call(Receive(10));
}

/// No more than the peer's window, and all of it.
//= type=test
//= rfc9293#3.8.6.2.1
//# or if at least a fraction Fs of the maximum window can be sent
fn a_small_window_is_filled(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).win(500));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(500));
    s.call(Accept);
    s.call(Send(800));
    s.expect(data(500).seq(1).ack(1));
    s.silence(100);
    s.inject(ack().seq(1).ack(501).win(500));
    s.expect(data(300).seq(501).ack(1));
}

/// A window of zero is probed, ever more rarely, until it opens.
//= type=test
//= rfc9293#3.8.6.1
//# The transmitting host SHOULD send the first zero-window probe when a zero window has existed for the retransmission timeout
//# period (SHLD-29)
fn a_closed_window_is_probed(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(0));
    s.call(Accept);
    s.call(Send(100));
    s.differs(
        "Ringway probes with the next byte and repeats it when the window opens, Linux with a number that is acknowledged already",
        |s| {
            s.expect(data(1).seq(1).ack(1).after(200));
            s.inject(ack().seq(1).ack(1).win(0));
            s.expect(data(1).seq(1).ack(1).after(400));
            s.inject(ack().seq(1).ack(1));
            s.expect(data(1).seq(1).ack(1));
            s.expect(data(99).seq(2).ack(1));
        },
        |s| {
            s.expect(ack().seq(0).ack(1).after(200));
            s.inject(ack().seq(1).ack(1).win(0));
            s.expect(ack().seq(0).ack(1).after(400));
            s.inject(ack().seq(1).ack(1));
            s.expect(data(100).seq(1).ack(1));
        },
    );
    s.inject(ack().seq(1).ack(101));
    s.silence(300);
    s.happens(Happening::ZeroWindowProbe);
}

/// A probe that is taken counts like any byte: what lies behind it follows from there, in whole segments, and nothing is sent twice.
fn a_probe_that_is_taken_is_not_repeated(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(0));
    s.call(Accept);
    s.call(Send(2500));
    s.differs(
        "Ringway probes with the next byte, which a peer may take, Linux with a number that is acknowledged already",
        |s| {
            s.expect(data(1).seq(1).ack(1).after(200));
            // Taken, and still no room for more.
            s.inject(ack().seq(1).ack(2).win(0));
            s.expect(data(1).seq(2).ack(1).after(200));
            s.inject(ack().seq(1).ack(3));
            s.expect(data(1000).seq(3).ack(1));
            s.expect(data(1000).seq(1003).ack(1));
            s.expect(data(498).seq(2003).ack(1));
        },
        |s| {
            s.expect(ack().seq(0).ack(1).after(200));
            s.inject(ack().seq(1).ack(1));
            s.expect(data(1000).seq(1).ack(1));
            s.expect(data(1000).seq(1001).ack(1));
            s.expect(data(500).seq(2001).ack(1));
        },
    );
    s.inject(ack().seq(1).ack(2501));
    s.silence(300);
    s.happens(Happening::ZeroWindowProbe);
}

/// As long as the peer answers its window may stay closed.
//= type=test
//= rfc9293#3.8.6.1
//# A TCP implementation MAY keep its offered receive window closed indefinitely (MAY-8).
//= type=test
//= rfc6429#4
//# As stated in [RFC1122], a TCP implementation MUST NOT close a connection merely because it seems to be stuck in the ZWP or persist
//# condition.
fn a_closed_window_does_not_end_a_live_connection(s: &mut Script) {
    s.not_on_kernel("thirty probes take an hour");
    s.settings.retries = 3;
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(0));
    s.call(Accept);
    s.call(Send(100));
    for _ in 0..30 {
        s.expect(data(1).seq(1).ack(1).within(200, 120_000));
        s.inject(ack().seq(1).ack(1).win(0));
    }
    s.state(State::Established);
    s.inject(ack().seq(1).ack(1));
    s.expect(data(1).seq(1).ack(1));
    s.expect(data(99).seq(2).ack(1));
    s.happens(Happening::ZeroWindowProbe);
}

/// A peer that is gone does not open its window any more.
fn a_peer_that_does_not_answer_probes_is_given_up(s: &mut Script) {
    s.settings(|tcp| tcp.retries = 3, &[("tcp_retries2", "2")]);
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(0));
    s.call(Accept);
    s.call(Send(100));
    s.differs(
        "Ringway probes with the next byte, Linux with a number that is acknowledged already, and one probe fewer",
        |s| {
            s.expect(data(1).seq(1).ack(1).after(200));
            s.expect(data(1).seq(1).ack(1).after(400));
            s.expect(data(1).seq(1).ack(1).after(800));
            s.silence(1700);
        },
        |s| {
            s.expect(ack().seq(0).ack(1).after(200));
            s.expect(ack().seq(0).ack(1).after(400));
            s.silence(900);
        },
    );
    s.call(Failed(Failure::TimedOut));
    s.happens(Happening::ZeroWindowProbe);
}

/// Nor does a closed window keep a service from giving the connection up.
//= type=test
//= rfc6429#4
//# a TCP implementation needs to allow connections in the ZWP or persist condition to be closed or aborted by their applications
fn a_closed_window_does_not_keep_a_connection_from_being_aborted(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(0));
    s.call(Accept);
    s.call(Send(100));
    s.silence(100);
    s.call(Abort);
    s.differs("Linux acknowledges in the reset of an abort", |s| s.expect(rst().seq(1)), |s| s.expect(rst_ack().seq(1).ack(1)));
    s.silence(500);
}

/// The right edge moves left: what lies behind it waits, what lies before it is sent again.
//= type=test
//= rfc9293#3.8.6
//# the sender SHOULD NOT send new data (SHLD-15), but SHOULD retransmit normally the old unacknowledged data between SND.UNA and
//# SND.UNA+SND.WND (SHLD-16).
fn a_window_that_shrinks(s: &mut Script) {
    s.established();
    s.call(Send(3000));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.expect(data(1000).seq(2001).ack(1));
    s.inject(ack().seq(1).ack(1001).win(500));
    s.expect(data(500).seq(1001).ack(1).after(200));
    s.inject(ack().seq(1).ack(1501).win(60_000));
    s.expect(data(1000).seq(1501).ack(1));
    s.expect(data(500).seq(2501).ack(1));
    s.inject(ack().seq(1).ack(3001));
    s.silence(300);
}

/// A byte beyond our closed window is not taken, but what it acknowledges is, and it is answered.
//= type=test
//= rfc9293#3.8.6.1
//# When the receiving TCP peer has a zero window and a segment arrives, it must still send an acknowledgment showing its next
//# expected sequence number and current window (zero).
fn a_probe_of_our_closed_window_is_answered(s: &mut Script) {
    s.not_on_kernel("it counts the overhead of its own buffers, so the edge is another one");
    s.settings.receive_buffer = 1000;
    s.settings.receive_buffer_max = 1000;
    s.established();
    s.inject(data(1000).seq(1).ack(1));
    s.expect(ack().seq(1).ack(1001).win(0).delayed());
    s.inject(data(1).seq(1001).ack(1));
    s.expect(ack().seq(1).ack(1001).win(0));
    s.call(Receive(1000));
    s.expect(ack().seq(1).ack(1001).win(1000));
    s.inject(data(1).seq(1001).ack(1));
    s.expect(ack().seq(1).ack(1002).delayed());
    s.shows(Drop::TcpOutOfWindow);
    s.happens(Happening::ZeroWindowOffered);
}

/// A byte of room would invite a segment of one byte.
//= type=test
//= rfc9293#3.8.6.2.2
//# The suggested SWS avoidance algorithm for the receiver is to keep RCV.NXT+RCV.WND fixed until the reduction satisfies
fn a_small_opening_of_our_window_is_not_told(s: &mut Script) {
    s.not_on_kernel("it counts the overhead of its own buffers, so the edge is another one");
    s.settings.receive_buffer = 10_000;
    s.settings.receive_buffer_max = 10_000;
    s.settings.quick_acks = 0;
    s.established_with(syn().mss(1000));
    for part in 0..10 {
        s.inject(data(1000).seq(1 + 1000 * part).ack(1));
        if part % 2 == 1 {
            s.expect(ack().seq(1).ack(1001 + 1000 * part).win(9000 - 1000 * part as u16));
        }
    }
    s.call(Receive(100));
    s.silence(500);
    s.call(Receive(5000));
    s.expect(ack().seq(1).ack(10_001).win(5100));
}

/// While something small is unacknowledged, more small text waits.
//= type=test
//= rfc9293#3.7.4
//# If there is unacknowledged data (i.e., SND.NXT > SND.UNA), then the sending TCP endpoint buffers all user data (regardless of
//# the PSH bit) until the outstanding data has been acknowledged or until the TCP endpoint can send a full-sized segment
fn nagle_holds_back_a_second_small_segment(s: &mut Script) {
    s.nagle();
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(Send(10));
    s.call(Send(10));
    s.silence(100);
    s.inject(ack().seq(1).ack(11));
    s.expect(data(20).seq(11).ack(1));
}

/// A full segment does not wait, its rest does.
fn nagle_lets_full_segments_go(s: &mut Script) {
    s.nagle();
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(Send(1500));
    s.expect(data(1000).seq(11).ack(1));
    s.silence(100);
    s.inject(ack().seq(1).ack(11));
    s.differs(
        "Linux holds small text back only while small text is unacknowledged (Minshall's variant)",
        |s| {
            s.silence(100);
            s.inject(ack().seq(1).ack(1011));
            s.expect(data(500).seq(1011).ack(1));
        },
        |s| s.expect(data(500).seq(1011).ack(1)),
    );
}

/// Whoever does not want to wait need not.
//= type=test
//= rfc9293#3.7.4
//# However, there MUST be a way for an application to disable the Nagle algorithm on an individual connection (MUST-17).
fn without_nagle_small_segments_leave_at_once(s: &mut Script) {
    s.connected();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.call(Send(10));
    s.expect(data(10).seq(11).ack(1));
}
