//! Token buckets: one for all, and one for each source that has asked lately, in a table of fixed size.
//!
//! Asked by [`super::Limits`] for every SYN. A bucket is one instant, the one at which it will be full again: a token moves that on by what a
//! token costs in time, and nobody has to refill anything. A bucket that is full says nothing, so its place is free.
//!
//! **Full is no answer.** The table has sets of four places, chosen by a keyed hash. Where all four are in use the fullest bucket gives way, whose loss
//! forgives the fewest SYNs. So a source is refused for SYNs in its own name alone, never for want of room, and a flood from forged sources, each of
//! which sends one or two, finds no one's bucket emptier. What the flood can do is to make the table forget somebody who has
//! used his share up: he gets another. That errs on the right side, and the backlog and cookies stand behind it. Cannot panic.

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::Source;
use crate::limits;
use crate::time::Instant;

/// So many in a second, and as many at once after a quiet second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// What one token takes to come.
    cost: Duration,
    /// How far ahead of now the end of the refilling may lie for a token still to be there.
    slack: Duration,
}

impl Rate {
    /// `per_second` from 1 on.
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        let cost = Duration::from_secs(1) / per_second;
        Self { cost, slack: cost * (per_second - 1) }
    }

    /// Takes a token from the bucket that will be full at `full_at`; false when there is none.
    fn take(self, full_at: &mut Instant, now: Instant) -> bool {
        let from = (*full_at).max(now);
        let there = from.since(now) <= self.slack;
        if there {
            *full_at = from + self.cost;
        }
        there
    }
}

/// One bucket for all.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(per_second: u32) -> Self {
        Self { rate: Rate::new(per_second), full_at: Instant::ZERO }
    }

    /// Takes a token; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.rate.take(&mut self.full_at, now)
    }
}

/// A bucket for each source.
pub struct Rates {
    rate: Rate,
    hash: SipHasher13,
    sets: Box<[[Place; WAYS]]>,
}

/// The bucket of a source.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    source: u64,
    full_at: Instant,
}

const WAYS: usize = 4;
// A set is one cache line.
const _: () = assert!(size_of::<[Place; WAYS]>() == 64);
const _: () = assert!(limits::SYN_SOURCES.is_power_of_two() && limits::SYN_SOURCES > WAYS);

impl Rates {
    /// All of them full.
    pub fn new(secret: &[u8; 16], per_second: u32) -> Self {
        let sets = vec![[Place::default(); WAYS]; limits::SYN_SOURCES / WAYS].into_boxed_slice();
        Self { rate: Rate::new(per_second), hash: SipHasher13::new_with_key(secret), sets }
    }

    /// Takes a token of a source's; false when it has none.
    pub fn take(&mut self, source: Source, now: Instant) -> bool {
        let mut hash = self.hash;
        hash.write_u64(source.0);
        let set = hash.finish() as usize & (self.sets.len() - 1);
        let Some(set) = self.sets.get_mut(set) else { return true };
        let known = set.iter().position(|place| place.source == source.0);
        // The one that is full first, or has been for longest.
        let fullest = || set.iter().enumerate().min_by_key(|(_, place)| place.full_at).map_or(0, |(at, _)| at);
        let at = known.unwrap_or_else(fullest);
        let Some(place) = set.get_mut(at) else { return true };
        if known.is_none() {
            *place = Place { source: source.0, full_at: now };
        }
        self.rate.take(&mut place.full_at, now)
    }
}

impl std::fmt::Debug for Rates {
    /// The secret is not printed, nor are thousands of buckets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1 << 30) + Duration::from_millis(ms)
    }

    #[test]
    fn a_second_of_them_may_come_at_once_and_then_so_many_in_a_second() {
        for per_second in [1, 3, 10, 1000] {
            let mut bucket = Bucket::new(per_second);
            let taken = |bucket: &mut Bucket, ms| (0..3 * per_second).filter(|_| bucket.take(at(ms))).count();
            for ms in [0, 1000, 3_600_000] {
                assert_eq!(taken(&mut bucket, ms), per_second as usize, "no more is saved, and no less comes");
            }
        }
        let mut ten = Bucket::new(10);
        while ten.take(at(0)) {}
        let second = (1..=1000).filter(|&ms| ten.take(at(ms))).count();
        assert_eq!(second, 10);
        assert!(!ten.take(at(0)), "time that goes back gives nothing");
    }

    #[test]
    fn each_source_has_its_own() {
        let mut rates = Rates::new(&[3; 16], 5);
        let taken = |rates: &mut Rates, source, ms| (0..20).filter(|_| rates.take(Source(source), at(ms))).count();
        assert_eq!((taken(&mut rates, 1, 0), taken(&mut rates, 2, 0), taken(&mut rates, 1, 0)), (5, 5, 0));
        assert_eq!(taken(&mut rates, 1, 200), 1, "a fifth of a second later");
    }

    /// Whatever others send, the first SYNs of a source are let through.
    #[test]
    fn a_flood_of_forged_sources_refuses_nobody_else() {
        let mut rates = Rates::new(&[3; 16], 2);
        for forged in 0..20 * limits::SYN_SOURCES as u64 {
            assert!(rates.take(Source(1 << 40 | forged), at(0)), "each of them is new");
        }
        assert!((0..1000).all(|honest| rates.take(Source(honest), at(0))));
    }

    /// One that is used up stays, as long as there are fuller ones to give way.
    #[test]
    fn who_has_used_his_share_up_is_remembered_before_others() {
        let mut rates = Rates::new(&[3; 16], 2);
        while rates.take(Source(1), at(0)) {}
        for forged in 0..4 * limits::SYN_SOURCES as u64 {
            rates.take(Source(1 << 40 | forged), at(0));
        }
        assert!(!rates.take(Source(1), at(0)));
    }
}
