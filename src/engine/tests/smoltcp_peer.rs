//! smoltcp at the other end of the cable: an independent judge of every packet.

use std::time::Duration;

use smoltcp::iface::{Config as SmolConfig, Interface as SmolInterface, SocketHandle, SocketSet};
use smoltcp::phy;
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpCidr, Ipv6Address,
};

use super::*;
use crate::device::memory;
use crate::device::smoltcp::Phy;

/// smoltcp at 10.0.0.1 and fd00::1 with some sockets, Ringway at 10.0.0.2 and fd00::2.
struct World<S: Service> {
    clock: ManualClock,
    ringway: Engine<MemoryDevice, S>,
    phy: Phy,
    smol: SmolInterface,
    sockets: SocketSet<'static>,
}

impl<S: Service> World<S> {
    fn new(service: S) -> Self {
        let (left, right) = memory::cable(512);
        let mac = EthernetAddress(left.mac().0);
        let mut phy = Phy::new(left, 1500);
        let mut smol =
            SmolInterface::new(SmolConfig::new(HardwareAddress::Ethernet(mac)), &mut phy, smoltcp::time::Instant::ZERO);
        smol.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::v4(10, 0, 0, 1), 24)).unwrap();
            addresses.push(IpCidr::new(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 1), 64)).unwrap();
        });
        let clock = ManualClock::default();
        let mut ringway = engine(right, 2, service);
        ringway.start(&clock);
        Self { clock, ringway, phy, smol, sockets: SocketSet::new(Vec::new()) }
    }

    fn tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    /// One step of both, 20 us apart.
    fn step(&mut self) {
        let now = smoltcp::time::Instant::from_micros((self.clock.now().as_ns() / 1000) as i64);
        self.smol.poll(now, &mut self.phy, &mut self.sockets);
        self.ringway.turn(&self.clock);
        self.clock.advance(Duration::from_micros(20));
    }

    fn play(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.step());
    }
}

/// Ringway's addresses.
const RINGWAY: [IpAddress; 2] = [IpAddress::v4(10, 0, 0, 2), IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 2)];

#[test]
fn echoes_a_stream_and_closes_in_four_ways() {
    RINGWAY.into_iter().for_each(echo_a_stream);
}

fn echo_a_stream(server: IpAddress) {
    let mut world = World::new(Echo::default());
    let handle = world.tcp();
    let sent: Vec<u8> = (0..200_000u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let (mut offered, mut got) = (0, Vec::new());
    let context = world.smol.context();
    world.sockets.get_mut::<tcp::Socket<'_>>(handle).connect(context, (server, 7), 40_000).unwrap();
    for _ in 0..20_000 {
        world.step();
        let socket = world.sockets.get_mut::<tcp::Socket<'_>>(handle);
        if socket.can_send() && offered < sent.len() {
            offered += socket.send_slice(&sent[offered..]).unwrap();
            if offered == sent.len() {
                socket.close();
            }
        }
        if socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), got.extend_from_slice(bytes))).unwrap();
        }
        if got.len() == sent.len() && socket.state() == tcp::State::TimeWait {
            break;
        }
    }
    assert!(got == sent, "{} of {} bytes came back", got.len(), sent.len());
    assert_eq!(world.sockets.get::<tcp::Socket<'_>>(handle).state(), tcp::State::TimeWait);
    world.play(10);
    assert_eq!(world.ringway.service().ended, 1);
    assert_eq!(world.ringway.core.count_states(), (0, 0));
    assert_eq!(world.ringway.core.pool.in_use(), 0);
    assert_no_frame_missing(&world.ringway);
}

#[test]
fn opens_towards_smoltcp() {
    ["10.0.0.1:80", "[fd00::1]:80"].into_iter().for_each(open_towards);
}

fn open_towards(server: &str) {
    let mut world = World::new(Talker::new(server, b"GET / HTTP/1.0\r\n\r\n".to_vec()));
    let handle = world.tcp();
    world.sockets.get_mut::<tcp::Socket<'_>>(handle).listen(80).unwrap();
    // The first SYN found nobody: smoltcp had not polled yet. The next goes out when the retransmission timer expires.
    for _ in 0..200_000 {
        world.step();
        let socket = world.sockets.get_mut::<tcp::Socket<'_>>(handle);
        if socket.can_recv() {
            let asked = socket.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap();
            assert_eq!(asked, b"GET / HTTP/1.0\r\n\r\n");
            socket.send_slice(b"hello").unwrap();
            socket.close();
        }
        if world.ringway.service().events.contains(&"closed") {
            break;
        }
    }
    assert_eq!(world.ringway.service().events, ["connected", "peer_closed", "closed"]);
    assert_eq!(world.ringway.service().got, b"hello");
    assert_no_frame_missing(&world.ringway);
}

#[test]
fn answers_datagrams_in_their_frames_and_refuses_closed_ports() {
    RINGWAY.into_iter().zip([1472, 1452]).for_each(|(server, most)| answer_datagrams(server, most));
}

fn answer_datagrams(server: IpAddress, most: usize) {
    let mut world = World::new(Echo::default());
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 65_536]);
    let handle = world.sockets.add(udp::Socket::new(buffer(), buffer()));
    world.sockets.get_mut::<udp::Socket<'_>>(handle).bind(5000).unwrap();
    for len in [0, 1, 2, 63, 64, 65, most - 1, most] {
        let payload: Vec<u8> = (0..len).map(|at| at as u8 ^ 0x5a).collect();
        let socket = world.sockets.get_mut::<udp::Socket<'_>>(handle);
        socket.send_slice(&payload, (server, 7)).unwrap();
        world.play(10);
        let socket = world.sockets.get_mut::<udp::Socket<'_>>(handle);
        let (back, from) = socket.recv().expect("an answer");
        assert_eq!((back, from.endpoint.port), (&payload[..], 7));
    }
    let counters = world.ringway.core.counters;
    assert_eq!((counters.udp_received, counters.udp_in_frame, counters.udp_copies), (8, 8, 0));
    world.sockets.get_mut::<udp::Socket<'_>>(handle).send_slice(b"?", (server, 8)).unwrap();
    world.play(10);
    assert_eq!(world.ringway.core.counters.icmp_errors_sent, 1);
    assert_no_frame_missing(&world.ringway);
}

#[test]
fn answers_ping() {
    let mut world = World::new(Echo::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 16_384]);
    let handle = world.sockets.add(icmp::Socket::new(buffer(), buffer()));
    world.sockets.get_mut::<icmp::Socket<'_>>(handle).bind(icmp::Endpoint::Ident(0x1234)).unwrap();
    let data = [0xa5; 56];
    let repr = Icmpv4Repr::EchoRequest { ident: 0x1234, seq_no: 7, data: &data };
    let checksums = phy::ChecksumCapabilities::default();
    let room = world.sockets.get_mut::<icmp::Socket<'_>>(handle).send(repr.buffer_len(), IpAddress::v4(10, 0, 0, 2)).unwrap();
    repr.emit(&mut Icmpv4Packet::new_unchecked(room), &checksums);
    world.play(10);
    let (answer, from) = world.sockets.get_mut::<icmp::Socket<'_>>(handle).recv().expect("an answer");
    assert_eq!(from, IpAddress::v4(10, 0, 0, 2));
    let answer = Icmpv4Repr::parse(&Icmpv4Packet::new_checked(answer).unwrap(), &checksums).unwrap();
    assert_eq!(answer, Icmpv4Repr::EchoReply { ident: 0x1234, seq_no: 7, data: &data });
    assert_no_frame_missing(&world.ringway);
}

#[test]
fn answers_ping_over_ipv6() {
    let mut world = World::new(Echo::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 16_384]);
    let handle = world.sockets.add(icmp::Socket::new(buffer(), buffer()));
    world.sockets.get_mut::<icmp::Socket<'_>>(handle).bind(icmp::Endpoint::Ident(0x1234)).unwrap();
    let data = [0xa5; 56];
    let repr = Icmpv6Repr::EchoRequest { ident: 0x1234, seq_no: 7, data: &data };
    let checksums = phy::ChecksumCapabilities::default();
    let [_, ringway] = RINGWAY;
    let (ours, theirs) = (Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
    let room = world.sockets.get_mut::<icmp::Socket<'_>>(handle).send(repr.buffer_len(), ringway).unwrap();
    repr.emit(&ours, &theirs, &mut Icmpv6Packet::new_unchecked(room), &checksums);
    world.play(10);
    let (answer, from) = world.sockets.get_mut::<icmp::Socket<'_>>(handle).recv().expect("an answer");
    assert_eq!(from, ringway);
    let answer = Icmpv6Repr::parse(&theirs, &ours, &Icmpv6Packet::new_checked(answer).unwrap(), &checksums).unwrap();
    assert_eq!(answer, Icmpv6Repr::EchoReply { ident: 0x1234, seq_no: 7, data: &data });
    // One announces the address, one answers.
    assert_eq!(world.ringway.core.counters.nd_advertisements, 2);
    assert_no_frame_missing(&world.ringway);
}
