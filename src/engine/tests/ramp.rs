//! A great many connections of one engine to another, from several source addresses.

use std::collections::HashSet;
use std::net::IpAddr;

use super::*;
use crate::device::memory;
use crate::load::engine_client::{EngineClient, Report};
use crate::load::engine_ramp::RampLoad;
use crate::load::plan::{Carrier, Pace, Plan, Ramp};
use crate::service::CallError;
use crate::settings::number::WHOLE;

/// The addresses of the client: 10.0.0.16 and those after it.
fn sources(count: u8) -> Vec<IpAddr> {
    (16..16 + count).map(|last| [10, 0, 0, last].into()).collect()
}

/// An engine with these addresses and room for so many connections.
fn engine_of<S: Service>(device: MemoryDevice, addresses: &[IpAddr], room: usize, service: S) -> Engine<MemoryDevice, S> {
    let cidrs = addresses.iter().map(|address| format!("{address}/24").parse().unwrap()).collect();
    let interface = Interface {
        name: "cable".into(),
        mac: device.mac(),
        mtu: device.mtu(),
        vlan: Vlan::NONE,
        claim: Claim::Addresses(cidrs),
        routes: Routes::default(),
        withheld: Vec::new(),
        groups: Groups::new(),
    };
    let mut config = Config::new(Secrets::fixed());
    config.tcp.connections = room;
    Engine::new(config, vec![interface], vec![Port::new(device, 0, 0)], service).unwrap()
}

fn ramp(connections: u32, per_s: f64, sources: u8, active: u32, hold: Duration) -> EngineClient {
    let mut client = EngineClient::new(Plan {
        carrier: Carrier::Tcp,
        target: ([10, 0, 0, 2], 7).into(),
        connections,
        pace: Pace::Closed { in_flight: 1 },
        size: 64,
        duration: hold,
        warmup: Duration::ZERO,
        sources: sources.into(),
        churn: None,
        ramp: Some(Ramp { per_s, active }),
        bulk: None,
        congestion: None,
    });
    client.sources = self::sources(sources);
    client
}

/// Runs a ramp until its service stops; `look` sees both engines in every turn. Time passes quickly while nothing happens.
fn run(
    client: EngineClient,
    rooms: (usize, usize),
    mut look: impl FnMut(&Engine<MemoryDevice, RampLoad>, &Engine<MemoryDevice, Echo>),
) -> (Report, Engine<MemoryDevice, Echo>) {
    let (left, right) = memory::cable(4096);
    let clock = ManualClock::default();
    let ramp = client.plan.ramp.unwrap();
    let addresses = client.sources.clone();
    let (service, report) = RampLoad::new(client, ramp);
    let mut client = engine_of(left, &addresses, rooms.0, service);
    let mut server = engine_of(right, &[[10, 0, 0, 2].into()], rooms.1, Echo::default());
    server.start(&clock);
    client.start(&clock);
    let mut idle = 0;
    for _ in 0..2_000_000 {
        let worked = client.turn(&clock) | server.turn(&clock);
        idle = if worked { 0 } else { idle + 1 };
        clock.advance(Duration::from_micros(if idle < 20 { 10 } else { 1000 }));
        look(&client, &server);
        if client.core.stop_asked {
            break;
        }
    }
    // What the last closes have on the way arrives.
    for _ in 0..100 {
        client.turn(&clock);
        server.turn(&clock);
        clock.advance(Duration::from_micros(10));
    }
    assert!(client.core.stop_asked, "the ramp ends");
    assert_no_frame_missing(&client);
    assert_no_frame_missing(&server);
    (report.try_recv().expect("a report"), server)
}

#[test]
fn twenty_thousand_connections_from_four_addresses_are_opened_held_and_closed() {
    let mut most = 0;
    let mut tuples = HashSet::new();
    let client = ramp(20_000, 1e6, 4, WHOLE / 100, Duration::from_millis(20));
    let (report, server) = run(client, (20_000, 32_768), |client, server| {
        most = most.max(server.core.flows.len());
        if client.core.flows.len() == 20_000 && tuples.is_empty() {
            tuples = client.core.flows.iter().map(|(_, flow)| (flow.key.local.ip(), flow.key.local_port)).collect();
        }
    });
    let outcome = report.expect("a run");
    let books = outcome.ramp.as_ref().expect("a ramp");
    assert_eq!((books.opened, books.open, books.active), (20_000, 20_000, 200), "{books:?}");
    assert_eq!((outcome.connect.count(), outcome.close.count(), most), (20_000, 20_000, 20_000));
    assert!(outcome.received > 200 && outcome.lost == 0 && outcome.failure().is_none(), "{outcome:?}");
    assert_eq!(tuples.len(), 20_000, "no two have the same address and port");
    for source in sources(4) {
        assert_eq!(tuples.iter().filter(|(address, _)| *address == source).count(), 5000, "{source}");
    }
    assert_eq!((server.core.count_states().0, server.core.pool.in_use()), (0, 0));
    assert_eq!((server.service().ended, server.core.counters.tcp_accepted), (20_000, 20_000));
}

#[test]
fn a_server_without_room_is_seen_in_the_counts() {
    // Each handshake is over before the next begins: those that were promised by cookies find room.
    let client = ramp(600, 10_000.0, 1, WHOLE, Duration::from_millis(20));
    let (report, server) = run(client, (600, 500), |_, _| ());
    let outcome = report.expect("a run");
    let books = outcome.ramp.as_ref().expect("a ramp");
    assert_eq!((books.opened, books.open, books.timed_out, books.active), (500, 500, 100, 600), "{books:?}");
    assert_eq!((server.core.count_states().0, outcome.lost), (0, 0));
    assert!(server.core.drops.of(crate::device::Drop::TcpTableFull) >= 100);
}

/// Connects again and again from its addresses in turn, and keeps the connections.
struct Filler {
    sources: Vec<IpAddr>,
    open: Vec<Connection>,
}

impl Filler {
    fn connect(&mut self, cx: &mut impl Context, source: usize) -> Result<(), CallError> {
        let options = Connect { source: Some(self.sources[source]), ..Connect::default() };
        cx.connect(([10, 0, 0, 2], 7).into(), options).map(|connection| self.open.push(connection))
    }
}

impl Service for Filler {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        let ports = crate::limits::SOURCE_PORTS.count();
        for nth in 0..self.sources.len() * ports {
            self.connect(cx, nth % self.sources.len()).unwrap_or_else(|error| panic!("connection {nth}: {error}"));
        }
        for source in 0..self.sources.len() {
            assert_eq!(self.connect(cx, source), Err(CallError::NoPort));
        }
    }
}

#[test]
fn every_port_of_every_address_is_found_and_few_are_looked_at() {
    let (left, _right) = memory::cable(64);
    let filler = || Filler { sources: sources(2), open: Vec::new() };
    let mut engine = engine_of(left, &sources(2), 65_536, filler());
    // Each look at a port moves the counter that its address has, or shares.
    let looks =
        |core: &crate::engine::core::Core<MemoryDevice>| core.next_ports.iter().map(|&count| u64::from(count)).sum::<u64>();
    engine.start(&ManualClock::default());
    let (connections, refused) = (65_536, 2 * 32_768);
    let filling = looks(&engine.core) - refused;
    assert!(filling <= 4 * connections, "{filling} looks for {connections} ports");
    // One port in sixteen becomes free, here and there: about sixteen looks find one.
    let gone: Vec<_> = engine.service().open.iter().copied().step_by(17).filter(|open| open.slot % 16 < 15).collect();
    for &connection in &gone {
        engine.core.remove_flow(connection.into());
    }
    let before = looks(&engine.core);
    let mut again = filler();
    while again.open.len() < gone.len() / 2 {
        let source = again.open.len() % 2;
        again.connect(&mut engine.core, source).unwrap();
    }
    let each = (looks(&engine.core) - before) / again.open.len() as u64;
    assert!(each <= 64, "{each} looks for a port while 15 in 16 are taken");
}
