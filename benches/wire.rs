//! Costs of the header code and of the neighbour lookup, one group a path: `cargo bench --bench wire`.

#[path = "common/steady.rs"]
mod steady;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringway::link::neighbor::{Hop, NeighborCache};
use ringway::tcp::seq::SeqNum;
use ringway::time::Instant;
use ringway::wire::checksum::{self, PseudoHeader};
use ringway::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet, Mac};
use ringway::wire::ipv4::{self, Ipv4, PROTOCOL_TCP, PROTOCOL_UDP};
use ringway::wire::tcp::{Flags, Header, Options, SackBlock};
use ringway::wire::vlan::Vlan;
use ringway::wire::{reply, tcp, udp};
use steady::steady;

const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn pseudo(protocol: u8) -> PseudoHeader {
    PseudoHeader { source: PEER.into(), target: OURS.into(), protocol }
}

/// A whole frame from the peer with these bytes behind its IP header.
fn frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 34];
    ethernet::emit(
        &mut bytes,
        &Ethernet { target: Mac([2; 6]), source: Mac([4; 6]), vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 },
    );
    ipv4::emit(&mut bytes[14..], &Ipv4::outgoing(PEER, OURS, protocol, payload.len()));
    bytes.extend(payload);
    bytes
}

fn datagram(payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x5a; udp::HEADER_LEN + payload];
    udp::emit(&mut bytes, 4000, 7, &pseudo(PROTOCOL_UDP));
    bytes
}

fn header(options: Options) -> Header {
    Header {
        source_port: 4000,
        target_port: 7,
        seq: SeqNum(u32::MAX),
        ack: SeqNum(1),
        flags: Flags::ACK,
        window: 512,
        urgent: 0,
        options,
    }
}

fn segment(options: Options, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x5a; tcp::header_len(&options) + payload];
    tcp::emit(&mut bytes, &header(options), payload, &pseudo(PROTOCOL_TCP));
    bytes
}

const STAMPS: Options = Options {
    timestamps: Some((1, 2)),
    mss: None,
    window_scale: None,
    sack_permitted: false,
    user_timeout: None,
    sack: [NO_BLOCK; 4],
    sack_count: 0,
};
const NO_BLOCK: SackBlock = SackBlock { left: SeqNum(0), right: SeqNum(0) };

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire/checksum");
    for len in [20, 64, 256, 1460, 9000] {
        let bytes = vec![0x5a; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| b.iter(|| checksum::fold(checksum::sum(black_box(&bytes), 0))));
    }
    group.finish();
}

/// What a segment costs that is copied into its frame and then summed there, as the engine does it with what TCP sends.
fn copies(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire/copy_then_sum");
    for len in [64, 1460] {
        let payload = vec![0x5a; len];
        let mut frame = vec![0; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| {
            b.iter(|| {
                let frame = black_box(&mut frame[..]);
                frame.copy_from_slice(black_box(&payload));
                checksum::fold(checksum::sum(frame, 0))
            });
        });
    }
    group.finish();
}

/// The headers of a frame. Part of what is timed, as it is part of the engine's path: a call would have it write all of them to memory first.
#[inline(always)]
fn whole(frame: &[u8]) -> (Ethernet, Ipv4, PseudoHeader) {
    let link = ethernet::parse(frame).unwrap();
    let packet = &frame[link.header_len()..];
    let ip = ipv4::parse(packet).unwrap();
    let pseudo = PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol: ip.protocol };
    (link, ip, pseudo)
}

fn parsing(c: &mut Criterion) {
    let bytes = frame(PROTOCOL_UDP, &datagram(64));
    c.bench_function("wire/parse_ipv4", |b| b.iter(|| whole(black_box(&bytes)).1));

    let mut group = c.benchmark_group("wire/parse_udp");
    for len in [18, 64, 1472] {
        let bytes = frame(PROTOCOL_UDP, &datagram(len));
        group.bench_function(len.to_string(), |b| {
            b.iter(|| {
                let (_, ip, pseudo) = whole(black_box(&bytes));
                udp::parse(ip.payload(&bytes[14..]), &pseudo).unwrap()
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("wire/parse_tcp");
    for (name, options, len) in
        [("ack", STAMPS, 0), ("64", STAMPS, 64), ("1448", STAMPS, 1448), ("64_plain", Options::default(), 64)]
    {
        let bytes = frame(PROTOCOL_TCP, &segment(options, len));
        group.bench_function(name, |b| {
            b.iter(|| {
                let (_, ip, pseudo) = whole(black_box(&bytes));
                let (ports, segment) = tcp::parse(ip.payload(&bytes[14..]), &pseudo).unwrap();
                (ports, segment.seq, segment.options.timestamps, segment.payload.len())
            });
        });
    }
    let syn = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..STAMPS };
    let bytes = frame(PROTOCOL_TCP, &segment(syn, 0));
    group.bench_function("syn", |b| {
        b.iter(|| {
            let (_, ip, pseudo) = whole(black_box(&bytes));
            let (ports, segment) = tcp::parse(ip.payload(&bytes[14..]), &pseudo).unwrap();
            (ports, segment.seq, segment.options)
        });
    });
    group.finish();
}

fn emitting(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire/emit_tcp");
    let plain = Options::default();
    for (name, options, len) in [("ack", STAMPS, 0), ("64", STAMPS, 64), ("1448", STAMPS, 1448), ("1460_plain", plain, 1460)] {
        let (mut bytes, header) = (segment(options, len), header(options));
        group.bench_function(name, |b| {
            b.iter(|| tcp::emit(black_box(&mut bytes), black_box(&header), len, black_box(&pseudo(PROTOCOL_TCP))))
        });
    }
    group.finish();
    let mut bytes = datagram(64);
    c.bench_function("wire/emit_udp", |b| b.iter(|| udp::emit(black_box(&mut bytes), 7, 4000, &pseudo(PROTOCOL_UDP))));
    let mut bytes = [0; 20];
    c.bench_function("wire/emit_ipv4", |b| {
        b.iter(|| ipv4::emit(black_box(&mut bytes), &Ipv4::outgoing(OURS, PEER, PROTOCOL_UDP, black_box(72))));
    });
    let mut bytes = frame(PROTOCOL_UDP, &datagram(64));
    c.bench_function("wire/swap_udp", |b| b.iter(|| reply::swap_udp_ipv4(black_box(&mut bytes), 14)));
}

fn neighbors(c: &mut Criterion) {
    let mut group = c.benchmark_group("link/neighbor");
    let hop = |n: u32| Hop { vlan: Vlan::NONE, ip: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)) };
    let now = Instant::from_ns(1 << 40);
    let mut cache = NeighborCache::<u32>::new([1, 2]);
    for n in 0..1000 {
        cache.learn(now, hop(n), Mac([2; 6]), &mut Vec::new());
        cache.lookup(now, hop(n));
    }
    group.bench_function("same", |b| b.iter(|| cache.lookup(now, black_box(hop(1)))));
    let mut n = 0;
    group.bench_function("other", |b| {
        b.iter(|| {
            n = (n + 7) % 1000;
            cache.lookup(now, black_box(hop(n)))
        });
    });
    group.bench_function("flood", |b| {
        b.iter_batched(
            || {
                n += 1;
                hop(1_000_000 + n)
            },
            |hop| cache.learn(now, hop, Mac([2; 6]), &mut Vec::new()),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group! { name = benches; config = steady(); targets = checksums, copies, parsing, emitting, neighbors }
criterion_main!(benches);
