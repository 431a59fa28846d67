//! Many connections, at once and one after another: what they used comes back.

use std::io::Read;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{abort, allow_many_descriptors, connect, end, exchange};
use crate::family::IN_SEQUENCE;
use crate::server::Server;
use crate::world::{SERVER_CIDR, World};

#[test]
fn connections_a_thousand_at_once() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    allow_many_descriptors(1200);
    world.client.inside(|| {
        let mut streams: Vec<_> = (0..1000).map(|_| connect(7)).collect();
        for round in 0..3_u32 {
            for (n, stream) in streams.iter_mut().enumerate() {
                exchange(stream, &(n as u32 * 3 + round).to_be_bytes().repeat(64));
            }
        }
        streams.into_iter().for_each(end);
    });
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_accepted"), 1000);
    assert_eq!(summary.counter("tcp_established"), 1000);
    assert_eq!(summary.counter("tcp_closed"), 1000);
    assert_eq!(summary.counter("tcp_removed"), 1000);
}

#[test]
fn connections_a_thousand_that_open_in_one_burst() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    allow_many_descriptors(1200);
    world.client.inside(|| {
        thread::scope(|scope| {
            for worker in 0..8_u8 {
                scope.spawn(move || {
                    let mut streams: Vec<_> = (0..125).map(|_| connect(7)).collect();
                    streams.iter_mut().for_each(|stream| exchange(stream, &[worker; 100]));
                    streams.into_iter().for_each(end);
                });
            }
        });
    });
    assert_eq!(server.stop().counter("tcp_closed"), 1000);
}

#[test]
fn connections_thousands_one_after_another() {
    let Some(world) = World::new() else { return };
    // The server closes first, so no port of the client stays behind; its own TIME-WAIT is short enough to see it end.
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.msl=500ms", "daytime/tcp:13"]);
    world.client.inside(|| {
        let mut line = String::new();
        for n in 0..IN_SEQUENCE {
            line.clear();
            let mut stream = connect(13);
            stream.read_to_string(&mut line).unwrap_or_else(|error| panic!("connection {n}: {error}"));
            assert!(line.ends_with("-UTC\r\n"), "connection {n}: {line}");
        }
    });
    thread::sleep(Duration::from_millis(1500));
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_accepted"), IN_SEQUENCE as u64);
    assert_eq!(summary.counter("tcp_closed"), IN_SEQUENCE as u64);
    assert_eq!(summary.counter("tcp_removed"), IN_SEQUENCE as u64);
    assert_eq!(summary.in_time_wait(), 0, "TIME-WAIT of 2 MSL is over");
}

#[test]
fn connections_that_the_client_resets_leave_nothing() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        for n in 0..5000_u32 {
            let mut stream = connect(7);
            exchange(&mut stream, &n.to_be_bytes());
            abort(stream);
        }
    });
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_accepted"), 5000);
    assert_eq!(summary.counter("tcp_reset"), 5000);
    assert_eq!(summary.counter("tcp_removed"), 5000);
    assert_eq!(summary.in_time_wait(), 0);
}

#[test]
fn connections_that_close_while_the_server_stops_end_in_order() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut streams: Vec<_> = (0..300).map(|_| connect(7)).collect();
        streams.iter_mut().for_each(|stream| exchange(stream, b"hello"));
        // The clients' FINs arrive while the server stands still, and it is asked to stop before it has seen one: they cross.
        server.signal(Signal::STOP);
    });
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    let summary = server.finish();
    assert_eq!((summary.counter("tcp_closed"), summary.counter("tcp_reset")), (300, 0));
    assert_eq!(summary.counter("tcp_removed") + summary.in_time_wait(), 300);
}

#[test]
fn connections_that_were_never_closed_end_with_the_server() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut streams: Vec<_> = (0..100).map(|_| connect(7)).collect();
        streams.iter_mut().for_each(|stream| exchange(stream, b"still here"));
        let summary = server.stop();
        assert_eq!(summary.counter("tcp_accepted"), 100);
        // Each client read its end of the stream or the reset that followed the drain.
        for stream in &mut streams {
            assert!(!matches!(stream.read(&mut [0; 16]), Ok(n) if n > 0));
        }
    });
}
