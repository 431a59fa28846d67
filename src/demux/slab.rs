//! A table of fixed capacity whose slots are named by index and generation.
//!
//! The generation changes whenever a slot is emptied, so an id that outlives its value finds nothing instead of somebody else's
//! value. Memory for all slots is reserved at the start and touched as it is first used.

use crate::arch;

/// Names a value: the slot it is in and the generation of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId {
    /// Position in the table.
    pub slot: u32,
    /// How often the slot had been emptied when the value moved in, modulo 2^32.
    pub generation: u32,
}

/// A table of at most `capacity` values.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    capacity: usize,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// What a value takes with its slot.
    pub const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// An empty table for at most `capacity` values (at most 2^32 - 1).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.min(u32::MAX as usize);
        let mut slots = Vec::with_capacity(capacity);
        arch::huge_pages_behind(slots.spare_capacity_mut());
        Self { slots, free: Vec::with_capacity(capacity), capacity, len: 0 }
    }

    /// Values in the table.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The most values it takes.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Slots that were ever used: every value lies in one below this.
    pub const fn slots(&self) -> usize {
        self.slots.len()
    }

    /// True when the table holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True when no further value fits.
    pub const fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Puts a value in and names it.
    ///
    /// # Errors
    /// The value itself, when the table is full.
    #[inline]
    pub fn insert(&mut self, value: T) -> Result<SlotId, T> {
        if self.is_full() { Err(value) } else { Ok(self.put(value)) }
    }

    /// The same where there is known to be room.
    #[inline]
    pub(super) fn put(&mut self, value: T) -> SlotId {
        self.len += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            // Empty at first: the value, which may be large, is moved once, to where it stays.
            self.slots.push(Slot { generation: 0, value: None });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.value = Some(value);
        SlotId { slot, generation: entry.generation }
    }

    /// Takes a value out; ids that name it are stale from now on.
    pub fn remove(&mut self, id: SlotId) -> Option<T> {
        let entry = self.slots.get_mut(id.slot as usize).filter(|entry| entry.generation == id.generation)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.len -= 1;
        Some(value)
    }

    /// Drops the value in a slot where it lies, whatever its generation. False when there is none.
    pub fn discard(&mut self, slot: u32) -> bool {
        let Some(entry) = self.slots.get_mut(slot as usize).filter(|entry| entry.value.is_some()) else { return false };
        entry.value = None;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.len -= 1;
        true
    }

    /// The value of an id, unless the id is stale.
    pub fn find(&self, id: SlotId) -> Option<&T> {
        self.slots.get(id.slot as usize).filter(|entry| entry.generation == id.generation)?.value.as_ref()
    }

    /// The same, to be changed.
    pub fn find_mut(&mut self, id: SlotId) -> Option<&mut T> {
        self.slots.get_mut(id.slot as usize).filter(|entry| entry.generation == id.generation)?.value.as_mut()
    }

    /// The value in a slot, whatever its generation, with its full id.
    pub fn at(&self, slot: u32) -> Option<(SlotId, &T)> {
        let entry = self.slots.get(slot as usize)?;
        entry.value.as_ref().map(|value| (SlotId { slot, generation: entry.generation }, value))
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, slot: u32) -> Option<(SlotId, &mut T)> {
        let entry = self.slots.get_mut(slot as usize)?;
        let generation = entry.generation;
        entry.value.as_mut().map(|value| (SlotId { slot, generation }, value))
    }

    /// Fetches the first `bytes` of a slot, and does not wait for them.
    #[inline]
    pub(crate) fn fetch(&self, slot: u32, bytes: usize) {
        if let Some(entry) = self.slots.get(slot as usize) {
            arch::prefetch(entry, bytes);
        }
    }

    /// All values with their ids, in the order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        (0..self.slots.len() as u32).filter_map(|slot| self.at(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing_after_its_slot_is_reused() {
        let mut slab = Slab::with_capacity(1);
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.insert('b'), Err('b'));
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('c').unwrap();
        assert_eq!(second.slot, first.slot);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.at(second.slot), Some((second, &'c')));
        assert_eq!((slab.find(first), slab.find(second)), (None, Some(&'c')));
        assert!(slab.discard(second.slot) && !slab.discard(second.slot) && !slab.discard(1));
        assert_eq!((slab.find(second), slab.len()), (None, 0));
        assert_eq!(slab.insert('d').map(|id| id.slot), Ok(0));
    }

    #[test]
    fn an_id_beyond_the_table_finds_nothing() {
        let slab: Slab<u8> = Slab::with_capacity(4);
        assert_eq!(slab.find(SlotId { slot: 9, generation: 0 }), None);
        assert_eq!(slab.at(u32::MAX), None);
    }
}
