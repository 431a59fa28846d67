//! Bulk over the engine: a service whose connections send, or only read, until the time is over.
//!
//! The connections are opened one after the other, as [`super::engine_tcp`] opens them, and read when all stand. At the end they are reset, because
//! what still waits in them is nobody's.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::bulk::{CHUNK_BYTES, Flood};
use super::engine_client::{Command, Course, Due, EngineClient, Numbers, Report, cannot};
use super::outcome::RunError;
use super::plan::Bulk;
use crate::metrics::histogram::Recorder;
use crate::service::{Connection, Context, ResetReason, Service};
use crate::time::Instant;

/// The bulk service.
#[derive(Debug)]
pub struct BulkLoad {
    client: EngineClient,
    direction: Bulk,
    /// The connection whose handshake is out, and since when; `None` when all stand.
    connecting: Option<(u32, Instant)>,
    flood: Flood,
    numbers: Numbers,
    connect: Recorder,
    course: Course,
    chunk: Box<[u8]>,
}

/// A handshake that takes longer has failed.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

impl BulkLoad {
    /// A service that carries out a checked plan of bulk, and where its report will come.
    pub fn new(client: EngineClient, direction: Bulk) -> (Self, Receiver<Report>) {
        let (course, receiver) = Course::new();
        let service = Self {
            direction,
            connecting: Some((0, Instant::NEVER)),
            flood: Flood::new(&client.plan, Instant::ZERO),
            numbers: Numbers::new(client.plan.connections),
            connect: Recorder::new(),
            course,
            chunk: vec![b'.'; CHUNK_BYTES].into_boxed_slice(),
            client,
        };
        (service, receiver)
    }

    fn connect(&mut self, cx: &mut impl Context, number: u32) {
        self.connecting = Some((number, cx.now()));
        match self.client.connect(cx, number) {
            Ok(connection) => self.numbers.insert(number, connection),
            Err(error) => self.course.give_up(cx, cannot(self.client.connecting(number), error)),
        }
    }

    /// All connections stand: the time begins.
    fn begin(&mut self, cx: &mut impl Context) {
        self.connecting = None;
        self.flood = Flood::new(&self.client.plan, cx.now());
        self.course.measure(&self.client, self.flood.window());
        self.course.turn(cx.now());
        for number in 0..self.client.plan.connections {
            match (self.numbers.connection(number), self.direction) {
                (Some(connection), Bulk::Send) => self.fill(cx, connection),
                (Some(connection), Bulk::Receive) => cx.resume(connection),
                (None, _) => {}
            }
        }
        self.course.arm(cx, Instant::NEVER);
    }

    /// Hands over as much as is taken; what follows is asked for by `writable`.
    fn fill(&mut self, cx: &mut impl Context, connection: Connection) {
        if self.direction == Bulk::Receive || self.connecting.is_some() || self.course.is_over() {
            return;
        }
        loop {
            let taken = cx.send(connection, &self.chunk);
            self.flood.carried(taken, cx.now());
            if taken < self.chunk.len() {
                return;
            }
        }
    }

    fn conclude(&mut self, cx: &mut impl Context) {
        for number in 0..self.client.plan.connections {
            if let Some(connection) = self.numbers.remove(number) {
                cx.abort(connection);
            }
        }
        self.report();
        cx.stop();
    }

    fn report(&mut self) {
        if self.course.is_over() {
            return;
        }
        if self.connecting.is_some() {
            return self.course.fail(RunError::Failed("stopped before the first byte".into()));
        }
        let flood = std::mem::replace(&mut self.flood, Flood::new(&self.client.plan, Instant::ZERO));
        let mut outcome = flood.finish(self.course.now);
        outcome.connect.merge(&self.connect);
        self.course.succeed(outcome);
    }

    /// A connection has gone before its time.
    fn end(&mut self, cx: &mut impl Context, number: u32, cause: &str) {
        self.numbers.remove(number);
        if self.connecting.is_some() {
            let why = RunError::Failed(format!("{}: {cause}", self.client.connecting(number)));
            return self.course.give_up(cx, why);
        }
        self.flood.ended(cause);
    }
}

impl Service for BulkLoad {
    type Message = Command;

    fn start(&mut self, cx: &mut impl Context) {
        self.course.turn(cx.now());
        self.connect(cx, 0);
        self.course.housekeeping(cx);
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.course.turn(cx.now());
        let Some((number, planned)) = self.connecting.filter(|_| !self.course.is_over()) else { return };
        if self.numbers.of(connection) != Some(number) {
            return;
        }
        self.connect.record(cx.now().ns_since(planned));
        if self.direction == Bulk::Receive {
            // What its server sends must not crowd out the handshakes that follow: its window fills, and it waits.
            cx.pause(connection);
        }
        if number + 1 < self.client.plan.connections {
            self.connect(cx, number + 1);
        } else {
            self.begin(cx);
        }
    }

    fn data(&mut self, cx: &mut impl Context, _connection: Connection, bytes: &[u8]) -> usize {
        self.course.turn(cx.now());
        if self.direction == Bulk::Receive && self.connecting.is_none() {
            self.flood.carried(bytes.len(), cx.now());
        }
        bytes.len()
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        self.course.turn(cx.now());
        if self.numbers.of(connection).is_some() {
            self.fill(cx, connection);
        }
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        self.course.turn(cx.now());
        if let Some(number) = self.numbers.of(connection).filter(|_| !self.course.is_over()) {
            self.end(cx, number, "closed_early");
        }
        cx.close(connection);
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        self.course.turn(cx.now());
        if let Some(number) = self.numbers.of(connection).filter(|_| !self.course.is_over()) {
            self.end(cx, number, why.name());
        }
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        match self.course.expired(cx.now(), token) {
            Due::Messages => self.course.arm(cx, Instant::NEVER),
            Due::Nothing => {}
            Due::Housekeeping => {
                let now = cx.now();
                match self.connecting {
                    Some((number, planned)) if planned <= now && now.since(planned) > CONNECT_WITHIN => {
                        let why = RunError::Failed(format!("{}: no answer", self.client.connecting(number)));
                        return self.course.give_up(cx, why);
                    }
                    Some(_) => {}
                    None if self.flood.is_done(now) => return self.conclude(cx),
                    None => self.course.publish(self.flood.outcome()),
                }
                self.course.housekeeping(cx);
            }
        }
    }

    fn message(&mut self, cx: &mut impl Context, message: Command) {
        match message {
            Command::Stop => self.conclude(cx),
        }
    }
}

impl Drop for BulkLoad {
    fn drop(&mut self) {
        self.report();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Server};
    use super::super::plan::{Carrier, Plan, tests::plan};
    use super::*;

    fn run(direction: Bulk, connections: u32, fake: &mut Fake) -> Report {
        let plan = Plan {
            carrier: Carrier::Tcp,
            target: fake.target,
            connections,
            bulk: Some(direction),
            warmup: Duration::from_millis(10),
            duration: Duration::from_millis(100),
            ..plan()
        };
        let (mut service, report) = BulkLoad::new(EngineClient::new(plan), direction);
        fake.run(&mut service, 60);
        assert!(fake.stopped, "the service stops the engine");
        report.try_recv().expect("a report")
    }

    /// What a window of 6400 bytes and a round trip of 10 us carry in 100 ms.
    #[test]
    fn what_the_stack_takes_is_counted_on_all_connections() {
        let mut fake = Fake { room: 6400, ..Fake::new(Server::Echo) };
        let outcome = run(Bulk::Send, 3, &mut fake).expect("a run");
        let expected = 3 * 100 * 10_000;
        assert!(outcome.received.abs_diff(expected) < expected / 50, "{} of {expected}", outcome.received);
        assert_eq!((outcome.measured, outcome.connect.count()), (Duration::from_millis(100), 3));
        assert_eq!((fake.open_connections(), outcome.drops.len()), (0, 0));
    }

    #[test]
    fn a_reader_says_nothing() {
        let mut fake = Fake::new(Server::Echo);
        let outcome = run(Bulk::Receive, 2, &mut fake).expect("a run");
        assert!(outcome.received == 0 && outcome.failure().is_some(), "an echo server has nothing to say of its own");
    }

    #[test]
    fn a_refused_connection_ends_the_run() {
        let mut fake = Fake::new(Server::Refuses);
        assert!(run(Bulk::Send, 2, &mut fake).is_err());
    }
}
