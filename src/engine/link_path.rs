//! What lies between IP and the link: ARP, ICMP, and finding the Ethernet address a packet goes to.
//!
//! Called by the turn for frames that are neither TCP nor UDP, by the other paths for the next hop, and by the timers. Errors that are
//! sent are limited in number ([`crate::link::icmp`]); nothing here panics on what a peer sends.

use std::net::{IpAddr, SocketAddr};

use super::core::{Core, Lane, Link};
use super::emit::{self, Delivery, LinkHeader};
use super::news::Wish;
use super::run::Engine;
use super::settle::Verdict;
use crate::demux::{FlowKey, SlotId};
use crate::device::{Device, Drop, Frame};
use crate::link::arp::{self, Outcome};
use crate::link::dad::{self, Candidate};
use crate::link::icmp::{self, Complaint, Reaction, Trouble};
use crate::link::interface::Claim;
use crate::link::neighbor::Lookup;
use crate::link::packet::{self, Packet};
use crate::link::pmtu;
use crate::link::route;
use crate::service::{EndpointId, IcmpError, Notice, ResetReason, Service};
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::udp::Received;
use crate::wire::ethernet::{Ethernet, Mac};
use crate::wire::extension::Refused;
use crate::wire::vlan::Vlan;
use crate::wire::{arp as wire_arp, ethernet, icmpv4, icmpv6, ipv4, reply};

impl<D: Device, S: Service> Engine<D, S> {
    /// ICMP to a claimed address: echo is answered in its frame, an error reaches whoever sent the packet it quotes.
    #[inline(never)]
    pub(super) fn icmp_path(&mut self, at: Lane, frame: D::Frame, packet: Packet) -> Verdict<D::Frame> {
        let Some(message) = frame.bytes().get(packet.payload()) else { return Verdict::Drop(frame, Drop::IcmpTruncated) };
        let reaction = self.core.icmp_reaction(at, &packet, message);
        if matches!(reaction, Reaction::Error { .. } | Reaction::Discovery(_) | Reaction::Redirect { .. }) {
            self.core.tell_frame(at, frame.bytes());
        }
        match reaction {
            Reaction::Echo => self.core.echo(at, frame, &packet),
            Reaction::Error { trouble, quoted } => {
                self.core.counters.icmp_errors_received += 1;
                self.icmp_error(at, trouble, &quoted);
                Verdict::Done(frame)
            }
            Reaction::Discovery(icmp) => self.core.discovery_path(at, frame, &packet, &icmp),
            Reaction::Redirect { destination, hop } => {
                let from = packet.source.ip();
                match self.core.redirected(at, from, IpAddr::V4(destination), IpAddr::V4(hop), None) {
                    true => Verdict::Done(frame),
                    false => Verdict::Drop(frame, Drop::IcmpIgnored),
                }
            }
            Reaction::Drop(Drop::ChecksumUnfilled) => {
                self.core.report_unfilled(at);
                Verdict::Drop(frame, Drop::ChecksumUnfilled)
            }
            Reaction::Drop(why) => Verdict::Drop(frame, why),
        }
    }

    /// An error about a packet of ours, if the quotation is true: nothing in it is trusted before an endpoint or a TCB confirms it (RFC 5927 4).
    pub(super) fn icmp_error(&mut self, at: Lane, trouble: Trouble, quoted: &icmpv4::Quoted) {
        let Trouble { icmp_type, code, .. } = trouble;
        let (local, remote) = (quoted.source, quoted.target);
        match quoted.protocol {
            ipv4::PROTOCOL_UDP => {
                let about = self.core.endpoints.find(local, quoted.source_port);
                let concerns = |endpoint: &u16| {
                    let endpoint = self.core.endpoints.at(*endpoint);
                    endpoint.is_some_and(|endpoint| endpoint.hears((remote, quoted.target_port)))
                };
                if let Some(endpoint) = about.filter(concerns) {
                    let remote = SocketAddr::new(remote.ip(), quoted.target_port);
                    let claimed = trouble.mtu.and_then(|mtu| pmtu::claimed(mtu, quoted.len, quoted.target));
                    let connected = self.core.endpoints.at(endpoint).is_some_and(|endpoint| endpoint.peer.is_some());
                    let mtu = claimed.and_then(|mtu| self.core.learn_from_datagram(at, quoted, mtu, connected));
                    let error = IcmpError { endpoint: EndpointId(endpoint), remote, icmp_type, code, mtu };
                    self.service.icmp_error(&mut self.core, error);
                }
            }
            ipv4::PROTOCOL_TCP => {
                let key = FlowKey {
                    local,
                    remote,
                    local_port: quoted.source_port,
                    remote_port: quoted.target_port,
                    link: Core::<D>::link_key(at),
                };
                //= rfc9293#3.9.2.2
                //# TCP implementations MUST act on an ICMP error message passed up from the IP layer, directing it to the connection that
                //# created the error (MUST-54).
                if let (Some(id), Some(seq)) = (self.core.find_flow(&key), quoted.seq) {
                    self.icmp_for_flow(id, trouble, seq);
                }
            }
            _ => {}
        }
    }

    fn icmp_for_flow(&mut self, id: SlotId, trouble: Trouble, seq: SeqNum) {
        let Core { config, now, flows, tally, .. } = &mut self.core;
        let Some(flow) = flows.find_mut(id) else { return };
        //= rfc5927#4.1
        //# These implementations check that the TCP sequence number contained in the payload of the ICMP error message is within the
        //# range SND.UNA =< SEG.SEQ < SND.NXT.
        if !flow.tcb.is_in_flight(seq) {
            return;
        }
        if let Some(mtu) = trouble.mtu {
            flow.tcb.on_packet_too_big(&config.tcp, *now, seq, mtu.min(u32::from(u16::MAX)) as u16);
            let noted = flow.tcb.take_noted();
            tally.count_all(noted);
            if noted.contains(Happening::PathMtuReduced) {
                self.core.learn_from_flow(id);
            }
        } else if trouble.hard && !flow.tcb.on_unreachable().is_empty() {
            //= rfc9293#3.9.2.2
            //# These are hard error conditions, so TCP implementations SHOULD abort the connection (SHLD-26).
            // In SYN-SENT only: in a synchronized state the peer was there, and who can forge the error could end the connection
            // with it (RFC 5927 5.2).
            self.tell_reset(id, ResetReason::Unreachable);
        } else {
            //= rfc9293#3.9.2.2
            //# Since these Unreachable messages indicate soft error conditions, a TCP implementation MUST NOT abort the connection
            //# (MUST-56), and it SHOULD make the information available to the application (SHLD-25).
            self.tell_notice(id, Notice::Icmp { icmp_type: trouble.icmp_type, code: trouble.code });
        }
        self.core.touch(id);
    }
}

impl<D: Device> Core<D> {
    /// What an ICMP message of either family deserves.
    pub(super) fn icmp_reaction(&self, at: Lane, packet: &Packet, message: &[u8]) -> Reaction {
        let interface = &self.link_of(at).interface;
        match packet.is_ipv4() {
            true => icmp::on_icmp(interface, packet, message),
            false => icmp::on_icmpv6(interface, packet, message),
        }
    }

    /// ARP to or about a claimed address (RFC 826).
    pub(super) fn arp_path(&mut self, at: Lane, mut frame: D::Frame, header: Ethernet) -> Verdict<D::Frame> {
        let packet = match frame.bytes().get(header.header_len()..).map_or(Err(Drop::ArpMalformed), wire_arp::parse) {
            Ok(packet) => packet,
            Err(why) => return Verdict::Drop(frame, why),
        };
        self.tell_frame(at, frame.bytes());
        let link = self.link_of(at);
        let tentative = link.candidates.iter().filter(|candidate| candidate.is_tentative()).map(Candidate::address);
        let mut lost = tentative.filter(
            |address| matches!(address, IpAddr::V4(address) if dad::is_arp_conflict(&packet, *address, link.interface.mac)),
        );
        if let Some(address) = lost.next() {
            self.conflict(at, address, packet.sender_mac);
            return Verdict::Drop(frame, Drop::ArpConflict);
        }
        match arp::on_arp(&packet, &link.claimed, link.interface.mac) {
            Outcome::Reply { asker, reply } => {
                if let Some(asker) = asker {
                    self.learn(at, IpAddr::V4(asker.ip), asker.mac);
                }
                let link = LinkHeader { target: header.source, ..self.unresolved(at) };
                if !emit::arp_packet(&mut frame, link, &reply) {
                    return Verdict::Drop(frame, Drop::NoFrame);
                }
                self.counters.arp_replies += 1;
                Verdict::Tx(frame)
            }
            Outcome::Learn(neighbor) => {
                self.learn(at, IpAddr::V4(neighbor.ip), neighbor.mac);
                Verdict::Done(frame)
            }
            Outcome::Update(neighbor) => {
                if self.update(at, IpAddr::V4(neighbor.ip), neighbor.mac) {
                    Verdict::Done(frame)
                } else {
                    Verdict::Drop(frame, Drop::ArpNotOurs)
                }
            }
            Outcome::Conflict { ip, rival } => {
                self.conflict(at, IpAddr::V4(ip), rival);
                Verdict::Drop(frame, Drop::ArpConflict)
            }
            Outcome::Drop(why) => Verdict::Drop(frame, why),
        }
    }

    /// The link a port belongs to.
    pub(super) fn link_of(&self, at: Lane) -> &Link<D::Frame> {
        &self.links[at.link()]
    }

    /// The lane by which packets leave that are no answer to one received: that of the first port of the interface.
    pub(super) fn port_of(&self, interface: u16) -> Option<Lane> {
        let nic_of = |interface: u16| self.links.get(usize::from(interface)).map(|link| link.nic);
        let nic = nic_of(interface)?;
        let port = self.ports.iter().position(|port| nic_of(port.interface) == Some(nic))?;
        Some(Lane { port: port as u16, interface })
    }

    /// A port as its first interface sees it.
    pub(super) fn first_lane(&self, port: usize) -> Lane {
        Lane { port: port as u16, interface: self.ports[port].interface }
    }

    /// Checks the Ethernet header of a frame; `at` becomes the lane of its tags.
    #[inline(always)]
    pub(super) fn accept_ethernet(&self, at: &mut Lane, bytes: &[u8]) -> Result<Ethernet, Drop> {
        let header = ethernet::parse(bytes)?;
        match packet::check_ethernet(&self.link_of(*at).interface, &header) {
            Err(Drop::VlanUnclaimed) => {
                at.interface = self.tagged_interface(*at, header.vlan).ok_or(Drop::VlanUnclaimed)?;
                packet::check_ethernet(&self.link_of(*at).interface, &header)?;
            }
            checked => checked?,
        }
        Ok(header)
    }

    /// The interface of a lane's NIC that has these tags, which are not those of the lane.
    #[cold]
    #[inline(never)]
    fn tagged_interface(&self, at: Lane, vlan: Vlan) -> Option<u16> {
        let nic = self.link_of(at).nic;
        let place = self.links.iter().position(|link| link.nic == nic && link.interface.vlan == vlan)?;
        Some(place as u16)
    }

    /// The Ethernet header of a packet whose next hop is still to be found.
    pub(super) fn unresolved(&self, at: Lane) -> LinkHeader {
        let interface = &self.link_of(at).interface;
        LinkHeader { source: interface.mac, target: Mac::default(), vlan: interface.vlan }
    }

    /// Whether an interface leads to a destination. In a port claim routes are the kernel's: where they are not followed, only those can be answered
    /// that have been heard.
    pub(super) fn has_route(&self, interface: usize, target: IpAddr) -> bool {
        let link = &self.links[interface];
        match link.interface.claim {
            // To many goes whatever is sent to no neighbour in particular.
            Claim::Ports { .. } if !link.mirrored && !route::is_many(&link.interface, target) => {
                link.neighbors.known(link.hop(target)).is_some()
            }
            Claim::Addresses(_) | Claim::Ports { .. } => route::next_hop(&link.interface, target).is_some(),
        }
    }

    /// The neighbour that packets to `target` go to.
    pub(super) fn next_hop(&self, at: Lane, target: IpAddr) -> Option<IpAddr> {
        let Link { interface, mirrored, redirects, .. } = self.link_of(at);
        let hop = match interface.claim {
            Claim::Ports { .. } if !mirrored => return Some(target),
            Claim::Addresses(_) | Claim::Ports { .. } => route::next_hop(interface, target)?,
        };
        // What goes to a router may go by a better one.
        Some(if hop == target { hop } else { redirects.find(target).unwrap_or(hop) })
    }

    pub(super) fn lookup_neighbor(&mut self, at: Lane, hop: IpAddr) -> Lookup {
        let now = self.now;
        let link = &mut self.links[at.link()];
        let hop = link.hop(hop);
        match link.interface.claim {
            // Without a mirror of the kernel's neighbours only what was heard from them is known.
            Claim::Ports { .. } if !link.mirrored => link.neighbors.known(hop).map_or(Lookup::Unreachable, Lookup::Mac),
            Claim::Addresses(_) | Claim::Ports { .. } => link.neighbors.lookup(now, hop),
        }
    }

    /// TCP has heard that its packets arrive: the neighbour need not be asked again (RFC 1122 2.3.2.1, advice from a higher layer).
    pub(super) fn confirm_neighbor(&mut self, at: Lane, hop: IpAddr) {
        let now = self.now;
        let link = &mut self.links[at.link()];
        let place = link.hop(hop);
        if !link.mirrored {
            link.neighbors.confirm(now, place);
        } else if link.neighbors.confirmed(now, place) {
            self.wish(Wish::Confirm { interface: at.interface, ip: hop });
        }
    }

    /// Finds where a frame for `target` goes: it is sent, waits for the neighbour's answer, or is dropped.
    pub(super) fn resolve(&mut self, at: Lane, mut frame: D::Frame, target: IpAddr) -> Verdict<D::Frame> {
        let Some(hop) = self.next_hop(at, target) else { return Verdict::Drop(frame, Drop::NoRoute) };
        if let Some(group) = route::group_mac(&self.link_of(at).interface, target) {
            set_target(&mut frame, group);
            return Verdict::Tx(frame);
        }
        match self.lookup_neighbor(at, hop) {
            Lookup::Mac(mac) => {
                set_target(&mut frame, mac);
                Verdict::Tx(frame)
            }
            Lookup::Ask => {
                self.ask(at, hop);
                self.hold(at, hop, frame)
            }
            Lookup::Wait => self.hold(at, hop, frame),
            Lookup::Unreachable => Verdict::Drop(frame, Drop::NeighborUnreachable),
        }
    }

    fn hold(&mut self, at: Lane, hop: IpAddr, frame: D::Frame) -> Verdict<D::Frame> {
        let link = &mut self.links[at.link()];
        match link.neighbors.hold(link.hop(hop), frame) {
            Some((displaced, why)) => Verdict::Drop(displaced, why),
            None => Verdict::Hold,
        }
    }

    /// Asks the link who has an address; in a port claim the kernel does.
    pub(super) fn ask(&mut self, at: Lane, hop: IpAddr) {
        match hop {
            ip if self.link_of(at).mirrored => self.wish(Wish::Use { interface: at.interface, ip }),
            IpAddr::V4(_) => self.ask_by_arp(at, hop),
            IpAddr::V6(hop) => self.solicit(at, hop),
        }
    }

    /// Sends an ARP request to all.
    fn ask_by_arp(&mut self, at: Lane, hop: IpAddr) {
        let interface = &self.link_of(at).interface;
        let (IpAddr::V4(target), Some((_, IpAddr::V4(source)))) = (hop, route::source([interface], hop)) else { return };
        let packet = arp::request(interface.mac, source, target);
        let link = LinkHeader { target: Mac::BROADCAST, ..self.unresolved(at) };
        if self.send_arp(at, link, &packet) {
            self.counters.arp_requests += 1;
        }
    }

    pub(super) fn send_arp(&mut self, at: Lane, link: LinkHeader, packet: &wire_arp::Arp) -> bool {
        let Some(mut frame) = self.ports[at.port()].device.allocate() else {
            self.drops.count(Drop::NoFrame);
            return false;
        };
        let built = emit::arp_packet(&mut frame, link, packet);
        self.settle(at, if built { Verdict::Tx(frame) } else { Verdict::Drop(frame, Drop::NoFrame) });
        built
    }

    /// Notes a neighbour's address and sends what waited for it.
    pub(super) fn learn(&mut self, at: Lane, address: IpAddr, mac: Mac) {
        let now = self.now;
        let link = &mut self.links[at.link()];
        link.neighbors.learn(now, link.hop(address), mac, &mut self.waiting);
        self.send_waiting(at, mac);
    }

    /// The same for a packet that was not for us: only a neighbour that is known already. False when it is not.
    pub(super) fn update(&mut self, at: Lane, address: IpAddr, mac: Mac) -> bool {
        let now = self.now;
        let link = &mut self.links[at.link()];
        let known = link.neighbors.update(now, link.hop(address), mac, &mut self.waiting);
        self.send_waiting(at, mac);
        known
    }

    pub(super) fn send_waiting(&mut self, at: Lane, mac: Mac) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for mut frame in waiting.drain(..) {
            set_target(&mut frame, mac);
            self.transmit(at, frame);
        }
        self.waiting = waiting;
    }

    /// In a port claim there is no ARP of ours. Where the kernel's neighbours are not followed either, whoever sent a datagram can be answered, now and later, at the address it came from.
    pub(super) fn remember_hop(&mut self, at: Lane, received: &Received) {
        let link = self.link_of(at);
        if matches!(link.interface.claim, Claim::Ports { .. }) && !link.mirrored {
            self.learn(at, received.meta.remote.ip(), received.ethernet.source);
        }
    }

    /// Asks silent neighbours again, drops what waited too long, and returns the neighbours that stay silent.
    pub(super) fn expire_neighbors(&mut self, interface: usize) -> Vec<IpAddr> {
        let Some(at) = self.port_of(interface as u16) else { return Vec::new() };
        let (mut asks, mut dropped, mut silent, mut unanswered) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        self.links[interface].neighbors.expire(self.now, &mut asks, &mut dropped, |hop| unanswered.push(hop.ip));
        for hop in asks {
            self.ask(at, hop.ip);
        }
        for (hop, frame) in dropped {
            if !silent.contains(&hop.ip) {
                silent.push(hop.ip);
            }
            self.settle(at, Verdict::Drop(frame, Drop::NeighborUnreachable));
        }
        unanswered.into_iter().for_each(|hop| self.hop_is_silent(at, hop));
        silent
    }

    /// Takes back what waits for neighbours.
    pub(super) fn forget_neighbors(&mut self) {
        for interface in 0..self.links.len() {
            let Some(at) = self.port_of(interface as u16) else { continue };
            let mut waiting = Vec::new();
            self.links[interface].neighbors.drain(&mut waiting);
            for frame in waiting {
                self.settle(at, Verdict::Drop(frame, Drop::NeighborUnreachable));
            }
        }
    }

    /// A ping, made its own answer.
    fn echo(&mut self, at: Lane, mut frame: D::Frame, packet: &Packet) -> Verdict<D::Frame> {
        let whole = packet.whole();
        if whole.len() > self.path_mtus.narrowest() && whole.len() > self.packet_limit(at, packet.source.ip()) {
            return self.echo_in_parts(at, frame, packet);
        }
        if !packet.plain && !packet.is_ipv4() {
            return self.echo_anew(at, frame, packet);
        }
        frame.set_len(packet.end);
        let swapped = match packet.is_ipv4() {
            true => reply::swap_echo_ipv4(frame.bytes_mut(), packet.ip_at),
            false => reply::swap_echo_ipv6(frame.bytes_mut(), packet.ip_at),
        };
        match swapped {
            Ok(()) => {
                self.counters.icmp_echo_replies += 1;
                Verdict::Tx(frame)
            }
            Err(why) => Verdict::Drop(frame, why),
        }
    }

    /// The answer to a ping that is larger than the way back carries.
    #[cold]
    fn echo_in_parts(&mut self, at: Lane, mut frame: D::Frame, packet: &Packet) -> Verdict<D::Frame> {
        let message = frame.bytes_mut().get_mut(packet.payload()).unwrap_or_default();
        let sent = self.answer_ping(at, packet, message);
        match sent {
            Ok(()) => Verdict::Done(frame),
            Err(why) => Verdict::Drop(frame, why),
        }
    }

    /// Answers a ping whose message is `message`, which becomes the answer's; in fragments, if need be.
    pub(super) fn answer_ping(&mut self, at: Lane, packet: &Packet, message: &mut [u8]) -> Result<(), Drop> {
        match packet.is_ipv4() {
            true => icmpv4::echo_reply_in_place(message),
            false => icmpv6::echo_reply_in_place(message),
        };
        let link = LinkHeader { target: packet.ethernet.source, ..self.unresolved(at) };
        let (ends, delivery) = ((packet.target, packet.source), Delivery::default());
        self.send_parts(at, link, ends, packet.protocol, delivery, [message, &[]]).map_err(|_| Drop::NoFrame)?;
        self.counters.icmp_echo_replies += 1;
        Ok(())
    }

    /// The answer to a ping with extension headers, which are not sent back: in the same frame, moved to the front.
    fn echo_anew(&mut self, at: Lane, mut frame: D::Frame, packet: &Packet) -> Verdict<D::Frame> {
        let link = LinkHeader { target: packet.ethernet.source, ..self.unresolved(at) };
        let ends = (packet.target, packet.source);
        match emit::echo_moved(&mut frame, link, ends, packet.payload()) {
            true => {
                self.counters.icmp_echo_replies += 1;
                Verdict::Tx(frame)
            }
            false => Verdict::Drop(frame, Drop::NoFrame),
        }
    }

    /// An IP protocol that nobody serves (RFC 1122 3.2.2.1: protocol unreachable).
    #[cold]
    pub(super) fn unknown_protocol(&mut self, at: Lane, frame: D::Frame, packet: Packet) -> Verdict<D::Frame> {
        self.complain(at, frame.bytes(), &packet, Complaint::Protocol);
        Verdict::Drop(frame, Drop::ProtocolUnknown)
    }

    /// An IPv6 packet whose extension headers ask for what is refused.
    #[cold]
    pub(super) fn refused_header(&mut self, at: Lane, frame: D::Frame, packet: Packet, refused: Refused) -> Verdict<D::Frame> {
        if let Some(problem) = refused.problem {
            self.complain(at, frame.bytes(), &packet, Complaint::Header(problem));
        }
        Verdict::Drop(frame, refused.why)
    }

    /// Sends an ICMP error about a received packet, unless RFC 1122 3.2.2 or RFC 4443 2.4 forbids it or there were too many lately.
    pub(super) fn complain(&mut self, at: Lane, original: &[u8], packet: &Packet, complaint: Complaint) {
        let Some(quoted) = original.get(packet.whole()) else { return };
        let payload = original.get(packet.payload()).unwrap_or_default();
        let interface = &self.link_of(at).interface;
        if !self.serving || !icmp::may_send_error(interface, packet, payload, complaint) {
            return;
        }
        // To a group nobody has sent from: the answer to such a packet comes from an address of ours.
        let source = match packet.to_many && !interface.owns(packet.target.ip()) {
            true => route::source([interface], packet.source.ip()).map(|(_, source)| source.into()),
            false => Some(packet.target),
        };
        let Some(source) = source else { return };
        if !self.icmp_bucket.take(self.now) {
            self.drops.count(Drop::IcmpLimited);
            return;
        }
        let Some(mut frame) = self.ports[at.port()].device.allocate() else {
            self.drops.count(Drop::NoFrame);
            return;
        };
        let link = LinkHeader { target: packet.ethernet.source, ..self.unresolved(at) };
        let mut message = [0; icmp::ERROR_MAX];
        let len = complaint.emit(source, packet.source, quoted, &mut message);
        let message = message.get(..len).filter(|message| !message.is_empty());
        let built = message
            .is_some_and(|message| emit::icmp_packet(&mut frame, link, (source, packet.source), Delivery::default(), message));
        if built {
            self.counters.icmp_errors_sent += 1;
            self.settle(at, Verdict::Tx(frame));
        } else {
            self.settle(at, Verdict::Drop(frame, Drop::NoFrame));
        }
    }
}

/// Writes the destination into the Ethernet header.
fn set_target<F: Frame>(frame: &mut F, mac: Mac) {
    if let Some(target) = frame.bytes_mut().first_chunk_mut::<6>() {
        *target = mac.0;
    }
}
