//! The rights of the command's own threads, given up when everything is taken.
//!
//! Called by each command that opens a launch, after it. The threads that the library starts give up theirs by themselves. Errors are the operator's.

use std::path::Path;

use ringway::error::SetupError;
use ringway::rights::{self, CapabilitySet};

/// What is still to be done when the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Nothing that needs rights.
    Nothing,
    /// Results are written into a folder, which root may do in anybody's.
    Results,
}

impl Afterwards {
    /// With this `--out`.
    pub(crate) fn results(out: Option<&Path>) -> Self {
        if out.is_some() { Self::Results } else { Self::Nothing }
    }
}

/// Gives up the rights of the calling thread but for what is left to do; says so where somebody may wonder, which is as root.
pub(crate) fn give_up(afterwards: Afterwards) -> Result<(), SetupError> {
    let files = match afterwards {
        Afterwards::Nothing => CapabilitySet::empty(),
        Afterwards::Results => CapabilitySet::DAC_OVERRIDE,
    };
    rights::keep_only(rights::for_the_end() | files)?;
    if rustix::process::geteuid().is_root() {
        tracing::info!(
            "what root may do more than others is given up: only files of root itself can be read and written from now on"
        );
    }
    Ok(())
}

/// The same of a thread that only prints.
pub(crate) fn give_up_on_helper() {
    if let Err(error) = rights::keep_only(CapabilitySet::empty()) {
        tracing::warn!("{error}");
    }
}

/// Whether a command that this process starts has CAP_SYS_ADMIN: root's have what root has, those of others only what is ambient (capabilities(7)).
pub(crate) fn pass_on_sys_admin() -> bool {
    let passes = rustix::process::geteuid().is_root()
        || rustix::thread::capability_is_in_ambient_set(CapabilitySet::SYS_ADMIN).unwrap_or(false);
    passes && rights::held().contains(CapabilitySet::SYS_ADMIN)
}
