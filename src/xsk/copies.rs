//! Copies of frames that the XDP program passes because the kernel needs them too (packet(7)).
//!
//! Read by the control thread. An AF_PACKET socket of one EtherType, bound to one interface, with a filter in the kernel: it sees what native
//! and generic XDP pass, and nothing of what they redirect or what the host sends. The filter is there before the socket is bound, so that nothing else
//! ever enters its queue. Cannot panic.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, SockFilter, Socket, Type};

use super::capability::Right;
use super::nic::Nic;
use crate::error::SetupError;

/// Frames of one EtherType that a filter takes.
#[derive(Debug)]
pub struct Copies {
    socket: Socket,
}

impl Copies {
    /// Reads copies on an interface. `filter` sees the frame from its Ethernet header on and says how many bytes of it are kept, 0 for none.
    ///
    /// # Errors
    /// CAP_NET_RAW is missing, or the interface is gone.
    pub fn open(nic: &Nic, ethertype: u16, filter: &[SockFilter]) -> Result<Self, SetupError> {
        let what = format!("read copies of frames on {}", nic.name());
        Self::try_open(nic.index(), ethertype, filter).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Right::NetRaw.missing_for(&what),
            _ => SetupError::environment(format!("cannot {what}"), error.to_string()),
        })
    }

    fn try_open(ifindex: u32, ethertype: u16, filter: &[SockFilter]) -> io::Result<Self> {
        // Protocol 0: it receives nothing before it is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.attach_filter(filter)?;
        socket.set_nonblocking(true)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::c_ushort,
            sll_protocol: ethertype.to_be(),
            sll_ifindex: libc::c_int::try_from(ifindex).unwrap_or(0),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointer and the length are those of a live `sockaddr_ll`, which the kernel only reads.
        let status = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { socket }) }
    }

    /// The next copy, cut to the length of `room`; `None` when there is none.
    pub fn next(&self, room: &mut [u8]) -> Option<usize> {
        rustix::net::recv(&self.socket, room, rustix::net::RecvFlags::DONTWAIT).ok().map(|(len, _)| len)
    }
}

impl AsRawFd for Copies {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
