//! What stands at the wire: Ringway's engine, smoltcp, or nothing.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ringway::device::Device as _;
use ringway::engine::{Clock, Config, Engine, Port, Secrets};
use ringway::recorder;
use ringway::service::{Answer, Connection, Context, Datagram, Listen, Service};
use ringway::time::Instant;
use smoltcp::iface::{self, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use crate::common::{Echo, OUR_MAC, OURS, PAYLOAD, SERVICE, interface};
use crate::generator;
use crate::wire::Wire;

/// Time that passes with each turn of a stack: about what a core that is busy with bursts takes.
const STEP_NS: u64 = 10_000;
const START_NS: u64 = 1_000_000_000;

/// One end: it takes what arrives on its wire, and puts there what it sends.
pub(crate) trait Stack {
    /// False where nothing is answered, so that nothing can be counted.
    const ANSWERS: bool = true;

    fn wire(&mut self) -> &mut Wire;

    fn turn(&mut self);

    /// The time of the turn that comes.
    fn now(&self) -> Instant;

    /// What it says of itself when it does not go on.
    fn report(&mut self) -> String {
        String::new()
    }
}

/// A clock that goes on with each turn.
pub(crate) struct Steps(Cell<u64>);

impl Steps {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(START_NS))
    }

    pub(crate) fn step(&self) {
        self.0.set(self.0.get() + STEP_NS);
    }
}

impl Clock for Steps {
    fn now(&self) -> Instant {
        Instant::from_ns(self.0.get())
    }
}

/// Sends back at once, without a look.
pub(crate) struct Null {
    wire: Wire,
    clock: Steps,
}

impl Null {
    pub(crate) fn new() -> Self {
        Self { wire: Wire::new(), clock: Steps::new() }
    }
}

impl Stack for Null {
    const ANSWERS: bool = false;

    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn turn(&mut self) {
        self.wire.reflect();
        self.clock.step();
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// Ringway's engine with a service.
pub(crate) struct Ringway<S: Service> {
    engine: Engine<Wire, S>,
    clock: Steps,
}

impl<S: Service> Ringway<S> {
    /// With a table for so many connections.
    pub(crate) fn new(service: S, connections: usize) -> Self {
        Self::with_records(service, connections, recorder::Settings::default())
    }

    /// The same with a flight recorder of another size, or none.
    fn with_records(service: S, connections: usize, records: recorder::Settings) -> Self {
        let mut config = Config::new(Secrets::fixed());
        config.recorder = records;
        // Some more than are open, as the README advises: the last places are for acknowledged cookies.
        config.tcp.connections = connections + connections / 8 + 64;
        config.tcp.backlog = connections + 64;
        let clock = Steps::new();
        let mut engine = Engine::new(config, vec![interface()], vec![Port::new(Wire::new(), 0, 0)], service).expect("an engine");
        engine.start(&clock);
        // Until it has announced its address, and again (RFC 5227 2.3).
        for _ in 0..4 {
            engine.turn(&clock);
            engine.device_mut(0).collect(|_| ());
            clock.0.set(clock.0.get() + 2_000_000_000);
        }
        Self { engine, clock }
    }
}

impl<S: Service> Stack for Ringway<S> {
    fn wire(&mut self) -> &mut Wire {
        self.engine.device_mut(0)
    }

    fn turn(&mut self) {
        self.engine.turn(&self.clock);
        self.clock.step();
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn report(&mut self) -> String {
        format!("{:?}", self.engine.report())
    }
}

/// Echo of a single port, TCP and UDP.
pub(crate) fn ringway_echo(connections: usize) -> Ringway<Echo> {
    Ringway::new(Echo, connections)
}

/// The same without a flight recorder.
pub(crate) fn ringway_without_records(connections: usize) -> Ringway<Echo> {
    Ringway::with_records(Echo, connections, recorder::Settings { records: 0, udp: false })
}

/// Echo of datagrams on so many ports from [`SERVICE`] on.
pub(crate) struct EchoPorts(pub(crate) u16);

impl Service for EchoPorts {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        for port in SERVICE..SERVICE + self.0 {
            cx.open_udp(port.into()).expect("a free port");
        }
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        Answer::Reply { len: datagram.payload().len() }
    }
}

/// Takes every byte, and sends none.
pub(crate) struct Discard;

impl Service for Discard {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(SERVICE.into(), Listen::default()).expect("a free port");
    }

    fn data(&mut self, _: &mut impl Context, _: Connection, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

/// Sends without end.
pub(crate) struct Source;

/// What is offered at once.
static CHUNK: [u8; 65_536] = [PAYLOAD[0]; 65_536];

impl Source {
    fn fill(cx: &mut impl Context, connection: Connection) {
        while cx.send(connection, &CHUNK) == CHUNK.len() {}
    }
}

impl Service for Source {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(SERVICE.into(), Listen::default()).expect("a free port");
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        Self::fill(cx, connection);
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        Self::fill(cx, connection);
    }
}

/// What an application on smoltcp does with its sockets, all of which it looks at in each turn: smoltcp does not say which have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    EchoDatagrams,
    EchoStreams,
    Discard,
    Source,
}

/// smoltcp, with its sockets.
pub(crate) struct Smoltcp {
    iface: Interface,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
    application: Application,
    /// How often sockets are asked in a turn whether they have something to send; `None`: until none has.
    passes: Option<usize>,
    wire: Wire,
    clock: Steps,
}

impl Smoltcp {
    /// With so many sockets, each with buffers of so many bytes. Its neighbour is known.
    pub(crate) fn new(application: Application, sockets: usize, buffer: usize, passes: Option<usize>) -> Self {
        let mut wire = Wire::new();
        let clock = Steps::new();
        let mut config = iface::Config::new(HardwareAddress::Ethernet(EthernetAddress(OUR_MAC.0)));
        config.random_seed = 9293;
        let mut iface = Interface::new(config, &mut wire, smoltcp_time(clock.now()));
        iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(IpAddress::Ipv4(OURS), 8)).expect("room for an address"));
        let mut set = SocketSet::new(Vec::with_capacity(sockets));
        let handles = (0..sockets)
            .map(|number| match application {
                Application::EchoDatagrams => set.add(datagram_socket(SERVICE + number as u16)),
                _ => set.add(stream_socket(buffer)),
            })
            .collect();
        let mut stack = Self { iface, sockets: set, handles, application, passes, wire, clock };
        stack.wire.arrive(generator::arp_request);
        stack.turn();
        assert_eq!(stack.wire.collect(|_| ()), 1, "the neighbour is answered");
        stack
    }

    fn serve_datagrams(&mut self) {
        for &handle in &self.handles {
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(handle);
            while let Ok((payload, from)) = socket.recv() {
                let mut copy = [0; PAYLOAD.len()];
                copy.copy_from_slice(payload);
                socket.send_slice(&copy, from).expect("room for an answer");
            }
        }
    }

    fn serve_streams(&mut self) {
        let mut bytes = [0; 4096];
        for &handle in &self.handles {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            if !socket.is_open() {
                socket.listen(SERVICE).expect("a port");
                continue;
            }
            match self.application {
                Application::Discard => while socket.can_recv() && socket.recv(|bytes| (bytes.len(), ())).is_ok() {},
                Application::Source => while socket.can_send() && socket.send_slice(&CHUNK).is_ok_and(|taken| taken > 0) {},
                _ if socket.can_recv() => {
                    let count = socket.recv_slice(&mut bytes).expect("an open socket");
                    let taken = socket.send_slice(&bytes[..count]).expect("an open socket");
                    assert_eq!(taken, count, "room for an answer");
                }
                _ => {}
            }
            if socket.state() == tcp::State::CloseWait {
                socket.close();
            }
        }
    }
}

impl Stack for Smoltcp {
    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn turn(&mut self) {
        let now = smoltcp_time(self.clock.now());
        STAMP_MS.store(self.clock.now().as_ms_wrapping(), Ordering::Relaxed);
        while self.iface.poll_ingress_single(now, &mut self.wire, &mut self.sockets) != PollIngressSingleResult::None {}
        match self.application {
            Application::EchoDatagrams => self.serve_datagrams(),
            _ => self.serve_streams(),
        }
        let mut left = self.passes.unwrap_or(usize::MAX);
        while left > 0 && self.iface.poll_egress(now, &mut self.wire, &mut self.sockets) == PollResult::SocketStateChanged {
            left -= 1;
        }
        self.wire.flush();
        self.clock.step();
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// smoltcp asks a plain function for the time of its timestamps.
static STAMP_MS: AtomicU32 = AtomicU32::new(0);

fn datagram_socket(port: u16) -> udp::Socket<'static> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 64 * PAYLOAD.len()]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(port).expect("a free port");
    socket
}

fn stream_socket(buffer: usize) -> tcp::Socket<'static> {
    let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(vec![0; buffer]), tcp::SocketBuffer::new(vec![0; buffer]));
    socket.set_nagle_enabled(false);
    socket.set_tsval_generator(Some(|| STAMP_MS.load(Ordering::Relaxed)));
    socket.listen(SERVICE).expect("a port");
    socket
}

fn smoltcp_time(at: Instant) -> smoltcp::time::Instant {
    let since = at.since(Instant::ZERO);
    smoltcp::time::Instant::from_micros(Duration::as_micros(&since) as i64)
}
