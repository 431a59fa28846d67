//! A running server shown by its control socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::client::{connect, exchange, udp};
use crate::family::CLIENT;
use crate::server::{Server, ringway};
use crate::world::{INTERFACE, SERVER_CIDR, World};

/// The rows of an answer, with its summary checked and taken off.
fn rows(world: &World, server: &Server, arguments: &[&str]) -> Vec<Value> {
    let pid = server.id().to_string();
    let (code, out, log) = ringway(&world.server, &[&["show", "--json", "--pid", &pid], arguments].concat());
    assert_eq!(code, Some(0), "{out}{log}");
    let mut rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let summary = rows.pop().expect("a summary");
    assert_eq!((&summary["event"], &summary["rows"]), (&"summary".into(), &Value::from(rows.len())), "{summary}");
    rows
}

#[test]
fn show_tells_connections_with_what_only_their_owners_know() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7", "discard:9"]);
    let mut streams: Vec<_> = world.client.inside(|| (0..100).map(|_| connect(7)).collect());
    world.client.inside(|| streams.iter_mut().for_each(|stream| exchange(stream, &[7; 500])));
    let shown = rows(&world, &server, &["connections", "--state", "established"]);
    assert_eq!(shown.len(), 100);
    let remote = |row: &Value| row["remote"].as_str().expect("an end").to_owned();
    let mut remotes: Vec<_> = shown.iter().map(remote).collect();
    remotes.sort();
    remotes.dedup();
    assert_eq!(remotes.len(), 100, "each once");
    assert!((0..2).all(|worker| shown.iter().any(|row| row["worker"] == worker)), "of both workers");
    for row in &shown {
        assert_eq!(
            (&row["receive_queue"], &row["send_queue"], &row["congestion"]),
            (&0.into(), &0.into(), &"cubic".into()),
            "{row}"
        );
        assert!(
            row["srtt_ns"].as_u64().is_some_and(|ns| ns > 0) && row["cwnd"].as_u64().is_some_and(|cwnd| cwnd >= 14_000),
            "{row}"
        );
        assert!(row["age_ns"].as_u64().is_some_and(|age| age > 0 && age < 60_000_000_000), "{row}");
    }
    let port = streams[3].local_addr().expect("an address").port().to_string();
    for (filter, count) in [
        (&["--port", &port][..], 1),
        (&["--address", CLIENT, "--port", "7"], 100),
        (&["--address", "192.0.2.1"], 0),
        (&["--state", "TIME-WAIT"], 0),
        (&["--brief"], 100),
    ] {
        assert_eq!(rows(&world, &server, &[&["connections"], filter].concat()).len(), count, "{filter:?}");
    }
    assert!(rows(&world, &server, &["connections", "--brief"]).iter().all(|row| row["cwnd"].is_null()));
    let (code, text, _) = ringway(&world.server, &["show", "connections", "--limit", "2", "--pid", &server.id().to_string()]);
    assert_eq!(code, Some(0));
    assert!(
        text.starts_with("State") && text.contains("cubic cwnd:") && text.contains("(2 shown, there are more: --limit)"),
        "{text}"
    );
    drop(streams);
    server.stop();
}

#[test]
fn show_tells_listeners_counters_queues_and_neighbors() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7", "discard/udp:9"]);
    world.client.inside(|| {
        exchange(&mut connect(7), b"hello");
        udp(7).send(b"hello").expect("send");
    });
    let listeners = rows(&world, &server, &["listeners"]);
    assert_eq!(listeners.len(), 6, "three at each worker: {listeners:?}");
    assert_eq!(rows(&world, &server, &["listeners", "--port", "9"]).len(), 2);
    let counters = rows(&world, &server, &["counters"]);
    let sum = |name: &str| counters.iter().map(|row| row["counters"][name].as_u64().expect("a count")).sum::<u64>();
    assert_eq!((counters.len(), sum("tcp_accepted")), (2, 1));
    let queues = rows(&world, &server, &["queues"]);
    assert_eq!(queues.iter().map(|row| row["queue"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert!(queues.iter().all(|row| row["name"] == INTERFACE && row["frames"]["total"] == 4096), "{queues:?}");
    let neighbors = rows(&world, &server, &["neighbors", "--address", CLIENT]);
    assert_eq!(neighbors.len(), 2, "each worker has heard of it");
    assert!(neighbors.iter().all(|row| row["state"] == "REACHABLE" && row["interface"] == INTERFACE), "{neighbors:?}");
    let (_, text, _) = ringway(&world.server, &["show", "counters", "--pid", &server.id().to_string()]);
    assert!(text.contains("tcp_accepted 1") && text.contains("worker"), "{text}");
    server.stop();
}

#[test]
fn show_tells_routes() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--gateway", CLIENT, "echo:7"]);
    let routes = rows(&world, &server, &["routes"]);
    assert_eq!(routes.len(), 1, "{routes:?}");
    assert_eq!((&routes[0]["via"], &routes[0]["interface"]), (&CLIENT.into(), &INTERFACE.into()));
    server.stop();
}

#[test]
fn the_control_socket_is_its_owners_and_goes_with_the_process() {
    let Some(world) = World::new() else { return };
    let path = format!("{}/rw-test-{}/one.sock", std::env::temp_dir().display(), std::process::id());
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--control", &path, "echo:7"]);
    let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What is no request is refused with its reason, and many clients do not keep others out for good.
    let mut idle: Vec<_> = (0..8).map(|_| UnixStream::connect(&path).expect("connect")).collect();
    let mut late = UnixStream::connect(&path).expect("connect");
    late.write_all(b"{\"show\":\"everything\"}\n").expect("write");
    idle.clear();
    let mut answer = String::new();
    late.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("cannot read the request") && answer.contains("unknown variant"), "{answer}");
    let (code, _, log) = ringway(&world.server, &["serve", "-i", "lo", "-a", SERVER_CIDR, "--control", &path, "echo:7"]);
    assert!(matches!(code, Some(2 | 3)), "{log}");
    let (code, _, log) = ringway(&world.server, &["show", "connections", "--state", "open", "--socket", &path]);
    assert!(code == Some(2) && log.contains("the states are"), "{log}");
    server.stop();
    assert!(!std::fs::exists(&path).expect("the folder is there"));
    let (code, _, log) = ringway(&world.server, &["show", "counters", "--socket", &path]);
    assert!(code == Some(3) && log.contains("cannot open"), "{log}");
    std::fs::remove_dir(std::path::Path::new(&path).parent().expect("a folder")).expect("it is empty");
}

#[test]
fn what_a_killed_process_left_is_cleared_by_the_next() {
    let Some(world) = World::new() else { return };
    let path = |server: &Server| ringway::show::path_of(server.id());
    let killed = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let left = path(&killed);
    assert!(left.exists());
    killed.kill();
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    assert!(!left.exists() && path(&server).exists());
    server.stop();
}

#[test]
fn what_ends_while_it_is_shown_is_left_out_and_nothing_waits() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.msl=100ms", "echo:7"]);
    let stays: Vec<_> = world.client.inside(|| (0..200).map(|_| connect(7)).collect());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.client.inside(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    exchange(&mut connect(7), b"short");
                }
            });
        });
        for _ in 0..10 {
            let shown = rows(&world, &server, &["connections", "--state", "ESTABLISHED"]);
            let of = |port: u16| {
                shown.iter().filter(|row| row["remote"].as_str().is_some_and(|end| end.ends_with(&format!(":{port}")))).count()
            };
            assert!(
                stays.iter().all(|stream| of(stream.local_addr().expect("an address").port()) == 1),
                "who stays is shown once"
            );
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(stays);
    server.stop();
}
