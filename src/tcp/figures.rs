//! What a connection looks like from outside: the figures that `ss -ti` shows of the kernel's.
//!
//! Asked by the engine for whoever inspects it. Values only.

use super::State;
use super::config::Config;
use super::congestion::{Algorithm, Congestion as _};
use super::seq::SeqNum;
use super::tcb::Tcb;

/// The figures of a connection, of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The state.
    pub state: State,
    /// SND.UNA: the difference of two is what the peer has acknowledged meanwhile, modulo 2^32.
    pub snd_una: SeqNum,
    /// RCV.NXT: the difference of two is what has come in order meanwhile, modulo 2^32.
    pub rcv_nxt: SeqNum,
    /// Bytes received that the service has not taken.
    pub unread: usize,
    /// Bytes that are queued or sent, and not acknowledged.
    pub unacknowledged: usize,
    /// How congestion is controlled.
    pub congestion: Algorithm,
    /// The congestion window, in bytes.
    pub cwnd: u32,
    /// The slow-start threshold, in bytes; `None` before the first loss.
    pub ssthresh: Option<u32>,
    /// The smoothed round-trip time in nanoseconds (RFC 6298); `None` before the first sample.
    pub srtt_ns: Option<u64>,
    /// The retransmission timeout in nanoseconds, backed off as it is now.
    pub rto_ns: u64,
    /// Payload bytes of a full segment, options included.
    pub mss: u16,
    /// Segments that were sent more than once.
    pub retransmitted: u64,
}

impl Tcb {
    /// Its figures.
    pub fn figures(&self, config: &Config) -> Figures {
        let threshold = self.congestion.threshold();
        Figures {
            state: self.state(),
            snd_una: self.snd.una,
            rcv_nxt: self.rcv.nxt,
            unread: self.unread_len() + self.unoffered(),
            unacknowledged: self.unacknowledged(),
            congestion: self.algorithm(),
            cwnd: self.congestion_window(),
            ssthresh: (threshold < NO_THRESHOLD).then_some(threshold),
            srtt_ns: self.srtt_ns(),
            rto_ns: self.rto.backed_off_ns(self.timers.backoff, config),
            mss: self.snd.mss,
            retransmitted: self.retransmitted(),
        }
    }
}

/// A threshold of at least this was never set: RFC 5681 3.1 has it begin arbitrarily high.
const NO_THRESHOLD: u32 = u32::MAX / 2;
