//! The order in which many things are used.

use ringway::rng::Rng;

/// Numbers from `first` on, in random order.
pub(crate) fn shuffled(first: usize, count: usize) -> Vec<u32> {
    let mut rng = Rng::seeded(count as u64);
    let mut order: Vec<u32> = (first..first + count).map(|number| number as u32).collect();
    for at in (1..count).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    order
}
