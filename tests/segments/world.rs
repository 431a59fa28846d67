//! A kernel under test: a network namespace of its own, and the other end of its cable in a second one, where no kernel owns an address.

use std::fs;
use std::thread;
use std::time::Duration;

use ringway::wire::ethernet::Mac;
use smoltcp::phy::{Medium, RawSocket};

use crate::common::{Netns, enter, join};
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
    pub(crate) fn new() -> Self {
        let world = Self { peer: Netns::new("p"), host: Netns::new("h") };
        let end = |mac| format!("{INTERFACE} address {mac}");
        join((&world.peer, &end(PEER_MAC)), (&world.host, &end(HOST_MAC)));
        // Without IPv6 there is no traffic but the script's.
        world.peer.inside(|| set("net/ipv6/conf/all/disable_ipv6", "1"));
        world.peer.ip(&["link", "set", INTERFACE, "up"]);
        enter(&world.host.name);
        set("net/ipv6/conf/all/disable_ipv6", "1");
        // What one script has made the kernel believe of the peer must not change the next one.
        set("net/ipv4/tcp_no_metrics_save", "1");
        world.host.run("ethtool", &["-K", INTERFACE, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
        world.host.ip(&["address", "add", &format!("{HOST}/24"), "dev", INTERFACE]);
        world.host.ip(&["link", "set", INTERFACE, "up"]);
        let (peer, mac) = (PEER.to_string(), PEER_MAC.to_string());
        world.host.ip(&["neigh", "add", &peer, "lladdr", &mac, "dev", INTERFACE, "nud", "permanent"]);
        wait_for_carrier(&world.peer);
        wait_for_carrier(&world.host);
        world
    }

    /// The peer's end of the cable: an AF_PACKET socket. The thread is in the kernel's namespace before and after.
    pub(crate) fn wire(&self) -> RawSocket {
        enter(&self.peer.name);
        let socket = RawSocket::new(INTERFACE, Medium::Ethernet).expect("an AF_PACKET socket");
        enter(&self.host.name);
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

/// Until both ends are up the link is there but carries nothing: its queue is attached a little later.
fn wait_for_carrier(netns: &Netns) {
    for _ in 0..CARRIER_LOOKS {
        if netns.ip(&["-o", "link", "show", "dev", INTERFACE]).contains("state UP") {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{INTERFACE} does not come up");
}

/// Looks 5 ms apart.
const CARRIER_LOOKS: usize = 400;
