//! The arguments of `ringway capture`. Parsed by clap. Holds words, bounds and help.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ringway::error::SetupError;
use ringway::settings::number;
use ringway::show::{Request, What};
use ringway::time::span_ns;

use crate::cli::output::Output;
use crate::cli::process::Process;
use crate::cli::show::args::{address, port};

/// `ringway capture`.
#[derive(Args, Debug)]
pub(crate) struct CaptureArgs {
    /// The pcapng file to write; - for stdout
    #[arg(short = 'w', long, value_name = "FILE", required_unless_present = "json")]
    pub(crate) out: Option<PathBuf>,

    /// What the flight recorder holds of the last so long, instead of what comes now
    #[arg(long, value_name = "TIME", value_parser = number::duration, conflicts_with_all = ["duration", "rotate", "snap_len"])]
    pub(crate) last: Option<Duration>,

    /// Only frames with this address at either end
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) address: Option<IpAddr>,

    /// Only frames with this TCP or UDP port at either end
    #[arg(long, value_name = "N", value_parser = port)]
    pub(crate) port: Option<u16>,

    /// End after so long [default: at Ctrl-C]
    #[arg(short = 't', long, value_name = "TIME", value_parser = number::duration)]
    pub(crate) duration: Option<Duration>,

    /// End after so many frames
    #[arg(short = 'c', long, value_name = "N", value_parser = number::count)]
    pub(crate) count: Option<u64>,

    /// At most so many bytes of each frame [default: all]
    #[arg(long, value_name = "BYTES", value_parser = number::bytes)]
    pub(crate) snap_len: Option<u64>,

    /// Begin another file, FILE.1 and so on, when one has so many bytes
    #[arg(long, value_name = "BYTES", value_parser = number::bytes, requires = "out")]
    pub(crate) rotate: Option<u64>,

    /// Keep so many files only, the newest
    #[arg(long, value_name = "N", value_parser = number::count, requires = "rotate")]
    pub(crate) files: Option<u64>,

    #[command(flatten)]
    pub(crate) process: Process,
}

impl CaptureArgs {
    /// What is asked of the process.
    pub(crate) fn request(&self, output: Output) -> Result<Request, SetupError> {
        let to_stdout = self.out.as_ref().is_some_and(|out| out.as_os_str() == "-");
        if to_stdout && output.is_json() {
            return Err(SetupError::usage("cannot use --json with -w -", "there is one stdout").mend("--out FILE"));
        }
        if to_stdout && self.rotate.is_some() {
            return Err(SetupError::usage("cannot use --rotate with stdout", "there is one stdout").mend("--out FILE"));
        }
        if self.rotate.is_some_and(|bytes| bytes < ROTATE_MIN) {
            let why = format!("a file of fewer than {} would hold next to nothing", number::show_bytes(ROTATE_MIN));
            return Err(SetupError::usage("cannot use so small a --rotate", why)
                .mend(format!("--rotate {}", number::show_bytes(ROTATE_MIN))));
        }
        if self.files == Some(0) || self.count == Some(0) {
            let option = if self.files == Some(0) { "--files" } else { "--count" };
            return Err(SetupError::usage(format!("cannot use {option} 0"), "nothing would be kept").mend(format!("{option} 1")));
        }
        let snap_len = self.snap_len.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let show = if self.last.is_some() { What::Records } else { What::Frames };
        let last_ns = self.last.map(span_ns);
        Ok(Request { address: self.address, port: self.port, last_ns, snap_len, ..Request::new(show) })
    }
}

/// The smallest file that is rotated.
const ROTATE_MIN: u64 = 64 << 10;

/// Behind the options of `--help`.
pub(crate) const AFTER: &str = "\
The file opens in Wireshark and tshark: nanoseconds, the queue, the direction, and
as a comment what each segment did: states, congestion window, cause of a drop.
Of --last only headers are kept, not what the segments carried.

Examples:
  sudo ringway capture -w web.pcapng --port 80 -t 10s
  sudo ringway capture -w - | tshark -r -
  sudo ringway capture -w ring.pcapng --rotate 100M --files 5
  sudo ringway capture -w before.pcapng --last 5s";
