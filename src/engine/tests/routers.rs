//! Router advertisements that are followed: routers asked for, what they say handed on, addresses that come and go.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::wire::{OUR_MAC, PEER_MAC, Peer};
use super::*;
use crate::demux::{FlowKey, Link};
use crate::device::{Drop, memory};
use crate::engine::core::{Core, Lane};
use crate::engine::{Feed, News, Wish};
use crate::limits;
use crate::link::nd::Outgoing;
use crate::link::neighbor::Lookup;
use crate::link::routes::Route;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, Ethernet, Mac};
use crate::wire::icmpv6;
use crate::wire::ipv6::{self, ALL_NODES, Ipv6, multicast_mac};
use crate::wire::nd::{self, Nd, NeighborAdvertisement};
use crate::wire::vlan::Vlan;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const LANE: Lane = Lane { port: 0, interface: 0 };
const ADDRESS: &str = "2001:db8::7/128";

struct World {
    engine: Engine<MemoryDevice, Echo>,
    peer: Peer,
    clock: ManualClock,
    feed: Feed,
    /// Whoever waits for wishes.
    _poll: mio::Poll,
}

impl World {
    fn new(follow: bool) -> Self {
        let (near, far) = memory::cable(64);
        let addresses = ["fd00::2/64", "fe80::2/64"].map(|text| text.parse().unwrap()).to_vec();
        let interface = Interface {
            name: "cable".into(),
            mac: far.mac(),
            mtu: far.mtu(),
            vlan: Vlan::NONE,
            claim: Claim::Addresses(addresses),
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        };
        let mut config = Config::new(Secrets::fixed());
        config.tcp.connections = 64;
        config.address_probes = 1;
        config.router_advertisements = follow;
        let mut engine = Engine::new(config, vec![interface], vec![Port::new(far, 0, 0)], Echo::default()).unwrap();
        let poll = mio::Poll::new().unwrap();
        let feed = engine.follow(Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let clock = ManualClock::default();
        engine.start(&clock);
        Self { engine, peer: Peer::new(near), clock, feed, _poll: poll }
    }

    /// The same once its addresses are ours.
    fn settled() -> Self {
        let mut world = Self::new(true);
        world.pass(20);
        world
    }

    /// The milliseconds from now, in steps of 100, at which routers were asked for.
    fn pass(&mut self, seconds: u64) -> Vec<u64> {
        let mut asked = Vec::new();
        for tenth in 0..seconds * 10 {
            self.engine.turn(&self.clock);
            let messages = self.peer.frames();
            asked.extend(messages.iter().filter(|frame| frame.get(54) == Some(&133)).map(|_| tenth * 100));
            self.clock.advance(Duration::from_millis(100));
        }
        asked
    }

    fn says(&mut self, message: Nd<'static>, target: Ipv6Addr, target_mac: Mac) -> Vec<u8> {
        let outgoing = Outgoing { source: ROUTER, target, target_mac, message };
        let mut bytes = [0; 256];
        let len = outgoing.emit_frame(&mut bytes, Vlan::NONE, PEER_MAC);
        assert!(len > 0);
        bytes[..len].to_vec()
    }

    /// A router advertises itself, for so many seconds, to us alone.
    fn advertises(&mut self, lifetime_s: u16) {
        let said = nd::RouterAdvertisement { lifetime_s, source_mac: Some(PEER_MAC), ..nd::RouterAdvertisement::default() };
        let frame = self.says(Nd::RouterAdvertisement(said), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2), OUR_MAC);
        self.peer.send(&frame);
        self.engine.turn(&self.clock);
    }

    fn address(&mut self, there: bool) {
        self.feed.tell(News::Address { interface: 0, address: ADDRESS.parse().unwrap(), there }).unwrap();
        self.engine.turn(&self.clock);
    }

    fn owns(&self) -> bool {
        self.engine.core.links[0].interface.owns("2001:db8::7".parse().unwrap())
    }

    fn wishes(&self) -> Vec<String> {
        let words = |wish| match wish {
            Wish::Router { said, .. } => format!("{} for {} s", said.address, said.lifetime.as_secs()),
            Wish::Duplicate { address, .. } => format!("{address} is another's"),
            Wish::Silent { router, .. } => format!("{router} is silent"),
            other => format!("{other:?}"),
        };
        std::iter::from_fn(|| self.feed.wish()).map(words).collect()
    }
}

//= type=test
//= rfc4861#6.3.7
//# a host SHOULD transmit up to MAX_RTR_SOLICITATIONS Router
//# Solicitation messages, each separated by at least
//# RTR_SOLICITATION_INTERVAL seconds.
#[test]
fn routers_are_asked_for_three_times_once_there_is_an_address_to_ask_from() {
    let mut world = World::new(true);
    // A probe and a second for the address.
    let asked = world.pass(20);
    let [first, second, third] = asked[..] else { panic!("{asked:?}") };
    assert!((1000..1300).contains(&first), "{asked:?}");
    // A timer fires a tick late, which here is a step of the clock.
    assert!([second - first, third - second].iter().all(|gap| (4000..4300).contains(gap)), "{asked:?}");
    assert!(World::new(false).pass(20).is_empty());
    world.feed.tell(News::Link { interface: 0, up: true }).unwrap();
    assert_eq!(world.pass(20).len(), 3, "it may be another link");
}

//= type=test
//= rfc4861#6.3.7
//# Once the host sends a Router Solicitation, and receives a valid
//# Router Advertisement with a non-zero Router Lifetime, the host MUST
//# desist from sending additional solicitations on that interface, until
//# the next time one of the above events occurs.
#[test]
fn a_router_that_answers_is_heard_known_and_asked_for_no_more() {
    let mut world = World::new(true);
    assert_eq!(world.pass(2).len(), 1);
    world.advertises(0);
    assert_eq!(world.pass(5).len(), 1, "who is no default router is no answer");
    world.advertises(1800);
    assert!(world.pass(20).is_empty());
    assert_eq!(world.wishes(), ["fe80::1 for 0 s", "fe80::1 for 1800 s"]);
    let link = &world.engine.core.links[0];
    assert_eq!(link.neighbors.known(link.hop(ROUTER.into())), Some(PEER_MAC));
    assert_eq!(world.engine.core.wheel.len(), 0);
}

#[test]
fn a_router_is_not_followed_unasked() {
    let mut world = World::new(false);
    world.pass(2);
    world.advertises(1800);
    assert_eq!((world.wishes(), world.engine.core.drops.of(Drop::NdNotOurs)), (Vec::new(), 1));
    world.address(true);
    world.pass(5);
    assert!(!world.owns());
}

#[test]
fn an_advertised_address_is_probed_for_used_and_given_up() {
    let mut world = World::settled();
    for round in 0..3 {
        world.address(true);
        assert!(!world.owns(), "{round}: not before it is found free");
        world.pass(5);
        assert!(world.owns(), "{round}");
        world.address(false);
        assert!(!world.owns());
        assert_eq!(world.engine.core.wheel.len(), 0, "{round}: no timer is left");
    }
    assert_eq!(world.engine.core.links[0].candidates.len(), 3, "its place is used again");
    // Those of the operator are nobody's to take.
    world.feed.tell(News::Address { interface: 0, address: "fd00::2/64".parse().unwrap(), there: false }).unwrap();
    world.pass(1);
    assert!(world.engine.core.links[0].interface.owns("fd00::2".parse().unwrap()));
}

#[test]
fn an_advertised_address_given_up_while_it_is_probed_leaves_nothing() {
    let mut world = World::settled();
    world.address(true);
    world.address(false);
    let link = &world.engine.core.links[0];
    assert_eq!((link.tentative_v6.len(), link.interface.withheld.len(), link.claimed_v6.len()), (0, 0, 2));
    world.pass(5);
    assert!(!world.owns());
}

#[test]
fn another_station_that_has_the_address_is_told_and_ends_nothing_else() {
    let mut world = World::settled();
    world.address(true);
    let target = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    let said = NeighborAdvertisement { target, router: false, solicited: false, replace: true, target_mac: Some(PEER_MAC) };
    let frame = world.says(Nd::NeighborAdvertisement(said), ALL_NODES, multicast_mac(ALL_NODES));
    world.feed.tell(News::Copy { interface: 0, frame: frame.into() }).unwrap();
    world.pass(5);
    assert_eq!((world.wishes(), world.owns()), (vec!["2001:db8::7 is another's".to_owned()], false));
    assert!(world.engine.core.duplicates.is_empty(), "the start does not fail for it");
    world.advertises(1800);
    assert_eq!(world.wishes(), ["fe80::1 for 1800 s", "2001:db8::7 is another's"], "again, should nobody have heard it");
}

#[test]
fn a_flood_of_advertised_addresses_is_bounded() {
    let mut world = World::settled();
    for n in 0..100 {
        let address = format!("2001:db8::1:{n:x}/128").parse().unwrap();
        world.feed.tell(News::Address { interface: 0, address, there: true }).unwrap();
    }
    world.pass(5);
    assert_eq!(world.engine.core.links[0].claimed_v6.len(), 2 + limits::LINK_PREFIXES);
}

#[test]
fn the_time_that_neighbours_count_as_reachable_follows_and_routes_too() {
    let mut world = World::settled();
    world.feed.tell(News::Reachable { interface: 0, time: Duration::from_secs(10) }).unwrap();
    let routes = [Route::default_via(ROUTER.into())].into_iter().collect();
    world.feed.tell(News::Routes { interface: 0, routes: Box::new(routes) }).unwrap();
    world.pass(1);
    let link = &world.engine.core.links[0];
    assert!((5..=15).contains(&link.neighbors.reachable_time().as_secs()), "{:?}", link.neighbors.reachable_time());
    assert_eq!(crate::link::route::next_hop(&link.interface, "2001:db8:9::1".parse().unwrap()), Some(ROUTER.into()));
}

#[test]
fn a_router_that_does_not_answer_is_told_of() {
    let mut world = World::settled();
    let routes = [Route::default_via(ROUTER.into()), "fd09::/64=fd00::9".parse().unwrap()].into_iter().collect();
    world.feed.tell(News::Routes { interface: 0, routes: Box::new(routes) }).unwrap();
    world.pass(1);
    for hop in [IpAddr::V6(ROUTER), "fd00::8".parse().unwrap()] {
        assert!(matches!(world.engine.core.lookup_neighbor(LANE, hop), Lookup::Ask));
    }
    assert!(world.wishes().iter().all(|wish| wish.starts_with("Free")), "not yet");
    world.pass(4);
    let wishes = world.wishes();
    assert!(!wishes.is_empty() && wishes.iter().all(|wish| wish == "fe80::1 is silent"), "{wishes:?}");
}

#[test]
fn what_routers_allow_holds_for_ipv6_alone() {
    let mut world = World::settled();
    let core = &mut world.engine.core;
    let [v4, v6]: [IpAddr; 2] = ["10.0.0.9", "fd00::9"].map(|text| text.parse().unwrap());
    let limits = |core: &mut Core<MemoryDevice>| [v4, v6].map(|target| core.packet_limit(LANE, target));
    assert_eq!(limits(core), [1500, 1500]);
    for (mtu, known) in [(1300, 1300), (9000, 1500), (1280, 1280), (usize::MAX, 1500)] {
        world.feed.tell(News::MtuV6 { interface: 0, mtu }).unwrap();
        world.pass(1);
        let core = &mut world.engine.core;
        assert_eq!(limits(core), [1500, known]);
        let fits = |core: &mut Core<MemoryDevice>, target, len| core.goes_in_one_frame(LANE, target, len, false);
        assert!(fits(core, v4, 1472) && fits(core, v6, known - 48) && !fits(core, v6, known - 47));
        let key = |target: IpAddr| FlowKey {
            local: target.into(),
            remote: target.into(),
            local_port: 7,
            remote_port: 7,
            link: Link { interface: 0 },
        };
        assert_eq!([v4, v6].map(|target| core.opening(LANE, &key(target), None).mss), [1460, known as u16 - 60]);
    }
}

#[test]
fn a_redirect_is_followed_from_the_first_hop_in_use_alone() {
    let [far, better, router]: [IpAddr; 3] = ["2001:db8:9::1", "fe80::9", "fe80::1"].map(|text| text.parse().unwrap());
    for allowed in [false, true] {
        let mut world = World::settled();
        world.engine.core.config.redirects = allowed;
        let routes = [Route::default_via(router)].into_iter().collect();
        world.feed.tell(News::Routes { interface: 0, routes: Box::new(routes) }).unwrap();
        world.pass(1);
        let core = &mut world.engine.core;
        let ours = "fd00::2".parse().unwrap();
        let on_link = "fd00::77".parse().unwrap();
        for (from, destination, hop) in
            [("fe80::8".parse().unwrap(), far, better), (router, far, router), (router, far, ours), (router, on_link, better)]
        {
            assert!(!core.redirected(LANE, from, destination, hop, None), "{from}: {destination} by {hop}");
        }
        // No network of ours, and not the destination.
        assert!(!core.redirected(LANE, router, far, "2001:db8:9::2".parse().unwrap(), None));
        assert_eq!(core.redirected(LANE, router, far, better, None), allowed);
        assert_eq!(core.next_hop(LANE, far), Some(if allowed { better } else { router }));
        assert_eq!(core.next_hop(LANE, "2001:db8:9::2".parse().unwrap()), Some(router));
        assert_eq!(core.redirected(LANE, better, far, far, None), allowed, "it is on the link after all");
        assert_eq!(core.next_hop(LANE, far), Some(if allowed { far } else { router }));
        // Who is silent is no way, also if it has answered before, and is not tried again at once.
        core.learn(LANE, far, PEER_MAC);
        assert!(matches!(core.lookup_neighbor(LANE, far), Lookup::Mac(_)));
        world.pass(10);
        let core = &mut world.engine.core;
        core.lookup_neighbor(LANE, far);
        world.pass(60);
        let core = &mut world.engine.core;
        assert_eq!(core.next_hop(LANE, far), Some(router));
        // It was about the routes of then.
        assert_eq!(core.redirected(LANE, router, far, better, None), allowed);
        let routes = [Route::default_via(router)].into_iter().collect();
        world.feed.tell(News::Routes { interface: 0, routes: Box::new(routes) }).unwrap();
        world.pass(1);
        assert_eq!(world.engine.core.next_hop(LANE, far), Some(router));
    }
}

#[test]
fn a_redirect_over_ipv4_names_a_station_of_our_networks() {
    let [router, far]: [IpAddr; 2] = ["10.0.0.1", "192.0.2.7"].map(|text| text.parse().unwrap());
    let (mut engine, _, _) = super::wire::serve(Echo::default());
    engine.core.config.redirects = true;
    engine.core.links[0].interface.routes.insert(Route::default_via(router));
    for (hop, followed) in
        [("10.0.0.9", true), ("10.0.0.255", false), ("224.0.0.1", false), ("192.0.2.7", false), ("10.0.0.2", false)]
    {
        assert_eq!(engine.core.redirected(LANE, router, far, hop.parse().unwrap(), None), followed, "{hop}");
        engine.core.links[0].redirects.forget(hop.parse().unwrap());
    }
}

#[test]
fn the_address_in_a_redirect_is_learned_and_who_is_no_router_any_more_is_none() {
    let mut world = World::settled();
    world.engine.core.config.redirects = true;
    world.advertises(1800);
    let routes = [Route::default_via(ROUTER.into())].into_iter().collect();
    world.feed.tell(News::Routes { interface: 0, routes: Box::new(routes) }).unwrap();
    world.pass(1);
    world.wishes();
    let [far, better] = ["2001:db8:9::1", "fe80::9"].map(|text| text.parse().unwrap());
    let ours = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let said = nd::Redirect { target: better, destination: far, target_mac: Some(Mac([2, 0, 0, 0, 0, 9])), packet: &[] };
    let send = |world: &mut World, message| {
        let frame = world.says(message, ours, OUR_MAC);
        world.peer.send(&frame);
        world.engine.turn(&world.clock);
    };
    send(&mut world, Nd::Redirect(said));
    let link = &world.engine.core.links[0];
    assert_eq!(link.neighbors.known(link.hop(better.into())), said.target_mac);
    assert_eq!(world.engine.core.next_hop(LANE, far.into()), Some(better.into()));
    let host =
        |target| NeighborAdvertisement { target, router: false, solicited: false, replace: true, target_mac: Some(PEER_MAC) };
    send(&mut world, Nd::NeighborAdvertisement(host(better)));
    assert_eq!(world.engine.core.next_hop(LANE, far.into()), Some(ROUTER.into()), "it is a host");
    send(&mut world, Nd::NeighborAdvertisement(host(ROUTER)));
    assert!(world.wishes().contains(&"fe80::1 for 0 s".to_owned()), "it is no router");
}

#[test]
fn a_ping_that_is_larger_than_routers_allow_is_answered_in_fragments() {
    let mut world = World::settled();
    world.feed.tell(News::MtuV6 { interface: 0, mtu: 1300 }).unwrap();
    world.pass(1);
    let (source, target) = (Ipv6Addr::from(0xfd00 << 112 | 1), Ipv6Addr::from(0xfd00 << 112 | 2));
    for (len, frames) in [(1252, 1), (1253, 2)] {
        let mut message = vec![7; len + 8];
        let pseudo = PseudoHeader { source: source.into(), target: target.into(), protocol: ipv6::NEXT_HEADER_ICMPV6 };
        icmpv6::emit(&mut message, icmpv6::ECHO_REQUEST, 0, [0, 1, 0, 1], &pseudo);
        let mut packet = vec![0; 54];
        let link = Ethernet { target: OUR_MAC, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ethernet::ETHERTYPE_IPV6 };
        ethernet::emit(&mut packet, &link);
        ipv6::emit(&mut packet[14..], &Ipv6::outgoing(source, target, ipv6::NEXT_HEADER_ICMPV6, message.len()));
        packet.extend(message);
        world.peer.send(&packet);
        world.engine.turn(&world.clock);
        let answers = world.peer.frames();
        assert_eq!(answers.len(), frames, "{len}");
        assert!(answers.iter().all(|frame| frame.len() <= 14 + 1300));
    }
    assert_eq!(world.engine.core.counters.icmp_echo_replies, 2);
}
