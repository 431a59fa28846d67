//! Where the control socket is: bound so that it is its owner's alone, and cleared of what killed processes have left.
//!
//! A process that is killed leaves its socket behind, and nobody answers there any more. One at the path that is wanted gives way; those in the usual
//! folder go when the next process opens its own there. Called by `server` as it starts. Nothing here panics.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, listen, socket_with};
use rustix::process::{Pid, test_kill_process};

use crate::limits;

/// Where sockets are when nothing else is said; made with mode 0700.
pub const FOLDER: &str = "/run/ringway";

/// The socket of a process.
pub fn path_of(process: u32) -> PathBuf {
    Path::new(FOLDER).join(format!("{process}.sock"))
}

/// Binds the socket so that nobody else can open it. One that a process left behind which was killed gives way.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if folder == Path::new(FOLDER) {
            sweep(folder);
        }
    }
    if is_socket(path) {
        match knock(path) {
            // A full queue of clients is an answer, too.
            Ok(()) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there")),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    } else if path.symlink_metadata().is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is no socket"));
    }
    let (stream, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
    let socket = socket_with(AddressFamily::UNIX, stream, flags, None)?;
    // Its file gets the mode of the socket: so nobody else can connect at any moment, and the umask, which is the whole process's, is left alone.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, QUEUE)?;
    Ok(UnixListener::from_std(socket.into()))
}

/// Removes the sockets of processes that are gone. Both must be so: there is no such process here (there may be in another PID namespace), and nobody
/// answers (a process that is about to listen does not yet). Namespaces that share the folder can still meet both at once, for some microseconds of a
/// start; then `--control` with a path of one's own is the remedy, for which nobody sweeps.
fn sweep(folder: &Path) {
    let Ok(entries) = folder.read_dir() else { return };
    for path in entries.take(limits::SOCKETS_SWEPT).flatten().map(|entry| entry.path()) {
        let refused = |path: &Path| knock(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if owner(&path).is_some_and(is_gone) && is_socket(&path) && refused(&path) {
            // Another that starts may have done it.
            let _ = fs::remove_file(&path);
        }
    }
}

/// The process that a socket is named for.
fn owner(path: &Path) -> Option<Pid> {
    let name = path.file_name()?.to_str()?.strip_suffix(".sock")?;
    let id: u32 = name.parse().ok()?;
    Pid::from_raw(id.try_into().ok()?)
}

fn is_gone(process: Pid) -> bool {
    test_kill_process(process) == Err(Errno::SRCH)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
}

/// Whether somebody answers at a socket: never waited for.
fn knock(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Clients that wait to be let in.
const QUEUE: i32 = 128;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as Listener;
    use std::process::Command;

    use super::*;

    /// The number of a process that was.
    fn a_process_that_is_gone() -> u32 {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn what_a_killed_process_left_gives_way_and_what_answers_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.sock");
        drop(Listener::bind(&path).unwrap());
        assert!(is_socket(&path), "as a killed process leaves it");
        let first = bind(&path).unwrap();
        let second = bind(&path).unwrap_err();
        assert_eq!((second.kind(), second.to_string()), (io::ErrorKind::AddrInUse, "another process answers there".to_owned()));
        drop(first);
        // Whoever has no time for clients is there all the same.
        let busy = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
        fs::remove_file(&path).unwrap();
        rustix::net::bind(&busy, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&busy, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // No socket: not ours to remove.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a letter").unwrap();
        assert_eq!(bind(&path).unwrap_err().to_string(), "what is there is no socket");
        assert_eq!(fs::read(&path).unwrap(), b"a letter");
    }

    #[test]
    fn only_sockets_of_processes_that_are_gone_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (gone, listens, file) = (a_process_that_is_gone(), a_process_that_is_gone(), a_process_that_is_gone());
        let sockets = [
            format!("{gone}.sock"),
            format!("{}.sock", std::process::id()),
            "mine.sock".to_owned(),
            "0.sock".to_owned(),
            "-5.sock".to_owned(),
        ];
        sockets.iter().for_each(|name| drop(Listener::bind(at(name)).unwrap()));
        // Of another namespace: its process is not to be seen from here.
        let _listener = Listener::bind(at(&format!("{listens}.sock"))).unwrap();
        fs::write(at(&format!("{file}.sock")), "a letter").unwrap();
        sweep(folder.path());
        let mut left: Vec<_> =
            folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut kept = [&sockets[1], &sockets[2], &sockets[3], &sockets[4], &format!("{listens}.sock"), &format!("{file}.sock")]
            .map(Clone::clone);
        left.sort();
        kept.sort();
        assert_eq!(left, kept);
    }
}
