//! What an engine does for what routers say, where that is followed: routers asked for, their advertisements handed on, addresses made of them (RFC
//! 4861 6.3.7, RFC 4862 5.5), redirects taken in (RFC 1122 3.2.2.2, RFC 4861 8).
//!
//! Called by the paths of neighbour discovery and of the addresses, and for the news of the control thread, which puts together what routers say
//! ([`crate::link::routers`]) and has the addresses steered. Their way is that of every claimed address, from the probe on. Nothing here panics.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::core::{Core, Lane, Link, Timer};
use super::flows::Glance;
use super::news::Wish;
use super::wheel::Handle;
use crate::demux::SlotId;
use crate::device::{Device, Drop};
use crate::limits;
use crate::link::dad::{Candidate, Plan};
use crate::link::interface::{Cidr, Claim};
use crate::link::nd::{Outgoing, Router};
use crate::link::route;
use crate::wire::ethernet::Mac;

/// A link whose routers are followed.
#[derive(Debug, Default)]
pub(super) struct Advertised {
    /// The addresses made of what they advertise, whatever has become of them.
    addresses: Vec<IpAddr>,
    /// Questions for routers that may still be sent, and the timer of the next.
    questions: u8,
    timer: Option<Handle>,
}

impl<F> Link<F> {
    /// True for an address made of what routers advertise.
    pub(super) fn is_advertised(&self, address: IpAddr) -> bool {
        self.advertised.as_ref().is_some_and(|advertised| advertised.addresses.contains(&address))
    }

    /// Begins with a claimed address, in a place of the candidates or behind the last one.
    pub(super) fn begin(&mut self, place: usize, candidate: Candidate) {
        let address = candidate.address();
        match self.candidates.get_mut(place) {
            Some(vacant) => *vacant = candidate,
            None => {
                self.candidates.push(candidate);
                self.address_timers.push(None);
            }
        }
        self.interface.withheld.push(address);
        if let IpAddr::V6(address) = address {
            self.tentative_v6.push(address);
        }
    }

    /// Gives an address up; the timer that is to be cancelled.
    fn give_up(&mut self, address: IpAddr) -> Option<Handle> {
        if let Claim::Addresses(addresses) = &mut self.interface.claim {
            addresses.retain(|cidr| cidr.address != address);
        }
        self.interface.withheld.retain(|&withheld| withheld != address);
        self.tentative_v6.retain(|&tentative| IpAddr::V6(tentative) != address);
        self.claimed_v6.retain(|&claimed| IpAddr::V6(claimed) != address);
        let place = self.candidates.iter().position(|candidate| candidate.address() == address)?;
        self.candidates[place] = Candidate::vacant();
        self.address_timers[place].take()
    }
}

impl<D: Device> Core<D> {
    /// A router tells of itself and the link.
    pub(super) fn router(&mut self, at: Lane, said: &Router) -> Result<(), Drop> {
        let interface = at.interface;
        let link = &mut self.links[usize::from(interface)];
        // Otherwise routes and addresses are the operator's alone.
        let Some(advertised) = &mut link.advertised else { return Err(Drop::NdNotOurs) };
        //= rfc4861#6.3.7
        //# Once the host sends a Router Solicitation, and receives a valid
        //# Router Advertisement with a non-zero Router Lifetime, the host MUST
        //# desist from sending additional solicitations on that interface, until
        //# the next time one of the above events occurs.
        if !said.lifetime.is_zero() {
            advertised.questions = 0;
        }
        //= rfc4861#6.3.4
        //# If the advertisement contains a Source Link-Layer Address
        //# option, the link-layer address SHOULD be recorded in the Neighbor
        //# Cache entry for the router
        if let Some(mac) = said.mac {
            self.learn(at, IpAddr::V6(said.address), mac);
        }
        let link = &mut self.links[usize::from(interface)];
        link.neighbors.note_router(link.hop(IpAddr::V6(said.address)));
        self.wish(Wish::Router { interface, said: Box::new(*said) });
        // Said again, should it have found no room.
        let link = self.link_of(at);
        let another_has = link.candidates.iter().filter(|candidate| candidate.is_duplicate()).map(Candidate::address);
        another_has.filter(|&address| link.is_advertised(address)).for_each(|address| self.another_has(at, address));
        Ok(())
    }

    /// A router says that packets for `destination` had better go to `hop`, whose Ethernet address it may tell. True when they do from now on.
    pub(super) fn redirected(&mut self, at: Lane, from: IpAddr, destination: IpAddr, hop: IpAddr, mac: Option<Mac>) -> bool {
        let link = self.link_of(at);
        //= rfc1122#3.2.2.2
        //# A Redirect message SHOULD be silently discarded if the new
        //# gateway address it specifies is not on the same connected
        //# (sub-) net through which the Redirect arrived [INTRO:2,
        //# Appendix A], or if the source of the Redirect is not the
        //# current first-hop gateway for the specified destination (see
        //# Section 3.3.1).
        let by_gateway = from != destination && self.next_hop(at, destination) == Some(from);
        // Over IPv6 the destination itself may turn out to be on the link (RFC 4861 8).
        let itself = hop == destination && hop.is_ipv6();
        let on_link = itself || !route::is_many(&link.interface, hop) && route::next_hop(&link.interface, hop) == Some(hop);
        let allowed = self.config.redirects && !link.mirrored;
        if !allowed || !by_gateway || !on_link || hop == from || link.interface.owns(hop) {
            return false;
        }
        let (now, link) = (self.now, &mut self.links[at.link()]);
        if !link.redirects.add(now, destination, hop) {
            return false;
        }
        //= rfc4861#8.3
        //# If the redirect contains a Target Link-Layer Address option, the
        //# host either creates or updates the Neighbor Cache entry for the
        //# target.
        if let Some(mac) = mac {
            self.learn(at, hop, mac);
        }
        //= rfc4861#8.3
        //# If the Target Address is not the same
        //# as the Destination Address, the host MUST set IsRouter to TRUE for
        //# the target.
        let link = &mut self.links[at.link()];
        if hop != destination {
            link.neighbors.note_router(link.hop(hop));
        }
        self.counters.redirects_followed += 1;
        let concerned = |flow: &Glance| flow.lane.interface == at.interface && flow.key.remote.ip() == destination;
        let concerned: Vec<SlotId> = self.flows.glances().filter(concerned).map(|flow| flow.id).collect();
        for id in concerned {
            self.flows.forget_hop(id);
        }
        true
    }

    /// A neighbour does not answer: if it is a router, or was named by one, others take its place.
    pub(super) fn hop_is_silent(&mut self, at: Lane, hop: IpAddr) {
        let (now, link) = (self.now, &mut self.links[at.link()]);
        link.redirects.silent(now, hop);
        let leads = link.advertised.is_some() && link.interface.routes.iter().any(|route| route.via == Some(hop));
        if let (true, IpAddr::V6(router)) = (leads, hop) {
            self.wish(Wish::Silent { interface: at.interface, router });
        }
    }

    /// A neighbour that was a router says that it is none any more.
    pub(super) fn is_no_router(&mut self, at: Lane, address: Ipv6Addr) {
        //= rfc4861#7.2.5
        //# In those cases where the IsRouter flag changes
        //# from TRUE to FALSE as a result of this update, the node MUST
        //# remove that router from the Default Router List and update the
        //# Destination Cache entries for all destinations using that
        //# neighbor as a router as specified in Section 7.3.3.
        let link = &mut self.links[at.link()];
        link.redirects.forget(IpAddr::V6(address));
        if link.advertised.is_some() {
            self.wish(Wish::Router { interface: at.interface, said: Box::new(Router::none_at(address)) });
        }
    }

    /// An address made of what routers advertise is another station's.
    pub(super) fn another_has(&self, at: Lane, address: IpAddr) {
        if let IpAddr::V6(address) = address {
            self.wish(Wish::Duplicate { interface: at.interface, address });
        }
    }

    /// An address made of what routers advertise is to be ours, or no longer.
    pub(super) fn told_advertised(&mut self, at: Lane, cidr: Cidr, there: bool) {
        let (interface, address) = (at.interface, cidr.address);
        //= rfc4862#5.4.2
        //# Even if the Neighbor Solicitation is not going to be the first
        //# message sent, the node SHOULD delay joining the solicited-node
        //# multicast address by a random delay between 0 and
        //# MAX_RTR_SOLICITATION_DELAY if the address being checked is configured
        //# by a router advertisement message sent to a multicast address.
        let plan = Plan { first: Plan::IPV6.first, ..self.plan() };
        let candidate = self.candidate(address, plan);
        let link = &mut self.links[usize::from(interface)];
        let known = link.interface.addresses().iter().any(|known| known.address == address);
        let Some(advertised) = &mut link.advertised else { return };
        if !there {
            let own = advertised.addresses.iter().position(|own| *own == address);
            if let Some(own) = own {
                advertised.addresses.swap_remove(own);
                let timer = link.give_up(address);
                timer.and_then(|timer| self.wheel.cancel(timer));
            }
            return;
        }
        if known || advertised.addresses.len() >= limits::LINK_PREFIXES {
            return;
        }
        advertised.addresses.push(address);
        if let Claim::Addresses(addresses) = &mut link.interface.claim {
            addresses.push(cidr);
        }
        let place = link.candidates.iter().position(Candidate::is_vacant).unwrap_or(link.candidates.len());
        link.begin(place, candidate);
        self.address_timer(interface, place as u16);
    }

    /// An address is ours now: from a link-local one routers can be asked for.
    pub(super) fn routers_can_be_asked(&mut self, interface: u16, address: IpAddr) {
        if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
            self.begin_asking(interface);
        }
    }

    /// Asks for routers from now on, if they are followed here, until one answers.
    pub(super) fn begin_asking(&mut self, interface: u16) {
        let Some(advertised) = &mut self.links[usize::from(interface)].advertised else { return };
        advertised.questions = QUESTIONS;
        self.ask_for_routers(interface);
    }

    /// Asks for routers, if none has answered.
    pub(super) fn ask_for_routers(&mut self, interface: u16) {
        let Some(at) = self.port_of(interface) else { return };
        let link = &mut self.links[usize::from(interface)];
        let ours = link.claimed_v6.iter().copied().find(|ours| ours.is_unicast_link_local());
        let (Some(ours), Some(advertised)) = (ours, &mut link.advertised) else { return };
        let last = advertised.timer.take();
        if advertised.questions > 0 {
            //= rfc4861#6.3.7
            //# a host SHOULD transmit up to MAX_RTR_SOLICITATIONS Router
            //# Solicitation messages, each separated by at least
            //# RTR_SOLICITATION_INTERVAL seconds.
            advertised.questions -= 1;
            advertised.timer = self.wheel.arm(self.now + QUESTION_INTERVAL, Timer::Routers { interface });
            let question = Outgoing::router_question(link.interface.mac, ours);
            self.send_discovery(at, &question);
        }
        last.and_then(|last| self.wheel.cancel(last));
    }
}

/// MAX_RTR_SOLICITATIONS and RTR_SOLICITATION_INTERVAL (RFC 4861 10).
const QUESTIONS: u8 = 3;
const QUESTION_INTERVAL: Duration = Duration::from_secs(4);
