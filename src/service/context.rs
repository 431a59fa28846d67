//! The engine as a service sees it from inside a callback.
//!
//! Used by services inside their callbacks; implemented by the engine (`engine/calls.rs`) and by the double of the unit tests.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::tcp::congestion::Algorithm;
use crate::tcp::{State, Tuning};
use crate::time::Instant;

/// The calls a service can make. The engine implements it; a unit test of a service may, too.
pub trait Context {
    /// The time of this turn of the loop.
    fn now(&self) -> Instant;

    /// The time at this moment, read from the clock: for measuring. [`Context::now`] is cheaper, the same for a whole burst, and enough for
    /// everything else.
    fn read_clock(&self) -> Instant {
        self.now()
    }

    /// Accepts TCP connections at a port of one of the claimed addresses, or of all.
    ///
    /// # Errors
    /// The port is taken on this core, not claimed, or the table of listeners is full.
    fn listen(&mut self, at: Local, options: Listen) -> Result<ListenerId, CallError>;

    /// Opens a UDP endpoint at a port; port 0 asks for a free one.
    ///
    /// The address may be a group that the launch takes: then what is sent to the group arrives there, and otherwise at the endpoint for all
    /// addresses. Two endpoints do not share a port of one address: a core has one service, and nothing to spread the load over.
    ///
    /// # Errors
    /// The port is taken on this core, not claimed, or the table of endpoints is full.
    fn open_udp(&mut self, at: Local) -> Result<EndpointId, CallError>;

    /// Opens a UDP endpoint for one peer: datagrams of others do not arrive ([`crate::device::Drop::UdpNotConnected`]), and of ICMP errors only those
    /// about this peer. It may still send to anybody.
    ///
    /// # Errors
    /// As [`Context::open_udp`]; also when `remote` is no single host's, or has no port.
    fn connect_udp(&mut self, at: Local, remote: SocketAddr) -> Result<EndpointId, CallError>;

    /// Whether datagrams larger than the MTU of the link or the path leave an endpoint in fragments; at first they do not ([`CallError::TooLarge`]). One lost fragment
    /// is a lost datagram, and many firewalls let none pass (RFC 8085 3.2). What came in fragments may be answered in fragments all the
    /// same. Does nothing when the endpoint is stale.
    fn allow_fragments(&mut self, endpoint: EndpointId, allowed: bool);

    /// Starts a connection; [`super::Service::connected`] or [`super::Service::reset`] follows.
    ///
    /// # Errors
    /// No address or route for the peer, no free port, or the table is full.
    fn connect(&mut self, remote: SocketAddr, options: Connect) -> Result<Connection, CallError>;

    /// Queues bytes for sending and returns how many fitted; 0 when the connection cannot send (not open, closed, stale).
    /// When fewer fitted than were given, [`super::Service::writable`] follows once there is room.
    fn send(&mut self, connection: Connection, bytes: &[u8]) -> usize;

    //= rfc9293#3.8.5
    //# As a result of implementation differences and middlebox interactions, new applications SHOULD NOT employ the TCP urgent mechanism
    //# (SHLD-13).
    /// As [`Context::send`], and everything up to the last byte taken is urgent: the peer is told to hurry towards it. The data stay in line.
    /// New applications do better without (RFC 9293 SHLD-13).
    fn send_urgent(&mut self, connection: Connection, bytes: &[u8]) -> usize;

    /// Ends our direction once everything queued has been sent (FIN). The peer may go on sending. With a linger time of zero
    /// ([`Tuning::Linger`]) this is [`Context::abort`].
    fn close(&mut self, connection: Connection);

    /// Ends both directions: as [`Context::close`], and nothing more is read. What is unread or still comes is lost, which the peer
    /// is told with a RST (RFC 9293 SHLD-3): at once for what is unread, and then no callback follows. Otherwise the end of the connection is
    /// told as ever, but nothing that is received.
    fn close_both(&mut self, connection: Connection);

    /// Sets something of one connection: Nagle, cork, keep-alives, user timeout, linger. Does nothing when the id is stale.
    fn tune(&mut self, connection: Connection, tuning: Tuning);

    /// Ends the connection at once with a RST; what was queued is discarded. No callback follows.
    fn abort(&mut self, connection: Connection);

    /// Stops [`super::Service::data`] for a connection; the receive window closes as its buffer fills.
    fn pause(&mut self, connection: Connection);

    /// Lets [`super::Service::data`] go on; what waited is offered at once after this callback.
    fn resume(&mut self, connection: Connection);

    /// What is known of a connection; `None` when the id is stale.
    fn info(&self, connection: Connection) -> Option<Info>;

    /// Calls [`super::Service::timer`] with `token` at `at`, or soon after (never before).
    ///
    /// # Errors
    /// All timers are in use.
    fn set_timer(&mut self, at: Instant, token: u64) -> Result<TimerId, CallError>;

    /// Takes a timer back; does nothing when it has expired already.
    fn cancel_timer(&mut self, timer: TimerId);

    /// The largest payload of a datagram that leaves an endpoint for `to` in one packet, as far as is known: the link carries it, and no ICMP error has
    /// said that the path does not. `None` when the endpoint is stale or nothing leads there.
    fn datagram_limit(&mut self, from: EndpointId, to: SocketAddr) -> Option<usize>;

    /// Sends one datagram from an endpoint. The payload is copied once, into the frame it leaves in.
    ///
    /// # Errors
    /// The endpoint is stale, no route or frame, the datagram is larger than the link or the path carries, or, in fragments, than IP does. What would leave in
    /// fragments is [`CallError::WouldBlock`] also while the neighbour's address is being asked for.
    fn send_to(&mut self, from: EndpointId, to: SocketAddr, payload: &[u8]) -> Result<(), CallError> {
        self.send_with(from, to, payload, Sending::default())
    }

    /// The same from a chosen source address: for a core that owns several.
    ///
    /// # Errors
    /// As [`Context::send_to`]; also when `source` is not one of ours.
    fn send_from(&mut self, from: EndpointId, source: IpAddr, to: SocketAddr, payload: &[u8]) -> Result<(), CallError> {
        self.send_with(from, to, payload, Sending { source: Some(source), ..Sending::default() })
    }

    /// The same with a say in how it travels: by which interface, how far, and whether endpoints of this core hear what is sent to their group.
    ///
    /// # Errors
    /// As [`Context::send_from`].
    fn send_with(&mut self, from: EndpointId, to: SocketAddr, payload: &[u8], how: Sending) -> Result<(), CallError>;

    /// Cuts a buffer into datagrams of `size` bytes, the last of them shorter, and sends as many as there is room for. Returns the bytes sent: those of
    /// whole datagrams, so that the rest can be sent in a later turn.
    ///
    /// # Errors
    /// As [`Context::send_with`], when not even the first could be sent; [`CallError::TooLarge`] for a `size` of 0.
    fn send_segments(
        &mut self,
        from: EndpointId,
        to: SocketAddr,
        payload: &[u8],
        size: usize,
        how: Sending,
    ) -> Result<usize, CallError> {
        if size == 0 {
            return Err(CallError::TooLarge);
        }
        let mut sent = 0;
        for piece in payload.chunks(size) {
            match self.send_with(from, to, piece, how) {
                Ok(()) => sent += piece.len(),
                Err(why) if sent == 0 => return Err(why),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// Sends several datagrams, each to its own target, as many as there is room for, and returns how many those are: the rest can be sent in a later
    /// turn. All of them leave with one kick of the NIC, at the end of the turn, like everything that is sent in it.
    ///
    /// # Errors
    /// As [`Context::send_with`], when not even the first could be sent.
    fn send_burst(&mut self, from: EndpointId, datagrams: &[(SocketAddr, &[u8])], how: Sending) -> Result<usize, CallError> {
        for (sent, &(to, payload)) in datagrams.iter().enumerate() {
            match self.send_with(from, to, payload, how) {
                Ok(()) => {}
                Err(why) if sent == 0 => return Err(why),
                Err(_) => return Ok(sent),
            }
        }
        Ok(datagrams.len())
    }

    /// The bytes of a datagram kept with [`super::Answer::Keep`]; `None` when there is none under this token.
    fn kept(&self, token: u64) -> Option<&[u8]>;

    /// Answers a kept datagram from the frame it lies in: the first `len` bytes of `write`'s buffer go back to its sender.
    ///
    /// # Errors
    /// Nothing is kept under this token, there is no room to send, or it came to a group and no address of ours could answer.
    fn reply_kept(&mut self, token: u64, write: impl FnOnce(&mut [u8]) -> usize) -> Result<(), CallError>;

    /// Gives a kept datagram up.
    fn release_kept(&mut self, token: u64);

    /// Ends the engine after this turn: connections are closed as on SIGTERM.
    fn stop(&mut self);

    /// True once the engine is about to stop: what is asked for now is answered, and is the last ([`super::Service::drain`]).
    fn is_draining(&self) -> bool {
        false
    }
}

/// Names a TCP connection: a slot of the core's table and its generation. An id of an ended connection stays stale for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Connection {
    /// Slot in the table.
    pub(crate) slot: u32,
    /// Generation of the slot.
    pub(crate) generation: u32,
}

impl Connection {
    /// A number that is this connection's own while it lives, small enough to index an array of the service.
    pub const fn index(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// Names a listener of this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) u16);

/// Names a UDP endpoint of this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId(pub(crate) u16);

/// Names a timer of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Our end of a listener or an endpoint: a port, at one address or at all claimed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address; `None` for all.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl From<u16> for Local {
    fn from(port: u16) -> Self {
        Self { address: None, port }
    }
}

impl From<SocketAddr> for Local {
    fn from(at: SocketAddr) -> Self {
        Self { address: (!at.ip().is_unspecified()).then(|| at.ip()), port: at.port() }
    }
}

/// How a datagram is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// Our address; `None` chooses the endpoint's, else the one nearest to the target.
    pub source: Option<IpAddr>,
    /// The interface, by its position in the engine's list ([`super::Meta::interface`]); `None` chooses by the route. Groups and the limited broadcast
    /// are behind every interface: there it is the first, or the one that has `source`.
    pub interface: Option<u16>,
    /// TTL, or hop limit; `None` is 1 to multicast groups (RFC 1112 6.1), and 64 otherwise. With 0 nothing
    /// leaves the host.
    pub hop_limit: Option<u8>,
    /// What is sent to many also arrives at an endpoint of this core that hears it, with [`super::Datagram::Assembled`]. The copy cannot be answered
    /// or kept. Sockets of the same machine's kernel do not hear it.
    pub looped: bool,
    /// Goes whole although the path is known to carry less, and never in fragments: it is sent to find out ([`crate::udp::dplpmtud`]). The link has to carry
    /// it.
    pub probe: bool,
    /// The ECN codepoint to leave with (RFC 3168 5), of which the lower two bits count: 0 is Not-ECT, 2 ECT(0). Only who reacts to marks as to losses may ask
    /// for them ([`super::Meta::ecn`] at the other end). An answer in the frame ([`super::Answer::Reply`]) is Not-ECT.
    pub ecn: u8,
}

/// How to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Connections in SYN-RECEIVED at once; `None` takes the setting `tcp.backlog`.
    pub backlog: Option<usize>,
    /// A number of the service's own, found again in [`Info::tag`] of each accepted connection.
    pub tag: u64,
    /// Congestion control of accepted connections; `None` takes the setting `tcp.congestion`.
    pub congestion: Option<Algorithm>,
}

/// How to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// Our address; `None` chooses the one on the peer's network.
    pub source: Option<IpAddr>,
    /// Our port; `None` chooses a free one.
    pub source_port: Option<u16>,
    /// A number of the service's own, found again in [`Info::tag`].
    pub tag: u64,
    /// Congestion control; `None` takes the setting `tcp.congestion`.
    pub congestion: Option<Algorithm>,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// State (RFC 9293 3.3.2).
    pub state: State,
    /// The listener that accepted it; `None` for an active open.
    pub listener: Option<ListenerId>,
    /// The tag of the listener or of the connect call.
    pub tag: u64,
    /// Bytes received and not yet taken by the service.
    pub unread: usize,
    /// Urgent bytes still to come, not counting what is being offered to [`super::Service::data`] now (RFC 9293 3.8.5).
    pub urgent: usize,
    /// Bytes queued and not yet acknowledged.
    pub unacknowledged: usize,
    /// Bytes that [`Context::send`] would take now.
    pub room: usize,
    /// Smoothed round-trip time in nanoseconds; `None` before the first sample (RFC 6298).
    pub srtt_ns: Option<u64>,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Congestion control.
    pub congestion: Algorithm,
    /// The congestion window in bytes (RFC 5681).
    pub congestion_window: u32,
}

/// Why a call could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Another listener or endpoint of this core has the port.
    #[error("the port is in use by another service")]
    PortInUse,
    /// The address is not one that this engine owns.
    #[error("the address is not one of the engine's own")]
    NotOurAddress,
    /// The port is not among the claimed ones.
    #[error("the port is not claimed (--claim)")]
    NotClaimed,
    /// No free source port is left for this destination.
    #[error("no free source port is left for this destination")]
    NoPort,
    /// No interface or gateway leads to the destination.
    #[error("no route to the destination")]
    NoRoute,
    /// A table of fixed size is full.
    #[error("the table is full")]
    TableFull,
    /// The id names nothing that exists (any more).
    #[error("the id is stale")]
    Stale,
    /// The datagram does not fit into one packet of the link, or of the path as far as it is known ([`Context::datagram_limit`]).
    #[error("the datagram is larger than the link or the path carries")]
    TooLarge,
    /// No frame or no room in the transmit ring: try again in a later turn.
    #[error("no frame is free; try again in a later turn")]
    WouldBlock,
}
