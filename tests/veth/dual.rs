//! One server with addresses of both families, and clients of both at once.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::client::{echo_bulk, end, exchange, patient};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, own, ping};

/// The server's other address.
const SERVER_V4: &str = "10.0.0.2";

/// A world whose both sides have addresses of both families, and its server.
fn both() -> Option<(World, Server)> {
    let world = World::new()?;
    own(&world.client, "10.0.0.1/24", INTERFACE);
    let server = Server::with(&world, &["-a", "10.0.0.2/24", "-a", SERVER_CIDR, "echo:7"]);
    Some((world, server))
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

fn connect(target: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&target, Duration::from_secs(5)).expect("connect");
    patient(&stream);
    stream
}

#[test]
fn clients_of_both_families_are_served_at_once() {
    let Some((world, server)) = both() else { return };
    world.client.inside(|| {
        thread::scope(|scope| {
            for (seed, address) in [SERVER_V4, SERVER].into_iter().enumerate() {
                scope.spawn(move || {
                    let (sent, received) = echo_bulk(&connect(at(address, 7)), 8 << 20, seed as u64);
                    assert_eq!(sent, received, "{address}");
                });
                scope.spawn(move || datagrams(at(address, 7)));
            }
        });
    });
    for address in [SERVER_V4, SERVER] {
        ping(&world.client, 3, &[], address);
    }
    let summary = server.stop();
    assert_eq!((summary.counter("tcp_accepted"), summary.counter("tcp_closed")), (2, 2));
    assert_eq!((summary.counter("udp_in_frame"), summary.counter("udp_copies")), (1000, 0));
    assert_eq!((summary.counter("icmp_echo_replies"), summary.neighbors()), (6, 2));
    assert!(summary.counter("arp_replies") > 0 && summary.counter("nd_advertisements") > 0);
    world.assert_untouched();
}

fn datagrams(target: SocketAddr) {
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).expect("bind");
    socket.connect(target).expect("connect");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
    let mut back = [0; 2048];
    for n in 0..500_usize {
        let data = vec![n as u8; n * 2];
        socket.send(&data).expect("send");
        let len = socket.recv(&mut back).expect("an answer");
        assert!(back[..len] == data, "datagram {n} over {target}");
    }
}

#[test]
fn the_same_ports_over_both_families_are_two_connections() {
    let Some((world, server)) = both() else { return };
    world.client.inside(|| {
        let from_one_port = |address: &str, own: &str| {
            let target = at(address, 7);
            let socket =
                socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None).expect("a socket");
            socket.bind(&at(own, 40_000).into()).expect("bind");
            socket.connect_timeout(&target.into(), Duration::from_secs(5)).expect("connect");
            let stream = TcpStream::from(socket);
            patient(&stream);
            stream
        };
        let mut streams = [from_one_port(SERVER_V4, "10.0.0.1"), from_one_port(SERVER, crate::world::CLIENT)];
        for _ in 0..10 {
            exchange(&mut streams[0], b"over four");
            exchange(&mut streams[1], b"over six");
        }
        streams.into_iter().for_each(end);
    });
    assert_eq!(server.stop().counter("tcp_closed"), 2);
}

#[test]
fn a_socket_of_ipv6_that_means_ipv4_is_served_over_ipv4() {
    let Some((world, server)) = both() else { return };
    world.client.inside(|| {
        let mut stream = connect(at("::ffff:10.0.0.2", 7));
        exchange(&mut stream, b"mapped");
        end(stream);
    });
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_closed"), 1);
    assert!(summary.counter("arp_replies") > 0);
}

#[test]
fn an_address_of_either_family_may_be_the_one_that_is_taken() {
    let Some(world) = World::new() else { return };
    own(&world.client, "10.0.0.1/24", INTERFACE);
    for taken in [["10.0.0.1/24", SERVER_CIDR], ["10.0.0.2/24", crate::family::CLIENT_CIDR]] {
        let arguments = ["serve", "-i", INTERFACE, "-a", taken[0], "-a", taken[1], "echo:7"];
        let (code, out, log) = crate::server::ringway(&world.server, &arguments);
        assert_eq!((code, out.as_str()), (Some(3), ""), "{taken:?}: {log}");
        world.assert_untouched();
    }
}
