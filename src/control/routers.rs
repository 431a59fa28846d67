//! Router advertisements that are followed, on one interface of an address claim.
//!
//! Called by the control thread with what the engine has read and found valid, so that it comes from the link; what routers say together is put
//! together in [`crate::link::routers`]. Here it meets what the operator has given, which goes before, and what the machine allows. Each change is
//! logged once. Nothing here panics.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::{OnAddresses, Settled};
use crate::link::icmp::TokenBucket;
use crate::link::interface::Cidr;
use crate::link::nd::Router;
use crate::link::routers::{Routers, Told};
use crate::link::routes::{Route, Routes};
use crate::time::Instant;

/// How router advertisements are followed on an interface.
pub struct Following {
    /// Of the addresses' identifiers: the same as long as the addresses are to be.
    pub secret: [u8; 16],
    /// The operator's routes.
    pub routes: Routes,
    /// What is done when the addresses change.
    pub on_addresses: OnAddresses,
}

/// The routers of an interface, and what was made of what they said.
pub(super) struct Routing {
    name: String,
    routers: Routers,
    /// The operator's.
    addresses: Vec<Cidr>,
    routes: Routes,
    steer: OnAddresses,
    told: Told,
    /// What it led to could not be done whole.
    again: bool,
    /// Whoever is on the link can have lines written.
    lines: TokenBucket,
}

/// What is to be so now.
#[derive(Debug)]
pub(super) struct Changed {
    /// All addresses, if others than before.
    pub(super) addresses: Option<Vec<Cidr>>,
    /// All routes.
    pub(super) routes: Routes,
    /// The largest IPv6 packet that routers allow on the link, in bytes, if they say so.
    pub(super) mtu: Option<usize>,
    /// How long neighbours count as reachable, if it is another time than before.
    pub(super) reachable: Option<Duration>,
}

impl Routing {
    pub(super) fn new(name: &str, addresses: &[Cidr], following: Following) -> Self {
        Self {
            name: name.to_owned(),
            routers: Routers::new(following.secret, name),
            addresses: addresses.to_vec(),
            routes: following.routes,
            steer: following.on_addresses,
            told: Told::default(),
            again: false,
            lines: TokenBucket::new(LINES_PER_SECOND, LINES_AT_ONCE),
        }
    }

    /// A router tells of itself and the link.
    pub(super) fn advertised(&mut self, now: Instant, said: &Router) {
        self.routers.advertised(now, said);
    }

    /// Another station has an address.
    pub(super) fn duplicate(&mut self, address: Ipv6Addr) {
        self.routers.duplicate(address);
    }

    /// A router does not answer any more.
    pub(super) fn silent(&mut self, router: Ipv6Addr) {
        self.routers.silent(router);
    }

    /// What is to be so by now, if that has changed.
    pub(super) fn changed(&mut self, now: Instant) -> Option<Changed> {
        self.routers.expire(now);
        let told = self.routers.told(now);
        if told == self.told && !self.again {
            return None;
        }
        let before = std::mem::replace(&mut self.told, told);
        let mut lines = self.new_routes(&before);
        if let Some(mtu) = self.told.mtu.filter(|_| self.told.mtu != before.mtu) {
            lines.push(format!("a router allows IPv6 packets of {mtu} bytes"));
        }
        let same = before.addresses.len() == self.told.addresses.len()
            && self.told.addresses.iter().all(|address| before.addresses.contains(address));
        let addresses = (!same || self.again).then(|| self.steered(&before, &mut lines));
        let (routes, left_out) = self.merged();
        lines.extend(left_out.iter().map(|route| format!("no room for the route {route} that a router advertises")));
        lines.iter().filter(|_| self.lines.take(now)).for_each(|line| tracing::info!("{}: {line}", self.name));
        let reachable = self.told.reachable.filter(|_| self.told.reachable != before.reachable);
        Some(Changed { addresses, routes, mtu: self.told.mtu.map(|mtu| mtu as usize), reachable })
    }

    /// The addresses there are, once the new ones are steered and those that have gone no longer.
    fn steered(&mut self, before: &Told, lines: &mut Vec<String>) -> Vec<Cidr> {
        let Settled { addresses: held, left_out, again } = (self.steer)(&self.told.addresses);
        self.again = again.is_some();
        lines.extend(left_out.iter().chain(&again).map(ToString::to_string));
        let gone = before.addresses.iter().filter(|cidr| !held.contains(cidr));
        lines.extend(gone.map(|cidr| format!("{} is not used any more", cidr.address)));
        let come = held.iter().filter(|cidr| !before.addresses.contains(cidr));
        lines.extend(
            come.map(|cidr| format!("a router advertises the prefix of {}, which is used if nobody has it", cidr.address)),
        );
        self.addresses.iter().copied().chain(held).collect()
    }

    /// What routers say, where the operator says nothing else, and what of it finds no room.
    fn merged(&self) -> (Routes, Vec<Route>) {
        let mut routes = self.routes.clone();
        let given = |to: Cidr| self.routes.iter().any(|own| network(own) == (to.network(), to.prefix));
        let told = self.told.routes.iter().copied().filter(|route| !given(route.to));
        let left_out = told.filter(|route| !routes.insert(*route)).collect();
        (routes, left_out)
    }

    /// What routes have come and gone, in words.
    fn new_routes(&self, before: &Told) -> Vec<String> {
        let there = |told: &Told, route: &Route| told.routes.iter().any(|known| (known.to, known.via) == (route.to, route.via));
        let gone = before.routes.iter().filter(|route| !there(&self.told, route));
        let come = self.told.routes.iter().filter(|route| !there(before, route));
        let gone = gone.map(|route| format!("the route {route} that a router advertised is gone"));
        gone.chain(come.map(|route| format!("a router advertises the route {route}"))).collect()
    }
}

/// Lines of the log about what routers say.
const LINES_PER_SECOND: u32 = 1;
const LINES_AT_ONCE: u32 = 32;

fn network(route: &Route) -> (IpAddr, u8) {
    (route.to.network(), route.to.prefix)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::error::SetupError;
    use crate::limits::ROUTER_PREFIXES;
    use crate::wire::nd::Prefix;

    const NOW: Instant = Instant::from_ns(1 << 50);

    /// A router that is the default one, with a prefix to make addresses of.
    fn said(lifetime_s: u64, valid_s: u32) -> Router {
        let mut prefixes = [None; ROUTER_PREFIXES];
        let address = "2001:db8:1::".parse().unwrap();
        prefixes[0] = Some(Prefix { address, len: 64, on_link: true, autonomous: true, valid_s, preferred_s: valid_s });
        Router {
            address: "fe80::1".parse().unwrap(),
            mac: None,
            lifetime: Duration::from_secs(lifetime_s),
            mtu: Some(1400),
            reachable: Some(Duration::from_secs(10)),
            prefixes,
        }
    }

    /// Routers beside routes of the operator's; the addresses that are steered.
    fn routing(routes: &[&str], refuse: bool) -> (Routing, Arc<Mutex<Vec<Cidr>>>) {
        let steered = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&steered);
        let on_addresses = Box::new(move |addresses: &[Cidr]| {
            *seen.lock().unwrap() = addresses.to_vec();
            Settled { addresses: if refuse { Vec::new() } else { addresses.to_vec() }, ..Settled::default() }
        });
        let routes = routes.iter().map(|text| text.parse::<Route>().unwrap()).collect();
        let following = Following { secret: [7; 16], routes, on_addresses };
        (Routing::new("eth0", &["fd00::2/64".parse().unwrap()], following), steered)
    }

    fn shown(routes: &Routes) -> Vec<String> {
        routes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn routes_and_addresses_come_with_an_advertisement_and_go_when_its_time_is_over() {
        let (mut routing, steered) = routing(&[], false);
        assert!(routing.changed(NOW).is_none(), "nothing was said");
        routing.advertised(NOW, &said(60, 30));
        let changed = routing.changed(NOW).unwrap();
        assert_eq!(shown(&changed.routes), ["2001:db8:1::/64", "::/0=fe80::1"]);
        let addresses = changed.addresses.unwrap();
        assert_eq!((addresses.len(), addresses[0].to_string()), (2, "fd00::2/64".to_owned()));
        assert_eq!(*steered.lock().unwrap(), addresses[1..]);
        assert_eq!((changed.mtu, changed.reachable), (Some(1400), Some(Duration::from_secs(10))));
        routing.advertised(NOW, &said(60, 30));
        assert!(routing.changed(NOW).is_none(), "the same again is no change");
        let changed = routing.changed(NOW + Duration::from_secs(30)).unwrap();
        assert_eq!((shown(&changed.routes), changed.addresses.unwrap().len()), (vec!["::/0=fe80::1".to_owned()], 1));
        assert!(steered.lock().unwrap().is_empty());
        let changed = routing.changed(NOW + Duration::from_secs(60)).unwrap();
        assert!(shown(&changed.routes).is_empty() && changed.addresses.is_none());
    }

    #[test]
    fn routes_of_the_operator_go_before() {
        let (mut routing, _) = routing(&["::/0=fe80::9", "2001:db8:1::7/64=fe80::8", "10.9.0.0/16=10.0.0.1"], false);
        routing.advertised(NOW, &said(60, 30));
        let changed = routing.changed(NOW).unwrap();
        assert_eq!(shown(&changed.routes), ["10.9.0.0/16=10.0.0.1", "2001:db8:1::7/64=fe80::8", "::/0=fe80::9"]);
    }

    #[test]
    fn what_could_not_be_done_is_tried_again() {
        let tries = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&tries);
        let on_addresses = Box::new(move |addresses: &[Cidr]| {
            *seen.lock().unwrap() += 1;
            let again = (*seen.lock().unwrap() < 3).then(|| SetupError::environment("cannot steer", "the map is full"));
            Settled { addresses: if again.is_none() { addresses.to_vec() } else { Vec::new() }, left_out: Vec::new(), again }
        });
        let following = Following { secret: [7; 16], routes: Routes::default(), on_addresses };
        let mut routing = Routing::new("eth0", &[], following);
        routing.advertised(NOW, &said(60, 30));
        let had: Vec<usize> = (0..3).map(|_| routing.changed(NOW).unwrap().addresses.unwrap().len()).collect();
        assert_eq!((had, routing.changed(NOW).is_none(), *tries.lock().unwrap()), (vec![0, 0, 1], true, 3));
    }

    #[test]
    fn an_address_that_cannot_be_steered_is_not_used_and_a_duplicate_gives_way_to_the_next() {
        let (mut refused, _) = routing(&[], true);
        refused.advertised(NOW, &said(60, 30));
        assert_eq!(refused.changed(NOW).unwrap().addresses.unwrap().len(), 1);
        let (mut routing, _) = routing(&[], false);
        routing.advertised(NOW, &said(60, 30));
        let last = |changed: Option<Changed>| changed.unwrap().addresses.unwrap()[1].address;
        let IpAddr::V6(first) = last(routing.changed(NOW)) else { panic!("IPv6") };
        routing.duplicate(first);
        assert_ne!(last(routing.changed(NOW)), IpAddr::V6(first));
    }
}
