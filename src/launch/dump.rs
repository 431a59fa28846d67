//! Files of what the recorders hold, written by themselves when something goes wrong.
//!
//! A thread looks at the alarms of all cores; when one has rung it asks each core for its records and writes them into one pcapng file, which
//! `ringway ladder` and Wireshark open. A core that has ended, or panicked, has left its records with its alarm. Bounded: one file in ten seconds, but for a panic and
//! at the end, and the newest ten files of the folder stay, those of earlier processes among them. The files are their owner's alone. Errors are said in the log; nothing here panics.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::beside::{self, Place};
use crate::capture::file::Recorded;
use crate::capture::{Event, Writer};
use crate::engine::Inquirer;
use crate::error::SetupError;
use crate::limits;
use crate::recorder::{Alarm, Reason, Record};
use crate::rights::CapabilitySet;
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
    /// Begins to look at the alarms of these cores, in the order of their numbers; `interfaces` are the names of theirs.
    ///
    /// # Errors
    /// The folder is none, or cannot be written without any rights but those of the user; the thread cannot be started.
    pub(super) fn start(
        dump: Dump,
        cores: Vec<(Inquirer, Alarm)>,
        interfaces: Vec<String>,
        place: Option<Place>,
    ) -> Result<Self, SetupError> {
        let folder = dump.folder.display().to_string();
        let refused = |error: io::Error| {
            SetupError::environment(format!("cannot write dumps into {folder}"), error.to_string())
                .mend(format!("mkdir -p {folder} && chown $(id -u) {folder}"))
        };
        let (end, ended) = mpsc::channel();
        let (trying, tried) = mpsc::channel();
        let mut writer = Writers::new(dump, cores, interfaces);
        let run = move || {
            // By this thread, which has no rights any more but those of its user.
            let outcome = writer.try_out();
            let can_write = outcome.is_ok();
            if trying.send(outcome).is_err() || !can_write {
                return;
            }
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                writer.look(false);
            }
            writer.look(true);
        };
        let thread = beside::spawn("ringway-dump", place, CapabilitySet::empty(), run);
        let thread = thread.map_err(|error| SetupError::environment("cannot start a thread", error.to_string()))?;
        let dumper = Self { end: Some(end), thread: Some(thread) };
        let outcome = tried.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that tries it has ended")));
        outcome.map(|()| dumper).map_err(refused)
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
    /// For what that was, if it lacks a core that has ended.
    unfinished: Option<Reason>,
    number: u64,
    /// The files that are there, the oldest first.
    files: VecDeque<PathBuf>,
}

impl Writers {
    fn new(mut dump: Dump, cores: Vec<(Inquirer, Alarm)>, interfaces: Vec<String>) -> Self {
        // The last that has rung names the file.
        dump.on.sort_by_key(|reason| *reason as usize);
        dump.on.dedup();
        Self { dump, cores, interfaces, seen: Vec::new(), last: None, unfinished: None, number: 0, files: VecDeque::new() }
    }

    /// Tries whether files can be made in the folder, and finds those that earlier processes have left.
    fn try_out(&mut self) -> io::Result<()> {
        let folder = &self.dump.folder;
        let path = folder.join(format!(".ringway-{}-{}", today(), std::process::id()));
        create(&path)?;
        fs::remove_file(path)?;
        let entries = folder.read_dir()?.take(limits::DUMPS_FOUND).flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| is_dump(path)).collect();
        files.sort();
        self.files = files.into();
        Ok(())
    }

    /// Writes a file if an alarm has rung since the last one and it is time; the last look does not wait.
    fn look(&mut self, is_last: bool) {
        let count = |reason: &Reason| self.cores.iter().map(|(_, alarm)| alarm.count(*reason)).sum::<u64>();
        let counts: Vec<u64> = self.dump.on.iter().map(count).collect();
        self.seen.resize(counts.len(), 0);
        let mut rung = self.dump.on.iter().zip(counts.iter().zip(&self.seen)).filter(|(_, (now, before))| now > before);
        let again = self.unfinished.filter(|_| is_last);
        let Some(reason) = rung.next_back().map(|(reason, _)| *reason).or(again) else { return };
        let is_early = self.last.is_some_and(|last| last.elapsed() < BETWEEN);
        if is_early && !is_last && reason != Reason::Panic {
            return;
        }
        (self.seen, self.last) = (counts, Some(Instant::now()));
        let name = format!("ringway-{}-{}-{}-{}.pcapng", today(), std::process::id(), self.number + 1, reason.name());
        let path = self.dump.folder.join(name);
        let file = match create(&path) {
            Ok(file) => file,
            Err(error) => return tracing::warn!("cannot write {}: {error}", path.display()),
        };
        let written = self.write(file);
        // A core that has ended leaves its records only when all have: it is come back to then.
        self.unfinished = matches!(written, Ok((_, false))).then_some(reason);
        match written {
            Ok((0, _)) => drop(fs::remove_file(&path)),
            Ok((packets, _)) => {
                self.number += 1;
                let file = path.display();
                tracing::warn!(target: "ringway::setup", reason = reason.name(), packets, %file, "dumped");
                self.files.push_back(path);
            }
            Err(error) => {
                tracing::warn!("cannot write {}: {error}", path.display());
                let _ = fs::remove_file(&path);
            }
        }
        while self.files.len() > FILES {
            if let Some(oldest) = self.files.pop_front() {
                let _ = fs::remove_file(oldest);
            }
        }
    }

    /// The records of all cores, by their times; how many packets they are of, and whether each core that has any gave them.
    fn write(&self, file: File) -> io::Result<(u64, bool)> {
        let mut all: Vec<Group> = Vec::new();
        let mut is_whole = true;
        for (worker, (core, alarm)) in self.cores.iter().enumerate() {
            let epoch_ns = span_ns(core.epoch());
            let mut records = alarm.take_left();
            let mut from = 0;
            // One that has ended, or does not answer, has no more; one that goes on recording is not followed.
            let answer = core.records(u64::MAX);
            is_whole &= answer.is_ok() || !records.is_empty();
            let until = answer.map_or(0, |told| told.written);
            while from < until {
                let Ok(told) = core.records(from) else { break };
                let Some((last, _)) = told.records.last() else { break };
                from = last + 1;
                records.extend(told.records);
            }
            for (number, record) in records {
                let its = |group: &&mut Group| group.worker == worker && group.ends_before(number);
                match all.last_mut().filter(|_| record.is_of_the_one_before()).filter(its) {
                    Some(group) => group.records.push((number, record)),
                    None => {
                        let unix_ns = epoch_ns.saturating_add(record.at.as_ns());
                        all.push(Group { unix_ns, worker, records: vec![(number, record)] });
                    }
                }
            }
        }
        all.sort_by_key(|group| group.unix_ns);
        let mut writer = Writer::new(BufWriter::new(file))?;
        let mut packets = 0;
        for Group { unix_ns, worker, records } in &all {
            let [(number, record), rest @ ..] = &records[..] else { continue };
            if record.is_of_the_one_before() {
                // What it belonged to has been written over.
                continue;
            }
            let interface = record.interface_name(&self.interfaces);
            let event = Event::Record(Recorded::of((*number, record), rest, *worker, interface, *unix_ns));
            packets += u64::from(writer.write(&event)?);
        }
        writer.flush()?;
        Ok((packets, is_whole))
    }
}

/// A record with those that belong to it.
struct Group {
    unix_ns: u64,
    worker: usize,
    records: Vec<(u64, Record)>,
}

impl Group {
    /// True when a record of this number is the next.
    fn ends_before(&self, number: u64) -> bool {
        self.records.last().is_some_and(|(last, _)| last.checked_add(1) == Some(number))
    }
}

/// Makes a file that was not there, whatever lies at its path, and that nobody else can read.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Seconds since 1970: names are sorted by it.
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether a file has a name as it is given here: ringway-SECONDS-PROCESS-NUMBER-REASON.pcapng.
fn is_dump(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parts = name.strip_prefix("ringway-").and_then(|name| name.strip_suffix(".pcapng"));
    let parts: Vec<&str> = parts.map(|parts| parts.split('-').collect()).unwrap_or_default();
    let [numbers @ .., reason] = &parts[..] else { return false };
    numbers.len() == 3
        && numbers.iter().all(|number| number.parse::<u64>().is_ok())
        && Reason::ALL.iter().any(|known| known.name() == *reason)
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two files.
const BETWEEN: Duration = Duration::from_secs(10);
/// Files that stay.
const FILES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::memory::MemoryDevice;
    use crate::engine::Engine;
    use crate::engine::tests::{Silent, parked};
    use crate::service::{Context, Service};

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn dumper<S: Service>(folder: &Path, engine: &mut Engine<MemoryDevice, S>) -> Result<Dumper, SetupError> {
        let alarm = Alarm::default();
        engine.set_alarm(alarm.clone());
        let dump = Dump { folder: folder.to_owned(), on: vec![Reason::Panic, Reason::Timeout, Reason::Reset] };
        Dumper::start(dump, vec![(engine.inquirer(), alarm)], vec!["cable".to_owned()], None)
    }

    /// Connects, and panics when that takes too long.
    struct Fragile;

    impl Service for Fragile {
        type Message = ();

        fn start(&mut self, cx: &mut impl Context) {
            cx.connect("10.0.0.2:7".parse().unwrap(), crate::service::Connect::default()).unwrap();
            cx.set_timer(cx.now().after_ns(20_000_000), 1).unwrap();
        }

        fn timer(&mut self, _: &mut impl Context, _: u64) {
            panic!("on purpose");
        }
    }

    #[test]
    fn what_a_panic_leaves_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = parked(Fragile);
        let dumper = dumper(folder.path(), &mut engine).unwrap();
        assert!(std::thread::spawn(move || engine.run()).join().is_err());
        drop(dumper);
        let [name] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
        assert!(name.ends_with("-1-panic.pcapng") && is_dump(Path::new(name)), "{name}");
        let file = folder.path().join(name);
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let found = crate::ladder::capture::Found::read(File::open(&file).unwrap(), Default::default()).unwrap();
        assert_eq!(found.flows.len(), 1, "that of its SYN: {found:?}");
    }

    #[test]
    fn nothing_is_written_of_an_end_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = parked(Silent);
        let dumper = dumper(folder.path(), &mut engine).unwrap();
        engine.stop().ask();
        engine.run().unwrap();
        drop((engine, dumper));
        assert_eq!(files(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn ten_files_stay_and_those_of_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let names = (0..12).map(|second| format!("ringway-17000000{second:02}-1-1-panic.pcapng"));
        let others = ["ringway-1-2-3-mine.pcapng", "ringway-a-2-3-rto.pcapng", "web.pcapng", "ringway-1-2-3-rto.pcap"];
        names.chain(others.map(str::to_owned)).for_each(|name| drop(File::create(folder.path().join(name)).unwrap()));
        let mut engine = parked(Fragile);
        let dumper = dumper(folder.path(), &mut engine).unwrap();
        assert!(std::thread::spawn(move || engine.run()).join().is_err());
        drop(dumper);
        let left = files(folder.path());
        assert_eq!(left.iter().filter(|name| is_dump(Path::new(name))).count(), FILES, "{left:?}");
        assert!(others.iter().all(|other| left.contains(&(*other).to_owned())), "{left:?}");
        assert!(!left.contains(&"ringway-1700000002-1-1-panic.pcapng".to_owned()), "the oldest have gone: {left:?}");
    }

    #[test]
    fn a_folder_that_is_none_is_refused() {
        let mut engine = parked(Silent);
        let error = dumper(Path::new("/nowhere/at/all"), &mut engine).unwrap_err();
        assert_eq!((error.what(), error.exit_code()), ("cannot write dumps into /nowhere/at/all", 3));
        assert!(error.remedy().is_some_and(|mend| mend.contains("mkdir -p /nowhere/at/all")), "{error}");
    }
}
