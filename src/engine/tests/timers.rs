//! Many timers that are due at once: some in each turn, and no sleep before the last.

use std::time::Duration;

use super::{ManualClock, engine};
use crate::device::memory;
use crate::engine::Clock;
use crate::limits;
use crate::service::{Context, Service};
use crate::time::Instant;

/// Asks for so many timers, all for the same time.
struct Crowd {
    count: usize,
    due: Instant,
    served: usize,
}

impl Service for Crowd {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        (0..self.count).for_each(|token| assert!(cx.set_timer(self.due, token as u64).is_ok()));
    }

    fn timer(&mut self, cx: &mut impl Context, _: u64) {
        assert!(cx.now() >= self.due);
        self.served += 1;
    }
}

#[test]
fn many_timers_take_several_turns_and_each_says_that_there_is_work() {
    let (left, _right) = memory::cable(16);
    let clock = ManualClock::default();
    let count = 10 * limits::TIMER_MOVES_PER_TURN;
    let due = Instant::ZERO + Duration::from_secs(20);
    let mut engine = engine(left, 1, Crowd { count, due, served: 0 });
    engine.start(&clock);
    // They wait in one slot of an upper level: first they move down, so many a turn.
    let mut turns = 0;
    loop {
        let before = engine.service().served;
        let next = engine.core.next_deadline();
        clock.advance(next.since(clock.now()));
        let worked = engine.turn(&clock);
        assert!(worked || engine.core.next_deadline() > clock.now(), "turn {turns} of a core that must not sleep");
        assert!(engine.service().served - before <= limits::TIMERS_PER_TURN, "turn {turns}");
        if engine.service().served == count {
            break;
        }
        turns += 1;
        assert!(turns < 1000, "{} are served", engine.service().served);
    }
    assert!(turns >= count / limits::TIMERS_PER_TURN);
    assert!(clock.now() < due + Duration::from_micros(2), "none is late");
    assert!(!engine.turn(&clock), "nothing is left to do");
}
