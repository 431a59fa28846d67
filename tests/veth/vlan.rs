//! VLANs against the kernel: tagged clients reach what is claimed in their VLAN, and everything else stays with the kernel.
//!
//! The kernel here may lack its VLAN interfaces, so a client's is a veth pair, between whose far end and the wire a helper puts the tags in and takes
//! them out, as a switch does at an access port.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::client::{self, echo_bulk, exchange};
use crate::common::{Netns, join};
use crate::environment::refused;
use crate::frame::{Builder, Injector};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, own, ping};

/// A world in which tags are in the packets.
fn world() -> Option<World> {
    let world = World::new()?;
    let offloads = ["rxvlan", "txvlan", "rx-vlan-stag-hw-parse", "tx-vlan-stag-hw-insert"];
    for side in [&world.server, &world.client] {
        side.run("ethtool", &[&["-K", INTERFACE][..], &offloads.map(|name| [name, "off"]).concat()].concat());
    }
    Some(world)
}

/// An access port: what the kernel sends on the interface goes out with these tags, and what comes with them reaches it.
struct Access {
    helper: Child,
}

impl Access {
    fn new(netns: &Netns, interface: &str, tags: &str, addresses: &[&str]) -> Self {
        let port = format!("{interface}p");
        let mtu = match (tags.len(), tags.starts_with("8100")) {
            (8, true) => "1500",
            (8, false) => "1496",
            _ => "1492",
        };
        join((netns, interface), (netns, &port));
        for end in [interface, &port] {
            netns.run("sysctl", &["-qw", &format!("net.ipv6.conf.{end}.disable_ipv6={}", u8::from(end == port))]);
            netns.run("sysctl", &["-qw", &format!("net.ipv6.conf.{end}.accept_dad=0")]);
            netns.run("ethtool", &["-K", end, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
            // An AF_PACKET socket takes one tag of 802.1Q beyond the MTU; any other is at the packet's cost.
            netns.ip(&["link", "set", end, "mtu", mtu, "up"]);
        }
        for address in addresses {
            own(netns, address, interface);
        }
        let mut command = netns.command("python3");
        let helper = command.args(["-c", ACCESS, INTERFACE, &port, tags]).stdout(Stdio::piped()).spawn();
        let mut helper = helper.expect("ip starts");
        let mut line = String::new();
        BufReader::new(helper.stdout.take().expect("piped")).read_line(&mut line).expect("the helper speaks");
        assert_eq!(line, "ready\n");
        Self { helper }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

/// Moves frames between the wire and an access port. The kernel takes the outer tag out before an AF_PACKET socket sees the frame, and says it in
/// `struct tpacket_auxdata`.
const ACCESS: &str = r#"
import select, socket, struct, sys
wire, port = (socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(2))
wire.bind((sys.argv[1], 0))
port.bind((sys.argv[2], 0))
tags = bytes.fromhex(sys.argv[3])
wire.setsockopt(263, 8, 1)
for end in (wire, port):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUFFORCE if hasattr(socket, "SO_RCVBUFFORCE") else 33, 8 << 20)
print("ready", flush=True)
def send(end, frame):
    for attempt in range(100):
        try:
            return end.send(frame)
        except OSError as error:
            if error.errno != 105:
                return
            select.select([], [], [], 0.001)
while True:
    for end in select.select([wire, port], [], [])[0]:
        frame, extra, _, source = end.recvmsg(65536, 256)
        if source[2] == 4:
            continue
        if end is port:
            send(wire, frame[:12] + tags + frame[12:])
            continue
        found = b""
        for level, kind, data in extra:
            status, _, _, _, _, tci, kind = struct.unpack("=IIIHHHH", data[:20])
            if status & 0x10:
                found = struct.pack("!HH", kind if status & 0x40 else 0x8100, tci)
        if (found + frame[12:])[:len(tags)] == tags and len(found) == 4 and (found + frame[12:])[len(tags):][:2] not in (b"\x81\0", b"\x88\xa8"):
            send(port, frame[:12] + (found + frame[12:])[len(tags):])
"#;

const VLANS: [(&str, &str, &str, u8); 3] =
    [("c100", "81000064", "100", 1), ("s7", "88a80007", "s7", 2), ("qinq", "88a80064810000c8", "100.200", 3)];

fn talk(address: IpAddr) {
    let at = SocketAddr::new(address, 7);
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5)).unwrap_or_else(|error| panic!("{at}: {error}"));
    client::patient(&stream);
    exchange(&mut stream, b"tagged");
    let (sent, received) = echo_bulk(&stream, 1 << 20, 5);
    assert_eq!(sent, received, "{at}");
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("bind");
    socket.connect(at).expect("connect");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set a timeout");
    for size in [0, 1, 1400] {
        let data = vec![size as u8; size];
        socket.send(&data).expect("send");
        let mut back = [0; 2048];
        assert_eq!(socket.recv(&mut back).unwrap_or_else(|error| panic!("{at}, {size} bytes: {error}")), size);
    }
}

#[test]
fn tagged_clients_talk_to_the_addresses_of_their_vlan() {
    let Some(world) = world() else { return };
    let claims = VLANS.map(|(_, _, vlan, n)| [format!("10.{n}.0.2/24@{vlan}"), format!("fd0{n}::2/64@{vlan}")]).concat();
    let mut arguments = vec!["-a", SERVER_CIDR];
    claims.iter().for_each(|claim| arguments.extend(["-a", claim]));
    let server = Server::with(&world, &[&arguments[..], &["echo:7"]].concat());
    let shown = server.ready["address"].as_str().expect("addresses").to_owned();
    assert!(claims.iter().all(|claim| shown.contains(claim.as_str())), "{shown}");
    let setting = "net.ipv6.conf.all.disable_ipv6=0";
    world.client.run("sysctl", &["-qw", setting]);
    let accesses = VLANS
        .map(|(name, tags, _, n)| Access::new(&world.client, name, tags, &[&format!("10.{n}.0.1/24"), &format!("fd0{n}::1/64")]));
    for (_, _, _, n) in VLANS {
        for address in [format!("10.{n}.0.2"), format!("fd0{n}::2")] {
            for size in ["56", "1400"] {
                ping(&world.client, 3, &["-s", size], &address);
            }
            world.client.inside(|| talk(address.parse().expect("an address")));
        }
    }
    world.client.inside(|| talk(SERVER.parse().expect("an address")));
    drop(accesses);
    let summary = server.stop();
    assert_eq!((summary.counter("icmp_echo_replies"), summary.counter("tcp_closed")), (36, 7));
    assert_eq!(summary.dropped("vlan_unclaimed"), 0);
    world.assert_untouched();
}

#[test]
fn frames_of_other_vlans_stay_with_the_kernel() {
    let Some(world) = world() else { return };
    let seen = |count: &str| {
        let text = world.server.run("nft", &["list", "table", "netdev", "seen"]);
        assert!(text.contains(&format!("counter packets {count} ")), "{text}");
    };
    world.server.run("nft", &["add table netdev seen"]);
    let chain = format!("{{ type filter hook ingress device {INTERFACE} priority 0; }}");
    world.server.run("nft", &[&format!("add chain netdev seen frames {chain}")]);
    world.server.run("nft", &["add rule netdev seen frames counter"]);
    let server = Server::with(&world, &["-a", &format!("{SERVER_CIDR}@100"), "echo:7"]);
    let build = Builder::new(&world);
    let datagram = build.udp(40_000, 7, b"tagged");
    let tagged = |tags: &[u8]| [&datagram[..12], tags, &datagram[12..]].concat();
    let mut wire = Injector::new(&world);
    wire.send(&tagged(&[0x81, 0, 0x60, 100]));
    for others in [
        &[][..],
        &[0x81, 0, 0, 101],
        &[0x88, 0xa8, 0, 100],
        &[0x88, 0xa8, 0, 100, 0x81, 0, 0, 100],
        &[0x81, 0, 0, 100, 0x81, 0, 0, 100],
    ] {
        wire.send(&tagged(others));
    }
    wire.finish();
    seen("5");
    let summary = server.stop();
    assert_eq!(summary.counter("udp_in_frame"), 1);
    assert_eq!(summary.value()["steering"]["claimed_vlan"], 5, "{}", summary.value());
    world.assert_untouched();
}

/// The kernel takes the tag off a frame of a VLAN that it has no interface for, and shows it to whoever listens for its EtherType.
#[test]
fn copies_are_not_of_other_vlans() {
    let Some(world) = world() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let address = [10, 0, 0, 77];
    let mac = world.client_mac();
    let announcement = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &mac, &address, &[0; 6], &address].concat();
    let mut wire = Injector::new(&world);
    for tags in [&[][..], &[0x81, 0, 0, 9], &[0x88, 0xa8, 0, 9], &[0x81, 0, 0, 9, 0x81, 0, 0, 9]] {
        wire.send(&[&[0xff; 6][..], &mac, tags, &[8, 6], &announcement].concat());
    }
    wire.finish();
    let summary = server.stop();
    assert_eq!(summary.counter("copies"), 1, "{}", summary.value());
}

#[test]
fn an_offload_that_hides_tags_is_refused() {
    let Some(world) = world() else { return };
    let tagged = |vlan: &str| format!("{SERVER_CIDR}@{vlan}");
    for (vlan, switch, feature, peer) in [
        ("100", "rxvlan", "rx-vlan-hw-parse", "txvlan off"),
        ("100.200", "rx-vlan-stag-hw-parse", "rx-vlan-stag-hw-parse", "tx-vlan-stag-hw-insert off"),
    ] {
        world.server.run("ethtool", &["-K", INTERFACE, switch, "on"]);
        let mend = format!("ethtool -K {INTERFACE} {switch} off");
        let words = ["VLAN", feature, &mend, peer];
        refused(&world, &["-i", INTERFACE, "-a", &tagged(vlan), "echo:7"], 3, &words);
        world.server.run("ethtool", &["-K", INTERFACE, switch, "off"]);
    }
    for bad in ["4095", "100.200.300", "x", ""] {
        refused(&world, &["-i", INTERFACE, "-a", &tagged(bad), "echo:7"], 2, &["VLAN", "@100"]);
    }
}
