//! Costs of the timer wheel, one timer: `cargo bench --bench engine`. Its instructions are counted by `scripts/bench.sh --count`.

#[path = "common/rounds.rs"]
mod rounds;
#[path = "common/steady.rs"]
mod steady;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::engine::wheel::{Handle, Wheel};
use ringway::time::Instant;
use rounds::in_rounds;
use steady::steady;

/// Timers of a round.
const OWN: u32 = 1024;
/// What the wheel tells apart, in nanoseconds, and how many ticks lie in a round of its lowest level.
const TICK: u64 = 1024;
const LOWEST: u64 = 64;

/// The deadline of an active connection: retransmissions and acknowledgments, between 1 ms and a minute.
fn soon(n: u32) -> Duration {
    // Spread over 32 bits, no two to the same (Knuth's multiplicative hash).
    Duration::from_micros(1000 + u64::from(n.wrapping_mul(2_654_435_761)) % 60_000_000)
}

/// Every timer of a round once, none beside the one before.
fn scattered() -> impl Iterator<Item = u32> {
    (0..OWN).map(|n| n * 389 % OWN)
}

fn arming(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/wheel");
    for (name, others) in [("1k", 1000), ("1M", 1_000_000)] {
        let mut made = None;
        let mut wheel = || {
            let mut wheel = Wheel::with_capacity((others + OWN) as usize);
            (0..others).for_each(|n| assert!(wheel.arm(Instant::ZERO + soon(n), n).is_some()));
            (wheel, vec![None; OWN as usize])
        };
        let deadlines: Vec<Instant> = (0..OWN).map(|n| Instant::ZERO + soon(others + n)).collect();
        let arm = |wheel: &mut Wheel<u32>, handles: &mut [Option<Handle>]| {
            for ((handle, &at), n) in handles.iter_mut().zip(&deadlines).zip(0..) {
                *handle = wheel.arm(black_box(at), n);
            }
        };
        let cancel = |wheel: &mut Wheel<u32>, handles: &[Option<Handle>]| {
            scattered().filter(|&n| handles[n as usize].and_then(|handle| wheel.cancel(black_box(handle))).is_some()).count()
        };
        group.bench_function(format!("arm_among_{name}"), |b| {
            let (wheel, handles) = made.get_or_insert_with(&mut wheel);
            b.iter_custom(|iterations| {
                in_rounds(iterations, OWN as usize, |watch| {
                    watch.time(|| arm(wheel, handles));
                    assert_eq!(cancel(wheel, handles), OWN as usize);
                })
            });
        });
        group.bench_function(format!("cancel_among_{name}"), |b| {
            let (wheel, handles) = made.get_or_insert_with(&mut wheel);
            b.iter_custom(|iterations| {
                in_rounds(iterations, OWN as usize, |watch| {
                    arm(wheel, handles);
                    assert_eq!(watch.time(|| cancel(wheel, handles)), OWN as usize);
                })
            });
        });
    }
    group.finish();
}

fn expiring(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/wheel");
    let mut rounds = |name: &str, ahead: fn(u32) -> Duration, step: Duration| {
        let mut wheel = Wheel::with_capacity(OWN as usize + 1);
        let mut now = Instant::ZERO;
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                in_rounds(iterations, OWN as usize, |watch| {
                    // One that is due brings the wheel to the present, where a round of its lowest level begins.
                    now += step;
                    assert!(wheel.arm(now, OWN).is_some());
                    assert_eq!((wheel.expire(now), wheel.expire(now)), (Some(OWN), None));
                    (0..OWN).for_each(|n| assert!(wheel.arm(now + ahead(n), n).is_some()));
                    assert_eq!(watch.time(|| expire_all(&mut wheel)), OWN);
                })
            });
        });
    };
    // 64 a tick, all in the lowest level already: the firing alone.
    rounds("expire_due", |n| Duration::from_nanos(TICK * (1 + u64::from(n) / 64)), Duration::from_nanos(TICK * LOWEST));
    // 256 a tick, armed by a burst 200 ms before: they move down together.
    rounds(
        "expire_dense",
        |n| Duration::from_nanos(200_000_000 + TICK * (u64::from(n) / 256)),
        Duration::from_nanos(TICK * LOWEST * 4096),
    );
    // From deadline to deadline, nearly each alone.
    rounds("expire_sparse", soon, Duration::from_nanos(TICK * LOWEST * 1_000_000));
    group.finish();
}

/// Goes on from deadline to deadline, as an engine that sleeps, until none is armed; how many have expired.
fn expire_all(wheel: &mut Wheel<u32>) -> u32 {
    let mut expired = 0;
    while !wheel.is_empty() {
        let now = wheel.next_deadline();
        while let Some(timer) = wheel.expire(now) {
            black_box(timer);
            expired += 1;
        }
    }
    expired
}

criterion_group! { name = benches; config = steady(); targets = arming, expiring }
criterion_main!(benches);
