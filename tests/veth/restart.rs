//! How a run ends: by a signal in order, by `kill -9` without harm.

use std::io::{ErrorKind, Read};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{connect, exchange, udp};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, own, ping};

#[test]
fn restart_after_kill_9_works_at_once() {
    let Some(world) = World::new() else { return };
    for _ in 0..3 {
        let server = Server::start(&world);
        world.client.inside(|| exchange(&mut connect(7), b"hello"));
        server.kill();
    }
    let server = Server::start(&world);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    server.stop();
    world.assert_untouched();
}

#[test]
fn restart_is_not_needed_for_the_kernel_to_have_the_interface_back() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| exchange(&mut connect(7), b"hello"));
    server.kill();
    world.assert_untouched();
    own(&world.server, SERVER_CIDR, INTERFACE);
    ping(&world.client, 3, &[], SERVER);
}

#[test]
fn restart_ends_a_connection_of_the_old_run_with_a_reset() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        server.kill();
        let server = Server::start(&world);
        std::io::Write::write_all(&mut stream, b"anybody?").expect("write");
        assert_eq!(stream.read(&mut [0; 8]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
        assert_eq!(server.stop().counter("tcp_resets_sent"), 1);
    });
}

#[test]
fn signals_end_every_connection_with_a_fin() {
    let Some(world) = World::new() else { return };
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&world);
        world.client.inside(|| {
            let mut streams: Vec<_> = (0..20).map(|_| connect(7)).collect();
            streams.iter_mut().for_each(|stream| exchange(stream, b"hello"));
            server.signal(signal);
            for stream in &mut streams {
                assert_eq!(stream.read(&mut [0; 8]).expect("the end of the stream, not a reset"), 0);
            }
            drop(streams);
        });
        let summary = server.finish();
        assert_eq!((summary.counter("tcp_closed"), summary.counter("tcp_reset")), (20, 0));
        world.assert_untouched();
    }
}

/// As `timeout` does it: to the process, and at once to the group that it is in.
#[test]
fn signals_that_come_together_are_one() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        for _ in 0..3 {
            server.signal(Signal::TERM);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(stream.read(&mut [0; 8]).expect("the end of the stream"), 0);
    });
    assert_eq!(server.finish().counter("tcp_closed"), 1);
}

#[test]
fn a_second_signal_does_not_wait_for_the_peers() {
    let Some(world) = World::new() else { return };
    let mut server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        server.signal(Signal::INT);
        // The client sees the FIN and does not answer it.
        assert_eq!(stream.read(&mut [0; 8]).expect("the end of the stream"), 0);
        // Signals that come together are one.
        thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        server.signal(Signal::INT);
        server.wait();
        assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    });
    world.assert_untouched();
}

#[test]
fn an_interface_that_goes_down_and_comes_back_is_served_again() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| exchange(&mut connect(7), b"before"));
    world.server.ip(&["link", "set", INTERFACE, "down"]);
    thread::sleep(Duration::from_millis(200));
    world.server.ip(&["link", "set", INTERFACE, "up"]);
    world.client.inside(|| {
        let socket = udp(7);
        let answered = (0..10).any(|_| {
            let _ = socket.send(b"after");
            socket.recv(&mut [0; 16]).is_ok()
        });
        assert!(answered, "no answer since the link came back");
        exchange(&mut connect(7), b"after");
    });
    server.stop();
}
