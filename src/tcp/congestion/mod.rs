//! Congestion control: how much may be in flight (RFC 5681).
//!
//! Called by the recovery code with what happened; answers with a window. An algorithm keeps no sequence numbers and sends
//! nothing; loss detection, retransmission and the inflation of the window during recovery are not its business.

pub mod reno;

pub use reno::Reno;

use crate::time::Instant;

/// An algorithm. All sizes are in bytes.
pub trait Congestion {
    /// The congestion window: at least one full segment.
    fn window(&self) -> u32;

    /// The slow-start threshold.
    fn threshold(&self) -> u32;

    /// The payload of a full segment is now known to be `mss`; called before anything is sent.
    fn set_mss(&mut self, mss: u32);

    /// The SYN had to be sent more than once too often: begin with one segment (RFC 6928 2).
    fn on_lost_syn(&mut self);

    /// New data was acknowledged outside recovery.
    fn on_ack(&mut self, acked: &Acked);

    /// A loss was detected by duplicate acknowledgments: once per window.
    fn on_loss(&mut self, in_flight: u32, now: Instant);

    /// Recovery is over; at most `burst` may be in flight at first.
    fn on_recovered(&mut self, burst: u32);

    /// The retransmission timer expired; `first` for the first time for this data.
    fn on_timeout(&mut self, in_flight: u32, first: bool, now: Instant);

    /// Nothing was sent for longer than a retransmission timeout (RFC 5681 4.1).
    fn on_idle(&mut self);
}

/// An acknowledgment of new data.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// Bytes newly acknowledged.
    pub bytes: u32,
    /// Bytes in flight before it.
    pub in_flight: u32,
    /// When it arrived.
    pub now: Instant,
    /// The smoothed round-trip time, if known.
    pub srtt_ns: Option<u64>,
}
