//! The few hard rules of the code and the papers, checked by reading them.
//!
//! Each rule is a function over a path and a text, and is shown to fail on a sample that breaks it.

use std::fs;
use std::path::{Path, PathBuf};

/// A rule: what is wrong with a file, one line each.
type Rule = fn(&str, &str) -> Vec<String>;

const RULES: [Rule; 6] = [
    unsafe_stays_at_the_edge,
    pure_modules_have_no_clock,
    files_are_short,
    files_say_what_they_are,
    no_leftovers,
    names_are_whole,
];

#[test]
fn every_file_keeps_the_rules() {
    let sources = sources();
    assert!(sources.len() > 20, "the sources were not found");
    let broken: Vec<_> = sources.iter().flat_map(|(path, text)| RULES.iter().flat_map(|rule| rule(path, text))).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_map_names_every_module() {
    let mut broken = modules_are_on_the_map(&read("src/lib.rs"));
    broken.extend(files_are_on_the_map(&read("src/tcp/mod.rs")));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    for manifest in ["Cargo.toml", "examples/secure/Cargo.toml"] {
        let broken = dependencies_have_reasons(&read(manifest), &read("ARCHITECTURE.md"));
        assert!(broken.is_empty(), "{manifest}: {}", broken.join("\n"));
    }
}

#[test]
fn the_papers_name_files_that_exist() {
    for paper in PAPERS {
        let text = read(paper);
        let missing: Vec<_> = paths_named_in(&text).into_iter().filter(|path| !root().join(path).exists()).collect();
        assert!(missing.is_empty(), "{paper} names what is not there: {missing:?}");
    }
}

/// `unsafe` in src/xsk/ and src/arch.rs alone.
fn unsafe_stays_at_the_edge(path: &str, text: &str) -> Vec<String> {
    if path.starts_with("src/xsk/") || path == "src/arch.rs" {
        return Vec::new();
    }
    places(path, text, "unsafe belongs into src/xsk/ or src/arch.rs", |code| has_word(code, "unsafe"))
}

/// Time and chance are arguments in everything below the engine.
fn pure_modules_have_no_clock(path: &str, text: &str) -> Vec<String> {
    let pure = ["wire", "link", "rss", "demux", "tcp", "udp", "rtp", "service", "sim"];
    if !pure.iter().any(|module| path.starts_with(&format!("src/{module}/")) || path == format!("src/{module}.rs")) {
        return Vec::new();
    }
    places(path, text, "no clock and no randomness here: they are arguments", |code| {
        let clock = code.contains("Instant::now") || has_word(code, "SystemTime") || code.contains("std::time::Instant");
        let import = code.contains("std::time::{") && has_word(code, "Instant");
        clock || import || ["rand", "getrandom", "fastrand", "thread_rng"].iter().any(|word| has_word(code, word))
    })
}

/// A file is about one noun.
fn files_are_short(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > LINES_MAX { vec![format!("{path}: {lines} lines, the limit is {LINES_MAX}")] } else { Vec::new() }
}

/// Each file begins by saying what it is; tests moved out of a file are under that file's head.
fn files_say_what_they_are(path: &str, text: &str) -> Vec<String> {
    if path.starts_with("src/") && (path.ends_with("/tests.rs") || path.contains("/tests/")) {
        return Vec::new();
    }
    let said = text.lines().next().is_some_and(|line| line.strip_prefix("//! ").is_some_and(|words| words.len() > 10));
    if said { Vec::new() } else { vec![format!("{path}: the first line does not say what the file is (`//! ...`)")] }
}

/// Nothing is left for later, and no lint or test is switched off in silence.
fn no_leftovers(path: &str, text: &str) -> Vec<String> {
    let words = ["TODO", "FIXME", "XXX", "HACK"];
    let calls = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "allow(dead_code", "allow(unused", "allow(clippy::all"];
    let found = text
        .lines()
        .enumerate()
        .filter(|(_, line)| words.iter().any(|word| has_word(line, word)) || calls.iter().any(|call| line.contains(call)));
    found.map(|(n, line)| format!("{path}:{}: left over: {}", n + 1, line.trim())).collect()
}

/// No `get_`, and no source and target cut short.
fn names_are_whole(path: &str, text: &str) -> Vec<String> {
    places(path, text, "names are whole: no get_, no src_ or dst_", |code| {
        // What other crates call so may be used; a field of ours is found where it is declared.
        let field = |prefix: &str| code.replace(&format!(".{prefix}"), ".");
        let cut = ["src_", "dst_"].iter().any(|prefix| words(&field(prefix)).any(|word| word.starts_with(prefix)));
        cut || code.contains("fn get_")
    })
}

/// Each file and folder that src/tcp/mod.rs declares stands in its head.
fn files_are_on_the_map(tcp: &str) -> Vec<String> {
    let map: Vec<_> = tcp.lines().filter(|line| line.starts_with("//!")).collect();
    let declared = tcp.lines().filter_map(|line| line.strip_suffix(';')?.rsplit_once("mod ").map(|(_, module)| module));
    let stands = |module: &str| [".rs", "/"].iter().any(|end| map.iter().any(|line| line.contains(&format!("{module}{end}"))));
    let missing = declared.filter(|module| *module != "tests" && !stands(module));
    missing.map(|module| format!("src/tcp/mod.rs: {module} is not on the map")).collect()
}

/// Each module that lib.rs declares stands in its head, where the map is.
fn modules_are_on_the_map(lib: &str) -> Vec<String> {
    let map: Vec<_> = lib.lines().filter(|line| line.starts_with("//!")).collect();
    let declared = lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing = declared.filter(|module| !map.iter().any(|line| line.contains(&format!("`{module}`"))));
    missing.map(|module| format!("src/lib.rs: the module {module} is not on the map")).collect()
}

/// Each dependency of the manifest has a line of its own in the architecture.
fn dependencies_have_reasons(manifest: &str, architecture: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut listing = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            listing = line.contains("dependencies");
        } else if let Some((name, _)) = line.split_once('=').filter(|(_, what)| listing && !what.contains("path =")) {
            let name = name.trim();
            let explained = architecture.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
            if !explained {
                missing.push(format!("ARCHITECTURE.md does not say why {name} is there"));
            }
        }
    }
    missing
}

/// The paths of this repository that a paper names in backticks.
fn paths_named_in(paper: &str) -> Vec<&str> {
    let folders = ["src/", "tests/", "scripts/", "benches/", "examples/", "contrib/", ".ci/"];
    let quoted = paper.split('`').skip(1).step_by(2).filter_map(|text| text.split_whitespace().next());
    quoted.filter(|text| folders.iter().any(|folder| text.starts_with(folder)) && !text.contains(['*', '<'])).collect()
}

/// The places of a file whose code, comments left out, `breaks` a rule.
fn places(path: &str, text: &str, why: &str, breaks: impl Fn(&str) -> bool) -> Vec<String> {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let found = text.lines().enumerate().filter(|(_, line)| breaks(&code(line)));
    found.map(|(n, line)| format!("{path}:{}: {why}: {}", n + 1, line.trim())).collect()
}

fn has_word(line: &str, word: &str) -> bool {
    words(line).any(|found| found == word)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// All Rust sources of the repository but this one, which has to name what it forbids, with their paths from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "tests", "examples", "benches"].iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a folder entry").path();
            // What cargo builds of the package in examples/secure is nobody's text.
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
                if name != file!() {
                    found.push((name, fs::read_to_string(&path).expect("UTF-8")));
                }
            }
        }
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const LINES_MAX: usize = 800;
const PAPERS: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/textbook.md"];

mod rules_can_fail {
    use super::*;

    #[test]
    fn on_unsafe_code() {
        let text = "// unsafe in a comment\nunsafe { f() }\n#![deny(unsafe_code)]\n";
        assert_eq!(unsafe_stays_at_the_edge("src/tcp/seq.rs", text).len(), 1);
        assert_eq!(unsafe_stays_at_the_edge("tests/veth/world.rs", text).len(), 1);
        assert!(unsafe_stays_at_the_edge("src/xsk/umem.rs", text).is_empty());
        assert!(unsafe_stays_at_the_edge("src/arch.rs", text).is_empty());
    }

    #[test]
    fn on_clocks_and_chance() {
        for line in [
            "use std::time::Instant;",
            "use std::time::{Duration, Instant};",
            "let now = Instant::now();",
            "SystemTime::now()",
            "rand::random()",
            "rustix::rand::getrandom(&mut key)",
        ] {
            assert_eq!(pure_modules_have_no_clock("src/tcp/rtt.rs", line).len(), 1, "{line}");
            assert!(pure_modules_have_no_clock("src/engine/clock.rs", line).is_empty());
        }
        for line in ["use crate::time::Instant;", "use std::time::Duration;", "operand(x)", "// SystemTime"] {
            assert!(pure_modules_have_no_clock("src/tcp/rtt.rs", line).is_empty(), "{line}");
        }
    }

    #[test]
    fn on_long_files() {
        assert!(files_are_short("src/a.rs", &"x\n".repeat(800)).is_empty());
        assert_eq!(files_are_short("src/a.rs", &"x\n".repeat(801)).len(), 1);
    }

    #[test]
    fn on_files_without_a_head() {
        assert!(files_say_what_they_are("src/a.rs", "//! The ring of a queue.\n").is_empty());
        for text in ["", "//! x\n", "use std::fs;\n//! Too late for that.\n"] {
            assert_eq!(files_say_what_they_are("src/a.rs", text).len(), 1, "{text:?}");
        }
        assert!(files_say_what_they_are("src/a/tests.rs", "use super::*;\n").is_empty());
    }

    #[test]
    fn on_leftovers() {
        for line in ["// TODO: later", "todo!()", "#[ignore]", "#[allow(dead_code)]"] {
            assert_eq!(no_leftovers("src/a.rs", line).len(), 1, "{line}");
        }
        assert!(no_leftovers("src/a.rs", "let todo = list;").is_empty());
    }

    #[test]
    fn on_names_cut_short() {
        for line in ["struct Ours { src_ip: u32 }", "let src_port = 7;", "fn f(dst_ip: u32) {}", "pub fn get_port() {}"] {
            assert_eq!(names_are_whole("src/a.rs", line).len(), 1, "{line}");
        }
        for line in ["let source_port = 7;", "map.get(key)", "// the field src_ip", "let source = theirs.src_ip;"] {
            assert!(names_are_whole("src/a.rs", line).is_empty(), "{line}");
        }
    }

    #[test]
    fn on_a_module_off_the_map() {
        let lib = "//! - [`wire`] parses\n//! tcp\npub mod wire;\npub mod tcp;\n";
        assert_eq!(modules_are_on_the_map(lib), ["src/lib.rs: the module tcp is not on the map"]);
    }

    #[test]
    fn on_a_dependency_without_a_reason() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nmio = \"1\"\nlibc = { version = \"0.2\" }\n";
        let architecture = "| `mio` | polls |\nlibc is mentioned, without a line\n";
        assert_eq!(dependencies_have_reasons(manifest, architecture), ["ARCHITECTURE.md does not say why libc is there"]);
    }

    #[test]
    fn on_paths_that_a_paper_names() {
        let paper = "Run `scripts/test.sh --help`, read `src/engine/turn.rs`; `src/<module>` and `echo` are no paths.";
        assert_eq!(paths_named_in(paper), ["scripts/test.sh", "src/engine/turn.rs"]);
    }
}
