//! Memory mapped from the kernel: the UMEM's pages and the pages of the rings.
//!
//! A [`Mapping`] unmaps itself when dropped. It hands out pointers that it has checked against its bounds; what they may be used
//! for is the business of `umem` and `ring`. Nothing here panics.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A mapped range of memory, readable and writable, of this process for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the value, not to the thread that made it; munmap may be called from any thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference gives out raw pointers only; who dereferences them answers for what is behind them.
unsafe impl Sync for Mapping {}

/// What kind of pages carry a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages of 2 MiB: fewer TLB misses.
    Huge,
    /// Pages of the ordinary size.
    Ordinary,
}

impl Pages {
    /// The word that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Huge => "huge",
            Self::Ordinary => "ordinary",
        }
    }
}

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;

impl Mapping {
    /// Zeroed memory of at least `len` bytes, every page of it present already, so that no packet waits for a page fault.
    ///
    /// # Errors
    /// What mmap(2) says; `ENOMEM` above all when no huge pages are set aside and `Pages::Huge` is asked for.
    pub(crate) fn anonymous(len: usize, pages: Pages) -> io::Result<Self> {
        let (len, kind) = match pages {
            Pages::Huge => (len.next_multiple_of(HUGE_PAGE), MapFlags::HUGETLB | MapFlags::HUGE_2MB),
            Pages::Ordinary => (len, MapFlags::empty()),
        };
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE | kind;
        // SAFETY: no address is asked for, so nothing that exists is replaced.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
        Self::owned(base, len)
    }

    /// The pages of a ring of the socket: `len` bytes from the page offset that names the ring (`XDP_PGOFF_*`).
    ///
    /// # Errors
    /// What mmap(2) says.
    pub(crate) fn of_socket(socket: BorrowedFd<'_>, len: usize, page_offset: u64) -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: no address is asked for, so nothing that exists is replaced.
        let base = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags, socket, page_offset) }?;
        Self::owned(base, len)
    }

    fn owned(base: *mut c_void, len: usize) -> io::Result<Self> {
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap gave the address zero"))?;
        Ok(Self { base, len })
    }

    /// The first byte.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// A pointer to `count` values of `T` at `offset`, or `None` when they do not lie in the mapping or not aligned.
    pub(crate) fn slice_at<T>(&self, offset: u64, count: usize) -> Option<NonNull<T>> {
        let offset = usize::try_from(offset).ok()?;
        let end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
        let address = self.base.as_ptr().wrapping_add(offset);
        (end <= self.len && address.addr().is_multiple_of(align_of::<T>())).then(|| NonNull::new(address.cast()))?
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are what mmap gave and got, and nobody else unmaps them. The pointers handed out live in values that
        // own the mapping beside them. A failure would leak address space and nothing else.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_or_askew_is_refused() {
        let mapping = Mapping::anonymous(4096, Pages::Ordinary).unwrap();
        assert!(mapping.slice_at::<u64>(0, 512).is_some());
        assert!(mapping.slice_at::<u64>(8, 512).is_none(), "one beyond the end");
        assert!(mapping.slice_at::<u64>(4, 1).is_none(), "not aligned");
        assert!(mapping.slice_at::<u64>(u64::MAX, 1).is_none());
        assert!(mapping.slice_at::<u64>(0, usize::MAX).is_none());
    }
}
