//! Threads beside the workers: off their cores, and with no more rights than they use.
//!
//! What follows the kernel, answers questions and scrapes, writes dumps and waits for signals is started here; the command's own threads inherit their place from its main
//! thread, which leaves the workers' cores when its set-up is over. Cannot panic.

use std::io;
use std::thread::{self, JoinHandle};

use rustix::thread::CpuSet;

use crate::cpu;
use crate::rights::{self, CapabilitySet};

/// Where such a thread may run: not on an engine's core, if there is another.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cores of the process.
    pub allowed: CpuSet,
    /// The engines'.
    pub busy: Vec<u32>,
}

impl Place {
    /// Has the calling thread run there.
    pub fn take(&self) {
        cpu::keep_off(&self.allowed, &self.busy);
    }
}

/// Starts a thread of this name, which goes to its place, if one is known, and keeps these rights alone.
///
/// # Errors
/// The kernel has no room for a thread.
pub(crate) fn spawn(
    name: &str,
    place: Option<Place>,
    keeps: CapabilitySet,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(place) = place {
            place.take();
        }
        rights::keep_only_or_say(keeps);
        work();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_goes_to_its_place_and_gives_up_its_rights() {
        let allowed = cpu::allowed().unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).unwrap();
        let place = Place { allowed, busy: vec![first as u32] };
        let thread = spawn("ringway-beside", Some(place), CapabilitySet::empty(), move || {
            assert_eq!(thread::current().name(), Some("ringway-beside"));
            assert!(!cpu::allowed().unwrap().is_set(first) || allowed.count() == 1);
            assert_eq!(rights::held(), CapabilitySet::empty());
        });
        thread.unwrap().join().unwrap();
        assert!(cpu::allowed().unwrap().is_set(first), "the thread that starts it stays where it is");
    }
}
