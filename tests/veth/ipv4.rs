//! What IPv4 alone has: ARP, and UDP without a checksum.

use crate::client::server;
use crate::family::octets;
use crate::frame::{Builder, Injector};
use crate::server::Server;
use crate::world::{SERVER, World};

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
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let probe = [&head[..], &world.client_mac(), &[0; 4], &[0; 6], &octets(SERVER)].concat();
    let mut injector = Injector::new(&world);
    injector.send(&Builder::new(&world).ethernet(0x0806, &probe));
    injector.finish();
    let summary = server.stop();
    assert_eq!((summary.counter("arp_replies"), summary.neighbors()), (1, 0));
}
