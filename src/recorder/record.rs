//! One record: a segment, a change of state, or what belongs to the record before it.
//!
//! Written by [`super::Recorder`], read by whoever inspects a core. A value of 64 bytes; nothing panics.

use crate::demux::{Address, FlowKey, Link};
use crate::device::Drop;
use crate::tcp::State;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, SackBlock};

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A segment that came.
    Received,
    /// A segment that left.
    Sent,
    /// A segment that left, and had left before.
    SentAgain,
    /// No segment: the state changed, or a timer found something.
    Changed,
    /// The terms in the options of the SYN before it ([`Record::syn_terms`]).
    Terms,
    /// A block of the selective acknowledgment in the segment before it ([`Record::sack_block`]).
    Block,
    /// A datagram that came.
    DatagramReceived,
    /// A datagram that left.
    DatagramSent,
}

impl Kind {
    /// Its name in answers and dumps.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::SentAgain => "sent-again",
            Self::Changed => "changed",
            Self::Terms => "terms",
            Self::Block => "block",
            Self::DatagramReceived => "datagram-received",
            Self::DatagramSent => "datagram-sent",
        }
    }
}

/// Something that happened to a connection, as the engine saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When: the time of the turn.
    pub at: Instant,
    /// Our address.
    pub local: Address,
    /// The peer's address.
    pub remote: Address,
    /// SEG.SEQ, where there is a segment.
    pub seq: SeqNum,
    /// SEG.ACK, meaningful with [`Flags::ACK`].
    pub ack: SeqNum,
    /// The congestion window after it, in bytes; 0 where there is no connection.
    pub cwnd: u32,
    /// Our port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// SEG.WND as on the wire, not scaled.
    pub window: u16,
    /// Bytes of payload.
    pub len: u16,
    /// Control bits.
    pub flags: Flags,
    /// The kind in the lower half, the interface's position in the upper one; positions from 15 on are all 15.
    kind: u8,
    /// State before in the lower half, state after in the upper one, by their positions in [`State::ALL`].
    states: u8,
    cause: Cause,
}

// A cache line.
const _: () = assert!(size_of::<Record>() == 64);

/// Why: a check that the segment failed, or something that happened on the occasion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cause(u8);

const _: () = assert!(Drop::COUNT + Happening::COUNT < u8::MAX as usize);

impl Cause {
    /// None.
    pub const NONE: Self = Self(0);

    /// A check that was failed.
    pub const fn drop(why: Drop) -> Self {
        Self(1 + why as u8)
    }

    /// Something that happened.
    pub const fn happening(what: Happening) -> Self {
        Self(1 + Drop::COUNT as u8 + what as u8)
    }

    /// Its name, as counters and reports have it.
    pub fn name(self) -> Option<&'static str> {
        let number = usize::from(self.0).checked_sub(1)?;
        match Drop::ALL.get(number) {
            Some(why) => Some(why.name()),
            None => Happening::ALL.get(number - Drop::COUNT).map(|what| what.name()),
        }
    }

    /// The check, if it is one.
    pub fn as_drop(self) -> Option<Drop> {
        Drop::ALL.get(usize::from(self.0).checked_sub(1)?).copied()
    }
}

impl std::fmt::Debug for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name().unwrap_or("none"))
    }
}

impl Record {
    /// What lies where nothing has been written.
    pub(super) const EMPTY: Self = Self {
        at: Instant::ZERO,
        local: Address::UNSPECIFIED,
        remote: Address::UNSPECIFIED,
        seq: SeqNum(0),
        ack: SeqNum(0),
        cwnd: 0,
        local_port: 0,
        remote_port: 0,
        window: 0,
        len: 0,
        flags: Flags::NONE,
        kind: Kind::Changed as u8,
        states: 0,
        cause: Cause::NONE,
    };

    /// The name of its interface among those of its engine, in the order of their positions. `?` where the record has no room for the position: as of the sixteenth,
    /// when there are more.
    pub fn interface_name<'a>(&self, names: &'a [String]) -> &'a str {
        let position = usize::from(self.key().link.interface);
        let is_known = position < LAST_INTERFACE || names.len() <= LAST_INTERFACE + 1;
        names.get(position).filter(|_| is_known).map_or("?", String::as_str)
    }

    /// Sets what is packed.
    #[inline(always)]
    pub(super) fn set(&mut self, kind: Kind, link: Link, (before, after): (State, State), cause: Cause) {
        self.kind = kind as u8 | (link.interface.min(LAST_INTERFACE as u16) as u8) << 4;
        self.states = before as u8 | (after as u8) << 4;
        self.cause = cause;
    }

    /// The terms of a SYN: the MSS in `window`, which of them there are in `len`, the scale in `seq`.
    pub(super) fn terms(self, options: &Options) -> Self {
        let mut there = 0;
        for (bit, is_there) in [
            (HAS_MSS, options.mss.is_some()),
            (HAS_SCALE, options.window_scale.is_some()),
            (HAS_SACK, options.sack_permitted),
            (HAS_TIMESTAMPS, options.timestamps.is_some()),
        ] {
            there |= if is_there { bit } else { 0 };
        }
        let (value, echo) = options.timestamps.unwrap_or_default();
        Self {
            kind: self.kind & INTERFACE | Kind::Terms as u8,
            window: options.mss.unwrap_or(0),
            seq: SeqNum(value),
            ack: SeqNum(echo),
            cwnd: options.window_scale.unwrap_or(0).into(),
            len: there,
            ..self
        }
    }

    pub(super) const fn block(self, block: SackBlock) -> Self {
        Self { kind: self.kind & INTERFACE | Kind::Block as u8, seq: block.left, ack: block.right, ..self }
    }

    /// What it is of.
    pub const fn kind(&self) -> Kind {
        match self.kind & !INTERFACE {
            0 => Kind::Received,
            1 => Kind::Sent,
            2 => Kind::SentAgain,
            4 => Kind::Terms,
            5 => Kind::Block,
            6 => Kind::DatagramReceived,
            7 => Kind::DatagramSent,
            _ => Kind::Changed,
        }
    }

    /// The state before.
    pub fn before(&self) -> State {
        state(self.states & 15)
    }

    /// The state after.
    pub fn after(&self) -> State {
        state(self.states >> 4)
    }

    /// Why.
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// The connection, or the two ends of a datagram.
    pub fn key(&self) -> FlowKey {
        FlowKey {
            local: self.local,
            remote: self.remote,
            local_port: self.local_port,
            remote_port: self.remote_port,
            link: Link { interface: (self.kind >> 4).into() },
        }
    }

    /// True when it is of this connection.
    pub fn is_of(&self, key: &FlowKey) -> bool {
        (self.local_port, self.remote_port, self.local, self.remote) == (key.local_port, key.remote_port, key.local, key.remote)
    }

    /// True for what belongs to the record before it, and has no meaning without.
    pub const fn is_of_the_one_before(&self) -> bool {
        matches!(self.kind(), Kind::Terms | Kind::Block)
    }

    /// The options of a SYN, of [`Kind::Terms`].
    pub fn syn_terms(&self) -> Option<Options> {
        let is_there = |bit| self.len & bit != 0;
        (self.kind() == Kind::Terms).then(|| Options {
            mss: is_there(HAS_MSS).then_some(self.window),
            window_scale: is_there(HAS_SCALE).then_some(self.cwnd as u8),
            sack_permitted: is_there(HAS_SACK),
            timestamps: is_there(HAS_TIMESTAMPS).then_some((self.seq.0, self.ack.0)),
            ..Options::default()
        })
    }

    /// The block, of [`Kind::Block`].
    pub fn sack_block(&self) -> Option<SackBlock> {
        (self.kind() == Kind::Block).then_some(SackBlock { left: self.seq, right: self.ack })
    }
}

/// The states by their discriminants.
fn state(number: u8) -> State {
    State::ALL.into_iter().find(|&state| state as u8 == number).unwrap_or(State::Closed)
}

/// The upper half of `kind`.
const INTERFACE: u8 = 0xf0;
/// The last position that there is room for; all beyond it have the same.
const LAST_INTERFACE: usize = 15;
const HAS_MSS: u16 = 1;
const HAS_SCALE: u16 = 2;
const HAS_SACK: u16 = 4;
const HAS_TIMESTAMPS: u16 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_keeps_its_name() {
        let drops = Drop::ALL.iter().map(|&why| (Cause::drop(why), why.name()));
        let happenings = Happening::ALL.iter().map(|&what| (Cause::happening(what), what.name()));
        for (cause, name) in drops.chain(happenings) {
            assert_eq!(cause.name(), Some(name));
        }
        assert_eq!(Cause::NONE.name(), None);
        assert_eq!(Cause::drop(Drop::ALL[0]).as_drop(), Some(Drop::ALL[0]));
        assert_eq!(Cause::happening(Happening::ALL[0]).as_drop(), None);
    }

    #[test]
    fn both_states_fit_into_one_byte() {
        for before in State::ALL {
            for after in State::ALL {
                let record = Record { states: before as u8 | (after as u8) << 4, ..Record::EMPTY };
                assert_eq!((record.before(), record.after()), (before, after));
            }
        }
    }
}
