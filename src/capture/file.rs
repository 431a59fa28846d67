//! Captures as others read them: pcapng files, and the events they are made of.
//!
//! An [`Event`] is one line of the control socket's answer and of `ringway capture --json`: a frame, or a record of the recorder, whose packet is made up
//! of its headers. A [`Writer`] makes blocks of them, with nanoseconds, a description of each queue, the direction, and as a comment what the engine says:
//! the change of state, the congestion window, the cause. Values in, bytes out; nothing panics on what an answer holds.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};
use serde::{Deserialize, Serialize};

use super::headers;
use super::tap::Captured;
use crate::limits;
use crate::recorder::{Kind, Record};
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::{Options, SackBlock};

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    /// A frame.
    #[serde(borrow)]
    Frame(Frame<'a>),
    /// A record.
    #[serde(borrow)]
    Record(Recorded<'a>),
}

/// A frame that came or left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame<'a> {
    /// Number of the worker.
    pub worker: usize,
    /// Name of the interface.
    pub interface: Cow<'a, str>,
    /// The queue.
    pub queue: u32,
    /// It left; else it came.
    pub sent: bool,
    /// When, in nanoseconds since 1970, UTC.
    pub unix_ns: u64,
    /// Its length, in bytes; there may be fewer in `bytes`.
    pub length: usize,
    /// From its beginning on, two hexadecimal digits each.
    pub bytes: Cow<'a, str>,
    /// Frames that this worker's capture has lost so far, because nobody took them in time.
    pub lost: u64,
    /// The check it failed, if it was dropped.
    pub drop: Option<Cow<'a, str>>,
    /// What it did to its connection.
    #[serde(flatten)]
    pub effect: Option<Effect<'a>>,
}

/// What a segment did to its connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect<'a> {
    /// The state before.
    pub state_before: Cow<'a, str>,
    /// The state after.
    pub state: Cow<'a, str>,
    /// The congestion window after, in bytes; 0 where there is no connection.
    pub cwnd: u32,
    /// What happened on the occasion, or the check it failed.
    pub cause: Option<Cow<'a, str>>,
}

/// A segment, a change of state or a datagram, as the recorder kept it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded<'a> {
    /// Number of the worker.
    pub worker: usize,
    /// Number of the record, of this worker's.
    pub number: u64,
    /// When, in nanoseconds since 1970, UTC.
    pub unix_ns: u64,
    /// Name of the interface.
    pub interface: Cow<'a, str>,
    /// What it is: the names of [`Kind`].
    pub kind: Cow<'a, str>,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Bytes of payload.
    pub len: u16,
    /// What its header said, of segments.
    #[serde(flatten)]
    pub segment: Option<Fields>,
    /// What it did, of segments and changes.
    #[serde(flatten)]
    pub effect: Option<Effect<'a>>,
    /// The terms in the options of a SYN.
    #[serde(flatten)]
    pub terms: Option<Terms>,
    /// Blocks of a selective acknowledgment, from their first number to the one after their last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sack: Vec<[u32; 2]>,
}

/// Fields of a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Control bits, as on the wire.
    pub flags: u8,
    /// SEG.SEQ
    pub seq: u32,
    /// SEG.ACK
    pub ack: u32,
    /// SEG.WND, not scaled.
    pub window: u16,
}

/// What a SYN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The MSS.
    pub mss: Option<u16>,
    /// The window scale.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
}

impl Frame<'_> {
    /// That of a copy, taken at a time of day.
    pub fn of<'a>(captured: &Captured, worker: usize, interface: &'a str, unix_ns: u64, lost: u64) -> Frame<'a> {
        Frame {
            worker,
            interface: interface.into(),
            queue: captured.queue,
            sent: captured.is_sent,
            unix_ns,
            length: captured.length,
            bytes: hex(&captured.bytes).into(),
            lost,
            drop: captured.drop.map(|why| why.name().into()),
            effect: captured.record.as_ref().map(effect),
        }
    }
}

impl Recorded<'_> {
    /// That of a record, with those that belong to it, of a time of day.
    pub fn of<'a>(
        (number, record): (u64, &Record),
        rest: &[(u64, Record)],
        worker: usize,
        interface: &'a str,
        unix_ns: u64,
    ) -> Recorded<'a> {
        let key = record.key();
        let kind = record.kind();
        let is_segment = matches!(kind, Kind::Received | Kind::Sent | Kind::SentAgain);
        let terms = rest.iter().find_map(|(_, record)| record.syn_terms()).map(|terms| Terms {
            mss: terms.mss,
            window_scale: terms.window_scale,
            sack_permitted: terms.sack_permitted,
            timestamps: terms.timestamps,
        });
        let blocks = rest.iter().filter_map(|(_, record)| record.sack_block());
        let (flags, seq, ack, window) = (record.flags.0, record.seq.0, record.ack.0, record.window);
        Recorded {
            worker,
            number,
            unix_ns,
            interface: interface.into(),
            kind: kind.name().into(),
            local: key.local_socket(),
            remote: key.remote_socket(),
            len: record.len,
            segment: is_segment.then_some(Fields { flags, seq, ack, window }),
            effect: (is_segment || kind == Kind::Changed).then(|| effect(record)),
            terms,
            sack: blocks.map(|block| [block.left.0, block.right.0]).collect(),
        }
    }
}

impl Recorded<'_> {
    /// The options that were kept of its segment.
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        if let Some(terms) = self.terms {
            options.mss = terms.mss;
            options.window_scale = terms.window_scale;
            options.sack_permitted = terms.sack_permitted;
            options.timestamps = terms.timestamps;
        }
        for (place, &[left, right]) in options.sack.iter_mut().zip(&self.sack) {
            *place = SackBlock { left: SeqNum(left), right: SeqNum(right) };
            options.sack_count += 1;
        }
        options
    }
}

fn effect<'a>(record: &Record) -> Effect<'a> {
    Effect {
        state_before: record.before().name().into(),
        state: record.after().name().into(),
        cwnd: record.cwnd,
        cause: record.cause().name().map(Cow::Borrowed),
    }
}

/// Writes a pcapng file.
///
/// ```
/// use ringway::capture::Writer;
/// let writer = Writer::new(Vec::new())?;
/// assert_eq!(writer.written(), writer.into_inner().len() as u64);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Writer<W: Write> {
    inner: PcapNgWriter<Counted<W>>,
    /// The queues described so far, each by the interface's name.
    described: Vec<(String, u32)>,
    /// Frames lost, as of the last one of each worker.
    lost: Vec<u64>,
    /// What happened to connections without a segment, until one of theirs is written.
    changes: Vec<(SocketAddr, SocketAddr, String)>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let options = vec![SectionHeaderOption::UserApplication(concat!("ringway ", env!("CARGO_PKG_VERSION")).into())];
        let section = SectionHeaderBlock { endianness: Endianness::Little, options, ..SectionHeaderBlock::default() };
        let out = Counted { out, written: 0 };
        let inner = PcapNgWriter::with_section_header(out, section).map_err(into_io)?;
        Ok(Self { inner, described: Vec::new(), lost: Vec::new(), changes: Vec::new() })
    }

    /// Adds an event. False when it has no place in a file: a change without a segment waits for the next one of its connection.
    ///
    /// # Errors
    /// It cannot be written, or is none: its bytes are not hexadecimal.
    pub fn write(&mut self, event: &Event<'_>) -> io::Result<bool> {
        match event {
            Event::Frame(frame) => self.frame(frame).map(|()| true),
            Event::Record(record) => self.record(record),
        }
    }

    /// What was written so far can be read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.inner.get_mut().flush()
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.inner.get_ref().written
    }

    /// The end of the file.
    pub fn into_inner(self) -> W {
        self.inner.into_inner().out
    }

    fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let bytes = unhex(&frame.bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the bytes of a frame"))?;
        let mut comment = frame.effect.as_ref().map(comment).unwrap_or_default();
        if let Some(why) = &frame.drop
            && frame.effect.as_ref().is_none_or(|effect| effect.cause.as_ref() != Some(why))
        {
            add(&mut comment, &format!("dropped: {why}"));
        }
        let lost = self.newly_lost(frame.worker, frame.lost);
        let id = self.interface(&frame.interface, frame.queue)?;
        self.packet(id, (frame.unix_ns, frame.sent), (bytes.into(), frame.length), comment, lost)
    }

    fn record(&mut self, record: &Recorded<'_>) -> io::Result<bool> {
        let ends = (record.local, record.remote);
        let mut comment = record.effect.as_ref().map(comment).unwrap_or_default();
        let Some((bytes, length)) = headers::of(record) else {
            if self.changes.len() < limits::CAPTURED && !comment.is_empty() {
                self.changes.push((ends.0, ends.1, comment));
            }
            return Ok(false);
        };
        self.changes.retain(|(local, remote, change)| {
            let is_ours = (*local, *remote) == ends;
            if is_ours {
                comment = format!("before: {change}; {comment}");
            }
            !is_ours
        });
        if record.kind == Kind::SentAgain.name() {
            add(&mut comment, "sent again");
        }
        let id = self.interface(&record.interface, 0)?;
        let is_sent = !headers::is_received(record);
        self.packet(id, (record.unix_ns, is_sent), (bytes.into(), length), comment, 0)?;
        Ok(true)
    }

    /// The number of a queue's description, which is written before its first frame.
    fn interface(&mut self, name: &str, queue: u32) -> io::Result<u32> {
        if let Some(id) = self.described.iter().position(|(known, of)| known == name && *of == queue) {
            return Ok(id as u32);
        }
        let options = vec![
            InterfaceDescriptionOption::IfName(name.to_owned().into()),
            InterfaceDescriptionOption::IfDescription(format!("Ringway, queue {queue}").into()),
            // Nanoseconds.
            InterfaceDescriptionOption::IfTsResol(9),
        ];
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: limits::SNAP_LEN as u32, options };
        self.inner.write_block(&block.into_block()).map_err(into_io)?;
        self.described.push((name.to_owned(), queue));
        Ok(self.described.len() as u32 - 1)
    }

    fn packet(
        &mut self,
        interface_id: u32,
        (unix_ns, is_sent): (u64, bool),
        (data, length): (Cow<'_, [u8]>, usize),
        comment: String,
        lost: u64,
    ) -> io::Result<()> {
        let mut options = vec![EnhancedPacketOption::Flags(if is_sent { OUTBOUND } else { INBOUND })];
        if lost > 0 {
            options.push(EnhancedPacketOption::DropCount(lost));
        }
        if !comment.is_empty() {
            options.push(EnhancedPacketOption::Comment(comment.into()));
        }
        let timestamp = Duration::from_nanos(unix_ns);
        let block = EnhancedPacketBlock { interface_id, timestamp, original_len: length as u32, data, options };
        self.inner.write_block(&block.into_block()).map_err(into_io)?;
        Ok(())
    }

    /// Frames that a worker's capture has lost since the last one.
    fn newly_lost(&mut self, worker: usize, lost: u64) -> u64 {
        if self.lost.len() <= worker && worker < limits::WORKERS {
            self.lost.resize(worker + 1, 0);
        }
        self.lost.get_mut(worker).map_or(0, |before| lost.saturating_sub(std::mem::replace(before, lost)))
    }
}

/// What a segment did, in words.
fn comment(effect: &Effect<'_>) -> String {
    let mut text = match effect.state_before == effect.state {
        true => effect.state.clone().into_owned(),
        false => format!("{} -> {}", effect.state_before, effect.state),
    };
    if effect.cwnd > 0 {
        add(&mut text, &format!("cwnd {}", effect.cwnd));
    }
    if let Some(cause) = &effect.cause {
        add(&mut text, cause);
    }
    text
}

fn add(text: &mut String, words: &str) {
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(words);
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes.filter(|bytes| rest.is_empty() && bytes.len() <= limits::SNAP_LEN)
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Counts what goes through.
struct Counted<W> {
    out: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Bits 0 and 1 of the option epb_flags.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    fn frame(bytes: &str) -> Frame<'_> {
        Frame {
            worker: 0,
            interface: "veth0".into(),
            queue: 1,
            sent: true,
            unix_ns: 1_000_000_007,
            length: 99,
            bytes: bytes.into(),
            lost: 2,
            drop: None,
            effect: Some(Effect { state_before: "LISTEN".into(), state: "SYN-RECEIVED".into(), cwnd: 14_600, cause: None }),
        }
    }

    fn record(kind: &'static str) -> Recorded<'static> {
        let is_segment = kind == "received" || kind == "sent-again";
        Recorded {
            worker: 1,
            number: 9,
            unix_ns: 2_000_000_000,
            interface: "veth0".into(),
            kind: kind.into(),
            local: "10.0.0.2:80".parse().unwrap(),
            remote: "10.0.0.1:4000".parse().unwrap(),
            len: 100,
            segment: is_segment.then_some(Fields { flags: 0x12, seq: 7, ack: 8, window: 512 }),
            effect: Some(Effect {
                state_before: "ESTABLISHED".into(),
                state: "ESTABLISHED".into(),
                cwnd: 0,
                cause: Some("retransmission_timeout".into()),
            }),
            terms: Some(Terms { mss: Some(1460), window_scale: Some(7), sack_permitted: true, timestamps: Some((1, 2)) }),
            sack: vec![[20, 30]],
        }
    }

    /// The blocks of a file as another's reader sees them.
    fn read(bytes: &[u8]) -> Vec<Block<'static>> {
        let mut reader = PcapNgReader::new(bytes).unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block() {
            blocks.push(block.unwrap().into_owned());
        }
        blocks
    }

    #[test]
    fn a_frame_is_written_with_what_it_did() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        for _ in 0..2 {
            assert!(writer.write(&Event::Frame(frame("00ff10"))).unwrap());
        }
        let blocks = read(&writer.into_inner());
        let [Block::InterfaceDescription(queue), Block::EnhancedPacket(first), Block::EnhancedPacket(second)] = &blocks[..]
        else {
            panic!("{blocks:?}");
        };
        assert!(queue.options.contains(&InterfaceDescriptionOption::IfTsResol(9)), "{queue:?}");
        assert_eq!(
            (first.timestamp, first.original_len, &*first.data),
            (Duration::from_nanos(1_000_000_007), 99, &[0, 255, 16][..])
        );
        let options = [
            EnhancedPacketOption::Flags(OUTBOUND),
            EnhancedPacketOption::DropCount(2),
            EnhancedPacketOption::Comment("LISTEN -> SYN-RECEIVED; cwnd 14600".into()),
        ];
        assert_eq!(first.options, options);
        assert_eq!(second.options.len(), 2, "no more were lost");
    }

    #[test]
    fn a_record_becomes_a_packet_and_a_change_a_comment_on_the_next() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        assert!(!writer.write(&Event::Record(record("changed"))).unwrap());
        assert!(writer.write(&Event::Record(record("sent-again"))).unwrap());
        let blocks = read(&writer.into_inner());
        let Some(Block::EnhancedPacket(packet)) = blocks.last() else { panic!("{blocks:?}") };
        let comment = "before: ESTABLISHED; retransmission_timeout; ESTABLISHED; retransmission_timeout; sent again";
        assert!(packet.options.contains(&EnhancedPacketOption::Comment(comment.into())), "{packet:?}");
        let sliced = etherparse::SlicedPacket::from_ethernet(&packet.data);
        assert!(sliced.is_err(), "its payload is missing");
        assert_eq!(packet.original_len as usize, packet.data.len() + 100);
    }

    #[test]
    fn events_come_back_as_they_went() {
        for event in [Event::Frame(frame("00")), Event::Record(record("received")), Event::Record(record("changed"))] {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event<'_>>(&text).unwrap(), event, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        for bytes in ["0", "0g", "ä"] {
            assert!(writer.write(&Event::Frame(frame(bytes))).is_err(), "{bytes}");
        }
        assert_eq!(unhex(&hex(&[0, 1, 254, 255])).unwrap(), [0, 1, 254, 255]);
    }
}
