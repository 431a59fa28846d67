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
use super::folded::Form;
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

    /// When data last came.
    pub(super) const fn data_at(&self) -> Instant {
        self.data_at
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

    /// What a rest leaves: if the next data comes after a pause, it is acknowledged at once, as it would be.
    pub(super) fn rest(&mut self, config: &Config, heard: Instant, now: Instant) {
        if now.ns_since(self.data_at) > span_ns(config.rto_min) {
            self.hurry(config);
            self.data_at = heard;
        }
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, config: &Config, rcv_nxt: SeqNum, heard: Instant) {
        form.near(&mut self.largest, 0);
        let rested = Self {
            from: rcv_nxt,
            rtt_us: 0,
            began: heard,
            data_at: heard,
            largest: self.largest,
            quick: config.quick_acks as u8,
        };
        if form.same(self, rested) {
            return;
        }
        let Self { from, rtt_us, began, data_at, largest: _, quick } = self;
        form.near(from, rcv_nxt);
        form.near(rtt_us, 0);
        form.near(data_at, heard);
        form.near(began, *data_at);
        form.near(quick, config.quick_acks as u8);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tcp::congestion::Algorithm;
    use crate::tcp::{IpVersion, Opening};
    use crate::wire::tcp::{Flags, Options};

    const NOW: Instant = Instant::from_ns(1_000_000_000_000);
    const MS: u64 = 1_000_000;

    fn autotune() -> Autotune {
        Autotune::new(&Config::default(), NOW)
    }

    fn tcb() -> Tcb {
        let opening =
            Opening { iss: SeqNum(7), timestamp_offset: 500, ip: IpVersion::V4, mss: 1460, congestion: Algorithm::Reno };
        Tcb::open(&Config::default(), opening, NOW)
    }

    fn segment(timestamps: Option<(u32, u32)>) -> Segment<'static> {
        let options = Options { timestamps, ..Options::default() };
        Segment { seq: SeqNum(0), ack: SeqNum(0), flags: Flags::ACK, window: 0, urgent: 0, ecn: 0, options, payload: &[] }
    }

    #[test]
    fn a_round_may_end_once_an_eighth_of_the_window_has_come() {
        let mut tcb = tcb();
        tcb.rcv.nxt = SeqNum(u32::MAX - 100);
        tcb.autotune.begin(tcb.rcv.nxt, NOW);
        tcb.rcv.limit = 65_536;
        tcb.rcv.nxt += 8_191;
        assert!(!tcb.autotune_due());
        tcb.rcv.nxt += 1;
        assert!(tcb.autotune_due());
    }

    /// It ends when a round trip is over, and what was not offered to the service yet was not read.
    #[test]
    fn a_round_lasts_a_round_trip_and_counts_what_was_read() {
        let config = Config { receive_buffer: 65_536, receive_buffer_max: 6 << 20, window_scaling: true, ..Config::default() };
        for (elapsed_ms, offered, limit) in
            [(19, 0, 65_536), (20, 0, 4 * 20_000 + 4 * 1_460), (20, 4_900, 4 * 15_100 + 4 * 1_460), (40, 0, 65_536)]
        {
            let opening =
                Opening { iss: SeqNum(7), timestamp_offset: 500, ip: IpVersion::V4, mss: 1460, congestion: Algorithm::Reno };
            let mut tcb = Tcb::open(&config, opening, NOW);
            tcb.rtt.sample(20 * MS, 1);
            tcb.autotune.begin(tcb.rcv.nxt, NOW);
            tcb.rcv.nxt += 20_000;
            let later = NOW + Duration::from_millis(elapsed_ms);
            tcb.autotune(&config, later, &segment(None), offered, &BufferPool::new(1 << 20));
            assert_eq!(tcb.rcv.limit, limit, "after {elapsed_ms} ms, {offered} bytes on offer");
        }
    }

    #[test]
    fn where_no_round_trip_is_known_a_round_lasts_a_whole_window() {
        let mut tcb = tcb();
        tcb.autotune.begin(tcb.rcv.nxt, NOW);
        for (bytes, ended) in [(tcb.rcv.limit - 1, false), (1, true)] {
            tcb.rcv.nxt += bytes;
            tcb.autotune(&Config::default(), NOW + Duration::from_millis(5), &segment(None), 0, &BufferPool::new(1 << 20));
            assert_eq!(tcb.autotune.rtt_ns(), ended.then_some(5 * MS));
        }
    }

    #[test]
    fn a_full_segment_is_as_long_as_the_longest_that_came() {
        let (mut autotune, config) = (autotune(), Config::default());
        for (len, full) in [(10, 536), (1_000, 1_000), (900, 1_000), (9_000, 1_460)] {
            autotune.on_data(&config, NOW, SeqNum(0), len);
            assert_eq!(autotune.full_segment(1_460), full, "after {len} bytes");
        }
        assert_eq!(self::autotune().full_segment(300), 300, "our own limit is the lower one");
    }

    #[test]
    fn the_shortest_window_stands_for_the_round_trip() {
        let mut autotune = autotune();
        assert_eq!(autotune.shortest_window(30 * MS), None);
        assert_eq!(autotune.shortest_window(40 * MS), Some(30 * MS));
        assert_eq!(autotune.shortest_window(30 * MS), Some(30 * MS));
        assert_eq!(autotune.shortest_window(20 * MS), None);
        assert_eq!(autotune.rtt_ns(), Some(20 * MS));
        for (measured, kept) in [(1, 1_000), (u64::MAX, 60_000 * MS)] {
            autotune.set_rtt(measured);
            assert_eq!(autotune.rtt_ns(), Some(kept));
        }
    }

    #[test]
    fn the_round_trip_follows_each_sample_by_an_eighth() {
        let mut tcb = tcb();
        assert_eq!(tcb.smooth_round_trip(&segment(None), NOW), None, "nothing is known");
        tcb.rtt.sample(80 * MS, 1);
        assert_eq!(tcb.smooth_round_trip(&segment(None), NOW), Some(80 * MS));
        tcb.autotune.set_rtt(16 * MS);
        assert_eq!(tcb.smooth_round_trip(&segment(None), NOW), Some((16 - 2 + 10) * MS));
        assert_eq!(tcb.autotune.rtt_ns(), Some(24 * MS));
    }

    #[test]
    fn an_echo_counts_before_our_own_measurement_where_its_ticks_are_fine_enough() {
        // Age of the echo and our own measurement, in microseconds; what is believed.
        for (echo_ms, own_us, believed_us) in [(40, 80_000, 40_000), (2, 80_000, 2_000), (2, 500, 500), (3, 500, 3_000)] {
            let mut tcb = tcb();
            tcb.rtt.sample(own_us * 1_000, 1);
            let echo = tcb.timestamps.value(NOW).wrapping_sub(echo_ms);
            let believed = |tcb: &mut Tcb| tcb.smooth_round_trip(&segment(Some((1, echo))), NOW);
            assert_eq!(believed(&mut tcb.clone()), Some(own_us * 1_000), "timestamps nobody agreed on say nothing");
            tcb.timestamps.ok = true;
            assert_eq!(believed(&mut tcb), Some(believed_us * 1_000), "{echo_ms} ms, {own_us} us");
        }
    }
}
