//! Tables that fit where they are drawn: which columns there is room for, and their cells as text.
//!
//! Shared by the screen and by plain lines. Pure; cannot panic.

use ringway::metrics::units;

use super::flows::Flow;
use super::order::Key;
use super::sample::{Core, Quantile, Rates, Timing};

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    width: usize,
    /// The most that it grows to where there is room: up to its longest cell.
    most: usize,
    /// Words stand at the left, numbers at the right.
    words: bool,
    /// The lower, the longer it stays where there is no room.
    rank: u8,
    /// The key that sorts by it.
    pub(super) key: Option<Key>,
}

/// A column of a number.
const fn number(head: &'static str, width: usize, rank: u8) -> Column {
    Column { head, width, most: width, words: false, rank, key: None }
}

/// A column of words.
const fn words(head: &'static str, width: usize, most: usize, rank: u8) -> Column {
    Column { head, width, most, words: true, rank, key: None }
}

impl Column {
    const fn by(self, key: Key) -> Self {
        Self { key: Some(key), ..self }
    }
}

/// Of the workers.
pub(super) const CORES: [Column; 14] = [
    number("core", 4, 0),
    number("busy", 5, 1),
    number("cpu", 5, 2),
    number("rx/s", 5, 3),
    number("rxB/s", 5, 5),
    number("tx/s", 5, 4),
    number("txB/s", 5, 6),
    number("tcp/s", 5, 7),
    number("udp/s", 5, 8),
    number("drop/s", 6, 9),
    number("new/s", 5, 10),
    number("retr/s", 7, 11),
    number("conns", 6, 12),
    number("at rest", 7, 13),
];

/// The cells of a worker.
pub(super) fn core(core: &Core) -> Vec<String> {
    let tables = [units::count(core.connections as f64), units::count(core.resting as f64)];
    match (&core.rates, core.answers) {
        (_, false) => [core.worker.to_string(), "no answer".to_owned()].into(),
        (None, true) => [core.worker.to_string()]
            .into_iter()
            .chain(std::iter::repeat_n("-".to_owned(), CORES.len() - 3))
            .chain(tables)
            .collect(),
        (Some(rates), true) => [core.worker.to_string()].into_iter().chain(self::rates(rates)).chain(tables).collect(),
    }
}

/// The cells of all workers together.
pub(super) fn all(total: Option<&Rates>, connections: u64, resting: u64) -> Vec<String> {
    let cells = total.map_or_else(|| vec!["-".to_owned(); CORES.len() - 3], |total| self::rates(total).into());
    let tables = [connections, resting].map(|count| units::count(count as f64));
    ["all".to_owned()].into_iter().chain(cells).chain(tables).collect()
}

fn rates(rates: &Rates) -> [String; CORES.len() - 3] {
    [
        percent(rates.busy_share),
        percent(rates.cpu_share),
        count(rates.received_frames_per_second),
        count(rates.received_bytes_per_second),
        count(rates.sent_frames_per_second),
        count(rates.sent_bytes_per_second),
        count(rates.tcp_segments_per_second),
        count(rates.udp_datagrams_per_second),
        count(rates.drops_per_second),
        count(rates.begun_per_second),
        count(rates.retransmitted_per_second),
    ]
}

/// Of flows.
pub(super) const FLOWS: [Column; 11] = [
    words("state", 12, 12, 4).by(Key::State),
    words("local", 21, 47, 3).by(Key::Local),
    words("remote", 21, 47, 0).by(Key::Remote),
    number("inB/s", 6, 1).by(Key::In),
    number("outB/s", 7, 2).by(Key::Out),
    number("rtt", 7, 5).by(Key::Rtt),
    number("retr", 6, 6).by(Key::Retransmitted),
    number("queue", 6, 7).by(Key::Queue),
    number("cwnd", 6, 9),
    number("age", 6, 10).by(Key::Age),
    number("core", 4, 8),
];

/// The cells of a flow.
pub(super) fn flow(flow: &Flow) -> Vec<String> {
    let known = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), count);
    vec![
        flow.state.clone(),
        flow.local.to_string(),
        flow.remote.to_string(),
        known(flow.received_bytes_per_second),
        known(flow.acknowledged_bytes_per_second),
        flow.srtt_ns.map_or_else(|| "-".to_owned(), duration),
        known(flow.retransmitted_per_second),
        units::count(flow.receive_queue.saturating_add(flow.send_queue) as f64),
        units::count(flow.cwnd as f64),
        duration(flow.age_ns),
        flow.worker.to_string(),
    ]
}

/// What is timed, in a word or two.
pub(super) fn timing_name(timing: &Timing) -> &'static str {
    match timing.name {
        "turn_ns" => "turn",
        "turn_frames" => "frames",
        "accepted_ns" => "accept",
        "opened_ns" => "connect",
        "srtt_ns" => "srtt",
        other => other,
    }
}

/// The median and the two other quantiles of a distribution.
pub(super) fn quantiles(timing: &Timing) -> [String; 3] {
    let show = |value: u64| if timing.name.ends_with("_ns") { duration(value) } else { value.to_string() };
    [timing.p50, timing.p99, timing.p999].map(|quantile| match quantile {
        Quantile::Unknown => "-".to_owned(),
        Quantile::Is(value) => show(value),
        Quantile::AtMost(bound) => format!("<={}", show(bound)),
        Quantile::Above(bound) => format!(">{}", show(bound)),
    })
}

/// A time in few columns: `120us`, `1.5ms`, `10s`, `5.2m`, `3.1h`.
pub(super) fn duration(ns: u64) -> String {
    let seconds = ns as f64 / 1e9;
    match seconds {
        _ if seconds >= 36_000.0 => format!("{:.0}h", seconds / 3600.0),
        _ if seconds >= 3_600.0 => format!("{:.1}h", seconds / 3600.0),
        _ if seconds >= 600.0 => format!("{:.0}m", seconds / 60.0),
        _ if seconds >= 60.0 => format!("{:.1}m", seconds / 60.0),
        _ => {
            let text = units::duration(ns as f64).replace(' ', "");
            match text.split_once('.') {
                // A whole number of units needs no point.
                Some((whole, rest)) if rest.starts_with(|digit: char| digit.is_ascii_digit()) => {
                    let (digits, unit) = rest.split_at(rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len()));
                    let digits = digits.trim_end_matches('0');
                    if digits.is_empty() { format!("{whole}{unit}") } else { format!("{whole}.{digits}{unit}") }
                }
                _ => text,
            }
        }
    }
}

/// A rate in at most five columns: `0`, `0.25`, `12.3`, `870`, `12.3K`.
pub(super) fn count(value: f64) -> String {
    match value {
        _ if value < 0.005 => "0".to_owned(),
        _ => units::count(value),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 9.95 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

/// The columns that fit into a width, with the width of each, in their order. The first in rank is there however narrow it is.
pub(super) fn fitting(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<(usize, usize)> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|&at| columns[at].rank);
    let mut left = width + 1;
    let mut chosen = Vec::new();
    for at in by_rank {
        let takes = columns[at].width + 1;
        if takes > left && !chosen.is_empty() {
            break;
        }
        left = left.saturating_sub(takes);
        chosen.push((at, columns[at].width));
    }
    chosen.sort_unstable();
    for (at, width) in &mut chosen {
        let longest = rows.iter().filter_map(|cells| cells.get(*at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let grows = longest.min(columns[*at].most).saturating_sub(*width).min(left);
        *width += grows;
        left -= grows;
    }
    chosen
}

/// A row as text. Cells that are too long are cut; a row with fewer cells than columns ends with the last one it has, uncut.
pub(super) fn line(columns: &[Column], chosen: &[(usize, usize)], cells: &[impl AsRef<str>]) -> String {
    let mut line = String::new();
    for (nth, &(at, width)) in chosen.iter().enumerate() {
        let Some(cell) = cells.get(at) else { break };
        if nth > 0 {
            line.push(' ');
        }
        let last = at + 1 == cells.len() && cells.len() < columns.len();
        let cell = if last { cell.as_ref().to_owned() } else { cut(cell.as_ref(), width) };
        line += &if columns[at].words { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
    }
    line
}

/// The headings.
pub(super) fn heading(columns: &[Column], chosen: &[(usize, usize)]) -> String {
    line(columns, chosen, &columns.iter().map(|column| column.head).collect::<Vec<_>>())
}

/// A text of at most so many characters.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('~')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_take_few_columns() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (2_000, "2us"),
            (200_000, "200us"),
            (1_250_000, "1.25ms"),
            (12_300_000, "12.3ms"),
            (10_000_000_000, "10s"),
            (90_000_000_000, "1.5m"),
            (1_000_000_000_000, "17m"),
            (7_200_000_000_000, "2.0h"),
            (u64::MAX, "5124096h"),
        ] {
            assert_eq!(duration(ns), text);
        }
        for (value, text) in [(0.001, "0"), (0.25, "0.25"), (12.34, "12.3"), (870.0, "870"), (12_345.0, "12.3K")] {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn columns_go_by_rank_and_every_line_fits() {
        let cells = vec![vec!["x".to_owned(), "[2001:db8::1234:5678]:40000".to_owned(), "10.0.0.1:1".to_owned()]];
        for width in 0..200 {
            let chosen = fitting(&FLOWS, &cells, width);
            let fits = chosen.iter().map(|(_, width)| width + 1).sum::<usize>() <= width + 1;
            assert!(fits || chosen.len() == 1, "{width}: {chosen:?}");
            assert!(chosen.is_sorted() && chosen.iter().any(|&(at, _)| FLOWS[at].head == "remote"));
        }
        let heads = |width| fitting(&FLOWS, &cells, width).iter().map(|&(at, _)| FLOWS[at].head).collect::<Vec<_>>();
        assert_eq!(heads(40), ["remote", "inB/s", "outB/s"]);
        assert_eq!(heads(80), ["state", "local", "remote", "inB/s", "outB/s", "rtt"]);
        assert_eq!(heads(130).len(), FLOWS.len());
        let wide = fitting(&FLOWS, &cells, 130);
        assert_eq!(wide[1].1, 27, "as wide as what stands there");
    }

    #[test]
    fn a_short_row_ends_with_what_it_has() {
        let chosen = fitting(&CORES, &[], 80);
        assert_eq!(line(&CORES, &chosen, &["1", "no answer"]), "   1 no answer");
        assert_eq!(cut("abcdef", 4), "abc~");
        assert_eq!((cut("abc", 3), cut("abc", 0)), ("abc".to_owned(), String::new()));
    }
}
