//! Limits of a source and lists of prefixes, as a peer sees them, and the books behind them.

use std::sync::Arc;

use super::wire::{OUR_MAC, OURS, PEER, PEER_MAC, Peer, packet, serve, serve_with};
use super::*;
use crate::demux::admission::Prefixes;
use crate::device::{Drop, memory};
use crate::engine::flow::Counted;
use crate::link::interface::Cidr;
use crate::rng::Rng;
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_ICMP, PROTOCOL_UDP};
use crate::wire::tcp::{Flags, Options};
use crate::wire::udp;

const IRS: SeqNum = SeqNum(u32::MAX - 1);
const ACK: Flags = Flags::ACK;

/// Closes the connections of even ports at once, those of odd ones after their peers.
#[derive(Default)]
struct Closer {
    connected: u64,
}

impl Service for Closer {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.connected += 1;
        if cx.info(connection).is_some_and(|info| info.remote.port() % 2 == 0) {
            cx.close(connection);
        }
    }
}

type Server = Engine<MemoryDevice, Closer>;

fn server(set: impl FnOnce(&mut crate::tcp::Config)) -> (Server, Peer, ManualClock) {
    serve_with(Closer::default(), set)
}

/// A SYN; our ISS, when it is answered.
fn syn(engine: &mut Server, peer: &mut Peer, clock: &ManualClock, port: u16) -> Option<SeqNum> {
    peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(clock);
    let answers = peer.segments_whole();
    answers.iter().find(|(to, header, _)| *to == port && header.flags == Flags::SYN | ACK).map(|(_, header, _)| header.seq)
}

fn ack(engine: &mut Server, peer: &mut Peer, clock: &ManualClock, port: u16, iss: SeqNum) -> Vec<Flags> {
    peer.segment_from(port, ACK, IRS + 1, iss + 1, Options::default(), &[]);
    engine.turn(clock);
    peer.segments().into_iter().map(|(flags, ..)| flags).collect()
}

/// What the peer's address has: open, half open.
fn counted(engine: &Server) -> (u32, u32) {
    let entry = engine.core.admission.limits().expect("a limit").of(crate::demux::Address::from(PEER).into());
    (entry.open, entry.half_open)
}

/// The books say what the flows say.
fn assert_exact(engine: &Server) {
    let flows = &engine.core.flows;
    let count = |test: fn(&super::super::flow::Flow) -> bool| {
        flows.glances().filter(|flow| flows.with(flow.id, test) == Some(true)).count() as u32
    };
    let half_open = count(|flow| flow.half_open().is_some());
    let open =
        count(|flow| flow.half_open().is_none() && flow.listener.is_some() && flow.tcb.state() != crate::tcp::State::TimeWait);
    assert_eq!(counted(engine), (open, half_open));
    assert_eq!((count(|flow| flow.counted == Counted::Open), count(|flow| flow.counted == Counted::HalfOpen)), (open, half_open));
    let total = engine.core.admission.limits().expect("a limit").total();
    assert_eq!((total.open, total.half_open), (open, half_open), "and nobody else has any");
}

#[test]
fn a_source_with_its_share_is_refused_until_one_of_its_connections_ends() {
    let (mut engine, mut peer, clock) = server(|tcp| tcp.connections_per_source = 2);
    for port in [1001, 1003] {
        let iss = syn(&mut engine, &mut peer, &clock, port).expect("a SYN-ACK");
        ack(&mut engine, &mut peer, &clock, port, iss);
    }
    assert_eq!(counted(&engine), (2, 0));
    assert_eq!(syn(&mut engine, &mut peer, &clock, 1005), None);
    assert_eq!(engine.core.drops.of(Drop::TcpSourceFull), 1);
    peer.segment_from(1001, Flags::RST, IRS + 1, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!(counted(&engine), (1, 0));
    assert!(syn(&mut engine, &mut peer, &clock, 1005).is_some());
    assert_exact(&engine);
}

/// Nobody has shown that they come from this address: who does gets in.
#[test]
fn half_open_connections_in_a_sources_name_do_not_shut_it_out() {
    let (mut engine, mut peer, clock) = server(|tcp| tcp.connections_per_source = 2);
    for forged in [1001, 1003] {
        syn(&mut engine, &mut peer, &clock, forged);
    }
    let iss = syn(&mut engine, &mut peer, &clock, 5001).expect("a cookie");
    assert_eq!((counted(&engine), engine.core.tally.of(Happening::SynCookieSent)), ((0, 2), 1));
    ack(&mut engine, &mut peer, &clock, 5001, iss);
    assert_eq!((counted(&engine), engine.service().connected), ((1, 2), 1));
    assert_exact(&engine);
    // Without cookies there is no such way.
    engine.core.config.tcp.syn_cookies = false;
    assert_eq!(syn(&mut engine, &mut peer, &clock, 5003), None);
    assert_eq!(engine.core.drops.of(Drop::TcpSourceFull), 1);
}

/// The limit holds whichever way a handshake ends.
#[test]
fn a_handshake_that_ends_beyond_the_share_is_reset() {
    let (mut engine, mut peer, clock) = server(|tcp| tcp.connections_per_source = 1);
    let half_open = syn(&mut engine, &mut peer, &clock, 1001).expect("a SYN-ACK");
    let cookies = [5001, 5003].map(|port| syn(&mut engine, &mut peer, &clock, port).expect("a cookie"));
    assert!(ack(&mut engine, &mut peer, &clock, 5001, cookies[0]).is_empty());
    // A second cookie, and the connection that was half open: both are told.
    assert_eq!(ack(&mut engine, &mut peer, &clock, 5003, cookies[1]), [Flags::RST]);
    assert_eq!(ack(&mut engine, &mut peer, &clock, 1001, half_open), [Flags::RST]);
    assert_eq!((counted(&engine), engine.core.drops.of(Drop::TcpSourceFull)), ((1, 0), 2));
    assert_eq!((engine.service().connected, engine.core.counters.tcp_established), (1, 1), "the service has heard of one");
    assert_exact(&engine);
    assert_no_frame_missing(&engine);
}

#[test]
fn a_connection_in_time_wait_is_not_counted() {
    let (mut engine, mut peer, clock) = server(|tcp| tcp.connections_per_source = 1);
    for port in [1002, 1004, 1006] {
        let iss = syn(&mut engine, &mut peer, &clock, port).expect("a SYN-ACK");
        ack(&mut engine, &mut peer, &clock, port, iss);
        peer.segment_from(port, Flags::FIN | ACK, IRS + 1, iss + 2, Options::default(), &[]);
        engine.turn(&clock);
        peer.segments();
        assert_eq!(counted(&engine), (0, 0));
        assert_exact(&engine);
    }
    assert_eq!(engine.core.count_states(), (0, 3));
    // The next of the same ports takes the place of the old one, and is counted.
    peer.segment_from(1002, Flags::SYN, IRS + 100_000, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!((engine.core.counters.tcp_reopened, counted(&engine)), (1, (0, 1)));
    // Where it may not, the old one stays.
    peer.segment_from(1004, Flags::SYN, IRS + 100_000, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    assert_eq!((engine.core.counters.tcp_reopened, engine.core.drops.of(Drop::TcpSourceFull)), (1, 1));
    assert_eq!(engine.core.count_states(), (1, 2));
    assert_exact(&engine);
}

/// SYNs, acknowledgments, ends, resets, silence and stops in any order.
#[test]
fn the_books_are_exact_whatever_happens() {
    for seed in 0..40 {
        let most = 3;
        let (mut engine, mut peer, clock) = server(|tcp| {
            tcp.connections_per_source = most;
            tcp.connections = 8;
            tcp.backlog = 4;
            tcp.syn_cookies = seed % 4 != 0;
        });
        let mut rng = Rng::seeded(seed);
        let mut iss = [SeqNum(0); 12];
        let mut sent = [0_u32; 12];
        for _ in 0..400 {
            let n = (rng.next_u32() % 12) as usize;
            let port = 1001 + n as u16;
            let irs = IRS + sent[n];
            match rng.next_u32() % 8 {
                0..=2 => {
                    if rng.next_u32().is_multiple_of(4) {
                        sent[n] += 100_000;
                    }
                    peer.segment_from(port, Flags::SYN, IRS + sent[n], SeqNum(0), Options::default(), &[]);
                }
                3 | 4 => peer.segment_from(port, ACK, irs + 1, iss[n] + 1, Options::default(), &[]),
                5 => peer.segment_from(port, Flags::FIN | ACK, irs + 1, iss[n] + 1 + rng.next_u32() % 2, Options::default(), &[]),
                6 => peer.segment_from(port, ACK, irs + 2, iss[n] + 2, Options::default(), &[]),
                _ => match rng.next_u32() % 4 {
                    0 => clock.advance(Duration::from_secs(u64::from(rng.next_u32() % 40))),
                    _ => peer.segment_from(port, Flags::RST, irs + 1, SeqNum(0), Options::default(), &[]),
                },
            }
            engine.turn(&clock);
            for (to, header, _) in peer.segments_whole() {
                if header.flags == Flags::SYN | ACK {
                    iss[usize::from(to - 1001)] = header.seq;
                }
            }
            assert_exact(&engine);
            assert!(counted(&engine).0 <= most, "seed {seed}");
        }
        assert!(engine.service().connected > 0, "seed {seed}");
        engine.core.config.drain = Duration::ZERO;
        engine.drain(&clock).unwrap();
        assert_eq!(counted(&engine), (0, 0), "seed {seed}");
    }
}

#[test]
fn syns_beyond_a_sources_rate_are_dropped_and_those_beyond_all_get_cookies() {
    let (mut engine, mut peer, clock) = server(|tcp| tcp.syn_rate_per_source = 3);
    let answered = (0..10).filter(|port| syn(&mut engine, &mut peer, &clock, 1001 + port).is_some()).count();
    assert_eq!((answered, engine.core.drops.of(Drop::TcpSourceSynLimited)), (3, 7));
    clock.advance(Duration::from_millis(334));
    assert!(syn(&mut engine, &mut peer, &clock, 2001).is_some());

    let (mut engine, mut peer, clock) = server(|tcp| tcp.syn_rate = 3);
    let iss: Vec<_> = (0..10).map(|port| syn(&mut engine, &mut peer, &clock, 1001 + port).expect("an answer")).collect();
    assert_eq!((engine.core.flows.len(), engine.core.tally.of(Happening::SynCookieSent)), (3, 7));
    ack(&mut engine, &mut peer, &clock, 1010, iss[9]);
    assert_eq!(engine.core.flows.iter().filter(|(_, flow)| flow.tcb.state() != State::SynReceived).count(), 1);
    engine.core.config.tcp.syn_cookies = false;
    assert_eq!(syn(&mut engine, &mut peer, &clock, 2001), None);
    assert_eq!(engine.core.drops.of(Drop::TcpSynLimited), 1);
}

#[test]
fn without_limits_no_book_is_kept() {
    let (mut engine, mut peer, clock) = server(|_| {});
    let iss = syn(&mut engine, &mut peer, &clock, 1001).expect("a SYN-ACK");
    ack(&mut engine, &mut peer, &clock, 1001, iss);
    assert!(engine.core.admission.limits().is_none());
    assert!(engine.core.flows.iter().all(|(_, flow)| flow.counted == Counted::Not));
}

fn lists(allowed: &[&str], denied: &[&str]) -> Arc<Prefixes> {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Cidr>>();
    Arc::new(Prefixes::new(&read(allowed), &read(denied)).unwrap())
}

fn datagram(target_port: u16) -> Vec<u8> {
    let mut bytes = [&[0; 8], &b"hello"[..]].concat();
    let pseudo = PseudoHeader { source: PEER.into(), target: OURS.into(), protocol: PROTOCOL_UDP };
    udp::emit(&mut bytes, 5000, target_port, &pseudo);
    bytes
}

#[test]
fn who_is_kept_out_hears_nothing() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    engine.admit(lists(&[], &["10.0.0.1/32"]));
    peer.segment(Flags::SYN, IRS, SeqNum(0), &[]);
    peer.segment(ACK, IRS, SeqNum(9), &[]);
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &datagram(7)));
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &datagram(99)));
    let mut fragment = packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &[0; 16]);
    let whole = Ipv4::outgoing(PEER, OURS, PROTOCOL_UDP, 16);
    ipv4::emit(&mut fragment[14..], &Ipv4 { dont_fragment: false, more_fragments: true, identification: 7, ..whole });
    peer.send(&fragment);
    engine.turn(&clock);
    assert_eq!(peer.answers(), Vec::<Vec<u8>>::new());
    let drops = [Drop::TcpDenied, Drop::UdpDenied, Drop::FragmentDenied].map(|why| engine.core.drops.of(why));
    assert_eq!((drops, engine.core.drops.total()), ([2, 2, 1], 5));
    assert_eq!((engine.core.flows.len(), engine.core.reassembly.deadline()), (0, Instant::NEVER), "nothing is remembered");
    // A ping makes no state.
    let mut ping = vec![8, 0, 0, 0, 0, 1, 0, 1];
    let sum = crate::wire::checksum::checksum(&ping);
    ping[2..4].copy_from_slice(&sum.to_be_bytes());
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_ICMP, &ping));
    engine.turn(&clock);
    assert_eq!(peer.answers().len(), 1);
    // The longer prefix lets it in again.
    engine.admit(lists(&["10.0.0.1/32"], &["10.0.0.0/24"]));
    peer.segment(Flags::SYN, IRS, SeqNum(0), &[]);
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &datagram(7)));
    engine.turn(&clock);
    assert_eq!((peer.answers().len(), engine.core.flows.len()), (2, 1));
}

/// The lists say who may begin: whom a service speaks to itself is its own choice.
#[test]
fn a_connection_from_here_hears_its_peer() {
    let (left, right) = memory::cable(256);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", vec![7; 5000]));
    let mut server = engine(right, 2, Echo::default());
    client.admit(lists(&[], &["0.0.0.0/0", "::/0"]));
    server.start(&clock);
    client.start(&clock);
    for _ in 0..1000 {
        client.turn(&clock);
        server.turn(&clock);
        clock.advance(Duration::from_micros(10));
    }
    assert_eq!((client.service().got.len(), client.core.drops.of(Drop::TcpDenied)), (5000, 0));
}

/// Asks one peer, and is asked by all.
#[derive(Default)]
struct Asker {
    got: Vec<u16>,
}

impl Service for Asker {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(7.into()).unwrap();
        cx.connect_udp(9.into(), "10.0.0.1:5000".parse().unwrap()).unwrap();
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.got.push(datagram.meta().local.port());
        Answer::Ignore
    }
}

#[test]
fn an_endpoint_of_one_peer_hears_it() {
    let (mut engine, mut peer, clock) = serve(Asker::default());
    engine.admit(lists(&["192.0.2.0/24"], &[]));
    for port in [7, 9] {
        peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &datagram(port)));
    }
    engine.turn(&clock);
    assert_eq!((engine.service().got.as_slice(), engine.core.drops.of(Drop::UdpDenied)), (&[9][..], 1));
}
