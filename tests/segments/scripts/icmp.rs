//! ICMP errors about segments (RFC 1191, RFC 5927), and paths that are too narrow without an error (RFC 4821).

use ringway::tcp::State;
use ringway::tcp::path_search::Use;
use ringway::tcp::tally::Happening;

use crate::script::Call::{Connect, Failed, Send, Told};
use crate::script::{Failure, News, Script, scripts};
use crate::segment::{ack, data, syn};

scripts![
    a_smaller_path_makes_smaller_segments,
    an_error_about_what_is_not_in_flight_is_ignored,
    an_unreachable_port_ends_an_open,
    an_unreachable_port_does_not_end_a_connection,
    a_black_hole_is_found_by_timeouts,
    a_probe_that_arrives_makes_larger_segments,
    a_probe_that_is_lost_is_sent_again_in_smaller_segments,
];

const HOST_UNREACHABLE: u8 = 1;
const PORT_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;

/// The segment is cut anew and sent at once.
//= type=test
//= rfc1191#3
//# When a host receives a Datagram Too Big message, it MUST reduce its estimate of the PMTU for the relevant path, based on the
//# value of the Next-Hop MTU field in the message
fn a_smaller_path_makes_smaller_segments(s: &mut Script) {
    s.established();
    s.call(Send(1000));
    s.expect(data(1000).seq(1).ack(1));
    s.icmp(FRAGMENTATION_NEEDED, 640, 1);
    s.expect(data(600).seq(1).ack(1));
    s.expect(data(400).seq(601).ack(1));
    s.inject(ack().seq(1).ack(1001));
    s.silence(300);
    s.happens(Happening::PathMtuReduced);
}

/// It was made up by somebody who does not see the connection.
//= type=test
//= rfc5927#4.1
//# These implementations check that the TCP sequence number contained in the payload of the ICMP error message is within the
//# range SND.UNA =< SEG.SEQ < SND.NXT.
fn an_error_about_what_is_not_in_flight_is_ignored(s: &mut Script) {
    s.established();
    s.call(Send(1000));
    s.expect(data(1000).seq(1).ack(1));
    s.icmp(FRAGMENTATION_NEEDED, 640, 5000);
    s.silence(100);
    s.inject(ack().seq(1).ack(1001));
    s.call(Send(1000));
    s.expect(data(1000).seq(1001).ack(1));
}

/// Nobody is there.
//= type=test
//= rfc9293#3.9.2.2
//# TCP implementations MUST act on an ICMP error message passed up from the IP layer, directing it to the connection that
//# created the error (MUST-54).
fn an_unreachable_port_ends_an_open(s: &mut Script) {
    s.call(Connect);
    s.expect(syn());
    s.icmp(PORT_UNREACHABLE, 0, 0);
    s.differs("Linux tells of a refusal", |s| s.call(Failed(Failure::Unreachable)), |s| s.call(Failed(Failure::Refused)));
}

/// Somebody was there: whoever says otherwise may be lying.
//= type=test
//= rfc9293#3.9.2.2
//# Since these Unreachable messages indicate soft error conditions, a TCP implementation MUST NOT abort the connection
//# (MUST-56)
fn an_unreachable_port_does_not_end_a_connection(s: &mut Script) {
    s.established();
    s.call(Send(10));
    s.expect(data(10).seq(1).ack(1));
    s.icmp(PORT_UNREACHABLE, 0, 1);
    s.icmp(HOST_UNREACHABLE, 0, 1);
    s.differs(
        "Linux tells of it when the connection has timed out",
        |s| {
            s.call(Told(News::SoftError));
            s.call(Told(News::SoftError));
        },
        |_| {},
    );
    s.expect(data(10).seq(1).ack(1).after(200));
    s.inject(ack().seq(1).ack(11));
    s.state(State::Established);
}

/// No error comes, and what is large never arrives.
//= type=test
//= rfc4821#7.7
//# the RECOMMENDED first recovery action
//# is to treat this as a detected ICMP black hole as defined in
//# [RFC2923].
fn a_black_hole_is_found_by_timeouts(s: &mut Script) {
    s.not_on_kernel("Linux searches from a size of its own, and only when net.ipv4.tcp_mtu_probing is set");
    s.established_with(syn().mss(1460));
    s.call(Send(1460));
    s.expect(data(1460).seq(1).ack(1));
    s.expect(data(1460).seq(1).ack(1).after(200));
    s.expect(data(1460).seq(1).ack(1).after(400));
    s.expect(data(1024).seq(1).ack(1).after(800));
    s.inject(ack().seq(1).ack(1025));
    s.expect(data(436).seq(1025).ack(1));
    s.inject(ack().seq(1).ack(1461));
    s.happens(Happening::RetransmissionTimeout);
    s.happens(Happening::PathMtuBlackHole);
}

/// A connection that begins with small segments, and whose first is a probe of the largest.
fn searching(s: &mut Script) {
    s.not_on_kernel("Linux sends no probe before its window has grown to eleven segments");
    s.settings(|tcp| tcp.mtu_probing = Use::On, &[]);
    s.established_with(syn().mss(1460).sack_permitted());
    s.call(Send(1460 + 3 * 1024));
    s.expect(data(1460).seq(1).ack(1));
    s.expect(data(1024).seq(1461).ack(1));
    s.expect(data(1024).seq(2485).ack(1));
    s.expect(data(1024).seq(3509).ack(1));
}

/// From then on all may be as large.
//= type=test
//= rfc4821#7.6.1
//# Set search_low to the probe
//# size.
fn a_probe_that_arrives_makes_larger_segments(s: &mut Script) {
    searching(s);
    s.inject(ack().seq(1).ack(4533));
    s.call(Send(1460));
    s.expect(data(1460).seq(4533).ack(1));
    s.inject(ack().seq(1).ack(5993));
    s.happens(Happening::PathMtuRaised);
}

/// Its loss alone is no sign of congestion.
//= type=test
//= rfc4821#7.6.2
//# In this case alone, the
//# loss SHOULD NOT be interpreted as congestion signal.
fn a_probe_that_is_lost_is_sent_again_in_smaller_segments(s: &mut Script) {
    searching(s);
    s.inject(ack().seq(1).ack(1).sack(1461, 2485));
    s.expect(data(1024).seq(1).ack(1));
    s.expect(data(436).seq(1025).ack(1));
    s.inject(ack().seq(1).ack(4533));
    s.happens(Happening::PathMtuProbeLost);
}
