//! Streams: everything arrives, in order, whoever closes and however slowly the other side reads.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use ringway::service::chargen;

use crate::client::{abort, connect, echo_bulk};
use crate::server::Server;
use crate::world::World;

const MIB: usize = 1 << 20;

#[test]
fn bulk_64_mib_in_each_direction_at_once_arrive_unchanged() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let (sent, received) = world.client.inside(|| echo_bulk(&connect(7), 64 * MIB, 1));
    assert_eq!(sent, received, "the SHA-256 differ");
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_in_frame_bytes") + summary.counter("tcp_buffered_bytes"), 64 * MIB as u64);
    assert_eq!(summary.counter("tcp_closed"), 1);
}

#[test]
fn bulk_on_several_connections_at_once() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let streams: Vec<_> = (0..8).map(|_| connect(7)).collect();
        thread::scope(|scope| {
            for (seed, stream) in streams.iter().enumerate() {
                scope.spawn(move || {
                    let (sent, received) = echo_bulk(stream, 4 * MIB, seed as u64);
                    assert_eq!(sent, received);
                });
            }
        });
    });
    assert_eq!(server.stop().counter("tcp_closed"), 8);
}

#[test]
fn bulk_after_a_half_close_still_comes_back_whole() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        // As much as fits into the buffers of both sides without reading, then the FIN, and only then the first read.
        let data: Vec<u8> = (0..200_000_u32).map(|n| (n * 7) as u8).collect();
        stream.write_all(&data).expect("write");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        thread::sleep(Duration::from_millis(200));
        let mut back = Vec::new();
        stream.read_to_end(&mut back).expect("read");
        assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
    });
    assert_eq!(server.stop().counter("tcp_closed"), 1);
}

#[test]
fn bulk_to_a_client_that_stops_reading_waits_and_goes_on() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(19);
        let mut position = 0;
        for pause in [0, 300, 1500, 0] {
            // While nobody reads, the client's window closes and Ringway probes it.
            thread::sleep(Duration::from_millis(pause));
            let mut bytes = vec![0; 4 * MIB];
            stream.read_exact(&mut bytes).expect("read");
            let mut expected = vec![0; bytes.len()];
            chargen::fill(position, &mut expected);
            assert!(bytes == expected, "the stream differs behind byte {position}");
            position += bytes.len() as u64;
        }
        abort(stream);
    });
    assert_eq!(server.stop().counter("tcp_reset"), 1);
}

#[test]
fn bulk_to_discard_is_taken_and_never_answered() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(9);
        stream.write_all(&vec![7; 16 * MIB]).expect("write");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(stream.read(&mut [0; 16]).expect("read"), 0);
    });
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_in_frame_bytes") + summary.counter("tcp_buffered_bytes"), 16 * MIB as u64);
}
