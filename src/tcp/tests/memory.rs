//! What a peer can tie up by leaving holes (the SegmentSmack class), by sending what nobody reads, and by asking for what it does not take:
//! little memory, little work, and never what others need.

use super::script::*;
use crate::device::Drop;
use crate::tcp::pool::SMALL;
use crate::tcp::tally::Happening;
use crate::tcp::{Arrival, BufferPool, Config, Tcb};
use crate::wire::tcp::{Flags, Options, Segment};

const BUDGET: usize = 16 << 20;

fn wide() -> Config {
    Config { window_scaling: true, receive_buffer: 256 * 1024, sack: true, ..plain() }
}

/// A connection whose whole window of 256 KiB is on offer.
fn connection() -> Tcb {
    let mut peer = Script::accept(wide(), syn().seq(IRS).mss(MSS).scale(3).sack_permitted());
    peer.sent();
    peer.inject(ack().seq(IRS + 1).ack(ISS + 1));
    peer.send(b"x");
    peer.sent();
    assert_eq!(peer.tcb.rcv.wnd, 256 * 1024);
    peer.inject(ack().seq(IRS + 1).ack(ISS + 2));
    peer.tcb.clone()
}

fn arrive(tcb: &mut Tcb, pool: &mut BufferPool, offset: u32, len: usize) -> Arrival {
    let payload = vec![5; len];
    let segment = Segment {
        seq: IRS + 1 + offset,
        ack: ISS + 2,
        flags: Flags::ACK,
        window: WINDOW,
        urgent: 0,
        ecn: 0,
        options: Options::default(),
        payload: &payload,
    };
    let arrival = tcb.on_segment(&wide(), START, &segment, pool);
    if !arrival.payload.is_empty() {
        tcb.keep_unread(&payload[arrival.payload.clone()], pool);
    }
    tcb.delivered(pool);
    arrival
}

/// A thousand connections with one byte at the far edge of the window each, and then one in earnest.
#[test]
fn bytes_at_the_edge_of_the_window_do_not_exhaust_the_memory() {
    let mut pool = BufferPool::new(BUDGET);
    let mut attackers: Vec<Tcb> = std::iter::repeat_with(connection).take(1000).collect();
    let mut refused = 0;
    for tcb in &mut attackers {
        refused += usize::from(arrive(tcb, &mut pool, 256 * 1024 - 1, 1).drop == Some(Drop::TcpNoBuffer));
    }
    // Half of the memory holds 31 blocks of 256 KiB and their lists.
    assert_eq!(refused, 1000 - 31);
    assert!(pool.in_use() <= BUDGET / 2 + SMALL * 4, "{} bytes", pool.in_use());

    // A loss at the head of a flight is repaired as ever: what lies beyond is worth its block.
    let mut honest = connection();
    for n in 1..200 {
        assert_eq!(arrive(&mut honest, &mut pool, 1000 * n, 1000).drop, None);
    }
    assert_eq!(arrive(&mut honest, &mut pool, 0, 1000).drop, None);
    assert_eq!(honest.unread_len(), 200_000);

    // And the bytes at the edges are given up in time; each connection says so once.
    for tcb in &mut attackers {
        let held = tcb.received.has_hole();
        assert_eq!(tcb.prune(&mut pool), held);
        assert_eq!(tcb.take_noted().contains(Happening::ReassemblyPruned), held);
        assert!(!tcb.prune(&mut pool));
    }
    assert!(!honest.prune(&mut pool));
    assert_eq!(pool.in_use(), 256 * 1024);
    honest.release(&mut pool);
}

/// Whoever fills an eighth of his blocks may tie memory up, but not the last quarter of it.
#[test]
fn what_lies_beyond_holes_leaves_a_quarter_to_data_in_order() {
    let mut pool = BufferPool::new(BUDGET);
    let mut peers: Vec<Tcb> = std::iter::repeat_with(connection).take(100).collect();
    let mut refused = 0;
    for tcb in &mut peers {
        for n in 1..100 {
            refused += usize::from(arrive(tcb, &mut pool, 2500 * n, 1400).drop.is_some());
        }
    }
    assert!(refused > 0);
    assert!(pool.in_use() <= BUDGET - BUDGET / 4 + 100 * 1024, "{} bytes", pool.in_use());
    for tcb in &mut peers[90..] {
        assert_eq!(arrive(tcb, &mut pool, 0, 1000).drop, None);
    }
    for tcb in &mut peers {
        tcb.release(&mut pool);
    }
    assert_eq!(pool.in_use(), 0);
}

/// Five hundred connections with a whole window of data that their service does not read, and then one whose service reads.
#[test]
fn what_is_left_unread_does_not_keep_the_others_from_receiving() {
    let mut pool = BufferPool::new(BUDGET);
    let mut greedy: Vec<Tcb> = std::iter::repeat_with(connection).take(500).collect();
    let mut refused = 0;
    for tcb in &mut greedy {
        for n in 0..256 {
            refused += usize::from(arrive(tcb, &mut pool, 1024 * n, 1024).drop == Some(Drop::TcpNoBuffer));
        }
    }
    assert!(refused > 0);
    let mut honest = connection();
    for n in 0..256 {
        assert_eq!(arrive(&mut honest, &mut pool, 1024 * n, 1024).drop, None);
        assert_eq!(honest.unread_len(), 1024);
        honest.consume(1024, &mut pool);
        honest.delivered(&mut pool);
    }
    greedy.iter_mut().for_each(|tcb| tcb.release(&mut pool));
    assert_eq!(pool.in_use(), 0);
}

/// Five hundred connections that ask for much and take nothing, and then one with a question and a short answer.
#[test]
fn what_is_asked_for_and_not_taken_does_not_keep_the_others_from_being_answered() {
    let mut pool = BufferPool::new(BUDGET);
    let config = Config { send_buffer: 256 * 1024, ..wide() };
    let mut greedy: Vec<Tcb> = std::iter::repeat_with(connection).take(500).collect();
    let file = vec![7; 256 * 1024];
    for tcb in &mut greedy {
        assert!(tcb.send(&config, &file, &mut pool) >= SMALL);
        tcb.send(&config, &file, &mut pool);
    }
    assert!(pool.in_use() <= BUDGET - BUDGET / 8, "{} bytes", pool.in_use());
    let mut honest = connection();
    assert_eq!(arrive(&mut honest, &mut pool, 0, 1000).drop, None);
    assert_eq!(honest.send(&config, &file[..3000], &mut pool), 3000);
    greedy.iter_mut().chain([&mut honest]).for_each(|tcb| tcb.release(&mut pool));
    assert_eq!(pool.in_use(), 0);
}

//= type=test
//= rfc2018#8
//# Except for the newest segment, all SACK blocks MUST NOT report any old data which is no longer actually held by the receiver.
#[test]
fn what_is_given_up_is_neither_acknowledged_nor_reported_and_comes_again() {
    let mut pool = BufferPool::new(BUDGET);
    let mut tcb = connection();
    arrive(&mut tcb, &mut pool, 0, 3000);
    arrive(&mut tcb, &mut pool, 200_000, 1000);
    arrive(&mut tcb, &mut pool, 200_000, 1000);
    assert!(tcb.prune(&mut pool));
    let sent = tcb.poll_transmit(&wide(), START, &mut pool).unwrap();
    assert_eq!((sent.ack, sent.options.sack_count), (IRS + 3001, 0));
    // What is in order stays, in a block of its size.
    assert_eq!((tcb.unread_len(), pool.in_use()), (3000, SMALL));
    arrive(&mut tcb, &mut pool, 3000, 1000);
    assert_eq!(tcb.unread(), [5; 4000]);
    tcb.release(&mut pool);
    assert_eq!(pool.in_use(), 0);
}
