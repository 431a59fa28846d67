//! A segment for which there is no connection (RFC 9293 3.10.7.1).

use crate::tcp::event::Reset;
use crate::tcp::seq::SeqNum;
use crate::wire::tcp::{Flags, Segment};

/// The reset that answers a segment for which there is no connection; a reset is never answered.
pub fn reset_for(segment: &Segment<'_>) -> Option<Reset> {
    //= rfc9293#3.10.7.1
    //# An incoming segment containing a RST is discarded.
    if segment.flags.contains(Flags::RST) {
        return None;
    }
    //= rfc9293#3.10.7.1
    //# If the ACK bit is on,
    //# -   <SEQ=SEG.ACK><CTL=RST>
    if segment.flags.contains(Flags::ACK) {
        return Some(Reset { seq: segment.ack, ack: None });
    }
    //= rfc9293#3.10.7.1
    //# If the ACK bit is off, sequence number zero is used,
    //# -   <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
    Some(Reset { seq: SeqNum(0), ack: Some(segment.seq + segment.len()) })
}
