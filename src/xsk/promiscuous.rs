//! Receiving what is addressed to others: for who takes an interface whole.
//!
//! Made at start by whoever carries frames for other hosts (`launch::whole`). A membership of an AF_PACKET socket (packet(7),
//! PACKET_MR_PROMISC): the kernel counts it, and it goes with the descriptor, also when the process is killed. Cannot panic.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::capability::Right;
use super::nic::Nic;
use crate::error::SetupError;

/// An interface takes all frames while this lives.
#[derive(Debug)]
pub struct Promiscuous {
    _socket: OwnedFd,
}

impl Promiscuous {
    /// Has the interface take frames for any address.
    ///
    /// # Errors
    /// CAP_NET_RAW is missing, or the interface is gone.
    pub fn on(nic: &Nic) -> Result<Self, SetupError> {
        let what = format!("have {} receive all frames", nic.name());
        // Protocol 0: the socket itself receives nothing.
        let socket =
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None).map_err(|errno| match errno {
                rustix::io::Errno::PERM => Right::NetRaw.missing_for(&what),
                errno => SetupError::environment(format!("cannot {what}"), errno.to_string()),
            })?;
        let membership = libc::packet_mreq {
            mr_ifindex: libc::c_int::try_from(nic.index()).unwrap_or(0),
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        let len = size_of::<libc::packet_mreq>() as libc::socklen_t;
        // SAFETY: the pointer and the length are those of a live `packet_mreq`, which the kernel only reads.
        let status = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const membership).cast(),
                len,
            )
        };
        if status < 0 {
            return Err(SetupError::environment(format!("cannot {what}"), io::Error::last_os_error().to_string()));
        }
        Ok(Self { _socket: socket })
    }
}
