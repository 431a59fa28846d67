//! What TCP wants to send, and what must happen to a flow after each event: send, arm its timer, remove it.
//!
//! Called at the end of a turn for the flows that have something to send, and after each event of one. Room in the ring and a frame are
//! taken before the machine hands a segment out, so that none is lost for want of them. Nothing here panics.

use super::core::{Core, Lane, Timer};
use super::emit::{self, Delivery, LinkHeader};
use super::flow::{Flow, HOP_BELIEVED, Hop};
use super::looks::LOOK_NS;
use super::settle::Verdict;
use super::wheel::Wheel;
use crate::demux::SlotId;
use crate::device::{Device, Drop, Frame};
use crate::limits;
use crate::link::interface::Interface;
use crate::link::neighbor::Lookup;
use crate::recorder::Effect;
#[cfg(test)]
use crate::sim::planted::{self, Bug};
use crate::tcp::Next;
use crate::time::Instant;
use crate::wire::ethernet::Mac;
use crate::wire::ipv4;

/// Why the segments of a flow stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Nothing more to send now.
    Quiet,
    /// No frame, no room in the ring, or its share of this turn is used up: it goes on in the next.
    Again,
}

impl<D: Device> Core<D> {
    /// Serves the ready list once. True when a segment was sent.
    pub(super) fn send_ready(&mut self) -> bool {
        let sent_before = self.counters.tcp_sent;
        while let Some(id) = self.flows.take_woken() {
            self.catch_up(id);
        }
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(flow) = self.flows.find_mut(id) else { continue };
            flow.queued = false;
            let stopped = self.send_segments(id);
            let Some(flow) = self.flows.find(id) else { continue };
            if flow.tcb.state() != flow.shown && self.show_state(id) {
                continue;
            }
            if stopped == Stopped::Again {
                self.touch(id);
            }
            self.arm(id);
            // A turn receives one burst, and could send thirty-two segments of each connection: their kicks last long enough for the
            // acknowledgments to overrun the ring, so whoever has sent a burst looks first at what has come.
            let burst_sent = self.counters.tcp_sent - sent_before >= limits::BURST as u64;
            if burst_sent && self.ports.iter_mut().any(|port| port.device.readable()) {
                break;
            }
        }
        if self.ready.is_empty() {
            // From the beginning again, so that no more of the memory is ever touched than the longest list needed.
            self.ready.clear();
        }
        self.counters.tcp_sent != sent_before
    }

    /// A flow got up, before it sends anything: it hears what its link and its path carry now.
    #[cold]
    #[inline(never)]
    fn catch_up(&mut self, id: SlotId) {
        self.tell_link_mtu(id);
        self.tell_path_mtu(id);
        self.touch(id);
    }

    fn send_segments(&mut self, id: SlotId) -> Stopped {
        for _ in 0..limits::SEGMENTS_PER_TURN {
            let Some(flow) = self.flows.find_mut(id) else { return Stopped::Quiet };
            let Some(next) = flow.tcb.next_transmit(&self.config.tcp, self.now) else { return Stopped::Quiet };
            let (at, target) = (flow.lane, flow.hop.known(self.now));
            // Room and frame first: once the TCB has handed out a segment it counts as sent.
            let port = &mut self.ports[at.port()];
            if next.payload_len() > port.one_segment {
                match self.send_large_segment(id, at, next) {
                    Some(stopped) => return stopped,
                    None => continue,
                }
            }
            let device = &mut port.device;
            if device.room() == 0 {
                device.flush();
                if device.room() == 0 {
                    return Stopped::Again;
                }
            }
            let Some(frame) = device.allocate() else { return Stopped::Again };
            let target = target.or_else(|| self.look_up_target(id, at));
            match self.build_segment(id, at, frame, next, target) {
                Ok(frame) => {
                    self.counters.tcp_sent += 1;
                    match target {
                        Some(_) => self.transmit(at, frame),
                        None => self.send_unresolved(id, at, frame),
                    }
                }
                Err(frame) => {
                    self.ports[at.port()].device.recycle(frame);
                    return Stopped::Quiet;
                }
            }
        }
        Stopped::Again
    }

    /// The next segment of a TCB, in a frame, to an Ethernet address (`None`: not known yet).
    #[inline]
    pub(super) fn build_segment<F: Frame>(
        &mut self,
        id: SlotId,
        at: Lane,
        mut frame: F,
        next: Next,
        target: Option<Mac>,
    ) -> Result<F, F> {
        let &Interface { mac: source, vlan, .. } = &self.link_of(at).interface;
        let Some(flow) = self.flows.find_mut(id) else { return Err(frame) };
        let (key, dscp, flow_label, again) = (flow.key, flow.tcb.dscp(), flow.flow_label, flow.tcb.retransmitted());
        let before = flow.tcb.state();
        let segment = flow.tcb.transmit(next, &self.config.tcp, self.now, &mut self.pool);
        let header = emit::tcp_header(&key, &segment);
        let link = LinkHeader { source, target: target.unwrap_or_default(), vlan };
        //= rfc9293#3.9.2
        //# The TTL value used to send TCP segments MUST be configurable (MUST-49).
        //= rfc9293#3.9.1.9
        //# TCP implementations SHOULD pass the current Differentiated Services field value without change to the IP layer, when it sends
        //# segments on the connection (SHLD-22).
        let ecn = if segment.ect { ipv4::ECN_ECT_0 } else { 0 };
        let delivery = Delivery { dscp, ecn, ttl: self.config.tcp.ttl as u8, flow_label };
        let len = segment.payload_len();
        let built = emit::tcp_segment(&mut frame, link, &key, &header, delivery, segment.payload);
        let again = flow.tcb.retransmitted() - again;
        self.counters.tcp_retransmitted += again;
        let noted = flow.tcb.take_noted();
        if !noted.is_empty() {
            self.tally.count_all(noted);
        }
        let effect = Effect { before, after: flow.tcb.state(), cwnd: flow.tcb.congestion_window(), noted };
        self.recorder.sent(self.now, &key, &header, len, effect, again > 0);
        if !built {
            return Err(frame);
        }
        Ok(frame)
    }

    /// The Ethernet address of a flow's next hop, from the flow or else from the caches, without asking the link.
    #[inline]
    pub(super) fn flow_target(&mut self, id: SlotId, at: Lane) -> Option<Mac> {
        self.flows.find(id)?.hop.known(self.now).or_else(|| self.look_up_target(id, at))
    }

    /// The same, by the routes and the neighbours of now.
    #[cold]
    #[inline(never)]
    fn look_up_target(&mut self, id: SlotId, at: Lane) -> Option<Mac> {
        let flow = self.flows.find(id)?;
        let (local, remote) = (flow.key.local.ip(), flow.key.remote.ip());
        if !self.may_send_from(at, local) {
            return None;
        }
        let Some(hop) = self.next_hop(at, remote) else { return self.way_back(id, at) };
        // A neighbour that must be asked for first is left to `resolve`, which sends the request and holds the segment.
        let known = self.link_of(at).neighbors.known(self.link_of(at).hop(hop))?;
        let flow = self.flows.find_mut(id)?;
        // What has arrived went by the neighbour of before.
        let same = matches!(flow.hop, Hop::Routed { mac: Some(before), .. } if before == known);
        if std::mem::take(&mut flow.progress) && same {
            self.confirm_neighbor(at, hop);
        }
        let Lookup::Mac(mac) = self.lookup_neighbor(at, hop) else { return None };
        if let Some(flow) = self.flows.find_mut(id) {
            flow.hop = Hop::Routed { mac: Some(mac), until: self.now + HOP_BELIEVED };
        }
        Some(mac)
    }

    /// Where no route leads to a peer that has come by this link all the same, as where the kernel has rules for its routes: back to where it came
    /// from.
    fn way_back(&self, id: SlotId, at: Lane) -> Option<Mac> {
        let flow = self.flows.find(id).filter(|flow| flow.listener.is_some() && self.link_of(at).mirrored)?;
        match flow.hop {
            Hop::Fixed(mac) => Some(mac),
            Hop::Routed { mac, .. } => mac,
        }
    }

    /// TCP hears nothing: whether the neighbour is still there is asked anew (RFC 1122 3.3.1.4, negative advice).
    pub(super) fn doubt_hop(&mut self, id: SlotId) {
        //= rfc9293#3.8.3
        //# When the number of transmissions of the same segment reaches or exceeds threshold R1, pass negative advice (see Section
        //# 3.3.1.4 of [19]) to the IP layer, to trigger dead-gateway diagnosis.
        let Some(flow) = self.flows.find_mut(id) else { return };
        let (at, remote, before) = (flow.lane, flow.key.remote.ip(), flow.hop);
        flow.progress = false;
        let hop = self.next_hop(at, remote).map(|hop| self.link_of(at).hop(hop));
        let mac = match before {
            // Back to where it came from, as long as the cache knows nothing better.
            Hop::Fixed(mac) => match hop.and_then(|hop| self.link_of(at).neighbors.known(hop)) {
                Some(_) => Some(mac),
                None => return,
            },
            Hop::Routed { mac, .. } => mac,
        };
        if let Some(flow) = self.flows.find_mut(id) {
            flow.hop = Hop::Routed { mac, until: Instant::ZERO };
        }
        if let Some(hop) = hop {
            self.links[at.link()].neighbors.doubt(self.now, hop);
        }
    }

    /// Sends a segment whose next hop is not known: the neighbour is asked for, and the frame waits for its answer.
    #[cold]
    #[inline(never)]
    fn send_unresolved(&mut self, id: SlotId, at: Lane, frame: D::Frame) {
        let Some(key) = self.flows.find(id).map(|flow| flow.key) else {
            self.ports[at.port()].device.recycle(frame);
            return;
        };
        // An address that the kernel has lost may be another station's already.
        let verdict = match self.may_send_from(at, key.local.ip()) {
            true => self.resolve(at, frame, key.remote.ip()),
            false => Verdict::Drop(frame, Drop::NoRoute),
        };
        self.settle(at, verdict);
    }

    /// Has a flow looked at again, and arms the wheel for its TCB's earliest deadline if that comes first. Among few connections a timer that is armed for
    /// an earlier time stays: it finds nothing due when it fires, which is cheaper than moving it with every segment. Among many the next segment is
    /// further away than most timers, and a flow has left the caches by the time that one fires: it goes when nothing needs it.
    pub(super) fn arm(&mut self, id: SlotId) {
        let many = self.has_many_flows();
        let Self { flows, wheel, looks, now, .. } = self;
        let Some(flow) = flows.find_mut(id) else { return };
        #[cfg(test)]
        if planted::is(Bug::TimerNotRearmed) && flow.tcb.retransmitted() > 0 {
            return;
        }
        let look = now.after_ns(LOOK_NS);
        if !flow.watched {
            flow.watched = looks.add(id, *now);
            flow.stirred = false;
        }
        let deadline = flow.tcb.poll_timeout();
        // Without a look to come the timer stands for it.
        let at = if flow.watched { deadline } else { deadline.min(look) };
        if flow.watched && deadline >= look {
            if many && let Some((handle, _)) = flow.timer.take() {
                wheel.cancel(handle);
            }
            return;
        }
        if flow.timer.is_some_and(|(_, armed)| armed <= at) {
            return;
        }
        set_timer(wheel, id.slot, flow, at);
    }

    /// Lays a quiet flow down; one that cannot be yet gets a timer for its deadline or its rest.
    #[cold]
    #[inline(never)]
    pub(super) fn lay_down(&mut self, id: SlotId) {
        let Self { flows, wheel, now, .. } = self;
        if flows.lay_down(id, *now, |flow| set_timer(wheel, id.slot, flow, flow.tcb.poll_timeout())) {
            return;
        }
        // If time alone does not bring it to rest, the next look follows the next event.
        let Some(flow) = flows.find_mut(id) else { return };
        let at = flow.tcb.poll_timeout().min(flow.tcb.rests_at(*now));
        set_timer(wheel, id.slot, flow, at);
    }
}

/// Arms the timer of the flow in a slot for another time.
#[inline]
fn set_timer(wheel: &mut Wheel<Timer>, slot: u32, flow: &mut Flow, at: Instant) {
    match flow.timer {
        Some((_, armed)) if armed == at && at != Instant::NEVER => return,
        Some((handle, _)) => {
            wheel.cancel(handle);
        }
        None => {}
    }
    let handle = if at == Instant::NEVER { None } else { wheel.arm(at, Timer::Flow { slot }) };
    flow.timer = handle.map(|handle| (handle, at));
}
