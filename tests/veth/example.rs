//! The examples that serve, as they are built, do what they say.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringway::service::chargen;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{connect, echo_bulk, end, exchange, server, udp};
use crate::common::run;
use crate::family::DATAGRAM_MAX;
use crate::server::{RINGWAY, Server, run_to_end};
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World};

/// A command that runs an example on the server side.
fn example(world: &World, name: &str) -> Command {
    let path = Path::new(RINGWAY).with_file_name("examples").join(name);
    assert!(path.exists(), "{} is not built: cargo build --examples", path.display());
    world.server.command(path.to_str().expect("UTF-8"))
}

#[test]
fn a_service_of_a_users_own_serves_both_transports() {
    let Some(world) = World::new() else { return };
    let mut child = example(&world, "own_service").args([INTERFACE, SERVER_CIDR]).spawn().expect("ip starts");
    // It prints nothing: it serves when it answers.
    let ready = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        std::process::Command::new("ip")
            .args(["netns", "exec", &world.client.name, "ping", "-c1", "-W1", SERVER])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    assert!(ready, "the example does not answer");
    world.client.inside(|| {
        let socket = udp(4000);
        socket.send(b"shout").expect("send");
        let mut room = [0; 64];
        let n = socket.recv(&mut room).expect("an answer");
        assert_eq!(&room[..n], b"SHOUT");

        let mut stream = connect(4000);
        std::io::Write::write_all(&mut stream, b"over tcp, too").expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).expect("read");
        assert_eq!(text, "OVER TCP, TOO");
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(child.wait().expect("wait").success());
    world.assert_untouched();
}

/// `smoltcp_echo --json ARGUMENTS`, when it carries traffic.
fn smoltcp(world: &World, arguments: &[&str]) -> Server {
    Server::spawn(example(world, "smoltcp_echo").args(["--json", "-i", INTERFACE, "-a", SERVER_CIDR]).args(arguments))
}

#[test]
fn the_example_of_another_stack_echoes_datagrams_and_streams() {
    let Some(world) = World::with_queues(1) else { return };
    let smoltcp = smoltcp(&world, &["--sockets", "16", "echo:7"]);
    assert_eq!((&smoltcp.ready["stack"], &smoltcp.ready["services"]), (&"smoltcp".into(), &"echo:7".into()));
    let mut left_open = world.client.inside(|| {
        let socket = udp(7);
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
        for len in [0, 1, 64, 1000, DATAGRAM_MAX] {
            let sent: Vec<u8> = (0..len).map(|at| at as u8).collect();
            socket.send(&sent).expect("send");
            let mut back = [0; 2048];
            let n = socket.recv(&mut back).expect("an answer");
            assert!(back[..n] == sent, "{len} bytes came back as {n}, or as others");
        }
        let mut stream = connect(7);
        exchange(&mut stream, b"over tcp, too");
        end(stream);
        // At once, each more than a buffer holds.
        let streams: Vec<_> = (0..8).map(|_| connect(7)).collect();
        std::thread::scope(|scope| {
            for (seed, stream) in streams.iter().enumerate() {
                scope.spawn(move || {
                    let (sent, back) = echo_bulk(stream, 700_000, seed as u64);
                    assert_eq!(sent, back);
                });
            }
        });
        let mut stream = connect(7);
        exchange(&mut stream, b"open at the end");
        stream
    });
    smoltcp.signal(Signal::INT);
    let summary = smoltcp.finish_frames();
    assert!(left_open.read(&mut [0; 8]).is_err(), "a stop resets what is open");
    assert_eq!((summary.counter("accepted"), summary.counter("open_at_stop")), (10, 1), "{}", summary.value());
    assert_eq!((summary.value()["tcp"]["open"].as_u64(), summary.drops()), (Some(0), Vec::new()), "{}", summary.value());
    assert!(summary.counter("bytes") >= 8 * 700_000 && summary.value()["cpu_ns"].as_u64() > Some(0), "{}", summary.value());
    assert_eq!(summary.steered("claimed_unserved"), 0, "{}", summary.value());
    world.assert_untouched();
}

#[test]
fn the_example_of_another_stack_serves_files_and_streams_without_end() {
    const BULK: usize = 4 << 20;
    let Some(world) = World::with_queues(1) else { return };
    let folder = TempDir::new().expect("a folder");
    let object: String = (0..100_000_u32).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    std::fs::write(folder.path().join("object"), &object).expect("a file");
    let http = format!("http:80={}", folder.path().display());
    let smoltcp = smoltcp(&world, &["--sockets", "4", "--interval=100ms", "discard:9", "chargen/tcp:19", &http]);
    assert!(smoltcp.event("interval").is_some());

    let curl = |arguments: &[&str]| world.client.run("curl", &[&["-s", "-S", "-m", "60"], arguments].concat());
    let (url, other) = (format!("http://{}/object", server(80)), format!("http://{}/other", server(80)));
    assert!(curl(&[&url]) == object, "curl got something else");
    // Two over one connection.
    let two = ["-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_code} %{num_connects} ", &url, &url];
    assert_eq!(curl(&two), "200 1 200 0 ");
    assert!(curl(&["-I", &url]).contains("Content-Length: 100000"));
    assert!(curl(&["--http1.0", &url]) == object, "curl got something else");
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}", &other]), "404");
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", &url]), "501");
    let mut stream = world.client.inside(|| connect(80));
    // In pieces, and two at once; then nonsense, which ends it.
    for piece in ["GET /obj", "ect HTTP/1.1\r\nHost: x\r\n\r\nHEAD /object HTTP/1.1\r\n", "Host: x\r\n\r\n\r\nnonsense\r\n\r\n"] {
        std::io::Write::write_all(&mut stream, piece.as_bytes()).expect("write");
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("read");
    let lines: Vec<_> = answers.lines().filter(|line| line.contains("HTTP/1.1 ")).collect();
    assert!(lines[0] == "HTTP/1.1 200 OK" && lines[1].ends_with("HTTP/1.1 200 OK") && answers.contains("HTTP/1.1 400 "));

    let sink = format!("head -c {BULK} /dev/zero | nc -N -w 20 {SERVER} 9");
    run(world.client.command("timeout").args(["60", "sh", "-c", &sink]));
    let source = format!("nc -d -w 20 {SERVER} 19 | head -c {BULK}");
    let received = run(world.client.command("timeout").args(["60", "sh", "-c", &source])).stdout;
    let mut expected = vec![0; BULK];
    chargen::fill(0, &mut expected);
    assert!(received == expected, "{} bytes of chargen came, or others", received.len());

    smoltcp.signal(Signal::INT);
    let summary = smoltcp.finish_frames();
    assert!(summary.counter("bytes") >= BULK as u64 && summary.drops().is_empty(), "{}", summary.value());
    world.assert_untouched();
}

#[test]
fn the_example_of_another_stack_refuses_what_it_has_not() {
    let Some(world) = World::with_queues(1) else { return };
    let cases = [
        (&["daytime:13"][..], "ringway serve -i IF -a ADDR daytime/"),
        (&["chargen:19"], "chargen/tcp:19"),
        (&["--sockets", "0", "echo:7"], "must lie between 1 and"),
        (&["--gateway", "10.0.0.1", "echo:7"], "cannot use --gateway with smoltcp"),
        (&["--socket", "1", "echo:7"], "smoltcp_echo --help"),
        (&["reflect"], "ringway serve --stack raw reflect"),
    ];
    for (arguments, words) in cases {
        let mut command = example(&world, "smoltcp_echo");
        command.args(["--json", "-i", INTERFACE, "-a", SERVER_CIDR]).args(arguments);
        let (code, said, _) = run_to_end(command);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(r#""event":"error""#) && said.contains(words), "{arguments:?}: {said}");
    }
    world.assert_untouched();
}
