//! How large packets to a destination may be: the path MTUs that were found smaller than the link's (RFC 1191, RFC 8201).
//!
//! The engine adds what an ICMP error said once a connection or an endpoint has confirmed that the error is about a packet of its own (RFC 5927 7.2), and looks here when
//! a connection begins and before it sends a datagram. An endpoint that speaks to all cannot tell an error from a forged one: what it learns is so
//! much less sure that connections do not hear of it. A connection keeps what it was told, so that no segment is looked up. Bounded in entries and in
//! time; pure, time is an argument; nothing allocates after [`PathMtus::new`], and nothing panics.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::demux::Address;
use crate::limits::{PATH_MTU_MIN, PATH_MTUS};
use crate::time::Instant;

/// The paths of a core that are narrower than their link.
#[derive(Debug)]
pub struct PathMtus {
    /// By the path, and whether it is sure.
    paths: HashMap<(Path, bool), PathMtu, Secret>,
    narrowest: usize,
    /// What every link carries of either family.
    every_link: usize,
    /// When the first of them is forgotten.
    next_end: Instant,
}

/// A way to a destination: the position of the interface, and the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Position of the interface in the engine's list.
    pub interface: u16,
    /// Who is at the end of it.
    pub target: Address,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// The largest packet that it carries, in bytes.
    pub mtu: u16,
    /// How long that is believed.
    pub until: Instant,
}

impl PathMtus {
    /// None, and room for [`PATH_MTUS`]; `secret` keeps peers from choosing addresses that meet in one place.
    pub fn new(secret: &[u8; 16]) -> Self {
        let paths = HashMap::with_capacity_and_hasher(PATH_MTUS, Secret(SipHasher13::new_with_key(secret)));
        Self { paths, narrowest: usize::MAX, every_link: usize::MAX, next_end: Instant::NEVER }
    }

    /// No path is known to carry less than this, in bytes: what is no larger needs no look at the others.
    #[inline]
    pub const fn narrowest(&self) -> usize {
        self.narrowest
    }

    /// Some link carries IPv6 packets of no more than this, which are to be looked at as if a path did; `usize::MAX` for none.
    pub fn limit_links(&mut self, mtu: usize) {
        self.every_link = mtu;
        self.settle();
    }

    /// What is known of a path, if it is narrower than its link; if `sure`, only what is.
    #[cold]
    #[inline(never)]
    pub fn find(&mut self, now: Instant, path: Path, sure: bool) -> Option<PathMtu> {
        self.forget(now);
        let kinds: &[bool] = if sure { &[true] } else { &[true, false] };
        kinds.iter().filter_map(|&kind| self.paths.get(&(path, kind)).copied()).min_by_key(|known| known.mtu)
    }

    /// A path carries packets of no more than `mtu` bytes; it is sure when the error could be made by nobody who does not see the packets. Returns
    /// what is believed from now on, if that is news.
    #[cold]
    pub fn narrow(&mut self, now: Instant, path: Path, mtu: u16, sure: bool) -> Option<PathMtu> {
        let mtu = mtu.max(least(path.target));
        //= rfc8201#4
        //# A node must not increase its estimate of the Path MTU in response to
        //# the contents of a Packet Too Big message.
        if self.find(now, path, sure).is_some_and(|known| known.mtu <= mtu) {
            return None;
        }
        if self.paths.len() >= PATH_MTUS && !self.paths.contains_key(&(path, sure)) {
            // What is sure last, and of equals the oldest first.
            let order = |&(_, sure): &(Path, bool), known: &PathMtu| (sure, known.until);
            let first = self.paths.iter().min_by_key(|(key, known)| order(key, known)).map(|(&key, _)| key);
            self.paths.remove(&first?);
        }
        let known = PathMtu { mtu, until: now + BELIEVED };
        self.paths.insert((path, sure), known);
        self.settle();
        Some(known)
    }

    /// Forgets what has become too old.
    fn forget(&mut self, now: Instant) {
        //= rfc8201#5.3
        //# When a PMTU value
        //# has not been decreased for a while (on the order of 10 minutes), it
        //# should probe to find if a larger PMTU is supported.
        // Rather than by a timer when somebody asks and something is old.
        if self.next_end <= now {
            self.paths.retain(|_, known| known.until > now);
            self.settle();
        }
    }

    fn settle(&mut self) {
        let known = || self.paths.values();
        self.narrowest = known().map(|known| usize::from(known.mtu)).min().unwrap_or(usize::MAX).min(self.every_link);
        self.next_end = known().map(|known| known.until).min().unwrap_or(Instant::NEVER);
    }
}

/// The size of packet that an error claims a link takes, as far as an honest error can mean it; `sent` is the size of the packet that was too large. `None`
/// when the error contradicts itself.
pub fn claimed(mtu: u32, sent: u16, target: Address) -> Option<u16> {
    let ipv4 = target.v4().is_some();
    let mtu = match u16::try_from(mtu).unwrap_or(u16::MAX) {
        //= rfc1191#5
        //# a Datagram Too Big message from an unmodified
        //# router (i.e., one where the Next-Hop MTU field is zero)
        0 if ipv4 => PLATEAUS.into_iter().find(|&plateau| plateau < sent).unwrap_or(PATH_MTU_MIN),
        //= rfc8201#4
        //# If a node receives a Packet Too Big message reporting a
        //# next-hop MTU that is less than the IPv6 minimum link MTU, it must
        //# discard it.
        mtu if !ipv4 && mtu < IPV6_MTU_MIN => return None,
        // No link is so narrow: a mistake, or a lie.
        mtu if mtu < IPV4_MTU_MIN => return None,
        mtu => mtu,
    };
    // What fits is not too big.
    Some(mtu.max(least(target))).filter(|&mtu| mtu < sent)
}

/// Less is not believed.
const fn least(target: Address) -> u16 {
    //= rfc1191#3
    //# A host MUST never reduce its estimate of the Path MTU below 68
    //# octets.
    // Nor as far as that: it would turn a stream into a flood of tiny packets.
    if target.v4().is_some() { PATH_MTU_MIN } else { IPV6_MTU_MIN }
}

/// The hash of the table.
#[derive(Clone, Copy)]
struct Secret(SipHasher13);

impl BuildHasher for Secret {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}

impl std::fmt::Debug for Secret {
    /// The secret is not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

//= rfc8201#4
//# The recommended setting for this timer is twice
//# its minimum value (10 minutes).
/// How long a path is believed to be narrow.
pub const BELIEVED: Duration = Duration::from_secs(600);
/// MTUs of the links there are (RFC 1191 table 7-1).
pub const PLATEAUS: [u16; 10] = [65_535, 32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];
const IPV4_MTU_MIN: u16 = 68;
const IPV6_MTU_MIN: u16 = 1280;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const START: Instant = Instant::from_ns(5_000_000_000);

    fn path(last: u32) -> Path {
        Path { interface: 0, target: Ipv4Addr::from(0x0a00_0000 + last).into() }
    }

    fn v6() -> Address {
        Ipv6Addr::from(0xfd << 120 | 1).into()
    }

    //= type=test
    //= rfc8201#4
    //# A node must not increase its estimate of the Path MTU in response to
    //# the contents of a Packet Too Big message.
    #[test]
    fn only_what_is_narrower_is_news() {
        let mut paths = PathMtus::new(&[1; 16]);
        assert_eq!((paths.narrowest(), paths.find(START, path(1), true)), (usize::MAX, None));
        let known = PathMtu { mtu: 1300, until: START + BELIEVED };
        assert_eq!(paths.narrow(START, path(1), 1300, true), Some(known));
        for mtu in [1300, 1301, 9000] {
            assert_eq!(paths.narrow(START + Duration::from_secs(1), path(1), mtu, true), None);
        }
        assert_eq!(paths.find(START, path(1), true), Some(known));
        assert_eq!(paths.find(START, path(2), true), None);
        assert_eq!(paths.find(START, Path { interface: 1, ..path(1) }, true), None, "by another interface the way is another");
        assert_eq!(paths.narrow(START, path(1), 700, true).map(|known| known.mtu), Some(700));
        assert_eq!(paths.narrowest(), 700);
    }

    //= type=test
    //= rfc8201#5.3
    //# When a PMTU value
    //# has not been decreased for a while (on the order of 10 minutes), it
    //# should probe to find if a larger PMTU is supported.
    #[test]
    fn what_is_known_is_forgotten_after_ten_minutes() {
        let mut paths = PathMtus::new(&[1; 16]);
        paths.narrow(START, path(1), 700, true);
        paths.narrow(START + Duration::from_secs(60), path(2), 1300, true);
        assert!(paths.find(START + Duration::from_secs(599), path(1), true).is_some());
        assert_eq!(paths.find(START + BELIEVED, path(1), true), None);
        assert_eq!(paths.narrowest(), 1300);
        assert_eq!(paths.find(START + Duration::from_secs(660), path(9), true), None);
        assert_eq!(paths.narrowest(), usize::MAX);
    }

    #[test]
    fn what_is_not_sure_is_kept_apart_and_gives_way_first() {
        let mut paths = PathMtus::new(&[1; 16]);
        let mut narrow = |mtu, sure| paths.narrow(START, path(1), mtu, sure).map(|known| known.mtu);
        assert_eq!([narrow(700, false), narrow(900, false), narrow(1300, true)], [Some(700), None, Some(1300)]);
        let later = START + Duration::from_secs(60);
        paths.narrow(later, path(1), 600, false);
        let both = |paths: &mut PathMtus, now| [true, false].map(|sure| paths.find(now, path(1), sure).map(|known| known.mtu));
        assert_eq!(both(&mut paths, later), [Some(1300), Some(600)]);
        assert_eq!(both(&mut paths, START + BELIEVED), [None, Some(600)], "what is not sure does not prolong what is");
        assert_eq!(paths.narrow(START, path(1), 1300, true).map(|known| known.mtu), Some(1300));
        let later = START + Duration::from_secs(1);
        for n in 2..=PATH_MTUS as u32 {
            paths.narrow(later, path(n), 1300, false);
        }
        assert!(paths.narrow(later, path(1 << 20), 1300, false).is_some());
        assert!(paths.find(later, path(1), true).is_some(), "the oldest, but sure");
    }

    #[test]
    fn a_full_table_forgets_what_is_oldest() {
        let mut paths = PathMtus::new(&[1; 16]);
        let room = paths.paths.capacity();
        let at = |n: u32| START + Duration::from_millis(n.into());
        for n in 0..PATH_MTUS as u32 {
            assert!(paths.narrow(at(n), path(n), 1300, true).is_some());
        }
        assert!(paths.narrow(at(5000), path(7), 900, true).is_some(), "one that is there needs no room");
        assert!(paths.find(at(5000), path(0), true).is_some());
        assert!(paths.narrow(at(5000), path(1 << 20), 1300, true).is_some());
        assert_eq!((paths.find(at(5000), path(0), true), paths.paths.len()), (None, PATH_MTUS));
        assert_eq!(paths.paths.capacity(), room, "it does not grow");
    }

    //= type=test
    //= rfc8201#4
    //# If a node receives a Packet Too Big message reporting a
    //# next-hop MTU that is less than the IPv6 minimum link MTU, it must
    //# discard it.
    //= type=test
    //= rfc1191#3
    //# A host MUST never reduce its estimate of the Path MTU below 68
    //# octets.
    #[test]
    fn an_error_is_taken_as_far_as_it_can_be_true() {
        let v4 = path(1).target;
        for (mtu, sent, target, taken) in [
            (1300, 1500, v4, Some(1300)),
            (0, 1500, v4, Some(1492)),
            (0, 1492, v4, Some(1006)),
            (0, 500, v4, None),
            (67, 1500, v4, None),
            (68, 1500, v4, Some(552)),
            (1500, 1500, v4, None),
            (70_000, 1500, v4, None),
            (1300, 1500, v6(), Some(1300)),
            (1280, 1500, v6(), Some(1280)),
            (1279, 1500, v6(), None),
            (0, 1500, v6(), None),
            (1500, 1400, v6(), None),
        ] {
            assert_eq!(claimed(mtu, sent, target), taken, "{mtu} for {sent} to {target}");
        }
        let mut paths = PathMtus::new(&[1; 16]);
        assert_eq!(paths.narrow(START, path(1), 1, true).map(|known| known.mtu), Some(552));
        assert_eq!(paths.narrow(START, Path { interface: 0, target: v6() }, 1, true).map(|known| known.mtu), Some(1280));
    }
}
