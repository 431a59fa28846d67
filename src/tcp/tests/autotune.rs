//! How the receive window and the send buffer follow the stream (dynamic right-sizing).

use std::time::Duration;

use super::script::*;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::{BufferPool, Config};

const RTT: Duration = Duration::from_millis(20);

fn growing() -> Config {
    Config { window_scaling: true, timestamps: true, receive_buffer: 64 * 1024, receive_buffer_max: 1 << 20, ..plain() }
}

/// A peer one round trip away that sends as much as it may, and learns of the window a round trip after it was offered.
struct Stream {
    peer: Script,
    next: SeqNum,
    edge: SeqNum,
}

impl Stream {
    /// Passive, with the handshake measured.
    fn new(config: Config) -> Self {
        let mut peer = Script::accept(config, syn().seq(IRS).mss(MSS).scale(7).ts(1, 0));
        peer.sent();
        peer.advance(RTT);
        Self::connected(peer)
    }

    fn connected(mut peer: Script) -> Self {
        let stamp = |peer: &Script, seg: Seg| if peer.config.timestamps { seg.ts(2, echo(peer)) } else { seg };
        let first = stamp(&peer, ack().seq(IRS + 1).ack(ISS + 1));
        peer.inject(first);
        let edge = peer.tcb.right_edge().unwrap();
        Self { peer, next: IRS + 1, edge }
    }

    /// Sends up to `most` bytes at once, waits for a round trip, and returns how many the window allowed.
    fn burst(&mut self, most: u32) -> u32 {
        let allowed = most.min(self.edge - self.next);
        let end = self.next + allowed;
        while self.next.before(end) {
            let len = (end - self.next).min(900);
            let text = more(&vec![3; len as usize]).seq(self.next).ack(ISS + 1);
            let text = if self.peer.config.timestamps { text.ts(2, echo(&self.peer)) } else { text };
            self.peer.inject(text);
            self.peer.expect_no_drop();
            self.next += len;
            while self.peer.sent().is_some() {}
        }
        self.edge = self.peer.tcb.right_edge().unwrap();
        self.peer.taken.clear();
        self.peer.advance(RTT);
        while self.peer.sent().is_some() {}
        allowed
    }

    fn window(&self) -> u32 {
        self.peer.tcb.rcv.limit
    }

    fn grew(&mut self) -> bool {
        self.peer.tcb.take_noted().contains(Happening::WindowGrown)
    }
}

/// Our TSval of a round trip ago: what the peer's data echoes.
fn echo(peer: &Script) -> u32 {
    (peer.now.as_ms_wrapping() + 500).wrapping_sub(RTT.as_millis() as u32)
}

/// Slow start doubles; the window is ahead of it all the way.
#[test]
fn slow_start_is_never_held_up_by_the_window() {
    for timestamps in [true, false] {
        let mut stream = Stream::new(Config { timestamps, ..growing() });
        let mut flight = 10_000;
        while flight <= 256 * 1024 {
            assert_eq!(stream.burst(flight), flight, "window {}", stream.window());
            flight *= 2;
        }
        assert!(stream.grew());
        for _ in 0..4 {
            stream.burst(u32::MAX / 2);
        }
        assert_eq!(stream.window(), 1 << 20);
        // All of it is offered, but for less than a segment (silly-window avoidance).
        assert!(stream.burst(u32::MAX / 2) > (1 << 20) - u32::from(MSS));
    }
}

/// The figure: 32 MiB over a round trip of 20 ms, the peer limited by nothing but the window.
#[test]
fn a_stream_is_many_times_faster_for_it() {
    let round_trips = |config| {
        let mut stream = Stream::new(config);
        let (mut left, mut rounds) = (32 << 20, 0);
        while left > 0 {
            left -= stream.burst(left);
            rounds += 1;
        }
        rounds
    };
    let fixed = round_trips(Config { receive_buffer_max: 0, ..growing() });
    let tuned = round_trips(Config { receive_buffer_max: 6 << 20, ..growing() });
    // 64 KiB a round trip against up to 6 MiB.
    assert_eq!((fixed, tuned), (515, 12));
}

#[test]
fn a_service_that_does_not_read_keeps_its_window() {
    let mut stream = Stream::new(growing());
    stream.peer.appetite = 1000;
    for _ in 0..10 {
        stream.burst(10_000);
        stream.peer.resume(1000);
    }
    assert_eq!(stream.window(), 64 * 1024);
    // It wakes up, and the window grows.
    stream.peer.resume(usize::MAX);
    while stream.peer.sent().is_some() {}
    stream.edge = stream.peer.tcb.right_edge().unwrap();
    for _ in 0..6 {
        stream.burst(60_000);
    }
    assert!(stream.window() > 64 * 1024);
}

#[test]
fn a_peer_that_sends_little_keeps_its_window() {
    let mut stream = Stream::new(growing());
    for _ in 0..100 {
        stream.burst(8_000);
    }
    assert_eq!(stream.window(), 64 * 1024);
    assert!(!stream.grew());
}

#[test]
fn while_memory_is_short_no_window_grows() {
    let mut stream = Stream::new(growing());
    stream.peer.pool = BufferPool::new(96 * 1024);
    let held = stream.peer.pool.take(64 * 1024).unwrap();
    for _ in 0..10 {
        stream.burst(60_000);
    }
    assert_eq!(stream.window(), 64 * 1024);
    stream.peer.pool.give(held);
    for _ in 0..10 {
        stream.burst(60_000);
    }
    assert!(stream.window() > 64 * 1024);
}

#[test]
fn while_memory_is_short_windows_begin_small() {
    let config = Config { receive_buffer: 256 * 1024, ..growing() };
    let mut peer = Script::accept(config, syn().seq(IRS).mss(MSS).scale(7).ts(1, 0));
    peer.expect(syn_ack().seq(ISS).win(u16::MAX));
    peer.pool = BufferPool::new(96 * 1024);
    let held = peer.pool.take(64 * 1024).unwrap();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1).ts(2, 0));
    // What the SYN offered is honoured, and no more is.
    assert_eq!(peer.tcb.rcv.limit, 65_535);
    peer.pool.give(held);
}

/// Without timestamps and with a handshake that tells nothing (its SYN-ACK was sent twice), the window itself is the measure.
#[test]
fn without_a_measured_round_trip_the_window_is_the_measure() {
    let config = Config { timestamps: false, ..growing() };
    let mut peer = Script::accept(config, syn().seq(IRS).mss(MSS).scale(7));
    peer.sent();
    peer.next_timer();
    peer.sent();
    let mut stream = Stream::connected(peer);
    assert_eq!(stream.peer.tcb.srtt_ns(), None);
    for _ in 0..20 {
        stream.burst(60_000);
    }
    assert!(stream.window() > 64 * 1024);
}

//= type=test
//= rfc7323#2.3
//# If a TCP receives a <SYN> segment containing a Window Scale option, it SHOULD send its own Window Scale option in the <SYN,ACK> segment.
#[test]
fn the_scale_does_for_the_largest_window() {
    let mut peer = Script::accept(growing(), syn().seq(IRS).mss(MSS).scale(0).ts(1, 0));
    peer.expect(syn_ack().seq(ISS).win(u16::MAX).mss(MSS).scale(5).ts(1_000_500, 1));
    // Without scaling, what the field can tell is the most.
    let mut stream = Stream::connected(Script::accept(growing(), syn().seq(IRS).mss(MSS).ts(1, 0)));
    for _ in 0..10 {
        stream.burst(60_000);
    }
    assert_eq!(stream.window(), 65_536);
}

#[test]
fn the_send_buffer_is_twice_the_congestion_window() {
    let config = Config { send_buffer: 5_000, send_buffer_max: 30_000, ..plain() };
    let mut peer = Script::established_with(config);
    // The initial window is ten segments.
    assert_eq!(peer.send(&[1; 100_000]), 20_000);
    let mut acked = ISS + 1;
    for _ in 0..10 {
        while peer.sent().is_some() {}
        acked += 1000;
        peer.inject(ack().seq(IRS + 1).ack(acked));
    }
    assert_eq!(peer.tcb.unacknowledged() + peer.send(&[1; 100_000]), 30_000);

    let mut peer = Script::established_with(config);
    peer.pool = BufferPool::new(96 * 1024);
    let held = peer.pool.take(64 * 1024).unwrap();
    assert_eq!(peer.send(&[1; 100_000]), 5_000);
    peer.pool.give(held);
}
