//! HTTP/1.1: the files of a folder (RFC 9110, RFC 9112). GET and HEAD, ranges, conditions, kept connections, pipelining.
//!
//! Opened by [`super::Catalog`] (`ringway serve ... http/tcp:80=DIR`) or by a program of one's own. Bytes become a head ([`request`]), a head
//! becomes a file ([`file`]) under conditions ([`conditions`]) and ranges ([`range`]), a file becomes an answer ([`response`]) that leaves in
//! pieces as the send buffer has room ([`connection`]). How a stream was cut into segments changes nothing in the answers.
//!
//! **Nothing waits for a client**: what a peer can make grow is bounded in [`crate::limits`], and each thing it has to do has its time
//! ([`connection`]): a head that does not end is answered with 408, a client that takes nothing is cut off.
//!
//! **Files are read in the engine's loop.** While a callback runs its core receives nothing, so a large file is never read whole: at most
//! [`crate::limits::HTTP_PIECE_BYTES`] at a stretch for a connection, and only as much as can be sent. What is not in the page cache is asked for
//! (RWF_NOWAIT says so instead of waiting; `fadvise` has it fetched) and tried again a millisecond later. That does not make everything
//! non-blocking: opening a file whose folder entries are not cached waits for the disk, and so does reading on a file system without
//! RWF_NOWAIT, or after [`sending::TRIES`] tries. Serve what fits into memory, and other services on other cores.
//!
//! A request makes the kernel open, look at and close a file, but for a small one that was read within the last second: that is answered from memory
//! ([`shelf`]). Cannot panic.

mod conditions;
mod connection;
mod file;
mod kind;
mod range;
mod request;
mod response;
mod sending;
mod shelf;
#[cfg(test)]
mod tests;
mod time;

use std::time::Duration;

use serde::Serialize;

pub use self::file::Root;
pub use self::response::Boundaries;

use self::conditions::{Outcome, Validators};
use self::connection::{FIRST_REQUEST, IDLE, LINGER, Parts, REQUEST, Reply, Talk};
use self::file::{File, Found};
use self::range::{Asked, Span};
use self::request::{Method, Request};
use self::response::{ContentRange, Status, Today};
use self::shelf::Shelf;
use self::time::{arm, look_again};
use super::daytime::WallClock;
use super::per_connection::Named;
use super::{Connection, Context, PerConnection, ResetReason, Service};
use crate::limits;
use crate::time::Instant;

/// The files of folders over HTTP/1.1. A listener's tag is the position of its folder.
#[derive(Debug)]
pub struct Http {
    /// The folders; `None` at the positions that are not ours.
    roots: Vec<Option<Root>>,
    shelf: Shelf,
    talks: PerConnection<Option<Box<Talk>>>,
    /// Talks that have ended, for the connections to come.
    #[expect(clippy::vec_box, reason = "a talk moves between here and the table as a pointer")]
    ended: Vec<Box<Talk>>,
    /// Memory for heads that come in pieces.
    heads: Vec<Vec<u8>>,
    partial_heads: usize,
    open_files: usize,
    /// The bytes of a file on their way into the send buffer.
    piece: Box<[u8]>,
    /// The name of a file, decoded.
    name: Vec<u8>,
    clock: WallClock,
    today: Today,
    boundaries: Boundaries,
    counts: Counts,
}

/// What the service has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests answered, whatever the answer.
    pub answered: u64,
    /// Answers 200 and 206.
    pub ok: u64,
    /// Answers 301 and 304.
    pub redirected: u64,
    /// Answers 4xx, 501 and 505: the client's fault.
    pub refused: u64,
    /// Answers 500 and 503: ours.
    pub failed: u64,
    /// Bytes of files handed to TCP.
    pub file_bytes: u64,
    /// Heads that did not end in time (408).
    pub slow_heads: u64,
    /// Connections closed because they asked for nothing more.
    pub idle: u64,
    /// Connections cut off because the client took next to nothing, or did not close its side.
    pub cut_off: u64,
    /// Answers broken off because the file became shorter or could not be read.
    pub broken_off: u64,
    /// Pieces of files that were not in memory when they were asked for.
    pub disk_waits: u64,
}

impl Http {
    /// Serves `roots`, for up to `connections` connections at once. `clock` dates the answers; `boundaries` makes the separators of parts.
    pub fn new(roots: Vec<Option<Root>>, connections: usize, boundaries: Boundaries, clock: WallClock) -> Self {
        // A catalog without HTTP has one of these, too: it must cost nothing.
        let used = roots.iter().any(Option::is_some);
        Self {
            shelf: Shelf::new(roots.len()),
            roots,
            talks: PerConnection::with_capacity(if used { connections } else { 0 }),
            ended: Vec::new(),
            heads: Vec::new(),
            partial_heads: 0,
            open_files: 0,
            piece: vec![0; if used { limits::HTTP_PIECE_BYTES } else { 0 }].into_boxed_slice(),
            name: Vec::new(),
            clock,
            today: Today::default(),
            boundaries,
            counts: Counts::default(),
        }
    }

    /// What has been done so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// True when it serves anything.
    pub fn is_used(&self) -> bool {
        self.roots.iter().any(Option::is_some)
    }

    /// The talk of a live connection. It is put back with [`Http::put_back`].
    fn take(&mut self, connection: Connection) -> Option<Box<Talk>> {
        self.talks.of(connection).take_if(|talk| talk.connection == connection)
    }

    fn put_back(&mut self, cx: &mut impl Context, mut talk: Box<Talk>) {
        if !talk.over && !arm(cx, &mut talk) {
            // Nobody would notice if this client fell silent.
            self.abort(cx, &mut talk);
        }
        if talk.over {
            self.end(cx, talk);
        } else {
            let connection = talk.connection;
            *self.talks.of(connection) = Some(talk);
        }
    }

    /// Lets go of what an ended connection held.
    fn end(&mut self, cx: &mut impl Context, mut talk: Box<Talk>) {
        if let Some((timer, _)) = talk.armed.take() {
            cx.cancel_timer(timer);
        }
        self.give_head_back(&mut talk);
        self.drop_reply(&mut talk);
        self.ended.push(talk);
    }

    fn abort(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        cx.abort(talk.connection);
        talk.over = true;
    }

    /// Ends our side once all is sent, and gives the client some time to end its own.
    fn close(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        cx.close(talk.connection);
        talk.closing = true;
        self.give_head_back(talk);
        talk.deadline = cx.now() + LINGER;
    }

    fn give_head_back(&mut self, talk: &mut Talk) {
        if let Some(head) = talk.head.take() {
            self.keep_head(head);
        }
    }

    /// Takes what can be read now: bodies to be thrown away, and heads, each answered before the next is looked at.
    fn read(&mut self, cx: &mut impl Context, talk: &mut Talk, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        let mut requests = 0;
        loop {
            if talk.closing || talk.over {
                return bytes.len();
            }
            let body = talk.body_left.min(rest.len() as u64);
            talk.body_left -= body;
            rest = &rest[body as usize..];
            if body > 0 && talk.body_left == 0 {
                talk.deadline = talk.deadline.max(cx.now() + IDLE);
            }
            if rest.is_empty() || talk.reply.is_some() || talk.paused {
                return bytes.len() - rest.len();
            }
            if requests == limits::HTTP_PIPELINED && look_again(cx, talk, Duration::ZERO) {
                cx.pause(talk.connection);
                talk.paused = true;
                continue;
            }
            requests += 1;
            rest = self.read_head(cx, talk, rest);
        }
    }

    /// Takes a head, or the part of it that is there, and answers when it is complete or beyond mending. Gives what lies behind it.
    fn read_head<'b>(&mut self, cx: &mut impl Context, talk: &mut Talk, bytes: &'b [u8]) -> &'b [u8] {
        let Some(mut head) = talk.head.take() else {
            // RFC 9112 2.2: empty lines before a request are ignored.
            let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
            let bytes = &bytes[start..];
            if bytes.is_empty() {
                return bytes;
            }
            let reach = bytes.len().min(limits::HTTP_HEAD_BYTES);
            if let Some(end) = request::head_end(&bytes[..reach], 0) {
                let (head, rest) = bytes.split_at(end);
                self.respond(cx, talk, head);
                return rest;
            }
            if self.partial_heads >= limits::HTTP_PARTIAL_HEADS {
                self.refuse(cx, talk, Status::UNAVAILABLE);
                return &[];
            }
            self.partial_heads += 1;
            talk.head = Some(self.heads.pop().unwrap_or_default());
            talk.line_checked = false;
            talk.deadline = cx.now() + REQUEST;
            return self.read_head(cx, talk, bytes);
        };
        let from = head.len();
        let (new, rest) = bytes.split_at(bytes.len().min(limits::HTTP_HEAD_BYTES.saturating_sub(from)));
        head.extend_from_slice(new);
        if let Some(end) = request::head_end(&head, from.saturating_sub(2)) {
            let taken = end.saturating_sub(from);
            self.respond(cx, talk, &head[..end]);
            self.keep_head(head);
            return &bytes[taken..];
        }
        let line = head.iter().position(|&byte| byte == b'\n').filter(|_| !talk.line_checked);
        let verdict = match line {
            Some(end) => request::check_line(&head[..=end]),
            None => Ok(()),
        };
        talk.line_checked |= line.is_some();
        let full = head.len() >= limits::HTTP_HEAD_BYTES;
        match verdict {
            Err(status) => {
                self.keep_head(head);
                self.refuse(cx, talk, status);
            }
            Ok(()) if full => {
                self.keep_head(head);
                self.refuse(cx, talk, if talk.line_checked { Status::FIELDS_TOO_LARGE } else { Status::URI_TOO_LONG });
            }
            Ok(()) => talk.head = Some(head),
        }
        rest
    }

    /// Keeps the memory of a head for another, and nothing of what it said.
    fn keep_head(&mut self, mut head: Vec<u8>) {
        head.clear();
        self.heads.push(head);
        self.partial_heads -= 1;
    }

    /// Answers a complete head.
    fn respond(&mut self, cx: &mut impl Context, talk: &mut Talk, head: &[u8]) {
        let mut storage = request::storage();
        let request = match request::read(head, &mut storage) {
            Ok(request) => request,
            Err(status) => return self.refuse(cx, talk, status),
        };
        // A client that was not told to go on may or may not send its body: what follows could be either.
        talk.last = !request.keep_alive || request.expects || request.body_bytes > limits::HTTP_BODY_BYTES || cx.is_draining();
        talk.body_left = if talk.last { 0 } else { request.body_bytes };
        let verdict = match request.method {
            Method::Refused => Err(Status::METHOD_NOT_ALLOWED),
            Method::Unknown => Err(Status::NOT_IMPLEMENTED),
            Method::Get | Method::Head if request.body_bytes > limits::HTTP_BODY_BYTES => Err(Status::CONTENT_TOO_LARGE),
            Method::Get | Method::Head => self.find(talk, &request, cx.now()),
        };
        let reply = match verdict {
            Ok(Found::File(file)) => {
                let kind = kind::of(&self.name);
                self.answer_with_file(talk, &request, file, kind)
            }
            Ok(Found::Index(file)) => self.answer_with_file(talk, &request, file, kind::INDEX),
            Ok(Found::Folder) => {
                self.begin(talk, Status::MOVED_PERMANENTLY, &request);
                let target = request.target;
                talk.text.field("Location", format_args!("/{}/{}", target.path.trim_start_matches('/'), target.query));
                talk.text.end_with_words(Status::MOVED_PERMANENTLY, request.method == Method::Head);
                Reply::default()
            }
            Err(status) => {
                self.begin(talk, status, &request);
                self.end_with_words(talk, status, &request)
            }
        };
        self.send(cx, talk, reply);
    }

    /// Answers what is no request at all, or none whose end can be told: nothing can be read after it.
    fn refuse(&mut self, cx: &mut impl Context, talk: &mut Talk, status: Status) {
        talk.last = true;
        talk.body_left = 0;
        let today = self.today.at((self.clock)());
        talk.text.begin(status, today);
        talk.text.field("Connection", "close");
        talk.text.end_with_words(status, false);
        self.count(status);
        self.send(cx, talk, Reply::default());
    }

    fn find(&mut self, talk: &Talk, request: &Request<'_, '_>, now: Instant) -> Result<Found, Status> {
        request.target.decode(&mut self.name)?;
        if let Some(found) = self.shelf.find(talk.root, &self.name, now) {
            return Ok(found);
        }
        if self.open_files >= limits::HTTP_OPEN_FILES {
            return Err(Status::UNAVAILABLE);
        }
        let root = self.roots.get(talk.root).and_then(Option::as_ref).ok_or(Status::INTERNAL_ERROR)?;
        let found = root.find(&self.name)?;
        Ok(self.shelf.keep(talk.root, &self.name, found, now, (self.clock)()))
    }

    /// Writes the head of an answer that has a file behind it, or instead of it what its conditions and ranges come to.
    fn answer_with_file(&mut self, talk: &mut Talk, request: &Request<'_, '_>, file: File, kind: &'static str) -> Reply {
        let now = (self.clock)();
        let validators = Validators::of(&file, now);
        let whole = Span { first: 0, end: file.size };
        // RFC 9110 14.2: ranges have a meaning for GET alone.
        let range = request.single("range").filter(|_| request.method == Method::Get);
        let asked = match (conditions::weigh(request, &validators, now), range) {
            (Outcome::Failed, _) => {
                self.begin(talk, Status::PRECONDITION_FAILED, request);
                return self.end_with_words(talk, Status::PRECONDITION_FAILED, request);
            }
            (Outcome::NotModified, _) => {
                self.begin(talk, Status::NOT_MODIFIED, request);
                self.describe(talk, &validators, file.size);
                talk.text.end();
                return Reply::default();
            }
            (Outcome::Send, Some(range)) => range::read(range, file.size),
            _ => Asked::Whole,
        };
        let (span, parts) = match asked {
            Asked::Nothing => {
                self.begin(talk, Status::RANGE_NOT_SATISFIABLE, request);
                talk.text.field("Content-Range", format_args!("bytes */{}", file.size));
                return self.end_with_words(talk, Status::RANGE_NOT_SATISFIABLE, request);
            }
            Asked::Whole => {
                self.begin(talk, Status::OK, request);
                (whole, None)
            }
            Asked::One(span) => {
                self.begin(talk, Status::PARTIAL_CONTENT, request);
                talk.text.field("Content-Range", ContentRange(span, file.size));
                (span, None)
            }
            Asked::Several(spans) => {
                self.begin(talk, Status::PARTIAL_CONTENT, request);
                let boundary = self.boundaries.next();
                (Span::default(), Some(Box::new(Parts { spans, next: 0, boundary, kind, size: file.size })))
            }
        };
        match &parts {
            Some(parts) => {
                talk.text.field("Content-Type", format_args!("multipart/byteranges; boundary={}", parts.boundary));
                self.describe(talk, &validators, parts.body_bytes());
            }
            None => {
                talk.text.field("Content-Type", kind);
                self.describe(talk, &validators, span.len());
            }
        }
        talk.text.end();
        if request.method == Method::Head {
            return Reply::default();
        }
        Reply { file: Some(file), span, parts }
    }

    /// The fields that go with a file in every form.
    fn describe(&self, talk: &mut Talk, validators: &Validators, body_bytes: u64) {
        talk.text.field("Content-Length", body_bytes);
        talk.text.field("Last-Modified", validators.last_modified());
        talk.text.field("ETag", validators.tag);
        talk.text.field("Accept-Ranges", "bytes");
    }

    fn begin(&mut self, talk: &mut Talk, status: Status, request: &Request<'_, '_>) {
        let today = self.today.at((self.clock)());
        talk.text.begin(status, today);
        if talk.last {
            talk.text.field("Connection", "close");
        } else if request.say_keep_alive {
            talk.text.field("Connection", "keep-alive");
        }
        self.count(status);
    }

    fn end_with_words(&self, talk: &mut Talk, status: Status, request: &Request<'_, '_>) -> Reply {
        if status == Status::METHOD_NOT_ALLOWED {
            talk.text.field("Allow", "GET, HEAD");
        } else if status == Status::UNAVAILABLE {
            talk.text.field("Retry-After", 1);
        }
        talk.text.end_with_words(status, request.method == Method::Head);
        Reply::default()
    }

    const fn count(&mut self, status: Status) {
        self.counts.answered += 1;
        match status {
            // Of the class of our faults, but only a client can bring them about.
            Status::NOT_IMPLEMENTED | Status::VERSION_NOT_SUPPORTED => self.counts.refused += 1,
            _ => match status.class() {
                2 => self.counts.ok += 1,
                3 => self.counts.redirected += 1,
                4 => self.counts.refused += 1,
                _ => self.counts.failed += 1,
            },
        }
    }
}

impl Service for Http {
    type Message = ();

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        let tag = cx.info(connection).map_or(u64::MAX, |info| info.tag);
        let root = usize::try_from(tag).unwrap_or(usize::MAX);
        let fresh = Talk::new(connection, root, cx.now());
        let talk = match self.ended.pop() {
            Some(mut old) => {
                *old = fresh;
                old
            }
            None => Box::new(fresh),
        };
        self.put_back(cx, talk);
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        let Some(mut talk) = self.take(connection) else { return bytes.len() };
        let taken = self.read(cx, &mut talk, bytes);
        self.put_back(cx, talk);
        taken
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(mut talk) = self.take(connection) else { return };
        self.pump(cx, &mut talk);
        self.put_back(cx, talk);
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(mut talk) = self.take(connection) else { return cx.close(connection) };
        talk.peer_closed = true;
        if talk.head.is_some() {
            // The request was cut short.
            self.give_head_back(&mut talk);
            self.refuse(cx, &mut talk, Status::BAD_REQUEST);
        } else if talk.reply.is_none() && !talk.closing {
            self.close(cx, &mut talk);
        }
        self.put_back(cx, talk);
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, _: ResetReason) {
        if let Some(talk) = self.take(connection) {
            self.end(cx, talk);
        }
    }

    fn closed(&mut self, cx: &mut impl Context, connection: Connection) {
        if let Some(talk) = self.take(connection) {
            self.end(cx, talk);
        }
    }

    /// What was asked for is answered, the answer in work and the request on its way; then the connection ends. One that has asked and waits ends
    /// at once, one that is fresh has a moment to ask.
    fn drain(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(mut talk) = self.take(connection) else { return };
        let unread = cx.info(connection).is_some_and(|info| info.unread > 0);
        if talk.reply.is_some() {
            talk.last = true;
        } else if !talk.closing && talk.head.is_none() && !unread {
            if talk.queued == 0 {
                talk.deadline = talk.deadline.min(cx.now() + FIRST_REQUEST);
            } else {
                self.close(cx, &mut talk);
            }
        }
        self.put_back(cx, talk);
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        let Named { connection, again } = Named::by(token);
        let Some(mut talk) = self.take(connection) else { return };
        if again {
            talk.again = false;
            talk.paused = false;
            self.pump(cx, &mut talk);
            if !talk.over {
                cx.resume(connection);
            }
        } else {
            talk.armed = None;
            self.expire(cx, &mut talk);
        }
        self.put_back(cx, talk);
    }
}
