//! The calls of a service: the core as a [`Context`].
//!
//! Called by services from inside their callbacks. A call changes state and queues; what it makes ready to send leaves at the end of the
//! turn. A stale id is answered, never followed; nothing here panics.

use std::net::{IpAddr, SocketAddr};

use super::clock::Clock as _;
use super::core::{Core, Timer};
use super::flow::{Flow, Hop, Listener};
use super::siblings::Whose;
use crate::demux::ports::Refused;
use crate::demux::{Address, FlowKey, SlotId};
use crate::device::Device;
use crate::limits::{self, SOURCE_PORTS};
use crate::link::interface::{Claim, PortClaim, Transport};
use crate::link::route;
use crate::rss::port;
use crate::service::{CallError, Connect, Connection, Context, EndpointId, Info, Listen, ListenerId, Local, Sending, TimerId};
use crate::tcp::{State, Tcb, Tuning, isn};
use crate::time::Instant;
use crate::udp::Endpoint;

impl<D: Device> Context for Core<D> {
    fn now(&self) -> Instant {
        self.now
    }

    fn read_clock(&self) -> Instant {
        self.clock.map_or(self.now, |clock| clock.now())
    }

    //= rfc9293#3.9.1.1
    //# A TCP implementation that supports multiple concurrent connections MUST provide an OPEN call that will functionally
    //# allow an application to LISTEN on a port while a connection block with the same local port is in SYN-SENT or
    //# SYN-RECEIVED state (MUST-42).
    fn listen(&mut self, at: Local, options: Listen) -> Result<ListenerId, CallError> {
        self.check_local(at, Transport::Tcp)?;
        let listener = Listener {
            backlog: options.backlog,
            half_open: 0,
            tag: options.tag,
            congestion: options.congestion,
            overflowed: None,
        };
        let opened = self.listeners.open(at.address.map(Address::from), at.port, listener).map_err(CallError::from)?;
        self.port_opened(Transport::Tcp, at.port);
        Ok(ListenerId(opened))
    }

    fn open_udp(&mut self, at: Local) -> Result<EndpointId, CallError> {
        self.open_endpoint(at, Endpoint::default())
    }

    fn connect_udp(&mut self, at: Local, remote: SocketAddr) -> Result<EndpointId, CallError> {
        let to_many = self.links.iter().any(|link| route::is_many(&link.interface, remote.ip()));
        if to_many || remote.ip().is_unspecified() || remote.port() == 0 {
            return Err(CallError::NoRoute);
        }
        self.open_endpoint(at, Endpoint { peer: Some((remote.ip().into(), remote.port())), ..Endpoint::default() })
    }

    fn allow_fragments(&mut self, endpoint: EndpointId, allowed: bool) {
        if let Some(endpoint) = self.endpoints.at_mut(endpoint.0) {
            endpoint.fragments = allowed;
        }
    }

    fn connect(&mut self, remote: SocketAddr, options: Connect) -> Result<Connection, CallError> {
        //= rfc9293#3.9.1.1
        //# The optional "local IP address" parameter MUST be supported to allow the specification of the local IP address
        //# (MUST-43).
        //= rfc9293#3.9.1.1
        //# If an application on a multihomed host does not specify the local IP address when actively opening a TCP connection,
        //# then the TCP implementation MUST ask the IP layer to select a local IP address before sending the (first) SYN
        //# (MUST-44).
        //= type=exception
        //= rfc9293#3.9.2.1 SHLD-24 MUST-53
        //# An application MUST be able to specify a source route when it actively opens a TCP connection (MUST-51), and this
        //# MUST take precedence over a source route received in a datagram (MUST-52).
        // Source routes are dropped by nearly every router and host of today (RFC 7126 4.3.1); whoever could set one could lead
        // our answers anywhere.
        let (interface, source) = self.source_for(remote.ip(), options.source, None)?;
        let at = self.port_of(interface).ok_or(CallError::NoRoute)?;
        //= rfc9293#3.9.1.1
        //# A TCP implementation MUST reject as an error a local OPEN call for an invalid remote IP address (e.g., a broadcast or multicast
        //# address) (MUST-46).
        if route::is_many(&self.link_of(at).interface, remote.ip()) {
            return Err(CallError::NoRoute);
        }
        let mut key = FlowKey {
            local: source.into(),
            remote: remote.ip().into(),
            local_port: 0,
            remote_port: remote.port(),
            link: Self::link_key(at),
        };
        key.local_port = match options.source_port {
            // What came back to another port of the kernel's address would go to the kernel.
            Some(port) if !self.claims(interface, PortClaim { transport: Transport::Tcp, port }) => {
                return Err(CallError::NotClaimed);
            }
            Some(port) => port,
            None => self.free_tcp_port(key).ok_or(CallError::NoPort)?,
        };
        if self.find_flow(&key).is_some() || self.is_taken_elsewhere(&key) {
            return Err(CallError::PortInUse);
        }
        if !self.make_room() {
            return Err(CallError::TableFull);
        }
        //= rfc9293#3.9.1.1
        //# At all other times, a previous segment has either been sent or received on this connection, and TCP implementations
        //# MUST use the same local address that was used in those previous segments (MUST-45).
        let tcb = Tcb::open(&self.config.tcp, self.opening(at, &key, options.congestion), self.now);
        let hop = Hop::Routed { mac: None, until: Instant::ZERO };
        let flow = Flow { tag: options.tag, ..Flow::new(key, self.hash.of(&key), self.flow_label(&key), tcb, at, hop) };
        let hash = flow.hash;
        let id = self.insert_flow(flow).ok_or(CallError::TableFull)?;
        if self.who_else_has(hash, &key) != Whose::Nobodys {
            self.remove_flow(id);
            return Err(CallError::PortInUse);
        }
        self.counters.tcp_opened += 1;
        Ok(id.into())
    }

    fn send(&mut self, connection: Connection, bytes: &[u8]) -> usize {
        let Self { flows, pool, config, ready, .. } = self;
        let id = connection.into();
        let Some(flow) = flows.find_mut(id).filter(|flow| flow.alive()) else { return 0 };
        flow.touch(id, ready);
        flow.tcb.send(&config.tcp, bytes, pool)
    }

    fn send_urgent(&mut self, connection: Connection, bytes: &[u8]) -> usize {
        let Self { flows, pool, config, .. } = self;
        let Some(flow) = flows.find_mut(connection.into()).filter(|flow| flow.alive()) else { return 0 };
        let taken = flow.tcb.send_urgent(&config.tcp, bytes, pool);
        self.touch(connection.into());
        taken
    }

    fn close(&mut self, connection: Connection) {
        self.close_flow(connection.into());
    }

    fn close_both(&mut self, connection: Connection) {
        let Self { flows, pool, config, now, .. } = self;
        let Some(flow) = flows.find_mut(connection.into()).filter(|flow| flow.alive()) else { return };
        let before = flow.tcb.state();
        flow.tcb.close_both(&config.tcp, *now, pool);
        flow.told.peer_closed = true;
        self.closed_by_service(connection.into(), before);
    }

    fn tune(&mut self, connection: Connection, tuning: Tuning) {
        let now = self.now;
        if let Some(flow) = self.live_mut(connection) {
            flow.tcb.tune(tuning, now);
            self.touch(connection.into());
        }
    }

    fn abort(&mut self, connection: Connection) {
        if let Some(flow) = self.live_mut(connection) {
            flow.told.ended = true;
            flow.tcb.abort();
            self.counters.tcp_reset += 1;
            self.touch(connection.into());
        }
    }

    fn pause(&mut self, connection: Connection) {
        if let Some(flow) = self.live_mut(connection) {
            flow.paused = true;
        }
    }

    fn resume(&mut self, connection: Connection) {
        if let Some(flow) = self.live_mut(connection) {
            flow.paused = false;
            self.offer_again(connection.into());
        }
    }

    fn info(&self, connection: Connection) -> Option<Info> {
        let info = |flow: &Flow| Info {
            local: flow.key.local_socket(),
            remote: flow.key.remote_socket(),
            state: flow.tcb.state(),
            listener: flow.listener,
            tag: flow.tag,
            unread: flow.tcb.unread_len() + flow.tcb.unoffered(),
            urgent: flow.tcb.urgent_ahead() as usize,
            unacknowledged: flow.tcb.unacknowledged(),
            room: flow.tcb.send_room(&self.config.tcp),
            srtt_ns: flow.tcb.srtt_ns(),
            retransmitted: flow.tcb.retransmitted(),
            congestion: flow.tcb.algorithm(),
            congestion_window: flow.tcb.congestion_window(),
        };
        self.flows.with(connection.into(), |flow| flow.alive().then(|| info(flow)))?
    }

    fn set_timer(&mut self, at: Instant, token: u64) -> Result<TimerId, CallError> {
        // The wheel has room for the timers of all connections beside these; a service must not take theirs.
        let kept = self.tokens.insert(token).map_err(|_| CallError::TableFull)?;
        let Some(handle) = self.wheel.arm(at, Timer::Service { at: kept.slot }) else {
            self.tokens.remove(kept);
            return Err(CallError::TableFull);
        };
        Ok(TimerId { slot: handle.slot, generation: handle.generation })
    }

    fn cancel_timer(&mut self, timer: TimerId) {
        if let Some(Timer::Service { at }) = self.wheel.cancel(SlotId { slot: timer.slot, generation: timer.generation }) {
            self.take_token(at);
        }
    }

    fn send_with(&mut self, from: EndpointId, to: SocketAddr, payload: &[u8], how: Sending) -> Result<(), CallError> {
        let (address, port) = self.endpoints.name(from.0).ok_or(CallError::Stale)?;
        // From a group nobody may send: an endpoint at one sends from an address of ours.
        let own = || address.map(Address::ip).filter(|&address| !self.is_taken_group(address, port));
        let (interface, source) = self.source_for(to.ip(), how.source.or_else(own), how.interface)?;
        self.send_datagram(from, SocketAddr::new(source, port), to, interface, payload, how)
    }

    fn datagram_limit(&mut self, from: EndpointId, to: SocketAddr) -> Option<usize> {
        let (address, port) = self.endpoints.name(from.0)?;
        let own = address.map(Address::ip).filter(|&address| !self.is_taken_group(address, port));
        let (interface, _) = self.source_for(to.ip(), own, None).ok()?;
        let at = self.port_of(interface)?;
        Some(self.udp_payload_limit(at, to.ip()))
    }

    fn kept(&self, token: u64) -> Option<&[u8]> {
        self.kept.payload(token)
    }

    fn reply_kept(&mut self, token: u64, write: impl FnOnce(&mut [u8]) -> usize) -> Result<(), CallError> {
        self.answer_kept(token, write)
    }

    fn release_kept(&mut self, token: u64) {
        let kept = self.kept.remove(token);
        self.release(kept);
    }

    fn stop(&mut self) {
        self.stop_asked = true;
    }

    fn is_draining(&self) -> bool {
        self.stopping
    }
}

impl<D: Device> Core<D> {
    fn live_mut(&mut self, connection: Connection) -> Option<&mut Flow> {
        self.flows.find_mut(connection.into()).filter(|flow| flow.alive())
    }

    /// CLOSE (RFC 9293 3.10.4), if the service may still use the connection.
    pub(super) fn close_flow(&mut self, id: SlotId) {
        let now = self.now;
        let Some(flow) = self.flows.find_mut(id).filter(|flow| flow.alive()) else { return };
        let before = flow.tcb.state();
        flow.tcb.close(now);
        self.closed_by_service(id, before);
    }

    /// After a CLOSE in a state, which may have ended the connection at once.
    fn closed_by_service(&mut self, id: SlotId, before: State) {
        self.touch(id);
        let Some(flow) = self.flows.find_mut(id) else { return };
        let ended = flow.tcb.state() == State::Closed && before != State::Closed;
        if ended && before != State::SynSent {
            // By a linger time of zero, or for unread data.
            flow.told.ended = true;
            self.counters.tcp_reset += 1;
        } else if ended {
            // The TCB is gone at once and no segment will end it, so the service is told in the next round of offers.
            flow.told.given_up = true;
            self.offer_again(id);
        }
    }

    /// A listener or endpoint must be at an address of ours and, in a port claim, at a claimed port.
    fn check_local(&self, at: Local, transport: Transport) -> Result<(), CallError> {
        if transport == Transport::Udp && at.address.is_some_and(|address| self.is_taken_group(address, at.port)) {
            return Ok(());
        }
        // One that is still to be found free is ours to listen at already.
        let is_ours =
            |address| self.links.iter().any(|link| link.interface.addresses().iter().any(|cidr| cidr.address == address));
        if at.address.is_some_and(|address| !is_ours(address)) {
            return Err(CallError::NotOurAddress);
        }
        let port = PortClaim { transport, port: at.port };
        let claimed = (0..self.links.len()).any(|interface| self.claims(interface as u16, port));
        if claimed { Ok(()) } else { Err(CallError::NotClaimed) }
    }

    /// True for a port of a group that comes to us on some interface.
    fn is_taken_group(&self, address: IpAddr, port: u16) -> bool {
        self.links.iter().any(|link| link.interface.groups.contains(address, port))
    }

    fn open_endpoint(&mut self, at: Local, endpoint: Endpoint) -> Result<EndpointId, CallError> {
        let port = match at.port {
            0 => self.free_udp_port().ok_or(CallError::NoPort)?,
            port => port,
        };
        self.check_local(Local { port, ..at }, Transport::Udp)?;
        let opened = self.endpoints.open(at.address.map(Address::from), port, endpoint).map_err(CallError::from)?;
        self.port_opened(Transport::Udp, port);
        Ok(EndpointId(opened))
    }

    /// True when packets to a port of ours on an interface come to us.
    fn claims(&self, interface: u16, port: PortClaim) -> bool {
        self.links.get(usize::from(interface)).is_some_and(|link| match &link.interface.claim {
            Claim::Addresses(_) => true,
            Claim::Ports { ports, .. } => ports.contains(&port),
        })
    }

    /// Interface and source address for a destination: those asked for, else those nearest to the destination.
    fn source_for(&self, target: IpAddr, wanted: Option<IpAddr>, by: Option<u16>) -> Result<(u16, IpAddr), CallError> {
        let may_leave = |position: usize| by.is_none_or(|by| usize::from(by) == position) && self.has_route(position, target);
        let interfaces = || self.links.iter().enumerate().filter(|(position, _)| may_leave(*position));
        let Some(wanted) = wanted else {
            // In a port claim whose routes are not followed the neighbour was heard on that interface, and the answer comes from the kernel's address there.
            let heard = interfaces().find(|(_, link)| {
                matches!(link.interface.claim, Claim::Ports { .. }) && !link.mirrored && !route::is_many(&link.interface, target)
            });
            if let Some((position, link)) = heard {
                let own = link.interface.addresses().iter().find(|cidr| cidr.address.is_ipv4() == target.is_ipv4());
                return own.map(|cidr| (position as u16, cidr.address)).ok_or(CallError::NoRoute);
            }
            let positions: Option<(usize, IpAddr)> = route::source(interfaces().map(|(_, link)| &link.interface), target);
            // `route::source` counts the interfaces it was given: those with a route.
            let (nth, source) = positions.ok_or(CallError::NoRoute)?;
            let (position, _) = interfaces().nth(nth).ok_or(CallError::NoRoute)?;
            return Ok((position as u16, source));
        };
        let owner = self.owner_of(wanted).ok_or(CallError::NotOurAddress)?;
        let routed = wanted.is_ipv4() == target.is_ipv4() && may_leave(usize::from(owner));
        if routed { Ok((owner, wanted)) } else { Err(CallError::NoRoute) }
    }

    /// A port that the 4-tuple leaves free (RFC 6056 3.3.4, double-hash port selection: ports of one destination do not
    /// tell how busy we are with others), if possible one whose replies arrive on a queue of this core.
    fn free_tcp_port(&mut self, mut key: FlowKey) -> Option<u16> {
        let span = u32::from(*SOURCE_PORTS.end() - *SOURCE_PORTS.start()) + 1;
        let (secret, octets) = (self.config.secrets.ports, key.octets());
        let offset = isn::port_offset(&secret, &octets);
        let counter = isn::port_counter(&secret, &octets) as usize % limits::PORT_COUNTERS;
        let tries = self.tries_home(&key);
        let stride = if tries > 0 { port::STRIDE } else { 1 };
        let (begin, unbound) = (self.next_ports[counter], key);
        let mut used = 0;
        let free = std::iter::from_fn(|| {
            while used < span {
                //= rfc6056#3.3.4
                //# port = min_ephemeral + (offset + table[index]) % num_ephemeral;
                let step = offset.wrapping_add(begin.wrapping_add(used).wrapping_mul(stride)) % span;
                used += 1;
                key.local_port = *SOURCE_PORTS.start() + step as u16;
                let claim = PortClaim { transport: Transport::Tcp, port: key.local_port };
                if self.listeners.is_free(key.local_port)
                    && self.claims(key.link.interface, claim)
                    && self.find_flow(&key).is_none()
                    && self.is_free_elsewhere(Transport::Tcp, key.local_port)
                    && !self.is_taken_elsewhere(&key)
                {
                    return Some(key.local_port);
                }
            }
            None
        });
        let picked = port::pick(free, tries, |local_port| self.comes_home(&FlowKey { local_port, ..unbound }));
        self.next_ports[counter] = begin.wrapping_add(used);
        picked
    }

    fn free_udp_port(&mut self) -> Option<u16> {
        let span = u32::from(*SOURCE_PORTS.end() - *SOURCE_PORTS.start()) + 1;
        for _ in 0..span {
            // Without a destination to hash, the counter is: nobody can tell the next from the last.
            let mut count = [0; 40];
            count[..4].copy_from_slice(&self.next_udp_port.to_ne_bytes());
            let port = *SOURCE_PORTS.start() + (isn::port_offset(&self.config.secrets.ports, &count) % span) as u16;
            self.next_udp_port = self.next_udp_port.wrapping_add(1);
            if self.endpoints.is_free(port) && self.is_free_elsewhere(Transport::Udp, port) {
                return Some(port);
            }
        }
        None
    }
}

impl From<Refused> for CallError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::InUse => Self::PortInUse,
            Refused::Full => Self::TableFull,
        }
    }
}
