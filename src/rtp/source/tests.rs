use proptest::prelude::*;

use super::*;

/// Hears packets a millisecond apart on a clock of 1000 a second: each arrives when its timestamp says.
fn heard(sequence: impl IntoIterator<Item = u16>) -> Source {
    let mut sequence = sequence.into_iter().peekable();
    let mut source = Source::new(*sequence.peek().expect("a packet"), 1000);
    for (at, seq) in sequence.enumerate() {
        source.hear(seq, at as u32, Instant::from_ns(at as u64 * 1_000_000));
    }
    source
}

/// Expected, received, lost; missing, reordered, duplicates.
fn books(source: &Source) -> ([i64; 3], [u64; 3]) {
    let rfc = [source.expected() as i64, source.received() as i64, source.lost().into()];
    (rfc, [source.missing(), source.counts().reordered, source.counts().duplicates])
}

/// RFC 3550 A.1 word for word, with the numbers as wide as the RFC has them: what ours is held against.
#[derive(Debug, Default)]
struct Appendix {
    max_seq: u16,
    cycles: u32,
    base_seq: u32,
    bad_seq: u32,
    probation: u32,
    received: u32,
}

impl Appendix {
    fn new(seq: u16) -> Self {
        let mut s = Self::default();
        s.init_seq(seq);
        s.max_seq = seq.wrapping_sub(1);
        s.probation = 2;
        s
    }

    fn init_seq(&mut self, seq: u16) {
        self.base_seq = seq.into();
        self.max_seq = seq;
        self.bad_seq = (1 << 16) + 1;
        self.cycles = 0;
        self.received = 0;
    }

    fn update_seq(&mut self, seq: u16) -> bool {
        let udelta = seq.wrapping_sub(self.max_seq);
        if self.probation != 0 {
            if seq == self.max_seq.wrapping_add(1) {
                self.probation -= 1;
                self.max_seq = seq;
                if self.probation == 0 {
                    self.init_seq(seq);
                    self.received += 1;
                    return true;
                }
            } else {
                self.probation = 2 - 1;
                self.max_seq = seq;
            }
            return false;
        } else if udelta < 3000 {
            if seq < self.max_seq {
                self.cycles += 1 << 16;
            }
            self.max_seq = seq;
        } else if u32::from(udelta) <= (1 << 16) - 100 {
            if u32::from(seq) == self.bad_seq {
                self.init_seq(seq);
            } else {
                self.bad_seq = (u32::from(seq) + 1) & ((1 << 16) - 1);
                return false;
            }
        }
        self.received += 1;
        true
    }
}

//= type=test
//= rfc3550#A.1
//# The routine update_seq shown below ensures that a source is declared
//# valid only after MIN_SEQUENTIAL packets have been received in
//# sequence.
#[test]
fn a_source_is_valid_after_two_packets_in_sequence() {
    let on_probation = heard([7]);
    assert!(!on_probation.is_valid());
    assert_eq!((books(&on_probation), on_probation.fraction_lost()), (([0, 0, 0], [0, 0, 0]), 0));
    assert!(!heard([7, 9, 11, 13]).is_valid());
    let source = heard([7, 9, 10, 11]);
    assert!(source.is_valid());
    assert_eq!((books(&source), source.counts().packets, source.counts().probation), (([2, 2, 0], [0, 0, 0]), 4, 3));
}

#[test]
fn loss_is_what_was_expected_less_what_came() {
    let source = heard([1, 2, 3, 6, 7, 10]);
    assert_eq!(books(&source), ([9, 5, 4], [4, 0, 0]));
    assert_eq!((source.extended_max(), source.fraction_lost()), (10, 113)); // 4 of 9, times 256
}

#[test]
fn late_packets_and_duplicates_are_told_apart() {
    // 4 comes late, 3 and 6 come twice.
    let source = heard([1, 2, 3, 5, 4, 6, 3, 6, 7]);
    assert_eq!(books(&source), ([6, 8, -2], [0, 1, 2]));
    // A duplicate hides a loss from the RFC's count, and not from the other.
    let hidden = heard([1, 2, 3, 3, 5]);
    assert_eq!(books(&hidden), ([4, 4, 0], [1, 0, 1]));
    // The furthest back that is taken, and one further.
    let mut edge = heard(1..=150);
    assert!(edge.hear(51, 0, Instant::ZERO));
    assert_eq!((edge.counts().duplicates, edge.counts().out_of_range), (1, 0));
    assert!(!edge.hear(50, 0, Instant::ZERO));
    assert_eq!((edge.counts().duplicates, edge.counts().out_of_range), (1, 1));
}

#[test]
fn what_came_before_the_first_valid_packet_is_no_loss_made_good() {
    // 10 and 11 make it valid; 9 comes late, 10 again, 13 is lost.
    let source = heard([10, 11, 9, 10, 12, 14]);
    assert_eq!(books(&source), ([4, 5, -1], [1, 1, 1]));
}

#[test]
fn numbers_begin_again_behind_the_last_one() {
    let source = heard([65_533, 65_534, 0, 65_535, 1, 3]);
    assert_eq!(books(&source), ([6, 5, 1], [1, 1, 0]));
    assert_eq!(source.extended_max(), 65_536 + 3);
    // Valid across the end.
    assert!(heard([65_535, 0]).is_valid());
    // Three times round, and nothing is lost.
    let round = heard((0..200_000_u32).map(|n| n as u16));
    assert_eq!(books(&round), ([199_999, 199_999, 0], [0, 0, 0]));
    assert_eq!(round.extended_max(), 199_999);
}

//= type=test
//= rfc3550#A.1
//# Since multiple complete
//# sequence number cycles may have been missed, the packet loss
//# statistics are reset.
#[test]
fn a_source_that_begins_anew_is_taken_with_its_second_packet() {
    let source = heard([1, 2, 3, 5, 30_000, 30_001, 30_002, 30_004]);
    // The RFC's count begins at 30001; 4 of the first run and 30003 of the second never came.
    assert_eq!(books(&source), ([4, 3, 1], [2, 0, 0]));
    assert_eq!((source.counts().restarts, source.counts().out_of_range), (1, 1));
    // Two strangers that do not follow each other are two packets out of range.
    let strangers = heard([1, 2, 30_000, 40_000, 3]);
    assert_eq!((books(&strangers), strangers.counts().out_of_range), (([2, 2, 0], [0, 0, 0]), 2));
    // The furthest ahead that counts as loss.
    assert_eq!(heard([0, 1, 3000]).lost(), 2998);
    assert_eq!(heard([0, 1, 3001]).counts().out_of_range, 1);
}

//= type=test
//= rfc3550#A.3
//# Since this signed number is carried in 24 bits, it should be clamped
//# at 0x7fffff for positive loss or 0x800000 for negative loss rather
//# than wrapping around.
#[test]
fn the_count_of_losses_is_clamped() {
    let mut source = heard([0, 1]);
    source.received += 0x90_0000;
    assert_eq!(source.lost(), -0x80_0000);
    let mut sparse = heard([0, 1]);
    (1..4000_u32).for_each(|n| {
        sparse.hear((1 + n * 2999) as u16, 0, Instant::ZERO);
    });
    assert_eq!((sparse.lost(), sparse.missing()), (0x7f_ffff, 3999 * 2998));
}

#[test]
fn the_fraction_is_of_the_interval() {
    let mut source = heard([0, 1, 2, 4]);
    assert_eq!(source.fraction_since(), 64); // 1 of 4
    assert_eq!(source.fraction_since(), 0, "nothing was expected");
    source.hear(5, 0, Instant::ZERO);
    source.hear(3, 0, Instant::ZERO);
    assert_eq!(source.fraction_since(), 0, "more came than was expected");
    source.hear(105, 0, Instant::ZERO);
    assert_eq!(source.fraction_since(), 253); // 99 of 100
    assert_eq!(fraction(5, 0), 255);
}

//= type=test
//= rfc3550#A.8
//# int transit = arrival - r->ts;
//# int d = transit - s->transit;
//# s->transit = transit;
//# if (d < 0) d = -d;
#[test]
fn jitter_is_that_of_the_appendix() {
    // Twenty milliseconds apart on a clock of 8000: 160 units. Every other packet is 10 ms, 80 units, late.
    let mut source = Source::new(0, 8000);
    let mut jitter = 0.0_f64;
    for n in 0..200_u32 {
        let late = u64::from(n % 2) * 10_000_000;
        source.hear(n as u16, n.wrapping_mul(160).wrapping_sub(1000), Instant::from_ns(u64::from(n) * 20_000_000 + late));
        if n >= 2 {
            jitter += (80.0 - jitter) / 16.0;
        }
        assert!((f64::from(source.jitter()) - jitter).abs() <= 1.5, "{n}: {} and {jitter}", source.jitter());
    }
    // Integers round it down by one.
    assert_eq!((source.jitter(), source.jitter_max()), (79, 79));
    // A source that begins anew has other timestamps, which is no jitter.
    for (seq, timestamp) in [(30_000, 9), (30_001, 169), (30_002, 329)] {
        source.hear(seq, timestamp, Instant::from_ns(5_000_000_000 + u64::from(timestamp) * 125_000));
    }
    assert!((70..80).contains(&source.jitter()), "{}", source.jitter());
}

#[test]
fn timestamps_and_arrivals_may_wrap() {
    let mut source = Source::new(0, 90_000);
    for n in 0..100_u64 {
        let units = (u64::from(u32::MAX) - 50 * 900) + n * 900;
        source.hear(n as u16, units as u32, Instant::from_ns(units * 1_000_000_000 / 90_000));
    }
    assert!(source.jitter() <= 1, "{}", source.jitter());
}

proptest! {
    /// Whatever comes, ours says what the appendix says, and counts each packet once.
    #[test]
    fn update_seq_is_the_one_of_the_appendix(
        first in any::<u16>(),
        steps in proptest::collection::vec(prop_oneof![
            8 => 1..2_u16, 2 => 0..5_u16, 2 => 65_430..65_535_u16, 1 => any::<u16>(),
        ], 1..400),
    ) {
        let (mut ours, mut theirs) = (Source::new(first, 1000), Appendix::new(first));
        let mut seq = first;
        for step in steps {
            prop_assert_eq!(ours.update_seq(seq), theirs.update_seq(seq));
            prop_assert_eq!(ours.received(), u64::from(theirs.received));
            prop_assert_eq!(ours.extended_max(), theirs.cycles.wrapping_add(theirs.max_seq.into()));
            if ours.is_valid() {
                let expected = theirs.cycles + u32::from(theirs.max_seq) - theirs.base_seq + 1;
                prop_assert_eq!(ours.expected(), u64::from(expected));
            }
            seq = seq.wrapping_add(step);
        }
        let Counts { packets, probation, out_of_range, .. } = *ours.counts();
        prop_assert!(probation + out_of_range <= packets);
        prop_assert!(ours.distinct <= ours.expected());
    }

    /// Any order of any packets within the window: each is missing, late or a duplicate as often as a set says.
    #[test]
    fn the_window_tells_late_from_twice(start in any::<u16>(), offsets in proptest::collection::vec(0..90_u16, 0..200)) {
        let mut source = heard([start, start.wrapping_add(1)]);
        let (mut seen, mut highest) = (std::collections::BTreeSet::from([0, 1]), 1);
        let (mut late, mut twice) = (0, 0);
        for offset in offsets {
            source.hear(start.wrapping_add(offset), 0, Instant::ZERO);
            if !seen.insert(offset) {
                twice += 1;
            } else if offset < highest {
                late += 1;
            }
            highest = highest.max(offset);
        }
        prop_assert_eq!((source.counts().reordered, source.counts().duplicates), (late, twice));
        prop_assert_eq!(source.missing(), u64::from(highest) + 1 - seen.len() as u64);
    }
}
