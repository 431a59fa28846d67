//! The other commands: load, compare, steer.

use std::fs;

use serde_json::Value;

use crate::server::{Server, ringway};
use crate::world::{INTERFACE, World};

/// Runs `ringway load` on the client side; gives the exit code and its row.
fn load(world: &World, arguments: &[&str]) -> (Option<i32>, Value) {
    let all = [&["--json", "load"], arguments, &["--to", "10.0.0.2:7", "-t", "1s", "-O", "200ms"]].concat();
    let (code, out, log) = ringway(&world.client, &all);
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let row =
        events.into_iter().find(|event| event["event"] == "row").unwrap_or_else(|| panic!("no row ({code:?}):\n{out}{log}"));
    (code, row)
}

#[test]
fn load_over_kernel_sockets_and_over_ringway_loses_nothing() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    // The engine's client needs an address that the kernel does not own.
    let engine = ["-i", INTERFACE, "-a", "10.0.0.9/24"];
    for carrier in ["tcp", "udp"] {
        for stack in ["kernel", "ringway"] {
            let mut arguments = vec![carrier, "--stack", stack, "-P", "4"];
            if stack == "ringway" {
                arguments.extend(engine);
            }
            let (code, row) = load(&world, &arguments);
            assert_eq!(code, Some(0), "{row}");
            assert_eq!((&row["transport"], &row["client_stack"]), (&carrier.into(), &stack.into()), "{row}");
            assert!(row["received"].as_u64().is_some_and(|n| n > 1000), "{row}");
            assert_eq!((&row["lost"], &row["duplicated"]), (&0.into(), &0.into()), "{row}");
            if carrier == "tcp" {
                // Nothing was lost, so nobody may have waited for a timeout.
                assert!(row["connect_ns"]["max"].as_u64().is_some_and(|ns| ns < 500_000_000), "{row}");
            }
        }
    }
    server.stop();
}

#[test]
fn load_in_an_open_loop_keeps_its_rate() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let (code, row) = load(&world, &["tcp", "--stack", "kernel", "--rate", "2K", "-P", "2"]);
    assert_eq!((code, &row["offered_per_s"]), (Some(0), &2000.0.into()), "{row}");
    assert!(row["rtt_ns"]["p50"].as_u64() >= row["rtt_uncorrected_ns"]["p50"].as_u64(), "{row}");
    assert!(row["rate_per_s"].as_f64().is_some_and(|rate| (1800.0..2200.0).contains(&rate)), "{row}");
    server.stop();
}

#[test]
fn load_that_misses_a_threshold_ends_with_4() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    assert_eq!(load(&world, &["udp", "--stack", "kernel", "--fail-if", "p50>1ns"]).0, Some(4));
    server.stop();
}

#[test]
fn load_with_churn_leaves_nothing_behind() {
    let Some(world) = World::new() else { return };
    let server = Server::start(&world);
    let (code, row) = load(&world, &["tcp", "--stack", "kernel", "--churn=rst"]);
    assert_eq!(code, Some(0), "{row}");
    assert!(row["connect_ns"]["count"].as_u64().is_some_and(|n| n > 100), "{row}");
    let summary = server.stop();
    assert_eq!(summary.counter("tcp_removed"), summary.counter("tcp_accepted"));
}

#[test]
fn compare_writes_rows_histograms_and_a_page_that_stands_alone() {
    let Some(world) = World::with_queues(1) else { return };
    world.client.ip(&["address", "flush", "dev", INTERFACE]);
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("UTF-8");
    let names = [&world.server.name, &world.client.name];
    let base = [
        "compare",
        "--server-netns",
        names[0],
        "--server-if",
        INTERFACE,
        "--server-address",
        "10.0.0.2/24",
        "--client-netns",
        names[1],
        "--client-if",
        INTERFACE,
        "--client-address",
        "10.0.0.1/24",
        "--quick",
    ];

    let (code, listing, log) = ringway(&world.client, &[&base[..], &["--dry-run"]].concat());
    assert_eq!(code, Some(0), "{log}");
    assert!(listing.contains("ringway serve") && listing.contains("ringway load"), "{listing}");

    let (code, table, log) = ringway(&world.client, &[&base[..], &["--out", path]].concat());
    assert_eq!(code, Some(0), "{table}{log}");
    let result: Value =
        serde_json::from_str(&fs::read_to_string(out.path().join("result.json")).expect("result.json")).expect("JSON");
    assert_eq!(result["schema"], 1);
    let rows = result["rows"].as_array().expect("rows");
    for (transport, stack) in [("raw", "raw"), ("udp", "ringway"), ("tcp", "ringway"), ("udp", "kernel"), ("tcp", "kernel")] {
        let row = rows.iter().find(|row| row["transport"] == transport && row["server_stack"] == stack);
        let row = row.unwrap_or_else(|| panic!("no row {transport} over {stack}"));
        assert!(row["received"].as_u64().is_some_and(|n| n > 100), "{row}");
        assert!(row["packets_per_message"].as_f64().is_some_and(|packets| packets > 1.5), "{row}");
    }
    let page = fs::read_to_string(out.path().join("report.html")).expect("report.html");
    assert!(page.contains("<svg") && !page.contains("src=\"http") && !page.contains("href=\"http"), "the page stands alone");
    for (what, times) in [("class=\"ladder broad\"", 2), ("class=\"ladder narrow\"", 2), ("<caption>What it took", 1)] {
        assert_eq!(page.matches(what).count(), times, "{what}: {}", page.split("One request").nth(1).unwrap_or("no section"));
    }
    assert!(page.contains("SYN-RECEIVED") && page.contains("FIN-WAIT-1"), "of the server, and inferred of the client");
    let histograms = fs::read_dir(out.path())
        .expect("the folder")
        .filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|extension| extension == "hlog")));
    assert!(histograms.count() >= 5);
    // What compare did to the interfaces is undone.
    world.assert_untouched();
    assert!(!world.server.ip(&["address", "show", "dev", INTERFACE]).contains("10.0.0.2"));
}

#[test]
fn steer_dump_lists_the_program() {
    let Some(world) = World::new() else { return };
    let (code, listing, log) = ringway(&world.server, &["steer", "--dump", "-a", "10.0.0.2/24"]);
    assert_eq!(code, Some(0), "{log}");
    assert!(listing.lines().count() > 20, "{listing}");
    world.assert_untouched();
}
