//! The eleven states of a connection (RFC 9293 3.3.2).

use std::fmt;

/// The state of a connection. LISTEN belongs to listeners and CLOSED to no TCB at all; both are here because reports name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection.
    Closed,
    /// Waiting for a SYN.
    Listen,
    /// SYN sent, waiting for the peer's.
    SynSent,
    /// SYN received and sent, waiting for the acknowledgement of ours.
    SynReceived,
    /// Open.
    Established,
    /// FIN sent, not yet acknowledged; the peer has not closed.
    FinWait1,
    /// FIN acknowledged; the peer has not closed.
    FinWait2,
    /// The peer has closed; we have not.
    CloseWait,
    /// Both sent FIN at once; ours is not yet acknowledged.
    Closing,
    /// The peer closed first; our FIN is not yet acknowledged.
    LastAck,
    /// Both FINs are acknowledged; old segments die out for 2 MSL.
    TimeWait,
}

impl State {
    /// All states, in the order of the RFC.
    pub const ALL: [Self; 11] = [
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Closed,
    ];

    /// The name as the RFC prints it: `SYN-RECEIVED`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
