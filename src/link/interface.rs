//! An interface as the engine knows it: its addresses, and what of it is claimed.
//!
//! Made at set-up from the command line and netlink, read by the engine and the rest of this folder. Plain values: nothing here asks the
//! system, and nothing panics.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::groups::Groups;
use super::routes::Routes;
use crate::error::SetupError;
use crate::wire::ethernet::Mac;
use crate::wire::vlan::Vlan;

/// An address and the length of its network prefix.
///
/// ```
/// use ringway::link::interface::Cidr;
/// let cidr: Cidr = "10.0.0.2/24".parse()?;
/// assert!(cidr.contains("10.0.0.77".parse().unwrap()));
/// assert_eq!(cidr.broadcast(), Some("10.0.0.255".parse().unwrap()));
/// assert!("10.0.0.2".parse::<Cidr>().is_err());
/// # Ok::<(), ringway::error::SetupError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl Cidr {
    /// True when `ip` is of the same family and network.
    #[inline]
    pub const fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(ours), IpAddr::V4(ip)) => (ours.to_bits() ^ ip.to_bits()) & mask_v4(self.prefix) == 0,
            (IpAddr::V6(ours), IpAddr::V6(ip)) => (ours.to_bits() ^ ip.to_bits()) & mask_v6(self.prefix) == 0,
            _ => false,
        }
    }

    /// The address of the network: that of the host with all bits behind the prefix 0.
    pub const fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(ours) => IpAddr::V4(Ipv4Addr::from_bits(ours.to_bits() & mask_v4(self.prefix))),
            IpAddr::V6(ours) => IpAddr::V6(Ipv6Addr::from_bits(ours.to_bits() & mask_v6(self.prefix))),
        }
    }

    /// The broadcast address of the network: all bits behind the prefix 1. IPv6 has none, and neither have networks of one or two
    /// addresses (RFC 3021).
    #[inline]
    pub const fn broadcast(&self) -> Option<IpAddr> {
        match self.address {
            IpAddr::V4(ours) if self.prefix <= 30 => {
                Some(IpAddr::V4(Ipv4Addr::from_bits(ours.to_bits() | !mask_v4(self.prefix))))
            }
            _ => None,
        }
    }
}

impl FromStr for Cidr {
    type Err = SetupError;

    /// Reads `ADDR/PREFIX`.
    fn from_str(text: &str) -> Result<Self, SetupError> {
        let what = format!("`{text}` is not an address of the form ADDR/PREFIX");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            let why = format!("`{address}` is neither an IPv4 nor an IPv6 address");
            return Err(SetupError::usage(what, why).mend("-a 10.0.0.2/24, or -a fd00::2/64"));
        };
        let (most, usual) = if address.is_ipv4() { (32, 24) } else { (128, 64) };
        let mend = format!("-a {address}/{usual}");
        let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) else {
            return Err(SetupError::usage(what, "PREFIX, the length of the network prefix, is missing").mend(mend));
        };
        match prefix.parse::<u8>() {
            Ok(bits) if bits <= most && prefix.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self { address, prefix: bits }),
            _ => Err(SetupError::usage(what, format!("the prefix `{prefix}` is not a number from 0 to {most}")).mend(mend)),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An address that is claimed whole, and the VLAN it is claimed in.
///
/// ```
/// use ringway::link::interface::AddressClaim;
/// use ringway::wire::vlan::{Tag, Vlan};
/// let claim: AddressClaim = "10.0.0.2/24@100".parse()?;
/// assert_eq!(claim.vlan, Vlan::tagged(Tag::c(100)));
/// assert_eq!(claim.to_string(), "10.0.0.2/24@100");
/// # Ok::<(), ringway::error::SetupError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressClaim {
    /// The address.
    pub cidr: Cidr,
    /// The tags of its frames; without `@VLAN` there are none.
    pub vlan: Vlan,
}

/// An address in frames without a tag.
impl From<Cidr> for AddressClaim {
    fn from(cidr: Cidr) -> Self {
        Self { cidr, vlan: Vlan::NONE }
    }
}

impl FromStr for AddressClaim {
    type Err = SetupError;

    /// Reads `ADDR/PREFIX[@VLAN]`.
    fn from_str(text: &str) -> Result<Self, SetupError> {
        match text.split_once('@') {
            None => text.parse().map(Cidr::into),
            Some((cidr, vlan)) => Ok(Self { cidr: cidr.parse()?, vlan: vlan.parse()? }),
        }
    }
}

impl fmt::Display for AddressClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.cidr, self.vlan.suffix())
    }
}

/// The bits of a prefix; all of them when it is longer than an address.
const fn mask_v4(prefix: u8) -> u32 {
    if prefix >= 32 { u32::MAX } else { !(u32::MAX >> prefix) }
}

const fn mask_v6(prefix: u8) -> u128 {
    if prefix >= 128 { u128::MAX } else { !(u128::MAX >> prefix) }
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

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
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

impl FromStr for PortClaim {
    type Err = SetupError;

    /// Reads `tcp:80`.
    fn from_str(text: &str) -> Result<Self, SetupError> {
        let bad = |why: &str| SetupError::usage(format!("cannot read the claim '{text}'"), why);
        let (transport, port) =
            text.split_once(':').ok_or_else(|| bad("a claim is tcp:PORT or udp:PORT").mend("tcp:80,udp:53"))?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(bad("the transport is tcp or udp").mend(format!("tcp:{port}"))),
        };
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self { transport, port }),
            _ => Err(bad("the port is a number between 1 and 65535").mend(format!("{transport}:80"))),
        }
    }
}

impl fmt::Display for PortClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.port)
    }
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

impl Claim {
    /// The addresses the claim is about, claimed whole or not.
    #[inline]
    pub fn addresses(&self) -> &[Cidr] {
        match self {
            Self::Addresses(addresses) | Self::Ports { addresses, .. } => addresses,
        }
    }
}

/// An interface as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name of the kernel's interface, `eth0`.
    pub name: String,
    /// Ethernet address.
    pub mac: Mac,
    /// Largest IP packet in bytes.
    pub mtu: usize,
    /// The tags of its frames: an interface of the kernel may be several here, one for each VLAN.
    pub vlan: Vlan,
    /// What is claimed.
    pub claim: Claim,
    /// The ways off its networks.
    pub routes: Routes,
    /// Those of its addresses that may not be used: not found free yet, or another station's ([`super::dad`]).
    pub withheld: Vec<IpAddr>,
    /// The groups whose datagrams are taken.
    pub groups: Groups,
}

impl Interface {
    /// The addresses of the interface that Ringway sends from: claimed whole, or the kernel's in a port claim.
    #[inline]
    pub fn addresses(&self) -> &[Cidr] {
        self.claim.addresses()
    }

    /// The addresses that may be used.
    #[inline]
    pub fn usable(&self) -> impl Iterator<Item = &Cidr> {
        self.addresses().iter().filter(|cidr| !self.withheld.contains(&cidr.address))
    }

    /// True when `ip` is one of [`Interface::usable`].
    #[inline]
    pub fn owns(&self, ip: IpAddr) -> bool {
        self.addresses().iter().any(|cidr| cidr.address == ip) && !self.withheld.contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for text in ["10.0.0.2/24", "0.0.0.0/0", "255.255.255.255/32", "fd00::2/64", "::/0", "::1/128"] {
            assert_eq!(cidr(text).to_string(), text);
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_to_write() {
        for (text, why, mend) in [
            ("10.0.0.2", "PREFIX, the length of the network prefix, is missing", "-a 10.0.0.2/24"),
            ("10.0.0.2/", "PREFIX, the length of the network prefix, is missing", "-a 10.0.0.2/24"),
            ("fd00::2", "PREFIX, the length of the network prefix, is missing", "-a fd00::2/64"),
            ("10.0.0.2/33", "the prefix `33` is not a number from 0 to 32", "-a 10.0.0.2/24"),
            ("10.0.0.2/+8", "the prefix `+8` is not a number from 0 to 32", "-a 10.0.0.2/24"),
            ("fd00::2/129", "the prefix `129` is not a number from 0 to 128", "-a fd00::2/64"),
            ("10.0.0.2/255.0.0.0", "the prefix `255.0.0.0` is not a number from 0 to 32", "-a 10.0.0.2/24"),
            ("10.0.2/24", "`10.0.2` is neither an IPv4 nor an IPv6 address", "-a 10.0.0.2/24, or -a fd00::2/64"),
            ("", "`` is neither an IPv4 nor an IPv6 address", "-a 10.0.0.2/24, or -a fd00::2/64"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert_eq!((error.why(), error.remedy(), error.exit_code()), (why, Some(mend), 2), "{text}");
        }
    }

    #[test]
    fn a_network_ends_where_its_prefix_says() {
        for (network, inside, outside) in [
            ("10.0.0.2/24", "10.0.0.255", "10.0.1.0"),
            ("10.0.0.2/31", "10.0.0.3", "10.0.0.4"),
            ("10.0.0.2/32", "10.0.0.2", "10.0.0.3"),
            ("128.0.0.1/1", "255.0.0.1", "127.255.255.255"),
            ("fd00::2/64", "fd00::ffff:0:0:1", "fd00:0:0:1::"),
            ("fd00::2/128", "fd00::2", "fd00::3"),
        ] {
            assert!(cidr(network).contains(ip(inside)), "{network} {inside}");
            assert!(!cidr(network).contains(ip(outside)), "{network} {outside}");
        }
        assert!(cidr("10.0.0.2/0").contains(ip("203.0.113.9")) && cidr("::1/0").contains(ip("fd00::1")));
        assert!(!cidr("10.0.0.2/0").contains(ip("::1")) && !cidr("::/0").contains(ip("10.0.0.1")));
    }

    #[test]
    fn network_and_broadcast_are_the_ends_of_the_network() {
        for (network, first, last) in [
            ("10.1.2.3/24", "10.1.2.0", Some("10.1.2.255")),
            ("10.1.2.3/30", "10.1.2.0", Some("10.1.2.3")),
            ("10.1.2.3/31", "10.1.2.2", None),
            ("10.1.2.3/32", "10.1.2.3", None),
            ("10.1.2.3/0", "0.0.0.0", Some("255.255.255.255")),
            ("fd00::abcd/112", "fd00::", None),
        ] {
            assert_eq!(cidr(network).network(), ip(first));
            assert_eq!(cidr(network).broadcast(), last.map(ip));
        }
    }

    #[test]
    fn a_prefix_beyond_the_address_is_the_whole_address() {
        let odd = Cidr { address: ip("10.0.0.2"), prefix: 200 };
        assert!(odd.contains(ip("10.0.0.2")) && !odd.contains(ip("10.0.0.3")));
        let odd = Cidr { address: ip("fd00::2"), prefix: 200 };
        assert!(odd.contains(ip("fd00::2")) && !odd.contains(ip("fd00::3")));
    }

    #[test]
    fn claims_name_a_transport_and_a_port() {
        for good in ["tcp:80", "udp:53", "udp:65535"] {
            assert_eq!(good.parse::<PortClaim>().unwrap().to_string(), good);
        }
        let errors: Vec<_> = ["80", "tcp", "tcp:", "tcp:0", "tcp:65536", "sctp:80", ""]
            .map(|bad| bad.parse::<PortClaim>().unwrap_err().to_string())
            .into();
        insta::assert_snapshot!(errors.join("\n"));
    }
}
