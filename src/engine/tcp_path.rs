//! TCP: from a checked packet to its TCB, or to a listener, or to a reset.
//!
//! Called by the turn for each packet of protocol 6. Finds who a segment is for; what it means is the machine's business ([`crate::tcp`]).
//! Nothing here panics on what a peer sends.

use super::core::{Core, Lane};
use super::emit::{self, Delivery, LinkHeader};
use super::flow::{Counted, Flow, HOP_BELIEVED, Hop, Listener};
use super::run::Engine;
use super::settle::Verdict;
use super::siblings::{Provenance, Whose};
use super::spent_cookies::SpentCookies;
use crate::demux::admission::Syn;
use crate::demux::{Address, FlowKey, Link, SlotId};
use crate::device::{Device, Drop, Frame};
use crate::limits;
use crate::link::interface::Transport;
use crate::link::packet::Packet;
use crate::recorder::Effect;
use crate::service::{ListenerId, Service};
use crate::tcp::arrives::{closed, listen};
use crate::tcp::congestion::Algorithm;
use crate::tcp::cookie::{self, Seal};
use crate::tcp::seq::SeqNum;
use crate::tcp::tally::{Happening, Noted};
use crate::tcp::{Disposition, Events, IpVersion, Opening, Reset, State, Tcb, Transmit, isn};
use crate::wire::checksum::PseudoHeader;
use crate::wire::ethernet::{Ethernet, Mac};
use crate::wire::ipv4::{ECN_MASK, PROTOCOL_TCP};
use crate::wire::ipv6;
use crate::wire::tcp::{self, Flags, Header, Options, Segment};

impl<D: Device, S: Service> Engine<D, S> {
    #[inline(always)]
    pub(super) fn tcp_path(&mut self, at: Lane, frame: D::Frame, packet: Packet) -> Verdict<D::Frame> {
        self.segment(at, frame, &packet, None)
    }

    /// The same for a segment that came in fragments and lies in `whole`; `frame` may carry the answer.
    #[cold]
    #[inline(never)]
    pub(super) fn tcp_bytes(&mut self, at: Lane, frame: D::Frame, packet: &Packet, whole: &[u8]) -> Verdict<D::Frame> {
        self.segment(at, frame, packet, Some(whole))
    }

    /// A segment that lies in `whole`, or else in its frame: who it is for, and what goes back at once.
    #[inline(always)]
    fn segment(&mut self, at: Lane, frame: D::Frame, packet: &Packet, whole: Option<&[u8]>) -> Verdict<D::Frame> {
        if packet.to_many {
            //= rfc9293#3.9.2.3
            //# A TCP implementation MUST silently discard an incoming SYN segment that is addressed to a broadcast or multicast address (MUST-57).
            return Verdict::Drop(frame, Drop::TcpNotUnicast);
        }
        let Some(bytes) = whole.unwrap_or_else(|| frame.bytes()).get(packet.payload()) else {
            return Verdict::Drop(frame, Drop::TcpTruncated);
        };
        let pseudo = PseudoHeader { source: packet.source, target: packet.target, protocol: PROTOCOL_TCP };
        let (ports, mut segment) = match tcp::parse(bytes, &pseudo) {
            Ok(parsed) => parsed,
            Err(why) => {
                if why == Drop::ChecksumUnfilled {
                    self.core.report_unfilled(at);
                }
                return Verdict::Drop(frame, why);
            }
        };
        segment.ecn = packet.dscp_ecn & ECN_MASK;
        // One that was handed over was counted where it arrived.
        self.core.counters.tcp_received += u64::from(self.core.provenance == Provenance::Arrived);
        let key = FlowKey {
            local: pseudo.target,
            remote: pseudo.source,
            local_port: ports.target,
            remote_port: ports.source,
            link: Core::<D>::link_key(at),
        };
        let from = packet.ethernet.source;
        let answer = match self.core.find_flow_again(&key) {
            Ok(id) => self.segment_for_flow(id, at, from, &segment),
            Err(_) if self.core.admission.has_lists() && !self.core.admission.admits(key.remote) => Answer::Drop(Drop::TcpDenied),
            Err(hash) => self.segment_of_stranger(&Stranger { key, hash, at, from }, &segment),
        };
        match answer {
            Answer::None => Verdict::Done(frame),
            Answer::Drop(why) => Verdict::Drop(frame, why),
            Answer::Reset(reset, why) => {
                self.core.drop(why);
                self.core.reset_in_frame(at, frame, packet.ethernet, &key, reset)
            }
            Answer::Cookie(syn_ack) => self.core.cookie_in_frame(at, frame, packet.ethernet, &key, &syn_ack),
            Answer::HandOver { to, withdrawn } => {
                self.core.hand_over(at, frame, to, withdrawn, whole.map(|whole| (packet, whole)))
            }
        }
    }

    /// A segment that finds no flow here: that of another core, one of a cookie, one that opens, or none of anything.
    #[inline]
    fn segment_of_stranger(&mut self, stranger: &Stranger, segment: &Segment<'_>) -> Answer {
        let opens = segment.flags.contains(Flags::SYN) && !segment.flags.contains(Flags::ACK);
        match self.core.whose(stranger.hash, &stranger.key, opens) {
            Whose::Nobodys => {}
            Whose::Theirs(to) => return Answer::HandOver { to, withdrawn: false },
            Whose::Unknown(why) => return Answer::Drop(why),
        }
        match self.core.accept_cookie(stranger, segment) {
            Cookie::Opens(id) => self.segment_for_flow(id, stranger.at, stranger.from, segment),
            Cookie::Contested(answer) => answer,
            Cookie::Refused(why) => {
                self.core.record_stranger(stranger, segment, (State::Closed, State::Closed), Some(why));
                Answer::refusal(segment, why)
            }
            Cookie::No => {
                let answer = self.core.segment_without_flow(stranger, segment, None);
                let (states, why) = match answer {
                    Answer::None => ((State::Listen, State::SynReceived), None),
                    Answer::Drop(why) | Answer::Reset(_, why) if why == Drop::TcpPortClosed => {
                        ((State::Closed, State::Closed), Some(why))
                    }
                    Answer::Drop(why) | Answer::Reset(_, why) => ((State::Listen, State::Listen), Some(why)),
                    Answer::Cookie(_) => ((State::Listen, State::Listen), None),
                    // Recorded where it goes.
                    Answer::HandOver { .. } => return answer,
                };
                self.core.record_stranger(stranger, segment, states, why);
                answer
            }
        }
    }

    fn segment_for_flow(&mut self, id: SlotId, at: Lane, from: Mac, segment: &Segment<'_>) -> Answer {
        let Core { config, now, flows, pool, tally, recorder, .. } = &mut self.core;
        let Some(flow) = flows.find_mut(id) else { return Answer::Drop(Drop::TcpPortClosed) };
        flow.lane = at;
        let before = flow.tcb.state();
        let unacknowledged = flow.tcb.unacknowledged();
        let arrival = flow.tcb.on_segment(&config.tcp, *now, segment, pool);
        let noted = flow.tcb.take_noted();
        if !noted.is_empty() {
            tally.count_all(noted);
        }
        let effect = Effect { before, after: flow.tcb.state(), cwnd: flow.tcb.congestion_window(), noted };
        recorder.received(*now, &flow.key, segment, effect, arrival.drop);
        flow.progress |= flow.tcb.unacknowledged() < unacknowledged;
        if let Disposition::Reopen { iss_after } = arrival.then {
            let stranger = Stranger { key: flow.key, hash: flow.hash, at, from };
            if !self.core.may_reopen(id) {
                return Answer::Drop(Drop::TcpSynInTimeWait);
            }
            if let Syn::Refused(why) | Syn::Unproven(why) = self.core.admit_syn(&stranger.key, true) {
                return Answer::Drop(why);
            }
            self.core.remove_flow(id);
            self.core.counters.tcp_reopened += 1;
            let answer = self.core.segment_without_flow(&stranger, segment, Some(iss_after));
            self.core.record_stranger(&stranger, segment, (State::Listen, State::SynReceived), None);
            return answer;
        }
        if arrival.events.contains(Events::CLOSED) {
            self.core.note_time_wait(id);
        }
        let payload = segment.payload.get(arrival.payload.clone()).unwrap_or(&[]);
        self.deliver(id, arrival.events, payload);
        self.core.touch(id);
        arrival.drop.map_or(Answer::None, Answer::Drop)
    }
}

/// What goes back for a segment, beyond what its TCB sends.
enum Answer {
    None,
    Drop(Drop),
    Reset(Reset, Drop),
    /// A SYN-ACK of which nothing is remembered.
    Cookie(Transmit<'static>),
    /// None: it is the business of another core.
    HandOver {
        /// That core.
        to: u16,
        /// A flow was made for it here, and taken back.
        withdrawn: bool,
    },
}

impl Answer {
    /// A reset, unless the segment is one.
    fn refusal(segment: &Segment<'_>, why: Drop) -> Self {
        match closed::reset_for(segment) {
            Some(reset) => Self::Reset(reset, why),
            None => Self::Drop(why),
        }
    }
}

/// The other end of a flow that has no TCB.
struct Stranger {
    key: FlowKey,
    /// Of the key.
    hash: u64,
    /// The port its segment came in by.
    at: Lane,
    /// Where the frame came from.
    from: Mac,
}

/// What an acknowledgment is that no TCB owns.
enum Cookie {
    /// None of a cookie.
    No,
    /// That of a cookie: here is the connection.
    Opens(SlotId),
    /// That of a cookie, but another core has its connection.
    Contested(Answer),
    /// That of a cookie which has made its connection before, or for which there is no room: its peer must hear that there is none.
    Refused(Drop),
}

impl<D: Device> Core<D> {
    /// Records a segment that no TCB owned when it came.
    fn record_stranger(
        &mut self,
        stranger: &Stranger,
        segment: &Segment<'_>,
        (before, after): (State, State),
        drop: Option<Drop>,
    ) {
        let effect = Effect { before, after, cwnd: 0, noted: Noted::NONE };
        self.recorder.received(self.now, &stranger.key, segment, effect, drop);
    }

    /// A segment that no TCB owns: for a listener, or for a closed port (RFC 9293 3.10.7.1 and 3.10.7.2).
    fn segment_without_flow(&mut self, stranger: &Stranger, segment: &Segment<'_>, iss_after: Option<SeqNum>) -> Answer {
        let key = &stranger.key;
        let Some(listener) = self.listeners.find(key.local, key.local_port).filter(|_| !self.stopping) else {
            if let Some(to) = self.port_elsewhere(Transport::Tcp, key.local_port).filter(|_| !self.stopping) {
                return Answer::HandOver { to, withdrawn: false };
            }
            // A port may still be opened as long as the service has not begun: the peer asks again.
            return if self.serving { Answer::refusal(segment, Drop::TcpPortClosed) } else { Answer::Drop(Drop::TcpPortClosed) };
        };
        match listen::on_segment(segment) {
            listen::Listen::Ignore(why) => Answer::Drop(why),
            listen::Listen::Reset(_) if self.may_follow_cookie(listener, key, segment) => Answer::Drop(Drop::TcpCookieMissing),
            listen::Listen::Reset(reset) => Answer::Reset(reset, self.no_cookie(listener)),
            listen::Listen::Syn => {
                // One that follows another connection has been asked about before that was removed.
                let admitted = if iss_after.is_some() { Syn::Admitted } else { self.admit_syn(key, false) };
                match self.accept(stranger, listener, segment, iss_after, admitted) {
                    Ok(answer) => answer,
                    Err(why) => Answer::Drop(why),
                }
            }
        }
    }

    /// True when a connection in TIME-WAIT can give way to a new one: its service has read everything, and a listener takes the SYN.
    fn may_reopen(&self, id: SlotId) -> bool {
        let Some(flow) = self.flows.find(id).filter(|flow| !flow.alive() && !self.stopping) else { return false };
        let listener = self.listeners.find(flow.key.local, flow.key.local_port).and_then(|at| self.listeners.at(at));
        listener.is_some_and(|listener| listener.half_open < listener.backlog(&self.config.tcp))
    }

    fn accept(
        &mut self,
        stranger: &Stranger,
        listener: u16,
        segment: &Segment<'_>,
        iss_after: Option<SeqNum>,
        admitted: Syn,
    ) -> Result<Answer, Drop> {
        let unproven = match admitted {
            Syn::Admitted => None,
            Syn::Unproven(why) => Some(why),
            Syn::Refused(why) => return Err(why),
        };
        let cookies = self.config.tcp.syn_cookies;
        // One that follows another in TIME-WAIT has to begin after it, which a cookie does not know; it has its predecessor's place.
        // Where stream buffers run short nothing is kept of a SYN either, before it is known to be meant.
        let scarce = iss_after.is_none() && (self.is_scarce(cookies) || self.pool.is_pressed());
        if self.flows.is_full() && self.who_gives_way().is_none() {
            return Err(Drop::TcpTableFull);
        }
        let entry = self.listeners.at_mut(listener).ok_or(Drop::TcpPortClosed)?;
        let full = entry.half_open >= entry.backlog(&self.config.tcp);
        if full || scarce || unproven.is_some() {
            if cookies {
                return self.answer_with_cookie(stranger, listener, segment).ok_or(Drop::TcpBacklogFull);
            }
            if let Some(why) = unproven {
                return Err(why);
            }
            if full {
                return Err(Drop::TcpBacklogFull);
            }
        }
        if !self.make_room() {
            return Err(Drop::TcpTableFull);
        }
        let entry = self.listeners.at_mut(listener).ok_or(Drop::TcpPortClosed)?;
        entry.half_open += 1;
        let (tag, congestion) = (entry.tag, entry.congestion);
        let mut opening = self.opening(stranger.at, &stranger.key, congestion);
        if let Some(after) = iss_after
            && !opening.iss.after(after)
        {
            // RFC 6191 2: the new connection's numbers must lie beyond all that the old one used.
            opening.iss = after + 64_000;
        }
        let tcb = Tcb::accept(&self.config.tcp, opening, self.now, segment);
        let mut flow = self.accepted(stranger, listener, tag, tcb);
        flow.in_backlog = true;
        let Some(id) = self.insert_flow(flow) else {
            self.leave_backlog(listener);
            return Err(Drop::TcpTableFull);
        };
        self.count_in_source(id, Counted::HalfOpen);
        self.counters.tcp_accepted += 1;
        Ok(self.withdraw_if_contested(id, stranger).unwrap_or(Answer::None))
    }

    /// Takes a flow back that was just made when another core has made it too ([`super::siblings`]), and says what becomes of its segment.
    #[inline]
    fn withdraw_if_contested(&mut self, id: SlotId, stranger: &Stranger) -> Option<Answer> {
        let answer = match self.who_else_has(stranger.hash, &stranger.key) {
            Whose::Nobodys => return None,
            Whose::Theirs(_) if self.provenance != Provenance::Arrived => Answer::Drop(Drop::HandOffAstray),
            Whose::Theirs(to) => Answer::HandOver { to, withdrawn: true },
            Whose::Unknown(why) => Answer::Drop(why),
        };
        self.remove_flow(id);
        // As if it had not been.
        self.counters.tcp_accepted -= 1;
        self.counters.tcp_removed -= 1;
        Some(answer)
    }

    /// A connection of a listener, as it begins.
    #[inline]
    fn accepted(&self, stranger: &Stranger, listener: u16, tag: u64, tcb: Tcb) -> Flow {
        let Stranger { key, hash, at, from } = *stranger;
        // In a port claim the kernel knows the neighbours, and is told which of them carry our packets.
        let hop = match self.link_of(at).mirrored {
            true => Hop::Routed { mac: Some(from), until: self.now + HOP_BELIEVED },
            false => Hop::Fixed(from),
        };
        let mut flow = Flow::new(key, hash, self.flow_label(&key), tcb, at, hop);
        flow.listener = Some(ListenerId(listener));
        flow.tag = tag;
        flow
    }

    /// A SYN-ACK for a SYN that gets no TCB; from now on the listener takes acknowledgments of cookies.
    fn answer_with_cookie(&mut self, stranger: &Stranger, listener: u16, syn: &Segment<'_>) -> Option<Answer> {
        let key = &stranger.key;
        let (octets, opening) = (key.octets(), self.opening(stranger.at, key, None));
        let seal = Seal { secret: &self.config.secrets.cookies, flow: &octets };
        let syn_ack = cookie::syn_ack(&self.config.tcp, opening, self.now, syn, seal);
        self.listeners.at_mut(listener)?.overflowed = Some(self.now);
        self.sent_cookie();
        Some(Answer::Cookie(syn_ack))
    }

    /// Looks at an acknowledgment that no TCB owns: it may be that of a cookie.
    fn accept_cookie(&mut self, stranger: &Stranger, segment: &Segment<'_>) -> Cookie {
        if !segment.flags.contains(Flags::ACK) || self.stopping {
            return Cookie::No;
        }
        let listener = self.listeners.find(stranger.key.local, stranger.key.local_port);
        let entry = listener.and_then(|listener| Some((listener, self.listeners.at(listener)?)));
        match entry.filter(|(_, entry)| self.takes_cookies(entry)) {
            Some((listener, &entry)) => self.open_by_cookie(stranger, (listener, entry), segment),
            None => Cookie::No,
        }
    }

    /// The connection that an acknowledgment of a cookie makes, if it is one, has made none before, and there is room.
    fn open_by_cookie(&mut self, stranger: &Stranger, (listener, entry): (u16, Listener), segment: &Segment<'_>) -> Cookie {
        let (tag, congestion) = (entry.tag, entry.congestion);
        let key = &stranger.key;
        let (octets, opening) = (key.octets(), self.opening(stranger.at, key, congestion));
        let seal = Seal { secret: &self.config.secrets.cookies, flow: &octets };
        let Some(mut tcb) = cookie::accept(&self.config.tcp, opening, self.now, segment, seal) else { return Cookie::No };
        let spent = SpentCookies::mark(stranger.hash, segment.ack);
        let refused = match self.may_open(key) {
            false => Some(Drop::TcpSourceFull),
            true if self.spent_cookies.contains(spent) || !self.make_room() => Some(Drop::TcpCookieInvalid),
            true => None,
        };
        if let Some(why) = refused {
            tcb.release(&mut self.pool);
            return Cookie::Refused(why);
        }
        let flow = self.accepted(stranger, listener, tag, tcb);
        let Some(id) = self.insert_flow(flow) else { return Cookie::Refused(Drop::TcpCookieInvalid) };
        self.count_in_source(id, Counted::Open);
        self.counters.tcp_accepted += 1;
        if let Some(answer) = self.withdraw_if_contested(id, stranger) {
            return Cookie::Contested(answer);
        }
        self.spent_cookies.insert(spent);
        self.tally.count(Happening::SynCookieAccepted);
        Cookie::Opens(id)
    }

    /// True when a reset might end a connection that a cookie promised, and whose first segment has yet to come.
    fn may_follow_cookie(&self, listener: u16, key: &FlowKey, segment: &Segment<'_>) -> bool {
        let takes = self.listeners.at(listener).is_some_and(|entry| self.takes_cookies(entry));
        takes && cookie::may_follow(self.now, segment, Seal { secret: &self.config.secrets.cookies, flow: &key.octets() })
    }

    /// Why an acknowledgment at a listener is refused.
    fn no_cookie(&self, listener: u16) -> Drop {
        let takes = self.listeners.at(listener).is_some_and(|entry| self.takes_cookies(entry));
        if takes { Drop::TcpCookieInvalid } else { Drop::TcpListenIgnored }
    }

    /// True when only the slots are left that are kept for handshakes which have been completed, and nothing in TIME-WAIT can give way. When no
    /// slot is left at all and `cookies` are sent, what is in TIME-WAIT does not help: a SYN, which anybody can forge, ends none of
    /// them, an acknowledgment of a cookie does.
    fn is_scarce(&mut self, cookies: bool) -> bool {
        let capacity = self.config.tcp.connections;
        let free = capacity - self.flows.len();
        if free == 0 && cookies {
            return true;
        }
        free < capacity / limits::KEPT_FOR_COOKIES && self.who_gives_way().is_none()
    }

    /// What a TCB is told at its birth.
    pub(super) fn opening(&self, at: Lane, key: &FlowKey, congestion: Option<Algorithm>) -> Opening {
        let secret = &self.config.secrets.isn;
        let ip = if key.remote.v4().is_some() { IpVersion::V4 } else { IpVersion::V6 };
        let (iss, timestamp_offset) = isn::first_numbers(secret, &key.octets(), self.now);
        Opening {
            iss,
            timestamp_offset,
            congestion: congestion.unwrap_or(self.config.tcp.congestion),
            //= rfc9293#3.7.1
            //# The MSS value to be sent in an MSS Option must be less than or equal to: [...] where MMS_R is the maximum size
            //# for a transport-layer message that can be received (and reassembled at the IP layer) (MUST-67).
            //= rfc9293#3.7.3
            //# when the effective MTU of an interface varies packet-to-packet, TCP implementations SHOULD use the smallest
            //# effective MTU of the interface to calculate the value to advertise in the MSS Option (SHLD-6).
            ip,
            mss: self.link_of(at).mtu_to(key.remote).saturating_sub(usize::from(ip.headers())).min(usize::from(u16::MAX)) as u16,
        }
    }

    /// Where a port's packets travel, as part of a flow's key.
    #[inline(always)]
    pub(super) const fn link_key(at: Lane) -> Link {
        Link { interface: at.interface }
    }

    /// Builds a SYN-ACK in the frame of the SYN, back to where that came from: no neighbour, route, timer or TCB is needed.
    fn cookie_in_frame(
        &mut self,
        at: Lane,
        mut frame: D::Frame,
        ethernet: Ethernet,
        key: &FlowKey,
        syn_ack: &Transmit<'_>,
    ) -> Verdict<D::Frame> {
        let header = emit::tcp_header(key, syn_ack);
        if !emit::tcp_segment(&mut frame, self.link_back(at, ethernet), key, &header, self.plain_delivery(key), [&[], &[]]) {
            return Verdict::Drop(frame, Drop::NoFrame);
        }
        self.tally.count(Happening::SynCookieSent);
        self.counters.tcp_sent += 1;
        let mut noted = Noted::NONE;
        noted.note(Happening::SynCookieSent);
        self.recorder.sent(self.now, key, &header, 0, Effect { noted, ..Effect::none(State::Listen) }, false);
        Verdict::Tx(frame)
    }

    /// Of segments that belong to no connection.
    fn plain_delivery(&self, key: &FlowKey) -> Delivery {
        Delivery { ttl: self.config.tcp.ttl as u8, flow_label: self.flow_label(key), ..Delivery::default() }
    }

    /// The flow label of a flow's packets; 0 over IPv4, which has none.
    pub(super) fn flow_label(&self, key: &FlowKey) -> u32 {
        if key.remote.v4().is_some() { 0 } else { ipv6::flow_label(&self.config.secrets.flow_labels, &key.octets()) }
    }

    fn link_back(&self, at: Lane, ethernet: Ethernet) -> LinkHeader {
        LinkHeader { source: self.link_of(at).interface.mac, target: ethernet.source, vlan: ethernet.vlan }
    }

    /// Builds a reset in the frame that called for it, back to where that came from.
    fn reset_in_frame(
        &mut self,
        at: Lane,
        mut frame: D::Frame,
        ethernet: Ethernet,
        key: &FlowKey,
        reset: Reset,
    ) -> Verdict<D::Frame> {
        let header = Header {
            source_port: key.local_port,
            target_port: key.remote_port,
            seq: reset.seq,
            ack: reset.ack.unwrap_or_default(),
            flags: if reset.ack.is_some() { Flags::RST | Flags::ACK } else { Flags::RST },
            window: 0,
            urgent: 0,
            options: Options::default(),
        };
        let link = self.link_back(at, ethernet);
        if !emit::tcp_segment(&mut frame, link, key, &header, self.plain_delivery(key), [&[], &[]]) {
            return Verdict::Drop(frame, Drop::NoFrame);
        }
        self.counters.tcp_resets_sent += 1;
        self.counters.tcp_sent += 1;
        self.recorder.sent(self.now, key, &header, 0, Effect::none(State::Closed), false);
        Verdict::Tx(frame)
    }

    /// Says once that a peer leaves checksums to an offload that never happens.
    pub(super) fn report_unfilled(&mut self, at: Lane) {
        if !std::mem::replace(&mut self.unfilled_reported, true) && self.may_say_unfilled() {
            let interface = &self.link_of(at).interface.name;
            tracing::warn!(
                "frames arrive on {interface} with unfilled checksums: the peer of this virtual link leaves them to an offload \
                 that nobody performs; such frames are dropped and counted as checksum_unfilled\n  \
                 try, where the peer is: ethtool -K PEER tx off"
            );
        }
    }
}

impl From<Address> for std::net::IpAddr {
    fn from(address: Address) -> Self {
        address.ip()
    }
}
