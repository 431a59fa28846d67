//! Better first hops to single destinations, as routers tell of them (RFC 1122 3.2.2.2, RFC 4861 8.3).
//!
//! Filled by the engine where redirects are allowed and one came from the first hop in use; looked up for what goes by a router. They hold until
//! the routes change or the better hop stays silent. Anybody on the link can forge one, hence the bound. Pure; nothing panics.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::limits::REDIRECTS;

/// The redirects of one interface.
///
/// ```
/// use ringway::link::redirects::Redirects;
/// let [far, gateway] = ["192.0.2.7", "10.0.0.9"].map(|text| text.parse().unwrap());
/// let mut redirects = Redirects::default();
/// redirects.add(far, gateway);
/// assert_eq!(redirects.find(far), Some(gateway));
/// redirects.retain(|hop| hop != gateway);
/// assert_eq!(redirects.find(far), None);
/// ```
#[derive(Debug, Default)]
pub struct Redirects {
    hops: BTreeMap<IpAddr, Told>,
    /// How many were added ever.
    count: u64,
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

    /// Packets for `destination` go to `hop` from now on. When there is no room the redirect that is oldest is forgotten: the router tells again.
    pub fn add(&mut self, destination: IpAddr, hop: IpAddr) {
        if self.hops.len() >= REDIRECTS && !self.hops.contains_key(&destination) {
            let oldest = self.hops.iter().min_by_key(|(_, told)| told.nth).map(|(&destination, _)| destination);
            oldest.and_then(|oldest| self.hops.remove(&oldest));
        }
        self.hops.insert(destination, Told { hop, nth: self.count });
        self.count += 1;
    }

    /// Keeps those whose hop is of use.
    pub fn retain(&mut self, mut keep: impl FnMut(IpAddr) -> bool) {
        self.hops.retain(|_, told| keep(told.hop));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(n: usize) -> IpAddr {
        Ipv4Addr::from_bits(n as u32).into()
    }

    #[test]
    fn the_last_word_counts_and_the_oldest_gives_way() {
        let mut redirects = Redirects::default();
        for n in 0..REDIRECTS {
            redirects.add(ip(n), ip(1 << 20));
        }
        redirects.add(ip(0), ip(2 << 20));
        assert_eq!((redirects.find(ip(0)), redirects.find(ip(1))), (Some(ip(2 << 20)), Some(ip(1 << 20))));
        redirects.add(ip(REDIRECTS), ip(3 << 20));
        assert_eq!((redirects.hops.len(), redirects.find(ip(1))), (REDIRECTS, None));
        assert!([0, 2, REDIRECTS].iter().all(|&n| redirects.find(ip(n)).is_some()));
        redirects.retain(|hop| hop != ip(1 << 20));
        assert_eq!(redirects.hops.len(), 2);
    }
}
