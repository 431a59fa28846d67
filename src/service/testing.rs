//! A context for unit tests of services: it remembers what was called and gives out what the test tells it to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::tcp::congestion::Algorithm;
use crate::tcp::{State, Tuning};
use crate::time::Instant;

const OURS: &str = "10.0.0.2";
const ROOM_BYTES: usize = 1458;

/// Remembers the calls of a service.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    listeners: Vec<(Local, Listen)>,
    endpoints: Vec<Local>,
    refused: Option<u16>,
    connections: BTreeMap<Connection, Open>,
    stopped: bool,
    draining: bool,
    now: Instant,
    timers: BTreeMap<u32, (Instant, u64)>,
    timers_set: u32,
    no_timers: bool,
    datagrams: Vec<(SocketAddr, Vec<u8>, Sending)>,
    no_datagrams: Option<CallError>,
}

#[derive(Debug, Default)]
struct Open {
    tag: u64,
    room: usize,
    sent: Vec<u8>,
    closed: bool,
    paused: bool,
    unacknowledged: usize,
    unread: usize,
}

impl Fake {
    /// A connection of a listener with this tag, with room for so many bytes.
    pub(crate) fn accept(&mut self, tag: u64, room: usize) -> Connection {
        let connection = Connection { slot: self.connections.len() as u32, generation: 1 };
        self.connections.insert(connection, Open { tag, room, ..Open::default() });
        connection
    }

    /// A connection of the listener opened as the `listener`th.
    pub(crate) fn accept_at(&mut self, listener: usize, room: usize) -> Connection {
        self.accept(self.listeners[listener].1.tag, room)
    }

    /// Ends a connection and opens another in its slot.
    pub(crate) fn accept_again(&mut self, old: Connection, tag: u64, room: usize) -> Connection {
        self.connections.remove(&old);
        let connection = Connection { slot: old.slot, generation: old.generation + 1 };
        self.connections.insert(connection, Open { tag, room, ..Open::default() });
        connection
    }

    pub(crate) fn give_room(&mut self, connection: Connection, bytes: usize) {
        self.connections.get_mut(&connection).unwrap().room += bytes;
    }

    pub(crate) fn refuse(&mut self, port: u16) {
        self.refused = Some(port);
    }

    pub(crate) fn sent(&self, connection: Connection) -> &[u8] {
        &self.connections[&connection].sent
    }

    pub(crate) fn is_closed(&self, connection: Connection) -> bool {
        self.connections[&connection].closed
    }

    /// True until it is aborted or replaced.
    pub(crate) fn is_open(&self, connection: Connection) -> bool {
        self.connections.contains_key(&connection)
    }

    pub(crate) fn is_paused(&self, connection: Connection) -> bool {
        self.connections.get(&connection).is_some_and(|open| open.paused)
    }

    /// What the peer has not acknowledged, from now on.
    pub(crate) fn leave_unacknowledged(&mut self, connection: Connection, bytes: usize) {
        self.connections.get_mut(&connection).unwrap().unacknowledged = bytes;
    }

    /// What the service has not read, from now on.
    pub(crate) fn leave_unread(&mut self, connection: Connection, bytes: usize) {
        self.connections.get_mut(&connection).unwrap().unread = bytes;
    }

    /// From now on the engine is about to stop; the service is told of a connection.
    pub(crate) fn drain(&mut self, service: &mut impl Service, connection: Connection) {
        self.draining = true;
        service.drain(self, connection);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// From now on no timer can be set.
    pub(crate) fn run_out_of_timers(&mut self) {
        self.no_timers = true;
    }

    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// The token of a timer that is due.
    pub(crate) fn due(&mut self) -> Option<u64> {
        let (&id, &(_, token)) = self.timers.iter().find(|(_, (at, _))| *at <= self.now)?;
        self.timers.remove(&id);
        Some(token)
    }

    /// What was sent from endpoints.
    pub(crate) fn datagrams(&self) -> &[(SocketAddr, Vec<u8>, Sending)] {
        &self.datagrams
    }

    /// From now on no datagram can be sent, or all can.
    pub(crate) fn refuse_datagrams(&mut self, why: Option<CallError>) {
        self.no_datagrams = why;
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) fn listening(&self) -> Vec<u16> {
        self.listeners.iter().map(|(at, _)| at.port).collect()
    }

    pub(crate) fn endpoints(&self) -> Vec<u16> {
        self.endpoints.iter().map(|at| at.port).collect()
    }
}

/// Hands a datagram to a service at its first endpoint; gives its answer and the room behind the payload's start.
pub(crate) fn datagram_from(service: &mut impl Service, cx: &mut Fake, remote: &str, payload: &[u8]) -> (Answer, Vec<u8>) {
    datagram_to(service, cx, 0, remote, payload)
}

/// The same at another endpoint.
pub(crate) fn datagram_to(
    service: &mut impl Service,
    cx: &mut Fake,
    endpoint: u16,
    remote: &str,
    payload: &[u8],
) -> (Answer, Vec<u8>) {
    let mut room = vec![0; ROOM_BYTES];
    room[..payload.len()].copy_from_slice(payload);
    let local = SocketAddr::new(OURS.parse().unwrap(), 7);
    let meta =
        Meta { endpoint: EndpointId(endpoint), local, remote: remote.parse().unwrap(), to_many: false, interface: 0, ecn: 0 };
    let answer = service.datagram(cx, &mut Datagram::InFrame(InFrame::new(&meta, &mut room, payload.len())));
    (answer, room)
}

impl Context for Fake {
    fn now(&self) -> Instant {
        self.now
    }

    fn listen(&mut self, at: Local, options: Listen) -> Result<ListenerId, CallError> {
        if self.refused == Some(at.port) {
            return Err(CallError::PortInUse);
        }
        self.listeners.push((at, options));
        Ok(ListenerId(self.listeners.len() as u16 - 1))
    }

    fn open_udp(&mut self, at: Local) -> Result<EndpointId, CallError> {
        self.endpoints.push(at);
        Ok(EndpointId(self.endpoints.len() as u16 - 1))
    }

    fn allow_fragments(&mut self, _: EndpointId, _: bool) {}

    fn connect(&mut self, _: SocketAddr, _: Connect) -> Result<Connection, CallError> {
        Err(CallError::NoRoute)
    }

    fn send(&mut self, connection: Connection, bytes: &[u8]) -> usize {
        let Some(open) = self.connections.get_mut(&connection).filter(|open| !open.closed) else { return 0 };
        let n = bytes.len().min(open.room);
        open.room -= n;
        open.sent.extend_from_slice(&bytes[..n]);
        n
    }

    fn send_urgent(&mut self, connection: Connection, bytes: &[u8]) -> usize {
        self.send(connection, bytes)
    }

    fn close(&mut self, connection: Connection) {
        if let Some(open) = self.connections.get_mut(&connection) {
            open.closed = true;
        }
    }

    fn close_both(&mut self, connection: Connection) {
        self.close(connection);
    }

    fn abort(&mut self, connection: Connection) {
        self.connections.remove(&connection);
    }

    fn tune(&mut self, _: Connection, _: Tuning) {}

    fn pause(&mut self, connection: Connection) {
        if let Some(open) = self.connections.get_mut(&connection) {
            open.paused = true;
        }
    }

    fn resume(&mut self, connection: Connection) {
        if let Some(open) = self.connections.get_mut(&connection) {
            open.paused = false;
        }
    }

    fn info(&self, connection: Connection) -> Option<Info> {
        let open = self.connections.get(&connection)?;
        Some(Info {
            local: SocketAddr::new(OURS.parse().unwrap(), 7),
            remote: SocketAddr::new("10.0.0.1".parse().unwrap(), 40_000),
            state: State::Established,
            listener: Some(ListenerId(0)),
            tag: open.tag,
            unread: open.unread,
            urgent: 0,
            unacknowledged: open.unacknowledged,
            room: open.room,
            srtt_ns: None,
            retransmitted: 0,
            congestion: Algorithm::default(),
            congestion_window: 0,
        })
    }

    fn set_timer(&mut self, at: Instant, token: u64) -> Result<TimerId, CallError> {
        if self.no_timers {
            return Err(CallError::TableFull);
        }
        self.timers_set += 1;
        self.timers.insert(self.timers_set, (at, token));
        Ok(TimerId { slot: self.timers_set, generation: 0 })
    }

    fn cancel_timer(&mut self, timer: TimerId) {
        self.timers.remove(&timer.slot);
    }

    fn connect_udp(&mut self, at: Local, _: SocketAddr) -> Result<EndpointId, CallError> {
        self.open_udp(at)
    }

    fn send_with(&mut self, _: EndpointId, to: SocketAddr, payload: &[u8], how: Sending) -> Result<(), CallError> {
        if let Some(why) = self.no_datagrams {
            return Err(why);
        }
        self.datagrams.push((to, payload.to_vec(), how));
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

    fn is_draining(&self) -> bool {
        self.draining
    }
}
