//! Who has the address, and ping: it answers although no kernel owns it.

use crate::family::{DATAGRAM_MAX, FREE_CIDR, WHO_HAS_ANSWERS};
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, World, own, ping};

#[test]
fn ping_answers_whatever_the_size() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    for size in [0, 1, 56, DATAGRAM_MAX] {
        let text = ping(&world.client, 3, &["-t", "3", "-s", &size.to_string()], SERVER);
        // An answer starts its way anew, wherever the question came from.
        assert_eq!(text.matches(" ttl=64").count(), 3, "{text}");
    }
    let summary = server.stop();
    assert_eq!(summary.counter("icmp_echo_replies"), 12);
    assert!(summary.counter(WHO_HAS_ANSWERS) >= 1);
    world.assert_untouched();
}

#[test]
fn an_address_beside_the_claimed_one_stays_with_the_kernel() {
    let Some(world) = World::new() else { return };
    own(&world.server, FREE_CIDR, INTERFACE);
    let beside = FREE_CIDR.split_once('/').expect("a prefix").0;
    let server = Server::start(&world);
    for address in [beside, SERVER] {
        ping(&world.client, 2, &[], address);
    }
    assert_eq!(server.stop().counter("icmp_echo_replies"), 2);
}
