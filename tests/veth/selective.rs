//! The kernel as a sender acts on what Ringway reports selectively: it repairs what was lost, and learns what came twice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::client::connect;
use crate::server::Server;
use crate::world::{INTERFACE, World, kernel_count};

const MIB: usize = 1 << 20;

/// Lets nft lose frames on the client side; `hook` is `ingress` or `egress`.
fn lose_frames(world: &World, hook: &str, rule: &str) {
    let chain = format!("{{ type filter hook {hook} device \"{INTERFACE}\" priority 0; }}");
    world.client.run("nft", &["add", "table", "netdev", "faults"]);
    world.client.run("nft", &["add", "chain", "netdev", "faults", hook, &chain]);
    let rule: Vec<_> = ["add", "rule", "netdev", "faults", hook].into_iter().chain(rule.split(' ')).collect();
    world.client.run("nft", &rule);
}

/// Frames that the rules have lost.
fn lost(world: &World) -> u64 {
    let listing = world.client.run("nft", &["list", "table", "netdev", "faults"]);
    let count = listing.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no counter in {listing}"))
}

fn finish(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(stream.read(&mut [0; 16]).expect("read"), 0);
}

#[test]
fn the_kernel_sends_again_what_was_lost_and_no_more() {
    let Some(world) = World::in_order() else { return };
    // A frame that is dropped on its way out is no loss to the kernel's TCP, which learns of it at once; one that goes astray is.
    // One frame a segment, so that one segment is lost and not a whole train.
    world.client.ip(&["link", "set", INTERFACE, "gso_max_segs", "1"]);
    let server = Server::start(&world);
    lose_frames(&world, "egress", "meta l4proto tcp meta length > 1000 numgen inc mod 100 == 7 counter fwd to lo");
    world.client.inside(|| {
        let mut stream = connect(9);
        stream.write_all(&vec![7; 16 * MIB]).expect("write");
        finish(stream);
    });
    let (lost, resent) = (lost(&world), kernel_count(&world.client, "TcpRetransSegs"));
    assert!(lost > 50, "{lost} segments were lost");
    assert!(kernel_count(&world.client, "TcpExtTCPSackRecovery") > 0, "the kernel recovered by SACK");
    // Tail loss probes and segments sent again that were lost again make it a little more.
    assert!(resent <= lost * 3 / 2, "{resent} segments sent again for {lost} lost");
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_in_frame_bytes") + summary.counter("tcp_buffered_bytes"), 16 * MIB as u64);
    assert!(summary.happened("sack_sent") > 0);
}

#[test]
fn the_kernel_learns_what_came_twice() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(9);
        // The acknowledgments are lost for a while, so that what arrived is sent again.
        lose_frames(&world, "ingress", "meta l4proto tcp counter drop");
        stream.write_all(&[7; 3000]).expect("write");
        thread::sleep(Duration::from_millis(300));
        world.client.run("nft", &["delete", "table", "netdev", "faults"]);
        thread::sleep(Duration::from_millis(700));
        finish(stream);
    });
    assert!(kernel_count(&world.client, "TcpExtTCPDSACKRecv") > 0, "the kernel heard of a duplicate");
    assert!(server.stop().happened("dsack_sent") > 0);
}
