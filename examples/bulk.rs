//! The kernel's ends of a bulk transfer: what scripts/goodput.sh and scripts/fairness.sh measure with.
//!
//! `bulk source ADDRESS:PORT CONGESTION` listens and sends without end to everybody who connects, with this congestion control.
//! `bulk sink SKIP SECONDS APART SERVER:PORT...` connects to each server, APART seconds after the one before, reads everything, and prints the
//! bits per second of each over SECONDS, beginning SKIP seconds after the last one connected. Times are whole or decimal seconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use socket2::SockRef;

type Failure = Box<dyn std::error::Error>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match &words[..] {
        ["source", address, congestion] => source(address, congestion),
        ["sink", skip, seconds, apart, servers @ ..] if !servers.is_empty() => sink(skip, seconds, apart, servers),
        _ => {
            eprintln!("usage: bulk source ADDRESS:PORT CONGESTION | bulk sink SKIP SECONDS APART SERVER:PORT...");
            std::process::exit(2);
        }
    };
    if let Err(error) = result {
        eprintln!("bulk: {error}");
        std::process::exit(1);
    }
}

/// Serves until it is killed.
fn source(address: &str, congestion: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind(address)?;
    // Accepted sockets inherit it. What the kernel does not have is an error here, not another algorithm in silence.
    SockRef::from(&listener).set_tcp_congestion(congestion.as_bytes())?;
    println!("ready");
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || {
            let block = vec![b'.'; 64 * 1024];
            // Ends when the reader goes away.
            while stream.write_all(&block).is_ok() {}
        });
    }
    Ok(())
}

fn sink(skip: &str, seconds: &str, apart: &str, servers: &[&str]) -> Result<(), Failure> {
    let span = |text: &str| -> Result<Duration, Failure> { Ok(Duration::try_from_secs_f64(text.parse()?)?) };
    let (skip, length, apart) = (span(skip)?, span(seconds)?, span(apart)?);
    let servers: Vec<SocketAddr> = servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;
    let counts: &'static [AtomicU64] = Vec::leak(servers.iter().map(|_| AtomicU64::new(0)).collect());
    for (number, (server, count)) in servers.iter().zip(counts).enumerate() {
        if number > 0 {
            sleep(apart);
        }
        let mut stream = TcpStream::connect_timeout(server, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        thread::spawn(move || {
            let mut block = vec![0; 256 * 1024];
            loop {
                match stream.read(&mut block) {
                    Ok(0) | Err(_) => return,
                    Ok(n) => count.fetch_add(n as u64, Ordering::Relaxed),
                };
            }
        });
    }
    sleep(skip);
    let before: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    let start = Instant::now();
    sleep(length);
    let after: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    let passed = start.elapsed().as_secs_f64();
    for (before, after) in before.iter().zip(after) {
        println!("{:.0}", (after - before) as f64 * 8.0 / passed);
    }
    Ok(())
}
