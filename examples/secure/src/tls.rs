//! A TLS echo: what a client sends comes back, as a service.
//!
//! One session of `rustls` for each TCP connection ([`talk::Talk`]), fed from [`Service::data`] and emptied into [`Context::send`]. A session is
//! found by a serial number, which is also the token of its timer: numbers are not used again, so a timer that has outlived its connection finds
//! nobody. Bounded is what a client can make grow: sessions, what each may hold, and the time for the
//! handshake and for the end. In between a client may be silent for as long as it likes, as with an echo over plain TCP, and keeps its session: a service for
//! strangers gives that a time, too, or has `tcp.keepalive` at least find those that are gone. Nothing here panics.

mod talk;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ringway::service::{Connection, Context, Listen, PerConnection, ResetReason, Service};
use rustls::{ServerConfig, ServerConnection};

use talk::{Next, Talk};

/// The echo service.
#[derive(Debug)]
pub struct TlsEcho {
    port: u16,
    config: Arc<ServerConfig>,
    talks: HashMap<u64, Talk>,
    /// The number of the session at each connection; 0 where there is none.
    numbers: PerConnection<u64>,
    last_number: u64,
    totals: Totals,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// TCP connections.
    pub connections: u64,
    /// Handshakes that came to their end.
    pub handshakes: u64,
    /// Among them those of TLS 1.2.
    pub tls12: u64,
    /// Bytes that were echoed.
    pub bytes: u64,
    /// Sessions that the client ended with `close_notify`.
    pub ended: u64,
    /// Sessions that ended without: the client's end of the TCP stream came first, and something may be missing.
    pub truncated: u64,
    /// Sessions that broke the protocol, or in which the client sent an alert.
    pub failed: u64,
    /// Connections that were reset by the client, or lost.
    pub reset: u64,
    /// Connections that took too long, for the handshake or to close their side.
    pub late: u64,
    /// Connections that were turned away because there were too many.
    pub refused: u64,
}

impl TlsEcho {
    /// An echo at a port.
    pub fn new(port: u16, config: ServerConfig) -> Self {
        Self {
            port,
            config: Arc::new(config),
            talks: HashMap::new(),
            numbers: PerConnection::with_capacity(SESSIONS),
            last_number: 0,
            totals: Totals::default(),
        }
    }

    /// What has been done so far.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Has a session take what has arrived, and gives it what time it needs for what follows. Returns how many bytes were taken.
    fn go_on(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        let number = *self.numbers.of(connection);
        // Of a connection that was given up nothing is read any more.
        let Some(talk) = self.talks.get_mut(&number) else { return bytes.len() };
        let mut rest = bytes;
        let time = match talk.go_on(cx, &mut rest, &mut self.totals) {
            Next::Same => return bytes.len() - rest.len(),
            Next::Established => None,
            Next::Closed => Some(LINGER),
        };
        if let Some(timer) = talk.timer.take() {
            cx.cancel_timer(timer);
        }
        if let Some(time) = time {
            self.allow(cx, number, time);
        }
        bytes.len() - rest.len()
    }

    /// Gives a connection up unless the timer is taken back within some time.
    fn allow(&mut self, cx: &mut impl Context, number: u64, time: Duration) {
        let timer = cx.set_timer(cx.now() + time, number);
        let Some(talk) = self.talks.get_mut(&number) else { return };
        match timer {
            Ok(timer) => talk.timer = Some(timer),
            // No client is served without a bound on its time.
            Err(_) => self.give_up(cx, number),
        }
    }

    /// Ends a connection with a RST, after which no callback follows.
    fn give_up(&mut self, cx: &mut impl Context, number: u64) {
        if let Some(talk) = self.talks.remove(&number) {
            cx.abort(talk.connection);
            self.totals.late += 1;
        }
    }

    /// The connection is gone.
    fn forget(&mut self, cx: &mut impl Context, connection: Connection) {
        let number = std::mem::take(self.numbers.of(connection));
        if let Some(timer) = self.talks.remove(&number).and_then(|talk| talk.timer) {
            cx.cancel_timer(timer);
        }
    }
}

impl Service for TlsEcho {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        cx.listen(self.port.into(), Listen::default()).expect("the port is free");
    }

    fn connected(&mut self, cx: &mut impl Context, connection: Connection) {
        self.totals.connections += 1;
        *self.numbers.of(connection) = 0;
        let session = ServerConnection::new(Arc::clone(&self.config));
        let Some(session) = session.ok().filter(|_| self.talks.len() < SESSIONS) else {
            self.totals.refused += 1;
            return cx.abort(connection);
        };
        self.last_number += 1;
        *self.numbers.of(connection) = self.last_number;
        self.talks.insert(self.last_number, Talk::new(connection, session));
        self.allow(cx, self.last_number, HANDSHAKE);
    }

    /// What is left is offered again by the engine, with what follows it: as long as the client does not take the echo, nothing more is read, TCP closes its
    /// window, and the client has to wait.
    fn data(&mut self, cx: &mut impl Context, connection: Connection, bytes: &[u8]) -> usize {
        self.go_on(cx, connection, bytes)
    }

    /// What lies encrypted in the session, or decrypted and not yet echoed, goes first; the engine then offers what it has kept.
    fn writable(&mut self, cx: &mut impl Context, connection: Connection) {
        self.go_on(cx, connection, &[]);
    }

    fn peer_closed(&mut self, cx: &mut impl Context, connection: Connection) {
        if let Some(talk) = self.talks.get_mut(self.numbers.of(connection)) {
            talk.stream_ended(&mut self.totals);
        }
        self.go_on(cx, connection, &[]);
    }

    fn reset(&mut self, cx: &mut impl Context, connection: Connection, _: ResetReason) {
        self.totals.reset += 1;
        self.forget(cx, connection);
    }

    fn closed(&mut self, cx: &mut impl Context, connection: Connection) {
        self.forget(cx, connection);
    }

    /// What came in whole records still goes back, then the session ends as if the client had ended it.
    fn drain(&mut self, cx: &mut impl Context, connection: Connection) {
        if let Some(talk) = self.talks.get_mut(self.numbers.of(connection)) {
            talk.end();
        }
        self.go_on(cx, connection, &[]);
    }

    fn timer(&mut self, cx: &mut impl Context, number: u64) {
        self.give_up(cx, number);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, handshakes, tls12, bytes, ended, truncated, failed, reset, late, refused } = self;
        write!(f, "connections {connections}, handshakes {handshakes}, tls12 {tls12}, bytes {bytes}, ended {ended}, ")?;
        write!(f, "truncated {truncated}, failed {failed}, reset {reset}, late {late}, refused {refused}")
    }
}

/// Sessions at once. Each may hold some 100 KiB.
const SESSIONS: usize = 4096;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may leave its side open after ours is closed.
const LINGER: Duration = Duration::from_secs(5);
