//! An exchange: two ends and the steps between them.
//!
//! Made by a source, completed once, then drawn. Its size is the source's business; nothing here panics.

use std::net::SocketAddr;

use super::step::{End, Segment, Step};
use super::{infer, marks};
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::Flags;

/// What carries the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP: segments, and states.
    Tcp,
    /// UDP: datagrams.
    Udp,
}

impl Transport {
    /// Its name: `TCP`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Two ends and what went between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What carries it.
    pub transport: Transport,
    /// The addresses of the left and the right end.
    pub ends: [SocketAddr; 2],
    /// The states before the first step; `None` where there is none or nobody knows.
    pub begin: [Option<State>; 2],
    /// Which ends' states the source gave; those of the others are inferred.
    pub known: [bool; 2],
    /// The source says of each step whether it was lost; otherwise that is inferred too.
    pub fates_known: bool,
    /// The steps, in the order in which they were seen.
    pub steps: Vec<Step>,
}

impl Exchange {
    /// One without steps, of which nothing is known.
    pub const fn new(transport: Transport, left: SocketAddr, right: SocketAddr) -> Self {
        Self { transport, ends: [left, right], begin: [None, None], known: [false, false], fates_known: false, steps: Vec::new() }
    }

    /// Adds what can be told from the steps: the marks, and the states of ends that the source did not know. Once, when all steps are there.
    pub fn complete(&mut self) {
        if self.transport == Transport::Tcp {
            marks::add(self);
            infer::states(self);
        }
    }

    /// The segments, with the places of their steps.
    pub fn segments(&self) -> impl Iterator<Item = (usize, End, &Segment)> {
        self.steps.iter().enumerate().filter_map(|(at, step)| Some((at, step.from, step.as_segment()?)))
    }

    /// The sequence number that relative ones count from, of each end: that of its SYN, or else the first one seen.
    pub fn origins(&self) -> [SeqNum; 2] {
        End::BOTH.map(|end| {
            let own = |from: End| from == end;
            let sent = self.segments().find(|(_, from, segment)| own(*from) && segment.has(Flags::SYN)).map(|(.., syn)| syn.seq);
            // A reset that answers a SYN has the sequence number 0, which counts nothing.
            let first =
                || self.segments().find(|(_, from, segment)| own(*from) && !segment.has(Flags::RST)).map(|(.., it)| it.seq);
            let told =
                || self.segments().find(|(_, from, segment)| !own(*from) && segment.has(Flags::ACK)).map(|(.., it)| it.ack);
            sent.or_else(first).or_else(told).unwrap_or_default()
        })
    }

    /// How far the windows of each end's segments are shifted (RFC 7323 2.2): not at all unless both SYNs were seen to offer it.
    pub fn shifts(&self) -> [u8; 2] {
        let offered = End::BOTH.map(|end| {
            let mut syns = self.segments().filter(|(_, from, segment)| *from == end && segment.has(Flags::SYN));
            syns.find_map(|(.., syn)| syn.options.window_scale)
        });
        match offered {
            [Some(left), Some(right)] => [left.min(SHIFT_MAX), right.min(SHIFT_MAX)],
            _ => [0, 0],
        }
    }
}

/// The window that a segment offers, in bytes; that of a SYN is never shifted (RFC 7323 2.2).
pub(super) const fn window(segment: &Segment, shift: u8) -> u32 {
    if segment.has(Flags::SYN) { segment.window as u32 } else { (segment.window as u32) << shift }
}

/// The largest shift of a window (RFC 7323 2.3).
const SHIFT_MAX: u8 = 14;
