//! The TCP header and its options (RFC 9293 3.1; RFC 7323, 2018).
//!
//! Called by the engine with the payload of an IP packet, and for every segment a TCB wants sent. What a segment means is the business
//! of [`crate::tcp`]. No function here panics.

mod options;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, PseudoHeader, Verified};
use crate::device::Drop;
#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::tcp::seq::SeqNum;

/// The control bits of a segment (RFC 9293 3.1), as they stand on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// True when every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of the bits that are set, as the RFC writes them, in the order in which textbooks name them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Flags, &str); 8] = [
            (Flags::SYN, "SYN"),
            (Flags::FIN, "FIN"),
            (Flags::RST, "RST"),
            (Flags::PSH, "PSH"),
            (Flags::ACK, "ACK"),
            (Flags::URG, "URG"),
            (Flags::ECE, "ECE"),
            (Flags::CWR, "CWR"),
        ];
        NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Display for Flags {
    /// The names of the bits that are set: `SYN,ACK`; `-` when none is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.write_str(if names.is_empty() { "-" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// A block of a selective acknowledgment: `left` up to, not including, `right` (RFC 2018 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlock {
    /// First sequence number of the block.
    pub left: SeqNum,
    /// The sequence number after its last.
    pub right: SeqNum,
}

/// The options of a segment; all kinds are parsed, unknown ones skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size, in bytes (RFC 9293 3.7.1); only in SYN segments.
    pub mss: Option<u16>,
    /// Window scale shift as received, 0 to 255 (RFC 7323 2.2); only in SYN segments. The user of it clamps to 14.
    pub window_scale: Option<u8>,
    /// SACK permitted (RFC 2018 2); only in SYN segments.
    pub sack_permitted: bool,
    /// TSval and TSecr (RFC 7323 3.2).
    pub timestamps: Option<(u32, u32)>,
    /// The user timeout as it stands on the wire: the granularity bit and 15 bits of value (RFC 5482 3.3).
    pub user_timeout: Option<u16>,
    /// SACK blocks; the first `sack_count` are valid.
    pub sack: [SackBlock; 4],
    /// How many SACK blocks there are, 0 to 4.
    pub sack_count: u8,
}

impl Options {
    /// The SACK blocks that are there.
    pub fn sack_blocks(&self) -> &[SackBlock] {
        &self.sack[..usize::from(self.sack_count).min(self.sack.len())]
    }
}

/// A received segment: header fields, options and the payload in the frame it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// SEG.SEQ
    pub seq: SeqNum,
    /// SEG.ACK; meaningful with [`Flags::ACK`] only.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND as on the wire, not scaled.
    //= rfc9293#3.1
    //# The window size MUST be treated as an unsigned number, or else large window sizes will appear like negative windows and
    //# TCP will not work (MUST-1).
    pub window: u16,
    /// SEG.UP; meaningful with [`Flags::URG`] only.
    pub urgent: u16,
    /// Options.
    pub options: Options,
    /// The ECN codepoint of the packet it came in (RFC 3168 5), which stands in the IP header: the engine fills it in.
    pub ecn: u8,
    /// The data.
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// SEG.LEN: the sequence space the segment takes, SYN and FIN included (RFC 9293 3.4).
    pub fn len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.flags.contains(Flags::SYN)) + u32::from(self.flags.contains(Flags::FIN))
    }

    /// True when the segment takes no sequence space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The header of a segment to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub target_port: u16,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number; written as 0 without [`Flags::ACK`].
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// Window field, already scaled.
    pub window: u16,
    /// Urgent field; meaningful with [`Flags::URG`] only.
    pub urgent: u16,
    /// Options.
    pub options: Options,
}

/// Both ports of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Source port, not 0.
    pub source: u16,
    /// Destination port, not 0.
    pub target: u16,
}

/// Reads the segment that is the payload of an IP packet (without padding of the link: all of it is summed, and what lies behind the
/// header is data). An option that is malformed ends the options, not the segment.
///
/// # Errors
/// In this order: [`Drop::TcpTruncated`], [`Drop::TcpOffsetMalformed`], [`Drop::TcpChecksum`] or [`Drop::ChecksumUnfilled`],
/// [`Drop::TcpPortZero`].
#[inline(always)]
pub fn parse<'a>(bytes: &'a [u8], pseudo: &PseudoHeader) -> Result<(Ports, Segment<'a>), Drop> {
    let (raw, options, payload) = split(bytes)?;
    //= rfc9293#3.1
    //# The TCP checksum is never optional. The sender MUST
    //# generate it (MUST-2) and the receiver MUST check it
    //# (MUST-3).
    match checksum::verify(bytes, pseudo.sum(bytes.len()), raw.checksum.get()) {
        Verified::Good => {}
        Verified::Unfilled => return Err(Drop::ChecksumUnfilled),
        #[cfg(test)]
        Verified::Bad if planted::is(Bug::ChecksumIgnored) => {}
        Verified::Bad => return Err(Drop::TcpChecksum),
    }
    view(raw, options, payload)
}

/// As [`parse`], with the checksum left alone: for segments that somebody else has received, and captured before an offload filled it in, or without
/// their last bytes.
///
/// # Errors
/// As [`parse`], without those of the checksum.
pub fn parse_unverified(bytes: &[u8]) -> Result<(Ports, Segment<'_>), Drop> {
    let (raw, options, payload) = split(bytes)?;
    view(raw, options, payload)
}

/// The fixed part of the header, the options behind it, and the data.
#[inline(always)]
fn split(bytes: &[u8]) -> Result<(&Raw, &[u8], &[u8]), Drop> {
    let (raw, rest) = Raw::ref_from_prefix(bytes).map_err(|_| Drop::TcpTruncated)?;
    let header_len = usize::from(raw.offset >> 4) * 4;
    let options_len = header_len.checked_sub(HEADER_LEN).ok_or(Drop::TcpOffsetMalformed)?;
    let (options, payload) = rest.split_at_checked(options_len).ok_or(Drop::TcpTruncated)?;
    Ok((raw, options, payload))
}

#[inline(always)]
fn view<'a>(raw: &Raw, options: &[u8], payload: &'a [u8]) -> Result<(Ports, Segment<'a>), Drop> {
    let ports = Ports { source: raw.source_port.get(), target: raw.target_port.get() };
    if ports.source == 0 || ports.target == 0 {
        return Err(Drop::TcpPortZero);
    }
    let segment = Segment {
        seq: SeqNum(raw.seq.get()),
        ack: SeqNum(raw.ack.get()),
        flags: Flags(raw.flags),
        window: raw.window.get(),
        urgent: raw.urgent.get(),
        //= rfc9293#3.1
        //# A TCP implementation MUST be able to receive a TCP Option in any segment (MUST-5).
        options: options::parse(options),
        ecn: 0,
        payload,
    };
    Ok((ports, segment))
}

/// The length in bytes of the header that [`emit`] writes with these options, 20 to 60: where the payload is to be put.
#[inline]
pub fn header_len(options: &Options) -> usize {
    HEADER_LEN + options::len(options)
}

/// Writes the header of a segment to the begin of `bytes`, where `payload_len` bytes of payload lie behind it already (see
/// [`header_len`]), builds the checksum over both, and returns the length of the header. Returns 0, and writes nothing, when `bytes` are
/// too short. SACK blocks that do not fit in the 40 bytes of options are left out, last first.
#[inline(always)]
pub fn emit(bytes: &mut [u8], header: &Header, payload_len: usize, pseudo: &PseudoHeader) -> usize {
    let header_len = header_len(&header.options);
    let Some(segment) = header_len.checked_add(payload_len).and_then(|len| bytes.get_mut(..len)) else { return 0 };
    let (total, ack) = (segment.len(), if header.flags.contains(Flags::ACK) { header.ack.0 } else { 0 });
    let Some((front, payload)) = segment.split_at_mut_checked(header_len) else { return 0 };
    let Ok((raw, rest)) = Raw::mut_from_prefix(front) else { return 0 };
    let offset = (header_len as u8 / 4) << 4;
    // The header is summed as it is written, of values: read again at once, by larger words than it is written by, it would have the processor wait.
    let mut sum = pseudo.sum(total);
    let mut add = |upper: u16, lower: u16| sum = checksum::add(sum, u64::from(upper) << 16 | u64::from(lower));
    add(header.source_port, header.target_port);
    add((header.seq.0 >> 16) as u16, header.seq.0 as u16);
    add((ack >> 16) as u16, ack as u16);
    add(u16::from_be_bytes([offset, header.flags.0]), header.window);
    add(0, header.urgent);
    let options = if header_len > HEADER_LEN { options::emit(rest, &header.options) } else { 0 };
    let sum = checksum::sum(payload, checksum::add(sum, options));
    *raw = Raw {
        source_port: header.source_port.into(),
        target_port: header.target_port.into(),
        seq: header.seq.0.into(),
        ack: ack.into(),
        offset,
        flags: header.flags.0,
        window: header.window.into(),
        checksum: (!checksum::fold(sum)).into(),
        urgent: header.urgent.into(),
    };
    header_len
}

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Bytes of the longest header: 15 words.
pub const HEADER_MAX: usize = 60;

/// The header as it stands on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    source_port: U16,
    target_port: U16,
    seq: U32,
    ack: U32,
    /// Data offset in words, in the upper four bits; the lower are reserved.
    offset: u8,
    flags: u8,
    window: U16,
    checksum: U16,
    urgent: U16,
}

const _: () = assert!(size_of::<Raw>() == HEADER_LEN);

#[cfg(test)]
mod tests;
