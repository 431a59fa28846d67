//! Files of what the recorders hold, written by themselves when something goes wrong.
//!
//! A thread looks at the alarms of all cores; when one has rung it asks each core for its records and writes them into one pcapng file, which
//! `ringway ladder` and Wireshark open. A core that panicked has left its records with its alarm. Bounded: one file in ten seconds, but for a panic, and the newest
//! ten files of a process stay. Errors are said in the log; nothing here panics.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::CpuSet;

use crate::capture::file::Recorded;
use crate::capture::{Event, Writer};
use crate::cpu;
use crate::engine::Inquirer;
use crate::error::SetupError;
use crate::recorder::{Alarm, Reason, Record};
use crate::rights::{self, CapabilitySet};
use crate::time::span_ns;

/// Where dumps go, and what is worth one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// The folder, which is there.
    pub folder: PathBuf,
    /// For which of these.
    pub on: Vec<Reason>,
}

/// The thread that writes them. Dropped, it writes what is left to be written, and ends.
#[derive(Debug)]
pub(super) struct Dumper {
    /// Closed when it is to end.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Dumper {
    /// Begins to look at the alarms of these cores, in the order of their numbers; `interfaces` are the names of theirs. The thread keeps off the cores that are
    /// busy, of those that are allowed, if that is known.
    ///
    /// # Errors
    /// The folder is none, or cannot be written; the thread cannot be started.
    pub(super) fn start(
        dump: Dump,
        cores: Vec<(Inquirer, Alarm)>,
        interfaces: Vec<String>,
        place: Option<(CpuSet, Vec<u32>)>,
    ) -> Result<Self, SetupError> {
        let what = || format!("cannot write dumps into {}", dump.folder.display());
        let try_out = dump.folder.join(format!(".ringway-{}", std::process::id()));
        File::create(&try_out).and_then(|_| fs::remove_file(&try_out)).map_err(|error| {
            SetupError::environment(what(), error.to_string()).mend(format!("mkdir -p {}", dump.folder.display()))
        })?;
        let (end, ended) = mpsc::channel();
        let mut writer = Writers { dump, cores, interfaces, seen: Vec::new(), last: None, number: 0, files: VecDeque::new() };
        let run = move || {
            rights::keep_only_or_say(CapabilitySet::empty());
            if let Some((allowed, busy)) = place {
                cpu::keep_off(&allowed, &busy);
            }
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                writer.look(false);
            }
            writer.look(true);
        };
        let thread = thread::Builder::new().name("ringway-dump".to_owned()).spawn(run);
        let thread = thread.map_err(|error| SetupError::environment("cannot start a thread", error.to_string()))?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Dumper {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Writers {
    dump: Dump,
    cores: Vec<(Inquirer, Alarm)>,
    interfaces: Vec<String>,
    /// The counts of all cores together that have been written about, in the order of the reasons.
    seen: Vec<u64>,
    /// When the last file was written.
    last: Option<Instant>,
    number: u64,
    files: VecDeque<PathBuf>,
}

impl Writers {
    /// Writes a file if an alarm has rung since the last one and it is time; the last look does not wait.
    fn look(&mut self, is_last: bool) {
        let count = |reason: &Reason| self.cores.iter().map(|(_, alarm)| alarm.count(*reason)).sum::<u64>();
        let counts: Vec<u64> = self.dump.on.iter().map(count).collect();
        self.seen.resize(counts.len(), 0);
        let mut rung = self.dump.on.iter().zip(counts.iter().zip(&self.seen)).filter(|(_, (now, before))| now > before);
        let Some(&reason) = rung.next_back().map(|(reason, _)| reason) else { return };
        let is_early = self.last.is_some_and(|last| last.elapsed() < BETWEEN);
        if is_early && !is_last && reason != Reason::Panic {
            return;
        }
        (self.seen, self.last) = (counts, Some(Instant::now()));
        self.number += 1;
        let name = format!("ringway-{}-{}-{}.pcapng", std::process::id(), self.number, reason.name());
        let path = self.dump.folder.join(name);
        match self.write(&path) {
            Ok(0) => drop(fs::remove_file(&path)),
            Ok(packets) => {
                let file = path.display();
                tracing::warn!(target: "ringway::setup", reason = reason.name(), packets, %file, "dumped");
                self.files.push_back(path);
            }
            Err(error) => tracing::warn!("cannot write {}: {error}", path.display()),
        }
        while self.files.len() > FILES {
            if let Some(oldest) = self.files.pop_front() {
                let _ = fs::remove_file(oldest);
            }
        }
    }

    /// The records of all cores, by their times; how many packets they are of.
    fn write(&self, path: &Path) -> io::Result<u64> {
        let mut all: Vec<Group> = Vec::new();
        for (worker, (core, alarm)) in self.cores.iter().enumerate() {
            let mut records = alarm.take_left();
            let mut from = 0;
            // One that has ended, or does not answer, has no more; one that goes on recording is not followed.
            let until = core.records(u64::MAX).map_or(0, |told| told.written);
            while from < until {
                let Ok(told) = core.records(from) else { break };
                let Some((last, _)) = told.records.last() else { break };
                from = last + 1;
                records.extend(told.records);
            }
            for (number, record) in records {
                match all.last_mut().filter(|_| record.is_of_the_one_before()) {
                    Some(group) => group.records.push((number, record)),
                    None => {
                        let unix_ns = span_ns(core.unix_time(record.at));
                        all.push(Group { unix_ns, worker, records: vec![(number, record)] });
                    }
                }
            }
        }
        all.sort_by_key(|group| group.unix_ns);
        let mut writer = Writer::new(BufWriter::new(File::create(path)?))?;
        let mut packets = 0;
        for Group { unix_ns, worker, records } in &all {
            let [(number, record), rest @ ..] = &records[..] else { continue };
            if record.is_of_the_one_before() {
                continue;
            }
            let interface = self.interfaces.get(usize::from(record.key().link.interface)).map_or("?", String::as_str);
            let event = Event::Record(Recorded::of((*number, record), rest, *worker, interface, *unix_ns));
            packets += u64::from(writer.write(&event)?);
        }
        writer.flush()?;
        Ok(packets)
    }
}

/// A record with those that belong to it.
struct Group {
    unix_ns: u64,
    worker: usize,
    records: Vec<(u64, Record)>,
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two files.
const BETWEEN: Duration = Duration::from_secs(10);
/// Files that stay.
const FILES: usize = 10;
