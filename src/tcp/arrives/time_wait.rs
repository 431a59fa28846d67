//! TIME-WAIT: the peer's late FIN, and a SYN that wants the connection anew (RFC 9293 3.6.1 and 3.10.7.4, RFC 6191, RFC 1337).

#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::tcp::config::Config;
use crate::tcp::seq::SeqNum;
use crate::tcp::state::{Cause, State};
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Segment};

impl Tcb {
    /// Enters TIME-WAIT from FIN-WAIT-2 or CLOSING.
    pub(super) fn enter_time_wait(&mut self, cause: Cause, config: &Config, now: Instant) {
        self.enter(cause, State::TimeWait);
        //= rfc9293#3.10.7.4
        //# Start the time-wait timer, turn off the other timers.
        self.timers.stop();
        self.restart_time_wait(config, now);
    }

    /// Two MSL from now on.
    pub(super) fn restart_time_wait(&mut self, config: &Config, now: Instant) {
        //= rfc9293#3.6.1
        //# When a connection is closed actively, it MUST linger in the TIME-WAIT state for a time 2xMSL (Maximum Segment Lifetime)
        //# (MUST-13).
        self.timers.time_wait = now + config.msl.saturating_mul(2);
        #[cfg(test)]
        if planted::is(Bug::TimeWaitShort) {
            self.timers.time_wait = now + config.msl;
        }
    }

    /// The last sequence number we used; a connection that follows must begin after it.
    pub(super) fn last_sequence_used(&self) -> SeqNum {
        self.snd.nxt - 1
    }
}

/// True when a SYN in TIME-WAIT cannot be an old duplicate, so that the connection may be opened anew.
pub(super) fn may_reopen(tcb: &Tcb, config: &Config, syn: &Segment<'_>) -> bool {
    if !syn.flags.contains(Flags::SYN) || syn.flags.contains(Flags::ACK) || syn.flags.contains(Flags::RST) {
        return false;
    }
    // The FIN, the last the peer sent, stands before RCV.NXT.
    let sequence_is_new = syn.seq.at_or_after(tcb.rcv.nxt);
    let new_value = if config.timestamps { syn.options.timestamps.map(|(value, _)| SeqNum(value)) } else { None };
    //= rfc9293#3.6.1
    //# This algorithm for reducing TIME-WAIT is a Best Current Practice that SHOULD be implemented since Timestamp Options are
    //# commonly used, and using them to reduce TIME-WAIT provides benefits for busy Internet servers (SHLD-4).
    match (tcb.timestamps.ok, new_value) {
        (true, Some(value)) => {
            let last = SeqNum(tcb.timestamps.recent());
            //= rfc6191#2
            //# If TCP Timestamps would be enabled for the new incarnation of the connection, and the timestamp contained in the
            //# incoming SYN segment is greater than the last timestamp seen on the previous incarnation of the connection (for that
            //# direction of the data transfer), honor the connection request
            //= rfc6191#2
            //# If TCP Timestamps would be enabled for the new incarnation of the connection, the timestamp contained in the incoming
            //# SYN segment is equal to the last timestamp seen on the previous incarnation of the connection (for that direction of
            //# the data transfer), and the Sequence Number of the incoming SYN segment is greater than the last sequence number
            //# seen on the previous incarnation of the connection (for that direction of the data transfer), honor the connection
            //# request
            value.after(last) || (value == last && sequence_is_new)
        }
        //= rfc6191#2
        //# If TCP Timestamps would be enabled for the new incarnation of the connection, honor the incoming connection request
        (false, Some(_)) => true,
        //= rfc6191#2
        //# If TCP Timestamps would not be enabled for the new incarnation of the connection, but the Sequence Number of the incoming
        //# SYN segment is greater than the last sequence number seen on the previous incarnation of the connection (for the same
        //# direction of the data transfer), honor the incoming connection request
        (_, None) => sequence_is_new,
    }
}

/// True when the segment ends with the FIN that brought us here: our last ACK was lost.
pub(super) fn is_late_fin(tcb: &Tcb, segment: &Segment<'_>) -> bool {
    segment.flags.contains(Flags::FIN) && segment.seq + segment.len() == tcb.rcv.nxt
}
