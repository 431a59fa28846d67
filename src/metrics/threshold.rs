//! `--fail-if 'p99>50us'`: a condition under which a run has missed its aim (exit code 4).
//!
//! Latencies are those of `rtt_ns` where there is a due time, else of `rtt_uncorrected_ns`. What cannot be told (too few values)
//! counts as missed: an aim that was not shown to be met is not met. Pure; cannot panic.

use std::fmt;
use std::str::FromStr;

use super::histogram::{self, Reading};
use super::row::{Percentiles, Row};
use super::units;
use crate::error::SetupError;

/// A condition that must not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    metric: Metric,
    operator: Operator,
    value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Quantile(Percentile),
    Mean,
    Lost,
    Late,
    Rate,
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Percentile {
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Above,
    Below,
    AtLeast,
    AtMost,
}

/// What a row says about a threshold.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The condition does not hold: the aim is met.
    Met,
    /// The condition holds, or cannot be told: the aim is missed. The text says why.
    Missed(String),
}

const METRICS: [(&str, Metric); 11] = [
    ("p50", Metric::Quantile(Percentile::P50)),
    ("p90", Metric::Quantile(Percentile::P90)),
    ("p99", Metric::Quantile(Percentile::P99)),
    ("p999", Metric::Quantile(Percentile::P999)),
    ("p9999", Metric::Quantile(Percentile::P9999)),
    ("max", Metric::Quantile(Percentile::Max)),
    ("mean", Metric::Mean),
    ("lost", Metric::Lost),
    ("late", Metric::Late),
    ("rate", Metric::Rate),
    ("open", Metric::Open),
];

const OPERATORS: [(&str, Operator); 4] =
    [(">=", Operator::AtLeast), ("<=", Operator::AtMost), (">", Operator::Above), ("<", Operator::Below)];

impl Threshold {
    /// Judges a row.
    pub fn judge(&self, row: &Row) -> Verdict {
        let latency = row.rtt_ns.as_ref().or(row.rtt_uncorrected_ns.as_ref());
        let unanswered = row.lost.saturating_sub(row.late);
        let reading = match (self.metric, latency) {
            (Metric::Lost, _) => Known::Exactly(row.lost as f64),
            (Metric::Late, _) => Known::Exactly(row.late as f64),
            (Metric::Rate, _) => Known::Exactly(row.rate_per_s),
            (Metric::Open, _) => row.ramp.as_ref().map_or(Known::Nothing, |ramp| Known::Exactly(ramp.open as f64)),
            (_, None) => Known::Nothing,
            (Metric::Mean, Some(p)) => p.mean.map_or(Known::Nothing, Known::Exactly),
            (Metric::Quantile(percentile), Some(p)) => {
                let (value, q) = percentile.of(p);
                match histogram::reading(value, p.count, unanswered, q) {
                    Reading::Exact(ns) => Known::Exactly(ns as f64),
                    Reading::AtLeast(ns) => Known::AtLeast(ns as f64),
                    Reading::Unknown => Known::Nothing,
                }
            }
        };
        let name = format!("{} {} over {}", self.name(), row.transport, row.client_stack);
        match reading {
            Known::Exactly(found) if self.operator.holds(found, self.value) => {
                Verdict::Missed(format!("{name} is {}: {self}", self.show(found)))
            }
            Known::Exactly(_) => Verdict::Met,
            Known::AtLeast(bound) if matches!(self.operator, Operator::Below | Operator::AtMost) && bound > self.value => {
                Verdict::Met
            }
            Known::AtLeast(bound) => {
                Verdict::Missed(format!("{name} is at least {} ({unanswered} unanswered): {self}", self.show(bound)))
            }
            Known::Nothing if self.metric == Metric::Open => {
                Verdict::Missed(format!("{name} is not known (nothing was ramped): {self}"))
            }
            Known::Nothing => Verdict::Missed(format!("{name} is not known (too few messages): {self}")),
        }
    }

    fn name(&self) -> &'static str {
        METRICS.iter().find(|(_, metric)| *metric == self.metric).map_or("", |(name, _)| name)
    }

    fn show(&self, value: f64) -> String {
        match self.metric {
            Metric::Quantile(_) | Metric::Mean => units::duration(value),
            Metric::Lost | Metric::Late | Metric::Rate | Metric::Open => units::count(value),
        }
    }
}

enum Known {
    Exactly(f64),
    AtLeast(f64),
    Nothing,
}

impl Percentile {
    const fn of(self, p: &Percentiles) -> (Option<u64>, f64) {
        match self {
            Self::P50 => (p.p50, 0.5),
            Self::P90 => (p.p90, 0.9),
            Self::P99 => (p.p99, 0.99),
            Self::P999 => (p.p999, 0.999),
            Self::P9999 => (p.p9999, 0.9999),
            Self::Max => (p.max, 1.0),
        }
    }
}

impl Operator {
    fn holds(self, found: f64, value: f64) -> bool {
        match self {
            Self::Above => found > value,
            Self::Below => found < value,
            Self::AtLeast => found >= value,
            Self::AtMost => found <= value,
        }
    }
}

impl FromStr for Threshold {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let refuse = |why: String| SetupError::usage(format!("bad --fail-if '{text}'"), why).mend("--fail-if 'p99>50us'");
        let (at, symbol, operator) = text
            .char_indices()
            .find_map(|(at, _)| OPERATORS.iter().find(|(symbol, _)| text[at..].starts_with(symbol)).map(|&(s, o)| (at, s, o)))
            .ok_or_else(|| refuse("it needs one of > < >= <=".into()))?;
        let name = text[..at].trim();
        let metric = METRICS.iter().find(|(known, _)| *known == name).map(|&(_, metric)| metric).ok_or_else(|| {
            let names: Vec<_> = METRICS.iter().map(|(name, _)| *name).collect();
            refuse(format!("'{name}' is none of {}", names.join(", ")))
        })?;
        let number = &text[at + symbol.len()..];
        let value = match metric {
            Metric::Quantile(_) | Metric::Mean => units::parse_duration_ns(number),
            Metric::Lost | Metric::Late | Metric::Rate | Metric::Open => units::parse_count(number),
        };
        let value = value.ok_or_else(|| refuse(format!("'{}' is neither a number nor one with a unit", number.trim())))?;
        Ok(Self { metric, operator, value })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = OPERATORS.iter().find(|(_, operator)| *operator == self.operator).map_or("", |(symbol, _)| symbol);
        write!(f, "--fail-if '{}{symbol}{}'", self.name(), self.show(self.value).replace(' ', ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let rtt = Percentiles {
            count: 1000,
            mean: Some(6000.0),
            p50: Some(5000),
            p99: Some(40_000),
            max: Some(60_000),
            ..Percentiles::default()
        };
        Row {
            transport: "tcp".into(),
            client_stack: "kernel".into(),
            rtt_uncorrected_ns: Some(rtt),
            rate_per_s: 120_000.0,
            ..Row::default()
        }
    }

    fn judge(text: &str, row: &Row) -> Verdict {
        text.parse::<Threshold>().expect(text).judge(row)
    }

    #[test]
    fn an_aim_is_met_or_missed() {
        for met in
            ["p99>40us", "p99 >= 41us", "p50<5us", "max>1ms", "mean>6.1us", "lost>0", "late >= 1", "rate<100K", "rate<=119999"]
        {
            assert_eq!(judge(met, &row()), Verdict::Met, "{met}");
        }
        for missed in ["p99>=40us", "p99>39999", "p50<=5us", "max>59us", "mean<7us", "lost>=0", "rate<1M"] {
            assert!(matches!(judge(missed, &row()), Verdict::Missed(_)), "{missed}");
        }
        let Verdict::Missed(why) = judge("p99>30us", &row()) else { panic!("it is missed") };
        assert_eq!(why, "p99 tcp over kernel is 40.0 us: --fail-if 'p99>30.0us'");
    }

    #[test]
    fn the_corrected_latency_counts_where_there_is_one() {
        let slow = Percentiles { p99: Some(900_000), ..row().rtt_uncorrected_ns.expect("it is there") };
        assert!(matches!(judge("p99>50us", &Row { rtt_ns: Some(slow), ..row() }), Verdict::Missed(_)));
    }

    #[test]
    fn lower_bounds_and_unknown_figures_are_not_met() {
        let lossy = Row {
            lost: 20,
            rtt_uncorrected_ns: Some(Percentiles { p99: None, max: None, ..row().rtt_uncorrected_ns.expect("it is there") }),
            ..row()
        };
        let Verdict::Missed(why) = judge("p99>50us", &lossy) else { panic!("unanswered messages raise it") };
        assert!(why.contains("at least 1.00 s (20 unanswered)"), "{why}");
        assert_eq!(judge("p99<50us", &lossy), Verdict::Met, "it certainly is not below");
        assert!(matches!(judge("p99>2s", &lossy), Verdict::Missed(_)), "it might be above");
        let Verdict::Missed(why) = judge("p9999>1s", &row()) else { panic!("nobody knows") };
        assert!(why.contains("too few messages"), "{why}");
        assert!(matches!(judge("p50>1s", &Row::default()), Verdict::Missed(_)));
    }

    #[test]
    fn a_ramp_is_judged_by_what_is_open_at_its_end() {
        let ramped = Row { ramp: Some(super::super::row::Ramp { open: 999_999, ..Default::default() }), ..row() };
        assert_eq!(judge("open<999999", &ramped), Verdict::Met);
        assert!(matches!(judge("open<1M", &ramped), Verdict::Missed(_)));
        let Verdict::Missed(why) = judge("open<1M", &row()) else { panic!("there was no ramp") };
        assert!(why.contains("nothing was ramped"), "{why}");
    }

    #[test]
    fn what_is_not_understood_is_explained() {
        for (text, why) in [
            ("p99", "one of > < >= <="),
            ("p98>1us", "'p98' is none of p50, p90"),
            ("p99>", "'' is neither"),
            ("p99>fast", "'fast' is neither"),
            ("lost>1us", "'1us' is neither"),
            (">1us", "'' is none of"),
            ("p99>€", "'€' is neither"),
        ] {
            let error = text.parse::<Threshold>().expect_err(text);
            assert!(error.exit_code() == 2 && error.to_string().contains(why), "{error}");
        }
    }
}
