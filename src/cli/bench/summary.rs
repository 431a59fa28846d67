//! The rounds of a cell as one figure: the median, with the lowest and the highest beside it.
//!
//! Used by [`super::report`], [`super::targets`] and [`super::gate`]. Pure; cannot panic.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::{Figures, Record};

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    /// Of the values that are numbers; `None` of none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, low, high })
    }
}

/// A cell of all its rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) rounds: usize,
    pub(super) rate_per_s: Option<Spread>,
    pub(super) offered_per_s: Option<f64>,
    pub(super) p50_ns: Option<Spread>,
    pub(super) p90_ns: Option<Spread>,
    pub(super) p99_ns: Option<Spread>,
    pub(super) p999_ns: Option<Spread>,
    pub(super) server_cpu_ns: Option<Spread>,
    pub(super) client_cpu_ns: Option<Spread>,
    pub(super) packets_per_message: Option<Spread>,
    pub(super) server_kicks: Option<Spread>,
    pub(super) client_kicks: Option<Spread>,
    /// Of all rounds together.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) drops: BTreeMap<String, u64>,
    /// The most that the hypervisor took in a round, as a share.
    pub(super) steal: f64,
    /// The most that other programs took in a round, as a share.
    pub(super) foreign: f64,
}

impl Summary {
    /// Of all rounds; `None` of none.
    pub(super) fn of<'a>(rounds: impl Iterator<Item = &'a Figures>) -> Option<Self> {
        let all: Vec<&Figures> = rounds.collect();
        let last = all.last()?;
        let spread = |read: fn(&Figures) -> Option<f64>| Spread::of(all.iter().filter_map(|figures| read(figures)));
        let mut drops = BTreeMap::new();
        for (cause, count) in all.iter().flat_map(|figures| &figures.drops) {
            *drops.entry(cause.clone()).or_default() += count;
        }
        Some(Self {
            rounds: all.len(),
            rate_per_s: spread(|figures| Some(figures.rate_per_s)),
            offered_per_s: last.offered_per_s,
            p50_ns: spread(|figures| figures.p50_ns),
            p90_ns: spread(|figures| figures.p90_ns),
            p99_ns: spread(|figures| figures.p99_ns),
            p999_ns: spread(|figures| figures.p999_ns),
            server_cpu_ns: spread(|figures| figures.server_cpu_ns),
            client_cpu_ns: spread(|figures| figures.client_cpu_ns),
            packets_per_message: spread(|figures| figures.packets_to_server.zip(figures.packets_from_server).map(|(a, b)| a + b)),
            server_kicks: spread(|figures| figures.server_kicks),
            client_kicks: spread(|figures| figures.client_kicks),
            received: all.iter().map(|figures| figures.received).sum(),
            lost: all.iter().map(|figures| figures.lost).sum(),
            drops,
            steal: all.iter().map(|figures| figures.steal).fold(0.0, f64::max),
            foreign: all.iter().map(|figures| figures.foreign).fold(0.0, f64::max),
        })
    }
}

/// Every cell that was measured.
pub(super) fn of_record(record: &Record) -> BTreeMap<String, Summary> {
    let all = record.cells.iter().filter_map(|(id, rounds)| Some((id.clone(), Summary::of(rounds.values())?)));
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(Spread { median: 3.0, low: 3.0, high: 3.0 }));
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 9.0 }));
        assert_eq!(of(&[4.0, f64::NAN, 1.0, 2.0, 8.0]), Some(Spread { median: 3.0, low: 1.0, high: 8.0 }));
    }

    #[test]
    fn rounds_come_to_medians_and_sums() {
        let round = |rate_per_s, p50_ns, lost| Figures {
            rate_per_s,
            p50_ns,
            lost,
            packets_to_server: Some(1.0),
            packets_from_server: Some(1.5),
            drops: [("server.reset".to_owned(), 2)].into(),
            ..Figures::default()
        };
        let rounds = [round(10.0, Some(5.0), 1), round(30.0, None, 0), round(20.0, Some(7.0), 0)];
        let summary = Summary::of(rounds.iter()).expect("three");
        assert_eq!(summary.rate_per_s, Some(Spread { median: 20.0, low: 10.0, high: 30.0 }));
        assert_eq!((summary.p50_ns.map(|spread| spread.median), summary.p99_ns, summary.lost), (Some(6.0), None, 1));
        assert_eq!((summary.packets_per_message.map(|spread| spread.high), summary.drops["server.reset"]), (Some(2.5), 6));
        assert_eq!(Summary::of([].iter()), None);
    }
}
