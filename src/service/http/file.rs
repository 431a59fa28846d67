//! Files below a folder: found so that no name leads out of it, and read in pieces.
//!
//! Called by [`super::Http`]. The kernel resolves each name with `openat2` and RESOLVE_BENEATH, so neither `..` nor a symbolic link, nor a
//! rename while it resolves, leads out of the folder; RESOLVE_NO_MAGICLINKS closes the ways through `/proc`. What is opened is looked at
//! through its descriptor, never by name again. A small file can be copied into memory, for [`super::shelf`]. Nothing here panics.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FileType, Mode, OFlags, ResolveFlags, fadvise, fstat, openat2};
use rustix::io::{Errno, ReadWriteFlags};

use super::response::Status;
use crate::error::SetupError;
use crate::limits;

/// The file that stands for its folder.
const INDEX: &str = "index.html";

/// A folder whose files are served.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    path: PathBuf,
}

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Found {
    File(File),
    /// A folder with a file of that name in it stands for: its kind is that of the index, not of the folder.
    Index(File),
    /// A folder whose name was given without the slash at its end, so that the links in its page would lead astray.
    Folder,
}

/// A regular file, open for reading, or what it held when it was read whole.
#[derive(Debug)]
pub(super) struct File {
    source: Source,
    /// Bytes, when it was opened.
    pub(super) size: u64,
    /// Seconds from 1970 to its last change.
    pub(super) modified: u64,
    /// The fraction of that second.
    pub(super) modified_ns: u64,
    pub(super) inode: u64,
}

/// Where the bytes of a file are.
#[derive(Debug)]
enum Source {
    Disk(OwnedFd),
    Memory(Arc<[u8]>),
}

impl Root {
    /// A folder to be served.
    ///
    /// # Errors
    /// There is none, it is not one, or it may not be read; or the kernel lacks `openat2` (it came with Linux 5.6).
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        let shown = path.display();
        let refused = |why: &str| SetupError::usage(format!("cannot serve the files of '{shown}'"), why);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => refused("there is no such folder").mend(format!("mkdir -p '{shown}'")),
            Errno::NOTDIR => refused("it is not a folder"),
            error => refused(&std::io::Error::from(error).to_string()),
        })?;
        let root = Self { folder, path: path.to_owned() };
        match root.open_beneath(b".", OFlags::DIRECTORY) {
            Ok(_) => Ok(root),
            Err(Errno::ACCESS) => Err(refused("it may not be read").mend(format!("chmod +rx '{shown}'"))),
            Err(Errno::NOSYS) => Err(SetupError::environment(
                format!("cannot serve the files of '{shown}'"),
                "the kernel has no openat2, which keeps names from leading out of the folder",
            )),
            Err(error) => Err(refused(&std::io::Error::from(error).to_string())),
        }
    }

    /// Where it is, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds what a name below the folder leads to. A folder stands for the index in it; without one it is 403: its names are
    /// nobody's business.
    pub(super) fn find(&self, name: &[u8]) -> Result<Found, Status> {
        let slash = name.is_empty() || name.ends_with(b"/");
        let descriptor = self.open_beneath(if name.is_empty() { b"." } else { name }, OFlags::empty()).map_err(refusal)?;
        match File::of(descriptor)? {
            Ok(file) => Ok(Found::File(file)),
            Err(_) if !slash => Ok(Found::Folder),
            // By its whole name, because a link in a folder may point to another place below the root, but not below the folder.
            Err(_) => match self.open_beneath(&[name, INDEX.as_bytes()].concat(), OFlags::empty()) {
                Ok(descriptor) => File::of(descriptor)?.map(Found::Index).map_err(|_| Status::FORBIDDEN),
                Err(Errno::NOENT) => Err(Status::FORBIDDEN),
                Err(error) => Err(refusal(error)),
            },
        }
    }

    fn open_beneath(&self, name: &[u8], more: OFlags) -> Result<OwnedFd, Errno> {
        // Not blocking: opening a pipe would otherwise wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | more;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RACES {
            match openat2(&self.folder, name, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// A folder, where a file was looked for.
#[derive(Debug)]
pub(super) struct IsFolder;

impl File {
    /// What a descriptor stands for: a file, or a folder; anything else is refused.
    fn of(descriptor: OwnedFd) -> Result<Result<Self, IsFolder>, Status> {
        let stat = fstat(&descriptor).map_err(|_| Status::INTERNAL_ERROR)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Ok(Self {
                source: Source::Disk(descriptor),
                size: u64::try_from(stat.st_size).unwrap_or(0),
                modified: u64::try_from(stat.st_mtime).unwrap_or(0),
                modified_ns: stat.st_mtime_nsec,
                inode: stat.st_ino,
            })),
            FileType::Directory => Ok(Err(IsFolder)),
            _ => Err(Status::FORBIDDEN),
        }
    }

    /// A copy of it in memory; `None` when it is longer than [`limits::HTTP_KEPT_BYTES`], would have to be waited for, or has changed since it was
    /// opened.
    pub(super) fn read_whole(&self) -> Option<Self> {
        let Source::Disk(descriptor) = &self.source else { return None };
        let len = usize::try_from(self.size).ok().filter(|&len| len <= limits::HTTP_KEPT_BYTES)?;
        // One byte more: it may have grown.
        let mut bytes = vec![0; len + 1];
        if self.read_cached(&mut bytes, 0) != Ok(Piece::Read(len)) {
            return None;
        }
        bytes.truncate(len);
        let stat = fstat(descriptor).ok()?;
        let changed = (u64::try_from(stat.st_mtime).ok(), stat.st_mtime_nsec);
        let same = changed == (Some(self.modified), self.modified_ns);
        same.then(|| Self { source: Source::Memory(bytes.into()), ..*self })
    }

    /// Another handle on the same bytes, if they are in memory.
    pub(super) fn shared(&self) -> Option<Self> {
        match &self.source {
            Source::Disk(_) => None,
            Source::Memory(bytes) => Some(Self { source: Source::Memory(bytes.clone()), ..*self }),
        }
    }

    /// True when it holds a descriptor, and no copy.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.source, Source::Disk(_))
    }

    /// Reads from a position on, as far as it can be had without waiting for the disk.
    pub(super) fn read_at_once(&self, out: &mut [u8], at: u64) -> Piece {
        // Not every file system can say whether it would wait (EOPNOTSUPP).
        self.read_cached(out, at).unwrap_or_else(|_| self.read(out, at))
    }

    /// The same; an error where the file system cannot say whether it would wait.
    fn read_cached(&self, out: &mut [u8], at: u64) -> Result<Piece, Errno> {
        let descriptor = match &self.source {
            Source::Disk(descriptor) => descriptor,
            Source::Memory(bytes) => return Ok(copied(bytes, out, at)),
        };
        match rustix::io::preadv2(descriptor, &mut [IoSliceMut::new(out)], at, ReadWriteFlags::NOWAIT) {
            Ok(n) => Ok(Piece::Read(n)),
            Err(Errno::AGAIN) => Ok(Piece::Later),
            Err(error) => Err(error),
        }
    }

    /// Reads from a position on, waiting if need be.
    pub(super) fn read(&self, out: &mut [u8], at: u64) -> Piece {
        let descriptor = match &self.source {
            Source::Disk(descriptor) => descriptor,
            Source::Memory(bytes) => return copied(bytes, out, at),
        };
        loop {
            match rustix::io::pread(descriptor, &mut *out, at) {
                Ok(n) => return Piece::Read(n),
                Err(Errno::INTR) => {}
                Err(_) => return Piece::Failed,
            }
        }
    }

    /// Asks the kernel to fetch what will be read next.
    pub(super) fn fetch(&self, at: u64, bytes: u64) {
        if let Source::Disk(descriptor) = &self.source {
            // An advice: without it the piece comes when it is waited for.
            let _ = fadvise(descriptor, at, std::num::NonZeroU64::new(bytes), Advice::WillNeed);
        }
    }
}

/// Reads from memory.
fn copied(bytes: &[u8], out: &mut [u8], at: u64) -> Piece {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let len = rest.len().min(out.len());
    out[..len].copy_from_slice(&rest[..len]);
    Piece::Read(len)
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes; 0 at the end of the file.
    Read(usize),
    /// It is not in memory yet.
    Later,
    /// The file cannot be read.
    Failed,
}

/// How often a name is tried that is being renamed under our hands (EAGAIN of `openat2`).
const RACES: u32 = 4;

fn refusal(error: Errno) -> Status {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Status::NOT_FOUND,
        // EXDEV: the name leads out of the folder. ELOOP: a magic link, or links in a circle. ENXIO, ENODEV: no file to be read.
        Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV => Status::FORBIDDEN,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Status::UNAVAILABLE,
        Errno::INVAL => Status::BAD_REQUEST,
        _ => Status::INTERNAL_ERROR,
    }
}
