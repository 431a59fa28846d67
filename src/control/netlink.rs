//! The netlink sockets: one that hears what changes, and requests of its own for the rest.
//!
//! Used by the control thread. The subscription comes before the first dump, so that nothing between the two is missed; when the kernel has
//! dropped messages (ENOBUFS) that is said, and the caller reads everything again. Nothing here panics.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::decode::{self, LinkState, Said};
use crate::link::neighbor::Known;
use crate::steer::addresses;

/// Hears what changes.
#[derive(Debug)]
pub(super) struct Changes {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What came of listening.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// All there was.
    All,
    /// The kernel had no room for all: what it knows must be read anew.
    Overrun,
}

impl Changes {
    /// Subscribes, in the network namespace of the calling thread: to the links, or to everything that a port claim follows.
    pub(super) fn subscribe(everything: bool) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        let groups = if everything { GROUPS } else { &GROUPS[..1] };
        groups.iter().try_for_each(|&group| socket.add_membership(group))?;
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM_MAX) })
    }

    /// Hands over what has come.
    pub(super) fn read(&mut self, mut said: impl FnMut(Said)) -> Heard {
        // A writer that never pauses must not hold up everything else: what is left is heard in the next round.
        for _ in 0..DATAGRAMS_AT_ONCE {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => parse(&self.buffer).filter_map(|message| decode::read(&message)).for_each(&mut said),
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                    self.discard();
                    return Heard::Overrun;
                }
                Err(_) => break,
            }
        }
        Heard::All
    }

    /// Throws away what still waits. It is older than what was lost, and what will be read anew is newer: heard after that, it would put back
    /// states that have passed.
    pub(super) fn discard(&mut self) {
        for _ in 0..DATAGRAMS_MAX {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Err(error) if error.raw_os_error() != Some(ENOBUFS) => return,
                _ => {}
            }
        }
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The messages of a datagram; one that cannot be read ends it.
fn parse(mut rest: &[u8]) -> impl Iterator<Item = RouteNetlinkMessage> {
    std::iter::from_fn(move || {
        while rest.len() >= HEADER_LEN {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).ok();
            // One of a kind that the crate does not know is passed over by its length.
            let length = rest.first_chunk::<4>().map_or(0, |bytes| u32::from_ne_bytes(*bytes)) as usize;
            rest = rest.get(length.next_multiple_of(4).max(HEADER_LEN)..).unwrap_or_default();
            if let Some(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) = message {
                return Some(message);
            }
        }
        None
    })
}

/// All neighbours: interface, address, state.
pub(super) fn neighbors() -> io::Result<Vec<(u32, IpAddr, Known)>> {
    let answers = addresses::request(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), NLM_F_DUMP)?;
    let known = |message: &RouteNetlinkMessage| match decode::read(message) {
        Some(Said::Neighbor(ifindex, ip, known)) => Some((ifindex, ip, known)),
        _ => None,
    };
    Ok(answers.iter().filter_map(known).collect())
}

/// All routes of both families.
pub(super) fn routes() -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut all = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        all.extend(addresses::request(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)?);
    }
    Ok(all)
}

/// The state of one link; `None` when it is gone.
pub(super) fn link(ifindex: u32) -> io::Result<Option<LinkState>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    let answers = match addresses::request(RouteNetlinkMessage::GetLink(message), 0) {
        Err(error) if error.raw_os_error() == Some(ENODEV) => return Ok(None),
        answers => answers?,
    };
    Ok(answers.iter().find_map(|answer| match decode::read(answer) {
        Some(Said::Link(index, state)) if index == ifindex => Some(state),
        _ => None,
    }))
}

/// Has the kernel find neighbours.
#[derive(Debug)]
pub(super) struct Asker {
    socket: Socket,
}

impl Asker {
    /// In the network namespace of the calling thread.
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Says that a neighbour is used (NTF_USE): the kernel asks for one that it does not know, and makes sure of one that is STALE.
    pub(super) fn ask(&self, ifindex: u32, ip: IpAddr) -> io::Result<()> {
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        neighbour.header.ifindex = ifindex;
        neighbour.header.flags = NeighbourFlags::Use;
        neighbour.attributes.push(NeighbourAttribute::Destination(ip.into()));
        let mut packet =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(RouteNetlinkMessage::NewNeighbour(neighbour)));
        packet.header.flags = NLM_F_REQUEST | NLM_F_CREATE;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        // Nothing is answered but a refusal, which stands here already: the kernel works while it takes the message.
        let mut refusal = Vec::with_capacity(REFUSAL_MAX);
        match self.socket.recv(&mut refusal, 0) {
            Ok(_) => Err(NetlinkMessage::<RouteNetlinkMessage>::deserialize(&refusal).map_or_else(io::Error::other, |answer| {
                match answer.payload {
                    NetlinkPayload::Error(error) => error.to_io(),
                    _ => io::Error::other("an answer to nothing"),
                }
            })),
            Err(_) => Ok(()),
        }
    }
}

/// RTNLGRP_LINK, which comes first, RTNLGRP_NEIGH, and for each family RTNLGRP_*_IFADDR and RTNLGRP_*_ROUTE (linux/rtnetlink.h).
const GROUPS: &[u32] = &[1, 3, 5, 7, 9, 11];
// linux/errno.h: there is no such interface; the socket's buffer was full.
const ENODEV: i32 = 19;
const ENOBUFS: i32 = 105;
const HEADER_LEN: usize = 16;
/// The kernel sends no longer ones.
const DATAGRAM_MAX: usize = 65_536;
const DATAGRAMS_AT_ONCE: usize = 1024;
/// More than any buffer holds.
const DATAGRAMS_MAX: usize = 1_000_000;
const REFUSAL_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_of_nonsense_ends() {
        assert_eq!(parse(&[]).count(), 0);
        assert_eq!(parse(&[0; 100]).count(), 0);
        assert_eq!(parse(&[0xff; 100]).count(), 0);
        let mut short = [0; 64];
        short[..4].copy_from_slice(&24_u32.to_ne_bytes());
        assert_eq!(parse(&short).count(), 0);
    }

    #[test]
    fn the_kernel_tells_of_its_loopback() {
        let routes = routes().unwrap();
        let (loopback, _) = decode::routes_of(&routes, 1);
        assert!(loopback.iter().all(|route| route.via.is_none()), "{loopback:?}");
        assert_eq!(link(1).unwrap().map(|link| link.mtu), Some(65_536));
        assert_eq!(link(0x7fff_fffe).unwrap(), None);
        assert!(neighbors().unwrap().iter().all(|(ifindex, ..)| *ifindex > 0));
        let mut changes = Changes::subscribe(true).unwrap();
        assert_eq!(changes.read(|_| {}), Heard::All);
    }
}
