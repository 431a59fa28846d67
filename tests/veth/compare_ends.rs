//! A comparison that does not come to its end leaves nothing behind: no address, no process, no XDP program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::server::RINGWAY;
use crate::world::{INTERFACE, World};

/// A comparison in full run, its events read line by line.
fn start(world: &World) -> (Child, BufReader<std::process::ChildStdout>) {
    world.client.ip(&["address", "flush", "dev", INTERFACE]);
    let mut command = Command::new(RINGWAY);
    command.args(["compare", "--json", "--quick"]);
    for (side, netns, address) in [("server", &world.server.name, "10.0.0.2/24"), ("client", &world.client.name, "10.0.0.1/24")] {
        command.args([
            &format!("--{side}-netns"),
            netns,
            &format!("--{side}-if"),
            INTERFACE,
            &format!("--{side}-address"),
            address,
        ]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ringway starts");
    let events = BufReader::new(child.stdout.take().expect("piped"));
    (child, events)
}

/// Reads events until a row of this name was measured.
fn wait_for_row(events: &mut BufReader<std::process::ChildStdout>, name: &str) {
    let row = events.lines().map_while(Result::ok).find(|line| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        event["event"] == "interval" && event["name"] == name
    });
    assert!(row.is_some(), "the comparison ended before {name}");
}

/// True when the namespaces are as they were, within a few seconds.
fn comes_clean(world: &World) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let netns = [&world.server, &world.client];
        let clean = netns.iter().all(|side| {
            let pids = Command::new("ip").args(["netns", "pids", &side.name]).output().expect("ip starts").stdout;
            let addresses = side.ip(&["address", "show", "dev", INTERFACE]);
            let link = side.ip(&["link", "show", "dev", INTERFACE]);
            pids.is_empty() && !addresses.contains("10.0.0.") && !link.contains("xdp")
        });
        if clean || Instant::now() > deadline {
            return clean;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_interrupted_comparison_takes_its_addresses_and_children_away() {
    let Some(world) = World::with_queues(1) else { return };
    let (mut child, mut events) = start(&world);
    // The next row is one of the kernel's: its addresses stand on the interfaces.
    wait_for_row(&mut events, "udp-kernel-1");
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let last = events.lines().map_while(Result::ok).last().expect("an error event");
    assert!(last.contains("\"error\"") && last.contains("interrupted"), "{last}");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert!(comes_clean(&world));
}

#[test]
fn the_children_of_a_comparison_do_not_outlive_it_even_when_it_is_killed() {
    let Some(world) = World::with_queues(1) else { return };
    let (mut child, mut events) = start(&world);
    wait_for_row(&mut events, "raw-1");
    std::thread::sleep(Duration::from_millis(300));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(comes_clean(&world), "a row of Ringway adds no address, so nothing may be left at all");
}
