//! A path narrower than its link: a router between, beyond which only 1300 bytes pass, and which says so or does not.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{echo_bulk, patient};
use crate::common::{Netns, join};
use crate::server::{RINGWAY, Server};
use crate::world::{INTERFACE, World, own, usual_queues};

/// What passes, in bytes.
const NARROW: usize = 1300;
const SERVERS: [&str; 2] = ["10.0.0.2", "fd00::2"];
const FAR: [&str; 2] = ["10.0.9.2", "fd09::2"];
const GATEWAYS: [&str; 2] = ["10.0.0.1", "fd00::1"];

/// The server's side, the router, and a host behind it that believes its own link to be as wide as any.
struct Narrow {
    world: World,
    far: Netns,
}

impl Narrow {
    fn new() -> Option<Self> {
        let world = World::new()?;
        let far = Netns::new("f");
        let router = &world.client;
        router.run(
            "sysctl",
            &["-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1"],
        );
        // One error for each packet that is too big.
        router.run("sysctl", &["-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]);
        let end = format!("far0 mtu {NARROW}");
        join((router, &end), (&far, &end));
        own(router, "fd00::1/64", INTERFACE);
        for (side, last) in [(router, 1), (&far, 2)] {
            side.ip(&["link", "set", "far0", "up"]);
            own(side, &format!("10.0.9.{last}/24"), "far0");
            own(side, &format!("fd09::{last}/64"), "far0");
        }
        // Otherwise the peer's own MSS would keep segments small.
        far.ip(&["route", "add", "default", "via", "10.0.9.1", "advmss", "1460"]);
        far.ip(&["-6", "route", "add", "default", "via", "fd09::1", "advmss", "1440"]);
        Some(Self { world, far })
    }

    /// From now on the router drops in silence.
    fn silence(&self) {
        let router = &self.world.client;
        router.run("nft", &["add", "table", "inet", "hole"]);
        router.run("nft", &["add", "chain", "inet", "hole", "out", "{ type filter hook output priority 0; }"]);
        for kind in ["icmp type destination-unreachable drop", "icmpv6 type packet-too-big drop"] {
            let rule = format!("add rule inet hole out {kind}");
            router.run("nft", &rule.split(' ').collect::<Vec<_>>());
        }
    }

    fn serve(&self) -> Server {
        let [first, second] = GATEWAYS;
        let addresses = ["-a", "10.0.0.2/24", "-a", "fd00::2/64", "--gateway", first, "--gateway", second, "echo:7"];
        Server::with(&self.world, &addresses)
    }

    /// The same on addresses of the server's kernel, which knows the ways.
    fn serve_claimed_ports(&self) -> Server {
        let server = &self.world.server;
        server.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=0"]);
        own(server, "10.0.0.2/24", INTERFACE);
        own(server, "fd00::2/64", INTERFACE);
        for (family, gateway) in ["-4", "-6"].iter().zip(GATEWAYS) {
            server.ip(&[family, "route", "add", "default", "via", gateway]);
        }
        Server::with(&self.world, &["--claim", "tcp:7,udp:7", "echo:7"])
    }

    /// A stream both ways at once between the far host and the server.
    fn bulk(&self, server: &str, len: usize) {
        let target = at(server);
        self.far.inside(|| {
            let stream = TcpStream::connect_timeout(&target, Duration::from_secs(5)).expect("connect");
            patient(&stream);
            let (sent, received) = echo_bulk(&stream, len, 9);
            assert_eq!(sent, received, "{target}");
        });
    }

    /// `discover_mtu` on the server's side, towards an echo of the far host. What it found.
    fn discover(&self, family: usize) -> usize {
        let far: IpAddr = FAR[family].parse().expect("an address");
        let example = Path::new(RINGWAY).with_file_name("examples").join("discover_mtu");
        assert!(example.exists(), "{} is not built: cargo build --examples", example.display());
        let example = example.to_str().expect("UTF-8");
        let (cidr, target) = (["10.0.0.2/24", "fd00::2/64"][family], SocketAddr::new(far, 7).to_string());
        let socket = self.far.inside(|| UdpSocket::bind((far, 7)).expect("bind"));
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
        let said = thread::scope(|scope| {
            let run = scope.spawn(|| self.world.server.run(example, &[INTERFACE, cidr, &target, GATEWAYS[family]]));
            let mut room = vec![0; 2048];
            while !run.is_finished() {
                if let Ok((len, from)) = socket.recv_from(&mut room) {
                    let _ = socket.send_to(&room[..len], from);
                }
            }
            run.join().expect("the example")
        });
        let found = said.split(' ').next().and_then(|word| word.parse().ok());
        found.unwrap_or_else(|| panic!("it found nothing: {said}"))
    }
}

fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), 7)
}

#[test]
fn streams_follow_what_the_router_says() {
    let Some(narrow) = Narrow::new() else { return };
    let server = narrow.serve();
    for address in SERVERS {
        narrow.bulk(address, 8 << 20);
        narrow.bulk(address, 1 << 20);
    }
    let summary = server.stop();
    // The second connection to a host knows, if it is at the same worker.
    let learned = 2..=2 * u64::from(usual_queues());
    let told = (summary.happened("path_mtu_reduced"), summary.counter("path_mtus_learned"));
    assert!(learned.contains(&told.0) && learned.contains(&told.1), "{told:?} {}", summary.value());
    assert_eq!(summary.happened("path_mtu_black_hole"), 0);
    assert_eq!(summary.counter("tcp_closed"), 4);
}

#[test]
fn datagrams_follow_what_the_router_says() {
    let Some(narrow) = Narrow::new() else { return };
    let server = narrow.serve();
    for address in SERVERS {
        let target = at(address);
        narrow.far.inside(|| {
            let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
            let socket = UdpSocket::bind((any, 0)).expect("bind");
            socket.connect(target).expect("connect");
            socket.set_read_timeout(Some(Duration::from_millis(300))).expect("set a timeout");
            let data: Vec<u8> = (0..1400_u32).map(|n| (n * 7) as u8).collect();
            let mut back = vec![0; 2048];
            let mut ask = || {
                socket.send(&data).expect("send");
                socket.recv(&mut back).is_ok_and(|len| back[..len] == data)
            };
            // The first answer is lost to the error that teaches the server; the router may have to find the hosts before.
            assert!(!ask() && (0..20).any(|_| ask()), "{target}");
            assert!((0..20).all(|_| ask()), "{target}");
        });
    }
    let summary = server.stop();
    // Each worker hears the errors.
    assert_eq!(summary.counter("path_mtus_learned"), 2 * u64::from(usual_queues()), "{}", summary.value());
    assert!(summary.counter("ip_fragmented") >= 40, "{}", summary.value());
}

#[test]
fn streams_get_through_a_black_hole() {
    let Some(narrow) = Narrow::new() else { return };
    narrow.silence();
    let server = narrow.serve();
    for address in SERVERS {
        let start = Instant::now();
        narrow.bulk(address, 48 << 20);
        assert!(start.elapsed() < Duration::from_secs(60), "{address}: {:?}", start.elapsed());
    }
    let summary = server.stop();
    assert_eq!((summary.happened("path_mtu_reduced"), summary.counter("icmp_errors_received")), (0, 0));
    assert!(summary.happened("path_mtu_black_hole") >= 2, "{}", summary.value());
    assert!(summary.happened("path_mtu_raised") >= 1 && summary.happened("path_mtu_probe_lost") >= 1, "{}", summary.value());
    assert_eq!(summary.counter("tcp_closed"), 2);
}

#[test]
fn streams_of_claimed_ports_get_through_a_black_hole() {
    let Some(narrow) = Narrow::new() else { return };
    narrow.silence();
    let server = narrow.serve_claimed_ports();
    for address in SERVERS {
        let start = Instant::now();
        narrow.bulk(address, 4 << 20);
        assert!(start.elapsed() < Duration::from_secs(60), "{address}: {:?}", start.elapsed());
    }
    let summary = server.stop();
    assert_eq!((summary.happened("path_mtu_reduced"), summary.counter("icmp_errors_received")), (0, 0));
    assert!(summary.happened("path_mtu_black_hole") >= 2, "{}", summary.value());
    assert_eq!(summary.counter("tcp_closed"), 2);
}

#[test]
fn a_service_finds_the_path_mtu_of_datagrams() {
    let Some(narrow) = Narrow::new() else { return };
    for family in [0, 1] {
        assert_eq!(narrow.discover(family), NARROW, "{}", FAR[family]);
    }
    narrow.silence();
    let found = narrow.discover(0);
    assert!((NARROW - 3..=NARROW).contains(&found), "{found}");
}
