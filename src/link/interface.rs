//! An interface as the engine knows it: its addresses, and what of it is claimed.

use std::net::IpAddr;

use crate::wire::ethernet::Mac;

/// An address and the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Transport {
    /// The IP protocol number.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One claimed port on the kernel's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortClaim {
    /// The transport.
    pub transport: Transport,
    /// The port.
    pub port: u16,
}

/// What of an interface belongs to Ringway; everything else stays with the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Whole addresses that the kernel does not own: ARP, ICMP and all ports are Ringway's.
    Addresses(Vec<Cidr>),
    /// Ports on the kernel's own addresses: the kernel keeps ARP, ICMP and the other ports.
    Ports {
        /// The kernel's addresses on the interface.
        addresses: Vec<Cidr>,
        /// The claimed ports.
        ports: Vec<PortClaim>,
    },
}

/// An interface as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, `eth0`.
    pub name: String,
    /// Ethernet address.
    pub mac: Mac,
    /// Largest IP packet in bytes.
    pub mtu: usize,
    /// VLAN of the claim; `None` for untagged frames.
    pub vlan: Option<u16>,
    /// What is claimed.
    pub claim: Claim,
    /// Next hop for everything that is not on the networks of the addresses.
    pub gateway: Option<IpAddr>,
}
