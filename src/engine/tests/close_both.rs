//! A service that closes both directions while data is on offer to it, on the wire.

use super::wire::{Peer, serve_with};
use super::*;
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::{Flags, Options};

const IRS: SeqNum = SeqNum(77);
const ACK: Flags = Flags::ACK;

/// Closes both directions when data is offered, and says how much it took of it; remembers what it is told.
#[derive(Default)]
struct Slammer {
    takes: usize,
    /// Reading begins only when a message comes.
    pauses: bool,
    /// It closes as soon as it is connected.
    at_once: bool,
    connection: Option<Connection>,
    told: Vec<&'static str>,
}

impl Service for Slammer {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.connection = Some(connection);
        if self.pauses {
            cx.pause(connection);
        }
        if self.at_once {
            cx.close_both(connection);
        }
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, _: &[u8]) -> usize {
        self.told.push("data");
        cx.close_both(connection);
        self.takes
    }

    fn peer_closed(&mut self, _: &mut impl Context, _: Connection) {
        self.told.push("peer closed");
    }

    fn closed(&mut self, _: &mut impl Context, _: Connection) {
        self.told.push("closed");
    }

    fn reset(&mut self, _: &mut impl Context, _: Connection, _: ResetReason) {
        self.told.push("reset");
    }

    fn message(&mut self, cx: &mut impl Context, (): ()) {
        self.connection.into_iter().for_each(|connection| cx.resume(connection));
    }
}

/// A connection whose handshake lacks the last ACK, with our initial sequence number.
fn half_open(slammer: Slammer) -> (Engine<MemoryDevice, Slammer>, Peer, ManualClock, SeqNum) {
    let (mut engine, mut peer, clock) = serve_with(slammer, |_| {});
    peer.segment_from(5000, Flags::SYN, IRS, SeqNum(0), Options::default(), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    (engine, peer, clock, iss)
}

fn open(slammer: Slammer) -> (Engine<MemoryDevice, Slammer>, Peer, ManualClock, SeqNum) {
    let (mut engine, mut peer, clock, iss) = half_open(slammer);
    peer.segment(ACK, IRS + 1, iss + 1, &[]);
    engine.turn(&clock);
    (engine, peer, clock, iss)
}

/// A RST has left, the service was told this and no more, and nothing is kept.
fn assert_reset(engine: &Engine<MemoryDevice, Slammer>, peer: &mut Peer, iss: SeqNum, told: &[&str]) {
    assert_eq!(peer.segments(), [(Flags::RST, iss + 1, SeqNum(0))]);
    assert_eq!(engine.service().told, told);
    assert_eq!((engine.core.flows.len(), engine.core.pool.in_use(), engine.core.counters.tcp_reset), (0, 0, 1));
    assert_no_frame_missing(engine);
}

//= type=test
//= rfc9293#3.6.1
//# If such a host issues a CLOSE call while received data is still pending in the TCP connection, or if new data is received after
//# CLOSE is called, its TCP implementation SHOULD send a RST to show that data was lost (SHLD-3).
#[test]
fn what_it_leaves_of_a_frame_is_answered_with_rst() {
    for takes in [0, 999] {
        let (mut engine, mut peer, clock, iss) = open(Slammer { takes, ..Slammer::default() });
        peer.segment(ACK, IRS + 1, iss + 1, &[1; 1000]);
        engine.turn(&clock);
        assert_reset(&engine, &mut peer, iss, &["data"]);
    }
}

#[test]
fn what_it_leaves_of_the_buffer_is_answered_with_rst() {
    for takes in [0, 999] {
        let (mut engine, mut peer, clock, iss) = open(Slammer { takes, pauses: true, ..Slammer::default() });
        peer.segment(ACK, IRS + 1, iss + 1, &[1; 1000]);
        engine.turn(&clock);
        peer.segments();
        engine.mailbox().send(()).unwrap();
        engine.turn(&clock);
        assert_reset(&engine, &mut peer, iss, &["data"]);
    }
}

#[test]
fn data_that_came_with_the_handshake_is_not_offered_after_it() {
    let (mut engine, mut peer, clock, iss) = half_open(Slammer { at_once: true, ..Slammer::default() });
    peer.segment(ACK, IRS + 1, iss + 1, b"too late");
    engine.turn(&clock);
    assert_reset(&engine, &mut peer, iss, &[]);
}

/// The peer has sent its FIN and has our FIN's ACK: only the service still has something to read.
#[test]
fn what_it_leaves_of_a_connection_that_is_over_is_not_kept() {
    let (mut engine, mut peer, clock, iss) = open(Slammer { pauses: true, ..Slammer::default() });
    peer.segment(ACK | Flags::FIN, IRS + 1, iss + 1, b"unread");
    engine.turn(&clock);
    let connection = engine.service().connection.unwrap();
    engine.core.close(connection);
    engine.turn(&clock);
    peer.segment(ACK, IRS + 8, iss + 2, &[]);
    engine.turn(&clock);
    peer.segments();
    assert_eq!(engine.core.flows.len(), 1, "it is still to be read");
    engine.mailbox().send(()).unwrap();
    engine.turn(&clock);
    assert_eq!((peer.segments(), engine.core.flows.len(), engine.core.pool.in_use()), (vec![], 0, 0));
    assert_eq!(engine.service().told, ["data"]);
}

#[test]
fn when_it_takes_everything_the_connection_ends_in_order() {
    let (mut engine, mut peer, clock, iss) = open(Slammer { takes: 1000, ..Slammer::default() });
    peer.segment(ACK, IRS + 1, iss + 1, &[1; 1000]);
    engine.turn(&clock);
    assert_eq!(peer.segments(), [(ACK | Flags::FIN, iss + 1, IRS + 1001)]);
    peer.segment(ACK | Flags::FIN, IRS + 1001, iss + 2, &[]);
    engine.turn(&clock);
    assert_eq!(engine.service().told, ["data", "closed"]);
    assert!(engine.core.flows.iter().all(|(_, flow)| flow.tcb.state() == State::TimeWait));
    clock.advance(Duration::from_secs(61));
    engine.turn(&clock);
    assert_eq!((engine.core.flows.len(), engine.core.pool.in_use()), (0, 0));
}
