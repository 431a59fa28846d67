//! A segment for a listener (RFC 9293 3.10.7.2).

use crate::device::Drop;
use crate::tcp::event::Reset;
use crate::wire::tcp::{Flags, Segment};

/// What a listener does with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nothing.
    Ignore(Drop),
    /// It acknowledges something that was never sent: answer with this reset.
    Reset(Reset),
    /// It asks for a connection: make a TCB with [`crate::tcp::Tcb::accept`].
    Syn,
}

/// Sorts a segment that arrived at a listener.
pub fn on_segment(segment: &Segment<'_>) -> Listen {
    //= rfc9293#3.10.7.2
    //# An incoming RST should be ignored.  Return.
    if segment.flags.contains(Flags::RST) {
        return Listen::Ignore(Drop::TcpListenIgnored);
    }
    //= rfc9293#3.10.7.2
    //# An acceptable reset segment should be formed for any arriving ACK-bearing segment.  The RST should be formatted as follows:
    //# -   <SEQ=SEG.ACK><CTL=RST>
    if segment.flags.contains(Flags::ACK) {
        return Listen::Reset(Reset { seq: segment.ack, ack: None });
    }
    if segment.flags.contains(Flags::SYN) {
        return Listen::Syn;
    }
    //= rfc9293#3.10.7.2
    //# This should not be reached.  Drop the segment and return.
    Listen::Ignore(Drop::TcpListenIgnored)
}
