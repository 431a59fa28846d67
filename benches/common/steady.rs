//! A criterion whose benches keep to one core.

use criterion::Criterion;
use ringway::cpu;

/// On the last core that this process may use: the first is where most interrupts and daemons are.
pub(crate) fn steady() -> Criterion {
    let last = cpu::allowed().and_then(|cores| (0..1024).rev().find(|&core| cores.is_set(core)));
    // On any core it is the same work, only less even.
    if let Some(Err(error)) = last.map(cpu::pin) {
        eprintln!("{error}");
    }
    Criterion::default()
}
