//! The memory of all streams of a core: blocks in size classes, never more than the budget.
//!
//! The queues of the TCBs take a block when they need one and give it back when they are empty, so that the memory of a core
//! follows the bytes in flight and not the number of connections. Blocks that came back wait in a free list per class: after
//! warm-up nothing is allocated. A pool that has nothing left says so (`None`); nothing here panics.
//!
//! What is short is dealt out by purpose, so that those who tie memory up cannot keep the others from receiving: see the `grants`.

use super::ranges::Ranges;
use super::recovery::{Record, Records};
use crate::limits::FLIGHT_RECORDS;

/// A block: its length is a power of two from [`TINY`] to [`LARGEST`] bytes.
pub(super) type Block = Box<[u8]>;

/// The blocks of one core. `Tcb::release` gives back what a connection holds; a block that is dropped instead stays counted.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq))]
pub struct BufferPool {
    budget: usize,
    /// Bytes of all blocks there are, handed out or free.
    made: usize,
    /// Bytes handed out.
    in_use: usize,
    /// Blocks handed out.
    holders: usize,
    free: [Vec<Block>; CLASSES],
    /// A small block, made sure of by [`BufferPool::has_spare`] and not yet needed.
    spare: Option<Block>,
    #[expect(clippy::vec_box, reason = "a list moves between pool and TCB as a pointer")]
    ranges: Vec<Box<Ranges>>,
    #[expect(clippy::vec_box, reason = "a list moves between pool and TCB as a pointer")]
    records: [Vec<Box<Records>>; RECORD_CLASSES.len()],
}

impl BufferPool {
    /// A pool that never holds more than `budget_bytes` of blocks, handed out and free together. It allocates as blocks are
    /// first asked for.
    pub fn new(budget_bytes: usize) -> Self {
        Self {
            budget: budget_bytes,
            made: 0,
            in_use: 0,
            holders: 0,
            free: std::array::from_fn(|_| Vec::new()),
            spare: None,
            ranges: Vec::new(),
            records: Default::default(),
        }
    }

    /// Bytes handed out and not yet given back: 0 when every connection has been released.
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Bytes of all blocks there are, handed out or free: what the streams needed at most.
    pub const fn allocated(&self) -> usize {
        self.made
    }

    /// True when more than half of the budget is handed out: then windows stop growing, new ones begin small, and what lies beyond
    /// holes must be worth its block.
    pub const fn is_pressed(&self) -> bool {
        self.in_use > self.budget / 2
    }

    /// True when data beyond a hole may have a block for `len` bytes, `held` of which it would fill.
    ///
    /// While less than half of the budget is in use it may have any. From there on a block must be filled to an eighth, or be a small one:
    /// whoever wants to tie up memory has to send an eighth of it. The last quarter is for data in order and data to be sent, in small
    /// blocks, without which nothing would ever get better.
    pub(super) fn grants_beyond(&self, len: usize, held: usize) -> bool {
        let size = block_size(len);
        let after = self.in_use.saturating_add(size);
        after <= self.budget / 2 || (is_worth(size, held) && after <= self.plenty())
    }

    /// How much of `len` bytes a send queue may hold: all of it up to three quarters of the budget, a small block up to seven eighths,
    /// and then nothing. Peers that ask for much and take nothing so leave to every other connection a block to answer from, and to data in
    /// order the last eighth.
    pub(super) fn grants_sending(&self, len: usize) -> usize {
        if self.in_use.saturating_add(block_size(len)) <= self.plenty() {
            len
        } else if self.in_use + SMALL <= self.budget - self.budget / 8 {
            len.min(SMALL)
        } else {
            0
        }
    }

    /// True when data in order may have a block for `len` bytes, the last `arrived` of which have just come. The last quarter is dealt out in
    /// small blocks, or those that one segment asks for: who takes what comes needs no more, and who leaves it holds no more.
    pub(super) fn grants_in_order(&self, len: usize, arrived: usize) -> bool {
        let size = block_size(len);
        size <= block_size(arrived).max(SMALL) || self.in_use.saturating_add(size) <= self.plenty()
    }

    /// What a connection may queue to be sent while buffers run short: as much as would let half of the budget do for all who hold a
    /// block, and a small block at least. A whole block.
    pub(super) fn share(&self) -> usize {
        let even = (self.budget / 2 / self.holders.max(1)).max(SMALL);
        1 << even.ilog2()
    }

    /// Up to here any block is granted that the purpose allows.
    const fn plenty(&self) -> usize {
        self.budget - self.budget / 4
    }

    /// A block of at least `len` bytes; `None` when it would exceed the budget or [`LARGEST`]. Its content is whatever was there before.
    pub(super) fn take(&mut self, len: usize) -> Option<Block> {
        let class = class_of(len)?;
        let size = TINY << class;
        let block = match self.free[class].pop() {
            Some(block) => block,
            None => {
                self.make_room(size)?;
                self.made += size;
                vec![0; size].into_boxed_slice()
            }
        };
        self.in_use += size;
        self.holders += 1;
        Some(block)
    }

    /// Makes sure that the next [`BufferPool::take_spare`] gives a block for `len` bytes. False when there is none, or it would have to be
    /// larger than a small one. So what a service nearly always takes at once needs no block of its own until it does not.
    pub(super) fn has_spare(&mut self, len: usize) -> bool {
        if len > SMALL {
            return false;
        }
        if self.spare.is_none()
            && let Some(block) = self.take(SMALL)
        {
            self.in_use -= SMALL;
            self.holders -= 1;
            self.spare = Some(block);
        }
        self.spare.is_some()
    }

    /// The block that [`BufferPool::has_spare`] has made sure of.
    pub(super) fn take_spare(&mut self) -> Option<Block> {
        let block = self.spare.take()?;
        self.holders += 1;
        self.in_use += SMALL;
        Some(block)
    }

    /// Takes a block back.
    pub(super) fn give(&mut self, block: Block) {
        self.in_use -= block.len();
        self.holders -= 1;
        if let Some(class) = class_of(block.len()) {
            self.free[class].push(block);
        }
    }

    /// An empty list of ranges; `None` when it would exceed the budget.
    pub(super) fn take_ranges(&mut self) -> Option<Box<Ranges>> {
        let ranges = match self.ranges.pop() {
            Some(ranges) => ranges,
            None => {
                self.make_room(size_of::<Ranges>())?;
                self.made += size_of::<Ranges>();
                Box::default()
            }
        };
        self.in_use += size_of::<Ranges>();
        Some(ranges)
    }

    /// Takes a list of ranges back.
    pub(super) fn give_ranges(&mut self, mut ranges: Box<Ranges>) {
        ranges.clear();
        self.in_use -= size_of::<Ranges>();
        self.ranges.push(ranges);
    }

    /// An empty list with room for at least `count` records of what is in flight; `None` when it would exceed the budget or there is none as
    /// long. The shortest list is never refused: what is in flight lies in a block of [`TINY`] bytes of the budget at least, so that all these
    /// lists together are a third of it at most.
    pub(super) fn take_records(&mut self, count: usize) -> Option<Box<Records>> {
        let class = RECORD_CLASSES.iter().position(|&room| room >= count)?;
        let bytes = RECORD_CLASSES[class] * size_of::<Record>();
        let records = match self.records[class].pop() {
            Some(records) => records,
            None => {
                if self.make_room(bytes).is_none() && class > 0 {
                    return None;
                }
                self.made += bytes;
                Box::new(Records::with_capacity(RECORD_CLASSES[class]))
            }
        };
        self.in_use += bytes;
        Some(records)
    }

    /// Takes such a list back.
    pub(super) fn give_records(&mut self, mut records: Box<Records>) {
        records.clear();
        let Some(class) = RECORD_CLASSES.iter().position(|&room| room >= records.capacity()) else { return };
        self.in_use -= RECORD_CLASSES[class] * size_of::<Record>();
        self.records[class].push(records);
    }

    /// Frees blocks nobody uses, largest first, until `size` more bytes fit into the budget. Only a change in the mix of sizes
    /// brings this about.
    fn make_room(&mut self, size: usize) -> Option<()> {
        if self.in_use + size > self.budget {
            return None;
        }
        for blocks in self.free.iter_mut().rev() {
            while self.made + size > self.budget {
                match blocks.pop() {
                    Some(block) => self.made -= block.len(),
                    None => break,
                }
            }
        }
        while self.made + size > self.budget && self.ranges.pop().is_some() {
            self.made -= size_of::<Ranges>();
        }
        for (records, room) in self.records.iter_mut().zip(RECORD_CLASSES).rev() {
            while self.made + size > self.budget && records.pop().is_some() {
                self.made -= room * size_of::<Record>();
            }
        }
        (self.made + size <= self.budget).then_some(())
    }
}

#[cfg(test)]
impl BufferPool {
    /// The same pool with no byte left to hand out.
    pub(super) fn without_room(&self) -> Self {
        Self { budget: self.in_use, spare: None, ..self.clone() }
    }
}

/// Smallest block in bytes: most answers that wait to be acknowledged are short.
pub(super) const TINY: usize = 1024;
/// What counts as a small block, which is nearly never refused: room for two full segments, so that a request and its answer need no second one.
pub(super) const SMALL: usize = 4096;
/// Largest block in bytes, and therefore the largest send or receive buffer of a connection.
pub const LARGEST: usize = TINY << (CLASSES - 1);
const CLASSES: usize = 15;
/// How many records the lists hold of what is in flight.
const RECORD_CLASSES: [usize; 3] = [8, 128, FLIGHT_RECORDS];

const _: () = assert!(3 * RECORD_CLASSES[0] * size_of::<Record>() <= TINY);

/// Bytes of the smallest block that holds `len`.
pub(super) const fn block_size(len: usize) -> usize {
    match class_of(len) {
        Some(class) => TINY << class,
        None => usize::MAX,
    }
}

/// True when a block of `size` bytes is not too large for `held` bytes beyond a hole.
pub(super) const fn is_worth(size: usize, held: usize) -> bool {
    size <= SMALL || size <= 8 * held
}

/// The class of the smallest block that holds `len` bytes.
#[inline]
const fn class_of(len: usize) -> Option<usize> {
    if len <= TINY {
        return Some(0);
    }
    if len > LARGEST {
        return None;
    }
    Some(len.div_ceil(TINY).next_power_of_two().trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_next_power_of_two() {
        let mut pool = BufferPool::new(64 << 20);
        for (asked, got) in
            [(0, 1024), (1, 1024), (1025, 2048), (4096, 4096), (4097, 8192), (100_000, 131_072), (LARGEST, LARGEST)]
        {
            let block = pool.take(asked).unwrap();
            assert_eq!(block.len(), got, "asked for {asked}");
            pool.give(block);
        }
        assert_eq!(pool.in_use(), 0);
        assert!(pool.take(LARGEST + 1).is_none());
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let mut pool = BufferPool::new(3 * 4096);
        let a = pool.take(4096).unwrap();
        let b = pool.take(8192).unwrap();
        assert!(pool.take(1).is_none() && pool.take_ranges().is_none());
        assert_eq!(pool.in_use(), 3 * 4096);
        pool.give(a);
        pool.give(b);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn free_blocks_of_another_size_make_room() {
        let mut pool = BufferPool::new(16 * 4096);
        let large = pool.take(16 * 4096).unwrap();
        pool.give(large);
        let small: Vec<_> = (0..16).map(|_| pool.take(4096).unwrap()).collect();
        assert!(pool.take(4096).is_none());
        small.into_iter().for_each(|block| pool.give(block));
        assert!(pool.take(16 * 4096).is_some());
    }

    #[test]
    fn what_is_short_is_dealt_out_by_purpose() {
        let mut pool = BufferPool::new(64 * 4096);
        assert!(pool.grants_sending(40 * 1024) == 40 * 1024 && pool.grants_in_order(40 * 1024, 1));
        let most: Vec<_> = (0..47).map(|_| pool.take(4096).unwrap()).collect();
        // One block short of three quarters.
        assert_eq!((pool.grants_sending(4096), pool.grants_sending(8192)), (4096, 4096));
        assert!(pool.grants_in_order(4096, 1) && !pool.grants_in_order(4097, 1) && pool.grants_in_order(9000, 9000));
        assert_eq!(pool.share(), 4096, "half of the budget among 47");
        let more: Vec<_> = (0..9).map(|_| pool.take(4096).unwrap()).collect();
        assert_eq!(pool.grants_sending(1), 0, "the last eighth");
        assert!(pool.grants_in_order(4096, 1460));
        most.into_iter().chain(more).for_each(|block| pool.give(block));
        assert_eq!(pool.share(), 32 * 4096);
    }

    #[test]
    fn a_returned_block_is_used_again() {
        let mut pool = BufferPool::new(1 << 20);
        let mut block = pool.take(4096).unwrap();
        block[7] = 42;
        pool.give(block);
        assert_eq!(pool.take(4000).unwrap()[7], 42);
    }
}
