//! The checks of the offloads: what changes packets before XDP sees them, here and at the other end of a veth pair.

use super::finding::{Finding, Fix};
use super::interface::Interface;
use super::peer::Place;
use crate::wire::vlan::TagKind;

/// The sum of a packet that a veth's peer sends must stand in it: nobody on the way fills it in.
pub(super) fn peer_checksums(interface: &Interface) -> Option<Finding> {
    const CHECK: &str = "checksums";
    let peer = interface.peer.as_ref()?;
    let nic = peer.nic.as_ref()?;
    if nic.feature("tx-checksum-ip-generic") != Some(true) {
        return Some(Finding::ok(CHECK, format!("{} fills them in", peer.describe())));
    }
    let text = format!("{} leaves them to an offload: all its TCP and UDP is dropped (checksum_unfilled)", peer.describe());
    let (finding, off) = (Finding::fail(CHECK, text), Fix::off(nic.name(), "tx"));
    Some(if peer.place == Place::Here { finding.fix(off) } else { finding.mend(peer.command(&off)) })
}

/// Packets that are joined into larger ones fit no frame.
pub(super) fn joined(interface: &Interface) -> Vec<Finding> {
    const CHECK: &str = "offloads";
    let skb = interface.takes_skb_mode();
    let hazards = interface.nic.hazards(skb);
    if hazards.is_empty() {
        let mode = if skb { "LRO and GRO are off" } else { "none joins packets before XDP" };
        return vec![Finding::ok(CHECK, mode)];
    }
    let finding = |feature: &str, why: &str| Finding::fail(CHECK, format!("{feature} is on: {why}"));
    let found = hazards.iter().map(|hazard| match hazard.feature {
        // A switch of the network stack: the driver is not asked.
        "rx-gro" => finding(hazard.feature, hazard.why).fix(Fix::off(interface.nic.name(), "gro")),
        _ => finding(hazard.feature, hazard.why).mend(&hazard.mend),
    });
    found.collect()
}

/// Tags that are taken out of packets before XDP: only claims in a VLAN mind, and for them the command is told.
pub(super) fn tags(interface: &Interface) -> Option<Finding> {
    const CHECK: &str = "vlan";
    if let Some(peer) = &interface.peer {
        return (peer.nic.as_ref()?.feature("tx-vlan-hw-insert") == Some(true)).then(|| {
            let text = format!("{} hides tags from XDP: for claims in a VLAN turn its txvlan off", peer.describe());
            Finding::ok(CHECK, text).mend(peer.command(&Fix::off(peer.name(), "txvlan")))
        });
    }
    let hidden = interface.nic.hides_tags(&[TagKind::Customer, TagKind::Service])?;
    let text = format!("{} hides tags from XDP: for claims in a VLAN turn it off", hidden.feature);
    Some(Finding::ok(CHECK, text).mend(hidden.mend))
}
