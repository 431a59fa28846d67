//! What the arguments of `ringway load` come to.

use clap::Parser as _;

use super::*;
use crate::cli::args::{Cli, Command};

fn load(words: &str) -> LoadArgs {
    let cli = Cli::try_parse_from(["ringway", "load"].into_iter().chain(words.split_whitespace())).expect(words);
    match cli.command {
        Command::Load(args) => args,
        other => panic!("{other:?}"),
    }
}

fn addresses(args: &LoadArgs) -> String {
    let all: Vec<_> = sources(args).expect("addresses").iter().map(|cidr| cidr.address.to_string()).collect();
    all.join(" ")
}

#[test]
fn sources_are_those_of_the_servers_family_or_counted_up_from_the_first_of_them() {
    let given = "tcp --to 10.0.0.2:7 -a fd00::1/64 -a 10.0.0.16/24 -a 10.0.0.20/24";
    let args = load(given);
    assert_eq!((addresses(&args).as_str(), plan(&args).expect("a plan").sources), ("10.0.0.16 10.0.0.20", 2));
    let args = load(&format!("{given} --sources 3"));
    assert_eq!((addresses(&args).as_str(), plan(&args).expect("a plan").sources), ("10.0.0.16 10.0.0.17 10.0.0.18", 3));
    let args = load("tcp --to [fd00::2]:7 -a fd00::1/64 -a 10.0.0.16/24");
    assert_eq!(addresses(&args), "fd00::1");
    let args = load("tcp --to 10.0.0.2:7");
    assert_eq!((addresses(&args).as_str(), plan(&args).expect("a plan").sources), ("", 1));
}

#[test]
fn a_ramp_is_held_for_warm_up_and_measured_time_together() {
    let spans = |words: &str| {
        let plan = plan(&load(&format!("tcp --to 10.0.0.2:7 {words}"))).expect("a plan");
        (plan.warmup.as_millis(), plan.duration.as_millis(), plan.ramp.map(|ramp| ramp.active))
    };
    assert_eq!(spans("--ramp 1K --hold 30s"), (1000, 29_000, Some(number::WHOLE)));
    assert_eq!(spans("--ramp 1K --hold 30s --active 0%"), (0, 30_000, Some(0)));
    assert_eq!(spans("--ramp 1K -t 3s -O 2s --active 1%"), (2000, 3000, Some(number::WHOLE / 100)));
    assert_eq!(spans("-t 3s"), (1000, 3000, None));
}
