//! What the tests over IPv6 have of their own: addresses, sizes, names, headers.

use crate::common::Netns;
use crate::frame::{Builder, IP, TRANSPORT, checksum};

/// The address that Ringway serves; the kernel of the server side does not own it unless the test asks for that.
pub(crate) const SERVER: &str = "fd00::2";
/// The same with its prefix.
pub(crate) const SERVER_CIDR: &str = "fd00::2/64";
/// The kernel's address on the client side.
pub(crate) const CLIENT: &str = "fd00::1";
/// The same with its prefix.
pub(crate) const CLIENT_CIDR: &str = "fd00::1/64";
/// An address of that network that is still free, with its prefix.
pub(crate) const FREE_CIDR: &str = "fd00::9/64";
/// Another, at which nobody answers.
pub(crate) const SILENT: &str = "fd00::77";
/// A host behind a router, and the router's address on that network.
pub(crate) const FAR: &str = "fd09::2";
pub(crate) const FAR_CIDR: &str = "fd09::2/64";
pub(crate) const FAR_ROUTER: &str = "fd09::1";
pub(crate) const FAR_ROUTER_CIDR: &str = "fd09::1/64";
pub(crate) const FAR_NETWORK: &str = "fd09::/64";
/// Any address of the own.
pub(crate) const ANY: &str = "::";

/// The largest UDP payload, or data of a ping, that fits one frame.
pub(crate) const DATAGRAM_MAX: usize = 1452;
/// The losses, in percent, at which the streams of `integrity` are compared: what repairs them does not see the family.
pub(crate) const LOSSES: &[&str] = &["1%"];
/// Connections one after another.
pub(crate) const IN_SEQUENCE: usize = 5000;

/// The counter of Ringway that grows when somebody asks for its Ethernet address.
pub(crate) const WHO_HAS_ANSWERS: &str = "nd_advertisements";
/// nft's name of the family.
pub(crate) const NFT: &str = "ip6";
/// How the kernel's counters of marks begin.
pub(crate) const KERNEL_COUNTS: &str = "Ip6";

/// Before an end of the pair is up: no traffic but the test's, and addresses that can be used at once.
pub(crate) fn quiet(side: &Netns, interface: &str) {
    for setting in ["accept_dad", "accept_ra", "router_solicitations"] {
        for interface in ["all", interface] {
            side.run("sysctl", &["-qw", &format!("net.ipv6.conf.{interface}.{setting}=0")]);
        }
    }
}

/// Length of the header.
pub(crate) const HEADER_LEN: usize = 40;
/// Where the destination stands in it.
pub(crate) const TARGET_AT: usize = 24;
/// Its EtherType.
pub(crate) const ETHERTYPE: u16 = 0x86dd;
/// The protocol number of ICMP, and its type of a ping.
pub(crate) const ICMP: u8 = 58;
pub(crate) const PING: u8 = 128;

/// A packet from the client to the server, all fields right.
pub(crate) fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    [&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[protocol, 64], &octets(CLIENT), &octets(SERVER), payload].concat()
}

/// The header has no sum.
pub(crate) fn seal_header(_: &mut [u8]) {}

/// What the checksum of a segment from the client covers beside it.
pub(crate) fn pseudo_header(protocol: u8, len: usize) -> Vec<u8> {
    [&octets(CLIENT)[..], &octets(SERVER), &(len as u32).to_be_bytes(), &[0, 0, 0, protocol]].concat()
}

/// The same of an ICMP message.
pub(crate) fn icmp_pseudo_header(len: usize) -> Vec<u8> {
    pseudo_header(ICMP, len)
}

pub(crate) fn octets(address: &str) -> [u8; 16] {
    address.parse::<std::net::Ipv6Addr>().expect("an address").octets()
}

/// Frames with something wrong in the header, and what they are counted as.
pub(crate) fn wrong_headers(build: &Builder) -> Vec<(&'static str, Vec<u8>)> {
    let udp = || build.udp(40_000, 7, b"datagram");
    let changed = |at: usize, bytes: &[u8]| {
        let mut frame = udp();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    // The sum is that of another address: what is wrong is found before.
    let from = |address: &str| changed(IP + 8, &octets(address));
    let mut no_sum = udp();
    no_sum[TRANSPORT + 6..TRANSPORT + 8].fill(0);
    // Right over IPv4, where nothing but the message is summed.
    let mut echo = [PING, 0, 0, 0, 0, 1, 0, 1];
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum.to_be_bytes());
    vec![
        ("ipv6_header_malformed", changed(IP, &[0x40])),
        ("ipv6_length_lies", changed(IP + 4, &[0xff, 0xff])),
        ("ipv6_source_invalid", from("::1")),
        ("ipv6_source_invalid", from("ff02::1")),
        ("ipv6_source_invalid", from("::")),
        ("ipv6_source_invalid", from(SERVER)),
        // RFC 8200 8.1: over IPv6 a datagram has a checksum.
        ("udp_checksum", no_sum),
        ("icmp_checksum", build.ip(ICMP, &echo)),
    ]
}
