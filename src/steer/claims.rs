//! What of one interface is claimed, and how the program's map spells it.
//!
//! Built at start from [`crate::link::interface`], and again when claims come or go; read by the loader (which fills the map), by the model
//! (which ignores the map) and by `ringway steer --dump`. Pure; nothing here panics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use zerocopy::{Immutable, IntoBytes};

use super::program::{Kinds, Sought};
use crate::error::SetupError;
use crate::link::interface::{Claim, Interface, PortClaim, Transport};
use crate::wire::vlan::{ANY_VLAN, Vlan};

/// Entries the claim map may have: an interface with this many claimed (address, port) pairs is a mistake.
pub const ENTRIES: usize = 65_536;

/// Protocol number in the key of "anything of this address": reserved (RFC 5237), no packet carries it rightly.
pub const HIDDEN_PROTOCOL: u8 = 0xff;

/// Key of the claim map, 24 bytes without padding.
///
/// One layout for all claims: protocol 0 and port 0 is the whole address; a protocol with port 0 says that some port of it is
/// claimed (for frames that do not show their port), and [`HIDDEN_PROTOCOL`] that some port of any protocol is (for IPv6 packets whose
/// protocol stands behind extension headers). The value is a `u32`, the VLAN of the claim. The usual claim has one VLAN and one entry, under
/// [`ANY_VLAN`], so that one look-up decides; further VLANs of the same claim have entries under their own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
pub struct ClaimKey {
    /// [`ANY_VLAN`] or [`Vlan::number`], in host byte order.
    pub vlan: u32,
    /// Port in network byte order; 0 for the whole address, or for any claimed port.
    pub port: [u8; 2],
    /// A [`KeyKind`].
    pub kind: u8,
    /// IP protocol number; 0 for the whole address.
    pub protocol: u8,
    /// The address; IPv4 in the first four bytes, the others zero.
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<ClaimKey>() == 24);
const _: () = assert!(core::mem::offset_of!(ClaimKey, vlan) == 0);
const _: () = assert!(core::mem::offset_of!(ClaimKey, port) == 4);
const _: () = assert!(core::mem::offset_of!(ClaimKey, kind) == 6);
const _: () = assert!(core::mem::offset_of!(ClaimKey, protocol) == 7);
const _: () = assert!(core::mem::offset_of!(ClaimKey, address) == 8);

/// What kind of address a key has. A group is not a host: who claims a port of the one does not have it of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// An IPv4 host.
    Ipv4 = 4,
    /// An IPv6 host.
    Ipv6 = 6,
    /// An IPv4 multicast group or a broadcast address.
    Ipv4Group = 0x14,
    /// An IPv6 multicast group.
    Ipv6Group = 0x16,
}

impl KeyKind {
    const fn of_host(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    const fn of_group(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4Group } else { Self::Ipv6Group }
    }
}

/// How much of what a claim names a packet shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Its protocol and its port.
    Port(u8, u16),
    /// Its protocol: a fragment, options, an end before the port.
    Protocol(u8),
    /// Neither: IPv6 extension headers, or a header that is none.
    Nothing,
}

impl Shown {
    /// Whether this could be `port` of `protocol`, for all it shows.
    const fn may_be(self, protocol: u8, port: u16) -> bool {
        match self {
            Self::Port(own_protocol, own_port) => own_protocol == protocol && own_port == port,
            Self::Protocol(own) => own == protocol,
            Self::Nothing => true,
        }
    }
}

/// The claims of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    addresses: BTreeSet<(IpAddr, Vlan)>,
    ports: BTreeSet<(IpAddr, u8, u16, Vlan)>,
    groups: BTreeSet<(IpAddr, u16, Vlan)>,
}

impl Claims {
    /// Nothing claimed.
    pub fn new() -> Self {
        Self::default()
    }

    /// All that is claimed on a NIC: `interfaces` are what the engine knows it as, one for each VLAN.
    ///
    /// # Errors
    /// As [`Claims::add`].
    pub fn of<'a>(interfaces: impl IntoIterator<Item = &'a Interface>) -> Result<Self, SetupError> {
        let mut claims = Self::new();
        for interface in interfaces {
            claims.add(&interface.claim, interface.vlan)?;
            for group in interface.groups.iter() {
                claims.add_group(group.address(), group.port(), interface.vlan)?;
            }
        }
        Ok(claims)
    }

    /// Adds a claim in a VLAN: `None` for untagged frames, the id of an 802.1Q tag, or any [`Vlan`]. The same thing claimed twice is
    /// claimed once. A port claim is of the addresses it names and of no other, whatever their family.
    ///
    /// # Errors
    /// Usage: a VLAN id above 4094, port 0, more than [`ENTRIES`] entries. Environment: a port claim without any address. Nothing is added then.
    pub fn add(&mut self, claim: &Claim, vlan: impl Into<Vlan>) -> Result<(), SetupError> {
        let vlan = checked(vlan.into())?;
        self.change(|claims| match claim {
            Claim::Addresses(addresses) => {
                claims.addresses.extend(addresses.iter().map(|cidr| (cidr.address, vlan)));
                Ok(())
            }
            Claim::Ports { addresses, ports } => claims.add_ports(addresses.iter().map(|cidr| cidr.address), ports, vlan),
        })
    }

    /// Adds a UDP port of a multicast group, or of a broadcast address: the limited one, or that of a subnet.
    ///
    /// Frames to it come to Ringway alone: the kernel does not see them, joined or not. The NIC must be told to receive the group, which a membership of
    /// the kernel does. Found in frames with a group address of Ethernet; for IPv6, where a group may be sent to one station (RFC 6085), in every frame.
    ///
    /// # Errors
    /// Usage: an address that is no group's (IPv6 that is not multicast, or is of a scope that no link carries; IPv4 that is unspecified or loopback),
    /// port 0, a VLAN id above 4094, too many entries. Nothing is added then.
    pub fn add_group(&mut self, address: IpAddr, port: u16, vlan: impl Into<Vlan>) -> Result<(), SetupError> {
        let vlan = checked(vlan.into())?;
        let what = || format!("cannot claim the group {address}");
        match address {
            IpAddr::V4(v4) if v4.is_unspecified() || v4.is_loopback() => {
                return Err(SetupError::usage(what(), "it is neither a multicast group nor a broadcast address"));
            }
            IpAddr::V4(_) => {}
            IpAddr::V6(v6) if !v6.is_multicast() => return Err(SetupError::usage(what(), "it is not a multicast group")),
            // RFC 4291 2.7: scope 0 is reserved, scope 1 does not leave the interface.
            IpAddr::V6(v6) if v6.octets()[1] & 0x0f < 2 => {
                return Err(SetupError::usage(what(), "no link carries groups of its scope (RFC 4291 2.7)"));
            }
            IpAddr::V6(_) => {}
        }
        self.change(|claims| {
            refuse_port_zero(port)?;
            claims.groups.insert((address, port, vlan));
            Ok(())
        })
    }

    fn add_ports(&mut self, addresses: impl Iterator<Item = IpAddr>, ports: &[PortClaim], vlan: Vlan) -> Result<(), SetupError> {
        let mut any = false;
        for address in addresses {
            any = true;
            for claim in ports {
                refuse_port_zero(claim.port)?;
                self.ports.insert((address, claim.transport.protocol(), claim.port, vlan));
            }
        }
        if any {
            Ok(())
        } else {
            Err(SetupError::environment("cannot claim ports", "the interface has no address of the kernel")
                .mend("ip address add ADDR/PREFIX dev IF"))
        }
    }

    /// Changes the claims, or leaves them as they were.
    fn change(&mut self, change: impl FnOnce(&mut Self) -> Result<(), SetupError>) -> Result<(), SetupError> {
        let mut changed = self.clone();
        change(&mut changed)?;
        let entries = changed.entries().len();
        if entries > ENTRIES {
            return Err(SetupError::usage(
                "cannot claim that many addresses and ports of one interface",
                format!("they need {entries} entries, the map has {ENTRIES}"),
            ));
        }
        *self = changed;
        Ok(())
    }

    /// True when nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ports.is_empty() && self.groups.is_empty()
    }

    /// Which kinds of claims there are, for the text of the program.
    pub fn kinds(&self) -> Kinds {
        let of = |same: fn(&IpAddr) -> bool| Sought {
            addresses: self.addresses.iter().any(|claim| same(&claim.0)),
            ports: self.ports.iter().any(|claim| same(&claim.0)),
            groups: self.groups.iter().any(|claim| same(&claim.0)),
        };
        Kinds { ipv4: of(IpAddr::is_ipv4), ipv6: of(IpAddr::is_ipv6) }
    }

    /// The VLANs in which the whole of `address` is claimed.
    pub fn vlans_of_address(&self, address: IpAddr) -> impl Iterator<Item = Vlan> {
        self.addresses.iter().filter(move |claim| claim.0 == address).map(|claim| claim.1)
    }

    /// The VLANs in which a port of `address` is claimed that the packet may be for.
    pub fn vlans_of_port(&self, address: IpAddr, shown: Shown) -> impl Iterator<Item = Vlan> {
        let same = move |claim: &&(IpAddr, u8, u16, Vlan)| claim.0 == address && shown.may_be(claim.1, claim.2);
        self.ports.iter().filter(same).map(|claim| claim.3)
    }

    /// The VLANs in which a port of the group `address` is claimed that the packet may be for.
    pub fn vlans_of_group(&self, address: IpAddr, shown: Shown) -> impl Iterator<Item = Vlan> {
        let udp = Transport::Udp.protocol();
        let same = move |claim: &&(IpAddr, u16, Vlan)| claim.0 == address && shown.may_be(udp, claim.1);
        self.groups.iter().filter(same).map(|claim| claim.2)
    }

    /// The claim map: keys and the VLAN numbers that are their values.
    pub fn entries(&self) -> BTreeMap<ClaimKey, u32> {
        let mut entries = BTreeMap::new();
        for &(address, vlan) in &self.addresses {
            insert(&mut entries, key(KeyKind::of_host(address), address, 0, 0), vlan);
        }
        let ports = self.ports.iter().map(|&(address, protocol, port, vlan)| {
            let kind = KeyKind::of_host(address);
            (kind, address, protocol, port, vlan)
        });
        let groups = self.groups.iter().map(|&(address, port, vlan)| {
            let kind = KeyKind::of_group(address);
            (kind, address, Transport::Udp.protocol(), port, vlan)
        });
        for (kind, address, protocol, port, vlan) in ports.chain(groups) {
            insert(&mut entries, key(kind, address, protocol, port), vlan);
            insert(&mut entries, key(kind, address, protocol, 0), vlan);
            if address.is_ipv6() {
                insert(&mut entries, key(kind, address, HIDDEN_PROTOCOL, 0), vlan);
            }
        }
        entries
    }

    /// One line per claim, for people.
    pub fn dump(&self) -> String {
        let mut lines = Vec::new();
        for (address, vlan) in &self.addresses {
            lines.push(format!("claim  address {address} {vlan}\n"));
        }
        for (address, protocol, port, vlan) in &self.ports {
            let protocol = if *protocol == 6 { "tcp" } else { "udp" };
            lines.push(format!("claim  port {address} {protocol}:{port} {vlan}\n"));
        }
        for (address, port, vlan) in &self.groups {
            lines.push(format!("claim  group {address} udp:{port} {vlan}\n"));
        }
        lines.concat()
    }
}

fn checked(vlan: Vlan) -> Result<Vlan, SetupError> {
    match vlan.tags().find(|tag| tag.id > 4094) {
        Some(tag) => {
            Err(SetupError::usage(format!("cannot claim frames of VLAN {}", tag.id), "a VLAN id lies between 0 and 4094"))
        }
        None => Ok(vlan),
    }
}

fn refuse_port_zero(port: u16) -> Result<(), SetupError> {
    if port == 0 {
        return Err(SetupError::usage("cannot claim port 0", "no packet may carry it (RFC 6335 6)"));
    }
    Ok(())
}

/// The first VLAN of a claim goes under [`ANY_VLAN`], others under their number.
fn insert(entries: &mut BTreeMap<ClaimKey, u32>, key: ClaimKey, vlan: Vlan) {
    let first = *entries.entry(key).or_insert(vlan.number());
    if first != vlan.number() {
        entries.insert(ClaimKey { vlan: vlan.number(), ..key }, vlan.number());
    }
}

fn key(kind: KeyKind, address: IpAddr, protocol: u8, port: u16) -> ClaimKey {
    let address = match address {
        IpAddr::V4(address) => {
            let mut wide = [0; 16];
            wide[..4].copy_from_slice(&address.octets());
            wide
        }
        IpAddr::V6(address) => address.octets(),
    };
    ClaimKey { vlan: ANY_VLAN, port: port.to_be_bytes(), kind: kind as u8, protocol, address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::Cidr;
    use crate::wire::vlan::Tag;

    fn cidr(text: &str) -> Cidr {
        Cidr { address: text.parse().unwrap(), prefix: 24 }
    }

    fn addresses(list: &[&str]) -> Claim {
        Claim::Addresses(list.iter().map(|text| cidr(text)).collect())
    }

    fn ports(list: &[&str], ports: &[(Transport, u16)]) -> Claim {
        let ports = ports.iter().map(|&(transport, port)| PortClaim { transport, port }).collect();
        Claim::Ports { addresses: list.iter().map(|text| cidr(text)).collect(), ports }
    }

    #[test]
    fn an_address_key_lies_as_the_program_builds_it() {
        let mut claims = Claims::new();
        claims.add(&addresses(&["10.0.0.2"]), None).unwrap();
        let (key, value) = claims.entries().pop_first().unwrap();
        let mut expected = [0; 24];
        expected[..4].copy_from_slice(&[0xff; 4]);
        expected[6] = 4;
        expected[8..12].copy_from_slice(&[10, 0, 0, 2]);
        assert_eq!((key.as_bytes(), value), (&expected[..], 0));
    }

    #[test]
    fn a_port_has_an_entry_of_its_own_and_one_for_its_protocol() {
        let mut claims = Claims::new();
        claims.add(&ports(&["10.0.0.2"], &[(Transport::Tcp, 80), (Transport::Tcp, 443)]), None).unwrap();
        let entries: Vec<_> = claims.entries().into_keys().map(|key| (key.protocol, key.port)).collect();
        assert_eq!(entries, [(6, [0, 0]), (6, [0, 80]), (6, [1, 187])]);
    }

    #[test]
    fn a_port_of_an_ipv6_address_has_an_entry_for_packets_that_hide_their_protocol() {
        let mut claims = Claims::new();
        claims.add(&ports(&["fd00::1"], &[(Transport::Udp, 53)]), None).unwrap();
        let entries: Vec<_> = claims.entries().into_keys().map(|key| (key.kind, key.protocol, key.port)).collect();
        assert_eq!(entries, [(6, 17, [0, 0]), (6, 255, [0, 0]), (6, 17, [0, 53])]);
    }

    #[test]
    fn the_second_vlan_of_an_address_has_its_own_entry() {
        let mut claims = Claims::new();
        for vlan in [None, Some(5), Some(7), Some(5)] {
            claims.add(&addresses(&["10.0.0.2"]), vlan).unwrap();
        }
        let entries: Vec<_> = claims.entries().into_iter().map(|(key, value)| (key.vlan, value)).collect();
        assert_eq!(entries, [(0x1005, 0x1005), (0x1007, 0x1007), (ANY_VLAN, 0)]);
    }

    #[test]
    fn refuses_what_cannot_be_steered_and_adds_none_of_it() {
        let mut claims = Claims::new();
        let refused = |result: Result<(), SetupError>| result.unwrap_err().exit_code();
        assert_eq!(refused(claims.add(&addresses(&["10.0.0.2"]), Some(4095))), 2);
        let outer_and_bad = Vlan::stacked(Tag::s(5), Tag::c(u16::MAX));
        assert_eq!(refused(claims.add(&addresses(&["10.0.0.2"]), outer_and_bad)), 2);
        assert_eq!(refused(claims.add(&ports(&["10.0.0.2"], &[(Transport::Udp, 7), (Transport::Udp, 0)]), None)), 2);
        assert_eq!(refused(claims.add(&ports(&[], &[(Transport::Udp, 7)]), None)), 3);
        assert!(claims.is_empty(), "{claims:?}");
    }

    #[test]
    fn a_group_is_multicast_or_broadcast() {
        let mut claims = Claims::new();
        for bad in ["0.0.0.0", "127.0.0.1", "::", "fd00::1", "::ffff:239.1.1.1", "ff01::1", "ff00::1", "ff10::1"] {
            assert_eq!(claims.add_group(bad.parse().unwrap(), 5353, None).unwrap_err().exit_code(), 2, "{bad}");
        }
        assert_eq!(claims.add_group("239.1.1.1".parse().unwrap(), 0, None).unwrap_err().exit_code(), 2);
        assert!(claims.is_empty(), "{claims:?}");
        for good in ["239.1.1.1", "255.255.255.255", "10.0.0.255", "ff02::fb", "ff15::1"] {
            claims.add_group(good.parse().unwrap(), 5353, None).unwrap();
        }
        let kinds: Vec<_> = claims.entries().into_keys().filter(|key| key.port != [0, 0]).map(|key| key.kind).collect();
        assert_eq!(kinds, [0x14, 0x14, 0x14, 0x16, 0x16]);
    }

    #[test]
    fn bounds_the_map() {
        let all: Vec<_> = (1..=u16::MAX).map(|port| (Transport::Tcp, port)).collect();
        let mut claims = Claims::new();
        claims.add(&ports(&["10.0.0.2"], &all), None).unwrap();
        assert_eq!(claims.entries().len(), ENTRIES);
        let before = claims.clone();
        assert_eq!(claims.add(&addresses(&["10.0.0.3"]), None).unwrap_err().exit_code(), 2);
        assert_eq!(claims.add_group("239.1.1.1".parse().unwrap(), 7, None).unwrap_err().exit_code(), 2);
        assert_eq!(claims, before);
    }

    #[test]
    fn every_claim_is_listed_with_its_vlan() {
        let mut claims = Claims::new();
        claims.add(&addresses(&["fd00::2"]), Vlan::tagged(Tag::s(9))).unwrap();
        claims.add(&ports(&["fe80::1", "10.0.0.2"], &[(Transport::Udp, 53)]), Some(3)).unwrap();
        claims.add_group("ff02::fb".parse().unwrap(), 5353, Vlan::stacked(Tag::s(9), Tag::c(3))).unwrap();
        insta::assert_snapshot!(claims.dump(), @r"
        claim  address fd00::2 802.1ad vlan 9
        claim  port 10.0.0.2 udp:53 vlan 3
        claim  port fe80::1 udp:53 vlan 3
        claim  group ff02::fb udp:5353 802.1ad vlan 9, vlan 3
        ");
    }

    #[test]
    fn the_kinds_are_those_of_each_family() {
        let mut claims = Claims::new();
        assert_eq!(claims.kinds(), Kinds::default());
        claims.add(&addresses(&["10.0.0.2"]), None).unwrap();
        claims.add(&ports(&["fd00::1"], &[(Transport::Udp, 53)]), None).unwrap();
        claims.add_group("ff02::fb".parse().unwrap(), 5353, None).unwrap();
        let ipv4 = Sought { addresses: true, ..Sought::default() };
        let ipv6 = Sought { ports: true, groups: true, ..Sought::default() };
        assert_eq!(claims.kinds(), Kinds { ipv4, ipv6 });
    }
}
