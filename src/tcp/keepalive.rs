//! Keep-alives: is the peer of an idle connection still there? (RFC 9293 3.8.4)
//!
//! Off unless a service or a setting asks for them. The timers call [`Tcb::on_keepalive`]; `output` sends the probe. Nothing panics.

use std::num::NonZeroU32;
use std::time::Duration;

use super::config::Config;
use super::event::{Events, Transmit};
use super::folded::Form;
use super::state::{Cause, State};
use super::tally::Happening;
use super::tcb::Tcb;
use crate::time::{Instant, span_ms};
use crate::wire::tcp::Flags;

/// When an idle connection is probed, and when its peer is given up. Times count in milliseconds, up to 49 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes that are not answered.
    pub interval: Duration,
    /// Probes without an answer that end the connection; at least 2.
    pub probes: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        //= rfc9293#3.8.4
        //# This interval MUST be configurable (MUST-27) and MUST default to no less than two hours (MUST-28).
        Self { idle: Duration::from_secs(7200), interval: Duration::from_secs(75), probes: 9 }
    }
}

/// [`Keepalive`] as a TCB keeps it, in a third of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    idle_ms: u32,
    interval_ms: u32,
    probes: NonZeroU32,
}

impl Plan {
    const fn of(keepalive: &Keepalive) -> Self {
        let probes = match NonZeroU32::new(keepalive.probes) {
            Some(probes) => probes,
            None => NonZeroU32::MIN,
        };
        Self { idle_ms: span_ms(keepalive.idle), interval_ms: span_ms(keepalive.interval), probes }
    }

    const fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms as u64)
    }

    const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms as u64)
    }
}

/// What one connection does of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeepaliveState {
    plan: Option<Plan>,
    /// When to look again; [`Instant::NEVER`] when off.
    pub(super) at: Instant,
    /// When the peer was last heard.
    pub(super) heard: Instant,
    /// When the last probe was sent.
    probed: Instant,
    unanswered: u32,
    /// A probe is to be sent.
    pub(super) probe: bool,
}

impl KeepaliveState {
    pub(super) const fn new(plan: Option<Keepalive>, now: Instant) -> Self {
        let plan = match plan {
            Some(keepalive) => Some(Plan::of(&keepalive)),
            None => None,
        };
        Self { plan, at: Instant::NEVER, heard: now, probed: Instant::ZERO, unanswered: 0, probe: false }
    }

    /// Looks again when there may be something to do, and not before: as it would at the next look.
    pub(super) fn rest(&mut self) {
        let Some(plan) = self.plan.filter(|_| self.at != Instant::NEVER && self.heard >= self.probed) else { return };
        self.unanswered = 0;
        self.probed = Instant::ZERO;
        self.at = self.at.max(self.heard + plan.idle());
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, config: &Config) {
        let Self { plan, at, heard, probed, unanswered, probe } = self;
        form.near(heard, Instant::ZERO);
        let usual = Plan::of(&config.keepalive_plan());
        if !form.same(plan, config.keepalive.then_some(usual)) {
            form.optional(plan, usual, |form, Plan { idle_ms, interval_ms, probes }| {
                form.near(idle_ms, 0);
                form.near(interval_ms, *idle_ms);
                let mut count = probes.get();
                form.near(&mut count, 0);
                *probes = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
            });
        }
        form.near(at, plan.map_or(Instant::NEVER, |plan| *heard + plan.idle()));
        form.near(probed, Instant::ZERO);
        form.near(unanswered, 0);
        form.flag(probe);
    }
}

impl Tcb {
    /// Turns keep-alives on or off.
    pub(super) fn set_keepalive(&mut self, plan: Option<Keepalive>, now: Instant) {
        //= rfc9293#3.8.4
        //# If keep-alives are included, the application MUST be able to turn them on or off for each TCP connection (MUST-24)
        self.keepalive = KeepaliveState { heard: self.keepalive.heard, ..KeepaliveState::new(plan, now) };
        if !matches!(self.state(), State::SynSent | State::SynReceived) {
            self.start_keepalive();
        }
        self.settle_patience();
    }

    /// The handshake is complete.
    pub(super) fn start_keepalive(&mut self) {
        if let Some(plan) = self.keepalive.plan {
            self.keepalive.at = self.keepalive.heard + plan.idle();
            self.settle_patience();
        }
    }

    /// The time of [`KeepaliveState::at`] has come.
    pub(super) fn on_keepalive(&mut self, now: Instant) -> Events {
        let open = matches!(self.state(), State::Established | State::CloseWait | State::FinWait1 | State::FinWait2);
        let Some(plan) = self.keepalive.plan.filter(|_| open) else {
            self.keepalive.at = Instant::NEVER;
            return Events::NONE;
        };
        let keepalive = &mut self.keepalive;
        //= rfc9293#3.8.4
        //# Keep-alive packets MUST only be sent when no sent data is outstanding, and no data or acknowledgment packets have been
        //# received for the connection within an interval (MUST-26).
        let silent_since = keepalive.heard;
        if silent_since >= keepalive.probed {
            // The interval after a probe may be longer than the silence before one: an answer counts however long it lies back.
            keepalive.unanswered = 0;
        }
        if now < silent_since + plan.idle() {
            keepalive.at = silent_since + plan.idle();
            return Events::NONE;
        }
        if self.snd.outstanding() > 0 || self.queue.len() > 0 {
            // Whether the peer is there is found out by what is outstanding.
            keepalive.at = now + plan.idle();
            return Events::NONE;
        }
        //= rfc9293#3.8.4
        //# Consequently, if a keep-alive mechanism is implemented it MUST NOT interpret failure to respond to any specific probe as a
        //# dead connection (MUST-29).
        if keepalive.unanswered >= plan.probes.get().max(2) {
            self.timers.stop();
            // If the peer is there and only its answers are lost, it learns that the connection is over.
            self.reset_pending = Some(self.snd.nxt);
            self.enter(Cause::TimedOut, State::Closed);
            return Events::TIMED_OUT;
        }
        keepalive.unanswered += 1;
        keepalive.probed = now;
        keepalive.probe = true;
        keepalive.at = now + plan.interval();
        self.noted.note(Happening::KeepaliveProbe);
        Events::NONE
    }

    /// A segment that the peer has to answer: one sequence number before what it expects.
    pub(super) fn transmit_keepalive(&mut self, now: Instant) -> Transmit<'_> {
        self.keepalive.probe = false;
        let options = self.options(now);
        let window = self.rcv.offer(self.received.unread());
        self.acknowledged_all();
        //= rfc9293#3.8.4
        //# Such a segment generally contains SEG.SEQ = SND.NXT-1 and may or may not contain one garbage octet of data.
        //= rfc9293#3.8.4
        //# An implementation SHOULD send a keep-alive segment with no data (SHLD-12)
        let seq = self.snd.nxt - 1;
        Transmit { seq, ack: self.rcv.nxt, flags: Flags::ACK, window, urgent: 0, options, ect: false, payload: [&[], &[]] }
    }
}
