//! The arguments of `ringway show`. Parsed by clap. Holds words, bounds and help.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use ringway::error::SetupError;
use ringway::settings::number;
use ringway::show::{Request, What};
use ringway::tcp::State;
use ringway::time::span_ns;

use crate::cli::process::Process;

/// `ringway show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// connections|listeners|counters|queues|neighbors|routes|records
    #[arg(value_name = "WHAT", value_parser = what)]
    pub(crate) what: What,

    /// At most so many rows
    #[arg(long, value_name = "N", value_parser = number::count)]
    pub(crate) limit: Option<u64>,

    /// Only what has this address at either end
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) address: Option<IpAddr>,

    /// Only what has this port at either end
    #[arg(long, value_name = "N", value_parser = port)]
    pub(crate) port: Option<u16>,

    /// Only connections in this state, as in ESTABLISHED or TIME-WAIT; may be repeated
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) state: Vec<String>,

    /// Key, state and age of connections only: the workers are not asked
    #[arg(long)]
    pub(crate) brief: bool,

    /// Only records of the last so long
    #[arg(long, value_name = "TIME", value_parser = number::duration)]
    pub(crate) last: Option<Duration>,

    #[command(flatten)]
    pub(crate) process: Process,
}

impl ShowArgs {
    /// What is asked of the process.
    pub(crate) fn request(&self) -> Result<Request, SetupError> {
        self.check()?;
        Ok(Request {
            limit: self.limit,
            address: self.address,
            port: self.port,
            state: self.state.clone(),
            brief: self.brief,
            last_ns: self.last.map(span_ns),
            ..Request::new(self.what)
        })
    }

    /// Refuses what would leave out nothing.
    fn check(&self) -> Result<(), SetupError> {
        let addresses = !matches!(self.what, What::Counters | What::Queues);
        let ports = matches!(self.what, What::Connections | What::Listeners | What::Records);
        let states = self.what == What::Connections;
        let rules = [
            (self.address.is_some(), addresses, "--address", "they have none"),
            (self.port.is_some(), ports, "--port", "they have none"),
            (!self.state.is_empty(), states, "--state", "only connections have one"),
            (self.last.is_some(), self.what == What::Records, "--last", "only records are kept of the past"),
            (self.brief, states, "--brief", "only connections can be shown without asking the workers"),
        ];
        match rules.into_iter().find(|&(given, possible, ..)| given && !possible) {
            None => Ok(()),
            Some((_, _, option, why)) => {
                let name = What::ALL.into_iter().find_map(|(name, what)| (what == self.what).then_some(name)).unwrap_or_default();
                Err(SetupError::usage(format!("cannot use {option} with {name}"), why).mend(format!("leave {option} out")))
            }
        }
    }
}

pub(crate) fn address(text: &str) -> Result<IpAddr, SetupError> {
    let why = "it is no IPv4 or IPv6 address; a network cannot be given";
    text.parse().map_err(|_| SetupError::usage(format!("cannot read the address '{text}'"), why).mend("--address 10.0.0.7"))
}

pub(crate) fn port(text: &str) -> Result<u16, SetupError> {
    let refused =
        || SetupError::usage(format!("cannot read the port '{text}'"), "a port is a number from 1 to 65535").mend("--port 80");
    text.parse().ok().filter(|&port| port > 0).ok_or_else(refused)
}

/// What is to be shown, by its name.
fn what(text: &str) -> Result<What, SetupError> {
    What::ALL.into_iter().find_map(|(name, what)| (name == text).then_some(what)).ok_or_else(|| {
        let names = What::ALL.map(|(name, _)| name).join(", ");
        SetupError::usage(format!("cannot show '{text}'"), format!("what can be shown is {names}"))
            .mend("ringway show connections")
    })
}

/// A state by its name, in letters of either case.
fn state(text: &str) -> Result<String, SetupError> {
    let wanted = text.to_ascii_uppercase();
    let known = State::ALL.iter().map(|state| state.name());
    known.clone().find(|name| *name == wanted).map(str::to_owned).ok_or_else(|| {
        let names = known.collect::<Vec<_>>().join(", ");
        SetupError::usage(format!("cannot read the state '{text}'"), format!("the states are {names}")).mend("ESTABLISHED")
    })
}

/// Behind the options of `--help`.
pub(crate) const AFTER: &str = "\
With --json each row is an object, and the last one is the event summary.

Examples:
  sudo ringway show connections --state ESTABLISHED --port 80
  sudo ringway show counters --json
  sudo ringway show records --last 5s --port 80
  sudo ringway show connections --brief --limit 20 --pid 4711";
