//! CPU time of the calling thread, and the core it runs on.
//!
//! Called by whoever starts a worker or a peer, and at the borders of what is measured. Cannot panic.

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::error::SetupError;
use crate::settings::number;
use crate::time::kernel_ns;

/// CPU time of the calling thread in nanoseconds, softirq work charged to it included.
pub fn thread_ns() -> u64 {
    kernel_ns(clock_gettime(ClockId::ThreadCPUTime))
}

/// Nanoseconds per message; `None` without messages.
pub fn per_message(cpu_ns: u64, messages: u64) -> Option<f64> {
    (messages > 0).then(|| cpu_ns as f64 / messages as f64)
}

/// Keeps the calling thread on one core.
///
/// # Errors
/// There is no such core, or this process may not use it.
pub fn pin(core: usize) -> Result<(), SetupError> {
    let what = || format!("cannot run on core {core}");
    if core >= CpuSet::MAX_CPU {
        return Err(SetupError::usage(what(), format!("cores are numbered from 0 to {}", CpuSet::MAX_CPU - 1)));
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| {
        let why = match error {
            Errno::INVAL => "there is no such core, or this process may not use it".to_owned(),
            other => other.to_string(),
        };
        SetupError::environment(what(), why).mend("grep Cpus_allowed_list /proc/self/status")
    })
}

/// The cores the calling thread may run on; `None` when the kernel does not say.
pub fn allowed() -> Option<CpuSet> {
    sched_getaffinity(None).ok()
}

/// The cores of the machine that are online, by number, whether or not this process may run on them; without sysfs those it may run on, counted
/// from 0. (`/sys/devices/system/cpu/online`; what `isolcpus` and `taskset` take away is among them.)
pub fn online() -> Vec<u32> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").ok().and_then(|list| number::list(list.trim()).ok());
    list.unwrap_or_else(|| (0..std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)).collect())
}

/// Has the calling thread run on those of the cores that are not `busy`; on all of them when no other is left.
pub fn keep_off(allowed: &CpuSet, busy: &[u32]) {
    let mut others = *allowed;
    for core in busy.iter().map(|&core| core as usize).filter(|&core| core < CpuSet::MAX_CPU) {
        others.unset(core);
    }
    let set = if others.count() > 0 { &others } else { allowed };
    // A thread on a core that it shares is slower, not wrong.
    let _ = sched_setaffinity(None, set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_cpu_time_and_sleep_does_not() {
        let start = thread_ns();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let slept = thread_ns() - start;
        let mut sum = 0_u64;
        while thread_ns() - start < slept + 5_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(slept < 20_000_000, "{slept}");
        assert_eq!(per_message(600, 3), Some(200.0));
        assert_eq!(per_message(600, 0), None);
    }

    #[test]
    fn a_thread_keeps_off_a_core_when_there_is_another() {
        let all = allowed().unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|&core| all.is_set(core)).unwrap();
        let on = |allowed: CpuSet, busy: usize| {
            let thread = std::thread::spawn(move || {
                keep_off(&allowed, &[busy as u32]);
                super::allowed().unwrap()
            });
            thread.join().unwrap()
        };
        let kept_off = on(all, first);
        assert!(!kept_off.is_set(first) || all.count() == 1);
        let mut one = CpuSet::new();
        one.set(first);
        assert!(on(one, first).is_set(first), "there is no other");
        assert_eq!(on(all, CpuSet::MAX_CPU).count(), all.count());
    }

    #[test]
    fn a_core_that_is_not_there_is_refused_with_a_reason() {
        assert_eq!(pin(CpuSet::MAX_CPU).map_err(|error| error.exit_code()), Err(2));
        let error = pin(CpuSet::MAX_CPU - 1).expect_err("nobody has so many cores");
        assert!(error.to_string().contains("cannot run on core 1023"), "{error}");
    }
}
