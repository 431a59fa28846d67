//! Who is on the link: neighbours that answer, one that is not there, and a station that has the address first.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{connect, end, exchange, udp};
use crate::family::{CLIENT_CIDR, SILENT, WHO_HAS_ANSWERS};
use crate::mirror::{sysctl_family, within};
use crate::server::{RINGWAY, Server, ringway, run_to_end};
use crate::world::{CLIENT, INTERFACE, SERVER, SERVER_CIDR, World, own};

/// An Ethernet address as `ip` shows it.
pub(crate) fn shown(mac: [u8; 6]) -> String {
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

/// The client's kernel keeps Ringway in its table: what was not confirmed for a while is stale, what is used then is delayed and probed, what
/// answers the probe is reachable again, and what is gone has failed.
#[test]
fn the_kernel_takes_ringway_through_the_states_of_a_neighbour() {
    let Some(world) = World::new() else { return };
    let set = |name: &str, value: &str| {
        let setting = format!("net.{}.neigh.{INTERFACE}.{name}={value}", sysctl_family());
        world.client.run("sysctl", &["-qw", &setting]);
    };
    // At random between 1.2 and 3.6 s; what was used in the last second before is not stale but delayed.
    set("base_reachable_time_ms", "2400");
    set("delay_first_probe_time", "1");
    set("retrans_time_ms", "100");
    let state = || {
        let known = world.client.ip(&["neighbor", "show", SERVER, "dev", INTERFACE]);
        known.split_whitespace().last().unwrap_or_default().to_owned()
    };
    // Probing is over too quickly to be seen in the table; who listens hears of it.
    let mut monitor = world.client.command("ip").args(["monitor", "neigh"]).stdout(Stdio::piped()).spawn().expect("ip starts");
    let (tell, told) = channel();
    let lines = BufReader::new(monitor.stdout.take().expect("piped")).lines();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let server = Server::start(&world);
    let ask = || {
        world.client.inside(|| {
            let socket = udp(7);
            socket.send(b"hello").expect("send");
            assert_eq!(socket.recv(&mut [0; 8]).expect("an answer"), 5);
        });
    };
    ask();
    assert_eq!(state(), "REACHABLE");
    within(5, "STALE", || state() == "STALE");
    ask();
    assert_eq!(state(), "DELAY");
    within(5, "REACHABLE again", || state() == "REACHABLE");
    let summary = server.stop();
    assert!(summary.counter(WHO_HAS_ANSWERS) >= 2, "found and probed: {}", summary.value());
    world.client.ip(&["neighbor", "change", SERVER, "dev", INTERFACE, "nud", "stale"]);
    world.client.inside(|| udp(7).send(b"anybody?").expect("send"));
    within(5, "FAILED", || state() == "FAILED");
    let mut missing = BTreeSet::from(["REACHABLE", "STALE", "PROBE", "FAILED"]);
    while !missing.is_empty() {
        let Ok(line) = told.recv_timeout(Duration::from_secs(5)) else { panic!("the monitor does not say {missing:?}") };
        if line.contains(SERVER) {
            missing.remove(line.split_whitespace().next_back().unwrap_or_default());
        }
    }
    monitor.kill().and_then(|()| monitor.wait()).expect("it is ended");
}

/// A station gets another Ethernet address. It tells nobody, and asks anew for its neighbours; a connection that it opened before goes on.
#[test]
fn a_station_with_another_ethernet_address_is_the_same_neighbour() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    world.client.inside(|| {
        let mut stream = connect(7);
        exchange(&mut stream, b"before");
        let before = world.client_mac();
        world.client.ip(&["link", "set", INTERFACE, "address", "02:00:00:00:00:77"]);
        assert_ne!(world.client_mac(), before);
        exchange(&mut stream, b"after");
        end(stream);
    });
    let summary = server.stop();
    assert_eq!((summary.neighbors(), summary.counter("tcp_closed")), (1, 1), "{}", summary.value());
}

/// The client's kernel takes the address although somebody has it, as IPv4 lets it, and tells all (RFC 5227 2.4, RFC 4862 5.4.4).
#[test]
fn an_address_that_another_station_takes_later_is_defended() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let notify = if SERVER.contains(':') { "net.ipv6.conf.veth0.ndisc_notify=1" } else { "net.ipv4.conf.veth0.arp_notify=1" };
    world.client.run("sysctl", &["-qw", notify]);
    own(&world.client, SERVER_CIDR, INTERFACE);
    for rival in ["02:00:00:00:00:77", "02:00:00:00:00:78"] {
        world.client.ip(&["link", "set", INTERFACE, "address", rival]);
        thread::sleep(Duration::from_millis(300));
    }
    let summary = server.stop();
    assert!(summary.log.contains(&format!(" claims {SERVER}, which is ours; announcing it again")), "{}", summary.log);
    assert_eq!(summary.log.matches("address conflict on").count(), 1, "at most every ten seconds: {}", summary.log);
    let cause = if SERVER.contains(':') { "nd_conflict" } else { "arp_conflict" };
    assert!(summary.dropped(cause) >= 2, "{}", summary.value());
}
