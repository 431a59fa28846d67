//! Addresses made of what routers advertise: steered and asked for at their groups while the engine runs.
//!
//! Made by `open` for an address claim whose routers are followed, and called by the control thread when such addresses come or go. Nothing here
//! panics.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::interfaces::machine_secret;
use crate::control::{Following, Settled};
use crate::link::interface::{Cidr, Claim, Interface};
use crate::steer::{Claims, Steering, addresses};
use crate::wire::ipv6;
use crate::xsk::Membership;
use crate::xsk::nic::Nic;

/// How the routers of a NIC are followed on the first of its interfaces; `None` for a port claim, where the kernel does that or does not, and where
/// everything has a tag.
pub(super) fn following(nic: &Nic, interfaces: &[Interface], steering: &Arc<Mutex<Steering>>) -> Option<Following> {
    let first = interfaces.first().filter(|first| first.vlan.is_none())?;
    let Claim::Addresses(claimed) = first.claim.clone() else { return None };
    let routes = first.routes.clone();
    let (nic, mut interfaces, steering) = (nic.clone(), interfaces.to_vec(), Arc::clone(steering));
    let mut held: BTreeMap<IpAddr, Option<Membership>> = BTreeMap::new();
    let on_addresses = move |now: &[Cidr]| {
        let kernel = addresses::kernel_addresses().unwrap_or_default();
        let (mut steered, mut left_out) = (Vec::new(), Vec::new());
        for &cidr in now {
            if held.contains_key(&cidr.address) {
                steered.push(cidr);
                continue;
            }
            match addresses::check(&cidr, &kernel) {
                Ok(()) => {
                    held.insert(cidr.address, join_for_solicitations(&nic, cidr.address));
                    steered.push(cidr);
                }
                Err(error) => left_out.push(error),
            }
        }
        let Some(first) = interfaces.first_mut() else { return Settled::default() };
        let before = first.claim.clone();
        first.claim = Claim::Addresses(claimed.iter().chain(&steered).copied().collect());
        let mut steering = steering.lock().unwrap_or_else(PoisonError::into_inner);
        let again = Claims::of(&interfaces).and_then(|claims| steering.update(&claims)).err();
        if again.is_some() {
            // Of what was to come and to go some may be steered and some not: only what was and is to be is ours.
            steered.retain(|cidr| before.addresses().contains(cidr));
            if let Some(first) = interfaces.first_mut() {
                first.claim = Claim::Addresses(claimed.iter().chain(&steered).copied().collect());
            }
        } else {
            held.retain(|held, _| steered.iter().any(|cidr| cidr.address == *held));
        }
        Settled { addresses: steered, left_out, again }
    };
    Some(Following { secret: machine_secret(), routes, on_addresses: Box::new(on_addresses) })
}

/// Joins the group at which neighbours ask for an IPv6 address (RFC 4291 2.8): a NIC that filters multicast drops the solicitations otherwise, and a switch
/// that snoops MLD sends them elsewhere. Where the kernel has no IPv6 this is said, and may do no harm.
pub(super) fn join_for_solicitations(nic: &Nic, address: IpAddr) -> Option<Membership> {
    let IpAddr::V6(address) = address else { return None };
    let joined = Membership::join(nic, ipv6::solicited_node(address).into(), &[]);
    joined.inspect_err(|error| tracing::warn!("{error}\n  neighbours may not find {address}, if the NIC filters multicast")).ok()
}
