//! An answer: what the zone knows of a question, written as a message (RFC 1034 4.3.2, RFC 6891).
//!
//! Called by [`super::Dns`]. Written straight into the room it leaves from, names compressed, nothing allocated. An answer has what was asked
//! for and no more: the only additional records are the addresses without which a referral leads nowhere. What does not fit is cut down to the
//! question with TC set, so that the client comes back over TCP and nobody gets half a set. Pure; cannot panic.

use domain::base::iana::{Class, OptRcode};
use domain::base::message_builder::{AnswerBuilder, MessageBuilder, PushError, RecordSectionBuilder, StaticCompressor};
use domain::base::name::ToName;
use domain::base::wire::Composer;
use domain::base::{Name, Rtype, Ttl};

use super::name::Key;
use super::query::Query;
use super::room::Room;
use super::zone::{Found, Node, RecordSet, Zone};
use crate::limits;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) len: usize,
    pub(super) rcode: OptRcode,
    /// Only the question fitted.
    pub(super) truncated: bool,
}

/// What an answer travels by: that decides what becomes of one that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The client is sent to TCP.
    Datagram,
    /// The client gets SERVFAIL: there is nowhere to send it.
    Stream,
}

/// Answers a query in at most the given room; `payload_bytes` is what our OPT record says that we take. `None` when not even the question fits.
pub(super) fn write(
    query: &Query,
    zone: Option<&Zone>,
    carrier: Carrier,
    payload_bytes: u16,
    room: &mut [u8],
) -> Option<Written> {
    let mut answer = Answer { query, zone, payload_bytes, rcode: query.verdict, truncated: false };
    if let Ok(written) = answer.compose(Room::new(room)) {
        return Some(written);
    }
    // Nothing but the question this time.
    answer.zone = None;
    match carrier {
        Carrier::Datagram => answer.truncated = true,
        Carrier::Stream => answer.rcode = OptRcode::SERVFAIL,
    }
    answer.compose(Room::new(room)).ok()
}

struct Answer<'a> {
    query: &'a Query,
    zone: Option<&'a Zone>,
    payload_bytes: u16,
    /// What is said without a look at the zone; NOERROR when that decides.
    rcode: OptRcode,
    truncated: bool,
}

impl Answer<'_> {
    fn compose(&self, room: Room<'_>) -> Result<Written, PushError> {
        let query = self.query;
        let room_bytes = room.capacity();
        let mut builder = MessageBuilder::from_target(StaticCompressor::new(room)).map_err(|_| PushError::ShortBuf)?;
        let header = builder.header_mut();
        header.set_id(query.header.id());
        header.set_opcode(query.header.opcode());
        header.set_qr(true);
        header.set_rd(query.header.rd());
        header.set_cd(query.header.cd());
        header.set_tc(self.truncated);
        if query.edns.is_some() {
            // The builder's limit is the first length that is too long.
            builder.set_push_limit((room_bytes + 1).saturating_sub(OPT_BYTES));
        }
        let mut builder = builder.question();
        if let Some(question) = &query.question {
            builder.push((question.name(), question.rtype, question.class))?;
        }
        let mut answer = builder.answer();
        let (rcode, rest) = match (self.zone, &query.question) {
            (Some(zone), Some(question)) if self.rcode == OptRcode::NOERROR => {
                follow(zone, question.name(), question.rtype, &mut answer)?
            }
            _ => (self.rcode, Rest::Nothing),
        };
        answer.header_mut().set_rcode(rcode.rcode());
        let mut authority = answer.authority();
        match (&rest, self.zone.and_then(Zone::soa)) {
            (Rest::Soa, Some((apex, soa, ttl))) => push(&mut authority, &apex.name, soa, ttl)?,
            (Rest::Referral(cut, servers), _) => push(&mut authority, &cut.name, servers, servers.ttl)?,
            _ => {}
        }
        let mut additional = authority.additional();
        if let (Rest::Referral(_, servers), Some(zone)) = (&rest, self.zone) {
            for node in servers.glue.iter().filter_map(|key| zone.at(key)) {
                // RFC 9471 3: a referral without its glue is truncated.
                node.addresses().try_for_each(|set| push(&mut additional, &node.name, set, set.ttl))?;
            }
        }
        if let Some(edns) = query.edns {
            additional.clear_push_limit();
            additional.opt(|opt| {
                opt.set_udp_payload_size(self.payload_bytes);
                opt.set_rcode(rcode);
                opt.set_dnssec_ok(edns.dnssec);
                Ok(())
            })?;
        }
        Ok(Written { len: additional.finish().into_target().len(), rcode, truncated: self.truncated })
    }
}

/// What is to stand behind the answer.
enum Rest<'z> {
    Nothing,
    /// The SOA record: how long the nothing of the answer holds (RFC 2308 3).
    Soa,
    /// The servers of what lies below a cut.
    Referral(&'z Node, &'z RecordSet),
}

/// Writes the records that were asked for, and on the way to them the aliases.
fn follow<'z>(
    zone: &'z Zone,
    name: &Name<[u8]>,
    rtype: Rtype,
    answer: &mut AnswerBuilder<StaticCompressor<Room<'_>>>,
) -> Result<(OptRcode, Rest<'z>), PushError> {
    let mut found = zone.find(&Key::of(name), rtype);
    if matches!(found, Found::Outside) {
        return Ok((OptRcode::REFUSED, Rest::Nothing));
    }
    answer.header_mut().set_aa(!matches!(found, Found::Cut(..)));
    let mut alias: Option<&Name<Vec<u8>>> = None;
    let mut followed: [Option<&RecordSet>; limits::DNS_ALIASES] = [None; limits::DNS_ALIASES];
    for hop in 0..=limits::DNS_ALIASES {
        let owner: &Name<[u8]> = alias.map_or(name, |alias| alias.for_slice());
        match found {
            Found::Set(set) => {
                push(answer, owner, set, set.ttl)?;
                return Ok((OptRcode::NOERROR, Rest::Nothing));
            }
            Found::Alias(set, target) => {
                let known = followed.iter().flatten().any(|other| std::ptr::eq(*other, set));
                let Some(slot) = followed.get_mut(hop).filter(|_| !known) else { break };
                *slot = Some(set);
                push(answer, owner, set, set.ttl)?;
                found = zone.find(&Key::of(target), rtype);
                alias = Some(target);
            }
            // Of what lies outside others know.
            Found::Outside => return Ok((OptRcode::NOERROR, Rest::Nothing)),
            Found::Cut(node, servers) => return Ok((OptRcode::NOERROR, Rest::Referral(node, servers))),
            Found::NoData => return Ok((OptRcode::NOERROR, Rest::Soa)),
            // RFC 6604 3: the RCODE is that of the last name.
            Found::NoName => return Ok((OptRcode::NXDOMAIN, Rest::Soa)),
        }
    }
    // Aliases in a circle, or too many: what was found is the answer.
    Ok((OptRcode::NOERROR, Rest::Nothing))
}

fn push<T: Composer>(
    section: &mut impl RecordSectionBuilder<T>,
    owner: &(impl ToName + ?Sized),
    set: &RecordSet,
    ttl: Ttl,
) -> Result<(), PushError> {
    set.data.iter().try_for_each(|data| section.push((owner, Class::IN, ttl, data)))
}

/// An OPT record without options: root, type, payload, extended RCODE, flags, length.
const OPT_BYTES: usize = 11;
