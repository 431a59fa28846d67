//! What `ringway serve` prints: the ready line, intervals and the summary, as text and as JSON.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::udp;
use crate::server::{RINGWAY, Server};
use crate::world::{INTERFACE, SERVER_CIDR, World};

#[test]
fn the_ready_line_is_as_documented() {
    let Some(world) = World::with_queues(1) else { return };
    let mut command = world.server.command(RINGWAY);
    command.args(["serve", "-i", INTERFACE, "-a", SERVER_CIDR, "echo:7"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("ip starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let ready = lines.next().expect("a line").expect("text");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(child.wait().expect("wait").success());
    let (addresses, others) = ready.trim_start_matches("ready interface=veth0 address=").split_once(' ').expect("words");
    // Where IPv6 is claimed, a link-local address is chosen beside.
    let chosen = addresses.strip_prefix(SERVER_CIDR).expect("the address that was given first");
    assert!(if SERVER_CIDR.contains(':') { chosen.starts_with(",fe80::") } else { chosen.is_empty() }, "{ready}");
    assert_eq!(others, "xdp=native copy=copy queues=0 services=echo:7");
    assert!(!rest.is_empty(), "a summary follows");
}

#[test]
fn intervals_and_the_summary_say_the_same_in_the_end() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--interval=100ms", "echo:7"]);
    world.client.inside(|| {
        let socket = udp(7);
        for _ in 0..100 {
            socket.send(b"counted").expect("send");
            socket.recv(&mut [0; 16]).expect("an answer");
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.event("interval").is_some());
    assert!(server.event("interval").is_some());
    assert_eq!(server.stop().counter("udp_in_frame"), 100);
}

#[test]
fn the_summary_carries_its_conditions() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    // veth has no hash to tell of.
    assert_eq!(server.ready["rss"]["function"], "unknown", "{}", server.ready);
    let summary = server.stop();
    let text = summary.value().to_string();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    for condition in ["veth0", "native", "copy", r#""rss":{"function":"unknown"}"#, env!("CARGO_PKG_VERSION"), &kernel] {
        assert!(text.contains(condition), "{condition} is missing: {text}");
    }
}

/// Where huge pages were wanted and there are none, the log says so; who has turned them off is told nothing.
#[test]
fn frames_on_ordinary_pages_are_said() {
    let Some(world) = World::new() else { return };
    for (setting, wanted) in [("xsk.huge_pages=auto", true), ("xsk.huge_pages=off", false)] {
        let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", setting, "echo:7"]);
        let ordinary = server.ready["pages"] == "ordinary";
        assert!(ordinary || wanted, "{}", server.ready);
        let log = server.stop().log;
        assert_eq!(log.contains("ordinary pages"), ordinary && wanted, "{setting}: {log}");
    }
}
