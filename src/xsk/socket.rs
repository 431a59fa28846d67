//! One AF_XDP socket: the system calls, one method each, and nothing else.
//!
//! `open` calls them in the order the kernel wants, `queue` kicks and wakes. Errors are the kernel's own; `open` turns them into
//! words. Closing the descriptor ends everything that belongs to it. Nothing here panics.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with};

use super::abi::{
    SO_BUSY_POLL_BUDGET, SO_PREFER_BUSY_POLL, XDP_MAX_TX_SKB_BUDGET, sockaddr_xdp, xdp_mmap_offsets, xdp_options, xdp_statistics,
};
use super::config::BusyPoll;
use super::umem::Umem;

/// The descriptor.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// A ring of a socket, by the option that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    Receive,
    Transmit,
    Fill,
    Completion,
}

impl Ring {
    const fn option(self) -> libc::c_int {
        match self {
            Self::Receive => libc::XDP_RX_RING,
            Self::Transmit => libc::XDP_TX_RING,
            Self::Fill => libc::XDP_UMEM_FILL_RING,
            Self::Completion => libc::XDP_UMEM_COMPLETION_RING,
        }
    }

    /// The offset to mmap the ring at.
    pub(crate) const fn page_offset(self) -> u64 {
        match self {
            Self::Receive => libc::XDP_PGOFF_RX_RING as u64,
            Self::Transmit => libc::XDP_PGOFF_TX_RING as u64,
            Self::Fill => libc::XDP_UMEM_PGOFF_FILL_RING,
            Self::Completion => libc::XDP_UMEM_PGOFF_COMPLETION_RING,
        }
    }
}

impl Socket {
    /// socket(AF_XDP, SOCK_RAW). `EPERM` without CAP_NET_RAW.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?))
    }

    /// Registers the UMEM (`XDP_UMEM_REG`). `ENOBUFS` above the memlock limit without CAP_IPC_LOCK.
    pub(crate) fn register(&self, umem: &Umem) -> io::Result<()> {
        self.set(libc::SOL_XDP, libc::XDP_UMEM_REG, &umem.registration())
    }

    /// Makes a ring of `entries`, a power of two.
    pub(crate) fn make_ring(&self, ring: Ring, entries: u32) -> io::Result<()> {
        self.set(libc::SOL_XDP, ring.option(), &entries)
    }

    /// Where in the rings' pages the indices and slots lie.
    pub(crate) fn offsets(&self) -> io::Result<xdp_mmap_offsets> {
        // SAFETY: the structure consists of integers.
        unsafe { self.option(libc::XDP_MMAP_OFFSETS) }
    }

    /// Lets one kick send up to `entries` descriptors in copy mode; the TX ring exists already.
    pub(crate) fn set_transmit_budget(&self, entries: u32) -> io::Result<()> {
        self.set(libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &entries)
    }

    /// Prefers busy polling. `EPERM` without CAP_NET_ADMIN.
    pub(crate) fn set_busy_poll(&self, busy_poll: BusyPoll) -> io::Result<()> {
        let int = |value: u32| libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
        self.set(libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1)?;
        self.set(libc::SOL_SOCKET, libc::SO_BUSY_POLL, &int(busy_poll.timeout_us))?;
        self.set(libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &int(busy_poll.budget))
    }

    /// Binds to a queue of an interface; with `shared`, to the UMEM of that socket, and then the flags are its.
    pub(crate) fn bind(&self, interface: u32, queue: u32, flags: u16, shared: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let address = sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            // A socket that shares may ask for nothing else: the kernel answers EINVAL.
            sxdp_flags: if shared.is_some() { libc::XDP_SHARED_UMEM } else { flags },
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: shared.map_or(0, |first| first.as_raw_fd().cast_unsigned()),
        };
        let len = size_of::<sockaddr_xdp>() as libc::socklen_t;
        // SAFETY: the pointer and the length are those of a live `sockaddr_xdp`, which the kernel only reads.
        let status = unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), len) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// True when the bound socket is zero-copy (`XDP_OPTIONS`).
    pub(crate) fn is_zero_copy(&self) -> io::Result<bool> {
        // SAFETY: the structure consists of integers.
        let options: xdp_options = unsafe { self.option(libc::XDP_OPTIONS) }?;
        Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// The kernel's counts (`XDP_STATISTICS`).
    pub(crate) fn statistics(&self) -> io::Result<xdp_statistics> {
        // SAFETY: the structure consists of integers.
        unsafe { self.option(libc::XDP_STATISTICS) }
    }

    /// Asks the kernel to send what is in the TX ring.
    pub(crate) fn kick(&self) -> io::Result<()> {
        rustix::net::send(&self.0, &[], SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Asks the driver to receive: to look at the fill ring again, or to poll its queue.
    pub(crate) fn wake(&self) -> io::Result<()> {
        let nothing: &mut [u8] = &mut [];
        rustix::net::recv(&self.0, nothing, RecvFlags::DONTWAIT)?;
        Ok(())
    }

    fn set<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        let len = size_of::<T>() as libc::socklen_t;
        // SAFETY: the pointer and the length are those of a live value, which the kernel only reads.
        let status = unsafe { libc::setsockopt(self.0.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), len) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reads an option of SOL_XDP; what an older kernel does not know of the structure stays zero.
    ///
    /// # Safety
    /// Any bytes are a `T`.
    unsafe fn option<T>(&self, name: libc::c_int) -> io::Result<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        let mut len = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to the pointer, and there are as many.
        let status =
            unsafe { libc::getsockopt(self.0.as_raw_fd(), libc::SOL_XDP, name, value.as_mut_ptr().cast(), &raw mut len) };
        if status < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all bytes are initialized, to zero or by the kernel, and any bytes are a `T` (the caller's promise).
        Ok(unsafe { value.assume_init() })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
