//! Whether the machine is quiet enough for its figures to be believed.
//!
//! Judged by [`super::run`] before the rows, and by [`super::report`] from the same file: the same cell measured twice over must come to the same,
//! and a modest rate must lose nothing. Pure; cannot panic.

use serde::Serialize;

use super::record::Record;
use super::summary::{Spread, Summary};

/// What the gate saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    /// By how much the medians of the two differ, as a share.
    pub(super) difference: f64,
    /// Messages lost at the modest rate.
    pub(super) lost: u64,
    /// The most that the hypervisor took in a round, as a share.
    pub(super) steal: f64,
    /// The most that other programs took in a round, as a share.
    pub(super) foreign: f64,
    /// Why the machine is too noisy; `None` when it is quiet.
    pub(super) noisy: Option<String>,
}

/// The verdict; `None` before all of the gate was measured.
pub(super) fn judge(record: &Record) -> Option<Verdict> {
    let cell = |id: &str| Summary::of(record.cells.get(id)?.values());
    let (a, b, low) = (cell("gate/twice/A")?, cell("gate/twice/B")?, cell("gate/low/raw")?);
    let rate = |cell: &Summary| cell.rate_per_s.map_or(0.0, |spread: Spread| spread.median);
    let difference = (rate(&a) / rate(&b).max(f64::MIN_POSITIVE) - 1.0).abs();
    let steal = a.steal.max(b.steal).max(low.steal);
    let foreign = a.foreign.max(b.foreign);
    let mut why = Vec::new();
    if difference > DIFFERENCE_MAX {
        why.push(format!(
            "the same measured twice differs by {:.1} %, more than {:.0} %",
            difference * 100.0,
            DIFFERENCE_MAX * 100.0
        ));
    }
    if low.lost > 0 {
        why.push(format!("{} of {} messages were lost at a modest rate", low.lost, low.lost + low.received));
    }
    if foreign > FOREIGN_MAX {
        why.push(format!("other programs took {:.0} % of the two cores", foreign * 100.0));
    }
    let noisy = (!why.is_empty()).then(|| why.join("; "));
    Some(Verdict { difference, lost: low.lost, steal, foreign, noisy })
}

impl Verdict {
    /// One sentence.
    pub(super) fn text(&self) -> String {
        let state = match &self.noisy {
            Some(why) => format!("NOISY: {why}"),
            None => "quiet".to_owned(),
        };
        format!(
            "{state} (the same twice differs by {:.1} %, {} lost at a modest rate; of the cores at most {:.1} % went to other programs and {:.1} % to other machines)",
            self.difference * 100.0,
            self.lost,
            self.foreign * 100.0,
            self.steal * 100.0
        )
    }
}

/// By how much the same may differ from itself.
const DIFFERENCE_MAX: f64 = 0.03;
/// What other programs may take of two cores that should be the ends' alone; ticks of 10 ms are not more exact.
pub(super) const FOREIGN_MAX: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::super::record::Figures;
    use super::*;

    fn record(a: &[f64], b: &[f64], lost: u64) -> Record {
        let mut record = Record::default();
        let mut add = |id: &str, rates: &[f64], lost| {
            for (round, &rate_per_s) in (1..).zip(rates) {
                let figures = Figures { rate_per_s, received: 100, lost, ..Figures::default() };
                record.cells.entry(id.to_owned()).or_default().insert(round, figures);
            }
        };
        add("gate/twice/A", a, 0);
        add("gate/twice/B", b, 0);
        add("gate/low/raw", &[10.0], lost);
        record
    }

    #[test]
    fn the_same_must_come_to_the_same_without_loss() {
        let quiet = judge(&record(&[100.0, 101.0, 60.0], &[102.0, 99.0, 103.0], 0)).expect("a verdict");
        assert!(quiet.noisy.is_none() && quiet.text().starts_with("quiet"), "{quiet:?}");
        let uneven = judge(&record(&[100.0], &[104.0], 0)).expect("a verdict");
        assert!(uneven.noisy.as_deref().is_some_and(|why| why.contains("3.8 %")), "{uneven:?}");
        let lossy = judge(&record(&[100.0], &[100.0], 1)).expect("a verdict");
        assert!(lossy.noisy.as_deref().is_some_and(|why| why.contains("1 of 101")), "{lossy:?}");
        let mut busy = record(&[100.0], &[100.0], 0);
        busy.cells.values_mut().flat_map(|rounds| rounds.values_mut()).for_each(|figures| figures.foreign = 0.2);
        assert!(judge(&busy).and_then(|verdict| verdict.noisy).is_some_and(|why| why.contains("20 %")));
        assert_eq!(judge(&record(&[100.0], &[], 0)), None);
    }
}
