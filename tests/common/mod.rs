//! What the tests in the real kernel share: network namespaces made for one test, and whether it may make them.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace. Removed on drop, also when the test panics, together with its ends of veth pairs.
#[derive(Debug)]
pub(crate) struct Netns {
    /// Its name, for `ip netns`.
    pub(crate) name: String,
}

impl Netns {
    /// A new one; `side` says in its name which side of the test it is.
    pub(crate) fn new(side: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rw-{}-{}-{side}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        Self { name }
    }

    /// A command that will run inside. `ip netns exec` replaces itself with the program, so the child's id is the program's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// Runs a program inside to its end; it must succeed. Gives what it printed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        printed(self.command(program).args(arguments))
    }

    /// `ip -n NAMESPACE ...`, which must succeed; gives what it printed.
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        printed(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// Runs a closure on a thread that has moved into this namespace: the sockets it makes are of here.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let moved = scope.spawn(|| {
                enter(&self.name);
                work()
            });
            moved.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // What still runs inside was started by this test.
        if let Ok(pids) = Command::new("ip").args(["netns", "pids", &self.name]).output() {
            let own = std::process::id().to_string();
            for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace().filter(|pid| *pid != own) {
                let _ = Command::new("kill").args(["-9", pid]).output();
            }
        }
        let removed = Command::new("ip").args(["netns", "del", &self.name]).output();
        if !removed.is_ok_and(|output| output.status.success()) && !thread::panicking() {
            panic!("cannot remove the namespace {}", self.name);
        }
    }
}

/// Moves the calling thread, and what it starts from now on, into a namespace.
pub(crate) fn enter(name: &str) {
    let path = format!("/run/netns/{name}");
    let netns = File::open(&path).unwrap_or_else(|error| panic!("cannot open {path}: {error}"));
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
}

/// Joins two namespaces by a veth pair; an end is its interface's name and properties, as `ip link add` takes them.
pub(crate) fn join((left, left_end): (&Netns, &str), (right, right_end): (&Netns, &str)) {
    let mut command = Command::new("ip");
    command.args(["link", "add"]).args(left_end.split_whitespace()).args(["netns", &left.name, "type", "veth"]);
    run(command.args(["peer", "name"]).args(right_end.split_whitespace()).args(["netns", &right.name]));
}

/// True when the process may make namespaces. Otherwise the test is skipped, loudly, and only where that is allowed.
pub(crate) fn root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let test = thread::current().name().unwrap_or("?").to_owned();
    assert!(
        std::env::var_os("RINGWAY_ALLOW_SKIP").is_some_and(|allowed| allowed == "1"),
        "{test} needs root: it was not run. Run the tests as root, or set RINGWAY_ALLOW_SKIP=1 to skip those that need it."
    );
    // Not with a print macro: the test runner would swallow that.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: it needs root");
    false
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The standard output of a command that must succeed.
fn printed(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("output is UTF-8")
}
