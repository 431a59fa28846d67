//! The pool keeps its books to the byte: what is handed out, what there is, and whom the rest is granted.

use crate::limits::FLIGHT_RECORDS;
use crate::tcp::pool::{BufferPool, LARGEST, SMALL, TINY, block_size, is_worth};
use crate::tcp::ranges::Ranges;
use crate::tcp::recovery::Record;

const RANGES: usize = size_of::<Ranges>();
const RECORD: usize = size_of::<Record>();

/// A pool of eight small blocks, `taken` of which are handed out. (They stay so: nobody asks afterwards.)
fn of_eight(taken: usize) -> BufferPool {
    let mut pool = BufferPool::new(8 * SMALL);
    (0..taken).for_each(|_| _ = pool.take(SMALL).unwrap());
    assert_eq!(pool.in_use(), taken * SMALL);
    pool
}

#[test]
fn everything_is_counted_when_it_goes_and_when_it_comes_back() {
    let mut pool = BufferPool::new(1 << 20);
    let mut made = 0;
    for _ in 0..2 {
        let blocks = [1, 1_025, 3_000, 5_000].map(|len| pool.take(len).unwrap());
        let mut out = 3 * TINY + 3 * SMALL;
        assert_eq!(pool.in_use(), out);
        let lists = [pool.take_ranges().unwrap(), pool.take_ranges().unwrap()];
        out += 2 * RANGES;
        assert_eq!(pool.in_use(), out);
        let records = [(1, 8), (8, 8), (9, 128), (128, 128), (129, FLIGHT_RECORDS)].map(|(count, room)| {
            let records = pool.take_records(count).unwrap();
            out += room * RECORD;
            assert_eq!((pool.in_use(), records.capacity()), (out, room), "{count} records");
            records
        });
        assert!(pool.take_records(FLIGHT_RECORDS + 1).is_none(), "none is as long");
        // The second time everything is there already.
        made = out.max(made);
        assert_eq!((made, pool.allocated()), (out, out));
        blocks.into_iter().for_each(|block| pool.give(block));
        lists.into_iter().for_each(|ranges| pool.give_ranges(ranges));
        assert_eq!(pool.in_use(), out - 3 * TINY - 3 * SMALL - 2 * RANGES);
        records.into_iter().for_each(|records| pool.give_records(records));
        assert_eq!((pool.in_use(), pool.allocated()), (0, made));
    }
}

#[test]
fn lists_come_back_empty() {
    let mut pool = BufferPool::new(1 << 20);
    let mut ranges = pool.take_ranges().unwrap();
    assert!(ranges.insert(Default::default()) && !ranges.is_empty());
    pool.give_ranges(ranges);
    assert!(pool.take_ranges().unwrap().is_empty());
}

#[test]
fn a_spare_block_is_set_aside_and_counts_once_it_is_taken() {
    let mut pool = of_eight(1);
    assert!(pool.take_spare().is_none());
    assert!(!pool.has_spare(SMALL + 1), "a spare block is a small one");
    assert!(pool.has_spare(SMALL) && pool.has_spare(1), "made sure of once");
    assert_eq!((pool.in_use(), pool.allocated()), (SMALL, 2 * SMALL));
    assert_eq!(pool.share(), 4 * SMALL, "one holder");
    let block = pool.take_spare().unwrap();
    assert!(pool.take_spare().is_none());
    assert_eq!((pool.in_use(), pool.allocated(), block.len()), (2 * SMALL, 2 * SMALL, SMALL));
    assert_eq!(pool.share(), 2 * SMALL, "two");
    pool.give(block);
    assert_eq!((pool.in_use(), pool.share()), (SMALL, 4 * SMALL));

    let mut full = of_eight(8);
    assert!(!full.has_spare(1) && full.take_spare().is_none());
}

#[test]
fn a_share_is_a_whole_block_of_an_even_part_of_half() {
    for (holders, blocks) in [(0, 4), (1, 4), (2, 2), (3, 1), (4, 1), (8, 1)] {
        assert_eq!(of_eight(holders).share(), blocks * SMALL, "{holders} holders");
    }
}

#[test]
fn pressed_is_more_than_half() {
    let mut pool = of_eight(4);
    assert!(!pool.is_pressed());
    let ranges = pool.take_ranges().unwrap();
    assert!(pool.is_pressed());
    pool.give_ranges(ranges);
    assert!(!pool.is_pressed());
}

/// Up to half of the budget, to three quarters, to seven eighths: each bound is reached and not passed.
#[test]
fn grants_end_where_their_share_of_the_budget_does() {
    // Blocks handed out, asked for, held; whether data beyond a hole has it.
    for (taken, blocks, held, granted) in [
        (0, 4, 1, true),
        (1, 2, 1, true),
        (3, 1, 0, true),
        (1, 4, 2048, true),
        (1, 4, 2047, false),
        (2, 4, 2048, true),
        (3, 4, 2048, false),
        (5, 1, 0, true),
        (6, 1, 4096, false),
    ] {
        let pool = of_eight(taken);
        assert_eq!(pool.grants_beyond(blocks * SMALL, held), granted, "beyond: {taken} taken, {blocks} wanted, {held} held");
    }
    // The same for data to be sent: how much of it, in blocks.
    for (taken, blocks, granted) in [(4, 2, 2), (5, 2, 1), (5, 1, 1), (6, 1, 1), (6, 4, 1), (7, 1, 0)] {
        let granted = granted * SMALL;
        assert_eq!(of_eight(taken).grants_sending(blocks * SMALL), granted, "sending: {taken} taken, {blocks} wanted");
    }
    assert_eq!(of_eight(6).grants_sending(10), 10, "no more than was asked for");
    // For data in order, `arrived` of it just now.
    for (taken, blocks, arrived, granted) in
        [(4, 2, 1, true), (5, 2, 1, false), (5, 2, SMALL + 1, true), (7, 1, 1, true), (7, 2, SMALL, false)]
    {
        let pool = of_eight(taken);
        assert_eq!(pool.grants_in_order(blocks * SMALL, arrived), granted, "in order: {taken} taken, {blocks} wanted");
    }
}

#[test]
fn a_block_is_worth_it_when_an_eighth_of_it_is_filled_or_it_is_small() {
    assert!(is_worth(SMALL, 0));
    assert!(is_worth(2 * SMALL, SMALL / 4) && !is_worth(2 * SMALL, SMALL / 4 - 1));
    assert_eq!((block_size(0), block_size(LARGEST), block_size(LARGEST + 1)), (TINY, LARGEST, usize::MAX));
    assert_eq!([TINY, TINY + 1, 1448, SMALL].map(block_size), [TINY, 2 * TINY, 2 * TINY, SMALL]);
}

/// What nobody uses is freed, the largest first, and no more of it than is needed.
#[test]
fn room_is_made_from_what_lies_free() {
    let mut pool = BufferPool::new(7 * SMALL);
    let blocks = [1, 2, 4].map(|blocks| pool.take(blocks * SMALL).unwrap());
    blocks.into_iter().for_each(|block| pool.give(block));
    assert_eq!(pool.allocated(), 7 * SMALL);
    let small = [pool.take(SMALL).unwrap(), pool.take(SMALL).unwrap()];
    assert_eq!(pool.allocated(), 4 * SMALL, "the block of four is gone, that of two is there");
    let all = [pool.take(2 * SMALL).unwrap(), pool.take(2 * SMALL).unwrap(), pool.take(SMALL).unwrap()];
    assert_eq!((pool.in_use(), pool.allocated()), (7 * SMALL, 7 * SMALL));
    small.into_iter().chain(all).for_each(|block| pool.give(block));

    // Lists of ranges give way to a block; two need not.
    let mut pool = BufferPool::new(SMALL + 2 * RANGES);
    let lists: Vec<_> = std::iter::from_fn(|| pool.take_ranges()).collect();
    assert_eq!(lists.len(), (SMALL + 2 * RANGES) / RANGES);
    lists.into_iter().for_each(|ranges| pool.give_ranges(ranges));
    assert!(pool.take(SMALL).is_some());
    assert_eq!(pool.allocated(), SMALL + 2 * RANGES);

    // So do lists of records, the longest first.
    let room = (8 + 128 + FLIGHT_RECORDS) * RECORD;
    let mut pool = BufferPool::new(room);
    let lists = [8, 128, FLIGHT_RECORDS].map(|count| pool.take_records(count).unwrap());
    assert!(pool.take_records(9).is_none() && pool.take(1).is_none(), "the budget is spent");
    lists.into_iter().for_each(|records| pool.give_records(records));
    assert!(pool.take(SMALL).is_some());
    assert_eq!(pool.allocated(), (8 + 128) * RECORD + SMALL);
    assert!(pool.take(32 * 1024).is_some());
    assert_eq!(pool.allocated(), (8 + 128) * RECORD + 9 * SMALL);
}

#[test]
fn the_shortest_list_of_what_is_in_flight_is_never_refused() {
    let mut pool = BufferPool::new(0);
    assert!(pool.take_records(9).is_none());
    let records = pool.take_records(8).unwrap();
    assert_eq!((pool.in_use(), pool.allocated()), (8 * RECORD, 8 * RECORD));
    pool.give_records(records);
    assert_eq!(pool.in_use(), 0);
}
