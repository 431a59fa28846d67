//! Load over Ringway's own engine: what its five services ([`super::engine_udp`], [`super::engine_tcp`],
//! [`super::engine_churn`], [`super::engine_ramp`], [`super::engine_bulk`]) share.
//!
//! Whoever runs the engine makes a service from an [`EngineClient`] and keeps the receiver: the outcome comes through it when the
//! run is over, just before the service stops the engine; or when the service is dropped, so that a run that was stopped from
//! outside is reported, too. The services never block and never panic on what a server sends.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::meter::{Live, Meter};
use super::outcome::{Outcome, RunError, Window};
use super::plan::Plan;
use super::streams::Streams;
use super::turns::Turns;
use crate::error::SetupError;
use crate::service::{CallError, Connect, Connection, Context, TimerId};
use crate::time::Instant;

/// A load run over the engine.
#[derive(Clone, Debug)]
pub struct EngineClient {
    /// What to do.
    pub plan: Plan,
    /// Our addresses to send from, taken in turn; empty lets the engine choose.
    pub sources: Vec<IpAddr>,
    /// The interface whose packets are counted.
    pub interface: Option<String>,
    /// Seed of the payloads.
    pub seed: u64,
    /// Where counts are shown while the run goes on.
    pub live: Option<Arc<Live>>,
}

/// What another thread may say to a load service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the run now and report what there is.
    Stop,
}

/// The result of a run, as it comes through the receiver.
pub type Report = Result<Outcome, RunError>;

/// How often the services look for lost messages and for the end.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// The engine could not send: it is asked again after so long, in a later turn.
pub(super) const RETRY: Duration = Duration::from_micros(1);
/// Timer token: something is due.
const PACE: u64 = 0;
/// Timer token: housekeeping.
const HOUSEKEEPING: u64 = 1;

impl EngineClient {
    /// A run of `plan` from addresses of the engine's choice.
    pub const fn new(plan: Plan) -> Self {
        Self { plan, sources: Vec::new(), interface: None, seed: 1, live: None }
    }

    /// The source address of a connection.
    pub(super) fn source(&self, connection: u32) -> Option<IpAddr> {
        let count = self.sources.len();
        if count == 0 { None } else { self.sources.get(connection as usize % count).copied() }
    }

    /// Begins a connection, which will have this number.
    pub(super) fn connect(&self, cx: &mut impl Context, number: u32) -> Result<Connection, CallError> {
        let options = Connect {
            source: self.source(number),
            tag: u64::from(number),
            congestion: self.plan.congestion,
            ..Connect::default()
        };
        cx.connect(self.plan.target, options)
    }

    /// What the error says could not be done, of such a connection.
    pub(super) fn connecting(&self, number: u32) -> String {
        format!("cannot connect to {} (connection {})", self.plan.target, number + 1)
    }
}

/// The course of a run: its meter, its timers, and the one report at its end.
#[derive(Debug)]
pub(super) struct Course {
    sender: Option<Sender<Report>>,
    meter: Option<Meter>,
    armed: Option<(Instant, TimerId)>,
    /// The last time a callback saw.
    pub(super) now: Instant,
}

impl Course {
    pub(super) fn new() -> (Self, Receiver<Report>) {
        let (sender, receiver) = channel();
        (Self { sender: Some(sender), meter: None, armed: None, now: Instant::ZERO }, receiver)
    }

    /// True once the report was sent.
    pub(super) const fn is_over(&self) -> bool {
        self.sender.is_none()
    }

    /// The first message is due: the costs are measured from here on.
    pub(super) fn measure(&mut self, client: &EngineClient, window: Window) {
        self.meter = Some(Meter::new(window, client.interface.clone(), client.live.clone()));
    }

    /// A callback begins: takes the samples that are due.
    pub(super) fn turn(&mut self, now: Instant) {
        self.now = now;
        if let Some(meter) = &mut self.meter {
            meter.turn(now, Turns::default());
        }
    }

    pub(super) fn publish(&self, outcome: &Outcome) {
        if let Some(meter) = &self.meter {
            meter.publish(outcome);
        }
    }

    /// A timer expired: says what is to be done, and takes the samples that are due.
    pub(super) fn expired(&mut self, now: Instant, token: u64) -> Due {
        if self.is_over() {
            return Due::Nothing;
        }
        self.turn(now);
        if token == HOUSEKEEPING {
            return Due::Housekeeping;
        }
        self.armed = None;
        Due::Messages
    }

    /// Asks for the pace timer at `wanted`, or earlier when a sample is due.
    pub(super) fn arm(&mut self, cx: &mut impl Context, wanted: Instant) {
        let wanted = self.meter.as_ref().map_or(Instant::NEVER, Meter::next_due).min(wanted);
        if wanted == Instant::NEVER || self.armed.is_some_and(|(at, _)| at <= wanted) {
            return;
        }
        if let Some((_, timer)) = self.armed.take() {
            cx.cancel_timer(timer);
        }
        // Without a timer the next housekeeping goes on in its place.
        self.armed = cx.set_timer(wanted, PACE).ok().map(|timer| (wanted, timer));
    }

    /// Asks for the next housekeeping, while the run goes on. It cannot go on when the engine has no timer left.
    pub(super) fn housekeeping(&mut self, cx: &mut impl Context) {
        if !self.is_over()
            && let Err(error) = cx.set_timer(cx.now() + TICK, HOUSEKEEPING)
        {
            self.give_up(cx, cannot("cannot set a timer", error));
        }
    }

    /// Reports what was measured. Only the first report counts.
    pub(super) fn succeed(&mut self, mut outcome: Outcome) {
        if let Some(meter) = self.meter.take() {
            meter.finish(&mut outcome, Turns::default(), false);
        }
        self.report(Ok(outcome));
    }

    /// Reports why the run could not be carried out.
    pub(super) fn fail(&mut self, why: RunError) {
        self.report(Err(why));
    }

    /// The same, and stops the engine.
    pub(super) fn give_up(&mut self, cx: &mut impl Context, why: RunError) {
        self.fail(why);
        cx.stop();
    }

    fn report(&mut self, report: Report) {
        if let Some(sender) = self.sender.take() {
            // Whoever dropped the receiver does not want the report.
            let _ = sender.send(report);
        }
    }
}

/// What a timer was set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Messages, or connections, that are due.
    Messages,
    Housekeeping,
    /// The run is over.
    Nothing,
}

/// Finds the number of a connection by its slot in the engine's table.
#[derive(Debug)]
pub(super) struct Numbers {
    by_slot: Vec<u32>,
    connections: Vec<Option<Connection>>,
}

const NOBODY: u32 = u32::MAX;

impl Numbers {
    pub(super) fn new(connections: u32) -> Self {
        Self { by_slot: Vec::with_capacity(65_536), connections: vec![None; connections as usize] }
    }

    pub(super) fn insert(&mut self, number: u32, connection: Connection) {
        if connection.index() >= self.by_slot.len() {
            self.by_slot.resize(connection.index() + 1, NOBODY);
        }
        self.by_slot[connection.index()] = number;
        if let Some(at) = self.connections.get_mut(number as usize) {
            *at = Some(connection);
        }
    }

    /// The number of a connection; `None` when it is none of ours, or no more.
    pub(super) fn of(&self, connection: Connection) -> Option<u32> {
        let number = *self.by_slot.get(connection.index())?;
        (self.connection(number) == Some(connection)).then_some(number)
    }

    pub(super) fn connection(&self, number: u32) -> Option<Connection> {
        self.connections.get(number as usize).copied().flatten()
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Connection> {
        self.connections.get_mut(number as usize).and_then(Option::take)
    }
}

/// Hands over what one stream has to send. What does not fit follows when [`crate::service::Service::writable`] says so.
pub(super) fn pump(cx: &mut impl Context, connection: Connection, streams: &mut Streams, number: u32) {
    let now = cx.now();
    while let Some(chunk) = streams.chunk(number, now) {
        let len = chunk.len();
        // As late as a message can be stamped: what went before is this generator's own work.
        let leaving = cx.read_clock();
        let taken = cx.send(connection, chunk);
        streams.wrote(number, taken, leaving);
        if taken < len {
            return;
        }
    }
}

/// A refused call as the error of the run.
pub(super) fn cannot(what: impl Into<String>, error: CallError) -> RunError {
    let what = what.into();
    match error {
        CallError::NoPort | CallError::TableFull => SetupError::usage(what, error.to_string())
            .mend("--sources with more addresses, a lower --rate or fewer --connections, --churn=rst, --set tcp.connections=N")
            .into(),
        CallError::NotOurAddress | CallError::NotClaimed => {
            SetupError::usage(what, error.to_string()).mend("-a ADDRESS/PREFIX for each source").into()
        }
        CallError::NoRoute => SetupError::usage(what, error.to_string()).mend("--gateway ADDR").into(),
        CallError::TooLarge => SetupError::usage(what, error.to_string()).mend("--size with fewer bytes").into(),
        CallError::PortInUse | CallError::Stale | CallError::WouldBlock => RunError::Failed(format!("{what}: {error}")),
    }
}
