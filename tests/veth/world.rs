//! Two network namespaces joined by a veth pair, made for one test and removed with it.

use std::process::{Child, Command};
use std::thread;

use crate::common::{Netns, join, root, run};
use crate::family;
pub(crate) use crate::family::{CLIENT, SERVER, SERVER_CIDR};

/// The interface, on both sides.
pub(crate) const INTERFACE: &str = "veth0";

/// A client side and a server side.
pub(crate) struct World {
    /// What changes the queue all the time, if something does; it ends with its namespace.
    changer: Option<Child>,
    pub(crate) server: Netns,
    pub(crate) client: Netns,
}

impl World {
    /// Both sides up, the client side with [`CLIENT`], checksums filled in by the senders. `None` when the test may be
    /// skipped because it does not run as root.
    ///
    /// `RINGWAY_TEST_QUEUES` makes it one of so many queues, and with `RINGWAY_TEST_WRONG_QUEUES=1` the client side changes the queue that it sends by all the
    /// time: then the packets of a connection arrive at every worker (scripts/cores.sh).
    pub(crate) fn new() -> Option<Self> {
        let mut world = Self::with_queues(usual_queues())?;
        if std::env::var_os("RINGWAY_TEST_WRONG_QUEUES").is_some_and(|wrong| wrong == "1") {
            world.send_by_changing_queues();
        }
        Some(world)
    }

    /// The same, always without the change of queues: for what counts segments sent again, as a queue that changes has them overtake each other.
    pub(crate) fn in_order() -> Option<Self> {
        Self::with_queues(usual_queues())
    }

    /// Two sides that others join.
    pub(crate) const fn of(server: Netns, client: Netns) -> Self {
        Self { changer: None, server, client }
    }

    /// The same with more queues at each end.
    pub(crate) fn with_queues(queues: u32) -> Option<Self> {
        if !root() {
            return None;
        }
        let world = Self::of(Netns::new("s"), Netns::new("c"));
        let end = format!("{INTERFACE} numtxqueues {queues} numrxqueues {queues}");
        join((&world.server, &end), (&world.client, &end));
        for side in [&world.server, &world.client] {
            family::quiet(side, INTERFACE);
            side.run("ethtool", &["-K", INTERFACE, "tx", "off", "txvlan", "off"]);
            side.ip(&["link", "set", "lo", "up"]);
            side.ip(&["link", "set", INTERFACE, "up"]);
        }
        own(&world.client, family::CLIENT_CIDR, INTERFACE);
        Some(world)
    }

    /// The same with [`SERVER`] owned by the kernel of the server side, for claims of single ports.
    pub(crate) fn with_kernel_server() -> Option<Self> {
        let world = Self::new()?;
        own(&world.server, SERVER_CIDR, INTERFACE);
        Some(world)
    }

    /// Has the client side send by one of two queues, whatever the flow, from the next packet on of each that has nothing in flight. It arrives at
    /// the queue of the same number.
    pub(crate) fn send_by(&self, queue: u32) {
        for (at, cores) in [(1 - queue, "0"), (queue, &*all_cores())] {
            let file = format!("/sys/class/net/{INTERFACE}/queues/tx-{at}/xps_cpus");
            self.client.run("sh", &["-c", &format!("echo {cores} > {file}")]);
        }
    }

    /// The same with the queue changed every few milliseconds, until the namespace goes.
    fn send_by_changing_queues(&mut self) {
        let set = |queue: u32, cores: &str| format!("echo {cores} > /sys/class/net/{INTERFACE}/queues/tx-{queue}/xps_cpus");
        let all = all_cores();
        let by = |queue: u32| format!("{}; {}; sleep 0.003", set(1 - queue, "0"), set(queue, &all));
        let script = format!("while true; do {}; {}; done", by(0), by(1));
        self.changer = Some(self.client.command("sh").args(["-c", &script]).spawn().expect("ip starts"));
    }

    /// Asserts that nothing of Ringway is left on the server side: no XDP program, no held port.
    pub(crate) fn assert_untouched(&self) {
        self.assert_untouched_but(&[]);
    }

    /// The same where the test itself holds some ports (`ADDRESS:PORT`).
    pub(crate) fn assert_untouched_but(&self, held: &[&str]) {
        let link = self.server.ip(&["-d", "link", "show", "dev", INTERFACE]);
        assert!(!link.contains("xdp"), "an XDP program is left behind:\n{link}");
        let sockets = self.server.run("ss", &["-H", "-lntu"]);
        let others = sockets.lines().filter(|line| !line.split_whitespace().any(|word| held.contains(&word)));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "a port is left held");
    }

    /// The Ethernet address of the server's end.
    pub(crate) fn server_mac(&self) -> [u8; 6] {
        mac(&self.server)
    }

    /// The Ethernet address of the client's end.
    pub(crate) fn client_mac(&self) -> [u8; 6] {
        mac(&self.client)
    }
}

/// How many queues a link has unless a test needs another number, and so how many workers serve it.
pub(crate) fn usual_queues() -> u32 {
    std::env::var("RINGWAY_TEST_QUEUES").ok().map_or(1, |count| count.parse().expect("a number of queues"))
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(changer) = &mut self.changer {
            let _ = changer.kill();
            let _ = changer.wait();
        }
    }
}

/// The mask of the cores that there are, of the first 32.
fn all_cores() -> String {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("the kernel says which");
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok()).unwrap_or(0_u32);
    format!("{:x}", u64::MAX >> (63 - last.min(31)))
}

fn mac(netns: &Netns) -> [u8; 6] {
    let text = netns.run("cat", &[&format!("/sys/class/net/{INTERFACE}/address")]);
    let bytes: Vec<u8> = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}

/// Gives the kernel of this namespace an address, which it can use at once: it does not ask first whether another station has it (RFC 4862 5.4).
pub(crate) fn own(netns: &Netns, cidr: &str, interface: &str) {
    netns.ip(&["address", "add", cidr, "dev", interface, "nodad"]);
}

/// Pings from this namespace, one by one; each must be answered. Gives what was printed.
pub(crate) fn ping(from: &Netns, times: usize, arguments: &[&str], target: &str) -> String {
    // A run each: after a first answer `ping` waits for the others just twice as long as that one took, whatever -W says.
    let once = [&["-c", "1", "-W", "5"], arguments, &[target]].concat();
    (0..times).map(|_| from.run("ping", &once)).collect()
}

/// A counter of the kernel in this namespace.
pub(crate) fn kernel_count(netns: &Netns, name: &str) -> u64 {
    let text = netns.run("nstat", &["-asz", name]);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in {line}"))
}

#[test]
fn a_world_joins_two_kernels_and_is_removed_even_when_its_test_panics() {
    let Some(world) = World::with_kernel_server() else { return };
    let names = [world.server.name.clone(), world.client.name.clone()];
    ping(&world.client, 1, &[], SERVER);
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
