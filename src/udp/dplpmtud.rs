//! The path MTU of datagrams where no router tells of it: datagram packetization layer path MTU discovery (RFC 8899).
//!
//! UDP has no acknowledgments, so that only its application can say whether a datagram arrived. A service keeps one [`Discovery`] for each peer, asks it when to
//! send a probe of which size (with [`crate::service::Sending::probe`], which neither the path MTU that is known nor leave to fragment holds back), and tells it what
//! came of it. Sizes are of UDP payloads, in bytes. A value: time is an argument, and nothing panics.

use std::time::Duration;

use crate::time::Instant;

/// The search for the largest datagram that gets through to one peer.
///
/// ```
/// use ringway::time::Instant;
/// use ringway::udp::dplpmtud::Discovery;
/// let (mut discovery, now) = (Discovery::new(548, 1472), Instant::ZERO);
/// assert_eq!((discovery.limit(), discovery.poll_probe(now)), (1200, Some(1200)));
/// discovery.confirmed(now, 1200);
/// assert_eq!(discovery.poll_probe(now), Some(1472));
/// discovery.confirmed(now, 1472);
/// assert_eq!((discovery.limit(), discovery.poll_probe(now)), (1472, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discovery {
    phase: Phase,
    /// PLPMTU: what is used.
    size: usize,
    /// MIN_PLPMTU.
    least: usize,
    /// MAX_PLPMTU.
    most: usize,
    /// No larger one gets through, as far as is known.
    high: usize,
    /// The next size to be probed, from an ICMP error.
    hint: Option<usize>,
    /// PROBED_SIZE, and when PROBE_TIMER expires, while a probe is under way.
    probe: Option<(usize, Instant)>,
    /// PROBE_COUNT.
    count: u8,
    probe_timer: Duration,
    /// PMTU_RAISE_TIMER.
    raise_at: Instant,
    /// CONFIRMATION_TIMER.
    confirm_at: Instant,
}

/// The states of RFC 8899 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// BASE: whether the peer is there, and a size that nearly every path carries gets through.
    Base,
    /// SEARCHING: for a larger size.
    Searching,
    /// SEARCH_COMPLETE: it is found.
    SearchComplete,
    /// ERROR: not even the base size gets through.
    Error,
}

impl Discovery {
    /// A search between the smallest and the largest payload that the service can use; the largest is what the link carries, or less.
    pub const fn new(least: usize, most: usize) -> Self {
        let least = if least < most { least } else { most };
        let size = base(least, most);
        Self {
            phase: Phase::Base,
            size,
            least,
            most,
            high: most,
            hint: None,
            probe: None,
            count: 0,
            probe_timer: PROBE_TIMER,
            raise_at: Instant::NEVER,
            confirm_at: Instant::NEVER,
        }
    }

    /// Waits another time for what confirms a probe; a second at least.
    #[must_use]
    pub fn with_probe_timer(self, span: Duration) -> Self {
        //= rfc8899#5.1.1
        //# This value MUST NOT be smaller than 1 second
        Self { probe_timer: span.max(Duration::from_secs(1)), ..self }
    }

    /// The state.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// MPS: the largest payload that should be sent now, probes apart.
    pub const fn limit(&self) -> usize {
        //= rfc8899#4.4
        //# a PL
        //# SHOULD provide applications with a primitive that returns the
        //# MPS, derived from the current PLPMTU.
        self.size
    }

    /// When [`Discovery::poll_probe`] is to be asked again; [`Instant::ZERO`]: at once.
    pub fn deadline(&self) -> Instant {
        match (self.probe, self.phase) {
            (Some((_, expires)), _) => expires,
            (None, Phase::SearchComplete) => self.raise_at.min(self.confirm_at),
            _ => Instant::ZERO,
        }
    }

    /// The size of the probe that is to be sent now, if one is. It counts as sent.
    pub fn poll_probe(&mut self, now: Instant) -> Option<usize> {
        if let Some((size, expires)) = self.probe {
            if now < expires {
                return None;
            }
            self.lost(now, size);
        }
        if self.phase == Phase::SearchComplete && now >= self.raise_at {
            //= rfc8899#5.1.1
            //# The PMTU_RAISE_TIMER is configured to the period a sender will
            //# continue to use the current PLPMTU, after which it reenters the
            //# Search Phase.
            self.search(self.most);
        }
        let size = match self.phase {
            Phase::Base => self.size,
            Phase::Error => self.least,
            Phase::Searching => match self.next_size() {
                Some(size) => size,
                None => {
                    self.complete(now);
                    return None;
                }
            },
            Phase::SearchComplete if now >= self.confirm_at => self.size,
            Phase::SearchComplete => return None,
        };
        self.probe = Some((size, now + self.probe_timer));
        Some(size)
    }

    /// The peer has confirmed that it received a probe of this size.
    pub fn confirmed(&mut self, now: Instant, size: usize) {
        // One that was given up may still be confirmed: it shows as much.
        if size < self.size.min(self.least) || size > self.most {
            return;
        }
        if self.probe.is_some_and(|(probed, _)| probed <= size) {
            self.probe = None;
            //= rfc8899#5.1.3
            //# Each time a probe packet is
            //# acknowledged, the value is set to zero.
            self.count = 0;
        }
        match self.phase {
            Phase::Base if size >= self.size => self.search(self.most.min(self.high)),
            Phase::Error => {
                self.size = self.size.max(size);
                self.search(self.most);
            }
            Phase::Searching | Phase::SearchComplete => self.confirm_at = now + CONFIRMATION_TIMER,
            Phase::Base => {}
        }
        self.size = self.size.max(size);
        self.high = self.high.max(size);
        if self.phase == Phase::Searching && self.next_size().is_none() {
            self.complete(now);
        }
    }

    /// A probe of this size was not confirmed in time, or is known to be lost.
    pub fn lost(&mut self, now: Instant, size: usize) {
        if self.probe.is_none_or(|(probed, _)| probed != size) {
            return;
        }
        self.probe = None;
        self.count += 1;
        if self.count < MAX_PROBES {
            return;
        }
        self.count = 0;
        match self.phase {
            //= rfc8899#5.1.4
            //# If the Base Phase
            //# fails to confirm the BASE_PLPMTU, DPLPMTUD enters the Error
            //# Phase.
            Phase::Base => {
                self.phase = Phase::Error;
                self.size = self.least;
            }
            Phase::Searching => {
                self.high = self.high.min(size.saturating_sub(1)).max(self.size);
                if self.next_size().is_none() {
                    self.complete(now);
                }
            }
            //= rfc8899#5.1.4
            //# If
            //# the sender is unable to confirm reachability (e.g., if the
            //# CONFIRMATION_TIMER expires) or the PL signals a lack of
            //# reachability, a black hole has been detected and DPLPMTUD enters the
            //# Base Phase.
            Phase::SearchComplete => self.fall_back(self.most),
            Phase::Error => {}
        }
    }

    /// An ICMP error says that no more than `size` bytes of payload get through; the engine has checked that it is about a datagram of the service's
    /// ([`crate::service::IcmpError::mtu`], without headers).
    pub fn too_big(&mut self, size: usize) {
        let probed = self.probe.map(|(probed, _)| probed);
        //= rfc8899#4.6.2
        //# PTB messages that have been validated MAY be utilized by the
        //# DPLPMTUD algorithm but MUST NOT be used directly to set the
        //# PLPMTU.
        if size < self.least || size >= probed.unwrap_or(self.size).max(self.size) {
            return;
        }
        if size < self.size {
            //= rfc8899#4.6.2
            //# The PLPMTU
            //# SHOULD be set to BASE_PLPMTU (the PLPMTU is reduced to
            //# the BASE_PLPMTU to avoid unnecessary packet loss when a black
            //# hole is
            //# encountered).
            self.fall_back(size);
        } else if self.phase == Phase::Searching {
            //= rfc8899#4.6.2
            //# The PL can use the reported PL_PTB_SIZE from the PTB message as
            //# the next search point when it resumes the search
            //# algorithm.
            self.probe = None;
            self.count = 0;
            self.high = size;
        }
        self.hint = (size > self.size).then_some(size);
    }

    fn search(&mut self, high: usize) {
        self.phase = Phase::Searching;
        self.high = high;
        self.raise_at = Instant::NEVER;
        self.confirm_at = Instant::NEVER;
    }

    /// Back to the base, from which no more than `high` is sought.
    fn fall_back(&mut self, high: usize) {
        self.phase = Phase::Base;
        self.size = base(self.least, high);
        self.high = high;
        self.probe = None;
        self.count = 0;
    }

    fn complete(&mut self, now: Instant) {
        self.phase = Phase::SearchComplete;
        self.hint = None;
        self.raise_at = now + PMTU_RAISE_TIMER;
        self.confirm_at = now + CONFIRMATION_TIMER;
    }

    /// The next size to try: what an error has named, the largest, then half of what is left.
    fn next_size(&self) -> Option<usize> {
        if let Some(hint) = self.hint.filter(|&hint| hint > self.size && hint <= self.high) {
            return Some(hint);
        }
        let left = self.high.saturating_sub(self.size);
        match () {
            () if self.high == self.most && left > 0 => Some(self.most),
            () if left < CLOSE_ENOUGH => None,
            () => Some(self.size + left.div_ceil(2)),
        }
    }
}

/// BASE_PLPMTU, as far as it lies between the two.
const fn base(least: usize, most: usize) -> usize {
    match BASE_PLPMTU {
        base if base > most => most,
        base if base < least => least,
        base => base,
    }
}

/// What nearly every path carries (RFC 8899 5.1.2).
pub const BASE_PLPMTU: usize = 1200;
/// Probes of one size that are sent in vain before it counts as too large.
pub const MAX_PROBES: u8 = 3;
/// How long a probe is waited for, unless the service chooses otherwise.
pub const PROBE_TIMER: Duration = Duration::from_secs(15);
/// How long the size found is used before a larger one is tried again.
pub const PMTU_RAISE_TIMER: Duration = Duration::from_secs(600);
/// How often it is asked whether the size found still gets through.
pub const CONFIRMATION_TIMER: Duration = Duration::from_secs(60);
/// A search that is so close is over.
const CLOSE_ENOUGH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_ns(1_000_000_000);

    /// A path that carries payloads of up to `limit` bytes. Runs until nothing is due at once any more; gives the sizes of the probes.
    fn run(discovery: &mut Discovery, now: &mut Instant, limit: usize) -> Vec<usize> {
        let mut probes = Vec::new();
        for _ in 0..100 {
            match discovery.poll_probe(*now) {
                Some(size) => {
                    probes.push(size);
                    if size <= limit {
                        discovery.confirmed(*now, size);
                    }
                }
                None if discovery.phase() == Phase::SearchComplete => return probes,
                None => *now = discovery.deadline(),
            }
        }
        panic!("it does not end: {probes:?}");
    }

    #[test]
    fn the_largest_size_that_gets_through_is_found() {
        for (limit, most) in [(1472, 1472), (1272, 1472), (1200, 1472), (1400, 8972), (548, 548), (1471, 1472)] {
            let (mut discovery, mut now) = (Discovery::new(548, most), START);
            let probes = run(&mut discovery, &mut now, limit);
            assert_eq!(discovery.phase(), Phase::SearchComplete);
            let size = discovery.limit();
            assert!(size <= limit && limit - size < CLOSE_ENOUGH, "{size} of {limit}: {probes:?}");
            // Each size that is too large is tried three times.
            for &size in probes.iter().filter(|&&size| size > limit) {
                assert_eq!(probes.iter().filter(|&&other| other == size).count(), usize::from(MAX_PROBES), "{probes:?}");
            }
        }
    }

    //= type=test
    //= rfc8899#5.1.4
    //# If the Base Phase
    //# fails to confirm the BASE_PLPMTU, DPLPMTUD enters the Error
    //# Phase.
    #[test]
    fn where_the_base_does_not_get_through_the_least_is_used_until_it_does() {
        let (mut discovery, mut now) = (Discovery::new(548, 1472), START);
        assert_eq!(run(&mut discovery, &mut now, 700)[..5], [1200, 1200, 1200, 548, 1472]);
        assert!((697..=700).contains(&discovery.limit()), "{}", discovery.limit());
        // With nobody there it goes on to ask, and no faster.
        let (mut discovery, mut now) = (Discovery::new(548, 1472), START);
        for _ in 0..20 {
            assert!(discovery.poll_probe(now).is_some());
            assert_eq!((discovery.poll_probe(now), discovery.deadline()), (None, now + PROBE_TIMER));
            now = discovery.deadline();
        }
        assert_eq!((discovery.phase(), discovery.limit()), (Phase::Error, 548));
    }

    #[test]
    fn one_lost_probe_says_nothing() {
        let (mut discovery, mut now) = (Discovery::new(548, 1472), START);
        for size in [1200, 1472] {
            for _ in 0..2 {
                assert_eq!(discovery.poll_probe(now), Some(size));
                now = discovery.deadline();
            }
            assert_eq!(discovery.poll_probe(now), Some(size));
            discovery.confirmed(now, size);
        }
        assert_eq!((discovery.phase(), discovery.limit()), (Phase::SearchComplete, 1472));
    }

    //= type=test
    //= rfc8899#4.6.2
    //# PTB messages that have been validated MAY be utilized by the
    //# DPLPMTUD algorithm but MUST NOT be used directly to set the
    //# PLPMTU.
    #[test]
    fn an_error_shortens_the_search_and_settles_nothing() {
        let mut discovery = Discovery::new(548, 1472);
        assert_eq!(discovery.poll_probe(START), Some(1200));
        discovery.confirmed(START, 1200);
        assert_eq!(discovery.poll_probe(START), Some(1472));
        // Not believed: larger than what was probed, or smaller than anything.
        discovery.too_big(1472);
        discovery.too_big(100);
        assert_eq!(discovery.poll_probe(START), None);
        discovery.too_big(1272);
        assert_eq!((discovery.limit(), discovery.poll_probe(START)), (1200, Some(1272)));
        discovery.confirmed(START, 1272);
        assert_eq!((discovery.phase(), discovery.limit()), (Phase::SearchComplete, 1272));
        // What got through does no longer: the base is, and what the error named is tried.
        discovery.too_big(1250);
        assert_eq!((discovery.phase(), discovery.limit()), (Phase::Base, 1200));
        assert_eq!(discovery.poll_probe(START), Some(1200));
        discovery.confirmed(START, 1200);
        assert_eq!(discovery.poll_probe(START), Some(1250));
    }

    //= type=test
    //= rfc8899#5.1.1
    //# The PMTU_RAISE_TIMER is configured to the period a sender will
    //# continue to use the current PLPMTU, after which it reenters the
    //# Search Phase.
    #[test]
    fn what_was_found_is_confirmed_and_after_ten_minutes_more_is_tried() {
        let (mut discovery, mut now) = (Discovery::new(548, 1472), START);
        run(&mut discovery, &mut now, 1272);
        let found = discovery.limit();
        let raise_at = now + PMTU_RAISE_TIMER;
        let mut confirmations = 0;
        loop {
            now = discovery.deadline();
            match discovery.poll_probe(now) {
                Some(1472) => break,
                Some(size) => {
                    assert_eq!(size, found);
                    confirmations += 1;
                    discovery.confirmed(now, size);
                }
                None => panic!("a deadline for nothing"),
            }
        }
        assert_eq!((now, confirmations), (raise_at, 9));
        discovery.confirmed(now, 1472);
        assert_eq!(discovery.limit(), 1472);
        // A black hole: what was found is confirmed no longer.
        for _ in 0..3 {
            now = discovery.deadline();
            assert_eq!(discovery.poll_probe(now), Some(1472));
        }
        now = discovery.deadline();
        assert_eq!(discovery.poll_probe(now), Some(1200));
        assert_eq!((discovery.phase(), discovery.limit()), (Phase::Base, 1200));
    }

    //= type=test
    //= rfc8899#5.1.1
    //# This value MUST NOT be smaller than 1 second
    #[test]
    fn no_probe_is_given_up_within_a_second() {
        let mut discovery = Discovery::new(548, 1472).with_probe_timer(Duration::from_millis(5));
        discovery.poll_probe(START);
        assert_eq!(discovery.deadline(), START + Duration::from_secs(1));
    }
}
