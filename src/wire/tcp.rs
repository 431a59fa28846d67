//! The TCP header and its options (RFC 9293 3.1; RFC 7323, 2018).

use crate::tcp::seq::SeqNum;

/// The control bits of a segment (RFC 9293 3.1), as they stand on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
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

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
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
    pub window: u16,
    /// SEG.UP; meaningful with [`Flags::URG`] only.
    pub urgent: u16,
    /// Options.
    pub options: Options,
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
    /// Options.
    pub options: Options,
}
