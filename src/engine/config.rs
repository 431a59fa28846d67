//! What an engine is told at its start.
//!
//! Filled in by whoever starts an engine, read once. Drawing the secrets is the only place where the engine asks for randomness.

use std::time::Duration;

use super::Idle;
use crate::{recorder, tcp};

/// The configuration of one core.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// TCP's settings.
    pub tcp: tcp::Config,
    /// What the loop does when there is nothing to do.
    pub idle: Idle,
    /// How long a stop waits for connections to end in order before it aborts them.
    pub drain: Duration,
    /// How long a neighbour's address is believed without being asked again.
    pub neighbor_expiry: Duration,
    /// Probes for a claimed address before it is used (RFC 5227, RFC 4862); 0 uses it at once.
    pub address_probes: u8,
    /// How long the answer to the last of them is waited for.
    pub address_probe_wait: Duration,
    /// Routers are asked for, and what they advertise is handed to whoever holds the [`super::Feed`], in address claims.
    pub router_advertisements: bool,
    /// Routers may name better first hops, in address claims (RFC 1122 3.2.2.2, RFC 4861 8).
    pub redirects: bool,
    /// What is kept of the last segments.
    pub recorder: recorder::Settings,
    /// Keys that peers must not know.
    pub secrets: Secrets,
}

impl Config {
    /// The defaults, with secrets of the caller's choice.
    pub fn new(secrets: Secrets) -> Self {
        Self {
            tcp: tcp::Config::default(),
            idle: Idle::Adaptive,
            drain: Duration::from_secs(2),
            neighbor_expiry: Duration::from_secs(60),
            address_probes: 0,
            address_probe_wait: Duration::from_secs(1),
            router_advertisements: false,
            redirects: false,
            recorder: recorder::Settings::default(),
            secrets,
        }
    }
}

/// Keys of the keyed hashes. One each, so that what leaks of one says nothing of the others.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Of the TCB directory.
    pub directory: [u8; 16],
    /// Of initial sequence numbers (RFC 6528) and timestamp offsets.
    pub isn: [u8; 16],
    /// Of source ports (RFC 6056).
    pub ports: [u8; 16],
    /// Of SYN cookies (RFC 4987).
    pub cookies: [u8; 16],
    /// Of IPv6 flow labels (RFC 6437).
    pub flow_labels: [u8; 16],
    /// Of the identifications of fragmented packets (RFC 7739).
    pub fragments: [u8; 16],
    /// Of the table of path MTUs.
    pub paths: [u8; 16],
    /// Of the tables of sources.
    pub sources: [u8; 16],
    /// Of the neighbour caches.
    pub neighbors: [u64; 2],
}

impl Secrets {
    /// Secrets from the operating system.
    ///
    /// # Errors
    /// The system has no randomness to give (`getrandom` fails).
    pub fn from_system() -> std::io::Result<Self> {
        let mut bytes = [[0; 16]; 9];
        for secret in &mut bytes {
            *secret = secret_from_system()?;
        }
        let [directory, isn, ports, cookies, flow_labels, fragments, paths, sources, neighbors] = bytes;
        let both = u128::from_ne_bytes(neighbors);
        let neighbors = [both as u64, (both >> 64) as u64];
        Ok(Self { directory, isn, ports, cookies, flow_labels, fragments, paths, sources, neighbors })
    }

    /// Secrets that anybody can know: for tests and benches, whose runs must repeat.
    pub const fn fixed() -> Self {
        Self {
            directory: [1; 16],
            isn: [2; 16],
            ports: [3; 16],
            cookies: [5; 16],
            flow_labels: [6; 16],
            fragments: [7; 16],
            paths: [8; 16],
            sources: [9; 16],
            neighbors: [4; 2],
        }
    }
}

/// One secret from the operating system, for a keyed hash outside the engine.
///
/// # Errors
/// The system has no randomness to give (`getrandom` fails).
pub fn secret_from_system() -> std::io::Result<[u8; 16]> {
    let mut secret = [0; 16];
    let mut filled = 0;
    while filled < secret.len() {
        filled += rustix::rand::getrandom(&mut secret[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(secret)
}

impl std::fmt::Debug for Secrets {
    /// Secrets are not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}
