//! The table of rows as text: at most 120 columns, aligned, with units.
//!
//! Rows of the same load stand together under a line that says the load. Below a group stand the drops by cause. Pure; cannot
//! panic.

use super::histogram::{self, Reading};
use super::row::{Percentiles, Ramp, Row};
use super::units;

/// The headings; the first two columns are aligned to the left.
const HEADINGS: [&str; 14] =
    ["", "stack", "rate/s", "p50", "p90", "p99", "p99.9", "max", "connect", "close", "cpu client", "server", "pkt/msg", "lost"];

/// Renders rows, grouped by their load in the order in which the loads first come.
pub fn render(rows: &[&Row]) -> String {
    let mut text = String::new();
    let mut loads: Vec<String> = Vec::new();
    for row in rows {
        let load = load(row);
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    for wanted in loads {
        let group: Vec<&Row> = rows.iter().copied().filter(|row| load(row) == wanted).collect();
        text.push_str(&format!("\n{wanted}\n"));
        text.push_str(&align(&lines(&group)));
        text.push_str(&notes(&group));
    }
    text
}

/// The load of a row in words: `closed, 1 connection, 64 bytes`.
pub fn load(row: &Row) -> String {
    let plural = if row.connections == 1 { "" } else { "s" };
    let offered = row.offered_per_s.map(|rate| format!(", {} offered/s", units::count(rate))).unwrap_or_default();
    format!("{}, {} connection{plural}, {} bytes{offered}", row.mode, row.connections, row.size)
}

/// The stacks of a row: one name when both sides use it, else `client > server`.
pub fn stacks(row: &Row) -> String {
    match (row.client_stack.as_str(), row.server_stack.as_str()) {
        (client, "") => format!("{client} > ?"),
        (client, server) if client == server => client.to_owned(),
        (client, server) => format!("{client} > {server}"),
    }
}

/// A percentile as the reports print it: a value, a lower bound with `>=`, or `-`.
pub fn cell(value: Option<u64>, percentiles: &Percentiles, unanswered: u64, q: f64) -> String {
    match histogram::reading(value, percentiles.count, unanswered, q) {
        Reading::Exact(ns) => compact(ns as f64),
        Reading::AtLeast(ns) => format!(">={}", compact(ns as f64)),
        Reading::Unknown => "-".into(),
    }
}

/// Five percentiles of a distribution as cells.
pub fn cells(percentiles: Option<&Percentiles>, unanswered: u64) -> [String; 5] {
    let Some(p) = percentiles else { return std::array::from_fn(|_| "-".to_owned()) };
    [(p.p50, 0.5), (p.p90, 0.9), (p.p99, 0.99), (p.p999, 0.999), (p.max, 1.0)].map(|(value, q)| cell(value, p, unanswered, q))
}

/// The median of connects or closes; a distribution that is not there is a dash.
pub fn median(percentiles: Option<&Percentiles>) -> String {
    percentiles.and_then(|p| p.p50).map_or_else(|| "-".into(), |ns| compact(ns as f64))
}

/// A duration without a space between number and unit.
pub fn compact(ns: f64) -> String {
    units::duration(ns).replace(' ', "")
}

fn lines(rows: &[&Row]) -> Vec<Vec<String>> {
    let mut lines = vec![HEADINGS.map(str::to_owned).to_vec()];
    for row in rows {
        let unanswered = row.lost.saturating_sub(row.late);
        let optional = |value: Option<f64>| value.map_or_else(|| "-".into(), compact);
        let mut line = vec![row.transport.clone(), stacks(row), units::count(row.rate_per_s.round())];
        line.extend(cells(row.rtt_ns.as_ref().or(row.rtt_uncorrected_ns.as_ref()), unanswered));
        line.extend([
            median(row.connect_ns.as_ref()),
            median(row.close_ns.as_ref()),
            optional(row.cpu_ns_per_message.client),
            optional(row.cpu_ns_per_message.server),
            row.packets_per_message.map_or_else(|| "-".into(), |packets| format!("{packets:.2}")),
            units::count(row.lost as f64),
        ]);
        lines.push(line);
        if row.rtt_ns.is_some() {
            let mut below = vec![String::new(), "  from the send time".into(), String::new()];
            below.extend(cells(row.rtt_uncorrected_ns.as_ref(), unanswered));
            below.resize(HEADINGS.len(), String::new());
            lines.push(below);
        }
    }
    lines
}

fn align(lines: &[Vec<String>]) -> String {
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
        text.push('\n');
    }
    text
}

/// What does not fit into columns: late and repeated answers, busy shares, drops by cause.
pub fn notes(rows: &[&Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut parts = Vec::new();
        if row.late + row.duplicated > 0 {
            parts.push(format!("late {}, duplicated {}", row.late, row.duplicated));
        }
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        match (row.busy_share.client, row.busy_share.server) {
            (Some(client), Some(server)) => {
                parts.push(format!("busy turns: client {}, server {}", percent(client), percent(server)))
            }
            (Some(client), None) => parts.push(format!("busy turns: client {}", percent(client))),
            (None, Some(server)) => parts.push(format!("busy turns: server {}", percent(server))),
            (None, None) => {}
        }
        if !row.drops.is_empty() {
            let drops: Vec<_> = row.drops.iter().map(|(cause, n)| format!("{cause} {n}")).collect();
            parts.push(format!("drops: {}", drops.join(", ")));
        }
        if !parts.is_empty() {
            text.push_str(&format!("  {} {}: {}\n", row.transport, stacks(row), parts.join("; ")));
        }
        if let Some(ramp) = &row.ramp {
            text.push_str(&ramped(ramp, row));
        }
    }
    text
}

/// What became of the connections of a ramp: their ends, how long they took from when they were due, and how many a second were opened.
fn ramped(ramp: &Ramp, row: &Row) -> String {
    let mut text = format!(
        "  ramp, {} offered/s: opened {} in {}, refused {}, reset {}, timed out {}",
        units::count(ramp.offered_per_s),
        ramp.opened,
        compact(ramp.seconds * 1e9),
        ramp.refused,
        ramp.reset,
        ramp.timed_out
    );
    for (what, count) in [("closed early", ramp.closed_early), ("other", ramp.other)] {
        if count > 0 {
            text.push_str(&format!(", {what} {count}"));
        }
    }
    text.push_str(&format!("\n  open at the end {}, active {}\n", ramp.open, ramp.active));
    let [p50, p90, p99, p999, max] = cells(row.connect_ns.as_ref(), ramp.refused + ramp.timed_out + ramp.other);
    text.push_str(&format!("  connect, from when it was due: p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}\n"));
    for (nth, windows) in ramp.opened_per_s.chunks(WINDOWS_A_LINE).enumerate() {
        let rates: Vec<_> = windows.iter().map(|&rate| units::count(rate.round())).collect();
        let start = if nth == 0 { format!("  opened/s, by {}:", compact(ramp.window_s * 1e9)) } else { "   ".into() };
        text.push_str(&format!("{start} {}\n", rates.join(" ")));
    }
    text
}

/// Windows of a ramp on one line.
const WINDOWS_A_LINE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::report::tests::report;
    use crate::metrics::row::Sides;

    fn rows() -> Vec<Row> {
        report().entries.into_iter().map(|entry| entry.row).collect()
    }

    fn text(rows: &[Row]) -> String {
        render(&rows.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_comparison_fits_into_120_columns_and_its_columns_line_up() {
        let mut rows = rows();
        rows[3].client_stack = "kernel-spin".into();
        rows[3].rate_per_s = 204_567.0;
        rows[4].lost = 123_456;
        let text = text(&rows);
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[0], "closed, 1 connection, 64 bytes");
        assert_eq!(lines.len(), 2 + 8);
        assert!(lines.iter().all(|line| line.chars().count() <= 120), "{text}");
        let end = |line: &str, cell: &str| line.find(cell).map(|at| at + cell.len());
        assert_eq!(end(lines[1], "rate/s"), end(lines[5], "205K"), "{text}");
        assert!(lines[5].starts_with("tcp kernel-spin > ringway"));
    }

    #[test]
    fn lower_bounds_are_printed_as_such() {
        let mut rows = rows();
        rows.truncate(1);
        rows[0].lost = 500;
        let p = rows[0].rtt_uncorrected_ns.as_mut().expect("it is there");
        (p.p99, p.p999, p.max) = (None, None, None);
        let text = text(&rows);
        assert_eq!(text.matches(">=1.00s").count(), 3, "{text}");
        rows[0].lost = 0;
        assert!(self::text(&rows).contains(" -"), "unknown without losses");
    }

    #[test]
    fn the_uncorrected_latency_stands_below_the_corrected() {
        let mut rows = rows();
        rows.truncate(1);
        rows[0].rtt_ns = rows[0].rtt_uncorrected_ns;
        (rows[0].mode, rows[0].offered_per_s) = ("open".into(), Some(1e6));
        let text = text(&rows);
        assert!(
            text.contains("open, 1 connection, 64 bytes, 1.00M offered/s") && text.contains("  from the send time"),
            "{text}"
        );
    }

    #[test]
    fn different_loads_stand_apart_and_drops_below() {
        let mut rows = rows();
        rows[1].size = 1400;
        rows[1].drops.insert("fill_ring_empty".into(), 7);
        rows[1].busy_share = Sides { client: Some(0.5), server: Some(0.25) };
        rows[1].late = 2;
        let text = text(&rows);
        assert!(text.contains("closed, 1 connection, 1400 bytes\n"), "{text}");
        let note = "  raw raw: late 2, duplicated 0; busy turns: client 50 %, server 25 %; drops: fill_ring_empty 7\n";
        assert!(text.contains(note), "{text}");
        assert_eq!(render(&[]), "");
    }

    #[test]
    fn a_ramp_says_what_became_of_its_connections() {
        let mut rows = rows();
        rows.truncate(1);
        rows[0].ramp = Some(Ramp {
            offered_per_s: 50_000.0,
            opened: 1_048_000,
            refused: 500,
            reset: 3,
            timed_out: 76,
            closed_early: 2,
            open: 1_047_995,
            active: 10_485,
            seconds: 21.5,
            window_s: 1.0,
            opened_per_s: vec![49_987.0; 40],
            ..Ramp::default()
        });
        let text = text(&rows);
        let lines: Vec<_> = text.lines().map(str::trim).skip_while(|line| !line.starts_with("ramp")).collect();
        assert_eq!(
            lines[0], "ramp, 50.0K offered/s: opened 1048000 in 21.5s, refused 500, reset 3, timed out 76, closed early 2",
            "{text}"
        );
        assert_eq!(lines[1], "open at the end 1047995, active 10485");
        assert!(lines[2].starts_with("connect, from when it was due: p50 "), "{text}");
        assert!(lines[3].starts_with("opened/s, by 1.00s: 50.0K 50.0K"), "{text}");
        assert_eq!((lines.len(), text.matches("50.0K").count()), (6, 41));
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}
