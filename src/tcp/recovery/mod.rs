//! Loss recovery: what was lost, when it is sent again, and whether that was a mistake.
//!
//! Called with each acknowledgment, by the timers and by output. With SACK, losses are found by RACK and tail loss probes (RFC 8985) on the
//! scoreboard in `flight`; without, by counting duplicates (RFC 5681 3.2, RFC 6582). Either way PRR (RFC 6937) says how much may leave during fast
//! recovery, and a recovery that proves mistaken is taken back. SND.NXT never goes back: what is to be sent again is marked lost, and `output`
//! works that off. When recovery begins and ends is in `episode`; the acknowledgment that ends all there is takes the short way of `whole_ack`.
//! Nothing panics.

mod episode;
mod flight;
mod forward;
mod prr;
mod rack;
mod sack;
mod tail;
mod undo;
mod whole_ack;

pub(super) use flight::{Flight, Record, Records};
pub(super) use forward::Forward;
#[cfg(test)]
pub(super) use whole_ack::slowly;

use self::forward::Shown;
use self::prr::Prr;
use self::rack::{Newest, Rack};
use self::sack::Reported;
use self::tail::Tail;
use self::undo::Undo;
use super::config::Config;
use super::congestion::{Acked, Congestion};
use super::folded::Form;
use super::pool::BufferPool;
use super::rate::Sample;
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

    /// SND.UNA has moved to `una` while no recovery goes on.
    #[inline]
    fn advanced_while_open(&mut self, una: SeqNum) {
        self.limited = 0;
        self.duplicates = 0;
        self.left = 0;
        if una.after(self.point) {
            // Half the number space later it would seem to lie ahead.
            self.point = una - 1;
            self.lost_to = self.point;
        }
    }

    /// True when something has arrived beyond what is missing, and no loss is concluded from it yet.
    pub(super) const fn is_limited(&self, sacked: u32) -> bool {
        matches!(self.phase, Phase::Open) && (sacked > 0 || self.left > 0)
    }

    /// What a rest leaves while no recovery goes on and everything up to `una` is acknowledged. The episodes of before are closed: what would
    /// prove one mistaken would have come by now. The next one counts anew what it sends, and begins after `una` as after any acknowledgment.
    pub(super) fn rest(&mut self, una: SeqNum, srtt_ns: u64, heard: Instant) {
        if una.after(self.point) {
            self.point = una - 1;
            self.lost_to = self.point;
        }
        self.reduced = Instant::ZERO;
        self.forced = false;
        self.syn.sent = heard;
        self.prr = Prr::default();
        self.rack.rest(una, srtt_ns);
        self.undo = Undo::nothing(una);
        self.forward = Forward::No;
    }

    /// That of a connection that has never had anything to recover, after a rest.
    pub(super) fn at_rest(una: SeqNum, srtt_ns: u64, heard: Instant) -> Self {
        let mut recovery = Self::new(una - 1);
        recovery.rest(una, srtt_ns, heard);
        recovery
    }

    /// The least round-trip time of late in nanoseconds; 0: none was measured.
    pub(super) fn least_rtt_ns(&self) -> u64 {
        self.rack.least_rtt_ns()
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(in crate::tcp) fn pass(&mut self, form: &mut impl Form, una: SeqNum, srtt_ns: u64, heard: Instant) {
        self.rack.pass_least(form, srtt_ns, heard);
        let rested = Self { rack: self.rack.at_rest(una, srtt_ns), ..Self::at_rest(una, srtt_ns, heard) };
        if form.same(self, rested) {
            return;
        }
        let Self {
            phase,
            point,
            lost_to,
            reduced,
            forced,
            duplicates,
            left,
            limited,
            seen,
            lost,
            syn,
            prr,
            rack,
            tail,
            undo,
            forward,
        } = self;
        form.choice(phase, &[Phase::Open, Phase::Fast, Phase::Timeout]);
        form.near(point, una - 1);
        form.near(lost_to, *point);
        form.near(reduced, Instant::ZERO);
        form.flag(forced);
        form.near(duplicates, 0);
        form.near(left, 0);
        form.near(limited, 0);
        form.flag(seen);
        form.near(lost, 0);
        let Syn { sent, again, due } = syn;
        form.near(sent, heard);
        form.flag(again);
        form.flag(due);
        prr.pass(form);
        rack.pass(form, una, srtt_ns);
        tail.pass(form, una);
        undo.pass(form, una);
        forward.pass(form, una);
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
        if let Some(record) = self.only_record(segment, moved) {
            self.take_whole_ack(config, now, pool, moved, record.sent);
            return;
        }
        let echo = segment.options.timestamps.filter(|_| self.timestamps.ok).map(|(_, echo)| echo);
        let has_sack = self.offers.sack && segment.options.sack_count > 0;
        let reported = if has_sack { Reported::of(segment, &self.snd) } else { Reported::default() };
        let delivered = self.take_deliveries(now, echo, &reported, pool, moved.advanced);
        let rtt_ns = self.take_sample(config, now, echo, moved, &delivered);
        let (bytes, rate) = self.rate.finish(self.recovery.rack.least_rtt_ns());
        let was_fast = self.recovery.phase == Phase::Fast;
        self.probe_acknowledged(now, segment.ack, reported.twice.map(|block| block.right), moved.duplicate && !has_sack);
        self.recovery.tail.due &= !moved.advanced;
        if self.ecn.is_echo(segment.flags) {
            self.recovery.undo.marked();
        }
        let phase = self.recovery.phase;
        self.doubt(now, echo, &reported, moved, &delivered);
        let taken_back = phase != Phase::Open && self.recovery.phase == Phase::Open;
        let by_estimate = self.go_on(now, pool, moved, bytes);
        if self.offers.sack {
            self.detect_losses(config, now, bytes);
        }
        let is_fast = self.recovery.phase == Phase::Fast;
        let lost = self.recovery.lost;
        // Without SACK a duplicate shows a loss and delivers nothing.
        if moved.bytes > 0 || bytes > 0 || (is_fast && lost > 0) {
            //= rfc4015#3.4
            //# Note that the value of cwnd must not be changed any further for that
            //# ACK
            let recovering = was_fast || is_fast || taken_back;
            self.tell_congestion(now, moved, (bytes, rate), rtt_ns, recovering);
        }
        if is_fast {
            let delivered = if self.offers.sack { bytes } else { by_estimate };
            self.count_down(delivered, moved.advanced && lost == 0);
        }
        self.note_application_limit();
    }

    /// Says once that something has arrived out of order.
    #[inline]
    fn note_reordering(&mut self) {
        if self.recovery.rack.reordering && !self.recovery.seen {
            self.recovery.seen = true;
            self.noted.note(Happening::ReorderingSeen);
        }
    }

    /// Congestion control hears of an acknowledgment: the bytes it delivered and the rate that shows, the round-trip time, and whether recovery goes on.
    fn tell_congestion(
        &mut self,
        now: Instant,
        moved: Moved,
        (delivered, rate): (u32, Option<Sample>),
        rtt_ns: Option<u64>,
        recovering: bool,
    ) {
        self.congestion.on_ack(&Acked {
            bytes: moved.bytes,
            delivered,
            in_flight: moved.in_flight,
            pipe: self.in_flight(),
            now,
            srtt_ns: self.rtt.srtt_ns(),
            rtt_ns,
            rate,
            recovering,
            lost: std::mem::take(&mut self.recovery.lost),
        });
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
                self.take_back_reduction(Happening::SpuriousByDsack, moved.bytes, now);
            }
        }
        if moved.advanced && self.recovery.phase != Phase::Open && echo.is_some_and(|echo| self.recovery.undo.is_older(echo)) {
            //= rfc3522#3.2
            //# If the value of the Timestamp Echo Reply field of the acceptable ACK's Timestamps option is smaller than the value of RetransmitTS
            self.take_back_reduction(Happening::SpuriousByEifel, moved.bytes, now);
        }
        let Delivered { original, beyond, .. } = *delivered;
        let Moved { advanced, bytes, duplicate, .. } = moved;
        self.step_forward(Shown { advanced, bytes, duplicate, original, beyond }, now);
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
        self.note_reordering();
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
        let two_segments = 2 * self.payload_max();
        // Without a division where little is in flight.
        self.rtt.sample(ns, if in_flight <= two_segments { 1 } else { in_flight.div_ceil(two_segments) });
        self.rto = Rto::from_rtt(&self.rtt, config);
        //= rfc6298#5
        //# Note that after retransmitting, once a new RTT measurement is obtained (which can only happen when new data has been
        //# sent and acknowledged), the computations outlined in Section 2 are performed, including the computation of RTO,
        //# which may result in "collapsing" RTO back down after it has been subject to exponential back off (rule 5.5).
        self.timers.backoff = 0;
        self.recovery.tail.sampled();
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
        // What an ACK makes room for that moves SND.UNA is no limited transmit, although it reports something beyond a gap as well.
        if self.recovery.is_limited(self.flight.sacked()) {
            let beyond = (self.snd.outstanding() + bytes).saturating_sub(self.congestion.window()).min(bytes);
            if beyond > 0 {
                self.recovery.limited = self.recovery.limited.saturating_add(beyond);
                self.noted.note(Happening::LimitedTransmit);
            }
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
