//! What is read of the machine: kernel, rights, memory, cores.
//!
//! Everything is read once, from /proc, /sys and by trying; what cannot be read is absent. The tries are of this process alone: a socket that is closed
//! again, a program that is loaded and not attached, memory that is given back.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::cpu;
use crate::error::SetupError;
use crate::steer::{Claims, Steering};
use crate::xsk::capability::Right;
use crate::xsk::{self, Config, Pages};

/// A machine as it was when it was asked.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `6.18.44`, and the machine, `x86_64`.
    pub(super) kernel: (String, String),
    /// Whether each right is held, and whether it could be given.
    pub(super) rights: Vec<Held>,
    /// An AF_XDP socket was made. `None`: without CAP_NET_RAW that is not tried.
    pub(super) socket: Option<Result<(), SetupError>>,
    /// The XDP program passed the verifier.
    pub(super) program: Option<Result<(), SetupError>>,
    /// The frames of a queue were registered, and on which pages.
    pub(super) memory: Option<Result<Pages, SetupError>>,
    /// The limit of locked memory in bytes, if there is one.
    pub(super) memlock: Option<u64>,
    /// Huge pages of 2 MiB, all and free; `None` when the kernel has none of that size.
    pub(super) huge_pages: Option<(u64, u64)>,
    /// `always`, `madvise` or `never`.
    pub(super) transparent: Option<String>,
    /// `net.core.bpf_jit_enable`.
    pub(super) compiler: Option<u32>,
    /// How many cores each frequency governor has.
    pub(super) governors: BTreeMap<String, usize>,
    /// Cores online, those that this process is kept off among them.
    pub(super) online: Vec<u32>,
    /// Cores kept free of other programs (`isolcpus`), and of the clock's ticks (`nohz_full`), as lists.
    pub(super) isolated: String,
    pub(super) tickless: String,
    /// The clock source, `tsc`.
    pub(super) clock: Option<String>,
    /// `net.core.busy_poll` and `net.core.busy_read`, in microseconds; absent in a network namespace.
    pub(super) busy_poll: Option<(u32, u32)>,
    /// The cores of each NUMA node, as lists.
    pub(super) nodes: BTreeMap<u32, String>,
}

/// A right, and whether the thread that asked has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) right: Right,
    pub(super) held: bool,
    /// It is in the bounding set: a file capability could give it.
    pub(super) within_bounds: bool,
}

impl Machine {
    /// Reads this machine, and tries on it what needs no interface.
    pub fn read() -> Self {
        let system = rustix::system::uname();
        let words = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let held = |right: Right| Held { right, held: right.is_held(), within_bounds: right.is_within_bounds() };
        let can = |needed: &[Right]| needed.iter().all(|right| right.is_held());
        let sockets = can(&[Right::NetRaw]);
        let loads = can(&[Right::Bpf, Right::NetAdmin]);
        // Its claims are none: it passes every frame.
        let load = || Steering::load(&Claims::new(), 1).map(drop);
        let memlock = getrlimit(Resource::Memlock).current;
        Self {
            kernel: (words(system.release()), words(system.machine())),
            rights: Right::ALL.map(held).to_vec(),
            socket: sockets.then(xsk::try_socket),
            program: loads.then(load),
            memory: sockets.then(|| within_limit(|| xsk::try_memory(&Config::default()))),
            memlock,
            huge_pages: huge_pages(),
            transparent: line("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|line| chosen(&line)),
            compiler: line("/proc/sys/net/core/bpf_jit_enable").and_then(|line| line.parse().ok()),
            governors: governors(),
            online: cpu::online(),
            isolated: line("/sys/devices/system/cpu/isolated").unwrap_or_default(),
            tickless: line("/sys/devices/system/cpu/nohz_full").filter(|list| list != "(null)").unwrap_or_default(),
            clock: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            busy_poll: busy_poll(),
            nodes: nodes(),
        }
    }

    /// How many cores there are.
    pub(super) fn cores(&self) -> u32 {
        u32::try_from(self.online.len()).unwrap_or(u32::MAX)
    }

    /// Whether a right is held.
    pub(super) fn holds(&self, right: Right) -> bool {
        self.rights.iter().any(|one| one.right == right && one.held)
    }

    /// Those of the rights that are not held, by name, separated by commas; `None` when all are.
    pub(super) fn lacks(&self, needed: &[Right]) -> Option<String> {
        let missing: Vec<_> = needed.iter().filter(|&&right| !self.holds(right)).map(|right| right.name()).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }

    /// Major and minor number of the kernel; `None` when its release is none.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.kernel.0.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// Tries something that may raise the limit of locked memory, and sets that back to where it was.
pub(super) fn within_limit<T>(attempt: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Memlock);
    let result = attempt();
    // Lowering a limit takes no right.
    let _ = setrlimit(Resource::Memlock, before);
    result
}

/// The content of a file of one line.
pub(super) fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|line| !line.is_empty())
}

fn huge_pages() -> Option<(u64, u64)> {
    let number = |file: &str| line(&format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{file}"))?.parse().ok();
    Some((number("nr_hugepages")?, number("free_hugepages")?))
}

/// The word in brackets.
fn chosen(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

fn governors() -> BTreeMap<String, usize> {
    let mut governors = BTreeMap::new();
    for folder in fs::read_dir("/sys/devices/system/cpu/cpufreq").into_iter().flatten().flatten() {
        let file = |name: &str| line(&folder.path().join(name).to_string_lossy());
        let Some(governor) = file("scaling_governor") else { continue };
        let cores = file("affected_cpus").map_or(1, |cores| cores.split_whitespace().count());
        *governors.entry(governor).or_default() += cores;
    }
    governors
}

fn busy_poll() -> Option<(u32, u32)> {
    let number = |file: &str| line(&format!("/proc/sys/net/core/{file}"))?.parse().ok();
    Some((number("busy_poll")?, number("busy_read")?))
}

fn nodes() -> BTreeMap<u32, String> {
    let folders = fs::read_dir("/sys/devices/system/node").into_iter().flatten().flatten();
    let node = |folder: &fs::DirEntry| folder.file_name().to_str()?.strip_prefix("node")?.parse().ok();
    let cores = |folder: &fs::DirEntry| line(&folder.path().join("cpulist").to_string_lossy());
    folders.filter_map(|folder| Some((node(&folder)?, cores(&folder)?))).collect()
}

#[cfg(test)]
impl Machine {
    /// A server on which nothing is amiss.
    pub(super) fn recorded() -> Self {
        let held = |right| Held { right, held: true, within_bounds: true };
        Self {
            kernel: ("6.12.9-amd64".to_owned(), "x86_64".to_owned()),
            rights: Right::ALL.map(held).to_vec(),
            socket: Some(Ok(())),
            program: Some(Ok(())),
            memory: Some(Ok(Pages::Huge)),
            memlock: Some(8 << 20),
            huge_pages: Some((64, 60)),
            transparent: Some("madvise".to_owned()),
            compiler: Some(1),
            governors: [("performance".to_owned(), 16)].into(),
            online: (0..16).collect(),
            isolated: "2-15".to_owned(),
            tickless: "2-15".to_owned(),
            clock: Some("tsc".to_owned()),
            busy_poll: Some((0, 0)),
            nodes: [(0, "0-7".to_owned()), (1, "8-15".to_owned())].into(),
        }
    }
}
