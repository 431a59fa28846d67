//! Byte streams over the engine: a service whose connections stay for the whole run.
//!
//! The connections are opened one after the other (so that connect_ns measures a handshake and not a queue), then the first
//! message is due; at the end they are half-closed one after the other, for the same reason.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::engine_client::{Command, Course, Due, EngineClient, Numbers, Report, cannot, pump};
use super::outcome::RunError;
use super::streams::Streams;
use crate::metrics::histogram::Recorder;
use crate::service::{Connection, Context, ResetReason, Service};
use crate::time::Instant;

/// The load service over TCP.
#[derive(Debug)]
pub struct TcpLoad {
    client: EngineClient,
    stage: Stage,
    streams: Streams,
    numbers: Numbers,
    connect: Recorder,
    close: Recorder,
    course: Course,
}

/// What the service is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The handshake of a connection is out.
    Connecting { number: u32, planned: Instant },
    /// Messages go to and fro.
    Running,
    /// One connection is half-closed, the later ones are still open.
    Closing { number: u32, since: Instant, begun: Instant },
}

/// A handshake that takes longer has failed.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long one peer may take to close its side.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// How long closing all connections may take together.
const CLOSE_ALL_WITHIN: Duration = Duration::from_secs(5);

impl TcpLoad {
    /// A service that carries out a checked TCP plan without churn, and where its report will come.
    pub fn new(client: EngineClient) -> (Self, Receiver<Report>) {
        let (course, receiver) = Course::new();
        let service = Self {
            stage: Stage::Connecting { number: 0, planned: Instant::NEVER },
            streams: Streams::new(&client.plan, Instant::ZERO, client.seed),
            numbers: Numbers::new(client.plan.connections),
            connect: Recorder::new(),
            close: Recorder::new(),
            course,
            client,
        };
        (service, receiver)
    }

    fn connect(&mut self, cx: &mut impl Context, number: u32) {
        self.stage = Stage::Connecting { number, planned: cx.now() };
        match self.client.connect(cx, number) {
            Ok(connection) => self.numbers.insert(number, connection),
            Err(error) => self.course.give_up(cx, cannot(self.client.connecting(number), error)),
        }
    }

    /// All connections stand: the first message is due.
    fn begin(&mut self, cx: &mut impl Context) {
        self.stage = Stage::Running;
        self.streams = Streams::new(&self.client.plan, cx.now(), self.client.seed);
        self.course.measure(&self.client, self.streams.schedule.window());
        self.course.turn(cx.now());
        self.send_due(cx);
    }

    fn send_due(&mut self, cx: &mut impl Context) {
        if self.stage != Stage::Running {
            return;
        }
        let now = cx.now();
        self.streams.schedule.turn();
        while let Some(number) = self.streams.schedule.ready(now) {
            self.pump(cx, number);
        }
        self.course.arm(cx, self.streams.schedule.next_due());
    }

    fn pump(&mut self, cx: &mut impl Context, number: u32) {
        if let Some(connection) = self.numbers.connection(number) {
            pump(cx, connection, &mut self.streams, number);
        }
    }

    fn end(&mut self, number: u32, cause: &str) {
        self.numbers.remove(number);
        self.streams.schedule.outcome_mut().count_drops(cause, 1);
        self.streams.schedule.ended(number);
    }

    fn housekeeping(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        match self.stage {
            Stage::Connecting { number, planned } if now.since(planned) > CONNECT_WITHIN => {
                if let Some(connection) = self.numbers.remove(number) {
                    cx.abort(connection);
                }
                let why = RunError::Failed(format!("{}: no answer", self.client.connecting(number)));
                return self.course.give_up(cx, why);
            }
            Stage::Connecting { .. } => {}
            Stage::Running => {
                self.course.publish(self.streams.schedule.outcome());
                if self.streams.schedule.is_done(now) {
                    self.close_from(cx, 0, now);
                } else {
                    self.send_due(cx);
                }
            }
            Stage::Closing { number, since, begun } if now.since(since) > CLOSE_WITHIN => {
                self.close.add_unanswered(1);
                if let Some(connection) = self.numbers.remove(number) {
                    cx.abort(connection);
                }
                self.close_from(cx, number + 1, begun);
            }
            Stage::Closing { .. } => {}
        }
        self.course.housekeeping(cx);
    }

    /// Half-closes the next connection that stands; after the last, the run is over.
    fn close_from(&mut self, cx: &mut impl Context, first: u32, begun: Instant) {
        let now = cx.now();
        let next = (first..self.client.plan.connections).find_map(|number| Some((number, self.numbers.connection(number)?)));
        match next {
            Some((number, connection)) if now.since(begun) <= CLOSE_ALL_WITHIN => {
                self.stage = Stage::Closing { number, since: now, begun };
                cx.close(connection);
            }
            _ => self.conclude(cx),
        }
    }

    fn conclude(&mut self, cx: &mut impl Context) {
        self.report();
        cx.stop();
    }

    fn report(&mut self) {
        if self.course.is_over() {
            return;
        }
        if matches!(self.stage, Stage::Connecting { .. }) {
            return self.course.fail(RunError::Failed("stopped before the first message".into()));
        }
        let empty = Streams::new(&super::plan::Plan { connections: 1, ..self.client.plan.clone() }, Instant::ZERO, 0);
        let mut outcome = std::mem::replace(&mut self.streams, empty).schedule.finish(self.course.now);
        outcome.connect.merge(&self.connect);
        outcome.close.merge(&self.close);
        self.course.succeed(outcome);
    }
}

impl Service for TcpLoad {
    type Message = Command;

    fn start(&mut self, cx: &mut impl Context) {
        self.course.turn(cx.now());
        self.connect(cx, 0);
        self.course.housekeeping(cx);
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.course.turn(cx.now());
        let Stage::Connecting { number, planned } = self.stage else { return };
        if self.numbers.of(connection) != Some(number) || self.course.is_over() {
            return;
        }
        self.connect.record(cx.now().ns_since(planned));
        if number + 1 < self.client.plan.connections {
            self.connect(cx, number + 1);
        } else {
            self.begin(cx);
        }
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        self.course.turn(cx.now());
        let Some(number) = self.numbers.of(connection).filter(|_| !self.course.is_over()) else { return bytes.len() };
        match self.streams.received(number, bytes, cx.now()) {
            Ok(()) if self.stage == Stage::Running => self.pump(cx, number),
            Ok(()) => {}
            Err(corrupt) => {
                self.streams.schedule.outcome_mut().count_corrupt(corrupt);
                self.end(number, "aborted_after_wrong_bytes");
                cx.abort(connection);
            }
        }
        bytes.len()
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        self.course.turn(cx.now());
        if let Some(number) = self.numbers.of(connection).filter(|_| self.stage == Stage::Running) {
            self.pump(cx, number);
        }
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        self.course.turn(cx.now());
        let Some(number) = self.numbers.of(connection).filter(|_| !self.course.is_over()) else { return cx.close(connection) };
        match self.stage {
            Stage::Closing { number: current, since, begun } if current == number => {
                self.close.record(cx.now().ns_since(since));
                self.numbers.remove(number);
                self.close_from(cx, number + 1, begun);
            }
            _ => {
                self.end(number, "closed_early");
                cx.close(connection);
            }
        }
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        self.course.turn(cx.now());
        let Some(number) = self.numbers.of(connection).filter(|_| !self.course.is_over()) else { return };
        match self.stage {
            Stage::Connecting { .. } => {
                let why = RunError::Failed(format!("{}: {}", self.client.connecting(number), why.name()));
                self.course.give_up(cx, why);
            }
            stage => {
                self.end(number, why.name());
                if let Stage::Closing { number: current, begun, .. } = stage
                    && current == number
                {
                    self.close_from(cx, number + 1, begun);
                }
            }
        }
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        match self.course.expired(cx.now(), token) {
            Due::Messages => self.send_due(cx),
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

impl Drop for TcpLoad {
    fn drop(&mut self) {
        self.report();
    }
}

#[cfg(test)]
mod tests;
