//! The rights of a thread, given up once what needs them is done.
//!
//! Capabilities belong to threads, not to processes: so each thread that is started here gives up its own, first of all it does, and the command its main
//! thread's when everything is taken. What is given up cannot be had again, nor by executing a program (PR_SET_NO_NEW_PRIVS, which holds for
//! children, too). Nothing here panics.

use rustix::thread::{CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

pub use rustix::thread::CapabilitySet;

use crate::error::SetupError;

/// Gives up all rights of the calling thread but those in `keep`, of which it keeps what it has, and the way to get others. Root is no
/// exception: what remains of it is its user id, to which files may belong.
///
/// ```
/// use ringway::rights::{self, CapabilitySet};
/// std::thread::spawn(|| {
///     rights::keep_only(CapabilitySet::empty()).unwrap();
///     assert!(rights::held().is_empty());
/// }).join().unwrap();
/// ```
///
/// # Errors
/// The kernel, or whoever filters its calls, does not let it be done.
pub fn keep_only(keep: CapabilitySet) -> Result<(), SetupError> {
    let refused = |error: rustix::io::Errno| {
        let why = format!("{error}: somebody filters the calls of this process (a container, or a service manager)");
        SetupError::environment("cannot give up the rights of a thread", why)
    };
    let before = capabilities(None).map_err(refused)?;
    let left = before.permitted & keep;
    // What is ambient goes with what is inheritable.
    let sets = CapabilitySets { effective: left & before.effective, permitted: left, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(refused)?;
    set_no_new_privs(true).map_err(refused)
}

/// The same on a thread that nobody asks how it went: what could not be done is said.
pub(crate) fn keep_only_or_say(keep: CapabilitySet) {
    if let Err(error) = keep_only(keep) {
        tracing::warn!("{error}");
    }
}

/// What the calling thread is permitted; nothing when the kernel does not say.
pub fn held() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted)
}

/// What the thread that ends a run still needs for that: queues, ports, groups and programs go with their descriptors, which takes no right. Before Linux
/// 5.19 every call of bpf(2), the one that reads the counters of the XDP program among them, wants CAP_BPF where kernel.unprivileged_bpf_disabled is set.
pub fn for_the_end() -> CapabilitySet {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if reads_maps_without_rights(&release) { CapabilitySet::empty() } else { CapabilitySet::BPF }
}

/// Whether this is Linux 5.19 or newer; what cannot be read counts as older.
fn reads_maps_without_rights(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 19),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_up_its_own_rights_alone_and_for_good() {
        let before = held();
        std::thread::spawn(move || {
            let kept = CapabilitySet::NET_ADMIN;
            keep_only(kept).unwrap();
            assert_eq!(held(), before & kept, "what it did not have it has not got");
            assert!(rustix::thread::no_new_privs().unwrap());
            keep_only(CapabilitySet::empty()).unwrap();
            let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
            assert_eq!(set_capabilities(None, sets), Err(rustix::io::Errno::PERM));
            assert_eq!(held(), CapabilitySet::empty());
            // Whom it starts has no more.
            std::thread::spawn(|| assert_eq!(held(), CapabilitySet::empty())).join().unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(held(), before, "this thread is another");
    }

    #[test]
    fn the_release_says_whether_counters_are_read_without_rights() {
        for release in ["5.19.0", "6.1.0-18-amd64", "6.18.44-fc-v595", "10.2"] {
            assert!(reads_maps_without_rights(release), "{release}");
        }
        for release in ["5.18.3", "5.4.0-90-generic", "4.19", "six", "6", ""] {
            assert!(!reads_maps_without_rights(release), "{release}");
        }
    }
}
