//! Source ports whose replies come home to the queues of an engine, and predictions that turn out wrong.

use super::*;
use crate::device::memory;
use crate::link::interface::Transport;
use crate::rss::{Fields, Function, Predictor, Spread, Toeplitz, Told, Transform, Tuple};
use crate::wire::vlan::Tag;

/// Opens so many connections.
#[derive(Debug)]
struct Dialer {
    target: &'static str,
    count: usize,
    established: usize,
}

impl Service for Dialer {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        for _ in 0..self.count {
            cx.connect(self.target.parse().unwrap(), Connect::default()).unwrap();
        }
    }

    fn connected(&mut self, _: &mut impl Context, _: Connection) {
        self.established += 1;
    }
}

/// A NIC that hashes TCP's ports, with these queues in its table.
fn spread(table: &[u32]) -> Spread {
    let told = Told {
        function: Function::Toeplitz,
        key: Toeplitz::new((1..=40).map(|n: u8| n.wrapping_mul(91)).collect::<Vec<_>>()),
        transform: Transform::None,
        table: table.to_vec(),
        fields: [Fields::FourTuple, Fields::FourTuple, Fields::Unknown, Fields::Unknown],
        rules: Some(0),
    };
    Spread::new(&told).unwrap()
}

/// An engine on queue 2 of its NIC that has opened `count` connections, all of them answered.
fn dialed(target: &'static str, count: usize, spread: Option<Spread>) -> Engine<MemoryDevice, Dialer> {
    let (left, right) = memory::cable(1024);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Dialer { target, count, established: 0 });
    client.core.ports[0].queue = 2;
    if let Some(spread) = spread {
        client.predict_replies(0, spread);
    }
    let mut server = engine(right, 2, Echo::default());
    server.start(&clock);
    client.start(&clock);
    // SYNs that find no room while the neighbour is asked for are sent again.
    for _ in 0..400 {
        client.turn(&clock);
        server.turn(&clock);
        clock.advance(Duration::from_millis(5));
    }
    assert_eq!(client.service().established, count);
    assert_eq!(server.core.counters.rss_hits + server.core.counters.rss_misses, 0, "what was accepted is not foretold");
    client
}

/// The source ports, in the order in which they were chosen.
fn ports(engine: &Engine<MemoryDevice, Dialer>) -> Vec<u16> {
    engine.core.flows.glances().map(|flow| flow.key.local_port).collect()
}

const TARGETS: [&str; 2] = ["10.0.0.2:7", "[fd00::2]:7"];

#[test]
fn replies_arrive_on_the_queue_of_the_engine() {
    for target in TARGETS {
        let nic = spread(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let client = dialed(target, 100, Some(nic.clone()));
        for flow in client.core.flows.glances() {
            let (source, target) = (flow.key.remote_socket(), flow.key.local_socket());
            let reply = Tuple { transport: Transport::Tcp, source, target };
            assert_eq!(nic.queue_of(&reply), Some(2), "{reply:?}");
        }
        assert_eq!((client.core.counters.rss_hits, client.core.counters.rss_misses), (100, 0));
        let mut ports = ports(&client);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100, "each port once");
    }
}

#[test]
fn where_there_is_nothing_to_choose_the_ports_are_those_of_before() {
    for target in TARGETS {
        let before = ports(&dialed(target, 20, None));
        let all_ours = dialed(target, 20, Some(spread(&[2, 2, 2, 2])));
        assert_eq!(ports(&all_ours), before);
        assert_eq!(all_ours.core.counters.rss_hits, 20);
        let none_ours = dialed(target, 20, Some(spread(&[0, 1, 3, 1])));
        assert_eq!(ports(&none_ours), before);
    }
}

#[test]
fn eight_replies_elsewhere_end_the_predictions() {
    let client = dialed("10.0.0.2:7", 20, Some(spread(&[0, 1, 0, 1])));
    assert_eq!((client.core.counters.rss_hits, client.core.counters.rss_misses), (0, 8));
    assert!(client.core.links[0].predictor.as_ref().is_some_and(Predictor::is_off));
}

/// The VLANs of a NIC share its hash and its queues.
#[test]
fn a_vlan_comes_home_to_its_nic() {
    let (left, _right) = memory::cable(64);
    let clock = ManualClock::default();
    let mut client = engine(left, 1, Dialer { target: "10.1.0.2:7", count: 30, established: 0 });
    let plain = client.core.links.remove(0).interface;
    let claim = Claim::Addresses(vec!["10.1.0.1/24".parse().unwrap()]);
    let tagged = Interface { vlan: Vlan::tagged(Tag::c(5)), claim, ..plain.clone() };
    let mut port = client.core.ports.remove(0);
    port.queue = 2;
    let config = client.core.config;
    let mut client = Engine::new(config, vec![plain, tagged], vec![port], client.into_service()).unwrap();
    let nic = spread(&[0, 1, 2, 3]);
    client.predict_replies(0, nic.clone());
    client.start(&clock);
    assert_eq!(client.core.flows.len(), 30);
    for (_, flow) in client.core.flows.iter() {
        assert_eq!(flow.key.link.interface, 1);
        let (source, target) = (flow.key.remote_socket(), flow.key.local_socket());
        assert_eq!(nic.queue_of(&Tuple { transport: Transport::Tcp, source, target }), Some(2));
    }
}

#[test]
fn a_nic_without_knowledge_foretells_nothing() {
    let client = dialed("10.0.0.2:7", 3, None);
    assert_eq!((client.core.counters.rss_hits, client.core.counters.rss_misses), (0, 0));
}
