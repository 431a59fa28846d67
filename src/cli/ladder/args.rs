//! The arguments of `ringway ladder`. Parsed by clap. Holds words, bounds and help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ringway::error::SetupError;
use ringway::ladder::capture::Choice;
use ringway::ladder::demo::Scenario;
use ringway::ladder::fold::Fold;
use ringway::ladder::label::Numbers;
use ringway::ladder::text::WIDTH_MIN;
use ringway::settings::number;
use ringway::words::nearest;

use crate::cli::process::Process;
use crate::cli::show::args::port;

/// `ringway ladder`.
#[derive(Args, Debug)]
pub(crate) struct LadderArgs {
    /// A pcap or pcapng file, as tcpdump -w writes it, or what ringway show records --json has printed
    #[arg(value_name = "FILE", conflicts_with_all = ["demo", "live"])]
    pub(crate) file: Option<PathBuf>,

    /// Play a scenario with two engines in memory; without a name list them, and play one
    #[arg(long, value_name = "SCENARIO", num_args = 0..=1, default_missing_value = "")]
    pub(crate) demo: Option<String>,

    /// What the recorder of a running process holds
    #[arg(long, conflicts_with = "demo")]
    pub(crate) live: bool,

    /// Of that only the last so long
    #[arg(long, value_name = "TIME", value_parser = number::duration, requires = "live")]
    pub(crate) last: Option<Duration>,

    #[command(flatten)]
    pub(crate) process: Process,

    /// List the connections of the file, and draw none
    #[arg(long, conflicts_with = "demo")]
    pub(crate) list: bool,

    /// Only what has this port at either end
    #[arg(long, value_name = "N", value_parser = port, conflicts_with_all = ["demo", "flow"])]
    pub(crate) port: Option<u16>,

    /// Only what goes between these two, as in 10.0.0.1:40000-10.0.0.2:7
    #[arg(long, value_name = "ADDR:PORT-ADDR:PORT", value_parser = ends, conflicts_with = "demo")]
    pub(crate) flow: Option<(SocketAddr, SocketAddr)>,

    /// Draw an exchange over UDP beside it: of the same request, or with the same port
    #[arg(long)]
    pub(crate) udp: bool,

    /// Fold runs of data into a row: auto|always|never; auto does with more than 60 steps
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FoldWord::Auto, hide_possible_values = true)]
    pub(crate) fold: FoldWord,

    /// Sequence numbers as on the wire, not from 0 at each end
    #[arg(long)]
    pub(crate) absolute: bool,

    /// Columns to draw in [default: the terminal's, or 80]
    #[arg(long, value_name = "COLUMNS", value_parser = width)]
    pub(crate) width: Option<usize>,

    /// Write a drawing there
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Write a page with all drawings there
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// `--fold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FoldWord {
    Auto,
    Always,
    Never,
}

impl From<FoldWord> for Fold {
    fn from(word: FoldWord) -> Self {
        match word {
            FoldWord::Auto => Self::Auto,
            FoldWord::Always => Self::Always,
            FoldWord::Never => Self::Never,
        }
    }
}

impl LadderArgs {
    /// Refuses to name a process where none is asked.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        let option = match &self.process {
            _ if self.live => return Ok(()),
            Process { pid: Some(_), .. } => "--pid",
            Process { socket: Some(_), .. } => "--socket",
            Process { pid: None, socket: None } => return Ok(()),
        };
        Err(SetupError::usage(format!("cannot use {option} here"), "only --live asks a process")
            .mend(format!("--live {option} ...")))
    }

    pub(super) const fn choice(&self) -> Choice {
        match (self.port, self.flow) {
            (Some(port), _) => Choice::Port(port),
            (None, Some((one, other))) => Choice::Ends(one, other),
            (None, None) => Choice::All,
        }
    }

    pub(super) const fn numbers(&self) -> Numbers {
        if self.absolute { Numbers::Absolute } else { Numbers::Relative }
    }

    /// The scenario of `--demo`, if it names one.
    ///
    /// # Errors
    /// There is none of this name.
    pub(super) fn scenario(name: &str) -> Result<&'static Scenario, SetupError> {
        let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.name).collect();
        Scenario::named(name).ok_or_else(|| {
            let nearest = nearest(name, &names).map_or("--demo".to_owned(), |near| format!("--demo {near}"));
            SetupError::usage(format!("there is no scenario '{name}'"), format!("there are {}", names.join(", "))).mend(nearest)
        })
    }
}

fn ends(text: &str) -> Result<(SocketAddr, SocketAddr), SetupError> {
    let why = "it is not ADDR:PORT-ADDR:PORT (IPv6 addresses stand in brackets)";
    let refused = || SetupError::usage(format!("cannot read the flow '{text}'"), why).mend("--flow 10.0.0.1:40000-10.0.0.2:7");
    let (one, other) = text.split_once('-').ok_or_else(refused)?;
    Ok((one.parse().map_err(|_| refused())?, other.parse().map_err(|_| refused())?))
}

fn width(text: &str) -> Result<usize, SetupError> {
    let most = 1000;
    match number::count(text)?.try_into() {
        Ok(width) if (WIDTH_MIN..=most).contains(&width) => Ok(width),
        other => {
            let nearest = if other.is_ok_and(|width| width < WIDTH_MIN) { WIDTH_MIN } else { most };
            let why = format!("a ladder takes {WIDTH_MIN} to {most}");
            Err(SetupError::usage(format!("cannot draw in {text} columns"), why).mend(format!("--width {nearest}")))
        }
    }
}

/// Behind the options of `--help`.
pub(crate) const AFTER: &str = "\
Both ends of each connection are drawn with their states (RFC 9293 figure 5):
those of --demo are the engines' own, those of a file are inferred from its
segments, and of --live, and of a file of records, that of the process is known and
the other is inferred. A file may have Ethernet, Linux cooked (tcpdump -i any) or bare IP
packets, with VLAN tags, cut short (tcpdump -s), and times in nanoseconds. What
tcpdump -i any sees twice, as on a bridge, is drawn twice.
With several connections in it they are listed, unless --port or --flow chooses
or --html draws them all (16 at most).
With --json each connection, step and summary is an object.

Scenarios: handshake, close-by-client, close-by-server, simultaneous-close,
half-close, loss, zero-window, reset, closed-port, udp-echo, udp-closed-port.

Examples:
  ringway ladder --demo close-by-client --udp --html ladder.html
  sudo tcpdump -i eth0 -w trace.pcap tcp port 80
  ringway ladder trace.pcap --list
  sudo ringway ladder --live --last 10s --port 7
  ringway ladder trace.pcap --port 80 --svg trace.svg";
