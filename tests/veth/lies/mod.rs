//! Every distinct lie that a packet can tell, a row each: what Ringway counts it as, what it answers, what the kernel answers, and why
//! the two differ.
//!
//! The same frames go to both, one row after another, each followed by a datagram to the echo service: what comes back before that one does is
//! the answer to the row. The table is a snapshot, so that a change of behaviour is a change of a line. A cause that no row can show is in [`ELSEWHERE`],
//! with the reason; a cause that is in neither fails the test.

mod build;
mod ip4;
mod ip6;
mod link;
mod transport;

use std::fmt::Write as _;
use std::process::{Child, Stdio};

use ringway::device::Drop;

use crate::common::Netns;
use crate::server::Server;
use crate::world::{INTERFACE, SERVER_CIDR, World, own};

use build::{Build, SERVER_V6_CIDR};

/// What becomes of a row's frames.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// One of them, or what they make together, is dropped for this cause.
    Dropped(Drop),
    /// They are served as if nothing were wrong.
    Served,
    /// The XDP program cannot tell that they are for a claimed address: the kernel has them.
    Passed,
}

/// One lie.
struct Row {
    /// What is wrong, in a few words.
    lie: &'static str,
    /// What becomes of it at Ringway.
    fate: Fate,
    /// The frames that tell it.
    frames: Vec<Vec<u8>>,
    /// Why the kernel's answer is another one; empty when it is not.
    why: &'static str,
}

impl Row {
    fn new(lie: &'static str, cause: Drop, frame: Vec<u8>) -> Self {
        Self { lie, fate: Fate::Dropped(cause), frames: vec![frame], why: "" }
    }

    /// One that Ringway serves.
    fn served(lie: &'static str, frame: Vec<u8>) -> Self {
        Self { lie, fate: Fate::Served, frames: vec![frame], why: "" }
    }

    /// One that does not come to it.
    fn passed(lie: &'static str, frame: Vec<u8>) -> Self {
        Self { lie, fate: Fate::Passed, frames: vec![frame], why: "" }
    }

    fn frames(self, frames: Vec<Vec<u8>>) -> Self {
        Self { frames, ..self }
    }

    fn differs(self, why: &'static str) -> Self {
        Self { why, ..self }
    }
}

/// Causes that are no lie of a packet that reaches a claimed address, and where they are tested.
const ELSEWHERE: &[(&str, &[Drop])] = &[
    (
        "the XDP program gives such frames to the kernel; the engine's own tests show them",
        &[
            Drop::EthernetTruncated,
            Drop::EtherTypeUnknown,
            Drop::VlanUnclaimed,
            Drop::Ipv4Fragment,
            Drop::Ipv4NotOurs,
            Drop::Ipv6Truncated,
            Drop::Ipv6NotOurs,
            Drop::Ipv6Fragment,
            Drop::TcpNotUnicast,
        ],
    ),
    (
        "no lie, but a bound or a state of ours",
        &[
            Drop::HandOffFull,
            Drop::HandOffAstray,
            Drop::ForeignLookupLimited,
            Drop::ForeignLookupUnsure,
            Drop::NeighborQueueFull,
            Drop::NeighborUnreachable,
            Drop::NoRoute,
            Drop::FragmentShareFull,
            Drop::FragmentGaveWay,
            Drop::FragmentTimeout,
            Drop::IcmpLimited,
            Drop::UdpNotConnected,
            Drop::UdpKeptFull,
            Drop::UdpLoopFull,
            Drop::UdpSendFull,
            Drop::TransmitRingFull,
            Drop::NoFrame,
        ],
    ),
    ("what devices make of packets of several frames, in the engine's own tests", &[Drop::ChainBroken, Drop::ChainTooLong]),
    ("who may begin, in `admission`", &[Drop::FragmentDenied, Drop::UdpDenied, Drop::TcpDenied]),
    ("groups, in `many`", &[Drop::GroupNotJoined, Drop::GroupSource]),
    (
        "segments to a connection, or to a listener under pressure: the scripts of `tests/segments`, most of which run against the kernel too",
        &[
            Drop::TcpSourceFull,
            Drop::TcpSourceSynLimited,
            Drop::TcpSynLimited,
            Drop::TcpBacklogFull,
            Drop::TcpCookieInvalid,
            Drop::TcpCookieMissing,
            Drop::TcpTableFull,
            Drop::TcpOutOfWindow,
            Drop::TcpPaws,
            Drop::TcpTimestampMissing,
            Drop::TcpSynInTimeWait,
            Drop::TcpRstIgnored,
            Drop::TcpSynChallenged,
            Drop::TcpNoAck,
            Drop::TcpAckInvalid,
            Drop::TcpAfterFin,
            Drop::TcpDataAfterClose,
            Drop::TcpReassemblyFull,
            Drop::TcpNoBuffer,
        ],
    ),
];

/// Source port of the datagram behind the first row; that of every other is one more.
const MARKER: u16 = 50_000;

fn rows(build: &Build) -> Vec<Row> {
    [link::rows(build), ip4::rows(build), ip6::rows(build), transport::rows(build)].into_iter().flatten().collect()
}

#[test]
fn every_lie_has_a_cause_and_an_answer_and_the_kernel_gives_the_same_or_there_is_a_reason() {
    // One queue: answers are told apart by when they come.
    let Some(world) = both_families(World::with_queues(1)) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "-a", SERVER_V6_CIDR, "echo:7"]);
    let build = Build::new(&world);
    let rows = rows(&build);
    let ours = answers(&world, &build, &rows);
    let summary = server.stop();
    let theirs = kernel_answers();

    let mut faults = Vec::new();
    for why in Drop::ALL {
        let told = rows.iter().filter(|row| row.fate == Fate::Dropped(*why)).count() as u64;
        let elsewhere = ELSEWHERE.iter().any(|(_, causes)| causes.contains(why));
        if (told > 0) == elsewhere {
            faults.push(format!("{why:?} needs a row, or a place in ELSEWHERE, and not both"));
        }
        let counted = summary.dropped(why.name());
        if counted != told {
            faults.push(format!("{why:?}: told {told} times, counted {counted} times"));
        }
    }
    for ((row, ours), theirs) in rows.iter().zip(&ours).zip(&theirs) {
        if (ours == theirs) != row.why.is_empty() {
            faults.push(format!("{}: Ringway: {ours}; kernel: {theirs}; why: '{}'", row.lie, row.why));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let mut table =
        String::from("lie | at Ringway | it answers | the kernel answers | why they differ\n--- | --- | --- | --- | ---\n");
    for ((row, ours), theirs) in rows.iter().zip(&ours).zip(&theirs) {
        let fate = match row.fate {
            Fate::Dropped(why) => why.name(),
            Fate::Served => "(served)",
            Fate::Passed => "(passed to the kernel)",
        };
        writeln!(table, "{} | {fate} | {ours} | {theirs} | {}", row.lie, row.why).expect("a string takes all");
    }
    insta::assert_snapshot!("table", table);
}

/// The same lies told to the kernel, at the same addresses, with the same service.
fn kernel_answers() -> Vec<String> {
    let world = both_families(World::with_kernel_server()).expect("this test runs as root");
    let server = &world.server;
    for setting in ["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0", "net.ipv6.conf.all.disable_ipv6=0"] {
        server.run("sysctl", &["-qw", setting]);
    }
    own(server, SERVER_V6_CIDR, INTERFACE);
    let build = Build::new(&world);
    let mac = build.client_mac();
    for address in [build::CLIENT, build::CLIENT_V6] {
        server.ip(&["neighbor", "replace", address, "lladdr", &mac, "dev", INTERFACE, "nud", "permanent"]);
    }
    let _echo = Echo::start(server);
    answers(&world, &build, &rows(&build))
}

/// A world whose client side answers nothing by itself.
fn both_families(world: Option<World>) -> Option<World> {
    let world = world?;
    world.client.ip(&["address", "flush", "dev", INTERFACE]);
    Some(world)
}

/// Port 7 of the kernel, over both transports and families; ends with the test.
struct Echo(Child);

impl Echo {
    fn start(netns: &Netns) -> Self {
        let mut child =
            netns.command("timeout").args(["60", "python3", "-c", ECHO]).stdout(Stdio::piped()).spawn().expect("ip starts");
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready).expect("it listens");
        Self(child)
    }
}

impl std::ops::Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ECHO: &str = r#"
import socket
listener = socket.create_server(("::", 7), family=socket.AF_INET6, dualstack_ipv6=True)
echo = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
echo.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
echo.bind(("::", 7))
print("ready", flush=True)
while True:
    data, peer = echo.recvfrom(65536)
    if peer[1]:
        echo.sendto(data, peer)
"#;

/// What each row is answered with.
fn answers(world: &World, build: &Build, rows: &[Row]) -> Vec<String> {
    let script: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| {
            let frames = row.frames.iter().chain([&build.udp4(MARKER + n as u16, 7)]).map(|frame| hex(frame)).collect::<Vec<_>>();
            frames.join(" ")
        })
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), script.join("\n")).expect("write");
    let path = file.path().to_str().expect("a path");
    let mac = build.server_mac();
    let text = world.client.run("timeout", &["60", "python3", "-c", TELL, INTERFACE, &mac, path]);
    let answers: Vec<String> = text.lines().map(shown_all).collect();
    assert_eq!(answers.len(), rows.len(), "{text}");
    answers
}

/// Sends the frames of a line, the last of which is a datagram to be echoed; prints what comes back before that one.
const TELL: &str = r#"
import socket, sys
interface, server = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((interface, 0))
wire.settimeout(3)
for line in open(sys.argv[3]):
    frames = [bytes.fromhex(word) for word in line.split()]
    for frame in frames:
        wire.send(frame)
    answers = []
    while True:
        try:
            frame = wire.recv(65536)
        except TimeoutError:
            sys.exit("the datagram behind this line is not answered: " + line)
        if frame[6:12] != server:
            continue
        if frame[12:14] == b"\x08\0" and frame[23] == 17 and frame[36:38] == frames[-1][34:36]:
            break
        answers.append(frame.hex())
    print(" ".join(answers))
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown_all(line: &str) -> String {
    let bytes = |word: &str| -> Vec<u8> {
        (0..word.len() / 2).map(|n| u8::from_str_radix(&word[2 * n..][..2], 16).expect("hexadecimal")).collect()
    };
    let shown: Vec<String> = line.split_whitespace().filter_map(|word| shown(&bytes(word))).collect();
    if shown.is_empty() { "silence".to_owned() } else { shown.join(", ") }
}

/// A frame in a word; `None` for what a kernel says of itself at any time (listener reports, router solicitations).
fn shown(frame: &[u8]) -> Option<String> {
    let transport = |protocol: u8, segment: &[u8]| match protocol {
        1 | 58 if segment[0] == 3 || (protocol == 58 && segment[0] < 128) => format!("error {}/{}", segment[0], segment[1]),
        1 => format!("ICMP {}", segment[0]),
        58 => format!("ICMPv6 {}", segment[0]),
        6 => {
            let flags = [(2, "SYN"), (4, "RST"), (16, "ACK")].iter().filter(|(bit, _)| segment[13] & bit != 0);
            flags.map(|&(_, name)| name).collect::<Vec<_>>().join("+")
        }
        17 => "datagram".to_owned(),
        _ => format!("protocol {protocol}"),
    };
    match (frame[12], frame[13]) {
        (8, 6) => Some(if frame[21] == 1 { "ARP request".to_owned() } else { "ARP reply".to_owned() }),
        (8, 0) => Some(match (frame[23], frame[34]) {
            (1, 12) => format!("error 12/{}", frame[35]),
            (protocol, _) => transport(protocol, &frame[14 + 4 * usize::from(frame[14] & 15)..]),
        }),
        (0x86, 0xdd) if frame[20] == 58 && matches!(frame[54], 133 | 143) => None,
        (0x86, 0xdd) if frame[20] == 0 => None,
        (0x86, 0xdd) => Some(match (frame[20], frame[54]) {
            (58, 135) => "solicitation".to_owned(),
            (58, 136) => "advertisement".to_owned(),
            (protocol, _) => transport(protocol, &frame[54..]),
        }),
        _ => Some(hex(frame)),
    }
}
