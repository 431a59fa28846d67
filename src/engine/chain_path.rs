//! Packets of several frames, which is what links of a large MTU carry: in from their pieces, out in pieces.
//!
//! Called by the turn when a device has such a packet, and by the paths whose packet is larger than one frame. A packet is put together once, and built
//! once, in a buffer of its own, and takes the path of those that came in fragments: to the service it is `Assembled`. All of it is off the path of packets
//! that lie in one frame. A packet leaves in all of its pieces or not at all. Nothing here panics on what a peer or a device does.

use super::core::{Core, Lane};
use super::output::Stopped;
use super::run::Engine;
use super::settle::Verdict;
use crate::demux::SlotId;
use crate::device::{Chain, Device, Drop, Frame};
use crate::limits;
use crate::link::packet::{self, Accepted};
use crate::service::{CallError, Service};
use crate::tcp::Next;
use crate::wire::ethernet;
use crate::wire::tcp;
use crate::wire::vlan::TAG_LEN;

/// A packet in memory of our own, to be cut into pieces or put together from them: as long as the link's largest with its header.
#[derive(Debug, Default)]
pub(super) struct Whole {
    bytes: Box<[u8]>,
    len: usize,
}

impl Whole {
    /// For packets of up to `mtu` bytes.
    pub(super) fn with_mtu(mtu: usize) -> Self {
        Self { bytes: vec![0; mtu + LINK_HEADER_MAX].into(), len: 0 }
    }

    /// Puts the pieces of a packet behind each other. False when there is no room for them.
    fn gather<F: Frame>(&mut self, pieces: &[F]) -> bool {
        self.len = 0;
        for piece in pieces.iter().map(Frame::bytes) {
            let Some(room) = self.bytes.get_mut(self.len..self.len + piece.len()) else { return false };
            room.copy_from_slice(piece);
            self.len += piece.len();
        }
        true
    }
}

impl Frame for Whole {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    fn set_len(&mut self, len: usize) -> usize {
        self.len = len.min(self.bytes.len());
        self.len
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// Buffers for packets of several frames: one for what comes and one for what goes, since a service may send while it is handed a packet. Empty where
/// every packet fits a frame.
#[derive(Debug)]
pub(super) struct Chains<F> {
    incoming: Whole,
    outgoing: Whole,
    /// The pieces of one packet, each way; empty between calls.
    arriving: Vec<F>,
    leaving: Vec<F>,
}

impl<F> Chains<F> {
    /// For packets of up to `mtu` bytes, or for none when a frame takes the largest.
    pub(super) fn new(mtu: Option<usize>) -> Self {
        let whole = || mtu.map_or_else(Whole::default, Whole::with_mtu);
        let pieces = || Vec::with_capacity(mtu.map_or(0, |_| limits::CHAIN_PIECES));
        Self { incoming: whole(), outgoing: whole(), arriving: pieces(), leaving: pieces() }
    }
}

impl<F> Chains<F> {
    /// True where packets may come in several frames.
    pub(super) fn may_come(&self) -> bool {
        self.incoming.capacity() > 0
    }
}

impl<D: Device, S: Service> Engine<D, S> {
    /// Serves the packet of several frames that is next in a port's queue. False when it has not come whole yet.
    #[cold]
    #[inline(never)]
    pub(super) fn receive_chain(&mut self, port: usize) -> bool {
        let at = self.core.first_lane(port);
        let mut pieces = std::mem::take(&mut self.core.chains.arriving);
        let chain = self.core.ports[port].device.receive_chain(&mut pieces);
        let mut verdict = None;
        match chain {
            Chain::Unfinished => {}
            Chain::Broken => self.core.drop(Drop::ChainBroken),
            Chain::TooLong => self.core.drop(Drop::ChainTooLong),
            Chain::Whole => {
                let mut whole = std::mem::take(&mut self.core.chains.incoming);
                let fits = whole.gather(&pieces);
                if fits && self.core.tapped.is_some() {
                    self.core.tap_received(at, whole.bytes());
                }
                // One frame is left for what goes back at once.
                verdict = pieces.pop().map(|frame| match fits {
                    true => self.chain_path(at, frame, &mut whole),
                    false => (at, Verdict::Drop(frame, Drop::ChainTooLong)),
                });
                self.core.chains.incoming = whole;
            }
        }
        for piece in pieces.drain(..) {
            self.core.settle(at, Verdict::Done(piece));
        }
        self.core.chains.arriving = pieces;
        if let Some((at, verdict)) = verdict {
            if self.core.tapped.is_some() {
                self.core.tap_settled(&verdict);
            }
            self.core.settle(at, verdict);
        }
        chain != Chain::Unfinished
    }

    /// A packet that was put together; `frame` may carry the answer.
    fn chain_path(&mut self, mut at: Lane, mut frame: D::Frame, whole: &mut Whole) -> (Lane, Verdict<D::Frame>) {
        let capacity = frame.capacity();
        frame.set_len(capacity);
        let bytes = whole.bytes();
        let accepted = self.core.accept_ethernet(&mut at, bytes).and_then(|header| match header.ethertype {
            ethernet::ETHERTYPE_ARP => Err(Drop::ArpMalformed),
            _ => packet::accept_ip(&self.core.link_of(at).interface, header, bytes),
        });
        let verdict = match accepted {
            Ok(Accepted::Fragment(packet)) => self.fragment_bytes(at, frame, &packet, whole.bytes()),
            Ok(accepted) => {
                // An answer may be longer.
                whole.set_len(whole.capacity());
                self.whole_packet(at, frame, accepted, whole.bytes_mut())
            }
            Err(why) => Verdict::Drop(frame, why),
        };
        (at, verdict)
    }
}

impl<D: Device> Core<D> {
    /// Builds a packet that no frame takes, and sends it in several, all or none.
    #[cold]
    #[inline(never)]
    pub(super) fn send_chain(&mut self, at: Lane, build: impl FnOnce(&mut Whole) -> bool) -> Result<(), CallError> {
        let mut whole = std::mem::take(&mut self.chains.outgoing);
        let sent = if build(&mut whole) { self.transmit_chain(at, whole.bytes()) } else { Err(CallError::TooLarge) };
        self.chains.outgoing = whole;
        sent
    }

    fn transmit_chain(&mut self, at: Lane, packet: &[u8]) -> Result<(), CallError> {
        let mut pieces = std::mem::take(&mut self.chains.leaving);
        let device = &mut self.ports[at.port()].device;
        for bytes in packet.chunks(device.frame_bytes()) {
            let Some(mut frame) = device.allocate() else { break };
            frame.set_len(bytes.len());
            if let Some(room) = frame.bytes_mut().get_mut(..bytes.len()) {
                room.copy_from_slice(bytes);
            }
            pieces.push(frame);
        }
        let complete = pieces.iter().map(|piece| piece.bytes().len()).sum::<usize>() == packet.len();
        let mut sent = complete && device.transmit_chain(&mut pieces);
        if complete && !sent {
            device.flush();
            sent = device.transmit_chain(&mut pieces);
        }
        // None is left of what was sent.
        for piece in pieces.drain(..) {
            device.recycle(piece);
        }
        self.chains.leaving = pieces;
        if sent && self.tapped.is_some() {
            self.tap_sent(at, packet);
        }
        if sent { Ok(()) } else { Err(CallError::WouldBlock) }
    }

    /// Sends a segment that no frame takes. Why it was not, if so.
    #[cold]
    #[inline(never)]
    pub(super) fn send_large_segment(&mut self, id: SlotId, at: Lane, next: Next) -> Option<Stopped> {
        // Once the TCB has handed out a segment it counts as sent: frames, ring and neighbour first.
        let longest = next.payload_len() + LINK_HEADER_MAX + IP_HEADER_MAX + tcp::HEADER_MAX;
        let device = &mut self.ports[at.port()].device;
        if !device.has_room_for_chain(longest.div_ceil(device.frame_bytes())) {
            device.flush();
            if !device.has_room_for_chain(longest.div_ceil(device.frame_bytes())) {
                return Some(Stopped::Again);
            }
        }
        let mut target = self.flow_target(id, at);
        if target.is_none() {
            let Some(key) = self.flows.find(id).map(|flow| flow.key) else { return Some(Stopped::Quiet) };
            match self.link_to(at, key.remote.ip()) {
                // An address that is lost may be another station's already.
                Ok(_) if !self.may_send_from(at, key.local.ip()) => {}
                Ok(link) => target = Some(link.target),
                Err(CallError::WouldBlock) => return Some(Stopped::Again),
                // It is lost, and will be sent again, as a frame for a silent neighbour is.
                Err(_) => {}
            }
        }
        let whole = std::mem::take(&mut self.chains.outgoing);
        let (whole, built) = match self.build_segment(id, at, whole, next, target) {
            Ok(whole) => (whole, true),
            Err(whole) => (whole, false),
        };
        let sent = match (built, target) {
            (false, _) => Some(Stopped::Quiet),
            (true, None) => {
                self.drop(Drop::NeighborUnreachable);
                None
            }
            (true, Some(_)) => {
                self.counters.tcp_sent += 1;
                if self.transmit_chain(at, whole.bytes()).is_err() {
                    self.drop(Drop::TransmitRingFull);
                }
                None
            }
        };
        self.chains.outgoing = whole;
        sent
    }
}

/// Bytes in front of an IP packet: the Ethernet header and two tags.
pub(super) const LINK_HEADER_MAX: usize = ethernet::HEADER_LEN + 2 * TAG_LEN;

/// Bytes of the longest IP header of ours.
pub(super) const IP_HEADER_MAX: usize = 40;
