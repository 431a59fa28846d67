//! A connection of the DNS service: the messages that came over it, each answered before the next is looked at (RFC 7766).
//!
//! Called by [`super::Dns`]. A message begins with its length in two bytes. One that lies whole in what is offered is answered from there;
//! one that comes in pieces is gathered in a buffer of its own. An answer that the send buffer does not take whole is written again when there
//! is room, from the same message: the zone does not change, so nothing of an answer has to be kept. Cannot panic.

use std::time::Duration;

use crate::service::per_connection::Named;
use crate::service::{Connection, Context, TimerId};
use crate::time::Instant;

/// A client has to send a whole message, or take some of what waits for it, at least as often as this (RFC 7766 6.2.3: some seconds).
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What a client has to acknowledge in that time, or all that waits for it if that is less.
pub(super) const PROGRESS_BYTES: u64 = 16_384;
/// While the server stops, a client that has not asked yet has to do so within this: it may have sent its query already.
pub(super) const FIRST_QUERY: Duration = Duration::from_secs(1);
/// How long a client may leave its side open after ours was closed.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) connection: Connection,
    /// Position of the zone it is asked for.
    pub(super) zone: usize,
    /// The beginning of a message whose end has not come yet, or a whole one whose answer is not sent yet.
    pub(super) message: Option<Vec<u8>>,
    /// Bytes of the answer in work that are sent already.
    pub(super) sent: usize,
    /// The answer to the first message that is left is begun, and counted.
    pub(super) begun: bool,
    /// It waits for room in the send buffer.
    pub(super) blocked: bool,
    /// The client's side is closed.
    pub(super) peer_closed: bool,
    /// Our side is closed: what still comes is thrown away.
    pub(super) closing: bool,
    /// It has ended; nothing may be called for it any more.
    pub(super) over: bool,
    /// Reading waits for the next turn.
    pub(super) paused: bool,
    /// Bytes handed to TCP.
    pub(super) queued: u64,
    /// So many of them have to be acknowledged at the deadline.
    pub(super) due: u64,
    pub(super) deadline: Instant,
    /// The timer for the deadline. It may be set for earlier, and is then set anew when it fires: a query costs no timer.
    pub(super) armed: Option<(TimerId, Instant)>,
}

impl Talk {
    /// A connection that has said nothing yet.
    pub(super) fn new(connection: Connection, zone: usize, now: Instant) -> Self {
        Self {
            connection,
            zone,
            message: None,
            sent: 0,
            begun: false,
            blocked: false,
            peer_closed: false,
            closing: false,
            over: false,
            paused: false,
            queued: 0,
            due: 0,
            deadline: now + PATIENCE,
            armed: None,
        }
    }

    /// The client has done its part: it has time again, in which to take some of what waits for it.
    pub(super) fn grant(&mut self, cx: &impl Context, time: Duration) {
        let waiting = self.unacknowledged(cx);
        self.due = self.queued.saturating_sub(waiting) + waiting.min(PROGRESS_BYTES);
        self.deadline = cx.now() + time;
    }

    /// True when it has taken what it had to.
    pub(super) fn keeps_up(&self, cx: &impl Context) -> bool {
        self.queued.saturating_sub(self.unacknowledged(cx)) >= self.due
    }

    /// Bytes that the client has not acknowledged.
    pub(super) fn unacknowledged(&self, cx: &impl Context) -> u64 {
        cx.info(self.connection).map_or(0, |info| info.unacknowledged) as u64
    }

    /// Sees to it that the deadline is noticed. False when there is no timer left.
    pub(super) fn arm(&mut self, cx: &mut impl Context) -> bool {
        match self.armed {
            Some((_, at)) if at <= self.deadline => return true,
            Some((timer, _)) => cx.cancel_timer(timer),
            None => {}
        }
        let token = Named { connection: self.connection, again: false }.token();
        self.armed = cx.set_timer(self.deadline, token).ok().map(|timer| (timer, self.deadline));
        self.armed.is_some()
    }

    /// Has it looked at again after the others had their turn. False when no timer is left for that.
    pub(super) fn look_again(&mut self, cx: &mut impl Context) -> bool {
        let token = Named { connection: self.connection, again: true }.token();
        self.paused = cx.set_timer(cx.now(), token).is_ok();
        self.paused
    }
}

/// The first message of a stream, without its length, if all of it is there; or how many bytes it has with its length, as far as that is known.
pub(super) fn first_message(bytes: &[u8]) -> Result<&[u8], usize> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Err(2) };
    let len = usize::from(u16::from_be_bytes(*length));
    rest.get(..len).ok_or(2 + len)
}
