//! The arguments of `ringway listen`, and where it listens.
//!
//! Parsed by clap. Holds words, bounds and help.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ringway::error::SetupError;
use ringway::link::groups::{Group, is_group};
use ringway::service::Local;
use ringway::settings::number;

use crate::cli::engine_args::EngineArgs;

/// `ringway listen`.
#[derive(Args, Debug)]
pub(crate) struct ListenArgs {
    /// What hears the stream: ringway|kernel
    #[arg(long, value_name = "STACK", value_enum, default_value_t = ListenStack::Ringway, hide_possible_values = true)]
    pub(crate) stack: ListenStack,

    /// How long to listen [default: until SIGINT or SIGTERM]
    #[arg(short = 't', long, value_name = "DURATION", value_parser = number::duration)]
    pub(crate) duration: Option<Duration>,

    /// End after so many packets
    #[arg(long, value_name = "N", value_parser = packets)]
    pub(crate) count: Option<u64>,

    /// Units of the timestamps a second [default: that of the payload type, else 90K]
    #[arg(long, value_name = "HZ", value_parser = clock)]
    pub(crate) clock: Option<u32>,

    /// Print a line of each sender at intervals [default of DURATION: 1s]
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::args::interval, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub(crate) interval: Option<Duration>,

    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    /// The group, or the address, and the port; of a group the senders, if only they are heard
    #[arg(value_name = "[ADDR]:PORT[,source=ADDR]", help_heading = "Arguments")]
    pub(crate) place: Place,
}

/// `listen --stack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListenStack {
    Ringway,
    Kernel,
}

/// `[ADDR]:PORT[,source=ADDR...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The port, at an address or at all.
    pub(crate) at: Local,
    /// The only senders that are heard.
    pub(crate) sources: Vec<IpAddr>,
}

impl Place {
    /// What has to be taken beside the engine's addresses, if it is at an address.
    pub(super) fn group(&self) -> Option<Group> {
        self.at.address.map(|address| Group::new(address, self.at.port).only_from(&self.sources))
    }

    /// True at a multicast group or the limited broadcast.
    pub(super) fn is_at_group(&self) -> bool {
        self.at.address.is_some_and(is_group)
    }
}

impl FromStr for Place {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let bad = |why: &str| SetupError::usage(format!("cannot listen at '{text}'"), why);
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default();
        let at = match (place.strip_prefix(':').unwrap_or(place).parse::<u16>(), place.parse::<SocketAddr>()) {
            (Ok(port), _) => Local::from(port),
            (_, Ok(at)) => Local::from(at),
            _ => return Err(bad("it is not ADDR:PORT (IPv6 addresses stand in brackets)").mend("239.1.2.3:5004")),
        };
        if at.port == 0 {
            return Err(bad("the port is a number between 1 and 65535").mend("239.1.2.3:5004"));
        }
        let sources = parts.map(|part| part.strip_prefix("source=").and_then(|word| word.parse().ok()));
        let sources: Option<Vec<IpAddr>> = sources.collect();
        let sources =
            sources.ok_or_else(|| bad("behind the port there is only ,source=ADDR").mend(format!("{place},source=10.0.0.1")))?;
        let place = Self { at, sources };
        if !place.sources.is_empty() && !place.is_at_group() {
            return Err(bad("only a group is limited to sources"));
        }
        Ok(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.address {
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.at.port))?,
            None => write!(f, ":{}", self.at.port)?,
        }
        self.sources.iter().try_for_each(|source| write!(f, ",source={source}"))
    }
}

fn packets(text: &str) -> Result<u64, SetupError> {
    match number::count(text)? {
        0 => Err(SetupError::usage("cannot end after 0 packets", "at least one has to come").mend("--count 1")),
        count => Ok(count),
    }
}

fn clock(text: &str) -> Result<u32, SetupError> {
    match number::count(text)?.try_into() {
        Ok(clock @ 1..=1_000_000_000) => Ok(clock),
        _ => {
            Err(SetupError::usage(format!("cannot take {text} as a clock"), "it runs at 1 to 1G units a second")
                .mend("--clock 90K"))
        }
    }
}

pub(crate) const AFTER: &str = "\
Every sender (SSRC) has books of its own, as RFC 3550 A.1, A.3 and A.8 reckon:
a sender counts from its second packet in sequence on; expected and received;
lost, which is expected less received, so that duplicates make up for losses;
the fraction lost in 256ths; and the interarrival jitter. Beside them: missing
(packets that never came), reordered and duplicates. 64 senders are the most.
Of Ringway's own engine the group is joined by the kernel, as for ringway serve.
Exit code 1: it ended by -t, and nothing was heard.

Examples:
  A group, over Ringway; the sender is: ringway serve ... stream:5004=239.1.2.3
    sudo ringway listen -i veth1 -a 10.0.0.1/24 239.1.2.3:5004 --interval
  The same over the kernel's sockets, for ten seconds:
    ringway listen --stack kernel -i veth1 239.1.2.3:5004 -t 10s";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_shown() {
        for (text, shown) in [
            ("5004", ":5004"),
            (":5004", ":5004"),
            ("10.0.0.1:5004", "10.0.0.1:5004"),
            ("0.0.0.0:5004", ":5004"),
            ("239.1.2.3:5004", "239.1.2.3:5004"),
            ("232.1.2.3:5004,source=10.0.0.1,source=10.0.0.2", "232.1.2.3:5004,source=10.0.0.1,source=10.0.0.2"),
            ("[ff02::1234]:5004", "[ff02::1234]:5004"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), shown);
        }
        for (text, why) in [
            ("", "it is not ADDR:PORT"),
            ("239.1.2.3", "it is not ADDR:PORT"),
            ("ff02::1:5004", "it is not ADDR:PORT"),
            ("239.1.2.3:0", "between 1 and 65535"),
            ("239.1.2.3:5004,source=x", "try: 239.1.2.3:5004,source=10.0.0.1"),
            ("239.1.2.3:5004,ttl=1", "only ,source=ADDR"),
            ("10.0.0.1:5004,source=10.0.0.2", "only a group is limited"),
        ] {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(why), "{error}");
        }
    }
}
