//! TCP (RFC 9293): a pure machine.
//!
//! The engine calls the TCB with a segment, an expired timer or a call of the service, each with the time; what comes out is
//! events for the service, segments to send and the next deadline. There is no clock, no randomness, no socket, no thread and
//! no `unsafe` in this folder, and nothing in it panics on what a peer sends. Memory for the streams comes from the core's
//! [`pool::BufferPool`], passed in; a TCB without data in flight holds none.
//!
//! ```text
//! tcb.rs          the connection: its fields, birth and death        state.rs      the states and the table of edges
//! arrives/        SEGMENT ARRIVES, a file per group of states        calls.rs      SEND, RECEIVE, CLOSE, ABORT
//! acknowledge.rs  what an ACK does                                   output.rs     which segment leaves next
//! timers.rs       deadlines and what they bring about                recovery/     what was lost, and what is sent again
//! window.rs       SND and RCV variables, window scaling              options.rs    MSS, scale, timestamps in segments
//! timestamps.rs   TS.Recent and PAWS    rtt.rs, rto.rs  round trip   congestion/   how much may be in flight
//! pool.rs, ring.rs, ranges.rs, send_queue.rs, receive_queue.rs       the memory of the streams
//! isn.rs          initial sequence numbers                           challenge.rs  the limit on challenge ACKs
//! autotune.rs     how large the receive window is, how promptly data is acknowledged
//! ecn.rs          marks instead of losses
//! cookie.rs       handshakes of which nothing is remembered         keepalive.rs  is an idle peer still there
//! path_mtu.rs     how large a packet may be                          urgent.rs     the urgent pointer, both ways
//! tuning.rs       what a service sets of a connection               user_timeout.rs  how long data may stay unacknowledged
//! rate.rs         how fast data is delivered    pacing.rs  when the next segment may leave    tally.rs  what happened, to be counted
//! ```

mod acknowledge;
pub mod arrives;
mod autotune;
mod calls;
mod challenge;
pub mod config;
pub mod congestion;
pub mod cookie;
pub mod ecn;
pub mod event;
#[cfg(test)]
pub(crate) mod inspect;
pub mod isn;
pub mod keepalive;
mod options;
mod output;
mod pacing;
mod path_mtu;
pub mod pool;
mod ranges;
pub mod rate;
mod receive_queue;
mod recovery;
mod ring;
mod rto;
mod rtt;
mod send_queue;
pub mod seq;
pub mod state;
pub mod tally;
mod tcb;
mod timers;
mod timestamps;
mod tuning;
mod urgent;
mod user_timeout;
mod window;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use event::{Arrival, Disposition, Events, Opening, Reset, Transmit};
pub use keepalive::Keepalive;
pub use pool::BufferPool;
pub use state::State;
pub use tcb::Tcb;
pub use tuning::Tuning;
