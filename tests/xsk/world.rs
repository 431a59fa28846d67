//! Two network namespaces joined by a veth pair, made for one test and removed with it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The interface, on both sides.
pub(crate) const INTERFACE: &str = "veth0";

/// A left and a right side, joined by a cable.
pub(crate) struct World {
    pub(crate) left: Netns,
    pub(crate) right: Netns,
}

impl World {
    /// Both sides up, with so many queues at each end; `None` when the test may be skipped because it does not run as root.
    pub(crate) fn with_queues(queues: u32) -> Option<Self> {
        if !root() {
            return None;
        }
        let world = Self { left: Netns::new("l"), right: Netns::new("r") };
        let queues = queues.to_string();
        run(Command::new("ip")
            .args(["link", "add", INTERFACE, "netns", &world.left.name])
            .args(["numtxqueues", &queues, "numrxqueues", &queues, "type", "veth"])
            .args(["peer", "name", INTERFACE, "netns", &world.right.name])
            .args(["numtxqueues", &queues, "numrxqueues", &queues]));
        for side in [&world.left, &world.right] {
            // Without IPv6 there is no traffic but the test's.
            run(Command::new("ip").args(["netns", "exec", &side.name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]));
            side.ip(&["link", "set", INTERFACE, "up"]);
        }
        Some(world)
    }

    /// One queue at each end.
    pub(crate) fn new() -> Option<Self> {
        Self::with_queues(1)
    }
}

/// A network namespace. Removed on drop, also when the test panics, together with its end of the veth pair.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    fn new(side: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rw-xsk-{}-{}-{side}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        Self { name }
    }

    /// `ip -n NAMESPACE ...`, which must succeed.
    pub(crate) fn ip(&self, arguments: &[&str]) {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments));
    }

    /// Runs a closure on a thread that has moved into this namespace: the sockets it makes are of here.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        thread::scope(|scope| {
            let moved = scope.spawn(move || {
                let netns = File::open(&path).unwrap_or_else(|error| panic!("cannot open {path}: {error}"));
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
                work()
            });
            moved.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !removed.is_ok_and(|status| status.success()) && !thread::panicking() {
            panic!("cannot remove the namespace {}", self.name);
        }
    }
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
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: it needs root\n").as_bytes());
    false
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}
