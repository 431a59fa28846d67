//! Congestion control: how much may be in flight, and how fast (RFC 5681).
//!
//! Called by the recovery code with what happened; answers with a window and, if the algorithm paces, a rate. An algorithm keeps no sequence
//! numbers and sends nothing; loss detection, retransmission and what is sent during recovery (PRR) are not its business. No algorithm
//! panics, or allocates but for what it remembers of a loss.

pub mod bbr;
#[cfg(test)]
mod bounds;
pub mod cubic;
mod curve;
mod hystart;
mod max_filter;
#[cfg(test)]
mod path;
pub mod reno;
mod round;
mod validation;

pub use bbr::Bbr;
pub use cubic::Cubic;
pub use reno::Reno;

use super::folded::Form;
use super::pacing::Pace;
use super::rate::Sample;
use super::tally::Noted;
use crate::time::Instant;
use crate::words::nearest;

/// An algorithm. All sizes are in bytes.
pub trait Congestion {
    /// The congestion window: at least one full segment.
    fn window(&self) -> u32;

    /// The slow-start threshold.
    fn threshold(&self) -> u32;

    /// The pace; `None` sends as acknowledgments come.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// The payload of a full segment is now `mss`; called before anything is sent, and when the path's MTU changes.
    fn set_mss(&mut self, mss: u32);

    /// The SYN had to be sent more than once too often: begin with one segment (RFC 6928 2).
    fn on_lost_syn(&mut self);

    /// Data was delivered: acknowledged by SEG.ACK or SACK, in recovery and outside.
    fn on_ack(&mut self, acked: &Acked);

    /// The network is congested, told by a loss or an ECN mark: once per window of data.
    fn on_congestion(&mut self, why: Signal, in_flight: u32, now: Instant);

    /// Recovery is over; at most `burst` may be in flight at first.
    fn on_recovered(&mut self, burst: u32);

    /// Everything that a timeout had given up is acknowledged.
    fn on_repaired(&mut self) {}

    /// The retransmission timer expired; `first` for the first time for this data.
    fn on_timeout(&mut self, in_flight: u32, first: bool, now: Instant);

    /// The last [`Congestion::on_congestion`] or [`Congestion::on_timeout`] was a mistake: nothing had been lost. So an acknowledgment of
    /// `acked` bytes has shown that leaves `in_flight` (FlightSize); the window does not grow by it beyond what is taken back here.
    fn on_spurious(&mut self, in_flight: u32, acked: u32, now: Instant);

    /// Nothing was sent for longer than a retransmission timeout (RFC 5681 4.1, RFC 7661).
    fn on_idle(&mut self, now: Instant);

    /// True when the algorithm decides by itself how much is sent during recovery; otherwise PRR does (RFC 6937).
    fn governs_recovery(&self) -> bool {
        false
    }

    /// False when the algorithm does nothing about marks: then its segments must not ask for them.
    fn answers_marks(&self) -> bool {
        true
    }

    /// What happened since the last call, to be counted.
    fn take_noted(&mut self) -> Noted {
        Noted::NONE
    }
}

/// How the network says that it is congested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A segment was lost.
    Loss,
    /// A segment was marked (RFC 3168).
    Mark,
}

/// What an acknowledgment delivered.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// Bytes by which SND.UNA moved.
    pub bytes: u32,
    /// Bytes newly delivered, by SEG.ACK or SACK.
    pub delivered: u32,
    /// Bytes in flight before it.
    pub in_flight: u32,
    /// Bytes in flight after it, without those found lost.
    pub pipe: u32,
    /// When it arrived.
    pub now: Instant,
    /// The smoothed round-trip time, if known.
    pub srtt_ns: Option<u64>,
    /// The round-trip time that this ACK shows, if it does.
    pub rtt_ns: Option<u64>,
    /// The delivery rate that it shows, if it does.
    pub rate: Option<Sample>,
    /// Loss recovery goes on: windows that are counted by PRR do not grow.
    pub recovering: bool,
    /// Bytes found lost since the last ACK.
    pub lost: u32,
}

/// The algorithms there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 8312 with the changes of RFC 9438: what Linux does unless told otherwise.
    #[default]
    Cubic,
    /// draft-cardwell-iccrg-bbr-congestion-control-00: version 1.
    Bbr,
    /// RFC 5681.
    Reno,
}

impl Algorithm {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Cubic, Self::Bbr, Self::Reno];
    /// Their names, in the same order.
    pub const NAMES: &'static [&'static str] = &["cubic", "bbr", "reno"];

    /// The name on the command line, which is also the kernel's (TCP_CONGESTION).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
            Self::Reno => "reno",
        }
    }

    /// The one that is meant by a word that names none; the default when none could be.
    pub fn nearest(word: &str) -> Self {
        nearest(word, Self::ALL.iter().map(|algorithm| algorithm.name())).and_then(Self::named).unwrap_or_default()
    }

    /// The algorithm of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }
}

/// What a connection knows that an algorithm is likely to have noted as well: near these its fields are written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The payload of a full segment.
    pub(super) mss: u32,
    /// When the peer was last heard.
    pub(super) heard: Instant,
    /// The smoothed round-trip time; 0 when it is not known.
    pub(super) srtt_ns: u64,
    /// The least of late.
    pub(super) least_rtt_ns: u64,
}

/// The congestion control of one connection, and what its windows have to do with marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    chosen: Chosen,
    /// The window shrank, and the peer has not been told (CWR, RFC 3168 6.1.2).
    reduced: bool,
    /// The same before the last reduction that could be a mistake.
    reduced_before: bool,
    /// The acknowledgment at hand echoes a mark: nothing grows by it.
    held: bool,
}

/// Static dispatch over [`Algorithm`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Chosen {
    /// RFC 8312 with the changes of RFC 9438.
    Cubic(Cubic),
    /// Version 1; only who chose it pays for it.
    Bbr(Box<Bbr>),
    /// RFC 5681.
    Reno(Reno),
}

impl Control {
    /// A connection that has sent nothing.
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let chosen = match algorithm {
            Algorithm::Cubic => Chosen::Cubic(Cubic::new()),
            Algorithm::Bbr => Chosen::Bbr(Box::default()),
            Algorithm::Reno => Chosen::Reno(Reno::new()),
        };
        Self { chosen, reduced: false, reduced_before: false, held: false }
    }

    /// True when the window has shrunk since [`Control::take_reduced`] was last called.
    pub(super) const fn reduced(&self) -> bool {
        self.reduced
    }

    /// The same, and forgets it.
    pub(super) const fn take_reduced(&mut self) -> bool {
        std::mem::replace(&mut self.reduced, false)
    }

    /// From now on acknowledgments let nothing grow, or do again.
    pub(super) const fn hold_growth(&mut self, held: bool) {
        self.held = held;
    }

    /// Which algorithm it is.
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self.chosen {
            Chosen::Cubic(_) => Algorithm::Cubic,
            Chosen::Bbr(_) => Algorithm::Bbr,
            Chosen::Reno(_) => Algorithm::Reno,
        }
    }

    /// What a rest leaves: nothing is in flight, and [`Congestion::on_idle`] is called before anything is.
    pub(super) fn rest(&mut self, heard: Instant, now: Instant) {
        self.reduced_before = false;
        match &mut self.chosen {
            Chosen::Cubic(cubic) => cubic.rest(heard, now),
            Chosen::Reno(reno) => reno.rest(heard, now),
            Chosen::Bbr(_) => {}
        }
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, known: &Known) {
        let Self { chosen, reduced, reduced_before, held } = self;
        for flag in [reduced, reduced_before, held] {
            form.flag(flag);
        }
        match chosen {
            Chosen::Cubic(cubic) => cubic.pass(form, known),
            Chosen::Reno(reno) => reno.pass(form, known),
            // Boxed and never folded.
            Chosen::Bbr(_) => {}
        }
    }
}

/// Hands every call to the algorithm.
macro_rules! each {
    ($($mut:ident)? ; $self:ident, $inner:ident => $call:expr) => {
        match &$($mut)? $self.chosen {
            Chosen::Cubic($inner) => $call,
            Chosen::Bbr($inner) => $call,
            Chosen::Reno($inner) => $call,
        }
    };
}

impl Congestion for Control {
    fn window(&self) -> u32 {
        each!(; self, inner => inner.window())
    }

    fn threshold(&self) -> u32 {
        each!(; self, inner => inner.threshold())
    }

    fn pace(&self) -> Option<Pace> {
        each!(; self, inner => inner.pace())
    }

    fn set_mss(&mut self, mss: u32) {
        each!(mut; self, inner => inner.set_mss(mss));
    }

    fn on_lost_syn(&mut self) {
        each!(mut; self, inner => inner.on_lost_syn());
    }

    fn on_ack(&mut self, acked: &Acked) {
        if self.held {
            let acked = Acked { recovering: true, ..*acked };
            return each!(mut; self, inner => inner.on_ack(&acked));
        }
        each!(mut; self, inner => inner.on_ack(acked));
    }

    fn on_congestion(&mut self, why: Signal, in_flight: u32, now: Instant) {
        self.reduced_before = std::mem::replace(&mut self.reduced, true);
        each!(mut; self, inner => inner.on_congestion(why, in_flight, now));
    }

    fn on_recovered(&mut self, burst: u32) {
        each!(mut; self, inner => inner.on_recovered(burst));
    }

    fn on_repaired(&mut self) {
        each!(mut; self, inner => inner.on_repaired());
    }

    fn on_timeout(&mut self, in_flight: u32, first: bool, now: Instant) {
        self.reduced_before = std::mem::replace(&mut self.reduced, true);
        each!(mut; self, inner => inner.on_timeout(in_flight, first, now));
    }

    fn on_spurious(&mut self, in_flight: u32, acked: u32, now: Instant) {
        // The window that is back needs no CWR, and marks are answered again.
        self.reduced &= self.reduced_before;
        each!(mut; self, inner => inner.on_spurious(in_flight, acked, now));
    }

    fn on_idle(&mut self, now: Instant) {
        each!(mut; self, inner => inner.on_idle(now));
    }

    fn governs_recovery(&self) -> bool {
        each!(; self, inner => inner.governs_recovery())
    }

    fn answers_marks(&self) -> bool {
        each!(; self, inner => inner.answers_marks())
    }

    fn take_noted(&mut self) -> Noted {
        each!(mut; self, inner => inner.take_noted())
    }
}

/// IW, in bytes.
pub(super) fn initial_window(smss: u32) -> u32 {
    //= rfc6928#2
    //# min (10*MSS, max (2*MSS, 14600))
    smss.saturating_mul(10).min(smss.saturating_mul(2).max(14_600))
}

/// "pipe_prev": the slow-start threshold that is safe again if the timeout at hand proves a mistake.
fn pipe_before(in_flight: u32, ssthresh: u32) -> u32 {
    //= rfc4015#3.1
    //# pipe_prev <- max (FlightSize, ssthresh)
    in_flight.max(ssthresh)
}

/// cwnd after a timeout that was a mistake. It is no more than what has left the network makes room for; from there slow start leads back to
/// "pipe_prev". A mistake that is found late, when less is in flight than the window allows, costs nothing of the window.
fn regained(cwnd: u32, in_flight: u32, acked: u32, smss: u32) -> u32 {
    //= rfc4015#3.1
    //# cwnd <- FlightSize + min (bytes_acked, IW)
    in_flight.saturating_add(acked.min(initial_window(smss))).max(cwnd).min(WINDOW_MAX)
}

/// cwnd and ssthresh after `periods` of five minutes in which the window was not validated.
fn reduced_unused(mut cwnd: u32, mut ssthresh: u32, periods: u32, initial: u32) -> (u32, u32) {
    for _ in 0..periods.min(u32::BITS) {
        //= rfc7661#4.4.3
        //# ssthresh = max(ssthresh, 3*cwnd/4).
        ssthresh = ssthresh.max(cwnd - cwnd / 4);
        //= rfc7661#4.4.3
        //# The sender MUST then update cwnd to be not greater than:
        //# cwnd = max((1/2)*cwnd, IW).
        cwnd = cwnd.min(initial.max(cwnd / 2));
    }
    (cwnd, ssthresh)
}

/// No window grows beyond a gibibyte: more than any send buffer, and sums of two fit 32 bits.
const WINDOW_MAX: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// An ACK of `bytes` that tells nothing else.
    pub(super) fn acked(bytes: u32, in_flight: u32) -> Acked {
        Acked {
            bytes,
            delivered: bytes,
            in_flight,
            pipe: in_flight.saturating_sub(bytes),
            now: Instant::ZERO,
            srtt_ns: None,
            rtt_ns: None,
            rate: None,
            recovering: false,
            lost: 0,
        }
    }

    #[test]
    fn every_algorithm_is_known_by_its_name() {
        for (&algorithm, &name) in Algorithm::ALL.iter().zip(Algorithm::NAMES) {
            assert_eq!((algorithm.name(), Algorithm::named(name)), (name, Some(algorithm)));
            assert_eq!(Control::new(algorithm).algorithm(), algorithm);
        }
        assert_eq!(Algorithm::named("vegas"), None);
        assert_eq!(Algorithm::nearest("rino"), Algorithm::Reno);
    }

    //= type=test
    //= rfc6928#2
    //# min (10*MSS, max (2*MSS, 14600))
    #[test]
    fn all_begin_with_ten_segments_or_14600_bytes() {
        for &algorithm in Algorithm::ALL {
            for (mss, window) in [(536, 5_360), (1460, 14_600), (1448, 14_480), (4000, 14_600), (8948, 17_896)] {
                let mut control = Control::new(algorithm);
                control.set_mss(mss);
                assert_eq!(control.window(), window, "{} with MSS {mss}", algorithm.name());
            }
        }
    }

    #[test]
    fn a_mistake_is_owed_no_cwr_but_an_earlier_mark_is() {
        for &algorithm in Algorithm::ALL {
            let mut control = Control::new(algorithm);
            control.set_mss(1000);
            control.on_timeout(5_000, true, Instant::ZERO);
            assert!(control.reduced());
            control.on_spurious(4_000, 1_000, Instant::ZERO);
            assert!(!control.reduced());
            control.on_congestion(Signal::Mark, 5_000, Instant::ZERO);
            control.on_congestion(Signal::Loss, 5_000, Instant::ZERO);
            control.on_spurious(4_000, 1_000, Instant::ZERO);
            assert!(control.take_reduced());
        }
    }

    #[test]
    fn bbr_is_told_that_a_timeout_is_repaired() {
        let mut control = Control::new(Algorithm::Bbr);
        control.set_mss(1000);
        control.on_timeout(5_000, true, Instant::ZERO);
        assert_eq!(control.window(), 1_000);
        control.on_repaired();
        assert_eq!(control.window(), 10_000);
    }

    //= type=test
    //= rfc7661#4.4.3
    //# ssthresh = max(ssthresh, 3*cwnd/4).
    #[test]
    fn an_unused_window_falls_by_halves_to_the_initial_one() {
        assert_eq!(reduced_unused(80_000, 30_000, 1, 10_000), (40_000, 60_000));
        assert_eq!(reduced_unused(80_000, 30_000, 9, 10_000), (10_000, 60_000));
        assert_eq!(reduced_unused(1_000, 30_000, 1, 10_000), (1_000, 30_000));
    }
}
