//! ICMP for IPv6 (RFC 4443).
//!
//! Called by the engine with the upper layer of an IPv6 packet, and to build errors. The messages of neighbour discovery are read in
//! [`super::nd`]. What an error quotes was sent by a stranger and is checked by whoever acts on it. No function here panics.

use std::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, PseudoHeader, Verified};
use super::extension;
pub use super::icmpv4::Quoted;
use super::ipv6::{self, MIN_MTU, NEXT_HEADER_TCP, NEXT_HEADER_UDP};
use crate::device::Drop;
use crate::tcp::seq::SeqNum;

/// Type: destination unreachable; the code says why.
pub const UNREACHABLE: u8 = 1;
/// Type: the packet is larger than the MTU of a link, which the second word tells.
pub const PACKET_TOO_BIG: u8 = 2;
/// Type: time exceeded, in transit or in reassembly.
pub const TIME_EXCEEDED: u8 = 3;
/// Type: a field of a header is wrong; the second word points to it.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type: answer to an echo request.
pub const ECHO_REPLY: u8 = 129;
/// Type: router solicitation (RFC 4861 4.1).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type: router advertisement (RFC 4861 4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type: neighbour solicitation (RFC 4861 4.3).
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Type: neighbour advertisement (RFC 4861 4.4).
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Type: redirect (RFC 4861 4.5).
pub const REDIRECT: u8 = 137;

/// Code of [`UNREACHABLE`]: no route.
pub const CODE_NO_ROUTE: u8 = 0;
/// Code of [`UNREACHABLE`]: the address.
pub const CODE_ADDRESS: u8 = 3;
/// Code of [`UNREACHABLE`]: the port.
pub const CODE_PORT: u8 = 4;
/// Code of [`TIME_EXCEEDED`]: a fragment did not come in time.
pub const CODE_REASSEMBLY: u8 = 1;
/// Code of [`PARAMETER_PROBLEM`]: a field of a header.
pub const CODE_FIELD: u8 = 0;
/// Code of [`PARAMETER_PROBLEM`]: the next header is unknown.
pub const CODE_NEXT_HEADER: u8 = 1;
/// Code of [`PARAMETER_PROBLEM`]: an option is unknown.
pub const CODE_OPTION: u8 = 2;
/// Code of [`PARAMETER_PROBLEM`]: a first fragment without all headers (RFC 7112 7).
pub const CODE_FIRST_FRAGMENT: u8 = 3;

/// Length of the header in bytes, the second word included.
pub const HEADER_LEN: usize = 8;
/// The longest error in bytes, so that it takes [`MIN_MTU`] with its IPv6 header.
pub const MAX_LEN: usize = MIN_MTU - ipv6::HEADER_LEN;

/// A message whose checksum is right: its header, and the length of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// The second word; its meaning depends on the type.
    pub rest: [u8; 4],
    /// Bytes behind the header.
    pub payload_len: usize,
}

impl Icmp {
    /// True for the errors that time does not mend: the port or the protocol is not there.
    pub const fn is_hard(&self) -> bool {
        matches!((self.icmp_type, self.code), (UNREACHABLE, CODE_PORT) | (PARAMETER_PROBLEM, CODE_NEXT_HEADER))
    }

    /// The MTU of the next hop in bytes, in Packet Too Big (RFC 4443 3.2); any number.
    pub const fn next_hop_mtu(&self) -> Option<u32> {
        if self.icmp_type == PACKET_TOO_BIG { Some(u32::from_be_bytes(self.rest)) } else { None }
    }
}

/// True for the types that report an error, unknown ones included (RFC 4443 2.1).
pub const fn is_error(icmp_type: u8) -> bool {
    icmp_type < ECHO_REQUEST
}

/// Reads the message that is the upper layer of an IPv6 packet (without padding of the link: all of it is summed).
///
/// # Errors
/// [`Drop::IcmpTruncated`]: fewer than 8 bytes. [`Drop::IcmpChecksum`] or [`Drop::ChecksumUnfilled`].
pub fn parse(bytes: &[u8], pseudo: &PseudoHeader) -> Result<Icmp, Drop> {
    let (raw, payload) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::IcmpTruncated)?;
    match checksum::verify(bytes, pseudo.sum(bytes.len()), raw.checksum.get()) {
        Verified::Good => {}
        Verified::Unfilled => return Err(Drop::ChecksumUnfilled),
        Verified::Bad => return Err(Drop::IcmpChecksum),
    }
    Ok(Icmp { icmp_type: raw.icmp_type, code: raw.code, rest: raw.rest, payload_len: payload.len() })
}

/// Turns an echo request into its reply: the type changes, the checksum is patched, the data stays. The checksum is right for the same two
/// addresses in either order. Does nothing to bytes too short to be a message, or of another type.
pub fn echo_reply_in_place(icmp: &mut [u8]) {
    if let Ok((raw, _)) = Raw::mut_from_prefix(icmp)
        && raw.icmp_type == ECHO_REQUEST
    {
        let (old, new) = ([ECHO_REQUEST, raw.code], [ECHO_REPLY, raw.code]);
        raw.icmp_type = ECHO_REPLY;
        raw.checksum = checksum::patch(raw.checksum.get(), u16::from_be_bytes(old), u16::from_be_bytes(new)).into();
    }
}

/// Writes the header of a message to the begin of `bytes`, which hold what follows it already, builds the checksum, and returns the length
/// of the message: that of `bytes`. Returns 0, and writes nothing, when they are shorter than a header.
pub fn emit(bytes: &mut [u8], icmp_type: u8, code: u8, rest: [u8; 4], pseudo: &PseudoHeader) -> usize {
    let Ok((raw, _)) = Raw::mut_from_prefix(bytes) else { return 0 };
    *raw = Raw { icmp_type, code, checksum: 0.into(), rest };
    let sum = !checksum::fold(checksum::sum(bytes, pseudo.sum(bytes.len())));
    if let Ok((raw, _)) = Raw::mut_from_prefix(bytes) {
        raw.checksum = sum.into();
    }
    bytes.len()
}

/// Writes an error to the begin of `bytes` and returns its length. `word` is its second word: an MTU or a pointer. `quoted` is the packet
/// that caused it, from its IPv6 header on, of which nothing behind its payload length is quoted. Returns 0, and writes nothing, when not
/// even its IPv6 header and 8 bytes fit.
pub fn emit_error(bytes: &mut [u8], icmp_type: u8, code: u8, word: u32, quoted: &[u8], pseudo: &PseudoHeader) -> usize {
    let Ok((ip, _)) = ipv6::Raw::ref_from_prefix(quoted) else { return 0 };
    let total_len = (ipv6::HEADER_LEN + usize::from(ip.payload_len.get())).min(quoted.len());
    //= rfc4443#2.4
    //# Every ICMPv6 error message (type < 128) MUST include as much of
    //# the IPv6 offending (invoking) packet (the packet that caused the
    //# error) as possible without making the error message packet exceed
    //# the minimum IPv6 MTU [IPv6].
    let room = bytes.len().min(MAX_LEN).saturating_sub(HEADER_LEN);
    let quoted_len = total_len.min(room);
    if quoted_len < total_len.min(ipv6::HEADER_LEN + 8) {
        return 0;
    }
    let Some(message) = bytes.get_mut(..HEADER_LEN + quoted_len) else { return 0 };
    let (Some(copy), Some(part)) = (message.get_mut(HEADER_LEN..), quoted.get(..quoted_len)) else { return 0 };
    copy.copy_from_slice(part);
    emit(message, icmp_type, code, word.to_be_bytes(), pseudo)
}

/// Reads what an error quotes: the bytes behind its header. `None` unless they begin with the headers of an unfragmented (or first) TCP or
/// UDP packet and the 8 bytes behind them. The length in it is not held against what is there: the end of a packet need not be quoted.
pub fn quoted(bytes: &[u8]) -> Option<Quoted> {
    let (ip, behind) = ipv6::Raw::ref_from_prefix(bytes).ok()?;
    if ipv6::Raw::version(ip.version_class_label.get()) != 6 {
        return None;
    }
    // Cut anywhere, a first fragment would seem to have a length that none may have; of whole units of 8 bytes nothing is missed that is read here.
    let behind = &behind[..behind.len() & !0b111];
    let walked = extension::walk(ip.next_header, behind).ok()?;
    let known = matches!(walked.protocol, NEXT_HEADER_TCP | NEXT_HEADER_UDP);
    let first = walked.fragment.is_none_or(|fragment| fragment.offset == 0);
    if !known || !first {
        return None;
    }
    // Such an address never stands in a packet, and would pass for an IPv4 address.
    let (source, target) = (Ipv6Addr::from(ip.source), Ipv6Addr::from(ip.target));
    if source.to_ipv4_mapped().is_some() || target.to_ipv4_mapped().is_some() {
        return None;
    }
    let &[s0, s1, t0, t1, q0, q1, q2, q3] = behind.get(walked.at..)?.first_chunk::<8>()?;
    Some(Quoted {
        source: source.into(),
        target: target.into(),
        protocol: walked.protocol,
        source_port: u16::from_be_bytes([s0, s1]),
        target_port: u16::from_be_bytes([t0, t1]),
        seq: (walked.protocol == NEXT_HEADER_TCP).then_some(SeqNum(u32::from_be_bytes([q0, q1, q2, q3]))),
        len: ip.payload_len.get().saturating_add(ipv6::HEADER_LEN as u16),
    })
}

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
mod tests;
