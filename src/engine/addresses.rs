//! Claimed addresses: found free, used, announced, defended (RFC 5227, RFC 4862 5.4).
//!
//! Called at the start, by the timer of each address, and when another station says that an address is its own. The way of an address is
//! [`crate::link::dad`]; until it is ours it stands among [`crate::link::interface::Interface::withheld`]. Nothing here panics.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::clock::Clock;
use super::core::{Core, Lane, Link as CoreLink, Timer};
use super::emit::LinkHeader;
use super::run::Engine;
use crate::demux::{Address, FlowKey, Link};
use crate::device::Device;
use crate::link::arp;
use crate::link::dad::{Candidate, Plan, Step};
use crate::link::interface::Claim;
use crate::link::nd::Outgoing;
use crate::service::Service;
use crate::wire::ethernet::Mac;

/// A claimed address that another station has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Ethernet address of the other station.
    pub rival: Mac,
}

impl<D: Device, S: Service> Engine<D, S> {
    /// Probes for the claimed addresses and returns once each is ours or known to be another's: those are returned. What comes meanwhile for
    /// a service finds none: no port is open yet. `wait` is called between two looks. Without this [`Engine::start`] begins with the probes, and each address is
    /// served once it is ours.
    pub fn claim_addresses(&mut self, clock: &impl Clock, mut wait: impl FnMut()) -> Vec<Duplicate> {
        self.core.now = clock.now();
        self.core.begin_addresses();
        // By then every probe was sent and waited for, unless an interface has no port to send it by.
        let plan = self.core.plan();
        let end = self.core.now + plan.spacing.1 * u32::from(plan.probes) + plan.wait + plan.spacing.1;
        let asked_for = |link: &CoreLink<D::Frame>, address| !link.is_advertised(address);
        let tentative = |link: &CoreLink<D::Frame>| {
            link.candidates.iter().any(|candidate| candidate.is_tentative() && asked_for(link, candidate.address()))
        };
        let tentative = |core: &Core<D>| core.links.iter().any(tentative);
        while tentative(&self.core) && self.core.now < end {
            self.turn(clock);
            wait();
        }
        std::mem::take(&mut self.core.duplicates)
    }
}

impl<D: Device> Core<D> {
    /// Begins with every claimed address, once.
    pub(super) fn begin_addresses(&mut self) {
        if std::mem::replace(&mut self.addresses_begun, true) {
            return;
        }
        for interface in 0..self.links.len() {
            let Claim::Addresses(addresses) = self.links[interface].interface.claim.clone() else { continue };
            for (position, address) in addresses.iter().map(|cidr| cidr.address).enumerate() {
                let candidate = self.candidate(address, self.plan());
                self.links[interface].begin(position, candidate);
                self.address_timer(interface as u16, position as u16);
            }
        }
    }

    /// An address as it begins: where there are several cores, the first one finds out about it.
    pub(super) fn candidate(&self, address: IpAddr, plan: Plan) -> Candidate {
        match self.is_leader() {
            true => Candidate::new(self.now, address, plan, self.jitter(address)),
            false => Candidate::watched(address),
        }
    }

    pub(super) fn plan(&self) -> Plan {
        Plan {
            // The link has been up for long: nobody else begins at the same moment.
            first: Duration::ZERO,
            probes: self.config.address_probes,
            wait: self.config.address_probe_wait,
            ..Plan::IPV4
        }
    }

    /// Bytes that differ from host to host and from address to address.
    pub(super) fn jitter(&self, address: IpAddr) -> [u8; 8] {
        let address = Address::from(address);
        let link = Link { interface: 0 };
        self.hash.of(&FlowKey { local: address, remote: address, local_port: 0, remote_port: 0, link }).to_ne_bytes()
    }

    /// Does what is due for an address.
    pub(super) fn address_timer(&mut self, interface: u16, position: u16) {
        let Some(at) = self.port_of(interface) else { return };
        let (interface_at, position_at) = (usize::from(interface), usize::from(position));
        // Without probes the address is ours at once.
        for _ in 0..STEPS_AT_ONCE {
            let now = self.now;
            let Some(candidate) = self.links[interface_at].candidates.get_mut(position_at) else { return };
            let (address, step) = (candidate.address(), candidate.expire(now));
            match step {
                None => break,
                Some(Step::Probe) => self.probe(at, address),
                Some(Step::Assign) => {
                    self.links[interface_at].assign(address);
                    self.announce_one(at, address);
                    self.routers_can_be_asked(interface, address);
                }
                Some(Step::Announce) => self.announce_one(at, address),
            }
        }
        let link = &mut self.links[interface_at];
        let (Some(candidate), Some(timer)) = (link.candidates.get(position_at), link.address_timers.get_mut(position_at)) else {
            return;
        };
        // The wheel has room for one timer of each address.
        let due = Some(candidate.deadline()).filter(|&due| due != crate::time::Instant::NEVER);
        *timer = due.and_then(|due| self.wheel.arm(due, Timer::Address { interface, position }));
    }

    /// Asks whether anybody has an address.
    fn probe(&mut self, at: Lane, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let link = LinkHeader { target: Mac::BROADCAST, ..self.unresolved(at) };
                if self.send_arp(at, link, &arp::request(link.source, Ipv4Addr::UNSPECIFIED, address)) {
                    self.counters.arp_requests += 1;
                }
            }
            IpAddr::V6(address) => self.send_discovery(at, &Outgoing::probe(address)),
        }
    }

    /// Tells all that an address is ours, so that neighbours forget who had it before (RFC 5227 2.3, RFC 4861 7.2.6).
    pub(super) fn announce_one(&mut self, at: Lane, address: IpAddr) {
        self.tell_ours(at.interface, address);
        let link = LinkHeader { target: Mac::BROADCAST, ..self.unresolved(at) };
        match address {
            IpAddr::V4(address) => {
                self.send_arp(at, link, &arp::announcement(link.source, address));
            }
            IpAddr::V6(address) => self.send_discovery(at, &Outgoing::announcement(link.source, address)),
        }
    }

    /// Another station has or wants an address of ours. One that was not ours yet is its; one that is, is said and, at most every ten seconds, announced
    /// again (RFC 5227 2.4 b).
    pub(super) fn conflict(&mut self, at: Lane, address: IpAddr, rival: Mac) {
        if !self.is_leader() {
            // It is told.
            return;
        }
        let now = self.now;
        let link = &mut self.links[at.link()];
        let candidate = link.candidates.iter_mut().find(|candidate| candidate.address() == address);
        if candidate.as_ref().is_some_and(|candidate| candidate.is_duplicate()) {
            return;
        }
        if candidate.is_some_and(Candidate::conflict) {
            link.tentative_v6.retain(|&tentative| IpAddr::V6(tentative) != address);
            let interface = link.interface.name.clone();
            if link.is_advertised(address) {
                // Whoever is on the link can advertise such addresses and have them all: what comes of it the control thread says, so many times.
                tracing::debug!("{address} is not used on {interface}: the station {rival} has it");
                self.another_has(at, address);
            } else {
                tracing::error!("{address} is not used on {interface}: the station {rival} has it");
                self.duplicates.push(Duplicate { interface, address, rival });
            }
        } else if link.defense.due(now) {
            tracing::warn!(
                "address conflict on {}: {rival} claims {address}, which is ours; announcing it again",
                link.interface.name
            );
            self.announce_one(at, address);
        }
    }
}

/// Steps of an address that may be due at one time: with no probe it is assigned, and nothing else is due then.
const STEPS_AT_ONCE: usize = 2;
