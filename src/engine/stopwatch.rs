//! How long turns take, of every 64th that receives frames.
//!
//! Asked by `engine/turn.rs`. The beginning of a turn is the time its first burst was taken, which is read anyway. Its end would be one more look at the
//! clock, some 25 ns: 5 % of a turn with a single frame. So one turn in 64 is timed, counted off and not drawn, whatever it has to do: that is less than
//! half a nanosecond a turn, and its distribution is that of all of them as long as nothing comes in steps of 64. Nothing here panics.

use std::time::Duration;

use crate::time::Instant;

/// Turns of one that is timed.
pub(super) const TURNS_PER_TIMED: u32 = 64;

/// Of one engine.
#[derive(Debug)]
pub(super) struct Stopwatch {
    began: Instant,
    /// Turns until the next one that is timed, that one included.
    left: u32,
}

impl Stopwatch {
    /// The first turn is timed.
    pub(super) const fn new() -> Self {
        Self { began: Instant::ZERO, left: 1 }
    }

    /// A turn has taken its first frames.
    #[inline]
    pub(super) const fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// At the end of a turn that has received frames: whether it is to be timed.
    #[inline]
    pub(super) const fn is_due(&mut self) -> bool {
        self.left -= 1;
        self.left == 0
    }

    /// How long it took. The next one is [`TURNS_PER_TIMED`] turns away.
    pub(super) fn stop(&mut self, now: Instant) -> Duration {
        self.left = TURNS_PER_TIMED;
        now.since(self.began)
    }
}
