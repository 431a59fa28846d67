//! Which frames are wanted: all, or those of an address or a port at either end.
//!
//! Asked by the engine for each frame while somebody captures. Looks at bytes that nobody has checked; cannot panic.

use crate::demux::Address;
use crate::tcp::seq::SeqNum;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::{ipv4, ipv6, udp};

/// What is wanted; what is `None` is anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Either end has this address.
    pub address: Option<Address>,
    /// Either end has this port, of TCP or UDP.
    pub port: Option<u16>,
}

impl Filter {
    /// True for a frame that is wanted.
    ///
    /// ```
    /// use ringway::capture::Filter;
    /// assert!(Filter::default().wants(&[0; 60]));
    /// assert!(!Filter { port: Some(80), ..Filter::default() }.wants(&[0; 60]));
    /// ```
    pub fn wants(&self, frame: &[u8]) -> bool {
        if self.address.is_none() && self.port.is_none() {
            return true;
        }
        let Some(ends) = Ends::of(frame) else { return false };
        let address = self.address.is_none_or(|wanted| ends.addresses.contains(&wanted));
        address && self.port.is_none_or(|wanted| ends.ports.is_some_and(|ports| ports.contains(&wanted)))
    }
}

/// An address and a port.
pub(crate) type End = (Address, u16);

/// What a frame says of where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    addresses: [Address; 2],
    /// Of TCP and UDP, in packets that are no later fragments.
    ports: Option<[u16; 2]>,
    /// Of TCP.
    seq: Option<SeqNum>,
    /// Bytes of payload, of UDP.
    datagram: Option<usize>,
}

impl Ends {
    /// `None` for what is not IP.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let ethernet = ethernet::parse(frame).ok()?;
        let packet = frame.get(ethernet.header_len()..)?;
        let (addresses, protocol, at) = match ethernet.ethertype {
            ETHERTYPE_IPV4 => {
                let header = ipv4::parse(packet).ok()?;
                let at = (header.fragment_offset == 0).then_some(header.header_len);
                ([header.source.into(), header.target.into()], header.protocol, at)
            }
            ETHERTYPE_IPV6 => {
                let header = ipv6::parse(packet).ok()?;
                // What stands behind extension headers is not looked for.
                ([header.source.into(), header.target.into()], header.next_header, Some(ipv6::HEADER_LEN))
            }
            _ => return None,
        };
        let transport = at.and_then(|at| packet.get(at..)).filter(|_| matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP));
        let ports = transport.and_then(|bytes| match bytes {
            &[a, b, c, d, ..] => Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]),
            _ => None,
        });
        let seq = transport.filter(|_| protocol == PROTOCOL_TCP).and_then(|bytes| bytes.get(4..8)?.try_into().ok());
        let seq = seq.map(|bytes| SeqNum(u32::from_be_bytes(bytes)));
        let len = transport.filter(|_| protocol == PROTOCOL_UDP).and_then(|bytes| bytes.get(4..6)?.try_into().ok());
        let datagram = len.map(|bytes| usize::from(u16::from_be_bytes(bytes)).saturating_sub(udp::HEADER_LEN));
        Some(Self { addresses, ports, seq, datagram })
    }

    /// Of a datagram: its source and its target, and the bytes of its payload.
    pub(crate) fn datagram(&self) -> Option<([End; 2], usize)> {
        let ([source, target], [from, to]) = (self.addresses, self.ports?);
        Some(([(source, from), (target, to)], self.datagram?))
    }

    /// True when a segment between these ends, with this number, is the one.
    pub(crate) fn is_segment(&self, from: End, to: End, seq: SeqNum) -> bool {
        self.addresses == [from.0, to.0] && self.ports == Some([from.1, to.1]) && self.seq == Some(seq)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use etherparse::PacketBuilder;

    use super::*;

    fn frame() -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(4000, 80, 77, 1000);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"abc").unwrap();
        bytes
    }

    fn address(last: u8) -> Address {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn a_frame_is_wanted_for_either_end() {
        for (filter, wanted) in [
            (Filter { address: Some(address(1)), port: None }, true),
            (Filter { address: Some(address(2)), port: Some(80) }, true),
            (Filter { address: Some(address(2)), port: Some(4000) }, true),
            (Filter { address: Some(address(3)), port: Some(80) }, false),
            (Filter { address: None, port: Some(81) }, false),
        ] {
            assert_eq!(filter.wants(&frame()), wanted, "{filter:?}");
        }
    }

    #[test]
    fn a_segment_is_known_by_its_number() {
        let ends = Ends::of(&frame()).unwrap();
        let (client, server) = ((address(1), 4000), (address(2), 80));
        assert!(ends.is_segment(client, server, SeqNum(77)));
        assert!(!ends.is_segment(client, server, SeqNum(78)) && !ends.is_segment(server, client, SeqNum(77)));
    }

    #[test]
    fn no_length_of_a_frame_panics() {
        for len in 0..frame().len() {
            let _ = Filter { address: None, port: Some(80) }.wants(&frame()[..len]);
        }
    }
}
