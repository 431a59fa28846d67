//! A cache of small files: what many ask for is opened and read once a second.
//!
//! Asked by [`super::Http`] before the disk is. What lies here was read at most [`KEPT`] ago, so that a change is seen that late at most; whoever has a
//! part of the old file learns by its tag that there is a new one. Names that lead nowhere are not remembered, nor is what was changed a moment ago.
//! Bounded in files and in bytes of each ([`crate::limits`]). Where a name lies in a table is chance, so that no client can choose names that fall on
//! one place; no answer depends on it. Cannot panic.

use std::collections::HashMap;
use std::time::Duration;

use super::file::{File, Found};
use crate::limits;
use crate::time::Instant;

/// How long a file is answered from memory before it is opened again.
pub(super) const KEPT: Duration = Duration::from_secs(1);
/// Seconds that a file must not have changed for: the one it was changed in, and the next.
const SETTLED_S: u64 = 2;

/// The files that were asked for.
#[derive(Debug)]
pub(super) struct Shelf {
    /// By the position of their folder among [`super::Http`]'s, then by their decoded names.
    folders: Vec<HashMap<Box<[u8]>, Kept>>,
    /// In all folders; at most [`limits::HTTP_KEPT_FILES`].
    files: usize,
    /// When all were last looked at, to make room.
    looked_at: Instant,
}

#[derive(Debug)]
struct Kept {
    file: File,
    /// It is the index of the folder that was asked for.
    is_index: bool,
    until: Instant,
}

impl Kept {
    fn found(&self) -> Option<Found> {
        let file = self.file.shared()?;
        Some(if self.is_index { Found::Index(file) } else { Found::File(file) })
    }
}

impl Shelf {
    /// An empty one for so many folders.
    pub(super) fn new(folders: usize) -> Self {
        Self { folders: (0..folders).map(|_| HashMap::new()).collect(), files: 0, looked_at: Instant::ZERO }
    }

    /// What a name in the `folder`th folder led to a moment ago.
    pub(super) fn find(&self, folder: usize, name: &[u8], now: Instant) -> Option<Found> {
        self.folders.get(folder)?.get(name).filter(|kept| now < kept.until)?.found()
    }

    /// Keeps what a name has just led to, if it is a small file that has lain unchanged for a while and there is room, and returns it: from memory
    /// then, else as it came. It is `date` seconds since 1970.
    pub(super) fn keep(&mut self, folder: usize, name: &[u8], found: Found, now: Instant, date: u64) -> Found {
        let (file, is_index) = match &found {
            Found::File(file) => (file, false),
            Found::Index(file) => (file, true),
            Found::Folder => return found,
        };
        // One that is being written is read as it is, each time; and whoever knows a file by the second of its change must not get an older one.
        let settled = file.modified.saturating_add(SETTLED_S) <= date;
        if !settled || name.len() > limits::HTTP_KEPT_NAME_BYTES || !self.has_room(now) {
            return found;
        }
        let Some(file) = file.read_whole() else { return found };
        let Some(of_folder) = self.folders.get_mut(folder) else { return found };
        let kept = Kept { file, is_index, until: now + KEPT };
        let from_memory = kept.found();
        self.files += usize::from(of_folder.insert(name.into(), kept).is_none());
        from_memory.unwrap_or(found)
    }

    /// True when one more may be kept; what is too old goes for it, but all are looked at once in [`KEPT`] only.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.files >= limits::HTTP_KEPT_FILES && self.looked_at + KEPT <= now {
            self.looked_at = now;
            for folder in &mut self.folders {
                folder.retain(|_, kept| now < kept.until);
            }
            self.files = self.folders.iter().map(HashMap::len).sum();
        }
        self.files < limits::HTTP_KEPT_FILES
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::UNIX_EPOCH;

    use tempfile::TempDir;

    use super::super::file::{Piece, Root};
    use super::*;

    const WRITTEN_S: u64 = 1_000_000_000;
    const LATER_S: u64 = WRITTEN_S + SETTLED_S;

    fn content(found: &Found) -> Vec<u8> {
        let (Found::File(file) | Found::Index(file)) = found else { panic!("a file") };
        let mut bytes = vec![0; 100];
        let Piece::Read(n) = file.read(&mut bytes, 0) else { panic!("it can be read") };
        bytes.truncate(n);
        bytes
    }

    /// Writes a file that was changed last at [`WRITTEN_S`].
    fn write(folder: &TempDir, name: &str, content: &[u8]) {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(WRITTEN_S)).unwrap();
    }

    #[test]
    fn a_file_is_kept_for_its_time() {
        let folder = TempDir::new().unwrap();
        write(&folder, "a", b"old");
        let root = Root::open(folder.path()).unwrap();
        let mut shelf = Shelf::new(1);
        let now = Instant::from_ns(1_000_000_000);
        assert!(shelf.find(0, b"a", now).is_none());
        assert_eq!(content(&shelf.keep(0, b"a", root.find(b"a").unwrap(), now, LATER_S)), b"old");
        write(&folder, "a", b"new");
        let last = Instant::from_ns(now.as_ns() + KEPT.as_nanos() as u64 - 1);
        assert_eq!(content(&shelf.find(0, b"a", last).unwrap()), b"old");
        assert!(shelf.find(0, b"a", now + KEPT).is_none());
        assert!(shelf.find(0, b"b", now).is_none() && shelf.find(1, b"a", now).is_none());
        assert_eq!(content(&shelf.keep(0, b"a", root.find(b"a").unwrap(), now + KEPT, LATER_S)), b"new");
        assert_eq!(shelf.files, 1);
    }

    #[test]
    fn only_so_many_are_kept_that_are_small_and_have_not_just_been_changed() {
        let folder = TempDir::new().unwrap();
        write(&folder, "small", &vec![7; limits::HTTP_KEPT_BYTES]);
        write(&folder, "large", &vec![7; limits::HTTP_KEPT_BYTES + 1]);
        let root = Root::open(folder.path()).unwrap();
        let (mut shelf, now) = (Shelf::new(1), Instant::from_ns(1_000_000_000));
        shelf.keep(0, b"large", root.find(b"large").unwrap(), now, LATER_S);
        shelf.keep(0, b"small", root.find(b"small").unwrap(), now, LATER_S - 1);
        assert_eq!(shelf.files, 0);
        for name in 0..limits::HTTP_KEPT_FILES as u32 + 9 {
            shelf.keep(0, &name.to_be_bytes(), root.find(b"small").unwrap(), now, LATER_S);
        }
        assert_eq!(shelf.files, limits::HTTP_KEPT_FILES);
        // Those whose time is over make room.
        let late = now + KEPT + KEPT;
        shelf.keep(0, b"late", root.find(b"small").unwrap(), late, LATER_S);
        assert_eq!((shelf.files, shelf.find(0, b"late", late).is_some()), (1, true));
    }
}
