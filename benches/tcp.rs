//! What the TCP machine costs without wire, ring or service: SYN to SYN-RECEIVED, data in order, a pure ACK.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringway::tcp::seq::SeqNum;
use ringway::tcp::{BufferPool, Config, Opening, Tcb};
use ringway::time::Instant;
use ringway::wire::tcp::{Flags, Options, Segment};

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

fn segment(seq: SeqNum, ack: SeqNum, flags: Flags, value: u32, payload: &[u8]) -> Segment<'_> {
    let options = Options { timestamps: Some((value, 0)), ..Options::default() };
    Segment { seq, ack, flags, window: 512, urgent: 0, options, ecn: 0, payload }
}

fn syn() -> Segment<'static> {
    let mut syn = segment(IRS, SeqNum(0), Flags::SYN, 1, &[]);
    syn.options.mss = Some(1460);
    syn.options.window_scale = Some(7);
    syn
}

/// A connection after the handshake, and the memory it lives on.
fn established(config: &Config) -> (Tcb, BufferPool) {
    let mut pool = BufferPool::new(1 << 20);
    let mut tcb = Tcb::accept(config, OPENING, NOW, &syn());
    tcb.poll_transmit(config, NOW, &mut pool).expect("a SYN-ACK");
    tcb.on_segment(config, NOW, &segment(IRS + 1, ISS + 1, Flags::ACK, 2, &[]), &mut pool);
    (tcb, pool)
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
        let (mut tcb, mut pool) = established(&config);
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
        let (mut tcb, mut pool) = established(&config);
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

    group.bench_function("pure_ack", |bench| {
        bench.iter_batched_ref(
            || {
                let (mut tcb, mut pool) = established(&config);
                tcb.send(&config, &[0x5a; 1000], &mut pool);
                tcb.poll_transmit(&config, NOW, &mut pool).expect("data");
                (tcb, pool)
            },
            |(tcb, pool)| {
                let ack = segment(IRS + 1, ISS + 1001, Flags::ACK, 3, &[]);
                black_box(tcb.on_segment(&config, NOW, black_box(&ack), pool));
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, tcp);
criterion_main!(benches);
