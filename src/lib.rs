//! Ringway: a user-space TCP and UDP engine for Linux on AF_XDP, that shares the NIC with the kernel.
//!
//! The path of a packet is the table of contents:
//!
//! ```text
//! xsk (ring) -> wire (parse) -> demux (which flow) -> tcp | udp -> service -> wire (emit) -> xsk (ring)
//! ```
//!
//! - [`device`]: the seam to whatever carries frames, and a cable in memory
//! - `xsk`: the AF_XDP queue, with the feature `afxdp`
//! - [`steer`]: the XDP program that steers claimed frames into the queues
//! - [`wire`]: headers and checksums, bytes in and views out
//! - [`link`]: neighbours, ICMP, routes
//! - [`demux`]: which flow a packet belongs to
//! - [`tcp`]: the machine of RFC 9293, without clock, chance or socket
//! - [`udp`]: endpoints and the in-place reply
//! - [`service`]: what an application implements, and the services that ship
//! - [`engine`]: the loop that runs each packet to completion; `engine/turn.rs` is the file to read first
//! - [`load`]: the load generator and the kernel-socket peer
//! - [`metrics`]: counters, histograms, reports
//! - [`time`], [`rng`], [`limits`], [`error`]: an instant in nanoseconds, seeded numbers, every bound, the operator's errors

pub mod device;

#[cfg(feature = "afxdp")]
pub mod xsk;

pub mod steer;

pub mod wire;

pub mod link;

pub mod demux;

pub mod tcp;
pub mod udp;

pub mod service;

pub mod engine;

pub mod load;
pub mod metrics;

pub mod error;
pub mod limits;
pub mod rng;
pub mod time;
