//! UDP: from a checked packet to the service, and back in the same frame.
//!
//! Called by the turn for each packet of protocol 17, and by the calls that send. A reply in the frame is neither copied nor allocated.
//! Nothing here panics on what a peer sends.

use std::net::SocketAddr;
use std::ops::Range;

use super::core::{Core, Lane};
use super::emit::{self, Delivery, LinkHeader};
use super::run::Engine;
use super::settle::Verdict;
use crate::demux::{Address, FlowKey};
use crate::device::{Device, Drop, Frame};
use crate::limits;
use crate::link::icmp::Complaint;
use crate::link::interface::Transport;
use crate::link::packet::Packet;
use crate::link::route;
use crate::service::datagram::Meta;
use crate::service::{Answer, Assembled, CallError, Datagram, EndpointId, InFrame, Sending, Service};
use crate::udp::{Body, Kept, Received};
use crate::wire::checksum::PseudoHeader;
use crate::wire::ipv4::{ECN_MASK, PROTOCOL_UDP};
use crate::wire::{reply, udp};

impl<D: Device, S: Service> Engine<D, S> {
    #[inline(always)]
    pub(super) fn udp_path(&mut self, at: Lane, mut frame: D::Frame, packet: Packet) -> Verdict<D::Frame> {
        // Handed over piece by piece: a reference to the packet would cost everybody else its registers.
        if self.core.admission.has_lists()
            && self.core.denies_datagram(packet.source, packet.target, frame.bytes().get(packet.payload()))
        {
            return Verdict::Drop(frame, Drop::UdpDenied);
        }
        let place = at.interface;
        let groups = &self.core.link_of(at).interface.groups;
        // Used where it was made: moved, it would be read in larger pieces than it was written in, for which the processor waits.
        let checked = Received::check(frame.bytes(), &packet, &self.core.endpoints, place, groups);
        let received = match &checked {
            Ok(received) => received,
            Err(Drop::ChecksumUnfilled) => {
                self.core.report_unfilled(at);
                return Verdict::Drop(frame, Drop::ChecksumUnfilled);
            }
            // For everybody but its peer the port of a connected endpoint is as good as closed.
            Err(why @ (Drop::UdpPortClosed | Drop::UdpNotConnected)) => return self.core.port_closed(at, frame, &packet, *why),
            Err(why) => return Verdict::Drop(frame, *why),
        };
        self.core.counters.udp_received += 1;
        if self.core.recorder.records_udp() {
            self.core.record_datagram(at, frame.bytes(), false);
        }
        self.core.remember_hop(at, received);
        let room = self.core.open_room(at, &mut frame, received);
        let mut datagram = Datagram::InFrame(InFrame::new(&received.meta, &mut frame.bytes_mut()[room], received.payload_len));
        let answer = self.service.datagram(&mut self.core, &mut datagram);
        let written = datagram.written();
        self.core.answer(at, frame, received, answer, written)
    }

    /// Hands over what this core has sent to groups of its own. True when there was something. What a service sends meanwhile waits for the next turn.
    #[cold]
    #[inline(never)]
    pub(super) fn deliver_looped(&mut self) -> bool {
        let waiting = self.core.looped.len();
        for _ in 0..waiting {
            let Some((meta, mut payload)) = self.core.looped.pop_front() else { break };
            self.core.counters.udp_received += 1;
            let len = payload.len();
            let mut datagram = Datagram::Assembled(Assembled::new(meta, &mut payload, len));
            match self.service.datagram(&mut self.core, &mut datagram) {
                Answer::Ignore => self.core.counters.udp_consumed += 1,
                // An answer would go to ourselves, and could go round for ever.
                _ => self.core.drop(Drop::UdpUnsafeToAnswer),
            }
        }
        waiting > 0
    }
}

impl<D: Device, S: Service> Engine<D, S> {
    /// A datagram that came in fragments and lies in `whole`; its answer leaves in fragments, if it must.
    #[cold]
    #[inline(never)]
    pub(super) fn udp_whole(&mut self, at: Lane, packet: &Packet, whole: &mut [u8]) -> Result<(), Drop> {
        if self.core.admission.has_lists() && self.core.denies_datagram(packet.source, packet.target, whole.get(packet.payload()))
        {
            return Err(Drop::UdpDenied);
        }
        let place = at.interface;
        let groups = &self.core.link_of(at).interface.groups;
        let received = match Received::check(whole, packet, &self.core.endpoints, place, groups) {
            Ok(received) => received,
            Err(why) => {
                if why == Drop::ChecksumUnfilled {
                    self.core.report_unfilled(at);
                }
                return Err(why);
            }
        };
        self.core.counters.udp_received += 1;
        let room = whole.get_mut(received.payload_at..).unwrap_or_default();
        let mut datagram = Datagram::Assembled(Assembled::new(received.meta, room, received.payload_len));
        let answer = self.service.datagram(&mut self.core, &mut datagram);
        self.core.answer_whole(at, &received, answer, whole)
    }
}

impl<D: Device> Core<D> {
    #[cold]
    fn port_closed(&mut self, at: Lane, frame: D::Frame, packet: &Packet, why: Drop) -> Verdict<D::Frame> {
        if let Some(to) = self.udp_elsewhere(packet, frame.bytes()) {
            return self.hand_over(at, frame, to, false, None);
        }
        self.complain(at, frame.bytes(), packet, Complaint::Port);
        Verdict::Drop(frame, why)
    }

    /// The core that has the port a datagram is for, which is not open here.
    pub(super) fn udp_elsewhere(&self, packet: &Packet, bytes: &[u8]) -> Option<u16> {
        let &[_, _, high, low, ..] = bytes.get(packet.payload())? else { return None };
        self.port_elsewhere(Transport::Udp, u16::from_be_bytes([high, low]))
    }

    #[cold]
    fn answer_whole(&mut self, at: Lane, received: &Received, answer: Answer, whole: &[u8]) -> Result<(), Drop> {
        let room = whole.get(received.payload_at..).unwrap_or_default();
        let payload = |len: usize| room.get(..len).ok_or(Drop::UdpSendFull);
        let (to, link, payload) = match answer {
            Answer::Ignore => {
                self.counters.udp_consumed += 1;
                return Ok(());
            }
            Answer::Unsafe => return Err(Drop::UdpUnsafeToAnswer),
            Answer::Reply { len } => (received.meta.remote, self.back_to_sender(at, received), payload(len)?),
            Answer::Forward { len, to } => (to, self.link_to(at, to.ip()).map_err(|_| Drop::UdpSendFull)?, payload(len)?),
            Answer::Keep { token } => {
                if !self.kept.may_keep(token) || !self.kept.may_keep_whole() {
                    return Err(Drop::UdpKeptFull);
                }
                self.counters.udp_kept += 1;
                self.counters.udp_copies += 1;
                let body = Body::Whole(whole.get(..received.frame_len()).unwrap_or_default().into());
                self.kept.insert(token, Kept { body, port: at.port(), received: *received });
                return Ok(());
            }
        };
        let source = self.reply_source(at, &received.meta).ok_or(Drop::NoRoute)?;
        self.counters.udp_copies += 1;
        let delivery = self.datagram_delivery(at, source, to);
        self.send_udp_parts(at, link, delivery, source, to, payload).map_err(|_| Drop::UdpSendFull)
    }

    /// Sends a datagram whose next hop is known, in several frames or in fragments if it must.
    #[cold]
    fn send_udp_parts(
        &mut self,
        at: Lane,
        link: LinkHeader,
        delivery: Delivery,
        source: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(), CallError> {
        let (ends, header) = udp_head(source, to, payload)?;
        self.send_parts(at, link, ends, PROTOCOL_UDP, delivery, [&header, payload])
    }

    /// Makes the frame as long as the link allows and returns where the service may write.
    #[inline(always)]
    fn open_room(&self, at: Lane, frame: &mut D::Frame, received: &Received) -> Range<usize> {
        let longest = received.ip_at + self.link_of(at).interface.mtu;
        let len = frame.set_len(longest.max(received.frame_len()));
        received.payload_at.min(len)..len
    }

    /// Carries out what the service made of a datagram.
    #[inline(always)]
    fn answer(&mut self, at: Lane, mut frame: D::Frame, received: &Received, answer: Answer, written: bool) -> Verdict<D::Frame> {
        match answer {
            Answer::Ignore => {
                self.counters.udp_consumed += 1;
                Verdict::Done(frame)
            }
            Answer::Unsafe => Verdict::Drop(frame, Drop::UdpUnsafeToAnswer),
            Answer::Reply { len } if received.can_swap(len, written) && received.packet_len() <= self.path_mtus.narrowest() => {
                frame.set_len(received.frame_len());
                let swapped = match received.meta.remote {
                    SocketAddr::V4(_) => reply::swap_udp_ipv4(frame.bytes_mut(), received.ip_at),
                    SocketAddr::V6(_) => reply::swap_udp_ipv6(frame.bytes_mut(), received.ip_at),
                };
                match swapped {
                    Ok(()) => {
                        self.counters.udp_in_frame += 1;
                        Verdict::Tx(frame)
                    }
                    Err(why) => Verdict::Drop(frame, why),
                }
            }
            Answer::Reply { len } => {
                let link = self.back_to_sender(at, received);
                match self.rebuild(at, frame, received, len, received.meta.remote, link) {
                    Verdict::Drop(frame, Drop::UdpSendFull) => self.answer_in_parts(at, frame, received, len, link),
                    verdict => verdict,
                }
            }
            Answer::Forward { len, to } => match self.rebuild(at, frame, received, len, to, self.unresolved(at)) {
                Verdict::Tx(frame) => self.resolve(at, frame, to.ip()),
                refused => refused,
            },
            Answer::Keep { token } => self.keep(at, frame, *received, token),
        }
    }

    /// An answer larger than its path carries: in fragments, when its endpoint allows them.
    #[cold]
    fn answer_in_parts(
        &mut self,
        at: Lane,
        frame: D::Frame,
        received: &Received,
        len: usize,
        link: LinkHeader,
    ) -> Verdict<D::Frame> {
        let to = received.meta.remote;
        let allowed = self.endpoints.at(received.meta.endpoint.0).is_some_and(|endpoint| endpoint.fragments);
        let payload = frame.bytes().get(received.payload_at..).and_then(|room| room.get(..len));
        let Some(payload) = payload.filter(|_| allowed) else { return Verdict::Drop(frame, Drop::UdpSendFull) };
        let Some(source) = self.reply_source(at, &received.meta) else { return Verdict::Drop(frame, Drop::NoRoute) };
        let delivery = self.datagram_delivery(at, source, to);
        match self.send_udp_parts(at, link, delivery, source, to, payload) {
            Ok(()) => {
                self.counters.udp_copies += 1;
                Verdict::Done(frame)
            }
            Err(_) => Verdict::Drop(frame, Drop::UdpSendFull),
        }
    }

    /// Writes new headers around the payload where it lies; a payload behind IP options moves forward first.
    fn rebuild(
        &mut self,
        at: Lane,
        mut frame: D::Frame,
        received: &Received,
        len: usize,
        to: SocketAddr,
        link: LinkHeader,
    ) -> Verdict<D::Frame> {
        let headroom = emit::udp_headroom(link, to.ip().into());
        if !self.goes_in_one_frame(at, to.ip(), len, false) || received.payload_at.max(headroom) + len > frame.bytes().len() {
            return Verdict::Drop(frame, Drop::UdpSendFull);
        }
        if headroom != received.payload_at {
            frame.bytes_mut().copy_within(received.payload_at..received.payload_at + len, headroom);
            self.counters.udp_copies += 1;
        }
        let Some(source) = self.reply_source(at, &received.meta) else { return Verdict::Drop(frame, Drop::NoRoute) };
        if !emit::udp_around(&mut frame, link, self.datagram_delivery(at, source, to), source, to, len) {
            return Verdict::Drop(frame, Drop::UdpSendFull);
        }
        self.counters.udp_in_frame += 1;
        Verdict::Tx(frame)
    }

    fn keep(&mut self, at: Lane, mut frame: D::Frame, received: Received, token: u64) -> Verdict<D::Frame> {
        if !self.kept.may_keep(token) {
            return Verdict::Drop(frame, Drop::UdpKeptFull);
        }
        self.counters.udp_kept += 1;
        frame.set_len(received.frame_len());
        let (body, verdict) = if self.kept.may_hold_frame() {
            (Body::Frame(frame), Verdict::Hold)
        } else {
            self.counters.udp_copies += 1;
            (Body::Copy(frame.bytes().into()), Verdict::Done(frame))
        };
        self.kept.insert(token, Kept { body, port: at.port(), received });
        verdict
    }

    /// Answers a kept datagram, in its frame or (for a copied one) in a fresh one.
    pub(super) fn answer_kept(&mut self, token: u64, write: impl FnOnce(&mut [u8]) -> usize) -> Result<(), CallError> {
        let Kept { body, port, received } = self.kept.remove(token).ok_or(CallError::Stale)?;
        let at = Lane { port: port as u16, interface: received.meta.interface };
        let mut frame = match body {
            Body::Frame(frame) => frame,
            Body::Whole(bytes) => return self.answer_kept_whole(token, bytes, at, received, write),
            Body::Copy(bytes) => {
                let Some(mut frame) = self.ports[at.port()].device.allocate() else {
                    self.kept.insert(token, Kept { body: Body::Copy(bytes), port: at.port(), received });
                    return Err(CallError::WouldBlock);
                };
                self.counters.udp_copies += 1;
                let len = frame.set_len(bytes.len());
                frame.bytes_mut().copy_from_slice(&bytes[..len]);
                frame
            }
        };
        let room = self.open_room(at, &mut frame, &received);
        let len = write(&mut frame.bytes_mut()[room]);
        let link = self.back_to_sender(at, &received);
        let verdict = self.rebuild(at, frame, &received, len, received.meta.remote, link);
        let sent = match verdict {
            Verdict::Drop(_, Drop::NoRoute) => Err(CallError::NoRoute),
            Verdict::Drop(..) => Err(CallError::TooLarge),
            _ => Ok(()),
        };
        self.settle(at, verdict);
        sent
    }

    /// The same for one that came in fragments.
    #[cold]
    fn answer_kept_whole(
        &mut self,
        token: u64,
        bytes: Box<[u8]>,
        at: Lane,
        received: Received,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<(), CallError> {
        let mut whole = self.take_whole();
        if let Some(copy) = whole.get_mut(..bytes.len()) {
            copy.copy_from_slice(&bytes);
        }
        let len = write(whole.get_mut(received.payload_at..).unwrap_or_default());
        let Some(source) = self.reply_source(at, &received.meta) else {
            self.whole = whole;
            return Err(CallError::NoRoute);
        };
        let link = self.back_to_sender(at, &received);
        let sent = match whole.get(received.payload_at..).and_then(|room| room.get(..len)) {
            Some(payload) => {
                let delivery = self.datagram_delivery(at, source, received.meta.remote);
                self.send_udp_parts(at, link, delivery, source, received.meta.remote, payload)
            }
            None => Err(CallError::TooLarge),
        };
        self.whole = whole;
        if sent == Err(CallError::WouldBlock) {
            self.kept.insert(token, Kept { body: Body::Whole(bytes), port: at.port(), received });
        }
        sent
    }

    /// Gives a kept datagram up.
    pub(super) fn release(&mut self, kept: Option<Kept<D::Frame>>) {
        if let Some(Kept { body: Body::Frame(frame), port, .. }) = kept {
            self.ports[port].device.recycle(frame);
        }
    }

    /// Sends a datagram of a service; the payload is copied once, into the frame.
    pub(super) fn send_datagram(
        &mut self,
        from: EndpointId,
        source: SocketAddr,
        to: SocketAddr,
        interface: u16,
        payload: &[u8],
        how: Sending,
    ) -> Result<(), CallError> {
        let at = self.port_of(interface).ok_or(CallError::NoRoute)?;
        if how.hop_limit == Some(0) {
            // So far that it does not leave the host (RFC 1112 6.1).
            if payload.len() > usize::from(u16::MAX) - udp::HEADER_LEN {
                return Err(CallError::TooLarge);
            }
            if how.looped {
                self.loop_back(at, source, to, payload, how.ecn);
            }
            return Ok(());
        }
        if !self.goes_in_one_frame(at, to.ip(), payload.len(), how.probe) {
            return self.send_large(from, at, source, to, payload, how);
        }
        let link = self.unresolved(at);
        let device = &mut self.ports[at.port()].device;
        if device.room() == 0 {
            device.flush();
        }
        if device.room() == 0 {
            return Err(CallError::WouldBlock);
        }
        let mut frame = device.allocate().ok_or(CallError::WouldBlock)?;
        let headroom = emit::udp_headroom(link, to.ip().into());
        frame.set_len(headroom + payload.len());
        if let Some(room) = frame.bytes_mut().get_mut(headroom..headroom + payload.len()) {
            room.copy_from_slice(payload);
        }
        let mut delivery = self.datagram_delivery(at, source, to);
        delivery.ttl = how.hop_limit.unwrap_or(delivery.ttl);
        delivery.ecn = how.ecn;
        if !emit::udp_around(&mut frame, link, delivery, source, to, payload.len()) {
            self.settle(at, Verdict::Drop(frame, Drop::UdpSendFull));
            return Err(CallError::TooLarge);
        }
        self.counters.udp_sent += 1;
        if how.looped {
            self.loop_back(at, source, to, payload, how.ecn);
        }
        let verdict = self.resolve(at, frame, to.ip());
        self.settle(at, verdict);
        Ok(())
    }

    /// Keeps a copy of what is sent to many for an endpoint of this core that hears it.
    fn loop_back(&mut self, at: Lane, source: SocketAddr, to: SocketAddr, payload: &[u8], ecn: u8) {
        let interface = &self.link_of(at).interface;
        let from = (source.ip().into(), source.port());
        let heard = route::is_many(interface, to.ip()) && interface.groups.check(to.ip(), to.port(), source.ip()).is_ok();
        let Some(endpoint) = self.endpoints.find(to.ip().into(), to.port()).filter(|_| heard) else { return };
        if !self.endpoints.at(endpoint).is_some_and(|endpoint| endpoint.hears(from)) {
            return;
        }
        if self.looped.len() >= limits::LOOPED {
            return self.drop(Drop::UdpLoopFull);
        }
        let interface = at.interface;
        let meta =
            Meta { endpoint: EndpointId(endpoint), local: to, remote: source, to_many: true, interface, ecn: ecn & ECN_MASK };
        self.looped.push_back((meta, payload.into()));
    }

    /// A datagram larger than a frame takes: in several, or, where the path does not carry it, in fragments, when its endpoint allows them.
    #[cold]
    #[inline(never)]
    fn send_large(
        &mut self,
        from: EndpointId,
        at: Lane,
        source: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
        how: Sending,
    ) -> Result<(), CallError> {
        let whole = self.goes_whole(at, to.ip(), payload.len(), how.probe);
        if !whole && (how.probe || !self.endpoints.at(from.0).is_some_and(|endpoint| endpoint.fragments)) {
            return Err(CallError::TooLarge);
        }
        let link = self.link_to(at, to.ip())?;
        let mut delivery = self.datagram_delivery(at, source, to);
        delivery.ttl = how.hop_limit.unwrap_or(delivery.ttl);
        delivery.ecn = how.ecn;
        if whole {
            let (ends, header) = udp_head(source, to, payload)?;
            self.send_chain(at, |frame| emit::packet_of(frame, link, ends, PROTOCOL_UDP, delivery, [&header, payload]))?;
        } else {
            self.send_udp_parts(at, link, delivery, source, to, payload)?;
        }
        self.counters.udp_sent += 1;
        if how.looped {
            self.loop_back(at, source, to, payload, how.ecn);
        }
        Ok(())
    }

    /// How a datagram travels that asks for nothing: over IPv6 with the label of its ends (RFC 6437), to a group no further than the link.
    fn datagram_delivery(&self, at: Lane, source: SocketAddr, target: SocketAddr) -> Delivery {
        //= rfc1112#6.1
        //# If the upper-layer protocol chooses not to specify a time-to-live, it should
        //# default to 1 for all multicast IP datagrams, so that an explicit
        //# choice is required to multicast beyond a single network.
        let ttl = if target.ip().is_multicast() { 1 } else { Delivery::default().ttl };
        if target.is_ipv4() {
            return Delivery { ttl, ..Delivery::default() };
        }
        let key = FlowKey {
            local: source.ip().into(),
            remote: target.ip().into(),
            local_port: source.port(),
            remote_port: target.port(),
            link: Self::link_key(at),
        };
        Delivery { flow_label: self.flow_label(&key), ttl, ..Delivery::default() }
    }

    fn back_to_sender(&self, at: Lane, received: &Received) -> LinkHeader {
        LinkHeader { source: self.link_of(at).interface.mac, target: received.ethernet.source, vlan: received.ethernet.vlan }
    }

    /// Where an answer comes from: the address that was asked, unless that is a group. `None` when there is none of ours in its family.
    fn reply_source(&self, at: Lane, meta: &Meta) -> Option<SocketAddr> {
        let (asked, asker) = (meta.local.ip(), meta.remote.ip());
        let interface = &self.link_of(at).interface;
        let own = if !meta.to_many || interface.owns(asked) {
            Some(asked)
        } else {
            // The answer goes to the station that the datagram came from, whether there is a route or not: in a port claim routes are the kernel's.
            route::source([interface], asker).map(|(_, source)| source).or_else(|| route::nearest(interface, asker, asker))
        };
        own.map(|address| SocketAddr::new(address, meta.local.port()))
    }
}

/// The addresses of a datagram and its header.
fn udp_head(
    source: SocketAddr,
    to: SocketAddr,
    payload: &[u8],
) -> Result<((Address, Address), [u8; udp::HEADER_LEN]), CallError> {
    let ends = (source.ip().into(), to.ip().into());
    let pseudo = PseudoHeader { source: ends.0, target: ends.1, protocol: PROTOCOL_UDP };
    let header = udp::header_of(payload, source.port(), to.port(), &pseudo).ok_or(CallError::TooLarge)?;
    Ok((ends, header))
}
