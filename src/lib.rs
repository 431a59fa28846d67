//! Ringway: a user-space TCP and UDP engine for Linux on AF_XDP.
pub mod demux;
pub mod device;
pub mod engine;
pub mod error;
pub mod limits;
pub mod link;
pub mod load;
pub mod metrics;
pub mod rng;
pub mod service;
pub mod tcp;
pub mod time;
pub mod udp;
pub mod wire;
