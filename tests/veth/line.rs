//! A world whose two sides are joined by `ringway cable`, in a third namespace.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::patient;
use crate::common::{Netns, join, root};
use crate::family;
use crate::server::{RINGWAY, Server, Summary};
use crate::world::{CLIENT, INTERFACE, SERVER, SERVER_CIDR, World, own};

/// The cable's ends: interface A, on the way to the server side, and interface B, to the client side.
pub(crate) const A: &str = "left";
pub(crate) const B: &str = "right";

/// A server side, a client side, and what lies between them.
pub(crate) struct Line {
    pub(crate) world: World,
    pub(crate) middle: Netns,
}

impl Line {
    /// All links up, checksums filled in by the senders, addresses as in [`World::new`]; no cable yet.
    pub(crate) fn new() -> Option<Self> {
        Self::with_queues(1)
    }

    /// The same with more queues at each end.
    fn with_queues(queues: u32) -> Option<Self> {
        if !root() {
            return None;
        }
        let end = |interface| format!("{interface} numtxqueues {queues} numrxqueues {queues}");
        let line = Self { world: World::of(Netns::new("s"), Netns::new("c")), middle: Netns::new("m") };
        for (side, far) in [(&line.world.server, A), (&line.world.client, B)] {
            join((side, &end(INTERFACE)), (&line.middle, &end(far)));
            family::quiet(side, INTERFACE);
            line.middle.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            for (netns, interface) in [(side, INTERFACE), (&line.middle, far)] {
                netns.run("ethtool", &["-K", interface, "tx", "off", "txvlan", "off", "gso", "off", "gro", "off"]);
                netns.ip(&["link", "set", "lo", "up"]);
                netns.ip(&["link", "set", interface, "up"]);
            }
        }
        own(&line.world.client, family::CLIENT_CIDR, INTERFACE);
        Some(line)
    }

    /// The same with a kernel on the server side too. Neighbours are fixed, so that nothing but the test's frames is on the line.
    pub(crate) fn between_kernels() -> Option<Self> {
        Self::between_kernels_with_queues(1)
    }

    /// The same with more queues at each end.
    pub(crate) fn between_kernels_with_queues(queues: u32) -> Option<Self> {
        let line = Self::with_queues(queues)?;
        let World { server, client, .. } = &line.world;
        own(server, SERVER_CIDR, INTERFACE);
        let shown = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        let fix = |side: &Netns, address: &str, mac: [u8; 6]| {
            side.ip(&["neighbor", "replace", address, "lladdr", &shown(mac), "dev", INTERFACE, "nud", "permanent"]);
        };
        fix(client, SERVER, line.world.server_mac());
        fix(server, CLIENT, line.world.client_mac());
        Some(line)
    }

    /// Lays the cable, with these options.
    pub(crate) fn cable(&self, options: &str) -> Cable {
        let mut command = self.middle.command(RINGWAY);
        command.args(["cable", "--json", "-i", A, "-i", B]).args(options.split_whitespace());
        Cable(Server::spawn(&mut command))
    }
}

/// A running cable.
pub(crate) struct Cable(pub(crate) Server);

impl Cable {
    /// Ends it; asserts that no frame is missing, and that each one that entered is accounted for.
    pub(crate) fn stop(self) -> Carried {
        self.0.signal(Signal::TERM);
        self.finish()
    }

    /// The same of a cable that ends by itself.
    pub(crate) fn finish(self) -> Carried {
        let carried = Carried(self.0.finish_frames());
        for way in ["a-to-b", "b-to-a"] {
            let of = |name| carried.count(way, name);
            let out: u64 = ["sent", "lost", "queue_drops", "overflow", "unsendable", "undelivered"].into_iter().map(of).sum();
            assert_eq!(of("received") + of("duplicated"), out, "{}", carried.0.value());
        }
        carried
    }
}

/// What a cable says when it ends.
pub(crate) struct Carried(Summary);

impl Carried {
    /// A count of one way: `a-to-b` is from the server side to the client side.
    pub(crate) fn count(&self, way: &str, name: &str) -> u64 {
        let all = self.0.value()["directions"].as_array().expect("a list");
        let direction = all.iter().find(|direction| direction["direction"] == way).expect("both ways");
        direction[name].as_u64().unwrap_or_else(|| panic!("no {name} in {direction}"))
    }

    /// The whole of it.
    pub(crate) fn value(&self) -> &Value {
        self.0.value()
    }
}

/// A connection to a port of the server over a bad line: the handshake may take some attempts.
pub(crate) fn connect_over(port: u16) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect_timeout(&crate::client::server(port), Duration::from_secs(20)).expect("connect");
    patient(&stream);
    stream
}
