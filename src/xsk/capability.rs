//! The rights an AF_XDP program needs, each by its name.
//!
//! Asked once, at start, before anything is opened, so that the operator reads which capability is missing and the one command that
//! gives it. The thread's effective capabilities are what counts: workers drop theirs later, which is no business of this file.

use std::path::Path;

use caps::{CapSet, Capability};

use crate::error::SetupError;

/// A capability, and what Ringway needs it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// CAP_NET_RAW: to create AF_XDP sockets.
    NetRaw,
    /// CAP_NET_ADMIN: to attach an XDP program and to prefer busy polling.
    NetAdmin,
    /// CAP_BPF: to load the XDP program and its maps.
    Bpf,
    /// CAP_IPC_LOCK: to register more memory than the memlock limit allows.
    IpcLock,
}

impl Right {
    /// All four, in the order in which they are needed.
    pub const ALL: [Self; 4] = [Self::NetRaw, Self::NetAdmin, Self::Bpf, Self::IpcLock];

    /// The kernel's name, `CAP_NET_RAW`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetRaw => "CAP_NET_RAW",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::Bpf => "CAP_BPF",
            Self::IpcLock => "CAP_IPC_LOCK",
        }
    }

    /// What cannot be done without it.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::NetRaw => "create an AF_XDP socket",
            Self::NetAdmin => "attach an XDP program",
            Self::Bpf => "load an XDP program",
            Self::IpcLock => "lock the memory of the frames",
        }
    }

    /// Whether the calling thread has it. CAP_SYS_ADMIN stands in for CAP_BPF, as it does in the kernel.
    pub fn is_held(self) -> bool {
        self.is_in(CapSet::Effective)
    }

    /// Whether a program that the calling thread starts could be given it: otherwise no setcap line helps.
    pub fn is_within_bounds(self) -> bool {
        self.is_in(CapSet::Bounding)
    }

    fn is_in(self, set: CapSet) -> bool {
        let held = |capability| caps::has_cap(None, set, capability).unwrap_or(false);
        match self {
            Self::NetRaw => held(Capability::CAP_NET_RAW),
            Self::NetAdmin => held(Capability::CAP_NET_ADMIN),
            Self::Bpf => held(Capability::CAP_BPF) || held(Capability::CAP_SYS_ADMIN),
            Self::IpcLock => held(Capability::CAP_IPC_LOCK),
        }
    }

    /// The error that says that this right is missing for `what` ("create an AF_XDP socket").
    pub(crate) fn missing_for(self, what: &str) -> SetupError {
        SetupError::environment(format!("cannot {what}"), format!("the capability {} is missing", self.name())).mend(setcap())
    }
}

/// That the calling thread has these rights.
///
/// # Errors
/// Some are missing: each is named, with the command that gives all of them.
pub fn require(rights: &[Right]) -> Result<(), SetupError> {
    let missing: Vec<Right> = rights.iter().copied().filter(|right| !right.is_held()).collect();
    complaint(&missing).map_or(Ok(()), Err)
}

fn complaint(missing: &[Right]) -> Option<SetupError> {
    let names = |rights: &[Right]| rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ");
    match missing {
        [] => None,
        [one] => Some(one.missing_for(one.purpose())),
        [first, ..] => {
            let why = format!("the capabilities {} are missing", names(missing));
            Some(SetupError::environment(format!("cannot {}", first.purpose()), why).mend(setcap()))
        }
    }
}

/// The command that gives this program its rights.
pub fn setcap() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "./ringway".into());
    // setcap sets all of a file's capabilities: the one for claims of ports below 1024, which the package gives, is to stay.
    let ports = if file_has(&program, Capability::CAP_NET_BIND_SERVICE) { ",cap_net_bind_service" } else { "" };
    format!("sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock{ports}+ep {}", program.display())
}

/// Whether a program is given a capability by its file (capabilities(7), "File capabilities"; `struct vfs_cap_data` of linux/capability.h).
fn file_has(program: &Path, capability: Capability) -> bool {
    let mut room = [0; 24];
    let Ok(len) = rustix::fs::getxattr(program, "security.capability", &mut room[..]) else { return false };
    is_permitted(&room[..len.min(room.len())], capability)
}

/// Behind a word with the version lies the first word of what is permitted.
fn is_permitted(data: &[u8], capability: Capability) -> bool {
    let word = data.get(4..8).and_then(|bytes| bytes.first_chunk()).copied().map_or(0, u32::from_le_bytes);
    capability.index() < 32 && word & 1 << capability.index() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_given_is_read() {
        // As the package sets it: getfattr -n security.capability -e hex /usr/bin/ringway.
        let mut data = [0; 20];
        data[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
        data[4..8].copy_from_slice(&(1_u32 << 10 | 1 << 12 | 1 << 13 | 1 << 14).to_le_bytes());
        assert!(is_permitted(&data, Capability::CAP_NET_BIND_SERVICE) && is_permitted(&data, Capability::CAP_NET_ADMIN));
        assert!(!is_permitted(&data, Capability::CAP_CHOWN) && !is_permitted(&data, Capability::CAP_BPF));
        assert!(!is_permitted(&data[..6], Capability::CAP_NET_BIND_SERVICE));
        assert!(!file_has(Path::new("/nonesuch"), Capability::CAP_NET_BIND_SERVICE));
    }

    #[test]
    fn each_missing_right_is_named() {
        for right in Right::ALL {
            let error = complaint(&[right]).unwrap();
            assert_eq!(error.why(), format!("the capability {} is missing", right.name()));
            assert!(error.remedy().unwrap().starts_with("sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep "));
            assert_eq!(error.exit_code(), 3);
        }
        let error = complaint(&[Right::NetRaw, Right::Bpf]).unwrap();
        assert_eq!(error.why(), "the capabilities CAP_NET_RAW, CAP_BPF are missing");
        assert_eq!(complaint(&[]), None);
    }

    /// A thread may drop its own rights; what it asks afterwards is answered for it alone.
    #[test]
    fn a_thread_without_rights_is_refused() {
        std::thread::spawn(|| {
            caps::clear(None, CapSet::Effective).unwrap();
            let error = require(&Right::ALL).unwrap_err();
            assert_eq!(error.why(), "the capabilities CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_IPC_LOCK are missing");
        })
        .join()
        .unwrap();
    }
}
