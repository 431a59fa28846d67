//! The command line and the lines of `ringway serve`, from the same sources, so that one may be run in the place of the other.
//!
//! What is smoltcp's own is told after them. Errors are the operator's.

#![expect(dead_code, reason = "some of it is only for the commands of `ringway`")]

#[path = "../../src/cli/conditions.rs"]
pub(crate) mod conditions;
#[path = "../../src/cli/engine_args.rs"]
pub(crate) mod engine_args;
#[path = "../../src/cli/failure.rs"]
pub(crate) mod failure;
#[path = "../../src/cli/output.rs"]
pub(crate) mod output;
#[path = "../../src/cli/service_spec.rs"]
pub(crate) mod service_spec;
#[path = "../../src/cli/summary.rs"]
pub(crate) mod summary;

use std::time::Duration;

use clap::Parser;
use ringway::error::SetupError;
use ringway::launch::Launch;
use ringway::service::catalog::Entry;
use ringway::settings::number;

use engine_args::{EngineArgs, IdleWord};
use service_spec::ServiceSpec;

/// The services of `ringway serve` over the TCP/IP stack smoltcp, on the same AF_XDP queue; always spins.
#[derive(Parser, Debug)]
#[command(name = "smoltcp_echo", version, max_term_width = 80)]
pub(crate) struct Args {
    /// Print one JSON object a line on stdout, errors included
    #[arg(short = 'J', long)]
    pub(crate) json: bool,

    /// TCP sockets at each port, listening ones among them: as many connections can be open at once
    #[arg(long, value_name = "N", value_parser = sockets, default_value = "64")]
    pub(crate) sockets: usize,

    /// Bytes of the receive buffer of a TCP socket, and of its send buffer [default: 1M with up to 4 sockets, less with more, 4K at least]
    #[arg(long, value_name = "BYTES", value_parser = buffer)]
    pub(crate) buffer: Option<usize>,

    /// Print a line of counters at intervals [default of DURATION: 1s]
    #[arg(long, value_name = "DURATION", value_parser = number::duration, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub(crate) interval: Option<Duration>,

    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    /// echo[/tcp|/udp]:PORT, discard[/tcp|/udp]:PORT, chargen/tcp:PORT or http:PORT=DIR
    #[arg(required = true, value_name = "SERVICE", help_heading = "Arguments")]
    pub(crate) services: Vec<ServiceSpec>,
}

impl Args {
    /// What the launch is to be.
    ///
    /// # Errors
    /// An option is missing, or means nothing to smoltcp.
    pub(crate) fn launch(&self) -> Result<Launch, SetupError> {
        let engine = &self.engine;
        let meaningless = [
            (!engine.claims.is_empty(), "--claim"),
            (!engine.gateways.is_empty(), "--gateway"),
            (!engine.routes.is_empty(), "--route"),
            (engine.accept_ra, "--accept-ra"),
        ];
        if let Some((_, option)) = meaningless.into_iter().find(|(given, _)| *given) {
            let what = format!("cannot use {option} with smoltcp");
            return Err(
                SetupError::usage(what, "here it has addresses of its own, and answers those on its link").mend("-a 10.0.0.2/24")
            );
        }
        if engine.idle == IdleWord::Park {
            return Err(SetupError::usage("cannot sleep", "smoltcp is only measured here, and always spins").mend("--idle spin"));
        }
        engine.single_core("smoltcp")?;
        engine.launch()
    }

    /// The services, each with its transports.
    ///
    /// # Errors
    /// One of them sends frames back without a stack.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, SetupError> {
        let mut entries = Vec::new();
        for spec in &self.services {
            match spec {
                ServiceSpec::AtPort(at) => entries.extend(at.entries()),
                ServiceSpec::Reflect | ServiceSpec::XdpTx => {
                    let what = format!("cannot serve {spec}");
                    return Err(SetupError::usage(what, "it sends frames back without a stack")
                        .mend(format!("ringway serve --stack raw {spec}")));
                }
            }
        }
        entries.iter().try_for_each(|entry| {
            self.engine.check_claimed(entry.transport, entry.at, |why| SetupError::usage(format!("cannot serve {entry}"), why))
        })?;
        Ok(entries)
    }

    /// The services as they were written.
    pub(crate) fn words(&self) -> String {
        self.services.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Bytes of a buffer: what was said, or as much as all sockets of a port have room for together.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer.unwrap_or_else(|| (BUFFERS / self.sockets).clamp(BUFFER_LEAST, BUFFER_USUAL))
    }
}

/// What clap did not take, in the words of all other errors.
pub(crate) fn refused(error: &clap::Error) -> SetupError {
    // Our own value parsers give the whole error themselves.
    if let Some(own) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<SetupError>()) {
        return own.clone();
    }
    let rendered = error.to_string();
    let first = rendered.lines().next().unwrap_or_default();
    SetupError::usage("cannot read the command line", first.trim_start_matches("error: ")).mend("smoltcp_echo --help")
}

fn sockets(text: &str) -> Result<usize, SetupError> {
    within("sockets", text, number::count(text)?, 1, SOCKETS_MOST)
}

fn buffer(text: &str) -> Result<usize, SetupError> {
    within("bytes of a buffer", text, number::bytes(text)?, BUFFER_LEAST, BUFFER_MOST)
}

fn within(what: &str, text: &str, number: u64, least: usize, most: usize) -> Result<usize, SetupError> {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let why = format!("it must lie between {least} and {most}");
    Err(SetupError::usage(format!("cannot take {text} as the number of {what}"), why).mend(number.clamp(least, most).to_string()))
}

const SOCKETS_MOST: usize = 65_536;
const BUFFER_LEAST: usize = 4096;
const BUFFER_USUAL: usize = 1 << 20;
const BUFFER_MOST: usize = 64 << 20;
/// Bytes of all receive buffers of a port together, as long as no single one is below the least.
const BUFFERS: usize = 4 << 20;
