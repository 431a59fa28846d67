//! Congestion: marks (RFC 3168), and what a window that is not used is worth (RFC 7661).

use ringway::tcp::congestion::Algorithm;
use ringway::tcp::ecn::Use;
use ringway::tcp::tally::Happening;
use ringway::wire::tcp::Flags;

use crate::script::Call::{Accept, Connect, Receive, Send};
use crate::script::{Script, scripts};
use crate::segment::{ack, data, syn, syn_ack};

scripts![
    a_peer_that_asks_for_ecn,
    an_open_asks_for_ecn,
    a_lost_syn_that_asked_for_ecn,
    a_mark_is_echoed_until_it_is_answered,
    an_echo_is_answered,
    what_is_sent_again_asks_for_no_mark,
    echoes_without_end_are_not_believed,
    a_train_of_acknowledgments_ends_slow_start,
    a_window_that_is_not_used,
    bbr_looks_for_the_round_trip_time,
];

const ECT: u8 = 2;
const CE: u8 = 3;

/// Both agree on ECN; the round trip takes 20 ms.
fn agreed(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000).with(Flags::ECE | Flags::CWR));
    s.expect(syn_ack().seq(0).ack(1).with(Flags::ECE).ecn(0));
    s.silence(20);
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
}

/// Without ECN, and with a round trip of 20 ms.
fn open(s: &mut Script) {
    s.listen();
    s.inject(syn().mss(1000));
    s.expect(syn_ack().seq(0).ack(1));
    s.silence(20);
    s.inject(ack().seq(1).ack(1));
    s.call(Accept);
}

/// A SYN with both flags is answered with one, and text asks for marks.
//= type=test
//= rfc3168#6.1.1
//# If a host has received an ECN-setup SYN packet, then it MAY send an ECN-setup SYN-ACK packet.
fn a_peer_that_asks_for_ecn(s: &mut Script) {
    agreed(s);
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1).ecn(ECT));
    s.inject(data(100).seq(1).ack(101).ecn(ECT));
    s.expect(ack().seq(101).ack(101).ecn(0).delayed());
    s.call(Receive(100));
}

/// Asked for in the SYN, if the setting says so.
//= type=test
//= rfc3168#6.1.1
//# We call a SYN packet with the ECE and CWR flags set an "ECN-setup SYN packet"
fn an_open_asks_for_ecn(s: &mut Script) {
    s.settings(|tcp| tcp.ecn = Use::On, &[("tcp_ecn", "1")]);
    s.call(Connect);
    s.expect(syn().with(Flags::ECE | Flags::CWR).ecn(0));
    s.inject(syn_ack().seq(0).ack(1).mss(1000).with(Flags::ECE));
    s.expect(ack().seq(1).ack(1).ecn(0));
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1).ecn(ECT));
}

/// A path that drops such SYNs gets another one.
//= type=test
//= rfc3168#6.1.1.1
//# A host that receives no reply to an ECN-setup SYN within the normal SYN retransmission timeout interval MAY resend the SYN and any
//# subsequent SYN retransmissions with CWR and ECE cleared.
fn a_lost_syn_that_asked_for_ecn(s: &mut Script) {
    s.settings(|tcp| tcp.ecn = Use::On, &[("tcp_ecn", "1"), ("tcp_syn_linear_timeouts", "0")]);
    s.call(Connect);
    s.expect(syn().with(Flags::ECE | Flags::CWR));
    s.expect(syn().after(1000));
    s.inject(syn_ack().seq(0).ack(1).mss(1000));
    s.expect(ack().seq(1).ack(1));
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1).ecn(0));
}

/// Every acknowledgment says so, until the peer says that it has heard.
//= type=test
//= rfc3168#6.1.3
//# When TCP receives a CE data packet at the destination end-system, the TCP data receiver sets the ECN-Echo flag in the TCP header
//# of the subsequent ACK packet.
fn a_mark_is_echoed_until_it_is_answered(s: &mut Script) {
    agreed(s);
    s.inject(data(100).seq(1).ack(1).ecn(CE));
    s.expect(ack().seq(1).ack(101).with(Flags::ECE));
    s.inject(data(100).seq(101).ack(1).ecn(ECT));
    s.expect(ack().seq(1).ack(201).with(Flags::ECE).delayed());
    s.inject(data(100).seq(201).ack(1).with(Flags::CWR).ecn(ECT));
    s.expect(ack().seq(1).ack(301).delayed());
    s.call(Receive(300));
    s.happens(Happening::MarkReceived);
}

/// The window shrinks, and the next text says so.
//= type=test
//= rfc3168#6.1.2
//# the TCP sender sets the CWR flag in the TCP header of the first new data packet sent after the window reduction.
fn an_echo_is_answered(s: &mut Script) {
    agreed(s);
    s.call(Send(3000));
    for part in 0..3 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1).ecn(ECT));
    }
    s.silence(20);
    s.inject(ack().seq(1).ack(3001).with(Flags::ECE));
    s.call(Send(1000));
    s.expect(data(1000).seq(3001).ack(1).with(Flags::CWR).ecn(ECT));
    s.inject(ack().seq(1).ack(4001));
    s.call(Send(1000));
    s.expect(data(1000).seq(4001).ack(1).ecn(ECT));
    s.happens(Happening::MarkAnswered);
}

/// A lost segment could hide a mark.
//= type=test
//= rfc3168#6.1.5
//# This document specifies ECN-capable TCP implementations MUST NOT set either ECT codepoint (ECT(0) or ECT(1)) in the IP header for
//# retransmitted data packets
fn what_is_sent_again_asks_for_no_mark(s: &mut Script) {
    agreed(s);
    s.call(Send(100));
    s.expect(data(100).seq(1).ack(1).ecn(ECT));
    s.expect(data(100).seq(1).ack(1).ecn(0).within(180, 320));
    s.inject(ack().seq(1).ack(101));
}

/// Ten answers, and not one acknowledgment without an echo.
fn echoes_without_end_are_not_believed(s: &mut Script) {
    s.not_on_kernel("it goes on asking for marks");
    agreed(s);
    let mut next = 1;
    for round in 0..11 {
        s.call(Send(1000));
        let sent = data(1000).seq(next).ack(1);
        s.expect(if round == 0 { sent.ecn(ECT) } else { sent.with(Flags::CWR).ecn(if round < 10 { ECT } else { 0 }) });
        next += 1000;
        s.silence(20);
        s.inject(ack().seq(1).ack(next).with(Flags::ECE));
    }
    s.happens(Happening::EcnBroken);
}

/// Acknowledgments without a gap for half of a round trip: the next doubling would fill the path.
fn a_train_of_acknowledgments_ends_slow_start(s: &mut Script) {
    s.not_on_kernel("it sends in bursts, which the first acknowledgments do not let go (TSO)");
    open(s);
    s.call(Send(60_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.silence(20);
    // The first round is acknowledged in one moment, the second over 12 ms: six acknowledgments of it let two segments go each.
    let mut sent = 10_001;
    for acked in 1..=16 {
        s.inject(ack().seq(1).ack(1 + 1000 * acked));
        s.expect(data(1000).seq(sent).ack(1));
        s.expect(data(1000).seq(sent + 1000).ack(1));
        sent += 2000;
        s.silence(if acked < 10 {
            0
        } else if acked == 10 {
            20
        } else {
            2
        });
    }
    // From now on one lets one go.
    for acked in 17..=19 {
        s.inject(ack().seq(1).ack(1 + 1000 * acked));
        s.expect(data(1000).seq(sent).ack(1));
        sent += 1000;
        s.silence(2);
    }
    s.happens(Happening::SlowStartExit);
}

/// First it only counts as unproven; after five minutes it shrinks.
fn a_window_that_is_not_used(s: &mut Script) {
    s.not_on_kernel("five minutes are too long to wait for");
    open(s);
    s.call(Send(30_000));
    for part in 0..10 {
        s.expect(data(1000).seq(1 + 1000 * part).ack(1));
    }
    s.silence(20);
    for acked in 1..=10 {
        s.inject(ack().seq(1).ack(1 + 1000 * acked));
        s.expect(data(1000).seq(8001 + 2000 * acked).ack(1));
        s.expect(data(1000).seq(9001 + 2000 * acked).ack(1));
    }
    s.silence(20);
    s.inject(ack().seq(1).ack(30_001));
    for round in 0..100 {
        s.call(Send(100));
        s.expect(data(100).seq(30_001 + 100 * round).ack(1));
        s.silence(20);
        s.inject(ack().seq(1).ack(30_101 + 100 * round));
    }
    s.silence(301_000);
    s.call(Send(100));
    s.expect(data(100).seq(40_001).ack(1));
    s.silence(20);
    s.inject(ack().seq(1).ack(40_101));
    s.happens(Happening::WindowNotValidated);
    s.happens(Happening::WindowReducedUnused);
}

/// After ten seconds without a round trip as short as the first: four segments at a time, for a moment.
fn bbr_looks_for_the_round_trip_time(s: &mut Script) {
    s.not_on_kernel("ten seconds are too long to wait for");
    s.settings.congestion = Algorithm::Bbr;
    open(s);
    let mut next = 1;
    for round in 0..340 {
        s.call(Send(1000));
        s.expect(data(1000).seq(next).ack(1).within(0, 10));
        next += 1000;
        s.silence(if round < 3 { 20 } else { 30 });
        s.inject(ack().seq(1).ack(next));
    }
    s.call(Send(10_000));
    for part in 0..4 {
        s.expect(data(1000).seq(next + 1000 * part).ack(1).within(0, 10));
    }
    s.silence(25);
    s.happens(Happening::RttProbed);
}
