//! Two interfaces taken whole, every frame of them: what a cable between them needs.
//!
//! Called by `ringway cable`. In the order of `open`, and given back in the reverse one. Whoever takes an interface whole takes it away from the
//! kernel, so one that carries an address of the kernel is refused. Runs once; every error is the operator's.

use std::net::IpAddr;

use super::interfaces::Checked;
use super::open::{Workers, describe, warn_of_hazards};
use super::ready::Ready;
use crate::error::SetupError;
use crate::link::groups::Groups;
use crate::link::interface::{Claim, Interface};
use crate::link::routes::Routes;
use crate::steer::addresses::{self, KernelAddress};
use crate::steer::{Attached, Mode, Steering};
use crate::wire::vlan::Vlan;
use crate::xsk::capability::{self, Right};
use crate::xsk::nic::Nic;
use crate::xsk::{self, Promiscuous, XskQueue, ZeroCopy};

/// What to take.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The names of the interfaces.
    pub names: [String; 2],
    /// How the XDP programs are attached.
    pub mode: Mode,
    /// Whether the sockets share memory with the NICs.
    pub zero_copy: ZeroCopy,
    /// The core the calling thread moves to.
    pub core: Option<u32>,
    /// Frames that the caller holds at once, per interface; the rings have theirs beside them.
    pub held: usize,
}

/// Two interfaces whose frames all come to their queues.
#[derive(Debug)]
pub struct Whole {
    // The programs first, so that no frame goes into a queue that is closing.
    attached: Vec<Attached>,
    steerings: Vec<Steering>,
    promiscuous: Vec<Promiscuous>,
    /// The queues of each, all of them; the caller takes them out, and closes them before this goes.
    pub queues: [Vec<XskQueue>; 2],
    /// The interfaces.
    pub ready: Vec<Ready>,
}

impl Pair {
    /// Takes both.
    ///
    /// # Errors
    /// An interface is named twice, is not there, is down, carries an address of the kernel, is the other end of the first, or has an XDP
    /// program; a capability is missing; the MTU fits no frame.
    pub fn open(&self) -> Result<Whole, SetupError> {
        let nics = self.check()?;
        if let Some(core) = self.core {
            // Before the frames are made, so that their pages lie near the core.
            crate::cpu::pin(core as usize)?;
        }
        let mut whole = Whole {
            attached: Vec::new(),
            steerings: Vec::new(),
            promiscuous: Vec::new(),
            queues: [Vec::new(), Vec::new()],
            ready: Vec::new(),
        };
        for (nic, place) in nics.into_iter().zip(&mut whole.queues) {
            let all: Vec<u32> = (0..nic.receive_queues()).collect();
            let queues = xsk::open(&nic, &all, &self.sockets())?;
            let steering = Steering::load_everything(nic.receive_queues())?;
            for queue in &queues {
                steering.set_socket(queue.queue(), std::os::fd::AsFd::as_fd(queue))?;
            }
            let promiscuous = Promiscuous::on(&nic)?;
            let attached = steering.attach(nic.name(), nic.index(), self.mode)?;
            let one = self.described(nic, all);
            warn_of_hazards(&one, attached.mode);
            whole.ready.push(describe(&one, &queues, attached.mode, &Workers::one(self.core), one.nic.rss().as_ref()));
            *place = queues;
            whole.attached.push(attached);
            whole.steerings.push(steering);
            whole.promiscuous.push(promiscuous);
        }
        Ok(whole)
    }

    /// Checks everything that can be checked before anything is taken.
    fn check(&self) -> Result<[Nic; 2], SetupError> {
        let [a, b] = &self.names;
        if a == b {
            return Err(SetupError::usage(format!("cannot use the interface {a} twice"), "a cable has two ends")
                .mend("-i eth0 -i eth1 (ip -br link lists them)"));
        }
        capability::require(&[Right::NetRaw, Right::NetAdmin, Right::Bpf])?;
        let nics = [Nic::find(a)?, Nic::find(b)?];
        let kernel = addresses::kernel_addresses()?;
        for nic in &nics {
            nic.require_link()?;
            refuse_address(nic, &kernel)?;
        }
        let peer = |nic: &Nic| addresses::link_peer(nic.index()).ok().flatten();
        if peer(&nics[0]) == Some(nics[1].index()) && peer(&nics[1]) == Some(nics[0].index()) {
            return Err(SetupError::usage(
                format!("cannot join {a} and {b}"),
                "they are the two ends of one veth pair: frames would go round for ever",
            )
            .mend("two pairs, and one end of each: ip link add veth0 type veth peer veth1"));
        }
        Ok(nics)
    }

    fn sockets(&self) -> xsk::Config {
        let rings = xsk::Config::default();
        let needed = u32::try_from(self.held).unwrap_or(u32::MAX).saturating_add(rings.fill_ring + rings.transmit_ring);
        let frames_per_queue = needed.min(FRAMES_MAX).next_power_of_two();
        xsk::Config { zero_copy: self.zero_copy, frames_per_queue, ..rings }
    }

    /// What a report says of an interface whose addresses are nobody's.
    fn described(&self, nic: Nic, queues: Vec<u32>) -> Checked {
        let interface = Interface {
            name: nic.name().to_owned(),
            mac: nic.mac(),
            mtu: nic.mtu(),
            vlan: Vlan::NONE,
            claim: Claim::Addresses(Vec::new()),
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        };
        Checked { nic, interface, tagged: Vec::new(), queues, partial: false, mode: self.mode }
    }
}

/// Every address but those that the kernel gives to any interface by itself means that somebody uses the interface.
fn refuse_address(nic: &Nic, kernel: &[KernelAddress]) -> Result<(), SetupError> {
    let by_itself = |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let used = kernel.iter().find(|known| known.ifindex == nic.index() && !by_itself(known.cidr.address));
    match used {
        None => Ok(()),
        Some(known) => Err(SetupError::environment(
            format!("cannot take {} whole", nic.name()),
            format!("the kernel has the address {} on it, which nobody could reach any more", known.cidr),
        )
        .mend(format!("sudo ip address del {} dev {}", known.cidr, nic.name()))),
    }
}

/// 128 MiB of frames of 2048 bytes a queue.
const FRAMES_MAX: u32 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::addresses::AddressState;

    fn pair(a: &str, b: &str) -> Pair {
        Pair { names: [a.to_owned(), b.to_owned()], mode: Mode::Auto, zero_copy: ZeroCopy::Auto, core: None, held: 1000 }
    }

    #[test]
    fn a_cable_has_two_ends() {
        let error = pair("lo", "lo").open().unwrap_err();
        assert_eq!((error.exit_code(), error.what()), (2, "cannot use the interface lo twice"));
    }

    #[test]
    fn an_interface_that_the_kernel_uses_is_refused() {
        let lo = Nic::find("lo").unwrap();
        let on = |ifindex, cidr: &str| {
            vec![KernelAddress { ifindex, cidr: cidr.parse().unwrap(), broadcast: None, state: AddressState::Usable }]
        };
        let error = refuse_address(&lo, &on(lo.index(), "10.0.0.1/24")).unwrap_err();
        assert_eq!(error.remedy(), Some("sudo ip address del 10.0.0.1/24 dev lo"));
        assert_eq!(refuse_address(&lo, &on(lo.index() + 1, "10.0.0.1/24")), Ok(()));
        assert_eq!(refuse_address(&lo, &on(lo.index(), "fe80::1/64")), Ok(()));
    }

    #[test]
    fn the_frames_are_a_power_of_two_with_room_for_the_rings() {
        let frames = |held| Pair { held, ..pair("a", "b") }.sockets().frames_per_queue;
        assert_eq!([0, 4096, 4097, 12_288, 61_440, 1 << 40].map(frames), [4096, 8192, 16_384, 16_384, 65_536, 65_536]);
    }
}
