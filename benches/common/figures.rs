//! Medians with their spread, and what they are held against.

use std::fmt;

/// Values of the rounds of one figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The value that such a share of the others is below.
    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn least(&self) -> f64 {
        self.at(0.0)
    }

    pub(crate) fn most(&self) -> f64 {
        self.at(1.0)
    }

    /// Round by round, this by the other.
    pub(crate) fn by(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one / other).collect())
    }

    /// Round by round, this less the other.
    pub(crate) fn less(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one - other).collect())
    }
}

impl fmt::Display for Rounds {
    /// The median, and between which values all rounds lay.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median().abs() < 20.0 { 3 } else { 1 };
        write!(
            f,
            "{:>9.digits$}   ({:.digits$} to {:.digits$}, {} rounds)",
            self.median(),
            self.least(),
            self.most(),
            self.0.len()
        )
    }
}

/// Counts the bounds that are missed.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    missed: u32,
}

impl Verdict {
    /// Holds a figure against its bound, and prints both.
    pub(crate) fn hold(&mut self, what: &str, value: f64, met: bool, bound: &str) {
        self.missed += u32::from(!met);
        println!("  {what}: {value:.3}, bound {bound}: {}", if met { "met" } else { "MISSED" });
    }

    pub(crate) const fn missed(&self) -> u32 {
        self.missed
    }
}

/// 1048576 as 1,048,576.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
