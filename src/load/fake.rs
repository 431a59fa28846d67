//! An engine in simulated time with an echoing server behind it, for the tests of the load services.

use std::net::{IpAddr, SocketAddr};

use crate::service::{
    Answer, CallError, Connect, Connection, Context, Datagram, EndpointId, InFrame, Info, Listen, ListenerId, Local, ResetReason,
    Sending, Service, TimerId, datagram::Meta,
};
use crate::tcp::Tuning;
use crate::time::Instant;

/// The engine's side, the wire and the server in one.
pub(crate) struct Fake {
    pub(crate) now: Instant,
    pub(crate) stopped: bool,
    pub(crate) target: SocketAddr,
    /// Time from a send to its answer.
    pub(crate) rtt_ns: u64,
    /// Bytes that [`Context::send`] takes at once; more room comes with the answer.
    pub(crate) room: usize,
    /// What the server does with a connection.
    pub(crate) server: Server,
    /// Datagrams (counted from 0, the probe first) that get lost.
    pub(crate) lose: Vec<u64>,
    /// Datagrams that come back with a changed byte.
    pub(crate) change: Vec<u64>,
    /// Datagrams that come back twice.
    pub(crate) repeat: Vec<u64>,
    /// `send_to` has room only at even microseconds.
    pub(crate) congested: bool,
    pub(crate) timers_left: usize,
    pub(crate) ports_left: usize,
    /// Source addresses of everything that was sent or connected.
    pub(crate) sources: Vec<Option<IpAddr>>,
    pub(crate) aborted: u64,
    pub(crate) datagrams: u64,
    pub(crate) replies: u64,
    pub(crate) timers: Vec<(Instant, u64, TimerId)>,
    pub(crate) events: Vec<(Instant, u64, Event)>,
    pub(crate) connections: Vec<Stream>,
    pub(crate) endpoints: u16,
    pub(crate) order: u64,
}

/// How the server treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Echo,
    Daytime,
    Refuses,
    Silent,
    /// Changes the byte at this position of each stream.
    Changes(u64),
    /// Closes after so many bytes.
    ClosesAfter(u64),
}

pub(crate) struct Stream {
    id: Connection,
    open: bool,
    client_closed: bool,
    server_closed: bool,
    /// Bytes taken and not yet answered.
    queued: usize,
    wanted_more: bool,
    position: u64,
}

pub(crate) enum Event {
    Connected(usize),
    Refused(usize),
    Data(usize, Vec<u8>),
    PeerClosed(usize),
    Datagram(EndpointId, Vec<u8>),
}

impl Fake {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            now: Instant::from_ns(5_000_000_000),
            stopped: false,
            target: ([10, 0, 0, 2], 7).into(),
            rtt_ns: 10_000,
            room: usize::MAX,
            server,
            lose: Vec::new(),
            change: Vec::new(),
            repeat: Vec::new(),
            congested: false,
            timers_left: usize::MAX,
            ports_left: usize::MAX,
            sources: Vec::new(),
            aborted: 0,
            datagrams: 0,
            replies: 0,
            timers: Vec::new(),
            events: Vec::new(),
            connections: Vec::new(),
            endpoints: 0,
            order: 0,
        }
    }

    /// Connections the client has not closed or aborted.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.iter().filter(|stream| stream.open && !stream.client_closed).count()
    }

    /// Runs a service until it stops the engine, at most for so many seconds of simulated time.
    pub(crate) fn run(&mut self, service: &mut impl Service, seconds: u64) {
        let end = Instant::from_ns(self.now.as_ns() + seconds * 1_000_000_000);
        service.start(self);
        while !self.stopped && self.now < end {
            let timer = self.timers.iter().map(|timer| timer.0).min().unwrap_or(Instant::NEVER);
            let event = self.events.iter().map(|event| event.0).min().unwrap_or(Instant::NEVER);
            self.now = self.now.max(timer.min(event).min(end));
            if event <= timer && event <= self.now {
                self.deliver(service);
            } else if timer <= self.now {
                let at = self.timers.iter().position(|timer_at| timer_at.0 == timer).expect("it is the earliest");
                let (_, token, _) = self.timers.swap_remove(at);
                service.timer(self, token);
            }
        }
    }

    fn later(&mut self, after_ns: u64, event: Event) {
        self.order += 1;
        self.events.push((Instant::from_ns(self.now.as_ns() + after_ns), self.order, event));
    }

    fn deliver(&mut self, service: &mut impl Service) {
        let at = (0..self.events.len()).min_by_key(|&at| (self.events[at].0, self.events[at].1)).expect("there is one");
        let (_, _, event) = self.events.swap_remove(at);
        match event {
            Event::Connected(at) => {
                let id = self.connections[at].id;
                self.connections[at].open = true;
                service.connected(self, id);
                if self.server == Server::Daytime {
                    self.later(self.rtt_ns, Event::Data(at, b"Thursday, January 1, 1970 00:00:00-UTC\r\n".to_vec()));
                    self.later(self.rtt_ns + 1, Event::PeerClosed(at));
                }
            }
            Event::Refused(at) => service.reset(self, self.connections[at].id, ResetReason::Refused),
            Event::Data(at, bytes) if self.connections[at].open => {
                let id = self.connections[at].id;
                self.connections[at].queued -= bytes.len().min(self.connections[at].queued);
                assert_eq!(service.data(self, id, &bytes), bytes.len());
                if self.connections[at].open && std::mem::take(&mut self.connections[at].wanted_more) {
                    service.writable(self, id);
                }
            }
            Event::PeerClosed(at) if self.connections[at].open && !self.connections[at].server_closed => {
                self.connections[at].server_closed = true;
                service.peer_closed(self, self.connections[at].id);
            }
            Event::Data(..) | Event::PeerClosed(_) => {}
            Event::Datagram(endpoint, bytes) => self.deliver_datagram(service, endpoint, &bytes),
        }
    }

    fn deliver_datagram(&mut self, service: &mut impl Service, endpoint: EndpointId, bytes: &[u8]) {
        let mut frame = [0; 2000];
        frame[..bytes.len()].copy_from_slice(bytes);
        let local = ([10, 0, 0, 1], 40_000).into();
        let meta = Meta { endpoint, local, remote: self.target, to_many: false, interface: 0, ecn: 0 };
        let mut datagram = Datagram::InFrame(InFrame::new(&meta, &mut frame, bytes.len()));
        match service.datagram(self, &mut datagram) {
            Answer::Ignore => {}
            Answer::Reply { len } => {
                self.replies += 1;
                let reply = datagram.room()[..len].to_vec();
                self.carry(endpoint, &reply);
            }
            other => panic!("a load service does not answer {other:?}"),
        }
    }

    /// A datagram goes to the server and comes back, or not.
    fn carry(&mut self, endpoint: EndpointId, payload: &[u8]) {
        let number = self.datagrams;
        self.datagrams += 1;
        let mut back = payload.to_vec();
        if self.lose.contains(&number) || self.server == Server::Silent {
            return;
        }
        if self.change.contains(&number) {
            *back.last_mut().expect("a byte") ^= 1;
        }
        if self.repeat.contains(&number) {
            self.later(self.rtt_ns + 1, Event::Datagram(endpoint, back.clone()));
        }
        self.later(self.rtt_ns, Event::Datagram(endpoint, back));
    }

    fn find(&self, connection: Connection) -> Option<usize> {
        // The generation counts all connections.
        let at = connection.generation as usize;
        self.connections.get(at).filter(|stream| stream.id == connection).map(|_| at)
    }
}

impl Context for Fake {
    fn now(&self) -> Instant {
        self.now
    }

    fn listen(&mut self, _: Local, _: Listen) -> Result<ListenerId, CallError> {
        panic!("a client does not listen")
    }

    fn open_udp(&mut self, at: Local) -> Result<EndpointId, CallError> {
        if self.ports_left == 0 {
            return Err(CallError::TableFull);
        }
        self.ports_left -= 1;
        self.endpoints += 1;
        self.sources.push(at.address);
        // Ids need not begin with 0.
        Ok(EndpointId(self.endpoints + 10))
    }

    fn allow_fragments(&mut self, _: EndpointId, _: bool) {}

    fn connect(&mut self, remote: SocketAddr, options: Connect) -> Result<Connection, CallError> {
        assert_eq!(remote, self.target);
        if self.ports_left == 0 {
            return Err(CallError::NoPort);
        }
        self.ports_left -= 1;
        let at = self.connections.len();
        // Slots are used again with a new generation, as the engine does.
        let id = Connection { slot: (at % 300) as u32, generation: at as u32 };
        self.sources.push(options.source);
        let stream =
            Stream { id, open: false, client_closed: false, server_closed: false, queued: 0, wanted_more: false, position: 0 };
        self.connections.push(stream);
        match self.server {
            Server::Refuses => self.later(self.rtt_ns, Event::Refused(at)),
            Server::Silent => {}
            _ => self.later(self.rtt_ns, Event::Connected(at)),
        }
        Ok(id)
    }

    fn send(&mut self, connection: Connection, bytes: &[u8]) -> usize {
        let Some(at) = self.find(connection).filter(|&at| self.connections[at].open) else { return 0 };
        let stream = &mut self.connections[at];
        let taken = bytes.len().min(self.room.saturating_sub(stream.queued));
        stream.queued += taken;
        stream.wanted_more |= taken < bytes.len();
        let mut back = bytes[..taken].to_vec();
        let position = stream.position;
        stream.position += taken as u64;
        if let Server::Changes(byte) = self.server
            && let Some(changed) = byte.checked_sub(position).and_then(|at| back.get_mut(at as usize))
        {
            *changed ^= 0x10;
        }
        if matches!(self.server, Server::ClosesAfter(bytes) if position + taken as u64 > bytes) {
            self.later(self.rtt_ns, Event::PeerClosed(at));
        } else if taken > 0 {
            self.later(self.rtt_ns, Event::Data(at, back));
        }
        taken
    }

    fn send_urgent(&mut self, connection: Connection, bytes: &[u8]) -> usize {
        self.send(connection, bytes)
    }

    fn close(&mut self, connection: Connection) {
        if let Some(at) = self.find(connection) {
            self.connections[at].client_closed = true;
            self.later(self.rtt_ns, Event::PeerClosed(at));
        }
    }

    fn close_both(&mut self, connection: Connection) {
        self.close(connection);
    }

    fn abort(&mut self, connection: Connection) {
        if let Some(at) = self.find(connection) {
            self.aborted += 1;
            self.connections[at].open = false;
        }
    }

    fn tune(&mut self, _: Connection, _: Tuning) {}

    fn pause(&mut self, _: Connection) {}

    fn resume(&mut self, _: Connection) {}

    fn info(&self, _: Connection) -> Option<Info> {
        None
    }

    fn set_timer(&mut self, at: Instant, token: u64) -> Result<TimerId, CallError> {
        if self.timers_left == 0 {
            return Err(CallError::TableFull);
        }
        self.timers_left -= 1;
        self.order += 1;
        let id = TimerId { slot: 0, generation: self.order as u32 };
        self.timers.push((at, token, id));
        Ok(id)
    }

    fn cancel_timer(&mut self, timer: TimerId) {
        self.timers.retain(|&(_, _, id)| id != timer);
    }

    fn connect_udp(&mut self, _: Local, _: SocketAddr) -> Result<EndpointId, CallError> {
        panic!("a client does not connect its endpoints")
    }

    fn send_with(&mut self, from: EndpointId, to: SocketAddr, payload: &[u8], how: Sending) -> Result<(), CallError> {
        self.sources.extend(how.source.map(Some));
        assert_eq!(to, self.target);
        if self.congested && self.now.as_ns() / 1000 % 2 == 1 {
            return Err(CallError::WouldBlock);
        }
        self.carry(from, payload);
        Ok(())
    }

    fn datagram_limit(&mut self, _: EndpointId, _: SocketAddr) -> Option<usize> {
        None
    }

    fn kept(&self, _: u64) -> Option<&[u8]> {
        None
    }

    fn reply_kept(&mut self, _: u64, _: impl FnOnce(&mut [u8]) -> usize) -> Result<(), CallError> {
        Err(CallError::Stale)
    }

    fn release_kept(&mut self, _: u64) {}

    fn stop(&mut self) {
        self.stopped = true;
    }
}
