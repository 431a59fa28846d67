//! What a visitor asks for, and the answer as bytes.
//!
//! `httparse` reads the head. Pure: bytes in, values or bytes out. Whatever the bytes, nothing here panics.

use crate::limits;
use crate::metrics::prometheus::{By, CONTENT_TYPE};

/// A request, once its head is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) wanted: Wanted,
    /// HEAD: the answer has no body.
    pub(super) head_only: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Figures(By),
    Glossary,
    Refused(Refusal),
}

/// Why there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No head of HTTP/1.
    Malformed,
    NotFound,
    /// Neither GET nor HEAD.
    Method,
    TooLong,
}

impl Request {
    /// Reads a head that may not have come whole: then there is no request yet.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {
                Some(Self::of(request.method.unwrap_or_default(), request.path.unwrap_or_default()))
            }
            Ok(httparse::Status::Partial) if bytes.len() < limits::SCRAPE_REQUEST => None,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Some(Self::refused(Refusal::TooLong)),
            Err(_) => Some(Self::refused(Refusal::Malformed)),
        }
    }

    const fn refused(why: Refusal) -> Self {
        Self { wanted: Wanted::Refused(why), head_only: false }
    }

    fn of(method: &str, target: &str) -> Self {
        let head_only = method == "HEAD";
        if !head_only && method != "GET" {
            return Self::refused(Refusal::Method);
        }
        let wanted = match path_of(target) {
            "/metrics" => Wanted::Figures(By::Core),
            "/metrics/sum" => Wanted::Figures(By::Sum),
            "/" => Wanted::Glossary,
            _ => Wanted::Refused(Refusal::NotFound),
        };
        Self { wanted, head_only }
    }
}

/// The path of a target in either form (RFC 9112 3.2), without its query.
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    path.split('?').next().unwrap_or_default()
}

impl Refusal {
    const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::TooLong => "431 Request Header Fields Too Large",
        }
    }

    /// The whole answer.
    pub(super) fn answer(self, head_only: bool) -> Vec<u8> {
        let status = self.status();
        let more = if self == Self::Method { "Allow: GET, HEAD\r\n" } else { "" };
        answer(status, PLAIN, more, &format!("{status}\nThe figures are at /metrics.\n"), head_only)
    }
}

/// The answer with figures.
pub(super) fn figures(page: &str, head_only: bool) -> Vec<u8> {
    answer(OK, CONTENT_TYPE, "", page, head_only)
}

/// The answer with a page for people.
pub(super) fn text(page: &str, head_only: bool) -> Vec<u8> {
    answer(OK, PLAIN, "", page, head_only)
}

fn answer(status: &str, kind: &str, more: &str, body: &str, head_only: bool) -> Vec<u8> {
    let body_len = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {body_len}\r\n{more}Connection: close\r\n\r\n");
    let mut answer = head.into_bytes();
    if !head_only {
        answer.extend_from_slice(body.as_bytes());
    }
    answer
}

const OK: &str = "200 OK";
const PLAIN: &str = "text/plain; charset=utf-8";
/// Prometheus sends six.
const HEADERS: usize = 64;
