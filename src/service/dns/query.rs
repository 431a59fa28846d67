//! A message that came: whether it is a question that can be answered, and what it asks.
//!
//! Called by [`super::Dns`] with the bytes of a datagram or of a message of a stream. The question is copied out, so that the answer can be
//! written where it lay. Pure; cannot panic.

use domain::base::header::Header;
use domain::base::iana::{Class, Opcode, OptRcode};
use domain::base::name::ToName;
use domain::base::opt::Opt;
use domain::base::{Message, Name, Rtype};

use super::room::Room;

/// What an answer has to know of a query.
pub(super) struct Query {
    /// ID, opcode and flags, as they came.
    pub(super) header: Header,
    /// The question, unless it could not be read.
    pub(super) question: Option<Question>,
    /// What came with the OPT record (RFC 6891), if one came.
    pub(super) edns: Option<Edns>,
    /// What the query deserves before the zone is looked at: NOERROR when it can be answered.
    pub(super) verdict: OptRcode,
}

/// A question of class IN, or of one that is refused.
pub(super) struct Question {
    name: [u8; NAME_BYTES],
    len: usize,
    pub(super) rtype: Rtype,
    pub(super) class: Class,
}

/// What the OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// Bytes of UDP payload that the client takes.
    pub(super) payload_bytes: u16,
    /// It wants DNSSEC records (RFC 3225); it gets the flag back.
    pub(super) dnssec: bool,
    pub(super) version: u8,
}

/// Why nothing at all is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is shorter than a header.
    TooShort,
    /// It is a response: to answer it could begin a talk without end.
    Response,
}

impl Question {
    /// The name as it was asked for, in its own case.
    pub(super) fn name(&self) -> &Name<[u8]> {
        Name::from_slice(&self.name[..self.len]).unwrap_or_else(|_| Name::root_slice())
    }
}

/// Reads a message.
pub(super) fn read(bytes: &[u8]) -> Result<Query, Silence> {
    let message = Message::from_slice(bytes).map_err(|_| Silence::TooShort)?;
    let header = message.header();
    if header.qr() {
        return Err(Silence::Response);
    }
    let mut query = Query { header, question: None, edns: None, verdict: OptRcode::FORMERR };
    if header.opcode() != Opcode::QUERY {
        query.verdict = OptRcode::NOTIMP;
        return Ok(query);
    }
    // RFC 9619: one question, neither more nor less.
    let counts = message.header_counts();
    let Some(question) = message.question().next().and_then(Result::ok).filter(|_| counts.qdcount() == 1) else {
        return Ok(query);
    };
    let mut name = [0; NAME_BYTES];
    let mut room = Room::new(&mut name);
    if question.qname().compose(&mut room).is_err() {
        return Ok(query);
    }
    let len = room.len();
    let (rtype, class) = (question.qtype(), question.qclass());
    query.question = Some(Question { name, len, rtype, class });
    query.verdict = match edns(message) {
        Err(Malformed) => OptRcode::FORMERR,
        Ok(edns) => {
            query.edns = edns;
            if edns.is_some_and(|edns| edns.version > 0) {
                OptRcode::BADVERS
            } else if class != Class::IN || matches!(rtype, Rtype::AXFR | Rtype::IXFR) {
                OptRcode::REFUSED
            } else if counts.ancount() > 0 || counts.nscount() > 0 {
                OptRcode::FORMERR
            } else {
                OptRcode::NOERROR
            }
        }
    };
    Ok(query)
}

/// The OPT record of a query. There is one at most, among the additional records, at the root (RFC 6891 6.1.1).
fn edns(message: &Message<[u8]>) -> Result<Option<Edns>, Malformed> {
    let mut found = None;
    for record in message.additional().map_err(|_| Malformed)? {
        let record = record.map_err(|_| Malformed)?;
        if record.rtype() != Rtype::OPT {
            continue;
        }
        if found.is_some() || !record.owner().is_root() || record.to_record::<Opt<_>>().is_err() {
            return Err(Malformed);
        }
        // RFC 6891 6.1.3: extended RCODE, version, and DO as the first of sixteen flags.
        let [_, version, flags, _] = record.ttl().as_secs().to_be_bytes();
        found = Some(Edns { payload_bytes: record.class().to_int(), dnssec: flags & 0x80 != 0, version });
    }
    Ok(found)
}

struct Malformed;

/// RFC 1035 2.3.4.
const NAME_BYTES: usize = 255;
