//! Costs of recording a latency: `cargo bench --bench metrics`.

#[path = "common/steady.rs"]
mod steady;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::metrics::histogram::Recorder;
use ringway::rng::Rng;
use steady::steady;

/// Values that are recorded by turns.
const VALUES: usize = 4096;

fn recording(c: &mut Criterion) {
    let mut group = c.benchmark_group("metrics/histogram");
    let mut rng = Rng::seeded(1);
    // As a quiet path has them, and over six decades, which are most of the counters.
    let near: Vec<u64> = (0..VALUES).map(|_| 5_000 + rng.below(15_000)).collect();
    let wide: Vec<u64> = (0..VALUES).map(|_| (1 << (10 + rng.below(20))) + rng.below(1 << 10)).collect();
    for (name, values) in [("record", near), ("record_wide", wide)] {
        let mut recorder = Recorder::new();
        let mut at = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                at = (at + 1) % VALUES;
                recorder.record(black_box(values[at]));
            });
        });
        black_box(recorder.count());
    }
    group.finish();
}

criterion_group! { name = benches; config = steady(); targets = recording }
criterion_main!(benches);
