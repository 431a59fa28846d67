//! A table for large values of which there are seldom many, and which gives memory back.
//!
//! Values lie in chunks, the first that has room is filled first. A chunk without values goes once the others have room for half as many as it takes, so
//! that one that is needed every other moment stays. A chunk is larger than what any allocator
//! in use keeps for itself (glibc: 32 MiB), so memory that was touched in a peak is the machine's again after it. A place names a value
//! while it is there, and nothing tells an outdated one: whoever needs that keeps a [`super::SlotId`] beside it.

use super::slab::Slab;

/// A table of as many values as come, in chunks of more than `BYTES`.
#[derive(Debug)]
pub struct Chunked<T, const BYTES: usize = KEPT_BY_ALLOCATORS> {
    /// One that is empty has no memory, except the first, which keeps it.
    chunks: Vec<Slab<T>>,
    /// Every chunk before this one is full or has no memory.
    first_with_room: usize,
    /// One that is empty and still has memory.
    emptied: Option<usize>,
    /// Chunks with memory.
    in_memory: usize,
    len: usize,
}

impl<T, const BYTES: usize> Chunked<T, BYTES> {
    /// Values that a chunk takes: a power of two.
    pub const PER_CHUNK: usize = (BYTES / Slab::<T>::SLOT_BYTES + 1).next_power_of_two();

    const INDEX_BITS: u32 = Self::PER_CHUNK.trailing_zeros();

    /// An empty table, with the memory of one chunk, untouched.
    pub fn new() -> Self {
        Self { chunks: vec![Slab::with_capacity(Self::PER_CHUNK)], first_with_room: 0, emptied: None, in_memory: 1, len: 0 }
    }

    /// Values in the table.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when the table holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Chunks that have memory.
    pub const fn chunks(&self) -> usize {
        self.in_memory
    }

    /// Puts a value in and says where. `None` beyond 2^32 of them.
    #[inline]
    pub fn insert(&mut self, value: T) -> Option<u32> {
        if self.chunks[self.first_with_room].is_full() {
            self.make_room()?;
        }
        let slot = self.chunks[self.first_with_room].put(value).slot;
        self.len += 1;
        Some((self.first_with_room << Self::INDEX_BITS) as u32 | slot)
    }

    /// Moves on to a chunk with room; one without memory gets it.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self) -> Option<()> {
        let find = |test: fn(&Slab<T>) -> bool| self.chunks.iter().position(test);
        let with_room = find(|chunk| !chunk.is_full());
        let next = with_room.or_else(|| find(|chunk| chunk.capacity() == 0)).unwrap_or(self.chunks.len());
        if next >= 1 << (u32::BITS - Self::INDEX_BITS) {
            return None;
        }
        match self.chunks.get_mut(next) {
            Some(chunk) if chunk.capacity() > 0 => {}
            Some(chunk) => {
                *chunk = Slab::with_capacity(Self::PER_CHUNK);
                self.in_memory += 1;
            }
            None => {
                self.chunks.push(Slab::with_capacity(Self::PER_CHUNK));
                self.in_memory += 1;
            }
        }
        self.first_with_room = next;
        Some(())
    }

    /// Takes the value out of a place.
    pub fn remove(&mut self, at: u32) -> Option<T> {
        let (number, slot) = Self::split(at);
        let chunk = self.chunks.get_mut(number)?;
        let (id, _) = chunk.at(slot)?;
        let value = chunk.remove(id)?;
        self.one_less_in(number);
        Some(value)
    }

    /// Drops the value in a place where it lies: a large one is not moved for that. False when there is none.
    pub fn discard(&mut self, at: u32) -> bool {
        let (number, slot) = Self::split(at);
        let was_there = self.chunks.get_mut(number).is_some_and(|chunk| chunk.discard(slot));
        if was_there {
            self.one_less_in(number);
        }
        was_there
    }

    #[inline]
    fn one_less_in(&mut self, number: usize) {
        self.len -= 1;
        let empty = number > 0 && self.chunks.get(number).is_some_and(Slab::is_empty);
        self.first_with_room = self.first_with_room.min(number);
        if empty && let Some(before) = self.emptied.replace(number).filter(|&before| before != number) {
            self.give_back(before);
        }
        if let Some(emptied) = self.emptied
            && self.in_memory * Self::PER_CHUNK - self.len >= Self::PER_CHUNK + Self::PER_CHUNK / 2
        {
            self.emptied = None;
            self.give_back(emptied);
        }
    }

    /// Gives the memory of a chunk back, unless values have come into it.
    #[cold]
    #[inline(never)]
    fn give_back(&mut self, number: usize) {
        if let Some(chunk) = self.chunks.get_mut(number).filter(|chunk| chunk.is_empty() && chunk.capacity() > 0) {
            *chunk = Slab::with_capacity(0);
            self.in_memory -= 1;
        }
    }

    /// True for a place in one of the chunks that as many values would take if they lay close together.
    #[inline]
    pub(crate) const fn is_close(&self, at: u32) -> bool {
        Self::split(at).0 <= self.len / Self::PER_CHUNK
    }

    /// The value in a place.
    #[inline]
    pub fn at(&self, at: u32) -> Option<&T> {
        let (number, slot) = Self::split(at);
        self.chunks.get(number)?.at(slot).map(|(_, value)| value)
    }

    /// The same, to be changed.
    #[inline]
    pub fn at_mut(&mut self, at: u32) -> Option<&mut T> {
        let (number, slot) = Self::split(at);
        self.chunks.get_mut(number)?.at_mut(slot).map(|(_, value)| value)
    }

    /// The places from one on that were ever used and have memory, with their values, if they have some.
    pub fn places_from(&self, at: u32) -> impl Iterator<Item = (u32, Option<&T>)> {
        let (first, slot) = Self::split(at);
        self.chunks.iter().enumerate().skip(first).flat_map(move |(number, chunk)| {
            let begin = if number == first { slot } else { 0 };
            (begin..chunk.slots() as u32)
                .map(move |slot| ((number << Self::INDEX_BITS) as u32 | slot, chunk.at(slot).map(|(_, value)| value)))
        })
    }

    /// Fetches the first `bytes` of a place, and does not wait for them.
    #[inline]
    pub(crate) fn fetch(&self, at: u32, bytes: usize) {
        let (number, slot) = Self::split(at);
        if let Some(chunk) = self.chunks.get(number) {
            chunk.fetch(slot, bytes);
        }
    }

    const fn split(at: u32) -> (usize, u32) {
        ((at >> Self::INDEX_BITS) as usize, at & (Self::PER_CHUNK as u32 - 1))
    }
}

impl<T, const BYTES: usize> Default for Chunked<T, BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// The largest memory that glibc keeps when it is freed (`DEFAULT_MMAP_THRESHOLD_MAX`).
const KEPT_BY_ALLOCATORS: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::rng::Rng;

    /// Eight values of a chunk.
    type Small = Chunked<u64, 180>;

    #[test]
    fn a_chunk_is_larger_than_what_allocators_keep() {
        const { assert!(Chunked::<[u8; 1400]>::PER_CHUNK * 1400 > KEPT_BY_ALLOCATORS) };
        assert_eq!(Small::PER_CHUNK, 8);
    }

    #[test]
    fn early_chunks_are_filled_first_and_empty_ones_go() {
        let mut table = Small::new();
        let places: Vec<u32> = (0..20).map(|n| table.insert(n).unwrap()).collect();
        assert_eq!((table.chunks(), table.len()), (3, 20));
        for &place in &places[8..16] {
            table.remove(place).unwrap();
        }
        assert_eq!(table.chunks(), 2, "the one in the middle; the others have room for four");
        table.remove(places[3]).unwrap();
        assert_eq!(table.insert(99), Some(places[3]));
        for n in 0..4 {
            assert!(table.insert(n).is_some());
        }
        assert_eq!(table.chunks(), 2, "the last one took them");
        assert_eq!(table.insert(100), Some(places[8]));
        assert_eq!(table.chunks(), 3);
    }

    #[test]
    fn a_chunk_that_is_needed_every_other_moment_stays() {
        let mut table = Small::new();
        let places: Vec<u32> = (0..8).map(|n| table.insert(n).unwrap()).collect();
        for _ in 0..3 {
            let ninth = table.insert(9).unwrap();
            table.remove(ninth).unwrap();
            assert_eq!(table.chunks(), 2);
        }
        for &place in &places[..3] {
            table.remove(place).unwrap();
        }
        assert_eq!(table.chunks(), 2, "three more would fit into the first");
        table.remove(places[3]).unwrap();
        assert_eq!(table.chunks(), 1);
        for &place in &places[4..] {
            table.remove(place).unwrap();
        }
        assert_eq!((table.chunks(), table.len(), table.at(places[0])), (1, 0, None), "one stays for what comes next");
    }

    #[test]
    fn what_lies_beyond_the_chunks_it_would_take_is_told() {
        let mut table = Small::new();
        let places: Vec<u32> = (0..20).map(|n| table.insert(n).unwrap()).collect();
        assert!(places.iter().all(|&place| table.is_close(place)));
        places[..5].iter().for_each(|&place| assert!(table.discard(place)));
        assert_eq!(places[5..].iter().filter(|&&place| table.is_close(place)).count(), 11, "fifteen would take two chunks");
    }

    #[test]
    fn a_walk_tells_each_place_that_has_memory() {
        let mut table = Small::new();
        let places: Vec<u32> = (0..20).map(|n| table.insert(n).unwrap()).collect();
        table.remove(places[1]).unwrap();
        let found: Vec<_> = table.places_from(places[6]).map(|(place, value)| (place, value.copied())).collect();
        assert_eq!(found, (6..20).map(|n| (places[n as usize], Some(n))).collect::<Vec<_>>());
        assert_eq!(table.places_from(0).nth(1), Some((places[1], None)));
        for &place in &places[8..16] {
            table.remove(place).unwrap();
        }
        assert_eq!(table.places_from(places[7]).map(|(place, _)| place).collect::<Vec<_>>()[..2], [places[7], places[16]]);
        assert_eq!(table.places_from(places[19] + 1).count() + table.places_from(u32::MAX).count(), 0);
    }

    /// In any order, over several chunks.
    #[test]
    fn it_holds_what_a_map_holds() {
        let mut table = Small::new();
        let mut map = HashMap::new();
        let mut rng = Rng::seeded(7);
        for n in 0..400 {
            if rng.below(5) < 3 {
                assert_eq!(map.insert(table.insert(n).unwrap(), n), None);
            } else if let Some(&at) = map.keys().nth(rng.below(map.len().max(1) as u64) as usize) {
                match n % 2 {
                    0 => assert_eq!(table.remove(at), map.remove(&at)),
                    _ => assert_eq!(table.discard(at), map.remove(&at).is_some()),
                }
                assert!(!table.discard(at));
            }
            assert_eq!(table.len(), map.len());
            assert!(map.iter().all(|(&at, &n)| table.at(at).is_some_and(|&value| value == n)));
        }
        assert!(table.chunks() > 1);
        map.into_keys().for_each(|at| assert!(table.remove(at).is_some()));
        assert_eq!((table.len(), table.chunks()), (0, 1));
    }
}
