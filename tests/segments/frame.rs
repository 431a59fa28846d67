//! The peer's frames: built from what a script says, and read back into its terms.
//!
//! Written by hand but for the parsers, which are Ringway's; so a segment may be wrong on purpose.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ringway::tcp::seq::SeqNum;
use ringway::wire::checksum::PseudoHeader;
use ringway::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet, Mac};
use ringway::wire::ipv4::{self, Ipv4, PROTOCOL_ICMP, PROTOCOL_TCP};
use ringway::wire::tcp::{self, Flags, Options};
use ringway::wire::vlan::Vlan;

use crate::script::Icmp;
use crate::segment::{Due, Echo, Fault, Kind, Seg, Stamp, names, stream};

/// The peer, whom the script plays. No kernel owns its address.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The stack under test.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The peer's initial sequence number: the first bytes of its stream cross the wrap.
const PEER_ISN: u32 = u32::MAX - 20;
/// The peer's window unless a script says otherwise.
const PEER_WINDOW: u16 = 60_000;

/// The two ends, and what has been learned of the stack's numbers.
pub(crate) struct Wire {
    pub(crate) peer_mac: Mac,
    pub(crate) host_mac: Mac,
    pub(crate) peer_port: u16,
    pub(crate) host_port: u16,
    learned: HashMap<u16, Learned>,
}

/// What the stack has shown on one connection.
#[derive(Clone, Debug, Default)]
struct Learned {
    isn: Option<u32>,
    /// TSval of each segment that had one.
    stamps: Vec<u32>,
    /// The last of them, unless the clock may have wrapped since.
    clock: Option<u32>,
}

/// A segment of the stack, in the script's terms.
pub(crate) struct Sent {
    /// Flags, numbers and options as far as they stand in it.
    pub(crate) seg: Seg,
    window: u16,
    payload: Vec<u8>,
    ecn: u8,
    code_point: u8,
    ttl: u8,
}

impl Wire {
    pub(crate) fn new(peer_mac: Mac, host_mac: Mac, peer_port: u16, host_port: u16) -> Self {
        Self { peer_mac, host_mac, peer_port, host_port, learned: HashMap::new() }
    }

    /// The next SYN teaches the ISN anew.
    pub(crate) fn forget(&mut self) {
        self.learned.clear();
    }

    /// So much time passes that TSval may be any.
    pub(crate) fn forget_clock(&mut self) {
        self.learned.values_mut().for_each(|known| known.clock = None);
    }

    /// The frame of an injected segment.
    pub(crate) fn build(&self, seg: &Seg) -> Vec<u8> {
        let known = self.learned.get(&seg.port).cloned().unwrap_or_default();
        let (peer_isn, isn) = (PEER_ISN, known.isn.unwrap_or(0));
        let options = options(seg, isn, &known.stamps);
        let source_port = if matches!(seg.fault, Some(Fault::PortZero)) { 0 } else { self.peer_port + seg.port };
        let offset = match seg.fault {
            Some(Fault::Offset(words)) => words,
            _ => (20 + options.len()) as u8 / 4,
        };
        let mut flags = seg.flags;
        if seg.len > 0 {
            flags |= Flags::PSH.0;
        }
        let window = seg.window.as_ref().map_or(PEER_WINDOW, |window| *window.start());
        let mut bytes = Vec::new();
        bytes.extend(source_port.to_be_bytes());
        bytes.extend(self.host_port.to_be_bytes());
        bytes.extend(peer_isn.wrapping_add(seg.seq as u32).to_be_bytes());
        bytes.extend(seg.ack.map_or(0, |ack| isn.wrapping_add(ack as u32)).to_be_bytes());
        bytes.extend([offset << 4, flags]);
        bytes.extend(window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(seg.urgent.to_be_bytes());
        bytes.extend(options);
        let first = seg.seq + i64::from(seg.flags & Flags::SYN.0 != 0);
        bytes.extend(stream(first, seg.len));
        if let Some(Fault::Cut(len)) = seg.fault {
            bytes.truncate(len);
        }
        let target = if matches!(seg.fault, Some(Fault::Broadcast)) { Ipv4Addr::new(10, 0, 0, 255) } else { HOST };
        if bytes.len() >= 18 {
            let sum = match seg.fault {
                Some(Fault::ChecksumUnfilled) => !sum(&pseudo(target, bytes.len())),
                _ => sum(&[&pseudo(target, bytes.len())[..], &bytes].concat()),
            };
            let sum = if matches!(seg.fault, Some(Fault::Checksum)) { sum ^ 0x5555 } else { sum };
            bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        }
        self.packet(PROTOCOL_TCP, target, seg.ecn.unwrap_or(0), &bytes)
    }

    /// The frame of an ICMP error: its header, and of the packet it is about the IP header and 8 bytes (RFC 792).
    pub(crate) fn icmp(&self, icmp: &Icmp) -> Vec<u8> {
        let isn = self.learned.get(&0).and_then(|known| known.isn).unwrap_or(0);
        let quoted = Ipv4 {
            source: HOST,
            target: PEER,
            protocol: PROTOCOL_TCP,
            ttl: 63,
            dscp_ecn: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            header_len: 20,
            total_len: 1500,
        };
        let mut bytes = vec![0; 28];
        bytes[0] = 3;
        bytes[1] = icmp.code;
        bytes[6..8].copy_from_slice(&icmp.mtu.to_be_bytes());
        ipv4::emit(&mut bytes[8..], &quoted);
        bytes.extend(self.host_port.to_be_bytes());
        bytes.extend(self.peer_port.to_be_bytes());
        bytes.extend(isn.wrapping_add(icmp.seq as u32).to_be_bytes());
        let sum = sum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        self.packet(PROTOCOL_ICMP, HOST, 0, &bytes)
    }

    fn packet(&self, protocol: u8, target: Ipv4Addr, ecn: u8, segment: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 34];
        let mac = if target == HOST { self.host_mac } else { Mac::BROADCAST };
        ethernet::emit(&mut frame, &Ethernet { target: mac, source: self.peer_mac, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 });
        let header = Ipv4 {
            source: PEER,
            target,
            protocol,
            ttl: 64,
            dscp_ecn: ecn,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            header_len: 20,
            total_len: 20 + segment.len(),
        };
        ipv4::emit(&mut frame[14..], &header);
        frame.extend(segment);
        frame
    }

    /// Reads a frame of the stack. `None`: it is not about this script. A segment that does not parse is a failure.
    pub(crate) fn read(&mut self, frame: &[u8]) -> Option<Result<Sent, String>> {
        let header = ethernet::parse(frame).ok().filter(|header| header.ethertype == ETHERTYPE_IPV4)?;
        let packet = frame.get(header.header_len()..)?;
        let ip = ipv4::parse(packet).ok().filter(|ip| ip.source == HOST && ip.target == PEER && ip.protocol == PROTOCOL_TCP)?;
        let pseudo = PseudoHeader { source: HOST.into(), target: PEER.into(), protocol: PROTOCOL_TCP };
        let (ports, segment) = match tcp::parse(ip.payload(packet), &pseudo) {
            Ok(parsed) => parsed,
            Err(why) => return Some(Err(format!("the stack sent what does not parse: {}", why.name()))),
        };
        let port = ports.target.checked_sub(self.peer_port).filter(|&port| port < PORTS_OF_A_SCRIPT)?;
        let known = self.learned.entry(port).or_default();
        if segment.flags.contains(Flags::SYN) && known.isn.is_none() {
            known.isn = Some(segment.seq.0);
        }
        // A resetting end knows the time of a connection no more.
        if let (Some((value, _)), Some(last)) = (segment.options.timestamps, known.clock)
            && !segment.flags.contains(Flags::RST)
            && (value.wrapping_sub(last) as i32) < 0
        {
            return Some(Err(format!("TSval goes back from {last} to {value}")));
        }
        known.clock = segment.options.timestamps.map(|(value, _)| value).or(known.clock);
        known.stamps.extend(segment.options.timestamps.map(|(value, _)| value));
        let isn = known.isn.unwrap_or(0);
        let Options { mss, window_scale, sack_permitted, timestamps, .. } = segment.options;
        let peer = |number: SeqNum| i64::from(number.0.wrapping_sub(PEER_ISN) as i32);
        let seg = Seg {
            flags: segment.flags.0,
            seq: i64::from(segment.seq.0.wrapping_sub(isn) as i32),
            ack: segment.flags.contains(Flags::ACK).then(|| peer(segment.ack)),
            len: segment.payload.len(),
            window: Some(segment.window..=segment.window),
            urgent: segment.urgent,
            mss,
            scale: window_scale,
            sack_permitted,
            stamp: timestamps.map(|(value, echo)| Stamp { value: Some(value), echo: Some(Echo::Number(echo)) }),
            sack: segment.options.sack_blocks().iter().map(|block| (peer(block.left), peer(block.right))).collect(),
            raw_options: Vec::new(),
            absent: Vec::new(),
            due: Due::AtOnce,
            fault: None,
            port,
            number_zero: segment.seq.0 == 0,
            beyond: false,
            ecn: None,
            code_point: None,
            ttl: None,
        };
        let (window, payload) = (segment.window, segment.payload.to_vec());
        Some(Ok(Sent { seg, window, payload, ecn: ip.dscp_ecn & 3, code_point: ip.dscp_ecn >> 2, ttl: ip.ttl }))
    }
}

impl Sent {
    /// What is wrong with it; empty when it is what was expected.
    pub(crate) fn differences(&self, expected: &Seg) -> Vec<String> {
        let mut wrong = Vec::new();
        let seg = &self.seg;
        let push = Flags::PSH.0;
        let mut compare = |what: &str, sent: &dyn std::fmt::Display, expected: &dyn std::fmt::Display| {
            let (sent, expected) = (sent.to_string(), expected.to_string());
            if sent != expected {
                wrong.push(format!("{what} is {sent}, not {expected}"));
            }
        };
        compare("CTL", &names(seg.flags & !push), &names(expected.flags & !push));
        compare("the port", &seg.port, &expected.port);
        if expected.number_zero {
            compare("SEG.SEQ is 0", &seg.number_zero, &true);
        } else if expected.beyond {
            compare("SEG.SEQ is beyond", &(seg.seq > expected.seq), &true);
        } else {
            compare("SEG.SEQ", &seg.seq, &expected.seq);
        }
        compare("the length", &seg.len, &expected.len);
        if let Some(ack) = expected.ack {
            compare("SEG.ACK", &seg.ack.unwrap_or(-1), &ack);
        }
        if let Some(mss) = expected.mss {
            compare("MSS", &seg.mss.unwrap_or(0), &mss);
        }
        if let Some(scale) = expected.scale {
            compare("the window scale", &seg.scale.map_or(-1, i16::from), &scale);
        }
        if expected.sack_permitted {
            compare("SACK-permitted", &seg.sack_permitted, &true);
        }
        if let Some(stamp) = expected.stamp {
            let echo = |stamp: Option<Stamp>| match stamp.and_then(|stamp| stamp.echo) {
                Some(Echo::Number(echo)) => echo.to_string(),
                Some(Echo::Back(_)) | None => "not there".into(),
            };
            compare("TSecr", &echo(seg.stamp), &echo(Some(stamp)));
        }
        if !expected.sack.is_empty() {
            compare("SACK", &format!("{:?}", seg.sack), &format!("{:?}", expected.sack));
        }
        if expected.flags & Flags::URG.0 != 0 {
            compare("the urgent pointer", &seg.urgent, &expected.urgent);
        }
        if let Some(code_point) = expected.code_point {
            compare("the code point", &self.code_point, &code_point);
        }
        if let Some(ttl) = expected.ttl {
            compare("the time to live", &self.ttl, &ttl);
        }
        if let Some(ecn) = expected.ecn {
            compare("the ECN field", &self.ecn, &ecn);
        }
        if let Some(window) = expected.window.as_ref().filter(|window| !window.contains(&self.window)) {
            wrong.push(format!("SEG.WND is {}, not {window:?}", self.window));
        }
        for kind in &expected.absent {
            let there = match kind {
                Kind::Mss => seg.mss.is_some(),
                Kind::Scale => seg.scale.is_some(),
                Kind::SackPermitted => seg.sack_permitted,
                Kind::Sack => !seg.sack.is_empty(),
                Kind::Timestamps => seg.stamp.is_some(),
            };
            if there {
                wrong.push(format!("{kind:?} is there"));
            }
        }
        let reset = seg.flags & Flags::RST.0 != 0;
        if !reset && self.payload != stream(seg.seq + i64::from(seg.flags & Flags::SYN.0 != 0), seg.len) {
            wrong.push("the text is not what stands there in the stream".into());
        }
        wrong
    }
}

/// The options of an injected segment, padded to whole words.
fn options(seg: &Seg, isn: u32, stamps: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mss) = seg.mss {
        bytes.extend([2, 4]);
        bytes.extend(mss.to_be_bytes());
    }
    if let Some(shift) = seg.scale {
        bytes.extend([1, 3, 3, shift]);
    }
    if seg.sack_permitted {
        bytes.extend([1, 1, 4, 2]);
    }
    if let Some(stamp) = seg.stamp {
        let echo = match stamp.echo {
            Some(Echo::Back(back)) if seg.flags & Flags::ACK.0 != 0 => stamps.iter().rev().nth(back).copied().unwrap_or(0),
            Some(Echo::Number(echo)) => echo,
            Some(Echo::Back(_)) | None => 0,
        };
        bytes.extend([1, 1, 8, 10]);
        bytes.extend(stamp.value.unwrap_or(0).to_be_bytes());
        bytes.extend(echo.to_be_bytes());
    }
    if !seg.sack.is_empty() {
        bytes.extend([1, 1, 5, 2 + 8 * seg.sack.len() as u8]);
        for (left, right) in &seg.sack {
            bytes.extend(isn.wrapping_add(*left as u32).to_be_bytes());
            bytes.extend(isn.wrapping_add(*right as u32).to_be_bytes());
        }
    }
    bytes.extend(&seg.raw_options);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn pseudo(target: Ipv4Addr, len: usize) -> Vec<u8> {
    let len = (len as u16).to_be_bytes();
    [&PEER.octets()[..], &target.octets(), &[0, PROTOCOL_TCP], &len].concat()
}

/// The Internet checksum (RFC 1071), the slow way.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u32::from(low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Ports of the peer that one script may use.
pub(crate) const PORTS_OF_A_SCRIPT: u16 = 16;
