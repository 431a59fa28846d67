//! Frames between the program, its lists and a kernel that may lie: no chunk ever has two tokens, and none is lost.

use proptest::prelude::*;

use super::*;

const CHUNK: u64 = 2048;

fn pools(queues: usize) -> Vec<Pool> {
    Pool::all(Umem::new(queues, 8, CHUNK as usize).unwrap())
}

fn pool() -> Pool {
    pools(1).remove(0)
}

fn packet(addr: u64, len: u32) -> Descriptor {
    Descriptor { addr, len, options: 0 }
}

#[test]
fn every_frame_can_be_taken_once_and_comes_back() {
    let mut pool = pool();
    let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    assert_eq!(frames.len(), 8);
    assert_eq!(pool.census(), FrameCensus { total: 8, ..FrameCensus::default() });
    assert_eq!(pool.census().outside(), 8);
    frames.into_iter().for_each(|frame| pool.put(frame));
    assert_eq!(pool.census(), FrameCensus { total: 8, free: 8, ..FrameCensus::default() });
}

#[test]
fn tokens_have_bytes_of_their_own() {
    let mut pool = pool();
    let mut frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    for (i, frame) in frames.iter_mut().enumerate() {
        assert_eq!(frame.set_len(usize::MAX), CHUNK as usize);
        frame.bytes_mut().fill(i as u8);
    }
    for (i, frame) in frames.iter().enumerate() {
        assert!(frame.bytes().iter().all(|&byte| byte == i as u8));
    }
}

#[test]
fn a_received_frame_begins_where_the_kernel_put_it() {
    let mut pool = pool();
    let addr = pool.lend_to_receive().unwrap();
    let frame = pool.received(packet(addr + 256, 60)).unwrap();
    assert_eq!((frame.bytes().len(), frame.capacity()), (60, CHUNK as usize - 256));
    let sent = pool.lend_to_transmit(frame).unwrap();
    assert_eq!(sent, packet(addr + 256, 60), "it leaves from where it lay: no copy");
    assert!(pool.completed(sent.addr));
    assert_eq!(pool.census().free, 8);
}

#[test]
fn a_lying_rx_ring_mints_nothing() {
    let mut pool = pool();
    let addr = pool.lend_to_receive().unwrap();
    let outside = pool.take().unwrap();
    let lies = [
        packet(addr + CHUNK, 60),
        packet(7 * CHUNK, 60),
        packet(8 * CHUNK, 60),
        packet(u64::MAX, 60),
        packet(addr + 256, 2048 - 255),
        packet(addr, u32::MAX),
    ];
    for lie in lies {
        assert!(pool.received(lie).is_none(), "{lie:?}");
    }
    assert_eq!(pool.lies(), lies.len() as u64);
    let first = pool.received(packet(addr, 60)).unwrap();
    assert!(pool.received(packet(addr, 60)).is_none(), "the same frame a second time");
    assert!(!pool.completed(addr), "received is not completed");
    drop((first, outside));
}

#[test]
fn a_lying_completion_ring_mints_nothing() {
    let mut pool = pool();
    let mut frame = pool.take().unwrap();
    frame.set_len(60);
    let sent = pool.lend_to_transmit(frame).unwrap();
    let received = pool.lend_to_receive().unwrap();
    assert!(!pool.completed(received) && !pool.completed(u64::MAX) && !pool.completed(5 * CHUNK));
    assert!(pool.received(packet(sent.addr, 60)).is_none(), "sent is not received");
    assert!(pool.completed(sent.addr));
    assert!(!pool.completed(sent.addr), "a second time");
    assert_eq!(pool.lies(), 5);
    assert_eq!(pool.census(), FrameCensus { total: 8, free: 7, receiving: 1, sending: 0 });
}

#[test]
fn a_frame_shorter_than_its_ethernet_header_is_never_lent() {
    let mut pool = pool();
    for len in [0, 13] {
        let mut frame = pool.take().unwrap();
        frame.set_len(len);
        assert!(matches!(pool.lend_to_transmit(frame), Err(Refused::Unsendable)));
    }
    assert_eq!(pool.census().free, 8);
}

#[test]
fn a_dropped_frame_goes_home_and_is_counted() {
    let mut pool = pool();
    let frame = pool.take().unwrap();
    std::thread::spawn(move || drop(frame)).join().unwrap();
    assert_eq!((pool.free.len(), pool.census().free, pool.umem().dropped()), (7, 8, 1));
    pool.take_in_returned();
    assert_eq!(pool.free.len(), 8);
}

#[test]
fn a_frame_sent_by_another_queue_completes_there_and_goes_home() {
    let mut pools = pools(2);
    let mut frame = pools[0].take().unwrap();
    frame.set_len(60);
    let sent = pools[1].lend_to_transmit(frame).unwrap();
    assert_eq!((pools[0].census().sending, pools[1].census().sending), (1, 0), "counted by its home");
    assert!(!pools[0].completed(sent.addr), "it is in the other queue's ring");
    assert!(pools[1].completed(sent.addr));
    assert_eq!((pools[0].census().free, pools[1].census().free), (8, 8));
    let frame = pools[1].take().unwrap();
    pools[0].put(frame);
    assert_eq!(pools[1].census(), FrameCensus { total: 8, free: 8, ..FrameCensus::default() });
}

#[test]
fn a_frame_of_another_interface_is_copied() {
    let (mut ours, mut theirs) = (pool(), pool());
    let mut frame = theirs.take().unwrap();
    frame.set_len(20);
    frame.bytes_mut().copy_from_slice(b"twenty bytes of mine");
    let sent = ours.lend_to_transmit(frame).unwrap();
    assert_eq!((theirs.census().free, ours.census().sending), (8, 1));
    let (index, _) = ours.umem().locate(sent.addr).unwrap();
    ours.completed(sent.addr);
    let mut again = ours.take().unwrap();
    assert_eq!(ours.umem().chunk_of(index), again.bytes_mut().as_mut_ptr());
    again.set_len(20);
    assert_eq!(again.bytes(), b"twenty bytes of mine");
    let all: Vec<_> = std::iter::from_fn(|| ours.take()).collect();
    let mut frame = theirs.take().unwrap();
    frame.set_len(20);
    assert!(matches!(ours.lend_to_transmit(frame), Err(Refused::NoFrame(_))), "none is free: back-pressure");
    drop(all);
}

#[test]
fn a_frame_outlives_its_queue_and_the_memory_goes_with_the_last() {
    let mut pool = pool();
    let memory = Arc::downgrade(pool.umem());
    let (mut first, second) = (pool.take().unwrap(), pool.take().unwrap());
    pool.lend_to_receive().unwrap();
    drop(pool);
    first.set_len(100);
    first.bytes_mut().fill(7);
    assert_eq!(first.bytes(), [7; 100]);
    drop(first);
    assert!(memory.upgrade().is_some());
    second.go_home();
    assert!(memory.upgrade().is_none(), "no reference is left");
}

#[test]
fn a_frame_in_another_queues_ring_does_not_hold_the_memory_for_ever() {
    let mut pools = pools(2);
    let memory = Arc::downgrade(pools[0].umem());
    let mut frame = pools[0].take().unwrap();
    frame.set_len(60);
    pools[1].lend_to_transmit(frame).unwrap();
    drop(pools);
    assert!(memory.upgrade().is_none());
}

/// Drops race with the end of their queue: whichever comes first, every reference is given up exactly once.
#[test]
fn frames_dropped_while_their_queue_ends_leave_nothing_behind() {
    for _ in 0..200 {
        let mut pool = pool();
        let memory = Arc::downgrade(pool.umem());
        let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let dropping = std::thread::spawn(move || frames.into_iter().for_each(drop));
        drop(pool);
        dropping.join().unwrap();
        assert!(memory.upgrade().is_none());
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take,
    Put,
    Drop,
    Lend,
    Transmit,
    Receive(u64, u32),
    Complete(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let address = prop_oneof![0..20 * CHUNK, any::<u64>()];
    prop_oneof![
        Just(Step::Take),
        Just(Step::Put),
        Just(Step::Drop),
        Just(Step::Lend),
        Just(Step::Transmit),
        (address.clone(), prop_oneof![0..3000_u32, any::<u32>()]).prop_map(|(addr, len)| Step::Receive(addr, len)),
        address.prop_map(Step::Complete),
    ]
}

proptest! {
    /// Whatever the kernel claims, no chunk has two tokens, and what is outside is what the test holds.
    #[test]
    fn no_chunk_ever_has_two_tokens(steps in prop::collection::vec(step(), 1..300)) {
        let mut pool = pool();
        let mut held: Vec<UmemFrame> = Vec::new();
        for step in steps {
            match step {
                Step::Take => held.extend(pool.take()),
                Step::Put => if let Some(frame) = held.pop() { pool.put(frame) },
                Step::Drop => drop(held.pop()),
                Step::Lend => { pool.lend_to_receive(); }
                Step::Transmit => if let Some(mut frame) = held.pop() {
                    frame.set_len(60);
                    prop_assert!(pool.lend_to_transmit(frame).is_ok());
                },
                Step::Receive(addr, len) => held.extend(pool.received(packet(addr, len))),
                Step::Complete(addr) => { pool.completed(addr); }
            }
            let mut chunks: Vec<_> = held.iter().map(|frame| frame.bytes().as_ptr().addr() as u64 / CHUNK).collect();
            chunks.sort_unstable();
            chunks.dedup();
            prop_assert_eq!(chunks.len(), held.len());
            prop_assert_eq!(pool.census().outside(), held.len());
        }
    }
}
