//! Bad input and bad environment: each is said with what, why and what mends it, ends with its exit code, and leaves nothing behind.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::Command;

use serde_json::Value;

use crate::client::connect;
use crate::server::{RINGWAY, Server, ringway, run_to_end};
use crate::world::{INTERFACE, SERVER, SERVER_CIDR, World};

/// Asserts that `ringway serve ARGUMENTS` on the server side ends with `code` and says all of `words`, as text and as JSON.
pub(crate) fn refused(world: &World, arguments: &[&str], code: i32, words: &[&str]) {
    let serve = [&["serve"], arguments].concat();
    let (found, out, log) = ringway(&world.server, &serve);
    says(found, &log, code, words);
    assert_eq!(out, "", "an error belongs on standard error");

    let (found, out, _) = ringway(&world.server, &[&["--json"], &serve[..]].concat());
    let event: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert_eq!((&event["schema"], &event["event"], &event["exit_code"]), (&1.into(), &"error".into(), &code.into()), "{event}");
    let text = ["what", "why", "mend"].map(|part| event[part].as_str().unwrap_or_default()).join("\n");
    says(found, &text, code, words);
    world.assert_untouched();
}

/// Asserts an exit code, and words in a message whatever their case.
fn says(found: Option<i32>, message: &str, code: i32, words: &[&str]) {
    assert_eq!(found, Some(code), "{message}");
    for word in words {
        assert!(message.to_lowercase().contains(&word.to_lowercase()), "'{word}' is missing:\n{message}");
    }
}

/// `ringway serve` as a root that has only these capabilities.
fn with_capabilities(world: &World, capabilities: &[&str], arguments: &[&str]) -> Command {
    let bounds = capabilities.iter().fold("-all".to_owned(), |bounds, name| format!("{bounds},+{name}"));
    let mut command = world.server.command("setpriv");
    command.args(["--inh-caps", "-all", "--bounding-set", &bounds, RINGWAY, "serve"]).args(arguments);
    command
}

const CAPABILITIES: [&str; 4] = ["net_raw", "net_admin", "bpf", "ipc_lock"];
const SERVE: [&str; 5] = ["-i", INTERFACE, "-a", SERVER_CIDR, "echo:7"];

#[test]
fn no_such_interface() {
    let Some(world) = World::new() else { return };
    refused(&world, &["-i", "veth9", "-a", SERVER_CIDR, "echo:7"], 3, &["veth9", "no such interface", "veth0"]);
}

#[test]
fn interface_down() {
    let Some(world) = World::new() else { return };
    world.server.ip(&["link", "set", INTERFACE, "down"]);
    refused(&world, &SERVE, 3, &[INTERFACE, "down", "ip link set veth0 up"]);
}

#[test]
fn no_carrier() {
    let Some(world) = World::new() else { return };
    world.client.ip(&["link", "set", INTERFACE, "down"]);
    refused(&world, &SERVE, 3, &[INTERFACE, "no carrier"]);
}

#[test]
fn each_missing_capability_is_named() {
    let Some(world) = World::new() else { return };
    for missing in ["net_raw", "net_admin", "bpf"] {
        let rest: Vec<_> = CAPABILITIES.into_iter().filter(|name| *name != missing).collect();
        let (code, _, log) = run_to_end(with_capabilities(&world, &rest, &SERVE));
        says(code, &log, 3, &[&format!("cap_{missing}"), "try: sudo setcap"]);
        world.assert_untouched();
    }
}

#[test]
fn the_four_capabilities_suffice() {
    let Some(world) = World::new() else { return };
    let mut command = with_capabilities(&world, &CAPABILITIES, &SERVE);
    let server = Server::spawn(command.arg("--json"));
    world.client.inside(|| crate::client::exchange(&mut connect(7), b"hello"));
    server.stop();
    world.assert_untouched();
}

#[test]
fn memlock_too_small() {
    let Some(world) = World::new() else { return };
    let limited = |json: &[&str]| {
        let mut command = world.server.command("prlimit");
        command.args([
            "--memlock=65536:65536",
            "setpriv",
            "--inh-caps",
            "-all",
            "--bounding-set",
            "-all,+net_raw,+net_admin,+bpf",
        ]);
        command.args([RINGWAY, "serve"]).args(SERVE).args(json);
        run_to_end(command)
    };
    let (code, _, log) = limited(&[]);
    says(code, &log, 3, &["locked memory", "MiB", "CAP_IPC_LOCK", "ulimit -l"]);
    world.assert_untouched();
}

#[test]
fn no_native_xdp() {
    let Some(world) = World::new() else { return };
    bridge(&world);
    let arguments = ["-i", "br0", "-a", SERVER_CIDR, "-m", "native", "echo:7"];
    refused(&world, &arguments, 3, &["br0", "native", "-m skb"]);
}

#[test]
fn no_native_xdp_with_auto_goes_on_in_skb_mode() {
    let Some(world) = World::new() else { return };
    bridge(&world);
    let mut command = world.server.command(RINGWAY);
    command.args(["serve", "--json", "-i", "br0", "-a", SERVER_CIDR, "echo:7"]);
    let server = Server::spawn(&mut command);
    assert_eq!(server.ready["xdp"], "skb", "{}", server.ready);
    world.client.inside(|| {
        let mut stream = connect(7);
        stream.write_all(b"through the bridge").expect("write");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        let mut back = String::new();
        stream.read_to_string(&mut back).expect("read");
        assert_eq!(back, "through the bridge");
    });
    let summary = server.stop();
    assert!(summary.log.contains("WARN") && summary.log.contains("skb"), "{}", summary.log);
}

/// Puts the server's end of the pair under a bridge, which has no native XDP.
fn bridge(world: &World) {
    world.server.ip(&["link", "add", "br0", "type", "bridge"]);
    world.server.ip(&["link", "set", INTERFACE, "master", "br0"]);
    world.server.ip(&["link", "set", "br0", "up"]);
    world.server.run("ethtool", &["-K", "br0", "tx", "off"]);
}

#[test]
fn mtu_too_small_for_ipv6() {
    let Some(world) = World::new() else { return };
    for side in [&world.server, &world.client] {
        side.ip(&["link", "set", INTERFACE, "mtu", "1279"]);
    }
    let (claim, mend) = (["-i", INTERFACE, "-a", "fd00::9/64", "echo:7"], "sudo ip link set veth0 mtu 1280");
    refused(&world, &claim, 3, &["cannot claim fd00::9/64 on veth0", "1279", "IPv6 needs 1280", mend]);
    for side in [&world.server, &world.client] {
        side.ip(&["link", "set", INTERFACE, "mtu", "1280"]);
    }
    Server::with(&world, &claim[2..]).stop();
}

#[test]
fn mtu_too_large_for_native_xdp() {
    let Some(world) = World::new() else { return };
    for side in [&world.server, &world.client] {
        side.ip(&["link", "set", INTERFACE, "mtu", "12000"]);
    }
    refused(&world, &[&SERVE[..], &["-m", "native"]].concat(), 3, &["mtu", "12000", "ip link set veth0 mtu"]);
}

#[test]
fn mtu_too_large_with_auto_goes_on_in_skb_mode() {
    let Some(world) = World::new() else { return };
    for side in [&world.server, &world.client] {
        side.ip(&["link", "set", INTERFACE, "mtu", "12000"]);
    }
    let server = Server::start(&world);
    assert_eq!(server.ready["xdp"], "skb", "{}", server.ready);
    world.client.inside(|| crate::client::exchange(&mut connect(7), b"hello"));
    let summary = server.stop();
    assert!(summary.log.contains("WARN") && summary.log.to_lowercase().contains("mtu"), "{}", summary.log);
}

#[test]
fn another_xdp_program_attached() {
    let Some(world) = World::with_queues(2) else { return };
    let holder = Server::with(&world, &["-a", SERVER_CIDR, "--queues", "0", "--partial", "echo:7"]);
    let arguments = ["serve", "-i", INTERFACE, "-a", "10.0.0.4/24", "--queues", "1", "--partial", "echo:7"];
    let (code, _, log) = ringway(&world.server, &arguments);
    says(code, &log, 3, &["another XDP program", "id", "try: "]);
    holder.stop();
    world.assert_untouched();
}

#[test]
fn an_xdp_program_attached_in_the_other_mode() {
    let Some(world) = World::with_queues(2) else { return };
    let holder = Server::with(&world, &["-a", SERVER_CIDR, "-m", "skb", "--queues", "0", "--partial", "echo:7"]);
    let arguments = ["serve", "-i", INTERFACE, "-a", "10.0.0.4/24", "-m", "native", "--queues", "1", "--partial", "echo:7"];
    let (code, _, log) = ringway(&world.server, &arguments);
    says(code, &log, 3, &["skb", "id"]);
    holder.stop();
    world.assert_untouched();
}

#[test]
fn queue_in_use() {
    let Some(world) = World::new() else { return };
    let holder = Server::start(&world);
    let (code, _, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "-a", "10.0.0.4/24", "echo:7"]);
    says(code, &log, 3, &["queue 0", "another AF_XDP socket has the queue"]);
    world.client.inside(|| crate::client::exchange(&mut connect(7), b"the first one is not disturbed"));
    holder.stop();
    world.assert_untouched();
}

#[test]
fn queue_out_of_range() {
    let Some(world) = World::new() else { return };
    refused(&world, &[&SERVE[..], &["--queues", "5"]].concat(), 3, &["queue 5", INTERFACE]);
}

#[test]
fn fewer_queues_than_the_interface_has() {
    let Some(world) = World::with_queues(2) else { return };
    refused(&world, &[&SERVE[..], &["--queues", "0"]].concat(), 3, &["queue", "ethtool -L veth0", "--partial"]);
}

#[test]
fn addresses_that_cannot_be_claimed() {
    let Some(world) = World::with_kernel_server() else { return };
    let claim = |address| ["-i", INTERFACE, "-a", address, "echo:7"];
    refused(&world, &claim(SERVER_CIDR), 3, &[SERVER, "belongs to the kernel", "--claim"]);
    refused(&world, &claim("10.0.0.300/24"), 2, &["10.0.0.300"]);
    refused(&world, &claim("10.0.0.4/33"), 2, &["33"]);
    refused(&world, &claim("10.0.0.4"), 2, &["prefix", "10.0.0.4/"]);
    refused(&world, &claim("127.0.0.1/8"), 2, &["127.0.0.1"]);
    refused(&world, &claim("224.0.0.1/24"), 2, &["224.0.0.1"]);
}

#[test]
fn port_in_use_by_the_kernel() {
    let Some(world) = World::with_kernel_server() else { return };
    let holder = world.server.inside(|| TcpListener::bind((SERVER, 7)).expect("bind"));
    let (code, _, log) = ringway(&world.server, &["serve", "-i", INTERFACE, "--claim", "tcp:7", "echo/tcp:7"]);
    says(code, &log, 3, &["7", "in use", "try: "]);
    drop(holder);
    world.assert_untouched();
}

#[test]
fn a_service_at_a_port_that_is_not_claimed() {
    let Some(world) = World::with_kernel_server() else { return };
    refused(
        &world,
        &["-i", INTERFACE, "--claim", "tcp:7", "echo/tcp:8"],
        2,
        &["tcp:8", "among the claimed ports", "--claim tcp:7,tcp:8"],
    );
}

#[test]
fn usage_errors_name_what_is_wrong() {
    let Some(world) = World::new() else { return };
    let with = |last: &[&'static str]| [&SERVE[..4], last].concat();
    refused(&world, &with(&["ecko:7"]), 2, &["ecko", "echo", "discard", "chargen", "daytime"]);
    refused(&world, &with(&["echo"]), 2, &["echo", "port"]);
    refused(&world, &with(&["echo:70000"]), 2, &["70000"]);
    refused(&world, &with(&["echo:7", "discard:7"]), 2, &["7"]);
    refused(&world, &with(&["--set", "tcp.msk=1s", "echo:7"]), 2, &["tcp.msk", "tcp.msl"]);
    refused(&world, &with(&["--set", "tcp.msl=soon", "echo:7"]), 2, &["soon"]);
    refused(&world, &with(&["--idel", "spin", "echo:7"]), 2, &["--idel", "--idle"]);
    refused(&world, &["-i", INTERFACE, "echo:7"], 2, &["-a", "--claim"]);
}
