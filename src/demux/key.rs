//! The key of a flow: both ends, and the interface.
//!
//! Made by the engine from each segment, and at connect. A plain value.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IPv4 or IPv6 address in 16 bytes; IPv4 as IPv4-mapped (RFC 4291 2.5.5.2).
///
/// ```
/// use ringway::demux::key::Address;
/// let a = Address::from(std::net::Ipv4Addr::new(10, 0, 0, 1));
/// assert_eq!(a.to_string(), "10.0.0.1");
/// assert_eq!(a.v4(), Some(std::net::Ipv4Addr::new(10, 0, 0, 1)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address([u8; 16]);

impl Address {
    /// `::`, the address of nobody.
    pub const UNSPECIFIED: Self = Self([0; 16]);

    /// The address as 16 bytes, in network order.
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// The IPv4 address, if it is one.
    #[inline]
    pub const fn v4(self) -> Option<Ipv4Addr> {
        // Taken as one number this is two comparisons, and none at all where the compiler sees what the address was made of.
        let bits = u128::from_be_bytes(self.0);
        if bits >> 32 == MAPPED { Some(Ipv4Addr::from_bits(bits as u32)) } else { None }
    }

    /// The address in the standard library's form.
    #[inline]
    pub const fn ip(self) -> IpAddr {
        match self.v4() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_octets(self.0)),
        }
    }
}

/// What stands in front of the 32 bits of an IPv4-mapped address.
const MAPPED: u128 = 0xffff;

impl From<Ipv4Addr> for Address {
    #[inline]
    fn from(address: Ipv4Addr) -> Self {
        Self((MAPPED << 32 | address.to_bits() as u128).to_be_bytes())
    }
}

impl From<Ipv6Addr> for Address {
    #[inline]
    fn from(address: Ipv6Addr) -> Self {
        Self(address.octets())
    }
}

impl From<IpAddr> for Address {
    #[inline]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.ip(), f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.ip(), f)
    }
}

/// Where a packet travels: the interface of the engine, which is in one VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Position of the interface in the engine's list, from 0.
    pub interface: u16,
}

/// The identity of a flow, compared whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Our address.
    pub local: Address,
    /// The peer's address.
    pub remote: Address,
    /// Our port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// The interface.
    pub link: Link,
}

impl FlowKey {
    /// Our end.
    pub fn local_socket(&self) -> SocketAddr {
        SocketAddr::new(self.local.ip(), self.local_port)
    }

    /// The peer's end.
    pub fn remote_socket(&self) -> SocketAddr {
        SocketAddr::new(self.remote.ip(), self.remote_port)
    }

    /// The key in 16 bytes, the last two zero, with addresses of four: what is hashed of one of IPv4. `None` unless both addresses are.
    #[inline]
    pub(super) fn octets_v4(&self) -> Option<[u8; 16]> {
        let (local, remote) = (self.local.v4()?, self.remote.v4()?);
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&local.octets());
        bytes[4..8].copy_from_slice(&remote.octets());
        bytes[8..10].copy_from_slice(&self.local_port.to_ne_bytes());
        bytes[10..12].copy_from_slice(&self.remote_port.to_ne_bytes());
        bytes[12..14].copy_from_slice(&self.link.interface.to_ne_bytes());
        Some(bytes)
    }

    /// The key in 40 bytes, the last two zero: what is hashed of one of IPv6, and what cards and cookies hold.
    pub fn octets(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(self.local.octets());
        bytes[16..32].copy_from_slice(self.remote.octets());
        bytes[32..34].copy_from_slice(&self.local_port.to_ne_bytes());
        bytes[34..36].copy_from_slice(&self.remote_port.to_ne_bytes());
        bytes[36..38].copy_from_slice(&self.link.interface.to_ne_bytes());
        bytes
    }
}

const _: () = assert!(size_of::<FlowKey>() == 38);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_come_back_as_they_went_in() {
        for text in ["10.1.2.3", "fd00::1", "::", "0.0.0.0", "::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Address::from(ip).ip(), ip);
        }
    }
}
