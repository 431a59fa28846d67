//! Two ends over a network that loses, doubles and reorders: whatever happens, both streams arrive whole and both ends finish.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::script::{START, Seg, segment, written};
use crate::rng::Rng;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::{Happening, Tally};
use crate::tcp::{BufferPool, Config, Events, IpVersion, Opening, State, Tcb};
use crate::time::Instant;

/// What the network does, in thousandths of the segments, and how the services behave.
#[derive(Clone, Debug)]
struct Weather {
    seed: u64,
    loss: u64,
    duplication: u64,
    /// Delays differ by up to this much, which reorders.
    jitter_us: u64,
    bytes: [usize; 2],
    config: Config,
    mss: u16,
}

/// One end: a TCB, its memory, and a service that sends one stream and checks the other.
struct End {
    tcb: Tcb,
    pool: BufferPool,
    to_send: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    blocked: bool,
    closed: bool,
    events: Events,
    /// The farthest right edge that the other end has offered and that has arrived here.
    offered: Option<SeqNum>,
}

impl End {
    fn new(tcb: Tcb, config: &Config, to_send: Vec<u8>) -> Self {
        let pool = BufferPool::new(config.memory);
        Self {
            tcb,
            pool,
            to_send,
            sent: 0,
            received: Vec::new(),
            blocked: false,
            closed: false,
            events: Events::NONE,
            offered: None,
        }
    }

    /// Note events, which must come in a sensible order.
    fn note(&mut self, events: Events) {
        assert!(!events.contains(Events::RESET) && !events.contains(Events::REFUSED), "nobody sends a reset");
        assert!(!(events.contains(Events::CLOSED) && self.events.contains(Events::CLOSED)), "CLOSED comes once");
        assert!(!(events.contains(Events::CONNECTED) && self.events.contains(Events::CONNECTED)), "CONNECTED comes once");
        if events.contains(Events::WRITABLE) {
            self.blocked = false;
        }
        self.events |= events;
    }

    fn arrive(&mut self, config: &Config, now: Instant, seg: &Seg, rng: &mut Rng) {
        let segment = segment(seg);
        let edge = self.tcb.right_edge();
        let arrival = self.tcb.on_segment(config, now, &segment, &mut self.pool);
        if let (Some(before), Some(after)) = (edge, self.tcb.right_edge()) {
            assert!(after.at_or_after(before), "the right edge moved left");
        }
        self.note(arrival.events);
        self.rest(config, now);
        if !arrival.payload.is_empty() {
            let bytes = &segment.payload[arrival.payload];
            let n = rng.below(bytes.len() as u64 + 1) as usize;
            self.received.extend_from_slice(&bytes[..n]);
            if n < bytes.len() {
                self.tcb.keep_unread(&bytes[n..], &mut self.pool);
            }
        }
        self.service(config, rng);
    }

    /// Whenever it can be folded, it is.
    fn rest(&mut self, config: &Config, now: Instant) {
        if let Some(folded) = self.tcb.fold(config, now) {
            self.tcb = folded.unfold(config);
        }
    }

    /// The service reads some, writes some, and closes at its end.
    fn service(&mut self, config: &Config, rng: &mut Rng) {
        if rng.below(4) > 0 {
            while !self.tcb.unread().is_empty() {
                let n = (rng.below(4000) as usize + 1).min(self.tcb.unread().len());
                self.received.extend_from_slice(&self.tcb.unread()[..n]);
                self.tcb.consume(n, &mut self.pool);
            }
        }
        self.tcb.delivered(&mut self.pool);
        let peer_closed = self.tcb.peer_closed();
        while self.sent < self.to_send.len() && !self.blocked {
            let chunk = (rng.below(6000) as usize + 1).min(self.to_send.len() - self.sent);
            let n = self.tcb.send(config, &self.to_send[self.sent..self.sent + chunk], &mut self.pool);
            self.sent += n;
            self.blocked = n < chunk;
        }
        // A CLOSE in SYN-SENT would delete the TCB.
        let connected = self.events.contains(Events::CONNECTED);
        if self.sent == self.to_send.len() && connected && !self.closed && (peer_closed || rng.below(3) == 0) {
            self.tcb.close(START);
            self.closed = true;
        }
    }

    fn done(&self) -> bool {
        matches!(self.tcb.state(), State::Closed | State::TimeWait)
    }
}

struct Net {
    weather: Weather,
    rng: Rng,
    now: Instant,
    /// What is on the way: when it arrives, which end it goes to.
    wire: BTreeMap<(Instant, u64), (usize, Seg)>,
    count: u64,
    segments: u64,
    /// What happened to either end.
    tally: Tally,
}

impl Net {
    /// Everything an end wants to send goes onto the wire, or is lost.
    fn transmit(&mut self, from: usize, end: &mut End) {
        for _ in 0..10_000 {
            if !end.tcb.wants_transmit(self.now) {
                return;
            }
            end.tcb.check_flight();
            let Some(transmit) = end.tcb.poll_transmit(&self.weather.config, self.now, &mut end.pool) else { continue };
            if let Some(edge) = end.offered {
                // A zero-window probe may stand one beyond the window.
                let last = transmit.seq + transmit.payload_len() as u32;
                assert!(last.at_or_before(edge + 1), "{}..{last} lies beyond the window that ends at {edge}", transmit.seq);
            }
            let seg = written(&transmit);
            self.tally.count_all(end.tcb.take_noted());
            self.segments += 1;
            let copies = if self.rng.below(1000) < self.weather.duplication { 2 } else { 1 };
            for _ in 0..copies {
                if self.rng.below(1000) >= self.weather.loss {
                    let delay = Duration::from_micros(50 + self.rng.below(self.weather.jitter_us + 1));
                    self.count += 1;
                    self.wire.insert((self.now + delay, self.count), (1 - from, seg.clone()));
                }
            }
        }
        panic!("an end sends without end");
    }
}

fn stream(rng: &mut Rng, len: usize) -> Vec<u8> {
    (0..len).map(|_| rng.next_u32() as u8).collect()
}

/// Runs until both ends are done and returns how many segments that took, and what happened meanwhile.
fn run(weather: Weather) -> (u64, Tally) {
    let config = weather.config;
    let mut rng = Rng::seeded(weather.seed);
    let opening = |rng: &mut Rng| Opening {
        iss: SeqNum(u32::MAX - rng.below(20_000) as u32),
        timestamp_offset: rng.next_u32(),
        ip: IpVersion::V4,
        mss: weather.mss,
        congestion: config.congestion,
    };
    let client = Tcb::open(&config, opening(&mut rng), START);
    let server_opening = opening(&mut rng);
    let streams = weather.bytes.map(|len| stream(&mut rng, len));
    let mut client = End::new(client, &config, streams[0].clone());
    let mut server: Option<End> = None;
    let mut net = Net {
        rng: Rng::seeded(weather.seed ^ 1),
        weather,
        now: START,
        wire: BTreeMap::new(),
        count: 0,
        segments: 0,
        tally: Tally::default(),
    };
    client.service(&config, &mut rng);

    for _ in 0..400_000 {
        net.transmit(0, &mut client);
        if let Some(server) = &mut server {
            net.transmit(1, server);
        }
        if client.done() && server.as_ref().is_some_and(End::done) {
            break;
        }
        let timers = client.tcb.poll_timeout().min(server.as_ref().map_or(Instant::NEVER, |end| end.tcb.poll_timeout()));
        let arrival = net.wire.first_key_value().map_or(Instant::NEVER, |(&(at, _), _)| at);
        // A service that left bytes or data unsent comes back by itself after a while.
        let next = timers.min(arrival).min(net.now + Duration::from_millis(30));
        net.now = net.now.max(next);
        if arrival <= net.now {
            let Some((_, (to, seg))) = net.wire.pop_first() else { continue };
            let offered = segment(&seg);
            match (to, &mut server) {
                (0, _) => client.arrive(&config, net.now, &seg, &mut rng),
                (_, Some(server)) => server.arrive(&config, net.now, &seg, &mut rng),
                (_, None) => {
                    server = Some(End::new(Tcb::accept(&config, server_opening, net.now, &offered), &config, streams[1].clone()))
                }
            }
            let end = if to == 0 { &mut client } else { server.as_mut().unwrap() };
            end.offered = offer(end, &offered);
            continue;
        }
        for end in [Some(&mut client), server.as_mut()].into_iter().flatten() {
            let events = end.tcb.on_timeout(&config, net.now);
            assert!(!events.contains(Events::TIMED_OUT), "nobody is given up");
            end.note(events);
            end.rest(&config, net.now);
            end.service(&config, &mut rng);
        }
    }

    let mut server = server.expect("a SYN got through");
    assert!(client.done() && server.done(), "still {} and {}", client.tcb.state(), server.tcb.state());
    for (end, other) in [(&mut client, 1), (&mut server, 0)] {
        while !end.tcb.unread().is_empty() {
            end.received.extend_from_slice(end.tcb.unread());
            let n = end.tcb.unread().len();
            end.tcb.consume(n, &mut end.pool);
        }
        assert!(end.received == streams[other], "got {} of {} bytes, or wrong ones", end.received.len(), streams[other].len());
        assert!(end.events.contains(Events::CLOSED | Events::PEER_CLOSED | Events::CONNECTED));
        // Nothing is in flight any more: the scoreboard has gone back before the TCB is released.
        end.tcb.check_flight();
        end.tcb.release(&mut end.pool);
        assert_eq!(end.pool.in_use(), 0);
        net.tally.count_all(end.tcb.take_noted());
    }
    (net.segments, net.tally)
}

/// The right edge that a segment offers an end, when it is farther than before.
fn offer(end: &End, segment: &crate::wire::tcp::Segment<'_>) -> Option<SeqNum> {
    use crate::wire::tcp::Flags;
    if !segment.flags.contains(Flags::ACK) && !segment.flags.contains(Flags::SYN) {
        return end.offered;
    }
    let shift = if segment.flags.contains(Flags::SYN) { 0 } else { end.tcb.snd.shift.shift() };
    let ack = if segment.flags.contains(Flags::ACK) { segment.ack } else { end.tcb.iss + 1 };
    let edge = ack + (u32::from(segment.window) << shift);
    Some(end.offered.map_or(edge, |before| before.latest(edge)))
}

fn weather() -> impl Strategy<Value = Weather> {
    let network = (any::<u64>(), 0u64..200, 0u64..100, prop::sample::select(vec![0u64, 100, 5_000, 40_000]));
    let load = (0usize..60_000, 0usize..60_000);
    let buffers = (1_000usize..40_000, 1_000usize..100_000);
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), 100u16..3000, any::<bool>());
    (network, load, buffers, switches).prop_map(|(network, load, buffers, switches)| Weather {
        seed: network.0,
        loss: network.1,
        duplication: network.2,
        jitter_us: network.3,
        bytes: [load.0, load.1],
        mss: switches.3,
        config: Config {
            send_buffer: buffers.0,
            receive_buffer: buffers.1,
            timestamps: switches.0,
            window_scaling: switches.1,
            no_delay: switches.2,
            sack: switches.4,
            // Under loss of a fifth, fifteen times in a row happens to somebody.
            retries: 40,
            syn_retries: 40,
            syn_ack_retries: 40,
            // Well below TIME-WAIT, whose end a sender that has backed off farther would not reach.
            rto_max: Duration::from_secs(4),
            ..Config::default()
        },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn both_streams_arrive_whole(weather in weather()) {
        run(weather);
    }
}

/// On a perfect line the exchange needs few segments: neither storms of ACKs nor crumbs.
#[test]
fn a_perfect_line_is_used_well() {
    let weather = Weather {
        seed: 7,
        loss: 0,
        duplication: 0,
        jitter_us: 0,
        bytes: [1_000_000, 0],
        mss: 1460,
        config: Config { receive_buffer: 1 << 20, ..Config::default() },
    };
    let (segments, tally) = run(weather);
    let data = 1_000_000u64.div_ceil(1448);
    assert!(segments < data * 2, "{segments} segments for {data} of data");
    let needless = [Happening::RetransmissionTimeout, Happening::FastRetransmit, Happening::DsackReceived];
    assert!(needless.iter().all(|&what| tally.of(what) == 0), "{:?}", tally.nonzero().collect::<Vec<_>>());
}

/// Loss, doubling and reordering bring about every kind of recovery, and with SACK fewer timeouts remain.
#[test]
fn bad_weather_exercises_every_recovery() {
    let mut sum = [Tally::default(), Tally::default()];
    for seed in 0..60 {
        for sack in [false, true] {
            let config =
                Config { sack, timestamps: seed % 2 == 0, rto_max: Duration::from_secs(4), retries: 40, ..Config::default() };
            let jitter_us = [0, 100, 8_000][seed as usize % 3];
            let (_, tally) =
                run(Weather { seed, loss: 30, duplication: 10, jitter_us, bytes: [120_000, 30_000], mss: 1000, config });
            tally.nonzero().for_each(|(what, times)| (0..times).for_each(|_| sum[usize::from(sack)].count(what)));
        }
    }
    let [without, with] = sum;
    let either = [Happening::RetransmissionTimeout, Happening::FastRetransmit, Happening::LimitedTransmit];
    let selective = [
        Happening::TailLossProbe,
        Happening::ReorderingTimeout,
        Happening::ReorderingSeen,
        Happening::SpuriousByDsack,
        Happening::SpuriousByEifel,
        Happening::DsackReceived,
    ];
    for what in either {
        assert!(without.of(what) > 0, "{} without SACK: {:?}", what.name(), without.nonzero().collect::<Vec<_>>());
    }
    for what in either.into_iter().chain(selective) {
        assert!(with.of(what) > 0, "{} with SACK: {:?}", what.name(), with.nonzero().collect::<Vec<_>>());
    }
    let timeouts = [&without, &with].map(|tally| tally.of(Happening::RetransmissionTimeout));
    assert!(timeouts[1] * 3 < timeouts[0] * 2, "timeouts without SACK and with: {timeouts:?}");
}
