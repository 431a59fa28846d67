//! What a run costs: CPU time, busy turns and packets between the two ends of the measured time.
//!
//! A client calls [`Meter::turn`] with the time; at the first call inside the window and the first one behind it a sample is
//! taken, by the thread that does the work (CPU time is the thread's). [`Live`] lets another thread print intervals meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::outcome::{Outcome, Window};
use super::packets;
use super::turns::Turns;
use crate::cpu;
use crate::time::Instant;

/// Samples at both ends of the measured time.
#[derive(Debug)]
pub struct Meter {
    window: Window,
    interface: Option<String>,
    first: Option<Sample>,
    last: Option<Sample>,
    live: Option<Arc<Live>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    cpu_ns: u64,
    packets: Option<u64>,
    turns: Turns,
}

/// Counts of a run that goes on, written by the client's thread every few milliseconds, read by whoever prints intervals.
#[derive(Debug, Default)]
pub struct Live {
    /// Messages sent after the warm-up.
    pub sent: AtomicU64,
    /// Answers received in time.
    pub received: AtomicU64,
    /// Messages lost.
    pub lost: AtomicU64,
    /// Connections that are open, of a ramp.
    pub open: AtomicU64,
}

impl Meter {
    /// A meter of the given window; packets are counted when an interface is named.
    pub const fn new(window: Window, interface: Option<String>, live: Option<Arc<Live>>) -> Self {
        Self { window, interface, first: None, last: None, live }
    }

    /// Takes a sample when one is due; cheap otherwise.
    pub fn turn(&mut self, now: Instant, turns: Turns) {
        if self.first.is_none() && now >= self.window.from {
            self.first = Some(self.sample(turns));
        }
        if self.last.is_none() && now >= self.window.until {
            self.last = Some(self.sample(turns));
        }
    }

    /// When the next sample is due; [`Instant::NEVER`] when both are taken.
    pub const fn next_due(&self) -> Instant {
        match (self.first.is_none(), self.last.is_none()) {
            (true, _) => self.window.from,
            (false, true) => self.window.until,
            (false, false) => Instant::NEVER,
        }
    }

    /// Shows the counts so far to other threads.
    pub fn publish(&self, outcome: &Outcome) {
        if let Some(live) = &self.live {
            live.sent.store(outcome.sent, Ordering::Relaxed);
            live.received.store(outcome.received, Ordering::Relaxed);
            live.lost.store(outcome.lost, Ordering::Relaxed);
        }
    }

    /// Writes what was measured into the outcome; `spinning` says that busy turns mean something.
    pub fn finish(mut self, outcome: &mut Outcome, turns: Turns, spinning: bool) {
        let Some(first) = self.first else { return };
        let last = match self.last.take() {
            Some(last) => last,
            None => self.sample(turns),
        };
        outcome.cpu_ns = Some(last.cpu_ns.saturating_sub(first.cpu_ns));
        outcome.packets = last.packets.zip(first.packets).map(|(last, first)| last.wrapping_sub(first));
        outcome.busy_share = last.turns.since(first.turns).share().filter(|_| spinning);
        self.publish(outcome);
    }

    fn sample(&self, turns: Turns) -> Sample {
        Sample { cpu_ns: cpu::thread_ns(), packets: self.interface.as_deref().and_then(packets::of_interface), turns }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::plan::tests::plan;
    use super::*;
    use crate::load::plan::Plan;

    #[test]
    fn only_the_measured_time_counts() {
        let plan = Plan { warmup: Duration::from_millis(10), duration: Duration::from_millis(20), ..plan() };
        let window = Window::new(&plan, Instant::ZERO);
        let live = Arc::new(Live::default());
        let mut meter = Meter::new(window, Some("lo".into()), Some(live.clone()));
        let at = |ms: u64| Instant::from_ns(ms * 1_000_000);
        meter.turn(at(9), Turns { all: 50, busy: 50 });
        assert_eq!(meter.next_due(), at(10));
        meter.turn(at(10), Turns { all: 100, busy: 60 });
        assert_eq!(meter.next_due(), at(30));
        meter.turn(at(31), Turns { all: 200, busy: 85 });
        meter.turn(at(32), Turns { all: 900, busy: 900 });
        assert_eq!(meter.next_due(), Instant::NEVER);
        let mut outcome = Outcome { sent: 4, ..Outcome::default() };
        meter.finish(&mut outcome, Turns::default(), true);
        assert_eq!(outcome.busy_share, Some(0.25));
        assert!(outcome.cpu_ns.is_some());
        assert_eq!(live.sent.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_run_that_ends_in_the_warm_up_has_no_costs() {
        let window = Window::new(&Plan { warmup: Duration::from_secs(1), ..plan() }, Instant::ZERO);
        let mut outcome = Outcome::default();
        Meter::new(window, None, None).finish(&mut outcome, Turns::default(), true);
        assert_eq!((outcome.cpu_ns, outcome.packets, outcome.busy_share), (None, None, None));
    }
}
