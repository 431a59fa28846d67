//! What `tls_echo` and `quic_echo` are told alike: where to serve, and as whom.

use std::net::IpAddr;

use ringway::error::SetupError;
use ringway::launch::{Finished, Launch};
use ringway::link::interface::AddressClaim;
use ringway::service::Service;

use crate::identity::{Identity, Source};

/// The options.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Interface to serve on
    #[arg(short, long, value_name = "IF")]
    interface: String,
    /// Address to claim there, which the kernel must not own
    #[arg(short, long, value_name = "ADDRESS/PREFIX", value_parser = address)]
    address: AddressClaim,
    /// Next hop for clients of other networks
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<IpAddr>,
    /// Port to serve
    #[arg(short, long, default_value_t = 4433)]
    port: u16,
    #[command(flatten)]
    source: Source,
}

impl Options {
    /// The port to serve.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Certificate and key.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn identity(&self) -> Result<Identity, SetupError> {
        self.source.load(self.address.cidr.address)
    }

    /// Serves until SIGINT or SIGTERM; then names what the engine has dropped.
    ///
    /// # Errors
    /// As [`Launch::run`].
    pub fn serve<S: Service + Send>(self, service: S) -> Result<S, SetupError> {
        let mut launch = Launch::new().interface(&self.interface).address(self.address);
        if let Some(gateway) = self.gateway {
            launch = launch.gateway(gateway);
        }
        let finished: Finished<S> = launch.run(service)?;
        for (cause, count) in finished.report.drops.iter().filter(|(_, count)| **count > 0) {
            println!("dropped {cause} {count}");
        }
        Ok(finished.into_service())
    }
}

/// Ends the process as the commands of Ringway end: with the operator's error on stderr and its exit code.
pub fn end<T>(result: Result<T, SetupError>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(error.exit_code().into());
    })
}

fn address(text: &str) -> Result<AddressClaim, String> {
    text.parse().map_err(|error: SetupError| error.to_string())
}
