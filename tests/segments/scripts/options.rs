//! MSS, window scale, timestamps and PAWS; options that are malformed or unknown.

use ringway::device::Drop;
use ringway::tcp::State;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Accept, Connect, Failed, Receive, Send};
use crate::script::{Failure, Script, scripts};
use crate::segment::{Kind, ack, data, rst, syn, syn_ack};

scripts![
    without_an_mss_the_default_holds,
    the_peers_mss_holds,
    an_mss_of_almost_nothing_is_not_believed,
    a_scaled_window,
    a_peer_that_does_not_scale,
    a_scale_beyond_fourteen,
    a_window_in_a_syn_is_not_scaled,
    timestamps_are_echoed,
    a_peer_without_timestamps,
    an_active_open_offers_its_options,
    timestamps_leave_less_room_for_text,
    an_old_timestamp_is_refused,
    an_old_timestamp_does_not_save_from_a_reset,
    an_old_timestamp_after_a_month_of_silence,
    a_missing_timestamp,
    an_option_of_length_zero,
    an_option_that_ends_behind_the_header,
    an_unknown_option_is_skipped,
    a_mark_of_congestion_without_ecn,
];

/// 536 bytes.
//= type=test
//= rfc9293#3.7.1
//# If an MSS Option is not received at connection setup, TCP implementations MUST assume a default send MSS of 536 (576 - 40) for
//# IPv4
fn without_an_mss_the_default_holds(s: &mut Script) {
    s.established_with(syn());
    s.call(Send(1000));
    s.expect(data(536).seq(1).ack(1));
    s.expect(data(464).seq(537).ack(1));
}

/// Segments as large as the peer takes them.
//= type=test
//= rfc9293#3.7.1
//# The maximum size of a segment that a TCP endpoint really sends, the "effective send MSS", MUST be the smaller (MUST-16)
fn the_peers_mss_holds(s: &mut Script) {
    s.established_with(syn().mss(600));
    s.call(Send(1000));
    s.expect(data(600).seq(1).ack(1));
    s.expect(data(400).seq(601).ack(1));
}

/// A tiny MSS would turn a stream into a flood.
fn an_mss_of_almost_nothing_is_not_believed(s: &mut Script) {
    s.established_with(syn().mss(1));
    s.call(Send(100));
    s.differs(
        "Ringway sends at least 64 bytes, Linux at least 48 (tcp_min_snd_mss)",
        |s| {
            s.expect(data(64).seq(1).ack(1));
            s.expect(data(36).seq(65).ack(1));
        },
        |s| {
            s.expect(data(48).seq(1).ack(1));
            s.expect(data(48).seq(49).ack(1));
            s.expect(data(4).seq(97).ack(1));
        },
    );
}

/// The window of a segment counts in units of the peer's scale.
//= type=test
//= rfc7323#2.3
//# The window field (SEG.WND) in the header of every incoming segment, with the exception of <SYN> segments, MUST be left-shifted
//# by Snd.Wind.Shift bits before updating SND.WND
fn a_scaled_window(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).scale(7));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(16));
    s.call(Accept);
    // The window that the SYN's field could not hold is told with the next segment, not in one of its own.
    s.silence(50);
    // 16 << 7 is 2048.
    s.call(Send(5000));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.silence(100);
    s.inject(ack().seq(1).ack(2001).win(24));
    s.expect(data(1000).seq(2001).ack(1));
    s.expect(data(1000).seq(3001).ack(1));
    s.expect(data(1000).seq(4001).ack(1));
}

/// Scaling takes both ends.
//= type=test
//= rfc7323#2.3
//# otherwise, it MUST set both Snd.Wind.Shift and Rcv.Wind.Shift to zero.
fn a_peer_that_does_not_scale(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1).without(Kind::Scale).without(Kind::Timestamps).without(Kind::SackPermitted));
    s.inject(ack().seq(1).ack(1).win(2500));
    s.call(Accept);
    s.call(Send(5000));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.silence(100);
}

/// It is taken for fourteen.
//= type=test
//= rfc7323#2.3
//# If a Window Scale option is received with a shift.cnt value larger than 14, the TCP SHOULD log the error but MUST use 14 instead
//# of the specified value.
fn a_scale_beyond_fourteen(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).scale(255));
    s.expect(syn_ack().seq(0).ack(1));
    s.inject(ack().seq(1).ack(1).win(1));
    s.call(Accept);
    s.call(Send(1000));
    s.expect(data(1000).seq(1).ack(1));
    s.happens(Happening::WindowScaleClamped);
}

/// The scale holds from the second segment on.
//= type=test
//= rfc7323#2.2
//# The window field in a segment where the SYN bit is set (i.e., a <SYN> or <SYN,ACK>) MUST NOT be scaled.
fn a_window_in_a_syn_is_not_scaled(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.inject(syn_ack().seq(0).ack(1).mss(1000).scale(7).win(2500));
    s.expect(ack().seq(1).ack(1));
    s.call(Send(5000));
    s.expect(data(1000).seq(1).ack(1));
    s.expect(data(1000).seq(1001).ack(1));
    s.silence(100);
}

/// TSecr is the peer's latest TSval.
//= type=test
//= rfc7323#3.2
//# Once TSopt has been successfully negotiated, that is both <SYN> and <SYN,ACK> contain TSopt, the TSopt MUST be sent in every
//# non-<RST> segment for the duration of the connection
fn timestamps_are_echoed(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).ts(1000));
    s.expect(syn_ack().seq(0).ack(1).echo(1000));
    s.inject(ack().seq(1).ack(1).ts(1005));
    s.call(Accept);
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1).echo(1005));
    s.inject(ack().seq(1).ack(11).ts(1009));
    s.inject(data(10).seq(1).ack(11).ts(1010));
    s.expect(ack().seq(11).ack(11).echo(1010).delayed());
    s.call(Receive(10));
}

/// Timestamps take both ends.
//= type=test
//= rfc7323#3.2
//# and MAY send a TSopt in <SYN,ACK> only if it received a TSopt in the initial <SYN> segment for the connection.
fn a_peer_without_timestamps(s: &mut Script) {
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1).without(Kind::Timestamps).without(Kind::Mss));
    s.inject(data(10).seq(11).ack(11));
    s.expect(ack().seq(11).ack(1).without(Kind::Timestamps).without(Kind::Sack));
}

/// Everything we know is offered, and what the peer takes up is used.
fn an_active_open_offers_its_options(s: &mut Script) {
    s.call(Connect);
    s.expect(syn().seq(0).mss(1460).echo(0));
    s.inject(syn_ack().seq(0).ack(1).mss(1000).scale(7).sack_permitted().ts(1000));
    s.expect(ack().seq(1).ack(1).echo(1000));
}

/// Options count.
//= type=test
//= rfc9293#3.7.1
//# When TCP is used in a situation where either the IP or TCP headers are not fixed, the sender must reduce the amount of TCP data
//# in any given packet by the number of octets used by the IP and TCP options.
fn timestamps_leave_less_room_for_text(s: &mut Script) {
    s.established_with(syn().mss(1000).ts(1000));
    s.call(Send(1500));
    s.expect(data(988).seq(1).ack(1).echo(1001));
    s.expect(data(512).seq(989).ack(1).echo(1001));
}

/// PAWS: a segment of the past is not taken, although its number fits.
//= type=test
//= rfc7323#5.3
//# If there is a Timestamps option in the arriving segment, SEG.TSval < TS.Recent, TS.Recent is valid (see later discussion), and
//# if the RST bit is not set, then treat the arriving segment as not acceptable
fn an_old_timestamp_is_refused(s: &mut Script) {
    s.established_with(syn().mss(1000).ts(1000));
    s.inject(data(10).seq(1).ack(1).ts(900));
    s.expect(ack().seq(1).ack(1).echo(1001));
    s.inject(data(10).seq(1).ack(1).ts(1002));
    s.expect(ack().seq(1).ack(11).echo(1002).delayed());
    s.call(Receive(10));
    s.shows(Drop::TcpPaws);
    s.happens(Happening::PawsRefused);
}

/// A reset needs no timestamp, and a wrong one does not matter.
//= type=test
//= rfc7323#5.2
//# When an <RST> segment is received, it MUST NOT be subjected to the PAWS check by verifying an acceptable value in SEG.TSval
fn an_old_timestamp_does_not_save_from_a_reset(s: &mut Script) {
    s.established_with(syn().mss(1000).ts(1000));
    s.inject(rst().seq(1).ts(900));
    s.call(Failed(Failure::Reset));
    s.state(State::Closed);
}

/// The peer's clock has wrapped meanwhile, so TS.Recent says nothing any more.
//= type=test
//= rfc7323#5.5
//# If TS.Recent is found to be invalid, then the segment is accepted, regardless of the failure of the timestamp check
fn an_old_timestamp_after_a_month_of_silence(s: &mut Script) {
    s.not_on_kernel("nobody waits that long");
    s.established_with(syn().mss(1000).ts(1000));
    s.silence(25 * 24 * 3600 * 1000);
    s.inject(data(10).seq(1).ack(1).ts(900));
    s.expect(ack().seq(1).ack(11).echo(900).delayed());
    s.call(Receive(10));
}

/// A segment without the option that was agreed on.
//= type=test
//= rfc7323#3.2
//# If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop the segment.
fn a_missing_timestamp(s: &mut Script) {
    s.established_with(syn().mss(1000).ts(1000));
    s.inject(data(10).seq(1).ack(1));
    s.differs(
        "Linux takes segments without timestamps",
        |s| {
            s.silence(600);
            s.inject(data(10).seq(1).ack(1).ts(1002));
            s.expect(ack().seq(1).ack(11).echo(1002).delayed());
        },
        |s| s.expect(ack().seq(1).ack(11).delayed()),
    );
    s.call(Receive(10));
    s.shows(Drop::TcpTimestampMissing);
}

/// A length of zero would lead nowhere; what stands before it counts.
//= type=test
//= rfc9293#3.1
//# TCP implementations MUST be prepared to handle an illegal option length (e.g., zero)
fn an_option_of_length_zero(s: &mut Script) {
    s.established_with(syn().mss(600).raw_options(&[254, 0, 2, 4]));
    s.call(Send(1000));
    s.expect(data(600).seq(1).ack(1));
    s.expect(data(400).seq(601).ack(1));
}

/// A length beyond the header's end.
fn an_option_that_ends_behind_the_header(s: &mut Script) {
    s.established_with(syn().mss(600).raw_options(&[8, 10, 1, 2]));
    s.call(Send(1000));
    s.expect(data(600).seq(1).ack(1).without(Kind::Timestamps));
    s.expect(data(400).seq(601).ack(1));
}

/// A kind nobody knows, and behind it one that all know.
//= type=test
//= rfc9293#3.1
//# A TCP implementation MUST (MUST-6) ignore without error any TCP Option it does not implement
fn an_unknown_option_is_skipped(s: &mut Script) {
    s.established_with(syn().raw_options(&[254, 6, 1, 2, 3, 4, 1, 1, 2, 4, 2, 88]));
    s.call(Send(1000));
    s.expect(data(600).seq(1).ack(1));
    s.expect(data(400).seq(601).ack(1));
}

/// CE says nothing to an end that never agreed on ECN, and what we send is not marked as capable of it.
//= type=test
//= rfc3168#6.1.1
//# A host MUST NOT set ECT on SYN or SYN-ACK packets.
fn a_mark_of_congestion_without_ecn(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1).ecn(0));
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
    s.inject(data(10).seq(1).ack(1).ecn(3));
    s.expect(ack().seq(1).ack(11).ecn(0).delayed());
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(11).ecn(0));
}
