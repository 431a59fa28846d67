//! Where a packet goes: to the neighbour itself or to the gateway, from which of our addresses; and which addresses are no single host's.
//!
//! Called by the engine for every packet it sends anew, and to judge the addresses of those it receives. An interface has few
//! addresses, so a look is a walk over them. Pure; nothing panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::interface::{Cidr, Interface};
use crate::device::Drop;
use crate::wire::ethernet::Mac;
use crate::wire::ipv6;

/// The neighbour that a packet for `target` is handed to: the target itself when it is on a network of the interface, broadcast or
/// multicast (see [`group_mac`]), else the gateway of the route with the longest prefix. `None` without a route, and for addresses no packet can go to.
///
/// A route is taken before a network of the interface only when its prefix is longer.
pub fn next_hop(interface: &Interface, target: IpAddr) -> Option<IpAddr> {
    if target.is_unspecified() || target.is_loopback() || is_this_network(target) || stays_on_its_interface(target) {
        return None;
    }
    //= rfc1122#3.3.1.1
    //# For a limited broadcast or a multicast address, simply
    //# pass the datagram to the link layer for the appropriate
    //# interface.
    if is_many(interface, target) {
        return Some(target);
    }
    // No router forwards to a link-local address (RFC 4291 2.5.6), whatever the default route is.
    let scoped = matches!(target, IpAddr::V6(target) if is_link_local(target)).then_some(10);
    let own = longest_own(interface, target).or(scoped);
    match interface.routes.find(target) {
        Some(route) if own.is_none_or(|prefix| route.to.prefix > prefix) => Some(route.via.unwrap_or(target)),
        _ => own.map(|_| target),
    }
}

/// The interface, by its position, and the address that packets for `target` leave from. The interface is the one whose network or route has
/// the longest prefix that holds it; the address is the one the route asks for, else the one nearest to the neighbour that the packet goes to, and for
/// IPv6 of the target's scope (RFC 6724 5, rules 1, 2 and 8). `None` without a route.
pub fn source<'a>(interfaces: impl IntoIterator<Item = &'a Interface>, target: IpAddr) -> Option<(usize, IpAddr)> {
    let routed = interfaces.into_iter().enumerate().filter_map(|(position, interface)| {
        let hop = next_hop(interface, target)?;
        let (own, route) = (longest_own(interface, target), interface.routes.find(target));
        let route = route.filter(|route| own.is_none_or(|own| route.to.prefix > own));
        let prefix = route.map(|route| route.to.prefix).or(own);
        let wished = route.and_then(|route| route.source).filter(|&source| interface.owns(source));
        Some((prefix, (position, wished.or_else(|| nearest(interface, target, hop))?)))
    });
    // Of equals the first: `max_by_key` would take the last.
    routed.reduce(|best, other| if other.0 > best.0 { other } else { best }).map(|(_, found)| found)
}

/// The address of the interface from which `target`, reached by the neighbour `hop`, is best talked to; the first of equals.
pub fn nearest(interface: &Interface, target: IpAddr, hop: IpAddr) -> Option<IpAddr> {
    let own = interface.usable().filter(|cidr| cidr.address.is_ipv4() == target.is_ipv4());
    let merits = own.map(|cidr| {
        let same_scope = is_scoped_to_link(cidr.address) == is_scoped_to_link(target);
        let common = |other: IpAddr| cidr.contains(other).then_some(cidr.prefix);
        ((same_scope, common(target), common(hop)), cidr.address)
    });
    merits.reduce(|best, other| if other.0 > best.0 { other } else { best }).map(|(_, address)| address)
}

/// The longest prefix of the interface's own networks that hold an address.
fn longest_own(interface: &Interface, target: IpAddr) -> Option<u8> {
    interface.addresses().iter().filter(|cidr| cidr.contains(target)).map(|cidr| cidr.prefix).max()
}

/// True for the IPv6 addresses that mean something on one link only: fe80::/10, and groups of link scope and below (RFC 4291 2.7).
fn is_scoped_to_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) if v6.is_multicast() => v6.octets()[1] & 0x0f <= 2,
        IpAddr::V6(v6) => is_link_local(v6),
    }
}

/// True for an address that is not one host's: multicast, limited broadcast, or the broadcast of a network of the interface.
#[inline]
pub fn is_many(interface: &Interface, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_multicast() || v4.is_broadcast() || interface.addresses().iter().any(|cidr| cidr.broadcast() == Some(ip))
        }
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

/// The Ethernet address of a broadcast or multicast address (RFC 894, RFC 1112 6.4, RFC 2464 7); `None` for a single host's.
pub fn group_mac(interface: &Interface, ip: IpAddr) -> Option<Mac> {
    match ip {
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some(Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(v6) if v6.is_multicast() => {
            let [.., a, b, c, d] = v6.octets();
            Some(Mac([0x33, 0x33, a, b, c, d]))
        }
        _ => is_many(interface, ip).then_some(Mac::BROADCAST),
    }
}

/// Tells whether a received packet may have this source address.
///
/// # Errors
/// [`Drop::Ipv4SourceInvalid`] and [`Drop::Ipv6SourceInvalid`] for what no other host can be (RFC 1122 3.2.1.3, RFC 4291 2.5 and 2.7):
/// unspecified, "this network" (0/8), loopback, multicast, broadcast, an IPv4-mapped IPv6 address (which would pass for one of IPv4), or an address
/// of ours.
#[inline]
pub fn check_source(interface: &Interface, source: IpAddr) -> Result<(), Drop> {
    //= rfc1122#3.2.1.3
    //# A host MUST silently discard an incoming datagram containing
    //# an IP source address that is invalid by the rules of this
    //# section.
    match source {
        IpAddr::V4(source) if is_no_host(interface, source) => Err(Drop::Ipv4SourceInvalid),
        IpAddr::V6(v6)
            if v6.is_unspecified()
                || v6.is_loopback()
                || v6.to_ipv4_mapped().is_some()
                || is_many(interface, source)
                || interface.owns(source) =>
        {
            Err(Drop::Ipv6SourceInvalid)
        }
        _ => Ok(()),
    }
}

/// True for an IPv4 address that no other host can have: of nobody ([`check_source`]), or [`is_many`], or [`Interface::owns`]. Every packet is asked this, so
/// it is one walk over our addresses.
#[inline]
fn is_no_host(interface: &Interface, ip: Ipv4Addr) -> bool {
    // 0/8 and 127/8; unspecified is in the former.
    matches!(ip.octets()[0], 0 | 127)
        || ip.is_multicast()
        || ip.is_broadcast()
        || interface.addresses().iter().any(|cidr| match cidr.address {
            IpAddr::V4(ours) if ours == ip && !interface.withheld.contains(&cidr.address) => true,
            _ => cidr.broadcast() == Some(IpAddr::V4(ip)),
        })
}

/// True for the IPv6 groups that a host listens to by itself: all nodes of the link, and those at which its addresses are asked for (RFC 4291 2.8).
pub fn listens(interface: &Interface, group: Ipv6Addr) -> bool {
    let asked_for = |cidr: &Cidr| matches!(cidr.address, IpAddr::V6(ours) if ipv6::solicited_node(ours) == group);
    group == ipv6::ALL_NODES || interface.addresses().iter().any(asked_for)
}

/// True when a network of the interface holds the address.
#[inline]
pub fn on_link(interface: &Interface, ip: IpAddr) -> bool {
    interface.addresses().iter().any(|cidr| cidr.contains(ip)) || matches!(ip, IpAddr::V6(v6) if is_link_local(v6))
}

/// True for 0.0.0.0/8, "this host on this network" (RFC 1122 3.2.1.3).
const fn is_this_network(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 0)
}

//= rfc4291#2.7
//# Nodes must not originate a packet to a multicast address whose scop
//# field contains the reserved value 0;
/// True for the IPv6 groups of scope 0, and of scope 1, which never leave an interface (RFC 4291 2.7).
const fn stays_on_its_interface(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_multicast() && v6.octets()[1] & 0x0f < 2)
}

/// True for fe80::/10, which is on every link (RFC 4291 2.5.6).
const fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

/// True for class E, 240.0.0.0/4 (RFC 1112 4): a source that a packet may have, but to which no ICMP error is sent.
pub(super) const fn is_class_e(ip: Ipv4Addr) -> bool {
    ip.octets()[0] >= 240
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::groups::Groups;
    use crate::link::interface::Claim;
    use crate::link::routes::Route;
    use crate::wire::vlan::Vlan;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn interface(addresses: &[&str], gateway: Option<&str>) -> Interface {
        Interface {
            name: "veth0".into(),
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            vlan: Vlan::NONE,
            claim: Claim::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect()),
            routes: gateway.map(|via| Route::default_via(ip(via))).into_iter().collect(),
            withheld: Vec::new(),
            groups: Groups::new(),
        }
    }

    #[test]
    fn the_next_hop_is_the_target_on_its_network_and_the_gateway_elsewhere() {
        let both = interface(&["10.0.0.2/24", "192.168.1.2/30", "fd00::2/64"], Some("10.0.0.254"));
        for (target, hop) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("192.168.1.1", Some("192.168.1.1")),
            ("192.168.1.5", Some("10.0.0.254")),
            ("203.0.113.1", Some("10.0.0.254")),
            ("10.0.0.255", Some("10.0.0.255")),
            ("255.255.255.255", Some("255.255.255.255")),
            ("224.0.0.1", Some("224.0.0.1")),
            ("fd00::1", Some("fd00::1")),
            ("fe80::1", Some("fe80::1")),
            ("ff02::1", Some("ff02::1")),
            ("fd01::1", None), // the gateway is of the other family
            ("0.0.0.0", None),
            ("0.1.2.3", None),
            ("127.0.0.1", None),
            ("::", None),
            ("::1", None),
        ] {
            assert_eq!(next_hop(&both, ip(target)), hop.map(ip), "{target}");
        }
        assert_eq!(next_hop(&interface(&["10.0.0.2/24"], None), ip("203.0.113.1")), None);
    }

    #[test]
    fn the_source_is_of_the_longest_prefix_then_of_the_gateway() {
        let interfaces = [
            interface(&["10.0.0.2/8", "172.16.0.2/16"], None),
            interface(&["10.1.0.2/16", "10.1.0.3/16"], None),
            interface(&["192.168.7.2/24", "192.168.8.2/24"], Some("192.168.8.1")),
        ];
        for (target, expected) in [
            ("10.9.9.9", Some((0, "10.0.0.2"))),
            ("10.1.9.9", Some((1, "10.1.0.2"))),
            ("172.16.9.9", Some((0, "172.16.0.2"))),
            ("192.168.7.9", Some((2, "192.168.7.2"))),
            ("203.0.113.1", Some((2, "192.168.8.2"))),
            ("fd00::1", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(source(&interfaces, ip(target)), expected.map(|(at, address)| (at, ip(address))), "{target}");
        }
        assert_eq!(source(&interfaces[..2], ip("203.0.113.1")), None);
        assert_eq!(source(&[], ip("10.0.0.1")), None);
    }

    #[test]
    fn many_are_multicast_and_broadcast_of_the_link() {
        let link = interface(&["10.0.0.2/24", "10.9.0.2/31"], None);
        for (address, mac) in [
            ("224.0.0.1", [0x01, 0, 0x5e, 0, 0, 1]),
            ("239.255.128.7", [0x01, 0, 0x5e, 0x7f, 128, 7]),
            ("255.255.255.255", [0xff; 6]),
            ("10.0.0.255", [0xff; 6]),
            ("ff02::1:ff00:1234", [0x33, 0x33, 0xff, 0, 0x12, 0x34]),
        ] {
            assert!(is_many(&link, ip(address)), "{address}");
            assert_eq!(group_mac(&link, ip(address)), Some(Mac(mac)), "{address}");
        }
        for address in ["10.0.0.1", "10.0.1.255", "10.9.0.3", "240.0.0.1", "fd00::ff"] {
            assert!(!is_many(&link, ip(address)), "{address}");
            assert_eq!(group_mac(&link, ip(address)), None, "{address}");
        }
    }

    #[test]
    fn a_source_is_one_other_host() {
        let link = interface(&["10.0.0.2/24"], None);
        for good in ["10.0.0.1", "10.0.0.0", "203.0.113.255", "240.0.0.1", "1.0.0.1", "fd00::1", "fe80::1"] {
            assert_eq!(check_source(&link, ip(good)), Ok(()), "{good}");
        }
        for bad in [
            "0.0.0.0",
            "0.0.0.9",
            "127.0.0.1",
            "127.255.0.1",
            "224.0.0.5",
            "239.1.1.1",
            "255.255.255.255",
            "10.0.0.255",
            "10.0.0.2",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            let why = if ip(bad).is_ipv4() { Drop::Ipv4SourceInvalid } else { Drop::Ipv6SourceInvalid };
            assert_eq!(check_source(&link, ip(bad)), Err(why), "{bad}");
        }
    }
}
