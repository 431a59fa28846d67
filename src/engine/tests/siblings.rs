//! Several engines behind one NIC, and packets that arrive at the wrong one.

use std::time::Duration;

use super::super::settle::Verdict;
use super::super::siblings::{Provenance, Whose};
use super::*;
use crate::demux::{FlowKey, Link, SlotId};
use crate::device::{Drop, memory};
use crate::service::{EndpointId, IcmpError};
use crate::tcp::State;
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// The client, and the cores of the server.
struct Net<C: Service, S: Service> {
    clock: ManualClock,
    client: Engine<MemoryDevice, C>,
    cores: Vec<Engine<MemoryDevice, S>>,
}

/// What a frame is, for those who spread frames.
#[derive(PartialEq, Eq)]
enum Sort {
    Syn,
    Segment,
    Datagram,
    Other,
}

fn sort(frame: &[u8]) -> Sort {
    let (protocol, transport_at) = match u16::from_be_bytes([frame[12], frame[13]]) {
        ETHERTYPE_IPV4 => (frame[23], 34),
        ETHERTYPE_IPV6 => (frame[20], 54),
        _ => return Sort::Other,
    };
    match protocol {
        6 if frame[transport_at + 13] & 0x12 == 0x02 => Sort::Syn,
        6 => Sort::Segment,
        17 => Sort::Datagram,
        _ => Sort::Other,
    }
}

/// SYNs to the first queue, all other segments to the second.
fn after_the_syn_elsewhere(frame: &[u8]) -> usize {
    usize::from(sort(frame) == Sort::Segment)
}

/// Everything to the first queue.
fn to_the_first(_: &[u8]) -> usize {
    0
}

/// Everything but what is no IP to the second queue.
fn packets_to_the_second(frame: &[u8]) -> usize {
    usize::from(sort(frame) != Sort::Other)
}

impl<C: Service, S: Service> Net<C, S> {
    /// One client at 10.0.0.1, and a server at 10.0.0.2 with a core for each of the services.
    fn new(spread: memory::Spread, client: C, services: Vec<S>) -> Self {
        Self::with(spread, client, services, |_| {})
    }

    fn with(spread: memory::Spread, client: C, services: Vec<S>, set: impl Fn(&mut crate::tcp::Config)) -> Self {
        Self::at(spread, 1, client, services, set)
    }

    /// The client at 10.0.0.`last`, and cores that probe for their addresses before they serve them.
    fn probing(spread: memory::Spread, last: u8, client: C, services: Vec<S>) -> Self {
        let mut net = Self::at(spread, last, client, services, |_| {});
        net.cores.iter_mut().for_each(|core| core.core.config.address_probes = 2);
        net
    }

    fn at(spread: memory::Spread, last: u8, client: C, services: Vec<S>, set: impl Fn(&mut crate::tcp::Config)) -> Self {
        let (mut one, many) = memory::cables([1, services.len()], 4096, spread);
        let client = engine(one.remove(0), last, client);
        let mut cores: Vec<_> =
            many.into_iter().zip(services).map(|(device, service)| engine_with(device, 2, service, &set)).collect();
        Engine::join(&mut cores).unwrap();
        Self { clock: ManualClock::default(), client, cores }
    }

    fn start(&mut self) {
        for core in &mut self.cores {
            // The first has told the others which addresses are ours.
            core.turn(&self.clock);
            core.start(&self.clock);
        }
        self.client.start(&self.clock);
    }

    fn play(&mut self, span: Duration) {
        let end = self.clock.now() + span;
        while self.clock.now() < end {
            self.client.turn(&self.clock);
            self.cores.iter_mut().for_each(|core| {
                core.turn(&self.clock);
            });
            self.clock.advance(Duration::from_micros(10));
        }
    }

    fn dropped(&self, core: usize, why: Drop) -> u64 {
        self.cores[core].core.drops.nonzero().find(|(cause, _)| *cause == why).map_or(0, |(_, count)| count)
    }

    /// Frames in == frames out, of all queues of the server together and of each.
    fn assert_no_frame_missing(&mut self) {
        self.play(Duration::from_millis(1));
        for core in &mut self.cores {
            core.core.ports[0].device.flush();
            assert_no_frame_missing(core);
        }
        assert_no_frame_missing(&self.client);
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_stream_survives_with_every_segment_at_the_wrong_core() {
    let mut net =
        Net::new(after_the_syn_elsewhere, Talker::new("10.0.0.2:7", bytes(3_000_000)), vec![Echo::default(), Echo::default()]);
    net.start();
    net.play(Duration::from_secs(2));
    let talker = net.client.service();
    assert_eq!(talker.events, ["connected", "peer_closed", "closed"]);
    assert!(talker.got == talker.to_send, "{} bytes came back", talker.got.len());
    assert_eq!((net.cores[0].service().ended, net.cores[1].service().ended), (1, 0), "the connection stayed where its SYN came");
    let (owner, other) = (net.cores[0].core.counters, net.cores[1].core.counters);
    assert!(other.handed_over > 2000 && owner.handed_in == other.handed_over, "{owner:?} {other:?}");
    assert_eq!((owner.tcp_accepted, other.tcp_accepted), (1, 0));
    // Nothing was overtaken on the way, so nothing was sent again.
    assert_eq!((owner.tcp_retransmitted, net.client.core.counters.tcp_retransmitted), (0, 0));
    net.assert_no_frame_missing();
}

/// Opens so many connections, exchanges a few bytes on each and closes it.
struct Many {
    left: usize,
    open: usize,
    done: usize,
    failed: usize,
}

impl Many {
    fn more(&mut self, cx: &mut impl Context) {
        // Few wait until the neighbour is known.
        let most = if self.done > 0 { 200 } else { 3 };
        while self.left > 0 && self.open < most {
            self.left -= 1;
            self.open += 1;
            cx.connect("10.0.0.2:7".parse().unwrap(), Connect::default()).unwrap();
        }
    }
}

impl Service for Many {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        self.more(cx);
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        assert_eq!(cx.send(connection, b"ping"), 4);
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        assert_eq!(bytes, b"ping");
        cx.close(connection);
        bytes.len()
    }

    fn closed(&mut self, cx: &mut impl Context, _: Connection) {
        self.open -= 1;
        self.done += 1;
        self.more(cx);
    }

    fn reset(&mut self, cx: &mut impl Context, _: Connection, _: ResetReason) {
        self.open -= 1;
        self.failed += 1;
        self.more(cx);
    }
}

#[test]
fn a_thousand_connections_survive_with_every_segment_at_the_wrong_core() {
    let many = Many { left: 1000, open: 0, done: 0, failed: 0 };
    let mut net = Net::new(after_the_syn_elsewhere, many, vec![Echo::default(), Echo::default()]);
    net.start();
    net.play(Duration::from_secs(1));
    let many = net.client.service();
    assert_eq!((many.done, many.failed), (1000, 0));
    assert_eq!(net.cores[0].core.counters.tcp_accepted, 1000);
    assert!(net.cores[1].core.counters.handed_over >= 3000);
    assert_eq!(net.cores.iter().map(|core| core.core.counters.tcp_resets_sent).sum::<u64>(), 0);
    assert!(net.cores.iter().all(|core| core.core.directory.is_empty()));
    net.assert_no_frame_missing();
}

#[test]
fn copies_of_one_syn_at_two_cores_make_one_connection() {
    let mut net =
        Net::new(to_the_first, Talker::new("10.0.0.2:7", vec![1]), vec![Echo::default(), Echo::default(), Echo::default()]);
    net.cores.iter_mut().for_each(|core| core.start(&net.clock));
    net.play(Duration::from_millis(1));
    net.client.start(&net.clock);
    // Whatever lies at the first queue, the SYN among it, is there at the others as well.
    let mut burst = Vec::new();
    let mut syn = None;
    for _ in 0..50 {
        net.client.turn(&net.clock);
        net.cores[0].core.ports[0].device.receive(&mut burst, 64);
        for frame in burst.drain(..) {
            if sort(frame.bytes()) == Sort::Syn {
                syn = Some(frame.bytes().to_vec());
            }
            let at = net.cores[0].core.first_lane(0);
            let verdict = match sort(frame.bytes()) {
                Sort::Syn => Verdict::Done(frame),
                _ => net.cores[0].receive(at, frame),
            };
            net.cores[0].core.settle(at, verdict);
        }
        net.cores[0].core.ports[0].device.flush();
    }
    let syn = syn.expect("the client sent one");
    for at in [1, 2, 0, 1] {
        let core = &mut net.cores[at];
        let mut frame = core.core.ports[0].device.allocate().unwrap();
        frame.set_len(syn.len());
        frame.bytes_mut().copy_from_slice(&syn);
        let lane = core.core.first_lane(0);
        let verdict = core.receive(lane, frame);
        core.core.settle(lane, verdict);
    }
    net.play(Duration::from_millis(5));
    let accepted: Vec<u64> = net.cores.iter().map(|core| core.core.counters.tcp_accepted).collect();
    assert_eq!(accepted, [0, 1, 0], "where the first copy came");
    // The later copies went to the core of the first.
    assert_eq!((net.cores[2].core.counters.handed_over, net.cores[1].core.counters.handed_in > 1), (1, true));
    assert_eq!(net.client.service().events, ["connected", "peer_closed", "closed"]);
    net.assert_no_frame_missing();
}

/// A key that nobody has.
fn key_of_nobody() -> FlowKey {
    FlowKey {
        local: "10.0.0.2".parse::<std::net::IpAddr>().unwrap().into(),
        remote: "10.0.0.1".parse::<std::net::IpAddr>().unwrap().into(),
        local_port: 7,
        remote_port: 40_000,
        link: Link { interface: 0 },
    }
}

#[test]
fn a_connection_made_by_two_cores_at_once_is_left_at_one() {
    // Every order in which two cores look, insert and look again: what each finds the second time.
    for (first_sees, second_sees) in [(true, true), (true, false), (false, true)] {
        let mut net = Net::new(to_the_first, Silent, vec![Echo::default(), Echo::default()]);
        net.start();
        let key = key_of_nobody();
        let hash = net.cores[0].core.hash.of(&key);
        let id = |slot| SlotId { slot, generation: 1 };
        let now = net.clock.now();
        // Both have looked and found nothing; now both insert.
        for core in &mut net.cores {
            assert!(core.core.directory.insert(hash, id(7), &key, State::SynReceived, now));
        }
        let found: Vec<Whose> = net.cores.iter_mut().map(|core| core.core.who_else_has(hash, &key)).collect();
        assert_eq!(found, [Whose::Theirs(1), Whose::Theirs(0)], "with a full fence between, at least one sees the other");
        // Who sees the other takes its own back.
        for (core, sees) in net.cores.iter_mut().zip([first_sees, second_sees]) {
            if sees {
                assert!(core.core.directory.remove(hash, id(7)));
            }
        }
        // Each SYN that was withdrawn arrives at the other core.
        let mut taken = 0;
        for (at, withdrawn) in [(1, first_sees), (0, second_sees)] {
            if !withdrawn {
                continue;
            }
            let core = &mut net.cores[at].core;
            let here = core.directory.find(hash, |_| true).is_some();
            core.provenance = Provenance::Withdrawn(1 - at as u16);
            let whose = core.whose(hash, &key, true);
            core.provenance = Provenance::Arrived;
            match (here, whose) {
                (true, _) => taken += 1,
                (false, Whose::Nobodys) => {
                    assert_eq!(at, 0, "the lower of the two takes it");
                    taken += 1;
                    assert!(net.cores[at].core.directory.insert(hash, id(8), &key, State::SynReceived, now));
                }
                (false, whose) => assert!(at == 1 && matches!(whose, Whose::Unknown(Drop::HandOffAstray)), "{whose:?}"),
            }
        }
        assert_eq!(taken, 1, "one SYN meets a flow or makes one");
        let left = net.cores.iter().filter(|core| core.core.directory.find(hash, |_| true).is_some()).count();
        assert_eq!(left, 1, "{first_sees} {second_sees}");
    }
}

struct Silent;
impl Service for Silent {
    type Message = ();
}

#[test]
fn a_service_that_connects_at_one_core_hears_the_replies_that_come_to_another() {
    // ARP and everything else arrive at the first core of those that connect.
    let talkers = vec![
        Talker::new("10.0.0.1:7", bytes(300)),
        Talker::new("10.0.0.1:7", bytes(200_000)),
        Talker::new("10.0.0.1:7", bytes(100)),
    ];
    let mut net = Net::new(to_the_first, Echo::default(), talkers);
    net.start();
    net.play(Duration::from_secs(1));
    for core in &net.cores {
        let talker = core.service();
        assert_eq!(talker.events, ["connected", "peer_closed", "closed"]);
        assert!(talker.got == talker.to_send);
    }
    // 2 MSL later nothing is left of any.
    net.clock.advance(2 * net.cores[0].core.config.tcp.msl);
    net.play(Duration::from_millis(1));
    assert!(net.cores.iter().all(|core| core.core.directory.is_empty() && core.core.wheel.is_empty()));
    net.assert_no_frame_missing();
}

#[test]
fn a_segment_of_no_connection_is_refused_once_all_were_asked_and_not_without_bound() {
    let mut net = Net::new(to_the_first, Silent, vec![Echo::default(), Echo::default()]);
    net.start();
    net.play(Duration::from_millis(1));
    let asked = crate::limits::FOREIGN_MISSES_PER_TURN;
    let key = key_of_nobody();
    let core = &mut net.cores[0].core;
    core.siblings.as_mut().unwrap().begin_turn();
    for nth in 0..asked + 10 {
        let hash = core.hash.of(&key);
        let expected = if nth < asked { Whose::Nobodys } else { Whose::Unknown(Drop::ForeignLookupLimited) };
        assert_eq!(core.whose(hash, &key, false), expected, "number {nth}");
    }
    let hash = core.hash.of(&key);
    assert_eq!(core.whose(hash, &key, true), Whose::Nobodys, "who asks to connect is not kept waiting by them");
    core.siblings.as_mut().unwrap().begin_turn();
    assert_eq!(core.whose(hash, &key, false), Whose::Nobodys);
}

/// Asks the peer's echo from a port of its own, connected, and keeps the answers and errors.
#[derive(Default)]
struct Asker {
    asks: bool,
    to: Option<SocketAddr>,
    got: Vec<Vec<u8>>,
    errors: Vec<IcmpError>,
    endpoint: Option<EndpointId>,
}

impl Service for Asker {
    type Message = Vec<u8>;

    fn start(&mut self, cx: &mut impl Context) {
        if self.asks {
            self.endpoint = Some(cx.connect_udp(0.into(), self.to.unwrap()).unwrap());
        }
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        self.got.push(datagram.payload().to_vec());
        Answer::Ignore
    }

    fn icmp_error(&mut self, _: &mut impl Context, error: IcmpError) {
        self.errors.push(error);
    }

    fn message(&mut self, cx: &mut impl Context, payload: Vec<u8>) {
        let endpoint = self.endpoint.unwrap();
        cx.allow_fragments(endpoint, true);
        cx.send_to(endpoint, self.to.unwrap(), &payload).unwrap();
    }
}

fn asker(asks: bool, port: u16) -> Asker {
    Asker { asks, to: Some(SocketAddr::new("10.0.0.1".parse().unwrap(), port)), ..Asker::default() }
}

#[test]
fn answers_to_an_endpoint_of_one_core_reach_it_from_any_also_in_fragments() {
    let mut net = Net::new(to_the_first, Echo::default(), vec![asker(false, 7), asker(true, 7), asker(true, 7)]);
    net.start();
    net.play(Duration::from_millis(1));
    for (core, payload) in [(1, bytes(10)), (2, bytes(20)), (1, bytes(5000)), (2, bytes(6000))] {
        assert!(net.cores[core].mailbox().send(payload).is_ok());
        net.play(Duration::from_millis(5));
    }
    let sizes = |core: &Engine<MemoryDevice, Asker>| core.service().got.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(net.cores.iter().map(sizes).collect::<Vec<_>>(), [vec![], vec![10, 5000], vec![20, 6000]]);
    net.assert_no_frame_missing();
}

#[test]
fn an_icmp_error_reaches_the_core_whose_packet_it_is_about() {
    // Nobody is at port 9 of the peer: its complaint arrives at the first core.
    let mut net = Net::new(to_the_first, Echo::default(), vec![asker(false, 9), asker(true, 9)]);
    net.start();
    net.play(Duration::from_millis(1));
    assert!(net.cores[1].mailbox().send(bytes(10)).is_ok());
    net.play(Duration::from_millis(5));
    let errors: Vec<usize> = net.cores.iter().map(|core| core.service().errors.len()).collect();
    assert_eq!(errors, [0, 1]);
    assert_eq!(net.cores[1].service().errors[0].code, 3);
    assert_eq!(net.cores[0].core.counters.icmp_errors_received, 1);
}

#[test]
fn what_a_neighbor_says_to_one_core_all_have_heard() {
    let mut net =
        Net::new(to_the_first, Talker::new("10.0.0.2:7", vec![1]), vec![Echo::default(), Echo::default(), Echo::default()]);
    net.start();
    net.play(Duration::from_millis(2));
    let mac = net.client.core.ports[0].device.mac();
    for core in &net.cores {
        let link = &core.core.links[0];
        assert_eq!(link.neighbors.known(link.hop("10.0.0.1".parse().unwrap())), Some(mac));
    }
    assert_eq!(net.cores.iter().map(|core| core.core.counters.arp_replies).collect::<Vec<_>>(), [1, 0, 0], "one answers");
    let counted: Vec<u64> = net.cores.iter().map(|core| core.core.counters.siblings_untold).collect();
    assert_eq!(counted, [0, 0, 0]);
}

#[test]
fn addresses_are_probed_and_announced_by_the_first_core_and_served_by_all() {
    let mut net =
        Net::probing(packets_to_the_second, 1, Talker::new("10.0.0.2:7", bytes(100)), vec![Echo::default(), Echo::default()]);
    net.cores.iter_mut().for_each(|core| core.start(&net.clock));
    net.play(Duration::from_millis(100));
    assert!(
        net.cores.iter().all(|core| core.core.links[0].claimed.is_empty() && core.core.links[0].interface.withheld.len() == 2)
    );
    assert_eq!(net.cores.iter().map(|core| core.core.counters.arp_requests).collect::<Vec<_>>(), [1, 0]);
    for _ in 0..60 {
        net.clock.advance(Duration::from_millis(100));
        net.play(Duration::from_micros(50));
    }
    assert!(
        net.cores.iter().all(|core| core.core.links[0].claimed.len() == 1 && core.core.links[0].interface.withheld.is_empty())
    );
    net.client.start(&net.clock);
    net.play(Duration::from_millis(50));
    assert_eq!(net.client.service().events, ["connected", "peer_closed", "closed"]);
    assert_eq!(net.cores.iter().map(|core| core.service().ended).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_conflict_that_another_core_hears_ends_the_probing() {
    // The peer has the address that is probed for; its answer arrives at the second core.
    let mut net = Net::probing(|_| 1, 2, Silent, vec![Echo::default(), Echo::default()]);
    net.client.start(&net.clock);
    net.client.core.ports[0].device.flush();
    net.cores.iter_mut().for_each(|core| core.start(&net.clock));
    for _ in 0..60 {
        net.clock.advance(Duration::from_millis(100));
        net.play(Duration::from_micros(50));
    }
    assert_eq!(net.cores[0].core.duplicates.len(), 2, "over both families");
    assert!(net.cores[1].core.duplicates.is_empty(), "said once");
    assert!(net.cores.iter().all(|core| core.core.links[0].claimed.is_empty()));
}

#[test]
fn an_acknowledgment_of_a_cookie_opens_its_connection_at_any_core() {
    let mut net =
        Net::with(after_the_syn_elsewhere, Talker::new("10.0.0.2:7", bytes(100)), vec![Full, Full], |tcp| tcp.backlog = 1);
    net.start();
    // One half-open connection fills the backlog of each core.
    for core in &mut net.cores {
        core.core.listeners.at_mut(0).unwrap().half_open = 1;
    }
    net.play(Duration::from_millis(20));
    assert_eq!(net.client.service().events, ["connected", "peer_closed", "closed"]);
    assert_eq!(net.cores.iter().map(|core| core.core.counters.tcp_accepted).collect::<Vec<_>>(), [0, 1]);
}

/// Echo with a small backlog.
struct Full;

impl Service for Full {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(7.into(), Listen { backlog: Some(1), ..Listen::default() }).unwrap();
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        cx.send(connection, bytes)
    }
}

/// Listens, or does not.
struct Perhaps(bool);

impl Service for Perhaps {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        if self.0 {
            cx.listen(7.into(), Listen::default()).unwrap();
        }
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        cx.send(connection, bytes)
    }
}

#[test]
fn a_listener_of_one_core_is_found_from_any() {
    let mut net =
        Net::new(to_the_first, Talker::new("10.0.0.2:7", bytes(100)), vec![Perhaps(false), Perhaps(false), Perhaps(true)]);
    net.start();
    net.play(Duration::from_millis(20));
    assert_eq!(net.client.service().events, ["connected", "peer_closed", "closed"]);
    assert_eq!(net.cores.iter().map(|core| core.core.counters.tcp_accepted).collect::<Vec<_>>(), [0, 0, 1]);
    net.assert_no_frame_missing();
}

#[test]
fn a_ring_that_is_full_drops_and_counts_and_nothing_leaks() {
    let mut net =
        Net::new(after_the_syn_elsewhere, Talker::new("10.0.0.2:7", bytes(3_000_000)), vec![Echo::default(), Echo::default()]);
    net.start();
    net.play(Duration::from_millis(1));
    // The owner stands still while its segments come.
    let mut sent = 0;
    while sent < 2 * crate::limits::HAND_OFF {
        let core = &mut net.cores[1];
        let Some(mut frame) = core.core.ports[0].device.allocate() else { break };
        frame.set_len(60);
        let lane = core.core.first_lane(0);
        let verdict = core.core.hand_over(lane, frame, 0, false, None);
        core.core.settle(lane, verdict);
        sent += 1;
    }
    let full = net.dropped(1, Drop::HandOffFull);
    assert!(full > 0 && full as usize >= sent - crate::limits::HAND_OFF, "{full} of {sent}");
    net.play(Duration::from_secs(2));
    assert_eq!(net.client.service().got.len(), 3_000_000, "what was lost was sent again");
    net.assert_no_frame_missing();
}

#[test]
fn what_lies_in_the_rings_at_the_end_comes_home() {
    let mut net =
        Net::new(after_the_syn_elsewhere, Talker::new("10.0.0.2:7", bytes(100_000)), vec![Echo::default(), Echo::default()]);
    net.start();
    net.play(Duration::from_millis(1));
    net.cores[0].core.config.drain = Duration::ZERO;
    net.client.turn(&net.clock);
    net.cores[1].turn(&net.clock);
    net.cores[0].drain(&net.clock).unwrap();
    net.cores[1].turn(&net.clock);
    net.cores[0].drain(&net.clock).unwrap();
    net.cores[1].turn(&net.clock);
    let census = net.cores[1].core.ports[0].device.frames();
    assert_eq!(census.outside(), 0, "{census:?}");
}

#[test]
fn a_stop_waits_at_every_core_as_long_as_one_has_a_connection() {
    let mut net =
        Net::new(after_the_syn_elsewhere, Talker::new("10.0.0.2:7", bytes(3_000_000)), vec![Echo::default(), Echo::default()]);
    net.start();
    net.play(Duration::from_millis(1));
    let siblings = |net: &mut Net<Talker, Echo>, core: usize| net.cores[core].core.siblings.as_mut().unwrap().all_have_ended();
    // The second has nothing left, but the packets of the first arrive there.
    assert!(!siblings(&mut net, 1));
    assert!(!siblings(&mut net, 1), "said twice is said once");
    assert!(siblings(&mut net, 0), "both have ended");
    let [first, second] = [0, 1].map(|core| net.cores[core].stop());
    first.ask();
    assert_eq!(second.asked(), 1, "one switch for all");
}
