//! Datagrams to many, and endpoints of one peer: what is heard, what is sent, and how far.

use std::net::{IpAddr, SocketAddrV4};

use super::wire::{OUR_MAC, PEER_MAC};
use super::*;
use crate::device::{Drop, memory};
use crate::link::groups::{Group, Groups};
use crate::service::{CallError, EndpointId, IcmpError, Meta, Sending};
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Mac};
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_UDP};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::udp;
use crate::wire::vlan::Vlan;

/// Opens endpoints and keeps what arrives at each.
#[derive(Debug, Default)]
struct Listener {
    open: Vec<&'static str>,
    connect: Option<(u16, &'static str)>,
    got: Vec<(Meta, Vec<u8>)>,
    errors: Vec<IcmpError>,
    answer: bool,
}

impl Service for Listener {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        for at in &self.open {
            cx.open_udp(at.parse::<SocketAddr>().unwrap().into()).unwrap();
        }
        if let Some((port, remote)) = self.connect {
            cx.connect_udp(port.into(), remote.parse().unwrap()).unwrap();
        }
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.got.push((*datagram.meta(), datagram.payload().to_vec()));
        if self.answer { Answer::Reply { len: datagram.payload().len() } } else { Answer::Ignore }
    }

    fn icmp_error(&mut self, _: &mut impl Context, error: IcmpError) {
        self.errors.push(error);
    }
}

struct Hall {
    engine: Engine<MemoryDevice, Listener>,
    peer: MemoryDevice,
    clock: ManualClock,
}

impl Hall {
    fn new(groups: &[Group], service: Listener) -> Self {
        let claim = Claim::Addresses(["10.0.0.2/24", "fd00::2/64", "fe80::2/64"].map(|text| text.parse().unwrap()).into());
        Self::claiming(claim, groups, service)
    }

    fn claiming(claim: Claim, groups: &[Group], service: Listener) -> Self {
        let (peer, far) = memory::cable(64);
        let clock = ManualClock::default();
        let mut taken = Groups::new();
        groups.iter().for_each(|group| taken.insert(group.clone()).unwrap());
        let interface = Interface {
            name: "cable".into(),
            mac: far.mac(),
            mtu: 1500,
            vlan: Vlan::NONE,
            claim,
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: taken,
        };
        let config = Config::new(Secrets::fixed());
        let mut engine = Engine::new(config, vec![interface], vec![Port::new(far, 0, 0)], service).unwrap();
        engine.start(&clock);
        engine.turn(&clock);
        let mut hall = Self { engine, peer, clock };
        hall.sent();
        hall
    }

    /// A datagram of the peer, and a turn.
    fn hear(&mut self, from: &str, to: &str, payload: &[u8]) {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let mut datagram = [&[0; 8], payload].concat();
        let pseudo = PseudoHeader { source: from.ip().into(), target: to.ip().into(), protocol: PROTOCOL_UDP };
        udp::emit(&mut datagram, from.port(), to.port(), &pseudo);
        let target = if to.ip().is_multicast() { Mac([1, 0, 0x5e, 0, 0, 1]) } else { OUR_MAC };
        let mut link = Ethernet { target, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
        let mut bytes = vec![0; 14];
        match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                if target.is_broadcast() {
                    link.target = Mac::BROADCAST;
                }
                bytes.resize(34, 0);
                ipv4::emit(&mut bytes[14..], &Ipv4::outgoing(source, target, PROTOCOL_UDP, datagram.len()));
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                link.ethertype = ETHERTYPE_IPV6;
                bytes.resize(54, 0);
                ipv6::emit(&mut bytes[14..], &Ipv6::outgoing(source, target, PROTOCOL_UDP, datagram.len()));
            }
            _ => panic!("two families"),
        }
        ethernet::emit(&mut bytes, &link);
        bytes.extend(datagram);
        self.inject(&bytes);
    }

    /// The same to a group of IPv4, in two fragments.
    fn hear_in_fragments(&mut self, from: &str, to: &str, payload: &[u8]) {
        let (from, to): (SocketAddrV4, SocketAddrV4) = (from.parse().unwrap(), to.parse().unwrap());
        let mut datagram = [&[0; 8], payload].concat();
        let pseudo = PseudoHeader { source: (*from.ip()).into(), target: (*to.ip()).into(), protocol: PROTOCOL_UDP };
        udp::emit(&mut datagram, from.port(), to.port(), &pseudo);
        let link = Ethernet { target: Mac([1, 0, 0x5e, 0, 0, 1]), source: PEER_MAC, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 };
        for (nth, data) in datagram.chunks(1480).enumerate() {
            let whole = Ipv4::outgoing(*from.ip(), *to.ip(), PROTOCOL_UDP, data.len());
            let (fragment_offset, more_fragments) = (nth as u16 * 1480, nth == 0);
            let part = Ipv4 { identification: 7, dont_fragment: false, fragment_offset, more_fragments, ..whole };
            let mut bytes = vec![0; 34];
            ethernet::emit(&mut bytes, &link);
            ipv4::emit(&mut bytes[14..], &part);
            bytes.extend(data);
            self.inject(&bytes);
        }
    }

    fn inject(&mut self, bytes: &[u8]) {
        let mut frame = self.peer.allocate().unwrap();
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        self.peer.transmit(frame).unwrap();
        self.peer.flush();
        self.engine.turn(&self.clock);
    }

    /// Source, TTL and Ethernet destination of each IPv4 and IPv6 packet of UDP that was sent.
    fn sent(&mut self) -> Vec<(IpAddr, u8, Mac)> {
        self.engine.turn(&self.clock);
        let mut burst = Vec::new();
        self.peer.receive(&mut burst, 64);
        let mut sent = Vec::new();
        for frame in burst {
            let bytes = frame.bytes();
            let link = ethernet::parse(bytes).unwrap();
            match link.ethertype {
                ETHERTYPE_IPV4 => sent.extend(ipv4::parse(&bytes[14..]).map(|ip| (ip.source.into(), ip.ttl, link.target))),
                ETHERTYPE_IPV6 => {
                    let ip = ipv6::parse(&bytes[14..]).unwrap();
                    if ip.next_header == PROTOCOL_UDP {
                        sent.push((ip.source.into(), ip.hop_limit, link.target));
                    }
                }
                _ => {}
            }
            self.peer.recycle(frame);
        }
        sent
    }

    fn got(&self) -> Vec<(u16, String, bool)> {
        let got = &self.engine.service().got;
        got.iter().map(|(meta, _)| (meta.endpoint.0, meta.local.to_string(), meta.to_many)).collect()
    }

    fn dropped(&self, why: Drop) -> u64 {
        self.engine.core.drops.of(why)
    }
}

fn group(at: &str) -> Group {
    let at: SocketAddr = at.parse().unwrap();
    Group::new(at.ip(), at.port())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_group_that_was_asked_for_is_heard_at_its_endpoint_and_then_at_that_for_all_addresses() {
    let groups = [group("239.1.2.3:5000"), group("239.1.2.4:5000"), group("[ff02::1234]:5000")];
    let mut hall = Hall::new(&groups, Listener { open: vec!["239.1.2.3:5000", "0.0.0.0:5000"], ..Listener::default() });
    hall.hear("10.0.0.1:4000", "239.1.2.3:5000", b"one");
    hall.hear("10.0.0.1:4000", "239.1.2.4:5000", b"two");
    hall.hear("[fe80::1]:4000", "[ff02::1234]:5000", b"three");
    let expected =
        [(0, "239.1.2.3:5000"), (1, "239.1.2.4:5000"), (1, "[ff02::1234]:5000")].map(|(id, at)| (id, at.to_owned(), true));
    assert_eq!(hall.got(), expected);
    assert_eq!(hall.engine.service().got[0].0.interface, 0);
    assert_no_frame_missing(&hall.engine);
}

#[test]
fn other_groups_other_ports_and_other_sources_are_not_heard() {
    let one = group("232.1.2.3:5000").only_from(&[ip("10.0.0.1")]);
    let groups = [group("239.1.2.3:5000"), group("[ff02::1234]:5000"), one];
    let mut hall = Hall::new(&groups, Listener { open: vec!["0.0.0.0:5000", "0.0.0.0:5001"], ..Listener::default() });
    for to in ["239.1.2.4:5000", "239.1.2.3:5001", "[ff02::1234]:5001"] {
        hall.hear(if to.starts_with('[') { "[fe80::1]:4000" } else { "10.0.0.1:4000" }, to, b"");
    }
    assert_eq!((hall.got(), hall.dropped(Drop::GroupNotJoined)), (Vec::new(), 3));
    hall.hear("[fe80::1]:4000", "[ff02::1235]:5000", b"");
    assert_eq!(hall.dropped(Drop::Ipv6NotOurs), 1);
    hall.hear("10.0.0.9:4000", "232.1.2.3:5000", b"");
    assert_eq!((hall.got(), hall.dropped(Drop::GroupSource)), (Vec::new(), 1));
    hall.hear("10.0.0.1:4000", "232.1.2.3:5000", b"");
    assert_eq!(hall.got().len(), 1);
    assert_eq!(hall.sent(), [], "nobody is told");
}

#[test]
fn the_answer_to_what_came_to_a_group_is_from_an_address_of_ours() {
    let groups = [group("239.1.2.3:5000"), group("[ff02::1234]:5000"), group("255.255.255.255:5000")];
    let mut hall = Hall::new(&groups, Listener { open: vec!["0.0.0.0:5000"], answer: true, ..Listener::default() });
    hall.hear("10.0.0.1:4000", "239.1.2.3:5000", b"who");
    hall.hear("[fe80::1]:4000", "[ff02::1234]:5000", b"who");
    hall.hear("10.0.0.1:4000", "255.255.255.255:5000", b"who");
    let to_peer = |source: &str| (ip(source), 64, PEER_MAC);
    assert_eq!(hall.sent(), [to_peer("10.0.0.2"), to_peer("fe80::2"), to_peer("10.0.0.2")]);
}

#[test]
fn what_came_to_a_group_in_fragments_is_judged_and_answered_as_if_it_had_come_whole() {
    let one = group("232.1.2.3:5000").only_from(&[ip("10.0.0.1")]);
    let listener = Listener { open: vec!["0.0.0.0:5000"], answer: true, ..Listener::default() };
    let mut hall = Hall::new(&[group("239.1.2.3:5000"), one], listener);
    hall.hear_in_fragments("10.0.0.1:4000", "239.1.2.3:5000", &[7; 2000]);
    assert_eq!(hall.got(), [(0, "239.1.2.3:5000".to_owned(), true)]);
    let answer = (ip("10.0.0.2"), 64, PEER_MAC);
    assert_eq!(hall.sent(), [answer, answer], "two fragments");
    for (from, to, why) in [
        ("10.0.0.1:4000", "239.1.2.4:5000", Drop::GroupNotJoined),
        ("10.0.0.1:4000", "239.1.2.3:5001", Drop::GroupNotJoined),
        ("10.0.0.9:4000", "232.1.2.3:5000", Drop::GroupSource),
    ] {
        let before = hall.dropped(why);
        hall.hear_in_fragments(from, to, &[7; 2000]);
        assert_eq!((hall.dropped(why) - before, hall.got().len(), hall.sent()), (1, 1, vec![]), "{from} to {to}");
    }
    assert_no_frame_missing(&hall.engine);
}

#[test]
fn an_asker_behind_a_router_is_answered_from_an_address_of_ours_or_not_at_all() {
    let groups = [group("239.1.2.3:5000"), group("[ff05::1234]:5000")];
    let listener = || Listener { open: vec!["0.0.0.0:5000"], answer: true, ..Listener::default() };
    let ports = vec!["udp:5000".parse().unwrap()];
    let kernels = Claim::Ports { addresses: vec!["10.0.0.2/24".parse().unwrap()], ports };
    for claim in [Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap()]), kernels] {
        let mut hall = Hall::claiming(claim, &groups, listener());
        hall.hear("192.0.2.1:4000", "239.1.2.3:5000", b"who");
        assert_eq!(hall.sent(), [(ip("10.0.0.2"), 64, PEER_MAC)]);
        hall.hear("[fd00::1]:4000", "[ff05::1234]:5000", b"who");
        assert_eq!((hall.got().len(), hall.sent(), hall.dropped(Drop::NoRoute)), (2, vec![], 1));
        assert_no_frame_missing(&hall.engine);
    }
}

//= type=test
//= rfc1112#6.1
//# If the upper-layer protocol chooses not to specify a time-to-live, it should
//# default to 1 for all multicast IP datagrams, so that an explicit
//# choice is required to multicast beyond a single network.
#[test]
fn what_is_sent_to_a_group_stays_on_the_link_unless_told_otherwise() {
    let mut hall = Hall::new(&[group("239.1.2.3:5000")], Listener { open: vec!["239.1.2.3:5000"], ..Listener::default() });
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    let far = Sending { hop_limit: Some(9), ..Sending::default() };
    let core = &mut hall.engine.core;
    core.send_to(EndpointId(0), to("239.9.9.9:6000"), b"near").unwrap();
    core.send_with(EndpointId(0), to("239.9.9.9:6000"), b"far", far).unwrap();
    core.send_to(EndpointId(0), to("[ff02::9]:6000"), b"link").unwrap();
    core.send_to(EndpointId(0), to("[ff05::9]:6000"), b"site").unwrap();
    core.send_to(EndpointId(0), to("255.255.255.255:6000"), b"all").unwrap();
    core.send_to(EndpointId(0), to("10.0.0.255:6000"), b"net").unwrap();
    let [v4, v6] = [Mac([1, 0, 0x5e, 9, 9, 9]), Mac([0x33, 0x33, 0, 0, 0, 9])];
    assert_eq!(
        hall.sent(),
        [
            (ip("10.0.0.2"), 1, v4),
            (ip("10.0.0.2"), 9, v4),
            (ip("fe80::2"), 1, v6),
            (ip("fd00::2"), 1, v6),
            (ip("10.0.0.2"), 64, Mac::BROADCAST),
            (ip("10.0.0.2"), 64, Mac::BROADCAST),
        ]
    );
    for stays in ["[ff00::9]:6000", "[ff01::9]:6000"] {
        assert_eq!(hall.engine.core.send_to(EndpointId(0), to(stays), b"host"), Err(CallError::NoRoute), "{stays}");
    }
    let elsewhere = Sending { interface: Some(1), ..Sending::default() };
    assert_eq!(hall.engine.core.send_with(EndpointId(0), to("239.9.9.9:6000"), b"", elsewhere), Err(CallError::NoRoute));
}

#[test]
fn a_copy_comes_back_to_the_endpoints_of_the_group_when_that_is_asked_for() {
    let one = group("232.1.2.3:5000").only_from(&[ip("10.0.0.1")]);
    let listener = Listener { open: vec!["0.0.0.0:5000"], answer: true, ..Listener::default() };
    let mut hall = Hall::new(&[group("239.1.2.3:5000"), one], listener);
    let looped = Sending { looped: true, ..Sending::default() };
    for (to, how) in [
        ("239.1.2.3:5000", looped),
        ("239.1.2.3:5000", Sending::default()),
        ("232.1.2.3:5000", looped),
        ("239.1.2.4:5000", looped),
        ("239.1.2.3:5000", Sending { hop_limit: Some(0), ..looped }),
    ] {
        hall.engine.core.send_with(EndpointId(0), to.parse().unwrap(), b"us", how).unwrap();
    }
    assert_eq!(hall.sent().len(), 4, "all but the one that does not leave the host, and no answer");
    let back = (0, "239.1.2.3:5000".to_owned(), true);
    assert_eq!(hall.got(), [back.clone(), back]);
    assert_eq!(hall.engine.service().got[0].0.remote, "10.0.0.2:5000".parse().unwrap());
    assert_eq!(hall.dropped(Drop::UdpUnsafeToAnswer), 2);
    for _ in 0..=crate::limits::LOOPED {
        let none = Sending { hop_limit: Some(0), ..looped };
        hall.engine.core.send_with(EndpointId(0), "239.1.2.3:5000".parse().unwrap(), b"us", none).unwrap();
    }
    assert_eq!(hall.dropped(Drop::UdpLoopFull), 1);
}

#[test]
fn a_connected_endpoint_hears_its_peer_alone() {
    let listener = Listener { connect: Some((5000, "10.0.0.1:4000")), ..Listener::default() };
    let mut hall = Hall::new(&[], listener);
    hall.hear("10.0.0.1:4000", "10.0.0.2:5000", b"peer");
    hall.hear("10.0.0.1:4001", "10.0.0.2:5000", b"another port");
    hall.hear("10.0.0.9:4000", "10.0.0.2:5000", b"another host");
    assert_eq!(hall.got().len(), 1);
    assert_eq!(hall.dropped(Drop::UdpNotConnected), 2);
    assert_eq!(hall.engine.core.counters.icmp_errors_sent, 2, "to them the port is closed");
    for bad in ["239.1.2.3:5000", "10.0.0.255:5000", "10.0.0.1:0", "0.0.0.0:5000"] {
        let refused = hall.engine.core.connect_udp(6000.into(), bad.parse().unwrap());
        assert_eq!(refused, Err(CallError::NoRoute), "{bad}");
    }
    assert_eq!(hall.engine.core.connect_udp(5000.into(), "10.0.0.9:1".parse().unwrap()), Err(CallError::PortInUse));
}

#[test]
fn a_connected_endpoint_is_told_of_errors_about_its_peer_alone() {
    let listener = Listener { connect: Some((5000, "10.0.0.1:4000")), ..Listener::default() };
    let mut hall = Hall::new(&[], listener);
    for port in [4000, 4001] {
        let mut quoted = vec![0; 28];
        ipv4::emit(&mut quoted, &Ipv4::outgoing("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap(), PROTOCOL_UDP, 8));
        quoted[20..24].copy_from_slice(&[0x13, 0x88, (port >> 8) as u8, port as u8]);
        let mut message = vec![0; crate::wire::icmpv4::MAX_LEN];
        let len = crate::wire::icmpv4::emit_unreachable(&mut message, crate::wire::icmpv4::CODE_PORT, &quoted);
        let bytes = wire::packet(OUR_MAC, PEER_MAC, ipv4::PROTOCOL_ICMP, &message[..len]);
        hall.inject(&bytes);
    }
    assert_eq!(hall.engine.core.counters.icmp_errors_received, 2);
    let about: Vec<_> = hall.engine.service().errors.iter().map(|error| error.remote.to_string()).collect();
    assert_eq!(about, ["10.0.0.1:4000"]);
}

#[test]
fn a_buffer_is_cut_into_datagrams_until_there_is_no_room() {
    let mut hall = Hall::new(&[], Listener { open: vec!["0.0.0.0:5000"], ..Listener::default() });
    let to = "239.9.9.9:6000".parse().unwrap();
    let bytes = vec![7; 2500];
    let core = &mut hall.engine.core;
    assert_eq!(core.send_segments(EndpointId(0), to, &bytes, 1000, Sending::default()), Ok(2500));
    assert_eq!(core.send_segments(EndpointId(0), to, &bytes, 0, Sending::default()), Err(CallError::TooLarge));
    assert_eq!(core.send_segments(EndpointId(0), to, &bytes, 1473, Sending::default()), Err(CallError::TooLarge));
    assert_eq!(core.send_segments(EndpointId(7), to, &bytes, 1000, Sending::default()), Err(CallError::Stale));
    assert_eq!(core.send_segments(EndpointId(0), to, &[], 1000, Sending::default()), Ok(0));
    assert_eq!(hall.sent().len(), 3);
    // All frames but two are elsewhere.
    let mut held: Vec<_> = std::iter::from_fn(|| hall.engine.device_mut(0).allocate()).collect();
    held.drain(..2).for_each(|frame| hall.engine.device_mut(0).recycle(frame));
    let core = &mut hall.engine.core;
    assert_eq!(core.send_segments(EndpointId(0), to, &bytes, 1000, Sending::default()), Ok(2000));
    assert_eq!(core.send_segments(EndpointId(0), to, &bytes, 1000, Sending::default()), Err(CallError::WouldBlock));
    held.into_iter().for_each(|frame| hall.engine.device_mut(0).recycle(frame));
    assert_eq!(hall.sent().len(), 2);
}
