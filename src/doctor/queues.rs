//! The checks of the queues: how many, how packets are spread over them, how long their rings are.

use super::finding::{Finding, Fix};
use super::interface::Interface;
use super::machine::Machine;
use crate::rss::{Fields, Flow, Summary, Told};

/// How many there are, beside what fills and what serves them.
pub(super) fn count(interface: &Interface, machine: &Machine) -> Finding {
    const CHECK: &str = "queues";
    let nic = &interface.nic;
    let (name, receive) = (nic.name(), nic.receive_queues());
    let peer = interface.peer.as_ref().and_then(|peer| peer.nic.as_ref().map(|nic| (peer, nic.transmit_queues())));
    if let Some((peer, sending)) = peer.filter(|&(_, sending)| sending > receive) {
        let text = format!("{receive} to receive, and {} sends by {sending}: native XDP is refused", peer.describe());
        let here = format!("sudo ethtool -L {name} rx {sending}");
        let there = peer.command(&Fix::transmit_queues(peer.name(), receive));
        let enough = interface.most_queues.is_none_or(|most| most >= sending);
        return Finding::fail(CHECK, text).mend(if enough { here } else { there });
    }
    let cores = machine.cores();
    if receive > cores {
        let text = format!("{receive} to receive, with a worker each on {cores} cores");
        let kind = if nic.driver() == "veth" { "rx" } else { "combined" };
        // On a veth that would leave fewer than its peer sends by.
        let mend = (nic.driver() != "veth").then(|| format!("sudo ethtool -L {name} {kind} {cores}"));
        return Finding::warn(CHECK, text).mend_if(mend);
    }
    Finding::ok(CHECK, format!("{receive} to receive, {} to send", nic.transmit_queues()))
}

/// The hash and the table that choose the queue of a packet.
pub(super) fn spread(interface: &Interface) -> Vec<Finding> {
    const CHECK: &str = "rss";
    let (name, queues) = (interface.nic.name(), interface.nic.receive_queues());
    let Some(told) = &interface.told else {
        let told = match (queues, interface.nic.driver()) {
            (1, _) => Finding::ok(CHECK, "one queue: nothing is spread"),
            (_, "veth") => Finding::ok(CHECK, "none: a packet arrives at the queue of the number it was sent by"),
            _ => Finding::skipped(CHECK, "the driver does not tell: source ports are not chosen by it")
                .mend(format!("ethtool -x {name}")),
        };
        return vec![told];
    };
    let mut found = Vec::new();
    if let Some(left_out) = left_out(told, queues) {
        let text = format!("the table sends nothing to {left_out} of the {queues} queues");
        found.push(Finding::warn(CHECK, text).mend(format!("sudo ethtool -X {name} equal {queues}")));
    }
    if let Some(rules) = told.rules.filter(|&rules| rules > 0) {
        let text = format!("{rules} rules go before the hash: packets may arrive where nobody expects them");
        found.push(Finding::warn(CHECK, text).mend(format!("ethtool -n {name}")));
    }
    for flow in [Flow::Udp4, Flow::Udp6].into_iter().filter(|&flow| queues > 1 && told.fields_of(flow) == Fields::TwoTuple) {
        let text = format!("{} is hashed without ports: all of one pair of hosts is one queue's", flow.name());
        found.push(Finding::warn(CHECK, text).mend(format!("sudo ethtool -N {name} rx-flow-hash {} sdfn", flow.name())));
    }
    if found.is_empty() {
        let summary = Summary::from(told);
        let ports =
            summary.unpredictable.as_ref().map_or(String::new(), |why| format!("; source ports are not chosen by it: {why}"));
        found.push(Finding::ok(CHECK, format!("{summary}{ports}")));
    }
    found
}

/// How many of the queues are not in the table.
fn left_out(told: &Told, queues: u32) -> Option<u32> {
    let missing = (0..queues).filter(|queue| !told.table.contains(queue)).count() as u32;
    (!told.table.is_empty() && missing > 0).then_some(missing)
}

/// The rings between the driver and the NIC.
pub(super) fn rings(interface: &Interface) -> Option<Finding> {
    const CHECK: &str = "rings";
    /// A burst of 50 us at 10 million packets a second.
    const ENOUGH: u32 = 512;
    let rings = interface.rings.filter(|rings| rings.receive_max > 0)?;
    let text =
        format!("{} of {} to receive, {} of {} to send", rings.receive, rings.receive_max, rings.transmit, rings.transmit_max);
    if rings.receive < ENOUGH && rings.receive < rings.receive_max {
        let size = rings.receive_max.min(2048);
        let mend = format!("sudo ethtool -G {} rx {size}", interface.nic.name());
        return Some(Finding::warn(CHECK, format!("{text}: a burst is lost")).mend(mend));
    }
    Some(Finding::ok(CHECK, text))
}
