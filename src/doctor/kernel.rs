//! The checks of the kernel: its version, and what it lets us make.
//!
//! Each looks at what was read and changes nothing.

use super::finding::{Finding, Verdict};
use super::machine::Machine;
use crate::error::SetupError;
use crate::xsk::LARGEST_MTU;
use crate::xsk::capability::Right;

/// The first kernel with all that is needed: BPF links for XDP, and XDP programs for packets of several buffers.
const NEEDED: (u32, u32) = (5, 18);
/// The first one with AF_XDP packets of several frames.
pub(super) const SEVERAL_FRAMES: (u32, u32) = (6, 6);

/// The version. Distributions bring what is newer into old kernels: a program that was taken says more than a number.
pub(super) fn release(machine: &Machine) -> Finding {
    const CHECK: &str = "kernel";
    let (release, hardware) = &machine.kernel;
    let text = format!("Linux {release} {hardware}");
    let older = |than| machine.version().is_some_and(|version| version < than);
    let finding = if older(NEEDED) {
        let (major, minor) = NEEDED;
        match machine.program {
            Some(Ok(())) => Finding::ok(CHECK, format!("{text}: older than {major}.{minor}, but it takes the program")),
            Some(Err(_)) => Finding::fail(CHECK, format!("{text}: {major}.{minor} or newer is needed")),
            None => Finding::warn(CHECK, format!("{text}: {major}.{minor} or newer is asked for")),
        }
    } else if older(SEVERAL_FRAMES) {
        let (major, minor) = SEVERAL_FRAMES;
        // The MTU of an interface says where that matters.
        Finding::ok(CHECK, format!("{text}: packets above {LARGEST_MTU} bytes need {major}.{minor}"))
    } else {
        Finding::ok(CHECK, text)
    };
    if finding.verdict == Verdict::Ok { finding } else { finding.mend("install a newer kernel") }
}

/// An AF_XDP socket, tried.
pub(super) fn sockets(machine: &Machine) -> Finding {
    let missing = machine.lacks(&[Right::NetRaw]);
    tried("af-xdp", machine.socket.as_ref(), missing, "a socket was made")
}

/// The XDP program, tried.
pub(super) fn program(machine: &Machine) -> Finding {
    let missing = machine.lacks(&[Right::NetAdmin, Right::Bpf]);
    tried("program", machine.program.as_ref(), missing, "the XDP program passed the kernel's verifier")
}

/// Programs are translated for the processor.
pub(super) fn compiler(machine: &Machine) -> Option<Finding> {
    Some(match machine.compiler? {
        0 => Finding::warn("bpf-jit", "the XDP program is interpreted: each packet costs more")
            .mend("sudo sysctl net.core.bpf_jit_enable=1"),
        _ => Finding::ok("bpf-jit", "the XDP program is compiled"),
    })
}

/// What came of something that was tried, unless a right for it is missing.
pub(super) fn tried(
    check: &'static str,
    result: Option<&Result<(), SetupError>>,
    missing: Option<String>,
    done: &str,
) -> Finding {
    match (result, missing) {
        (Some(Ok(())), _) => Finding::ok(check, done),
        (Some(Err(error)), _) => refused(check, error),
        (None, Some(missing)) => Finding::skipped(check, format!("not tried without {missing}")),
        (None, None) => Finding::skipped(check, "not tried"),
    }
}

/// A refusal as it would end a start.
pub(super) fn refused(check: &'static str, error: &SetupError) -> Finding {
    Finding::fail(check, format!("{}: {}", error.what(), error.why())).mend_if(error.remedy())
}
