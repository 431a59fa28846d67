//! What a connection costs beside a datagram, as tables for a page: TCP against UDP of the same stacks under the same load.
//!
//! Called by [`super::page`] with the rows of a report, by `ringway bench` with its cells, and by [`crate::ladder::section`] with what it has counted of one
//! exchange. Only what was measured of both is set side by side; a line that nobody has a figure for is left out. All text is escaped. Pure; cannot panic.

use std::fmt::Write;

use super::plot::escape;
use super::report::Entry;
use super::table::{compact, load, stacks};
use super::{units, words};

/// A table: names at the left, and a column for each heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What stands above it.
    pub caption: String,
    /// What stands above the columns of figures.
    pub headings: Vec<String>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What the figures are of.
    pub name: String,
    /// The figures.
    pub cells: Vec<String>,
    /// How it is set.
    pub kind: Kind,
}

/// How a line is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A figure: a time, where they are told apart.
    Figure,
    /// A count.
    Count,
    /// A part of the figure above it.
    Part,
    /// How figures above it compare.
    Ratio,
}

impl Line {
    /// A line of a kind.
    pub fn new(kind: Kind, name: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.into(), cells: cells.into_iter().collect(), kind }
    }
}

/// One stack under a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Its name.
    pub stack: String,
    /// Over TCP.
    pub tcp: Figures,
    /// Over UDP.
    pub udp: Figures,
}

/// What was measured of a transport; `None` where it was not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Median round-trip time of a message.
    pub message_ns: Option<f64>,
    /// Median time of a handshake.
    pub connect_ns: Option<f64>,
    /// Median time of a close.
    pub close_ns: Option<f64>,
    /// CPU time of both ends per message.
    pub cpu_ns: Option<f64>,
    /// Packets of both ends per message.
    pub packets: Option<f64>,
}

impl Figures {
    /// Those of a row.
    pub fn of(entry: &Entry) -> Self {
        let row = &entry.row;
        let sides = row.cpu_ns_per_message;
        Self {
            message_ns: entry.percentiles().p50.map(|ns| ns as f64),
            connect_ns: row.connect_ns.and_then(|connect| connect.p50).map(|ns| ns as f64),
            close_ns: row.close_ns.and_then(|close| close.p50).map(|ns| ns as f64),
            cpu_ns: sides.client.zip(sides.server).map(|(client, server)| client + server),
            packets: row.packets_per_message,
        }
    }

    /// What the first message on a connection of its own takes.
    fn first_ns(&self) -> Option<f64> {
        self.connect_ns.zip(self.message_ns).map(|(connect, message)| connect + message)
    }
}

/// A table for each load under which TCP and UDP of the same stacks were measured, in the order of the rows.
pub fn tables(entries: &[Entry]) -> Vec<Table> {
    let mut loads: Vec<String> = Vec::new();
    for entry in entries {
        let load = load(&entry.row);
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    let columns = |wanted: &str| -> Vec<Column> {
        let of = |transport: &'static str| {
            entries.iter().filter(move |entry| entry.row.transport == transport && !words::lost_too_much(entry))
        };
        let under = |entry: &&Entry| load(&entry.row) == wanted;
        let beside = |tcp: &Entry| {
            let udp = of("udp").filter(under).find(|udp| stacks(&udp.row) == stacks(&tcp.row))?;
            Some(Column { stack: stacks(&tcp.row), tcp: Figures::of(tcp), udp: Figures::of(udp) })
        };
        of("tcp").filter(under).filter_map(beside).collect()
    };
    loads.into_iter().filter_map(|load| table(&load, &columns(&load))).collect()
}

/// The table of one load; `None` when there is nothing in it.
pub fn table(caption: &str, columns: &[Column]) -> Option<Table> {
    type Read = fn(&Column) -> Option<f64>;
    let lines: [(Kind, &str, Read); 12] = [
        (Kind::Figure, "message over TCP, p50", |column| column.tcp.message_ns),
        (Kind::Figure, "message over UDP, p50", |column| column.udp.message_ns),
        (Kind::Ratio, "TCP / UDP", |column| over(column.tcp.message_ns, column.udp.message_ns)),
        (Kind::Figure, "connect, p50", |column| column.tcp.connect_ns),
        (Kind::Figure, "close, p50", |column| column.tcp.close_ns),
        (Kind::Figure, "connect and one message", |column| column.tcp.first_ns()),
        (Kind::Ratio, "that / message over UDP", |column| over(column.tcp.first_ns(), column.udp.message_ns)),
        (Kind::Figure, "CPU a message over TCP", |column| column.tcp.cpu_ns),
        (Kind::Figure, "CPU a message over UDP", |column| column.udp.cpu_ns),
        (Kind::Ratio, "TCP / UDP", |column| over(column.tcp.cpu_ns, column.udp.cpu_ns)),
        (Kind::Count, "packets a message over TCP", |column| column.tcp.packets),
        (Kind::Count, "packets a message over UDP", |column| column.udp.packets),
    ];
    let filled = lines.into_iter().filter(|(.., read)| columns.iter().any(|column| read(column).is_some()));
    let lines: Vec<Line> = filled
        .map(|(kind, name, read)| {
            let show = if kind == Kind::Figure { compact } else { units::three_digits };
            Line::new(kind, name, columns.iter().map(|column| read(column).map_or_else(|| NOTHING.to_owned(), show)))
        })
        .collect();
    let headings = columns.iter().map(|column| column.stack.clone()).collect();
    (!lines.is_empty()).then(|| Table { caption: caption.to_owned(), headings, lines })
}

/// The section of a page with these tables; nothing without any.
pub fn section(tables: &[Table]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let mut html =
        format!("<section class=\"whole\">\n<h2>What the connection costs</h2>\n<p>{READING}</p>\n<div class=\"costs\">\n");
    tables.iter().for_each(|table| html.push_str(&table.html()));
    html + "</div>\n</section>\n"
}

impl Table {
    /// The table as an element of a page with the style sheet of [`super::page::STYLE`].
    pub fn html(&self) -> String {
        let mut html = format!("<div class=\"wide\"><table class=\"cost\">\n<caption>{}</caption>\n", escape(&self.caption));
        html.push_str("<thead><tr><th></th>");
        for heading in &self.headings {
            let _ = write!(html, "<th>{}</th>", escape(heading));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for line in &self.lines {
            let class = match line.kind {
                Kind::Figure | Kind::Count => "",
                Kind::Part => " class=\"part\"",
                Kind::Ratio => " class=\"ratio\"",
            };
            let _ = write!(html, "<tr{class}><th>{}</th>", escape(&line.name));
            for cell in &line.cells {
                let _ = write!(html, "<td>{}</td>", escape(cell));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody>\n</table></div>\n");
        html
    }
}

fn over(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).filter(|&(_, b)| b > 0.0).map(|(a, b)| a / b)
}

/// What stands in a cell without a figure.
pub const NOTHING: &str = "–";

const READING: &str = "Medians of what was measured, and their ratios, which mean nothing below the noise between rounds. “Connect and one message” adds \
two medians: what the first answer takes where a connection is opened for it. CPU is that of both ends. A stack that lost more than one message in a hundred \
is left out.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::report::tests::{entry, report};

    fn cells<'a>(table: &'a Table, name: &str) -> Vec<&'a [String]> {
        table.lines.iter().filter(|line| line.name == name).map(|line| &line.cells[..]).collect()
    }

    #[test]
    fn tcp_stands_beside_udp_of_the_same_stacks() {
        let tables = tables(&report().entries);
        let [table] = &tables[..] else { panic!("{tables:?}") };
        assert_eq!(table.headings, ["ringway", "kernel", "kernel-spin"]);
        assert_eq!(cells(table, "message over TCP, p50")[0][0], "7.13us");
        // Median, and CPU: a quarter and a fifth of it at the two ends, in the samples.
        assert_eq!(cells(table, "TCP / UDP"), [["1.29", "1.12", "1.46"]; 2]);
        assert_eq!(cells(table, "connect and one message")[0][0], "21.3us");
        assert_eq!(cells(table, "that / message over UDP")[0][0], "3.86");
        assert_eq!(cells(table, "packets a message over UDP")[0], ["2.00"; 3]);
    }

    #[test]
    fn what_was_not_measured_of_both_is_left_out() {
        let mut entries = vec![entry("tcp", "kernel", "kernel", 6000), entry("udp", "kernel-spin", "kernel-spin", 5000)];
        assert!(tables(&entries).is_empty() && section(&[]).is_empty());
        entries.push(entry("udp", "kernel", "kernel", 5000));
        entries[0].row.connect_ns = None;
        let found = tables(&entries);
        assert!(cells(&found[0], "connect, p50").is_empty() && cells(&found[0], "connect and one message").is_empty());
        assert_eq!(cells(&found[0], "close, p50").len(), 1);
        entries[2].row.lost = 150;
        assert!(tables(&entries).is_empty(), "it lost too much to be compared");
    }

    #[test]
    fn names_from_outside_are_no_markup() {
        let stack = "<script>".to_owned();
        let figures = Figures { message_ns: Some(5.0), ..Figures::default() };
        let table = table("\"<b>\"", &[Column { stack, tcp: figures, udp: figures }]).expect("there is something");
        let html = section(&[table]);
        assert!(html.contains("&lt;script&gt;") && html.contains("&quot;&lt;b&gt;") && !html.contains("<script"), "{html}");
    }
}
