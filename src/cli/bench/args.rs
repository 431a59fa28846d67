//! The arguments of `ringway bench`.
//!
//! Parsed by clap. Holds words, bounds and help; which cells `--only` means is found by [`super::rows`].

use std::path::PathBuf;

use clap::Args;
use ringway::error::SetupError;
use ringway::settings::number;

use crate::cli::ends::Ends;

/// `ringway bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) ends: Ends,

    /// Only this row, ROW[/LOAD[/STACK]]: udp-rate, udp-latency/64B (may be repeated)
    #[arg(long, value_name = "ROW")]
    pub(crate) only: Vec<String>,

    /// How often each cell is measured, interleaved [default: 5, with --quick 2]
    #[arg(long, value_name = "N", value_parser = rounds)]
    pub(crate) rounds: Option<u32>,

    /// Short runs, to see that all of it works: the figures are not to be quoted
    #[arg(long)]
    pub(crate) quick: bool,

    /// End with 4 when the machine is too noisy, instead of marking all figures
    #[arg(long)]
    pub(crate) strict: bool,

    /// Go on with what --out holds of the same commit, machine and lengths
    #[arg(long)]
    pub(crate) resume: bool,

    /// Print the command lines of every cell and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// The program that serves the same over smoltcp; without it those cells are left out
    #[arg(long, value_name = "PATH")]
    pub(crate) smoltcp: Option<PathBuf>,

    /// What was built: stands in every report
    #[arg(long, value_name = "HASH", default_value = "unknown")]
    pub(crate) commit: String,

    /// Where cells.jsonl, bench.json, bench.html and bench.md go
    #[arg(long, value_name = "DIR", default_value = "out/bench")]
    pub(crate) out: PathBuf,

    /// Write the tables for a paper there, too
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

fn rounds(text: &str) -> Result<u32, SetupError> {
    match number::count(text)?.try_into() {
        Ok(rounds @ 1..=100) => Ok(rounds),
        _ => {
            let why = "each cell is measured between 1 and 100 times";
            Err(SetupError::usage(format!("cannot measure {text} rounds"), why).mend("5"))
        }
    }
}

pub(crate) const USAGE: &str = "\
ringway bench [OPTIONS]
         --server-netns NS --server-if IF --server-address ADDR/PREFIX
         --client-netns NS --client-if IF --client-address ADDR/PREFIX";

pub(crate) const AFTER: &str = "\
Rows: udp-rate, udp-latency, udp-open, tcp-rr, crr, bulk, kernel-client, mixed.
A cell is a row, a load and a stack: udp-latency/64B/ringway; --dry-run lists
all of them. In a pair both ends run the same stack; elsewhere the name of the
load says which client all servers of it have.

The namespaces and the veth pair are made by scripts/bench.sh veth, which is the
usual way to run this. Addresses, MTU and offloads of both ends are set for each
cell. What was measured stands in DIR/cells.jsonl as soon as it is known, and
the report is made of that file alone.

Example:
  sudo scripts/bench.sh veth --only udp-latency --only tcp-rr/1c";
