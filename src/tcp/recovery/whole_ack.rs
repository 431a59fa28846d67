//! The acknowledgment of the only record in flight, as between nearly every request and its answer: a short way through [`Tcb::take_ack`].
//!
//! Whatever it does the long way does as well, and the property test of the fast path holds both equal. It leaves out what cannot be, since
//! [`Tcb::only_record`] excludes it: reports of SACK and DSACK, Eifel, F-RTO, tail loss probes, PRR; and as nothing stays in flight, nothing can be
//! lost. Nothing panics.

use super::{Forward, Moved, Newest, Phase, Record};
use crate::tcp::config::Config;
use crate::tcp::pool::BufferPool;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::Segment;

impl Tcb {
    /// The only record in flight, if the acknowledgment covers it and says nothing else (no block, no echo of a mark), it was sent once, and no
    /// recovery and no tail loss probe goes on.
    #[inline]
    pub(super) fn only_record(&self, segment: &Segment<'_>, moved: Moved) -> Option<Record> {
        #[cfg(test)]
        if slowly::is_asked() {
            return None;
        }
        let recovery = &self.recovery;
        let plain = moved.advanced
            && segment.options.sack_count == 0
            && recovery.phase == Phase::Open
            && recovery.forward == Forward::No
            && recovery.tail.is_quiet()
            && !self.ecn.is_echo(segment.flags);
        if plain { self.flight.only_record(self.snd.una) } else { None }
    }

    /// [`Tcb::take_ack`] of such a record.
    #[inline]
    pub(super) fn take_whole_ack(&mut self, config: &Config, now: Instant, pool: &mut BufferPool, moved: Moved, sent: Instant) {
        let Self { flight, rate, recovery, snd, .. } = self;
        let mut newest = Newest::default();
        flight.acknowledge(snd.una, pool, |record, bytes| {
            rate.deliver(bytes, &record.stamp, record.sent, now);
            recovery.rack.delivered(record, false, now, &mut newest);
        });
        recovery.rack.delivered_all(newest, now);
        recovery.rack.acknowledged(snd.una);
        self.note_reordering();
        let rtt_ns = now.ns_since(sent);
        self.measured(config, now, rtt_ns, moved.in_flight);
        let delivered = self.rate.finish(self.recovery.rack.least_rtt_ns());
        self.recovery.advanced_while_open(self.snd.una);
        if self.offers.sack {
            self.timers.reordering = Instant::NEVER;
        }
        self.tell_congestion(now, moved, delivered, Some(rtt_ns), false);
        self.note_application_limit();
    }
}

/// Lets the property test of the fast path take every acknowledgment the long way.
#[cfg(test)]
pub(in crate::tcp) mod slowly {
    use std::cell::Cell;

    thread_local! {
        static ASKED: Cell<bool> = const { Cell::new(false) };
    }

    /// Ends with its scope, also when that panics.
    struct Asked;

    impl Drop for Asked {
        fn drop(&mut self) {
            ASKED.set(false);
        }
    }

    pub(super) fn is_asked() -> bool {
        ASKED.get()
    }

    /// Runs with every acknowledgment taken the long way.
    pub(in crate::tcp) fn run<T>(what: impl FnOnce() -> T) -> T {
        ASKED.set(true);
        let _asked = Asked;
        what()
    }
}
