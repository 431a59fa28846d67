//! A segment in SYN-SENT (RFC 9293 3.10.7.3).

use super::synchronized::Arriving;
use super::{dropped, taken};
use crate::device::Drop;
use crate::tcp::config::Config;
use crate::tcp::event::{Arrival, Events};
use crate::tcp::pool::BufferPool;
use crate::tcp::state::{Cause, State};
use crate::tcp::tally::Happening;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Segment};

/// The five steps, in order.
pub(super) fn arrives(tcb: &mut Tcb, config: &Config, now: Instant, segment: &Segment<'_>, pool: &mut BufferPool) -> Arrival {
    let has_ack = segment.flags.contains(Flags::ACK);
    let has_rst = segment.flags.contains(Flags::RST);
    // First, check the ACK bit.
    if has_ack && !tcb.is_new_ack(segment.ack) {
        //= rfc9293#3.10.7.3
        //# If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set, if so drop the segment and return)
        //# -   <SEQ=SEG.ACK><CTL=RST>
        if has_rst {
            return dropped(Drop::TcpRstIgnored);
        }
        tcb.reset_pending = Some(segment.ack);
        return dropped(Drop::TcpAckInvalid);
    }
    // Second, check the RST bit.
    if has_rst {
        //= rfc9293#3.10.7.3
        //# If the ACK was acceptable, then signal to the user "error: connection reset", drop the segment, enter CLOSED state, delete
        //# TCB, and return.  Otherwise (no ACK), drop the segment and return.
        if !has_ack {
            return dropped(Drop::TcpRstIgnored);
        }
        tcb.end(Cause::Rst, pool);
        return taken(Events::REFUSED);
    }
    // Third, check the security: there is none.
    // Fifth, taken first because the fourth is the rest.
    if !segment.flags.contains(Flags::SYN) {
        //= rfc9293#3.10.7.3
        //# Fifth, if neither of the SYN or RST bits is set, then drop the segment and return.
        return dropped(Drop::TcpOutOfWindow);
    }
    // Fourth, check the SYN bit.
    //= rfc9293#3.10.7.3
    //# If the SYN bit is on and the security/compartment is acceptable, then RCV.NXT is set to SEG.SEQ+1, IRS is set to SEG.SEQ.
    tcb.on_peer_syn(now, segment);
    if has_ack { on_syn_ack(tcb, config, now, segment, pool) } else { on_syn(tcb, config, now, segment) }
}

/// Our SYN is acknowledged: ESTABLISHED.
fn on_syn_ack(tcb: &mut Tcb, config: &Config, now: Instant, segment: &Segment<'_>, pool: &mut BufferPool) -> Arrival {
    tcb.syn_acknowledged(config, now, segment);
    tcb.snd.set_window(u32::from(segment.window), segment.seq, segment.ack);
    //= rfc9293#3.10.7.3
    //# If SND.UNA > ISS (our SYN has been ACKed), change the connection state to ESTABLISHED, form an ACK segment
    //# -   <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>
    //# -   and send it.
    tcb.enter(Cause::SynAck, State::Established);
    tcb.ack_now = true;
    tcb.begin_window(pool);
    //= rfc9293#3.10.7.3
    //# If there are other controls or text in the segment, then continue processing at the sixth step under Section 3.10.7.4 where the
    //# URG bit is checked
    let mut arrival = Arriving::after_syn(tcb, config, now, segment, pool).checks_from_sixth();
    arrival.events |= Events::CONNECTED;
    arrival
}

/// Both sides opened at once: SYN-RECEIVED. Data or FIN in the SYN are left to be sent again.
fn on_syn(tcb: &mut Tcb, config: &Config, now: Instant, segment: &Segment<'_>) -> Arrival {
    //= rfc9293#3.10.7.3
    //# Otherwise, enter SYN-RECEIVED, form a SYN,ACK segment
    //# -   <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>
    //# -   and send it.
    tcb.snd.set_window(u32::from(segment.window), segment.seq, tcb.iss);
    //= rfc9293#3.5
    //# A TCP implementation MUST support simultaneous open attempts (MUST-10).
    tcb.noted.note(Happening::SimultaneousOpen);
    tcb.enter(Cause::Syn, State::SynReceived);
    if tcb.snd.outstanding() > 0 {
        tcb.recovery.syn.due = true;
        tcb.arm_send(config, now);
    }
    taken(Events::NONE)
}
