//! Ringway follows the kernel: neighbours, routes, addresses and links that change while it runs, and ICMP errors that the kernel has too.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use ringway::engine::{Report, Stop};
use ringway::launch::Launch;
use ringway::link::interface::PortClaim;
use ringway::service::{Context, EndpointId, IcmpError, Sending, Service};
use rustix::process::Signal;

use crate::client::{connect, end, exchange, patient, server as at, udp};
use crate::common::{Netns, join};
use crate::family::{self, FREE_CIDR};
use crate::server::Server;
use crate::world::{CLIENT, INTERFACE, SERVER, SERVER_CIDR, World, own, ping};

/// The claim of the tests.
const CLAIM: &[&str] = &["--claim", "tcp:7,udp:7", "echo:7"];
/// An Ethernet address that nobody has.
const NOBODY: &str = "02:00:00:00:00:99";

/// Of the kernel's settings of neighbours: `ipv4` or `ipv6`.
pub(crate) fn sysctl_family() -> &'static str {
    if ipv6() { "ipv6" } else { "ipv4" }
}

fn ipv6() -> bool {
    SERVER.contains(':')
}

fn shown(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Tries for some seconds.
pub(crate) fn within(seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !done() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Sends something to its own port of a target every so often, and reports what comes of it.
struct Pinger {
    target: SocketAddr,
    how: Sending,
    endpoint: Option<EndpointId>,
    errors: Sender<IcmpError>,
}

impl Service for Pinger {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        self.endpoint = Some(cx.open_udp(7.into()).expect("the port is claimed"));
        self.timer(cx, 0);
    }

    fn timer(&mut self, cx: &mut impl Context, _: u64) {
        // Without a route there is an error, which is what some wait for.
        let _ = cx.send_with(self.endpoint.expect("open"), self.target, b"here I am", self.how);
        let _ = cx.set_timer(cx.now() + Duration::from_millis(20), 0);
    }

    fn icmp_error(&mut self, _: &mut impl Context, error: IcmpError) {
        let _ = self.errors.send(error);
    }
}

/// A pinger on the server side, from port 7 of the kernel's addresses, while `test` runs; what it counted then.
fn pinging(world: &World, target: SocketAddr, test: impl FnOnce(&Receiver<IcmpError>)) -> Report {
    let claims: [PortClaim; 1] = ["udp:7".parse().expect("a claim")];
    pinging_from(world, Launch::new().interface(INTERFACE).claims(&claims), target, Sending::default(), test)
}

/// The same with a claim of the test's own, and datagrams as it wants them.
pub(crate) fn pinging_from(
    world: &World,
    launch: Launch,
    target: SocketAddr,
    how: Sending,
    test: impl FnOnce(&Receiver<IcmpError>),
) -> Report {
    let (errors, received) = unbounded();
    let (ready, stop) = unbounded::<Stop>();
    thread::scope(|scope| {
        let running = scope.spawn(move || {
            world.server.inside(|| {
                let running = launch.open(Pinger { target, how, endpoint: None, errors }).expect("open");
                ready.send(running.stop()).expect("the test waits");
                running.run().expect("run").report
            })
        });
        let stop = stop.recv_timeout(Duration::from_secs(15)).expect("ready");
        let stopper = StopOnDrop(stop);
        test(&received);
        drop(stopper);
        running.join().expect("the engine")
    })
}

/// However the test ends, the engine does.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// A socket of the client's that waits for half a second.
fn listener(world: &World, address: &str, port: u16) -> UdpSocket {
    world.client.inside(|| {
        let socket = UdpSocket::bind((address, port)).expect("bind");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("set a timeout");
        socket
    })
}

pub(crate) fn hears(socket: &UdpSocket) -> bool {
    socket.recv(&mut [0; 64]).is_ok()
}

/// Until nothing has come for half a second.
fn falls_silent(socket: &UdpSocket) {
    within(5, "silence", || !hears(socket));
}

#[test]
fn mirror_neighbours_in_use_stay_reachable_without_being_asked() {
    let Some(world) = World::with_kernel_server() else { return };
    let set = |name: &str, value: &str| {
        let setting = format!("net.{}.neigh.{INTERFACE}.{name}={value}", sysctl_family());
        world.server.run("sysctl", &["-qw", &setting]);
    };
    set("delay_first_probe_time", "2");
    let server = Server::with(&world, CLAIM);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        // From now on the kernel cannot ask: it believes what it is told, or the neighbour fails.
        set("ucast_solicit", "0");
        set("mcast_solicit", "0");
        let state = || world.server.ip(&["neighbor", "show", CLIENT, "dev", INTERFACE]);
        within(10, "REACHABLE", || {
            exchange(&mut stream, b"talk");
            state().contains("REACHABLE")
        });
        end(stream);
    });
    let summary = server.stop();
    assert_eq!((summary.counter("arp_requests"), summary.counter("nd_solicitations")), (0, 0));
}

#[test]
fn mirror_follows_a_neighbour_that_is_replaced() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    let replace = |mac: &str| {
        world.server.ip(&["neighbor", "replace", CLIENT, "lladdr", mac, "dev", INTERFACE, "nud", "permanent"]);
    };
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        replace(NOBODY);
        thread::sleep(Duration::from_millis(1200));
        stream.set_read_timeout(Some(Duration::from_millis(700))).expect("set a timeout");
        stream.write_all(b"lost").expect("write");
        let mut back = [0; 4];
        let silence = stream.read(&mut back).expect_err("the answer goes to nobody");
        assert_eq!(silence.kind(), ErrorKind::WouldBlock);
        replace(&shown(world.client_mac()));
        patient(&stream);
        stream.read_exact(&mut back).expect("sent again");
        assert_eq!(&back, b"lost");
        end(stream);
    });
    server.stop();
}

#[test]
fn mirror_has_the_kernel_find_neighbours() {
    let Some(world) = World::with_kernel_server() else { return };
    let socket = listener(&world, CLIENT, 9);
    let target = SocketAddr::new(CLIENT.parse().expect("an address"), 9);
    let report = pinging(&world, target, |_| {
        within(5, "a datagram", || hears(&socket));
        let known = world.server.ip(&["neighbor", "show", CLIENT, "dev", INTERFACE]);
        assert!(known.contains("REACHABLE"), "{known}");
        // The kernel forgets it, is asked, and finds it again.
        world.server.ip(&["neighbor", "flush", "dev", INTERFACE]);
        within(5, "a datagram", || hears(&socket));
    });
    assert_eq!((report.counters.arp_requests, report.counters.nd_solicitations), (0, 0));
}

#[test]
fn mirror_follows_a_route_that_comes_and_goes() {
    let Some(world) = World::with_kernel_server() else { return };
    let (beyond, network) = if ipv6() { ("fd01::1", "fd01::/64") } else { ("192.0.2.1", "192.0.2.0/24") };
    let prefix = if ipv6() { 128 } else { 32 };
    own(&world.client, &format!("{beyond}/{prefix}"), "lo");
    let socket = listener(&world, beyond, 9);
    pinging(&world, SocketAddr::new(beyond.parse().expect("an address"), 9), |_| {
        assert!(!hears(&socket), "there is no route");
        world.server.ip(&["route", "add", network, "via", CLIENT]);
        within(5, "a datagram", || hears(&socket));
        world.server.ip(&["route", "del", network]);
        falls_silent(&socket);
        world.server.ip(&["route", "add", "default", "via", CLIENT]);
        within(5, "a datagram", || hears(&socket));
    });
}

#[test]
fn mirror_serves_addresses_that_come_and_lets_go_of_those_that_leave() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    let free = FREE_CIDR.split('/').next().expect("an address");
    let answers = |address: &str| {
        let target = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), 7);
        world.client.inside(|| {
            let Ok(mut stream) = TcpStream::connect_timeout(&target, Duration::from_millis(500)) else { return false };
            patient(&stream);
            exchange(&mut stream, b"hello");
            end(stream);
            true
        })
    };
    let held = |address: &str| {
        let name = SocketAddr::new(address.parse().expect("an address"), 7).to_string();
        world.server.run("ss", &["-H", "-lntu"]).lines().filter(|line| line.contains(&name)).count()
    };
    assert!(answers(SERVER));
    own(&world.server, FREE_CIDR, INTERFACE);
    within(5, "the new address is served", || held(free) == 2 && answers(free));
    world.server.ip(&["address", "del", SERVER_CIDR, "dev", INTERFACE]);
    within(5, "the old one is let go of", || held(SERVER) == 0);
    assert!(!answers(SERVER));
    // IPv4 takes the other address of the network along.
    world.server.ip(&["address", "replace", FREE_CIDR, "dev", INTERFACE]);
    within(5, "the other is served", || held(free) == 2 && answers(free));
    own(&world.server, SERVER_CIDR, INTERFACE);
    within(5, "both are served again", || answers(SERVER) && answers(free));
    let summary = server.stop();
    assert!(summary.log.contains(&format!("the kernel's address {SERVER_CIDR} is gone")), "{}", summary.log);
    assert!(summary.log.contains(&format!("the kernel has the address {FREE_CIDR}")), "{}", summary.log);
}

/// The link of the server side, down for a moment.
fn link_down_and_up(world: &World) {
    // Else the kernel loses its IPv6 addresses with the link, and resets what comes before their ports are held again.
    world.server.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.keep_addr_on_down=1")]);
    world.server.ip(&["link", "set", INTERFACE, "down"]);
    thread::sleep(Duration::from_millis(300));
    world.server.ip(&["link", "set", INTERFACE, "up"]);
}

#[test]
fn mirror_connections_outlive_a_link_that_goes_down_and_up() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"before");
        link_down_and_up(&world);
        exchange(&mut stream, b"after");
        end(stream);
    });
    assert_said_once(&server.stop().log);
}

#[test]
fn mirror_claimed_addresses_outlive_a_link_that_goes_down_and_up() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"before");
        link_down_and_up(&world);
        exchange(&mut stream, b"after");
        end(stream);
    });
    assert_said_once(&server.stop().log);
}

fn assert_said_once(log: &str) {
    for line in ["the link is down", "the link is up again"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[test]
fn mirror_follows_an_mtu_that_changes() {
    for (world, arguments) in [(World::with_kernel_server(), CLAIM), (World::new(), &["-a", SERVER_CIDR, "echo:7"][..])] {
        let Some(world) = world else { return };
        let server = Server::with(&world, arguments);
        world.client.inside(|| {
            let segment = |stream: &TcpStream| socket2::SockRef::from(stream).tcp_mss().expect("the MSS");
            let mut before = connect(7);
            let large = segment(&before);
            world.server.ip(&["link", "set", INTERFACE, "mtu", "1400"]);
            within(5, "a smaller MSS", || segment(&connect(7)) == large - 100);
            world.client.ip(&["link", "set", INTERFACE, "mtu", "1400"]);
            // What is larger than the link is not sent any more.
            exchange(&mut before, &[7; 100_000]);
            end(before);
        });
        let summary = server.stop();
        assert!(summary.log.contains("the MTU is 1400 now, and was 1500"), "{}", summary.log);
    }
}

#[test]
fn mirror_an_unreachable_port_is_told_to_the_service() {
    let Some(world) = World::with_kernel_server() else { return };
    let target = SocketAddr::new(CLIENT.parse().expect("an address"), 9);
    let report = pinging(&world, target, |errors| {
        let error = errors.recv_timeout(Duration::from_secs(5)).expect("port unreachable");
        assert_eq!(error.remote, target);
        assert_eq!((error.icmp_type, error.code), if ipv6() { (1, 4) } else { (3, 3) });
    });
    assert!(report.counters.copies > 0 && report.counters.icmp_errors_received > 0, "{:?}", report.counters);
}

/// Behind the client, which forwards, is a host whose link takes smaller packets than it says.
#[test]
fn mirror_a_narrower_link_on_the_way_makes_segments_smaller() {
    let Some(world) = World::with_kernel_server() else { return };
    let far = Netns::new("f");
    join((&world.client, "veth1"), (&far, INTERFACE));
    let (near_end, far_end, network, gateway) = match ipv6() {
        true => ("fd01::1/64", "fd01::2/64", "fd01::/64", "fd01::1"),
        false => ("10.1.0.1/24", "10.1.0.2/24", "10.1.0.0/24", "10.1.0.1"),
    };
    for (side, interface, address) in [(&world.client, "veth1", near_end), (&far, INTERFACE, far_end)] {
        family::quiet(side, interface);
        side.run("ethtool", &["-K", interface, "tx", "off"]);
        side.ip(&["link", "set", interface, "up"]);
        own(side, address, interface);
    }
    world.client.ip(&["link", "set", "veth1", "mtu", "1300"]);
    let forwarding = if ipv6() { "net.ipv6.conf.all.forwarding=1" } else { "net.ipv4.ip_forward=1" };
    world.client.run("sysctl", &["-qw", forwarding]);
    far.ip(&["route", "add", "default", "via", gateway]);
    world.server.ip(&["route", "add", network, "via", CLIENT]);
    let server = Server::with(&world, &["--claim", "tcp:19", "chargen/tcp:19"]);
    far.inside(|| {
        let mut stream = TcpStream::connect_timeout(&at(19), Duration::from_secs(5)).expect("connect");
        patient(&stream);
        stream.read_exact(&mut vec![0; 500_000]).expect("the stream goes on");
    });
    let summary = server.stop();
    assert!(summary.happened("path_mtu_reduced") > 0, "{}", summary.value());
    assert!(summary.counter("icmp_errors_received") > 0, "{}", summary.value());
    drop(far);
}

/// The station that is talked to gets another Ethernet address, and tells all of it once.
#[test]
fn mirror_hears_what_a_station_says_to_all() {
    let Some(world) = World::new() else { return };
    let notify = if ipv6() { "net.ipv6.conf.veth0.ndisc_notify=1" } else { "net.ipv4.conf.veth0.arp_notify=1" };
    world.client.run("sysctl", &["-qw", notify]);
    let socket = listener(&world, CLIENT, 9);
    let launch = Launch::new().interface(INTERFACE).address(SERVER_CIDR.parse().expect("an address"));
    let target = SocketAddr::new(CLIENT.parse().expect("an address"), 9);
    let report = pinging_from(&world, launch, target, Sending::default(), |_| {
        within(5, "a datagram", || hears(&socket));
        world.client.ip(&["link", "set", INTERFACE, "address", "02:00:00:00:00:77"]);
        // What was on its way before.
        socket.set_nonblocking(true).expect("no waiting");
        while hears(&socket) {}
        socket.set_nonblocking(false).expect("waiting");
        within(3, "a datagram to the new address", || hears(&socket));
    });
    assert!(report.counters.copies > 0, "{:?}", report.counters);
}

/// While the process stands still more happens than the socket of netlink holds.
#[test]
fn mirror_reads_everything_anew_after_an_overflow() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        server.signal(Signal::STOP);
        let folder = tempfile::tempdir().expect("a folder");
        let batch = folder.path().join("batch");
        let neighbor = |n: u32| {
            let ip = if ipv6() { format!("fd00::{:x}", n + 0x1000) } else { format!("10.0.0.{}", n % 200 + 50) };
            format!("neighbor replace {ip} lladdr 02:00:00:00:{:02x}:{:02x} dev {INTERFACE} nud permanent\n", n >> 8, n & 255)
        };
        let wrong = format!("neighbor replace {CLIENT} lladdr {NOBODY} dev {INTERFACE} nud permanent\n");
        std::fs::write(&batch, (0..3000).map(|n| neighbor(n % 500 + n / 500)).collect::<String>() + &wrong).expect("a file");
        world.server.ip(&["-batch", &batch.display().to_string()]);
        server.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(1500));
        stream.set_read_timeout(Some(Duration::from_millis(700))).expect("set a timeout");
        stream.write_all(b"lost").expect("write");
        assert!(stream.read(&mut [0; 4]).is_err(), "the answer goes to nobody");
        let right = shown(world.client_mac());
        world.server.ip(&["neighbor", "replace", CLIENT, "lladdr", &right, "dev", INTERFACE, "nud", "permanent"]);
        patient(&stream);
        stream.read_exact(&mut [0; 4]).expect("sent again");
        end(stream);
    });
    let summary = server.stop();
    assert!(summary.log.contains("reading everything anew"), "{}", summary.log);
}

#[test]
fn mirror_serves_the_link_local_address_too_and_copies_no_pings() {
    let Some(world) = World::with_kernel_server() else { return };
    let server = Server::with(&world, CLAIM);
    world.client.inside(|| {
        let socket = udp(7);
        socket.send(b"hello").expect("send");
        assert_eq!(socket.recv(&mut [0; 8]).expect("an answer"), 5);
    });
    let ready = server.ready["address"].as_str().unwrap_or_default().to_owned();
    let scoped = ready.split(',').find(|cidr| cidr.starts_with("fe80")).map(|cidr| cidr.split('/').next().unwrap_or(cidr));
    assert_eq!(scoped.is_some(), ipv6(), "{ready}");
    if let Some(scoped) = scoped {
        let text = world.client.run("timeout", &["10", "bash", "-c", &format!("echo hello | nc -N -w 5 {scoped}%{INTERFACE} 7")]);
        assert_eq!(text, "hello\n");
    }
    // The kernel answers pings and neighbours by itself: nothing of that is copied.
    ping(&world.client, 3, &[], SERVER);
    assert_eq!(server.stop().counter("copies"), 0);
}
