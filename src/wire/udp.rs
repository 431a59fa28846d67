//! The UDP header (RFC 768).
//!
//! Called by the engine with the payload of an IP packet, and for every datagram that is not answered in place ([`super::reply`]). No
//! function here panics.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, PseudoHeader, Verified};
use crate::device::Drop;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source port; 0 when the sender wants no answer.
    pub source_port: u16,
    /// Destination port, not 0.
    pub target_port: u16,
    /// Length of header and payload in bytes, 8 to 65,535.
    pub len: usize,
    /// The checksum as received; 0 when the sender made none (IPv4 only).
    pub checksum: u16,
}

impl Udp {
    /// The payload in the bytes the header was parsed from; empty when they are too short.
    #[inline]
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(HEADER_LEN..self.len).unwrap_or_default()
    }
}

/// Reads the datagram that is the payload of an IP packet; what lies behind the length it announces is ignored.
///
/// # Errors
/// In this order: [`Drop::UdpTruncated`], [`Drop::UdpLengthLies`], [`Drop::UdpChecksum`] or [`Drop::ChecksumUnfilled`],
/// [`Drop::UdpPortZero`].
#[inline(always)]
pub fn parse(bytes: &[u8], pseudo: &PseudoHeader) -> Result<Udp, Drop> {
    let (raw, datagram) = split(bytes)?;
    verify(datagram, raw.checksum.get(), pseudo)?;
    view(raw, datagram.len())
}

/// As [`parse`], with the checksum left alone: for datagrams that somebody else has received, and captured before an offload filled it in, or without
/// their last bytes.
///
/// # Errors
/// As [`parse`], without those of the checksum.
pub fn parse_unverified(bytes: &[u8]) -> Result<Udp, Drop> {
    let (raw, datagram) = split(bytes)?;
    view(raw, datagram.len())
}

/// The header, and the datagram without what lies behind the length that it announces.
#[inline(always)]
fn split(bytes: &[u8]) -> Result<(&Raw, &[u8]), Drop> {
    let (raw, _) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::UdpTruncated)?;
    let len = usize::from(raw.len.get());
    if len < HEADER_LEN {
        return Err(Drop::UdpLengthLies);
    }
    Ok((raw, bytes.get(..len).ok_or(Drop::UdpLengthLies)?))
}

#[inline(always)]
fn view(raw: &Raw, len: usize) -> Result<Udp, Drop> {
    if raw.target_port.get() == 0 {
        return Err(Drop::UdpPortZero);
    }
    Ok(Udp { source_port: raw.source_port.get(), target_port: raw.target_port.get(), len, checksum: raw.checksum.get() })
}

/// Writes the header of a datagram to the begin of `bytes`, which hold its payload behind the header's eight bytes already, builds the
/// checksum, and returns the length of the datagram: that of `bytes`. Returns 0, and writes nothing, when they are shorter than a header
/// or longer than its length field can say.
#[inline]
pub fn emit(bytes: &mut [u8], source_port: u16, target_port: u16, pseudo: &PseudoHeader) -> usize {
    let total = bytes.len();
    let Ok(len) = u16::try_from(total) else { return 0 };
    let Ok((raw, _)) = Raw::mut_from_prefix(bytes) else { return 0 };
    *raw = Raw { source_port: source_port.into(), target_port: target_port.into(), len: len.into(), checksum: 0.into() };
    let sum = !checksum::fold(checksum::sum(bytes, pseudo.sum(total)));
    //= rfc768
    //# If the computed  checksum  is zero,  it is transmitted  as all ones (the
    //# equivalent  in one's complement  arithmetic).
    let sum = if sum == 0 { 0xffff } else { sum };
    if let Ok((raw, _)) = Raw::mut_from_prefix(bytes) {
        raw.checksum = sum.into();
    }
    total
}

/// The header, checksum included, of a datagram whose payload lies elsewhere; `None` when its length field cannot say how long it is.
pub fn header_of(payload: &[u8], source_port: u16, target_port: u16, pseudo: &PseudoHeader) -> Option<[u8; HEADER_LEN]> {
    let total = HEADER_LEN + payload.len();
    let len = u16::try_from(total).ok()?;
    let mut header = [0; HEADER_LEN];
    let (raw, _) = Raw::mut_from_prefix(&mut header).ok()?;
    *raw = Raw { source_port: source_port.into(), target_port: target_port.into(), len: len.into(), checksum: 0.into() };
    let sum = checksum::sum(raw.as_bytes(), pseudo.sum(total));
    let sum = !checksum::fold(checksum::sum(payload, sum));
    raw.checksum = if sum == 0 { 0xffff } else { sum }.into();
    Some(header)
}

#[inline]
fn verify(datagram: &[u8], field: u16, pseudo: &PseudoHeader) -> Result<(), Drop> {
    //= rfc8200#8.1
    //# IPv6 receivers must discard UDP packets containing a zero
    //# checksum
    if field == 0 {
        return if pseudo.is_ipv4() { Ok(()) } else { Err(Drop::UdpChecksum) };
    }
    match checksum::verify(datagram, pseudo.sum(datagram.len()), field) {
        Verified::Good => Ok(()),
        Verified::Unfilled => Err(Drop::ChecksumUnfilled),
        Verified::Bad => Err(Drop::UdpChecksum),
    }
}

/// The header as it stands on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Raw {
    pub(super) source_port: U16,
    pub(super) target_port: U16,
    pub(super) len: U16,
    pub(super) checksum: U16,
}

const _: () = assert!(size_of::<Raw>() == HEADER_LEN);

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use etherparse::UdpSlice;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::ipv4::PROTOCOL_UDP;

    fn v4() -> PseudoHeader {
        let (source, target) = (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into());
        PseudoHeader { source, target, protocol: PROTOCOL_UDP }
    }

    fn v6() -> PseudoHeader {
        PseudoHeader { source: Ipv6Addr::LOCALHOST.into(), target: Ipv6Addr::UNSPECIFIED.into(), protocol: PROTOCOL_UDP }
    }

    fn datagram() -> [u8; 12] {
        let mut bytes = *b"........ping";
        assert_eq!(emit(&mut bytes, 4000, 7, &v4()), 12);
        bytes
    }

    #[test]
    fn a_datagram_cut_in_its_header_is_truncated_and_behind_it_lies() {
        let bytes = datagram();
        for cut in 0..bytes.len() {
            let why = if cut < HEADER_LEN { Drop::UdpTruncated } else { Drop::UdpLengthLies };
            assert_eq!(parse(&bytes[..cut], &v4()), Err(why), "cut at {cut}");
        }
        assert_eq!(parse(&bytes, &v4()).unwrap().payload(&bytes), b"ping");
        assert_eq!(parse(&bytes, &v4()).unwrap().payload(&bytes[..9]), b"");
    }

    #[test]
    fn a_length_below_the_header_or_beyond_the_packet_lies() {
        for len in [0, 1, 7, 13, 0xffff] {
            let mut bytes = datagram();
            bytes[4..6].copy_from_slice(&u16::to_be_bytes(len));
            assert_eq!(parse(&bytes, &v4()), Err(Drop::UdpLengthLies), "{len}");
        }
    }

    #[test]
    fn bytes_behind_the_length_are_not_part_of_the_datagram() {
        let mut bytes = datagram().to_vec();
        bytes.extend(b"trailer");
        let udp = parse(&bytes, &v4()).unwrap();
        assert_eq!((udp.len, udp.payload(&bytes)), (12, &b"ping"[..]));
    }

    #[test]
    fn every_wrong_bit_is_found() {
        for bit in 0..12 * 8 {
            let mut bytes = datagram();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes, &v4()).is_err(), "bit {bit}");
        }
        let mut bytes = datagram();
        bytes[11] ^= 1;
        assert_eq!(parse(&bytes, &v4()), Err(Drop::UdpChecksum));
        let elsewhere = PseudoHeader { target: Ipv4Addr::new(10, 0, 0, 3).into(), ..v4() };
        assert_eq!(parse(&datagram(), &elsewhere), Err(Drop::UdpChecksum));
    }

    #[test]
    fn a_missing_checksum_is_for_ipv4_only() {
        let mut bytes = datagram();
        bytes[6..8].fill(0);
        assert_eq!(parse(&bytes, &v4()).unwrap().checksum, 0);
        assert_eq!(parse(&bytes, &v6()), Err(Drop::UdpChecksum));
    }

    #[test]
    fn a_checksum_left_to_an_offload_has_its_own_name() {
        let mut bytes = datagram();
        bytes[6..8].copy_from_slice(&checksum::fold(v4().sum(12)).to_be_bytes());
        assert_eq!(parse(&bytes, &v4()), Err(Drop::ChecksumUnfilled));
    }

    #[test]
    fn only_the_target_port_may_not_be_zero() {
        let mut bytes = datagram();
        emit(&mut bytes, 0, 7, &v4());
        assert_eq!(parse(&bytes, &v4()).unwrap().source_port, 0);
        emit(&mut bytes, 7, 0, &v4());
        assert_eq!(parse(&bytes, &v4()), Err(Drop::UdpPortZero));
    }

    #[test]
    fn a_computed_zero_is_sent_as_all_ones() {
        let mut bytes = [0; 10];
        emit(&mut bytes, 1, 2, &v4());
        // The payload that makes the sum full: the complement of what the rest sums to.
        let rest = u16::from_be_bytes([bytes[6], bytes[7]]);
        bytes[8..].copy_from_slice(&rest.to_be_bytes());
        emit(&mut bytes, 1, 2, &v4());
        assert_eq!(bytes[6..8], [0xff, 0xff]);
        assert_eq!(parse(&bytes, &v4()).map(|udp| udp.checksum), Ok(0xffff));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        assert_eq!(emit(&mut [0; 7], 1, 2, &v4()), 0);
        assert_eq!(emit(&mut vec![0; 65_536], 1, 2, &v4()), 0);
        assert_eq!(emit(&mut vec![0; 65_535], 1, 2, &v4()), 65_535);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_here_and_by_others(
            source_port in any::<u16>(), target_port in 1u16.., payload in proptest::collection::vec(any::<u8>(), 0..200),
            ips in any::<[[u8; 4]; 2]>(),
        ) {
            let pseudo = PseudoHeader {
                source: Ipv4Addr::from(ips[0]).into(), target: Ipv4Addr::from(ips[1]).into(), protocol: PROTOCOL_UDP,
            };
            let mut bytes = [&[0; HEADER_LEN][..], &payload].concat();
            prop_assert_eq!(emit(&mut bytes, source_port, target_port, &pseudo), bytes.len());
            let udp = parse(&bytes, &pseudo).unwrap();
            prop_assert_eq!((udp.source_port, udp.target_port, udp.payload(&bytes)), (source_port, target_port, &payload[..]));
            let other = UdpSlice::from_slice(&bytes).unwrap();
            prop_assert_eq!((other.source_port(), other.destination_port(), other.payload()), (source_port, target_port, &payload[..]));
            let sum = other.to_header().calc_checksum_ipv4_raw(ips[0], ips[1], &payload).unwrap();
            prop_assert_eq!(udp.checksum, if sum == 0 { 0xffff } else { sum });
        }

        #[test]
        fn over_ipv6_it_is_read_by_others(payload in proptest::collection::vec(any::<u8>(), 0..100), ips in any::<[[u8; 16]; 2]>()) {
            let pseudo = PseudoHeader {
                source: Ipv6Addr::from(ips[0]).into(), target: Ipv6Addr::from(ips[1]).into(), protocol: PROTOCOL_UDP,
            };
            let mut bytes = [&[0; HEADER_LEN][..], &payload].concat();
            emit(&mut bytes, 9, 10, &pseudo);
            prop_assert!(parse(&bytes, &pseudo).is_ok());
            let sum = UdpSlice::from_slice(&bytes).unwrap().to_header().calc_checksum_ipv6_raw(ips[0], ips[1], &payload).unwrap();
            prop_assert_eq!(&bytes[6..8], if sum == 0 { 0xffffu16 } else { sum }.to_be_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), len in 0u8..64, sum in any::<bool>()) {
            let mut bytes = bytes;
            if bytes.len() >= HEADER_LEN {
                bytes[4..6].copy_from_slice(&[0, len]);
                if sum {
                    bytes[6..8].fill(0);
                }
            }
            if let Ok(udp) = parse(&bytes, &v4()) {
                prop_assert_eq!(udp.payload(&bytes).len() + HEADER_LEN, udp.len);
            }
        }
    }
}
