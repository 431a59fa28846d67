//! A report: rows with their distributions and conditions, as text, as files, as a page.
//!
//! An [`Entry`] is a row and the recorders it was made of; rounds of the same measurement merge into one. [`Report::text`] is
//! what the command prints, [`Report::write`] what it leaves behind: `result.json`, an `.hlog` for each row, `report.html`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::histogram::{Recorder, read_hlog, write_hlog};
use super::page::{self, Inset};
use super::row::{Percentiles, Row, SCHEMA, Sides};
use super::{table, words};

/// A row and its distributions.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The row.
    pub row: Row,
    /// Round-trip times from the due time; empty in a closed loop.
    pub rtt: Recorder,
    /// Round-trip times from the send time.
    pub rtt_uncorrected: Recorder,
    /// Handshakes.
    pub connect: Recorder,
    /// Closes.
    pub close: Recorder,
    /// The median of each round, in nanoseconds: their spread is the noise.
    pub round_medians_ns: Vec<u64>,
}

/// What `result.json` contains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Under which conditions.
    pub conditions: Conditions,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Under which conditions.
    pub conditions: Conditions,
    /// In the order in which they are shown.
    pub entries: Vec<Entry>,
}

impl Entry {
    /// A row with its distributions.
    pub fn new(row: Row, rtt: Recorder, rtt_uncorrected: Recorder, connect: Recorder, close: Recorder) -> Self {
        let mut entry = Self { row, rtt, rtt_uncorrected, connect, close, round_medians_ns: Vec::new() };
        entry.round_medians_ns.extend(entry.percentiles().p50);
        entry
    }

    /// A row and its `.hlog`, as another process wrote them.
    ///
    /// # Errors
    /// The log is not one.
    pub fn of_log(row: Row, log: &[u8]) -> Result<Self, String> {
        let mut recorders: BTreeMap<String, Recorder> = read_hlog(log)?.into_iter().collect();
        let mut take = |tag: &str| recorders.remove(tag).unwrap_or_default();
        let (mut rtt, mut uncorrected) = (take("rtt"), take("rtt_uncorrected"));
        let (connect, close) = (take("connect"), take("close"));
        let unanswered = row.lost.saturating_sub(row.late);
        if row.rtt_ns.is_some() {
            rtt.add_unanswered(unanswered);
        }
        // Messages that were never sent are lost, and have no send time.
        uncorrected.add_unanswered(unanswered.min(row.sent.saturating_sub(row.received + row.late)));
        Ok(Self::new(row, rtt, uncorrected, connect, close))
    }

    /// The distribution that counts: from the due time where there is one.
    pub fn latency(&self) -> &Recorder {
        if self.row.rtt_ns.is_some() { &self.rtt } else { &self.rtt_uncorrected }
    }

    /// True when the other measures the same thing, so that both may be merged.
    pub fn is_round_of(&self, other: &Self) -> bool {
        let key = |row: &Row| {
            let offered = row.offered_per_s.map(f64::to_bits);
            let names = [&row.transport, &row.client_stack, &row.server_stack, &row.mode].map(String::clone);
            (names, row.connections, row.size, offered)
        };
        key(&self.row) == key(&other.row)
    }

    /// Adds another round: counts add up, rates are averaged, costs are weighted with the messages they were divided by,
    /// percentiles are those of all values together.
    pub fn merge(&mut self, round: &Self) {
        let (a, b) = (&self.row, &round.row);
        let weights = (a.received as f64, b.received as f64);
        let sides = |a: Sides, b: Sides| Sides {
            client: weighted(a.client, b.client, weights),
            server: weighted(a.server, b.server, weights),
        };
        let rounds = self.round_medians_ns.len().max(1) as f64;
        let rate = (a.rate_per_s * rounds + b.rate_per_s) / (rounds + 1.0);
        let cpu = sides(a.cpu_ns_per_message, b.cpu_ns_per_message);
        let busy = sides(a.busy_share, b.busy_share);
        let packets = weighted(a.packets_per_message, b.packets_per_message, weights);
        for (mine, other) in [
            (&mut self.rtt, &round.rtt),
            (&mut self.rtt_uncorrected, &round.rtt_uncorrected),
            (&mut self.connect, &round.connect),
            (&mut self.close, &round.close),
        ] {
            mine.merge(other);
        }
        let row = &mut self.row;
        row.sent += b.sent;
        row.received += b.received;
        row.lost += b.lost;
        row.late += b.late;
        row.duplicated += b.duplicated;
        (row.rate_per_s, row.cpu_ns_per_message, row.busy_share, row.packets_per_message) = (rate, cpu, busy, packets);
        for (cause, n) in &b.drops {
            *row.drops.entry(cause.clone()).or_default() += n;
        }
        row.rtt_ns = row.offered_per_s.and_then(|_| self.rtt.percentiles());
        row.rtt_uncorrected_ns = self.rtt_uncorrected.percentiles();
        row.connect_ns = self.connect.percentiles();
        row.close_ns = self.close.percentiles();
        self.round_medians_ns.extend(&round.round_medians_ns);
    }

    /// Name of the row's files, without ending: `tcp-kernel-ringway-closed-1x64`.
    pub fn file_stem(&self) -> String {
        let row = &self.row;
        let mut name =
            format!("{}-{}-{}-{}-{}x{}", row.transport, row.client_stack, row.server_stack, row.mode, row.connections, row.size);
        if let Some(rate) = row.offered_per_s {
            name.push_str(&format!("-{rate:.0}"));
        }
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).collect()
    }

    /// Writes the distributions as an HdrHistogram log; empty ones are left out.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write_hlog(&self, writer: &mut impl io::Write, start: SystemTime) -> io::Result<()> {
        let all =
            [("rtt", &self.rtt), ("rtt_uncorrected", &self.rtt_uncorrected), ("connect", &self.connect), ("close", &self.close)];
        let recorded: Vec<_> = all.into_iter().filter(|(_, recorder)| recorder.count() > 0).collect();
        let seconds = if self.row.rate_per_s > 0.0 { self.row.received as f64 / self.row.rate_per_s } else { 0.0 };
        write_hlog(writer, &recorded, start, Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }

    /// The percentiles that count: from the due time where there is one.
    pub fn percentiles(&self) -> Percentiles {
        self.row.rtt_ns.or(self.row.rtt_uncorrected_ns).unwrap_or_default()
    }
}

impl Report {
    /// Adds an entry: to the one it is a round of, or at the end.
    pub fn add(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|known| known.is_round_of(&entry)) {
            Some(known) => known.merge(&entry),
            None => self.entries.push(entry),
        }
    }

    /// The content of `result.json`.
    pub fn document(&self) -> Document {
        let rows = self.entries.iter().map(|entry| entry.row.clone()).collect();
        Document { schema: SCHEMA, conditions: self.conditions.clone(), rows }
    }

    /// What the command prints: conditions, table, drops, words.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.conditions.lines() {
            text.push_str(&format!("{name}: {value}\n"));
        }
        let rows: Vec<_> = self.entries.iter().map(|entry| &entry.row).collect();
        text.push_str(&table::render(&rows));
        let claims = words::claims(&self.entries);
        if !claims.is_empty() {
            text.push('\n');
        }
        for claim in claims {
            text.push_str(&wrap(&claim.text));
        }
        text
    }

    /// Writes `result.json`, the logs and `report.html`, with a section of somebody else's, into a folder, which is made when it is not there.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn write(&self, folder: &Path, start: SystemTime, inset: &Inset) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut json = serde_json::to_string_pretty(&self.document()).map_err(io::Error::other)?;
        json.push('\n');
        fs::write(folder.join("result.json"), json)?;
        for entry in &self.entries {
            let mut file = BufWriter::new(File::create(folder.join(entry.file_stem() + ".hlog"))?);
            entry.write_hlog(&mut file, start)?;
            file.flush()?;
        }
        fs::write(folder.join("report.html"), page::render(self, inset))
    }
}

/// Breaks a sentence into lines of at most [`COLUMNS`]; the later ones are indented.
fn wrap(sentence: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in sentence.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > COLUMNS {
            text.push_str("\n ");
            column = 1;
        }
        if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
    text
}

/// Width of the text.
const COLUMNS: usize = 120;

fn weighted(a: Option<f64>, b: Option<f64>, weights: (f64, f64)) -> Option<f64> {
    let sum = weights.0 + weights.1;
    a.zip(b).filter(|_| sum > 0.0).map(|(a, b)| (a * weights.0 + b * weights.1) / sum)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An entry of a closed loop whose latencies rise from `p50_ns / 2` on, with a few slow ones.
    pub(crate) fn entry(transport: &str, client: &str, server: &str, p50_ns: u64) -> Entry {
        let mut latency = Recorder::new();
        for n in 0..10_000_u64 {
            let slow = if n % 1000 == 999 {
                100
            } else if n % 100 == 99 {
                3
            } else {
                1
            };
            latency.record(p50_ns / 2 * slow + p50_ns * n / 10_000);
        }
        let mut connect = Recorder::new();
        connect.record(p50_ns * 2);
        let row = Row {
            transport: transport.into(),
            client_stack: client.into(),
            server_stack: server.into(),
            mode: "closed".into(),
            connections: 1,
            size: 64,
            sent: 10_000,
            received: 10_000,
            rate_per_s: 1e9 / p50_ns as f64,
            rtt_uncorrected_ns: latency.percentiles(),
            connect_ns: if transport == "tcp" { connect.percentiles() } else { None },
            close_ns: if transport == "tcp" { connect.percentiles() } else { None },
            cpu_ns_per_message: Sides { client: Some(p50_ns as f64 / 4.0), server: Some(p50_ns as f64 / 5.0) },
            packets_per_message: Some(2.0),
            ..Row::default()
        };
        let streams = if transport == "tcp" { connect } else { Recorder::new() };
        Entry::new(row, Recorder::new(), latency, streams.clone(), streams)
    }

    /// A comparison of everything with everything.
    pub(crate) fn report() -> Report {
        let mut report = Report { conditions: Conditions::of_this_machine(), entries: Vec::new() };
        for (transport, stack, ns) in [
            ("raw", "xdp-tx", 2_000),
            ("raw", "raw", 4_800),
            ("udp", "ringway", 5_500),
            ("tcp", "ringway", 7_100),
            ("udp", "kernel", 20_000),
            ("tcp", "kernel", 22_500),
            ("udp", "kernel-spin", 6_300),
            ("tcp", "kernel-spin", 9_200),
        ] {
            let client = if stack == "xdp-tx" { "raw" } else { stack };
            report.add(entry(transport, client, stack, ns));
        }
        report
    }

    #[test]
    fn rounds_merge_and_different_measurements_do_not() {
        let mut report = Report::default();
        report.add(entry("tcp", "kernel", "kernel", 20_000));
        report.add(entry("udp", "kernel", "kernel", 20_000));
        let mut round = entry("tcp", "kernel", "kernel", 30_000);
        round.row.drops.insert("reset".into(), 2);
        report.add(round);
        assert_eq!(report.entries.len(), 2);
        let merged = &report.entries[0];
        assert_eq!((merged.row.sent, merged.row.received, merged.row.drops.get("reset")), (20_000, 20_000, Some(&2)));
        assert_eq!(merged.row.rtt_uncorrected_ns.map(|p| p.count), Some(20_000));
        assert_eq!(merged.row.cpu_ns_per_message.client, Some(6250.0));
        assert!((merged.row.rate_per_s - (1e9 / 20_000.0 + 1e9 / 30_000.0) / 2.0).abs() < 1.0);
        assert_eq!(merged.round_medians_ns.len(), 2);
        assert_eq!(merged.row.connect_ns.map(|p| p.count), Some(2));
    }

    #[test]
    fn the_files_are_what_they_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("made/by/write");
        let report = report();
        report.write(&out, SystemTime::now(), &Inset::default()).expect("files");
        let json: serde_json::Value = serde_json::from_slice(&fs::read(out.join("result.json")).expect("a file")).expect("JSON");
        let object = json.as_object().expect("one object");
        assert_eq!(object.keys().collect::<Vec<_>>(), ["schema", "conditions", "rows"]);
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["rows"][2]["rtt_uncorrected_ns"]["count"], 10_000);
        assert!(json["rows"][2]["rtt_ns"].is_null());
        let document: Document = serde_json::from_value(json).expect("it comes back");
        // Floating-point figures may change in their last digit on the way through text.
        let figures = |document: &Document| -> Vec<_> {
            let figures =
                |row: &Row| (row.server_stack.clone(), row.received, row.rtt_uncorrected_ns.map(|p| (p.count, p.p50, p.max)));
            document.rows.iter().map(figures).collect()
        };
        assert_eq!((figures(&document), document.conditions.clone()), (figures(&report.document()), report.conditions.clone()));
        assert!(fs::read_to_string(out.join("report.html")).expect("a page").starts_with("<!DOCTYPE html>"));
        let log = fs::read(out.join("tcp-ringway-ringway-closed-1x64.hlog")).expect("a log");
        let back = Entry::of_log(report.entries[3].row.clone(), &log).expect("a log");
        assert_eq!(back.rtt_uncorrected.percentiles(), report.entries[3].row.rtt_uncorrected_ns);
        assert_eq!((back.connect.count(), back.rtt.count()), (1, 0));
        assert_eq!(fs::read_dir(&out).expect("a folder").count(), 2 + 8);
    }

    #[test]
    fn a_log_gets_its_unanswered_messages_from_the_row() {
        let mut entry = entry("udp", "kernel", "kernel", 5_000);
        (entry.row.lost, entry.row.late, entry.row.sent) = (300, 0, 10_300);
        let mut log = Vec::new();
        entry.write_hlog(&mut log, SystemTime::UNIX_EPOCH).expect("memory");
        let back = Entry::of_log(entry.row.clone(), &log).expect("a log");
        assert_eq!(back.rtt_uncorrected.unanswered(), 300);
        assert!(back.rtt_uncorrected.percentiles().is_some_and(|p| p.p50.is_some() && p.p99.is_none() && p.max.is_none()));
        assert!(Entry::of_log(Row::default(), b"nonsense").is_err());
    }

    #[test]
    fn file_names_hold_nothing_but_letters_digits_points_and_dashes() {
        let mut entry = entry("tcp", "../evil", "a b", 1000);
        entry.row.mode = "open churn=client".into();
        entry.row.offered_per_s = Some(1000.0);
        entry.row.rtt_ns = Some(Percentiles::default());
        assert_eq!(entry.file_stem(), "tcp-..-evil-a-b-open-churn-client-1x64-1000");
    }

    #[test]
    fn the_text_has_conditions_table_and_words() {
        let text = report().text();
        assert!(
            text.contains("kernel: ") && text.contains("kernel-spin") && text.contains("What the connection costs"),
            "{text}"
        );
        assert!(
            text.lines().skip_while(|line| !line.starts_with("closed")).take(12).all(|line| line.chars().count() <= 120),
            "{text}"
        );
    }
}
