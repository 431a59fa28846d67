//! Ringway against the Linux kernel: real AF_XDP sockets on veth pairs, in network namespaces of the tests' own.
//!
//! The tests need root. Without it each of them says that it was skipped and fails, unless `RINGWAY_ALLOW_SKIP=1` is set. Run them
//! one after another (`cargo test --test veth -- --test-threads=1`): they share two cores with what they measure.
//! Every test ends with [`server::Server::stop`], which asserts that no frame and no connection was left behind.

mod admission;
mod bench;
mod bulk;
mod cable;
mod capture;
mod claims;
mod client;
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod compare_ends;
mod config;
mod congestion;
mod connections;
mod datagrams;
mod dns;
mod doctor;
mod drain;
mod environment;
mod example;
#[path = "family/v4.rs"]
mod family;
mod flood;
mod fragments;
mod frame;
mod hostile;
mod http;
mod integrity;
mod ipv4;
mod jumbo;
mod ladder;
mod lies;
mod line;
mod manager;
mod many;
mod metrics;
mod mirror;
mod neighbors;
mod path_mtu;
mod ping;
mod queues;
mod ramp;
mod reports;
mod restart;
mod rights;
mod router;
mod selective;
mod server;
mod show;
mod source_ports;
mod states;
mod stream;
mod tools;
#[cfg(feature = "top")]
mod top;
mod vlan;
mod workers;
mod world;
