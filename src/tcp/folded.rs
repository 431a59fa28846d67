//! A connection at rest: what its TCB says, in as few octets as it takes.
//!
//! A TCB is made for one that sends and receives, and takes more than a kilobyte. Most connections of many do neither: nothing is in flight,
//! nothing queued, nothing unread. What is left are some seventy numbers, nearly all of which are what they were at the beginning, or what
//! another one of them says: when the peer was last heard is also when the last round trip was measured. So the engine has such a TCB
//! written down as what differs ([`Tcb::fold`]), and read back before anything happens to it ([`Folded::unfold_onto`]). That holds for every state in
//! which a TCB holds no memory of the pool: ESTABLISHED, SYN-RECEIVED before the acknowledgment has come, FIN-WAIT-2, TIME-WAIT.
//!
//! What is read equals what was written, field by field. Before that a TCB forgets what has no meaning after a rest ([`Tcb::fold`]), each
//! part saying why (`rest`): whatever is remembered of single transmissions, as they are all acknowledged; of episodes of recovery, which are over;
//! of delivery rates, which only BBR uses; of the present round of slow start, of CUBIC's curve and of the pace, as data after idleness begins a
//! round, a curve and a pace. What ages goes on ageing, on a coarse grid and never made younger: samples of what was used of the window, its
//! validation, the least round-trip time. A connection that has rested so behaves as one that was never folded: it sends the same segments at the
//! same times, until the first loss or the next growth of the congestion window, where it may be the more careful of the two. A TCB of which there is still
//! too much to tell stays as it is. Nothing here panics.

mod form;

pub(in crate::tcp) use form::Form;

use self::form::{Reader, Writer};
use super::config::Config;
use super::congestion::{Algorithm, Control, Known};
use super::event::{IpVersion, Opening};
use super::pacing::Pacer;
use super::rate::Rate;
use super::recovery::{Phase, Recovery};
use super::seq::SeqNum;
use super::state::{Current, State};
use super::tcb::Tcb;
use super::window::ReceiveSpace;
use crate::time::Instant;

/// A TCB, written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    len: u8,
    octets: [u8; ROOM],
}

/// The most octets a TCB may take.
const ROOM: usize = 104;

impl Folded {
    /// The TCB again.
    #[cfg(test)]
    pub(crate) fn unfold(&self, config: &Config) -> Tcb {
        let mut tcb = Tcb::blank(config);
        self.unfold_onto(config, &mut tcb);
        tcb
    }

    /// The TCB again, in the place of another one that holds nothing: one that was folded, or a blank one. `config` is the one with which it was folded.
    pub fn unfold_onto(&self, config: &Config, tcb: &mut Tcb) {
        debug_assert!(tcb.holds_nothing(), "its memory would be lost");
        // BBR is folded in TIME-WAIT alone, where it has been reset, so that in the place of another BBR nothing is to be done.
        let mut form = Reader::new(&self.octets[..usize::from(self.len).min(ROOM)]);
        let algorithm = pass_algorithm(&mut form, Algorithm::default());
        if tcb.congestion.algorithm() != algorithm {
            tcb.congestion = Control::new(algorithm);
        }
        tcb.pass(config, &mut form);
    }

    /// Octets it takes.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }
}

impl Tcb {
    /// One that says nothing yet, for [`Folded::unfold_onto`].
    pub fn blank(config: &Config) -> Self {
        let congestion = Algorithm::default();
        let opening = Opening { iss: SeqNum(0), timestamp_offset: 0, ip: IpVersion::V4, mss: 0, congestion };
        Self::new(config, opening, Instant::ZERO, Current::CLOSED)
    }

    /// Writes a TCB down that is at rest, or waits for the end of a handshake or of 2 MSL; `None` of any other, of one that holds memory of the
    /// pool, and of one of which there is too much to tell. It forgets what has no meaning any more, and is otherwise as before.
    pub fn fold(&mut self, config: &Config, now: Instant) -> Option<Folded> {
        if !self.holds_nothing() {
            return None;
        }
        match self.state() {
            State::Closed | State::Listen | State::SynSent => return None,
            State::SynReceived if self.congestion.algorithm() != Algorithm::Bbr => {}
            State::TimeWait => self.rest_in_time_wait(config, now),
            _ if self.is_at_rest(now) => self.rest(config, now),
            _ => return None,
        }
        let mut form = Writer::<ROOM>::new();
        pass_algorithm(&mut form, self.congestion.algorithm());
        self.pass(config, &mut form);
        let (octets, len) = form.finish()?;
        let folded = Folded { len: len as u8, octets };
        #[cfg(test)]
        assert_eq!(&folded.unfold(config), self, "folding loses something");
        Some(folded)
    }

    /// How long no text may have gone before it is at rest: the retransmission timeout.
    pub(super) const fn rto_ns(&self) -> u64 {
        self.rto.ns()
    }

    /// True when no text was sent for so long. It takes that to rest, and often no more.
    pub fn may_rest(&self, now: Instant, quiet_ns: u64) -> bool {
        now.ns_since(self.last_sent) > quiet_ns
    }

    /// True when no text went either way for so long, and none is under way: nothing but time is needed to rest.
    pub fn is_quiet(&self, now: Instant, quiet_ns: u64) -> bool {
        now.ns_since(self.last_text()) > quiet_ns && self.snd.outstanding() == 0
    }

    /// When text last went, either way.
    fn last_text(&self) -> Instant {
        self.last_sent.max(self.autotune.data_at())
    }

    /// When it is at rest if nothing happens meanwhile; [`Instant::NEVER`] when it is now, or when time alone does not bring it about.
    pub fn rests_at(&self, now: Instant) -> Instant {
        let at = self.last_text().after_ns(self.rto_ns().saturating_add(1));
        if at > now { at } else { Instant::NEVER }
    }

    /// True when no memory of the pool belongs to it.
    fn holds_nothing(&self) -> bool {
        self.queue.holds_nothing() && self.received.holds_nothing() && self.flight.is_empty()
    }

    /// True when everything is sent and acknowledged, in both directions, and no text went either way for a retransmission timeout: what is sent next is
    /// sent after idleness. One that only receives is idle as far as sending goes, but its next segment would wake it. What BBR knows of its path is
    /// too much to write down.
    fn is_at_rest(&self, now: Instant) -> bool {
        let idle = now.ns_since(self.last_text()) > self.rto_ns();
        let quiet = self.snd.outstanding() == 0 && self.recovery.phase == Phase::Open && !self.ack_now;
        idle && quiet && self.congestion.algorithm() != Algorithm::Bbr
    }

    /// Forgets what nothing will ask for after a rest, or what would be measured anew in any case.
    fn rest(&mut self, config: &Config, now: Instant) {
        let (una, heard, srtt_ns) = (self.snd.una, self.keepalive.heard, self.rtt.srtt_ns());
        // The handshake is over.
        self.iss = una;
        self.recovery.rest(una, srtt_ns.unwrap_or(0), heard);
        // Only BBR asks how fast data was delivered.
        self.rate = Rate::NONE;
        self.congestion.rest(heard, now);
        self.pacer.rest(now);
        self.challenges.rest(now);
        self.autotune.rest(config, heard, now);
        self.user_timeout.rest(heard);
        self.keepalive.rest();
        self.settle_patience();
        if now.ns_since(heard) > self.rto_ns() {
            // What is sent next follows idleness by either.
            self.last_sent = heard;
        }
    }

    /// In TIME-WAIT nothing is sent but acknowledgments: forgets also how much could have been, and how fast.
    fn rest_in_time_wait(&mut self, config: &Config, now: Instant) {
        let (una, heard) = (self.snd.una, self.keepalive.heard);
        self.iss = una;
        self.recovery = Recovery::at_rest(una, self.rtt.srtt_ns().unwrap_or(0), heard);
        self.rate = Rate::NONE;
        self.congestion = Control::new(self.congestion.algorithm());
        self.pacer = Pacer::NONE;
        self.challenges.rest(now);
        self.autotune.rest(config, heard, now);
        self.user_timeout.rest(heard);
        self.keepalive.rest();
    }

    /// One pass over all that a TCB without memory of the pool says. What others are likely to be near of comes first.
    fn pass(&mut self, config: &Config, form: &mut impl Form) {
        let Self {
            state,
            snd,
            rcv,
            iss,
            irs,
            fin_beyond,
            reset_pending,
            timestamps,
            rtt,
            rto,
            timers,
            recovery,
            flight,
            rate,
            congestion: _,
            pacer,
            ecn,
            challenges,
            path_mtu,
            urgent,
            dscp,
            keepalive,
            user_timeout,
            linger_ms,
            abort_at,
            last_sent,
            resent,
            noted,
            queue: _,
            received: _,
            autotune,
            offers,
            passive,
            syn_seen,
            fin_queued,
            fin_sent,
            fin_received,
            unreadable,
            no_delay,
            cork,
            ack_now,
            probe,
            override_avoidance,
            send_was_short,
        } = self;
        state.pass(form);
        keepalive.pass(form, config);
        let heard = keepalive.heard;
        form.near(last_sent, heard);
        rcv.pass(form, &ReceiveSpace::new(config, USUAL_MSS));
        snd.pass(form, rcv);
        form.near(iss, snd.una);
        form.near(irs, rcv.nxt);
        for seq in [fin_beyond, reset_pending] {
            form.optional(seq, rcv.nxt, |form, seq| form.word(&mut seq.0));
        }
        timestamps.pass(form, heard);
        rtt.pass(form);
        let srtt_ns = rtt.srtt_ns().unwrap_or(0);
        rto.pass(form, rtt, config);
        timers.pass(form, keepalive.at);
        recovery.pass(form, snd.una, srtt_ns, heard);
        flight.pass(form, snd.una);
        rate.pass(form, heard, *last_sent);
        pacer.pass(form, *last_sent);
        ecn.pass(form, config, snd.una);
        challenges.pass(form);
        path_mtu.pass(form, snd.una, rcv.mss);
        urgent.pass(form);
        form.near(dscp, 0);
        user_timeout.pass(form, config, heard);
        form.optional(linger_ms, 0, |form, linger_ms| form.near(linger_ms, 0));
        form.near(abort_at, Instant::NEVER);
        form.near(resent, 0);
        noted.pass(form);
        autotune.pass(form, config, rcv.nxt, heard);
        offers.pass(form);
        for flag in [passive, syn_seen, fin_queued, fin_sent, fin_received, unreadable] {
            form.flag(flag);
        }
        for flag in [no_delay, cork, ack_now, probe, override_avoidance, send_was_short] {
            form.flag(flag);
        }
        let known = Known { mss: self.payload_max(), heard, srtt_ns, least_rtt_ns: self.recovery.least_rtt_ns() };
        self.congestion.pass(form, &known);
    }
}

/// The algorithm, which an empty TCB has to be made for.
fn pass_algorithm(form: &mut impl Form, algorithm: Algorithm) -> Algorithm {
    if form.bit(algorithm == Algorithm::Cubic) {
        Algorithm::Cubic
    } else if form.bit(algorithm == Algorithm::Reno) {
        Algorithm::Reno
    } else {
        Algorithm::Bbr
    }
}

/// What the segments of most links carry.
const USUAL_MSS: u16 = 1460;
