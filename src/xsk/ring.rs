//! The four rings of a socket, over the memory the kernel shares.
//!
//! [`Producer`] is our end of the fill ring and the TX ring, [`Consumer`] our end of the RX ring and the completion ring. The memory
//! is reached through atomics and checked offsets only; the order of accesses is the cursors'. Owned by one queue and never
//! shared between threads. Does not know what the entries mean: `pool` checks them. Nothing here panics.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::abi::{AddressSlot, DescriptorSlot, xdp_ring_offset};
use super::cursor::{ConsumerCursor, ProducerCursor};
use super::mapping::{Mapping, Pages};

/// A packet in the UMEM (`struct xdp_desc`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Byte offset in the UMEM.
    pub addr: u64,
    /// Bytes of the packet.
    pub len: u32,
    /// `XDP_PKT_CONTD` and the like.
    pub options: u32,
}

/// What a ring holds.
pub(crate) trait Slot {
    /// The entry as a value.
    type Entry;
    /// Reads the entry.
    fn read(&self) -> Self::Entry;
    /// Writes the entry.
    fn write(&self, entry: Self::Entry);
}

// The accesses to the slots are Relaxed: the Release store and Acquire load of the indices order them.
impl Slot for AddressSlot {
    type Entry = u64;

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn write(&self, entry: u64) {
        self.0.store(entry, Ordering::Relaxed);
    }
}

impl Slot for DescriptorSlot {
    type Entry = Descriptor;

    fn read(&self) -> Descriptor {
        Descriptor {
            addr: self.addr.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
            options: self.options.load(Ordering::Relaxed),
        }
    }

    fn write(&self, entry: Descriptor) {
        self.addr.store(entry.addr, Ordering::Relaxed);
        self.len.store(entry.len, Ordering::Relaxed);
        self.options.store(entry.options, Ordering::Relaxed);
    }
}

/// The memory of one ring: two indices, the flags and the slots.
#[derive(Debug)]
struct Memory<S> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<S>,
    size: u32,
    // The pointers above point into it; it goes with the last of them.
    _mapping: Arc<Mapping>,
}

// SAFETY: the pointers lead into the mapping that the value keeps, to atomics only.
unsafe impl<S: Sync> Send for Memory<S> {}

impl<S> Memory<S> {
    fn new(mapping: Arc<Mapping>, offsets: &xdp_ring_offset, size: u32) -> io::Result<Self> {
        let lie = || io::Error::other("the kernel reported ring offsets beyond the mapped ring");
        Ok(Self {
            producer: mapping.slice_at(offsets.producer, 1).ok_or_else(lie)?,
            consumer: mapping.slice_at(offsets.consumer, 1).ok_or_else(lie)?,
            flags: mapping.slice_at(offsets.flags, 1).ok_or_else(lie)?,
            slots: mapping.slice_at(offsets.desc, size as usize).ok_or_else(lie)?,
            size,
            _mapping: mapping,
        })
    }

    fn of_socket(socket: BorrowedFd<'_>, page_offset: u64, offsets: &xdp_ring_offset, size: u32) -> io::Result<Self> {
        let bytes = usize::try_from(offsets.desc).ok().and_then(|desc| desc.checked_add(size as usize * size_of::<S>()));
        let bytes = bytes.ok_or_else(|| io::Error::other("the kernel reported an impossible ring offset"))?;
        Self::new(Arc::new(Mapping::of_socket(socket, bytes, page_offset)?), offsets, size)
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: checked when made to lie aligned in the mapping, which lives as long as `self`; mapped zeroes are a valid atomic.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn need_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        let flags = unsafe { self.flags.as_ref() };
        // Relaxed, as libbpf does: the flag is a hint, and the kick it asks for is a system call.
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    fn slot(&self, index: usize) -> &S {
        // The cursors count modulo the size; the mask says so to who reads only this line.
        let index = index & (self.size as usize - 1);
        // SAFETY: `size` slots from here on lie in the mapping (checked when made), and the index is below `size`.
        let slot = unsafe { self.slots.add(index) };
        // SAFETY: the slot lies aligned in the mapping, which lives as long as `self`; slots consist of atomics.
        unsafe { slot.as_ref() }
    }
}

/// Our end of a ring that we fill.
#[derive(Debug)]
pub(crate) struct Producer<S> {
    memory: Memory<S>,
    cursor: ProducerCursor,
}

/// Fill ring: chunks for the kernel to receive into.
pub(crate) type FillRing = Producer<AddressSlot>;
/// TX ring: packets for the kernel to send.
pub(crate) type TransmitRing = Producer<DescriptorSlot>;

impl<S: Slot> Producer<S> {
    /// Maps the ring of `size` (a power of two) entries that `page_offset` names.
    ///
    /// # Errors
    /// What mmap(2) says, or that the kernel's offsets do not fit.
    pub(crate) fn map(socket: BorrowedFd<'_>, page_offset: u64, offsets: &xdp_ring_offset, size: u32) -> io::Result<Self> {
        Memory::of_socket(socket, page_offset, offsets, size).map(Self::over)
    }

    fn over(memory: Memory<S>) -> Self {
        let start = memory.producer().load(Ordering::Relaxed);
        let cursor = ProducerCursor::new(start, memory.size);
        Self { memory, cursor }
    }

    /// How many entries can be written, looked up only when fewer than `wanted` are known to fit.
    pub(crate) fn room(&mut self, wanted: u32) -> u32 {
        self.cursor.room(wanted, self.memory.consumer())
    }

    /// Writes one entry, not yet visible to the kernel; false when there is no room.
    #[must_use]
    pub(crate) fn write(&mut self, entry: S::Entry) -> bool {
        self.cursor.claim().map(|slot| self.memory.slot(slot).write(entry)).is_some()
    }

    /// Shows the kernel what was written since the last time; how many entries that was.
    pub(crate) fn publish(&mut self) -> u32 {
        self.cursor.publish(self.memory.producer())
    }

    /// Published entries that the kernel has not taken yet.
    pub(crate) fn outstanding(&mut self) -> u32 {
        self.cursor.outstanding(self.memory.consumer())
    }

    /// True when the kernel asks to be woken (`XDP_RING_NEED_WAKEUP`).
    pub(crate) fn need_wakeup(&self) -> bool {
        self.memory.need_wakeup()
    }

    /// How often the kernel's index was impossible.
    pub(crate) const fn lies(&self) -> u64 {
        self.cursor.lies()
    }
}

/// Our end of a ring that we empty.
#[derive(Debug)]
pub(crate) struct Consumer<S> {
    memory: Memory<S>,
    cursor: ConsumerCursor,
}

/// RX ring: packets the kernel has received.
pub(crate) type ReceiveRing = Consumer<DescriptorSlot>;
/// Completion ring: packets the kernel has sent.
pub(crate) type CompletionRing = Consumer<AddressSlot>;

impl<S: Slot> Consumer<S> {
    /// Maps the ring of `size` (a power of two) entries that `page_offset` names.
    ///
    /// # Errors
    /// What mmap(2) says, or that the kernel's offsets do not fit.
    pub(crate) fn map(socket: BorrowedFd<'_>, page_offset: u64, offsets: &xdp_ring_offset, size: u32) -> io::Result<Self> {
        Memory::of_socket(socket, page_offset, offsets, size).map(Self::over)
    }

    fn over(memory: Memory<S>) -> Self {
        let start = memory.consumer().load(Ordering::Relaxed);
        let cursor = ConsumerCursor::new(start, memory.size);
        Self { memory, cursor }
    }

    /// How many entries wait, looked up only when fewer than `wanted` are known.
    pub(crate) fn available(&mut self, wanted: u32) -> u32 {
        self.cursor.available(wanted, self.memory.producer())
    }

    /// The oldest waiting entry; `None` when none is known ([`Self::available`] looks).
    pub(crate) fn read(&mut self) -> Option<S::Entry> {
        self.cursor.take().map(|slot| self.memory.slot(slot).read())
    }

    /// Gives the slots of all entries read back to the kernel.
    pub(crate) fn release(&mut self) {
        self.cursor.release(self.memory.consumer());
    }

    /// How often the kernel's index was impossible.
    pub(crate) const fn lies(&self) -> u64 {
        self.cursor.lies()
    }
}

/// Both ends of an empty ring of at least so many entries (a power of two), over memory of this process alone.
///
/// # Errors
/// What mmap(2) says, or that no ring has so many entries.
pub(crate) fn pair<S: Slot>(entries: u32) -> io::Result<(Producer<S>, Consumer<S>)> {
    // As the kernel does, each index in a cache line of its own.
    let offsets = xdp_ring_offset { producer: 0, consumer: 64, flags: 128, desc: 192 };
    let size = entries.checked_next_power_of_two().ok_or(io::ErrorKind::InvalidInput)?;
    let bytes = offsets.desc as usize + size as usize * size_of::<S>();
    let mapping = Arc::new(Mapping::anonymous(bytes, Pages::Ordinary)?);
    let memory = || Memory::new(Arc::clone(&mapping), &offsets, size);
    Ok((Producer::over(memory()?), Consumer::over(memory()?)))
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
