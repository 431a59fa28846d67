//! What netlink says, as values: neighbours, links, routes.
//!
//! Called by the control thread for every message of the kernel. Pure; a message that lacks what it should have says nothing, and nothing panics.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::link::interface::Cidr;
use crate::link::neighbor::Known;
use crate::link::routes::{Route, Routes};
use crate::wire::ethernet::Mac;

/// What a message says, of the interface with the number that comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A neighbour.
    Neighbor(u32, IpAddr, Known),
    /// The link.
    Link(u32, LinkState),
    /// Its addresses have changed.
    Addresses(u32),
    /// Some routes have changed.
    Routes,
}

/// What matters of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkState {
    /// It is up, and the cable is in.
    pub(super) up: bool,
    /// The largest IP packet; 0 when it was not said.
    pub(super) mtu: usize,
}

/// Reads a message; `None` when it is about nothing that matters.
pub(super) fn read(message: &RouteNetlinkMessage) -> Option<Said> {
    match message {
        RouteNetlinkMessage::NewNeighbour(neighbour) => neighbor(neighbour, false),
        RouteNetlinkMessage::DelNeighbour(neighbour) => neighbor(neighbour, true),
        RouteNetlinkMessage::NewLink(link) => Some(Said::Link(link.header.index, link_state(link))),
        RouteNetlinkMessage::DelLink(link) => {
            // A port that leaves its bridge is said so too; only the link's own end is an end.
            let own = link.header.interface_family == AddressFamily::Unspec;
            own.then(|| Said::Link(link.header.index, LinkState { up: false, ..link_state(link) }))
        }
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            Some(Said::Addresses(address.header.index))
        }
        RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => Some(Said::Routes),
        _ => None,
    }
}

fn neighbor(message: &NeighbourMessage, deleted: bool) -> Option<Said> {
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => ip = Some(IpAddr::V4(*address)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => ip = Some(IpAddr::V6(*address)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    let known = match (message.header.state, mac) {
        _ if deleted => Known::Gone,
        (NeighbourState::Reachable | NeighbourState::Permanent | NeighbourState::Noarp, Some(mac)) => Known::Fresh(mac),
        (NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe, Some(mac)) => Known::Stale(mac),
        (NeighbourState::Failed, _) => Known::Failed,
        // It is being asked for.
        _ => return None,
    };
    Some(Said::Neighbor(message.header.ifindex, ip?, known))
}

fn link_state(message: &LinkMessage) -> LinkState {
    let mtu = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => usize::try_from(*mtu).ok(),
        _ => None,
    });
    let up = message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    LinkState { up, mtu: mtu.unwrap_or(0) }
}

/// The routes of one interface: unicast ones of the main table, by each network the one of the lowest metric. The second value counts
/// those for which there was no room.
pub(super) fn routes_of(messages: &[RouteNetlinkMessage], ifindex: u32) -> (Routes, usize) {
    let mut best: HashMap<Cidr, (u32, Route)> = HashMap::new();
    for message in messages {
        let RouteNetlinkMessage::NewRoute(message) = message else { continue };
        let Some((metric, route)) = route(message, ifindex) else { continue };
        let network = Cidr { address: route.to.network(), prefix: route.to.prefix };
        match best.get_mut(&network) {
            Some(known) if known.0 <= metric => {}
            Some(known) => *known = (metric, route),
            None => {
                best.insert(network, (metric, route));
            }
        }
    }
    let (mut routes, mut left_out) = (Routes::default(), 0);
    for (_, route) in best.into_values() {
        left_out += usize::from(!routes.insert(route));
    }
    (routes, left_out)
}

/// A route and its metric, if it leads out of the interface.
fn route(message: &RouteMessage, ifindex: u32) -> Option<(u32, Route)> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut to, mut way, mut source, mut metric) = (any, Way::default(), None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address)?,
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(number) => table = *number,
            // Of several ways the first that is ours: they are as good as each other.
            RouteAttribute::MultiPath(hops) => way = hops.iter().find(|hop| is_alive(hop, ifindex)).map(Way::of)?,
            other => way.note(other),
        }
    }
    let ours = way.ifindex == Some(ifindex) && table == u32::from(RouteHeader::RT_TABLE_MAIN);
    if !ours || header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Dead) {
        return None;
    }
    Some((metric, Route { to: Cidr { address: to, prefix: header.destination_prefix_length }, via: way.via, source }))
}

/// Where a route leads.
#[derive(Default)]
struct Way {
    ifindex: Option<u32>,
    via: Option<IpAddr>,
}

impl Way {
    fn of(hop: &RouteNextHop) -> Self {
        let mut way = Self { ifindex: Some(hop.interface_index), via: None };
        hop.attributes.iter().for_each(|attribute| way.note(attribute));
        way
    }

    fn note(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Oif(index) => self.ifindex = Some(*index),
            RouteAttribute::Gateway(address) => self.via = ip(address),
            // A gateway of the other family (RFC 5549).
            RouteAttribute::Via(RouteVia::Inet(address)) => self.via = Some(IpAddr::V4(*address)),
            RouteAttribute::Via(RouteVia::Inet6(address)) => self.via = Some(IpAddr::V6(*address)),
            _ => {}
        }
    }
}

fn is_alive(hop: &RouteNextHop, ifindex: u32) -> bool {
    hop.interface_index == ifindex && !hop.flags.contains(RouteNextHopFlags::Dead)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    fn neighbour(state: NeighbourState, mac: Option<Mac>) -> RouteNetlinkMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = 3;
        message.header.state = state;
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 0, 0, 1].into())));
        message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())));
        RouteNetlinkMessage::NewNeighbour(message)
    }

    #[test]
    fn the_states_of_a_neighbour_are_three() {
        use NeighbourState as State;
        for (state, mac, known) in [
            (State::Reachable, Some(MAC), Some(Known::Fresh(MAC))),
            (State::Permanent, Some(MAC), Some(Known::Fresh(MAC))),
            (State::Noarp, Some(MAC), Some(Known::Fresh(MAC))),
            (State::Stale, Some(MAC), Some(Known::Stale(MAC))),
            (State::Delay, Some(MAC), Some(Known::Stale(MAC))),
            (State::Probe, Some(MAC), Some(Known::Stale(MAC))),
            (State::Failed, None, Some(Known::Failed)),
            (State::Failed, Some(MAC), Some(Known::Failed)),
            (State::Incomplete, None, None),
            (State::Reachable, None, None),
        ] {
            let said = known.map(|known| Said::Neighbor(3, "10.0.0.1".parse().unwrap(), known));
            assert_eq!(read(&neighbour(state, mac)), said, "{state:?}");
        }
        let RouteNetlinkMessage::NewNeighbour(gone) = neighbour(State::Failed, None) else { panic!() };
        let gone = read(&RouteNetlinkMessage::DelNeighbour(gone));
        assert_eq!(gone, Some(Said::Neighbor(3, "10.0.0.1".parse().unwrap(), Known::Gone)));
    }

    #[test]
    fn a_bridge_entry_is_no_neighbour() {
        let RouteNetlinkMessage::NewNeighbour(mut entry) = neighbour(NeighbourState::Reachable, Some(MAC)) else { panic!() };
        entry.header.family = AddressFamily::Bridge;
        assert_eq!(read(&RouteNetlinkMessage::NewNeighbour(entry)), None);
    }

    #[test]
    fn a_link_is_up_with_its_cable_in() {
        for (flags, up) in
            [(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running, true), (LinkFlags::Up, false), (LinkFlags::LowerUp, false)]
        {
            let mut link = LinkMessage::default();
            link.header.index = 3;
            link.header.flags = flags;
            link.attributes.push(LinkAttribute::Mtu(1400));
            assert_eq!(
                read(&RouteNetlinkMessage::NewLink(link.clone())),
                Some(Said::Link(3, LinkState { up, mtu: 1400 })),
                "{flags:?}"
            );
            let gone = read(&RouteNetlinkMessage::DelLink(link));
            assert_eq!(gone, Some(Said::Link(3, LinkState { up: false, mtu: 1400 })));
        }
    }

    /// A route as the kernel tells it; `out` is its interface.
    fn told(to: &str, out: u32, more: &[RouteAttribute]) -> RouteMessage {
        let cidr: Cidr = to.parse().unwrap();
        let mut message = RouteMessage::default();
        message.header.address_family = if cidr.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.destination_prefix_length = cidr.prefix;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        if cidr.prefix > 0 {
            message.attributes.push(RouteAttribute::Destination(cidr.address.into()));
        }
        message.attributes.push(RouteAttribute::Oif(out));
        message.attributes.extend_from_slice(more);
        message
    }

    fn gateway(ip: &str) -> RouteAttribute {
        RouteAttribute::Gateway(ip.parse::<IpAddr>().unwrap().into())
    }

    fn shown(messages: Vec<RouteMessage>) -> Vec<String> {
        let messages: Vec<_> = messages.into_iter().map(RouteNetlinkMessage::NewRoute).collect();
        routes_of(&messages, 3).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_main_table_of_the_interface_is_taken() {
        let mut local = told("10.0.0.2/32", 3, &[]);
        local.header.table = 255;
        let mut high = told("10.7.0.0/16", 3, &[RouteAttribute::Table(1000)]);
        high.header.table = 0;
        let mut hole = told("10.6.0.0/16", 3, &[]);
        hole.header.kind = RouteType::BlackHole;
        let mut dead = told("10.5.0.0/16", 3, &[]);
        dead.header.flags = RouteFlags::Dead;
        let all = vec![
            told("0.0.0.0/0", 3, &[gateway("10.0.0.254")]),
            told("10.0.0.0/24", 3, &[]),
            told("10.9.0.0/16", 4, &[gateway("10.0.1.1")]),
            told("::/0", 3, &[gateway("fe80::1")]),
            local,
            high,
            hole,
            dead,
        ];
        assert_eq!(shown(all), ["10.0.0.0/24", "0.0.0.0/0=10.0.0.254", "::/0=fe80::1"]);
    }

    #[test]
    fn the_lowest_metric_wins_and_of_several_ways_the_first_of_ours() {
        let metric = |n| RouteAttribute::Priority(n);
        let hop = |index, ip: &str, flags| {
            let mut hop = RouteNextHop::default();
            (hop.interface_index, hop.flags, hop.attributes) = (index, flags, vec![gateway(ip)]);
            hop
        };
        let alive = RouteNextHopFlags::empty();
        let hops = vec![
            hop(4, "10.0.1.1", alive),
            hop(3, "10.0.0.7", RouteNextHopFlags::Dead),
            hop(3, "10.0.0.8", alive),
            hop(3, "10.0.0.9", alive),
        ];
        let mut several = told("10.8.0.0/16", 3, &[RouteAttribute::MultiPath(hops)]);
        several.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Oif(_)));
        let all = vec![
            told("0.0.0.0/0", 3, &[gateway("10.0.0.2"), metric(200)]),
            told("0.0.0.0/0", 3, &[gateway("10.0.0.1"), metric(100)]),
            told("0.0.0.0/0", 3, &[gateway("10.0.0.3"), metric(300)]),
            several,
            told("10.4.0.0/16", 3, &[RouteAttribute::Via(RouteVia::Inet6("fe80::9".parse().unwrap()))]),
        ];
        assert_eq!(shown(all), ["10.4.0.0/16=fe80::9", "10.8.0.0/16=10.0.0.8", "0.0.0.0/0=10.0.0.1"]);
    }

    #[test]
    fn the_source_of_a_route_is_kept_and_what_has_no_room_counted() {
        let source: IpAddr = "10.0.0.5".parse().unwrap();
        let one = told("10.3.0.0/16", 3, &[RouteAttribute::PrefSource(source.into())]);
        let (routes, left_out) = routes_of(&[RouteNetlinkMessage::NewRoute(one)], 3);
        assert_eq!((routes.iter().next().unwrap().source, left_out), (Some(source), 0));
        let many: Vec<_> = (0..crate::limits::ROUTES as u32 + 5)
            .map(|n| told(&format!("{}/32", Ipv4Addr::from_bits(n + 1)), 3, &[]))
            .map(RouteNetlinkMessage::NewRoute)
            .collect();
        assert_eq!(routes_of(&many, 3).1, 5);
    }
}
