//! The checks of where packets come in: interrupts and their cores, the NUMA node, and whether interrupts are put off.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::interface::{Interface, Interrupt};
use super::machine::Machine;
use crate::settings::number::show_list;

/// Each receive queue has a core to itself.
pub(super) fn placed(interface: &Interface, machine: &Machine) -> Finding {
    const CHECK: &str = "interrupts";
    let queues: Vec<&Interrupt> = interface.interrupts.iter().filter(|interrupt| receives(&interrupt.name)).collect();
    if queues.is_empty() {
        return match interface.nic.driver() {
            "veth" => Finding::ok(CHECK, "none: a packet is taken on the core that sends it"),
            _ => Finding::ok(CHECK, "none of a queue is known"),
        };
    }
    let mut taken = BTreeSet::new();
    let crowded = queues.iter().find_map(|interrupt| match interrupt.cores[..] {
        [core] => (!taken.insert(core)).then_some((interrupt, core)),
        _ => None,
    });
    let free = machine.online.iter().find(|core| !queues.iter().any(|interrupt| interrupt.cores.contains(core)));
    if let (Some((interrupt, core)), Some(free)) = (crowded, free) {
        let text = format!("several queues interrupt core {core}, among them {} ({})", interrupt.name, interrupt.number);
        return Finding::warn(CHECK, text)
            .mend(format!("echo {free} | sudo tee /proc/irq/{}/smp_affinity_list", interrupt.number));
    }
    let numbers: Vec<u32> = queues.iter().map(|interrupt| interrupt.number).collect();
    let cores: BTreeSet<u32> = queues.iter().flat_map(|interrupt| interrupt.cores.iter().copied()).collect();
    let cores: Vec<u32> = cores.into_iter().collect();
    Finding::ok(CHECK, format!("{} of {} queues, on cores {}", show_list(&numbers), queues.len(), show_list(&cores)))
}

/// Whether an interrupt of this name is a receive queue's.
fn receives(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let numbered = name.split('@').next().is_some_and(|name| name.ends_with(|last: char| last.is_ascii_digit()));
    numbered && ["rx", "input", "comp", "queue"].iter().any(|word| name.contains(word))
}

/// The memory that is near.
pub(super) fn node(interface: &Interface, machine: &Machine) -> Finding {
    const CHECK: &str = "numa";
    match interface.node {
        Some(node) if machine.nodes.len() > 1 => {
            let cores = machine.nodes.get(&node).map_or("?", String::as_str);
            Finding::ok(CHECK, format!("node {node}: take --cores among {cores}"))
        }
        _ if machine.nodes.len() > 1 => Finding::ok(CHECK, "of no node"),
        _ => Finding::ok(CHECK, "one node"),
    }
}

/// Interrupts that are put off hold packets back, unless somebody polls.
pub(super) fn deferred(interface: &Interface) -> Option<Finding> {
    const CHECK: &str = "deferral";
    let (interrupts, timeout_ns) = interface.deferred?;
    if interrupts == 0 || timeout_ns == 0 {
        return Some(Finding::ok(CHECK, "none: a packet interrupts at once"));
    }
    let text = format!("packets wait up to {} us unless xsk.busy_poll is on", timeout_ns / 1000);
    let mend = format!("echo 0 | sudo tee /sys/class/net/{}/napi_defer_hard_irqs", interface.nic.name());
    Some(Finding::warn(CHECK, text).mend(mend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_of_receive_queues_are_known_by_their_names() {
        for name in
            ["eth0-TxRx-3", "virtio2-input.0", "mlx5_comp7@pci:0000:3b:00.0", "ena-queue-1", "enp1s0-rx-0", "i40e-eth0-TxRx-12"]
        {
            assert!(receives(name), "{name}");
        }
        for name in ["virtio2-config", "virtio2-output.0", "eth0", "mlx5_async0@pci:0000:3b:00.0", "eth0-tx-0"] {
            assert!(!receives(name), "{name}");
        }
    }
}
