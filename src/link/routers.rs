//! What the routers of a link have told, put together: default routes, prefixes on the link, addresses of our own (RFC 4861 6.3.4, RFC 4862
//! 5.5).
//!
//! Told by whoever hears router advertisements, where they are to be followed; read after each one and every now and then, as lifetimes are whole seconds.
//! What follows from it is somebody else's to do: addresses go the way of every claimed address, duplicates included. Everything is bounded,
//! and told by anybody on the link: what an advertisement can take away is what advertisements have given. Time is an argument. Nothing here
//! panics.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::interface::Cidr;
use super::nd::Router;
use super::routes::Route;
use super::stable;
use crate::limits::{LINK_PREFIXES, ROUTERS};
use crate::time::Instant;
use crate::wire::nd::Prefix;

/// The routers of one link, and what they say of it.
#[derive(Debug)]
pub struct Routers {
    /// Of the addresses' identifiers ([`stable`]).
    secret: [u8; 16],
    /// Name of the interface, which the identifiers depend on.
    interface: String,
    /// In the order in which they were first heard, silent ones behind the others.
    routers: Vec<DefaultRouter>,
    on_link: Vec<OnLink>,
    addresses: Vec<Autonomous>,
    mtu: Option<u32>,
    reachable: Option<Duration>,
}

/// A default router.
#[derive(Clone, Copy, Debug)]
struct DefaultRouter {
    address: Ipv6Addr,
    until: Instant,
}

/// A network on the link.
#[derive(Clone, Copy, Debug)]
struct OnLink {
    network: Cidr,
    until: Instant,
}

/// An address made of a prefix.
#[derive(Clone, Copy, Debug)]
struct Autonomous {
    prefix: u64,
    /// Addresses of this prefix that other stations turned out to have.
    attempt: u8,
    address: Ipv6Addr,
    preferred: Instant,
    valid: Instant,
}

/// What is to be so while nothing else is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// A default route by the first router, if there is one, and a route for each network on the link.
    pub routes: Vec<Route>,
    /// The addresses to have, those first that are still preferred: others are for what has begun (RFC 4862 5.5.4).
    pub addresses: Vec<Cidr>,
    /// The MTU of the link.
    pub mtu: Option<u32>,
    /// How long a neighbour counts as reachable.
    pub reachable: Option<Duration>,
}

impl Routers {
    /// None, on an interface of this name. `secret` must stay the same as long as the addresses are to ([`stable::link_local`]).
    pub fn new(secret: [u8; 16], interface: &str) -> Self {
        Self {
            secret,
            interface: interface.to_owned(),
            routers: Vec::new(),
            on_link: Vec::new(),
            addresses: Vec::new(),
            mtu: None,
            reachable: None,
        }
    }

    /// A router tells of itself and the link.
    pub fn advertised(&mut self, now: Instant, said: &Router) {
        self.expire(now);
        self.router(now, said);
        for prefix in said.prefixes.iter().flatten() {
            if prefix.on_link {
                self.network(now, prefix);
            }
            if prefix.autonomous {
                self.autonomous(now, prefix);
            }
        }
        //= rfc4861#6.3.4
        //# In
        //# particular, a host MUST NOT interpret the unspecified value as
        //# meaning change back to the default value that was in use before the
        //# first Router Advertisement was received.
        self.mtu = said.mtu.or(self.mtu);
        self.reachable = said.reachable.or(self.reachable);
    }

    /// Another station has one of the addresses: the next one of its prefix takes its place, or none.
    pub fn duplicate(&mut self, address: Ipv6Addr) {
        let Some(at) = self.addresses.iter().position(|own| own.address == address) else { return };
        let Some(own) = self.addresses.get_mut(at) else { return };
        match next_address(&self.secret, own.prefix, &self.interface, own.attempt + 1) {
            Some((attempt, address)) => (own.attempt, own.address) = (attempt, address),
            None => own.attempt = stable::ATTEMPTS,
        }
    }

    /// A router does not answer when neighbours are asked for it: the next one takes its place.
    pub fn silent(&mut self, address: Ipv6Addr) {
        //= rfc4861#6.3.6
        //# Routers that are reachable or probably reachable (i.e., in any
        //# state other than INCOMPLETE) SHOULD be preferred over routers
        //# whose reachability is unknown or suspect
        //= rfc4861#6.3.6
        //# When no routers on the list are known to be reachable or
        //# probably reachable, routers SHOULD be selected in a round-robin
        //# fashion
        // Both by this: the first that still answers comes first, and when none does each has its turn.
        if let Some(at) = self.routers.iter().position(|router| router.address == address) {
            let silent = self.routers.remove(at);
            self.routers.push(silent);
        }
    }

    /// Forgets what has come to its end.
    pub fn expire(&mut self, now: Instant) {
        //= rfc4861#6.3.5
        //# Whenever the Lifetime of an entry in the Default Router List expires,
        //# that entry is discarded.
        self.routers.retain(|router| router.until > now);
        self.on_link.retain(|network| network.until > now);
        self.addresses.retain(|own| own.valid > now);
    }

    /// What follows from all that was told.
    pub fn told(&self, now: Instant) -> Told {
        let mut addresses: Vec<_> = self.addresses.iter().filter(|own| own.attempt < stable::ATTEMPTS).collect();
        addresses.sort_by_key(|own| own.preferred <= now);
        // Beyond a router only addresses of its prefixes are known to be heard from; on a network, those of the network (RFC 6724 5, rules 5.5
        // and 8).
        let source = addresses.first().map(|own| IpAddr::V6(own.address));
        let default = self.routers.first().map(|router| Route { source, ..Route::default_via(IpAddr::V6(router.address)) });
        let networks = self.on_link.iter().map(|network| Route {
            to: network.network,
            via: None,
            source: addresses.iter().map(|own| IpAddr::V6(own.address)).find(|&own| network.network.contains(own)),
        });
        Told {
            routes: default.into_iter().chain(networks).collect(),
            // Whether a network is on the link is told apart (RFC 5942 4): the address alone says nothing of its neighbours.
            addresses: addresses.iter().map(|own| Cidr { address: own.address.into(), prefix: 128 }).collect(),
            mtu: self.mtu,
            reachable: self.reachable,
        }
    }

    //= rfc4861#6.3.4
    //# - If the address is already present in the host's Default Router
    //# List and the received Router Lifetime value is zero, immediately
    //# time-out the entry as specified in Section 6.3.5.
    fn router(&mut self, now: Instant, said: &Router) {
        let room = self.routers.len() < ROUTERS;
        let until = now + said.lifetime;
        match self.routers.iter_mut().find(|router| router.address == said.address) {
            Some(router) => router.until = until,
            //= rfc4861#6.3.4
            //# However, a host MUST retain at least two router
            //# addresses and SHOULD retain more.
            None if room => self.routers.push(DefaultRouter { address: said.address, until }),
            None => {}
        }
        self.expire(now);
    }

    fn network(&mut self, now: Instant, prefix: &Prefix) {
        let network = Cidr { address: IpAddr::V6(prefix.address), prefix: prefix.len };
        let network = Cidr { address: network.network(), ..network };
        let until = lifetime(now, prefix.valid_s);
        let room = self.on_link.len() < LINK_PREFIXES;
        match self.on_link.iter_mut().find(|known| known.network == network) {
            //= rfc4861#6.3.4
            //# If the new Lifetime value is zero, time-out
            //# the prefix immediately (see Section 6.3.5).
            Some(known) => known.until = until,
            None if room => self.on_link.push(OnLink { network, until }),
            None => {}
        }
        self.on_link.retain(|known| known.until > now);
    }

    fn autonomous(&mut self, now: Instant, told: &Prefix) {
        //= rfc4862#5.5.3
        //# c)  If the preferred lifetime is greater than the valid lifetime,
        //# silently ignore the Prefix Information option.
        //= rfc4862#5.5.3
        //# If the sum of the prefix length and interface identifier length
        //# does not equal 128 bits, the Prefix Information option MUST be
        //# ignored.
        if told.preferred_s > told.valid_s || told.len != 64 {
            return;
        }
        let prefix = (told.address.to_bits() >> 64) as u64;
        let (preferred, valid) = (lifetime(now, told.preferred_s), lifetime(now, told.valid_s));
        if let Some(own) = self.addresses.iter_mut().find(|own| own.prefix == prefix) {
            own.preferred = preferred;
            //= rfc4862#5.5.3
            //# 1.  If the received Valid Lifetime is greater than 2 hours or
            //# greater than RemainingLifetime, set the valid lifetime of the
            //# corresponding address to the advertised Valid Lifetime.
            //= rfc4862#5.5.3
            //# 3.  Otherwise, reset the valid lifetime of the corresponding
            //# address to 2 hours.
            let floor = now + TWO_HOURS;
            if valid > floor || valid > own.valid {
                own.valid = valid;
            } else if own.valid > floor {
                own.valid = floor;
            }
            return;
        }
        if told.valid_s == 0 || self.addresses.len() >= LINK_PREFIXES {
            return;
        }
        if let Some((attempt, address)) = next_address(&self.secret, prefix, &self.interface, 0) {
            self.addresses.push(Autonomous { prefix, attempt, address, preferred, valid });
        }
    }
}

/// The first address of a prefix from an attempt on, and its attempt.
fn next_address(secret: &[u8; 16], prefix: u64, interface: &str, from: u8) -> Option<(u8, Ipv6Addr)> {
    (from..stable::ATTEMPTS)
        .find_map(|attempt| stable::address(secret, prefix, interface, attempt).map(|address| (attempt, address)))
}

/// The end of a lifetime in seconds, of which the greatest is forever (RFC 4861 4.6.2).
fn lifetime(now: Instant, seconds: u32) -> Instant {
    if seconds == u32::MAX { Instant::NEVER } else { now + Duration::from_secs(seconds.into()) }
}

/// What a short lifetime is raised to, so that one forged advertisement takes no address away (RFC 4862 5.5.3 e).
const TWO_HOURS: Duration = Duration::from_secs(2 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ROUTER_PREFIXES;

    const NOW: Instant = Instant::from_ns(1 << 50);
    const HOUR: u32 = 3600;

    fn after(seconds: u32) -> Instant {
        NOW + Duration::from_secs(seconds.into())
    }

    fn router(last: u16, lifetime: u32, prefixes: &[Prefix]) -> Router {
        let mut told = [None; ROUTER_PREFIXES];
        for (place, prefix) in told.iter_mut().zip(prefixes) {
            *place = Some(*prefix);
        }
        Router {
            address: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last),
            mac: None,
            lifetime: Duration::from_secs(lifetime.into()),
            mtu: None,
            reachable: None,
            prefixes: told,
        }
    }

    fn prefix(address: &str, valid_s: u32, preferred_s: u32) -> Prefix {
        Prefix { address: address.parse().unwrap(), len: 64, on_link: true, autonomous: true, valid_s, preferred_s }
    }

    fn routers() -> Routers {
        Routers::new([7; 16], "eth0")
    }

    fn shown(told: &Told) -> Vec<String> {
        told.routes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_router_is_the_default_one_until_its_time_is_over() {
        let mut link = routers();
        link.advertised(NOW, &router(1, 1800, &[]));
        link.advertised(after(10), &router(2, 1800, &[]));
        assert_eq!(shown(&link.told(after(10))), ["::/0=fe80::1"]);
        link.expire(after(1800));
        assert_eq!(shown(&link.told(after(1800))), ["::/0=fe80::2"]);
        link.advertised(after(1801), &router(2, 0, &[]));
        assert_eq!(link.told(after(1801)), Told::default());
    }

    #[test]
    fn a_router_that_is_silent_gives_way_to_the_next_and_each_has_its_turn() {
        let mut link = routers();
        (1..=3).for_each(|last| link.advertised(NOW, &router(last, 1800, &[])));
        let address = |last| router(last, 0, &[]).address;
        let default = |link: &Routers| shown(&link.told(NOW))[0].clone();
        let mut turns = Vec::new();
        for silent in [1, 9, 2, 3, 1] {
            link.silent(address(silent));
            turns.push(default(&link));
            link.advertised(NOW, &router(1, 1800, &[]));
        }
        let expected = [2, 2, 3, 1, 2].map(|last| format!("::/0=fe80::{last}"));
        assert_eq!(turns, expected);
    }

    #[test]
    fn a_flood_of_routers_and_prefixes_is_bounded() {
        let mut link = routers();
        for last in 0..1000 {
            let network = format!("2001:db8:{last:x}::");
            link.advertised(NOW, &router(last, 1800, &[prefix(&network, HOUR, HOUR)]));
        }
        let told = link.told(NOW);
        assert_eq!((told.routes.len(), told.addresses.len(), link.routers.len()), (1 + LINK_PREFIXES, LINK_PREFIXES, ROUTERS));
    }

    #[test]
    fn a_prefix_on_the_link_is_a_route_and_one_of_our_own_an_address() {
        let mut link = routers();
        let on_link = Prefix { autonomous: false, ..prefix("2001:db8:1::7", HOUR, HOUR) };
        let own = Prefix { on_link: false, ..prefix("2001:db8:2::7", HOUR, HOUR) };
        link.advertised(NOW, &router(1, 0, &[on_link, own]));
        let told = link.told(NOW);
        assert_eq!(shown(&told), ["2001:db8:1::/64"]);
        let [Cidr { address: IpAddr::V6(address), prefix: 128 }] = told.addresses[..] else { panic!("{told:?}") };
        assert_eq!(address.segments()[..4], [0x2001, 0xdb8, 2, 0]);
        assert_eq!(Some(address), stable::address(&[7; 16], 0x2001_0db8_0002_0000, "eth0", 0));
        link.advertised(after(1), &router(1, 0, &[Prefix { valid_s: 0, ..on_link }]));
        assert!(link.told(after(1)).routes.is_empty(), "a lifetime of zero takes the network off the link");
    }

    //= type=test
    //= rfc4862#5.5.3
    //# 2.  If RemainingLifetime is less than or equal to 2 hours, ignore
    //# the Prefix Information option with regards to the valid
    //# lifetime
    #[test]
    fn no_advertisement_ends_an_address_within_two_hours() {
        let left = |first: u32, second: u32| {
            let mut link = routers();
            link.advertised(NOW, &router(1, 0, &[prefix("2001:db8::", first, first)]));
            link.advertised(NOW, &router(1, 0, &[prefix("2001:db8::", second, 0)]));
            assert!(link.addresses.iter().all(|own| own.preferred == NOW), "that it is not preferred is believed");
            link.addresses[0].valid
        };
        assert_eq!(left(24 * HOUR, 5 * HOUR), after(5 * HOUR));
        assert_eq!(left(24 * HOUR, 1), after(2 * HOUR));
        assert_eq!(left(HOUR, 1), after(HOUR));
        assert_eq!(left(HOUR, 90 * 60), after(90 * 60));
        assert_eq!(left(24 * HOUR, u32::MAX), Instant::NEVER);
    }

    #[test]
    fn options_without_sense_give_no_address() {
        let fine = prefix("2001:db8::", HOUR, HOUR);
        for bad in [
            Prefix { preferred_s: HOUR + 1, ..fine },
            Prefix { len: 63, ..fine },
            Prefix { len: 128, ..fine },
            Prefix { valid_s: 0, preferred_s: 0, ..fine },
        ] {
            let mut link = routers();
            link.advertised(NOW, &router(1, 0, &[bad]));
            assert_eq!(link.told(NOW).addresses, [], "{bad:?}");
        }
    }

    #[test]
    fn packets_leave_from_an_address_of_the_prefix_or_beyond_the_router_from_the_preferred_one() {
        let mut link = routers();
        let (old, new) = (prefix("2001:db8:1::", HOUR, 0), prefix("2001:db8:2::", HOUR, HOUR));
        let bare = Prefix { autonomous: false, ..prefix("2001:db8:3::", HOUR, HOUR) };
        link.advertised(NOW, &router(1, 1800, &[old, new, bare]));
        let told = link.told(NOW);
        let [preferred, deprecated] = told.addresses[..] else { panic!("{told:?}") };
        let sources: Vec<_> = told.routes.iter().map(|route| route.source).collect();
        assert_eq!(sources, [Some(preferred.address), Some(deprecated.address), Some(preferred.address), None]);
    }

    #[test]
    fn preferred_addresses_come_first() {
        let mut link = routers();
        let (old, new) = (prefix("2001:db8:1::", HOUR, 0), prefix("2001:db8:2::", HOUR, HOUR));
        link.advertised(NOW, &router(1, 0, &[old, new]));
        let first = |told: &Told| told.addresses[0].to_string();
        assert!(first(&link.told(NOW)).starts_with("2001:db8:2:"));
        link.advertised(NOW, &router(1, 0, &[prefix("2001:db8:1::", HOUR, HOUR)]));
        assert!(first(&link.told(NOW)).starts_with("2001:db8:1:"));
    }

    #[test]
    fn an_address_that_another_station_has_gives_way_to_the_next_until_there_is_none() {
        let mut link = routers();
        link.advertised(NOW, &router(1, 0, &[prefix("2001:db8::", HOUR, HOUR)]));
        let mut seen = Vec::new();
        while let [Cidr { address: IpAddr::V6(address), .. }] = link.told(NOW).addresses[..] {
            assert!(!seen.contains(&address));
            seen.push(address);
            link.duplicate(address);
        }
        assert_eq!(seen.len(), usize::from(stable::ATTEMPTS));
        link.advertised(NOW, &router(1, 0, &[prefix("2001:db8::", HOUR, HOUR)]));
        assert_eq!(link.told(NOW).addresses, [], "nor does the next advertisement begin anew");
    }

    #[test]
    fn what_is_not_said_stays_as_it_was() {
        let mut link = routers();
        let said = Router { mtu: Some(1400), reachable: Some(Duration::from_secs(7)), ..router(1, 0, &[]) };
        link.advertised(NOW, &said);
        link.advertised(NOW, &router(1, 0, &[]));
        let told = link.told(NOW);
        assert_eq!((told.mtu, told.reachable), (Some(1400), Some(Duration::from_secs(7))));
    }
}
