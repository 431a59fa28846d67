//! Network namespaces and veth pairs for these tests; removed when the value goes, also after a failure.

use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway::link::interface::{Cidr, Claim, PortClaim, Transport};
use ringway::steer::Claims;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The kernel's address in the server's namespace.
pub(crate) const KERNEL: &str = "10.77.0.1";
/// An address nobody has, for claims.
pub(crate) const CLAIMED: &str = "10.77.0.2";
/// The client's address.
pub(crate) const CLIENT: &str = "10.77.0.7";

/// False, and said so, when these tests cannot run; without RINGWAY_ALLOW_SKIP=1 that is a failure.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let allowed = std::env::var_os("RINGWAY_ALLOW_SKIP").is_some_and(|value| value == "1");
        assert!(allowed, "this test needs root; RINGWAY_ALLOW_SKIP=1 skips it");
        _ = writeln!(std::io::stderr(), "SKIPPED: a steering test, which needs root");
    }
    root
}

/// Runs a command to its end and returns what it printed; a failure is the test's.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command}: {err}{out}");
    out
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("rw-{}-steer{}-{role}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {name}"));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    /// `ip` in this namespace.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        run(&format!("ip -n {} {arguments}", self.name))
    }

    /// Any command in this namespace.
    pub(crate) fn exec(&self, command: &str) -> String {
        run(&format!("ip netns exec {} {command}", self.name))
    }

    /// Runs `work` on a thread of its own inside this namespace.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&self.name);
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The index of an interface.
    pub(crate) fn index(&self, interface: &str) -> u32 {
        let line = self.ip(&format!("-o link show {interface}"));
        line.split(':').next().unwrap().trim().parse().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Moves the calling thread into a namespace, for good.
pub(crate) fn enter(name: &str) {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Two namespaces joined by a veth pair: `s0` in the server's, `c0` in the client's.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) server: Namespace,
    pub(crate) client: Namespace,
    /// Index of `s0`.
    pub(crate) ifindex: u32,
    /// One pair at a time: a command that another test starts would for a moment hold a copy of our descriptors, of a link
    /// that is to go for instance; and two cores are few.
    _alone: MutexGuard<'static, ()>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with_links("mtu 1500 numrxqueues 1 numtxqueues 1", "mtu 1500 numrxqueues 1 numtxqueues 1")
    }

    /// A pair whose ends have further properties, as `ip link add` takes them.
    pub(crate) fn with_links(server_link: &str, client_link: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (server, client) = (Namespace::new("s"), Namespace::new("c"));
        run(&format!(
            "ip link add s0 netns {} {server_link} type veth peer name c0 netns {} {client_link}",
            server.name, client.name
        ));
        server.ip(&format!("address add {KERNEL}/24 dev s0"));
        client.ip(&format!("address add {CLIENT}/24 dev c0"));
        server.ip("link set s0 up");
        client.ip("link set c0 up");
        server.exec("ethtool -K s0 tx off");
        client.exec("ethtool -K c0 tx off");
        let ifindex = server.index("s0");
        let pair = Self { server, client, ifindex, _alone: alone };
        pair.wait_for_carrier();
        pair
    }

    /// A link that has just come up drops frames for a moment.
    fn wait_for_carrier(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !(self.server.ip("link show s0").contains("state UP") && self.client.ip("link show c0").contains("state UP")) {
            assert!(Instant::now() < deadline, "no carrier");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What `ip link` says about XDP on `s0`: "", "xdp" (native) or "xdpgeneric".
    pub(crate) fn xdp(&self) -> &'static str {
        let link = self.server.ip("link show s0");
        ["xdpgeneric", "xdpoffload", "xdp"]
            .into_iter()
            .find(|mode| link.contains(&format!("{mode}/id")) || link.contains(&format!(" {mode} ")))
            .unwrap_or("")
    }
}

pub(crate) fn cidr(address: &str) -> Cidr {
    Cidr { address: address.parse().unwrap(), prefix: 24 }
}

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

pub(crate) fn port(transport: Transport, port: u16) -> PortClaim {
    PortClaim { transport, port }
}

/// A claim of [`CLAIMED`].
pub(crate) fn address_claim() -> Claims {
    let mut claims = Claims::new();
    claims.add(&Claim::Addresses(vec![cidr(CLAIMED)]), None).unwrap();
    claims
}

/// A claim of ports on [`KERNEL`].
pub(crate) fn port_claim(ports: &[PortClaim]) -> Claims {
    let mut claims = Claims::new();
    claims.add(&Claim::Ports { addresses: vec![cidr(KERNEL)], ports: ports.to_vec() }, None).unwrap();
    claims
}
