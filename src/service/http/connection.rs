//! A connection of the HTTP service: what has been read of a request, and what is still to be sent of its answer.
//!
//! Kept by [`super::Http`], one for each open connection, and used again for a later one. Values only; cannot panic.

use std::time::Duration;

use super::file::File;
use super::range::Span;
use super::response::{Boundary, Text};
use crate::service::{Connection, TimerId};
use crate::time::Instant;

/// A connection that asks for nothing is closed after this.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// A head has to be complete within this time from its first byte, a body within the same from its head.
pub(super) const REQUEST: Duration = Duration::from_secs(10);
/// While the server stops, a client that has not asked for anything yet has to begin within this: it may have sent its request already.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// In this time a client has to acknowledge [`STALL_BYTES`] of what lies ready for it, or all of it if that is less; else it is cut off.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// About 500 bytes a second: less than any line that people wait at, too much for a handful of machines to hold thousands of answers with.
pub(super) const STALL_BYTES: u64 = 16_384;
/// How long a client may leave its side open after everything was sent and our side closed.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) connection: Connection,
    /// Position of the folder that is served.
    pub(super) root: usize,
    /// The beginning of a head whose end has not come yet.
    pub(super) head: Option<Vec<u8>>,
    /// The first line of that head has been judged.
    pub(super) line_checked: bool,
    /// Bytes of a request's body that are still to come, and to be thrown away.
    pub(super) body_left: u64,
    /// The answer in work.
    pub(super) reply: Option<Reply>,
    /// What is to be sent before the next bytes of a file: heads, parts' heads, words.
    pub(super) text: Text,
    pub(super) text_sent: usize,
    /// No request is read after the answer in work.
    pub(super) last: bool,
    /// The client's side is closed.
    pub(super) peer_closed: bool,
    /// Our side is closed: what still comes is thrown away.
    pub(super) closing: bool,
    /// It has ended; nothing may be called for it any more.
    pub(super) over: bool,
    /// Reading waits for the next turn.
    pub(super) paused: bool,
    /// The timer that ends this turn's pause is set.
    pub(super) again: bool,
    /// Tries to read a piece of a file that was not in memory.
    pub(super) tries: u32,
    /// Bytes handed to TCP.
    pub(super) queued: u64,
    /// What the client has to take of them; `None` when nothing lay ready the last time that was judged.
    pub(super) due: Option<Due>,
    /// When the client has to have said something: the rest of a head or of a body, a request, or that it closes its side.
    pub(super) deadline: Instant,
    /// The timer for whichever comes first. It may be set for earlier, and is then set anew when it fires: a request costs no timer.
    pub(super) armed: Option<(TimerId, Instant)>,
}

/// What a client has to have acknowledged, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// So many bytes of all that were handed to TCP.
    pub(super) bytes: u64,
    pub(super) at: Instant,
}

/// An answer in work.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) file: Option<File>,
    /// The bytes of the file that are sent next.
    pub(super) span: Span,
    /// The parts after those.
    pub(super) parts: Option<Box<Parts>>,
}

/// The parts of `multipart/byteranges`.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) spans: Vec<Span>,
    pub(super) next: usize,
    pub(super) boundary: Boundary,
    pub(super) kind: &'static str,
    pub(super) size: u64,
}

impl Talk {
    /// A connection that has said nothing yet.
    pub(super) fn new(connection: Connection, root: usize, now: Instant) -> Self {
        Self {
            connection,
            root,
            head: None,
            line_checked: false,
            body_left: 0,
            reply: None,
            text: Text::default(),
            text_sent: 0,
            last: false,
            peer_closed: false,
            closing: false,
            over: false,
            paused: false,
            again: false,
            tries: 0,
            queued: 0,
            due: None,
            deadline: now + IDLE,
            armed: None,
        }
    }

    /// When the first of its deadlines passes.
    pub(super) fn next_deadline(&self) -> Instant {
        self.due.map_or(self.deadline, |due| due.at.min(self.deadline))
    }
}

impl Reply {
    /// True when it holds a file open.
    pub(super) fn holds_open(&self) -> bool {
        self.file.as_ref().is_some_and(File::is_open)
    }
}

impl Parts {
    /// Writes what stands before the next part and gives its bytes; behind the last, what ends them all.
    pub(super) fn advance(&mut self, text: &mut Text) -> Option<Span> {
        let span = self.spans.get(self.next).copied();
        match span {
            Some(span) => text.part(self.boundary, self.kind, span, self.size),
            None if self.next == self.spans.len() => text.last_part(self.boundary),
            None => {}
        }
        self.next += 1;
        span
    }

    /// True when nothing is left to be written.
    pub(super) fn done(&self) -> bool {
        self.next > self.spans.len()
    }

    /// Bytes of all parts with what frames them: the length of the body.
    pub(super) fn body_bytes(&self) -> u64 {
        let mut text = Text::default();
        self.spans.iter().for_each(|span| text.part(self.boundary, self.kind, *span, self.size));
        text.last_part(self.boundary);
        self.spans.iter().map(Span::len).fold(text.bytes().len() as u64, u64::saturating_add)
    }
}
