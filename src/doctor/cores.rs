//! The checks of the cores: how fast they are kept, who else runs on them, and what their clock costs.

use super::finding::Finding;
use super::machine::Machine;

/// The governors of the cores' frequency.
pub(super) fn governor(machine: &Machine) -> Finding {
    const CHECK: &str = "governor";
    if machine.governors.is_empty() {
        return Finding::ok(CHECK, "this kernel does not scale the cores' frequency");
    }
    let named: Vec<_> = machine.governors.iter().map(|(name, cores)| format!("{name} on {cores} cores")).collect();
    let text = named.join(", ");
    if machine.governors.keys().all(|name| name == "performance") {
        return Finding::ok(CHECK, text);
    }
    Finding::warn(CHECK, format!("{text}: a core that has rested begins slowly"))
        .mend("echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
}

/// Cores for the workers alone.
pub(super) fn isolation(machine: &Machine) -> Finding {
    const CHECK: &str = "isolation";
    /// With fewer there is none to spare.
    const WORTH_IT: u32 = 4;
    let cores = machine.cores();
    match (machine.isolated.as_str(), machine.tickless.as_str()) {
        ("", _) if cores < WORTH_IT => Finding::ok(CHECK, format!("{cores} cores: too few to keep some for workers alone")),
        ("", _) => {
            let last = machine.online.last().copied().unwrap_or_default();
            Finding::warn(CHECK, format!("none of the {cores} cores is kept for workers: others' work shows in p99.9"))
                .mend(format!("isolcpus=2-{last} nohz_full=2-{last} on the kernel's command line; serve --cores 2-{last}"))
        }
        (isolated, "") => {
            let text = format!("cores {isolated} are for workers alone, but their clock ticks (nohz_full)");
            Finding::warn(CHECK, text).mend(format!("nohz_full={isolated} on the kernel's command line"))
        }
        (isolated, tickless) => {
            Finding::ok(CHECK, format!("cores {isolated} for workers alone, {tickless} without ticks: --cores"))
        }
    }
}

/// A clock that is read without a system call.
pub(super) fn clock(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "clock";
    let source = machine.clock.as_deref()?;
    // Those that the vDSO reads on the machines that Ringway is built for.
    let quick = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource", "timebase"];
    Some(if quick.contains(&source) {
        Finding::ok(CHECK, source)
    } else {
        Finding::warn(CHECK, format!("{source}: reading it takes a system call, and each turn reads it"))
            .mend("cat /sys/devices/system/clocksource/clocksource0/available_clocksource (tsc is wanted)")
    })
}

/// Busy polling of the kernel's own sockets.
pub(super) fn busy_poll(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "busy-poll";
    Some(match machine.busy_poll? {
        (0, 0) => Finding::ok(CHECK, "net.core.busy_poll=0: only sockets that ask for it (xsk.busy_poll) poll"),
        (poll, read) => {
            let text = format!(
                "net.core.busy_poll={poll} busy_read={read}: every socket of the kernel polls and takes time of its core"
            );
            Finding::warn(CHECK, text).mend("sudo sysctl net.core.busy_poll=0 net.core.busy_read=0")
        }
    })
}
