//! The tests of `main.rs` over IPv6, those that only IPv6 has, and those of both families at once.
//!
//! What differs is in `family`; a test knows no addresses of its own. Left out are:
//!
//! - `ipv4`, for what IPv4 alone has, as [`ipv6`] is for IPv6;
//! - `flood` and `source_ports`, whose packets are built by hand, with IPv4 addresses in their heads: what they show does not see the family;
//! - `cable`, which carries frames of any kind;
//! - `commands`, `compare_ends`, `dns`, `doctor`, `environment`, `example` and `stream`, which are about the command line, the reports and the services (the last over both families by itself).

#![expect(dead_code, reason = "some helpers are only for what is left out")]

mod admission;
mod advertised;
mod bulk;
mod claims;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod congestion;
mod connections;
mod datagrams;
mod drain;
mod dual;
#[path = "family/v6.rs"]
mod family;
mod frame;
mod hostile;
mod http;
mod integrity;
mod ipv6;
mod jumbo;
mod line;
mod mirror;
mod neighbors;
mod ping;
mod queues;
mod ramp;
mod reports;
mod restart;
mod router;
mod selective;
mod server;
mod show;
mod states;
mod tools;
mod workers;
mod world;
