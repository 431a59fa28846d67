//! Each interface before anything is taken: does it exist, is it up, what may be claimed on it, which queues are to be served.
//!
//! Asks the kernel and changes nothing.

use std::net::IpAddr;

use super::{Launch, Wanted};
use crate::error::SetupError;
use crate::link::interface::{Cidr, Claim, Interface};
use crate::steer::Mode;
use crate::steer::addresses::{self, KernelAddress};
use crate::xsk::LARGEST_MTU;
use crate::xsk::nic::Nic;

/// An interface that may be opened.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) nic: Nic,
    pub(super) interface: Interface,
    pub(super) queues: Vec<u32>,
    /// The NIC delivers to queues that are not served.
    pub(super) partial: bool,
    /// How the XDP program is to be attached.
    pub(super) mode: Mode,
}

/// Checks every interface of a launch.
pub(super) fn check(launch: &Launch) -> Result<Vec<Checked>, SetupError> {
    if launch.interfaces.is_empty() {
        return Err(SetupError::usage("cannot run the engine", "no interface is given").mend("-i eth0 (ip -br link lists them)"));
    }
    let names: Vec<&str> = launch.interfaces.iter().map(|wanted| wanted.name.as_str()).collect();
    if let Some((_, name)) = names.iter().enumerate().find(|(n, name)| names.iter().take(*n).any(|other| other == *name)) {
        return Err(SetupError::usage(format!("cannot use the interface {name} twice"), "an interface is named once"));
    }
    let kernel = addresses::kernel_addresses()?;
    let mut claimed: Vec<IpAddr> = Vec::new();
    launch.interfaces.iter().map(|wanted| check_one(launch, wanted, &kernel, &mut claimed)).collect()
}

fn check_one(
    launch: &Launch,
    wanted: &Wanted,
    kernel: &[KernelAddress],
    claimed: &mut Vec<IpAddr>,
) -> Result<Checked, SetupError> {
    let nic = Nic::find(&wanted.name)?;
    nic.require_link()?;
    let claim = claim(launch, wanted, &nic, kernel, claimed)?;
    let (queues, partial) = queues(launch, &nic)?;
    if let Some(gateway) = launch.gateway {
        check_gateway(gateway, &claim)?;
    }
    let (mode, mtu) = mode(launch.mode, &nic);
    let interface = Interface { name: wanted.name.clone(), mac: nic.mac(), mtu, vlan: None, claim, gateway: launch.gateway };
    Ok(Checked { nic, interface, queues, partial, mode })
}

/// How to attach, and the MTU that counts. A driver that runs XDP natively may refuse packets that fit no frame, and hands over none of
/// them: with `-m auto` the interface is used in skb mode, and with the largest packets that a frame takes.
fn mode(wanted: Mode, nic: &Nic) -> (Mode, usize) {
    if wanted == Mode::Native || nic.mtu() <= LARGEST_MTU {
        return (wanted, nic.mtu());
    }
    let name = nic.name();
    tracing::warn!(
        "{name}: the MTU of {} is larger than the {LARGEST_MTU} that fit a frame: running in skb mode, and larger packets are lost; try: sudo ip \
         link set {name} mtu {LARGEST_MTU}",
        nic.mtu()
    );
    (Mode::Skb, LARGEST_MTU)
}

fn claim(
    launch: &Launch,
    wanted: &Wanted,
    nic: &Nic,
    kernel: &[KernelAddress],
    claimed: &mut Vec<IpAddr>,
) -> Result<Claim, SetupError> {
    if wanted.addresses.is_empty() {
        if launch.claims.is_empty() {
            return Err(SetupError::usage(
                format!("cannot run on {}", wanted.name),
                "nothing of it is claimed: give it an address the kernel does not own, or ports of the kernel's addresses",
            )
            .mend("-a 10.0.0.2/24, or --claim tcp:80,udp:53"));
        }
        let addresses = addresses::served(nic.name(), nic.index())?;
        return Ok(Claim::Ports { addresses, ports: launch.claims.clone() });
    }
    for address in &wanted.addresses {
        refuse_ipv6(address)?;
        addresses::check(address, kernel)?;
        if claimed.contains(&address.address) {
            return Err(SetupError::usage(format!("cannot claim the address {address}"), "it is claimed twice"));
        }
        claimed.push(address.address);
    }
    Ok(Claim::Addresses(wanted.addresses.clone()))
}

/// IPv6 is steered, but not served.
fn refuse_ipv6(address: &Cidr) -> Result<(), SetupError> {
    if address.address.is_ipv4() {
        return Ok(());
    }
    Err(SetupError::usage(format!("cannot claim the address {address}"), "IPv6 is not served yet").mend("-a 10.0.0.2/24"))
}

/// The queues to serve, and whether the NIC delivers to others too.
fn queues(launch: &Launch, nic: &Nic) -> Result<(Vec<u32>, bool), SetupError> {
    let all = nic.receive_queues();
    let Some(wanted) = &launch.queues else { return Ok(((0..all).collect(), false)) };
    nic.require_queues(wanted)?;
    let partial = (0..all).any(|queue| !wanted.contains(&queue));
    if partial && !launch.partial {
        return Err(not_all_queues(nic.name(), nic.driver(), wanted, all));
    }
    Ok((wanted.clone(), partial))
}

/// Claimed packets on the other queues would be lost: says how to keep them away from there.
fn not_all_queues(name: &str, driver: &str, wanted: &[u32], all: u32) -> SetupError {
    let shown = crate::settings::number::show_list(wanted);
    let error = SetupError::environment(
        format!("cannot serve only the queues {shown} of {name}"),
        format!("it delivers to {all} queues, and what is claimed would be lost on the others"),
    );
    let (first, count) = (wanted.iter().min().copied().unwrap_or(0), wanted.len());
    let is_run = wanted.iter().max().is_some_and(|&last| u64::from(last - first) + 1 == count as u64);
    error.mend(match (first, is_run, driver) {
        (0, true, "veth") => format!("sudo ethtool -L {name} rx {count} (or serve all; or --partial)"),
        (0, true, _) => format!("sudo ethtool -L {name} combined {count} (or serve all; or --partial)"),
        (_, true, _) => format!("sudo ethtool -X {name} start {first} equal {count} (or serve all; or --partial)"),
        _ => format!("sudo ethtool -X {name} weight {} (or serve all; or --partial)", weights(wanted, all)),
    })
}

/// A weight of 1 for each queue that is served, of 0 for the others.
fn weights(wanted: &[u32], all: u32) -> String {
    let weights: Vec<_> = (0..all).map(|queue| if wanted.contains(&queue) { "1" } else { "0" }).collect();
    weights.join(" ")
}

/// A gateway lies on the network of one of the addresses.
fn check_gateway(gateway: IpAddr, claim: &Claim) -> Result<(), SetupError> {
    let (Claim::Addresses(addresses) | Claim::Ports { addresses, .. }) = claim;
    if addresses.iter().any(|cidr| cidr.contains(gateway)) {
        return Ok(());
    }
    let networks: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Err(SetupError::usage(
        format!("cannot use the gateway {gateway}"),
        format!("it is not on the network of {}, so it cannot be reached", networks.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serving_fewer_queues_names_the_ethtool_line() {
        let shown: Vec<_> = [("veth", vec![0]), ("ice", vec![0, 1]), ("ice", vec![2, 3]), ("ice", vec![0, 2])]
            .iter()
            .map(|(driver, wanted)| not_all_queues("eth0", driver, wanted, 4).to_string())
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn an_ipv6_address_is_not_served_yet() {
        let error = refuse_ipv6(&"fd00::2/64".parse().unwrap()).unwrap_err();
        assert_eq!((error.exit_code(), error.why()), (2, "IPv6 is not served yet"));
        assert_eq!(refuse_ipv6(&"10.0.0.2/24".parse().unwrap()), Ok(()));
    }

    #[test]
    fn an_interface_named_twice_is_a_usage_error() {
        let error = check(&Launch::new().interface("lo").interface("eth9").interface("lo")).unwrap_err();
        assert_eq!((error.exit_code(), error.what()), (2, "cannot use the interface lo twice"));
    }

    #[test]
    fn a_gateway_must_be_on_a_network() {
        let claim = Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap(), "fd00::2/64".parse().unwrap()]);
        for good in ["10.0.0.1", "10.0.0.254", "fd00::1"] {
            check_gateway(good.parse().unwrap(), &claim).unwrap();
        }
        for bad in ["10.0.1.1", "fd01::1", "0.0.0.0"] {
            assert_eq!(check_gateway(bad.parse().unwrap(), &claim).unwrap_err().exit_code(), 2, "{bad}");
        }
        let everything = Claim::Addresses(vec!["10.0.0.2/0".parse().unwrap(), "fd00::2/0".parse().unwrap()]);
        check_gateway("192.0.2.1".parse().unwrap(), &everything).unwrap();
        check_gateway("::1".parse().unwrap(), &everything).unwrap();
    }
}
