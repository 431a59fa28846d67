//! Connections that come and go: connect, one exchange, close, again.
//!
//! A fixed number of slots, each with at most one connection. Open loop: exchange `k` is due at `start + k / rate` and takes the
//! first free slot; its SYN is planned for then, and its answer is counted from then. Closed loop: a slot that is free begins
//! the next exchange. Who closes first follows from [`Churn`]:
//! - client: the message is echoed, the client half-closes and reads the end of the stream;
//! - server: the server speaks first, one line of text, and closes (daytime); the client sends nothing and closes after it;
//! - rst: the message is echoed, the client resets the connection.
//!
//! Called by the engine's service and the kernel client. Pure; time is an argument; no allocation after [`Exchanges::new`];
//! nothing panics on what a server sends.

use std::collections::VecDeque;
use std::time::Duration;

use super::outcome::{Outcome, Window};
use super::pattern::{Corrupt, Pattern};
use super::plan::{Churn, Plan};
use super::schedule::{LOST_AFTER, planned};
use crate::time::Instant;

/// An exchange that is not over so long after its due time is given up: its connection is aborted.
pub const GIVE_UP: Duration = Duration::from_secs(3);
/// Slots that one call of [`Exchanges::overdue`] looks at.
const SWEEP: usize = 64;
/// Longest line a server that speaks first may send.
const LINE_BYTES: u64 = 512;

/// The exchanges of a run.
#[derive(Debug)]
pub struct Exchanges {
    churn: Churn,
    /// Exchanges per second; `None` in a closed loop.
    per_s: Option<f64>,
    size: u64,
    window: Window,
    pattern: Pattern,
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    begun: u64,
    sweep: usize,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    stage: Stage,
    /// Number of the exchange: its payload follows from it.
    exchange: u32,
    due: Instant,
    /// When the message left, or the line was awaited.
    asked: Instant,
    closing: Instant,
    written: u64,
    received: u64,
    last: u8,
    answered: bool,
}

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No connection.
    Free,
    /// The SYN is out.
    Connecting,
    /// Connected; the message or its answer is on the way.
    Exchanging,
    /// The client has half-closed and waits for the end of the stream.
    Closing,
}

/// What the client does next with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Waits for more.
    Wait,
    /// Half-closes (FIN) and reads on until the end of the stream.
    HalfClose,
    /// Resets the connection; the exchange is over.
    Reset,
    /// Closes its direction: both are closed then and the exchange is over.
    Close,
}

impl Exchanges {
    /// The exchanges of a checked plan with churn, the first of which is due at `start`.
    pub fn new(plan: &Plan, churn: Churn, start: Instant, seed: u64) -> Self {
        let never = Instant::NEVER;
        let slot = Slot {
            stage: Stage::Free,
            exchange: 0,
            due: never,
            asked: never,
            closing: never,
            written: 0,
            received: 0,
            last: 0,
            answered: false,
        };
        Self {
            churn,
            per_s: plan.offered_per_s(),
            size: plan.size as u64,
            window: Window::new(plan, start),
            pattern: Pattern::new(seed),
            slots: vec![slot; plan.connections as usize],
            free: (0..plan.connections).collect(),
            begun: 0,
            sweep: 0,
            outcome: Outcome::default(),
        }
    }

    /// The measured part of the run.
    pub const fn window(&self) -> Window {
        self.window
    }

    /// When the next exchange is due; [`Instant::NEVER`] when none is, or no slot is free for it.
    pub fn next_due(&self) -> Instant {
        let due = self.next_planned();
        if self.free.is_empty() || due >= self.window.until { Instant::NEVER } else { due }
    }

    /// Begins the next exchange that is due and returns its slot: connect it now.
    pub fn begin(&mut self, now: Instant) -> Option<u32> {
        let due = self.next_planned().max(if self.per_s.is_none() { now } else { Instant::ZERO });
        if due > now || due >= self.window.until {
            return None;
        }
        let number = self.free.pop_front()?;
        let slot = &mut self.slots[number as usize];
        *slot = Slot {
            stage: Stage::Connecting,
            exchange: self.begun as u32,
            due,
            written: 0,
            received: 0,
            last: 0,
            answered: false,
            ..*slot
        };
        self.begun += 1;
        self.outcome.sent += u64::from(self.window.counts(due));
        Some(number)
    }

    /// The stage of a slot.
    pub fn stage(&self, slot: u32) -> Stage {
        self.slots.get(slot as usize).map_or(Stage::Free, |slot| slot.stage)
    }

    /// The handshake of a slot is complete.
    pub fn connected(&mut self, slot: u32, now: Instant) {
        let Some(at) = self.slots.get_mut(slot as usize).filter(|at| at.stage == Stage::Connecting) else { return };
        at.stage = Stage::Exchanging;
        at.asked = now;
        if self.window.counts(at.due) {
            self.outcome.connect.record(now.ns_since(at.due));
        }
    }

    /// The bytes a slot has yet to send, at most 65,536 at once.
    pub fn chunk(&self, slot: u32) -> Option<&[u8]> {
        let at = self.slots.get(slot as usize).filter(|at| at.stage == Stage::Exchanging && self.churn != Churn::Server)?;
        let left = self.size - at.written;
        (left > 0).then(|| self.pattern.stream(at.exchange, at.written, usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// The stack took `n` of these bytes at `now`.
    pub fn wrote(&mut self, slot: u32, n: usize, now: Instant) {
        let Some(at) = self.slots.get_mut(slot as usize) else { return };
        if at.written == 0 {
            at.asked = now;
        }
        at.written += n as u64;
    }

    /// Bytes came; says what to do next.
    ///
    /// # Errors
    /// They are not what the server should have sent.
    pub fn received(&mut self, slot: u32, bytes: &[u8], now: Instant) -> Result<Step, Corrupt> {
        let Some(at) = self.slots.get_mut(slot as usize) else { return Ok(Step::Wait) };
        if at.stage == Stage::Free || bytes.is_empty() {
            return Ok(Step::Wait);
        }
        if self.churn == Churn::Server {
            let text = bytes.iter().all(|&byte| byte == b'\r' || byte == b'\n' || byte == b' ' || byte.is_ascii_graphic());
            at.received += bytes.len() as u64;
            at.last = *bytes.last().unwrap_or(&0);
            return if text && at.received <= LINE_BYTES { Ok(Step::Wait) } else { Err(Corrupt::NotALine { connection: slot }) };
        }
        if at.received.saturating_add(bytes.len() as u64) > at.written {
            return Err(Corrupt::Unasked { connection: slot, sequence: u64::from(at.exchange) });
        }
        self.pattern.check_stream(at.exchange, at.received, bytes)?;
        at.received += bytes.len() as u64;
        if at.received < self.size || at.stage != Stage::Exchanging {
            return Ok(Step::Wait);
        }
        self.answered(slot, now);
        if self.churn == Churn::Rst {
            self.release(slot);
            return Ok(Step::Reset);
        }
        let at = &mut self.slots[slot as usize];
        at.stage = Stage::Closing;
        at.closing = now;
        Ok(Step::HalfClose)
    }

    /// The end of the peer's stream; says what to do next. The exchange is over.
    ///
    /// # Errors
    /// It came before the whole answer.
    pub fn ended(&mut self, slot: u32, now: Instant) -> Result<Step, Corrupt> {
        let Some(&at) = self.slots.get(slot as usize) else { return Ok(Step::Close) };
        match (at.stage, self.churn) {
            (Stage::Closing, _) => {
                if self.window.counts(at.due) {
                    self.outcome.close.record(now.ns_since(at.closing));
                }
            }
            (Stage::Exchanging, Churn::Server) if at.last == b'\n' => self.answered(slot, now),
            (Stage::Exchanging, Churn::Server) => return Err(Corrupt::NotALine { connection: slot }),
            (Stage::Exchanging | Stage::Connecting, _) => {
                self.failed(slot, "closed_early");
                return Ok(Step::Close);
            }
            (Stage::Free, _) => return Ok(Step::Close),
        }
        self.release(slot);
        Ok(Step::Close)
    }

    /// The exchange of a slot failed (refused, reset, timed out): counted under `cause`, lost if it was not answered.
    pub fn failed(&mut self, slot: u32, cause: &str) {
        let Some(&at) = self.slots.get(slot as usize).filter(|at| at.stage != Stage::Free) else { return };
        self.outcome.count_drops(cause, 1);
        if !at.answered && self.window.counts(at.due) {
            self.outcome.lost += 1;
        }
        if at.stage == Stage::Closing && self.window.counts(at.due) {
            self.outcome.close.add_unanswered(1);
        }
        self.release(slot);
    }

    /// A slot whose exchange should have been over long ago: abort its connection and report [`Exchanges::failed`]. Looks at a
    /// few slots per call.
    pub fn overdue(&mut self, now: Instant) -> Option<u32> {
        for _ in 0..SWEEP.min(self.slots.len()) {
            let number = self.sweep;
            self.sweep = (self.sweep + 1) % self.slots.len();
            let slot = self.slots[number];
            if slot.stage != Stage::Free && now.since(slot.due) > GIVE_UP {
                return Some(number as u32);
            }
        }
        None
    }

    /// True when nothing more is due and every exchange is over or out of time.
    pub fn is_done(&self, now: Instant) -> bool {
        if now < self.window.until {
            return false;
        }
        let idle = self.free.len() == self.slots.len() && self.next_planned() >= self.window.until;
        idle || now >= self.window.drained()
    }

    /// Counts so far.
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The same, to add to.
    pub const fn outcome_mut(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// Ends the run: exchanges that were due more than a second ago and have no answer are lost, begun or not; younger ones
    /// (the run was stopped) count as never begun.
    pub fn finish(mut self, now: Instant) -> Outcome {
        for slot in self.slots.iter().filter(|slot| slot.stage != Stage::Free && self.window.counts(slot.due)) {
            if slot.stage == Stage::Closing {
                self.outcome.close.add_unanswered(u64::from(now.since(slot.closing) >= LOST_AFTER));
            } else if !slot.answered && now.since(slot.due) >= LOST_AFTER {
                self.outcome.lost += 1;
            } else if !slot.answered {
                self.outcome.sent -= 1;
            }
        }
        let never_begun = self.due_and_never_begun(now);
        self.outcome.lost += never_begun;
        let unknown = self.outcome.lost.saturating_sub(self.outcome.late);
        if self.per_s.is_some() {
            self.outcome.rtt.add_unanswered(unknown);
        }
        self.outcome.rtt_uncorrected.add_unanswered(unknown.saturating_sub(never_begun));
        self.outcome.measured = self.window.measured(now);
        self.outcome
    }

    /// When the next exchange is planned: at once in a closed loop.
    fn next_planned(&self) -> Instant {
        self.per_s.map_or(self.window.start, |per_s| planned(self.window.start, self.begun, per_s))
    }

    fn due_and_never_begun(&self, now: Instant) -> u64 {
        let Some(per_s) = self.per_s else { return 0 };
        let due = (self.begun..).map(|k| planned(self.window.start, k, per_s));
        due.take_while(|&due| due < self.window.until && now.since(due) >= LOST_AFTER)
            .filter(|&due| self.window.counts(due))
            .count() as u64
    }

    fn answered(&mut self, slot: u32, now: Instant) {
        let at = &mut self.slots[slot as usize];
        at.answered = true;
        let at = *at;
        if !self.window.counts(at.due) {
            return;
        }
        let late = now.since(at.due) > LOST_AFTER;
        self.outcome.received += u64::from(!late);
        self.outcome.lost += u64::from(late);
        self.outcome.late += u64::from(late);
        if self.per_s.is_some() {
            self.outcome.rtt.record(now.ns_since(at.due));
        }
        self.outcome.rtt_uncorrected.record(now.ns_since(at.asked));
    }

    fn release(&mut self, slot: u32) {
        self.slots[slot as usize].stage = Stage::Free;
        self.free.push_back(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;
    use crate::load::plan::{Carrier, Pace};
    use crate::metrics::histogram::Reading;

    fn ms(ms: u64) -> Instant {
        Instant::from_ns(ms * 1_000_000)
    }

    fn exchanges(churn: Churn, pace: Pace, slots: u32) -> Exchanges {
        let plan = Plan {
            carrier: Carrier::Tcp,
            churn: Some(churn),
            pace,
            connections: slots,
            duration: Duration::from_millis(100),
            ..plan()
        };
        Exchanges::new(&plan, churn, ms(0), 5)
    }

    const CLOSED: Pace = Pace::Closed { in_flight: 1 };

    /// Sends the message of a slot and returns it.
    fn ask(exchanges: &mut Exchanges, slot: u32, now: Instant) -> Vec<u8> {
        let message = exchanges.chunk(slot).expect("a message").to_vec();
        exchanges.wrote(slot, message.len(), now);
        message
    }

    #[test]
    fn the_client_closes_first() {
        let mut run = exchanges(Churn::Client, CLOSED, 1);
        let slot = run.begin(ms(1)).expect("a free slot");
        assert_eq!(run.begin(ms(1)), None, "one slot, one connection");
        run.connected(slot, ms(3));
        let message = ask(&mut run, slot, ms(4));
        assert_eq!(run.received(slot, &message[..10], ms(5)), Ok(Step::Wait));
        assert_eq!(run.received(slot, &message[10..], ms(6)), Ok(Step::HalfClose));
        assert_eq!(run.ended(slot, ms(9)), Ok(Step::Close));
        assert_eq!(run.begin(ms(9)), Some(slot), "again");
        let outcome = run.finish(ms(9));
        assert_eq!((outcome.sent, outcome.received, outcome.lost), (1, 1, 0));
        let max = |recorder: &crate::metrics::histogram::Recorder| recorder.quantile(1.0);
        let near = |reading, wanted: u64| matches!(reading, Reading::Exact(ns) if ns.abs_diff(wanted) < wanted / 500);
        assert!(near(max(&outcome.connect), 2_000_000) && near(max(&outcome.close), 3_000_000));
        assert!(near(max(&outcome.rtt_uncorrected), 2_000_000) && outcome.rtt.count() == 0);
    }

    #[test]
    fn the_server_closes_first_after_one_line() {
        let mut run = exchanges(Churn::Server, CLOSED, 1);
        let slot = run.begin(ms(0)).expect("a free slot");
        run.connected(slot, ms(1));
        assert_eq!(run.chunk(slot), None, "the server speaks");
        assert_eq!(run.received(slot, b"Thursday, January 1, 1970 ", ms(2)), Ok(Step::Wait));
        assert_eq!(run.received(slot, b"00:00:00-UTC\r\n", ms(2)), Ok(Step::Wait));
        assert_eq!(run.ended(slot, ms(3)), Ok(Step::Close));
        assert_eq!((run.outcome().received, run.outcome().close.count()), (1, 0), "the client closed nothing first");
    }

    #[test]
    fn a_server_that_should_send_a_line_and_does_not_is_found_out() {
        for (bytes, then_end) in
            [(&b"\x00\x01"[..], false), (&b"no end of line"[..], true), (&b""[..], true), (&[b'a'; 513][..], false)]
        {
            let mut run = exchanges(Churn::Server, CLOSED, 1);
            let slot = run.begin(ms(0)).expect("a free slot");
            run.connected(slot, ms(1));
            let received = run.received(slot, bytes, ms(2));
            let result = if then_end { received.and_then(|_| run.ended(slot, ms(3))) } else { received };
            assert_eq!(result, Err(Corrupt::NotALine { connection: slot }));
        }
    }

    #[test]
    fn a_reset_ends_the_exchange_at_once() {
        let mut run = exchanges(Churn::Rst, CLOSED, 1);
        let slot = run.begin(ms(0)).expect("a free slot");
        run.connected(slot, ms(1));
        let message = ask(&mut run, slot, ms(1));
        assert_eq!(run.received(slot, &message, ms(2)), Ok(Step::Reset));
        assert_eq!(run.stage(slot), Stage::Free);
        assert_eq!((run.outcome().received, run.outcome().close.count()), (1, 0));
    }

    #[test]
    fn open_loop_exchanges_count_from_their_planned_syn() {
        let mut run = exchanges(Churn::Rst, Pace::Open { per_s: 100.0 }, 1);
        let slot = run.begin(ms(0)).expect("the first is due");
        run.connected(slot, ms(1));
        assert_eq!(run.next_due(), Instant::NEVER, "no slot is free");
        let message = ask(&mut run, slot, ms(1));
        assert_eq!(run.received(slot, &message, ms(30)), Ok(Step::Reset));
        assert_eq!(run.next_due(), ms(10));
        let slot = run.begin(ms(30)).expect("three are due by now");
        run.connected(slot, ms(31));
        let message = ask(&mut run, slot, ms(31));
        assert_eq!(run.received(slot, &message, ms(32)), Ok(Step::Reset));
        let outcome = run.finish(ms(2000));
        assert_eq!((outcome.sent, outcome.received, outcome.lost), (2, 2, 8), "eight were due and never begun");
        assert!(matches!(outcome.connect.quantile(1.0), Reading::Exact(ns) if ns > 20_900_000), "planned for 10 ms");
        assert_eq!(outcome.rtt.quantile(0.5), Reading::AtLeast(LOST_AFTER.as_nanos() as u64));
    }

    #[test]
    fn failures_are_lost_and_the_slot_is_free_again() {
        let mut run = exchanges(Churn::Client, CLOSED, 2);
        let first = run.begin(ms(0)).expect("a slot");
        run.failed(first, "refused");
        run.failed(first, "refused");
        let second = run.begin(ms(0)).expect("a slot");
        run.connected(second, ms(1));
        assert_eq!(run.ended(second, ms(2)), Ok(Step::Close), "closed before the answer");
        assert_eq!(
            (run.outcome().lost, run.outcome().drops.get("refused"), run.outcome().drops.get("closed_early")),
            (2, Some(&1), Some(&1))
        );
    }

    #[test]
    fn an_exchange_that_hangs_is_given_up() {
        let mut run = exchanges(Churn::Client, CLOSED, 200);
        let slot = run.begin(ms(0)).expect("a slot");
        assert_eq!((0..4).find_map(|_| run.overdue(ms(3000))), None);
        assert_eq!((0..4).find_map(|_| run.overdue(ms(3001))), Some(slot));
        assert!(!run.is_done(ms(50)) && !run.is_done(ms(500)) && run.is_done(ms(1100)));
        assert_eq!(run.finish(ms(1100)).lost, 1);
    }

    #[test]
    fn wrong_bytes_are_found() {
        let mut run = exchanges(Churn::Client, CLOSED, 1);
        let slot = run.begin(ms(0)).expect("a slot");
        run.connected(slot, ms(0));
        let mut message = ask(&mut run, slot, ms(0));
        message[3] ^= 1;
        assert!(matches!(run.received(slot, &message, ms(1)), Err(Corrupt::Byte { position: 3, .. })));
        assert!(matches!(run.received(slot, &[0; 65], ms(1)), Err(Corrupt::Unasked { .. })));
    }
}
