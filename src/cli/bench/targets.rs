//! What Ringway is to reach beside the other stacks, as data, and what it reached.
//!
//! Ratios decide: both sides of one are of the same run, so that the machine falls out. Shown by [`super::report`]. Some have no bound: they are
//! losses that are known, and belong into the table all the same. Pure; cannot panic.

use std::collections::BTreeMap;

use serde::Serialize;

use super::summary::Summary;

/// A figure of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Rate,
    P50,
    P99,
}

/// What the ratio has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// More of it than the other.
    Above(f64),
    /// Less of it than the other.
    Below(f64),
    /// It is reported, whatever it is.
    Reported,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    figure: Figure,
    of: String,
    by: String,
    bound: Bound,
}

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Outcome {
    /// `p50 of udp-latency/64B/ringway by that of udp-latency/64B/raw`.
    pub(super) what: String,
    /// `at most 1.10`.
    pub(super) wanted: String,
    /// The ratio of the medians; `None` when one of them was not measured.
    pub(super) ratio: Option<f64>,
    /// Whether it is as wanted; `None` where nothing is wanted or known.
    pub(super) met: Option<bool>,
    /// By how much it is missed, as a share of the bound.
    pub(super) missed_by: Option<f64>,
}

impl Outcome {
    /// `met`, `MISSED by 5 %`, `reported`, `not measured`.
    pub(super) fn verdict(&self) -> String {
        match (self.ratio, self.met) {
            (None, _) => "not measured".to_owned(),
            (_, Some(true)) => "met".to_owned(),
            (_, Some(false)) => format!("MISSED by {:.1} %", self.missed_by.unwrap_or(0.0) * 100.0),
            (Some(_), None) => "reported".to_owned(),
        }
    }
}

/// Every target, judged; those of which neither side was measured are left out.
pub(super) fn judge(cells: &BTreeMap<String, Summary>) -> Vec<Outcome> {
    let wanted = all().into_iter().filter(|target| cells.contains_key(&target.of) || cells.contains_key(&target.by));
    wanted.map(|target| outcome(&target, cells)).collect()
}

fn outcome(target: &Target, cells: &BTreeMap<String, Summary>) -> Outcome {
    let (name, read): (_, fn(&Summary) -> Option<f64>) = match target.figure {
        Figure::Rate => ("rate", |cell| cell.rate_per_s.map(|spread| spread.median)),
        Figure::P50 => ("p50", |cell| cell.p50_ns.map(|spread| spread.median)),
        Figure::P99 => ("p99", |cell| cell.p99_ns.map(|spread| spread.median)),
    };
    let figure = |id: &str| cells.get(id).and_then(read);
    let ratio = figure(&target.of).zip(figure(&target.by)).filter(|(_, by)| *by > 0.0).map(|(of, by)| of / by);
    let (word, bound) = match target.bound {
        Bound::AtLeast(bound) => ("at least", Some(bound)),
        Bound::AtMost(bound) => ("at most", Some(bound)),
        Bound::Above(bound) => ("above", Some(bound)),
        Bound::Below(bound) => ("below", Some(bound)),
        Bound::Reported => ("no bound", None),
    };
    let met = ratio.zip(bound).map(|(ratio, bound)| match target.bound {
        Bound::AtLeast(_) => ratio >= bound,
        Bound::AtMost(_) => ratio <= bound,
        Bound::Above(_) => ratio > bound,
        Bound::Below(_) => ratio < bound,
        Bound::Reported => true,
    });
    Outcome {
        what: format!("{name} of {} by that of {}", target.of, target.by),
        wanted: bound.map_or(word.to_owned(), |bound| format!("{word} {bound:.2}")),
        ratio,
        met,
        missed_by: ratio.zip(bound).filter(|_| met == Some(false)).map(|(ratio, bound)| (ratio / bound - 1.0).abs()),
    }
}

/// All targets, in the order of the rows.
fn all() -> Vec<Target> {
    use Bound::{Above, AtLeast, AtMost, Below, Reported};
    use Figure::{P50, P99, Rate};
    let mut targets = Vec::new();
    let mut want = |figure, of: &str, by: &str, bound| {
        targets.push(Target { figure, of: of.to_owned(), by: by.to_owned(), bound });
    };
    let udp_rate = "udp-rate/64B/ringway";
    want(Rate, udp_rate, "udp-rate/64B/raw", AtLeast(0.92));
    want(Rate, udp_rate, "udp-rate/64B/kernel-spin", AtLeast(1.25));
    let udp = "udp-latency/64B/ringway";
    want(P50, udp, "udp-latency/64B/raw", AtMost(1.10));
    want(P99, udp, "udp-latency/64B/raw", AtMost(1.30));
    want(P50, udp, "udp-latency/64B/kernel", AtMost(0.30));
    want(P50, udp, "udp-latency/64B/kernel-spin", AtMost(0.85));
    let tcp = "tcp-rr/1c/ringway";
    want(P50, tcp, udp, AtMost(1.15));
    want(P50, tcp, "tcp-rr/1c/kernel", AtMost(0.30));
    want(P50, tcp, "tcp-rr/1c/kernel-spin", AtMost(0.70));
    for load in ["64c", "1000c", "10000c"] {
        want(Rate, &format!("tcp-rr/{load}/ringway"), &format!("tcp-rr/{load}/kernel"), AtLeast(2.0));
    }
    want(Rate, "tcp-rr/10000c/ringway", "tcp-rr/64c/ringway", AtLeast(0.85));
    want(Rate, "tcp-rr/64c/ringway", udp_rate, AtLeast(0.70));
    want(Rate, "crr/pair/ringway", "crr/pair/kernel", AtLeast(3.0));
    for peer in ["kernel", "smoltcp"] {
        want(Rate, "crr/kernel-client/ringway", &format!("crr/kernel-client/{peer}"), AtLeast(1.1));
    }
    for way in ["send", "receive"] {
        for streams in [1, 4, 64] {
            let cell = |mtu, stack: &str| format!("bulk/{mtu}-{way}-{streams}/{stack}");
            want(Rate, &cell(1500, "ringway"), &cell(1500, "kernel-no-offloads"), AtLeast(1.3));
            want(Rate, &cell(1500, "ringway"), &cell(1500, "smoltcp"), AtLeast(1.1));
            for mtu in [1500, 3400] {
                want(Rate, &cell(mtu, "ringway"), &cell(mtu, "kernel"), Reported);
            }
        }
    }
    let under = |load: &str, stack: &str| format!("kernel-client/{load}/{stack}");
    want(Rate, &under("udp-64", "ringway"), &under("udp-64", "raw"), AtLeast(0.9));
    for what in ["udp", "tcp", "http"] {
        for peer in ["smoltcp", "kernel", "kernel-spin"] {
            let (one, many) = (format!("{what}-1"), format!("{what}-64"));
            want(P50, &under(&one, "ringway"), &under(&one, peer), Below(1.0));
            want(Rate, &under(&many, "ringway"), &under(&many, peer), Above(1.0));
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::super::summary::Spread;
    use super::*;

    fn cell(rate: f64, p50: f64) -> Summary {
        let spread = |median| Some(Spread { median, low: median, high: median });
        Summary { rate_per_s: spread(rate), p50_ns: spread(p50), ..Summary::default() }
    }

    #[test]
    fn every_target_names_cells_that_are_measured() {
        let ids: Vec<String> = rows::cells().iter().map(rows::Cell::id).collect();
        for target in all() {
            for id in [&target.of, &target.by] {
                assert!(ids.contains(id), "{id}");
            }
        }
    }

    #[test]
    fn a_ratio_is_met_missed_or_not_known() {
        let mut cells = BTreeMap::new();
        cells.insert("udp-rate/64B/ringway".to_owned(), cell(90.0, 0.0));
        cells.insert("udp-rate/64B/raw".to_owned(), cell(100.0, 0.0));
        cells.insert("udp-latency/64B/ringway".to_owned(), cell(0.0, 3000.0));
        cells.insert("udp-latency/64B/kernel".to_owned(), cell(0.0, 10_000.0));
        let judged = judge(&cells);
        let of = |what: &str| judged.iter().find(|outcome| outcome.what == what).map(Outcome::verdict);
        assert_eq!(of("rate of udp-rate/64B/ringway by that of udp-rate/64B/raw").as_deref(), Some("MISSED by 2.2 %"));
        assert_eq!(of("p50 of udp-latency/64B/ringway by that of udp-latency/64B/kernel").as_deref(), Some("met"));
        assert_eq!(of("rate of udp-rate/64B/ringway by that of udp-rate/64B/kernel-spin").as_deref(), Some("not measured"));
        assert!(!judged.iter().any(|outcome| outcome.what.contains("crr")), "what has no figures has no targets");
    }

    #[test]
    fn a_known_loss_is_reported() {
        let cells: BTreeMap<_, _> = ["ringway", "kernel"]
            .into_iter()
            .zip([1.0, 10.0])
            .map(|(stack, rate)| (format!("bulk/1500-send-1/{stack}"), cell(rate, 0.0)))
            .collect();
        let judged = judge(&cells);
        let known: Vec<_> = judged.iter().filter(|outcome| outcome.ratio.is_some()).collect();
        assert_eq!((known.len(), known[0].verdict().as_str(), known[0].met), (1, "reported", None));
    }
}
