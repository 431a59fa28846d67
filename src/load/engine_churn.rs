//! Connections that come and go over the engine: a service that connects, exchanges once and closes, again and again.
//!
//! Run by `ringway load --churn` on an engine of its own; the books are those of [`super::exchanges`], shared with kernel sockets. What a
//! server sends is checked, never trusted; nothing here panics on it.

use std::sync::mpsc::Receiver;

use super::engine_client::{Command, Course, Due, EngineClient, Numbers, RETRY, Report, cannot};
use super::exchanges::{Exchanges, Step};
use super::outcome::RunError;
use super::pattern::Corrupt;
use super::plan::Churn;
use crate::service::{CallError, Connection, Context, ResetReason, Service};
use crate::time::Instant;

/// The churning load service.
#[derive(Debug)]
pub struct ChurnLoad {
    client: EngineClient,
    kind: Churn,
    exchanges: Option<Exchanges>,
    numbers: Numbers,
    course: Course,
}

impl ChurnLoad {
    /// A service that carries out a checked TCP plan with churn of this kind, and where its report will come.
    pub fn new(client: EngineClient, kind: Churn) -> (Self, Receiver<Report>) {
        let (course, receiver) = Course::new();
        let numbers = Numbers::new(client.plan.connections);
        (Self { client, kind, exchanges: None, numbers, course }, receiver)
    }

    /// Begins the exchanges that are due: each slot once at most, so that refusals cannot hold the turn.
    fn begin_due(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        let Some(exchanges) = &mut self.exchanges else { return };
        for _ in 0..self.client.plan.connections {
            let Some(slot) = exchanges.begin(now) else { break };
            match self.client.connect(cx, slot) {
                Ok(connection) => self.numbers.insert(slot, connection),
                Err(CallError::WouldBlock) => exchanges.failed(slot, "no_frame"),
                Err(error) => {
                    let why = cannot(format!("cannot connect to {}", self.client.plan.target), error);
                    return self.course.give_up(cx, why);
                }
            }
        }
        let due = exchanges.next_due();
        // A closed loop is always due: it goes on when a slot is free, at the latest with the next turn.
        let wanted = if due <= now { now + RETRY } else { due };
        self.course.arm(cx, wanted);
    }

    fn pump(&mut self, cx: &mut impl Context, slot: u32) {
        let (Some(exchanges), Some(connection)) = (&mut self.exchanges, self.numbers.connection(slot)) else { return };
        let now = cx.now();
        while let Some(chunk) = exchanges.chunk(slot) {
            let len = chunk.len();
            let taken = cx.send(connection, chunk);
            exchanges.wrote(slot, taken, now);
            if taken < len {
                return;
            }
        }
    }

    /// Does what the books say is next for a connection.
    fn step(&mut self, cx: &mut impl Context, slot: u32, step: Result<Step, Corrupt>) {
        match step {
            Ok(Step::Wait) => {}
            Ok(Step::HalfClose) => {
                if let Some(connection) = self.numbers.connection(slot) {
                    cx.close(connection);
                }
            }
            Ok(Step::Reset) => {
                if let Some(connection) = self.numbers.remove(slot) {
                    cx.abort(connection);
                }
                self.begin_due(cx);
            }
            Ok(Step::Close) => {
                if let Some(connection) = self.numbers.remove(slot) {
                    cx.close(connection);
                }
                self.begin_due(cx);
            }
            Err(corrupt) => {
                if let Some(exchanges) = &mut self.exchanges {
                    exchanges.outcome_mut().count_corrupt(corrupt);
                }
                self.abort(cx, slot, "aborted_after_wrong_bytes");
                self.begin_due(cx);
            }
        }
    }

    fn abort(&mut self, cx: &mut impl Context, slot: u32, cause: &str) {
        if let Some(connection) = self.numbers.remove(slot) {
            cx.abort(connection);
        }
        if let Some(exchanges) = &mut self.exchanges {
            exchanges.failed(slot, cause);
        }
    }

    fn housekeeping(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        while let Some(slot) = self.exchanges.as_mut().and_then(|exchanges| exchanges.overdue(now)) {
            self.abort(cx, slot, "timed_out");
        }
        if let Some(exchanges) = &self.exchanges {
            self.course.publish(exchanges.outcome());
            if exchanges.is_done(now) {
                return self.conclude(cx);
            }
        }
        self.begin_due(cx);
        self.course.housekeeping(cx);
    }

    fn conclude(&mut self, cx: &mut impl Context) {
        self.report();
        cx.stop();
    }

    fn report(&mut self) {
        match self.exchanges.take() {
            Some(exchanges) => self.course.succeed(exchanges.finish(self.course.now)),
            None => self.course.fail(RunError::Failed("stopped before the first connection".into())),
        }
    }

    /// The slot of a connection of this run, while it goes on.
    fn slot(&mut self, now: Instant, connection: Connection) -> Option<u32> {
        self.course.turn(now);
        self.numbers.of(connection).filter(|_| !self.course.is_over())
    }
}

impl Service for ChurnLoad {
    type Message = Command;

    fn start(&mut self, cx: &mut impl Context) {
        let exchanges = Exchanges::new(&self.client.plan, self.kind, cx.now(), self.client.seed);
        self.course.measure(&self.client, exchanges.window());
        self.exchanges = Some(exchanges);
        self.course.turn(cx.now());
        self.housekeeping(cx);
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(slot) = self.slot(cx.now(), connection) else { return };
        if let Some(exchanges) = &mut self.exchanges {
            exchanges.connected(slot, cx.now());
        }
        self.pump(cx, slot);
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        if let Some(slot) = self.slot(cx.now(), connection)
            && let Some(exchanges) = &mut self.exchanges
        {
            let step = exchanges.received(slot, bytes, cx.now());
            self.step(cx, slot, step);
        }
        bytes.len()
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        if let Some(slot) = self.slot(cx.now(), connection) {
            self.pump(cx, slot);
        }
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        match (self.slot(cx.now(), connection), &mut self.exchanges) {
            (Some(slot), Some(exchanges)) => {
                let step = exchanges.ended(slot, cx.now());
                self.step(cx, slot, step);
            }
            _ => cx.close(connection),
        }
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        let Some(slot) = self.slot(cx.now(), connection) else { return };
        self.numbers.remove(slot);
        if let Some(exchanges) = &mut self.exchanges {
            exchanges.failed(slot, why.name());
        }
        self.begin_due(cx);
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        match self.course.expired(cx.now(), token) {
            Due::Messages => self.begin_due(cx),
            Due::Housekeeping => self.housekeeping(cx),
            Due::Nothing => {}
        }
    }

    fn message(&mut self, cx: &mut impl Context, message: Command) {
        match message {
            Command::Stop => self.conclude(cx),
        }
    }
}

impl Drop for ChurnLoad {
    fn drop(&mut self) {
        self.report();
    }
}

#[cfg(test)]
mod tests;
