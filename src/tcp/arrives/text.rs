//! The text of a segment (RFC 9293 3.10.7.4, seventh): accepting, keeping, acknowledging.

use std::ops::Range;

use crate::device::Drop;
use crate::tcp::config::Config;
use crate::tcp::event::Events;
use crate::tcp::pool::BufferPool;
use crate::tcp::ranges;
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::Happening;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;

/// Makes sure that in-order bytes can be kept if the service does not take them. If not, an ACK says so, within the limit, so that the peer
/// need not wait for its timer to learn of it.
pub(super) fn reserve_in_order(tcb: &mut Tcb, now: Instant, len: usize, pool: &mut BufferPool) -> Result<(), Drop> {
    //= rfc9293#3.10.7.4
    //# When the TCP endpoint takes responsibility for delivering the data to the user, it must also acknowledge the receipt of the data.
    // And the other way round: what it could not keep, it does not acknowledge.
    if tcb.received.promise(len, pool) {
        return Ok(());
    }
    if tcb.challenges.allows_duplicate(now) {
        tcb.ack_now = true;
    } else {
        tcb.noted.note(Happening::ChallengeLimited);
    }
    Err(Drop::TcpNoBuffer)
}

/// RCV.NXT moves over in-order bytes, and an acknowledgment is due: at once for every second full segment and while the peer begins,
/// else within the delay. PSH does not hasten it: nearly every message ends with one, and the answer it may get carries the
/// acknowledgment anyway.
pub(super) fn accept_in_order(tcb: &mut Tcb, config: &Config, now: Instant, len: u32) {
    //= rfc9293#3.10.7.4
    //# Once the TCP endpoint takes responsibility for the data, it advances RCV.NXT over the data accepted, and adjusts RCV.WND as
    //# appropriate to the current buffer availability.  The total of RCV.NXT and RCV.WND should not be reduced.
    tcb.rcv.advance(len);
    //= rfc9293#3.8.6.3 SHLD-19
    //# An ACK SHOULD be generated for at least every second full-sized segment or 2*RMSS bytes of new data
    let quick = tcb.autotune.on_data(config, now, tcb.rcv.nxt - len, len);
    if tcb.rcv.nxt - tcb.rcv.acked >= 2 * tcb.autotune.full_segment(tcb.peer_payload_max()) {
        tcb.ack_now = true;
    } else if quick {
        tcb.noted.note(Happening::QuickAck);
        tcb.ack_now = true;
    } else if tcb.timers.ack == Instant::NEVER {
        //= rfc9293#3.8.6.3
        //# A TCP endpoint SHOULD implement a delayed ACK (SHLD-18), but an ACK should not be excessively delayed; in particular, the
        //# delay MUST be less than 0.5 seconds (MUST-40).
        tcb.timers.ack = now + config.delayed_ack;
    }
}

/// Takes text at RCV.NXT. What is new, in order and not buffered is left to the caller as a range of the payload.
pub(super) fn in_order(
    tcb: &mut Tcb,
    config: &Config,
    now: Instant,
    payload: &[u8],
    new: Range<usize>,
    pool: &mut BufferPool,
) -> Result<(Range<usize>, Events), Drop> {
    let Some(bytes) = payload.get(new.clone()) else { return Ok((0..0, Events::NONE)) };
    reserve_in_order(tcb, now, bytes.len(), pool)?;
    let fills = tcb.received.has_hole();
    accept_in_order(tcb, config, now, bytes.len() as u32);
    if !fills && tcb.received.unread() == 0 {
        return Ok((new, Events::NONE));
    }
    tcb.received.append(bytes);
    if fills {
        //= rfc5681#4.2
        //# To provide feedback to senders recovering from losses, the receiver SHOULD send an immediate ACK when it receives a data
        //# segment that fills in all or part of a gap in the sequence space.
        let reached = tcb.received.join(tcb.rcv.nxt, pool);
        tcb.rcv.advance(reached - tcb.rcv.nxt);
        tcb.ack_now = true;
    }
    Ok((0..0, Events::READABLE))
}

/// Remembers text that is here already, to be reported if the peer permits it. True when there is some; whether it is acknowledged is the
/// caller's to say, who knows of limits.
pub(super) fn note_duplicate(tcb: &mut Tcb, seq: SeqNum, len: usize) -> bool {
    if len == 0 || !tcb.offers.sack {
        return false;
    }
    let segment = ranges::Range { left: seq, right: seq + len as u32 };
    tcb.received.note_duplicate(tcb.irs + 1, tcb.rcv.nxt, segment)
}

/// Keeps text that lies beyond a hole.
pub(super) fn beyond_a_hole(
    tcb: &mut Tcb,
    config: &Config,
    seq: SeqNum,
    bytes: &[u8],
    pool: &mut BufferPool,
) -> Result<(), Drop> {
    //= rfc5681#4.2
    //# Out-of-order data segments SHOULD be acknowledged immediately, in order to accelerate loss recovery.
    tcb.ack_now = true;
    tcb.autotune.hurry(config);
    //= rfc9293#3.10.7.4
    //# Segments with higher beginning sequence numbers SHOULD be held for later processing (SHLD-31).
    tcb.received.keep_beyond(tcb.rcv.nxt, seq, bytes, pool)
}
