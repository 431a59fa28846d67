//! All the sources that a receiver hears, by their SSRC: bounded, so that forged ones cost nothing but the table.
//!
//! Filled by the two listeners, one datagram at a time. Pure; cannot panic.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::header::{self, Header, Malformed};
use super::source::Source;
use crate::limits::RTP_SOURCES;
use crate::time::Instant;

/// The sources and what was not taken.
#[derive(Clone, Debug, Default)]
pub struct Book {
    sources: BTreeMap<u32, Entry>,
    counts: Counts,
    /// Units of the timestamps a second; `None` takes those of the payload type.
    clock: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its first packet came from.
    from: SocketAddr,
    payload_type: u8,
    payload_bytes: u64,
    heard: Instant,
    source: Source,
}

/// Datagrams of all senders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Of them: packets of a source that is listed.
    pub rtp: u64,
    /// RTCP packets, which nothing is made of.
    pub rtcp: u64,
    /// Shorter than a header.
    pub short: u64,
    /// Another version than 2.
    pub other_version: u64,
    /// A CSRC list, extension or padding longer than the packet.
    pub length_lies: u64,
    /// From another address than the first packet of their source (RFC 3550 8.2).
    pub collided: u64,
    /// Of sources for which there was no room.
    pub unlisted: u64,
    /// Sources on probation that gave way to another one.
    pub forgotten: u64,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A packet of a listed source.
    Rtp,
    /// Anything else.
    Other,
}

/// A source in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceReport {
    /// Its SSRC, as in 0x00c0ffee.
    pub source: String,
    /// Where it sends from.
    pub from: SocketAddr,
    /// Its payload type.
    pub payload_type: u8,
    /// Two packets in sequence have come.
    pub valid: bool,
    /// Packets that came, from the first on.
    pub packets: u64,
    /// Bytes of payload in them.
    pub payload_bytes: u64,
    /// Packets that should have come (A.3).
    pub expected: u64,
    /// Packets that did, duplicates among them (A.3).
    pub received: u64,
    /// Expected less received (A.3).
    pub lost: i32,
    /// The same as a share in 256ths: of the last interval in the line of one, of all in the summary.
    pub fraction_lost: u8,
    /// Packets that never came.
    pub missing: u64,
    /// Packets that came behind one with a higher number.
    pub reordered: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Packets whose number was out of range.
    pub out_of_range: u64,
    /// Packets before the source was valid, the last of which made it so.
    pub probation: u64,
    /// How often the numbers began anew.
    pub restarts: u64,
    /// The highest number, extended by its cycles.
    pub extended_max: u32,
    /// Units of the timestamp a second.
    pub clock_hz: u32,
    /// The interarrival jitter in units of the timestamp (A.8).
    pub jitter_units: u32,
    /// The same in milliseconds.
    pub jitter_ms: f64,
    /// The highest it was, in milliseconds.
    pub jitter_max_ms: f64,
}

impl Book {
    /// An empty one. `clock` is the clock of all sources in units of the timestamp a second; without it each has that of its payload type.
    pub fn new(clock: Option<u32>) -> Self {
        Self { clock, ..Self::default() }
    }

    /// A datagram arrived.
    pub fn hear(&mut self, from: SocketAddr, datagram: &[u8], arrival: Instant) -> Heard {
        self.counts.datagrams += 1;
        let count = match Header::parse(datagram) {
            Ok((header, payload_len)) => match self.entry(&header, from) {
                Ok(entry) => {
                    entry.heard = arrival;
                    entry.payload_bytes += payload_len as u64;
                    entry.source.hear(header.sequence, header.timestamp, arrival);
                    self.counts.rtp += 1;
                    return Heard::Rtp;
                }
                Err(refused) => match refused {
                    Refused::Collided => &mut self.counts.collided,
                    Refused::Full => &mut self.counts.unlisted,
                },
            },
            Err(Malformed::Short) => &mut self.counts.short,
            Err(Malformed::Version) => &mut self.counts.other_version,
            Err(Malformed::Rtcp) => &mut self.counts.rtcp,
            Err(Malformed::Lies) => &mut self.counts.length_lies,
        };
        *count += 1;
        Heard::Other
    }

    /// The source of a packet, listed if it is new and there is room.
    fn entry(&mut self, header: &Header, from: SocketAddr) -> Result<&mut Entry, Refused> {
        if !self.sources.contains_key(&header.ssrc) {
            if self.sources.len() >= RTP_SOURCES {
                self.forget_one()?;
            }
            let clock = self.clock.unwrap_or_else(|| header::clock_of(header.payload_type));
            let source = Source::new(header.sequence, clock);
            let entry = Entry { from, payload_type: header.payload_type, payload_bytes: 0, heard: Instant::ZERO, source };
            self.sources.insert(header.ssrc, entry);
        }
        let entry = self.sources.get_mut(&header.ssrc).ok_or(Refused::Full)?;
        // Two senders with one identifier: the first is believed.
        if entry.from == from { Ok(entry) } else { Err(Refused::Collided) }
    }

    /// Makes room: of the sources that nothing shows to be any, the one that was heard the longest time ago goes.
    fn forget_one(&mut self) -> Result<(), Refused> {
        //= rfc3550#A.1
        //# A non-zero s->probation marks the source as not yet valid so the
        //# state may be discarded after a short timeout rather than a long one,
        //# as discussed in Section 6.2.1.
        let on_probation = self.sources.iter().filter(|(_, entry)| !entry.source.is_valid());
        let oldest = on_probation.min_by_key(|(_, entry)| entry.heard).map(|(&ssrc, _)| ssrc).ok_or(Refused::Full)?;
        self.sources.remove(&oldest);
        self.counts.forgotten += 1;
        Ok(())
    }

    /// What came, of all senders together.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Every source; the share that was lost is of all packets.
    pub fn reports(&self) -> Vec<SourceReport> {
        self.sources.iter().map(|(&ssrc, entry)| entry.report(ssrc, entry.source.fraction_lost())).collect()
    }

    /// The same, with the share that was lost since the call before.
    pub fn interval_reports(&mut self) -> Vec<SourceReport> {
        let each = self.sources.iter_mut().map(|(&ssrc, entry)| {
            let fraction = entry.source.fraction_since();
            entry.report(ssrc, fraction)
        });
        each.collect()
    }
}

impl Entry {
    fn report(&self, ssrc: u32, fraction_lost: u8) -> SourceReport {
        let source = &self.source;
        let counts = source.counts();
        let ms = |units: u32| f64::from(units) * 1000.0 / f64::from(source.clock().max(1));
        SourceReport {
            source: format!("{ssrc:#010x}"),
            from: self.from,
            payload_type: self.payload_type,
            valid: source.is_valid(),
            packets: counts.packets,
            payload_bytes: self.payload_bytes,
            expected: source.expected(),
            received: source.received(),
            lost: source.lost(),
            fraction_lost,
            missing: source.missing(),
            reordered: counts.reordered,
            duplicates: counts.duplicates,
            out_of_range: counts.out_of_range,
            probation: counts.probation,
            restarts: counts.restarts,
            extended_max: source.extended_max(),
            clock_hz: source.clock(),
            jitter_units: source.jitter(),
            jitter_ms: ms(source.jitter()),
            jitter_max_ms: ms(source.jitter_max()),
        }
    }
}

/// Why a packet is not counted with a source.
enum Refused {
    Collided,
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let header = Header { marker: false, payload_type: 0, sequence, timestamp: u32::from(sequence) * 160, ssrc };
        [&header.emit()[..], b"payload"].concat()
    }

    fn ms(n: u64) -> Instant {
        Instant::from_ns(n * 1_000_000)
    }

    #[test]
    fn sources_are_kept_apart() {
        let mut book = Book::new(None);
        for n in 0..10 {
            assert_eq!(book.hear(at("10.0.0.1:5004"), &packet(1, n), ms(u64::from(n) * 20)), Heard::Rtp);
            if n != 5 {
                book.hear(at("10.0.0.2:5004"), &packet(0xc0ffee, n + 100), ms(u64::from(n) * 20));
            }
        }
        let reports = book.reports();
        let shown: Vec<_> = reports.iter().map(|one| (one.source.as_str(), one.expected, one.lost, one.packets)).collect();
        assert_eq!(shown, [("0x00000001", 9, 0, 10), ("0x00c0ffee", 9, 1, 9)]);
        assert_eq!((reports[1].fraction_lost, reports[1].missing, reports[1].payload_bytes), (28, 1, 63));
        assert_eq!((reports[0].clock_hz, reports[0].jitter_units, reports[0].jitter_ms), (8000, 0, 0.0));
    }

    #[test]
    fn the_fraction_of_a_line_is_that_of_its_interval() {
        let mut book = Book::new(Some(1000));
        for n in [0, 1, 2, 4] {
            book.hear(at("10.0.0.1:5004"), &packet(1, n), ms(0));
        }
        assert_eq!((book.interval_reports()[0].fraction_lost, book.interval_reports()[0].fraction_lost), (64, 0));
        assert_eq!((book.reports()[0].fraction_lost, book.reports()[0].clock_hz), (64, 1000));
    }

    #[test]
    fn what_is_no_packet_is_counted_by_cause() {
        let mut book = Book::new(None);
        let mut lies = packet(1, 1);
        lies[0] = 0x8f;
        let mut report = packet(1, 1);
        report[1] = 200;
        for bytes in [&b"short"[..], &[0; 12], &lies, &report] {
            assert_eq!(book.hear(at("10.0.0.1:5004"), bytes, ms(0)), Heard::Other);
        }
        book.hear(at("10.0.0.1:5004"), &packet(1, 1), ms(0));
        book.hear(at("10.0.0.9:5004"), &packet(1, 2), ms(0));
        let expected = Counts {
            datagrams: 6,
            rtp: 1,
            rtcp: 1,
            short: 1,
            other_version: 1,
            length_lies: 1,
            collided: 1,
            ..Counts::default()
        };
        assert_eq!(*book.counts(), expected);
    }

    #[test]
    fn forged_sources_push_out_one_another_and_no_real_one() {
        let mut book = Book::new(None);
        let real = RTP_SOURCES as u32 - 1;
        for ssrc in 0..real {
            (0..2).for_each(|n| {
                book.hear(at("10.0.0.1:5004"), &packet(ssrc, n), ms(n.into()));
            });
        }
        for forged in 0..100 {
            book.hear(at("10.0.0.9:5004"), &packet(1000 + forged, 7), ms(10 + u64::from(forged)));
        }
        assert_eq!((book.reports().len(), book.counts().forgotten, book.counts().unlisted), (RTP_SOURCES, 99, 0));
        book.hear(at("10.0.0.9:5004"), &packet(1099, 8), ms(200));
        assert_eq!(book.hear(at("10.0.0.9:5004"), &packet(2000, 7), ms(201)), Heard::Other);
        assert_eq!((book.reports().iter().filter(|one| one.valid).count(), book.counts().unlisted), (RTP_SOURCES, 1));
    }
}
