//! An engine follows what changes in the kernel: neighbours, routes and addresses of a port claim, the link, and frames that both need.
//!
//! Called once a turn for the news of the control thread ([`super::news`]). In a port claim the kernel finds the neighbours, so Ringway sends no ARP
//! and no neighbour discovery from the kernel's addresses. Nothing here panics.

use std::net::IpAddr;
use std::sync::Arc;

use super::core::{Core, Lane, Link};
use super::flow::Flow;
use super::news::{Feed, News, Wish};
use super::run::Engine;
use super::settle::Verdict;
use crate::demux::{Address, SlotId};
use crate::device::{Device, Drop};
use crate::limits;
use crate::link::arp::{self, Outcome};
use crate::link::icmp::Reaction;
use crate::link::interface::{Cidr, Claim};
use crate::link::neighbor::Known;
use crate::link::packet::{self, Accepted};
use crate::link::redirects::Redirects;
use crate::service::Service;
use crate::wire::ethernet::ETHERTYPE_ARP;
use crate::wire::vlan::TAG_LEN;
use crate::wire::{arp as wire_arp, ipv4, ipv6};

impl<D: Device, S: Service> Engine<D, S> {
    /// Has the engine follow the kernel, before it starts: the port claims on interfaces find routes and neighbours as the kernel does. `waker` wakes whoever
    /// holds the [`Feed`].
    pub fn follow(&mut self, waker: Arc<mio::Waker>) -> Feed {
        let (feed, follow) = Feed::new(self.bell(), waker);
        for link in &mut self.core.links {
            link.mirrored = matches!(link.interface.claim, Claim::Ports { .. });
            if link.mirrored {
                link.neighbors.keep_by_kernel();
            }
        }
        self.core.follow = Some(follow);
        feed
    }

    /// Applies news. True when there was any.
    #[cold]
    #[inline(never)]
    pub(super) fn read_news(&mut self) -> bool {
        // No more than fit in at once, so that a busy writer cannot hold up the queues.
        for _ in 0..limits::NEWS {
            let Some(news) = self.core.follow.as_ref().and_then(|follow| follow.news.pop()) else { break };
            self.apply(news);
        }
        true
    }

    pub(super) fn apply(&mut self, news: News) {
        let interface = match &news {
            News::Neighbor { interface, .. }
            | News::Routes { interface, .. }
            | News::Address { interface, .. }
            | News::Link { interface, .. }
            | News::Mtu { interface, .. }
            | News::MtuV6 { interface, .. }
            | News::Reachable { interface, .. }
            | News::Copy { interface, .. }
            | News::Heard { interface, .. }
            | News::Ours { interface, .. } => *interface,
        };
        let Some(at) = self.core.port_of(interface) else { return };
        match news {
            News::Neighbor { ip, known, .. } => self.core.told_neighbor(at, ip, known),
            News::Routes { mut routes, .. } => {
                let link = self.core.link_mut(at);
                std::mem::swap(&mut link.interface.routes, &mut routes);
                // They were about the routes that have gone.
                link.redirects = Redirects::default();
                self.core.wish(Wish::Free(routes));
            }
            News::Address { address, there, .. } => self.core.told_address(at, address, there),
            News::Link { up, .. } => self.core.lanes_of_nic(at).into_iter().for_each(|at| self.core.told_link(at, up)),
            News::Mtu { mtu, .. } => self.core.lanes_of_nic(at).into_iter().for_each(|at| self.core.told_mtu(at, mtu)),
            News::MtuV6 { mtu, .. } => self.core.told_mtu_v6(at, mtu),
            News::Reachable { time, .. } => {
                let Core { links, config, .. } = &mut self.core;
                links[at.link()].set_reachable_time(config, time);
            }
            News::Copy { frame, .. } => {
                self.core.counters.copies += 1;
                if let Err(why) = self.copy(at, &frame) {
                    self.core.drop(why);
                }
            }
            // Whatever is wrong with it, the core at which it arrived has counted.
            News::Heard { frame, .. } => drop(self.heard(at, &frame)),
            News::Ours { address, .. } => self.core.told_ours(at, address),
        }
    }

    /// A frame that the kernel has too. What calls for an answer is the kernel's; what it tells is taken in.
    fn copy(&mut self, at: Lane, bytes: &[u8]) -> Result<(), Drop> {
        self.core.tell_frame(at, bytes);
        let interface = &self.core.link_of(at).interface;
        let header = packet::accept_ethernet(interface, bytes)?;
        if header.ethertype == ETHERTYPE_ARP {
            return self.core.arp_copy(at, bytes.get(header.header_len()..).unwrap_or_default());
        }
        let Accepted::Ip(packet) = packet::accept_ip(interface, header, bytes)? else { return Err(Drop::IcmpIgnored) };
        let icmp = if packet.is_ipv4() { ipv4::PROTOCOL_ICMP } else { ipv6::NEXT_HEADER_ICMPV6 };
        let message = bytes.get(packet.payload()).filter(|_| packet.protocol == icmp).ok_or(Drop::IcmpIgnored)?;
        match self.core.icmp_reaction(at, &packet, message) {
            Reaction::Error { trouble, quoted } => {
                self.core.counters.icmp_errors_received += 1;
                self.icmp_error(at, trouble, &quoted);
                Ok(())
            }
            Reaction::Discovery(icmp) if !self.core.link_of(at).mirrored => self.core.discovery(at, bytes, &packet, &icmp),
            // The routes of a port claim are the kernel's business.
            Reaction::Echo | Reaction::Redirect { .. } | Reaction::Discovery(_) => Err(Drop::IcmpIgnored),
            Reaction::Drop(why) => Err(why),
        }
    }
}

impl<D: Device> Core<D> {
    /// True when there is news.
    #[inline]
    pub(super) fn news_wait(&self) -> bool {
        self.follow.as_ref().is_some_and(|follow| !follow.news.is_empty())
    }

    /// The lanes of all VLANs of a NIC: they go up and down together.
    fn lanes_of_nic(&self, at: Lane) -> Vec<Lane> {
        let nic = self.link_of(at).nic;
        let same = self.links.iter().enumerate().filter(|(_, link)| link.nic == nic);
        same.map(|(interface, _)| Lane { interface: interface as u16, ..at }).collect()
    }

    fn link_mut(&mut self, at: Lane) -> &mut Link<D::Frame> {
        &mut self.links[at.link()]
    }

    /// Tells the control thread, if there is one. What routers and other stations say every core hears, and one passes on.
    pub(super) fn wish(&self, wish: Wish) {
        if matches!(wish, Wish::Router { .. } | Wish::Duplicate { .. }) && !self.is_leader() {
            return;
        }
        if let Some(follow) = &self.follow {
            follow.wish(wish);
        }
    }

    fn told_neighbor(&mut self, at: Lane, ip: IpAddr, known: Known) {
        let now = self.now;
        let mut dropped = Vec::new();
        let link = &mut self.links[at.link()];
        let hop = link.hop(ip);
        link.neighbors.told(now, hop, known, &mut self.waiting, &mut dropped);
        for frame in dropped {
            self.settle(at, Verdict::Drop(frame, Drop::NeighborUnreachable));
        }
        if let Some(mac) = self.link_of(at).neighbors.known(hop) {
            self.send_waiting(at, mac);
        }
    }

    fn told_address(&mut self, at: Lane, address: Cidr, there: bool) {
        match &mut self.link_mut(at).interface.claim {
            Claim::Ports { addresses, .. } => {
                // The kernel may have an address in two networks, for a while.
                addresses.retain(|known| *known != address);
                if there {
                    addresses.push(address);
                }
            }
            Claim::Addresses(_) => self.told_advertised(at, address, there),
        }
    }

    fn told_link(&mut self, at: Lane, up: bool) {
        let link = self.link_of(at);
        if !up || link.mirrored || !self.is_leader() {
            return;
        }
        // Whoever is at the other end now is to know us, and may be another station than before.
        let ours = link.claimed.iter().map(|&address| IpAddr::V4(address));
        let ours: Vec<IpAddr> = ours.chain(link.claimed_v6.iter().map(|&address| IpAddr::V6(address))).collect();
        ours.into_iter().for_each(|address| self.announce_one(at, address));
        self.begin_asking(at.interface);
    }

    fn told_mtu(&mut self, at: Lane, mtu: usize) {
        let interface = &mut self.link_mut(at).interface;
        // A NIC has room for one tag beside its MTU.
        let mtu = mtu.saturating_sub(interface.vlan.tag_bytes().saturating_sub(TAG_LEN));
        interface.mtu = mtu;
        self.link_mtu_changed(at, |_| true);
    }

    /// Routers allow so much on the link, over IPv6 alone.
    fn told_mtu_v6(&mut self, at: Lane, mtu: usize) {
        self.link_mut(at).mtu_v6 = mtu;
        self.path_mtus.limit_links(self.links.iter().map(|link| link.mtu_v6).min().unwrap_or(usize::MAX));
        self.link_mtu_changed(at, |remote| remote.v4().is_none());
    }

    /// Tells the connections over a link whose peers it concerns what it carries. Those at rest hear it when they get up.
    fn link_mtu_changed(&mut self, at: Lane, concerns: fn(Address) -> bool) {
        for slot in 0..self.flows.slots() as u32 {
            let over = |flow: &mut Flow| flow.lane.interface == at.interface && concerns(flow.key.remote);
            if self.flows.whole_at_mut(slot).is_some_and(over)
                && let Some(id) = self.flows.id_at(slot)
                && self.tell_link_mtu(id)
            {
                self.touch(id);
            }
        }
    }

    /// Tells a flow what its link carries. True when it has something to send again.
    pub(super) fn tell_link_mtu(&mut self, id: SlotId) -> bool {
        let Self { config, now, flows, links, .. } = self;
        let Some(flow) = flows.find_mut(id) else { return false };
        let mtu = links[flow.lane.link()].mtu_to(flow.key.remote).min(usize::from(u16::MAX)) as u16;
        flow.tcb.on_link_mtu(&config.tcp, *now, mtu)
    }

    /// ARP between others: a neighbour that is known may say that its Ethernet address is another now.
    fn arp_copy(&mut self, at: Lane, bytes: &[u8]) -> Result<(), Drop> {
        let packet = wire_arp::parse(bytes)?;
        let link = self.link_of(at);
        match arp::on_arp(&packet, &link.claimed, link.interface.mac) {
            Outcome::Update(neighbor) if self.update(at, IpAddr::V4(neighbor.ip), neighbor.mac) => Ok(()),
            _ => Err(Drop::ArpNotOurs),
        }
    }

    /// True when a flow may go on sending: its address is still the kernel's, or still ours.
    pub(super) fn may_send_from(&self, at: Lane, source: IpAddr) -> bool {
        let link = self.link_of(at);
        !link.mirrored && link.advertised.is_none() || link.interface.owns(source)
    }
}
