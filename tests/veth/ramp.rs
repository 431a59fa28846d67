//! Thousands of connections of `ringway load` to the kernel's listener, from several source addresses.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::family;
use crate::server::{RINGWAY, ringway};
use crate::world::{CLIENT, INTERFACE, SERVER_CIDR, World};

/// Connections from each of so many addresses.
const EACH: usize = 1000;
const SOURCES: usize = 4;

/// Connections that the kernel has as established at port 7, by the address of the other end.
fn established(world: &World) -> BTreeMap<String, usize> {
    let listed = world.client.run("ss", &["-Htn", "state", "established", "sport", "=", ":7"]);
    let mut counts = BTreeMap::new();
    for peer in listed.lines().filter_map(|line| line.split_whitespace().last()?.rsplit_once(':')) {
        *counts.entry(peer.0.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn connections_from_four_addresses_are_ramped_held_and_closed_at_the_kernels_listener() {
    let Some(world) = World::new() else { return };
    let to = match CLIENT.contains(':') {
        true => format!("[{CLIENT}]:7"),
        false => format!("{CLIENT}:7"),
    };
    let mut command = world.client.command("prlimit");
    command.args(["--nofile=16384", RINGWAY, "serve", "--stack", "kernel", &format!("echo/tcp@{to}")]);
    let mut kernel = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ip starts");
    let listens = || world.client.run("ss", &["-Hltn", "sport", "=", ":7"]).contains(":7");
    let begun = Instant::now();
    while !listens() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the kernel's server listens");
        thread::sleep(Duration::from_millis(50));
    }
    let (count, sources, most) = ((EACH * SOURCES).to_string(), SOURCES.to_string(), format!("open<{}", EACH * SOURCES));
    let arguments = [
        &["load", "tcp", "--to", &to, "-i", INTERFACE, "-a", SERVER_CIDR, "--sources", &sources][..],
        &["-P", &count, "--ramp", "2K", "--hold", "5s", "--active", "5%", "--rate", "400", "--json"],
        &["--fail-if", &most, "--fail-if", "lost>0"],
    ]
    .concat();
    let mut held = BTreeMap::new();
    let (code, stdout, log) = thread::scope(|scope| {
        let load = scope.spawn(|| ringway(&world.server, &arguments));
        while !load.is_finished() && held.values().sum::<usize>() < EACH * SOURCES {
            held = established(&world);
            thread::sleep(Duration::from_millis(200));
        }
        load.join().expect("the load ends")
    });
    assert_eq!(code, Some(0), "{stdout}\n{log}");
    assert_eq!(held.values().copied().collect::<Vec<_>>(), [EACH; SOURCES], "as many from each address: {held:?}");
    let events = stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let row = events.into_iter().find(|event| event["event"] == "row").expect("a row");
    let ramp = &row["ramp"];
    assert_eq!((&ramp["opened"], &ramp["open"], &ramp["active"]), (&4000.into(), &4000.into(), &200.into()), "{row}");
    assert_eq!((&ramp["refused"], &ramp["reset"], &ramp["timed_out"]), (&0.into(), &0.into(), &0.into()), "{row}");
    assert_eq!((&row["connect_ns"]["count"], &row["close_ns"]["count"]), (&4000.into(), &4000.into()), "{row}");
    assert!(row["received"].as_u64().is_some_and(|count| count >= 1500), "{row}");
    assert_eq!(established(&world), BTreeMap::new(), "all were closed in order");
    kill_process(Pid::from_child(&kernel), Signal::TERM).expect("it is there");
    kernel.wait().expect("it ends");
}

#[test]
fn what_cannot_be_held_is_said_before_anything_is_sent() {
    let Some(world) = World::new() else { return };
    let to = format!("{}:7", if family::CLIENT.contains(':') { format!("[{CLIENT}]") } else { CLIENT.to_owned() });
    let load = |more: &[&str]| {
        let all = [&["load", "tcp", "--to", &to, "-i", INTERFACE, "-a", SERVER_CIDR, "--ramp", "1M"], more].concat();
        let (code, _, log) = ringway(&world.server, &all);
        assert_eq!(code, Some(2), "{log}");
        log
    };
    let log = load(&["-P", "40000"]);
    assert!(log.contains("there are 32768: 32768 at one address") && log.contains("--sources 2"), "{log}");
    let log = load(&["-P", "100000", "--sources", "4"]);
    assert!(log.contains("--set tcp.connections=100000"), "{log}");
    world.assert_untouched();
}
