//! What every core must know: what neighbours and routers say, errors about our packets, and which addresses are ours.
//!
//! What a station says arrives at one core, and each asks its own questions: so the bytes of such a frame are told to all others, after the core where it arrived has
//! answered. They take in what it says and answer nothing. That is bounded twice, in a turn and by the room of the boxes; what is lost is said again
//! by who said it, or asked for again. Called by the link path, by the addresses and by the turn.

use std::net::IpAddr;

use super::{Provenance, Siblings};
use crate::device::{Device, Drop, Frame};
use crate::engine::core::{Core, Lane};
use crate::engine::news::News;
use crate::engine::run::Engine;
use crate::limits;
use crate::link::arp::{self, Outcome};
use crate::link::dad;
use crate::link::icmp::Reaction;
use crate::link::packet::{self, Accepted};
use crate::service::Service;
use crate::wire::ethernet::ETHERTYPE_ARP;
use crate::wire::{arp as wire_arp, ipv4, ipv6};

impl<F: Frame> Siblings<F> {
    /// Tells all others. How many had no room.
    fn tell(&mut self, news: &News) -> u64 {
        let mut lost = 0;
        for (number, core) in self.all.iter().enumerate().filter(|(number, _)| *number != usize::from(self.me)) {
            match core.news.push(news.clone()) {
                Ok(()) => self.left_for |= 1 << number,
                Err(_) => lost += 1,
            }
        }
        lost
    }
}

impl<D: Device> Core<D> {
    /// Tells the other cores the contents of a frame that concerns them as well.
    #[inline]
    pub(in crate::engine) fn tell_frame(&mut self, at: Lane, bytes: &[u8]) {
        if self.siblings.is_some() && self.provenance == Provenance::Arrived {
            self.tell_bytes(at, bytes);
        }
    }

    #[cold]
    fn tell_bytes(&mut self, at: Lane, bytes: &[u8]) {
        let Some(siblings) = &mut self.siblings else { return };
        let Some(left) = siblings.told_left.checked_sub(1) else {
            self.counters.siblings_untold += siblings.count() as u64 - 1;
            return;
        };
        siblings.told_left = left;
        self.counters.siblings_untold += siblings.tell(&News::Heard { interface: at.interface, frame: bytes.into() });
    }

    /// Tells the other cores that an address is ours from now on.
    pub(in crate::engine) fn tell_ours(&mut self, interface: u16, address: IpAddr) {
        if let Some(siblings) = &mut self.siblings {
            // It is told again with each announcement.
            self.counters.siblings_untold += siblings.tell(&News::Ours { interface, address });
        }
    }

    /// The leader has found an address free.
    pub(in crate::engine) fn told_ours(&mut self, at: Lane, address: IpAddr) {
        let link = &mut self.links[at.link()];
        let candidate = link.candidates.iter_mut().find(|candidate| candidate.address() == address && candidate.is_tentative());
        if let Some(candidate) = candidate {
            candidate.assigned_elsewhere();
            link.assign(address);
        }
    }
}

impl<D: Device, S: Service> Engine<D, S> {
    /// Applies what other cores have told. True when there was something.
    #[cold]
    #[inline(never)]
    pub(in crate::engine) fn read_siblings_news(&mut self) -> bool {
        let mut worked = false;
        // No more than fit in at once, so that busy siblings cannot hold up the queues.
        for _ in 0..limits::NEWS {
            let news = self.core.siblings.as_ref().and_then(|siblings| siblings.own()).and_then(|own| own.news.pop());
            let Some(news) = news else { break };
            worked = true;
            self.apply(news);
        }
        worked
    }

    /// A frame that another core has answered already.
    pub(in crate::engine) fn heard(&mut self, at: Lane, bytes: &[u8]) -> Result<(), Drop> {
        self.core.second_hand = true;
        let done = self.take_in(at, bytes);
        self.core.second_hand = false;
        done
    }

    fn take_in(&mut self, at: Lane, bytes: &[u8]) -> Result<(), Drop> {
        let interface = &self.core.link_of(at).interface;
        let header = packet::accept_ethernet(interface, bytes)?;
        if header.ethertype == ETHERTYPE_ARP {
            return self.core.heard_arp(at, bytes.get(header.header_len()..).unwrap_or_default());
        }
        let Accepted::Ip(packet) = packet::accept_ip(interface, header, bytes)? else { return Err(Drop::IcmpIgnored) };
        let icmp = if packet.is_ipv4() { ipv4::PROTOCOL_ICMP } else { ipv6::NEXT_HEADER_ICMPV6 };
        let message = bytes.get(packet.payload()).filter(|_| packet.protocol == icmp).ok_or(Drop::IcmpIgnored)?;
        match self.core.icmp_reaction(at, &packet, message) {
            Reaction::Error { trouble, quoted } => self.icmp_error(at, trouble, &quoted),
            Reaction::Discovery(icmp) => self.core.discovery(at, bytes, &packet, &icmp)?,
            Reaction::Redirect { destination, hop } => {
                self.core.redirected(at, packet.source.ip(), IpAddr::V4(destination), IpAddr::V4(hop), None);
            }
            Reaction::Echo => {}
            Reaction::Drop(why) => return Err(why),
        }
        Ok(())
    }
}

impl<D: Device> Core<D> {
    fn heard_arp(&mut self, at: Lane, bytes: &[u8]) -> Result<(), Drop> {
        let packet = wire_arp::parse(bytes)?;
        let link = self.link_of(at);
        let mac = link.interface.mac;
        let lost =
            link.candidates.iter().filter(|candidate| candidate.is_tentative()).find_map(|candidate| match candidate.address() {
                IpAddr::V4(address) if dad::is_arp_conflict(&packet, address, mac) => Some(IpAddr::V4(address)),
                _ => None,
            });
        if let Some(address) = lost {
            self.conflict(at, address, packet.sender_mac);
            return Ok(());
        }
        match arp::on_arp(&packet, &link.claimed, mac) {
            Outcome::Reply { asker: Some(neighbor), .. } | Outcome::Learn(neighbor) => {
                self.learn(at, IpAddr::V4(neighbor.ip), neighbor.mac);
            }
            Outcome::Update(neighbor) => {
                self.update(at, IpAddr::V4(neighbor.ip), neighbor.mac);
            }
            Outcome::Conflict { ip, rival } => self.conflict(at, IpAddr::V4(ip), rival),
            Outcome::Reply { asker: None, .. } => {}
            Outcome::Drop(why) => return Err(why),
        }
        Ok(())
    }
}
