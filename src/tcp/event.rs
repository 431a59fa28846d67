//! What goes into a TCB and what comes out of it, as values.
//!
//! Made by the engine on one side and by the machine on the other. Values only.

use std::ops::{BitOr, BitOrAssign, Range};

use super::congestion::Algorithm;
use super::seq::SeqNum;
use crate::device::Drop;
use crate::wire::tcp::{Flags, Options};

/// What a new TCB is told at its birth; all of it comes from outside, so that the machine itself stays without chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Initial send sequence number (RFC 6528).
    pub iss: SeqNum,
    /// Added to the millisecond clock to make TSval (RFC 7323 5.4): hides the host's up-time, monotonic for a 4-tuple.
    pub timestamp_offset: u32,
    /// What carries the segments.
    pub ip: IpVersion,
    /// Largest segment payload the link carries to this peer, without options: the MTU without [`IpVersion::headers`].
    pub mss: u16,
    /// How its congestion is controlled.
    pub congestion: Algorithm,
}

/// The version of IP under a connection, as far as the sizes of segments depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// Bytes of the headers of IP and TCP, without options.
    pub const fn headers(self) -> u16 {
        match self {
            Self::V4 => 40,
            Self::V6 => 60,
        }
    }

    /// The send MSS of a peer that names none.
    pub const fn default_mss(self) -> u16 {
        //= rfc9293#3.7.1 MUST-15
        //# If an MSS Option is not received at connection setup, TCP implementations MUST assume a default send MSS of 536 (576 -
        //# 40) for IPv4 or 1220 (1280 - 60) for IPv6
        match self {
            Self::V4 => 536,
            Self::V6 => 1220,
        }
    }

    /// The size of packet that nearly every path carries: RFC 4821 7.2 advises 1024 bytes; with as much data it is what Linux takes.
    pub(super) const fn base_mtu(self) -> u16 {
        match self {
            Self::V4 => 1024 + self.headers(),
            Self::V6 => 1280,
        }
    }

    /// The size of packet that every link carries (RFC 791 3.2, RFC 8200 5).
    pub(super) const fn mtu_min(self) -> u16 {
        match self {
            Self::V4 => 68,
            Self::V6 => 1280,
        }
    }
}

/// Things the service must be told of, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u16);

impl Events {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The handshake is complete.
    pub const CONNECTED: Self = Self(1);
    /// Bytes wait in the receive buffer.
    pub const READABLE: Self = Self(2);
    /// Room has come free in the send buffer after a call found too little.
    pub const WRITABLE: Self = Self(4);
    /// The peer's FIN is in order: no more data will come after what is unread.
    pub const PEER_CLOSED: Self = Self(8);
    /// The connection ended by a RST (or ICMP, or an abort).
    pub const RESET: Self = Self(16);
    /// The peer refused our SYN.
    pub const REFUSED: Self = Self(32);
    /// The peer stopped answering (R2 reached).
    pub const TIMED_OUT: Self = Self(64);
    /// Both directions ended in order; the TCB is in TIME-WAIT or CLOSED.
    pub const CLOSED: Self = Self(128);
    /// The connection was closed, and aborted because its peer took too long (linger).
    pub const ABORTED: Self = Self(256);
    /// The same data was sent so often without an answer that something is wrong (R1, RFC 9293 3.8.3).
    pub const STALLED: Self = Self(512);
    /// The peer has urgent data in the stream, or more of it than was known.
    pub const URGENT: Self = Self(1024);

    /// True when all of `other` is in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Events {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What a TCB made of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The part of the segment's payload that is new, in order and not buffered: offer it to the service, and give what it
    /// leaves to `Tcb::keep_unread`. Empty when there is none, or when earlier bytes are still unread (then it was appended).
    pub payload: Range<usize>,
    /// What the service must be told of.
    pub events: Events,
    /// The check that the segment failed, if it did.
    pub drop: Option<Drop>,
    /// What the engine must do with the TCB.
    pub then: Disposition,
}

/// What becomes of a TCB after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It lives on (its state may be CLOSED: then it is to be removed once its last segment is sent).
    Stay,
    /// An acceptable SYN in TIME-WAIT (RFC 9293 3.10.7.4, RFC 6191): remove the TCB and give the segment to the listener;
    /// the initial sequence number must be after `iss_after`.
    Reopen {
        /// The last sequence number the old connection used.
        iss_after: SeqNum,
    },
}

/// A reset to be sent where no TCB is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// SEG.SEQ of the reset.
    pub seq: SeqNum,
    /// SEG.ACK; the ACK bit is set exactly when this is there.
    pub ack: Option<SeqNum>,
}

/// A segment to be sent. Header fields as values, payload as the two parts of the ring it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// SEG.SEQ
    pub seq: SeqNum,
    /// SEG.ACK
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// Window field, already scaled.
    pub window: u16,
    /// The urgent field; its flag says whether it means anything.
    pub urgent: u16,
    /// Options.
    pub options: Options,
    /// The packet goes out as ECT(0): routers may mark it instead of dropping it (RFC 3168 5).
    pub ect: bool,
    /// The data: the second part follows the first.
    pub payload: [&'a [u8]; 2],
}

impl Transmit<'_> {
    /// Bytes of data.
    pub const fn payload_len(&self) -> usize {
        self.payload[0].len() + self.payload[1].len()
    }
}
