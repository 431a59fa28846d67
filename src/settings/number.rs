//! Numbers, sizes, durations and lists as users write them: `5s`, `64K`, `1.5M`, `0-3,5`.
//!
//! Called by the settings and by the command line. Pure; any text gives a value or a [`SetupError`] that shows a corrected word,
//! never a panic. Counts and rates take K, M and G as powers of 1000; sizes in bytes take them as powers of 1024, as iperf3 does.

use std::time::Duration;

use crate::error::SetupError;

/// A count: `128`, `10K` (10,000), `1.5M`.
///
/// # Errors
/// Not a whole number, or above `u64::MAX`.
pub fn count(text: &str) -> Result<u64, SetupError> {
    let bad = |why: String| SetupError::usage(format!("cannot read the count '{text}'"), why).mend("32 or 10K");
    scaled(text, 1000).map_err(|why| bad(why.explain("a whole number, with K, M or G for thousands, millions and billions")))
}

/// A number of bytes: `64`, `64K` (65,536), `1M`.
///
/// # Errors
/// Not a whole number of bytes, or above `u64::MAX`.
pub fn bytes(text: &str) -> Result<u64, SetupError> {
    let bad = |why: String| SetupError::usage(format!("cannot read the size '{text}'"), why);
    scaled(text, 1024).map_err(|why| bad(why.explain("bytes, with K, M or G for powers of 1024")))
}

/// Messages per second: `1000`, `250K`, `0.5`.
///
/// # Errors
/// Not a number, zero, or above 10^12.
pub fn rate(text: &str) -> Result<f64, SetupError> {
    let (digits, unit) = split(text);
    let factor = power(unit, 1000).map(|n| n as f64);
    let value = factor.and_then(|factor| digits.parse::<f64>().ok().map(|n| n * factor));
    match value {
        Some(per_s) if digits_only(digits) && per_s > 0.0 && per_s <= 1e12 => Ok(per_s),
        _ => Err(SetupError::usage(
            format!("cannot read the rate '{text}'"),
            "a rate is a number of messages per second above 0, with K, M or G for thousands, millions and billions",
        )
        .mend("--rate 100K")),
    }
}

/// A span of time: `20us`, `1.5ms`, `5s`, `2m`. The unit is required: a bare number could mean anything.
///
/// # Errors
/// No number, no unit or an unknown one, finer than a nanosecond, or above 584 years.
pub fn duration(text: &str) -> Result<Duration, SetupError> {
    let bad = |why: &str| SetupError::usage(format!("cannot read the duration '{text}'"), why).mend("500ms, 10s or 2m");
    let (digits, unit) = split(text);
    let unit_ns: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "" if !digits.is_empty() && digits_only(digits) => {
            return Err(bad("the unit is missing: us, ms, s or m").mend(format!("{digits}s")));
        }
        _ => return Err(bad("a duration is a number with one of the units us, ms, s, m")),
    };
    let ns = decimal(digits, unit_ns).map_err(|why| bad(&why.explain("a number with one of the units us, ms, s, m")))?;
    Ok(Duration::from_nanos(ns))
}

/// A share in percent, as parts of 10^9: `1%`, `0.1%`. The sign is required: a bare number could mean a count.
///
/// # Errors
/// No number, no sign, above 100 %, or finer than a part of 10^9.
pub fn percent(text: &str) -> Result<u32, SetupError> {
    let bad = |why: &str| SetupError::usage(format!("cannot read the share '{text}'"), why).mend("1%");
    let (digits, unit) = split(text);
    match unit {
        "%" => {}
        "" if !digits.is_empty() => return Err(bad("the percent sign is missing").mend(format!("{digits}%"))),
        _ => return Err(bad("a share is a number with % behind it")),
    }
    match decimal(digits, u64::from(WHOLE / 100)) {
        Ok(parts) => {
            u32::try_from(parts).ok().filter(|&parts| parts <= WHOLE).ok_or_else(|| bad("it is above 100%").mend("100%"))
        }
        Err(why) => Err(bad(&why.explain("a number with % behind it"))),
    }
}

/// All of it, as [`percent`] counts.
pub const WHOLE: u32 = 1_000_000_000;

/// `on` or `off`.
///
/// # Errors
/// Anything else.
pub fn switch(text: &str) -> Result<bool, SetupError> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(SetupError::usage(format!("cannot read the switch '{text}'"), "a switch is on or off")),
    }
}

/// A list of small numbers and ranges: `0`, `0-3`, `0,2,4-6`. The order is kept, because queues and cores pair by position.
///
/// # Errors
/// Not a list, a range that runs backwards, a number twice, or one above 4095.
pub fn list(text: &str) -> Result<Vec<u32>, SetupError> {
    let bad = |why: String| SetupError::usage(format!("cannot read the list '{text}'"), why).mend("0-3 or 0,2,5");
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |word: &str| match word.parse::<u32>() {
            Ok(n) if n <= LIST_MAX && digits_only(word) => Ok(n),
            Ok(_) => Err(bad(format!("{word} is above {LIST_MAX}"))),
            Err(_) => Err(bad("a list is numbers and ranges with commas between them".to_owned())),
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(bad(format!("the range {first}-{last} runs backwards")));
        }
        for n in first..=last {
            if numbers.contains(&n) {
                return Err(bad(format!("{n} stands there twice")));
            }
            numbers.push(n);
        }
    }
    Ok(numbers)
}

/// A list as [`list`] reads it, ranges joined: `0-3,5`.
pub fn show_list(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &n in numbers {
        match parts.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(n) => *last = n,
            _ => parts.push((n, n)),
        }
    }
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    parts.join(",")
}

/// A span as [`duration`] reads it, in the largest unit that leaves a whole number: `1500us`, `30s`.
pub fn show_duration(span: Duration) -> String {
    let ns = span.as_nanos();
    let units = [(60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    match units.into_iter().find(|&(unit_ns, _)| ns >= unit_ns && ns.is_multiple_of(unit_ns)) {
        Some((unit_ns, unit)) => format!("{}{unit}", ns / unit_ns),
        None if ns == 0 => "0s".to_owned(),
        None => format!("{}us", ns as f64 / 1e3),
    }
}

/// A size as [`bytes`] reads it, in the largest unit that leaves a whole number: `256K`.
pub fn show_bytes(bytes: u64) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.into_iter().find(|&(factor, _)| bytes >= factor && bytes.is_multiple_of(factor)) {
        Some((factor, unit)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// The largest number of a list: more CPUs than Linux supports by default, more queues than any NIC has.
const LIST_MAX: u32 = 4095;

/// Why a number could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    NotANumber,
    Unit,
    Fraction,
    TooLarge,
}

impl Bad {
    fn explain(self, expected: &str) -> String {
        match self {
            Self::NotANumber => format!("expected {expected}"),
            Self::Unit => format!("the unit is unknown; expected {expected}"),
            Self::Fraction => "it is not a whole number of the smallest unit".to_owned(),
            Self::TooLarge => "it is too large".to_owned(),
        }
    }
}

/// A whole number with K, M or G behind it.
fn scaled(text: &str, base: u64) -> Result<u64, Bad> {
    let (digits, unit) = split(text);
    decimal(digits, power(unit, base).ok_or(if digits.is_empty() { Bad::NotANumber } else { Bad::Unit })?)
}

/// The number in front and the letters behind it.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    text.split_at(end)
}

fn power(unit: &str, base: u64) -> Option<u64> {
    match unit {
        "" => Some(1),
        "K" | "k" => Some(base),
        "M" => Some(base.pow(2)),
        "G" => Some(base.pow(3)),
        _ => None,
    }
}

fn digits_only(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// `digits` times `unit`, exactly: "1.5" times 1000 is 1500, "1.0001" times 1000 is an error.
fn decimal(digits: &str, unit: u64) -> Result<u64, Bad> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || digits.ends_with('.') || fraction.contains('.') {
        return Err(Bad::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    let whole: u128 = whole.parse().map_err(|_| if digits_only(whole) { Bad::TooLarge } else { Bad::NotANumber })?;
    let mut total = whole.checked_mul(unit.into()).ok_or(Bad::TooLarge)?;
    if !fraction.is_empty() {
        let scale = u32::try_from(fraction.len()).ok().and_then(|n| 10u128.checked_pow(n)).ok_or(Bad::Fraction)?;
        let part = fraction.parse::<u128>().map_err(|_| Bad::NotANumber)?.checked_mul(unit.into()).ok_or(Bad::Fraction)?;
        if part % scale != 0 {
            return Err(Bad::Fraction);
        }
        total += part / scale;
    }
    u64::try_from(total).map_err(|_| Bad::TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_are_powers_of_1000_and_sizes_of_1024() {
        for (text, as_count, as_bytes) in
            [("0", 0, 0), ("7", 7, 7), ("10K", 10_000, 10_240), ("1.5M", 1_500_000, 1_572_864), ("2G", 2_000_000_000, 2 << 30)]
        {
            assert_eq!(count(text).unwrap(), as_count, "{text}");
            assert_eq!(bytes(text).unwrap(), as_bytes, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("20us").unwrap(), Duration::from_micros(20));
        assert_eq!(duration("1.5ms").unwrap(), Duration::from_micros(1500));
        assert_eq!(duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(duration("5").unwrap_err().remedy(), Some("5s"));
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!(rate("250K").unwrap(), 250_000.0);
        assert_eq!(rate("0.5").unwrap(), 0.5);
        for bad in ["0", "-1", "inf", "nan", "1e5", "", "K", "10T"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_are_exact_parts_of_a_thousand_million() {
        for (text, parts) in [("0%", 0), ("1%", 10_000_000), ("0.1%", 1_000_000), ("12.5%", 125_000_000), ("100%", WHOLE)] {
            assert_eq!(percent(text).unwrap(), parts, "{text}");
        }
        assert_eq!(percent("1").unwrap_err().remedy(), Some("1%"));
        for bad in ["", "%", "101%", "-1%", "1 %", "1%%", "0.00000001%", "99999999999999999999%"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_keep_their_order() {
        assert_eq!(list("3,0-2").unwrap(), [3, 0, 1, 2]);
        assert_eq!(show_list(&[3, 0, 1, 2]), "3,0-2");
        for bad in ["", "a", "1,,2", "3-1", "0,0", "0-1,1", "5000", "-1", "+1", "1-"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_numbers_say_what_is_expected() {
        let errors: Vec<_> = ["", "K", "x", "1x", "1.5", "1.", ".5", "1.2.3", "99999999999999999999", "20000000000G"]
            .iter()
            .map(|text| count(text).unwrap_err().to_string())
            .chain(["", "5", "5h", "us", "0.0001us"].iter().map(|text| duration(text).unwrap_err().to_string()))
            .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(us in 0u64..10_000_000_000, size in any::<u64>()) {
            let span = Duration::from_micros(us);
            prop_assert_eq!(duration(&show_duration(span)).unwrap(), span);
            prop_assert_eq!(bytes(&show_bytes(size)).unwrap(), size);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (count(&text), bytes(&text), rate(&text), duration(&text), list(&text), switch(&text), percent(&text));
        }
    }
}
