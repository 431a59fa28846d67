//! Membership of a multicast group, by the kernel: it speaks IGMP and MLD, and has the NIC receive the group's frames.
//!
//! Made at start by `launch`, before frames of the group are steered. It belongs to a socket that receives nothing, since it is bound to no port, and goes with
//! the descriptor, also when the process is killed. Cannot panic.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::nic::Nic;
use crate::error::SetupError;

/// The host belongs to a group on an interface while this lives.
#[derive(Debug)]
pub struct Membership {
    _socket: OwnedFd,
}

impl Membership {
    /// Joins a group, of any source when none is named.
    ///
    /// # Errors
    /// The kernel refuses: the interface is gone, or there are more sources than it allows.
    pub fn join(nic: &Nic, group: IpAddr, sources: &[IpAddr]) -> Result<Self, SetupError> {
        let joined = Self::try_join(nic.index(), group, sources);
        joined.map_err(|error| {
            let refused = SetupError::environment(format!("cannot join the group {group} on {}", nic.name()), error.to_string());
            let bound = if group.is_ipv4() { "net.ipv4.igmp_max_msf" } else { "net.ipv6.mld_max_msf" };
            match error.raw_os_error() {
                Some(libc::ENOBUFS) => refused.mend(format!("sudo sysctl -w {bound}={}", sources.len())),
                _ => refused,
            }
        })
    }

    fn try_join(ifindex: u32, group: IpAddr, sources: &[IpAddr]) -> io::Result<Self> {
        let family = if group.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        match group {
            _ if !sources.is_empty() => {
                sources.iter().try_for_each(|&source| join_source(&socket, ifindex, group, source))?;
            }
            IpAddr::V4(group) => {
                sockopt::set_ip_add_membership_with_ifindex(&socket, &group, &Ipv4Addr::UNSPECIFIED, ifindex)?;
            }
            IpAddr::V6(group) => sockopt::set_ipv6_add_membership(&socket, &group, ifindex)?,
        }
        Ok(Self { _socket: socket })
    }
}

/// `struct group_source_req` of linux/in.h.
#[repr(C)]
struct GroupSourceReq {
    interface: u32,
    group: Storage,
    source: Storage,
}

/// `struct __kernel_sockaddr_storage`.
#[repr(C, align(8))]
struct Storage([u8; 128]);

const _: () = assert!(size_of::<GroupSourceReq>() == 264);

impl Storage {
    /// A `sockaddr_in` or a `sockaddr_in6` without a port.
    fn of(address: IpAddr) -> Self {
        let mut bytes = [0; 128];
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        match address {
            IpAddr::V4(address) => bytes[4..8].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes[8..24].copy_from_slice(&address.octets()),
        }
        Self(bytes)
    }
}

/// Joins a group for one source (RFC 3678 5.1: by the number of the interface, which may have no address of the kernel).
fn join_source(socket: &OwnedFd, interface: u32, group: IpAddr, source: IpAddr) -> io::Result<()> {
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let request = GroupSourceReq { interface, group: Storage::of(group), source: Storage::of(source) };
    let len = size_of::<GroupSourceReq>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a live `group_source_req`, which the kernel only reads.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, MCAST_JOIN_SOURCE_GROUP, (&raw const request).cast(), len) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// linux/in.h.
const MCAST_JOIN_SOURCE_GROUP: libc::c_int = 46;
