//! One way of a cable: what becomes of each frame that enters it.
//!
//! Two of them make a [`super::Cable`]. The order is netem's: lost or not, duplicated or not, corrupted or not, room in the queue, reordered or
//! delayed. Two things netem decides are kept: jitter may let a frame overtake another one, but not where there is a rate; and a reordered
//! frame is one that skips the delay. A duplicate goes the same way as its original, behind it, with a delay of its own.
//!
//! Each kind of fault has its own numbers, drawn once for every frame that enters, so that the lot of the n-th frame depends on the seed
//! alone: not on time, nor on what other faults there are. Pure: time and seed are arguments. Cannot panic.

use std::time::Duration;

use super::bottleneck::Bottleneck;
use super::loss::Loss;
use super::profile::{OneWay, Profile, Share};
use crate::rng::Rng;
use crate::time::{Instant, span_ns};

/// One way of a cable.
#[derive(Clone, Debug)]
pub struct Line {
    loss: Loss,
    duplicate: (Share, Rng),
    corrupt: (Share, Rng),
    reorder: (Share, Rng),
    jitter: Rng,
    delay_ns: u64,
    jitter_ns: u64,
    bottleneck: Option<Bottleneck>,
    ecn_threshold: Option<usize>,
    /// When the last frame that was not reordered is due: with a rate none is due before it.
    last_due: Instant,
    counts: Counts,
}

/// One arrival at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: Instant,
    /// The packet is to be marked: congestion experienced.
    pub mark: bool,
    /// A bit is to be flipped, chosen by this number.
    pub flip: Option<u64>,
}

/// What became of the frames of one way. `received + duplicated` is the sum of all from `sent` to `undelivered`, once nothing is on its way any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Frames that entered.
    pub received: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Frames that arrived at the other end.
    pub sent: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames that found the queue full.
    pub queue_drops: u64,
    /// Frames for which nothing was left to hold them in ([`Profile::in_transit`]).
    pub overflow: u64,
    /// Frames that the other interface cannot send: longer than its MTU allows, or shorter than an Ethernet header.
    pub unsendable: u64,
    /// Frames that were still on their way at the end.
    pub undelivered: u64,
    /// Of those that were taken: frames with a bit flipped.
    pub corrupted: u64,
    /// Frames that skipped the delay.
    pub reordered: u64,
    /// Packets marked as having experienced congestion.
    pub marked: u64,
    /// Of the first [`LOOKED_AT`] frames: those that came without a checksum, which the receiver will drop.
    pub unfilled: u64,
    /// Bytes that entered.
    pub received_bytes: u64,
    /// Bytes that arrived at the other end.
    pub sent_bytes: u64,
}

impl Line {
    /// One way of a checked profile.
    pub fn new(profile: &Profile, way: OneWay) -> Self {
        let own = profile.on(way);
        let chance = |fault: u64| {
            // Spread over all 64 bits, so that neighbouring seeds, ways and faults have nothing to do with each other.
            let mut root = Rng::seeded(profile.seed ^ (way as u64) << 63 ^ fault << 56);
            Rng::seeded(root.next_u64())
        };
        Self {
            loss: Loss::new(own.loss, own.burst, chance(1)),
            duplicate: (own.duplicate, chance(2)),
            corrupt: (own.corrupt, chance(3)),
            reorder: (own.reorder, chance(4)),
            jitter: chance(5),
            delay_ns: span_ns(own.delay),
            jitter_ns: span_ns(own.jitter),
            bottleneck: own.rate.map(|rate| Bottleneck::new(rate, own.queue)),
            ecn_threshold: own.ecn_threshold,
            last_due: Instant::ZERO,
            counts: Counts::default(),
        }
    }

    /// A frame of `len` bytes enters at `now`, never before the one before it; `ect` says whether its packet may be marked. Gives its
    /// arrivals, the original's first.
    pub fn enter(&mut self, now: Instant, len: usize, ect: bool) -> [Option<Delivery>; 2] {
        self.counts.received += 1;
        self.counts.received_bytes += len as u64;
        let lost = self.loss.next();
        let twice = self.duplicate.0.hits(&mut self.duplicate.1);
        let lots = [self.lot(), self.lot()];
        if lost {
            self.counts.lost += 1;
            return [None; 2];
        }
        let first = self.pass(now, len, ect, lots[0]);
        if !twice {
            return [first, None];
        }
        self.counts.duplicated += 1;
        [first, self.pass(now, len, ect, lots[1])]
    }

    /// Whether packets are marked at all, so that the ECN field is worth a look.
    pub(super) const fn marks(&self) -> bool {
        self.ecn_threshold.is_some()
    }

    /// What chance decides for one copy of a frame.
    const fn lot(&mut self) -> Lot {
        let corrupt = self.corrupt.0.hits(&mut self.corrupt.1);
        let flip = self.corrupt.1.next_u64();
        let reorder = self.reorder.0.hits(&mut self.reorder.1);
        // From -jitter to +jitter; the jitter is at most a minute, so twice as much and one fits.
        let jitter_ns = self.jitter.below(2 * self.jitter_ns + 1);
        Lot { flip: if corrupt { Some(flip) } else { None }, reorder, jitter_ns }
    }

    fn pass(&mut self, now: Instant, len: usize, ect: bool, lot: Lot) -> Option<Delivery> {
        let (departs, waiting) = match &mut self.bottleneck {
            None => (now, 0),
            Some(bottleneck) => match bottleneck.take(now, len) {
                Some(taken) => (taken.departs, taken.waiting),
                None => {
                    self.counts.queue_drops += 1;
                    return None;
                }
            },
        };
        let mark = ect && self.ecn_threshold.is_some_and(|threshold| waiting > threshold);
        self.counts.marked += u64::from(mark);
        let at = if lot.reorder {
            self.counts.reordered += 1;
            departs
        } else {
            let delay_ns = (self.delay_ns + lot.jitter_ns).saturating_sub(self.jitter_ns);
            let mut at = departs + Duration::from_nanos(delay_ns);
            if self.bottleneck.is_some() {
                at = at.max(self.last_due);
            }
            self.last_due = at;
            at
        };
        Some(Delivery { at, mark, flip: lot.flip })
    }

    /// What became of the frames so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The same, for what happens to a frame outside the line.
    pub(super) const fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }
}

/// How many frames of each way are looked at for a missing checksum.
pub const LOOKED_AT: u64 = 1000;

/// What chance decided for one copy of a frame.
#[derive(Clone, Copy, Debug)]
struct Lot {
    flip: Option<u64>,
    reorder: bool,
    /// From 0 to twice the jitter.
    jitter_ns: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profile(options: &str) -> Profile {
        let mut profile = Profile::default();
        for option in options.split_whitespace() {
            let (name, value) = option.split_once('=').unwrap();
            match name {
                "delay" => profile.delay = crate::settings::number::duration(value).unwrap(),
                "jitter" => profile.jitter = crate::settings::number::duration(value).unwrap(),
                "rate" => profile.rate = Some(value.parse().unwrap()),
                "queue" => profile.queue = value.parse().unwrap(),
                "ecn" => profile.ecn_threshold = Some(value.parse().unwrap()),
                "loss" => profile.loss = value.parse().unwrap(),
                "burst" => profile.burst = value.parse().unwrap(),
                "reorder" => profile.reorder = value.parse().unwrap(),
                "dup" => profile.duplicate = value.parse().unwrap(),
                "corrupt" => profile.corrupt = value.parse().unwrap(),
                "seed" => profile.seed = value.parse().unwrap(),
                _ => panic!("{name}"),
            }
        }
        profile.check().unwrap();
        profile
    }

    fn line(options: &str) -> Line {
        Line::new(&profile(options), OneWay::AToB)
    }

    /// `frames` of 1000 bytes, one every `gap_us`; all deliveries, in the order of entry.
    fn run(line: &mut Line, frames: u64, gap_us: u64) -> Vec<Delivery> {
        let at = |n: u64| Instant::from_ns(n * gap_us * 1000);
        (0..frames).flat_map(|n| line.enter(at(n), 1000, true)).flatten().collect()
    }

    fn share(count: u64, of: u64) -> f64 {
        count as f64 / of as f64
    }

    #[test]
    fn a_line_without_faults_delivers_everything_at_once() {
        let mut line = line("");
        let all = run(&mut line, 1000, 1);
        assert_eq!(all.len(), 1000);
        assert!(all.iter().enumerate().all(|(n, delivery)| delivery.at.as_ns() == n as u64 * 1000));
    }

    #[test]
    fn each_fault_happens_as_often_as_asked() {
        let n = 200_000;
        let mut line = line("delay=1ms loss=1% reorder=2% dup=3% corrupt=0.5%");
        let flipped = run(&mut line, n, 10).iter().filter(|delivery| delivery.flip.is_some()).count() as u64;
        let counts = line.counts();
        for (name, count, wanted) in [
            ("lost", counts.lost, 0.01),
            ("reordered", counts.reordered, 0.02),
            ("duplicated", counts.duplicated, 0.03),
            ("corrupted", flipped, 0.005),
        ] {
            let found = share(count, n);
            assert!((found / wanted - 1.0).abs() < 0.1, "{name}: {found}");
        }
    }

    #[test]
    fn the_lot_of_a_frame_follows_from_the_seed_alone() {
        let lost = |options: &str, gap_us: u64| {
            let mut line = line(options);
            let mut fate = |n: u64| line.enter(Instant::from_ns(n * gap_us * 1000), 100, false)[0].is_none();
            (0..5000).map(&mut fate).collect::<Vec<_>>()
        };
        let alone = lost("loss=5% seed=7", 10);
        assert_eq!(alone, lost("loss=5% seed=7", 999), "not on time");
        assert_eq!(alone, lost("loss=5% seed=7 delay=1ms jitter=1ms reorder=9% dup=9% corrupt=9%", 10), "not on other faults");
        assert_ne!(alone, lost("loss=5% seed=8", 10));
        let back = Line::new(&profile("loss=5% seed=7"), OneWay::BToA);
        let mut back = back;
        let other: Vec<_> = (0..5000).map(|_| back.enter(Instant::ZERO, 100, false)[0].is_none()).collect();
        assert_ne!(alone, other, "the two ways are not alike");
    }

    #[test]
    fn only_one_way_has_faults_of_chance() {
        let mut wanted = profile("delay=1ms loss=50% reorder=50% dup=50% corrupt=50%");
        wanted.only = Some(OneWay::BToA);
        let mut forth = Line::new(&wanted, OneWay::AToB);
        let all = run(&mut forth, 1000, 1);
        assert!(all.len() == 1000 && all.iter().all(|delivery| delivery.flip.is_none()));
        assert!(
            all.iter().enumerate().all(|(n, delivery)| delivery.at.as_ns() == n as u64 * 1000 + 1_000_000),
            "the delay stays"
        );
        let mut back = Line::new(&wanted, OneWay::BToA);
        run(&mut back, 1000, 1);
        let counts = back.counts();
        assert!(counts.lost > 400 && counts.duplicated > 200 && counts.reordered > 200, "{counts:?}");
    }

    #[test]
    fn a_reordered_frame_overtakes_the_delay() {
        let mut line = line("delay=1ms reorder=10% seed=3");
        let all = run(&mut line, 1000, 100);
        for (n, delivery) in all.iter().enumerate() {
            let entered = n as u64 * 100_000;
            assert!([entered, entered + 1_000_000].contains(&delivery.at.as_ns()));
        }
        let overtakes = all.windows(2).filter(|pair| pair[1].at < pair[0].at).count() as u64;
        assert!(overtakes > 50 && overtakes <= line.counts().reordered, "{overtakes}");
    }

    #[test]
    fn jitter_spreads_evenly_and_reorders_only_without_a_rate() {
        let mut loose = line("delay=10ms jitter=4ms");
        let all = run(&mut loose, 20_000, 100);
        let delays: Vec<u64> = all.iter().enumerate().map(|(n, delivery)| delivery.at.as_ns() - n as u64 * 100_000).collect();
        assert!(delays.iter().all(|delay| (6_000_000..=14_000_000).contains(delay)));
        let mean = delays.iter().sum::<u64>() as f64 / delays.len() as f64;
        assert!((mean / 10e6 - 1.0).abs() < 0.01, "{mean}");
        let quarter = delays.iter().filter(|&&delay| delay < 8_000_000).count() as f64 / delays.len() as f64;
        assert!((quarter - 0.25).abs() < 0.02, "{quarter}");
        assert!(all.windows(2).any(|pair| pair[1].at < pair[0].at));

        let mut tight = line("delay=10ms jitter=4ms rate=1000000000");
        let all = run(&mut tight, 20_000, 100);
        assert!(all.windows(2).all(|pair| pair[1].at >= pair[0].at));
    }

    #[test]
    fn a_long_queue_marks_what_may_be_marked_and_a_full_one_drops() {
        // 8 Mbit/s: 1000 bytes take 1 ms.
        let mut line = line("rate=8000000 queue=10 ecn=4");
        let fates: Vec<_> = (0..14).map(|_| line.enter(Instant::ZERO, 1000, true)[0].map(|delivery| delivery.mark)).collect();
        // The first is on the wire; the next wait behind 0, 1, 2 ... others.
        let mut expected = vec![Some(false); 6];
        expected.extend([Some(true); 5]);
        expected.extend([None; 3]);
        assert_eq!(fates, expected);
        assert_eq!((line.counts().marked, line.counts().queue_drops), (5, 3));
        let mut other = Line::new(&profile("rate=8000000 queue=10 ecn=4"), OneWay::AToB);
        assert!((0..11).all(|_| other.enter(Instant::ZERO, 1000, false)[0].is_some_and(|delivery| !delivery.mark)));
    }

    #[test]
    fn a_duplicate_takes_its_turn_at_the_rate() {
        let mut line = line("rate=8000000 dup=100%");
        let [Some(first), Some(second)] = line.enter(Instant::ZERO, 1000, false) else { panic!("two") };
        assert_eq!((first.at.as_ns(), second.at.as_ns()), (1_000_000, 2_000_000));
    }

    proptest! {
        #[test]
        fn every_frame_is_accounted_for_and_none_arrives_early(
            seed in any::<u64>(), delay_us in 0u64..20_000, jitter in 0u64..=100, rate in prop::option::of(1_000u64..10_000_000_000),
            queue in 0usize..50, loss in 0u32..=1_000_000_000, dup in 0u32..=1_000_000_000, gaps in prop::collection::vec(0u64..2_000_000, 1..300),
        ) {
            let profile = Profile {
                delay: Duration::from_micros(delay_us), jitter: Duration::from_micros(delay_us * jitter / 100), rate, queue,
                loss: Share::parts(loss), duplicate: Share::parts(dup), seed, ..Profile::default()
            };
            profile.check().unwrap();
            let mut line = Line::new(&profile, OneWay::BToA);
            let (mut now, mut delivered, mut last) = (0, 0, Instant::ZERO);
            for &gap in &gaps {
                now += gap;
                for delivery in line.enter(Instant::from_ns(now), 60 + gap as usize % 1400, true).into_iter().flatten() {
                    delivered += 1;
                    let early_ns = 1000 * (delay_us - delay_us * jitter / 100);
                    prop_assert!(delivery.at.as_ns() >= now + early_ns);
                    prop_assert!(rate.is_none() || delivery.at >= last, "with a rate the order is kept");
                    last = delivery.at;
                }
            }
            let counts = line.counts();
            prop_assert_eq!(counts.received, gaps.len() as u64);
            prop_assert_eq!(counts.received + counts.duplicated, delivered + counts.lost + counts.queue_drops);
        }
    }
}
