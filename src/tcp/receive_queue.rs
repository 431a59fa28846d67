//! What was received and not yet taken by the service, and what lies beyond a hole (RFC 9293 3.10.7.4, seventh).
//!
//! One ring holds both: unread bytes at its front, out-of-order bytes at the offset where they belong, so that filling a hole
//! copies nothing. In-order bytes that the service takes at once never come here.

use super::pool::BufferPool;
use super::ranges::{Range, Ranges};
use super::ring::Ring;
use super::seq::SeqNum;
use crate::device::Drop;

/// Unread and out-of-order bytes. Offsets are relative to RCV.NXT, which the caller knows.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq))]
pub(super) struct ReceiveQueue {
    ring: Ring,
    /// Bytes in order, before RCV.NXT.
    unread: u32,
    beyond: Option<Box<Ranges>>,
}

impl ReceiveQueue {
    /// Bytes in order that wait for the service.
    pub(super) const fn unread(&self) -> u32 {
        self.unread
    }

    /// True when there is something beyond a hole.
    pub(super) const fn has_hole(&self) -> bool {
        self.beyond.is_some()
    }

    /// The sequence number after the farthest byte beyond a hole.
    pub(super) fn farthest(&self) -> Option<SeqNum> {
        self.beyond.as_ref().and_then(|ranges| ranges.end())
    }

    /// Makes sure that `n` more in-order bytes can be kept.
    pub(super) fn reserve(&mut self, n: usize, pool: &mut BufferPool) -> bool {
        self.ring.reserve(self.unread as usize + n, pool)
    }

    /// Appends in-order bytes; [`ReceiveQueue::reserve`] has made room.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.ring.write(self.unread as usize, bytes);
        self.unread += bytes.len() as u32;
    }

    /// Keeps bytes that lie beyond a hole.
    pub(super) fn keep_beyond(&mut self, next: SeqNum, seq: SeqNum, bytes: &[u8], pool: &mut BufferPool) -> Result<(), Drop> {
        let range = Range { left: seq, right: seq + bytes.len() as u32 };
        if self.beyond.as_ref().is_some_and(|ranges| !ranges.has_room_for(range)) {
            return Err(Drop::TcpReassemblyFull);
        }
        let offset = (seq - next) as usize;
        if !self.reserve(offset + bytes.len(), pool) {
            return Err(Drop::TcpNoBuffer);
        }
        if self.beyond.is_none() {
            self.beyond = pool.take_ranges();
        }
        let Some(ranges) = &mut self.beyond else {
            self.tidy(pool);
            return Err(Drop::TcpNoBuffer);
        };
        ranges.insert(range);
        self.ring.write(self.unread as usize + offset, bytes);
        Ok(())
    }

    /// Joins what lies beyond a hole that ends at or before `next`, and returns the new RCV.NXT.
    pub(super) fn join(&mut self, next: SeqNum, pool: &mut BufferPool) -> SeqNum {
        let Some(ranges) = &mut self.beyond else { return next };
        let reached = ranges.reach(next);
        self.unread += reached - next;
        if ranges.is_empty()
            && let Some(ranges) = self.beyond.take()
        {
            pool.give_ranges(ranges);
        }
        reached
    }

    /// The front part of the unread bytes; the rest, where the ring wraps, follows when this is consumed.
    pub(super) fn front(&self) -> &[u8] {
        self.ring.read(0, self.unread as usize)[0]
    }

    /// Forgets the first `n` unread bytes: the service has taken them.
    pub(super) fn consume(&mut self, n: usize, pool: &mut BufferPool) {
        let n = n.min(self.unread as usize);
        self.unread -= n as u32;
        self.ring.advance(n);
        self.tidy(pool);
    }

    /// Gives an empty block back.
    pub(super) fn tidy(&mut self, pool: &mut BufferPool) {
        if self.unread == 0 && self.beyond.is_none() {
            self.ring.release(pool);
        }
    }

    /// Forgets everything.
    pub(super) fn release(&mut self, pool: &mut BufferPool) {
        self.unread = 0;
        if let Some(ranges) = self.beyond.take() {
            pool.give_ranges(ranges);
        }
        self.ring.release(pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: SeqNum = SeqNum(u32::MAX - 3);

    #[test]
    fn a_filled_hole_makes_the_rest_readable_without_a_copy() {
        let mut pool = BufferPool::new(1 << 20);
        let mut queue = ReceiveQueue::default();
        assert_eq!(queue.keep_beyond(NEXT, NEXT + 3, b"def", &mut pool), Ok(()));
        assert_eq!(queue.keep_beyond(NEXT, NEXT + 8, b"ij", &mut pool), Ok(()));
        assert!(queue.reserve(3, &mut pool));
        queue.append(b"abc");
        assert_eq!(queue.join(NEXT + 3, &mut pool), NEXT + 6);
        assert_eq!(queue.front(), b"abcdef");
        assert!(queue.has_hole());
        queue.consume(4, &mut pool);
        assert!(queue.reserve(2, &mut pool));
        queue.append(b"gh");
        assert_eq!(queue.join(NEXT + 8, &mut pool), NEXT + 10);
        assert_eq!(queue.front(), b"efghij");
        queue.consume(6, &mut pool);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn without_memory_nothing_changes() {
        let mut pool = BufferPool::new(4096);
        let mut queue = ReceiveQueue::default();
        assert_eq!(queue.keep_beyond(NEXT, NEXT + 1, b"x", &mut pool), Err(Drop::TcpNoBuffer));
        assert_eq!(queue.keep_beyond(NEXT, NEXT + 5000, b"x", &mut pool), Err(Drop::TcpNoBuffer));
        assert_eq!((pool.in_use(), queue.has_hole()), (0, false));
    }
}
