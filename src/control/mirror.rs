//! The kernel's side of one interface, and what of it an engine has not been told yet.
//!
//! Kept by the control thread. What the kernel says is noted here first and told when there is room, so that a full queue loses nothing: what is
//! left waits, and only its last state is told. After an overflow of netlink the whole is read again, and what differs is told. Pure; nothing
//! panics.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::decode::LinkState;
use crate::engine::News;
use crate::limits;
use crate::link::interface::Cidr;
use crate::link::neighbor::Known;
use crate::link::routes::Routes;

/// One interface.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) position: u16,
    /// Neighbours as the kernel knows them, at most [`limits::KERNEL_NEIGHBORS`].
    neighbors: HashMap<IpAddr, Known>,
    /// Those that have changed since they were told.
    changed: BTreeSet<IpAddr>,
    routes: Routes,
    routes_changed: bool,
    /// The addresses whose ports are held, and those the engine has been told of.
    addresses: Vec<Cidr>,
    told_addresses: Vec<Cidr>,
    link: LinkState,
    told_link: LinkState,
    /// The largest IPv6 packet that routers allow, and what the engine knows of that.
    mtu_v6: usize,
    told_mtu_v6: usize,
    /// How long neighbours are to count as reachable, until it is told.
    reachable: Option<Duration>,
}

/// What is new about a link, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkNews {
    /// It went down.
    Down,
    /// It came up.
    Up,
    /// Its MTU was this before.
    Mtu(usize),
}

impl Mirror {
    /// An interface of which the engine knows its addresses and the state of its link.
    pub(super) fn new(position: u16, addresses: Vec<Cidr>, link: LinkState) -> Self {
        Self {
            position,
            neighbors: HashMap::new(),
            changed: BTreeSet::new(),
            routes: Routes::default(),
            routes_changed: false,
            told_addresses: addresses.clone(),
            addresses,
            link,
            told_link: link,
            mtu_v6: usize::MAX,
            told_mtu_v6: usize::MAX,
            reachable: None,
        }
    }

    /// Notes what the kernel says of a neighbour. False when there is no room for one more.
    pub(super) fn neighbor(&mut self, ip: IpAddr, known: Known) -> bool {
        if known == Known::Gone {
            if self.neighbors.remove(&ip).is_some() {
                self.changed.insert(ip);
            }
            return true;
        }
        if self.neighbors.len() >= limits::KERNEL_NEIGHBORS && !self.neighbors.contains_key(&ip) {
            return false;
        }
        if self.neighbors.insert(ip, known) != Some(known) {
            self.changed.insert(ip);
        }
        true
    }

    /// The whole of the neighbours, read anew. False when there was no room for all.
    pub(super) fn all_neighbors(&mut self, all: impl IntoIterator<Item = (IpAddr, Known)>) -> bool {
        let mut before = std::mem::take(&mut self.neighbors);
        let mut room = true;
        for (ip, known) in all {
            if before.remove(&ip) == Some(known) {
                self.neighbors.insert(ip, known);
            } else {
                room &= self.neighbor(ip, known);
                self.changed.insert(ip);
            }
        }
        self.changed.extend(before.into_keys());
        room
    }

    /// The engine asks for a neighbour. What is known of it is told again: it may have had no room for it.
    pub(super) fn asked(&mut self, ip: IpAddr) {
        if matches!(self.neighbors.get(&ip), Some(Known::Fresh(_) | Known::Stale(_))) {
            self.changed.insert(ip);
        }
    }

    /// True when the kernel is sure of a neighbour.
    pub(super) fn is_fresh(&self, ip: IpAddr) -> bool {
        matches!(self.neighbors.get(&ip), Some(Known::Fresh(_)))
    }

    /// All routes, read anew.
    pub(super) fn all_routes(&mut self, routes: Routes) {
        if self.routes != routes {
            self.routes = routes;
            self.routes_changed = true;
        }
    }

    /// The largest IPv6 packet that routers allow, if they say so.
    pub(super) fn mtu_v6(&mut self, mtu: Option<usize>) {
        self.mtu_v6 = mtu.unwrap_or(usize::MAX);
    }

    /// How long neighbours are to count as reachable from now on.
    pub(super) const fn reachable(&mut self, time: Duration) {
        self.reachable = Some(time);
    }

    /// The addresses whose ports are held now, or those that are claimed.
    pub(super) fn all_addresses(&mut self, addresses: Vec<Cidr>) {
        self.addresses = addresses;
    }

    /// The addresses whose ports were held last.
    pub(super) fn addresses(&self) -> &[Cidr] {
        &self.addresses
    }

    /// The state of the link; what is new about it.
    pub(super) fn link(&mut self, link: LinkState) -> Vec<LinkNews> {
        let mut news = Vec::new();
        if link.up != self.link.up {
            news.push(if link.up { LinkNews::Up } else { LinkNews::Down });
        }
        if link.mtu > 0 && link.mtu != self.link.mtu {
            news.push(LinkNews::Mtu(self.link.mtu));
        }
        self.link = LinkState { up: link.up, mtu: if link.mtu > 0 { link.mtu } else { self.link.mtu } };
        news
    }

    /// Tells what is new until `tell` has no more room. True when nothing is left to be told.
    pub(super) fn tell(&mut self, mut tell: impl FnMut(News) -> bool) -> bool {
        let interface = self.position;
        if self.told_link.mtu != self.link.mtu {
            if !tell(News::Mtu { interface, mtu: self.link.mtu }) {
                return false;
            }
            self.told_link.mtu = self.link.mtu;
        }
        if self.told_mtu_v6 != self.mtu_v6 {
            if !tell(News::MtuV6 { interface, mtu: self.mtu_v6 }) {
                return false;
            }
            self.told_mtu_v6 = self.mtu_v6;
        }
        if self.told_link.up != self.link.up {
            if !tell(News::Link { interface, up: self.link.up }) {
                return false;
            }
            self.told_link.up = self.link.up;
        }
        while let Some(&address) = self.told_addresses.iter().find(|address| !self.addresses.contains(address)) {
            if !tell(News::Address { interface, address, there: false }) {
                return false;
            }
            self.told_addresses.retain(|told| *told != address);
        }
        while let Some(&address) = self.addresses.iter().find(|address| !self.told_addresses.contains(address)) {
            if !tell(News::Address { interface, address, there: true }) {
                return false;
            }
            self.told_addresses.push(address);
        }
        if let Some(time) = self.reachable {
            if !tell(News::Reachable { interface, time }) {
                return false;
            }
            self.reachable = None;
        }
        if self.routes_changed {
            if !tell(News::Routes { interface, routes: Box::new(self.routes.clone()) }) {
                return false;
            }
            self.routes_changed = false;
        }
        while let Some(&ip) = self.changed.first() {
            let known = self.neighbors.get(&ip).copied().unwrap_or(Known::Gone);
            if !tell(News::Neighbor { interface, ip, known }) {
                return false;
            }
            self.changed.remove(&ip);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Mac;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const MOVED: Mac = Mac([2, 0, 0, 0, 0, 8]);
    const UP: LinkState = LinkState { up: true, mtu: 1500 };

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn mirror() -> Mirror {
        Mirror::new(0, vec!["10.0.0.2/24".parse().unwrap()], UP)
    }

    /// What is told with room for so many.
    fn told(mirror: &mut Mirror, room: usize) -> (Vec<String>, bool) {
        let mut told = Vec::new();
        let all = mirror.tell(|news| {
            let fits = told.len() < room;
            if fits {
                told.push(format!("{news:?}"));
            }
            fits
        });
        (told, all)
    }

    fn count(mirror: &mut Mirror) -> usize {
        let (told, all) = told(mirror, 1000);
        assert!(all);
        told.len()
    }

    #[test]
    fn what_is_the_same_is_not_told_again() {
        let mut mirror = mirror();
        assert_eq!(count(&mut mirror), 0);
        assert!(mirror.neighbor(ip(1), Known::Fresh(MAC)));
        mirror.all_routes(["10.9.0.0/16=10.0.0.1".parse().unwrap()].into_iter().collect());
        assert_eq!(mirror.link(LinkState { up: false, mtu: 1400 }), [LinkNews::Down, LinkNews::Mtu(1500)]);
        mirror.all_addresses(vec!["10.0.0.3/24".parse().unwrap()]);
        assert_eq!(count(&mut mirror), 6);
        assert!(mirror.neighbor(ip(1), Known::Fresh(MAC)) && mirror.neighbor(ip(9), Known::Gone));
        mirror.all_routes(["10.9.0.0/16=10.0.0.1".parse().unwrap()].into_iter().collect());
        assert_eq!(mirror.link(LinkState { up: false, mtu: 0 }), [], "an MTU that is not said is the same");
        mirror.all_addresses(vec!["10.0.0.3/24".parse().unwrap()]);
        assert_eq!(count(&mut mirror), 0);
    }

    #[test]
    fn what_finds_no_room_is_told_later_in_its_last_state() {
        let mut mirror = mirror();
        for n in 1..=5 {
            assert!(mirror.neighbor(ip(n), Known::Fresh(MAC)));
        }
        let (first, all) = told(&mut mirror, 2);
        assert_eq!((first.len(), all), (2, false));
        assert!(mirror.neighbor(ip(4), Known::Stale(MOVED)) && mirror.neighbor(ip(5), Known::Gone));
        let (rest, all) = told(&mut mirror, 10);
        assert!(all && rest.len() == 3, "{rest:?}");
        assert!(rest[1].contains("10.0.0.4") && rest[1].contains("Stale"), "{rest:?}");
        assert!(rest[2].contains("10.0.0.5") && rest[2].contains("Gone"), "{rest:?}");
        assert_eq!(count(&mut mirror), 0);
    }

    #[test]
    fn whatever_has_no_room_stays_new() {
        let mut mirror = mirror();
        assert!(mirror.neighbor(ip(1), Known::Fresh(MAC)));
        mirror.all_routes(["10.9.0.0/16=10.0.0.1".parse().unwrap()].into_iter().collect());
        mirror.link(LinkState { up: false, mtu: 1400 });
        mirror.mtu_v6(Some(1300));
        mirror.all_addresses(vec!["10.0.0.3/24".parse().unwrap()]);
        let mut all = Vec::new();
        for _ in 0..7 {
            let (one, _) = told(&mut mirror, 1);
            all.extend(one);
        }
        let expected = ["Mtu", "MtuV6", "Link", "10.0.0.2", "10.0.0.3", "Routes", "10.0.0.1"];
        assert!(all.len() == 7 && all.iter().zip(expected).all(|(told, word)| told.contains(word)), "{all:?}");
        assert_eq!(count(&mut mirror), 0);
    }

    #[test]
    fn after_an_overflow_only_what_differs_is_told() {
        let mut mirror = mirror();
        for n in 1..=3 {
            assert!(mirror.neighbor(ip(n), Known::Fresh(MAC)));
        }
        count(&mut mirror);
        assert!(mirror.all_neighbors([(ip(1), Known::Fresh(MAC)), (ip(2), Known::Fresh(MOVED)), (ip(4), Known::Failed)]));
        let (told, _) = told(&mut mirror, 10);
        let words = [("10.0.0.2", "8"), ("10.0.0.3", "Gone"), ("10.0.0.4", "Failed")];
        assert_eq!(told.len(), 3);
        assert!(told.iter().zip(words).all(|(told, (ip, word))| told.contains(ip) && told.contains(word)), "{told:?}");
    }

    #[test]
    fn one_that_is_asked_for_is_told_again_if_it_is_known() {
        let mut mirror = mirror();
        assert!(mirror.neighbor(ip(1), Known::Stale(MAC)) && mirror.neighbor(ip(2), Known::Failed));
        count(&mut mirror);
        (1..=3).for_each(|n| mirror.asked(ip(n)));
        assert_eq!(count(&mut mirror), 1);
        assert!(!mirror.is_fresh(ip(1)) && mirror.neighbor(ip(1), Known::Fresh(MAC)) && mirror.is_fresh(ip(1)));
    }

    #[test]
    fn the_neighbours_are_bounded() {
        let mut mirror = mirror();
        let nth = |n: usize| IpAddr::from((n as u32).to_be_bytes());
        assert!((0..limits::KERNEL_NEIGHBORS).all(|n| mirror.neighbor(nth(n), Known::Fresh(MAC))));
        assert!(!mirror.neighbor(nth(limits::KERNEL_NEIGHBORS), Known::Fresh(MAC)));
        assert!(mirror.neighbor(nth(0), Known::Fresh(MOVED)));
    }
}
