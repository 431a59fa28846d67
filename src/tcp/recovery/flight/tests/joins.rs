//! Which records become one, and which stay apart.

use super::*;

struct Bench {
    flight: Flight,
    pool: BufferPool,
    stamp: Stamp,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::from_ns(1_000_000);
        Self { flight: Flight::new(BASE), pool: BufferPool::new(1 << 20), stamp: Rate::NONE.clone().stamp(now, true), now }
    }

    /// Nothing but these segments, each a turn of its own.
    fn with_turns(lens: &[u32]) -> Self {
        let mut bench = Self::new();
        for &len in lens {
            bench.send(&[len]);
            bench.later();
        }
        bench
    }

    fn later(&mut self) {
        self.now += Duration::from_micros(1);
    }

    fn send(&mut self, lens: &[u32]) {
        for len in lens {
            let end = self.flight.start_of(self.flight.len()) + *len;
            self.flight.sent(end, self.stamp, self.now, &mut self.pool);
        }
    }

    fn send_again(&mut self, left: u32, right: u32) {
        self.flight.sent_again(BASE + left, BASE + right, self.stamp, self.now, &mut self.pool);
    }

    fn report(&mut self, left: u32, right: u32) {
        self.flight.report(BASE + left, BASE + right, &mut self.pool, |_, _| {});
    }

    /// Where each record ends.
    #[track_caller]
    fn expect(&self, ends: &[u32]) {
        let found: Vec<_> = (0..self.flight.len()).filter_map(|index| Some(self.flight.at(index)?.end - BASE)).collect();
        assert_eq!(found, ends);
    }
}

#[test]
fn segments_of_one_turn_are_one_record() {
    let mut bench = Bench::new();
    bench.send(&[100, 100, 100]);
    bench.expect(&[300]);
    // A shorter one is the last of its record, and a longer one is the first.
    bench.send(&[50]);
    bench.expect(&[350]);
    bench.send(&[100]);
    bench.expect(&[350, 450]);
    bench.send(&[120]);
    bench.expect(&[350, 450, 570]);
    bench.later();
    bench.send(&[120]);
    bench.expect(&[350, 450, 570, 690]);
    bench.flight.lose_all();
    bench.send(&[120]);
    bench.expect(&[350, 450, 570, 690, 810]);
}

#[test]
fn what_is_sent_again_in_one_turn_is_one_record() {
    let mut bench = Bench::new();
    bench.send(&[100; 6]);
    bench.flight.lose_all();
    bench.later();
    for (left, right, ends) in [
        (0, 100, &[100, 600][..]),
        (100, 200, &[200, 600]),
        (200, 300, &[300, 600]),
        // The rest of the segment that was cut is a record of its own, so that the grid goes on where segments began.
        (300, 350, &[350, 400, 600]),
        (350, 450, &[350, 450, 500, 600]),
        (450, 600, &[350, 450, 600]),
    ] {
        bench.send_again(left, right);
        bench.expect(ends);
    }
    // Another turn is another time.
    let mut bench = Bench::new();
    bench.send(&[100; 3]);
    bench.flight.lose_all();
    for (left, ends) in [(0, &[100, 300][..]), (100, &[100, 200, 300]), (200, &[100, 200, 300])] {
        bench.later();
        bench.send_again(left, left + 100);
        bench.expect(ends);
    }
}

#[test]
fn a_record_is_64_kib_at_most() {
    let mut bench = Bench::new();
    bench.send(&[1024; 65]);
    bench.expect(&[65_536, 66_560]);
    bench.flight.lose_all();
    bench.later();
    (0..65).for_each(|n| bench.send_again(1024 * n, 1024 * (n + 1)));
    bench.expect(&[65_536, 66_560]);
}

#[test]
fn what_is_reported_joins_its_neighbours() {
    let mut bench = Bench::with_turns(&[100; 5]);
    for (left, ends) in [
        (100, &[100, 200, 300, 400, 500][..]),
        (200, &[100, 300, 400, 500]),
        (400, &[100, 300, 400, 500]),
        (300, &[100, 500]),
        (0, &[500]),
    ] {
        bench.report(left, left + 100);
        bench.expect(ends);
    }
    assert_eq!(bench.flight.sacked(), 500);
    let newest = bench.now - Duration::from_micros(1);
    assert_eq!(bench.flight.first().map(|record| record.sent), Some(newest), "the later of all times counts");
}

/// Where segments began in a joined record is known when all are of one length.
#[test]
fn segments_of_one_length_are_still_told_apart_when_they_are_joined() {
    for (lens, last) in
        [(&[100, 100][..], (100, 100)), (&[100, 80], (0, 180)), (&[100, 100, 60], (0, 260)), (&[80, 100], (0, 180))]
    {
        let mut bench = Bench::with_turns(lens);
        bench.report(0, lens.iter().sum());
        assert_eq!(bench.flight.len(), 1);
        let (seq, len) = bench.flight.last_segment(1_000).unwrap();
        assert_eq!((seq - BASE, len), last, "{lens:?}");
        assert!(!bench.flight.is_one_segment());
    }
}
