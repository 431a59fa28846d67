//! Two engines on one cable.

use std::time::Duration;

use super::*;
use crate::device::memory;
use crate::limits;
use crate::rng::Rng;

/// Turns both engines in step until neither finds work for a while, or the time is up.
pub(super) fn play<A: Service, B: Service>(
    clock: &ManualClock,
    a: &mut Engine<MemoryDevice, A>,
    b: &mut Engine<MemoryDevice, B>,
    span: Duration,
) {
    let end = clock.now() + span;
    while clock.now() < end {
        a.turn(clock);
        b.turn(clock);
        clock.advance(Duration::from_micros(10));
    }
}

fn bytes(count: usize) -> Vec<u8> {
    let mut rng = Rng::seeded(9);
    (0..count).map(|_| rng.next_u32() as u8).collect()
}

#[test]
fn a_stream_comes_back_whole_and_nothing_is_left() {
    let (left, right) = memory::cable(1024);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", bytes(3_000_000)));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_secs(2));
    assert_eq!(client.service().events, ["connected", "peer_closed", "closed"]);
    assert!(client.service().got == client.service().to_send, "{} bytes came back", client.service().got.len());
    assert_eq!(server.service().ended, 1);
    assert_eq!(client.core.count_states(), (0, 1), "the side that closed first waits 2 MSL");
    assert_eq!(client.core.flows.whole(), 0, "at rest");
    assert_eq!(server.core.count_states(), (0, 0));
    assert_eq!((client.core.pool.in_use(), server.core.pool.in_use()), (0, 0));
    assert_no_frame_missing(&client);
    assert_no_frame_missing(&server);
    // 2 MSL later TIME-WAIT is over, and with it the last timer and the last entry of the directory.
    clock.advance(2 * client.core.config.tcp.msl);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    assert_eq!(client.core.count_states(), (0, 0));
    assert!(client.core.directory.is_empty() && server.core.directory.is_empty());
    assert!(server.core.wheel.is_empty());
}

#[test]
fn a_closed_port_refuses_and_a_silent_neighbor_is_unreachable() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:9", vec![1]));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    assert_eq!(client.service().events, ["refused"]);

    let (left, right) = memory::cable(64);
    let mut client = engine(left, 1, Talker::new("10.0.0.77:9", vec![1]));
    let mut server = engine(right, 2, Echo::default());
    client.start(&clock);
    for _ in 0..60 {
        play(&clock, &mut client, &mut server, Duration::from_millis(1));
        clock.advance(Duration::from_millis(99));
    }
    assert_eq!(client.service().events, ["unreachable"]);
    assert_eq!(client.core.count_states(), (0, 0));
    assert_no_frame_missing(&client);
}

/// RFC 1122 2.3.2.2: the first packet to a neighbour nobody has heard of waits for one question, which is sent at once.
#[test]
fn a_neighbor_never_heard_of_is_asked_at_once() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:9", vec![1]));
    // It listens nowhere, but it answers ARP, and the SYN with a reset. Its announcements go unheard.
    let mut server = engine(right, 2, Echo::default());
    server.core.begin_addresses();
    server.core.serving = true;
    server.core.ports[0].device.flush();
    let mut unheard = Vec::new();
    let device = &mut client.core.ports[0].device;
    assert_eq!(device.receive(&mut unheard, 64), 2);
    unheard.drain(..).for_each(|frame| device.recycle(frame));
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    assert_eq!(client.service().events, ["refused"]);
    assert_eq!(client.core.counters.arp_requests, 1);
}

#[test]
fn a_stop_ends_connections_in_order_and_tells_the_peer() {
    let (left, right) = memory::cable(256);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", bytes(100)));
    client.service_mut().sent = 0;
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    for _ in 0..3 {
        client.turn(&clock);
        server.turn(&clock);
        clock.advance(Duration::from_micros(10));
    }
    server.core.config.drain = Duration::from_millis(0);
    server.drain(&clock).unwrap();
    play(&clock, &mut client, &mut server, Duration::from_millis(5));
    assert_eq!(server.core.count_states().0, 0);
    assert_no_frame_missing(&server);
    assert!(client.service().events.last().is_some_and(|last| ["reset", "closed", "refused"].contains(last)));
}

#[test]
fn messages_of_other_threads_arrive() {
    let (left, _right) = memory::cable(16);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", vec![]));
    let mailbox = client.mailbox();
    std::thread::spawn(move || mailbox.send("hello").unwrap()).join().unwrap();
    client.turn(&clock);
    assert_eq!(client.service().events, ["hello"]);
}

/// Keeps every datagram and answers it at the next timer.
#[derive(Default)]
struct Later {
    held: Vec<u64>,
    seen: u64,
}

impl Service for Later {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(9.into()).unwrap();
    }

    fn datagram(&mut self, _: &mut impl Context, _: &mut Datagram<'_>) -> Answer {
        self.seen += 1;
        self.held.push(self.seen);
        Answer::Keep { token: self.seen }
    }

    fn timer(&mut self, cx: &mut impl Context, _: u64) {
        for token in self.held.drain(..) {
            if token % 2 == 0 {
                cx.release_kept(token);
            } else {
                let answer = format!("later {}", cx.kept(token).unwrap().len());
                cx.reply_kept(token, |room| {
                    room[..answer.len()].copy_from_slice(answer.as_bytes());
                    answer.len()
                })
                .unwrap();
            }
        }
    }
}

/// Sends datagrams and keeps what comes back.
#[derive(Default)]
struct Asker {
    got: Vec<Vec<u8>>,
}

impl Service for Asker {
    type Message = usize;

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(5000.into()).unwrap();
    }

    fn message(&mut self, cx: &mut impl Context, len: usize) {
        let endpoint = crate::service::EndpointId(0);
        cx.send_to(endpoint, "10.0.0.2:9".parse().unwrap(), &vec![b'x'; len]).unwrap();
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.got.push(datagram.payload().to_vec());
        Answer::Ignore
    }
}

#[test]
fn kept_datagrams_are_answered_later_and_beyond_a_quarter_of_the_frames_copied() {
    let (left, right) = memory::cable(32);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Asker::default());
    let mut server = engine(right, 2, Later::default());
    server.start(&clock);
    client.start(&clock);
    for len in 1..=10 {
        client.mailbox().send(len).unwrap();
        play(&clock, &mut client, &mut server, Duration::from_micros(100));
    }
    assert_eq!((server.core.kept.len(), server.core.kept.frames()), (10, 8));
    assert_eq!(server.core.counters.udp_copies, 2);
    server.core.set_timer(clock.now(), 0).unwrap();
    play(&clock, &mut client, &mut server, Duration::from_micros(100));
    let expected: Vec<Vec<u8>> = [1, 3, 5, 7, 9].iter().map(|len| format!("later {len}").into_bytes()).collect();
    assert_eq!(client.service().got, expected);
    assert_eq!((server.core.kept.len(), server.core.kept.frames()), (0, 0));
    assert_no_frame_missing(&server);
    assert_no_frame_missing(&client);
}

#[test]
fn a_service_cannot_take_the_timers_of_connections() {
    let (left, _right) = memory::cable(16);
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", vec![]));
    let core = &mut client.core;
    let first = core.set_timer(Instant::from_ns(1), 0).unwrap();
    while core.set_timer(Instant::from_ns(1), 0).is_ok() {}
    assert_eq!(core.tokens.len(), crate::limits::SERVICE_TIMERS);
    assert_eq!(core.set_timer(Instant::from_ns(1), 0), Err(crate::service::CallError::TableFull));
    core.cancel_timer(first);
    core.cancel_timer(first);
    assert!(core.set_timer(Instant::from_ns(1), 0).is_ok());
    let clock = ManualClock::default();
    client.start(&clock);
    client.turn(&clock);
    // The look at what was begun comes first, and arms it.
    clock.advance(Duration::from_millis(201));
    client.turn(&clock);
    assert_eq!(client.core.flows.iter().filter(|(_, flow)| flow.timer.is_some()).count(), 1, "the SYN has its timer");
}

/// Pauses each connection as it opens, closes it when told, and reads when told.
#[derive(Default)]
pub(super) struct Sleeper {
    connection: Option<Connection>,
    pub(super) got: Vec<u8>,
    pub(super) events: Vec<&'static str>,
}

impl Service for Sleeper {
    type Message = &'static str;

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        cx.pause(connection);
        self.connection = Some(connection);
    }

    fn data(&mut self, _: &mut impl Context, _: Connection, bytes: &[u8]) -> usize {
        self.got.extend_from_slice(bytes);
        bytes.len()
    }

    fn peer_closed(&mut self, _: &mut impl Context, _: Connection) {
        self.events.push("peer_closed");
    }

    fn closed(&mut self, _: &mut impl Context, _: Connection) {
        self.events.push("closed");
    }

    fn reset(&mut self, _: &mut impl Context, _: Connection, why: ResetReason) {
        assert_eq!(why, ResetReason::Aborted);
        self.events.push("aborted");
    }

    fn message(&mut self, cx: &mut impl Context, message: &'static str) {
        let connection = self.connection.unwrap();
        if message == "close" { cx.close(connection) } else { cx.resume(connection) }
    }
}

#[test]
fn a_paused_service_reads_everything_even_after_both_ends_have_closed() {
    let (left, right) = memory::cable(128);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", bytes(5000)));
    let mut server = engine(right, 2, Sleeper::default());
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(60));
    server.mailbox().send("close").unwrap();
    play(&clock, &mut client, &mut server, Duration::from_millis(60));
    assert_eq!(client.service().events, ["connected", "peer_closed", "closed"]);
    assert!(server.service().got.is_empty() && server.service().events.is_empty());
    server.mailbox().send("resume").unwrap();
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    assert!(server.service().got == client.service().to_send);
    assert_eq!(server.service().events, ["peer_closed", "closed"]);
    assert_eq!(server.core.count_states(), (0, 0));
    assert_eq!(server.core.pool.in_use(), 0);
}

#[test]
fn the_first_connection_waits_for_the_neighbor_and_for_nothing_else() {
    let (left, right) = memory::cable(128);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", bytes(10)));
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    // The server's announcement is long gone when the client comes up.
    server.turn(&clock);
    client.turn(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_micros(100));
    assert_eq!(client.service().events.first(), Some(&"connected"));
    assert_eq!((client.core.counters.arp_requests, server.core.counters.arp_replies), (1, 1));
}

/// Connects and closes before anything can have come back.
#[derive(Default)]
struct Hasty {
    events: Vec<ResetReason>,
}

impl Service for Hasty {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        let connection = cx.connect("10.0.0.2:7".parse().unwrap(), Connect::default()).unwrap();
        cx.close(connection);
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        assert!(cx.info(connection).is_none(), "the id is stale");
        self.events.push(why);
    }
}

#[test]
fn an_attempt_to_connect_that_is_closed_ends_with_one_call() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Hasty::default());
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(1));
    assert_eq!(client.service().events, [ResetReason::Aborted]);
    assert_eq!(client.core.count_states(), (0, 0));
    assert!(client.core.directory.is_empty());
    assert_no_frame_missing(&client);
}

#[test]
fn a_stop_tells_of_every_connection() {
    // One that is still being made ...
    let (left, _right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Talker::new("10.0.0.77:7", vec![]));
    client.core.config.drain = Duration::ZERO;
    client.start(&clock);
    client.turn(&clock);
    client.drain(&clock).unwrap();
    assert_eq!(client.service().events, ["aborted"]);
    assert_no_frame_missing(&client);

    // ... and one that is over but for what its service has not read.
    let (left, right) = memory::cable(128);
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", bytes(50)));
    let mut server = engine(right, 2, Sleeper::default());
    server.core.config.drain = Duration::ZERO;
    server.start(&clock);
    client.start(&clock);
    play(&clock, &mut client, &mut server, Duration::from_millis(60));
    server.mailbox().send("close").unwrap();
    play(&clock, &mut client, &mut server, Duration::from_millis(60));
    server.drain(&clock).unwrap();
    assert_eq!(server.service().events, ["aborted"]);
    assert_eq!((server.core.count_states(), server.core.pool.in_use()), ((0, 0), 0));
}

/// Asks for its timer again, for now, whenever it expires.
#[derive(Default)]
struct Restless {
    calls: u32,
}

impl Service for Restless {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.set_timer(cx.now(), 0).unwrap();
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        self.calls += 1;
        assert!(self.calls < 1000, "the turn does not end");
        cx.set_timer(cx.now(), token).unwrap();
    }
}

#[test]
fn a_timer_that_is_always_due_does_not_hold_up_the_turn() {
    let (left, _right) = memory::cable(16);
    let clock = ManualClock::default();
    // On a tick of the wheel a deadline of now is due at once.
    clock.advance(Duration::from_nanos(1 << 20));
    let mut engine = engine(left, 1, Restless::default());
    engine.start(&clock);
    engine.turn(&clock);
    let first = engine.service().calls;
    engine.turn(&clock);
    assert!((1..engine.service().calls).contains(&first), "it goes on in the next turn");
}

//= type=test
//= rfc9293#3.9.1.1
//# A TCP implementation MUST reject as an error a local OPEN call for an invalid remote IP address (e.g., a broadcast or
//# multicast address) (MUST-46).
#[test]
fn a_connection_to_many_is_refused() {
    let (left, _right) = memory::cable(16);
    let mut client = engine(left, 1, Talker::new("10.0.0.2:7", vec![]));
    for target in ["10.0.0.255:7", "255.255.255.255:7", "224.0.0.1:7"] {
        let refused = client.core.connect(target.parse().unwrap(), Connect::default());
        assert_eq!(refused, Err(crate::service::CallError::NoRoute), "{target}");
    }
}

/// Says a byte every half second.
#[derive(Default)]
struct Metronome(Option<Connection>);

impl Service for Metronome {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.connect("10.0.0.2:7".parse().unwrap(), Connect::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.0 = Some(connection);
        self.timer(cx, 0);
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        cx.send(self.0.unwrap(), b"tick");
        cx.set_timer(cx.now() + Duration::from_millis(500), token).unwrap();
    }
}

#[test]
fn a_neighbor_that_carries_a_connection_is_not_asked_again() {
    let (left, right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Metronome::default());
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    server.turn(&clock);
    client.turn(&clock);
    client.start(&clock);
    for _ in 0..15_000 {
        client.turn(&clock);
        server.turn(&clock);
        clock.advance(Duration::from_millis(10));
    }
    assert!(clock.now().as_ns() > 2 * crate::time::span_ns(client.core.config.neighbor_expiry));
    assert!(client.core.counters.tcp_sent > 250);
    assert_eq!(client.core.counters.arp_requests, 1);
}

/// Serves as many bytes as the windows take to each of its connections at once, when it is told to.
#[derive(Debug, Default)]
struct Burst {
    open: Vec<Connection>,
}

impl Service for Burst {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, _: &mut impl Context, connection: Connection) {
        self.open.push(connection);
    }

    fn message(&mut self, cx: &mut impl Context, (): ()) {
        for &connection in &self.open {
            cx.send(connection, &[7; 14_600]);
        }
    }
}

/// Opens sixteen connections and listens.
#[derive(Debug)]
struct Sixteen;

impl Service for Sixteen {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        for _ in 0..16 {
            cx.connect("10.0.0.2:7".parse().unwrap(), Connect::default()).unwrap();
        }
    }

    fn data(&mut self, _: &mut impl Context, _: Connection, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

/// Sixteen windows of ten segments are ready. While nothing has come all leave in one turn; when acknowledgments wait in the ring, which holds
/// so many and no more, a turn sends a burst and looks at them first.
#[test]
fn who_has_sent_a_burst_looks_at_what_has_come_before_the_next() {
    for (waiting, most) in [(false, 160), (true, limits::BURST as u64 + 10)] {
        let (left, right) = memory::cable(1024);
        let clock = ManualClock::default();
        let mut client = engine(left, 1, Sixteen);
        let mut server = engine(right, 2, Burst::default());
        server.start(&clock);
        client.start(&clock);
        play(&clock, &mut client, &mut server, Duration::from_millis(5));
        assert_eq!(server.service().open.len(), 16);
        server.mailbox().send(()).unwrap();
        let before = server.core.counters.tcp_sent;
        if waiting {
            // More than a turn takes.
            let device = &mut client.core.ports[0].device;
            for _ in 0..2 * limits::BURST {
                let frame = device.allocate().unwrap();
                device.transmit(frame).unwrap();
            }
            device.flush();
        }
        server.turn(&clock);
        let sent = server.core.counters.tcp_sent - before;
        assert!(sent <= most && sent >= limits::BURST as u64, "{sent} sent, waiting: {waiting}");
        assert_eq!(sent == 160, !waiting);
        play(&clock, &mut client, &mut server, Duration::from_millis(5));
        assert!(server.core.counters.tcp_sent - before >= 160);
        assert_no_frame_missing(&server);
    }
}
