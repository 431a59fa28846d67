//! The Ethernet header and its tags, of 802.1Q and 802.1ad.
//!
//! Called by the engine for every frame, and by whatever builds one. Two tags are understood, those of the VLAN that a claim may name; behind them
//! another tag is an EtherType like any other, which nobody serves. No function here panics.

use std::fmt;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::vlan::{ETHERTYPE_SERVICE_VLAN, ID, TAG_LEN, Tag, TagKind, Vlan};
use crate::device::Drop;

pub use super::vlan::ETHERTYPE_VLAN;

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

/// The parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub target: Mac,
    /// Source address.
    pub source: Mac,
    /// The tags.
    pub vlan: Vlan,
    /// EtherType of what follows the header and the tags.
    pub ethertype: u16,
}

impl Ethernet {
    /// Length in bytes: 14, and 4 more with each tag.
    pub const fn header_len(&self) -> usize {
        HEADER_LEN + self.vlan.tag_bytes()
    }
}

/// Reads the header at the begin of a frame. A tag's priority is not kept; one for the priority alone (802.1Q 9.6) has the id 0.
///
/// # Errors
/// [`Drop::EthernetTruncated`]: fewer than 14 bytes, and 4 more for each tag.
#[inline(always)]
pub fn parse(bytes: &[u8]) -> Result<Ethernet, Drop> {
    let (raw, rest) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::EthernetTruncated)?;
    let first = raw.ethertype.get();
    // The header is put together here, of values: one that another function has seen lies in memory, written in small pieces and read in larger ones,
    // for which the processor waits.
    let (vlan, ethertype) =
        if first == ETHERTYPE_VLAN || first == ETHERTYPE_SERVICE_VLAN { parse_tags(first, rest)? } else { (Vlan::NONE, first) };
    Ok(Ethernet { target: Mac(raw.target), source: Mac(raw.source), vlan, ethertype })
}

/// Reads the one or two tags behind a header whose EtherType, `first`, announces the first; returns what lies behind them, too.
#[cold]
#[inline(never)]
fn parse_tags(first: u16, rest: &[u8]) -> Result<(Vlan, u16), Drop> {
    let (mut ethertype, mut rest) = (first, rest);
    let mut next = || {
        let Some(kind) = TagKind::of_ethertype(ethertype) else { return Ok(None) };
        let (tag, behind) = RawTag::ref_from_prefix(rest).map_err(|_| Drop::EthernetTruncated)?;
        (ethertype, rest) = (tag.ethertype.get(), behind);
        Ok(Some(Tag { kind, id: tag.control.get() & ID }))
    };
    let vlan = match (next()?, next()?) {
        (Some(outer), Some(inner)) => Vlan::stacked(outer, inner),
        (Some(only), None) => Vlan::tagged(only),
        (None, _) => Vlan::NONE,
    };
    Ok((vlan, ethertype))
}

/// Writes the header to the begin of `bytes` and returns its length; 0, and nothing written, when it does not fit. Tags are written with priority 0.
#[inline]
pub fn emit(bytes: &mut [u8], header: &Ethernet) -> usize {
    if bytes.len() < header.header_len() {
        return 0;
    }
    let Ok((raw, rest)) = Raw::mut_from_prefix(bytes) else { return 0 };
    raw.target = header.target.0;
    raw.source = header.source.0;
    raw.ethertype = header.ethertype.into();
    if !header.vlan.is_none() {
        emit_tags(raw, rest, header);
    }
    header.header_len()
}

/// Writes the tags of a header that fits.
#[cold]
fn emit_tags(raw: &mut Raw, rest: &mut [u8], header: &Ethernet) {
    let mut announced = &mut raw.ethertype;
    for (tag, room) in header.vlan.tags().zip(rest.chunks_exact_mut(TAG_LEN)) {
        let Ok((raw, _)) = RawTag::mut_from_prefix(room) else { return };
        *announced = tag.kind.ethertype().into();
        raw.control = tag.id.into();
        announced = &mut raw.ethertype;
    }
    *announced = header.ethertype.into();
}

/// Length of the header without tags, in bytes.
pub const HEADER_LEN: usize = 14;

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
        for vlan in [Vlan::NONE, Vlan::tagged(Tag::c(7)), Vlan::tagged(Tag::s(7)), Vlan::stacked(Tag::s(7), Tag::c(9))] {
            let header = Ethernet { target: A, source: B, vlan, ethertype: ETHERTYPE_IPV4 };
            let mut bytes = [0; 22];
            let len = emit(&mut bytes, &header);
            assert_eq!(len, header.header_len());
            for cut in 0..len {
                assert_eq!(parse(&bytes[..cut]), Err(Drop::EthernetTruncated), "{vlan:?} cut at {cut}");
                assert_eq!(emit(&mut [0; 22][..cut], &header), 0, "{vlan:?} into {cut} bytes");
            }
            assert_eq!(parse(&bytes[..len]), Ok(header));
        }
    }

    #[test]
    fn the_priority_of_a_tag_is_not_part_of_its_vlan() {
        let frame = |control: u16| {
            let mut bytes = [0; 18];
            emit(&mut bytes, &Ethernet { target: A, source: B, vlan: Vlan::tagged(Tag::c(0)), ethertype: ETHERTYPE_ARP });
            bytes[14..16].copy_from_slice(&control.to_be_bytes());
            parse(&bytes).unwrap()
        };
        assert_eq!(frame(0xe000).vlan, Vlan::tagged(Tag::c(0)));
        assert_eq!(frame(0xffff).vlan, Vlan::tagged(Tag::c(4095)));
        assert_eq!(frame(0x3007).vlan, Vlan::tagged(Tag::c(7)));
    }

    #[test]
    fn a_third_tag_is_an_unknown_ethertype() {
        let mut bytes = [0; 26];
        emit(
            &mut bytes,
            &Ethernet { target: A, source: B, vlan: Vlan::stacked(Tag::s(1), Tag::c(2)), ethertype: ETHERTYPE_VLAN },
        );
        assert_eq!(parse(&bytes).unwrap().ethertype, ETHERTYPE_VLAN);
    }

    #[test]
    fn groups_are_known_by_the_lowest_bit_of_the_first_byte() {
        assert!(Mac::BROADCAST.is_group() && Mac([1, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!A.is_group() && !Mac::default().is_group());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(target in any::<[u8; 6]>(), source in any::<[u8; 6]>(), tags in proptest::collection::vec((any::<bool>(), 0u16..4096), 0..3),
                                   ethertype in any::<u16>()) {
            prop_assume!(tags.len() == 2 || TagKind::of_ethertype(ethertype).is_none());
            let tags: Vec<Tag> = tags.into_iter().map(|(service, id)| if service { Tag::s(id) } else { Tag::c(id) }).collect();
            let vlan = match tags[..] {
                [outer, inner] => Vlan::stacked(outer, inner),
                [only] => Vlan::tagged(only),
                _ => Vlan::NONE,
            };
            let header = Ethernet { target: Mac(target), source: Mac(source), vlan, ethertype };
            let mut bytes = [0; 22];
            prop_assert_eq!(emit(&mut bytes, &header), header.header_len());
            prop_assert_eq!(parse(&bytes), Ok(header));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let tag = |at: usize| matches!(bytes.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8]));
            let len = if !tag(12) { 14 } else if !tag(16) { 18 } else { 22 };
            prop_assert_eq!(parse(&bytes).is_ok(), bytes.len() >= len);
        }
    }
}
