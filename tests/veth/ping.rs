//! ARP and ICMP echo: the address answers although no kernel owns it.

use crate::server::Server;
use crate::world::{SERVER, World};

#[test]
fn ping_answers_whatever_the_size() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    for size in ["0", "1", "56", "1472"] {
        let text = world.client.run("ping", &["-c", "3", "-i", "0.05", "-W", "2", "-s", size, SERVER]);
        assert!(text.contains("3 received"), "{size} bytes: {text}");
    }
    let summary = server.stop();
    assert_eq!(summary.counter("icmp_echo_replies"), 12);
    assert!(summary.counter("arp_replies") >= 1);
    world.assert_untouched();
}

#[test]
fn an_address_beside_the_claimed_one_stays_with_the_kernel() {
    let Some(world) = World::new() else { return };
    world.server.ip(&["address", "add", "10.0.0.3/24", "dev", "veth0"]);
    let server = Server::start(&world);
    for address in ["10.0.0.3", SERVER] {
        let text = world.client.run("ping", &["-c", "2", "-i", "0.05", "-W", "2", address]);
        assert!(text.contains("2 received"), "{address}: {text}");
    }
    assert_eq!(server.stop().counter("icmp_echo_replies"), 2);
}
