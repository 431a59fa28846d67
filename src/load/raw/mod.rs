//! Raw: UDP datagrams over a bare device, both ends, with nothing of the engine between ring and payload.
//!
//! What it measures is the limit: no stack on this device and machine can be faster. The server ([`Reflector`]) turns a frame round where
//! it lies and does nothing else; the client ([`RawClient`]) sends what its [`Messages`] say is due and hands them every answer,
//! checked down to the last header byte. Both spin. They know [`crate::device::Device`] and no other part of the engine.
//!
//! Called by the commands on a thread of their own, once a turn; what a peer sends is answered or counted and never panics; nothing is
//! allocated after the start.

mod books;
mod client;
mod packet;
mod reflector;

pub use books::Books;
pub use client::{Path, RawClient, RawCounters};
pub use reflector::{Reflected, Reflector};

use crate::time::Instant;

/// What a client sends and what it makes of the answers: the bookkeeping of a load run.
///
/// Flows are numbered from 0; each has a source port of its own. In one turn the client calls [`Messages::turn`], hands over the answers that
/// came, and then asks for what is due until there is no more.
pub trait Messages {
    /// A new turn begins.
    fn turn(&mut self, now: Instant);

    /// The next message due at `now`: writes its payload, whose length is the same for all messages, and names its flow. `None` when
    /// none is due any more in this turn.
    fn due(&mut self, now: Instant, payload: &mut [u8]) -> Option<u32>;

    /// The message that [`Messages::due`] named last is in the transmit ring, which is flushed at the end of this turn.
    fn sent(&mut self, flow: u32, now: Instant);

    /// The message that [`Messages::due`] named last found no room: it stays due.
    fn unsent(&mut self, flow: u32);

    /// An answer on this flow. The headers were right; the payload is as it came, of whatever length.
    fn answered(&mut self, flow: u32, payload: &[u8], now: Instant);

    /// Nothing more will be due and nothing more is waited for.
    fn is_done(&self, now: Instant) -> bool;
}

/// A turn without work flushes now and then all the same: a device that completes what was sent late, after the last flush, would
/// otherwise never get those frames back, and with an empty fill ring never receive again.
const IDLE_FLUSH: u64 = 1024;

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Instant::from_ns(seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
