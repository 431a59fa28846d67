//! Congestion control and its marks (ECN) against the kernel, on the wire and in both sides' counters.

use std::io::{Read, Write};
use std::net::Shutdown;

use ringway::service::chargen;

use crate::client::{abort, connect, server};
use crate::common::Netns;
use crate::family::{FREE_CIDR, KERNEL_COUNTS, NFT};
use crate::server::{Server, ringway};
use crate::world::{INTERFACE, SERVER_CIDR, World, kernel_count};

const MIB: usize = 1 << 20;

/// Every fiftieth packet that allows it is marked, in each direction: as a router would whose queue builds up.
fn mark_some(client: &Netns) {
    let rule = format!("meta l4proto tcp {NFT} ecn != not-ect numgen inc mod 50 == 0 {NFT} ecn set ce");
    for (family, chain) in [
        ("netdev", format!("{{ type filter hook ingress device {INTERFACE} priority 0; }}")),
        (NFT, "{ type filter hook postrouting priority mangle; }".to_owned()),
    ] {
        client.run("nft", &["add", "table", family, "marks"]);
        client.run("nft", &["add", "chain", family, "marks", "marks", &chain]);
        client.run("nft", &[&["add", "rule", family, "marks", "marks"], rule.split(' ').collect::<Vec<_>>().as_slice()].concat());
    }
}

/// Reads some of chargen and writes some to discard.
fn exchange_bulk(client: &Netns, bytes: usize) {
    client.inside(|| {
        let mut stream = connect(19);
        let mut received = vec![0; bytes];
        stream.read_exact(&mut received).expect("read");
        let mut expected = vec![0; bytes];
        chargen::fill(0, &mut expected);
        assert!(received == expected, "the stream differs");
        abort(stream);
        let mut stream = connect(9);
        stream.write_all(&received).expect("write");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(stream.read(&mut [0; 16]).expect("read"), 0);
    });
}

#[test]
fn marks_are_asked_for_echoed_and_answered_by_both_sides() {
    let Some(world) = World::new() else { return };
    world.client.run("sysctl", &["-qw", "net.ipv4.tcp_ecn=1"]);
    mark_some(&world.client);
    let server = Server::start(&world);
    exchange_bulk(&world.client, 8 * MIB);
    let summary = server.stop();
    // From Ringway to the kernel: asked for, marked on the way, echoed by the kernel, answered by Ringway.
    assert!(kernel_count(&world.client, &format!("{KERNEL_COUNTS}InECT0Pkts")) > 1000);
    assert!(kernel_count(&world.client, &format!("{KERNEL_COUNTS}InCEPkts")) > 20);
    assert!(summary.happened("mark_answered") > 0, "{}", summary.value());
    assert_eq!(summary.happened("ecn_broken"), 0);
    // And back: the kernel counts deliveries that the other side says were marked.
    assert!(summary.happened("mark_received") > 0, "{}", summary.value());
    assert!(kernel_count(&world.client, "TcpExtTCPDeliveredCE") > 0);
}

#[test]
fn without_ecn_nothing_asks_for_marks() {
    let Some(world) = World::new() else { return };
    world.client.run("sysctl", &["-qw", "net.ipv4.tcp_ecn=1"]);
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--set", "tcp.ecn=off", "discard:9", "chargen:19"]);
    exchange_bulk(&world.client, MIB);
    server.stop();
    assert_eq!(kernel_count(&world.client, &format!("{KERNEL_COUNTS}InECT0Pkts")), 0);
}

#[test]
fn ringway_as_a_client_agrees_with_a_kernel_server() {
    let Some(world) = World::with_kernel_server() else { return };
    world.server.run("sysctl", &["-qw", "net.ipv4.tcp_ecn=2"]);
    let to = server(7).to_string();
    let mut command = world.server.command(crate::server::RINGWAY);
    let mut kernel_server = command.args(["serve", "--stack", "kernel", &format!("echo/tcp@{to}")]).spawn().expect("ip starts");
    let engine = ["-i", INTERFACE, "-a", FREE_CIDR, "--to", &to, "-t", "500ms", "-O", "0s"];
    let mut asked = Vec::new();
    for ecn in ["off", "on"] {
        let setting = format!("tcp.ecn={ecn}");
        let arguments = [&["load", "tcp", "-l", "4K", "--set", &setting], engine.as_slice()].concat();
        let mut result = ringway(&world.client, &arguments);
        for _ in 0..20 {
            if result.0 == Some(0) {
                break;
            }
            // The server may not listen yet.
            std::thread::sleep(std::time::Duration::from_millis(100));
            result = ringway(&world.client, &arguments);
        }
        assert_eq!(result.0, Some(0), "{}{}", result.1, result.2);
        asked.push(kernel_count(&world.server, &format!("{KERNEL_COUNTS}InECT0Pkts")));
    }
    kernel_server.kill().expect("it runs");
    kernel_server.wait().expect("wait");
    assert!(asked[0] == 0 && asked[1] > 100, "{asked:?}");
}

#[test]
fn every_algorithm_carries_a_stream_both_chosen_by_listener_and_by_connection() {
    let Some(world) = World::new() else { return };
    let to = server(7).to_string();
    for algorithm in ["cubic", "bbr", "reno"] {
        let service = |name: &str| format!("{name},congestion={algorithm}");
        let server =
            Server::with(&world, &["-a", SERVER_CIDR, &service("discard:9"), &service("chargen:19"), &service("echo:7")]);
        exchange_bulk(&world.client, 8 * MIB);
        for stack in [&["--stack", "kernel"][..], &["-i", INTERFACE, "-a", FREE_CIDR]] {
            let common = ["load", "tcp", "--to", &to, "-l", "64K", "-t", "500ms", "-O", "0s", "--congestion", algorithm];
            let (code, out, log) = ringway(&world.client, &[&common, stack].concat());
            assert_eq!(code, Some(0), "{algorithm} {stack:?}: {out}{log}");
        }
        server.stop();
    }
}
