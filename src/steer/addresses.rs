//! The kernel's own addresses, and what XDP program an interface carries: what netlink knows.
//!
//! Called at start, to learn the addresses of a port claim and to refuse a claim on an address that belongs to the kernel or
//! that no host may have. Asks the network namespace of the calling thread. Answers of the kernel are parsed, never trusted to be
//! well formed; nothing here panics.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::SetupError;
use crate::link::interface::Cidr;

/// An address of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelAddress {
    /// The interface it is on.
    pub ifindex: u32,
    /// The address and its network prefix.
    pub cidr: Cidr,
    /// Broadcast address of its network, if it has one.
    pub broadcast: Option<Ipv4Addr>,
    /// Whether it can be used already, or at all.
    pub state: AddressState,
}

/// What duplicate address detection (RFC 4862 5.4) has found out about an address; IPv4 addresses are always usable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressState {
    /// It is the kernel's to use.
    #[default]
    Usable,
    /// It is still being asked for: nothing can be bound to it yet.
    Tentative,
    /// Another station has it: nothing can be bound to it.
    Duplicate,
}

impl AddressState {
    const fn of(flags: AddressFlags) -> Self {
        if flags.contains(AddressFlags::Dadfailed) {
            Self::Duplicate
        } else if flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic) {
            // RFC 4429: an optimistic address may be used while it is asked for.
            Self::Tentative
        } else {
            Self::Usable
        }
    }
}

/// All addresses of the kernel, on any interface.
///
/// # Errors
/// When netlink does not answer.
pub fn kernel_addresses() -> Result<Vec<KernelAddress>, SetupError> {
    let answers = request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)
        .map_err(|error| SetupError::environment("cannot read the kernel's addresses", error.to_string()))?;
    let mut addresses = Vec::new();
    for answer in answers {
        let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
        let (mut local, mut address, mut broadcast) = (None, None, None);
        // The header has room for the lowest eight flags; IFA_FLAGS, where it is given, has all of them.
        let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        for attribute in &message.attributes {
            match attribute {
                // On a point-to-point link IFA_ADDRESS is the peer's; IFA_LOCAL, where it is given, is ours.
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Broadcast(ip) => broadcast = Some(*ip),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        if let Some(address) = local.or(address) {
            let cidr = Cidr { address, prefix: message.header.prefix_len };
            addresses.push(KernelAddress { ifindex: message.header.index, cidr, broadcast, state: AddressState::of(flags) });
        }
    }
    Ok(addresses)
}

/// The kernel's addresses on one interface, of both families, link-local ones too; each says whether it can be used.
///
/// # Errors
/// When there is none, or netlink does not answer.
pub fn of_interface(interface: &str, ifindex: u32) -> Result<Vec<KernelAddress>, SetupError> {
    let addresses: Vec<_> = kernel_addresses()?.into_iter().filter(|address| address.ifindex == ifindex).collect();
    if addresses.is_empty() {
        return Err(none_on(interface, "the kernel has no address on it"));
    }
    Ok(addresses)
}

/// The usable addresses of the kernel on one interface, of both families: what a port claim is of.
///
/// # Errors
/// When there is none, or netlink does not answer.
pub fn served(interface: &str, ifindex: u32) -> Result<Vec<Cidr>, SetupError> {
    usable(interface, &of_interface(interface, ifindex)?)
}

/// Those of the addresses of `interface` on which ports can be claimed: all that are usable.
///
/// # Errors
/// When there is none: the reason names the first that is not usable yet, or not at all.
pub fn usable(interface: &str, addresses: &[KernelAddress]) -> Result<Vec<Cidr>, SetupError> {
    let usable: Vec<_> =
        addresses.iter().filter(|address| address.state == AddressState::Usable).map(|address| address.cidr).collect();
    if !usable.is_empty() {
        return Ok(usable);
    }
    Err(match addresses.first() {
        Some(KernelAddress { cidr, state: AddressState::Duplicate, .. }) => {
            none_on(interface, &format!("another station has the kernel's address {cidr} too"))
        }
        Some(KernelAddress { cidr, .. }) => {
            let why = format!("the kernel still asks whether another station has its address {cidr}");
            SetupError::environment(format!("cannot claim ports on {interface}"), why).mend("try again in two seconds")
        }
        None => none_on(interface, "the kernel has no address on it"),
    })
}

fn none_on(interface: &str, why: &str) -> SetupError {
    SetupError::environment(format!("cannot claim ports on {interface}"), why)
        .mend(format!("ip address add ADDR/PREFIX dev {interface} (or claim an address of its own with -a)"))
}

/// Checks that `claim` may be claimed as a whole address: valid for a host, and not the kernel's. What speaks against it without
/// forbidding it ([`caution`]) goes to the log.
///
/// # Errors
/// Usage (exit code 2) for an address no host may have; environment (3) for one that belongs to the kernel.
pub fn check(claim: &Cidr, kernel: &[KernelAddress]) -> Result<(), SetupError> {
    let Cidr { address, prefix } = *claim;
    let what = format!("cannot claim the address {address}/{prefix}");
    if let Some(why) = invalid(claim) {
        return Err(SetupError::usage(what, why).mend(EXAMPLE));
    }
    if let Some(owner) = kernel.iter().find(|owner| owner.cidr.address == address) {
        let name = interface_name(owner.ifindex);
        return Err(SetupError::environment(what, format!("it belongs to the kernel, on {name}")).mend(format!(
            "ip address del {address}/{} dev {name} (or claim ports on it with --claim, or another address)",
            owner.cidr.prefix
        )));
    }
    if kernel.iter().any(|owner| owner.broadcast.map(IpAddr::V4) == Some(address)) {
        return Err(SetupError::usage(what, "it is the broadcast address of a network of the kernel").mend(EXAMPLE));
    }
    if let Some(why) = caution(claim) {
        tracing::warn!("{address}/{prefix} is claimed, but {why}");
    }
    Ok(())
}

/// What speaks against an address that may be claimed.
pub fn caution(claim: &Cidr) -> Option<&'static str> {
    let IpAddr::V6(address) = claim.address else { return None };
    // RFC 6164: a network of two addresses has no anycast address. With a prefix of 128 there is no network.
    let hosts = u128::MAX.checked_shr(claim.prefix.into()).unwrap_or(0);
    (claim.prefix < 127 && address.to_bits() & hosts == 0)
        .then_some("it is the Subnet-Router anycast address of its network: the routers there have it too (RFC 4291 2.6.1)")
}

/// An address that a host may have.
const EXAMPLE: &str = "-a 10.0.0.2/24 (an unused address of a host)";

/// Why no host may have the address.
fn invalid(claim: &Cidr) -> Option<&'static str> {
    let longest = if claim.address.is_ipv4() { 32 } else { 128 };
    if claim.prefix > longest {
        return Some("the prefix is longer than the address");
    }
    if claim.address.is_unspecified() {
        return Some("it is the unspecified address");
    }
    if claim.address.is_loopback() {
        return Some("it is a loopback address");
    }
    if claim.address.is_multicast() {
        return Some("it is a multicast address");
    }
    let address = match claim.address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => {
            return address.to_ipv4_mapped().map(|_| "it is an IPv4 address in the form of an IPv6 one, which no packet carries");
        }
    };
    let (bits, hosts) = (address.to_bits(), u32::MAX.checked_shr(u32::from(claim.prefix)).unwrap_or(0));
    if address.is_broadcast() {
        Some("it is the limited broadcast address")
    } else if bits >> 24 == 0 {
        Some("0.0.0.0/8 means this network (RFC 1122 3.2.1.3)")
    } else if bits >> 28 == 15 {
        Some("240.0.0.0/4 is reserved (RFC 1112 4)")
    } else if claim.prefix < 31 && bits & hosts == 0 {
        // RFC 3021: a network of two addresses has neither of the two.
        Some("it is the address of the network itself")
    } else if claim.prefix < 31 && bits & hosts == hosts {
        Some("it is the broadcast address of its network")
    } else {
        None
    }
}

/// The XDP program of an interface and how it is attached ("native", "skb", ...).
///
/// # Errors
/// When netlink does not answer.
pub fn attached_xdp(ifindex: u32) -> io::Result<Option<(u32, String)>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    for answer in request(RouteNetlinkMessage::GetLink(message), 0)? {
        let RouteNetlinkMessage::NewLink(link) = answer else { continue };
        let xdp = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Xdp(xdp) => Some(xdp),
            _ => None,
        });
        let Some(xdp) = xdp else { continue };
        let (mut program, mut mode) = (None, "attached");
        for attribute in xdp {
            match attribute {
                LinkXdp::ProgId(id) => program = Some(*id),
                // With several programs at once there is no ProgId: the first of them will do.
                LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => program = program.or(Some(*id)),
                LinkXdp::Attached(XdpAttached::Driver) => mode = "native",
                LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = "skb",
                LinkXdp::Attached(XdpAttached::Hardware) => mode = "offloaded",
                LinkXdp::Attached(XdpAttached::Multiple) => mode = "in several modes",
                _ => {}
            }
        }
        return Ok(program.map(|id| (id, mode.to_owned())));
    }
    Ok(None)
}

/// The index of the interface that this one is the other end of, in the same network namespace: the peer of a veth.
///
/// # Errors
/// When netlink does not answer.
pub fn link_peer(ifindex: u32) -> io::Result<Option<u32>> {
    // An index of another namespace says nothing here.
    Ok(link_peer_anywhere(ifindex)?.and_then(|(peer, elsewhere)| elsewhere.is_none().then_some(peer)))
}

/// The index of the other end, and the id that this network namespace has for the one it lies in, if that is another.
///
/// # Errors
/// When netlink does not answer.
pub(crate) fn link_peer_anywhere(ifindex: u32) -> io::Result<Option<(u32, Option<i32>)>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    for answer in request(RouteNetlinkMessage::GetLink(message), 0)? {
        let RouteNetlinkMessage::NewLink(link) = answer else { continue };
        let elsewhere = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::LinkNetNsId(id) => Some(*id),
            _ => None,
        });
        let peer = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Link(index) => Some(*index),
            _ => None,
        });
        return Ok(peer.map(|peer| (peer, elsewhere)));
    }
    Ok(None)
}

/// The id that this network namespace has for the one of a descriptor; `None` when it has none.
///
/// # Errors
/// When netlink does not answer.
pub(crate) fn namespace_id(namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd().unsigned_abs()));
    for answer in request(RouteNetlinkMessage::GetNsId(message), 0)? {
        let RouteNetlinkMessage::NewNsId(answer) = answer else { continue };
        let id = answer.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) => Some(*id),
            _ => None,
        });
        return Ok(id.filter(|&id| id >= 0));
    }
    Ok(None)
}

/// The name of an interface; its index when it has gone.
fn interface_name(ifindex: u32) -> String {
    rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .and_then(|socket| rustix::net::netdevice::index_to_name(socket, ifindex))
        .unwrap_or_else(|_| format!("interface {ifindex}"))
}

/// One netlink request and its answers.
pub(crate) fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    /// Messages of one answer; a machine with more addresses than this is beyond belief.
    const DATAGRAMS_MAX: usize = 100_000;
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    packet.header.flags = NLM_F_REQUEST | flags;
    packet.header.sequence_number = 1;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    for _ in 0..DATAGRAMS_MAX {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while rest.len() >= size_of::<[u32; 4]>() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            // Messages are padded to 4 bytes; a length of nothing would never end.
            let length = (answer.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                _ => {}
            }
        }
        if flags & NLM_F_DUMP == 0 {
            return Ok(answers);
        }
    }
    Err(io::Error::other("netlink does not come to an end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        let (address, prefix) = text.split_once('/').unwrap();
        Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    #[test]
    fn addresses_no_host_may_have_are_usage_errors() {
        for (text, word) in [
            ("10.0.0.0/24", "network itself"),
            ("10.0.0.255/24", "broadcast"),
            ("10.0.255.255/16", "broadcast"),
            ("255.255.255.255/32", "limited broadcast"),
            ("224.0.0.1/24", "multicast"),
            ("ff02::1/64", "multicast"),
            ("127.0.0.1/8", "loopback"),
            ("::1/128", "loopback"),
            ("0.0.0.0/0", "unspecified"),
            ("::/0", "unspecified"),
            ("0.1.2.3/8", "this network"),
            ("240.0.0.1/8", "reserved"),
            ("10.0.0.2/33", "longer"),
            ("10.0.0.2/255", "longer"),
            ("fd00::2/129", "longer"),
            ("::ffff:10.0.0.2/128", "in the form of an IPv6 one"),
        ] {
            let error = check(&cidr(text), &[]).expect_err(text);
            assert!(error.why().contains(word), "{text}: {error}");
            assert_eq!(error.exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn ordinary_addresses_may_be_claimed() {
        for text in [
            "10.0.0.2/24",
            "10.0.0.255/16",
            "10.0.0.0/31",
            "10.0.0.1/31",
            "10.0.0.0/32",
            "192.0.2.1/0",
            "fd00::2/64",
            "fe80::2/64",
        ] {
            assert_eq!(check(&cidr(text), &[]), Ok(()), "{text}");
            assert_eq!(caution(&cidr(text)), None, "{text}");
        }
    }

    #[test]
    fn the_address_of_all_routers_of_a_subnet_may_be_claimed_with_a_warning() {
        for (text, warned) in [
            ("fd00::/64", true),
            ("fd00:0:0:1::/64", true),
            ("fd00::/126", true),
            ("fd00::/127", false),
            ("fd00::/128", false),
            ("fd00::1/64", false),
            ("fd00::1:0/112", true),
            ("fd00::1:0/64", false),
        ] {
            assert_eq!(check(&cidr(text), &[]), Ok(()), "{text}");
            assert_eq!(caution(&cidr(text)).is_some(), warned, "{text}");
        }
    }

    #[test]
    fn the_flags_of_an_address_say_whether_it_can_be_used() {
        use AddressFlags as Flags;
        for (flags, state) in [
            (Flags::empty(), AddressState::Usable),
            (Flags::Permanent | Flags::Deprecated, AddressState::Usable),
            (Flags::Permanent | Flags::Tentative, AddressState::Tentative),
            (Flags::Tentative | Flags::Optimistic, AddressState::Usable),
            (Flags::Permanent | Flags::Tentative | Flags::Dadfailed, AddressState::Duplicate),
        ] {
            assert_eq!(AddressState::of(flags), state, "{flags:?}");
        }
    }

    #[test]
    fn ports_are_claimed_on_usable_addresses() {
        let with = |text: &str, state| KernelAddress { ifindex: 1, cidr: cidr(text), broadcast: None, state };
        let tentative = with("fe80::1/64", AddressState::Tentative);
        let duplicate = with("fd00::1/64", AddressState::Duplicate);
        let all = [tentative.clone(), duplicate.clone(), with("10.0.0.1/24", AddressState::Usable)];
        assert_eq!(usable("eth0", &all).unwrap(), [cidr("10.0.0.1/24")]);
        let error = usable("eth0", &[tentative, duplicate.clone()]).unwrap_err();
        assert!(error.why().contains("still asks") && error.why().contains("fe80::1/64"), "{error}");
        let error = usable("eth0", &[duplicate]).unwrap_err();
        assert!(error.why().contains("another station has") && error.remedy().unwrap().contains("dev eth0"), "{error}");
        assert_eq!(usable("eth0", &[]).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn an_address_of_the_kernel_names_its_interface_and_the_command() {
        let kernel = kernel_addresses().unwrap();
        let own = kernel.iter().find(|address| address.cidr.address == IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(own.map(|address| address.cidr.prefix), Some(8), "the kernel always has 127.0.0.1/8: {kernel:?}");
        let given = [KernelAddress {
            ifindex: 1,
            cidr: cidr("10.0.0.2/24"),
            broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)),
            state: AddressState::Usable,
        }];
        let error = check(&cidr("10.0.0.2/16"), &given).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.remedy().unwrap().starts_with("ip address del 10.0.0.2/24 dev lo"), "{error}");
        // The claim's own prefix would allow it, the kernel's does not.
        assert!(check(&cidr("10.0.0.255/16"), &given).unwrap_err().why().contains("network of the kernel"));
    }

    #[test]
    fn an_interface_without_addresses_cannot_have_port_claims() {
        let error = of_interface("none0", 1_000_000).unwrap_err();
        assert_eq!(error.exit_code(), 3);
    }
}
