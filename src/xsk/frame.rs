//! The token of one frame of the UMEM.
//!
//! Whoever holds a [`UmemFrame`] owns the bytes of its chunk: there is one token at most for a chunk, and none while the kernel has it.
//! Tokens are made by `pool` alone. A token may go to another thread, and may outlive the queue it came from: it keeps its
//! memory alive. One that is dropped instead of being recycled or sent goes back to its queue by itself, and is counted
//! ([`super::XskQueue::dropped_frames`]). Nothing here panics.

use std::mem::{ManuallyDrop, forget};
use std::sync::Arc;

use super::umem::{Umem, send_home};
use crate::device::Frame;

/// One frame of an AF_XDP queue: see [`Frame`].
///
/// It goes wherever it is sent, and there are never two of it:
///
/// ```compile_fail,E0599
/// # use ringway::xsk::UmemFrame;
/// fn twice(frame: UmemFrame) -> [UmemFrame; 2] {
///     [frame.clone(), frame]
/// }
/// ```
#[derive(Debug)]
pub struct UmemFrame {
    umem: Arc<Umem>,
    index: u32,
    /// Where the frame begins in its chunk: 0 when it was allocated, behind the headroom when it was received.
    offset: u16,
    /// `offset + len` is at most the chunk: asserted where a token is made, kept by `set_len`.
    len: u16,
}

const _: () = assert!(size_of::<UmemFrame>() == 16, "a burst of 64 is 16 cache lines");

const fn may_change_threads<T: Send>() {}
const _: () = may_change_threads::<UmemFrame>();
const _: () = may_change_threads::<super::XskQueue>();

impl UmemFrame {
    /// Makes the token of a frame anew, out of its parked reference. The caller has checked that `offset + len` lies in the chunk;
    /// a larger length is cut.
    ///
    /// # Safety
    /// `index` is a frame of `umem`, its reference is parked, and the kernel does not have it. The caller forgets about the index:
    /// it is on no list and in no ring any more.
    pub(crate) unsafe fn unpark(umem: &Arc<Umem>, index: u32, offset: u16, len: u16) -> Self {
        // SAFETY: the pointer is that of a live Arc, and the parked reference is the count that this one stands for.
        let umem = unsafe { Arc::from_raw(Arc::as_ptr(umem)) };
        let offset = offset.min(umem.chunk_bytes() as u16);
        let len = len.min(umem.chunk_bytes() as u16 - offset);
        Self { umem, index, offset, len }
    }

    /// Gives the token up and leaves its reference behind, for a list or a ring that keeps the index.
    pub(crate) fn park(self) -> (u32, u16, u16) {
        let frame = ManuallyDrop::new(self);
        (frame.index, frame.offset, frame.len)
    }

    /// The UMEM the frame belongs to.
    pub(crate) const fn umem(&self) -> &Arc<Umem> {
        &self.umem
    }

    /// The place of the queue the frame belongs to.
    pub(crate) fn home(&self) -> u16 {
        self.umem.home_of(self.index)
    }

    /// Sends the frame to the queue it belongs to, from whatever thread.
    pub(crate) fn go_home(self) {
        let frame = ManuallyDrop::new(self);
        frame.leave_home();
        // The reference is parked; `umem` of the token was forgotten with it.
    }

    fn leave_home(&self) {
        // A reference of our own, because the parked one may be given up before send_home returns.
        let umem = self.umem.clone();
        // SAFETY: the caller forgets this token, which parks its reference, and a token's frame is on no list and in no ring.
        unsafe { send_home(&umem, self.index) };
    }

    fn start(&self) -> *mut u8 {
        self.umem.chunk_of(self.index).wrapping_add(usize::from(self.offset))
    }
}

impl Frame for UmemFrame {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the bytes lie in the frame's chunk (offset + len is at most the chunk), which is mapped, zeroed at first, as long as
        // `self.umem` lives. No other token exists, and the kernel does not write a chunk that is in no ring.
        unsafe { std::slice::from_raw_parts(self.start(), usize::from(self.len)) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start(), usize::from(self.len)) }
    }

    fn set_len(&mut self, len: usize) -> usize {
        let len = len.min(self.capacity());
        self.len = len as u16;
        len
    }

    fn capacity(&self) -> usize {
        self.umem.chunk_bytes() - usize::from(self.offset)
    }
}

impl Drop for UmemFrame {
    fn drop(&mut self) {
        self.umem.count_dropped();
        // The field `umem` is dropped after this, so a reference more is left behind for the one that is parked.
        forget(self.umem.clone());
        self.leave_home();
    }
}
