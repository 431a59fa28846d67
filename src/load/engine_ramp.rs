//! A great many connections over the engine: a service that opens them at a set rate, holds them, has some of them talk, and closes all.
//!
//! Run by `ringway load --ramp` on an engine of its own; the books are those of [`super::ramp`], and of [`super::streams`] for the connections that talk.
//! What a server sends is checked, never trusted; nothing here panics on it.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use super::engine_client::{Command, Course, Due, EngineClient, Numbers, RETRY, Report, cannot, pump};
use super::outcome::{Outcome, Window};
use super::plan::{Plan, Ramp};
use super::ramp::{Books, Lost};
use super::streams::Streams;
use crate::limits;
use crate::service::{CallError, Connection, Context, ResetReason, Service};
use crate::time::Instant;

/// The ramping load service.
#[derive(Debug)]
pub struct RampLoad {
    client: EngineClient,
    stage: Stage,
    books: Books,
    numbers: Numbers,
    /// While the connections are held.
    talk: Option<Talk>,
    outcome: Outcome,
    course: Course,
}

/// What the service is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Connections are opened.
    Ramping,
    /// They are held, and some of them talk.
    Holding(Window),
    /// They are closed.
    Closing,
}

/// The connections that talk.
#[derive(Debug)]
struct Talk {
    streams: Streams,
    /// The number of the connection of each stream.
    numbers: Vec<u32>,
    /// The stream of each connection.
    streams_of: Vec<u32>,
}

/// A connection that does not talk.
const SILENT: u32 = u32::MAX;

impl Talk {
    /// So many of the open connections, spread over them.
    fn new(plan: &Plan, open: &[u32], now: Instant, seed: u64) -> Option<Self> {
        let count = (plan.talking() as usize).min(open.len());
        if count == 0 {
            return None;
        }
        let numbers: Vec<u32> = (0..count).map(|stream| open[stream * open.len() / count]).collect();
        let mut streams_of = vec![SILENT; plan.connections as usize];
        for (stream, &number) in numbers.iter().enumerate() {
            streams_of[number as usize] = stream as u32;
        }
        let plan = Plan { connections: count as u32, ..plan.clone() };
        Some(Self { streams: Streams::new(&plan, now, seed), numbers, streams_of })
    }

    fn stream_of(&self, number: u32) -> Option<u32> {
        self.streams_of.get(number as usize).copied().filter(|&stream| stream != SILENT)
    }
}

impl RampLoad {
    /// A service that carries out a checked TCP plan with a ramp, and where its report will come.
    pub fn new(client: EngineClient, ramp: Ramp) -> (Self, Receiver<Report>) {
        let (course, receiver) = Course::new();
        let service = Self {
            stage: Stage::Ramping,
            books: Books::new(&client.plan, ramp),
            numbers: Numbers::new(client.plan.connections),
            talk: None,
            outcome: Outcome::default(),
            course,
            client,
        };
        (service, receiver)
    }

    /// Does what is due. A burst at most of connections is begun or closed in a turn, so that answers are heard between them.
    fn go_on(&mut self, cx: &mut impl Context) {
        let wanted = match self.stage {
            Stage::Ramping => self.open_due(cx),
            Stage::Holding(_) => self.send_due(cx),
            Stage::Closing => self.close_some(cx),
        };
        if !self.course.is_over() {
            self.course.arm(cx, wanted);
        }
    }

    /// Begins the connections that are due, and says when to look again.
    fn open_due(&mut self, cx: &mut impl Context) -> Instant {
        let now = cx.now();
        for _ in 0..limits::BURST {
            let Some(number) = self.books.begin(now) else { break };
            match self.client.connect(cx, number) {
                Ok(connection) => self.numbers.insert(number, connection),
                Err(CallError::WouldBlock) => self.books.lose(number, Lost::Other, now),
                Err(error) => {
                    self.course.give_up(cx, cannot(self.client.connecting(number), error));
                    return Instant::NEVER;
                }
            }
        }
        let due = self.books.next_due();
        if due <= now { now + RETRY } else { due }
    }

    /// Every handshake is over: the time to hold begins.
    fn hold(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        let window = Window::new(&self.client.plan, now);
        let open: Vec<u32> = self.books.open_numbers().collect();
        self.talk = Talk::new(&self.client.plan, &open, now, self.client.seed);
        self.stage = Stage::Holding(window);
        self.course.measure(&self.client, window);
        self.course.turn(now);
        self.go_on(cx);
    }

    fn send_due(&mut self, cx: &mut impl Context) -> Instant {
        let now = cx.now();
        let Some(talk) = &mut self.talk else { return Instant::NEVER };
        talk.streams.schedule.turn();
        while let Some(stream) = self.talk.as_mut().and_then(|talk| talk.streams.schedule.ready(now)) {
            self.pump(cx, stream);
        }
        self.talk.as_ref().map_or(Instant::NEVER, |talk| talk.streams.schedule.next_due())
    }

    fn pump(&mut self, cx: &mut impl Context, stream: u32) {
        let Some(talk) = &mut self.talk else { return };
        if let Some(connection) = talk.numbers.get(stream as usize).and_then(|&number| self.numbers.connection(number)) {
            pump(cx, connection, &mut talk.streams, stream);
        }
    }

    /// Half-closes the next connections, and says when to look again.
    fn close_some(&mut self, cx: &mut impl Context) -> Instant {
        let now = cx.now();
        for _ in 0..limits::BURST {
            let Some(number) = self.books.close_next(now) else {
                if self.books.all_closed() {
                    self.conclude(cx);
                }
                return Instant::NEVER;
            };
            if let Some(connection) = self.numbers.connection(number) {
                cx.close(connection);
            }
        }
        now + RETRY
    }

    /// A connection ended before its time.
    fn lose(&mut self, number: u32, why: Lost, now: Instant) {
        self.numbers.remove(number);
        self.books.lose(number, why, now);
        if let Some(talk) = &mut self.talk
            && let Some(stream) = talk.stream_of(number)
        {
            talk.streams.schedule.ended(stream);
        }
    }

    /// The time to hold is over: what was measured is kept, and the connections are closed.
    fn end_hold(&mut self, cx: &mut impl Context) {
        self.settle();
        self.stage = Stage::Closing;
        self.go_on(cx);
    }

    /// Takes down what was measured.
    fn settle(&mut self) {
        let now = self.course.now;
        if let Some(talk) = self.talk.take() {
            self.outcome = talk.streams.schedule.finish(now);
        } else if let Stage::Holding(window) = self.stage {
            self.outcome.measured = window.measured(now);
        }
        self.outcome.ramp.get_or_insert_with(|| self.books.summary());
    }

    fn housekeeping(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        while let Some(number) = self.books.overdue(now) {
            if let Some(connection) = self.numbers.connection(number) {
                cx.abort(connection);
            }
            self.lose(number, Lost::TimedOut, now);
        }
        let counts = self.talk.as_ref().map_or(&self.outcome, |talk| talk.streams.schedule.outcome());
        self.course.publish(counts);
        if let Some(live) = &self.client.live {
            live.open.store(self.books.open().into(), Ordering::Relaxed);
        }
        match self.stage {
            Stage::Ramping if self.books.is_settled() => self.hold(cx),
            Stage::Holding(window) => {
                let answered = self.talk.as_ref().is_none_or(|talk| talk.streams.schedule.is_done(now));
                if self.books.open() == 0 || (now >= window.until && answered) { self.end_hold(cx) } else { self.go_on(cx) }
            }
            Stage::Ramping | Stage::Closing => self.go_on(cx),
        }
        self.course.housekeeping(cx);
    }

    fn conclude(&mut self, cx: &mut impl Context) {
        self.report();
        cx.stop();
    }

    fn report(&mut self) {
        if self.course.is_over() {
            return;
        }
        self.settle();
        let mut outcome = std::mem::take(&mut self.outcome);
        let (connect, close) = self.books.recorders();
        outcome.connect.merge(connect);
        outcome.close.merge(close);
        self.course.succeed(outcome);
    }

    /// The number of a connection of this run, while it goes on.
    fn number(&mut self, now: Instant, connection: Connection) -> Option<u32> {
        self.course.turn(now);
        self.numbers.of(connection).filter(|_| !self.course.is_over())
    }

    fn stream_of(&self, number: u32) -> Option<u32> {
        self.talk.as_ref().and_then(|talk| talk.stream_of(number))
    }
}

impl Service for RampLoad {
    type Message = Command;

    fn start(&mut self, cx: &mut impl Context) {
        self.course.turn(cx.now());
        self.housekeeping(cx);
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(number) = self.number(cx.now(), connection) else { return };
        self.books.connected(number, cx.now());
        if number == 0 {
            // The rate begins now.
            self.go_on(cx);
        }
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        let now = cx.now();
        let Some(number) = self.number(now, connection) else { return bytes.len() };
        let Some(stream) = self.stream_of(number) else {
            // A connection that does not talk is told nothing, by an echo; others may greet it.
            return bytes.len();
        };
        match self.talk.as_mut().map_or(Ok(()), |talk| talk.streams.received(stream, bytes, now)) {
            Ok(()) => self.pump(cx, stream),
            Err(corrupt) => {
                if let Some(talk) = &mut self.talk {
                    talk.streams.schedule.outcome_mut().count_corrupt(corrupt);
                }
                self.lose(number, Lost::Other, now);
                cx.abort(connection);
            }
        }
        bytes.len()
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        if let Some(number) = self.number(cx.now(), connection)
            && let Some(stream) = self.stream_of(number)
        {
            self.pump(cx, stream);
        }
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        let now = cx.now();
        let Some(number) = self.number(now, connection) else { return cx.close(connection) };
        if self.books.closed(number, now) {
            self.numbers.remove(number);
            self.go_on(cx);
        } else {
            self.lose(number, Lost::ClosedEarly, now);
            cx.close(connection);
        }
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        let now = cx.now();
        let Some(number) = self.number(now, connection) else { return };
        let why = match why {
            ResetReason::Refused => Lost::Refused,
            ResetReason::Reset => Lost::Reset,
            ResetReason::TimedOut => Lost::TimedOut,
            ResetReason::Unreachable | ResetReason::Aborted => Lost::Other,
        };
        self.lose(number, why, now);
        if number == 0 || self.stage == Stage::Closing {
            self.go_on(cx);
        }
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        match self.course.expired(cx.now(), token) {
            Due::Messages => self.go_on(cx),
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

impl Drop for RampLoad {
    fn drop(&mut self) {
        self.report();
    }
}

#[cfg(test)]
mod tests;
