//! The IPv6 header (RFC 8200).
//!
//! Called by the engine for frames of [`super::ethernet::ETHERTYPE_IPV6`] and for every packet it builds. What stands between this header
//! and the payload of TCP, UDP or ICMPv6 is walked over in [`super::extension`]. Whether an address is ours or may be a source is decided
//! in [`crate::link::route`]. No function here panics.

use std::net::Ipv6Addr;

use siphasher::sip::SipHasher13;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::Mac;
use crate::device::Drop;

/// Next header: hop-by-hop options, directly behind the IPv6 header only.
pub const NEXT_HEADER_HOP_BY_HOP: u8 = 0;
/// Next header: TCP.
pub const NEXT_HEADER_TCP: u8 = 6;
/// Next header: UDP.
pub const NEXT_HEADER_UDP: u8 = 17;
/// Next header: a routing header.
pub const NEXT_HEADER_ROUTING: u8 = 43;
/// Next header: a fragment header.
pub const NEXT_HEADER_FRAGMENT: u8 = 44;
/// Next header: ICMPv6.
pub const NEXT_HEADER_ICMPV6: u8 = 58;
/// Next header: there is none, and nothing to read behind.
pub const NEXT_HEADER_NONE: u8 = 59;
/// Next header: destination options.
pub const NEXT_HEADER_DESTINATION: u8 = 60;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 40;
/// The bits of [`Ipv6::dscp_ecn`] that are the ECN codepoint (RFC 3168 5).
pub const ECN_MASK: u8 = super::ipv4::ECN_MASK;
/// The hop limit of packets sent, as the time to live of IPv4.
pub const DEFAULT_HOP_LIMIT: u8 = super::ipv4::DEFAULT_TTL;
/// The hop limit of neighbour discovery: a router would have decreased it, so it tells that the sender is on the link (RFC 4861 3.1).
pub const ON_LINK_HOP_LIMIT: u8 = 255;
/// The MTU that every link has at least (RFC 8200 5).
pub const MIN_MTU: usize = 1280;
/// All nodes of a link (RFC 4291 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of a link (RFC 4291 2.7.1).
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub target: Ipv6Addr,
    /// What stands behind this header: a protocol or an extension header.
    pub next_header: u8,
    /// How many routers may still forward the packet. A host does not drop for it, not even for 0 (RFC 8200 3).
    pub hop_limit: u8,
    /// The traffic class: DSCP in the upper six bits (RFC 2474), ECN in the lower two (RFC 3168).
    pub dscp_ecn: u8,
    /// Flow label, 20 bits; 0 when the sender labels nothing (RFC 6437).
    pub flow_label: u32,
    /// Bytes behind the header, those of extension headers included; at most 65,535.
    pub payload_len: usize,
}

impl Ipv6 {
    /// The header of a packet to be sent, with `payload_len` bytes behind it: the default hop limit, DSCP, ECN and flow label zero.
    pub const fn outgoing(source: Ipv6Addr, target: Ipv6Addr, next_header: u8, payload_len: usize) -> Self {
        Self { source, target, next_header, hop_limit: DEFAULT_HOP_LIMIT, dscp_ecn: 0, flow_label: 0, payload_len }
    }

    /// What follows the header in the bytes it was parsed from, without what the link padded; empty when they are too short.
    #[inline]
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(HEADER_LEN..).and_then(|behind| behind.get(..self.payload_len)).unwrap_or_default()
    }
}

/// Reads the header at the begin of `bytes`, which reach from there to the end of the frame; the link may have padded them.
///
/// # Errors
/// In this order: [`Drop::Ipv6Truncated`], [`Drop::Ipv6HeaderMalformed`], [`Drop::Ipv6LengthLies`].
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Ipv6, Drop> {
    let (raw, behind) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::Ipv6Truncated)?;
    let word = raw.version_class_label.get();
    if word >> 28 != 6 {
        return Err(Drop::Ipv6HeaderMalformed);
    }
    let payload_len = usize::from(raw.payload_len.get());
    if payload_len > behind.len() {
        return Err(Drop::Ipv6LengthLies);
    }
    Ok(Ipv6 {
        source: raw.source.into(),
        target: raw.target.into(),
        next_header: raw.next_header,
        hop_limit: raw.hop_limit,
        dscp_ecn: (word >> 20) as u8,
        flow_label: word & FLOW_LABEL,
        payload_len,
    })
}

/// Writes the header to the begin of `bytes` and returns 40. Of the flow label the lower 20 bits are written. Returns 0, and writes
/// nothing, when the header does not fit, or the length of the payload does not fit its field.
#[inline]
pub fn emit(bytes: &mut [u8], header: &Ipv6) -> usize {
    let Ok(payload_len) = u16::try_from(header.payload_len) else { return 0 };
    let Ok((raw, _)) = Raw::mut_from_prefix(bytes) else { return 0 };
    *raw = Raw {
        version_class_label: (VERSION | u32::from(header.dscp_ecn) << 20 | header.flow_label & FLOW_LABEL).into(),
        payload_len: payload_len.into(),
        next_header: header.next_header,
        hop_limit: header.hop_limit,
        source: header.source.octets(),
        target: header.target.octets(),
    };
    HEADER_LEN
}

/// Makes the header at the begin of `bytes` that of a packet as long as `bytes`, the bits of `mark` set in the ECN field. Does nothing to bytes too short or
/// too long.
#[cold]
pub fn make_whole(bytes: &mut [u8], mark: u8) {
    let Ok(payload_len) = u16::try_from(bytes.len().saturating_sub(HEADER_LEN)) else { return };
    let Ok((raw, _)) = Raw::mut_from_prefix(bytes) else { return };
    raw.payload_len = payload_len.into();
    raw.version_class_label = (raw.version_class_label.get() | u32::from(mark & ECN_MASK) << 20).into();
}

/// The label of a flow: a keyed hash of whatever identifies it, 20 bits and never 0, which would say that there is none.
pub fn flow_label(secret: &[u8; 16], flow: &[u8]) -> u32 {
    //= rfc6437#3
    //# It is therefore RECOMMENDED that source hosts support the flow label
    //# by setting the flow label field for all packets of a given flow to
    //# the same value chosen from an approximation to a discrete uniform
    //# distribution.
    let hash = SipHasher13::new_with_key(secret).hash(flow);
    (hash as u32 & FLOW_LABEL).max(1)
}

/// The multicast address at which whoever has `address` is asked for (RFC 4291 2.7.1).
///
/// ```
/// use ringway::wire::ipv6::solicited_node;
/// // The example of RFC 4291 section 2.7.1.
/// assert_eq!(solicited_node("4037::01:800:200e:8c6c".parse()?), "ff02::1:ff0e:8c6c".parse::<std::net::Ipv6Addr>()?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// The Ethernet address of a multicast address (RFC 2464 7).
pub const fn multicast_mac(address: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = address.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The version in its place.
const VERSION: u32 = 6 << 28;
/// The lower 20 bits of the first word.
const FLOW_LABEL: u32 = 0xf_ffff;

/// The header as it stands on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Raw {
    /// Version in the upper four bits, traffic class in the next eight, flow label below.
    pub(super) version_class_label: U32,
    pub(super) payload_len: U16,
    pub(super) next_header: u8,
    pub(super) hop_limit: u8,
    pub(super) source: [u8; 16],
    pub(super) target: [u8; 16],
}

impl Raw {
    /// The version of a first word.
    #[inline]
    pub(super) const fn version(word: u32) -> u32 {
        word >> 28
    }

    /// The ECN codepoint in the first word.
    pub(super) const ECN: u32 = (ECN_MASK as u32) << 20;
}

const _: () = assert!(size_of::<Raw>() == HEADER_LEN);

#[cfg(test)]
mod tests {
    use etherparse::Ipv6HeaderSlice;
    use proptest::prelude::*;

    use super::*;

    const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

    fn packet() -> [u8; 48] {
        let mut bytes = [0xaa; 48];
        assert_eq!(emit(&mut bytes, &Ipv6::outgoing(PEER, OURS, NEXT_HEADER_UDP, 8)), HEADER_LEN);
        bytes
    }

    #[test]
    fn a_packet_cut_in_its_header_is_truncated_and_behind_it_lies() {
        let bytes = packet();
        for cut in 0..bytes.len() {
            let why = if cut < HEADER_LEN { Drop::Ipv6Truncated } else { Drop::Ipv6LengthLies };
            assert_eq!(parse(&bytes[..cut]), Err(why), "cut at {cut}");
        }
        assert!(parse(&bytes).is_ok());
        assert_eq!(emit(&mut [0; 39], &parse(&bytes).unwrap()), 0);
    }

    #[test]
    fn every_lie_has_its_name() {
        for (at, value, why) in [
            (0, 0x40, Drop::Ipv6HeaderMalformed), // version 4
            (0, 0x00, Drop::Ipv6HeaderMalformed), // version 0
            (0, 0xf0, Drop::Ipv6HeaderMalformed), // version 15
            (5, 9, Drop::Ipv6LengthLies),         // one byte beyond the frame
            (4, 0xff, Drop::Ipv6LengthLies),      // far beyond
        ] {
            let mut bytes = packet();
            bytes[at] = value;
            assert_eq!(parse(&bytes), Err(why), "byte {at} = {value:#x}");
        }
    }

    #[test]
    fn padding_of_the_link_is_not_payload() {
        let mut frame = packet().to_vec();
        frame.resize(60, 0);
        assert_eq!(parse(&frame).unwrap().payload(&frame), [0xaa; 8]);
        assert!(parse(&frame).unwrap().payload(&frame[..47]).is_empty());
        assert!(parse(&frame).unwrap().payload(&frame[..3]).is_empty());
    }

    #[test]
    fn a_length_that_does_not_fit_is_not_written() {
        let mut bytes = [0x55; 40];
        assert_eq!(emit(&mut bytes, &Ipv6::outgoing(OURS, PEER, NEXT_HEADER_TCP, 65_536)), 0);
        assert_eq!(emit(&mut bytes, &Ipv6::outgoing(OURS, PEER, NEXT_HEADER_TCP, usize::MAX)), 0);
        assert_eq!(bytes, [0x55; 40]);
        assert_eq!(emit(&mut bytes, &Ipv6::outgoing(OURS, PEER, NEXT_HEADER_TCP, 65_535)), 40);
    }

    #[test]
    fn multicast_addresses_are_those_of_the_standards() {
        assert_eq!(solicited_node(OURS).to_string(), "ff02::1:ff00:2");
        assert_eq!(solicited_node(Ipv6Addr::from_bits(u128::MAX)).to_string(), "ff02::1:ffff:ffff");
        assert_eq!(multicast_mac(ALL_NODES), Mac([0x33, 0x33, 0, 0, 0, 1]));
        assert_eq!(multicast_mac(solicited_node(Ipv6Addr::from_bits(0xab_cdef))), Mac([0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]));
    }

    //= type=test
    //= rfc6437#3
    //# It is therefore RECOMMENDED that source hosts support the flow label
    //# by setting the flow label field for all packets of a given flow to
    //# the same value chosen from an approximation to a discrete uniform
    //# distribution.
    #[test]
    fn a_flow_label_stays_with_its_flow_and_spreads_over_all_values() {
        let label = |flow: u32| flow_label(b"sixteen secrets!", &flow.to_be_bytes());
        assert_eq!(label(7), label(7));
        assert_ne!(label(7), flow_label(&[0; 16], &7u32.to_be_bytes()));
        let mut sixteenths = [0; 16];
        for flow in 0..16_000 {
            assert!((1..=0xf_ffff).contains(&label(flow)));
            sixteenths[label(flow) as usize >> 16] += 1;
        }
        assert!(sixteenths.iter().all(|count| (800..1200).contains(count)), "{sixteenths:?}");
    }

    prop_compose! {
        fn headers()(source in any::<[u8; 16]>(), target in any::<[u8; 16]>(), next_header in any::<u8>(), hop_limit in any::<u8>(),
                     dscp_ecn in any::<u8>(), flow_label in 0u32..0x10_0000, payload_len in 0usize..80) -> Ipv6 {
            Ipv6 { source: source.into(), target: target.into(), next_header, hop_limit, dscp_ecn, flow_label, payload_len }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_here_and_by_others(header in headers(), high in 0u32..0x1000) {
            let mut bytes = [0; 120];
            // Bits that are none of the label's reach no other field.
            prop_assert_eq!(emit(&mut bytes, &Ipv6 { flow_label: high << 20 | header.flow_label, ..header }), HEADER_LEN);
            prop_assert_eq!(parse(&bytes), Ok(header));
            let other = Ipv6HeaderSlice::from_slice(&bytes).unwrap();
            prop_assert_eq!(other.source_addr(), header.source);
            prop_assert_eq!(other.destination_addr(), header.target);
            prop_assert_eq!(other.next_header().0, header.next_header);
            prop_assert_eq!(other.hop_limit(), header.hop_limit);
            prop_assert_eq!(other.traffic_class(), header.dscp_ecn);
            prop_assert_eq!(other.flow_label().value(), header.flow_label);
            prop_assert_eq!(usize::from(other.payload_length()), header.payload_len);
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), version in any::<bool>()) {
            if version && let Some(first) = bytes.first_mut() {
                *first = *first & 0xf | 0x60;
            }
            if let Ok(header) = parse(&bytes) {
                prop_assert_eq!(header.payload(&bytes).len(), header.payload_len);
            }
        }
    }
}
