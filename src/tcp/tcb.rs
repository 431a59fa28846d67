//! The transmission control block: everything known of one connection (RFC 9293 3.3.1).
//!
//! The engine owns one [`Tcb`] per connection and calls it with segments ([`Tcb::on_segment`], in `arrives`), expired timers
//! (`timers`) and what the service wants (`calls`); it asks for segments to send (`output`). The parts are files of their own; this
//! one holds the fields, birth and death. A TCB has no clock and no buffers but what it takes from the pool; nothing in it
//! panics on what a peer sends.

use std::mem::offset_of;

use super::autotune::Autotune;
use super::challenge::ChallengeLimit;
use super::config::Config;
use super::congestion::{Algorithm, Congestion, Control};
use super::ecn::Ecn;
use super::event::{Events, Opening};
use super::keepalive::KeepaliveState;
use super::options::Offers;
use super::pacing::Pacer;
use super::path_mtu::PathMtu;
use super::pool::BufferPool;
use super::rate::Rate;
use super::receive_queue::ReceiveQueue;
use super::recovery::{Flight, Recovery};
use super::rto::Rto;
use super::rtt::Rtt;
use super::send_queue::SendQueue;
use super::seq::SeqNum;
use super::state::{Cause, Current, State};
use super::tally::Noted;
use super::timers::Timers;
use super::timestamps::Timestamps;
use super::urgent::Urgent;
use super::user_timeout::UserTimeout;
use super::window::{ReceiveSpace, SendSpace};
use crate::time::Instant;
use crate::wire::tcp::Segment;

/// One connection.
///
/// The order of calls in a turn: [`Tcb::on_segment`]; then, when its `payload` is not empty, the service is offered it and
/// [`Tcb::keep_unread`] is given the rest; when unread bytes wait, [`Tcb::unread`] and [`Tcb::consume`]; then [`Tcb::delivered`]; later
/// [`Tcb::next_transmit`] and [`Tcb::transmit`] until there is nothing more to send. Before a TCB is dropped, [`Tcb::release`] gives its memory back.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq))]
#[repr(C)]
pub struct Tcb {
    // What every segment asks for, in the first cache lines.
    /// SND.UNA, SND.NXT, SND.WND, SND.WL1, SND.WL2.
    pub(super) snd: SendSpace,
    /// RCV.NXT, RCV.WND.
    pub(super) rcv: ReceiveSpace,
    pub(super) timestamps: Timestamps,
    pub(super) state: Current,
    /// The DiffServ code point of what is sent.
    pub(super) dscp: u8,
    /// Came from a listener (RFC 9293 MUST-11).
    pub(super) passive: bool,
    /// The peer's SYN is known.
    pub(super) syn_seen: bool,
    /// The service has closed: a FIN follows the data.
    pub(super) fin_queued: bool,
    /// The FIN was sent, at least once.
    pub(super) fin_sent: bool,
    /// The peer's FIN is in order.
    pub(super) fin_received: bool,
    /// Nobody will read what still comes.
    pub(super) unreadable: bool,
    /// No Nagle.
    pub(super) no_delay: bool,
    /// Segments that are not full wait.
    pub(super) cork: bool,
    /// An ACK is to be sent without delay.
    pub(super) ack_now: bool,
    /// A zero-window probe is due.
    pub(super) probe: bool,
    /// The silly-window override is due.
    pub(super) override_avoidance: bool,
    /// The last SEND took less than it was given.
    pub(super) send_was_short: bool,
    pub(super) offers: Offers,
    /// When data was last sent.
    pub(super) last_sent: Instant,
    pub(super) timers: Timers,
    pub(super) queue: SendQueue,
    pub(super) received: ReceiveQueue,
    pub(super) keepalive: KeepaliveState,
    pub(super) autotune: Autotune,
    /// What happened since the engine last asked.
    pub(super) noted: Noted,
    /// Segments sent again.
    pub(super) resent: u64,
    pub(super) flight: Flight,
    pub(super) rtt: Rtt,
    pub(super) rto: Rto,

    // What acknowledgments of data ask for.
    pub(super) rate: Rate,
    pub(super) recovery: Recovery,
    pub(super) congestion: Control,

    // What few segments ask for.
    /// ISS
    pub(super) iss: SeqNum,
    /// IRS
    pub(super) irs: SeqNum,
    /// Sequence number of a FIN that arrived beyond a hole.
    pub(super) fin_beyond: Option<SeqNum>,
    /// Sequence number of a reset that is to be sent.
    pub(super) reset_pending: Option<SeqNum>,
    pub(super) pacer: Pacer,
    pub(super) ecn: Ecn,
    pub(super) challenges: ChallengeLimit,
    pub(super) path_mtu: PathMtu,
    pub(super) urgent: Urgent,
    pub(super) user_timeout: UserTimeout,
    /// How long a CLOSE waits for the peer, in milliseconds.
    pub(super) linger_ms: Option<u32>,
    /// When a closed connection is aborted.
    pub(super) abort_at: Instant,
}

/// Bytes of a cache line.
const LINE: usize = 64;
const _: () = assert!(offset_of!(Tcb, last_sent) <= 2 * LINE && offset_of!(Tcb, rate) <= 7 * LINE);

impl Tcb {
    /// Leading octets that [`Tcb::poll_timeout`] and [`Tcb::may_rest`] read.
    pub(crate) const HEAD_BYTES: usize = offset_of!(Self, timers) + size_of::<Timers>();

    /// An active open (RFC 9293 3.10.1): SYN-SENT, with the SYN still to be sent.
    pub fn open(config: &Config, opening: Opening, now: Instant) -> Self {
        let mut tcb = Self::new(config, opening, now, Current::CLOSED);
        tcb.enter(Cause::Open, State::SynSent);
        tcb
    }

    /// A SYN that reached a listener (RFC 9293 3.10.7.2): SYN-RECEIVED, with the SYN-ACK still to be sent. Data or a FIN in the
    /// SYN are not taken; as they are not acknowledged, the peer sends them again.
    #[inline]
    pub fn accept(config: &Config, opening: Opening, now: Instant, syn: &Segment<'_>) -> Self {
        let mut tcb = Self::new(config, opening, now, Current::LISTEN);
        //= rfc9293#3.5
        //# Note that a TCP implementation MUST keep track of whether a connection has reached SYN-RECEIVED state as the result of a
        //# passive OPEN or an active OPEN (MUST-11).
        tcb.passive = true;
        tcb.on_peer_syn(now, syn);
        tcb.snd.set_window(u32::from(syn.window), syn.seq, tcb.iss);
        tcb.enter(Cause::Syn, State::SynReceived);
        tcb
    }

    #[inline]
    pub(super) fn new(config: &Config, opening: Opening, now: Instant, state: Current) -> Self {
        let iss = opening.iss;
        let mut path_mtu = PathMtu::new(iss, opening.ip, opening.mss);
        path_mtu.begin_search(config);
        Self {
            state,
            snd: SendSpace::new(iss, opening.mss),
            rcv: ReceiveSpace::new(config, opening.mss),
            iss,
            irs: SeqNum(0),
            fin_beyond: None,
            reset_pending: None,
            timestamps: Timestamps::new(opening.timestamp_offset),
            rtt: Rtt::default(),
            rto: Rto::initial(config),
            timers: Timers::NONE,
            recovery: Recovery::new(iss),
            flight: Flight::new(iss + 1),
            rate: Rate::NONE,
            congestion: Control::new(opening.congestion),
            pacer: Pacer::NONE,
            ecn: Ecn::new(config),
            challenges: ChallengeLimit::default(),
            path_mtu,
            urgent: Urgent::default(),
            dscp: 0,
            keepalive: KeepaliveState::new(config.keepalive.then(|| config.keepalive_plan()), now),
            user_timeout: UserTimeout::new(config, now),
            linger_ms: None,
            abort_at: Instant::NEVER,
            last_sent: now,
            resent: 0,
            noted: Noted::NONE,
            queue: SendQueue::default(),
            received: ReceiveQueue::default(),
            autotune: Autotune::new(config, now),
            offers: Offers::new(config),
            passive: false,
            syn_seen: false,
            fin_queued: false,
            fin_sent: false,
            fin_received: false,
            unreadable: false,
            no_delay: config.no_delay,
            cork: false,
            ack_now: false,
            probe: false,
            override_avoidance: false,
            send_was_short: false,
        }
    }

    /// Nobody knows when what is outstanding was sent: its acknowledgment measures nothing.
    pub(super) fn forget_when_sent(&mut self) {
        self.recovery.syn.sent = Instant::NEVER;
    }

    /// Takes in the peer's SYN: IRS, RCV.NXT, options.
    pub(super) fn on_peer_syn(&mut self, now: Instant, syn: &Segment<'_>) {
        //= rfc9293#3.10.7.2
        //# Set RCV.NXT to SEG.SEQ+1, IRS is set to SEG.SEQ
        self.irs = syn.seq;
        self.rcv.nxt = syn.seq + 1;
        self.rcv.acked = self.rcv.nxt;
        self.autotune.begin(self.rcv.nxt, now);
        self.syn_seen = true;
        self.ecn.on_syn(syn.flags);
        self.settle_options(&syn.options, now);
        self.hear_user_timeout(syn.options.user_timeout);
    }

    /// The state (RFC 9293 3.3.2).
    pub const fn state(&self) -> State {
        self.state.get()
    }

    /// Enters a state.
    pub(super) fn enter(&mut self, cause: Cause, to: State) {
        self.state.enter(cause, to);
    }

    /// True when the connection is over and nothing is left to send: the TCB can be released and removed.
    pub fn finished(&self) -> bool {
        self.state() == State::Closed && self.reset_pending.is_none()
    }

    /// Gives all memory back; the TCB is of no use afterwards. Called once, when it is removed.
    pub fn release(&mut self, pool: &mut BufferPool) {
        self.queue.release(pool);
        self.flight.release(pool);
        self.received.release(pool);
    }

    /// Nothing at the peer's address serves us: no neighbour answers, or ICMP has told a hard error. Ends the attempt to connect; later it is a
    /// hint that is not followed, as RFC 5927 5.2 advises.
    pub fn on_unreachable(&mut self) -> Events {
        if self.state() != State::SynSent {
            return Events::NONE;
        }
        self.timers.stop();
        self.enter(Cause::Unreachable, State::Closed);
        Events::RESET
    }

    /// The DiffServ code point of what is sent, 0 to 63.
    pub const fn dscp(&self) -> u8 {
        self.dscp
    }

    /// The smoothed round-trip time in nanoseconds (RFC 6298); `None` before the first sample.
    pub const fn srtt_ns(&self) -> Option<u64> {
        self.rtt.srtt_ns()
    }

    /// How its congestion is controlled.
    pub const fn algorithm(&self) -> Algorithm {
        self.congestion.algorithm()
    }

    /// The congestion window in bytes.
    pub fn congestion_window(&self) -> u32 {
        self.congestion.window()
    }

    /// Segments that were sent more than once, SYN, FIN and probes included.
    pub const fn retransmitted(&self) -> u64 {
        self.resent
    }

    /// What happened to the connection since the last call, to be counted.
    pub fn take_noted(&mut self) -> Noted {
        let mut noted = std::mem::replace(&mut self.noted, Noted::NONE);
        noted.merge(self.congestion.take_noted());
        noted
    }

    /// The sequence number of our FIN: the one after the last byte given to send. Meaningless once the FIN is acknowledged.
    pub(super) fn fin_seq(&self) -> SeqNum {
        self.snd.una + self.queue.len()
    }

    /// True when our FIN is sent and acknowledged.
    pub(super) fn fin_acknowledged(&self) -> bool {
        self.fin_sent && self.snd.una == self.snd.nxt
    }

    /// Lends the unread bytes out, so that a service can read them while it sends on the same connection. Until
    /// [`Tcb::take_back`] nothing counts as unread.
    pub fn lend_unread(&mut self) -> Lent {
        Lent(std::mem::take(&mut self.received))
    }

    /// Takes back what [`Tcb::lend_unread`] lent out. No segment may have arrived in between.
    pub fn take_back(&mut self, lent: Lent) {
        self.received = lent.0;
    }

    /// True for a sequence number that has been sent and not acknowledged: what an honest ICMP error quotes (RFC 5927 4.1).
    pub fn is_in_flight(&self, seq: SeqNum) -> bool {
        seq.at_or_after(self.snd.una) && seq.before(self.snd.nxt)
    }

    /// Ends the connection from outside: nothing is sent or received any more. The queues are emptied.
    pub(super) fn end(&mut self, cause: Cause, pool: &mut BufferPool) {
        self.timers.stop();
        self.ack_now = false;
        self.queue.release(pool);
        self.flight.release(pool);
        self.received.release(pool);
        self.enter(cause, State::Closed);
    }
}

/// The unread bytes of a connection, on loan ([`Tcb::lend_unread`]).
#[derive(Debug)]
pub struct Lent(ReceiveQueue);

impl Lent {
    /// The first contiguous part of the unread bytes.
    pub fn unread(&self) -> &[u8] {
        self.0.front()
    }

    /// Gives the memory back to the pool: for a connection that has gone in the meantime.
    pub fn release(mut self, pool: &mut BufferPool) {
        self.0.release(pool);
    }
}
