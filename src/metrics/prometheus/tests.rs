use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::engine::tests::{Silent, parked};

/// Three cores, the second of which did not answer.
fn snapshot() -> Snapshot {
    let core = |seed: u64| {
        let mut report = parked(Silent).report();
        report.counters.tcp_received = seed;
        report.drops.insert("tcp_paws", 10 * seed);
        report.tcp_events.insert("fast_retransmit", 100 * seed);
        report.neighbors = seed as usize;
        report.queues[0].queue = seed as u32;
        report.queues[0].stats.received = seed;
        report.histograms.turn_ns.count(seed * 1_000);
        report.cpu_ns = seed * 1_500_000_000;
        let mut core = Core { report: Some(report), states: [0; 11], smoothed_rtt: Times::times() };
        core.states[3] = seed;
        core.smoothed_rtt.count(seed);
        core
    };
    let mut steering = steer::Counters::default();
    steering.add(Cause::ClaimedUnserved, 5);
    let side = Side {
        role: "server".to_owned(),
        cores: vec![2, 4, 6],
        idle: Some("spin".to_owned()),
        interfaces: vec![Interface {
            name: "veth0".to_owned(),
            xdp: Some("native".to_owned()),
            mtu: Some(1500),
            ..Interface::default()
        }],
    };
    Snapshot {
        cores: vec![core(1), Core { report: None, ..core(7) }, core(3)],
        interfaces: vec!["veth0".to_owned()],
        steering: vec![("veth0".to_owned(), steering)],
        conditions: Conditions {
            kernel: "6.18 \"x\"\\".to_owned(),
            cpu: "A CPU".to_owned(),
            cpus: 8,
            sides: vec![side],
            ..Conditions::default()
        },
        asked_ns: 12_000,
    }
}

/// A sample: its name, its labels and its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads a page as strictly as the format is described, and gives its families and its samples.
fn parsed(page: &str) -> (Vec<Family>, Vec<Sample>) {
    assert!(page.ends_with('\n') && !page.contains("\n\n"), "each line ends, and none is empty");
    let mut families: Vec<Family> = Vec::new();
    let mut samples = Vec::new();
    let mut help = None;
    let mut seen = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            assert!(help.is_some(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            let (named, text) = help.take().expect("HELP stands before TYPE");
            assert_eq!(named, name);
            let family = super::families()
                .into_iter()
                .find(|family| family.name == name)
                .unwrap_or_else(|| panic!("{name} is not listed"));
            assert_eq!((family.kind.name(), family.help), (kind, text));
            assert!(families.iter().all(|other| other.name != name), "{name} stands twice");
            families.push(family);
        } else {
            let sample = sample(line);
            let family = families.last().expect("TYPE stands before samples");
            let ends: &[&str] = if family.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(ends.iter().any(|end| sample.0 == format!("{}{end}", family.name)), "{line} stands at {}", family.name);
            assert!(seen.insert((sample.0.clone(), sample.1.clone())), "{line} stands twice");
            samples.push(sample);
        }
    }
    (families, samples)
}

fn sample(line: &str) -> Sample {
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).expect("a name ends"));
    let mut labels = BTreeMap::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, value) = inside.split_once("=\"").expect("a label");
            let mut end = 0;
            while !value[end..].starts_with('"') {
                end += if value[end..].starts_with('\\') { 2 } else { 1 };
            }
            assert!(labels.insert(label.to_owned(), value[..end].to_owned()).is_none(), "{label} twice: {line}");
            match value[end + 1..].strip_prefix(',') {
                Some(more) => inside = more,
                None => {
                    rest = value[end + 1..].strip_prefix('}').expect("the labels end");
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("one space").parse().unwrap_or_else(|_| panic!("no number: {line}"));
    (name.to_owned(), labels, value)
}

/// The value of a sample with just these labels.
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: BTreeMap<_, _> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    samples.iter().find(|sample| sample.0 == name && sample.1 == labels).map(|sample| sample.2)
}

#[test]
fn a_page_has_every_family_in_order_and_every_cause() {
    for by in [By::Core, By::Sum] {
        let mut snapshot = snapshot();
        if by == By::Sum {
            // Of cores that do not all answer there is none.
            snapshot.cores.remove(1);
        }
        let (families, samples) = parsed(&render(&snapshot, by));
        assert_eq!(families, super::families());
        let cores = if by == By::Core { 2 } else { 1 };
        let count = |name: &str| samples.iter().filter(|sample| sample.0 == name).count();
        assert_eq!(count("ringway_drops_total"), cores * Drop::COUNT);
        assert_eq!(count("ringway_tcp_events_total"), cores * Happening::COUNT);
        assert_eq!(count("ringway_tcp_connections"), cores * 9);
        assert_eq!(count("ringway_steering_frames_total"), Cause::COUNT);
        assert_eq!(count("ringway_tcp_handshake_duration_seconds_bucket"), cores * 2 * 23);
    }
}

#[test]
fn what_the_cores_counted_is_told_apart_or_added() {
    let (_, apart) = parsed(&render(&snapshot(), By::Core));
    // The sum of some would fall when one does not answer.
    let (_, of_some) = parsed(&render(&snapshot(), By::Sum));
    assert_eq!(value(&of_some, "ringway_tcp_segments_received_total", &[]), None);
    let mut all = snapshot();
    all.cores.remove(1);
    let (_, added) = parsed(&render(&all, By::Sum));
    let of = |name: &str, labels: &[(&str, &str)]| {
        let with = |core| value(&apart, name, &[labels, &[("core", core)]].concat());
        (with("0"), with("1"), with("2"), value(&added, name, labels))
    };
    for (name, labels, values) in [
        ("ringway_tcp_segments_received_total", &[][..], (1.0, 3.0, 4.0)),
        ("ringway_drops_total", &[("cause", "tcp_paws")], (10.0, 30.0, 40.0)),
        ("ringway_drops_total", &[("cause", "no_route")], (0.0, 0.0, 0.0)),
        ("ringway_tcp_events_total", &[("event", "fast_retransmit")], (100.0, 300.0, 400.0)),
        ("ringway_tcp_connections", &[("state", "ESTABLISHED")], (1.0, 3.0, 4.0)),
        ("ringway_cpu_seconds_total", &[], (1.5, 4.5, 6.0)),
        ("ringway_neighbors", &[], (1.0, 3.0, 3.0)),
        ("ringway_turn_duration_seconds_bucket", &[("le", "0.000002")], (1.0, 0.0, 1.0)),
        ("ringway_turn_duration_seconds_bucket", &[("le", "+Inf")], (1.0, 1.0, 2.0)),
        ("ringway_turn_duration_seconds_sum", &[], (0.000_001, 0.000_003, 0.000_004)),
        ("ringway_tcp_smoothed_rtt_seconds_count", &[], (1.0, 1.0, 2.0)),
    ] {
        let (first, third, sum) = values;
        assert_eq!(of(name, labels), (Some(first), None, Some(third), Some(sum)), "{name} {labels:?}");
    }
    let up = |core| value(&apart, "ringway_core_up", &[("core", core)]);
    assert_eq!((up("0"), up("1"), up("2")), (Some(1.0), Some(0.0), Some(1.0)));
    let queue = &[("interface", "veth0"), ("queue", "3")];
    assert_eq!(value(&added, "ringway_queue_frames_received_total", queue), Some(3.0), "queues are nobody's sum");
    let unserved = &[("interface", "veth0"), ("cause", "claimed_unserved")];
    assert_eq!(value(&apart, "ringway_steering_frames_total", unserved), Some(5.0));
    let info = &[("interface", "veth0"), ("xdp", "native"), ("mtu", "1500")];
    assert_eq!(value(&apart, "ringway_interface_info", info), Some(1.0), "what is not known is left out");
    assert_eq!(value(&apart, "ringway_core_info", &[("core", "2"), ("cpu", "6")]), Some(1.0));
}

#[test]
fn buckets_never_fall_and_end_at_the_count() {
    let (families, samples) = parsed(&render(&snapshot(), By::Core));
    for family in families.iter().filter(|family| family.kind == Kind::Histogram) {
        let mut before: Option<(BTreeMap<String, String>, f64, f64)> = None;
        for (_, labels, count) in samples.iter().filter(|sample| sample.0 == format!("{}_bucket", family.name)) {
            let mut series = labels.clone();
            let bound: f64 = series.remove("le").expect("a bound").replace("+Inf", "inf").parse().expect("a number");
            if let Some((same, last, seen)) = before.filter(|(same, ..)| *same == series) {
                assert!(last < bound && seen <= *count, "{} {same:?} {bound}", family.name);
            }
            if bound.is_infinite() {
                let labels: Vec<_> = series.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                assert_eq!(value(&samples, &format!("{}_count", family.name), &labels), Some(*count));
            }
            before = Some((series, bound, *count));
        }
        assert!(before.is_some(), "{}", family.name);
    }
}

/// What `promtool check metrics` asks of names and help, and the rules of our own: see `rules` below.
fn broken_rules(family: &Family) -> Vec<&'static str> {
    let Family { name, kind, help } = *family;
    let words: Vec<&str> = name.split('_').collect();
    let base = name.strip_suffix("_total").unwrap_or(name);
    let word_of = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let rules = [
        ("a name is of small letters, digits and single underscores", {
            let plain = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            words.iter().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit())
        }),
        ("it begins with ringway", words[0] == "ringway" && words.len() > 1),
        ("a counter ends in _total, and nothing else does", (kind == Kind::Counter) == name.ends_with("_total")),
        ("no kind stands in it", !word_of(&["counter", "gauge", "histogram", "summary"])),
        (
            "units are base units",
            !word_of(&[
                "ns",
                "us",
                "ms",
                "s",
                "b",
                "kb",
                "mb",
                "nanoseconds",
                "microseconds",
                "milliseconds",
                "minutes",
                "bits",
                "percent",
            ]),
        ),
        ("the unit stands last", !["seconds", "bytes"].iter().any(|unit| words.contains(unit) && !base.ends_with(unit))),
        ("what only histograms have stands nowhere else", !["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end))),
        ("a duration is in seconds", !word_of(&["duration", "rtt"]) || base.ends_with("_seconds")),
        (
            "help says something, in a sentence that ends",
            help.len() > 10 && help.ends_with(['.', '1']) && help.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()),
        ),
        ("help is no documentation of Rust", !help.contains("[`") && !help.contains("::")),
    ];
    rules.into_iter().filter(|(_, kept)| !kept).map(|(rule, _)| rule).collect()
}

#[test]
fn every_family_has_a_name_by_the_rules_and_help() {
    let families = families();
    let broken: Vec<_> =
        families.iter().map(|family| (family.name, broken_rules(family))).filter(|(_, broken)| !broken.is_empty()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let names: BTreeSet<_> = families.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), families.len(), "each name is one family's");
    // A histogram's samples must not be a family's.
    assert!(!names.iter().any(|name| {
        ["_bucket", "_count", "_sum"].iter().any(|end| name.strip_suffix(end).is_some_and(|base| names.contains(base)))
    }));
}

#[test]
fn the_rules_can_fail() {
    let family = |name, kind, help| broken_rules(&Family { name, kind, help }).len();
    assert_eq!(family("ringway_good_bytes_total", Kind::Counter, "Bytes of a test."), 0);
    for (name, kind, help) in [
        ("ringway_drops", Kind::Counter, "Drops of a test."),
        ("ringway_drops_total", Kind::Gauge, "Drops of a test."),
        ("ringway__drops_total", Kind::Counter, "Drops of a test."),
        ("drops_total", Kind::Counter, "Drops of a test."),
        ("ringway_turn_ns", Kind::Gauge, "Turns of a test."),
        ("ringway_bytes_received_total", Kind::Counter, "Bytes of a test."),
        ("ringway_turn_duration", Kind::Histogram, "Turns of a test."),
        ("ringway_turn_count", Kind::Gauge, "Turns of a test."),
        ("ringway_turns_total", Kind::Counter, ""),
        ("ringway_turns_total", Kind::Counter, "Turns, see [`crate::engine`]."),
    ] {
        assert!(family(name, kind, help) >= 1, "{name} {help}");
    }
}

#[test]
fn what_labels_mean_is_explained() {
    let page = glossary();
    let missing = |name: &str, help: &str| !page.lines().any(|line| line.trim_start().starts_with(name) && line.ends_with(help));
    let drops = Drop::ALL.iter().map(|why| (why.name(), why.help()));
    let events = Happening::ALL.iter().map(|what| (what.name(), what.help()));
    let causes = Cause::ALL.iter().map(|cause| (cause.name(), cause.help()));
    for (name, help) in drops.chain(events).chain(causes) {
        assert!(!missing(name, help), "{name}");
        assert!(help.ends_with('.') && help.len() > 10 && !help.contains("[`"), "{name}: {help}");
    }
    assert!(page.contains("\n/metrics ") && page.contains("\n/metrics/sum "), "{page}");
}

/// The names that begin as ours in a text, and the labels they are given or grouped by.
fn named_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.len() > "ringway_".len() && word.starts_with("ringway_"))
        .collect()
}

/// True for what stands on the page: a family, or a sample of a histogram.
fn stands_on_the_page(name: &str) -> bool {
    let is = |wanted: &str, kind: Option<Kind>| {
        families().iter().any(|family| {
            family.name == wanted
                && kind.is_none_or(|kind| family.kind == kind)
                && (kind.is_some() || family.kind != Kind::Histogram)
        })
    };
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    is(name, None) || histogram.is_some_and(|base| is(base, Some(Kind::Histogram)))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let text = read("contrib/grafana/ringway.json");
    let board: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{}", panel["title"]);
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{} has no unit", panel["title"]);
        let targets = panel["targets"]
            .as_array()
            .filter(|targets| !targets.is_empty())
            .unwrap_or_else(|| panic!("{} asks nothing", panel["title"]));
        for expression in targets.iter().map(|target| target["expr"].as_str().expect("an expression")) {
            let names = named_in(expression);
            assert!(!names.is_empty() && names.iter().all(|name| stands_on_the_page(name)), "{}: {expression}", panel["title"]);
            assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{expression}");
            asked.extend(names.into_iter().map(str::to_owned));
        }
    }
    for wanted in [
        "ringway_drops_total",
        "ringway_tcp_connections",
        "ringway_turn_duration_seconds_bucket",
        "ringway_tcp_smoothed_rtt_seconds_bucket",
    ] {
        assert!(asked.contains(wanted), "no panel shows {wanted}");
    }
    assert!(
        !stands_on_the_page("ringway_turn_duration_seconds")
            && !stands_on_the_page("ringway_turns")
            && stands_on_the_page("ringway_turns_total")
    );
}

#[test]
fn the_papers_name_metrics_that_there_are() {
    for paper in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = read(paper);
        let wrong: Vec<_> = named_in(&text)
            .into_iter()
            .filter(|name| !stands_on_the_page(name) && !families().iter().any(|family| family.name == *name))
            .collect();
        assert!(wrong.is_empty(), "{paper}: {wrong:?}");
    }
}
