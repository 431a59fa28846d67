//! Existing clients talk to Ringway as to any server.

use std::io::Write;
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::client::server;
use crate::common::Netns;
use crate::server::Server;
use crate::world::{SERVER, World};

/// Runs a shell line on the client side with text on its standard input, which stays open for `hold`.
fn shell(client: &Netns, line: &str, input: &str, hold: Duration) -> Output {
    let child = client.command("timeout").args(["10", "sh", "-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("ip starts");
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all(input.as_bytes()).expect("write");
    thread::sleep(hold);
    drop(pipe);
    child.wait_with_output().expect("wait")
}

#[test]
fn netcat_socat_and_curl_get_their_text_back() {
    let Some(world) = World::new() else { return };
    let ringway = Server::start(&world);
    let at_once = Duration::ZERO;
    // UDP has no end, and curl stops at the end of its input: these keep it open until the answer is there.
    let held = Duration::from_millis(500);
    let at = server(7);
    let cases = [
        (format!("nc -N -w 5 {SERVER} 7"), at_once),
        (format!("nc -u -w 1 {SERVER} 7"), held),
        (format!("socat -t 5 - TCP:{at}"), at_once),
        (format!("socat -t 1 - UDP:{at}"), held),
        (format!("curl -s --no-buffer --max-time 2 telnet://{at}"), held),
    ];
    for (line, hold) in cases {
        let output = shell(&world.client, &line, "over the wire and back\n", hold);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "over the wire and back\n", "{line}");
    }
    ringway.stop();
}

#[test]
fn python_sockets_exchange_data_both_ways() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.run("timeout", &["60", "python3", "-c", PYTHON, SERVER]);
    let summary = server.stop();
    assert_eq!(summary.counter("udp_received"), 200);
    assert_eq!(summary.counter("tcp_accepted"), 4);
}

const PYTHON: &str = r#"
import os, socket, sys, threading
address = sys.argv[1]

def stream():
    data = os.urandom(1 << 20)
    with socket.create_connection((address, 7), timeout=20) as client:
        def write():
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        writer = threading.Thread(target=write)
        writer.start()
        back = b""
        while piece := client.recv(65536):
            back += piece
        writer.join()
    if back != data:
        os._exit(1)

threads = [threading.Thread(target=stream) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()

family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    for n in range(200):
        data = os.urandom(n * 7)
        client.sendto(data, (address, 7))
        back, sender = client.recvfrom(2048)
        assert back == data and sender[:2] == (address, 7), n
"#;
