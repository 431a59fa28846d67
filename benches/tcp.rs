//! What the TCP machine costs without wire, ring or service, one segment: `cargo bench --bench tcp`.
//!
//! What a connection can do over and over is timed over and over. Where something has to be sent or mended in between, 16 connections do it by
//! turns, and only the turn of the segment in question is timed.

#[path = "common/rounds.rs"]
mod rounds;
#[path = "common/steady.rs"]
mod steady;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::tcp::seq::SeqNum;
use ringway::tcp::{BufferPool, Config, Opening, Tcb};
use ringway::time::Instant;
use ringway::wire::tcp::{Flags, Options, SackBlock, Segment};
use rounds::in_rounds;
use steady::steady;

const NOW: Instant = Instant::from_ns(1_000_000_000);
const ISS: SeqNum = SeqNum(u32::MAX - 10);
const IRS: SeqNum = SeqNum(u32::MAX - 1000);
const OPENING: Opening = Opening {
    iss: ISS,
    timestamp_offset: 7,
    ip: ringway::tcp::IpVersion::V4,
    mss: 1460,
    congestion: ringway::tcp::congestion::Algorithm::Reno,
};

/// A round trip of the paths: so short that no pace holds a few segments back.
const RTT: Duration = Duration::from_micros(100);

fn segment(seq: SeqNum, ack: SeqNum, flags: Flags, value: u32, payload: &[u8]) -> Segment<'_> {
    let options = Options { timestamps: Some((value, 0)), ..Options::default() };
    Segment { seq, ack, flags, window: 512, urgent: 0, options, ecn: 0, payload }
}

fn syn() -> Segment<'static> {
    let mut syn = segment(IRS, SeqNum(0), Flags::SYN, 1, &[]);
    syn.options.mss = Some(1460);
    syn.options.window_scale = Some(7);
    syn.options.sack_permitted = true;
    syn
}

/// A connection after the handshake.
fn established(config: &Config, pool: &mut BufferPool) -> Tcb {
    // A path without a round trip would be one on which whatever comes late is lost.
    let asked = NOW - RTT;
    let mut tcb = Tcb::accept(config, OPENING, asked, &syn());
    tcb.poll_transmit(config, asked, pool).expect("a SYN-ACK");
    tcb.on_segment(config, NOW, &segment(IRS + 1, ISS + 1, Flags::ACK, 2, &[]), pool);
    tcb
}

fn tcp(criterion: &mut Criterion) {
    let config = Config::default();
    let mut group = criterion.benchmark_group("tcp");

    group.bench_function("syn_to_syn_received", |bench| {
        let mut pool = BufferPool::new(1 << 20);
        bench.iter(|| {
            let mut tcb = Tcb::accept(&config, OPENING, NOW, black_box(&syn()));
            black_box(tcb.poll_transmit(&config, NOW, &mut pool));
            tcb
        });
    });

    group.bench_function("data_in_order", |bench| {
        let mut pool = BufferPool::new(1 << 20);
        let mut tcb = established(&config, &mut pool);
        let payload = [0x5a; 64];
        let mut seq = IRS + 1;
        bench.iter(|| {
            let segment = segment(seq, ISS + 1, Flags::ACK | Flags::PSH, 3, &payload);
            let arrival = tcb.on_segment(&config, NOW, black_box(&segment), &mut pool);
            assert_eq!(arrival.payload.len(), payload.len(), "taken in place");
            tcb.delivered(&mut pool);
            black_box(tcb.poll_transmit(&config, NOW, &mut pool));
            seq += 64;
        });
    });

    group.bench_function("request_and_reply", |bench| {
        let mut pool = BufferPool::new(1 << 20);
        let mut tcb = established(&config, &mut pool);
        let payload = [0x5a; 64];
        let (mut seq, mut ack) = (IRS + 1, ISS + 1);
        bench.iter(|| {
            let segment = segment(seq, ack, Flags::ACK | Flags::PSH, 3, &payload);
            tcb.on_segment(&config, NOW, black_box(&segment), &mut pool);
            assert_eq!(tcb.send(&config, &payload, &mut pool), 64);
            tcb.delivered(&mut pool);
            assert_eq!(black_box(tcb.poll_transmit(&config, NOW, &mut pool)).map(|sent| sent.payload_len()), Some(64));
            seq += 64;
            ack += 64;
        });
    });

    group.finish();
}

/// Connections that take turns: they lie in the nearest cache.
const FLEET: usize = 16;
/// Data of a full segment: the MSS without the timestamps.
const FULL: u32 = 1448;

/// Connections, and what their peers know of them, which is the same of all.
struct Fleet {
    config: Config,
    tcbs: Vec<Tcb>,
    pool: BufferPool,
    now: Instant,
    /// The next of the peers' sequence numbers, and of ours.
    seq: SeqNum,
    ack: SeqNum,
}

impl Fleet {
    fn new() -> Self {
        let config = Config::default();
        let mut pool = BufferPool::new(1 << 24);
        let tcbs = (0..FLEET).map(|_| established(&config, &mut pool)).collect();
        Self { config, tcbs, pool, now: NOW, seq: IRS + 1, ack: ISS + 1 }
    }

    /// A segment from each peer, which brings this much and says this much.
    fn segment<'a>(&self, offset: u32, payload: &'a [u8]) -> Segment<'a> {
        let mut segment = segment(self.seq + offset, self.ack, Flags::ACK, 0, payload);
        let echo = (self.now - RTT).as_ms_wrapping().wrapping_add(OPENING.timestamp_offset);
        segment.options.timestamps = Some((self.now.as_ms_wrapping(), echo));
        segment
    }

    /// Has all of them take a segment.
    #[inline(always)]
    fn take(&mut self, segment: &Segment<'_>) {
        for tcb in &mut self.tcbs {
            black_box(tcb.on_segment(&self.config, self.now, black_box(segment), &mut self.pool));
        }
    }

    /// Has all of them send so many full segments.
    fn send(&mut self, segments: u32) {
        let bytes = vec![0x5a; (segments * FULL) as usize];
        for tcb in &mut self.tcbs {
            assert_eq!(tcb.send(&self.config, &bytes, &mut self.pool), bytes.len());
            for _ in 0..segments {
                let sent = tcb.poll_transmit(&self.config, self.now, &mut self.pool).map(|sent| sent.payload_len());
                assert_eq!(sent, Some(FULL as usize));
            }
        }
    }

    /// Nothing is under way any more, and nothing was sent again.
    fn is_quiet(&mut self) -> bool {
        let Self { config, tcbs, pool, now, .. } = self;
        tcbs.iter_mut()
            .all(|tcb| tcb.unacknowledged() == 0 && tcb.retransmitted() == 0 && tcb.poll_transmit(config, *now, pool).is_none())
    }
}

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tcp");

    group.bench_function("pure_ack", |bench| {
        let mut fleet = Fleet::new();
        bench.iter_custom(|iterations| {
            in_rounds(iterations, FLEET, |watch| {
                fleet.send(1);
                fleet.now += RTT;
                fleet.ack += FULL;
                let ack = fleet.segment(0, &[]);
                watch.time(|| fleet.take(&ack));
                assert!(fleet.is_quiet());
            })
        });
    });

    // The first of four segments comes late: two acknowledgments report those behind it.
    group.bench_function("ack_with_sack", |bench| {
        let mut fleet = Fleet::new();
        bench.iter_custom(|iterations| {
            in_rounds(iterations, 2 * FLEET, |watch| {
                fleet.send(4);
                fleet.now += RTT;
                for count in 2..=3 {
                    let mut ack = fleet.segment(0, &[]);
                    ack.options.sack[0] = SackBlock { left: fleet.ack + FULL, right: fleet.ack + FULL * count };
                    ack.options.sack_count = 1;
                    watch.time(|| fleet.take(&ack));
                }
                fleet.ack += 4 * FULL;
                let ack = fleet.segment(0, &[]);
                fleet.take(&ack);
                assert!(fleet.is_quiet());
            })
        });
    });

    // The segment behind a hole, and the acknowledgment that reports it; then the hole is filled.
    group.bench_function("out_of_order_and_sack", |bench| {
        let mut fleet = Fleet::new();
        let payload = [0x5a; 64];
        bench.iter_custom(|iterations| {
            in_rounds(iterations, FLEET, |watch| {
                fleet.now += RTT;
                let behind = fleet.segment(64, &payload);
                let reports: usize = watch.time(|| {
                    let Fleet { config, tcbs, pool, now, .. } = &mut fleet;
                    let report = |tcb: &mut Tcb| {
                        black_box(tcb.on_segment(config, *now, black_box(&behind), pool));
                        let sent = black_box(tcb.poll_transmit(config, *now, pool));
                        sent.map_or(0, |sent| usize::from(sent.options.sack_count))
                    };
                    tcbs.iter_mut().map(report).sum()
                });
                assert_eq!(reports, FLEET, "each reports one block");
                let missing = fleet.segment(0, &payload);
                fleet.take(&missing);
                fleet.seq += 128;
                let Fleet { config, tcbs, pool, now, .. } = &mut fleet;
                for tcb in tcbs {
                    assert_eq!(tcb.unread_len(), 128, "the hole is filled");
                    tcb.consume(128, pool);
                    tcb.delivered(pool);
                    black_box(tcb.poll_transmit(config, *now, pool));
                }
            })
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = steady(); targets = tcp, turns }
criterion_main!(benches);
