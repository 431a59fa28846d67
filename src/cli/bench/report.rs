//! What a run comes to, made of the file alone: tables, the same as text, as Markdown and as JSON.
//!
//! Called by [`super::run`] at its end, whatever ended it. A table is data first ([`Table`]), so that all forms of it say the same. Pure but for
//! [`write`]; cannot panic.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use ringway::ladder::section::Pair;
use ringway::metrics::row::SCHEMA;
use ringway::metrics::units;
use serde_json::{Value, json};

use super::gate::{self, Verdict};
use super::page;
use super::record::Record;
use super::rows::{self, Cell, Pace, Row, Stack, Work};
use super::summary::{self, Spread, Summary};
use super::targets::{self, Outcome};
use crate::cli::exchange;

/// Everything that is reported.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) record: &'a Record,
    pub(super) cells: BTreeMap<String, Summary>,
    pub(super) gate: Option<Verdict>,
    pub(super) targets: Vec<Outcome>,
    /// The exchange that the page draws, or why it draws none.
    pub(super) pair: Result<Pair, String>,
}

/// A table, before it has a form.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) headings: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// What does not fit into a column.
    pub(super) notes: Vec<String>,
}

impl<'a> Report<'a> {
    /// Of what a file holds.
    pub(super) fn of(record: &'a Record) -> Self {
        let mut cells = summary::of_record(record);
        let gate = gate::judge(record);
        cells.retain(|id, _| !id.starts_with(Row::Gate.name()));
        let targets = targets::judge(&cells);
        Self { record, cells, gate, targets, pair: record.pair() }
    }

    /// The conditions, name and value.
    pub(super) fn conditions(&self) -> Vec<(String, String)> {
        let header = &self.record.header;
        let mut lines = vec![("commit".to_owned(), header.commit.clone())];
        lines.extend(header.conditions.lines());
        let ms = |ns: u64| ns as f64 / 1e6;
        let rounds = self.cells.values().map(|cell| cell.rounds).max().unwrap_or(0);
        lines.push((
            "runs".to_owned(),
            format!(
                "{rounds} interleaved rounds, {} ms each after {} ms; server on core {}, client on core {}",
                ms(header.duration_ns),
                ms(header.warmup_ns),
                header.cores.first().copied().unwrap_or_default(),
                header.cores.get(1).copied().unwrap_or_default(),
            ),
        ));
        if header.quick {
            lines.push(("note".to_owned(), "short runs (--quick): to see that it works, not to be quoted".to_owned()));
        }
        lines.push(("gate".to_owned(), self.gate.as_ref().map_or_else(|| "not judged".to_owned(), Verdict::text)));
        let noisy = self.cells.values().filter(|summary| is_noisy(summary)).count();
        if noisy > 0 {
            let all = self.cells.len();
            lines.push((
                "noisy".to_owned(),
                format!("{noisy} of {all} cells, while which others took more of the cores than they may"),
            ));
        }
        for (stack, rate) in &self.record.limits {
            lines.push((format!("{stack} without loss"), format!("up to {}/s", units::count(*rate))));
        }
        lines
    }

    /// One table for each row that was measured, or tried.
    pub(super) fn tables(&self) -> Vec<Table> {
        let all = rows::cells();
        let known = |cell: &Cell| self.cells.contains_key(&cell.id()) || self.record.failed.contains_key(&cell.id());
        let of_row = |row| {
            let cells: Vec<&Cell> = all.iter().filter(|cell| cell.row == row).collect();
            let loads: Vec<String> = cells.iter().filter(|cell| known(cell)).map(|cell| cell.load()).collect();
            let shown: Vec<&Cell> = cells.into_iter().filter(|cell| loads.contains(&cell.load())).collect();
            (!shown.is_empty()).then(|| self.table(row, &shown))
        };
        Row::ALL.into_iter().filter_map(of_row).collect()
    }

    fn table(&self, row: Row, cells: &[&Cell]) -> Table {
        let rate = if row == Row::Bulk { "Gbit/s" } else { "rate/s" };
        let mut table = Table {
            name: row.name().to_owned(),
            title: row.title().to_owned(),
            headings: vec![
                "load",
                "stack",
                rate,
                "p50",
                "p99",
                "over limit",
                "cpu server",
                "cpu client",
                "pkt/msg",
                "kick/msg",
                "lost",
            ],
            ..Table::default()
        };
        if self.gate.as_ref().is_some_and(|gate| gate.noisy.is_some()) {
            table.notes.push("noisy: the machine did not pass the gate".to_owned());
        }
        let noisy = cells.iter().filter_map(|cell| self.cells.get(&cell.id())).filter(|summary| is_noisy(summary));
        let most = noisy.map(|summary| summary.foreign).fold(0.0, f64::max) * 100.0;
        if most > 0.0 {
            table.notes.push(format!("* noisy: in a round others took up to {most:.0} % of the two cores"));
        }
        for cell in cells {
            let id = cell.id();
            let mut line = vec![cell.load(), cell.stack()];
            match self.cells.get(&id) {
                Some(summary) => {
                    line.extend(self.figures(cell, summary));
                    if is_noisy(summary) {
                        line[2].push('*');
                    }
                }
                None => {
                    let why = self.record.failed.get(&id).map_or("not measured", |_| "failed");
                    line.push(why.to_owned());
                    line.resize(table.headings.len(), "-".to_owned());
                }
            }
            table.rows.push(line);
            let what = format!("{} {}", cell.load(), cell.stack());
            if let Some(why) = self.record.failed.get(&id) {
                table.notes.push(format!("{what}: {why}"));
            }
            let drops = self.cells.get(&id).map(|summary| &summary.drops).into_iter().flatten();
            let drops: Vec<String> = drops.map(|(cause, count)| format!("{cause} {count}")).collect();
            if !drops.is_empty() {
                table.notes.push(format!("{what}: {}", drops.join(", ")));
            }
        }
        table
    }

    fn figures(&self, cell: &Cell, summary: &Summary) -> Vec<String> {
        let rate = if matches!(cell.work, Work::Bulk(..)) {
            spread(summary.rate_per_s, |kib| format!("{:.2}", kib * BITS_PER_KIB / 1e9))
        } else {
            spread(summary.rate_per_s, units::count)
        };
        let median =
            |figure: Option<Spread>, show: fn(f64) -> String| figure.map_or("-".to_owned(), |spread| show(spread.median));
        let plain = |value: f64| format!("{value:.2}");
        let kicks = match (summary.server_kicks, summary.client_kicks) {
            (None, None) => "-".to_owned(),
            (server, client) => format!("{} {}", median(server, plain), median(client, plain)),
        };
        vec![
            rate,
            spread(summary.p50_ns, duration),
            spread(summary.p99_ns, duration),
            self.over_limit(cell, summary).map_or("-".to_owned(), signed),
            median(summary.server_cpu_ns, duration),
            median(summary.client_cpu_ns, duration),
            median(summary.packets_per_message, plain),
            kicks,
            summary.lost.to_string(),
        ]
    }

    /// What a message takes longer than in the cell that bounds this one: the median where one is in flight, else the time between two.
    pub(super) fn over_limit(&self, cell: &Cell, summary: &Summary) -> Option<f64> {
        let limit = self.cells.get(&limit_of(cell)?)?;
        let figure = |summary: &Summary| {
            if is_latency(cell) {
                summary.p50_ns.map(|spread| spread.median)
            } else {
                summary.rate_per_s.filter(|spread| spread.median > 0.0).map(|spread| 1e9 / spread.median)
            }
        };
        Some(figure(summary)? - figure(limit)?)
    }

    /// The table of the targets.
    pub(super) fn target_table(&self) -> Option<Table> {
        let line = |outcome: &Outcome| {
            let ratio = outcome.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            vec![outcome.what.clone(), outcome.wanted.clone(), ratio, outcome.verdict()]
        };
        (!self.targets.is_empty()).then(|| Table {
            name: "targets".to_owned(),
            title: "ratios of medians; both sides are of the same run".to_owned(),
            headings: vec!["figure", "target", "ratio", "state"],
            rows: self.targets.iter().map(line).collect(),
            notes: Vec::new(),
        })
    }

    /// All of it for people.
    pub(super) fn text(&self) -> String {
        let mut text: String = self.conditions().iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        for table in self.tables().iter().chain(&self.target_table()) {
            text.push('\n');
            text.push_str(&table.text());
        }
        text
    }

    /// All of it for a paper.
    pub(super) fn markdown(&self) -> String {
        let mut text = MARKDOWN_HEAD.to_owned();
        for (name, value) in self.conditions() {
            text.push_str(&format!("- {}: {}\n", escaped(&name), escaped(&value)));
        }
        text.push_str(MARKDOWN_COLUMNS);
        for table in self.target_table().iter().chain(&self.tables()) {
            text.push('\n');
            text.push_str(&table.markdown());
        }
        text
    }

    /// All of it for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "header": self.record.header,
            "gate": self.gate,
            "limits": self.record.limits,
            "cells": self.cells,
            "failed": self.record.failed,
            "targets": self.targets,
            "exchange": exchange::costs(&self.pair),
        })
    }
}

/// True when a machine that passed the gate was busy with something else while the cell ran.
fn is_noisy(summary: &Summary) -> bool {
    summary.foreign > gate::FOREIGN_MAX * 2.0
}

/// The cell that a cell cannot be better than, as far as there is one: the frames alone, or the datagrams of the same stack.
fn limit_of(cell: &Cell) -> Option<String> {
    let limit = match (cell.row, cell.work) {
        (_, Work::Udp(..)) if cell.server == Stack::Raw => return None,
        (_, Work::Udp(..)) => {
            Cell { server: Stack::Raw, client: cell.client, link: rows::Link { offloads: false, ..cell.link }, ..*cell }
        }
        (Row::TcpRr, Work::Tcp(Pace::Connections(1))) => {
            return Some(format!("udp-latency/64B/{}", cell.stack()));
        }
        (Row::TcpRr, Work::Tcp(_)) => return Some(format!("udp-rate/64B/{}", cell.stack())),
        _ => return None,
    };
    Some(limit.id())
}

/// True when the latency is what the cell is about.
fn is_latency(cell: &Cell) -> bool {
    cell.row == Row::UdpOpen
        || matches!(cell.work, Work::Udp(_, Pace::InFlight(1)) | Work::Tcp(Pace::Connections(1)) | Work::Http(1))
}

impl Table {
    /// Columns of blanks.
    fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.title);
        let headings: Vec<String> = self.headings.iter().map(|&heading| heading.to_owned()).collect();
        let width = |column: usize| {
            let cells = std::iter::once(&headings).chain(&self.rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let line: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            text.push_str(&format!("  {}\n", line.join("  ").trim_end()));
        }
        for note in &self.notes {
            text.push_str(&format!("    {note}\n"));
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.name, escaped(&capital(&self.title)));
        text.push_str(&format!("| {} |\n", self.headings.join(" | ")));
        text.push_str(&format!("|{}\n", "---|".repeat(self.headings.len())));
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        if !self.notes.is_empty() {
            text.push('\n');
            self.notes.iter().for_each(|note| text.push_str(&format!("- {}\n", escaped(note))));
        }
        text
    }
}

/// Writes the files of a report into a folder; `paper` is one more place for the Markdown.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write(report: &Report<'_>, folder: &Path, paper: Option<&Path>) -> io::Result<()> {
    let mut json = serde_json::to_string_pretty(&report.json()).map_err(io::Error::other)?;
    json.push('\n');
    fs::write(folder.join("bench.json"), json)?;
    fs::write(folder.join("bench.html"), page::render(report))?;
    fs::write(folder.join("bench.md"), report.markdown())?;
    paper.map_or(Ok(()), |paper| fs::write(paper, report.markdown()))
}

/// `412K (398K..420K)`.
fn spread(figure: Option<Spread>, show: impl Fn(f64) -> String) -> String {
    match figure {
        None => "-".to_owned(),
        Some(spread) if spread.low == spread.high => show(spread.median),
        Some(spread) => format!("{} ({}..{})", show(spread.median), show(spread.low), show(spread.high)),
    }
}

/// `3.32us`.
fn duration(ns: f64) -> String {
    units::duration(ns).replace(' ', "")
}

fn signed(ns: f64) -> String {
    if ns < 0.0 { format!("-{}", duration(-ns)) } else { format!("+{}", duration(ns)) }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect::<String>() + ".")
}

/// Bits of the messages of bulk.
const BITS_PER_KIB: f64 = 8192.0;

const MARKDOWN_HEAD: &str = "\
# Benchmarks

Made by `scripts/bench.sh veth`, which measures the same on any machine. Figures are medians, with the lowest and the highest of the rounds in
brackets. Only figures of one run may be compared with each other.

";

const MARKDOWN_COLUMNS: &str = "
`over limit` is what a message takes longer than in the row's limit: than bare frames (`raw`) for UDP, than the same stack's UDP for TCP; of the
median where one message is in flight, else of the time between two. `cpu` is the busy time of the whole core per message, softirqs
included. `kick/msg` is system calls to send, of server and client. `kernel` blocks in epoll, `kernel-spin` polls; both have the offloads that veth has by
default, unless the name says otherwise.
";

#[cfg(test)]
mod tests {
    use super::super::record::{Figures, Header, Line};
    use super::*;

    fn record() -> Record {
        let mut text = String::new();
        let mut add = |line: Line| text.push_str(&(serde_json::to_string(&line).expect("JSON") + "\n"));
        add(Line::Header(Header {
            commit: "abc1234".to_owned(),
            duration_ns: 2_000_000_000,
            warmup_ns: 300_000_000,
            cores: vec![0, 1],
            ..Header::default()
        }));
        let figures = |rate_per_s: f64, p50: f64| Figures {
            rate_per_s,
            p50_ns: Some(p50),
            p99_ns: Some(p50 * 2.0),
            server_cpu_ns: Some(1e9 / rate_per_s),
            packets_to_server: Some(1.0),
            packets_from_server: Some(1.0),
            server_kicks: Some(0.5),
            received: 100,
            ..Figures::default()
        };
        for (id, rate, p50) in [
            ("gate/twice/A", 500e3, 100e3),
            ("gate/twice/B", 501e3, 100e3),
            ("gate/low/raw", 10e3, 3e3),
            ("udp-rate/64B/raw", 500e3, 100e3),
            ("udp-rate/64B/ringway", 480e3, 110e3),
            ("udp-rate/64B/kernel", 250e3, 210e3),
            ("udp-latency/64B/raw", 300e3, 3e3),
            ("udp-latency/64B/ringway", 280e3, 3.3e3),
            ("bulk/1500-send-1/ringway", 500e3, 0.0),
            ("bulk/1500-send-1/kernel", 2e6, 0.0),
        ] {
            for round in 1..=3 {
                let mut figures = figures(rate * (1.0 + f64::from(round) / 100.0), p50);
                if id.starts_with("bulk") {
                    (figures.p50_ns, figures.p99_ns) = (None, None);
                }
                if id.ends_with("kernel") {
                    figures.server_kicks = None;
                    figures.drops.insert("server.kernel.rx_dropped".to_owned(), u64::from(round));
                }
                add(Line::Cell { id: id.to_owned(), round, figures });
            }
        }
        add(Line::Failed { id: "udp-rate/64B/smoltcp".to_owned(), round: 1, why: "the server ended early".to_owned() });
        Record::parse(&text).expect("lines").0
    }

    /// The machine's own words out of it, for a snapshot.
    fn fixed(text: &str) -> String {
        let of_machine = |line: &&str| ["kernel: ", "cpu: "].iter().any(|name| line.trim_start_matches("- ").starts_with(name));
        text.lines().filter(|line| !of_machine(line)).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_text_of_a_report() {
        let record = record();
        insta::assert_snapshot!(fixed(&Report::of(&record).text()));
    }

    #[test]
    fn the_paper_of_a_report() {
        let record = record();
        insta::assert_snapshot!(fixed(&Report::of(&record).markdown()));
    }

    #[test]
    fn the_files_of_an_interrupted_run_are_complete() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = record();
        let paper = folder.path().join("paper.md");
        write(&Report::of(&record), folder.path(), Some(&paper)).expect("files");
        let json: Value = serde_json::from_slice(&fs::read(folder.path().join("bench.json")).expect("a file")).expect("JSON");
        assert_eq!(json["cells"]["udp-rate/64B/raw"]["rounds"], 3);
        assert!(json["cells"]["gate/twice/A"].is_null() && json["gate"]["noisy"].is_null());
        let page = fs::read_to_string(folder.path().join("bench.html")).expect("a page");
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg") && !page.contains("http://"), "it stands alone");
        assert!(page.contains("Not drawn: the run has not come to it.") && json["exchange"].is_null());
        assert_eq!(fs::read(folder.path().join("bench.md")).expect("a file"), fs::read(paper).expect("a file"));
    }

    #[test]
    fn tcp_beside_udp_is_a_table_of_the_page() {
        let mut record = record();
        let of = |p50| Figures {
            p50_ns: Some(p50),
            server_cpu_ns: Some(p50),
            client_cpu_ns: Some(p50),
            received: 100,
            ..Figures::default()
        };
        for (id, p50) in [("tcp-rr/1c/ringway", 6.6e3), ("crr/pair/ringway", 33e3), ("udp-latency/64B/ringway", 3.3e3)] {
            record.cells.insert(id.to_owned(), [(1, of(p50))].into());
        }
        let page = page::render(&Report::of(&record));
        for line in [
            "<caption>tcp-rr/1c beside udp-latency/64B; connect is the handshake of crr/pair, 16 at once</caption>",
            "<tr class=\"ratio\"><th>TCP / UDP</th><td>2.00</td></tr>",
            "<tr><th>connect and one message</th><td>39.6us</td></tr>",
            "<tr class=\"ratio\"><th>that / message over UDP</th><td>12.0</td></tr>",
            "<tr><th>CPU a message over TCP</th><td>13.2us</td></tr>",
        ] {
            assert!(page.contains(line), "{line}");
        }
        assert!(!page.contains("tcp-rr/64c beside"), "not measured");
    }

    #[test]
    fn nothing_is_a_report_too() {
        let nothing = Record::default();
        let report = Report::of(&nothing);
        assert!(report.tables().is_empty() && report.target_table().is_none());
        assert!(report.text().contains("gate: not judged") && !page::render(&report).contains("<svg"));
    }

    #[test]
    fn every_limit_is_a_cell() {
        let ids: Vec<String> = rows::cells().iter().map(Cell::id).collect();
        for limit in rows::cells().iter().filter_map(limit_of) {
            assert!(ids.contains(&limit), "{limit}");
        }
    }
}
