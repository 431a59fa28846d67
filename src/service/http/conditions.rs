//! Conditional requests (RFC 9110 13): whether the client has what it asks for already, or wants it only as it knew it.
//!
//! Called by [`super::Http`] for each file found. Pure; cannot panic.

use std::fmt;
use std::io::Write as _;

use super::file::File;
use super::request::{Request, elements};
use super::response::{date, unix_seconds};
use crate::limits;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) tag: Tag,
    /// Seconds since 1970 to the last change.
    pub(super) modified: u64,
}

/// An entity tag made of inode, size and time of change to the nanosecond: a file that was replaced, has grown or was written to has another
/// one. It is a strong one as far as the file system's clock is fine enough to tell two writes apart.
/// Written once a request, however many others it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    text: [u8; TAG_BYTES],
    len: usize,
}

/// Four numbers of 64 bits, what stands between them, and the quotes.
const TAG_BYTES: usize = 4 * 16 + 3 + 2;

impl Tag {
    fn of(inode: u64, size: u64, modified: u64, modified_ns: u64) -> Self {
        let mut text = [0; TAG_BYTES];
        let mut rest = text.as_mut_slice();
        // It always fits; were it cut, it would be a tag all the same.
        let _ = write!(rest, "\"{inode:x}-{size:x}-{modified:x}.{modified_ns:x}\"");
        let len = TAG_BYTES - rest.len();
        Self { text, len }
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.bytes()).unwrap_or_default())
    }
}

impl Validators {
    /// The validators of a file, `now` being seconds since 1970: a change in the future is no date that may be sent (RFC 9110 8.8.2.1).
    pub(super) fn of(file: &File, now: u64) -> Self {
        let tag = Tag::of(file.inode, file.size, file.modified, file.modified_ns);
        Self { tag, modified: file.modified.min(now) }
    }

    /// The value of `Last-Modified`.
    pub(super) fn last_modified(&self) -> impl fmt::Display {
        date(self.modified)
    }
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The file is to be sent; a `Range` field counts.
    Send,
    /// The file is to be sent whole: it is not the one that the client has a part of.
    SendWhole,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Weighs the conditions of a GET or HEAD in the order of RFC 9110 13.2.2. A date that cannot be read is no condition.
pub(super) fn weigh(request: &Request<'_, '_>, validators: &Validators, now: u64) -> Outcome {
    let mut tags = request.all("if-match").peekable();
    if tags.peek().is_some() {
        if !list(tags, &validators.tag, Comparison::Strong) {
            return Outcome::Failed;
        }
    } else if let Some(then) = request.single("if-unmodified-since").and_then(unix_seconds)
        && validators.modified > then
    {
        return Outcome::Failed;
    }
    let mut tags = request.all("if-none-match").peekable();
    if tags.peek().is_some() {
        if list(tags, &validators.tag, Comparison::Weak) {
            return Outcome::NotModified;
        }
    } else if let Some(then) = request.single("if-modified-since").and_then(unix_seconds)
        && validators.modified <= then
    {
        return Outcome::NotModified;
    }
    match request.single("if-range") {
        Some(known) if !is_current(known, validators, now) => Outcome::SendWhole,
        None if request.all("if-range").next().is_some() => Outcome::SendWhole,
        _ => Outcome::Send,
    }
}

/// RFC 9110 13.1.5: the tag has to be ours and strong, the date exactly ours. A file that was changed within the last second may
/// be changed once more under the same date: then a date says nothing.
fn is_current(known: &str, validators: &Validators, now: u64) -> bool {
    if known.starts_with(['"', 'W']) && known.ends_with('"') {
        return is(known.as_bytes(), &validators.tag, Comparison::Strong);
    }
    unix_seconds(known).is_some_and(|then| then == validators.modified && then < now)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// True when lists of tags have this one among their first [`limits::HTTP_TAGS`], or are `*`. Our tags have no comma in them, so a list may be
/// split at each. What was not looked at is no match: the file is sent once more, or a condition fails.
fn list<'h>(lists: impl Iterator<Item = &'h [u8]>, tag: &Tag, how: Comparison) -> bool {
    lists.flat_map(elements).take(limits::HTTP_TAGS).any(|element| element == b"*" || is(element, tag, how))
}

/// RFC 9110 8.8.3.2: tags are equal character by character, and a weak one is strongly equal to none.
fn is(element: &[u8], tag: &Tag, how: Comparison) -> bool {
    let opaque = match (element.strip_prefix(b"W/"), how) {
        (Some(_), Comparison::Strong) => return false,
        (Some(opaque), Comparison::Weak) => opaque,
        (None, _) => element,
    };
    opaque == tag.bytes()
}

#[cfg(test)]
mod tests {
    use super::super::request::{read, storage};
    use super::*;

    const THEN: u64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn outcome(fields: &str, now: u64) -> Outcome {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        let mut storage = storage();
        weigh(&read(head.as_bytes(), &mut storage).unwrap(), &Validators { tag: Tag::of(1, 2, 3, 4), modified: THEN }, now)
    }

    #[test]
    fn conditions_are_weighed_in_their_order() {
        let cases = [
            ("A: b".to_owned(), Outcome::Send),
            ("If-None-Match: \"1-2-3.4\"".to_owned(), Outcome::NotModified),
            ("If-None-Match: W/\"1-2-3.4\"".to_owned(), Outcome::NotModified),
            ("If-None-Match: \"x\" , \"1-2-3.4\"".to_owned(), Outcome::NotModified),
            ("If-None-Match: \"x\"\r\nIf-None-Match: \"1-2-3.4\"".to_owned(), Outcome::NotModified),
            ("If-None-Match: *".to_owned(), Outcome::NotModified),
            (format!("If-Modified-Since: {DATE}"), Outcome::NotModified),
            (format!("If-Modified-Since: {EARLIER}"), Outcome::Send),
            ("If-Modified-Since: long ago".to_owned(), Outcome::Send),
            // The tag decides alone.
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DATE}"), Outcome::Send),
            ("If-Match: \"1-2-3.4\"".to_owned(), Outcome::Send),
            ("If-Match: *".to_owned(), Outcome::Send),
            ("If-Match: \"x\"".to_owned(), Outcome::Failed),
            ("If-Match: W/\"1-2-3.4\"".to_owned(), Outcome::Failed),
            (format!("If-Unmodified-Since: {DATE}"), Outcome::Send),
            (format!("If-Unmodified-Since: {EARLIER}"), Outcome::Failed),
            (format!("If-Match: \"1-2-3.4\"\r\nIf-Unmodified-Since: {EARLIER}"), Outcome::Send),
            ("If-Match: \"1-2-3.4\"\r\nIf-None-Match: \"1-2-3.4\"".to_owned(), Outcome::NotModified),
        ];
        for (fields, expected) in cases {
            assert_eq!(outcome(&fields, THEN + 10), expected, "{fields}");
        }
    }

    #[test]
    fn so_many_tags_are_looked_at_and_no_more() {
        let others = |count: usize| "\"x\",".repeat(count);
        let last = format!("If-None-Match: {}\"1-2-3.4\"", others(limits::HTTP_TAGS - 1));
        assert_eq!(outcome(&last, THEN + 10), Outcome::NotModified);
        let behind = format!("If-None-Match: {}\"1-2-3.4\"", others(limits::HTTP_TAGS));
        assert_eq!(outcome(&behind, THEN + 10), Outcome::Send);
        let in_two_fields = format!("If-None-Match: {}\r\nIf-None-Match: \"1-2-3.4\"", others(limits::HTTP_TAGS));
        assert_eq!(outcome(&in_two_fields, THEN + 10), Outcome::Send, "the bound is that of a request");
    }

    #[test]
    fn a_range_counts_only_for_the_file_it_was_begun_on() {
        let cases = [
            ("If-Range: \"1-2-3.4\"".to_owned(), Outcome::Send),
            ("If-Range: \"x\"".to_owned(), Outcome::SendWhole),
            ("If-Range: W/\"1-2-3.4\"".to_owned(), Outcome::SendWhole),
            (format!("If-Range: {DATE}"), Outcome::Send),
            (format!("If-Range: {EARLIER}"), Outcome::SendWhole),
            ("If-Range: nonsense".to_owned(), Outcome::SendWhole),
            ("If-Range: \"x\"\r\nIf-Range: \"1-2-3.4\"".to_owned(), Outcome::SendWhole),
        ];
        for (fields, expected) in cases {
            assert_eq!(outcome(&fields, THEN + 10), expected, "{fields}");
        }
        assert_eq!(outcome(&format!("If-Range: {DATE}"), THEN), Outcome::SendWhole, "the second is not over");
    }
}
