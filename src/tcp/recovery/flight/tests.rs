mod joins;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tcp::rate::Rate;

/// Near the wrap, so that every comparison crosses it.
const BASE: SeqNum = SeqNum(u32::MAX - 3_000);
const UNIT: u32 = 100;

/// A byte as a model that keeps each by itself would have it.
#[derive(Clone, Copy, Debug, Default)]
struct Byte {
    sacked: bool,
    lost: bool,
    /// Told of as delivered.
    told: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// So many segments of this length, and a moment passes or not.
    Send(u32, u32, bool),
    Acknowledge(u32),
    /// A block of whole segments, from the one so far on.
    Report(u32, u32),
    LoseBefore(u32),
    LoseFirst(u32),
    Resend(u32),
    Timeout,
    NothingLost,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..6, 1u32..=UNIT, any::<bool>()).prop_map(|(count, len, later)| Step::Send(count, len, later)),
        4 => (1u32..6, Just(UNIT), any::<bool>()).prop_map(|(count, len, later)| Step::Send(count, len, later)),
        3 => (0u32..800).prop_map(Step::Acknowledge),
        6 => (0u32..1500, 1u32..400).prop_map(|(left, len)| Step::Report(left, len)),
        2 => (0u32..1500).prop_map(Step::LoseBefore),
        1 => (1u32..300).prop_map(Step::LoseFirst),
        4 => (1u32..300).prop_map(Step::Resend),
        1 => Just(Step::Timeout),
        1 => Just(Step::NothingLost),
    ]
}

/// The scoreboard beside a model of bytes. `exact` when records never had to join.
struct Bench {
    flight: Flight,
    pool: BufferPool,
    rate: Rate,
    now: Instant,
    una: u32,
    bytes: Vec<Byte>,
    exact: bool,
}

impl Bench {
    fn new(pool: BufferPool, exact: bool) -> Self {
        let now = Instant::from_ns(1_000_000);
        Self { flight: Flight::new(BASE), pool, rate: Rate::NONE, now, una: 0, bytes: Vec::new(), exact }
    }

    fn nxt(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(count, len, later) => {
                for _ in 0..count {
                    self.bytes.extend((0..len).map(|_| Byte::default()));
                    let stamp = self.rate.stamp(self.now, false);
                    self.flight.sent(BASE + self.nxt(), stamp, self.now, &mut self.pool);
                }
                if later {
                    self.now += Duration::from_micros(1);
                }
            }
            Step::Acknowledge(bytes) => {
                self.una = (self.una + bytes).min(self.nxt());
                let told = tell(&mut self.bytes);
                self.flight.acknowledge(BASE + self.una, &mut self.pool, told);
            }
            Step::Report(left, len) => self.report(self.una + left, self.una + left + len),
            Step::LoseBefore(bytes) => {
                let end = BASE + self.una + bytes;
                let mut reached = 0;
                self.flight.judge(|record| {
                    if record.end.after(end) {
                        return Judgement::Stop;
                    }
                    reached = record.end - BASE;
                    Judgement::Lost
                });
                self.lose(reached);
            }
            Step::LoseFirst(bytes) => {
                self.flight.lose_first(bytes, &mut self.pool);
                self.lose((self.una + bytes).min(self.nxt()));
            }
            Step::Resend(most) => self.resend(most),
            Step::Timeout => {
                self.flight.forget_reports();
                self.flight.lose_all();
                self.bytes.iter_mut().for_each(|byte| byte.sacked = false);
                self.lose(self.nxt());
            }
            Step::NothingLost => {
                self.flight.nothing_is_lost();
                self.bytes.iter_mut().for_each(|byte| byte.lost = false);
            }
        }
        self.check();
    }

    fn report(&mut self, left: u32, right: u32) {
        let right = right.min(self.nxt());
        if left >= right {
            return;
        }
        let before = self.flight.sacked();
        self.flight.report(BASE + left, BASE + right, &mut self.pool, tell(&mut self.bytes));
        assert!(self.flight.sacked() >= before || !self.exact);
        // Where segments began is the scoreboard's business: what it took lies in the block.
        for seq in 0..self.nxt() {
            let byte = &mut self.bytes[seq as usize];
            if seq >= self.una && is_sacked(&self.flight, seq) {
                assert!(byte.sacked || (left..right).contains(&seq), "{seq} was never reported");
                (byte.sacked, byte.lost) = (true, false);
            }
        }
    }

    fn lose(&mut self, end: u32) {
        for byte in &mut self.bytes[self.una as usize..end.max(self.una) as usize] {
            byte.lost |= !byte.sacked;
        }
    }

    fn resend(&mut self, most: u32) {
        let Some((seq, len)) = self.flight.first_lost(most) else {
            assert!(self.flight.lost() == 0);
            return;
        };
        let first = seq - BASE;
        if self.exact {
            let expected = (self.una..self.nxt()).find(|&seq| self.bytes[seq as usize].lost);
            assert_eq!(Some(first), expected, "the first that is lost");
        }
        assert!(
            len > 0
                && len <= most
                && self.bytes[first as usize..(first + len) as usize].iter().all(|byte| byte.lost || !self.exact)
        );
        let stamp = self.rate.stamp(self.now, false);
        self.flight.sent_again(seq, seq + len, stamp, self.now, &mut self.pool);
        for byte in &mut self.bytes[first as usize..(first + len) as usize] {
            (byte.sacked, byte.lost) = (false, false);
        }
    }

    fn check(&mut self) {
        self.flight.check(BASE + self.una, BASE + self.nxt());
        let live = &self.bytes[self.una as usize..];
        let count = |is: fn(&Byte) -> bool| live.iter().filter(|byte| is(byte)).count() as u32;
        if self.exact {
            assert_eq!((self.flight.sacked(), self.flight.lost()), (count(|byte| byte.sacked), count(|byte| byte.lost)));
        } else {
            // Joined, it is told less apart: never is anything taken for received that was not reported.
            assert!(self.flight.sacked() <= count(|byte| byte.sacked));
            assert!(self.flight.sacked() + self.flight.lost() <= live.len() as u32);
            for seq in self.una..self.nxt() {
                let sacked = is_sacked(&self.flight, seq);
                let byte = &mut self.bytes[seq as usize];
                assert!(byte.sacked || !sacked);
                byte.sacked = sacked;
            }
        }
    }
}

/// Takes note of what is delivered: no byte is told of twice.
fn tell(bytes: &mut [Byte]) -> impl FnMut(&Record, u32) {
    |record, len| {
        let end = (record.end - BASE) as usize;
        for byte in &mut bytes[end - len as usize..end] {
            assert!(!byte.told, "a byte before {end} is delivered twice");
            byte.told = true;
        }
    }
}

fn is_sacked(flight: &Flight, seq: u32) -> bool {
    flight.at(flight.index_of(BASE + seq)).is_some_and(|record| record.marks.has(Marks::SACKED))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.saturating_mul(4), ..ProptestConfig::default() })]

    /// What is kept for stretches is what would be kept for each byte.
    #[test]
    fn stretches_know_what_bytes_would(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(BufferPool::new(1 << 20), true);
        steps.iter().for_each(|step| bench.step(step));
        bench.flight.release(&mut bench.pool);
        prop_assert_eq!(bench.pool.in_use(), 0);
    }

    /// With the shortest list alone records join all the time, and still nothing is taken for received that was not reported.
    #[test]
    fn a_short_list_errs_on_the_safe_side(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new(BufferPool::new(0), false);
        steps.iter().for_each(|step| bench.step(step));
        assert!(bench.flight.len() <= 8);
        bench.flight.release(&mut bench.pool);
        prop_assert_eq!(bench.pool.in_use(), 0);
    }
}

/// The limit holds, and joining costs no allocation.
#[test]
fn more_stretches_than_there_is_room_for_are_joined() {
    let mut bench = Bench::new(BufferPool::new(1 << 20), true);
    for _ in 0..4 * FLIGHT_RECORDS {
        bench.now += Duration::from_micros(1);
        let stamp = bench.rate.stamp(bench.now, false);
        bench.bytes.extend([Byte::default(); UNIT as usize]);
        bench.flight.sent(BASE + bench.nxt(), stamp, bench.now, &mut bench.pool);
    }
    assert!(bench.flight.len() > FLIGHT_RECORDS / 3 && bench.flight.len() <= FLIGHT_RECORDS);
    let made = bench.pool.allocated();
    // Blocks of a hostile peer: every second segment, the last first.
    for segment in (0..4 * FLIGHT_RECORDS as u32).rev().step_by(2) {
        bench.flight.report(BASE + segment * UNIT, BASE + (segment + 1) * UNIT, &mut bench.pool, |_, _| {});
    }
    bench.flight.check(BASE, BASE + bench.nxt());
    assert_eq!(bench.pool.allocated(), made);
    assert!(bench.flight.len() <= FLIGHT_RECORDS);
    bench.flight.release(&mut bench.pool);
}

/// After the path's MTU has shrunk: pieces that end where no segment did must not make later reports unreadable.
#[test]
fn what_is_sent_again_in_smaller_pieces_hides_no_report() {
    let mut bench = Bench::new(BufferPool::new(1 << 20), true);
    bench.step(&Step::Send(10, UNIT, false));
    bench.flight.lose_all();
    let stamp = bench.rate.stamp(bench.now, false);
    bench.flight.sent_again(BASE, BASE + 60, stamp, bench.now, &mut bench.pool);
    // What was the fifth segment, as it was sent at first, has arrived.
    bench.flight.report(BASE + 4 * UNIT, BASE + 5 * UNIT, &mut bench.pool, |_, _| {});
    assert_eq!((bench.flight.sacked(), bench.flight.lost()), (UNIT, 9 * UNIT - 60));
    bench.flight.release(&mut bench.pool);
}

/// The receiver had no room for more: the segments behind the one it took in part are still known by where they begin.
#[test]
fn a_part_of_a_segment_acknowledged_hides_no_report() {
    for whole in [3, 1] {
        let mut bench = Bench::new(BufferPool::new(1 << 20), true);
        bench.step(&Step::Send(whole, UNIT, false));
        bench.step(&Step::Send(1, UNIT, true));
        bench.step(&Step::Acknowledge(40));
        bench.flight.report(BASE + 40, BASE + UNIT - 1, &mut bench.pool, |_, _| {});
        assert_eq!(bench.flight.sacked(), 0, "not even the rest of the segment");
        bench.flight.report(BASE + UNIT, BASE + 2 * UNIT, &mut bench.pool, |_, _| {});
        assert_eq!(bench.flight.sacked(), UNIT, "{:?}", bench.flight);
        bench.flight.release(&mut bench.pool);
    }
}

/// However the list is joined, what was reported once is not delivered once more when it is reported again: `tell` looks at that.
#[test]
fn what_joins_with_something_unreported_is_not_delivered_twice() {
    let mut bench = Bench::new(BufferPool::new(0), false);
    for _ in 0..6 {
        bench.step(&Step::Send(1, UNIT, true));
    }
    for _ in 0..20 {
        bench.report(UNIT, 2 * UNIT);
        bench.step(&Step::Send(1, UNIT, true));
        bench.step(&Step::Send(1, UNIT, true));
    }
    bench.flight.release(&mut bench.pool);
}
