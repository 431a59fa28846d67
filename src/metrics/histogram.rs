//! Latency histograms of fixed size.
//!
//! A [`Recorder`] takes 1 ns to 60 s at three digits (27,648 counters); larger values count as 60 s. It never grows: recording
//! neither allocates nor fails. Messages that were due and never answered are kept beside the values, because they belong to
//! the distribution: a percentile that they could change is known only as a lower bound ([`Reading::AtLeast`]).

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, IntervalLogWriterError, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::row::Percentiles;

/// A message without an answer for this long after its due time is lost; one that is never answered took at least as long.
pub const LOST_AFTER_NS: u64 = 1_000_000_000;
/// Largest value a [`Recorder`] tells apart, in nanoseconds.
pub const HIGHEST_NS: u64 = 60_000_000_000;

/// A latency distribution being recorded.
#[derive(Clone)]
pub struct Recorder {
    histogram: Histogram<u64>,
    unanswered: u64,
}

/// What is known of a percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The value in nanoseconds, to three digits.
    Exact(u64),
    /// Unanswered messages could raise it; it is at least so many nanoseconds.
    AtLeast(u64),
    /// Too few values for this percentile.
    Unknown,
}

impl Recorder {
    /// An empty recorder; all its memory is allocated here.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("the bounds are valid");
        Self { histogram, unanswered: 0 }
    }

    /// Records one value in nanoseconds; above 60 s it counts as 60 s.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns.max(1));
    }

    /// Adds messages that were due and never answered: each took [`LOST_AFTER_NS`] or longer.
    pub const fn add_unanswered(&mut self, messages: u64) {
        self.unanswered += messages;
    }

    /// Adds what another recorder holds.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all recorders have the same bounds");
        self.unanswered += other.unanswered;
    }

    /// Values recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Messages never answered.
    pub const fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// What is known of the quantile `q` (0.5 is the median, 1.0 the maximum).
    pub fn quantile(&self, q: f64) -> Reading {
        let count = self.histogram.len();
        let total = count + self.unanswered;
        if !supported(total, q) {
            return Reading::Unknown;
        }
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let below = if self.unanswered == 0 { count } else { self.histogram.count_between(1, LOST_AFTER_NS) };
        if rank <= below {
            Reading::Exact(self.at_rank(rank))
        } else if rank <= below + self.unanswered {
            Reading::AtLeast(LOST_AFTER_NS)
        } else {
            Reading::AtLeast(self.at_rank(rank - self.unanswered))
        }
    }

    /// The row's form of the distribution; `None` when nothing was due.
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.count() + self.unanswered == 0 {
            return None;
        }
        let exact = |q| match self.quantile(q) {
            Reading::Exact(ns) => Some(ns),
            Reading::AtLeast(_) | Reading::Unknown => None,
        };
        Some(Percentiles {
            count: self.count(),
            mean: (self.unanswered == 0).then(|| self.histogram.mean()),
            p50: exact(0.5),
            p90: exact(0.9),
            p99: exact(0.99),
            p999: exact(0.999),
            p9999: exact(0.9999),
            max: exact(1.0),
        })
    }

    /// Points of the cumulative distribution for a plot: (quantile, nanoseconds), rising in both. Unanswered messages lie
    /// beyond the last point: the curve ends below 1.
    pub fn points(&self) -> Vec<(f64, u64)> {
        let total = (self.count() + self.unanswered) as f64;
        let mut seen = 0;
        let mut points = Vec::new();
        for step in self.histogram.iter_quantiles(12) {
            seen += step.count_since_last_iteration();
            points.push((seen as f64 / total, step.value_iterated_to()));
        }
        points.dedup_by(|next, last| next.0 <= last.0);
        points
    }

    fn at_rank(&self, rank: u64) -> u64 {
        // Half a rank below the border, so that rounding cannot select the next one.
        self.histogram.value_at_quantile((rank as f64 - 0.5) / self.histogram.len().max(1) as f64)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its percentiles: the 27,648 counters would bury whatever is printed with it.
        write!(f, "Recorder({:?}, {} unanswered)", self.percentiles().unwrap_or_default(), self.unanswered)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// True when `count` values support the quantile `q`: at least one lies above it. The median and the maximum need one value.
pub fn supported(count: u64, q: f64) -> bool {
    count > 0 && (q <= 0.5 || q >= 1.0 || count as f64 * (1.0 - q) >= 1.0 - 1e-9)
}

/// What a row knows of a percentile: its value, or the lower bound that `unanswered` messages leave.
pub fn reading(value: Option<u64>, count: u64, unanswered: u64, q: f64) -> Reading {
    match value {
        Some(ns) => Reading::Exact(ns),
        None if unanswered > 0 && supported(count + unanswered, q) => Reading::AtLeast(LOST_AFTER_NS),
        None => Reading::Unknown,
    }
}

/// Writes recorders as one HdrHistogram interval log (`.hlog`, format 1.3, values in nanoseconds), one line for each, with its
/// tag. HistogramLogAnalyzer, HistogramLogProcessor and the hdrhistogram libraries read it. Characters that a tag may not
/// contain are replaced by `_`.
///
/// # Errors
/// The writer fails.
pub fn write_hlog(
    writer: &mut impl io::Write,
    recorders: &[(&str, &Recorder)],
    start: SystemTime,
    duration: Duration,
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!("[ringway {}, values in nanoseconds]", env!("CARGO_PKG_VERSION")))
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(1e6)
        .begin_log_with(writer, &mut serializer)?;
    for (name, recorder) in recorders {
        let name: String = name.chars().map(|c| if c == ',' || c.is_whitespace() { '_' } else { c }).collect();
        log.write_histogram(&recorder.histogram, Duration::ZERO, duration, Tag::new(&name)).map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(error) => io::Error::other(format!("{error:?}")),
        })?;
    }
    Ok(())
}

/// Reads the intervals of an HdrHistogram interval log, with their tags (empty where there is none). A log does not tell how many
/// messages were never answered: add them.
///
/// # Errors
/// A line is not of the format, or a histogram has values beyond 60 s.
pub fn read_hlog(log: &[u8]) -> Result<Vec<(String, Recorder)>, String> {
    let mut recorders = Vec::new();
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(interval) = entry.map_err(|error| format!("not a histogram log: {error:?}"))? else { continue };
        let tag = interval.tag().map_or("", |tag| tag.as_str()).to_owned();
        let bytes = base64(interval.encoded_histogram()).ok_or("not base64")?;
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| format!("not a histogram: {error:?}"))?;
        let mut recorder = Recorder::new();
        recorder.histogram.add(&histogram).map_err(|error| format!("the histogram has other bounds: {error:?}"))?;
        recorders.push((tag, recorder));
    }
    Ok(recorders)
}

/// The bytes of a base64 text (RFC 4648 4); `None` when it is not one.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for character in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | ALPHABET.iter().position(|&a| a == character)? as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(values: impl IntoIterator<Item = u64>) -> Recorder {
        let mut recorder = Recorder::new();
        values.into_iter().for_each(|ns| recorder.record(ns));
        recorder
    }

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let p = recorded((1..=10_000).map(|n| n * 1000)).percentiles().expect("there are values");
        let near = |found: Option<u64>, wanted: u64| found.is_some_and(|ns| ns.abs_diff(wanted) * 1000 <= wanted);
        assert_eq!(p.count, 10_000);
        assert!(near(p.p50, 5_000_000) && near(p.p90, 9_000_000) && near(p.p99, 9_900_000), "{p:?}");
        assert!(near(p.p999, 9_990_000) && near(p.p9999, 9_999_000) && near(p.max, 10_000_000), "{p:?}");
    }

    #[test]
    fn a_percentile_needs_a_value_above_it() {
        let p = recorded(1..=99).percentiles().expect("there are values");
        assert!(p.p90.is_some() && p.max == Some(99));
        assert_eq!((p.p99, p.p999), (None, None));
        assert!(recorded(1..=100).percentiles().is_some_and(|p| p.p99.is_some()));
        assert_eq!(recorded([7]).percentiles().and_then(|p| p.p50), Some(7));
        assert_eq!(Recorder::new().percentiles(), None);
    }

    #[test]
    fn unanswered_messages_make_the_upper_percentiles_lower_bounds() {
        let mut recorder = recorded((0..980).map(|_| 5_000));
        recorder.add_unanswered(20);
        let exact = |q| matches!(recorder.quantile(q), Reading::Exact(ns) if ns.abs_diff(5_000) <= 5);
        assert!(exact(0.5) && exact(0.9) && exact(0.98));
        assert_eq!(recorder.quantile(0.99), Reading::AtLeast(LOST_AFTER_NS));
        assert_eq!(recorder.quantile(1.0), Reading::AtLeast(LOST_AFTER_NS));
        let p = recorder.percentiles().expect("there are values");
        assert_eq!((p.p99, p.max, p.mean), (None, None, None));
        assert_eq!(reading(p.p99, p.count, 20, 0.99), Reading::AtLeast(LOST_AFTER_NS));
        assert_eq!(reading(p.p9999, p.count, 20, 0.9999), Reading::Unknown);
    }

    #[test]
    fn a_late_answer_above_the_unanswered_ones_is_a_better_lower_bound() {
        let mut recorder = recorded([5_000, 5_000, 3_000_000_000]);
        recorder.add_unanswered(1);
        assert!(matches!(recorder.quantile(1.0), Reading::AtLeast(ns) if ns >= 3_000_000_000));
        assert!(matches!(recorder.quantile(0.5), Reading::Exact(_)));
    }

    #[test]
    fn values_beyond_the_bounds_saturate() {
        let recorder = recorded([0, u64::MAX]);
        assert_eq!(recorder.count(), 2);
        assert!(matches!(recorder.quantile(1.0), Reading::Exact(ns) if (HIGHEST_NS..2 * HIGHEST_NS).contains(&ns)));
    }

    #[test]
    fn merged_recorders_equal_one_that_saw_everything() {
        let mut left = recorded(1..500);
        let mut right = recorded(500..1000);
        right.add_unanswered(3);
        left.merge(&right);
        let mut all = recorded(1..1000);
        all.add_unanswered(3);
        assert_eq!(left.percentiles(), all.percentiles());
        assert_eq!(left.points(), all.points());
    }

    #[test]
    fn the_curve_rises_and_ends_where_the_unanswered_begin() {
        let mut recorder = recorded((1..=900).map(|n| n * 10));
        assert!(recorder.points().last().is_some_and(|last| last.0 == 1.0));
        recorder.add_unanswered(100);
        let points = recorder.points();
        assert!(points.len() > 20 && points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        assert!(points.last().is_some_and(|last| (last.0 - 0.9).abs() < 1e-9));
    }

    #[test]
    fn a_log_is_read_back_as_it_was_written() {
        let (udp, tcp) = (recorded(1..100), recorded(100..300));
        let mut log = Vec::new();
        write_hlog(&mut log, &[("udp rtt", &udp), ("tcp", &tcp)], SystemTime::UNIX_EPOCH, Duration::from_secs(5))
            .expect("memory");
        let text = String::from_utf8(log.clone()).expect("text");
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"));
        assert!(text.lines().any(|line| line.starts_with("Tag=udp_rtt,0.000,5.000,0.000,HISTFAAA")), "{text}");
        let back = read_hlog(&log).expect("what was written");
        assert_eq!(back.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), ["udp_rtt", "tcp"]);
        assert_eq!((back[0].1.points(), back[1].1.percentiles()), (udp.points(), tcp.percentiles()));
    }

    #[test]
    fn what_is_no_log_is_refused() {
        for nonsense in ["Tag=a,0.0,1.0,2.0,HIST!", "Tag=a,0.0,1.0,2.0,HISTFAAA", "one,two"] {
            assert!(read_hlog(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
        assert!(read_hlog(b"#nothing\n").is_ok_and(|recorders| recorders.is_empty()));
        assert_eq!(base64("aGk="), Some(b"hi".to_vec()));
        assert_eq!(base64("a b"), None);
    }
}
