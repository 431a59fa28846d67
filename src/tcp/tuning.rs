//! What a service may set of one connection (RFC 9293 3.9.1), and how long it is patient with it.
//!
//! Called through [`crate::service::Context::tune`]; the defaults are settings. Takes effect at once. Nothing panics.

use std::time::Duration;

use super::config::Config;
use super::event::Events;
use super::keepalive::Keepalive;
use super::state::State;
use super::tcb::Tcb;
use crate::time::{Instant, span_ms};

/// One thing to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// Send small segments at once (no Nagle, RFC 9293 3.7.4).
    NoDelay(bool),
    /// Hold segments that are not full until uncorked, closed, or 200 ms have passed with nothing outstanding.
    Cork(bool),
    /// Probe the peer when the connection is idle (RFC 9293 3.8.4).
    Keepalive(Option<Keepalive>),
    /// How long data may stay unacknowledged (R2, RFC 9293 3.8.3); `None` counts retransmissions instead, [`Duration::MAX`] never gives up.
    UserTimeout(Option<Duration>),
    /// How long [`crate::service::Context::close`] lets the peer take what is queued before the connection is aborted: zero aborts at once, `None`
    /// waits as long as the connection lives. In milliseconds, up to 49 days.
    Linger(Option<Duration>),
    //= rfc9293#3.9.2
    //# Generally, an application SHOULD NOT change the Diffserv field value during the course of a connection (SHLD-23).
    /// The DiffServ code point of the packets sent, 0 to 63 (RFC 9293 3.9.1.9). Best chosen once, when the connection opens.
    Dscp(u8),
}

impl Tcb {
    /// Sets something of the connection.
    pub fn tune(&mut self, tuning: Tuning, now: Instant) {
        match tuning {
            //= rfc9293#3.7.4
            //# However, there MUST be a way for an application to disable the Nagle algorithm on an individual connection (MUST-17).
            Tuning::NoDelay(on) => self.no_delay = on,
            Tuning::Cork(on) => {
                self.cork = on;
                self.stop_override();
            }
            Tuning::Keepalive(plan) => self.set_keepalive(plan, now),
            Tuning::UserTimeout(timeout) => self.set_user_timeout(timeout),
            Tuning::Linger(span) => self.linger_ms = span.map(span_ms),
            //= rfc9293#3.9.1.9
            //# The application layer MUST be able to specify the Differentiated Services field for segments that are sent on a connection
            //# (MUST-48).
            //= rfc9293#3.9.1.9
            //# It is not required, but the application SHOULD be able to change the Differentiated Services field during the connection
            //# lifetime (SHLD-21).
            Tuning::Dscp(code) => self.dscp = code & 63,
        }
    }

    /// The send timer ran for data that was held back, which leaves now or waits for something else.
    pub(super) fn stop_override(&mut self) {
        if self.snd.outstanding() == 0 && self.snd.wnd > 0 && !self.probe {
            self.timers.send = Instant::NEVER;
            self.override_avoidance = false;
        }
    }

    /// CLOSE was called: from now on the peer's time to take what is queued is counted.
    pub(super) fn start_linger(&mut self, now: Instant) {
        if let Some(span) = self.linger_ms {
            self.abort_at = now + Duration::from_millis(span.into());
            self.settle_patience();
        }
    }

    /// One of the long deadlines has changed.
    pub(super) fn settle_patience(&mut self) {
        if self.state() != State::Closed && self.state() != State::TimeWait {
            self.timers.patience = self.keepalive.at.min(self.user_timeout.at).min(self.abort_at);
        }
    }

    /// One of the long deadlines has come.
    pub(super) fn on_impatience(&mut self, config: &Config, now: Instant) -> Events {
        let mut events = Events::NONE;
        if self.abort_at <= now {
            self.abort_at = Instant::NEVER;
            let acknowledged = matches!(self.state(), State::FinWait2 | State::TimeWait | State::Closed);
            if !acknowledged {
                self.abort();
                return Events::ABORTED;
            }
        }
        if self.keepalive.at <= now {
            events |= self.on_keepalive(now);
        }
        if self.user_timeout.at <= now && events.is_empty() {
            events |= self.on_user_timeout(config, now);
        }
        if self.state() == State::Closed {
            return events;
        }
        self.settle_patience();
        events
    }
}
