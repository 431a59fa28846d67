//! The extension headers of IPv6 (RFC 8200 4): from the IPv6 header to the protocol that the packet carries.
//!
//! Called by the engine for packets whose next header is none of TCP, UDP and ICMPv6, and by [`super::icmpv6`] for the packet that an error
//! quotes. No option and no route is acted on: what asks for it is refused as the RFC says. The walk is bounded in headers and in bytes
//! ([`crate::limits`]); nothing here panics.

use super::ipv6::{
    self, NEXT_HEADER_DESTINATION, NEXT_HEADER_FRAGMENT, NEXT_HEADER_HOP_BY_HOP, NEXT_HEADER_ICMPV6, NEXT_HEADER_NONE,
    NEXT_HEADER_ROUTING, NEXT_HEADER_TCP, NEXT_HEADER_UDP,
};
use super::{icmpv6, tcp, udp};
use crate::device::Drop;
use crate::limits::{EXTENSION_BYTES, EXTENSION_HEADERS};

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The protocol behind the extension headers; of a fragment that is not the first, what its header says the packet begins with.
    pub protocol: u8,
    /// Where the protocol's bytes, or those of a later fragment, begin: from the begin of the IPv6 payload.
    pub at: usize,
    /// Where the field stands that names the protocol, from the begin of the packet: what a Parameter Problem of
    /// [`icmpv6::CODE_NEXT_HEADER`] points to when nobody serves it.
    pub named_at: u32,
    /// Set when the packet is a part of a larger one. An atomic fragment is whole (RFC 6946) and none.
    pub fragment: Option<Fragment>,
    /// There was a fragment header, if only an atomic one: enough for neighbour discovery to be ignored (RFC 6980).
    pub fragment_header: bool,
    /// There was any extension header: the packet cannot be answered in place.
    pub extended: bool,
}

/// What a fragment header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Where the bytes belong in the fragmentable part of the whole, in bytes; a multiple of 8.
    pub offset: u16,
    /// Others come behind this one.
    pub more: bool,
    /// What the fragments of one packet share.
    pub identification: u32,
    /// Where the fragment header begins, from the begin of the IPv6 payload. What is reassembled begins 8 bytes behind it.
    pub at: usize,
    /// Where the field stands that names the fragment header, from the begin of the packet.
    pub named_at: u32,
}

/// A packet that is not to be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why it is dropped.
    pub why: Drop,
    /// The Parameter Problem to be sent for it, if any.
    pub problem: Option<Problem>,
}

/// A Parameter Problem (RFC 4443 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its code.
    pub code: u8,
    /// Where the problem is, from the begin of the packet.
    pub pointer: u32,
    /// To be sent even when the packet went to a multicast address.
    pub even_if_multicast: bool,
}

/// Walks over the extension headers of a packet. `first` is the next header of its IPv6 header, `payload` what follows that header, without
/// padding of the link. A protocol that is not known here is returned like any other.
///
/// # Errors
/// [`Drop::Ipv6ExtensionTruncated`], [`Drop::Ipv6ExtensionMisplaced`], [`Drop::Ipv6ExtensionTooMany`], [`Drop::Ipv6OptionMalformed`],
/// [`Drop::Ipv6OptionUnknown`], [`Drop::Ipv6RoutingRefused`], [`Drop::Ipv6NoNextHeader`], [`Drop::Ipv6FragmentMalformed`] or
/// [`Drop::Ipv6FragmentHeadless`], with the problem to be reported.
//= rfc8200#4
//# Therefore,
//# extension headers must be processed strictly in the order they appear
//# in the packet
pub fn walk(first: u8, payload: &[u8]) -> Result<Walked, Refused> {
    let named_at = NEXT_HEADER_FIELD;
    let mut here = Walked { protocol: first, at: 0, named_at, fragment: None, fragment_header: false, extended: false };
    for _ in 0..=EXTENSION_HEADERS {
        here = match here.protocol {
            //= rfc8200#4
            //# The same
            //# action should be taken if a node encounters a Next Header value of
            //# zero in any header other than an IPv6 header.
            NEXT_HEADER_HOP_BY_HOP if here.extended => {
                return Err(refused(Drop::Ipv6ExtensionMisplaced, icmpv6::CODE_NEXT_HEADER, here.named_at));
            }
            NEXT_HEADER_HOP_BY_HOP | NEXT_HEADER_DESTINATION => {
                let header = header(here, payload)?;
                options(header, here.at)?;
                behind(here, header)
            }
            NEXT_HEADER_ROUTING => {
                let header = header(here, payload)?;
                route(header, here.at)?;
                behind(here, header)
            }
            NEXT_HEADER_FRAGMENT => {
                let walked = fragment(here, payload)?;
                if walked.fragment.is_some_and(|fragment| fragment.offset != 0) {
                    return Ok(walked);
                }
                walked
            }
            NEXT_HEADER_NONE => return Err(silent(Drop::Ipv6NoNextHeader)),
            _ => return upper_layer(here, payload),
        };
    }
    Err(silent(Drop::Ipv6ExtensionTooMany))
}

/// The extension header that begins at `here`: at least 8 bytes.
fn header(here: Walked, payload: &[u8]) -> Result<&[u8], Refused> {
    let rest = payload.get(here.at..).unwrap_or_default();
    let Some(len) = rest.get(1).map(|&words| usize::from(words) * 8 + 8) else { return Err(cut(here)) };
    //= rfc8504#5.3
    //# A host MAY impose a limit on the maximum length of Destination
    //# Options or Hop-by-Hop Options extension headers.
    if here.at + len > EXTENSION_BYTES {
        return Err(silent(Drop::Ipv6ExtensionTooMany));
    }
    rest.get(..len).ok_or_else(|| cut(here))
}

/// What to do with a packet that ends within its headers.
fn cut(here: Walked) -> Refused {
    //= rfc8200#4.5
    //# If the first fragment does not include all headers through an
    //# Upper-Layer header, then that fragment should be discarded and
    //# an ICMP Parameter Problem, Code 3, message should be sent to
    //# the source of the fragment, with the Pointer field set to zero.
    match here.fragment {
        Some(_) => refused(Drop::Ipv6FragmentHeadless, icmpv6::CODE_FIRST_FRAGMENT, 0),
        None => silent(Drop::Ipv6ExtensionTruncated),
    }
}

/// The next step behind `header`.
fn behind(here: Walked, header: &[u8]) -> Walked {
    let protocol = header.first().copied().unwrap_or(NEXT_HEADER_NONE);
    Walked { protocol, at: here.at + header.len(), named_at: pointer(here.at), extended: true, ..here }
}

/// The options of the header that begins at `at`, in their order. None but the padding is known: for the others their type says what to do.
fn options(header: &[u8], at: usize) -> Result<(), Refused> {
    let mut next = 2;
    while let Some(&kind) = header.get(next) {
        let this = next;
        if kind == PAD_1 {
            next += 1;
            continue;
        }
        let len = header.get(this + 1).map_or(usize::MAX, |&len| usize::from(len));
        next = this.saturating_add(2).saturating_add(len);
        if next > header.len() {
            return Err(refused(Drop::Ipv6OptionMalformed, icmpv6::CODE_FIELD, pointer(at + this)));
        }
        if kind == PAD_N {
            continue;
        }
        let unknown = refused(Drop::Ipv6OptionUnknown, icmpv6::CODE_OPTION, pointer(at + this));
        //= rfc8200#4.2
        //# 00 - skip over this option and continue processing the header.
        //# 01 - discard the packet.
        //# 10 - discard the packet and, regardless of whether or not the
        //# packet's Destination Address was a multicast address, send an
        //# ICMP Parameter Problem, Code 2, message to the packet's
        //# Source Address, pointing to the unrecognized Option Type.
        match kind >> 6 {
            0b00 => {}
            0b01 => return Err(silent(Drop::Ipv6OptionUnknown)),
            0b10 => {
                let problem = unknown.problem.map(|problem| Problem { even_if_multicast: true, ..problem });
                return Err(Refused { problem, ..unknown });
            }
            _ => return Err(unknown),
        }
    }
    Ok(())
}

/// Every routing type is unknown here, type 0 included: it is deprecated (RFC 5095).
fn route(header: &[u8], at: usize) -> Result<(), Refused> {
    //= rfc8200#4.4
    //# If Segments Left is zero, the node must ignore the Routing header
    //# and proceed to process the next header in the packet
    if header.get(3) == Some(&0) {
        return Ok(());
    }
    //= rfc8200#4.4
    //# If Segments Left is non-zero, the node must discard the packet and
    //# send an ICMP Parameter Problem, Code 0, message to the packet's
    //# Source Address, pointing to the unrecognized Routing Type.
    Err(refused(Drop::Ipv6RoutingRefused, icmpv6::CODE_FIELD, pointer(at + 2)))
}

fn fragment(here: Walked, payload: &[u8]) -> Result<Walked, Refused> {
    let rest = payload.get(here.at..).unwrap_or_default();
    let Some((&[protocol, _, offset_high, offset_low, i0, i1, i2, i3], data)) = rest.split_first_chunk::<8>() else {
        return Err(cut(here));
    };
    if here.fragment_header {
        return Err(silent(Drop::Ipv6ExtensionMisplaced));
    }
    let word = u16::from_be_bytes([offset_high, offset_low]);
    let (offset, more) = (word & !0b111, word & 1 == 1);
    //= rfc8200#4.5
    //# If the length of a fragment, as derived from the fragment
    //# packet's Payload Length field, is not a multiple of 8 octets
    //# and the M flag of that fragment is 1, then that fragment must
    //# be discarded and an ICMP Parameter Problem, Code 0, message
    //# should be sent to the source of the fragment, pointing to the
    //# Payload Length field of the fragment packet.
    if more && !data.len().is_multiple_of(8) {
        return Err(refused(Drop::Ipv6FragmentMalformed, icmpv6::CODE_FIELD, PAYLOAD_LENGTH_FIELD));
    }
    //= rfc8200#4.5
    //# If the length and offset of a fragment are such that the
    //# Payload Length of the packet reassembled from that fragment
    //# would exceed 65,535 octets, then that fragment must be
    //# discarded and an ICMP Parameter Problem, Code 0, message should
    //# be sent to the source of the fragment, pointing to the Fragment
    //# Offset field of the fragment packet.
    if here.at + usize::from(offset) + data.len() > usize::from(u16::MAX) {
        return Err(refused(Drop::Ipv6FragmentMalformed, icmpv6::CODE_FIELD, pointer(here.at + 2)));
    }
    //= rfc6946#4
    //# A host that receives an IPv6 packet that includes a Fragment
    //# Header with the "Fragment Offset" equal to 0 and the "M" flag
    //# equal to 0 MUST process that packet in isolation from any other
    //# packets/fragments
    let atomic = offset == 0 && !more;
    let identification = u32::from_be_bytes([i0, i1, i2, i3]);
    let fragment = Fragment { offset, more, identification, at: here.at, named_at: here.named_at };
    Ok(Walked {
        protocol,
        at: here.at + FRAGMENT_HEADER_LEN,
        named_at: pointer(here.at),
        fragment: (!atomic).then_some(fragment),
        fragment_header: true,
        extended: true,
    })
}

/// The end of the walk. A first fragment must hold the header of its protocol, so that no filter on the way is fooled (RFC 7112).
fn upper_layer(here: Walked, payload: &[u8]) -> Result<Walked, Refused> {
    let least = match here.protocol {
        NEXT_HEADER_TCP => tcp::HEADER_LEN,
        NEXT_HEADER_UDP => udp::HEADER_LEN,
        NEXT_HEADER_ICMPV6 => icmpv6::HEADER_LEN,
        _ => 0,
    };
    let whole = here.fragment.is_none() || payload.len().saturating_sub(here.at) >= least;
    if whole { Ok(here) } else { Err(cut(here)) }
}

/// Writes a fragment header to the begin of `bytes`; of the offset, in bytes, a multiple of 8. Does nothing when it does not fit.
pub fn emit_fragment_header(bytes: &mut [u8], protocol: u8, offset: u16, more: bool, identification: u32) {
    let Some(header) = bytes.first_chunk_mut::<FRAGMENT_HEADER_LEN>() else { return };
    let [high, low] = (offset & !0b111 | u16::from(more)).to_be_bytes();
    let [a, b, c, d] = identification.to_be_bytes();
    *header = [protocol, 0, high, low, a, b, c, d];
}

const fn silent(why: Drop) -> Refused {
    Refused { why, problem: None }
}

const fn refused(why: Drop, code: u8, pointer: u32) -> Refused {
    Refused { why, problem: Some(Problem { code, pointer, even_if_multicast: false }) }
}

/// Counts from the begin of the packet what was counted from that of the payload; far below 2^32 ([`EXTENSION_BYTES`]).
const fn pointer(at: usize) -> u32 {
    (ipv6::HEADER_LEN + at) as u32
}

/// Length of a fragment header in bytes.
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// Where the next header stands in the IPv6 header.
const NEXT_HEADER_FIELD: u32 = 6;
/// Where the payload length stands in the IPv6 header.
const PAYLOAD_LENGTH_FIELD: u32 = 4;
/// Option: one byte of padding, without a length.
const PAD_1: u8 = 0;
/// Option: padding.
const PAD_N: u8 = 1;

#[cfg(test)]
mod tests;
