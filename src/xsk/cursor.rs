//! Ring indices: who is how far in a ring that the kernel shares with us.
//!
//! A ring has two indices in shared memory, the producer's and the consumer's, both counted up for ever modulo 2^32; the slot is the
//! index modulo the size, a power of two. Each side writes one of them and reads the other, so a cursor keeps its own index and a
//! copy of the other side's, and looks into shared memory only when the copy does not suffice. The protocol is the one of the kernel
//! (net/xdp/xsk_queue.h) and of libbpf (xsk.h): the producer fills slots and then stores its index with Release; the consumer loads
//! that with Acquire, reads the slots and stores its own index with Release, which the producer loads with Acquire.
//!
//! What the kernel writes is checked, not trusted: an index that would mean more entries than the ring has is a lie, counted and
//! taken as nothing new. Used by `ring` only. Pure arithmetic: no memory, no panic. The atomics are a trait so that loom can watch.

/// An index in shared memory.
pub(crate) trait SharedIndex {
    /// Loads the index of the other side, with Acquire: the slots it covers are ours afterwards.
    fn load_acquire(&self) -> u32;
    /// Stores our own index, with Release: what we did to the slots before is visible to who loads it.
    fn store_release(&self, value: u32);
}

impl SharedIndex for std::sync::atomic::AtomicU32 {
    fn load_acquire(&self) -> u32 {
        self.load(std::sync::atomic::Ordering::Acquire)
    }

    fn store_release(&self, value: u32) {
        self.store(value, std::sync::atomic::Ordering::Release);
    }
}

/// The two indices as one side sees them: `own` is ours, `other` our copy of the other side's.
#[derive(Debug)]
struct Cursor {
    own: u32,
    other: u32,
    size: u32,
    lies: u64,
}

impl Cursor {
    /// `size` is rounded up to a power of two, at most 2^31.
    const fn new(start: u32, size: u32) -> Self {
        let size = if size > 1 << 31 { 1 << 31 } else { size.next_power_of_two() };
        Self { own: start, other: start, size, lies: 0 }
    }

    /// Takes over a new value of the other side's index if it can be true: it moved by at most `possible`.
    const fn observe(&mut self, index: u32, possible: u32) {
        if index.wrapping_sub(self.other) <= possible {
            self.other = index;
        } else {
            self.lies += 1;
        }
    }

    const fn advance(&mut self) -> usize {
        let slot = self.own & (self.size - 1);
        self.own = self.own.wrapping_add(1);
        slot as usize
    }
}

/// Our side of a ring that we fill (fill ring, TX ring).
#[derive(Debug)]
pub(crate) struct ProducerCursor {
    cursor: Cursor,
    published: u32,
}

impl ProducerCursor {
    /// A cursor for an empty ring of `size` slots whose indices both stand at `start`.
    pub(crate) const fn new(start: u32, size: u32) -> Self {
        Self { cursor: Cursor::new(start, size), published: start }
    }

    /// How many slots are free, as far as needed: looks at the consumer's index only when fewer than `wanted` are known to be.
    pub(crate) fn room(&mut self, wanted: u32, consumer: &impl SharedIndex) -> u32 {
        if self.known_room() < wanted {
            self.refresh(consumer);
        }
        self.known_room()
    }

    /// The next free slot, or `None` when no free slot is known: ask [`Self::room`] first.
    pub(crate) const fn claim(&mut self) -> Option<usize> {
        if self.known_room() == 0 { None } else { Some(self.cursor.advance()) }
    }

    /// Hands all claimed slots to the consumer; they must be filled. Returns how many there were.
    pub(crate) fn publish(&mut self, producer: &impl SharedIndex) -> u32 {
        let count = self.cursor.own.wrapping_sub(self.published);
        if count > 0 {
            producer.store_release(self.cursor.own);
            self.published = self.cursor.own;
        }
        count
    }

    /// How many published entries the consumer has not taken yet.
    pub(crate) fn outstanding(&mut self, consumer: &impl SharedIndex) -> u32 {
        self.refresh(consumer);
        self.published.wrapping_sub(self.cursor.other)
    }

    /// How often the consumer's index was impossible.
    pub(crate) const fn lies(&self) -> u64 {
        self.cursor.lies
    }

    const fn known_room(&self) -> u32 {
        // At most `size` entries are ever unconsumed: claim() refuses more, and observe() refuses an index that passes ours.
        self.cursor.size - self.cursor.own.wrapping_sub(self.cursor.other)
    }

    fn refresh(&mut self, consumer: &impl SharedIndex) {
        self.cursor.observe(consumer.load_acquire(), self.published.wrapping_sub(self.cursor.other));
    }
}

/// Our side of a ring that we empty (RX ring, completion ring).
#[derive(Debug)]
pub(crate) struct ConsumerCursor {
    cursor: Cursor,
    released: u32,
}

impl ConsumerCursor {
    /// A cursor for an empty ring of `size` slots whose indices both stand at `start`.
    pub(crate) const fn new(start: u32, size: u32) -> Self {
        Self { cursor: Cursor::new(start, size), released: start }
    }

    /// How many entries wait, as far as needed: looks at the producer's index only when fewer than `wanted` are known.
    pub(crate) fn available(&mut self, wanted: u32, producer: &impl SharedIndex) -> u32 {
        if self.known() < wanted {
            // Slots not yet released cannot have been filled again.
            let possible = self.cursor.size - self.cursor.other.wrapping_sub(self.released);
            self.cursor.observe(producer.load_acquire(), possible);
        }
        self.known()
    }

    /// The next waiting slot, or `None` when none is known: ask [`Self::available`] first.
    pub(crate) const fn take(&mut self) -> Option<usize> {
        if self.known() == 0 { None } else { Some(self.cursor.advance()) }
    }

    /// Gives all taken slots back to the producer; they must have been read.
    pub(crate) fn release(&mut self, consumer: &impl SharedIndex) {
        if self.released != self.cursor.own {
            consumer.store_release(self.cursor.own);
            self.released = self.cursor.own;
        }
    }

    /// How often the producer's index was impossible.
    pub(crate) const fn lies(&self) -> u64 {
        self.cursor.lies
    }

    const fn known(&self) -> u32 {
        self.cursor.other.wrapping_sub(self.cursor.own)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod watched;
