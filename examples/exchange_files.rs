//! A client of your own: sends a file to a TCP server while it keeps what the server sends, until both have said everything.
//!
//!     cargo run --release --example exchange_files -- veth0 10.0.0.2/24 10.0.0.1:7 what-to-send what-came

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::SocketAddr;

use ringway::error::SetupError;
use ringway::launch::Launch;
use ringway::service::{Connect, Connection, Context, ResetReason, Service};

struct Exchange {
    server: SocketAddr,
    to_send: Vec<u8>,
    sent: usize,
    received: u64,
    kept: BufWriter<File>,
    outcome: Result<(), String>,
}

impl Exchange {
    /// Hands over as much as fits; what does not fit follows when there is room. Behind the last byte our direction ends, the server's goes on.
    fn send(&mut self, cx: &mut impl Context, connection: Connection) {
        let rest = &self.to_send[self.sent..];
        if !rest.is_empty() {
            self.sent += cx.send(connection, rest);
        }
        if self.sent == self.to_send.len() {
            cx.close(connection);
        }
    }

    fn fail(&mut self, cx: &mut impl Context, why: String) {
        self.outcome = Err(why);
        cx.stop();
    }
}

impl Service for Exchange {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        if let Err(error) = cx.connect(self.server, Connect::default()) {
            self.fail(cx, format!("cannot connect to {}: {error}", self.server));
        }
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.send(cx, connection);
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        self.send(cx, connection);
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        if let Err(error) = self.kept.write_all(bytes) {
            cx.abort(connection);
            self.fail(cx, format!("cannot keep what came: {error}"));
        }
        self.received += bytes.len() as u64;
        bytes.len()
    }

    /// The server has said everything; we may still have something to say, so our direction stays open.
    fn peer_closed(&mut self, _: &mut impl Context, _: Connection) {}

    fn closed(&mut self, cx: &mut impl Context, _: Connection) {
        cx.stop();
    }

    fn reset(&mut self, cx: &mut impl Context, _: Connection, why: ResetReason) {
        self.fail(cx, format!("the connection was lost: {why:?}"));
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [interface, address, server, source, kept] = &words[..] else {
        eprintln!("usage: exchange_files INTERFACE ADDRESS/PREFIX SERVER:PORT FILE-TO-SEND FILE-TO-WRITE");
        std::process::exit(2);
    };
    if let Err(error) = exchange(interface, address, server, source, kept) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn exchange(interface: &str, address: &str, server: &str, source: &str, kept: &str) -> Result<(), Box<dyn std::error::Error>> {
    let address = address.parse().map_err(|error: SetupError| error.to_string())?;
    let exchange = Exchange {
        server: server.parse()?,
        to_send: fs::read(source)?,
        sent: 0,
        received: 0,
        kept: BufWriter::new(File::create(kept)?),
        outcome: Ok(()),
    };
    let mut done = Launch::new().interface(interface).address(address).run(exchange)?.into_service();
    done.kept.flush()?;
    done.outcome?;
    println!("sent {} bytes, received {}", done.sent, done.received);
    Ok(())
}
