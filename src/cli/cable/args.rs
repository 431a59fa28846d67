//! The arguments of `ringway cable`, and the profile they come to.
//!
//! Parsed by clap. Holds words, bounds and help; what contradicts itself is found by the profile's own check.

use std::time::Duration;

use clap::{Args, ValueEnum};
use ringway::cable::{OneWay, Profile, QUEUE_MAX, Share};
use ringway::error::SetupError;
use ringway::settings::number;

use crate::cli::engine_args::{List, ModeWord, ZeroCopyWord};

/// `ringway cable`.
#[derive(Args, Debug)]
pub(crate) struct CableArgs {
    /// The two interfaces, A and B; every frame of them is taken
    #[arg(short, long = "interface", value_name = "IF", required = true)]
    pub(crate) interfaces: Vec<String>,

    /// Time a frame is on its way, each way
    #[arg(long, value_name = "DURATION", value_parser = number::duration, default_value = "0ms")]
    pub(crate) delay: Duration,

    /// Spread of the delay to both sides, evenly; reorders unless there is a rate
    #[arg(long, value_name = "DURATION", value_parser = number::duration, default_value = "0ms")]
    pub(crate) jitter: Duration,

    /// Bits per second, each way, Ethernet headers counted [default: no limit]
    #[arg(long, value_name = "BITS", value_parser = bits)]
    pub(crate) rate: Option<u64>,

    /// Frames that may wait for the rate; more are dropped [default: 1000]
    #[arg(long, value_name = "N", value_parser = frames, requires = "rate")]
    pub(crate) queue: Option<usize>,

    /// Mark ECN-capable packets when more than N frames wait
    #[arg(long, value_name = "N", value_parser = frames)]
    pub(crate) ecn_threshold: Option<usize>,

    /// Frames lost
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    pub(crate) loss: Share,

    /// Frames lost in a row, on average
    #[arg(long, value_name = "N", value_parser = frames, default_value = "1")]
    pub(crate) burst: usize,

    /// Frames that skip the delay, and so overtake others
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    pub(crate) reorder: Share,

    /// Frames that arrive twice
    #[arg(long = "dup", value_name = "PERCENT", default_value = "0%")]
    pub(crate) duplicate: Share,

    /// IP packets with one bit flipped
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    pub(crate) corrupt: Share,

    /// Lose, reorder, duplicate and corrupt on one way only: a-to-b|b-to-a
    #[arg(long, value_name = "WAY", value_enum, hide_possible_values = true)]
    pub(crate) only: Option<WayWord>,

    /// What all chance follows from [default: another one each time, which is said]
    #[arg(long, value_name = "N", value_parser = number::count)]
    pub(crate) seed: Option<u64>,

    /// How long to carry [default: until SIGINT or SIGTERM]
    #[arg(short = 't', long, value_name = "DURATION", value_parser = number::duration)]
    pub(crate) duration: Option<Duration>,

    /// Print a line of counts at intervals [default of DURATION: 1s]
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::args::interval, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub(crate) interval: Option<Duration>,

    /// XDP mode: auto|native|skb; auto warns when it takes skb
    #[arg(short, long, value_name = "MODE", value_enum, default_value_t = ModeWord::Auto, hide_possible_values = true)]
    pub(crate) mode: ModeWord,

    /// Zero-copy sockets: auto|on|off; auto says which it got
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ZeroCopyWord::Auto, hide_possible_values = true)]
    pub(crate) zerocopy: ZeroCopyWord,

    /// The core to run on [default: not pinned]
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: Option<List>,
}

/// `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WayWord {
    AToB,
    BToA,
}

impl From<WayWord> for OneWay {
    fn from(word: WayWord) -> Self {
        match word {
            WayWord::AToB => Self::AToB,
            WayWord::BToA => Self::BToA,
        }
    }
}

impl CableArgs {
    /// The two names.
    ///
    /// # Errors
    /// There are not two.
    pub(super) fn pair(&self) -> Result<[String; 2], SetupError> {
        let mend = "-i eth0 -i eth1 (ip -br link lists them)";
        self.interfaces.clone().try_into().map_err(|given: Vec<String>| {
            let why = format!("a cable has two ends, and -i names {}", given.len());
            SetupError::usage("cannot make the cable", why).mend(mend)
        })
    }

    /// The core, if one was named.
    ///
    /// # Errors
    /// Several were named.
    pub(super) fn core(&self) -> Result<Option<u32>, SetupError> {
        match self.cores.as_ref().map(|list| list.0.as_slice()) {
            None | Some([]) => Ok(None),
            Some([core]) => Ok(Some(*core)),
            Some([first, ..]) => {
                Err(SetupError::usage("cannot use several cores", "a cable runs in one thread").mend(format!("--cores {first}")))
            }
        }
    }

    /// The profile, checked; `fresh` is the seed when none was given.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub(super) fn profile(&self, fresh: u64) -> Result<Profile, SetupError> {
        let plain = Profile::default();
        let profile = Profile {
            delay: self.delay,
            jitter: self.jitter,
            rate: self.rate,
            queue: self.queue.unwrap_or(plain.queue),
            ecn_threshold: self.ecn_threshold,
            loss: self.loss,
            burst: u32::try_from(self.burst).unwrap_or(u32::MAX),
            reorder: self.reorder,
            duplicate: self.duplicate,
            corrupt: self.corrupt,
            only: self.only.map(OneWay::from),
            seed: self.seed.unwrap_or(fresh),
        };
        profile.check()?;
        Ok(profile)
    }
}

fn bits(text: &str) -> Result<u64, SetupError> {
    number::count(text).map_err(|_| {
        let why = "it is bits per second, with K, M or G for thousands, millions and billions";
        SetupError::usage(format!("cannot read the rate '{text}'"), why).mend("--rate 100M")
    })
}

fn frames(text: &str) -> Result<usize, SetupError> {
    match number::count(text)?.try_into() {
        Ok(count) if count <= QUEUE_MAX => Ok(count),
        _ => Err(SetupError::usage(format!("cannot take {text} frames"), format!("{QUEUE_MAX} are the most"))),
    }
}

pub(crate) const AFTER: &str = "\
What a fault means is what it means to netem: loss in bursts follows the model
of Gilbert; a reordered frame arrives without the delay; a corrupted one has one
bit flipped, behind the Ethernet header and in IP packets only, so that a
checksum finds it. The n-th frame of a way has the same lot for the same seed,
whatever the other options are.
Both interfaces are taken from the kernel as long as the cable runs. On a veth
pair the other ends need: ethtool -K IF tx off txvlan off

Example:
  A line of 100 Mbit/s and 20 ms round trip that loses 1 % of all frames:
    sudo ringway cable -i veth1 -i veth2 --delay 10ms --rate 100M --queue 165 \\
      --loss 1% --seed 7

Ctrl-C ends it with a summary, a second one at once.";
