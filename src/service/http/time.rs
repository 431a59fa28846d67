//! What a client has time for, and the timers that see to it.
//!
//! Called by [`super::Http`]. A talk has one timer for its deadline, and one more while it waits for its next turn ([`look_again`]).
//! No clock is read here but that of the turn. Cannot panic.

use std::time::Duration;

use super::Http;
use super::connection::{STALL, Talk};
use super::response::Status;
use crate::service::{Connection, Context};

impl Http {
    /// The deadline has passed: what is late decides.
    pub(super) fn expire(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        let now = cx.now();
        let waiting = cx.info(talk.connection).map_or(0, |info| info.unacknowledged) as u64;
        let acknowledged = talk.queued.saturating_sub(waiting);
        if waiting > 0 || talk.reply.is_some() {
            if acknowledged > talk.acknowledged {
                talk.acknowledged = acknowledged;
                talk.deadline = now + STALL;
            } else {
                self.counts.cut_off += 1;
                self.abort(cx, talk);
            }
        } else if talk.closing {
            self.counts.cut_off += 1;
            self.abort(cx, talk);
        } else if talk.head.is_some() {
            self.counts.slow_heads += 1;
            self.give_head_back(talk);
            self.refuse(cx, talk, Status::REQUEST_TIMEOUT);
        } else {
            self.counts.idle += 1;
            self.close(cx, talk);
        }
    }
}

/// Sees to it that the deadline is noticed. A timer that fires too early is left alone: it is set anew then, so that a connection at
/// work costs one timer a minute. False when there is none left.
pub(super) fn arm(cx: &mut impl Context, talk: &mut Talk) -> bool {
    match talk.armed {
        Some((_, at)) if at <= talk.deadline => return true,
        Some((timer, _)) => cx.cancel_timer(timer),
        None => {}
    }
    talk.armed = cx.set_timer(talk.deadline, token(talk.connection, false)).ok().map(|timer| (timer, talk.deadline));
    talk.armed.is_some()
}

/// Has the talk looked at again later, after the others had their turn. False when no timer is left for that.
pub(super) fn look_again(cx: &mut impl Context, talk: &mut Talk, after: Duration) -> bool {
    talk.again = talk.again || cx.set_timer(cx.now() + after, token(talk.connection, true)).is_ok();
    talk.again
}

/// What a timer is told: whose it is, and which of the two.
fn token(connection: Connection, again: bool) -> u64 {
    u64::from(connection.generation) << 32 | u64::from(connection.slot & !AGAIN) | if again { u64::from(AGAIN) } else { 0 }
}

pub(super) fn named_by(token: u64) -> (Connection, bool) {
    let slot = token as u32;
    (Connection { slot: slot & !AGAIN, generation: (token >> 32) as u32 }, slot & AGAIN != 0)
}

/// Marks the timer of [`look_again`] in a token. No core has as many slots (the setting `tcp.connections` ends at 2^24).
const AGAIN: u32 = 1 << 31;
