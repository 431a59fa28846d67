//! The system calls of a worker once it runs, and the filter that lets no others through (seccomp(2)).
//!
//! Applied by each worker to itself, when everything is open and its rights are given up. A call that is not in the lists ends the process with
//! SIGSYS: it is made by a worker that does what none of our code asks for, and one that went on with an error of a call that cannot fail would
//! be worse. A few that are harmless to miss are refused with an error. The interface is clean then too, because what was taken goes with its descriptors. Nothing here panics.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::error::SetupError;

/// Which system calls the workers may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confined {
    /// All: what services of one's own do is not known here.
    #[default]
    Not,
    /// Those that carry packets: no file is opened, no socket made, no program started.
    Packets,
    /// The same, and those that read files, for the http service.
    PacketsAndFiles,
}

/// The filters as the kernel takes them.
#[derive(Debug)]
pub(super) struct Filters {
    /// What is allowed or only refused passes; all else ends the process.
    fatal: BpfProgram,
    /// What is refused with an error. Of two filters the kernel does what is worse.
    mild: BpfProgram,
}

impl Filters {
    /// Of workers that may make these calls; none for those that may make all.
    ///
    /// # Errors
    /// The architecture is one for which no filter can be made.
    pub(super) fn new(confined: Confined) -> Result<Option<Self>, SetupError> {
        if confined == Confined::Not {
            return Ok(None);
        }
        let make = || {
            let arch = TargetArch::try_from(std::env::consts::ARCH)?;
            let (pass, refuse) = (SeccompAction::Allow, SeccompAction::Errno(libc::EACCES.unsigned_abs()));
            let mut rules = allowed(confined)?;
            rules.extend(without_condition(REFUSED));
            let fatal = SeccompFilter::new(rules, SeccompAction::KillProcess, pass.clone(), arch)?.try_into()?;
            let mild = SeccompFilter::new(without_condition(REFUSED).collect(), pass, refuse, arch)?.try_into()?;
            Ok(Some(Self { fatal, mild }))
        };
        make().map_err(|error: BackendError| {
            let what = "cannot make the filter of the workers' system calls";
            SetupError::environment(what, error.to_string()).mend("--seccomp off")
        })
    }

    /// Confines the calling thread, for good; it must have given up its rights.
    ///
    /// # Errors
    /// The kernel has no seccomp, or somebody does not let it be used.
    pub(super) fn apply(&self) -> Result<(), SetupError> {
        // The second is applied under the first, which would not let it: so the one that allows it goes first.
        let applied = seccompiler::apply_filter(&self.mild).and_then(|()| seccompiler::apply_filter(&self.fatal));
        applied.map_err(|error| {
            SetupError::environment("cannot filter the system calls of a worker", error.to_string()).mend("--seccomp off")
        })
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed(confined: Confined) -> Result<Rules, BackendError> {
    let files: &[i64] = if confined == Confined::PacketsAndFiles { FILES } else { &[] };
    let mut rules: Rules = [PACKETS, OF_THIS_MACHINE, files].into_iter().flat_map(without_condition).collect();
    for call in MAPPINGS {
        // The protection is their third argument: no memory becomes code.
        let exec = u64::from(libc::PROT_EXEC.unsigned_abs());
        let no_code = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(exec), 0)?;
        rules.insert(call, vec![SeccompRule::new(vec![no_code])?]);
    }
    Ok(rules)
}

/// Calls with any arguments.
fn without_condition(calls: &[i64]) -> impl Iterator<Item = (i64, Vec<SeccompRule>)> {
    calls.iter().map(|&call| (call, Vec::new()))
}

/// What the engine, the allocator, the standard library, and the end of a thread ask for.
const PACKETS: &[i64] = &[
    // Rings: kick, wake, poll and count.
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockopt,
    // Sleeping, and waking others: epoll, timerfd, eventfd, locks and channels.
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_timerfd_settime,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_futex,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_sched_yield,
    // Clocks that the vDSO does not have: the CPU time of a thread.
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // The allocator; the memory that an engine gives back.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Descriptors that end with a service.
    libc::SYS_close,
    // Signals that the kernel delivers here; the end of the thread, of the process, and an abort.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Old forms of these calls, where an architecture has them.
#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[i64] = &[libc::SYS_poll, libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &[i64] = &[];

/// What the standard library tries when it describes a panic (RUST_BACKTRACE) and can do without: the process is to end with the words of the panic. And what glibc
/// asks when it makes an arena for memory: it then takes two cores for granted.
#[cfg(target_arch = "x86_64")]
const REFUSED: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_open,
    libc::SYS_readlinkat,
    libc::SYS_readlink,
    libc::SYS_getcwd,
    libc::SYS_lseek,
    libc::SYS_sched_getaffinity,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED: &[i64] = &[libc::SYS_openat, libc::SYS_readlinkat, libc::SYS_getcwd, libc::SYS_lseek, libc::SYS_sched_getaffinity];

/// Calls that can make memory executable.
const MAPPINGS: [i64; 2] = [libc::SYS_mmap, libc::SYS_mprotect];

/// What `service/http/file.rs` asks for. Where `openat2` leads is the kernel's and the folder's business (RESOLVE_BENEATH).
const FILES: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_pread64,
    libc::SYS_preadv2,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What a test that is run again ends with: one that was not found ends with 0.
    const CAME_TO_ITS_END: i32 = 42;

    /// The process that breaks a filter ends: this one asks itself to be run again for it.
    fn ends_with(test: &str, work: impl FnOnce()) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        const INNER: &str = "RINGWAY_TEST_CONFINED";
        if std::env::var(INNER).is_ok_and(|inner| inner == test) {
            crate::rights::keep_only(crate::rights::CapabilitySet::empty()).unwrap();
            work();
            // Not by the test's own end, which opens and reads whatever it likes.
            std::process::exit(CAME_TO_ITS_END);
        }
        let name = format!("launch::confined::tests::{test}");
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", &name, "--nocapture"]).env(INNER, test).env("RUST_BACKTRACE", "1").output().unwrap();
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        output.status.signal().or(output.status.code())
    }

    fn confine(confined: Confined) {
        // As in a launch: rustix has asked for the vDSO long before a worker begins.
        crate::cpu::thread_ns();
        Filters::new(confined).unwrap().unwrap().apply().unwrap();
    }

    #[test]
    fn a_worker_may_allocate_sleep_wait_and_panic() {
        let end = ends_with("a_worker_may_allocate_sleep_wait_and_panic", || {
            confine(Confined::Packets);
            let large = vec![1_u8; 32 << 20];
            assert_eq!(std::hint::black_box(large).len(), 32 << 20);
            std::thread::sleep(std::time::Duration::from_millis(1));
            let panic = std::panic::catch_unwind(|| panic!("on purpose"));
            assert!(panic.is_err());
            assert!(crate::cpu::thread_ns() > 0);
        });
        assert_eq!(end, Some(CAME_TO_ITS_END));
    }

    #[test]
    fn a_socket_ends_the_process() {
        let end = ends_with("a_socket_ends_the_process", || {
            confine(Confined::PacketsAndFiles);
            let _ = std::net::UdpSocket::bind("127.0.0.1:0");
        });
        assert_eq!(end, Some(libc::SIGSYS));
    }

    #[test]
    fn a_file_is_not_opened_by_a_process_that_serves_none() {
        let end = ends_with("a_file_is_not_opened_by_a_process_that_serves_none", || {
            confine(Confined::Packets);
            let refused = std::fs::File::open("/etc/hostname").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
            // As the http service would.
            let _ = rustix::fs::statat(rustix::fs::CWD, "/etc/hostname", rustix::fs::AtFlags::empty());
        });
        assert_eq!(end, Some(libc::SIGSYS));
    }

    #[test]
    fn files_are_found_and_read_where_they_are_served() {
        let end = ends_with("files_are_found_and_read_where_they_are_served", || {
            use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};
            confine(Confined::PacketsAndFiles);
            let file = openat2(CWD, "Cargo.toml", OFlags::RDONLY, Mode::empty(), ResolveFlags::BENEATH).unwrap();
            assert!(fstat(&file).unwrap().st_size > 0);
            assert_eq!(rustix::io::pread(&file, &mut [0; 9], 0), Ok(9));
        });
        assert_eq!(end, Some(CAME_TO_ITS_END));
    }

    #[test]
    fn a_program_or_a_thread_ends_the_process() {
        let end = ends_with("a_program_or_a_thread_ends_the_process", || {
            confine(Confined::PacketsAndFiles);
            let _ = std::thread::Builder::new().spawn(|| {});
        });
        assert_eq!(end, Some(libc::SIGSYS));
    }

    #[test]
    fn mappings_ask_for_no_code() {
        let rules = allowed(Confined::Packets).unwrap();
        assert!(MAPPINGS.iter().all(|call| rules[call].len() == 1), "each with its condition");
        assert!(rules.iter().all(|(call, rules)| MAPPINGS.contains(call) || rules.is_empty()));
    }

    /// What a system call costs more under the filters, by the CPU time of the thread: other load does not count. `--nocapture` shows it.
    #[test]
    fn a_call_costs_little_more_under_the_filters() {
        let end = ends_with("a_call_costs_little_more_under_the_filters", || {
            let ns_per_call = || {
                const CALLS: u64 = 100_000;
                let rounds = (0..5).map(|_| {
                    let start = crate::cpu::thread_ns();
                    (0..CALLS).for_each(|_| assert!(std::hint::black_box(rustix::process::getpid()).as_raw_nonzero().get() > 0));
                    (crate::cpu::thread_ns() - start) / CALLS
                });
                rounds.min().unwrap_or_default()
            };
            let free = ns_per_call();
            confine(Confined::Packets);
            let confined = ns_per_call();
            eprintln!("a system call: {free} ns, under the filters {confined} ns");
            assert!(confined < free + 1000, "{confined} ns");
        });
        assert_eq!(end, Some(CAME_TO_ITS_END));
    }

    #[test]
    fn whoever_is_not_confined_has_no_filter() {
        assert!(Filters::new(Confined::Not).unwrap().is_none());
    }
}
