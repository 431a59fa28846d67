//! Costs of the rings of a queue, one entry, without a kernel at their other end: `cargo bench --bench xsk`.
//!
//! Both ends are on one core, so the cache lines of a ring do not travel: what they add between two cores is the machine's.

#[path = "common/rounds.rs"]
mod rounds;
#[path = "common/steady.rs"]
mod steady;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::xsk::{Descriptor, Loopback};
use rounds::in_rounds;
use steady::steady;

/// The default of a queue.
const ENTRIES: usize = 2048;
const NOTHING: Descriptor = Descriptor { addr: 0, len: 0, options: 0 };

fn rings(c: &mut Criterion) {
    let mut group = c.benchmark_group("xsk/ring");
    for burst in [1, 32] {
        let mut ring = Loopback::new(ENTRIES as u32).expect("memory");
        let packets: [Descriptor; 32] = std::array::from_fn(|nth| Descriptor { addr: nth as u64 * 4096, len: 106, options: 0 });
        let mut taken = [NOTHING; ENTRIES];
        // From an empty ring to a full one.
        group.bench_function(format!("reserve_submit_{burst}"), |b| {
            b.iter_custom(|iterations| {
                in_rounds(iterations, ENTRIES, |watch| {
                    let count: usize =
                        watch.time(|| (0..ENTRIES / burst).map(|_| ring.submit(black_box(&packets[..burst]))).sum());
                    assert_eq!((count, ring.take(&mut taken)), (ENTRIES, ENTRIES), "all are written and found");
                })
            });
        });
        // And back.
        group.bench_function(format!("take_release_{burst}"), |b| {
            b.iter_custom(|iterations| {
                in_rounds(iterations, ENTRIES, |watch| {
                    (0..ENTRIES / 32).for_each(|_| assert_eq!(ring.submit(&packets), 32));
                    let mut found = [NOTHING; 32];
                    let count: usize =
                        watch.time(|| (0..ENTRIES / burst).map(|_| ring.take(black_box(&mut found[..burst]))).sum());
                    assert_eq!(count, ENTRIES);
                })
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = steady(); targets = rings }
criterion_main!(benches);
