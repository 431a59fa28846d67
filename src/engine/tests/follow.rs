//! An engine that follows the kernel: what it is told, and what it wishes, on an interface of which single ports are claimed.

use std::net::IpAddr;
use std::sync::Arc;

use super::wire::{OUR_MAC, OURS, PEER, PEER_MAC, Peer, packet};
use super::*;
use crate::device::{Drop, memory};
use crate::engine::{Feed, News, Wish};
use crate::limits;
use crate::link::interface::{PortClaim, Transport};
use crate::link::neighbor::Known;
use crate::service::{CallError, EndpointId, IcmpError};
use crate::tcp::seq::SeqNum;
use crate::wire::checksum::checksum;
use crate::wire::ethernet::Mac;
use crate::wire::ipv4::PROTOCOL_ICMP;
use crate::wire::tcp::{Flags, Options};
use crate::wire::vlan::Vlan;

const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// Listens at port 7, and sends a datagram from there to whoever a message names.
#[derive(Debug, Default)]
struct Sender {
    endpoint: Option<EndpointId>,
    sent: Vec<Result<(), CallError>>,
    errors: Vec<(SocketAddr, u8, u8)>,
    got: usize,
}

impl Service for Sender {
    type Message = &'static str;

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
        self.endpoint = Some(cx.open_udp(7.into()).unwrap());
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        self.got += bytes.len();
        cx.send(connection, bytes)
    }

    fn icmp_error(&mut self, _: &mut impl Context, error: IcmpError) {
        self.errors.push((error.remote, error.icmp_type, error.code));
    }

    fn message(&mut self, cx: &mut impl Context, to: &'static str) {
        self.sent.push(cx.send_to(self.endpoint.unwrap(), to.parse().unwrap(), b"hello"));
    }
}

struct World {
    engine: Engine<MemoryDevice, Sender>,
    peer: Peer,
    clock: ManualClock,
    feed: Feed,
    /// Whoever waits for wishes.
    _poll: mio::Poll,
}

impl World {
    /// TCP and UDP port 7 of 10.0.0.2 are claimed.
    fn new() -> Self {
        let ports = [Transport::Tcp, Transport::Udp].map(|transport| PortClaim { transport, port: 7 }).to_vec();
        Self::with(Claim::Ports { addresses: vec!["10.0.0.2/24".parse().unwrap()], ports })
    }

    fn with(claim: Claim) -> Self {
        let (near, far) = memory::cable(64);
        let interface = Interface {
            name: "cable".into(),
            mac: far.mac(),
            mtu: far.mtu(),
            vlan: Vlan::NONE,
            claim,
            routes: Routes::default(),
            withheld: Vec::new(),
            groups: Groups::new(),
        };
        let mut config = Config::new(Secrets::fixed());
        config.tcp.connections = 64;
        let port = Port::new(far, 0, 0);
        let mut engine = Engine::new(config, vec![interface], vec![port], Sender::default()).unwrap();
        let poll = mio::Poll::new().unwrap();
        let feed = engine.follow(Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let clock = ManualClock::default();
        engine.start(&clock);
        engine.turn(&clock);
        let mut world = Self { engine, peer: Peer::new(near), clock, feed, _poll: poll };
        world.peer.answers();
        world
    }

    fn tell(&mut self, news: News) {
        self.feed.tell(news).unwrap();
        assert!(self.engine.turn(&self.clock), "news is work");
    }

    fn neighbor(&mut self, ip: impl Into<IpAddr>, known: Known) {
        self.tell(News::Neighbor { interface: 0, ip: ip.into(), known });
    }

    fn send_to(&mut self, to: &'static str) {
        self.engine.mailbox().send(to).unwrap();
        self.engine.turn(&self.clock);
    }

    /// What is wished of the kernel: what, and about whom.
    fn wishes(&self) -> Vec<(&'static str, String)> {
        let words = |wish| match wish {
            Wish::Use { ip, .. } => ("use", ip.to_string()),
            Wish::Confirm { ip, .. } => ("confirm", ip.to_string()),
            Wish::Router { said, .. } => ("router", said.address.to_string()),
            Wish::Duplicate { address, .. } => ("duplicate", address.to_string()),
            Wish::Silent { router, .. } => ("silent", router.to_string()),
            Wish::Free(routes) => ("free", routes.len().to_string()),
        };
        std::iter::from_fn(|| self.feed.wish()).map(words).collect()
    }

    /// Where the packets go that have come out.
    fn targets(&mut self) -> Vec<Mac> {
        self.peer.answers().iter().map(|frame| Mac(frame[..6].try_into().unwrap())).collect()
    }

    fn copy(&mut self, frame: &[u8]) {
        self.tell(News::Copy { interface: 0, frame: frame.into() });
    }

    /// A connection from the peer; the numbers that come next from it and from here.
    fn connected(&mut self) -> (SeqNum, SeqNum) {
        let irs = SeqNum(7000);
        let options = Options { mss: Some(1460), ..Options::default() };
        self.peer.segment_from(5000, Flags::SYN, irs, SeqNum(0), options, &[]);
        self.engine.turn(&self.clock);
        let iss = self.peer.segments()[0].1;
        self.peer.segment(Flags::ACK, irs + 1, iss + 1, &[]);
        self.engine.turn(&self.clock);
        (irs + 1, iss + 1)
    }
}

/// "Destination unreachable" about a packet that was sent.
fn unreachable(code: u8, mtu: u16, quoted: &[u8]) -> Vec<u8> {
    let mtu = mtu.to_be_bytes();
    let mut bytes = [&[3, code, 0, 0, 0, 0, mtu[0], mtu[1]], &quoted[14..quoted.len().min(14 + 28)]].concat();
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(OUR_MAC, PEER_MAC, PROTOCOL_ICMP, &bytes)
}

#[test]
fn a_neighbour_is_found_by_the_kernel_and_never_asked_for() {
    let mut world = World::new();
    world.send_to("10.0.0.1:9");
    assert_eq!(world.wishes(), [("use", "10.0.0.1".to_owned())]);
    assert_eq!((world.targets(), world.engine.core.counters.arp_requests), (vec![], 0));
    world.neighbor(PEER, Known::Fresh(PEER_MAC));
    assert_eq!(world.targets(), [PEER_MAC]);
    world.neighbor(PEER, Known::Fresh(ROUTER_MAC));
    world.send_to("10.0.0.1:9");
    assert_eq!((world.targets(), world.wishes()), (vec![ROUTER_MAC], vec![]));
    world.neighbor(PEER, Known::Failed);
    world.send_to("10.0.0.1:9");
    assert_eq!(world.engine.core.drops.of(Drop::NeighborUnreachable), 1);
    assert_no_frame_missing(&world.engine);
}

#[test]
fn one_that_stays_silent_is_wished_for_three_times_and_takes_its_frame_along() {
    let mut world = World::new();
    world.send_to("10.0.0.1:9");
    for _ in 0..50 {
        world.clock.advance(Duration::from_millis(100));
        world.engine.turn(&world.clock);
    }
    assert_eq!(world.wishes().len(), 3);
    assert_eq!((world.targets(), world.engine.core.drops.of(Drop::NeighborUnreachable)), (vec![], 1));
    assert_no_frame_missing(&world.engine);
}

#[test]
fn routes_are_those_of_the_kernel() {
    let mut world = World::new();
    world.send_to("192.0.2.1:9");
    assert_eq!(world.engine.service().sent, [Err(CallError::NoRoute)]);
    world.neighbor("10.0.0.254".parse::<IpAddr>().unwrap(), Known::Fresh(ROUTER_MAC));
    let routes = Box::new(["0.0.0.0/0=10.0.0.254".parse().unwrap()].into_iter().collect());
    world.tell(News::Routes { interface: 0, routes });
    assert_eq!(world.wishes(), [("free", "0".to_owned())], "those before are given back");
    world.send_to("192.0.2.1:9");
    assert_eq!(world.targets(), [ROUTER_MAC]);
    world.tell(News::Routes { interface: 0, routes: Box::default() });
    world.send_to("192.0.2.1:9");
    assert_eq!(world.engine.service().sent[1..], [Ok(()), Err(CallError::NoRoute)]);
}

#[test]
fn an_accepted_connection_follows_the_neighbour_and_confirms_it() {
    let mut world = World::new();
    world.neighbor(PEER, Known::Stale(PEER_MAC));
    let (seq, ack) = world.connected();
    world.clock.advance(Duration::from_secs(2));
    world.peer.segment(Flags::ACK, seq, ack, b"one");
    world.engine.turn(&world.clock);
    world.engine.turn(&world.clock);
    assert_eq!((world.targets(), world.wishes()), (vec![PEER_MAC], vec![("use", "10.0.0.1".to_owned())]));
    world.clock.advance(Duration::from_secs(2));
    world.peer.segment(Flags::ACK, seq + 3, ack + 3, b"two");
    world.engine.turn(&world.clock);
    assert_eq!((world.targets(), world.wishes()), (vec![PEER_MAC], vec![("confirm", "10.0.0.1".to_owned())]));
    world.neighbor(PEER, Known::Fresh(ROUTER_MAC));
    world.clock.advance(Duration::from_secs(2));
    world.peer.segment(Flags::ACK, seq + 6, ack + 6, b"three");
    world.engine.turn(&world.clock);
    assert_eq!((world.targets(), world.wishes().len()), (vec![ROUTER_MAC], 0), "what has arrived went by the one before");
    world.clock.advance(Duration::from_secs(2));
    world.peer.segment(Flags::ACK, seq + 11, ack + 11, b"four");
    world.engine.turn(&world.clock);
    assert_eq!((world.targets(), world.wishes().len()), (vec![ROUTER_MAC], 1), "confirmed again");
}

#[test]
fn an_accepted_connection_without_a_route_is_answered_where_it_came_from() {
    let mut world = World::new();
    let (seq, ack) = world.connected();
    // The kernel has lost the network of the address, and has rules for its routes instead.
    for (address, there) in [("10.0.0.2/32", true), ("10.0.0.2/24", false)] {
        world.tell(News::Address { interface: 0, address: address.parse().unwrap(), there });
    }
    world.clock.advance(Duration::from_secs(2));
    world.peer.segment(Flags::ACK, seq, ack, b"one");
    world.engine.turn(&world.clock);
    assert_eq!(world.targets(), [PEER_MAC]);
}

#[test]
fn an_address_may_change_its_network() {
    let mut world = World::new();
    for (address, there) in [("10.0.0.2/16", true), ("10.0.0.2/24", false)] {
        world.tell(News::Address { interface: 0, address: address.parse().unwrap(), there });
    }
    assert_eq!(world.engine.core.links[0].interface.addresses(), ["10.0.0.2/16".parse().unwrap()]);
    world.tell(News::Address { interface: 0, address: "10.0.0.2/16".parse().unwrap(), there: true });
    assert_eq!(world.engine.core.links[0].interface.addresses().len(), 1);
}

#[test]
fn an_address_that_is_gone_is_neither_served_nor_sent_from() {
    let mut world = World::new();
    world.neighbor(PEER, Known::Fresh(PEER_MAC));
    let (seq, ack) = world.connected();
    let address = "10.0.0.2/24".parse().unwrap();
    world.peer.segment(Flags::ACK, seq, ack, b"one");
    world.engine.turn(&world.clock);
    assert_eq!(world.targets(), [PEER_MAC]);
    world.tell(News::Address { interface: 0, address, there: false });
    for _ in 0..30 {
        world.clock.advance(Duration::from_millis(100));
        world.engine.turn(&world.clock);
    }
    // Sent again for a second at most, while the neighbour is believed.
    world.targets();
    world.clock.advance(Duration::from_secs(5));
    world.engine.turn(&world.clock);
    assert_eq!(world.targets(), []);
    assert!(world.engine.core.drops.of(Drop::NoRoute) > 0);
    world.peer.segment(Flags::ACK, seq + 3, ack, b"two");
    world.engine.turn(&world.clock);
    assert_eq!((world.engine.core.drops.of(Drop::Ipv4NotOurs), world.engine.service().got), (1, 3));
    // It comes back, and the connection goes on.
    world.tell(News::Address { interface: 0, address, there: true });
    world.peer.segment(Flags::ACK, seq + 3, ack, b"two");
    world.engine.turn(&world.clock);
    assert_eq!(world.engine.service().got, 6);
    assert!(!world.targets().is_empty());
}

#[test]
fn a_smaller_link_makes_segments_smaller_at_once() {
    let mut world = World::new();
    let (seq, ack) = world.connected();
    world.peer.segment(Flags::ACK, seq, ack, &[7; 1000]);
    world.engine.turn(&world.clock);
    let sizes = |world: &mut World| world.peer.answers().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&mut world), [1054]);
    world.tell(News::Mtu { interface: 0, mtu: 600 });
    assert_eq!(sizes(&mut world), [614, 494], "what is in flight goes out again");
    world.tell(News::Mtu { interface: 0, mtu: 1500 });
    world.peer.segment(Flags::ACK, seq + 1000, ack + 1000, &[7; 1000]);
    world.engine.turn(&world.clock);
    assert_eq!(sizes(&mut world), [614, 494]);
}

#[test]
fn a_copied_icmp_error_reaches_whom_it_concerns() {
    let mut world = World::new();
    world.neighbor(PEER, Known::Fresh(PEER_MAC));
    world.send_to("10.0.0.1:9");
    let sent = world.peer.answers().remove(0);
    world.copy(&unreachable(3, 0, &sent));
    assert_eq!(world.engine.service().errors, [("10.0.0.1:9".parse().unwrap(), 3, 3)]);
    let (seq, ack) = world.connected();
    world.peer.segment(Flags::ACK, seq, ack, &[7; 1000]);
    world.engine.turn(&world.clock);
    let segment = world.peer.answers().remove(0);
    world.copy(&unreachable(4, 600, &segment));
    assert_eq!(world.peer.answers().iter().map(Vec::len).collect::<Vec<_>>(), [614, 494]);
    assert_eq!((world.engine.core.counters.icmp_errors_received, world.engine.core.counters.copies), (2, 2));
}

#[test]
fn a_copy_that_is_nobodys_is_counted_and_answered_by_none() {
    let mut world = World::new();
    let mut ping = vec![8, 0, 0, 0, 0, 1, 0, 1];
    let sum = checksum(&ping);
    ping[2..4].copy_from_slice(&sum.to_be_bytes());
    world.copy(&packet(OUR_MAC, PEER_MAC, PROTOCOL_ICMP, &ping));
    world.copy(&packet(OUR_MAC, PEER_MAC, 17, &[0; 8]));
    world.copy(&[0; 3]);
    assert_eq!((world.targets(), world.engine.core.drops.of(Drop::IcmpIgnored)), (vec![], 2));
    assert_eq!(world.engine.core.counters.copies, 3);
}

#[test]
fn news_finds_no_end_of_room() {
    let world = World::new();
    let neighbor = || News::Neighbor { interface: 0, ip: PEER.into(), known: Known::Fresh(PEER_MAC) };
    assert!((0..limits::NEWS).all(|_| world.feed.tell(neighbor()).is_ok()));
    assert!(matches!(world.feed.tell(neighbor()), Err(News::Neighbor { .. })));
    let copy = News::Copy { interface: 0, frame: Box::default() };
    assert!(world.feed.tell(copy).is_ok(), "a copy is given up");
    let mut engine = world.engine;
    assert_eq!(engine.report().counters.copies_lost, 1);
    engine.turn(&world.clock);
    assert!(world.feed.tell(neighbor()).is_ok());
}

/// A claimed address: whether the cable was out does not change whose it is, but the others may have forgotten.
#[test]
fn a_link_that_comes_up_again_has_the_claimed_addresses_announced() {
    let mut world = World::with(Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap()]));
    let announced = |world: &mut World| world.peer.arp_questions().iter().filter(|asked| **asked == OURS).count();
    announced(&mut world);
    world.tell(News::Link { interface: 0, up: false });
    assert_eq!(announced(&mut world), 0);
    world.tell(News::Link { interface: 0, up: true });
    assert_eq!(announced(&mut world), 1);
}

/// A station that is known says to all that its Ethernet address is another now.
#[test]
fn a_copied_announcement_moves_a_neighbour_of_a_claimed_address() {
    let mut world = World::with(Claim::Addresses(vec!["10.0.0.2/24".parse().unwrap()]));
    world.send_to("10.0.0.1:9");
    world.peer.answer_arp();
    world.engine.turn(&world.clock);
    assert_eq!(world.targets(), [PEER_MAC]);
    let announce = |ip: std::net::Ipv4Addr| {
        let head = [&[0xff; 6][..], &ROUTER_MAC.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        [&head[..], &ROUTER_MAC.0, &ip.octets(), &[0; 6], &ip.octets()].concat()
    };
    world.copy(&announce(PEER));
    world.copy(&announce([10, 0, 0, 66].into()));
    world.send_to("10.0.0.1:9");
    assert_eq!((world.targets(), world.engine.core.drops.of(Drop::ArpNotOurs)), (vec![ROUTER_MAC], 1));
    assert_eq!(world.engine.core.links[0].neighbors.len(), 1);
}
