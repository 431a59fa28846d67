//! Loss recovery: what was lost, when it is sent again, and whether that was a mistake.
//!
//! Called with each acknowledgment, by the timers and by output. With SACK, losses are found by RACK and tail loss probes (RFC 8985) on the
//! scoreboard in `flight`; without, by counting duplicates (RFC 5681 3.2, RFC 6582). Either way PRR (RFC 6937) says how much may leave during fast
//! recovery, and a recovery that proves mistaken is taken back. SND.NXT never goes back: what is to be sent again is marked lost, and `output`
//! works that off. Nothing panics.

mod flight;
mod forward;
mod prr;
mod rack;
mod sack;
mod tail;
mod undo;

use std::time::Duration;

pub(super) use flight::{Flight, Record, Records};
pub(super) use forward::Forward;

use self::flight::Judgement;
use self::forward::Shown;
use self::prr::Prr;
use self::rack::{Newest, Rack};
use self::sack::Reported;
use self::tail::Tail;
use self::undo::Undo;
use super::config::Config;
use super::congestion::{Acked, Congestion, Signal};
use super::pool::BufferPool;
use super::rto::Rto;
use super::seq::SeqNum;
use super::tally::Happening;
use super::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::Segment;

/// The state of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovery {
    pub(super) phase: Phase,
    /// SND.NXT when the last loss was found: recovery ends when all before is acknowledged (RFC 6582 "recover", RFC 6675 "RecoveryPoint").
    point: SeqNum,
    /// Where what was found lost since then ends; the same when nothing beyond it was.
    lost_to: SeqNum,
    /// When congestion control last reduced its window.
    reduced: Instant,
    /// The first segment of a recovery leaves whatever congestion control says.
    forced: bool,
    /// Duplicate acknowledgments in a row, where there is no SACK.
    duplicates: u8,
    /// Bytes that those say have left the network.
    left: u32,
    /// Bytes sent by limited transmit since SND.UNA last moved.
    limited: u32,
    /// Reordering was seen, and counted.
    seen: bool,
    /// Bytes given up since congestion control was last told.
    lost: u32,
    pub(super) syn: Syn,
    prr: Prr,
    rack: Rack,
    pub(super) tail: Tail,
    undo: Undo,
    pub(super) forward: Forward,
}

/// Which recovery goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// None.
    Open,
    /// After acknowledgments showed a loss.
    Fast,
    /// After the retransmission timer expired.
    Timeout,
}

/// Our SYN, which the scoreboard does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syn {
    /// When it was first sent.
    pub(super) sent: Instant,
    /// It was sent more than once.
    pub(super) again: bool,
    /// It is to be sent again.
    pub(super) due: bool,
}

impl Recovery {
    /// For a connection that has sent nothing.
    pub(super) fn new(iss: SeqNum) -> Self {
        Self {
            phase: Phase::Open,
            // RFC 6582 begins with the ISS and asks for more to be acknowledged, which keeps fast retransmit from repairing a loss of the very
            // first segment; there is nothing before it that could be confused with it.
            point: iss,
            lost_to: iss,
            reduced: Instant::ZERO,
            forced: false,
            duplicates: 0,
            left: 0,
            limited: 0,
            seen: false,
            lost: 0,
            syn: Syn { sent: Instant::ZERO, again: false, due: false },
            prr: Prr::default(),
            rack: Rack::new(iss + 1),
            tail: Tail::default(),
            undo: Undo::nothing(iss),
            forward: Forward::No,
        }
    }

    /// True when something has arrived beyond what is missing, and no loss is concluded from it yet.
    pub(super) const fn is_limited(&self, sacked: u32) -> bool {
        matches!(self.phase, Phase::Open) && (sacked > 0 || self.left > 0)
    }
}

/// What an acknowledgment did to SND.UNA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// Bytes of data by which it moved.
    pub(super) bytes: u32,
    /// It moved.
    pub(super) advanced: bool,
    /// It did not, and the segment is a duplicate acknowledgment (RFC 5681 2).
    pub(super) duplicate: bool,
    /// Bytes in flight before.
    pub(super) in_flight: u32,
}

/// What an acknowledgment delivered.
#[derive(Clone, Copy, Debug, Default)]
struct Delivered {
    /// When the newest stretch was sent that was sent only once.
    clean: Option<Instant>,
    /// Something was sent more than once.
    again: bool,
    /// Something was sent once only, before the last loss was found.
    original: bool,
    /// Something was sent after that for the first time.
    beyond: bool,
    newest: Newest,
}

impl Tcb {
    /// Bytes believed to be in the network (RFC 6675 "pipe").
    pub(super) fn in_flight(&self) -> u32 {
        self.snd.outstanding().saturating_sub(self.flight.sacked() + self.flight.lost() + self.recovery.left)
    }

    /// Bytes that may be sent on top of what is in flight, by congestion control and by recovery. Nothing that leaves alone is held back.
    pub(super) fn allowance(&self) -> u32 {
        let in_flight = self.in_flight();
        if in_flight == 0 || self.first_copy_waits() {
            return u32::MAX;
        }
        if self.recovery.phase == Phase::Fast && !self.congestion.governs_recovery() {
            return self.recovery.prr.room();
        }
        self.congestion.window().saturating_sub(in_flight)
    }

    /// An acceptable acknowledgment: the scoreboard, the round-trip time, losses, congestion control. SND.UNA has moved already, if it moves.
    pub(super) fn take_ack(&mut self, config: &Config, now: Instant, segment: &Segment<'_>, pool: &mut BufferPool, moved: Moved) {
        let echo = segment.options.timestamps.filter(|_| self.timestamps.ok).map(|(_, echo)| echo);
        let has_sack = self.offers.sack && segment.options.sack_count > 0;
        let reported = if has_sack { Reported::of(segment, &self.snd) } else { Reported::default() };
        let delivered = self.take_deliveries(now, echo, &reported, pool, moved.advanced);
        let rtt_ns = self.take_sample(config, now, echo, moved, &delivered);
        let (bytes, rate) = self.rate.finish(self.recovery.rack.least_rtt_ns());
        let was_fast = self.recovery.phase == Phase::Fast;
        self.probe_acknowledged(now, segment.ack, reported.twice.map(|block| block.right), moved.duplicate && !has_sack);
        self.recovery.tail.due &= !moved.advanced;
        self.doubt(now, echo, &reported, moved, &delivered);
        let by_estimate = self.go_on(now, pool, moved, bytes);
        if self.offers.sack {
            self.detect_losses(config, now, bytes);
        }
        let is_fast = self.recovery.phase == Phase::Fast;
        let lost = self.recovery.lost;
        // Without SACK a duplicate shows a loss and delivers nothing.
        if moved.bytes > 0 || bytes > 0 || (is_fast && lost > 0) {
            self.recovery.lost = 0;
            self.congestion.on_ack(&Acked {
                bytes: moved.bytes,
                delivered: bytes,
                in_flight: moved.in_flight,
                now,
                srtt_ns: self.rtt.srtt_ns(),
                rtt_ns,
                rate,
                recovering: was_fast || is_fast,
                lost,
            });
        }
        if is_fast {
            let delivered = if self.offers.sack { bytes } else { by_estimate };
            self.count_down(delivered, moved.advanced && lost == 0);
        }
        self.note_application_limit();
    }

    /// PRR takes note of what was delivered; `safe` when SND.UNA moved and no loss was found.
    fn count_down(&mut self, delivered: u32, safe: bool) {
        let (pipe, ssthresh, segment) = (self.in_flight(), self.congestion.threshold(), self.payload_max());
        self.recovery.prr.acknowledged(delivered, pipe, ssthresh, segment, safe);
    }

    /// Was the last reduction a mistake? Asked of DSACK, of the echoed timestamp, and after a timeout of F-RTO.
    fn doubt(&mut self, now: Instant, echo: Option<u32>, reported: &Reported, moved: Moved, delivered: &Delivered) {
        self.recovery.rack.acknowledged(self.snd.una);
        if reported.is_wrong {
            self.noted.note(Happening::SackIgnored);
        }
        if self.flight.take_joined() {
            self.noted.note(Happening::FlightJoined);
        }
        if let Some(twice) = reported.twice {
            self.noted.note(Happening::DsackReceived);
            self.recovery.rack.dsack(self.snd.nxt);
            if self.recovery.undo.superfluous(twice.left, twice.right) && self.flight.lost() == 0 {
                self.take_back_reduction(Happening::SpuriousByDsack, now);
            }
        }
        if moved.advanced && self.recovery.phase != Phase::Open && echo.is_some_and(|echo| self.recovery.undo.is_older(echo)) {
            //= rfc3522#3.2
            //# If the value of the Timestamp Echo Reply field of the acceptable ACK's Timestamps option is smaller than the value of RetransmitTS
            self.take_back_reduction(Happening::SpuriousByEifel, now);
        }
        let Delivered { original, beyond, .. } = *delivered;
        self.step_forward(Shown { advanced: moved.advanced, duplicate: moved.duplicate, original, beyond }, now);
    }

    /// Marks what is acknowledged and reported.
    fn take_deliveries(
        &mut self,
        now: Instant,
        echo: Option<u32>,
        reported: &Reported,
        pool: &mut BufferPool,
        advanced: bool,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        let timestamps = self.timestamps;
        let Self { flight, rate, recovery, .. } = self;
        let point = recovery.point;
        let mut take = |record: &Record, bytes: u32| {
            rate.deliver(bytes, &record.stamp, record.sent, now);
            let is_old = echo.is_some_and(|echo| SeqNum(echo).before(SeqNum(timestamps.value(record.sent))));
            recovery.rack.delivered(record, is_old, now, &mut delivered.newest);
            if record.is_again() {
                delivered.again = true;
                return;
            }
            delivered.clean = Some(delivered.clean.map_or(record.sent, |sent| sent.max(record.sent)));
            if record.end.after(point) {
                delivered.beyond = true;
            } else {
                delivered.original = true;
            }
        };
        if advanced {
            flight.acknowledge(self.snd.una, pool, &mut take);
        }
        for block in reported.blocks() {
            flight.report(block.left, block.right, pool, &mut take);
        }
        recovery.rack.delivered_all(delivered.newest, now);
        if recovery.rack.reordering && !recovery.seen {
            recovery.seen = true;
            self.noted.note(Happening::ReorderingSeen);
        }
        delivered
    }

    /// The round-trip time that an acknowledgment shows.
    fn take_sample(
        &mut self,
        config: &Config,
        now: Instant,
        echo: Option<u32>,
        moved: Moved,
        delivered: &Delivered,
    ) -> Option<u64> {
        let Moved { advanced, in_flight, .. } = moved;
        let ns = if delivered.again && (advanced || delivered.clean.is_none()) {
            //= rfc6298#3
            //# The only case when TCP can safely take RTT samples from retransmitted segments is when the TCP timestamp option [JBB92] is employed,
            //# since the timestamp option removes the ambiguity regarding which instance of the data segment triggered the acknowledgment.
            echo.filter(|_| advanced).and_then(|echo| self.timestamps.echoed_ns(echo, now))?
        } else {
            //= rfc9293#3.8.1
            //# The RTO MUST be computed according to the algorithm in [10], including Karn's algorithm for taking RTT samples
            //# (MUST-18).
            //= rfc6298#3
            //# TCP MUST use Karn's algorithm [KP87] for taking RTT samples.
            now.ns_since(delivered.clean?)
        };
        self.measured(config, now, ns, in_flight);
        Some(ns)
    }

    /// A round-trip time was measured while `in_flight` bytes were under way.
    pub(super) fn measured(&mut self, config: &Config, now: Instant, ns: u64, in_flight: u32) {
        self.recovery.rack.sample(ns, now);
        //= rfc7323#G
        //# ExpectedSamples = ceiling(FlightSize / (SMSS * 2))
        self.rtt.sample(ns, in_flight.div_ceil(2 * self.payload_max()));
        self.rto = Rto::from_rtt(&self.rtt, config);
        //= rfc6298#5
        //# Note that after retransmitting, once a new RTT measurement is obtained (which can only happen when new data has been
        //# sent and acknowledged), the computations outlined in Section 2 are performed, including the computation of RTO,
        //# which may result in "collapsing" RTO back down after it has been subject to exponential back off (rule 5.5).
        self.timers.backoff = 0;
        self.recovery.tail.sampled();
    }

    /// What an acknowledgment that delivered `delivered` bytes means for the recovery that goes on, if one does. Returns the bytes delivered as far
    /// as can be told without SACK.
    fn go_on(&mut self, now: Instant, pool: &mut BufferPool, moved: Moved, delivered: u32) -> u32 {
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
            Phase::Open => {
                self.recovery.duplicates = 0;
                self.recovery.left = 0;
                if self.snd.una.after(self.recovery.point) {
                    // Half the number space later it would seem to lie ahead.
                    self.recovery.point = self.snd.una - 1;
                    self.recovery.lost_to = self.recovery.point;
                }
            }
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
    fn end_recovery(&mut self) {
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
    fn detect_losses(&mut self, config: &Config, now: Instant, delivered: u32) {
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
    pub(super) fn on_reordering_timer(&mut self, config: &Config, now: Instant) {
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
    pub(super) fn recover_on_timeout(&mut self, now: Instant, first: bool) {
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
    pub(super) fn first_copy_waits(&self) -> bool {
        self.recovery.forced && self.flight.lost() > 0
    }

    /// A segment from `seq` to `end` leaves, which was sent before.
    pub(super) fn sent_again(&mut self, seq: SeqNum, end: SeqNum, now: Instant, pool: &mut BufferPool) {
        // Something is outstanding, and what of it has arrived without our knowing was not sent just now.
        let stamp = self.rate.stamp(now, false);
        self.flight.sent_again(seq, end, stamp, now, pool);
        let recovery = &mut self.recovery;
        recovery.forced = false;
        recovery.prr.sent(end - seq);
        if recovery.phase != Phase::Open {
            recovery.undo.sent_again(end - seq, self.timestamps.value(now));
        }
    }

    /// A segment up to `end` leaves for the first time; SND.NXT has not moved yet.
    pub(super) fn sent_new(&mut self, end: SeqNum, now: Instant, pool: &mut BufferPool) {
        let bytes = end - self.snd.nxt;
        let stamp = self.rate.stamp(now, self.snd.outstanding() == 0);
        self.flight.sent(end, stamp, now, pool);
        self.recovery.prr.sent(bytes);
        if let Forward::New { left } = &mut self.recovery.forward {
            *left = left.saturating_sub(1);
        }
        //= rfc3042#2
        //# The congestion window (cwnd) MUST NOT be changed when these new segments are transmitted.
        if self.recovery.is_limited(self.flight.sacked()) {
            self.recovery.limited = self.recovery.limited.saturating_add(bytes);
            self.noted.note(Happening::LimitedTransmit);
        }
    }

    /// Tells the delivery rate when there is nothing to send although there is room.
    pub(super) fn note_application_limit(&mut self) {
        let unsent = !self.fin_sent && self.fin_seq().after(self.snd.nxt);
        if unsent || self.flight.lost() > 0 {
            return;
        }
        let in_flight = self.in_flight();
        if self.congestion.window() > in_flight + self.payload_max() {
            self.rate.limited_by_application(in_flight);
        }
    }
}

/// Duplicate acknowledgments that mean a loss (RFC 5681 3.2).
const DUPLICATES: u8 = 3;

#[cfg(test)]
impl Tcb {
    /// The last recovery was `bytes` ago.
    pub(super) fn age_recovery_point(&mut self, bytes: u32) {
        self.recovery.point = self.snd.una - bytes;
    }

    /// The scoreboard covers what is outstanding, and its counts are right.
    pub(super) fn check_flight(&self) {
        use super::state::State;
        let synchronized = !matches!(self.state(), State::Closed | State::SynSent | State::SynReceived);
        if synchronized {
            self.flight.check(self.snd.una, self.snd.nxt);
        }
    }
}
