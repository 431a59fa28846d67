//! Two network namespaces joined by a veth pair, made for one test and removed with it.

use crate::common::{Netns, join, root};

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
        let end = format!("{INTERFACE} numtxqueues {queues} numrxqueues {queues}");
        join((&world.left, &end), (&world.right, &end));
        for side in [&world.left, &world.right] {
            // Without IPv6 there is no traffic but the test's.
            side.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            side.ip(&["link", "set", INTERFACE, "up"]);
        }
        Some(world)
    }

    /// One queue at each end.
    pub(crate) fn new() -> Option<Self> {
        Self::with_queues(1)
    }
}
