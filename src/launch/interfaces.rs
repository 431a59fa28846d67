//! Each interface before anything is taken: does it exist, is it up, what may be claimed on it, which queues are to be served.
//!
//! Asks the kernel and changes nothing.

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use super::{Launch, Wanted};
use crate::error::SetupError;
use crate::limits;
use crate::link::groups::{Group, Groups};
use crate::link::interface::{AddressClaim, Cidr, Claim, Interface};
use crate::link::route;
use crate::link::routes::Route;
use crate::link::stable;
use crate::steer::addresses::{self, KernelAddress};
use crate::steer::{Claims, Mode};
use crate::wire::ipv6;
use crate::wire::vlan::{TAG_LEN, TagKind, Vlan};
use crate::xsk::LARGEST_MTU;
use crate::xsk::nic::Nic;

/// An interface that may be opened.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) nic: Nic,
    pub(super) interface: Interface,
    /// The same NIC in further VLANs.
    pub(super) tagged: Vec<Interface>,
    pub(super) queues: Vec<u32>,
    /// The NIC delivers to queues that are not served.
    pub(super) partial: bool,
    /// How the XDP program is to be attached.
    pub(super) mode: Mode,
}

impl Checked {
    /// The interface in each VLAN.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        std::iter::once(&self.interface).chain(&self.tagged)
    }

    /// The groups of all of them, each once.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for group in self.interfaces().flat_map(|interface| interface.groups.iter()) {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// The routes of all of them, each once.
    pub(super) fn routes(&self) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for &route in self.interfaces().flat_map(|interface| interface.routes.iter()) {
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        routes
    }

    /// All that is claimed on it.
    pub(super) fn claims(&self) -> Result<Claims, SetupError> {
        Claims::of(self.interfaces())
    }

    /// That nothing of it is claimed in a VLAN: `what` knows none.
    pub(super) fn refuse_vlans(&self, what: &str) -> Result<(), SetupError> {
        match self.interfaces().find(|interface| !interface.vlan.is_none()) {
            None => Ok(()),
            Some(tagged) => Err(SetupError::usage(
                format!("cannot run {what} in the VLAN {}", tagged.vlan.suffix().to_string().trim_start_matches('@')),
                "it knows frames without a tag only",
            )
            .mend("-a without @VLAN")),
        }
    }

    /// The queues take no larger packets than these.
    pub(super) fn limit_mtu(&mut self, mtu: usize) {
        for interface in std::iter::once(&mut self.interface).chain(&mut self.tagged) {
            interface.mtu = interface.mtu.min(mtu - interface.vlan.tag_bytes().saturating_sub(TAG_LEN));
        }
    }
}

/// Checks every interface of a launch; `largest_mtu` is what the frames of whoever drives the queues take.
pub(super) fn check(launch: &Launch, largest_mtu: usize) -> Result<Vec<Checked>, SetupError> {
    if launch.interfaces.is_empty() {
        return Err(SetupError::usage("cannot run the engine", "no interface is given").mend("-i eth0 (ip -br link lists them)"));
    }
    let names: Vec<&str> = launch.interfaces.iter().map(|wanted| wanted.name.as_str()).collect();
    if let Some((_, name)) = names.iter().enumerate().find(|(n, name)| names.iter().take(*n).any(|other| other == *name)) {
        return Err(SetupError::usage(format!("cannot use the interface {name} twice"), "an interface is named once"));
    }
    let kernel = addresses::kernel_addresses()?;
    let mut claimed: Vec<IpAddr> = Vec::new();
    let checked: Vec<Checked> = launch
        .interfaces
        .iter()
        .map(|wanted| check_one(launch, wanted, largest_mtu, &kernel, &mut claimed))
        .collect::<Result<_, _>>()?;
    check_routes(&launch.routes, &checked)?;
    check_groups(&launch.groups, &checked)?;
    Ok(checked)
}

fn check_one(
    launch: &Launch,
    wanted: &Wanted,
    largest_mtu: usize,
    kernel: &[KernelAddress],
    claimed: &mut Vec<IpAddr>,
) -> Result<Checked, SetupError> {
    let nic = Nic::find(&wanted.name)?;
    nic.require_link()?;
    let claims = claims(launch, wanted, &nic, kernel, claimed)?;
    let (queues, partial) = queues(launch, &nic)?;
    let (mode, mtu) = mode(launch.mode, &nic, largest_mtu);
    let mut interfaces = claims.into_iter().map(|(vlan, claim)| in_vlan(launch, &nic, mtu, vlan, claim));
    let Some(interface) = interfaces.next() else { return Err(nothing_claimed(nic.name())) };
    let checked = Checked { interface: interface?, tagged: interfaces.collect::<Result<_, _>>()?, nic, queues, partial, mode };
    refuse_hidden_tags(&checked)?;
    Ok(checked)
}

/// A NIC as the engine knows it in one VLAN.
fn in_vlan(launch: &Launch, nic: &Nic, mtu: usize, vlan: Vlan, claim: Claim) -> Result<Interface, SetupError> {
    let routes = launch.routes.iter().copied().filter(|route| leads_out_of(route, &claim)).collect();
    let (name, mac, withheld, groups) = (nic.name().to_owned(), nic.mac(), Vec::new(), Groups::new());
    // Every link carries one tag beyond its MTU; the second is at the packet's cost.
    let mtu = mtu - vlan.tag_bytes().saturating_sub(TAG_LEN);
    let mut interface = Interface { name, mac, mtu, vlan, claim, routes, withheld, groups };
    refuse_narrow_ipv6(nic, &interface)?;
    let asked = launch.groups.iter().filter(|(on, _)| on.as_ref().is_none_or(|on| on == nic.name()));
    for (_, group) in asked {
        if route::is_many(&interface, group.address()) {
            interface.groups.insert(group.clone())?;
        }
    }
    Ok(interface)
}

/// IPv6 sends packets of 1280 bytes everywhere and counts on their coming through (RFC 8200 5).
fn refuse_narrow_ipv6(nic: &Nic, interface: &Interface) -> Result<(), SetupError> {
    let Some(ours) = interface.addresses().iter().find(|ours| ours.address.is_ipv6() && interface.mtu < ipv6::MIN_MTU) else {
        return Ok(());
    };
    let (name, short) = (nic.name(), ipv6::MIN_MTU - interface.mtu);
    let why = format!("packets of {} bytes fit, and IPv6 needs {}", interface.mtu, ipv6::MIN_MTU);
    let mend = format!("sudo ip link set {name} mtu {}", nic.mtu() + short);
    Err(SetupError::environment(format!("cannot claim {ours} on {name}"), why).mend(mend))
}

/// A tag that the NIC, or the other end of a veth pair, keeps beside the packet is invisible to XDP: what is claimed in the VLAN would never come.
fn refuse_hidden_tags(checked: &Checked) -> Result<(), SetupError> {
    let outer: Vec<TagKind> = checked.interfaces().filter_map(|interface| interface.vlan.outer()).map(|tag| tag.kind).collect();
    let name = checked.nic.name();
    let Some(hidden) = checked.nic.hides_tags(&outer) else { return Ok(()) };
    let what = format!("cannot claim addresses in a VLAN of {name}");
    let why = format!("its {} is on: the tag is taken out of the packet before XDP can see it", hidden.feature);
    let mut mend = hidden.mend;
    if checked.nic.driver() == "veth" {
        mend.push_str(&format!(" (and where its peer is: sudo ethtool -K PEER {} off)", hidden.peer_switch));
    }
    Err(SetupError::environment(what, why).mend(mend))
}

fn nothing_claimed(name: &str) -> SetupError {
    SetupError::usage(
        format!("cannot run on {name}"),
        "nothing of it is claimed: give it an address the kernel does not own, or ports of the kernel's addresses",
    )
    .mend("-a 10.0.0.2/24, or --claim tcp:80,udp:53")
}

/// How to attach, and the MTU that counts, which is at most `largest_mtu`. A driver that runs XDP natively may refuse packets that fit no frame, and hands over none of
/// them: with `-m auto` the interface is used in skb mode, and with the largest packets that a frame takes.
fn mode(wanted: Mode, nic: &Nic, largest_mtu: usize) -> (Mode, usize) {
    if wanted == Mode::Native || nic.mtu() <= largest_mtu {
        return (wanted, nic.mtu());
    }
    let name = nic.name();
    tracing::warn!(
        target: "ringway::setup",
        interface = name,
        xdp = "skb",
        fell_back = "native to skb",
        "{name}: the MTU of {} is larger than the {largest_mtu} that can be taken: running in skb mode, and packets above {LARGEST_MTU} bytes are lost; try: \
         sudo ip link set {name} mtu {largest_mtu}",
        nic.mtu()
    );
    (Mode::Skb, LARGEST_MTU)
}

/// What is claimed of an interface, by VLAN, in the order in which they were named.
fn claims(
    launch: &Launch,
    wanted: &Wanted,
    nic: &Nic,
    kernel: &[KernelAddress],
    claimed: &mut Vec<IpAddr>,
) -> Result<Vec<(Vlan, Claim)>, SetupError> {
    if wanted.addresses.is_empty() {
        if launch.claims.is_empty() {
            return Err(nothing_claimed(&wanted.name));
        }
        let addresses = addresses::served(nic.name(), nic.index())?;
        return Ok(vec![(Vlan::NONE, Claim::Ports { addresses, ports: launch.claims.clone() })]);
    }
    let mut vlans: Vec<(Vlan, Vec<Cidr>)> = Vec::new();
    for address in &wanted.addresses {
        let AddressClaim { cidr, vlan } = *address;
        addresses::check(&cidr, kernel)?;
        if claimed.contains(&cidr.address) {
            return Err(SetupError::usage(format!("cannot claim the address {address}"), "it is claimed twice"));
        }
        claimed.push(cidr.address);
        match vlans.iter_mut().find(|(known, _)| *known == vlan) {
            Some((_, cidrs)) => cidrs.push(cidr),
            None => vlans.push((vlan, vec![cidr])),
        }
    }
    // What comes without a tag finds its interface first.
    vlans.sort_by_key(|(vlan, _)| !vlan.is_none());
    // The link-local address of each VLAN is another: an address of ours belongs to one interface.
    let place = |vlan: Vlan| format!("{}{}", nic.name(), vlan.suffix());
    // Routers are heard where there are no tags.
    let routers = |vlan: Vlan| launch.router_advertisements && vlan.is_none();
    let claim = |(vlan, cidrs)| (vlan, Claim::Addresses(with_link_local(&place(vlan), cidrs, routers(vlan), kernel)));
    Ok(vlans.into_iter().map(claim).collect())
}

/// Adds a link-local address where IPv6 is claimed, or may be by what `routers` advertise, and none is given: neighbours and routers are talked to
/// from it (RFC 4291 2.8).
fn with_link_local(name: &str, mut addresses: Vec<Cidr>, routers: bool, kernel: &[KernelAddress]) -> Vec<Cidr> {
    let is_scoped = |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let any_v6 = routers || addresses.iter().any(|cidr| cidr.address.is_ipv6());
    if !any_v6 || addresses.iter().any(|cidr| is_scoped(cidr.address)) {
        return addresses;
    }
    let secret = machine_secret();
    let candidates = (0..stable::ATTEMPTS).filter_map(|attempt| stable::link_local(&secret, name, attempt));
    let free = candidates.map(|address| Cidr { address: address.into(), prefix: 64 });
    addresses.extend(free.into_iter().find(|cidr| addresses::check(cidr, kernel).is_ok()));
    addresses
}

/// A key that is this machine's alone and stays the same: what RFC 7217 5 calls secret_key.
pub(super) fn machine_secret() -> [u8; 16] {
    // In many containers the file is empty.
    let id = std::fs::read("/etc/machine-id").ok().filter(|id| id.trim_ascii().len() >= 32);
    let id = id.or_else(|| std::fs::read("/proc/sys/kernel/random/boot_id").ok()).unwrap_or_default();
    // The id itself is not to be told (machine-id(5)), and a hash of it for this use alone tells nothing of it.
    let hash = |key: &[u8; 16]| SipHasher24::new_with_key(key).hash(&id);
    (u128::from(hash(b"ringway linkloc0")) << 64 | u128::from(hash(b"ringway linkloc1"))).to_ne_bytes()
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

/// Whether a route's gateway can be a neighbour on an interface with these addresses.
fn leads_out_of(route: &Route, claim: &Claim) -> bool {
    // A link-local gateway is on every link (RFC 4291 2.5.6): IPv6 routers are known by no other address.
    let scoped = matches!(route.via, Some(IpAddr::V6(via)) if via.is_unicast_link_local());
    scoped || route.via.is_none_or(|gateway| claim.addresses().iter().any(|cidr| cidr.contains(gateway)))
}

/// Every gateway lies on the network of an address of some interface, and there is room for all routes.
fn check_routes(routes: &[Route], checked: &[Checked]) -> Result<(), SetupError> {
    if routes.len() > limits::ROUTES {
        return Err(SetupError::usage("cannot use so many routes", format!("{} is the most", limits::ROUTES)));
    }
    let claims = || checked.iter().flat_map(Checked::interfaces).map(|interface| &interface.claim);
    let lost = routes.iter().find(|route| !claims().any(|claim| leads_out_of(route, claim)));
    let Some(Route { via: Some(gateway), .. }) = lost else { return Ok(()) };
    let networks: Vec<_> = claims().flat_map(Claim::addresses).map(ToString::to_string).collect();
    Err(SetupError::usage(
        format!("cannot use the gateway {gateway}"),
        format!("it is not on the network of {}, so it cannot be reached", networks.join(", ")),
    ))
}

/// Every group is taken somewhere.
fn check_groups(groups: &[(Option<String>, Group)], checked: &[Checked]) -> Result<(), SetupError> {
    let taken = |group: &Group| {
        let mut interfaces = checked.iter().flat_map(Checked::interfaces);
        interfaces.any(|interface| interface.groups.contains(group.address(), group.port()))
    };
    let Some((on, group)) = groups.iter().find(|(_, group)| !taken(group)) else { return Ok(()) };
    let why = match on.as_ref().filter(|on| !checked.iter().any(|one| one.interface.name == **on)) {
        Some(unknown) => format!("the interface {unknown} is not among those to run on"),
        None => format!("{} is neither a multicast group nor the broadcast address of a network here", group.address()),
    };
    Err(SetupError::usage(format!("cannot take the group {group}"), why))
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
    fn a_link_local_address_comes_with_the_first_of_ipv6() {
        let cidr = |text: &str| -> Cidr { text.parse().unwrap() };
        let with = |addresses: &[&str]| with_link_local("eth0", addresses.iter().map(|text| cidr(text)).collect(), false, &[]);
        assert_eq!(with(&["10.0.0.2/24"]), [cidr("10.0.0.2/24")]);
        assert_eq!(with_link_local("eth0", vec![cidr("10.0.0.2/24")], true, &[]).len(), 2, "routers are asked from one");
        let [given, made] = with(&["fd00::2/64"])[..] else { panic!("one is added") };
        assert_eq!((given, made.prefix), (cidr("fd00::2/64"), 64));
        assert!(matches!(made.address, IpAddr::V6(address) if address.is_unicast_link_local()));
        assert_eq!(with(&["fd00::2/64"])[1], made, "the same every time");
        assert_eq!(with(&["fe80::7/64", "fd00::2/64"]).len(), 2, "the one given is enough");
    }

    #[test]
    fn an_interface_named_twice_is_a_usage_error() {
        let error = check(&Launch::new().interface("lo").interface("eth9").interface("lo"), LARGEST_MTU).unwrap_err();
        assert_eq!((error.exit_code(), error.what()), (2, "cannot use the interface lo twice"));
    }

    #[test]
    fn a_gateway_must_be_on_a_network() {
        let claim = |addresses: [&str; 2]| Claim::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect());
        let both = claim(["10.0.0.2/24", "fd00::2/64"]);
        let leads = |claim: &Claim, gateway: &str| leads_out_of(&Route::default_via(gateway.parse().unwrap()), claim);
        for good in ["10.0.0.1", "10.0.0.254", "fd00::1", "fe80::1"] {
            assert!(leads(&both, good), "{good}");
        }
        for bad in ["10.0.1.1", "fd01::1", "0.0.0.0"] {
            assert!(!leads(&both, bad), "{bad}");
        }
        let everything = claim(["10.0.0.2/0", "fd00::2/0"]);
        assert!(leads(&everything, "192.0.2.1") && leads(&everything, "::1"));
        assert!(leads_out_of(&"10.8.0.0/24".parse().unwrap(), &both), "on the link");
        let error = check_routes(&[Route::default_via("10.0.1.1".parse().unwrap())], &[]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
