//! A TLS 1.3 and 1.2 echo on an interface of its own address.
//!
//!     tls_echo -i veth0 -a 10.0.0.2/24
//!     openssl s_client -quiet -connect 10.0.0.2:4433

use clap::Parser;
use ringway::error::SetupError;
use ringway_secure::options::{self, Options};
use ringway_secure::tls::{TlsEcho, Totals};

/// TLS 1.3 and 1.2 over Ringway: what a client sends comes back. Ends on Ctrl-C, with its totals.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() {
    let Arguments { options } = Arguments::parse();
    println!("{}", options::end(serve(options)));
}

fn serve(options: Options) -> Result<Totals, SetupError> {
    let config = options.identity()?.server_config(rustls::ALL_VERSIONS)?;
    let service = TlsEcho::new(options.port(), config);
    Ok(options.serve(service)?.totals())
}
