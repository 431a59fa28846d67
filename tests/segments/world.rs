//! A kernel under test: a network namespace of its own, and the other end of its cable in a second one, where no kernel owns an address.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ringway::wire::ethernet::Mac;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use smoltcp::phy::{Medium, RawSocket};

use crate::frame::{HOST, PEER};

/// The interface, on both sides.
const INTERFACE: &str = "veth0";
/// The peer's Ethernet address.
pub(crate) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// The kernel's.
pub(crate) const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// Both ends. Removed on drop, also when a script fails.
pub(crate) struct World {
    peer: Netns,
    host: Netns,
}

impl World {
    /// Both ends up; offloads off, so that what is on the wire is what TCP made. The kernel knows the peer's Ethernet address.
    ///
    /// The calling thread is in the kernel's namespace afterwards.
    pub(crate) fn new(number: usize) -> Self {
        let world = Self { peer: Netns::new(number, "p"), host: Netns::new(number, "h") };
        ip(&format!(
            "link add {INTERFACE} address {PEER_MAC} netns {} type veth peer name {INTERFACE} address {HOST_MAC} netns {}",
            world.peer.name, world.host.name
        ));
        world.peer.enter();
        set("net/ipv6/conf/all/disable_ipv6", "1");
        ip(&format!("link set {INTERFACE} up"));
        world.host.enter();
        // Without IPv6 there is no traffic but the script's.
        set("net/ipv6/conf/all/disable_ipv6", "1");
        // What one script has made the kernel believe of the peer must not change the next one.
        set("net/ipv4/tcp_no_metrics_save", "1");
        run(Command::new("ethtool").args(["-K", INTERFACE, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]));
        ip(&format!(
            "address add {HOST}/24 dev {INTERFACE}\nlink set {INTERFACE} up\nneigh add {PEER} lladdr {PEER_MAC} dev {INTERFACE} nud permanent"
        ));
        world.peer.enter();
        wait_for_carrier();
        world.host.enter();
        wait_for_carrier();
        world
    }

    /// The peer's end of the cable: an AF_PACKET socket. The thread is in the kernel's namespace before and after.
    pub(crate) fn wire(&self) -> RawSocket {
        self.peer.enter();
        let socket = RawSocket::new(INTERFACE, Medium::Ethernet).expect("an AF_PACKET socket");
        self.host.enter();
        socket
    }
}

/// Writes a sysctl of the namespace the thread is in, and gives what was there.
pub(crate) fn set(path: &str, value: &str) -> String {
    let path = format!("/proc/sys/{path}");
    let before = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    fs::write(&path, value).unwrap_or_else(|error| panic!("cannot write {value} to {path}: {error}"));
    before.trim().to_owned()
}

/// What ICMP has made the kernel of this namespace believe of the path goes with the script.
pub(crate) fn forget_paths() {
    fs::write("/proc/sys/net/ipv4/route/flush", "1").expect("write to route/flush");
}

/// A network namespace.
struct Netns {
    name: String,
}

impl Netns {
    fn new(number: usize, side: &str) -> Self {
        let name = format!("rw-seg-{}-{number}-{side}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        Self { name }
    }

    /// Moves the calling thread, and what it starts from now on, into this namespace.
    fn enter(&self) {
        let path = format!("/run/netns/{}", self.name);
        let netns = File::open(&path).unwrap_or_else(|error| panic!("cannot open {path}: {error}"));
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
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

/// Commands of `ip`, one a line.
fn ip(lines: &str) {
    let mut child =
        Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip starts");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("ip reads");
    let output = child.wait_with_output().expect("ip ends");
    assert!(output.status.success(), "ip: {lines}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Until both ends are up the link is there but carries nothing: its queue is attached a little later.
fn wait_for_carrier() {
    for _ in 0..CARRIER_LOOKS {
        let output = Command::new("ip").args(["-o", "link", "show", "dev", INTERFACE]).output().expect("ip runs");
        if String::from_utf8_lossy(&output.stdout).contains("state UP") {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{INTERFACE} does not come up");
}

/// Looks 5 ms apart.
const CARRIER_LOOKS: usize = 400;

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
