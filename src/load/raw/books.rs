//! The bookkeeping of a load run for the raw client: the same schedule, payloads and costs as on every other stack.

use std::sync::Arc;
use std::time::Duration;

use super::{Messages, RawCounters};
use crate::load::datagrams::Datagrams;
use crate::load::meter::{Live, Meter};
use crate::load::outcome::Outcome;
use crate::load::plan::Plan;
use crate::load::turns::Turns;
use crate::time::Instant;

/// The messages of a plan, sent and answered raw.
#[derive(Debug)]
pub struct Books {
    datagrams: Datagrams,
    meter: Meter,
    turns: Turns,
    /// The turn that goes on has sent or received something.
    worked: bool,
    /// The schedule has not been told of this turn yet: the answers come first.
    fresh: bool,
    /// The flow that may have more to send in this turn.
    current: Option<u32>,
    published: Instant,
}

/// How often counts are shown and lost messages looked for.
const TICK: Duration = Duration::from_millis(10);

impl Books {
    /// The books of a checked plan whose first message is due at `start`; packets are counted when an interface is named.
    pub fn new(plan: &Plan, start: Instant, seed: u64, interface: Option<String>, live: Option<Arc<Live>>) -> Self {
        let datagrams = Datagrams::new(plan, start, seed);
        let meter = Meter::new(datagrams.schedule.window(), interface, live);
        Self { datagrams, meter, turns: Turns::default(), worked: false, fresh: false, current: None, published: start }
    }

    /// What the run came to.
    pub fn finish(self, now: Instant, counters: RawCounters) -> Outcome {
        let mut outcome = self.datagrams.schedule.finish(now);
        outcome.count_drops("raw_broken", counters.broken);
        self.meter.finish(&mut outcome, self.turns, true);
        outcome
    }
}

impl Messages for Books {
    fn turn(&mut self, now: Instant) {
        self.turns.count(std::mem::take(&mut self.worked));
        self.fresh = true;
        self.meter.turn(now, self.turns);
        self.datagrams.schedule.expire(now);
        if now.since(self.published) >= TICK {
            self.published = now;
            self.meter.publish(self.datagrams.schedule.outcome());
        }
    }

    fn due(&mut self, now: Instant, payload: &mut [u8]) -> Option<u32> {
        if std::mem::take(&mut self.fresh) {
            self.datagrams.schedule.turn();
        }
        loop {
            let flow = match self.current {
                Some(flow) => flow,
                None => *self.current.insert(self.datagrams.schedule.ready(now)?),
            };
            match self.datagrams.payload(flow, now) {
                Some(bytes) if bytes.len() == payload.len() => {
                    payload.copy_from_slice(bytes);
                    return Some(flow);
                }
                _ => self.current = None,
            }
        }
    }

    fn sent(&mut self, flow: u32, now: Instant) {
        self.worked = true;
        self.datagrams.schedule.sent(flow, now);
    }

    fn unsent(&mut self, flow: u32) {
        self.current = None;
        self.datagrams.schedule.defer(flow);
    }

    fn answered(&mut self, flow: u32, payload: &[u8], now: Instant) {
        self.worked = true;
        if let Err(corrupt) = self.datagrams.received(flow, payload, now) {
            self.datagrams.schedule.outcome_mut().count_corrupt(corrupt);
        }
        // The answer may have made room for the next message of its flow.
        self.datagrams.schedule.defer(flow);
    }

    fn is_done(&self, now: Instant) -> bool {
        self.datagrams.schedule.is_done(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Pace;
    use crate::load::plan::tests::plan;

    fn at(us: u64) -> Instant {
        Instant::from_ns(us * 1000)
    }

    /// Sends all that is due and returns the payloads.
    fn send(books: &mut Books, now: Instant) -> Vec<(u32, [u8; 64])> {
        let mut sent = Vec::new();
        let mut payload = [0; 64];
        while let Some(flow) = books.due(now, &mut payload) {
            books.sent(flow, now);
            sent.push((flow, payload));
        }
        sent
    }

    fn turn(books: &mut Books, now: Instant, answers: &[(u32, [u8; 64])]) -> Vec<(u32, [u8; 64])> {
        books.turn(now);
        for (flow, payload) in answers {
            books.answered(*flow, payload, now);
        }
        send(books, now)
    }

    #[test]
    fn a_closed_loop_sends_the_next_message_in_the_turn_of_the_answer() {
        let plan = Plan { connections: 2, pace: Pace::Closed { in_flight: 3 }, ..plan() };
        let mut books = Books::new(&plan, at(0), 1, None, None);
        let first = turn(&mut books, at(1), &[]);
        assert_eq!(first.iter().map(|(flow, _)| *flow).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
        assert!(turn(&mut books, at(2), &[]).is_empty());
        let second = turn(&mut books, at(6), &first[2..4]);
        assert_eq!(second.iter().map(|(flow, _)| *flow).collect::<Vec<_>>(), [0, 1]);
        let outcome = books.finish(at(7), RawCounters { broken: 3, ..RawCounters::default() });
        // The six that wait are younger than a second: a run that was stopped counts them as never sent.
        assert_eq!((outcome.sent, outcome.received, outcome.corrupt), (2, 2, 0));
        assert_eq!(outcome.drops.get("raw_broken"), Some(&3));
        assert!(outcome.rtt_uncorrected.percentiles().is_some_and(|p| p.p50.is_some_and(|ns| ns.abs_diff(5_000) < 10)));
    }

    #[test]
    fn an_open_loop_waits_for_its_time_and_what_found_no_room_stays_due() {
        let plan = Plan { pace: Pace::Open { per_s: 100_000.0 }, ..plan() };
        let mut books = Books::new(&plan, at(0), 1, None, None);
        assert_eq!(turn(&mut books, at(0), &[]).len(), 1);
        assert!(turn(&mut books, at(9), &[]).is_empty());
        books.turn(at(20));
        let mut payload = [0; 64];
        let flow = books.due(at(20), &mut payload).expect("two are due");
        books.unsent(flow);
        assert_eq!(turn(&mut books, at(21), &[]).len(), 2);
    }

    #[test]
    fn wrong_bytes_are_counted() {
        let mut books = Books::new(&plan(), at(0), 1, None, None);
        let mut sent = turn(&mut books, at(1), &[]);
        sent[0].1[40] ^= 1;
        turn(&mut books, at(2), &sent);
        assert_eq!(books.finish(at(3), RawCounters::default()).corrupt, 1);
    }
}
