//! Who is on the link: neighbours that answer, one that is not there, and a station that has the address first.

use std::path::Path;
use std::time::Instant;

use crate::client::{connect, end, exchange};
use crate::family::{CLIENT_CIDR, SILENT};
use crate::server::{RINGWAY, Server, ringway, run_to_end};
use crate::world::{CLIENT, INTERFACE, SERVER, SERVER_CIDR, World};

fn shown(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
fn after_traffic_both_sides_know_each_other_as_neighbours() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"hello");
        end(stream);
    });
    let known = world.client.ip(&["neighbor", "show", SERVER, "dev", INTERFACE]);
    assert!(known.contains(&format!("lladdr {}", shown(world.server_mac()))) && known.contains("REACHABLE"), "{known}");
    assert_eq!(server.stop().neighbors(), 1);
}

#[test]
fn a_connection_to_nobody_ends_when_three_questions_are_unanswered() {
    let Some(world) = World::new() else { return };
    let example = Path::new(RINGWAY).with_file_name("examples").join("exchange_files");
    assert!(example.exists(), "{} is not built: cargo build --examples", example.display());
    let folder = tempfile::tempdir().expect("a folder");
    let [to_send, kept] = ["to-send", "kept"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&to_send, "anybody?").expect("write");
    let target = std::net::SocketAddr::new(SILENT.parse().expect("an address"), 7).to_string();
    let mut command = world.server.command(example.to_str().expect("UTF-8"));
    command.args([INTERFACE, SERVER_CIDR, &target, &to_send, &kept]);
    let begun = Instant::now();
    let (code, out, log) = run_to_end(command);
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(code, Some(1), "{out}{log}");
    assert!(log.contains("Unreachable"), "{log}");
    // The questions are a second apart; before them the own address was looked for.
    assert!((3.0..10.0).contains(&took), "{took} s");
    world.assert_untouched();
}

#[test]
fn an_address_that_another_station_has_is_refused_and_the_station_named() {
    let Some(world) = World::new() else { return };
    let (code, out, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "-a", CLIENT_CIDR, "echo:7"]);
    assert_eq!((code, out.as_str()), (Some(3), ""), "{log}");
    for word in [&format!("cannot claim the address {CLIENT} on {INTERFACE}"), &shown(world.client_mac()), "address.probes=0"] {
        assert!(log.contains(word), "'{word}' is missing: {log}");
    }
    world.assert_untouched();
    // Who insists has both stations on it.
    let summary = Server::with(&world, &["-a", CLIENT_CIDR, "--set", "address.probes=0", "echo:7"]).stop();
    assert_eq!((summary.counter("arp_requests"), summary.counter("nd_solicitations")), (0, 0));
}
