use etherparse::{Icmpv6Slice, Icmpv6Type};
use proptest::prelude::*;

use super::*;
use crate::wire::ipv6::{Ipv6, NEXT_HEADER_DESTINATION, NEXT_HEADER_FRAGMENT, NEXT_HEADER_ICMPV6};

const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

fn pseudo(source: Ipv6Addr, target: Ipv6Addr) -> PseudoHeader {
    PseudoHeader { source: source.into(), target: target.into(), protocol: NEXT_HEADER_ICMPV6 }
}

fn message(icmp_type: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0; HEADER_LEN], payload].concat();
    assert_eq!(emit(&mut bytes, icmp_type, code, rest, &pseudo(PEER, OURS)), bytes.len());
    bytes
}

/// A packet of ours with these bytes behind its header.
fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    ipv6::emit(&mut bytes, &Ipv6::outgoing(OURS, PEER, next_header, payload.len()));
    bytes.extend(payload);
    bytes
}

#[test]
fn a_message_cut_in_its_header_is_truncated_and_behind_it_has_a_wrong_sum() {
    let bytes = message(ECHO_REQUEST, 0, [1, 2, 3, 4], b"data");
    for cut in 0..bytes.len() {
        let why = if cut < HEADER_LEN { Drop::IcmpTruncated } else { Drop::IcmpChecksum };
        assert_eq!(parse(&bytes[..cut], &pseudo(PEER, OURS)), Err(why), "cut at {cut}");
    }
    let expected = Icmp { icmp_type: 128, code: 0, rest: [1, 2, 3, 4], payload_len: 4 };
    assert_eq!(parse(&bytes, &pseudo(PEER, OURS)), Ok(expected));
}

#[test]
fn every_wrong_bit_and_address_is_found() {
    let good = message(ECHO_REQUEST, 0, [1, 2, 3, 4], b"odd");
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse(&bytes, &pseudo(PEER, OURS)), Err(Drop::IcmpChecksum), "bit {bit}");
    }
    assert_eq!(parse(&good, &pseudo(PEER, Ipv6Addr::LOCALHOST)), Err(Drop::IcmpChecksum));
    let mut unfilled = good;
    let sum = checksum::fold(pseudo(PEER, OURS).sum(unfilled.len()));
    unfilled[2..4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(parse(&unfilled, &pseudo(PEER, OURS)), Err(Drop::ChecksumUnfilled));
}

#[test]
fn only_packet_too_big_tells_an_mtu() {
    let read = |icmp_type, code| parse(&message(icmp_type, code, [0, 1, 5, 0], b""), &pseudo(PEER, OURS)).unwrap();
    assert_eq!(read(PACKET_TOO_BIG, 0).next_hop_mtu(), Some(0x1_0500));
    assert_eq!(read(UNREACHABLE, 0).next_hop_mtu(), None);
    assert!(read(UNREACHABLE, CODE_PORT).is_hard() && read(PARAMETER_PROBLEM, CODE_NEXT_HEADER).is_hard());
    for (icmp_type, code) in
        [(UNREACHABLE, 0), (UNREACHABLE, CODE_ADDRESS), (PACKET_TOO_BIG, 4), (PARAMETER_PROBLEM, 0), (TIME_EXCEEDED, 1)]
    {
        assert!(!read(icmp_type, code).is_hard());
    }
}

#[test]
fn types_below_128_are_errors() {
    assert!(is_error(0) && is_error(PARAMETER_PROBLEM) && is_error(127));
    assert!(!is_error(ECHO_REQUEST) && !is_error(REDIRECT) && !is_error(255));
}

//= type=test
//= rfc4443#4.2
//# The data received in the ICMPv6 Echo Request message MUST be returned
//# entirely and unmodified in the ICMPv6 Echo Reply message.
#[test]
fn an_echo_reply_is_the_request_with_another_type() {
    for data in [&b""[..], b"abcdefgh", &[0xff; 61], &[0; 8]] {
        let mut bytes = message(ECHO_REQUEST, 0, [0xff; 4], data);
        echo_reply_in_place(&mut bytes);
        assert_eq!(bytes, message(ECHO_REPLY, 0, [0xff; 4], data));
        assert!(parse(&bytes, &pseudo(OURS, PEER)).is_ok());
    }
    for bytes in [vec![], vec![ECHO_REQUEST; 7], message(UNREACHABLE, 1, [0; 4], b"12345678")] {
        let mut changed = bytes.clone();
        echo_reply_in_place(&mut changed);
        assert_eq!(changed, bytes);
    }
}

//= type=test
//= rfc4443#2.4
//# Every ICMPv6 error message (type < 128) MUST include as much of
//# the IPv6 offending (invoking) packet (the packet that caused the
//# error) as possible without making the error message packet exceed
//# the minimum IPv6 MTU [IPv6].
#[test]
fn an_error_quotes_what_fits_1280_bytes_and_no_padding() {
    for (payload, quoted_len) in [(0, 40), (4, 44), (8, 48), (1192, 1232), (1193, 1232), (1400, 1232)] {
        let mut offending = packet(NEXT_HEADER_UDP, &vec![7; payload]);
        offending.resize(offending.len() + 20, 0xcc); // padding of the link
        let mut bytes = [0; 1500];
        let len = emit_error(&mut bytes, PARAMETER_PROBLEM, CODE_FIELD, 0x0102_0304, &offending, &pseudo(OURS, PEER));
        assert_eq!(len, HEADER_LEN + quoted_len, "{payload}");
        assert!(len + ipv6::HEADER_LEN <= 1280);
        assert_eq!(bytes[HEADER_LEN..len], offending[..quoted_len]);
        let read = parse(&bytes[..len], &pseudo(OURS, PEER)).map(|icmp| (icmp.icmp_type, icmp.code, icmp.rest));
        assert_eq!(read, Ok((4, 0, [1, 2, 3, 4])));
    }
}

#[test]
fn an_error_is_written_whole_or_not_at_all() {
    let offending = packet(NEXT_HEADER_UDP, &[7; 100]);
    for (room, len) in [(0, 0), (8, 0), (55, 0), (56, 56), (70, 70), (148, 148), (200, 148)] {
        let mut bytes = vec![0x55; room];
        assert_eq!(emit_error(&mut bytes, UNREACHABLE, CODE_PORT, 0, &offending, &pseudo(OURS, PEER)), len, "into {room}");
        assert!(len != 0 || bytes.iter().all(|&byte| byte == 0x55));
    }
    assert_eq!(emit_error(&mut [0; 100], UNREACHABLE, CODE_PORT, 0, &offending[..39], &pseudo(OURS, PEER)), 0);
}

#[test]
fn a_quotation_names_the_flow() {
    let segment = [0x9c, 0x40, 0, 7, 0xff, 0xff, 0xff, 0xfe, 1, 2, 3];
    let expected = Quoted {
        source: OURS.into(),
        target: PEER.into(),
        protocol: NEXT_HEADER_TCP,
        source_port: 40_000,
        target_port: 7,
        seq: Some(SeqNum(u32::MAX - 1)),
        len: 51,
    };
    assert_eq!(quoted(&packet(NEXT_HEADER_TCP, &segment)), Some(expected));
    assert_eq!(quoted(&packet(NEXT_HEADER_TCP, &segment)[..48]), Some(expected), "8 bytes are enough");
    assert_eq!(quoted(&packet(NEXT_HEADER_TCP, &segment)[..47]), None);
    let extended = [&[NEXT_HEADER_TCP, 0, 1, 4, 0, 0, 0, 0][..], &segment].concat();
    assert_eq!(quoted(&packet(NEXT_HEADER_DESTINATION, &extended)), Some(Quoted { len: 59, ..expected }));
    let datagram = Quoted { protocol: NEXT_HEADER_UDP, seq: None, ..expected };
    assert_eq!(quoted(&packet(NEXT_HEADER_UDP, &segment)), Some(datagram));
    let first = [&[NEXT_HEADER_UDP, 0, 0, 1, 0, 0, 0, 9][..], &segment, &[7; 20]].concat();
    for cut in 16..first.len() {
        let expected = Quoted { len: (40 + cut) as u16, ..datagram };
        assert_eq!(quoted(&packet(NEXT_HEADER_FRAGMENT, &first[..cut])), Some(expected), "a first fragment, {cut} bytes of it");
    }
}

#[test]
fn a_quotation_that_names_no_flow_is_none() {
    assert_eq!(quoted(&packet(NEXT_HEADER_UDP, b"12345678")[..39]), None);
    assert_eq!(quoted(&packet(47, b"12345678")), None);
    assert_eq!(quoted(&packet(NEXT_HEADER_FRAGMENT, b"\x11\0\0\x08abcd12345678")), None, "a later fragment");
    assert_eq!(quoted(&packet(NEXT_HEADER_DESTINATION, b"\x11\0\x5e\0\0\0\0\x0012345678")), None, "a walk that is refused");
    let mut bytes = packet(NEXT_HEADER_UDP, b"12345678");
    bytes[0] = 0x45;
    assert_eq!(quoted(&bytes), None);
    for at in [8, 24] {
        let mut bytes = packet(NEXT_HEADER_UDP, b"12345678");
        bytes[at..at + 16].copy_from_slice(&std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets());
        assert_eq!(quoted(&bytes), None, "an address that would pass for IPv4");
    }
}

proptest! {
    #[test]
    fn an_error_is_read_by_others_and_by_us(mtu in any::<u32>(), payload in proptest::collection::vec(any::<u8>(), 8..1400), tcp in any::<bool>()) {
        let protocol = if tcp { NEXT_HEADER_TCP } else { NEXT_HEADER_UDP };
        let offending = packet(protocol, &payload);
        let mut bytes = [0; 1400];
        let len = emit_error(&mut bytes, PACKET_TOO_BIG, 0, mtu, &offending, &pseudo(PEER, OURS));
        prop_assert_eq!(parse(&bytes[..len], &pseudo(PEER, OURS)).unwrap().next_hop_mtu(), Some(mtu));
        prop_assert_eq!(quoted(&bytes[HEADER_LEN..len]), quoted(&offending));
        prop_assert!(quoted(&offending).is_some());
        let other = Icmpv6Slice::from_slice(&bytes[..len]).unwrap();
        prop_assert!(other.is_checksum_valid(PEER.octets(), OURS.octets()));
        prop_assert_eq!(other.icmp_type(), Icmpv6Type::PacketTooBig { mtu });
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(prop_oneof![0u8..4, Just(60), any::<u8>()], 0..120), version in any::<bool>(), room in 0usize..100) {
        if version && let Some(byte) = bytes.first_mut() {
            *byte = 0x60;
        }
        let _ = parse(&bytes, &pseudo(PEER, OURS));
        let _ = quoted(&bytes);
        prop_assert!(emit_error(&mut vec![0; room], 3, 0, 0, &bytes, &pseudo(PEER, OURS)) <= room);
        echo_reply_in_place(&mut bytes);
    }
}
