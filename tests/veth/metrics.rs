//! The figures of a running server as Prometheus scrapes them: the same that everybody else is told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use ringway::engine::counters::Counters;
use ringway::metrics::prometheus::{Kind, families};
use serde_json::Value;

use crate::client::{connect, end, exchange, server as at, udp};
use crate::common::Netns;
use crate::server::{RINGWAY, Server, ringway};
use crate::world::{INTERFACE, SERVER_CIDR, World};

/// Samples by name and labels as they stand on the page.
type Samples = BTreeMap<String, f64>;

/// Longer than figures are kept for.
const APART: Duration = Duration::from_millis(40);

/// Counts of what goes on by itself.
const OF_THE_LOOP: [&str; 3] = ["turns", "busy_turns", "parks"];

fn curl(netns: &Netns, ready: &Value, path: &str, more: &[&str]) -> String {
    let url = format!("http://{}{path}", ready["metrics"].as_str().expect("where scrapes are answered"));
    netns.run("curl", &[&["-sS", "--max-time", "20"], more, &[&url]].concat())
}

fn page(world: &World, server: &Server, path: &str) -> String {
    thread::sleep(APART);
    curl(&world.server, &server.ready, path, &["--fail"])
}

fn samples(page: &str) -> Samples {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
    };
    lines.map(split).collect()
}

fn scraped(world: &World, server: &Server) -> Samples {
    samples(&page(world, server, "/metrics"))
}

fn of(samples: &Samples, name: &str) -> f64 {
    *samples.get(name).unwrap_or_else(|| panic!("no {name} on the page"))
}

/// Two connections that come and go, a datagram, a SYN to a port where nobody is; until all is over.
fn traffic(world: &World, server: &Server) {
    world.client.inside(|| {
        for _ in 0..2 {
            let mut stream = connect(7);
            exchange(&mut stream, &[7; 3000]);
            end(stream);
        }
        let socket = udp(7);
        socket.send(b"hello").expect("send");
        assert_eq!(socket.recv(&mut [0; 8]).expect("an answer"), 5);
        assert!(std::net::TcpStream::connect_timeout(&at(8), Duration::from_secs(5)).is_err());
    });
    let open = |samples: &Samples| -> f64 {
        samples.iter().filter(|(name, _)| name.starts_with("ringway_tcp_connections{")).map(|(_, value)| value).sum()
    };
    assert!((0..100).any(|_| open(&scraped(world, server)) == 0.0), "the connections end");
}

#[test]
fn a_page_tells_what_show_and_the_summary_tell() {
    let Some(world) = World::with_queues(1) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--metrics", "127.0.0.1:0", "echo:7"]);
    traffic(&world, &server);
    let (_, shown, _) = ringway(&world.server, &["show", "counters", "--json", "--pid", &server.id().to_string()]);
    let shown: Value = serde_json::from_str(shown.lines().next().expect("a worker")).expect("JSON");
    let text = page(&world, &server, "/metrics");
    let scraped = samples(&text);
    let counts = || Counters::ALL.iter().filter(|count| !OF_THE_LOOP.contains(&count.name));
    for count in counts() {
        assert_eq!(
            Some(of(&scraped, &format!("{}{{core=\"0\"}}", count.metric))),
            shown["counters"][count.name].as_f64(),
            "{}",
            count.name
        );
    }
    let figure = |name: &str| of(&scraped, name);
    assert_eq!(figure("ringway_tcp_connections_accepted_total{core=\"0\"}"), 2.0);
    assert_eq!(figure("ringway_tcp_in_frame_bytes_total{core=\"0\"}"), 6000.0);
    assert_eq!(figure("ringway_udp_datagrams_received_total{core=\"0\"}"), 1.0);
    assert_eq!(figure("ringway_drops_total{core=\"0\",cause=\"tcp_port_closed\"}"), 1.0);
    assert_eq!(figure("ringway_tcp_handshake_duration_seconds_count{core=\"0\",opened_by=\"peer\"}"), 2.0);
    assert!(figure("ringway_turn_duration_seconds_count{core=\"0\"}") >= 1.0, "the first turn is timed");
    assert!(figure("ringway_cpu_seconds_total{core=\"0\"}") > 0.0);
    let queue = format!("core=\"0\",interface=\"{INTERFACE}\",queue=\"0\"");
    let frames = ["free", "receiving", "sending", "outside"]
        .map(|place| figure(&format!("ringway_queue_frames{{{queue},place=\"{place}\"}}")));
    assert_eq!(frames.iter().sum::<f64>(), 4096.0, "{frames:?}");
    let steered = figure(&format!("ringway_steering_frames_total{{interface=\"{INTERFACE}\",cause=\"steered_address\"}}"));
    assert!(steered >= figure("ringway_tcp_segments_received_total{core=\"0\"}") && steered > 10.0, "{steered}");
    let info = text.lines().find(|line| line.starts_with("ringway_interface_info{")).expect("an interface");
    assert!(info.contains("xdp=\"native\",copy=\"copy\",queues=\"0\",mtu=\"1500\"} 1"), "{info}");
    let summary = server.stop();
    for count in counts() {
        assert_eq!(
            of(&scraped, &format!("{}{{core=\"0\"}}", count.metric)),
            summary.counter(count.name) as f64,
            "{}",
            count.name
        );
    }
    assert_eq!(summary.dropped("tcp_port_closed"), 1);
}

#[test]
fn what_counts_never_falls() {
    let Some(world) = World::new() else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--metrics", "127.0.0.1:0", "echo:7"]);
    traffic(&world, &server);
    let first = scraped(&world, &server);
    traffic(&world, &server);
    let second = scraped(&world, &server);
    let grows = |name: &str| {
        let name = name.split('{').next().unwrap_or(name);
        families().iter().any(|family| match family.kind {
            Kind::Counter => family.name == name,
            Kind::Gauge => false,
            Kind::Histogram => name.strip_prefix(family.name).is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end)),
        })
    };
    let mut more = 0;
    for (name, value) in first.iter().filter(|(name, _)| grows(name)) {
        let later = of(&second, name);
        assert!(later >= *value, "{name} fell from {value} to {later}");
        more += usize::from(later > *value);
    }
    assert!(more > 20, "{more} have grown");
    server.stop();
}

#[test]
fn each_core_has_its_label_and_the_sums_have_none() {
    let Some(world) = World::with_queues(2) else { return };
    let server =
        Server::with(&world, &["-a", SERVER_CIDR, "--queues", "0-1", "--cores", "0-1", "--metrics", "127.0.0.1:0", "echo:7"]);
    let mut streams: Vec<_> = world.client.inside(|| (0..64).map(|_| connect(7)).collect());
    world.client.inside(|| streams.iter_mut().for_each(|stream| exchange(stream, &[7; 500])));
    thread::sleep(APART);
    // Within the time in which they are the same figures.
    let url = |path: &str| format!("http://{}{path}", server.ready["metrics"].as_str().expect("an address"));
    let both = world.server.run("curl", &["-sS", "--fail", "--max-time", "20", &url("/metrics"), &url("/metrics/sum")]);
    let (apart, sum) = both.split_at(both.rfind("# HELP ringway_build_info").expect("the second page"));
    let (apart, sum) = (samples(apart), samples(sum));
    for name in
        ["ringway_tcp_connections_accepted_total", "ringway_tcp_segments_received_total", "ringway_tcp_in_frame_bytes_total"]
    {
        let each = ["0", "1"].map(|core| of(&apart, &format!("{name}{{core=\"{core}\"}}")));
        assert!(each.iter().all(|count| *count > 0.0), "{name}: {each:?}");
        assert_eq!(each.iter().sum::<f64>(), of(&sum, name), "{name}");
    }
    let open = ["0", "1"].map(|core| of(&apart, &format!("ringway_tcp_connections{{core=\"{core}\",state=\"ESTABLISHED\"}}")));
    assert_eq!((open.iter().sum::<f64>(), of(&sum, "ringway_tcp_connections{state=\"ESTABLISHED\"}")), (64.0, 64.0));
    let looked_at = ["0", "1"].map(|core| of(&apart, &format!("ringway_tcp_smoothed_rtt_seconds_count{{core=\"{core}\"}}")));
    assert_eq!(looked_at, open, "each connection of both, once");
    assert_eq!([0, 1].map(|cpu| of(&apart, &format!("ringway_core_info{{core=\"{cpu}\",cpu=\"{cpu}\"}}"))), [1.0, 1.0]);
    drop(streams);
    server.stop();
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let Some(world) = World::with_queues(1) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--metrics", "127.0.0.1:0", "echo:7"]);
    let status = |path: &str, more: &[&str]| {
        curl(&world.server, &server.ready, path, &[&["-o", "/dev/null", "-w", "%{http_code} %{size_download}"], more].concat())
    };
    assert!(status("/metric", &[]).starts_with("404 "));
    assert!(status("/metrics", &["-X", "POST", "-d", "all"]).starts_with("405 "));
    assert_eq!(status("/metrics", &["--head"]), "200 0");
    assert!(curl(&world.server, &server.ready, "/", &[]).contains("tcp_paws"));
    // Somebody who connects to it and says nothing costs nobody anything.
    let address = server.ready["metrics"].as_str().expect("an address").to_owned();
    let idle: Vec<_> =
        world.server.inside(|| (0..40).map(|_| std::net::TcpStream::connect(&address).expect("connect")).collect());
    assert!(status("/metrics", &[]).starts_with("200 "));
    drop(idle);
    server.stop();
}

#[test]
fn the_parser_of_prometheus_reads_every_family() {
    let Some(world) = World::with_queues(1) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "--metrics", "127.0.0.1:0", "echo:7"]);
    world.client.inside(|| exchange(&mut connect(7), &[7; 500]));
    let script = "import sys, urllib.request
from prometheus_client.parser import text_string_to_metric_families as families
page = urllib.request.urlopen(sys.argv[1], timeout=20).read().decode()
for family in families(page):
    print(family.name, family.type, len(family.samples), bool(family.documentation))";
    let url = format!("http://{}/metrics", server.ready["metrics"].as_str().expect("an address"));
    let read = world.server.run("/usr/bin/python3", &["-c", script, &url]);
    let wanted: Vec<String> = families()
        .iter()
        .map(|family| {
            // It takes _total for an ending that any counter has.
            format!("{} {}", family.name.strip_suffix("_total").unwrap_or(family.name), family.kind.name())
        })
        .collect();
    let found: Vec<String> = read.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(found, wanted);
    assert!(read.lines().all(|line| line.ends_with(" True") && !line.contains(" 0 ")), "each has samples and help: {read}");
    server.stop();
}

#[test]
fn a_port_in_use_is_said_with_who_has_it() {
    let Some(world) = World::with_queues(1) else { return };
    let taken = world.server.inside(|| TcpListener::bind("127.0.0.1:9464").expect("a free port"));
    let arguments =
        ["serve", "-i", INTERFACE, "-a", SERVER_CIDR, "--set", "address.probes=0", "--metrics", "127.0.0.1:9464", "echo:7"];
    let (code, _, log) = ringway(&world.server, &arguments);
    assert_eq!(code, Some(3), "{log}");
    assert!(
        log.contains("cannot answer scrapes at 127.0.0.1:9464") && log.contains(&format!("(pid {})", std::process::id())),
        "{log}"
    );
    assert!(log.contains("try: --metrics 127.0.0.1:9465"), "{log}");
    world.assert_untouched_but(&["127.0.0.1:9464"]);
    drop(taken);
}

#[test]
fn a_load_can_be_scraped_too() {
    let Some(world) = World::with_queues(1) else { return };
    let server = Server::with(&world, &["-a", SERVER_CIDR, "echo:7"]);
    let mut command = world.client.command(RINGWAY);
    command.args([
        "load",
        "tcp",
        "--json",
        "-i",
        INTERFACE,
        "-a",
        "10.0.0.9/24",
        "--set",
        "address.probes=0",
        "--to",
        &at(7).to_string(),
    ]);
    let mut load = command
        .args(["--metrics", "127.0.0.1:0", "-P", "3", "-O", "0s", "-t", "2s"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ip starts");
    let mut lines = BufReader::new(load.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let ready: Value =
        lines.find(|line| line.contains("\"ready\"")).map(|line| serde_json::from_str(&line).expect("JSON")).expect("ready");
    thread::sleep(Duration::from_secs(1));
    let samples = samples(&curl(&world.client, &ready, "/metrics", &["--fail"]));
    assert_eq!(of(&samples, "ringway_tcp_connections{core=\"0\",state=\"ESTABLISHED\"}"), 3.0);
    assert_eq!(of(&samples, "ringway_tcp_handshake_duration_seconds_count{core=\"0\",opened_by=\"service\"}"), 3.0);
    let timed = of(&samples, "ringway_turn_duration_seconds_count{core=\"0\"}");
    assert!(timed > 1.0 && of(&samples, "ringway_turn_duration_seconds_sum{core=\"0\"}") > 0.0, "{timed} turns were timed");
    lines.for_each(drop);
    assert!(load.wait().expect("it ends").success());
    server.stop();
}
