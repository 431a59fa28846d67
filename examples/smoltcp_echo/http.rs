//! HTTP/1.1 over a smoltcp socket: the files of a folder, read into memory at the start, to GET and HEAD.
//!
//! Called by `services.rs` for each connection that has something new. Requests may come in pieces or several at once, and connections are kept. There
//! are no ranges, conditions or dates: less than Ringway's service does for a request, which is smoltcp's gain. Nothing a peer sends may panic.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use httparse::{EMPTY_HEADER, Request, Status};
use ringway::error::SetupError;
use smoltcp::socket::tcp;

use crate::services::{Counts, close};

/// A folder in memory.
pub(crate) struct Site {
    /// Files, behind them the pages for errors.
    pages: Vec<Page>,
    /// The page for a path; that of `index.html` is also for `/`.
    paths: HashMap<String, usize>,
}

/// A response.
struct Page {
    head: Vec<u8>,
    /// The same, with the word that the connection will be closed.
    last_head: Vec<u8>,
    body: Vec<u8>,
}

/// A connection.
#[derive(Default)]
pub(crate) struct Conversation {
    /// The beginning of a request whose end has not come.
    begun: Vec<u8>,
    sending: Option<Sending>,
    /// No more requests are read.
    ended: bool,
}

/// A response on its way.
#[derive(Clone, Copy)]
struct Sending {
    page: usize,
    with_body: bool,
    is_last: bool,
    /// Bytes that are in the send buffer already.
    at: usize,
}

/// What the next bytes are.
enum Parsed {
    /// A request of so many bytes, and its response.
    Whole(usize, Sending),
    /// There is more to come.
    Part,
}

impl Site {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// It cannot be read, or has too much to be kept in memory.
    pub(crate) fn read(folder: &Path) -> Result<Self, SetupError> {
        let unreadable = |error: std::io::Error| {
            SetupError::environment(format!("cannot serve the folder {}", folder.display()), error.to_string())
        };
        let mut site = Self { pages: Vec::new(), paths: HashMap::new() };
        let mut total = 0;
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let (true, Some(name)) = (path.is_file(), path.file_name().and_then(|name| name.to_str())) else { continue };
            let body = fs::read(&path).map_err(unreadable)?;
            total += body.len();
            if total > SITE_MOST {
                let why = format!("its files are kept in memory, and have more than {} MiB", SITE_MOST >> 20);
                return Err(SetupError::usage(format!("cannot serve the folder {}", folder.display()), why));
            }
            if name == "index.html" {
                site.paths.insert("/".to_owned(), site.pages.len());
            }
            site.paths.insert(format!("/{name}"), site.pages.len());
            site.pages.push(Page::new("200 OK", body));
        }
        for status in ERRORS {
            site.pages.push(Page::new(status, format!("{status}\n").into_bytes()));
        }
        Ok(site)
    }

    /// The page of an error, by its place in [`ERRORS`].
    fn error(&self, nth: usize) -> usize {
        self.pages.len() - ERRORS.len() + nth
    }

    /// Reads a request, if it is whole.
    fn parse(&self, bytes: &[u8]) -> Parsed {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut request = Request::new(&mut headers);
        let bad = Parsed::Whole(bytes.len(), Sending { page: self.error(BAD), with_body: true, is_last: true, at: 0 });
        let len = match request.parse(bytes) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) if bytes.len() < HEAD_MOST => return Parsed::Part,
            Ok(Status::Partial) | Err(_) => return bad,
        };
        // HTTP/1.0 closes. A body is not expected, so where it would end is not looked for.
        let mut is_last = request.version == Some(0);
        for header in request.headers.iter() {
            if header.name.eq_ignore_ascii_case("connection") {
                is_last |= header.value.eq_ignore_ascii_case(b"close");
            } else if header.name.eq_ignore_ascii_case("transfer-encoding")
                || (header.name.eq_ignore_ascii_case("content-length") && header.value != b"0")
            {
                return bad;
            }
        }
        let path = request.path.map(|path| path.split('?').next().unwrap_or_default());
        let found = path.and_then(|path| self.paths.get(path)).copied();
        let (page, with_body) = match request.method {
            Some("GET") => (found.unwrap_or(self.error(NOT_FOUND)), true),
            Some("HEAD") => (found.unwrap_or(self.error(NOT_FOUND)), false),
            _ => (self.error(NOT_IMPLEMENTED), true),
        };
        Parsed::Whole(len, Sending { page, with_body, is_last, at: 0 })
    }
}

impl Page {
    fn new(status: &str, body: Vec<u8>) -> Self {
        let len = body.len();
        let head = |more: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nContent-Type: application/octet-stream\r\n{more}\r\n").into()
        };
        Self { head: head(""), last_head: head("Connection: close\r\n"), body }
    }
}

impl Conversation {
    /// Answers what has come, as far as there is room. False when the connection is not to be closed yet, or is closed already.
    pub(crate) fn go_on(&mut self, socket: &mut tcp::Socket<'_>, site: &Site, counts: &mut Counts) -> bool {
        while !self.ended {
            if !self.send(socket, site) {
                return false;
            }
            if self.ended || !self.read(socket, site, counts) {
                break;
            }
        }
        if self.ended {
            // What is still said is not heard, but room is made for it: a full window would hold up the peer's own end.
            while socket.can_recv() && socket.recv(|bytes| (bytes.len(), ())).is_ok() {}
        }
        !self.ended
    }

    /// A new one, with the memory of this one.
    pub(crate) fn emptied(mut self) -> Self {
        self.begun.clear();
        Self { begun: self.begun, sending: None, ended: false }
    }

    /// Puts the response on its way into the send buffer. False when something of it is left.
    fn send(&mut self, socket: &mut tcp::Socket<'_>, site: &Site) -> bool {
        let Some(sending) = &mut self.sending else { return true };
        let page = &site.pages[sending.page];
        let head = if sending.is_last { &page.last_head } else { &page.head };
        let body: &[u8] = if sending.with_body { &page.body } else { &[] };
        if let Some(rest) = head.get(sending.at..) {
            sending.at += socket.send_slice(rest).unwrap_or(0);
        }
        if let Some(rest) = sending.at.checked_sub(head.len()).and_then(|sent| body.get(sent..)) {
            sending.at += socket.send_slice(rest).unwrap_or(0);
        }
        if sending.at < head.len() + body.len() {
            return false;
        }
        if sending.is_last {
            self.ended = true;
            close(socket);
        }
        self.sending = None;
        true
    }

    /// Reads the next request. False when none is whole.
    fn read(&mut self, socket: &mut tcp::Socket<'_>, site: &Site, counts: &mut Counts) -> bool {
        let begun = &mut self.begun;
        if begun.is_empty() && !socket.can_recv() {
            return false;
        }
        let parsed = if begun.is_empty() {
            socket.recv(|bytes| match site.parse(bytes) {
                Parsed::Whole(len, sending) => (len, Some((len, sending))),
                Parsed::Part => {
                    // Also where the receive buffer wraps.
                    begun.extend_from_slice(bytes);
                    (bytes.len(), None)
                }
            })
        } else {
            Ok(None)
        };
        let parsed = match parsed {
            Err(_) => return false,
            Ok(None) => {
                // Both sides of the wrap.
                for _ in 0..2 {
                    let room = HEAD_MOST - begun.len().min(HEAD_MOST);
                    let _ = socket.recv(|bytes| {
                        let taken = bytes.len().min(room);
                        begun.extend_from_slice(&bytes[..taken]);
                        (taken, ())
                    });
                }
                match site.parse(begun) {
                    Parsed::Part => return false,
                    Parsed::Whole(len, sending) => {
                        begun.drain(..len);
                        (len, sending)
                    }
                }
            }
            Ok(Some(parsed)) => parsed,
        };
        counts.messages += 1;
        counts.bytes += parsed.0 as u64;
        self.sending = Some(parsed.1);
        true
    }
}

const ERRORS: [&str; 3] = ["400 Bad Request", "404 Not Found", "501 Not Implemented"];
const BAD: usize = 0;
const NOT_FOUND: usize = 1;
const NOT_IMPLEMENTED: usize = 2;

/// Header fields of a request.
const HEADERS: usize = 64;
/// Bytes of the head of a request.
const HEAD_MOST: usize = 16 << 10;
/// Bytes of all files of a folder.
const SITE_MOST: usize = 256 << 20;
