//! Veth pairs between namespaces for these tests; removed when the value goes, also after a failure.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway::link::interface::{Cidr, Claim, PortClaim, Transport};
use ringway::steer::Claims;

use crate::common::{Netns, join};

/// The kernel's address in the server's namespace.
pub(crate) const KERNEL: &str = "10.77.0.1";
/// An address nobody has, for claims.
pub(crate) const CLAIMED: &str = "10.77.0.2";
/// The client's address.
pub(crate) const CLIENT: &str = "10.77.0.7";

/// Commands in a namespace, given as one line of words.
pub(crate) trait OneLine {
    /// `ip` in this namespace.
    fn ip_line(&self, arguments: &str) -> String;

    /// Any command in this namespace.
    fn run_line(&self, command: &str) -> String;
}

impl OneLine for Netns {
    fn ip_line(&self, arguments: &str) -> String {
        self.ip(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    fn run_line(&self, command: &str) -> String {
        let words: Vec<_> = command.split_whitespace().collect();
        self.run(words[0], &words[1..])
    }
}

/// The index of an interface.
pub(crate) fn index(netns: &Netns, interface: &str) -> u32 {
    let line = netns.ip(&["-o", "link", "show", interface]);
    line.split(':').next().unwrap().trim().parse().unwrap()
}

/// Two namespaces joined by a veth pair: `s0` in the server's, `c0` in the client's.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) server: Netns,
    pub(crate) client: Netns,
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
        let (server, client) = (Netns::new("s"), Netns::new("c"));
        join((&server, &format!("s0 {server_link}")), (&client, &format!("c0 {client_link}")));
        server.ip_line("link set lo up");
        client.ip_line("link set lo up");
        server.ip_line(&format!("address add {KERNEL}/24 dev s0"));
        client.ip_line(&format!("address add {CLIENT}/24 dev c0"));
        server.ip_line("link set s0 up");
        client.ip_line("link set c0 up");
        server.run_line("ethtool -K s0 tx off");
        client.run_line("ethtool -K c0 tx off");
        let ifindex = index(&server, "s0");
        let pair = Self { server, client, ifindex, _alone: alone };
        pair.wait_for_carrier();
        pair
    }

    /// A link that has just come up drops frames for a moment.
    fn wait_for_carrier(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !(self.server.ip_line("link show s0").contains("state UP")
            && self.client.ip_line("link show c0").contains("state UP"))
        {
            assert!(Instant::now() < deadline, "no carrier");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What `ip link` says about XDP on `s0`: "", "xdp" (native) or "xdpgeneric".
    pub(crate) fn xdp(&self) -> &'static str {
        let link = self.server.ip_line("link show s0");
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
