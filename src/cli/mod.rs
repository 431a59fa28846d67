//! The command line: argument parsing and output, nothing else.
//!
//! Each sub-command is a file. [`main`] reads the arguments, runs the sub-command, prints its error if there is one and gives the exit
//! code: 0 ok, 1 the run failed, 2 usage, 3 environment, 4 a threshold was missed. Errors of the parser take the same way as all
//! others, so that each says what, why and what mends it, as a text or as a JSON object.

mod admission_args;
mod args;
mod bench;
mod cable;
mod capture;
mod child;
mod compare;
mod conditions;
mod config;
mod doctor;
mod ends;
mod engine_args;
mod exchange;
mod failure;
mod kernel_address;
mod ladder;
mod listen;
mod load;
mod log;
mod output;
mod process;
mod reload;
mod rights;
mod serve;
mod service_spec;
mod show;
mod steer;
mod summary;
#[cfg(feature = "top")]
mod top;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use ringway::error::SetupError;

use args::{Cli, Command};
use config::Effective;
use failure::Failure;
use output::Output;

/// Runs the command with the arguments of the process.
pub(crate) fn main() -> ExitCode {
    child::die_with_parent();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, &arguments),
    };
    let output = Output::new(cli.json);
    let (cli, effective) = match with_file(cli, &arguments) {
        Ok(both) => both,
        Err(error) => {
            let failure = Failure::Setup(error);
            output.failure(&failure);
            return ExitCode::from(failure.exit_code());
        }
    };
    let talk = if matches!(cli.command, Command::Serve(_)) { log::Talk::Server } else { log::Talk::Tool };
    let started = log::start(cli.log.as_deref(), cli.log_format, talk).map_err(Failure::from);
    match started.and_then(|()| run(cli.command, effective, output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The command line with its configuration file laid under it, where it names one, and what it comes to, of a server.
fn with_file(cli: Cli, arguments: &[OsString]) -> Result<(Cli, Effective), SetupError> {
    match &cli.command {
        Command::Serve(args) if args.config.is_some() || args.print_config => config::read(arguments, args.config.as_deref()),
        _ => Ok((cli, Effective::default())),
    }
}

fn run(command: Command, effective: Effective, output: Output) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(&args, effective, output),
        Command::Load(args) => load::run(&args, output),
        Command::Compare(args) => compare::run(&args, output),
        Command::Bench(args) => bench::run(&args, output),
        Command::Capture(args) => capture::run(&args, output),
        Command::Cable(args) => cable::run(&args, output),
        Command::Listen(args) => listen::run(&args, output),
        Command::Show(args) => show::run(&args, output),
        #[cfg(feature = "top")]
        Command::Top(args) => top::run(&args, output),
        Command::Doctor(args) => doctor::run(&args, output),
        Command::Reload(args) => reload::run(&args, output),
        Command::Ladder(args) => ladder::run(&args, output),
        Command::Steer(args) => steer::run(&args, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringway", &mut script);
            output.raw(&script);
            Ok(())
        }
        Command::Man { command } => {
            output.raw(&manual(command.as_deref())?);
            Ok(())
        }
    }
}

/// The manual page of the whole, or of one sub-command.
fn manual(command: Option<&str>) -> Result<Vec<u8>, Failure> {
    let mut whole = Cli::command();
    whole.build();
    let page = match command {
        None => whole,
        Some(name) => whole.find_subcommand(name).cloned().ok_or_else(|| {
            SetupError::usage(format!("there is no page for '{name}'"), format!("the commands are {}", usage::commands("and")))
                .mend("ringway man")
        })?,
    };
    let mut text = Vec::new();
    let page =
        clap_mangen::Man::new(page).date(MANUAL_DATE).source(concat!("Ringway ", env!("CARGO_PKG_VERSION"))).manual("Ringway");
    page.render(&mut text).map_err(|error| Failure::run("cannot write the manual page", error))?;
    Ok(text)
}

/// The day of the manual: that of its version, not of the build, so that the same source gives the same pages.
const MANUAL_DATE: &str = "2026-11-23";

/// What clap did not take: help and version go to stdout with 0, everything else is a usage error.
fn refused(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A closed pipe is the reader's wish, not an error.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let failure = Failure::Setup(usage::explain(error, arguments));
    Output::new(usage::wants_json(arguments)).failure(&failure);
    ExitCode::from(failure.exit_code())
}
