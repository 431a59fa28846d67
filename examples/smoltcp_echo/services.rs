//! The sockets, and what is said on them: echo, discard, chargen and http.
//!
//! Called by the loop in `smoltcp_echo.rs`: [`Services::serve`] once a turn, after smoltcp has seen the frames and before it sends. smoltcp has no
//! backlog: a port has so many sockets, each listens, has a connection, and listens again. All memory is taken at construction, but for
//! heads of HTTP requests that come in pieces. Nothing a peer sends may panic.

use ringway::error::SetupError;
use ringway::link::interface::Transport;
use ringway::service::catalog::{Entry, Name};
use ringway::service::{chargen, safe_to_answer};
use serde::Serialize;
use smoltcp::iface::SocketSet;
use smoltcp::socket::{Socket, tcp, udp};
use smoltcp::time::Duration;
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};

use crate::http::{Conversation, Site};

/// All sockets, and what they serve.
pub(crate) struct Services {
    /// First two for each of `endpoints`, then those of `places`, in their order.
    pub(crate) sockets: SocketSet<'static>,
    endpoints: Vec<Endpoint>,
    listeners: Vec<Listener>,
    places: Vec<Place>,
    /// What is on its way from a receive buffer to a send buffer: smoltcp lends one of a socket's two at a time.
    between: Box<[u8]>,
    counts: Counts,
}

/// What was served.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Datagrams answered or taken, pieces of streams read, HTTP requests answered.
    pub(crate) messages: u64,
    /// Payload bytes received.
    pub(crate) bytes: u64,
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Datagrams that an answer to could loop.
    #[serde(skip)]
    pub(crate) unsafe_to_answer: u64,
    /// Answers for which there was no room.
    #[serde(skip)]
    pub(crate) refused: u64,
}

/// A UDP port.
struct Endpoint {
    echo: bool,
    port: u16,
}

/// A TCP port.
struct Listener {
    service: Stream,
    at: IpListenEndpoint,
    /// Its sockets that listened when they were last looked at.
    listening: usize,
}

enum Stream {
    Echo,
    Discard,
    Chargen,
    Http(Site),
}

/// A TCP socket.
struct Place {
    /// Which of the listeners it belongs to.
    listener: usize,
    /// True once its connection was counted.
    open: bool,
    /// Bytes sent, of chargen.
    sent: u64,
    http: Conversation,
}

impl Services {
    /// Sockets for all entries, listening: for each of TCP `count`, with receive and send buffers of `buffer` bytes.
    ///
    /// # Errors
    /// A service that is only Ringway's, a folder that cannot be read, or more memory than anybody meant.
    pub(crate) fn new(entries: &[Entry], count: usize, buffer: usize) -> Result<Self, SetupError> {
        let (datagrams, streams): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.transport == Transport::Udp);
        let bytes = (streams.len() * count).saturating_mul(2 * buffer);
        if bytes > MEMORY_MOST {
            let why = format!("{count} sockets at each port with two buffers of {buffer} bytes would take {} MiB", bytes >> 20);
            return Err(SetupError::usage("cannot make the sockets", why).mend("--sockets with fewer, or --buffer with less"));
        }
        let mut services = Self {
            sockets: SocketSet::new(Vec::with_capacity(2 * datagrams.len() + count * streams.len())),
            endpoints: Vec::new(),
            listeners: Vec::new(),
            places: Vec::with_capacity(count * streams.len()),
            between: vec![0; BETWEEN].into_boxed_slice(),
            counts: Counts::default(),
        };
        datagrams.into_iter().try_for_each(|entry| services.open_udp(entry))?;
        streams.into_iter().try_for_each(|entry| services.open_tcp(entry, count, buffer))?;
        Ok(services)
    }

    fn open_udp(&mut self, entry: &Entry) -> Result<(), SetupError> {
        let echo = match entry.service {
            Name::Echo => true,
            Name::Discard => false,
            _ => return Err(unknown(entry)),
        };
        // What one receives the other sends, from buffer to buffer: the first one that fits hears the port.
        for _ in 0..2 {
            let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; DATAGRAMS], vec![0; DATAGRAM_BYTES]);
            let mut socket = udp::Socket::new(buffer(), buffer());
            socket.bind(endpoint(entry)).map_err(|error| refused(entry, error))?;
            self.sockets.add(socket);
        }
        self.endpoints.push(Endpoint { echo, port: entry.at.port });
        Ok(())
    }

    fn open_tcp(&mut self, entry: &Entry, count: usize, buffer: usize) -> Result<(), SetupError> {
        let service = match (entry.service, &entry.path) {
            (Name::Echo, _) => Stream::Echo,
            (Name::Discard, _) => Stream::Discard,
            (Name::Chargen, _) => Stream::Chargen,
            (Name::Http, Some(folder)) => Stream::Http(Site::read(folder)?),
            _ => return Err(unknown(entry)),
        };
        if let Some(congestion) = entry.congestion {
            let why = "smoltcp runs without congestion control here";
            let what = format!("cannot use {} for {entry}", congestion.name());
            return Err(SetupError::usage(what, why).mend("leave ,congestion= out"));
        }
        let (listener, at) = (self.listeners.len(), endpoint(entry));
        for _ in 0..count {
            let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(vec![0; buffer]), tcp::SocketBuffer::new(vec![0; buffer]));
            socket.set_nagle_enabled(false);
            socket.set_ack_delay(None);
            socket.set_timeout(Some(PATIENCE));
            socket.listen(at).map_err(|error| refused(entry, error))?;
            self.sockets.add(socket);
            self.places.push(Place { listener, open: false, sent: 0, http: Conversation::default() });
        }
        self.listeners.push(Listener { service, at, listening: count });
        Ok(())
    }

    /// Answers what has come.
    pub(crate) fn serve(&mut self) {
        let mut sockets = self.sockets.iter_mut().map(|(_, socket)| socket);
        for endpoint in &self.endpoints {
            let (Some(Socket::Udp(inbox)), Some(Socket::Udp(outbox))) = (sockets.next(), sockets.next()) else { return };
            answer_datagrams(endpoint, inbox, outbox, &mut self.counts);
        }
        // Those of one listener lie together.
        let mut current = 0;
        let mut listening = 0;
        for place in &mut self.places {
            if place.listener != current {
                self.listeners[current].listening = listening;
                (current, listening) = (place.listener, 0);
            }
            let Some(Socket::Tcp(socket)) = sockets.next() else { return };
            if socket.state() == tcp::State::Listen {
                listening += 1;
            } else {
                place.serve(socket, &self.listeners[current], &mut self.between, &mut self.counts);
            }
        }
        if let Some(last) = self.listeners.get_mut(current) {
            last.listening = listening;
        }
    }

    /// What was served so far.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Connections that are open, and those in TIME-WAIT.
    pub(crate) fn open(&self) -> (usize, usize) {
        self.sockets.iter().fold((0, 0), |(open, waiting), (_, socket)| match socket {
            Socket::Tcp(socket) => {
                (open + usize::from(socket.is_active()), waiting + usize::from(socket.state() == tcp::State::TimeWait))
            }
            _ => (open, waiting),
        })
    }

    /// Ends all connections with a reset, which leaves when smoltcp sends next.
    pub(crate) fn abort(&mut self) {
        for (_, socket) in self.sockets.iter_mut() {
            if let Socket::Tcp(socket) = socket {
                socket.abort();
            }
        }
    }
}

/// Takes all datagrams of a port; those of echo go back.
fn answer_datagrams(endpoint: &Endpoint, inbox: &mut udp::Socket<'_>, outbox: &mut udp::Socket<'_>, counts: &mut Counts) {
    while let Ok((payload, from)) = inbox.recv() {
        counts.bytes += payload.len() as u64;
        if endpoint.echo {
            // What is sent to many is not steered here.
            let local = from.local_address.map(|address| IpEndpoint::new(address, endpoint.port));
            if !local.is_some_and(|local| safe_to_answer(from.endpoint.into(), local.into(), false)) {
                counts.unsafe_to_answer += 1;
                continue;
            }
            if outbox.send_slice(payload, from).is_err() {
                counts.refused += 1;
                continue;
            }
        }
        counts.messages += 1;
    }
}

impl Place {
    /// Goes on with a socket that does not listen.
    fn serve(&mut self, socket: &mut tcp::Socket<'_>, listener: &Listener, between: &mut [u8], counts: &mut Counts) {
        match socket.state() {
            tcp::State::SynReceived => return,
            // TIME-WAIT gives way when nothing else is left to take a connection, as it does in Ringway's full table.
            tcp::State::TimeWait if listener.listening > 0 => return,
            tcp::State::Closed | tcp::State::TimeWait => return self.listen_again(socket, listener),
            _ => {}
        }
        if !self.open {
            self.open = true;
            counts.accepted += 1;
            // smoltcp ends a connection over which nothing came for so long, also one that has nothing to say.
            socket.set_timeout(None);
        }
        match &listener.service {
            Stream::Echo => echo(socket, between, counts),
            Stream::Discard => discard(socket, counts),
            Stream::Chargen => {
                discard(socket, counts);
                // Straight into the send buffer, twice where that wraps.
                while socket.can_send() {
                    let wrote = socket.send(|room| {
                        chargen::fill(self.sent, room);
                        (room.len(), room.len())
                    });
                    self.sent += wrote.unwrap_or(0) as u64;
                }
            }
            Stream::Http(site) => {
                if !self.http.go_on(socket, site, counts) {
                    return;
                }
            }
        }
        // The peer has said everything, and so have we.
        if !socket.may_recv() {
            close(socket);
        }
    }

    fn listen_again(&mut self, socket: &mut tcp::Socket<'_>, listener: &Listener) {
        *self = Self { listener: self.listener, open: false, sent: 0, http: std::mem::take(&mut self.http).emptied() };
        socket.set_timeout(Some(PATIENCE));
        // It listened there before, and is closed: it cannot refuse.
        let _ = socket.listen(listener.at);
    }
}

/// Closes our side. A peer that goes away without closing its own gives the socket back after a while.
pub(crate) fn close(socket: &mut tcp::Socket<'_>) {
    socket.set_timeout(Some(PATIENCE));
    socket.close();
}

fn echo(socket: &mut tcp::Socket<'_>, between: &mut [u8], counts: &mut Counts) {
    while socket.can_recv() && socket.can_send() {
        let room = (socket.send_capacity() - socket.send_queue()).min(between.len());
        let taken = socket.recv_slice(&mut between[..room]).unwrap_or(0);
        if taken == 0 || socket.send_slice(&between[..taken]) != Ok(taken) {
            return;
        }
        counts.messages += 1;
        counts.bytes += taken as u64;
    }
}

fn discard(socket: &mut tcp::Socket<'_>, counts: &mut Counts) {
    while socket.can_recv() {
        let Ok(taken) = socket.recv(|bytes| (bytes.len(), bytes.len())) else { return };
        counts.messages += 1;
        counts.bytes += taken as u64;
    }
}

fn endpoint(entry: &Entry) -> IpListenEndpoint {
    IpListenEndpoint { addr: entry.at.address.map(Into::into), port: entry.at.port }
}

fn unknown(entry: &Entry) -> SetupError {
    let why = "over smoltcp there are echo and discard, and over TCP chargen and http";
    let mend = match entry.service {
        Name::Chargen => format!("chargen/tcp:{}", entry.at.port),
        _ => format!("ringway serve -i IF -a ADDR {entry}"),
    };
    SetupError::usage(format!("cannot serve {entry}"), why).mend(mend)
}

fn refused(entry: &Entry, error: impl std::fmt::Display) -> SetupError {
    SetupError::failed(format!("cannot serve {entry}"), error.to_string())
}

/// How long a handshake, or the end of a connection, may stand still before the socket is given back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Datagrams of a UDP buffer: four bursts.
const DATAGRAMS: usize = 256;
/// Bytes of a UDP buffer: as many datagrams of the largest frame.
const DATAGRAM_BYTES: usize = 256 << 12;
/// Bytes moved at once from a receive buffer to a send buffer: they stay in the L1 cache.
const BETWEEN: usize = 16 << 10;
/// Bytes of all buffers: memory is only touched as connections use it.
const MEMORY_MOST: usize = 3 << 30;
