//! The report as one HTML page: no script, nothing fetched, readable on a phone, in the dark and on paper.
//!
//! Called by [`super::report::Report::write`]. All text that comes from outside is escaped. Pure; cannot panic.

use std::fmt::Write;

use super::cost::{self, NOTHING};
use super::plot::{self, Axes, Curve, escape};
use super::report::{Entry, Report};
use super::table::{self, cell, compact};
use super::units;
use super::words::{self, Topic, XDP_TX};

/// A section that another part has made, behind the curves: markup, and what its classes look like. Whoever makes one escapes what comes from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inset {
    /// Rules for the style sheet.
    pub style: String,
    /// The section.
    pub html: String,
}

/// Renders the page.
pub fn render(report: &Report, inset: &Inset) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Ringway: latency report</title>\n",
    );
    let style = &inset.style;
    let _ = write!(page, "<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n<h1>Ringway: latency of TCP and UDP</h1>\n");
    let _ = writeln!(page, "<p class=\"lead\">{}</p>", escape(&lead(report)));
    page.push_str(&claims(report));
    page.push_str(&panels(report));
    page.push_str(&inset.html);
    page.push_str(&cost::section(&cost::tables(&report.entries)));
    page.push_str(&rows(report));
    page.push_str(&drops(report));
    page.push_str(&conditions(report));
    page.push_str(READING);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn lead(report: &Report) -> String {
    let mut loads: Vec<String> = Vec::new();
    for entry in &report.entries {
        let load = table::load(&entry.row);
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    format!("Round-trip times, never half of them. Load: {}.", loads.join("; "))
}

fn claims(report: &Report) -> String {
    let claims = words::claims(&report.entries);
    if claims.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section>\n<h2>What it says</h2>\n<ul class=\"claims\">\n");
    for claim in claims {
        let class = match claim.topic {
            Topic::Calibration if claim.text.contains("not calibrated") => "warn",
            Topic::Calibration => "note",
            Topic::Connection => "connection",
            Topic::Kernel => "kernel",
        };
        let (head, rest) = claim.text.split_once(": ").unwrap_or(("", &claim.text));
        let _ = writeln!(html, "<li class=\"{class}\"><b>{}</b> {}</li>", escape(head), escape(rest));
    }
    html.push_str("</ul>\n</section>\n");
    html
}

/// One drawing for each pair of stacks and each load: TCP and UDP overlaid, raw as the limit.
fn panels(report: &Report) -> String {
    let drawn: Vec<&Entry> = report.entries.iter().filter(|entry| entry.latency().count() > 0).collect();
    let all: Vec<Curve> = drawn.iter().map(|entry| curve(entry)).collect();
    let Some(axes) = Axes::of(all.iter()) else { return String::new() };
    let mut titles: Vec<(String, String)> = Vec::new();
    for entry in drawn.iter().filter(|entry| entry.row.transport != "raw") {
        let title = (table::stacks(&entry.row), table::load(&entry.row));
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    if titles.is_empty() {
        titles.extend(drawn.first().map(|entry| ("raw".to_owned(), table::load(&entry.row))));
    }
    let several_loads = titles.iter().any(|title| title.1 != titles[0].1);
    let mut html = String::from("<section>\n<h2>Latency by percentile</h2>\n<p class=\"legend\">");
    for (class, name) in [("tcp", "TCP"), ("udp", "UDP"), ("raw", "raw AF_XDP: the limit")] {
        if all.iter().any(|curve| curve.class == class) {
            let _ = write!(
                html,
                "<span><svg viewBox=\"0 0 34 12\" class=\"key\"><path class=\"curve {class}\" d=\"M1 6L33 6\"/></svg>{name}</span>"
            );
        }
    }
    html.push_str("</p>\n<div class=\"panels\">\n");
    for (stacks, load) in &titles {
        let is_raw = |entry: &&&Entry| entry.row.transport == "raw" && entry.row.server_stack != XDP_TX;
        let own = |entry: &&&Entry| (table::stacks(&entry.row) == *stacks || is_raw(entry)) && table::load(&entry.row) == *load;
        let curves: Vec<Curve> = drawn.iter().filter(own).map(|entry| curve(entry)).collect();
        let title = if several_loads { format!("{stacks}: {load}") } else { stacks.clone() };
        let alternative = format!("Round-trip time by percentile over {title}");
        let svg = plot::render(&alternative, &axes, &curves);
        let _ = writeln!(html, "<figure><figcaption>{}</figcaption>{svg}</figure>", escape(&title));
    }
    html.push_str("</div>\n</section>\n");
    html
}

fn curve(entry: &Entry) -> Curve {
    let class = match entry.row.transport.as_str() {
        "tcp" => "tcp",
        "udp" => "udp",
        _ => "raw",
    };
    let label = if class == "raw" { "raw".to_owned() } else { entry.row.transport.to_uppercase() };
    let latency = entry.latency();
    // The maximum of n values is drawn where one half of 1/n lies above it: 100 % has no place on the axis.
    let last = 1.0 - 0.5 / latency.count().max(1) as f64;
    let points = latency.points().into_iter().map(|(quantile, ns)| (quantile.min(last), ns)).collect();
    Curve { label, class, points }
}

/// The table of all rows. Columns that nobody filled are left out; so is the load when there is only one.
fn rows(report: &Report) -> String {
    let lines: Vec<(&Entry, Vec<(&str, String)>)> = report.entries.iter().map(|entry| (entry, cells(entry))).collect();
    let headings: Vec<&str> = lines.first().map(|(_, cells)| cells.iter().map(|cell| cell.0).collect()).unwrap_or_default();
    let is_filled = |column: usize| lines.iter().any(|(_, cells)| cells.get(column).is_some_and(|cell| cell.1 != NOTHING));
    let shown: Vec<usize> = (0..headings.len()).filter(|&column| is_filled(column)).collect();
    let loads: Vec<String> = report.entries.iter().map(|entry| table::load(&entry.row)).collect();
    let several_loads = loads.iter().any(|load| *load != loads[0]);
    let mut html =
        String::from("<section>\n<h2>All figures</h2>\n<div class=\"wide\"><table>\n<thead><tr><th></th><th>stack</th>");
    html.push_str(if several_loads { "<th>load</th>" } else { "" });
    for &column in &shown {
        let _ = write!(html, "<th>{}</th>", headings[column]);
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for ((entry, cells), load) in lines.iter().zip(&loads) {
        let (transport, stacks) = (escape(&entry.row.transport), escape(&table::stacks(&entry.row)));
        let _ = write!(html, "<tr><th class=\"{transport}\">{transport}</th><th>{stacks}</th>");
        if several_loads {
            let _ = write!(html, "<td class=\"load\">{}</td>", escape(load));
        }
        for &column in &shown {
            let _ = write!(html, "<td>{}</td>", escape(&cells[column].1));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n</section>\n");
    html
}

/// The figures of a row under their headings; the same headings for every row.
fn cells(entry: &Entry) -> Vec<(&'static str, String)> {
    let row = &entry.row;
    let unanswered = row.lost.saturating_sub(row.late);
    let p = entry.percentiles();
    let uncorrected = row.rtt_uncorrected_ns.filter(|_| row.rtt_ns.is_some()).unwrap_or_default();
    let percentile = |value, q| dash(cell(value, &p, unanswered, q));
    let from_send = |value, q| dash(cell(value, &uncorrected, if row.rtt_ns.is_some() { unanswered } else { 0 }, q));
    let ns = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), compact);
    let share = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), |share| format!("{:.0} %", share * 100.0));
    vec![
        ("messages", units::count(row.received as f64)),
        ("rate/s", units::count(row.rate_per_s.round())),
        ("p50", percentile(p.p50, 0.5)),
        ("p90", percentile(p.p90, 0.9)),
        ("p99", percentile(p.p99, 0.99)),
        ("p99.9", percentile(p.p999, 0.999)),
        ("p99.99", percentile(p.p9999, 0.9999)),
        ("max", percentile(p.max, 1.0)),
        ("mean", ns(p.mean)),
        ("p50 from send", from_send(uncorrected.p50, 0.5)),
        ("p99 from send", from_send(uncorrected.p99, 0.99)),
        ("connect p50", dash(table::median(row.connect_ns.as_ref()))),
        ("close p50", dash(table::median(row.close_ns.as_ref()))),
        ("CPU/msg client", ns(row.cpu_ns_per_message.client)),
        ("CPU/msg server", ns(row.cpu_ns_per_message.server)),
        ("busy client", share(row.busy_share.client)),
        ("busy server", share(row.busy_share.server)),
        ("packets /msg", row.packets_per_message.map_or_else(|| NOTHING.into(), |packets| format!("{packets:.2}"))),
        ("lost", units::count(row.lost as f64)),
        ("late", units::count(row.late as f64)),
    ]
}

fn dash(cell: String) -> String {
    if cell == "-" { NOTHING.into() } else { cell }
}

fn drops(report: &Report) -> String {
    let dropping: Vec<&Entry> = report.entries.iter().filter(|entry| !entry.row.drops.is_empty()).collect();
    if dropping.is_empty() {
        return "<section>\n<h2>Drops by cause</h2>\n<p>None.</p>\n</section>\n".into();
    }
    let mut html = String::from("<section>\n<h2>Drops by cause</h2>\n<ul>\n");
    for entry in dropping {
        let causes: Vec<_> = entry.row.drops.iter().map(|(cause, n)| format!("{cause} {n}")).collect();
        let name = format!("{} {}", entry.row.transport, table::stacks(&entry.row));
        let _ = writeln!(html, "<li><b>{}</b> {}</li>", escape(&name), escape(&causes.join(", ")));
    }
    html.push_str("</ul>\n</section>\n");
    html
}

fn conditions(report: &Report) -> String {
    let mut html = String::from("<section>\n<h2>Conditions</h2>\n<dl>\n");
    for (name, value) in report.conditions.lines() {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&value));
    }
    html.push_str("</dl>\n</section>\n");
    html
}

/// How the figures are meant.
const READING: &str = "<section>\n<h2>How to read it</h2>\n<p>In an open loop a round trip counts from the time the message was due, \
not from when it could be sent; a closed loop has no due time. A message without an answer within one second is lost; a figure that \
lost messages could raise is printed with &gt;=. Connect: from the planned SYN to ESTABLISHED at the client. Close: from the client's \
half-close to the end of the peer's stream. CPU per message is the time of the thread, softirq charged to it included; for a spinning \
thread that is one over the rate, so the share of turns that found work stands beside it. The marks on the curves are p50, p90, p99 \
and p99.9.</p>\n</section>\n";

/// The style sheet of every page. Colours by Okabe and Ito, which colour-blind readers can tell apart.
pub const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d8dee4;--faint:#eef1f4;--tcp:#0072b2;--udp:#c24e00;--raw:#6a717a;--warn:#b3261e}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--soft:#9aa4ae;--line:#39414a;--faint:#22272c;--tcp:#56b4e9;--udp:#f0a030;--raw:#98a1aa;--warn:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.15rem;margin:32px 0 8px}
.lead{color:var(--soft);margin:0}
.claims{list-style:none;margin:0;padding:0;display:grid;gap:8px;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr))}
.claims li{border-left:4px solid var(--line);background:var(--faint);padding:8px 12px;border-radius:0 6px 6px 0}
.claims b{display:block}
.claims .connection{border-color:var(--tcp)}.claims .kernel{border-color:var(--udp)}.claims .warn{border-color:var(--warn)}
.legend{display:flex;flex-wrap:wrap;gap:4px 22px;margin:0 0 6px;color:var(--soft)}
.legend span{display:inline-flex;align-items:center;gap:7px}
.key{width:34px;height:12px}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:16px}
figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:10px 8px 2px}
figcaption{font-weight:600;padding:0 8px 4px}
figure svg{display:block;width:100%;height:auto}
.grid{stroke:var(--faint);stroke-width:1}.decade{stroke:var(--line)}
.tick{font-size:13px;fill:var(--soft)}.axis{font-size:13.5px;fill:var(--soft)}
.curve{fill:none;stroke-width:2.4;stroke-linejoin:round;stroke-linecap:round}
.curve.tcp{stroke:var(--tcp)}.curve.udp{stroke:var(--udp);stroke-dasharray:7 4}.curve.raw{stroke:var(--raw);stroke-width:1.6;stroke-dasharray:2 4}
.mark{stroke:var(--paper);stroke-width:1.2}.mark.tcp{fill:var(--tcp)}.mark.udp{fill:var(--udp)}.mark.raw{fill:var(--raw);stroke:none;r:2.4px}
.label{font-size:14px;font-weight:600}.label.tcp{fill:var(--tcp)}.label.udp{fill:var(--udp)}.label.raw{fill:var(--raw);font-weight:400}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:5px 7px;border-bottom:1px solid var(--line);text-align:right}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}
tbody th,thead th:nth-child(-n+2),td.load{text-align:left}
td.load{color:var(--soft);white-space:normal;min-width:11em}
.costs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:18px 32px;align-items:start}
table.cost{width:100%;white-space:normal}table.cost td{white-space:nowrap}
table.cost caption{text-align:left;font-weight:600;padding:0 7px 2px}
table.cost thead th:nth-child(2){text-align:right}
table.cost tbody th{font-weight:400}table.cost tr.part th{padding-left:22px;color:var(--soft)}table.cost tr.ratio>*{font-weight:600}
tbody th.tcp{color:var(--tcp)}tbody th.udp{color:var(--udp)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media (max-width:600px){main{padding:16px 12px 32px}h1{font-size:1.35rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}figure{padding:8px 2px 0}.tick{font-size:14px}.axis,.label{font-size:15px}}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--faint:#eee;--tcp:#0072b2;--udp:#c24e00;--raw:#6a717a}@page{size:A4 landscape;margin:12mm}body{font-size:11.5px}main{max-width:none;padding:0}h2{margin:16px 0 6px;break-after:avoid}figure,li,tr{break-inside:avoid}.panels{grid-template-columns:1fr 1fr 1fr;gap:8px}.costs{grid-template-columns:1fr 1fr 1fr;gap:8px 14px}table.cost,.whole{break-inside:avoid}.claims{gap:5px}.claims li{padding:4px 9px}.wide{overflow:visible}table{font-size:7.2pt}th,td{padding:2px 4px}td.load{min-width:8em}}
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::report::tests::{entry, report};

    #[test]
    fn the_page_stands_alone() {
        let page = render(&report(), &Inset::default());
        for outside in ["http:", "https:", "src=", "href=", "@import", "url(", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for tag in ["main", "section", "table", "caption", "tr", "figure", "svg", "ul", "dl", "style", "body", "html"] {
            let (open, close) = (
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count(),
                page.matches(&format!("</{tag}>")).count(),
            );
            assert_eq!(open, close, "{tag}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf "));
    }

    #[test]
    fn each_stack_has_a_drawing_with_both_transports_and_the_limit() {
        let page = render(&report(), &Inset::default());
        let figures: Vec<_> = page.split("<figure>").skip(1).collect();
        assert_eq!(figures.len(), 3);
        for (figure, stack) in figures.iter().zip(["ringway", "kernel", "kernel-spin"]) {
            let figure = figure.split("</figure>").next().unwrap_or("");
            assert!(figure.contains(&format!("<figcaption>{stack}</figcaption>")), "{figure}");
            for class in ["curve tcp", "curve udp", "curve raw"] {
                assert_eq!(figure.matches(class).count(), 1, "{stack} {class}");
            }
            assert!(figure.contains("percentile (%)") && figure.contains("round-trip time"));
        }
        assert!(page.contains("What the connection costs over Ringway") && page.contains("raw is calibrated"));
    }

    #[test]
    fn a_section_of_another_part_stands_behind_the_curves_with_its_style() {
        let inset = Inset { style: ".mine{color:red}".into(), html: "<section class=\"mine\">here</section>".into() };
        let page = render(&report(), &inset);
        let at = |what: &str| page.find(what).unwrap_or_else(|| panic!("no {what}"));
        assert!(at(".mine{color:red}") < at("</style>"));
        let order = ["<h2>Latency by percentile", "class=\"mine\"", "<h2>What the connection costs", "<h2>All figures"];
        assert!(order.map(at).is_sorted(), "{page}");
    }

    #[test]
    fn names_from_outside_cannot_break_the_page() {
        let mut report = Report::default();
        let mut hostile = entry("udp", "<script>alert(1)</script>", "\"'&", 5000);
        hostile.row.drops.insert("<img>".into(), 1);
        hostile.row.mode = "</style><b>".into();
        report.conditions.notes.push("<i>note".into());
        report.add(hostile);
        let page = render(&report, &Inset::default());
        for markup in ["<script", "<img", "</style><b>", "<i>"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &gt; &quot;&#39;&amp;"));
    }

    #[test]
    fn an_empty_report_and_raw_alone_are_pages_too() {
        let page = render(&Report::default(), &Inset::default());
        assert!(page.contains("<h2>All figures</h2>") && !page.contains("<figure>"));
        let mut report = Report::default();
        report.add(entry("raw", "raw", "raw", 4800));
        assert_eq!(render(&report, &Inset::default()).matches("<figure>").count(), 1);
    }
}
