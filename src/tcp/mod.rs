//! TCP (RFC 9293): a pure machine.
//!
//! The engine calls the TCB with a segment, an expired timer or a call of the service, each with the time; what comes out is
//! events for the service, segments to send and the next deadline. There is no clock, no randomness, no socket, no thread and
//! no `unsafe` in this folder, and nothing in it panics on what a peer sends. Memory for the streams comes from the core's
//! [`pool::BufferPool`], passed in; a TCB without data in flight holds none.

pub mod config;
pub mod event;
pub mod pool;
pub mod seq;
pub mod state;

pub use config::Config;
pub use event::{Arrival, Disposition, Events, Opening, Reset, Transmit};
pub use state::State;
