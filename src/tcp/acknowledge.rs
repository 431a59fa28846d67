//! What an acceptable acknowledgment does (RFC 9293 3.10.7.4, fifth; RFC 5681; RFC 6298).
//!
//! Shared by the ESTABLISHED fast path, the ordinary path and the handshake. The caller has checked that SEG.ACK is in range. It sends nothing and
//! changes no state of the connection: what is to leave is marked, for output to find. Nothing panics.

use super::config::Config;
use super::event::Events;
use super::pool::BufferPool;
use super::recovery::{Moved, Phase};
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
        self.note_arrived(ack);
        self.timers.unanswered = 0;
        self.delivery_goes_on(now);
        // A probe that has not left yet has lost its reason, and perhaps the byte it would carry.
        self.probe = false;
        self.take_ack(config, now, segment, pool, Moved { bytes, advanced: true, duplicate: false, in_flight });
        self.restart_send(config, now);
        self.writable(config)
    }

    /// Our SYN is acknowledged, by SYN-ACK or ACK.
    pub(super) fn syn_acknowledged(&mut self, config: &Config, now: Instant, segment: &Segment<'_>) {
        //= rfc5681#3.1
        //# As specified in [RFC3390], the SYN/ACK and the acknowledgment of the SYN/ACK MUST NOT increase the size of the congestion
        //# window.
        self.snd.una = self.iss + 1;
        self.recovery.syn.due = false;
        let echoed_ns =
            segment.options.timestamps.filter(|_| self.timestamps.ok).and_then(|(_, echo)| self.timestamps.echoed_ns(echo, now));
        let syn = self.recovery.syn;
        let sample_ns = match syn.sent {
            // Of a cookie nobody knows when it was sent, and its timestamp carries other things.
            Instant::NEVER => None,
            _ if syn.again => echoed_ns,
            sent => Some(now.ns_since(sent)),
        };
        if let Some(ns) = sample_ns {
            self.measured(config, now, ns, 1);
        }
        self.settle_after_syn(config);
        self.start_keepalive();
        self.restart_send(config, now);
    }

    /// An ACK that moves nothing. It is a duplicate in the sense of RFC 5681 2 when all its conditions hold.
    pub(super) fn not_acknowledged(
        &mut self,
        config: &Config,
        now: Instant,
        segment: &Segment<'_>,
        window_before: u32,
        pool: &mut BufferPool,
    ) {
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
        let duplicate = duplicate && self.snd.wnd > 0;
        if duplicate || (self.offers.sack && segment.options.sack_count > 0) {
            let in_flight = self.in_flight();
            self.take_ack(config, now, segment, pool, Moved { bytes: 0, advanced: false, duplicate, in_flight });
            self.watch(config);
        }
    }

    /// The peer answered while its window was closed, or has opened it.
    pub(super) fn window_heard(&mut self, config: &Config, now: Instant, window_before: u32) {
        if window_before > 0 && self.snd.wnd > 0 {
            return;
        }
        self.timers.unanswered = 0;
        self.delivery_goes_on(now);
        if self.snd.wnd > 0 {
            // Probing is over: what waits goes out now, and the timer is an ordinary one again.
            self.timers.backoff = 0;
            self.probe = false;
            if self.recovery.phase != Phase::Fast {
                // What is outstanding lay outside the closed window, the byte of a probe mostly: the peer has thrown it away.
                self.flight.lose_all();
            }
            self.restart_send(config, now);
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
