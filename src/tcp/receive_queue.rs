//! What was received and not yet taken by the service, and what lies beyond a hole (RFC 9293 3.10.7.4, seventh).
//!
//! One ring holds both: unread bytes at its front, out-of-order bytes at the offset where they belong, so that filling a hole
//! copies nothing. In-order bytes that the service takes at once never come here.

use super::pool::{BufferPool, is_worth};
use super::ranges::{Range, Ranges, SACK_BLOCKS};
use super::ring::Ring;
use super::seq::SeqNum;
use crate::device::Drop;
use crate::wire::tcp::SackBlock;

/// Unread and out-of-order bytes. Offsets are relative to RCV.NXT, which the caller knows.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq))]
pub(super) struct ReceiveQueue {
    ring: Ring,
    /// Bytes in order, before RCV.NXT.
    unread: u32,
    beyond: Option<Box<Ranges>>,
    /// What the last segment brought that was here already, until the peer is told; empty when there is nothing to tell.
    duplicate: Range,
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

    /// True when there is nothing to read, to join or to report, and no block.
    pub(super) fn holds_nothing(&self) -> bool {
        self.unread == 0 && !self.has_report() && self.ring.capacity() == 0
    }

    /// The sequence number after the farthest byte beyond a hole.
    pub(super) fn farthest(&self) -> Option<SeqNum> {
        self.beyond.as_ref().and_then(|ranges| ranges.end())
    }

    /// Remembers what of an arriving segment is here already: the first such part, before `next` or beyond a hole. Nothing before `first`,
    /// which has never been received, counts. True when there is something. Duplicates that touch are told of as one when they come
    /// before an acknowledgment can leave, as the segments of one burst do.
    pub(super) fn note_duplicate(&mut self, first: SeqNum, next: SeqNum, segment: Range) -> bool {
        let before = Range { left: segment.left, right: segment.right.earliest(next) };
        let duplicate = if !before.is_empty() {
            // After 2^32 bytes this leaves out duplicates for a moment; it never lets one in that was not received.
            if before.left - first > next - first { Range::default() } else { before }
        } else {
            self.beyond.as_ref().map_or(Range::default(), |ranges| ranges.duplicate(segment))
        };
        if duplicate.is_empty() {
            return false;
        }
        if let Some(ranges) = &mut self.beyond {
            ranges.touch(duplicate.left);
        }
        let waiting = self.duplicate;
        self.duplicate = if waiting.is_empty() { duplicate } else { waiting.union(duplicate).unwrap_or(duplicate) };
        true
    }

    /// What a SACK option is to report, at most `most` blocks, and how many those are.
    pub(super) fn sack_blocks(&self, most: usize) -> ([SackBlock; SACK_BLOCKS], usize) {
        let mut blocks = [SackBlock::default(); SACK_BLOCKS];
        //= rfc2883#4
        //# When D-SACK is used, the first block of the SACK option should be a D-SACK block specifying the sequence numbers for the
        //# duplicate segment that triggers the acknowledgement.
        let duplicate = Some(self.duplicate).filter(|range| !range.is_empty());
        //= rfc2883#4
        //# If the D-SACK block reports a duplicate contiguous sequence from a (possibly larger) block of data in the receiver's data
        //# queue above the cumulative acknowledgement, then the second SACK block in that SACK option should specify that (possibly
        //# larger) block of data.
        let around = duplicate.and_then(|range| self.beyond.as_ref()?.around(range.left));
        let held = self.beyond.iter().flat_map(|ranges| ranges.report()).filter(|&range| Some(range) != around);
        let mut count = 0;
        for (block, range) in blocks.iter_mut().take(most).zip(duplicate.into_iter().chain(around).chain(held)) {
            *block = SackBlock { left: range.left, right: range.right };
            count += 1;
        }
        (blocks, count)
    }

    /// True when there is something to report selectively: nearly never.
    pub(super) const fn has_report(&self) -> bool {
        self.has_hole() || self.has_duplicate()
    }

    /// How many blocks [`ReceiveQueue::sack_blocks`] gives. Cheap.
    pub(super) fn sack_count(&self, most: usize) -> usize {
        let held = self.beyond.as_ref().map_or(0, |ranges| ranges.as_slice().len());
        (held + usize::from(self.has_duplicate())).min(most)
    }

    /// True when a duplicate is to be reported.
    pub(super) const fn has_duplicate(&self) -> bool {
        !self.duplicate.is_empty()
    }

    /// A segment with the report has left.
    pub(super) fn reported(&mut self) {
        //= rfc2883#4
        //# Each duplicate contiguous sequence of data received is reported in at most one D-SACK block.
        self.duplicate = Range::default();
    }

    /// Makes sure that `n` more in-order bytes can be kept.
    pub(super) fn reserve(&mut self, n: usize, pool: &mut BufferPool) -> bool {
        let needed = self.unread as usize + n;
        needed <= self.ring.capacity() || (pool.grants_in_order(needed, n) && self.ring.reserve(needed, pool))
    }

    /// The same for bytes that the service is offered first: where none are kept, nothing is taken from the pool yet, but set aside there
    /// until [`ReceiveQueue::keep`].
    pub(super) fn promise(&mut self, n: usize, pool: &mut BufferPool) -> bool {
        (self.ring.capacity() == 0 && pool.has_spare(n)) || self.reserve(n, pool)
    }

    /// Keeps bytes after [`ReceiveQueue::promise`].
    pub(super) fn keep(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        let kept = self.reserve(bytes.len(), pool) || self.ring.adopt(pool.take_spare());
        debug_assert!(kept, "accepting the payload has made sure of the storage");
        self.append(bytes);
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
        let needed = self.unread as usize + offset + bytes.len();
        if needed > self.ring.capacity() && !pool.grants_beyond(needed, self.held() + bytes.len()) {
            return Err(Drop::TcpNoBuffer);
        }
        if !self.ring.reserve(needed, pool) {
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
        ranges.touch(seq);
        self.ring.write(self.unread as usize + offset, bytes);
        Ok(())
    }

    /// Bytes kept, in order and beyond holes.
    fn held(&self) -> usize {
        (self.unread + self.beyond.as_ref().map_or(0, |ranges| ranges.bytes())) as usize
    }

    /// If the block is too large for what it holds: gives up what lies beyond holes, and moves what is unread into a smaller block. True when
    /// something was given up. A pool that has no smaller block now may have one the next time.
    pub(super) fn prune(&mut self, pool: &mut BufferPool) -> bool {
        if is_worth(self.ring.capacity(), self.held()) {
            return false;
        }
        let given_up = self.beyond.take();
        self.ring.shrink(self.unread as usize, pool);
        let Some(ranges) = given_up else { return false };
        pool.give_ranges(ranges);
        // A duplicate of what is gone is not to be reported.
        self.duplicate = Range::default();
        true
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
        // At an eighth, so that what comes and goes does not move from block to block.
        if pool.is_pressed() && self.beyond.is_none() && !is_worth(self.ring.capacity(), self.unread as usize) {
            self.ring.shrink(self.unread as usize, pool);
        }
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
        self.duplicate = Range::default();
        if let Some(ranges) = self.beyond.take() {
            pool.give_ranges(ranges);
        }
        self.ring.release(pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::pool::TINY;

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
    fn a_block_that_has_become_too_large_is_given_back_although_a_byte_is_unread() {
        let mut pool = BufferPool::new(128 * 1024);
        let mut queue = ReceiveQueue::default();
        assert!(queue.reserve(60_000, &mut pool));
        queue.append(&[5; 60_000]);
        let other = pool.take(32 * 1024).unwrap();
        queue.consume(50_000, &mut pool);
        assert_eq!(queue.ring.capacity(), 65_536, "an eighth is left and more");
        queue.consume(9_999, &mut pool);
        assert_eq!((queue.ring.capacity(), queue.front()), (TINY, &[5][..]));
        pool.give(other);
        queue.release(&mut pool);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn what_could_not_be_given_back_for_want_of_a_smaller_block_is_given_back_later() {
        let mut pool = BufferPool::new(64 * 1024 + TINY + 2 * size_of::<Ranges>());
        let mut queue = ReceiveQueue::default();
        assert!(queue.ring.reserve(60_000, &mut pool));
        queue.append(b"a");
        assert_eq!(queue.keep_beyond(NEXT, NEXT + 50_000, b"x", &mut pool), Ok(()));
        let other = pool.take(TINY).unwrap();
        assert!(queue.prune(&mut pool));
        assert_eq!((queue.ring.capacity(), queue.has_hole()), (65_536, false));
        assert!(!queue.prune(&mut pool), "nothing is left to give up");
        pool.give(other);
        assert!(!queue.prune(&mut pool));
        assert_eq!((queue.ring.capacity(), queue.front()), (TINY, &b"a"[..]));
        queue.release(&mut pool);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn without_memory_nothing_changes() {
        let mut pool = BufferPool::new(TINY);
        let mut queue = ReceiveQueue::default();
        assert_eq!(queue.keep_beyond(NEXT, NEXT + 1, b"x", &mut pool), Err(Drop::TcpNoBuffer));
        assert_eq!(queue.keep_beyond(NEXT, NEXT + 5000, b"x", &mut pool), Err(Drop::TcpNoBuffer));
        assert_eq!((pool.in_use(), queue.has_hole()), (0, false));
    }
}
