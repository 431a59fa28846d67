//! Router advertisements that are followed, on one interface of an address claim.
//!
//! Called by the control thread with what the engine has read and found valid, so that it comes from the link; what routers say together is put
//! together in [`crate::link::routers`]. Here it meets what the operator has given, which goes before, and what the machine allows. Each change is
//! logged once. Nothing here panics.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::link::interface::Cidr;
use crate::link::nd::Router;
use crate::link::routers::{Routers, Told};
use crate::link::routes::{Route, Routes};
use crate::time::Instant;

/// Steers these addresses, beside those that were claimed at the start, and no others; returns those for which that could be done.
pub type SteerAddresses = Box<dyn FnMut(&[Cidr]) -> Vec<Cidr> + Send>;

/// How router advertisements are followed on an interface.
pub struct Following {
    /// Of the addresses' identifiers: the same as long as the addresses are to be.
    pub secret: [u8; 16],
    /// The operator's routes.
    pub routes: Routes,
    /// What is done when the addresses change.
    pub on_addresses: SteerAddresses,
}

/// The routers of an interface, and what was made of what they said.
pub(super) struct Routing {
    name: String,
    routers: Routers,
    /// The operator's.
    addresses: Vec<Cidr>,
    routes: Routes,
    steer: SteerAddresses,
    told: Told,
}

/// What is to be so now.
#[derive(Debug)]
pub(super) struct Changed {
    /// All addresses, if others than before.
    pub(super) addresses: Option<Vec<Cidr>>,
    /// All routes.
    pub(super) routes: Routes,
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

    /// The largest packet that routers allow on the link.
    pub(super) fn mtu(&self) -> Option<usize> {
        self.told.mtu.map(|mtu| mtu as usize)
    }

    /// What is to be so by now, if that has changed.
    pub(super) fn changed(&mut self, now: Instant) -> Option<Changed> {
        self.routers.expire(now);
        let told = self.routers.told(now);
        if told == self.told {
            return None;
        }
        let before = std::mem::replace(&mut self.told, told);
        self.say_routes(&before);
        let same = before.addresses.len() == self.told.addresses.len()
            && self.told.addresses.iter().all(|address| before.addresses.contains(address));
        let addresses = (!same).then(|| self.steered(&before));
        let reachable = self.told.reachable.filter(|_| self.told.reachable != before.reachable);
        Some(Changed { addresses, routes: self.merged(), reachable })
    }

    /// The addresses there are, once the new ones are steered and those that have gone no longer.
    fn steered(&mut self, before: &Told) -> Vec<Cidr> {
        let name = &self.name;
        let held = (self.steer)(&self.told.addresses);
        for gone in before.addresses.iter().filter(|cidr| !held.contains(cidr)) {
            tracing::info!("{name}: {} is not used any more", gone.address);
        }
        for come in held.iter().filter(|cidr| !before.addresses.contains(cidr)) {
            tracing::info!("{name}: a router advertises the prefix of {}, which is used if nobody has it", come.address);
        }
        self.addresses.iter().copied().chain(held).collect()
    }

    /// What routers say, where the operator says nothing else.
    fn merged(&self) -> Routes {
        let mut routes = self.routes.clone();
        let given = |to: Cidr| self.routes.iter().any(|own| network(own) == (to.network(), to.prefix));
        for route in self.told.routes.iter().filter(|route| !given(route.to)) {
            if !routes.insert(*route) {
                tracing::warn!("{}: no room for the route {route} that a router advertises", self.name);
            }
        }
        routes
    }

    fn say_routes(&self, before: &Told) {
        let name = &self.name;
        let there = |told: &Told, route: &Route| told.routes.iter().any(|known| (known.to, known.via) == (route.to, route.via));
        for gone in before.routes.iter().filter(|route| !there(&self.told, route)) {
            tracing::info!("{name}: the route {gone} that a router advertised is gone");
        }
        for come in self.told.routes.iter().filter(|route| !there(before, route)) {
            tracing::info!("{name}: a router advertises the route {come}");
        }
    }
}

fn network(route: &Route) -> (IpAddr, u8) {
    (route.to.network(), route.to.prefix)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
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
            hop_limit: None,
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
            if refuse { Vec::new() } else { addresses.to_vec() }
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
        assert_eq!((routing.mtu(), changed.reachable), (Some(1400), Some(Duration::from_secs(10))));
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
