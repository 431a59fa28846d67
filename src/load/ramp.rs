//! Connections that are opened at a set rate, held, and closed: the bookkeeping of `--ramp`.
//!
//! The first connection opens alone, so that the neighbour is known before the rate begins. Connection `k` is due at `start + k / rate`, whether the
//! earlier ones are established or not, and how long it took counts from then. A handshake that takes 10 s is given up; nothing is tried twice. At the
//! end all are closed in order, so many at once.
//!
//! Called by [`super::engine_ramp`]. Pure: time is an argument; no allocation after [`Books::new`]; nothing here panics on what a server does.

use std::time::Duration;

use super::plan::{Plan, Ramp};
use super::schedule::planned;
use crate::metrics::histogram::Recorder;
use crate::metrics::row;
use crate::time::Instant;

/// A handshake that takes longer has failed.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A close that takes longer has failed.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(3);
/// Closes that are out at once.
pub const CLOSES_AT_ONCE: u32 = 1024;
/// Windows of the report; the last one takes what comes after it.
const WINDOWS: usize = 96;
/// Windows that the planned time of a ramp has at most.
const PLANNED_WINDOWS: f64 = 64.0;
/// The lengths that a window may have.
const WINDOW_LENGTHS: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// Why a connection is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A RST answered the SYN.
    Refused,
    /// A RST came later.
    Reset,
    /// Nothing answered in time.
    TimedOut,
    /// The server closed before it was asked to.
    ClosedEarly,
    /// Anything else: no route, wrong bytes, no frame to send.
    Other,
}

/// The connections of a ramp.
#[derive(Debug)]
pub struct Books {
    per_s: f64,
    active: u64,
    /// When the second connection would be due, less one interval; `None` until the first one has its answer.
    start: Option<Instant>,
    connections: Vec<Entry>,
    /// Connections before this one are begun.
    begun: u32,
    /// Every earlier one has left the stage that [`Books::overdue`] looks at.
    oldest: u32,
    connecting: u32,
    open: u32,
    closing: u32,
    /// Closes of the connections before this one are begun.
    close_next: u32,
    window: Duration,
    windows: [u64; WINDOWS],
    opened: u64,
    lost: [u64; 5],
    /// When the last handshake was over.
    settled: Instant,
    connect: Recorder,
    close: Recorder,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When the stage began.
    since: Instant,
    stage: Stage,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Planned,
    Connecting,
    Open,
    Closing,
    Over,
}

impl Books {
    /// The books of a checked plan.
    pub fn new(plan: &Plan, ramp: Ramp) -> Self {
        let span = f64::from(plan.connections) / ramp.per_s;
        let short = |length: &&Duration| span <= length.as_secs_f64() * PLANNED_WINDOWS;
        Self {
            per_s: ramp.per_s,
            active: u64::from(plan.talking()),
            start: None,
            connections: vec![Entry { since: Instant::NEVER, stage: Stage::Planned }; plan.connections as usize],
            begun: 0,
            oldest: 0,
            connecting: 0,
            open: 0,
            closing: 0,
            close_next: 0,
            window: *WINDOW_LENGTHS.iter().find(short).unwrap_or(&Duration::from_secs(600)),
            windows: [0; WINDOWS],
            opened: 0,
            lost: [0; 5],
            settled: Instant::ZERO,
            connect: Recorder::new(),
            close: Recorder::new(),
        }
    }

    /// When the next connection is due; [`Instant::NEVER`] after the last, and while the first one is on its way.
    pub fn next_due(&self) -> Instant {
        match self.start {
            None if self.begun == 0 => Instant::ZERO,
            Some(_) if (self.begun as usize) < self.connections.len() => self.due_of(self.begun, Instant::NEVER),
            _ => Instant::NEVER,
        }
    }

    /// Begins the next connection that is due and returns its number: connect it now.
    pub fn begin(&mut self, now: Instant) -> Option<u32> {
        if self.next_due() > now {
            return None;
        }
        let number = self.begun;
        self.begun += 1;
        self.connecting += 1;
        self.enter(number, Stage::Connecting, now);
        Some(number)
    }

    /// The handshake of a connection is complete.
    pub fn connected(&mut self, number: u32, now: Instant) {
        let Some(entry) = self.at(number, Stage::Connecting) else { return };
        let due = self.due_of(number, entry.since);
        self.connect.record(now.ns_since(due));
        self.settle(now);
        let since_start = self.start.map_or(0, |start| now.ns_since(start));
        let nth = (since_start / crate::time::span_ns(self.window)) as usize;
        self.windows[nth.min(WINDOWS - 1)] += 1;
        self.opened += 1;
        self.open += 1;
        self.enter(number, Stage::Open, now);
    }

    /// A connection ended otherwise than by [`Books::close_next`], or could not be made.
    pub fn lose(&mut self, number: u32, why: Lost, now: Instant) {
        let Some(entry) = self.connections.get(number as usize) else { return };
        match entry.stage {
            Stage::Connecting => {
                self.connect.add_unanswered(1);
                self.settle(now);
            }
            Stage::Open => self.open -= 1,
            // What happens while all are closed is no loss of the run.
            Stage::Closing => {
                self.close.add_unanswered(1);
                self.closing -= 1;
                return self.enter(number, Stage::Over, now);
            }
            Stage::Planned | Stage::Over => return,
        }
        self.lost[why as usize] += 1;
        self.enter(number, Stage::Over, now);
    }

    /// A connection whose handshake, or close, should have been over long ago: abort it and report [`Books::lose`].
    pub fn overdue(&mut self, now: Instant) -> Option<u32> {
        // While they are closed, those that have yet to be asked are not passed over.
        let end = if self.close_next > 0 { self.close_next } else { self.begun };
        while self.oldest < end {
            let entry = self.connections[self.oldest as usize];
            let patience = match entry.stage {
                Stage::Connecting => CONNECT_WITHIN,
                Stage::Closing => CLOSE_WITHIN,
                // Closes begin after the last handshake is over, and with the first connection: the look begins anew with them.
                Stage::Planned | Stage::Open | Stage::Over => {
                    self.oldest += 1;
                    continue;
                }
            };
            return (now.since(entry.since) > patience).then_some(self.oldest);
        }
        None
    }

    /// True when every connection was begun and its handshake is over.
    pub const fn is_settled(&self) -> bool {
        self.begun as usize == self.connections.len() && self.connecting == 0
    }

    /// Connections that are open now.
    pub const fn open(&self) -> u32 {
        self.open
    }

    /// The numbers of the open connections.
    pub fn open_numbers(&self) -> impl Iterator<Item = u32> {
        (0..self.begun).filter(|&number| self.connections[number as usize].stage == Stage::Open)
    }

    /// True while a connection is open.
    pub fn is_open(&self, number: u32) -> bool {
        self.at(number, Stage::Open).is_some()
    }

    /// What is reported of the ramp; to be asked before the connections are closed.
    pub fn summary(&self) -> row::Ramp {
        let lost = |why: Lost| self.lost[why as usize];
        let used = self.windows.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        let window_s = self.window.as_secs_f64();
        row::Ramp {
            offered_per_s: self.per_s,
            opened: self.opened,
            refused: lost(Lost::Refused),
            reset: lost(Lost::Reset),
            timed_out: lost(Lost::TimedOut),
            closed_early: lost(Lost::ClosedEarly),
            other: lost(Lost::Other),
            open: self.open.into(),
            active: self.active,
            seconds: self.start.map_or(0.0, |start| self.settled.since(start).as_secs_f64()),
            window_s,
            opened_per_s: self.windows[..used].iter().map(|&count| count as f64 / window_s).collect(),
        }
    }

    /// Begins to close the next open connection and returns its number; `None` while enough closes are out, and after the last.
    pub fn close_next(&mut self, now: Instant) -> Option<u32> {
        if self.close_next == 0 {
            self.oldest = 0;
        }
        while self.closing < CLOSES_AT_ONCE && self.close_next < self.begun {
            let number = self.close_next;
            self.close_next += 1;
            if self.is_open(number) {
                self.open -= 1;
                self.closing += 1;
                self.enter(number, Stage::Closing, now);
                return Some(number);
            }
        }
        None
    }

    /// The end of the peer's stream came. True when the connection was closing and is over in order.
    pub fn closed(&mut self, number: u32, now: Instant) -> bool {
        let Some(entry) = self.at(number, Stage::Closing) else { return false };
        self.close.record(now.ns_since(entry.since));
        self.closing -= 1;
        self.enter(number, Stage::Over, now);
        true
    }

    /// True when every connection was asked to close and has.
    pub const fn all_closed(&self) -> bool {
        self.open == 0 && self.closing == 0
    }

    /// Handshakes from when they were due, and closes.
    pub const fn recorders(&self) -> (&Recorder, &Recorder) {
        (&self.connect, &self.close)
    }

    fn at(&self, number: u32, stage: Stage) -> Option<Entry> {
        self.connections.get(number as usize).copied().filter(|entry| entry.stage == stage)
    }

    fn enter(&mut self, number: u32, stage: Stage, now: Instant) {
        self.connections[number as usize] = Entry { since: now, stage };
    }

    /// One handshake fewer is out; after the first the rate begins.
    fn settle(&mut self, now: Instant) {
        self.connecting -= 1;
        self.settled = now;
        self.start.get_or_insert(now);
    }

    /// When a connection was due; the first one has no other time than that of its beginning.
    fn due_of(&self, number: u32, begun: Instant) -> Instant {
        match self.start {
            Some(start) if number > 0 => planned(start, number.into(), self.per_s),
            _ => begun,
        }
    }
}

#[cfg(test)]
mod tests;
