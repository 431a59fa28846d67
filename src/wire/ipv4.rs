//! The IPv4 header (RFC 791).
//!
//! Called by the engine for frames of [`super::ethernet::ETHERTYPE_IPV4`] and for every packet it builds. Options are stepped over, never
//! acted on: source routes are not followed (RFC 7126), nothing is recorded. Whether an address is ours or may be a source is decided in
//! [`crate::link::route`]. No function here panics.

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum;
use crate::device::Drop;

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Length in bytes of a header without options: of all that are sent.
pub const HEADER_LEN: usize = 20;
/// The bits of [`Ipv4::dscp_ecn`] that are the ECN codepoint (RFC 3168 5).
pub const ECN_MASK: u8 = 0b11;
/// The sender understands marks: ECT(0).
pub const ECN_ECT_0: u8 = 0b10;
/// Congestion was experienced: the mark.
pub const ECN_CE: u8 = 0b11;
/// The time to live of packets sent (RFC 1340, and RFC 1122 3.2.1.7).
pub const DEFAULT_TTL: u8 = 64;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub target: Ipv4Addr,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// Time to live. A host does not drop for it, not even for 0 (RFC 1122 3.2.1.7).
    pub ttl: u8,
    /// DSCP in the upper six bits (RFC 2474), ECN in the lower two (RFC 3168).
    pub dscp_ecn: u8,
    /// Identification; means something in fragments only (RFC 6864).
    pub identification: u16,
    /// No router may fragment the packet.
    pub dont_fragment: bool,
    /// A fragment that is not the last.
    pub more_fragments: bool,
    /// Where the payload belongs in the whole, in bytes; a multiple of 8.
    pub fragment_offset: u16,
    /// Length of the header in bytes, 20 to 60.
    pub header_len: usize,
    /// Length of header and payload in bytes, at most 65,535.
    pub total_len: usize,
}

impl Ipv4 {
    /// The header of a packet to be sent, with `payload_len` bytes behind it: the default time to live, never fragmented (so that
    /// its identification may be 0, RFC 6864 4.1), DSCP and ECN zero.
    pub const fn outgoing(source: Ipv4Addr, target: Ipv4Addr, protocol: u8, payload_len: usize) -> Self {
        Self {
            source,
            target,
            protocol,
            ttl: DEFAULT_TTL,
            dscp_ecn: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            header_len: HEADER_LEN,
            total_len: payload_len.saturating_add(HEADER_LEN),
        }
    }

    /// True when the packet is a part of a larger one, the first included.
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// True when the header carries options.
    pub const fn has_options(&self) -> bool {
        self.header_len != HEADER_LEN
    }

    /// The payload in the bytes the header was parsed from, without what the link padded; empty when they are too short.
    #[inline]
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.header_len..self.total_len).unwrap_or_default()
    }
}

/// Reads the header at the begin of `bytes`, which reach from there to the end of the frame; the link may have padded them.
///
/// # Errors
/// In this order: [`Drop::Ipv4Truncated`], [`Drop::Ipv4HeaderMalformed`], [`Drop::Ipv4LengthLies`], [`Drop::Ipv4Checksum`].
#[inline(always)]
pub fn parse(bytes: &[u8]) -> Result<Ipv4, Drop> {
    let (raw, header, total_len) = split(bytes)?;
    //= rfc1122#3.2.1.2
    //# A host MUST verify the IP header checksum on every received
    //# datagram and silently discard every datagram that has a bad
    //# checksum.
    // Nearly every header has no options, and a sum of a known length is a few instructions.
    let sum = if header.len() == HEADER_LEN { checksum::checksum(raw.as_bytes()) } else { checksum::checksum(header) };
    if sum != 0 {
        return Err(Drop::Ipv4Checksum);
    }
    Ok(view(raw, header.len(), total_len))
}

/// As [`parse`], with the checksum left alone: for packets that somebody else has received, and captured before an offload filled it in.
///
/// # Errors
/// As [`parse`], without the last.
pub fn parse_unverified(bytes: &[u8]) -> Result<Ipv4, Drop> {
    split(bytes).map(|(raw, header, total_len)| view(raw, header.len(), total_len))
}

/// The fixed part of the header, all of it, and the length of the packet.
#[inline(always)]
fn split(bytes: &[u8]) -> Result<(&Raw, &[u8], usize), Drop> {
    let (raw, _) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::Ipv4Truncated)?;
    let header_len = usize::from(raw.version_ihl & 0x0f) * 4;
    //= rfc1122#3.2.1.1
    //# A datagram whose version number is not 4 MUST be silently
    //# discarded.
    if raw.version_ihl >> 4 != 4 || header_len < HEADER_LEN {
        return Err(Drop::Ipv4HeaderMalformed);
    }
    //= rfc9293#3.9.2
    //# When received options are passed up to TCP from the IP layer, a TCP implementation MUST ignore options that it does not
    //# understand (MUST-50).
    let header = bytes.get(..header_len).ok_or(Drop::Ipv4Truncated)?;
    let total_len = usize::from(raw.total_len.get());
    if total_len < header_len || total_len > bytes.len() {
        return Err(Drop::Ipv4LengthLies);
    }
    Ok((raw, header, total_len))
}

#[inline(always)]
fn view(raw: &Raw, header_len: usize, total_len: usize) -> Ipv4 {
    let fragment = raw.fragment.get();
    Ipv4 {
        source: raw.source.into(),
        target: raw.target.into(),
        protocol: raw.protocol,
        ttl: raw.ttl,
        dscp_ecn: raw.dscp_ecn,
        identification: raw.identification.get(),
        dont_fragment: fragment & DONT_FRAGMENT != 0,
        more_fragments: fragment & MORE_FRAGMENTS != 0,
        fragment_offset: (fragment & OFFSET) << 3,
        header_len,
        total_len,
    }
}

/// Writes the header without options, its checksum built, to the begin of `bytes` and returns 20, whatever `header.header_len` says.
/// Returns 0, and writes nothing, when it does not fit, or when the total length does not fit its field.
#[inline]
pub fn emit(bytes: &mut [u8], header: &Ipv4) -> usize {
    let Ok(total_len) = u16::try_from(header.total_len) else { return 0 };
    let Ok((raw, _)) = Raw::mut_from_prefix(bytes) else { return 0 };
    let mut fragment = header.fragment_offset >> 3;
    if header.dont_fragment {
        fragment |= DONT_FRAGMENT;
    }
    if header.more_fragments {
        fragment |= MORE_FRAGMENTS;
    }
    // Summed as values: read again at once, by larger words than it is written by, the header would have the processor wait.
    let word = |upper: u16, lower: u16| u64::from(upper) << 16 | u64::from(lower);
    let sum = word(u16::from_be_bytes([VERSION_IHL, header.dscp_ecn]), total_len)
        + word(header.identification, fragment)
        + word(u16::from_be_bytes([header.ttl, header.protocol]), 0)
        + u64::from(header.source.to_bits())
        + u64::from(header.target.to_bits());
    *raw = Raw {
        version_ihl: VERSION_IHL,
        dscp_ecn: header.dscp_ecn,
        total_len: total_len.into(),
        identification: header.identification.into(),
        fragment: fragment.into(),
        ttl: header.ttl,
        protocol: header.protocol,
        checksum: (!checksum::fold(sum)).into(),
        source: header.source.octets(),
        target: header.target.octets(),
    };
    HEADER_LEN
}

/// Makes the header at the begin of `bytes`, once a fragment's, that of a whole packet as long as `bytes`: no offset, no flags, the bits of `mark` set in the ECN field, the
/// checksum built. Options stay. Does nothing to bytes too short or too long.
#[cold]
pub fn make_whole(bytes: &mut [u8], mark: u8) {
    let Ok(total_len) = u16::try_from(bytes.len()) else { return };
    let Ok((raw, _)) = Raw::mut_from_prefix(bytes) else { return };
    raw.total_len = total_len.into();
    raw.fragment = 0.into();
    raw.dscp_ecn |= mark & ECN_MASK;
    raw.checksum = 0.into();
    let header_len = usize::from(raw.version_ihl & 0x0f) * 4;
    let sum = bytes.get(..header_len).map_or(0, checksum::checksum);
    if let Ok((raw, _)) = Raw::mut_from_prefix(bytes) {
        raw.checksum = sum.into();
    }
}

/// Version 4, and five words of header.
const VERSION_IHL: u8 = 0x45;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset, in units of 8 bytes.
const OFFSET: u16 = 0x1fff;

/// The header as it stands on the wire, without options.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Raw {
    pub(super) version_ihl: u8,
    pub(super) dscp_ecn: u8,
    pub(super) total_len: U16,
    pub(super) identification: U16,
    /// Flags in the upper three bits, fragment offset below.
    pub(super) fragment: U16,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) checksum: U16,
    pub(super) source: [u8; 4],
    pub(super) target: [u8; 4],
}

impl Raw {
    /// The flag bits of [`Raw::fragment`] that only a fragment sets, and its offset.
    pub(super) const FRAGMENT: u16 = MORE_FRAGMENTS | OFFSET;
    /// The bit of [`Raw::fragment`] that forbids fragmentation.
    pub(super) const DONT_FRAGMENT: u16 = DONT_FRAGMENT;
}

const _: () = assert!(size_of::<Raw>() == HEADER_LEN);

#[cfg(test)]
mod tests {
    use etherparse::Ipv4HeaderSlice;
    use proptest::prelude::*;

    use super::*;

    fn packet() -> [u8; 28] {
        let mut bytes = [0xaa; 28];
        let header = Ipv4::outgoing(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), PROTOCOL_UDP, 8);
        assert_eq!(emit(&mut bytes, &header), HEADER_LEN);
        bytes
    }

    /// Writes `value` at `at` and makes the checksum right again, over the header length that is announced.
    fn lie(bytes: &mut [u8], at: usize, value: u8) {
        bytes[at] = value;
        bytes[10..12].fill(0);
        let header_len = (usize::from(bytes[0] & 0xf) * 4).min(bytes.len());
        let sum = checksum::checksum(&bytes[..header_len]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn a_packet_cut_in_its_header_is_truncated_and_behind_it_lies() {
        let bytes = packet();
        for cut in 0..bytes.len() {
            let why = if cut < HEADER_LEN { Drop::Ipv4Truncated } else { Drop::Ipv4LengthLies };
            assert_eq!(parse(&bytes[..cut]), Err(why), "cut at {cut}");
        }
        assert!(parse(&bytes).is_ok());
        assert_eq!(emit(&mut [0; 19], &parse(&bytes).unwrap()), 0);
    }

    #[test]
    fn every_lie_has_its_name() {
        for (at, value, why) in [
            (0, 0x65, Drop::Ipv4HeaderMalformed), // version 6
            (0, 0x05, Drop::Ipv4HeaderMalformed), // version 0
            (0, 0x44, Drop::Ipv4HeaderMalformed), // four words
            (0, 0x40, Drop::Ipv4HeaderMalformed), // none
            (0, 0x4f, Drop::Ipv4Truncated),       // fifteen words, in 28 bytes
            (0, 0x48, Drop::Ipv4Truncated),       // eight
            (3, 19, Drop::Ipv4LengthLies),        // below the header
            (3, 0, Drop::Ipv4LengthLies),         // nothing at all
            (3, 29, Drop::Ipv4LengthLies),        // beyond the frame
            (2, 0xff, Drop::Ipv4LengthLies),      // far beyond
        ] {
            let mut bytes = packet();
            lie(&mut bytes, at, value);
            assert_eq!(parse(&bytes), Err(why), "byte {at} = {value:#x}");
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        for bit in 0..HEADER_LEN * 8 {
            let mut bytes = packet();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes).is_err(), "bit {bit}");
        }
        let mut bytes = packet();
        bytes[8] ^= 1;
        assert_eq!(parse(&bytes), Err(Drop::Ipv4Checksum));
    }

    #[test]
    fn padding_of_the_link_is_not_payload() {
        let mut frame = packet().to_vec();
        frame.resize(46, 0);
        assert_eq!(parse(&frame).unwrap().payload(&frame), [0xaa; 8]);
        assert!(parse(&frame).unwrap().payload(&frame[..21]).is_empty());
    }

    //= type=test
    //= rfc9293#3.9.2
    //# When received options are passed up to TCP from the IP layer, a TCP implementation MUST ignore options that it does not
    //# understand (MUST-50).
    #[test]
    fn options_are_stepped_over_and_summed() {
        let mut bytes = [0; 32];
        emit(&mut bytes, &Ipv4::outgoing(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, PROTOCOL_TCP, 12));
        bytes[20..24].copy_from_slice(&[7, 4, 4, 0]); // record route, full
        lie(&mut bytes, 0, 0x46);
        let header = parse(&bytes).unwrap();
        assert!(header.has_options());
        assert_eq!((header.header_len, header.payload(&bytes).len()), (24, 8));
        bytes[21] ^= 1;
        assert_eq!(parse(&bytes), Err(Drop::Ipv4Checksum));
    }

    #[test]
    fn first_middle_and_last_fragments_are_fragments() {
        let fragment = |more, offset| {
            let header = Ipv4 {
                more_fragments: more,
                fragment_offset: offset,
                dont_fragment: false,
                ..Ipv4::outgoing(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, PROTOCOL_UDP, 0)
            };
            let mut bytes = [0; 20];
            emit(&mut bytes, &header);
            assert_eq!(parse(&bytes), Ok(header));
            header.is_fragment()
        };
        assert!(fragment(true, 0) && fragment(true, 1480) && fragment(false, 65_528));
        assert!(!fragment(false, 0));
    }

    #[test]
    fn a_length_that_does_not_fit_is_not_written() {
        let mut bytes = [0x55; 20];
        assert_eq!(emit(&mut bytes, &Ipv4::outgoing(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 1, 65_516)), 0);
        assert_eq!(emit(&mut bytes, &Ipv4::outgoing(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 1, usize::MAX)), 0);
        assert_eq!(bytes, [0x55; 20]);
    }

    prop_compose! {
        fn headers()(source in any::<[u8; 4]>(), target in any::<[u8; 4]>(), protocol in any::<u8>(), ttl in any::<u8>(),
                     dscp_ecn in any::<u8>(), identification in any::<u16>(), dont_fragment in any::<bool>(),
                     more_fragments in any::<bool>(), offset in 0u16..0x2000, payload in 0usize..100) -> Ipv4 {
            Ipv4 { source: source.into(), target: target.into(), protocol, ttl, dscp_ecn, identification, dont_fragment,
                   more_fragments, fragment_offset: offset << 3, header_len: HEADER_LEN, total_len: HEADER_LEN + payload }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_here_and_by_others(header in headers()) {
            let mut bytes = [0; 120];
            prop_assert_eq!(emit(&mut bytes, &header), HEADER_LEN);
            prop_assert_eq!(parse(&bytes), Ok(header));
            let other = Ipv4HeaderSlice::from_slice(&bytes).unwrap();
            prop_assert_eq!(other.header_checksum(), other.to_header().calc_header_checksum());
            prop_assert_eq!(other.source_addr(), header.source);
            prop_assert_eq!(other.destination_addr(), header.target);
            prop_assert_eq!(other.protocol().0, header.protocol);
            prop_assert_eq!(other.ttl(), header.ttl);
            prop_assert_eq!(other.dcp().value() << 2 | other.ecn().value(), header.dscp_ecn);
            prop_assert_eq!(other.identification(), header.identification);
            prop_assert_eq!(other.dont_fragment(), header.dont_fragment);
            prop_assert_eq!(other.is_fragmenting_payload(), header.is_fragment());
            prop_assert_eq!(usize::from(other.fragments_offset().value()) * 8, usize::from(header.fragment_offset));
            prop_assert_eq!(usize::from(other.total_len()), header.total_len);
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), version in any::<bool>()) {
            if version && let Some(first) = bytes.first_mut() {
                *first = *first & 0xf | 0x40;
            }
            if let Ok(header) = parse(&bytes) {
                prop_assert_eq!(header.payload(&bytes).len(), header.total_len - header.header_len);
            }
            if bytes.len() >= HEADER_LEN {
                // The same with a right checksum, so that what lies behind that check is reached.
                let first = bytes[0];
                lie(&mut bytes, 0, first);
                let _ = parse(&bytes);
            }
        }
    }
}
