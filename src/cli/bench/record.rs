//! `cells.jsonl`: what was measured, one line a run, appended as soon as it is known.
//!
//! The first line is the [`Header`]: under what conditions. The report is made of this file alone ([`super::report`]), so that a run that was
//! interrupted reports what it has, and `--resume` goes on behind it, if the header is that of the new run. A last line that was cut short
//! is no line. Errors are the operator's: a file that cannot be read, or is of another machine.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use ringway::error::SetupError;
use ringway::ladder::section::Pair;
use ringway::metrics::conditions::Conditions;
use ringway::metrics::row::SCHEMA;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::exchange;

/// Under what conditions the lines behind it were measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    /// What was built.
    pub(super) commit: String,
    /// The machine.
    pub(super) conditions: Conditions,
    /// Measured time of a run, nanoseconds.
    pub(super) duration_ns: u64,
    /// Time before it.
    pub(super) warmup_ns: u64,
    /// Cores of server and client.
    pub(super) cores: Vec<u32>,
    /// Runs too short to be quoted.
    pub(super) quick: bool,
}

/// What one run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Messages answered per second; connections of a churn, KiB of bulk.
    pub(super) rate_per_s: f64,
    /// Messages due per second, of an open loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offered_per_s: Option<f64>,
    /// Round-trip times: from the moment a message was due where there is one.
    pub(super) p50_ns: Option<f64>,
    pub(super) p90_ns: Option<f64>,
    pub(super) p99_ns: Option<f64>,
    pub(super) p999_ns: Option<f64>,
    /// Busy time of the core per message, softirqs included.
    pub(super) server_cpu_ns: Option<f64>,
    pub(super) client_cpu_ns: Option<f64>,
    /// CPU time of the process alone, as the scheduler charges it.
    pub(super) server_thread_ns: Option<f64>,
    pub(super) client_thread_ns: Option<f64>,
    /// Packets to and from the server per message.
    pub(super) packets_to_server: Option<f64>,
    pub(super) packets_from_server: Option<f64>,
    /// System calls to send, per message, of the ends that have AF_XDP sockets.
    pub(super) server_kicks: Option<f64>,
    pub(super) client_kicks: Option<f64>,
    /// Answers in the measured time.
    pub(super) received: u64,
    /// Messages without an answer.
    pub(super) lost: u64,
    /// Drops by side and cause.
    pub(super) drops: BTreeMap<String, u64>,
    /// The share of both cores' time that the hypervisor took meanwhile.
    pub(super) steal: f64,
    /// The share of it that was neither idle nor of the two ends' processes: other programs, and softirqs that are charged to nobody.
    #[serde(default)]
    pub(super) foreign: f64,
}

/// A line behind the header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line {
    /// The first line.
    Header(Header),
    /// A cell was measured.
    Cell { id: String, round: u32, figures: Figures },
    /// A cell could not be measured.
    Failed { id: String, round: u32, why: String },
    /// The highest rate that a stack carries without loss was found.
    Limit { stack: String, rate_per_s: f64 },
    /// What a server has recorded of the exchange that is drawn ([`crate::cli::exchange`]).
    Exchange { records: Vec<Value> },
}

/// All that a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) header: Header,
    /// The runs of each cell by round.
    pub(super) cells: BTreeMap<String, BTreeMap<u32, Figures>>,
    /// Why a cell could not be measured, for cells that never were.
    pub(super) failed: BTreeMap<String, String>,
    /// The highest rates without loss, by stack.
    pub(super) limits: BTreeMap<String, f64>,
    /// The records of the exchange that is drawn; `None` before it took place.
    pub(super) exchange: Option<Vec<Value>>,
}

impl Record {
    /// Takes in a line.
    fn take(&mut self, line: Line) {
        match line {
            Line::Header(header) => self.header = header,
            Line::Cell { id, round, figures } => {
                self.failed.remove(&id);
                self.cells.entry(id).or_default().insert(round, figures);
            }
            Line::Failed { id, why, .. } => {
                if !self.cells.contains_key(&id) {
                    self.failed.insert(id, why);
                }
            }
            Line::Limit { stack, rate_per_s } => {
                self.limits.insert(stack, rate_per_s);
            }
            Line::Exchange { records } => {
                self.failed.remove(EXCHANGE);
                self.exchange = Some(records);
            }
        }
    }

    /// What is drawn, or why nothing is.
    pub(super) fn pair(&self) -> Result<Pair, String> {
        match &self.exchange {
            Some(records) => exchange::pair(records),
            None => Err(self.failed.get(EXCHANGE).cloned().unwrap_or_else(|| "the run has not come to it".to_owned())),
        }
    }

    /// True when this run of the cell is there.
    pub(super) fn has(&self, id: &str, round: u32) -> bool {
        self.cells.get(id).is_some_and(|rounds| rounds.contains_key(&round))
    }

    /// Reads the lines of a file, and how many bytes of it are whole lines.
    ///
    /// # Errors
    /// A line other than the last is none of ours; with its number.
    pub(super) fn parse(text: &str) -> Result<(Self, usize), String> {
        let mut record = Self::default();
        let mut whole = 0;
        let mut lines = text.split_inclusive('\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            match serde_json::from_str(line) {
                Ok(Line::Header(_)) if number > 0 => return Err(format!("line {} is a second header", number + 1)),
                Ok(_) if !line.ends_with('\n') => break,
                Ok(line) if number > 0 || matches!(line, Line::Header(_)) => record.take(line),
                Ok(_) => return Err("the first line is no header".to_owned()),
                // Whoever wrote it was ended in the middle of it.
                Err(_) if lines.peek().is_none() && number > 0 => break,
                Err(error) => return Err(format!("line {}: {error}", number + 1)),
            }
            whole += line.len();
        }
        Ok((record, whole))
    }
}

/// The open file, and what it holds.
#[derive(Debug)]
pub(super) struct Book {
    file: File,
    path: PathBuf,
    pub(super) record: Record,
}

impl Book {
    /// Begins a file in `folder`; one that is there is kept beside it, as `cells-before.jsonl`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn begin(folder: &Path, header: Header) -> Result<Self, SetupError> {
        let path = folder.join(FILE);
        let begin = || {
            fs::create_dir_all(folder)?;
            if path.exists() {
                fs::rename(&path, folder.join("cells-before.jsonl"))?;
            }
            File::create(&path)
        };
        let file = begin().map_err(|error| unwritable(&path, &error))?;
        let mut book = Self { file, path, record: Record::default() };
        book.write(Line::Header(header))?;
        Ok(book)
    }

    /// Goes on with the file in `folder`, or begins it.
    ///
    /// # Errors
    /// It cannot be read, or was measured under other conditions.
    pub(super) fn resume(folder: &Path, header: Header) -> Result<Self, SetupError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Self::begin(folder, header);
        }
        let what = || format!("cannot go on with {}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| SetupError::environment(what(), error.to_string()))?;
        let (record, whole) =
            Record::parse(&text).map_err(|why| SetupError::usage(what(), why).mend("leave --resume out, or another --out"))?;
        if let Some(other) = difference(&record.header, &header) {
            return Err(SetupError::usage(what(), other).mend("leave --resume out, or another --out"));
        }
        let open = || {
            let file = OpenOptions::new().append(true).open(&path)?;
            file.set_len(whole as u64)?;
            Ok(file)
        };
        let file = open().map_err(|error| unwritable(&path, &error))?;
        Ok(Self { file, path, record })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&mut self, line: Line) -> Result<(), SetupError> {
        let mut value = serde_json::to_value(&line).unwrap_or_default();
        if let (Value::Object(object), Line::Header(_)) = (&mut value, &line) {
            object.insert("schema".to_owned(), SCHEMA.into());
        }
        writeln!(self.file, "{value}").and_then(|()| self.file.flush()).map_err(|error| unwritable(&self.path, &error))?;
        self.record.take(line);
        Ok(())
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> SetupError {
    SetupError::environment(format!("cannot write {}", path.display()), error.to_string())
}

/// What keeps the figures of two headers from standing in one table.
fn difference(there: &Header, wanted: &Header) -> Option<String> {
    let machine = |header: &Header| {
        let conditions = &header.conditions;
        format!("{}, {}, {} online", conditions.kernel, conditions.cpu, conditions.cpus)
    };
    let length = |header: &Header| format!("{} ms after {} ms", header.duration_ns / 1_000_000, header.warmup_ns / 1_000_000);
    let pairs = [
        ("commit", there.commit.clone(), wanted.commit.clone()),
        ("machine", machine(there), machine(wanted)),
        ("runs", length(there), length(wanted)),
        ("cores", format!("{:?}", there.cores), format!("{:?}", wanted.cores)),
    ];
    let different = pairs.into_iter().find(|(_, there, wanted)| there != wanted);
    different.map(|(name, there, wanted)| format!("its {name} is {there}, and this would be {wanted}"))
}

/// What the exchange is called where it failed; no cell has this name.
pub(super) const EXCHANGE: &str = "exchange";

/// The file in the folder of `--out`.
pub(super) const FILE: &str = "cells.jsonl";

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { commit: "abc".to_owned(), duration_ns: 2_000_000_000, cores: vec![0, 1], ..Header::default() }
    }

    fn cell(id: &str, round: u32, rate_per_s: f64) -> Line {
        Line::Cell { id: id.to_owned(), round, figures: Figures { rate_per_s, ..Figures::default() } }
    }

    #[test]
    fn what_was_written_is_there_after_an_interruption() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut book = Book::begin(folder.path(), header()).expect("a file");
        book.write(cell("udp-rate/64B/raw", 1, 5.0)).expect("a line");
        book.write(Line::Failed { id: "mixed/x/y".to_owned(), round: 1, why: "no".to_owned() }).expect("a line");
        book.write(Line::Limit { stack: "raw".to_owned(), rate_per_s: 9.0 }).expect("a line");
        drop(book);
        // Killed in the middle of a line.
        let path = folder.path().join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).expect("a file");
        file.write_all(b"{\"event\":\"cell\",\"id\":\"udp-r").expect("half a line");
        let mut book = Book::resume(folder.path(), header()).expect("it goes on");
        assert!(book.record.has("udp-rate/64B/raw", 1) && !book.record.has("udp-rate/64B/raw", 2));
        assert_eq!((book.record.limits["raw"], book.record.failed.len()), (9.0, 1));
        book.write(cell("mixed/x/y", 1, 1.0)).expect("a line");
        assert!(book.record.failed.is_empty(), "it was measured after all");
        let (again, _) = Record::parse(&fs::read_to_string(&path).expect("a file")).expect("whole lines");
        assert_eq!(again, book.record);
    }

    #[test]
    fn an_exchange_that_failed_says_why_until_it_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut book = Book::begin(folder.path(), header()).expect("a file");
        assert_eq!(book.record.pair(), Err("the run has not come to it".to_owned()));
        book.write(Line::Failed { id: EXCHANGE.to_owned(), round: 1, why: "the server ended".to_owned() }).expect("a line");
        assert_eq!(book.record.pair(), Err("the server ended".to_owned()));
        book.write(Line::Exchange { records: vec![Value::Null] }).expect("a line");
        assert_eq!(book.record.pair(), Err("there is no whole exchange over TCP".to_owned()));
        drop(book);
        let book = Book::resume(folder.path(), header()).expect("the same");
        assert_eq!(book.record.exchange, Some(vec![Value::Null]));
    }

    #[test]
    fn figures_of_other_conditions_are_not_mixed() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Book::begin(folder.path(), header()).expect("a file"));
        let others = [
            (Header { commit: "def".to_owned(), ..header() }, "commit is abc"),
            (Header { duration_ns: 1, ..header() }, "2000 ms"),
            (Header { cores: vec![2, 3], ..header() }, "cores"),
        ];
        for (other, word) in others {
            let error = Book::resume(folder.path(), other).expect_err(word);
            assert!(error.exit_code() == 2 && error.why().contains(word) && error.remedy().is_some(), "{error}");
        }
        assert!(Book::resume(folder.path(), Header { quick: true, ..header() }).is_ok());
        assert!(Book::begin(folder.path(), header()).is_ok() && folder.path().join("cells-before.jsonl").exists());
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        for text in ["nonsense\n", "{\"event\":\"limit\",\"stack\":\"raw\",\"rate_per_s\":1.0}\n"] {
            assert!(Record::parse(text).is_err(), "{text}");
        }
        let line = serde_json::to_string(&Line::Header(header())).expect("JSON");
        assert!(Record::parse(&format!("{line}\n{line}\n")).is_err());
        assert!(Record::parse(&format!("{line}\nnonsense\n{line}\n")).is_err());
        assert_eq!(Record::parse("").expect("nothing"), (Record::default(), 0));
    }
}
