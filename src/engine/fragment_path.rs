//! Packets in fragments: from the parts to the path of the whole, and back again in parts.
//!
//! Called by the turn for fragments, by the timers for datagrams that stay unfinished, and by the paths whose packet is larger than the link carries. All
//! of it is rare and marked so, off the path of whole packets. A packet leaves in all of its fragments or not at all. Nothing here panics on
//! what a peer sends.

use std::net::IpAddr;

use super::core::{Core, Lane};
use super::emit::{self, Delivery, Fragment, LinkHeader};
use super::run::Engine;
use super::settle::Verdict;
use super::siblings::Provenance;
use crate::demux::{Address, FlowKey};
use crate::device::{Device, Drop, Frame};
use crate::link::icmp::{Complaint, Reaction};
use crate::link::interface::Claim;
use crate::link::neighbor::Lookup;
use crate::link::packet::{self, Accepted, Packet};
use crate::link::reassembly::{Part, WHOLE_MAX};
use crate::link::route;
use crate::service::{CallError, Service};
use crate::wire::{ipv4, ipv6};

impl<D: Device, S: Service> Engine<D, S> {
    /// A fragment. With the last one that was missing its packet takes the path that it would have taken whole.
    #[cold]
    #[inline(never)]
    pub(super) fn fragment_path(&mut self, at: Lane, frame: D::Frame, packet: Packet) -> Verdict<D::Frame> {
        if !self.core.admission.admits(packet.source) {
            return Verdict::Drop(frame, Drop::FragmentDenied);
        }
        if let Some(to) = self.core.fragments_elsewhere(at, frame.bytes(), &packet) {
            return self.core.hand_over(at, frame, to, false, None);
        }
        let mut whole = self.core.take_whole();
        let reassembled = self.core.reassemble(at, frame.bytes(), &packet, &mut whole);
        self.reassembled(at, frame, reassembled, whole)
    }

    /// The same of a fragment that came in several frames and lies in `bytes`.
    pub(super) fn fragment_bytes(&mut self, at: Lane, frame: D::Frame, packet: &Packet, bytes: &[u8]) -> Verdict<D::Frame> {
        if !self.core.admission.admits(packet.source) {
            return Verdict::Drop(frame, Drop::FragmentDenied);
        }
        let mut whole = self.core.take_whole();
        let reassembled = self.core.reassemble(at, bytes, packet, &mut whole);
        self.reassembled(at, frame, reassembled, whole)
    }

    fn reassembled(
        &mut self,
        at: Lane,
        frame: D::Frame,
        reassembled: Result<Option<Accepted>, Drop>,
        mut whole: Box<[u8]>,
    ) -> Verdict<D::Frame> {
        let verdict = match reassembled {
            Ok(None) => Verdict::Done(frame),
            Ok(Some(accepted)) => {
                // Wherever its parts came from, the whole is here for the first time, and may be another core's.
                self.core.provenance = Provenance::Arrived;
                self.whole_packet(at, frame, accepted, &mut whole)
            }
            Err(why) => Verdict::Drop(frame, why),
        };
        self.core.whole = whole;
        verdict
    }

    /// What was put together at the begin of `whole`; `frame`, which brought the last part, may carry the answer.
    pub(super) fn whole_packet(&mut self, at: Lane, frame: D::Frame, accepted: Accepted, whole: &mut [u8]) -> Verdict<D::Frame> {
        let packet = match accepted {
            Accepted::Ip(packet) => packet,
            Accepted::Refused(packet, refused) => {
                if let Some(problem) = refused.problem {
                    self.core.complain(at, whole, &packet, Complaint::Header(problem));
                }
                return Verdict::Drop(frame, refused.why);
            }
            Accepted::Fragment(_) => return Verdict::Drop(frame, Drop::Ipv6ExtensionMisplaced),
        };
        let done = match packet.protocol {
            ipv4::PROTOCOL_TCP => return self.tcp_bytes(at, frame, &packet, whole),
            ipv4::PROTOCOL_UDP => match self.udp_whole(at, &packet, whole) {
                Err(why @ (Drop::UdpPortClosed | Drop::UdpNotConnected)) => {
                    if let Some(to) = self.core.udp_elsewhere(&packet, whole) {
                        return self.core.hand_over(at, frame, to, false, Some((&packet, whole)));
                    }
                    self.core.complain(at, whole, &packet, Complaint::Port);
                    Err(why)
                }
                done => done,
            },
            ipv4::PROTOCOL_ICMP if packet.is_ipv4() => self.icmp_whole(at, &packet, whole),
            ipv6::NEXT_HEADER_ICMPV6 if !packet.is_ipv4() => self.icmp_whole(at, &packet, whole),
            _ => {
                self.core.complain(at, whole, &packet, Complaint::Protocol);
                Err(Drop::ProtocolUnknown)
            }
        };
        match done {
            Ok(()) => Verdict::Done(frame),
            Err(why) => Verdict::Drop(frame, why),
        }
    }

    /// ICMP that came in fragments: a ping is answered, in fragments again, and errors are heard. Neighbour discovery is not (RFC 6980).
    fn icmp_whole(&mut self, at: Lane, packet: &Packet, whole: &mut [u8]) -> Result<(), Drop> {
        let message = whole.get_mut(packet.payload()).ok_or(Drop::IcmpTruncated)?;
        match self.core.icmp_reaction(at, packet, message) {
            Reaction::Echo => self.core.answer_ping(at, packet, message),
            Reaction::Error { trouble, quoted } => {
                self.core.counters.icmp_errors_received += 1;
                self.icmp_error(at, trouble, &quoted);
                Ok(())
            }
            //= rfc6980#5
            //# Nodes MUST silently ignore the following Neighbor Discovery and
            //# SEcure Neighbor Discovery messages if the packets carrying them
            //# include an IPv6 Fragmentation Header:
            Reaction::Discovery(_) => Err(Drop::NdFragment),
            // No router needs to send one in fragments.
            Reaction::Redirect { .. } => Err(Drop::IcmpIgnored),
            Reaction::Drop(why) => {
                if why == Drop::ChecksumUnfilled {
                    self.core.report_unfilled(at);
                }
                Err(why)
            }
        }
    }
}

impl<D: Device> Core<D> {
    /// The core at which the fragments of a packet meet, if that is another. A NIC may spread them: only the first one shows ports.
    fn fragments_elsewhere(&self, at: Lane, frame: &[u8], packet: &Packet) -> Option<u16> {
        if self.siblings.is_none() || self.chains.may_come() {
            // Fragments of several frames are put together where they arrive; so are the others, then.
            return None;
        }
        let (source, target, identification) = Part::read(at.interface, packet, frame).ok()?.ends();
        let (high, low) = ((identification >> 16) as u16, identification as u16);
        let ends = FlowKey { local: target, remote: source, local_port: high, remote_port: low, link: Self::link_key(at) };
        self.where_fragments_meet(self.hash.of(&ends))
    }

    /// The buffer that packets are put together in; it is made with the first one. Whoever takes it brings it back.
    pub(super) fn take_whole(&mut self) -> Box<[u8]> {
        let whole = std::mem::take(&mut self.whole);
        if whole.is_empty() { vec![0; WHOLE_MAX].into() } else { whole }
    }

    fn reassemble(&mut self, at: Lane, frame: &[u8], packet: &Packet, whole: &mut [u8]) -> Result<Option<Accepted>, Drop> {
        if matches!(self.link_of(at).interface.claim, Claim::Ports { .. }) {
            // Which port a later fragment belongs to nobody can see: they are all the kernel's.
            return Err(if packet.is_ipv4() { Drop::Ipv4Fragment } else { Drop::Ipv6Fragment });
        }
        let part = Part::read(at.interface, packet, frame)?;
        let Some(packet) = self.reassembly.take(self.now, &part, whole, &mut self.drops)? else { return Ok(None) };
        self.counters.ip_reassembled += 1;
        let bytes = whole.get(packet.whole()).unwrap_or_default();
        packet::accept_whole(packet, bytes).map(Some)
    }

    /// Gives up datagrams that were not finished in time, and tells those senders whose first fragment has come.
    #[cold]
    pub(super) fn expire_fragments(&mut self) {
        let mut whole = self.take_whole();
        while let Some(expired) = self.reassembly.expire(self.now, &mut whole) {
            self.drops.count(Drop::FragmentTimeout);
            //= rfc1122#3.3.2
            //# If this timeout expires, the partially-reassembled
            //# datagram MUST be discarded and an ICMP Time Exceeded message
            //# sent to the source host (if fragment zero has been received).
            if let (Some(first), Some(at)) = (expired.first, self.port_of(expired.interface)) {
                self.complain(at, &whole, &first, Complaint::Reassembly);
            }
        }
        self.whole = whole;
    }

    /// Sends what a service or a ping is answered with: whole when the link carries it, in as many frames as it takes, else in fragments of one frame.
    #[cold]
    #[inline(never)]
    pub(super) fn send_parts(
        &mut self,
        at: Lane,
        link: LinkHeader,
        ends: (Address, Address),
        protocol: u8,
        delivery: Delivery,
        data: [&[u8]; 2],
    ) -> Result<(), CallError> {
        let len = data[0].len() + data[1].len();
        let mtu = self.packet_limit(at, ends.1.ip());
        let header_len = emit::ip_header_len(ends.1);
        // The length field of IPv4 counts the header.
        let longest = usize::from(u16::MAX) - if ends.1.v4().is_some() { header_len } else { 0 };
        let each = mtu.min(self.link_of(at).one_frame()).saturating_sub(emit::fragment_header_len(ends.1)) & !0b111;
        if len > longest || each == 0 {
            return Err(CallError::TooLarge);
        }
        let in_parts = header_len + len > mtu;
        if !in_parts && header_len + len > self.link_of(at).one_frame() {
            return self.send_chain(at, |whole| emit::packet_of(whole, link, ends, protocol, delivery, data));
        }
        let count = if in_parts { len.div_ceil(each) } else { 1 };
        let mut frames = std::mem::take(&mut self.fragments);
        let device = &mut self.ports[at.port()].device;
        if device.room() < count {
            device.flush();
        }
        if device.room() >= count {
            frames.extend(std::iter::from_fn(|| device.allocate()).take(count));
        }
        let mut built = Ok(());
        if frames.len() < count {
            built = Err(CallError::WouldBlock);
        } else if in_parts {
            let identification = match ends.1.v4() {
                Some(_) => u32::from(self.identifications.v4()),
                None => self.identifications.v6(),
            };
            for (nth, frame) in frames.iter_mut().enumerate() {
                let offset = nth * each;
                let len = each.min(len - offset);
                let part = Fragment { identification, offset, len, more: nth + 1 < count };
                if !emit::fragment(frame, link, ends, protocol, delivery, part, data) {
                    built = Err(CallError::TooLarge);
                }
            }
            self.counters.ip_fragmented += u64::from(built.is_ok());
        } else if let Some(frame) = frames.first_mut()
            && !emit::packet_of(frame, link, ends, protocol, delivery, data)
        {
            built = Err(CallError::TooLarge);
        }
        for frame in frames.drain(..) {
            self.settle(at, if built.is_ok() { Verdict::Tx(frame) } else { Verdict::Done(frame) });
        }
        self.fragments = frames;
        built
    }

    /// The Ethernet header for a destination to which several frames go at once: they share one look at the neighbour, which must be known, since no more
    /// than a few frames may wait for it.
    pub(super) fn link_to(&mut self, at: Lane, target: IpAddr) -> Result<LinkHeader, CallError> {
        let hop = self.next_hop(at, target).ok_or(CallError::NoRoute)?;
        let link = self.unresolved(at);
        if let Some(target) = route::group_mac(&self.link_of(at).interface, target) {
            return Ok(LinkHeader { target, ..link });
        }
        match self.lookup_neighbor(at, hop) {
            Lookup::Mac(target) => Ok(LinkHeader { target, ..link }),
            Lookup::Ask => {
                self.ask(at, hop);
                Err(CallError::WouldBlock)
            }
            Lookup::Wait => Err(CallError::WouldBlock),
            Lookup::Unreachable => Err(CallError::NoRoute),
        }
    }
}
