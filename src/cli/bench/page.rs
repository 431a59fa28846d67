//! The report as one page: no script, nothing fetched.
//!
//! Called by [`super::report::write`]: percentiles by stack as curves, one exchange over TCP and over UDP as ladders, what the connection costs, the cost of a
//! message by connections, and the tables. All text is escaped. Pure; cannot panic.

use std::fmt::Write;

use ringway::metrics::cost::{self, Column};
use ringway::metrics::page::STYLE;
use ringway::metrics::plot::{self, Axes, Curve, escape};
use ringway::metrics::units;

use super::report::{Report, Table};
use super::rows::{self, Cell, Pace, Row, Stack, Work};
use super::summary::{Spread, Summary};
use crate::cli::exchange;

/// Renders the page.
pub(super) fn render(report: &Report<'_>) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Ringway: benchmarks</title>\n",
    );
    let inset = exchange::section(&report.pair);
    let style = &inset.style;
    let _ = write!(page, "<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n<h1>Ringway: benchmarks</h1>\n");
    let commit = escape(&report.record.header.commit);
    let _ =
        writeln!(page, "<p class=\"lead\">Commit {commit}. Medians of the rounds, the lowest and the highest in brackets.</p>");
    if let Some(table) = report.target_table() {
        page.push_str(&section("Targets", &table));
    }
    page.push_str(&percentiles(report));
    page.push_str(&inset.html);
    page.push_str(&cost::section(&costs(report)));
    page.push_str(&growth(report));
    for table in report.tables() {
        page.push_str(&section(&table.name, &table));
    }
    page.push_str("<section>\n<h2>Conditions</h2>\n<dl>\n");
    for (name, value) in report.conditions() {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&value));
    }
    page.push_str("</dl>\n</section>\n</main>\n</body>\n</html>\n");
    page
}

fn section(name: &str, table: &Table) -> String {
    let mut html = format!(
        "<section>\n<h2>{}</h2>\n<p>{}</p>\n<div class=\"wide\"><table>\n<thead><tr>",
        escape(name),
        escape(&table.title)
    );
    for heading in &table.headings {
        let _ = write!(html, "<th>{}</th>", escape(heading));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let tag = if column < 2 && table.name != "targets" { "th" } else { "td" };
            let _ = write!(html, "<{tag}>{}</{tag}>", escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    if !table.notes.is_empty() {
        html.push_str("<ul>\n");
        for note in &table.notes {
            let _ = writeln!(html, "<li>{}</li>", escape(note));
        }
        html.push_str("</ul>\n");
    }
    html + "</section>\n"
}

/// One drawing for each load of one message in flight, its stacks overlaid.
fn percentiles(report: &Report<'_>) -> String {
    let all = rows::cells();
    let drawn = |cell: &&Cell| matches!(cell.work, Work::Udp(64, Pace::InFlight(1)) | Work::Tcp(Pace::Connections(1)));
    let mut panels: Vec<(String, Vec<Curve>)> = Vec::new();
    for cell in all.iter().filter(drawn) {
        let Some(summary) = report.cells.get(&cell.id()) else { continue };
        let title = format!("{}, {}", cell.row.name(), cell.load());
        let curve = Curve { label: cell.stack(), class: class(cell.server), points: points(summary) };
        match panels.iter_mut().find(|panel| panel.0 == title) {
            Some(panel) => panel.1.push(curve),
            None => panels.push((title, vec![curve])),
        }
    }
    let Some(axes) = Axes::of(panels.iter().flat_map(|panel| &panel.1)) else { return String::new() };
    let mut html = String::from("<section>\n<h2>Latency by percentile</h2>\n<div class=\"panels\">\n");
    for (title, curves) in &panels {
        let svg = plot::render(&format!("Round-trip time by percentile, {title}"), &axes, curves);
        let _ = writeln!(html, "<figure><figcaption>{}</figcaption>{svg}</figure>", escape(title));
    }
    html + "</div>\n</section>\n"
}

/// The known percentiles of a cell, rising.
fn points(summary: &Summary) -> Vec<(f64, u64)> {
    let known = [(0.5, summary.p50_ns), (0.9, summary.p90_ns), (0.99, summary.p99_ns), (0.999, summary.p999_ns)];
    let mut highest = 0;
    let point = |(quantile, spread): (f64, Option<Spread>)| {
        highest = highest.max(spread?.median.max(0.0) as u64);
        Some((quantile, highest))
    };
    known.into_iter().filter_map(point).collect()
}

const fn class(stack: Stack) -> &'static str {
    match stack {
        Stack::Ringway => "tcp",
        Stack::Kernel | Stack::KernelSpin => "udp",
        Stack::Raw | Stack::XdpTx | Stack::Smoltcp => "raw",
    }
}

/// TCP beside UDP of the same stacks: one message in flight, and 64.
fn costs(report: &Report<'_>) -> Vec<cost::Table> {
    let summary = |id: String| report.cells.get(&id).filter(|summary| summary.lost * 100 <= summary.received + summary.lost);
    let tables = [("1c", Row::UdpLatency), ("64c", Row::UdpRate)].map(|(load, row)| {
        let is_one = row == Row::UdpLatency;
        let column = |stack: Stack| {
            let name = stack.name();
            let tcp = summary(format!("{}/{load}/{name}", Row::TcpRr.name()))?;
            let udp = summary(format!("{}/64B/{name}", row.name()))?;
            let churn = if is_one { summary(format!("{}/pair/{name}", Row::Crr.name())) } else { None };
            let connect_ns = churn.and_then(|churn| median(churn.p50_ns));
            let tcp = cost::Figures { connect_ns, ..figures(tcp) };
            Some(Column { stack: name.to_owned(), tcp, udp: figures(udp) })
        };
        let stacks = [Stack::Ringway, Stack::Smoltcp, Stack::Kernel, Stack::KernelSpin];
        let connect = if is_one { "; connect is the handshake of crr/pair, 16 at once" } else { "" };
        let caption = format!("{}/{load} beside {}/64B{connect}", Row::TcpRr.name(), row.name());
        cost::table(&caption, &stacks.into_iter().filter_map(column).collect::<Vec<_>>())
    });
    tables.into_iter().flatten().collect()
}

fn figures(summary: &Summary) -> cost::Figures {
    cost::Figures {
        message_ns: median(summary.p50_ns),
        cpu_ns: median(summary.client_cpu_ns).zip(median(summary.server_cpu_ns)).map(|(client, server)| client + server),
        packets: median(summary.packets_per_message),
        ..cost::Figures::default()
    }
}

fn median(spread: Option<Spread>) -> Option<f64> {
    spread.map(|spread| spread.median)
}

/// What a message costs among 1 to 10,000 connections: bars of the server's core, by stack.
fn growth(report: &Report<'_>) -> String {
    let all = rows::cells();
    let cost = |summary: &Summary| summary.rate_per_s.filter(|rate| rate.median > 0.0).map(|rate| 1e9 / rate.median);
    let bars: Vec<(String, &'static str, f64)> = all
        .iter()
        .filter(|cell| cell.row == Row::TcpRr && matches!(cell.work, Work::Tcp(Pace::Connections(n)) if n > 1))
        .filter_map(|cell| {
            let ns = cost(report.cells.get(&cell.id())?)?;
            Some((format!("{} {}", cell.load(), cell.stack()), class(cell.server), ns))
        })
        .collect();
    let most = bars.iter().map(|bar| bar.2).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = bars.len() as f64 * BAR + 10.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><title>Time per message by connections</title>");
    for (number, (label, class, ns)) in bars.iter().enumerate() {
        let y = number as f64 * BAR + 5.0;
        let width = ns / most * (WIDTH - LABELS - FIGURES);
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <line class=\"curve {class}\" x1=\"{LABELS}\" y1=\"{:.0}\" x2=\"{:.0}\" y2=\"{:.0}\"/>\
             <text class=\"tick\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            LABELS - 8.0,
            y + 12.0,
            escape(label),
            y + 8.0,
            LABELS + width,
            y + 8.0,
            LABELS + width + 6.0,
            y + 12.0,
            escape(&units::duration(*ns)),
        );
    }
    format!(
        "<section>\n<h2>Time per message by connections</h2>\n<div class=\"panels\">\n<figure><figcaption>TCP request and reply, one in flight on each \
         connection</figcaption>{svg}</svg></figure>\n</div>\n</section>\n"
    )
}

const WIDTH: f64 = 500.0;
/// Height of a bar with its distance to the next.
const BAR: f64 = 20.0;
/// Room for the names, and for the figures behind the bars.
const LABELS: f64 = 150.0;
const FIGURES: f64 = 70.0;
