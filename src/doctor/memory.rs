//! The checks of memory: what may be locked, and on which pages it lies.

use super::finding::Finding;
use super::kernel::refused;
use super::machine::Machine;
use crate::xsk::Config;
use crate::xsk::capability::Right;

/// Bytes of a frame below an MTU of 1775.
const FRAME: u64 = 2048;
/// Bytes of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

/// What the frames of a queue take, in bytes.
fn needed() -> u64 {
    u64::from(Config::default().frames_per_queue) * FRAME
}

/// The limit of locked memory, tried with the frames of a queue.
pub(super) fn locked(machine: &Machine) -> Finding {
    const CHECK: &str = "memlock";
    let mib = needed() >> 20;
    match &machine.memory {
        Some(Ok(_)) => Finding::ok(CHECK, format!("{mib} MiB, the frames of a queue, were locked")),
        Some(Err(error)) => {
            let bounded = machine.rights.iter().any(|one| one.right == Right::IpcLock && !one.within_bounds);
            let refused = refused(CHECK, error);
            // A right that cannot be given is no way out.
            if bounded { refused.mend(format!("ulimit -l {}", needed() >> 10)) } else { refused }
        }
        None => {
            let limit = machine.memlock.map_or("no limit".to_owned(), |bytes| format!("a limit of {} KiB", bytes >> 10));
            let missing = machine.lacks(&[Right::NetRaw]).unwrap_or_default();
            Finding::skipped(CHECK, format!("{limit}; {mib} MiB a queue, not tried without {missing}"))
        }
    }
}

/// Huge pages for the frames.
pub(super) fn huge_pages(machine: &Machine) -> Finding {
    const CHECK: &str = "huge-pages";
    let each = needed() / HUGE_PAGE;
    let Some((all, free)) = machine.huge_pages else {
        return Finding::warn(CHECK, "this kernel has none of 2 MiB: frames lie on ordinary pages");
    };
    if free >= each {
        let queues = free / each;
        return Finding::ok(CHECK, format!("{free} of {all} of 2 MiB are free: enough for {queues} queues"));
    }
    let mend = format!("sudo sysctl vm.nr_hugepages={}", all - free + each * u64::from(machine.cores().min(64)));
    let text = format!("{free} of {all} of 2 MiB are free, a queue takes {each}: frames lie on ordinary pages");
    Finding::warn(CHECK, text).mend(mend)
}

/// Huge pages for large tables.
pub(super) fn transparent(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "thp";
    Some(match machine.transparent.as_deref()? {
        "never" => Finding::warn(CHECK, "transparent huge pages are off: large tables lie on ordinary pages")
            .mend("echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"),
        chosen => Finding::ok(CHECK, format!("transparent huge pages: {chosen}, for large tables")),
    })
}
