use clap::Parser;

use super::*;
use crate::cli::args::{Cli, Command};

fn args(more: &[&str]) -> BenchArgs {
    let words = "ringway bench --server-netns srv --server-if v0 --server-address 10.0.0.2/24 \
                 --client-netns cli --client-if v1 --client-address 10.0.0.1/24";
    let cli = Cli::try_parse_from(words.split_whitespace().chain(more.iter().copied())).unwrap();
    match cli.command {
        Command::Bench(args) => args,
        other => panic!("{other:?}"),
    }
}

fn lines(args: &BenchArgs, cell: &Cell) -> Option<rows::Lines> {
    let limits = rows::OPEN.map(|stack| (stack.name().to_owned(), 200_000.0)).into();
    let programs = Programs { args, ringway: Path::new("/bin/ringway"), files: Path::new("/tmp"), limits: &limits };
    rows::lines(programs, cell, cell.effort(Effort::of(args)))
}

/// Every command line of ours that a run starts, the children's own arguments parsed by their own parser.
#[test]
fn every_line_is_one_that_ringway_itself_takes() {
    let args = args(&["--smoltcp", "/bin/smoltcp_echo"]);
    for cell in rows::cells().iter().chain(&rows::gate()).chain(&[search_cell(rows::Stack::Kernel, 5000)]) {
        let lines = lines(&args, cell).expect("all programs are there");
        for line in lines.clients.iter().chain([&lines.server]).filter(|line| line[0] == "/bin/ringway") {
            let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(cli.json);
        }
    }
}

#[test]
fn cells_have_names_of_their_own() {
    let mut ids: Vec<_> = rows::cells().iter().chain(&rows::gate()).map(Cell::id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(ids.iter().all(|id| id.split('/').count() == 3), "{ids:?}");
}

#[test]
fn without_its_program_smoltcp_is_left_out() {
    let cells = rows::cells();
    let smoltcp: Vec<_> = cells.iter().filter(|cell| cell.server == rows::Stack::Smoltcp).collect();
    assert!(smoltcp.len() > 10 && smoltcp.iter().all(|cell| lines(&args(&[]), cell).is_none()));
    let with = args(&["--smoltcp", "/bin/smoltcp_echo"]);
    let line = |id: &str| {
        let cell = cells.iter().find(|cell| cell.id() == id).expect(id);
        lines(&with, cell).expect("it is given").server.join(" ")
    };
    assert_eq!(
        line("tcp-rr/64c/smoltcp"),
        "/bin/smoltcp_echo --json --cores 0 -i v0 -a 10.0.0.2/24 --idle spin --set address.probes=0 --sockets 64 echo/tcp:7"
    );
    assert!(line("bulk/1500-receive-4/smoltcp").ends_with("--interval=100ms --sockets 4 chargen/tcp:19"));
    assert!(line("kernel-client/http-1/smoltcp").ends_with("http/tcp:80=/tmp"));
}

/// Forty minutes for all of it, with the gate and the search.
#[test]
fn the_whole_fits_its_time() {
    let length = |args: &BenchArgs| {
        let cells = rows::cells();
        let of =
            |cells: &[Cell], effort: Effort| -> Duration { cells.iter().map(|cell| cell.length(effort) * effort.rounds).sum() };
        let tries = Duration::from_secs(1) * TRIES * searches(&cells).len() as u32;
        of(&cells, Effort::of(args)) + of(&rows::gate(), Effort::of_gate(args)) + tries
    };
    let (whole, quick) = (length(&args(&[])), length(&args(&["--quick"])));
    assert!(whole < Duration::from_secs(40 * 60), "{whole:?}");
    assert!(quick < Duration::from_secs(6 * 60), "{quick:?}");
}

#[test]
fn only_takes_rows_loads_and_cells() {
    let chosen = |words: &[&str]| rows::chosen(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    assert_eq!(chosen(&[]).unwrap(), rows::cells());
    assert_eq!(chosen(&["mixed", "udp-latency/64B/raw"]).unwrap().len(), 3);
    assert!(chosen(&["tcp-rr/1c"]).unwrap().iter().all(|cell| cell.load() == "1c"), "10000c begins so, too");
    for (word, mend) in [
        ("udp-latence", "--only udp-latency"),
        ("tcp-rr/63c", "--only tcp-rr/64c"),
        ("gate", "--only udp-rate"),
        ("udp-rate/64B/ringwya", "--only udp-rate/64B/ringway"),
    ] {
        let error = chosen(&[word]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        if word != "gate" {
            assert_eq!(error.remedy(), Some(mend), "{word}");
        }
    }
}

#[test]
fn the_lines_of_some_cells() {
    let args = args(&["--smoltcp", "/bin/smoltcp_echo"]);
    let wanted = [
        "udp-rate/1200B",
        "udp-open/90%/ringway",
        "tcp-rr/10000c",
        "crr",
        "bulk/3400-receive-4",
        "kernel-client/http-64",
        "mixed",
    ];
    let cells = rows::chosen(&wanted.map(str::to_owned)).unwrap();
    let shown: Vec<_> = cells
        .iter()
        .map(|cell| {
            let lines = lines(&args, cell).expect("all programs are there");
            let clients: Vec<String> = lines.clients.iter().map(|line| shell(line)).collect();
            let before = link::before(&args.ends, cell);
            format!("# {}\n{}\n{}\n{}", cell.id(), before.join("\n"), shell(&lines.server), clients.join("\n"))
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn interfaces_are_set_only_where_something_changes() {
    let args = args(&[]);
    let bare = rows::Link { mtu: 1500, offloads: false };
    assert!(link::set_up(&args.ends, bare, Some(bare)).is_empty());
    assert_eq!(link::set_up(&args.ends, bare, None).len(), 4);
    let large = link::set_up(&args.ends, rows::Link { mtu: 3400, ..bare }, Some(bare));
    assert_eq!(
        large.iter().map(|line| shell(line)).collect::<Vec<_>>(),
        ["ip -n srv link set v0 mtu 3400", "ip -n cli link set v1 mtu 3400"]
    );
}

#[test]
fn a_search_ends_near_the_highest_rate() {
    for highest in [700, 1_500, 49_000, 123_456, 800_000, 5_000_000_u32] {
        let mut search = Search::new();
        while let Some(rate) = search.next() {
            search.was(rate, rate <= highest);
        }
        let found = f64::from(search.carried) / f64::from(highest);
        let known = if highest < LEAST_RATE { 0.0..=0.0 } else { 0.5..=1.0 };
        assert!(known.contains(&found), "{highest}: {search:?}");
        if (50_000..1_000_000).contains(&highest) {
            assert!(found > 0.85, "{highest}: {search:?}");
        }
    }
}

#[test]
fn impossible_benchmarks_are_usage_errors() {
    assert_eq!(args(&["--cores", "0"]).ends.check("bench").unwrap_err().exit_code(), 2);
    let missing = check_smoltcp(&args(&["--smoltcp", "/nonesuch"])).unwrap_err();
    assert_eq!((missing.exit_code(), missing.remedy().is_some()), (3, true));
}
