//! What no stack can do without, and nothing else: the limit that the others are beside.
//!
//! Both sums of a packet are verified and built, a flow is looked up by a keyed hash among as many as there are, and the frame that came carries the answer. Of a
//! connection three numbers are kept: what has to come next, what is sent next, and nothing else. So there is no TCP here: what is lost stays lost, nothing is timed, measured, kept,
//! bounded, counted or told, and whoever sends anything but the very next segment hears nothing.

use ringway::demux::directory::Keys;
use ringway::demux::{Directory, FlowKey, KeyedHash, Link, SlotId};
use ringway::device::{Device as _, Frame as _};
use ringway::engine::Clock as _;
use ringway::tcp::State;
use ringway::tcp::seq::SeqNum;
use ringway::time::Instant;
use ringway::wire::checksum::PseudoHeader;
use ringway::wire::ethernet::{self, Ethernet};
use ringway::wire::ipv4::{self, Ipv4, PROTOCOL_TCP, PROTOCOL_UDP};
use ringway::wire::tcp::{self, Flags, Header, Options};
use ringway::wire::{reply, udp};

use crate::common::{IP_AT, IP_PAYLOAD_AT, OURS, SERVICE};
use crate::stacks::{Stack, Steps};
use crate::traffic::BURST;
use crate::wire::{Buffer, Wire};

/// Answers datagrams and requests.
pub(crate) struct Bare {
    wire: Wire,
    clock: Steps,
    ports: u16,
    hash: KeyedHash,
    directory: Directory,
    keys: Keys,
    lines: Vec<Line>,
    free: Vec<u32>,
    /// A burst, and what was read of it.
    burst: Vec<Buffer>,
    read: Vec<Option<Read>>,
}

/// What is kept of a connection.
#[derive(Clone, Copy, Default)]
struct Line {
    expected: SeqNum,
    next: SeqNum,
    /// Both have sent their FIN.
    closing: bool,
}

/// What was read of a frame.
enum Read {
    /// It is its own answer now.
    Answered,
    Asked(Asked),
}

/// What was read of a segment.
struct Asked {
    hash: u64,
    key: FlowKey,
    ethernet: Ethernet,
    seq: SeqNum,
    ack: SeqNum,
    flags: Flags,
    stamp: Option<u32>,
    payload_len: usize,
}

impl Bare {
    /// With so many ports of UDP from [`SERVICE`] on, and room for so many connections.
    pub(crate) fn new(ports: usize, connections: usize) -> Self {
        let slots = connections + connections / 8 + 64;
        let directory = Directory::new(0, slots);
        Self {
            wire: Wire::new(),
            clock: Steps::new(),
            ports: ports as u16,
            hash: KeyedHash::new(&[9; 16]),
            keys: directory.keys(),
            directory,
            lines: vec![Line::default(); slots],
            free: (0..slots as u32).rev().collect(),
            burst: Vec::with_capacity(BURST),
            read: Vec::with_capacity(BURST),
        }
    }

    /// Answers a datagram in its frame; of a segment, says what there is to answer. `None` for what nobody here can mean.
    #[inline]
    fn read(&self, frame: &mut Buffer) -> Option<Read> {
        let bytes = frame.bytes();
        let ethernet = ethernet::parse(bytes).ok()?;
        let ip = ipv4::parse(&bytes[IP_AT..]).ok()?;
        let packet = ip.payload(&bytes[IP_AT..]);
        let pseudo = PseudoHeader { source: ip.source.into(), target: ip.target.into(), protocol: ip.protocol };
        match ip.protocol {
            PROTOCOL_UDP => {
                let datagram = udp::parse(packet, &pseudo).ok()?;
                let known = datagram.target_port.wrapping_sub(SERVICE) < self.ports;
                (known && reply::swap_udp_ipv4(frame.bytes_mut(), IP_AT).is_ok()).then_some(Read::Answered)
            }
            PROTOCOL_TCP => {
                let (ports, segment) = tcp::parse(packet, &pseudo).ok()?;
                let key = FlowKey {
                    local: pseudo.target,
                    remote: pseudo.source,
                    local_port: ports.target,
                    remote_port: ports.source,
                    link: Link { interface: 0 },
                };
                Some(Read::Asked(Asked {
                    hash: self.hash.of(&key),
                    key,
                    ethernet,
                    seq: segment.seq,
                    ack: segment.ack,
                    flags: segment.flags,
                    stamp: segment.options.timestamps.map(|(value, _)| value),
                    payload_len: segment.payload.len(),
                }))
            }
            _ => None,
        }
    }

    /// Writes the answer into the frame of a segment, and says whether there is one.
    #[inline]
    fn answer(&mut self, frame: &mut Buffer, asked: &Asked) -> bool {
        let stamps = asked.stamp.map(|value| (self.clock.now().as_ms_wrapping(), value));
        let plain = Options { timestamps: stamps, ..Options::default() };
        let found = self.directory.find(asked.hash, |slot| self.keys.is_key(slot, &asked.key));
        if asked.flags.contains(Flags::SYN) {
            let Some(slot) = found.or_else(|| self.open(asked)) else { return false };
            let first = SeqNum(asked.hash as u32);
            self.lines[slot as usize] = Line { expected: asked.seq + 1, next: first + 1, closing: false };
            let options = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..plain };
            write(frame, asked, first, asked.seq + 1, Flags::SYN | Flags::ACK, options, 0);
            return true;
        }
        let Some(slot) = found else { return false };
        let line = &mut self.lines[slot as usize];
        if asked.seq != line.expected || asked.ack != line.next {
            return false;
        }
        let fin = asked.flags.contains(Flags::FIN);
        let taken = asked.payload_len as u32 + u32::from(fin);
        if taken == 0 {
            if line.closing {
                self.directory.remove(asked.hash, SlotId { slot, generation: 0 });
                self.free.push(slot);
            }
            return false;
        }
        line.closing = fin;
        line.expected += taken;
        let (seq, ack) = (line.next, line.expected);
        line.next += taken;
        let flags = Flags::ACK | if fin { Flags::FIN } else { Flags::PSH };
        write(frame, asked, seq, ack, flags, plain, asked.payload_len);
        true
    }
}

impl Bare {
    /// A place for the connection of a SYN, while there is one.
    fn open(&mut self, asked: &Asked) -> Option<u32> {
        let slot = self.free.pop()?;
        let id = SlotId { slot, generation: 0 };
        self.directory.insert(asked.hash, id, &asked.key, State::Established, Instant::ZERO).then_some(slot)
    }
}

/// Makes a frame the answer to what it holds, `len` bytes of whose payload go back.
#[inline]
fn write(frame: &mut Buffer, asked: &Asked, seq: SeqNum, ack: SeqNum, flags: Flags, options: Options, len: usize) {
    let header = Header {
        source_port: asked.key.local_port,
        target_port: asked.key.remote_port,
        seq,
        ack,
        flags,
        window: 8192,
        urgent: 0,
        options,
    };
    let Some(remote) = asked.key.remote.v4() else { return };
    let payload_len = tcp::header_len(&options) + len;
    frame.set_len(IP_PAYLOAD_AT + payload_len);
    let bytes = frame.bytes_mut();
    ethernet::emit(bytes, &Ethernet { target: asked.ethernet.source, source: asked.ethernet.target, ..asked.ethernet });
    ipv4::emit(&mut bytes[IP_AT..], &Ipv4::outgoing(OURS, remote, PROTOCOL_TCP, payload_len));
    let pseudo = PseudoHeader { source: asked.key.local, target: asked.key.remote, protocol: PROTOCOL_TCP };
    tcp::emit(&mut bytes[IP_PAYLOAD_AT..], &header, len, &pseudo);
}

impl Stack for Bare {
    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// A burst in stages, as the engine has them: all are read before the first flow is looked for, so that memory is waited for once.
    fn turn(&mut self) {
        let (mut burst, mut read) = (std::mem::take(&mut self.burst), std::mem::take(&mut self.read));
        while self.wire.receive(&mut burst, BURST) > 0 {
            for frame in &mut burst {
                let one = self.read(frame);
                if let Some(Read::Asked(asked)) = &one {
                    self.directory.fetch(asked.hash);
                }
                read.push(one);
            }
            for one in read.iter().flatten() {
                if let Read::Asked(asked) = one
                    && let Some(slot) = self.directory.guess(asked.hash)
                {
                    self.keys.fetch(slot);
                }
            }
            for (mut frame, one) in burst.drain(..).zip(read.drain(..)) {
                let answered = match one {
                    Some(Read::Answered) => true,
                    Some(Read::Asked(asked)) => self.answer(&mut frame, &asked),
                    None => false,
                };
                match answered {
                    true => self.wire.transmit(frame).unwrap_or_else(|frame| self.wire.recycle(frame)),
                    false => self.wire.recycle(frame),
                }
            }
        }
        self.wire.flush();
        (self.burst, self.read) = (burst, read);
        self.clock.step();
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }
}
