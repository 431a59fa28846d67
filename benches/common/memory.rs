//! What programs that look flows up at random share: keys, and a walk through memory in which each load waits for the one before.

use std::net::Ipv4Addr;

use ringway::demux::{FlowKey, Link, Slab};

use crate::order::shuffled;

/// What the default capacity of a core is: directory and table have this size however many connections are open.
pub(crate) const CAPACITY: usize = 1 << 20;

/// A number and what fills a cache line, together with what a table keeps of each.
type Line = [u32; 14];

/// A walk from cache line to cache line, at random, through as many as the lookups touch: one of the index and one of the keys for each flow.
/// They lie in a table as the keys do, in the same kind of pages.
pub(crate) struct Chase {
    lines: Slab<Line>,
    at: u32,
}

impl Chase {
    pub(crate) fn new(flows: usize) -> Self {
        let order = shuffled(0, flows * 2);
        let mut next = vec![0; order.len()];
        for (nth, &line) in order.iter().enumerate() {
            next[line as usize] = order[(nth + 1) % order.len()];
        }
        let mut lines = Slab::with_capacity(next.len());
        for next in next {
            lines.insert([next; 14]).expect("there is room");
        }
        Self { lines, at: 0 }
    }

    /// One load, which says where the next is.
    pub(crate) fn step(&mut self) {
        self.at = self.lines.at(self.at).map_or(0, |(_, line)| line[0]);
    }
}

/// The key of a flow to port 7; no two have the same.
pub(crate) fn key(number: u32) -> FlowKey {
    FlowKey {
        local: Ipv4Addr::new(10, 0, 0, 2).into(),
        remote: Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 1).to_bits() + (number >> 15)).into(),
        local_port: 7,
        remote_port: (number & 0x7fff) as u16 + 1024,
        link: Link { interface: 0 },
    }
}
