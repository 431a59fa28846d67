//! Congestion control: how much may be in flight, and how fast (RFC 5681).
//!
//! Called by the recovery code with what happened; answers with a window and, if the algorithm paces, a rate. An algorithm keeps no sequence
//! numbers and sends nothing; loss detection, retransmission and what is sent during recovery (PRR) are not its business. No algorithm
//! panics or allocates while a connection lives.

pub mod reno;

pub use reno::Reno;

use super::rate::Sample;
use crate::time::Instant;

/// An algorithm. All sizes are in bytes.
pub trait Congestion {
    /// The congestion window: at least one full segment.
    fn window(&self) -> u32;

    /// The slow-start threshold.
    fn threshold(&self) -> u32;

    /// The pace in bytes a second; `None` sends as acknowledgments come.
    fn pace(&self) -> Option<u64> {
        None
    }

    /// The payload of a full segment is now `mss`; called before anything is sent, and when the path's MTU shrinks.
    fn set_mss(&mut self, mss: u32);

    /// The SYN had to be sent more than once too often: begin with one segment (RFC 6928 2).
    fn on_lost_syn(&mut self);

    /// Data was delivered: acknowledged by SEG.ACK or SACK, in recovery and outside.
    fn on_ack(&mut self, acked: &Acked);

    /// The network is congested, told by a loss or an ECN mark: once per window of data.
    fn on_congestion(&mut self, why: Signal, in_flight: u32, now: Instant);

    /// Recovery is over; at most `burst` may be in flight at first.
    fn on_recovered(&mut self, burst: u32);

    /// The retransmission timer expired; `first` for the first time for this data.
    fn on_timeout(&mut self, in_flight: u32, first: bool, now: Instant);

    /// The last [`Congestion::on_congestion`] or [`Congestion::on_timeout`] was a mistake: nothing had been lost.
    fn on_spurious(&mut self, now: Instant);

    /// Nothing was sent for longer than a retransmission timeout (RFC 5681 4.1, RFC 7661).
    fn on_idle(&mut self, now: Instant);

    /// True when the algorithm decides by itself how much is sent during recovery; otherwise PRR does (RFC 6937).
    fn governs_recovery(&self) -> bool {
        false
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
    /// RFC 5681.
    #[default]
    Reno,
}

impl Algorithm {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Reno];
    /// Their names, in the same order.
    pub const NAMES: &'static [&'static str] = &["reno"];

    /// The name on the command line, which is also the kernel's (TCP_CONGESTION).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reno => "reno",
        }
    }

    /// The algorithm of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }
}

/// The algorithm of one connection: static dispatch over [`Algorithm`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// RFC 5681.
    Reno(Reno),
}

impl Control {
    /// A connection that has sent nothing.
    pub(super) const fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Reno => Self::Reno(Reno::new()),
        }
    }
}

/// Hands every call to the algorithm.
macro_rules! each {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Control::Reno($inner) => $call,
        }
    };
}

impl Congestion for Control {
    fn window(&self) -> u32 {
        each!(self, inner => inner.window())
    }

    fn threshold(&self) -> u32 {
        each!(self, inner => inner.threshold())
    }

    fn pace(&self) -> Option<u64> {
        each!(self, inner => inner.pace())
    }

    fn set_mss(&mut self, mss: u32) {
        each!(self, inner => inner.set_mss(mss));
    }

    fn on_lost_syn(&mut self) {
        each!(self, inner => inner.on_lost_syn());
    }

    fn on_ack(&mut self, acked: &Acked) {
        each!(self, inner => inner.on_ack(acked));
    }

    fn on_congestion(&mut self, why: Signal, in_flight: u32, now: Instant) {
        each!(self, inner => inner.on_congestion(why, in_flight, now));
    }

    fn on_recovered(&mut self, burst: u32) {
        each!(self, inner => inner.on_recovered(burst));
    }

    fn on_timeout(&mut self, in_flight: u32, first: bool, now: Instant) {
        each!(self, inner => inner.on_timeout(in_flight, first, now));
    }

    fn on_spurious(&mut self, now: Instant) {
        each!(self, inner => inner.on_spurious(now));
    }

    fn on_idle(&mut self, now: Instant) {
        each!(self, inner => inner.on_idle(now));
    }

    fn governs_recovery(&self) -> bool {
        each!(self, inner => inner.governs_recovery())
    }
}
