//! Which capability is missing, by name, for the errors of this module. Called when the kernel said EPERM or EACCES; does not panic.

use caps::{CapSet, Capability};

use crate::error::SetupError;
use crate::xsk::capability::setcap;

/// The error of `what`, which needs these capabilities: names those that this thread lacks, and the command that gives them. When it has
/// them all, somebody else forbids it, and no command of ours mends that.
pub(super) fn denied(what: impl Into<String>, needed: &[Capability]) -> SetupError {
    let lacks = |capability: &&Capability| !caps::has_cap(None, CapSet::Effective, **capability).unwrap_or(false);
    let names: Vec<_> = needed.iter().filter(lacks).map(ToString::to_string).collect();
    let why = match names.as_slice() {
        [] => {
            let why = "the kernel does not permit it, although the capabilities are there (a container, or a security module)";
            return SetupError::environment(what, why);
        }
        [one] => format!("the capability {one} is missing"),
        more => format!("the capabilities {} are missing", more.join(" and ")),
    };
    SetupError::environment(what, why).mend(setcap())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_this_thread_lacks() {
        std::thread::spawn(|| {
            caps::clear(None, CapSet::Effective).unwrap();
            let one = denied("cannot do it", &[Capability::CAP_BPF]);
            assert_eq!(one.why(), "the capability CAP_BPF is missing");
            let two = denied("cannot do it", &[Capability::CAP_BPF, Capability::CAP_NET_ADMIN]);
            assert_eq!(two.why(), "the capabilities CAP_BPF and CAP_NET_ADMIN are missing");
            let program = std::env::current_exe().unwrap().display().to_string();
            assert!(two.remedy().unwrap().ends_with(&program), "the program that runs, wherever it lies: {two}");
            let none = denied("cannot do it", &[]);
            assert_eq!(none.remedy(), None, "capabilities that are there need not be given: {none}");
        })
        .join()
        .unwrap();
    }
}
