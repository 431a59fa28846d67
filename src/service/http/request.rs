//! A request: read from its head, and judged by what RFC 9110 and RFC 9112 demand of it.
//!
//! Called by [`super::Http`] for each complete head. The parsing is httparse's; here stands what a correct head means: its target, how much
//! body follows, whether the connection lives on. Values are slices of the head; nothing is copied, and nothing panics on any bytes.

use httparse::{EMPTY_HEADER, Header};

use super::response::Status;
use crate::limits;

/// Room for the fields of one head: lent to [`read`], so that a request can point into it.
pub(super) type Storage<'h> = [Header<'h>; limits::HTTP_FIELDS];

/// Empty room for fields.
pub(super) const fn storage<'h>() -> Storage<'h> {
    [EMPTY_HEADER; limits::HTTP_FIELDS]
}

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Request<'h, 's> {
    pub(super) method: Method,
    /// Path and query as they came.
    pub(super) target: Target<'h>,
    fields: &'s [Header<'h>],
    /// Bytes of body that follow the head.
    pub(super) body_bytes: u64,
    /// The client waits for our word before it sends the body (`Expect: 100-continue`).
    pub(super) expects: bool,
    /// The connection is to live on after the answer.
    pub(super) keep_alive: bool,
    /// An HTTP/1.0 client has to be told that it does.
    pub(super) say_keep_alive: bool,
}

/// What is to be done with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    /// A method of RFC 9110 or RFC 5789 that files do not have: 405.
    Refused,
    /// A method nobody knows: 501.
    Unknown,
}

/// The path of a target and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'h> {
    /// From its first slash on, percent-encoded.
    pub(super) path: &'h str,
    /// The query with its question mark, or nothing.
    pub(super) query: &'h str,
}

/// Where a head ends: behind its first empty line, whether its lines end in CR LF or, as RFC 9112 2.2 allows, in LF alone. Nothing before
/// `from` ends it.
pub(super) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// Judges the first line of a head that is not yet there as a whole, so that nonsense is answered without waiting for its end.
pub(super) fn check_line(line: &[u8]) -> Result<(), Status> {
    let mut fields = storage();
    match httparse::Request::new(&mut fields).parse(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(error, line)),
    }
}

/// Reads a complete head.
pub(super) fn read<'h, 's>(head: &'h [u8], fields: &'s mut Storage<'h>) -> Result<Request<'h, 's>, Status> {
    let mut parsed = httparse::Request::new(fields);
    let status = parsed.parse(head).map_err(|error| refusal(error, head))?;
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Status::BAD_REQUEST);
    };
    if status.is_partial() {
        return Err(Status::BAD_REQUEST);
    }
    if target.len() > limits::HTTP_TARGET_BYTES {
        return Err(Status::URI_TOO_LONG);
    }
    let modern = version == 1;
    let method = Method::named(method);
    let fields: &'s [Header<'h>] = parsed.headers;
    check_host(fields, modern)?;
    let (body_bytes, expects) = (body_bytes(fields, modern)?, expects(fields, modern)?);
    let close = has_token(fields, "close");
    let asked = has_token(fields, "keep-alive");
    Ok(Request {
        method,
        target: Target::read(target, method)?,
        fields,
        body_bytes,
        expects: expects && body_bytes > 0,
        keep_alive: !close && (modern || asked),
        say_keep_alive: !close && !modern && asked,
    })
}

impl<'h> Request<'h, '_> {
    /// The value of a field that may stand only once; `None` when it is missing, stands twice or is not text.
    pub(super) fn single(&self, name: &str) -> Option<&'h str> {
        let mut values = values(self.fields, name);
        let value = values.next()?;
        if values.next().is_some() { None } else { std::str::from_utf8(value).ok().map(str::trim) }
    }

    /// All values of a field, each with its lists unsplit.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        values(self.fields, name)
    }
}

impl Method {
    fn named(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

impl<'h> Target<'h> {
    /// RFC 9112 3.2: origin-form, or absolute-form, whose scheme and authority do not matter to files. The forms of CONNECT and
    /// OPTIONS pass too, because those methods are refused later, with a better word than 400.
    fn read(target: &'h str, method: Method) -> Result<Self, Status> {
        let path = if target.starts_with('/') {
            target
        } else if let Some(rest) = strip_scheme(target) {
            rest.find('/').map_or("/", |at| &rest[at..])
        } else if matches!(method, Method::Get | Method::Head) {
            return Err(Status::BAD_REQUEST);
        } else {
            "/"
        };
        // A fragment never leaves the client.
        if path.contains('#') {
            return Err(Status::BAD_REQUEST);
        }
        let query = path.find('?').unwrap_or(path.len());
        Ok(Self { path: &path[..query], query: &path[query..] })
    }

    /// The path with its percent-encoding undone, without leading slashes, into `out`. An encoded slash is no separator, and no file
    /// can have it in its name; an encoded zero byte ends no name.
    pub(super) fn decode(&self, out: &mut Vec<u8>) -> Result<(), Status> {
        out.clear();
        let mut bytes = self.path.trim_start_matches('/').bytes();
        while let Some(byte) = bytes.next() {
            out.push(match byte {
                b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                    (Some(high), Some(low)) => match high << 4 | low {
                        0 => return Err(Status::BAD_REQUEST),
                        b'/' => return Err(Status::NOT_FOUND),
                        byte => byte,
                    },
                    _ => return Err(Status::BAD_REQUEST),
                },
                byte => byte,
            });
        }
        Ok(())
    }
}

/// What follows `http://` or `https://`.
fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

/// RFC 9112 3.2: a request of HTTP/1.1 has one Host field, and none has several or one that cannot be a host.
fn check_host(fields: &[Header<'_>], modern: bool) -> Result<(), Status> {
    let mut hosts = values(fields, "host");
    let (first, second) = (hosts.next(), hosts.next());
    let plausible = |host: &[u8]| host.iter().all(|&byte| byte.is_ascii_graphic() && !b"/?#@\\<>\"".contains(&byte));
    match (first, second) {
        (None, _) if modern => Err(Status::BAD_REQUEST),
        (_, Some(_)) => Err(Status::BAD_REQUEST),
        (Some(host), None) if !plausible(host) => Err(Status::BAD_REQUEST),
        _ => Ok(()),
    }
}

/// RFC 9112 6.3: how much body follows. A body whose end is hard to tell is not read but refused, because two readers that
/// disagree about it is how requests are smuggled.
fn body_bytes(fields: &[Header<'_>], modern: bool) -> Result<u64, Status> {
    let mut length = None;
    for value in values(fields, "content-length") {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let value = std::str::from_utf8(value).ok().filter(|_| digits).ok_or(Status::BAD_REQUEST)?;
        // Digits that do not fit are still a length: one that is too large.
        let value = value.parse().unwrap_or(u64::MAX);
        if length.is_some_and(|other| other != value) {
            return Err(Status::BAD_REQUEST);
        }
        length = Some(value);
    }
    if values(fields, "transfer-encoding").next().is_some() {
        let mut codings = values(fields, "transfer-encoding").flat_map(elements).peekable();
        // A field without a coding means nothing, and so something else to each reader.
        if length.is_some() || !modern || codings.peek().is_none() {
            return Err(Status::BAD_REQUEST);
        }
        let chunked = codings.all(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        return Err(if chunked { Status::LENGTH_REQUIRED } else { Status::NOT_IMPLEMENTED });
    }
    Ok(length.unwrap_or(0))
}

/// RFC 9110 10.1.1: an expectation other than 100-continue cannot be met; one of HTTP/1.0 is ignored.
fn expects(fields: &[Header<'_>], modern: bool) -> Result<bool, Status> {
    let mut all = values(fields, "expect").flat_map(elements).filter(|_| modern).peekable();
    let any = all.peek().is_some();
    if all.all(|one| one.eq_ignore_ascii_case(b"100-continue")) { Ok(any) } else { Err(Status::EXPECTATION_FAILED) }
}

/// True when `Connection` lists the option.
fn has_token(fields: &[Header<'_>], option: &str) -> bool {
    values(fields, "connection").flat_map(elements).any(|token| token.eq_ignore_ascii_case(option.as_bytes()))
}

/// The elements of a comma-separated list (RFC 9110 5.6.1), the empty ones left out.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

fn values<'h>(fields: &[Header<'h>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.trim_ascii())
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

fn refusal(error: httparse::Error, head: &[u8]) -> Status {
    match error {
        httparse::Error::TooManyHeaders => Status::FIELDS_TOO_LARGE,
        httparse::Error::Version if names_another_version(head) => Status::VERSION_NOT_SUPPORTED,
        _ => Status::BAD_REQUEST,
    }
}

/// True when the first line ends in a well-formed version that is not ours.
fn names_another_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}
