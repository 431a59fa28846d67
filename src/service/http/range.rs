//! Ranges of a file (RFC 9110 14): which bytes a `Range` field asks for.
//!
//! Called by [`super::Http`] for a GET with that field. Values only; cannot panic. What is asked for is bounded: a field with more ranges than
//! [`crate::limits::HTTP_RANGES`], or whose ranges together are longer than the file, is ignored, and the file is sent once (RFC 9110
//! 14.2 allows that, and names it as the defence against requests that make a server send much more than it has).

use crate::limits;

/// Bytes of a file: never empty, inside the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Position of the first byte.
    pub(super) first: u64,
    /// Position behind the last byte.
    pub(super) end: u64,
}

/// What a `Range` field comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The field is to be ignored: the whole file.
    Whole,
    /// None of the ranges lies in the file: 416.
    Nothing,
    /// One range: 206.
    One(Span),
    /// Several, in the order asked for: 206 with `multipart/byteranges`.
    Several(Vec<Span>),
}

/// Reads the value of a `Range` field for a file of `size` bytes.
pub(super) fn read(value: &str, size: u64) -> Asked {
    let Some((unit, set)) = value.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let mut spans = Vec::new();
    let mut count = 0;
    for element in set.split(',').map(str::trim).filter(|element| !element.is_empty()) {
        count += 1;
        match element_of(element, size) {
            _ if count > limits::HTTP_RANGES => return Asked::Whole,
            Element::Malformed => return Asked::Whole,
            Element::Outside => {}
            Element::Inside(span) => spans.push(span),
        }
    }
    let total = spans.iter().map(Span::len).fold(0, u64::saturating_add);
    match spans[..] {
        [] if count == 0 => Asked::Whole,
        [] => Asked::Nothing,
        [span] => Asked::One(span),
        _ if total > size => Asked::Whole,
        _ => Asked::Several(spans),
    }
}

impl Span {
    /// Bytes in it.
    pub(super) const fn len(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }
}

enum Element {
    Malformed,
    Outside,
    Inside(Span),
}

/// `first-last`, `first-` or `-count` (RFC 9110 14.1.2).
fn element_of(text: &str, size: u64) -> Element {
    let Some((first, last)) = text.split_once('-') else { return Element::Malformed };
    let span = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Span { first, end: last.saturating_add(1).min(size) },
        (Some(first), None) if last.is_empty() => Span { first, end: size },
        (None, Some(count)) if first.is_empty() => Span { first: size.saturating_sub(count), end: size },
        _ => return Element::Malformed,
    };
    if span.first < span.end { Element::Inside(span) } else { Element::Outside }
}

/// Digits as a number; more than fit are as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(first: u64, end: u64) -> Asked {
        Asked::One(Span { first, end })
    }

    #[test]
    fn the_forms_of_the_rfc_are_read() {
        let cases = [
            ("bytes=0-499", one(0, 500)),
            ("bytes=500-999", one(500, 1000)),
            ("bytes=-500", one(9500, 10_000)),
            ("bytes=9500-", one(9500, 10_000)),
            ("bytes=0-0", one(0, 1)),
            ("bytes=9999-20000", one(9999, 10_000)),
            ("bytes=-99999", one(0, 10_000)),
            ("BYTES= 0-1 ", one(0, 2)),
            ("bytes=0-18446744073709551615999", one(0, 10_000)),
            ("bytes=,0-1,", one(0, 2)),
            ("bytes=0-1,10000-", one(0, 2)),
            ("bytes=0-0,-1", Asked::Several(vec![Span { first: 0, end: 1 }, Span { first: 9999, end: 10_000 }])),
        ];
        for (value, asked) in cases {
            assert_eq!(read(value, 10_000), asked, "{value}");
        }
    }

    #[test]
    fn what_lies_behind_the_end_is_nothing_and_what_makes_no_sense_is_the_whole() {
        for value in ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(read(value, 10_000), Asked::Nothing, "{value}");
        }
        for value in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=1", "items=0-1", "bytes=0-1,x", "bytes=+1-2"]
        {
            assert_eq!(read(value, 10_000), Asked::Whole, "{value}");
        }
        assert_eq!(read("bytes=0-", 0), Asked::Nothing);
        assert_eq!(read("bytes=-1", 0), Asked::Nothing);
    }

    #[test]
    fn nobody_gets_more_than_the_file() {
        assert_eq!(read("bytes=0-,0-", 100), Asked::Whole);
        let many = |n: usize| format!("bytes={}", (0..n).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(","));
        assert!(matches!(read(&many(limits::HTTP_RANGES), 100), Asked::Several(spans) if spans.len() == limits::HTTP_RANGES));
        assert_eq!(read(&many(limits::HTTP_RANGES + 1), 100), Asked::Whole);
    }

    proptest! {
        #[test]
        fn any_field_asks_for_bytes_of_the_file(value in "(bytes=)?[0-9, a-]{0,30}", size in 0..30_u64) {
            let spans = match read(&value, size) {
                Asked::Whole | Asked::Nothing => Vec::new(),
                Asked::One(span) => vec![span],
                Asked::Several(spans) => spans,
            };
            prop_assert!(spans.iter().all(|span| span.first < span.end && span.end <= size));
            prop_assert!(spans.iter().map(Span::len).sum::<u64>() <= size);
        }
    }
}
