//! The directory of TCBs: from the hash of a flow key to the slot of its TCB.
//!
//! An index of fixed size with linear probing, at most half full. One slot is one `AtomicU64` (a tag of the hash and the TCB's
//! slot in the slab), so that there is nothing to tear when, later, other cores read it too; its owner is the only writer. Keys stand once, with the TCB:
//! a lookup compares tags here and asks the caller to confirm the key. A removal moves later entries of the probe sequence back
//! instead of leaving a tombstone, so that lookups stay as short after a day of churn as they were at the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// The index. Values are slots of a [`super::Slab`].
#[derive(Debug)]
pub struct Directory {
    index: Box<[AtomicU64]>,
    mask: usize,
    len: usize,
    limit: usize,
}

/// An index slot: bit 63 says that it is in use, bits 62..32 are the tag (the upper bits of the hash), bits 31..0 the TCB's slot.
const IN_USE: u64 = 1 << 63;
const TAG: u64 = 0x7fff_ffff << 32;
const EMPTY: u64 = 0;

impl Directory {
    /// A directory for at most `entries` flows; the index has at least twice as many slots.
    pub fn with_capacity(entries: usize) -> Self {
        let size = entries.saturating_mul(2).max(2).next_power_of_two();
        Self { index: (0..size).map(|_| AtomicU64::new(EMPTY)).collect(), mask: size - 1, len: 0, limit: entries }
    }

    /// Flows in the directory.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The TCB slot stored under `hash` for which `is_it` confirms the key.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let wanted = IN_USE | (hash & TAG);
        let mut at = hash as usize & self.mask;
        loop {
            let entry = self.load(at);
            if entry == EMPTY {
                return None;
            }
            if entry & (IN_USE | TAG) == wanted && is_it(entry as u32) {
                return Some(entry as u32);
            }
            // At least half of the index is empty, so this ends.
            at = (at + 1) & self.mask;
        }
    }

    /// Stores a TCB slot under `hash`. The key must not be in the directory yet. False when the directory is full.
    pub fn insert(&mut self, hash: u64, slot: u32) -> bool {
        if self.len >= self.limit {
            return false;
        }
        let mut at = hash as usize & self.mask;
        while self.load(at) != EMPTY {
            at = (at + 1) & self.mask;
        }
        self.store(at, IN_USE | (hash & TAG) | u64::from(slot));
        self.len += 1;
        true
    }

    /// Takes a TCB slot out. `hash_of` gives the hash of any TCB slot in the directory, so that entries behind the gap can
    /// move back into it. False when it was not there.
    pub fn remove(&mut self, hash: u64, slot: u32, mut hash_of: impl FnMut(u32) -> u64) -> bool {
        let wanted = IN_USE | (hash & TAG) | u64::from(slot);
        let mut gap = hash as usize & self.mask;
        loop {
            match self.load(gap) {
                EMPTY => return false,
                entry if entry == wanted => break,
                _ => gap = (gap + 1) & self.mask,
            }
        }
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask;
            let entry = self.load(at);
            if entry == EMPTY {
                break;
            }
            let home = hash_of(entry as u32) as usize & self.mask;
            // The entry may move when the gap lies on its probe path: between its home and where it stands now.
            if at.wrapping_sub(home) & self.mask >= at.wrapping_sub(gap) & self.mask {
                self.store(gap, entry);
                gap = at;
            }
        }
        self.store(gap, EMPTY);
        self.len -= 1;
        true
    }

    /// The longest distance of an entry from its home: how far a lookup may have to walk.
    pub fn longest_probe(&self, mut hash_of: impl FnMut(u32) -> u64) -> usize {
        (0..=self.mask)
            .filter_map(|at| match self.load(at) {
                EMPTY => None,
                entry => Some(at.wrapping_sub(hash_of(entry as u32) as usize & self.mask) & self.mask),
            })
            .max()
            .unwrap_or(0)
    }

    fn load(&self, at: usize) -> u64 {
        self.index[at & self.mask].load(Ordering::Relaxed)
    }

    fn store(&self, at: usize, entry: u64) {
        self.index[at & self.mask].store(entry, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hashes that collide often: only four homes, and few tags.
    fn poor_hash(key: u32) -> u64 {
        u64::from(key % 4) | u64::from(key % 3) << 40
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec((any::<bool>(), 0u32..24), 1..400)) {
            let mut directory = Directory::with_capacity(16);
            let mut plain = std::collections::BTreeSet::new();
            for (insert, key) in steps {
                let hash = poor_hash(key);
                if insert && !plain.contains(&key) {
                    prop_assert_eq!(directory.insert(hash, key), plain.len() < 16);
                    if plain.len() < 16 {
                        plain.insert(key);
                    }
                } else if !insert {
                    prop_assert_eq!(directory.remove(hash, key, poor_hash), plain.remove(&key));
                }
                prop_assert_eq!(directory.len(), plain.len());
                for key in 0..24 {
                    let found = directory.find(poor_hash(key), |slot| slot == key);
                    prop_assert_eq!(found.is_some(), plain.contains(&key));
                }
            }
        }
    }

    #[test]
    fn churn_does_not_lengthen_the_probes() {
        let hash = |key: u32| u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        let mut directory = Directory::with_capacity(1024);
        (0..1024).for_each(|key| assert!(directory.insert(hash(key), key)));
        let at_start = directory.longest_probe(hash);
        for key in 1024..200_000 {
            assert!(directory.remove(hash(key - 1024), key - 1024, hash));
            assert!(directory.insert(hash(key), key));
        }
        assert!(directory.longest_probe(hash) <= at_start + 16);
    }

    #[test]
    fn a_full_directory_refuses() {
        let mut directory = Directory::with_capacity(2);
        assert!(directory.insert(1, 1) && directory.insert(2, 2) && !directory.insert(3, 3));
    }
}
