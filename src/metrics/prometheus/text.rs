//! The text format: lines of HELP, TYPE and samples, and what has to be escaped in them.
//!
//! Written for Prometheus' text format 0.0.4. Knows no figure; nothing here panics.

use std::fmt::{self, Display, Write as _};

use super::family::Family;
use crate::engine::buckets::Buckets;

/// A page so far.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// What the numbers of a histogram are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nanoseconds, to be printed in seconds.
    Nanoseconds,
    /// As they are.
    One,
}

/// Nanoseconds that are printed in seconds, exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) u64);

impl Text {
    /// The head of a family; its samples follow.
    pub(super) fn family(&mut self, family: &Family) {
        let Family { name, kind, help } = family;
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {}", Escaped { text: help, quotes: false }, kind.name());
    }

    /// A sample. Labels without a value are left out, which means the same.
    pub(super) fn sample(&mut self, family: &Family, labels: &[(&str, &str)], value: impl Display) {
        self.line(family.name, "", labels, value);
    }

    /// All samples of a histogram.
    pub(super) fn histogram<const BOUNDS: usize>(
        &mut self,
        family: &Family,
        labels: &[(&str, &str)],
        buckets: &Buckets<BOUNDS>,
        scale: Scale,
    ) {
        let shown = |value: u64| match scale {
            Scale::Nanoseconds => Seconds(value).to_string(),
            Scale::One => value.to_string(),
        };
        for (bound, count) in buckets.cumulative() {
            self.line(family.name, "_bucket", &[labels, &[("le", &shown(bound))]].concat(), count);
        }
        self.line(family.name, "_bucket", &[labels, &[("le", "+Inf")]].concat(), buckets.len());
        self.line(family.name, "_sum", labels, shown(buckets.sum()));
        self.line(family.name, "_count", labels, buckets.len());
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "{name}{suffix}");
        let mut opened = false;
        for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let before = if opened { ',' } else { '{' };
            opened = true;
            let _ = write!(self.0, "{before}{label}=\"{}\"", Escaped { text: value, quotes: true });
        }
        let _ = writeln!(self.0, "{} {value}", if opened { "}" } else { "" });
    }
}

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A text in which nothing can be taken for the end of its line or, with `quotes`, of a label's value.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.text.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    const FAMILY: Family = Family { name: "a_bytes", kind: Kind::Gauge, help: "One \\ two\n\"three\"." };

    #[test]
    fn nothing_ends_a_line_or_a_label_before_its_end() {
        let mut text = Text::default();
        text.family(&FAMILY);
        text.sample(&FAMILY, &[("name", "a\"b\\c\nd"), ("none", ""), ("core", "0")], 1);
        text.sample(&FAMILY, &[("none", "")], 2);
        let page = "# HELP a_bytes One \\\\ two\\n\"three\".\n# TYPE a_bytes gauge\na_bytes{name=\"a\\\"b\\\\c\\nd\",core=\"0\"} 1\na_bytes 2\n";
        assert_eq!(text.into_string(), page);
    }

    #[test]
    fn seconds_are_exact_to_the_nanosecond() {
        let shown = [0, 1, 1_000, 5_000_000, 1_500_000_000, 10_000_000_000, u64::MAX].map(|ns| Seconds(ns).to_string());
        assert_eq!(shown, ["0", "0.000000001", "0.000001", "0.005", "1.5", "10", "18446744073.709551615"]);
    }

    #[test]
    fn buckets_are_cumulative_and_the_last_holds_all() {
        let mut text = Text::default();
        let mut buckets = Buckets::frames();
        [1, 2, 2, 300].into_iter().for_each(|frames| buckets.count(frames));
        text.histogram(&Family { name: "turn", ..FAMILY }, &[("core", "1")], &buckets, Scale::One);
        let page = text.into_string();
        assert!(page.starts_with("turn_bucket{core=\"1\",le=\"1\"} 1\nturn_bucket{core=\"1\",le=\"2\"} 3\n"), "{page}");
        assert!(
            page.ends_with(
                "le=\"256\"} 3\nturn_bucket{core=\"1\",le=\"+Inf\"} 4\nturn_sum{core=\"1\"} 305\nturn_count{core=\"1\"} 4\n"
            ),
            "{page}"
        );
    }
}
