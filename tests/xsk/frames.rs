//! Frames over a veth pair: whole, in order, none lost by us, none left behind.

use ringway::device::{Device, Frame};
use ringway::xsk::{BusyPoll, Config, Pages};

use crate::world::World;
use crate::{Side, assert_all_home, eventually, packet, receive_one, send, small};

#[test]
fn frames_cross_both_ways_while_the_rings_wrap() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    let mut right = Side::open(&world.right, &[0], small()).unwrap();
    let (left, right) = (&mut left.queues[0], &mut right.queues[0]);
    assert!(!left.is_zero_copy(), "veth copies");
    // The right side sends every frame back where it lies; rings of 64 wrap 150 times.
    const FRAMES: u64 = 64 * 150;
    let (mut sent, mut returned) = (0, 0);
    let (mut burst, mut echoes) = (Vec::new(), Vec::new());
    eventually("all frames come back", || {
        while sent < FRAMES && sent - returned < 32 && send(left, &packet(sent, 60 + sent as usize % 1440)) {
            sent += 1;
        }
        left.flush();
        right.receive(&mut burst, 16);
        for frame in burst.drain(..) {
            right.transmit(frame).expect("32 in flight fit a ring of 64");
        }
        right.flush();
        left.receive(&mut echoes, 16);
        for frame in echoes.drain(..) {
            assert_eq!(frame.bytes(), packet(returned, 60 + returned as usize % 1440), "frame {returned}");
            returned += 1;
            left.recycle(frame);
        }
        returned == FRAMES
    });
    for queue in [left, right] {
        assert_all_home(queue);
        let stats = queue.stats();
        assert_eq!((stats.received, stats.transmitted), (FRAMES, FRAMES));
        assert_eq!(stats.received_bytes, stats.transmitted_bytes);
        assert!(stats.kicks > 0 && stats.kicks <= FRAMES, "one kick a flush at most: {stats:?}");
        assert_eq!(stats.invalid_descriptors, 0);
        assert_eq!(queue.dropped_frames(), 0);
    }
}

#[test]
fn one_kick_sends_a_whole_ring() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], Config::default()).unwrap();
    let mut right = Side::open(&world.right, &[0], Config::default()).unwrap();
    let (left, right) = (&mut left.queues[0], &mut right.queues[0]);
    for number in 0..200 {
        assert!(send(left, &packet(number, 60)));
    }
    assert_eq!(left.stats().kicks, 0, "nothing leaves before the flush");
    left.flush();
    assert_eq!((left.stats().kicks, left.pending()), (1, false));
    let mut burst = Vec::new();
    eventually("all arrive", || {
        right.receive(&mut burst, 64);
        burst.len() == 200
    });
    burst.drain(..).for_each(|frame| right.recycle(frame));
    left.flush();
    assert_eq!(left.stats().kicks, 1, "a flush with nothing to send makes no system call");
    assert_all_home(left);
    assert_all_home(right);
}

#[test]
fn queues_of_an_interface_share_their_frames() {
    let Some(world) = World::with_queues(2) else { return };
    let mut left = Side::open(&world.left, &[0, 1], small()).unwrap();
    let mut right = Side::open(&world.right, &[0, 1], small()).unwrap();
    assert_eq!(left.queues[1].queue(), 1);
    assert_eq!(left.queues[0].umem_bytes(), 2 * 128 * 2048, "one UMEM for both");
    for number in 0..500 {
        assert!(send(&mut left.queues[1], &packet(number, 100)));
        left.queues[1].flush();
        // On veth the receive queue is the sender's transmit queue.
        let frame = receive_one(&mut right.queues[1]);
        assert_eq!(frame.bytes(), packet(number, 100));
        // A frame of queue 1 sent by queue 0 completes there, and goes back to queue 1.
        right.queues[0].transmit(frame).unwrap();
        right.queues[0].flush();
        let frame = receive_one(&mut left.queues[0]);
        assert_eq!(frame.bytes(), packet(number, 100));
        left.queues[1].recycle(frame);
    }
    for side in [&mut left, &mut right] {
        eventually("frames sent by the other queue come home", || {
            side.queues.iter_mut().for_each(Device::flush);
            side.queues.iter().all(|queue| queue.frames().sending == 0)
        });
        side.queues.iter_mut().for_each(assert_all_home);
    }
}

#[test]
fn a_frame_that_a_service_drops_comes_back() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    let mut right = Side::open(&world.right, &[0], small()).unwrap();
    let (left, right) = (&mut left.queues[0], &mut right.queues[0]);
    // More than there are frames: were they lost, the receiver would run dry.
    for number in 0..300 {
        assert!(send(left, &packet(number, 60)));
        left.flush();
        let frame = receive_one(right);
        assert_eq!(right.frames().outside(), 1);
        std::thread::spawn(move || drop(frame)).join().unwrap();
        assert_eq!(right.frames().outside(), 0);
    }
    assert_eq!(right.dropped_frames(), 300);
    assert_all_home(right);
}

#[test]
fn a_frame_can_be_read_after_its_queue_is_gone() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    let mut right = Side::open(&world.right, &[0], small()).unwrap();
    assert!(send(&mut left.queues[0], &packet(7, 600)));
    left.queues[0].flush();
    let frame = receive_one(&mut right.queues[0]);
    drop(right);
    assert_eq!(frame.bytes(), packet(7, 600));
}

#[test]
fn a_queue_that_nobody_reads_counts_what_it_loses() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    let mut right = Side::open(&world.right, &[0], small()).unwrap();
    let (left, right) = (&mut left.queues[0], &mut right.queues[0]);
    for number in 0..200 {
        eventually("the sender has room", || {
            left.flush();
            send(left, &packet(number, 60))
        });
    }
    assert_all_home(left);
    let mut burst = Vec::new();
    eventually("what fits arrives", || {
        right.receive(&mut burst, 64);
        burst.len() == 64
    });
    let stats = right.stats();
    let lost = stats.fill_ring_empty + stats.receive_ring_full + stats.receive_dropped;
    assert_eq!(stats.received + lost, 200, "each lost frame is counted once: {stats:?}");
    burst.drain(..).for_each(|frame| right.recycle(frame));
    // Read again, it receives again.
    right.flush();
    assert!(send(left, &packet(1000, 60)));
    left.flush();
    let frame = receive_one(right);
    assert_eq!(frame.bytes(), packet(1000, 60));
    right.recycle(frame);
    assert_all_home(right);
}

#[test]
fn a_link_that_goes_down_and_up_again_carries_frames_again() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    let mut right = Side::open(&world.right, &[0], small()).unwrap();
    world.left.ip(&["link", "set", "veth0", "down"]);
    let queue = &mut left.queues[0];
    assert!(send(queue, &packet(1, 60)));
    queue.flush();
    assert!(queue.pending(), "the descriptor stays");
    assert_eq!(queue.stats().kicks_refused, 1);
    world.left.ip(&["link", "set", "veth0", "up"]);
    eventually("the descriptor leaves", || {
        queue.flush();
        !queue.pending()
    });
    assert!(send(queue, &packet(2, 60)));
    queue.flush();
    let mut burst = Vec::new();
    eventually("a frame sent afterwards arrives", || {
        right.queues[0].flush();
        right.queues[0].receive(&mut burst, 8);
        burst.iter().any(|frame| frame.bytes() == packet(2, 60))
    });
    burst.drain(..).for_each(|frame| right.queues[0].recycle(frame));
    assert_all_home(queue);
    assert_all_home(&mut right.queues[0]);
}

#[test]
fn a_full_transmit_ring_gives_the_frame_back() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], Config { transmit_ring: 32, ..small() }).unwrap();
    let queue = &mut left.queues[0];
    for number in 0..32 {
        assert!(send(queue, &packet(number, 60)));
    }
    let mut frame = queue.allocate().unwrap();
    frame.set_len(60);
    let frame = queue.transmit(frame).expect_err("32 are queued");
    assert_eq!(frame.bytes().len(), 60);
    queue.recycle(frame);
    assert_all_home(queue);
}

#[test]
fn a_frame_without_an_ethernet_header_is_counted_and_not_lost() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    let queue = &mut left.queues[0];
    for len in [0, 13] {
        let mut frame = queue.allocate().unwrap();
        frame.set_len(len);
        queue.transmit(frame).unwrap();
    }
    queue.flush();
    assert_eq!((queue.stats().invalid_descriptors, queue.stats().transmitted, queue.stats().kicks), (2, 0, 0));
    assert_all_home(queue);
}

#[test]
fn every_frame_can_be_held_and_the_queue_recovers() {
    let Some(world) = World::new() else { return };
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    let queue = &mut left.queues[0];
    let held: Vec<_> = std::iter::from_fn(|| queue.allocate()).collect();
    assert_eq!(held.len(), 64, "the other half stands ready to receive");
    assert_eq!(queue.frames().outside(), 64);
    queue.flush();
    held.into_iter().for_each(|frame| queue.recycle(frame));
    assert_all_home(queue);
}

#[test]
fn busy_polling_carries_frames_too() {
    let Some(world) = World::new() else { return };
    let config = Config { busy_poll: Some(BusyPoll { timeout_us: 20, budget: 64 }), ..small() };
    let mut left = Side::open(&world.left, &[0], config).unwrap();
    let mut right = Side::open(&world.right, &[0], config).unwrap();
    assert!(send(&mut left.queues[0], &packet(1, 60)));
    left.queues[0].flush();
    let mut burst = Vec::new();
    eventually("a frame arrives", || {
        right.queues[0].busy_poll();
        right.queues[0].receive(&mut burst, 1) == 1
    });
    right.queues[0].recycle(burst.remove(0));
    assert_all_home(&mut left.queues[0]);
    assert_all_home(&mut right.queues[0]);
}

#[test]
fn a_queue_opens_again_at_once_after_it_was_closed() {
    let Some(world) = World::new() else { return };
    for _ in 0..3 {
        let side = Side::open(&world.left, &[0], small()).unwrap();
        assert!(matches!(side.queues[0].pages(), Pages::Huge | Pages::Ordinary));
        assert_eq!(side.queues[0].frames().receiving, 64, "the fill ring is full from the start");
    }
}

#[test]
fn a_packet_that_fits_no_frame_is_counted() {
    let Some(world) = World::new() else { return };
    let mut right = Side::open(&world.right, &[0], small()).unwrap();
    // The link grows after the frames were chosen for 1500 bytes.
    for side in [&world.left, &world.right] {
        side.ip(&["link", "set", "veth0", "mtu", "3000"]);
    }
    let mut left = Side::open(&world.left, &[0], small()).unwrap();
    assert!(send(&mut left.queues[0], &packet(1, 2500)), "its own frames are of 4096 bytes now");
    left.queues[0].flush();
    eventually("it is counted", || right.queues[0].stats().receive_dropped == 1);
    assert_all_home(&mut left.queues[0]);
    assert_all_home(&mut right.queues[0]);
}
