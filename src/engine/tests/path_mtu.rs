//! A path narrower than the link, as routers tell of it: who learns of it, who is believed, and for how long.

use super::notices::{about, about_packet_to, unreachable};
use super::wire::{Peer, serve, serve_with};
use super::*;
use crate::limits;
use crate::service::{CallError, EndpointId, IcmpError, Local, Sending};
use crate::tcp::seq::SeqNum;
use crate::wire::ipv4::{self, PROTOCOL_UDP};
use crate::wire::tcp::{Flags, Header, Options};

const IRS: SeqNum = SeqNum(77);
const TOO_BIG: u8 = 4;

/// Sends on each connection of port 7 what it is told to, and datagrams from port 7 to port 5000; remembers what it hears.
#[derive(Default)]
struct Sender {
    connections: Vec<Connection>,
    fragments: bool,
    sent: Vec<Result<(), CallError>>,
    limits: Vec<Option<usize>>,
    errors: Vec<IcmpError>,
}

enum Order {
    Stream(usize),
    Datagram(usize),
    Probe(usize),
    Limit,
}

impl Service for Sender {
    type Message = Order;

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen::default()).unwrap();
        let endpoint = cx.open_udp(7.into()).unwrap();
        cx.allow_fragments(endpoint, self.fragments);
    }

    fn connected(&mut self, _: &mut impl Context, connection: Connection) {
        self.connections.push(connection);
    }

    fn message(&mut self, cx: &mut impl Context, order: Order) {
        let to = "10.0.0.1:5000".parse().unwrap();
        match order {
            Order::Stream(nth) => {
                cx.send(self.connections[nth], &[1; 5000]);
            }
            Order::Datagram(len) => self.sent.push(cx.send_to(EndpointId(0), to, &vec![2; len])),
            Order::Probe(len) => {
                let how = Sending { probe: true, ..Sending::default() };
                self.sent.push(cx.send_with(EndpointId(0), to, &vec![2; len], how));
            }
            Order::Limit => self.limits.push(cx.datagram_limit(EndpointId(0), to)),
        }
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        Answer::Reply { len: datagram.payload().len() }
    }

    fn icmp_error(&mut self, _: &mut impl Context, error: IcmpError) {
        self.errors.push(error);
    }
}

type Served = (Engine<MemoryDevice, Sender>, Peer, ManualClock);

fn order((engine, _, clock): &mut Served, order: Order) {
    assert!(engine.mailbox().send(order).is_ok());
    engine.turn(clock);
}

/// Opens a connection from a port of the peer's, and gives our ISS and the MSS that was offered.
fn open((engine, peer, clock): &mut Served, port: u16) -> (SeqNum, Option<u16>) {
    let (seq, options) = (IRS, Options { mss: Some(1460), ..Options::default() });
    let syn =
        Header { source_port: port, target_port: 7, seq, ack: SeqNum(0), flags: Flags::SYN, window: 9000, urgent: 0, options };
    peer.segment_of(&syn, &[]);
    engine.turn(clock);
    let (_, syn_ack, _) = peer.segments_whole().remove(0);
    let (seq, ack, options) = (IRS + 1, syn_ack.seq + 1, Options::default());
    peer.segment_of(&Header { seq, ack, flags: Flags::ACK, options, ..syn }, &[]);
    engine.turn(clock);
    (syn_ack.seq, syn_ack.options.mss)
}

fn payloads(peer: &mut Peer) -> Vec<usize> {
    peer.segments_whole().iter().map(|(_, _, payload)| payload.len()).collect()
}

/// The sizes of the IP packets that came, and whether routers may cut them.
fn packets(peer: &mut Peer) -> Vec<(usize, bool)> {
    let read = |frame: Vec<u8>| {
        let ip = ipv4::parse(&frame[14..]).unwrap();
        (ip.total_len, ip.dont_fragment)
    };
    peer.answers().into_iter().map(read).collect()
}

/// About a datagram of ours with a payload of `len` bytes.
fn too_big(mtu: u16, len: usize) -> Vec<u8> {
    about(PROTOCOL_UDP, TOO_BIG, mtu, 8 + len, &FROM_7_TO_5000)
}

const FROM_7_TO_5000: [u8; 8] = [0, 7, 0x13, 0x88, 0, 8, 0, 0];

fn asked_for(engine: &mut Engine<MemoryDevice, Sender>, peer: &mut Peer, clock: &ManualClock) {
    peer.answer_arp();
    engine.turn(clock);
}

//= type=test
//= rfc8201#5.4
//# Any packetization layer instance (for example, a TCP
//# connection) that is actively using the path must be notified if the
//# PMTU estimate is decreased.
#[test]
fn what_one_connection_learns_all_of_the_path_are_told_and_new_ones_know() {
    let mut served = serve_with(Sender::default(), |tcp| tcp.timestamps = false);
    let (first, _) = open(&mut served, 5000);
    let (second, _) = open(&mut served, 5001);
    order(&mut served, Order::Stream(0));
    assert_eq!(payloads(&mut served.1), [1460, 1460, 1460, 620]);
    served.1.send(&unreachable(TOO_BIG, 700, first + 1));
    served.0.turn(&served.2);
    assert_eq!(payloads(&mut served.1)[..2], [660, 660]);
    assert_eq!(served.0.core.counters.path_mtus_learned, 1);
    order(&mut served, Order::Stream(1));
    assert_eq!(payloads(&mut served.1)[..2], [660, 660], "the other connection");
    let (third, mss) = open(&mut served, 5002);
    assert_eq!(mss, Some(1460), "what comes in is not limited by it");
    order(&mut served, Order::Stream(2));
    assert_eq!(payloads(&mut served.1)[..2], [660, 660], "a new one");
    assert!(second != third);
    // Ten minutes later nobody remembers.
    served.2.advance(Duration::from_secs(601));
    served.0.turn(&served.2);
    served.1.answers();
    open(&mut served, 5003);
    order(&mut served, Order::Stream(3));
    assert_eq!(payloads(&mut served.1)[..2], [1460, 1460]);
}

#[test]
fn an_endpoint_is_told_what_the_path_carries() {
    let mut served = serve(Sender::default());
    for len in [1472, 1473] {
        order(&mut served, Order::Datagram(len));
    }
    order(&mut served, Order::Limit);
    let (engine, peer, clock) = &mut served;
    asked_for(engine, peer, clock);
    assert_eq!(packets(peer), [(1500, true)]);
    peer.send(&too_big(1300, 1472));
    engine.turn(clock);
    let told = IcmpError {
        endpoint: EndpointId(0),
        remote: "10.0.0.1:5000".parse().unwrap(),
        icmp_type: 3,
        code: TOO_BIG,
        mtu: Some(1300),
    };
    assert_eq!(engine.service().errors, [told]);
    for len in [1272, 1273] {
        order(&mut served, Order::Datagram(len));
    }
    order(&mut served, Order::Limit);
    assert_eq!(packets(&mut served.1), [(1300, true)]);
    served.2.advance(Duration::from_secs(600));
    order(&mut served, Order::Datagram(1473));
    order(&mut served, Order::Limit);
    let Sender { sent, limits, .. } = served.0.service();
    let large = Err(CallError::TooLarge);
    assert_eq!(sent[..], [Ok(()), large, Ok(()), large, large]);
    assert_eq!(limits[..], [Some(1472), Some(1272), Some(1472)]);
}

#[test]
fn what_anybody_can_make_up_is_believed_so_often_and_told_to_no_connection() {
    let mut served = serve_with(Sender::default(), |tcp| tcp.timestamps = false);
    open(&mut served, 5000);
    let (engine, peer, clock) = &mut served;
    peer.answers();
    for last in 0..=limits::UNSURE_PATH_MTUS {
        // Each about another target, the peer of the connections first.
        let target = [10, 0, 0, last as u8 + 1].into();
        peer.send(&about_packet_to(target, PROTOCOL_UDP, TOO_BIG, 1300, 8 + 1472, &FROM_7_TO_5000));
        engine.turn(clock);
    }
    let believed = engine.service().errors.iter().filter(|error| error.mtu == Some(1300)).count();
    assert_eq!((believed, engine.service().errors.len()), (limits::UNSURE_PATH_MTUS as usize, believed + 1));
    // What is known costs nothing, and is told.
    peer.send(&too_big(1300, 1472));
    engine.turn(clock);
    assert_eq!(engine.service().errors.last().and_then(|error| error.mtu), Some(1300));
    order(&mut served, Order::Stream(0));
    assert_eq!(payloads(&mut served.1)[..2], [1460, 1460], "a connection that was there");
    open(&mut served, 5001);
    order(&mut served, Order::Stream(1));
    assert_eq!(payloads(&mut served.1)[..2], [1460, 1460], "a new one");
}

//= type=test
//= rfc5927#7.2
//# If claimedmtu is larger than maxsizesent, then the
//# ICMP error message is silently discarded.
#[test]
fn an_error_about_a_datagram_that_cannot_be_ours_changes_nothing() {
    let mut served = serve(Sender::default());
    let (engine, peer, clock) = &mut served;
    for (mtu, len) in [(1300, 1272), (1300, 1000), (9000, 9100), (1300, 1473), (67, 1472)] {
        peer.send(&too_big(mtu, len));
        engine.turn(clock);
    }
    assert!(engine.service().errors.iter().all(|error| error.mtu.is_none()), "{:?}", engine.service().errors);
    // Nobody has that port.
    peer.send(&about(PROTOCOL_UDP, TOO_BIG, 1300, 1480, &[0, 8, 19, 136, 0, 8, 0, 0]));
    engine.turn(clock);
    assert_eq!(engine.core.counters.path_mtus_learned, 0);
    order(&mut served, Order::Limit);
    assert_eq!(served.0.service().limits, [Some(1472)]);
}

//= type=test
//= rfc8899#4.5
//# A PL implementing this specification MUST suspend network
//# layer processing of outgoing packets that enforces a PMTU
#[test]
fn a_probe_goes_whole_or_not_at_all() {
    let mut served = serve(Sender { fragments: true, ..Sender::default() });
    order(&mut served, Order::Datagram(1472));
    let (engine, peer, clock) = &mut served;
    asked_for(engine, peer, clock);
    packets(peer);
    peer.send(&too_big(1300, 1472));
    engine.turn(clock);
    for len in [1400, 1472, 1473] {
        order(&mut served, Order::Probe(len));
    }
    assert_eq!(packets(&mut served.1), [(1428, true), (1500, true)]);
    assert_eq!(served.0.service().sent[1..], [Ok(()), Ok(()), Err(CallError::TooLarge)]);
}

#[test]
fn where_fragments_are_allowed_they_fit_the_path() {
    for fragments in [true, false] {
        let mut served = serve(Sender { fragments, ..Sender::default() });
        order(&mut served, Order::Datagram(1472));
        let (engine, peer, clock) = &mut served;
        asked_for(engine, peer, clock);
        assert_eq!(packets(peer), [(1500, true)]);
        peer.send(&too_big(1300, 1472));
        engine.turn(clock);
        order(&mut served, Order::Datagram(1472));
        let (engine, peer, clock) = &mut served;
        let parts: &[_] = if fragments { &[(1300, false), (220, false)] } else { &[] };
        assert_eq!(packets(peer), parts);
        // What came whole, and cannot go back whole.
        peer.send(&datagram(1400));
        engine.turn(clock);
        let parts: &[_] = if fragments { &[(1300, false), (148, false)] } else { &[] };
        assert_eq!(packets(peer), parts);
        peer.send(&datagram(1272));
        engine.turn(clock);
        assert_eq!(packets(peer), [(1300, true)]);
        assert_no_frame_missing(engine);
    }
}

/// A datagram of the peer's to port 7.
fn datagram(len: usize) -> Vec<u8> {
    use super::wire::{OUR_MAC, OURS, PEER, PEER_MAC, packet};
    use crate::wire::checksum::PseudoHeader;
    let mut bytes = vec![3; 8 + len];
    let pseudo = PseudoHeader { source: PEER.into(), target: OURS.into(), protocol: PROTOCOL_UDP };
    crate::wire::udp::emit(&mut bytes, 5000, 7, &pseudo);
    packet(OUR_MAC, PEER_MAC, PROTOCOL_UDP, &bytes)
}

/// Connects to port 5000 at once, and sends when it may.
struct Opener;

impl Service for Opener {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        let to = "10.0.0.1:5000".parse().unwrap();
        cx.connect_udp(Local::from(7), to).unwrap();
        cx.send_to(EndpointId(0), to, &[1; 1472]).unwrap();
    }

    fn message(&mut self, cx: &mut impl Context, (): ()) {
        cx.connect("10.0.0.1:5000".parse().unwrap(), Connect { source_port: Some(6000), ..Connect::default() }).unwrap();
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        cx.send(connection, &[1; 3000]);
    }
}

/// The path was found narrow by a datagram of a connected endpoint; the connection knows it although its SYN offers what the link takes.
#[test]
fn a_connection_that_we_open_knows_the_path_too() {
    let (mut engine, mut peer, clock) = serve_with(Opener, |tcp| tcp.timestamps = false);
    peer.answer_arp();
    engine.turn(&clock);
    peer.answers();
    peer.send(&too_big(1000, 1472));
    engine.turn(&clock);
    engine.mailbox().send(()).unwrap();
    engine.turn(&clock);
    let (_, syn, _) = peer.segments_whole().remove(0);
    assert_eq!(syn.options.mss, Some(1460));
    let (seq, ack, flags) = (IRS, syn.seq + 1, Flags::SYN | Flags::ACK);
    let options = Options { mss: Some(1460), ..Options::default() };
    peer.segment_of(&Header { source_port: 5000, target_port: 6000, seq, ack, flags, window: 9000, urgent: 0, options }, &[]);
    engine.turn(&clock);
    assert_eq!(payloads(&mut peer), [960, 960, 960, 120]);
}
