//! Explicit congestion notification on the wire (RFC 3168).

use std::time::Duration;

use super::script::*;
use crate::tcp::config::Config;
use crate::tcp::congestion::{Algorithm, Congestion};
use crate::tcp::ecn::Use;
use crate::tcp::tally::Happening;
use crate::tcp::{Opening, State};
use crate::wire::tcp::Flags;

const ECE: Flags = Flags::ECE;
const CWR: Flags = Flags::CWR;

fn with(ecn: Use) -> Config {
    Config { ecn, ..plain() }
}

/// A listener's connection that agreed on ECN.
fn agreed() -> Script {
    let mut peer = Script::accept(with(Use::Passive), syn().with(ECE | CWR).seq(IRS).mss(MSS));
    peer.expect(syn_ack().with(ECE).seq(ISS).ack(IRS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.expect_state(State::Established);
    peer
}

/// The same with `segments` full segments in flight, the first of which left at the start of time.
fn in_flight(segments: u32) -> Script {
    let mut peer = agreed();
    peer.send(&vec![1; segments as usize * 1000]);
    for _ in 0..segments {
        assert!(peer.sent().unwrap().ect);
    }
    peer.tcb.take_noted();
    peer
}

//= type=test
//= rfc3168#6.1.1
//# If a host has received an ECN-setup SYN packet, then it MAY send an ECN-setup SYN-ACK packet.
#[test]
fn a_listener_agrees_when_it_is_asked() {
    // The setting, the flags of the SYN, the flag of the SYN-ACK. The bit of NS and AE is not even parsed.
    for (ecn, asked, answer) in [
        (Use::Passive, ECE | CWR, ECE),
        (Use::On, ECE | CWR, ECE),
        (Use::Off, ECE | CWR, Flags::NONE),
        (Use::On, ECE, Flags::NONE),
        (Use::On, CWR, Flags::NONE),
        (Use::On, Flags::NONE, Flags::NONE),
    ] {
        let mut peer = Script::accept(with(ecn), syn().with(asked).seq(IRS).mss(MSS));
        let sent = peer.sent().unwrap();
        assert_eq!((sent.has(ECE), sent.has(CWR), sent.ect), (answer == ECE, false, false), "{ecn:?} {asked:?}");
        peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
        peer.send(b"x");
        assert_eq!(peer.sent().unwrap().ect, answer == ECE, "{ecn:?} {asked:?}");
    }
}

//= type=test
//= rfc3168#6.1.1
//# Similarly, we call a SYN-ACK packet with only the ECE flag set but the CWR flag not set an "ECN-setup SYN-ACK packet"
#[test]
fn a_client_asks_only_when_it_is_told_to_and_believes_no_mirror() {
    for (ecn, asks, answer, ect) in [
        (Use::Off, false, ECE, false),
        (Use::Passive, false, ECE, false),
        (Use::On, true, ECE, true),
        (Use::On, true, Flags::NONE, false),
        (Use::On, true, ECE | CWR, false),
        (Use::On, true, CWR, false),
    ] {
        let mut peer = Script::open(with(ecn));
        let sent = peer.sent().unwrap();
        assert_eq!((sent.has(ECE), sent.has(CWR), sent.ect), (asks, asks, false), "{ecn:?}");
        peer.inject(syn_ack().with(answer).seq(IRS).ack(ISS + 1).mss(MSS));
        peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
        peer.send(b"x");
        assert_eq!(peer.sent().unwrap().ect, ect, "{ecn:?} {answer:?}");
    }
}

//= type=test
//= rfc3168#6.1.1.1
//# A host that receives no reply to an ECN-setup SYN within the normal SYN retransmission timeout interval MAY resend the SYN and any
//# subsequent SYN retransmissions with CWR and ECE cleared.
#[test]
fn a_syn_that_was_lost_comes_again_without_asking() {
    let mut peer = Script::open(with(Use::On));
    peer.expect(syn().with(ECE | CWR).seq(ISS));
    peer.next_timer();
    peer.expect(syn().seq(ISS));
    // The answer to the first one after all: nothing asks for marks, but those that come are echoed.
    peer.inject(syn_ack().with(ECE).seq(IRS).ack(ISS + 1).mss(MSS));
    peer.sent();
    peer.send(b"x");
    assert!(!peer.sent().unwrap().ect);
    peer.inject(data(b"y").seq(IRS + 1).ack(ISS + 2).marked());
    peer.expect(ack().with(ECE).seq(ISS + 2).ack(IRS + 2));
}

//= type=test
//= rfc3168#6.1.1
//# If a host has received at least one non-ECN-setup SYN or non-ECN-setup SYN-ACK packet, then it SHOULD NOT set ECT on data packets.
#[test]
fn a_client_that_falls_back_takes_the_listener_with_it() {
    let mut peer = Script::accept(with(Use::Passive), syn().with(ECE | CWR).seq(IRS).mss(MSS));
    peer.expect(syn_ack().with(ECE).seq(ISS).ack(IRS + 1));
    peer.inject(syn().seq(IRS).mss(MSS));
    peer.expect(syn_ack().seq(ISS).ack(IRS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.send(b"x");
    assert!(!peer.sent().unwrap().ect);
}

#[test]
fn both_ends_that_open_at_once_agree() {
    for (ecn, flags, ect) in [(Use::On, ECE | CWR, true), (Use::On, Flags::NONE, false), (Use::Passive, ECE | CWR, false)] {
        let mut peer = Script::open(with(ecn));
        peer.sent();
        peer.inject(syn().with(flags).seq(IRS).mss(MSS));
        let answer = peer.sent().unwrap();
        assert_eq!((answer.has(ECE), answer.has(CWR)), (flags != Flags::NONE, false));
        let flags = if flags == Flags::NONE { flags } else { ECE };
        peer.inject(syn_ack().with(flags).seq(IRS).ack(ISS + 1));
        peer.expect_state(State::Established);
        peer.send(b"x");
        assert_eq!(peer.sent().unwrap().ect, ect, "{ecn:?}");
    }
}

//= type=test
//= rfc3168#6.1.4
//# pure acknowledgement packets (e.g., packets that do not contain any accompanying data) MUST be sent with the not-ECT codepoint.
//= type=test
//= rfc3168#6.1.5
//# This document specifies ECN-capable TCP implementations MUST NOT set either ECT codepoint (ECT(0) or ECT(1)) in the IP header for
//# retransmitted data packets
#[test]
fn only_new_data_asks_for_marks() {
    let mut peer = in_flight(1);
    peer.inject(data(b"y").seq(IRS + 1).ack(ISS + 1));
    peer.advance(Duration::from_millis(50));
    let pure = peer.sent().unwrap();
    assert!(!pure.ect && !pure.has(ECE));
    peer.next_timer();
    let again = peer.sent().unwrap();
    assert!(!again.ect && !again.has(CWR));
    peer.close();
    peer.inject(ack().seq(IRS + 2).ack(ISS + 1001));
    let fin = peer.sent().unwrap();
    assert!(fin.has(Flags::FIN) && !fin.ect);
    peer.inject(ack().seq(IRS + 2).ack(ISS + 1002));
}

//= type=test
//= rfc3168#6.1.6
//# Therefore, the TCP data sender MUST NOT set either an ECT codepoint or the CWR bit on window probe packets.
#[test]
fn a_window_probe_asks_for_nothing() {
    let mut peer = in_flight(1);
    peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 1001).win(0));
    peer.send(b"more");
    peer.expect_nothing();
    peer.next_timer();
    let probe = peer.sent().unwrap();
    assert!(!probe.ect && !probe.has(CWR));
}

//= type=test
//= rfc3168#6.1.3
//# After a TCP receiver sends an ACK packet with the ECN-Echo bit set, that TCP receiver continues to set the ECN-Echo flag in all the ACK
//# packets it sends (whether they acknowledge CE data packets or non-CE data packets) until it receives a CWR packet
#[test]
fn a_mark_is_echoed_until_it_is_answered() {
    let mut peer = agreed();
    peer.inject(data(b"a").seq(IRS + 1).ack(ISS + 1).marked());
    assert!(peer.tcb.take_noted().contains(Happening::MarkReceived));
    peer.expect(ack().with(ECE).seq(ISS + 1).ack(IRS + 2));
    peer.inject(data(b"b").seq(IRS + 2).ack(ISS + 1));
    peer.send(b"x");
    let with_data = peer.sent().unwrap();
    assert!(with_data.has(ECE) && with_data.ect);
    peer.inject(data(b"c").with(CWR).seq(IRS + 3).ack(ISS + 2));
    peer.advance(Duration::from_millis(50));
    peer.expect(ack().seq(ISS + 2).ack(IRS + 4));
    // The answer may itself be marked.
    peer.inject(data(b"d").with(CWR).seq(IRS + 4).ack(ISS + 2).marked());
    peer.expect(ack().with(ECE).seq(ISS + 2).ack(IRS + 5));
    assert!(peer.tcb.take_noted().contains(Happening::MarkReceived));
    peer.expect_data(b"abcd");
}

//= type=test
//= rfc3168#6.1.5
//# the TCP data receiver SHOULD ignore the CE codepoint on out-of-window packets.
#[test]
fn a_mark_outside_the_window_and_one_nobody_asked_for_are_ignored() {
    let mut peer = agreed();
    peer.inject(data(b"a").seq(IRS - 100).ack(ISS + 1).marked());
    peer.expect(ack().seq(ISS + 1).ack(IRS + 1));
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).marked());
    peer.inject(data(b"a").seq(IRS + 1).ack(ISS + 1));
    peer.advance(Duration::from_millis(50));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 2));
    let mut peer = Script::established();
    peer.inject(data(b"a").seq(IRS + 1).ack(ISS + 1).marked());
    peer.advance(Duration::from_millis(50));
    peer.expect(ack().seq(ISS + 1).ack(IRS + 2));
}

//= type=test
//= rfc9293#3.8.2
//# A TCP endpoint SHOULD implement ECN as described in RFC 3168 (SHLD-8).
//= type=test
//= rfc3168#6.1.2
//# That is, the TCP sender's congestion window should be reduced only once in response to a series of dropped and/or CE packets from a
//# single window of data.
#[test]
fn an_echo_shrinks_the_window_once_and_is_answered_once() {
    let mut peer = in_flight(10);
    peer.send(&[2; 10_000]);
    peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 1001));
    assert!(peer.tcb.take_noted().contains(Happening::MarkAnswered));
    assert_eq!(peer.tcb.congestion.window(), 8_000);
    peer.expect_nothing();
    for n in 2..=3 {
        peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 1 + n * 1000));
    }
    assert_eq!(peer.tcb.congestion.window(), 8_000);
    let first = peer.sent().unwrap();
    assert!(first.has(CWR) && first.ect);
    peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 4001));
    let second = peer.sent().unwrap();
    assert!(!second.has(CWR) && second.ect);
    assert_eq!(peer.tcb.congestion.window(), 8_000, "marks of the same window");
    // What was sent after the answer is marked as well: a new window.
    peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 11_001));
    assert!(peer.tcb.congestion.window() < 8_000);
    assert!(peer.sent().unwrap().has(CWR));
}

//= type=test
//= rfc3168#6.1.2
//# When an ECN-Capable TCP sender reduces its congestion window for any reason (because of a retransmit timeout, a Fast Retransmit, or
//# in response to an ECN Notification), the TCP sender sets the CWR flag in the TCP header of the first new data packet sent after the
//# window reduction.
#[test]
fn a_timeout_is_told_too_and_echoes_of_its_window_cost_nothing() {
    let mut peer = in_flight(2);
    peer.next_timer();
    let again = peer.sent().unwrap();
    assert!(!again.has(CWR) && !again.ect);
    let window = peer.tcb.congestion.window();
    peer.send(&[2; 1000]);
    peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 2001));
    assert_eq!(peer.tcb.congestion.window(), window);
    assert!(peer.sent().unwrap().has(CWR));
}

#[test]
fn an_echo_leaves_the_timer_alone_while_the_window_is_wide() {
    let left = |flags: Flags| {
        let mut peer = in_flight(4);
        peer.advance(Duration::from_millis(50));
        peer.inject(ack().with(flags).seq(IRS + 1).ack(ISS + 1));
        peer.expect_nothing();
        peer.next_timer()
    };
    assert_eq!(left(ECE), left(Flags::NONE));
}

//= type=test
//= rfc3168#6.1.2
//# The sending TCP SHOULD NOT increase the congestion window in response to the receipt of an ECN-Echo ACK packet.
#[test]
fn an_echo_lets_no_window_grow() {
    let mut peer = in_flight(10);
    peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 1001));
    peer.inject(ack().with(ECE).seq(IRS + 1).ack(ISS + 10_001));
    assert_eq!(peer.tcb.congestion.window(), 8_000);
}

#[test]
fn when_everything_comes_back_marked_nothing_asks_for_marks_any_more() {
    let mut peer = agreed();
    let mut end = ISS + 1;
    for n in 0..12 {
        peer.send(&[1; 1000]);
        let sent = peer.sent().unwrap();
        assert_eq!(sent.ect, n < 10, "segment {n}");
        end += 1000;
        peer.inject(ack().with(ECE).seq(IRS + 1).ack(end));
    }
    assert!(peer.tcb.take_noted().contains(Happening::EcnBroken));
    // One clean acknowledgment, and it is taken for congestion, however long it lasts.
    let mut peer = agreed();
    let mut end = ISS + 1;
    for n in 0..30 {
        peer.send(&[1; 1000]);
        assert!(peer.sent().unwrap().ect);
        end += 1000;
        peer.inject(if n == 0 { ack() } else { ack().with(ECE) }.seq(IRS + 1).ack(end));
    }
}

#[test]
fn bbr_does_not_ask_for_marks_it_would_not_answer() {
    let config = with(Use::On);
    let opening = Opening { congestion: Algorithm::Bbr, ..OPENING };
    let mut peer = Script::open_as(config, opening);
    peer.expect(syn().with(ECE | CWR).seq(ISS));
    peer.inject(syn_ack().with(ECE).seq(IRS).ack(ISS + 1).mss(MSS));
    peer.sent();
    peer.send(b"x");
    assert!(!peer.sent().unwrap().ect);
    peer.inject(data(b"y").seq(IRS + 1).ack(ISS + 2).marked());
    peer.expect(ack().with(ECE).seq(ISS + 2).ack(IRS + 2));
}

#[test]
fn every_use_is_known_by_its_name() {
    for (named, name) in [(Use::Passive, "passive"), (Use::On, "on"), (Use::Off, "off")] {
        assert!(Use::NAMES.contains(&name));
        assert_eq!((named.name(), Use::named(name)), (name, Some(named)));
    }
    assert_eq!(Use::named("always"), None);
}

//= type=test
//= rfc4015#3.4
//# This is unless the acceptable ACK signals
//# congestion through the ECN-Echo flag [RFC3168].  In that case, the
//# TCP sender MUST refrain from reversing congestion control state.
#[test]
fn a_mistaken_timeout_is_not_taken_back_where_a_mark_was_echoed() {
    for marks in [[Flags::NONE; 2], [Flags::NONE, ECE], [ECE, Flags::NONE]] {
        let mut peer = in_flight(6);
        while !peer.noted().contains(Happening::RetransmissionTimeout) {
            peer.next_timer();
        }
        peer.send(&[2; 10_000]);
        assert!(peer.sent().is_some(), "the first again");
        peer.advance(Duration::from_millis(3));
        peer.inject(ack().with(marks[0]).seq(IRS + 1).ack(ISS + 1001));
        assert!(std::iter::from_fn(|| peer.sent()).count() > 0, "new data, as the window allows");
        peer.inject(ack().with(marks[1]).seq(IRS + 1).ack(ISS + 2001));
        assert!(peer.noted().contains(Happening::SpuriousTimeout), "it was one all the same");
        let marked = marks != [Flags::NONE; 2];
        assert_eq!(peer.tcb.congestion.window() < 4_000, marked, "{marks:?}");
        assert_eq!(peer.tcb.congestion.threshold() < u32::MAX, marked, "{marks:?}");
        assert_eq!(peer.tcb.retransmitted(), 1, "what was late is not sent again");
    }
}
