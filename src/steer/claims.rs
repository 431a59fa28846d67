//! What of one interface is claimed, and how the program's map spells it.
//!
//! Built once at start from [`crate::link::interface`]; read by the loader (which fills the map), by the model (which ignores the
//! map) and by `ringway steer --dump`. Pure; nothing here panics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use zerocopy::{Immutable, IntoBytes};

use crate::error::SetupError;
use crate::link::interface::{Claim, Interface, PortClaim};

/// Entries the claim map may have: an interface with this many claimed (address, port) pairs is a mistake.
pub const ENTRIES: usize = 65_536;

/// VLAN number of an untagged frame; tags have 12 bits.
pub const UNTAGGED: u16 = 0xffff;

/// VLAN number in the key of a claim's first VLAN, whose true number is the value.
pub const ANY_VLAN: u16 = 0xfffe;

/// Key of the claim map, 24 bytes without padding.
///
/// One layout for both kinds of claim: protocol 0 and port 0 is the whole address; a protocol with port 0 says that some
/// port of it is claimed (for frames that do not show their port). The value is a `u32`, the VLAN of the claim. The usual claim has one
/// VLAN and one entry, under [`ANY_VLAN`], so that one look-up decides; further VLANs of the same claim have entries under their own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
pub struct ClaimKey {
    /// [`ANY_VLAN`], a VLAN id or [`UNTAGGED`], in host byte order.
    pub vlan: u16,
    /// 4 or 6.
    pub family: u8,
    /// IP protocol number; 0 for the whole address.
    pub protocol: u8,
    /// Port in network byte order; 0 for the whole address, or for any claimed port.
    pub port: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
    /// The address; IPv4 in the first four bytes, the others zero.
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<ClaimKey>() == 24);
const _: () = assert!(core::mem::offset_of!(ClaimKey, vlan) == 0);
const _: () = assert!(core::mem::offset_of!(ClaimKey, family) == 2);
const _: () = assert!(core::mem::offset_of!(ClaimKey, protocol) == 3);
const _: () = assert!(core::mem::offset_of!(ClaimKey, port) == 4);
const _: () = assert!(core::mem::offset_of!(ClaimKey, address) == 8);

/// The claims of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    addresses: BTreeSet<(Ipv4Addr, Vlan)>,
    ports: BTreeSet<(Ipv4Addr, u8, u16, Vlan)>,
}

/// A VLAN as the program sees it: an id, or [`UNTAGGED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vlan(u16);

impl Vlan {
    /// Frames without a tag.
    pub const NONE: Self = Self(UNTAGGED);

    /// The VLAN of a frame: its 12-bit id, or `None` without a tag. Higher bits (priority, drop eligible) are ignored.
    pub const fn of_frame(id: Option<u16>) -> Self {
        match id {
            Some(id) => Self(id & 0x0fff),
            None => Self::NONE,
        }
    }

    /// The number in map keys and values.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE { f.write_str("untagged") } else { write!(f, "vlan {}", self.0) }
    }
}

impl Claims {
    /// Nothing claimed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The claims of one interface as the engine knows it.
    ///
    /// # Errors
    /// As [`Claims::add`].
    pub fn of(interface: &Interface) -> Result<Self, SetupError> {
        let mut claims = Self::new();
        claims.add(&interface.claim, interface.vlan)?;
        Ok(claims)
    }

    /// Adds a claim in a VLAN (`None` for untagged frames). The same thing claimed twice is claimed once.
    ///
    /// IPv6 addresses of the kernel in a port claim are left to the kernel.
    ///
    /// # Errors
    /// Usage: a VLAN id above 4094, port 0, a port claim without an IPv4 address, an IPv6 address (not steered yet), more than [`ENTRIES`] entries.
    pub fn add(&mut self, claim: &Claim, vlan: Option<u16>) -> Result<(), SetupError> {
        if let Some(id) = vlan.filter(|&id| id > 4094) {
            return Err(SetupError::usage(format!("cannot claim frames of VLAN {id}"), "a VLAN id lies between 0 and 4094"));
        }
        let vlan = Vlan::of_frame(vlan);
        match claim {
            Claim::Addresses(addresses) => {
                for cidr in addresses {
                    match cidr.address {
                        IpAddr::V4(address) => _ = self.addresses.insert((address, vlan)),
                        IpAddr::V6(address) => {
                            return Err(SetupError::usage(
                                format!("cannot claim the address {address}"),
                                "IPv6 is not steered yet; claim an IPv4 address",
                            ));
                        }
                    }
                }
            }
            Claim::Ports { addresses, ports } => self.add_ports(addresses.iter().map(|cidr| cidr.address), ports, vlan)?,
        }
        let entries = self.entries().len();
        if entries > ENTRIES {
            return Err(SetupError::usage(
                "cannot claim that many addresses and ports of one interface",
                format!("they need {entries} entries, the map has {ENTRIES}"),
            ));
        }
        Ok(())
    }

    fn add_ports(&mut self, addresses: impl Iterator<Item = IpAddr>, ports: &[PortClaim], vlan: Vlan) -> Result<(), SetupError> {
        let mut any = false;
        for address in addresses {
            let IpAddr::V4(address) = address else { continue };
            any = true;
            for claim in ports {
                if claim.port == 0 {
                    return Err(SetupError::usage("cannot claim port 0", "no packet may carry it (RFC 6335 6)"));
                }
                self.ports.insert((address, claim.transport.protocol(), claim.port, vlan));
            }
        }
        if any {
            Ok(())
        } else {
            Err(SetupError::environment("cannot claim ports", "the interface has no IPv4 address of the kernel")
                .mend("ip address add ADDR/PREFIX dev IF"))
        }
    }

    /// True when nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ports.is_empty()
    }

    /// True when whole addresses are claimed.
    pub fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// True when ports of kernel addresses are claimed.
    pub fn has_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    /// The VLANs in which the whole of `address` is claimed.
    pub fn vlans_of_address(&self, address: Ipv4Addr) -> impl Iterator<Item = Vlan> {
        self.addresses.iter().filter(move |claim| claim.0 == address).map(|claim| claim.1)
    }

    /// The VLANs in which `port` of `address` is claimed; `None` for any port of the protocol.
    pub fn vlans_of_port(&self, address: Ipv4Addr, protocol: u8, port: Option<u16>) -> impl Iterator<Item = Vlan> {
        let same = move |claim: &&(Ipv4Addr, u8, u16, Vlan)| {
            claim.0 == address && claim.1 == protocol && port.is_none_or(|port| port == claim.2)
        };
        self.ports.iter().filter(same).map(|claim| claim.3)
    }

    /// The claim map: keys and the VLAN numbers that are their values.
    pub fn entries(&self) -> BTreeMap<ClaimKey, u32> {
        let mut entries = BTreeMap::new();
        for &(address, vlan) in &self.addresses {
            insert(&mut entries, key(address, 0, 0), vlan);
        }
        for &(address, protocol, port, vlan) in &self.ports {
            insert(&mut entries, key(address, protocol, port), vlan);
            insert(&mut entries, key(address, protocol, 0), vlan);
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
        lines.concat()
    }
}

/// The first VLAN of a claim goes under [`ANY_VLAN`], others under their number.
fn insert(entries: &mut BTreeMap<ClaimKey, u32>, key: ClaimKey, vlan: Vlan) {
    let first = *entries.entry(key).or_insert(u32::from(vlan.number()));
    if first != u32::from(vlan.number()) {
        entries.insert(ClaimKey { vlan: vlan.number(), ..key }, u32::from(vlan.number()));
    }
}

fn key(address: Ipv4Addr, protocol: u8, port: u16) -> ClaimKey {
    let mut wide = [0; 16];
    wide[..4].copy_from_slice(&address.octets());
    ClaimKey { vlan: ANY_VLAN, family: 4, protocol, port: port.to_be_bytes(), reserved: [0; 2], address: wide }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::{Cidr, Transport};

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
        expected[..2].copy_from_slice(&0xfffe_u16.to_ne_bytes());
        expected[2] = 4;
        expected[8..12].copy_from_slice(&[10, 0, 0, 2]);
        assert_eq!((key.as_bytes(), value), (&expected[..], 0xffff));
    }

    #[test]
    fn a_port_has_an_entry_of_its_own_and_one_for_its_protocol() {
        let mut claims = Claims::new();
        claims.add(&ports(&["10.0.0.2"], &[(Transport::Tcp, 80), (Transport::Tcp, 443)]), None).unwrap();
        let entries: Vec<_> = claims.entries().into_keys().map(|key| (key.protocol, key.port)).collect();
        assert_eq!(entries, [(6, [0, 0]), (6, [0, 80]), (6, [1, 187])]);
    }

    #[test]
    fn the_second_vlan_of_an_address_has_its_own_entry() {
        let mut claims = Claims::new();
        for vlan in [None, Some(5), Some(7), Some(5)] {
            claims.add(&addresses(&["10.0.0.2"]), vlan).unwrap();
        }
        let entries: Vec<_> = claims.entries().into_iter().map(|(key, value)| (key.vlan, value)).collect();
        assert_eq!(entries, [(7, 7), (0xfffe, 5), (0xffff, 0xffff)]);
    }

    #[test]
    fn refuses_what_cannot_be_steered() {
        let mut claims = Claims::new();
        let refused = |result: Result<(), SetupError>| result.unwrap_err().exit_code();
        assert_eq!(refused(claims.add(&addresses(&["10.0.0.2"]), Some(4095))), 2);
        assert_eq!(refused(claims.add(&addresses(&["fd00::2"]), None)), 2);
        assert_eq!(refused(claims.add(&ports(&["10.0.0.2"], &[(Transport::Udp, 0)]), None)), 2);
        assert_eq!(refused(claims.add(&ports(&["fe80::1"], &[(Transport::Udp, 7)]), None)), 3);
    }

    #[test]
    fn bounds_the_map() {
        let all: Vec<_> = (1..=u16::MAX).map(|port| (Transport::Tcp, port)).collect();
        let mut claims = Claims::new();
        claims.add(&ports(&["10.0.0.2"], &all), None).unwrap();
        assert_eq!(claims.entries().len(), ENTRIES);
        assert_eq!(claims.add(&addresses(&["10.0.0.3"]), None).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn ipv6_addresses_of_a_port_claim_stay_with_the_kernel() {
        let mut claims = Claims::new();
        claims.add(&ports(&["fe80::1", "10.0.0.2"], &[(Transport::Udp, 53)]), Some(3)).unwrap();
        assert_eq!(claims.dump(), "claim  port 10.0.0.2 udp:53 vlan 3\n");
    }
}
