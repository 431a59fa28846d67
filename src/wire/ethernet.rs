//! The Ethernet header and its 802.1Q tag.

use std::fmt;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations (RFC 894).
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// True for broadcast and multicast: the lowest bit of the first byte.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;

/// The parsed header. `vlan` is the 12-bit id of an 802.1Q tag, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub target: Mac,
    /// Source address.
    pub source: Mac,
    /// VLAN id, 0 to 4095.
    pub vlan: Option<u16>,
    /// EtherType of what follows the header and the tag.
    pub ethertype: u16,
}

impl Ethernet {
    /// Length in bytes: 14, or 18 with a tag.
    pub const fn header_len(&self) -> usize {
        if self.vlan.is_some() { 18 } else { 14 }
    }
}
