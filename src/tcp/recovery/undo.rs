//! Mistaken recoveries: nothing had been lost, only late (RFC 2883, RFC 3522, RFC 4015).
//!
//! An episode is found mistaken when the peer reports by DSACK that it had everything already that was sent again, or when an acknowledgment echoes
//! a timestamp from before the first retransmission. Then congestion control takes its reduction back. Nothing panics.

use super::Phase;
use crate::tcp::congestion::Congestion;
use crate::tcp::folded::Form;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;

/// What an episode of recovery has sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undo {
    /// There is something to take back.
    possible: bool,
    /// The network has been said to be congested meanwhile.
    marked: bool,
    /// SND.UNA and SND.NXT when the episode began.
    from: SeqNum,
    to: SeqNum,
    /// Bytes sent again that the peer has not reported as superfluous.
    needed: u32,
    /// Timestamp of the first segment sent again.
    first: Option<u32>,
}

impl Undo {
    /// Nothing to take back.
    pub(super) const fn nothing(at: SeqNum) -> Self {
        Self { possible: false, marked: false, from: at, to: at, needed: 0, first: None }
    }

    /// An episode begins. `before` bytes of what is in flight were sent again already, by a probe or an earlier episode: their copies will be
    /// reported too, and prove nothing of this one.
    pub(super) const fn begin(from: SeqNum, to: SeqNum, before: u32) -> Self {
        Self { possible: true, marked: false, from, to, needed: before, first: None }
    }

    /// An acknowledgment echoes a mark.
    pub(super) const fn marked(&mut self) {
        self.marked = true;
    }

    /// `bytes` are sent again, with this timestamp.
    pub(super) fn sent_again(&mut self, bytes: u32, timestamp: u32) {
        //= rfc3522#3.2
        //# Set a "RetransmitTS" variable to the value of the Timestamp Value field of the Timestamps option included in the retransmit
        //# sent when loss recovery is initiated.
        self.first.get_or_insert(timestamp);
        self.needed = self.needed.saturating_add(bytes);
    }

    /// The peer had what lies from `left` to `right` twice. True when that was the last of what was sent again.
    pub(super) fn superfluous(&mut self, left: SeqNum, right: SeqNum) -> bool {
        if !self.possible || self.first.is_none() || left.before(self.from) || right.after(self.to) {
            return false;
        }
        self.needed = self.needed.saturating_sub(right - left);
        self.needed == 0
    }

    /// True when an acknowledgment that echoes this timestamp answers what was sent before anything was sent again.
    pub(super) fn is_older(&self, echo: u32) -> bool {
        self.possible && self.first.is_some_and(|first| SeqNum(echo).before(SeqNum(first)))
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, una: SeqNum) {
        if !form.same(self, Self::nothing(una)) {
            let Self { possible, marked, from, to, needed, first } = self;
            form.flag(possible);
            form.flag(marked);
            form.near(from, una);
            form.near(to, *from);
            form.near(needed, 0);
            form.optional(first, 0, |form, timestamp| form.word(timestamp));
        }
    }
}

impl Tcb {
    /// Takes the last reduction back, and ends the recovery if it still goes on. An acknowledgment of `acked` bytes has shown that it was a mistake.
    pub(super) fn take_back_reduction(&mut self, why: Happening, acked: u32, now: Instant) {
        self.noted.note(why);
        self.recovery.undo.possible = false;
        //= rfc4015#3.4
        //# This is unless the acceptable ACK signals
        //# congestion through the ECN-Echo flag [RFC3168].  In that case, the
        //# TCP sender MUST refrain from reversing congestion control state.
        // Nor when an earlier one has: the reduction that was made already was the answer to that one too.
        if !self.recovery.undo.marked {
            self.congestion.on_spurious(self.snd.outstanding(), acked, now);
        }
        if self.recovery.phase != Phase::Open {
            self.flight.nothing_is_lost();
            self.recovery.lost = 0;
            self.end_recovery();
        }
        self.recovery.rack.mistaken();
        self.recovery.rack.reordering = true;
    }
}
