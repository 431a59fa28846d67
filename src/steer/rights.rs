//! Which capability is missing, by name, for the errors of this module. Called when the kernel said EPERM or EACCES; does not panic.

use caps::{CapSet, Capability};

/// The command that gives an ordinary user what the engine needs.
pub(super) const SETCAP: &str = "sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep ./ringway";

/// "the capability CAP_BPF is missing", for those of `needed` that this thread lacks.
pub(super) fn missing(needed: &[Capability]) -> String {
    let lacks = |capability: &&Capability| !caps::has_cap(None, CapSet::Effective, **capability).unwrap_or(false);
    let names: Vec<_> = needed.iter().filter(lacks).map(ToString::to_string).collect();
    match names.as_slice() {
        [] => "the kernel does not permit it, although the capabilities are there (a container, or a security module)".to_owned(),
        [one] => format!("the capability {one} is missing"),
        more => format!("the capabilities {} are missing", more.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_this_thread_lacks() {
        std::thread::spawn(|| {
            caps::clear(None, CapSet::Effective).unwrap();
            assert_eq!(missing(&[Capability::CAP_BPF]), "the capability CAP_BPF is missing");
            let two = missing(&[Capability::CAP_BPF, Capability::CAP_NET_ADMIN]);
            assert_eq!(two, "the capabilities CAP_BPF and CAP_NET_ADMIN are missing");
        })
        .join()
        .unwrap();
    }
}
