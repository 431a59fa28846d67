//! The end of an engine: what it waits for, and what becomes of what comes meanwhile.

use super::wire::{Peer, serve, serve_with};
use super::*;
use crate::device::Drop;
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::{Flags, Options};

const IRS: SeqNum = SeqNum(u32::MAX - 1);
const ACK: Flags = Flags::ACK;

/// A clock that goes on a millisecond with every look.
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> Instant {
        self.0.set(self.0.get() + 1_000_000);
        Instant::from_ns(self.0.get())
    }
}

/// Closes a connection a while after a stop has begun, if at all.
#[derive(Default)]
struct Busy {
    /// Milliseconds of work that are left then; `None` for one that never ends.
    work_ms: Option<u64>,
    working: Option<Connection>,
    /// It closes each connection at once, stop or no stop.
    closes: bool,
    events: Vec<&'static str>,
}

impl Service for Busy {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.events.push(if cx.is_draining() { "connected late" } else { "connected" });
        if self.closes {
            cx.close(connection);
        }
    }

    fn drain(&mut self, cx: &mut impl Context, connection: Connection) {
        self.events.push("drain");
        self.working = Some(connection);
        if let Some(ms) = self.work_ms {
            cx.set_timer(cx.now() + Duration::from_millis(ms), 0).unwrap();
        }
    }

    fn timer(&mut self, cx: &mut impl Context, _: u64) {
        if let Some(connection) = self.working {
            cx.send(connection, b"done");
            cx.close(connection);
        }
    }

    fn closed(&mut self, _: &mut impl Context, _: Connection) {
        self.events.push("closed");
    }

    fn reset(&mut self, _: &mut impl Context, _: Connection, why: ResetReason) {
        self.events.push(why.name());
    }
}

/// A connection of a peer who will acknowledge nothing more by himself; our ISS.
fn open(engine: &mut Engine<MemoryDevice, Busy>, peer: &mut Peer, clock: &ManualClock) -> SeqNum {
    let iss = half_open(engine, peer, clock);
    peer.segment(ACK, IRS + 1, iss + 1, &[]);
    engine.turn(clock);
    iss
}

fn half_open(engine: &mut Engine<MemoryDevice, Busy>, peer: &mut Peer, clock: &ManualClock) -> SeqNum {
    peer.segment(Flags::SYN, IRS, SeqNum(0), &[]);
    engine.turn(clock);
    peer.segments()[0].1
}

/// Drains; how many milliseconds that took.
fn drained(engine: &mut Engine<MemoryDevice, Busy>, clock: &ManualClock) -> u64 {
    let ticking = Ticking(Cell::new(clock.now().as_ns()));
    let before = ticking.now();
    engine.drain(&ticking).unwrap();
    ticking.now().since(before).as_millis() as u64
}

#[test]
fn a_stop_waits_for_the_work_of_services_and_sends_what_it_came_to() {
    let (mut engine, mut peer, clock) = serve(Busy { work_ms: Some(300), ..Busy::default() });
    let iss = open(&mut engine, &mut peer, &clock);
    engine.core.config.drain = Duration::from_secs(1);
    let took = drained(&mut engine, &clock);
    assert!((1000..1200).contains(&took), "the peer never acknowledges: {took} ms");
    let segments = peer.segments_whole();
    let (_, header, payload) = segments.iter().find(|(_, _, payload)| !payload.is_empty()).expect("its word");
    assert_eq!((header.seq, payload.as_slice()), (iss + 1, &b"done"[..]));
    assert_eq!(segments.last().unwrap().1.flags, Flags::RST, "at the end of the time it is reset");
    assert_eq!(engine.service().events, ["connected", "drain", "aborted"]);
    assert_eq!(engine.core.count_states(), (0, 0));
    assert_no_frame_missing(&engine);
}

/// Says farewell to whom the engine knows nothing of.
#[derive(Default)]
struct Leaving {
    told: Vec<bool>,
}

impl Service for Leaving {
    type Message = ();

    fn stopping(&mut self, cx: &mut impl Context) {
        self.told.push(cx.is_draining());
        let from = cx.open_udp(5000.into()).unwrap();
        cx.send_to(from, "239.1.2.3:6000".parse().unwrap(), b"farewell").unwrap();
    }
}

#[test]
fn a_stop_is_told_once_to_a_service_without_connections_and_its_last_word_leaves() {
    let (mut engine, mut peer, clock) = serve(Leaving::default());
    peer.frames();
    engine.drain(&clock).unwrap();
    assert_eq!(engine.service().told, [true]);
    let left: Vec<_> = peer.answers().iter().map(|frame| frame[42..].to_vec()).collect();
    assert_eq!(left, [b"farewell"]);
    assert_no_frame_missing(&engine);
}

#[test]
fn a_connection_that_never_ends_is_reset_when_the_time_is_over_or_at_once() {
    for (drain_ms, least) in [(500, 500), (0, 0)] {
        let (mut engine, mut peer, clock) = serve(Busy::default());
        open(&mut engine, &mut peer, &clock);
        engine.core.config.drain = Duration::from_millis(drain_ms);
        let took = drained(&mut engine, &clock);
        assert!((least..least + 100).contains(&took), "{took} ms");
        let flags: Vec<_> = peer.segments().iter().map(|(flags, ..)| *flags).collect();
        assert_eq!(flags, [Flags::RST], "no FIN before");
        assert_eq!(engine.service().events, ["connected", "drain", "aborted"]);
        assert_no_frame_missing(&engine);
    }
}

#[test]
fn a_stop_with_nothing_open_takes_no_time_and_time_wait_holds_nothing_up() {
    let (mut engine, mut peer, clock) = serve(Busy { closes: true, ..Busy::default() });
    engine.core.config.drain = Duration::from_secs(10);
    let iss = open(&mut engine, &mut peer, &clock);
    peer.segment(Flags::FIN | ACK, IRS + 1, iss + 2, &[]);
    engine.turn(&clock);
    assert_eq!(engine.core.count_states(), (0, 1));
    let took = drained(&mut engine, &clock);
    assert!(took < 100, "{took} ms");
}

#[test]
fn while_it_stops_syns_and_late_acknowledgments_are_refused() {
    let (mut engine, mut peer, clock) = serve(Busy::default());
    open(&mut engine, &mut peer, &clock);
    engine.core.config.drain = Duration::from_millis(50);
    peer.segments();
    peer.segment_from(6000, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    drained(&mut engine, &clock);
    let refused: Vec<_> = peer.segments_whole().into_iter().filter(|(port, ..)| *port == 6000).collect();
    assert_eq!((refused[0].1.flags, refused[0].1.ack), (Flags::RST | ACK, IRS + 1), "as by a closed port");
    assert_eq!(engine.core.drops.of(Drop::TcpPortClosed), 1);
}

#[test]
fn a_handshake_under_way_may_end_and_its_service_is_told_both() {
    let (mut engine, mut peer, clock) = serve(Busy { work_ms: Some(1), ..Busy::default() });
    engine.core.config.drain = Duration::from_secs(3);
    let iss = half_open(&mut engine, &mut peer, &clock);
    peer.segment(ACK, IRS + 1, iss + 1, &[]);
    drained(&mut engine, &clock);
    assert_eq!(engine.service().events, ["connected late", "drain", "aborted"]);
    assert!(peer.segments_whole().iter().any(|(_, _, payload)| payload == b"done"));
}

#[test]
fn a_handshake_that_nobody_ends_holds_a_stop_up_for_a_second() {
    let (mut engine, mut peer, clock) = serve(Busy::default());
    engine.core.config.drain = Duration::from_secs(10);
    half_open(&mut engine, &mut peer, &clock);
    let took = drained(&mut engine, &clock);
    assert!((1000..1200).contains(&took), "{took} ms");
    assert!(engine.service().events.is_empty(), "{:?}", engine.service().events);
    assert_eq!(engine.core.count_states(), (0, 0));
}

#[test]
fn a_stop_tells_so_many_between_two_turns() {
    let (mut engine, mut peer, clock) = serve_with(Busy::default(), |tcp| tcp.connections = 8192);
    for port in 1..=5000 {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
        engine.turn(&clock);
        let iss = peer.segments()[0].1;
        peer.segment_from(port, ACK, IRS + 1, iss + 1, Options::default(), &[]);
        engine.turn(&clock);
    }
    for _ in 0..200 {
        clock.advance(Duration::from_millis(5));
        engine.turn(&clock);
    }
    assert_eq!((engine.core.flows.whole(), engine.core.flows.len()), (0, 5000), "all are at rest");
    let told = |engine: &Engine<MemoryDevice, Busy>| engine.service().events.iter().filter(|event| **event == "drain").count();
    engine.core.stopping = true;
    engine.begin_drain();
    assert!(engine.go_on_draining());
    assert_eq!((told(&engine), engine.core.flows.whole()), (4096, 0), "nobody gets up who does nothing");
    // One that comes through its handshake meanwhile is told once, whether its slot has been passed or not.
    for (late, id) in [(0, 0), (1, 4999)] {
        let id = engine.core.flows.id_at(id).expect("it is there");
        engine.drain_late(id);
        assert_eq!(told(&engine), 4097, "{late}");
    }
    assert!(!engine.go_on_draining());
    assert_eq!(told(&engine), 5001);
}

/// The look goes on from where it waited last, and once round.
#[test]
fn a_stop_waits_for_each_connection_wherever_it_lies() {
    let (mut engine, mut peer, clock) = serve(Busy::default());
    let accept = |engine: &mut Engine<MemoryDevice, Busy>, peer: &mut Peer, port| {
        peer.segment_from(port, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
        engine.turn(&clock);
        let iss = peer.segments()[0].1;
        peer.segment_from(port, ACK, IRS + 1, iss + 1, Options::default(), &[]);
        engine.turn(&clock);
    };
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        (1001..1004).for_each(|port| accept(&mut engine, &mut peer, port));
        let ids: Vec<_> = engine.core.flows.iter().map(|(id, _)| id).collect();
        let mut remaining = engine.begin_drain();
        for slot in order {
            assert!(engine.core.holds_up_stop(&mut remaining), "{order:?}");
            engine.core.remove_flow(ids[slot]);
        }
        assert!(!engine.core.holds_up_stop(&mut remaining), "{order:?}");
        accept(&mut engine, &mut peer, 1004);
        assert!(engine.core.holds_up_stop(&mut remaining), "one in a slot that was passed");
        let id = engine.core.flows.iter().next().expect("it is there").0;
        engine.core.remove_flow(id);
    }
}
