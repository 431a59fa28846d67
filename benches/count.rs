//! The program whose instructions `scripts/bench.sh --count` counts: one path, function or timer, repeated.
//!
//!     count udp_echo|tcp_request_reply|tcp_echo_1448|syn_to_syn_received|syn_cookie REPETITIONS
//!     count hash_ipv4|hash_ipv6|directory_hit|checksum_1460|parse_udp|parse_tcp|emit_tcp|histogram_record REPETITIONS
//!     count timer_arm|timer_cancel|timer_expire REPETITIONS OTHERS
//!     count timer_life REPETITIONS
//!
//! The first are paths of the engine. It runs over a device in memory that hands it prepared packets and takes back what it sends; nothing else is in
//! the loop but the writing of the next request. The second are functions that every packet meets, alone; the others the timer wheel, alone, with
//! OTHERS timers armed. Two runs with different repetitions give the cost of one.

mod common;
#[path = "count/functions.rs"]
mod functions;
#[path = "common/memory.rs"]
#[expect(dead_code, reason = "sizes and waits are of other programs")]
mod memory;
#[path = "common/order.rs"]
mod order;
#[path = "count/timers.rs"]
mod timers;

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use common::{Echo, IP_PAYLOAD_AT, OUR_MAC, PAYLOAD, SERVICE, headers, interface};
use ringway::device::{Device, DeviceStats, Frame, FrameCensus};
use ringway::engine::{Clock, Config, Engine, Port, Secrets};
use ringway::tcp::seq::SeqNum;
use ringway::time::Instant;
use ringway::wire::ethernet::Mac;
use ringway::wire::ipv4;
use ringway::wire::tcp::{self, Flags, Header, Options, SackBlock};
use ringway::wire::udp;

const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// What segments of nearly every connection carry; the values say nothing.
const STAMPED: Options = Options {
    timestamps: Some((1, 0)),
    mss: None,
    window_scale: None,
    sack_permitted: false,
    user_timeout: None,
    sack: [SackBlock { left: SeqNum(0), right: SeqNum(0) }; 4],
    sack_count: 0,
};
/// Where the payload of a datagram begins.
const UDP_AT: usize = IP_PAYLOAD_AT + udp::HEADER_LEN;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [path, numbers @ ..] = &arguments[..] else { return usage() };
    let Ok(numbers) = numbers.iter().map(|number| number.parse()).collect::<Result<Vec<u32>, _>>() else { return usage() };
    let (repetitions, others) = match numbers[..] {
        [repetitions] => (repetitions, 0),
        [repetitions, others] => (repetitions, others),
        _ => return usage(),
    };
    let done = match path.as_str() {
        "udp_echo" => udp_echo(repetitions),
        "tcp_request_reply" => tcp_request_reply(repetitions, Options::default(), &PAYLOAD),
        "tcp_echo_1448" => tcp_request_reply(repetitions, STAMPED, &[0x5a; 1448]),
        "syn_to_syn_received" => answered_syns(World::new(repetitions), repetitions),
        "syn_cookie" => answered_syns(World::with_backlog(repetitions, 0), repetitions),
        "hash_ipv4" => functions::hash_ipv4(repetitions),
        "hash_ipv6" => functions::hash_ipv6(repetitions),
        "directory_hit" => functions::directory_hit(repetitions),
        "checksum_1460" => functions::checksum_1460(repetitions),
        "parse_udp" => functions::parse_udp(repetitions),
        "parse_tcp" => functions::parse_tcp(repetitions),
        "emit_tcp" => functions::emit_tcp(repetitions),
        "histogram_record" => functions::histogram_record(repetitions),
        "timer_arm" => timers::arm(repetitions, others),
        "timer_cancel" => timers::cancel(repetitions, others),
        "timer_expire" => timers::expire(repetitions, others),
        "timer_life" => timers::live(repetitions),
        _ => return usage(),
    };
    if done == repetitions {
        return ExitCode::SUCCESS;
    }
    eprintln!("{done} answers to {repetitions} requests");
    ExitCode::FAILURE
}

fn usage() -> ExitCode {
    eprintln!("usage: count udp_echo|tcp_request_reply|tcp_echo_1448|syn_to_syn_received|syn_cookie REPETITIONS");
    eprintln!(
        "       count hash_ipv4|hash_ipv6|directory_hit|checksum_1460|parse_udp|parse_tcp|emit_tcp|histogram_record REPETITIONS"
    );
    eprintln!("       count timer_arm|timer_cancel|timer_expire REPETITIONS OTHERS");
    eprintln!("       count timer_life REPETITIONS");
    ExitCode::from(2)
}

fn udp_echo(repetitions: u32) -> u32 {
    let mut world = World::new(repetitions);
    let mut datagram = [0; UDP_AT + PAYLOAD.len()];
    datagram[UDP_AT..].copy_from_slice(&PAYLOAD);
    let pseudo = headers(&mut datagram, PEER, ipv4::PROTOCOL_UDP);
    udp::emit(&mut datagram[IP_PAYLOAD_AT..], 5000, SERVICE, &pseudo);
    (0..repetitions).filter(|_| world.exchange(&datagram)[UDP_AT..] == PAYLOAD).count() as u32
}

fn tcp_request_reply(repetitions: u32, options: Options, payload: &[u8]) -> u32 {
    let mut world = World::new(repetitions);
    let mut seq = SeqNum(u32::MAX - 1000);
    let syn = Options { mss: Some(1460), ..options };
    let reply = world.segment(40_000, seq, SeqNum(0), Flags::SYN, syn, &[]);
    seq += 1;
    let mut ack = reply.seq + 1;
    let mut answered = 0;
    for _ in 0..repetitions {
        let reply = world.segment(40_000, seq, ack, Flags::ACK | Flags::PSH, options, payload);
        answered += u32::from(reply.len == payload.len());
        seq += payload.len() as u32;
        ack += reply.len as u32;
    }
    answered
}

fn answered_syns(mut world: World, repetitions: u32) -> u32 {
    let mut answered = 0;
    for at in 0..repetitions {
        let reply =
            world.segment((at + 1024) as u16, SeqNum(at.wrapping_mul(77_777)), SeqNum(0), Flags::SYN, Options::default(), &[]);
        answered += u32::from(reply.flags == (Flags::SYN | Flags::ACK).0);
    }
    answered
}

/// An engine with an echo service, and the device that feeds it.
struct World {
    engine: Engine<Replay, Echo>,
    clock: Steps,
    /// Where segments are written.
    request: Vec<u8>,
}

/// What matters of a segment that came back.
struct Reply {
    seq: SeqNum,
    flags: u8,
    len: usize,
}

impl World {
    fn new(connections: u32) -> Self {
        Self::with_backlog(connections, connections as usize + 16)
    }

    fn with_backlog(connections: u32, backlog: usize) -> Self {
        let mut config = Config::new(Secrets::fixed());
        config.tcp.connections = connections as usize + 16;
        config.tcp.backlog = backlog;
        // The handshake must not be repeated while the next are counted.
        config.tcp.rto_initial = Duration::from_secs(60);
        let clock = Steps(Cell::new(0));
        let mut engine = Engine::new(config, vec![interface()], vec![Port::new(Replay::new(), 0, 0)], Echo).expect("an engine");
        engine.start(&clock);
        Self { engine, clock, request: vec![0; 2048] }
    }

    /// Has the engine take a frame, and returns the one it sends.
    fn exchange(&mut self, frame: &[u8]) -> &[u8] {
        let device = self.engine.device_mut(0);
        device.next[..frame.len()].copy_from_slice(frame);
        device.next_len = frame.len();
        device.sent.set_len(0);
        self.engine.turn(&self.clock);
        self.engine.device_mut(0).sent.bytes()
    }

    fn segment(&mut self, port: u16, seq: SeqNum, ack: SeqNum, flags: Flags, options: Options, payload: &[u8]) -> Reply {
        let header = Header { source_port: port, target_port: SERVICE, seq, ack, flags, window: 65_535, urgent: 0, options };
        let at = IP_PAYLOAD_AT + tcp::header_len(&header.options);
        let mut bytes = std::mem::take(&mut self.request);
        let frame = &mut bytes[..at + payload.len()];
        frame[at..].copy_from_slice(payload);
        let pseudo = headers(frame, PEER, ipv4::PROTOCOL_TCP);
        tcp::emit(&mut frame[IP_PAYLOAD_AT..], &header, payload.len(), &pseudo);
        self.exchange(frame);
        self.request = bytes;
        let back = self.engine.device_mut(0).sent.bytes();
        let number = back.get(IP_PAYLOAD_AT + 4..IP_PAYLOAD_AT + 8).and_then(|bytes| bytes.first_chunk::<4>());
        let offset = back.get(IP_PAYLOAD_AT + 12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        Reply {
            seq: SeqNum(number.map_or(0, |bytes| u32::from_be_bytes(*bytes))),
            flags: back.get(IP_PAYLOAD_AT + 13).copied().unwrap_or(0),
            len: back.len().saturating_sub(IP_PAYLOAD_AT + offset),
        }
    }
}

/// A clock that goes on by a microsecond each time it is read, so that runs repeat.
struct Steps(Cell<u64>);

impl Clock for Steps {
    fn now(&self) -> Instant {
        self.0.set(self.0.get() + 1000);
        Instant::from_ns(self.0.get())
    }
}

/// A device with one packet to receive, which keeps what was sent last.
struct Replay {
    next: Buffer,
    next_len: usize,
    free: Vec<Buffer>,
    sent: Buffer,
    queued: Option<Buffer>,
}

struct Buffer {
    bytes: Box<[u8; 2048]>,
    len: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: Box::new([0; 2048]), len: 0 }
    }
}

impl std::ops::Index<std::ops::RangeTo<usize>> for Buffer {
    type Output = [u8];

    fn index(&self, range: std::ops::RangeTo<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

impl std::ops::IndexMut<std::ops::RangeTo<usize>> for Buffer {
    fn index_mut(&mut self, range: std::ops::RangeTo<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }
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

impl Replay {
    fn new() -> Self {
        let free = (0..4).map(|_| Buffer::new()).collect();
        Self { next: Buffer::new(), next_len: 0, free, sent: Buffer::new(), queued: None }
    }
}

impl Device for Replay {
    type Frame = Buffer;

    fn receive(&mut self, burst: &mut Vec<Buffer>, _: usize) -> usize {
        if self.next_len == 0 {
            return 0;
        }
        let Some(mut frame) = self.free.pop() else { return 0 };
        frame.bytes[..self.next_len].copy_from_slice(&self.next.bytes[..self.next_len]);
        frame.len = std::mem::take(&mut self.next_len);
        burst.push(frame);
        1
    }

    fn readable(&mut self) -> bool {
        self.next_len > 0
    }

    fn allocate(&mut self) -> Option<Buffer> {
        self.free.pop()
    }

    fn room(&mut self) -> usize {
        usize::from(self.queued.is_none())
    }

    fn transmit(&mut self, frame: Buffer) -> Result<(), Buffer> {
        match self.queued {
            Some(_) => Err(frame),
            None => {
                self.queued = Some(frame);
                Ok(())
            }
        }
    }

    fn recycle(&mut self, frame: Buffer) {
        self.free.push(frame);
    }

    fn flush(&mut self) {
        if let Some(frame) = self.queued.take() {
            self.free.push(std::mem::replace(&mut self.sent, frame));
        }
    }

    fn pending(&self) -> bool {
        self.queued.is_some()
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

    fn frames(&self) -> FrameCensus {
        FrameCensus { total: 5, free: self.free.len() + 1, receiving: 0, sending: usize::from(self.queued.is_some()) }
    }
}
