//! The frames of one queue: which are free, and what may come back from the kernel.
//!
//! Owned by a queue (`queue`), used by its thread only. All ways in which a frame changes hands between the program and the kernel
//! are here: the owner state is written when a frame is lent to a ring, and asked when something comes back from one. What
//! comes back and was not lent is a lie, counted and ignored. Nothing here panics or allocates after the start.

use std::sync::Arc;

use super::abi::ETH_HLEN;
use super::frame::UmemFrame;
use super::ring::Descriptor;
use super::umem::{Owner, Umem, close};
use crate::device::{Frame, FrameCensus};

/// The frames of one queue.
#[derive(Debug)]
pub(crate) struct Pool {
    umem: Arc<Umem>,
    place: u16,
    /// Frames at home, their references parked, on this list and nowhere else. Room for all of the queue's.
    free: Vec<u32>,
    lies: u64,
}

/// Why a frame was not lent to the TX ring.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It cannot be sent, ever: too short for the kernel, or too long for a chunk of this queue. It went back among the free ones.
    Unsendable,
    /// It belongs to another interface and no frame is free to copy it into: here it is again.
    NoFrame(UmemFrame),
}

impl Pool {
    /// The pools of all queues of a new UMEM, in the order of their places. Takes the UMEM by value, so that no place has two.
    pub(crate) fn all(umem: Umem) -> Vec<Self> {
        let umem = Arc::new(umem);
        (0..umem.places()).map(|place| Self::new(&umem, place)).collect()
    }

    /// Called once for each place, by `all` only.
    fn new(umem: &Arc<Umem>, place: u16) -> Self {
        // The highest index first, so that the first frame is taken first and memory is used from its start.
        let free: Vec<u32> = umem.frames_of(place).rev().collect();
        for _ in &free {
            // The references of the frames, parked from the start.
            std::mem::forget(umem.clone());
        }
        Self { umem: umem.clone(), place, free, lies: 0 }
    }

    /// The memory behind the frames.
    pub(crate) const fn umem(&self) -> &Arc<Umem> {
        &self.umem
    }

    /// Entries from the kernel that named no frame lent to it.
    pub(crate) const fn lies(&self) -> u64 {
        self.lies
    }

    /// A free frame of length zero.
    pub(crate) fn take(&mut self) -> Option<UmemFrame> {
        let index = self.free.pop()?;
        // SAFETY: what stands on the free list is a frame of this UMEM with its reference parked, and not with the kernel; it is off
        // the list now.
        Some(unsafe { UmemFrame::unpark(&self.umem, index, 0, 0) })
    }

    /// Puts a frame back: here when it belongs here, otherwise on its way home.
    pub(crate) fn put(&mut self, frame: UmemFrame) {
        if Arc::ptr_eq(frame.umem(), &self.umem) && frame.home() == self.place {
            let (index, ..) = frame.park();
            self.free.push(index);
        } else {
            frame.go_home();
        }
    }

    /// Takes in what other threads sent home.
    pub(crate) fn take_in_returned(&mut self) {
        // Taking from an empty queue costs a full fence, looking at it does not; this runs every turn.
        if !self.umem.has_returned(self.place) {
            return;
        }
        while let Some(index) = self.umem.returned(self.place) {
            self.free.push(index);
        }
    }

    /// Lends a free frame to the fill ring: the address to write there.
    pub(crate) fn lend_to_receive(&mut self) -> Option<u64> {
        let index = self.free.pop()?;
        self.umem.set_owner(index, Owner::Receive(self.place));
        Some(self.umem.address_of(index))
    }

    /// What came out of the RX ring as a frame, if it is one that was lent.
    pub(crate) fn received(&mut self, descriptor: Descriptor) -> Option<UmemFrame> {
        let Some((index, offset, len)) = self.check_received(descriptor) else {
            self.lies += 1;
            return None;
        };
        self.umem.set_owner(index, Owner::User);
        // SAFETY: the frame was lent to the receive side of this queue (its owner state says so, and only this thread writes that
        // state), so its reference is parked and it is on no list; the kernel has given it back, and cannot give it back again.
        Some(unsafe { UmemFrame::unpark(&self.umem, index, offset, len) })
    }

    fn check_received(&self, descriptor: Descriptor) -> Option<(u32, u16, u16)> {
        let (index, offset) = self.umem.locate(descriptor.addr)?;
        let len = u16::try_from(descriptor.len).ok()?;
        let fits = usize::from(offset) + usize::from(len) <= self.umem.chunk_bytes();
        (fits && self.umem.owner(index)? == Owner::Receive(self.place)).then_some((index, offset, len))
    }

    /// Lends a frame to the TX ring: the descriptor to write there. The caller has made sure that the ring has room.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) fn lend_to_transmit(&mut self, frame: UmemFrame) -> Result<Descriptor, Refused> {
        // The kernel skips a descriptor it does not like and never completes it: such a frame would be lost.
        if frame.bytes().len() < ETH_HLEN {
            self.put(frame);
            return Err(Refused::Unsendable);
        }
        let frame = if Arc::ptr_eq(frame.umem(), &self.umem) { frame } else { self.copied(frame)? };
        let (index, offset, len) = frame.park();
        self.umem.set_owner(index, Owner::Transmit(self.place));
        Ok(Descriptor { addr: self.umem.address_of(index) + u64::from(offset), len: u32::from(len), options: 0 })
    }

    /// True for a frame of this UMEM that has bytes: what [`Pool::lend_piece`] takes.
    pub(crate) fn may_lend(&self, frame: &UmemFrame) -> bool {
        Arc::ptr_eq(frame.umem(), &self.umem) && !frame.bytes().is_empty()
    }

    /// Lends a frame that is a part of a packet to the TX ring, as [`Pool::lend_to_transmit`] does with a whole one. One of another UMEM would be named
    /// wrongly: the caller has asked [`Pool::may_lend`].
    pub(crate) fn lend_piece(&mut self, frame: UmemFrame) -> Descriptor {
        debug_assert!(self.may_lend(&frame), "asked before");
        let (index, offset, len) = frame.park();
        self.umem.set_owner(index, Owner::Transmit(self.place));
        Descriptor { addr: self.umem.address_of(index) + u64::from(offset), len: u32::from(len), options: 0 }
    }

    /// Counts an entry that names a frame it may not.
    pub(crate) const fn count_lie(&mut self) {
        self.lies += 1;
    }

    /// Frames that are free.
    pub(crate) const fn free(&self) -> usize {
        self.free.len()
    }

    /// A frame of another interface cannot be lent to this one's rings: its bytes go into one of ours.
    fn copied(&mut self, foreign: UmemFrame) -> Result<UmemFrame, Refused> {
        let len = foreign.bytes().len();
        if len > self.umem.chunk_bytes() {
            foreign.go_home();
            return Err(Refused::Unsendable);
        }
        let Some(mut own) = self.take() else { return Err(Refused::NoFrame(foreign)) };
        own.set_len(len);
        own.bytes_mut().copy_from_slice(foreign.bytes());
        foreign.go_home();
        Ok(own)
    }

    /// Takes back a frame whose address came out of the completion ring, if it is one that was lent; true if so.
    pub(crate) fn completed(&mut self, address: u64) -> bool {
        let lent = self.umem.locate(address).filter(|&(index, _)| self.umem.owner(index) == Some(Owner::Transmit(self.place)));
        let Some((index, _)) = lent else {
            self.lies += 1;
            return false;
        };
        self.umem.set_owner(index, Owner::User);
        if self.umem.home_of(index) == self.place {
            self.free.push(index);
        } else {
            // SAFETY: the frame was lent to the send side of this queue (as in `received`): parked, on no list, and back.
            unsafe { UmemFrame::unpark(&self.umem, index, 0, 0) }.go_home();
        }
        true
    }

    /// Where the frames of this queue are. Exact while nobody else moves them; walks all of them.
    pub(crate) fn census(&self) -> FrameCensus {
        let mut census = FrameCensus { free: self.free.len() + self.umem.returning(self.place), ..FrameCensus::default() };
        for index in self.umem.frames_of(self.place) {
            census.total += 1;
            match self.umem.owner(index) {
                Some(Owner::Receive(_)) => census.receiving += 1,
                Some(Owner::Transmit(_)) => census.sending += 1,
                Some(Owner::User) | None => {}
            }
        }
        census
    }
}

impl Drop for Pool {
    /// Gives up the references of everything that will not become a token again. What is still in the kernel's rings stays there: its
    /// pages are pinned until the kernel is done with them, whatever we unmap.
    fn drop(&mut self) {
        let mut parked = self.free.len();
        self.free.clear();
        for index in 0..self.umem.frames() {
            match self.umem.owner(index) {
                Some(Owner::Receive(place) | Owner::Transmit(place)) if place == self.place => parked += 1,
                _ => {}
            }
        }
        for _ in 0..parked {
            // SAFETY: one parked reference for each frame that was on the free list or in a ring of this queue; nobody takes them up, as
            // this pool is the only one that could.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(&self.umem)) };
        }
        // SAFETY: this pool is the owner of its place, and pops no more.
        unsafe { close(&self.umem, self.place) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
