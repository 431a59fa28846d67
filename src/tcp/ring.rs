//! A byte ring over one block of the pool: the storage of the send and of the receive queue.
//!
//! Offsets count from the oldest byte. The ring does not know which of its bytes mean something; the two queues do. Writing
//! beyond the capacity is a fault of ours (asserted in debug builds) and cuts the bytes, it does not panic in release.

use super::pool::{Block, BufferPool, block_size};

/// The storage. Without a block its capacity is zero.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq))]
pub(super) struct Ring {
    block: Option<Block>,
    /// Position of the oldest byte in the block.
    head: u32,
}

impl Ring {
    /// Bytes it can hold.
    pub(super) fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.len())
    }

    /// Makes sure of room for `len` bytes in all, moving into a larger block if need be; `false` when the pool has none.
    pub(super) fn reserve(&mut self, len: usize, pool: &mut BufferPool) -> bool {
        if len <= self.capacity() {
            return true;
        }
        let Some(mut larger) = pool.take(len) else { return false };
        if let Some(old) = self.block.take() {
            let [front, back] = parts(&old, self.head, 0, old.len());
            larger[..front.len()].copy_from_slice(front);
            larger[front.len()..front.len() + back.len()].copy_from_slice(back);
            pool.give(old);
        }
        self.block = Some(larger);
        self.head = 0;
        true
    }

    /// Begins with a block, if there is one and it has none; true when it has one then.
    pub(super) fn adopt(&mut self, block: Option<Block>) -> bool {
        if self.block.is_none() {
            self.head = 0;
            self.block = block;
        }
        self.block.is_some()
    }

    /// Moves the first `len` bytes into the smallest block that holds them, if that is a smaller one and the pool has it.
    pub(super) fn shrink(&mut self, len: usize, pool: &mut BufferPool) {
        if len == 0 {
            self.release(pool);
            return;
        }
        if self.capacity() <= block_size(len) {
            return;
        }
        let Some(mut smaller) = pool.take(len) else { return };
        let [front, back] = self.read(0, len);
        smaller[..front.len()].copy_from_slice(front);
        smaller[front.len()..front.len() + back.len()].copy_from_slice(back);
        self.release(pool);
        self.block = Some(smaller);
    }

    /// Writes bytes at an offset.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        debug_assert!(offset + bytes.len() <= self.capacity(), "room was reserved");
        let Some(block) = &mut self.block else { return };
        let bytes = &bytes[..bytes.len().min(block.len().saturating_sub(offset))];
        let start = (self.head as usize + offset) & (block.len() - 1);
        let front = bytes.len().min(block.len() - start);
        block[start..start + front].copy_from_slice(&bytes[..front]);
        if front < bytes.len() {
            block[..bytes.len() - front].copy_from_slice(&bytes[front..]);
        }
    }

    /// `len` bytes from an offset, in two parts where they wrap; what lies beyond the capacity is left out.
    pub(super) fn read(&self, offset: usize, len: usize) -> [&[u8]; 2] {
        match &self.block {
            Some(block) => parts(block, self.head, offset, len),
            None => [&[], &[]],
        }
    }

    /// Forgets the `n` oldest bytes.
    pub(super) fn advance(&mut self, n: usize) {
        let mask = self.capacity().saturating_sub(1);
        self.head = ((self.head as usize + n) & mask) as u32;
    }

    /// Gives the block back.
    pub(super) fn release(&mut self, pool: &mut BufferPool) {
        self.head = 0;
        if let Some(block) = self.block.take() {
            pool.give(block);
        }
    }
}

fn parts(block: &[u8], head: u32, offset: usize, len: usize) -> [&[u8]; 2] {
    let len = len.min(block.len().saturating_sub(offset));
    let start = (head as usize + offset) & (block.len() - 1);
    let front = len.min(block.len() - start);
    [&block[start..start + front], &block[..len - front]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Bytes come out as they went in, through any number of wraps and growths.
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0usize..3000, 0usize..3000), 1..40)) {
            let mut pool = BufferPool::new(1 << 20);
            let mut ring = Ring::default();
            let mut model = std::collections::VecDeque::new();
            let mut next = 0u8;
            for (put, get) in steps {
                let bytes: Vec<u8> = (0..put).map(|_| { next = next.wrapping_add(1); next }).collect();
                prop_assert!(ring.reserve(model.len() + put, &mut pool));
                ring.write(model.len(), &bytes);
                model.extend(bytes);
                prop_assert_eq!(ring.read(0, model.len()).concat(), model.iter().copied().collect::<Vec<_>>());
                let get = get.min(model.len());
                model.drain(..get);
                ring.advance(get);
            }
            ring.release(&mut pool);
            prop_assert_eq!(pool.in_use(), 0);
        }
    }

    #[test]
    fn without_a_block_nothing_is_there() {
        let ring = Ring::default();
        assert_eq!(ring.capacity(), 0);
        assert_eq!(ring.read(0, 10), [&[] as &[u8], &[]]);
    }
}
