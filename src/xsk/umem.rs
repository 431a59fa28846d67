//! The UMEM: one range of memory per interface, cut into chunks, one frame each.
//!
//! Made by `open` before the first socket of an interface, shared by the sockets of all its queues, and unmapped when the last
//! queue and the last frame are gone. For each frame it says who owns it: the program (as a token, `UmemFrame`, or on a free list)
//! or a ring of one queue. That state, not the ring, decides whether something that comes back from the kernel becomes a
//! frame again, so that a ring that repeats itself, or invents addresses, cannot make two tokens for one chunk.
//!
//! **References.** Every frame of the pool stands for one reference to the UMEM, counted from the start. A token carries it as its
//! `Arc`; when the frame goes to a free list or to the kernel, the reference is left behind ("parked") and taken up again when
//! the token is made anew. So packets cost no atomic increments, and a token that outlives its queue still has its memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering, fence};

use crossbeam::queue::ArrayQueue;

use super::abi::xdp_umem_reg;
use super::mapping::{Mapping, Pages};

/// Who owns a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The program: on a free list, on the way home, or a token in somebody's hands.
    User,
    /// The receive side of the queue with this place: in its fill ring, or in its RX ring.
    Receive(u16),
    /// The send side of the queue with this place: in its TX ring, or in its completion ring.
    Transmit(u16),
}

impl Owner {
    // Two bits of kind below 14 bits of place.
    const fn encode(self) -> u16 {
        match self {
            Self::User => 0,
            Self::Receive(place) => place << 2 | 1,
            Self::Transmit(place) => place << 2 | 2,
        }
    }

    const fn decode(state: u16) -> Self {
        match state & 3 {
            1 => Self::Receive(state >> 2),
            2 => Self::Transmit(state >> 2),
            _ => Self::User,
        }
    }
}

/// How many queues one UMEM may serve: what the owner state has room for.
pub(crate) const PLACES_MAX: usize = 1 << 14;

/// The frames of one interface. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Umem {
    mapping: Mapping,
    pages: Pages,
    chunk_shift: u32,
    home_shift: u32,
    frames: u32,
    /// Written by whoever holds the frame, or by the queue whose ring holds it; read by all queues of the interface.
    owners: Box<[AtomicU16]>,
    homes: Box<[Home]>,
    /// Frames whose token was dropped instead of being given back. Written by any thread.
    dropped: AtomicU64,
}

/// The way home for frames of one queue that end elsewhere.
#[derive(Debug)]
struct Home {
    /// Room for every frame of the queue, so that a push cannot fail. Pushed by any thread, popped by the queue's.
    returned: ArrayQueue<u32>,
    /// The queue is gone: nobody pops any more, and the references of what is pushed are to be given up.
    closed: AtomicBool,
}

impl Umem {
    /// As [`Umem::with_pages`], on huge pages when there are any.
    #[cfg(test)]
    pub(crate) fn new(queues: usize, frames_per_queue: u32, chunk: usize) -> io::Result<Self> {
        Self::with_pages(queues, frames_per_queue, chunk, Pages::Huge)
    }

    /// A UMEM for `queues` queues with `frames_per_queue` frames each, of `chunk` bytes; both powers of two. Huge pages are taken when they
    /// are wanted and there are any. `Pool::all` makes it into the pools of the queues.
    ///
    /// # Errors
    /// What mmap(2) says; more frames than 2^31 or a chunk that is neither 2048 nor 4096 (the caller checked them).
    pub(crate) fn with_pages(queues: usize, frames_per_queue: u32, chunk: usize, wanted: Pages) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let frames = u32::try_from(queues).ok().and_then(|queues| queues.checked_mul(frames_per_queue)).ok_or_else(invalid)?;
        let bytes = (frames as usize).checked_mul(chunk).ok_or_else(invalid)?;
        if !frames_per_queue.is_power_of_two() || !matches!(chunk, 2048 | 4096) || queues > PLACES_MAX || frames > 1 << 31 {
            return Err(invalid());
        }
        let (mapping, pages) = match Mapping::anonymous(bytes, wanted) {
            Ok(mapping) => (mapping, wanted),
            Err(_) => (Mapping::anonymous(bytes, Pages::Ordinary)?, Pages::Ordinary),
        };
        let home = || Home { returned: ArrayQueue::new(frames_per_queue as usize), closed: AtomicBool::new(false) };
        Ok(Self {
            mapping,
            pages,
            chunk_shift: chunk.trailing_zeros(),
            home_shift: frames_per_queue.trailing_zeros(),
            frames,
            owners: (0..frames).map(|_| AtomicU16::new(Owner::User.encode())).collect(),
            homes: (0..queues).map(|_| home()).collect(),
            dropped: AtomicU64::new(0),
        })
    }

    /// What carries the frames: huge pages when there were any.
    pub(crate) const fn pages(&self) -> Pages {
        self.pages
    }

    /// Bytes of one chunk.
    pub(crate) const fn chunk_bytes(&self) -> usize {
        1 << self.chunk_shift
    }

    /// Bytes of all chunks.
    pub(crate) const fn bytes(&self) -> usize {
        (self.frames as usize) << self.chunk_shift
    }

    /// Frames whose token was dropped instead of being recycled or sent. They are not lost: they went home.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The registration of this memory with a socket (`XDP_UMEM_REG`).
    pub(crate) fn registration(&self) -> xdp_umem_reg {
        xdp_umem_reg {
            addr: self.mapping.base().as_ptr().expose_provenance() as u64,
            len: self.bytes() as u64,
            chunk_size: self.chunk_bytes() as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        }
    }

    /// How many queues there are.
    pub(crate) const fn places(&self) -> u16 {
        // At most PLACES_MAX, by `new`.
        self.homes.len() as u16
    }

    /// The frames of one queue.
    pub(crate) const fn frames_of(&self, place: u16) -> std::ops::Range<u32> {
        let first = (place as u32) << self.home_shift;
        first..first + (1 << self.home_shift)
    }

    /// All frames.
    pub(crate) const fn frames(&self) -> u32 {
        self.frames
    }

    /// The queue a frame belongs to.
    pub(crate) const fn home_of(&self, frame: u32) -> u16 {
        (frame >> self.home_shift) as u16
    }

    /// Where a frame's chunk begins in the UMEM.
    pub(crate) const fn address_of(&self, frame: u32) -> u64 {
        (frame as u64) << self.chunk_shift
    }

    /// Which frame an address lies in, and how far from its start; `None` beyond the UMEM.
    pub(crate) const fn locate(&self, address: u64) -> Option<(u32, u16)> {
        let frame = address >> self.chunk_shift;
        let offset = address & ((1 << self.chunk_shift) - 1);
        if frame < self.frames as u64 { Some((frame as u32, offset as u16)) } else { None }
    }

    /// The first byte of a frame's chunk.
    pub(crate) fn chunk_of(&self, frame: u32) -> *mut u8 {
        debug_assert!(frame < self.frames, "a frame of this UMEM");
        self.mapping.base().as_ptr().wrapping_add((frame as usize) << self.chunk_shift)
    }

    /// Who owns a frame. Relaxed is enough for the question that is asked, "is it in a ring of mine": only the queue itself
    /// writes that answer, and takes it away.
    pub(crate) fn owner(&self, frame: u32) -> Option<Owner> {
        self.owners.get(frame as usize).map(|state| Owner::decode(state.load(Ordering::Relaxed)))
    }

    /// Writes who owns a frame. What must be visible with it is ordered by the ring or queue that the frame goes through.
    pub(crate) fn set_owner(&self, frame: u32, owner: Owner) {
        if let Some(state) = self.owners.get(frame as usize) {
            state.store(owner.encode(), Ordering::Relaxed);
        }
    }

    /// Counts a token that was dropped.
    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many frames of a queue are on their way home.
    pub(crate) fn returning(&self, place: u16) -> usize {
        self.homes.get(usize::from(place)).map_or(0, |home| home.returned.len())
    }

    /// True when a frame of this queue has come home.
    pub(crate) fn has_returned(&self, place: u16) -> bool {
        self.homes.get(usize::from(place)).is_some_and(|home| !home.returned.is_empty())
    }

    /// A frame of this queue that has come home, its reference parked.
    pub(crate) fn returned(&self, place: u16) -> Option<u32> {
        self.homes.get(usize::from(place)).and_then(|home| home.returned.pop())
    }
}

/// Sends a frame to its queue, whose reference the caller parks with it. When that queue is gone, the reference is given up.
///
/// # Safety
/// The frame's reference is parked, and the frame is on no other list and in no ring.
pub(crate) unsafe fn send_home(umem: &Arc<Umem>, frame: u32) {
    let place = umem.home_of(frame);
    let Some(home) = umem.homes.get(usize::from(place)) else { return };
    let pushed = home.returned.push(frame);
    debug_assert!(pushed.is_ok(), "there is room for every frame of the queue");
    // Either close() below sees the frame, or we see that it closed: one of the two gives the reference up (store-buffering, hence
    // SeqCst on both sides).
    fence(Ordering::SeqCst);
    if home.closed.load(Ordering::SeqCst) {
        // SAFETY: what stands in the queue has its reference parked, and a frame that is popped is popped once.
        unsafe { give_up_returned(umem, home) };
    }
}

/// Says that a queue is gone: nobody takes its frames home any more.
///
/// # Safety
/// Called once for each place, by the owner of the queue, which pops no frames afterwards.
pub(crate) unsafe fn close(umem: &Arc<Umem>, place: u16) {
    let Some(home) = umem.homes.get(usize::from(place)) else { return };
    home.closed.store(true, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    // SAFETY: what stands in the queue has its reference parked, and a frame that is popped is popped once.
    unsafe { give_up_returned(umem, home) };
}

/// # Safety
/// The frames in the queue of `home` have their references parked.
unsafe fn give_up_returned(umem: &Arc<Umem>, home: &Home) {
    while home.returned.pop().is_some() {
        // SAFETY: the frame's parked reference; nobody else can take it up, since the frame is on no list any more.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(umem)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_survives_its_encoding() {
        for place in [0, 1, 77, (PLACES_MAX - 1) as u16] {
            for owner in [Owner::User, Owner::Receive(place), Owner::Transmit(place)] {
                assert_eq!(Owner::decode(owner.encode()), owner);
            }
        }
    }

    #[test]
    fn addresses_beyond_the_umem_belong_to_no_frame() {
        let umem = Umem::new(2, 8, 2048).unwrap();
        assert_eq!(umem.locate(0), Some((0, 0)));
        assert_eq!(umem.locate(15 * 2048 + 256), Some((15, 256)));
        assert_eq!(umem.locate(16 * 2048), None);
        assert_eq!(umem.locate(u64::MAX), None);
        assert_eq!(umem.locate(1 << 43), None, "not cut to 32 bits before it is compared");
        assert_eq!((umem.home_of(7), umem.home_of(8)), (0, 1));
    }

    #[test]
    fn only_the_chunks_the_kernel_accepts_are_accepted() {
        for chunk in [0, 1024, 2047, 8192] {
            assert!(Umem::new(1, 8, chunk).is_err(), "{chunk}");
        }
        assert!(Umem::new(1, 9, 2048).is_err());
        assert!(Umem::new(usize::MAX, 8, 2048).is_err());
    }
}
