//! Frames from the client to the server, all fields right until a row changes one.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder};

use crate::frame::checksum;
pub(super) use crate::world::CLIENT;
use crate::world::{SERVER, World};

/// The server's address of IPv6.
pub(super) const SERVER_V6: &str = "fd00::2";
/// The same with its prefix.
pub(super) const SERVER_V6_CIDR: &str = "fd00::2/64";
/// The client's.
pub(super) const CLIENT_V6: &str = "fd00::1";

/// Offset of the IP header.
pub(super) const IP: usize = 14;
/// Offset of what follows an IPv4 header without options.
pub(super) const BEHIND_4: usize = IP + 20;
/// Offset of what follows an IPv6 header.
pub(super) const BEHIND_6: usize = IP + 40;

/// The two stations.
pub(super) struct Build {
    server: [u8; 6],
    client: [u8; 6],
}

impl Build {
    pub(super) fn new(world: &World) -> Self {
        Self { server: world.server_mac(), client: world.client_mac() }
    }

    pub(super) fn server_mac(&self) -> String {
        shown(self.server)
    }

    pub(super) fn client_mac(&self) -> String {
        shown(self.client)
    }

    pub(super) const fn client(&self) -> [u8; 6] {
        self.client
    }

    /// A frame of any kind to the server, or to all.
    pub(super) fn ethernet(&self, target: Option<[u8; 6]>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&target.unwrap_or(self.server)[..], &self.client, &ethertype.to_be_bytes(), payload].concat()
    }

    /// A packet of IPv4 with a payload of any protocol.
    pub(super) fn ip4(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut header =
            Ipv4Header::new(payload.len() as u16, 64, IpNumber(protocol), v4(CLIENT), v4(SERVER)).expect("short enough");
        header.header_checksum = header.calc_header_checksum();
        self.ethernet(None, 0x0800, &[&header.to_bytes()[..], payload].concat())
    }

    /// A packet of IPv6 with a payload of any protocol.
    pub(super) fn ip6(&self, next_header: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            traffic_class: 0,
            flow_label: Ipv6FlowLabel::ZERO,
            payload_length: payload.len() as u16,
            next_header: IpNumber(next_header),
            hop_limit: 64,
            source: v6(CLIENT_V6),
            destination: v6(SERVER_V6),
        };
        self.ethernet(None, 0x86dd, &[&header.to_bytes()[..], payload].concat())
    }

    /// A datagram to the echo service over IPv4.
    pub(super) fn udp4(&self, source: u16, target: u16) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.client, self.server).ipv4(v4(CLIENT), v4(SERVER), 64);
        written(|frame| builder.udp(source, target).write(frame, b"datagram"))
    }

    /// The same over IPv6.
    pub(super) fn udp6(&self, source: u16, target: u16) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.client, self.server).ipv6(v6(CLIENT_V6), v6(SERVER_V6), 64);
        written(|frame| builder.udp(source, target).write(frame, b"datagram"))
    }

    /// A segment over IPv4 with no flag but those of `flags` (SYN 2, RST 4, ACK 16).
    pub(super) fn tcp4(&self, source: u16, target: u16, flags: u8) -> Vec<u8> {
        let mut builder =
            PacketBuilder::ethernet2(self.client, self.server).ipv4(v4(CLIENT), v4(SERVER), 64).tcp(source, target, 7, 1024);
        if flags & 2 != 0 {
            builder = builder.syn();
        }
        if flags & 4 != 0 {
            builder = builder.rst();
        }
        if flags & 16 != 0 {
            builder = builder.ack(1);
        }
        written(|frame| builder.write(frame, b""))
    }

    /// A ping over IPv4; its number comes back.
    pub(super) fn ping(&self, number: u16) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.client, self.server).ipv4(v4(CLIENT), v4(SERVER), 64);
        written(|frame| builder.icmpv4_echo_request(0x5151, number).write(frame, b"marker"))
    }

    /// An ICMP message over IPv4; its sum is made here.
    pub(super) fn icmp4(&self, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ip4(1, &message)
    }

    /// An ICMPv6 message; its sum is made here.
    pub(super) fn icmp6(&self, message: &[u8]) -> Vec<u8> {
        seal_icmp6(self.ip6(58, message))
    }

    /// An ARP packet (RFC 826): operation, then the Ethernet and IPv4 addresses of sender and target.
    pub(super) fn arp(&self, operation: u8, sender: (&[u8; 6], &str), target: &str) -> Vec<u8> {
        let head = [0, 1, 8, 0, 6, 4, 0, operation];
        let packet = [&head[..], sender.0, &v4(sender.1), &[0; 6], &v4(target)].concat();
        self.ethernet(Some([0xff; 6]), 0x0806, &packet)
    }
}

/// A frame with some bytes changed.
pub(super) fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The same, and the sum of the IPv4 header made right again; a header of more than 5 words has its options summed too.
pub(super) fn with_ip4(frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = with(frame, at, bytes);
    let end = (IP + 4 * usize::from(frame[IP] & 15).max(5)).min(frame.len());
    frame[IP + 10..IP + 12].fill(0);
    let sum = checksum(&frame[IP..end]);
    with(frame, IP + 10, &sum.to_be_bytes())
}

/// An ICMPv6 message whose sum is made right again.
pub(super) fn seal_icmp6(mut frame: Vec<u8>) -> Vec<u8> {
    let message = BEHIND_6..frame.len();
    frame[BEHIND_6 + 2..BEHIND_6 + 4].fill(0);
    let len = (message.len() as u32).to_be_bytes();
    let sum = checksum(&[&frame[IP + 8..IP + 40], &len, &[0, 0, 0, 58], &frame[message]].concat());
    with(frame, BEHIND_6 + 2, &sum.to_be_bytes())
}

pub(super) fn v4(address: &str) -> [u8; 4] {
    address.parse::<Ipv4Addr>().expect("an address").octets()
}

pub(super) fn v6(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().expect("an address").octets()
}

fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).expect("a vector takes all");
    frame
}

fn shown(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
