//! The retransmission queue: what the service gave and the peer has not acknowledged (RFC 9293 3.10.2).
//!
//! Its first byte has the sequence number SND.UNA. It holds a block of the pool only while it holds bytes.

use super::pool::BufferPool;
use super::ring::Ring;

/// Bytes from SND.UNA on, sent and unsent.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq))]
pub(super) struct SendQueue {
    ring: Ring,
    len: u32,
}

impl SendQueue {
    /// Bytes in the queue.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// True when it has neither bytes nor a block.
    pub(super) fn holds_nothing(&self) -> bool {
        self.len == 0 && self.ring.capacity() == 0
    }

    /// Appends what fits below `limit` and the pool can hold, and returns how much that was.
    pub(super) fn push(&mut self, bytes: &[u8], limit: usize, pool: &mut BufferPool) -> usize {
        let held = self.len as usize;
        let mut whole = (held + bytes.len()).min(limit);
        if whole > self.ring.capacity() {
            whole = whole.min(pool.grants_sending(whole).max(self.ring.capacity()));
            if !self.ring.reserve(whole, pool) {
                whole = whole.min(self.ring.capacity());
            }
        }
        let n = whole.saturating_sub(held);
        self.ring.write(held, &bytes[..n]);
        self.len += n as u32;
        n
    }

    /// `len` bytes from `offset` after SND.UNA.
    pub(super) fn slices(&self, offset: u32, len: u32) -> [&[u8]; 2] {
        let len = len.min(self.len.saturating_sub(offset));
        self.ring.read(offset as usize, len as usize)
    }

    /// Forgets the first `n` bytes: they are acknowledged.
    pub(super) fn acknowledge(&mut self, n: u32, pool: &mut BufferPool) {
        let n = n.min(self.len);
        self.len -= n;
        self.ring.advance(n as usize);
        if self.len == 0 {
            self.ring.release(pool);
        }
    }

    /// Forgets everything.
    pub(super) fn release(&mut self, pool: &mut BufferPool) {
        self.len = 0;
        self.ring.release(pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_fits() {
        let mut pool = BufferPool::new(1 << 20);
        let mut queue = SendQueue::default();
        assert_eq!(queue.push(&[1; 5000], 6000, &mut pool), 5000);
        assert_eq!(queue.push(&[2; 5000], 6000, &mut pool), 1000);
        assert_eq!(queue.push(&[3; 1], 6000, &mut pool), 0);
        assert_eq!(queue.slices(4999, 2).concat(), [1, 2]);
        assert_eq!(queue.slices(5999, 10).concat(), [2]);
        queue.acknowledge(6000, &mut pool);
        assert_eq!((queue.len(), pool.in_use()), (0, 0));
    }

    #[test]
    fn an_empty_pool_leaves_what_the_block_still_holds() {
        let mut pool = BufferPool::new(8192);
        let mut queue = SendQueue::default();
        assert_eq!(queue.push(&[1; 4000], 100_000, &mut pool), 4000);
        assert_eq!(queue.push(&[2; 4000], 100_000, &mut pool), 96);
        assert_eq!(SendQueue::default().push(&[2; 4000], 100_000, &mut pool), 0);
        queue.release(&mut pool);
        assert_eq!(pool.in_use(), 0);
    }
}
