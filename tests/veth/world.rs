//! Two network namespaces joined by a veth pair, made for one test and removed with it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The interface, on both sides.
pub(crate) const INTERFACE: &str = "veth0";
/// The address that Ringway serves; the kernel of the server side does not own it unless the test asks for that.
pub(crate) const SERVER: &str = "10.0.0.2";
/// The same with its prefix.
pub(crate) const SERVER_CIDR: &str = "10.0.0.2/24";
/// The kernel's address on the client side.
pub(crate) const CLIENT: &str = "10.0.0.1";

/// A client side and a server side.
pub(crate) struct World {
    pub(crate) server: Netns,
    pub(crate) client: Netns,
}

impl World {
    /// Both sides up, the client side with [`CLIENT`], checksums filled in by the senders. `None` when the test may be
    /// skipped because it does not run as root.
    pub(crate) fn new() -> Option<Self> {
        Self::with_queues(1)
    }

    /// The same with more queues at each end.
    pub(crate) fn with_queues(queues: u32) -> Option<Self> {
        if !root() {
            return None;
        }
        let world = Self { server: Netns::new("s"), client: Netns::new("c") };
        let queues = queues.to_string();
        run(Command::new("ip")
            .args(["link", "add", INTERFACE, "netns", &world.server.name])
            .args(["numtxqueues", &queues, "numrxqueues", &queues, "type", "veth"])
            .args(["peer", "name", INTERFACE, "netns", &world.client.name])
            .args(["numtxqueues", &queues, "numrxqueues", &queues]));
        for side in [&world.server, &world.client] {
            // Without IPv6 there is no traffic but the test's.
            side.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            side.run("ethtool", &["-K", INTERFACE, "tx", "off", "txvlan", "off"]);
            side.ip(&["link", "set", "lo", "up"]);
            side.ip(&["link", "set", INTERFACE, "up"]);
        }
        world.client.ip(&["address", "add", "10.0.0.1/24", "dev", INTERFACE]);
        Some(world)
    }

    /// The same with [`SERVER`] owned by the kernel of the server side, for claims of single ports.
    pub(crate) fn with_kernel_server() -> Option<Self> {
        let world = Self::new()?;
        world.server.ip(&["address", "add", SERVER_CIDR, "dev", INTERFACE]);
        Some(world)
    }

    /// Asserts that nothing of Ringway is left on the server side: no XDP program, no held port.
    pub(crate) fn assert_untouched(&self) {
        self.assert_untouched_but(&[]);
    }

    /// The same where the test itself holds some ports (`ADDRESS:PORT`).
    pub(crate) fn assert_untouched_but(&self, held: &[&str]) {
        let link = self.server.ip(&["-d", "link", "show", "dev", INTERFACE]);
        assert!(!link.contains("xdp"), "an XDP program is left behind:\n{link}");
        let sockets = self.server.output("ss", &["-H", "-lntu"]);
        let others = sockets.lines().filter(|line| !line.split_whitespace().any(|word| held.contains(&word)));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "a port is left held");
    }

    /// The Ethernet address of the server's end.
    pub(crate) fn server_mac(&self) -> [u8; 6] {
        self.server.mac()
    }

    /// The Ethernet address of the client's end.
    pub(crate) fn client_mac(&self) -> [u8; 6] {
        self.client.mac()
    }
}

/// A network namespace. Removed on drop, also when the test panics, together with its end of the veth pair.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    pub(crate) fn new(side: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rw-{}-{}-{side}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        Self { name }
    }

    /// Its name, for `ip netns`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside. `ip netns exec` replaces itself with the program, so the child's id is the program's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// Runs a program inside to its end; it must succeed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        run(self.command(program).args(arguments));
    }

    /// The standard output of a program that must succeed.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> String {
        String::from_utf8(run(self.command(program).args(arguments)).stdout).expect("output is UTF-8")
    }

    /// `ip -n NAMESPACE ...`; gives what it printed.
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        String::from_utf8(run(Command::new("ip").args(["-n", &self.name]).args(arguments)).stdout).expect("output is UTF-8")
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

    fn mac(&self) -> [u8; 6] {
        let text = self.output("cat", &[&format!("/sys/class/net/{INTERFACE}/address")]);
        let bytes: Vec<u8> = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
        bytes.try_into().expect("six bytes")
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // What still runs inside was started by this test.
        if let Ok(pids) = Command::new("ip").args(["netns", "pids", &self.name]).output() {
            for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
                let _ = Command::new("kill").args(["-9", pid]).output();
            }
        }
        let removed = Command::new("ip").args(["netns", "del", &self.name]).output();
        if !removed.is_ok_and(|output| output.status.success()) && !thread::panicking() {
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
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: it needs root");
    false
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn a_world_joins_two_kernels_and_is_removed_even_when_its_test_panics() {
    let Some(world) = World::with_kernel_server() else { return };
    let names = [world.server.name.clone(), world.client.name.clone()];
    let text = world.client.output("ping", &["-c", "1", "-W", "2", SERVER]);
    assert!(text.contains("1 received"), "{text}");
    world.assert_untouched();
    let there = || String::from_utf8(run(Command::new("ip").args(["netns", "list"])).stdout).expect("UTF-8");
    assert!(names.iter().all(|name| there().contains(name.as_str())));
    let test = thread::spawn(move || {
        let _world = world;
        panic!("on purpose");
    });
    assert!(test.join().is_err());
    assert!(!names.iter().any(|name| there().contains(name.as_str())), "{}", there());
}
