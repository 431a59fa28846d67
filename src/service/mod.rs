//! The service: what an application implements, for TCP and UDP alike.
//!
//! One instance of a [`Service`] lives on each core. The engine calls it inline from its loop, with static dispatch and
//! without locks; it answers through a [`Context`], which is the engine seen from inside a callback. A callback must not block
//! and should not take long: while it runs, its core receives nothing.
//!
//! A connection ends for the service with exactly one of [`Service::closed`] and [`Service::reset`], unless the service itself has ended it
//! ([`Context::abort`], or a close that discards data); after that
//! its [`Connection`] is stale, and calls with a stale id do nothing.

pub mod catalog;
pub mod chargen;
pub mod context;
pub mod datagram;
pub mod daytime;
pub mod discard;
pub mod dns;
pub mod echo;
pub mod http;
pub mod listen;
pub mod per_connection;
pub mod safety;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;

pub use catalog::Catalog;
pub use context::{CallError, Connect, Connection, Context, EndpointId, Info, Listen, ListenerId, Local, Sending, TimerId};
pub use datagram::{Answer, Assembled, Datagram, InFrame, Meta};
pub use per_connection::PerConnection;
pub use safety::{safe_to_answer, safe_to_answer_a_question};

use std::net::SocketAddr;

/// An application on the engine. Every callback has a default that does nothing (a datagram is ignored, data is discarded),
/// so a service writes down only what it needs.
///
/// ```
/// use ringway::service::{Answer, Connection, Context, Datagram, Listen, Service};
///
/// /// Answers every datagram and every byte with itself.
/// struct Echo;
///
/// impl Service for Echo {
///     type Message = ();
///
///     fn start(&mut self, cx: &mut impl Context) {
///         cx.listen(7.into(), Listen::default()).expect("port 7 is free");
///         cx.open_udp(7.into()).expect("port 7 is free");
///     }
///
///     fn datagram(&mut self, _: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
///         Answer::Reply { len: datagram.payload().len() }
///     }
///
///     fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
///         cx.send(connection, bytes)
///     }
///
///     fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
///         cx.close(connection);
///     }
/// }
/// ```
pub trait Service {
    /// What other threads may send to this service through the engine's mailbox.
    type Message: Send + 'static;

    /// Called once, before the first packet: open ports, set timers, connect.
    fn start(&mut self, cx: &mut impl Context) {
        let _ = cx;
    }

    /// A datagram arrived at an open endpoint. The answer says what becomes of it and of the frame it lies in.
    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let _ = (cx, datagram);
        Answer::Ignore
    }

    /// The handshake is complete: data may be sent and will arrive. Called for both passive and active opens.
    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        let _ = (cx, connection);
    }

    /// In-order bytes of the stream. Returns how many were taken; the rest is kept and offered again, together with what
    /// follows, when more arrives, after [`Service::writable`], and after [`Context::resume`].
    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        let _ = (cx, connection);
        bytes.len()
    }

    /// Room has come free in the send buffer after [`Context::send`] took less than it was given.
    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        let _ = (cx, connection);
    }

    /// The end of the peer's stream (its FIN), after all its data was taken. Our direction is still open: answer what
    /// remains, then [`Context::close`].
    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        cx.close(connection);
    }

    /// The connection ended abnormally: refused, reset by the peer, timed out, unreachable, or aborted when the engine stopped. Nothing more will come.
    fn reset(&mut self, cx: &mut impl Context, connection: Connection, why: ResetReason) {
        let _ = (cx, connection, why);
    }

    /// Both directions ended normally and everything was acknowledged. (The TCB may stay in TIME-WAIT; the service need not care.)
    fn closed(&mut self, cx: &mut impl Context, connection: Connection) {
        let _ = (cx, connection);
    }

    //= rfc9293#3.9.1.8
    //# There MUST be a mechanism for reporting soft TCP error conditions to the application (MUST-47).
    //= rfc9293#3.9.1.8
    //# However, an application program that does not want to receive such ERROR_REPORT calls SHOULD be able to effectively disable these
    //# calls (SHLD-20).
    /// Something about a connection that does not end it (RFC 9293 3.9.1.8, ERROR_REPORT). A service that does not want to know leaves
    /// this out.
    fn notice(&mut self, cx: &mut impl Context, connection: Connection, notice: Notice) {
        let _ = (cx, connection, notice);
    }

    /// The engine is about to stop. Called once, before [`Service::drain`] for any connection, for what only the service knows of: sessions over UDP,
    /// that want a last word. What is sent now leaves. The stop does not wait for them: whether timers and datagrams still come depends on
    /// connections that hold it up.
    fn stopping(&mut self, cx: &mut impl Context) {
        let _ = cx;
    }

    /// The engine is about to stop, and will not for as long as this connection is open and the time for that lasts
    /// ([`crate::engine::Config::drain`]): what is in work may be finished, and then the connection is to be closed, which is what happens at once unless
    /// a service says otherwise. Called once for each connection; for one whose handshake ends meanwhile, after
    /// [`Service::connected`]. What is still open when the time is over is reset.
    fn drain(&mut self, cx: &mut impl Context, connection: Connection) {
        cx.close(connection);
    }

    /// A timer set with [`Context::set_timer`] expired.
    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        let _ = (cx, token);
    }

    /// An ICMP error arrived for a datagram this service sent. (What concerns a connection comes as [`Notice::Icmp`].)
    fn icmp_error(&mut self, cx: &mut impl Context, error: IcmpError) {
        let _ = (cx, error);
    }

    /// Another thread left a message in the mailbox.
    fn message(&mut self, cx: &mut impl Context, message: Self::Message) {
        let _ = (cx, message);
    }
}

/// What a service is told of a connection that lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The same data was sent several times without an answer (R1, RFC 9293 3.8.3).
    Stalled,
    /// Urgent data are on their way, or more of them than was known; [`Info::urgent`] says how much (RFC 9293 3.8.5).
    Urgent,
    /// An ICMP error about it arrived that does not end it (RFC 9293 3.9.2.2).
    Icmp {
        /// The ICMP type: 3 is destination unreachable (RFC 792).
        icmp_type: u8,
        /// The ICMP code: 0 is net, 1 host unreachable.
        code: u8,
    },
}

/// Why a connection ended abnormally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// A RST answered our SYN: nobody listens there.
    Refused,
    /// The peer sent a RST.
    Reset,
    /// The peer stopped acknowledging (R2, RFC 9293 3.8.3).
    TimedOut,
    /// No route or no neighbour for the peer's address, or ICMP said so.
    Unreachable,
    /// This side aborted it, or the engine stopped.
    Aborted,
}

impl ResetReason {
    /// The name under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Aborted => "aborted",
        }
    }
}

/// An ICMP error about a datagram that was sent from an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// The endpoint that sent it.
    pub endpoint: EndpointId,
    /// Where the datagram was sent.
    pub remote: SocketAddr,
    /// The ICMP type: 3 is destination unreachable (RFC 792).
    pub icmp_type: u8,
    /// The ICMP code: 3 is port unreachable, 1 host unreachable.
    pub code: u8,
    /// The largest packet that the path to `remote` carries, in bytes, when the datagram was too big for it: from now on
    /// [`Context::datagram_limit`] is smaller.
    pub mtu: Option<u16>,
}
