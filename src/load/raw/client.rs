//! The client end: sends the messages that are due, checks the headers of what comes back, hands on the payloads.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::packet::{
    ARP_FRAME, End, HEADERS, IPV4_UDP, Received, answer_arp, arp_reply_of, read, write_arp_request, write_headers,
};
use super::{IDLE_FLUSH, Messages, now};
use crate::device::{Device, Frame};
use crate::error::SetupError;
use crate::limits::BURST;
use crate::time::Instant;
use crate::wire::ethernet::Mac;

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address, and the source port of flow 0; further flows take the ports above it.
    pub source: SocketAddrV4,
    /// The reflector.
    pub target: SocketAddrV4,
    /// Who to ask for the way: the target itself, or a gateway.
    pub next_hop: Ipv4Addr,
    /// How many flows.
    pub flows: u16,
}

/// Frames that were not answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawCounters {
    /// UDP datagrams with wrong lengths or checksums.
    pub broken: u64,
    /// Datagrams to or from somebody else, and frames of other kinds.
    pub ignored: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that received or sent something.
    pub busy_turns: u64,
}

/// A client on one device. It spins: a turn never waits.
#[derive(Debug)]
pub struct RawClient<F> {
    path: Path,
    payload_bytes: usize,
    target_mac: Mac,
    burst: Vec<F>,
    counters: RawCounters,
}

/// How long a neighbour has to say who it is.
const RESOLVE_FOR: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(100);

impl<F: Frame> RawClient<F> {
    /// A client for messages of `payload_bytes`; asks for the Ethernet address of the next hop and waits for it.
    ///
    /// # Errors
    /// A message does not fit a packet of the link, there are more flows than ports, or the next hop does not answer.
    pub fn connect<D: Device<Frame = F>>(device: &mut D, path: Path, payload_bytes: usize) -> Result<Self, SetupError> {
        Self::connect_within(device, path, payload_bytes, RESOLVE_FOR)
    }

    /// The same for a next hop that may take so long to answer.
    pub(super) fn connect_within<D: Device<Frame = F>>(
        device: &mut D,
        path: Path,
        payload_bytes: usize,
        patience: Duration,
    ) -> Result<Self, SetupError> {
        let most = device.mtu().saturating_sub(IPV4_UDP).min(65_535 - IPV4_UDP);
        if payload_bytes > most {
            let why = format!("a message of {payload_bytes} bytes does not fit one packet of the link, which carries {most}");
            return Err(SetupError::usage("cannot send raw frames", why).mend(format!("--size {most}")));
        }
        if path.flows == 0 || path.source.port().checked_add(path.flows - 1).is_none() {
            let why = format!("there are not {} ports from {} on", path.flows, path.source.port());
            return Err(SetupError::usage("cannot send raw frames", why));
        }
        let mut client = Self {
            path,
            payload_bytes,
            target_mac: Mac::default(),
            burst: Vec::with_capacity(BURST),
            counters: RawCounters::default(),
        };
        client.target_mac = client.resolve(device, patience)?;
        Ok(client)
    }

    /// Spins until all messages are answered or given up, or until told to stop.
    pub fn run<D: Device<Frame = F>>(&mut self, device: &mut D, messages: &mut impl Messages, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.turn(device, messages);
            if messages.is_done(now()) {
                break;
            }
        }
    }

    /// One turn: what came is handed on, what is due is sent. True when there was something to do.
    pub fn turn<D: Device<Frame = F>>(&mut self, device: &mut D, messages: &mut impl Messages) -> bool {
        device.busy_poll();
        let received = device.receive(&mut self.burst, BURST);
        let at = now();
        messages.turn(at);
        let mut frames = std::mem::take(&mut self.burst);
        for frame in frames.drain(..) {
            self.take(device, messages, frame, at);
        }
        self.burst = frames;
        let sent = self.send_due(device, messages);
        let busy = received > 0 || sent > 0;
        self.counters.turns += 1;
        if busy || device.pending() || self.counters.turns.is_multiple_of(IDLE_FLUSH) {
            device.flush();
        }
        self.counters.busy_turns += u64::from(busy);
        busy
    }

    /// The counts so far.
    pub const fn counters(&self) -> RawCounters {
        self.counters
    }

    fn take<D: Device<Frame = F>>(&mut self, device: &mut D, messages: &mut impl Messages, mut frame: F, at: Instant) {
        match read(frame.bytes()) {
            Received::Datagram { source, target, payload } => match self.flow_of(device.mac(), source, target) {
                Some(flow) => messages.answered(flow, payload, at),
                None => self.counters.ignored += 1,
            },
            Received::Broken => self.counters.broken += 1,
            Received::Other => {
                if answer_arp(frame.bytes_mut(), device.mac(), *self.path.source.ip()) {
                    // A full ring loses the reply; the neighbour asks again.
                    if let Err(frame) = device.transmit(frame) {
                        device.recycle(frame);
                    }
                    return;
                }
                self.counters.ignored += 1;
            }
        }
        device.recycle(frame);
    }

    /// Which flow a datagram answers.
    fn flow_of(&self, mac: Mac, source: End, target: End) -> Option<u32> {
        let from_target = source == End { mac: self.target_mac, address: *self.path.target.ip(), port: self.path.target.port() };
        let flow = target.port.checked_sub(self.path.source.port()).filter(|&flow| flow < self.path.flows)?;
        (from_target && target.mac == mac && target.address == *self.path.source.ip()).then_some(u32::from(flow))
    }

    /// Sends a burst of what is due at most, so that answers are not left waiting; how many.
    fn send_due<D: Device<Frame = F>>(&mut self, device: &mut D, messages: &mut impl Messages) -> usize {
        let at = now();
        let target = End { mac: self.target_mac, address: *self.path.target.ip(), port: self.path.target.port() };
        let mut sent = 0;
        while sent < BURST {
            let Some(mut frame) = device.allocate() else { break };
            let len = HEADERS + self.payload_bytes;
            let due = if frame.set_len(len) == len {
                frame.bytes_mut().get_mut(HEADERS..).and_then(|payload| messages.due(at, payload))
            } else {
                None
            };
            let Some(flow) = due else {
                device.recycle(frame);
                break;
            };
            // `connect` made sure that the ports suffice.
            let port = self.path.source.port().wrapping_add(flow as u16);
            let source = End { mac: device.mac(), address: *self.path.source.ip(), port };
            write_headers(frame.bytes_mut(), source, target);
            match device.transmit(frame) {
                Ok(()) => messages.sent(flow, at),
                Err(frame) => {
                    messages.unsent(flow);
                    device.recycle(frame);
                    break;
                }
            }
            sent += 1;
        }
        sent
    }

    /// Asks who has the next hop until it answers (RFC 826).
    fn resolve<D: Device<Frame = F>>(&mut self, device: &mut D, patience: Duration) -> Result<Mac, SetupError> {
        let start = now();
        let mut ask_at = start;
        while now() < start + patience {
            if now() >= ask_at {
                ask_at = now() + ASK_EVERY;
                self.ask(device);
            }
            device.busy_poll();
            device.receive(&mut self.burst, BURST);
            let mut found = None;
            for mut frame in self.burst.drain(..) {
                found = arp_reply_of(frame.bytes(), self.path.next_hop).or(found);
                // The neighbour may ask for us before it answers.
                let unsent = match answer_arp(frame.bytes_mut(), device.mac(), *self.path.source.ip()) {
                    true => device.transmit(frame).err(),
                    false => Some(frame),
                };
                if let Some(frame) = unsent {
                    device.recycle(frame);
                }
            }
            device.flush();
            if let Some(mac) = found {
                return Ok(mac);
            }
        }
        let Path { source, target, next_hop, .. } = self.path;
        let why = format!("{next_hop} did not answer {}'s ARP requests for {patience:?}", source.ip());
        Err(SetupError::environment(format!("cannot reach {target}"), why)
            .mend("start the server first, and look at the interfaces of both sides: ip -brief address"))
    }

    fn ask<D: Device<Frame = F>>(&self, device: &mut D) {
        let Some(mut frame) = device.allocate() else { return };
        frame.set_len(ARP_FRAME);
        if let Some(bytes) = frame.bytes_mut().first_chunk_mut::<ARP_FRAME>() {
            write_arp_request(bytes, device.mac(), *self.path.source.ip(), self.path.next_hop);
        }
        if let Err(frame) = device.transmit(frame) {
            device.recycle(frame);
        }
    }
}
