//! A router between: two hops both ways, what it says of packets that lived too long, and better ways that it knows, followed or not.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use ringway::launch::Launch;
use ringway::link::interface::PortClaim;
use ringway::service::Sending;
use ringway::settings::Settings;

use crate::client::{connect, echo_bulk, end, exchange, patient, server as at};
use crate::common::{Netns, join};
use crate::family::{self, ANY, FAR, FAR_CIDR, FAR_NETWORK, FAR_ROUTER, FAR_ROUTER_CIDR};
use crate::mirror::{hears, pinging_from, within};
use crate::server::Server;
use crate::world::{CLIENT, INTERFACE, SERVER, SERVER_CIDR, World, kernel_count, own, ping};

/// The router's interface towards the host behind it.
const BEYOND: &str = "far0";

/// The server's side, the client's side as a router, and a host behind it.
struct Routed {
    world: World,
    far: Netns,
}

impl Routed {
    /// With [`SERVER`] owned by the server's kernel, which knows the way too, if the claim is one of ports.
    fn new(claim: &Claim) -> Option<Self> {
        let world = if claim.of_ports { World::with_kernel_server() } else { World::new() }?;
        let far = Netns::new("f");
        let router = &world.client;
        join((router, BEYOND), (&far, BEYOND));
        for (side, address) in [(router, FAR_ROUTER_CIDR), (&far, FAR_CIDR)] {
            family::quiet(side, BEYOND);
            side.run("ethtool", &["-K", BEYOND, "tx", "off", "txvlan", "off"]);
            side.ip(&["link", "set", BEYOND, "up"]);
            own(side, address, BEYOND);
        }
        far.ip(&["route", "add", "default", "via", FAR_ROUTER]);
        // It forwards, and says all it has to say.
        let settings: &[&str] = if SERVER.contains(':') {
            &["net.ipv6.conf.all.forwarding=1", "net.ipv6.icmp.ratelimit=0"]
        } else {
            &["net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0", "net.ipv4.conf.all.send_redirects=1"]
        };
        router.run("sysctl", &[&["-qw"], settings].concat());
        if claim.of_ports {
            world.server.ip(&["route", "add", FAR_NETWORK, "via", CLIENT]);
        }
        Some(Self { world, far })
    }

    /// Port 9 of the host behind the router.
    fn listener(&self) -> UdpSocket {
        self.far.inside(|| {
            let socket = UdpSocket::bind((FAR, 9)).expect("bind");
            socket.set_read_timeout(Some(Duration::from_millis(500))).expect("set a timeout");
            socket
        })
    }

    /// The error that the router sends when a packet is at its end, as (type, code).
    fn time_exceeded() -> (u8, u8) {
        if SERVER.contains(':') { (3, 0) } else { (11, 0) }
    }
}

/// A way to be on the link, and to know the way to the host behind the router.
struct Claim {
    of_ports: bool,
    arguments: Vec<String>,
}

impl Claim {
    fn of_ports() -> Self {
        Self { of_ports: true, arguments: vec!["--claim".into(), "tcp:7,udp:7".into()] }
    }

    fn of_an_address(way: &[&str]) -> Self {
        let arguments = ["-a", SERVER_CIDR].iter().chain(way).map(|&word| word.into());
        Self { of_ports: false, arguments: arguments.collect() }
    }

    fn serve(&self, world: &World, more: &[&str]) -> Server {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Server::with(world, &[&arguments[..], &["echo:7"]].concat())
    }

    fn launch(&self) -> Launch {
        let launch = Launch::new().interface(INTERFACE);
        if self.of_ports {
            let claims: [PortClaim; 1] = ["udp:7".parse().expect("a claim")];
            return launch.claims(&claims);
        }
        launch.address(SERVER_CIDR.parse().expect("an address")).gateway(CLIENT.parse().expect("an address"))
    }
}

fn claims() -> [Claim; 2] {
    [Claim::of_an_address(&["--gateway", CLIENT]), Claim::of_ports()]
}

fn far_port() -> SocketAddr {
    SocketAddr::new(FAR.parse().expect("an address"), 9)
}

#[test]
fn a_host_behind_a_router_pings_connects_and_asks() {
    let route = format!("{FAR_NETWORK}={CLIENT}");
    let [by_gateway, of_ports] = claims();
    for claim in [by_gateway, Claim::of_an_address(&["--route", &route]), of_ports] {
        let Some(routed) = Routed::new(&claim) else { return };
        let server = claim.serve(&routed.world, &[]);
        routed.far.inside(|| {
            let stream = TcpStream::connect_timeout(&at(7), Duration::from_secs(5)).expect("connect");
            patient(&stream);
            let (sent, received) = echo_bulk(&stream, 4 << 20, 5);
            assert_eq!(sent, received);
            let socket = UdpSocket::bind((ANY, 0)).expect("bind");
            socket.connect(at(7)).expect("connect");
            socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set a timeout");
            for size in 0..200 {
                let (data, mut back) = (vec![size as u8; size * 7], [0; 2048]);
                socket.send(&data).expect("send");
                let len = socket.recv(&mut back).expect("an answer");
                assert!(back[..len] == data, "{size}");
            }
        });
        // Each hop takes one.
        let text = ping(&routed.far, 3, &[], SERVER);
        assert_eq!(text.matches(" ttl=63").count(), 3, "{text}");
        let summary = server.stop();
        assert_eq!(summary.counter("icmp_echo_replies"), if claim.of_ports { 0 } else { 3 });
        assert_eq!((summary.counter("tcp_closed"), summary.counter("udp_in_frame")), (1, 200));
        assert!(summary.neighbors() <= 1 || claim.of_ports, "only the router is on the link: {}", summary.value());
    }
}

/// As traceroute finds the hops: the router ends the first datagram's life, the host behind it gets the second.
#[test]
fn a_datagram_that_lives_for_one_hop_is_told_of_by_the_router() {
    for claim in claims() {
        let Some(routed) = Routed::new(&claim) else { return };
        let socket = routed.listener();
        let for_hops = |hops| Sending { hop_limit: Some(hops), ..Sending::default() };
        let report = pinging_from(&routed.world, claim.launch(), far_port(), for_hops(1), |errors| {
            let error = errors.recv_timeout(Duration::from_secs(5)).expect("time exceeded");
            assert_eq!((error.icmp_type, error.code), Routed::time_exceeded());
            assert_eq!((error.remote, error.mtu), (far_port(), None));
            assert!(!hears(&socket), "one hop is not enough");
        });
        assert!(report.counters.icmp_errors_received > 0, "{:?}", report.counters);
        assert_eq!(report.counters.copies > 0, claim.of_ports, "{:?}", report.counters);
        let report = pinging_from(&routed.world, claim.launch(), far_port(), for_hops(2), |errors| {
            within(5, "two are", || hears(&socket));
            assert!(errors.is_empty());
        });
        assert_eq!(report.counters.icmp_errors_received, 0);
    }
}

/// RFC 5927 4.1, RFC 1122 4.2.3.9: such errors are soft. What a router loses for a while is sent again.
#[test]
fn a_connection_outlives_segments_that_lived_too_long() {
    for claim in claims() {
        let Some(routed) = Routed::new(&claim) else { return };
        let router = &routed.world.client;
        let server = claim.serve(&routed.world, &[]);
        let limit = if SERVER.contains(':') { "ip6 hoplimit set 1" } else { "ip ttl set 1" };
        router.run("nft", &["add", "table", family::NFT, "short"]);
        let chain = "{ type filter hook prerouting priority -300; }";
        router.run("nft", &["add", "chain", family::NFT, "short", "lives", chain]);
        routed.far.inside(|| {
            let mut stream = TcpStream::connect_timeout(&at(7), Duration::from_secs(5)).expect("connect");
            patient(&stream);
            exchange(&mut stream, b"before");
            let rule = format!("add rule {} short lives iifname {INTERFACE} meta l4proto tcp {limit}", family::NFT);
            router.run("nft", &rule.split(' ').collect::<Vec<_>>());
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(600));
                    router.run("nft", &["delete", "table", family::NFT, "short"]);
                });
                exchange(&mut stream, b"meanwhile");
            });
            end(stream);
        });
        let summary = server.stop();
        assert!(summary.counter("icmp_errors_received") > 0, "{}", summary.value());
        assert_eq!((summary.counter("tcp_closed"), summary.counter("tcp_reset")), (1, 0), "{}", summary.value());
    }
}

/// With a time to live of one the router is reached, and nobody behind it; errors about a handshake do not end the others.
#[test]
fn a_handshake_that_lives_for_one_hop_reaches_the_router_alone() {
    let [claim, _] = claims();
    let Some(routed) = Routed::new(&claim) else { return };
    let server = claim.serve(&routed.world, &["--set", "tcp.ttl=1"]);
    routed.far.inside(|| {
        let silence = TcpStream::connect_timeout(&at(7), Duration::from_millis(300)).expect_err("no answer");
        assert_eq!(silence.kind(), ErrorKind::TimedOut);
    });
    routed.world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        end(stream);
    });
    let summary = server.stop();
    assert!(summary.counter("icmp_errors_received") > 0, "{}", summary.value());
}

/// The router believes that the host is on the link of the server, says so, and drops what it cannot deliver there. Then it knows better, and the
/// server, which never went the other way, is heard again.
#[test]
fn redirects_of_the_router_are_not_followed() {
    for claim in claims() {
        let Some(routed) = Routed::new(&claim) else { return };
        let router = &routed.world.client;
        let socket = routed.listener();
        let host: IpAddr = FAR.parse().expect("an address");
        let on_link = format!("{host}/{}", if host.is_ipv4() { 32 } else { 128 });
        router.ip(&["route", "add", &on_link, "dev", INTERFACE]);
        let sent = || kernel_count(router, if host.is_ipv4() { "IcmpOutRedirects" } else { "Icmp6OutRedirects" });
        let report = pinging_from(&routed.world, claim.launch(), far_port(), Sending::default(), |_| {
            within(5, "a redirect", || sent() > 0);
            assert!(!hears(&socket), "the host is not there");
            router.ip(&["route", "del", &on_link]);
            within(5, "a datagram by the router", || hears(&socket));
        });
        let cause = if host.is_ipv4() { "icmp_ignored" } else { "nd_redirect" };
        let ignored = report.drops.get(cause).copied().unwrap_or(0);
        // In a port claim redirects are the kernel's.
        assert_eq!(ignored > 0, !claim.of_ports, "{:?}", report.drops);
        if !claim.of_ports {
            assert_eq!(report.neighbors, 1, "nobody but the router was looked for: {:?}", report.counters);
        }
    }
}

/// The router sends what is for the host behind it to another router on the link, says so, and is that other one itself by proxy.
#[test]
fn redirects_of_the_router_are_followed_where_that_is_allowed() {
    let [claim, _] = claims();
    let Some(routed) = Routed::new(&claim) else { return };
    let router = &routed.world.client;
    let socket = routed.listener();
    let ipv6 = FAR.contains(':');
    // A router names itself and others by link-local addresses (RFC 4861 8.1).
    let (gateway, better) = if ipv6 { (link_local(router), "fe80::99") } else { (CLIENT.to_owned(), "10.0.0.99") };
    if ipv6 {
        router.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.proxy_ndp=1")]);
    }
    router.ip(&["neighbor", "add", "proxy", better, "dev", INTERFACE]);
    let host = format!("{FAR}/{}", if ipv6 { 128 } else { 32 });
    let way = ["route", "add", &host, "via", better, "dev", INTERFACE];
    for allowed in [true, false] {
        router.ip(&way);
        let mut settings = Settings::default();
        settings.set(if allowed { "address.redirects=on" } else { "address.redirects=off" }).expect("a setting");
        let launch = Launch::new().interface(INTERFACE).address(SERVER_CIDR.parse().expect("an address"));
        let launch = launch.gateway(gateway.parse().expect("an address")).settings(settings);
        let sent = || kernel_count(router, if ipv6 { "Icmp6OutRedirects" } else { "IcmpOutRedirects" });
        let before = sent();
        let report = pinging_from(&routed.world, launch, far_port(), Sending::default(), |_| {
            within(5, "a redirect", || sent() > before);
            router.ip(&["route", "del", &host]);
            within(5, "a datagram behind the router", || hears(&socket));
            thread::sleep(Duration::from_millis(300));
        });
        assert_eq!(report.counters.redirects_followed > 0, allowed, "{:?}", report.counters);
        assert_eq!(report.neighbors, if allowed { 2 } else { 1 }, "{:?}", report.counters);
    }
}

fn link_local(netns: &Netns) -> String {
    let text = netns.ip(&["-6", "address", "show", "dev", INTERFACE, "scope", "link"]);
    let cidr = text.split_whitespace().find(|word| word.starts_with("fe80::")).expect("a link-local address");
    cidr.split('/').next().unwrap_or(cidr).to_owned()
}
