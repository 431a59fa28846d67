//! Several queues of one interface.

use std::time::Duration;

use crate::client::{connect, echo_bulk, udp};
use crate::neighbors::shown;
use crate::server::Server;
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World};

/// Clients enough that the kernel's flow hash uses every queue: all of 64 on one of two has a chance of 2^-63.
const CLIENTS: usize = 64;

#[test]
fn one_worker_serves_all_queues() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        for seed in 0..CLIENTS as u64 {
            let (sent, received) = echo_bulk(&connect(7), 100_000, seed);
            assert_eq!(sent, received);
        }
    });
    let summary = server.stop();
    let queues = summary.value()["queues"].as_array().expect("a list");
    assert_eq!(queues.len(), 2);
    for queue in queues {
        assert!(queue["received"].as_u64().is_some_and(|n| n > 100), "{queue}");
    }
}

#[test]
fn a_queue_without_a_socket_is_counted_and_said() {
    let Some(world) = World::with_queues(2) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--queues", "0", "--partial", "echo:7"]);
    assert_eq!(server.ready["partial"], true, "{}", server.ready);
    know_the_server(&world);
    let answered = world.client.inside(|| {
        let sockets: Vec<_> = (0..CLIENTS).map(|_| udp(7)).collect();
        let answers = sockets.iter().filter(|socket| {
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
            socket.send(b"which queue?").expect("send");
            socket.recv(&mut [0; 64]).is_ok()
        });
        answers.count() as u64
    });
    let summary = server.stop();
    assert!(0 < answered && answered < CLIENTS as u64, "{answered}");
    assert_eq!(summary.steered("claimed_unserved"), CLIENTS as u64 - answered, "{}", summary.value());
    let notes = summary.value()["conditions"]["notes"].to_string();
    assert!(notes.contains("only the queues 0 are served"), "every report says so: {notes}");
}

/// Tells the client's kernel the server's address: by which queue it would ask for that is left to its hash.
fn know_the_server(world: &World) {
    world.client.ip(&["neighbor", "replace", SERVER, "lladdr", &shown(world.server_mac()), "dev", INTERFACE]);
}
