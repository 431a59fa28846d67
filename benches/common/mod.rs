//! What the programs over a device in memory share: the heads of packets, and an engine's interface and service.

use std::net::Ipv4Addr;

use ringway::link::groups::Groups;
use ringway::link::interface::{Claim, Interface};
use ringway::link::routes::Routes;
use ringway::service::{Answer, Connection, Context, Datagram, Listen, Service};
use ringway::wire::checksum::PseudoHeader;
use ringway::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet, Mac};
use ringway::wire::ipv4::{self, Ipv4};
use ringway::wire::vlan::Vlan;

pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(crate) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const SERVICE: u16 = 7;
pub(crate) const PAYLOAD: [u8; 64] = [0x5a; 64];
/// Where the IP packet begins, and what it carries.
pub(crate) const IP_AT: usize = ethernet::HEADER_LEN;
pub(crate) const IP_PAYLOAD_AT: usize = IP_AT + ipv4::HEADER_LEN;

/// The interface of the engine, at 10.0.0.2/8.
pub(crate) fn interface() -> Interface {
    Interface {
        name: "memory".into(),
        mac: OUR_MAC,
        mtu: 1500,
        vlan: Vlan::NONE,
        claim: Claim::Addresses(vec!["10.0.0.2/8".parse().expect("an address")]),
        routes: Routes::default(),
        withheld: Vec::new(),
        groups: Groups::new(),
    }
}

/// Writes Ethernet and IPv4 headers to the front of a frame for the engine.
pub(crate) fn headers(frame: &mut [u8], source: Ipv4Addr, protocol: u8) -> PseudoHeader {
    let total = frame.len() - IP_AT;
    ethernet::emit(frame, &Ethernet { target: OUR_MAC, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 });
    ipv4::emit(&mut frame[IP_AT..], &Ipv4::outgoing(source, OURS, protocol, total - ipv4::HEADER_LEN));
    PseudoHeader { source: source.into(), target: OURS.into(), protocol }
}

/// Sends everything back, at port 7.
pub(crate) struct Echo;

impl Service for Echo {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(SERVICE.into(), Listen::default()).expect("a free port");
        cx.open_udp(SERVICE.into()).expect("a free port");
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        Answer::Reply { len: datagram.payload().len() }
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        cx.send(connection, bytes)
    }
}
