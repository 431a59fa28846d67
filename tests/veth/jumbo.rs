//! A link with an MTU of 9000: packets of several frames, both ways, against the kernel.

use crate::client::{connect, echo_bulk, udp};
use crate::family::DATAGRAM_MAX;
use crate::frame::{Builder, Injector, TRANSPORT};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World, ping};

const MTU: usize = 9000;

fn world() -> Option<World> {
    let world = World::new()?;
    for side in [&world.server, &world.client] {
        // Segments as large as the link's packets, and no larger ones to be cut by somebody.
        side.run("ethtool", &["-K", INTERFACE, "tso", "off", "gso", "off", "gro", "off"]);
        side.ip(&["link", "set", INTERFACE, "mtu", &MTU.to_string()]);
    }
    Some(world)
}

/// The largest UDP payload, or data of a ping, of one packet.
const LARGEST: usize = DATAGRAM_MAX + MTU - 1500;

#[test]
fn pings_of_8000_bytes_are_answered_unfragmented() {
    for mode in ["native", "skb"] {
        let Some(world) = world() else { return };
        let server = Server::with(&world, &["-a", SERVER_CIDR, "-m", mode, "echo:7"]);
        assert_eq!((&server.ready["xdp"], &server.ready["mtu"]), (&mode.into(), &MTU.into()), "{}", server.ready);
        for size in [56, 3000, 3800, 4000, 8000, LARGEST] {
            ping(&world.client, 3, &["-M", "do", "-s", &size.to_string()], SERVER);
        }
        let summary = server.stop();
        assert_eq!(summary.counter("icmp_echo_replies"), 18);
        assert_eq!((summary.counter("ip_reassembled"), summary.counter("ip_fragmented")), (0, 0));
        world.assert_untouched();
    }
}

#[test]
fn datagrams_of_several_frames_are_echoed() {
    let Some(world) = world() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let socket = udp(7);
        let mut back = vec![0; 16_384];
        for round in 0..50 {
            for size in [1, 1472, 3800, 4100, 8900, LARGEST] {
                let data: Vec<u8> = (0..size).map(|n| (n * 31 + round) as u8).collect();
                socket.send(&data).expect("send");
                let n = socket.recv(&mut back).unwrap_or_else(|error| panic!("{size} bytes: {error}"));
                assert!(back[..n] == data, "{size} bytes");
            }
        }
    });
    let summary = server.stop();
    assert_eq!((summary.counter("udp_received"), summary.drops()), (300, Vec::new()));
    assert_eq!((summary.counter("ip_reassembled"), summary.counter("ip_fragmented")), (0, 0));
}

#[test]
fn bulk_in_segments_of_several_frames_arrives_unchanged() {
    const TOTAL: usize = 64 << 20;
    let Some(world) = world() else { return };
    let server = Server::start(&world);
    let (sent, received) = world.client.inside(|| echo_bulk(&connect(7), TOTAL, 1));
    assert_eq!(sent, received, "the SHA-256 differ");
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_in_frame_bytes") + summary.counter("tcp_buffered_bytes"), TOTAL as u64);
    // As large as the link allows: small ones would be several times as many.
    let segments = summary.counter("tcp_received") + summary.counter("tcp_sent");
    assert!(segments < (TOTAL / 2000) as u64, "{segments} segments");
    assert_eq!((summary.dropped("chain_broken"), summary.dropped("chain_too_long")), (0, 0));
    world.assert_untouched();
}

#[test]
fn a_lie_in_the_last_frame_of_a_packet_is_dropped_and_no_frame_is_lost() {
    let Some(world) = world() else { return };
    let server = Server::start(&world);
    let good = Builder::new(&world).udp(40_000, 7, &[7; 8000]);
    let mut lying = good.clone();
    lying[TRANSPORT + 7000] ^= 1;
    let mut wire = Injector::new(&world);
    for _ in 0..20 {
        wire.send(&lying);
        wire.send(&good);
    }
    wire.finish();
    let summary = server.stop();
    assert_eq!((summary.counter("udp_received"), summary.dropped("udp_checksum")), (20, 20));
}
