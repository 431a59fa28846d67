//! What a client has time for, and the timers that see to it.
//!
//! Called by [`super::Http`]. A client has two clocks, one for what it has to say and one for what it has to take; neither
//! stops the other. A talk has one timer for both, and one more while it waits for its next turn ([`look_again`]).
//! No clock is read here but that of the turn. Cannot panic.

use std::time::Duration;

use super::Http;
use super::connection::{Due, IDLE, LINGER, STALL, STALL_BYTES, Talk};
use super::response::Status;
use crate::service::Context;
use crate::service::per_connection::Named;

impl Http {
    /// A deadline may have passed: what the client has to say is judged first, and then what it has to take, so that neither lengthens
    /// the time for the other.
    pub(super) fn expire(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        if cx.now() >= talk.deadline {
            self.expect_word(cx, talk);
        }
        if !talk.over && talk.due.is_some_and(|due| cx.now() >= due.at) {
            self.expect_progress(cx, talk);
        }
    }

    /// The client should have said something by now.
    fn expect_word(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        let waiting = unacknowledged(cx, talk) > 0;
        if talk.reply.is_some() {
            // It is our turn: this time begins when the answer has gone.
            talk.deadline = cx.now() + IDLE;
        } else if talk.head.is_some() {
            self.counts.slow_heads += 1;
            self.give_head_back(talk);
            self.refuse(cx, talk, Status::REQUEST_TIMEOUT);
        } else if talk.closing && waiting {
            talk.deadline = cx.now() + LINGER;
        } else if talk.closing {
            self.counts.cut_off += 1;
            self.abort(cx, talk);
        } else if waiting && talk.body_left == 0 {
            talk.deadline = cx.now() + IDLE;
        } else {
            self.counts.idle += 1;
            self.close(cx, talk);
        }
    }

    /// The client should have taken what was due by now.
    fn expect_progress(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        let Some(due) = talk.due.take() else { return };
        let waiting = unacknowledged(cx, talk);
        if talk.queued.saturating_sub(waiting) < due.bytes {
            self.counts.cut_off += 1;
            self.abort(cx, talk);
        } else if waiting > 0 || talk.reply.is_some() {
            watch_progress(cx, talk);
        }
    }
}

/// From now on the client has to take something of what lies ready, unless it is being judged already.
pub(super) fn watch_progress(cx: &impl Context, talk: &mut Talk) {
    if talk.due.is_none() {
        let waiting = unacknowledged(cx, talk);
        let bytes = talk.queued.saturating_sub(waiting) + waiting.min(STALL_BYTES);
        talk.due = Some(Due { bytes, at: cx.now() + STALL });
    }
}

fn unacknowledged(cx: &impl Context, talk: &Talk) -> u64 {
    cx.info(talk.connection).map_or(0, |info| info.unacknowledged) as u64
}

/// Sees to it that a deadline is noticed. A timer that fires too early is left alone: it is set anew then, so that a connection at
/// work costs two timers a minute. False when there is none left.
pub(super) fn arm(cx: &mut impl Context, talk: &mut Talk) -> bool {
    let next = talk.next_deadline();
    match talk.armed {
        Some((_, at)) if at <= next => return true,
        Some((timer, _)) => cx.cancel_timer(timer),
        None => {}
    }
    talk.armed = cx.set_timer(next, Named { connection: talk.connection, again: false }.token()).ok().map(|timer| (timer, next));
    talk.armed.is_some()
}

/// Has the talk looked at again later, after the others had their turn. False when no timer is left for that.
pub(super) fn look_again(cx: &mut impl Context, talk: &mut Talk, after: Duration) -> bool {
    talk.again = talk.again || cx.set_timer(cx.now() + after, Named { connection: talk.connection, again: true }.token()).is_ok();
    talk.again
}
