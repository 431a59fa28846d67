//! What a service sets of a connection and hears of it, and what ICMP does to one, on the wire.

use std::net::Ipv4Addr;

use super::wire::{OUR_MAC, OURS, PEER, PEER_MAC, Peer, packet, serve_with};
use super::*;
use crate::service::Notice;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::{State, Tuning};
use crate::wire::checksum::checksum;
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_ICMP, PROTOCOL_TCP};
use crate::wire::tcp::{Flags, Header, Options};

const IRS: SeqNum = SeqNum(77);

/// Tunes each connection, sends bytes on it, reads nothing, and remembers what it is told.
#[derive(Default)]
struct Recorder {
    tunings: Vec<Tuning>,
    to_send: usize,
    connection: Option<Connection>,
    notices: Vec<Notice>,
    resets: Vec<ResetReason>,
    /// What is unread and what is urgent, as it was at each notice and each offer.
    ahead: Vec<(usize, usize)>,
}

impl Recorder {
    fn look_ahead(&mut self, cx: &impl Context, connection: Connection) {
        self.ahead.extend(cx.info(connection).map(|info| (info.unread, info.urgent)));
    }
}

impl Service for Recorder {
    type Message = &'static str;

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.connection = Some(connection);
        self.tunings.iter().for_each(|&tuning| cx.tune(connection, tuning));
        cx.send(connection, &vec![1; self.to_send]);
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, _: &[u8]) -> usize {
        self.look_ahead(cx, connection);
        0
    }

    fn notice(&mut self, cx: &mut impl Context, connection: Connection, notice: Notice) {
        self.look_ahead(cx, connection);
        self.notices.push(notice);
    }

    fn reset(&mut self, _: &mut impl Context, _: Connection, why: ResetReason) {
        self.resets.push(why);
    }

    fn message(&mut self, cx: &mut impl Context, message: &'static str) {
        let connection = self.connection.unwrap();
        match message {
            "close both" => cx.close_both(connection),
            "another code point" => {
                cx.tune(connection, Tuning::Dscp(8));
                cx.send(connection, b"more");
            }
            _ => cx.close(connection),
        }
    }
}

/// A connection to a recorder, with our initial sequence number.
fn open(recorder: Recorder) -> (Engine<MemoryDevice, Recorder>, Peer, ManualClock, SeqNum) {
    let (mut engine, mut peer, clock) = serve_with(recorder, |tcp| tcp.ttl = 33);
    let options = Options { mss: Some(1460), ..Options::default() };
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), options, &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    peer.segment(Flags::ACK, IRS + 1, iss + 1, &[]);
    engine.turn(&clock);
    (engine, peer, clock, iss)
}

/// An ICMP error of type 3 about our segment `seq`.
pub(super) fn unreachable(code: u8, mtu: u16, seq: SeqNum) -> Vec<u8> {
    about(PROTOCOL_TCP, code, mtu, 1000, &[&[0, 7][..], &5000_u16.to_be_bytes(), &seq.0.to_be_bytes()].concat())
}

/// The same about any packet of ours whose payload, `len` bytes long, begins with `payload`.
pub(super) fn about(protocol: u8, code: u8, mtu: u16, len: usize, payload: &[u8]) -> Vec<u8> {
    about_packet_to(PEER, protocol, code, mtu, len, payload)
}

/// The same about a packet to another.
pub(super) fn about_packet_to(target: Ipv4Addr, protocol: u8, code: u8, mtu: u16, len: usize, payload: &[u8]) -> Vec<u8> {
    let mut quoted = vec![0; 20];
    ipv4::emit(&mut quoted, &Ipv4::outgoing(OURS, target, protocol, len));
    quoted.extend(payload);
    let mut message = vec![3, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(OUR_MAC, PEER_MAC, PROTOCOL_ICMP, &message)
}

fn payloads(peer: &mut Peer) -> Vec<usize> {
    peer.segments_whole().iter().map(|(_, _, payload)| payload.len()).collect()
}

#[test]
fn fragmentation_needed_makes_segments_smaller() {
    let (mut engine, mut peer, clock, iss) = open(Recorder { to_send: 5000, ..Recorder::default() });
    // The peer's window is 1000.
    assert_eq!(payloads(&mut peer), [1000]);
    peer.send(&unreachable(4, 600, iss + 70_000));
    engine.turn(&clock);
    assert_eq!(payloads(&mut peer), [0; 0], "it quotes nothing that is in flight");
    peer.send(&unreachable(4, 600, iss + 1));
    engine.turn(&clock);
    assert_eq!(payloads(&mut peer), [560, 440]);
    assert_eq!(engine.core.tally.of(Happening::PathMtuReduced), 1);
    assert!(engine.service().notices.is_empty() && engine.service().resets.is_empty());
}

//= type=test
//= rfc9293#3.9.1.8
//# There MUST be a mechanism for reporting soft TCP error conditions to the application (MUST-47).
//= type=test
//= rfc9293#3.9.2.2
//# Since these Unreachable messages indicate soft error conditions, a TCP implementation MUST NOT abort the connection (MUST-56), and
//# it SHOULD make the information available to the application (SHLD-25).
//= type=test
//= rfc9293#3.9.2.2
//# TCP implementations MUST act on an ICMP error message passed up from the IP layer, directing it to the connection that created the
//# error (MUST-54).
#[test]
fn icmp_errors_are_told_and_end_no_connection() {
    let (mut engine, mut peer, clock, iss) = open(Recorder { to_send: 10, ..Recorder::default() });
    for (code, seq) in [(1, iss + 1), (3, iss + 1), (0, iss + 11), (0, iss)] {
        peer.send(&unreachable(code, 0, seq));
        engine.turn(&clock);
    }
    let told = |code| Notice::Icmp { icmp_type: 3, code };
    assert_eq!(engine.service().notices, [told(1), told(3)], "of those that quote what is in flight");
    assert!(engine.core.flows.iter().all(|(_, flow)| flow.tcb.state() == State::Established));
}

//= type=test
//= rfc9293#3.8.3
//# The following procedure MUST be used to handle excessive retransmissions of data segments (MUST-20):
#[test]
fn a_stalled_connection_is_told_once_and_then_its_end() {
    let (mut engine, mut peer, clock, _) = open(Recorder { to_send: 10, ..Recorder::default() });
    engine.core.config.tcp.retries = 5;
    for _ in 0..200 {
        clock.advance(Duration::from_millis(100));
        engine.turn(&clock);
        peer.answers();
    }
    assert_eq!(
        (&engine.service().notices[..], &engine.service().resets[..]),
        (&[Notice::Stalled][..], &[ResetReason::TimedOut][..])
    );
}

//= type=test
//= rfc9293#3.9.1.9
//# The application layer MUST be able to specify the Differentiated Services field for segments that are sent on a connection
//# (MUST-48).
//= type=test
//= rfc9293#3.9.1.9
//# It is not required, but the application SHOULD be able to change the Differentiated Services field during the connection lifetime
//# (SHLD-21).
//= type=test
//= rfc9293#3.9.1.9
//# TCP implementations SHOULD pass the current Differentiated Services field value without change to the IP layer, when it sends
//# segments on the connection (SHLD-22).
//= type=test
//= rfc9293#3.9.2
//# The TTL value used to send TCP segments MUST be configurable (MUST-49).
//= type=test
//= rfc9293#3.9.1.8
//# However, an application program that does not want to receive such ERROR_REPORT calls SHOULD be able to effectively disable these
//# calls (SHLD-20).
#[test]
fn a_service_without_a_callback_for_notices_hears_none() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |_| {});
    peer.segment(Flags::SYN, IRS, SeqNum(0), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    peer.segment(Flags::ACK, IRS + 1, iss + 1, b"echo");
    engine.turn(&clock);
    peer.send(&unreachable(1, 0, iss + 1));
    engine.turn(&clock);
    assert_eq!((engine.service().ended, engine.core.count_states()), (0, (1, 0)));
}

/// The shipped services mark nothing urgent and leave the code point alone.
//= type=test
//= rfc9293#3.8.5
//# As a result of implementation differences and middlebox interactions, new applications SHOULD NOT employ the TCP urgent mechanism
//# (SHLD-13).
//= type=test
//= rfc9293#3.9.2
//# Generally, an application SHOULD NOT change the Diffserv field value during the course of a connection (SHLD-23).
#[test]
fn the_shipped_services_do_without_what_is_discouraged() {
    let sources = [
        include_str!("../../service/catalog.rs"),
        include_str!("../../service/chargen.rs"),
        include_str!("../../service/daytime.rs"),
        include_str!("../../service/discard.rs"),
        include_str!("../../service/echo.rs"),
    ];
    for source in sources {
        assert!(source.contains("impl") && !source.contains("send_urgent") && !source.contains("Dscp"));
    }
}

#[test]
fn the_code_point_and_the_ttl_stand_in_every_packet() {
    let recorder = Recorder { tunings: vec![Tuning::Dscp(46)], to_send: 10, ..Recorder::default() };
    let (mut engine, mut peer, clock, _) = open(recorder);
    let mut expect = |engine: &mut Engine<MemoryDevice, Recorder>, dscp| {
        engine.turn(&clock);
        let frames = peer.answers();
        assert!(!frames.is_empty());
        for frame in frames {
            let ip = ipv4::parse(&frame[14..]).expect("the header's sum is right");
            assert_eq!((ip.dscp_ecn >> 2, ip.ttl), (dscp, 33));
        }
    };
    expect(&mut engine, 46);
    engine.mailbox().send("another code point").unwrap();
    expect(&mut engine, 8);
}

#[test]
fn a_reset_has_the_ttl_too() {
    let (mut engine, mut peer, clock, _) = open(Recorder::default());
    peer.answers();
    peer.segment_from(9, Flags::ACK, IRS, SeqNum(9), Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!(ipv4::parse(&peer.answers()[0][14..]).map(|ip| ip.ttl), Ok(33));
}

//= type=test
//= rfc9293#3.6.1
//# If such a host issues a CLOSE call while received data is still pending in the TCP connection, or if new data is received after
//# CLOSE is called, its TCP implementation SHOULD send a RST to show that data was lost (SHLD-3).
#[test]
fn closing_both_directions_with_unread_data_resets() {
    let (mut engine, mut peer, clock, iss) = open(Recorder::default());
    peer.segment(Flags::ACK, IRS + 1, iss + 1, b"unread");
    engine.turn(&clock);
    peer.segments();
    engine.mailbox().send("close both").unwrap();
    engine.turn(&clock);
    assert_eq!(peer.segments(), [(Flags::RST, iss + 1, SeqNum(0))]);
    assert_eq!((engine.core.flows.len(), engine.service().resets.len()), (0, 0), "the service ended it itself");

    let (mut engine, mut peer, clock, iss) = open(Recorder::default());
    engine.mailbox().send("close both").unwrap();
    engine.turn(&clock);
    peer.segment(Flags::ACK, IRS + 1, iss + 2, b"too late");
    engine.turn(&clock);
    assert_eq!(peer.segments().last().map(|segment| segment.0), Some(Flags::RST));
    assert_eq!(engine.service().resets, [ResetReason::Reset]);
}

#[test]
fn a_linger_time_that_passes_is_an_abort_and_told_as_one() {
    let linger = Tuning::Linger(Some(Duration::from_millis(50)));
    let (mut engine, mut peer, clock, iss) = open(Recorder { tunings: vec![linger], to_send: 10, ..Recorder::default() });
    engine.mailbox().send("close").unwrap();
    engine.turn(&clock);
    peer.segments();
    clock.advance(Duration::from_millis(55));
    engine.turn(&clock);
    assert_eq!(peer.segments(), [(Flags::RST, iss + 12, SeqNum(0))]);
    assert_eq!((engine.core.flows.len(), &engine.service().resets[..]), (0, &[ResetReason::Aborted][..]));
}

//= type=test
//= rfc9293#3.8.5
//# The TCP implementation MUST (MUST-33) provide a way for the application to learn how much urgent data remains to be read from the
//# connection, or at least to determine whether more urgent data remains to be read
#[test]
fn a_service_that_is_told_of_urgent_data_learns_how_much_there_is() {
    let (mut engine, mut peer, clock, iss) = open(Recorder::default());
    let flags = Flags::ACK | Flags::URG;
    let (seq, ack, options) = (IRS + 1, iss + 1, Options::default());
    let header = Header { source_port: 5000, target_port: 7, seq, ack, flags, window: 1000, urgent: 5, options };
    peer.segment_of(&header, b"abc");
    engine.turn(&clock);
    assert_eq!(engine.service().notices, [Notice::Urgent]);
    assert_eq!(engine.service().ahead, [(3, 5), (0, 2)], "told, then offered");
}
