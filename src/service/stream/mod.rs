//! A one-to-many stream: RTP packets (RFC 3550) at an even pace to a group, a broadcast address or one host.
//!
//! Opened by [`super::Catalog`], which hands it the timers that carry its mark. A packet is due at a time of its own, counted from the
//! start: what leaves late does not make the next ones late. What arrives at its port is not answered. The payload, a file or the characters of
//! chargen, lies in memory before the first packet. Nothing is sent about the stream (no RTCP). Cannot panic.

pub mod plan;

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Answer, CallError, Context, Datagram, EndpointId, IcmpError, Sending, Service, chargen};
use crate::error::SetupError;
use crate::limits;
use crate::rng::Rng;
use crate::rtp::header::{self, HEADER_LEN, Header};
use crate::time::Instant;

pub use plan::Plan;

/// The streams of a core.
#[derive(Debug)]
pub struct Stream {
    streams: Vec<One>,
    /// Draws what has to be random of a stream.
    rng: Rng,
    /// Where a packet is put together.
    packet: Vec<u8>,
}

/// What a stream sends, over and over.
pub type Content = Arc<[u8]>;

#[derive(Debug)]
struct One {
    plan: Plan,
    endpoint: EndpointId,
    to: SocketAddr,
    content: Content,
    /// The header of the next packet; its timestamp is that of the first.
    header: Header,
    start: Instant,
    /// The number of the next packet, counting those that were not sent.
    next: u64,
    /// Where in the content it begins.
    offset: usize,
    tally: Tally,
    /// An error was said, and is not said again.
    said: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    sent: u64,
    payload_bytes: u64,
    skipped: u64,
    unsent: u64,
    blocked: u64,
    icmp_errors: u64,
    late_ns: u64,
    late_max_ns: u64,
}

/// A stream in the summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where it goes.
    pub stream: SocketAddr,
    /// Its SSRC, as in 0x00c0ffee.
    pub ssrc: String,
    /// Its payload type.
    pub payload_type: u8,
    /// Units of its timestamps a second.
    pub clock_hz: u32,
    /// Packets that left.
    pub sent: u64,
    /// Bytes of payload in them.
    pub payload_bytes: u64,
    /// Packets left out because they were a second late.
    pub skipped: u64,
    /// Packets that could not be sent: no route, larger than the link carries.
    pub unsent: u64,
    /// How often there was no frame or no room to send, and the packet waited.
    pub blocked: u64,
    /// ICMP errors about it.
    pub icmp_errors: u64,
    /// How late packets left, on average.
    pub late_mean_ns: u64,
    /// How late at most.
    pub late_max_ns: u64,
}

impl Stream {
    /// None yet. `seed` decides what a stream draws: SSRC, first sequence number, first timestamp; it should be secret.
    pub fn new(seed: u64) -> Self {
        Self { streams: Vec::new(), rng: Rng::seeded(seed), packet: Vec::new() }
    }

    /// Starts a stream from an endpoint that was opened for it, at this port.
    ///
    /// # Errors
    /// No timer is left.
    pub fn opened(
        &mut self,
        cx: &mut impl Context,
        endpoint: EndpointId,
        port: u16,
        plan: &Plan,
        content: Content,
    ) -> Result<(), CallError> {
        //= rfc3550#5.1
        //# The initial value of the sequence number
        //# SHOULD be random (unpredictable) to make known-plaintext attacks
        //# on encryption more difficult
        //= rfc3550#5.1
        //# The initial value of the timestamp SHOULD be random, as for the
        //# sequence number.
        //= rfc3550#5.1
        //# This
        //# identifier SHOULD be chosen randomly, with the intent that no two
        //# synchronization sources within the same RTP session will have the
        //# same SSRC identifier.
        let header = Header {
            marker: false,
            payload_type: header::DYNAMIC_TYPE,
            sequence: self.rng.next_u32() as u16,
            timestamp: self.rng.next_u32(),
            ssrc: self.rng.next_u32(),
        };
        cx.set_timer(cx.now(), MARK | self.streams.len() as u64)?;
        self.streams.push(One {
            endpoint,
            to: plan.address(port),
            content,
            header,
            start: cx.now(),
            next: 0,
            offset: 0,
            tally: Tally::default(),
            said: false,
            plan: plan.clone(),
        });
        Ok(())
    }

    /// True for the token of a timer of a stream.
    pub(super) const fn owns(token: u64) -> bool {
        token & MARK != 0
    }

    /// What became of each stream, in the order they were opened.
    pub fn reports(&self) -> Vec<Report> {
        self.streams.iter().map(One::report).collect()
    }
}

impl Service for Stream {
    type Message = ();

    fn datagram(&mut self, _: &mut impl Context, _: &mut Datagram<'_>) -> Answer {
        Answer::Ignore
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        let Ok(index) = usize::try_from(token & !MARK) else { return };
        let Some(one) = self.streams.get_mut(index) else { return };
        if let Some(at) = one.send_due(cx, &mut self.packet)
            && let Err(why) = cx.set_timer(at, token)
        {
            tracing::error!("the stream to {} ends: {why}", one.to);
        }
    }

    fn icmp_error(&mut self, _: &mut impl Context, error: IcmpError) {
        if let Some(one) = self.streams.iter_mut().find(|one| one.endpoint == error.endpoint) {
            one.tally.icmp_errors += 1;
        }
    }
}

impl One {
    /// Sends the packets that are due; gives the time of the next one, if there is any.
    fn send_due(&mut self, cx: &mut impl Context, packet: &mut Vec<u8>) -> Option<Instant> {
        let now = cx.now();
        self.skip_stale(now);
        for _ in 0..limits::STREAM_BURST {
            if self.is_over() || self.due(self.next) > now {
                break;
            }
            let piece = self.piece();
            let header = Header { timestamp: self.timestamp(), ..self.header };
            packet.clear();
            packet.extend_from_slice(&header.emit());
            self.write(piece, packet);
            let how = Sending { hop_limit: self.plan.ttl, looped: self.plan.looped, ..Sending::default() };
            match cx.send_with(self.endpoint, self.to, packet, how) {
                Ok(()) => self.sent(now, packet.len() - HEADER_LEN),
                Err(CallError::WouldBlock) => {
                    self.tally.blocked += 1;
                    return Some(now + RETRY);
                }
                Err(why) => {
                    if !std::mem::replace(&mut self.said, true) {
                        tracing::warn!("cannot send to {}: {why}", self.to);
                    }
                    self.tally.unsent += 1;
                }
            }
            self.next += 1;
            self.offset = if self.offset + piece >= self.content.len() { 0 } else { self.offset + piece };
        }
        (!self.is_over()).then(|| self.due(self.next))
    }

    fn sent(&mut self, now: Instant, payload_bytes: usize) {
        let late = now.ns_since(self.due(self.next));
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.tally.sent += 1;
        self.tally.payload_bytes += payload_bytes as u64;
        self.tally.late_ns = self.tally.late_ns.saturating_add(late);
        self.tally.late_max_ns = self.tally.late_max_ns.max(late);
    }

    /// Leaves out what nobody waits for any more: their numbers are not used, their time passes.
    fn skip_stale(&mut self, now: Instant) {
        let stale_ns = now.ns_since(self.start).saturating_sub(STALE_NS);
        let first = (u128::from(stale_ns) * u128::from(self.plan.rate)).div_ceil(SECOND_NS);
        let first = u64::try_from(first).unwrap_or(u64::MAX).min(self.plan.count.unwrap_or(u64::MAX));
        if first > self.next {
            self.tally.skipped += first - self.next;
            self.next = first;
        }
    }

    fn is_over(&self) -> bool {
        self.plan.count.is_some_and(|count| self.next >= count)
    }

    /// When a packet is due.
    fn due(&self, number: u64) -> Instant {
        let ns = u128::from(number) * SECOND_NS / u128::from(self.plan.rate.max(1));
        self.start.after_ns(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    //= rfc3550#5.1
    //# If RTP packets are generated periodically, the nominal sampling
    //# instant as determined from the sampling clock is to be used, not a
    //# reading of the system clock.
    fn timestamp(&self) -> u32 {
        let units = u128::from(self.next) * u128::from(self.plan.clock) / u128::from(self.plan.rate.max(1));
        self.header.timestamp.wrapping_add(units as u32)
    }

    /// Bytes of the content that the next packet takes: a file's last piece may be shorter.
    fn piece(&self) -> usize {
        if self.plan.file.is_some() { self.plan.size.min(self.content.len() - self.offset) } else { self.plan.size }
    }

    fn write(&self, piece: usize, packet: &mut Vec<u8>) {
        if self.plan.file.is_some() {
            packet.extend_from_slice(self.content.get(self.offset..self.offset + piece).unwrap_or_default());
        } else {
            packet.resize(HEADER_LEN + piece, 0);
            chargen::fill(self.next.wrapping_mul(piece as u64), &mut packet[HEADER_LEN..]);
        }
    }

    fn report(&self) -> Report {
        let Tally { sent, payload_bytes, skipped, unsent, blocked, icmp_errors, late_ns, late_max_ns } = self.tally;
        Report {
            stream: self.to,
            ssrc: format!("{:#010x}", self.header.ssrc),
            payload_type: self.header.payload_type,
            clock_hz: self.plan.clock,
            sent,
            payload_bytes,
            skipped,
            unsent,
            blocked,
            icmp_errors,
            late_mean_ns: late_ns.checked_div(sent).unwrap_or(0),
            late_max_ns,
        }
    }
}

/// Reads the file of a plan; of a plan without one there is nothing to read.
///
/// # Errors
/// The file cannot be read, is empty, or larger than streams keep in memory.
pub fn content(plan: &Plan) -> Result<Content, SetupError> {
    plan.file.as_deref().map_or_else(|| Ok(Content::default()), read)
}

fn read(path: &Path) -> Result<Content, SetupError> {
    let refused = |why: String| SetupError::usage(format!("cannot stream {}", path.display()), why);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limits::STREAM_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(refused(error.to_string())),
        Ok(0) => Err(refused("it is empty".to_owned())),
        Ok(len) if len as u64 > limits::STREAM_FILE_BYTES => Err(refused(format!(
            "it is larger than {} MiB, which is what a stream keeps in memory",
            limits::STREAM_FILE_BYTES >> 20
        ))),
        Ok(_) => Ok(bytes.into()),
    }
}

/// Marks the timers of streams: a bit that the token of no connection has (the setting `tcp.connections` ends at 2^24).
const MARK: u64 = 1 << 30;
const SECOND_NS: u128 = 1_000_000_000;
/// A packet so late is left out.
const STALE_NS: u64 = 1_000_000_000;
/// When there was no frame or no room, it is tried again after so long.
const RETRY: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests;
