//! Endpoints of UDP: who has a port, what is known of a datagram, and many datagrams with one call.

use std::net::Ipv4Addr;

use super::wire::PEER_MAC;
use super::*;
use crate::device::{Drop, memory};
use crate::service::{CallError, EndpointId, Local, Meta, Sending};
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet};
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_UDP};
use crate::wire::udp;
use crate::wire::vlan::Vlan;

/// Keeps what is known of each datagram.
#[derive(Debug, Default)]
struct Reader(Vec<Meta>);

impl Service for Reader {
    type Message = ();

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.0.push(*datagram.meta());
        Answer::Ignore
    }
}

/// An engine at 10.0.0.2 and 10.0.0.3 of one cable and 10.0.1.2 of another, with the far ends of both.
struct Host {
    engine: Engine<MemoryDevice, Reader>,
    peers: [MemoryDevice; 2],
    clock: ManualClock,
}

impl Host {
    fn new() -> Self {
        let (near, far) = (memory::cable(64), memory::cable(64));
        let clock = ManualClock::default();
        let interface = |name: &str, device: &MemoryDevice, addresses: &[&str]| Interface {
            name: name.into(),
            mac: device.mac(),
            mtu: 1500,
            vlan: Vlan::NONE,
            claim: Claim::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect()),
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        };
        let interfaces =
            vec![interface("near", &near.1, &["10.0.0.2/24", "10.0.0.3/24"]), interface("far", &far.1, &["10.0.1.2/24"])];
        let ports = vec![Port::new(near.1, 0, 0), Port::new(far.1, 1, 0)];
        let mut engine = Engine::new(Config::new(Secrets::fixed()), interfaces, ports, Reader::default()).unwrap();
        engine.start(&clock);
        engine.turn(&clock);
        let mut host = Self { engine, peers: [near.0, far.0], clock };
        host.sent(0);
        host.sent(1);
        host
    }

    /// A datagram comes in by one of the cables.
    fn hear(&mut self, cable: usize, from: &str, to: &str) {
        self.hear_marked(cable, from, to, 0);
    }

    /// The same with these lower eight bits of the first word of the IP header: DSCP and ECN.
    fn hear_marked(&mut self, cable: usize, from: &str, to: &str, dscp_ecn: u8) {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let v4 = |at: SocketAddr| -> Ipv4Addr { at.ip().to_string().parse().unwrap() };
        let mut datagram = vec![7; 12];
        let pseudo = PseudoHeader { source: from.ip().into(), target: to.ip().into(), protocol: PROTOCOL_UDP };
        udp::emit(&mut datagram, from.port(), to.port(), &pseudo);
        let mut bytes = vec![0; 34];
        let mac = self.engine.core.links[cable].interface.mac;
        ethernet::emit(&mut bytes, &Ethernet { target: mac, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 });
        ipv4::emit(&mut bytes[14..], &Ipv4 { dscp_ecn, ..Ipv4::outgoing(v4(from), v4(to), PROTOCOL_UDP, datagram.len()) });
        bytes.extend(datagram);
        let peer = &mut self.peers[cable];
        let mut frame = peer.allocate().unwrap();
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(&bytes);
        peer.transmit(frame).unwrap();
        peer.flush();
        self.engine.turn(&self.clock);
    }

    /// How many frames left by one of the cables.
    fn sent(&mut self, cable: usize) -> usize {
        self.frames(cable).len()
    }

    /// The frames that left by one of the cables.
    fn frames(&mut self, cable: usize) -> Vec<Vec<u8>> {
        self.engine.turn(&self.clock);
        let mut burst = Vec::new();
        self.peers[cable].receive(&mut burst, 64);
        let frames = burst.iter().map(|frame| frame.bytes().to_vec()).collect();
        burst.into_iter().for_each(|frame| self.peers[cable].recycle(frame));
        frames
    }

    fn open(&mut self, at: impl Into<Local>) -> Result<EndpointId, CallError> {
        self.engine.core.open_udp(at.into())
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_port_of_an_address_has_one_endpoint_and_that_of_the_address_goes_before_that_of_all() {
    let mut host = Host::new();
    let (one, all) = (host.open(at("10.0.0.2:53")).unwrap(), host.open(53).unwrap());
    let other = host.open(at("10.0.1.2:53")).unwrap();
    assert_eq!((host.open(53), host.open(at("10.0.0.2:53"))), (Err(CallError::PortInUse), Err(CallError::PortInUse)));
    assert_eq!(host.open(at("10.0.0.9:53")), Err(CallError::NotOurAddress));
    for (cable, to) in [(0, "10.0.0.2:53"), (0, "10.0.0.3:53"), (1, "10.0.1.2:53")] {
        host.hear(cable, if cable == 0 { "10.0.0.1:4000" } else { "10.0.1.1:4000" }, to);
    }
    let endpoints: Vec<_> = host.engine.service().0.iter().map(|meta| meta.endpoint).collect();
    assert_eq!(endpoints, [one, all, other]);
}

#[test]
fn of_each_datagram_both_ends_and_the_interface_are_known() {
    let mut host = Host::new();
    let all = host.open(53).unwrap();
    host.hear(0, "10.0.0.1:4000", "10.0.0.3:53");
    host.hear(1, "10.0.1.1:4001", "10.0.1.2:53");
    // An address is claimed on its own interface alone.
    host.hear(1, "10.0.1.1:4001", "10.0.0.2:53");
    // A sender that wants no answer has no port (RFC 768).
    host.hear(0, "10.0.0.1:0", "10.0.0.2:53");
    let meta = |from: &str, to: &str, interface| Meta {
        endpoint: all,
        local: at(to),
        remote: at(from),
        to_many: false,
        interface,
        ecn: 0,
    };
    let expected =
        [meta("10.0.0.1:4000", "10.0.0.3:53", 0), meta("10.0.1.1:4001", "10.0.1.2:53", 1), meta("10.0.0.1:0", "10.0.0.2:53", 0)];
    assert_eq!(host.engine.service().0, expected);
    assert_eq!(host.engine.core.drops.of(Drop::Ipv4NotOurs), 1);
}

#[test]
fn the_mark_of_a_datagram_is_known_and_one_may_be_asked_for() {
    let mut host = Host::new();
    let all = host.open(53).unwrap();
    // A DSCP beside it is none of the service's business.
    for dscp_ecn in [0, 1, 2, 3, 0xb8 | 3] {
        host.hear_marked(0, "10.0.0.1:4000", "10.0.0.2:53", dscp_ecn);
    }
    let marks: Vec<_> = host.engine.service().0.iter().map(|meta| meta.ecn).collect();
    assert_eq!(marks, [0, 1, 2, 3, 3]);
    host.sent(0);
    for ecn in [0, 1, 2, 3, 0xfe] {
        host.engine.core.send_with(all, at("239.1.2.3:5000"), b"word", Sending { ecn, ..Sending::default() }).unwrap();
    }
    let left: Vec<_> = host.frames(0).iter().map(|frame| ipv4::parse(&frame[14..]).unwrap().dscp_ecn).collect();
    assert_eq!(left, [0, 1, 2, 3, 2]);
}

#[test]
fn port_zero_asks_for_a_free_one() {
    let mut host = Host::new();
    let ports: Vec<u16> = (0..100)
        .map(|_| {
            let endpoint = host.open(0).unwrap();
            host.engine.core.endpoints.name(endpoint.0).unwrap().1
        })
        .collect();
    let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
    assert_eq!(distinct.len(), 100);
    assert!(ports.iter().all(|&port| port >= 32_768) && ports.windows(2).any(|pair| pair[1] != pair[0].wrapping_add(1)));
    host.hear(0, "10.0.0.1:4000", &format!("10.0.0.2:{}", ports[7]));
    assert_eq!(host.engine.service().0.len(), 1);
}

#[test]
fn many_datagrams_leave_with_one_call() {
    let mut host = Host::new();
    let all = host.open(5000).unwrap();
    host.hear(0, "10.0.0.1:4000", "10.0.0.2:5000");
    let (group, broadcast) = (at("239.1.2.3:5000"), at("10.0.1.255:5000"));
    let burst = [(group, &b"one"[..]), (broadcast, b"two"), (group, b"three")];
    assert_eq!(host.engine.core.send_burst(all, &burst, Sending::default()), Ok(3));
    assert_eq!((host.sent(0), host.sent(1)), (2, 1));
    let large = [0; 2000];
    let stuck = [(group, &b"one"[..]), (group, &large), (group, b"three")];
    assert_eq!(host.engine.core.send_burst(all, &stuck, Sending::default()), Ok(1), "up to the one that cannot");
    assert_eq!(host.engine.core.send_burst(all, &stuck[1..], Sending::default()), Err(CallError::TooLarge));
    assert_eq!(host.engine.core.send_burst(all, &[], Sending::default()), Ok(0));
    assert_eq!(host.engine.core.send_burst(EndpointId(9), &stuck, Sending::default()), Err(CallError::Stale));
}
