//! What the peer does in a burst: datagrams, requests, whole connections, streams either way.
//!
//! A burst is handed over, the stack turns, and what it sent is taken back. The same code runs with answers checked, which is not timed, and without.

use ringway::wire::tcp::Flags;

use crate::common::PAYLOAD;
use crate::generator::{Datagram, Line, Read, Segment, check_datagram, checked};
use crate::order::shuffled;
use crate::stacks::Stack;

/// Frames handed over at once.
pub(crate) const BURST: usize = 32;
/// Bytes of a full segment with timestamps.
pub(crate) const FULL: usize = 1448;
/// Turns that a stack may take for a handshake.
const PATIENCE: usize = 1000;

/// What is repeated.
pub(crate) trait Traffic {
    /// What comes before, and is not timed.
    fn begin<S: Stack>(&mut self, _: &mut S) {}

    /// Hands a burst over, takes back what comes of it, and returns how many units were done. Each answer is shown to `see`.
    fn burst<S: Stack>(&mut self, stack: &mut S, see: &mut impl FnMut(&[u8])) -> usize;

    /// Asserts, after the burst, that what was sent in it is as it has to be.
    fn check(&mut self, frame: &[u8]);
}

/// The numbers from 0, over and over, in random order.
struct Order {
    numbers: Vec<u32>,
    next: usize,
}

impl Order {
    fn new(count: usize) -> Self {
        Self { numbers: shuffled(0, count), next: 0 }
    }

    #[inline]
    fn take(&mut self) -> u32 {
        let number = self.numbers[self.next];
        self.next += 1;
        if self.next == self.numbers.len() {
            self.next = 0;
        }
        number
    }
}

/// Datagrams to so many sockets.
pub(crate) struct Datagrams {
    datagram: Datagram,
    order: Order,
}

impl Datagrams {
    pub(crate) fn new(sockets: usize) -> Self {
        Self { datagram: Datagram::new(&PAYLOAD), order: Order::new(sockets) }
    }
}

impl Traffic for Datagrams {
    fn burst<S: Stack>(&mut self, stack: &mut S, see: &mut impl FnMut(&[u8])) -> usize {
        for _ in 0..BURST {
            let number = self.order.take();
            stack.wire().arrive(|frame| self.datagram.write(frame, number));
        }
        stack.turn();
        stack.wire().collect(see)
    }

    fn check(&mut self, frame: &[u8]) {
        check_datagram(frame, &PAYLOAD);
    }
}

/// Has a segment of each of these connections arrive.
#[inline]
fn send<S: Stack>(stack: &mut S, segment: &Segment, lines: &mut [Line], numbers: impl IntoIterator<Item = u32>) {
    let now_ms = stack.now().as_ms_wrapping();
    for number in numbers {
        let line = &mut lines[number as usize];
        stack.wire().arrive(|frame| segment.write(frame, number, line, now_ms));
    }
}

/// Takes note of what the stack has sent on connections, and shows it.
#[inline]
fn receive<S: Stack>(stack: &mut S, lines: &mut [Line], see: &mut impl FnMut(&[u8])) -> usize {
    stack.wire().collect(|frame| {
        let read = Read::of(frame);
        if let Some(line) = lines.get_mut(read.number as usize) {
            line.ack = read.end();
        }
        see(frame);
    })
}

/// The segments that open connections.
struct Opening {
    syn: Segment,
    ack: Segment,
}

impl Opening {
    fn new(stamped: bool) -> Self {
        Self { syn: Segment::new(Flags::SYN, stamped, &[]), ack: Segment::new(Flags::ACK, stamped, &[]) }
    }

    /// Opens all of these lines, burst by burst.
    fn open<S: Stack>(&self, stack: &mut S, lines: &mut [Line]) {
        let count = lines.len() as u32;
        for first in (0..count).step_by(BURST) {
            let numbers = first..count.min(first + BURST as u32);
            let now_ms = stack.now().as_ms_wrapping();
            send(stack, &self.syn, lines, numbers.clone());
            let opened = until(stack, numbers.len(), |stack| {
                let mut opened = 0;
                stack.wire().collect(|frame| opened += usize::from(note_opened(frame, lines, now_ms)));
                opened
            });
            assert!(opened == numbers.len() || !S::ANSWERS, "{opened} of {} SYNs are answered", numbers.len());
            send(stack, &self.ack, lines, numbers);
            stack.turn();
            receive(stack, lines, &mut |_| ());
        }
    }
}

/// Takes note of what opens a connection, and says whether that is a SYN-ACK. What a peer alone gets back is its own SYN.
fn note_opened(frame: &[u8], lines: &mut [Line], now_ms: u32) -> bool {
    let read = Read::of(frame);
    let Some(line) = lines.get_mut(read.number as usize) else { return false };
    line.ack = read.end();
    let opened = read.has(Flags::SYN) && read.has(Flags::ACK);
    if opened {
        let (_, segment) = checked(frame);
        assert_eq!(read.ack, line.seq, "of our SYN");
        line.ahead = segment.options.timestamps.map_or(0, |(value, _)| value.wrapping_sub(now_ms));
    }
    opened
}

/// Turns until so much has come.
fn until<S: Stack>(stack: &mut S, wanted: usize, mut collect: impl FnMut(&mut S) -> usize) -> usize {
    let mut done = 0;
    for _ in 0..PATIENCE {
        stack.turn();
        done += collect(stack);
        if done >= wanted {
            break;
        }
    }
    done
}

/// Requests on connections that stay, each acknowledging the answer to the one before.
pub(crate) struct Requests {
    opening: Opening,
    request: Segment,
    lines: Vec<Line>,
    order: Order,
    /// Answers are acknowledged by segments of their own, in the next burst: among so many the next request comes too late.
    apart: bool,
}

impl Requests {
    pub(crate) fn new(connections: usize, stamped: bool) -> Self {
        Self {
            opening: Opening::new(stamped),
            request: Segment::new(Flags::ACK | Flags::PSH, stamped, &PAYLOAD),
            lines: lines(connections),
            order: Order::new(connections),
            apart: connections > LATE,
        }
    }
}

/// Connections among which a request comes later than the retransmission timeout of the answer before.
const LATE: usize = 300_000;

impl Traffic for Requests {
    fn begin<S: Stack>(&mut self, stack: &mut S) {
        self.opening.open(stack, &mut self.lines);
    }

    #[inline]
    fn burst<S: Stack>(&mut self, stack: &mut S, see: &mut impl FnMut(&[u8])) -> usize {
        let mut burst = [0; BURST];
        let burst = &mut burst[..BURST.min(self.lines.len())];
        burst.iter_mut().for_each(|number| *number = self.order.take());
        send(stack, &self.request, &mut self.lines, burst.iter().copied());
        stack.turn();
        let answered = stack.wire().collect(see);
        for &number in &*burst {
            let line = &mut self.lines[number as usize];
            line.ack = line.ack.wrapping_add(PAYLOAD.len() as u32);
        }
        if self.apart {
            send(stack, &self.opening.ack, &mut self.lines, burst.iter().copied());
            stack.turn();
            stack.wire().collect(|_| ());
        }
        answered
    }

    fn check(&mut self, frame: &[u8]) {
        let (read, (_, segment)) = (Read::of(frame), checked(frame));
        assert_eq!(segment.payload, PAYLOAD);
        let line = &self.lines[read.number as usize];
        assert_eq!((read.end(), read.ack), (line.ack, line.seq), "the next, and of our request");
    }
}

/// Connections that are opened, asked once and closed by the peer.
pub(crate) struct Connects {
    opening: Opening,
    request: Segment,
    fin: Segment,
    lines: Vec<Line>,
    next: u32,
}

impl Connects {
    /// Ports of the peer are used again after so many connections.
    const COUNT: usize = 16_384;

    pub(crate) fn new() -> Self {
        Self {
            opening: Opening::new(true),
            request: Segment::new(Flags::ACK | Flags::PSH, true, &PAYLOAD),
            fin: Segment::new(Flags::ACK | Flags::FIN, true, &[]),
            lines: lines(Self::COUNT),
            next: 0,
        }
    }
}

impl Traffic for Connects {
    #[inline]
    fn burst<S: Stack>(&mut self, stack: &mut S, see: &mut impl FnMut(&[u8])) -> usize {
        let numbers = self.next..self.next + BURST as u32;
        self.next = numbers.end % Self::COUNT as u32;
        let lines = &mut self.lines[..];
        let now_ms = stack.now().as_ms_wrapping();
        for number in numbers.clone() {
            lines[number as usize].ack = 0;
        }
        send(stack, &self.opening.syn, lines, numbers.clone());
        stack.turn();
        let opened = stack.wire().collect(|frame| {
            note_opened(frame, lines, now_ms);
        });
        let mut done = [opened; 3];
        for (done, segment) in done[1..].iter_mut().zip([&self.request, &self.fin]) {
            send(stack, segment, lines, numbers.clone());
            stack.turn();
            *done = receive(stack, lines, see);
        }
        send(stack, &self.opening.ack, lines, numbers);
        stack.turn();
        let after = stack.wire().collect(|_| ());
        if S::ANSWERS {
            assert_eq!((done, after), ([BURST; 3], 0), "a SYN-ACK, an answer and a FIN each");
        }
        opened
    }

    fn check(&mut self, frame: &[u8]) {
        let (_, segment) = checked(frame);
        assert!(segment.payload == PAYLOAD || segment.flags.contains(Flags::FIN));
    }
}

/// Full segments from the peer, on connections by turns.
pub(crate) struct Upload {
    opening: Opening,
    full: Segment,
    lines: Vec<Line>,
    next: u32,
}

impl Upload {
    pub(crate) fn new(streams: usize) -> Self {
        let full = Segment::new(Flags::ACK, true, &[PAYLOAD[0]; FULL]);
        Self { opening: Opening::new(true), full, lines: lines(streams), next: 0 }
    }
}

impl Traffic for Upload {
    fn begin<S: Stack>(&mut self, stack: &mut S) {
        self.opening.open(stack, &mut self.lines);
    }

    #[inline]
    fn burst<S: Stack>(&mut self, stack: &mut S, see: &mut impl FnMut(&[u8])) -> usize {
        let first = self.next;
        let streams = self.lines.len() as u32;
        self.next = (first + BURST as u32) % streams;
        send(stack, &self.full, &mut self.lines, (first..first + BURST as u32).map(|number| number % streams));
        stack.turn();
        stack.wire().collect(see);
        BURST
    }

    fn check(&mut self, frame: &[u8]) {
        let (read, _) = (Read::of(frame), checked(frame));
        let behind = self.lines[read.number as usize].seq.wrapping_sub(read.ack) as usize;
        assert!(read.len == 0 && behind <= BURST * FULL, "what was sent is acknowledged: {read:?}");
    }
}

/// Full segments to the peer, which acknowledges every other one.
pub(crate) struct Download {
    opening: Opening,
    lines: Vec<Line>,
    /// Connections whose segments are to be acknowledged.
    due: Vec<u32>,
    /// Where the next segment of each has to begin, as far as has been checked.
    expected: Vec<Option<u32>>,
}

impl Download {
    pub(crate) fn new(streams: usize) -> Self {
        Self { opening: Opening::new(true), lines: lines(streams), due: Vec::new(), expected: vec![None; streams] }
    }
}

impl Traffic for Download {
    fn begin<S: Stack>(&mut self, stack: &mut S) {
        self.opening.open(stack, &mut self.lines);
        self.due.extend(0..self.lines.len() as u32);
    }

    #[inline]
    fn burst<S: Stack>(&mut self, stack: &mut S, see: &mut impl FnMut(&[u8])) -> usize {
        let (lines, due) = (&mut self.lines[..], &mut self.due);
        send(stack, &self.opening.ack, lines, due.drain(..));
        stack.turn();
        let mut full = 0;
        stack.wire().collect(|frame| {
            see(frame);
            let read = Read::of(frame);
            lines[read.number as usize].ack = read.end();
            full += usize::from(read.len > 0);
            if full % 2 == 0 {
                due.push(read.number);
            }
        });
        full
    }

    fn check(&mut self, frame: &[u8]) {
        let (read, (_, segment)) = (Read::of(frame), checked(frame));
        assert!(segment.payload.iter().all(|&byte| byte == PAYLOAD[0]));
        let before = self.expected[read.number as usize].replace(read.end());
        assert!(before.is_none_or(|end| end == read.seq), "in order: {read:?}");
    }
}

/// So many lines of the peer, each with a first number of its own.
fn lines(count: usize) -> Vec<Line> {
    (0..count as u32).map(|number| Line { seq: number.wrapping_mul(2_654_435_761), ..Line::default() }).collect()
}
