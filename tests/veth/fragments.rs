//! IP fragments against the kernel's own: pings and datagrams larger than the link carries, and fragments that lie.

use std::net::UdpSocket;
use std::time::Duration;

use crate::frame::{Builder, IP, Injector, seal};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, kernel_count, own, ping};

const SERVER_V6: &str = "fd00::2";

/// A world in which both families are served.
fn both_families() -> Option<(World, Server)> {
    let world = World::new()?;
    world.client.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=0"]);
    own(&world.client, "fd00::1/64", INTERFACE);
    let server = Server::with(&world, &["-a", SERVER_CIDR, "-a", "fd00::2/64", "echo:7"]);
    Some((world, server))
}

#[test]
fn pings_of_every_size_are_answered() {
    let Some((world, server)) = both_families() else { return };
    let sizes = (0..=8000).step_by(500).chain([1, 1452, 1453, 1472, 1473, 7999, 65_507]);
    let mut count = 0;
    for size in sizes {
        for address in [SERVER, SERVER_V6] {
            ping(&world.client, 2, &["-s", &size.to_string()], address);
            count += 2;
        }
    }
    let summary = server.stop();
    assert_eq!(summary.counter("icmp_echo_replies"), count);
    assert_eq!(summary.counter("ip_reassembled"), summary.counter("ip_fragmented"));
    assert!(summary.counter("ip_reassembled") > 30);
}

#[test]
fn datagrams_of_many_fragments_are_echoed() {
    let Some((world, server)) = both_families() else { return };
    world.client.inside(|| {
        for (from, to) in [("0.0.0.0:0", "10.0.0.2:7"), ("[::]:0", "[fd00::2]:7")] {
            let socket = UdpSocket::bind(from).expect("bind");
            socket.connect(to).expect("connect");
            socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set a timeout");
            let mut back = vec![0; 65_536];
            for size in [1473, 2000, 8000, 60_000, 65_507] {
                let data: Vec<u8> = (0..size).map(|n| (n * 31 + size) as u8).collect();
                socket.send(&data).expect("send");
                let n = socket.recv(&mut back).unwrap_or_else(|error| panic!("{to}, {size} bytes: {error}"));
                assert!(back[..n] == data, "{to}, {size} bytes");
            }
        }
    });
    let summary = server.stop();
    assert_eq!((summary.counter("udp_received"), summary.counter("ip_fragmented")), (10, 10));
}

/// A fragment of a packet, its header sealed.
fn fragment(mut frame: Vec<u8>, id: u16, offset: u16, more: bool) -> Vec<u8> {
    frame[IP + 4..IP + 6].copy_from_slice(&id.to_be_bytes());
    let field = (offset / 8) | if more { 0x2000 } else { 0 };
    frame[IP + 6..IP + 8].copy_from_slice(&field.to_be_bytes());
    seal(&mut frame);
    frame
}

#[test]
fn fragments_in_any_order_are_one_ping_and_overlapping_ones_none() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let build = Builder::new(&world);
    let replies = || kernel_count(&world.client, "IcmpInEchoReps");
    let ping = build.ping(&[7; 3000])[IP + 20..].to_vec();
    let part = |id, from: usize, to: usize| fragment(build.ip(1, &ping[from..to]), id, from as u16, to < ping.len());
    let before = replies();
    let mut wire = Injector::new(&world);
    for (from, to) in [(2000, ping.len()), (0, 1000), (0, 1000), (1000, 2000)] {
        wire.send(&part(1, from, to));
    }
    for (from, to) in [(0, 1000), (992, 2000), (2000, ping.len())] {
        wire.send(&part(2, from, to));
    }
    wire.finish();
    assert_eq!(replies() - before, 1);
    let summary = server.stop();
    assert_eq!(summary.counter("icmp_echo_replies"), 1);
    assert_eq!((summary.dropped("fragment_duplicate"), summary.dropped("fragment_overlap")), (1, 1));
}
