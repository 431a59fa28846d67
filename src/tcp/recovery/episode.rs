//! Episodes of recovery: what begins one, what an acknowledgment means while it goes on, and what ends it (RFC 5681 3.2, RFC 6582, RFC 8985 6).
//!
//! Called with each acknowledgment, and by the reordering and the retransmission timer. Sends nothing: what is lost is marked, and how much may
//! leave is for PRR and congestion control to say. Nothing panics.

use std::time::Duration;

use super::flight::Judgement;
use super::{Forward, Moved, Phase, Prr, Undo};
use crate::tcp::config::Config;
use crate::tcp::congestion::{Congestion, Signal};
use crate::tcp::pool::BufferPool;
use crate::tcp::tally::Happening;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;

impl Tcb {
    /// What an acknowledgment that delivered `delivered` bytes means for the recovery that goes on, if one does. Returns the bytes delivered as far
    /// as can be told without SACK.
    pub(super) fn go_on(&mut self, now: Instant, pool: &mut BufferPool, moved: Moved, delivered: u32) -> u32 {
        let by_estimate = if moved.advanced {
            //= rfc6937#2
            //# on a subsequent partial or full ACK, DeliveredData is estimated to be the change in snd.una, minus 1 SMSS for each preceding
            //# duplicate ACK.
            let known = self.recovery.left;
            self.recovery.left = known.saturating_sub(moved.bytes);
            moved.bytes.saturating_sub(known)
        } else if moved.duplicate && !self.offers.sack {
            self.count_duplicate(now, pool)
        } else {
            0
        };
        if !moved.advanced {
            return by_estimate;
        }
        self.recovery.limited = 0;
        match self.recovery.phase {
            Phase::Open => self.recovery.advanced_while_open(self.snd.una),
            _ if self.snd.una.at_or_after(self.recovery.point) => self.end_episode(now, delivered),
            Phase::Fast if !self.offers.sack => self.partial_ack(moved.bytes, pool),
            _ => {}
        }
        by_estimate
    }

    /// Everything up to the recovery point is acknowledged, by an acknowledgment that delivered `delivered` bytes.
    fn end_episode(&mut self, now: Instant, delivered: u32) {
        let was_fast = self.recovery.phase == Phase::Fast;
        self.end_recovery();
        if !was_fast {
            self.congestion.on_repaired();
        }
        if was_fast {
            //= rfc6582#3.2
            //# If this ACK acknowledges all of the data up to and including recover, then the ACK acknowledges all the intermediate segments sent
            //# between the original transmission of the lost segment and the receipt of the third duplicate ACK.
            // PRR has brought what is in flight to ssthresh; without SACK it only guesses how much that is, and a burst could follow.
            let burst = if self.offers.sack { self.congestion.threshold().min(i32::MAX as u32) } else { self.snd.outstanding() };
            self.congestion.on_recovered(burst);
        }
        if self.recovery.lost_to.after(self.snd.una) {
            //= rfc5681#4.3
            //# Loss in two successive windows of data, or the loss of a retransmission, should be taken as two indications of congestion and,
            //# therefore, cwnd (and ssthresh) MUST be lowered twice in this case.
            self.enter_fast(now, self.undelivered(delivered));
        }
    }

    /// RecoverFS: what is outstanding and was not reported before the acknowledgment that delivered `delivered` bytes. Those count as delivered
    /// during recovery.
    fn undelivered(&self, delivered: u32) -> u32 {
        self.snd.outstanding().saturating_sub(self.flight.sacked()).saturating_add(delivered)
    }

    /// No recovery goes on any more.
    pub(super) fn end_recovery(&mut self) {
        let recovery = &mut self.recovery;
        recovery.phase = Phase::Open;
        recovery.forced = false;
        recovery.duplicates = 0;
        recovery.left = 0;
        recovery.forward = Forward::No;
        recovery.rack.recovered();
    }

    /// A duplicate acknowledgment where there is no SACK. Returns the bytes it is taken to stand for.
    fn count_duplicate(&mut self, now: Instant, pool: &mut BufferPool) -> u32 {
        let segment = self.payload_max();
        // Never more than is outstanding: duplicates can be forged (RFC 5681 3.2, note).
        let mut left = segment.min(self.in_flight().saturating_sub(segment));
        let recovery = &mut self.recovery;
        if recovery.phase == Phase::Timeout {
            // What was sent before is given up, and in flight no more: only of what was sent since for the first time can anything have left.
            left = left.min((self.snd.nxt - recovery.point).saturating_sub(recovery.left));
        }
        recovery.left += left;
        recovery.duplicates = recovery.duplicates.saturating_add(1);
        //= rfc6582#3.2
        //# When the third duplicate ACK is received, the TCP sender first checks the value of recover to see if the Cumulative
        //# Acknowledgment field covers more than recover.
        if recovery.phase == Phase::Open && recovery.duplicates == DUPLICATES && self.snd.una.after(recovery.point) {
            //= rfc5681#3.2
            //# The lost segment starting at SND.UNA MUST be retransmitted
            self.recovery.lost += self.flight.lose_first(segment, pool).bytes;
            self.enter_fast(now, self.snd.outstanding());
        }
        left
    }

    /// SND.UNA moved by `bytes`, but not past all that was in flight when the loss was found, and there is no SACK to tell more.
    fn partial_ack(&mut self, bytes: u32, pool: &mut BufferPool) {
        //= rfc6582#3.2
        //# In this case, retransmit the first unacknowledged segment.
        self.noted.note(Happening::PartialAck);
        let segment = self.payload_max();
        if self.flight.first().is_some_and(|record| !record.is_again()) && bytes > 0 {
            self.recovery.lost += self.flight.lose_first(segment, pool).bytes;
            self.recovery.forced = self.flight.lost() > 0;
        }
        let outstanding = self.snd.outstanding().saturating_sub(self.flight.lost());
        self.recovery.left = self.recovery.left.min(outstanding);
    }

    /// Gives up what RACK finds lost, and begins a fast recovery if need be. This acknowledgment has delivered `delivered` bytes.
    pub(super) fn detect_losses(&mut self, config: &Config, now: Instant, delivered: u32) {
        self.timers.reordering = Instant::NEVER;
        if self.flight.is_empty() {
            return;
        }
        let srtt_ns = self.rtt.srtt_ns().unwrap_or(0);
        //= rfc8985#6.2
        //# If no reordering has been observed based on the previous step, then one way the sender can enter fast recovery is when the number of
        //# SACKed segments matches or exceeds DupThresh (similar to [RFC6675]).
        // Counted as RFC 6675 4 does in bytes: more than two full segments.
        let three = self.flight.sacked() > 2 * self.payload_max();
        let window_ns = self.recovery.rack.window_ns(self.recovery.phase != Phase::Open || three, srtt_ns);
        let mut wait = Duration::ZERO;
        let rack = self.recovery.rack;
        let mut lost_to = self.recovery.lost_to;
        let loss = self.flight.judge(|record| {
            let judgement = rack.judge(record, window_ns, now, &mut wait);
            if judgement == Judgement::Lost {
                lost_to = lost_to.latest(record.end);
            }
            judgement
        });
        if wait > Duration::ZERO {
            // The RFC runs the timer for as long as it computes. A quarter of a round trip of microseconds is less than the time a receiver takes
            // to get to its packets, so that most such timers would cry loss for nothing.
            self.timers.reordering = now + wait.max(config.reordering_min);
        }
        if loss.bytes == 0 {
            return;
        }
        if self.recovery.phase == Phase::Open && self.only_probe_lost(loss.bytes) {
            //= rfc4821#7.6.2
            //# In this case alone, the
            //# loss SHOULD NOT be interpreted as congestion signal.
            return;
        }
        self.recovery.lost += loss.bytes;
        self.recovery.lost_to = lost_to;
        match self.recovery.phase {
            Phase::Open => self.enter_fast(now, self.undelivered(delivered)),
            //= rfc5681#4.3
            //# Loss in two successive windows of data, or the loss of a retransmission, should be taken as two indications of congestion and,
            //# therefore, cwnd (and ssthresh) MUST be lowered twice in this case.
            Phase::Fast if loss.again.is_some_and(|sent| sent >= self.recovery.reduced) => {
                // Counted from the window as the first reduction left it: FlightSize still holds what was sent before.
                self.recovery.limited = self.snd.outstanding().saturating_sub(self.congestion.window());
                self.enter_fast(now, self.in_flight());
                self.recovery.undo = Undo::nothing(self.snd.una);
            }
            _ => {}
        }
    }

    /// A loss is found: fast recovery begins, with `flight` bytes to be counted down by PRR.
    fn enter_fast(&mut self, now: Instant, flight: u32) {
        self.noted.note(Happening::FastRetransmit);
        let nxt = self.snd.nxt;
        let recovery = &mut self.recovery;
        recovery.phase = Phase::Fast;
        recovery.point = nxt;
        recovery.lost_to = nxt;
        recovery.reduced = now;
        recovery.forced = true;
        recovery.prr = Prr::begin(flight);
        recovery.tail.forget();
        recovery.undo = Undo::begin(self.snd.una, nxt, self.flight.again());
        //= rfc5681#3.2
        //# When [RFC3042] is in use, additional data sent in limited transmit MUST NOT be included in this calculation.
        let in_flight = self.snd.outstanding() - std::mem::take(&mut recovery.limited).min(self.snd.outstanding());
        self.congestion.on_congestion(Signal::Loss, in_flight, now);
    }

    /// The reordering timer expired.
    pub(in crate::tcp) fn on_reordering_timer(&mut self, config: &Config, now: Instant) {
        self.timers.reordering = Instant::NEVER;
        let lost_before = self.flight.lost();
        self.detect_losses(config, now, 0);
        if self.flight.lost() > lost_before {
            self.noted.note(Happening::ReorderingTimeout);
            self.arm_send(config, now);
        }
        if self.recovery.phase == Phase::Fast {
            self.count_down(0, false);
        }
        self.watch(config);
    }

    /// The retransmission timer expired; `first` for the first time for this data.
    pub(in crate::tcp) fn recover_on_timeout(&mut self, now: Instant, first: bool) {
        //= rfc5681#2
        //# FLIGHT SIZE: The amount of data that has been sent but not yet cumulatively acknowledged.
        let outstanding = self.snd.outstanding();
        // In fast recovery what has arrived meanwhile made room for more than the window that was reduced already.
        let flight = if self.recovery.phase == Phase::Fast { outstanding.min(self.congestion.window()) } else { outstanding };
        self.congestion.on_timeout(flight, first, now);
        let forward = self.recovery.phase == Phase::Open && first;
        if self.flight.is_reneged() {
            self.noted.note(Happening::SackReneged);
        }
        //= rfc2018#5.1
        //# After a retransmit timeout the data sender SHOULD turn off all of the SACKed bits, since the timeout might indicate that the data receiver
        //# has reneged.
        self.flight.forget_reports();
        let window_ns = self.recovery.rack.window_ns(true, self.rtt.srtt_ns().unwrap_or(0));
        let rack = self.recovery.rack;
        let mut is_first = true;
        //= rfc8985#6.3
        //# Upon RTO timer expiration, RACK marks the first outstanding segment as lost (since it was sent an RTO ago); for all the other segments,
        //# RACK only marks the segment as lost if the time elapsed since the segment was transmitted is at least the sum of the recent RTT and the
        //# reordering window.
        let loss = self.flight.judge(|record| {
            let lost = std::mem::take(&mut is_first) || rack.due(record, window_ns) <= now;
            if lost { Judgement::Lost } else { Judgement::Open }
        });
        let nxt = self.snd.nxt;
        let recovery = &mut self.recovery;
        recovery.lost += loss.bytes;
        //= rfc6582#3.2
        //# After a retransmit timeout, record the highest sequence number transmitted in the variable recover, and exit the fast
        //# recovery procedure if applicable.
        recovery.point = nxt;
        recovery.lost_to = nxt;
        recovery.phase = Phase::Timeout;
        recovery.reduced = now;
        // What was sent a moment ago is not given up, and may fill the window: the first segment goes again all the same.
        recovery.forced = true;
        recovery.duplicates = 0;
        recovery.left = 0;
        recovery.limited = 0;
        recovery.tail.forget();
        recovery.undo = if first { Undo::begin(self.snd.una, nxt, self.flight.again()) } else { Undo::nothing(self.snd.una) };
        self.timers.reordering = Instant::NEVER;
        let end = self.flight.first_lost(self.payload_max()).map_or(nxt, |(seq, len)| seq + len);
        self.recovery.forward = if forward { Forward::First { end } } else { Forward::No };
    }

    /// True when nothing has left yet of what the last timeout gave up. (Its copy may have been given up again: that is the network's fault.)
    pub(in crate::tcp) fn first_copy_waits(&self) -> bool {
        self.recovery.forced && self.flight.lost() > 0
    }
}

/// Duplicate acknowledgments that mean a loss (RFC 5681 3.2).
const DUPLICATES: u8 = 3;
