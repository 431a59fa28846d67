//! The indirection table: from a hash to a receive queue.

/// The table of a NIC, by the low bits of the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    entries: Box<[u32]>,
    /// Each queue that is in it once, in order.
    queues: Box<[u32]>,
}

impl Table {
    /// `None` when the number of entries is not a power of two: which bits of the hash count is then each driver's own matter.
    ///
    /// ```
    /// use ringway::rss::Table;
    /// let table = Table::new(vec![0, 1, 2, 1]).unwrap();
    /// assert_eq!(table.queue_of(0xffff_fffe), 2);
    /// assert_eq!(table.queues(), [0, 1, 2]);
    /// assert!(Table::new(vec![0, 1, 2]).is_none());
    /// ```
    pub fn new(entries: impl Into<Box<[u32]>>) -> Option<Self> {
        let entries = entries.into();
        if !entries.len().is_power_of_two() {
            return None;
        }
        let mut queues = entries.to_vec();
        queues.sort_unstable();
        queues.dedup();
        Some(Self { entries, queues: queues.into() })
    }

    /// The queue of a hash.
    pub fn queue_of(&self, hash: u32) -> u32 {
        self.entries[hash as usize & (self.entries.len() - 1)]
    }

    /// The queues that packets are spread over, each once, in order.
    pub fn queues(&self) -> &[u32] {
        &self.queues
    }
}
