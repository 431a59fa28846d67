//! The VLAN of a frame as the program sees it: up to two tags, each with its kind and its id.
//!
//! Named by claims, told from frames by the model, spelt as one number in keys and values of the claim map. Pure; nothing here panics.

use std::fmt;

use crate::wire::ethernet::ETHERTYPE_VLAN;

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
        kind | self.id & 0x0fff
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vlan {
    outer: Option<Tag>,
    inner: Option<Tag>,
}

impl Vlan {
    /// Frames without a tag.
    pub const NONE: Self = Self { outer: None, inner: None };

    /// Frames with one tag.
    pub const fn tagged(tag: Tag) -> Self {
        Self { outer: Some(tag), inner: None }
    }

    /// Frames with two tags.
    pub const fn stacked(outer: Tag, inner: Tag) -> Self {
        Self { outer: Some(outer), inner: Some(inner) }
    }

    /// The tags, from the outside in.
    pub fn tags(self) -> impl Iterator<Item = Tag> {
        self.outer.into_iter().chain(self.inner)
    }

    /// The number in map keys and values: 16 bits for each tag, the outer one in the lower half.
    pub fn number(self) -> u32 {
        let half = |tag: Option<Tag>| u32::from(tag.map_or(0, Tag::number));
        half(self.outer) | half(self.inner) << 16
    }
}

/// An 802.1Q id, or none, as the engine knows an interface's.
impl From<Option<u16>> for Vlan {
    fn from(id: Option<u16>) -> Self {
        id.map_or(Self::NONE, |id| Self::tagged(Tag::c(id)))
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outer, self.inner) {
            (None, _) => f.write_str("untagged"),
            (Some(tag), None) => write!(f, "{tag}"),
            (Some(outer), Some(inner)) => write!(f, "{outer}, {inner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stack_of_tags_has_a_number_of_its_own() {
        let tags = [Tag::c(0), Tag::c(5), Tag::c(4094), Tag::s(0), Tag::s(5), Tag::s(4095)];
        let stacked = tags.iter().flat_map(|&outer| tags.iter().map(move |&inner| Vlan::stacked(outer, inner)));
        let all: Vec<_> = stacked.chain(tags.map(Vlan::tagged)).chain([Vlan::NONE]).map(Vlan::number).collect();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len(), "{all:x?}");
        assert!(!all.contains(&ANY_VLAN));
        assert_eq!(Vlan::NONE.number(), UNTAGGED);
        assert_eq!(Vlan::stacked(Tag::s(1), Tag::c(2)).number(), 0x1002_2001);
    }
}
