//! Neighbour discovery for claimed IPv6 addresses: what ARP is for IPv4 (RFC 4861).
//!
//! Called by the ICMP path for the messages of that protocol, by the link path to ask for a neighbour, and by the addresses' timers. What a
//! message deserves is decided in [`crate::link::nd`]; nothing here panics on what a peer sends.

use std::net::{IpAddr, Ipv6Addr};

use super::core::{Core, Lane};
use super::emit::{self, Delivery, LinkHeader};
use super::settle::Verdict;
use crate::device::{Device, Drop, Frame};
use crate::link::nd::{self, Ours, Outcome, Outgoing};
use crate::link::neighbor::Advertised;
use crate::link::packet::Packet;
use crate::link::route;
use crate::wire::checksum::PseudoHeader;
use crate::wire::icmpv6::Icmp;
use crate::wire::nd::{Nd, NeighborAdvertisement};
use crate::wire::{ipv6, nd as wire_nd};

impl<D: Device> Core<D> {
    /// A message of neighbour discovery, whose ICMPv6 header and checksum are right.
    pub(super) fn discovery_path(&mut self, at: Lane, frame: D::Frame, packet: &Packet, icmp: &Icmp) -> Verdict<D::Frame> {
        match self.discovery(at, frame.bytes(), packet, icmp) {
            Ok(()) => Verdict::Done(frame),
            Err(why) => Verdict::Drop(frame, why),
        }
    }

    /// The same for the bytes of a frame.
    pub(super) fn discovery(&mut self, at: Lane, bytes: &[u8], packet: &Packet, icmp: &Icmp) -> Result<(), Drop> {
        let (Some(whole), Some(message)) = (bytes.get(packet.whole()), bytes.get(packet.payload())) else {
            return Err(Drop::NdMalformed);
        };
        let outcome = ipv6::parse(whole).and_then(|ip| {
            let message = wire_nd::parse(icmp, message, &ip, packet.atomic)?;
            let link = self.link_of(at);
            let first_hop = |destination| match self.next_hop(at, IpAddr::V6(destination)) {
                Some(IpAddr::V6(hop)) if self.config.redirects => Some(hop),
                _ => None,
            };
            let redirects_from = if let Nd::Redirect(said) = &message { first_hop(said.destination) } else { None };
            let ours =
                Ours { mac: link.interface.mac, assigned: &link.claimed_v6, tentative: &link.tentative_v6, redirects_from };
            Ok(nd::on_nd(&message, &ip, packet.ethernet.source, &ours))
        });
        match outcome {
            Ok(Outcome::Reply { asker, reply }) => {
                if let Some(asker) = asker {
                    self.learn(at, IpAddr::V6(asker.ip), asker.mac);
                }
                // What another core has heard it has answered.
                if !self.second_hand {
                    self.send_discovery(at, &reply);
                }
                Ok(())
            }
            Ok(Outcome::Advertised(said)) => self.advertised(at, &said),
            Ok(Outcome::Conflict { ip, rival }) => {
                self.conflict(at, IpAddr::V6(ip), rival);
                Err(Drop::NdConflict)
            }
            Ok(Outcome::Router(said)) => self.router(at, &said),
            Ok(Outcome::Redirect { destination, hop, mac }) => {
                match self.redirected(at, packet.source.ip(), IpAddr::V6(destination), IpAddr::V6(hop), mac) {
                    true => Ok(()),
                    false => Err(Drop::NdRedirect),
                }
            }
            Ok(Outcome::Drop(why)) | Err(why) => Err(why),
        }
    }

    /// A station says which Ethernet address it has.
    fn advertised(&mut self, at: Lane, said: &NeighborAdvertisement) -> Result<(), Drop> {
        let now = self.now;
        let link = &mut self.links[at.link()];
        let hop = link.hop(IpAddr::V6(said.target));
        let taken = link.neighbors.advertised(now, hop, said, &mut self.waiting);
        if let Some(mac) = self.link_of(at).neighbors.known(hop) {
            self.send_waiting(at, mac);
        }
        match taken {
            Advertised::Ignored => return Err(Drop::NdNotOurs),
            Advertised::NoLongerRouter => self.is_no_router(at, said.target),
            Advertised::Taken => {}
        }
        Ok(())
    }

    /// Asks who has an address: the station that had it, or all.
    pub(super) fn solicit(&mut self, at: Lane, target: Ipv6Addr) {
        let link = self.link_of(at);
        let Some((_, IpAddr::V6(source))) = route::source([&link.interface], IpAddr::V6(target)) else { return };
        let known = link.neighbors.ask_at(link.hop(IpAddr::V6(target)));
        let question = Outgoing::question(link.interface.mac, source, target, known);
        self.send_discovery(at, &question);
    }

    /// Sends a message of our own.
    pub(super) fn send_discovery(&mut self, at: Lane, outgoing: &Outgoing) {
        let Outgoing { source, target, target_mac, message } = outgoing;
        let link = LinkHeader { target: *target_mac, ..self.unresolved(at) };
        let ends = ((*source).into(), (*target).into());
        let pseudo = PseudoHeader { source: ends.0, target: ends.1, protocol: ipv6::NEXT_HEADER_ICMPV6 };
        let mut bytes = [0; MESSAGE_MAX];
        let len = wire_nd::emit(&mut bytes, message, &pseudo);
        let Some(mut frame) = self.ports[at.port()].device.allocate() else {
            self.drops.count(Drop::NoFrame);
            return;
        };
        let delivery = Delivery { ttl: ipv6::ON_LINK_HOP_LIMIT, ..Delivery::default() };
        if len == 0 || !emit::icmp_packet(&mut frame, link, ends, delivery, &bytes[..len]) {
            self.settle(at, Verdict::Drop(frame, Drop::NoFrame));
            return;
        }
        match message {
            Nd::NeighborAdvertisement(_) => self.counters.nd_advertisements += 1,
            _ => self.counters.nd_solicitations += 1,
        }
        self.settle(at, Verdict::Tx(frame));
    }
}

/// The longest message of ours: a header, an address and an option.
const MESSAGE_MAX: usize = 32;
