//! DNS: the authoritative answers of a zone, over UDP and TCP (RFC 1034, 1035, 6891, 7766).
//!
//! Opened by [`super::Catalog`] (`ringway serve ... dns:53=ZONEFILE`). A zone is read at start ([`zone`]); a message becomes a query
//! ([`query`]), and a query an answer ([`answer`]) that is written where it leaves from: over UDP into the frame the question came in. What does
//! not fit there is cut down to a header that sends the client to TCP ([`connection`]).
//!
//! **Nobody is turned against others**: a response is never answered, nor a port below 1024 but that of DNS itself, and an answer over UDP
//! has `dns.udp_payload` bytes at most, whatever the client says it takes. Zones are not transferred.
//!
//! The zone file is parsed and messages are read and written by the crate `domain`; nothing is allocated for a query over UDP. Cannot panic.

mod answer;
mod connection;
mod name;
mod query;
mod room;
#[cfg(test)]
mod tests;
mod zone;

use std::sync::Arc;

use domain::base::iana::OptRcode;
use serde::Serialize;

pub use self::zone::Zone;

use self::answer::{Carrier, Written};
use self::connection::{FIRST_QUERY, LINGER, PATIENCE, Talk, first_message};
use self::query::{Query, Silence};
use super::per_connection::Named;
use super::safety::safe_to_answer_a_question;
use super::{Answer, Connection, Context, Datagram, EndpointId, PerConnection, ResetReason, Service};
use crate::limits;

/// The answers of zones. A listener's tag is the position of its zone.
#[derive(Debug)]
pub struct Dns {
    /// The zones; `None` at the positions that are not ours.
    zones: Vec<Option<Arc<Zone>>>,
    /// Which zone is asked for at an endpoint.
    by_endpoint: Vec<Option<usize>>,
    /// Bytes that an answer over UDP has at most, and that a query may have.
    udp_payload_bytes: u16,
    talks: PerConnection<Option<Box<Talk>>>,
    /// Talks that have ended, for the connections to come.
    #[expect(clippy::vec_box, reason = "a talk moves between here and the table as a pointer")]
    ended: Vec<Box<Talk>>,
    /// Memory for messages that come in pieces.
    messages: Vec<Vec<u8>>,
    gathering: usize,
    /// An answer on its way into the send buffer, with its length before it.
    stream: Box<[u8]>,
    counts: Counts,
}

/// What the service has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages that came over UDP.
    pub udp: u64,
    /// Messages that came over TCP.
    pub tcp: u64,
    /// Answers without an error, referrals among them.
    pub answered: u64,
    /// Answers that there is no such name.
    pub no_name: u64,
    /// Answers REFUSED: not our zone, not class IN, or a transfer.
    pub refused: u64,
    /// Answers NOTIMP: an opcode other than QUERY.
    pub not_implemented: u64,
    /// Answers BADVERS: EDNS of another version than 0.
    pub bad_version: u64,
    /// Answers FORMERR: messages that are none, or not one question.
    pub malformed: u64,
    /// Answers over UDP cut down to the question, with TC.
    pub truncated: u64,
    /// Answers SERVFAIL: too long even for TCP.
    pub failed: u64,
    /// Messages that were not answered: shorter than a header.
    pub too_short: u64,
    /// Messages that were not answered: responses.
    pub responses: u64,
    /// Messages longer than any question; their connections were closed.
    pub too_long: u64,
    /// Connections closed because nothing more was asked.
    pub idle: u64,
    /// Connections cut off because the client took next to nothing, or did not close its side.
    pub cut_off: u64,
}

impl Dns {
    /// The zones; `None` at the positions that are not its own.
    pub fn zones(&self) -> &[Option<Arc<Zone>>] {
        &self.zones
    }

    /// Answers for `zones`, for up to `connections` connections at once. `udp_payload_bytes` is the most that an answer over UDP has.
    pub fn new(zones: Vec<Option<Arc<Zone>>>, connections: usize, udp_payload_bytes: u16) -> Self {
        // A catalog without DNS has one of these, too: it must cost nothing.
        let used = zones.iter().any(Option::is_some);
        Self {
            zones,
            by_endpoint: Vec::new(),
            udp_payload_bytes,
            talks: PerConnection::with_capacity(if used { connections } else { 0 }),
            ended: Vec::new(),
            messages: Vec::new(),
            gathering: 0,
            stream: vec![0; if used { 2 + usize::from(u16::MAX) } else { 0 }].into_boxed_slice(),
            counts: Counts::default(),
        }
    }

    /// From now on the zone at a position is asked for at this endpoint.
    pub fn opened(&mut self, endpoint: EndpointId, zone: usize) {
        let endpoint = usize::from(endpoint.0);
        if endpoint >= self.by_endpoint.len() {
            self.by_endpoint.resize(endpoint + 1, None);
        }
        self.by_endpoint[endpoint] = Some(zone);
    }

    /// What has been done so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// True when it answers for anything.
    pub fn is_used(&self) -> bool {
        self.zones.iter().any(Option::is_some)
    }

    /// Bytes that an answer to this query may have over UDP (RFC 6891 6.2.3 to 6.2.5).
    fn most_over_udp(&self, query: &Query) -> usize {
        let wanted = query.edns.map_or(PAYLOAD_BYTES_MIN, |edns| edns.payload_bytes.max(PAYLOAD_BYTES_MIN));
        usize::from(wanted.min(self.udp_payload_bytes))
    }

    /// Counts a message that is not answered; true when that is to protect others.
    const fn keep_silent(&mut self, why: Silence) -> bool {
        match why {
            Silence::TooShort => self.counts.too_short += 1,
            Silence::Response => self.counts.responses += 1,
        }
        matches!(why, Silence::Response)
    }

    const fn count(&mut self, written: Written) {
        let Written { rcode, truncated, .. } = written;
        if truncated {
            self.counts.truncated += 1;
            return;
        }
        match rcode {
            OptRcode::NOERROR => self.counts.answered += 1,
            OptRcode::NXDOMAIN => self.counts.no_name += 1,
            OptRcode::REFUSED => self.counts.refused += 1,
            OptRcode::NOTIMP => self.counts.not_implemented += 1,
            OptRcode::BADVERS => self.counts.bad_version += 1,
            OptRcode::FORMERR => self.counts.malformed += 1,
            _ => self.counts.failed += 1,
        }
    }

    /// The talk of a live connection. It is put back with [`Dns::put_back`].
    fn take(&mut self, connection: Connection) -> Option<Box<Talk>> {
        self.talks.of(connection).take_if(|talk| talk.connection == connection)
    }

    fn put_back(&mut self, cx: &mut impl Context, mut talk: Box<Talk>) {
        if !talk.over && !talk.arm(cx) {
            // Nobody would notice if this client fell silent.
            Self::abort(cx, &mut talk);
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
        self.give_message_back(&mut talk);
        self.ended.push(talk);
    }

    fn abort(cx: &mut impl Context, talk: &mut Talk) {
        cx.abort(talk.connection);
        talk.over = true;
    }

    /// Ends our side once all is sent, and gives the client some time to end its own.
    fn close(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        cx.close(talk.connection);
        talk.closing = true;
        self.give_message_back(talk);
        talk.grant(cx, LINGER);
    }

    fn give_message_back(&mut self, talk: &mut Talk) {
        if let Some(mut message) = talk.message.take() {
            message.clear();
            self.messages.push(message);
            self.gathering -= 1;
        }
    }

    /// Takes the messages that can be answered now, and the beginning of one that has not come whole. Gives how many bytes are done with.
    fn read(&mut self, cx: &mut impl Context, talk: &mut Talk, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        for answered in 0.. {
            if talk.closing || talk.over {
                return bytes.len();
            }
            if talk.paused || talk.blocked || (rest.is_empty() && talk.message.is_none()) {
                break;
            }
            if answered >= limits::DNS_PIPELINED && talk.look_again(cx) {
                cx.pause(talk.connection);
                break;
            }
            let done = match talk.message.take() {
                Some(mut message) => {
                    rest = gather(&mut message, rest);
                    let done = self.answer_first(cx, talk, &message).is_some();
                    talk.message = Some(message);
                    if done {
                        self.give_message_back(talk);
                    }
                    done
                }
                None => match self.answer_first(cx, talk, rest) {
                    Some(message_bytes) => {
                        rest = rest.get(message_bytes..).unwrap_or_default();
                        true
                    }
                    None => !talk.blocked && !talk.closing && self.begin_gathering(cx, talk),
                },
            };
            if !done && rest.is_empty() {
                break;
            }
        }
        bytes.len() - rest.len()
    }

    /// From now on the pieces of a message are kept. False when there are too many such messages: the connection is closed.
    fn begin_gathering(&mut self, cx: &mut impl Context, talk: &mut Talk) -> bool {
        if self.gathering >= limits::DNS_GATHERED {
            self.close(cx, talk);
            return false;
        }
        self.gathering += 1;
        talk.message = Some(self.messages.pop().unwrap_or_default());
        true
    }

    /// Answers the first message of a stream. Gives its bytes when that is done, and nothing when its end is missing, there is no room to
    /// answer, or the connection is closed over it.
    fn answer_first(&mut self, cx: &mut impl Context, talk: &mut Talk, stream: &[u8]) -> Option<usize> {
        let message = match first_message(stream) {
            Ok(message) if message.len() <= limits::DNS_QUERY_BYTES => message,
            Err(needed) if needed <= 2 + limits::DNS_QUERY_BYTES => return None,
            _ => {
                self.counts.too_long += 1;
                self.close(cx, talk);
                return None;
            }
        };
        self.answer(cx, talk, message).then_some(2 + message.len())
    }

    /// Answers one message of a stream, or goes on with that. True when it is done.
    fn answer(&mut self, cx: &mut impl Context, talk: &mut Talk, message: &[u8]) -> bool {
        self.counts.tcp += u64::from(!talk.begun);
        let query = match query::read(message) {
            Ok(query) => query,
            Err(why) => {
                // Who sends such a thing has lost the thread.
                self.keep_silent(why);
                self.close(cx, talk);
                return false;
            }
        };
        let zone = self.zones.get(talk.zone).and_then(Option::as_deref);
        let Some((length, room)) = self.stream.split_first_chunk_mut() else { return true };
        let written = answer::write(&query, zone, Carrier::Stream, self.udp_payload_bytes, room);
        let Some(written) = written else { return true };
        *length = (written.len as u16).to_be_bytes();
        let left = self.stream.get(talk.sent..2 + written.len).unwrap_or_default();
        let sent = cx.send(talk.connection, left).min(left.len());
        talk.queued += sent as u64;
        talk.sent += sent;
        talk.blocked = sent < left.len();
        if !talk.begun {
            self.count(written);
            talk.grant(cx, PATIENCE);
        }
        talk.begun = talk.blocked;
        if !talk.blocked {
            talk.sent = 0;
        }
        !talk.blocked
    }

    /// A client that has closed its side and got everything needs us no longer; nor does any that has its answers while the engine is about to stop.
    fn close_if_done(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        let stops = || cx.is_draining() && talk.message.is_none() && cx.info(talk.connection).is_none_or(|info| info.unread == 0);
        if (talk.peer_closed || stops()) && !talk.begun && !talk.closing && !talk.over {
            self.close(cx, talk);
        }
    }

    /// The deadline has passed.
    fn expire(&mut self, cx: &mut impl Context, talk: &mut Talk) {
        if cx.now() < talk.deadline {
            return;
        }
        let waiting = talk.unacknowledged(cx) > 0 || talk.begun;
        if !waiting && !talk.closing {
            self.counts.idle += 1;
            self.close(cx, talk);
        } else if waiting && talk.keeps_up(cx) {
            talk.grant(cx, PATIENCE);
        } else {
            self.counts.cut_off += 1;
            Self::abort(cx, talk);
        }
    }
}

impl Service for Dns {
    type Message = ();

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.counts.udp += 1;
        let meta = *datagram.meta();
        if !safe_to_answer_a_question(meta.remote, meta.local, meta.to_many) {
            return Answer::Unsafe;
        }
        let query = match query::read(datagram.payload()) {
            Ok(query) => query,
            Err(why) => return if self.keep_silent(why) { Answer::Unsafe } else { Answer::Ignore },
        };
        let index = self.by_endpoint.get(usize::from(meta.endpoint.0)).copied().flatten();
        let zone = index.and_then(|index| self.zones.get(index)?.as_deref());
        let room = datagram.room();
        let room_bytes = room.len().min(self.most_over_udp(&query));
        let written = answer::write(&query, zone, Carrier::Datagram, self.udp_payload_bytes, &mut room[..room_bytes]);
        let Some(written) = written else { return Answer::Ignore };
        self.count(written);
        Answer::Reply { len: written.len }
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        let tag = cx.info(connection).map_or(u64::MAX, |info| info.tag);
        let zone = usize::try_from(tag).unwrap_or(usize::MAX);
        let fresh = Talk::new(connection, zone, cx.now());
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
        if taken == bytes.len() {
            self.close_if_done(cx, &mut talk);
        }
        self.put_back(cx, talk);
        taken
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(mut talk) = self.take(connection) else { return };
        talk.blocked = false;
        // What was not taken of the stream is offered after this.
        self.read(cx, &mut talk, &[]);
        self.close_if_done(cx, &mut talk);
        self.put_back(cx, talk);
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(mut talk) = self.take(connection) else { return cx.close(connection) };
        talk.peer_closed = true;
        self.close_if_done(cx, &mut talk);
        self.put_back(cx, talk);
    }

    /// What was asked is answered; then the connection ends. One that is fresh has a moment to ask.
    fn drain(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(mut talk) = self.take(connection) else { return };
        if talk.queued == 0 && !talk.closing {
            talk.deadline = talk.deadline.min(cx.now() + FIRST_QUERY);
        } else {
            self.close_if_done(cx, &mut talk);
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

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        let Named { connection, again } = Named::by(token);
        let Some(mut talk) = self.take(connection) else { return };
        if again {
            talk.paused = false;
            self.read(cx, &mut talk, &[]);
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

/// Adds to a message what belongs to it, as far as it is not too long; gives what lies behind.
fn gather<'b>(message: &mut Vec<u8>, bytes: &'b [u8]) -> &'b [u8] {
    let mut rest = bytes;
    while let Err(needed) = first_message(message) {
        let missing = needed.saturating_sub(message.len()).min(rest.len());
        if missing == 0 || needed > 2 + limits::DNS_QUERY_BYTES {
            break;
        }
        let (new, behind) = rest.split_at(missing);
        message.extend_from_slice(new);
        rest = behind;
    }
    rest
}

/// What every client takes (RFC 1035 4.2.1).
const PAYLOAD_BYTES_MIN: u16 = 512;
