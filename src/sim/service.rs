//! The service at an end: opens, sends, reads, pauses and closes as the scenario says, and checks every byte it is given.
//!
//! A byte of a stream is a function of the seed, the connection, the direction and the offset, so nothing is kept to compare with. Called by the
//! engine like any service. What is wrong is written down for the run to find; it never panics for what the other end sends.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::frames;
use super::scenario::{Close, Plan, Scenario, Side};
use crate::service::{CallError, Connect, Connection, Context, Listen, Local, ResetReason, Service};
use crate::tcp::State;

/// One direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream(u64);

impl Stream {
    /// The stream that `end` sends on the `round`th connection of a plan.
    pub(super) const fn new(seed: u64, plan: usize, round: usize, end: usize) -> Self {
        let number = (plan as u64) << 32 | (round as u64) << 8 | end as u64;
        Self(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn byte(self, offset: u64) -> u8 {
        let word = (self.0 ^ (offset / 8)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((word ^ word >> 29) >> (offset % 8 * 8)) as u8
    }

    /// The bytes from an offset on.
    pub(super) fn fill(self, offset: u64, bytes: &mut [u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            *byte = self.byte(at);
        }
    }

    /// The first offset at which the bytes are not those of the stream.
    pub(super) fn differs(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        (offset..).zip(bytes).find(|&(at, &byte)| byte != self.byte(at)).map(|(at, _)| at)
    }
}

/// What an end has done with one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) plan: usize,
    pub(super) round: usize,
    pub(super) connection: Option<Connection>,
    pub(super) connected: bool,
    pub(super) sent: u64,
    pub(super) got: u64,
    pub(super) peer_closed: bool,
    pub(super) closed: bool,
    pub(super) ended: Option<Ended>,
    /// Bytes read since the last pause.
    read: u64,
    /// Between two writes.
    resting: bool,
    /// The time of [`Close::At`] has come.
    late: bool,
}

impl Life {
    pub(super) const fn new(plan: usize, round: usize) -> Self {
        Self {
            plan,
            round,
            connection: None,
            connected: false,
            sent: 0,
            got: 0,
            peer_closed: false,
            closed: false,
            ended: None,
            read: 0,
            resting: false,
            late: false,
        }
    }
}

/// How a connection ended for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// In order.
    Closed,
    /// This service had enough.
    Aborted,
    /// Otherwise.
    Reset(ResetReason),
}

/// The service of one end.
#[derive(Debug)]
pub(super) struct Talk {
    end: usize,
    seed: u64,
    scenario: Rc<Scenario>,
    pub(super) lives: Vec<Life>,
    alive: BTreeMap<usize, usize>,
    /// The first thing that was wrong.
    pub(super) wrong: Option<String>,
    buffer: Vec<u8>,
}

/// What a timer is for; the number behind it is a plan's or a life's.
mod token {
    pub(super) const OPEN: u64 = 0;
    pub(super) const RESUME: u64 = 1;
    pub(super) const WRITE: u64 = 2;
    pub(super) const CLOSE: u64 = 3;
    pub(super) const GIVE_UP: u64 = 4;
    pub(super) const KINDS: u64 = 5;
}

impl Talk {
    pub(super) fn new(end: usize, seed: u64, scenario: Rc<Scenario>) -> Self {
        Self { end, seed, scenario, lives: Vec::new(), alive: BTreeMap::new(), wrong: None, buffer: Vec::new() }
    }

    /// The stream this end sends on its latest connection of a plan; `None` before the first.
    pub(super) fn stream_of(&self, plan: usize) -> Option<Stream> {
        let life = self.lives.iter().rev().find(|life| life.plan == plan)?;
        Some(Stream::new(self.seed, plan, life.round, self.end))
    }

    fn plan(&self, life: usize) -> Plan {
        self.scenario.plans[self.lives[life].plan]
    }

    fn side(&self, life: usize) -> Side {
        self.plan(life).sides[self.end]
    }

    fn fail(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    fn wake(&mut self, cx: &mut impl Context, after_ns: u64, kind: u64, of: usize) {
        let token = of as u64 * token::KINDS + kind;
        if let Err(why) = cx.set_timer(cx.now() + Duration::from_nanos(after_ns), token) {
            self.fail(format!("the service has no timer: {why}"));
        }
    }

    fn open(&mut self, cx: &mut impl Context, plan: usize) {
        let Plan { ports, .. } = self.scenario.plans[plan];
        let target = SocketAddr::new(IpAddr::V4(frames::address(1 - self.end)), ports[1 - self.end]);
        let options = Connect { source_port: Some(ports[self.end]), ..Connect::default() };
        match cx.connect(target, options) {
            Ok(connection) => {
                self.begin(connection, plan);
                if self.scenario.plans[plan].aborts() {
                    self.wake(cx, GIVE_UP_NS, token::GIVE_UP, self.lives.len() - 1);
                }
            }
            // The last connection of this port is still in its 2 MSL.
            Err(CallError::PortInUse) => self.wake(cx, 50_000_000, token::OPEN, plan),
            Err(why) => self.fail(format!("end {}: connect: {why}", self.end)),
        }
    }

    fn begin(&mut self, connection: Connection, plan: usize) -> usize {
        let round = self.lives.iter().filter(|life| life.plan == plan).count();
        let life = Life { connection: Some(connection), ..Life::new(plan, round) };
        self.lives.push(life);
        let index = self.lives.len() - 1;
        self.alive.insert(connection.index(), index);
        index
    }

    fn life_of(&self, connection: Connection) -> Option<usize> {
        let life = *self.alive.get(&connection.index())?;
        (self.lives[life].connection == Some(connection)).then_some(life)
    }

    fn end_life(&mut self, connection: Connection, how: Ended) -> Option<usize> {
        let life = self.life_of(connection)?;
        self.alive.remove(&connection.index());
        self.lives[life].ended = Some(how);
        Some(life)
    }

    /// Writes until the connection takes no more, or the side rests between two writes.
    fn write(&mut self, cx: &mut impl Context, life: usize) {
        let side = self.side(life);
        let Life { plan, round, connection: Some(connection), .. } = self.lives[life] else { return };
        let stream = Stream::new(self.seed, plan, round, self.end);
        while self.lives[life].sent < side.bytes && !self.lives[life].resting && self.lives[life].ended.is_none() {
            let sent = self.lives[life].sent;
            let len = side.chunk.min(side.bytes - sent) as usize;
            self.buffer.resize(len, 0);
            stream.fill(sent, &mut self.buffer);
            let taken = cx.send(connection, &self.buffer);
            self.lives[life].sent += taken as u64;
            if taken < len {
                break;
            }
            if side.write_gap_ns > 0 {
                self.lives[life].resting = true;
                self.wake(cx, side.write_gap_ns, token::WRITE, life);
            }
        }
        self.end_if_due(cx, life);
    }

    /// Aborts or closes when the side's time has come.
    fn end_if_due(&mut self, cx: &mut impl Context, life: usize) {
        let side = self.side(life);
        let Life { connection: Some(connection), sent, got, peer_closed, closed, late, ended: None, .. } = self.lives[life]
        else {
            return;
        };
        if side.abort_after.is_some_and(|bytes| sent + got >= bytes) {
            self.end_life(connection, Ended::Aborted);
            cx.abort(connection);
            return;
        }
        let due = match side.close {
            Close::Sent => true,
            Close::PeerClosed => peer_closed,
            Close::At(_) => late,
        };
        if sent == side.bytes && due && !closed {
            self.lives[life].closed = true;
            cx.close(connection);
        }
    }

    /// After the end of a connection: the next round of its plan.
    fn again(&mut self, cx: &mut impl Context, life: usize) {
        let Life { plan, round, .. } = self.lives[life];
        let Plan { rounds, opener, reopen_ns, .. } = self.scenario.plans[plan];
        if opener == Some(self.end) && round + 1 < rounds {
            self.wake(cx, reopen_ns, token::OPEN, plan);
        }
    }
}

impl Service for Talk {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        let scenario = Rc::clone(&self.scenario);
        for (number, plan) in scenario.plans.iter().enumerate() {
            if plan.opener.is_none_or(|opener| opener == self.end) {
                self.wake(cx, plan.open_ns, token::OPEN, number);
            } else {
                let options = Listen { backlog: Some(scenario.backlog), tag: number as u64, ..Listen::default() };
                if let Err(why) = cx.listen(Local::from(plan.ports[self.end]), options) {
                    self.fail(format!("end {}: listen: {why}", self.end));
                }
            }
        }
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(info) = cx.info(connection) else { return self.fail("a connection without a name".into()) };
        let life = match self.life_of(connection) {
            Some(life) => life,
            None => {
                let plan = info.tag as usize;
                let whom = (info.remote.port(), info.local.port());
                if info.listener.is_none() || self.scenario.plans[plan].ports != sorted(self.end, whom) {
                    return self.fail(format!("end {}: connected with a stranger: {info:?}", self.end));
                }
                let life = self.begin(connection, plan);
                if self.plan(life).aborts() {
                    self.wake(cx, GIVE_UP_NS, token::GIVE_UP, life);
                }
                life
            }
        };
        if std::mem::replace(&mut self.lives[life].connected, true) {
            self.fail(format!("end {}: connected twice", self.end));
        }
        if !matches!(info.state, State::Established | State::CloseWait | State::FinWait1) {
            self.fail(format!("end {}: connected in {}", self.end, info.state));
        }
        if let Close::At(after_ns) = self.side(life).close {
            self.wake(cx, after_ns, token::CLOSE, life);
        }
        self.write(cx, life);
    }

    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        let Some(life) = self.life_of(connection) else {
            self.fail(format!("end {}: data of a connection that has ended, or not begun", self.end));
            return bytes.len();
        };
        let side = self.side(life);
        let taken = side.sip.min(bytes.len() as u64);
        let Life { plan, round, got, .. } = self.lives[life];
        let stream = Stream::new(self.seed, plan, round, 1 - self.end);
        if let Some(at) = stream.differs(got, &bytes[..taken as usize]) {
            self.fail(format!("end {}: byte {at} of plan {plan}, round {round}, is not the one that was sent", self.end));
        }
        if self.lives[life].peer_closed {
            self.fail(format!("end {}: data after the end of the stream", self.end));
        }
        self.lives[life].got += taken;
        self.lives[life].read += taken;
        if taken < bytes.len() as u64 || self.lives[life].read >= side.pause_every {
            self.lives[life].read = 0;
            cx.pause(connection);
            self.wake(cx, side.pause_ns, token::RESUME, life);
        }
        self.end_if_due(cx, life);
        taken as usize
    }

    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        if let Some(life) = self.life_of(connection) {
            self.write(cx, life);
        }
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        let Some(life) = self.life_of(connection) else { return self.fail("the end of an unknown stream".into()) };
        if std::mem::replace(&mut self.lives[life].peer_closed, true) {
            self.fail(format!("end {}: the peer closed twice", self.end));
        }
        self.end_if_due(cx, life);
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        match self.end_life(connection, Ended::Reset(why)) {
            Some(life) => self.again(cx, life),
            None => self.fail(format!("end {}: reset of a connection that has ended", self.end)),
        }
    }

    fn closed(&mut self, cx: &mut impl Context, connection: Connection) {
        match self.end_life(connection, Ended::Closed) {
            Some(life) => self.again(cx, life),
            None => self.fail(format!("end {}: a connection ended twice", self.end)),
        }
    }

    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        let (kind, of) = (token % token::KINDS, (token / token::KINDS) as usize);
        if kind == token::OPEN {
            return self.open(cx, of);
        }
        let Life { connection: Some(connection), ended: None, .. } = self.lives[of] else { return };
        match kind {
            token::RESUME => cx.resume(connection),
            token::WRITE => {
                self.lives[of].resting = false;
                self.write(cx, of);
            }
            token::CLOSE => {
                self.lives[of].late = true;
                self.end_if_due(cx, of);
            }
            _ => {
                self.end_life(connection, Ended::Aborted);
                cx.abort(connection);
            }
        }
    }
}

/// The ports of ends 0 and 1, from what end `end` calls remote and local.
const fn sorted(end: usize, (remote, local): (u16, u16)) -> [u16; 2] {
    if end == 0 { [local, remote] } else { [remote, local] }
}

/// How long an end waits for a peer that may have gone without a word.
const GIVE_UP_NS: u64 = 400_000_000_000;
