//! The smallest XDP program there is for AF_XDP: everything goes to the socket of its queue. For these tests only.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// The program on an interface; taken off with the value.
pub(crate) struct Redirect {
    _link: OwnedFd,
    _map: OwnedFd,
}

impl Redirect {
    /// Attaches to the interface, natively, and points each queue number to its socket.
    pub(crate) fn attach<Q: AsFd>(interface: u32, queues: &[(u32, &Q)]) -> io::Result<Self> {
        let map = create_map(64)?;
        for (queue, socket) in queues {
            update(&map, *queue, socket.as_fd().as_raw_fd())?;
        }
        let program = load(map.as_raw_fd())?;
        Ok(Self { _link: link(&program, interface)?, _map: map })
    }
}

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// One call of bpf(2) with the head of `union bpf_attr` as 64-bit words (little-endian pairs of 32 bits).
fn bpf(command: libc::c_long, attributes: &[u64]) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as the slice has; pointers in it are to values that live through the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: a descriptor that bpf(2) has just made, and that nobody else knows of.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

fn create_map(entries: u32) -> io::Result<OwnedFd> {
    bpf(BPF_MAP_CREATE, &[pair(BPF_MAP_TYPE_XSKMAP, 4), pair(4, entries)]).map(owned)
}

fn update(map: &OwnedFd, queue: u32, socket: i32) -> io::Result<()> {
    let addresses = [&raw const queue as u64, &raw const socket as u64];
    bpf(BPF_MAP_UPDATE_ELEM, &[map.as_raw_fd() as u64, addresses[0], addresses[1], 0]).map(drop)
}

fn load(map: i32) -> io::Result<OwnedFd> {
    const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
        code as u64 | (registers as u64) << 8 | (offset as u16 as u64) << 16 | (immediate as u32 as u64) << 32
    }
    let program = [
        instruction(0x61, 0x12, 16, 0),  // r2 = *(u32 *)(r1 + rx_queue_index)
        instruction(0x18, 0x11, 0, map), // r1 = map
        instruction(0x00, 0x00, 0, 0),
        instruction(0xb7, 0x03, 0, 2),  // r3 = XDP_PASS, when there is no socket
        instruction(0x85, 0x00, 0, 51), // r0 = bpf_redirect_map(r1, r2, r3)
        instruction(0x95, 0x00, 0, 0),  // return r0
    ];
    let license = c"GPL";
    let attributes = [
        pair(BPF_PROG_TYPE_XDP, program.len() as u32),
        program.as_ptr() as u64,
        license.as_ptr() as u64,
        0,
        0,
        pair(0, BPF_F_XDP_HAS_FRAGS),
    ];
    bpf(BPF_PROG_LOAD, &attributes).map(owned)
}

fn link(program: &OwnedFd, interface: u32) -> io::Result<OwnedFd> {
    bpf(BPF_LINK_CREATE, &[pair(program.as_raw_fd() as u32, interface), pair(BPF_XDP, XDP_FLAGS_DRV_MODE)]).map(owned)
}
