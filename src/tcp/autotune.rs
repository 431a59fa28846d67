//! How large the receive window is, and how promptly data is acknowledged: what the receiver learns from watching its peer.
//!
//! The window begins with `tcp.receive_buffer` bytes. Once a round trip the machine looks at how much the service has read meanwhile; a
//! peer that could soon be held up by the window gets one four times as large as that, up to `tcp.receive_buffer_max` (dynamic
//! right-sizing). A service that does not read keeps its window small, and so does a peer that sends little. The limit never shrinks
//! while the connection lives, so that the right edge never moves left. While the core's buffers run short
//! ([`BufferPool::is_pressed`]) no window grows, and new ones begin small.
//!
//! The round trip is told by the timestamps that the peer echoes with its data; below their resolution, and without them, by our own
//! measurement, which the handshake begins; without either, by how long one window takes, at least.
//!
//! Called for each segment by `arrives`; nothing here panics.

use super::config::Config;
use super::pool::BufferPool;
use super::seq::SeqNum;
use super::tally::Happening;
use super::tcb::Tcb;
use crate::time::{Instant, span_ns};
use crate::wire::tcp::Segment;

/// What is remembered of the peer's sending. A few words, of no use while a connection is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Autotune {
    /// How far the service had read when the round began.
    from: SeqNum,
    /// The round-trip time as the receiver sees it, in microseconds; 0 when it is not known.
    rtt_us: u32,
    /// When the round began.
    began: Instant,
    /// When data last came.
    data_at: Instant,
    /// The largest payload that came.
    largest: u16,
    /// Segments still to be acknowledged at once.
    quick: u8,
}

impl Autotune {
    /// For a connection that has received nothing.
    pub(super) const fn new(config: &Config, now: Instant) -> Self {
        Self { from: SeqNum(0), rtt_us: 0, began: now, data_at: now, largest: 0, quick: config.quick_acks as u8 }
    }

    /// A round begins: the service has read up to `from`.
    pub(super) const fn begin(&mut self, from: SeqNum, now: Instant) {
        self.from = from;
        self.began = now;
    }

    /// Something is out of order: what follows is to be acknowledged at once.
    pub(super) const fn hurry(&mut self, config: &Config) {
        self.quick = config.quick_acks as u8;
    }

    /// In-order data came, `len` bytes from `seq` on. True when it is one of those that are acknowledged at once.
    pub(super) fn on_data(&mut self, config: &Config, now: Instant, seq: SeqNum, len: u32) -> bool {
        // A round begins with its first data: a pause before it says nothing of the peer's speed.
        if seq == self.from {
            self.began = now;
        }
        self.largest = self.largest.max(len as u16);
        // A peer that was silent for this long may have begun anew with a small window (RFC 5681 4.1), as at the start.
        if now.ns_since(self.data_at) > span_ns(config.rto_min) {
            self.hurry(config);
        }
        self.data_at = now;
        let quick = self.quick > 0;
        self.quick -= u8::from(quick);
        quick
    }

    /// The round-trip time as the receiver sees it, if it is known.
    const fn rtt_ns(&self) -> Option<u64> {
        if self.rtt_us == 0 { None } else { Some(self.rtt_us as u64 * 1_000) }
    }

    fn set_rtt(&mut self, ns: u64) {
        self.rtt_us = (ns / 1_000).clamp(1, RTT_US_MAX) as u32;
    }

    /// A whole window took this long, which is no less than a round trip: the shortest such time, unless this is it.
    fn shortest_window(&mut self, elapsed_ns: u64) -> Option<u64> {
        let before = self.rtt_ns().filter(|&before| before <= elapsed_ns);
        if before.is_none() {
            self.set_rtt(elapsed_ns);
        }
        before
    }

    /// The payload of a full-sized segment, at most `most`: a peer with a smaller path than ours sends smaller ones.
    pub(super) fn full_segment(&self, most: u32) -> u32 {
        u32::from(self.largest).clamp(FULL_SEGMENT_MIN.min(most), most)
    }
}

impl Tcb {
    /// True when so much has come in this round that the window may have to grow. Cheap.
    pub(super) fn autotune_due(&self) -> bool {
        self.rcv.nxt - self.autotune.from >= self.rcv.limit / 8
    }

    /// Ends a round, if it took a round trip, and lets the window grow if it must. `offered` bytes before RCV.NXT are yet to be offered to
    /// the service.
    pub(super) fn autotune(&mut self, config: &Config, now: Instant, segment: &Segment<'_>, offered: u32, pool: &BufferPool) {
        let read_to = self.rcv.nxt - self.received.unread() - offered;
        let most = self.rcv.limit_max(config);
        if self.rcv.limit >= most {
            self.autotune.begin(self.rcv.nxt, now);
            return;
        }
        let elapsed_ns = now.ns_since(self.autotune.began);
        let read = if read_to.after(self.autotune.from) { read_to - self.autotune.from } else { 0 };
        let rtt_ns = if self.timestamps.ok || self.rtt.srtt_ns().is_some() {
            if elapsed_ns < self.autotune.rtt_ns().or(self.rtt.srtt_ns()).unwrap_or(0) {
                return;
            }
            self.smooth_round_trip(segment, now)
        } else {
            if read < self.rcv.limit {
                return;
            }
            self.autotune.shortest_window(elapsed_ns)
        };
        self.autotune.begin(read_to, now);
        let Some(rtt_ns) = rtt_ns else { return };
        let per_round_trip = u128::from(read) * u128::from(rtt_ns) / u128::from(elapsed_ns.max(rtt_ns).max(1));
        // A peer in slow start sends twice as much in the next round trip, and learns only then of the window that is offered now: four
        // times as much as came in this one, and a few segments for what silly-window avoidance holds back.
        let wanted = (4 * per_round_trip + 4 * u128::from(self.rcv.mss)).min(u128::from(most)) as u32;
        if wanted > self.rcv.limit && !pool.is_pressed() {
            self.rcv.limit = wanted;
            self.noted.note(Happening::WindowGrown);
        }
    }

    /// The round-trip time as the receiver sees it, with what this segment tells of it.
    fn smooth_round_trip(&mut self, segment: &Segment<'_>, now: Instant) -> Option<u64> {
        let echoed_ns = match segment.options.timestamps {
            Some((_, echo)) if self.timestamps.ok => self.timestamps.echoed_ns(echo, now),
            _ => None,
        };
        let sample_ns = match (echoed_ns, self.rtt.srtt_ns()) {
            (Some(echoed), Some(own)) if echoed <= TICKS_NS => echoed.min(own),
            (Some(echoed), _) => echoed,
            (None, Some(own)) => own,
            (None, None) => return self.autotune.rtt_ns(),
        };
        let smoothed_ns = self.autotune.rtt_ns().map_or(sample_ns, |before| before - before / 8 + sample_ns / 8);
        self.autotune.set_rtt(smoothed_ns);
        Some(smoothed_ns)
    }

    /// The handshake is complete: while buffers run short, the window begins small.
    pub(super) fn begin_window(&mut self, pool: &BufferPool) {
        if pool.is_pressed() {
            // Never less than the SYN has offered.
            self.rcv.limit = self.rcv.limit.min(PRESSED_WINDOW).max(self.rcv.wnd);
        }
    }
}

/// A full-sized segment is not taken to be smaller than this (RFC 9293 3.7.1, the default MSS): small messages are no full segments.
const FULL_SEGMENT_MIN: u32 = 536;
/// Echoed timestamps tell no more than this: two ticks.
const TICKS_NS: u64 = 2_000_000;
/// Longer round trips are not believed: a minute.
const RTT_US_MAX: u64 = 60_000_000;
/// The window of a connection that begins while buffers run short.
const PRESSED_WINDOW: u32 = 32 * 1024;
