//! UDP: answered in the frame it came in, or not at all.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use ringway::service::chargen;

use crate::client::udp;
use crate::family::{ANY, DATAGRAM_MAX};
use crate::server::Server;
use crate::world::World;

#[test]
fn datagrams_of_every_size_come_back_without_a_copy() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let socket = udp(7);
        let mut back = [0; 2048];
        for size in 0..=DATAGRAM_MAX {
            let data: Vec<u8> = (0..size).map(|n| (n * 31 + size) as u8).collect();
            socket.send(&data).expect("send");
            let n = socket.recv(&mut back).unwrap_or_else(|error| panic!("{size} bytes: {error}"));
            assert!(back[..n] == data, "{size} bytes");
        }
    });
    let summary = server.stop();
    assert_eq!(summary.counter("udp_received"), DATAGRAM_MAX as u64 + 1);
    assert_eq!(summary.counter("udp_in_frame"), DATAGRAM_MAX as u64 + 1);
    assert_eq!(summary.counter("udp_copies"), 0);
}

#[test]
fn a_closed_port_answers_port_unreachable() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let socket = udp(4242);
        socket.send(b"anybody?").expect("send");
        let refused = socket.recv(&mut [0; 16]).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
    let summary = server.stop();
    assert_eq!((summary.dropped("udp_port_closed"), summary.counter("icmp_errors_sent")), (1, 1));
}

#[test]
fn every_service_answers_as_its_rfc_says() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut room = [0; 2048];
        let daytime = udp(13);
        daytime.send(b"").expect("send");
        let n = daytime.recv(&mut room).expect("the time");
        assert!(room[..n].ends_with(b"-UTC\r\n"));

        let chargen = udp(19);
        let mut expected = [0; chargen::DATAGRAM_CHARACTERS_MAX];
        chargen::fill(0, &mut expected);
        for _ in 0..50 {
            chargen.send(b"").expect("send");
            let n = chargen.recv(&mut room).expect("characters");
            assert!(n <= expected.len() && room[..n] == expected[..n]);
        }

        let discard = udp(9);
        discard.set_read_timeout(Some(Duration::from_millis(200))).expect("set a timeout");
        discard.send(b"gone").expect("send");
        assert_eq!(discard.recv(&mut room).expect_err("no answer").kind(), ErrorKind::WouldBlock);
    });
    let summary = server.stop();
    assert_eq!((summary.counter("udp_received"), summary.counter("udp_in_frame")), (52, 1 + 50));
    assert_eq!(summary.drops(), Vec::new(), "to discard is not to drop");
}

#[test]
fn a_low_source_port_is_not_answered() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        for (from, to) in [(19, 7), (1023, 7), (7, 19), (1023, 13)] {
            let socket = UdpSocket::bind((ANY, from)).expect("bind");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
            socket.send_to(b"loop?", crate::client::server(to)).expect("send");
            assert_eq!(socket.recv(&mut [0; 16]).expect_err("no answer").kind(), ErrorKind::WouldBlock, "{from} to {to}");
        }
    });
    assert_eq!(server.stop().dropped("udp_unsafe_to_answer"), 4);
}

#[test]
fn many_clients_at_once_each_get_their_own() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let sockets: Vec<_> = (0..200).map(|_| udp(7)).collect();
        let mut back = [0; 64];
        for round in 0..20_u32 {
            for (n, socket) in sockets.iter().enumerate() {
                socket.send(&(n as u32 * 100 + round).to_be_bytes()).expect("send");
            }
            for (n, socket) in sockets.iter().enumerate() {
                let len = socket.recv(&mut back).expect("an answer");
                assert_eq!(back[..len], (n as u32 * 100 + round).to_be_bytes());
            }
        }
    });
    let summary = server.stop();
    assert_eq!((summary.counter("udp_in_frame"), summary.counter("udp_copies")), (4000, 0));
}
