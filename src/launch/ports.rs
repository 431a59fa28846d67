//! The ports of a port claim, on the addresses that the kernel has: held and steered together, and changed together while the engine runs.
//!
//! Made by `open` and shared with the control thread, which calls it when addresses come or go. Ports are held before they are steered, and
//! given up after. Nothing here panics.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::control::{OnAddresses, Settled};
use crate::error::SetupError;
use crate::link::interface::{Cidr, Claim, Interface, PortClaim};
use crate::steer::{Claims, Reservation, Steering};

/// The held ports of one interface, by address.
#[derive(Debug, Default)]
pub(super) struct Ports {
    ifindex: u32,
    held: BTreeMap<IpAddr, Reservation>,
}

impl Ports {
    /// Holds the claimed ports on every address of a port claim, or none of them; of an address claim there are none.
    pub(super) fn take(ifindex: u32, claim: &Claim) -> Result<Self, SetupError> {
        let mut ports = Self { ifindex, held: BTreeMap::new() };
        if let Claim::Ports { addresses, ports: claimed } = claim {
            addresses.iter().try_for_each(|address| ports.hold(*address, claimed))?;
        }
        Ok(ports)
    }

    fn hold(&mut self, address: Cidr, claimed: &[PortClaim]) -> Result<(), SetupError> {
        // Each once: the kernel may have an address under two prefixes.
        if !self.held.contains_key(&address.address) {
            self.held.insert(address.address, Reservation::take(self.ifindex, &[address], claimed)?);
        }
        Ok(())
    }
}

/// What the control thread calls when the kernel's addresses have changed; `None` for an address claim.
pub(super) fn on_addresses(
    interface: &Interface,
    ports: &Arc<Mutex<Ports>>,
    steering: &Arc<Mutex<Steering>>,
) -> Option<OnAddresses> {
    let Claim::Ports { ports: claimed, .. } = interface.claim.clone() else { return None };
    let (mut interface, ports, steering) = (interface.clone(), Arc::clone(ports), Arc::clone(steering));
    Some(Box::new(move |now: &[Cidr]| {
        let mut ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut addresses, mut left_out) = (Vec::new(), Vec::new());
        for &address in now {
            match ports.hold(address, &claimed) {
                Ok(()) => addresses.push(address),
                Err(error) => left_out.push(error),
            }
        }
        let before = interface.addresses().to_vec();
        interface.claim = Claim::Ports { addresses: addresses.clone(), ports: claimed.clone() };
        let mut steering = steering.lock().unwrap_or_else(PoisonError::into_inner);
        let again = claims_of(&interface).and_then(|claims| steering.update(&claims)).err();
        if again.is_some() {
            // Of what was to come and to go some may be steered and some not: all of it stays held, and only what was and is to be is ours.
            addresses.retain(|cidr| before.contains(cidr));
            interface.claim = Claim::Ports { addresses: addresses.clone(), ports: claimed.clone() };
        } else {
            ports.held.retain(|held, _| addresses.iter().any(|cidr| cidr.address == *held));
        }
        Settled { addresses, left_out, again }
    }))
}

/// What is claimed on an interface, also while the kernel has no address on it.
fn claims_of(interface: &Interface) -> Result<Claims, SetupError> {
    if interface.addresses().is_empty() {
        let mut claims = Claims::new();
        for group in interface.groups.iter() {
            claims.add_group(group.address(), group.port(), interface.vlan)?;
        }
        return Ok(claims);
    }
    Claims::of([interface])
}
