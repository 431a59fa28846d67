//! The routes of an interface beyond its own networks: by which neighbour an address is reached (RFC 1122 3.3.1; RFC 1812 5.2.4).
//!
//! Filled from the command line, or kept like the kernel's by netlink; read through [`super::route`] for every packet that is sent anew.
//! A look-up takes one step for each length of prefix that occurs, longest first. Bounded; pure; nothing panics.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::interface::Cidr;
use crate::error::SetupError;
use crate::limits;

/// One route: a network and the way to it.
///
/// ```
/// use ringway::link::routes::Route;
/// let route: Route = "10.9.0.0/16=10.0.0.1".parse()?;
/// assert_eq!(route.via, Some("10.0.0.1".parse().unwrap()));
/// assert_eq!("10.8.0.7/32".parse::<Route>()?.via, None);
/// # Ok::<(), ringway::error::SetupError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network, by any address in it.
    pub to: Cidr,
    /// The gateway, of the same family; `None` when the network is on the link.
    pub via: Option<IpAddr>,
    /// The address of ours that packets leave from, if the route prefers one.
    pub source: Option<IpAddr>,
}

impl Route {
    /// The route to everything that no other route leads to.
    pub const fn default_via(gateway: IpAddr) -> Self {
        let any = match gateway {
            IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        Self { to: Cidr { address: any, prefix: 0 }, via: Some(gateway), source: None }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.via {
            Some(via) => write!(f, "{}={via}", self.to),
            None => write!(f, "{}", self.to),
        }
    }
}

impl FromStr for Route {
    type Err = SetupError;

    /// Reads `NETWORK/PREFIX=GATEWAY`, or `NETWORK/PREFIX` for one on the link.
    fn from_str(text: &str) -> Result<Self, SetupError> {
        let (network, gateway) = match text.split_once('=') {
            Some((network, gateway)) => (network, Some(gateway)),
            None => (text, None),
        };
        let mend = "--route 10.9.0.0/16=10.0.0.1, or --route 10.8.0.0/24 for a network on the link";
        let bad = |why: String| SetupError::usage(format!("cannot read the route '{text}'"), why).mend(mend);
        let to: Cidr = network.parse().map_err(|_| bad(format!("`{network}` is not of the form NETWORK/PREFIX")))?;
        let via: Option<IpAddr> =
            gateway.map(|via| via.parse().map_err(|_| bad(format!("the gateway `{via}` is not an IP address")))).transpose()?;
        if via.is_some_and(|via| via.is_ipv4() != to.address.is_ipv4()) {
            return Err(bad("network and gateway are of different families".into()));
        }
        Ok(Self { to, via, source: None })
    }
}

/// The routes of one interface, at most [`limits::ROUTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    v4: Vec<Networks>,
    v6: Vec<Networks>,
    len: usize,
}

/// Routes whose prefixes have one length.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Networks {
    prefix: u8,
    by_address: BTreeMap<IpAddr, Route>,
}

impl Routes {
    /// Adds a route, in place of one to the same network. False when there is no room.
    pub fn insert(&mut self, route: Route) -> bool {
        let (prefix, network) = (route.to.prefix, route.to.network());
        let full = self.len >= limits::ROUTES;
        let family = self.family_mut(network);
        // Longest prefix first.
        let at = family.partition_point(|networks| networks.prefix > prefix);
        let known = family.get_mut(at).filter(|networks| networks.prefix == prefix);
        if let Some(old) = known.and_then(|networks| networks.by_address.get_mut(&network)) {
            *old = route;
            return true;
        }
        if full {
            return false;
        }
        if family.get(at).is_none_or(|networks| networks.prefix != prefix) {
            family.insert(at, Networks { prefix, by_address: BTreeMap::new() });
        }
        if let Some(networks) = family.get_mut(at) {
            networks.by_address.insert(network, route);
        }
        self.len += 1;
        true
    }

    /// Takes the route to a network away. False when there was none.
    pub fn remove(&mut self, to: Cidr) -> bool {
        let network = to.network();
        let family = self.family_mut(network);
        let Some(at) = family.iter().position(|networks| networks.prefix == to.prefix) else { return false };
        let Some(networks) = family.get_mut(at) else { return false };
        if networks.by_address.remove(&network).is_none() {
            return false;
        }
        if networks.by_address.is_empty() {
            family.remove(at);
        }
        self.len -= 1;
        true
    }

    /// The route with the longest prefix that holds the address.
    pub fn find(&self, target: IpAddr) -> Option<&Route> {
        let family = if target.is_ipv4() { &self.v4 } else { &self.v6 };
        family.iter().find_map(|networks| networks.by_address.get(&Cidr { address: target, prefix: networks.prefix }.network()))
    }

    /// All routes, those of IPv4 first, the longest prefixes first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.v4.iter().chain(&self.v6).flat_map(|networks| networks.by_address.values())
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    const fn family_mut(&mut self, network: IpAddr) -> &mut Vec<Networks> {
        if network.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

impl FromIterator<Route> for Routes {
    /// Those that find no room are left out.
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        let mut all = Self::default();
        for route in routes {
            all.insert(route);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(text: &str) -> Route {
        text.parse().unwrap()
    }

    fn via(routes: &Routes, target: &str) -> Option<String> {
        routes.find(target.parse().unwrap()).map(|route| route.via.map_or("direct".into(), |via| via.to_string()))
    }

    #[test]
    fn the_longest_prefix_wins() {
        let routes: Routes = [
            Route::default_via("10.0.0.254".parse().unwrap()),
            route("10.9.0.0/16=10.0.0.1"),
            route("10.9.8.0/24=10.0.0.2"),
            route("10.9.8.7/32"),
            route("2001:db8::/32=fe80::1"),
        ]
        .into_iter()
        .collect();
        for (target, expected) in [
            ("192.0.2.1", Some("10.0.0.254")),
            ("10.9.1.1", Some("10.0.0.1")),
            ("10.9.8.1", Some("10.0.0.2")),
            ("10.9.8.7", Some("direct")),
            ("2001:db8:1::1", Some("fe80::1")),
            ("2001:db9::1", None),
        ] {
            assert_eq!(via(&routes, target).as_deref(), expected, "{target}");
        }
        assert_eq!(routes.len(), 5);
    }

    #[test]
    fn a_route_is_replaced_and_removed() {
        let mut routes = Routes::default();
        assert!(routes.insert(route("10.9.0.0/16=10.0.0.1")) && routes.insert(route("10.9.7.7/16=10.0.0.2")));
        assert_eq!((routes.len(), via(&routes, "10.9.0.1").as_deref()), (1, Some("10.0.0.2")));
        assert!(routes.remove("10.9.0.0/16".parse().unwrap()) && !routes.remove("10.9.0.0/16".parse().unwrap()));
        assert!(routes.is_empty() && routes.iter().next().is_none() && via(&routes, "10.9.0.1").is_none());
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let mut routes = Routes::default();
        let host = |n: usize| Route { to: Cidr { address: IpAddr::V4((n as u32).into()), prefix: 32 }, via: None, source: None };
        for n in 0..limits::ROUTES {
            assert!(routes.insert(host(n)));
        }
        assert!(!routes.insert(host(limits::ROUTES)));
        assert!(routes.insert(host(0)), "one that is there can still be replaced");
        assert_eq!(routes.len(), limits::ROUTES);
    }

    #[test]
    fn a_mistake_in_a_route_is_named() {
        for (text, why) in [
            ("10.9.0.0=10.0.0.1", "NETWORK/PREFIX"),
            ("10.9.0.0/16=x", "not an IP address"),
            ("10.9.0.0/16=", "not an IP address"),
            ("10.9.0.0/16=fe80::1", "different families"),
        ] {
            assert!(text.parse::<Route>().unwrap_err().to_string().contains(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_look_up_is_the_longest_match_of_all(
            networks in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..40), targets in proptest::collection::vec(any::<u32>(), 0..20),
        ) {
            let all: Vec<Route> = networks
                .iter()
                .map(|&(bits, prefix)| Route { to: Cidr { address: IpAddr::V4(bits.into()), prefix }, via: None, source: None })
                .collect();
            let routes: Routes = all.iter().copied().collect();
            for target in targets.into_iter().map(|bits| IpAddr::V4(bits.into())) {
                let expected = all.iter().filter(|route| route.to.contains(target)).map(|route| route.to.prefix).max();
                prop_assert_eq!(routes.find(target).map(|route| route.to.prefix), expected);
            }
        }
    }
}
