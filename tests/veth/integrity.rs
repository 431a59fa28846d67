//! Streams between Ringway and the kernel over a bad line, in both directions at once: what arrives is what was sent, by its SHA-256.
//!
//! The size is 8 MiB, or as many as `RINGWAY_INTEGRITY_MIB` says (scripts/soak.sh).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ringway::rng::Rng;

use crate::client::{Sha256, echo_bulk, fill, patient};
use crate::family::LOSSES;
use crate::line::{Line, connect_over};
use crate::server::{RINGWAY, Server, run_to_end_within};
use crate::world::{CLIENT, INTERFACE, SERVER_CIDR};

/// Longest time of one transfer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Bytes each way.
fn size() -> usize {
    let mib = std::env::var("RINGWAY_INTEGRITY_MIB").map_or(8, |text| text.parse().expect("RINGWAY_INTEGRITY_MIB is a number"));
    mib << 20
}

/// What runs over the line, with a seed for its bytes.
type Transfer = fn(&Line, u64);

/// Both roles at every loss, all at the same time: each waits for its losses most of the time, in namespaces of its own.
#[test]
fn integrity_over_a_bad_line_in_both_roles_and_directions() {
    let roles: [(&str, Transfer); 2] = [("server", ringway_as_server), ("client", ringway_as_client)];
    thread::scope(|scope| {
        for (role, transfer) in roles {
            for (loss, seed) in LOSSES.iter().copied().zip(1..) {
                let name = format!("Ringway as {role} at a loss of {loss}");
                let work = move || over_a_bad_line(loss, seed, transfer);
                thread::Builder::new().name(name).spawn_scoped(scope, work).expect("a thread");
            }
        }
    });
}

fn over_a_bad_line(loss: &str, seed: u64, transfer: Transfer) {
    let Some(line) = Line::new() else { return };
    let cable = line.cable(&format!("--delay 1ms --loss {loss} --reorder 5% --dup 5% --corrupt 1% --seed {seed}"));
    let start = Instant::now();
    transfer(&line, seed);
    let took = start.elapsed();
    let carried = cable.stop();
    let count = |name| carried.count("a-to-b", name) + carried.count("b-to-a", name);
    let name = thread::current().name().unwrap_or("?").to_owned();
    println!("{name}: {took:.1?}, {} frames, {} lost", count("received"), count("lost"));
    assert!(count("reordered") > 0 && count("duplicated") > 0 && count("corrupted") > 0, "{}", carried.value());
    assert_eq!(count("overflow"), 0, "{}", carried.value());
    assert_eq!(count("lost") > 0, loss != "0%", "{}", carried.value());
}

fn ringway_as_server(line: &Line, seed: u64) {
    let server = Server::with(&line.world, &["-a", SERVER_CIDR, "echo:7"]);
    let (sent, received) = line.world.client.inside(|| echo_bulk(&connect_over(7), size(), seed));
    assert_eq!(sent, received, "the SHA-256 differ");
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_in_frame_bytes") + summary.counter("tcp_buffered_bytes"), size() as u64);
}

fn ringway_as_client(line: &Line, seed: u64) {
    let example = Path::new(RINGWAY).with_file_name("examples").join("exchange_files");
    assert!(example.exists(), "{} is not built: cargo build --examples", example.display());
    let folder = tempfile::tempdir().expect("a folder");
    let [to_send, kept] = ["to-send", "kept"].map(|name| folder.path().join(name).to_str().expect("UTF-8").to_owned());
    let mut bytes = vec![0; size()];
    fill(&mut Rng::seeded(seed), &mut bytes);
    std::fs::write(&to_send, &bytes).expect("write");
    let listener = line.world.client.inside(|| TcpListener::bind((CLIENT, 7)).expect("bind"));
    // A client that never comes must fail the test, not stop it; accept keeps to the time-out of reading.
    socket2::SockRef::from(&listener).set_read_timeout(Some(Duration::from_secs(30))).expect("set a timeout");
    let (received, sent) = thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            let (stream, _) = listener.accept().expect("accept");
            exchange(stream, seed + 100)
        });
        let mut client = line.world.server.command(example.to_str().expect("UTF-8"));
        client.args([
            INTERFACE,
            SERVER_CIDR,
            &SocketAddr::new(CLIENT.parse().expect("an address"), 7).to_string(),
            &to_send,
            &kept,
        ]);
        let (code, out, log) = run_to_end_within(client, PATIENCE);
        assert_eq!(code, Some(0), "{out}{log}");
        kernel.join().expect("the kernel's side")
    });
    assert_eq!(received, sha256(&to_send), "what Ringway sent");
    assert_eq!(sent, sha256(&kept), "what Ringway received");
}

/// The kernel's side: reads to the end while it sends bytes of its own. The SHA-256 of what came and of what was sent.
fn exchange(stream: std::net::TcpStream, seed: u64) -> (String, String) {
    patient(&stream);
    let stream = &stream;
    thread::scope(|scope| {
        let sent = scope.spawn(move || {
            let (mut sum, mut source, mut block, mut left, mut writer) =
                (Sha256::new(), Rng::seeded(seed), vec![0; 64 * 1024], size(), stream);
            while left > 0 {
                let n = left.min(block.len());
                fill(&mut source, &mut block[..n]);
                writer.write_all(&block[..n]).expect("write");
                sum.update(&block[..n]);
                left -= n;
            }
            stream.shutdown(Shutdown::Write).expect("shutdown");
            sum.finish()
        });
        let received = scope.spawn(move || {
            let (mut sum, mut block, mut reader) = (Sha256::new(), vec![0; 64 * 1024], stream);
            loop {
                match reader.read(&mut block).expect("read") {
                    0 => return sum.finish(),
                    n => sum.update(&block[..n]),
                }
            }
        });
        (received.join().expect("the receiver"), sent.join().expect("the sender"))
    })
}

fn sha256(path: &str) -> String {
    let output = Command::new("sha256sum").stdin(std::fs::File::open(path).expect("open")).output().expect("sha256sum runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}
