//! A benchmark of two cells: what was measured stands in its file, is not measured again, and nothing is left behind.

use std::fs;

use serde_json::Value;

use crate::server::ringway;
use crate::world::{INTERFACE, World};

#[test]
fn a_benchmark_writes_its_cells_and_goes_on_with_them() {
    let Some(world) = World::with_queues(1) else { return };
    world.client.ip(&["address", "flush", "dev", INTERFACE]);
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("UTF-8");
    let (server, client) = (&world.server.name, &world.client.name);
    let base =
        ["bench", "--quick", "--rounds", "1", "--out", path, "--only", "udp-latency/64B/ringway", "--only", "tcp-rr/1c/kernel"];
    let ends = ["--server-netns", server, "--server-if", INTERFACE, "--server-address", "10.0.0.2/24"];
    let others = ["--client-netns", client, "--client-if", INTERFACE, "--client-address", "10.0.0.1/24"];
    let line = [&base[..], &ends, &others].concat();

    let (code, text, log) = ringway(&world.client, &line);
    assert_eq!(code, Some(0), "{text}{log}");
    let cells = fs::read_to_string(out.path().join("cells.jsonl")).expect("cells.jsonl");
    let lines: Vec<Value> = cells.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["schema"]), (&"header".into(), &1.into()));
    // Three cells of the gate three times, two, and the exchange that the page draws.
    assert_eq!(lines.len(), 1 + 9 + 2 + 1, "{cells}");
    let records = lines.iter().find(|line| line["event"] == "exchange").and_then(|line| line["records"].as_array());
    assert!(records.is_some_and(|records| records.len() >= 7 + 2), "{cells}");
    for id in ["udp-latency/64B/ringway", "tcp-rr/1c/kernel"] {
        let cell = lines.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("no {id}: {cells}"));
        let figures = &cell["figures"];
        assert!(figures["received"].as_u64().is_some_and(|n| n > 100), "{cell}");
        assert!(figures["p50_ns"].as_f64().is_some_and(|ns| ns > 500.0), "{cell}");
        for cost in ["server_cpu_ns", "client_cpu_ns", "packets_to_server", "packets_from_server"] {
            assert!(figures[cost].as_f64().is_some_and(|value| value > 0.0), "{cost}: {cell}");
        }
        assert_eq!(id.ends_with("ringway"), figures["server_kicks"].as_f64().is_some_and(|kicks| kicks > 0.1), "{cell}");
        assert_eq!(figures["lost"], 0, "{cell}");
    }
    for file in ["bench.json", "bench.html", "bench.md"] {
        assert!(fs::read_to_string(out.path().join(file)).expect(file).contains("udp-latency"), "{file}");
    }
    let page = fs::read_to_string(out.path().join("bench.html")).expect("bench.html");
    assert_eq!(page.matches("class=\"ladder broad\"").count(), 2);

    let (code, text, log) = ringway(&world.client, &[&line[..], &["--resume"]].concat());
    assert_eq!(code, Some(0), "{text}{log}");
    assert_eq!(fs::read_to_string(out.path().join("cells.jsonl")).expect("cells.jsonl"), cells, "it was all there");
    // What was done to the interfaces is undone.
    world.assert_untouched();
    for side in [&world.server, &world.client] {
        assert!(!side.ip(&["address", "show", "dev", INTERFACE]).contains("10.0.0."));
        assert!(side.run("ethtool", &["-k", INTERFACE]).contains("tx-checksumming: off"));
    }
}
