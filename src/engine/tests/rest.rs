//! Connections that rest: what is kept of them, and what ends the rest.

use super::notices::about_packet_to;
use super::wire::{PEER, Peer, serve_with};
use super::*;
use crate::demux::SlotId;
use crate::engine::change::Change;
use crate::link::pmtu::Path;
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::{Flags, Options};

const IRS: SeqNum = SeqNum(u32::MAX - 1);
const ACK: Flags = Flags::ACK;

fn all_options(value: u32) -> Options {
    let (mss, window_scale, timestamps) = (Some(1460), Some(7), Some((value, 0)));
    Options { mss, window_scale, sack_permitted: true, timestamps, ..Options::default() }
}

fn stamped(value: u32, echo: u32) -> Options {
    Options { timestamps: Some((value, echo)), ..Options::default() }
}

/// Turns the engine every five milliseconds, when hours pass more rarely.
fn pass(engine: &mut Engine<MemoryDevice, Echo>, clock: &ManualClock, ms: u64) {
    let step = (ms / 1000).max(5);
    for _ in 0..ms / step {
        clock.advance(Duration::from_millis(step));
        engine.turn(clock);
    }
}

/// A request at these numbers, and its acknowledged echo; the timestamp that came with it.
fn exchange(
    engine: &mut Engine<MemoryDevice, Echo>,
    peer: &mut Peer,
    clock: &ManualClock,
    seq: SeqNum,
    ack: SeqNum,
    options: Options,
) -> u32 {
    peer.segment_from(5000, ACK | Flags::PSH, seq, ack, options, b"hello");
    engine.turn(clock);
    let answers = peer.segments_whole();
    let (_, echoed, payload) = &answers[0];
    assert_eq!((payload.as_slice(), echoed.seq, echoed.ack), (&b"hello"[..], ack, seq + 5));
    let (value, echo) = echoed.options.timestamps.expect("they were agreed on");
    assert_eq!(Some(echo), options.timestamps.map(|(value, _)| value));
    clock.advance(Duration::from_micros(100));
    peer.segment_from(5000, ACK, seq + 5, ack + 5, stamped(echo, value), &[]);
    engine.turn(clock);
    assert_eq!(peer.segments(), []);
    value
}

#[test]
fn an_idle_connection_is_laid_down_and_gets_up_for_the_next_request() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |tcp| tcp.keepalive = true);
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), all_options(1), &[]);
    engine.turn(&clock);
    let syn_ack = peer.segments_whole()[0].1;
    let value = syn_ack.options.timestamps.expect("they were asked for").0;
    let (seq, ack) = (IRS + 1, syn_ack.seq + 1);
    clock.advance(Duration::from_micros(100));
    let value = exchange(&mut engine, &mut peer, &clock, seq, ack, stamped(2, value));
    assert_eq!(engine.core.flows.whole(), 1, "it has just been used");
    let armed: Vec<_> = engine.core.flows.iter().map(|(_, flow)| flow.timer).collect();
    assert_eq!(armed, [None], "the tail of the answer needs no probe any more, and the look comes before any other deadline");
    pass(&mut engine, &clock, 405);
    assert_eq!((engine.core.flows.whole(), engine.core.flows.len()), (0, 1), "two retransmission timeouts later");
    assert_eq!(engine.core.directory.reader().cards().count(), 1);

    exchange(&mut engine, &mut peer, &clock, seq + 5, ack + 5, stamped(500, value));
    assert_eq!(engine.core.flows.whole(), 1);
    pass(&mut engine, &clock, 10_000);
    assert_eq!((engine.core.flows.whole(), peer.segments()), (0, vec![]));
    assert_eq!((engine.core.wheel.len(), engine.report().tcp.resting), (1, 1), "the keep-alive timer");
    assert!(engine.core.next_deadline().since(clock.now()) > Duration::from_secs(3600), "nothing wakes the engine before");

    // It is asked whether it is there, and answers nothing; then it ends.
    pass(&mut engine, &clock, 7_200_000);
    let asked = peer.segments();
    assert_eq!(asked, [(ACK, ack + 9, seq + 10)], "a keep-alive");
    pass(&mut engine, &clock, 405);
    assert_eq!((engine.core.flows.whole(), engine.core.flows.len()), (0, 1), "it is at rest between two of them");
    peer.segment_from(5000, Flags::FIN | ACK, seq + 10, ack + 10, stamped(7_201_000, value), &[]);
    engine.turn(&clock);
    let fin = peer.segments_whole().into_iter().find(|(_, header, _)| header.flags.contains(Flags::FIN)).expect("a FIN").1;
    peer.segment_from(5000, ACK, seq + 11, fin.seq + 1, stamped(7_201_000, value), &[]);
    engine.turn(&clock);
    assert_eq!((engine.core.flows.len(), engine.core.wheel.len(), engine.service().ended), (0, 0, 1));
    assert_no_frame_missing(&engine);
}

#[test]
fn a_half_open_connection_rests_until_its_acknowledgment_comes() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |_| {});
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), all_options(1), &[]);
    engine.turn(&clock);
    let first = peer.segments_whole()[0].1;
    pass(&mut engine, &clock, 205);
    assert_eq!((engine.core.flows.whole(), engine.core.flows.len()), (0, 1), "at the first look");
    pass(&mut engine, &clock, 2_295);
    assert_eq!((engine.core.flows.whole(), engine.core.flows.len()), (0, 1));
    let again = peer.segments_whole();
    assert_eq!((again.len(), again[0].1.seq, again[0].1.options.mss), (1, first.seq, Some(1460)), "its SYN-ACK was sent again");
    pass(&mut engine, &clock, 1_000);
    assert_eq!(peer.segments(), [(Flags::SYN | ACK, first.seq, IRS + 1)], "and once more from its rest");
    let value = again[0].1.options.timestamps.expect("they were asked for").0;
    exchange(&mut engine, &mut peer, &clock, IRS + 1, first.seq + 1, stamped(2, value));
    assert_eq!(engine.core.counters.tcp_established, 1);
    assert_eq!(engine.core.listeners.at(0).map(|listener| listener.half_open), Some(0));
}

#[test]
fn who_asks_for_those_awake_hears_of_each_once_and_of_none_at_rest() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |_| {});
    for port in 5000..5003 {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), all_options(1), &[]);
    }
    engine.turn(&clock);
    let ours: Vec<_> = peer.segments().iter().map(|&(_, seq, _)| seq).collect();
    let first = engine.core.awake(0, 2);
    let second = engine.core.awake(first.next.expect("there is one more"), 64);
    assert_eq!((first.connections.len(), second.connections.len(), second.next), (2, 1, None));
    let told = [first.connections, second.connections].concat();
    let mut slots: Vec<_> = told.iter().map(|(id, _)| id.slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
    assert!(told.iter().all(|(_, figures)| figures.rcv_nxt == IRS + 1 && ours.contains(&figures.snd_una)), "{told:?}");
    pass(&mut engine, &clock, 205);
    assert!(engine.core.awake(0, 64).connections.is_empty(), "they have been laid down, and their places are spare");
    peer.segment_from(5001, Flags::SYN, IRS, SeqNum(0), all_options(1), &[]);
    engine.turn(&clock);
    let awake = engine.core.awake(0, 64).connections;
    assert_eq!(awake.iter().map(|(id, _)| id.slot).collect::<Vec<_>>(), [1], "the one that was woken");
}

/// A connection at rest, our number of what it sends next, and what it is called.
fn at_rest(engine: &mut Engine<MemoryDevice, Echo>, peer: &mut Peer, clock: &ManualClock) -> (SeqNum, SlotId) {
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), all_options(1), &[]);
    engine.turn(clock);
    let syn_ack = peer.segments_whole()[0].1;
    let value = syn_ack.options.timestamps.expect("they were asked for").0;
    clock.advance(Duration::from_micros(100));
    exchange(engine, peer, clock, IRS + 1, syn_ack.seq + 1, stamped(2, value));
    pass(engine, clock, 405);
    assert_eq!(engine.core.flows.whole(), 0);
    let id = engine.core.flows.glances().next().expect("it is there").id;
    (syn_ack.seq + 6, id)
}

/// Nothing else happens in the engine that would have it look.
#[test]
fn what_gets_up_without_a_reason_is_laid_down_again() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |_| {});
    let (next, _) = at_rest(&mut engine, &mut peer, &clock);
    let quoted = [7_u16.to_be_bytes(), 5000_u16.to_be_bytes()].concat();
    let quoted = [quoted.as_slice(), (next - 5).0.to_be_bytes().as_slice()].concat();
    peer.send(&about_packet_to(PEER, crate::wire::ipv4::PROTOCOL_TCP, 1, 0, 60, &quoted));
    engine.turn(&clock);
    assert_eq!(engine.core.flows.whole(), 1, "an error about it");
    pass(&mut engine, &clock, 405);
    assert_eq!(engine.core.flows.whole(), 0);
}

/// Its place is taken by connections that have gone; a timer stands for the look.
#[test]
fn who_finds_no_place_for_a_look_is_laid_down_all_the_same() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |tcp| tcp.keepalive = true);
    let (next, _) = at_rest(&mut engine, &mut peer, &clock);
    while engine.core.looks.add(SlotId { slot: 9, generation: 9 }, clock.now()) {}
    peer.segment_from(5000, ACK, IRS + 6, next, stamped(500, 0), &[]);
    engine.turn(&clock);
    assert_eq!(engine.core.flows.whole(), 1);
    pass(&mut engine, &clock, 405);
    assert_eq!(engine.core.flows.whole(), 0);
}

#[test]
fn what_has_changed_on_the_way_is_heard_after_the_rest() {
    for link in [true, false] {
        let (mut engine, mut peer, clock) = serve_with(Echo::default(), |_| {});
        let (next, id) = at_rest(&mut engine, &mut peer, &clock);
        if link {
            engine.core.links[0].interface.mtu = 600;
        } else {
            let path = Path { interface: 0, target: std::net::IpAddr::from(PEER).into() };
            engine.core.path_mtus.narrow(clock.now(), path, 600, true).expect("it is news");
        }
        engine.core.flows.forget_hop(id);
        assert_eq!(engine.core.flows.whole(), 0);
        peer.segment_from(5000, ACK | Flags::PSH, IRS + 6, next, stamped(500, 0), &[7; 1400]);
        engine.turn(&clock);
        peer.answer_arp();
        engine.turn(&clock);
        let sent: Vec<usize> = peer.segments_whole().iter().map(|(_, _, payload)| payload.len()).collect();
        assert_eq!(sent, [548, 548, 304], "link: {link}");
    }
}

#[test]
fn a_connection_that_cannot_be_laid_down_wakes_nobody() {
    let (mut engine, mut peer, clock) =
        serve_with(Echo::default(), |tcp| tcp.congestion = crate::tcp::congestion::Algorithm::Bbr);
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    peer.segment_from(5000, ACK, IRS + 1, iss + 1, Options::default(), &[]);
    engine.turn(&clock);
    pass(&mut engine, &clock, 5_000);
    assert_eq!((engine.core.flows.whole(), engine.core.wheel.len()), (1, 0));
}

/// Opens a connection from a port, and returns what our next segment acknowledges.
fn open_from(engine: &mut Engine<MemoryDevice, Echo>, peer: &mut Peer, clock: &ManualClock, port: u16) -> (SeqNum, SeqNum) {
    peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(clock);
    let (seq, ack) = (IRS + 1, peer.segments_whole()[0].1.seq + 1);
    peer.segment_from(port, ACK, seq, ack, Options::default(), &[]);
    engine.turn(clock);
    (seq, ack)
}

/// A byte there and back, acknowledged.
fn byte(engine: &mut Engine<MemoryDevice, Echo>, peer: &mut Peer, clock: &ManualClock, port: u16, at: &mut (SeqNum, SeqNum)) {
    peer.segment_from(port, ACK, at.0, at.1, Options::default(), b"x");
    engine.turn(clock);
    *at = (at.0 + 1, at.1 + 1);
    clock.advance(Duration::from_micros(100));
    peer.segment_from(port, ACK, at.0, at.1, Options::default(), &[]);
    engine.turn(clock);
    peer.segments();
}

#[test]
fn the_first_look_after_an_exchange_lays_down_though_its_end_came_after_its_begin() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |_| {});
    let mut at = open_from(&mut engine, &mut peer, &clock, 5000);
    pass(&mut engine, &clock, 1_000);
    assert_eq!(engine.core.flows.whole(), 0);
    byte(&mut engine, &mut peer, &clock, 5000, &mut at);
    // A second one, some time after the first, which asks for the look.
    pass(&mut engine, &clock, 30);
    byte(&mut engine, &mut peer, &clock, 5000, &mut at);
    pass(&mut engine, &clock, 195);
    assert_eq!(engine.core.flows.whole(), 1);
    pass(&mut engine, &clock, 10);
    assert_eq!(engine.core.flows.whole(), 0);
}

#[test]
fn a_connection_that_receives_is_not_laid_down_between_its_segments() {
    let (mut engine, mut peer, clock) = serve_with(Echo { mute: true, ..Echo::default() }, |_| {});
    let (mut seq, ack) = open_from(&mut engine, &mut peer, &clock, 5000);
    for _ in 0..20 {
        pass(&mut engine, &clock, 120);
        peer.segment_from(5000, ACK, seq, ack, Options::default(), b"x");
        engine.turn(&clock);
        seq += 1;
        assert_eq!(engine.core.flows.whole(), 1);
    }
}

/// Even while some go on, so that there always is a look to come.
#[test]
fn places_that_a_peak_has_left_are_given_back() {
    const PORTS: std::ops::Range<u16> = 5000..5600;
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |_| {});
    let mut at = (SeqNum(0), SeqNum(0));
    for port in PORTS {
        at = open_from(&mut engine, &mut peer, &clock, port);
    }
    assert_eq!((engine.core.flows.whole(), engine.core.flows.places()), (PORTS.len(), PORTS.len()));
    for _ in 0..20 {
        byte(&mut engine, &mut peer, &clock, PORTS.end - 1, &mut at);
        pass(&mut engine, &clock, 100);
    }
    assert_eq!((engine.core.flows.whole(), engine.core.flows.places()), (1, 1));
    pass(&mut engine, &clock, 1_000);
    assert_eq!((engine.core.flows.whole(), engine.core.flows.places()), (0, 0));
}

#[test]
fn a_connection_at_rest_keeps_what_it_began_with_when_the_configuration_changes() {
    let (mut engine, mut peer, clock) = serve_with(Echo::default(), |tcp| tcp.keepalive = true);
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), all_options(1), &[]);
    engine.turn(&clock);
    let syn_ack = peer.segments_whole()[0].1;
    let value = syn_ack.options.timestamps.expect("they were asked for").0;
    let (seq, ack) = (IRS + 1, syn_ack.seq + 1);
    clock.advance(Duration::from_micros(100));
    let value = exchange(&mut engine, &mut peer, &clock, seq, ack, stamped(2, value));
    pass(&mut engine, &clock, 405);
    assert_eq!(engine.core.flows.whole(), 0, "it is at rest");
    let mut config = engine.core.config;
    config.tcp = crate::tcp::Config {
        keepalive: false,
        keepalive_idle: Duration::from_secs(1),
        user_timeout: Duration::from_secs(5),
        receive_buffer: 16_384,
        rto_initial: Duration::from_secs(3),
        ..config.tcp
    };
    engine.core.change(Change::new(config, None));
    exchange(&mut engine, &mut peer, &clock, seq + 5, ack + 5, stamped(500, value));
    pass(&mut engine, &clock, 10_000);
    assert_eq!((engine.core.flows.whole(), peer.segments()), (0, vec![]), "it is laid down as before");
    pass(&mut engine, &clock, 7_200_000);
    assert_eq!(peer.segments(), [(ACK, ack + 9, seq + 10)], "its keep-alive");
    assert_no_frame_missing(&engine);
}
