use std::time::Duration;

use clap::Parser;

use super::*;
use crate::cli::args::{Cli, Command};

fn args(more: &[&str]) -> CompareArgs {
    let words = "ringway compare --server-netns srv --server-if v0 --server-address 10.0.0.2/24 \
                 --client-netns cli --client-if v1 --client-address 10.0.0.1/24";
    let cli = Cli::try_parse_from(words.split_whitespace().chain(more.iter().copied())).unwrap();
    match cli.command {
        Command::Compare(args) => args,
        other => panic!("{other:?}"),
    }
}

/// Every command line that a comparison starts, the children's own arguments parsed by their own parser.
#[test]
fn every_line_is_one_that_ringway_itself_takes() {
    for more in [&["--quick"][..], &["--cores", "2,3"]] {
        let args = args(more);
        for row in rows::rows(args.quick) {
            let folder = Path::new("/tmp/x");
            let lines = rows::lines(&args, Path::new("/bin/ringway"), row, Effort::of(&args), Some(folder));
            for line in [&lines.server, &lines.client] {
                let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
                assert!(cli.json);
            }
        }
    }
}

#[test]
fn the_lines_of_a_quick_comparison() {
    let args = args(&["--quick"]);
    let shown: Vec<_> = rows::rows(true)
        .into_iter()
        .map(|row| {
            let lines = rows::lines(&args, Path::new("/bin/ringway"), row, Effort::of(&args), None);
            format!("# {}\n{}\n{}", row.name(), shell(&lines.server), shell(&lines.client))
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn row_names_are_distinct() {
    for quick in [true, false] {
        let mut names: Vec<_> = rows::rows(quick).into_iter().map(Row::name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

/// 60 s for a quick comparison: a run of a row costs its warm-up, its time, and about a quarter of a second for two children to start and end.
#[test]
fn a_quick_comparison_fits_its_minute() {
    let args = args(&["--quick"]);
    let effort = Effort::of(&args);
    let one = effort.warmup + effort.duration + Duration::from_millis(250);
    let all = one * effort.rounds * u32::try_from(rows::rows(true).len()).unwrap() + exchange::LENGTH;
    assert!(all < Duration::from_secs(55), "{all:?}");
}

#[test]
fn impossible_comparisons_are_usage_errors() {
    for (more, word) in [
        (&["--cores", "0"][..], "compare takes two"),
        (&["--cores", "0-2"], "compare takes two"),
        (&["--rounds", "3", "--quick"], ""),
    ] {
        let checked = args(more).ends.check("compare");
        match word {
            "" => checked.unwrap(),
            word => assert!(checked.unwrap_err().to_string().contains(word)),
        }
    }
    let mut same = args(&[]).ends;
    same.client_address = same.server_address;
    assert_eq!(same.check("compare").unwrap_err().exit_code(), 2);
    let mut path = args(&[]).ends;
    path.client_netns = "../x".to_owned();
    assert_eq!(path.check("compare").unwrap_err().exit_code(), 2);
}

#[test]
fn words_are_quoted_for_a_shell() {
    let words = ["a-b", "", "it's", "x y", "10.0.0.2:7"].map(str::to_owned);
    assert_eq!(shell(&words), r"a-b '' 'it'\''s' 'x y' 10.0.0.2:7");
}

#[test]
fn the_servers_drops_and_costs_are_added_to_the_row() {
    let mut result = row::Row { received: 10, ..row::Row::default() };
    result.drops.insert("reset".to_owned(), 1);
    let udp = Row { carrier: "udp", server: rows::Stack::Ringway, pace: rows::Pace::InFlight(1) };
    let summary = json!({ "drops": { "udp_checksum": 2, "no_frame": 0 } });
    add_server(&mut result, udp, Some(1000), Some(0.25), &summary);
    assert_eq!((result.cpu_ns_per_message.server, result.busy_share.server), (Some(100.0), Some(0.25)));
    assert_eq!(result.drops.into_iter().collect::<Vec<_>>(), [("reset".to_owned(), 1), ("server.udp_checksum".to_owned(), 2)]);
    let mut reflected = row::Row { received: 10, ..row::Row::default() };
    add_server(&mut reflected, Row { server: rows::Stack::XdpTx, carrier: "raw", ..udp }, Some(1000), None, &summary);
    assert_eq!(reflected.cpu_ns_per_message.server, None);
}

#[test]
fn a_folder_that_a_killed_comparison_of_the_same_number_left_is_no_obstacle() {
    let left = Scratch::new().map(|scratch| scratch.0.clone()).unwrap_or_default().join("udp-ringway-1-1");
    assert!(!left.exists(), "removed at the end");
    std::fs::create_dir_all(&left).unwrap();
    let scratch = Scratch::new().unwrap_or_else(|failure| panic!("{}: {}", failure.what(), failure.why()));
    assert!(scratch.0.exists() && !left.exists());
}
