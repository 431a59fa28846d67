//! A QUIC echo: what a client sends on a stream comes back on it, as a service.
//!
//! One endpoint of `quinn-proto` stands behind one UDP port and says which of its connections a datagram is for. What the endpoint answers without a
//! connection (a retry, the versions it speaks, a stateless reset) goes back in the frame the question came in; what a connection sends leaves through
//! [`Context::send_with`], one datagram at a time. A connection has one timer of the engine's, for whatever it waits for first. Connections, what
//! each may hold, and what one may send in a turn are bounded. Nothing here panics on what a peer sends.

mod clock;
mod talk;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{
    AcceptError, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, Incoming, ServerConfig, Transmit,
    TransportConfig, VarInt,
};
use ringway::error::SetupError;
use ringway::service::{Answer, CallError, Context, Datagram, EndpointId, Sending, Service, safe_to_answer};

use clock::Clock;
use talk::Talk;

/// The echo service.
#[derive(Debug)]
pub struct QuicEcho {
    port: u16,
    /// Every client has to show that it hears us, not only one that comes when many are here.
    always_retry: bool,
    endpoint: Endpoint,
    talks: HashMap<ConnectionHandle, Talk>,
    /// Known once the service has started.
    socket: Option<EndpointId>,
    clock: Option<Clock>,
    /// Where datagrams are written before they leave.
    buffer: Vec<u8>,
    totals: Totals,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Connections that were begun.
    pub connections: u64,
    /// Handshakes that came to their end.
    pub handshakes: u64,
    /// Streams that were echoed to their end.
    pub streams: u64,
    /// Bytes that were echoed.
    pub bytes: u64,
    /// Clients that were asked to show that they hear us.
    pub retries: u64,
    /// Connections that were turned away because there were too many.
    pub refused: u64,
    /// Answers of the endpoint itself: version negotiations and stateless resets.
    pub stateless: u64,
    /// Connections that ended other than by the client's close.
    pub lost: u64,
    /// Datagrams that came.
    pub received: u64,
    /// Among them those that a router has marked: congestion experienced.
    pub marked: u64,
    /// Datagrams that left.
    pub sent: u64,
    /// Among them those that a router may mark.
    pub markable: u64,
    /// How often there was no frame to send in, and a datagram waited.
    pub blocked: u64,
    /// Datagrams that could not be sent: no route, larger than the path carries. They are lost, and QUIC sees to the rest.
    pub unsent: u64,
}

impl QuicEcho {
    /// An echo at a port.
    ///
    /// # Errors
    /// The key is of a kind that QUIC cannot use.
    pub fn new(port: u16, always_retry: bool, mut tls: rustls::ServerConfig) -> Result<Self, SetupError> {
        tls.alpn_protocols = vec![PROTOCOL.to_vec()];
        let crypto = QuicServerConfig::try_from(tls)
            .map_err(|error| SetupError::usage("cannot use the certificate for QUIC", error.to_string()))?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        // Our datagrams never leave in fragments, so the endpoint may find out how large ones arrive. Its random numbers are the system's.
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), Some(Arc::new(config)), true, None);
        Ok(Self {
            port,
            always_retry,
            endpoint,
            talks: HashMap::new(),
            socket: None,
            clock: None,
            buffer: Vec::new(),
            totals: Totals::default(),
        })
    }

    /// What has been done so far.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Somebody wants a connection. Answers at once, or begins it and leaves its answer to [`Self::go_on`].
    fn welcome(&mut self, cx: &mut impl Context, clock: Clock, incoming: Incoming) -> Option<Transmit> {
        if self.talks.len() >= CONNECTIONS {
            self.totals.refused += 1;
            return Some(self.endpoint.refuse(incoming, &mut self.buffer));
        }
        let many = self.always_retry || self.talks.len() >= TRUSTED;
        let incoming = if many && !incoming.remote_address_validated() {
            match self.endpoint.retry(incoming, &mut self.buffer) {
                Ok(transmit) => {
                    self.totals.retries += 1;
                    return Some(transmit);
                }
                Err(error) => error.into_incoming(),
            }
        } else {
            incoming
        };
        match self.endpoint.accept(incoming, clock.now(cx), &mut self.buffer, None) {
            Ok((handle, connection)) => {
                self.totals.connections += 1;
                self.talks.insert(handle, Talk::new(connection));
                self.go_on(cx, clock, handle);
                None
            }
            // Not even the first packet was in order.
            Err(AcceptError { response, .. }) => response,
        }
    }

    /// Does all that a connection can do now: echoes, sends, and says when it wants to be looked at again.
    fn go_on(&mut self, cx: &mut impl Context, clock: Clock, handle: ConnectionHandle) {
        let Some(talk) = self.talks.get_mut(&handle) else { return };
        talk.hear(&mut self.totals);
        talk.tell_endpoint(handle, &mut self.endpoint);
        if talk.is_over() {
            if let Some((timer, _)) = talk.armed {
                cx.cancel_timer(timer);
            }
            self.talks.remove(&handle);
            return;
        }
        let Some(socket) = self.socket else { return };
        let again = talk.send(clock.now(cx), &mut self.buffer, |transmit, payload| {
            let ecn = transmit.ecn.map_or(0, |mark| mark as u8);
            let how = Sending { source: transmit.src_ip, ecn, ..Sending::default() };
            let sent = cx.send_with(socket, transmit.destination, payload, how);
            self.totals.count(sent, ecn);
            sent != Err(CallError::WouldBlock)
        });
        let at = match again {
            talk::Again::Blocked => cx.now() + FRAME_WAIT,
            // The others have their turn first.
            talk::Again::More => cx.now(),
            talk::Again::Deadline(Some(at)) => clock.engine(at),
            talk::Again::Deadline(None) => return,
        };
        talk.arm(cx, at, handle);
    }
}

impl Service for QuicEcho {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        self.clock = Some(Clock::start(cx));
        self.socket = Some(cx.open_udp(self.port.into()).expect("the port is free"));
    }

    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        let meta = *datagram.meta();
        if !safe_to_answer(meta.remote, meta.local, meta.to_many) {
            return Answer::Unsafe;
        }
        let Some(clock) = self.clock else { return Answer::Ignore };
        let mark = EcnCodepoint::from_bits(meta.ecn);
        self.totals.received += 1;
        self.totals.marked += u64::from(mark.is_some_and(EcnCodepoint::is_ce));
        self.buffer.clear();
        // The one copy: packets are decrypted where they lie, and what they carry is kept until the stream is read.
        let payload = BytesMut::from(datagram.payload());
        let event = self.endpoint.handle(clock.now(cx), meta.remote, Some(meta.local.ip()), mark, payload, &mut self.buffer);
        let response = match event {
            None => None,
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(talk) = self.talks.get_mut(&handle) {
                    talk.connection.handle_event(event);
                    self.go_on(cx, clock, handle);
                }
                None
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.welcome(cx, clock, incoming),
            Some(DatagramEvent::Response(transmit)) => {
                self.totals.stateless += 1;
                Some(transmit)
            }
        };
        let Some(transmit) = response else { return Answer::Ignore };
        let Some(answer) = self.buffer.get(..transmit.size) else { return Answer::Ignore };
        let Some(room) = datagram.room().get_mut(..answer.len()) else { return Answer::Ignore };
        room.copy_from_slice(answer);
        self.totals.sent += 1;
        Answer::Reply { len: answer.len() }
    }

    /// Expired for a connection; early, if what it was set for is over meanwhile, which does no harm.
    fn timer(&mut self, cx: &mut impl Context, token: u64) {
        let (Some(clock), Ok(slot)) = (self.clock, usize::try_from(token)) else { return };
        let handle = ConnectionHandle(slot);
        if let Some(talk) = self.talks.get_mut(&handle) {
            talk.armed = None;
            talk.connection.handle_timeout(clock.now(cx));
            self.go_on(cx, clock, handle);
        }
    }

    /// Clients would otherwise learn of the end by waiting.
    fn stopping(&mut self, cx: &mut impl Context) {
        let Some(clock) = self.clock else { return };
        let handles: Vec<_> = self.talks.keys().copied().collect();
        for handle in handles {
            if let Some(talk) = self.talks.get_mut(&handle) {
                talk.close(clock.now(cx), b"the server stops");
            }
            self.go_on(cx, clock, handle);
        }
    }
}

impl Totals {
    fn count(&mut self, sent: Result<(), CallError>, ecn: u8) {
        match sent {
            Ok(()) => {
                self.sent += 1;
                self.markable += u64::from(ecn != 0);
            }
            Err(CallError::WouldBlock) => self.blocked += 1,
            Err(_) => self.unsent += 1,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, handshakes, streams, bytes, retries, refused, stateless, lost, .. } = self;
        let Self { received, marked, sent, markable, blocked, unsent, .. } = self;
        write!(f, "connections {connections}, handshakes {handshakes}, streams {streams}, bytes {bytes}, retries {retries}, ")?;
        write!(f, "refused {refused}, stateless {stateless}, lost {lost}, received {received}, marked {marked}, ")?;
        write!(f, "sent {sent}, markable {markable}, blocked {blocked}, unsent {unsent}")
    }
}

/// What a connection may hold, and how it sends.
fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_BYTES)
        .receive_window(CONNECTION_BYTES)
        .send_window(CONNECTION_BYTES.into_inner())
        .max_idle_timeout(Some(IDLE_MS.into()))
        // One datagram a call: the engine sends a burst of them with one kick anyway.
        .enable_segmentation_offload(false);
    config
}

/// The name of the protocol on top (ALPN), which both ends have to give.
pub const PROTOCOL: &[u8] = b"echo";
/// Connections at once.
const CONNECTIONS: usize = 1024;
/// Each has a timer whenever it wants one.
const _: () = assert!(CONNECTIONS <= ringway::limits::SERVICE_TIMERS);
/// So many connections are begun with clients that have not shown yet that they hear us.
const TRUSTED: usize = 256;
/// Streams of a connection at once.
const STREAMS: VarInt = VarInt::from_u32(100);
/// Bytes of a stream that may be on their way or unread.
const STREAM_BYTES: VarInt = VarInt::from_u32(256 << 10);
/// The same of a connection, each way.
const CONNECTION_BYTES: VarInt = VarInt::from_u32(1 << 20);
/// A client that says nothing for so long is forgotten: milliseconds.
const IDLE_MS: VarInt = VarInt::from_u32(10_000);
/// When there was no frame to send in, it is tried again after so long.
const FRAME_WAIT: Duration = Duration::from_micros(100);
