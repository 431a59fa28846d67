//! A QUIC echo on an interface of its own address.
//!
//!     quic_echo -i veth0 -a 10.0.0.2/24 --cert server.pem --key server.key
//!     quic_client 10.0.0.2:4433 --ca server.pem --streams 10 --bytes 1M

use clap::Parser;
use ringway::error::SetupError;
use ringway_secure::options::{self, Options};
use ringway_secure::quic::{QuicEcho, Totals};

/// QUIC over Ringway: what a client sends on a stream comes back on it. Ends on Ctrl-C, with its totals.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Has every client show first that it hears us (RFC 9000 8.1.2), not only when there are many
    #[arg(long)]
    retry: bool,
}

fn main() {
    let Arguments { options, retry } = Arguments::parse();
    println!("{}", options::end(serve(options, retry)));
}

fn serve(options: Options, retry: bool) -> Result<Totals, SetupError> {
    let config = options.identity()?.server_config(&[&rustls::version::TLS13])?;
    let service = QuicEcho::new(options.port(), retry, config)?;
    Ok(options.serve(service)?.totals())
}
