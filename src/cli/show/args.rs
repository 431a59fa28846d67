//! The arguments of `ringway show`. Parsed by clap. Holds words, bounds and help.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ringway::error::SetupError;
use ringway::show::{Request, What};
use ringway::tcp::State;

/// `ringway show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// connections|listeners|counters|queues|neighbors|routes
    #[arg(value_name = "WHAT", value_parser = what)]
    pub(crate) what: What,

    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// Only what has this address at either end
    #[arg(long, value_name = "ADDR")]
    pub(crate) address: Option<IpAddr>,

    /// Only what has this port at either end
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,

    /// Only connections in this state, as in ESTABLISHED or TIME-WAIT; may be repeated
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) state: Vec<String>,

    /// Key, state and age of connections only: the workers are not asked
    #[arg(long)]
    pub(crate) brief: bool,

    /// The process [default: the only one that runs]
    #[arg(long, value_name = "PID", conflicts_with = "socket")]
    pub(crate) pid: Option<u32>,

    /// Its control socket
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

impl ShowArgs {
    /// What is asked of the process.
    pub(crate) fn request(&self) -> Request {
        Request {
            limit: self.limit,
            address: self.address,
            port: self.port,
            state: self.state.clone(),
            brief: self.brief,
            ..Request::new(self.what)
        }
    }
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
  sudo ringway show connections --brief --limit 20 --pid 4711";
