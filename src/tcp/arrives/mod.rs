//! SEGMENT ARRIVES (RFC 9293 3.10.7), a file per group of states, in the order of the RFC.
//!
//! The engine calls [`closed::reset_for`] and [`listen::on_segment`] where there is no TCB, and [`Tcb::on_segment`] where there is one. What a segment
//! does wrongly is a [`crate::device::Drop`], one per check. Nothing here panics, whatever the segment is.

pub mod closed;
mod fast_path;
pub mod listen;
mod syn_sent;
mod synchronized;
mod text;
mod time_wait;

use super::config::Config;
use super::event::{Arrival, Disposition, Events};
use super::pool::BufferPool;
#[cfg(test)]
use super::recovery::slowly;
use super::state::State;
use super::tcb::Tcb;
use crate::device::Drop;
use crate::time::Instant;
use crate::wire::tcp::Segment;

impl Tcb {
    /// Takes a segment in. Answers, if any, wait in [`Tcb::poll_transmit`].
    pub fn on_segment(&mut self, config: &Config, now: Instant, segment: &Segment<'_>, pool: &mut BufferPool) -> Arrival {
        let arrival = match self.state() {
            State::Closed | State::Listen => dropped(Drop::TcpPortClosed),
            State::SynSent => syn_sent::arrives(self, config, now, segment, pool),
            State::Established if fast_path::applies(self, segment, now) => fast_path::arrives(self, config, now, segment, pool),
            _ => synchronized::arrives(self, config, now, segment, pool),
        };
        if self.autotune_due() {
            self.autotune(config, now, segment, arrival.payload.len() as u32, pool);
        }
        arrival
    }
}

/// A segment of which nothing is used.
const fn dropped(why: Drop) -> Arrival {
    Arrival { payload: 0..0, events: Events::NONE, drop: Some(why), then: Disposition::Stay }
}

/// A segment that did what it should.
const fn taken(events: Events) -> Arrival {
    Arrival { payload: 0..0, events, drop: None, then: Disposition::Stay }
}

#[cfg(test)]
impl Tcb {
    /// True when [`Tcb::on_segment`] would take the fast path.
    pub(super) fn takes_fast_path(&self, now: Instant, segment: &Segment<'_>) -> bool {
        self.state() == State::Established && fast_path::applies(self, segment, now)
    }

    /// [`Tcb::on_segment`] in ESTABLISHED, with neither the fast path nor the short way of an acknowledgment.
    pub(super) fn on_segment_slowly(
        &mut self,
        config: &Config,
        now: Instant,
        segment: &Segment<'_>,
        pool: &mut BufferPool,
    ) -> Arrival {
        let arrival = slowly::run(|| synchronized::arrives(self, config, now, segment, pool));
        if self.autotune_due() {
            self.autotune(config, now, segment, arrival.payload.len() as u32, pool);
        }
        arrival
    }
}
