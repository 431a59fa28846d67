//! Bulk: streams that carry bytes one way as fast as they are taken, to discard or from chargen.
//!
//! The books that the engine's service ([`super::engine_bulk`]) and the kernel client share. Bytes are counted and not compared, so that both
//! stacks are measured and not the comparison; the tests of integrity compare them. A row's message is `size` bytes of them. Pure: time is an
//! argument; cannot panic.

use std::time::Duration;

use super::outcome::{Outcome, Window};
use super::plan::Plan;
use crate::time::Instant;

/// The bytes of a run.
#[derive(Debug)]
pub struct Flood {
    window: Window,
    size: u64,
    bytes: u64,
    outcome: Outcome,
}

/// Bytes that a sender offers with one call.
pub const CHUNK_BYTES: usize = 64 << 10;

impl Flood {
    /// The books of a checked plan that begins at `start`.
    pub fn new(plan: &Plan, start: Instant) -> Self {
        Self { window: Window::new(plan, start), size: plan.size.max(1) as u64, bytes: 0, outcome: Outcome::default() }
    }

    /// When what is carried counts.
    pub const fn window(&self) -> Window {
        self.window
    }

    /// So many bytes were taken by the stack, or came.
    pub fn carried(&mut self, bytes: usize, now: Instant) {
        if self.window.counts(now) {
            self.bytes += bytes as u64;
            self.outcome.received = self.bytes / self.size;
            self.outcome.sent = self.outcome.received;
        }
    }

    /// A stream ended before its time.
    pub fn ended(&mut self, cause: &str) {
        self.outcome.count_drops(cause, 1);
    }

    /// The counts so far.
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// True when nothing counts any more.
    pub fn is_done(&self, now: Instant) -> bool {
        now >= self.window.until
    }

    /// What the run came to.
    pub fn finish(mut self, now: Instant) -> Outcome {
        self.outcome.measured = if now < self.window.from { Duration::ZERO } else { self.window.measured(now) };
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn bytes_count_between_warm_up_and_end() {
        let plan = Plan { size: 1000, warmup: Duration::from_millis(10), duration: Duration::from_millis(20), ..plan() };
        let at = |ms: u64| Instant::from_ns(ms * 1_000_000);
        let mut flood = Flood::new(&plan, at(100));
        for (bytes, ms) in [(5000, 109), (1500, 110), (2700, 129), (9000, 130)] {
            flood.carried(bytes, at(ms));
        }
        assert!(!flood.is_done(at(129)) && flood.is_done(at(130)));
        flood.ended("reset");
        let outcome = flood.finish(at(140));
        assert_eq!((outcome.received, outcome.measured), (4, Duration::from_millis(20)));
        assert_eq!(outcome.into_row(&plan, "", "").rate_per_s, 200.0);
        assert_eq!(Flood::new(&plan, at(100)).finish(at(105)).measured, Duration::ZERO, "stopped in the warm-up");
    }
}
