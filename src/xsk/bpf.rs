//! Safe wrappers of bpf(2): maps, XDP programs, links.
//!
//! Called by `steer` at start and at stop, and to read counters; never per packet. Each command's part of `union bpf_attr`
//! (linux/bpf.h) is mirrored by a struct without padding; every descriptor is an [`OwnedFd`], so that whatever was made goes with its value. Nothing here panics; the
//! kernel's refusals come back as [`io::Error`], those of the verifier with its log.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::steer::assembler::Instruction;

// `enum bpf_cmd`.
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const LINK_GET_NEXT_ID: libc::c_long = 31;

/// `BPF_PROG_TYPE_XDP`.
const PROG_TYPE_XDP: u32 = 6;
/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;
/// `BPF_LINK_TYPE_XDP`.
const LINK_TYPE_XDP: u32 = 6;
/// `BPF_F_XDP_HAS_FRAGS`: the program copes with packets of several buffers, so that no MTU is too large for it.
const PROG_HAS_FRAGS: u32 = 32;
/// Length of names, the closing zero included (`BPF_OBJ_NAME_LEN`).
const NAME_BYTES: usize = 16;
/// Room for the verifier's log in bytes.
const LOG_BYTES: usize = 1 << 20;
/// No kernel is built for more CPUs (`CONFIG_NR_CPUS` ends at 8192): bounds what a look-up in a per-CPU map can write.
const CPUS_MAX: usize = 8192;

/// Kind of a map (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`.
    Hash = 1,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_XSKMAP`: AF_XDP sockets by queue; key and value are `u32`.
    Sockets = 17,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; NAME_BYTES],
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_BYTES],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct TestRunAttributes {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// The head of `struct bpf_prog_info`.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct ProgramInfo {
    prog_type: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; NAME_BYTES],
}

/// `struct bpf_link_info` as far as its XDP part goes.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct LinkInfo {
    link_type: u32,
    id: u32,
    prog_id: u32,
    padding: u32,
    ifindex: u32,
    rest: [u32; 7],
}

const _: () = assert!(size_of::<MapCreate>() == 44);
const _: () = assert!(size_of::<MapElement>() == 32);
const _: () = assert!(size_of::<ProgramLoad>() == 72);
const _: () = assert!(size_of::<TestRunAttributes>() == 80);
const _: () = assert!(size_of::<InfoByFd>() == 16);
const _: () = assert!(size_of::<LinkCreate>() == 16);
const _: () = assert!(size_of::<LinkUpdate>() == 16);
const _: () = assert!(core::mem::offset_of!(ProgramInfo, name) == 64);
const _: () = assert!(core::mem::offset_of!(LinkInfo, ifindex) == 16);

/// One call of bpf(2).
///
/// # Safety
/// `attributes` must be laid out as `command` reads it, and every address in it must be valid for what the command reads and writes there.
unsafe fn bpf<T: IntoBytes + Immutable>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes of an exclusive reference; T has no padding, and any bytes are a
    // valid T (all fields of the mirrored structs are integers). What lies behind addresses in it is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A call of bpf(2) that answers with a descriptor.
///
/// # Safety
/// As [`bpf`]; the command must be one that returns a new descriptor.
unsafe fn bpf_fd<T: IntoBytes + Immutable>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise is passed on.
    let descriptor = unsafe { bpf(command, attributes) }?;
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it. It is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A map.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    kind: MapKind,
    key_bytes: usize,
    value_bytes: usize,
}

impl Map {
    /// Makes a map. `name` is cut to 15 bytes; the kernel accepts letters, digits, `_` and `.`.
    ///
    /// # Errors
    /// EPERM without CAP_BPF; EINVAL, E2BIG or ENOMEM for sizes the kernel refuses.
    pub fn create(kind: MapKind, name: &str, key_bytes: u32, value_bytes: u32, entries: u32) -> io::Result<Self> {
        let mut attributes = MapCreate {
            map_type: kind as u32,
            key_size: key_bytes,
            value_size: value_bytes,
            max_entries: entries,
            map_flags: 0,
            inner_map_fd: 0,
            numa_node: 0,
            map_name: padded(name),
        };
        // SAFETY: the head of the MAP_CREATE attributes; there are no addresses in it; it returns a new descriptor.
        let fd = unsafe { bpf_fd(MAP_CREATE, &mut attributes) }?;
        Ok(Self { fd, kind, key_bytes: key_bytes as usize, value_bytes: value_bytes as usize })
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// EINVAL when a length is not the map's, or the map is per-CPU (those are written by programs only); E2BIG when the map is full.
    pub fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key.len() != self.key_bytes || value.len() != self.value_bytes || self.kind == MapKind::PerCpuArray {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attributes = self.element(key, value.as_ptr() as u64);
        // SAFETY: the kernel reads `key_bytes` at the key and, as the map is not per-CPU, `value_bytes` at the value: both checked.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }?;
        Ok(())
    }

    /// The value of a key, or `None`. A per-CPU array answers with one 8-byte-aligned value per possible CPU, and zeros behind them.
    ///
    /// # Errors
    /// EINVAL when the length of the key is not the map's; EOPNOTSUPP for kinds that cannot be read.
    pub fn look_up(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if key.len() != self.key_bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let room = match self.kind {
            MapKind::PerCpuArray => self.value_bytes.next_multiple_of(8) * CPUS_MAX,
            MapKind::Hash | MapKind::Sockets => self.value_bytes,
        };
        let mut value = vec![0_u8; room];
        let mut attributes = self.element(key, value.as_mut_ptr() as u64);
        // SAFETY: the kernel reads `key_bytes` at the key (checked) and writes the value: `value_bytes`, or for a per-CPU map that rounded
        // up to 8 times the number of possible CPUs, which CPUS_MAX bounds. The vector is that long and ours alone.
        match unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) } {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a key out; true if it was there.
    ///
    /// # Errors
    /// EINVAL when the length of the key is not the map's, or the kind cannot delete.
    pub fn delete(&self, key: &[u8]) -> io::Result<bool> {
        if key.len() != self.key_bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attributes = self.element(key, 0);
        // SAFETY: the kernel reads `key_bytes` at the key: checked.
        match unsafe { bpf(MAP_DELETE_ELEM, &mut attributes) } {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn element(&self, key: &[u8], value: u64) -> MapElement {
        MapElement { map_fd: raw(self.fd.as_fd()), padding: 0, key: key.as_ptr() as u64, value, flags: 0 }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A program the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}{log}", if log.is_empty() { "" } else { "\n" })]
pub struct LoadError {
    /// The kernel's answer: EPERM without the rights, EACCES or EINVAL from the verifier.
    pub error: io::Error,
    /// What the verifier said; empty when it did not come to that.
    pub log: String,
}

/// A loaded XDP program.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

/// What [`Program::test_run`] saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The program's answer (`enum xdp_action`).
    pub action: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// Mean duration of one run in ns.
    pub duration_ns: u32,
}

impl Program {
    /// Loads an XDP program that copes with multi-buffer packets. `name` as in [`Map::create`].
    ///
    /// # Errors
    /// The kernel's refusal, with the verifier's log if there is one.
    pub fn load(name: &str, instructions: &[Instruction]) -> Result<Self, LoadError> {
        let without_log = match Self::try_load(name, instructions, &mut []) {
            Ok(program) => return Ok(program),
            Err(error) => error,
        };
        if without_log.raw_os_error() == Some(libc::EPERM) {
            return Err(LoadError { error: without_log, log: String::new() });
        }
        // Once more for the log; a level with no failure would cost every start.
        let mut log = vec![0_u8; LOG_BYTES];
        match Self::try_load(name, instructions, &mut log) {
            Ok(program) => Ok(program),
            Err(error) => {
                let text = log.split(|&byte| byte == 0).next().unwrap_or_default();
                Err(LoadError { error, log: String::from_utf8_lossy(text).trim_end().to_owned() })
            }
        }
    }

    fn try_load(name: &str, instructions: &[Instruction], log: &mut [u8]) -> io::Result<Self> {
        /// The verifier gives up with EAGAIN when a signal arrives; libbpf tries five times too.
        const ATTEMPTS: usize = 5;
        let mut outcome = Err(io::ErrorKind::Interrupted.into());
        for _ in 0..ATTEMPTS {
            let mut attributes = ProgramLoad {
                prog_type: PROG_TYPE_XDP,
                insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
                insns: instructions.as_ptr() as u64,
                license: c"MIT".as_ptr() as u64,
                log_level: u32::from(!log.is_empty()),
                log_size: u32::try_from(log.len()).map_err(io::Error::other)?,
                log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
                kern_version: 0,
                prog_flags: PROG_HAS_FRAGS,
                prog_name: padded(name),
                prog_ifindex: 0,
                expected_attach_type: ATTACH_XDP,
            };
            // SAFETY: the kernel reads `insn_cnt` instructions of 8 bytes and a C string, and writes at most `log_size` bytes of the log;
            // all three outlive the call. It returns a new descriptor.
            outcome = unsafe { bpf_fd(PROG_LOAD, &mut attributes) }.map(|fd| Self { fd });
            match &outcome {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                _ => break,
            }
        }
        outcome
    }

    /// Runs the program once over `frame` (at least 14 bytes), as if it had come in on queue 0 (BPF_PROG_TEST_RUN). Nothing is redirected or sent.
    ///
    /// # Errors
    /// EINVAL for a frame the kernel cannot take, EPERM without rights.
    pub fn test_run(&self, frame: &[u8]) -> io::Result<TestRun> {
        let mut out = vec![0_u8; frame.len()];
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut attributes = TestRunAttributes {
            prog_fd: raw(self.fd.as_fd()),
            retval: 0,
            data_size_in: length,
            data_size_out: length,
            data_in: frame.as_ptr() as u64,
            data_out: out.as_mut_ptr() as u64,
            repeat: 1,
            duration: 0,
            ctx_size_in: 0,
            ctx_size_out: 0,
            ctx_in: 0,
            ctx_out: 0,
            flags: 0,
            cpu: 0,
            batch_size: 0,
            padding: 0,
        };
        // SAFETY: the kernel reads `data_size_in` bytes of the frame and writes at most `data_size_out` bytes (as it was before
        // the call) of the vector; the contexts are absent.
        unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
        out.truncate(attributes.data_size_out as usize);
        Ok(TestRun { action: attributes.retval, frame: out, duration_ns: attributes.duration })
    }

    /// The id under which the kernel knows the program.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn id(&self) -> io::Result<u32> {
        Ok(program_info(self.fd.as_fd())?.id)
    }

    /// Attaches the program to an interface. The link goes with the value, and with the process.
    ///
    /// # Errors
    /// EBUSY (another program), EEXIST (attached in the other mode), EOPNOTSUPP, ERANGE, ENOSPC, EPERM, ENODEV, ...
    pub fn attach(&self, ifindex: u32, mode: LinkMode) -> io::Result<Link> {
        let mut attributes =
            LinkCreate { prog_fd: raw(self.fd.as_fd()), target_ifindex: ifindex, attach_type: ATTACH_XDP, flags: mode as u32 };
        // SAFETY: the head of the LINK_CREATE attributes, without addresses; it returns a new descriptor.
        let fd = unsafe { bpf_fd(LINK_CREATE, &mut attributes) }?;
        Ok(Link { fd })
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How a link hooks into an interface (`XDP_FLAGS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LinkMode {
    /// In the network stack, after the socket buffer was made: `XDP_FLAGS_SKB_MODE`.
    Skb = 2,
    /// In the driver: `XDP_FLAGS_DRV_MODE`.
    Native = 4,
}

/// An attachment. Closing its descriptor, by drop or by death, detaches the program.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

impl Link {
    /// The id under which `bpftool link` knows it.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn id(&self) -> io::Result<u32> {
        Ok(link_info(self.fd.as_fd())?.id)
    }

    /// Puts another program into the place of the attached one, without a moment in which there is none.
    ///
    /// # Errors
    /// What the driver or the kernel answers; the program from before stays attached then.
    pub fn update(&self, program: &Program) -> io::Result<()> {
        let (link_fd, new_prog_fd) = (raw(self.fd.as_fd()), raw(program.as_fd()));
        let mut attributes = LinkUpdate { link_fd, new_prog_fd, flags: 0, old_prog_fd: 0 };
        // SAFETY: the LINK_UPDATE attributes: descriptors and flags, no addresses.
        unsafe { bpf(LINK_UPDATE, &mut attributes) }?;
        Ok(())
    }
}

/// The name of any loaded program. Needs CAP_SYS_ADMIN.
///
/// # Errors
/// ENOENT when there is no such program, EPERM without rights.
pub fn program_name(id: u32) -> io::Result<String> {
    let mut attributes = ById { id, next_id: 0, open_flags: 0 };
    // SAFETY: an id and flags, no addresses; it returns a new descriptor.
    let fd = unsafe { bpf_fd(PROG_GET_FD_BY_ID, &mut attributes) }?;
    let info = program_info(fd.as_fd())?;
    let name = info.name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// The id of the link that holds program `program` on interface `ifindex`; `None` when it is attached without a link. Needs CAP_SYS_ADMIN.
///
/// # Errors
/// EPERM without rights.
pub fn xdp_link(program: u32, ifindex: u32) -> io::Result<Option<u32>> {
    /// Links come and go while they are listed; nobody has this many.
    const LINKS_MAX: usize = 100_000;
    let mut after = 0;
    for _ in 0..LINKS_MAX {
        let mut next = ById { id: after, next_id: 0, open_flags: 0 };
        // SAFETY: ids, no addresses; the kernel writes the next id into the attributes.
        match unsafe { bpf(LINK_GET_NEXT_ID, &mut next) } {
            Ok(_) => after = next.next_id,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut by_id = ById { id: after, next_id: 0, open_flags: 0 };
        // SAFETY: an id and flags, no addresses; it returns a new descriptor.
        let Ok(fd) = (unsafe { bpf_fd(LINK_GET_FD_BY_ID, &mut by_id) }) else { continue };
        let Ok(info) = link_info(fd.as_fd()) else { continue };
        if info.link_type == LINK_TYPE_XDP && info.prog_id == program && info.ifindex == ifindex {
            return Ok(Some(after));
        }
    }
    Ok(None)
}

fn program_info(fd: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut info = ProgramInfo::new_zeroed();
    let mut attributes =
        InfoByFd { bpf_fd: raw(fd), info_len: size_of::<ProgramInfo>() as u32, info: std::ptr::from_mut(&mut info) as u64 };
    // SAFETY: the kernel reads and writes at most `info_len` bytes at `info`, which is that long; its counts and addresses
    // are zero, so it follows none of them.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

fn link_info(fd: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::new_zeroed();
    let mut attributes =
        InfoByFd { bpf_fd: raw(fd), info_len: size_of::<LinkInfo>() as u32, info: std::ptr::from_mut(&mut info) as u64 };
    // SAFETY: the kernel reads and writes at most `info_len` bytes at `info`, which is that long; all zero, so the kinds of link that
    // write names elsewhere find neither address nor length.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd().unsigned_abs()
}

fn padded(name: &str) -> [u8; NAME_BYTES] {
    let mut out = [0; NAME_BYTES];
    for (to, from) in out.iter_mut().zip(name.bytes().take(NAME_BYTES - 1)) {
        *to = from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_closing_zero() {
        assert_eq!(padded("steer"), *b"steer\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(padded("a_name_that_is_too_long"), *b"a_name_that_is_\0");
    }
}
