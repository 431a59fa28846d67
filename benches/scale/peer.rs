//! The device in memory, and behind it a peer with a great many connections: it keeps three numbers of each, and builds its segments from them.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam::queue::ArrayQueue;
use ringway::device::{Device, DeviceStats, Frame, FrameCensus};
use ringway::tcp::seq::SeqNum;
use ringway::time::Instant;
use ringway::wire::checksum::PseudoHeader;
use ringway::wire::ethernet::Mac;
use ringway::wire::ipv4::PROTOCOL_TCP;
use ringway::wire::tcp::{self, Flags, Header, Options};

use crate::common::{IP_AT, IP_PAYLOAD_AT, OUR_MAC, PAYLOAD, SERVICE, headers};

const FIRST_PEER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Source ports of one address of the peer.
const PORTS: u32 = 60_000;
const FRAMES: usize = 4096;

/// What the peer knows of a connection. Of two threads one writes `seq` and the other the rest.
#[derive(Debug, Default)]
pub(crate) struct Line {
    seq: AtomicU32,
    ack: AtomicU32,
    echo: AtomicU32,
}

/// So many lines.
pub(crate) fn lines(count: usize) -> Arc<[Line]> {
    (0..count)
        .map(|number| Line { seq: AtomicU32::new((number as u32).wrapping_mul(2_654_435_761)), ..Line::default() })
        .collect()
}

/// What came back in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Back {
    /// SYN-ACKs.
    pub(crate) opened: u32,
    /// Echoes.
    pub(crate) answered: u32,
    /// FINs.
    pub(crate) closed: u32,
}

/// One queue of an engine, and the peer behind it.
pub(crate) struct Peer {
    place: u16,
    free: Vec<Buffer>,
    arriving: VecDeque<Buffer>,
    queued: Vec<Buffer>,
    sent: Vec<Buffer>,
    /// The ways home of frames that another engine has sent or dropped.
    homes: Arc<[ArrayQueue<Buffer>]>,
    lines: Arc<[Line]>,
}

impl Peer {
    /// The queues of so many engines behind one NIC.
    pub(crate) fn queues(count: usize, lines: &Arc<[Line]>) -> Vec<Self> {
        let homes: Arc<[_]> = (0..count).map(|_| ArrayQueue::new(FRAMES)).collect();
        let queue = |place: usize| Self {
            place: place as u16,
            free: (0..FRAMES).map(|_| Buffer { bytes: Box::new([0; 2048]), len: 0, home: place as u16 }).collect(),
            arriving: VecDeque::with_capacity(FRAMES),
            queued: Vec::with_capacity(FRAMES),
            sent: Vec::with_capacity(FRAMES),
            homes: Arc::clone(&homes),
            lines: Arc::clone(lines),
        };
        (0..count).map(queue).collect()
    }

    pub(crate) fn connect(&mut self, number: u32, now: Instant) {
        self.send(number, now, Flags::SYN, &[]);
    }

    pub(crate) fn request(&mut self, number: u32, now: Instant) {
        self.send(number, now, Flags::ACK | Flags::PSH, &PAYLOAD);
    }

    pub(crate) fn acknowledge(&mut self, number: u32, now: Instant) {
        self.send(number, now, Flags::ACK, &[]);
    }

    pub(crate) fn close(&mut self, number: u32, now: Instant) {
        self.send(number, now, Flags::ACK | Flags::FIN, &[]);
    }

    /// Reads what the engine has sent since the last call.
    pub(crate) fn collect(&mut self) -> Back {
        let mut back = Back::default();
        while let Some(frame) = self.sent.pop() {
            self.read(frame.bytes(), &mut back);
            self.recycle(frame);
        }
        back
    }

    fn read(&self, frame: &[u8], back: &mut Back) {
        let address =
            |at: usize| frame.get(at..at + 4).and_then(|octets| octets.first_chunk::<4>()).map(|octets| Ipv4Addr::from(*octets));
        let (Some(source), Some(target), Some(bytes)) = (address(IP_AT + 12), address(IP_AT + 16), frame.get(IP_PAYLOAD_AT..))
        else {
            return;
        };
        let pseudo = PseudoHeader { source: source.into(), target: target.into(), protocol: PROTOCOL_TCP };
        let Ok((ports, segment)) = tcp::parse(bytes, &pseudo) else { return };
        let number = target.to_bits().wrapping_sub(FIRST_PEER.to_bits()) * PORTS + u32::from(ports.target) - 1024;
        let Some(line) = self.lines.get(number as usize) else { return };
        let (opened, closed) = (segment.flags.contains(Flags::SYN), segment.flags.contains(Flags::FIN));
        let ack = segment.seq + segment.payload.len() as u32 + u32::from(opened) + u32::from(closed);
        line.ack.store(ack.0, Ordering::Relaxed);
        line.echo.store(segment.options.timestamps.map_or(0, |(value, _)| value), Ordering::Relaxed);
        back.opened += u32::from(opened);
        back.closed += u32::from(closed);
        back.answered += u32::from(segment.payload == PAYLOAD);
    }

    fn send(&mut self, number: u32, now: Instant, flags: Flags, payload: &[u8]) {
        if self.free.is_empty() {
            self.take_in_returned();
        }
        let Some(mut frame) = self.free.pop() else { return };
        let line = &self.lines[number as usize];
        let opens = flags.contains(Flags::SYN);
        let (seq, ack) = (line.seq.load(Ordering::Relaxed), if opens { 0 } else { line.ack.load(Ordering::Relaxed) });
        let taken = payload.len() as u32 + u32::from(opens) + u32::from(flags.contains(Flags::FIN));
        line.seq.store(seq.wrapping_add(taken), Ordering::Relaxed);
        let echo = if opens { 0 } else { line.echo.load(Ordering::Relaxed) };
        let stamps = Options { timestamps: Some((now.as_ms_wrapping(), echo)), ..Options::default() };
        let options =
            if opens { Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..stamps } } else { stamps };
        let header = Header {
            source_port: (number % PORTS + 1024) as u16,
            target_port: SERVICE,
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags,
            window: if opens { 64_240 } else { 501 },
            urgent: 0,
            options,
        };
        let len = tcp::header_len(&header.options) + payload.len();
        let source = Ipv4Addr::from_bits(FIRST_PEER.to_bits() + number / PORTS);
        frame.set_len(IP_PAYLOAD_AT + len);
        let bytes = frame.bytes_mut();
        let end = bytes.len() - payload.len();
        bytes[end..].copy_from_slice(payload);
        let pseudo = headers(bytes, source, PROTOCOL_TCP);
        tcp::emit(&mut bytes[IP_PAYLOAD_AT..], &header, payload.len(), &pseudo);
        self.arriving.push_back(frame);
    }

    fn take_in_returned(&mut self) {
        let home = &self.homes[usize::from(self.place)];
        if home.is_empty() {
            return;
        }
        while let Some(frame) = home.pop() {
            self.free.push(frame);
        }
    }
}

/// A frame, and whose it is.
pub(crate) struct Buffer {
    bytes: Box<[u8; 2048]>,
    len: usize,
    home: u16,
}

impl Frame for Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    fn set_len(&mut self, len: usize) -> usize {
        self.len = len.min(self.bytes.len());
        self.len
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl Device for Peer {
    type Frame = Buffer;

    fn receive(&mut self, burst: &mut Vec<Buffer>, most: usize) -> usize {
        let count = self.arriving.len().min(most);
        burst.extend(self.arriving.drain(..count));
        count
    }

    fn readable(&mut self) -> bool {
        !self.arriving.is_empty()
    }

    fn allocate(&mut self) -> Option<Buffer> {
        if self.free.is_empty() {
            self.take_in_returned();
        }
        self.free.pop()
    }

    fn room(&mut self) -> usize {
        FRAMES.saturating_sub(self.queued.len() + self.sent.len())
    }

    fn transmit(&mut self, frame: Buffer) -> Result<(), Buffer> {
        self.queued.push(frame);
        Ok(())
    }

    fn recycle(&mut self, frame: Buffer) {
        if frame.home == self.place {
            self.free.push(frame);
        } else {
            // There is room for every frame of a queue.
            let _ = self.homes[usize::from(frame.home)].push(frame);
        }
    }

    fn flush(&mut self) {
        self.sent.append(&mut self.queued);
        self.take_in_returned();
    }

    fn pending(&self) -> bool {
        !self.queued.is_empty()
    }

    fn stats(&mut self) -> DeviceStats {
        DeviceStats::default()
    }

    fn mac(&self) -> Mac {
        OUR_MAC
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn frame_bytes(&self) -> usize {
        2048
    }

    fn frames(&self) -> FrameCensus {
        let home = self.homes[usize::from(self.place)].len();
        FrameCensus {
            total: FRAMES,
            free: self.free.len() + home,
            receiving: self.arriving.len(),
            sending: self.queued.len() + self.sent.len(),
        }
    }
}
