//! The VLAN of a frame: up to two tags, each with its kind and its id.
//!
//! Named by claims, read from frames and written into them, spelt as one number in keys and values of the claim map. Pure; nothing here panics.

use std::fmt;
use std::str::FromStr;

use crate::error::SetupError;

/// EtherType of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;

/// EtherType of an 802.1ad service tag.
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// In a key: the first VLAN of a claim, whatever it is; its true number is the value. No VLAN has this number.
pub const ANY_VLAN: u32 = u32::MAX;

/// Number of an untagged frame.
pub const UNTAGGED: u32 = 0;

/// In the number of a tag: the place above its 12-bit id, by kind. No tag is 0.
pub const CUSTOMER: u16 = 0x1000;
/// As [`CUSTOMER`], for a service tag.
pub const SERVICE: u16 = 0x2000;

/// The lower 12 bits of a tag's control field, and of its number.
pub const ID: u16 = 0x0fff;

/// Bytes of one tag in a frame.
pub const TAG_LEN: usize = 4;

/// The largest id that a claim may name (802.1Q 9.6 reserves the one above).
pub const LARGEST_ID: u16 = 4094;

/// The kind of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagKind {
    /// 802.1Q, EtherType 0x8100: the usual one.
    Customer,
    /// 802.1ad, EtherType 0x88a8: a provider's.
    Service,
}

impl TagKind {
    /// The kind of tag an EtherType announces, if it does.
    pub const fn of_ethertype(ethertype: u16) -> Option<Self> {
        match ethertype {
            ETHERTYPE_VLAN => Some(Self::Customer),
            ETHERTYPE_SERVICE_VLAN => Some(Self::Service),
            _ => None,
        }
    }

    /// The EtherType that announces it.
    pub const fn ethertype(self) -> u16 {
        match self {
            Self::Customer => ETHERTYPE_VLAN,
            Self::Service => ETHERTYPE_SERVICE_VLAN,
        }
    }
}

/// One tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// 802.1Q or 802.1ad.
    pub kind: TagKind,
    /// VLAN id; a frame's has 12 bits, and a claim may name 0 (a tag for the priority alone) to 4094.
    pub id: u16,
}

impl Tag {
    /// An 802.1Q tag.
    pub const fn c(id: u16) -> Self {
        Self { kind: TagKind::Customer, id }
    }

    /// An 802.1ad tag.
    pub const fn s(id: u16) -> Self {
        Self { kind: TagKind::Service, id }
    }

    const fn number(self) -> u16 {
        let kind = match self.kind {
            TagKind::Customer => CUSTOMER,
            TagKind::Service => SERVICE,
        };
        kind | self.id & ID
    }

    const fn of_number(number: u16) -> Option<Self> {
        match number & !ID {
            CUSTOMER => Some(Self::c(number & ID)),
            SERVICE => Some(Self::s(number & ID)),
            _ => None,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TagKind::Customer => write!(f, "vlan {}", self.id),
            TagKind::Service => write!(f, "802.1ad vlan {}", self.id),
        }
    }
}

/// The tags of a frame, none to two. A frame with more is nobody's claim.
///
/// It is read as a person writes it behind an address: `100` is an 802.1Q tag, `100.200` an 802.1ad tag 100 and an 802.1Q tag 200 in it. A letter in
/// front of an id names the other kind: `s100` is an 802.1ad tag alone, `c100.200` has two of 802.1Q.
///
/// ```
/// use ringway::wire::vlan::{Tag, Vlan};
/// assert_eq!("100".parse(), Ok(Vlan::tagged(Tag::c(100))));
/// assert_eq!("100.200".parse(), Ok(Vlan::stacked(Tag::s(100), Tag::c(200))));
/// assert!("4095".parse::<Vlan>().is_err());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vlan(
    /// The number of the outer tag in the upper half, that of the inner one in the lower.
    u32,
);

impl Vlan {
    /// Frames without a tag.
    pub const NONE: Self = Self(0);

    /// Frames with one tag.
    pub const fn tagged(tag: Tag) -> Self {
        Self((tag.number() as u32) << 16)
    }

    /// Frames with two tags.
    pub const fn stacked(outer: Tag, inner: Tag) -> Self {
        Self(Self::tagged(outer).0 | inner.number() as u32)
    }

    /// True for frames without a tag.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The outer tag, or the only one.
    pub const fn outer(self) -> Option<Tag> {
        Tag::of_number((self.0 >> 16) as u16)
    }

    /// The tag in the outer one.
    pub const fn inner(self) -> Option<Tag> {
        Tag::of_number(self.0 as u16)
    }

    /// The tags, from the outside in.
    pub fn tags(self) -> impl Iterator<Item = Tag> {
        self.outer().into_iter().chain(self.inner())
    }

    /// Bytes of the tags in a frame: 0, 4 or 8.
    #[inline]
    pub const fn tag_bytes(self) -> usize {
        match self.0 {
            0 => 0,
            tags if tags & 0xffff == 0 => TAG_LEN,
            _ => 2 * TAG_LEN,
        }
    }

    /// The number in map keys and values: 16 bits for each tag, the outer one in the lower half.
    pub const fn number(self) -> u32 {
        self.0.rotate_left(16)
    }

    /// As it stands behind an address: `@100`; nothing where there is no tag.
    pub const fn suffix(self) -> Suffix {
        Suffix(self)
    }
}

/// An 802.1Q id, or none.
impl From<Option<u16>> for Vlan {
    fn from(id: Option<u16>) -> Self {
        id.map_or(Self::NONE, |id| Self::tagged(Tag::c(id)))
    }
}

impl FromStr for Vlan {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let bad = |why: String| {
            SetupError::usage(format!("cannot read the VLAN `{text}`"), why)
                .mend("-a 10.0.0.2/24@100, or @100.200 for a tag in one of 802.1ad")
        };
        let tag = |text: &str, usual: TagKind| {
            let (kind, id) = match text.split_at_checked(1) {
                Some(("s", id)) => (TagKind::Service, id),
                Some(("c", id)) => (TagKind::Customer, id),
                _ => (usual, text),
            };
            match id.parse() {
                Ok(id) if id <= LARGEST_ID && text.ends_with(|last: char| last.is_ascii_digit()) && !text.contains('+') => {
                    Ok(Tag { kind, id })
                }
                _ => Err(bad(format!("`{text}` is not an id from 0 to {LARGEST_ID}"))),
            }
        };
        match text.split_once('.') {
            None => tag(text, TagKind::Customer).map(Self::tagged),
            Some((outer, inner)) => Ok(Self::stacked(tag(outer, TagKind::Service)?, tag(inner, TagKind::Customer)?)),
        }
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outer(), self.inner()) {
            (None, _) => f.write_str("untagged"),
            (Some(tag), None) => write!(f, "{tag}"),
            (Some(outer), Some(inner)) => write!(f, "{outer}, {inner}"),
        }
    }
}

impl fmt::Debug for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A VLAN behind an address.
#[derive(Clone, Copy, Debug)]
pub struct Suffix(Vlan);

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = |tag: Tag, usual: TagKind| match tag.kind {
            kind if kind == usual => tag.id.to_string(),
            TagKind::Customer => format!("c{}", tag.id),
            TagKind::Service => format!("s{}", tag.id),
        };
        match (self.0.outer(), self.0.inner()) {
            (None, _) => Ok(()),
            (Some(only), None) => write!(f, "@{}", tag(only, TagKind::Customer)),
            (Some(outer), Some(inner)) => {
                write!(f, "@{}.{}", tag(outer, TagKind::Service), tag(inner, TagKind::Customer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_stack() -> Vec<Vlan> {
        let tags = [Tag::c(0), Tag::c(5), Tag::c(4094), Tag::s(0), Tag::s(5), Tag::s(4094)];
        let stacked = tags.iter().flat_map(|&outer| tags.iter().map(move |&inner| Vlan::stacked(outer, inner)));
        stacked.chain(tags.map(Vlan::tagged)).chain([Vlan::NONE]).collect()
    }

    #[test]
    fn every_stack_of_tags_has_a_number_of_its_own() {
        let all: Vec<_> = every_stack().into_iter().map(Vlan::number).collect();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len(), "{all:x?}");
        assert!(!all.contains(&ANY_VLAN));
        assert_eq!(Vlan::NONE.number(), UNTAGGED);
        assert_eq!(Vlan::stacked(Tag::s(1), Tag::c(2)).number(), 0x1002_2001);
    }

    #[test]
    fn every_stack_of_tags_is_read_as_it_is_shown() {
        for vlan in every_stack().into_iter().filter(|vlan| !vlan.is_none()) {
            let shown = vlan.suffix().to_string();
            assert_eq!(shown.trim_start_matches('@').parse(), Ok(vlan), "{shown}");
            assert_eq!(vlan.tag_bytes(), 4 * vlan.tags().count());
        }
        assert_eq!(Vlan::NONE.suffix().to_string(), "");
        assert_eq!(Vlan::stacked(Tag::s(100), Tag::c(200)).suffix().to_string(), "@100.200");
        assert_eq!(Vlan::stacked(Tag::c(1), Tag::s(2)).suffix().to_string(), "@c1.s2");
    }

    #[test]
    fn what_is_no_vlan_is_a_usage_error() {
        for bad in ["", "x", "4095", "-1", "+1", "100.", ".100", "1.2.3", "s", "sc1", "1 ", "65536"] {
            let error = bad.parse::<Vlan>().unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
            assert!(error.why().contains("from 0 to 4094"), "{error}");
        }
    }
}
