//! The connections in a capture.
//!
//! Packets are sorted by their two ends, and a port that is used again begins another connection. Called by `ringway ladder FILE` and by tests.
//! Bounded in connections and in packets ([`crate::limits`]); what is beyond is counted. Nothing here panics on what a file holds.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::SocketAddr;

use super::file::{self, Captured};
use super::packet::{Link, Packet};
use crate::ladder::exchange::{Exchange, Transport};
use crate::ladder::step::{End, Step, What};
use crate::limits::{CAPTURE_FLOWS, CAPTURE_STEPS};
use crate::tcp::seq::SeqNum;
use crate::time::Instant;
use crate::wire::tcp::Flags;

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Everything.
    #[default]
    All,
    /// What has this port at either end.
    Port(u16),
    /// What goes between these two, in either direction.
    Ends(SocketAddr, SocketAddr),
}

impl Choice {
    pub(super) fn takes(self, both: [SocketAddr; 2]) -> bool {
        match self {
            Self::All => true,
            Self::Port(port) => both.iter().any(|end| end.port() == port),
            Self::Ends(one, other) => both == [one, other] || both == [other, one],
        }
    }
}

/// A connection, or an exchange of datagrams.
#[derive(Clone, Debug)]
pub struct Flow {
    /// What was seen of it; [`Exchange::complete`] has been called.
    pub exchange: Exchange,
    /// Packets of it that are not among the steps, because there were too many in the file.
    pub left_out: u64,
    /// The sequence numbers of the SYNs of both ends.
    syns: [Option<SeqNum>; 2],
    /// A FIN or RST was seen.
    pub(super) ends: bool,
}

/// What a capture holds.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// In the order of their first packets.
    pub flows: Vec<Flow>,
    /// Packets in the file, or lines of records.
    pub packets: u64,
    /// Those that are neither TCP nor UDP, or are malformed, or fragments; lines that are no record.
    pub unread: u64,
    /// Packets of connections beyond [`CAPTURE_FLOWS`].
    pub left_out: u64,
    /// A link type that is not known, with packets in it.
    pub unknown_link: Option<u32>,
    /// The file ends in the middle of a packet or a record, or is longer than what is read of it.
    pub cut: bool,
}

impl Found {
    /// Reads a pcap or pcapng file.
    ///
    /// # Errors
    /// It cannot be read, or is neither.
    pub fn read(file: impl Read, choice: Choice) -> io::Result<Self> {
        let mut found = Self::default();
        let mut sorted = Sorted::default();
        found.cut = file::each(file, |captured| found.take(&captured, choice, &mut sorted))?;
        found.flows.iter_mut().for_each(|flow| flow.exchange.complete());
        Ok(found)
    }

    fn take(&mut self, captured: &Captured<'_>, choice: Choice, sorted: &mut Sorted) {
        self.packets += 1;
        let Some(link) = Link::of(captured.link) else {
            self.unknown_link = Some(captured.link);
            self.unread += 1;
            return;
        };
        let Some(packet) = Packet::read(link, captured.bytes, captured.len) else {
            self.unread += 1;
            return;
        };
        if choice.takes([packet.source, packet.target]) {
            self.sort(captured.at, packet, sorted);
        }
    }

    /// Adds a packet to its connection, and gives that; `None` when there is no place for it.
    pub(super) fn sort(&mut self, at_time: Instant, packet: Packet, sorted: &mut Sorted) -> Option<&mut Flow> {
        let key = Key::of(packet.transport, packet.source, packet.target);
        let known =
            sorted.flows.get(&key).copied().filter(|&at| self.flows.get(at).is_some_and(|flow| !flow.is_another(&packet)));
        let at = match known {
            Some(at) => at,
            None if self.flows.len() < CAPTURE_FLOWS => {
                self.flows.push(Flow::begun_by(&packet));
                sorted.flows.insert(key, self.flows.len() - 1);
                self.flows.len() - 1
            }
            None => {
                self.left_out += 1;
                return None;
            }
        };
        let flow = self.flows.get_mut(at)?;
        if sorted.is_full() {
            flow.left_out += 1;
            return None;
        }
        sorted.count();
        flow.add(at_time, packet);
        Some(flow)
    }

    /// The latest connection between two ends.
    pub(super) fn latest(&mut self, transport: Transport, ends: [SocketAddr; 2], sorted: &Sorted) -> Option<&mut Flow> {
        self.flows.get_mut(*sorted.flows.get(&Key::of(transport, ends[0], ends[1]))?)
    }
}

/// What is known while packets are sorted.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// The latest connection between two ends, by its place.
    flows: HashMap<Key, usize>,
    steps: usize,
}

impl Sorted {
    /// No more steps are kept.
    pub(super) const fn is_full(&self) -> bool {
        self.steps >= CAPTURE_STEPS
    }

    /// A step is kept.
    pub(super) const fn count(&mut self) {
        self.steps += 1;
    }
}

/// Both ends, the smaller first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(Transport, SocketAddr, SocketAddr);

impl Key {
    fn of(transport: Transport, one: SocketAddr, other: SocketAddr) -> Self {
        Self(transport, one.min(other), one.max(other))
    }
}

impl Flow {
    /// One that begins with a packet. Whoever sends it stands at the left, unless it is an answer.
    fn begun_by(packet: &Packet) -> Self {
        let is_answer = match &packet.what {
            What::Segment(segment) => segment.has(Flags::SYN) && segment.has(Flags::ACK),
            What::Icmp { .. } => true,
            _ => false,
        };
        let (left, right) = if is_answer { (packet.target, packet.source) } else { (packet.source, packet.target) };
        Self { exchange: Exchange::new(packet.transport, left, right), left_out: 0, syns: [None; 2], ends: false }
    }

    pub(super) fn end_at(&self, address: SocketAddr) -> End {
        if address == self.exchange.ends[0] { End::Left } else { End::Right }
    }

    /// True when a packet opens another connection between the same ends: a SYN with another number than the one before, or behind the end.
    fn is_another(&self, packet: &Packet) -> bool {
        let What::Segment(segment) = packet.what else { return false };
        if !segment.opens() {
            return false;
        }
        match self.syns[self.end_at(packet.source).index()] {
            Some(before) => before != segment.seq,
            None => self.ends || self.syns == [None; 2],
        }
    }

    fn add(&mut self, at: Instant, packet: Packet) {
        let from = self.end_at(packet.source);
        if let What::Segment(segment) = packet.what {
            if segment.has(Flags::SYN) {
                self.syns[from.index()].get_or_insert(segment.seq);
            }
            self.ends |= segment.has(Flags::FIN) || segment.has(Flags::RST);
        }
        self.exchange.steps.push(Step::new(at, from, packet.what));
    }
}
