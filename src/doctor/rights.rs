//! The checks of the capabilities, one each: what it is for, and how it is given.

use super::finding::Finding;
use super::machine::Machine;
use crate::xsk::capability::{Right, setcap};

/// One right.
pub(super) fn right(machine: &Machine, right: Right) -> Finding {
    let (check, needed_to) = (right.name(), right.purpose());
    if machine.holds(right) {
        return Finding::ok(check, format!("to {needed_to}"));
    }
    if right == Right::IpcLock && matches!(machine.memory, Some(Ok(_))) {
        return Finding::ok(check, "missing, and not needed: the limit of locked memory suffices");
    }
    let bounded = machine.rights.iter().any(|one| one.right == right && !one.within_bounds);
    let text = if bounded {
        format!("missing, and out of reach of this process (its bounding set): it is needed to {needed_to}")
    } else {
        format!("missing: it is needed to {needed_to}")
    };
    // What fails for it is said where it was tried: the limit may suffice.
    let finding = if right == Right::IpcLock { Finding::warn(check, text) } else { Finding::fail(check, text) };
    if bounded {
        let short = check.trim_start_matches("CAP_");
        return finding.mend(format!("docker run --cap-add {short} (systemd: CapabilityBoundingSet={check})"));
    }
    finding.mend(setcap())
}
