//! The checks of XDP on an interface: what is attached, and what came of trying.

use super::attempt::{Attempt, Copying, Reason};
use super::finding::Finding;
use super::interface::Interface;
use super::kernel::refused;

/// Another program in the place that ours takes.
pub(super) fn program(interface: &Interface) -> Finding {
    const CHECK: &str = "xdp";
    match &interface.program {
        None => Finding::ok(CHECK, "no program is attached"),
        Some(ours) if ours.name.as_ref().is_some_and(|name| name.starts_with("ringway_")) => {
            Finding::ok(CHECK, format!("Ringway is at work: {}", ours.described))
        }
        Some(other) => Finding::fail(CHECK, format!("another program is attached: {}", other.described)).mend(&other.mend),
    }
}

/// The modes, tried.
pub(super) fn attach(interface: &Interface) -> Finding {
    const CHECK: &str = "attach";
    let trial = match &interface.attempt {
        Attempt::Not(reason) => return not_tried(CHECK, reason),
        Attempt::Made(made) => match &made.program {
            Err(error) => return refused(CHECK, error),
            Ok(trial) => trial,
        },
    };
    match (&trial.native, &trial.skb) {
        (Ok(()), _) => Finding::ok(CHECK, "native: tried, and taken off again"),
        (Err(why), Some(Ok(()))) => {
            let text = format!("in skb mode only, which is slower: {}", why.why());
            // That `-m skb` is what to do stands in the text already.
            Finding::warn(CHECK, text).mend_if(why.remedy().filter(|remedy| *remedy != "-m skb"))
        }
        (Err(error), None) | (Err(_), Some(Err(error))) => refused(CHECK, error),
    }
}

/// Sockets on all queues, tried.
pub(super) fn sockets(interface: &Interface) -> Finding {
    const CHECK: &str = "sockets";
    let sockets = match &interface.attempt {
        Attempt::Not(reason) => return not_tried(CHECK, reason),
        Attempt::Made(made) => &made.sockets,
    };
    let queues = match interface.nic.receive_queues() {
        1 => "queue 0".to_owned(),
        queues => format!("the queues 0-{}", queues - 1),
    };
    match sockets {
        Ok(Copying::Zero) => Finding::ok(CHECK, format!("zero-copy: tried on {queues}")),
        // There is no memory of a NIC to share.
        Ok(Copying::Copy(_)) if interface.nic.driver() == "veth" => {
            Finding::ok(CHECK, format!("copy, as veth has: tried on {queues}"))
        }
        Ok(Copying::Copy(why)) => Finding::warn(CHECK, format!("copy only, tried on {queues}: {}", why.why())),
        Err(error) => refused(CHECK, error),
    }
}

fn not_tried(check: &'static str, reason: &Reason) -> Finding {
    match reason {
        Reason::Forbidden => Finding::skipped(check, "not tried: --no-try"),
        Reason::Disturbing => Finding::skipped(check, "not tried: many drivers take the link down for a moment; --try allows it"),
        Reason::Rights(missing) => Finding::skipped(check, format!("not tried without {missing}")),
        Reason::Hindered(why) => Finding::skipped(check, format!("not tried: {why}")),
    }
}
