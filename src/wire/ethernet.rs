//! The Ethernet header and its 802.1Q tag.
//!
//! Called by the engine for every frame, and by whatever builds one. One tag is understood, that of the VLAN a claim may name; behind it
//! another tag is an EtherType like any other, which nobody serves. No function here panics.

use std::fmt;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::device::Drop;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations (RFC 894).
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// True for broadcast and multicast: the lowest bit of the first byte.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;

/// The parsed header. `vlan` is the 12-bit id of an 802.1Q tag, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub target: Mac,
    /// Source address.
    pub source: Mac,
    /// VLAN id, 0 to 4095.
    pub vlan: Option<u16>,
    /// EtherType of what follows the header and the tag.
    pub ethertype: u16,
}

impl Ethernet {
    /// Length in bytes: 14, or 18 with a tag.
    pub const fn header_len(&self) -> usize {
        if self.vlan.is_some() { 18 } else { 14 }
    }
}

/// Reads the header at the begin of a frame. A tag's priority is not kept; VLAN 0 (a tag for the priority alone, 802.1Q 9.6) is `Some(0)`.
///
/// # Errors
/// [`Drop::EthernetTruncated`]: fewer than 14 bytes, or fewer than 18 with a tag.
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Ethernet, Drop> {
    let (raw, rest) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::EthernetTruncated)?;
    let mut header = Ethernet { target: Mac(raw.target), source: Mac(raw.source), vlan: None, ethertype: raw.ethertype.get() };
    if header.ethertype == ETHERTYPE_VLAN {
        let (tag, _) = RawTag::ref_from_prefix(rest).map_err(|_| Drop::EthernetTruncated)?;
        header.vlan = Some(tag.control.get() & VLAN_ID);
        header.ethertype = tag.ethertype.get();
    }
    Ok(header)
}

/// Writes the header to the begin of `bytes` and returns its length; 0, and nothing written, when it does not fit. Of a VLAN the lower
/// 12 bits are written, with priority 0.
#[inline]
pub fn emit(bytes: &mut [u8], header: &Ethernet) -> usize {
    if bytes.len() < header.header_len() {
        return 0;
    }
    let Ok((raw, rest)) = Raw::mut_from_prefix(bytes) else { return 0 };
    raw.target = header.target.0;
    raw.source = header.source.0;
    raw.ethertype = header.ethertype.into();
    if let Some(vlan) = header.vlan {
        let Ok((tag, _)) = RawTag::mut_from_prefix(rest) else { return 0 };
        raw.ethertype = ETHERTYPE_VLAN.into();
        tag.control = (vlan & VLAN_ID).into();
        tag.ethertype = header.ethertype.into();
    }
    header.header_len()
}

/// The lower 12 bits of a tag's control field.
const VLAN_ID: u16 = 0x0fff;

/// The header as it stands on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    target: [u8; 6],
    source: [u8; 6],
    ethertype: U16,
}

/// What follows the EtherType of a tag.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTag {
    control: U16,
    ethertype: U16,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_header_cut_anywhere_is_truncated() {
        for vlan in [None, Some(7)] {
            let header = Ethernet { target: A, source: B, vlan, ethertype: ETHERTYPE_IPV4 };
            let mut bytes = [0; 18];
            let len = emit(&mut bytes, &header);
            assert_eq!(len, header.header_len());
            for cut in 0..len {
                assert_eq!(parse(&bytes[..cut]), Err(Drop::EthernetTruncated), "{vlan:?} cut at {cut}");
                assert_eq!(emit(&mut [0; 18][..cut], &header), 0, "{vlan:?} into {cut} bytes");
            }
            assert_eq!(parse(&bytes[..len]), Ok(header));
        }
    }

    #[test]
    fn the_priority_of_a_tag_is_not_part_of_its_vlan() {
        let frame = |control: u16| {
            let mut bytes = [0; 18];
            emit(&mut bytes, &Ethernet { target: A, source: B, vlan: Some(0), ethertype: ETHERTYPE_ARP });
            bytes[14..16].copy_from_slice(&control.to_be_bytes());
            parse(&bytes).unwrap()
        };
        assert_eq!(frame(0xe000).vlan, Some(0));
        assert_eq!(frame(0xffff).vlan, Some(4095));
        assert_eq!(frame(0x3007).vlan, Some(7));
    }

    #[test]
    fn a_second_tag_is_an_unknown_ethertype() {
        let mut bytes = [0; 22];
        emit(&mut bytes, &Ethernet { target: A, source: B, vlan: Some(1), ethertype: ETHERTYPE_VLAN });
        assert_eq!(parse(&bytes).unwrap().ethertype, ETHERTYPE_VLAN);
    }

    #[test]
    fn groups_are_known_by_the_lowest_bit_of_the_first_byte() {
        assert!(Mac::BROADCAST.is_group() && Mac([1, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!A.is_group() && !Mac::default().is_group());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(target in any::<[u8; 6]>(), source in any::<[u8; 6]>(), vlan in proptest::option::of(0u16..4096),
                                   ethertype in any::<u16>()) {
            prop_assume!(vlan.is_some() || ethertype != ETHERTYPE_VLAN);
            let header = Ethernet { target: Mac(target), source: Mac(source), vlan, ethertype };
            let mut bytes = [0; 18];
            prop_assert_eq!(emit(&mut bytes, &header), header.header_len());
            prop_assert_eq!(parse(&bytes), Ok(header));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(parse(&bytes).is_ok(), bytes.len() >= 18 || bytes.len() >= 14 && bytes[12..14] != [0x81, 0]);
        }
    }
}
