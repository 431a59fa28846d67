//! Interfaces that are VLANs of one NIC: each sees its own frames alone, and answers with its own tags.

use super::{Echo, ManualClock};
use crate::device::memory::{MemoryDevice, cable};
use crate::device::{Device, Frame as _};
use crate::engine::{Config, Engine, Port, Secrets};
use crate::link::arp;
use crate::link::groups::Groups;
use crate::link::interface::{AddressClaim, Claim, Interface};
use crate::link::routes::Routes;
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Mac};
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_UDP};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::udp;
use crate::wire::vlan::{Tag, Vlan};

const PEER: &str = "10.0.0.1";
const OURS: [&str; 4] = ["10.0.0.2/24", "10.1.0.2/24@100", "10.2.0.2/24@100.200", "fd00::2/64@s7"];

struct Bench {
    peer: MemoryDevice,
    engine: Engine<MemoryDevice, Echo>,
    clock: ManualClock,
}

impl Bench {
    /// An engine at one port with an interface for each of [`OURS`].
    fn new() -> Self {
        let (peer, device) = cable(64);
        let interface = |text: &&str| {
            let AddressClaim { cidr, vlan } = text.parse().unwrap();
            Interface {
                name: "cable".to_owned(),
                mac: device.mac(),
                mtu: device.mtu(),
                vlan,
                claim: Claim::Addresses(vec![cidr]),
                routes: Routes::default(),
                withheld: Vec::new(),
                groups: Groups::new(),
            }
        };
        let interfaces = OURS.iter().map(interface).collect();
        let config = Config::new(Secrets::fixed());
        let mut engine = Engine::new(config, interfaces, vec![Port::new(device, 0, 0)], Echo::default()).unwrap();
        let clock = ManualClock::default();
        engine.start(&clock);
        engine.turn(&clock);
        let mut bench = Self { peer, engine, clock };
        // What was announced at the start.
        bench.answers();
        bench
    }

    fn link(&self, vlan: Vlan, ethertype: u16) -> Ethernet {
        Ethernet { target: self.engine.core.ports[0].device.mac(), source: self.peer.mac(), vlan, ethertype }
    }

    /// Sends a frame and returns what comes back.
    fn ask(&mut self, link: Ethernet, packet: &[u8]) -> Vec<(Ethernet, Vec<u8>)> {
        let mut frame = self.peer.allocate().unwrap();
        frame.set_len(link.header_len() + packet.len());
        let at = ethernet::emit(frame.bytes_mut(), &link);
        frame.bytes_mut()[at..].copy_from_slice(packet);
        self.peer.transmit(frame).unwrap();
        self.peer.flush();
        self.engine.turn(&self.clock);
        self.answers()
    }

    fn answers(&mut self) -> Vec<(Ethernet, Vec<u8>)> {
        let mut burst = Vec::new();
        self.peer.receive(&mut burst, 64);
        let answers = burst.iter().map(|frame| {
            let link = ethernet::parse(frame.bytes()).unwrap();
            (link, frame.bytes()[link.header_len()..].to_vec())
        });
        let answers = answers.collect();
        burst.into_iter().for_each(|frame| self.peer.recycle(frame));
        self.peer.flush();
        answers
    }
}

fn datagram(target: &str) -> Vec<u8> {
    let mut udp = [&[0; 8][..], b"tagged"].concat();
    let len = udp.len();
    let (source, target): (std::net::IpAddr, std::net::IpAddr) = match target.parse().unwrap() {
        target @ std::net::IpAddr::V4(_) => (PEER.parse().unwrap(), target),
        target @ std::net::IpAddr::V6(_) => ("fd00::1".parse().unwrap(), target),
    };
    let pseudo = PseudoHeader { source: source.into(), target: target.into(), protocol: PROTOCOL_UDP };
    udp::emit(&mut udp, 4000, 7, &pseudo);
    let mut header = vec![0; 40];
    let header_len = match (source, target) {
        (std::net::IpAddr::V4(source), std::net::IpAddr::V4(target)) => {
            ipv4::emit(&mut header, &Ipv4::outgoing(source, target, PROTOCOL_UDP, len))
        }
        (std::net::IpAddr::V6(source), std::net::IpAddr::V6(target)) => {
            ipv6::emit(&mut header, &Ipv6::outgoing(source, target, PROTOCOL_UDP, len))
        }
        _ => 0,
    };
    header.truncate(header_len);
    header.extend(udp);
    header
}

#[test]
fn an_address_answers_in_its_own_vlan_and_in_no_other() {
    let mut bench = Bench::new();
    let claims: Vec<AddressClaim> = OURS.iter().map(|text| text.parse().unwrap()).collect();
    let others = [Vlan::tagged(Tag::c(101)), Vlan::tagged(Tag::s(100)), Vlan::stacked(Tag::s(100), Tag::c(201))];
    for claim in &claims {
        let ethertype = if claim.cidr.address.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        for vlan in claims.iter().map(|claim| claim.vlan).chain(others) {
            let answers = bench.ask(bench.link(vlan, ethertype), &datagram(&claim.cidr.address.to_string()));
            if vlan == claim.vlan {
                let [(link, _)] = &answers[..] else { panic!("{claim} does not answer: {answers:?}") };
                assert_eq!((link.vlan, link.target), (vlan, bench.peer.mac()), "{claim}");
            } else {
                assert_eq!(answers, [], "{claim} answers in {vlan}");
            }
        }
    }
    let counters = bench.engine.accounts().0;
    assert_eq!((counters.udp_received, counters.udp_in_frame), (4, 4));
    super::assert_no_frame_missing(&bench.engine);
}

#[test]
fn arp_is_answered_and_neighbours_are_known_per_vlan() {
    let mut bench = Bench::new();
    let (vlan, ours) = (Vlan::tagged(Tag::c(100)), "10.1.0.2".parse().unwrap());
    let asker: std::net::Ipv4Addr = "10.1.0.1".parse().unwrap();
    let peer = bench.peer.mac();
    let mut packet = [0; crate::wire::arp::LEN];
    crate::wire::arp::emit(&mut packet, &arp::request(peer, asker, ours));
    let link = |vlan| Ethernet { target: Mac::BROADCAST, source: peer, vlan, ethertype: ETHERTYPE_ARP };
    for wrong in [Vlan::NONE, Vlan::tagged(Tag::c(101)), Vlan::stacked(Tag::s(100), Tag::c(200))] {
        assert_eq!(bench.ask(link(wrong), &packet), []);
    }
    let [(answer, _)] = &bench.ask(link(vlan), &packet)[..] else { panic!("no answer") };
    assert_eq!((answer.vlan, answer.target), (vlan, peer));
    let known: Vec<_> = bench.engine.core.links.iter().map(|link| link.neighbors.len()).collect();
    assert_eq!(known, [0, 1, 0, 0]);
}
