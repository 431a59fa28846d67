//! TCP (RFC 9293): a pure machine.
//!
//! The engine calls the TCB with a segment, an expired timer or a call of the service, each with the time; what comes out is
//! events for the service, segments to send and the next deadline. There is no clock, no randomness, no socket, no thread and
//! no `unsafe` in this folder, and nothing in it panics on what a peer sends. Memory for the streams comes from the core's
//! [`pool::BufferPool`], passed in; a TCB without data in flight holds none.
//!
//! ```text
//! the connection   tcb.rs fields, birth and death; state.rs states and the table of edges; config.rs settings; tuning.rs what a service sets
//! in and out       event.rs what is told to whom; calls.rs SEND, RECEIVE, CLOSE, ABORT; tally.rs what happened, to be counted
//! a segment in     arrives/ SEGMENT ARRIVES, a file per group of states; acknowledge.rs what an ACK does; urgent.rs the urgent pointer
//! a segment out    output.rs which leaves next; options.rs what it carries; pacing.rs when it may leave; ecn.rs marks instead of losses
//! sequence space   seq.rs numbers that wrap; window.rs SND and RCV variables; autotune.rs how large the receive window is
//! timers           timers.rs deadlines; keepalive.rs, user_timeout.rs patience with the peer
//! losses           recovery/ what was lost and is sent again; rtt.rs, rto.rs round trip; rate.rs how fast data is delivered
//! how much         congestion/ how much may be in flight; path_mtu.rs how large a packet may be, path_search.rs where nobody tells
//! at rest          folded.rs a TCB in as few octets as it takes
//! memory           pool.rs, ring.rs, send_queue.rs, receive_queue.rs, ranges.rs the streams, and what lies beyond a hole
//! from outside     figures.rs what an inspection shows
//! strangers        isn.rs initial numbers; cookie.rs SYN cookies; challenge.rs the limit on challenge ACKs; timestamps.rs PAWS
//! ```
//!
//! The lines under `#[cfg(test)]` that name `planted` are bugs the simulator switches on to show that it finds them (`src/sim/`);
//! `inspect.rs` is what it looks at. No other build has them.

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
pub mod figures;
mod folded;
#[cfg(test)]
pub(crate) mod inspect;
pub mod isn;
pub mod keepalive;
mod options;
mod output;
mod pacing;
mod path_mtu;
pub mod path_search;
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
pub use event::{Arrival, Disposition, Events, IpVersion, Opening, Reset, Transmit};
pub use folded::Folded;
pub use keepalive::Keepalive;
pub use output::Next;
pub use pool::BufferPool;
pub use state::State;
pub use tcb::Tcb;
pub use tuning::Tuning;
