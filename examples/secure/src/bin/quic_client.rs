//! A QUIC client over kernel sockets (quinn on tokio), to talk to `quic_echo` with: nothing of Ringway's engine is in it.
//!
//!     quic_client 10.0.0.2:4433 --ca server.pem --streams 10 --bytes 1M

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, VarInt};
use ringway::service::chargen;
use ringway::settings::number;
use ringway_secure::identity;
use ringway_secure::quic::PROTOCOL;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Sends on several streams at once and compares what comes back. Exit code 1 when anything is missing or differs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where the server is
    #[arg(value_name = "ADDRESS:PORT")]
    server: SocketAddr,
    /// Certificate (PEM) that the server's has to be, or be signed by
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Streams, all at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    streams: u64,
    /// Bytes to send on each; K and M are 2^10 and 2^20
    #[arg(long, value_name = "N", default_value = "1K", value_parser = bytes)]
    bytes: u64,
    /// Afterwards waits until the server ends the connection, and says why it did
    #[arg(long)]
    hold: bool,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    if let Err(error) = run(&arguments).await {
        eprintln!("quic_client: {error}");
        std::process::exit(1);
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let &Arguments { server, streams, bytes, hold, .. } = arguments;
    let any = if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let mut endpoint = Endpoint::client(any)?;
    endpoint.set_default_client_config(config(arguments)?);
    let connection = timeout(PATIENCE, endpoint.connect(server, &server.ip().to_string())?).await??;
    let start = Instant::now();
    timeout(PATIENCE, exchange_all(&connection, streams, bytes)).await??;
    let path = connection.stats().path;
    println!(
        "streams {streams}, bytes {} each way, ms {}, lost {}, congestion_events {}, rtt_us {}",
        streams * bytes,
        start.elapsed().as_millis(),
        path.lost_packets,
        path.congestion_events,
        path.rtt.as_micros()
    );
    if hold {
        println!("ended: {}", timeout(PATIENCE, connection.closed()).await?);
    }
    connection.close(VarInt::from_u32(0), b"done");
    timeout(PATIENCE, endpoint.wait_idle()).await?;
    Ok(())
}

fn config(arguments: &Arguments) -> Result<ClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in identity::certificates(&arguments.ca).map_err(|error| error.to_string())? {
        roots.add(certificate)?;
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(identity::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

async fn exchange_all(connection: &Connection, streams: u64, bytes: u64) -> Result<(), Failure> {
    let mut exchanges = JoinSet::new();
    for number in 0..streams {
        let connection = connection.clone();
        exchanges.spawn(async move {
            let (sending, receiving) = connection.open_bi().await?;
            // The text of each stream begins elsewhere: what came back on the wrong one would differ.
            tokio::try_join!(send(sending, number, bytes), receive(receiving, number, bytes))
        });
    }
    while let Some(exchange) = exchanges.join_next().await {
        exchange??;
    }
    Ok(())
}

async fn send(mut stream: SendStream, from: u64, bytes: u64) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    for at in (0..bytes).step_by(BLOCK_BYTES as usize) {
        let piece = &mut block[..BLOCK_BYTES.min(bytes - at) as usize];
        chargen::fill(from + at, piece);
        stream.write_all(piece).await?;
    }
    stream.finish()?;
    Ok(())
}

async fn receive(mut stream: RecvStream, from: u64, bytes: u64) -> Result<(), Failure> {
    let mut at = 0;
    let mut expected = Vec::new();
    while let Some(piece) = stream.read_chunk(BLOCK_BYTES as usize, true).await? {
        expected.resize(piece.bytes.len(), 0);
        chargen::fill(from + at, &mut expected);
        if piece.bytes != expected {
            return Err(format!("stream {from}: what came back differs between {at} and {}", at + expected.len() as u64).into());
        }
        at += expected.len() as u64;
    }
    if at == bytes { Ok(()) } else { Err(format!("stream {from}: {at} bytes of {bytes} came back").into()) }
}

fn bytes(text: &str) -> Result<u64, String> {
    number::bytes(text).map_err(|error| error.to_string())
}

/// For the handshake, for all that is exchanged, and for the end: each.
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK_BYTES: u64 = 64 << 10;
