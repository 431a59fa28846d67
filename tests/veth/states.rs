//! Connections end in the states of RFC 9293 on both sides: the kernel's as `ss` shows them, Ringway's in its own report.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::client::{abort, connect, exchange, patient, server};
use crate::common::Netns;
use crate::server::Server;
use crate::world::{CLIENT, SERVER_CIDR, World};

/// The states of the client's connections, as `ss` names them.
fn states(client: &Netns) -> Vec<String> {
    let text = client.run("ss", &["-H", "-tan"]);
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Waits until the client's connections are in these states.
fn expect_states(client: &Netns, expected: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = states(client);
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "the states are {found:?}, not {expected:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A connection from a port of the test's choice, taken although an earlier connection used it.
fn connect_from(port: u16, to: u16) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server(to)), Type::STREAM, Some(Protocol::TCP)).expect("socket");
    socket.set_reuse_address(true).expect("reuse");
    socket.bind(&SocketAddr::new(CLIENT.parse().expect("an address"), port).into()).expect("bind");
    socket.connect_timeout(&server(to).into(), Duration::from_secs(5)).expect("connect");
    let stream = TcpStream::from(socket);
    patient(&stream);
    stream
}

#[test]
fn the_kernel_closes_first_and_holds_time_wait() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(stream.read(&mut [0; 16]).expect("read"), 0);
    });
    expect_states(&world.client, &["TIME-WAIT"]);
    let summary = server.stop();
    assert_eq!((summary.counter("tcp_closed"), summary.in_time_wait()), (1, 0));
}

#[test]
fn ringway_closes_first_and_holds_time_wait() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut line = String::new();
        let mut stream = connect(13);
        stream.read_to_string(&mut line).expect("read");
        assert!(line.ends_with("-UTC\r\n"), "{line}");
        expect_states(&world.client, &["CLOSE-WAIT"]);
    });
    expect_states(&world.client, &[]);
    let summary = server.stop();
    assert_eq!((summary.counter("tcp_closed"), summary.in_time_wait()), (1, 1));
}

#[test]
fn a_half_closed_client_waits_in_fin_wait_2_for_the_rest() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(19);
        stream.shutdown(Shutdown::Write).expect("shutdown");
        // Ringway has acknowledged the FIN, and has more queued than the client's window takes.
        expect_states(&world.client, &["FIN-WAIT-2"]);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("read");
        assert!(rest.starts_with(b"!\"#$%&") && rest.len() > 1000, "{} bytes", rest.len());
    });
    expect_states(&world.client, &["TIME-WAIT"]);
    let summary = server.stop();
    assert_eq!((summary.counter("tcp_closed"), summary.in_time_wait()), (1, 0));
}

#[test]
fn a_reset_ends_both_sides_at_once() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        abort(stream);
    });
    expect_states(&world.client, &[]);
    let summary = server.stop();
    assert_eq!((summary.counter("tcp_reset"), summary.counter("tcp_removed")), (1, 1));
}

#[test]
fn a_closed_port_refuses() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let refused = TcpStream::connect(crate::client::server(4242)).expect_err("nobody listens there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
    let summary = server.stop();
    assert_eq!((summary.dropped("tcp_port_closed"), summary.counter("tcp_resets_sent")), (1, 1));
}

#[test]
fn a_syn_in_time_wait_opens_the_next_connection() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        for _ in 0..20 {
            let mut line = String::new();
            connect_from(40_001, 13).read_to_string(&mut line).expect("read");
            assert!(line.ends_with("-UTC\r\n"), "{line}");
            expect_states(&world.client, &[]);
        }
    });
    let summary = server.stop();
    assert_eq!((summary.counter("tcp_accepted"), summary.counter("tcp_reopened")), (20, 19));
    assert_eq!(summary.in_time_wait(), 1);
}

#[test]
fn time_wait_ends_after_2_msl() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.msl=200ms", "daytime/tcp:13"]);
    world.client.inside(|| connect(13).read_to_string(&mut String::new()).expect("read"));
    thread::sleep(Duration::from_millis(800));
    let summary = server.stop();
    assert_eq!((summary.counter("tcp_removed"), summary.in_time_wait()), (1, 0));
}

#[test]
fn data_after_the_server_closed_is_answered_by_the_rules() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(13);
        let mut line = String::new();
        stream.read_to_string(&mut line).expect("read");
        // Ringway is in FIN-WAIT-2: it still takes what the client has to say, and then the client's FIN.
        stream.write_all(b"thank you").expect("write");
        stream.shutdown(Shutdown::Write).expect("shutdown");
    });
    expect_states(&world.client, &[]);
    assert_eq!(server.stop().counter("tcp_accepted"), 1);
}
