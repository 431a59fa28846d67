//! The source ports of connections that Ringway opens, as the kernel at the other end sees them (RFC 6056).

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringway::launch::Launch;
use ringway::link::interface::{PortClaim, Transport};
use ringway::service::{Answer, CallError, Connect, Connection, Context, Datagram, ResetReason, Service};

use socket2::SockRef;

use crate::client::{patient, server};
use crate::world::{CLIENT, INTERFACE, SERVER_CIDR, World, own};

/// Destinations: four ports at each of two addresses.
const TARGETS: usize = 8;
/// Connections to each.
const EACH: usize = 25;
/// Where ports that nobody chose lie.
const DYNAMIC: std::ops::RangeInclusive<u16> = 32_768..=65_535;

/// Opens a connection when the one before stands, to each destination in turn, and keeps all of them.
struct Opener {
    targets: Vec<SocketAddr>,
    opened: usize,
    failure: Option<String>,
}

impl Opener {
    fn next(&mut self, cx: &mut impl Context) {
        if self.opened == self.targets.len() * EACH {
            return cx.stop();
        }
        let target = self.targets[self.opened % self.targets.len()];
        if let Err(error) = cx.connect(target, Connect::default()) {
            self.fail(cx, format!("connection {} to {target}: {error}", self.opened));
        }
    }

    fn fail(&mut self, cx: &mut impl Context, why: String) {
        self.failure = Some(why);
        cx.stop();
    }
}

impl Service for Opener {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        self.next(cx);
    }

    fn connected(&mut self, cx: &mut impl Context, _: Connection) {
        self.opened += 1;
        self.next(cx);
    }

    fn reset(&mut self, cx: &mut impl Context, _: Connection, why: ResetReason) {
        self.fail(cx, format!("connection {} was reset: {why:?}", self.opened));
    }
}

/// The ports of one process, by destination and in the order of the connections, as the kernel's listeners were told them.
fn ports_of_a_process(world: &World) -> Vec<Vec<u16>> {
    let listen =
        |n: usize| listen(SocketAddr::new(["10.0.0.1", "10.0.0.3"][n / 4].parse().expect("an address"), 9001 + n as u16 % 4));
    let listeners: Vec<TcpListener> = world.client.inside(|| (0..TARGETS).map(listen).collect());
    let targets = listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect();
    thread::scope(|scope| {
        let seen: Vec<_> = listeners
            .iter()
            .map(|listener| {
                scope.spawn(move || {
                    let streams: Vec<(TcpStream, SocketAddr)> = (0..EACH).map(|_| listener.accept().expect("accept")).collect();
                    let ports = streams.iter().map(|(_, from)| from.port()).collect();
                    // Nobody lets go before Ringway does: all of them are in use at once.
                    for (mut stream, _) in streams {
                        patient(&stream);
                        assert_eq!(stream.read(&mut [0; 8]).expect("read"), 0, "the end of the stream");
                    }
                    ports
                })
            })
            .collect();
        let service = world.server.inside(|| {
            let launch = Launch::new().interface(INTERFACE).address(SERVER_CIDR.parse().expect("an address"));
            let opener = Opener { targets, opened: 0, failure: None };
            launch.open(opener).expect("a launch").run().expect("a run").into_service()
        });
        assert_eq!((service.failure, service.opened), (None, TARGETS * EACH));
        seen.into_iter().map(|ports| ports.join().expect("a listener")).collect()
    })
}

/// A listener whose accept fails after some seconds instead of hanging.
fn listen(at: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(at).expect("listen");
    SockRef::from(&listener).set_read_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    listener
}

/// How far it is from one port to another, within the range and around its end.
fn apart(from: u16, to: u16) -> u16 {
    let forward = to.wrapping_sub(from) % 32_768;
    forward.min(32_768 - forward)
}

//= type=test
//= rfc6056#3.3.4
//# The array "table[]" assures that successive transport-protocol
//# instances with the same remote endpoint will use increasing ephemeral
//# port numbers.
#[test]
fn source_ports_of_two_hundred_connections_tell_an_observer_little() {
    let Some(world) = World::new() else { return };
    own(&world.client, "10.0.0.3/24", INTERFACE);
    let ports = ports_of_a_process(&world);
    for (target, ports) in ports.iter().enumerate() {
        assert!(ports.iter().all(|port| DYNAMIC.contains(port)), "{target}: {ports:?}");
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), EACH, "{target}: one was used twice: {ports:?}");
        // Up, by a little: as long as can be until one comes again. Some destinations share a counter.
        for pair in ports.windows(2) {
            let forward = pair[1].wrapping_sub(pair[0]) % 32_768;
            assert!((1..=TARGETS as u16).contains(&forward), "{target}: {ports:?}");
        }
    }
    // What a destination sees says nothing of another: neighbours in time are none in number. By chance one pair in 64 is that near.
    let near = |pairs: &[(u16, u16)]| pairs.iter().filter(|(one, other)| apart(*one, *other) < 256).count();
    let neighbours: Vec<(u16, u16)> = (0..TARGETS).map(|at| (ports[at][0], ports[(at + 1) % TARGETS][0])).collect();
    assert!(near(&neighbours) <= 3, "{neighbours:?}");

    // Nor do those of a process say anything of the next one's: it has another secret.
    let again = ports_of_a_process(&world);
    let successors: Vec<(u16, u16)> = ports.iter().zip(&again).map(|(one, other)| (one[EACH - 1], other[0])).collect();
    assert!(near(&successors) <= 3, "{successors:?}");
}

/// Connects until there is no port left, then resets one connection and connects again.
#[derive(Default)]
struct Exhauster {
    begun: bool,
    opened: Vec<Connection>,
    failures: Vec<CallError>,
}

/// Where the exhauster waits for a datagram: in a claim of ports it knows only neighbours that it has heard.
const HELLO: u16 = 7;
/// The ports it may connect from.
const FEW: std::ops::Range<u16> = 40_000..40_016;
/// Which of its connections it resets.
const RESET: usize = 5;

impl Service for Exhauster {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(HELLO.into()).expect("it is claimed");
    }

    fn datagram(&mut self, cx: &mut impl Context, _: &mut Datagram<'_>) -> Answer {
        if !std::mem::replace(&mut self.begun, true) {
            self.connect(cx);
        }
        Answer::Ignore
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.opened.push(connection);
        match self.opened.len() {
            n if n == FEW.len() + 1 => cx.stop(),
            n if n == FEW.len() => {
                let more = cx.connect(target(), Connect::default());
                self.failures.extend(more.err());
                cx.abort(self.opened[RESET]);
                // It leaves the table when its reset has left.
                let soon = cx.now() + Duration::from_millis(50);
                cx.set_timer(soon, 0).expect("a timer");
            }
            _ => self.connect(cx),
        }
    }

    fn timer(&mut self, cx: &mut impl Context, _: u64) {
        self.connect(cx);
    }
}

impl Exhauster {
    fn connect(&mut self, cx: &mut impl Context) {
        if let Err(error) = cx.connect(target(), Connect::default()) {
            self.failures.push(error);
            cx.stop();
        }
    }
}

fn target() -> SocketAddr {
    SocketAddr::new(CLIENT.parse::<IpAddr>().expect("an address"), 9001)
}

/// A range of sixteen is gone through within sixteen connections: each port serves once, and again only when its connection has ended.
#[test]
fn source_ports_in_use_are_not_used_again() {
    let Some(world) = World::with_kernel_server() else { return };
    let listener = world.client.inside(|| listen(target()));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let streams: Vec<(TcpStream, SocketAddr)> = (0..=FEW.len()).map(|_| listener.accept().expect("accept")).collect();
            streams.iter().map(|(_, from)| from.port()).collect::<Vec<u16>>()
        });
        scope.spawn(|| {
            world.client.inside(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
                // Until Ringway stands nobody hears it.
                for _ in 0..200 {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let _ = socket.send_to(b"here", server(HELLO));
                    thread::sleep(Duration::from_millis(50));
                }
            });
        });
        let claims: Vec<PortClaim> = FEW
            .map(|port| PortClaim { transport: Transport::Tcp, port })
            .chain([PortClaim { transport: Transport::Udp, port: HELLO }])
            .collect();
        let service = world.server.inside(|| {
            let launch = Launch::new().interface(INTERFACE).claims(&claims);
            launch.open(Exhauster::default()).expect("a launch").run().expect("a run").into_service()
        });
        over.store(true, Ordering::Relaxed);
        assert_eq!(service.failures, [CallError::NoPort], "with all of them in use");
        let mut ports = seen.join().expect("the listener");
        let last = ports.pop().expect("one more");
        assert_eq!(last, ports[RESET], "only this one is free");
        ports.sort_unstable();
        assert!(ports.iter().copied().eq(FEW), "{ports:?}");
    });
}
