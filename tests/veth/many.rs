//! Multicast and broadcast between Ringway and the kernel, in both directions and over both families.

use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringway::launch::Launch;
use ringway::link::groups::Group;
use ringway::service::{Answer, CallError, Context, Datagram, EndpointId, Sending, Service};
use ringway::settings::Settings;

use crate::common::Netns;
use crate::server::{Server, ringway};
use crate::world::{CLIENT, INTERFACE, SERVER_CIDR, World, own};

/// Sends a datagram from an address to a group or a broadcast address: source, target, port, interface.
const SEND: &str = r#"
import socket, sys
source, target, port, interface = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
six = ":" in target
sender = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
index = socket.if_nametoindex(interface)
if six:
    sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sender.bind((source, 4000, 0, index if source.startswith("fe80") else 0))
    sender.sendto(b"to many", (target, port, 0, index))
else:
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    sender.bind((source, 4000))
    sender.sendto(b"to many", (target, port))
"#;

fn send(world: &World, source: &str, target: &str, port: u16) {
    world.client.run("timeout", &["10", "python3", "-c", SEND, source, target, &port.to_string(), INTERFACE]);
}

/// Joins a group at port 6000, says so, and prints TTL, source and payload of what arrives, so many times.
const RECEIVE: &str = r#"
import socket, struct, sys
group, interface, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
index = socket.if_nametoindex(interface)
six = ":" in group
if six:
    listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index))
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    listener.bind(("::", 6000))
else:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if group != "255.255.255.255":
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=II", 0, index))
    listener.setsockopt(socket.IPPROTO_IP, 12, 1) # IP_RECVTTL
    listener.bind(("", 6000))
listener.settimeout(10)
print("ready", flush=True)
for _ in range(count):
    payload, ancillary, _, sender = listener.recvmsg(2048, 256)
    ttl = struct.unpack("@i", ancillary[0][2])[0]
    print(ttl, sender[0].split("%")[0], sender[1], payload.decode(), flush=True)
"#;

fn receiver(netns: &Netns, group: &str, count: usize) -> Child {
    let arguments = ["20", "python3", "-u", "-c", RECEIVE, group, INTERFACE, &count.to_string()];
    let mut child = netns.command("timeout").args(arguments).stdout(Stdio::piped()).spawn().expect("ip starts");
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut line).expect("it is ready");
    assert_eq!(&line, b"ready\n");
    child
}

fn lines(child: Child) -> Vec<String> {
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

fn memberships(netns: &Netns) -> String {
    netns.ip(&["maddress", "show", "dev", INTERFACE])
}

/// The same as [`World::new`] with IPv6 at both ends: fd00::1 at the client's.
fn world_of_both() -> Option<World> {
    let world = World::new()?;
    for side in [&world.client, &world.server] {
        side.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.accept_dad=0")]);
        side.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.disable_ipv6=0")]);
    }
    own(&world.client, "fd00::1/64", INTERFACE);
    Some(world)
}

/// Gives the engine time to take what was sent.
fn settle() {
    thread::sleep(Duration::from_millis(200));
}

#[test]
fn a_group_is_joined_while_it_is_served_and_its_datagrams_arrive() {
    let Some(world) = world_of_both() else { return };
    let groups = ["discard/udp@239.1.2.3:5000", "discard/udp@[ff02::1234]:5000", "echo:7"];
    let server = Server::with(&world, &[&["-a", SERVER_CIDR, "-a", "fd00::2/64"], &groups[..]].concat());
    assert_eq!(server.ready["group"], "239.1.2.3:5000,[ff02::1234]:5000");
    let joined = memberships(&world.server);
    assert!(joined.contains("239.1.2.3") && joined.contains("ff02::1234") && joined.contains("01:00:5e:01:02:03"), "{joined}");
    send(&world, CLIENT, "239.1.2.3", 5000);
    send(&world, "fd00::1", "ff02::1234", 5000);
    // To another port, and to another group: the kernel's.
    send(&world, CLIENT, "239.1.2.3", 5001);
    send(&world, CLIENT, "239.1.2.4", 5000);
    settle();
    let summary = server.stop();
    assert_eq!((summary.counter("udp_received"), summary.counter("udp_consumed"), summary.steered("steered_group")), (2, 2, 2));
    let left = memberships(&world.server);
    assert!(!left.contains("239.1.2.3") && !left.contains("ff02::1234"), "{left}");
}

#[test]
fn a_killed_process_has_left_its_groups() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "discard/udp@239.1.2.3:5000"]);
    assert!(memberships(&world.server).contains("239.1.2.3"));
    server.kill();
    assert!(!memberships(&world.server).contains("239.1.2.3"), "{}", memberships(&world.server));
    world.assert_untouched();
}

/// The groups at which neighbours ask for an address: in the kernel's list and, which is what a NIC filters by, as Ethernet addresses.
#[test]
fn the_groups_at_which_our_addresses_are_asked_for_are_joined_as_long_as_we_run() {
    let Some(world) = world_of_both() else { return };
    let groups = ["ff02::1:ff01:2345", "33:33:ff:01:23:45", "ff02::1:ff77:6789", "33:33:ff:77:67:89"];
    let joined = || {
        let listed = memberships(&world.server);
        groups.iter().filter(|group| listed.contains(**group)).count()
    };
    let server = Server::with(&world, &["-a", "fd00::1:2345/64", "-a", "fe80::77:6789/64", "echo:7"]);
    assert_eq!(joined(), groups.len(), "{}", memberships(&world.server));
    server.stop();
    assert_eq!(joined(), 0, "{}", memberships(&world.server));
    let server = Server::with(&world, &["-a", "fd00::1:2345/64", "-a", "fe80::77:6789/64", "echo:7"]);
    assert_eq!(joined(), groups.len());
    server.kill();
    assert_eq!(joined(), 0, "{}", memberships(&world.server));
}

#[test]
fn only_the_named_sources_are_heard() {
    let Some(world) = world_of_both() else { return };
    own(&world.client, "10.0.0.9/24", INTERFACE);
    own(&world.client, "fd00::9/64", INTERFACE);
    let groups = ["discard/udp@232.1.2.3:5000,source=10.0.0.1", "discard/udp@[ff32::1234]:5000,source=fd00::1"];
    let server = Server::with(&world, &[&["-a", SERVER_CIDR, "-a", "fd00::2/64"], &groups[..]].concat());
    // The kernel asks for these sources alone: its own filters say so.
    let filters = world.server.run("cat", &["/proc/net/mcfilter", "/proc/net/mcfilter6"]).replace("0x", "");
    assert!(filters.contains("e8010203") && filters.contains("0a000001"), "{filters}");
    for (source, group) in
        [(CLIENT, "232.1.2.3"), ("10.0.0.9", "232.1.2.3"), ("fd00::1", "ff32::1234"), ("fd00::9", "ff32::1234")]
    {
        send(&world, source, group, 5000);
    }
    settle();
    let summary = server.stop();
    assert_eq!((summary.counter("udp_received"), summary.dropped("group_source")), (2, 2));
}

#[test]
fn broadcasts_arrive_when_they_are_claimed() {
    let Some(world) = World::new() else { return };
    let groups = ["discard/udp@255.255.255.255:5000", "discard/udp@10.0.0.255:5000"];
    let server = Server::with(&world, &[&["-a", SERVER_CIDR], &groups[..]].concat());
    for to in ["255.255.255.255", "10.0.0.255"] {
        send(&world, CLIENT, to, 5000);
        send(&world, CLIENT, to, 5001);
    }
    settle();
    let summary = server.stop();
    assert_eq!((summary.counter("udp_received"), summary.steered("steered_group")), (2, 2));
}

#[test]
fn a_group_that_cannot_be_taken_says_why() {
    let Some(world) = World::new() else { return };
    for (service, why) in [
        ("discard/udp@232.1.2.3:5000", "its senders have to be named"),
        ("discard/tcp@239.1.2.3:5000", "a group is sent datagrams"),
        ("discard/udp@10.0.9.255:5000", "not among the addresses of -a"),
    ] {
        let (code, _, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "-a", SERVER_CIDR, service]);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(why), "{log}");
    }
    world.assert_untouched();
}

/// Sends to groups when it is told to, and answers what comes.
struct Speaker(Option<EndpointId>);

impl Service for Speaker {
    type Message = Vec<(SocketAddr, Sending)>;

    fn start(&mut self, cx: &mut impl Context) {
        self.0 = cx.open_udp(5000.into()).ok();
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        Answer::Reply { len: datagram.payload().len() }
    }

    fn message(&mut self, cx: &mut impl Context, wanted: Self::Message) {
        let endpoint = self.0.expect("the port is free");
        for (to, how) in wanted {
            cx.send_with(endpoint, to, b"spoken", how).unwrap_or_else(|error: CallError| panic!("{to}: {error}"));
        }
    }
}

#[test]
fn kernels_hear_what_is_sent_to_groups_and_are_answered_from_our_address() {
    let Some(world) = world_of_both() else { return };
    let four = receiver(&world.client, "239.9.9.9", 2);
    let (messages, from_main) = mpsc::channel();
    let name = world.server.name.clone();
    let engine = thread::spawn(move || {
        crate::common::enter(&name);
        let mut settings = Settings::default();
        settings.set("address.probes=0").expect("a setting");
        let launch = Launch::new().settings(settings).interface(INTERFACE).group(Group::new("239.1.2.3".parse().unwrap(), 5000));
        let addresses = [SERVER_CIDR, "fd00::2/64", "fe80::2/64"].map(|text| text.parse().unwrap());
        let launch = addresses.into_iter().fold(launch, Launch::address);
        let running = launch.open(Speaker(None)).expect("it opens");
        messages.send((running.engine().mailbox(), running.stop())).expect("main waits");
        running.run().expect("it runs")
    });
    let (mailbox, stop) = from_main.recv().expect("it is ready");
    let far = Sending { hop_limit: Some(7), ..Sending::default() };
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    mailbox.send(vec![(to("239.9.9.9:6000"), Sending::default()), (to("239.9.9.9:6000"), far)]).expect("room");
    assert_eq!(lines(four), ["1 10.0.0.2 5000 spoken", "7 10.0.0.2 5000 spoken"]);
    let six = receiver(&world.client, "ff02::9:9", 1);
    mailbox.send(vec![(to("[ff02::9:9]:6000"), Sending::default())]).expect("room");
    assert_eq!(lines(six), ["1 fe80::2 5000 spoken"]);
    let everybody = receiver(&world.client, "255.255.255.255", 1);
    mailbox.send(vec![(to("255.255.255.255:6000"), Sending::default())]).expect("room");
    assert_eq!(lines(everybody), ["64 10.0.0.2 5000 spoken"]);
    world.client.run("timeout", &["10", "python3", "-c", ASK]);
    stop.ask();
    let finished = engine.join().expect("it ends");
    assert_eq!((finished.report.counters.udp_sent, finished.report.counters.udp_received), (4, 1));
}

/// Asks a group, and hears the answer from the address of one host.
const ASK: &str = r#"
import socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.0.0.1"))
client.settimeout(5)
client.sendto(b"who is there?", ("239.1.2.3", 5000))
assert client.recvfrom(64) == (b"who is there?", ("10.0.0.2", 5000))
"#;
