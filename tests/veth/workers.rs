//! Several workers on the queues of one interface, and packets that arrive at the wrong one.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ringway::launch::Launch;
use ringway::service::{Answer, Context, Datagram, Service};
use ringway::settings::Settings;
use serde_json::Value;

use crate::client::{connect, echo_bulk, end, exchange, udp};
use crate::common::{Netns, join};
use crate::family::{self, FAR_CIDR, FAR_ROUTER, FAR_ROUTER_CIDR};
use crate::server::{Server, Summary, ringway};
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, own, ping};

/// Clients enough that the kernel's flow hash uses every queue: all of 64 on one of two has a chance of 2^-63.
const CLIENTS: usize = 64;

/// What a worker counted.
fn counted(summary: &Summary, worker: usize, name: &str) -> u64 {
    summary.value()["workers"][worker]["counters"][name].as_u64().unwrap_or_else(|| panic!("no {name} of worker {worker}"))
}

#[test]
fn each_worker_serves_the_connections_of_its_queue() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--queues", "0-1", "--cores", "0-1", "echo:7"]);
    assert_eq!((&server.ready["workers"], &server.ready["cores"]), (&Value::from(2), &Value::from("0-1")));
    world.client.inside(|| {
        for seed in 0..CLIENTS as u64 {
            let (sent, received) = echo_bulk(&connect(7), 50_000, seed);
            assert_eq!(sent, received);
            let socket = udp(7);
            socket.send(b"one").expect("send");
            assert_eq!(socket.recv(&mut [0; 8]).expect("an answer"), 3);
        }
    });
    ping(&world.client, 3, &[], SERVER);
    let summary = server.stop();
    let accepted = [0, 1].map(|worker| counted(&summary, worker, "tcp_accepted"));
    assert_eq!(accepted.iter().sum::<u64>(), CLIENTS as u64);
    assert!(accepted.iter().all(|&accepted| accepted > 0), "{accepted:?}");
    assert!([0, 1].iter().all(|&worker| counted(&summary, worker, "udp_received") > 0));
    assert_eq!(summary.counter("tcp_accepted"), CLIENTS as u64, "the sum of both");
    world.assert_untouched();
}

#[test]
fn a_bulk_transfer_survives_with_every_segment_at_the_wrong_worker() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    world.send_by(0);
    let stream = world.client.inside(|| connect(7));
    world.send_by(1);
    let (sent, received) = world.client.inside(|| echo_bulk(&stream, 8 << 20, 1));
    assert_eq!(sent, received);
    drop(stream);
    let summary = server.stop();
    let [owner, other] = [0, 1]
        .map(|worker| ["tcp_accepted", "handed_in", "handed_over", "tcp_received"].map(|name| counted(&summary, worker, name)));
    assert_eq!((owner[0], other[0]), (1, 0), "the connection stays where its SYN came");
    assert!(other[2] > 1000 && owner[1] == other[2] && owner[2] == 0, "{owner:?} {other:?}");
    // All but what came before the queue was changed: SYN and ACK.
    assert!(owner[1] + 4 >= owner[3], "{owner:?}");
    assert_eq!(summary.dropped("handoff_full"), 0, "{}", summary.value());
}

#[test]
fn a_thousand_connections_survive_with_every_segment_at_the_wrong_worker() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    world.send_by(0);
    let mut streams: Vec<_> = world.client.inside(|| (0..1000).map(|_| connect(7)).collect());
    world.send_by(1);
    world.client.inside(|| {
        for round in 0..3_u8 {
            for stream in &mut streams {
                exchange(stream, &[round; 100]);
            }
        }
        streams.into_iter().for_each(end);
    });
    let summary = server.stop();
    assert_eq!((counted(&summary, 0, "tcp_accepted"), counted(&summary, 1, "tcp_accepted")), (1000, 0));
    // A request in each round, the FIN, and the last ACK.
    assert!(counted(&summary, 1, "handed_over") >= 5000, "{}", summary.value());
    assert_eq!(counted(&summary, 0, "tcp_reset"), 0);
    assert_eq!(summary.counter("tcp_resets_sent"), 0);
}

#[test]
fn a_segment_of_no_connection_is_refused_by_either_worker() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    for queue in [0, 1] {
        world.send_by(queue);
        let refused = world.client.inside(|| TcpStream::connect((SERVER.parse::<IpAddr>().unwrap(), 9)));
        assert_eq!(refused.err().map(|error| error.kind()), Some(std::io::ErrorKind::ConnectionRefused));
    }
    let summary = server.stop();
    assert_eq!([0, 1].map(|worker| counted(&summary, worker, "tcp_resets_sent")), [1, 1]);
}

#[test]
fn a_stop_ends_the_connections_of_all_workers() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let mut streams = Vec::new();
    for queue in [0, 1] {
        world.send_by(queue);
        streams.push(world.client.inside(|| connect(7)));
    }
    let reader = thread::spawn(move || {
        for mut stream in streams {
            assert_eq!(stream.read(&mut [0; 8]).expect("the end of the stream"), 0);
        }
    });
    thread::sleep(Duration::from_millis(50));
    let summary = server.stop();
    reader.join().expect("both were closed in order");
    assert_eq!([0, 1].map(|worker| counted(&summary, worker, "tcp_closed")), [1, 1]);
}

#[test]
fn figures_at_intervals_are_of_all_workers() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--interval=200ms", "echo:7"]);
    let mut streams = Vec::new();
    for queue in [0, 1] {
        world.send_by(queue);
        streams.push(world.client.inside(|| connect(7)));
    }
    let shows_both = (0..20).any(|_| server.event("interval").is_some_and(|interval| interval["tcp"]["open"] == 2));
    assert!(shows_both, "two connections, one at each worker");
    for stream in &mut streams {
        stream.write_all(b"last").expect("write");
    }
    drop(streams);
    server.stop();
}

#[test]
fn cores_that_do_not_fit_are_refused_with_the_ones_that_do() {
    let Some(world) = World::with_queues(2) else { return };
    for (cores, why, mend) in [
        ("0,1,2", "cores and queues pair by position; cores: 3, queues: 2", "--cores 0-1"),
        ("1,1", "1 stands there twice", "0-3 or 0,2,5"),
        ("1,1000", "there is no such core", "grep Cpus_allowed_list"),
    ] {
        let (code, _, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "-a", SERVER_CIDR, "--cores", cores, "echo:7"]);
        assert!(matches!(code, Some(2 | 3)) && log.contains(why) && log.contains(mend), "{cores}: {code:?} {log}");
    }
    world.assert_untouched();
}

#[test]
fn two_interfaces_are_served_by_the_same_workers() {
    let Some(world) = World::with_queues(2) else { return };
    let far = Netns::new("f");
    join((&world.server, "veth1 numtxqueues 2 numrxqueues 2"), (&far, &format!("{INTERFACE} numtxqueues 2 numrxqueues 2")));
    for (side, interface) in [(&world.server, "veth1"), (&far, INTERFACE)] {
        family::quiet(side, interface);
        side.run("ethtool", &["-K", interface, "tx", "off", "txvlan", "off"]);
        side.ip(&["link", "set", interface, "up"]);
    }
    own(&far, FAR_CIDR, INTERFACE);
    let [near, other] = [format!("veth0={SERVER_CIDR}"), format!("veth1={FAR_ROUTER_CIDR}")];
    let server = Server::with(&world, &["-i", "veth1", "-a", &near, "-a", &other, "echo:7"]);
    let talk = |side: &Netns, address: &str| {
        side.inside(|| {
            for _ in 0..CLIENTS {
                let mut stream = TcpStream::connect((address.parse::<IpAddr>().expect("an address"), 7)).expect("connect");
                exchange(&mut stream, b"hello");
                end(stream);
            }
        });
    };
    talk(&world.client, SERVER);
    talk(&far, FAR_ROUTER);
    let summary = server.stop();
    let accepted = [0, 1].map(|worker| counted(&summary, worker, "tcp_accepted"));
    assert!(accepted.iter().all(|&accepted| accepted > 0) && accepted.iter().sum::<u64>() == 2 * CLIENTS as u64, "{accepted:?}");
    let queues = summary.value()["queues"].as_array().expect("a list");
    assert_eq!(queues.len(), 4);
    assert!(queues.iter().all(|queue| queue["received"].as_u64().is_some_and(|count| count > 0)), "{queues:?}");
    world.assert_untouched();
}

/// Panics when it is told to.
struct Fragile;

impl Service for Fragile {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.open_udp(7.into()).expect("the port is free");
    }

    fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        assert_ne!(datagram.payload(), b"panic", "it was told to");
        Answer::Reply { len: datagram.payload().len() }
    }
}

#[test]
fn a_worker_that_panics_ends_all_with_its_cause_and_leaves_nothing_behind() {
    let Some(world) = World::with_queues(2) else { return };
    for queue in [0, 1] {
        world.send_by(queue);
        let name = world.server.name.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let engine = thread::spawn(move || {
            crate::common::enter(&name);
            let mut settings = Settings::default();
            settings.set("address.probes=0").expect("a setting");
            let launch = Launch::new().settings(settings).interface(INTERFACE).address(SERVER_CIDR.parse().unwrap());
            let running = launch.open_workers(|count| Ok((0..count).map(|_| Fragile).collect())).expect("it opens");
            assert_eq!(running.engines().count(), 2);
            ready.send(()).expect("the test waits");
            running.run().map(|_| ())
        });
        is_ready.recv().expect("it is ready");
        world.client.inside(|| {
            let socket = udp(7);
            socket.send(b"hello").expect("send");
            assert_eq!(socket.recv(&mut [0; 8]).expect("an answer"), 5);
            socket.send(b"panic").expect("send");
        });
        let error = engine.join().expect("the panic stays in its worker").expect_err("the run has failed");
        assert_eq!(error.what(), format!("worker {queue} has panicked"));
        assert!(error.why().contains("it was told to") && error.exit_code() == 1, "{error}");
        world.assert_untouched();
    }
}
