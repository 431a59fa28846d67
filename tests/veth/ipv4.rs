//! What IPv4 alone has: ARP, and UDP without a checksum.

use std::thread;
use std::time::Duration;

use crate::client::server;
use crate::family::octets;
use crate::frame::{Builder, Injector};
use crate::server::{Server, ringway};
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World};

#[test]
fn a_datagram_without_a_checksum_is_answered_without_one() {
    let Some(world) = World::new() else { return };
    let ringway = Server::start(&world);
    // SO_NO_CHECK (11) has no name in Rust's libraries; Python takes the number.
    world.client.run("timeout", &["10", "python3", "-c", NO_CHECKSUM, &server(7).ip().to_string()]);
    let summary = ringway.stop();
    assert_eq!((summary.counter("udp_in_frame"), summary.drops()), (1, Vec::new()));
}

const NO_CHECKSUM: &str = r#"
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.setsockopt(socket.SOL_SOCKET, 11, 1)
client.settimeout(2)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
wire.settimeout(2)
client.sendto(b"unsummed", (sys.argv[1], 7))
assert client.recv(64) == b"unsummed"
while True:
    frame = wire.recv(2048)
    if frame[23] == 17 and frame[34:36] == b"\0\x07":
        assert frame[40:42] == b"\0\0", frame.hex()
        break
"#;

/// Another host that looks whether the address is free, as `arping -D` does (RFC 5227 1.1), learns that it is not.
#[test]
fn a_probe_for_the_address_is_answered() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let mut injector = Injector::new(&world);
    injector.send(&probe(&world));
    injector.finish();
    let summary = server.stop();
    assert_eq!((summary.counter("arp_replies"), summary.neighbors()), (1, 0));
}

/// Another host looks whether the address is free while Ringway does (RFC 5227 2.1.1): neither may have it.
#[test]
fn an_address_that_another_host_wants_at_the_same_time_is_refused() {
    let Some(world) = World::new() else { return };
    let mut injector = Injector::new(&world);
    let probe = probe(&world);
    let (code, out, log) = thread::scope(|scope| {
        let run = scope.spawn(|| ringway(&world.server, &["serve", "-i", INTERFACE, "-a", SERVER_CIDR, "echo:7"]));
        while !run.is_finished() {
            injector.send(&probe);
            thread::sleep(Duration::from_millis(100));
        }
        run.join().expect("the command")
    });
    injector.finish();
    assert_eq!((code, out.as_str()), (Some(3), ""), "{log}");
    assert!(log.contains(&format!("cannot claim the address {SERVER} on {INTERFACE}")), "{log}");
    world.assert_untouched();
}

/// The question of a host that has no address yet.
fn probe(world: &World) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let probe = [&head[..], &world.client_mac(), &[0; 4], &[0; 6], &octets(SERVER)].concat();
    Builder::new(world).ethernet(0x0806, &probe)
}
