//! What is due, what was sent, what came back: the bookkeeping of a load run, the same for every stack.
//!
//! Open loop: message `k` of the run is due at `start + k / rate` and belongs to connection `k % connections`; when its
//! connection cannot take it, it stays due, and its latency counts from then (no coordinated omission). Closed loop: a
//! connection has `in_flight` unanswered messages, and the next is due when an answer has come. Messages have a number on their
//! connection, counted from 0. One without an answer a second after its due time is lost; an answer after that is late.
//!
//! Called by [`super::streams`] and [`super::datagrams`]. Pure: time is an argument. All tables are allocated in
//! [`Schedule::new`]; nothing here panics on what a server answers.

use std::collections::VecDeque;
use std::time::Duration;

use super::outcome::{Outcome, Window};
use super::plan::{Carrier, Pace, Plan};
use crate::metrics::histogram::LOST_AFTER_NS;
use crate::time::Instant;

/// A message without an answer for so long after its due time is lost.
pub const LOST_AFTER: Duration = Duration::from_nanos(LOST_AFTER_NS);
/// Messages that all connections together can have under observation; 16 bytes each.
pub const MESSAGES_IN_FLIGHT: usize = 1 << 22;
/// Connections that one call of [`Schedule::expire`] looks at.
const SWEEP: u32 = 16;
/// Lost messages remembered after their place in the table was needed again, to tell a late answer from a duplicate.
const GRAVEYARD: usize = 1024;

/// The messages of a run.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    /// Messages per second of an open loop; 0 in a closed one.
    per_s: f64,
    /// Answers cannot be lost on the way: a missing one is waited for, and the order is known.
    reliable: bool,
    window: Window,
    flows: Vec<Flow>,
    /// A ring of `capacity` entries for each connection.
    entries: Vec<Entry>,
    capacity: u64,
    /// Open loop: the next message of the whole run.
    cursor: u64,
    deferred: VecDeque<u32>,
    round: usize,
    sweep: u32,
    waiting: u64,
    graveyard: VecDeque<(u32, u64, Instant)>,
    outcome: Outcome,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// Number of the next message to send.
    next: u64,
    /// Every earlier message is settled.
    oldest: u64,
    waiting: u32,
    alive: bool,
    deferred: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: Instant,
    state: EntryState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    Settled,
    Waiting,
    Lost,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number on its connection.
    pub sequence: u64,
    /// When it was due; in a closed loop, now.
    pub due: Instant,
}

/// What an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The first answer, in time.
    InTime,
    /// The first answer, more than a second after the due time.
    Late,
    /// An answer to a message that was answered before.
    Duplicate,
    /// An answer to a message that was never sent.
    Unasked,
}

impl Schedule {
    /// The schedule of a checked plan whose first message is due at `start`.
    pub fn new(plan: &Plan, start: Instant) -> Self {
        let connections = plan.connections.max(1);
        let (per_s, wanted) = match plan.pace {
            Pace::Open { per_s } => (per_s, per_s / f64::from(connections) * 2.0 + 64.0),
            Pace::Closed { in_flight } => (0.0, (f64::from(in_flight) * 4.0).max(64.0)),
        };
        let most = (MESSAGES_IN_FLIGHT as u64 / u64::from(connections)).min(plan.numbers_in_a_message()).max(1);
        let capacity = (wanted as u64).clamp(1, most);
        let flow = Flow { next: 0, oldest: 0, waiting: 0, alive: true, deferred: matches!(plan.pace, Pace::Closed { .. }) };
        let mut deferred = VecDeque::with_capacity(connections as usize);
        if flow.deferred {
            deferred.extend(0..connections);
        }
        Self {
            pace: plan.pace,
            per_s,
            reliable: plan.carrier == Carrier::Tcp,
            window: Window::new(plan, start),
            flows: vec![flow; connections as usize],
            entries: vec![
                Entry { sent: Instant::ZERO, state: EntryState::Settled };
                (capacity * u64::from(connections)) as usize
            ],
            capacity,
            cursor: 0,
            deferred,
            round: 0,
            sweep: 0,
            waiting: 0,
            graveyard: VecDeque::with_capacity(GRAVEYARD),
            outcome: Outcome::default(),
        }
    }

    /// The measured part of the run.
    pub const fn window(&self) -> Window {
        self.window
    }

    /// When the next message of an open loop is due; [`Instant::NEVER`] when none is, and in a closed loop.
    pub fn next_due(&self) -> Instant {
        match self.pace {
            Pace::Open { .. } => Some(self.due_of(self.cursor)).filter(|&due| due < self.window.until).unwrap_or(Instant::NEVER),
            Pace::Closed { .. } => Instant::NEVER,
        }
    }

    /// Begins a turn: [`Schedule::ready`] will offer each connection at most once for having been deferred.
    pub fn turn(&mut self) {
        self.round = self.deferred.len();
    }

    /// A connection that may have something to send now ([`Schedule::due`] tells); `None` when this turn has no more.
    pub fn ready(&mut self, now: Instant) -> Option<u32> {
        if self.round > 0 {
            self.round -= 1;
            let connection = self.deferred.pop_front()?;
            self.flows[connection as usize].deferred = false;
            return Some(connection);
        }
        if self.next_due() > now {
            return None;
        }
        let connection = (self.cursor % self.flows.len() as u64) as u32;
        self.cursor += 1;
        Some(connection)
    }

    /// Puts a connection back that could not send: the next turn offers it again.
    pub fn defer(&mut self, connection: u32) {
        let Some(flow) = self.flows.get_mut(connection as usize) else { return };
        if !flow.deferred && flow.alive {
            flow.deferred = true;
            self.deferred.push_back(connection);
        }
    }

    /// True when connections wait for the next turn.
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// The next message of a connection, if it is due and there is room to watch it.
    pub fn due(&self, connection: u32, now: Instant) -> Option<Message> {
        let flow = self.flows.get(connection as usize).filter(|flow| flow.alive)?;
        if flow.next - flow.oldest >= self.capacity {
            return None;
        }
        let due = match self.pace {
            Pace::Closed { in_flight } if flow.waiting < in_flight => now,
            Pace::Closed { .. } => return None,
            Pace::Open { .. } => self.due_on(connection, flow.next),
        };
        (due <= now && due < self.window.until).then_some(Message { sequence: flow.next, due })
    }

    /// The message that [`Schedule::due`] named left at `now`.
    pub fn sent(&mut self, connection: u32, now: Instant) {
        let sequence = self.flows[connection as usize].next;
        let at = self.place(connection, sequence);
        if self.entries[at].state == EntryState::Lost {
            let old = sequence - self.capacity;
            let due = self.due_of_entry(connection, old, self.entries[at]);
            if self.graveyard.len() == GRAVEYARD {
                self.graveyard.pop_front();
            }
            self.graveyard.push_back((connection, old, due));
        }
        self.entries[at] = Entry { sent: now, state: EntryState::Waiting };
        let due = self.due_of_entry(connection, sequence, self.entries[at]);
        let flow = &mut self.flows[connection as usize];
        flow.next += 1;
        flow.waiting += 1;
        self.waiting += 1;
        self.outcome.sent += u64::from(self.window.counts(due));
    }

    /// An answer to a message came. After it the connection may have something to send.
    pub fn answered(&mut self, connection: u32, sequence: u64, now: Instant) -> Answered {
        let Some(flow) = self.flows.get(connection as usize) else { return Answered::Unasked };
        if sequence >= flow.next {
            return Answered::Unasked;
        }
        if flow.next - sequence > self.capacity {
            return self.answered_long_ago(connection, sequence, now);
        }
        let at = self.place(connection, sequence);
        let entry = self.entries[at];
        let due = self.due_of_entry(connection, sequence, entry);
        let late = now.since(due) > LOST_AFTER;
        let counts = self.window.counts(due);
        match entry.state {
            EntryState::Settled => {
                self.outcome.duplicated += u64::from(counts);
                return Answered::Duplicate;
            }
            EntryState::Waiting => {
                self.entries[at].state = EntryState::Settled;
                self.settle(connection);
                self.outcome.received += u64::from(counts && !late);
                self.outcome.lost += u64::from(counts && late);
            }
            EntryState::Lost => self.entries[at].state = EntryState::Settled,
        }
        if counts {
            self.outcome.late += u64::from(late);
            self.record(due, Some(entry.sent), now);
        }
        if late { Answered::Late } else { Answered::InTime }
    }

    /// The oldest unanswered message of a connection whose answers come in order.
    pub fn oldest(&self, connection: u32) -> Option<u64> {
        self.flows.get(connection as usize).filter(|flow| flow.oldest < flow.next).map(|flow| flow.oldest)
    }

    /// The number of the next message of a connection: every number below it was sent.
    pub fn next_sequence(&self, connection: u32) -> u64 {
        self.flows.get(connection as usize).map_or(0, |flow| flow.next)
    }

    /// Unanswered messages of a connection that are not yet lost.
    pub fn in_flight(&self, connection: u32) -> u32 {
        self.flows.get(connection as usize).map_or(0, |flow| flow.waiting)
    }

    /// Declares lost what was due more than a second ago, on a few connections per call, so that it costs little each turn.
    /// On a reliable carrier nothing is given up: the answer still comes, or the connection ends.
    pub fn expire(&mut self, now: Instant) {
        if self.reliable {
            return;
        }
        let connections = self.flows.len() as u32;
        for _ in 0..SWEEP.min(connections) {
            let connection = self.sweep;
            self.sweep = (self.sweep + 1) % connections;
            self.expire_connection(connection, now);
        }
    }

    /// A connection ended: what it had in flight is lost, and nothing more is due on it.
    pub fn ended(&mut self, connection: u32) {
        let Some(flow) = self.flows.get_mut(connection as usize) else { return };
        flow.alive = false;
        let (oldest, next) = (flow.oldest, flow.next);
        for sequence in oldest..next {
            self.lose(connection, sequence);
        }
    }

    /// True when nothing more is due and everything is answered or lost.
    pub fn is_done(&self, now: Instant) -> bool {
        if now < self.window.until {
            return self.flows.iter().all(|flow| !flow.alive);
        }
        now >= self.window.drained() || (self.waiting == 0 && self.unsent_connections(now) == 0)
    }

    /// Counts so far.
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The same, to add to.
    pub const fn outcome_mut(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// Ends the run: what was due more than a second ago and has no answer is lost, sent or not. What is younger (the run was
    /// stopped) counts as never sent.
    pub fn finish(mut self, now: Instant) -> Outcome {
        let mut never_sent = 0;
        for connection in 0..self.flows.len() as u32 {
            let flow = self.flows[connection as usize];
            for sequence in flow.oldest..flow.next {
                let entry = self.entries[self.place(connection, sequence)];
                let due = self.due_of_entry(connection, sequence, entry);
                if entry.state != EntryState::Waiting || !self.window.counts(due) {
                    continue;
                }
                if now.since(due) >= LOST_AFTER {
                    self.outcome.lost += 1;
                } else {
                    self.outcome.sent -= 1;
                }
            }
            never_sent += self.due_and_unsent(connection, now);
        }
        self.outcome.lost += never_sent;
        let unknown = self.outcome.lost.saturating_sub(self.outcome.late);
        if matches!(self.pace, Pace::Open { .. }) {
            self.outcome.rtt.add_unanswered(unknown);
        }
        self.outcome.rtt_uncorrected.add_unanswered(unknown.saturating_sub(never_sent));
        self.outcome.measured = self.window.measured(now);
        self.outcome
    }

    fn expire_connection(&mut self, connection: u32, now: Instant) {
        let flow = self.flows[connection as usize];
        let mut lost_some = false;
        for sequence in flow.oldest..flow.next {
            let entry = self.entries[self.place(connection, sequence)];
            if now.since(self.due_of_entry(connection, sequence, entry)) <= LOST_AFTER {
                break;
            }
            lost_some |= self.lose(connection, sequence);
        }
        if lost_some {
            self.defer(connection);
        }
    }

    fn lose(&mut self, connection: u32, sequence: u64) -> bool {
        let at = self.place(connection, sequence);
        if self.entries[at].state != EntryState::Waiting {
            return false;
        }
        self.entries[at].state = EntryState::Lost;
        let due = self.due_of_entry(connection, sequence, self.entries[at]);
        self.outcome.lost += u64::from(self.window.counts(due));
        self.settle(connection);
        true
    }

    fn answered_long_ago(&mut self, connection: u32, sequence: u64, now: Instant) -> Answered {
        let Some(at) = self.graveyard.iter().position(|&(c, s, _)| (c, s) == (connection, sequence)) else {
            self.outcome.duplicated += 1;
            return Answered::Duplicate;
        };
        if let Some((_, _, due)) = self.graveyard.remove(at).filter(|&(_, _, due)| self.window.counts(due)) {
            self.outcome.late += 1;
            self.record(due, None, now);
        }
        Answered::Late
    }

    fn record(&mut self, due: Instant, sent: Option<Instant>, now: Instant) {
        if matches!(self.pace, Pace::Open { .. }) {
            self.outcome.rtt.record(now.ns_since(due));
        }
        // The send time of a message of long ago is gone; in a closed loop it was its due time.
        self.outcome.rtt_uncorrected.record(now.ns_since(sent.unwrap_or(due)));
    }

    /// One message of a connection is no longer waited for.
    fn settle(&mut self, connection: u32) {
        self.waiting -= 1;
        let mut flow = self.flows[connection as usize];
        flow.waiting -= 1;
        while flow.oldest < flow.next && self.entries[self.place(connection, flow.oldest)].state != EntryState::Waiting {
            flow.oldest += 1;
        }
        self.flows[connection as usize] = flow;
    }

    fn place(&self, connection: u32, sequence: u64) -> usize {
        (u64::from(connection) * self.capacity + sequence % self.capacity) as usize
    }

    fn due_of(&self, index: u64) -> Instant {
        planned(self.window.start, index, self.per_s)
    }

    fn due_on(&self, connection: u32, sequence: u64) -> Instant {
        self.due_of(sequence.saturating_mul(self.flows.len() as u64).saturating_add(u64::from(connection)))
    }

    fn due_of_entry(&self, connection: u32, sequence: u64, entry: Entry) -> Instant {
        match self.pace {
            Pace::Open { .. } => self.due_on(connection, sequence),
            Pace::Closed { .. } => entry.sent,
        }
    }

    fn unsent_connections(&self, now: Instant) -> usize {
        let until = self.window.until.min(now);
        let due = |(c, flow): &(usize, &Flow)| flow.alive && self.due_on(*c as u32, flow.next) < until;
        if self.per_s == 0.0 { 0 } else { self.flows.iter().enumerate().filter(due).count() }
    }

    /// Messages that counted, were due more than a second ago and never sent.
    fn due_and_unsent(&self, connection: u32, now: Instant) -> u64 {
        if self.per_s == 0.0 {
            return 0;
        }
        let mut unsent = 0;
        let mut sequence = self.flows[connection as usize].next;
        loop {
            let due = self.due_on(connection, sequence);
            if due >= self.window.until || now.since(due) < LOST_AFTER {
                return unsent;
            }
            unsent += u64::from(self.window.counts(due));
            sequence += 1;
        }
    }
}

/// When number `index` is due at a rate: multiplied before it is divided, so that whole nanoseconds come out whole.
pub(super) fn planned(start: Instant, index: u64, per_s: f64) -> Instant {
    Instant::from_ns(start.as_ns().saturating_add((index as f64 * 1e9 / per_s) as u64))
}

#[cfg(test)]
mod tests;
