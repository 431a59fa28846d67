//! The checks of the link: is it up, is somebody there, how large may packets be, what drives it.

use super::finding::{Finding, Fix};
use super::interface::Interface;
use super::kernel::SEVERAL_FRAMES;
use super::machine::Machine;
use super::peer::{Peer, Place};
use crate::steer::attach::Foreign;
use crate::wire::ipv6;
use crate::xsk::nic::Nic;
use crate::xsk::{JUMBO_MTU, LARGEST_MTU};

/// Up, and with a carrier.
pub(super) fn link(interface: &Interface) -> Finding {
    const CHECK: &str = "link";
    let nic = &interface.nic;
    if !nic.is_up() {
        return Finding::fail(CHECK, "the interface is down").fix(Fix::up(nic.name()));
    }
    if nic.has_carrier() {
        return Finding::ok(CHECK, "up, with a carrier");
    }
    let Some(peer) = &interface.peer else {
        let finding = Finding::fail(CHECK, "no carrier");
        return finding.mend_if(nic.require_link().err().and_then(|error| error.remedy().map(str::to_owned)));
    };
    let finding = Finding::fail(CHECK, format!("no carrier: {} is down", peer.describe()));
    let up = Fix::up(peer.name());
    // Only what lies here, and is seen, may be touched.
    if peer.place == Place::Here && peer.nic.is_some() { finding.fix(up) } else { finding.mend(peer.command(&up)) }
}

/// The largest packet.
pub(super) fn mtu(interface: &Interface, machine: &Machine) -> Finding {
    const CHECK: &str = "mtu";
    let (name, mtu) = (interface.nic.name(), interface.nic.mtu());
    let to = |mtu: usize| format!("sudo ip link set {name} mtu {mtu}");
    if mtu > JUMBO_MTU {
        let text = format!("{mtu} is too large: packets above {LARGEST_MTU} bytes are lost, and XDP runs in skb mode");
        return Finding::fail(CHECK, text).mend(to(JUMBO_MTU));
    }
    // Where it was tried, the sockets say so.
    if mtu > LARGEST_MTU && !interface.was_tried() && machine.version().is_some_and(|version| version < SEVERAL_FRAMES) {
        let text = format!("{mtu} bytes need packets of several frames, which a kernel of this version has not");
        return Finding::warn(CHECK, text).mend(to(LARGEST_MTU));
    }
    if mtu < ipv6::MIN_MTU {
        let text = format!("{mtu}: too small for IPv6, which needs {}", ipv6::MIN_MTU);
        return Finding::warn(CHECK, text).mend(to(ipv6::MIN_MTU));
    }
    let other = interface.peer.as_ref().and_then(|peer| peer.nic.as_ref().map(|nic| (peer, nic.mtu())));
    if let Some((peer, theirs)) = other.filter(|&(_, theirs)| theirs != mtu) {
        let text = format!("{mtu}, and {} has {theirs}: larger packets are lost between them", peer.describe());
        let smaller = mtu.min(theirs);
        let here = format!("sudo ip link set {name} mtu {smaller}");
        return Finding::warn(CHECK, text).mend(if mtu > theirs { here } else { peer.command(&Fix::mtu(peer.name(), smaller)) });
    }
    let frames = if mtu > LARGEST_MTU { ", in several frames of 4096 bytes" } else { "" };
    Finding::ok(CHECK, format!("{mtu} bytes{frames}"))
}

/// What drives it, and what that says of itself: it counts as long as nothing was tried.
pub(super) fn driver(interface: &Interface) -> Finding {
    const CHECK: &str = "driver";
    let name = match interface.nic.driver() {
        "" => "a device of the kernel's own",
        driver => driver,
    };
    let Some(features) = interface.features else { return Finding::ok(CHECK, name) };
    match (features.has_native(), features.has_zero_copy()) {
        (true, true) => Finding::ok(CHECK, format!("{name}; it says: native XDP, zero-copy")),
        (true, false) => Finding::ok(CHECK, format!("{name}; it says: native XDP, no zero-copy")),
        (false, _) if interface.was_tried() => Finding::ok(CHECK, format!("{name}; it says: no native XDP")),
        (false, _) => {
            Finding::warn(CHECK, format!("{name} says that it has no native XDP, or not as it is set: skb mode, slower"))
        }
    }
}

/// The other end of a veth pair.
pub(super) fn peer(interface: &Interface) -> Option<Finding> {
    let peer = interface.peer.as_ref()?;
    if peer.nic.is_some() {
        return Some(Finding::ok("peer", peer.describe()));
    }
    let text = format!("{}: its offloads and queues cannot be seen from here", peer.describe());
    Some(Finding::skipped("peer", text).mend(sight(peer, interface.nic.name())))
}

/// The command that shows what cannot be seen.
fn sight(peer: &Peer, name: &str) -> String {
    match peer.place {
        Place::Unknown => "ringway doctor -i PEER, where it is".to_owned(),
        _ => format!("sudo ringway doctor -i {name} (looking into another namespace takes CAP_SYS_ADMIN)"),
    }
}

/// One line of all, for an interface that nobody has named.
pub(super) fn overview(nic: &Nic, program: Option<&Foreign>) -> Finding {
    const CHECK: &str = "overview";
    let driver = if nic.driver().is_empty() { "no driver" } else { nic.driver() };
    let program = program.map_or("no XDP program", |_| "an XDP program");
    let queues = match nic.receive_queues() {
        1 => "1 queue".to_owned(),
        queues => format!("{queues} queues"),
    };
    let text = format!("{driver}, MTU {}, {queues}, {program}", nic.mtu());
    match (nic.is_up(), nic.has_carrier()) {
        (true, true) => Finding::ok(CHECK, text),
        (false, _) => Finding::skipped(CHECK, format!("down; {text}")),
        (true, false) => Finding::skipped(CHECK, format!("no carrier; {text}")),
    }
}
