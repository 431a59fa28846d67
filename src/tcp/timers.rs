//! The timers of a connection and what happens when they expire (RFC 9293 3.8, 3.10.8; RFC 6298 5).
//!
//! The engine asks for the earliest deadline and calls back at or after it; an early call does nothing. Eight deadlines are
//! kept: one for whatever is outstanding or blocked (retransmission, zero-window probe, silly-window override: never two at once), two that come
//! before it (tail loss probe, reordering) and start it anew when they send something, one for a delayed ACK, one for the states that end by
//! themselves, one to try again when there was no memory, one for a segment that pacing holds back, one
//! for what takes minutes (keep-alive, user timeout, linger).

use super::config::Config;
use super::congestion::Congestion;
use super::event::Events;
use super::folded::Form;
use super::rto::Rto;
use super::state::{Cause, State};
use super::tally::Happening;
use super::tcb::Tcb;
#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::time::Instant;

/// Deadlines; [`Instant::NEVER`] when not armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timers {
    /// Retransmission, zero-window probe or override.
    pub(super) send: Instant,
    /// Tail loss probe; never after `send`.
    pub(super) tail: Instant,
    /// RACK's reordering timer.
    pub(super) reordering: Instant,
    /// Delayed ACK.
    pub(super) ack: Instant,
    /// The time-wait timer, which limits FIN-WAIT-2 as well.
    pub(super) time_wait: Instant,
    /// The service was refused memory and nothing else will wake it.
    pub(super) room: Instant,
    /// The earliest of the long ones: keep-alive, user timeout, linger (`tuning`).
    pub(super) patience: Instant,
    /// The next segment may leave (pacing).
    pub(super) pace: Instant,
    /// When `room` last expired.
    pub(super) woken: Instant,
    /// How often the send timer has doubled.
    pub(super) backoff: u8,
    /// Expiries of the send timer since the peer was last heard in the matter.
    pub(super) unanswered: u8,
}

impl Timers {
    /// None armed.
    pub(super) const NONE: Self = Self {
        send: Instant::NEVER,
        tail: Instant::NEVER,
        reordering: Instant::NEVER,
        ack: Instant::NEVER,
        time_wait: Instant::NEVER,
        room: Instant::NEVER,
        pace: Instant::NEVER,
        patience: Instant::NEVER,
        woken: Instant::ZERO,
        backoff: 0,
        unanswered: 0,
    };

    /// All off.
    pub(super) const fn stop(&mut self) {
        *self = Self::NONE;
    }

    /// One pass over its fields ([`super::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, keepalive_at: Instant) {
        if form.same(self, Self { patience: keepalive_at, ..Self::NONE }) {
            return;
        }
        let Self { send, tail, reordering, ack, time_wait, room, patience, pace, woken, backoff, unanswered } = self;
        for timer in [send, tail, reordering, ack, time_wait, room, pace] {
            form.near(timer, Instant::NEVER);
        }
        form.near(patience, keepalive_at);
        form.near(woken, Instant::ZERO);
        form.near(backoff, 0);
        form.near(unanswered, 0);
    }
}

impl Tcb {
    /// The earliest deadline; [`Instant::NEVER`] when there is none.
    pub fn poll_timeout(&self) -> Instant {
        let timers = &self.timers;
        let send = timers.send.min(timers.tail).min(timers.reordering);
        send.min(timers.ack).min(timers.time_wait).min(timers.room).min(timers.pace).min(timers.patience)
    }

    /// Lets expired timers act. May be called at any time; does nothing before a deadline.
    pub fn on_timeout(&mut self, config: &Config, now: Instant) -> Events {
        let mut events = Events::NONE;
        if self.timers.ack <= now {
            self.timers.ack = Instant::NEVER;
            self.ack_now = true;
        }
        if self.timers.pace <= now {
            // Whoever asks next finds that the segment may leave.
            self.timers.pace = Instant::NEVER;
        }
        if self.timers.room <= now {
            self.timers.room = Instant::NEVER;
            self.timers.woken = now;
            self.send_was_short = false;
            events |= Events::WRITABLE;
        }
        if self.timers.time_wait <= now {
            events |= self.on_time_wait_timer();
        }
        if self.timers.reordering <= now {
            self.on_reordering_timer(config, now);
        }
        if self.timers.tail <= now {
            self.timers.tail = Instant::NEVER;
            // Nor does a tail probe wait for the pace.
            self.pacer.release();
            self.on_probe_timer(config, now);
        }
        if self.timers.patience <= now {
            events |= self.on_impatience(config, now);
        }
        if self.timers.send <= now {
            events |= self.on_send_timeout(config, now);
        }
        events
    }

    /// TIME-WAIT is over, or the peer fell silent in FIN-WAIT-2.
    fn on_time_wait_timer(&mut self) -> Events {
        self.timers.stop();
        //= rfc9293#3.10.8
        //# If the time-wait timeout expires on a connection, delete the TCB, enter the CLOSED state, and return.
        if self.state() == State::TimeWait {
            self.enter(Cause::TimeWaitOver, State::Closed);
            return Events::NONE;
        }
        self.enter(Cause::TimedOut, State::Closed);
        Events::TIMED_OUT
    }

    fn on_send_timeout(&mut self, config: &Config, now: Instant) -> Events {
        self.timers.send = Instant::NEVER;
        // What a timer sends does not wait for the pace.
        self.pacer.release();
        if self.timers.unanswered > 0 && self.last_timeout_waits() {
            // Its segment could not leave yet (no frame, no room in the ring): that is our fault, not the peer's.
            self.arm_send(config, now);
            return Events::NONE;
        }
        match self.state() {
            State::SynSent => self.on_syn_timeout(config, now, config.syn_retries),
            State::SynReceived => self.on_syn_timeout(config, now, config.syn_ack_retries),
            State::Closed | State::Listen | State::TimeWait => Events::NONE,
            _ if self.snd.wnd == 0 => self.on_probe_timeout(config, now),
            _ if self.snd.outstanding() == 0 => {
                //= rfc9293#3.9.1.2
                //# (1) MUST NOT buffer data indefinitely (MUST-60)
                //= rfc9293#3.8.6.2.1
                //# To avoid a resulting deadlock, it is necessary to have a timeout to force transmission of data, overriding the
                //# SWS avoidance algorithm.
                self.override_avoidance = true;
                Events::NONE
            }
            _ => self.on_retransmission_timeout(config, now),
        }
    }

    /// True when what the last timeout wants sent has not left. With a closed window that is the probe alone: what is to be sent
    /// again waits for the window, and must not keep further probes back.
    fn last_timeout_waits(&self) -> bool {
        let handshake = matches!(self.state(), State::SynSent | State::SynReceived);
        if self.snd.wnd == 0 && !handshake {
            return self.probe;
        }
        if handshake { self.recovery.syn.due } else { self.first_copy_waits() }
    }

    fn on_syn_timeout(&mut self, config: &Config, now: Instant, retries: u32) -> Events {
        //= rfc9293#3.8.3 MUST-22
        //# SYN retransmissions MUST be handled in the general way just described for data retransmissions, including notification
        //# of the application layer.
        if self.snd.outstanding() > 0 {
            if u32::from(self.timers.unanswered) >= retries {
                return self.give_up();
            }
            self.noted.note(Happening::RetransmissionTimeout);
            self.count_timeout();
            self.recovery.syn.due = true;
        }
        self.arm_send(config, now);
        self.trouble()
    }

    fn on_probe_timeout(&mut self, config: &Config, now: Instant) -> Events {
        //= rfc9293#3.8.6
        //# If the window shrinks to zero, the TCP implementation MUST probe it in the standard way (described below) (MUST-35).
        //= rfc9293#3.8.6
        //# but SHOULD NOT time out the connection if data beyond the right window edge is not acknowledged (SHLD-17).
        //= rfc9293#3.8.6.1
        //# Probing of zero (offered) windows MUST be supported (MUST-36).
        //= rfc9293#3.8.6.1
        //# As long as the receiving TCP peer continues to send acknowledgments in response to the probe segments, the sending TCP
        //# peer MUST allow the connection to stay open (MUST-37).
        if self.retries_used_up(config) {
            return self.give_up();
        }
        //= rfc9293#3.8.6.1
        //# The transmitting host SHOULD send the first zero-window probe when a zero window has existed for the retransmission
        //# timeout period (SHLD-29) (Section 3.8.1), and SHOULD increase exponentially the interval between successive probes
        //# (SHLD-30).
        self.probe = true;
        #[cfg(test)]
        if planted::is(Bug::ProbeMissing) {
            self.probe = false;
        }
        self.noted.note(Happening::ZeroWindowProbe);
        self.count_timeout();
        self.arm_send(config, now);
        Events::NONE
    }

    fn on_retransmission_timeout(&mut self, config: &Config, now: Instant) -> Events {
        //= rfc9293#3.8.3
        //# The following procedure MUST be used to handle excessive retransmissions of data segments (MUST-20):
        //= rfc9293#3.8.3
        //# When the number of transmissions of the same segment reaches a threshold R2 greater than R1, close the connection.
        if self.retries_used_up(config) {
            return self.give_up();
        }
        //= rfc9293#3.10.8
        //# For any state if the retransmission timeout expires on a segment in the retransmission queue, send the segment at the
        //# front of the retransmission queue again, reinitialize the retransmission timer, and return.
        let first = self.timers.unanswered == 0;
        self.noted.note(Happening::RetransmissionTimeout);
        self.believe_pending_mtu(config, now);
        self.suspect_black_hole(config);
        self.recover_on_timeout(now, first);
        self.count_timeout();
        self.arm_send(config, now);
        self.trouble()
    }

    /// Said once, when the same segment has been sent again so often.
    fn trouble(&self) -> Events {
        //= rfc9293#3.8.3
        //# TCP implementations SHOULD inform the application of the delivery problem (unless such information has been disabled by the
        //# application; see the "Asynchronous Reports" section (Section 3.9.1.8)), when R1 is reached and before R2 (SHLD-9).
        // Of a handshake that a peer has begun no service knows yet.
        let known = !self.passive || self.state() != State::SynReceived;
        if known && self.timers.unanswered == R1 { Events::STALLED } else { Events::NONE }
    }

    const fn count_timeout(&mut self) {
        self.timers.unanswered = self.timers.unanswered.saturating_add(1);
        self.timers.backoff = self.timers.backoff.saturating_add(1);
    }

    /// R2 is reached.
    fn give_up(&mut self) -> Events {
        let told = !self.passive || self.state() != State::SynReceived;
        self.timers.stop();
        self.enter(Cause::TimedOut, State::Closed);
        if told { Events::TIMED_OUT } else { Events::NONE }
    }

    /// Starts the send timer anew.
    pub(super) fn arm_send(&mut self, config: &Config, now: Instant) {
        self.timers.send = now.after_ns(self.send_interval_ns(config));
    }

    /// Starts the probe timer anew, or stops it when something else watches over what is in flight.
    pub(super) fn arm_probe(&mut self, config: &Config, now: Instant) {
        //= rfc8985#7.2
        //# Finally, if the time at which an RTO would fire (here denoted as "TCP_RTO_expiration()") is sooner than the computed time for the PTO,
        //# then the sender schedules a TLP to be sent at that RTO time.
        self.timers.tail = self.probe_timeout_ns(config).map_or(Instant::NEVER, |ns| now.after_ns(ns).min(self.timers.send));
    }

    /// An acknowledgment moved nothing, but what it reported may be watched over by RACK from now on.
    pub(super) fn watch(&mut self, config: &Config) {
        if self.timers.tail != Instant::NEVER && self.probe_timeout_ns(config).is_none() {
            self.timers.tail = Instant::NEVER;
        }
    }

    /// SND.UNA moved, or the window opened: what the timer waits for has changed.
    pub(super) fn restart_send(&mut self, config: &Config, now: Instant) {
        if self.snd.outstanding() > 0 {
            //= rfc6298#5.3
            //# When an ACK is received that acknowledges new data, restart the retransmission timer so that it will expire after
            //# RTO seconds (for the current value of RTO).
            self.arm_send(config, now);
            //= rfc8985#7.2
            //# The sender SHOULD start or restart a loss probe PTO timer after transmitting new data (that was not itself a loss probe) or upon
            //# receiving an ACK that cumulatively acknowledges new data
            self.arm_probe(config, now);
        } else {
            //= rfc6298#5.2
            //# When all outstanding data has been acknowledged, turn off the retransmission timer.
            self.timers.send = Instant::NEVER;
            self.timers.tail = Instant::NEVER;
            self.timers.reordering = Instant::NEVER;
        }
    }

    fn send_interval_ns(&self, config: &Config) -> u64 {
        let interval_ns = self.rto.backed_off_ns(self.timers.backoff, config);
        if self.snd.outstanding() == 0 && self.snd.wnd > 0 {
            //= rfc9293#3.8.6.2.1
            //# The override timeout should be in the range 0.1 - 1.0 seconds.
            return if self.cork { CORK_MAX_NS } else { interval_ns.clamp(OVERRIDE_MIN_NS, OVERRIDE_MAX_NS) };
        }
        interval_ns
    }

    /// The handshake is complete: the RTO for data, and the initial window.
    pub(super) fn settle_after_syn(&mut self, config: &Config) {
        let lost = self.timers.unanswered;
        self.timers.backoff = 0;
        self.timers.unanswered = 0;
        if lost > 0 && self.rtt.srtt_ns().is_none() {
            self.rto = Rto::after_lost_syn(config);
        }
        //= rfc6928#2
        //# For this reason, it is RECOMMENDED that implementations refrain from resetting the initial window to 1 segment, unless
        //# there have been more than one SYN or SYN/ACK retransmissions or true loss detection has been made.
        if lost > 1 {
            self.congestion.on_lost_syn();
        }
    }
}

//= rfc9293#3.8.3
//# The value of R1 SHOULD correspond to at least 3 retransmissions, at the current RTO (SHLD-10).
pub(super) const R1: u8 = 3;
/// How long a corked segment waits, as on Linux.
const CORK_MAX_NS: u64 = 200_000_000;
const OVERRIDE_MIN_NS: u64 = 100_000_000;
const OVERRIDE_MAX_NS: u64 = 1_000_000_000;
