//! A step of an exchange: one thing that went from an end to the other, or befell one of them.
//!
//! Filled in by whoever has seen it, completed by [`super::Exchange::complete`], drawn by [`super::text`] and [`super::svg`]. Plain values; nothing
//! here panics.

use std::borrow::Cow;

use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::time::Instant;
use crate::wire::tcp::{self, Flags, Options};

/// One of the two ends, by the side on which it is drawn. The left one is whoever begins: the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Drawn at the left.
    Left,
    /// Drawn at the right.
    Right,
}

impl End {
    /// Both, in the order of every array of two that this module has.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// Its place in an array of both.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When: where the source of the exchange looked on, a clock of its choice.
    pub at: Instant,
    /// Who sent it, or whom it befell.
    pub from: End,
    /// What it was.
    pub what: What,
    /// What became of it.
    pub fate: Fate,
    /// The states of both ends after it: the sender's when it has sent, the receiver's when it has received. A source that knows an end's state
    /// says so in every step ([`super::Exchange::known`]); the others are inferred.
    pub states: [Option<State>; 2],
    /// What there is to say about it.
    pub marks: Vec<Mark>,
}

impl Step {
    /// A step of which nothing else is known yet.
    pub const fn new(at: Instant, from: End, what: What) -> Self {
        Self { at, from, what, fate: Fate::Arrives, states: [None, None], marks: Vec::new() }
    }

    /// A segment that `from` sent.
    pub const fn segment(at: Instant, from: End, segment: Segment) -> Self {
        Self::new(at, from, What::Segment(segment))
    }

    /// The segment, if it is one.
    pub const fn as_segment(&self) -> Option<&Segment> {
        match &self.what {
            What::Segment(segment) => Some(segment),
            _ => None,
        }
    }

    /// Bytes of data in it.
    pub const fn bytes(&self) -> u32 {
        match self.what {
            What::Segment(Segment { len, .. }) | What::Datagram { len } => len,
            _ => 0,
        }
    }

    /// True when it refuses the exchange: a RST, or an ICMP error.
    pub const fn is_refusal(&self) -> bool {
        match &self.what {
            What::Segment(segment) => segment.has(Flags::RST),
            What::Icmp { .. } => true,
            _ => false,
        }
    }

    /// True when something leaves an end.
    pub const fn is_sent(&self) -> bool {
        matches!(self.what, What::Segment(_) | What::Datagram { .. } | What::Icmp { .. })
    }
}

/// What a step was.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A TCP segment was sent.
    Segment(Segment),
    /// A UDP datagram was sent.
    Datagram {
        /// Bytes of its payload.
        len: u32,
    },
    /// An ICMP error about the exchange was sent.
    Icmp {
        /// What it says: `port unreachable`.
        what: &'static str,
    },
    /// What was sent in an earlier step reaches the other end only now: its own end has sent, or changed its state, in between.
    Arrival {
        /// The place of that step in the list.
        of: usize,
    },
    /// 2 MSL have passed in TIME-WAIT (RFC 9293 3.4.1).
    TwoMsl,
    /// Something else befell the end: a call of its user, a timer. In as few words as there are.
    Note(Cow<'static, str>),
}

/// What became of something that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It arrived, as far as is known.
    #[default]
    Arrives,
    /// It arrived later: a [`What::Arrival`] says when.
    Late,
    /// It did not.
    Lost,
}

/// A TCP segment without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// SEG.SEQ
    pub seq: SeqNum,
    /// SEG.ACK; meaningful with [`Flags::ACK`] only.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// Bytes of data, without SYN and FIN.
    pub len: u32,
    /// SEG.WND as on the wire, not scaled.
    pub window: u16,
    /// Options.
    pub options: Options,
}

impl Segment {
    /// The sequence space it takes: SEG.LEN of RFC 9293 3.4, SYN and FIN included.
    pub const fn space(&self) -> u32 {
        self.len.saturating_add(self.has(Flags::SYN) as u32).saturating_add(self.has(Flags::FIN) as u32)
    }

    /// The sequence number after its last.
    pub fn end(&self) -> SeqNum {
        self.seq + self.space()
    }

    /// True when all of these control bits are set.
    pub const fn has(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }

    /// True when it acknowledges everything before `end`.
    pub const fn covers(&self, end: SeqNum) -> bool {
        self.has(Flags::ACK) && self.ack.at_or_after(end)
    }

    /// The first bytes of a connection: a SYN that acknowledges nothing.
    pub const fn opens(&self) -> bool {
        self.has(Flags::SYN) && !self.has(Flags::ACK)
    }
}

impl From<&tcp::Segment<'_>> for Segment {
    fn from(segment: &tcp::Segment<'_>) -> Self {
        Self {
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            len: u32::try_from(segment.payload.len()).unwrap_or(u32::MAX),
            window: segment.window,
            options: segment.options,
        }
    }
}

/// Something about a step that a reader would have to reckon from the steps before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Bytes, SYN or FIN that were sent before.
    Retransmission,
    /// The same after three duplicate ACKs, or after a SACK that tells of the hole (RFC 5681 3.2, RFC 6675).
    FastRetransmission,
    /// The n-th duplicate ACK (RFC 5681 2).
    DuplicateAck(u32),
    /// The first SACK block reports what came twice (RFC 2883).
    DuplicateSack,
    /// The window closed.
    ZeroWindow,
    /// The window is open again.
    WindowOpens,
    /// A probe of a closed window (RFC 9293 3.8.6.1).
    WindowProbe,
    /// A probe of a silent peer (RFC 9293 3.8.4).
    KeepAlive,
    /// Bytes before it are missing: they were lost before they were seen, or are behind it.
    Gap,
    /// It fills such a gap.
    OutOfOrder,
}

impl Mark {
    /// In words.
    pub fn words(self) -> Cow<'static, str> {
        match self {
            Self::Retransmission => "retransmission".into(),
            Self::FastRetransmission => "fast retransmission".into(),
            Self::DuplicateAck(nth) => format!("duplicate ACK {nth}").into(),
            Self::DuplicateSack => "reports a duplicate".into(),
            Self::ZeroWindow => "zero window".into(),
            Self::WindowOpens => "window opens".into(),
            Self::WindowProbe => "window probe".into(),
            Self::KeepAlive => "keep-alive".into(),
            Self::Gap => "bytes before it are missing".into(),
            Self::OutOfOrder => "out of order".into(),
        }
    }

    /// The name in reports: one word, without the number.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retransmission => "retransmission",
            Self::FastRetransmission => "fast_retransmission",
            Self::DuplicateAck(_) => "duplicate_ack",
            Self::DuplicateSack => "duplicate_sack",
            Self::ZeroWindow => "zero_window",
            Self::WindowOpens => "window_opens",
            Self::WindowProbe => "window_probe",
            Self::KeepAlive => "keep_alive",
            Self::Gap => "gap",
            Self::OutOfOrder => "out_of_order",
        }
    }
}
