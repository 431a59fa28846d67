//! ICMP for IPv4 (RFC 792).
//!
//! Called by the engine with the payload of an IP packet, and to build errors. Which message deserves what is decided in
//! [`crate::link::icmp`]. What an error quotes was sent by a stranger and is checked by whoever acts on it. No function here panics.

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum;
use super::ipv4::{self, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::demux::key::Address;
use crate::device::Drop;
use crate::tcp::seq::SeqNum;

/// Type: answer to an echo request.
pub const ECHO_REPLY: u8 = 0;
/// Type: destination unreachable; the code says why.
pub const UNREACHABLE: u8 = 3;
/// Type: source quench, which nobody may act on any more (RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Type: redirect.
pub const REDIRECT: u8 = 5;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type: time exceeded, in transit or in reassembly.
pub const TIME_EXCEEDED: u8 = 11;
/// Type: a field of the header is wrong.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of [`UNREACHABLE`]: the host.
pub const CODE_HOST: u8 = 1;
/// Code of [`UNREACHABLE`]: the protocol.
pub const CODE_PROTOCOL: u8 = 2;
/// Code of [`UNREACHABLE`]: the port.
pub const CODE_PORT: u8 = 3;
/// Code of [`UNREACHABLE`]: the packet is too large and must not be fragmented (RFC 1191).
pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;
/// Code of [`TIME_EXCEEDED`]: a fragment did not come in time.
pub const CODE_REASSEMBLY: u8 = 1;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// A message: its header, and the length of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// The second word of the header; its meaning depends on the type.
    pub rest: [u8; 4],
    /// Bytes behind the header.
    pub payload_len: usize,
}

impl Icmp {
    /// True for the errors that time does not mend: protocol or port unreachable (RFC 9293 3.9.2.2; "fragmentation needed" is no error, it
    /// tells the MTU).
    pub const fn is_hard(&self) -> bool {
        self.icmp_type == UNREACHABLE && (self.code == CODE_PROTOCOL || self.code == CODE_PORT)
    }

    /// The MTU of the next hop in bytes, in "fragmentation needed" (RFC 1191 4); 0 from a router older than that.
    pub const fn next_hop_mtu(&self) -> Option<u16> {
        match (self.icmp_type, self.code) {
            (UNREACHABLE, CODE_FRAGMENTATION_NEEDED) => Some(u16::from_be_bytes([self.rest[2], self.rest[3]])),
            _ => None,
        }
    }
}

/// Reads the message that is the payload of an IP packet (without padding of the link: all of it is summed).
///
/// # Errors
/// [`Drop::IcmpTruncated`]: fewer than 8 bytes. [`Drop::IcmpChecksum`].
pub fn parse(bytes: &[u8]) -> Result<Icmp, Drop> {
    let (raw, payload) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::IcmpTruncated)?;
    if checksum::checksum(bytes) != 0 {
        return Err(Drop::IcmpChecksum);
    }
    Ok(Icmp { icmp_type: raw.icmp_type, code: raw.code, rest: raw.rest, payload_len: payload.len() })
}

/// Turns an echo request into its reply: the type changes, the checksum is patched, the data stays. Does nothing to bytes too short to
/// be a message, or of another type.
pub fn echo_reply_in_place(icmp: &mut [u8]) {
    if let Ok((raw, _)) = Raw::mut_from_prefix(icmp)
        && raw.icmp_type == ECHO_REQUEST
    {
        let (old, new) = ([ECHO_REQUEST, raw.code], [ECHO_REPLY, raw.code]);
        raw.icmp_type = ECHO_REPLY;
        raw.checksum = checksum::patch(raw.checksum.get(), u16::from_be_bytes(old), u16::from_be_bytes(new)).into();
    }
}

/// Writes "destination unreachable" with `code` to the begin of `bytes` and returns its length. `quoted` is the packet that could not be
/// delivered, from its IP header on; as much of it is quoted as makes the IP packet of the error at most 576 bytes long
/// (RFC 1812 4.3.2.3), and nothing behind its total length. Returns 0, and writes nothing, when not even its header and 8 bytes fit.
pub fn emit_unreachable(bytes: &mut [u8], code: u8, quoted: &[u8]) -> usize {
    emit_error(bytes, UNREACHABLE, code, quoted)
}

/// The same for an error of any type whose second word is 0.
pub fn emit_error(bytes: &mut [u8], icmp_type: u8, code: u8, quoted: &[u8]) -> usize {
    let Ok((ip, _)) = ipv4::Raw::ref_from_prefix(quoted) else { return 0 };
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let total_len = usize::from(ip.total_len.get()).min(quoted.len());
    let room = bytes.len().min(MAX_LEN).saturating_sub(HEADER_LEN);
    let quoted_len = total_len.min(room);
    //= rfc1122#3.2.2
    //# Every ICMP error message includes the Internet header and at
    //# least the first 8 data octets of the datagram that triggered
    //# the error
    if quoted_len < total_len.min(header_len + 8) {
        return 0;
    }
    let Some(message) = bytes.get_mut(..HEADER_LEN + quoted_len) else { return 0 };
    let Ok((raw, copy)) = Raw::mut_from_prefix(message) else { return 0 };
    *raw = Raw { icmp_type, code, checksum: 0.into(), rest: [0; 4] };
    copy.copy_from_slice(&quoted[..quoted_len]);
    let sum = checksum::checksum(message);
    if let Ok((raw, _)) = Raw::mut_from_prefix(message) {
        raw.checksum = sum.into();
    }
    HEADER_LEN + quoted_len
}

/// The packet an error of either family quotes: one that we sent, if the quotation is honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its source: ours.
    pub source: Address,
    /// Its destination: the peer.
    pub target: Address,
    /// Its protocol, TCP or UDP.
    pub protocol: u8,
    /// Its source port: ours.
    pub source_port: u16,
    /// Its destination port: the peer's.
    pub target_port: u16,
    /// SEG.SEQ of a TCP segment, by which a forged error is known (RFC 5927 4.1).
    pub seq: Option<SeqNum>,
    /// Its length in bytes, by its header: of a packet that was too big it must be more than what is said to fit.
    pub len: u16,
}

/// Reads what an error quotes: the bytes behind its header. `None` unless they begin with the header of an unfragmented (or first)
/// TCP or UDP packet and the 8 bytes behind it. The checksums in it are not looked at: routers change the header and quote a part.
pub fn quoted(bytes: &[u8]) -> Option<Quoted> {
    let (ip, _) = ipv4::Raw::ref_from_prefix(bytes).ok()?;
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let first = ip.fragment.get() & 0x1fff == 0;
    let known = matches!(ip.protocol, PROTOCOL_TCP | PROTOCOL_UDP);
    if ip.version_ihl >> 4 != 4 || header_len < ipv4::HEADER_LEN || !first || !known {
        return None;
    }
    let &[s0, s1, t0, t1, q0, q1, q2, q3] = bytes.get(header_len..)?.first_chunk::<8>()?;
    Some(Quoted {
        source: Ipv4Addr::from(ip.source).into(),
        target: Ipv4Addr::from(ip.target).into(),
        protocol: ip.protocol,
        source_port: u16::from_be_bytes([s0, s1]),
        target_port: u16::from_be_bytes([t0, t1]),
        seq: (ip.protocol == PROTOCOL_TCP).then_some(SeqNum(u32::from_be_bytes([q0, q1, q2, q3]))),
        len: ip.total_len.get(),
    })
}

/// The longest error in bytes, so that it takes 576 with its IP header.
pub const MAX_LEN: usize = 576 - ipv4::HEADER_LEN;

/// The header as it stands on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    icmp_type: u8,
    code: u8,
    checksum: U16,
    rest: [u8; 4],
}

const _: () = assert!(size_of::<Raw>() == HEADER_LEN);

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv4Slice, Icmpv4Type, icmpv4::DestUnreachableHeader};
    use proptest::prelude::*;

    use super::*;
    use crate::wire::ipv4::Ipv4;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn message(icmp_type: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut bytes = [&[icmp_type, code, 0, 0], &rest[..], payload].concat();
        let sum = checksum::checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// A packet of ours with these bytes behind its header.
    fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        ipv4::emit(&mut bytes, &Ipv4::outgoing(OURS, PEER, protocol, payload.len()));
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_message_cut_in_its_header_is_truncated_and_behind_it_has_a_wrong_sum() {
        let bytes = message(ECHO_REQUEST, 0, [1, 2, 3, 4], b"data");
        for cut in 0..bytes.len() {
            let why = if cut < HEADER_LEN { Drop::IcmpTruncated } else { Drop::IcmpChecksum };
            assert_eq!(parse(&bytes[..cut]), Err(why), "cut at {cut}");
        }
        assert_eq!(parse(&bytes), Ok(Icmp { icmp_type: 8, code: 0, rest: [1, 2, 3, 4], payload_len: 4 }));
    }

    #[test]
    fn every_wrong_bit_is_found() {
        let good = message(ECHO_REQUEST, 0, [1, 2, 3, 4], b"odd");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bytes), Err(Drop::IcmpChecksum), "bit {bit}");
        }
    }

    #[test]
    fn only_fragmentation_needed_tells_an_mtu() {
        let mtu = |icmp_type, code| parse(&message(icmp_type, code, [0, 0, 0x05, 0xdc], b"")).unwrap().next_hop_mtu();
        assert_eq!(mtu(UNREACHABLE, CODE_FRAGMENTATION_NEEDED), Some(1500));
        assert_eq!(mtu(UNREACHABLE, CODE_PORT), None);
        assert_eq!(mtu(TIME_EXCEEDED, CODE_FRAGMENTATION_NEEDED), None);
    }

    //= type=test
    //= rfc1122#3.2.2.6
    //# Data received in an ICMP Echo Request MUST be entirely
    //# included in the resulting Echo Reply.
    #[test]
    fn an_echo_reply_is_the_request_with_another_type() {
        for data in [&b""[..], b"abcdefgh", &[0xff; 61], &[0; 8]] {
            let mut bytes = message(ECHO_REQUEST, 0, [0xff; 4], data);
            echo_reply_in_place(&mut bytes);
            assert_eq!(bytes, message(ECHO_REPLY, 0, [0xff; 4], data));
        }
    }

    #[test]
    fn what_is_no_echo_request_is_left_alone() {
        for bytes in [vec![], vec![ECHO_REQUEST; 7], message(UNREACHABLE, 1, [0; 4], b"12345678")] {
            let mut changed = bytes.clone();
            echo_reply_in_place(&mut changed);
            assert_eq!(changed, bytes);
        }
    }

    #[test]
    fn an_error_quotes_up_to_576_bytes_and_no_padding() {
        for (payload, quoted_len) in [(0, 20), (4, 24), (8, 28), (500, 520), (528, 548), (529, 548), (1400, 548)] {
            let mut offending = packet(PROTOCOL_UDP, &vec![7; payload]);
            offending.resize(offending.len() + 20, 0xcc); // padding of the link
            let mut bytes = [0; 1500];
            let len = emit_unreachable(&mut bytes, CODE_PORT, &offending);
            assert_eq!(len, HEADER_LEN + quoted_len, "{payload}");
            assert!(len + ipv4::HEADER_LEN <= 576);
            assert_eq!(bytes[HEADER_LEN..len], offending[..quoted_len]);
            assert_eq!(parse(&bytes[..len]).map(|icmp| (icmp.icmp_type, icmp.code, icmp.rest)), Ok((3, 3, [0; 4])));
        }
    }

    #[test]
    fn an_error_is_written_whole_or_not_at_all() {
        let offending = packet(PROTOCOL_UDP, &[7; 100]);
        for (room, len) in [(0, 0), (8, 0), (35, 0), (36, 36), (50, 50), (128, 128), (200, 128)] {
            let mut bytes = vec![0x55; room];
            assert_eq!(emit_unreachable(&mut bytes, CODE_PORT, &offending), len, "into {room}");
            assert!(len != 0 || bytes.iter().all(|&byte| byte == 0x55));
        }
        assert_eq!(emit_unreachable(&mut [0; 100], CODE_PORT, &offending[..19]), 0, "no header to quote");
    }

    #[test]
    fn a_quotation_names_the_flow() {
        let segment = [0x9c, 0x40, 0, 7, 0xff, 0xff, 0xff, 0xfe, 1, 2, 3];
        let expected = Quoted {
            source: OURS.into(),
            target: PEER.into(),
            protocol: PROTOCOL_TCP,
            source_port: 40_000,
            target_port: 7,
            seq: Some(SeqNum(u32::MAX - 1)),
            len: 31,
        };
        assert_eq!(quoted(&packet(PROTOCOL_TCP, &segment)), Some(expected));
        assert_eq!(quoted(&packet(PROTOCOL_TCP, &segment)[..28]), Some(expected), "8 bytes are enough");
        assert_eq!(quoted(&packet(PROTOCOL_TCP, &segment)[..27]), None);
        assert_eq!(quoted(&packet(PROTOCOL_UDP, &segment)), Some(Quoted { protocol: PROTOCOL_UDP, seq: None, ..expected }));
        // A router decreased the time to live and did not mend the sum: it is the flow that counts.
        let mut on_the_way = packet(PROTOCOL_TCP, &segment);
        on_the_way[8] -= 3;
        assert_eq!(quoted(&on_the_way), Some(expected));
    }

    #[test]
    fn a_quotation_that_names_no_flow_is_none() {
        assert_eq!(quoted(&packet(PROTOCOL_UDP, b"12345678")[..19]), None);
        assert_eq!(quoted(&packet(47, b"12345678")), None);
        for (at, value) in [(0, 0x65), (0, 0x44), (0, 0x4f), (6, 0x01), (7, 0x01)] {
            let mut bytes = packet(PROTOCOL_UDP, b"12345678");
            bytes[at] = value;
            assert_eq!(quoted(&bytes), None, "byte {at} = {value:#x}");
        }
    }

    proptest! {
        #[test]
        fn an_error_is_read_by_others_and_by_us(code in 0u8..16, payload in proptest::collection::vec(any::<u8>(), 8..700), tcp in any::<bool>()) {
            let protocol = if tcp { PROTOCOL_TCP } else { PROTOCOL_UDP };
            let offending = packet(protocol, &payload);
            let mut bytes = [0; 600];
            let len = emit_unreachable(&mut bytes, code, &offending);
            prop_assert_eq!(parse(&bytes[..len]).unwrap().code, code);
            prop_assert_eq!(quoted(&bytes[HEADER_LEN..len]), quoted(&offending));
            prop_assert!(quoted(&offending).is_some());
            let other = Icmpv4Slice::from_slice(&bytes[..len]).unwrap();
            prop_assert_eq!(other.checksum(), other.icmp_type().calc_checksum(other.payload()));
            let expected = DestUnreachableHeader::from_values(code, 0).unwrap();
            prop_assert_eq!(other.icmp_type(), Icmpv4Type::DestinationUnreachable(expected));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), first in proptest::option::of(0x40u8..0x50), room in 0usize..100) {
            let mut bytes = bytes;
            if let (Some(first), Some(byte)) = (first, bytes.first_mut()) {
                *byte = first;
            }
            let _ = parse(&bytes);
            let _ = quoted(&bytes);
            prop_assert!(emit_unreachable(&mut vec![0; room], 3, &bytes) <= room);
            echo_reply_in_place(&mut bytes);
        }
    }
}
