//! Router advertisements that are followed, by Ringway and by the kernel behind it, on the same link.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use ringway::launch::Launch;
use ringway::service::Sending;
use ringway::settings::Settings;

use crate::common::{Netns, join};
use crate::mirror::{pinging_from, within};
use crate::world::{INTERFACE, World, own};

const PREFIX: &str = "2001:db8:1:";
const FAR: &str = "2001:db8:9::2";

/// A router on the client's side of the link, and a host behind it.
fn with_router() -> Option<(World, Netns)> {
    let world = World::new()?;
    let far = Netns::new("f");
    world.client.run("sysctl", &["-qw", "net.ipv6.conf.all.forwarding=1"]);
    own(&world.client, "2001:db8:1::1/64", INTERFACE);
    join((&world.client, "far0"), (&far, "far0"));
    for (side, last) in [(&world.client, 1), (&far, 2)] {
        side.ip(&["link", "set", "far0", "up"]);
        own(side, &format!("2001:db8:9::{last}/64"), "far0");
    }
    far.ip(&["-6", "route", "add", "default", "via", "2001:db8:9::1"]);
    Some((world, far))
}

/// Advertises a router for so many seconds, and a prefix on the link for so many, to make addresses of.
fn advertise(world: &World, lifetime: u16, valid: u32) {
    let (lifetime, valid) = (lifetime.to_string(), valid.to_string());
    world.client.run("timeout", &["20", "python3", "-c", ADVERTISE, INTERFACE, &lifetime, &valid]);
}

/// With a lifetime of the router, only once somebody has asked for routers.
const ADVERTISE: &str = r#"
import socket, struct, sys
name, lifetime, valid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86dd))
wire.bind((name, 0x86dd))
mac = wire.getsockname()[4]
while lifetime:
    frame, sender = wire.recvfrom(2048)
    # From one end of the pair to the other: not what this side sends itself.
    if sender[2] != socket.PACKET_OUTGOING and frame[20] == 58 and frame[54] == 133:
        assert frame[21] == 255 and frame[58:64] == bytes([0, 0, 0, 0, 1, 1]), frame.hex()
        break
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(name))
prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:1::")
router.sendto(
    struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0)
    + struct.pack("!BB", 1, 1) + mac
    + struct.pack("!BBHI", 5, 1, 0, 1400)
    + struct.pack("!BBBBIII", 3, 4, 64, 0xc0, valid, valid, 0) + prefix,
    ("ff02::1%" + name, 0),
)
"#;

fn pings(from: &Netns, target: &str) -> bool {
    let status = from.command("ping").args(["-c", "1", "-W", "1", target]).output().expect("ping starts");
    status.status.success()
}

/// The kernel's address of the prefix, on the server's side.
fn kernels(world: &World) -> Option<String> {
    let text = world.server.ip(&["-6", "address", "show", "dev", INTERFACE, "scope", "global"]);
    text.split_whitespace().find(|word| word.starts_with(PREFIX)).and_then(|cidr| cidr.split('/').next()).map(str::to_owned)
}

fn kernel_has_router(world: &World) -> bool {
    world.server.ip(&["-6", "route", "show", "default"]).contains("via fe80::")
}

#[test]
fn ringway_and_the_kernel_follow_the_same_router() {
    let Some((world, far)) = with_router() else { return };
    world.server.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.accept_ra=1")]);
    let heard = far.inside(|| UdpSocket::bind((FAR, 9)).expect("bind"));
    heard.set_read_timeout(Some(Duration::from_millis(500))).expect("set a timeout");
    // What comes from now on: what has come before waits in the socket.
    let hears = || {
        heard.set_nonblocking(true).expect("set nonblocking");
        while heard.recv(&mut [0; 64]).is_ok() {}
        heard.set_nonblocking(false).expect("set blocking");
        heard.recv_from(&mut [0; 64]).ok().map(|(_, from)| from)
    };
    let mut settings = Settings::default();
    settings.set("address.probes=1").expect("a setting");
    let launch = Launch::new().interface(INTERFACE).address("fd00::2/64".parse().expect("an address"));
    let launch = launch.router_advertisements(true).settings(settings);
    let target: SocketAddr = (FAR.parse::<IpAddr>().expect("an address"), 9).into();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| advertise(&world, 1800, 15));
        let report = pinging_from(&world, launch, target, Sending::default(), |_| {
            first.join().expect("a router was asked for, and has answered");
            // From the address of the prefix, by way of the router: no other leads there.
            let mut own = None;
            within(5, "datagrams behind the router, from the prefix", || {
                own = hears().filter(|from| from.ip().to_string().starts_with(PREFIX));
                own.is_some()
            });
            let own = own.expect("heard").ip().to_string();
            let kernels_own = kernels(&world).expect("the kernel has an address of the prefix");
            assert_ne!(own, kernels_own);
            assert!(kernel_has_router(&world));
            for address in [&own, &kernels_own] {
                within(3, address, || pings(&world.client, address));
                assert!(pings(&far, address), "{address} from behind the router");
            }
            // The router is none any more, and the network is not on the link; an address lasts until its own end (RFC 4862 5.5.3 e).
            advertise(&world, 0, 0);
            within(5, "silence", || hears().is_none());
            within(3, "no route of the kernel's", || !kernel_has_router(&world));
            assert!(pings(&world.client, &own), "{own} is still valid");
            within(20, "the end of both addresses", || !pings(&world.client, &own) && kernels(&world).is_none());
            assert!(pings(&world.client, "fd00::2"), "what was claimed stays");
        });
        assert!(report.counters.udp_sent > 0 && !report.drops.contains_key("nd_malformed"), "{report:?}");
    });
    world.assert_untouched();
}

#[test]
fn advertisements_are_not_followed_unasked() {
    let Some((world, _far)) = with_router() else { return };
    let launch = Launch::new().interface(INTERFACE).address("fd00::2/64".parse().expect("an address"));
    let mut settings = Settings::default();
    settings.set("address.probes=0").expect("a setting");
    let target: SocketAddr = (FAR.parse::<IpAddr>().expect("an address"), 9).into();
    let report = pinging_from(&world, launch.settings(settings), target, Sending::default(), |_| advertise_unasked(&world));
    assert_eq!(report.counters.udp_sent, 0, "there is no route");
}

fn advertise_unasked(world: &World) {
    let script = ADVERTISE.replace("while lifetime:", "while False:");
    world.client.run("timeout", &["20", "python3", "-c", &script, INTERFACE, "1800", "600"]);
    std::thread::sleep(Duration::from_millis(500));
}
