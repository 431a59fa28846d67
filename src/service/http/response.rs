//! What goes back: status lines, fields, and the frames of parts, as bytes.
//!
//! Called by [`super::Http`]; writes into a buffer of the connection's that is used again for the next answer. Pure; cannot panic.

use std::fmt::{self, Write as _};
use std::hash::Hasher as _;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;
use siphasher::sip::SipHasher13;

use super::range::Span;

/// A status code (RFC 9110 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Status(u16);

impl Status {
    pub(super) const OK: Self = Self(200);
    pub(super) const PARTIAL_CONTENT: Self = Self(206);
    pub(super) const MOVED_PERMANENTLY: Self = Self(301);
    pub(super) const NOT_MODIFIED: Self = Self(304);
    pub(super) const BAD_REQUEST: Self = Self(400);
    pub(super) const FORBIDDEN: Self = Self(403);
    pub(super) const NOT_FOUND: Self = Self(404);
    pub(super) const METHOD_NOT_ALLOWED: Self = Self(405);
    pub(super) const REQUEST_TIMEOUT: Self = Self(408);
    pub(super) const LENGTH_REQUIRED: Self = Self(411);
    pub(super) const PRECONDITION_FAILED: Self = Self(412);
    pub(super) const CONTENT_TOO_LARGE: Self = Self(413);
    pub(super) const URI_TOO_LONG: Self = Self(414);
    pub(super) const RANGE_NOT_SATISFIABLE: Self = Self(416);
    pub(super) const EXPECTATION_FAILED: Self = Self(417);
    pub(super) const FIELDS_TOO_LARGE: Self = Self(431);
    pub(super) const INTERNAL_ERROR: Self = Self(500);
    pub(super) const NOT_IMPLEMENTED: Self = Self(501);
    pub(super) const UNAVAILABLE: Self = Self(503);
    pub(super) const VERSION_NOT_SUPPORTED: Self = Self(505);

    /// The hundred it belongs to.
    pub(super) const fn class(self) -> u16 {
        self.0 / 100
    }

    const fn reason(self) -> &'static str {
        match self.0 {
            200 => "OK",
            206 => "Partial Content",
            301 => "Moved Permanently",
            304 => "Not Modified",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            411 => "Length Required",
            412 => "Precondition Failed",
            413 => "Content Too Large",
            414 => "URI Too Long",
            416 => "Range Not Satisfiable",
            417 => "Expectation Failed",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            _ => "",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

/// A head in the making, and the text behind it.
#[derive(Debug, Default)]
pub(super) struct Text(Vec<u8>);

impl Text {
    /// The bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Empties it; what an unusually long answer took is given back.
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEPT_BYTES);
    }

    /// Begins an answer: the status line and the date.
    pub(super) fn begin(&mut self, status: Status, date: &str) {
        self.clear();
        self.line(format_args!("HTTP/1.1 {status}"));
        self.field("Date", date);
    }

    /// A field. Values come from this server alone, or were checked when they were read: none has a line's end in it.
    pub(super) fn field(&mut self, name: &str, value: impl fmt::Display) {
        self.line(format_args!("{name}: {value}"));
    }

    /// The empty line behind the fields.
    pub(super) fn end(&mut self) {
        self.0.extend_from_slice(b"\r\n");
    }

    /// Ends an answer that consists of its status: a line of text for people, left out for HEAD.
    pub(super) fn end_with_words(&mut self, status: Status, head_only: bool) {
        let words = Words(status);
        self.field("Content-Type", "text/plain; charset=utf-8");
        self.field("Content-Length", words.len());
        self.end();
        if !head_only {
            let _ = write!(self, "{words}");
        }
    }

    /// What stands before a part of `multipart/byteranges` (RFC 9110 14.6).
    pub(super) fn part(&mut self, boundary: Boundary, kind: &str, span: Span, size: u64) {
        let _ = write!(self, "\r\n--{boundary}\r\n");
        self.field("Content-Type", kind);
        self.field("Content-Range", ContentRange(span, size));
        self.end();
    }

    /// What stands behind the last part.
    pub(super) fn last_part(&mut self, boundary: Boundary) {
        let _ = write!(self, "\r\n--{boundary}--\r\n");
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        let _ = self.write_fmt(line);
        self.end();
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Memory for text that a connection keeps between answers: a usual head.
const KEPT_BYTES: usize = 512;

/// The body of an answer that has no file.
struct Words(Status);

impl Words {
    fn len(&self) -> usize {
        "000 \n".len() + self.0.reason().len()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)
    }
}

/// `bytes first-last/size`.
pub(super) struct ContentRange(pub(super) Span, pub(super) u64);

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.0.first, self.0.end.saturating_sub(1), self.1)
    }
}

/// Makes what separates the parts of answers: a keyed hash of a counter. Whoever has seen some cannot tell the next without the key, so
/// that no file can contain it on purpose.
#[derive(Clone, Copy)]
pub struct Boundaries {
    keyed: SipHasher13,
    made: u64,
}

impl Boundaries {
    /// Separators under `secret`, which comes from the operating system's randomness.
    pub fn new(secret: &[u8; 16]) -> Self {
        Self { keyed: SipHasher13::new_with_key(secret), made: 0 }
    }

    pub(super) fn next(&mut self) -> Boundary {
        Boundary(self.number(), self.number())
    }

    fn number(&mut self) -> u64 {
        let mut hasher = self.keyed;
        hasher.write(&self.made.to_ne_bytes());
        self.made = self.made.wrapping_add(1);
        hasher.finish()
    }
}

impl fmt::Debug for Boundaries {
    /// The secret is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boundaries")
    }
}

/// What separates the parts of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary(pub(super) u64, pub(super) u64);

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

/// Seconds since 1970 as a date of RFC 9110 5.6.7. Seconds after the year 9999 are its last one.
pub(super) fn date(unix_seconds: u64) -> HttpDate {
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST_SECOND)))
}

/// A date of RFC 9110 5.6.7, in any of its three forms, as seconds since 1970.
pub(super) fn unix_seconds(date: &str) -> Option<u64> {
    httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// 9999-12-31 23:59:59, the last second that the form of a date can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// The `Date` of answers: made once a second, not once an answer.
#[derive(Debug, Default)]
pub(super) struct Today {
    unix_seconds: Option<u64>,
    text: String,
}

impl Today {
    /// The date of a second.
    pub(super) fn at(&mut self, unix_seconds: u64) -> &str {
        if self.unix_seconds != Some(unix_seconds) {
            self.unix_seconds = Some(unix_seconds);
            self.text.clear();
            let _ = write!(self.text, "{}", date(unix_seconds));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back_in_all_three_forms() {
        assert_eq!(Today::default().at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(unix_seconds(text), Some(784_111_777), "{text}");
        }
        for text in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
        assert_eq!(date(u64::MAX).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn separators_follow_from_the_secret_and_never_repeat() {
        let take = |secret: [u8; 16]| {
            let mut boundaries = Boundaries::new(&secret);
            (0..100).map(|_| boundaries.next().to_string()).collect::<Vec<_>>()
        };
        let (one, other) = (take([1; 16]), take([2; 16]));
        assert_eq!(one, take([1; 16]));
        let all: std::collections::BTreeSet<_> = one.iter().chain(&other).collect();
        assert_eq!(all.len(), 200);
        assert_eq!(format!("{:?}", Boundaries::new(&[1; 16])), "Boundaries");
    }

    #[test]
    fn the_date_follows_the_clock() {
        let mut today = Today::default();
        assert_eq!(today.at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(today.at(1), "Thu, 01 Jan 1970 00:00:01 GMT");
    }

    #[test]
    fn an_answer_of_words_says_its_length() {
        let mut text = Text::default();
        text.begin(Status::NOT_FOUND, "today");
        text.end_with_words(Status::NOT_FOUND, false);
        let expected = "HTTP/1.1 404 Not Found\r\nDate: today\r\nContent-Type: text/plain; charset=utf-8\r\n\
                        Content-Length: 14\r\n\r\n404 Not Found\n";
        assert_eq!(std::str::from_utf8(text.bytes()), Ok(expected));
    }
}
