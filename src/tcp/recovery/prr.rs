//! Proportional rate reduction: how much may leave for each acknowledgment during fast recovery (RFC 6937).
//!
//! With two changes that its successor, RFC 9937, made to it: the slow-start bound applies only while an acknowledgment both moves SND.UNA and shows
//! no further loss, else the conservative one; and what SACK had reported before recovery began is no part of RecoverFS. Arithmetic; nothing panics.

use crate::tcp::folded::Form;

/// The variables of RFC 6937 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prr {
    /// prr_delivered
    delivered: u32,
    /// prr_out
    out: u32,
    /// RecoverFS
    flight: u32,
    /// sndcnt: what may leave now.
    room: u32,
}

impl Prr {
    /// Recovery begins, with so much in flight.
    pub(super) fn begin(flight: u32) -> Self {
        Self { flight: flight.max(1), ..Self::default() }
    }

    /// An acknowledgment delivered `delivered` bytes and left `pipe` in the network; `safe` when it moved SND.UNA and showed no loss.
    pub(super) fn acknowledged(&mut self, delivered: u32, pipe: u32, ssthresh: u32, segment: u32, safe: bool) {
        self.delivered = self.delivered.saturating_add(delivered);
        self.room = if pipe > ssthresh {
            //= rfc6937#3
            //# sndcnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out
            let share = (u64::from(self.delivered) * u64::from(ssthresh)).div_ceil(u64::from(self.flight));
            u32::try_from(share).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            //= rfc6937#3
            //# limit = MAX(prr_delivered - prr_out, DeliveredData) + MSS
            let limit = self.delivered.saturating_sub(self.out).max(delivered);
            let limit = limit.saturating_add(if safe { segment } else { 0 });
            //= rfc6937#3
            //# sndcnt = MIN(ssthresh - pipe, limit)
            limit.min(ssthresh - pipe)
        };
    }

    /// What may leave now.
    pub(super) const fn room(&self) -> u32 {
        self.room
    }

    /// So much left.
    pub(super) const fn sent(&mut self, bytes: u32) {
        //= rfc6937#3
        //# prr_out += (data sent)
        self.out = self.out.saturating_add(bytes);
        self.room = self.room.saturating_sub(bytes);
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form) {
        if !form.same(self, Self::default()) {
            let Self { delivered, out, flight, room } = self;
            for count in [delivered, out, flight, room] {
                form.near(count, 0);
            }
        }
    }
}
