//! The user timeout: how long data may stay unacknowledged (RFC 9293 3.8.3 and 3.9.1.1), and what the peers tell each other of it (RFC 5482).
//!
//! Without one a connection ends after a number of retransmissions (`tcp.retries`). Set by a service or a setting; the timers call
//! [`Tcb::on_user_timeout`]. Nothing panics.

use std::num::NonZeroU64;
use std::time::Duration;

use super::config::Config;
use super::event::Events;
use super::folded::Form;
use super::state::{Cause, State};
use super::tally::Happening;
use super::tcb::Tcb;
use crate::time::{Instant, span_ns};

/// The variables of RFC 5482 3, of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserTimeout {
    /// ENABLED: the option is sent and listened to.
    enabled: bool,
    /// CHANGEABLE: the peer's option may change USER_TIMEOUT.
    changeable: bool,
    /// USER_TIMEOUT in nanoseconds; `None`: the count of retransmissions decides.
    current: Option<NonZeroU64>,
    /// ADV_UTO, as the option tells it.
    advertised: u16,
    /// The option goes out with the next segment.
    announce: bool,
    /// Since when what is outstanding has seen no acknowledgment.
    since: Instant,
    /// When to look again; [`Instant::NEVER`] when nothing is outstanding.
    pub(super) at: Instant,
}

impl UserTimeout {
    pub(super) const fn new(config: &Config, now: Instant) -> Self {
        let current = NonZeroU64::new(span_ns(config.user_timeout));
        let advertised = encode(if config.user_timeout.is_zero() { DEFAULT } else { config.user_timeout });
        let enabled = config.user_timeout_option;
        Self { enabled, changeable: true, current, advertised, announce: enabled, since: now, at: Instant::NEVER }
    }

    /// The option of a SYN.
    pub(super) fn in_syn(&self) -> Option<u16> {
        self.enabled.then_some(self.advertised)
    }

    /// The option of the next segment that is not a SYN.
    pub(super) fn in_segment(&self) -> Option<u16> {
        self.announce.then_some(self.advertised)
    }

    /// A segment with the option has left.
    pub(super) const fn announced(&mut self) {
        self.announce = false;
    }

    /// Nothing is outstanding, or to be sent: there is nothing to wait for.
    pub(super) fn rest(&mut self, heard: Instant) {
        self.since = heard;
        self.at = Instant::NEVER;
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, config: &Config, heard: Instant) {
        form.near(&mut self.since, heard);
        if form.same(self, Self::new(config, self.since)) {
            return;
        }
        let Self { enabled, changeable, current, advertised, announce, since: _, at } = self;
        for flag in [enabled, changeable, announce] {
            form.flag(flag);
        }
        form.near(advertised, encode(DEFAULT));
        let mut ns = current.map_or(0, NonZeroU64::get);
        form.near(&mut ns, 0);
        *current = NonZeroU64::new(ns);
        form.near(at, Instant::NEVER);
    }
}

impl Tcb {
    /// The service's own choice; `None` leaves it to the count of retransmissions. [`Duration::MAX`] never gives up.
    pub(super) fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        let own = &mut self.user_timeout;
        own.current = timeout.map(in_ns);
        //= rfc5482#3
        //# If an application explicitly sets the USER_TIMEOUT, CHANGEABLE MUST become false in order to prevent UTO options (from the
        //# other end) from overriding local application requests.
        own.changeable = timeout.is_none();
        own.advertised = encode(timeout.unwrap_or(DEFAULT));
        //= rfc5482#3
        //# A host that supports the UTO option SHOULD include one in the next possible outgoing segment whenever it starts using a new
        //# user timeout for the connection.
        own.announce = own.enabled;
        self.watch_delivery();
    }

    /// What the peer says of its own.
    pub(super) fn hear_user_timeout(&mut self, option: Option<u16>) {
        let Some(remote) = option.and_then(decode).filter(|_| self.user_timeout.enabled && self.user_timeout.changeable) else {
            return;
        };
        //= rfc5482#3.1
        //# USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT))
        let own = decode(self.user_timeout.advertised).unwrap_or(DEFAULT);
        self.user_timeout.current = Some(in_ns(own.max(remote).max(LOWER).min(UPPER)));
        self.watch_delivery();
    }

    /// Something was acknowledged, or the peer answered a probe of its closed window.
    pub(super) const fn delivery_goes_on(&mut self, now: Instant) {
        self.user_timeout.since = now;
    }

    /// Something is about to be sent for the first time; the time counts from now if nothing else is outstanding.
    pub(super) fn delivery_begins(&mut self, now: Instant) {
        if self.snd.outstanding() == 0 {
            self.user_timeout.since = now;
        }
        if self.user_timeout.current.is_some() && self.user_timeout.at == Instant::NEVER {
            self.watch_delivery();
        }
    }

    /// Sets the time of the next look.
    fn watch_delivery(&mut self) {
        let own = &mut self.user_timeout;
        own.at = own.current.map_or(Instant::NEVER, |timeout| own.since.after_ns(timeout.get()));
        self.settle_patience();
    }

    /// The time of [`UserTimeout::at`] has come.
    pub(super) fn on_user_timeout(&mut self, config: &Config, now: Instant) -> Events {
        let handshake = matches!(self.state(), State::SynSent | State::SynReceived);
        let waits = self.snd.outstanding() > 0 || self.queue.len() > 0;
        let own = &mut self.user_timeout;
        own.at = Instant::NEVER;
        let Some(timeout) = own.current.filter(|_| waits && !handshake) else { return Events::NONE };
        //= rfc5482#3.1
        //# Therefore, the lower limit (L_LIMIT) MUST be larger than the current retransmission timeout (RTO) for the connection.
        let due = own.since.after_ns(timeout.get().max(self.rto.backed_off_ns(0, config).saturating_mul(2)));
        if now < due {
            own.at = due;
            return Events::NONE;
        }
        //= rfc9293#3.10.8
        //# For any state if the user timeout expires, flush all queues, signal the user "error: connection aborted due to user timeout"
        //# in general and for any outstanding calls, delete the TCB, enter the CLOSED state, and return.
        self.noted.note(Happening::UserTimeout);
        self.timers.stop();
        self.enter(Cause::TimedOut, State::Closed);
        Events::TIMED_OUT
    }

    /// True when so many retransmissions mean the end (R2).
    pub(super) fn retries_used_up(&self, config: &Config) -> bool {
        //= rfc9293#3.8.3
        //# An application MUST (MUST-21) be able to set the value for R2 for a particular connection.
        self.user_timeout.current.is_none() && u32::from(self.timers.unanswered) >= config.retries
    }
}

/// At least one nanosecond: zero would read as no timeout.
fn in_ns(timeout: Duration) -> NonZeroU64 {
    NonZeroU64::new(span_ns(timeout)).unwrap_or(NonZeroU64::MIN)
}

/// The value of an option: minutes where seconds do not fit into 15 bits.
const fn encode(timeout: Duration) -> u16 {
    let seconds = timeout.as_secs();
    let minutes = seconds / 60;
    if seconds == 0 {
        1
    } else if seconds <= VALUE as u64 {
        seconds as u16
    } else if minutes <= VALUE as u64 {
        MINUTES | minutes as u16
    } else {
        MINUTES | VALUE
    }
}

fn decode(option: u16) -> Option<Duration> {
    let value = u64::from(option & VALUE);
    //= rfc5482#3.4
    //# Current TCP implementations MUST NOT send it and MUST ignore it upon reception.
    if value == 0 {
        return None;
    }
    //= rfc5482#3.3
    //# When set (G = 1), the time interval in the "User Timeout" field MUST be interpreted as minutes.
    Some(Duration::from_secs(if option & MINUTES != 0 { value * 60 } else { value }))
}

/// The granularity bit.
const MINUTES: u16 = 1 << 15;
const VALUE: u16 = MINUTES - 1;
/// What is advertised when nothing is set (RFC 9293 3.9.1.1: five minutes).
const DEFAULT: Duration = Duration::from_secs(300);
/// L_LIMIT and U_LIMIT: what a peer can bring us to.
const LOWER: Duration = Duration::from_secs(100);
const UPPER: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_says_seconds_or_minutes() {
        let seconds = Duration::from_secs;
        for (timeout, option) in [
            (seconds(1), 1),
            (seconds(32_767), 32_767),
            (seconds(32_768), 0x8000 | 546),
            (Duration::MAX, 0xffff),
            (Duration::ZERO, 1),
        ] {
            assert_eq!(encode(timeout), option, "{timeout:?}");
        }
        assert_eq!(decode(0x8000 | 2), Some(seconds(120)));
        assert_eq!(decode(90), Some(seconds(90)));
    }

    //= type=test
    //= rfc5482#3.4
    //# Current TCP implementations MUST NOT send it and MUST ignore it upon reception.
    #[test]
    fn a_value_of_zero_is_ignored() {
        assert_eq!((decode(0), decode(0x8000)), (None, None));
    }
}
