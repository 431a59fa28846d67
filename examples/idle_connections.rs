//! What an idle connection costs: opens many over a device in memory, lets them rest, and prints resident memory after minus before.
//!
//!     idle_connections [CONNECTIONS] [PER_SECOND]
//!
//! The peer is a generator of segments without a state: it answers each segment of the engine by what stands in that. Half of the
//! connections are over IPv4, half over IPv6; timestamps, SACK, window scaling, CUBIC and keep-alives are on. Each exchanges 64 bytes
//! both ways with an echo service, which keeps nothing of it, and rests for two retransmission timeouts. Time is the program's own: the
//! connections come at so many a second of it (default 10,000), and a round trip lasts from one to the next. It fails when a connection was lost, or
//! is not at rest in the end.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use ringway::device::{Device, DeviceStats, Frame, FrameCensus};
use ringway::engine::{Clock, Config, Engine, Port, Secrets};
use ringway::link::groups::Groups;
use ringway::link::interface::{Claim, Interface};
use ringway::link::routes::Routes;
use ringway::service::{Connection, Context, Listen, Service};
use ringway::tcp::seq::SeqNum;
use ringway::time::Instant;
use ringway::wire::checksum::PseudoHeader;
use ringway::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Mac};
use ringway::wire::ipv4::{self, Ipv4, PROTOCOL_TCP};
use ringway::wire::ipv6::{self, Ipv6};
use ringway::wire::tcp::{self, Flags, Header, Options, Segment};
use ringway::wire::vlan::Vlan;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVICE: u16 = 7;
const PAYLOAD: [u8; 64] = [0x5a; 64];
/// Source ports of one address of the peer.
const PORTS: u32 = 60_000;
const FRAMES: usize = 256;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u32>> = words.iter().map(|word| word.parse().ok().filter(|number| *number > 0)).collect();
    let (connections, per_second) = match numbers.as_deref() {
        Some([]) => (1 << 20, 10_000),
        Some([connections]) => (*connections, 10_000),
        Some([connections, per_second]) => (*connections, *per_second),
        _ => {
            eprintln!("usage: idle_connections [CONNECTIONS] [PER_SECOND]");
            return ExitCode::from(2);
        }
    };
    match measure(connections, per_second) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("idle_connections: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(connections: u32, per_second: u32) -> Result<(), String> {
    let clock = Steps(Cell::new(Duration::from_secs(1000)));
    let mut engine = engine(connections)?;
    engine.start(&clock);
    engine.turn(&clock);
    let before = resident()?;
    let between = Duration::from_secs(1) / per_second;
    for number in 0..connections {
        engine.device_mut(0).connect(number, clock.now());
        engine.turn(&clock);
        clock.go_on(between);
    }
    // The last ones have still to be answered.
    for _ in 0..4 {
        engine.turn(&clock);
        clock.go_on(between);
    }
    let peak = resident()?;
    // Two retransmission timeouts, which are no less than 200 ms here, and the timers that fire meanwhile.
    for _ in 0..410 {
        clock.go_on(Duration::from_millis(1));
        while engine.turn(&clock) {}
    }
    let after = resident()?;
    let report = engine.report();
    let (open, resting) = (report.tcp.open, report.tcp.resting);
    let answered = engine.device_mut(0).answered;
    println!("connections {open}, at rest {resting}, exchanges answered {answered}");
    let taken = after.saturating_sub(before);
    println!("resident: before {before} bytes, at the last connect {peak}, after {after}");
    println!("{:.1} bytes a connection", taken as f64 / f64::from(connections));
    let all = connections as usize;
    if (open, resting, answered) != (all, all, u64::from(connections)) {
        return Err("not every connection was opened, used and laid down".into());
    }
    Ok(())
}

/// VmRSS, in bytes.
fn resident() -> Result<usize, String> {
    let status =
        std::fs::read_to_string("/proc/self/status").map_err(|error| format!("cannot read /proc/self/status: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("there is no VmRSS")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse().map_err(|error| format!("VmRSS: {error}"))?;
    Ok(kib * 1024)
}

fn engine(connections: u32) -> Result<Engine<Generator, Echo>, String> {
    let cidr = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    let interface = Interface {
        name: "memory".into(),
        mac: OUR_MAC,
        mtu: 1500,
        vlan: Vlan::NONE,
        claim: Claim::Addresses(vec![cidr("10.0.0.2/8")?, cidr("fd00::2/64")?]),
        routes: Routes::default(),
        withheld: Vec::new(),
        groups: Groups::new(),
    };
    let mut config = Config::new(Secrets::fixed());
    config.tcp.connections = connections as usize;
    config.tcp.keepalive = true;
    let ports = vec![Port::new(Generator::new(), 0, 0)];
    Engine::new(config, vec![interface], ports, Echo).map_err(|error| format!("no engine: {error:?}"))
}

struct Echo;

impl Service for Echo {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(SERVICE.into(), Listen::default()).expect("a free port");
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        cx.send(connection, bytes)
    }
}

/// A clock that goes on when it is told to.
struct Steps(Cell<Duration>);

impl Steps {
    fn go_on(&self, span: Duration) {
        self.0.set(self.0.get() + span);
    }
}

impl Clock for Steps {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.get()
    }
}

/// The device, and the peer behind it.
struct Generator {
    free: Vec<Buffer>,
    arriving: VecDeque<Buffer>,
    sent: Vec<Buffer>,
    /// Echoes that have come back.
    answered: u64,
}

struct Buffer {
    bytes: Box<[u8; 2048]>,
    len: usize,
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

impl Generator {
    fn new() -> Self {
        let free = (0..FRAMES).map(|_| Buffer { bytes: Box::new([0; 2048]), len: 0 }).collect();
        Self { free, arriving: VecDeque::with_capacity(FRAMES), sent: Vec::with_capacity(FRAMES), answered: 0 }
    }

    /// A SYN of the connection of this number.
    fn connect(&mut self, number: u32, now: Instant) {
        let (address, port) = (number / 2 / PORTS, (number / 2 % PORTS + 1024) as u16);
        let (ours, peer): (IpAddr, IpAddr) = if number.is_multiple_of(2) {
            (OURS.into(), Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 1).to_bits() + address).into())
        } else {
            (OURS_V6.into(), Ipv6Addr::from_bits(OURS_V6.to_bits() + (1 << 16) + u128::from(address)).into())
        };
        let options = Options {
            mss: Some(if ours.is_ipv4() { 1460 } else { 1440 }),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((tick(now), 0)),
            ..Options::default()
        };
        let header = Header {
            source_port: port,
            target_port: SERVICE,
            seq: SeqNum(number.wrapping_mul(2_654_435_761)),
            ack: SeqNum(0),
            flags: Flags::SYN,
            window: 64_240,
            urgent: 0,
            options,
        };
        self.send(&header, &[], PseudoHeader { source: peer.into(), target: ours.into(), protocol: PROTOCOL_TCP });
    }

    /// Answers a segment of the engine by what stands in it.
    fn answer(&mut self, frame: &Buffer) {
        let Some((pseudo, bytes)) = parts(frame.bytes()) else { return };
        let Ok((ports, segment)) = tcp::parse(bytes, &pseudo) else { return };
        let Segment { seq, ack, flags, options, payload, .. } = segment;
        let opened = flags.contains(Flags::SYN);
        if payload == PAYLOAD {
            self.answered += 1;
        }
        if !opened && payload.is_empty() {
            return;
        }
        let options = Options { timestamps: options.timestamps.map(|(value, echo)| (echo.max(1), value)), ..Options::default() };
        let header = Header {
            source_port: ports.target,
            target_port: ports.source,
            seq: ack,
            ack: seq + payload.len() as u32 + u32::from(opened),
            flags: if opened { Flags::ACK | Flags::PSH } else { Flags::ACK },
            window: 501,
            urgent: 0,
            options,
        };
        let back = PseudoHeader { source: pseudo.target, target: pseudo.source, protocol: PROTOCOL_TCP };
        self.send(&header, if opened { &PAYLOAD } else { &[] }, back);
    }

    fn send(&mut self, header: &Header, payload: &[u8], pseudo: PseudoHeader) {
        let Some(mut frame) = self.free.pop() else { return };
        let (PseudoHeader { source, target, .. }, tcp_len) = (pseudo, tcp::header_len(&header.options) + payload.len());
        let (v4, ip_len) =
            (source.v4().zip(target.v4()), if source.v4().is_some() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN });
        let ethertype = if v4.is_some() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let tcp_at = ethernet::HEADER_LEN + ip_len;
        frame.set_len(tcp_at + tcp_len);
        let bytes = frame.bytes_mut();
        ethernet::emit(bytes, &Ethernet { target: OUR_MAC, source: PEER_MAC, vlan: Vlan::NONE, ethertype });
        let ip = &mut bytes[ethernet::HEADER_LEN..];
        match (v4, source.ip(), target.ip()) {
            (Some((source, target)), ..) => {
                ipv4::emit(ip, &Ipv4::outgoing(source, target, PROTOCOL_TCP, tcp_len));
            }
            (None, IpAddr::V6(source), IpAddr::V6(target)) => {
                ipv6::emit(ip, &Ipv6::outgoing(source, target, PROTOCOL_TCP, tcp_len));
            }
            _ => {}
        }
        let end = bytes.len() - payload.len();
        bytes[end..].copy_from_slice(payload);
        tcp::emit(&mut bytes[tcp_at..], header, payload.len(), &pseudo);
        self.arriving.push_back(frame);
    }
}

/// Addresses and TCP segment of a frame.
fn parts(frame: &[u8]) -> Option<(PseudoHeader, &[u8])> {
    let ip = frame.get(ethernet::HEADER_LEN..)?;
    let (source, target, len) = match ip.first()? >> 4 {
        4 => {
            let address = |at: usize| ip.get(at..at + 4)?.first_chunk::<4>().map(|octets| IpAddr::from(*octets));
            (address(12)?, address(16)?, ipv4::HEADER_LEN)
        }
        _ => {
            let address = |at: usize| ip.get(at..at + 16)?.first_chunk::<16>().map(|octets| IpAddr::from(*octets));
            (address(8)?, address(24)?, ipv6::HEADER_LEN)
        }
    };
    let pseudo = PseudoHeader { source: source.into(), target: target.into(), protocol: PROTOCOL_TCP };
    Some((pseudo, ip.get(len..)?))
}

/// The peer's clock, in milliseconds. It is told to the engine, which sends it back: so the generator needs to keep none.
fn tick(now: Instant) -> u32 {
    now.as_ms_wrapping()
}

impl Device for Generator {
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
        self.free.pop()
    }

    fn room(&mut self) -> usize {
        self.free.len()
    }

    fn transmit(&mut self, frame: Buffer) -> Result<(), Buffer> {
        self.sent.push(frame);
        Ok(())
    }

    fn recycle(&mut self, frame: Buffer) {
        self.free.push(frame);
    }

    fn flush(&mut self) {
        for frame in std::mem::take(&mut self.sent) {
            self.answer(&frame);
            self.free.push(frame);
        }
    }

    fn pending(&self) -> bool {
        !self.sent.is_empty()
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
        FrameCensus { total: FRAMES, free: self.free.len(), ..FrameCensus::default() }
    }
}
