//! The files of a capture: one, or a row of them of which the newest are kept.
//!
//! Written by `ringway capture`. A file is begun when there is something for it, but the first at once, so that what cannot be written is said
//! before anything is captured. Errors are the operator's.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ringway::capture::{Event, Writer};

/// Where events go.
pub(super) struct Files {
    out: PathBuf,
    rotate: u64,
    keep: usize,
    writer: Writer<Box<dyn Write>>,
    /// Those that are there, the oldest first.
    written: VecDeque<PathBuf>,
    /// The number of the next.
    next: u64,
    /// Events written.
    pub(super) events: u64,
    bytes_before: u64,
}

impl Files {
    /// Begins the first file; `rotate` is the size at which another is begun, `keep` how many there may be.
    pub(super) fn new(out: &Path, rotate: Option<u64>, keep: Option<u64>) -> io::Result<Self> {
        let keep = keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(usize::MAX);
        let writer = Writer::new(open(out)?)?;
        let written = VecDeque::from([out.to_owned()]);
        Ok(Self {
            out: out.to_owned(),
            rotate: rotate.unwrap_or(u64::MAX),
            keep,
            writer,
            written,
            next: 1,
            events: 0,
            bytes_before: 0,
        })
    }

    /// Adds an event. False when there is no packet to it.
    pub(super) fn write(&mut self, event: &Event<'_>) -> io::Result<bool> {
        if self.writer.written() >= self.rotate {
            self.begin_another()?;
        }
        let is_packet = self.writer.write(event)?;
        self.events += u64::from(is_packet);
        Ok(is_packet)
    }

    /// What was written so far can be read.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Bytes of all files, those that are gone among them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_before + self.writer.written()
    }

    /// The files that are there.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.written.iter().map(|path| path.display().to_string())
    }

    fn begin_another(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        let mut name = self.out.clone().into_os_string();
        name.push(format!(".{}", self.next));
        let path = PathBuf::from(name);
        self.bytes_before += self.writer.written();
        self.writer = Writer::new(open(&path)?)?;
        self.next += 1;
        self.written.push_back(path);
        while self.written.len() > self.keep {
            if let Some(oldest) = self.written.pop_front() {
                match fs::remove_file(oldest) {
                    // Somebody has taken it away already.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// A file, or stdout.
fn open(path: &Path) -> io::Result<Box<dyn Write>> {
    match path.as_os_str() == "-" {
        true => Ok(Box::new(BufWriter::new(io::stdout()))),
        false => Ok(Box::new(BufWriter::new(File::create(path)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"event":"record","worker":0,"number":1,"unix_ns":5,"interface":"veth0","kind":"received",
        "local":"10.0.0.2:80","remote":"10.0.0.1:4000","len":0,"flags":16,"seq":1,"ack":2,"window":3,"terms":null}"#;

    #[test]
    fn a_row_of_files_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.pcapng");
        let event: Event<'_> = serde_json::from_str(RECORD).unwrap();
        let mut files = Files::new(&out, Some(1000), Some(2)).unwrap();
        for nth in 0..40 {
            assert!(files.write(&event).unwrap());
            if nth == 20 {
                // Somebody tidies up meanwhile.
                fs::remove_file(files.names().next().unwrap()).unwrap();
            }
        }
        files.flush().unwrap();
        let mut there: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        there.sort();
        let mut named: Vec<_> = files.names().map(PathBuf::from).collect();
        named.sort();
        assert_eq!(there, named);
        assert_eq!((there.len(), files.events), (2, 40));
        assert!(there.iter().all(|path| fs::metadata(path).unwrap().len() < 1200), "{there:?}");
        assert!(files.bytes() > 2500, "{}", files.bytes());
    }

    #[test]
    fn what_cannot_be_written_is_said_at_once() {
        assert!(Files::new(Path::new("/nowhere/at/all"), None, None).is_err());
    }
}
