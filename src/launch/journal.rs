//! What a server's log says of its set-up and its end: each step once, under the target `ringway::setup`.
//!
//! Called by `open` as it goes. The message names the step and never changes; what belongs to it stands in fields, which have the names that [`Ready`] gives
//! them. Never called per packet.

use std::fmt::Display;

use super::interfaces::Checked;
use super::ready::Ready;
use crate::link::interface::Claim;
use crate::settings::Xsk;
use crate::settings::number::show_list;
use crate::steer::XdpMode;
use crate::xsk::{Pages, XskQueue};

/// An interface is there and may be used.
pub(super) fn opening(one: &Checked) {
    let (interface, driver) = (one.nic.name(), one.nic.driver());
    tracing::info!(target: "ringway::setup", interface, driver, mtu = one.interface.mtu, "opening");
}

/// Its addresses or ports are ours, and its groups are joined.
pub(super) fn claimed(one: &Checked) {
    let interface = one.nic.name();
    let address =
        list(one.interfaces().flat_map(|of| of.addresses().iter().map(move |cidr| format!("{cidr}{}", of.vlan.suffix()))));
    let claim = match &one.interface.claim {
        Claim::Addresses(_) => String::new(),
        Claim::Ports { ports, .. } => list(ports),
    };
    let group = list(one.groups());
    tracing::info!(target: "ringway::setup", interface, address, claim, group, "claimed");
}

/// Its sockets and their rings are open.
pub(super) fn rings(one: &Checked, settings: &Xsk, queues: &[XskQueue]) {
    let interface = one.nic.name();
    let copy = if queues.iter().all(XskQueue::is_zero_copy) { "zero-copy" } else { "copy" };
    let pages = if queues.iter().all(|queue| queue.pages() == Pages::Huge) { "huge" } else { "ordinary" };
    let (frames, ring_size) = (settings.frames, settings.ring_size);
    let queues = show_list(&one.queues);
    tracing::info!(target: "ringway::setup", interface, queues, frames, ring_size, copy, pages, "rings");
}

/// The program is attached: from now on packets come.
pub(super) fn attached(interface: &str, mode: XdpMode) {
    let xdp = match mode {
        XdpMode::Native => "native",
        XdpMode::Skb => "skb",
    };
    tracing::info!(target: "ringway::setup", interface, xdp, "attached");
}

/// What is claimed is served.
pub(super) fn ready(ready: &Ready) {
    let Ready { interface, xdp, copy, workers, .. } = ready;
    let (address, queues) = (list(&ready.address), show_list(&ready.queues));
    tracing::info!(target: "ringway::setup", interface, address, xdp, copy, queues, workers, "ready");
}

/// All workers have ended.
pub(super) fn stopped(in_order: bool) {
    tracing::info!(target: "ringway::setup", in_order, "stopped");
}

/// The program is gone: packets are the kernel's again.
pub(super) fn detached(ready: &Ready) {
    tracing::info!(target: "ringway::setup", interface = ready.interface, "detached");
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
