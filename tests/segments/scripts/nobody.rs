//! Segments for which there is no connection: at closed ports and at listeners; and segments that are none.

use ringway::device::Drop;

use crate::script::{Script, scripts};
use crate::segment::{Fault, ack, bare, rst, rst_ack, syn, syn_ack};

scripts![
    a_closed_port_resets_a_syn,
    a_closed_port_resets_an_ack,
    a_closed_port_resets_text_without_ack,
    a_closed_port_never_answers_a_reset,
    a_listener_resets_an_ack,
    a_listener_ignores_a_reset,
    a_listener_ignores_text_alone,
    a_syn_to_everybody,
    a_segment_with_a_wrong_checksum,
    a_segment_whose_checksum_was_left_to_an_offload,
    a_segment_from_port_zero,
    a_segment_whose_header_is_too_short,
    a_segment_cut_off,
];

/// Nobody listens.
//= type=test
//= rfc9293#3.10.7.1
//# If the ACK bit is off, sequence number zero is used,
fn a_closed_port_resets_a_syn(s: &mut Script) {
    s.inject(syn().mss(1000));
    s.expect(rst_ack().seq(0).ack(1));
    s.shows(Drop::TcpPortClosed);
}

/// The reset takes its number from what the segment acknowledges, so that the peer believes it.
//= type=test
//= rfc9293#3.10.7.1
//# If the ACK bit is on,
fn a_closed_port_resets_an_ack(s: &mut Script) {
    s.inject(ack().seq(5).ack(777));
    s.expect(rst().seq(777));
    s.shows(Drop::TcpPortClosed);
}

/// The reset acknowledges all of the segment.
//= type=test
//= rfc9293#3.10.7.1
//# <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
fn a_closed_port_resets_text_without_ack(s: &mut Script) {
    s.inject(bare().seq(5).len(10));
    s.expect(rst_ack().seq(0).ack(15));
    s.shows(Drop::TcpPortClosed);
}

/// Or two closed ports would reset each other for ever.
//= type=test
//= rfc9293#3.10.7.1
//# An incoming segment containing a RST is discarded.
fn a_closed_port_never_answers_a_reset(s: &mut Script) {
    s.inject(rst().seq(5));
    s.inject(rst_ack().seq(5).ack(777));
    s.silence(50);
    s.shows(Drop::TcpPortClosed);
}

/// There is nothing that a listener could have sent.
//= type=test
//= rfc9293#3.10.7.2
//# An acceptable reset segment should be formed for any arriving ACK-bearing segment.
fn a_listener_resets_an_ack(s: &mut Script) {
    s.listen();
    s.inject(ack().seq(5).ack(777));
    s.expect(rst().seq(777));
    s.inject(syn_ack().seq(5).ack(777));
    s.expect(rst().seq(777));
    s.shows(Drop::TcpListenIgnored);
}

/// There is nothing to reset.
//= type=test
//= rfc9293#3.10.7.2
//# An incoming RST should be ignored.  Return.
fn a_listener_ignores_a_reset(s: &mut Script) {
    s.listen();
    s.inject(rst().seq(5));
    s.silence(50);
    s.shows(Drop::TcpListenIgnored);
}

/// Neither SYN nor ACK nor RST.
//= type=test
//= rfc9293#3.10.7.2
//# This should not be reached.  Drop the segment and return.
fn a_listener_ignores_text_alone(s: &mut Script) {
    s.listen();
    s.inject(bare().seq(5).len(10));
    s.silence(50);
    s.shows(Drop::TcpListenIgnored);
}

/// A connection has two ends.
//= type=test
//= rfc9293#3.9.2.3
//# A TCP implementation MUST silently discard an incoming SYN segment that is addressed to a broadcast or multicast address
//# (MUST-57).
fn a_syn_to_everybody(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).fault(Fault::Broadcast));
    s.silence(50);
    s.shows(Drop::TcpNotUnicast);
}

/// What arrives damaged has not arrived.
//= type=test
//= rfc9293#3.1
//# The sender MUST generate it (MUST-2) and the receiver MUST check it (MUST-3).
fn a_segment_with_a_wrong_checksum(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).fault(Fault::Checksum));
    s.silence(50);
    s.shows(Drop::TcpChecksum);
}

/// The same, but the cause is one that can be named.
fn a_segment_whose_checksum_was_left_to_an_offload(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).fault(Fault::ChecksumUnfilled));
    s.silence(50);
    s.shows(Drop::ChecksumUnfilled);
}

/// No answer could reach it.
fn a_segment_from_port_zero(s: &mut Script) {
    s.not_on_kernel("it answers, to port 0");
    s.listen();
    s.inject(syn().mss(1000).fault(Fault::PortZero));
    s.silence(50);
    s.shows(Drop::TcpPortZero);
}

/// A data offset of four words would end the header inside itself.
fn a_segment_whose_header_is_too_short(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).fault(Fault::Offset(4)));
    s.silence(50);
    s.shows(Drop::TcpOffsetMalformed);
}

/// A data offset beyond the end of the packet.
fn a_segment_cut_off(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).fault(Fault::Offset(15)));
    s.inject(syn().mss(1000).fault(Fault::Cut(18)));
    s.silence(50);
    s.shows(Drop::TcpTruncated);
}
