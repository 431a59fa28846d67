//! What the tests over IPv4 have of their own: addresses, sizes, names, headers.

use crate::common::Netns;
use crate::frame::{Builder, IP, checksum, seal};

/// The address that Ringway serves; the kernel of the server side does not own it unless the test asks for that.
pub(crate) const SERVER: &str = "10.0.0.2";
/// The same with its prefix.
pub(crate) const SERVER_CIDR: &str = "10.0.0.2/24";
/// The kernel's address on the client side.
pub(crate) const CLIENT: &str = "10.0.0.1";
/// The same with its prefix.
pub(crate) const CLIENT_CIDR: &str = "10.0.0.1/24";
/// An address of that network that is still free, with its prefix.
pub(crate) const FREE_CIDR: &str = "10.0.0.9/24";
/// Another, at which nobody answers.
pub(crate) const SILENT: &str = "10.0.0.77";
/// A host behind a router, and the router's address on that network.
pub(crate) const FAR: &str = "10.0.9.2";
pub(crate) const FAR_CIDR: &str = "10.0.9.2/24";
pub(crate) const FAR_ROUTER: &str = "10.0.9.1";
pub(crate) const FAR_ROUTER_CIDR: &str = "10.0.9.1/24";
pub(crate) const FAR_NETWORK: &str = "10.0.9.0/24";
/// Any address of the own.
pub(crate) const ANY: &str = "0.0.0.0";

/// The largest UDP payload, or data of a ping, that fits one frame.
pub(crate) const DATAGRAM_MAX: usize = 1472;
/// The losses, in percent, at which the streams of `integrity` are compared.
pub(crate) const LOSSES: &[&str] = &["0%", "0.1%", "1%", "5%"];
/// Connections one after another.
pub(crate) const IN_SEQUENCE: usize = 20_000;

/// The counter of Ringway that grows when somebody asks for its Ethernet address.
pub(crate) const WHO_HAS_ANSWERS: &str = "arp_replies";
/// nft's name of the family.
pub(crate) const NFT: &str = "ip";
/// How the kernel's counters of marks begin.
pub(crate) const KERNEL_COUNTS: &str = "IpExt";

/// Before an end of the pair is up: no traffic but the test's.
pub(crate) fn quiet(side: &Netns, _: &str) {
    side.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
}

/// Length of the header.
pub(crate) const HEADER_LEN: usize = 20;
/// Where the destination stands in it.
pub(crate) const TARGET_AT: usize = 16;
/// Its EtherType.
pub(crate) const ETHERTYPE: u16 = 0x0800;
/// The protocol number of ICMP, and its type of a ping.
pub(crate) const ICMP: u8 = 1;
pub(crate) const PING: u8 = 8;

/// A packet from the client to the server, all fields right.
pub(crate) fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (HEADER_LEN + payload.len()) as u16;
    let mut header = [&[0x45, 0][..], &len.to_be_bytes(), &[0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]].concat();
    header.extend_from_slice(&octets(CLIENT));
    header.extend_from_slice(&octets(SERVER));
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header[..], payload].concat()
}

/// Builds the sum of the header anew after a change of it.
pub(crate) fn seal_header(header: &mut [u8]) {
    header[10..12].fill(0);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// What the checksum of a segment from the client covers beside it.
pub(crate) fn pseudo_header(protocol: u8, len: usize) -> Vec<u8> {
    [&octets(CLIENT)[..], &octets(SERVER), &[0, protocol], &(len as u16).to_be_bytes()].concat()
}

/// The same of an ICMP message: nothing.
pub(crate) fn icmp_pseudo_header(_: usize) -> Vec<u8> {
    Vec::new()
}

pub(crate) fn octets(address: &str) -> [u8; 4] {
    address.parse::<std::net::Ipv4Addr>().expect("an address").octets()
}

/// Frames with something wrong in the header, and what they are counted as.
pub(crate) fn wrong_headers(build: &Builder) -> Vec<(&'static str, Vec<u8>)> {
    let udp = || build.udp(40_000, 7, b"datagram");
    let changed = |at: usize, bytes: &[u8]| {
        let mut frame = udp();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut frame);
        frame
    };
    let from = |octets: [u8; 4]| changed(IP + 12, &octets);
    // Not the last fragment, and of a length that is no multiple of eight.
    let mut odd = build.ping(b"ping");
    odd[IP + 6] = 0x20;
    seal(&mut odd);
    let mut sum = udp();
    sum[IP + 10..IP + 12].copy_from_slice(&[0x12, 0x34]);
    vec![
        ("ipv4_header_malformed", changed(IP, &[0x65])),
        ("ipv4_header_malformed", changed(IP, &[0x44])),
        ("ipv4_truncated", changed(IP, &[0x4f])),
        ("ipv4_length_lies", changed(IP + 2, &[0, 19])),
        ("ipv4_length_lies", changed(IP + 2, &[0xff, 0xff])),
        ("ipv4_checksum", sum),
        ("ipv4_fragment_malformed", odd),
        ("ipv4_fragment_malformed", changed(IP + 6, &[0x1f, 0xff])),
        ("ipv4_source_invalid", from([127, 0, 0, 1])),
        ("ipv4_source_invalid", from([224, 0, 0, 1])),
        ("ipv4_source_invalid", from([255, 255, 255, 255])),
        ("ipv4_source_invalid", from([0, 0, 0, 0])),
        ("ipv4_source_invalid", from([10, 0, 0, 2])),
        ("ipv4_source_invalid", from([10, 0, 0, 255])),
    ]
}
