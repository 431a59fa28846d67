//! The load generator: many connections or sockets, open or closed loop, over the engine or over kernel sockets, with every
//! byte that comes back checked; and the kernel-socket peer that Ringway is compared with.
//!
//! Bookkeeping is pure and the same for every stack: [`schedule`] says what is due and what became of it, [`exchanges`] does so
//! for connections that come and go, [`ramp`] for a great many that are opened and held, [`bulk`] counts bytes that go one way
//! (they alone are not checked), [`pattern`] makes and checks payloads, [`streams`] and [`datagrams`] join them. The engine
//! services ([`engine_tcp`], [`engine_udp`], [`engine_churn`], [`engine_ramp`], [`engine_bulk`]) and the [`kernel_client`] only
//! carry bytes. All tables are
//! allocated before the first message; a message costs no allocation.

pub mod bulk;
pub mod clock;
pub mod datagrams;
pub mod engine_bulk;
pub mod engine_churn;
pub mod engine_client;
pub mod engine_ramp;
pub mod engine_tcp;
pub mod engine_udp;
pub mod exchanges;
#[cfg(test)]
mod fake;
pub mod kernel_client;
pub mod kernel_listener;
pub mod kernel_server;
pub mod meter;
pub mod outcome;
pub mod packets;
pub mod pattern;
pub mod plan;
pub mod ports;
pub mod ramp;
pub mod raw;
pub mod schedule;
pub mod streams;
pub mod turns;
