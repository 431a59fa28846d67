//! Better first hops to single destinations, as routers tell of them (RFC 1122 3.2.2.2, RFC 4861 8.3).
//!
//! Filled by the engine where redirects are allowed and one came from the first hop in use; looked up for what goes by a router. They hold until
//! the routes change or the better hop stays silent. Anybody on the link can forge one, hence the bound. Pure; nothing panics.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::limits::{REDIRECTS, SILENT_HOPS};
use crate::time::Instant;

/// The redirects of one interface.
///
/// ```
/// use ringway::link::redirects::Redirects;
/// use ringway::time::Instant;
/// let [far, gateway] = ["192.0.2.7", "10.0.0.9"].map(|text| text.parse().unwrap());
/// let (mut redirects, now) = (Redirects::default(), Instant::from_ns(7));
/// assert!(redirects.add(now, far, gateway));
/// assert_eq!(redirects.find(far), Some(gateway));
/// redirects.silent(now, gateway);
/// assert!(redirects.find(far).is_none() && !redirects.add(now, far, gateway));
/// ```
#[derive(Debug, Default)]
pub struct Redirects {
    hops: BTreeMap<IpAddr, Told>,
    /// How many were added ever.
    count: u64,
    /// Hops that did not answer, and until when they are not tried again: the router that names one may not know.
    silent: Vec<(IpAddr, Instant)>,
}

/// What was told of a destination.
#[derive(Debug)]
struct Told {
    hop: IpAddr,
    /// Its number in the order in which they came.
    nth: u64,
}

impl Redirects {
    /// The neighbour that packets for `destination` go to: a router, or the destination itself when it is on the link.
    #[inline]
    pub fn find(&self, destination: IpAddr) -> Option<IpAddr> {
        if self.hops.is_empty() {
            return None;
        }
        self.hops.get(&destination).map(|told| told.hop)
    }

    /// Packets for `destination` go to `hop` from now on. False when that did not answer a while ago. When there is no room the redirect that is
    /// oldest is forgotten: the router tells again.
    pub fn add(&mut self, now: Instant, destination: IpAddr, hop: IpAddr) -> bool {
        self.silent.retain(|&(_, until)| now < until);
        if self.silent.iter().any(|&(silent, _)| silent == hop) {
            return false;
        }
        if self.hops.len() >= REDIRECTS && !self.hops.contains_key(&destination) {
            let oldest = self.hops.iter().min_by_key(|(_, told)| told.nth).map(|(&destination, _)| destination);
            oldest.and_then(|oldest| self.hops.remove(&oldest));
        }
        self.hops.insert(destination, Told { hop, nth: self.count });
        self.count += 1;
        true
    }

    /// A hop does not answer: what went by it goes by the routes again.
    pub fn silent(&mut self, now: Instant, hop: IpAddr) {
        if self.forget(hop) {
            self.silent.truncate(SILENT_HOPS - 1);
            self.silent.insert(0, (hop, now + SILENT_FOR));
        }
    }

    /// Forgets the redirects to a hop. False when there was none.
    pub fn forget(&mut self, hop: IpAddr) -> bool {
        let before = self.hops.len();
        self.hops.retain(|_, told| told.hop != hop);
        self.hops.len() < before
    }
}

/// How long a hop that did not answer is not tried again.
const SILENT_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(n: usize) -> IpAddr {
        Ipv4Addr::from_bits(n as u32).into()
    }

    const NOW: Instant = Instant::from_ns(7);

    #[test]
    fn the_last_word_counts_and_the_oldest_gives_way() {
        let mut redirects = Redirects::default();
        for n in 0..REDIRECTS {
            assert!(redirects.add(NOW, ip(n), ip(1 << 20)));
        }
        redirects.add(NOW, ip(0), ip(2 << 20));
        assert_eq!((redirects.find(ip(0)), redirects.find(ip(1))), (Some(ip(2 << 20)), Some(ip(1 << 20))));
        redirects.add(NOW, ip(REDIRECTS), ip(3 << 20));
        assert_eq!((redirects.hops.len(), redirects.find(ip(1))), (REDIRECTS, None));
        assert!([0, 2, REDIRECTS].iter().all(|&n| redirects.find(ip(n)).is_some()));
        assert!(redirects.forget(ip(1 << 20)) && !redirects.forget(ip(1 << 20)));
        assert_eq!(redirects.hops.len(), 2);
    }

    #[test]
    fn who_was_silent_is_not_tried_again_for_a_minute() {
        let mut redirects = Redirects::default();
        redirects.silent(NOW, ip(1));
        assert!(redirects.add(NOW, ip(9), ip(1)), "it was no hop of any redirect");
        for n in 1..100 {
            redirects.add(NOW, ip(9), ip(n));
            redirects.silent(NOW, ip(n));
        }
        assert_eq!((redirects.silent.len(), redirects.find(ip(9))), (SILENT_HOPS, None));
        let later = NOW + Duration::from_secs(59);
        assert!(!redirects.add(later, ip(9), ip(99)) && redirects.add(later, ip(9), ip(1)));
        assert!(redirects.add(NOW + SILENT_FOR, ip(9), ip(99)));
    }
}
