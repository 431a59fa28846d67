//! Figures as people read and write them: `4.8 us`, `1.25 M`, `50us`, `100K`.
//!
//! Called by the reports and by the threshold parser. Pure; cannot panic.

/// Nanoseconds with three significant digits and a unit: `870 ns`, `4.81 us`, `12.3 ms`, `1.50 s`.
pub fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 999.5 => (ns, "ns"),
        _ if ns < 999_500.0 => (ns / 1e3, "us"),
        _ if ns < 999_500_000.0 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    if unit == "ns" { format!("{value:.0} ns") } else { format!("{} {unit}", three_digits(value)) }
}

/// A count with three significant digits and a decimal suffix: `870`, `12.3K`, `1.25M`.
pub fn count(value: f64) -> String {
    match value {
        _ if value < 999.5 && (value.fract() == 0.0 || value >= 100.0) => format!("{value:.0}"),
        _ if value < 999.5 => three_digits(value),
        _ if value < 999_500.0 => format!("{}K", three_digits(value / 1e3)),
        _ if value < 999_500_000.0 => format!("{}M", three_digits(value / 1e6)),
        _ => format!("{}G", three_digits(value / 1e9)),
    }
}

/// Nanoseconds of `50us`, `1.5ms`, `2s`, `1m` or a bare number of nanoseconds; `None` when it is none of these.
pub fn parse_duration_ns(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, scale) = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9)]
        .iter()
        .find_map(|&(unit, scale)| text.strip_suffix(unit).map(|number| (number, scale)))
        .unwrap_or((text, 1.0));
    parse_plain(number).map(|value| value * scale)
}

/// The value of `250`, `100K`, `1.5M` or `2G` (decimal); `None` when it is none of these.
pub fn parse_count(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, scale) = [('K', 1e3), ('k', 1e3), ('M', 1e6), ('G', 1e9)]
        .iter()
        .find_map(|&(unit, scale)| text.strip_suffix(unit).map(|number| (number, scale)))
        .unwrap_or((text, 1.0));
    parse_plain(number).map(|value| value * scale)
}

/// Digits with at most one point; no sign, no exponent, no `inf`.
fn parse_plain(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.') && text.contains(|c: char| c.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Three significant digits, without a unit: `2.57`, `12.3`, `870`.
pub fn three_digits(value: f64) -> String {
    match value {
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_change_unit_without_a_jump() {
        let cases = [
            (0.0, "0 ns"),
            (870.0, "870 ns"),
            (999.6, "1.00 us"),
            (4_812.0, "4.81 us"),
            (12_345.0, "12.3 us"),
            (999_499.0, "999 us"),
            (999_501.0, "1.00 ms"),
            (1.5e9, "1.50 s"),
            (60e9, "60.0 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn counts_carry_a_suffix() {
        for (value, text) in
            [(0.0, "0"), (7.0, "7"), (2.25, "2.25"), (999.0, "999"), (1000.0, "1.00K"), (204_567.0, "205K"), (1.25e6, "1.25M")]
        {
            assert_eq!(count(value), text, "{value}");
        }
    }

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(parse_duration_ns("50us"), Some(50_000.0));
        assert_eq!(parse_duration_ns("1.5 ms"), Some(1_500_000.0));
        assert_eq!(parse_duration_ns("1m"), Some(60e9));
        assert_eq!(parse_duration_ns("250"), Some(250.0));
        assert_eq!(parse_count("100K"), Some(100_000.0));
        for nonsense in ["", "us", "-5us", "1e3us", "inf", "1.2.3ms", "5 parsecs"] {
            assert_eq!(parse_duration_ns(nonsense), None, "{nonsense}");
        }
        assert_eq!(parse_count("NaN"), None);
    }
}
