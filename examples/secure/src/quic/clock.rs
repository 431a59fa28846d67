//! The engine's time as that of the standard library, and back.
//!
//! `quinn-proto` takes and gives instants of the standard library, which cannot be made of a number. Both clocks count the same seconds, so one look
//! at both ties them together.

use ringway::service::Context;
use ringway::time::Instant;

/// The same moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    engine: Instant,
    standard: std::time::Instant,
}

impl Clock {
    pub(super) fn start(cx: &impl Context) -> Self {
        Self { engine: cx.read_clock(), standard: std::time::Instant::now() }
    }

    /// The time of this turn.
    pub(super) fn now(self, cx: &impl Context) -> std::time::Instant {
        self.standard + cx.now().since(self.engine)
    }

    /// The same moment on the engine's clock.
    pub(super) fn engine(self, at: std::time::Instant) -> Instant {
        self.engine + at.saturating_duration_since(self.standard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_is_as_far_ahead_on_either_clock() {
        let clock = Clock { engine: Instant::from_ns(5_000), standard: std::time::Instant::now() };
        assert_eq!(clock.engine(clock.standard + Duration::from_nanos(70)), Instant::from_ns(5_070));
        assert_eq!(
            clock.engine(clock.standard - Duration::from_nanos(70)),
            Instant::from_ns(5_000),
            "what was due before is due"
        );
    }
}
