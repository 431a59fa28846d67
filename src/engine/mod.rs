//! The loop of one core: receive a burst, run each packet to completion, send what there is to send.
//!
//! `engine/turn.rs` is the file to read first: it is the path of a packet, top to bottom. An [`Engine`] owns some [`Port`]s (queues of
//! devices), one service and the protocol state of its core; nothing is shared with other cores but the [`Mailbox`] and the [`Stop`]
//! switch. It knows nothing of AF_XDP: whatever implements [`crate::device::Device`] will do. Peers cannot make it panic or grow.

mod addresses;
mod admission;
mod ahead;
pub mod buckets;
mod calls;
mod chain_path;
pub mod change;
pub mod clock;
pub mod config;
pub mod core;
pub mod counters;
mod deliver;
mod discovery;
mod drain;
mod emit;
mod flow;
mod flows;
mod follow;
mod footprint;
mod fragment_path;
mod homing;
pub mod idle;
pub mod inquiry;
#[cfg(test)]
mod inspect;
mod link_path;
mod looks;
pub mod mailbox;
pub mod news;
mod output;
mod parked;
mod path_mtu;
mod pressure;
pub mod report;
mod routers;
mod run;
mod settle;
mod siblings;
mod spent_cookies;
mod stopwatch;
mod tap;
mod tcp_path;
mod timers;
mod turn;
mod udp_path;
pub mod wheel;

#[cfg(test)]
pub(crate) mod tests;

pub use addresses::Duplicate;
pub use clock::{Clock, MonotonicClock};
pub use config::{Config, Secrets};
pub use core::Port;
pub use footprint::Footprint;
pub use idle::Idle;
pub use inquiry::Inquirer;
pub use mailbox::{Mailbox, Stop};
pub use news::{Feed, News, Wish};
pub use report::Report;
pub use run::Engine;
