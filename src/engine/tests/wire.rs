//! One engine at 10.0.0.2, and a peer at 10.0.0.1 that the test plays frame by frame.

use super::pair::Sleeper;
use super::*;
use crate::demux::{Address, FlowKey, key};
use crate::device::{Drop, memory};
use crate::engine::emit::{self, Delivery, LinkHeader};
use crate::link::groups::Groups;
use crate::link::interface::{PortClaim, Transport};
use crate::link::routes::Routes;
use crate::service::{CallError, EndpointId};
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::wire::checksum::{PseudoHeader, checksum};
use crate::wire::ethernet::{self, ETHERTYPE_IPV4, Ethernet, Mac};
use crate::wire::ipv4::{self, Ipv4, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::tcp::{self, Flags, Header, Options};
use crate::wire::vlan::Vlan;
use crate::wire::{arp, udp};

pub(super) const PEER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 1);
pub(super) const OURS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 2);
pub(super) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(super) const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const DELIVERY: Delivery = Delivery { dscp: 0, ecn: 0, ttl: 64, flow_label: 0 };
const LINK: LinkHeader = LinkHeader { source: PEER_MAC, target: OUR_MAC, vlan: Vlan::NONE };

/// The far end of the cable.
pub(super) struct Peer(MemoryDevice);

impl Peer {
    pub(super) fn new(device: MemoryDevice) -> Self {
        Self(device)
    }

    /// Answers the questions of ARP that have come.
    pub(super) fn answer_arp(&mut self) {
        let mut burst = Vec::new();
        self.0.receive(&mut burst, 64);
        let asked: Vec<_> = burst.iter().filter_map(|frame| arp::parse(frame.bytes().get(14..)?).ok()).collect();
        burst.into_iter().for_each(|frame| self.0.recycle(frame));
        for question in asked.iter().filter(|question| question.target == PEER) {
            let (target, target_mac) = (question.sender, question.sender_mac);
            let answer = arp::Arp { operation: arp::REPLY, sender_mac: PEER_MAC, sender: PEER, target_mac, target };
            let mut bytes = vec![0; 14 + arp::LEN];
            let header = Ethernet { target: OUR_MAC, source: PEER_MAC, vlan: Vlan::NONE, ethertype: ethernet::ETHERTYPE_ARP };
            ethernet::emit(&mut bytes, &header);
            arp::emit(&mut bytes[14..], &answer);
            self.send(&bytes);
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let mut frame = self.0.allocate().unwrap();
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        self.0.transmit(frame).unwrap();
        self.0.flush();
    }

    /// What came back over IPv4.
    pub(super) fn answers(&mut self) -> Vec<Vec<u8>> {
        self.frames().into_iter().filter(|bytes| bytes[12..14] == [8, 0]).collect()
    }

    /// All that came back.
    pub(super) fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut burst = Vec::new();
        self.0.receive(&mut burst, 64);
        let frames = burst.iter().map(|frame| frame.bytes().to_vec()).collect();
        burst.into_iter().for_each(|frame| self.0.recycle(frame));
        frames
    }

    /// The addresses that ARP has asked for, announced ones too.
    pub(super) fn arp_questions(&mut self) -> Vec<std::net::Ipv4Addr> {
        let mut burst = Vec::new();
        self.0.receive(&mut burst, 64);
        let asked = burst.iter().filter_map(|frame| arp::parse(frame.bytes().get(14..)?).ok()).map(|question| question.target);
        let asked = asked.collect();
        burst.into_iter().for_each(|frame| self.0.recycle(frame));
        asked
    }

    pub(super) fn segment(&mut self, flags: Flags, seq: SeqNum, ack: SeqNum, payload: &[u8]) {
        self.segment_from(5000, flags, seq, ack, Options::default(), payload);
    }

    /// A segment from a port of the peer's choice, with options.
    pub(super) fn segment_from(&mut self, port: u16, flags: Flags, seq: SeqNum, ack: SeqNum, options: Options, payload: &[u8]) {
        let header = Header { source_port: port, target_port: 7, seq, ack, flags, window: 1000, urgent: 0, options };
        self.segment_of(&header, payload);
    }

    /// A segment with a header of the test's own.
    pub(super) fn segment_of(&mut self, header: &Header, payload: &[u8]) {
        let key = FlowKey {
            local: Address::from(PEER),
            remote: Address::from(OURS),
            local_port: header.source_port,
            remote_port: header.target_port,
            link: key::Link { interface: 0 },
        };
        let mut frame = self.0.allocate().unwrap();
        assert!(emit::tcp_segment(&mut frame, LINK, &key, header, DELIVERY, [payload, &[]]));
        self.0.transmit(frame).unwrap();
        self.0.flush();
    }

    /// Flags, SEG.SEQ and SEG.ACK of the segments that came back.
    pub(super) fn segments(&mut self) -> Vec<(Flags, SeqNum, SeqNum)> {
        self.segments_whole().into_iter().map(|(_, header, _)| (header.flags, header.seq, header.ack)).collect()
    }

    /// The port each segment that came back goes to, its header and its payload.
    pub(super) fn segments_whole(&mut self) -> Vec<(u16, Header, Vec<u8>)> {
        let pseudo = PseudoHeader { source: OURS.into(), target: PEER.into(), protocol: PROTOCOL_TCP };
        let parsed = |frame: Vec<u8>| {
            let ip = ipv4::parse(&frame[14..]).unwrap();
            let (ports, segment) = tcp::parse(ip.payload(&frame[14..]), &pseudo).unwrap();
            let header = Header {
                source_port: ports.source,
                target_port: ports.target,
                seq: segment.seq,
                ack: segment.ack,
                flags: segment.flags,
                window: segment.window,
                urgent: segment.urgent,
                options: segment.options,
            };
            (ports.target, header, segment.payload.to_vec())
        };
        self.answers().into_iter().map(parsed).collect()
    }
}

pub(super) fn packet(target: Mac, source: Mac, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 34];
    ethernet::emit(&mut bytes, &Ethernet { target, source, vlan: Vlan::NONE, ethertype: ETHERTYPE_IPV4 });
    ipv4::emit(&mut bytes[14..], &Ipv4::outgoing(PEER, OURS, protocol, payload.len()));
    bytes.extend(payload);
    bytes
}

fn datagram(target_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0; 8], payload].concat();
    let pseudo = PseudoHeader { source: PEER.into(), target: OURS.into(), protocol: PROTOCOL_UDP };
    udp::emit(&mut bytes, 5000, target_port, &pseudo);
    bytes
}

fn ping() -> Vec<u8> {
    let mut bytes = vec![8, 0, 0, 0, 0, 1, 0, 1];
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

pub(super) fn serve<S: Service>(service: S) -> (Engine<MemoryDevice, S>, Peer, ManualClock) {
    serve_with(service, |_| {})
}

/// The same with settings of the test's own.
pub(super) fn serve_with<S: Service>(
    service: S,
    set: impl FnOnce(&mut crate::tcp::Config),
) -> (Engine<MemoryDevice, S>, Peer, ManualClock) {
    let (near, far) = memory::cable(64);
    let clock = ManualClock::default();
    // The far end of a cable has the second address.
    let mut engine = engine_with(far, 2, service, set);
    engine.start(&clock);
    engine.turn(&clock);
    (engine, Peer(near), clock)
}

#[test]
fn nobody_hears_of_a_closed_port_before_the_service_has_begun() {
    let (near, far) = memory::cable(64);
    let (clock, mut peer) = (ManualClock::default(), Peer(near));
    let mut engine = engine_with(far, 2, Sleeper::default(), |_| {});
    engine.core.begin_addresses();
    for (begun, answers) in [(false, 0), (true, 2)] {
        if begun {
            engine.start(&clock);
        }
        engine.turn(&clock);
        peer.answers();
        let (seq, ack, options) = (SeqNum(1), SeqNum(0), Options::default());
        peer.segment_of(
            &Header { source_port: 5000, target_port: 99, seq, ack, flags: Flags::SYN, window: 9, urgent: 0, options },
            &[],
        );
        peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &datagram(99, b"hello")));
        engine.turn(&clock);
        assert_eq!(peer.answers().len(), answers, "begun: {begun}");
    }
    let drops = [Drop::TcpPortClosed, Drop::UdpPortClosed].map(|cause| engine.core.drops.of(cause));
    assert_eq!(drops, [2, 2]);
}

/// A connection at which both ends have closed, this one first, while the service has still to read the three bytes that came.
fn time_wait_with_unread_bytes() -> (Engine<MemoryDevice, Sleeper>, Peer, ManualClock) {
    let (mut engine, mut peer, clock) = serve(Sleeper::default());
    let irs = SeqNum(u32::MAX - 1);
    peer.segment(Flags::SYN, irs, SeqNum(0), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    peer.segment(Flags::ACK, irs + 1, iss + 1, b"abc");
    engine.turn(&clock);
    engine.mailbox().send("close").unwrap();
    engine.turn(&clock);
    peer.segment(Flags::FIN | Flags::ACK, irs + 4, iss + 2, &[]);
    engine.turn(&clock);
    assert_eq!(engine.core.count_states(), (0, 1));
    peer.segments();
    (engine, peer, clock)
}

#[test]
fn a_syn_in_time_wait_does_not_take_unread_bytes_from_the_service() {
    let (mut engine, mut peer, clock) = time_wait_with_unread_bytes();
    let syn = SeqNum(100_000);
    peer.segment(Flags::SYN, syn, SeqNum(0), &[]);
    engine.turn(&clock);
    assert_eq!(peer.segments(), []);
    assert_eq!(engine.core.drops.of(Drop::TcpSynInTimeWait), 1);
    engine.mailbox().send("resume").unwrap();
    engine.turn(&clock);
    assert_eq!(engine.service().got, b"abc");
    assert_eq!(engine.service().events, ["peer_closed", "closed"]);
    // It is sent again, and now nothing stands in its way.
    peer.segment(Flags::SYN, syn, SeqNum(0), &[]);
    engine.turn(&clock);
    assert_eq!(peer.segments()[0].0, Flags::SYN | Flags::ACK);
    assert_eq!(engine.core.counters.tcp_reopened, 1);
}

#[test]
fn while_stream_buffers_run_short_syns_are_answered_with_cookies() {
    let (mut engine, mut peer, clock) = serve(Sleeper::default());
    engine.core.pool = crate::tcp::BufferPool::new(2_000);
    let irs = SeqNum(7);
    peer.segment(Flags::SYN, irs, SeqNum(0), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    peer.segment(Flags::ACK, irs + 1, iss + 1, b"abc");
    engine.turn(&clock);
    let syn = |peer: &mut Peer, port| peer.segment_from(port, Flags::SYN, irs, SeqNum(0), Options::default(), &[]);
    // The service leaves the three bytes in a block of more than half of the memory.
    syn(&mut peer, 6000);
    engine.turn(&clock);
    assert_eq!((engine.core.tally.of(Happening::SynCookieSent), engine.core.flows.len()), (1, 1));
    engine.mailbox().send("resume").unwrap();
    engine.turn(&clock);
    syn(&mut peer, 6001);
    engine.turn(&clock);
    assert_eq!((engine.core.tally.of(Happening::SynCookieSent), engine.core.flows.len()), (1, 2));
}

#[test]
fn a_syn_that_no_listener_would_take_does_not_end_time_wait() {
    let (mut engine, mut peer, clock) = time_wait_with_unread_bytes();
    engine.mailbox().send("resume").unwrap();
    engine.turn(&clock);
    engine.core.stopping = true;
    peer.segment(Flags::SYN, SeqNum(100_000), SeqNum(0), &[]);
    engine.turn(&clock);
    assert_eq!((peer.segments(), engine.core.count_states()), (vec![], (0, 1)));
}

//= type=test
//= rfc9293#3.9.2.3
//# A TCP implementation MUST silently discard an incoming SYN segment that is addressed to a broadcast or multicast address
//# [(MUST-57)].
/// Whoever answers such a frame sends to all stations, or in the name of all.
/// One byte at the edge of the window ties up half of the memory: it is given up, and the connection goes on.
#[test]
fn a_byte_beyond_a_hole_is_given_up_when_memory_runs_short() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    engine.core.pool = crate::tcp::BufferPool::new(2 * 65_536);
    let irs = SeqNum(u32::MAX - 1);
    peer.segment(Flags::SYN, irs, SeqNum(0), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    peer.segment(Flags::ACK, irs + 1, iss + 1, &[]);
    peer.segment(Flags::ACK, irs + 60_000, iss + 1, b"x");
    engine.turn(&clock);
    assert_eq!(engine.core.tally.of(Happening::ReassemblyPruned), 1);
    assert_eq!(engine.core.pool.in_use(), 0);
    peer.segments();
    peer.segment(Flags::ACK, irs + 1, iss + 1, b"abc");
    engine.turn(&clock);
    assert_eq!(peer.segments(), [(Flags::ACK | Flags::PSH, iss + 1, irs + 4)]);
}

/// Not only once the connection is over: whoever watches a server sees losses when they happen.
#[test]
fn what_is_sent_again_is_counted_while_the_connection_lives() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let irs = SeqNum(u32::MAX - 1);
    peer.segment(Flags::SYN, irs, SeqNum(0), &[]);
    engine.turn(&clock);
    let iss = peer.segments()[0].1;
    peer.segment(Flags::ACK, irs + 1, iss + 1, b"abc");
    engine.turn(&clock);
    assert_eq!((peer.segments().len(), engine.core.counters.tcp_retransmitted), (1, 0));
    let mut again = 0;
    for _ in 0..50 {
        clock.advance(Duration::from_millis(100));
        engine.turn(&clock);
        again += peer.segments().iter().filter(|(_, seq, _)| *seq == iss + 1).count();
    }
    assert!(again > 1, "{again}");
    assert_eq!((engine.core.counters.tcp_retransmitted, engine.core.flows.len()), (again as u64, 1));
    peer.segment(Flags::RST, irs + 4, SeqNum(0), &[]);
    engine.turn(&clock);
    assert_eq!((engine.core.counters.tcp_retransmitted, engine.core.flows.len()), (again as u64, 0), "once each");
}

/// Answers every request with more than anybody's buffer holds.
#[derive(Default)]
struct Giver {
    asked: usize,
}

impl Service for Giver {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        self.asked += 1;
        cx.send(connection, &[7; 1 << 20]);
        bytes.len()
    }
}

/// A thousand peers ask for much and acknowledge nothing; the next one's request is heard and answered nevertheless.
#[test]
fn peers_that_take_nothing_do_not_keep_the_others_from_being_served() {
    let (mut engine, mut peer, clock) = serve(Giver::default());
    engine.core.pool = crate::tcp::BufferPool::new(64 << 20);
    let irs = SeqNum(u32::MAX - 1);
    for port in 5000..6001 {
        peer.segment_from(port, Flags::SYN, irs, SeqNum(0), Options::default(), &[]);
        engine.turn(&clock);
        let iss = peer.segments()[0].1;
        peer.segment_from(port, Flags::ACK, irs + 1, iss + 1, Options::default(), b"give");
        engine.turn(&clock);
        let answer = peer.segments_whole();
        assert!(answer.iter().any(|(to, _, payload)| *to == port && !payload.is_empty()), "port {port}");
    }
    assert_eq!((engine.service().asked, engine.core.drops.of(Drop::TcpNoBuffer)), (1001, 0));
}

#[test]
fn a_group_address_is_neither_answered_nor_answered_from() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_ICMP, &ping()));
    engine.turn(&clock);
    assert_eq!(peer.answers().len(), 1);
    peer.send(&packet(Mac::BROADCAST, PEER_MAC, PROTOCOL_ICMP, &ping()));
    peer.send(&packet(OUR_MAC, Mac::BROADCAST, PROTOCOL_ICMP, &ping()));
    peer.send(&packet(OUR_MAC, Mac::BROADCAST, PROTOCOL_UDP, &datagram(7, b"x")));
    engine.turn(&clock);
    assert_eq!(peer.answers(), Vec::<Vec<u8>>::new());
    assert_eq!((engine.core.drops.of(Drop::IcmpIgnored), engine.core.drops.of(Drop::EthernetSourceGroup)), (1, 2));
    assert_no_frame_missing(&engine);
}

#[test]
fn what_is_neither_ip_nor_arp_has_its_own_reason() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let mut frame = packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &datagram(7, b"x"));
    frame[12..14].copy_from_slice(&[0x88, 0xcc]);
    peer.send(&frame);
    engine.turn(&clock);
    assert_eq!(peer.answers(), Vec::<Vec<u8>>::new());
    assert_eq!(engine.core.drops.of(Drop::EtherTypeUnknown), 1);
    assert_no_frame_missing(&engine);
}

/// RFC 768 has a length of its own, and bytes of the packet may lie behind it; the answer has none, and says so.
#[test]
fn what_lies_behind_a_datagram_is_not_announced_in_the_answer() {
    let (mut engine, mut peer, clock) = serve(Echo::default());
    let mut trailed = datagram(7, b"echo");
    trailed.extend(b"behind");
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &trailed));
    engine.turn(&clock);
    let answers = peer.answers();
    let ip = ipv4::parse(&answers[0][14..]).expect("the lengths agree");
    let pseudo = PseudoHeader { source: OURS.into(), target: PEER.into(), protocol: PROTOCOL_UDP };
    let header = udp::parse(ip.payload(&answers[0][14..]), &pseudo).unwrap();
    assert_eq!((ip.total_len, header.payload(ip.payload(&answers[0][14..]))), (32, &b"echo"[..]));
    assert_eq!(engine.core.counters.udp_copies, 0);
}

/// Answers with a datagram of its own while the one that asked is still in its hands.
#[derive(Default)]
struct Sender {
    sent: Vec<Result<(), CallError>>,
}

impl Service for Sender {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(9.into()).unwrap();
    }

    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.sent.push(cx.send_to(EndpointId(0), datagram.meta().remote, b"mine"));
        Answer::Reply { len: datagram.payload().len() }
    }
}

#[test]
fn in_a_port_claim_a_sender_can_be_answered_from_its_first_datagram_on() {
    let (near, far) = memory::cable(64);
    let clock = ManualClock::default();
    let claim = Claim::Ports {
        addresses: vec!["10.0.0.2/24".parse().unwrap()],
        ports: vec![PortClaim { transport: Transport::Udp, port: 9 }, PortClaim { transport: Transport::Tcp, port: 40_000 }],
    };
    let interface = Interface {
        name: "cable".into(),
        mac: far.mac(),
        mtu: 1500,
        vlan: Vlan::NONE,
        claim,
        routes: Routes::default(),
        withheld: Vec::new(),
        groups: Groups::new(),
    };
    let config = Config::new(Secrets::fixed());
    let mut engine = Engine::new(config, vec![interface], vec![Port::new(far, 0, 0)], Sender::default()).unwrap();
    let mut peer = Peer(near);
    engine.start(&clock);
    peer.send(&packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &datagram(9, b"ask")));
    engine.turn(&clock);
    assert_eq!(engine.service().sent, [Ok(())]);
    assert_eq!(peer.answers().len(), 2);

    // Answers to a port that is not claimed would go to the kernel, which would reset them.
    let target = "10.0.0.1:80".parse().unwrap();
    let from = |source_port| Connect { source_port: Some(source_port), ..Connect::default() };
    assert_eq!(engine.core.connect(target, from(40_001)), Err(CallError::NotClaimed));
    assert!(engine.core.connect(target, from(40_000)).is_ok());
    assert_eq!(engine.core.connect(target, Connect::default()), Err(CallError::NoPort), "the only one is in use");
}
