//! What an acceptable acknowledgment does (RFC 9293 3.10.7.4, fifth; RFC 5681; RFC 6298).
//!
//! Shared by the ESTABLISHED fast path, the ordinary path and the handshake. The caller has checked that SEG.ACK is in range.

use super::config::Config;
use super::event::Events;
use super::pool::BufferPool;
use super::rto::Rto;
use super::seq::SeqNum;
use super::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Segment};

impl Tcb {
    /// SND.UNA < SEG.ACK =< SND.NXT: new data, our SYN or our FIN is acknowledged.
    pub(super) fn acknowledged(&mut self, config: &Config, now: Instant, segment: &Segment<'_>, pool: &mut BufferPool) -> Events {
        let ack = segment.ack;
        let in_flight = self.in_flight();
        //= rfc9293#3.10.7.4
        //# If SND.UNA < SEG.ACK =< SND.NXT, then set SND.UNA <- SEG.ACK.  Any segments on the retransmission queue that are thereby
        //# entirely acknowledged are removed.
        let bytes = (ack - self.snd.una).min(self.queue.len());
        self.queue.acknowledge(bytes, pool);
        self.snd.una = ack;
        self.sample(config, now, segment);
        self.timers.unanswered = 0;
        // A probe that has not left yet has lost its reason, and perhaps the byte it would carry.
        self.probe = false;
        self.recover_on_ack(now, bytes, in_flight);
        self.restart_send(config, now);
        self.writable(config)
    }

    /// Our SYN is acknowledged, by SYN-ACK or ACK.
    pub(super) fn syn_acknowledged(&mut self, config: &Config, now: Instant, segment: &Segment<'_>) {
        //= rfc5681#3.1
        //# As specified in [RFC3390], the SYN/ACK and the acknowledgment of the SYN/ACK MUST NOT increase the size of the congestion
        //# window.
        self.snd.una = self.iss + 1;
        self.recovery.send_again(self.snd.una, self.snd.una);
        self.sample(config, now, segment);
        self.settle_after_syn(config);
        self.restart_send(config, now);
    }

    /// An ACK that moves nothing: a duplicate in the sense of RFC 5681 2, when all its conditions hold.
    pub(super) fn not_acknowledged(&mut self, now: Instant, segment: &Segment<'_>, window_before: u32) {
        //= rfc5681#2
        //# DUPLICATE ACKNOWLEDGMENT: An acknowledgment is considered a "duplicate" in the following algorithms when (a) the receiver
        //# of the ACK has outstanding data, (b) the incoming acknowledgment carries no data, (c) the SYN and FIN bits are both off,
        //# (d) the acknowledgment number is equal to the greatest acknowledgment received on the given connection (TCP.UNA from
        //# [RFC793]) and (e) the advertised window in the incoming acknowledgment equals the advertised window in the last incoming
        //# acknowledgment.
        let duplicate = self.snd.outstanding() > 0
            && segment.payload.is_empty()
            && !segment.flags.contains(Flags::SYN)
            && !segment.flags.contains(Flags::FIN)
            && segment.ack == self.snd.una
            && self.snd.wnd == window_before;
        // With a closed window duplicates answer probes; they tell nothing of a loss.
        if duplicate && self.snd.wnd > 0 {
            self.recover_on_duplicate(now);
        }
    }

    /// The peer answered while its window was closed, or has opened it.
    pub(super) fn window_heard(&mut self, config: &Config, now: Instant, window_before: u32) {
        if window_before > 0 && self.snd.wnd > 0 {
            return;
        }
        self.timers.unanswered = 0;
        if self.snd.wnd > 0 {
            // Probing is over: what waits goes out now, and the timer is an ordinary one again.
            self.timers.backoff = 0;
            self.probe = false;
            if !self.recovery.fast {
                // What is outstanding lay outside the closed window, the byte of a probe mostly: the peer has thrown it away.
                self.recovery.send_again(self.snd.una, self.snd.nxt);
            }
            self.restart_send(config, now);
        }
    }

    fn sample(&mut self, config: &Config, now: Instant, segment: &Segment<'_>) {
        let echoed_ns = match segment.options.timestamps {
            Some((_, echo)) if self.timestamps.ok => self.timestamps.echoed_ns(echo, now),
            _ => None,
        };
        if let Some(ns) = self.timing.acknowledged(segment.ack, now, echoed_ns) {
            self.rtt.sample(ns);
            self.rto = Rto::from_rtt(&self.rtt, config);
            //= rfc6298#5
            //# Note that after retransmitting, once a new RTT measurement is obtained (which can only happen when new data has been
            //# sent and acknowledged), the computations outlined in Section 2 are performed, including the computation of RTO,
            //# which may result in "collapsing" RTO back down after it has been subject to exponential back off (rule 5.5).
            self.timers.backoff = 0;
        }
    }

    /// Tells a service that was refused, once there is room worth a call.
    fn writable(&mut self, config: &Config) -> Events {
        if !self.send_was_short {
            return Events::NONE;
        }
        let room = self.send_room(config);
        if room < (config.send_buffer / 4).min(2 * self.payload_max() as usize).max(1) {
            return Events::NONE;
        }
        self.send_was_short = false;
        self.timers.room = Instant::NEVER;
        Events::WRITABLE
    }

    /// True when SEG.ACK acknowledges something new: SND.UNA < SEG.ACK =< SND.NXT.
    pub(super) const fn is_new_ack(&self, ack: SeqNum) -> bool {
        ack.after(self.snd.una) && ack.at_or_before(self.snd.nxt)
    }
}
