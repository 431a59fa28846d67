//! The network: takes Ethernet frames from one end and hands them to the other, later, or not at all, or twice.
//!
//! Ethernet itself is whole: ARP passes without harm, and corruption begins behind the Ethernet header, where real links have a frame
//! check of their own in front. Whatever is corrupted differs in one bit, which every checksum notices. Called by the run alone; it looks into
//! packets for their length and kind only, and never panics.

use std::collections::{BTreeMap, VecDeque};

use super::dice::Dice;
use super::frames;
use super::oracle::Tag;
use super::weather::{CLOGS_MAX, Weather};

/// A frame on its way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// The end it goes to.
    pub(super) to: usize,
    pub(super) bytes: Vec<u8>,
    /// What the oracle knows it by; nothing when it is no longer what was sent.
    pub(super) tag: Tag,
}

/// Both directions of a path.
#[derive(Debug)]
pub(super) struct Network {
    ways: [Way; 2],
    wire: BTreeMap<(u64, u64), Packet>,
    /// Packets so far: keeps those apart that arrive at the same time.
    count: u64,
    dice: Dice,
}

/// The direction away from one end.
#[derive(Debug)]
struct Way {
    weather: Weather,
    /// Until when the packets of the queue occupy the line.
    busy_until: u64,
    /// When each packet of the queue leaves it.
    leaving: VecDeque<u64>,
    burst_until: u64,
    clogged_until: u64,
    clogs: u32,
}

/// What became of a packet, for the trace.
pub(super) type Fate = &'static str;

impl Network {
    pub(super) fn new(weather: [Weather; 2], dice: Dice) -> Self {
        let way = |weather| Way { weather, busy_until: 0, leaving: VecDeque::new(), burst_until: 0, clogged_until: 0, clogs: 0 };
        Self { ways: weather.map(way), wire: BTreeMap::new(), count: 0, dice }
    }

    /// When the next packet arrives.
    pub(super) fn next(&self) -> u64 {
        self.wire.first_key_value().map_or(u64::MAX, |(&(at, _), _)| at)
    }

    /// The next packet that has arrived by now.
    pub(super) fn arrived(&mut self, now: u64) -> Option<Packet> {
        let entry = self.wire.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// Takes a frame from an end and decides what becomes of it.
    pub(super) fn send(&mut self, now: u64, from: usize, mut bytes: Vec<u8>, mut tag: Tag) -> Fate {
        let weather = self.ways[from].weather.clone();
        let to = 1 - from;
        if frames::is_arp(&bytes) {
            self.put(now + weather.delay_ns, Packet { to, bytes, tag });
            return "passes";
        }
        if let Some(fate) = self.drop(now, from, &bytes) {
            return fate;
        }
        let Some(leaves) = self.leave(now, from, bytes.len()) else { return "finds the queue full" };
        let mut fate = "passes";
        if self.dice.chance(weather.marking) && frames::mark_congestion(&mut bytes) {
            fate = "is marked";
        }
        if self.dice.chance(weather.corruption) {
            self.corrupt(&mut bytes);
            tag = Tag::NONE;
            fate = "is corrupted";
        }
        if self.dice.chance(weather.duplication) {
            let again = self.arrival(from, leaves);
            self.put(again, Packet { to, bytes: bytes.clone(), tag });
            fate = "is doubled";
        }
        let mut at = self.arrival(from, leaves);
        if self.dice.chance(weather.reordering) {
            at += self.dice.between(1, weather.held_ns);
            fate = "is held back";
        }
        self.put(at, Packet { to, bytes, tag });
        fate
    }

    /// Hands a frame to an end that nobody at the other end has sent.
    pub(super) fn put(&mut self, at: u64, packet: Packet) {
        self.count += 1;
        self.wire.insert((at, self.count), packet);
    }

    /// The losses that do not depend on load.
    fn drop(&mut self, now: u64, from: usize, bytes: &[u8]) -> Option<Fate> {
        let Self { ways, dice, .. } = self;
        let way = &mut ways[from];
        if way.clogs < CLOGS_MAX && dice.chance(way.weather.clogs) {
            way.clogs += 1;
            way.clogged_until = now + dice.between(1, way.weather.clog_ns);
        }
        if now < way.clogged_until {
            return Some("is stuck in the clog");
        }
        if now >= way.burst_until && dice.chance(way.weather.burst_begins) {
            way.burst_until = now + BURST_MAX_NS;
        } else if dice.chance(way.weather.burst_ends) {
            way.burst_until = now;
        }
        if now < way.burst_until {
            return Some("is lost in a burst");
        }
        if dice.chance(way.weather.loss) {
            return Some("is lost");
        }
        if frames::ip_len(bytes) > way.weather.path_mtu {
            let (mtu, tells, back) = (way.weather.path_mtu, way.weather.tells_mtu, way.weather.delay_ns);
            if dice.chance(tells)
                && let Some(error) = frames::fragmentation_needed(bytes, from, mtu as u16)
            {
                self.put(now + 2 * back, Packet { to: from, bytes: error, tag: Tag::NONE });
                return Some("is too large, and the sender is told");
            }
            return Some("is too large, and nobody says so");
        }
        None
    }

    /// When a packet has left the queue of the bottleneck; `None` when the queue is full.
    fn leave(&mut self, now: u64, from: usize, len: usize) -> Option<u64> {
        let way = &mut self.ways[from];
        if way.weather.rate == 0 {
            return Some(now);
        }
        while way.leaving.front().is_some_and(|&at| at <= now) {
            way.leaving.pop_front();
        }
        if way.leaving.len() >= way.weather.queue {
            return None;
        }
        let takes = len as u64 * 1_000_000_000 / way.weather.rate;
        way.busy_until = way.busy_until.max(now) + takes;
        way.leaving.push_back(way.busy_until);
        Some(way.busy_until)
    }

    fn arrival(&mut self, from: usize, leaves: u64) -> u64 {
        let weather = &self.ways[from].weather;
        let at = leaves + weather.delay_ns + self.dice.between(0, weather.jitter_ns);
        if weather.moderation_ns > 0 { at.next_multiple_of(weather.moderation_ns) } else { at }
    }

    /// Turns one bit over, behind the Ethernet header and before the padding.
    fn corrupt(&mut self, bytes: &mut [u8]) {
        let end = frames::ETHERNET + frames::ip_len(bytes);
        let at = self.dice.between(frames::ETHERNET as u64, end.min(bytes.len()) as u64 - 1) as usize;
        bytes[at] ^= 1 << self.dice.between(0, 7);
    }
}

/// However seldom packets come, and so end it: a burst is over by then.
const BURST_MAX_NS: u64 = 200_000_000;
