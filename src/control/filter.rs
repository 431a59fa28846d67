//! Which of the passed frames are read as copies: the filters of the AF_PACKET sockets (classic BPF).
//!
//! Chosen by what is claimed. In a port claim ICMP and ICMPv6 errors; in an address claim what stations say of themselves to all, by ARP and
//! by neighbour advertisements, and router advertisements where they are followed. Frames of a VLAN are not taken: neither those whose tag the kernel
//! carries beside them, nor those from which it took it off, for an interface of that VLAN or, where there is none, for nobody. Pure.

use socket2::SockFilter;

use crate::link::interface::Claim;
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// EtherTypes and filters for a claim on the interface of this index. `routers` says whether what they advertise is followed.
pub(super) fn filters(ifindex: u32, claim: &Claim, routers: bool) -> Vec<(u16, Vec<SockFilter>)> {
    let conditions = match claim {
        Claim::Ports { .. } => [(ETHERTYPE_IPV4, ICMP_ERRORS), (ETHERTYPE_IPV6, ICMPV6_ERRORS)],
        Claim::Addresses(_) if routers => [(ETHERTYPE_ARP, ANNOUNCEMENTS), (ETHERTYPE_IPV6, ROUTERS_TOO)],
        Claim::Addresses(_) => [(ETHERTYPE_ARP, ANNOUNCEMENTS), (ETHERTYPE_IPV6, ADVERTISEMENTS)],
    };
    conditions.map(|(ethertype, own)| (ethertype, text(&[&tagless(ifindex), own].concat()))).into()
}

/// The kernel carries no tag beside the frame, has not made it one of a VLAN's interface, and not marked it for nobody because that is missing.
const fn tagless(ifindex: u32) -> [Take; 3] {
    [Take::Ancillary(VLAN_TAG_PRESENT, 0), Take::Ancillary(IFINDEX, ifindex), Take::NotAncillary(PKTTYPE, PACKET_OTHERHOST)]
}

/// ICMP destination unreachable, time exceeded and parameter problem, unfragmented.
const ICMP_ERRORS: &[Take] = &[
    Take::Byte(23, &[1]),
    // Neither a fragment nor followed by one.
    Take::NoBits(20, 0x3fff),
    // Behind a header of any length.
    Take::HeaderThen(&[3, 11, 12]),
];
/// ICMPv6 errors directly behind the header, the types below 5.
const ICMPV6_ERRORS: &[Take] = &[Take::Byte(20, &[58]), Take::Byte(54, &[1, 2, 3, 4])];
/// ARP whose sender asks for itself or answers with itself (RFC 5227 3).
const ANNOUNCEMENTS: &[Take] = &[Take::SameWord(28, 38)];
/// Advertisements of neighbours to all nodes.
const ADVERTISEMENTS: &[Take] = &[Take::Byte(20, &[58]), Take::Byte(38, &[0xff]), Take::Byte(53, &[1]), Take::Byte(54, &[136])];
/// Advertisements of neighbours and of routers to all nodes.
const ROUTERS_TOO: &[Take] = &[Take::Byte(20, &[58]), Take::Byte(38, &[0xff]), Take::Byte(53, &[1]), Take::Byte(54, &[134, 136])];

/// A condition of a frame.
#[derive(Clone, Copy)]
enum Take {
    /// What the kernel says of the frame at one of its own offsets is this.
    Ancillary(u32, u32),
    /// What the kernel says of the frame at one of its own offsets is not this.
    NotAncillary(u32, u32),
    /// The byte at an offset is one of these.
    Byte(u32, &'static [u32]),
    /// The half-word at an offset has none of these bits.
    NoBits(u32, u32),
    /// The first byte behind an IPv4 header at 14 is one of these.
    HeaderThen(&'static [u32]),
    /// The words at two offsets are the same.
    SameWord(u32, u32),
}

/// A filter that takes a frame when all conditions hold.
fn text(conditions: &[Take]) -> Vec<SockFilter> {
    let lengths: Vec<usize> = conditions.iter().map(Take::len).collect();
    let mut text = Vec::new();
    for (n, condition) in conditions.iter().enumerate() {
        // From the end of this condition over the others and the taking to the refusal.
        let behind = lengths.iter().skip(n + 1).sum::<usize>() + 1;
        condition.emit(behind, &mut text);
    }
    text.push(SockFilter::new(RETURN, 0, 0, SNAP_LEN));
    text.push(SockFilter::new(RETURN, 0, 0, 0));
    text
}

impl Take {
    const fn len(&self) -> usize {
        match self {
            Self::Ancillary(..) | Self::NotAncillary(..) | Self::NoBits(..) => 2,
            Self::Byte(_, values) => 1 + values.len(),
            Self::HeaderThen(values) => 2 + values.len(),
            Self::SameWord(..) => 4,
        }
    }

    /// Writes the condition; `behind` instructions lie between its end and the refusal.
    fn emit(&self, behind: usize, text: &mut Vec<SockFilter>) {
        let refused = behind as u8;
        match *self {
            Self::Ancillary(what, value) => {
                text.push(SockFilter::new(LOAD_WORD, 0, 0, what));
                text.push(SockFilter::new(JUMP_EQUAL, 0, refused, value));
            }
            Self::NotAncillary(what, value) => {
                text.push(SockFilter::new(LOAD_WORD, 0, 0, what));
                text.push(SockFilter::new(JUMP_EQUAL, refused, 0, value));
            }
            Self::Byte(at, values) => {
                text.push(SockFilter::new(LOAD_BYTE, 0, 0, at));
                one_of(values, refused, text);
            }
            Self::NoBits(at, bits) => {
                text.push(SockFilter::new(LOAD_HALF, 0, 0, at));
                text.push(SockFilter::new(JUMP_BITS, refused, 0, bits));
            }
            Self::HeaderThen(values) => {
                text.push(SockFilter::new(LOAD_HEADER_LEN, 0, 0, 14));
                text.push(SockFilter::new(LOAD_BYTE_BEHIND, 0, 0, 14));
                one_of(values, refused, text);
            }
            Self::SameWord(one, other) => {
                text.push(SockFilter::new(LOAD_WORD, 0, 0, one));
                text.push(SockFilter::new(TO_INDEX, 0, 0, 0));
                text.push(SockFilter::new(LOAD_WORD, 0, 0, other));
                text.push(SockFilter::new(JUMP_EQUAL_INDEX, 0, refused, 0));
            }
        }
    }
}

/// On behind the last when the accumulator is one of these.
fn one_of(values: &[u32], refused: u8, text: &mut Vec<SockFilter>) {
    for (n, &value) in values.iter().enumerate() {
        let left = (values.len() - 1 - n) as u8;
        text.push(SockFilter::new(JUMP_EQUAL, left, if left == 0 { refused } else { 0 }, value));
    }
}

/// Bytes of a copy: an ICMP error with all that it may quote (RFC 4443 2.4 c: 1280).
pub(super) const SNAP_LEN: u32 = 2048;

// linux/bpf_common.h.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_BYTE_BEHIND: u16 = 0x50;
/// Into the index: four times the lower half of a byte.
const LOAD_HEADER_LEN: u16 = 0xb1;
const TO_INDEX: u16 = 0x07;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_EQUAL_INDEX: u16 = 0x1d;
const JUMP_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;
// SKF_AD_OFF and what is behind it (linux/filter.h).
const PKTTYPE: u32 = 0xffff_f000 + 4;
const IFINDEX: u32 = 0xffff_f000 + 8;
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
/// linux/if_packet.h.
const PACKET_OTHERHOST: u32 = 3;
