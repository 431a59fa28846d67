//! How many connections each source has: exactly, and in a table of fixed size.
//!
//! Told by [`super::Limits`] of every TCB that is made, comes through its handshake, and ends. A source has an entry for as long as it has a
//! TCB, so that there are never more entries than TCBs: the table is larger than that and cannot fill, nothing is ever evicted, and whoever
//! forges sources gets no further in here than into the TCBs. Open addressing, linear probing under a keyed hash; what is removed leaves no
//! mark, the entries behind it move up. Cannot panic.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::Source;

/// Connections by source.
pub struct Counts {
    hash: SipHasher13,
    /// A power of two; an entry without connections is free.
    entries: Box<[Entry]>,
}

/// What one source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    source: u64,
    /// Connections whose handshake is complete: the source is there.
    pub open: u32,
    /// Connections of which the third segment has not come; anybody could have begun them in the source's name.
    pub half_open: u32,
}

impl Entry {
    const fn is_free(&self) -> bool {
        self.open == 0 && self.half_open == 0
    }
}

impl Counts {
    /// Room for the sources of `connections` TCBs.
    pub fn new(secret: &[u8; 16], connections: usize) -> Self {
        // At most three quarters full, so that probes stay short.
        let entries = (connections + connections / 3 + 2).next_power_of_two();
        Self { hash: SipHasher13::new_with_key(secret), entries: vec![Entry::default(); entries].into_boxed_slice() }
    }

    /// What a source has.
    pub fn of(&self, source: Source) -> Entry {
        self.find(source).ok().and_then(|at| self.entries.get(at)).copied().unwrap_or_default()
    }

    /// Changes what a source has. False when there is no room for a new one, which there is for as many as there are TCBs.
    pub fn change(&mut self, source: Source, change: impl FnOnce(&mut Entry)) -> bool {
        let (Ok(at) | Err(Some(at))) = self.find(source) else { return false };
        let Some(entry) = self.entries.get_mut(at) else { return false };
        entry.source = source.0;
        change(entry);
        if entry.is_free() {
            self.close_gap(at);
        }
        true
    }

    /// The sum over all sources: for tests, and for whoever wants to see that nothing is left.
    pub fn total(&self) -> Entry {
        let sum = |of: fn(&Entry) -> u32| self.entries.iter().map(of).sum();
        Entry { source: 0, open: sum(|entry| entry.open), half_open: sum(|entry| entry.half_open) }
    }

    /// The place of a source's entry, else the free one where it would be.
    fn find(&self, source: Source) -> Result<usize, Option<usize>> {
        let mut at = self.home(source.0);
        for _ in 0..self.entries.len() {
            match self.entries.get(at) {
                Some(entry) if entry.is_free() => return Err(Some(at)),
                Some(entry) if entry.source == source.0 => return Ok(at),
                _ => at = self.next(at),
            }
        }
        Err(None)
    }

    /// Moves up what would not be found behind a place that has become free.
    fn close_gap(&mut self, mut gap: usize) {
        let mut at = gap;
        for _ in 1..self.entries.len() {
            at = self.next(at);
            let Some(&entry) = self.entries.get(at).filter(|entry| !entry.is_free()) else { break };
            // It may move when its home does not lie behind the gap.
            let (from_home, from_gap) = (self.behind(self.home(entry.source), at), self.behind(gap, at));
            if from_home >= from_gap {
                self.entries.swap(gap, at);
                gap = at;
            }
        }
        if let Some(entry) = self.entries.get_mut(gap) {
            *entry = Entry::default();
        }
    }

    fn home(&self, source: u64) -> usize {
        let mut hash = self.hash;
        hash.write_u64(source);
        hash.finish() as usize & self.mask()
    }

    const fn next(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    /// How far `at` lies behind `from`, round the end.
    const fn behind(&self, from: usize, at: usize) -> usize {
        at.wrapping_sub(from) & self.mask()
    }

    const fn mask(&self) -> usize {
        self.entries.len() - 1
    }
}

impl std::fmt::Debug for Counts {
    /// The secret is not printed, nor are thousands of entries.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counts").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few entries and many sources: probes collide, wrap round the end, and close up.
        #[test]
        fn it_counts_like_a_map(events in prop::collection::vec((0_u64..24, 0..3_u8), 0..400)) {
            const CONNECTIONS: usize = 11;
            let mut counts = Counts::new(&[7; 16], CONNECTIONS);
            let mut model: HashMap<u64, (u32, u32)> = HashMap::new();
            for (source, event) in events {
                let live: u32 = model.values().map(|(open, half_open)| open + half_open).sum();
                let (open, half_open) = model.get(&source).copied().unwrap_or_default();
                let after = match event {
                    0 if live < CONNECTIONS as u32 => (open, half_open + 1),
                    1 if half_open > 0 => (open + 1, half_open - 1),
                    2 if open > 0 => (open - 1, half_open),
                    _ => continue,
                };
                prop_assert!(counts.change(Source(source), |entry| (entry.open, entry.half_open) = after));
                if after == (0, 0) { model.remove(&source) } else { model.insert(source, after) };
                for source in 0..24 {
                    let Entry { open, half_open, .. } = counts.of(Source(source));
                    prop_assert_eq!((open, half_open), model.get(&source).copied().unwrap_or_default());
                }
            }
            let used = counts.entries.iter().filter(|entry| !entry.is_free()).count();
            prop_assert_eq!(used, model.len(), "nothing is left of who has gone");
        }
    }

    #[test]
    fn one_source_for_each_connection_fits() {
        for connections in [1, 2, 3, 64, 1000, 65_536] {
            let mut counts = Counts::new(&[7; 16], connections);
            for source in 0..connections as u64 {
                assert!(counts.change(Source(source), |entry| entry.open += 1));
            }
            assert_eq!(counts.total().open as usize, connections);
            assert!(counts.entries.len() * 3 >= connections * 4, "{connections}");
        }
    }

    #[test]
    fn a_full_table_says_so() {
        let mut counts = Counts::new(&[7; 16], 1);
        let fit = (0..100).filter(|&source| counts.change(Source(source), |entry| entry.open += 1)).count();
        assert_eq!(fit, counts.entries.len());
        assert!(counts.change(Source(0), |entry| entry.open += 1), "those it has are found");
    }
}
