//! SYN cookies and a full table, as a peer sees them (RFC 4987).

use super::wire::{Peer, serve, serve_with};
use super::*;
use crate::device::Drop;
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::wire::tcp::{Flags, Header, Options};

const IRS: SeqNum = SeqNum(u32::MAX - 1);
const ACK: Flags = Flags::ACK;

fn all_options(value: u32, echo: u32) -> Options {
    let (mss, window_scale, timestamps) = (Some(1460), Some(7), Some((value, echo)));
    Options { mss, window_scale, sack_permitted: true, timestamps, ..Options::default() }
}

fn stamped(value: u32, echo: u32) -> Options {
    Options { timestamps: Some((value, echo)), ..Options::default() }
}

/// An echo server whose listener has room for two half-open connections, both taken by SYNs that nobody will complete.
fn flooded() -> (Engine<MemoryDevice, Echo>, Peer, ManualClock) {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |tcp| tcp.backlog = 2);
    for port in [1001, 1002] {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), all_options(1, 0), &[]);
    }
    engine.turn(&clock);
    assert_eq!(peer.segments().len(), 2);
    (engine, peer, clock)
}

/// A SYN from port 5000, and the SYN-ACK that came back.
fn syn(engine: &mut Engine<MemoryDevice, Echo>, peer: &mut Peer, clock: &ManualClock, options: Options) -> Header {
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), options, &[]);
    engine.turn(clock);
    let answers = peer.segments_whole();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((answers[0].0, answers[0].1.flags, answers[0].1.ack), (5000, Flags::SYN | ACK, IRS + 1));
    answers[0].1
}

fn happened(engine: &Engine<MemoryDevice, Echo>, what: Happening) -> u64 {
    engine.core.tally.of(what)
}

#[test]
fn a_syn_beyond_the_backlog_is_answered_and_leaves_nothing_behind() {
    let (mut engine, mut peer, clock) = flooded();
    let before = (engine.core.flows.len(), engine.core.wheel.len(), engine.core.pool.in_use());
    let neighbors = format!("{:?}", engine.core.links[0].neighbors);
    for port in 2000..2100 {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), all_options(1, 0), &[]);
        engine.turn(&clock);
        assert_eq!(peer.segments().len(), 1, "each is answered");
    }
    assert_eq!((engine.core.flows.len(), engine.core.wheel.len(), engine.core.pool.in_use()), before);
    assert_eq!(format!("{:?}", engine.core.links[0].neighbors), neighbors, "nobody was learned or asked");
    assert_eq!((happened(&engine, Happening::SynCookieSent), engine.core.counters.tcp_accepted), (100, 2));
    // A half-open connection sends its SYN-ACK again; a cookie does not.
    clock.advance(Duration::from_secs(1));
    engine.turn(&clock);
    assert!(peer.segments_whole().iter().all(|(port, ..)| [1001, 1002].contains(port)));
    assert_no_frame_missing(&engine);
}

#[test]
fn the_ack_of_a_cookie_opens_the_connection_with_the_data_it_carries() {
    let (mut engine, mut peer, clock) = flooded();
    let syn_ack = syn(&mut engine, &mut peer, &clock, all_options(1, 0));
    let (value, echo) = syn_ack.options.timestamps.expect("they were asked for");
    assert_eq!((echo, value & 63), (1, 7 | 16), "scale 7 and SACK, in the low bits");
    assert!(syn_ack.options.window_scale.is_some() && syn_ack.options.sack_permitted);
    peer.segment_from(5000, ACK | Flags::PSH, IRS + 1, syn_ack.seq + 1, stamped(2, value), b"hello");
    clock.advance(Duration::from_millis(1));
    engine.turn(&clock);
    let answers = peer.segments_whole();
    let (_, echoed, payload) = &answers[0];
    assert_eq!((payload.as_slice(), echoed.seq, echoed.ack), (&b"hello"[..], syn_ack.seq + 1, IRS + 6));
    let (later, _) = echoed.options.timestamps.expect("they were agreed on");
    assert!(SeqNum(later).at_or_after(SeqNum(value)), "the clock does not go back");
    assert_eq!(happened(&engine, Happening::SynCookieAccepted), 1);
    assert_eq!((engine.core.counters.tcp_established, engine.core.counters.tcp_accepted), (1, 3));
    assert!(engine.core.histograms.accepted_ns.is_empty(), "nobody knows when its handshake began");
    // It is a connection like any other, and its end gives the backlog nothing that it did not take.
    peer.segment_from(5000, Flags::FIN | ACK, IRS + 6, echoed.seq + 5, stamped(3, later), &[]);
    engine.turn(&clock);
    let fin = peer.segments_whole().into_iter().find(|(_, header, _)| header.flags.contains(Flags::FIN)).expect("a FIN").1;
    peer.segment_from(5000, ACK, IRS + 7, fin.seq + 1, stamped(4, later), &[]);
    engine.turn(&clock);
    assert_eq!((engine.service().ended, engine.core.flows.len()), (1, 2));
    assert_eq!(engine.core.listeners.at(0).map(|listener| listener.half_open), Some(2));
    assert_no_frame_missing(&engine);
}

#[test]
fn a_peer_without_timestamps_gets_a_plain_connection() {
    let (mut engine, mut peer, clock) = flooded();
    let options = Options { timestamps: None, ..all_options(0, 0) };
    let syn_ack = syn(&mut engine, &mut peer, &clock, options);
    assert_eq!(syn_ack.options, Options { mss: Some(1460), ..Options::default() });
    peer.segment_from(5000, ACK | Flags::PSH, IRS + 1, syn_ack.seq + 1, Options::default(), b"plain");
    engine.turn(&clock);
    assert_eq!(peer.segments_whole()[0].2, b"plain");
}

#[test]
fn an_ack_of_no_cookie_is_reset_and_named() {
    let (mut engine, mut peer, clock) = flooded();
    let syn_ack = syn(&mut engine, &mut peer, &clock, Options::default());
    let guess = syn_ack.seq + (1 << 30);
    peer.segment_from(5000, ACK, IRS + 1, guess, Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!(peer.segments(), [(Flags::RST, guess, SeqNum(0))]);
    assert_eq!((engine.core.drops.of(Drop::TcpCookieInvalid), engine.core.flows.len()), (1, 2));
}

/// The peer believes in its connection from the SYN-ACK on, and may have sent a window full of data behind the segment that was lost.
#[test]
fn what_overtakes_the_ack_of_a_cookie_is_not_reset() {
    let (mut engine, mut peer, clock) = flooded();
    let syn_ack = syn(&mut engine, &mut peer, &clock, all_options(1, 0));
    let (value, _) = syn_ack.options.timestamps.expect("they were asked for");
    peer.segment_from(5000, ACK | Flags::PSH, IRS + 6, syn_ack.seq + 1, stamped(2, value), b" later");
    engine.turn(&clock);
    assert_eq!(peer.segments(), [], "neither taken nor reset");
    assert_eq!((engine.core.drops.of(Drop::TcpCookieMissing), engine.core.flows.len()), (1, 2));
    peer.segment_from(5000, ACK | Flags::PSH, IRS + 1, syn_ack.seq + 1, stamped(2, value), b"hello");
    peer.segment_from(5000, ACK | Flags::PSH, IRS + 6, syn_ack.seq + 1, stamped(2, value), b" later");
    engine.turn(&clock);
    let echoed: Vec<u8> = peer.segments_whole().into_iter().flat_map(|(_, _, payload)| payload).collect();
    assert_eq!(echoed, b"hello later");
    assert_eq!(happened(&engine, Happening::SynCookieAccepted), 1);
}

/// RFC 4987 appendix A: where nothing has overflowed lately, nobody's guess is looked at.
#[test]
fn cookies_are_taken_only_for_two_minutes_after_an_overflow() {
    let (mut engine, mut peer, clock) = flooded();
    let syn_ack = syn(&mut engine, &mut peer, &clock, Options::default());
    clock.advance(Duration::from_secs(129));
    peer.segment_from(5000, ACK, IRS + 1, syn_ack.seq + 1, Options::default(), &[]);
    engine.turn(&clock);
    let answers = peer.segments_whole();
    assert!(answers.iter().any(|(port, header, _)| *port == 5000 && header.flags == Flags::RST), "{answers:?}");
    assert_eq!((engine.core.drops.of(Drop::TcpListenIgnored), happened(&engine, Happening::SynCookieAccepted)), (1, 0));

    let (mut engine, mut peer, clock) = serve(Echo::default());
    peer.segment_from(5000, ACK, IRS + 1, SeqNum(77), Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!((peer.segments().len(), engine.core.drops.of(Drop::TcpListenIgnored)), (1, 1));
}

#[test]
fn without_cookies_a_syn_beyond_the_backlog_is_dropped() {
    let (mut engine, mut peer, clock) = flooded();
    engine.core.config.tcp.syn_cookies = false;
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!((peer.segments(), engine.core.drops.of(Drop::TcpBacklogFull)), (vec![], 1));
}

#[test]
fn a_half_open_connection_ends_after_its_syn_acks_and_makes_room() {
    let (mut engine, mut peer, clock) = flooded();
    let mut sent_again = 0;
    for _ in 0..100 {
        clock.advance(Duration::from_secs(1));
        engine.turn(&clock);
        sent_again += peer.segments().len();
    }
    assert_eq!((sent_again, engine.core.flows.len()), (2 * 5, 0), "five times each (tcp.syn_ack_retries)");
    assert_eq!(engine.core.listeners.at(0).map(|listener| listener.half_open), Some(0));
    syn(&mut engine, &mut peer, &clock, Options::default());
    assert_eq!(happened(&engine, Happening::SynCookieSent), 0);
}

/// Opens and closes a connection from a port of the peer's, which Ringway closes first.
fn to_time_wait<S: Service>(engine: &mut Engine<MemoryDevice, S>, peer: &mut Peer, clock: &ManualClock, port: u16) {
    peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(clock);
    let iss = peer.segments()[0].1;
    peer.segment_from(port, ACK, IRS + 1, iss + 1, Options::default(), &[]);
    engine.turn(clock);
    peer.segment_from(port, Flags::FIN | ACK, IRS + 1, iss + 2, Options::default(), &[]);
    engine.turn(clock);
    peer.segments();
}

/// Closes every connection at once.
#[derive(Default)]
struct Closer;

impl Service for Closer {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        cx.close(connection);
    }
}

#[test]
fn in_a_full_table_the_oldest_time_wait_gives_way() {
    let (mut engine, mut peer, clock) = serve_with(Closer, |tcp| tcp.connections = 4);
    for port in 1..=4 {
        to_time_wait(&mut engine, &mut peer, &clock, port);
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(engine.core.count_states(), (0, 4));
    to_time_wait(&mut engine, &mut peer, &clock, 5);
    assert_eq!(engine.core.count_states(), (0, 4));
    let ports: Vec<u16> = engine.core.flows.iter().map(|(_, flow)| flow.key.remote_port).collect();
    assert!(!ports.contains(&1) && ports.contains(&5), "{ports:?}");
    assert_eq!(engine.core.tally.of(Happening::TimeWaitCutShort), 1);
    assert_eq!(engine.core.drops.of(Drop::TcpTableFull), 0);
}

#[test]
fn a_syn_alone_ends_no_time_wait() {
    let (mut engine, mut peer, clock) = serve_with(Closer, |tcp| tcp.connections = 4);
    (1..=4).for_each(|port| to_time_wait(&mut engine, &mut peer, &clock, port));
    for port in 100..150 {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
        engine.turn(&clock);
        assert_eq!(peer.segments().len(), 1, "each is answered");
    }
    assert_eq!(engine.core.count_states(), (0, 4));
    assert_eq!((engine.core.tally.of(Happening::TimeWaitCutShort), engine.core.tally.of(Happening::SynCookieSent)), (0, 50));

    engine.core.config.tcp.syn_cookies = false;
    to_time_wait(&mut engine, &mut peer, &clock, 200);
    assert_eq!((engine.core.count_states(), engine.core.tally.of(Happening::TimeWaitCutShort)), ((0, 4), 1), "as before");
}

#[test]
fn a_syn_beyond_the_backlog_ends_no_time_wait_without_cookies() {
    let (mut engine, mut peer, clock) = serve_with(Closer, |tcp| {
        tcp.connections = 4;
        tcp.backlog = 1;
        tcp.syn_cookies = false;
    });
    (1..=3).for_each(|port| to_time_wait(&mut engine, &mut peer, &clock, port));
    for port in [4, 5] {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    }
    engine.turn(&clock);
    assert_eq!((engine.core.count_states(), engine.core.drops.of(Drop::TcpBacklogFull)), ((1, 3), 1));
    assert_eq!(engine.core.tally.of(Happening::TimeWaitCutShort), 0);
}

/// Closes every connection at once, and reads nothing.
#[derive(Default)]
struct Hoarder;

impl Service for Hoarder {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        cx.close(connection);
    }

    fn data(&mut self, _: &mut impl Context, _: Connection, _: &[u8]) -> usize {
        0
    }
}

/// Those in TIME-WAIT whose service has not read everything cannot give way: they leave the table as scarce as others do.
#[test]
fn a_time_wait_that_is_still_read_makes_no_room() {
    let (mut engine, mut peer, clock) = serve_with(Hoarder, |tcp| tcp.connections = 32);
    for port in 1..=31 {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
        engine.turn(&clock);
        let iss = peer.segments()[0].1;
        peer.segment_from(port, ACK, IRS + 1, iss + 1, Options::default(), &[]);
        engine.turn(&clock);
        peer.segment_from(port, Flags::FIN | ACK, IRS + 1, iss + 2, Options::default(), b"unread");
        engine.turn(&clock);
        peer.segments();
    }
    assert_eq!(engine.core.count_states(), (0, 31));
    peer.segment_from(100, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!((engine.core.count_states(), engine.core.tally.of(Happening::SynCookieSent)), ((0, 31), 1));
}

/// Whoever has seen the ACK of a cookie, with the request in it, cannot have the request served again once the connection is over.
#[test]
fn a_cookie_opens_one_connection() {
    let (mut engine, mut peer, clock) = flooded();
    let syn_ack = syn(&mut engine, &mut peer, &clock, Options::default());
    let request = |peer: &mut Peer| {
        peer.segment_from(5000, ACK | Flags::PSH, IRS + 1, syn_ack.seq + 1, Options::default(), b"transfer");
    };
    request(&mut peer);
    engine.turn(&clock);
    assert_eq!(peer.segments_whole()[0].2, b"transfer");
    // The peer closes first: nothing of the connection stays.
    peer.segment_from(5000, Flags::FIN | ACK, IRS + 9, syn_ack.seq + 9, Options::default(), &[]);
    engine.turn(&clock);
    peer.segment_from(5000, ACK, IRS + 10, syn_ack.seq + 10, Options::default(), &[]);
    engine.turn(&clock);
    peer.segments();
    assert_eq!(engine.core.flows.len(), 2);
    request(&mut peer);
    engine.turn(&clock);
    assert_eq!(peer.segments(), [(Flags::RST, syn_ack.seq + 1, SeqNum(0))]);
    assert_eq!((engine.core.flows.len(), engine.core.drops.of(Drop::TcpCookieInvalid)), (2, 1));
    // The next one of the same peer is another matter.
    peer.segment_from(5000, Flags::SYN, IRS + 500, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    let again = peer.segments()[0].1;
    peer.segment_from(5000, ACK | Flags::PSH, IRS + 501, again + 1, Options::default(), b"another");
    engine.turn(&clock);
    assert_eq!(peer.segments_whole()[0].2, b"another");
    assert_eq!(happened(&engine, Happening::SynCookieAccepted), 2);
}

#[test]
fn a_table_full_of_live_connections_refuses() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |tcp| tcp.connections = 2);
    for port in 1..=3 {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    }
    engine.turn(&clock);
    assert_eq!((peer.segments().len(), engine.core.drops.of(Drop::TcpTableFull)), (2, 1));
    assert!(engine.core.flows.iter().all(|(_, flow)| flow.tcb.state() == State::SynReceived));
}

/// The last slots of the table are for handshakes that have been completed, whatever the backlog would hold.
#[test]
fn when_the_table_is_nearly_full_syns_get_cookies() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |tcp| tcp.connections = 32);
    let mut answers = Vec::new();
    for port in 1..=40 {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
        engine.turn(&clock);
        answers.extend(peer.segments_whole());
    }
    assert_eq!((answers.len(), engine.core.flows.len()), (40, 31));
    assert_eq!(happened(&engine, Happening::SynCookieSent), 9);
    let (port, cookie, _) = &answers[39];
    peer.segment_from(*port, ACK, IRS + 1, cookie.seq + 1, Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!((happened(&engine, Happening::SynCookieAccepted), engine.core.flows.len()), (1, 32));
}
