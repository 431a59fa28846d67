//! How an answer leaves: its head, and the file behind it, in pieces as the send buffer has room.
//!
//! Called by [`super::Http`] when an answer is ready, when there is room again, and when a pause is over. Reads at most
//! [`crate::limits::HTTP_PIECE_BYTES`] at a stretch, and only what can be sent. Cannot panic.

use std::time::Duration;

use super::Http;
use super::connection::{IDLE, REQUEST, Reply, Talk};
use super::file::Piece;
use super::time::{look_again, watch_progress};
use crate::limits;
use crate::service::Context;

impl Http {
    /// Puts an answer to work, whose head lies in the talk's text.
    pub(super) fn send(&mut self, cx: &mut impl Context, talk: &mut Talk, reply: Reply) {
        self.open_files += usize::from(reply.holds_open());
        talk.text_sent = 0;
        talk.reply = Some(reply);
        talk.tries = 0;
        talk.deadline = cx.now() + IDLE;
        self.pump(cx, talk);
        if !talk.over {
            watch_progress(cx, talk);
        }
    }

    pub(super) fn drop_reply(&mut self, talk: &mut Talk) {
        if let Some(reply) = talk.reply.take() {
            self.open_files -= usize::from(reply.holds_open());
        }
        talk.text.clear();
    }

    /// Sends of the answer in work what fits, and one piece of its file at most.
    pub(super) fn pump(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        let mut budget = limits::HTTP_PIECE_BYTES;
        while let Some(reply) = &mut talk.reply {
            let text = talk.text.bytes().get(talk.text_sent..).unwrap_or_default();
            if !text.is_empty() {
                let sent = cx.send(talk.connection, text);
                talk.text_sent += sent;
                talk.queued += sent as u64;
                if talk.text_sent < talk.text.bytes().len() {
                    return;
                }
            }
            if reply.span.len() > 0 {
                if budget == 0 && look_again(cx, talk, Duration::ZERO) {
                    return;
                }
                if budget == 0 {
                    // No timer is left to come back with: the send buffer bounds what is done now.
                    budget = limits::HTTP_PIECE_BYTES;
                }
                match self.send_piece(cx, talk, budget) {
                    Some(sent) => budget -= sent.min(budget),
                    None => return,
                }
                continue;
            }
            if let Some(parts) = &mut reply.parts
                && !parts.done()
            {
                talk.text.clear();
                talk.text_sent = 0;
                reply.span = parts.advance(&mut talk.text).unwrap_or_default();
                continue;
            }
            self.drop_reply(talk);
            if talk.last || talk.peer_closed {
                self.close(cx, talk);
            } else {
                talk.deadline = cx.now() + if talk.body_left > 0 { REQUEST } else { IDLE };
            }
        }
    }

    /// Sends bytes of the file, `most` at most; `None` when that is all for now.
    fn send_piece(&mut self, cx: &mut impl Context, talk: &mut Talk, most: usize) -> Option<usize> {
        let room = cx.info(talk.connection)?.room;
        let reply = talk.reply.as_mut()?;
        let file = reply.file.as_ref()?;
        // One byte more than fits, so that TCP knows that there is more and says when there is room again.
        let wanted = reply.span.len().min(most.min(room.saturating_add(1)) as u64) as usize;
        let out = self.piece.get_mut(..wanted)?;
        let read = match file.read_at_once(out, reply.span.first) {
            Piece::Later => {
                self.counts.disk_waits += u64::from(talk.tries == 0);
                file.fetch(reply.span.first, reply.span.len().min(limits::HTTP_PIECE_BYTES as u64));
                talk.tries += 1;
                if talk.tries <= TRIES && look_again(cx, talk, TRY_AGAIN) {
                    return None;
                }
                let reply = talk.reply.as_mut()?;
                reply.file.as_ref()?.read(out, reply.span.first)
            }
            read => read,
        };
        let Piece::Read(n @ 1..) = read else {
            // Less came than was promised: only the end of the connection can tell the client.
            self.counts.broken_off += 1;
            self.abort(cx, talk);
            self.drop_reply(talk);
            return None;
        };
        talk.tries = 0;
        let sent = cx.send(talk.connection, out.get(..n)?);
        talk.queued += sent as u64;
        self.counts.file_bytes += sent as u64;
        talk.reply.as_mut()?.span.first += sent as u64;
        (sent == n).then_some(sent)
    }
}

/// How often a piece of a file is asked for before it is waited for, and how long the disk is given each time.
pub(super) const TRIES: u32 = 100;
const TRY_AGAIN: Duration = Duration::from_millis(1);
