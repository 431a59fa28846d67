//! What a message of neighbour discovery deserves, and the messages we send ourselves (RFC 4861, RFC 4862 5.4).
//!
//! Called by the engine for what [`crate::wire::nd`] has read, in an address claim; in a port claim the kernel does all of this. Only answers
//! are decided here; the cache is [`super::neighbor`], the way of an address to be ours is [`super::dad`]. Pure; nothing panics.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::device::Drop;
use crate::limits::ROUTER_PREFIXES;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_IPV6, Ethernet, Mac};
use crate::wire::ipv6::{
    self, ALL_NODES, ALL_ROUTERS, Ipv6, MIN_MTU, NEXT_HEADER_ICMPV6, ON_LINK_HOP_LIMIT, multicast_mac, solicited_node,
};
use crate::wire::nd::{self, Nd, NeighborAdvertisement, NeighborSolicitation, Prefix, RouterAdvertisement};
use crate::wire::vlan::Vlan;

/// What an interface is, as far as neighbour discovery has to know.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its addresses.
    pub assigned: &'a [Ipv6Addr],
    /// The addresses that are still to be found free ([`super::dad`]).
    pub tentative: &'a [Ipv6Addr],
    /// The first hop whose redirects are followed; `None` ignores all: anybody on the link could forge one.
    pub redirects_from: Option<Ipv6Addr>,
}

/// What a station says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its IPv6 address.
    pub ip: Ipv6Addr,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// What follows from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A solicitation for one of our addresses: learn the asker, then send the answer.
    Reply {
        /// The asker, to be added to the cache ([`super::neighbor::NeighborCache::learn`]), if it names its Ethernet address.
        asker: Option<Mapping>,
        /// What to send.
        reply: Outgoing,
    },
    /// What a station says of its address: to be taken in by [`super::neighbor::NeighborCache::advertised`].
    Advertised(NeighborAdvertisement),
    /// Another station has or wants one of our addresses. A tentative one is lost ([`super::dad::Candidate::conflict`]); for one that is ours,
    /// warn, and announce it again when [`super::arp::Defense::due`].
    Conflict {
        /// Our address.
        ip: Ipv6Addr,
        /// The station that claims it.
        rival: Mac,
    },
    /// A router tells of itself and the link.
    Router(Router),
    /// A better first hop, told by the one in use: packets to `destination` go to `hop`.
    Redirect {
        /// Where packets are sent.
        destination: Ipv6Addr,
        /// The neighbour they go to; the destination itself if it is on the link.
        hop: Ipv6Addr,
        /// Its Ethernet address, to be learned if it is told.
        mac: Option<Mac>,
    },
    /// Nothing to do.
    Drop(Drop),
}

/// What a router says, without what a host must not believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// Its Ethernet address, to be learned if it is told.
    pub mac: Option<Mac>,
    /// How long it is a default router; zero when it is none.
    pub lifetime: Duration,
    /// The MTU of the link, at least 1280.
    pub mtu: Option<u32>,
    /// How long a neighbour counts as reachable, at most an hour.
    pub reachable: Option<Duration>,
    /// Prefixes of the link, from the begin; not that of link-local addresses.
    pub prefixes: [Option<Prefix>; ROUTER_PREFIXES],
}

impl Router {
    /// One that is no router, and says nothing of the link.
    pub const fn none_at(address: Ipv6Addr) -> Self {
        let prefixes = [None; ROUTER_PREFIXES];
        Self { address, mac: None, lifetime: Duration::ZERO, mtu: None, reachable: None, prefixes }
    }
}

/// Decides what a message deserves that came in a packet with the header `ip` from the station `from`.
pub fn on_nd(message: &Nd<'_>, ip: &Ipv6, from: Mac, ours: &Ours<'_>) -> Outcome {
    if from == ours.mac {
        return Outcome::Drop(Drop::NdNotOurs); // our own, come back
    }
    if !is_station(from) || ip.source.is_multicast() || ip.source.is_loopback() {
        return Outcome::Drop(Drop::NdMalformed);
    }
    match message {
        Nd::NeighborSolicitation(asked) => on_solicitation(asked, ip, from, ours),
        Nd::NeighborAdvertisement(said) => on_advertisement(said, from, ours),
        Nd::RouterAdvertisement(said) => on_router(said, ip.source),
        //= rfc4861#6.2.6
        //# A host MUST silently discard any received Router Solicitation
        //# messages.
        Nd::RouterSolicitation { .. } => Outcome::Drop(Drop::NdNotOurs),
        //= rfc4861#8.1
        //# The IP source address of the Redirect is the same as the current
        //# first-hop router for the specified ICMP Destination Address.
        Nd::Redirect(said) if ours.redirects_from == Some(ip.source) => Outcome::Redirect {
            destination: said.destination,
            hop: said.target,
            mac: said.target_mac.filter(|&mac| is_station(mac)),
        },
        Nd::Redirect(_) => Outcome::Drop(Drop::NdRedirect),
    }
}

fn on_solicitation(asked: &NeighborSolicitation, ip: &Ipv6, from: Mac, ours: &Ours<'_>) -> Outcome {
    let probe = ip.source.is_unspecified();
    if ours.tentative.contains(&asked.target) {
        //= rfc4862#5.4.3
        //# If the target address is tentative, and
        //# the source address is a unicast address, the solicitation's sender is
        //# performing address resolution on the target; the solicitation should
        //# be silently ignored.
        //= rfc4862#5.4.3
        //# If the solicitation is from another node, the tentative
        //# address is a duplicate and should not be used (by either node).
        return if probe { Outcome::Conflict { ip: asked.target, rival: from } } else { Outcome::Drop(Drop::NdNotOurs) };
    }
    if ours.assigned.contains(&ip.source) {
        return Outcome::Conflict { ip: ip.source, rival: from };
    }
    if asked.source_mac.is_some_and(|mac| !is_station(mac)) {
        return Outcome::Drop(Drop::NdMalformed);
    }
    if !ours.assigned.contains(&asked.target) {
        return Outcome::Drop(Drop::NdNotOurs);
    }
    //= rfc4861#7.2.4
    //# If the source of the solicitation is the unspecified address, the
    //# node MUST set the Solicited flag to zero and multicast the
    //# advertisement to the all-nodes address.  Otherwise, the node MUST set
    //# the Solicited flag to one and unicast the advertisement to the Source
    //# Address of the solicitation.
    if probe {
        return Outcome::Reply { asker: None, reply: Outgoing::announcement(ours.mac, asked.target) };
    }
    let mut said = advertisement(ours.mac, asked.target);
    said.solicited = true;
    // A unicast question need not name the asker's Ethernet address; the frame does.
    let target_mac = asked.source_mac.unwrap_or(from);
    let message = Nd::NeighborAdvertisement(said);
    let reply = Outgoing { source: asked.target, target: ip.source, target_mac, message };
    Outcome::Reply { asker: asked.source_mac.map(|mac| Mapping { ip: ip.source, mac }), reply }
}

fn on_advertisement(said: &NeighborAdvertisement, from: Mac, ours: &Ours<'_>) -> Outcome {
    if said.target_mac == Some(ours.mac) {
        return Outcome::Drop(Drop::NdNotOurs); // our own, by way of another
    }
    //= rfc4862#5.4.4
    //# If the target address is tentative, the tentative address is not
    //# unique.
    if ours.tentative.contains(&said.target) || ours.assigned.contains(&said.target) {
        return Outcome::Conflict { ip: said.target, rival: said.target_mac.unwrap_or(from) };
    }
    Outcome::Advertised(*said)
}

fn on_router(said: &RouterAdvertisement, source: Ipv6Addr) -> Outcome {
    let mut prefixes = [None; ROUTER_PREFIXES];
    //= rfc4861#6.3.4
    //# - If the prefix is the link-local prefix, silently ignore the
    //# Prefix Information option.
    let told = said.prefixes.iter().flatten().filter(|prefix| !prefix.address.is_unicast_link_local());
    for (place, prefix) in prefixes.iter_mut().zip(told) {
        *place = Some(*prefix);
    }
    Outcome::Router(Router {
        address: source,
        mac: said.source_mac.filter(|&mac| is_station(mac)),
        lifetime: Duration::from_secs(said.lifetime_s.into()),
        //= rfc4861#6.3.4
        //# If the MTU option is present, hosts SHOULD copy the option's value
        //# into LinkMTU so long as the value is greater than or equal to the
        //# minimum link MTU [IPv6]
        mtu: said.mtu.filter(|&mtu| mtu >= MIN_MTU as u32),
        reachable: (1..=REACHABLE_MAX_MS).contains(&said.reachable_ms).then(|| Duration::from_millis(said.reachable_ms.into())),
        prefixes,
    })
}

/// A message of ours, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Source of the packet.
    pub source: Ipv6Addr,
    /// Destination of the packet.
    pub target: Ipv6Addr,
    /// Ethernet address it goes to.
    pub target_mac: Mac,
    /// The message.
    pub message: Nd<'static>,
}

impl Outgoing {
    /// Asks for the Ethernet address of `target`: itself when `known` says where it was ([`super::neighbor::NeighborCache::ask_at`]), or all
    /// that could have the address.
    pub const fn question(our_mac: Mac, ours: Ipv6Addr, target: Ipv6Addr, known: Option<Mac>) -> Self {
        //= rfc4861#7.2.2
        //# If the solicitation is being sent to a solicited-node multicast
        //# address, the sender MUST include its link-layer address (if it has
        //# one) as a Source Link-Layer Address option.
        let message = Nd::NeighborSolicitation(NeighborSolicitation { target, source_mac: Some(our_mac) });
        match known {
            Some(target_mac) => Self { source: ours, target, target_mac, message },
            None => Self::to_group(ours, solicited_node(target), message),
        }
    }

    /// Asks whether anybody has an address that is to be ours.
    pub const fn probe(tentative: Ipv6Addr) -> Self {
        //= rfc4862#5.4.2
        //# The
        //# solicitation's Target Address is set to the address being checked,
        //# the IP source is set to the unspecified address, and the IP
        //# destination is set to the solicited-node multicast address of the
        //# target address.
        let message = Nd::NeighborSolicitation(NeighborSolicitation { target: tentative, source_mac: None });
        Self::to_group(Ipv6Addr::UNSPECIFIED, solicited_node(tentative), message)
    }

    /// Tells all that an address is ours, so that they forget who had it before (RFC 4861 7.2.6); also the answer to a probe for it.
    pub const fn announcement(our_mac: Mac, ours: Ipv6Addr) -> Self {
        Self::to_group(ours, ALL_NODES, Nd::NeighborAdvertisement(advertisement(our_mac, ours)))
    }

    /// Asks which routers there are (RFC 4861 6.3.7).
    pub const fn router_question(our_mac: Mac, ours: Ipv6Addr) -> Self {
        Self::to_group(ours, ALL_ROUTERS, Nd::RouterSolicitation { source_mac: Some(our_mac) })
    }

    const fn to_group(source: Ipv6Addr, target: Ipv6Addr, message: Nd<'static>) -> Self {
        Self { source, target, target_mac: multicast_mac(target), message }
    }

    /// Writes the message with its Ethernet and IPv6 headers and returns the length of the frame; 0 when it does not fit in `bytes`.
    pub fn emit_frame(&self, bytes: &mut [u8], vlan: Vlan, our_mac: Mac) -> usize {
        let header = Ethernet { target: self.target_mac, source: our_mac, vlan, ethertype: ETHERTYPE_IPV6 };
        let at = ethernet::emit(bytes, &header);
        let message = at + ipv6::HEADER_LEN;
        let pseudo = PseudoHeader { source: self.source.into(), target: self.target.into(), protocol: NEXT_HEADER_ICMPV6 };
        let len = bytes.get_mut(message..).map_or(0, |room| nd::emit(room, &self.message, &pseudo));
        if at == 0 || len == 0 {
            return 0;
        }
        let ip = Ipv6 { hop_limit: ON_LINK_HOP_LIMIT, ..Ipv6::outgoing(self.source, self.target, NEXT_HEADER_ICMPV6, len) };
        match bytes.get_mut(at..).map(|packet| ipv6::emit(packet, &ip)) {
            Some(ipv6::HEADER_LEN) => message + len,
            _ => 0,
        }
    }
}

/// The longest frame of ours in bytes, with a VLAN tag.
pub const FRAME_MAX: usize = 18 + ipv6::HEADER_LEN + 32;

/// What we say of an address of ours; asked by nobody.
const fn advertisement(our_mac: Mac, ours: Ipv6Addr) -> NeighborAdvertisement {
    NeighborAdvertisement { target: ours, router: false, solicited: false, replace: true, target_mac: Some(our_mac) }
}

/// True for an address that one station can have.
fn is_station(mac: Mac) -> bool {
    !mac.is_group() && mac != Mac::default()
}

/// The longest Reachable Time a router may tell (RFC 4861 6.2.1).
const REACHABLE_MAX_MS: u32 = 3_600_000;

#[cfg(test)]
mod tests;
