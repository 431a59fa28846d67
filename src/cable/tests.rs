//! A cable between devices in memory: what goes in at one end comes out at the other, or is accounted for.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::device::memory::{self, MemoryDevice};
use crate::device::{Device, Frame};
use crate::time::Instant;

/// Two hosts and the cable between them.
struct Bench {
    left: MemoryDevice,
    right: MemoryDevice,
    cable: Cable<MemoryDevice>,
    now: Instant,
}

impl Bench {
    fn new(profile: &Profile) -> Self {
        profile.check().unwrap();
        let ((left, a), (right, b)) = (memory::cable(2048), memory::cable(2048));
        Self { left, right, cable: Cable::new(profile, vec![a], vec![b]), now: Instant::ZERO }
    }

    /// Sends a frame of IPv4 with a number in it from the left.
    fn send(&mut self, number: u32, len: usize) {
        let mut frame = self.left.allocate().unwrap();
        frame.set_len(len);
        frame.bytes_mut().fill(0);
        frame.bytes_mut()[12..14].copy_from_slice(&[8, 0]);
        frame.bytes_mut()[14..18].copy_from_slice(&number.to_be_bytes());
        self.left.transmit(frame).unwrap();
        self.left.flush();
    }

    fn wait(&mut self, span: Duration) {
        self.now += span;
        while self.cable.turn(self.now) {}
    }

    /// The numbers that have come out on the right.
    fn arrived(&mut self) -> Vec<u32> {
        let mut burst = Vec::new();
        while self.right.receive(&mut burst, 64) > 0 {}
        let numbers = burst.iter().map(|frame| u32::from_be_bytes(frame.bytes()[14..18].try_into().unwrap())).collect();
        burst.into_iter().for_each(|frame| self.right.recycle(frame));
        self.right.flush();
        numbers
    }

    /// Clears the cable; every frame of it is at home and every frame that entered is accounted for.
    fn assert_balanced(mut self) {
        self.cable.clear();
        for counts in self.cable.counts() {
            let out = counts.sent + counts.lost + counts.queue_drops + counts.overflow + counts.unsendable + counts.undelivered;
            assert_eq!(counts.received + counts.duplicated, out, "{counts:?}");
        }
        for (_, device) in self.cable.devices() {
            let census = device.frames();
            assert_eq!((census.outside(), census.sending), (0, 0), "{census:?}");
        }
    }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn frames_arrive_whole_in_order_and_after_the_delay() {
    let mut bench = Bench::new(&Profile { delay: millis(10), ..Profile::default() });
    for number in 0..100 {
        bench.send(number, 60 + number as usize);
    }
    bench.wait(Duration::ZERO);
    assert_eq!(bench.cable.next_due(), Instant::ZERO + millis(10));
    bench.wait(Duration::from_nanos(9_999_999));
    assert_eq!(bench.arrived(), Vec::<u32>::new());
    bench.wait(Duration::from_nanos(1));
    assert_eq!(bench.arrived(), (0..100).collect::<Vec<_>>());
    assert_eq!(bench.cable.next_due(), Instant::NEVER);
    assert_eq!(bench.cable.counts()[1], Counts::default(), "nothing went back");
    assert_eq!(bench.cable.counts()[0].sent_bytes, (60..160).sum::<u64>());
    bench.assert_balanced();
}

#[test]
fn both_ways_carry() {
    let mut bench = Bench::new(&Profile::default());
    bench.send(1, 60);
    let mut frame = bench.right.allocate().unwrap();
    frame.set_len(60);
    bench.right.transmit(frame).unwrap();
    bench.right.flush();
    bench.wait(Duration::ZERO);
    assert_eq!(bench.arrived(), [1]);
    let mut burst = Vec::new();
    assert_eq!(bench.left.receive(&mut burst, 64), 1);
    assert_eq!(bench.cable.counts().map(|counts| counts.sent), [1, 1]);
}

#[test]
fn a_duplicate_has_the_bytes_of_its_original_also_when_one_of_them_is_corrupted() {
    let profile = Profile { duplicate: "100%".parse().unwrap(), corrupt: "50%".parse().unwrap(), ..Profile::default() };
    let mut bench = Bench::new(&profile);
    let mut corrupted = 0;
    for _ in 0..200 {
        bench.send(0, 18);
        bench.wait(Duration::ZERO);
        let both = bench.arrived();
        assert_eq!(both.len(), 2);
        for number in both {
            assert!(number.count_ones() <= 1, "each copy is hit for itself");
            corrupted += u64::from(number != 0);
        }
    }
    assert_eq!(bench.cable.counts()[0].corrupted, corrupted);
    assert!((150..250).contains(&corrupted), "{corrupted}");
    bench.assert_balanced();
}

#[test]
fn a_frame_too_long_for_the_other_end_is_counted() {
    let mut bench = Bench::new(&Profile::default());
    for len in [13, 14, 1518, 1519] {
        let mut frame = bench.left.allocate().unwrap();
        frame.set_len(len);
        bench.left.transmit(frame).unwrap();
    }
    bench.left.flush();
    bench.wait(Duration::ZERO);
    assert_eq!((bench.cable.counts()[0].sent, bench.cable.counts()[0].unsendable), (2, 2));
    bench.assert_balanced();
}

#[test]
fn a_far_end_without_room_delays_and_loses_nothing() {
    let mut bench = Bench::new(&Profile::default());
    // The right end takes nothing away: the ring of the cable's end fills at last, and the cable waits.
    let sent = 900;
    for number in 0..sent {
        bench.send(number, 60);
        bench.wait(Duration::from_micros(1));
    }
    let mut arrived = Vec::new();
    for _ in 0..100 {
        arrived.extend(bench.arrived());
        bench.wait(Duration::from_micros(1));
    }
    assert_eq!(arrived, (0..sent).collect::<Vec<_>>());
    bench.assert_balanced();
}

#[test]
fn what_is_on_its_way_at_the_end_is_undelivered() {
    let mut bench = Bench::new(&Profile { delay: millis(10), ..Profile::default() });
    (0..5).for_each(|number| bench.send(number, 60));
    bench.wait(millis(1));
    assert_eq!(bench.cable.in_transit(), [5, 0]);
    bench.cable.clear();
    assert_eq!(bench.cable.counts()[0].undelivered, 5);
    bench.assert_balanced();
}

proptest! {
    #[test]
    fn whatever_the_profile_every_frame_is_accounted_for(
        seed in any::<u64>(), loss in 0u32..=1_000_000_000, dup in 0u32..=1_000_000_000, reorder in 0u32..=1_000_000_000,
        corrupt in 0u32..=1_000_000_000, rate in prop::option::of(100_000u64..10_000_000_000), queue in 1usize..100,
        lengths in prop::collection::vec(18usize..1514, 1..200),
    ) {
        let share = Share::parts;
        let profile = Profile {
            delay: millis(2), jitter: millis(1), rate, queue, ecn_threshold: rate.map(|_| queue / 2), seed,
            loss: share(loss), duplicate: share(dup), reorder: share(reorder), corrupt: share(corrupt), ..Profile::default()
        };
        let mut bench = Bench::new(&profile);
        for (n, &len) in lengths.iter().enumerate() {
            bench.send(n as u32, len);
            bench.wait(Duration::from_micros(len as u64));
            bench.arrived();
        }
        bench.wait(millis(1));
        bench.assert_balanced();
    }
}
