//! ESTABLISHED, the common case: the next data in order, or an acknowledgment of new data (RFC 7323 5.6, header prediction).
//!
//! Everything this path does the ordinary one does too, and a property test holds them equal. It only leaves out the checks
//! that [`applies`] has answered already.

use super::taken;
use super::text::{accept_in_order, reserve_in_order};
use crate::tcp::config::Config;
use crate::tcp::event::{Arrival, Events};
use crate::tcp::pool::BufferPool;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::ipv4::ECN_CE;
use crate::wire::tcp::{Flags, Segment};

/// True when no check of the ordinary path could fail and nothing special is going on. The state is ESTABLISHED.
pub(super) fn applies(tcb: &Tcb, segment: &Segment<'_>, now: Instant) -> bool {
    let plain = segment.flags.0 & !Flags::PSH.0 == Flags::ACK.0;
    let len = segment.payload.len();
    plain
        && segment.seq == tcb.rcv.nxt
        && timestamps_are_fine(tcb, segment, now)
        && segment.ack.at_or_after(tcb.snd.una)
        && segment.ack.at_or_before(tcb.snd.nxt)
        && (len > 0 || segment.ack.after(tcb.snd.una))
        && len as u64 <= u64::from(tcb.rcv.wnd)
        && (len == 0 || (!tcb.received.has_hole() && tcb.fin_beyond.is_none() && tcb.received.unread() == 0))
        && tcb.snd.wnd > 0
        && segment.window > 0
        && segment.options.user_timeout.is_none()
        && !tcb.unreadable
        && segment.options.sack_count == 0
        && segment.ecn != ECN_CE
}

//= rfc7323#5.6
//# It is therefore recommended that H2 follow H1.
fn timestamps_are_fine(tcb: &Tcb, segment: &Segment<'_>, now: Instant) -> bool {
    match segment.options.timestamps {
        Some((value, _)) => !tcb.timestamps.ok || !tcb.timestamps.is_old(value, now),
        None => !tcb.timestamps.ok,
    }
}

/// Takes the segment in.
pub(super) fn arrives(tcb: &mut Tcb, config: &Config, now: Instant, segment: &Segment<'_>, pool: &mut BufferPool) -> Arrival {
    if let (true, Some((value, _))) = (tcb.timestamps.ok, segment.options.timestamps) {
        tcb.timestamps.update(value, segment.seq, tcb.rcv.acked, now);
    }
    tcb.keepalive.heard = now;
    let mut arrival = taken(Events::NONE);
    let is_new = segment.ack.after(tcb.snd.una);
    if is_new {
        tcb.ecn_before_ack(segment);
        arrival.events |= tcb.acknowledged(config, now, segment, pool);
    }
    tcb.snd.update_window(segment.window, segment.seq, segment.ack, is_new);
    if segment.payload.is_empty() {
        return arrival;
    }
    if let Err(why) = reserve_in_order(tcb, now, segment.payload.len(), pool) {
        arrival.drop = Some(why);
        return arrival;
    }
    accept_in_order(tcb, config, now, segment.payload.len() as u32);
    arrival.payload = 0..segment.payload.len();
    arrival
}
