//! Packets made up of records: their headers, as they were on the wire; the payload was not kept.
//!
//! Called by the writer of files. The Ethernet addresses are made up, and so are timestamps but those of a SYN, which the recorder does not keep. Cannot panic.

use super::file::Recorded;
use crate::demux::Address;
use crate::recorder::Kind;
use crate::tcp::seq::SeqNum;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Mac};
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tcp::{self, Flags, Header};
use crate::wire::udp;
use crate::wire::vlan::Vlan;

/// True for what came.
pub(super) fn is_received(record: &Recorded<'_>) -> bool {
    record.kind == Kind::Received.name() || record.kind == Kind::DatagramReceived.name()
}

/// The headers of a record's packet and the length of all of it; `None` for a record that is of no packet.
pub(super) fn of(record: &Recorded<'_>) -> Option<(Vec<u8>, usize)> {
    let (source, target) = match is_received(record) {
        true => (record.remote, record.local),
        false => (record.local, record.remote),
    };
    let (from, to) = (Address::from(source.ip()), Address::from(target.ip()));
    let header = record.segment.map(|fields| Header {
        source_port: source.port(),
        target_port: target.port(),
        seq: SeqNum(fields.seq),
        ack: SeqNum(fields.ack),
        flags: Flags(fields.flags),
        window: fields.window,
        urgent: 0,
        options: record.options(),
    });
    let is_datagram = record.kind == Kind::DatagramReceived.name() || record.kind == Kind::DatagramSent.name();
    let (protocol, header_len) = match &header {
        Some(header) => (PROTOCOL_TCP, tcp::header_len(&header.options)),
        None if is_datagram => (PROTOCOL_UDP, udp::HEADER_LEN),
        None => return None,
    };
    let len = usize::from(record.len);
    let mut bytes = vec![0; ethernet::HEADER_LEN + ipv6::HEADER_LEN + header_len + len];
    let ethertype = if from.v4().is_some() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let (ours, theirs) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let (source_mac, target_mac) = if is_received(record) { (theirs, ours) } else { (ours, theirs) };
    let at = ethernet::emit(&mut bytes, &Ethernet { target: target_mac, source: source_mac, vlan: Vlan::NONE, ethertype });
    let at = at
        + match (from.v4(), to.v4()) {
            (Some(from), Some(to)) => ipv4::emit(bytes.get_mut(at..)?, &Ipv4::outgoing(from, to, protocol, header_len + len)),
            _ => {
                let (from, to) = ((*from.octets()).into(), (*to.octets()).into());
                ipv6::emit(bytes.get_mut(at..)?, &Ipv6::outgoing(from, to, protocol, header_len + len))
            }
        };
    bytes.truncate(at + header_len + len);
    let pseudo = PseudoHeader { source: from, target: to, protocol };
    match &header {
        Some(header) => tcp::emit(bytes.get_mut(at..)?, header, len, &pseudo),
        None => udp::emit(bytes.get_mut(at..)?, source.port(), target.port(), &pseudo),
    };
    let length = bytes.len();
    bytes.truncate(at + header_len);
    Some((bytes, length))
}

#[cfg(test)]
mod tests {
    use super::super::file::Fields;
    use super::*;

    #[test]
    fn headers_are_what_an_independent_parser_reads() {
        for (local, remote) in [("10.0.0.2:80", "10.0.0.1:4000"), ("[fd00::2]:80", "[fd00::1]:4000")] {
            for kind in [Kind::Received, Kind::Sent, Kind::DatagramReceived, Kind::DatagramSent] {
                let is_segment = matches!(kind, Kind::Received | Kind::Sent);
                let record = Recorded {
                    worker: 0,
                    number: 0,
                    unix_ns: 0,
                    interface: "veth0".into(),
                    kind: kind.name().into(),
                    local: local.parse().unwrap(),
                    remote: remote.parse().unwrap(),
                    len: 0,
                    segment: is_segment.then_some(Fields { flags: 0x12, seq: 7, ack: 8, window: 512 }),
                    effect: None,
                    terms: None,
                    sack: vec![[20, 30]],
                };
                let (bytes, length) = of(&record).unwrap();
                assert_eq!(bytes.len(), length);
                let packet = etherparse::PacketHeaders::from_ethernet_slice(&bytes).unwrap();
                let ports = match packet.transport.unwrap() {
                    etherparse::TransportHeader::Tcp(tcp) => {
                        assert_eq!((tcp.sequence_number, tcp.acknowledgment_number, tcp.syn, tcp.ack), (7, 8, true, true));
                        (tcp.source_port, tcp.destination_port)
                    }
                    etherparse::TransportHeader::Udp(udp) => (udp.source_port, udp.destination_port),
                    other => panic!("{other:?}"),
                };
                assert_eq!(ports, if is_received(&record) { (4000, 80) } else { (80, 4000) });
            }
        }
    }

    #[test]
    fn a_change_is_no_packet() {
        let record = Recorded {
            worker: 0,
            number: 0,
            unix_ns: 0,
            interface: "".into(),
            kind: Kind::Changed.name().into(),
            local: "10.0.0.2:80".parse().unwrap(),
            remote: "[fd00::1]:4000".parse().unwrap(),
            len: 0,
            segment: None,
            effect: None,
            terms: None,
            sack: Vec::new(),
        };
        assert!(of(&record).is_none());
    }
}
