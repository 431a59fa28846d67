//! A SYN flood from addresses that nobody has, while honest clients connect (RFC 4987).
//!
//! `RINGWAY_FLOOD_SECONDS` makes it longer than in the ordinary run, and asks for a rate (`scripts/flood.sh`).

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringway::rng::Rng;

use crate::client::{connect, end, exchange};
use crate::family::octets;
use crate::frame::{Builder, IP, checksum, seal};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, usual_queues};

/// What is asked of the sender; it catches up after it was held up.
const OFFERED_PER_S: u64 = 26_000;
/// What has to be answered when a rate is asked for; otherwise it is most of what was sent, however fast the machine is.
const ANSWERED_PER_S: u64 = 20_000;
const HONEST: usize = 500;
const BACKLOG: u64 = 1024;
/// How long an honest connection may take, from its SYN to the answer to its first bytes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Distinct SYNs; the flood begins anew with the first.
const SYNS: usize = 60_000;

#[test]
fn in_a_syn_flood_every_honest_connection_succeeds_and_memory_does_not_grow() {
    let Some(world) = World::new() else { return };
    let asked: Option<u64> = std::env::var("RINGWAY_FLOOD_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    let seconds = asked.unwrap_or(8);
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", &format!("tcp.backlog={BACKLOG}"), "echo:7"]);
    warm_up(&world);
    let before_kib = server.resident_kib();

    let flood = Flood::start(&world, seconds);
    // The honest come when the backlog is full.
    thread::sleep(Duration::from_millis(500));
    let spread = Duration::from_secs(seconds).saturating_sub(Duration::from_secs(2));
    let slowest = world.client.inside(|| honest(spread));
    let sent = flood.wait();
    let after_kib = server.resident_kib();

    let summary = server.stop();
    let cookies = summary.happened("syn_cookie_sent");
    println!(
        "{sent} SYNs sent in {seconds} s, {cookies} cookies ({} a second), slowest honest connection {slowest:?}, \
         memory {before_kib} KiB before and {after_kib} KiB after",
        cookies / seconds
    );
    assert!(slowest <= PATIENCE, "{slowest:?}");
    // Each that arrived was answered with a cookie, but for those that found the backlog open.
    let least = asked.map_or(sent / 2, |seconds| ANSWERED_PER_S * seconds);
    assert!(cookies >= least, "{cookies} cookies for {sent} SYNs in {seconds} s");
    assert!(summary.happened("syn_cookie_accepted") >= HONEST as u64 * 9 / 10, "{}", summary.value());
    // Where the machine is slow, connections of the warm-up come to rest before all are there, and of several workers it is left to the kernel which
    // fills whose backlog: each may still take what its own comes to, once. If the flood were remembered it would be 50 MiB.
    let backlogs_kib = 2 * BACKLOG * u64::from(usual_queues());
    assert!(after_kib.saturating_sub(before_kib) < 1024 + backlogs_kib, "{before_kib} KiB before, {after_kib} KiB after");
    assert!(summary.neighbors() <= 1 && summary.counter("arp_requests") == 0, "{}", summary.value());
    assert_eq!((summary.dropped("tcp_table_full"), summary.dropped("tcp_backlog_full")), (0, 0));
}

/// Limits that the flood is far beyond, and the honest, who all have one address, are not.
#[test]
fn limits_do_not_turn_a_flood_against_the_honest() {
    let Some(world) = World::new() else { return };
    let limits = ["tcp.syn_rate=50", "tcp.syn_rate_per_source=2K", "tcp.connections_per_source=2K"];
    let mut arguments = vec!["-a", SERVER_CIDR, "echo:7"];
    limits.iter().for_each(|limit| arguments.extend(["--set", limit]));
    let server = Server::with(&world, &arguments);
    let flood = Flood::start(&world, 6);
    thread::sleep(Duration::from_millis(500));
    let slowest = world.client.inside(|| honest(Duration::from_secs(4)));
    let sent = flood.wait();
    let summary = server.stop();
    let half_open = summary.counter("tcp_accepted") - summary.counter("tcp_established");
    println!("{sent} SYNs sent, {half_open} had a TCB, slowest honest connection {slowest:?}");
    assert!(slowest <= PATIENCE, "{slowest:?}");
    // Those of the first second at once, and what comes of the rate in seven.
    assert!((50..=400).contains(&half_open), "{half_open}");
    assert!(summary.happened("syn_cookie_accepted") >= HONEST as u64 / 2, "{}", summary.value());
    for refused in ["tcp_source_syn_limited", "tcp_source_full", "tcp_syn_limited", "tcp_backlog_full"] {
        assert_eq!(summary.dropped(refused), 0, "{refused}");
    }
}

/// As many connections at once as the flood and the honest will hold: what a core reserves at its start is touched when it is first used.
fn warm_up(world: &World) {
    crate::client::allow_many_descriptors(4096);
    world.client.inside(|| {
        let filled = (BACKLOG as u32 + 64) * usual_queues();
        let mut streams: Vec<_> = (0..filled).map(|_| connect(7)).collect();
        streams.iter_mut().for_each(|stream| exchange(stream, &[1; 64]));
        streams.into_iter().for_each(end);
    });
}

/// Opens the honest connections, spread over a time; each exchanges some bytes and ends. Gives the longest that one took.
fn honest(spread: Duration) -> Duration {
    let workers = 10;
    let pause = spread * workers / HONEST as u32;
    thread::scope(|scope| {
        let worker = || {
            (0..HONEST as u32 / workers).map(|_| {
                let begin = Instant::now();
                let mut stream = connect(7);
                exchange(&mut stream, b"honest");
                let took = begin.elapsed();
                end(stream);
                thread::sleep(pause.saturating_sub(took));
                took
            })
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(move || worker().max())).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("every honest connection succeeds")).max()
    })
    .expect("there are some")
}

/// The flood: a process that repeats SYNs on an AF_PACKET socket (Python's, which needs no unsafe code).
struct Flood(Child);

impl Flood {
    fn start(world: &World, seconds: u64) -> Self {
        let (rate, seconds) = (OFFERED_PER_S.to_string(), seconds.to_string());
        let arguments = ["-c", SENDER, INTERFACE, &rate, &seconds];
        let mut command = world.client.command("python3");
        let mut sender = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ip starts");
        let (build, mut rng) = (Builder::new(world), Rng::seeded(4987));
        let mut pipe = sender.stdin.take().expect("piped");
        for _ in 0..SYNS {
            let [.., a, b, c] = rng.next_u32().to_be_bytes();
            let port = 1024 + rng.below(60_000) as u16;
            let frame = syn_from(&build, [10, 64 | (a & 63), b, c], port, rng.next_u32());
            pipe.write_all(&frame).expect("the sender reads");
        }
        Self(sender)
    }

    /// Waits for its end, and gives how many it has sent.
    fn wait(mut self) -> u64 {
        let mut text = String::new();
        self.0.stdout.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
        assert!(self.0.wait().expect("wait").success(), "the sender failed");
        text.trim().parse().expect("a count")
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads frames of one length until the end of its input, then sends them over and over, so many a second; prints how many it sent.
const SENDER: &str = r#"
import socket, sys, time
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0))
rate, seconds = int(sys.argv[2]), int(sys.argv[3])
data = sys.stdin.buffer.read()
frames = [data[at:at + 74] for at in range(0, len(data), 74)]
begin, sent = time.monotonic(), 0
while (now := time.monotonic() - begin) < seconds:
    due = int(now * rate)
    try:
        while sent < due:
            wire.send(frames[sent % len(frames)])
            sent += 1
    except OSError as error:
        if error.errno != 105:
            raise
    time.sleep(0.0005)
print(sent)
"#;

/// A SYN to echo with the options Linux sends, from any address, all fields right.
fn syn_from(build: &Builder, source: [u8; 4], source_port: u16, seq: u32) -> Vec<u8> {
    let mut segment = [&source_port.to_be_bytes()[..], &[0, 7], &seq.to_be_bytes()].concat();
    segment.extend_from_slice(&[0, 0, 0, 0, 0xa0, 2, 0xfa, 0xf0, 0, 0, 0, 0]);
    segment.extend_from_slice(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]);
    let pseudo = [&source[..], &octets(SERVER), &[0, 6], &(segment.len() as u16).to_be_bytes()].concat();
    let sum = checksum(&[&pseudo[..], &segment].concat());
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut frame = build.ip(6, &segment);
    frame[IP + 12..IP + 16].copy_from_slice(&source);
    seal(&mut frame);
    frame
}
