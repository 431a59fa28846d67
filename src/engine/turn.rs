//! One turn of the loop: the path of a packet, top to bottom.
//!
//! Take a burst from each queue; for each frame: parse, then the TCP, UDP or link path, which gives a verdict; settle it. Then what other
//! cores have handed over or told, messages of other threads, what has changed in the kernel, copies of what was sent to groups of our own, expired timers, unread bytes that are to be offered again, memory when it runs short; then what TCP wants to send, and one flush per
//! queue: one kick per turn, not per packet. Nothing on the path of a packet allocates, locks or waits, but that two tables grow with the connections
//! in use and shrink with them, whole ones and those that are to be looked at again, and that CUBIC remembers the window before a loss.

use super::clock::Clock;
use super::core::Lane;
use super::run::Engine;
use super::settle::Verdict;
use crate::device::{Device, Drop, Frame};
use crate::limits;
use crate::link::packet::{self, Accepted};
use crate::service::Service;
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet};
use crate::wire::{ipv4, ipv6};

impl<D: Device, S: Service> Engine<D, S> {
    /// Runs one turn and says whether it found work.
    pub fn turn(&mut self, clock: &impl Clock) -> bool {
        self.turn_after(clock, true)
    }

    /// The same; `look` says whether the clock is read, and timers are looked at, also when no frame has come.
    pub(super) fn turn_after(&mut self, clock: &impl Clock, look: bool) -> bool {
        let mut worked = false;
        self.frames_in_turn = 0;
        if let Some(siblings) = &mut self.core.siblings {
            siblings.begin_turn();
        }
        for port in 0..self.core.ports.len() {
            //= rfc9293#3.10.7.4
            //# if the TCP endpoint is processing a series of queued segments, it MUST process them all before sending any ACK
            //# segments (MUST-59).
            //= rfc9293#3.10.7.4
            //# In general, the processing of received segments MUST be implemented to aggregate ACK segments whenever possible
            //# (MUST-58).
            worked |= self.receive_burst(port, clock);
            if self.core.ports[port].device.chained() {
                worked |= self.receive_chains(port, clock);
            }
        }
        worked |= self.turn_to_siblings(clock);
        if look && !worked {
            self.core.now = clock.now();
        }
        worked |= self.read_mailbox();
        if self.core.inquiries.wait() {
            worked |= self.answer_question();
        }
        if self.core.news_wait() {
            worked |= self.read_news();
        }
        if !self.core.looped.is_empty() {
            worked |= self.deliver_looped();
        }
        if look || worked {
            worked |= self.expire_timers();
        }
        self.offer_unread();
        self.core.relieve_pressure();
        if !self.core.ready.is_empty() || self.core.flows.has_woken() {
            // Segments are stamped as late as possible: a burst and its callbacks take time. A short one takes less than a microsecond.
            if self.frames_in_turn > SHORT_TURN {
                self.core.now = clock.now();
            }
            worked |= self.core.send_ready();
        }
        for port in &mut self.core.ports {
            port.device.flush();
        }
        if let Some(siblings) = &mut self.core.siblings {
            siblings.ring();
        }
        self.core.counters.turns += 1;
        self.core.counters.busy_turns += u64::from(worked);
        if self.frames_in_turn > 0 && self.stopwatch.is_due() {
            self.time_turn(clock);
        }
        worked
    }

    /// One turn in 64 that has received frames is timed, its kick included.
    #[cold]
    #[inline(never)]
    fn time_turn(&mut self, clock: &impl Clock) {
        let took = self.stopwatch.stop(clock.now());
        self.core.histograms.turn_ns.count_span(took);
        self.core.histograms.turn_frames.count(self.frames_in_turn as u64);
    }

    /// What other cores have left for this one. Those that something was left for are woken at once, so that they work while this one does.
    #[inline]
    fn turn_to_siblings(&mut self, clock: &impl Clock) -> bool {
        let Some(siblings) = &mut self.core.siblings else { return false };
        siblings.ring();
        if !siblings.wait() {
            return false;
        }
        self.core.now = clock.now();
        self.receive_handed() | self.read_siblings_news()
    }

    fn receive_burst(&mut self, port: usize, clock: &impl Clock) -> bool {
        let mut burst = std::mem::take(&mut self.burst);
        let count = self.core.ports[port].device.receive(&mut burst, limits::BURST);
        if count > 0 {
            self.core.now = clock.now();
            if self.frames_in_turn == 0 {
                self.stopwatch.begin(self.core.now);
            }
        }
        let at = self.core.first_lane(port);
        let guessed = self.look_ahead(at, &burst);
        for (nth, frame) in burst.drain(..).enumerate() {
            if guessed && let Some(flow) = self.guesses.flow(nth) {
                self.core.recent = flow;
            }
            if self.core.tapped.is_some() {
                self.core.tap_received(at, frame.bytes());
            }
            let verdict = self.receive(at, frame);
            if self.core.tapped.is_some() {
                self.core.tap_settled(&verdict);
            }
            self.core.settle(at, verdict);
        }
        self.burst = burst;
        self.frames_in_turn += count;
        count > 0
    }

    /// Packets of several frames, as long as there are more, and what comes between them.
    #[cold]
    fn receive_chains(&mut self, port: usize, clock: &impl Clock) -> bool {
        self.core.now = clock.now();
        if self.frames_in_turn == 0 {
            self.stopwatch.begin(self.core.now);
        }
        let mut worked = false;
        for _ in 0..limits::CHAINS_PER_TURN {
            if !self.core.ports[port].device.chained() || !self.receive_chain(port) {
                break;
            }
            worked = true;
            self.frames_in_turn += 1;
            self.receive_burst(port, clock);
        }
        worked
    }

    /// One frame, from the Ethernet header to the path it takes. A part of its caller: a frame is not to be moved for a call.
    #[inline(always)]
    pub(super) fn receive(&mut self, mut at: Lane, frame: D::Frame) -> Verdict<D::Frame> {
        let header = match self.core.accept_ethernet(&mut at, frame.bytes()) {
            Ok(header) => header,
            Err(why) => return Verdict::Drop(frame, why),
        };
        match header.ethertype {
            ETHERTYPE_IPV4 => {
                let accepted = packet::accept_ipv4(&self.core.link_of(at).interface, header, frame.bytes());
                self.ip_path(at, frame, accepted)
            }
            ETHERTYPE_IPV6 => self.receive_ipv6(at, frame, header),
            ETHERTYPE_ARP => self.core.arp_path(at, frame, header),
            _ => Verdict::Drop(frame, Drop::EtherTypeUnknown),
        }
    }

    /// A frame of IPv6. Out of line, so that behind the EtherType the families have nothing in common but their source text: each is
    /// compiled for its own addresses.
    #[inline(never)]
    fn receive_ipv6(&mut self, at: Lane, frame: D::Frame, header: Ethernet) -> Verdict<D::Frame> {
        let accepted = packet::accept_ipv6(&self.core.link_of(at).interface, header, frame.bytes());
        self.ip_path(at, frame, accepted)
    }

    /// The path of a packet behind its IP header.
    #[inline(always)]
    fn ip_path(&mut self, at: Lane, frame: D::Frame, accepted: Result<Accepted, Drop>) -> Verdict<D::Frame> {
        match accepted {
            Ok(Accepted::Ip(packet)) => match packet.protocol {
                ipv4::PROTOCOL_TCP => self.tcp_path(at, frame, packet),
                ipv4::PROTOCOL_UDP => self.udp_path(at, frame, packet),
                ipv4::PROTOCOL_ICMP if packet.is_ipv4() => self.icmp_path(at, frame, packet),
                ipv6::NEXT_HEADER_ICMPV6 if !packet.is_ipv4() => self.icmp_path(at, frame, packet),
                _ => self.core.unknown_protocol(at, frame, packet),
            },
            Ok(Accepted::Fragment(packet)) => self.fragment_path(at, frame, packet),
            Ok(Accepted::Refused(packet, refused)) => self.core.refused_header(at, frame, packet, refused),
            Err(why) => Verdict::Drop(frame, why),
        }
    }
}

/// Frames whose work takes less time than it would be worth to read the clock again for.
const SHORT_TURN: usize = 2;
