//! A datagram that passed every check: all that is needed to hand it over and to answer it in its frame.

use std::net::SocketAddr;
use std::ops::Range;

use super::Endpoints;
use crate::device::Drop;
use crate::link::groups::Groups;
use crate::link::packet::Packet;
use crate::service::EndpointId;
use crate::service::datagram::Meta;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::Ethernet;
use crate::wire::ipv4::{ECN_MASK, PROTOCOL_UDP};
use crate::wire::udp;

/// A checked datagram in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The Ethernet header it came with.
    pub ethernet: Ethernet,
    /// Offset of the IP header in the frame, in bytes.
    pub ip_at: usize,
    /// The IP header has no options and nothing lies behind the datagram in its packet, so both headers serve a reply as they are.
    pub plain: bool,
    /// Offset of the payload in the frame, in bytes.
    pub payload_at: usize,
    /// Length of the payload in bytes.
    pub payload_len: usize,
    /// Source, destination, endpoint.
    pub meta: Meta,
}

impl Received {
    /// Checks length, checksum and ports, and finds the endpoint. `interface` is the position of the interface, and `groups` are its own.
    ///
    /// # Errors
    /// The check that failed; [`Drop::UdpPortClosed`] when nobody has the port.
    #[inline(always)]
    pub fn check(bytes: &[u8], packet: &Packet, endpoints: &Endpoints, interface: u16, groups: &Groups) -> Result<Self, Drop> {
        let Range { start, end } = packet.payload();
        let pseudo = PseudoHeader { source: packet.source, target: packet.target, protocol: PROTOCOL_UDP };
        let header = udp::parse(bytes.get(start..end).ok_or(Drop::UdpTruncated)?, &pseudo)?;
        if packet.to_many {
            groups.check(packet.target.ip(), header.target_port, packet.source.ip())?;
        }
        let endpoint = endpoints.find(packet.target, header.target_port).ok_or(Drop::UdpPortClosed)?;
        if !endpoints.at(endpoint).is_some_and(|endpoint| endpoint.hears((packet.source, header.source_port))) {
            return Err(Drop::UdpNotConnected);
        }
        let meta = Meta {
            endpoint: EndpointId(endpoint),
            local: SocketAddr::new(packet.target.ip(), header.target_port),
            remote: SocketAddr::new(packet.source.ip(), header.source_port),
            to_many: packet.to_many,
            interface,
            ecn: packet.dscp_ecn & ECN_MASK,
        };
        Ok(Self {
            ethernet: packet.ethernet,
            ip_at: packet.ip_at,
            plain: packet.plain && header.len == end - start,
            payload_at: start + udp::HEADER_LEN,
            payload_len: header.len - udp::HEADER_LEN,
            meta,
        })
    }

    /// Length of the frame up to the end of the payload, in bytes: link padding left out.
    pub const fn frame_len(&self) -> usize {
        self.payload_at + self.payload_len
    }

    /// Length of the packet from its IP header up to the end of the payload, in bytes.
    #[inline]
    pub const fn packet_len(&self) -> usize {
        self.frame_len() - self.ip_at
    }

    /// True when an answer of `len` bytes, written or not, can go back under the headers that are there, swapped.
    pub const fn can_swap(&self, len: usize, written: bool) -> bool {
        !written && len == self.payload_len && self.plain && !self.meta.to_many
    }
}
