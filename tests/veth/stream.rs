//! RTP from one to many, and the books of who listens, against kernel sockets in both directions and over both families.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::line::Line;
use crate::server::{RINGWAY, Server, Summary, ringway};
use crate::world::{CLIENT, INTERFACE, SERVER_CIDR, World, own};

/// A world with IPv6 at both ends: fd00::1 is the client's.
fn world_of_both() -> Option<World> {
    let world = World::new()?;
    for side in [&world.client, &world.server] {
        side.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.accept_dad=0")]);
        side.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.disable_ipv6=0")]);
    }
    own(&world.client, "fd00::1/64", INTERFACE);
    Some(world)
}

/// Joins a group (or takes a broadcast or unicast address), says so, and prints TTL, sender and the RTP fields of what arrives.
const RECEIVE: &str = r#"
import socket, struct, sys
group, port, interface, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
index = socket.if_nametoindex(interface)
six = ":" in group
listener = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
if six:
    if group.startswith("ff"):
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index))
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    listener.bind(("::", port))
else:
    if 224 <= int(group.split(".")[0]) < 240:
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=II", 0, index))
    listener.setsockopt(socket.IPPROTO_IP, 12, 1) # IP_RECVTTL
    listener.bind(("", port))
listener.settimeout(10)
print("ready", flush=True)
for _ in range(count):
    packet, ancillary, _, sender = listener.recvmsg(9000, 256)
    ttl = struct.unpack("@i", ancillary[0][2])[0]
    first, second, sequence, timestamp, ssrc = struct.unpack(">BBHII", packet[:12])
    print(ttl, sender[0].split("%")[0], sender[1], first, second, sequence, timestamp, "0x%08x" % ssrc, packet[12:].hex() or "-", flush=True)
"#;

/// A packet as the kernel's receiver saw it.
#[derive(Debug)]
struct Seen {
    ttl: u8,
    from: (String, u16),
    first: u8,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: String,
    payload: String,
}

impl Seen {
    fn of(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().expect("a number");
        Self {
            ttl: number(0) as u8,
            from: (words[1].to_owned(), number(2) as u16),
            first: number(3) as u8,
            payload_type: number(4) as u8,
            sequence: number(5) as u16,
            timestamp: number(6),
            ssrc: words[7].to_owned(),
            payload: words[8].to_owned(),
        }
    }
}

fn receiver(world: &World, group: &str, port: u16, count: usize) -> Child {
    let (port, count) = (port.to_string(), count.to_string());
    let mut command = world.client.command("timeout");
    let mut child = command
        .args(["20", "python3", "-u", "-c", RECEIVE, group, &port, INTERFACE, &count])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ip starts");
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut line).expect("it is ready");
    child
}

fn seen(child: Child) -> Vec<Seen> {
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(Seen::of).collect()
}

fn stream<'a>(summary: &'a Summary, target: &str) -> &'a Value {
    let all = summary.value()["streams"].as_array().expect("a list");
    all.iter().find(|one| one["stream"] == target).unwrap_or_else(|| panic!("no {target} in {all:?}"))
}

#[test]
fn stream_kernels_hear_one_to_many_over_both_families() {
    let Some(world) = world_of_both() else { return };
    for (target, from, service, ttl) in [
        ("239.1.2.3", "10.0.0.2", "stream/udp:5004,rate=200,size=20,count=40,clock=8K=239.1.2.3", 1),
        ("ff05::1234", "fd00::2", "stream/udp:5004,rate=200,size=20,count=40,clock=8K,ttl=9=ff05::1234", 9),
        ("10.0.0.255", "10.0.0.2", "stream/udp:5004,rate=200,size=20,count=40,clock=8K=10.0.0.255", 64),
        ("255.255.255.255", "10.0.0.2", "stream/udp:5004,rate=200,size=20,count=40,clock=8K=255.255.255.255", 64),
        ("10.0.0.1", "10.0.0.2", "stream/udp:5004,rate=200,size=20,count=40,clock=8K=10.0.0.1", 64),
        ("fd00::1", "fd00::2", "stream/udp:5004,rate=200,size=20,count=40,clock=8K=fd00::1", 64),
    ] {
        let receiver = receiver(&world, target, 5004, 40);
        let server = Server::with(&world, &["-a", SERVER_CIDR, "-a", "fd00::2/64", service]);
        let seen = seen(receiver);
        let summary = server.stop();
        assert_eq!(seen.len(), 40, "{target}: {}", summary.value());
        let first = &seen[0];
        for (n, packet) in seen.iter().enumerate() {
            assert_eq!((packet.ttl, packet.from.0.as_str(), packet.from.1), (ttl, from, 5004), "{packet:?}");
            assert_eq!((packet.first, packet.payload_type, &packet.ssrc), (0x80, 96, &first.ssrc));
            assert_eq!(packet.sequence, first.sequence.wrapping_add(n as u16));
            assert_eq!(packet.timestamp, first.timestamp.wrapping_add(n as u32 * 40));
        }
        // The characters of chargen go on from packet to packet.
        assert!(first.payload.starts_with("2122232425") && seen[1].payload.starts_with("35363738"), "{first:?}");
        let report = stream(&summary, &std::net::SocketAddr::new(target.parse().expect("an address"), 5004).to_string());
        assert_eq!((&report["sent"], &report["payload_bytes"]), (&40.into(), &800.into()));
        assert_eq!((&report["ssrc"], &report["skipped"], &report["unsent"]), (&first.ssrc.as_str().into(), &0.into(), &0.into()));
    }
}

#[test]
fn stream_keeps_its_pace_sends_a_file_and_is_heard_by_its_own_process() {
    let Some(world) = World::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sound");
    std::fs::write(&file, b"twelve bytes").expect("write");
    let service = format!("stream@10.0.0.2:5004,rate=100,size=8,count=100,loop=on,file={}=239.1.2.3:6000", file.display());
    let receiver = receiver(&world, "239.1.2.3", 6000, 100);
    let start = std::time::Instant::now();
    let server = Server::with(&world, &["-a", SERVER_CIDR, &service, "discard/udp@239.1.2.3:6000"]);
    let seen = seen(receiver);
    let took = start.elapsed();
    let summary = server.stop();
    assert!(took >= Duration::from_millis(990), "a hundred packets take {took:?}");
    let payloads: Vec<_> = seen.iter().take(3).map(|packet| packet.payload.as_str()).collect();
    // In pieces of eight, and from the start again: "twelve b", "ytes".
    assert_eq!(payloads, ["7477656c76652062", "79746573", "7477656c76652062"]);
    assert_eq!(seen.len(), 100);
    assert_eq!((summary.counter("udp_sent"), summary.counter("udp_received"), summary.counter("udp_consumed")), (100, 100, 100));
}

#[test]
fn stream_leaves_from_a_claimed_port_of_the_kernels_address() {
    let Some(world) = World::with_kernel_server() else { return };
    let receiver = receiver(&world, "239.1.2.3", 5004, 10);
    let server = Server::with(&world, &["--claim", "udp:5004", "stream:5004,count=10,rate=100=239.1.2.3"]);
    let seen = seen(receiver);
    let summary = server.stop();
    assert_eq!(seen.len(), 10, "{}", summary.value());
    assert_eq!((seen[0].from.0.as_str(), seen[0].from.1), ("10.0.0.2", 5004));
}

#[test]
fn stream_to_nobody_is_counted() {
    let Some(world) = World::new() else { return };
    let services = ["stream:5004,rate=100,size=2000,count=5=239.1.2.3", "stream:5006,rate=100,count=5=192.0.2.1"];
    let server = Server::with(&world, &[&["-a", SERVER_CIDR], &services[..]].concat());
    std::thread::sleep(Duration::from_millis(300));
    let summary = server.stop();
    for target in ["239.1.2.3:5004", "192.0.2.1:5006"] {
        let report = stream(&summary, target);
        assert_eq!((&report["sent"], &report["unsent"]), (&0.into(), &5.into()), "{report}");
    }
    assert!(
        summary.log.contains("larger than the link or the path carries") && summary.log.contains("no route"),
        "{}",
        summary.log
    );
}

/// Sends RTP from a kernel socket: each argument is a sequence number, the timestamp follows from it; `x` is no RTP, `r` is RTCP.
const SEND: &str = r#"
import socket, struct, sys, time
source, target, port, interface, ssrc = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
six = ":" in target
index = socket.if_nametoindex(interface)
sender = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
if six:
    sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sender.bind((source, 4000))
    to = (target, port, 0, index)
else:
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    sender.bind((source, 4000))
    to = (target, port)
for word in sys.argv[6].split(","):
    if word == "x":
        packet = b"no RTP"
    else:
        sequence = 0 if word == "r" else int(word)
        packet = struct.pack(">BBHII", 0x80, 200 if word == "r" else 0, sequence % 65536, sequence * 80 % 2**32, ssrc) + b"voice"
    sender.sendto(packet, to)
    time.sleep(0.01)
"#;

fn send(world: &World, source: &str, target: &str, ssrc: u32, words: &str) {
    let arguments = ["20", "python3", "-c", SEND, source, target, "5004", INTERFACE, &ssrc.to_string(), words];
    world.client.run("timeout", &arguments);
}

/// Sixty packets from 65500 on, across the wrap; 65510 to 65512 are lost, 65520 comes behind 65522, 5 comes twice.
fn faulty() -> String {
    let mut numbers: Vec<u32> = (65_500..65_560).filter(|n| !(65_510..=65_512).contains(n) && *n != 65_520).collect();
    let at = numbers.iter().position(|n| *n == 65_523).expect("it is there");
    numbers.insert(at, 65_520);
    let again = numbers.iter().position(|n| *n == 65_541).expect("it is there");
    numbers.insert(again + 3, 65_541);
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// What has to be said of them: the first packet makes nothing but probation.
fn assert_faulty(source: &Value, from: &str) {
    let expected = [
        ("packets", 58),
        ("probation", 2),
        ("expected", 59),
        ("received", 57),
        ("lost", 2),
        ("fraction_lost", 8),
        ("missing", 3),
        ("reordered", 1),
        ("duplicates", 1),
        ("out_of_range", 0),
        ("restarts", 0),
        ("extended_max", 65_559),
        ("clock_hz", 8000),
        ("payload_bytes", 58 * 5),
    ];
    for (name, value) in expected {
        assert_eq!(source[name], value, "{name} in {source}");
    }
    assert_eq!((&source["from"], &source["valid"]), (&from.into(), &true.into()));
    // Ten milliseconds apart in sending and in timestamps, but for what was lost, came late or twice.
    let jitter = source["jitter_ms"].as_f64().expect("a time");
    assert!(jitter > 0.0 && jitter < 50.0, "{source}");
}

fn listener(world: &World, arguments: &[&str]) -> Server {
    let mut command = world.server.command(RINGWAY);
    Server::spawn(command.args(["listen", "--json", "-i", INTERFACE]).args(arguments))
}

#[test]
fn listen_reckons_what_a_kernel_sends_over_both_families() {
    let Some(world) = world_of_both() else { return };
    let own = ["--set", "address.probes=0", "-a", SERVER_CIDR, "-a", "fd00::2/64"];
    for (source, target, place) in [
        (CLIENT, "239.1.2.3", "239.1.2.3:5004"),
        ("fd00::1", "ff05::1234", "[ff05::1234]:5004"),
        (CLIENT, "10.0.0.2", ":5004"),
        ("fd00::1", "fd00::2", "[fd00::2]:5004"),
        (CLIENT, "10.0.0.255", "10.0.0.255:5004"),
    ] {
        let listener = listener(&world, &[&own[..], &[place]].concat());
        assert_eq!(listener.ready["listening"], place);
        send(&world, source, target, 0xc0ffee, &faulty());
        send(&world, source, target, 7, "x,r,1,2,3,5,30000,30001");
        std::thread::sleep(Duration::from_millis(100));
        let summary = listener.stop();
        let (heard, sources) = (&summary.value()["heard"], &summary.value()["sources"]);
        assert_eq!(sources.as_array().map(Vec::len), Some(2), "{sources}");
        let from = std::net::SocketAddr::new(source.parse().expect("an address"), 4000).to_string();
        assert_eq!((&sources[0]["source"], &sources[1]["source"]), (&"0x00000007".into(), &"0x00c0ffee".into()));
        assert_faulty(&sources[1], &from);
        assert_eq!(
            (&sources[0]["restarts"], &sources[0]["missing"], &sources[0]["out_of_range"]),
            (&1.into(), &1.into(), &1.into())
        );
        assert_eq!((&heard["rtp"], &heard["rtcp"], &heard["short"]), (&64.into(), &1.into(), &1.into()), "{heard}");
    }
}

#[test]
fn listen_over_a_kernel_socket_says_the_same() {
    let Some(world) = world_of_both() else { return };
    own(&world.server, SERVER_CIDR, INTERFACE);
    own(&world.server, "fd00::2/64", INTERFACE);
    for (source, target, place) in
        [(CLIENT, "239.1.2.3", "239.1.2.3:5004"), ("fd00::1", "ff02::1234", "[ff02::1234]:5004"), (CLIENT, "10.0.0.2", ":5004")]
    {
        let mut command = world.server.command(RINGWAY);
        command.args(["listen", "--stack", "kernel", "-i", INTERFACE, "--json", "--count", "58", "-t", "15s", place]);
        let listening = command.stdout(Stdio::piped()).spawn().expect("ip starts");
        std::thread::sleep(Duration::from_millis(500));
        send(&world, source, target, 0xc0ffee, &faulty());
        let output = listening.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let summary: Value = serde_json::from_str(text.lines().last().expect("a summary")).expect("JSON");
        let from = std::net::SocketAddr::new(source.parse().expect("an address"), 4000).to_string();
        assert_faulty(&summary["sources"][0], &from);
    }
}

#[test]
fn listen_hears_ringway_and_ends_by_itself() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "stream:5004,rate=100=239.1.2.3"]);
    world.client.ip(&["address", "del", "10.0.0.1/24", "dev", INTERFACE]);
    let listen = ["listen", "-i", INTERFACE, "--set", "address.probes=0", "-a", "10.0.0.1/24", "239.1.2.3:5004"];
    let (code, text, log) = ringway(&world.client, &[&listen[..], &["--count", "150", "--interval=500ms"]].concat());
    assert_eq!(code, Some(0), "{log}");
    assert!(text.starts_with("ready interface=veth0") && text.contains("listening=239.1.2.3:5004"), "{text}");
    assert!(
        text.contains("heard  lost     0  0.0 %  late    0") && text.contains("packets 150") && text.contains("jitter_ms"),
        "{text}"
    );
    let wide: Vec<_> = text.lines().filter(|line| line.starts_with("  ") && line.len() > 80).collect();
    assert!(wide.iter().all(|line| line.contains("s  0x")), "{wide:?}");
    let (_, json, _) = ringway(&world.client, &[&listen[..], &["--json", "--count", "100"]].concat());
    let summary: Value = serde_json::from_str(json.lines().last().expect("a summary")).expect("JSON");
    let source = &summary["sources"][0];
    assert_eq!((&source["expected"], &source["lost"], &source["packets"]), (&99.into(), &0.into(), &100.into()), "{source}");
    let summary = server.stop();
    assert!(stream(&summary, "239.1.2.3:5004")["sent"].as_u64() >= Some(250), "{}", summary.value());
}

#[test]
fn listen_finds_what_a_bad_cable_did() {
    let Some(line) = Line::new() else { return };
    let cable = line.cable("--delay 5ms --loss 5% --dup 5% --reorder 5% --only a-to-b --seed 7");
    let mut command = line.world.client.command(RINGWAY);
    command.args(["listen", "--stack", "kernel", "-i", INTERFACE, "--json", "-t", "4s", "239.1.2.3:5004"]);
    let listening = command.stdout(Stdio::piped()).spawn().expect("ip starts");
    std::thread::sleep(Duration::from_millis(500));
    let server = Server::with(&line.world, &["-a", SERVER_CIDR, "stream:5004,rate=200,count=400=239.1.2.3"]);
    let output = listening.wait_with_output().expect("it ends");
    let sent = stream(&server.stop(), "239.1.2.3:5004")["sent"].as_u64().expect("a count");
    let carried = cable.stop();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let summary: Value = serde_json::from_str(text.lines().last().expect("a summary")).expect("JSON");
    let source = &summary["sources"][0];
    let of = |name: &str| source[name].as_u64().expect("a count");
    let did = |name: &str| carried.count("a-to-b", name);
    // Beside the stream some announcements of the address are on the cable, and what is lost at the ends of a stream nobody can miss.
    let about = |more: u64, fewer: u64, what: &str| {
        assert!(fewer <= more && more - fewer <= 4, "{what}: {more} {fewer} {source} {}", carried.value())
    };
    assert_eq!(sent, 400);
    about(did("sent"), of("packets"), "what left the cable was heard");
    about(did("lost"), of("missing"), "lost");
    about(did("duplicated"), of("duplicates"), "twice");
    assert!(of("reordered") > 0 && of("missing") > 5 && of("duplicates") > 5, "{source}");
    assert_eq!(source["lost"].as_i64(), Some(of("expected") as i64 - of("received") as i64));
}

#[test]
fn listen_that_hears_nothing_has_failed_and_what_it_cannot_do_has_a_reason() {
    let Some(world) = World::new() else { return };
    let own = ["listen", "-i", INTERFACE, "--set", "address.probes=0", "-a", SERVER_CIDR];
    for (arguments, code, why) in [
        (&["-t", "200ms", "239.1.2.3:5004"][..], 1, "no packet of RTP came"),
        (&["10.0.0.9:5004"], 2, "10.0.0.9 is not among the addresses of -a"),
        (&["232.1.2.3:5004"], 2, "its senders have to be named"),
    ] {
        let (found, _, log) = ringway(&world.server, &[&own[..], arguments].concat());
        assert_eq!(found, Some(code), "{log}");
        assert!(log.contains(why), "{log}");
    }
    let kernel = ["listen", "--stack", "kernel"];
    for (arguments, code, why) in [
        (&["239.1.2.3:5004"][..], 2, "try: -i eth0"),
        (&["-a", SERVER_CIDR, ":5004"], 2, "cannot use --address with --stack kernel"),
        (&["10.9.9.9:5004"], 3, "try: ip -br address"),
        (&["-t", "200ms", "-i", INTERFACE, ":5004"], 1, "no packet of RTP came"),
    ] {
        let (found, _, log) = ringway(&world.server, &[&kernel[..], arguments].concat());
        assert_eq!(found, Some(code), "{log}");
        assert!(log.contains(why), "{log}");
    }
}
