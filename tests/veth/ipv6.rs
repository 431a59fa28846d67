//! What IPv6 alone has: extension headers, link-local addresses, duplicates that the kernel looks for, Packet Too Big.

use std::net::{SocketAddrV6, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{end, exchange, patient};
use crate::frame::{Builder, IP, TRANSPORT};
use crate::server::{RINGWAY, Server, ringway, run_to_end};
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, ping};

const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const NOTHING: u8 = 59;
const DESTINATION: u8 = 60;
const UNKNOWN: u8 = 132;

/// What is expected of a packet with extension headers.
#[derive(Debug)]
enum Answer {
    /// Its datagram is answered.
    Datagram,
    /// It is dropped without a word, for this cause.
    Silence(&'static str),
    /// A Parameter Problem with a code and a pointer; the packet is dropped for this cause.
    Problem(u8, u32, &'static str),
}

/// A header with one option, or with 4 other bytes behind `kind` and `len`.
const fn header(next: u8, kind: u8, len: u8) -> [u8; 8] {
    [next, 0, kind, len, 0, 0, 0, 0]
}

//= type=test
//= rfc8200#4.2
//# 10 - discard the packet and, regardless of whether or not the
//# packet's Destination Address was a multicast address, send an
//# ICMP Parameter Problem, Code 2, message to the packet's
//# Source Address, pointing to the unrecognized Option Type.
//= type=test
//= rfc8200#4.4
//# If Segments Left is non-zero, the node must discard the packet and
//# send an ICMP Parameter Problem, Code 0, message to the packet's
//# Source Address, pointing to the unrecognized Routing Type.
#[test]
fn extension_headers_are_passed_over_or_refused_and_the_kernel_hears_why() {
    use Answer::{Datagram, Problem, Silence};
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let build = Builder::new(&world);
    let datagram = build.udp(40_000, 7, b"datagram")[TRANSPORT..].to_vec();
    let (pad, skipped) = (1, 0x1e);
    let cases = [
        (HOP_BY_HOP, header(UDP, skipped, 4), Datagram),
        (DESTINATION, header(UDP, skipped, 4), Datagram),
        (ROUTING, header(UDP, 0, 0), Datagram),
        (FRAGMENT, header(UDP, 0, 0), Datagram),
        (HOP_BY_HOP, header(UDP, 0x5e, 4), Silence("ipv6_option_unknown")),
        (HOP_BY_HOP, header(UDP, 0x9e, 4), Problem(2, 42, "ipv6_option_unknown")),
        (DESTINATION, header(UDP, 0xde, 4), Problem(2, 42, "ipv6_option_unknown")),
        (ROUTING, header(UDP, 0, 1), Problem(0, 42, "ipv6_routing_refused")),
        (DESTINATION, header(HOP_BY_HOP, pad, 4), Problem(1, 40, "ipv6_extension_misplaced")),
        (NOTHING, header(UDP, pad, 4), Silence("ipv6_no_next_header")),
        (UNKNOWN, header(UDP, pad, 4), Problem(1, 6, "protocol_unknown")),
        (DESTINATION, header(UNKNOWN, pad, 4), Problem(1, 40, "protocol_unknown")),
    ];
    let frames: Vec<_> = cases.iter().map(|(first, header, _)| build.ip(*first, &[&header[..], &datagram].concat())).collect();
    let errors = provoked(&world, &frames);
    let summary = server.stop();
    for (((first, header, answer), frame), error) in cases.iter().zip(&frames).zip(&errors) {
        match (answer, error) {
            (Datagram | Silence(_), None) => {}
            (Problem(code, pointer, _), Some(error)) => {
                assert_eq!((error[0], error[1]), (4, *code), "{first} {header:?}: {error:02x?}");
                assert_eq!(error[4..8], pointer.to_be_bytes(), "{first} {header:?}");
                assert_eq!(error[8..], frame[IP..], "what it is about is quoted");
            }
            _ => panic!("{first} {header:?}: {error:02x?} instead of {answer:?}"),
        }
        if let Silence(cause) | Problem(_, _, cause) = answer {
            let expected = cases.iter().filter(|case| matches!(case.2, Silence(of) | Problem(_, _, of) if of == *cause)).count();
            assert_eq!(summary.dropped(cause), expected as u64, "{cause}");
        }
    }
    assert_eq!((summary.counter("udp_received"), summary.counter("icmp_errors_sent")), (4, 6));
}

/// The ICMPv6 error that the client's kernel receives for each frame, if any.
fn provoked(world: &World, frames: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
    let shown: Vec<String> = frames.iter().map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    let mut arguments = vec!["30", "python3", "-c", PROVOKE, INTERFACE];
    arguments.extend(shown.iter().map(String::as_str));
    let text = world.client.run("timeout", &arguments);
    let bytes = |line: &str| (0..line.len() / 2).map(|n| u8::from_str_radix(&line[2 * n..][..2], 16).expect("hex")).collect();
    text.lines().map(|line| (line != "-").then(|| bytes(line))).collect()
}

const PROVOKE: &str = r#"
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0))
heard = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
heard.settimeout(0.3)
for frame in sys.argv[2:]:
    wire.send(bytes.fromhex(frame))
    answer = "-"
    try:
        while answer == "-":
            message = heard.recv(2048)
            if message[0] < 128:
                answer = message.hex()
    except TimeoutError:
        pass
    print(answer)
"#;

#[test]
fn the_kernel_finds_that_the_address_is_taken() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.run("sysctl", &["-qw", &format!("net.ipv6.conf.{INTERFACE}.accept_dad=1")]);
    world.client.ip(&["address", "add", SERVER_CIDR, "dev", INTERFACE]);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let addresses = world.client.ip(&["address", "show", "dev", INTERFACE]);
        if addresses.lines().any(|line| line.contains(SERVER_CIDR) && line.contains("dadfailed")) {
            break;
        }
        assert!(Instant::now() < deadline, "{addresses}");
        thread::sleep(Duration::from_millis(50));
    }
    server.stop();
}

/// The kernel is asking for the address when Ringway begins to (RFC 4862 5.4.3): who hears the other first leaves it, and never both have it.
#[test]
fn an_address_that_the_kernel_wants_at_the_same_time_is_not_had_by_both() {
    let Some(world) = World::new() else { return };
    for setting in ["conf.veth0.accept_dad=1", "conf.veth0.dad_transmits=60", "neigh.veth0.retrans_time_ms=100"] {
        world.client.run("sysctl", &["-qw", &format!("net.ipv6.{setting}")]);
    }
    world.client.ip(&["address", "add", SERVER_CIDR, "dev", INTERFACE]);
    let mut command = world.server.command("timeout");
    command.args(["--preserve-status", "4", RINGWAY, "serve", "-i", INTERFACE, "-a", SERVER_CIDR, "echo:7"]);
    let (code, out, log) = run_to_end(command);
    let addresses = world.client.ip(&["address", "show", "dev", INTERFACE]);
    let kernel = addresses.lines().find(|line| line.contains(SERVER_CIDR)).expect("the kernel's address");
    match code {
        Some(0) => assert!(out.contains("ready") && kernel.contains("dadfailed"), "{kernel}: {log}"),
        Some(3) => {
            assert!(out.is_empty() && log.contains(&format!("cannot claim the address {SERVER} on {INTERFACE}")), "{out}{log}");
        }
        other => panic!("{other:?}: {out}{log}"),
    }
    world.assert_untouched();
}

#[test]
fn the_link_local_address_answers_too() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let shown = server.ready["address"].as_str().expect("addresses").to_owned();
    let own = shown.split(',').find(|cidr| cidr.starts_with("fe80::")).and_then(|cidr| cidr.strip_suffix("/64"));
    let own = own.unwrap_or_else(|| panic!("no link-local address in {shown}"));
    ping(&world.client, 3, &[], &format!("{own}%{INTERFACE}"));
    let index = world.client.run("cat", &[&format!("/sys/class/net/{INTERFACE}/ifindex")]);
    let target = SocketAddrV6::new(own.parse().expect("an address"), 7, 0, index.trim().parse().expect("a number"));
    world.client.inside(|| {
        let mut stream = TcpStream::connect(target).expect("connect");
        patient(&stream);
        exchange(&mut stream, b"on this link");
        end(stream);
    });
    assert_eq!(server.stop().counter("tcp_closed"), 1);
}

/// Larger segments do not come through, as behind a narrower link; what says so is a Packet Too Big about a segment that was really sent.
#[test]
fn packet_too_big_makes_segments_smaller() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let chain = format!("{{ type filter hook ingress device {INTERFACE} priority 0; }}");
    world.client.run("nft", &["add", "table", "netdev", "narrow"]);
    world.client.run("nft", &["add", "chain", "netdev", "narrow", "link", &chain]);
    let rule: Vec<_> = "add rule netdev narrow link meta l4proto tcp meta length > 1300 drop".split(' ').collect();
    world.client.run("nft", &rule);
    world.client.run("timeout", &["20", "python3", "-c", TOO_BIG, INTERFACE, SERVER]);
    let summary = server.stop();
    assert!(summary.happened("path_mtu_reduced") > 0, "{}", summary.value());
    assert!(summary.counter("icmp_errors_received") > 0, "{}", summary.value());
}

const TOO_BIG: &str = r#"
import socket, struct, sys
# Sockets for all protocols see what the rule drops.
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((sys.argv[1], 3))
wire.settimeout(5)
client = socket.create_connection((sys.argv[2], 19), timeout=10)
while True:
    frame = wire.recv(2048)
    if len(frame) > 1314 and frame[12:14] == b"\x86\xdd" and frame[20] == 6:
        break
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
router.sendto(struct.pack("!BBHI", 2, 0, 0, 1280) + frame[14:14 + 1232], (sys.argv[2], 0))
left = 200000
while left > 0:
    piece = client.recv(left)
    assert piece
    left -= len(piece)
"#;

#[test]
fn addresses_that_no_host_may_have_are_refused() {
    let Some(world) = World::with_kernel_server() else { return };
    for (address, code, word) in [
        (SERVER_CIDR, 3, "belongs to the kernel"),
        ("fd00::2", 2, "-a fd00::2/64"),
        ("fd00::4/129", 2, "129"),
        ("fd00::10000/64", 2, "fd00::10000"),
        ("ff02::1/64", 2, "multicast"),
        ("::1/128", 2, "loopback"),
        ("::/64", 2, "unspecified"),
        ("::ffff:10.0.0.2/96", 2, "IPv4 address"),
    ] {
        let (found, out, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "-a", address, "echo:7"]);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{address}: {log}");
        assert!(log.contains(word), "{address}: '{word}' is missing: {log}");
    }
    world.assert_untouched();
}
